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
          "data_storage_restart_settle_s": 1800.0, "data_storage_restart_how": "service",
          "data_storage_restart_only": "all", "data_storage_restart_active_too": False,
          "data_storage_restart_boot_s": 1800,
          "circonus_confirm": "data_storage", "circonus_lock_break": None}


class Platform:
    """Sites with a cluster each, and what their hosts answered: all is green."""

    def __init__(self, **clusters):
        self.clusters = clusters or {"east": EAST}
        self.sites, self.answers, self.views, self.probes, self.local = {}, {}, {}, {}, []
        for name, given in self.clusters.items():
            hosts = {"%s-db%d" % (name, at): node for at, node in enumerate(given.nodes, 1)}
            self.sites[name] = {"hosts": list(hosts), "active": True, "raw": {
                "svclist": {"data_storage": {"_machlist": list(hosts)}},
                "machinfo": {host: {"node_id": node.id, "ip_address": node.address} for host, node in hosts.items()},
            }}
            for host, node in hosts.items():
                self.answers[host] = {"reachable": True, "node_ids": [node.id], "unit": "circonus-snowth",
                                      "active": "active", "age_s": 86400.0, "problem": "", "view": None, "topology": "",
                                      "enabled": "enabled", "booted_s": 864000.0, "package_changed": False,
                                      "package_reason": "snowthd runs since then"}
            first = self.answers[next(iter(hosts))]
            self.views[name] = first["view"] = green(given)
            first["topology"] = topology.write_xml(given)

    def also(self, host, role, **probe):
        """Another role of a host, and what it tells of it."""
        services = self.sites[host.split("-")[0]]["raw"]["svclist"]
        services.setdefault(role, {"_machlist": []})["_machlist"].append(host)
        self.probes[host] = dict({"reachable": True}, **probe)

    def decide(self, since=NOW, **params):
        for view in self.views.values():
            view["reasons"] = irondb_gate.gate(view)
        situation = failover.Situation(self.sites, self.probes, {})
        run = {"controller": "me", "local": self.local}
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


class TestReboot:
    REBOOT = {"data_storage_restart_how": "reboot"}

    def test_the_plan_says_what_goes_down_and_each_wave_how(self, platform):
        platform.also("east-db3", "long_tail_storage")
        verdict = platform.decide(**self.REBOOT)
        assert verdict["plan"] == [
            "Reboot east-db1 and wait until every node is green", "Reboot east-db2 and wait until every node is green",
            "Reboot east-db3 and wait until every node is green; long_tail_storage of east-db3 goes down with it"]
        assert all(wave["how"] == "reboot" and wave["pace"]["boot_s"] == 1800 for wave in verdict["waves"])
        assert verdict["reason"] == "3 data_storage nodes, about 21 min."
        assert verdict["done"].startswith("3 data_storage nodes rebooted one after another;")
        alone = platform.decide(data_storage_restart_limit=["east-db1"], **self.REBOOT)
        assert alone["done"].startswith("1 data_storage node rebooted;")
        usual = platform.decide()
        assert all(wave["how"] == "service" and "boot_s" not in wave["pace"] for wave in usual["waves"])
        assert usual["plan"][2] == "Restart east-db3 and wait until every node is green"

    def test_a_run_goes_on_with_the_hosts_that_were_not_booted(self, platform):
        for answer in platform.answers.values():
            answer["age_s"] = 30.0  # a restart of the service is no reboot
        platform.answers["east-db1"]["booted_s"] = 300.0
        verdict = platform.decide(since=NOW - 600, **self.REBOOT)
        assert verdict["done_hosts"] == ["east-db1"] and [wave["hosts"] for wave in verdict["waves"]] == [
            ["east-db2"], ["east-db3"]]
        assert "east-db1 was rebooted in this run and has settled." in verdict["plan"]
        platform.answers["east-db2"]["booted_s"] = platform.answers["east-db3"]["booted_s"] = 100.0
        verdict = platform.decide(since=NOW - 600, **self.REBOOT)
        assert verdict["result"] == "nothing_to_do" and "Every node was rebooted since" in verdict["reason"]

    def refused(self, platform, *words, **params):
        verdict = platform.decide(**dict(self.REBOOT, **params))
        assert verdict["result"] == "refused" and not verdict.get("waves"), verdict
        assert all(word in verdict["reason"] for word in words), verdict["reason"]

    @pytest.mark.parametrize("state", ["disabled", "masked", ""])
    def test_a_node_that_would_stay_down_refuses(self, platform, state):
        platform.answers["east-db2"]["enabled"] = state
        self.refused(platform, "circonus-snowth on east-db2 does not start with its host (%s)" % (state or "not known"))
        assert platform.decide()["result"] == "proceed"

    @pytest.mark.parametrize("database", [{"running": True, "in_recovery": False}, {"running": False}, None])
    def test_the_primary_of_the_database_or_what_may_be_it_refuses(self, platform, database):
        platform.also("east-db2", "web_db", **({"web_db": database} if database else {}))
        self.refused(platform, "east-db2 holds the primary of web_db", "data_storage_restart_active_too=true")
        # It may be chosen, is no matter of another host, and none of a restart of the service.
        chosen = platform.decide(data_storage_restart_active_too=True, **self.REBOOT)
        assert chosen["result"] == "proceed" and "east-db2 holds the primary of web_db" in chosen["warnings"][0]
        assert platform.decide(data_storage_restart_limit=["east-db1"], **self.REBOOT)["result"] == "proceed"
        assert platform.decide()["result"] == "proceed"

    @pytest.mark.parametrize("state", ["active", "activating", "unknown", None])
    def test_so_does_the_active_authority(self, platform, state):
        platform.also("east-db2", "ca", **({"ca": {"processor": state}} if state else {}))
        self.refused(platform, "east-db2 holds the active CA", "data_storage_restart_active_too=true")

    def test_standbys_are_rebooted(self, platform):
        platform.also("east-db2", "web_db", web_db={"running": True, "in_recovery": True}, ca={"processor": "inactive"})
        platform.sites["east"]["raw"]["svclist"]["ca"] = {"_machlist": ["east-db2"]}
        verdict = platform.decide(**self.REBOOT)
        assert verdict["result"] == "proceed" and "; ca and web_db of east-db2 go down with it" in verdict["plan"][1]

    def test_this_machine_is_not(self, platform):
        platform.local = ["east-db3"]
        self.refused(platform, "east-db3 is reached by a local connection")


class TestChanged:
    CHANGED = {"data_storage_restart_only": "changed"}

    @staticmethod
    def change(platform, host, state=True, reason="the program was changed at noon"):
        platform.answers[host].update(package_changed=state, package_reason=reason)

    def test_only_nodes_whose_package_changed_and_the_plan_says_why(self, platform):
        self.change(platform, "east-db2")
        verdict = platform.decide(**self.CHANGED)
        assert [wave["hosts"] for wave in verdict["waves"]] == [["east-db2"]]
        assert verdict["plan"] == [
            "Restart east-db2 and wait until every node is green; on east-db2 the program was changed at noon",
            "east-db1 is left alone: snowthd runs since then.", "east-db3 is left alone: snowthd runs since then."]
        verdict = platform.decide(data_storage_restart_how="reboot", **self.CHANGED)
        assert verdict["plan"][0].startswith("Reboot east-db2") and verdict["waves"][0]["how"] == "reboot"

    def test_no_changed_node_is_nothing_to_do(self, platform):
        verdict = platform.decide(**self.CHANGED)
        assert verdict["result"] == "nothing_to_do" and not verdict["waves"]
        assert verdict["reason"] == "Every node runs the snowthd that is installed."

    def test_what_is_not_known_refuses_and_is_never_unchanged(self, platform):
        self.change(platform, "east-db2")
        self.change(platform, "east-db3", None, "/proc/12/exe cannot be read")
        verdict = platform.decide(**self.CHANGED)
        assert verdict["result"] == "refused" and not verdict.get("waves")
        assert "east-db3" in verdict["reason"] and "found: /proc/12/exe cannot be read." in verdict["reason"]
        # It says nothing of the hosts that are not wanted.
        limit = {"data_storage_restart_limit": ["east-db2"]}
        assert platform.decide(**dict(limit, **self.CHANGED))["result"] == "proceed"
        del platform.answers["east-db2"]["package_changed"]
        assert platform.decide(**dict(limit, **self.CHANGED))["result"] == "refused"

    def test_a_node_that_this_run_restarted_is_done_or_still_settles(self, platform):
        self.change(platform, "east-db3")
        platform.answers["east-db1"]["age_s"], platform.answers["east-db2"]["age_s"] = 500.0, 20.0
        behind(platform.views["east"], 1, 0, 45.0)
        verdict = platform.decide(since=NOW - 600, **self.CHANGED)
        assert verdict["done_hosts"] == ["east-db1"]
        assert [(wave["hosts"], wave["settle_only"]) for wave in verdict["waves"]] == [
            (["east-db2"], True), (["east-db3"], False)]
        assert not any("left alone" in line for line in verdict["plan"])

    def test_a_node_whose_package_changed_after_its_restart_is_restarted_again(self, platform):
        self.change(platform, "east-db1")
        platform.answers["east-db1"]["age_s"] = 20.0
        assert [wave["hosts"] for wave in platform.decide(since=NOW - 600, **self.CHANGED)["waves"]] == [["east-db1"]]

    def test_hosts_are_asked_for_it(self, platform):
        asked = storage_restart.questions(platform.sites, [], package=True)
        assert all(question["package"] for question in asked.values())
        assert not any("package" in question for question in storage_restart.questions(platform.sites, []).values())


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
        return storage_restart.begun(run, same=storage_restart.SAME) - storage_restart.epoch(started)

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

    def test_a_run_with_nothing_left_to_do_ended_the_one_that_it_continued(self, tmp_path):
        self.journal(tmp_path, "2026-11-26T08:00:00.000Z", [self.PROCEED])
        self.journal(tmp_path, "2026-11-26T09:00:00.000Z", [{"type": "verdict", "result": "nothing_to_do"}])
        assert self.begun(tmp_path) == 0.0

    def test_refused_and_rehearsed_runs_are_passed_over(self, tmp_path):
        self.journal(tmp_path, "2026-11-26T08:00:00.000Z", [self.PROCEED, self.STOP])
        self.journal(tmp_path, "2026-11-26T09:00:00.000Z", [{"type": "verdict", "result": "refused"}, self.STOP])
        self.journal(tmp_path, "2026-11-26T09:30:00.000Z", [self.PROCEED, {"type": "completed"}], check_mode=True)
        assert self.begun(tmp_path) == -7200.0

    def test_another_limit_is_another_run_and_a_day_ends_one(self, tmp_path):
        self.journal(tmp_path, "2026-11-26T09:00:00.000Z", [self.PROCEED, self.STOP])
        assert self.begun(tmp_path, data_storage_restart_limit=["east"]) == 0.0
        assert self.begun(tmp_path, data_storage_restart_how="reboot") == 0.0
        assert self.begun(tmp_path, data_storage_restart_only="changed") == 0.0
        assert self.begun(tmp_path, "2026-11-27T09:00:01.000Z") == 0.0

    def test_a_torn_journal_is_passed_over(self, tmp_path):
        (tmp_path / "data_storage_restart-2026-11-26T09:00:00.000Z.jsonl").write_text('{"type": "beg')
        assert self.begun(tmp_path) == 0.0
