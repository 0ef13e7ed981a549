# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import json
import os
import stat
import sys

import pytest

from ansible_collections.circonus.inside.plugins.module_utils import hooper
from ansible_collections.circonus.inside.plugins.module_utils.errors import CommandFailed, InsideError, TimedOut

EMPTY = {"INFO": [], "NOTICE": [], "WARNING": [], "FATAL": []}
OPTIONS = {
    "update_retries": 2,
    "auto_self_configure": True,
    "allow_notice": False,
    "allow_killswitch": False,
    "noop": False,
}
FRESH = {"updates": 0, "self_configured": False}


def summary(**levels):
    return dict(EMPTY, **levels)


class TestCommandLine:
    def test_combines_flags_and_puts_the_name_last(self):
        assert hooper.command_line("/x", "app1", True, True, True) == ["/x", "-m", "-n", "-d", "app1"]
        assert hooper.command_line("/x", None, False) == ["/x"]


class TestParseSummary:
    @pytest.mark.parametrize(
        "line, level, text",
        [
            ("WARNING: mq is not up", "WARNING", "mq is not up"),
            ("  * FATAL - no such host", "FATAL", "no such host"),
            ("[NOTICE] restart the database", "NOTICE", "restart the database"),
            ("app1: INFO: tidy up", "INFO", "tidy up"),
            ("\x1b[31mFATAL\x1b[0m: red", "FATAL", "red"),
            ("** WARNING ** late", "WARNING", "** late"),
        ],
    )
    def test_finds_the_word_near_the_beginning(self, line, level, text):
        assert hooper.parse_summary(line) == summary(**{level: [text]})

    @pytest.mark.parametrize(
        "line",
        [
            "warning: lower case",
            "there was no FATAL error",
            "[2021-01-11T10:00:00+00:00] WARN: deprecated",
            "[2021-01-11T10:00:00+00:00] INFO: Chef run",
            "    +NOTICE: a line of a file",
            "INFORMATION: no",
            "",
        ],
    )
    def test_leaves_everything_else_alone(self, line):
        assert hooper.parse_summary(line) == EMPTY

    def test_reads_only_what_follows_the_last_headline(self):
        text = "WARNING: while running\n=== Run summary ===\nNOTICE: a\nNOTICE: a\nNOTICE: b\n"
        assert hooper.parse_summary(text) == summary(NOTICE=["a", "b"])

    def test_joins_what_is_indented_below_an_entry(self):
        lines = (
            "Summary of this run:",
            "NOTICE: restart the database",
            "  then notification",
            "FATAL:",
            "  - one",
            "  - two",
            "End",
            "  x",
        )
        found = hooper.parse_summary("\n".join(lines))
        assert found == summary(NOTICE=["restart the database then notification"], FATAL=["one", "two"])


class TestParseMessages:
    def test_takes_warn_and_higher_once(self):
        text = "\n".join(
            ["[2021-01-11T10:00:00+00:00] WARN: ca.master is deprecated"] * 2
            + ["[2021-01-11T10:00:00+00:00] INFO: x", "[2021-01-11T10:00:00+00:00] ERROR: y"]
        )
        assert hooper.parse_messages(text) == ["WARN: ca.master is deprecated", "ERROR: y"]


class TestParseUpdated:
    def test_reads_the_number_or_nothing(self):
        assert hooper.parse_updated("Chef Client finished, 3/40 resources updated in 2 seconds") == 3
        assert hooper.parse_updated("Chef Client finished, 0 resources would have been updated") == 0
        assert hooper.parse_updated("INFO: Chef Run complete") is None


class TestSecrets:
    def test_finds_them_and_hides_them(self):
        document = {
            "cookie_domain": "example.net",
            "svclist": {
                "web_db": {"admin_pass": "FakeAdmin1", "master": "app1"},
                "mq": {"cookie": "FakeMq1", "password": "FakePw1"},
                "ca": {"key_pass": "fake phrase"},
                "web_frontend": {"session_key": "FakeKey01"},
            },
        }
        found = hooper.secrets_of(document)
        assert sorted(found) == ["FakeAdmin1", "FakeKey01", "FakeMq1", "FakePw1", "fake phrase"]
        assert hooper.redact("role FakeAdmin1 with fake phrase", found) == "role ******** with ********"

    def test_hides_what_follows_such_a_word(self):
        assert hooper.redact('db_password = "x y", next') == "db_password = ********, next"
        assert hooper.redact("cookie=abc; rest") == "cookie=********; rest"

    def test_tail_shows_no_file_differences(self):
        text = "one\n    +password FakePw1\n    -old\n@@ -1 +1 @@\nlast FakePw1\n"
        assert hooper.safe_tail(text, ["FakePw1"]) == ["one", "last ********"]


class TestDecide:
    @pytest.mark.parametrize(
        "rc, found, verdict",
        [
            (0, EMPTY, "done"),
            (0, summary(WARNING=["w"]), "done"),
            (0, summary(INFO=["i"]), "done"),
            (0, summary(NOTICE=["n"]), "fail"),
            (0, summary(FATAL=["f"]), "fail"),
            (90, EMPTY, "again"),
            (91, EMPTY, "fail"),
            (92, EMPTY, "fail"),
            (93, EMPTY, "self_configure"),
            (94, EMPTY, "fail"),
            (94, summary(NOTICE=["n"]), "fail"),
            (95, EMPTY, "fail"),
            (99, EMPTY, "fail"),
            (1, EMPTY, "fail"),
            (-9, EMPTY, "fail"),
        ],
    )
    def test_every_exit_code(self, rc, found, verdict):
        decision, sentence = hooper.decide(rc, found, FRESH, OPTIONS)
        assert decision == verdict
        if verdict == "fail":
            assert sentence.endswith(".") and (str(abs(rc)) in sentence)

    def test_gives_up_on_90_after_the_retries(self):
        assert hooper.decide(90, EMPTY, {"updates": 1, "self_configured": False}, OPTIONS)[0] == "again"
        assert hooper.decide(90, EMPTY, {"updates": 2, "self_configured": False}, OPTIONS)[0] == "fail"

    def test_self_configures_only_once(self):
        assert hooper.decide(93, EMPTY, {"updates": 0, "self_configured": True}, OPTIONS)[0] == "fail"
        assert hooper.decide(93, EMPTY, FRESH, dict(OPTIONS, auto_self_configure=False))[0] == "fail"
        assert hooper.decide(93, EMPTY, FRESH, dict(OPTIONS, noop=True))[0] == "skip"

    def test_accepts_notices_and_never_a_fatal(self):
        allowed = dict(OPTIONS, allow_notice=True)
        assert hooper.decide(94, summary(NOTICE=["n"]), FRESH, allowed) == ("done", "NOTICE: n")
        assert hooper.decide(94, summary(NOTICE=["n"], FATAL=["f"]), FRESH, allowed)[0] == "fail"
        assert hooper.decide(94, EMPTY, FRESH, allowed)[0] == "fail"

    def test_skips_a_killswitch_only_when_asked(self):
        assert hooper.decide(92, EMPTY, FRESH, dict(OPTIONS, allow_killswitch=True))[0] == "skip"


class Script:
    """Answers runs from a list of ``(rc, text)`` and records the arguments."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    def __call__(self, argv, timeout):
        self.asked.append(" ".join(argv[1:]))
        rc, text = self.answers.pop(0)
        return rc, text, 1.0


def converge(script, noop=False, **changes):
    params = dict(
        mode="maintenance",
        command="/opt/circonus/bin/run-hooper",
        nodename="app1",
        timeout=60,
        site_path="/no/such/site.json",
    )
    return hooper.converge(dict(params, **changes), noop=noop, runner=script, busy=lambda command: [])


class TestConverge:
    def test_a_clean_run(self):
        script = Script((0, "Chef Client finished, 0/9 resources updated in 1 seconds\nSummary:\nnothing\n"))
        result = converge(script)
        assert script.asked == ["-m app1"]
        assert (result["changed"], result["rc"], result["again"], result["skipped"]) == (False, 0, False, False)

    def test_a_warning_asks_for_another_run(self):
        result = converge(Script((0, "WARNING: mq is not up\n")))
        assert result["again"] and result["changed"] and result["summary"]["WARNING"] == ["mq is not up"]

    def test_runs_again_after_an_update_and_after_self_configure(self):
        script = Script((90, ""), (93, ""), (0, ""), (0, "finished, 0/1 resources"))
        result = converge(script, mode="full", nodename=None)
        assert script.asked == ["", "", "self-configure", ""]
        assert result["changed"] and [run["rc"] for run in result["runs"]] == [90, 93, 0, 0]

    def test_check_mode_is_no_op_and_never_self_configures(self):
        script = Script((0, ""), (0, "finished, 2/9 resources would have been updated"))
        assert converge(script, noop=True, self_configure=True)["changed"] is True
        assert script.asked == ["config-check", "-m -n app1"]

    def test_self_configure_first_when_asked(self):
        script = Script((0, ""), (0, "finished, 0/9 resources"))
        converge(script, self_configure=True)
        assert script.asked == ["self-configure", "-m app1"]

    def test_a_failing_config_check_says_why(self):
        with pytest.raises(InsideError, match="config-check: stopped .exit code 94.: FATAL: bad file"):
            converge(Script((94, "FATAL: bad file\n")), config_check=True)

    def test_a_failure_is_one_line_without_secrets(self, tmp_path):
        site = tmp_path / "site.json"
        site.write_text(json.dumps({"svclist": {"web_db": {"admin_pass": "FakeAdmin1"}}}))
        with pytest.raises(InsideError) as caught:
            converge(Script((1, "start\n  +secret FakeAdmin1\npsql: FakeAdmin1 refused\n")), site_path=str(site))
        assert str(caught.value) == (
            "Hooper on app1 failed with exit code 1 of the configuration run. Read the last lines of its log. It "
            "said: start | "
            "psql: ******** refused. Its log is /var/log/chef/circonus-hooper.log."
        )
        assert caught.value.details["rc"] == 1 and "FakeAdmin1" not in json.dumps(caught.value.details)

    def test_waits_for_the_run_of_somebody_else(self):
        others = [[7], [7], []]
        result = hooper.converge(
            dict(mode="maintenance", command="/x", timeout=60, site_path="/no"),
            runner=Script((0, "")),
            busy=lambda command: others.pop(0),
            pause=lambda seconds: None,
        )
        assert "under way" in result["reason"]


def program(tmp_path, text):
    path = tmp_path / "run-hooper"
    path.write_text("#!%s\n%s" % (sys.executable, text))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


class TestExecute:
    def test_returns_both_outputs(self, tmp_path):
        path = program(tmp_path, "import sys; print('out', flush=True); print('err', file=sys.stderr); sys.exit(94)")
        rc, text, seconds = hooper.execute([path], 30)
        assert (rc, text) == (94, "out\nerr\n") and seconds >= 0

    def test_does_not_wait_for_a_service_that_keeps_the_output_open(self, tmp_path):
        path = program(tmp_path, "import subprocess, sys; subprocess.Popen(['sleep', '20'], start_new_session=True)")
        rc, text, seconds = hooper.execute([path], 15)
        assert rc == 0 and seconds < 10

    def test_stops_a_run_that_takes_too_long(self, tmp_path):
        path = program(tmp_path, "import time; print('working', flush=True); time.sleep(60)")
        with pytest.raises(TimedOut, match="did not end") as caught:
            hooper.execute([path], 1)
        assert "working" in caught.value.details["output"]

    def test_a_missing_program_is_one_line(self, tmp_path):
        with pytest.raises(CommandFailed, match="circonus-field-hooper"):
            hooper.execute([str(tmp_path / "none")], 5)


class TestRunning:
    def test_finds_the_command_among_the_first_words(self, tmp_path):
        table = {1: ["/sbin/init"], 20: ["/bin/sh", "/x/run-hooper", "-m"], 30: ["vi", "a", "b", "/x/run-hooper"]}
        for number, words in table.items():
            (tmp_path / str(number)).mkdir()
            (tmp_path / str(number) / "cmdline").write_bytes("\0".join(words).encode() + b"\0")
        (tmp_path / "self").mkdir()
        assert hooper.running("/x/run-hooper", str(tmp_path)) == [20]
        assert os.getpid() not in hooper.running("pytest")
