# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""data_storage_repair.yml and data_storage_diagnose.yml run for real on hosts of this machine; what the hosts answer is
written by the test, and what would be done to them is written down instead."""
from __future__ import annotations

import json
import sys
import tarfile
from pathlib import Path

import pytest

from ansible_collections.circonus.inside.plugins.module_utils import lock

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "plugins/module_utils"))
from storage_platform import HOSTS, IDS, NEWEST, Platform
from storage_views import green

STUBS = {
    "irondb_damage": "def collect(params):\n    return _answer('damage.' + params['node'])\n",
    "irondb_repair": """
def carry_out(params):
    _told('repair', targets=params['targets'], node=params['node'])
    return {'changed': True, 'repaired': [], 'stores': [], 'serving': True, 'msg': 'repaired'}
""",
    "service": """
def operate(entry, verb, **more):
    _told(verb, service=entry['name'])
    return {'changed': True, 'verb': verb, 'service': entry['name'], 'units': [], 'actions': [], 'msg': verb}
""",
}


def look(host, **more):
    return dict({"node": IDS[host], "unit": "circonus-snowth", "active": "active", "serving": True, "problem": "",
                 "processes": [], "targets": [], "stores": []}, **more)


def complaint(store, state="damaged", why=""):
    return {"store": store, "target": store if "/" in store else "", "state": state, "at": 1.0, "line": "Corruption",
            "log": "errorlog", "why": why, "mended": False}


class Run(Platform):
    """A platform with three nodes, all of them well, and what came of a run."""

    def __init__(self, path):
        super().__init__(path, STUBS)
        for host in HOSTS:
            self.write("damage." + IDS[host], look(host))

    def play(self, playbook, *arguments, **variables):
        return self.run_playbook(playbook, green(self.given), arguments, variables)


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path)


class TestRepair:
    QUICK = {"data_storage_repair_pause_s": 0, "data_storage_repair_spacing_s": 0, "data_storage_repair_polls": 1}

    def test_one_node_after_the_other_and_those_that_are_down_first(self, run):
        run.write("damage." + IDS["store2"], look("store2", stores=[complaint("hist/60")]))
        down = look("store3", active="failed", serving=False, stores=[complaint("text/metrics")])
        run.write("damage." + IDS["store3"], down)
        code, output, report = run.play("data_storage_repair", circonus_confirm="store2,store3", **self.QUICK)
        assert code == 0 and report["result"] == "ok", output
        calls = [(call["call"], (call.get("nodes") or [call.get("node")])[0]) for call in run.calls()]
        assert calls == [("repair", IDS["store3"]), ("wait", IDS["store3"]), ("ask", IDS["store2"]), ("stop", None),
                         ("repair", IDS["store2"]), ("wait", IDS["store2"])]
        ask = next(call for call in run.calls() if call["call"] == "ask")
        assert not ask["strict"] and ask["redo_dir"] == "/snowth/redo"
        assert [step["name"] for step in report["steps"] if step["host"] == "store2"][-3:] == [
            "Prove that store2 may stop", "Stop data_storage", "Repair hist/60"]
        assert len(report["remaining"]) == 2 and "store1 is left alone" in output
        assert not lock.is_held(lock.read(str(run.told / "lock")))

    @NEWEST
    def test_a_cluster_that_cannot_spare_it_stops_the_run_before_the_node(self, run):
        run.write("damage." + IDS["store2"], look("store2", stores=[complaint("hist/60")]))
        (run.told / "unsafe").write_text("")
        code, output, report = run.play("data_storage_repair", circonus_confirm="store2", **self.QUICK)
        assert code != 0 and "Without store2 nothing would be left." in report["reason"], output
        assert [call["call"] for call in run.calls()] == ["ask"]

    def test_check_mode_shows_it_and_does_nothing_nor_does_a_run_without_the_typed_name(self, run):
        run.write("damage." + IDS["store2"], look("store2", stores=[complaint("hist/60")]))
        code, output, report = run.play("data_storage_repair", "--check")
        assert code == 0 and "Repair hist/60 of store2: snowthd -r hist/60" in output and run.calls() == [], output
        code, output, report = run.play("data_storage_repair")
        assert code != 0 and "circonus_confirm must be store2" in report["reason"] and run.calls() == [], output


class TestRestart:
    QUICK = {"circonus_confirm": "data_storage", "data_storage_restart_pause_s": 0, "data_storage_restart_spacing_s": 0,
             "data_storage_restart_polls": 1}

    def change(self, run, host, **more):
        run.probes[host].update(more)

    def test_only_the_node_whose_package_changed_is_asked_for_and_restarted(self, run):
        for host in HOSTS:
            self.change(run, host, age_s=86400.0, package_changed=host == "store2", package_reason="it was looked at")
        code, output, report = run.play("data_storage_restart", data_storage_restart_only="changed", **self.QUICK)
        assert code == 0 and report["result"] == "ok", output
        calls = [(call["call"], (call.get("nodes") or [call.get("node")])[0]) for call in run.calls()]
        assert calls == [("ask", IDS["store2"]), ("restart", None), ("wait", IDS["store2"])]
        assert "store1 is left alone: it was looked at." in output

    @NEWEST
    def test_the_machine_that_runs_it_is_never_rebooted(self, run):
        for host in HOSTS:
            self.change(run, host, age_s=86400.0, booted_s=864000.0, enabled="enabled")
        code, output, report = run.play("data_storage_restart", data_storage_restart_how="reboot", **self.QUICK)
        assert code != 0 and report["result"] == "refused" and run.calls() == [], output
        assert "store1 is reached by a local connection" in report["reason"], report["reason"]


class TestDiagnose:
    def test_looks_at_this_machine_and_leaves_an_archive_for_each_host(self, run):
        run.write("damage." + IDS["store2"], look("store2", stores=[complaint("hist/60")]))
        code, output, report = run.play("data_storage_diagnose", data_storage_diagnose_watch_s=0.1,
                                        data_storage_diagnose_log_kb=4)
        assert code != 0 and report["checked"] == {"hosts": 3, "of": 3, "roles": 3}, output
        damaged = [item["host"] for item in report["findings"] if item["id"] == "storage_damaged"]
        assert damaged == ["store2"] and "data_storage_repair.yml -e data_storage_repair_limit=store2 -e" in output
        for host in HOSTS:
            path = Path(report["evidence"][host])
            assert path.name == host + ".tar.gz" and path.stat().st_mode & 0o077 == 0
            with tarfile.open(path) as tar:
                names = {name.split("/", 1)[1] for name in tar.getnames()}
            assert {"facts.json", "unread.json", "kernel/meminfo"} <= names
        assert "bundle" not in json.dumps(report)
