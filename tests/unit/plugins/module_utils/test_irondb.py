# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import json

import pytest

from ansible_collections.circonus.inside.plugins.module_utils import irondb
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput

A, B = "a0000000-0000-4000-8000-000000000001", "a0000000-0000-4000-8000-000000000002"
DIGEST = "b41fb9439455c776d3e6878223d6aa79d1fcccbb2f14105d82775f01c0c6ae6a"
STATE = {"identity": A, "current": DIGEST, "next": "-", "base_rollup": 60, "rollups": [60, 300, 10800],
         "nntbs": {"rollups": [60, 300, 10800], "aggregate": {"put.calls": 10},
                   "rollup_60": {"fs": {"id": 40, "totalMb": 900000.0, "availMb": 610000.5}}},
         "text": {"fs": {"id": 41, "totalMb": 900000.0, "availMb": 610000.5}, "get": {"calls": 3}},
         "rusage.utime": 12.5, "max_peer_lag": 0, "avg_peer_lag": 0, "features": {"text:store": "1", "nnt:store": "1"},
         "version": "v0123abcd/4567ef01", "application": "snowth"}
GARBAGE = ["", "null", "[", "<html>", "{\"a\": ", "1", '"x"', "[" * 100000, "\x00\xff", "{}"]


class TestDocument:
    @pytest.mark.parametrize("text", ['{"a": [1, 2,], "b": ",}" ,\n}', '{"a": [1, 2], "b": ",}"}'])
    def test_forgives_commas_and_leaves_text_alone(self, text):
        assert irondb.document(text, "x") == {"a": [1, 2], "b": ",}"}

    @pytest.mark.parametrize("text", GARBAGE[:-1] + [None])
    def test_refuses(self, text):
        with pytest.raises(BadInput, match="expected a page, found"):
            irondb.document(text, "a page")


class TestNumber:
    @pytest.mark.parametrize("value, expected", [
        (1, 1.0), ("41", 41.0), ("0.000000", 0.0), (1.5, 1.5), ("unknown", None), ("", None), (None, None),
        (True, None), ("nan", None), (float("inf"), None), ([], None), (10 ** 400, None)])
    def test_unknown_is_none(self, value, expected):
        assert irondb.number(value) == expected


class TestParseState:
    def test_a_node_of_2021(self):
        found = irondb.parse_state(json.dumps(STATE))
        assert found["stores"] == ["nntbs"] and found["rollups"] == [60, 300, 10800] and found["base_rollup"] == 60
        assert (found["identity"], found["current"], found["next"]) == (A, DIGEST, None)
        assert found["features"] == ["nnt:store", "text:store"] and found["max_peer_lag"] == found["avg_peer_lag"] == 0
        assert found["filesystems"] == [
            {"id": "40", "total_mb": 900000.0, "free_mb": 610000.5, "used_percent": 32.2},
            {"id": "41", "total_mb": 900000.0, "free_mb": 610000.5, "used_percent": 32.2}]

    def test_a_node_of_2019_in_the_spelling_of_the_manual(self):
        old = dict(STATE, nnt={"rollup_60": {"fs": {"id": 1, "totalMB": "100", "freeMB": "25"}}}, next=DIGEST)
        for key in ("nntbs", "text", "avg_peer_lag", "features", "rollups"):
            del old[key]
        found = irondb.parse_state(json.dumps(old))
        assert found["stores"] == ["nnt"] and found["filesystems"][0]["used_percent"] == 75.0
        assert found["avg_peer_lag"] is None and found["features"] == found["rollups"] == [] and found["next"] == DIGEST

    def test_the_newest(self):
        found = irondb.parse_state(json.dumps(dict(STATE, indexes={"jlog_replay_errors": 3}, rollups=None)))
        assert found["jlog_replay_errors"] == 3 and found["rollups"] == [60, 300, 10800]

    @pytest.mark.parametrize("change", [{"fs": 1}, {"text": {"fs": {"totalMb": 0, "availMb": 0}}}, {"indexes": 1},
                                        {"features": [1]}, {"nntbs": []}, {"base_rollup": "x"}])
    def test_odd_parts_are_no_failure(self, change):
        assert irondb.parse_state(json.dumps(dict(STATE, **change)))["identity"] == A

    @pytest.mark.parametrize("text", GARBAGE + ['{"identity": 1, "current": "x"}', '{"identity": "x"}'])
    def test_refuses(self, text):
        with pytest.raises(BadInput):
            irondb.parse_state(text)


def leaf(value, kind="s"):
    return {"_type": kind, "_value": value}


class TestParseStats:
    def test_the_default_format(self):
        found = irondb.parse_stats(json.dumps({
            "identity": leaf(A), "semver": leaf("0.1.1572543705"),
            "topology": {"current": leaf(DIGEST), "next": leaf("-")}, "put`latency": leaf(["H[1]=2"], "h"),
            "replication": {B: {"sent": leaf(7, "L")}}}))
        assert (found["identity"], found["semver"]) == (A, "0.1.1572543705")
        assert (found["current"], found["next"]) == (DIGEST, None)
        assert found["replication"] == {B + "/sent": 7} and found["reconstitute"] is None and found["version"] is None

    def test_a_rebuild_under_names_nobody_documented(self):
        found = irondb.parse_stats(json.dumps({"reconstitute": {"x": {"percent": leaf(12.5, "n")}, "bare": 1}}))
        assert found["reconstitute"] == {"x/percent": 12.5, "bare": 1}
        assert irondb.parse_stats('{"reconstitute": {}}')["reconstitute"] is None

    @pytest.mark.parametrize("text", GARBAGE[:-1])
    def test_refuses(self, text):
        with pytest.raises(BadInput):
            irondb.parse_stats(text)


def gossip_row(**change):
    row = {"id": A, "gossip_time": "1700000000.250000", "gossip_age": "0.500000", "topo_current": DIGEST,
           "topo_next": "-", "topo_state": "n/a", "latency": {B: "41"}}
    row.update(change)
    return {key: value for key, value in row.items() if value is not None}


def rows(**change):
    return irondb.parse_gossip(json.dumps([gossip_row(**change)]))[A]


class TestParseGossip:
    def test_text_and_numbers_are_the_same(self):
        assert rows() == rows(gossip_time=1700000000.25, gossip_age=0.5, latency={B: 41}) == {
            "heard": True, "age": 0.5, "current": DIGEST, "next": None, "rebalance": None, "latency": {B: 41.0}}

    @pytest.mark.parametrize("change, heard, age, latency", [
        ({"gossip_time": "0"}, False, None, {B: 41.0}),
        ({"gossip_time": "-1"}, False, None, {B: 41.0}),
        ({"gossip_time": None}, False, None, {B: 41.0}),
        ({"gossip_age": "never"}, True, None, {B: 41.0}),
        ({"latency": None}, True, 0.5, {}),
        ({"latency": []}, True, 0.5, {}),
        ({"latency": {B: "unknown"}}, True, 0.5, {B: None}),
        ({"latency": {B: None}}, True, 0.5, {B: None}),
    ])
    def test_unknown(self, change, heard, age, latency):
        row = irondb.parse_gossip(json.dumps([dict(gossip_row(), **change)]))[A]
        assert (row["heard"], row["age"], row["latency"]) == (heard, age, latency)

    @pytest.mark.parametrize("state, expected", [
        ("n/a", None), ("unknown", None), (irondb.IDLE, None), ("", None), ("new", "new"),
        ("TOPO_REBALANCE_VOTE", "TOPO_REBALANCE_VOTE")])
    def test_a_rebalance(self, state, expected):
        assert rows(topo_state=state)["rebalance"] == expected

    @pytest.mark.parametrize("text", GARBAGE + ["[1]", '[{"id": 1}]'])
    def test_refuses(self, text):
        with pytest.raises(BadInput):
            irondb.parse_gossip(text)


class TestParseRebalance:
    @pytest.mark.parametrize("state, after, running", [
        (irondb.IDLE, "-", False), (irondb.IDLE, DIGEST, True), ("TOPO_REBALANCE_NEW", "-", True),
    ] + [(state, DIGEST, True) for state in irondb.REBALANCE_STATES[1:]])
    def test_only_idle_without_a_next_one_is_none(self, state, after, running):
        found = irondb.parse_rebalance(json.dumps({"current": DIGEST, "next": after, "state": state}))
        assert found["running"] is running and found["state"] == state

    @pytest.mark.parametrize("text", GARBAGE + ['{"state": 1}'])
    def test_refuses(self, text):
        with pytest.raises(BadInput):
            irondb.parse_rebalance(text)


class TestParseReconstitute:
    @pytest.mark.parametrize("text, expected", [
        ("true", True), ("false", False), ('"true"', True), ("{}", False), ("[]", False),
        ('{"in_progress": "false"}', False), ('{"in_progress": true}', True), ('{"%s": "true"}' % A, True),
        ('{"%s": {"in_progress": false}}' % A, False), ('[{"id": "%s", "in_progress": "true",}]' % A, True),
        ('{"reconstitute_running": 1}', True), ('{"in_progress": {"%s": true}}' % A, True)])
    def test_any_yes_is_a_yes(self, text, expected):
        assert irondb.parse_reconstitute(text) is expected

    @pytest.mark.parametrize("text", ["", "<html>", "1", '"x"', "null"])
    def test_refuses(self, text):
        with pytest.raises(BadInput):
            irondb.parse_reconstitute(text)


class TestParseSweep:
    def test_the_published_sample_with_its_comma(self):
        found = irondb.parse_sweep(
            '{"nnt": {"running": "true", "current_uuid": "b0", "timestamp": "1500000000", "rollups": "all"},'
            '"text": {"running": "false",}, "histogram": {"running": "true", "cancelling": "true", "current_metric":'
            ' "b0-cpu", "timestamp": "1500000000", "rollups": "60,300"}}')
        assert found["nnt"] == {"running": True, "cancelling": False, "timestamp": 1500000000, "current": "b0",
                                "rollups": "all"}
        assert not found["text"]["running"] and found["text"]["timestamp"] is None
        assert found["histogram"]["cancelling"] and found["histogram"]["rollups"] == [60, 300]

    @pytest.mark.parametrize("text", GARBAGE + ['{"nnt": {}}', '{"nnt": {"running": "perhaps"}}', '{"error": "no"}'])
    def test_unknown_is_not_finished(self, text):
        with pytest.raises(BadInput):
            irondb.parse_sweep(text)


def answer(**change):
    whole = {"status": 200, "seconds": 0.0, "error": "", "body": "{}", "connected": True, "complete": True}
    return dict(whole, **change)


class TestProblemOf:
    @pytest.mark.parametrize("change, problem", [
        ({}, ""),
        ({"connected": False, "error": "connection refused"}, "refused"),
        ({"connected": False, "error": "no answer within 3 s"}, "unreachable"),
        ({"connected": False, "error": "[Errno 113] No route to host"}, "unreachable"),
        ({"error": "no answer within 3 s", "status": None}, "hung"),
        ({"error": "the answer did not end within 3 s"}, "hung"),
        ({"error": "expected HTTP, found something else"}, "unreadable"),
        ({"status": 404}, "missing"), ({"status": 500}, "unreadable"), ({"complete": False}, "unreadable"),
    ])
    def test_by_how_far_it_came(self, change, problem):
        assert irondb.problem_of(answer(**change))[0] == problem


class TestClient:
    def client(self, pages, seconds=0.0):
        self.now, self.given = 0.0, []

        def ask(address, port, path, timeout, limit):
            self.given.append((address, port, path, timeout))
            self.now += seconds
            return answer(**pages.get(path, {"status": 404}))

        return irondb.Client("192.0.2.31", 8112, 5.0, ask, lambda: self.now)

    def test_all_pages_share_one_deadline(self):
        client = self.client({"/state": {"body": json.dumps(STATE)}}, seconds=3.0)
        client.state()
        client.state()
        assert [row[3] for row in self.given] == [5.0, 2.0]
        with pytest.raises(irondb.Unanswered) as caught:
            client.state()
        assert caught.value.problem == "hung" and len(self.given) == 2

    def test_garbage_is_unreadable(self):
        with pytest.raises(irondb.Unanswered, match="/state: expected the state of a node") as caught:
            self.client({"/state": {"body": "<html>"}}).state()
        assert caught.value.problem == "unreadable"

    def test_a_rebuild_on_a_release_with_its_own_page(self):
        assert self.client({"/reconstitute_state": {"body": '{"in_progress": true}'}}).rebuilding() is True

    @pytest.mark.parametrize("stats, expected", [("{}", False), ('{"reconstitute": {"nnt": 12}}', True)])
    def test_a_rebuild_on_an_old_release(self, stats, expected):
        assert self.client({"/stats.json": {"body": stats}}).rebuilding() is expected

    def test_no_answer_is_not_no(self):
        with pytest.raises(irondb.Unanswered):
            self.client({"/reconstitute_state": {"status": 500}}).rebuilding()
        with pytest.raises(irondb.Unanswered):
            self.client({}).rebuilding()

    def test_a_release_without_sweep(self):
        assert self.client({}).sweep() is None
        with pytest.raises(irondb.Unanswered):
            self.client({"/sweep_delete": {"status": 500}}).sweep()
