# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decisions of ca_backup, ca_sync and ca_failover. Pure.

Shapes are those of ``plugin_utils/failover.py``. ``authorities``: {host: result of the module ca_info, or {"reachable":
False, "msg"}}. ``seen``: {"serials": {hex: [[host, path, digest], …]}, "crl_numbers": [int], "broken": [sentence]} of
what the hosts of the platform have in use.

Sources: operation manual "CA Failover"; later edition, several CA hosts (copied daily, one processor on ``primary``).
"""

from __future__ import annotations

import copy

from ansible_collections.circonus.inside.plugins.module_utils import ca_authority
from ansible_collections.circonus.inside.plugins.module_utils.site_file import canonical_sha256
from ansible_collections.circonus.inside.plugins.plugin_utils import failover as f

UNIT = "circonus-ca_processor"
RUNNING = ("active", "activating", "reloading")


# -- small readers ---------------------------------------------------------------------------------------------------


def ca_hosts(sites: dict) -> list:
    """CA hosts of all sites, sorted."""
    return sorted({host for name in sites for host in f.local_machines(sites, name, "ca")})


def named(raw: dict) -> str | None:
    """``ca.primary`` of a file in either spelling, the only CA host where none is named."""
    section = f.role(raw, "ca")
    alone = f.machines(raw, "ca")
    return section.get("primary") or section.get("master") or (alone[0] if len(alone) == 1 else None)


def active_site(sites: dict) -> str | None:
    """The site whose file says so, the only site, or None."""
    marked = [name for name, site in sites.items() if site["raw"].get("active_datacenter") is True]
    return marked[0] if len(marked) == 1 else next(iter(sites)) if len(sites) == 1 else None


def with_primary(raws: dict, host: str) -> dict:
    """{site: raw} with ``host`` as ca.primary: new deep copies, spelling kept."""
    result = copy.deepcopy(raws)
    for raw in result.values():
        section = f.role(raw, "ca")
        section["master" if "master" in section and "primary" not in section else "primary"] = host
    return result


def primary_key(raw: dict) -> str:
    """Path of the attribute in one file."""
    section = f.role(raw, "ca")
    return "svclist.ca.%s" % ("master" if "master" in section and "primary" not in section else "primary")


def usable(authorities: dict, host: str) -> bool:
    """The host answered and holds a whole CA."""
    answer = authorities.get(host) or {}
    return bool(answer.get("initialised")) and not answer.get("problem")


def processor(authorities: dict, host: str) -> str | None:
    """Why the processor of a host counts as one (``is active``, ``is enabled``), or None."""
    unit = (authorities.get(host) or {}).get("processor") or {}
    if unit.get("active") in RUNNING:
        return "is %s" % unit["active"]
    return "is enabled" if unit.get("enabled") in ("enabled", "enabled-runtime") else None


def gap(authorities: dict, one: str, other: str, accepted=()) -> list:
    """What ``one`` has issued or counted that ``other`` does not know."""
    return [item for item in ca_authority.ahead(authorities[one], authorities[other]) if item not in accepted]


def listed(items) -> str:
    """Some of many, for a sentence."""
    items = list(items)
    return ", ".join(items[:8]) + (" and %d more" % (len(items) - 8) if len(items) > 8 else "")


def choose(authorities: dict, target: str, accepted=()) -> tuple:
    """``(host whose copy the target must get, or None when its own is right; problem)`` among the hosts that answer."""
    have = [host for host in sorted(authorities) if usable(authorities, host)]
    if not have:
        return None, (
            "No CA host that answers holds the CA with its keys. Restore an archive on %s: name it by "
            "ca_failover_backup." % target
        )
    if len({authorities[host]["fingerprint"] for host in have}) > 1:
        return None, (
            "The CA certificates on %s are not the same, so these are different authorities. Find out which one "
            "public-info/ca.crt belongs to, and move the other directory away." % " and ".join(have)
        )
    best = [
        host for host in have if not any(gap(authorities, other, host, accepted) for other in have if other != host)
    ]
    if target in best:
        return None, None
    if best:
        return best[0], None
    for one in have:
        for other in have:
            mine, theirs = (gap(authorities, *pair, accepted) for pair in ((one, other), (other, one)))
            if one < other and mine and theirs:
                return None, (
                    "The copies of the CA have diverged: %s has %s that %s does not know, and %s has %s. Look at these "
                    "certificates; when they may be forgotten add -e ca_failover_accept_serials=<serials>."
                    % (one, listed(mine), other, other, listed(theirs))
                )
    return None, "The copies of the CA on %s differ in a way that has no newest one." % ", ".join(have)


# -- ca_failover -----------------------------------------------------------------------------------------------------


def unfinished(situation: f.Situation, authorities: dict, changed: dict, target: str, current=True) -> list:
    """What is not yet as it must be when ``target`` is the CA; empty when it is.

    changed: {site: raw} as the files must be. current: whether those of the controller are.
    """
    work = []
    if not usable(authorities, target):
        return ["%s does not hold the CA" % target]
    if (authorities[target].get("processor") or {}).get("active") != "active":
        work.append("%s is not active on %s" % (UNIT, target))
    for host in ca_hosts(situation.sites):
        if host == target:
            continue
        if processor(authorities, host):
            work.append("%s %s on %s" % (UNIT, processor(authorities, host), host))
        if usable(authorities, host) and authorities[host]["fingerprint"] == authorities[target]["fingerprint"]:
            unknown = gap(authorities, host, target)
            if unknown:
                work.append("%s has %s that %s does not know" % (host, listed(unknown), target))
    stale = [
        host
        for name, site in situation.sites.items()
        for host in site["hosts"]
        if f.reachable(situation.probes, host)
        and f.installed_site(situation.probes, host).get("sha256") != canonical_sha256(changed[name])
    ]
    if stale:
        work.append("site.json of %s" % ", ".join(sorted(stale)))
    if not current:
        work.append("the site files of the controller")
    return work


def failover_verdict(
    situation: f.Situation, authorities: dict, changed: dict, params: dict, run: dict, findings: list, seen: dict
) -> dict:
    """Decide about moving the CA to ``params["ca_failover_to"]``. changed: the files as they must be afterwards."""
    sites, target = situation.sites, params["ca_failover_to"]
    hosts = ca_hosts(sites)
    accepted = [item.upper() for item in params.get("ca_failover_accept_serials") or []]
    if target not in hosts:
        return f.refuse("ca_failover_to must be a CA host (%s), found %s." % (", ".join(hosts) or "none", target))
    if params.get("circonus_confirm") != target:
        return f.refuse(
            "circonus_confirm must name the host that becomes the CA (%s), found %s. Nothing was changed."
            % (target, params.get("circonus_confirm") or "nothing")
        )
    active, site = active_site(sites), f.site_of(sites, target)
    if site != active:
        return f.refuse(
            "%s stands in %s, the active site is %s. The processor writes to the database of its own site, which is a "
            "standby there. Name another CA host of %s, or move the platform by datacenter_failover.yml, which takes "
            "the CA along." % (target, site, active or "not known", active or "the active site")
        )
    errors = [item for item in findings if item["severity"] == "error"]
    if errors:
        return f.refuse(
            "site.json is not valid: %s %s: %s. Run site_check.yml."
            % (errors[0]["id"], errors[0]["path"], errors[0]["message"].rstrip("."))
        )
    names = sorted({named(entry["raw"]) or "" for entry in sites.values()} - {target})
    primary = names[0] if names else target
    base = {
        "target": target,
        "site": site,
        "primary": primary,
        "mode": params["ca_failover_mode"],
        "lost": params.get("ca_failover_lost_host"),
        "accepted": accepted,
        "ca_hosts": [host for host in hosts if f.reachable(situation.probes, host)],
        "reachable_hosts": sorted(
            host for entry in sites.values() for host in entry["hosts"] if f.reachable(situation.probes, host)
        ),
        "lock_hosts": f.lock_hosts(situation),
        "broken_before": seen["broken"],
        "warnings": [],
    }
    return dict(base, **_failover_rules(situation, authorities, changed, params, run, base))


def _failover_rules(situation, authorities, changed, params, run, base):
    target, primary, probes = base["target"], base["primary"], situation.probes
    if not f.reachable(probes, target):
        reason = (probes.get(target) or {}).get("msg") or "no reason given"
        return f.refuse("%s does not answer (%s)." % (target, reason))
    lock = situation.lock(run, params.get("circonus_lock_break"))
    if lock["refusal"]:
        return f.refuse(lock["refusal"])
    problem = _site_problem(situation, changed) or _mode_problem(situation, authorities, params, base)
    if problem:
        return f.refuse(problem)
    current = all(situation.sites[name]["raw"] == changed[name] for name in changed)
    work = unfinished(situation, authorities, changed, target, current)
    away = sorted({h for s in situation.sites.values() for h in s["hosts"]} - set(base["reachable_hosts"]))
    remaining = []
    if away:
        remaining = ["%s did not answer: when it is back, start the same command again; it gives it the site.json and "
                     "fences its CA." % ", ".join(away)]
    if not work:
        return dict(f.refuse("%s is the CA already." % target), result="nothing_to_do", remaining=remaining)
    source, problem = choose(authorities, target, base["accepted"])
    stop = [host for host in base["ca_hosts"] if host != target and (host == primary or processor(authorities, host))]
    settled = primary == target and (authorities[target].get("processor") or {}).get("active") == "active"
    if problem and not settled and not params.get("ca_failover_backup"):
        return f.refuse(problem)
    return dict(
        _failover_plan(base, params, source, stop, settled, work, remaining), lock_break=lock["break"], settled=settled
    )


def _site_problem(situation, changed):
    """An installed site.json that is neither of the two versions this procedure knows."""
    for name, site in situation.sites.items():
        known = {canonical_sha256(site["raw"]), canonical_sha256(changed[name])}
        # A run that was ended after the first of the two files left the other one as it was.
        other = copy.deepcopy(changed[name])
        for host in ca_hosts(situation.sites):
            section = f.role(other, "ca")
            section[primary_key(other).rsplit(".", 1)[1]] = host
            known.add(canonical_sha256(other))
        for host in site["hosts"]:
            installed = f.installed_site(situation.probes, host)
            if f.reachable(situation.probes, host) and installed.get("sha256") not in known:
                return (
                    "site.json on %s differs from that of site %s on the controller in more than ca.primary. Run "
                    "site_distribute.yml first." % (host, name)
                )
    return None


def _mode_problem(situation, authorities, params, base):
    target, primary, probes = base["target"], base["primary"], situation.probes
    silent = [host for host in ca_hosts(situation.sites) if not f.reachable(probes, host)]
    if base["mode"] == "planned":
        if primary != target and primary in silent:
            return (
                "%s, which is the CA, does not answer (%s). When it is lost add -e ca_failover_mode=lost -e "
                "ca_failover_lost_host=%s." % (primary, (probes.get(primary) or {}).get("msg") or "no answer", primary)
            )
        if primary != target and not usable(authorities, primary):
            return (
                "Expected the CA with its keys on %s, found %s. When it is lost add -e ca_failover_mode=lost -e "
                "ca_failover_lost_host=%s."
                % (primary, ((authorities.get(primary) or {}).get("problem") or "none").rstrip("."), primary)
            )
        if params.get("ca_failover_backup"):
            return "ca_failover_backup is for ca_failover_mode=lost. A planned failover copies from %s." % primary
        return None
    lost = base["lost"]
    if lost not in ca_hosts(situation.sites) or lost == target:
        return "ca_failover_lost_host must name the CA host that is lost (%s), found %s. Nothing was changed." % (
            primary if primary != target else "another CA host", lost or "nothing")
    if primary not in (lost, target):
        return "ca_failover_lost_host is %s, but the CA is on %s." % (lost, primary)
    if primary == lost and lost not in silent and usable(authorities, lost):
        return "%s answers and holds the CA, it is not lost. Use ca_failover_mode=planned." % lost
    return None


def _failover_plan(base, params, source, stop, settled, work, remaining):
    target, lost = base["target"], base["mode"] == "lost"
    plan = ["Take the lock of the platform on %s." % ", ".join(base["lock_hosts"])]
    if stop:
        plan.append("Stop and disable %s on %s." % (UNIT, ", ".join(stop)))
    if settled:
        plan.append("site.json on %d hosts: ca.primary is %s." % (len(base["reachable_hosts"]), target))
        plan.append("Prove that %s knows everything issued elsewhere, then move aside what is there." % target)
    else:
        if lost and params.get("ca_failover_backup"):
            plan.append("Restore %s on %s; what is there goes aside." % (params["ca_failover_backup"], target))
        elif source:
            plan.append("Copy the CA from %s to %s, sealed for it alone; what is there goes aside." % (source, target))
        else:
            plan.append("Go on from the copy that %s has." % target)
        if lost:
            plan.append(
                "Raise the next serial and CRL number %d beyond every one that is known, make a CRL."
                % params["ca_failover_margin"]
            )
        plan.append("site.json on %d hosts: ca.primary is %s." % (len(base["reachable_hosts"]), target))
        plan.append("Hooper in maintenance mode on %s; %s is started there." % (target, UNIT))
    plan.append("Probe everything again and prove the result.")
    reason = "%s becomes the CA." % target
    if settled:
        reason = "%s is the CA; finish: %s." % (target, "; ".join(work[:4]))
    if lost and not settled and not params.get("ca_failover_backup"):
        reason += " What %s issued after the last copy is not in its index." % base["lost"]
    return {
        "result": "proceed",
        "reason": reason,
        "plan": plan,
        "done": "%s is the CA." % target,
        "stop": stop,
        "remaining": remaining,
        "restore": params.get("ca_failover_backup") if lost and not settled else None,
    }


def copy_decision(verdict: dict, authorities: dict, params: dict, seen: dict) -> dict:
    """What to do once nobody signs any more: ``{"copy_from", "refresh", "serial_floor", "crl_floor", "problem"}``.

    Asked after the other processors were stopped. refresh: hosts that were fenced and get the copy of the target.
    The floors are None unless the target goes on from a copy that may be too old.
    """
    target, accepted = verdict["target"], verdict["accepted"]
    decision = {"copy_from": None, "refresh": [], "serial_floor": None, "crl_floor": None, "problem": None}
    running = [host for host in verdict["stop"] if processor(authorities, host)]
    if running:
        return dict(decision, problem="%s on %s %s although it was stopped. Stop it by hand." % (
            UNIT, running[0], processor(authorities, running[0])))
    source, problem = choose(authorities, target, accepted)
    if verdict["settled"]:
        if source:
            problem = (
                "%s has %s that %s, which is the CA, does not know. Its processor is stopped and disabled. Look at "
                "these certificates; when they may be forgotten add -e ca_failover_accept_serials=<serials>."
                % (source, listed(gap(authorities, source, target, accepted)), target)
            )
        fenced = {
            host for host in verdict["stop"]
            if (authorities.get(host) or {}).get("present")
            and authorities[host]["manifest_sha256"] != authorities[target]["manifest_sha256"]
        }
        return dict(decision, refresh=sorted(fenced.union(_ahead_of(authorities, target, target))), problem=problem)
    if problem and not (verdict["restore"] and not usable(authorities, target)):
        return dict(decision, problem=problem)
    if not verdict["restore"]:
        decision["copy_from"] = source
        decision["refresh"] = _ahead_of(authorities, source or target, target)
    if verdict["mode"] == "lost":
        have = [authorities[host] for host in sorted(authorities) if usable(authorities, host)]
        # A second loss must begin above the numbers of this one, so every other copy gets to know them; but an archive
        # never replaces a copy, which may know more.
        if not verdict["restore"]:
            decision["refresh"] = [host for host in sorted(authorities) if host != target and usable(authorities, host)]
        decision.update(floors(authorities, have, seen, params["ca_failover_margin"]))
    return decision


def floors(authorities: dict, have: list, seen: dict, margin: int) -> dict:
    """``{"serial_floor", "crl_floor"}``: lowest next numbers of a CA that goes on from a copy which may be too old.

    have: those of the authorities that are copies of it. margin: how far beyond the highest number that is known. The
    next number of a copy counts as known: it may have been raised for an earlier loss. A run that is repeated after it
    raised therefore raises once more, which harms nobody.
    """
    serials = [max(item["highest"], item["serial"] - 1) for item in have]
    serials += [int(serial, 16) for serial in seen["serials"]]
    backups = [record for host in authorities for record in (authorities[host] or {}).get("backups") or []]
    serials += [int(record.get("serial") or 1) - 1 for record in backups]
    numbers = [max(item["crl"].get("number", 0), item["crl_number"] - 1) for item in have] + list(seen["crl_numbers"])
    return {"serial_floor": max([0, *serials]) + 1 + margin, "crl_floor": max([0, *numbers]) + 1 + margin}


def _ahead_of(authorities, one, target):
    """Hosts that know something which ``one`` does not, accepted or not; they get the copy of the target."""
    return [
        host for host in sorted(authorities)
        if host not in (one, target) and usable(authorities, host) and usable(authorities, one)
        and gap(authorities, host, one)
    ]


def failover_proof(situation: f.Situation, authorities: dict, changed: dict, verdict: dict, seen: dict) -> list:
    """What is wrong after the last step, empty when all is proven."""
    problems = unfinished(situation, authorities, changed, verdict["target"])
    problems += [text for text in seen["broken"] if text not in verdict["broken_before"]]
    return problems + twice(seen["serials"])


def twice(serials: dict) -> list:
    """Sentences about serial numbers that two different certificates have."""
    found = []
    for serial, places in sorted(serials.items()):
        different = {digest: "%s:%s" % (host, path) for host, path, digest in places}
        if len(different) > 1:
            found.append("serial %s is that of two certificates, %s" % (serial, " and ".join(different.values())))
    return found


# -- the CA in an unplanned datacenter_failover ------------------------------------------------------------------------


def take_over_wanted(wanted: dict, authorities: dict, seen: dict, database: dict, margin: int) -> dict:
    """What the host that takes over has to do: ``{"event", "serial_floor", "crl_floor", "problem"}``.

    wanted: ``{"host", "lost"}`` of the verdict. database: ``{"system_identifier", "timeline"}`` of the new primary. A
    promotion begins a timeline that no other one has, so it tells this failover from every other, whoever asks. The
    margin counts once for each: two sites that are lost one after the other, before the CA was copied again, go on from
    nearly the same copy and must not land on the same numbers.
    """
    host = wanted["host"]
    event = ""
    if database.get("system_identifier") and database.get("timeline"):
        event = "%s timeline %s" % (database["system_identifier"], database["timeline"])
    result = {"event": event, "serial_floor": None, "crl_floor": None, "problem": ""}
    if not usable(authorities, host):
        answer = authorities.get(host) or {}
        return dict(result, problem="Expected a copy of the CA with its keys on %s, found %s." % (
            host, (answer.get("problem") or answer.get("msg") or "none").rstrip(".")))
    have = [item for name, item in sorted(authorities.items()) if usable(authorities, name)
            and item["fingerprint"] == authorities[host]["fingerprint"]]
    return dict(result, **floors(authorities, have, seen, margin * max(1, int(database.get("timeline") or 1))))


def take_over_remaining(wanted: dict, answer: dict) -> list:
    """What somebody has to do: nothing, or one sentence. answer: of the module ca_authority."""
    host, lost = wanted["host"], wanted["lost"]
    if answer.get("taken"):
        return []
    problem = (answer.get("problem") or answer.get("msg") or "no answer").rstrip(".")
    done = "it is kept from starting"
    if "taken" not in answer:
        done = "it could not be kept from starting either, so stop %s there now" % UNIT
    text = (
        "The CA on %s does not sign, because its numbers could not be raised beyond what %s may have issued: %s. No "
        "certificate is issued or renewed; %s. Mend that and start the same command again, or restore an archive: "
        "ca_failover.yml -e ca_failover_to=%s -e circonus_confirm=%s -e ca_failover_mode=lost -e "
        "ca_failover_lost_host=%s -e ca_failover_backup=<archive>." % (host, lost, problem, done, host, host, lost))
    return [text]


# -- ca_sync and ca_backup -------------------------------------------------------------------------------------------


def current_primary(situation: f.Situation, authorities: dict) -> tuple:
    """``(the CA host, problem)``: named by every file and holding the CA."""
    names = sorted({named(site["raw"]) or "" for site in situation.sites.values()})
    if len(names) != 1 or not names[0]:
        return None, "ca.primary is not the same in all site files (%s). Run ca_failover.yml again." % ", ".join(names)
    host = names[0]
    if not f.reachable(situation.probes, host):
        return host, "%s, which is the CA, does not answer (%s)." % (
            host, (situation.probes.get(host) or {}).get("msg") or "no reason given")
    if not usable(authorities, host):
        answer = authorities.get(host) or {}
        return host, "Expected the CA with its keys on %s, found %s." % (
            host, (answer.get("problem") or answer.get("msg") or "none").rstrip("."))
    return host, None


def sync_verdict(situation: f.Situation, authorities: dict, params: dict, run: dict) -> dict:
    """Decide about copying the CA to every other CA host. The verdict has ``source`` and ``targets``."""
    source, problem = current_primary(situation, authorities)
    if problem:
        return f.refuse(problem)
    others = [host for host in ca_hosts(situation.sites) if host != source]
    if not others:
        return dict(f.refuse("%s is the only CA host." % source), result="nothing_to_do")
    lock = situation.lock(run, params.get("circonus_lock_break"))
    if lock["refusal"]:
        return f.refuse(lock["refusal"])
    targets, silent = [], []
    for host in others:
        if not f.reachable(situation.probes, host) or "manifest_sha256" not in authorities.get(host, {}):
            silent.append(host)
            continue
        if processor(authorities, host):
            return f.refuse(
                "%s on %s %s, but %s is ca.primary. Two authorities must never sign: run ca_failover.yml with "
                "ca_failover_to=%s." % (UNIT, host, processor(authorities, host), source, source)
            )
        problem = sync_problem(authorities, source, host)
        if problem:
            return f.refuse(problem)
        if authorities[host]["manifest_sha256"] != authorities[source]["manifest_sha256"]:
            targets.append(host)
    base = {
        "source": source,
        "targets": targets,
        "ca_hosts": [host for host in [source, *others] if host not in silent],
        "silent": silent,
        "lock_hosts": f.lock_hosts(situation),
        "lock_break": lock["break"],
        "remaining": ["%s did not answer and has no new copy of the CA." % host for host in silent],
    }
    if not targets:
        same = [host for host in others if host not in silent]
        if silent:
            reason = "%s did not answer, so its copy of the CA is not current." % ", ".join(silent)
            return dict(f.refuse(reason), **base)
        reason = "The copies on %s are current." % ", ".join(same)
        return dict(f.refuse(reason), **dict(base, result="nothing_to_do"))
    return dict(
        base,
        result="proceed",
        reason="Copy the CA of %s to %s." % (source, ", ".join(targets)),
        done="%s %s the CA of %s." % (", ".join(targets), "has" if len(targets) == 1 else "have", source),
        plan=["Take the lock of the platform on %s." % ", ".join(base["lock_hosts"])]
        + ["Copy the CA from %s to %s (encrypted for it alone)." % (source, host) for host in targets],
        warnings=[],
    )


def sync_problem(authorities: dict, source: str, host: str) -> str | None:
    """Why the copy of a host must not be replaced, or None."""
    if not usable(authorities, source):
        why = (authorities.get(source) or {}).get("msg") or "it has none"
        return "Expected the CA of %s to compare with, found none: %s. Run the same command again when it answers." % (
            source, str(why).rstrip("."))
    if not authorities[host].get("initialised"):
        return None
    if authorities[host].get("problem"):
        # A copy that was broken off has no say; what is there goes aside.
        return None
    if authorities[host]["fingerprint"] != authorities[source]["fingerprint"]:
        return "%s holds another authority than %s. Move its directory away." % (host, source)
    unknown = gap(authorities, host, source)
    if unknown:
        return (
            "%s has %s that %s does not know: its copy is newer or has diverged, and replacing it would forget that. "
            "Run ca_failover.yml to the right host." % (host, listed(unknown), source)
        )
    return None


def backup_verdict(situation: f.Situation, authorities: dict) -> dict:
    """Decide about a backup. The verdict has ``host``."""
    host, problem = current_primary(situation, authorities)
    if problem:
        return f.refuse(problem)
    return {
        "result": "proceed",
        "reason": "Back up the CA on %s." % host,
        "plan": ["Make an archive on %s unless the newest one holds what is there." % host,
                 "Restore it to a private directory there, compare every file, sign a request."],
        "warnings": [],
        "host": host,
    }


def backup_summary(host: str, answer: dict, check_mode: bool) -> dict:
    """What the report says of a backup: ``{"facts", "warnings", "done"}``."""
    archive = answer.get("archive") or {}
    authority = answer.get("authority") or {}
    keys = ("path", "size", "sha256", "created", "files", "proven", "recipient")
    facts = {key: archive.get(key) for key in keys}
    facts.update(host=host, age_s=answer.get("age_s"), made=bool(answer.get("made")), kept=answer.get("kept"),
                 removed=answer.get("removed") or [], serial="%X" % authority.get("serial", 0),
                 crl_next_update=(authority.get("crl") or {}).get("next_update"))
    warnings = ["%s on %s is damaged: its content is not that of its record. Look at it, then remove it." % (path, host)
                for path in answer.get("damaged") or []]
    if check_mode:
        done = "An archive would be made on %s." % host if answer.get("made") else "The newest archive is current."
    elif answer.get("made"):
        done = "%s:%s was made and proven by restoring it and signing there." % (host, archive.get("path"))
    else:
        done = "%s:%s holds what is there, nothing was made." % (host, archive.get("path"))
    return {"facts": facts, "warnings": warnings, "done": done}
