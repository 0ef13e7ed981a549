# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import copy
import os
import sys

import pytest

from ansible_collections.circonus.inside.plugins.module_utils import topology
from ansible_collections.circonus.inside.plugins.plugin_utils import failover, storage_condense

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "module_utils"))
from storage_views import behind, cluster, green, silent

NOW = 1700000000.0
EAST = cluster()
D = "tank/snowth/data"
PARAMS = {
    "data_storage_condense_limit": [], "data_storage_condense_el7": True, "data_storage_condense_abort": False,
    "data_storage_condense_capacity_percent": 45, "data_storage_condense_pause_s": 120.0,
    "circonus_confirm": "data_storage", "circonus_lock_break": None, "circonus_lock_ttl_s": 1800,
}
POOL = {"pool": "tank", "capacity": 41, "health": "ONLINE"}
OLD = {"name": D, "referenced": 900 * 2 ** 30, "mounted": True, "read_only": False}


class Platform:
    """Sites with a cluster each on ZFS, and what their hosts answered: all is green and half a year old."""

    def __init__(self, **clusters):
        self.clusters = clusters or {"east": EAST}
        self.sites, self.answers, self.looks, self.views = {}, {}, {}, {}
        for name, given in self.clusters.items():
            hosts = {"%s-db%d" % (name, at): node for at, node in enumerate(given.nodes, 1)}
            self.sites[name] = {"hosts": list(hosts), "active": True, "raw": {
                "svclist": {"data_storage": {"_machlist": list(hosts)}},
                "machinfo": {host: {"node_id": node.id, "ip_address": node.address} for host, node in hosts.items()},
            }}
            for host, node in hosts.items():
                self.answers[host] = {"reachable": True, "node_ids": [node.id], "view": None, "topology": "",
                                      "problem": ""}
                self.looks[host] = {
                    "reachable": True, "platform": "el7", "problem": "", "in_progress": False, "left_open": False,
                    "node_ids": None, "next": "snapshot", "age_s": 180 * 86400.0,
                    "facts": {"name": D, "old": dict(OLD), "pool": dict(POOL)}}
            first = self.answers[next(iter(hosts))]
            self.views[name] = first["view"] = green(given)
            first["topology"] = topology.write_xml(given)

    def decide(self, since=NOW, **params):
        units = {"data_storage": ["circonus-snowth"]}
        situation = failover.Situation(copy.deepcopy(self.sites), {}, units)
        return storage_condense.verdict(
            situation, self.answers, self.looks, dict(PARAMS, **params), {"controller": "here"}, since, NOW)

    def left(self, host, **more):
        """A condense was left on its way there: the node is down and its data set has no directory to look into."""
        at = int(host[-1]) - 1
        self.answers[host]["node_ids"] = []
        self.looks[host].update(dict({"in_progress": True, "next": "freeing", "node_ids": [EAST.nodes[at].id]}, **more))
        self.looks[host]["facts"]["old"] = None
        silent(self.views["east"], at, "refused")


@pytest.fixture
def platform():
    return Platform()


class TestQuestions:
    def test_every_store_is_asked(self, platform):
        asked = storage_condense.questions(platform.sites, ["circonus-snowth"], PARAMS)
        assert list(asked) == ["east-db1", "east-db2", "east-db3"]
        assert asked["east-db1"] == {"state": "look", "units": ["circonus-snowth"], "capacity_percent": 45}


class TestVerdict:
    def test_one_node_after_the_other_with_its_size_and_time(self, platform):
        verdict = platform.decide()
        assert verdict["result"] == "proceed"
        assert [(node["hosts"], node["mode"]) for node in verdict["nodes"]] == [
            (["east-db%d" % at], "condense") for at in (1, 2, 3)]
        for node in verdict["nodes"]:
            assert node["watch"] not in node["hosts"] and node["addresses"][-1].endswith(node["hosts"][0][-1])
        assert verdict["plan"][0] == (
            "Stop east-db1, condense tank/snowth/data (900.0 GiB, pool tank used to 41 %, about 2.7 h), start it and "
            "wait until every node is green")
        assert verdict["reason"] == "3 data_storage nodes, about 8.2 h."
        # The lock outlives one long step.
        assert verdict["lock_ttl_s"] == int(3 * (900 * 2 ** 30 / 100e6 + 180))

    def test_a_limit_leaves_the_gate_whole(self):
        platform = Platform(east=EAST, west=cluster(4))
        nodes = platform.decide(data_storage_condense_limit=["west-db2"])["nodes"]
        assert [node["hosts"] for node in nodes] == [["west-db2"]]
        silent(platform.views["west"], 3, "refused")
        verdict = platform.decide(data_storage_condense_limit=["west-db2"])
        assert verdict["result"] == "refused" and "db4 is down" in verdict["reason"]

    @pytest.mark.parametrize("params, words", [
        ({"circonus_confirm": "east"}, "found east. Nothing was changed."),
        ({"data_storage_condense_limit": ["nobody"]}, "found nobody"),
        ({"data_storage_condense_el7": False}, "-e data_storage_condense_el7=true"),
        ({"data_storage_condense_capacity_percent": 60}, "at most 45"),
    ])
    def test_parameters_that_refuse(self, platform, params, words):
        verdict = platform.decide(**params)
        assert verdict["result"] == "refused" and words in verdict["reason"] and not verdict.get("nodes")

    def test_omnios_needs_no_word(self, platform):
        for look in platform.looks.values():
            look["platform"] = "omnios"
        assert platform.decide(data_storage_condense_el7=False)["result"] == "proceed"

    def test_what_a_host_refuses_is_said_with_its_name(self, platform):
        platform.looks["east-db2"]["problem"] = "The pool tank is used to 60 %."
        assert platform.decide()["reason"] == "east-db2: The pool tank is used to 60 %."
        # Before the first one is touched; a limit without it goes on.
        assert platform.decide(data_storage_condense_limit=["east-db1"])["result"] == "proceed"

    def test_a_release_without_nnt(self, platform):
        for answer in platform.views["east"]["answers"].values():
            answer["state"]["stores"] = ["nntbs"]
        assert "tells of no NNT store (nntbs" in platform.decide()["reason"]
        for answer in platform.views["east"]["answers"].values():
            answer["state"]["stores"] = ["nnt", "nntbs"]
        assert platform.decide()["result"] == "proceed"

    @pytest.mark.parametrize("which", ["answers", "looks"])
    @pytest.mark.parametrize("answer", [
        None, {"reachable": False, "msg": "no route"}, {"reachable": True, "msg": "no route"}])
    def test_a_host_that_does_not_answer(self, platform, which, answer):
        getattr(platform, which)["east-db3"] = answer
        verdict = platform.decide(data_storage_condense_limit=["east-db1"])
        assert verdict["result"] == "refused" and "east-db3" in verdict["reason"]

    def test_data_of_another_node(self, platform):
        platform.answers["east-db3"]["node_ids"] = [EAST.nodes[0].id]
        assert "east-db3 holds the data of" in platform.decide()["reason"]


class TestResume:
    def test_what_was_left_comes_first_though_the_node_is_down(self, platform):
        platform.left("east-db2")
        verdict = platform.decide()
        assert [(n["hosts"][0], n["mode"]) for n in verdict["nodes"]] == [
            ("east-db2", "resume"), ("east-db1", "condense"), ("east-db3", "condense")]
        assert verdict["plan"][0].startswith("Go on with tank/snowth/data on east-db2 (next: freeing)")

    def test_it_must_not_be_left_out(self, platform):
        platform.left("east-db2")
        verdict = platform.decide(data_storage_condense_limit=["east-db1"])
        assert verdict["result"] == "refused" and "on its way on east-db2" in verdict["reason"]

    def test_its_node_id_is_the_one_written_down(self, platform):
        platform.left("east-db2", node_ids=[EAST.nodes[0].id])
        assert "east-db2 holds the data of" in platform.decide()["reason"]

    def test_a_node_that_is_down_for_another_reason_refuses(self, platform):
        silent(platform.views["east"], 1, "refused")
        assert "db2 is down" in platform.decide()["reason"]

    def test_what_cannot_go_on_refuses(self, platform):
        platform.left("east-db2", problem="tank/snowth/data-new was used since it was received.")
        assert platform.decide()["reason"].startswith("east-db2: tank/snowth/data-new was used")

    def test_nodes_of_this_run_are_done_or_settle(self, platform):
        platform.looks["east-db1"]["age_s"] = 500.0
        platform.looks["east-db2"]["age_s"] = 100.0
        behind(platform.views["east"], 1, 0, 900.0)
        verdict = platform.decide(since=NOW - 600)
        assert verdict["done_hosts"] == ["east-db1"]
        assert [(n["hosts"][0], n["mode"]) for n in verdict["nodes"]] == [
            ("east-db2", "settle"), ("east-db3", "condense")]
        # The same lag of a node that this run did not condense refuses.
        assert platform.decide()["result"] == "refused"

    def test_a_node_that_lacks_only_the_end_is_ended_and_not_stopped(self, platform):
        for look in platform.looks.values():
            look["age_s"] = 100.0
        platform.looks["east-db2"]["left_open"] = True
        verdict = platform.decide(since=NOW - 600)
        assert [(n["hosts"][0], n["mode"]) for n in verdict["nodes"]] == [("east-db2", "end")]
        assert verdict["plan"][0].startswith("End the condense of tank/snowth/data on east-db2, which runs on it")
        # What an older run left open is condensed anew.
        assert {node["mode"] for node in platform.decide()["nodes"]} == {"condense"}

    def test_all_done_is_nothing_to_do(self, platform):
        for look in platform.looks.values():
            look["age_s"] = 100.0
        assert platform.decide(since=NOW - 600)["result"] == "nothing_to_do"


class TestAbort:
    def test_gives_up_only_what_is_on_its_way(self, platform):
        platform.left("east-db3")
        verdict = platform.decide(data_storage_condense_abort=True)
        assert [(n["hosts"][0], n["mode"]) for n in verdict["nodes"]] == [("east-db3", "abort")]
        assert "kept as before the condense" in verdict["done"]

    def test_has_nothing_to_do_otherwise(self, platform):
        verdict = platform.decide(data_storage_condense_abort=True)
        assert verdict["result"] == "nothing_to_do" and verdict["reason"] == "No condense is on its way."


class TestLine:
    COPY = {"bytes": 310 * 2 ** 30, "total": 900 * 2 ** 30, "percent": 34.4, "rate": 412 * 2.0 ** 20, "eta_s": 1466}

    def test_of_a_copy_has_bytes_and_the_time_left(self):
        outcome = {"text": "Copy it", "waiting": True, "copy": self.COPY}
        assert storage_condense.line(outcome) == (
            "Copy it: 310.0 GiB of 900.0 GiB (34 %), 412.0 MiB/s, about 24 min left")
        assert storage_condense.line(dict(outcome, waiting=False)) == "Copy it: 310.0 GiB of 900.0 GiB, done"

    def test_without_an_estimate_has_bytes(self):
        outcome = {"text": "Copy it", "waiting": True, "copy": dict(self.COPY, total=0, percent=None, eta_s=None)}
        assert storage_condense.line(outcome) == "Copy it: 310.0 GiB, 412.0 MiB/s"

    def test_of_another_step_is_its_text(self):
        assert storage_condense.line({"text": "Rename it", "copy": None, "waiting": False}) == "Rename it"
