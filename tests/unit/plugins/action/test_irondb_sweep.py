# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A sweep is begun once and followed in slices, each with a line."""
from __future__ import annotations

from ansible.plugins.action import ActionBase

from ansible_collections.circonus.inside.plugins.action import irondb_sweep
from ansible_collections.circonus.inside.plugins.plugin_utils import procedure


class Module:
    """What the module would answer: a sweep that takes ``seconds`` of the test's clock."""

    def __init__(self, monkeypatch, seconds=50.0, done=False):
        self.now, self.seconds, self.done, self.calls, self.lines = 0.0, seconds, done, [], []
        monkeypatch.setattr(irondb_sweep.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(irondb_sweep.display, "display", self.lines.append)
        monkeypatch.setattr(ActionBase, "run", lambda *_more: {})

    def __call__(self, module_name, module_args, task_vars):
        self.calls.append(module_args)
        if self.done:
            return {"action": "done", "changed": False, "finished": True, "progress": "", "types": {}}
        self.now += module_args.get("timeout", 0.0)
        answer = {"changed": not module_args["follow"], "finished": self.now >= self.seconds,
                  "progress": "%d s" % self.now, "action": "follow" if module_args["follow"] else "start"}
        return answer if module_args["follow"] else dict(answer, types={"nnt": [60]})

    def run(self, check=False, task_vars=None, **args):
        action = irondb_sweep.ActionModule.__new__(irondb_sweep.ActionModule)
        action._task = type("Task", (), {"args": dict({"before": 5, "name": "db1"}, **args), "check_mode": check})
        action._execute_module = self
        return action.run(task_vars=task_vars or {})


def test_begun_once_and_followed_with_a_line_for_each_slice(monkeypatch):
    module = Module(monkeypatch)
    answer = module.run(timeout=600.0)
    assert answer["finished"] and answer["changed"] and answer["action"] == "start" and answer["types"] == {"nnt": [60]}
    assert [call["follow"] for call in module.calls] == [False, True, True]
    assert [line.split("  ")[1] for line in module.lines] == ["20 s", "40 s", "60 s"]


def test_what_is_done_says_nothing(monkeypatch):
    module = Module(monkeypatch, done=True)
    assert module.run()["action"] == "done" and module.lines == [] and len(module.calls) == 1


def test_one_that_takes_too_long_runs_on(monkeypatch):
    answer = Module(monkeypatch, seconds=1e9).run(timeout=50.0)
    assert answer["failed"] and "the sweep of db1 to end within 50 s, it still runs" in answer["msg"]


def test_a_rehearsal_and_a_cancellation_are_one_call(monkeypatch):
    module = Module(monkeypatch, done=True)
    module.run(check=True)
    module.run(state="cancelled")
    assert len(module.calls) == 2 and module.lines == [] and "follow" not in module.calls[0]


def test_a_failure_ends_it(monkeypatch):
    module = Module(monkeypatch)
    monkeypatch.setattr(Module, "__call__", lambda self, **_args: {"failed": True, "msg": "no"})
    assert module.run()["msg"] == "no"


def test_a_cancellation_since_the_run_began_counts(monkeypatch):
    module = Module(monkeypatch, done=True)
    module.run(task_vars={"circonus_begin": {"run": {"started": procedure.now()}}})
    assert 0.0 <= module.calls[0]["cancelled_within"] < 5.0
    module.run()
    assert "cancelled_within" not in module.calls[1]
