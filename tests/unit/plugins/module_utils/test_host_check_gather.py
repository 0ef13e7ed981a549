# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os
import signal
import subprocess
import threading
import time

from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError
from ansible_collections.circonus.inside.plugins.module_utils.host_check_gather import gather


def wait_until(condition, deadline_s=10.0):
    limit = time.time() + deadline_s
    while not condition():
        assert time.time() < limit, "condition did not become true"
        time.sleep(0.01)


def runs(pid):
    try:
        with open("/proc/%d/stat" % pid) as handle:
            return handle.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (IOError, OSError):
        return False


def fail():
    raise InsideError("nobody is at home")


def crash():
    raise RuntimeError("two\nlines")


class TestGather:
    def test_gives_answers_and_reasons(self):
        results, problems = gather({"a": lambda: {"x": [1, None]}, "b": fail, "c": crash}, 10)
        assert results == {"a": {"x": [1, None]}}
        assert problems == {"b": "nobody is at home", "c": "RuntimeError: two lines"}

    def test_is_back_at_the_deadline_with_what_it_has(self):
        started = time.time()
        results, problems = gather({"a": lambda: "here", "b": threading.Event().wait}, 0.5)
        assert time.time() - started < 20
        assert results == {"a": "here"}
        assert problems == {"b": "no answer within 0.5 s"}

    def test_is_back_at_once_when_all_answered(self):
        started = time.time()
        gather({"a": lambda: 1}, 60)
        assert time.time() - started < 5

    def test_many_and_large_answers_arrive_whole(self):
        jobs = {str(number): lambda number=number: "x" * 20000 + str(number) for number in range(100)}
        results, problems = gather(jobs, 30)
        assert not problems
        assert all(results[name] == "x" * 20000 + name for name in jobs)

    def test_leaves_no_process_behind(self, tmp_path):
        path = tmp_path / "pids"

        def hang():
            child = subprocess.Popen(["sh", "-c", "sleep 600 & echo $! > {0}; wait".format(path)])
            child.wait()

        problems = gather({"hang": hang}, 1.0)[1]
        assert "hang" in problems
        pid = int(path.read_text())
        wait_until(lambda: not runs(pid))

    def test_goes_on_without_a_child_that_stands_still(self):
        def freeze():
            os.kill(os.getpid(), signal.SIGSTOP)
            threading.Event().wait()

        started = time.time()
        results, problems = gather({"freeze": freeze}, 0.5)
        assert time.time() - started < 20
        assert not results and "freeze" in problems

    def test_does_not_hold_what_the_caller_has_open(self):
        reader, writer = os.pipe()
        results = gather({"fds": lambda: sorted(int(name) for name in os.listdir("/proc/self/fd"))}, 10)[0]
        os.close(reader)
        os.close(writer)
        # Its three standard ones, the way back, and the directory that is listed.
        assert len(results["fds"]) == 5

    def test_no_jobs_no_answer(self):
        assert gather({}, 1) == ({}, {})
