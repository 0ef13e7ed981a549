# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which files the audit looks at on a host, and the verdict on all hosts together. Pure."""

from __future__ import annotations

from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput
from ansible_collections.circonus.inside.plugins.plugin_utils import findings as f
from ansible_collections.circonus.inside.plugins.plugin_utils import pki, pki_live, pki_report

PREFIX = "pki_audit_"
KINDS = ("ca", "cert", "key", "crl", "keystore")


def wanted(entries, host, stopped=(), extra=(), release=None) -> list:
    """Items for the module pki_files: every file of the roles of a host, and the operator's own.

    entries: effective catalogue entries. stopped: roles whose files are not there by design (a CA host that is not
    ca.primary). release: without it the files of a set that not every release has are ``optional``.
    extra: ``[{"path", "kind", "role", "owner", "names", "usage", "host"}]``; without host on every host.
    """
    items = []
    for entry in entries:
        spec = entry.get("pki") or {}
        if entry.get("absent") or entry["name"] in stopped:
            continue
        for kind in KINDS:
            if spec.get(kind):
                items.append(_item(entry["name"], kind, spec[kind], host, spec.get("owner")))
        items += [_item(entry["name"], "user_facing", path, host) for path in spec.get("user_facing") or []]
        if release is None and (spec.get("from") or spec.get("until")):
            items = [dict(item, optional=True) if item["role"] == entry["name"] else item for item in items]
    for own in extra:
        if not isinstance(own, dict) or own.get("kind") not in (*KINDS, "user_facing") or not own.get("path"):
            raise BadInput(
                "Expected path and kind (%s) for every file of pki_audit_files, found %r. Correct the parameter."
                % (", ".join((*KINDS, "user_facing")), own)
            )
        if own.get("host") in (None, host):
            item = {"path": own["path"], "kind": own["kind"], "role": own.get("role"), "wanted_owner": own.get("owner")}
            items.append(dict(item, own=True, names=own.get("names") or [], usage=own.get("usage") or []))
    return items


def _item(role, kind, path, host, owner=None):
    item = {"path": path, "kind": kind, "role": role}
    if kind == "key":
        item["wanted_owner"] = owner
    if kind == "cert":
        item["usage"] = ["server", "client"]
        # A file with the name of the host in its path is the host's; the others (a broker's) have names of their own.
        item["names"] = [host] if "/%s." % host in path else []
    return item


def authority(answers) -> dict | None:
    """``public-info/ca.crt`` of the CA host, as its answer has it; None when no CA host answered."""
    for host in sorted(answers):
        for item in (answers[host] or {}).get("files") or []:
            if item.get("role") == "ca" and item.get("kind") == "ca" and item.get("objects"):
                return item
    return None


def evaluate(nodes, answers, parameters) -> dict:
    """The verdict on a platform.

    nodes: ``{host: {"site", "roles"}}`` of every host. answers: ``{host: what pki_files returned, or {"reachable",
    "msg"}, or None when it was not asked}``. Returns ``{"findings", "unknown", "checked", "certificates"}``.
    """
    limits = {key: parameters[PREFIX + key] for key in pki_report.DEFAULTS if parameters.get(PREFIX + key) is not None}
    found, unknown, reports, keys, looked, roles = [], [], [], [], 0, 0
    ca = authority(answers)
    if ca is None:
        unknown.append("Whether every ca.crt is the one of the CA host: no CA host answered with its own.")
    elif not pki.load(ca).certificates:
        ca = None
    for host, node in nodes.items():
        answer = answers.get(host)
        if answer is None:
            unknown.append("Everything about %s: it was not asked (--limit)." % host)
            continue
        if not answer.get("reachable", True) or "files" not in answer:
            ident = "host_unreachable" if not answer.get("reachable", True) else "check_failed"
            found.append(f.make(ident, host, None, node["site"], detail=answer.get("msg") or "no reason given"))
            continue
        looked, roles = looked + 1, roles + len(node["roles"])
        verdict = pki_report.report(answer["files"], host, answer.get("now"), ca, node["site"], **limits)
        reports.append(verdict)
        found += verdict["findings"]
        for item in answer["files"]:
            place = {key: item.get(key) for key in ("path", "role", "kind", "own")}
            keys += [dict(key, **place, host=host) for key in item.get("keys") or []]
    found += pki_report.across(reports, keys)
    live = pki_live.evaluate(nodes, answers, found, ca, limits)
    return {
        "findings": live["findings"],
        "unknown": unknown + live["unknown"],
        "tls_ports": live["ports"],
        "tls_connections": live["connections"],
        "checked": {"hosts": looked, "of": len(nodes), "roles": roles},
        "certificates": [one for verdict in reports for one in verdict["certificates"]],
    }


def summary(verdict) -> str:
    """What is as it must be, as the beginning of a sentence."""
    text = "%d certificates on %d of %d hosts" % (
        len(verdict["certificates"]), verdict["checked"]["hosts"], verdict["checked"]["of"])
    ports, connections = ([row for row in verdict[key] if row["outcome"] == "ok"]
                          for key in ("tls_ports", "tls_connections"))
    if ports or connections:
        text += ", %d TLS ports and %d connections" % (len(ports), len(connections))
    return text + " are as they must be"
