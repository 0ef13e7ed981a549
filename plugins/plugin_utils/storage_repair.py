# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decide which nodes of the data_storage clusters are repaired, in which order, and what keeps one from it. Pure.

Nodes that are down are repaired first: nothing is stopped for them, and only when they are back can the cluster settle.
A node that runs in spite of damage is stopped only when the cluster can spare it.

Source: operation manual, "Repairing Corrupt LevelDB Data Stores".
"""

from __future__ import annotations

import datetime

from ansible_collections.circonus.inside.plugins.module_utils import (
    irondb_damage,
    irondb_gate,
    irondb_repair,
    topology,
    unit_state,
)
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput
from ansible_collections.circonus.inside.plugins.plugin_utils import failover as f
from ansible_collections.circonus.inside.plugins.plugin_utils import operations, storage_plan, storage_restart

PROCEDURE = "data_storage_repair"
#: Hosts of each site that are asked for their cluster: any of them may be the one that is damaged.
VIEWERS = 3
#: Seconds after a complaint during which a node that opened since may still be settling because of its repair.
FRESH_S = 24 * 3600.0
LOST = ("A repair keeps what it can read. When text or histograms miss values on {0}, data_storage_rebuild.yml brings "
        "them back from the other copies; what the repair put aside is in lost/ of the store.")


def questions(sites: dict, units: list, targets: list | None = None) -> dict:
    """``{host: {"probe": arguments of irondb_probe, "damage": those of irondb_damage_info, None without an id}}``.

    targets: that a person insists on.
    """
    asked = storage_restart.questions(sites, units)
    found = {}
    for nodes in storage_restart.clusters(sites).values():
        for at, node in enumerate(nodes):
            valid = node["id"] and not topology.uuid_problem(node["id"])
            found[node["host"]] = {
                "probe": dict(asked[node["host"]], cluster=at < VIEWERS),
                "damage": {"node": node["id"], "units": units, "insist": targets or []} if valid else None,
            }
    return found


def _why(answer: dict | None) -> str:
    return str((answer or {}).get("msg") or "it is not in this play").rstrip(".")


def _described(host: str, look: dict) -> str:
    """``east-store2 (text/metrics, hist/60)``."""
    found = irondb_repair.of_state(look, "damaged")
    return "%s (%s)" % (host, ", ".join(found) if found else "repaired and not started")


def _sound(host: str, look: dict) -> str:
    """Why a node is left alone, and what its log said before it opened."""
    text = "%s is left alone: its log names no damaged store." % host
    over = [item for item in look["stores"] if item["state"] == "opened" and item["target"] and not item["mended"]]
    if over:
        last = max(over, key=lambda item: item["at"])
        when = datetime.datetime.fromtimestamp(last["at"], datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%SZ")
        text += " It opened after it had named %s at %s; to repair that nevertheless give %s_targets." % (
            last["target"], when, PROCEDURE)
    if not look["serving"]:
        text += " It does not answer (%s), for another reason: read its errorlog, then start it." % look["problem"]
    return text


def node_problem(node: dict, probe: dict, look: dict, units: list) -> str:
    """Why a damaged node is not repaired, one sentence, or ''. probe, look: what its host answered."""
    host = node["host"]
    wrong = storage_plan.disk_problems(host, node["id"], {host: probe.get("node_ids")})
    if wrong:
        return wrong[0]
    # The unit's own processes are stopped when the cluster can spare them.
    others = [item for item in look["processes"] if item["kind"] != "daemon" or item["unit"] not in units]
    why = irondb_repair.problem(dict(look, processes=others), [], units)
    return "%s: %s" % (host, why) if why else ""


def targets_problem(wanted: list | None, host: str, look: dict) -> str:
    """Why the targets that were given are not those that the log names, one sentence, or ''."""
    found = irondb_repair.of_state(look, "damaged")
    known = set(found) | set(irondb_repair.of_state(look, "repaired"))
    if not wanted or set(found) <= set(wanted) <= known:
        return ""
    return "%s_targets must be what the log of %s names (%s), found %s. Nothing was changed." % (
        PROCEDURE, host, ", ".join(found) or "no damaged store", ", ".join(wanted))


def _view(nodes, probes):
    """``(view, topology)`` of a cluster, by the first host that could read it; ``(None, None)`` when none could.

    Raises BadInput for a topology that cannot be read.
    """
    for node in nodes:
        probe = probes.get(node["host"]) or {}
        if probe.get("view"):
            return probe["view"], topology.read_xml(probe["topology"])
    return None, None


def _is_down(look):
    daemons = [item for item in look["processes"] if item["kind"] == "daemon"]
    return look["active"] in unit_state.DOWN_STATES and not daemons


def _wave(name, nodes, host, look, view, probes):
    """What is done to one node, before it is known whether the cluster can settle then."""
    others = [node["host"] for node in nodes
              if node["host"] != host and (probes.get(node["host"]) or {}).get("reachable")]
    node = next(node for node in nodes if node["host"] == host)
    targets = irondb_repair.of_state(look, "damaged")
    return {
        "site": name, "hosts": [host], "node": node["id"], "ids": [node["id"]], "targets": targets,
        "title": "Repair %s" % ", ".join(targets) if targets else "Start what was repaired",
        "ask": not _is_down(look), "settle": False, "settle_only": False, "watch": others[0] if others else host,
        "addresses": [one["address"] for one in sorted(nodes, key=lambda one: one["host"] == host) if one["address"]],
        "names": {one["id"]: one["host"] for one in nodes}, "digest": view["digest"] if view else None,
        "remaining": [LOST.format(host)],
    }


def _longest(wave, params):
    """Seconds that everything about a wave may take; a start may name one more damaged store."""
    seconds = (len(wave["targets"]) + 1) * params[PROCEDURE + "_timeout_s"] + 3 * params[PROCEDURE + "_start_s"]
    return seconds + params[PROCEDURE + "_settle_s"]


def _steps(wave):
    """Lines of the plan about one wave."""
    host = wave["hosts"][0]
    if wave["settle_only"]:
        return ["Wait until %s is green towards every other node" % host]
    found = ["Stop %s, if its cluster can spare it" % host] if wave["ask"] else []
    found += ["Repair %s of %s: snowthd -r %s" % (target, host, target) for target in wave["targets"]]
    found.append("Start %s and prove that it opens" % host)
    return found + (["Wait until every node of %s is green" % wave["site"]] if wave["settle"] else [])


def _waves(name, nodes, sick, looks, view, probes):
    """``(waves, warnings)`` of one cluster. sick: hosts with damage."""
    down = [host for host in sick if _is_down(looks[host])]
    waves = [_wave(name, nodes, host, looks[host], view, probes)
             for host in down + [host for host in sick if host not in down]]
    ids = {node["id"]: node["host"] for node in nodes}
    absent = [ids.get(one["id"], one["name"]) for one in (view["nodes"] if view else ())
              if view["answers"][one["id"]]["problem"] and ids.get(one["id"]) not in sick]
    warnings = []
    if absent:
        warnings.append("%s does not answer and is not repaired here, so the run does not wait until the cluster of %s "
                        "is green. Bring it back and look at the replication latency." % (", ".join(absent), name))
    elif len(nodes) > 1 and not (view and view["write_copies"] < 2):
        for at, wave in enumerate(waves):
            wave["settle"] = at >= len(down) - 1
    return waves, warnings


def _settling(name, nodes, wanted, looks, view, probes, now):
    """A wave that only waits, for a node that opened again and has not settled yet; [] otherwise."""
    if not view or view["write_copies"] < 2:
        return []
    fresh = [node for node in nodes if node["host"] in wanted and looks[node["host"]]["serving"] and any(
        item["state"] == "opened" and item["target"] and now - item["at"] < FRESH_S
        for item in looks[node["host"]]["stores"])]
    reasons = irondb_gate.gate(view)
    if not fresh or not reasons or not storage_plan.settling_only(reasons, {node["id"] for node in fresh}):
        return []
    host = fresh[0]["host"]
    return [dict(_wave(name, nodes, host, looks[host], view, probes), settle=True, settle_only=True, remaining=[])]


def _cluster(name, nodes, wanted, probes, looks, params, units, now):
    """The plan of one cluster: refused, or {"waves", "warnings", "sick": [hosts], "sound": [sentences]}."""
    mine = [node for node in nodes if node["host"] in wanted]
    for node in mine:
        host = node["host"]
        probe, look = probes.get(host) or {}, looks.get(host) or {}
        if not node["id"] or topology.uuid_problem(node["id"]):
            text = "%s has no valid node_id in machinfo of site.json. It is the directory below /snowth/data."
            return f.refuse(text % host)
        if not probe.get("reachable") or not look.get("reachable"):
            return f.refuse("Expected an answer of %s, found none: %s. Leave it out by %s_limit." % (
                host, _why(look if probe.get("reachable") else probe), PROCEDURE))
        if "stores" not in look or "node_ids" not in probe:
            return f.refuse("Expected what %s knows of its node, found none: %s." % (
                host, _why(look if "stores" not in look else probe)))
    sick, sound = [], []
    for node in mine:
        if irondb_repair.needed(looks[node["host"]]):
            sick.append(node["host"])
        else:
            sound.append(_sound(node["host"], looks[node["host"]]))
    try:
        view, ring = _view(nodes, probes)
    except BadInput as error:
        return f.refuse("%s: %s" % (name, error))
    if sick and ring:
        problems = storage_plan.identity_problems(nodes, ring, view)
        if problems:
            return f.refuse(problems[0])
    for node in mine:
        if node["host"] in sick:
            why = node_problem(node, probes[node["host"]], looks[node["host"]], units)
            if why and len(sick) > 1:
                why += " Leave it out by %s_limit to repair the others." % PROCEDURE
            why = why or targets_problem(params.get(PROCEDURE + "_targets"), node["host"], looks[node["host"]])
            if why:
                return f.refuse(why)
    waves, warnings = _waves(name, nodes, sick, looks, view, probes)
    if not sick:
        waves = _settling(name, nodes, wanted, looks, view, probes, now)
    return {"result": "proceed", "waves": waves, "warnings": warnings, "sick": sick, "sound": sound}


def verdict(situation: f.Situation, probes: dict, looks: dict, params: dict, run: dict, units: list,
            now: float) -> dict:
    """Decide about the nodes of all clusters, one cluster after the other.

    probes, looks: ``{host: answer of irondb_probe, of irondb_damage_info, with reachable}``. now: epoch seconds. A
    verdict of ``failover`` with ``waves``: ``[{"site", "hosts": [one], "ids", "node": its id, "targets", "title",
    "ask": whether it has to be stopped, "settle": whether to wait for the cluster, "settle_only", "watch": host that
    waits,
    "addresses", "names", "digest": or None, "remaining": [text], "lock_s": seconds that it may take}]``.
    """
    known = storage_restart.clusters(situation.sites)
    everywhere = [node["host"] for nodes in known.values() for node in nodes]
    if not everywhere:
        return dict(f.refuse(""), result="nothing_to_do", reason="No host of this inventory has the role data_storage.")
    site_of = {node["host"]: {"site": name} for name, nodes in known.items() for node in nodes}
    wanted, problem = operations.pick(everywhere, site_of, params.get(PROCEDURE + "_limit"), PROCEDURE + "_limit")
    given = params.get(PROCEDURE + "_targets") or []
    strange = [target for target in given if not irondb_damage.is_target(target)]
    if not problem and strange:
        problem = "%s_targets must be of %s, hist/<period>, found %s. Nothing was changed." % (
            PROCEDURE, ", ".join(irondb_damage.TARGETS), ", ".join(strange))
    if problem:
        return f.refuse(problem)
    lock = situation.lock(run, params.get("circonus_lock_break"))
    if lock["refusal"]:
        return f.refuse(lock["refusal"])
    waves, warnings, sick, sound = [], [], [], []
    for name, nodes in known.items():
        mine = _cluster(name, nodes, wanted, probes, looks, params, units, now)
        if mine["result"] == "refused":
            return mine
        waves += mine["waves"]
        warnings += mine["warnings"]
        sick += mine["sick"]
        sound += mine["sound"]
    done = {item["target"] for host in wanted for item in looks[host]["stores"] if item["mended"]}
    if not sick and set(given) - done:
        return f.refuse("%s_targets is %s, and the log of %s names no damaged store. Nothing was changed." % (
            PROCEDURE, ", ".join(given), ", ".join(wanted)))
    for wave in waves:
        wave["lock_s"] = int(max(params["circonus_lock_ttl_s"], _longest(wave, params)))
    base = {"plan": [line for wave in waves for line in _steps(wave)] + sound, "warnings": warnings, "waves": waves,
            "lock_hosts": f.lock_hosts(situation), "lock_break": lock["break"]}
    if not waves:
        return dict(base, result="nothing_to_do", reason=" ".join(sound))
    what = ", ".join(_described(host, looks[host]) for host in sick)
    if sick and not run.get("check_mode"):
        said = sorted(word.strip() for word in str(params.get("circonus_confirm") or "").split(",") if word.strip())
        if said != sorted(sick):
            text = "Damaged: %s. circonus_confirm must be %s to repair that, found %s. Nothing was changed."
            return f.refuse(text % (what, ",".join(sick), ",".join(said) or "nothing"))
    return dict(
        base,
        result="proceed",
        reason="Repair %s." % what if sick else "Nothing is damaged any more; wait until the cluster has settled.",
        done="%s: repaired, and it opens again." % what if sick else "Every node is green towards every other.",
    )
