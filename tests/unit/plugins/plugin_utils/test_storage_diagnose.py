# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import copy
from pathlib import Path

import pytest
import yaml

from ansible_collections.circonus.inside.plugins.plugin_utils import storage_diagnose

ROOT = Path(__file__).resolve().parents[4]
META = yaml.safe_load((ROOT / "playbooks/data_storage_diagnose.meta.yml").read_text())["parameters"]
PARAMS = {name: spec.get("default") for name, spec in META.items()}
HOSTS = ["db1", "db2"]
SITES = {"east": {"hosts": HOSTS, "active": True, "raw": {
    "svclist": {"data_storage": {"_machlist": HOSTS}},
    "machinfo": {host: {"node_id": "a0000000-0000-4000-8000-00000000000%d" % at, "ip_address": "192.0.2.%d" % at}
                 for at, host in enumerate(HOSTS, 1)}}}}
NONE = {"count": 0, "last": None, "line": ""}
STORE = {"store": "hist/60", "state": "opened", "line": "x", "why": ""}
WELL = {"reachable": True, "now": 1700000000.0, "unread": {"pool": "zpool is not installed"}, "path": "/r/db.tar.gz"}
WELL["facts"] = {
    "load": {"busy_percent": 10.0, "iowait_percent": 1.0, "steal_percent": 0.0, "cpus": 4, "load": [0.5, 0.4, 0.3]},
    "memory": {"total_kb": 1000, "available_kb": 500, "available_percent": 50.0, "swap_used_kb": 0, "oom_kills": 0},
    "disks": [{"disk": "sda", "busy_percent": 3.0, "await_ms": 1.0}],
    "smart": [{"disk": "sda", "health": "PASSED", "uncorrected": 0, "reallocated": 0}],
    "space": {"mount": "/snowth", "free_bytes": 60, "total_bytes": 100, "free_inodes": 1, "total_inodes": 1},
    "watchdog": {"killed": NONE, "crashed": NONE, "gave_up": NONE}, "dumps": [],
    "store": {"serving": True, "problem": "", "stores": [STORE]},
}


def judge(changes=None, unread=None, **more):
    answer = copy.deepcopy(WELL)
    answer["unread"].update(unread or {})
    for path, value in (changes or {}).items():
        target, *rest = path.split(".")
        if rest:
            answer["facts"][target][rest[0]] = value
        else:
            answer["facts"][target] = value
    return storage_diagnose.evaluate(SITES, {"db1": copy.deepcopy(WELL), "db2": answer}, dict(PARAMS, **more))


class TestEvaluate:
    def test_a_healthy_cluster_has_no_findings(self):
        verdict = judge()
        assert verdict["findings"] == [] and verdict["unknown"] == []
        assert verdict["checked"] == {"hosts": 2, "of": 2, "roles": 2}
        assert verdict["evidence"] == {"db1": "/r/db.tar.gz", "db2": "/r/db.tar.gz"}

    @pytest.mark.parametrize("changes, finding", [
        ({"load.busy_percent": 90.0}, "storage_cpu"), ({"load.iowait_percent": 20.0}, "storage_iowait"),
        ({"memory.available_percent": 4.9}, "storage_memory"), ({"memory.oom_kills": 1}, "storage_oom"),
        ({"space.free_bytes": 30}, "storage_disk_full"),
        ({"disks": [{"disk": "sdb", "busy_percent": 95.0, "await_ms": 80.0}]}, "storage_disk_busy"),
        ({"smart": [{"disk": "sdb", "health": "PASSED", "uncorrected": 1}]}, "storage_disk_errors"),
        ({"smart": [{"disk": "sdb", "health": "FAILED!", "uncorrected": None}]}, "storage_disk_errors"),
        ({"pool": "  pool: data\n state: DEGRADED"}, "storage_pool"),
        ({"watchdog.killed": {"count": 3, "last": 1.0, "line": "watchdogged"}}, "storage_watchdog"),
        ({"watchdog.crashed": {"count": 1, "last": 1.0, "line": "crashed"}}, "storage_crash"),
        ({"watchdog.gave_up": {"count": 1, "last": 1.0, "line": "giving up"}}, "storage_gave_up"),
        ({"dumps": [{"path": "/opt/circonus/traces/1", "size": 1, "mtime": 1.0}]}, "storage_dumps"),
        ({"store.stores": [dict(STORE, state="damaged")]}, "storage_damaged"),
        ({"store.stores": [{"store": "", "state": "beyond", "line": "Corruption", "why": "Ask."}]}, "storage_beyond"),
        ({"store.serving": False}, "storage_silent"),
    ])
    def test_each_finding_names_its_host_and_what_to_do(self, changes, finding):
        verdict = judge(changes)
        assert [(item["id"], item["host"]) for item in verdict["findings"]] == [(finding, "db2")]
        assert verdict["findings"][0]["remedy"] and "{" not in verdict["findings"][0]["what"]

    @pytest.mark.parametrize("changes", [
        {"load.busy_percent": 89.9}, {"load.iowait_percent": 19.9}, {"memory.available_percent": 5.0},
        {"space.free_bytes": 31}, {"pool": "all pools are healthy"}, {"pool": "no pools available"},
        {"smart": [{"disk": "sdb", "health": "OK", "uncorrected": None}]}])
    def test_below_the_limit_is_none(self, changes):
        assert judge(changes)["findings"] == []

    def test_limits_are_parameters(self):
        assert judge(data_storage_diagnose_cpu_percent=5.0)["findings"][0]["id"] == "storage_cpu"

    def test_the_remedy_of_a_damaged_store_is_its_repair(self):
        verdict = judge({"store.stores": [dict(STORE, state="damaged")]})
        assert verdict["findings"][0]["remedy"] == (
            "data_storage_repair.yml -e data_storage_repair_limit=db2 -e circonus_confirm=db2")

    def test_no_smartctl_is_for_information(self):
        verdict = judge({"smart": None}, {"smart": "smartctl is not installed"})
        assert [item["id"] for item in verdict["findings"]] == ["storage_smart_missing"] and verdict["unknown"] == []

    def test_what_was_not_read_is_not_called_healthy(self):
        verdict = judge({"disks": None}, {"disks": "no answer within 30 s"})
        assert verdict["unknown"] == ["IO of the disks on db2: no answer within 30 s."]

    @pytest.mark.parametrize("answer, finding", [
        ({"reachable": False, "msg": "no route"}, "host_unreachable"),
        ({"reachable": True, "msg": "it broke off"}, "check_failed")])
    def test_a_host_that_gives_no_answer_is_a_finding(self, answer, finding):
        verdict = storage_diagnose.evaluate(SITES, {"db1": answer, "db2": None}, PARAMS)
        assert [item["id"] for item in verdict["findings"]] == [finding]
        assert "db2: it was not asked" in verdict["unknown"][0] and verdict["checked"]["hosts"] == 0


class TestQuestions:
    RUN = {"parameters": PARAMS, "report_dir": "/r", "run_id": "1"}

    def test_the_archive_lies_beside_the_report(self):
        asked = storage_diagnose.questions(SITES, ["circonus-snowth"], self.RUN)
        assert asked["db2"]["dest"] == "/r/evidence/1/db2.tar.gz" and asked["db2"]["deadline_s"] == 30.0
        assert asked["db2"]["node"] == "a0000000-0000-4000-8000-000000000002" and asked["db2"]["bundle"]

    def test_no_archive_when_none_is_wanted(self):
        run = dict(self.RUN, parameters=dict(PARAMS, data_storage_diagnose_evidence=False))
        assert "dest" not in storage_diagnose.questions(SITES, [], run)["db1"]
