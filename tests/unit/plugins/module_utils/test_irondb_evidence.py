# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import base64
import io
import json
import os
import tarfile
import time

import pytest

from ansible_collections.circonus.inside.plugins.module_utils import irondb_evidence as evidence
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError

NODE = "a0000000-0000-4000-8000-000000000001"
ATA = """SMART overall-health self-assessment test result: PASSED
ID# ATTRIBUTE_NAME          FLAG     VALUE WORST THRESH TYPE      UPDATED  WHEN_FAILED RAW_VALUE
  5 Reallocated_Sector_Ct   0x0033   100   100   010    Pre-fail  Always       -       8
187 Reported_Uncorrect      0x0032   098   098   000    Old_age   Always       -       2
194 Temperature_Celsius     0x0022   036   045   000    Old_age   Always       -       36 (Min/Max 20/45)
197 Current_Pending_Sector  0x0012   100   100   000    Old_age   Always       -       1
198 Offline_Uncorrectable   0x0010   100   100   000    Old_age   Offline      -       0
"""
SCSI = """SMART Health Status: OK
Elements in grown defect list: 3
           Errors Corrected by           Total   Correction     Gigabytes    Total
read:          0        0         0         0          5     14523.223           4
write:         0        0         0         0          0      9523.223           0
"""
NVME = """SMART overall-health self-assessment test result: FAILED!
Media and Data Integrity Errors:    1,024
"""


class TestCpu:
    def test_between_two_looks(self):
        before = "cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 1\ncpu1 1\n"
        after = "cpu  150 0 110 810 30 0 0 0 0 0\ncpu0 1\ncpu1 1\n"
        assert evidence.parse_cpu(before, after) == {
            "busy_percent": 60.0, "iowait_percent": 30.0, "steal_percent": 0.0, "cpus": 2}

    def test_nothing_between_them_is_nothing(self):
        text = "cpu  1 2 3 4 5 6 7 8\n"
        assert evidence.parse_cpu(text, text)["busy_percent"] == 0.0


class TestMemory:
    def test_new_kernels_and_old_ones(self):
        found = evidence.parse_memory("MemTotal: 1000 kB\nMemAvailable: 30 kB\nSwapTotal: 10 kB\nSwapFree: 4 kB\n",
                                      "oom_kill 2\n")
        assert found == {"total_kb": 1000, "available_kb": 30, "available_percent": 3.0, "swap_used_kb": 6,
                         "oom_kills": 2}
        old = evidence.parse_memory("MemTotal: 1000 kB\nMemFree: 100 kB\nCached: 400 kB\n", "pgfault 1\n")
        assert old["available_percent"] == 50.0 and old["oom_kills"] is None


class TestDisks:
    def test_busy_and_waiting(self):
        before = "8 0 sda 10 0 0 100 10 0 0 100 0 1000 200\n8 1 sda1 1 0 0 1 1 0 0 1 0 1 1\n"
        after = "8 0 sda 20 0 0 300 20 0 0 300 0 2800 400\n8 1 sda1 1 0 0 1 1 0 0 1 0 1 1\n"
        assert evidence.parse_disks(before, after, 2.0, ["sda"]) == [
            {"disk": "sda", "busy_percent": 90.0, "await_ms": 20.0}]

    def test_an_idle_one(self):
        text = "8 0 sda 10 0 0 100 10 0 0 100 0 1000 200\n"
        assert evidence.parse_disks(text, text, 2.0, ["sda"])[0]["await_ms"] == 0.0


class TestSmart:
    @pytest.mark.parametrize("text, wanted", [
        (ATA, ("PASSED", 3, 8)), (SCSI, ("OK", 4, 3)), (NVME, ("FAILED!", 1024, None)), ("", ("", None, None)),
        ("Smartctl open device: /dev/sda failed: No such device", ("", None, None))])
    def test_of_every_kind_of_disk(self, text, wanted):
        found = evidence.parse_smart(text)
        assert (found["health"], found["uncorrected"], found["reallocated"]) == wanted

    def test_without_smartctl(self, monkeypatch):
        monkeypatch.setattr(evidence.programs, "PROGRAM_PATHS", ())
        with pytest.raises(InsideError, match="smartctl is not installed"):
            evidence.smart(1.0, ["sda"])

    def test_a_program_is_asked_for_each_disk(self):
        said = evidence.program("smartctl", ["-a", "/dev/sda"], 5.0, lambda name: "/usr/sbin/" + name,
                                lambda argv, timeout: (4, " ".join(argv), ""))
        assert said == "/usr/sbin/smartctl -a /dev/sda"


class TestWatchdog:
    def test_the_words_of_libmtev(self):
        rows = [(10.0, "[monitor] Watchdog timeout on heart#0 [core] (5.1 s)... terminating child 77/0x0/9"),
                (11.0, "[monitor] snowth 77 has watchdogged."),
                (12.0, "[monitor] snowth child died [77/9], restarting."),
                (13.0, "[monitor] snowth 78 has crashed."),
                (14.0, "[monitor] exceeded retry limit of 5 retries in 60 seconds... exiting..."),
                (15.0, "[monitor] Watchdog timeout on heart#3 [x] (9.0 s)... requesting termination of 79/0x0/9")]
        found = evidence.watchdog(rows, 0.0)
        assert found["killed"]["count"] == 2 and found["killed"]["last"] == 15.0
        assert found["crashed"]["count"] == 1 and found["gave_up"]["count"] == 1

    def test_the_words_of_the_lab(self):
        rows = [(1.0, "watchdog: child 5 missed its heartbeats, killed"),
                (1.1, "watchdog: child 5 ended with signal 9"),
                (2.0, "watchdog: child 6 ended with signal 6"), (3.0, "watchdog: child 7 ended with 0"),
                (4.0, "watchdog: 6 starts within 60 seconds, giving up")]
        found = evidence.watchdog(rows, 0.0)
        assert [found[kind]["count"] for kind in ("killed", "crashed", "gave_up")] == [1, 1, 1]

    def test_what_is_older_does_not_count(self):
        assert evidence.watchdog([(1.0, "snowth 5 has crashed")], 2.0)["crashed"]["count"] == 0


class TestHide:
    def test_in_every_text_whatever_it_is_in(self):
        found = evidence.hide({"a": ["x hunter22 y", 5], "b": {"c": "password=abc123"}, "d": None}, ["hunter22"])
        assert "hunter22" not in json.dumps(found) and "abc123" not in json.dumps(found)
        assert found["a"][1] == 5 and found["d"] is None


class TestArchive:
    def test_is_one_directory_of_private_files(self):
        data = base64.b64decode(evidence.archive("db1", {"logs/errorlog": u"a\u00e4", "facts.json": "{}"}))
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            assert tar.getnames() == ["db1/facts.json", "db1/logs/errorlog"]
            assert tar.extractfile("db1/logs/errorlog").read().decode("utf-8") == u"a\u00e4"
            assert {member.mode for member in tar.getmembers()} == {0o600}


class TestCollect:
    @pytest.fixture
    def params(self, tmp_path, monkeypatch):
        (tmp_path / "logs").mkdir()
        (tmp_path / "logs" / "errorlog").write_text(
            u"[2026-11-26 10:00:00] snowth 5 has crashed\n[2026-11-26 10:00:01] [hist/60] Corruption: of secretvalue\n")
        site = tmp_path / "site.json"
        site.write_text(json.dumps({"svclist": {"web_db": {"password": "secretvalue"}}}))
        store = tmp_path / "hist" / NODE / "60"
        store.mkdir(parents=True)
        (store / "CURRENT").write_text(u"x")
        os.utime(str(store / "CURRENT"), (1, 1))
        monkeypatch.setattr(evidence.unit_state, "show_units",
                            lambda names: {name: {"exists": True, "active": "failed"} for name in names})
        return {"node": NODE, "units": ["circonus-snowth"], "root": str(tmp_path), "port": 1, "page_timeout": 0.5,
                "deadline_s": 10.0, "watch_s": 0.1, "hours": 24, "log_kb": 64, "bundle": True, "site_path": str(site)}

    def test_reads_what_there_is_and_names_what_there_is_not(self, params):
        found = evidence.collect(params)
        assert found["facts"]["load"]["cpus"] >= 1 and found["facts"]["memory"]["total_kb"] > 0
        assert found["facts"]["watchdog"]["crashed"]["count"] == 1
        assert found["facts"]["store"]["stores"][0]["state"] == "damaged" and "state" in found["unread"]
        with tarfile.open(fileobj=io.BytesIO(base64.b64decode(found["bundle"]))) as tar:
            names = {name.split("/", 1)[1] for name in tar.getnames()}
            assert {"facts.json", "unread.json", "logs/errorlog", "kernel/meminfo"} <= names
            assert "logs/startuplog" not in names and not [name for name in names if "snowth.conf" in name]
            for member in tar.getmembers():
                assert b"secretvalue" not in tar.extractfile(member).read()
        assert "secretvalue" not in json.dumps(found)

    def test_without_an_archive(self, params):
        assert evidence.collect(dict(params, bundle=False))["bundle"] == ""

    def test_is_back_at_the_deadline_whatever_hangs(self, params, monkeypatch):
        monkeypatch.setattr(evidence, "smart", lambda timeout: time.sleep(60))
        started = time.monotonic()
        found = evidence.collect(dict(params, deadline_s=2.0))
        assert time.monotonic() - started < 10 and "no answer within" in found["unread"]["smart"]
        assert "memory" in found["facts"]
