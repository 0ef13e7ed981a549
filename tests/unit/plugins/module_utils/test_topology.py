# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import json

import pytest

from ansible_collections.circonus.inside.plugins.module_utils import topology
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput

IDS = ["a0000000-0000-4000-8000-00000000000%d" % number for number in (1, 2, 3)]
ADDRESSES = ["192.0.2.31", "192.0.2.32", "192.0.2.33"]


def three(copies=2, sides=(None, None, None), weight=170, order=(0, 1, 2), port=8112):
    return topology.make([
        {"id": IDS[at], "address": ADDRESSES[at], "weight": weight, "side": sides[at], "port": port} for at in order
    ], copies)


SOURCE = "".join(['<nodes write_copies="2">\n'] + [
    '  <node id="%s" address="%s" apiport="8112" port="8112" weight="170" side="%s"/>\n' % row
    for row in zip(IDS, ADDRESSES, "aab")] + ["</nodes>\n"])
SIDES = ("a", "a", "b")


class TestDigest:
    @pytest.mark.parametrize("given, digest", [
        (three(), "b41fb9439455c776d3e6878223d6aa79d1fcccbb2f14105d82775f01c0c6ae6a"),
        (three(port=9112), "b41fb9439455c776d3e6878223d6aa79d1fcccbb2f14105d82775f01c0c6ae6a"),
        (three(3), "375fac8573617633437afa9350082444860e5770d5bc4c6c7521f8f733382ed3"),
        (three(weight=171), "201f42f825665a683a5824b7a07466e5caab729065dbf774aa681ad2c75cbecc"),
        (three(order=(1, 0, 2)), "1a165695ff3eaa9489996d361404fdef7c0dd508d1c0229d6b452b498429e47f"),
        (three(sides=SIDES), "d62dc65796b316ab3f501a4197435145dfdcddce886da34e6f72dad8c4b44309"),
        (three(3, SIDES), "1f6c847c4766346be1c8c6ce4eff907dd4b85ff9fb0d5919e6288c3e45346342"),
        (topology.read_xml('<nodes><node id="bb6f7162-4828-11df-bab8-6bac200dcc2a" address="127.0.0.1" weight="128"/>'
                           "</nodes>"), "e9968ea18b2793f168a6c67af6f119108c088fe6023d6b8940a495fd4acb1538"),
    ])
    def test_published_pairs(self, given, digest):
        assert topology.digest(given) == digest

    def test_an_address_does_not_count(self):
        moved = topology.make([node._replace(address="198.51.100.9", apiport=1) for node in three().nodes])
        assert topology.digest(moved) == topology.digest(three())


class TestReadXml:
    def test_a_source_file(self):
        assert topology.read_xml(SOURCE) == three(sides=SIDES)

    @pytest.mark.parametrize("attributes, copies", [
        ('write_copies="3" n="2"', 3), ('n="3"', 3), ("", 2), ('n="1"', 1), ('use_tls="true" n="4"', 4)])
    def test_copies(self, attributes, copies):
        text = "<nodes %s><node id='%s' weight='1'/></nodes>" % (attributes, IDS[0])
        assert topology.read_xml(text).write_copies == copies

    def test_as_served_with_a_declaration_and_no_sides(self):
        text = '<?xml version="1.0" encoding="utf8"?>\n<!-- compiled -->' + SOURCE.replace('side="a"', 'side="both"')
        assert [node.side for node in topology.read_xml(text).nodes] == [None, None, "b"]

    @pytest.mark.parametrize("text, why", [
        ("", "found something else"),
        ("<nodes>", "found something else"),
        ("<vnodes/>", "found vnodes"),
        ("<!DOCTYPE nodes [<!ENTITY a 'b'>]><nodes/>", "document type"),
        ("<nodes n='two'/>", "whole number as write_copies, found 'two'"),
        ("<nodes><node weight='1'/></nodes>", "node 1 (without an id): expected id"),
        ("<nodes><node id='%s'/></nodes>" % IDS[0], "expected weight, it is missing"),
        ("<nodes><node id='%s' weight='1.5'/></nodes>" % IDS[0], "whole number as weight, found '1.5'"),
        ("<nodes><node id='%s' weight='1' port='x'/></nodes>" % IDS[0], "whole number as port"),
        ("<nodes><node id='%s' weight='1' side='c'/></nodes>" % IDS[0], "expected side a, b or none, found 'c'"),
    ])
    def test_refuses(self, text, why):
        with pytest.raises(BadInput) as caught:
            topology.read_xml(text, "/opt/circonus/etc/topology")
        assert why in str(caught.value) and str(caught.value).startswith("/opt/circonus/etc/topology")


class TestReadJson:
    def rows(self, **more):
        return [dict({"id": name, "address": address, "port": 8112, "apiport": 8112, "weight": 170, "n": 2}, **more)
                for name, address in zip(IDS, ADDRESSES)]

    def test_old_nodes_know_no_sides(self):
        assert topology.read_json(json.dumps(self.rows())) == three()

    def test_numbers_as_text_and_both_sides(self):
        assert topology.read_json(json.dumps(self.rows(side="both", weight="170", n="3"))) == three(3)

    @pytest.mark.parametrize("text, why", [
        ("{", "as JSON"), ("{}", "a list of nodes"), ("[1]", "a list of nodes"), ('[{"id": "x"}]', "weight"),
        (json.dumps([{"id": IDS[0], "weight": 1, "n": 2}, {"id": IDS[1], "weight": 1, "n": 3}]), "found 2 and 3"),
        (json.dumps([{"id": IDS[0], "weight": True, "n": 2}]), "whole number as weight, found True"),
    ])
    def test_refuses(self, text, why):
        with pytest.raises(BadInput) as caught:
            topology.read_json(text)
        assert why in str(caught.value)

    def test_no_node_at_all_is_told_by_the_check(self):
        with pytest.raises(BadInput, match="at least one node"):
            topology.checked(topology.read_json("[]"))


class TestWriteXml:
    def test_the_source_file_again(self):
        assert topology.write_xml(three(sides=SIDES)) == SOURCE

    @pytest.mark.parametrize("spelling", topology.SPELLINGS)
    def test_what_is_written_is_read(self, spelling):
        for given in (three(), three(3, SIDES), three(1)._replace(use_tls="true")):
            text = topology.write_xml(given, spelling)
            assert topology.read_xml(text) == given and text.startswith("<nodes %s=" % spelling)

    def test_marks_are_escaped(self):
        odd = topology.make([{"id": IDS[0], "weight": 1, "address": '<"&'}], 1)
        assert topology.read_xml(topology.write_xml(odd)) == odd

    def test_refuses_another_spelling(self):
        with pytest.raises(BadInput, match="write_copies or n"):
            topology.write_xml(three(), "copies")


class TestProblems:
    def test_good_ones(self):
        assert topology.problems(three()) == topology.problems(three(3, SIDES)) == []
        assert topology.checked(three()) == three()

    @pytest.mark.parametrize("change, why", [
        (lambda n: n._replace(id="db1"), "uuid of 36 characters"),
        (lambda n: n._replace(id=n.id.upper()), "lower case"),
        (lambda n: n._replace(id=topology.NIL), "nil"),
        (lambda n: n._replace(id=IDS[1]), "id is that of node 1 too"),
        (lambda n: n._replace(weight=0), "weight from 1 to 65535, found 0"),
        (lambda n: n._replace(weight=65536), "weight from 1 to 65535, found 65536"),
        (lambda n: n._replace(port=0), "as port, found 0"),
        (lambda n: n._replace(apiport=70000), "as apiport, found 70000"),
    ])
    def test_a_node(self, change, why):
        nodes = list(three().nodes)
        found = topology.problems(topology.make([change(nodes[0]), nodes[1]]))
        assert len(found) == 1 and why in found[0]

    def test_the_same_id_in_other_letters_is_a_duplicate(self):
        nodes = [node._replace(id="abcdef00-0000-4000-8000-000000000001") for node in three().nodes[:2]]
        found = topology.problems(topology.make([nodes[0], nodes[1]._replace(id=nodes[1].id.upper())]))
        assert any("that of node 1 too" in text for text in found)

    @pytest.mark.parametrize("given, why", [
        (three(sides=("a", None, "b")), "found none for " + IDS[1]),
        (three(sides=("a", "a", "a")), "none on side b"),
        (three(sides=("b", "b", "b")), "none on side a"),
        (three(4), "at least as many nodes as write copies, found 3 and 4"),
        (three(0), "Expected 1 to 10 write copies, found 0"),
        (topology.make([], 2), "at least one node"),
    ])
    def test_the_cluster(self, given, why):
        found = topology.problems(given)
        assert len(found) == 1 and why in found[0]

    def test_more_than_ten_copies(self):
        nodes = [{"id": "a0000000-0000-4000-8000-%012d" % number, "weight": 1} for number in range(1, 12)]
        assert topology.problems(topology.make(nodes, 11)) == ["Expected 1 to 10 write copies, found 11."]
        assert topology.problems(topology.make(nodes, 10)) == []

    def test_refuses_with_all_of_them(self):
        with pytest.raises(BadInput, match="at home: Node 1") as caught:
            topology.checked(three(2, weight=0), "at home")
        assert len(caught.value.details["problems"]) == 3
