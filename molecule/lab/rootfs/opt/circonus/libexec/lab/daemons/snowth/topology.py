"""Topologies: their files, their digests, the ring and where a metric belongs.

Written for the stand-in alone, from the documented algorithms: the collection has its own, and they check each other.
"""

import bisect
import hashlib
import itertools
import re
from xml.etree import ElementTree

HALF = 1 << 255  # the top bit of a position: which side of a sided ring
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
SIDES = {"a": 1, "b": 2}
MAX_COPIES = 10


class Invalid(ValueError):
    """No usable topology; one line."""


class Topology:
    """nodes: [{id, address, port, apiport, weight, side}] in the order of the file, side None, "a" or "b"."""

    def __init__(self, copies, nodes):
        self.copies, self.nodes = copies, nodes
        self.sided = any(node["side"] for node in nodes)
        self.by_id = {node["id"]: node for node in nodes}
        self._ring = None

    @property
    def digest(self):
        parts = []
        for node in self.nodes:
            parts.append(node["id"].encode("ascii") + bytes(2) + node["weight"].to_bytes(2, "big"))
            if self.sided:
                parts.append(SIDES.get(node["side"], 0).to_bytes(2, "big"))
        if self.copies != 2:
            parts.append(bytes(38) + self.copies.to_bytes(2, "big") + (bytes(2) if self.sided else b""))
        return hashlib.sha256(b"".join(parts)).hexdigest()

    @property
    def ring(self):
        """[(position, node id, slot from 0)], clockwise."""
        if self._ring is None:
            slots = []
            for node in self.nodes:
                for slot in range(node["weight"]):
                    found = position(node["id"].encode("ascii") + slot.to_bytes(2, "big"))
                    if node["side"]:
                        found = found & ~HALF if node["side"] == "a" else found | HALF
                    slots.append((found, node["id"], slot))
            self._ring = sorted(slots)
        return self._ring

    def owners(self, check, metric):
        """Ids of the nodes that keep a metric, the primary first."""
        at = position(("%s-%s" % (check.lower(), metric)).encode())
        chosen = []
        while len(chosen) < min(self.copies, len(self.nodes)):
            found = self._next(at, chosen)
            if found is None:
                break
            chosen.append(found)
            at ^= HALF
        return chosen

    def _next(self, at, chosen):
        """The next node not yet chosen; in a sided ring of the same half while it has one left."""
        ring = self.ring
        start = bisect.bisect_left(ring, (at,))
        for same_half in (True, False) if self.sided else (False,):
            for index in itertools.chain(range(start, len(ring)), range(start)):
                place, node, _slot = ring[index]
                if node not in chosen and (not same_half or (place ^ at) & HALF == 0):
                    return node
        return None

    def xml(self):
        """As a node serves it."""
        lines = ['<nodes n="%d">' % self.copies]
        for node in self.nodes:
            side = ' side="%s"' % node["side"] if node["side"] else ""
            lines.append(
                '  <node id="%s" address="%s" apiport="%d" port="%d" weight="%d"%s/>'
                % (node["id"], attribute(node["address"]), node["apiport"], node["port"], node["weight"], side)
            )
        return "\n".join([*lines, "</nodes>"]) + "\n"

    def rows(self, ids=None, side=True):
        """Node objects of /topology/json and /locate/json."""
        found = []
        for node in self.nodes if ids is None else [self.by_id[ident] for ident in ids]:
            row = {key: node[key] for key in ("id", "address", "port", "apiport", "weight")}
            row["n"] = self.copies
            if side:
                row["side"] = node["side"] or "both"
            found.append(row)
        return found

    def ring_rows(self):
        """Virtual nodes: idx counts from 1, location is the part of the circle."""
        return [{"id": node, "idx": slot + 1, "location": round(at / (HALF * 2), 6)} for at, node, slot in self.ring]

    def ring_xml(self):
        rows = ('  <vnode id="%(id)s" idx="%(idx)d" location="%(location)f"/>\n' % row for row in self.ring_rows())
        return '<vnodes n="%d">\n%s</vnodes>\n' % (self.copies, "".join(rows))


def attribute(text):
    """Text for an attribute of XML (the library's own function would load half a browser)."""
    for plain, spelled in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        text = text.replace(plain, spelled)
    return text


def position(data):
    return int.from_bytes(hashlib.sha256(data).digest(), "big")


def parse(text):
    """A Topology of a file's text; Invalid when a node could not work with it."""
    try:
        root = ElementTree.fromstring(text)
        copies = int(root.get("write_copies") or root.get("n") or 2)
        nodes = [
            {
                "id": node.get("id") or "",
                "address": node.get("address") or "",
                "port": int(node.get("port", 8112)),
                "apiport": int(node.get("apiport", 8112)),
                "weight": int(node.get("weight") or 0),
                "side": node.get("side") if node.get("side") in SIDES else None,
            }
            for node in root.findall("node")
        ]
    except (ElementTree.ParseError, ValueError, TypeError) as exc:
        raise Invalid("topology cannot be read: %s" % exc) from exc
    reason = wrong(copies, nodes)
    if reason:
        raise Invalid("topology: " + reason)
    return Topology(copies, nodes)


def wrong(copies, nodes):
    """Why these nodes are no cluster, or an empty text."""
    if not nodes:
        return "no nodes"
    for node in nodes:
        if not UUID.fullmatch(node["id"]) or not int(node["id"].replace("-", ""), 16):
            return "node id %r is not a lowercase, non-nil UUID" % node["id"]
        if not 0 < node["weight"] < 65536:
            return "node %s has weight %d" % (node["id"], node["weight"])
    if len({node["id"] for node in nodes}) < len(nodes):
        return "a node id is there twice"
    if not 1 <= copies <= MAX_COPIES or copies > len(nodes):
        return "%d write copies with %d nodes" % (copies, len(nodes))
    sides = {node["side"] for node in nodes}
    if sides != {None} and sides != {"a", "b"}:
        return "either every node has a side and both have nodes, or none has one"
    return ""
