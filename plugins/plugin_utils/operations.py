# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decisions of the procedures that keep a platform running: Hooper runs and ordered restarts. Pure.

Shapes are those of ``plugin_utils/failover.py``: sites, probes, parameters and a verdict.

Sources: operation manual "Updates" and "Service Dependencies"; on-premises documentation, Hooper run order.
"""

from __future__ import annotations

from ansible_collections.circonus.inside.plugins.module_utils.site_file import canonical_sha256
from ansible_collections.circonus.inside.plugins.plugin_utils import failover as f

STAGE_NAMES = {1: "web_db", 2: "ca", 3: "mq", 4: "web_frontend", 5: "api", 6: "everything else"}


# -- Hooper ----------------------------------------------------------------------------------------------------------


def rank(sites: dict, host: str, stage: int) -> int:
    """Place of a host within its stage: primaries first, then the database host that a standby site copies from."""
    own = sites[f.site_of(sites, host)]["raw"]
    if stage == 1:
        database = f.role(own, "web_db")
        # Without a master the first entry of the list is the primary.
        master = database.get("master") or next(iter(database.get("_machlist") or []), None)
        return 0 if host == master else 1 if host == database.get("connect_host") else 2
    if stage == 2:
        return 0 if host == (f.role(own, "ca").get("primary") or host) else 1
    return 0


def conflict(sites: dict, host: str, other: str, mode: str) -> bool:
    """Whether two hosts must not be worked on at the same time.

    Storage nodes of one cluster never; CAQL brokers, which form one cluster over both sites, not while packages change.
    """
    roles = set(f.roles_of(sites, host)) & set(f.roles_of(sites, other))
    if "data_storage" in roles and f.site_of(sites, host) == f.site_of(sites, other):
        return True
    return mode == "full" and "caql_broker" in roles


def hooper_stages(sites: dict, order: dict, mode: str) -> list:
    """[{"stage": int, "waves": [[host, ...], ...]}, ...] in which Hooper has to run.

    order: {host: stage} of the hosts that take part. A wave is done before the next begins; its hosts run side by side.
    """
    stages = []
    for stage in sorted(set(order.values())):
        waves = []
        hosts = sorted(host for host in order if order[host] == stage)
        for place in sorted({rank(sites, host, stage) for host in hosts}):
            group: list = []
            for host in (host for host in hosts if rank(sites, host, stage) == place):
                for wave in group:
                    if not any(conflict(sites, host, other, mode) for other in wave):
                        wave.append(host)
                        break
                else:
                    group.append([host])
            waves += group
        stages.append({"stage": stage, "waves": waves})
    return stages


def hooper_verdict(situation: f.Situation, order: dict, params: dict, run: dict, findings: list) -> dict:
    """Decide about a Hooper run over the hosts in ``order`` ({host: stage})."""
    probes, sites = situation.probes, situation.sites
    hosts = sorted(order)
    if not hosts:
        return f.refuse("Expected hosts that Hooper manages, found none. Check the inventory and --limit.")
    for host in hosts:
        if not f.reachable(probes, host):
            return f.refuse(
                "%s does not answer (%s). Hooper runs on all hosts or on none: bring it back, or leave it out by "
                "--limit." % (host, _why(probes, host))
            )
    for host in hosts:
        problem = _hooper_problem(sites, probes, host, params)
        if problem:
            return f.refuse(problem)
    lock = situation.lock(run, params.get("circonus_lock_break"))
    if lock["refusal"]:
        return f.refuse(lock["refusal"])
    stages = hooper_stages(sites, order, params["hooper_run_mode"])
    plan = []
    for stage in stages:
        waves = ", then ".join(" and ".join(wave) for wave in stage["waves"])
        plan.append("Stage %d (%s): %s" % (stage["stage"], STAGE_NAMES.get(stage["stage"], "?"), waves))
    how = (
        "in maintenance mode, packages stay as they are"
        if params["hooper_run_mode"] == "maintenance"
        else "in full mode, packages are updated"
    )
    return {
        "result": "proceed",
        "reason": "Run Hooper on %s %s." % (_count(hosts, "host"), how),
        "done": "Hooper ran on %s." % _count(hosts, "host"),
        "plan": plan,
        "warnings": [
            "%s %s: %s" % (item["id"], item["path"], item["message"])
            for item in findings
            if item["severity"] == "error"
        ],
        "stages": stages,
        "waves": [wave for stage in stages for wave in stage["waves"]],
        "lock_hosts": _lock_hosts(situation, hosts),
        "lock_break": lock["break"] or params.get("circonus_lock_break"),
    }


def _why(probes, host):
    return (probes.get(host) or {}).get("msg") or "no answer"


def _lock_hosts(situation, hosts):
    """Database hosts that take part; without any, the primary, so that a failover cannot start meanwhile."""
    mine = [host for host in f.lock_hosts(situation) if host in hosts]
    if mine:
        return mine
    for site in situation.sites.values():
        master = f.role(site["raw"], "web_db").get("master")
        if master:
            return [master]
    return situation.db_hosts[:1]


def _hooper_problem(sites, probes, host, params):
    site = f.site_of(sites, host)
    installed = f.installed_site(probes, host)
    if not installed.get("present"):
        return "%s has no site.json (%s). Run site_distribute.yml first." % (
            host,
            installed.get("error") or (probes[host].get("missing") or {}).get("site") or "missing",
        )
    if installed.get("sha256") != canonical_sha256(sites[site]["raw"]):
        return "site.json on %s differs from that of site %s on the controller. Run site_distribute.yml first." % (
            host,
            site,
        )
    if probes[host].get("killswitch") and not params.get("hooper_run_allow_killswitch"):
        return (
            "%s has a Hooper killswitch: somebody wants Hooper to keep off. Remove it when that is over, or add -e "
            "hooper_run_allow_killswitch=true to leave this host out." % host
        )
    return None


def hooper_pending(answers: dict) -> list:
    """Hosts whose last run asks for another one. answers: {host: result of hooper_run}."""
    return sorted(host for host, answer in answers.items() if (answer or {}).get("again"))


def hooper_outcome(answers: dict, check_mode: bool) -> dict:
    """What the report says: {"facts", "warnings", "problem": sentence or None}."""
    warnings, still = [], []
    for host in sorted(answers):
        answer = answers[host] or {}
        summary = answer.get("summary") or {}
        warnings += ["%s: NOTICE: %s" % (host, text) for text in summary.get("NOTICE") or []]
        warnings += ["%s: %s" % (host, text) for text in answer.get("messages") or []]
        if answer.get("skipped"):
            warnings.append("%s: %s" % (host, answer.get("reason")))
        still += ["%s: %s" % (host, text) for text in summary.get("WARNING") or []]
    keys = ("rc", "changed", "updated", "seconds", "runs", "summary")
    facts = {host: {key: (answers[host] or {}).get(key) for key in keys} for host in sorted(answers)}
    problem = None
    if still and check_mode:
        warnings += ["%s: WARNING: %s" % tuple(text.split(": ", 1)) for text in still]
    elif still:
        more = " (and %d more)" % (len(still) - 1) if len(still) > 1 else ""
        problem = (
            "Hooper still warns after its last run on %s%s. Settle it and run it again, or allow more runs by "
            "hooper_run_passes." % (still[0].rstrip("."), more)
        )
    return {"facts": facts, "warnings": warnings, "problem": problem}


# -- ordered restarts ------------------------------------------------------------------------------------------------


def active_site(situation: f.Situation) -> tuple:
    """(name of the active site, refusal). Database and site.json must agree."""
    sites = situation.sites
    silent = [host for host in situation.db_hosts if not f.reachable(situation.probes, host)]
    if silent and not situation.primaries:
        return None, "%s does not answer (%s), and no other database accepts writes. Bring it back." % (
            silent[0],
            _why(situation.probes, silent[0]),
        )
    if len(sites) == 1:
        return next(iter(sites)), None
    named = sorted(name for name, site in sites.items() if site["raw"].get("active_datacenter") is True)
    found = sorted({f.site_of(sites, host) for host in situation.primaries})
    if len(situation.primaries) > 1:
        return None, "%s accept writes at the same time. Stop one of them before anything else is done." % (
            " and ".join(situation.primaries)
        )
    if found and named and found != named:
        return None, (
            "The witnesses do not agree which site is active: the primary database is in %s, site.json says %s. Finish "
            "the failover first." % (found[0], ", ".join(named))
        )
    if found or len(named) == 1:
        return (found or named)[0], None
    return None, (
        "No database accepts writes and site.json does not name the active site. Start the primary database first."
    )


def restart_verdict(situation: f.Situation, catalogue: dict, chains: dict, params: dict, run: dict) -> dict:
    """Decide about restarting what depends on a service.

    catalogue: {role: catalogue entry}. chains: {service: {edition: [{"role", "only": [unit ids]}, ...]}}. The verdict
    has
    ``restarts``: [{"role", "host", "only", "service"}] strictly in order.
    """
    trigger = params["service_restart_dependents_of"]
    wanted = params.get("service_restart_dependents_site")
    if wanted and wanted not in situation.sites:
        return f.refuse(
            "service_restart_dependents_site must be one of %s, found %s."
            % (", ".join(sorted(situation.sites)), wanted)
        )
    active, refusal = active_site(situation)
    if refusal:
        return f.refuse(refusal)
    scope = [active] + sorted(name for name in situation.sites if name != active)
    scope = [name for name in scope if wanted in (None, name)]
    problem = _trigger_problem(situation, trigger, scope)
    if problem:
        return f.refuse(problem)
    lock = situation.lock(run, params.get("circonus_lock_break"))
    if lock["refusal"]:
        return f.refuse(lock["refusal"])
    edition = f.edition_of(situation.sites, params.get("circonus_edition"))
    restarts, skipped, warnings = [], [], []
    for link in chains[trigger][edition]:
        entry = catalogue.get(link["role"])
        for site in scope:
            for host in f.local_machines(situation.sites, site, link["role"]):
                if not f.reachable(situation.probes, host):
                    return f.refuse(
                        "%s does not answer (%s); %s on it is part of the chain. Bring it back, then start "
                        "again." % (host, _why(situation.probes, host), link["role"])
                    )
                why = _leave_alone(situation, entry, link, host, site != active, warnings)
                if why:
                    skipped.append("%s on %s is left alone: %s." % (link["role"], host, why))
                else:
                    restarts.append(
                        {
                            "role": link["role"],
                            "host": host,
                            "only": link.get("only"),
                            "service": {
                                "name": entry["name"],
                                "units": entry["units"],
                                "logs": entry.get("logs") or [],
                            },
                        }
                    )
    plan = [
        "Restart %s on %s and wait until it is up"
        % (" and ".join(item["only"]) if item["only"] else item["role"], item["host"])
        for item in restarts
    ] + skipped
    base = {
        "plan": plan,
        "warnings": warnings,
        "restarts": restarts,
        "edition": edition,
        "active": active,
        "lock_hosts": f.lock_hosts(situation),
        "lock_break": lock["break"] or params.get("circonus_lock_break"),
    }
    if not restarts:
        return dict(
            base,
            result="nothing_to_do",
            reason="Nothing that depends on %s has to be restarted (edition %s)." % (trigger, edition),
        )
    return dict(
        base,
        result="proceed",
        reason="Restart %s of %s, one after another (edition %s)." % (_count(restarts, "dependant"), trigger, edition),
        done="%s of %s restarted; everything is up." % (_count(restarts, "dependant"), trigger),
    )


def _count(items, word):
    return "%d %s%s" % (len(items), word, "" if len(items) == 1 else "s")


def _trigger_problem(situation, trigger, scope):
    if trigger == "web_db":
        if not situation.primaries:
            return (
                "No database accepts writes; what depends on it would only fail again. Start the primary database "
                "first."
            )
        return None
    for site in scope:
        hosts = f.local_machines(situation.sites, site, trigger)
        names = situation.units.get(trigger) or []
        if hosts and not any(f.unit_active(situation.probes, host, names) for host in hosts):
            return "%s runs on no host of %s (%s); what depends on it would only fail again. Start it first." % (
                trigger,
                site,
                ", ".join(hosts),
            )
    return None


def _leave_alone(situation, entry, link, host, passive, warnings):
    """Why a service of a host is not restarted, or None."""
    if entry is None:
        return "this collection does not know its units"
    units = situation.probes[host].get("units") or {}
    found = []
    for unit in entry["units"]:
        if link.get("only") and unit["id"] not in link["only"]:
            continue
        found += [units[name] for name in unit["candidates"] if units.get(name, {}).get("exists")]
    running = any(unit["active"] in ("active", "activating", "reloading") for unit in found)
    if passive and entry.get("passive") == "stopped":
        if running:
            warnings.append(
                "%s runs on %s in the passive datacenter and must not. Stop it, and find out who started "
                "it." % (link["role"], host)
            )
        return "it is kept stopped in the passive datacenter"
    if not found:
        return "it is not installed"
    if not running and not any(unit["enabled"] == "enabled" for unit in found):
        return "it is switched off on this host"
    return None
