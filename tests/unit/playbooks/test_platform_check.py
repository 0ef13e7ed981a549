# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""platform_check.yml runs for real on hosts of this machine; only what host_check finds is written by the test."""
from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SMALL = json.loads((ROOT / "tests/unit/fixtures/site.small.json").read_text())
#: Put at the end of host_check's own code: answers what the test wrote for the host, or a healthy host with the entries
#: it was given. Whether the frame of a module is around it shows how it was run.
COLLECT = '''

def collect(params):
    import json, sys
    from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError
    names = [entry["name"] for entry in params["entries"]] or ["broker"]
    paths = [os.path.join(os.environ["PLATFORM_ANSWERS"], name + ".json") for name in names]
    answer = {"roles": {}, "clock": {"epoch": time.time(), "offset_s": 0.0}, "missing": {}, "space": [],
              "release": None, "web_db": {}, "mq": {}, "status": {}, "site": {}}
    for entry in params["entries"]:
        answer["roles"][entry["name"]] = {"units": [
            dict(id=unit["id"], unit=unit["candidates"][0], present=True, active="active", sub="running", up=True,
                 enabled="enabled", restarts=0, since_epoch=0) for unit in entry.get("units", [])]}
    if any(entry["name"] == "web_db" for entry in params["entries"]):
        answer["web_db"] = {"running": True, "answers": True, "in_recovery": False}
    with open(os.path.join(os.environ["PLATFORM_ANSWERS"], "asked." + names[0]), "w") as handle:
        json.dump(dict(params, framed="ansible.module_utils.basic" in sys.modules), handle)
    for path in filter(os.path.exists, paths):
        with open(path) as handle:
            answer.update(json.load(handle))
    if answer.get("msg"):
        raise InsideError(answer["msg"])
    return answer
'''


class Run:
    """A platform of two hosts and a broker, and what came of a run."""

    def __init__(self, path):
        self.path = path
        home = path / "collections/ansible_collections/circonus/inside"
        home.mkdir(parents=True)
        for name in ("playbooks", "roles", "schemas", "meta"):
            (home / name).symlink_to(ROOT / name)
        shutil.copytree(ROOT / "plugins", home / "plugins", ignore=shutil.ignore_patterns("__pycache__"))
        with (home / "plugins/module_utils/host_check.py").open("a", encoding="utf-8") as handle:
            handle.write(COLLECT)
        shutil.copy(ROOT / "galaxy.yml", home)
        site = json.loads(json.dumps(SMALL))
        services = site["svclist"]
        del services["caql_broker"]
        for role in services:
            services[role]["_machlist"] = ["app1"]
        services["web_frontend"]["_machlist"] = services["fault_detection"]["_machlist"] = ["app2"]
        services["fault_detection"]["faultd_cluster"] = {"app2": {"node_id": "00000000-0000-4000-8000-000000000301"}}
        services["stratcon"]["node_ids"] = {"app1": "00000000-0000-4000-8000-000000000401"}
        services["data_storage"]["ncopies"] = 1
        site["machinfo"] = {"app1": {**SMALL["machinfo"]["store1"], "ip_address": "192.0.2.11"},
                            "app2": {"ip_address": "192.0.2.12"}}
        (path / "site.json").write_text(json.dumps(site))
        (path / "x.site.yml").write_text(
            "plugin: circonus.inside.site\nsites: {main: {file: site.json}}\n"
            "brokers: {broker1: {ansible_host: 192.0.2.41}}\n")
        (path / "answers").mkdir()

    def asked(self):
        """What each host was asked: the parameters of host_check, and whether it was ``framed`` as a module."""
        return [json.loads(path.read_text()) for path in (self.path / "answers").glob("asked.*")]

    def play(self, *arguments, **variables):
        env = {k: v for k, v in os.environ.items() if not k.startswith("ANSIBLE_")}
        env.update(ANSIBLE_COLLECTIONS_PATH=str(self.path / "collections"), ANSIBLE_NOCOLOR="1",
                   ANSIBLE_HOME=str(self.path / ".ansible"), PLATFORM_ANSWERS=str(self.path / "answers"))
        values = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, **variables}
        done = subprocess.run([str(Path(sys.executable).parent / "ansible-playbook"), "-i", "x.site.yml",
                               "circonus.inside.platform_check", "-e", json.dumps(values), *arguments], cwd=self.path,
                              env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
        output = done.stdout + done.stderr
        assert "Traceback" not in output and "FakeAdminPass1" not in output, output
        latest = self.path / "reports/platform_check-latest.json"
        return done.returncode, output, json.loads(latest.read_text()) if latest.exists() else None


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path)


class TestPlatformCheck:
    def test_a_healthy_platform_is_one_line_and_exit_code_0(self, run):
        code, output, report = run.play()
        assert code == 0, output
        assert report["result"] == "ok" and report["findings"] == []
        lines = [line for line in output.splitlines() if "HEALTHY" in line]
        assert len(lines) == 1 and lines[0].startswith("HEALTHY: 3 of 3 hosts and ")
        assert "failed=0" in output and "changed=1" not in output
        assert (run.path / "reports/platform_check-latest.html").exists()
        # One task reaches the hosts: app2 and the broker, which are not the first host, have no other.
        assert [line for line in output.splitlines() if line.startswith("ok: [broker1]")] == ["ok: [broker1]"]

    def test_findings_fail_the_run_and_fail_on_moves_the_line(self, run):
        (run.path / "answers/fault_detection.json").write_text(json.dumps({"missing": {"cron": "cannot read /etc"}}))
        code, output, report = run.play()
        assert code == 2, output
        assert report["result"] == "failed" and [f["id"] for f in report["findings"]] == ["check_incomplete"]
        assert report["reason"].startswith("1 warning; the worst: app2: expected cron to be readable")
        assert "NOT HEALTHY: platform_check" in output and "  WARNING\n    app2: expected" in output
        code, output, report = run.play(platform_check_fail_on="error")
        assert code == 0 and report["result"] == "ok" and len(report["findings"]) == 1, output

    def test_every_host_is_asked_with_the_parameters_of_the_run(self, run):
        code, output, _report = run.play(platform_check_deadline_s=3.5, platform_check_restarts=8)
        assert code == 0, output
        assert len(run.asked()) == 3
        for params in run.asked():
            assert params["deadline_s"] == 3.5 and params["thresholds"]["restarts"] == 8
            assert params["reference_epoch"] > 1.7e9 and params["expect_stopped"] == []

    def test_through_a_pipe_the_check_runs_without_the_frame_of_a_module(self, run):
        (run.path / "answers/fault_detection.json").write_text(json.dumps({"msg": "no systemd"}))
        reports = {}
        for pipelining in (False, True):
            code, output, report = run.play(ansible_pipelining=pipelining)
            assert code == 2, output
            assert [params["framed"] for params in run.asked()] == [not pipelining] * 3
            reports[pipelining] = [(found["id"], found["host"], found["found"]) for found in report["findings"]]
        assert reports[True] == reports[False] == [("check_failed", "app2", "no systemd")]

    def test_check_mode_checks_as_well(self, run):
        (run.path / "answers/broker.json").write_text(json.dumps({"missing": {"units": "no answer within 9.7 s"}}))
        code, _output, report = run.play("--check")
        assert code == 2 and [f["id"] for f in report["findings"]] == ["check_incomplete"]

    def test_hosts_that_cannot_be_checked_are_findings(self, run):
        (run.path / "answers/fault_detection.json").write_text(json.dumps({"msg": "no systemd"}))
        (run.path / "x.site.yml").write_text(
            "plugin: circonus.inside.site\nsites: {main: {file: site.json}}\n"
            "brokers: {broker1: {ansible_host: 127.0.0.1, ansible_port: 1}}\n")
        hosts = run.path / "host_vars"
        hosts.mkdir()
        (hosts / "broker1.yml").write_text("remote: ssh\n")
        code, output, report = run.play(ansible_connection="{{ remote | default('local') }}")
        assert code == 2, output
        found = {f["host"]: f for f in report["findings"]}
        assert found["app2"]["id"] == "check_failed" and found["app2"]["found"] == "no systemd"
        assert found["broker1"]["id"] == "host_unreachable"
        assert "unreachable=0" in output

    def test_a_limited_run_says_what_it_did_not_see(self, run):
        code, output, report = run.play("--limit", "app2")
        assert code == 0, output
        assert report["findings"] == [] and "app1, broker1 not asked" in report["unknown"][0]

    def test_a_wrong_parameter_is_refused(self, run):
        code, output, report = run.play(platform_check_fail_on="never")
        assert code == 2 and report["result"] == "refused" and "platform_check_fail_on must be one of" in output
