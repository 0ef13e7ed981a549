# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import copy
import io
import os
import sys

import pytest

from ansible_collections.circonus.inside.plugins.module_utils import irondb_gate, topology
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from storage_views import OTHER, behind, cluster, green, silent, told

THREE = cluster()


def answer_of(view, at):
    return view["answers"][view["nodes"][at]["id"]]


def drop_gossip(view, at):
    del view["gossip"][view["nodes"][at]["id"]]


def forget(view, at):
    for rows in view["gossip"].values():
        del rows[view["nodes"][at]["id"]]


#: (gate, position of the restarted node or None, position of the node that the sentence names, change of a green view).
FAULTS = [
    ("write_copies", None, None, lambda view: view.update(write_copies=1)),
    ("write_copies", 0, None, lambda view: view.update(write_copies=0)),
    ("unreachable", None, 2, lambda view: silent(view, 2, "unreachable")),
    ("unreachable", 0, 2, lambda view: silent(view, 2, "unreachable")),
    ("peer_down", None, 2, lambda view: silent(view, 2, "refused")),
    ("peer_down", 0, 2, lambda view: silent(view, 2, "refused")),
    ("not_back", 0, 0, lambda view: silent(view, 0, "refused")),
    ("not_back", 0, 0, lambda view: silent(view, 0, "unreachable")),
    ("hung", None, 2, lambda view: silent(view, 2, "hung")),
    ("hung", 0, 0, lambda view: silent(view, 0, "hung")),
    ("unreadable", None, 1, lambda view: silent(view, 1, "unreadable")),
    ("unreadable", 0, 0, lambda view: silent(view, 0, "missing")),
    ("unreadable", None, 2, lambda view: view["answers"].pop(view["nodes"][2]["id"])),
    ("identity", None, 1, lambda view: answer_of(view, 1)["state"].update(identity=view["nodes"][0]["id"])),
    ("topology", None, 2, lambda view: answer_of(view, 2)["state"].update(current=OTHER)),
    ("topology", 0, 1, lambda view: told(view, 1)[0].update(current=OTHER)),
    ("topology", 0, 1, lambda view: told(view, 1)[1].update(current=None)),
    ("rebalance", None, 2, lambda view: answer_of(view, 2)["rebalance"].update(
        state="TOPO_REBALANCE_REHASH", running=True)),
    ("rebalance", None, 2, lambda view: answer_of(view, 2)["state"].update(next=OTHER)),
    ("rebalance", None, 2, lambda view: answer_of(view, 2).update(rebalance=None)),
    ("rebalance", None, 1, lambda view: told(view, 1)[0].update(rebalance="TOPO_REBALANCE_VOTE")),
    ("rebalance", None, 1, lambda view: told(view, 1)[1].update(next=OTHER)),
    ("reconstitute", None, 2, lambda view: answer_of(view, 2).update(rebuilding=True)),
    ("reconstitute", 0, 2, lambda view: answer_of(view, 2).update(rebuilding=None)),
    ("viewpoints", None, None, lambda view: drop_gossip(view, 1)),
    ("viewpoints", 0, 0, lambda view: drop_gossip(view, 0)),
    ("viewpoints", 0, 0, lambda view: drop_gossip(view, 1)),
    ("viewpoints", None, None, lambda view: view["gossip"].clear()),
    ("unknown", None, 2, lambda view: forget(view, 2)),
    ("unknown", 0, 2, lambda view: told(view, 2)[1].update(heard=False, age=None)),
    ("unknown", 0, 2, lambda view: told(view, 2)[1].update(age=None)),
    ("unknown", 0, 0, lambda view: behind(view, 0, 2, None)),
    ("unknown", 0, 2, lambda view: told(view, 2)[0]["latency"].pop(view["nodes"][0]["id"])),
    ("stale", None, 2, lambda view: told(view, 2)[0].update(age=8.0)),
    ("stale", 0, 0, lambda view: told(view, 0)[1].update(age=2.0)),
    ("stale", 0, 0, lambda view: told(view, 0)[0].update(age=8.0)),
    ("stale", 0, 1, lambda view: told(view, 1)[1].update(age=60.0)),
    ("lagging", None, 1, lambda view: behind(view, 1, 2, 30.0)),
    ("lagging", 0, 0, lambda view: behind(view, 0, 2, 271.0)),
    ("lagging", 0, 2, lambda view: behind(view, 2, 0, 30.0)),
    ("lagging", 0, 2, lambda view: told(view, 2)[1]["latency"].update({view["nodes"][0]["id"]: 31.0})),
]


def faulty(node, change):
    view = green(THREE, node)
    change(view)
    return view


class TestGate:
    @pytest.mark.parametrize("node", [None, 0, 1])
    def test_a_settled_cluster_is_open(self, node):
        assert irondb_gate.gate(green(THREE, node)) == []

    def test_just_below_every_limit_is_open(self):
        view = green(THREE, 0)
        behind(view, 0, 1, 29.9)
        told(view, 0)[1]["age"] = 1.99
        told(view, 1)[0]["age"] = 7.99
        assert irondb_gate.gate(view) == []

    def test_one_node_alone_needs_no_other_viewpoint(self):
        lonely = cluster(1, 1)
        assert [reason["id"] for reason in irondb_gate.gate(green(lonely, 0, (0,)))] == ["write_copies"]

    @pytest.mark.parametrize("gate_id, node, named, change", FAULTS)
    def test_one_fault_closes_it_with_exactly_its_id(self, gate_id, node, named, change):
        reasons = irondb_gate.gate(faulty(node, change))
        assert {reason["id"] for reason in reasons} == {gate_id}
        assert len({(reason["node"], reason["peer"]) for reason in reasons}) == len(reasons)
        for reason in reasons:
            assert reason["text"].endswith(".") and len(reason["text"]) > 40 and "{" not in reason["text"]
            assert named is None or "db%d" % (named + 1) in reason["text"]
        if named is not None:
            assert any(reason["name"] == "db%d" % (named + 1) for reason in reasons)

    def test_every_gate_has_a_fault(self):
        assert {fault[0] for fault in FAULTS} == set(irondb_gate.GATES)

    def test_every_gate_is_explained(self):
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), *([".."] * 4 + ["docs", "data_storage.md"]))
        with io.open(path, encoding="utf-8") as page:
            told = [line.split("`")[1] for line in page if line.startswith("| `")]
        assert told == list(irondb_gate.GATES) + list(irondb_gate.STOPS)

    @pytest.mark.parametrize("gate_id", list(irondb_gate.GATES))
    def test_a_gate_that_is_forced_open_would_be_noticed(self, gate_id, monkeypatch):
        """For every gate, the test above fails once its predicate says yes to everything."""
        monkeypatch.setitem(irondb_gate.GATES, gate_id, lambda view: [])
        for fault in FAULTS:
            if fault[0] == gate_id:
                with pytest.raises(AssertionError):
                    self.test_one_fault_closes_it_with_exactly_its_id(*fault)
            else:
                self.test_one_fault_closes_it_with_exactly_its_id(*fault)

    @pytest.mark.parametrize("gate_id", list(irondb_gate.GATES))
    def test_a_restart_is_refused_by_each(self, gate_id):
        for fault, node, _named, change in FAULTS:
            if fault == gate_id:
                view = faulty(node, change)
                found = irondb_gate.safe_to_stop(view, [view["nodes"][1]["id"]], THREE)
                assert not found["safe"] and gate_id in [reason["id"] for reason in found["reasons"]]

    def test_a_stopped_node_gives_every_reason(self):
        view = green(THREE, 0)
        silent(view, 2, "refused")
        forget(view, 2)
        assert [reason["id"] for reason in irondb_gate.gate(view)] == ["peer_down", "unknown"]


class TestColours:
    @pytest.mark.parametrize("seconds, colour", [
        (None, "unknown"), (0, "green"), (29.9, "green"), (30, "yellow"), (269.9, "yellow"), (270, "red")])
    def test_a_latency(self, seconds, colour):
        assert irondb_gate.latency_colour(seconds) == colour

    @pytest.mark.parametrize("row, colour", [
        (None, "black"), ({"heard": False, "age": 0.0}, "black"), ({"heard": True, "age": None}, "unknown"),
        ({"heard": True, "age": 1.9}, "green"), ({"heard": True, "age": 2.0}, "yellow"),
        ({"heard": True, "age": 8.0}, "red")])
    def test_an_age(self, row, colour):
        assert irondb_gate.age_colour(row) == colour

    @pytest.mark.parametrize("latencies, copies, colour", [
        ([0, 0], 2, "green"), ([30, 0], 2, "yellow"), ([30, 0, 0], 3, "green"), ([30, 30, 0], 3, "yellow"),
        ([270, 0], 2, "yellow"), ([270, 270], 2, "red"), ([270, 270, 30], 2, "red"), ([0, 0], 1, "green"),
        ([30, 0], 1, "yellow"), ([270, 0], 1, "red"), ([None, None], 2, "unknown"), ([None, 30], 2, "yellow"),
        ([], 2, "green")])
    def test_a_node(self, latencies, copies, colour):
        assert irondb_gate.node_colour(latencies, copies) == colour


class TestMatrix:
    def test_every_pair_in_the_order_of_the_topology(self):
        view = green(THREE)
        behind(view, 0, 2, 41.0)
        told(view, 2)[0].update(age=3.0)
        found = irondb_gate.matrix(view)
        assert [row["name"] for row in found] == ["db1", "db2", "db3"]
        assert [(entry["name"], entry["seconds"], entry["colour"]) for entry in found[0]["latency"]] == [
            ("db2", 1.0, "green"), ("db3", 41.0, "yellow")]
        assert found[0]["colour"] == "yellow" and found[0]["mean"] == 21.0 and found[0]["asked"]
        assert found[2]["age_colour"] == "yellow" and not found[2]["asked"]
        assert irondb_gate.worst(view) == {"node": "db1", "peer": "db3", "seconds": 41.0}

    def test_nothing_is_known(self):
        view = green(THREE)
        view["gossip"] = {}
        found = irondb_gate.matrix(view)
        assert {row["age_colour"] for row in found} == {"black"} and {row["colour"] for row in found} == {"unknown"}
        assert irondb_gate.worst(view) is None

    def test_from_another_viewpoint(self):
        view = green(THREE)
        told(view, 2)[1].update(heard=False)
        assert irondb_gate.matrix(view, view["nodes"][1]["id"])[2]["age_colour"] == "black"
        assert irondb_gate.matrix(view)[2]["age_colour"] == "green"


def names(view, *positions):
    return [view["nodes"][at]["id"] for at in positions]


class TestSafeToStop:
    def stop(self, view, given, *positions, **options):
        found = irondb_gate.safe_to_stop(view, names(view, *positions), given, **options)
        assert found["safe"] is not bool(found["reasons"])
        return found, [reason["id"] for reason in found["reasons"]]

    def test_one_node_of_a_settled_cluster(self):
        found, _ids = self.stop(green(THREE), THREE, 1)
        assert found == {"safe": True, "reasons": [], "short": [], "fewest": 1, "down": []}

    def test_two_nodes_with_two_copies_name_the_segments(self):
        found, ids = self.stop(green(THREE), THREE, 0, 1)
        assert ids == ["short"] and found["fewest"] == 0 and found["short"][0]["live"] == []
        assert "db1, db2" in found["reasons"][0]["text"] and "ring segments" in found["reasons"][0]["text"]

    def test_too_many_though_the_ring_would_do(self):
        """Light nodes of a big ring share nothing, and still are more than write copies less one."""
        given = topology.make([node._replace(weight=1 if at in (0, 9) else 60)
                               for at, node in enumerate(cluster(20).nodes)], 2)
        found, ids = self.stop(green(given), given, 0, 9)
        assert ids == ["too_many"] and found["short"] == [] and found["fewest"] == 1

    def test_a_whole_side_where_the_ring_proves_it(self):
        given = cluster(6, 2, "ababab")
        assert self.stop(green(given), given, 0, 2, 4)[1] == []
        assert self.stop(green(given), given, 0, 1)[1] == ["short"]
        assert self.stop(green(given), given, 0, 2, 4, 5)[1] == ["short"]

    def test_a_node_that_is_down_is_never_made_worse(self):
        view = green(THREE)
        silent(view, 2, "refused")
        assert self.stop(view, THREE, 0)[1] == ["peer_down", "short"]
        found, ids = self.stop(view, THREE, 0, strict=False)
        assert ids == ["short"] and found["down"] == names(view, 2) and "while db3 serves no copies" in found[
            "reasons"][0]["text"]

    def test_the_sick_node_itself_may_stop_when_that_is_asked(self):
        for problem in ("hung", "refused", "unreadable", "unreachable"):
            view = green(THREE)
            silent(view, 2, problem)
            assert not self.stop(view, THREE, 2)[0]["safe"]
            assert self.stop(view, THREE, 2, strict=False)[0]["safe"]

    def test_being_behind_a_silent_node_is_no_fault_of_the_others(self):
        view = green(THREE)
        silent(view, 2, "refused")
        behind(view, 0, 2, 900.0)
        behind(view, 1, 2, None)
        found, _ids = self.stop(view, THREE, 2, strict=False)
        assert found["safe"] and found["down"] == names(view, 2)
        behind(view, 1, 0, 900.0)
        assert self.stop(view, THREE, 2, strict=False)[1] == ["short"]

    @pytest.mark.parametrize("gate_id", [name for name in irondb_gate.GATES if name not in irondb_gate.OF_A_NODE])
    def test_what_concerns_the_cluster_refuses_either_way(self, gate_id):
        for fault, node, _named, change in FAULTS:
            if fault == gate_id:
                assert gate_id in self.stop(faulty(node, change), THREE, 1, strict=False)[1]

    def test_a_journal_that_nobody_else_has(self):
        view = green(THREE)
        view["journals"] = {names(view, 0)[0]: {names(view, 1)[0]: irondb_gate.JOURNAL_BYTES, names(view, 2)[0]: 10}}
        found, ids = self.stop(view, THREE, 0)
        assert ids == ["journal"] and "db1 holds 67108864 bytes for db2" in found["reasons"][0]["text"]
        assert self.stop(view, THREE, 1)[1] == [] and self.stop(view, THREE, 0, journal_limit=1 << 40)[1] == []

    @pytest.mark.parametrize("given", [[], ["b0000000-0000-4000-8000-000000000001"]])
    def test_refuses_nodes_it_does_not_know(self, given):
        with pytest.raises(BadInput, match="Expected nodes of the topology"):
            irondb_gate.safe_to_stop(green(THREE), given, THREE)

    def test_refuses_another_topology(self):
        with pytest.raises(BadInput, match="found another one"):
            irondb_gate.safe_to_stop(green(THREE), names(green(THREE), 0), cluster(4))

    def test_changes_nothing(self):
        view = green(THREE)
        before = copy.deepcopy(view)
        self.stop(view, THREE, 0, 1)
        assert view == before


class TestViewsOfTheRest:
    """Who has to tell gossip when a sick node is to be repaired."""

    def ask(self, view, given, strict=False):
        return irondb_gate.safe_to_stop(view, [given.nodes[-1].id], given, strict=strict)

    def test_of_two_nodes_the_one_that_stays_is_enough(self):
        given = cluster(2)
        view = green(given, viewers=(0,))
        silent(view, 1, "refused")
        assert self.ask(view, given)["safe"] and not self.ask(view, given, strict=True)["safe"]

    def test_of_three_both_that_stay_are_wanted(self):
        given = cluster(3)
        view = green(given, viewers=(0,))
        assert [reason["id"] for reason in self.ask(view, given)["reasons"]] == ["viewpoints"]

    def test_nobody_is_never_enough(self):
        given = cluster(2)
        view = green(given, viewers=())
        silent(view, 1, "refused")
        assert "viewpoints" in [reason["id"] for reason in self.ask(view, given)["reasons"]]
