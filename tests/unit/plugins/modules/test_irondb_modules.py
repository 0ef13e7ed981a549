# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The modules as a whole, on nodes that answer on loopback, of the releases of 2019 and of 2021."""
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import json
import os
import sys
import time

import pytest

from ansible.module_utils import basic
from ansible_collections.circonus.inside.plugins.modules import (
    irondb_info,
    irondb_probe,
    irondb_safe_to_stop,
    irondb_wait,
)

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "module_utils"))
from storage_nodes import Nodes

#: Modes of a node and the gate that each closes.
MODES = [("hung", "hung"), ("trickle", "hung"), ("half", "unreadable"), ("garbage", "unreadable"),
         ("html", "unreadable"), ("error", "unreadable"), ("close", "unreadable"), ("down", "peer_down")]


@pytest.fixture(params=[False, True], ids=["2021", "2019"])
def nodes(request):
    given = Nodes(old=request.param)
    yield given
    given.close()


@pytest.fixture
def modern():
    """One release only: how a port misbehaves does not depend on it."""
    given = Nodes()
    yield given
    given.close()


def misbehave(node, mode):
    if mode == "down":
        node.stop()
    else:
        node.mode = mode


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a module with parameters; its result, within ``seconds``, as JSON and without a traceback."""

    def call(module, seconds=30.0, check=False, **params):
        text = json.dumps({"ANSIBLE_MODULE_ARGS": dict(params, _ansible_check_mode=check)}).encode("utf-8")
        monkeypatch.setattr(basic, "_ANSIBLE_ARGS", text)
        if hasattr(basic, "_ANSIBLE_PROFILE"):
            monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy")
        started = time.monotonic()
        with pytest.raises(SystemExit):
            module.main()
        assert time.monotonic() - started < seconds
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return json.loads(out)

    return call


class TestInfo:
    def test_the_cluster_from_one_node(self, nodes, run):
        found = run(irondb_info, hosts=[nodes.host(1)], names={nodes.nodes[2].id: "db3"})
        assert found["settled"] and found["reasons"] == [] and not found["changed"]
        assert found["topology"] == {"digest": nodes.digest, "write_copies": 2, "sided": False}
        assert [node["id"] for node in found["nodes"]] == [node.id for node in nodes.nodes]
        assert found["nodes"][2]["name"] == "db3" and found["nodes"][0]["state"]["filesystems"][0]["used_percent"] == 60
        assert found["nodes"][0]["state"]["stores"] == (["nnt"] if nodes.old else ["nntbs"])
        assert abs(sum(node["share"] for node in found["nodes"]) - 2) < 0.001
        assert {entry["colour"] for row in found["matrix"] for entry in row["latency"]} == {"green"}
        assert found["versions"] == {"v1/2": ["127.0.0.1", "127.0.0.1", "db3"]}

    @pytest.mark.parametrize("mode, gate_id", MODES)
    def test_a_node_that_misbehaves_is_a_finding(self, modern, run, mode, gate_id):
        misbehave(modern.nodes[2], mode)
        found = run(irondb_info, hosts=[modern.host(0)], page_timeout=1.0)
        assert not found.get("failed") and not found["settled"]
        assert {reason["id"] for reason in found["reasons"]} == {gate_id}
        assert found["nodes"][2]["problem"] and found["nodes"][2]["error"]

    @pytest.mark.parametrize("mode, gate_id", MODES)
    def test_nobody_answers(self, modern, run, mode, gate_id):
        misbehave(modern.nodes[0], mode)
        found = run(irondb_info, hosts=[modern.host(0)], page_timeout=0.5)
        assert not found["settled"] and [reason["id"] for reason in found["reasons"]] == [gate_id]

    def test_one_node_with_everything(self, nodes, run):
        nodes.rebuilding = True
        node = run(irondb_info, want="node", hosts=[nodes.host(0)])["node"]
        assert node["problem"] == "" and node["errors"] == {} and node["rebuilding"] is True
        assert node["stats"]["semver"] == "0.19.3" and node["stats"]["reconstitute"] == {"nnt": 12.5}
        assert set(node["gossip"]) == {one.id for one in nodes.nodes}
        assert (node["sweep"] is None) is not nodes.old

    @pytest.mark.parametrize("mode, _gate", MODES)
    def test_one_node_that_misbehaves(self, modern, run, mode, _gate):
        misbehave(modern.nodes[0], mode)
        node = run(irondb_info, want="node", hosts=[modern.host(0)], page_timeout=0.5)["node"]
        assert node["problem"] and node["state"] is None and "state" in node["errors"]

    def test_refuses_a_bad_host(self, run):
        assert "address:port" in run(irondb_info, hosts=["db1:x"])["msg"]


class TestProbe:
    def test_the_own_node_tells_everything_but_its_gossip(self, nodes, run, tmp_path):
        (tmp_path / nodes.nodes[1].id).mkdir()
        found = run(irondb_probe, hosts=[nodes.host(1), nodes.host(0)], own=True, data_dir=str(tmp_path))
        assert found["node"]["state"]["identity"] == nodes.nodes[1].id and "gossip" not in found["node"]
        assert found["node"]["stats"]["semver"] == "0.19.3" and (found["node"]["sweep"] is None) is not nodes.old
        assert found["view"] is None and found["node_ids"] == [nodes.nodes[1].id]

    def test_a_node_that_is_down_is_no_failure(self, nodes, run):
        nodes.nodes[0].stop()
        found = run(irondb_probe, hosts=[nodes.host(0), nodes.host(1)], own=True, cluster=True)
        assert found["node"]["problem"] == "refused" and [reason["id"] for reason in found["reasons"]] == ["peer_down"]

    def test_the_package_is_looked_at_when_it_is_asked_for(self, nodes, run):
        found = run(irondb_probe, hosts=[nodes.host(0)])
        assert found["package_changed"] is None and found["package_reason"] == "" and found["booted_s"] > 0
        found = run(irondb_probe, hosts=[nodes.host(0)], package=True, units=["circonus-none-of-it"])
        assert found["package_changed"] is None and found["package_reason"] == "no snowthd runs"


class TestWait:
    FAST = dict(spacing=0.05, minimum=0.0, page_timeout=1.0)

    def test_settles(self, nodes, run):
        found = run(irondb_wait, hosts=[nodes.host(0)], node=nodes.nodes[1].id, timeout=5, **self.FAST)
        assert found["settled"] and found["polls"] == 3 and found["progress"].endswith("green 3 of 3")

    def test_waits_in_check_mode_as_well(self, nodes, run):
        assert run(irondb_wait, check=True, hosts=[nodes.host(0)], timeout=5, **self.FAST)["settled"]

    @pytest.mark.parametrize("mode, gate_id", MODES)
    def test_fails_in_time_and_names_the_gate(self, modern, run, mode, gate_id):
        misbehave(modern.nodes[2], mode)
        found = run(irondb_wait, hosts=[modern.host(0)], timeout=0.8, **self.FAST)
        assert found["failed"] and not found["settled"] and found["gate"] == gate_id
        assert "within 0.8 s" in found["msg"] and found["series"][-1]["reasons"][gate_id] == 1

    def test_the_restarted_node_never_comes_back(self, nodes, run):
        nodes.nodes[0].stop()
        found = run(irondb_wait, hosts=[nodes.host(0), nodes.host(1)], node=nodes.nodes[0].id, timeout=1.0, **self.FAST)
        assert found["failed"] and found["gate"] == "not_back" and "has not come back" in found["msg"]

    def test_it_stays_behind_in_one_direction_only(self, nodes, run):
        nodes.lag = {(0, 1): 30}
        found = run(irondb_wait, hosts=[nodes.host(0)], node=nodes.nodes[1].id, timeout=1.0, **self.FAST)
        assert found["failed"] and found["gate"] == "lagging" and "30 s behind" in found["msg"]

    def test_nobody_answers(self, nodes, run):
        nodes.nodes[0].stop()
        found = run(irondb_wait, hosts=[nodes.host(0)], timeout=1.0, **self.FAST)
        assert found["failed"] and found["gate"] == "peer_down" and found["matrix"] == []

    def test_refuses_a_node_of_another_cluster(self, nodes, run):
        found = run(irondb_wait, hosts=[nodes.host(0)], node="b0000000-0000-4000-8000-000000000001", timeout=5,
                    **self.FAST)
        assert found["failed"] and "it is not there" in found["msg"] and found["settled"] is False


class TestSafeToStop:
    def stop(self, run, nodes, *positions, **params):
        params.setdefault("hosts", [nodes.host(1)])
        return run(irondb_safe_to_stop, nodes=[nodes.nodes[at].id for at in positions], page_timeout=1.0, **params)

    def test_one_of_three(self, nodes, run):
        found = self.stop(run, nodes, 0)
        assert found["safe"] and found["fewest"] == 1 and found["gate"] == "" and found["digest"] == nodes.digest

    def test_two_of_three_name_the_ring(self, nodes, run):
        found = self.stop(run, nodes, 0, 1)
        assert found["failed"] and found["gate"] == "short" and "ring segments" in found["msg"]
        assert found["short_count"] >= len(found["short"]) > 0

    def test_only_tells_when_that_is_wanted(self, nodes, run):
        found = self.stop(run, nodes, 0, 1, refuse=False)
        assert not found.get("failed") and not found["safe"] and found["msg"].startswith("Without")

    @pytest.mark.parametrize("mode, gate_id", MODES)
    def test_another_node_misbehaves(self, modern, run, mode, gate_id):
        misbehave(modern.nodes[2], mode)
        found = self.stop(run, modern, 0)
        assert found["failed"] and found["gate"] == gate_id
        assert self.stop(run, modern, 0, others="enough", refuse=False)["gate"] == "short"

    @pytest.mark.parametrize("mode, _gate", MODES)
    def test_the_sick_node_may_stop_for_its_repair(self, modern, run, mode, _gate):
        misbehave(modern.nodes[2], mode)
        assert self.stop(run, modern, 2, others="enough")["safe"]

    def test_journals_of_this_host(self, nodes, run, tmp_path):
        (tmp_path / nodes.nodes[1].id).mkdir()
        (tmp_path / nodes.nodes[1].id / "00000001").write_bytes(b"x" * 100)
        assert self.stop(run, nodes, 0, redo_dir=str(tmp_path))["safe"]
        found = self.stop(run, nodes, 0, redo_dir=str(tmp_path), journal_limit=100)
        assert found["failed"] and found["gate"] == "journal"
        assert "one node" in self.stop(run, nodes, 0, 1, redo_dir=str(tmp_path))["msg"]
        assert "no such directory" in self.stop(run, nodes, 0, redo_dir=str(tmp_path / "x"))["msg"]

    def test_one_copy(self, run):
        single = Nodes(copies=1)
        try:
            found = self.stop(run, single, 0)
        finally:
            single.close()
        assert found["failed"] and found["gate"] == "write_copies"

    def test_refuses_an_unknown_node(self, nodes, run):
        found = run(irondb_safe_to_stop, nodes=["b0000000-0000-4000-8000-000000000001"], hosts=[nodes.host(0)])
        assert found["failed"] and not found["safe"] and "site.json" in found["msg"]

    def test_nobody_answers(self, nodes, run):
        nodes.nodes[1].mode = "hung"
        found = self.stop(run, nodes, 0)
        assert found["failed"] and not found["safe"] and "No node tells the topology" in found["msg"]
