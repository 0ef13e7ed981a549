# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The frame of the actions that work within a run."""
from __future__ import annotations

import pytest
from ansible.plugins.action import ActionBase

from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput, Refused
from ansible_collections.circonus.inside.plugins.plugin_utils import in_run, procedure


class Check(in_run.InRun):
    """What ``act`` returns or raises."""

    def __init__(self, act=lambda: {"msg": "well"}):  # nothing of a task is needed
        self.calls, self.act = 0, act

    def within(self, task_vars, run, journal):
        self.calls += 1
        return self.act()


class Failing(Check):
    ends = "failed"


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(ActionBase, "run", lambda self, tmp=None, task_vars=None: {})
    journal = procedure.Journal(str(tmp_path / "run.jsonl"))
    journal.append("begin")
    return {"circonus_begin": {"run": {"journal": journal.path}}}, journal


def stops(journal):
    return [(record["reason"], record["result"]) for record in journal.records() if record["type"] == "stop"]


def test_an_answer_changes_nothing_unless_it_says_so(run):
    assert Check().run(task_vars=run[0]) == {"msg": "well", "changed": False}
    assert Check(lambda: {"changed": True}).run(task_vars=run[0]) == {"changed": True} and stops(run[1]) == []


@pytest.mark.parametrize("kind, error, result", [
    (Check, Refused("Not now."), "refused"), (Failing, Refused("Not now."), "failed"),
    (Failing, BadInput("Not so."), "refused")])
def test_an_error_is_the_sentence_that_ends_the_run(run, kind, error, result):
    def fail():
        raise error

    assert kind(fail).run(task_vars=run[0]) == {"failed": True, "changed": False, "msg": str(error)}
    assert stops(run[1]) == [(str(error), result)]


def test_a_run_that_was_stopped_and_a_play_without_a_run_do_nothing(run):
    run[1].append("stop", reason="Enough.", result="failed")
    for variables in (run[0], {}):
        check = Check()
        assert check.run(task_vars=variables)["skipped"] and check.calls == 0


@pytest.mark.parametrize("severity, result", [("error", "failed"), (None, "ok")])
def test_a_check_concludes_by_its_findings(run, severity, result):
    found = [{"severity": severity, "what": "A node is down."}] if severity else []
    verdict = {"findings": found, "checked": 3}
    reason = in_run.conclude(run[1], verdict, ("findings", "checked"), "warning", "All is well")
    document = procedure.document(run[1].records(), procedure.now())
    assert document["result"] == result and document["reason"] == reason and document["checked"] == 3
    assert ("A node is down." in reason) is bool(severity)
