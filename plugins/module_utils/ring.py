# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where the copies of a metric live, what is left when nodes are down, and in which waves nodes may stop. Pure.

The ring has 2^256 positions. Slot i of a node is at SHA-256(id, i as uint16), the side of the node sets its top bit.
A metric is at SHA-256(check uuid in lower case, "-", metric). The first copy is on the node of the next slot, for each
further one the top bit of the position is flipped and nodes that have a copy are passed over. On a ring with sides the
search stays in the half that the top bit selects. Whether a live cluster agrees is asked by ``/locate``.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import bisect
import hashlib
import struct

from ansible_collections.circonus.inside.plugins.module_utils import topology as topologies
from ansible_collections.circonus.inside.plugins.module_utils.errors import Refused

BITS = 256
TOP = 1 << (BITS - 1)
PARALLEL = ("one", "sides")


def _number(data):
    return int.from_bytes(hashlib.sha256(data).digest(), "big")


class Ring:
    """The slots of a topology, sorted. ``segments`` are computed once, on first use."""

    def __init__(self, topology):
        self.topology = topologies.checked(topology)
        self.sided = topologies.sided(topology)
        slots = []
        for index, node in enumerate(topology.nodes):
            name = node.id.encode("ascii")
            for slot in range(node.weight):
                place = _number(name + struct.pack(">H", slot))
                if node.side:
                    place = place | TOP if node.side == "b" else place & ~TOP
                slots.append((place, index))
        slots.sort()
        # Without sides both halves are one search.
        halves = ([slot for slot in slots if not slot[0] & TOP], [slot for slot in slots if slot[0] & TOP])
        self._search = [([slot[0] for slot in half], [slot[1] for slot in half])
                        for half in (halves if self.sided else (slots, slots))]
        self._segments = None

    def indexes(self, place):
        """Positions in the topology of the nodes with a copy of what is at ``place``, primary first."""
        found = []
        for copy in range(self.topology.write_copies):
            where = place ^ TOP if copy % 2 else place
            places, nodes = self._search[1 if where & TOP else 0]
            start = bisect.bisect_left(places, where)
            for step in range(len(nodes)):
                node = nodes[(start + step) % len(nodes)]
                if node not in found:
                    found.append(node)
                    break
            else:  # every node of this half has one; the public client ends its search here as well
                break
        return tuple(found)

    def owners(self, check_uuid, metric):
        """Ids of the nodes with a copy, primary first, as ``/locate`` names them."""
        place = _number("{0}-{1}".format(check_uuid.lower(), metric).encode("utf-8"))
        return [self.topology.nodes[index].id for index in self.indexes(place)]

    def segments(self):
        """``[(first position, last position, (node indexes, primary first))]`` of the whole ring, without a gap.

        Copies depend on the next slot at a position and at its counterpart on the other half, so they only change where
        either has a slot. Neighbours with the same copies are one segment.
        """
        if self._segments is None:
            bounds = sorted(set(place & ~TOP for places, dummy in self._search for place in places) | {TOP - 1})
            self._segments = []
            for half in (0, TOP):
                first = half
                for bound in bounds:
                    copies = self.indexes(half | bound)
                    last = self._segments and self._segments[-1]
                    if last and last[2] == copies:
                        self._segments[-1] = (last[0], half | bound, copies)
                    else:
                        self._segments.append((first, half | bound, copies))
                    first = (half | bound) + 1
        return self._segments

    def short(self, down, wanted=1):
        """Segments with fewer than ``wanted`` live copies while the nodes of ``down`` (ids) are down.

        Exact: every position of the ring is in a segment. Returns
        ``[{"first", "last": 64 hexadecimal digits, "share": part of the ring, "owners": [ids], "live": [ids]}]``.
        """
        ids = [node.id for node in self.topology.nodes]
        dead = set(index for index, name in enumerate(ids) if name in set(down))
        found = []
        for first, last, copies in self.segments():
            live = [index for index in copies if index not in dead]
            if len(live) < wanted:
                found.append({
                    "first": "{0:064x}".format(first),
                    "last": "{0:064x}".format(last),
                    "share": (last - first + 1) / float(1 << BITS),
                    "owners": [ids[index] for index in copies],
                    "live": [ids[index] for index in live],
                })
        return found

    def fewest(self, down):
        """The smallest number of live copies that any segment has while ``down`` (ids) are down."""
        dead = set(index for index, node in enumerate(self.topology.nodes) if node.id in set(down))
        return min(len(copies) - len(dead.intersection(copies)) for copies in set(
            segment[2] for segment in self.segments()))

    def share(self, node_id):
        """Part of the ring of which the node has a copy."""
        index = [node.id for node in self.topology.nodes].index(node_id)
        return sum(last - first + 1 for first, last, copies in self.segments() if index in copies) / float(1 << BITS)


def owners(topology, check_uuid, metric):
    """Ids of the nodes with a copy of a metric, primary first."""
    return Ring(topology).owners(check_uuid, metric)


def short_segments(topology, down, wanted=1):
    """See :meth:`Ring.short`."""
    return Ring(topology).short(down, wanted)


def describe(short):
    """A clause about short segments: their number, their part of the ring and one example. '' for none."""
    if not short:
        return ""
    worst = max(short, key=lambda segment: segment["share"])
    share = 100 * sum(segment["share"] for segment in short)
    return "{0} ring segment{1} ({2:.{3}f} % of the ring), for example {4}.. to {5}.. with copies on {6}".format(
        len(short), "" if len(short) == 1 else "s", share, 1 if share >= 0.1 else 6, worst["first"][:8],
        worst["last"][:8], ", ".join(worst["owners"]))


def waves(topology, parallel="one", down=(), wanted=1):
    """Which nodes stop together: a list of lists of ids. Nodes of ``down`` are in none; they have to come back first.

    parallel: ``one`` takes one node after the other, in the order of the topology. ``sides`` takes all nodes of side a,
    then all of side b. Either way the ring proves for each wave that every segment keeps ``wanted`` live copies, with
    the nodes of ``down`` down as well. Raises Refused with the reason when it does not, BadInput for a bad topology.
    """
    if parallel not in PARALLEL:
        raise Refused("Expected one or sides for the nodes that stop together, found {0!r}.".format(parallel))
    ring = Ring(topology)
    known = [node.id for node in topology.nodes]
    stranger = sorted(set(down) - set(known))
    if stranger:
        raise Refused("Expected nodes of the topology as down, found {0}. Look at the ids in site.json.".format(
            ", ".join(stranger)))
    if topology.write_copies < 2:
        raise Refused("The cluster keeps 1 copy of everything (write_copies 1), so no node can stop without an outage. "
                      "Announce one and stop nodes by hand, or move to a topology with more copies.")
    if parallel == "one":
        groups = [[name] for name in known if name not in down]
    else:
        if not ring.sided:
            raise Refused("Sides can only stop together where the topology has sides, this one has none. Take one node "
                          "at a time.")
        groups = [[node.id for node in topology.nodes if node.side == side and node.id not in down]
                  for side in topologies.SIDES]
        groups = [group for group in groups if group]
    while_down = ""
    if down:
        while_down = " while {0} {1} down".format(", ".join(sorted(set(down))), "is" if len(set(down)) == 1 else "are")
    for group in groups:
        short = ring.short(set(group) | set(down), wanted)
        if short:
            raise Refused("{0} cannot stop{1}: fewer than {2} live cop{3} would be left in {4}. {5}".format(
                ", ".join(group), while_down, wanted, "y" if wanted == 1 else "ies", describe(short),
                "Bring back the nodes that are down first." if down
                else "Take one node at a time." if parallel == "sides" else "Want fewer live copies."),
                short=short[:20])
    return groups
