# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A platform with three data_storage nodes on this machine: playbooks run for real, what the hosts answer is written by
the test, and what would be done to them is written down instead."""
from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from ansible.release import __version__ as core
from ansible_collections.circonus.inside.plugins.module_utils import topology

#: For another way through a playbook that a test beside it runs on every ansible-core.
NEWEST = pytest.mark.skipif(core.startswith("2.16"), reason="asks nothing more of ansible-core than the test beside it")
ROOT = Path(__file__).resolve().parents[3]
SMALL = json.loads((ROOT / "tests/unit/fixtures/site.small.json").read_text())
HOSTS = ("store1", "store2", "store3")
IDS = {host: SMALL["machinfo"][host]["node_id"] for host in HOSTS}
ADDRESSES = {host: SMALL["machinfo"][host]["ip_address"] for host in HOSTS}
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
#: Code at the end of module_utils, by their name.
STUBS = {
    "lock": 'DEFAULT_PATH = _os.environ.get("STORAGE_ANSWERS", "/nowhere") + "/lock"\n',
    "datacenter": "def collect(params):\n    return {'roles': {}, 'lock': {}, 'clock': 0}\n",
    "irondb_probe": "def collect(params):\n    return _answer('probe.' + params['hosts'][0])\n",
    "irondb_cluster": """
def ask_safe(cluster, nodes, strict=True, redo_dir=None, journal_limit=0):
    _told('ask', nodes=nodes, strict=strict, redo_dir=redo_dir)
    return {'safe': not _os.path.exists(_os.environ['STORAGE_ANSWERS'] + '/unsafe'), 'gate': 'short', 'short': [],
            'reasons': [{'id': 'short', 'text': 'Without store2 nothing would be left.'}]}


def wait(cluster, polls, spacing, minimum, timeout, tell):
    _told('wait', node=cluster.node)
    return {'settled': True, 'seconds': 0.0, 'polls': 1, 'series': [], 'matrix': [], 'reasons': []}
""",
}


class Platform:
    """A platform with three nodes, all of them well. stubs: beside those of every test."""

    def __init__(self, path, stubs):
        self.path, self.told = path, path / "answers"
        home = path / "collections/ansible_collections/circonus/inside"
        home.mkdir(parents=True)
        for name in ("playbooks", "roles", "schemas", "meta"):
            (home / name).symlink_to(ROOT / name)
        shutil.copytree(ROOT / "plugins", home / "plugins", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "galaxy.yml", home)
        for name, code in {**STUBS, **stubs}.items():
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
        for host in ("app1", "app2", *HOSTS):
            (path / "bin" / host).mkdir(parents=True)
            (path / "bin" / host / "python").symlink_to(getattr(sys, "_base_executable", sys.executable))
        self.given = topology.make([{"id": IDS[host], "address": ADDRESSES[host], "weight": 20} for host in HOSTS], 2)
        self.probes = {
            host: {"node_ids": [IDS[host]], "unit": "circonus-snowth", "active": "active", "age_s": 1.0, "problem": "",
                   "topology": topology.write_xml(self.given), "reasons": []} for host in HOSTS}

    def write(self, name, value):
        """An answer of a host."""
        (self.told / name).write_text(json.dumps(value))

    def calls(self, host=None):
        """What would have been done to the hosts, or to one: [{"call", "host", …}]."""
        path = self.told / "calls"
        calls = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [call for call in calls if host is None or host == call["host"]]

    def run_playbook(self, playbook, view, arguments, variables):
        """(exit code, output, newest report or None) of a playbook while every node sees ``view``."""
        for host, probe in self.probes.items():
            self.write("probe." + ADDRESSES[host], dict(probe, view=view))
        env = {k: v for k, v in os.environ.items() if not k.startswith("ANSIBLE_")}
        env.update(ANSIBLE_COLLECTIONS_PATH=str(self.path / "collections"), ANSIBLE_NOCOLOR="1",
                   ANSIBLE_HOME=str(self.path / ".ansible"), STORAGE_ANSWERS=str(self.told))
        values = {"ansible_connection": "local",
                  "ansible_python_interpreter": "%s/bin/{{ inventory_hostname }}/python" % self.path, **variables}
        done = subprocess.run([str(Path(sysconfig.get_path("scripts")) / "ansible-playbook"), "-i", "x.site.yml",
                               "circonus.inside." + playbook, "-e", json.dumps(values), *arguments], cwd=self.path,
                              env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
        output = done.stdout + done.stderr
        assert "Traceback" not in output and "[WARNING]: Using a variable" not in output, output
        latest = self.path / ("reports/%s-latest.json" % playbook)
        return done.returncode, output, json.loads(latest.read_text()) if latest.exists() else None
