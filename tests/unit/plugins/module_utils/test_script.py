# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import getpass

import pytest

from ansible_collections.circonus.inside.plugins.module_utils import script
from ansible_collections.circonus.inside.plugins.module_utils.errors import (
    BadInput,
    CommandFailed,
    InsideError,
    TimedOut,
)


class TestRun:
    def test_returns_the_last_lines_of_both_streams(self):
        done = script.run(["/bin/sh", "-c", "echo a; echo b; echo $X >&2"], environment={"X": "y"}, lines=2)
        assert done["rc"] == 0 and done["output"] == ["b", "y"]

    def test_another_exit_code_is_one_line(self):
        with pytest.raises(CommandFailed, match="ended with exit code 3: no broker. Look") as caught:
            script.run(["/bin/sh", "-c", "echo no broker; exit 3"])
        assert caught.value.details["rc"] == 3

    def test_ends_the_whole_group_when_the_time_is_up(self, tmp_path):
        with pytest.raises(TimedOut, match="did not end within 1 s") as caught:
            script.run(["/bin/sh", "-c", "echo begun; (sleep 60; echo late > %s/x) ; true" % tmp_path], timeout=1)
        assert caught.value.details["output"][0] == "begun" and caught.value.details["seconds"] < 10

    def test_a_daemon_left_behind_does_not_hang_it(self):
        assert script.run(["/bin/sh", "-c", "sleep 3 & echo done"], timeout=2)["output"] == ["done"]

    def test_reads_no_input(self):
        assert script.run(["/bin/cat"], timeout=5)["output"] == []

    def test_an_account_that_is_not_there(self):
        with pytest.raises(BadInput, match="Expected the account nobody-here"):
            script.run(["/bin/true"], user="nobody-here")

    def test_ones_own_account(self):
        assert script.demote(script.account_of(getpass.getuser())) is None


class TestCheck:
    def test_missing_and_not_executable(self, tmp_path):
        with pytest.raises(InsideError, match="this host has none"):
            script.check(str(tmp_path / "x"))
        (tmp_path / "x").write_text("")
        (tmp_path / "x").chmod(0o644)
        with pytest.raises(InsideError, match="no x"):
            script.check(str(tmp_path / "x"))


class TestFailure:
    def test_a_signal(self):
        assert script.failure(["/x"], -9, []) == "/x was ended by signal 9. Look at what it says."
