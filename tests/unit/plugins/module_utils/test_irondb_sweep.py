# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import json
import os
import socket

import pytest

from ansible_collections.circonus.inside.plugins.module_utils import irondb_sweep
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput, InsideError, Refused

NODE = "a0000000-0000-4000-8000-000000000001"
NOW = 1700000000.0
STATE = {"version": "v1/2", "stores": ["nnt"], "rollups": [60, 300], "histogram_rollups": [60]}
IDLE = {kind: {"running": False, "cancelling": False, "timestamp": None, "current": "", "rollups": "all"}
        for kind in ("nnt", "text", "histogram")}


def status(**rows):
    found = dict(IDLE)
    for kind, row in rows.items():
        found[kind] = dict({"running": True, "cancelling": False, "timestamp": 5000, "current": "", "rollups": "all"},
                           **row)
    return found


def entry(**change):
    return dict({"node": NODE, "before": 5000, "types": {"nnt": []}, "state": "finished", "started": NOW, "ended": NOW,
                 "seen": NOW, "cpu_s": 1.0, "sockets": []}, **change)


class TestOrder:
    def test_all_rollups_unless_some_are_named(self):
        assert irondb_sweep.order(5, ["text", "nnt"], ["300", 60, 60]) == {
            "before": 5, "types": {"nnt": [60, 300], "text": []}}

    @pytest.mark.parametrize("args, why", [
        (([],), "found none"), ((["nnt", "words"],), "found words"), ((["nnt"], ["1m"]), "found 1m"),
        ((["nnt"], [0]), "found 0"), ((["nnt"], [True]), "found True"), ((["nnt"], [-60]), "found -60"),
        ((["text"], [60]), "nnt is not among the types"), ((["nnt"], [], [60]), "histogram is not among the types"),
    ])
    def test_refuses(self, args, why):
        with pytest.raises(BadInput) as caught:
            irondb_sweep.order(5, *args)
        assert why in str(caught.value)

    def test_headers_and_words(self):
        wanted = irondb_sweep.order(1546300800, ["nnt", "text", "histogram"], [60, 300, 10800], [60])
        assert irondb_sweep.headers(wanted) == {
            "X-Snowth-Delete-Time": "1546300800", "X-Snowth-Delete-Data-Types": "nnt,text,histogram",
            "X-Snowth-NNT-Delete-Rollups": "60,300,10800", "X-Snowth-Histogram-Delete-Rollups": "60"}
        assert irondb_sweep.headers(irondb_sweep.order(5, ["nnt"])) == {
            "X-Snowth-Delete-Time": "5", "X-Snowth-Delete-Data-Types": "nnt"}
        assert irondb_sweep.describe(wanted) == "nnt of 60, 300 and 10800 s, all text, histogram of 60 s"
        assert irondb_sweep.stamp(1546300800) == "2019-01-01 00:00:00Z"


class TestProblem:
    def problem(self, types=("nnt",), rollups=(), histogram=(), before=5000, told=IDLE, **state):
        wanted = irondb_sweep.order(before, types, rollups, histogram)
        return irondb_sweep.problem(wanted, dict(STATE, **state), told, NOW, "db1")

    def test_none_when_all_is_configured(self):
        assert self.problem(("nnt", "text", "histogram"), [60, 300], [60]) == ""

    def test_a_date_in_the_future(self):
        assert "found 2023-11-14 22:13:21Z" in self.problem(before=int(NOW) + 1)
        assert self.problem(before=int(NOW)) == ""

    def test_a_release_without_it(self):
        assert "db1 (v1/2) has no delete sweep" in self.problem(told=None)
        assert "rollup_retention in site.json" in self.problem(told=None)

    def test_numbers_in_nntbs_are_not_swept_the_others_are(self):
        assert "NNTBS" in self.problem(stores=["nnt", "nntbs"]) and "retention" in self.problem(stores=["nntbs"])
        assert self.problem(("text", "histogram"), stores=["nnt", "nntbs"]) == ""

    def test_rollups_that_are_not_configured(self):
        assert self.problem(rollups=[60, 61]) == (
            "Expected rollups of nnt that db1 is configured with (60, 300), found 61.")
        assert "(60), found 300" in self.problem(("histogram",), (), [300])


class TestCovers:
    @pytest.mark.parametrize("change, expected", [
        ({}, True), ({"before": 6000}, True), ({"before": 4999}, False), ({"state": "started"}, False),
        ({"state": "cancelled"}, False), ({"node": "b"}, False), ({"types": {"text": []}}, False),
        ({"types": {"nnt": [60]}}, False), ({"types": {"nnt": [], "text": []}}, True),
    ])
    def test_all_that_the_order_would_take(self, change, expected):
        assert irondb_sweep.covers(entry(**change), irondb_sweep.order(5000, ["nnt"]), NODE) is expected

    def test_rollups(self):
        wanted = irondb_sweep.order(5000, ["nnt"], [60, 300])
        assert irondb_sweep.covers(entry(), wanted, NODE)
        assert irondb_sweep.covers(entry(types={"nnt": [60, 300, 900]}), wanted, NODE)
        assert not irondb_sweep.covers(entry(types={"nnt": [60]}), wanted, NODE)


class TestAction:
    def action(self, told, last=None, done=False, types=("nnt",), rollups=()):
        return irondb_sweep.action(irondb_sweep.order(5000, types, rollups), NODE, "db1", told, last, done)

    def test_nothing_runs(self):
        assert self.action(IDLE) == "start" and self.action(IDLE, entry(), True) == "done"

    def test_the_same_runs(self):
        assert self.action(status(nnt={})) == "follow"
        assert self.action(status(nnt={"rollups": [60]}), rollups=[60]) == "follow"
        # Ours, and one of its types is done already.
        ours = entry(state="started", types={"nnt": [], "text": []})
        assert self.action(status(text={}), ours, types=("nnt", "text")) == "follow"

    @pytest.mark.parametrize("row", [{"timestamp": 4999}, {"timestamp": None}, {"rollups": [60]}, {"cancelling": True}])
    def test_another_one_runs(self, row):
        with pytest.raises(Refused, match="db1 is sweeping already: nnt"):
            self.action(status(nnt=row), entry(state="started"))

    def test_one_of_more_types_runs_that_we_did_not_begin(self):
        with pytest.raises(Refused, match="data_storage_sweep_state=cancelled"):
            self.action(status(text={}), types=("nnt", "text"))
        with pytest.raises(Refused):
            self.action(status(nnt={}, text={}))


class TestLine:
    def test_says_what_it_is_at_and_how_full(self):
        wanted = irondb_sweep.order(5000, ["nnt", "text", "histogram"])
        told = status(nnt={"current": "c0"}, histogram={"cancelling": True})
        text = irondb_sweep.line("db1", 35.4, wanted, told, [{"used_percent": 41.2}, {"used_percent": 3.0}])
        assert text == "    35 s  db1  nnt at c0, text done, histogram waits (being cancelled)  41.2 % used"
        assert irondb_sweep.line("db1", 0, wanted, {}) == "     0 s  db1  no progress told"


class TestRecord:
    def test_is_made_with_its_directory_and_keeps_the_last(self, tmp_path):
        record = irondb_sweep.Record(str(tmp_path / "a" / "b.json"))
        assert record.read() == {"cancelled": None, "sweeps": []} and not (tmp_path / "a").exists()
        for at in range(irondb_sweep.KEPT + 3):
            record.change(lambda kept, at=at: kept["sweeps"].append(entry(before=at)))
        assert [one["before"] for one in record.read()["sweeps"]] == list(range(3, irondb_sweep.KEPT + 3))

    @pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"sweeps": 1}', json.dumps("x")])
    def test_one_that_cannot_be_read_is_not_taken_for_an_empty_one(self, tmp_path, text):
        (tmp_path / "b.json").write_text(text)
        with pytest.raises(InsideError, match="Move the file aside"):
            irondb_sweep.Record(str(tmp_path / "b.json")).read()


class TestListeners:
    def test_those_of_the_address_and_of_all(self):
        with socket.socket() as listener, socket.socket() as other:
            listener.bind(("127.0.0.2", 0))
            listener.listen(1)
            port = listener.getsockname()[1]
            (inode,) = irondb_sweep.listeners("127.0.0.2", port)
            assert inode == int(os.readlink("/proc/self/fd/%d" % listener.fileno())[8:-1])
            assert irondb_sweep.listeners("127.0.0.3", port) == []
            other.bind(("127.0.0.3", port))
            other.listen(1)
            assert irondb_sweep.listeners("127.0.0.2", port) == [inode]

    def test_tables_that_are_not_there(self):
        assert irondb_sweep.listeners("127.0.0.2", 80, ("/nowhere",)) == []


class Fake:
    """A node whose looks are given; ``clock`` goes on by the pauses."""

    def __init__(self, tmp_path, looks):
        self.looks, self.now, self.deletes = list(looks), NOW, 0
        self.record = irondb_sweep.Record(str(tmp_path / "b.json"))

    def __call__(self, *_address):
        return self

    def state(self):
        cpu_s = self.looks[0][0]
        return dict(STATE, identity=NODE, cpu_s=cpu_s, filesystems=[])

    def sweep(self):
        return self.looks.pop(0)[1] if len(self.looks) > 1 else self.looks[0][1]

    def start_sweep(self, _fields):
        self.deletes += 1

    def pause(self, seconds):
        self.now += seconds

    def run(self, **options):
        node = irondb_sweep.Node("192.0.2.31", 8112, NODE, "db1", self.record, client=self, clock=lambda: self.now,
                                 pause=self.pause)
        return node.sweep(irondb_sweep.order(5000, ["nnt"]), **options)

    def states(self):
        return [one["state"] for one in self.record.read()["sweeps"]]


class TestWatch:
    def test_one_quiet_look_is_not_the_end(self, tmp_path):
        busy = status(nnt={})
        fake = Fake(tmp_path, [(1.0, IDLE), (1.1, IDLE), (1.2, busy), (1.3, IDLE), (1.4, IDLE)])
        answer = fake.run(timeout=60.0)
        assert answer["finished"] and fake.deletes == 1 and fake.states() == ["finished"]
        assert fake.now - NOW >= 7.0

    def test_a_slice_ends_in_time_and_the_next_goes_on(self, tmp_path):
        fake = Fake(tmp_path, [(1.0, IDLE), (1.1, status(nnt={}))])
        answer = fake.run(timeout=20.0)
        assert not answer["finished"] and 10.0 <= fake.now - NOW <= 20.0
        fake.looks = [(2.0, IDLE)]
        assert fake.run(timeout=20.0, follow=True)["finished"] and fake.deletes == 1

    def test_a_new_process_is_seen_across_slices(self, tmp_path):
        fake = Fake(tmp_path, [(1.0, IDLE), (9.0, status(nnt={}))])
        fake.run(timeout=5.0)
        fake.looks = [(0.5, IDLE)]
        with pytest.raises(InsideError, match="restarted while it swept .its process is a new one"):
            fake.run(timeout=5.0, follow=True)
        assert fake.states() == ["lost"]

    def test_a_new_process_that_has_used_more_is_seen_by_its_socket(self, tmp_path, monkeypatch):
        sockets = [[11], [11], [12]]
        monkeypatch.setattr(irondb_sweep, "listeners", lambda host, port: sockets.pop(0))
        fake = Fake(tmp_path, [(1.0, IDLE), (1.1, status(nnt={})), (5.0, IDLE)])
        with pytest.raises(InsideError, match="restarted while it swept"):
            fake.run(timeout=60.0)
        assert fake.states() == ["lost"]

    def test_a_cancellation_by_hand_that_it_tells_of(self, tmp_path):
        fake = Fake(tmp_path, [(1.0, IDLE), (1.1, status(nnt={})), (1.2, status(nnt={"cancelling": True}))])
        with pytest.raises(InsideError, match="cancelled by somebody else"):
            fake.run(timeout=60.0)
        assert fake.states() == ["cancelled"]

    def test_a_release_that_loses_it_meanwhile(self, tmp_path):
        fake = Fake(tmp_path, [(1.0, IDLE), (1.1, None)])
        with pytest.raises(Refused, match="has none any more"):
            fake.run(timeout=60.0)

    def test_following_without_a_beginning(self, tmp_path):
        with pytest.raises(InsideError, match="Expected the record of the sweep that was begun on db1"):
            Fake(tmp_path, [(1.0, IDLE)]).run(follow=True)
