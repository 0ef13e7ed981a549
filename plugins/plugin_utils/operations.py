# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decisions of the procedures that keep a platform running: Hooper, restarts, one verb on a role. Pure.

Shapes are those of ``plugin_utils/failover.py``: sites, probes, parameters and a verdict.

Sources: operation manual "Updates" and "Service Dependencies"; on-premises documentation, Hooper run order.
"""

from __future__ import annotations

from ansible_collections.circonus.inside.plugins.module_utils import repository
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError
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
    linked = chain(situation, catalogue, chains[trigger][edition], scope, active)
    if linked["refusal"]:
        return f.refuse(linked["refusal"])
    restarts, skipped, warnings = linked["restarts"], linked["skipped"], linked["warnings"]
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


def chain(situation: f.Situation, catalogue: dict, links: list, scope: list, active: str) -> dict:
    """The services of a dependency chain, in order.

    links: [{"role", "only" (optional)}]. scope: sites, in the order in which they are worked on. Returns {"restarts":
    [{"role", "host", "only", "service"}], "skipped": sentences, "warnings": sentences, "refusal": sentence or None}.
    """
    result: dict = {"restarts": [], "skipped": [], "warnings": [], "refusal": None}
    for link in links:
        entry = catalogue.get(link["role"])
        for site in scope:
            for host in f.local_machines(situation.sites, site, link["role"]):
                if not f.reachable(situation.probes, host):
                    result["refusal"] = (
                        "%s does not answer (%s); %s on it is part of the chain. Bring it back, then start "
                        "again." % (host, _why(situation.probes, host), link["role"])
                    )
                    return result
                why = leave_alone(situation, entry, link, host, site != active, result["warnings"])
                if why:
                    result["skipped"].append("%s on %s is left alone: %s." % (link["role"], host, why))
                else:
                    result["restarts"].append(
                        {"role": link["role"], "host": host, "only": link.get("only"), "service": _service(entry)}
                    )
    return result


def _service(entry):
    """What the module service_units needs of a catalogue entry."""
    wanted = ("name", "units", "logs", "endpoints", "passive", "releases")
    return {key: entry[key] for key in wanted if entry.get(key) is not None}


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


def leave_alone(situation, entry, link, host, passive, warnings):
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


# -- one verb on the hosts of a role ---------------------------------------------------------------------------------

READ_VERBS = ("check", "status", "collect")
#: May be restarted whenever somebody likes, its cache fills again (operation manual, "redis").
FREE_TO_RESTART = ("redis",)
#: Roles whose hosts form a cluster that must be whole again before the next host is stopped, and who takes care of it.
CLUSTERED = {
    "data_storage": "a node has to catch up with all others before the next one is stopped (operation manual, "
    "\"Performing Cluster Restarts\"). Use data_storage_restart.yml, which sees to that, or name one host by %s_limit",
    "mq": "the RabbitMQ cluster has to be whole before the next node is stopped. Use service_restart.yml, which sees "
    "to that, or name one host by %s_limit",
}
#: What a restart of the role mq means: the message queue for control messages; FQ loses data and is restarted only by
#: name.
RABBITMQ = ["epmd", "rabbitmq"]


def role_hosts(situation: f.Situation, nodes: dict, standby: list, name: str) -> list:
    """Hosts of a role: active site first, then as its site.json lists them.

    nodes: {host: {"roles", "site"}} of the hosts of the play, brokers included. standby: names of passive sites.
    """

    def place(host):
        site = nodes[host].get("site")
        listed = f.machines(situation.sites[site]["raw"], name) if site in situation.sites else []
        return (site in standby, str(site), listed.index(host) if host in listed else len(listed), host)

    return sorted((host for host in nodes if name in (nodes[host].get("roles") or [])), key=place)


def pick(hosts: list, nodes: dict, limit: list | None, parameter: str) -> tuple:
    """(hosts that a limit of host and site names leaves, refusal)."""
    if not limit:
        return hosts, None
    sites = sorted({str(nodes[host].get("site")) for host in hosts})
    unknown = [word for word in limit if word not in hosts and word not in sites]
    if unknown:
        return [], "%s must name hosts of the role (%s) or sites (%s), found %s." % (
            parameter,
            ", ".join(hosts),
            ", ".join(sites),
            ", ".join(unknown),
        )
    return [host for host in hosts if host in limit or nodes[host].get("site") in limit], None


def _known_units(entry, only, parameter):
    known = [unit["id"] for unit in entry["units"]]
    wrong = [unit for unit in only or [] if unit not in known]
    if wrong:
        return "%s must be of %s, found %s." % (parameter, ", ".join(known), ", ".join(wrong))
    return None


def _silent(situation, hosts):
    host = next((host for host in hosts if not f.reachable(situation.probes, host)), None)
    if host is None:
        return None
    why = _why(situation.probes, host)
    return "%s does not answer (%s). Bring it back, or leave it out by a limit." % (host, why)


def _primary_last(situation, name, hosts):
    """Standbys before the primary: what depends on the database is restarted after the primary only."""
    if name != "web_db":
        return hosts
    return sorted(hosts, key=lambda host: host in situation.primaries)


def kept_stopped(situation: f.Situation, entry: dict, hosts: list, more: dict) -> dict:
    """{host: [unit ids]} that are never started: what the inventory says, and a CA that is not ``ca.primary``.

    What a passive site keeps down is told by its own plan.
    """
    kept = dict(more.get("keep_stopped") or {})
    for host in hosts:
        site = f.site_of(situation.sites, host)
        if site and f.kept_stopped(entry, host, situation.sites[site]["raw"], passive=False):
            kept[host] = [unit["id"] for unit in entry["units"]]
    return kept


def unit_arguments(entry: dict, host: str, node: dict, verb: str, more: dict) -> dict:
    """Arguments of the module service_units for one host.

    more: {"only", "timeout", "release", "standby": names of passive sites, "keep_stopped": {host: [ids]}}.
    """
    return {
        "verb": "check" if verb in READ_VERBS else verb,
        "service": _service(entry),
        "only": list(more.get("only") or []),
        "expect": "any",
        "keep_stopped": list((more.get("keep_stopped") or {}).get(host) or []),
        "timeout": more["timeout"],
        "release": more.get("release") or "",
        "host": host,
        "standby": node.get("site") in more.get("standby", []),
    }


def operate_verdict(
    situation: f.Situation, catalogue: dict, nodes: dict, standby: list, params: dict, run: dict, more: dict
) -> dict:
    """Decide about one verb on the hosts of a role.

    The verdict has ``steps``: [{"host", "title", "module", "args", "facts"}] strictly in order, ``changes`` and
    ``verb``. For converge it has ``converge`` instead: the hosts on which the role runs, strictly in order.
    """
    name, verb = params["service_operate_role"], params["service_operate_verb"]
    only = params.get("service_operate_only")
    entry = catalogue.get(name)
    if entry is None:
        return f.refuse("service_operate_role must be one of %s, found %s." % (", ".join(sorted(catalogue)), name))
    problem = _known_units(entry, only, "service_operate_only")
    if problem:
        return f.refuse(problem)
    hosts, problem = pick(
        role_hosts(situation, nodes, standby, name), nodes, params.get("service_operate_limit"), "service_operate_limit"
    )
    if problem:
        return f.refuse(problem)
    changes = verb not in READ_VERBS
    base = {"verb": verb, "changes": changes, "steps": [], "converge": []}
    base.update(lock_hosts=[], lock_break=None, warnings=[])
    if not hosts:
        return dict(
            base,
            result="nothing_to_do",
            reason="%s is absent: no host of this inventory has the role." % name,
            plan=[],
        )
    problem = operate_problem(situation, name, verb, hosts, params)
    if not problem and verb == "converge":
        problem = pin_problem(situation, {host: pin for host, pin in (more.get("pins") or {}).items() if host in hosts})
    if problem:
        return f.refuse(problem)
    if changes:
        lock = situation.lock(run, params.get("circonus_lock_break"))
        if lock["refusal"]:
            return f.refuse(lock["refusal"])
        base["lock_hosts"] = _lock_hosts(situation, nodes)
        base["lock_break"] = lock["break"] or params.get("circonus_lock_break")
    hosts = _primary_last(situation, name, hosts) if verb in ("stop", "restart") else hosts
    if verb == "converge":
        return dict(
            base,
            result="proceed",
            reason="Converge %s on %s, one after another." % (name, _count(hosts, "host")),
            done="%s on %s converged." % (name, _count(hosts, "host")),
            plan=["Converge %s on %s, and go on only when it is as it should be" % (name, host) for host in hosts],
            converge=hosts,
        )
    what = " and ".join(only) if only else name
    more = dict(more, only=only, timeout=params["service_operate_timeout_s"], standby=standby)
    more["keep_stopped"] = kept_stopped(situation, entry, hosts, more)
    for host in hosts:
        args = unit_arguments(entry, host, nodes[host], verb, more)
        step = {
            "host": host,
            "title": "%s %s" % (verb.capitalize(), what),
            "module": "circonus.inside.service_units",
            "args": args,
            "facts": {},
        }
        if verb == "collect":
            step["module"] = "circonus.inside.service_info"
            step["args"] = {"service": entry, "release": args["release"], "host": host}
            step["facts"] = {"%s on %s" % (key, host): key for key in ("units", "logs", "journal", "space")}
        elif args["standby"] and entry.get("passive") == "stopped" and verb in ("start", "restart"):
            base["warnings"].append("%s on %s is kept stopped, its datacenter is passive." % (name, host))
        base["steps"].append(step)
    if name == "mq" and verb == "check":
        base["steps"] += _cluster_looks(situation, hosts, nodes)
    gate = ", and go on only when it is up" if verb in ("start", "restart") else ""
    return dict(
        base,
        result="proceed",
        reason="%s %s on %s, one after another." % (verb.capitalize(), what, _count(hosts, "host")),
        done="%s on %s: %s done." % (what, _count(hosts, "host"), verb),
        plan=["%s %s on %s%s" % (verb.capitalize(), what, host, gate) for host in hosts],
    )


def _cluster_looks(situation, hosts, nodes):
    """One look at the RabbitMQ cluster of each site; default credentials that work are a warning of the step."""
    looks = {}
    for host in hosts:
        site = nodes[host].get("site")
        size = len(f.local_machines(situation.sites, site, "mq")) if site in situation.sites else 0
        looks.setdefault(
            site,
            {
                "host": host,
                "title": "Look at the RabbitMQ cluster",
                "module": "circonus.inside.mq_info",
                "args": {"expect": "any", "expected_nodes": size},
                "facts": {"RabbitMQ on %s" % host: "running_nodes"},
            },
        )
    return list(looks.values())


def operate_problem(situation: f.Situation, name: str, verb: str, hosts: list, params: dict) -> str | None:
    """Why a verb may not be carried out, or None."""
    if verb == "converge" and params.get("service_operate_only"):
        return "converge works on the whole role, found service_operate_only %s. Leave it out; nothing was changed." % (
            ", ".join(params["service_operate_only"])
        )
    freely = verb == "restart" and name in FREE_TO_RESTART
    if verb in ("stop", "restart") and not freely and params.get("circonus_confirm") != name:
        return "circonus_confirm must name the role for a %s (%s), found %s. Nothing was changed." % (
            verb,
            name,
            params.get("circonus_confirm") or "nothing",
        )
    if verb in ("stop", "restart") and len(hosts) > 1 and name in CLUSTERED:
        touched = params.get("service_operate_only")
        if name != "mq" or not touched or set(touched) & set(RABBITMQ):
            return "A %s of %s on %s at once is refused: %s." % (
                verb,
                name,
                _count(hosts, "host"),
                CLUSTERED[name] % "service_operate",
            )
    return _silent(situation, hosts)


def operate_outcome(verdict: dict, answers: list) -> dict:
    """What the read verbs found: {"facts": {host: sentence}, "problem": sentence or None}.

    answers: results of the steps, in their order.
    """
    facts, wrong = {}, []
    for step, answer in zip(verdict["steps"], answers, strict=False):
        if step["module"] == "circonus.inside.mq_info":
            if answer.get("problem"):
                wrong.append("%s, as %s sees it" % (answer["problem"], step["host"]))
            continue
        facts[step["host"]] = answer.get("msg") or ""
        if verdict["verb"] != "check":
            continue
        args = step["args"]
        kept_down = args["standby"] and args["service"].get("passive") == "stopped"
        for unit in answer.get("units") or []:
            running = unit["active"] not in ("inactive", "failed")
            if kept_down and running:
                wrong.append("%s on %s runs in a passive datacenter. Stop it" % (unit["unit"], step["host"]))
            elif not kept_down and not unit["up"] and not _excused(args, unit):
                wrong.append("%s on %s %s" % (unit["unit"], step["host"], unit["missing"]))
    problem = None
    if wrong:
        problem = "%s. See its logs by the verb collect." % "; ".join(wrong)
    return {"facts": facts, "problem": problem}


def _excused(args, unit):
    """A unit that may be down: kept so here, or only run where it is enabled."""
    if unit["id"] in args["keep_stopped"]:
        return True
    described = next((item for item in args["service"]["units"] if item["id"] == unit["id"]), {})
    return bool(described.get("enabled_only")) and unit["enabled"] not in ("enabled", "static")


# -- a restart with its dependants -----------------------------------------------------------------------------------


def role_restart_verdict(
    situation: f.Situation,
    catalogue: dict,
    chains: dict,
    nodes: dict,
    standby: list,
    params: dict,
    run: dict,
    more: dict,
) -> dict:
    """Decide about restarting a role host by host, and then what depends on it.

    The verdict has ``steps`` as :func:`operate_verdict`, for RabbitMQ ``rolling``: [{"hosts", "nodes": size of the
    cluster}] instead, and ``restarts``: the dependants as :func:`restart_verdict`.
    """
    name, only = params["service_restart_role"], params.get("service_restart_only")
    entry = catalogue.get(name)
    if entry is None:
        return f.refuse("service_restart_role must be one of %s, found %s." % (", ".join(sorted(catalogue)), name))
    problem = _known_units(entry, only, "service_restart_only")
    if problem:
        return f.refuse(problem)
    everywhere = role_hosts(situation, nodes, standby, name)
    hosts, problem = pick(everywhere, nodes, params.get("service_restart_limit"), "service_restart_limit")
    if problem:
        return f.refuse(problem)
    if not hosts:
        return dict(
            f.refuse(""),
            result="nothing_to_do",
            reason="%s is absent: no host of this inventory has the role." % name,
        )
    if params.get("circonus_confirm") != name and name not in FREE_TO_RESTART:
        return f.refuse(
            "circonus_confirm must name the role that is restarted (%s), found %s. Nothing was changed."
            % (name, params.get("circonus_confirm") or "nothing")
        )
    if name == "data_storage" and len(hosts) > 1:
        return f.refuse(
            "A restart of %s on %s at once is refused: %s."
            % (name, _count(hosts, "host"), CLUSTERED[name] % "service_restart")
        )
    problem = _silent(situation, hosts)
    if problem:
        return f.refuse(problem)
    lock = situation.lock(run, params.get("circonus_lock_break"))
    if lock["refusal"]:
        return f.refuse(lock["refusal"])
    hosts = _primary_last(situation, name, hosts)
    linked = _dependants_of(situation, catalogue, chains, name, nodes, hosts, params)
    if linked["refusal"]:
        return f.refuse(linked["refusal"])
    more = dict(more, only=only, timeout=params["service_restart_timeout_s"], standby=standby)
    more["keep_stopped"] = kept_stopped(situation, entry, hosts, more)
    rolling = []
    if name == "mq" and (not only or set(only) & set(RABBITMQ)):
        if only and set(only) - set(RABBITMQ):
            return f.refuse(
                "service_restart_only names RabbitMQ and %s, which are restarted in different ways. Start one run for "
                "each." % " and ".join(sorted(set(only) - set(RABBITMQ)))
            )
        for site in dict.fromkeys(nodes[host].get("site") for host in hosts):
            mine = [host for host in everywhere if nodes[host].get("site") == site]
            size = max(len(mine), len(f.local_machines(situation.sites, site, "mq")))
            rolling.append({"hosts": [host for host in hosts if host in mine], "nodes": size})
        what = "RabbitMQ and its port mapper"
        plan = [
            "Restart %s on %s when the cluster is whole, and wait until it is whole again" % (what, host)
            for host in hosts
        ]
    else:
        what = " and ".join(only) if only else name
        plan = ["Restart %s on %s and wait until it is up" % (what, host) for host in hosts]
    plan += [
        "Restart %s on %s and wait until it is up"
        % (" and ".join(item["only"]) if item["only"] else item["role"], item["host"])
        for item in linked["restarts"]
    ]
    return {
        "result": "proceed",
        "reason": "Restart %s on %s, then %s of it."
        % (what, _count(hosts, "host"), _count(linked["restarts"], "dependant")),
        "done": "%s restarted on %s, and %s of it; everything is up."
        % (what, _count(hosts, "host"), _count(linked["restarts"], "dependant")),
        "plan": plan + linked["skipped"],
        "warnings": linked["warnings"],
        "steps": []
        if rolling
        else [
            {
                "host": host,
                "title": "Restart %s" % what,
                "module": "circonus.inside.service_units",
                "args": unit_arguments(entry, host, nodes[host], "restart", more),
                "facts": {},
            }
            for host in hosts
        ],
        "rolling": rolling,
        "restarts": linked["restarts"],
        "lock_hosts": _lock_hosts(situation, nodes),
        "lock_break": lock["break"] or params.get("circonus_lock_break"),
    }


def _dependants_of(situation, catalogue, chains, name, nodes, hosts, params):
    """The chain of a role; none for a role without one, and none for a standby, as clients use the primary database."""
    nothing = {"restarts": [], "skipped": [], "warnings": [], "refusal": None}
    if name not in chains or not params["service_restart_dependents"]:
        return nothing
    if name == "web_db" and not set(hosts) & set(situation.primaries):
        return dict(nothing, skipped=["No dependant is restarted: no primary database is among the hosts."])
    active, refusal = active_site(situation)
    if refusal:
        return dict(nothing, refusal=refusal)
    scope = [active] + sorted(site for site in situation.sites if site != active)
    if name == "mq":
        scope = [site for site in scope if site in {nodes[host].get("site") for host in hosts}]
    edition = f.edition_of(situation.sites, params.get("circonus_edition"))
    return chain(situation, catalogue, chains[name][edition], scope, active)


# -- all roles -------------------------------------------------------------------------------------------------------


def pin_problem(situation: f.Situation, pins: dict) -> str | None:
    """Why the repositories may not be pinned as the inventory says, or None; asked before any host is touched.

    pins: {host: pin} where ``circonus_repo_manage`` is set. What runs is told by the hosts with a web frontend, and all
    hosts of a platform run the same release (operation manual, "Running Hooper Updates").
    """
    running = {host: probe["release"] for host, probe in situation.probes.items() if probe.get("release")}
    newest = max(sorted(running), key=running.get, default=None)
    for host in sorted(pins):
        try:
            day = repository.pin_date(pins[host])
            repository.refuse_downgrade(day, running.get(newest), "that runs on %s" % newest)
        except InsideError as error:
            return "%s: %s" % (host, error)
    return None


def site_verdict(
    situation: f.Situation, nodes: dict, order: list, params: dict, run: dict, pins: dict | None = None
) -> dict:
    """Decide about converging all roles on the hosts of the play.

    order: roles as the playbook has them. pins: see :func:`pin_problem`.
    """
    hosts = sorted(nodes)
    if not hosts:
        return f.refuse("Expected hosts in the inventory, found none. Check the inventory and --limit.")
    problem = _silent(situation, hosts) or pin_problem(situation, pins or {})
    if problem:
        return f.refuse(problem)
    lock = situation.lock(run, params.get("circonus_lock_break"))
    if lock["refusal"]:
        return f.refuse(lock["refusal"])
    plan = []
    for name in order:
        mine = [host for host in hosts if name in (nodes[host].get("roles") or [])]
        if mine:
            plan.append("Converge %s on %s" % (name, ", ".join(mine)))
    return {
        "result": "proceed",
        "reason": "Converge %s of %s." % (_count(plan, "role"), _count(hosts, "host")),
        "done": "%s of %s converged." % (_count(plan, "role"), _count(hosts, "host")),
        "plan": plan,
        "warnings": [],
        "lock_hosts": _lock_hosts(situation, hosts),
        "lock_break": lock["break"] or params.get("circonus_lock_break"),
    }
