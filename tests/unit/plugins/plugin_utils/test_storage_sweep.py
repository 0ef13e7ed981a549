# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import json
import os
import sys

import pytest

from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput
from ansible_collections.circonus.inside.plugins.plugin_utils import failover, storage_restart, storage_sweep

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "module_utils"))
from storage_views import OTHER, behind, cluster, silent
from test_storage_restart import EAST, NOW
from test_storage_restart import Platform as Clusters

IDLE = {kind: {"running": False, "cancelling": False, "timestamp": None, "current": "", "rollups": "all"}
        for kind in ("nnt", "text", "histogram")}
PARAMS = {
    "data_storage_sweep_before": "2019-01-01", "data_storage_sweep_state": "swept", "data_storage_sweep_types": ["nnt"],
    "data_storage_sweep_nnt_rollups": [], "data_storage_sweep_histogram_rollups": [], "data_storage_sweep_limit": [],
    "data_storage_sweep_parallel": "one", "data_storage_sweep_repeat": False, "circonus_lock_break": None,
    "circonus_confirm": "data_storage:2019-01-01",
}


class Platform(Clusters):
    """Sites whose nodes would all begin a sweep."""

    def __init__(self, **clusters):
        super().__init__(**clusters)
        self.looks = {host: {"reachable": True, "action": "start", "status": IDLE, "ended": None,
                             "types": {"nnt": [60, 300], "text": [], "histogram": [60]}} for host in self.answers}

    def sweep(self, run=None, **params):
        run = dict(run or {}, controller="me", parameters=dict(PARAMS, **params))
        situation = failover.Situation(self.sites, {}, {})
        return storage_sweep.verdict(situation, self.answers, self.looks, run["parameters"], run, NOW)


@pytest.fixture
def platform():
    return Platform()


def refused(verdict, *words):
    assert verdict["result"] == "refused" and not verdict.get("waves"), verdict
    for word in words:
        assert word in verdict["reason"], verdict["reason"]


class TestMoment:
    @pytest.mark.parametrize("text, expected", [
        ("2019-01-01", 1546300800), ("2019-01-01T06:00:00Z", 1546322400), ("2019-01-01 06:00:00Z", 1546322400)])
    def test_utc(self, text, expected):
        assert storage_sweep.moment(text) == expected

    @pytest.mark.parametrize("text", [
        None, "", "1546300800", "2019-13-01", "2019-02-30", "2019-01-01T06:00:00", "01.01.2019", "yesterday",
        "2019-01-01T06:00:00+01:00", "2019-01-01T25:00:00Z", "2019-01-01\n"])
    def test_nothing_but_a_whole_date(self, text):
        with pytest.raises(BadInput, match="Expected a date in UTC as data_storage_sweep_before"):
            storage_sweep.moment(text)


class TestVerdict:
    def test_one_node_after_the_other_with_what_it_is_told(self, platform):
        verdict = platform.sweep(data_storage_sweep_types=["nnt", "text"], data_storage_sweep_nnt_rollups=["60"])
        assert verdict["result"] == "proceed" and [wave["hosts"] for wave in verdict["waves"]] == [
            ["east-db1"], ["east-db2"], ["east-db3"]]
        assert verdict["waves"][1]["args"] == {"east-db2": {
            "state": "swept", "before": 1546300800, "types": ["nnt", "text"], "nnt_rollups": [60],
            "histogram_rollups": [], "host": "192.0.2.32", "node": EAST.nodes[1].id, "name": "east-db2"}}
        assert all(wave["settle"] and wave["watch"] == "east-db1" for wave in verdict["waves"])
        assert verdict["plan"][0] == "Sweep east-db1: nnt of 60 s, all text older than 2019-01-01 00:00:00Z"
        assert verdict["reason"] == (
            "Sweep nnt of 60 s, all text older than 2019-01-01 00:00:00Z on 3 data_storage nodes.")
        assert "comes back only by a rebuild" in verdict["warnings"][0]

    def test_the_plan_names_the_periods_of_each_node(self, platform):
        platform.looks["east-db2"]["types"]["nnt"] = [60, 300, 10800]
        plan = platform.sweep()["plan"]
        assert "nnt of 60 and 300 s older" in plan[0] and "nnt of 60, 300 and 10800 s older" in plan[1]

    def test_a_whole_cluster_at_once_by_choice(self):
        platform = Platform(east=EAST, west=cluster(4))
        waves = platform.sweep(data_storage_sweep_parallel="cluster")["waves"]
        assert [len(wave["hosts"]) for wave in waves] == [3, 4]

    def test_goes_on_where_it_stopped(self, platform):
        platform.looks["east-db1"].update(action="done", ended=NOW - 60)
        platform.looks["east-db2"].update(action="follow")
        verdict = platform.sweep()
        assert [wave["hosts"] for wave in verdict["waves"]] == [["east-db2"], ["east-db3"]]
        assert verdict["plan"][0] == "east-db1 has swept for that already, it ended at 2023-11-14 22:12:20Z."
        assert verdict["plan"][1].startswith("Follow the sweep that runs on east-db2 already: nnt of 60 and 300 s")
        assert "on 2 data_storage nodes" in verdict["reason"]
        for look in platform.looks.values():
            look.update(action="done", ended=NOW - 60)
        assert platform.sweep()["result"] == "nothing_to_do"

    def test_a_cluster_with_one_copy_is_not_waited_for(self):
        verdict = Platform(east=cluster(3, 1)).sweep()
        assert verdict["result"] == "proceed" and not any(wave["settle"] for wave in verdict["waves"])

    def test_no_data_storage(self, platform):
        platform.sites["east"]["raw"]["svclist"] = {}
        assert platform.sweep()["result"] == "nothing_to_do"


class TestRefusals:
    def test_without_the_date_that_was_typed_twice(self, platform):
        refused(platform.sweep(circonus_confirm="data_storage"), "must be data_storage:2019-01-01",
                "found data_storage. Nothing was changed.")
        refused(platform.sweep(circonus_confirm="data_storage:2018-01-01"), "found data_storage:2018-01-01")
        refused(platform.sweep(circonus_confirm=None), "found nothing")

    def test_a_date_in_the_future_or_none(self, platform):
        future = {"data_storage_sweep_before": "2024-01-01", "circonus_confirm": "data_storage:2024-01-01"}
        refused(platform.sweep(**future), "Expected a date in the past", "2024-01-01 00:00:00Z; it is 2023-11-14")
        refused(platform.sweep(data_storage_sweep_before=None), "Expected a date in UTC")

    @pytest.mark.parametrize("params, why", [
        ({"types": ["words"]}, "found words"), ({"types": []}, "found none"),
        ({"types": ["text"], "nnt_rollups": [60]}, "data_storage_sweep_nnt_rollups names rollups, but nnt is not"),
        ({"histogram_rollups": [60]}, "data_storage_sweep_histogram_rollups"), ({"nnt_rollups": ["1m"]}, "found 1m"),
    ])
    def test_types_and_rollups(self, platform, params, why):
        refused(platform.sweep(**{"data_storage_sweep_" + key: value for key, value in params.items()}), why)

    def test_single_hosts_of_a_cluster(self, platform):
        refused(platform.sweep(data_storage_sweep_limit=["east-db1"]), "must name sites", "(east), found east-db1")

    def test_what_a_node_refuses(self, platform):
        platform.looks["east-db1"] = {"reachable": True, "msg": "no answer"}
        platform.looks["east-db3"] = {"reachable": True, "refused": True, "msg": "east-db3 (v1/2) has no delete sweep."}
        refused(platform.sweep(), "east-db3 (v1/2) has no delete sweep.")
        del platform.looks["east-db3"]
        refused(platform.sweep(), "Expected east-db1 to tell of its sweep, found none: no answer")

    def test_an_unsettled_cluster(self, platform):
        behind(platform.views["east"], 1, 0, 45.0)
        refused(platform.sweep(), "db2 is 45 s behind db1")

    @pytest.mark.parametrize("spoil, why", [
        (lambda view: silent(view, 2, "refused"), "db3 is down"),
        (lambda view: view["answers"][EAST.nodes[2].id].update(rebuilding=True), "A reconstitute is running"),
        (lambda view: view["answers"][EAST.nodes[2].id]["state"].update(current=OTHER), "db3 has the topology ffff"),
    ])
    def test_every_node_has_to_be_whole(self, platform, spoil, why):
        spoil(platform.views["east"])
        refused(platform.sweep(), why)

    def test_a_host_that_does_not_answer(self, platform):
        platform.answers["east-db2"] = {"reachable": False, "msg": "no route"}
        refused(platform.sweep(), "Expected an answer of east-db2", "no route")

    def test_data_of_another_node_on_the_disk(self, platform):
        platform.answers["east-db3"]["node_ids"] = [EAST.nodes[0].id]
        refused(platform.sweep(), "east-db3 holds the data of")

    def test_a_cluster_that_is_not_swept_decides_nothing(self):
        platform = Platform(east=EAST, west=cluster(4))
        platform.answers["west-db2"] = {"reachable": False, "msg": "no route"}
        assert platform.sweep(data_storage_sweep_limit=["east"])["result"] == "proceed"


class TestCancel:
    def test_wants_no_date_no_confirmation_and_no_settled_cluster(self, platform):
        platform.looks["east-db2"].update(action="cancel", status=dict(IDLE, nnt=dict(IDLE["nnt"], running=True)))
        platform.looks["east-db1"].update(action="none")
        platform.looks["east-db3"] = {"reachable": False, "msg": "no route."}
        silent(platform.views["east"], 2, "refused")
        verdict = platform.sweep(data_storage_sweep_state="cancelled", data_storage_sweep_before=None,
                                 circonus_confirm=None)
        assert verdict["result"] == "proceed" and verdict["state"] == "cancelled" and verdict["lock_hosts"] == []
        assert verdict["hosts"] == ["east-db1", "east-db2", "east-db3"]
        assert verdict["plan"][1] == "Cancel the sweep of east-db2 (nnt)"
        assert "does not tell of its sweep (no route)" in verdict["plan"][2]
        assert verdict["args"]["east-db2"] == {"state": "cancelled", "host": "192.0.2.32", "name": "east-db2",
                                               "node": EAST.nodes[1].id}

    def test_is_whole_when_every_node_says_so(self):
        good = {"finished": True}
        assert storage_sweep.cancelled(["a", "b"], {"a": good, "b": good}) is None
        text = storage_sweep.cancelled(["a", "b", "c"], {"a": good, "b": {"msg": "no route."}, "c": None})
        assert text == ("Expected no sweep on any node any more, b, c may still sweep: no route. Run the same command "
                        "again.")


class TestQuestions:
    def test_a_repeated_sweep_counts_what_was_swept_since_it_began(self, platform, tmp_path):
        params = dict(PARAMS, data_storage_sweep_repeat=True)

        def run(stamp, *records):
            path = tmp_path / ("data_storage_sweep-%s.jsonl" % stamp)
            begin = {"type": "begin", "started": stamp, "check_mode": False, "parameters": params}
            path.write_text("".join(json.dumps(record) + "\n" for record in (begin, *records)))
            return {"started": stamp, "journal": str(path), "parameters": params}

        def age(given):
            now = storage_restart.epoch("2026-11-26T10:01:00.000Z")
            return storage_sweep.questions(platform.sites, given, now)["east-db1"]["max_age"]

        assert age(run("2026-11-26T10:00:00.000Z")) == 60.0
        run("2026-11-26T09:00:00.000Z", {"type": "verdict", "result": "proceed"})
        assert age(run("2026-11-26T10:00:00.000Z")) == 3660.0
        run("2026-11-26T09:00:00.000Z", {"type": "verdict", "result": "proceed"}, {"type": "completed"})
        assert age(run("2026-11-26T10:00:00.000Z")) == 60.0
        assert "max_age" not in storage_sweep.questions(platform.sites, {"parameters": PARAMS}, 0.0)["east-db1"]
