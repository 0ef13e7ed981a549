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
from ansible_collections.circonus.inside.plugins.plugin_utils import failover as f
from ansible_collections.circonus.inside.plugins.plugin_utils import operations, procedure, site_data, storage_plan

PROCEDURE = "data_storage_restart"
#: Parameters of the steps of a wave, behind the prefix of the procedure.
PACE = ("timeout_s", "polls", "spacing_s", "pause_s", "settle_s")
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


def questions(sites: dict, units: list) -> dict:
    """``{host: arguments of irondb_probe}``. The first host of each site reads the cluster, the others themselves."""
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
            }
    return asked


def epoch(stamp: str) -> float:
    """Seconds since 1970 of a stamp of :func:`procedure.now`."""
    return datetime.datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp()


def begun(run: dict, name: str = PROCEDURE, same: tuple = ()) -> float:
    """Epoch seconds at which the run began that this one continues: the newest earlier one of the same report directory
    with the same parameters ``same`` (its limit by default), if it was stopped or killed after its plan was made; else
    of this run itself.

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
        proceeded = any(record["type"] == "verdict" and record.get("result") == "proceed" for record in records)
        if not proceeded and not any(record["type"] == "completed" for record in records):
            continue  # refused: it did nothing, the one before it may still be continued
        other = any(first["parameters"].get(key) != run["parameters"].get(key) for key in same)
        if any(record["type"] == "completed" for record in records) or other:
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


def _cluster(name, nodes, answers, wanted, params, since, now, needed=None, prefix=PROCEDURE + "_"):
    """The plan of one cluster: a verdict of storage_plan with ``nodes`` and ``topology`` (digest)."""
    view, ring, disks, refusal = told(name, nodes, answers)
    if refusal:
        return refusal
    ages = {node["host"]: answers[node["host"]].get("age_s") for node in nodes}
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
    return dict(storage_plan.restart_plan(nodes, ring, view, run, disks), digest=view["digest"])


def verdict(situation: f.Situation, answers: dict, params: dict, run: dict, since: float, now: float,
            needed: set | None = None, prefix: str = PROCEDURE + "_") -> dict:
    """Decide about restarting nodes of all clusters, one cluster after the other.

    answers: ``{host: answer of irondb_probe with reachable}``. since, now: epoch seconds of the controller. needed:
    hosts that have to be restarted, all when None. prefix: of the parameters. A verdict of ``failover`` with ``waves``:
    ``[{"site", "hosts", "ids", "node": id if it is one, "watch": host that watches, "addresses": of the whole cluster,
    "names", "digest", "settle_only", "pace": parameters of the steps}]``, ``done_hosts`` that need nothing, ``since``
    and ``estimate_s``.
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
    waves, plan, done, estimate = [], [], [], 0.0
    for name, nodes in known.items():
        if not any(node["host"] in wanted for node in nodes):
            continue
        mine = _cluster(name, nodes, answers, wanted, params, since, now, needed, prefix)
        if mine["result"] == "refused":
            return mine
        plan += mine["plan"]
        done += mine["done"]
        estimate += mine["estimate_s"]
        for hosts, only in [([host], True) for host in mine["settle"]] + [(wave, False) for wave in mine["waves"]]:
            waves.append(dict(wave_of(name, nodes, hosts, mine["digest"], only), pace={
                key: params[prefix + key] for key in PACE}))
    base = {"plan": plan, "warnings": [], "waves": waves, "done_hosts": done, "since": since, "estimate_s": estimate,
            "lock_hosts": f.lock_hosts(situation), "lock_break": lock["break"]}
    if not waves:
        return dict(base, result="nothing_to_do", reason="Every node was restarted since %s and has settled." % (
            datetime.datetime.fromtimestamp(since, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%SZ")))
    count = sum(len(wave["hosts"]) for wave in waves)
    word = "node" if count == 1 else "nodes"
    return dict(
        base,
        result="proceed",
        reason="%d data_storage %s, %s." % (count, word, storage_plan.duration(estimate)),
        done="%d data_storage %s restarted one after another; every node is green towards every other." % (count, word)
        if params.get("data_storage_parallel") != "sides"
        else "%d data_storage %s restarted side by side; every node is green towards every other." % (count, word),
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
