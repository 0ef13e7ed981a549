# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import json

import pytest

from ansible_collections.circonus.inside.plugins.module_utils import jezebel
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput, InsideError, TimedOut

SCRIPT = "#!/bin/sh\nLOGFILE=/dev/null\nexec java com.omniti.jezebel.Jezebel > $LOGFILE\n"


class Broker:
    """A broker that is two files; counts restarts."""

    def __init__(self, path):
        self.script, self.record, self.restarts = path / "jezebel", path / "state/record.json", 0
        self.script.write_text(SCRIPT)
        self.script.chmod(0o755)
        self.broken = False

    def restart(self, match, timeout):
        if self.broken:
            raise TimedOut("jezebel was not started again")
        self.restarts += 1
        return True

    def bring(self, logfile=jezebel.OFF, **options):
        return jezebel.bring(logfile, str(self.script), str(self.record), restarter=self.restart, **options)


@pytest.fixture
def broker(tmp_path):
    return Broker(tmp_path)


class TestBring:
    def test_on_and_off_again(self, broker):
        result = broker.bring("/var/log/j.log")
        assert result["actions"] == ["set LOGFILE=/var/log/j.log", "restart jezebel"] and broker.restarts == 1
        assert broker.script.read_text() == SCRIPT.replace("/dev/null", "/var/log/j.log")
        assert broker.script.stat().st_mode & 0o777 == 0o755
        assert json.loads(broker.record.read_text())["original"] == "/dev/null"
        assert broker.bring("/var/log/j.log")["changed"] is False
        assert broker.bring()["changed"] is True
        assert broker.script.read_text() == SCRIPT and not broker.record.exists() and broker.restarts == 2
        assert broker.bring()["changed"] is False

    def test_what_was_there_before_comes_back(self, broker):
        broker.script.write_text(SCRIPT.replace("/dev/null", "/var/log/mine.log"))
        broker.bring("/var/log/j.log")
        broker.bring("/var/log/other.log")
        broker.bring()
        assert "LOGFILE=/var/log/mine.log" in broker.script.read_text()

    def test_a_log_that_somebody_left_on_is_turned_off(self, broker):
        broker.script.write_text(SCRIPT.replace("/dev/null", "/tmp/forgotten"))
        assert broker.bring()["changed"] and broker.script.read_text() == SCRIPT

    def test_the_record_is_there_before_the_change_and_until_all_is_back(self, broker):
        broker.broken = True
        with pytest.raises(TimedOut):
            broker.bring("/var/log/j.log")
        assert json.loads(broker.record.read_text())["restarted"] is False
        broker.broken = False
        assert broker.bring("/var/log/j.log")["actions"] == ["restart jezebel"]
        broker.broken = True
        with pytest.raises(TimedOut):
            broker.bring()
        assert broker.record.exists()
        broker.broken = False
        assert broker.bring()["actions"] == ["restart jezebel"] and not broker.record.exists()

    def test_check_mode_changes_nothing(self, broker):
        assert broker.bring("/var/log/j.log", check_mode=True)["changed"]
        assert broker.script.read_text() == SCRIPT and not broker.record.exists() and broker.restarts == 0

    def test_a_broker_without_the_script(self, broker):
        broker.script.unlink()
        assert broker.bring("/var/log/j.log") == {
            "changed": False, "present": False, "logfile": "/dev/null", "restarted": False, "actions": []}

    def test_a_record_that_cannot_be_read_is_no_record(self, broker):
        broker.record.parent.mkdir()
        broker.record.write_text("{")
        with pytest.raises(InsideError, match="Expected JSON"):
            broker.bring()


class TestPlan:
    def test_a_script_without_the_line(self):
        with pytest.raises(InsideError, match="Expected a line LOGFILE"):
            jezebel.plan("#!/bin/sh\n", None, "/x")

    @pytest.mark.parametrize("path", ["x", "/a b", "/a;b", "/$(x)"])
    def test_a_path_that_a_shell_would_read(self, path):
        with pytest.raises(BadInput):
            jezebel.plan(SCRIPT, None, path)


class TestIsJezebel:
    @pytest.mark.parametrize(
        "words, found",
        [
            (["/bin/sh", "/opt/noit/prod/bin/jezebel"], True),
            (["java", "-cp", "x", "com.omniti.jezebel.Jezebel"], True),
            (["python3", "/opt/lab/jezebel.py"], True),
            (["python3", "/tmp/AnsiballZ_jezebel_log.py"], False),
            (["tail", "-f", "/var/log/jezebel.log"], False),
        ],
    )
    def test_by_a_word_of_its_command(self, words, found):
        assert jezebel.is_jezebel(words, "jezebel") is found


class TestRestart:
    def run(self, answers, timeout=1.0):
        clock, killed = [0.0], []

        def pause(seconds):
            clock[0] += seconds

        done = jezebel.restart(
            "jezebel", timeout, finder=lambda unused: answers.pop(0) if len(answers) > 1 else answers[0],
            kill=lambda pid, number: killed.append(pid), clock=lambda: clock[0], pause=pause)
        return done, killed

    def test_waits_for_the_new_one(self):
        assert self.run([[7, 8], [8], [], [9]]) == (True, [7, 8])

    def test_nothing_to_restart(self):
        assert self.run([[]]) == (False, [])

    @pytest.mark.parametrize("answers, words", [([[7], [7]], "did not end"), ([[7], []], "was not started again")])
    def test_gives_up(self, answers, words):
        with pytest.raises(TimedOut, match=words):
            self.run(answers)
