# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os
import time

import pytest

from ansible_collections.circonus.inside.plugins.module_utils import irondb_damage
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput

NODE = "a0000000-0000-4000-8000-000000000001"
OTHER = "a0000000-0000-4000-8000-000000000002"
UNIT = "circonus-snowth"


def put(path, text="x", mtime=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    if mtime is not None:
        os.utime(str(path), (mtime, mtime))


class TestStamp:
    @pytest.mark.parametrize("line, later", [
        ("[2026-11-26 10:00:05.500000] x", 5.5), ("2026-11-26T10:00:05 x", 5.999), ("[2026-11-26 10:01:00.0] x", 60.0)])
    def test_is_read_with_and_without_brackets(self, line, later):
        assert irondb_damage.stamp(line) - irondb_damage.stamp("[2026-11-26 10:00:00.0] x") == pytest.approx(later)

    @pytest.mark.parametrize("line", ["", "no stamp", "[error] 2026", "[2026-13-45 99:99:99] x"])
    def test_nothing_else_is(self, line):
        assert irondb_damage.stamp(line) is None or line.startswith("[2026-13")


class TestDated:
    LINES = ["[2023-11-14 22:13:00.000000] a", "without", "[2023-11-14 22:13:20.000000] b"]

    @pytest.fixture(params=["UTC", "CET-1", "EST+5"])
    def host_zone(self, request, monkeypatch):
        monkeypatch.setenv("TZ", request.param)
        time.tzset()
        yield time.localtime(1700000000).tm_gmtoff
        monkeypatch.undo()
        time.tzset()

    @pytest.mark.parametrize("late", [0.0, -0.01, 2000.0])
    def test_whether_the_log_is_in_local_time_or_not(self, host_zone, late):
        assert [at for at, _line in irondb_damage.dated(self.LINES, 1700000000.0 + late)] == pytest.approx(
            [1699999980.0, 1699999980.0, 1700000000.0 + min(0.0, late)])
        local = 1700000000.0 - host_zone + late
        found = [at for at, _line in irondb_damage.dated(self.LINES, local)]
        assert found == pytest.approx([local - late - 20, local - late - 20, local - late + min(0.0, late)])

    def test_a_clock_that_is_in_no_zone_is_taken_as_it_is(self):
        assert [at for at, _line in irondb_damage.dated(self.LINES, 1000.0)] == [980.0, 980.0, 1000.0]

    def test_without_any_stamp_all_are_as_young_as_the_file(self):
        assert irondb_damage.dated(["a", "b"], 7.0) == [(7.0, "a"), (7.0, "b")]

    def test_a_clock_that_went_back_makes_no_line_younger_than_its_file(self):
        assert irondb_damage.dated(["[2026-11-26 10:00:00] a", "[2026-11-26 09:00:00] b"], 50.0)[0][0] == 50.0


class TestStoresOf:
    @pytest.mark.parametrize("line, stores", [
        ("leveldb: cannot open /snowth/text/%s/metrics: Corruption: checksum mismatch: x" % NODE, ["text/metrics"]),
        ("Corruption: 1 missing files; e.g.: /snowth/text/%s/changelog/000005.ldb" % NODE, ["text/changelog"]),
        ("/snowth/hist/%s/10800/MANIFEST-000004: Corruption" % NODE.upper(), ["hist/10800"]),
        ("[hist/60] Corruption: bad block", ["hist/60"]),
        ("text/metrics and hist/metrics: corrupted", ["text/metrics", "hist/metrics"]),
        ("/snowth/raw_db/%s/1700000000: Corruption: bad" % NODE, ["raw_db"]),
        ("nntbs shard 60_1-2 is corrupt, taken offline", ["nntbs"]),
        ("/snowth/data/%s: corrupt" % NODE, ["data"]),
        ("/snowth/redo/%s: corrupt" % OTHER, ["redo"]),
        ("corrupt context/metrics of the data", []),
        ("/snowth/text/%s/metrics: Corruption" % OTHER, []),
    ])
    def test_by_path_or_by_name(self, line, stores):
        assert [store for store, _target in irondb_damage.stores_of(line, NODE)] == stores

    @pytest.mark.parametrize("name", ["LOG", "hist", "0", "60x"])
    def test_what_r_does_not_know_is_no_target(self, name):
        assert irondb_damage.stores_of("/snowth/hist/%s/%s" % (NODE, name), NODE) == [("hist", "")]


class TestDamage:
    def rows(self, *lines):
        return [(float(at), line) for at, line in enumerate(lines)]

    def test_the_newest_complaint_of_each_store_counts(self):
        line = "/snowth/text/%s/metrics: Corruption: %%s" % NODE
        found = irondb_damage.damage(self.rows(line % "a", line % "b", "[hist/60] Corruption: c"), NODE, "errorlog")
        assert sorted(found) == ["hist/60", "text/metrics"]
        assert found["text/metrics"]["at"] == 1.0 and found["text/metrics"]["line"].endswith("b")
        assert found["hist/60"]["target"] == "hist/60" and found["hist/60"]["log"] == "errorlog"

    @pytest.mark.parametrize("line", [
        "[text/metrics] opened", "nntbs: 10 online, 0 corrupt", "text/metrics is not corrupt", "no corruption: hist/60",
        "/snowth/text/%s/metrics: Corruption" % OTHER])
    def test_other_lines_do_not(self, line):
        assert irondb_damage.damage(self.rows(line), NODE) == {}

    @pytest.mark.parametrize("line", [
        "nntbs: 0 online, 10 corrupt",
        "Invalid argument: /snowth/text/%s/metrics: does not exist (create_if_missing is false)" % NODE])
    def test_these_do(self, line):
        assert len(irondb_damage.damage(self.rows(line), NODE)) == 1

    def test_a_complaint_that_names_no_store_is_kept(self):
        assert irondb_damage.damage(self.rows("Corruption: bad block"), NODE)[""]["target"] == ""


class TestReadLogs:
    def test_rotated_files_too_and_the_youngest_line_wins(self, tmp_path):
        log = tmp_path / "logs" / "errorlog"
        text = "[2026-11-26 10:00:00] text/metrics Corruption: %s\n"
        put(log.parent / "errorlog.1700000000", text % "young", 500.0)
        put(log, text % "old", 400.0)
        found = irondb_damage.read_logs(str(tmp_path), NODE)
        assert found["text/metrics"]["line"].endswith("young") and found["text/metrics"]["at"] == 500.0

    def test_a_log_that_is_not_there_is_said(self, tmp_path):
        with pytest.raises(BadInput, match="Expected the error log of the node at .*mounted"):
            irondb_damage.read_logs(str(tmp_path), NODE)


class TestTaskOf:
    @pytest.mark.parametrize("command, task", [
        ("snowthd -D -D -c x", ("daemon", "")), ("snowthd -u nobody -r text/metrics -i x", ("repair", "text/metrics")),
        ("snowthd -i x -B", ("rebuild", "")), ("snowthd -i x -j", ("drain", "")), ("snowthd -k stop", ("control", "")),
        ("snowthd -N", ("convert", "")), ("snowthd -r", ("repair", ""))])
    def test_by_the_flag(self, command, task):
        assert irondb_damage.task_of(command) == task

    def test_a_script_has_its_interpreter_first(self):
        def item(command, comm="snowthd"):
            return {"command": command, "comm": comm, "unit": UNIT, "start_ticks": 0, "ppid": 1}
        table = {1: item("/usr/bin/python3 -sB /opt/circonus/sbin/snowthd -D"), 2: item("vi /opt/snowthd", "vi"),
                 3: item("/opt/circonus/sbin/snowthd -r hist/60"), 4: item("sleep 5", "sleep")}
        found = irondb_damage.running(table)
        assert [(one["pid"], one["kind"], one["unit"]) for one in found] == [(1, "daemon", UNIT), (3, "repair", UNIT)]
        assert found[0]["started"] < time.time()


class TestForeign:
    @pytest.mark.parametrize("kind, unit, words", [
        ("daemon", UNIT, ""), ("control", "", ""), ("repair", "", ""), ("daemon", "", "runs outside of " + UNIT),
        ("rebuild", UNIT, "rebuilds the node"), ("drain", "", "drains the journals"), ("convert", "", "converts")])
    def test_names_who_else_works_on_the_store(self, kind, unit, words):
        item = {"pid": 7, "kind": kind, "unit": unit, "command": "snowthd"}
        said = irondb_damage.foreign([item], [UNIT])
        assert words in said and bool(said) is bool(words)


class TestStateOf:
    @pytest.mark.parametrize("target, written, opened, state", [
        ("text/metrics", None, None, "damaged"), ("text/metrics", 9.0, None, "damaged"),
        ("text/metrics", 11.0, None, "repaired"), ("text/metrics", None, 11.0, "opened"),
        ("text/metrics", None, 10.0, "damaged"), ("", 11.0, None, "beyond"), ("", None, 11.0, "opened")])
    def test_a_line_holds_until_something_newer_disproves_it(self, target, written, opened, state):
        assert irondb_damage.state_of({"target": target, "at": 10.0}, written, opened) == state

    @pytest.mark.parametrize("starts, written, since", [
        ([5.0, 9.0], [1.0], 9.0), ([], [3.0, 4.0], 3.0), ([], [3.0, None], None), ([], [], None)])
    def test_every_store_was_opened(self, starts, written, since):
        assert irondb_damage.last_opening(starts, written) == since


class TestCollect:
    """A node that is down, on a disk of its own."""

    @pytest.fixture
    def disk(self, tmp_path, monkeypatch):
        monkeypatch.setattr(irondb_damage, "running", lambda: [])
        monkeypatch.setattr(irondb_damage.unit_state, "show_units",
                            lambda names: {UNIT: {"exists": True, "active": "failed"}})
        monkeypatch.setattr(irondb_damage, "serving", lambda *_args: (False, "refused"))
        for name in ("text/%s/metrics", "text/%s/changelog", "hist/%s/metrics", "hist/%s/60"):
            put(tmp_path / (name % NODE) / "CURRENT", mtime=100.0)
        return tmp_path

    def look(self, disk, text, mtime=200.0, insist=()):
        put(disk / "logs" / "errorlog", text, mtime)
        return irondb_damage.collect({"node": NODE, "root": str(disk), "port": 1, "page_timeout": 1.0, "units": [UNIT],
                                      "insist": insist})

    def test_a_damaged_store(self, disk):
        found = self.look(disk, "cannot open /snowth/text/%s/metrics: Corruption: x" % NODE)
        assert [(item["store"], item["state"]) for item in found["stores"]] == [("text/metrics", "damaged")]
        assert found["targets"] == ["hist/60", "hist/metrics", "text/changelog", "text/metrics"]
        assert found["active"] == "failed" and found["unit"] == UNIT and found["problem"] == "refused"

    def test_one_that_was_repaired_and_not_opened(self, disk):
        put(disk / "text" / NODE / "metrics" / "CURRENT", mtime=300.0)
        assert self.look(disk, "[text/metrics] Corruption: x")["stores"][0]["state"] == "repaired"

    def test_damage_without_a_repair_names_what_fits(self, disk):
        item = self.look(disk, "/snowth/raw_db/%s/1: Corruption: x" % NODE)["stores"][0]
        assert item["state"] == "beyond" and "data_storage_rebuild.yml" in item["why"]
        item = self.look(disk, "surrogate_db is corrupt")["stores"][0]
        assert "snowthsurrogatecontrol -R" in item["why"]
        item = self.look(disk, "Corruption: bad block")["stores"][0]
        assert "ask support" in item["why"]

    def test_a_store_that_is_none_of_leveldb_is_beyond(self, disk):
        os.unlink(str(disk / "hist" / NODE / "60" / "CURRENT"))
        item = self.look(disk, "[hist/60] Corruption: x")["stores"][0]
        assert item["state"] == "beyond" and "no files of LevelDB" in item["why"]
        item = self.look(disk, "[hist/300] Corruption: x")["stores"][0]
        assert item["state"] == "beyond" and "No such file" in item["why"]

    def test_a_log_older_than_the_last_opening_says_nothing(self, disk):
        found = self.look(disk, "/snowth/raw_db/%s/1: Corruption: x\n[text/metrics] Corruption: y" % NODE, 50.0)
        assert {item["state"] for item in found["stores"]} == {"opened"}

    def test_a_person_may_insist_until_it_was_repaired(self, disk):
        line, target = "[hist/60] Corruption: x", "hist/60"
        assert self.look(disk, line, 50.0, ["text/metrics"])["stores"][0]["state"] == "opened"
        item = self.look(disk, line, 50.0, [target])["stores"][0]
        assert item["state"] == "damaged" and not item["mended"]
        put(disk / "hist" / NODE / "60" / "lost" / "000003.log")
        item = self.look(disk, line, 50.0, [target])["stores"][0]
        assert item["state"] == "opened" and item["mended"]

    def test_refuses_what_is_no_id(self, disk):
        with pytest.raises(BadInput, match="Expected the id of a node"):
            irondb_damage.collect({"node": "x", "root": str(disk), "port": 1, "page_timeout": 1.0, "units": [UNIT],
                                   "insist": ()})
