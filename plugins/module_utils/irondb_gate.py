# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether a data_storage cluster has settled, and whether nodes of it may stop. Pure.

Sources: operation manual, "Performing cluster restarts" and "Operations Dashboard"; IRONdb manual, "Replication
latency", for colours and limits. Where they leave equality open, the worse colour is taken.

A *view* is what was read from the cluster at one moment::

    {"node": uuid that was restarted, or None, "write_copies": int, "digest": the one in force,
     "nodes": [{"id", "name", "address", "port", "side"}],                       # of the topology, in its order
     "answers": {uuid: {"problem": "" or one of irondb.PROBLEMS, "error": text,   # asked directly
                        "state", "rebalance": dicts of irondb or None, "rebuilding": bool}},
     "gossip": {asked uuid: rows of irondb.parse_gossip},
     "journals": {uuid: {peer uuid: bytes not delivered yet}}}                   # only where known

What is missing from a view closes a gate. Opening one takes proof.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import collections

from ansible_collections.circonus.inside.plugins.module_utils import ring
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput

#: Seconds from which a colour holds: (yellow, red).
AGE_S = (2.0, 8.0)
LATENCY_S = (30.0, 270.0)
#: Bytes in a journal for a peer from which it counts as behind. Below that a journal may be one open segment.
JOURNAL_BYTES = 64 * 1024 * 1024


# ---- colours ---------------------------------------------------------------------------------------------------


def _colour(seconds, limits):
    if seconds is None:
        return "unknown"
    return "red" if seconds >= limits[1] else "yellow" if seconds >= limits[0] else "green"


def age_colour(row):
    """Colour of the gossip age in a row: green, yellow, red, or black when nothing was ever heard."""
    if not row or not row["heard"]:
        return "black"
    return _colour(row["age"], AGE_S)


def latency_colour(seconds):
    """Colour of the latency towards one peer: green, yellow, red or unknown."""
    return _colour(seconds, LATENCY_S)


def node_colour(latencies, write_copies):
    """Colour of a node by its latencies ``[s or None]``.

    Red: behind W or more peers by 270 s. Yellow: behind W-1 or more by 30 s, at least one, as with one copy it would
    always be yellow. Red wins. Unknown latencies do not count here, they have their own colour.
    """
    known = [seconds for seconds in latencies if seconds is not None]
    if len([seconds for seconds in known if seconds >= LATENCY_S[1]]) >= max(1, write_copies):
        return "red"
    if len([seconds for seconds in known if seconds >= LATENCY_S[0]]) >= max(1, write_copies - 1):
        return "yellow"
    return "green" if known or not latencies else "unknown"


def matrix(view, asked=None):
    """The latency matrix as one node tells it (``asked``, by default the first that did): a list in the order of the
    topology of ``{"id", "name", "age": s or None, "age_colour", "mean": s or None, "colour", "asked": bool,
    "latency": [{"peer", "name", "seconds": s or None, "colour"}]}``."""
    rows = view["gossip"].get(asked or next(iter(_viewers(view)), None), {})
    found = []
    for node in view["nodes"]:
        row = rows.get(node["id"])
        latency = [{"peer": peer["id"], "name": peer["name"], "seconds": _latency(row, peer["id"]),
                    "colour": latency_colour(_latency(row, peer["id"]))}
                   for peer in view["nodes"] if peer["id"] != node["id"]]
        known = [entry["seconds"] for entry in latency if entry["seconds"] is not None]
        found.append({
            "id": node["id"], "name": node["name"], "age": row["age"] if row else None, "age_colour": age_colour(row),
            "mean": round(sum(known) / len(known), 3) if known else None, "latency": latency,
            "colour": node_colour([entry["seconds"] for entry in latency], view["write_copies"]),
            "asked": node["id"] == (asked or next(iter(_viewers(view)), None)),
        })
    return found


def worst(view):
    """The largest known latency between two nodes: ``{"node", "peer": names, "seconds"}``, None without any."""
    entries = [(entry["seconds"], row["name"], entry["name"]) for asked in _viewers(view)
               for row in matrix(view, asked) for entry in row["latency"] if entry["seconds"] is not None]
    if not entries:
        return None
    seconds, node, peer = max(entries)
    return {"node": node, "peer": peer, "seconds": seconds}


# ---- predicates of the gate ------------------------------------------------------------------------------------

# A predicate takes a view and returns [(node id or None, peer id or None, sentence)].


def _latency(row, peer):
    return row["latency"].get(peer) if row and row["heard"] else None


def _viewers(view):
    return [node["id"] for node in view["nodes"] if node["id"] in view["gossip"]]


def _names(view):
    return dict((node["id"], node["name"]) for node in view["nodes"])


def _rows(view):
    """(id of the node that told, node that is told of, its row or None)."""
    for asked in _viewers(view):
        for node in view["nodes"]:
            yield asked, node, view["gossip"][asked].get(node["id"])


def _states(view):
    """(node, its answer) of those that answered."""
    for node in view["nodes"]:
        answer = view["answers"].get(node["id"])
        if answer and not answer["problem"]:
            yield node, answer


def _once(found):
    """The first of the reasons for each node and peer."""
    kept = {}
    for reason in found:
        kept.setdefault(reason[:2], reason)
    return list(kept.values())


def _with_problem(view, problems, sentence, which=lambda node: True):
    found = []
    for node in view["nodes"]:
        answer = view["answers"].get(node["id"]) or {"problem": "unreadable", "error": "it was not asked"}
        if answer["problem"] in problems and which(node["id"]):
            where = "{0}:{1}".format(node["address"], node["port"])
            found.append((node["id"], None, sentence.format(node["name"], where, answer["error"])))
    return found


def _one_copy(view):
    if view["write_copies"] >= 2:
        return []
    sentence = "The cluster keeps {0} copy of everything (write_copies {0}): no node may be stopped without an outage."
    return [(None, None, sentence.format(view["write_copies"]))]


def _unreachable(view):
    sentence = "{0} cannot be reached at {1} ({2}). Look at the host and at the network."
    return _with_problem(view, ("unreachable",), sentence, lambda name: name != view["node"])


def _peer_down(view):
    sentence = "{0} is down: nothing listens at {1} ({2}). Start circonus-snowth there."
    return _with_problem(view, ("refused",), sentence, lambda name: name != view["node"])


def _not_back(view):
    sentence = "{0} has not come back: {1} does not answer ({2}). Look at /snowth/logs/startuplog and errorlog there."
    return _with_problem(view, ("refused", "unreachable"), sentence, lambda name: name == view["node"])


def _hung(view):
    sentence = "{0} hangs: {1} takes connections and does not answer ({2}). Look at CPU and disks there."
    return _with_problem(view, ("hung",), sentence)


def _unreadable(view):
    sentence = "{0} answers at {1} what cannot be read ({2}). Look at its release and at /snowth/logs/errorlog there."
    return _with_problem(view, ("unreadable", "missing"), sentence)


def _identity(view):
    sentence = ("At {0}:{1} the node {2} answers, expected {3} of {4}. Compare the addresses in the topology with "
                "site.json.")
    return [(node["id"], None, sentence.format(node["address"], node["port"], answer["state"]["identity"], node["id"],
                                               node["name"]))
            for node, answer in _states(view) if answer["state"]["identity"] != node["id"]]


def _topology(view):
    sentence = "{0} has the topology {1}.., expected {2}... All nodes need the same; restart none until they have."
    told = [(node, answer["state"]["current"]) for node, answer in _states(view)]
    told += [(node, row["current"]) for _asked, node, row in _rows(view) if row and row["heard"]]
    return _once((node["id"], None, sentence.format(node["name"], (current or "none")[:12], view["digest"][:12]))
                 for node, current in told if current != view["digest"])


def _rebalance(view):
    found = []
    for node, answer in _states(view):
        rebalance = answer["rebalance"]
        if rebalance is None:
            found.append((node, "it does not tell"))
        elif rebalance["running"] or answer["state"]["next"]:
            found.append((node, rebalance["state"]))
    for _asked, node, row in _rows(view):
        if row and row["heard"] and (row["rebalance"] or row["next"]):
            found.append((node, row["rebalance"] or "the next topology is {0}..".format(row["next"][:12])))
    return _once((node["id"], None, "A rebalance is running on {0} ({1}). Wait for its end.".format(node["name"], what))
                 for node, what in found)


def _reconstitute(view):
    return [(node["id"], None, "A reconstitute is running, says {0}. Wait for its end.".format(node["name"]))
            for node, answer in _states(view) if answer["rebuilding"] is not False]


def _viewpoints(view):
    told = _viewers(view)
    if len(told) >= min(2, len(view["nodes"])) and (view["node"] is None or view["node"] in told):
        return []
    names = _names(view)
    wanted = "two nodes"
    if view["node"]:
        wanted = "{0} and of one other node".format(names.get(view["node"], view["node"]))
    found = ", ".join(names[name] for name in told) or "nobody"
    sentence = "Expected the gossip of {0}, found that of {1}. Look at port 8112 of the others."
    return [(view["node"], None, sentence.format(wanted, found))]


def _unknown(view):
    silent = "{0} has heard nothing of {1} since it started. Look at udp port 8112 between them."
    sentence = "How far {0} is behind {1} is unknown, says {2}. Look at udp port 8112 between them."
    names, found = _names(view), []
    for asked, node, row in _rows(view):
        if not row or not row["heard"] or row["age"] is None:
            found.append((node["id"], None, silent.format(names[asked], node["name"])))
            continue
        for peer in view["nodes"]:
            if peer["id"] != node["id"] and _latency(row, peer["id"]) is None:
                found.append((node["id"], peer["id"], sentence.format(node["name"], peer["name"], names[asked])))
    return _once(found)


def _stale(view):
    sentence = "The gossip about {0} on {1} is {2:.1f} s old (limit {3:g} s). Look at udp port 8112 and at the clocks."
    names, found = _names(view), []
    for asked, node, row in _rows(view):
        limit = AGE_S[0] if node["id"] == view["node"] and asked != view["node"] else AGE_S[1]
        if row and row["heard"] and row["age"] is not None and row["age"] >= limit:
            found.append((node["id"], None, sentence.format(node["name"], names[asked], row["age"], limit)))
    return _once(found)


def _lagging(view):
    sentence = "{0} is {1:g} s behind {2} (limit {3:g} s). Wait; when it never falls, look at the clocks."
    found = []
    for _asked, node, row in _rows(view):
        for peer in view["nodes"]:
            seconds = _latency(row, peer["id"]) if peer["id"] != node["id"] else None
            if seconds is not None and seconds >= LATENCY_S[0]:
                found.append((node["id"], peer["id"], sentence.format(
                    node["name"], seconds, peer["name"], LATENCY_S[0])))
    return _once(found)


#: Every gate by its stable id; reasons are told in this order.
GATES = collections.OrderedDict((
    ("write_copies", _one_copy),
    ("unreachable", _unreachable),
    ("peer_down", _peer_down),
    ("not_back", _not_back),
    ("hung", _hung),
    ("unreadable", _unreadable),
    ("identity", _identity),
    ("topology", _topology),
    ("rebalance", _rebalance),
    ("reconstitute", _reconstitute),
    ("viewpoints", _viewpoints),
    ("unknown", _unknown),
    ("stale", _stale),
    ("lagging", _lagging),
))
#: Gates that say of a node only that it does not serve its copies now. All others hold for the whole cluster.
OF_A_NODE = ("unreachable", "peer_down", "not_back", "hung", "unreadable", "unknown", "stale", "lagging")


def _reasons(view, found):
    names = _names(view)
    return [{"id": gate_id, "node": node, "peer": peer, "name": names.get(node, ""), "text": text}
            for gate_id, node, peer, text in found]


def gate(view):
    """Why the cluster has not settled; an empty list when every node is green towards every other, in both directions
    and from every viewpoint.

    Returns ``[{"id": a key of GATES, "node": uuid or None, "peer": uuid or None, "name": of the node, "text"}]``.
    """
    return _reasons(view, [(gate_id,) + reason for gate_id, predicate in GATES.items() for reason in predicate(view)])


# ---- may these nodes stop --------------------------------------------------------------------------------------


def not_serving(closed, stopping=()):
    """Ids of nodes that do not serve their copies now, sorted. closed: reasons of :func:`gate`.

    How far a node is behind one that is silent itself, or that is about to stop, says nothing about the node.
    """
    silent = set(reason["node"] for reason in closed if reason["id"] in OF_A_NODE and not reason["peer"])
    behind = set(reason["node"] for reason in closed if reason["id"] in OF_A_NODE and reason["peer"]
                 and reason["peer"] not in silent and reason["peer"] not in stopping)
    return sorted(silent | behind)


# A predicate of a stop takes {"view", "nodes": ids that would stop, sorted, "dead": ids of others that do not serve,
# "topology", "ring": of it, "limit": bytes of a journal} and returns the same as one of the gate.


def _who(stop):
    names = _names(stop["view"])
    who, dead = (", ".join(names[name] for name in stop[key]) for key in ("nodes", "dead"))
    if not dead:
        return who
    return "{0} while {1} {2} no copies".format(who, dead, "serves" if len(stop["dead"]) == 1 else "serve")


def _short(stop):
    short = stop["ring"].short(stop["nodes"] + stop["dead"])
    sentence = "Without {0} nothing would be left of {1}. Bring back what is down, or stop fewer nodes at once."
    return [(stop["nodes"][0], None, sentence.format(_who(stop), ring.describe(short)))] if short else []


def _too_many(stop):
    gone, copies = stop["nodes"] + stop["dead"], stop["topology"].write_copies
    sides = set(node.side for node in stop["topology"].nodes if node.id in gone)
    if len(gone) < copies or (len(sides) == 1 and None not in sides):
        return []
    sentence = ("Expected at most {0} down at once (write copies less one), without {1} it would be {2}. Stop fewer "
                "nodes at once.")
    return [(stop["nodes"][0], None, sentence.format(copies - 1, _who(stop), len(gone)))]


def _undelivered(stop):
    sentence = "{0} holds {1} bytes for {2} that are not delivered yet (limit {3}). Wait until its journal is empty."
    names, journals = _names(stop["view"]), stop["view"].get("journals") or {}
    return [(name, peer, sentence.format(names[name], size, names.get(peer, peer), stop["limit"]))
            for name in stop["nodes"] for peer, size in sorted(journals.get(name, {}).items())
            if size >= stop["limit"] and peer not in stop["nodes"]]


#: What besides keeps nodes from stopping, by its stable id.
STOPS = collections.OrderedDict((("short", _short), ("too_many", _too_many), ("journal", _undelivered)))


def _views_of_the_rest(view, stopping):
    """``("viewpoints",)`` when enough of the nodes that stay told their gossip: one where only one stays, else two."""
    rest = [node["id"] for node in view["nodes"] if node["id"] not in stopping]
    told = [name for name in _viewers(view) if name in rest]
    return ("viewpoints",) if told and len(told) >= min(2, len(rest)) else ()


def safe_to_stop(view, nodes, topology, strict=True, journal_limit=JOURNAL_BYTES):
    """Whether stopping ``nodes`` (ids) together leaves a live copy of everything.

    strict: anything that :func:`gate` finds refuses, as the manual demands before a restart. Otherwise a node that does
    not serve its copies now counts as down already, which is what the repair of that very node needs; what concerns the
    whole cluster refuses either way. More nodes than write copies less one only stop together when they are of one side
    and the ring proves that it leaves enough.

    Returns ``{"safe": bool, "reasons": as of gate, "short": segments of :meth:`ring.Ring.short`, "fewest": live copies
    that the worst segment keeps, "down": ids that count as down already}``. Raises BadInput for unknown nodes.
    """
    names, stopping = _names(view), sorted(set(nodes))
    stranger = [name for name in stopping if name not in names]
    if stranger or not stopping:
        sentence = "Expected nodes of the topology {0}.. to stop, found {1}. Look at the node ids in site.json."
        raise BadInput(sentence.format(view["digest"][:12], ", ".join(stranger) or "none"))
    if [node.id for node in topology.nodes] != [node["id"] for node in view["nodes"]]:
        raise BadInput("Expected the topology that the cluster was read with, found another one. Read it again.")
    closed = gate(view)
    down = not_serving(closed, stopping)
    stop = {"view": view, "nodes": stopping, "dead": [name for name in down if name not in stopping],
            "topology": topology, "ring": ring.Ring(topology), "limit": journal_limit}
    found = [(gate_id,) + reason for gate_id, predicate in STOPS.items() for reason in predicate(stop)]
    if "short" in [reason[0] for reason in found]:  # which says the same, and where
        found = [reason for reason in found if reason[0] != "too_many"]
    passed = () if strict else OF_A_NODE + _views_of_the_rest(view, stopping)
    reasons = [reason for reason in closed if reason["id"] not in passed] + _reasons(view, found)
    gone = set(stopping) | set(down)
    return {"safe": not reasons, "reasons": reasons, "short": stop["ring"].short(gone),
            "fewest": stop["ring"].fewest(gone), "down": down}
