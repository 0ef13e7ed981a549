# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decide about restarting the data_storage clusters of a platform, one per site. Pure, but for :func:`begun`.

Source: operation manual, "Performing cluster restarts".
"""

from __future__ import annotations

import datetime
import os

from ansible_collections.circonus.inside.plugins.module_utils import topology
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput
from ansible_collections.circonus.inside.plugins.module_utils.unit_state import DOWN_STATES
from ansible_collections.circonus.inside.plugins.plugin_utils import failover as f
from ansible_collections.circonus.inside.plugins.plugin_utils import operations, procedure, site_data, storage_plan

PROCEDURE = "data_storage_restart"
#: Parameters of the steps of a wave, behind the prefix of the procedure.
PACE = ("timeout_s", "polls", "spacing_s", "pause_s", "settle_s")
#: Parameters that make a run another one.
SAME = (PROCEDURE + "_limit", PROCEDURE + "_how", PROCEDURE + "_only")
#: Seconds that a reboot of a host is expected to take, for the estimate.
REBOOT_S = 300.0
#: States of a unit that starts with its host.
STARTS = ("enabled", "static", "generated")
#: A run that stopped longer ago is not continued, its nodes are restarted again.
CONTINUE_S = 24 * 3600.0


def clusters(sites: dict) -> dict:
    """``{site: nodes of storage_plan.nodes_of}`` of the sites that have data storage."""
    found = {}
    for name, site in sites.items():
        nodes = storage_plan.nodes_of(site_data.normalise(site["raw"]), site["hosts"])
        if nodes:
            found[name] = nodes
    return found


def questions(sites: dict, units: list, package: bool = False) -> dict:
    """``{host: arguments of irondb_probe}``. The first host of each site reads the cluster, the others themselves.

    package: whether each is asked if the package of its node changed.
    """
    asked = {}
    for nodes in clusters(sites).values():
        addresses = [node["address"] for node in nodes if node["address"]]
        names = {node["id"]: node["host"] for node in nodes if node["id"]}
        for node in nodes:
            own = [node["address"]] if node["address"] else []
            asked[node["host"]] = {
                "units": units,
                "cluster": node is nodes[0],
                "hosts": own + [address for address in addresses if address not in own],
                "names": names,
                **({"package": True} if package else {}),
            }
    return asked


def epoch(stamp: str) -> float:
    """Seconds since 1970 of a stamp of :func:`procedure.now`."""
    return datetime.datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp()


def begun(run: dict, name: str = PROCEDURE, same: tuple = ()) -> float:
    """Epoch seconds at which the run began that this one continues: the newest earlier one of the same report directory
    with the same parameters ``same`` (its limit by default), if it was stopped or killed after its plan was made; else
    of this run itself. One that found nothing left to do ended the run that it continued.

    The journals only say since when a restart counts. Whether a node was restarted since then, its host says. name: of
    the procedure whose runs are meant.
    """
    started, same = epoch(run["started"]), same or (name + "_limit",)
    directory = os.path.dirname(run["journal"])
    files = sorted((file for file in os.listdir(directory)
                    if file.startswith(name + "-") and file.endswith(".jsonl")), reverse=True)
    for file in files:
        path = os.path.join(directory, file)
        records = procedure.Journal(path).records() if path != run["journal"] else []
        first = next((record for record in records if record["type"] == "begin"), None)
        if first is None or first.get("check_mode") or first["started"] > run["started"]:
            continue
        verdicts = {record.get("result") for record in records if record["type"] == "verdict"}
        ended = "nothing_to_do" in verdicts or any(record["type"] == "completed" for record in records)
        if "proceed" not in verdicts and not ended:
            continue  # refused: it did nothing, the one before it may still be continued
        if ended or any(first["parameters"].get(key) != run["parameters"].get(key) for key in same):
            return started
        since = next((record["value"] for record in records
                      if record["type"] == "fact" and record["key"] == "since"), epoch(first["started"]))
        return float(since) if started - float(since) < CONTINUE_S else started
    return started


def told(name: str, nodes: list, answers: dict) -> tuple:
    """``(view, topology, disks, None)`` of a cluster as its hosts tell it, or ``(None, None, None, refusal)``."""
    def refuse(text):
        return None, None, None, f.refuse(text)

    silent = next((node["host"] for node in nodes if not (answers.get(node["host"]) or {}).get("reachable")), None)
    if silent:
        why = (answers.get(silent) or {}).get("msg") or "it is not in this play"
        return refuse("Expected an answer of %s, which has a node of the cluster of %s, found none: %s. No node may "
                      "be touched while one is unknown." % (silent, name, str(why).rstrip(".")))
    failed = next((node["host"] for node in nodes if "node_ids" not in answers[node["host"]]), None)
    if failed:
        return refuse("Expected what %s knows of its node, found none: %s." % (
            failed, str(answers[failed].get("msg") or "no answer").rstrip(".")))
    first = answers[nodes[0]["host"]]
    if not first.get("view"):
        return refuse("%s: %s" % (name, first.get("problem") or "the cluster was not read."))
    try:
        ring = topology.read_xml(first["topology"])
    except BadInput as error:
        return refuse("%s: %s" % (name, error))
    return first["view"], ring, {node["host"]: answers[node["host"]]["node_ids"] for node in nodes}, None


def _cluster(name, nodes, answers, wanted, params, since, now, needed=None, prefix=PROCEDURE + "_", roles=None):
    """The plan of one cluster: a verdict of storage_plan with ``nodes`` and ``topology`` (digest)."""
    view, ring, disks, refusal = told(name, nodes, answers)
    if refusal:
        return refusal
    reboot = params.get(prefix + "how") == "reboot"
    # A host that is to be rebooted is done when it was booted, whatever restarted its service.
    ages = {node["host"]: answers[node["host"]].get("booted_s" if reboot else "age_s") for node in nodes}
    # By the age, so that a clock that is off does not make a node look restarted.
    started = {host: None if age is None else now - age for host, age in ages.items()}
    hosts = [node["host"] for node in nodes if node["host"] in wanted]
    if needed is not None:
        # Of the others only those count that this run has restarted and that may still have to settle.
        hosts = [host for host in hosts if host in needed or (started[host] or 0.0) > since]
        started.update(dict.fromkeys(needed, None))
    run = {
        "since": since,
        "started": started,
        "parallel": params.get("data_storage_parallel") or "one",
        "hosts": hosts,
        "settle_s": params[prefix + "pause_s"],
    }
    notes: dict = {}
    if params.get(prefix + "only") == "changed":
        notes = {host: "on %s %s" % (host, answers[host]["package_reason"]) for host in needed or ()}
    if reboot:
        for host, others in (roles or {}).items():
            also = "%s of %s %s down with it" % (" and ".join(others), host, "go" if len(others) > 1 else "goes")
            notes[host] = "; ".join(filter(None, (also if others else "", notes.get(host))))
        run.update(verb="Reboot", restart_s=REBOOT_S)
    return dict(storage_plan.restart_plan(nodes, ring, view, dict(run, notes=notes), disks), digest=view["digest"])


def changed(name: str, nodes: list, answers: dict, wanted: list) -> tuple:
    """``(hosts whose package changed since their node was started, lines of the plan about the others, refusal)``."""
    lines: list = []
    hosts = [node["host"] for node in nodes if node["host"] in wanted]
    for host in hosts:
        state = (answers.get(host) or {}).get("package_changed")
        if state is None:
            why = (answers.get(host) or {}).get("package_reason") or "no answer"
            return set(), [], f.refuse(
                "Expected to know whether %s of the cluster of %s runs the snowthd that is installed, found: %s. Look "
                "at it, or restart all nodes by %s_only=all." % (host, name, why, PROCEDURE))
        if not state:
            lines.append("%s is left alone: %s." % (host, answers[host]["package_reason"]))
    return {host for host in hosts if answers[host]["package_changed"]}, lines, None


def active_on(situation: f.Situation, host: str) -> tuple | None:
    """``(what a host holds of which there is one, the procedure that moves it)``, or None. What is not known counts."""
    roles, probe = f.roles_of(situation.sites, host), situation.probes.get(host) or {}
    if "web_db" in roles and not f.is_standby(situation.probes, host):
        return "the primary of web_db, or its database is not known to be a standby", "web_db_failover.yml"
    if "ca" in roles and (probe.get("ca") or {}).get("processor") not in DOWN_STATES:
        return "the active CA, or its processor is not known to be down", "ca_failover.yml"
    return None


def _reboots(situation, waves, answers, also_active, local):
    """``(refusal of the first host of the waves that may not be rebooted or None, warnings)``. also_active: whether
    what :func:`active_on` finds may go down. local: hosts that are this machine."""
    warnings = []
    for host in [host for wave in waves if not wave["settle_only"] for host in wave["hosts"]]:
        if host in local:
            return f.refuse("%s is reached by a local connection: the reboot would end this very run. Start it from "
                            "another machine. Nothing was changed." % host), []
        if answers[host].get("enabled") not in STARTS:
            return f.refuse("%s on %s does not start with its host (%s), so the node would stay down. Enable it first. "
                            "Nothing was changed." % (answers[host].get("unit") or "The unit of the node", host,
                                                      answers[host].get("enabled") or "not known")), []
        found = active_on(situation, host)
        if found and not also_active:
            return f.refuse("%s holds %s. Move it first (%s), or choose its outage by %s_active_too=true. Nothing was "
                            "changed." % (host, found[0], found[1], PROCEDURE)), []
        if found:
            warnings.append("%s holds %s: whatever uses it waits while the host boots." % (host, found[0]))
    return None, warnings


def verdict(situation: f.Situation, answers: dict, params: dict, run: dict, since: float, now: float,
            needed: set | None = None, prefix: str = PROCEDURE + "_") -> dict:
    """Decide about restarting nodes of all clusters, one cluster after the other.

    answers: ``{host: answer of irondb_probe with reachable}``. since, now: epoch seconds of the controller. needed:
    hosts that have to be restarted, all when None. prefix: of the parameters. run may have ``local``: hosts that are
    this machine. A verdict of ``failover`` with ``waves``:
    ``[{"site", "hosts", "ids", "node": id if it is one, "watch": host that watches, "addresses": of the whole cluster,
    "names", "digest", "settle_only", "how": service or reboot, "pace": parameters of the steps}]``, ``done_hosts`` that
    need nothing, ``since`` and ``estimate_s``.
    """
    known = clusters(situation.sites)
    everywhere = [node["host"] for nodes in known.values() for node in nodes]
    if not everywhere:
        return dict(f.refuse(""), result="nothing_to_do", reason="No host of this inventory has the role data_storage.")
    site_of = {node["host"]: {"site": name} for name, nodes in known.items() for node in nodes}
    wanted, problem = operations.pick(everywhere, site_of, params.get(prefix + "limit"), prefix + "limit")
    if problem:
        return f.refuse(problem)
    if params.get("circonus_confirm") != storage_plan.ROLE:
        return f.refuse("circonus_confirm must name the role that is restarted (%s), found %s. Nothing was changed." % (
            storage_plan.ROLE, params.get("circonus_confirm") or "nothing"))
    lock = situation.lock(run, params.get("circonus_lock_break"))
    if lock["refusal"]:
        return f.refuse(lock["refusal"])
    how, only = params.get(prefix + "how") or "service", params.get(prefix + "only") or "all"
    roles = {host: [role for role in f.roles_of(situation.sites, host) if role != storage_plan.ROLE] for host in wanted}
    waves, plan, alone, done, estimate = [], [], [], [], 0.0
    for name, nodes in known.items():
        if not any(node["host"] in wanted for node in nodes):
            continue
        mine_needed, unknown = needed, None
        if only == "changed":
            mine_needed, lines, unknown = changed(name, nodes, answers, wanted)
        mine = _cluster(name, nodes, answers, wanted, params, since, now, mine_needed, prefix, {
            node["host"]: roles[node["host"]] for node in nodes if node["host"] in wanted})
        if mine["result"] == "refused":
            return mine
        if unknown:
            return unknown
        if only == "changed":
            alone += [line for line in lines if line.split(" ", 1)[0] not in [*mine["done"], *mine["settle"]]]
        plan += mine["plan"]
        done += mine["done"]
        estimate += mine["estimate_s"]
        pace = {key: params[prefix + key] for key in PACE + (("boot_s",) if how == "reboot" else ())}
        for hosts, settle in [([host], True) for host in mine["settle"]] + [(wave, False) for wave in mine["waves"]]:
            waves.append(dict(wave_of(name, nodes, hosts, mine["digest"], settle), how=how, pace=pace))
    refusal, warnings = _reboots(situation, waves, answers, params[prefix + "active_too"], run.get("local") or ()
                                 ) if how == "reboot" else (None, [])
    if refusal:
        return refusal
    base = {"plan": plan + alone, "warnings": warnings, "waves": waves, "done_hosts": done, "since": since,
            "estimate_s": estimate, "lock_hosts": f.lock_hosts(situation), "lock_break": lock["break"]}
    past = "rebooted" if how == "reboot" else "restarted"
    if not waves and only == "changed":
        return dict(base, result="nothing_to_do", reason="Every node runs the snowthd that is installed.")
    if not waves:
        return dict(base, result="nothing_to_do", reason="Every node was %s since %s and has settled." % (
            past, datetime.datetime.fromtimestamp(since, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%SZ")))
    count = sum(len(wave["hosts"]) for wave in waves)
    manner = " side by side" if params.get("data_storage_parallel") == "sides" else " one after another"
    word = "node" if count == 1 else "nodes"
    return dict(
        base,
        result="proceed",
        reason="%d data_storage %s, %s." % (count, word, storage_plan.duration(estimate)),
        done="%d data_storage %s %s%s; every node is green towards every other." % (
            count, word, past, "" if count == 1 else manner),
    )


def wave_of(name: str, nodes: list, hosts: list, digest: str, settle_only: bool) -> dict:
    """A wave of :func:`verdict`: the hosts that are touched together, and who watches them."""
    ids = [node["id"] for node in nodes if node["host"] in hosts]
    # Watched from a host that is not touched; a cluster with two copies has one.
    watch = next(node["host"] for node in nodes if node["host"] not in hosts)
    return {
        "site": name, "hosts": hosts, "ids": ids, "node": ids[0] if len(ids) == 1 else None, "watch": watch,
        # A host that stays up is asked first: the others are about to be silent.
        "addresses": [node["address"] for node in sorted(nodes, key=lambda node: node["host"] in hosts)],
        "names": {node["id"]: node["host"] for node in nodes}, "digest": digest, "settle_only": settle_only,
    }
