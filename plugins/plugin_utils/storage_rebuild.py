# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decide about the rebuild of one data_storage node. Pure.

Sources: operation manual, "Reconstituting a Data Storage node" and its variant for a new cluster.
"""

from __future__ import annotations

from ansible_collections.circonus.inside.plugins.module_utils import (
    irondb_cluster,
    irondb_gate,
    irondb_rebuild,
    irondb_reconstitute,
    irondb_stores,
    topology,
)
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput
from ansible_collections.circonus.inside.plugins.plugin_utils import failover as f
from ansible_collections.circonus.inside.plugins.plugin_utils import storage_plan, storage_restart

PROCEDURE = "data_storage_rebuild"
#: Seconds after a rebuild in which the same command finds nothing to do (decision: a day, as for a restart).
DONE_S = 24 * 3600.0


def parameter(params: dict, name: str):
    """One of the procedure's own parameters."""
    return params.get("%s_%s" % (PROCEDURE, name))


def find(sites: dict, host: str) -> tuple:
    """(site, nodes of its cluster, the node) of a host; (None, [], None) when it is none."""
    for name, nodes in storage_restart.clusters(sites).items():
        for node in nodes:
            if node["host"] == host:
                return name, nodes, node
    return None, [], None


def module_args(nodes: list, node: dict, params: dict, units: list, digest: str | None = None,
                source: dict | None = None) -> dict:
    """Arguments that every step of the module irondb_rebuild has. Others are asked before the node itself."""
    own = [node["address"]] if node["address"] else []
    mode = parameter(params, "mode")
    return {
        "host": node["host"], "node_id": node["id"] or "", "address": node["address"] or "", "units": units,
        "hosts": [other["address"] for other in nodes if other["address"] and other is not node] + own,
        "names": {other["id"]: other["host"] for other in nodes if other["id"]},
        "mode": mode if mode in ("reconstitute", "new_cluster") else "reconstitute",
        "extra": list(parameter(params, "extra") or []), "destroy": parameter(params, "destroy") or "",
        "stamp": parameter(params, "stamp") or "", "source": source, "digest": digest,
    }


def questions(sites: dict, params: dict, units: list) -> dict:
    """``{host: {"look": arguments of irondb_rebuild, "source": of irondb_info or None}}``; the host that is meant."""
    _name, nodes, node = find(sites, parameter(params, "node"))
    if node is None:
        return {}
    source = parameter(params, "source")
    return {node["host"]: {
        "look": dict(module_args(nodes, node, params, units), step="look"),
        "source": {"hosts": [source]} if source and parameter(params, "mode") == "new_cluster" else None,
    }}


# -- the other cluster -----------------------------------------------------------------------------------------------


def source_of(answer: dict | None, node: dict, digest: str, params: dict) -> tuple:
    """({"digest", "address"} of the cluster that is pulled from, or None; why it cannot be, or '').

    answer: of irondb_info about it. Only as many of its nodes as its write copies less one may be silent (operation
    manual), and no node may be in both.
    """
    text = parameter(params, "source")
    if not text:
        return None, ("Expected data_storage_rebuild_source, the address of a node of the cluster to pull from, found "
                      "none.")
    if not answer or not answer.get("nodes"):
        why = (answer or {}).get("msg") or next((one["text"] for one in (answer or {}).get("reasons") or []), "")
        return None, "Expected a cluster at %s, found none: %s." % (text, (why or "it was not asked").rstrip("."))
    found = answer["topology"]
    if found["digest"] == digest:
        return None, ("%s is of the same cluster (topology %s..). A node is rebuilt from its own cluster with "
                      "data_storage_rebuild_mode=reconstitute." % (text, digest[:12]))
    if node["id"] in [other["id"] for other in answer["nodes"]]:
        return None, "The cluster at %s has a node %s as well. Node ids are unique; look at site.json." % (
            text, node["id"])
    silent = [other["name"] for other in answer["nodes"] if other["problem"]]
    if len(silent) > found["write_copies"] - 1:
        return None, ("Expected at most %d silent nodes in the cluster at %s (write copies less one), found %s. Bring "
                      "them back first." % (found["write_copies"] - 1, text, ", ".join(silent)))
    host, port = irondb_cluster.endpoint(text, 8112)
    return {"digest": found["digest"], "address": "%s:%d" % (host, port)}, ""


# -- what is to be done ----------------------------------------------------------------------------------------------


def version_problem(view: dict, node: dict) -> str:
    """Why the releases of the cluster do not fit together, or ''. The node itself may be silent."""
    versions: dict = {}
    names = {other["id"]: other["name"] for other in view["nodes"]}
    for identity, answer in view["answers"].items():
        if answer["state"] and answer["state"].get("version"):
            versions.setdefault(answer["state"]["version"], []).append(names[identity])
    if len(versions) < 2:
        return ""
    said = "; ".join("%s on %s" % (version, ", ".join(hosts)) for version, hosts in sorted(versions.items()))
    return ("Expected one release of the store on all nodes, as a rebuild fails between some, found %s. Update them "
            "first; %s may stay down meanwhile." % (said, node["host"]))


def spare(view: dict, node: dict, ring: topology.Topology, state: str) -> list:
    """Why the cluster cannot spare the node for a rebuild, as reasons of ``irondb_gate``: never more nodes down or
    rebuilding than write copies less one, and a live copy of everything.

    A node that waits with new stores (``ready``) is down already, and its peers may still call its interrupted rebuild
    running: that alone does not keep it from going on.
    """
    found = irondb_gate.safe_to_stop(view, [node["id"]], ring, strict=False)["reasons"]
    return [reason for reason in found if state != "ready" or reason["id"] != "reconstitute"]


def state_of(answer: dict, node: dict) -> str:
    """How far this host is: fresh, opened, ready (stores are new), running, rebuilt (serves or may)."""
    record = answer.get("record")
    if any(item["node"] in (None, node["id"]) for item in answer["processes"]["running"]):
        return "running"
    if record is None:
        return "fresh"
    if record["phase"] == "rebuilt" or answer["finished"]:
        return "rebuilt"
    return "ready" if record["phase"] == "cleared" else "opened"


def steps(answer: dict, node: dict, state: str, mode: str, source: dict | None) -> list:
    """The plan in sentences."""
    host, plan = node["host"], []
    command = " ".join(irondb_reconstitute.command(node["id"], source, answer["wrapper"]))
    if state in ("fresh", "opened"):
        plan.append("Prove by gossip and ring that the cluster can spare %s, stop circonus-snowth there, disable it "
                    "and keep Hooper away" % host)
        plan += _clearing(answer, node, mode)
    if state in ("fresh", "opened", "ready"):
        plan.append("Start on %s, detached: %s" % (host, command))
    if state == "running":
        plan.append("Follow the reconstitute that runs on %s; it is not started again" % host)
    if state != "rebuilt":
        plan.append("Wait for \"%s\" with a line of progress every %s" % (
            irondb_reconstitute.FINISHED, "few seconds; the lock of the platform is given back meanwhile"))
    plan.append("Start circonus-snowth on %s and wait until every node is green" % host)
    return plan


def _clearing(answer, node, mode):
    host, record = node["host"], answer.get("record")
    if mode == "new_cluster":
        return ["Leave the stores of %s as they are: what the other cluster has is added to them" % host]
    if record and record["stores"]:
        return ["Go on with the stores of %s where an earlier run stopped: %s" % (host, ", ".join(
            "%s (%s)" % (kept["store"], kept["action"]) for kept in record["stores"]))]
    found, word = [], "Destroy" if answer["choice"]["action"] == "destroy" else "Set aside by rename"
    for item in answer["stores"]:
        what = "data set %s" % item["dataset"] if item["kind"] == "dataset" else item["path"]
        if item["empty"]:
            found.append("Keep %s, which is empty" % what)
        else:
            size = "unknown size" if item["used"] is None else irondb_stores.size(item["used"])
            found.append("%s the %s (%s) and make a new one" % (word, what if what[0] != "/" else "directory " + what,
                                                                size))
    return found


def verdict(situation: f.Situation, answers: dict, params: dict, run: dict, units: list) -> dict:
    """Decide about the rebuild of data_storage_rebuild_node, or about removing what an earlier one has set aside.

    answers: {"look": answer of irondb_rebuild, "source": of irondb_info, or None}. A verdict of ``failover`` with
    ``host``, ``watch`` (host that looks at the cluster), ``gate``, ``stop``: whether these steps are still to be done,
    ``remove``, ``args`` of irondb_rebuild, ``addresses``, ``names``, ``digest``, ``node_id`` and ``page``
    (address:port of the node).
    """
    host = parameter(params, "node")
    name, nodes, node = find(situation.sites, host)
    if node is None:
        known = [one["host"] for cluster in storage_restart.clusters(situation.sites).values() for one in cluster]
        return f.refuse("Expected a host with the role data_storage (%s) as data_storage_rebuild_node, found %s." % (
            ", ".join(known) or "there is none", host))
    if params.get("circonus_confirm") != host:
        return f.refuse("circonus_confirm must name the node that is rebuilt (%s), found %s. Nothing was changed." % (
            host, params.get("circonus_confirm") or "nothing"))
    lock = situation.lock(run, params.get("circonus_lock_break"))
    if lock["refusal"]:
        return f.refuse(lock["refusal"])
    look = answers.get("look") or {"reachable": False, "msg": "it is not in this play"}
    if not look.get("reachable", True) or "problems" not in look:
        return f.refuse("Expected an answer of %s, found none: %s. Nothing was changed." % (
            host, str(look.get("msg") or "no answer").rstrip(".")))
    watch = next((one["host"] for one in nodes if one is not node), None)
    if watch is None:
        return f.refuse("%s is the only node of %s: there is nobody to rebuild it from." % (host, name))
    base = {
        "warnings": [], "host": host, "watch": watch, "node_id": node["id"], "remove": False, "gate": False,
        "stop": False, "lock_hosts": f.lock_hosts(situation), "lock_break": lock["break"],
        "addresses": [one["address"] for one in sorted(nodes, key=lambda one: one is node)],
        "names": {one["id"]: one["host"] for one in nodes},
    }
    if parameter(params, "mode") == "remove":
        return _remove(look, nodes, node, params, units, base)
    ring, problem = _proof(look, nodes, node)
    if problem:
        return f.refuse(problem)
    return _rebuild(look, ring, nodes, node, answers.get("source"), params, units, base)


def _proof(look, nodes, node):
    """(topology of the cluster, why this host is not proven to be the node or '')."""
    if look["problems"]:
        return None, "%s Nothing was changed." % look["problems"][0]
    try:
        ring = topology.read_xml(look["topology"])
    except BadInput as error:
        return None, "%s: %s" % (node["host"], error)
    problems = storage_plan.identity_problems(nodes, ring, look["view"])
    return ring, problems[0] if problems else ""


def _rebuild(look, ring, nodes, node, source_answer, params, units, base):
    host, mode, view = node["host"], parameter(params, "mode"), look["view"]
    digest, state, record = view["digest"], state_of(look, node), look["record"]
    source = None
    if mode == "new_cluster" and state in ("fresh", "opened", "ready"):
        source, problem = source_of(source_answer, node, digest, params)
        if problem:
            return f.refuse(problem)
    elif mode == "new_cluster":
        source = (record or {}).get("source")
    problem = _problem(look, node, state, mode, params)
    if problem:
        return f.refuse(problem)
    base["args"] = module_args(nodes, node, params, units, digest, source)
    done = _done(look, node, params)
    if done and state == "fresh":
        return dict(base, result="nothing_to_do", plan=[], digest=digest, reason=done, warnings=_kept(look, node))
    reasons = spare(view, node, ring, state) if state in ("fresh", "opened", "ready") else []
    if reasons:
        return f.refuse(irondb_cluster.refusal(reasons))
    member = next(one for one in ring.nodes if one.id == node["id"])
    plan = steps(look, node, state, mode, source)
    if mode == "reconstitute" and state == "fresh" and look["choice"]["action"] == "destroy":
        base["warnings"] = ["The old stores of %s are destroyed, as was confirmed: %s." % (
            host, look["choice"]["reason"])]
    what = {"fresh": "Rebuild", "opened": "Go on with the rebuild of", "ready": "Go on with the rebuild of",
            "running": "Follow the rebuild of", "rebuilt": "End the rebuild of"}[state]
    origin = "the cluster at %s" % source["address"] if source else "the other nodes of its cluster"
    return dict(
        base, result="proceed", plan=plan, digest=digest, page="%s:%d" % (member.address, member.apiport),
        reason="%s %s (node %s) from %s." % (what, host, node["id"], origin),
        done="%s was rebuilt; every node is green." % host,
        # A reconstitute that runs already is only followed; the node is down then.
        gate=state in ("fresh", "opened"), stop=state in ("fresh", "opened", "ready"))


def _problem(look, node, state, mode, params):
    """Why the rebuild may not begin or go on, or ''."""
    host, record = node["host"], look["record"]
    if not look["unit"]:
        return "Expected the unit circonus-snowth on %s, found none. Run Hooper first." % host
    if record and (record["node_id"] != node["id"] or record["mode"] != mode):
        return ("An unfinished rebuild of %s (mode %s) was begun on %s at %s. Finish it with its own parameters "
                "first." % (record["node_id"], record["mode"], host, record["stamp"]))
    strangers = [item for item in look["processes"]["running"] if item["node"] not in (None, node["id"])]
    if strangers:
        return "On %s runs a reconstitute of the node %s (process %s). Nothing was changed." % (
            host, strangers[0]["node"], strangers[0]["pid"])
    destroy = parameter(params, "destroy")
    if destroy and destroy != node["id"]:
        return "data_storage_rebuild_destroy must be the node id of %s (%s), found %s. Nothing was changed." % (
            host, node["id"], destroy)
    if mode == "reconstitute" and state in ("fresh", "opened") and not (record or {}).get("stores"):
        if look["choice"]["action"] == "destroy" and not destroy:
            return ("The old stores of %s cannot be kept: %s. Make room, or have them destroyed with "
                    "-e data_storage_rebuild_destroy=%s. Nothing was changed." % (
                        host, look["choice"]["reason"], node["id"]))
    return version_problem(look["view"], node) if state != "rebuilt" else ""


def _done(look, node, params):
    """Why nothing is to be done, or ''."""
    ended = [record for record in look["records"] if record["phase"] == "done" and record["node_id"] == node["id"]
             and record["mode"] == parameter(params, "mode")]
    if not ended or parameter(params, "again") or look["now"] - ended[-1]["closed"] > DONE_S:
        return ""
    return ("%s was rebuilt %s ago (%s). To rebuild it once more add -e data_storage_rebuild_again=true." % (
        node["host"], storage_plan.duration(max(look["now"] - ended[-1]["closed"], 0.0)).replace("about ", ""),
        ended[-1]["stamp"]))


def _kept(look, node):
    """One sentence for each finished rebuild whose old stores were kept and not removed yet."""
    return ["%s keeps the old stores of the rebuild %s in %s. To destroy them: data_storage_rebuild_mode=remove "
            "data_storage_rebuild_stamp=%s." % (node["host"], record["stamp"], ", ".join(
                item["aside"] for item in irondb_rebuild.set_aside(record)), record["stamp"])
            for record in look["records"] if record["phase"] == "done" and record["node_id"] == node["id"]
            and not record.get("removed") and irondb_rebuild.set_aside(record)]


def _remove(look, nodes, node, params, units, base):
    """The verdict about removing what a finished rebuild has set aside."""
    host, stamp = node["host"], parameter(params, "stamp")
    known = [record for record in look["records"] if record["phase"] == "done" and record["node_id"] == node["id"]
             and irondb_rebuild.set_aside(record) and not record.get("removed")]
    chosen = next((record for record in known if record["stamp"] == stamp), None)
    if chosen is None:
        left = ", ".join(record["stamp"] for record in known)
        if any(record["stamp"] == stamp and record.get("removed") for record in look["records"]):
            return dict(base, result="nothing_to_do", plan=[],
                        reason="What the rebuild %s of %s set aside was removed already." % (stamp, host))
        return f.refuse("Expected the stamp of a finished rebuild of %s (%s) in data_storage_rebuild_stamp, found %s. "
                        "Nothing was removed." % (host, left or "there is none", stamp or "nothing"))
    _ring, problem = _proof(look, nodes, node)
    if problem:
        return f.refuse(problem)
    if look["record"]:
        return f.refuse("A rebuild of %s is not finished (%s). What was set aside is kept until then." % (
            look["record"]["node_id"], look["record"]["stamp"]))
    reasons = irondb_gate.gate(look["view"])
    if reasons:
        return f.refuse("What was set aside is kept until every node is green: %s" % irondb_cluster.refusal(reasons))
    aside = irondb_rebuild.set_aside(chosen)
    size = irondb_stores.size(sum(item["used"] or 0 for item in aside))
    return dict(base, result="proceed", remove=True, digest=look["view"]["digest"],
                args=module_args(nodes, node, params, units, look["view"]["digest"]),
                plan=["Destroy %s" % item["aside"] for item in aside],
                reason="Remove what the rebuild %s of %s has set aside (%s)." % (stamp, host, size),
                done="What the rebuild %s of %s had set aside is removed (%s)." % (stamp, host, size))
