# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decide about condensing the data sets of data_storage clusters, node by node. Pure.

The gates and the order are those of a rolling restart (``storage_plan.py``, ``storage_restart.py``); which step comes
next on a host is decided there (``module_utils/condense.py``).

Source: operation manual, "ZFS condensing".
"""

from __future__ import annotations

from ansible_collections.circonus.inside.plugins.module_utils import condense, irondb_gate, ring, topology, zfs
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError
from ansible_collections.circonus.inside.plugins.plugin_utils import failover as f
from ansible_collections.circonus.inside.plugins.plugin_utils import operations, storage_plan, storage_restart

PROCEDURE = "data_storage_condense"
#: Bytes a second that a copy within one pool of disks makes, for the estimate only (decision).
RATE = 100e6
#: The lock holds for so many times the estimate of a node, since nothing prolongs it during one long step.
LOCK_FACTOR = 3.0


def questions(sites: dict, units: list, params: dict) -> dict:
    """``{host: arguments of storage_condense}`` of every host with a store."""
    args = {"state": "look", "units": units, "capacity_percent": params[PROCEDURE + "_capacity_percent"]}
    return {node["host"]: args for nodes in storage_restart.clusters(sites).values() for node in nodes}


def line(outcome: dict) -> str:
    """One line about a step: what was done, or how far the copy is."""
    copied = outcome.get("copy")
    if not copied:
        return outcome["text"]
    text = "%s: %s" % (outcome["text"], zfs.human(copied["bytes"]))
    if copied["total"]:
        text += " of %s" % zfs.human(copied["total"])
    if not outcome["waiting"]:
        return "%s, done" % text
    if copied["percent"] is not None:
        text += " (%.0f %%)" % copied["percent"]
    text += ", %s/s" % zfs.human(copied["rate"])
    return text if copied["eta_s"] is None else "%s, %s left" % (text, storage_plan.duration(copied["eta_s"]))


def node_s(look: dict, params: dict) -> float:
    """Seconds that a node takes, a guess."""
    old = (look.get("facts") or {}).get("old") or {}
    return old.get("referenced", 0) / RATE + storage_plan.RESTART_S + params[PROCEDURE + "_pause_s"]


def _missing(name, nodes, answers, looks):
    """A sentence about what was not read, or ''."""
    for node in nodes:
        answer, look = answers.get(node["host"]) or {}, looks.get(node["host"]) or {}
        for found, key in ((answer, "node_ids"), (look, "platform")):
            if not found.get("reachable") or key not in found:
                why = str(found.get("msg") or "it is not in this play").rstrip(".")
                return "Expected an answer of %s, which has a node of the cluster of %s, found none: %s. No node may " \
                       "be stopped while one is unknown." % (node["host"], name, why)
    first = answers[nodes[0]["host"]]
    return "" if first.get("view") else "%s: %s" % (name, first.get("problem") or "the cluster was not read.")


def _unfit(host, look, view, identity, params):
    """A sentence about why a host cannot be condensed, or ''."""
    if look["problem"]:
        return "%s: %s" % (host, look["problem"])
    if look["platform"] == "el7" and not params[PROCEDURE + "_el7"]:
        return ("%s: the manual gives the steps for OmniOS only. They are the same on EL7 with its names; say so with "
                "-e %s_el7=true." % (host, PROCEDURE))
    stores = (((view["answers"].get(identity) or {}).get("state")) or {}).get("stores") or []
    if stores and "nnt" not in stores:
        return ("%s: its /state tells of no NNT store (%s; gone since 2021-06-28). Condensing is for NNT data only, "
                "nothing to do here." % (host, ", ".join(stores)))
    return ""


def cluster_plan(name: str, nodes: list, answers: dict, looks: dict, wanted: list, params: dict, since: float,
                 now: float) -> dict:
    """The plan of one cluster: a verdict with ``nodes`` in order, each like a wave of ``storage_restart`` and with
    ``mode`` (condense, resume, abort, settle), ``platform`` and ``estimate_s``, and ``done``: hosts that need nothing.
    """
    problem = _missing(name, nodes, answers, looks)
    if problem:
        return f.refuse(problem)
    first = answers[nodes[0]["host"]]
    view = first["view"]
    under_way = [node["host"] for node in nodes if looks[node["host"]]["in_progress"]]
    # A data set that is not mounted shows no node id; it was written down while it was.
    disks = {node["host"]: looks[node["host"]]["node_ids"] if node["host"] in under_way and not
             answers[node["host"]]["node_ids"] else answers[node["host"]]["node_ids"] for node in nodes}
    try:
        ring_topology = topology.read_xml(first["topology"])
        problems = storage_plan.identity_problems(nodes, ring_topology, view, disks)
        if problems:
            return f.refuse(problems[0])
        order = [host for wave in ring.waves(ring_topology, "one") for host in wave]
    except InsideError as error:
        return f.refuse("%s: %s" % (name, error))
    stray = [host for host in under_way if host not in wanted]
    if stray:
        return f.refuse("A condense is on its way on %s. Finish that node first: leave it in %s_limit." % (
            stray[0], PROCEDURE))
    host_of = {node["id"]: node["host"] for node in nodes}
    ids = {host: identity for identity, host in host_of.items()}
    fresh = [host for host in wanted if host in ids and host not in under_way and looks[host]["age_s"] is not None
             and looks[host]["age_s"] < now - since]
    abort = params[PROCEDURE + "_abort"]
    modes = {}
    reasons = irondb_gate.gate(view)
    new = {ids[host] for host in fresh}
    if not under_way and not abort:
        for reason in reasons:
            if not storage_plan.settling_only([reason], new):
                return f.refuse(reason["text"])
    behind = {reason["node"] if reason["node"] in new else reason["peer"] for reason in reasons}
    for host in (host_of[identity] for identity in order):
        if host in under_way:
            modes[host] = "abort" if abort else "resume"
            if looks[host]["problem"] and not abort:
                return f.refuse("%s: %s" % (host, looks[host]["problem"]))
        elif host in wanted and not abort:
            if host in fresh:
                if looks[host]["left_open"]:
                    modes[host] = "end"
                elif ids[host] in behind:
                    modes[host] = "settle"
                continue
            problem = _unfit(host, looks[host], view, ids[host], params)
            if problem:
                return f.refuse(problem)
            modes[host] = "condense"
    # What was left on its way comes first: it is down.
    hosts = sorted(modes, key=lambda host: modes[host] not in ("resume", "abort"))
    found = [dict(storage_restart.wave_of(name, nodes, [host], view["digest"], modes[host] == "settle"),
                  mode=modes[host], platform=looks[host]["platform"],
                  estimate_s=params[PROCEDURE + "_pause_s"] if modes[host] in ("settle", "end", "abort")
                  else node_s(looks[host], params)) for host in hosts]
    return {"result": "proceed", "nodes": found, "done": [host for host in fresh if host not in modes],
            "plan": [_sentence(node["hosts"][0], node, looks[node["hosts"][0]]) for node in found]
            + ["%s was condensed in the run that this one continues, and has settled." % host
               for host in fresh if host not in modes]}


def _sentence(host, node, look):
    facts = look.get("facts") or {}
    if node["mode"] == "settle":
        return "Wait until %s is green towards every other node" % host
    if node["mode"] == "end":
        return "End the condense of %s on %s, which runs on it, and wait until every node is green" % (
            facts.get("name"), host)
    if node["mode"] == "abort":
        return "Give up the condense on %s: keep %s, destroy the unfinished copy, start the node" % (
            host, facts.get("name") or "its data set")
    if node["mode"] == "resume":
        return "Go on with %s on %s (next: %s), start it and wait until every node is green" % (
            facts.get("name"), host, look.get("next"))
    return "Stop %s, condense %s (%s, pool %s used to %d %%, %s), start it and wait until every node is green" % (
        host, facts["name"], zfs.human(facts["old"]["referenced"]), facts["pool"]["pool"], facts["pool"]["capacity"],
        storage_plan.duration(node["estimate_s"]))


def verdict(situation: f.Situation, answers: dict, looks: dict, params: dict, run: dict, since: float,
            now: float) -> dict:
    """Decide about condensing nodes of all clusters, one cluster after the other.

    answers, looks: ``{host: answer of irondb_probe, of storage_condense}``. since, now: epoch seconds of the
    controller. A verdict of ``failover`` with ``nodes`` of :func:`cluster_plan`, ``done_hosts``, ``since``,
    ``estimate_s`` and ``lock_ttl_s``.
    """
    known = storage_restart.clusters(situation.sites)
    everywhere = [node["host"] for nodes in known.values() for node in nodes]
    if not everywhere:
        return dict(f.refuse(""), result="nothing_to_do", reason="No host of this inventory has the role data_storage.")
    site_of = {node["host"]: {"site": name} for name, nodes in known.items() for node in nodes}
    wanted, problem = operations.pick(everywhere, site_of, params.get(PROCEDURE + "_limit"), PROCEDURE + "_limit")
    if problem:
        return f.refuse(problem)
    if params.get("circonus_confirm") != storage_plan.ROLE:
        return f.refuse("circonus_confirm must name the role whose data sets are written anew (%s), found %s. Nothing "
                        "was changed." % (storage_plan.ROLE, params.get("circonus_confirm") or "nothing"))
    if params[PROCEDURE + "_capacity_percent"] > condense.CAPACITY_PERCENT:
        return f.refuse("%s_capacity_percent must be at most %d, as the manual says, found %d." % (
            PROCEDURE, condense.CAPACITY_PERCENT, params[PROCEDURE + "_capacity_percent"]))
    lock = situation.lock(run, params.get("circonus_lock_break"))
    if lock["refusal"]:
        return f.refuse(lock["refusal"])
    found, plan, done = [], [], []
    for name, nodes in known.items():
        if any(node["host"] in wanted for node in nodes):
            mine = cluster_plan(name, nodes, answers, looks, wanted, params, since, now)
            if mine["result"] == "refused":
                return mine
            found, plan, done = found + mine["nodes"], plan + mine["plan"], done + mine["done"]
    estimate = sum(node["estimate_s"] for node in found)
    longest = max([node["estimate_s"] for node in found] or [0.0])
    base = {"plan": plan, "warnings": [], "nodes": found, "done_hosts": done, "since": since, "estimate_s": estimate,
            "lock_hosts": f.lock_hosts(situation), "lock_break": lock["break"],
            "lock_ttl_s": int(max(params["circonus_lock_ttl_s"], LOCK_FACTOR * longest))}
    if not found:
        return dict(base, result="nothing_to_do", reason="No condense is on its way." if params[PROCEDURE + "_abort"]
                    else "Every node was condensed in the run that this one continues, and has settled.")
    word = "%d data_storage node%s" % (len(found), "" if len(found) == 1 else "s")
    return dict(
        base,
        result="proceed",
        reason="%s, %s." % (word, storage_plan.duration(estimate)),
        done="%s %s; every node is green towards every other." % (
            word, "kept as before the condense" if params[PROCEDURE + "_abort"]
            else "condensed" if len(found) == 1 else "condensed one after another"),
    )
