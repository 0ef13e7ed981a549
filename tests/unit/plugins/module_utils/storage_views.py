# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Views of a data_storage cluster for tests: a green one, and what may be wrong with it."""
from __future__ import absolute_import, division, print_function

__metaclass__ = type

from ansible_collections.circonus.inside.plugins.module_utils import topology

OTHER = "f" * 64


def cluster(number=3, copies=2, sides=None, weight=20):
    return topology.make([
        {"id": "a0000000-0000-4000-8000-%012d" % at, "address": "192.0.2.%d" % (30 + at), "weight": weight,
         "side": sides[at - 1] if sides else None} for at in range(1, number + 1)], copies)


def green(given, node=None, viewers=None):
    """The view of a cluster that has settled. node, viewers: positions in the topology."""
    digest, ids = topology.digest(given), [one.id for one in given.nodes]
    row = {"heard": True, "age": 0.4, "current": digest, "next": None, "rebalance": None}
    told = (0, 1) if viewers is None else viewers
    return {
        "node": None if node is None else ids[node], "write_copies": given.write_copies, "digest": digest,
        "nodes": [{"id": one.id, "name": "db%d" % at, "address": one.address, "port": one.apiport, "side": one.side}
                  for at, one in enumerate(given.nodes, 1)],
        "answers": {name: {
            "problem": "", "error": "", "rebuilding": False,
            "state": {"identity": name, "current": digest, "next": None},
            "rebalance": {"current": digest, "next": None, "state": "TOPO_REBALANCE_IDLE", "running": False},
        } for name in ids},
        "gossip": {ids[asked]: {name: dict(row, latency={peer: 1.0 for peer in ids if peer != name}) for name in ids}
                   for asked in told},
        "journals": {},
    }


def silent(view, at, problem):
    """The node at a position gives no answer."""
    name = view["nodes"][at]["id"]
    view["answers"][name] = {"problem": problem, "error": "as the test wants", "state": None, "rebalance": None,
                             "rebuilding": None}


def told(view, at):
    """Rows about the node at a position, from every viewpoint."""
    return [rows[view["nodes"][at]["id"]] for rows in view["gossip"].values()]


def behind(view, at, peer, seconds):
    """How far one node is behind another, from every viewpoint."""
    for row in told(view, at):
        row["latency"][view["nodes"][peer]["id"]] = seconds
