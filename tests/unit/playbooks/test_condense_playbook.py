# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""data_storage_condense.yml runs for real on hosts of this machine; what the hosts answer is written by the test, and
what would be done to them is written down instead."""
from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from ansible_collections.circonus.inside.plugins.module_utils import lock, topology

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "plugins/module_utils"))
from storage_views import green, silent

ROOT = Path(__file__).resolve().parents[3]
SMALL = json.loads((ROOT / "tests/unit/fixtures/site.small.json").read_text())
HOSTS = ("store1", "store2", "store3")
IDS = {host: SMALL["machinfo"][host]["node_id"] for host in HOSTS}
D = "tank/snowth/data"
#: Put at the end of the code that reaches a host. Each host has a Python in a directory of its name.
COMMON = '''

import json as _json, os as _os, sys as _sys


def _who():
    return _sys.executable.split("/")[-2]


def _told(name, **values):
    with open(_os.environ["STORAGE_ANSWERS"] + "/calls", "a") as handle:
        handle.write(_json.dumps(dict(values, call=name, host=_who())) + "\\n")


def _answer(name):
    with open(_os.environ["STORAGE_ANSWERS"] + "/" + name) as handle:
        return _json.load(handle)
'''
STUBS = {
    "lock": 'DEFAULT_PATH = _os.environ.get("STORAGE_ANSWERS", "/nowhere") + "/lock"\n',
    "datacenter": "def collect(params):\n    return {'roles': {}, 'lock': {}, 'clock': 0}\n",
    "irondb_probe": "def collect(params):\n    return _answer('probe.' + params['hosts'][0])\n",
    "condense_run": """
def look(host, limit=45):
    return _answer('look.' + _who())


class Host(object):
    def __init__(self, *more):
        pass

    def begin(self, run_id, limit):
        _told('begin')
        return {'name': 'tank/snowth/data'}

    def step(self, run_id, wait_s, limit, back):
        steps = _answer('steps.' + _who())
        with open(_os.environ['STORAGE_ANSWERS'] + '/steps.' + _who(), 'w') as handle:
            _json.dump(steps[1:], handle)
        _told('give up' if back else 'step', step=steps[0])
        if steps[0] == 'broken':
            raise CommandFailed('The copy of tank/snowth/data broke off. Nothing was destroyed.')
        return {'step': steps[0], 'done': steps[0] == 'done', 'waiting': False, 'changed': True, 'copy': None,
                'text': steps[0]}

    def finish(self):
        _told('finish')
        return True

    def service(self, verb, timeout):
        _told('smf ' + verb)
        return True
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
    _told(verb, enabled=more['enabled'])
    return {'changed': True, 'verb': verb, 'service': entry['name'], 'units': [], 'actions': [], 'msg': verb}
""",
    "hooper": """
def converge(params, noop=False):
    _told('hooper', mode=params['mode'])
    return {'changed': True, 'rc': 0, 'summary': {}, 'msg': 'Hooper ran.'}
""",
}
WHOLE = ["ask", "begin", "stop", "step", "step", "hooper", "start", "finish", "wait"]


def look(host, **more):
    facts = {"name": D, "old": {"name": D, "referenced": 900 * 2 ** 30},
             "pool": {"pool": "tank", "capacity": 41, "health": "ONLINE"}}
    return dict({"platform": "el7", "problem": "", "in_progress": False, "node_ids": None, "facts": facts,
                 "next": "snapshot", "age_s": 1e7}, **more)


class Run:
    """A platform with three nodes on ZFS, all of them well, and what came of a run."""

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
        self.view, self.probes = green(given), {}
        for host in ("app1", "app2", *HOSTS):
            (path / "bin" / host).mkdir(parents=True)
            (path / "bin" / host / "python").symlink_to(getattr(sys, "_base_executable", sys.executable))
        for host in HOSTS:
            self.probes[host] = {"node_ids": [IDS[host]], "unit": "circonus-snowth", "active": "active", "age_s": 1.0,
                                 "problem": "", "topology": topology.write_xml(given), "reasons": []}
            self.write("look." + host, look(host))
            self.write("steps." + host, ["swap", "done"])

    def write(self, name, value):
        (self.told / name).write_text(json.dumps(value))

    def calls(self, host=None):
        path = self.told / "calls"
        calls = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [call for call in calls if host is None or host == call["host"]]

    def play(self, *arguments, **variables):
        for host, probe in self.probes.items():
            self.write("probe." + SMALL["machinfo"][host]["ip_address"], dict(probe, view=self.view))
        env = {k: v for k, v in os.environ.items() if not k.startswith("ANSIBLE_")}
        env.update(ANSIBLE_COLLECTIONS_PATH=str(self.path / "collections"), ANSIBLE_NOCOLOR="1",
                   ANSIBLE_HOME=str(self.path / ".ansible"), STORAGE_ANSWERS=str(self.told))
        values = {
            "ansible_connection": "local", "circonus_confirm": "data_storage", "data_storage_condense_el7": True,
            "ansible_python_interpreter": "%s/bin/{{ inventory_hostname }}/python" % self.path,
            "data_storage_condense_pause_s": 0, "data_storage_condense_spacing_s": 0, "data_storage_condense_polls": 1,
            **variables}
        done = subprocess.run([str(Path(sysconfig.get_path("scripts")) / "ansible-playbook"), "-i", "x.site.yml",
                               "circonus.inside.data_storage_condense", "-e", json.dumps(values), *arguments],
                              cwd=self.path, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL,
                              check=False)
        output = done.stdout + done.stderr
        assert "Traceback" not in output and "[WARNING]: Using a variable" not in output, output
        latest = self.path / "reports/data_storage_condense-latest.json"
        return done.returncode, output, json.loads(latest.read_text()) if latest.exists() else None


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path)


def test_one_node_after_the_other_in_the_order_of_the_manual(run):
    code, output, report = run.play()
    assert code == 0 and report["result"] == "ok", output
    calls = run.calls()
    # Asked on the node that stops, watched from one that stays.
    assert [call["call"] for call in calls] == WHOLE * 3, output
    touched = [call["host"] for call in calls if call["call"] in ("begin", "stop", "step", "hooper", "start", "finish")]
    assert touched == [host for host in HOSTS for _call in WHOLE[1:-1]]
    assert [call["enabled"] for call in calls if call["call"] in ("stop", "start")] == [False, True] * 3
    assert {call["mode"] for call in calls if call["call"] == "hooper"} == {"maintenance"}
    assert all(call["strict"] and call["redo_dir"] == "/snowth/redo" for call in calls if call["call"] == "ask")
    assert [call["node"] for call in calls if call["call"] == "wait"] == [IDS[host] for host in HOSTS]
    assert not lock.is_held(lock.read(str(run.told / "lock")))


def test_check_mode_shows_the_plan_and_does_nothing(run):
    code, output, report = run.play("--check")
    assert code == 0 and run.calls() == [], output
    assert "1. Stop store1, condense tank/snowth/data (900.0 GiB, pool tank used to 41 %" in output


def test_a_step_that_fails_leaves_the_other_nodes_alone(run):
    run.write("steps.store1", ["snapshot", "broken"])
    code, output, report = run.play()
    assert code != 0 and report["result"] == "failed", output
    assert "Condense the data set on store1: The copy of tank/snowth/data broke off." in report["reason"]
    assert [call["call"] for call in run.calls()] == ["ask", "begin", "stop", "step", "step"]
    assert run.calls("store2") == run.calls("store3") == []


def test_a_cluster_that_cannot_spare_it_stops_the_run_before_the_node(run):
    (run.told / "unsafe").write_text("")
    code, output, report = run.play()
    assert code != 0 and "Without store2 nothing would be left." in report["reason"], output
    assert [call["call"] for call in run.calls()] == ["ask"]


def test_what_was_left_on_its_way_is_finished_without_asking(run):
    run.write("look.store2", look("store2", in_progress=True, node_ids=[IDS["store2"]], next="freeing"))
    run.probes["store2"]["node_ids"] = []
    silent(run.view, 1, "refused")
    code, output, report = run.play(data_storage_condense_limit=["store2"])
    assert code == 0 and "Go on with tank/snowth/data on store2 (next: freeing)" in output, output
    assert [call["call"] for call in run.calls()] == WHOLE[1:]


def test_giving_up_starts_the_node_again(run):
    run.write("look.store2", look("store2", in_progress=True, node_ids=[IDS["store2"]]))
    run.write("steps.store2", ["discard", "done"])
    silent(run.view, 1, "refused")
    code, output, report = run.play(data_storage_condense_abort=True)
    assert code == 0, output
    assert [call["call"] for call in run.calls()] == ["stop", "give up", "give up", "hooper", "start", "finish", "wait"]


def test_on_omnios_the_service_is_handled_by_its_own_commands(run):
    for host in HOSTS:
        run.write("look." + host, look(host, platform="omnios"))
    code, output, report = run.play(data_storage_condense_el7=False, data_storage_condense_limit=["store3"])
    assert code == 0, output
    assert [call["call"] for call in run.calls()] == [
        "ask", "begin", "smf stop", "step", "step", "hooper", "smf start", "finish", "wait"]
