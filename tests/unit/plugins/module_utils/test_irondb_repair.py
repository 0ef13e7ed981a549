# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import sys
import threading

import pytest

from ansible_collections.circonus.inside.plugins.module_utils import irondb_repair
from ansible_collections.circonus.inside.plugins.module_utils.errors import (
    BadInput,
    CommandFailed,
    InsideError,
    Refused,
    TimedOut,
)

NODE = "a0000000-0000-4000-8000-000000000001"
UNIT = "circonus-snowth"
SERVICE = {"name": "data_storage", "units": [{"id": "snowth", "candidates": [UNIT]}]}
DAEMON = {"pid": 5, "kind": "daemon", "target": "", "command": "snowthd -D", "unit": UNIT}


def complaint(store, state="damaged", at=0.0, why=""):
    target = store if "/" in store else ""
    return {"store": store, "target": target, "state": state, "at": at, "line": store + " Corruption", "why": why}


def look(*stores, **more):
    return dict({"stores": list(stores), "serving": False, "processes": [], "unit": UNIT}, **more)


class Node:
    """A host whose damaged stores are told one at a time, as snowthd does."""

    def __init__(self, damaged, targets=(), lasting=(), **more):
        self.damaged, self.lasting, self.calls = list(damaged), lasting, []
        self.up, self.broken, self.more = False, None, more
        self.told, self.clock = {}, 0
        self.work = irondb_repair.Repair({"node": NODE, "service": SERVICE, "targets": list(targets)})
        for name in ("look", "repair", "start", "stop"):
            setattr(self.work, name, getattr(self, name))
        self.tell(1e12)

    def tell(self, at):
        if self.damaged and self.damaged[0] not in self.told:
            self.told[self.damaged[0]] = at

    def look(self):
        stores = []
        for store, at in self.told.items():
            state = "damaged" if store in self.damaged else "opened" if self.up else "repaired"
            stores.append(complaint(store, state if "/" in store else "beyond", at, "ask support"))
        return look(*stores, **dict({"serving": self.up}, **self.more))

    def repair(self, target):
        self.calls.append("repair " + target)
        if target not in self.lasting:
            self.damaged.remove(target)
            self.told[target] = 1.0
        return {"target": target, "rc": 0, "output": [], "seconds": 0.0}

    def start(self):
        self.calls.append("start")
        if self.broken or self.damaged:
            self.tell(1e12)
            raise TimedOut(self.broken or "it does not come up")
        self.up = True

    def stop(self):
        self.calls.append("stop")


class TestCommand:
    def test_is_that_of_the_manual(self):
        assert " ".join(irondb_repair.command(NODE, "hist/60")) == (
            "/opt/circonus/sbin/snowthd -u nobody -g nobody -r hist/60 -i %s -c /opt/circonus/etc/snowth.conf" % NODE)

    @pytest.mark.parametrize("target", [
        "raw", "nntbs", "text", "text/60", "hist/0", "hist/-1", "hist/60/..", "", "text/metrics ", "data", "hist/60s"])
    def test_no_other_target_is_taken(self, target):
        with pytest.raises(BadInput, match="text/metrics, text/changelog, hist/metrics, hist/<period>"):
            irondb_repair.command(NODE, target)


class TestProblem:
    def test_none(self):
        assert irondb_repair.problem(look(complaint("text/metrics")), ["text/metrics"], [UNIT]) == ""

    def test_no_repair_for_it(self):
        said = irondb_repair.problem(look(complaint("raw_db", "beyond", why="data_storage_rebuild.yml")), [], [UNIT])
        assert said.startswith("No repair is documented") and "raw_db" in said and "data_storage_rebuild.yml" in said

    def test_a_store_that_the_log_does_not_name(self):
        said = irondb_repair.problem(look(complaint("text/metrics")), ["hist/60"], [UNIT])
        assert said == "Expected hist/60 to be damaged, errorlog names text/metrics. Repair what the log names."

    @pytest.mark.parametrize("kind, unit, words", [
        ("daemon", UNIT, "Expected circonus-snowth to be stopped, both of its processes"),
        ("daemon", "", "runs outside of circonus-snowth"), ("rebuild", "", "rebuilds the node")])
    def test_somebody_else_works_on_it(self, kind, unit, words):
        at_work = dict(DAEMON, kind=kind, unit=unit)
        assert words in irondb_repair.problem(look(complaint("text/metrics"), processes=[at_work]), [], [UNIT])


class TestWork:
    def test_repairs_and_starts(self):
        node = Node(["text/metrics"], ["text/metrics"])
        result = node.work.work()
        assert node.calls == ["repair text/metrics", "start"] and result["changed"]
        assert result["msg"] == "text/metrics repaired; the node opens again."
        assert [item["target"] for item in result["repaired"]] == ["text/metrics"]

    def test_goes_on_with_what_the_next_start_names(self):
        node = Node(["text/metrics", "hist/60", "hist/300"], ["text/metrics"])
        assert node.work.work()["changed"]
        assert node.calls == ["repair text/metrics", "start", "stop", "repair hist/60", "start", "stop",
                              "repair hist/300", "start"]

    def test_only_starts_what_was_repaired_already(self):
        node = Node(["text/metrics"])
        node.damaged = []
        result = node.work.work()
        assert node.calls == ["start"] and result["repaired"] == [] and "was started and opens" in result["msg"]

    def test_leaves_a_healthy_node_alone(self):
        node = Node([])
        assert not node.work.work()["changed"] and node.calls == []

    def test_the_same_store_twice_is_beyond_repair(self):
        node = Node(["text/metrics"], lasting=("text/metrics",))
        with pytest.raises(InsideError, match="text/metrics was repaired and is damaged still.*data_storage_rebuild"):
            node.work.work()
        assert node.calls == ["repair text/metrics", "start"]

    def test_damage_that_shows_afterwards_and_has_no_repair_stops(self):
        node = Node(["text/metrics", "raw_db"])
        with pytest.raises(InsideError, match="still does not open: raw_db"):
            node.work.work()
        assert node.calls == ["repair text/metrics", "start"]

    def test_a_start_that_fails_for_another_reason_is_told(self):
        node = Node(["text/metrics"])
        node.broken = "cannot listen on 8112"
        node.tell = lambda at: None
        node.told = {"text/metrics": 5.0}
        with pytest.raises(InsideError, match="its log names no damaged store: cannot listen on 8112"):
            node.work.work()

    def test_refuses_before_it_touches_anything(self):
        for targets, more in ((["hist/60"], {}), ([], {"processes": [DAEMON]})):
            node = Node(["text/metrics"], targets, **more)
            with pytest.raises(Refused):
                node.work.work()
            assert node.calls == []
        node = Node(["raw_db"])
        with pytest.raises(Refused, match="No repair is documented"):
            node.work.work()

    def test_new_damage_of_a_node_that_opened_is_told(self):
        node = Node(["text/metrics"])
        start = node.start

        def opens():
            start()
            node.told["hist/60"], node.damaged = 1e12, ["hist/60"]

        node.work.start = opens
        with pytest.raises(InsideError, match="opened and says again: hist/60"):
            node.work.work()


class TestWaitForOthers:
    def test_waits_for_its_end(self):
        at_work = [{"pid": 9, "kind": "repair", "target": "text/metrics"}]
        looks = [at_work, at_work, []]
        assert irondb_repair.wait_for_others(60, lambda: looks.pop(0), lambda seconds: None) < 60
        assert looks == []

    def test_leaves_it_alone_when_the_time_is_over(self):
        at_work = [{"pid": 9, "kind": "repair", "target": "text/metrics"}]
        with pytest.raises(TimedOut, match=r"snowthd -r text/metrics \(pid 9\) still works.*same command again"):
            irondb_repair.wait_for_others(0, lambda: at_work)


class TestRun:
    def run(self, tmp_path, code, timeout=30):
        return irondb_repair.run([sys.executable, "-c", code], str(tmp_path / "output"), timeout)

    def test_returns_what_it_said(self, tmp_path):
        result = self.run(tmp_path, "print('repaired')")
        assert result["rc"] == 0 and result["output"] == ["repaired"]

    def test_another_exit_code_is_told(self, tmp_path):
        with pytest.raises(CommandFailed, match="exit code 3: it is broken"):
            self.run(tmp_path, "print('it is broken'); raise SystemExit(3)")

    def test_a_program_that_is_not_there(self, tmp_path):
        with pytest.raises(CommandFailed, match="Cannot run /nowhere"):
            irondb_repair.run(["/nowhere"], str(tmp_path / "output"), 5)

    def test_one_that_takes_too_long_goes_on(self, tmp_path):
        done = tmp_path / "done"
        with pytest.raises(TimedOut, match="was not stopped"):
            self.run(tmp_path, "import time; time.sleep(1); open(%r, 'w')" % str(done), 0.2)
        for _try in range(100):
            if done.exists():
                break
            threading.Event().wait(0.1)
        assert done.exists()


class TestTurn:
    def test_the_second_waits_and_gives_up_in_one_sentence(self, tmp_path):
        path = str(tmp_path / "state" / "lock")
        with irondb_repair.turn(path, 1):
            with pytest.raises(TimedOut, match="Another repair works on this host"):
                with irondb_repair.turn(path, 0):
                    pass
        with irondb_repair.turn(path, 0):
            pass
