# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A data_storage cluster as a whole: read from any of its nodes, and watched until it has settled.

What is decided from it is in :mod:`irondb_gate`. Source of the waiting: operation manual, "Performing cluster
restarts".
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os
import threading
import time

from ansible_collections.circonus.inside.plugins.module_utils import irondb, irondb_gate, ring, topology
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput, InsideError, TimedOut

#: Nodes whose gossip is read. Each has the whole matrix; more than one, as each may be the one that hears nobody.
VIEWPOINTS = 3
#: Polls that a result keeps.
KEPT = 500

SPEC = dict(
    hosts=dict(type="list", elements="str", default=["127.0.0.1"]),
    port=dict(type="int", default=irondb.PORT),
    names=dict(type="dict", default={}),
    digest=dict(type="str"),
    page_timeout=dict(type="float", default=irondb.TIMEOUT_S),
)


class NobodyAnswers(InsideError):
    """None of the given hosts told the topology. ``reasons`` are in the form of :func:`irondb_gate.gate`."""

    def __init__(self, reasons):
        super(NobodyAnswers, self).__init__(
            "No node tells the topology of the cluster: {0} Start circonus-snowth there, or name another host of the "
            "cluster.".format(" ".join(reason["text"] for reason in reasons)), reasons=reasons)
        self.reasons = reasons


def endpoint(text, port):
    """``(address, port)`` of ``address``, ``address:port`` or ``[address]:port``. Raises BadInput."""
    address, mark, number = text.rpartition(":")
    if not mark or ":" in address and not address.endswith("]") or text.endswith("]"):
        address, number = text, str(port)
    if not address or not number.isdigit() or not 0 < int(number) < 65536:
        raise BadInput("Expected a host as address or address:port, found {0!r}.".format(text))
    return address.strip("[]"), int(number)


def together(jobs, seconds):
    """Results of functions that run at once: ``{name: result}``. One that is not back after ``seconds`` is missing."""
    results = {}

    def work(name, job):
        results[name] = job()

    threads = [threading.Thread(target=work, args=(name, jobs[name])) for name in jobs]
    for thread in threads:
        thread.daemon = True
        thread.start()
    end = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return dict(results)


def journals(redo_dir):
    """``{peer uuid: bytes}`` of the journals below a directory such as /snowth/redo. Raises BadInput without it."""
    if not os.path.isdir(redo_dir):
        raise BadInput("Expected the journals of this node in {0}, no such directory. Look at redo in "
                       "/opt/circonus/etc/topology.conf.".format(redo_dir))
    sizes = {}
    for directory, _names, files in os.walk(redo_dir):
        peers = [part for part in os.path.relpath(directory, redo_dir).split(os.sep) if not topology.uuid_problem(part)]
        for name in files if peers else ():
            try:
                size = os.lstat(os.path.join(directory, name)).st_size
            except OSError:  # delivered and removed meanwhile
                continue
            sizes[peers[-1]] = sizes.get(peers[-1], 0) + size
    return sizes


class Cluster:
    """Reads views (see :mod:`irondb_gate`) of one cluster.

    hosts: where to ask for its topology, the first that answers is taken. node: id of the node that was restarted.
    names: ``{uuid: host name}`` for sentences. digest: topology that has to be in force, by default that of the first
    host that answers. timeout: seconds for all the pages of a node.
    """

    def __init__(self, hosts, port=irondb.PORT, node=None, names=None, digest=None, timeout=irondb.TIMEOUT_S,
                 client=irondb.Client):
        self.hosts = [endpoint(host, port) for host in hosts]
        if not self.hosts:
            raise BadInput("Expected at least one host of the cluster, found none.")
        self.node, self.names, self.digest, self.timeout = node, dict(names or {}), digest, timeout
        self.topology = self.entry = None
        self.client = client

    def name(self, node):
        return str(self.names.get(node.id) or node.address or node.id)

    def find(self, timeout=None):
        """Read the topology, once. All hosts are asked at the same time. Raises NobodyAnswers."""
        if self.topology is not None:
            return self.topology
        timeout = timeout or self.timeout
        results = together(dict((host, lambda host=host: self._enter(host, timeout)) for host in self.hosts),
                           timeout + 1.0)
        reasons = []
        for host in self.hosts:
            where = "{0}:{1}".format(*host)
            found = results.get(host) or irondb.Unanswered("hung", "no answer within {0:g} s".format(timeout))
            if isinstance(found, irondb.Unanswered):
                problem = {"refused": "peer_down", "missing": "unreadable"}.get(found.problem, found.problem)
                reasons.append({"id": problem, "node": None, "peer": None, "name": host[0],
                                "text": "{0} ({1}).".format(where, found)})
                continue
            entry, digest, served = found
            if self.node and self.node not in [node.id for node in served.nodes]:
                sentence = "Expected the node {0} in the topology {1}.. of {2}, it is not there. Look at site.json."
                raise BadInput(sentence.format(self.node, digest[:12], where))
            self.topology, self.entry, self.digest = served, entry, self.digest or digest
            return self.topology
        raise NobodyAnswers(reasons)

    def _enter(self, host, timeout):
        """``(identity, digest, topology)`` told by a host, or the Unanswered that kept it from telling."""
        client = self.client(host[0], host[1], timeout)
        try:
            state = client.state()
            return (state["identity"],) + self._topology(client, state["current"])
        except irondb.Unanswered as exc:
            return exc

    def _topology(self, client, current):
        """``(digest, topology)`` by the wanted digest, by the current one where that is not known yet."""
        wanted = self.digest or current
        for digest in (wanted,) if wanted == current else (wanted, current):
            for form, reader in (("json", topology.read_json), ("xml", topology.read_xml)):
                try:
                    found = client.read("/topology/{0}/{1}".format(form, digest),
                                        lambda text, reader=reader: topology.checked(reader(text)))
                except irondb.Unanswered as exc:
                    if exc.problem != "missing":
                        raise
                    continue
                if topology.digest(found) != digest:
                    raise irondb.Unanswered("unreadable", "the topology served as {0}.. has the digest {1}..".format(
                        digest[:12], topology.digest(found)[:12]))
                return digest, found
        raise irondb.Unanswered("missing", "the topology {0}.. is not served".format(wanted[:12]))

    def viewpoints(self):
        """Ids of the nodes whose gossip is read: the restarted one, the one that was asked first, others."""
        order = [self.node, self.entry] + [node.id for node in self.topology.nodes]
        ids = set(node.id for node in self.topology.nodes)
        return [name for at, name in enumerate(order) if name in ids and name not in order[:at]][:VIEWPOINTS]

    def view(self, timeout=None):
        """What the cluster looks like now. Every node is asked at the same time. Raises NobodyAnswers."""
        timeout = timeout or self.timeout
        self.find(timeout)
        views = self.viewpoints()
        results = together(dict(
            (node.id, lambda node=node: self._ask(node, timeout, node.id in views)) for node in self.topology.nodes
        ), timeout + 1.0)
        late = {"problem": "hung", "error": "no answer within {0:g} s".format(timeout), "state": None,
                "rebalance": None, "rebuilding": None}
        answers = dict((node.id, dict(results.get(node.id) or late)) for node in self.topology.nodes)
        gossip = dict((name, answer.pop("gossip")) for name, answer in answers.items() if answer.get("gossip"))
        for answer in answers.values():
            answer.pop("gossip", None)
        return {
            "node": self.node, "write_copies": self.topology.write_copies, "digest": self.digest,
            "nodes": [{"id": node.id, "name": self.name(node), "address": node.address, "port": node.apiport,
                       "side": node.side} for node in self.topology.nodes],
            "answers": answers, "gossip": gossip, "journals": {},
        }

    def _ask(self, node, timeout, gossip):
        answer = {"problem": "", "error": "", "state": None, "rebalance": None, "rebuilding": None, "gossip": None}
        client = self.client(node.address, node.apiport, timeout)
        try:
            answer["state"] = client.state()
            if gossip:
                answer["gossip"] = client.gossip()
            answer["rebalance"] = client.rebalance()
            answer["rebuilding"] = client.rebuilding()
        except irondb.Unanswered as exc:
            answer.update(problem=exc.problem, error=str(exc))
        return answer


# ---- waiting ---------------------------------------------------------------------------------------------------


def sample(view, reasons, seconds):
    """One poll for the result: ``{"seconds", "green": bool, "worst": of irondb_gate or None, "reasons": {gate: number},
    "latency": {node: {peer: s or None}}}``; latency in both directions of the restarted node, of all without one. Pure.

    view: None when nobody told the topology.
    """
    count, latency = {}, {}
    for reason in reasons:
        count[reason["id"]] = count.get(reason["id"], 0) + 1
    for row in irondb_gate.matrix(view) if view else ():
        for entry in row["latency"]:
            if view["node"] in (None, row["id"], entry["peer"]):
                latency.setdefault(row["name"], {})[entry["name"]] = entry["seconds"]
    return {"seconds": round(seconds, 1), "green": not reasons, "reasons": count, "latency": latency,
            "worst": irondb_gate.worst(view) if view else None}


def line(point, green, polls):
    """One line of progress of a :func:`sample`. green: consecutive green polls so far, of ``polls``. Pure."""
    worst, text = point["worst"], "latency unknown"
    if worst:
        text = "{0} is {1:g} s behind {2}".format(worst["node"], worst["seconds"], worst["peer"])
    why = ", ".join("{0} {1}".format(name, point["reasons"][name]) for name in sorted(point["reasons"]))
    return "{0:>6.0f} s  {1}  {2}".format(point["seconds"], text, why or "green {0} of {1}".format(
        min(green, polls), polls))


def wait(cluster, polls=3, spacing=5.0, minimum=120.0, timeout=900.0, tell=lambda text: None, clock=time.monotonic,
         pause=time.sleep):
    """Poll until the cluster was green ``polls`` times in a row, ``spacing`` seconds apart, and ``minimum`` seconds
    have passed.

    timeout: no poll begins after it; the last one has its full time, as a hurried one would see nodes hang that do not.
    tell: takes a line of progress for each poll. Returns ``{"settled": True, "seconds", "polls", "series": [sample],
    "matrix", "reasons": []}``. Raises TimedOut with the same in its details after ``timeout`` seconds, BadInput for
    values that can never be met.
    """
    if polls < 1 or spacing < 0 or max(minimum, (polls - 1) * spacing) > timeout:
        raise BadInput("Expected a timeout that leaves time for {0} polls {1:g} s apart and for a minimum of {2:g} s, "
                       "found {3:g} s. Raise it.".format(polls, spacing, minimum, timeout))
    started, green, count, series, view = clock(), 0, 0, [], None
    while True:
        at = clock()
        try:
            view = cluster.view()
            reasons = irondb_gate.gate(view)
        except NobodyAnswers as exc:
            view, reasons = None, exc.reasons
        count, green = count + 1, 0 if reasons else green + 1
        passed = clock() - started
        point = sample(view, reasons, passed)
        series = series[1 - KEPT:] + [point]
        tell(line(point, green, polls))
        result = {"settled": green >= polls and passed >= minimum, "seconds": round(passed, 1), "polls": count,
                  "series": series, "matrix": irondb_gate.matrix(view) if view else [], "reasons": reasons}
        if result["settled"]:
            return result
        if passed + spacing > timeout:
            why = reasons[0]["text"] if reasons else "It was green {0} of {1} times in a row.".format(
                min(green, polls), polls)
            more = " ({0} more reasons.)".format(len(reasons) - 1) if len(reasons) > 1 else ""
            sentence = "The cluster has not settled within {0:g} s. {1}{2} Restart no other node before it has."
            result["gate"] = reasons[0]["id"] if reasons else "settling"
            raise TimedOut(sentence.format(timeout, why, more), **result)
        pause(max(0.0, spacing - (clock() - at)))


# ---- what the modules return -----------------------------------------------------------------------------------


def of_params(params):
    """The :class:`Cluster` of the parameters of a module."""
    return Cluster(params["hosts"], params["port"], params.get("node"), params["names"], params["digest"],
                   params["page_timeout"])


def refusal(reasons):
    """One line: the first reason and how many there are."""
    more = " ({0} more reasons.)".format(len(reasons) - 1) if len(reasons) > 1 else ""
    return reasons[0]["text"] + more


def ask_safe(cluster, nodes, strict=True, redo_dir=None, journal_limit=irondb_gate.JOURNAL_BYTES):
    """:func:`irondb_gate.safe_to_stop` of the cluster as it is now, with ``gate``, ``write_copies`` and ``digest``.

    redo_dir: journals of the one node that would stop, on this host. Raises InsideError.
    """
    if redo_dir and len(nodes) != 1:
        raise BadInput("Expected one node with the journals of this host, found {0}.".format(len(nodes)))
    view = cluster.view()
    if redo_dir:
        view["journals"] = {nodes[0]: journals(redo_dir)}
    answer = irondb_gate.safe_to_stop(view, nodes, cluster.topology, strict, journal_limit)
    short = sorted(answer["short"], key=lambda segment: -segment["share"])
    answer.update(short=short[:20], short_count=len(short), write_copies=view["write_copies"], digest=view["digest"],
                  gate=answer["reasons"][0]["id"] if answer["reasons"] else "")
    return answer


def info(cluster):
    """State of a whole cluster, see the module irondb_info. A cluster that does not answer is a finding."""
    try:
        view = cluster.view()
    except NobodyAnswers as exc:
        return {"nodes": [], "matrix": [], "settled": False, "reasons": exc.reasons, "versions": {}}
    it, weights = ring.Ring(cluster.topology), dict((node.id, node.weight) for node in cluster.topology.nodes)
    versions, nodes = {}, []
    for node in view["nodes"]:
        answer = view["answers"][node["id"]]
        nodes.append(dict(node, weight=weights[node["id"]], share=round(it.share(node["id"]), 6), **answer))
        if answer["state"]:
            versions.setdefault(answer["state"]["version"] or "unknown", []).append(node["name"])
    reasons = irondb_gate.gate(view)
    return {"nodes": nodes, "matrix": irondb_gate.matrix(view), "settled": not reasons, "reasons": reasons,
            "versions": versions, "topology": {"digest": view["digest"], "write_copies": view["write_copies"],
                                               "sided": topology.sided(cluster.topology)}}


def node_info(cluster):
    """All that the first host tells of itself, see the module irondb_info."""
    address, port = cluster.hosts[0]
    client = cluster.client(address, port, cluster.timeout)
    found = {"address": address, "port": port, "problem": "", "errors": {}}
    for part in ("state", "stats", "gossip", "rebalance", "rebuilding", "sweep"):
        found[part] = None
        if found["problem"] in ("unreachable", "refused", "hung"):
            found["errors"][part] = "not asked any more"
            continue
        try:
            found[part] = getattr(client, part)()
        except irondb.Unanswered as exc:
            found["errors"][part] = str(exc)
            found["problem"] = found["problem"] or exc.problem
    return found
