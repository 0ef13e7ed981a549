# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The pair of watchdog and child, as processes."""

import os
import signal
import subprocess
import sys

import pytest

from ..conftest import LIBRARY
from .conftest import eventually

PROGRAM = """
import os, signal, sys, time
sys.path.insert(0, sys.argv[1])
from daemons import watchdog

def log(text):
    with open(sys.argv[2], "a") as handle:
        handle.write(text + "\\n")

def work(child):
    signal.signal(signal.SIGUSR1, lambda *_: setattr(child, "hanging", True))
    signal.signal(signal.SIGUSR2, lambda *_: child.commands()["restart"]([]))
    signal.signal(signal.SIGHUP, lambda *_: child.commands()["shutdown"]([]))
    if os.path.exists(sys.argv[2] + ".fail"):
        watchdog.die(log, "cannot start")
    child.ready()
    log("ready %d" % os.getpid())
    while True:
        child.beat()
        time.sleep(0.05)

sys.exit(watchdog.pair(work, log, late=0.5))
"""


@pytest.fixture
def pair(tmp_path):
    """Start the program; its log answers which child works."""
    started = []

    class Pair:
        log = tmp_path / "log"

        def start(self):
            self.parent = subprocess.Popen([sys.executable, "-c", PROGRAM, LIBRARY, str(self.log)])
            started.append(self.parent)
            return self

        def children(self):
            text = self.log.read_text() if self.log.exists() else ""
            return [int(line.split()[1]) for line in text.splitlines() if line.startswith("ready")]

        def child(self, count=1):
            return eventually(lambda: len(self.children()) >= count and self.children()[-1])

    yield Pair()
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()


def gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


class TestPair:
    def test_a_killed_child_is_started_again(self, pair):
        pair.start()
        first = pair.child()
        os.kill(first, signal.SIGKILL)
        assert pair.child(2) != first and pair.parent.poll() is None

    def test_a_hanging_child_is_killed_and_replaced(self, pair):
        pair.start()
        os.kill(pair.child(), signal.SIGUSR1)
        pair.child(2)
        assert "missed its heartbeats" in pair.log.read_text()

    def test_restart_makes_a_new_child(self, pair):
        pair.start()
        os.kill(pair.child(), signal.SIGUSR2)
        pair.child(2)
        assert pair.parent.poll() is None

    def test_shutdown_ends_both(self, pair):
        pair.start()
        os.kill(pair.child(), signal.SIGHUP)
        assert pair.parent.wait(60) == 0

    def test_stopping_the_parent_ends_the_child(self, pair):
        pair.start()
        child = pair.child()
        pair.parent.terminate()
        assert pair.parent.wait(60) == 0
        eventually(lambda: gone(child))

    def test_a_child_without_its_parent_ends(self, pair):
        pair.start()
        child = pair.child()
        pair.parent.kill()
        pair.parent.wait()
        eventually(lambda: gone(child))

    def test_a_first_start_that_fails_ends_with_its_code(self, pair, tmp_path):
        (tmp_path / "log.fail").write_text("")
        assert pair.start().parent.wait(60) == 255

    def test_gives_up_after_too_many_starts(self, pair):
        pair.start()
        for count in range(1, 6):
            os.kill(pair.child(count), signal.SIGKILL)
        assert pair.parent.wait(60) == 1
        assert "giving up" in pair.log.read_text()
