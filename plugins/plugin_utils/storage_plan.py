# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The plan of a rolling operation on a data_storage cluster: who is who, in which order, how long. Pure.

Views are those of ``module_utils/irondb_gate.py``, topologies those of ``module_utils/topology.py``, verdicts those of
``plugin_utils/failover.py``.

Sources: operation manual, "Performing cluster restarts" and "Reconstituting a Data Storage node".
"""

from __future__ import annotations

from ansible_collections.circonus.inside.plugins.module_utils import irondb_gate, ring
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError
from ansible_collections.circonus.inside.plugins.module_utils.topology import Topology, uuid_problem
from ansible_collections.circonus.inside.plugins.plugin_utils import failover as f
from ansible_collections.circonus.inside.plugins.plugin_utils import site_data

ROLE = "data_storage"
#: Seconds for stopping and starting a node, and from its start until the next one may stop (decision: the gate, and at
#: least the two minutes of the manual).
RESTART_S = 60.0
SETTLE_S = 120.0
#: Gates that close while a restarted node catches up, and open by themselves.
SETTLING = ("unknown", "stale", "lagging")


# -- who is who ------------------------------------------------------------------------------------------------------


def nodes_of(site: dict, hosts: list | None = None) -> list:
    """[{"host", "id": uuid or None, "address": IPv4 or None}] of the storage nodes in a normalised site.json.

    hosts: those of them that belong to the site, all when None.
    """
    found = []
    for host in site_data.machlist(site, ROLE):
        if hosts is not None and host not in hosts:
            continue
        machine = site_data.as_dict(site_data.machines(site).get(host))
        address = site_data.address(site, host)
        identity = machine.get("node_id")
        found.append({
            "host": host,
            "id": identity if isinstance(identity, str) and identity else None,
            "address": address.split("/")[0] if address else None,
        })
    return found


def identity_problems(nodes: list, topology: Topology, view: dict | None = None, disks: dict | None = None) -> list:
    """Sentences about what keeps a host from being one certain node, worst first. Empty: every host is proven.

    nodes: of :func:`nodes_of`. Compared are site.json, the topology, what answers at the address (``view``), and the
    directories below /snowth/data (``disks``: {host: [uuids] or None when it was not read}).
    """
    found, hosts = [], {}
    members = {node.id: node for node in topology.nodes}
    for node in nodes:
        host, identity = node["host"], node["id"]
        if not identity:
            found.append("%s has no node_id in machinfo of site.json. It is the directory below /snowth/data." % host)
            continue
        why = uuid_problem(identity)
        if why:
            found.append("The node_id of %s in site.json is %s: %s." % (host, identity, why))
            continue
        if identity in hosts:
            found.append("%s and %s have the same node_id %s in site.json. Each needs its own." % (
                hosts[identity], host, identity))
        hosts.setdefault(identity, host)
        member = members.get(identity)
        if member is None:
            found.append("%s (node_id %s) is not in the topology of the cluster. Hosts join it by a rebalance, not by "
                         "site.json." % (host, identity))
        elif node["address"] != member.address:
            found.append("%s has the address %s in site.json, its node %s has %s in the topology. Correct the one that "
                         "is wrong first." % (host, node["address"] or "none", identity, member.address or "none"))
        if disks is not None:
            found += disk_problems(host, identity, disks)
    found += ["The topology has the node %s at %s, no host of site.json has this node_id. A stale site.json must not "
              "decide about a cluster." % (node.id, node.address) for node in topology.nodes if node.id not in hosts]
    for node in view["nodes"] if view else ():
        state = view["answers"].get(node["id"], {}).get("state")
        if state and state["identity"] != node["id"]:
            found.append("At %s:%s answers the node %s, expected %s of %s. Compare topology and addresses." % (
                node["address"], node["port"], state["identity"], node["id"], hosts.get(node["id"], node["name"])))
    return found


def disk_problems(host: str, identity: str, disks: dict) -> list:
    """Sentences about what is below /snowth/data of a host. disks: {host: [uuids] or None when it was not read}."""
    on_disk = disks.get(host)
    if on_disk is None:
        return ["The node id below /snowth/data of %s was not read. Look whether /snowth is mounted." % host]
    if on_disk != [identity]:
        return ["%s holds the data of %s below /snowth/data, site.json says %s. Nothing may be done to it before that "
                "is explained." % (host, ", ".join(on_disk) or "no node", identity)]
    return []


# -- in which order --------------------------------------------------------------------------------------------------


def already_restarted(nodes: list, started: dict, since: float) -> list:
    """Hosts whose node was started after ``since``. started: {host: epoch seconds, None or missing when unknown}."""
    return [node["host"] for node in nodes if (started.get(node["host"]) or 0.0) > since]


def settling_only(reasons: list, fresh: set) -> bool:
    """Whether the gate is closed only because nodes of ``fresh`` (ids) were just restarted and still catch up."""
    return all(reason["id"] in SETTLING and (reason["node"] in fresh or reason["peer"] in fresh) for reason in reasons)


def duration(seconds: float) -> str:
    """``about 12 min``."""
    if seconds < 90:
        return "about %d s" % round(seconds)
    minutes = round(seconds / 60)
    return "about %d min" % minutes if minutes < 120 else "about %.1f h" % (seconds / 3600)


def _refuse(text: str, gate: str = "", **more) -> dict:
    return f.refuse(text, waves=[], done=[], settle=[], estimate_s=0.0, gate=gate, **more)


def restart_plan(nodes: list, topology: Topology, view: dict, run: dict, disks: dict | None = None) -> dict:
    """The verdict about restarting the nodes of a cluster.

    run: {"since": epoch seconds of the first start of this run, "started": {host: epoch seconds or None}, "parallel":
    ``one`` or ``sides``, "hosts": those that are wanted or None for all, "restart_s", "settle_s": measured seconds of a
    node, optional, "verb": what is done, Restart by default, "notes": {host: what the plan says of it more}, optional}.
    More than in any verdict: ``waves``: [[host]], ``done``: hosts that were restarted in this run and
    have settled, ``settle``: hosts that were and have not, ``estimate_s``, ``gate``: id of what refuses or ''.
    """
    problems = identity_problems(nodes, topology, view, disks)
    if problems:
        return _refuse(problems[0], "identity", problems=problems)
    host_of, id_of = {node["id"]: node["host"] for node in nodes}, {node["host"]: node["id"] for node in nodes}
    wanted = list(id_of) if run.get("hosts") is None else list(run["hosts"])
    stranger = [host for host in wanted if host not in id_of]
    if stranger:
        text = "Expected hosts with a node of this cluster, found %s. Look at --limit."
        return _refuse(text % ", ".join(stranger), "hosts")
    reasons = irondb_gate.gate(view)
    fresh = [host for host in already_restarted(nodes, run.get("started") or {}, run["since"]) if host in wanted]
    new = {id_of[host] for host in fresh}
    for reason in reasons:
        if not settling_only([reason], new):
            return _refuse(reason["text"], reason["id"])
    behind = {reason["node"] if reason["node"] in new else reason["peer"] for reason in reasons}
    settle = [host for host in fresh if id_of[host] in behind]
    done = [host for host in fresh if host not in settle]
    try:
        waves = ring.waves(topology, run.get("parallel") or "one")
    except InsideError as error:
        return _refuse(str(error), "waves")
    open_ = [host for host in wanted if host not in fresh]
    order = [[host_of[name] for name in wave if host_of[name] in open_] for wave in waves]
    order = [wave for wave in order if wave]
    node_s = float(run.get("restart_s") or RESTART_S) + float(run.get("settle_s") or SETTLE_S)
    estimate = len(order) * node_s + (float(run.get("settle_s") or SETTLE_S) if settle else 0.0)
    plan = ["Wait until %s is green towards every other node" % host for host in settle]
    verb, notes = run.get("verb") or "Restart", run.get("notes") or {}
    plan += ["; ".join(["%s %s and wait until every node is green" % (verb, " and ".join(wave)),
                        *(notes[host] for host in wave if notes.get(host))]) for wave in order]
    plan += ["%s was %sed in this run and has settled." % (host, verb.lower()) for host in done]
    base = {"plan": plan, "warnings": [], "waves": order, "done": done, "settle": settle, "estimate_s": estimate,
            "gate": ""}
    if not order and not settle:
        return dict(base, result="nothing_to_do", reason="Every node was restarted in this run and has settled.")
    count = sum(len(wave) for wave in order)
    return dict(
        base,
        result="proceed",
        reason="Restart %d data_storage node%s in %d wave%s, %s." % (
            count, "" if count == 1 else "s", len(order), "" if len(order) == 1 else "s", duration(estimate)),
    )
