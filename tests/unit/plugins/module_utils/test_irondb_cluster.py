# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os
import sys
import threading
import time

import pytest

from ansible_collections.circonus.inside.plugins.module_utils import irondb_cluster, irondb_gate
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput, TimedOut

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from storage_nodes import Nodes
from storage_views import behind, cluster, green, silent

#: Modes of a node and the gate that each closes.
MODES = [("hung", "hung"), ("trickle", "hung"), ("half", "unreadable"), ("garbage", "unreadable"),
         ("html", "unreadable"), ("error", "unreadable"), ("close", "unreadable")]


@pytest.fixture(params=[False, True], ids=["2021", "2019"])
def nodes(request):
    given = Nodes(old=request.param)
    yield given
    given.close()


def reading(nodes, hosts=(0,), **options):
    options.setdefault("timeout", 3.0)
    return irondb_cluster.Cluster([nodes.host(at) for at in hosts], **options)


class TestEndpoint:
    @pytest.mark.parametrize("text, expected", [
        ("192.0.2.31", ("192.0.2.31", 8112)), ("db1:81", ("db1", 81)), ("[::1]:81", ("::1", 81)),
        ("[::1]", ("::1", 8112)), ("2001:db8::1", ("2001:db8::1", 8112))])
    def test_reads(self, text, expected):
        assert irondb_cluster.endpoint(text, 8112) == expected

    @pytest.mark.parametrize("text", ["", ":81", "db1:x", "db1:0", "db1:70000"])
    def test_refuses(self, text):
        with pytest.raises(BadInput, match="address:port"):
            irondb_cluster.endpoint(text, 8112)


class TestJournals:
    def test_bytes_by_peer(self, tmp_path):
        peers = ["a0000000-0000-4000-8000-00000000000%d" % at for at in (1, 2)]
        for at, peer in enumerate(peers):
            (tmp_path / peer).mkdir()
            (tmp_path / peer / "00000001").write_bytes(b"x" * (10 * at + 5))
            (tmp_path / peer / "metastore").write_bytes(b"y")
        (tmp_path / "readme").write_bytes(b"z")
        assert irondb_cluster.journals(str(tmp_path)) == {peers[0]: 6, peers[1]: 16}

    def test_refuses_no_directory(self, tmp_path):
        with pytest.raises(BadInput, match="no such directory"):
            irondb_cluster.journals(str(tmp_path / "redo"))


class TestTogether:
    def test_who_is_late_is_missing(self):
        over = threading.Event()
        started = time.monotonic()
        found = irondb_cluster.together({"now": lambda: 1, "late": lambda: over.wait(20)}, 0.2)
        over.set()
        assert found == {"now": 1} and time.monotonic() - started < 5


class TestView:
    def test_a_settled_cluster_from_any_node(self, nodes):
        for at in range(3):
            reader = reading(nodes, (at,), names={nodes.nodes[0].id: "db1"})
            view = reader.view()
            assert irondb_gate.gate(view) == []
            assert view["digest"] == nodes.digest and reader.topology.nodes == nodes.topology.nodes
            assert view["nodes"][0]["name"] == "db1" and view["nodes"][1]["name"] == "127.0.0.1"
            assert len(view["gossip"]) == 3

    def test_the_first_host_that_answers(self, nodes):
        nodes.nodes[0].stop()
        view = reading(nodes, (0, 2)).view()
        assert "peer_down" in [reason["id"] for reason in irondb_gate.gate(view)]

    def test_latency_of_either_direction(self, nodes):
        nodes.lag = {(0, 2): 41}
        reasons = irondb_gate.gate(reading(nodes, node=nodes.nodes[2].id).view())
        assert [(reason["id"], reason["node"], reason["peer"]) for reason in reasons] == [
            ("lagging", nodes.nodes[0].id, nodes.nodes[2].id)]

    def test_a_rebuild(self, nodes):
        nodes.rebuilding = True
        assert {reason["id"] for reason in irondb_gate.gate(reading(nodes).view())} == {"reconstitute"}

    @pytest.mark.parametrize("mode, gate_id", MODES)
    def test_a_node_that_misbehaves_closes_its_gate_in_time(self, nodes, mode, gate_id):
        reader = reading(nodes, timeout=1.0)
        reader.find(3.0)
        nodes.nodes[2].mode = mode
        started = time.monotonic()
        reasons = irondb_gate.gate(reader.view())
        assert time.monotonic() - started < 10
        assert [(reason["id"], reason["node"]) for reason in reasons] == [(gate_id, nodes.nodes[2].id)]

    def test_one_page_that_hangs_is_enough(self, nodes):
        reader = reading(nodes, timeout=1.0)
        reader.find(3.0)
        nodes.nodes[1].hung = ("/rebalance/state",)
        assert {reason["id"] for reason in irondb_gate.gate(reader.view())} >= {"hung"}

    @pytest.mark.parametrize("mode, gate_id", MODES)
    def test_nobody_tells_the_topology(self, nodes, mode, gate_id):
        nodes.nodes[0].mode = mode
        started = time.monotonic()
        with pytest.raises(irondb_cluster.NobodyAnswers, match="No node tells the topology") as caught:
            reading(nodes, timeout=1.0).view()
        assert time.monotonic() - started < 10
        assert [reason["id"] for reason in caught.value.reasons] == [gate_id]

    def test_another_topology_than_the_wanted_one(self, nodes):
        reasons = irondb_gate.gate(reading(nodes, digest="f" * 64).view())
        assert {reason["id"] for reason in reasons} == {"topology"} and len(reasons) == 3

    def test_a_topology_that_is_not_what_its_name_says(self, nodes):
        other = nodes.page(nodes.nodes[0], "/topology/xml/" + nodes.digest).replace('weight="20"', 'weight="21"')
        for form in ("json", "xml"):
            path = "/topology/%s/%s" % (form, nodes.digest)
            nodes.changes[nodes.nodes[0].id, path] = None if form == "json" else other
        with pytest.raises(irondb_cluster.NobodyAnswers, match="has the digest"):
            reading(nodes).view()

    def test_refuses_a_node_of_another_cluster(self, nodes):
        with pytest.raises(BadInput, match="it is not there"):
            reading(nodes, node="b0000000-0000-4000-8000-000000000001").view()

    def test_refuses_no_host(self):
        with pytest.raises(BadInput, match="at least one host"):
            irondb_cluster.Cluster([])


class Fake:
    """A cluster whose views are given, on a clock of its own."""

    def __init__(self, views):
        self.views, self.now, self.polls = views, 0.0, []

    def view(self):
        self.polls.append(self.now)
        view = self.views[min(len(self.polls), len(self.views)) - 1]
        if isinstance(view, Exception):
            raise view
        return view

    def wait(self, **options):
        lines = []
        return irondb_cluster.wait(self, tell=lines.append, clock=lambda: self.now, pause=self.pause, **options), lines

    def pause(self, seconds):
        self.now += seconds


THREE = cluster()


def lagging(seconds):
    view = green(THREE, 0)
    behind(view, 0, 2, seconds)
    return view


class TestWait:
    def test_green_three_times_in_a_row(self):
        fake = Fake([lagging(90.0), lagging(40.0), green(THREE, 0), lagging(31.0), green(THREE, 0)])
        found, lines = fake.wait(minimum=0)
        assert found["settled"] and found["polls"] == 7 and fake.polls == [0, 5, 10, 15, 20, 25, 30]
        assert [point["green"] for point in found["series"]] == [False, False, True, False, True, True, True]
        assert found["series"][0]["latency"]["db1"] == {"db2": 1.0, "db3": 90.0}
        assert set(found["series"][0]["latency"]["db2"]) == {"db1"}
        assert [row["colour"] for row in found["matrix"]] == ["green"] * 3 and found["reasons"] == []
        assert lines[0] == "     0 s  db1 is 90 s behind db3  lagging 1" and lines[-1].endswith("green 3 of 3")

    def test_not_before_the_minimum(self):
        fake = Fake([green(THREE, 0)])
        assert fake.wait(minimum=120.0)[0]["seconds"] == 120.0 and len(fake.polls) == 25

    def test_the_deadline_names_the_gate(self):
        view = green(THREE, 0)
        silent(view, 0, "refused")
        fake = Fake([view])
        with pytest.raises(TimedOut) as caught:
            fake.wait(minimum=0, timeout=60.0)
        assert caught.value.details["gate"] == "not_back" and fake.now <= 60.0
        assert "within 60 s" in str(caught.value) and "db1 has not come back" in str(caught.value)
        assert caught.value.details["reasons"][0]["id"] == "not_back" and not caught.value.details["settled"]

    def test_nobody_answers_for_a_while(self):
        silence = irondb_cluster.NobodyAnswers([{"id": "hung", "node": None, "peer": None, "name": "", "text": "x."}])
        found, lines = Fake([silence, green(THREE, 0)]).wait(minimum=0)
        assert found["settled"] and found["series"][0]["reasons"] == {"hung": 1} and "latency unknown" in lines[0]

    @pytest.mark.parametrize("options", [{"polls": 0}, {"minimum": 901.0}, {"polls": 300}, {"spacing": -1.0}])
    def test_refuses_what_can_never_be(self, options):
        with pytest.raises(BadInput, match="leaves time"):
            Fake([green(THREE)]).wait(**options)

    def test_a_node_that_comes_back(self, nodes):
        """Real pages: hung at first, then behind, then settled."""
        node = nodes.nodes[1]
        node.mode = "hung"
        nodes.lag = {(1, 0): 45}

        def tell(text):
            if "hung" in text:
                node.mode = "ok"
            elif "lagging" in text:
                nodes.lag = {}

        found = irondb_cluster.wait(reading(nodes, (0, 2), node=node.id, timeout=0.5), 3, 0.05, 0.0, 20.0, tell)
        ids = [sorted(point["reasons"]) for point in found["series"]]
        assert {"hung", "viewpoints"} <= set(ids[0]) and ["lagging"] in ids and ids[-3:] == [[], [], []]
