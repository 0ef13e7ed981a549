# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The topology of a data_storage cluster: reading, writing, validating, digest. Pure.

Sources: operation manual and IRONdb manual, "Cluster configuration"; digest as measured against published pairs of a
topology and its digest. Where copies live is in :mod:`ring`.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import collections
import hashlib
import json
import re
import struct
from xml.etree import ElementTree

from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput

#: Copies of a topology that does not say.
DEFAULT_COPIES = 2
MOST_COPIES = 10
MOST_WEIGHT = 65535
PORT = 8112
SIDES = ("a", "b")
SPELLINGS = ("write_copies", "n")
NIL = "00000000-0000-0000-0000-000000000000"
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")

#: One node. id: uuid as written; address; port: replication and gossip; apiport: HTTP; weight: slots on the ring;
#: side: ``a``, ``b`` or None.
Node = collections.namedtuple("Node", "id address port apiport weight side")
#: write_copies: int; nodes: tuple of Node, the order counts; use_tls: text of the attribute or None.
Topology = collections.namedtuple("Topology", "write_copies nodes use_tls")


def make(nodes, write_copies=DEFAULT_COPIES, use_tls=None):
    """A :data:`Topology` of dicts or Nodes. Only ``id`` and ``weight`` of a dict are needed."""
    made = []
    for node in nodes:
        if isinstance(node, Node):
            made.append(node)
            continue
        made.append(Node(node["id"], node.get("address", ""), node.get("port", PORT), node.get("apiport", PORT),
                         node["weight"], node.get("side")))
    return Topology(write_copies, tuple(made), use_tls)


def uuid_problem(text):
    """Why ``text`` cannot be the id of a node, or an empty string."""
    if not isinstance(text, str) or not _UUID.match(text.lower()):
        return "expected a uuid of 36 characters"
    if text != text.lower():
        return "expected the uuid in lower case, snowthimport refuses upper case"
    return "expected a uuid other than the nil uuid" if text == NIL else ""


# ---- reading ---------------------------------------------------------------------------------------------------


def _number(value, what, where):
    """int of an attribute. JSON of a node may hold numbers as text."""
    if not isinstance(value, bool):
        try:
            number = int(value)
            if number == float(value):
                return number
        except (TypeError, ValueError):
            pass
    raise BadInput("{0}: expected a whole number as {1}, found {2!r}. Correct the topology.".format(
        where, what, value))


def _node(fields, position, where):
    name = fields.get("id")
    place = "{0}, node {1} ({2})".format(where, position, name or "without an id")
    for key in ("id", "weight"):
        if fields.get(key) in (None, ""):
            raise BadInput("{0}: expected {1}, it is missing. Correct the topology.".format(place, key))
    side = str(fields.get("side") or "both").lower()
    if side not in SIDES + ("both",):
        raise BadInput("{0}: expected side a, b or none, found {1!r}. Correct the topology.".format(
            place, fields["side"]))
    return Node(str(name), str(fields.get("address") or ""), _number(fields.get("port", PORT), "port", place),
                _number(fields.get("apiport", PORT), "apiport", place), _number(fields["weight"], "weight", place),
                None if side == "both" else side)


def read_xml(text, where="topology"):
    """:data:`Topology` of the source file, of a compiled file or of ``/topology/xml/<digest>``.

    ``write_copies`` wins over ``n``, without both it is 2. Says nothing about whether the cluster would take it: see
    :func:`problems`. Raises BadInput.
    """
    if "<!" in re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL):
        raise BadInput("{0}: expected a topology without a document type, found one. Nothing was read.".format(where))
    try:
        root = ElementTree.fromstring(text.strip())
    except (ElementTree.ParseError, ValueError) as exc:
        raise BadInput("{0}: expected a topology as XML, found something else ({1}).".format(where, exc))
    if root.tag != "nodes":
        raise BadInput("{0}: expected the element nodes, found {1}.".format(where, root.tag))
    copies = root.get("write_copies", root.get("n", str(DEFAULT_COPIES)))
    nodes = [_node(element.attrib, position, where) for position, element in enumerate(root.findall("node"), 1)]
    return Topology(_number(copies, "write_copies", where), tuple(nodes), root.get("use_tls"))


def read_json(text, where="topology"):
    """:data:`Topology` of ``/topology/json/<digest>``: a list of nodes, each with ``n``. Raises BadInput."""
    try:
        rows = json.loads(text)
    except (TypeError, ValueError):
        raise BadInput("{0}: expected a topology as JSON, found {1!r}.".format(where, str(text)[:80]))
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise BadInput("{0}: expected a list of nodes, found {1!r}.".format(where, str(text)[:80]))
    copies = set(_number(row.get("write_copies", row.get("n", DEFAULT_COPIES)), "n", where) for row in rows)
    if len(copies) > 1:
        raise BadInput("{0}: expected one number of write copies, found {1}.".format(
            where, " and ".join(str(number) for number in sorted(copies))))
    nodes = [_node(row, position, where) for position, row in enumerate(rows, 1)]
    return Topology(copies.pop() if copies else DEFAULT_COPIES, tuple(nodes), None)


# ---- writing ---------------------------------------------------------------------------------------------------


def _quote(value):
    text = str(value)
    for mark, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        text = text.replace(mark, entity)
    return '"{0}"'.format(text)


def write_xml(topology, spelling="write_copies"):
    """XML of a topology, always the same bytes for the same topology.

    spelling: attribute for the copies, ``write_copies`` as in source files or ``n`` as nodes serve it.
    """
    if spelling not in SPELLINGS:
        raise BadInput("Expected write_copies or n as the spelling of the copies, found {0!r}.".format(spelling))
    head = [(spelling, topology.write_copies)]
    if topology.use_tls is not None:
        head.append(("use_tls", topology.use_tls))
    lines = ["<nodes{0}>".format("".join(" {0}={1}".format(key, _quote(value)) for key, value in head))]
    for node in topology.nodes:
        fields = [("id", node.id), ("address", node.address), ("apiport", node.apiport), ("port", node.port),
                  ("weight", node.weight)]
        if node.side:
            fields.append(("side", node.side))
        lines.append("  <node {0}/>".format(" ".join("{0}={1}".format(key, _quote(value)) for key, value in fields)))
    return "\n".join(lines + ["</nodes>", ""])


# ---- deciding --------------------------------------------------------------------------------------------------


def sided(topology):
    """Whether the ring has two halves."""
    return any(node.side for node in topology.nodes)


def digest(topology):
    """The digest of a topology, 64 hexadecimal digits: name of the compiled file, ``current`` in ``/state``.

    Counts: id, order, weight, side, and the copies unless they are 2. Address and ports do not. For comparing; a name
    is taken over from the cluster, not from here (IRONdb manual and operation manual contradict each other).
    """
    code = {"a": 1, "b": 2}
    both = sided(topology)
    total = hashlib.sha256()
    for node in topology.nodes:
        total.update(node.id.encode("ascii") + b"\0\0" + struct.pack(">H", node.weight))
        if both:
            total.update(struct.pack(">H", code.get(node.side, 0)))
    if topology.write_copies != 2:
        total.update(b"\0" * 38 + struct.pack(">H", topology.write_copies))
        if both:
            total.update(b"\0\0")
    return total.hexdigest()


def problems(topology):
    """Sentences about what a cluster would not take; an empty list for a good topology."""
    found, seen, copies = [], {}, topology.write_copies
    for position, node in enumerate(topology.nodes, 1):
        name = "Node {0} ({1})".format(position, node.id)
        why = uuid_problem(node.id)
        if why:
            found.append("{0}: {1}, found {2!r}; correct its id.".format(name, why, node.id))
        if node.id.lower() in seen:
            found.append("{0}: its id is that of node {1} too; every node needs its own.".format(
                name, seen[node.id.lower()]))
        seen.setdefault(node.id.lower(), position)
        if not 1 <= node.weight <= MOST_WEIGHT:
            found.append("{0}: expected a weight from 1 to {1}, found {2}.".format(name, MOST_WEIGHT, node.weight))
        for key, port in (("port", node.port), ("apiport", node.apiport)):
            if not 1 <= port <= 65535:
                found.append("{0}: expected a port from 1 to 65535 as {1}, found {2}.".format(name, key, port))
    if not topology.nodes:
        return ["Expected at least one node in the topology, found none."]
    if sided(topology):
        without = [node.id for node in topology.nodes if not node.side]
        if without:
            found.append("Expected a side for every node as some have one, found none for {0}.".format(
                ", ".join(without)))
        for side in SIDES:
            if not any(node.side == side for node in topology.nodes):
                found.append("Expected nodes on both sides, found none on side {0}.".format(side))
    if copies > len(topology.nodes):
        found.append("Expected at least as many nodes as write copies, found {0} and {1}.".format(
            len(topology.nodes), copies))
    if not 1 <= copies <= MOST_COPIES:
        found.append("Expected 1 to {0} write copies, found {1}.".format(MOST_COPIES, copies))
    return found


def checked(topology, where="topology"):
    """The same topology. Raises BadInput with the first of its :func:`problems`."""
    found = problems(topology)
    if found:
        raise BadInput("{0}: {1}".format(where, found[0]), problems=found)
    return topology
