# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import os
import sys

import pytest

from ansible_collections.circonus.inside.plugins.module_utils import topology
from ansible_collections.circonus.inside.plugins.plugin_utils import failover, storage_rebuild

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "module_utils"))
from storage_views import behind, cluster, green, silent

NOW = 1700000000.0
UNITS = ["circonus-snowth"]
STAMP = "20231101T000000Z"


class Platform:
    """A site with a cluster, and what the host of its second node answered: everything is in order."""

    def __init__(self, number=4, copies=2):
        self.given = cluster(number, copies)
        self.nodes = self.given.nodes
        hosts = {"db%d" % at: node for at, node in enumerate(self.nodes, 1)}
        self.sites = {"east": {"hosts": list(hosts), "active": True, "raw": {
            "svclist": {"data_storage": {"_machlist": list(hosts)}},
            "machinfo": {host: {"node_id": node.id, "ip_address": node.address} for host, node in hosts.items()},
        }}}
        self.id = self.nodes[1].id
        self.view = green(self.given)
        self.source = None
        self.look = {
            "reachable": True, "problems": [], "evidence": {}, "record": None, "records": [], "finished": False,
            "stores": [
                {"store": "data", "kind": "dataset", "dataset": "tank/snowth/data", "path": "/snowth/data/" + self.id,
                 "empty": False, "used": 2 * 10**9},
                {"store": "text", "kind": "directory", "dataset": "", "path": "/snowth/text/" + self.id,
                 "empty": False, "used": 10**6},
                {"store": "hist", "kind": "directory", "dataset": "", "path": "/snowth/hist/" + self.id, "empty": True,
                 "used": 0}],
            "choice": {"action": "aside", "reason": "", "used": 2 * 10**9, "need": 2 * 10**9},
            "processes": {"running": [], "daemons": [77]}, "unit": "circonus-snowth", "active": "active",
            "enabled": "enabled", "wrapper": False, "killswitch": False, "view": self.view,
            "topology": topology.write_xml(self.given), "now": NOW,
        }

    def record(self, phase, **more):
        found = dict({"stamp": STAMP, "node_id": self.id, "phase": phase, "mode": "reconstitute", "source": None,
                      "stores": [], "closed": NOW - 600}, **more)
        self.look["records"] = [found]
        if phase != "done":
            self.look["record"] = found
        return found

    def decide(self, **params):
        short = {"data_storage_rebuild_" + key if not key.startswith("circonus") else key: value
                 for key, value in params.items()}
        values = {"data_storage_rebuild_node": "db2", "data_storage_rebuild_mode": "reconstitute",
                  "circonus_confirm": "db2", "circonus_lock_break": None, **short}
        situation = failover.Situation(self.sites, {}, {})
        answers = {"look": self.look, "source": self.source}
        return storage_rebuild.verdict(situation, answers, values, {"controller": "me"}, UNITS)

    def refused(self, *words, **params):
        verdict = self.decide(**params)
        assert verdict["result"] == "refused", verdict
        for word in words:
            assert word in verdict["reason"], verdict["reason"]
        assert "args" not in verdict and not verdict["plan"]


@pytest.fixture
def platform():
    return Platform()


class TestQuestions:
    def test_only_the_host_is_asked_and_it_asks_the_others_first(self, platform):
        asked = storage_rebuild.questions(platform.sites, {"data_storage_rebuild_node": "db2"}, UNITS)
        assert list(asked) == ["db2"] and asked["db2"]["source"] is None
        look = asked["db2"]["look"]
        assert look["step"] == "look" and look["node_id"] == platform.id and look["address"] == "192.0.2.32"
        assert look["hosts"] == ["192.0.2.31", "192.0.2.33", "192.0.2.34", "192.0.2.32"]

    def test_a_stranger_is_not_asked(self, platform):
        assert storage_rebuild.questions(platform.sites, {"data_storage_rebuild_node": "app1"}, UNITS) == {}

    def test_the_other_cluster_is_asked_only_in_its_mode(self, platform):
        params = {"data_storage_rebuild_node": "db2", "data_storage_rebuild_source": "198.51.100.1",
                  "data_storage_rebuild_mode": "reconstitute"}
        assert storage_rebuild.questions(platform.sites, params, UNITS)["db2"]["source"] is None
        params["data_storage_rebuild_mode"] = "new_cluster"
        assert storage_rebuild.questions(platform.sites, params, UNITS)["db2"]["source"] == {"hosts": ["198.51.100.1"]}


class TestVerdict:
    def test_the_whole_plan(self, platform):
        verdict = platform.decide()
        assert verdict["result"] == "proceed" and verdict["gate"] and verdict["stop"] and not verdict["remove"]
        text = "\n".join(verdict["plan"])
        assert "Set aside by rename the data set tank/snowth/data (2.0 GB) and make a new one" in text
        assert "Set aside by rename the directory /snowth/text/" in text
        assert "hist/%s, which is empty" % platform.id in text
        assert "/opt/circonus/sbin/snowthd -u nobody -g nobody -i %s -B" % platform.id in text
        assert verdict["plan"][-1] == "Start circonus-snowth on db2 and wait until every node is green"
        assert verdict["watch"] == "db1" and verdict["addresses"][-1] == "192.0.2.32"
        assert verdict["page"] == "192.0.2.32:8112" and verdict["args"]["digest"] == topology.digest(platform.given)

    def test_the_later_edition_s_command(self, platform):
        platform.look["wrapper"] = True
        assert any(line.endswith("/opt/circonus/bin/snowth-start -B") for line in platform.decide()["plan"])

    def test_a_node_that_is_down_already(self, platform):
        silent(platform.view, 1, "refused")
        assert platform.decide()["result"] == "proceed"

    def test_the_last_but_one_of_two(self):
        platform = Platform(number=2)
        silent(platform.view, 1, "refused")
        del platform.view["gossip"][platform.id]
        assert platform.decide()["result"] == "proceed"

    @pytest.mark.parametrize("confirm", [None, "", "db1", "data_storage", "a0000000"])
    def test_nothing_without_the_typed_name(self, platform, confirm):
        platform.refused("circonus_confirm must name the node", "Nothing was changed.", circonus_confirm=confirm)

    def test_a_host_that_is_none(self, platform):
        platform.refused("db1, db2, db3, db4", "found app1", node="app1", circonus_confirm="app1")

    @pytest.mark.parametrize("answer", [None, {"reachable": False, "msg": "no route"},
                                        {"reachable": True, "msg": "the module broke off"}])
    def test_a_host_that_does_not_answer(self, platform, answer):
        platform.look = answer
        platform.refused("Expected an answer of db2")

    def test_a_host_that_is_not_proven(self, platform):
        platform.look["problems"] = ["db2 holds the data of another.", "More."]
        platform.refused("db2 holds the data of another. Nothing was changed.")

    def test_an_inventory_that_the_topology_does_not_know(self, platform):
        platform.sites["east"]["raw"]["machinfo"]["db4"]["node_id"] = "b0000000-0000-4000-8000-000000000001"
        platform.refused("db4", "not in the topology")

    def test_a_host_without_the_unit(self, platform):
        platform.look["unit"] = ""
        platform.refused("Run Hooper first")


class TestTheRuleOfTheCopies:
    """Never more nodes down or rebuilding than write copies less one."""

    def test_another_one_is_down(self, platform):
        silent(platform.view, 3, "refused")
        platform.refused("db2")

    def test_three_copies_allow_one_more_and_no_second(self):
        platform = Platform(number=6, copies=3)
        silent(platform.view, 4, "refused")
        assert platform.decide()["result"] == "proceed"
        silent(platform.view, 5, "unreachable")
        platform.refused("db2")

    def test_one_copy_has_none_to_rebuild_from(self):
        Platform(copies=1).refused("keeps 1 copy")

    def test_one_that_is_far_behind_counts_as_down(self, platform):
        behind(platform.view, 0, 2, 45.0)
        platform.refused("db2")

    def test_a_rebuild_or_a_rebalance_elsewhere(self, platform):
        platform.view["answers"][platform.nodes[0].id]["rebuilding"] = True
        platform.refused("A reconstitute is running")
        other = Platform()
        other.view["answers"][other.nodes[0].id]["rebalance"].update(running=True, state="TOPO_REBALANCE_REHASH")
        other.refused("A rebalance is running")

    def test_different_releases(self, platform):
        for at, node in enumerate(platform.nodes):
            platform.view["answers"][node.id]["state"]["version"] = "v1" if at else "v2"
        platform.refused("v1 on db2, db3, db4; v2 on db1")

    @pytest.mark.parametrize("copies", [2, 3, 4])
    def test_no_set_of_nodes_that_are_down_goes_beyond_it(self, copies):
        """Property: whoever is down, a rebuild begins only while it makes no more than copies less one."""
        number = 6
        for mask in range(2 ** number):
            platform = Platform(number=number, copies=copies)
            down = [at for at in range(number) if mask & 1 << at]
            for at in down:
                silent(platform.view, at, "refused")
            if platform.decide()["result"] == "proceed":
                assert len({*down, 1}) <= copies - 1, down


class TestGoingOn:
    def test_where_the_stores_were_being_moved(self, platform):
        platform.record("clearing", stores=[{"store": "data", "action": "aside", "mark": "1", "aside": "x", "used": 1}])
        verdict = platform.decide()
        assert verdict["gate"] and "where an earlier run stopped: data (aside)" in "\n".join(verdict["plan"])

    def test_where_the_reconstitute_was_interrupted(self, platform):
        platform.record("cleared")
        silent(platform.view, 1, "refused")
        # What its peers still say of the interrupted one does not keep it from going on.
        platform.view["answers"][platform.nodes[0].id]["rebuilding"] = True
        verdict = platform.decide()
        assert verdict["result"] == "proceed" and not verdict["gate"] and "Set aside" not in "\n".join(verdict["plan"])
        silent(platform.view, 3, "refused")
        platform.refused("db2")

    def test_one_that_runs_is_followed(self, platform):
        platform.record("cleared")
        platform.look["processes"] = {"running": [{"pid": 9, "node": platform.id}], "daemons": []}
        platform.view["answers"][platform.id]["rebuilding"] = True
        verdict = platform.decide()
        assert not verdict["gate"] and not verdict["stop"]
        assert verdict["plan"][0] == "Follow the reconstitute that runs on db2; it is not started again"
        assert not any(line.startswith("Start on db2") for line in verdict["plan"])

    def test_one_that_runs_for_another_node_refuses(self, platform):
        platform.look["processes"] = {"running": [{"pid": 9, "node": platform.nodes[0].id}], "daemons": []}
        platform.refused("runs a reconstitute of the node %s" % platform.nodes[0].id)

    def test_one_that_has_ended_is_brought_up(self, platform):
        platform.record("rebuilt")
        verdict = platform.decide()
        assert not verdict["gate"] and not verdict["stop"] and len(verdict["plan"]) == 1
        # Its last line is there, and nobody was left to read it.
        platform.record("cleared")
        platform.look["finished"] = True
        assert platform.decide()["plan"] == verdict["plan"]

    def test_one_of_another_kind_or_node_refuses(self, platform):
        platform.record("cleared", mode="new_cluster")
        platform.refused("mode new_cluster")
        platform.record("cleared", node_id=platform.nodes[0].id)
        platform.refused(platform.nodes[0].id)

    def test_a_node_that_was_just_rebuilt_is_not_rebuilt_again(self, platform):
        platform.record("done")
        verdict = platform.decide()
        assert verdict["result"] == "nothing_to_do" and "data_storage_rebuild_again=true" in verdict["reason"]
        assert platform.decide(again=True)["result"] == "proceed"
        platform.record("done", closed=NOW - 90000)
        assert platform.decide()["result"] == "proceed"


class TestDestroying:
    def test_without_room_only_with_the_node_id(self, platform):
        platform.look["choice"].update(action="destroy", reason="1 GB are free, 2 GB are needed")
        platform.refused("1 GB are free, 2 GB are needed", "-e data_storage_rebuild_destroy=%s" % platform.id)
        verdict = platform.decide(destroy=platform.id)
        assert "Destroy the data set tank/snowth/data (2.0 GB) and make a new one" in verdict["plan"]
        assert "as was confirmed" in verdict["warnings"][0] and verdict["args"]["destroy"] == platform.id

    @pytest.mark.parametrize("action", ["aside", "destroy"])
    def test_another_id_refuses(self, platform, action):
        platform.look["choice"]["action"] = action
        platform.refused("must be the node id of db2", destroy=platform.nodes[0].id)


class TestNewCluster:
    @pytest.fixture
    def filling(self, platform):
        platform.source = {"topology": {"digest": "d" * 64, "write_copies": 2}, "nodes": [
            {"id": "c0000000-0000-4000-8000-%012d" % at, "name": "old%d" % at, "problem": ""} for at in (1, 2, 3)]}
        return platform

    def decide(self, filling, **more):
        return filling.decide(mode="new_cluster", **{"source": "198.51.100.1", **more})

    def test_pulls_from_the_other_cluster_and_sets_nothing_aside(self, filling):
        verdict = self.decide(filling)
        text = "\n".join(verdict["plan"])
        assert "-B -T %s -O 198.51.100.1:8112" % ("d" * 64) in text and "et aside" not in text
        assert verdict["args"]["source"] == {"digest": "d" * 64, "address": "198.51.100.1:8112"}
        assert "from the cluster at 198.51.100.1:8112" in verdict["reason"]

    def test_a_silent_node_there_is_one_copy_less(self, filling):
        filling.source["nodes"][0]["problem"] = "refused"
        assert self.decide(filling)["result"] == "proceed"
        filling.source["nodes"][1]["problem"] = "hung"
        assert "old1, old2" in self.decide(filling)["reason"]

    @pytest.mark.parametrize("change, words", [
        (lambda source: None, "Expected a cluster at"), (lambda source: {"msg": "no route"}, "no route"),
        (lambda source: {"nodes": [], "reasons": [{"text": "It is down."}]}, "It is down."),
    ])
    def test_a_cluster_that_does_not_answer(self, filling, change, words):
        filling.source = change(filling.source)
        verdict = self.decide(filling)
        assert verdict["result"] == "refused" and words in verdict["reason"]

    def test_its_own_cluster_or_a_node_of_both(self, filling):
        filling.source["topology"]["digest"] = topology.digest(filling.given)
        assert "is of the same cluster" in self.decide(filling)["reason"]
        filling.source["topology"]["digest"] = "d" * 64
        filling.source["nodes"][0]["id"] = filling.id
        assert "has a node %s as well" % filling.id in self.decide(filling)["reason"]

    def test_no_source(self, filling):
        assert "Expected data_storage_rebuild_source" in self.decide(filling, source=None)["reason"]

    def test_one_that_runs_needs_no_answer_of_the_source(self, filling):
        source = {"digest": "d" * 64, "address": "198.51.100.1:8112"}
        filling.record("cleared", mode="new_cluster", source=source)
        filling.look["processes"] = {"running": [{"pid": 9, "node": filling.id}], "daemons": []}
        filling.source = None
        assert self.decide(filling)["args"]["source"] == source


class TestRemove:
    @pytest.fixture
    def rebuilt(self, platform):
        platform.record("done", stores=[
            {"store": "data", "action": "aside", "mark": "1", "aside": "tank/snowth/aside-x-data", "used": 2 * 10**9,
             "kind": "dataset"}])
        return platform

    def test_names_what_is_destroyed(self, rebuilt):
        verdict = rebuilt.decide(mode="remove", stamp=STAMP)
        assert verdict["result"] == "proceed" and verdict["remove"]
        assert verdict["plan"] == ["Destroy tank/snowth/aside-x-data"] and "2.0 GB" in verdict["reason"]
        assert verdict["args"]["stamp"] == STAMP

    @pytest.mark.parametrize("stamp", [None, "", "20200101T000000Z"])
    def test_only_with_its_stamp(self, rebuilt, stamp):
        rebuilt.refused(STAMP, "Nothing was removed.", mode="remove", stamp=stamp)

    def test_are_named_until_then(self, rebuilt):
        verdict = rebuilt.decide()
        assert verdict["result"] == "nothing_to_do" and "tank/snowth/aside-x-data" in verdict["warnings"][0]
        assert "data_storage_rebuild_stamp=%s" % STAMP in verdict["warnings"][0]
        rebuilt.look["records"][0]["removed"] = True
        assert rebuilt.decide()["warnings"] == []

    def test_never_while_a_node_is_not_green(self, rebuilt):
        behind(rebuilt.view, 1, 2, 45.0)
        rebuilt.refused("is kept until every node is green", mode="remove", stamp=STAMP)

    def test_never_for_a_host_that_is_not_proven(self, rebuilt):
        rebuilt.look["problems"] = ["Another machine."]
        rebuilt.refused("Another machine.", mode="remove", stamp=STAMP)

    def test_never_during_a_rebuild(self, rebuilt):
        rebuilt.look["record"] = {"node_id": rebuilt.id, "stamp": "20231102T000000Z", "phase": "cleared"}
        rebuilt.refused("20231102T000000Z", mode="remove", stamp=STAMP)

    def test_twice_is_nothing_to_do(self, rebuilt):
        rebuilt.look["records"][0]["removed"] = True
        assert rebuilt.decide(mode="remove", stamp=STAMP)["result"] == "nothing_to_do"
