# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""data_storage_sweep.yml and data_storage_status.yml run for real on three nodes of this machine.

Only what a host of its own would have is made up: the node id on its disk, its record of sweeps, its address, and the
probe that every procedure begins with.
"""
from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ..conftest import eventually
from .conftest import CHECK, IDS

ROOT = Path(__file__).resolve().parents[5]
SMALL = json.loads((ROOT / "tests/unit/fixtures/site.small.json").read_text())
HOSTS = ["store1", "store2", "store3"]
#: Put at the end of a file. What a host is asked begins with its own address.
APPENDED = {
    "module_utils/irondb.py": "PORT = {port}\n",
    "module_utils/lock.py": "DEFAULT_PATH = {path!r} + '/lock'\n",
    "module_utils/datacenter.py": (
        "\n\ndef collect(params):\n    import json\n    if not os.path.exists({path!r} + '/lock'):\n"
        "        return {{'lock': None}}\n    with open({path!r} + '/lock') as source:\n"
        "        return {{'lock': json.load(source)}}\n"),
    "module_utils/irondb_probe.py": (
        "_collect = collect\n\n\ndef collect(params):\n"
        "    return dict(_collect(params), node_ids=[{ids!r}[params['hosts'][0]]])\n"),
    "module_utils/irondb_sweep.py": (
        "_init = Node.__init__\n\n\ndef _here(self, host, *more, **named):\n    _init(self, host, *more, **named)\n"
        "    self.record = Record({path!r} + '/records/' + host + '.json')\n\n\nNode.__init__ = _here\n"),
    "plugin_utils/storage_plan.py": (
        "\n\n_nodes_of = nodes_of\n\n\ndef nodes_of(site, hosts=None):\n"
        "    return [dict(node, address=node['address'].replace('192.0.2.3', '127.0.0.'))\n"
        "            for node in _nodes_of(site, hosts)]\n"),
}


class Platform:
    """A site whose data storage is the three nodes of ``cluster``."""

    def __init__(self, path, cluster):
        self.path, self.cluster = path, cluster
        addresses = {"127.0.0.%d" % at: IDS[at - 1] for at in (1, 2, 3)}
        home = path / "collections/ansible_collections/circonus/inside"
        home.mkdir(parents=True)
        for name in ("playbooks", "roles", "schemas", "meta"):
            (home / name).symlink_to(ROOT / name)
        shutil.copytree(ROOT / "plugins", home / "plugins", ignore=shutil.ignore_patterns("__pycache__"))
        for name, text in APPENDED.items():
            with (home / "plugins" / name).open("a", encoding="utf-8") as target:
                target.write(text.format(port=cluster.port, path=str(path), ids=addresses))
        shutil.copy(ROOT / "galaxy.yml", home)
        site = json.loads(json.dumps(SMALL))
        services = site["svclist"]
        del services["caql_broker"]
        for role in services:
            services[role]["_machlist"] = ["app1"]
        services["web_frontend"]["_machlist"] = services["fault_detection"]["_machlist"] = ["app2"]
        services["fault_detection"]["faultd_cluster"] = {"app2": {"node_id": "00000000-0000-4000-8000-000000000301"}}
        services["stratcon"]["node_ids"] = {"app1": "00000000-0000-4000-8000-000000000401"}
        services["data_storage"].update(_machlist=HOSTS, ncopies=2)
        site["machinfo"] = {"app1": {"ip_address": "192.0.2.11"}, "app2": {"ip_address": "192.0.2.12"}}
        for host, (address, identity) in zip(HOSTS, addresses.items(), strict=True):
            site["machinfo"][host] = {**SMALL["machinfo"]["store1"], "node_id": identity,
                                      "ip_address": address.replace("127.0.0.", "192.0.2.3")}
        (path / "site.json").write_text(json.dumps(site))
        (path / "x.site.yml").write_text("plugin: circonus.inside.site\nsites: {main: {file: site.json}}\n")

    def play(self, playbook, *arguments, **variables):
        """(exit code, output, report) of a run."""
        env = {k: v for k, v in os.environ.items() if not k.startswith("ANSIBLE_")}
        env.update(ANSIBLE_COLLECTIONS_PATH=str(self.path / "collections"), ANSIBLE_NOCOLOR="1", PYTHONUNBUFFERED="1",
                   ANSIBLE_HOME=str(self.path / ".ansible"))
        values = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, **variables}
        done = subprocess.run(
            [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "x.site.yml", "circonus.inside." + playbook,
             "-e", json.dumps(values), *arguments], cwd=self.path, env=env, stdout=subprocess.PIPE, text=True,
            stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=180, check=False)
        assert "Traceback" not in done.stdout, done.stdout
        latest = self.path / ("reports/%s-latest.json" % playbook)
        return done.returncode, done.stdout, json.loads(latest.read_text()) if latest.exists() else None

    def sweep(self, *arguments, **variables):
        return self.play("data_storage_sweep", *arguments, **dict(SWEEP, **variables))

    def times(self):
        """When any node that is asked has values of any metric."""
        found = set()
        for node in range(3):
            for metric in range(6):
                path = "/read/0/2000000000/60/%s/average/m%d" % (CHECK, metric)
                found.add(tuple(row[0] for row in self.cluster.ask(node, path)[1]))
        return found

    def begun(self):
        """How many sweeps each node was told to begin."""
        return [self.cluster.log(node, "accesslog").count('"DELETE /sweep_delete') for node in range(3)]


SWEEP = {"data_storage_sweep_before": "2019-01-01", "circonus_confirm": "data_storage:2019-01-01",
         "data_storage_sweep_spacing_s": 0.2}
OLD, NEW = 1500000000 // 60 * 60, 1600000000 // 60 * 60


@pytest.fixture
def platform(make, tmp_path):
    cluster = make(release="2019")
    for number in range(3):
        cluster.up(number)

    def green():
        rows = cluster.ask(0, "/gossip/json")[1]
        return len(rows) == 3 and all(len(row["latency"]) == 2 for row in rows)

    eventually(green, 20)
    rows = [{"id": CHECK, "count": 1, "metric": "m%d" % n, "offset": at, "value": 1} for n in range(6)
            for at in (OLD, NEW)]
    assert cluster.ask(0, "/write/nnt", "POST", json.dumps(rows).encode())[0] == 200
    found = Platform(tmp_path / "controller", cluster)
    eventually(lambda: found.times() == {(OLD, NEW)}, 20)
    return found


class TestSweep:
    """What stops, cancels and refuses it is tested on the containers of the lab."""

    def test_rehearsed_done_and_done_already(self, platform):
        code, output, report = platform.sweep("--check")
        assert code == 0 and report["result"] == "ok", output
        for host in HOSTS:
            assert "Sweep %s: nnt of 60, 300 and 10800 s older than 2019-01-01 00:00:00Z" % host in output
        assert platform.begun() == [0, 0, 0] and not (platform.path / "records").exists()
        code, output, report = platform.sweep()
        assert code == 0 and report["result"] == "ok", output
        assert platform.begun() == [1, 1, 1] and platform.times() == {(NEW,)}
        assert "comes back only by a rebuild" in report["warnings"][0] and "nnt done" in output
        code, output, report = platform.sweep("--check")
        assert code == 0 and report["result"] == "nothing_to_do" and platform.begun() == [1, 1, 1], output


class TestStatus:
    def test_green_and_not(self, platform):
        code, output, report = platform.play("data_storage_status", data_storage_status_fail_on="error")
        assert report["checked"] == {"hosts": 3, "of": 3, "roles": 3}, output
        (cluster,) = report["storage"]
        assert cluster["digest"] == platform.cluster.digest and len(cluster["nodes"][0]["latency"]) == 2
        # How full this machine is may be a finding; nothing else is.
        assert {item["id"] for item in report["findings"]} <= {"storage_space", "storage_gossip"}, output
        assert "changed=1" not in output and (platform.path / "reports/data_storage_status-latest.html").exists()
        platform.cluster.processes[2].kill()
        platform.cluster.processes[2].wait()
        code, output, report = platform.play("data_storage_status", "--check")
        assert code == 2 and report["result"] == "failed", output
        assert ("storage_node_down", "store3") in {(item["id"], item["host"]) for item in report["findings"]}
        assert "does not serve: refused" in output and "NOT SETTLED" in output
