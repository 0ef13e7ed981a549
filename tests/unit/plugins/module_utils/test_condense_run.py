# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The steps on a pool in memory, killed at each; the copy with real processes."""
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import io
import json
import os
import signal
import sys
import threading
import time

import pytest

from ansible_collections.circonus.inside.plugins.module_utils import condense_run
from ansible_collections.circonus.inside.plugins.module_utils.errors import (
    CommandFailed,
    InsideError,
    Refused,
    TimedOut,
)

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fake_zfs import SIZE, D, Killed, Pool

#: Commands of a condense from begin to end, with the copy among them.
COMMANDS = ["unmount", "set", "mount", "snapshot", "receive", "unmount", "destroy", "destroy", "rename", "destroy",
            "inherit", "mount"]


class Host(condense_run.Host):
    """A host whose copy is done at once, and whose data set lies in no file system."""

    up_now = False

    def up(self):
        return self.up_now

    def facts(self):
        return dict(super(Host, self).facts(), numeric=True)

    def _mount_there(self, facts):
        self.zfs.patiently("mount", facts["name"])

    def _begin_copy(self, facts, run_id, guid):
        told = {"run_id": run_id, "guid": guid, "total": self.record["estimate"], "started": self.now(), "bytes": 0,
                "state": "running", "message": ""}
        condense_run.write_json(self.paths[condense_run.COPIED], told)
        self.zfs.do("zfs", "receive", D + "@condense", D + "-new")
        condense_run.write_json(self.paths[condense_run.COPIED], dict(told, bytes=SIZE, state="done", ended=self.now()))


@pytest.fixture
def directory(tmp_path):
    return str(tmp_path / "condense")


def host_of(pool, directory):
    return Host(directory=directory, zfs=pool, now=lambda: float(pool.clock), sleep=lambda _s: None, system="Linux")


def run(host, run_id, back=False):
    """All steps, as the action plugin asks for them."""
    steps = []
    for _number in range(40):
        answer = host.step(run_id, 0.0, back=back)
        if answer["done"]:
            return steps
        if steps[-1:] != [answer["step"]]:
            steps.append(answer["step"])
    raise AssertionError(steps)


def begin(host):
    host.zfs.clock += 10
    host.begin("first")


def proven(pool, guid):
    """The end state: one data set with the content, usable, made anew, and the old one destroyed once."""
    assert sorted(pool.sets) == ["tank/snowth", D]
    one = pool.sets[D]
    assert one["content"] == "numbers" and one["mounted"] and not one["read_only"] and not one["snapshots"]
    assert one["guid"] != guid and pool.destroyed.count(guid) == 1
    assert len(pool.destroyed) == len(set(pool.destroyed)) or all(
        # A snapshot and its received twin have the same guid; a data set never.
        pool.destroyed.count(one) <= 2 for one in pool.destroyed)


class TestMount:
    """zfs-fuse says of a mount and of an unmount that it was done, or is not possible, a moment too early."""

    @pytest.fixture
    def late(self, tmp_path):
        """A host, and when (by its clock) its data set becomes mounted or not."""
        pool, due = Pool(), {}
        host = condense_run.Host(data_dir=str(tmp_path / "data"), directory=str(tmp_path), zfs=pool,
                                 now=lambda: float(pool.clock))

        def sleep(seconds):
            pool.clock += seconds
            for state in [state for state, at in due.items() if pool.clock >= at]:
                pool.sets[D]["mounted"] = state

        host.sleep = sleep
        return host, pool, lambda state, seconds: due.update({state: pool.clock + seconds})

    @pytest.mark.parametrize("words, seconds, taken", [
        ("filesystem already mounted", 3, True), ("filesystem already mounted", 1e9, False),
        ("directory is not empty", 0, False)])
    def test_a_mount_that_is_there_already(self, late, words, seconds, taken):
        host, pool, becomes = late
        pool.sets[D]["mounted"] = False
        pool.mount = lambda _name: pool.fail("cannot mount: " + words)
        becomes(True, seconds)
        if taken:
            return host._mount_there({"name": D})
        with pytest.raises(CommandFailed, match=words):
            host._mount_there({"name": D})
        return None

    def test_an_unmount_ends_later_than_it_says(self, late):
        host, pool, becomes = late
        pool.unmount = lambda _name: becomes(False, 3)
        host._unmount({"name": D}, {}, "first", 0.0)
        assert not pool.sets[D]["mounted"]

    def test_one_that_never_ends_is_told(self, late):
        host, pool, _becomes = late
        pool.unmount = lambda _name: None
        with pytest.raises(InsideError, match="is still mounted .* Nothing was destroyed"):
            host._unmount({"name": D}, {}, "first", 0.0)

    def test_what_is_not_mounted_any_more_is_unmounted(self, late):
        host, pool, becomes = late
        pool.unmount = lambda _name: becomes(False, 1) or pool.fail("cannot unmount 'x': not currently mounted")
        host._unmount({"name": D}, {}, "first", 0.0)
        assert not pool.sets[D]["mounted"]


class TestSteps:
    @pytest.mark.parametrize("old", [False, True], ids=["current", "zfs-fuse"])
    def test_from_begin_to_end(self, directory, old):
        pool = Pool(old)
        host, guid = host_of(pool, directory), pool.sets[D]["guid"]
        begin(host)
        steps = run(host, "first")
        assert [step for step in steps if step != "freeing"] == [
            "snapshot", "copy", "unmount", "swap", "rename", "drop_received", "mount"]
        assert ("freeing" in steps) is not old
        assert [command.split()[0] for command in pool.commands] == COMMANDS
        proven(pool, guid)
        assert host.finish() is True and host.finish() is False
        # The next condense, months later, does it all again.
        guid = pool.sets[D]["guid"]
        begin(host)
        run(host, "second")
        proven(pool, guid)

    @pytest.mark.parametrize("old", [False, True], ids=["current", "zfs-fuse"])
    @pytest.mark.parametrize("when", ["before", "after"])
    @pytest.mark.parametrize("number", range(len(COMMANDS)), ids=["%d-%s" % pair for pair in enumerate(COMMANDS)])
    def test_killed_at_each_command_and_run_again(self, directory, number, when, old):
        pool = Pool(old)
        guid = pool.sets[D]["guid"]
        begin(host_of(pool, directory))
        pool.kill_at = (number, when)
        with pytest.raises(Killed):
            run(host_of(pool, directory), "first")
        pool.kill_at = None
        assert pool.sets.get(D, {}).get("content") == "numbers" or pool.sets[D + "-new"]["content"] == "numbers"
        assert condense_run.look(host_of(pool, directory))["in_progress"]
        host = host_of(pool, directory)
        host.begin("second")
        run(host, "second")
        proven(pool, guid)

    def test_a_rename_between_the_two_looks_hides_nothing(self, directory):
        """A step of a run whose controller was killed may still be at work."""
        pool = Pool()
        begin(host_of(pool, directory))
        pool.kill_at = (COMMANDS.index("rename"), "before")
        with pytest.raises(Killed):
            run(host_of(pool, directory), "first")
        pool.kill_at = None
        look_at = pool.data_set

        def late(name):
            found = look_at(name)
            if name == D and found is None and D + "-new" in pool.sets:
                pool.rename(D + "-new", D)
            return found

        pool.data_set = late
        look = condense_run.look(host_of(pool, directory))
        assert look["problem"] == "" and look["next"] == "drop_received", look

    @pytest.mark.parametrize("first", range(len(COMMANDS)))
    def test_killed_twice(self, directory, first):
        for second in range(0, len(COMMANDS), 2):
            where = os.path.join(directory, str(second))
            pool = Pool()
            guid = pool.sets[D]["guid"]
            begin(host_of(pool, where))
            for number, when in ((first, "after"), (len(pool.commands) + first + second, "before")):
                pool.kill_at = (number, when)
                try:
                    run(host_of(pool, where), "run %d" % number)
                except Killed:
                    pass
            pool.kill_at = None
            run(host_of(pool, where), "last")
            proven(pool, guid)

    @pytest.mark.parametrize("verb, steps", [
        ("unmount", ["snapshot"]), ("snapshot", ["snapshot"]), ("destroy", ["snapshot", "copy", "unmount"]),
        ("rename", ["snapshot", "copy", "unmount", "swap", "freeing"]), ("set", []), ("inherit", None)])
    def test_a_command_that_fails_stops_and_the_next_run_goes_on(self, directory, verb, steps):
        pool = Pool()
        guid = pool.sets[D]["guid"]
        host = host_of(pool, directory)
        begin(host)
        pool.busy.add(verb)
        with pytest.raises(CommandFailed, match="busy"):
            run(host, "first")
        pool.busy.clear()
        run(host, "second")
        proven(pool, guid)

    @pytest.mark.parametrize("back", [False, True])
    def test_a_worker_that_outlived_its_killed_controller_gets_no_step_more(self, directory, back):
        pool = Pool()
        host = host_of(pool, directory)
        begin(host)
        host.step("first", 0.0)
        host_of(pool, directory).step("second", 0.0, back=back)
        before = list(pool.commands)
        with pytest.raises(Refused, match="The run second has taken over the condense of %s" % D):
            host.step("first", 0.0)
        assert pool.commands == before
        run(host_of(pool, directory), "second", back=back)

    @pytest.mark.parametrize("act", ["step", "finish"])
    def test_while_a_step_is_at_work_nobody_else_does_one(self, directory, act):
        """A worker of a killed controller is within its command when the next run comes."""
        pool = Pool()
        begin(host_of(pool, directory))
        other = host_of(pool, directory)
        waited, other.sleep = [], lambda seconds: waited.append(seconds) or setattr(pool, "clock", pool.clock + 60)
        seen = []

        def unmount(name):
            with pytest.raises(TimedOut, match="A step of another run is still at work on this host after 120 s"):
                getattr(other, act)(*[] if act == "finish" else ["second"])
            seen.append(name)
            return plain(name)

        plain, pool.unmount = pool.unmount, unmount
        host_of(pool, directory).step("first", 0.0)
        assert seen == [D] and len(waited) == 2
        pool.unmount = plain
        assert other.step("second", 0.0)["step"] == "copy"

    def test_the_copy_does_not_keep_the_turn_of_the_step_that_began_it(self, directory, tmp_path):
        """It runs for hours, and the next run has to watch it."""
        pool = Pool()
        host = host_of(pool, directory)
        begin(host)
        mark, copying = str(tmp_path / "mark"), host.paths[condense_run.COPYING]
        pool.programs = {"zfs": str(tmp_path / "zfs")}
        with open(pool.programs["zfs"], "w") as handle:
            handle.write("#!/bin/sh\nwhile test ! -e %s; do sleep 0.02; done\n" % mark)
        os.chmod(pool.programs["zfs"], 0o755)
        with host._turn():
            condense_run.Host._begin_copy(host, {"name": D}, "first", "1")
        try:
            self.wait_free(host.paths[condense_run.TURN])
            assert condense_run.locked(copying)
        finally:
            open(mark, "w").close()
        self.wait_free(copying)

    @staticmethod
    def wait_free(path):
        deadline = time.time() + 10
        while condense_run.locked(path):
            assert time.time() < deadline, path
            time.sleep(0.02)

    def test_a_mount_that_is_used_says_who_to_look_for(self, directory):
        pool = Pool()
        host = host_of(pool, directory)
        begin(host)
        pool.busy.add("unmount")
        with pytest.raises(CommandFailed, match="Nothing was destroyed. Look who uses /snowth/data"):
            host.step("first")
        assert pool.destroyed == []

    def test_what_is_written_meanwhile_is_copied_too(self, directory):
        pool = Pool()
        host = host_of(pool, directory)
        begin(host)
        for _step in ("snapshot", "copy"):
            host.step("first", 0.0)
        pool.write(D, "more numbers")
        steps = run(host, "first")
        assert steps[:4] == ["unmount", "discard", "drop_snapshot", "freeing"]
        assert pool.sets[D]["content"] == "more numbers"

    def test_a_copy_that_broke_off_is_not_begun_again_in_the_same_run(self, directory):
        pool = Pool()
        host = host_of(pool, directory)
        begin(host)
        pool.kill_at = (4, "before")
        with pytest.raises(Killed):
            run(host, "first")
        pool.kill_at = None
        with pytest.raises(CommandFailed, match="The copy of tank/snowth/data broke off: its process is gone"):
            run(host, "first")
        run(host, "second")

    @pytest.mark.parametrize("number", range(len(COMMANDS)))
    def test_given_up_at_each_command(self, directory, number):
        pool = Pool()
        guid = pool.sets[D]["guid"]
        host = host_of(pool, directory)
        begin(host)
        pool.kill_at = (number, "after")
        with pytest.raises(Killed):
            run(host, "first")
        pool.kill_at = None
        if D not in pool.sets:
            with pytest.raises(Refused, match="Run again without abort"):
                run(host, "second", back=True)
            return
        run(host, "second", back=True)
        one = pool.sets[D]
        assert one["content"] == "numbers" and one["mounted"] and not one["read_only"] and not one["snapshots"]
        assert sorted(pool.sets) == ["tank/snowth", D]
        assert (guid in pool.destroyed) is (one["guid"] != guid)


class TestBegin:
    def test_refuses_before_anything_is_written(self, directory):
        pool = Pool()
        pool.capacity = 60
        with pytest.raises(Refused, match="60 %"):
            host_of(pool, directory).begin("first")
        assert not os.path.exists(directory)

    def test_keeps_what_is_on_its_way(self, directory):
        pool = Pool()
        host = host_of(pool, directory)
        begin(host)
        began = host.record["began"]
        host.step("first")
        host.begin("second")
        assert host.record["began"] == began and host.record["estimate"] == SIZE

    def test_forgets_what_somebody_undid(self, directory):
        pool = Pool()
        host = host_of(pool, directory)
        begin(host)
        began = host.record["began"]
        host.up_now = True  # nothing was done, and the node runs again
        pool.clock += 1000
        host.begin("second")
        assert host.record["began"] > began


class TestName:
    def test_of_the_path_of_its_place_or_of_the_record(self, directory):
        pool = Pool()
        host = host_of(pool, directory)
        assert host.name() == D
        pool.unmount(D)
        assert host.name() == D
        begin(host)
        pool.destroy(D)
        assert host.name() == D

    def test_of_a_layout_without_one(self, directory):
        pool = Pool()
        pool.sets.pop(D)
        look = condense_run.look(host_of(pool, directory))
        assert "a data set of its own at /snowth/data, found tank/snowth at /snowth" in look["problem"]

    def test_of_a_host_without_zfs_below_it(self, directory):
        pool = Pool()
        pool.sets.clear()
        assert "Expected /snowth/data on ZFS" in condense_run.look(host_of(pool, directory))["problem"]

    def test_of_a_host_without_zfs(self, directory, monkeypatch):
        def absent(run):
            raise condense_run.zfs_programs.Absent("Expected ZFS, this host has no program zfs.")

        monkeypatch.setattr(condense_run.zfs_programs, "Zfs", absent)
        look = condense_run.look(Host(directory=directory, system="Linux"))
        assert "no program zfs. Condensing rewrites a ZFS data set" in look["problem"] and not look["in_progress"]


class TestService:
    """OmniOS, where the engine of the roles does not reach."""

    def host(self, states, directory):
        self.calls = []

        def run(argv, timeout):
            self.calls.append(" ".join(argv))
            if argv[0] != "svcs":
                return 0, "", ""
            return 0, (states.pop(0) if len(states) > 1 else states[0]) + "\n", ""

        return condense_run.Host(directory=directory, run=run, system="SunOS", sleep=lambda _s: None)

    def test_is_stopped_and_started_by_smf(self, directory):
        assert self.host(["online", "disabled"], directory).service("stop", 10) is True
        assert "svcadm disable -s snowth" in self.calls
        assert self.host(["maintenance", "online"], directory).service("start", 10) is True
        assert [call for call in self.calls if call.startswith("svcadm")] == [
            "svcadm enable -s snowth", "svcadm clear snowth"]

    def test_is_left_alone_when_it_is_so_already(self, directory):
        assert self.host(["disabled"], directory).service("stop", 10) is False
        assert not [call for call in self.calls if call.startswith("svcadm")]

    def test_that_does_not_follow_fails(self, directory):
        host = self.host(["online"], directory)
        clock = iter(range(1000))
        host.now = lambda: float(next(clock))
        with pytest.raises(InsideError, match="svc:/network/snowth:default did not stop within 10 s"):
            host.service("stop", 10)


class TestCopy:
    """With real processes in the place of zfs send and zfs receive."""

    @pytest.fixture
    def place(self, tmp_path):
        return tmp_path

    def copy(self, place, send, receive):
        path = str(place / "copy.json")
        found = condense_run.copy(["sh", "-c", send], ["sh", "-c", receive], {"guid": "1", "total": 5}, path)
        with open(path) as handle:
            assert json.load(handle) == found
        return found

    def test_moves_every_byte_and_counts(self, place):
        found = self.copy(place, "head -c 3000000 /dev/zero", "cat > %s" % (place / "new"))
        assert found["state"] == "done" and found["bytes"] == 3000000 == os.path.getsize(str(place / "new"))

    @pytest.mark.parametrize("send, receive, word", [
        ("head -c 100 /dev/zero; echo no more >&2; exit 3", "cat > /dev/null", "zfs send ended with 3 (no more)"),
        ("head -c 100 /dev/zero", "cat > /dev/null; echo invalid >&2; exit 1", "receive with 1 (invalid)"),
        ("head -c 9000000 /dev/zero", "exit 7", "receive with 7"),
        ("kill -9 $$", "cat > /dev/null", "zfs send ended with -9"),
    ])
    def test_fails_when_either_end_fails(self, place, send, receive, word):
        found = self.copy(place, send, receive)
        assert found["state"] == "failed" and word in found["message"]

    def test_ends_by_itself_when_it_is_told_to(self, place):
        timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM))
        timer.start()
        found = self.copy(place, "while :; do head -c 100000 /dev/zero || exit 1; sleep 0.01; done",
                          "cat > /dev/null; exit 1")
        timer.join()
        assert found["state"] == "failed" and "it was told to end" in found["message"]

    def test_a_full_buffer_waits_for_the_receiver(self, monkeypatch):
        monkeypatch.setattr(condense_run, "BLOCKS", 2)
        monkeypatch.setattr(condense_run, "BLOCK", 10)
        target, told = io.BytesIO(), []
        assert condense_run.pump(io.BytesIO(b"x" * 95), target, told.append) == 95
        assert target.getvalue() == b"x" * 95 and told[-1] == 95


class TestDetach:
    def test_outlives_its_call_and_holds_the_lock(self, tmp_path):
        lock, mark = str(tmp_path / "d" / "lock"), str(tmp_path / "mark")

        def work():
            while not os.path.exists(mark):
                time.sleep(0.02)

        assert not condense_run.locked(lock) and not os.path.exists(lock)
        condense_run.detach(work, lock)
        assert condense_run.locked(lock)
        with pytest.raises(CommandFailed, match="Look whether another one holds"):
            condense_run.detach(lambda: None, lock)
        open(mark, "w").close()
        deadline = time.time() + 10
        while condense_run.locked(lock):
            assert time.time() < deadline
            time.sleep(0.02)
