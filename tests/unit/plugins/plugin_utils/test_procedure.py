# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Parameters, journal, gate and report document of a run."""

from __future__ import annotations

import os

import pytest
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput
from ansible_collections.circonus.inside.plugins.plugin_utils import procedure

META = {
    "parameters": {
        "move_to": {"type": "str", "required": True, "description": "Where to. More words."},
        "move_mode": {"type": "str", "choices": ["slow", "fast"], "default": "slow"},
        "move_limit": {"type": "int", "default": 3},
        "move_pause_s": {"type": "float", "default": 2.0},
        "move_force": {"type": "bool", "default": False},
        "move_hosts": {"type": "list"},
    }
}


class TestCheckParameters:
    """Values and sentences."""

    def test_defaults_and_conversions(self):
        given = {"move_to": "x", "move_limit": "7", "move_force": "yes", "move_hosts": "a, b"}
        values, problems = procedure.check_parameters(META, "move", given)
        assert problems == []
        assert (values["move_mode"], values["move_limit"], values["move_force"]) == ("slow", 7, True)
        assert values["move_hosts"] == ["a", "b"]
        assert values["circonus_report_dir"] == "reports/"

    @pytest.mark.parametrize("given, value", [("5", 5.0), ("2.5", 2.5), (7, 7), (None, 2.0)])
    def test_seconds_as_the_command_line_gives_them(self, given, value):
        values, problems = procedure.check_parameters(META, "move", {"move_to": "x", "move_pause_s": given})
        assert problems == [] and values["move_pause_s"] == value

    @pytest.mark.parametrize(
        "given,word",
        [
            ({}, "move_to is required: Where to."),
            ({"move_to": "x", "move_mode": "wild"}, "slow, fast"),
            ({"move_to": "x", "move_limit": "many"}, "type int"),
            ({"move_to": "x", "move_limit": True}, "type int"),
            ({"move_to": "x", "move_pause_s": "soon"}, "type float"),
            ({"move_to": "x", "move_forse": True}, "Did you mean move_force?"),
        ],
    )
    def test_each_problem_is_one_sentence(self, given, word):
        problems = procedure.check_parameters(META, "move", given)[1]
        assert len(problems) == 1 and word in problems[0] and "\n" not in problems[0]


class TestLoadMeta:
    """The description beside the playbook."""

    def test_missing_file_is_named(self, tmp_path):
        with pytest.raises(BadInput, match=r"move\.meta\.yml"):
            procedure.load_meta(str(tmp_path), "move")


class TestHolderIsDead:
    """Only a process of this very machine can be judged."""

    def test_living_process(self):
        ours = procedure.controller_identity(os.getpid())["controller"]
        assert not procedure.holder_is_dead(ours, ours)

    def test_reused_process_id(self):
        ours = procedure.controller_identity(os.getpid())["controller"]
        assert procedure.holder_is_dead(ours.rsplit("/", 1)[0] + "/1", ours)

    def test_process_that_is_gone(self):
        ours = procedure.controller_identity(os.getpid())["controller"]
        name, machine, _pid, started = ours.split("/")
        assert procedure.holder_is_dead("/".join((name, machine, "4194999", started)), ours)

    def test_other_machine(self):
        ours = procedure.controller_identity(os.getpid())["controller"]
        assert not procedure.holder_is_dead("elsewhere/12345678/4194999/1", ours)

    @pytest.mark.parametrize("holder", ["", "x", None, "a/b/c/d"])
    def test_garbage(self, holder):
        assert not procedure.holder_is_dead(holder, "a/b/1/1")


class TestJournal:
    """Append, read, stop."""

    def test_survives_a_torn_last_line(self, tmp_path):
        journal = procedure.Journal(str(tmp_path / "j"))
        journal.append("begin", run_id="r")
        with open(journal.path, "a") as handle:
            handle.write('{"type": "st')
        assert [record["type"] for record in journal.records()] == ["begin"]

    def test_stop_is_seen(self, tmp_path):
        journal = procedure.Journal(str(tmp_path / "j"))
        assert journal.stopped() is None
        journal.append("stop", reason="no")
        assert journal.stopped() == "no"


def records(*more, check_mode=False):
    """Journal of a run."""
    return [
        {
            "type": "begin",
            "run_id": "r",
            "procedure": "move",
            "started": "2026-01-01T00:00:00.000Z",
            "check_mode": check_mode,
        },
        *more,
    ]


class TestDocument:
    """Result and reason."""

    end = "2026-01-01T00:00:02.500Z"
    proceed = {"type": "verdict", "result": "proceed", "reason": "x moves.", "plan": ["a"], "done": "x has moved."}

    def outcome(self, *more, **kwargs):
        doc = procedure.document(records(*more, **kwargs), self.end)
        return doc["result"], doc["reason"]

    def test_completed(self):
        assert self.outcome(self.proceed, {"type": "completed"}) == ("ok", "x has moved.")

    def test_not_completed_is_failed(self):
        assert self.outcome(self.proceed)[0] == "failed"

    def test_rehearsal_that_ended_early_is_failed(self):
        assert self.outcome(self.proceed, check_mode=True)[0] == "failed"

    def test_rehearsal(self):
        result = self.outcome(self.proceed, {"type": "completed"}, check_mode=True)
        assert result == ("ok", "Check mode: nothing was changed. x moves.")

    def test_refused(self):
        assert self.outcome({"type": "stop", "reason": "no", "result": "refused"}) == ("refused", "no")

    def test_failed_wins_over_completed(self):
        assert self.outcome(self.proceed, {"type": "stop", "reason": "no"}, {"type": "completed"})[0] == "failed"

    def test_nothing_to_do(self):
        assert self.outcome({"type": "verdict", "result": "nothing_to_do", "reason": "done"})[0] == "nothing_to_do"

    def test_empty_journal_is_failed(self):
        assert procedure.document([], self.end)["result"] == "failed"

    def test_steps_facts_and_seconds(self):
        step = {"type": "step", "name": "n", "host": "h", "state": "ok", "seconds": 1, "started": "s", "message": ""}
        doc = procedure.document(records(step, {"type": "fact", "key": "rpo_bytes", "value": 0}), self.end)
        assert doc["steps"][0]["name"] == "n" and doc["rpo_bytes"] == 0 and doc["seconds"] == 2.5


class TestOutcomeMessage:
    """A failed step says why, also when the module broke off and when its output is hidden."""

    class Summary:
        """Shape of ansible-core 2.19's summary of an exception."""

        class event:
            msg = "EOF"

    @pytest.mark.parametrize(
        ("outcome", "expected"),
        [
            ({"msg": "no such host"}, "no such host"),
            ({"msg": "", "exception": Summary()}, "the module broke off: EOF"),
            (
                {"msg": "MODULE FAILURE\nSee stdout/stderr", "exception": "Traceback\n  x\nEOFError: EOF\n"},
                "the module broke off: EOFError: EOF",
            ),
            ({}, ""),
            (
                {"msg": "non-zero return code", "rc": 1, "cmd": ["/x/failover.pl"], "stderr": "\nis a standby\n"},
                "expected exit code 0 of /x/failover.pl, found 1: is a standby",
            ),
            (
                {"msg": "non-zero return code", "rc": 9, "cmd": "x", "stderr": "", "stdout": ""},
                "expected exit code 0 of x, found 9, and it said nothing",
            ),
        ],
    )
    def test_says_why(self, outcome, expected):
        assert procedure.outcome_message(outcome) == expected
