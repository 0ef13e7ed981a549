# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module is asked step by step, and each answer is a line."""
from __future__ import annotations

import pytest
from ansible.plugins.action import ActionBase

from ansible_collections.circonus.inside.plugins.action import storage_condense

COPY = {"bytes": 2 ** 20, "total": 2 ** 22, "percent": 25.0, "rate": 2.0 ** 20, "eta_s": 3}


def answer(step, waiting=False, copy=None, changed=True):
    return {"step": step, "text": step.capitalize(), "done": step == "done", "waiting": waiting, "copy": copy,
            "changed": changed}


class Action:
    def __init__(self, monkeypatch, answers):
        self.answers, self.calls, self.lines = list(answers), [], []
        monkeypatch.setattr(ActionBase, "run", lambda *_more: {})
        monkeypatch.setattr(storage_condense.display, "display", self.lines.append)

    def module(self, module_name, module_args, task_vars):
        self.calls.append(module_args)
        return self.answers.pop(0) if len(self.answers) > 1 else dict(self.answers[0])

    def run(self, check_mode=False, **args):
        action = storage_condense.ActionModule.__new__(storage_condense.ActionModule)
        action._task = type("Task", (), {"args": args, "check_mode": check_mode, "delegate_to": None})
        action._execute_module = self.module
        return action.run(task_vars={"inventory_hostname": "store1"})


def test_asks_until_nothing_is_left_and_shows_each_answer(monkeypatch):
    action = Action(monkeypatch, [answer("snapshot"), answer("copy", True, COPY), answer("copy", False, COPY),
                                  answer("swap"), answer("done", changed=False)])
    found = action.run(state="condensed", run_id="r")
    assert found["done"] and found["changed"] and found["steps"] == ["Snapshot", "Copy", "Swap"]
    assert found["copy"] == COPY and found["msg"] == "Done."
    assert len(action.calls) == 5 and all(call == {"state": "condensed", "run_id": "r"} for call in action.calls)
    assert action.lines[1].endswith("store1: Copy: 1.0 MiB of 4.0 MiB (25 %), 1.0 MiB/s, about 3 s left")


@pytest.mark.parametrize("failure", [{"failed": True, "msg": "refused"}, {"unreachable": True, "msg": "gone"}])
def test_a_failure_ends_it_and_tells_what_was_done(monkeypatch, failure):
    found = Action(monkeypatch, [answer("snapshot"), failure]).run(state="condensed")
    assert found["msg"] == failure["msg"] and found["steps"] == ["Snapshot"] and found["changed"]


def test_nothing_left_changes_nothing(monkeypatch):
    assert Action(monkeypatch, [answer("done", changed=False)]).run(state="aborted")["changed"] is False


def test_going_in_circles_ends(monkeypatch):
    found = Action(monkeypatch, [answer("snapshot")]).run(state="condensed")
    assert found["failed"] and "goes in circles" in found["msg"]


@pytest.mark.parametrize("args", [{"state": "look"}, {"state": "begun"}, {"state": "condensed", "check_mode": True}])
def test_other_states_and_check_mode_are_one_call(monkeypatch, args):
    action = Action(monkeypatch, [{"problem": "", "changed": False}])
    assert "problem" in action.run(**args) and len(action.calls) == 1
