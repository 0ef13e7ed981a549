# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which certificates are issued anew and how: the decision of ca_reissue.yml, and the proof of what came. Pure.

A *set* is what one certificate between hosts needs: ``{"path" (the certificate, or a ca.crt), "kind" (cert, ca),
"key", "keystore", "roles": that read it, "extra": named by the operator only}``. A *target* is a set that gets a new
certificate, with ``host``, ``site``, ``reasons``, ``aside`` (paths that are moved), ``hooper`` (false when an earlier
run has brought it already) and ``record`` (what that run left).

Sources: operation manual, "PKI Connectivity" (restart the CA processor, run Hooper where a file is missing) and
"Service Dependencies"; Hooper makes what is missing and does not look into what is there.
"""

from __future__ import annotations

import fnmatch

from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput
from ansible_collections.circonus.inside.plugins.module_utils.site_file import canonical_sha256
from ansible_collections.circonus.inside.plugins.plugin_utils import catalogue, findings, operations, pki, pki_audit
from ansible_collections.circonus.inside.plugins.plugin_utils import failover as f

#: What a new certificate for the same key mends.
CERTIFICATE = (
    "pki_missing", "pki_unreadable", "pki_malformed", "pki_expired", "pki_expiring", "pki_not_yet_valid", "pki_issuer",
    "pki_signature", "pki_chain", "pki_name", "pki_usage", "pki_weak_signature", "pki_serial_duplicate",
)
#: What needs a new key as well: the old one does not fit, cannot be used, or may be known to others.
PAIR = ("pki_key_mismatch", "pki_key_encrypted", "pki_key_in_public", "pki_revoked", "pki_weak_key", "pki_key_shared")
#: What Hooper mends by itself once it runs.
KEYSTORE = ("pki_keystore_missing", "pki_keystore_stale")
#: What a fresh copy of the CA's own certificate mends.
AUTHORITY = findings.CA_COPY
RUNNING = ("active", "activating", "reloading")
#: Roles whose certificates come from elsewhere: a broker provisions itself, the CA's own is made once.
FOREIGN = ("broker", "ca")
USERS = "it is for users, not between hosts: put the right one there yourself"
LEFT_BROKER = "a broker provisions itself: restart it there, see its own documentation"
HOOPER_LOG = "/var/log/chef/circonus-hooper.log"


# -- what there is ----------------------------------------------------------------------------------------------------


def sets(entries: list, host: str, extra=()) -> list:
    """The sets of a host. entries: effective catalogue entries. extra: as ``ca_reissue_files``."""
    found: dict = {}

    def add(path, role, **values):
        known = found.setdefault(path, dict({"path": path, "kind": "cert", "key": None, "keystore": None,
                                             "roles": [], "extra": False}, **values))
        if role and role not in known["roles"]:
            known["roles"].append(role)
        known["keystore"] = known["keystore"] or values.get("keystore")

    for entry in entries:
        spec = entry.get("pki") or {}
        if entry.get("absent") or entry["name"] in FOREIGN:
            continue
        if spec.get("cert"):
            add(spec["cert"], entry["name"], key=spec.get("key"), keystore=spec.get("keystore"))
        if spec.get("ca"):
            add(spec["ca"], entry["name"], kind="ca")
    own = [item for item in extra if item.get("host") in (None, host)]
    keys = {_stem(item["path"]): item["path"] for item in own if item["kind"] == "key"}
    for item in own:
        if item["kind"] in ("cert", "ca"):
            add(item["path"], item.get("role"), kind=item["kind"], key=keys.get(_stem(item["path"])), extra=True)
    return list(found.values())


def _stem(path):
    return path.rpartition(".")[0]


def belongs(finding: dict, one: dict) -> bool:
    """Whether a finding about a file of a host is about this set."""
    if finding["id"] in KEYSTORE:
        return bool(one["keystore"]) and fnmatch.fnmatch(finding["path"], one["keystore"])
    return finding["path"] in (one["path"], one["key"])


def mends(finding: dict, one: dict) -> bool:
    """Whether a new certificate for this set is the remedy of a finding about it."""
    if one["kind"] == "ca":
        return finding["id"] in AUTHORITY
    if finding["path"] == one["key"] and finding["id"] == "pki_weak_signature":
        return False
    return finding["id"] in CERTIFICATE + PAIR + KEYSTORE


def _new_key(finding, one):
    """Whether the key has to go too: it is itself what is wrong."""
    return finding["id"] in PAIR or (finding["id"] not in KEYSTORE and finding["path"] == one["key"])


def plain_serial(text) -> str:
    """A serial number in hex as people and programs write it, made comparable. Raises BadInput."""
    bare = str(text).strip().lower().replace(":", "").replace("0x", "", 1).lstrip("0")
    if not bare or bare.strip("0123456789abcdef"):
        raise BadInput("Expected serial numbers in hex in ca_reissue_serials, as pki_audit.yml shows them, found %r."
                       % str(text))
    return bare


# -- what is to be done -----------------------------------------------------------------------------------------------


class Wanted:
    """What the operator asked for. Raises BadInput for names that are none."""

    def __init__(self, params: dict, nodes: dict, known_roles: list):
        self.roles = list(params.get("ca_reissue_roles") or [])
        self.limit = list(params.get("ca_reissue_limit") or [])
        self.serials = [plain_serial(text) for text in params.get("ca_reissue_serials") or []]
        self.new_key = bool(params.get("ca_reissue_new_key"))
        for role in self.roles:
            if role in FOREIGN:
                raise BadInput("ca_reissue_roles has %s: %s. Leave it out." % (
                    role, LEFT_BROKER if role == "broker" else "the CA's own certificate is not issued by this"))
            if role not in known_roles:
                raise BadInput("ca_reissue_roles must be of %s, found %s." % (
                    ", ".join(name for name in known_roles if name not in FOREIGN), role))
        sites = sorted({str(node["site"]) for node in nodes.values() if node["site"]})
        for word in self.limit:
            if word not in nodes and word not in sites:
                raise BadInput("ca_reissue_limit must name hosts or sites (%s), found %s." % (", ".join(sites), word))

    def place(self, host, site) -> bool:
        """Whether a host is meant."""
        return not self.limit or host in self.limit or site in self.limit

    def has(self, host, site, roles) -> bool:
        """Whether a set of a host is meant."""
        return self.place(host, site) and (not self.roles or bool(set(roles) & set(self.roles)))


def targets(nodes: dict, known: dict, verdict: dict, renewals: dict, wanted: Wanted) -> tuple:
    """(targets, sentences about what is left alone).

    known: {host: sets}. verdict: of :func:`pki_audit.evaluate`. renewals: {host: answer of pki_renew state=read}.
    """
    chosen, left, taken = [], [], set()
    for host in sorted(known):
        site = nodes[host]["site"]
        open_records = {record["path"]: record for record in (renewals.get(host) or {}).get("records") or []}
        own = [one for one in verdict["findings"] if one["host"] == host and one.get("path")]
        facts = {item["path"]: item for item in reversed(verdict["certificates"]) if item["host"] == host}
        for one in known[host] + _unknown_sets(known[host], open_records):
            found = [finding for finding in own if belongs(finding, one)]
            mended = [finding for finding in found if mends(finding, one)]
            record = open_records.get(one["path"])
            serial = facts[one["path"]]["serial"] if one["kind"] == "cert" and one["path"] in facts else None
            named = serial in wanted.serials
            asked = wanted.has(host, site, one["roles"]) and (named if wanted.serials else bool(mended))
            if not asked and record is None:
                continue
            if asked or not _done(record):
                taken.update((host, finding["path"]) for finding in mended)
            target = dict(one, host=host, site=site, record=record, reasons=_reasons(mended, named, serial, record))
            target["hooper"] = asked or bool(mended and not _done(record))
            target["aside"] = _aside(one, mended, named, wanted.new_key) if target["hooper"] else []
            chosen.append(target)
    for finding in verdict["findings"]:
        host, path = finding["host"], finding.get("path")
        if (host, path) in taken or not path or not wanted.place(host, finding["site"]) or wanted.serials:
            continue
        if wanted.roles and finding["role"] not in wanted.roles:
            continue
        left.append("Left alone: %s %s" % (finding["what"], _why_left(finding, known.get(host) or [])))
    return chosen, list(dict.fromkeys(left))


def _done(record):
    return bool(record) and bool(record["accepted"])


def _unknown_sets(known, open_records):
    """Sets of records about files that no role of the host has (any more)."""
    paths = {one["path"] for one in known}
    return [{"path": path, "kind": "cert", "key": None, "keystore": None, "roles": [], "extra": True}
            for path in sorted(open_records) if path not in paths]


def _reasons(mended, named, serial, record):
    texts = ["serial number %s was named" % serial] if named else []
    texts += list(dict.fromkeys("%s: %s" % (finding["id"], finding["found"]) for finding in mended))
    if record:
        texts.append("run %s did not finish" % record["run_id"])
    return texts


def _aside(one, mended, named, new_key):
    """Paths that make room. A keystore alone needs none: Hooper builds it from what is there."""
    if mended and all(finding["id"] in KEYSTORE for finding in mended) and not named:
        return []
    paths = [one["path"]]
    keyless = one["kind"] == "ca" or not one["key"]
    if not keyless and (new_key or any(_new_key(finding, one) for finding in mended)):
        paths.append(one["key"])
    return paths


def _why_left(finding, known):
    if finding["role"] == "broker":
        return "(%s)" % LEFT_BROKER
    internal = {path for one in known for path in (one["path"], one["key"])}
    if finding["path"] not in internal and _is_user_facing(finding):
        return "(%s)" % USERS
    return "-> %s" % finding["remedy"]


def _is_user_facing(finding):
    entry = catalogue.load().get(finding["role"] or "") or {}
    return finding["path"] in ((entry.get("pki") or {}).get("user_facing") or [])


def count(items, word) -> str:
    """``2 hosts``, ``1 host``."""
    return "%d %s%s" % (len(items), word, "" if len(items) == 1 else "s")


# -- the authority ----------------------------------------------------------------------------------------------------


def ca_host(sites: dict) -> tuple:
    """(the host that signs for the platform, refusal)."""
    found = []
    for site in sites.values():
        section = f.role(site["raw"], "ca")
        name = section.get("primary") or section.get("master") or next(iter(section.get("_machlist") or []), None)
        if name and name not in found:
            found.append(name)
    if len(found) == 1:
        return found[0], None
    return None, "Expected one ca.primary in the site files, found %s. Correct site.json, or use an inventory of one " \
        "platform." % (", ".join(found) or "none")


def ca_problem(situation: f.Situation, renewals: dict, verdict: dict, primary: str) -> str | None:
    """Why nothing can be signed now or must not be, or None. Two processors would give the same serial numbers."""
    hosts = sorted({host for site in situation.sites.values() for host in f.machines(site["raw"], "ca")} | {primary})
    for host in hosts:
        answer = renewals.get(host) or {}
        if "processor" not in answer:
            return (
                "Expected exactly one CA processor, %s cannot be asked (%s). Bring it back, and do not leave it out by "
                "--limit." % (host, answer.get("msg") or "not in this play")
            )
    others = sorted(host for host, answer in renewals.items()
                    if host != primary and ((answer or {}).get("processor") or {}).get("active") in RUNNING)
    if others:
        return (
            "Expected the CA processor on %s (ca.primary) only, it runs on %s too: both would give the same serial "
            "numbers. Stop and disable circonus-ca_processor there." % (primary, ", ".join(others))
        )
    state = renewals[primary]["processor"]
    if not state["exists"]:
        return "Expected circonus-ca_processor on %s (ca.primary), it is not installed. Run hooper_run.yml there." % (
            primary)
    if state["active"] not in RUNNING and state["enabled"] not in ("enabled", "enabled-runtime", "static"):
        return (
            "Expected circonus-ca_processor on %s to be enabled, found %s: somebody keeps it down. Find out why, then "
            "enable it." % (primary, state["enabled"] or "no state")
        )
    bad = [finding for finding in verdict["findings"] if finding["host"] == primary and finding["role"] == "ca"
           and finding["severity"] in ("error", "critical")]
    if bad:
        return "Nothing is issued by a CA that is broken itself: %s" % bad[0]["what"]
    if not situation.primaries:
        return "No database accepts writes, so no request reaches the CA. Start the primary database first."
    return None


# -- the verdict ------------------------------------------------------------------------------------------------------


def verdict(situation: f.Situation, facts: dict, params: dict, run: dict) -> dict:
    """Decide what is reissued.

    facts: ``nodes`` {host: {"site", "roles"}} brokers included, ``entries`` {host: effective entries}, ``answers``
    {host: of pki_files}, ``renewals`` {host: of pki_renew state=read}, ``order`` {host: Hooper's stage}, ``standby``
    names of passive sites. The verdict has ``ca_host``, ``ca_step`` (arguments of service_units or {}), ``waves``
    [{"hosts", "hooper": [host], "targets", "aside": {host: items of pki_renew}}], ``targets``, ``restarts`` [{"host",
    "role", "args", "restart": false when it was done, "presents": [{"port", "path", "key"}]}], ``close`` {host:
    [paths]}, ``old_serials``.
    """
    nodes, renewals = facts["nodes"], facts["renewals"]
    wanted = Wanted(params, nodes, catalogue.names())
    audit = evaluate(nodes, facts["answers"], params)
    hosts = [host for host in facts["order"] if host in facts["entries"]]
    extra = params.get("ca_reissue_files") or []
    known = {host: sets(facts["entries"][host], host, extra) for host in hosts}
    chosen, left = targets(nodes, known, audit, renewals, wanted)
    silent = [finding for finding in audit["findings"] if finding["id"] in ("host_unreachable", "check_failed")
              and wanted.place(finding["host"], finding["site"])]
    warnings = left + ["%s Its certificates were not looked at." % finding["what"] for finding in silent]
    primary, refusal = ca_host(situation.sites)
    if refusal:
        return f.refuse(refusal)
    fresh = [target for target in chosen if target["hooper"]]
    problem = ca_problem(situation, renewals, audit, primary) if fresh else None
    for host in sorted({target["host"] for target in chosen}):
        problem = problem or _host_problem(situation, host)
    if problem:
        return f.refuse(problem, warnings=warnings)
    lock = situation.lock(run, params.get("circonus_lock_break"))
    if lock["refusal"]:
        return f.refuse(lock["refusal"])
    dark = [finding for finding in silent if finding["host"] in known]
    if not chosen and dark:
        return f.refuse("Nothing has to be issued on hosts that answer, but %s could not be looked at (%s). Bring it "
                        "back, or choose others by ca_reissue_limit." % (
                            _first_of([finding["host"] for finding in dark]), dark[0]["found"]), warnings=warnings)
    if not chosen:
        looked = sum(1 for item in audit["certificates"] if item["kind"] == "cert")
        reason = "No certificate has to be issued (%d between hosts looked at)." % looked
        if left:
            reason = "No certificate has to be issued; %d findings are not for this procedure, see the warnings." % (
                len(left))
        return {"result": "nothing_to_do", "reason": reason, "plan": [], "warnings": warnings, "lock_hosts": []}
    return dict(
        _plan(situation, facts, params, chosen, primary),
        warnings=warnings,
        lock_hosts=f.lock_hosts(situation),
        lock_break=lock["break"] or params.get("circonus_lock_break"),
        old_serials=old_serials(audit, chosen),
    )


def _first_of(hosts):
    return hosts[0] if len(hosts) == 1 else "%s and %d more" % (hosts[0], len(hosts) - 1)


def evaluate(nodes: dict, answers: dict, params: dict) -> dict:
    """The audit's verdict by the limits of this procedure."""
    days = params["ca_reissue_expiry_days"]
    return pki_audit.evaluate(nodes, answers, {"pki_audit_expiry_days": days,
                                               "pki_audit_expiry_soon_days": min(7, days)})


def old_serials(audit: dict, chosen: list) -> list:
    """[[issuer, serial, host, path]] of every certificate before, those that an earlier run moved aside included."""
    found = [[item["issuer"], item["serial"], item["host"], item["path"]] for item in audit["certificates"]
             if not item["self_issued"]]
    for target in chosen:
        for item in (target["record"] or {}).get("old") or []:
            for certificate in pki.load({"objects": [item]}).certificates:
                facts = pki.facts(certificate)
                found.append([facts["issuer"], facts["serial"], target["host"], None])
    return found


def _host_problem(situation, host):
    """Why Hooper cannot be run on a host, or None."""
    probes, site = situation.probes, f.site_of(situation.sites, host)
    if not f.reachable(probes, host):
        return "%s does not answer (%s). Bring it back, or leave it out by ca_reissue_limit." % (
            host, (probes.get(host) or {}).get("msg") or "no answer")
    if probes[host].get("killswitch"):
        return "%s has a Hooper killswitch: somebody wants Hooper to keep off. Remove it when that is over." % host
    if f.installed_site(probes, host).get("sha256") != canonical_sha256(situation.sites[site]["raw"]):
        return "site.json on %s is not that of site %s on the controller. Run site_distribute.yml first." % (host, site)
    return None


def _plan(situation, facts, params, chosen, primary):
    """Waves, restarts and the sentences about them."""
    hosts = {target["host"] for target in chosen if not _finished(target)}
    order = {host: facts["order"][host] for host in hosts}
    mode = params["ca_reissue_hooper_mode"]
    stages = operations.hooper_stages(situation.sites, order, mode)
    waves = [wave for stage in stages for wave in stage["waves"]]
    restarts, skipped = restarts_of(situation, facts, params, chosen)
    fresh = [target for target in chosen if target["hooper"]]
    plan = []
    if fresh:
        plan.append("Restart circonus-ca_processor on %s, so that it signs" % primary)
    for wave in waves:
        mine = [target for target in chosen if target["host"] in wave and not _finished(target)]
        plan += [_sentence(target) for target in mine]
        runs = sorted({target["host"] for target in mine if target["hooper"]})
        if runs:
            plan.append("Run Hooper on %s in %s mode and prove what it brings" % (" and ".join(runs), mode))
    for item in restarts:
        ports = "".join(", see the new certificate on port %d" % port["port"] for port in item["presents"])
        plan.append("Restart %s on %s and wait until it is up%s" % (
            " and ".join(item["args"]["only"]), item["host"], ports))
    number = count(chosen, "certificate")
    close: dict = {}
    for target in chosen:
        close.setdefault(target["host"], []).append(target["path"])
    return {
        "result": "proceed",
        "reason": "Reissue %s on %s, then restart %s." % (
            number, count(close, "host"), count(restarts, "service")),
        "done": "%s on %s issued and proven; what reads them runs with them." % (
            number, count(close, "host")),
        "plan": plan + skipped,
        "ca_host": primary,
        "ca_step": _ca_step(facts, params, primary) if fresh else {},
        "waves": [_wave(wave, chosen) for wave in waves],
        "targets": chosen,
        "restarts": restarts,
        "close": close,
    }


def _wave(hosts, chosen):
    """What is done on hosts side by side."""
    mine = [target for target in chosen if target["host"] in hosts and not _finished(target)]
    aside: dict = {}
    for target in mine:
        if target["hooper"]:
            item = {"path": target["path"], "files": target["aside"]}
            aside.setdefault(target["host"], []).append(item)
    return {"hosts": hosts, "hooper": sorted(aside), "aside": aside, "targets": mine}


def _finished(target):
    """Only its services have to be restarted."""
    return not target["hooper"] and _done(target["record"])


def _sentence(target):
    where = "%s on %s" % (target["path"], target["host"])
    why = " (%s)" % "; ".join(target["reasons"]) if target["reasons"] else ""
    if not target["hooper"]:
        return "Prove %s%s" % (where, why)
    if not target["aside"]:
        return "Have the keystore beside %s built anew%s" % (where, why)
    if target["reasons"] and all(text.startswith("pki_missing") for text in target["reasons"]):
        return "Have %s made%s" % (where, why)
    return "Move %s%s aside%s" % (where, " and its key" if len(target["aside"]) > 1 else "", why)


def _ca_step(facts, params, primary):
    entry = next((one for one in facts["entries"][primary] if one["name"] == "ca"), catalogue.load()["ca"])
    more = {"timeout": params["ca_reissue_timeout_s"], "only": ["ca_processor"]}
    return operations.unit_arguments(entry, primary, facts["nodes"][primary], "restart", more)


def restarts_of(situation: f.Situation, facts: dict, params: dict, chosen: list) -> tuple:
    """(restarts in dependency order, sentences about services that are left alone).

    Role after role, each after what it requires; of a role the passive site first, where a surprise hurts nobody; one
    host after another.
    """
    order = catalogue.run_order()
    wanted: dict = {}
    for target in chosen:
        for role in target["roles"]:
            wanted.setdefault((role, target["host"]), []).append(target)
    restarts, skipped = [], []
    for role, host in sorted(wanted, key=lambda pair: _turn(pair, order, facts)):
        entry = next((one for one in facts["entries"][host] if one["name"] == role), None)
        only = readers(entry, wanted[role, host]) if entry else []
        if not only:
            continue
        passive = facts["nodes"][host]["site"] in facts["standby"]
        why = operations.leave_alone(situation, entry, {"role": role, "only": only}, host, passive, [])
        if why:
            skipped.append("%s on %s is left alone: %s." % (" and ".join(only), host, why))
            continue
        mine = wanted[role, host]
        more = {"timeout": params["ca_reissue_timeout_s"], "only": only, "standby": facts["standby"],
                "release": params.get("circonus_release")}
        restarts.append({
            "host": host,
            "role": role,
            "args": operations.unit_arguments(entry, host, facts["nodes"][host], "restart", more),
            "restart": not all(_finished(target) and _newer(situation, entry, only, host, target) for target in mine),
            "presents": [{"port": port, "path": target["path"], "key": target["key"]} for target in mine
                         if target["kind"] == "cert" and target["key"] for port in tls_ports(entry, only)],
        })
    return restarts, skipped


def _turn(pair, order, facts):
    role, host = pair
    site = facts["nodes"][host]["site"]
    return (order.index(role) if role in order else len(order), site not in facts["standby"], str(site), host)


def readers(entry: dict, mine: list) -> list:
    """Ids of the units of a role that read its sets: the one that the catalogue names, all for the operator's files."""
    name = (entry.get("pki") or {}).get("service")
    if any(target["extra"] for target in mine):
        return [unit["id"] for unit in entry["units"]]
    return [unit["id"] for unit in entry["units"] if name in unit["candidates"]]


def tls_ports(entry: dict, only: list) -> list:
    """Ports on which these units present the certificate between hosts: those that are not for users."""
    return [port["port"] for port in entry["ports"]
            if port.get("tls") is True and port["unit"] in only and isinstance(port["port"], int)
            and "users" not in (port.get("clients") or []) and not port.get("optional")]


def _newer(situation, entry, only, host, target):
    """Whether the units were started after the new file was written."""
    units = (situation.probes.get(host) or {}).get("units") or {}
    mtime = (target["record"] or {}).get("mtime")
    found = [units[name] for unit in entry["units"] if unit["id"] in only for name in unit["candidates"]
             if (units.get(name) or {}).get("exists")]
    return bool(found) and mtime is not None and all((unit.get("since_epoch") or 0) > mtime + 1 for unit in found)


# -- the proof --------------------------------------------------------------------------------------------------------


def judge(audit: dict, chosen: list, old: list) -> dict:
    """What has come of the targets: ``{"pending": [hosts], "proven": [{"host", "path", "sha256"}], "problems",
    "missing", "warnings": sentences}``.

    audit: verdict on all answers, the newest of each host. old: of :func:`old_serials`.
    """
    result: dict = {"pending": [], "proven": [], "problems": [], "missing": [], "warnings": []}
    facts: dict = {}
    for item in audit["certificates"]:
        facts.setdefault((item["host"], item["path"]), item)
    for target in chosen:
        place = "%s on %s" % (target["path"], target["host"])
        own = [finding for finding in audit["findings"] if finding["host"] == target["host"] and finding.get("path")
               and belongs(finding, target) and mends(finding, target)]
        fact = facts.get((target["host"], target["path"]))
        waiting = [finding for finding in own if finding["id"] in ("pki_missing",) + KEYSTORE]
        if fact is None and not own or waiting:
            result["pending"].append(target["host"])
            result["missing"].append(place)
            continue
        serious = [finding for finding in own if finding["id"] != "pki_expiring"]
        if serious:
            result["problems"].append(serious[0]["what"])
            continue
        if target["kind"] == "cert" and _given_before(fact, target, old):
            result["problems"].append("Expected a serial number in %s that was never given before, found %s." % (
                place, fact["serial"]))
            continue
        for finding in own:
            result["warnings"].append("%s The CA issues for no longer." % finding["what"])
        result["proven"].append({"host": target["host"], "path": target["path"], "sha256": fact["sha256"]})
    result["pending"] = sorted(set(result["pending"]))
    return result


def _given_before(fact, target, old):
    """Whether a serial number was in use before. That of a set that is only proven stood there already."""
    replaced = target["path"] in target["aside"] or bool((target["record"] or {}).get("files"))
    mine = (target["host"], target["path"])
    return replaced and any(
        (issuer, serial) == (fact["issuer"], fact["serial"]) and (target["hooper"] or (host, path) != mine)
        for issuer, serial, host, path in old
    )


def not_issued(judged: dict, params: dict, primary: str) -> str:
    """Why the run stops when something did not come, or is not right."""
    if judged["problems"]:
        return "%s What was there before is given back." % judged["problems"][0]
    more = " and %d more" % (len(judged["missing"]) - 1) if len(judged["missing"]) > 1 else ""
    return (
        "The CA did not issue %s%s in %s of Hooper. Look at journalctl -u circonus-ca_processor on %s and at %s on %s. "
        "What was there before is given back." % (
            judged["missing"][0], more, count(range(params["ca_reissue_hooper_runs"]), "run"), primary,
            HOOPER_LOG, judged["missing"][0].rpartition(" ")[2])
    )
