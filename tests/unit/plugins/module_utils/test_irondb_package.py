# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os
import shutil
import subprocess
import sys
import time

import pytest

from ansible_collections.circonus.inside.plugins.module_utils import irondb_damage, irondb_package
from ansible_collections.circonus.inside.plugins.module_utils.errors import CommandFailed, TimedOut

PROGRAM = irondb_package.PROGRAM
START = 1700000000.0


def evidence(**more):
    """A watchdog and its child, started an hour after the package was installed."""
    return dict({
        "processes": [{"pid": 10, "started": START, "exe": PROGRAM}, {"pid": 11, "started": START + 1, "exe": PROGRAM}],
        "program": PROGRAM, "changed": START - 3600, "problem": "",
        "package": {"name": "snowth-1.2-3", "installed": START - 3600},
    }, **more)


def processes(*executables):
    return [{"pid": 10 + at, "started": START + at, "exe": exe} for at, exe in enumerate(executables)]


class TestJudge:
    def test_a_node_that_was_started_after_the_installation_has_not_changed(self):
        assert irondb_package.judge(evidence()) == (
            False, "snowthd runs since 2023-11-14 22:13:20Z, after snowth-1.2-3 was installed")

    @pytest.mark.parametrize("more, why", [
        ({"processes": processes(PROGRAM, PROGRAM + " (deleted)")}, "from a file that was replaced"),
        ({"changed": START + 60}, "%s was changed at 2023-11-14 22:14:20Z" % PROGRAM),
        ({"package": {"name": "snowth-1.2-4", "installed": START + 60}}, "snowth-1.2-4 was installed at 2023-11-14"),
    ], ids=["deleted", "written", "database"])
    def test_one_sign_is_enough(self, more, why):
        changed, reason = irondb_package.judge(evidence(**more))
        assert changed is True and why in reason and "runs since 2023-11-14 22:13:20Z" in reason

    def test_the_oldest_process_counts_as_a_child_that_was_forked_again_has_the_old_file(self):
        young = [{"pid": 10, "started": START, "exe": PROGRAM}, {"pid": 12, "started": START + 90, "exe": PROGRAM}]
        assert irondb_package.judge(evidence(processes=young, changed=START + 60))[0] is True

    @pytest.mark.parametrize("more, why", [
        ({"processes": []}, "no snowthd runs"),
        ({"processes": processes(PROGRAM, None)}, "/proc/11/exe cannot be read"),
        ({"changed": None}, "%s cannot be read" % PROGRAM),
        ({"package": None, "problem": "rpm did not end within 20 s"}, "rpm did not end"),
    ])
    def test_what_is_not_known_is_never_unchanged(self, more, why):
        changed, reason = irondb_package.judge(evidence(**more))
        assert changed is None and why in reason

    def test_a_sign_counts_where_other_things_are_not_known(self):
        assert irondb_package.judge(evidence(processes=processes(None), changed=START + 1))[0] is True
        assert irondb_package.judge(evidence(problem="locked", package=None, changed=START + 1))[0] is True

    def test_without_a_package_database_the_program_decides(self):
        changed, reason = irondb_package.judge(evidence(package=None))
        assert changed is False and reason.endswith("after %s was installed" % PROGRAM)


class TestReadPackage:
    @staticmethod
    def read(code=0, out="", err="", rpm="/usr/bin/rpm"):
        return irondb_package.read_package(PROGRAM, lambda argv, timeout: (code, out, err), lambda name: rpm)

    def test_is_the_newest_owner_of_the_file(self):
        assert self.read(out="1700000000\tsnowth-1.2-3\n1700000060\tsnowth-1.2-4\n") == (
            {"name": "snowth-1.2-4", "installed": 1700000060.0}, "")

    def test_no_database_or_no_owner_is_no_evidence(self):
        assert self.read(rpm=None) == (None, "")
        assert self.read(1, "file %s is not owned by any package\n" % PROGRAM) == (None, "")

    def test_a_database_that_fails_is_a_problem(self):
        package, problem = self.read(1, err="error: cannot open Packages database\n")
        assert package is None and "cannot open Packages database" in problem

    @pytest.mark.parametrize("error", [TimedOut("rpm did not end."), CommandFailed("Cannot run rpm.")])
    def test_so_is_one_that_hangs(self, error):
        def run(argv, timeout):
            raise error
        assert irondb_package.read_package(PROGRAM, run, lambda name: name) == (None, str(error).rstrip("."))


class TestCollect:
    """A real process, started from a file that is replaced as a package manager does it."""

    @pytest.fixture
    def program(self, tmp_path):
        path = tmp_path / "snowthd"
        shutil.copy("/bin/sleep", str(path))
        while time.time() < os.stat(str(path)).st_ctime + 2 * irondb_package.JITTER_S:
            time.sleep(0.01)
        return path

    @pytest.fixture
    def running(self, program, monkeypatch):
        process = subprocess.Popen([str(program), "60"])
        found = irondb_damage.running

        def only():
            return [dict(item, unit="circonus-snowth") for item in found() if item["pid"] == process.pid]

        monkeypatch.setattr(irondb_damage, "running", only)
        monkeypatch.setattr(irondb_package, "read_package", lambda path: (None, ""))
        yield process
        process.kill()
        process.wait()

    @pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
    def test_says_that_it_was_replaced_whatever_the_time_of_the_content_is(self, program, running):
        assert irondb_package.collect(["circonus-snowth"], str(program))[0] is False
        assert irondb_package.collect(["other"], str(program)) == (None, "no snowthd runs")
        new = program.with_name("new")
        new.write_bytes(b"new")
        os.utime(str(new), (START, START))
        os.rename(str(new), str(program))
        changed, reason = irondb_package.collect(["circonus-snowth"], str(program))
        assert changed is True and "from a file that was replaced" in reason

    @pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
    def test_a_link_that_leads_to_another_file_counts_as_well(self, program, running, tmp_path):
        link = tmp_path / "link"
        link.symlink_to(program)
        changed, reason = irondb_package.collect(["circonus-snowth"], str(link))
        assert changed is True and "%s was changed" % link in reason

    def test_a_file_that_is_not_there_is_not_known(self, tmp_path):
        assert irondb_package.changed_at(str(tmp_path / "none")) is None
        assert irondb_package.executable(2 ** 30) is None
