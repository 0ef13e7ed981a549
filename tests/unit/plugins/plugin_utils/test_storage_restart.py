# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import json
import os
import sys

import pytest

from ansible_collections.circonus.inside.plugins.module_utils import irondb_gate, topology
from ansible_collections.circonus.inside.plugins.plugin_utils import failover, storage_restart

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "module_utils"))
from storage_views import behind, cluster, green, silent

NOW = 1700000000.0
EAST = cluster()
PARAMS = {"data_storage_restart_limit": [], "data_storage_parallel": "one", "data_storage_restart_pause_s": 120.0,
          "data_storage_restart_timeout_s": 600, "data_storage_restart_polls": 3, "data_storage_restart_spacing_s": 5.0,
          "data_storage_restart_settle_s": 1800.0,
          "circonus_confirm": "data_storage", "circonus_lock_break": None}


class Platform:
    """Sites with a cluster each, and what their hosts answered: all is green."""

    def __init__(self, **clusters):
        self.clusters = clusters or {"east": EAST}
        self.sites, self.answers, self.views = {}, {}, {}
        for name, given in self.clusters.items():
            hosts = {"%s-db%d" % (name, at): node for at, node in enumerate(given.nodes, 1)}
            self.sites[name] = {"hosts": list(hosts), "active": True, "raw": {
                "svclist": {"data_storage": {"_machlist": list(hosts)}},
                "machinfo": {host: {"node_id": node.id, "ip_address": node.address} for host, node in hosts.items()},
            }}
            for host, node in hosts.items():
                self.answers[host] = {"reachable": True, "node_ids": [node.id], "unit": "circonus-snowth",
                                      "active": "active", "age_s": 86400.0, "problem": "", "view": None, "topology": ""}
            first = self.answers[next(iter(hosts))]
            self.views[name] = first["view"] = green(given)
            first["topology"] = topology.write_xml(given)

    def decide(self, since=NOW, **params):
        for view in self.views.values():
            view["reasons"] = irondb_gate.gate(view)
        situation = failover.Situation(self.sites, {}, {})
        run = {"controller": "me"}
        return storage_restart.verdict(situation, self.answers, dict(PARAMS, **params), run, since, NOW)


@pytest.fixture
def platform():
    return Platform()


class TestQuestions:
    def test_one_host_of_each_site_reads_the_cluster_and_asks_itself_first(self):
        asked = storage_restart.questions(Platform(east=EAST, west=cluster(4)).sites, ["circonus-snowth"])
        assert [host for host, question in asked.items() if question["cluster"]] == ["east-db1", "west-db1"]
        assert asked["east-db2"]["hosts"] == ["192.0.2.32", "192.0.2.31", "192.0.2.33"]
        assert asked["east-db2"]["names"][EAST.nodes[0].id] == "east-db1"


class TestVerdict:
    def test_one_node_after_the_other_watched_from_one_that_stays(self, platform):
        verdict = platform.decide()
        assert verdict["result"] == "proceed" and [wave["hosts"] for wave in verdict["waves"]] == [
            ["east-db1"], ["east-db2"], ["east-db3"]]
        for wave in verdict["waves"]:
            assert wave["watch"] not in wave["hosts"] and not wave["settle_only"]
            # The node that stops is asked last.
            assert wave["addresses"][-1] == "192.0.2.3%s" % wave["hosts"][0][-1]
            assert wave["node"] == wave["ids"][0] and wave["digest"] == topology.digest(EAST)
        assert verdict["reason"] == "3 data_storage nodes, about 9 min."

    def test_clusters_follow_each_other_and_a_limit_leaves_the_gate_whole(self):
        platform = Platform(east=EAST, west=cluster(4))
        assert len(platform.decide()["waves"]) == 7
        waves = platform.decide(data_storage_restart_limit=["west-db2", "east"])["waves"]
        assert [wave["hosts"] for wave in waves] == [
            ["east-db1"], ["east-db2"], ["east-db3"], ["west-db2"]]
        silent(platform.views["west"], 3, "refused")
        verdict = platform.decide(data_storage_restart_limit=["west-db2"])
        assert verdict["result"] == "refused" and "db4 is down" in verdict["reason"]
        # Another cluster that is not touched decides nothing.
        assert platform.decide(data_storage_restart_limit=["east"])["result"] == "proceed"

    def test_sides_only_where_there_are_any(self):
        sided = Platform(east=cluster(4, sides="abab"))
        waves = sided.decide(data_storage_parallel="sides")["waves"]
        assert [wave["hosts"] for wave in waves] == [["east-db1", "east-db3"], ["east-db2", "east-db4"]]
        assert [wave["watch"] for wave in waves] == ["east-db2", "east-db1"] and waves[0]["node"] is None
        verdict = Platform().decide(data_storage_parallel="sides")
        assert verdict["result"] == "refused" and "has none" in verdict["reason"]

    def test_nothing_without_the_typed_name(self, platform):
        verdict = platform.decide(circonus_confirm="east")
        assert verdict["result"] == "refused" and "found east. Nothing was changed." in verdict["reason"]

    @pytest.mark.parametrize("answer, why", [
        (None, "Expected an answer of east-db2"), ({"reachable": False, "msg": "no route"}, "no route"),
        ({"reachable": True, "msg": "the module broke off"}, "the module broke off"),
    ])
    def test_a_host_that_does_not_answer_refuses_with_its_name(self, platform, answer, why):
        platform.answers["east-db2"] = answer
        verdict = platform.decide(data_storage_restart_limit=["east-db1"])
        assert verdict["result"] == "refused" and "east-db2" in verdict["reason"] and why in verdict["reason"]
        assert not verdict.get("waves")

    def test_a_cluster_that_nobody_tells_refuses(self, platform):
        platform.answers["east-db1"].update(view=None, problem="No node tells the topology of the cluster.")
        assert platform.decide()["reason"] == "east: No node tells the topology of the cluster."

    def test_data_of_another_node_on_the_disk_refuses(self, platform):
        platform.answers["east-db3"]["node_ids"] = [EAST.nodes[0].id]
        assert "east-db3 holds the data of %s" % EAST.nodes[0].id in platform.decide()["reason"]

    def test_a_run_goes_on_where_it_stopped(self, platform):
        platform.answers["east-db1"]["age_s"] = 500.0
        platform.answers["east-db2"]["age_s"] = 20.0
        behind(platform.views["east"], 1, 0, 45.0)
        verdict = platform.decide(since=NOW - 600)
        assert verdict["done_hosts"] == ["east-db1"]
        assert [(wave["hosts"], wave["settle_only"]) for wave in verdict["waves"]] == [
            (["east-db2"], True), (["east-db3"], False)]
        # The same lag of a node that this run did not restart refuses.
        assert platform.decide(since=NOW)["result"] == "refused"

    def test_when_all_are_done_nothing_is_restarted(self, platform):
        for answer in platform.answers.values():
            answer["age_s"] = 100.0
        verdict = platform.decide(since=NOW - 600)
        assert verdict["result"] == "nothing_to_do" and "2023-11-14 22:03:20Z" in verdict["reason"]


class TestBegun:
    def journal(self, tmp_path, name, records, parameters=None, check_mode=False):
        path = tmp_path / ("data_storage_restart-%s.jsonl" % name)
        first = {"type": "begin", "started": name, "check_mode": check_mode,
                 "parameters": dict(PARAMS, **(parameters or {}))}
        path.write_text("".join(json.dumps(record) + "\n" for record in [first, *records]))
        return path

    def begun(self, tmp_path, started="2026-11-26T10:00:00.000Z", **parameters):
        run = {"started": started, "journal": str(self.journal(tmp_path, started, [], parameters)),
               "parameters": dict(PARAMS, **parameters)}
        return storage_restart.begun(run) - storage_restart.epoch(started)

    PROCEED = {"type": "verdict", "result": "proceed"}
    STOP = {"type": "stop", "reason": "x", "result": "failed"}

    def test_a_first_run_begins_now(self, tmp_path):
        assert self.begun(tmp_path) == 0.0

    @pytest.mark.parametrize("records", [[PROCEED, STOP], [PROCEED]], ids=["stopped", "killed"])
    def test_an_unfinished_run_is_continued(self, tmp_path, records):
        self.journal(tmp_path, "2026-11-26T09:00:00.000Z", records)
        assert self.begun(tmp_path) == -3600.0

    def test_a_chain_of_unfinished_runs_keeps_its_begin(self, tmp_path):
        since = storage_restart.epoch("2026-11-26T08:00:00.000Z")
        self.journal(tmp_path, "2026-11-26T09:00:00.000Z", [{"type": "fact", "key": "since", "value": since},
                                                            self.PROCEED, self.STOP])
        assert self.begun(tmp_path) == -7200.0

    def test_a_finished_run_is_not_continued_and_hides_older_ones(self, tmp_path):
        self.journal(tmp_path, "2026-11-26T08:00:00.000Z", [self.PROCEED, self.STOP])
        self.journal(tmp_path, "2026-11-26T09:00:00.000Z", [self.PROCEED, {"type": "completed"}])
        assert self.begun(tmp_path) == 0.0

    def test_refused_and_rehearsed_runs_are_passed_over(self, tmp_path):
        self.journal(tmp_path, "2026-11-26T08:00:00.000Z", [self.PROCEED, self.STOP])
        self.journal(tmp_path, "2026-11-26T09:00:00.000Z", [{"type": "verdict", "result": "refused"}, self.STOP])
        self.journal(tmp_path, "2026-11-26T09:30:00.000Z", [self.PROCEED, {"type": "completed"}], check_mode=True)
        assert self.begun(tmp_path) == -7200.0

    def test_another_limit_is_another_run_and_a_day_ends_one(self, tmp_path):
        self.journal(tmp_path, "2026-11-26T09:00:00.000Z", [self.PROCEED, self.STOP])
        assert self.begun(tmp_path, data_storage_restart_limit=["east"]) == 0.0
        assert self.begun(tmp_path, "2026-11-27T09:00:01.000Z") == 0.0

    def test_a_torn_journal_is_passed_over(self, tmp_path):
        (tmp_path / "data_storage_restart-2026-11-26T09:00:00.000Z.jsonl").write_text('{"type": "beg')
        assert self.begun(tmp_path) == 0.0
