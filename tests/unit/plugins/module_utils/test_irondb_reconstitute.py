# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os
import time

import pytest

from ansible_collections.circonus.inside.plugins.module_utils import irondb_reconstitute as reconstitute
from ansible_collections.circonus.inside.plugins.module_utils.errors import CommandFailed, InsideError, TimedOut

NODE = "a0000000-0000-4000-8000-000000000002"
OTHER = "a0000000-0000-4000-8000-000000000003"
DONE = "Reconstitute Finished!"


class TestSortOut:
    @pytest.mark.parametrize("words, running, daemons", [
        (["/opt/circonus/sbin/snowthd", "-u", "nobody", "-g", "nobody", "-i", NODE, "-B"], [NODE], 0),
        (["/usr/bin/python3", "/opt/circonus/sbin/snowthd", "-i", OTHER, "-B", "-T", "x", "-O", "y"], [OTHER], 0),
        (["/bin/sh", "/opt/circonus/bin/snowth-start", "-B"], [None], 0),
        (["/opt/circonus/sbin/snowthd", "-D", "-D", "-c", "/opt/circonus/etc/snowth.conf"], [], 1),
        (["/opt/circonus/sbin/snowthd", "-k", "status"], [], 0),
        (["/usr/bin/python3", "-B", "/opt/circonus/sbin/snowthd", "-D", "-D"], [], 1),
        (["vi", "-B", "/opt/circonus/sbin/snowthd"], [], 0),
        (["tail", "-f", "/snowth/logs/errorlog"], [], 0),
    ])
    def test_tells_a_rebuild_from_a_daemon_and_from_anything_else(self, words, running, daemons):
        found = reconstitute.sort_out([(7, words)])
        assert [item["node"] for item in found["running"]] == running and len(found["daemons"]) == daemons


class TestCommand:
    def test_is_the_one_of_the_manual(self):
        assert " ".join(reconstitute.command(NODE)) == "/opt/circonus/sbin/snowthd -u nobody -g nobody -i %s -B" % NODE
        assert reconstitute.command(NODE, wrapper=True) == ["/opt/circonus/bin/snowth-start", "-B"]
        source = {"digest": "d" * 64, "address": "192.0.2.31:8112"}
        assert reconstitute.command(NODE, source)[-5:] == ["-B", "-T", "d" * 64, "-O", "192.0.2.31:8112"]


class TestProgress:
    @pytest.mark.parametrize("section, percent, done, total", [
        ({"nnt/percent": 50.0, "text/percent": 100.0, "hist/percent": 0.0}, 50.0, None, None),
        ({"nntbs/pct": "25.5"}, 25.5, None, None),
        ({"nnt": 12.5}, 12.5, None, None),
        ({"raw/complete": 40, "raw/nodes": 3, "raw/bytes_total": 4000, "raw/bytes_done": 1000}, 40.0, 1000, 4000),
        ({"x/total_bytes": 4000, "x/received_bytes": 1000}, 25.0, 1000, 4000),
        ({"state": "running"}, None, None, None),
        ({"big": 1234567}, None, None, None),
        ({}, None, None, None), (None, None, None, None),
    ])
    def test_reads_whatever_a_release_calls_it(self, section, percent, done, total):
        found = reconstitute.progress(section)
        assert (found["percent"], found["done"], found["total"]) == (percent, done, total)

    def test_the_time_that_is_left(self):
        assert reconstitute.estimate([(0, 0.0), (60, 25.0)]) == 180.0
        assert reconstitute.estimate([(0, 25.0), (60, 25.0)]) is None
        assert reconstitute.estimate([(0, 90.0), (60, 50.0), (120, 75.0)]) == 60.0
        assert reconstitute.estimate([(0, None), (60, 25.0)]) is None and reconstitute.estimate([]) is None

    def test_a_line_says_percent_bytes_and_time(self):
        row = {"seconds": 61.0, "percent": 25.0, "parts": {"nnt": 25.0}, "done": 1000, "total": 4000, "used": None,
               "before": None}
        assert reconstitute.line(row, 180.0) == "    61 s   25.0 %  1.0 kB of 4.0 kB  ETA 3 min  (nnt 25 %)"
        row.update(percent=None, parts={}, done=None, total=None, used=2 * 10**9, before=4 * 10**9)
        assert reconstitute.line(row, None) == "    61 s  percent unknown  2.0 GB on disk, 4.0 GB before  ETA unknown"
        row.update(used=None)
        assert reconstitute.line(row, 9000.0).endswith("ETA 2.5 h")


class TestStart:
    def program(self, tmp_path, text):
        path = tmp_path / "snowthd"
        path.write_text("#!/bin/sh\n" + text)
        path.chmod(0o755)
        return str(path)

    def test_goes_on_by_itself_with_its_console_in_the_log(self, tmp_path):
        log = str(tmp_path / "log")
        pid = reconstitute.start([self.program(tmp_path, "sleep 1; echo '%s'\n" % DONE)], log, begin_s=0.2)
        assert os.getsid(pid) == pid != os.getsid(0)
        assert not reconstitute.finished(reconstitute.console_of(log))
        end = time.time() + 20
        while not reconstitute.finished(reconstitute.console_of(log)):
            assert time.time() < end
            time.sleep(0.05)

    def test_a_complaint_at_once_is_told_in_its_words(self, tmp_path):
        program = self.program(tmp_path, "echo 'node is not in topology' >&2; exit 1\n")
        with pytest.raises(CommandFailed) as caught:
            reconstitute.start([program, "-B"], str(tmp_path / "log"), begin_s=20)
        assert "exit code 1: node is not in topology. Mend it" in str(caught.value)

    def test_the_command_line_in_the_log_is_no_last_line(self):
        assert not reconstitute.finished(["# 2026 snowthd %s" % DONE, "Reconstitute Finished", ""])
        assert reconstitute.finished(["x", DONE, ""]) and reconstitute.finished(["[12] " + DONE])


class Host:
    """A reconstitute on the test's clock: ends after ``seconds``, with or without its last line."""

    def __init__(self, tmp_path, seconds, line=True, stays=0.0, node=NODE):
        self.log, self.now, self.seconds, self.line, self.stays = str(tmp_path / "log"), 0.0, seconds, line, stays
        self.node, self.killed = node, []
        self.pause(0)

    def pause(self, seconds):
        self.now += seconds
        if self.now >= self.seconds and self.line:
            with open(self.log, "w") as handle:
                handle.write(DONE + "\n")

    def find(self):
        alive = self.now < self.seconds + self.stays and not self.killed
        return {"running": [{"pid": 9, "node": self.node}] if alive else [], "daemons": []}

    def watch(self, timeout, section=None):
        return reconstitute.watch(NODE, self.log, "192.0.2.32:8112", timeout, find=self.find, ask=lambda *_a: section,
                                  clock=lambda: self.now, pause=self.pause)

    def settle_down(self, **more):
        return reconstitute.settle_down(NODE, self.log, find=self.find, clock=lambda: self.now, pause=self.pause,
                                        kill=lambda pid, number: self.killed.append(pid), **more)


class TestWatch:
    def test_to_the_last_line(self, tmp_path):
        row = Host(tmp_path, 30).watch(600)
        assert row["finished"] and row["percent"] == 100.0 and 30 <= row["seconds"] <= 34

    def test_a_slice_of_it_tells_how_far_it_is(self, tmp_path):
        row = Host(tmp_path, 30).watch(10, {"nnt/percent": 40.0})
        assert not row["finished"] and row["running"] and row["percent"] == 40.0 and row["seconds"] <= 10

    def test_an_end_without_the_last_line_is_none(self, tmp_path):
        with pytest.raises(InsideError) as caught:
            Host(tmp_path, 10, line=False).watch(600)
        assert "ended without" in str(caught.value) and "The same command goes on" in str(caught.value)

    def test_another_node_s_rebuild_is_not_ours(self, tmp_path):
        with pytest.raises(InsideError):
            Host(tmp_path, 10, line=False, node=OTHER).watch(5)


class TestSettleDown:
    def test_one_that_ends_by_itself_is_left_alone(self, tmp_path):
        host = Host(tmp_path, 0, stays=3.0)
        assert not host.settle_down() and host.killed == []

    def test_one_that_stays_is_told_to_end_once(self, tmp_path):
        host = Host(tmp_path, 0, stays=10**6)
        assert host.settle_down() and host.killed == [9] and host.now >= reconstitute.END_S

    def test_one_that_will_not_go_is_named(self, tmp_path):
        host = Host(tmp_path, 0, stays=10**6)
        host.find = lambda: {"running": [{"pid": 9, "node": NODE}], "daemons": []}
        with pytest.raises(TimedOut) as caught:
            host.settle_down()
        assert "process 9" in str(caught.value) and host.killed == [9]

    def test_never_before_the_last_line(self, tmp_path):
        with pytest.raises(InsideError) as caught:
            Host(tmp_path, 10).settle_down()
        assert DONE in str(caught.value)
