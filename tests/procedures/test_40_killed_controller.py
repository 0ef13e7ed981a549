# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller is killed after a step; the same command again ends in the same state with nothing lost."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest
from running_lab import BOUNDARIES, wait_until

#: (when to kill, after the start or the end of that step): here nobody is primary. `make torture` kills at every
#: boundary that a run has.
SPREAD = (("Fence the old primary", "end"),)


def journal_of(lab, started):
    """Records of the newest journal written since ``started``."""
    directory = lab.reports / "journal"
    files = sorted(directory.glob("datacenter_failover-*.jsonl"), key=os.path.getmtime) if directory.exists() else []
    if not files or os.path.getmtime(files[-1]) < started:
        return []
    return [json.loads(line) for line in files[-1].read_text().splitlines() if line.endswith("}")]


def kill(process):
    """SIGKILL for the controller with everything it forked; the hosts are not told."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def run_and_kill(lab, site, step, edge):
    """Start a failover and kill it at the boundary. Returns False when the run ended before it."""
    started = time.time()
    extra = {"datacenter_failover_to": site, "circonus_confirm": site, "circonus_report_dir": str(lab.reports)}
    log = lab.reports / "killed.log"
    with open(log, "w") as stdout:
        process = lab.start("datacenter_failover", stdout=stdout, **extra)
    deadline = time.monotonic() + 300
    while process.poll() is None and time.monotonic() < deadline:
        if edge == "end" and any(r["type"] == "step" and r["name"].startswith(step) for r in journal_of(lab, started)):
            kill(process)
            return True
        if edge == "start" and "  Arm and promote the candidate on " in log.read_text():
            kill(process)
            return True
        time.sleep(0.05)
    if process.poll() is None:
        kill(process)
    return False


def boundaries():
    """Every boundary for `make torture`, a spread otherwise."""
    if not os.environ.get("CIRCONUS_TORTURE"):
        return SPREAD
    return tuple((name, "end") for name in BOUNDARIES) + (("Arm and promote", "start"),)


class TestKilledController:
    """SIGKILL at step boundaries."""

    @pytest.mark.parametrize("step,edge", boundaries())
    def test_same_command_again_converges(self, lab, writing, step, edge):
        target = "west" if lab.active_site() == "east" else "east"
        asides = count_asides(lab)
        assert run_and_kill(lab, target, step, edge), "the run ended before %s" % step
        # What was under way on the hosts goes on without its controller; the next run must cope at any moment.
        run = lab.failover(target)
        if run.result == "refused" and "lock" in run.report["reason"]:
            raise AssertionError("the lock of a dead controller must be taken over: %r" % run)
        if run.rc:
            # A module that the dead controller left behind may still be at work; the operator starts the command again.
            run = lab.failover(target)
        assert run.rc == 0 and run.result in ("ok", "nothing_to_do"), run
        before = lab.writer("report")["acknowledged"]
        wait_until(lambda: lab.writer("report")["acknowledged"] > before + 20, 30, "the client writes again")
        report = writing()
        assert report["lost"] == 0 and report["holes"] == 0 and not report["two_primaries"], report
        lab.assert_settled(target)
        assert count_asides(lab) == asides, "a clean failover sets no data directory aside"


def count_asides(lab):
    """Data directories that were set aside, on all hosts."""
    total = 0
    for host in ("east-app1", "west-app1", "east-app3", "west-app3"):
        listing = lab.on(host, "ls", "/wdb/pgdata").stdout
        total += sum(".aside" in name for name in listing.split())
    return total
