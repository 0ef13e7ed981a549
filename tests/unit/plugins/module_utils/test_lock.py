# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import json
import multiprocessing
import os

import pytest

from ansible_collections.circonus.inside.plugins.module_utils import lock
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput, LockHeld, TimedOut


def request(state="acquired", run_id="run-1", **changes):
    values = dict(state=state, run_id=run_id, procedure="datacenter_failover", owner="alice", controller="noc1", pid=7)
    values.update(dict(ttl=60, token=None, break_run_id=None), **changes)
    return values


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "state" / "procedure.lock")


class TestDecide:
    def test_gives_the_first_token(self):
        record, action, previous = lock.decide(None, request(), 1000)
        assert (record["token"], record["expires"], action, previous) == (1, 1060, "acquired", None)

    def test_token_grows_after_a_release(self):
        first = lock.decide(None, request(), 1000)[0]
        released = lock.decide(first, request("released"), 1001)[0]
        assert released["state"] == "released"
        assert lock.decide(released, request(run_id="run-2"), 1002)[0]["token"] == 2

    def test_token_grows_above_the_floor_when_the_record_is_gone(self):
        assert lock.decide(None, request(), 1000, floor=41)[0]["token"] == 42

    def test_refuses_another_run_and_names_the_holder(self):
        held = lock.decide(None, request(), 1000)[0]
        with pytest.raises(LockHeld) as caught:
            lock.decide(held, request(run_id="run-2"), 1010, path="/x/lock")
        for word in (
            "datacenter_failover",
            "alice",
            "noc1",
            "run-1",
            "1970-01-01T00:16:40Z",
            "1970-01-01T00:17:40Z",
            "in 50 s",
            "/x/lock",
            "break_run_id=run-1",
        ):
            assert word in str(caught.value)
        assert "\n" not in str(caught.value)
        assert caught.value.details["lock"] == held

    def test_takes_an_expired_lock_with_a_new_token(self):
        held = lock.decide(None, request(), 1000)[0]
        record, action, previous = lock.decide(held, request(run_id="run-2"), 1060)
        assert (record["token"], action, previous) == (2, "expired_taken", held)

    def test_breaks_only_the_named_run(self):
        held = lock.decide(None, request(), 1000)[0]
        with pytest.raises(LockHeld):
            lock.decide(held, request(run_id="run-2", break_run_id="run-0"), 1001)
        record, action, previous = lock.decide(held, request(run_id="run-2", break_run_id="run-1"), 1001)
        assert (record["token"], record["run_id"], action) == (2, "run-2", "broken")

    def test_same_run_keeps_its_token(self):
        held = lock.decide(None, request(), 1000)[0]
        record, action, previous = lock.decide(held, request(), 1030)
        assert (record["token"], record["acquired"], record["expires"], action) == (1, 1000, 1090, "reacquired")

    def test_same_run_gets_a_new_token_after_its_expiry(self):
        held = lock.decide(None, request(), 1000)[0]
        assert lock.decide(held, request(), 1061)[0]["token"] == 2

    @pytest.mark.parametrize(
        "current",
        [
            None,
            {"state": "released", "run_id": "run-1", "token": 3, "expires": 1},
            {"state": "held", "run_id": "run-2", "token": 3, "expires": 9999},
        ],
    )
    def test_refuses_to_renew_a_lost_lock(self, current):
        with pytest.raises(LockHeld):
            lock.decide(current, request("renewed"), 1000)

    def test_refuses_to_renew_with_another_token(self):
        held = lock.decide(None, request(), 1000)[0]
        with pytest.raises(LockHeld):
            lock.decide(held, request("renewed", token=2), 1001)

    def test_does_not_release_the_lock_of_another(self):
        held = lock.decide(None, request(), 1000)[0]
        assert lock.decide(held, request("released", run_id="run-2"), 1001) == (None, "none", None)


class TestApply:
    def test_a_cycle_on_disk(self, path):
        assert lock.apply(path, request("read"))["lock"] == {}
        first = lock.apply(path, request())
        assert first["changed"] and first["held"] and first["lock"]["token"] == 1
        assert lock.read(path) == first["lock"]
        assert lock.apply(path, request("renewed"))["action"] == "renewed"
        assert lock.apply(path, request("released"))["held"] is False
        assert lock.apply(path, request("released"))["changed"] is False
        assert lock.apply(path, request(run_id="run-2"))["lock"]["token"] == 2
        assert sorted(os.listdir(os.path.dirname(path))) == ["procedure.lock", "procedure.lock.flock"]

    def test_token_survives_the_removal_of_the_record(self, path):
        lock.apply(path, request())
        os.unlink(path)
        assert lock.apply(path, request(run_id="run-2"))["lock"]["token"] == 2

    def test_check_mode_leaves_no_trace(self, path):
        result = lock.apply(path, request(), check_mode=True)
        assert result["changed"] and not os.path.exists(os.path.dirname(path))

    def test_check_mode_refuses_like_the_real_run(self, path):
        lock.apply(path, request())
        with pytest.raises(LockHeld):
            lock.apply(path, request(run_id="run-2"), check_mode=True)

    def test_a_damaged_file_is_one_line_and_stays(self, path):
        os.makedirs(os.path.dirname(path))
        with open(path, "w") as handle:
            handle.write('{"token": ')
        with pytest.raises(BadInput, match="damaged"):
            lock.apply(path, request())
        with open(path) as handle:
            assert handle.read() == '{"token": '

    def test_a_hanging_writer_is_a_timeout(self, path):
        os.makedirs(os.path.dirname(path))
        with lock._Turn(path):
            with pytest.raises(TimedOut, match="another process keeps it"):
                lock.apply(path, request(), timeout=0.05)


class TestCheck:
    def test_accepts_the_holder_only(self, path):
        record = lock.apply(path, request())["lock"]
        assert lock.check(path, "run-1") == record
        assert lock.check(path, "run-1", token=1) == record
        for run_id, token in (("run-2", None), ("run-1", 2)):
            with pytest.raises(LockHeld):
                lock.check(path, run_id, token)

    def test_refuses_an_expired_a_released_and_no_lock(self, path):
        with pytest.raises(LockHeld, match="no lock at all"):
            lock.check(path, "run-1")
        record = lock.apply(path, request())["lock"]
        with pytest.raises(LockHeld, match="expired since"):
            lock.check(path, "run-1", now=record["expires"])
        lock.apply(path, request("released"))
        with pytest.raises(LockHeld, match="released lock"):
            lock.check(path, "run-1")


def _contend(path, number, gate, results):
    gate.wait()
    try:
        results.put(("won", lock.apply(path, request(run_id="run-%d" % number))["lock"]["token"]))
    except LockHeld:
        results.put(("refused", None))


class TestConcurrency:
    def test_exactly_one_of_twenty_processes_wins(self, path):
        for round_number in range(1, 4):
            gate, results = multiprocessing.Event(), multiprocessing.Queue()
            workers = [
                multiprocessing.Process(target=_contend, args=(path, number, gate, results)) for number in range(20)
            ]
            for worker in workers:
                worker.start()
            gate.set()
            answers = [results.get(timeout=30) for unused in workers]
            for worker in workers:
                worker.join(30)
            assert sorted(answer for answer, unused in answers) == ["refused"] * 19 + ["won"]
            assert [token for answer, token in answers if answer == "won"] == [round_number]
            with open(path) as handle:
                assert json.load(handle)["token"] == round_number
            lock.apply(path, request("released", run_id=lock.read(path)["run_id"]))
