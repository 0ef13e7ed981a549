# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The engine as a thin role uses it, run for real on this machine with a systemctl that keeps its units in files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.circonus.inside.plugins.plugin_utils import catalogue

ROOT = Path(__file__).resolve().parents[3]
SYSTEMCTL = """#!%s
import pathlib, sys
units = pathlib.Path(%r)
verb, names = sys.argv[1], [a[:-8] for a in sys.argv[2:] if a.endswith(".service")]
for name in names:
    unit = units / name
    if verb == "show":
        active, enabled = unit.read_text().split() if unit.exists() else ("", "")
        print("Id=%%s.service\\nLoadState=%%s\\nActiveState=%%s\\nSubState=x\\nMainPID=0\\nUnitFileState=%%s\\n"
              %% (name, "loaded" if active else "not-found", active or "inactive", enabled))
    else:
        active, enabled = unit.read_text().split()
        active = {"start": "active", "stop": "inactive"}.get(verb, active)
        enabled = {"enable": "enabled", "disable": "disabled"}.get(verb, enabled)
        unit.write_text("%%s %%s" %% (active, enabled))
        with (units.parent / "calls").open("a") as handle:
            handle.write("%%s %%s\\n" %% (verb, name))
"""
ENTRY = {
    "name": "thin",
    "passive": "stopped",
    "units": [
        {"id": "first", "candidates": ["circonus-first-new", "circonus-first"]},
        {"id": "second", "candidates": ["circonus-second"]},
        {"id": "gone", "candidates": ["circonus-gone"], "until": "2019-01-01"},
    ],
}


class Host:
    """This machine with some units."""

    def __init__(self, path, **units):
        self.path = path
        (path / "units").mkdir()
        (path / "bin").mkdir()
        for name, state in units.items():
            (path / "units" / ("circonus-" + name)).write_text(state)
        program = path / "bin/systemctl"
        program.write_text(SYSTEMCTL % (sys.executable, str(path / "units")))
        program.chmod(0o755)

    def calls(self):
        """What systemctl was told since the last look."""
        path = self.path / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        path.write_text("")
        return lines

    def run(self, *arguments, **variables):
        """Run the engine for the role ``thin``; (exit code, output, answer)."""
        answer = self.path / "answer.json"
        play = [
            {
                "hosts": "localhost",
                "gather_facts": False,
                "vars": {"thin_service": ENTRY, "ansible_python_interpreter": sys.executable},
                "tasks": [
                    {
                        "name": "Engine",
                        "ansible.builtin.include_role": {"name": "circonus.inside.service"},
                        "vars": {"service_role": "thin"},
                    },
                    {
                        "name": "Answer",
                        "ansible.builtin.copy": {
                            "content": "{{ service_result | to_json }}", "dest": str(answer), "mode": "0600"},
                        "check_mode": False,
                        "changed_when": False,
                    },
                ],
            }
        ]
        (self.path / "play.yml").write_text(yaml.safe_dump(play))
        env = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
        env.update(ANSIBLE_COLLECTIONS_PATH=str(ROOT / ".cache/collections"), ANSIBLE_NOCOLOR="1",
                   ANSIBLE_HOME=str(self.path / ".ansible"), PATH="%s:%s" % (self.path / "bin", env["PATH"]))
        done = subprocess.run(
            [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", "-c", "local", "play.yml",
             "-e", json.dumps(variables), *arguments],
            cwd=self.path, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
        output = done.stdout + done.stderr
        assert "Traceback" not in output
        result = json.loads(answer.read_text()) if done.returncode == 0 and answer.exists() else None
        return done.returncode, output, result

    def changed(self, output):
        """Number of changed tasks."""
        return int(output.rsplit("changed=", 1)[1].split()[0])


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path, first="inactive disabled", second="active enabled")


class TestConverge:
    def test_files_units_verdict_and_nothing_the_second_time(self, host):
        path = host.path / "local.env"
        options = {"thin_verb": "converge",
                   "thin_files": [{"path": str(path), "lines": ["USER=1"], "restart": ["first", "second"]},
                                  {"path": str(host.path / "not-made"), "lines": ["x=1"], "create": False}]}
        code, output, result = host.run("--check", **options)
        assert code == 0 and host.calls() == [] and not path.exists(), output
        code, output, result = host.run(**options)
        assert code == 0 and result["msg"] == "thin: first, second up; gone absent.", output
        assert path.read_text() == "USER=1\n" and not (host.path / "not-made").exists()
        # first is started with the file in place, second had the old one
        assert host.calls() == [
            "start circonus-first", "enable circonus-first", "stop circonus-second", "start circonus-second"]
        code, output, result = host.run(**options)
        assert (code, host.calls(), host.changed(output)) == (0, [], 0), output

    def test_what_is_kept_stopped_is_not_touched(self, host):
        code, output, result = host.run(thin_verb="converge", thin_keep_stopped=["first"])
        assert (code, host.calls()) == (0, []) and "first kept stopped" in result["msg"], output

    def test_what_is_expected_down_is_neither_started_nor_enabled(self, host):
        (host.path / "units/circonus-second").write_text("inactive disabled")
        code, output, _result = host.run(thin_verb="converge", thin_expect="down")
        assert (code, host.calls()) == (0, []), output

    def test_a_passive_datacenter(self, host):
        sites = {"circonus_sites": {"west": {"active": False}}, "circonus_site_name": "west"}
        code, output, result = host.run(thin_verb="converge", **sites)
        assert code != 0 and "circonus-second is active, expected it to be stopped" in output
        (host.path / "units/circonus-second").write_text("inactive enabled")
        assert host.run(thin_verb="converge", **sites)[0] == 0 and host.calls() == []

    def test_a_host_that_has_nothing_of_it(self, tmp_path):
        host = Host(tmp_path)
        code, output, result = host.run(thin_verb="converge", thin_files=[{"path": "/none/x", "lines": ["a"]}])
        assert code == 0 and result["state"] == "absent", output


class TestPackages:
    def test_a_wrong_pin_is_refused_before_anything_changes(self, host):
        options = {"thin_verb": "converge", "circonus_repo_manage": True, "circonus_repo_pin": "2019-07-15"}
        code, output, _result = host.run(**options)
        assert code != 0 and "2019-07-29 or later, found 2019-07-15" in output and host.calls() == []

    def test_a_role_that_hooper_does_not_install_has_none(self, host):
        options = {"thin_packages": False, "circonus_repo_manage": True, "circonus_repo_pin": "2019-07-15"}
        assert host.run(thin_verb="converge", **options)[0] == 0

    def test_the_state_of_the_package_is_one_of_two(self, host):
        code, output, _result = host.run(thin_verb="converge", circonus_hooper_package_state="absent")
        assert code != 0 and "circonus_hooper_package_state must be one of" in output and host.calls() == []


class TestVerbs:
    def test_only_and_timeout_of_the_role(self, host):
        code, output, result = host.run(thin_verb="restart", thin_only=["second"], thin_release="2019-11-04")
        assert code == 0 and host.calls() == ["stop circonus-second", "start circonus-second"], output

    def test_a_failed_check_says_why_and_fails(self, host):
        code, output, result = host.run()
        assert code != 0 and "circonus-first of thin is inactive" in output

    def test_collect_returns_data(self, host):
        code, output, result = host.run(thin_verb="collect")
        assert code == 0 and [unit["id"] for unit in result["units"]] == ["first", "second"], output
        assert result["state"] == "mixed" and host.calls() == []

    def test_an_unknown_verb_is_refused(self, host):
        code, output, result = host.run(thin_verb="explode")
        assert code != 0 and "value of service_verb must be one of" in output


class TestCatalogueEntries:
    """The argument spec of the engine owns the shape of an entry."""

    SPEC = yaml.safe_load((ROOT / "roles/service/meta/argument_specs.yml").read_text())["argument_specs"]["main"]

    @pytest.mark.parametrize("role", catalogue.names())
    def test_has_the_shape(self, role):
        validator = ArgumentSpecValidator({"service_entry": self.SPEC["options"]["service_entry"]})
        assert validator.validate({"service_entry": catalogue.load()[role]}).error_messages == []

    def test_a_typing_error_is_seen(self):
        validator = ArgumentSpecValidator({"service_entry": self.SPEC["options"]["service_entry"]})
        wrong = dict(ENTRY, units=[{"id": "a", "candidates": ["b"], "port": 1}])
        assert "port" in " ".join(validator.validate({"service_entry": wrong}).error_messages)
