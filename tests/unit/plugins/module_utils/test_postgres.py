# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The decisions about the database that need no server."""
from __future__ import absolute_import, division, print_function

import os
import struct

import pytest
from ansible_collections.circonus.inside.plugins.module_utils import postgres as pg
from ansible_collections.circonus.inside.plugins.module_utils import web_db
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput


class TestLsn:
    @pytest.mark.parametrize("text", ["0/3000060", "1/0", "FFFFFFFF/FFFFFFFF"])
    def test_survives_the_way_there_and_back(self, text):
        assert pg.lsn_text(pg.lsn(text)) == text

    def test_orders_across_the_high_half(self):
        assert pg.lsn("1/0") > pg.lsn("0/FFFFFFFF")

    def test_refuses_something_else(self):
        with pytest.raises(BadInput, match="WAL position"):
            pg.lsn("3000060")


class TestEndsWithShutdownCheckpoint:
    @pytest.mark.parametrize("size", [112, 120, 128])
    def test_accepts_the_end_of_the_record(self, size):
        assert pg.ends_with_shutdown_checkpoint(0x3000028, 0x3000028, 0x3000028 + size)

    def test_accepts_a_page_header_inside(self):
        start = 0x3002000 - 40
        assert pg.ends_with_shutdown_checkpoint(start, start, start + 120 + 24)

    def test_refuses_an_online_checkpoint(self):
        assert not pg.ends_with_shutdown_checkpoint(0x3000060, 0x3000028, 0x30000D8)

    def test_refuses_when_anything_follows(self):
        assert not pg.ends_with_shutdown_checkpoint(0x3000028, 0x3000028, 0x3000028 + 112 + 32)

    def test_refuses_when_the_record_is_not_replayed(self):
        assert not pg.ends_with_shutdown_checkpoint(0x3000028, 0x3000028, 0x3000028)
        assert not pg.ends_with_shutdown_checkpoint(0x3000028, 0x3000028, None)


class TestForkPoint:
    HISTORY = "1\t0/3000110\tno recovery target specified\n\n2\t0/5000060\tno recovery target specified\n"

    def test_finds_where_a_timeline_was_left(self):
        assert pg.fork_point(self.HISTORY, 1) == pg.lsn("0/3000110")
        assert pg.fork_point(self.HISTORY, 2) == pg.lsn("0/5000060")

    def test_knows_no_stranger(self):
        assert pg.fork_point(self.HISTORY, 3) is None
        assert pg.fork_point("", 1) is None


class TestConninfo:
    def test_keeps_what_it_does_not_know(self):
        text = "host=192.0.2.1 user=replication password='it''s' sslmode=require"
        with pytest.raises(BadInput):
            pg.parse_conninfo("host")
        values = pg.parse_conninfo(text.replace("it''s", "a \\' b"))
        assert values == {"host": "192.0.2.1", "user": "replication", "password": "a ' b", "sslmode": "require"}
        assert pg.parse_conninfo(pg.format_conninfo(values)) == values


class TestChangeSettings:
    def test_replaces_every_line_of_a_name_and_nothing_else(self):
        text = "# primary_conninfo = 'x'\nprimary_conninfo = 'old'\nwork_mem = 4MB\nprimary_conninfo = 'older'\n"
        changed = pg.change_settings(text, {"primary_conninfo": "host=a", "primary_slot_name": None})
        assert changed == "# primary_conninfo = 'x'\nwork_mem = 4MB\nprimary_conninfo = 'host=a'\n"
        assert pg.parse_settings(changed)["primary_conninfo"] == "host=a"

    def test_quotes_survive(self):
        changed = pg.change_settings("", {"primary_conninfo": "host='a b'"})
        assert pg.parse_settings(changed)["primary_conninfo"] == "host='a b'"


class TestParseControl:
    def test_refuses_a_version_it_does_not_know(self):
        with pytest.raises(BadInput, match="9.6 to 18"):
            pg.parse_control(struct.pack("=QI", 1, 937) + b"\0" * 300)

    def test_reads_both_layouts(self):
        for version, copy, when, length in ((1100, 40, 56, 80), (1300, 40, 64, 88), (1002, 48, 56, 80)):
            data = bytearray(400)
            struct.pack_into("=QI", data, 0, 7, version)
            struct.pack_into("=I", data, 16, 1)
            struct.pack_into("=Q", data, 32, 0x3000028)
            struct.pack_into("=Q", data, copy, 0x3000028)
            struct.pack_into("=I", data, copy + 8, 4)
            struct.pack_into("=q", data, copy + when, 1600000000)
            struct.pack_into("=Q", data, copy + length + 8, 0x3000090)
            struct.pack_into("=I", data, copy + length + 16, 3)
            found = pg.parse_control(bytes(data))
            assert (found["state"], found["checkpoint_lsn"], found["redo_lsn"], found["timeline"]) == (
                "shut down", "0/3000028", "0/3000028", 4)
            assert (found["checkpoint_time"], found["min_recovery_lsn"], found["min_recovery_timeline"]) == (
                1600000000, "0/3000090", 3)


class TestFindDataDir:
    def make(self, tmp_path, *names):
        for name in names:
            (tmp_path / name).mkdir()
            (tmp_path / name / "PG_VERSION").write_text("15\n")
        return str(tmp_path / "*")

    def test_passes_over_what_was_set_aside_or_is_being_built(self, tmp_path):
        pattern = self.make(tmp_path, "15", "15.aside-r1", "15.new-r2")
        assert pg.find_data_dir(pattern) == str(tmp_path / "15")

    def test_does_not_choose_between_two(self, tmp_path):
        with pytest.raises(BadInput, match="Expected one data directory"):
            pg.find_data_dir(self.make(tmp_path, "11", "15"))

    def test_may_find_none(self, tmp_path):
        assert pg.find_data_dir(str(tmp_path / "*")) is None


class TestStandbySettings:
    def test_before_12_recovery_done_becomes_recovery_conf_again(self, tmp_path):
        base = str(tmp_path)
        (tmp_path / "PG_VERSION").write_text("11\n")
        (tmp_path / "recovery.done").write_text(
            "standby_mode = 'on'\nrestore_command = 'x'\nprimary_slot_name = 's'\n")
        (tmp_path / "failover.now").write_text("")
        assert pg.standby_settings(base)["starts_as"] == "primary"
        assert pg.write_standby_settings(base, {"host": "192.0.2.1"})
        found = pg.standby_settings(base)
        assert found["starts_as"] == "standby" and found["conninfo"] == {"host": "192.0.2.1"}
        assert found["trigger_file"] == os.path.join(base, "failover.now")
        assert found["settings"]["restore_command"] == "x" and "primary_slot_name" not in found["settings"]
        assert sorted(os.listdir(base)) == ["PG_VERSION", "recovery.conf"]
        assert not pg.write_standby_settings(base, {"host": "192.0.2.1"})

    def test_from_12_on_the_signal_file_decides(self, tmp_path):
        base = str(tmp_path)
        (tmp_path / "PG_VERSION").write_text("15\n")
        (tmp_path / "postgresql.auto.conf").write_text("work_mem = '4MB'\n")
        (tmp_path / "recovery.signal").write_text("")
        assert pg.write_standby_settings(base, {"host": "192.0.2.1"})
        assert pg.standby_settings(base)["starts_as"] == "standby"
        assert sorted(os.listdir(base)) == ["PG_VERSION", "postgresql.auto.conf", "standby.signal"]
        assert "work_mem = '4MB'" in (tmp_path / "postgresql.auto.conf").read_text()

    def test_an_empty_directory_starts_as_nothing(self, tmp_path):
        assert pg.standby_settings(str(tmp_path))["starts_as"] == "nothing"


REQUEST = {"candidate": "b", "token": 5}
ROW = {"id": 3, "state": "fenced", "candidate": "b", "token": 5, "at": 1000.4, "stop_before": 1060.4}


class TestFenceProblem:
    def test_accepts_the_fence_of_this_run_and_of_an_earlier_one(self):
        assert web_db.fence_problem(REQUEST, ROW, 2) is None
        assert web_db.fence_problem(REQUEST, dict(ROW, token=4), None) is None

    @pytest.mark.parametrize("row, baseline, words", [
        (None, None, "has arrived"), (dict(ROW, state="cancelled"), 2, "is cancelled"),
        (dict(ROW, candidate="c"), 2, "is for c"), (dict(ROW, token=6), 2, "newer run"),
        (ROW, 3, "older than this run"),
    ])
    def test_refuses_any_other(self, row, baseline, words):
        assert words in web_db.fence_problem(REQUEST, row, baseline)


class TestShutdownProblem:
    CONTROL = {"checkpoint_lsn": "0/3000028", "redo_lsn": "0/3000028", "checkpoint_time": 1001}

    def test_accepts_the_shutdown_that_follows_the_fence(self):
        assert web_db.shutdown_problem(ROW, self.CONTROL, "0/30000A0") is None
        assert web_db.shutdown_problem(ROW, dict(self.CONTROL, checkpoint_time=1000), "0/30000A0") is None

    def test_refuses_a_shutdown_before_the_fence(self):
        assert "does not belong" in web_db.shutdown_problem(ROW, dict(self.CONTROL, checkpoint_time=900), "0/30000A0")

    def test_refuses_the_shutdown_of_a_server_that_was_started_again_later(self):
        assert "does not belong" in web_db.shutdown_problem(ROW, dict(self.CONTROL, checkpoint_time=9000), "0/30000A0")

    def test_refuses_an_online_checkpoint(self):
        assert "not the end" in web_db.shutdown_problem(ROW, dict(self.CONTROL, redo_lsn="0/3000000"), "0/30000A0")


class TestFollowMethod:
    FORK = pg.lsn("0/3000090")

    def control(self, state, **more):
        return dict({"state": state, "timeline": 1, "checkpoint_lsn": "0/3000018", "min_recovery_lsn": "0/0"}, **more)

    def method(self, control, switchpoint=FORK, same=False, upstream="0/4000000", known=None):
        return web_db.follow_method(control, switchpoint, same, pg.lsn(upstream), known)[0]

    def test_a_clean_primary_whose_checkpoint_was_replicated(self):
        assert self.method(self.control("shut down")) == "direct"

    def test_a_clean_primary_whose_checkpoint_was_not(self):
        assert self.method(self.control("shut down", checkpoint_lsn="0/3000090")) == "basebackup"

    def test_a_crashed_primary(self):
        assert self.method(self.control("in production")) == "basebackup"
        assert self.method(self.control("shutting down")) == "basebackup"

    def test_a_standby_up_to_the_fork(self):
        assert self.method(self.control("shut down in recovery", min_recovery_lsn="0/3000090")) == "direct"
        assert self.method(self.control("in archive recovery", min_recovery_lsn="0/3000090")) == "direct"

    def test_a_standby_that_has_received_more(self):
        control = self.control("shut down in recovery", min_recovery_lsn="0/3000090")
        assert self.method(control, known=pg.lsn("0/3000098")) == "basebackup"

    def test_a_stranger(self):
        assert self.method(self.control("shut down"), switchpoint=None) == "basebackup"

    def test_the_same_timeline(self):
        assert self.method(self.control("shut down in recovery"), None, True) == "direct"
        assert self.method(self.control("shut down in recovery"), None, True, upstream="0/1000000") == "basebackup"


OWN = {"system_identifier": "7", "timeline": 1}


def peer(timeline=1, read_write=False, system="7"):
    return {"system_identifier": system, "timeline": timeline, "read_write": read_write, "lsn": "0/1"}


class TestStartVerdict:
    def verdict(self, peers, starts_as="primary", marker=None, allow=False, unseen=()):
        return web_db.start_verdict(starts_as, marker, OWN, peers, list(unseen), allow)[0]

    def test_a_standby_always_starts(self):
        assert self.verdict({"b": peer(2, True)}, "standby", {"run_id": "x"}, unseen=["b"]) == "allow"

    def test_a_fence_holds(self):
        assert self.verdict({"b": peer()}, marker={"damaged": True}) == "fenced"

    def test_a_newer_timeline_of_the_same_database_refuses(self):
        assert self.verdict({"b": peer(2)}) == "rival"
        assert self.verdict({"b": peer(2, system="8")}) == "allow"

    def test_another_primary_on_the_same_timeline_refuses(self):
        assert self.verdict({"b": peer(1, True)}) == "rival"
        assert self.verdict({"b": peer(1, None)}) == "allow"

    def test_silence_refuses_unless_allowed(self):
        assert self.verdict({"b": None}, unseen=["b"]) == "isolated"
        assert self.verdict({"b": None}, unseen=["b"], allow=True) == "allow"


class TestUnseenPeers:
    SITES = {"a3": "east", "b1": "west", "b3": "west"}

    def test_one_answer_of_the_other_site_is_enough(self):
        assert web_db.unseen_peers({"a3": None, "b1": None, "b3": peer()}, self.SITES, "east") == []

    def test_answers_of_the_own_site_do_not_count(self):
        assert web_db.unseen_peers({"a3": peer(), "b1": None, "b3": None}, self.SITES, "east") == ["b1", "b3"]

    def test_with_one_site_any_answer_counts(self):
        sites = {"a2": "east", "a3": "east"}
        assert web_db.unseen_peers({"a2": None, "a3": peer()}, sites, "east") == []
        assert web_db.unseen_peers({"a2": None, "a3": None}, sites, "east") == ["a2", "a3"]

    def test_a_database_without_peers(self):
        assert web_db.unseen_peers({}, {}, "east") == []


class TestPossibleLoss:
    def test_counts_what_was_announced_and_estimates_the_silence(self):
        receiver = {"latest_end_lsn": "0/3000100", "last_msg_age_s": 10.0}
        control = {"checkpoint_time": 890, "redo_lsn": "0/2FFFC18"}
        loss = web_db.possible_loss(receiver, "0/3000000", "0/2FFFFFF", control, 12.0, 1000.0)
        assert loss == {"known_bytes": 256, "silent_s": 10.0, "rate_bytes_s": 10, "estimate_bytes": 356}

    def test_without_a_receiver(self):
        assert web_db.possible_loss(None, "0/3000000", "0/3000000", None, 5.0, 1000.0)["known_bytes"] == 0
