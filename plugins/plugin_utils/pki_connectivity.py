# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The manual's sequence for two roles that cannot talk to each other over TLS, as seven steps. Pure.

Source: operation manual, "PKI Connectivity"; the seventh step is of the later edition. A step is broken when one of its
checks fails; the first broken step is the result, because what comes after it may be its consequence.
"""

from __future__ import annotations

from ansible_collections.circonus.inside.plugins.module_utils.errors import Refused
from ansible_collections.circonus.inside.plugins.plugin_utils import findings as f
from ansible_collections.circonus.inside.plugins.plugin_utils import pki_audit, pki_targets

PREFIX = "pki_connectivity_"
TITLES = (
    "the CA processor runs",
    "ca.crt, certificate and key are there",
    "ca.crt is the one of the CA host",
    "the certificate is signed by the CA and valid",
    "the key belongs to the certificate",
    "the connection is accepted by both sides",
    "the CRL on stratcon is valid",
)
PASS, FAIL, OPEN = "pass", "fail", "not_reached"
#: Which findings about a file break which step; what is not named here is told beside the steps.
BREAKS = {
    2: frozenset(("pki_missing", "pki_unreadable", "pki_malformed")),
    3: frozenset(("pki_ca_differs",)),
    4: frozenset(("pki_issuer", "pki_signature", "pki_chain", "pki_expired", "pki_not_yet_valid")),
    5: frozenset(("pki_key_mismatch", "pki_key_encrypted")),
    7: frozenset(("pki_crl_missing", "pki_crl_foreign", "pki_expired", "pki_malformed", "pki_unreadable",
                  "pki_revoked")),
}
KINDS = ("ca", "cert", "key")


# -- who takes part ---------------------------------------------------------------------------------------------------


def plan(nodes, sites, params, known) -> dict:
    """Which hosts and which port the steps are about. Raises Refused.

    nodes: ``{host: {"site", "roles", "address"}}``. sites: ``{site: {"raw", "active"}}``. known: {role: effective
    catalogue entry}. Returns ``{"from", "to", "port", "pairs": [(client host, server host)], "ca": [hosts of
    ca.primary], "stratcon": [hosts], "hosts": {host: [roles whose files are looked at]}}``.
    """
    client, server = (str(params[PREFIX + name]) for name in ("from", "to"))
    files = params.get(PREFIX + "files") or []
    for name, role in (("from", client), ("to", server)):
        if role not in known:
            raise Refused("Expected a role in %s%s (%s), found %s. Correct it." % (
                PREFIX, name, ", ".join(known), role))
    has_files = (known[client].get("pki") or {}).get("cert") or any(own.get("role") == client for own in files)
    if not has_files or known[client].get("absent"):
        able = ", ".join(role for role, entry in known.items() if (entry.get("pki") or {}).get("cert"))
        raise Refused("Expected a role with a certificate of its own in %sfrom (%s), found %s. Name another one, or "
                      "its files with %sfiles." % (PREFIX, able, client, PREFIX))
    port = _port(client, server, params, known)
    clients, servers = _hosts(nodes, client, params, "from"), _hosts(nodes, server, params, "to")
    named = params.get(PREFIX + "from_host") and params.get(PREFIX + "to_host")
    pairs = [(one, other) for one in clients for other in servers if one != other or client != server]
    if not named:
        pairs = [(one, other) for one, other in pairs if nodes[one]["site"] == nodes[other]["site"]
                 or {client, server} & set(pki_targets.EVERYWHERE)]
        pairs = [(one, other) for one, other in pairs
                 if not (_stopped(one, known[client], nodes, sites) or _stopped(other, known[server], nodes, sites))]
    if not pairs:
        raise Refused(
            "Expected a host of %s and one of %s that run in the same site, found none. Name both: %sfrom_host, "
            "%sto_host." % (client, server, PREFIX, PREFIX))
    hosts = {}
    for one, other in pairs:
        hosts.setdefault(one, []).append(client)
        hosts.setdefault(other, []).append(server)
    involved = {nodes[host]["site"] for host in hosts} - {None} or set(sites)
    return {
        "from": client, "to": server, "port": port, "pairs": pairs,
        "ca": sorted({host for site in involved for host in _ca(sites[site]["raw"]) if host in nodes}),
        "stratcon": [host for host, node in nodes.items() if "stratcon" in node["roles"] and node["site"] in involved],
        "hosts": {host: sorted(set(roles)) for host, roles in hosts.items()},
    }


def _port(client, server, params, known):
    wanted = params.get(PREFIX + "port")
    if wanted:
        return wanted
    linked = [port["port"] for role, to, port in pki_targets.links([known[client]], known) if to == server]
    inner = [port for port in pki_targets.tls_ports(known[server]) if not port["users"]]
    inner.sort(key=lambda port: (not port["verifies"], port["optional"]))
    if linked or inner:
        return linked[0] if linked else inner[0]["port"]
    able = [role for role, entry in known.items() if any(not port["users"] for port in pki_targets.tls_ports(entry))]
    raise Refused("Expected a role in %sto with a TLS port for other hosts (%s), found %s. Name another role, or the "
                  "port with %sport." % (PREFIX, ", ".join(able), server, PREFIX))


def _hosts(nodes, role, params, side):
    having = [host for host, node in nodes.items() if role in node["roles"]]
    wanted = params.get("%s%s_host" % (PREFIX, side))
    if wanted and wanted not in having:
        raise Refused("Expected a host of %s in %s%s_host (%s), found %s. Correct it." % (
            role, PREFIX, side, ", ".join(having) or "there is none", wanted))
    if not having:
        raise Refused("Expected a host with the role %s in the inventory, found none. Name another role in %s%s." % (
            role, PREFIX, side))
    return [wanted] if wanted else having


def _stopped(host, entry, nodes, sites):
    site = sites.get(nodes[host]["site"]) or {}
    return entry.get("passive") == "stopped" and site.get("active") is False


def _ca(raw):
    section = (raw.get("svclist") or {}).get("ca") or {}
    return [section["primary"]] if section.get("primary") else list(section.get("_machlist") or [])[:1]


def arguments(host, wanted, nodes, known, params, release=None) -> dict | None:
    """What pki_files is asked for on a host; None when it does not take part. wanted: :func:`plan`."""
    roles = list(wanted["hosts"].get(host) or [])
    entries = [pki_entry(known[role], host) for role in roles]
    files = pki_audit.wanted(entries, host, (), [
        own for own in params.get(PREFIX + "files") or [] if own.get("role") in roles])
    files = [dict(item, optional=False) for item in files if item["kind"] in (*KINDS, "crl")]
    if host in wanted["stratcon"] and "stratcon" not in roles:
        files += [item for item in pki_audit.wanted([pki_entry(known["stratcon"], host)], host)
                  if item["kind"] in ("ca", "crl")]
    if host in wanted["ca"]:
        files += pki_audit.wanted([known["ca"]], host)
    if not files and not roles:
        return None
    return {
        "files": files, "deadline": 30, "live_timeout": params.get(PREFIX + "timeout_s") or 5, "live_deadline": 30,
        "ports": _own_port(host, wanted, files, known, release, nodes[host]["address"]),
        "peers": [_peer(wanted, other, nodes, files) for one, other in wanted["pairs"] if one == host
                  and {"ca", "cert", "key"} <= set(pki_targets.pair(wanted["from"], files))],
    }


def pki_entry(entry, host):
    """A catalogue entry with the name of the host in its paths."""
    spec = {key: value.replace("<host>", host) if isinstance(value, str) else value
            for key, value in (entry.get("pki") or {}).items()}
    return dict(entry, pki=spec)


def _own_port(host, wanted, files, known, release, address):
    if host not in {other for _one, other in wanted["pairs"]}:
        return []
    found = pki_targets.ports(host, [pki_entry(known[wanted["to"]], host)], files, (), release, None, address)
    return [dict(item, optional=False) for item in found if item["port"] == wanted["port"]]


def _peer(wanted, other, nodes, files):
    return dict(
        pki_targets.pair(wanted["from"], files), role=wanted["from"], to=other, to_role=wanted["to"],
        to_site=nodes[other]["site"], port=wanted["port"], address=nodes[other]["address"], sni=other, optional=False)


# -- the verdict ------------------------------------------------------------------------------------------------------


class Sequence:
    """The steps over the answers of the hosts that take part."""

    def __init__(self, wanted, nodes, answers, verdict):
        self.wanted, self.nodes, self.answers = wanted, nodes, answers
        self.verdict, self.findings = verdict, verdict["findings"]
        self.extra, self.broken = [], set()

    def answered(self, host):
        """Whether a host could be looked at."""
        return bool((self.answers.get(host) or {}).get("files") is not None and self.answers[host].get(
            "reachable", True))

    def why_not(self, host):
        """Why a host was not looked at."""
        answer = self.answers.get(host)
        return "%s: %s" % (host, answer.get("msg") or "no answer") if answer else "%s was not asked (--limit)" % host

    def files(self, *kinds):
        """[(host, item)] of the files of the two roles."""
        return [(host, item) for host, roles in self.wanted["hosts"].items() if self.answered(host)
                for item in self.answers[host]["files"] if item.get("role") in roles and item["kind"] in kinds]

    def about(self, host, path, number):
        """The worst finding about a file that breaks a step, None without one."""
        some = [item for item in self.findings if item["host"] == host and item.get("path") == path
                and item["id"] in BREAKS[number] and f.rank(item["severity"]) <= f.rank("error")]
        return some[0] if some else None

    def check(self, number, host, item):
        """One check of a file."""
        role, path = item.get("role"), item["path"]
        found = self.about(host, path, number)
        where = "%s on %s: %s" % (role, host, path)
        if found:
            self.broken.add((host, path))
            return {"state": FAIL, "text": "%s: %s" % (where, found["found"]), "remedy": found["remedy"]}
        return {"state": PASS, "text": where}

    def nobody(self, hosts):
        """A check for every host that could not be looked at."""
        out = []
        for host in hosts:
            if not self.answered(host):
                down = [item for item in self.findings if item["host"] == host and item["id"] in (
                    "host_unreachable", "check_failed")]
                out.append({"state": FAIL if down else OPEN, "text": self.why_not(host),
                            "remedy": down[0]["remedy"] if down else "Run it without --limit."})
        return out

    # -- the seven

    def step_1(self):
        """The processor signs what is asked for while it runs; the manual's cure is to restart it."""
        out = self.nobody(self.wanted["ca"])
        for host in self.wanted["ca"]:
            if not self.answered(host):
                continue
            units = self.answers[host].get("ca_units")
            if units is None:
                text = "%s: %s" % (host, self.answers[host].get("ca_msg") or "its services were not looked at")
                out.append({"state": OPEN, "text": text, "remedy": ""})
                continue
            down = [unit for unit in units if not unit.get("up")]
            if down or not units:
                made = f.make(
                    "pki_ca_processor_down", host, "ca", self.nodes[host]["site"],
                    state="%s (%s)" % (down[0]["active"], down[0]["sub"]) if down else "not installed")
                self.extra.append(made)
                out.append({"state": FAIL, "text": "%s: circonus-ca_processor is %s" % (host, made["found"]),
                            "remedy": made["remedy"]})
            else:
                out.append({"state": PASS, "text": "%s: %s is running" % (host, units[0]["unit"])})
        if not self.wanted["ca"]:
            out.append({"state": OPEN, "text": "no site.json names a CA host", "remedy": "Name it: ca.primary."})
        return out

    def step_2(self):
        """Files of both roles; a role without documented files has none to be looked at."""
        out = self.nobody(self.wanted["hosts"])
        out += [self.check(2, host, item) for host, item in self.files(*KINDS)]
        for host, roles in self.wanted["hosts"].items():
            for role in roles if self.answered(host) else ():
                if not any(one == host and item["role"] == role for one, item in self.files(*KINDS)):
                    out.append({"state": OPEN, "text": "%s on %s: no source names its files" % (role, host),
                                "remedy": "Name them with %sfiles." % PREFIX, "harmless": True})
        return out

    def step_3(self):
        """Compare with public-info/ca.crt."""
        theirs = pki_audit.authority({host: self.answers.get(host) for host in self.wanted["ca"]})
        if theirs is None:
            return [{"state": OPEN, "text": "the CA host has not shown its public-info/ca.crt", "remedy": ""}]
        return [self.after(host, item) or self.check(3, host, item) for host, item in self.files("ca")]

    def step_4(self):
        """openssl verify."""
        return [self.after(host, item, only=True) or self.check(4, host, item)
                for host, item in self.files("ca", "cert")]

    def step_5(self):
        """The two moduli."""
        out = []
        for host, item in self.files("key"):
            certificate = [one for place, one in self.files("cert") if place == host and one["role"] == item["role"]]
            out.append(self.after(host, item, *certificate, only=True) or self.check(5, host, item))
        return out

    def after(self, host, *items, only=False):
        """A check that cannot be made, because a file it needs is not there; None when it can."""
        for item in items:
            if (host, item["path"]) in self.broken and (not only or self.about(host, item["path"], 2)):
                return {"state": OPEN, "text": "%s on %s: %s is not there" % (item["role"], host, item["path"]),
                        "remedy": ""}
        return None

    def step_6(self):
        """openssl s_client, with the pair of the client and both sides looked at."""
        rows = {(row["from"], row["to"]): row for row in self.verdict["tls_connections"]}
        out = []
        for one, other in self.wanted["pairs"]:
            row = rows.get((one, other))
            text = "%s on %s to %s on %s:%s" % (
                self.wanted["from"], one, self.wanted["to"], other, self.wanted["port"])
            if row is None or row["outcome"] in ("local", "skipped"):
                out.append({"state": OPEN, "text": "%s: %s" % (text, row["detail"] if row else "not tried"),
                            "remedy": ""})
            elif row["outcome"] == "ok":
                out.append({"state": PASS, "text": "%s: %s, verify return code 0" % (text, row["protocol"])})
            else:
                out.append({"state": FAIL, "text": "%s: %s" % (text, row["detail"] or row["outcome"]),
                            "remedy": self.remedy(one, other)})
        return out

    def remedy(self, one, other):
        """What mends a connection: of a finding about the port or the connection, else of any about the two hosts."""
        about = [item for item in self.findings if item["host"] in (one, other)]
        ports = [item for item in about if item["id"].startswith("tls_")]
        files = [item for item in about if item.get("evidence")]
        known = [item for item in [*ports, *files, *about] if not item["remedy"].startswith("pki_connectivity.yml")]
        return known[0]["remedy"] if known else "Read the logs of both roles; unexplained: support."

    def step_7(self):
        """The CRL of every stratcon of the sites involved."""
        out = self.nobody(host for host in self.wanted["stratcon"] if host not in self.wanted["hosts"])
        for host in self.wanted["stratcon"]:
            if self.answered(host):
                out += [self.check(7, host, item) for item in self.answers[host]["files"] if item["kind"] == "crl"]
        revoked = [item for item in self.findings if item["id"] == "pki_revoked"]
        out += [{"state": FAIL, "text": "%s: revoked" % item["path"], "remedy": item["remedy"]} for item in revoked]
        return out

    def run(self):
        """[{"number", "title", "state", "checks", "remedy"}] of the seven steps."""
        steps = []
        for number, title in enumerate(TITLES, 1):
            checks = getattr(self, "step_%d" % number)()
            serious = [one for one in checks if not one.get("harmless")]
            bad = [one for one in serious if one["state"] == FAIL]
            undecided = [one for one in serious if one["state"] == OPEN]
            state = FAIL if bad else OPEN if undecided or not checks else PASS
            if number == 7 and not checks:
                state, checks = PASS, [{"state": PASS, "text": "there is no stratcon in these sites"}]
            steps.append({"number": number, "title": title, "state": state, "checks": checks,
                          "remedy": (bad or undecided or [{}])[0].get("remedy") or ""})
        return steps


def evaluate(wanted, nodes, answers, params) -> dict:
    """``{"sequence", "first": number of the first broken step, or None, "failed", "reason", "findings",
    "unknown", "checked", "tls_ports", "tls_connections"}``."""
    taking = list(dict.fromkeys([*wanted["hosts"], *wanted["ca"], *wanted["stratcon"]]))
    some = {host: nodes[host] for host in taking}
    verdict = pki_audit.evaluate(some, {host: answers.get(host) for host in taking}, {})
    sequence = Sequence(wanted, nodes, answers, verdict)
    steps = sequence.run()
    # What could not be looked at is the result only when nothing is known to be broken.
    first = next((step for state in (FAIL, OPEN) for step in steps if step["state"] == state), None)
    what = "%s and %s" % (wanted["from"], wanted["to"])
    if first is None:
        reason = "All seven steps pass between %s: port %s, %s." % (what, wanted["port"], ", ".join(
            "%s to %s" % (one, other) for one, other in wanted["pairs"][:5]))
    else:
        check = next(one for one in first["checks"] or [{"state": OPEN, "text": "nothing to look at"}]
                     if one["state"] == first["state"])
        word = "is broken" if first["state"] == FAIL else "could not be looked at"
        reason = "Between %s step %d (%s) %s. %s." % (
            what, first["number"], first["title"], word, check["text"].rstrip("."))
        if first["remedy"]:
            reason += " Do: %s" % first["remedy"]
    return {
        "sequence": steps, "first": first["number"] if first else None, "failed": first is not None, "reason": reason,
        "findings": f.worst_first(verdict["findings"] + sequence.extra), "unknown": verdict["unknown"],
        "checked": verdict["checked"], "tls_ports": verdict["tls_ports"],
        "tls_connections": verdict["tls_connections"],
    }
