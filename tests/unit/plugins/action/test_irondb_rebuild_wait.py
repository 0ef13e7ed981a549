# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A reconstitute is followed in slices, with a line for each, to its end, its failure or the end of the time."""
from __future__ import annotations

import pytest
from ansible.plugins.action import ActionBase

from ansible_collections.circonus.inside.plugins.action import irondb_rebuild_wait


class Reconstitute:
    """One that takes ``seconds`` on the clock of the test; ``breaks``: it ends unfinished then."""

    def __init__(self, seconds, monkeypatch, breaks=None):
        self.now, self.seconds, self.breaks, self.lines, self.calls = 0.0, seconds, breaks, [], []
        monkeypatch.setattr(irondb_rebuild_wait.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(irondb_rebuild_wait.display, "display", self.lines.append)
        monkeypatch.setattr(ActionBase, "run", lambda *_more: {})

    def module(self, module_name, module_args, task_vars):
        self.calls.append(module_args)
        end = self.now + module_args["timeout"]
        if self.breaks is not None and end >= self.breaks:
            return {"failed": True, "msg": "It ended without its last line."}
        over = end >= self.seconds
        self.now = self.seconds if over else end
        return {"finished": over, "running": not over, "seconds": 1.0, "parts": {}, "done": None, "total": None,
                "percent": 100.0 * self.now / self.seconds, "used": 10**9, "before": 2 * 10**9}

    def follow(self, **args):
        action = irondb_rebuild_wait.ActionModule.__new__(irondb_rebuild_wait.ActionModule)
        action._task = type("Task", (), {"args": dict({"node_id": "x", "address": "y"}, **args)})
        action._execute_module = self.module
        return action.run(task_vars={})


def test_to_its_end_with_a_line_for_each_slice(monkeypatch):
    one = Reconstitute(100.0, monkeypatch)
    answer = one.follow(timeout=1000.0, slice=20.0)
    assert answer["finished"] and answer["seconds"] == 100.0 and len(one.lines) == 4
    assert "80.0 %  1.0 GB on disk, 2.0 GB before  ETA 20 s" in one.lines[-1]
    assert answer["series"][-1] == [100.0, 100.0] and {call["node_id"] for call in one.calls} == {"x"}


def test_the_time_that_is_over_fails_and_says_that_it_goes_on(monkeypatch):
    one = Reconstitute(1000.0, monkeypatch)
    answer = one.follow(timeout=50.0, slice=20.0)
    assert answer["failed"] and "it goes on" in answer["msg"] and one.now == 50.0
    assert "Give the same command again" in answer["msg"]


def test_one_that_breaks_off_fails_with_its_own_words(monkeypatch):
    answer = Reconstitute(1000.0, monkeypatch, breaks=30.0).follow(timeout=100.0, slice=20.0)
    assert answer["failed"] and answer["msg"] == "It ended without its last line."


@pytest.mark.parametrize("percent", [None, 40.0])
def test_a_rebuild_that_does_not_tell_or_stands_still_is_followed_all_the_same(monkeypatch, percent):
    one = Reconstitute(100.0, monkeypatch)
    module = one.module
    one.module = lambda **args: dict(module(**args), percent=percent)
    assert one.follow(timeout=1000.0, slice=20.0)["finished"] and "ETA unknown" in one.lines[-1]
