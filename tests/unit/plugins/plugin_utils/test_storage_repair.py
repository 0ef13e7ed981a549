# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import os
import sys

import pytest

from ansible_collections.circonus.inside.plugins.module_utils import topology
from ansible_collections.circonus.inside.plugins.plugin_utils import failover, storage_repair

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "module_utils"))
from storage_views import behind, cluster, green, silent

NOW = 1700000000.0
UNIT = "circonus-snowth"
PARAMS = {"data_storage_repair_limit": [], "data_storage_repair_targets": [], "data_storage_repair_timeout_s": 100,
          "data_storage_repair_start_s": 10, "data_storage_repair_settle_s": 1000, "circonus_lock_ttl_s": 1800,
          "circonus_confirm": None, "circonus_lock_break": None}
DAEMON = {"pid": 5, "kind": "daemon", "target": "", "command": "snowthd -D -D", "unit": UNIT, "started": NOW - 9000}


def complaint(store, state="damaged", at=NOW - 60, why=""):
    return {"store": store, "target": store if "/" in store else "", "state": state, "at": at, "log": "errorlog",
            "line": "Corruption in " + store, "why": why, "mended": False}


class Platform:
    """One site whose nodes are green and whose logs are clean."""

    def __init__(self, number=3, copies=2):
        self.given = cluster(number, copies)
        self.hosts = ["east-db%d" % at for at in range(1, number + 1)]
        self.node = dict(zip(self.hosts, self.given.nodes, strict=True))
        self.sites = {"east": {"hosts": self.hosts, "active": True, "raw": {
            "svclist": {"data_storage": {"_machlist": self.hosts}},
            "machinfo": {host: {"node_id": node.id, "ip_address": node.address} for host, node in self.node.items()},
        }}}
        self.view = green(self.given)
        self.probes = {host: {"reachable": True, "node_ids": [node.id], "unit": UNIT, "active": "active",
                              "view": None, "topology": ""} for host, node in self.node.items()}
        self.looks = {host: {"reachable": True, "node": node.id, "unit": UNIT, "active": "active", "serving": True,
                             "problem": "", "processes": [dict(DAEMON)], "targets": ["text/metrics"], "stores": []}
                      for host, node in self.node.items()}
        self.probes["east-db1"].update(view=self.view, topology=topology.write_xml(self.given))

    def damaged(self, host, *stores, down=True, state="damaged"):
        self.looks[host]["stores"] = [complaint(store, state) for store in stores]
        if down:
            self.down(host)

    def down(self, host):
        self.looks[host].update(active="failed", serving=False, processes=[], problem="refused")
        silent(self.view, self.hosts.index(host), "refused")

    def decide(self, check=False, **params):
        situation = failover.Situation(self.sites, {}, {})
        return storage_repair.verdict(situation, self.probes, self.looks, dict(PARAMS, **params),
                                      {"controller": "me", "check_mode": check}, [UNIT], NOW)


@pytest.fixture
def platform():
    return Platform()


class TestQuestions:
    def test_several_hosts_read_the_cluster_and_each_its_own_log(self):
        asked = storage_repair.questions(Platform(5).sites, [UNIT])
        assert [host for host, question in asked.items() if question["probe"]["cluster"]] == [
            "east-db1", "east-db2", "east-db3"]
        assert asked["east-db4"]["damage"] == {
            "node": "a0000000-0000-4000-8000-000000000004", "units": [UNIT], "insist": []}
        asked = storage_repair.questions(Platform().sites, [UNIT], ["hist/60"])
        assert asked["east-db1"]["damage"]["insist"] == ["hist/60"]

    def test_a_host_without_an_id_is_not_asked_for_damage(self, platform):
        del platform.sites["east"]["raw"]["machinfo"]["east-db2"]["node_id"]
        assert storage_repair.questions(platform.sites, [UNIT])["east-db2"]["damage"] is None


class TestVerdict:
    def test_a_healthy_platform_is_left_alone_with_one_sentence_a_node(self, platform):
        verdict = platform.decide()
        assert verdict["result"] == "nothing_to_do"
        assert verdict["reason"].startswith("east-db1 is left alone: its log names no damaged store.")

    def test_a_node_that_is_down_for_another_reason_is_left_alone_and_named(self, platform):
        platform.down("east-db2")
        assert "east-db2 is left alone" in platform.decide()["reason"]
        assert "does not answer (refused), for another reason" in platform.decide()["reason"]

    def test_one_that_opened_after_its_complaint_is_named_with_it(self, platform):
        platform.damaged("east-db2", "hist/60", down=False, state="opened")
        reason = platform.decide()["reason"]
        assert "It opened after it had named hist/60 at 2023-11-14 22:12:20Z; to repair that nevertheless" in reason

    def test_a_node_that_does_not_open_is_repaired_without_asking_anybody(self, platform):
        platform.damaged("east-db2", "text/metrics", "hist/60")
        verdict = platform.decide(circonus_confirm="east-db2")
        wave = verdict["waves"][0]
        assert verdict["result"] == "proceed" and len(verdict["waves"]) == 1
        assert wave["hosts"] == ["east-db2"] and wave["targets"] == ["text/metrics", "hist/60"]
        assert not wave["ask"] and wave["settle"] and wave["watch"] == "east-db1"
        assert wave["addresses"][-1] == "192.0.2.32" and wave["digest"] == topology.digest(platform.given)
        assert wave["lock_s"] == 1800
        assert verdict["plan"][:4] == [
            "Repair text/metrics of east-db2: snowthd -r text/metrics",
            "Repair hist/60 of east-db2: snowthd -r hist/60",
            "Start east-db2 and prove that it opens", "Wait until every node of east is green"]
        assert "east-db1 is left alone" in verdict["plan"][4]
        assert verdict["reason"] == "Repair east-db2 (text/metrics, hist/60)."

    def test_one_that_runs_is_stopped_only_when_it_can_be_spared(self, platform):
        platform.damaged("east-db2", "text/metrics", down=False)
        verdict = platform.decide(circonus_confirm="east-db2")
        assert verdict["waves"][0]["ask"] and verdict["plan"][0] == "Stop east-db2, if its cluster can spare it"

    def test_those_that_are_down_come_first_and_the_cluster_settles_when_all_of_them_are_back(self):
        platform = Platform(5, 3)
        platform.damaged("east-db1", "text/metrics", down=False)
        platform.damaged("east-db4", "hist/60")
        platform.damaged("east-db5", "hist/60")
        waves = platform.decide(circonus_confirm="east-db5, east-db1,east-db4")["waves"]
        assert [(wave["hosts"][0], wave["ask"], wave["settle"]) for wave in waves] == [
            ("east-db4", False, False), ("east-db5", False, True), ("east-db1", True, True)]

    def test_a_repaired_one_is_only_started(self, platform):
        platform.damaged("east-db2", "text/metrics", state="repaired")
        verdict = platform.decide(circonus_confirm="east-db2")
        assert verdict["waves"][0]["targets"] == [] and verdict["plan"][0] == "Start east-db2 and prove that it opens"

    def test_nobody_waits_for_a_node_that_stays_down(self, platform):
        platform.damaged("east-db2", "text/metrics")
        platform.down("east-db3")
        verdict = platform.decide(circonus_confirm="east-db2")
        assert not verdict["waves"][0]["settle"] and "east-db3 does not answer" in verdict["warnings"][0]

    def test_a_cluster_where_all_are_down_is_repaired_node_by_node(self, platform):
        for host in platform.hosts:
            platform.damaged(host, "text/metrics")
        platform.probes["east-db1"].update(view=None)
        waves = platform.decide(circonus_confirm=",".join(platform.hosts))["waves"]
        assert [(wave["settle"], wave["digest"]) for wave in waves] == [(False, None), (False, None), (True, None)]

    def test_a_single_copy_never_settles_and_nobody_waits_for_it(self):
        platform = Platform(2, 1)
        platform.damaged("east-db2", "text/metrics")
        assert not platform.decide(circonus_confirm="east-db2")["waves"][0]["settle"]

    def test_another_host_reads_the_cluster_when_the_first_cannot(self, platform):
        platform.probes["east-db3"].update(view=platform.view, topology=platform.probes["east-db1"]["topology"])
        platform.probes["east-db1"] = {"reachable": False, "msg": "no route"}
        platform.damaged("east-db2", "text/metrics")
        verdict = platform.decide(circonus_confirm="east-db2", data_storage_repair_limit=["east-db2"])
        assert verdict["waves"][0]["watch"] == "east-db3" and verdict["waves"][0]["digest"]

    def test_a_long_repair_holds_the_lock_longer(self, platform):
        platform.damaged("east-db2", "text/metrics")
        verdict = platform.decide(circonus_confirm="east-db2", data_storage_repair_timeout_s=14400)
        assert verdict["waves"][0]["lock_s"] == 2 * 14400 + 30 + 1000


class TestConfirmation:
    @pytest.mark.parametrize("said", [None, "east-db1", "data_storage", "east-db2,east-db1", "all"])
    def test_says_what_to_type_and_changes_nothing(self, platform, said):
        platform.damaged("east-db2", "text/metrics")
        verdict = platform.decide(circonus_confirm=said)
        assert verdict["result"] == "refused" and "Nothing was changed." in verdict["reason"]
        assert "Damaged: east-db2 (text/metrics). circonus_confirm must be east-db2" in verdict["reason"]

    def test_a_rehearsal_needs_none(self, platform):
        platform.damaged("east-db2", "text/metrics")
        assert platform.decide(check=True)["result"] == "proceed"


class TestRefusals:
    def refused(self, verdict, *words):
        assert verdict["result"] == "refused" and not verdict.get("waves"), verdict
        for word in words:
            assert word in verdict["reason"]

    def test_damage_without_a_repair_names_the_procedure_that_fits(self, platform):
        platform.damaged("east-db2", "raw_db", state="beyond")
        platform.looks["east-db2"]["stores"][0]["why"] = "Rebuild it: data_storage_rebuild.yml."
        self.refused(platform.decide(circonus_confirm="east-db2"), "east-db2: No repair is documented", "raw_db",
                     "data_storage_rebuild.yml")

    def test_beside_it_nothing_else_is_repaired_but_may_be(self, platform):
        platform.damaged("east-db2", "nntbs", "text/metrics", state="beyond")
        platform.damaged("east-db3", "text/metrics")
        self.refused(platform.decide(circonus_confirm="east-db3"), "Leave it out by data_storage_repair_limit")
        verdict = platform.decide(circonus_confirm="east-db3", data_storage_repair_limit=["east-db3"])
        assert verdict["result"] == "proceed" and verdict["warnings"]

    @pytest.mark.parametrize("targets", [["raw"], ["text"], ["hist/0"], ["text/metrics", "nntbs"]])
    def test_a_target_that_no_document_knows(self, platform, targets):
        self.refused(platform.decide(data_storage_repair_targets=targets),
                     "must be of text/metrics, text/changelog, hist/metrics, hist/<period>")

    @pytest.mark.parametrize("targets", [["hist/60"], ["text/metrics", "hist/60"]])
    def test_other_targets_than_the_log_names(self, platform, targets):
        platform.damaged("east-db2", "text/metrics")
        self.refused(platform.decide(circonus_confirm="east-db2", data_storage_repair_targets=targets),
                     "must be what the log of east-db2 names (text/metrics)")

    def test_those_that_are_repaired_already_may_be_named_or_not(self, platform):
        platform.damaged("east-db2", "text/metrics", "hist/60")
        platform.looks["east-db2"]["stores"][1]["state"] = "repaired"
        for targets in (["text/metrics"], ["text/metrics", "hist/60"]):
            verdict = platform.decide(circonus_confirm="east-db2", data_storage_repair_targets=targets)
            assert verdict["result"] == "proceed" and verdict["waves"][0]["targets"] == ["text/metrics"]
        assert platform.decide(check=True)["reason"] == "Repair east-db2 (text/metrics)."

    def test_targets_on_a_healthy_platform(self, platform):
        self.refused(platform.decide(data_storage_repair_targets=["hist/60"]), "names no damaged store")

    def test_but_not_once_they_are_repaired(self, platform):
        platform.damaged("east-db2", "hist/60", down=False, state="opened")
        platform.looks["east-db2"]["stores"][0]["mended"] = True
        verdict = platform.decide(data_storage_repair_targets=["hist/60"])
        assert verdict["result"] == "nothing_to_do" and "east-db2 is left alone" in verdict["reason"]

    def test_an_unknown_host(self, platform):
        self.refused(platform.decide(data_storage_repair_limit=["db9"]), "must name hosts of the role", "db9")

    @pytest.mark.parametrize("answer, why", [
        ({"reachable": False, "msg": "no route."}, "Expected an answer of east-db2, found none: no route."),
        (None, "it is not in this play"), ({"reachable": True, "msg": "the module broke off"}, "the module broke off")])
    def test_a_host_that_does_not_answer(self, platform, answer, why):
        platform.looks["east-db2"] = answer
        self.refused(platform.decide(), why)
        assert platform.decide(data_storage_repair_limit=["east-db1"])["result"] == "nothing_to_do"

    def test_no_node_id_in_site_json(self, platform):
        platform.sites["east"]["raw"]["machinfo"]["east-db2"]["node_id"] = "db2"
        self.refused(platform.decide(), "east-db2 has no valid node_id")

    @pytest.mark.parametrize("found, why", [(["x"], "holds the data of x"), (None, "was not read")])
    def test_the_disk_of_another_node(self, platform, found, why):
        platform.damaged("east-db2", "text/metrics")
        platform.probes["east-db2"]["node_ids"] = found
        self.refused(platform.decide(circonus_confirm="east-db2"), "east-db2", why)

    def test_swapped_ids_in_site_json(self, platform):
        machines = platform.sites["east"]["raw"]["machinfo"]
        machines["east-db2"], machines["east-db3"] = machines["east-db3"], machines["east-db2"]
        platform.damaged("east-db2", "text/metrics")
        self.refused(platform.decide(circonus_confirm="east-db2"), "east-db2")

    @pytest.mark.parametrize("kind, unit, words", [
        ("rebuild", "", "rebuilds the node"), ("daemon", "", "runs outside of circonus-snowth")])
    def test_somebody_else_works_on_the_store(self, platform, kind, unit, words):
        platform.damaged("east-db2", "text/metrics")
        platform.looks["east-db2"]["processes"] = [dict(DAEMON, kind=kind, unit=unit)]
        self.refused(platform.decide(circonus_confirm="east-db2"), "east-db2", words)

    def test_no_data_storage_at_all(self, platform):
        platform.sites["east"]["raw"]["svclist"] = {}
        assert platform.decide()["result"] == "nothing_to_do"


class TestSettling:
    """A run that was cut off after the start of a repaired node only waits."""

    def test_waits_for_a_node_that_opened_again_and_is_behind(self, platform):
        platform.damaged("east-db2", "text/metrics", down=False, state="opened")
        behind(platform.view, 1, 0, 50.0)
        verdict = platform.decide()
        assert [(wave["settle_only"], wave["settle"]) for wave in verdict["waves"]] == [(True, True)]
        assert verdict["plan"][0] == "Wait until east-db2 is green towards every other node"

    def test_but_not_for_one_that_is_behind_for_another_reason(self, platform):
        platform.damaged("east-db2", "text/metrics", down=False, state="opened")
        behind(platform.view, 2, 0, 50.0)
        assert platform.decide()["result"] == "nothing_to_do"
        platform.looks["east-db2"]["stores"][0]["at"] = NOW - 2 * 86400
        behind(platform.view, 2, 0, 0.0)
        behind(platform.view, 1, 0, 50.0)
        assert platform.decide()["result"] == "nothing_to_do"
