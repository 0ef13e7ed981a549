# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""data_storage_repair.yml and data_storage_diagnose.yml run for real on hosts of this machine; what the hosts answer is
written by the test, and what would be done to them is written down instead."""
from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

import pytest

from ansible_collections.circonus.inside.plugins.module_utils import lock, topology

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "plugins/module_utils"))
from storage_views import green

ROOT = Path(__file__).resolve().parents[3]
SMALL = json.loads((ROOT / "tests/unit/fixtures/site.small.json").read_text())
HOSTS = ("store1", "store2", "store3")
IDS = {host: SMALL["machinfo"][host]["node_id"] for host in HOSTS}
#: Put at the end of the code that reaches a host.
COMMON = '''

import json as _json, os as _os


def _told(name, **values):
    with open(_os.environ["STORAGE_ANSWERS"] + "/calls", "a") as handle:
        handle.write(_json.dumps(dict(values, call=name)) + "\\n")


def _answer(name):
    with open(_os.environ["STORAGE_ANSWERS"] + "/" + name) as handle:
        return _json.load(handle)
'''
STUBS = {
    "lock": 'DEFAULT_PATH = _os.environ.get("STORAGE_ANSWERS", "/nowhere") + "/lock"\n',
    "datacenter": "def collect(params):\n    return {'roles': {}, 'lock': {}, 'clock': 0}\n",
    "irondb_probe": "def collect(params):\n    return _answer('probe.' + params['hosts'][0])\n",
    "irondb_damage": "def collect(params):\n    return _answer('damage.' + params['node'])\n",
    "irondb_repair": """
def carry_out(params):
    _told('repair', targets=params['targets'], node=params['node'])
    return {'changed': True, 'repaired': [], 'stores': [], 'serving': True, 'msg': 'repaired'}
""",
    "irondb_cluster": """
def ask_safe(cluster, nodes, strict=True, redo_dir=None, journal_limit=0):
    _told('ask', nodes=nodes, strict=strict, redo_dir=redo_dir)
    return {'safe': not _os.path.exists(_os.environ['STORAGE_ANSWERS'] + '/unsafe'), 'gate': 'short', 'short': [],
            'reasons': [{'id': 'short', 'text': 'Without store2 nothing would be left.'}]}


def wait(cluster, polls, spacing, minimum, timeout, tell):
    _told('wait', node=cluster.node)
    return {'settled': True, 'seconds': 0.0, 'polls': 1, 'series': [], 'matrix': [], 'reasons': []}
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


class Run:
    """A platform with three nodes, all of them well, and what came of a run."""

    def __init__(self, path):
        self.path, self.told = path, path / "answers"
        home = path / "collections/ansible_collections/circonus/inside"
        home.mkdir(parents=True)
        for name in ("playbooks", "roles", "schemas", "meta"):
            (home / name).symlink_to(ROOT / name)
        shutil.copytree(ROOT / "plugins", home / "plugins", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "galaxy.yml", home)
        for name, code in STUBS.items():
            with (home / "plugins/module_utils" / (name + ".py")).open("a", encoding="utf-8") as handle:
                handle.write(COMMON + code)
        site = json.loads(json.dumps(SMALL))
        services = site["svclist"]
        del services["caql_broker"]  # its port is one of stratcon's
        for service in services.values():
            service["_machlist"] = ["app1"]
        services["web_frontend"]["_machlist"] = services["fault_detection"]["_machlist"] = ["app2"]
        services["data_storage"]["_machlist"] = list(HOSTS)
        services["fault_detection"]["faultd_cluster"] = {"app2": {"node_id": "00000000-0000-4000-8000-000000000301"}}
        services["stratcon"]["node_ids"] = {"app1": "00000000-0000-4000-8000-000000000401"}
        site["machinfo"] = {host: SMALL["machinfo"][host] for host in ("app1", "app2", *HOSTS)}
        (path / "site.json").write_text(json.dumps(site))
        (path / "x.site.yml").write_text("plugin: circonus.inside.site\nsites: {main: {file: site.json}}\n")
        self.told.mkdir()
        given = topology.make([{"id": IDS[host], "address": SMALL["machinfo"][host]["ip_address"], "weight": 20}
                               for host in HOSTS], 2)
        for host in HOSTS:
            probe = {"node_ids": [IDS[host]], "unit": "circonus-snowth", "active": "active", "age_s": 1.0,
                     "problem": "", "view": green(given), "topology": topology.write_xml(given), "reasons": []}
            self.write("probe." + SMALL["machinfo"][host]["ip_address"], probe)
            self.write("damage." + IDS[host], look(host))

    def write(self, name, value):
        (self.told / name).write_text(json.dumps(value))

    def calls(self):
        path = self.told / "calls"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def play(self, playbook, *arguments, **variables):
        env = {k: v for k, v in os.environ.items() if not k.startswith("ANSIBLE_")}
        env.update(ANSIBLE_COLLECTIONS_PATH=str(self.path / "collections"), ANSIBLE_NOCOLOR="1",
                   ANSIBLE_HOME=str(self.path / ".ansible"), STORAGE_ANSWERS=str(self.told))
        values = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, **variables}
        done = subprocess.run([str(Path(sysconfig.get_path("scripts")) / "ansible-playbook"), "-i", "x.site.yml",
                               "circonus.inside." + playbook, "-e", json.dumps(values), *arguments], cwd=self.path,
                              env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
        output = done.stdout + done.stderr
        assert "Traceback" not in output and "[WARNING]: Using a variable" not in output, output
        latest = self.path / ("reports/%s-latest.json" % playbook)
        return done.returncode, output, json.loads(latest.read_text()) if latest.exists() else None


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
        name = "probe." + SMALL["machinfo"][host]["ip_address"]
        run.write(name, dict(json.loads((run.told / name).read_text()), **more))

    def test_only_the_node_whose_package_changed_is_asked_for_and_restarted(self, run):
        for host in HOSTS:
            self.change(run, host, age_s=86400.0, package_changed=host == "store2", package_reason="it was looked at")
        code, output, report = run.play("data_storage_restart", data_storage_restart_only="changed", **self.QUICK)
        assert code == 0 and report["result"] == "ok", output
        calls = [(call["call"], (call.get("nodes") or [call.get("node")])[0]) for call in run.calls()]
        assert calls == [("ask", IDS["store2"]), ("restart", None), ("wait", IDS["store2"])]
        assert "store1 is left alone: it was looked at." in output

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
