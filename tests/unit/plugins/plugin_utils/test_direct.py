# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A look without the frame of a module: what travels, what runs, and what is told when nothing comes back."""
from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible_collections.circonus.inside.plugins import module_utils
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput
from ansible_collections.circonus.inside.plugins.plugin_utils import direct

UTILS = direct.PACKAGE + "."
SOURCE = """
from ansible_collections.circonus.inside.plugins.module_utils.errors import Refused
ARGUMENTS = dict(number=dict(type="int", required=True), more=dict(type="list", elements="str", default=["a"]))


def collect(params):
    from ansible_collections.circonus.inside.plugins.module_utils import late
    if params["number"] < 0:
        raise Refused("too small", number=params["number"])
    if params["number"] == 0:
        raise KeyError("zero")
    print("noise")
    return late.answer(params)
"""


@pytest.fixture
def utils(tmp_path, monkeypatch):
    """A module_utils of the test: ``look`` and what it imports late."""
    home = tmp_path / "utils"
    home.mkdir()
    shutil.copy(module_utils.__path__[0] + "/errors.py", home)
    (home / "look.py").write_text(SOURCE)
    (home / "late.py").write_text("def answer(params):\n    return dict(params, text='\u00fc \U0001f5a5')\n")
    monkeypatch.setattr(module_utils, "__path__", [str(home)])
    for name in ("look", "late"):
        monkeypatch.delitem(sys.modules, UTILS + name, raising=False)
    yield home
    for name in ("look", "late"):
        sys.modules.pop(UTILS + name, None)


def run(look, arguments, cwd, python=sys.executable):
    done = subprocess.run([python, "-I", "-c", direct._START], input=look.program(arguments), cwd=cwd,
                          capture_output=True, timeout=60, check=False)
    outcome = {"rc": done.returncode, "stdout": done.stdout.decode(), "stderr": done.stderr.decode()}
    return direct.answer(outcome, python)


def test_everything_that_is_imported_travels_late_imports_too(utils):
    assert set(direct.sources("look")) == {
        "ansible_collections", "ansible_collections.circonus", "ansible_collections.circonus.inside",
        "ansible_collections.circonus.inside.plugins", direct.PACKAGE, UTILS + "look", UTILS + "late", UTILS + "errors"}


@pytest.mark.parametrize("path", sorted(Path(module_utils.__path__[0]).glob("*.py")), ids=lambda path: path.stem)
def test_no_import_is_overlooked(path):
    text = path.read_text(encoding="utf-8")
    wanted = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module == direct.PACKAGE:
            wanted += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module.startswith("ansible"):
            wanted.append(node.module.split(".")[-1])
    assert sorted(direct.imports(text)) == sorted(wanted)


@pytest.mark.parametrize("line", ["import ansible.module_utils.basic", "from ansible.module_utils.basic import x",
                                  "from ansible_collections.other.name.plugins.module_utils import x"])
def test_code_that_needs_more_than_python_is_refused(utils, line):
    (utils / "late.py").write_text(line + "\n")
    with pytest.raises(BadInput, match="standard library.*late.py.*Run it as a module"):
        direct.sources("look")


def test_the_answer_comes_back_with_defaults_and_without_noise(utils, tmp_path):
    look = direct.Look("circonus.inside.look", "look")
    assert run(look, {"number": "7"}, tmp_path) == {"number": 7, "more": ["a"], "text": "\u00fc \U0001f5a5"}


def test_a_file_beside_the_login_does_not_run(utils, tmp_path):
    (tmp_path / "json.py").write_text("raise SystemExit('not this one')\n")
    assert run(direct.Look("circonus.inside.look", "look"), {"number": 1}, tmp_path)["number"] == 1


def test_what_the_module_refuses_is_refused_with_its_words(utils, tmp_path):
    assert run(direct.Look("circonus.inside.look", "look"), {"number": -1}, tmp_path) == {
        "failed": True, "refused": True, "msg": "too small", "number": -1}


def test_arguments_against_the_spec_never_reach_a_host(utils):
    look = direct.Look("circonus.inside.look", "look")
    for arguments in ({}, {"number": "x"}, {"number": 1, "other": 1}):
        with pytest.raises(BadInput, match="circonus.inside.look: "):
            look.program(arguments)


def test_no_answer_says_what_the_host_said(utils, tmp_path):
    answer = run(direct.Look("circonus.inside.look", "look"), {"number": 0}, tmp_path)
    assert answer["failed"] and answer["msg"] == \
        "Expected an answer of %s, found exit code 1: KeyError: 'zero'." % sys.executable
    missing = {"rc": 127, "stdout": "", "stderr": "/bin/sh: 1: /usr/bin/python3: not found\n"}
    assert direct.answer(missing, "/usr/bin/python3")["msg"].endswith(
        "found exit code 127: /bin/sh: 1: /usr/bin/python3: not found.")
    nothing = {"rc": 0, "stdout": "\n", "stderr": ""}
    assert direct.answer(nothing, "/usr/bin/python3")["msg"].endswith("found exit code 0 and nothing said.")


class Action:
    """What Look.run needs of an action, with what it was told to do."""

    def __init__(self, environment=(), pipelining=True, delegate_to=None):
        self._templar = self._task = self
        self.environment, self.pipelining, self.told = list(environment), pipelining, None
        self.delegate_to = delegate_to

    def template(self, value):
        return value

    def _is_pipelining_enabled(self, _style):
        return self.pipelining

    def _execute_module(self, module_name, module_args, task_vars):
        self.told = module_name, module_args
        return {"number": module_args["number"]}

    def _low_level_execute_command(self, command, in_data):
        self.told = command
        return {"rc": 0, "stdout": direct.MARK + '{"number": 1}', "stderr": ""}


@pytest.mark.parametrize("action, interpreter", [
    (Action(pipelining=False), "/usr/bin/python3"), (Action([{}, {"PATH": "/opt"}]), "/usr/bin/python3"),
    (Action(delegate_to="x"), "/usr/bin/python3"), (Action(), None), (Action(), "auto"), (Action(), "python3"),
])
def test_where_the_pipe_does_not_serve_the_module_runs(utils, action, interpreter):
    look = direct.Look("circonus.inside.look", "look")
    assert look.run(action, {"number": 1}, {"ansible_python_interpreter": interpreter}) == {"number": 1}
    assert action.told == ("circonus.inside.look", {"number": 1})


def test_an_interpreter_with_a_blank_is_one_word(utils):
    action = Action([{}])
    look = direct.Look("circonus.inside.look", "look")
    assert look.run(action, {"number": 1}, {"ansible_python_interpreter": "/opt/my python"}) == {"number": 1}
    assert action.told.startswith("'/opt/my python' -I -c ")


class Failing(Action):
    """Its connection fails so many times, each after some seconds of a clock."""

    def __init__(self, times, seconds, monkeypatch):
        super().__init__()
        self.left, self.calls, self.now, self.seconds = times, 0, 100.0, seconds
        monkeypatch.setattr(direct.time, "monotonic", lambda: self.now)

    def _low_level_execute_command(self, command, in_data):
        self.calls, self.left, self.now = self.calls + 1, self.left - 1, self.now + self.seconds
        if self.left >= 0:
            raise AnsibleConnectionFailure("Data could not be sent")
        return super()._low_level_execute_command(command, in_data)


@pytest.mark.parametrize("times, seconds, calls, answers", [
    (1, 0.1, 2, True), (2, 0.1, 2, False), (1, 10.0, 1, False)], ids=["kept one ended", "not there", "silent"])
def test_a_kept_connection_that_ends_is_made_anew_once(utils, monkeypatch, times, seconds, calls, answers):
    action, look = Failing(times, seconds, monkeypatch), direct.Look("circonus.inside.look", "look")
    arguments = {"number": 1}, {"ansible_python_interpreter": "/usr/bin/python3"}
    if answers:
        assert look.run(action, *arguments) == {"number": 1}
    else:
        with pytest.raises(AnsibleConnectionFailure):
            look.run(action, *arguments)
    assert action.calls == calls


def test_the_probe_of_every_procedure_goes_this_way(monkeypatch):
    from ansible_collections.circonus.inside.plugins.action import procedure_step

    step = procedure_step.ActionModule.__new__(procedure_step.ActionModule)
    step._task, step._shared_loader_obj = Action(), type("Loader", (), {"action_loader": None})
    step._shared_loader_obj.action_loader = type("Actions", (), {"has_plugin": staticmethod(lambda _name: False)})
    look = procedure_step._LOOKS["circonus.inside.datacenter_info"]
    monkeypatch.setattr(look, "run", lambda action, arguments, _vars: {"asked": arguments, "by": action is step})
    answer = step._dispatch({"module": "circonus.inside.datacenter_info", "args": {"roles": ["ca"]}}, {})
    assert answer == {"asked": {"roles": ["ca"]}, "by": True}


@pytest.mark.parametrize("name", ["host_check", "pki_look", "datacenter"])
def test_the_looks_of_the_collection_run_on_a_python_that_has_nothing_else(name, tmp_path):
    look = direct.Look("circonus.inside." + name, name)
    arguments = {"host_check": {"entries": [], "deadline_s": 5}, "pki_look": {"files": []}, "datacenter": {}}[name]
    assert not run(look, arguments, tmp_path).get("failed")
