# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import copy
import os
import sys

import pytest

from ansible_collections.circonus.inside.plugins.module_utils import condense
from ansible_collections.circonus.inside.plugins.module_utils.errors import Refused

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fake_zfs import SIZE, D, Pool

NEW = D + "-new"
SHOT = D + "@condense"


class Bench(object):
    """A pool, and the facts that a host would read of it."""

    def __init__(self):
        self.pool = Pool()
        self.more = {"copying": False, "copied": None, "numeric": True, "up": False,
                     "record": {"dataset": D, "began": self.pool.clock + 1, "estimate": SIZE, "finished": False}}

    def facts(self, **more):
        return copy.deepcopy(dict(dict({
            "name": D, "data_dir": "/snowth/data", "old": self.pool.data_set(D), "new": self.pool.data_set(NEW),
            "pool": self.pool.pool(D), "freeing": 0}, **self.more), **more))

    def decide(self, **more):
        return condense.decide(self.facts(**more))

    def refused(self, **more):
        with pytest.raises(Refused) as caught:
            self.decide(**more)
        return str(caught.value)

    def snapshot(self):
        self.pool.sets[D]["read_only"] = True
        self.pool.snapshot(SHOT)

    def copied(self):
        self.snapshot()
        self.pool.receive(SHOT, NEW)


@pytest.fixture
def bench():
    return Bench()


class TestWay:
    """From state to state as the manual's steps go."""

    def test_in_order(self, bench):
        pool, found = bench.pool, []
        for act in (
            bench.snapshot, lambda: pool.receive(SHOT, NEW), lambda: pool.unmount(D),
            lambda: (pool.destroy(SHOT), pool.destroy(D)), lambda: pool.rename(NEW, D), lambda: pool.destroy(SHOT),
            lambda: (pool.inherit("readonly", D), pool.mount(D)), lambda: None,
        ):
            found.append(bench.decide())
            act()
        assert found == ["snapshot", "copy", "unmount", "swap", "rename", "drop_received", "mount", "done"]
        assert set(found) | {"freeing"} == set(condense.STEPS)

    def test_space_is_awaited_before_the_name_is_taken(self, bench):
        bench.copied()
        bench.pool.destroy("-r", D)
        assert bench.decide(freeing=1) == "freeing" and bench.decide(freeing=0) == "rename"

    def test_space_is_awaited_before_a_copy(self, bench):
        assert bench.decide(freeing=1) == "freeing"
        bench.snapshot()
        assert bench.decide(freeing=1) == "freeing"

    def test_a_copy_that_runs_is_watched(self, bench):
        bench.snapshot()
        assert bench.decide(copying=True) == "copy"
        bench.pool.receive(SHOT, NEW)
        bench.pool.destroy(NEW + "@condense")  # as long as it is not complete
        assert bench.decide(copying=True) == "copy"

    def test_a_boot_in_between_costs_nothing(self, bench):
        bench.copied()
        bench.pool.mount(NEW)
        assert bench.decide() == "unmount_new"

    @pytest.mark.parametrize("change", [{"mounted": False}, {"read_only": True}])
    def test_a_new_data_set_that_no_store_can_use_is_not_done(self, bench, change):
        bench.pool.sets[D].update(change, creation=bench.more["record"]["began"] + 1)
        assert bench.decide() == "mount"


class TestProof:
    """What keeps the old data set from being destroyed."""

    @pytest.fixture(autouse=True)
    def ready(self, bench):
        bench.copied()
        bench.pool.unmount(D)
        assert bench.decide() == "swap"

    def test_not_while_it_is_mounted(self, bench):
        bench.pool.mount(D)
        assert bench.decide() == "unmount"

    @pytest.mark.parametrize("key, value", [("guid", "77"), ("creation", 5)])
    def test_a_copy_of_another_snapshot_is_copied_again(self, bench, key, value):
        bench.pool.sets[NEW]["snapshots"]["condense"][key] = value
        assert bench.decide() == "discard"

    def test_a_copy_that_was_not_received_whole_is_copied_again(self, bench):
        bench.pool.destroy(NEW + "@condense")
        assert bench.decide() == "discard"

    def test_what_was_written_since_is_copied_too(self, bench):
        bench.pool.write(D, "more numbers")
        assert bench.decide() == "discard"
        bench.pool.destroy("-r", NEW)
        assert bench.decide() == "drop_snapshot"

    def test_without_the_snapshot_nothing_is_proven(self, bench):
        bench.pool.destroy(SHOT)
        assert bench.decide() == "discard"

    def test_a_copy_that_was_written_to_is_neither_used_nor_destroyed(self, bench):
        bench.pool.write(NEW, "other numbers")
        assert "was used since it was received" in bench.refused()

    @pytest.mark.parametrize("size", [int(SIZE * 0.8), int(SIZE * 1.2)])
    def test_sizes_have_to_agree(self, bench, size):
        bench.pool.sets[NEW]["snapshots"]["condense"]["size"] = bench.pool.sets[NEW]["size"] = size
        assert "found %d. Nothing was destroyed." % size in bench.refused()

    def test_a_short_stream_contradicts_the_estimate(self, bench):
        guid = bench.pool.sets[D]["snapshots"]["condense"]["guid"]
        short = {"guid": guid, "bytes": SIZE // 2, "state": "done"}
        assert "zfs send -nv" in bench.refused(copied=short)
        # Of another copy it says nothing.
        assert bench.decide(copied=dict(short, guid="other")) == "swap"
        assert bench.decide(copied=dict(short, state="running")) == "swap"  # killed after the end was received
        assert bench.decide(copied=dict(short, bytes=SIZE + 100)) == "swap"

    @pytest.mark.parametrize("health", ["DEGRADED", "FAULTED"])
    def test_a_sick_pool_destroys_nothing(self, bench, health):
        bench.pool.health = health
        assert health in bench.refused()

    def test_children_and_foreign_snapshots_of_either(self, bench):
        bench.pool.snapshot(D + "@keep")
        assert "the snapshot keep" in bench.refused()
        bench.pool.destroy(D + "@keep")
        bench.pool.sets[D + "/child"] = bench.pool.fresh("/snowth/data/child", "x")
        assert "the data set %s/child below it" % D in bench.refused()
        bench.pool.sets.pop(D + "/child")
        bench.pool.snapshot(NEW + "@keep")
        assert NEW + " has the snapshot keep" in bench.refused()


class TestGates:
    def test_capacity(self, bench):
        bench.pool.capacity = 45
        assert bench.decide() == "snapshot"
        bench.pool.capacity = 46
        assert "used to 46 %, condensing needs at most 45 %" in bench.refused()
        bench.snapshot()
        assert "46 %" in bench.refused()  # a copy that broke off is not begun again either

    def test_the_copy_itself_does_not_close_it(self, bench):
        bench.copied()
        bench.pool.capacity = 90
        assert bench.decide() == "unmount"

    def test_health(self, bench):
        bench.pool.health = "DEGRADED"
        assert "ONLINE, found DEGRADED" in bench.refused()

    def test_a_data_set_of_its_own(self, bench):
        bench.pool.sets[D]["mountpoint"] = "/snowth"
        assert "a data set of its own at /snowth/data" in bench.refused()

    def test_nntbs_alone_is_no_case(self, bench):
        assert "NNTBS" in bench.refused(numeric=False)

    def test_children_and_foreign_snapshots(self, bench):
        bench.pool.snapshot(D + "@backup")
        assert "the snapshot backup" in bench.refused()

    @pytest.mark.parametrize("record", [
        None, {"dataset": "tank/other", "began": 0, "finished": False}, {"dataset": D, "began": 0, "finished": True}])
    def test_nothing_of_others_is_touched(self, bench, record):
        bench.snapshot()
        assert "no unfinished run of this procedure made it" in bench.refused(record=record)
        bench.pool.receive(SHOT, NEW)
        assert "no unfinished run of this procedure made it" in bench.refused(record=record)
        bench.pool.destroy(NEW + "@condense")
        assert "no unfinished run of this procedure made it" in bench.refused(record=record)

    @pytest.mark.parametrize("complete", [True, False])
    def test_a_data_set_that_hooper_made_in_between_does_not_cost_the_copy(self, bench, complete):
        bench.copied()
        bench.pool.destroy("-r", D)
        bench.pool.sets[D] = bench.pool.fresh("/snowth/data", "nothing", size=100)
        if not complete:
            bench.pool.destroy(NEW + "@condense")
        assert "%s was made after %s, so it is not the original" % (D, NEW) in bench.refused()
        with pytest.raises(Refused, match="not the original"):
            condense.abort(bench.facts())

    def test_an_incomplete_copy_never_takes_the_name(self, bench):
        bench.copied()
        bench.pool.destroy("-r", D)
        bench.pool.destroy(NEW + "@condense")
        assert "no snapshot condense that would prove it complete" in bench.refused()

    def test_nothing_left_is_for_a_reconstitute(self, bench):
        bench.pool.destroy(D)
        assert "reconstitute" in bench.refused()


class TestInProgress:
    def test_only_with_its_own_record(self, bench):
        assert condense.in_progress(bench.facts())  # stopped
        assert not condense.in_progress(bench.facts(up=True))
        assert not condense.in_progress(bench.facts(record=None))
        bench.snapshot()
        assert condense.in_progress(bench.facts(up=True))
        assert not condense.in_progress(bench.facts(record=None))
        bench.pool.destroy("-r", D)
        assert condense.in_progress(bench.facts(up=True))


class TestLeftOpen:
    def test_when_the_new_data_set_is_in_use_and_nothing_says_that_it_is_over(self, bench):
        assert not condense.left_open(bench.facts(up=True))  # nothing is done yet
        bench.pool.sets[D].update(creation=bench.more["record"]["began"] + 1)
        assert condense.left_open(bench.facts(up=True))
        assert not condense.left_open(bench.facts())  # it is down: that is in progress
        bench.more["record"]["finished"] = True
        assert not condense.left_open(bench.facts(up=True))


class TestAbort:
    def steps(self, bench):
        found, pool = [], bench.pool
        while not found or found[-1] != "done":
            found.append(condense.abort(bench.facts(copying=found == [] and bench.more["copying"])))
            {"discard": lambda: pool.destroy("-r", NEW), "drop_snapshot": lambda: pool.destroy(SHOT),
             "mount": lambda: (pool.inherit("readonly", D), pool.mount(D))}.get(found[-1], lambda: None)()
        return found

    def test_goes_back_from_the_middle(self, bench):
        bench.copied()
        bench.more["copying"] = True
        guid = bench.pool.sets[D]["guid"]
        assert self.steps(bench) == ["end_copy", "discard", "drop_snapshot", "mount", "done"]
        assert bench.pool.sets[D]["guid"] == guid and bench.pool.sets[D]["mounted"]

    def test_has_nothing_to_do_before_the_first_step(self, bench):
        assert self.steps(bench) == ["done"]

    def test_is_too_late_once_the_old_one_is_destroyed(self, bench):
        bench.copied()
        bench.pool.destroy("-r", D)
        with pytest.raises(Refused, match="destroyed already"):
            condense.abort(bench.facts())

    def test_does_not_touch_what_others_made(self, bench):
        bench.copied()
        with pytest.raises(Refused, match="No unfinished run"):
            condense.abort(bench.facts(record=None))
        bench.pool.write(NEW, "other")
        with pytest.raises(Refused, match="was used"):
            condense.abort(bench.facts())


class TestProgress:
    def test_in_bytes_with_a_rate_and_the_time_left(self):
        found = condense.progress({"bytes": 300, "total": 900}, 30.0)
        assert found == {"bytes": 300, "total": 900, "percent": 33.3, "rate": 10.0, "eta_s": 60}

    @pytest.mark.parametrize("copied, passed, percent, eta", [
        ({"bytes": 0, "total": 900}, 0.0, 0.0, None), ({"bytes": 950, "total": 900}, 10.0, 99.9, 0),
        ({"bytes": 10, "total": None}, 10.0, None, None)])
    def test_where_the_estimate_says_little(self, copied, passed, percent, eta):
        found = condense.progress(copied, passed)
        assert (found["percent"], found["eta_s"]) == (percent, eta)


def test_names_of_the_operating_systems():
    assert condense.platform_of("SunOS") == "omnios" and condense.platform_of("Linux") == "el7"
    assert condense.PLATFORMS["omnios"]["stop"] == ["svcadm", "disable", "-s", "snowth"]
    assert condense.PLATFORMS["el7"]["stop"] == ["systemctl", "stop", "circonus-snowth"]
