# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""data_storage_diagnose.yml on a running cluster: it finds what was done to a node, and its archive holds no secret."""

from __future__ import annotations

import json
import tarfile
import time
from pathlib import Path

import pytest
from running_lab import LONG, Lab, wait_until
from storage_lab import Storage

HOST = "east-store2"
#: A disk that cannot read some of its sectors, as smartctl words it.
SMARTCTL = """#!/bin/sh
echo 'SMART overall-health self-assessment test result: PASSED'
echo '197 Current_Pending_Sector  0x0012   100   100   000    Old_age   Always       -       4'
"""
WRITTEN = ("find /snowth /etc /opt/circonus /var/lib/circonus-inside -xdev -newer /run/diagnose-mark -type f "
           "! -path '*/logs/*' 2>/dev/null")
#: A busy machine is no finding of these tests.
CALM = {"data_storage_diagnose_cpu_percent": 101, "data_storage_diagnose_iowait_percent": 101,
        "data_storage_diagnose_disk_percent": 101, "data_storage_diagnose_memory_percent": 0,
        "data_storage_diagnose_space_percent": 101, "data_storage_diagnose_hours": 1}


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    """The running cluster, green."""
    found = Storage(Lab(tmp_path_factory.mktemp("reports")))
    found.settle()
    return found


@pytest.fixture
def smartctl(storage):
    """The program on one host; a host without disks of its own has nothing to ask it about."""
    storage.lab.on(HOST, "sh", "-c", "cat > /usr/local/sbin/smartctl && chmod 755 /usr/local/sbin/smartctl",
                   input=SMARTCTL)
    yield storage.lab.on(HOST, "sh", "-c", "ls -d /sys/block/*/device 2>/dev/null | wc -l").stdout.strip() != "0"
    storage.lab.on(HOST, "rm", "-f", "/usr/local/sbin/smartctl")


def diagnose(storage, **more):
    return storage.lab.play("data_storage_diagnose", **dict(CALM, **more))


def passwords(value, secret=False):
    """What site.json calls a password."""
    if isinstance(value, dict):
        return {word for key, item in value.items() for word in passwords(item, "pass" in key)}
    if isinstance(value, list):
        return {word for item in value for word in passwords(item, secret)}
    return {value} if secret and isinstance(value, str) and len(value) >= 4 else set()


def ids(run, host=HOST):
    return {item["id"] for item in run.report["findings"] if item["host"] == host and item["severity"] != "info"}


class TestDiagnose:
    def test_every_node_is_looked_at_and_nothing_is_written_on_a_host(self, storage):
        before = storage.starts()
        for host in storage.hosts:
            storage.lab.on(host, "touch", "/run/diagnose-mark")
        run = diagnose(storage, data_storage_diagnose_fail_on="critical")
        assert run.rc == 0 and run.report["checked"]["hosts"] == run.report["checked"]["of"] >= 3, run
        assert storage.starts() == before
        for host in storage.hosts:
            assert storage.lab.on(host, "sh", "-c", WRITTEN, check=False).stdout == ""

    def test_the_archive_holds_what_support_needs_and_no_secret(self, storage):
        run = diagnose(storage, data_storage_diagnose_fail_on="critical")
        site = json.loads((storage.lab.inventory / "site.east.json").read_text())
        hidden = passwords(site)
        assert hidden
        for host in storage.hosts:
            path = Path(run.report["evidence"][host])
            assert path.stat().st_mode & 0o077 == 0
            with tarfile.open(path) as tar:
                names = {name.split("/", 1)[1] for name in tar.getnames()}
                assert {"facts.json", "logs/errorlog", "pages/state.json", "pages/gossip.json", "topology/topology",
                        "kernel/meminfo", "programs/journal"} <= names, names
                assert not [name for name in names if "snowth.conf" in name or "licenses" in name]
                for member in tar.getmembers():
                    data = tar.extractfile(member).read()
                    assert not [word for word in hidden if word.encode() in data], member.name

    @LONG
    def test_a_child_that_hangs_is_a_finding(self, storage):
        parent, child = self.pair(storage)
        storage.lab.on(HOST, "kill", "-STOP", child)
        wait_until(lambda: self.pair(storage)[1] not in ("", child), 60, "the watchdog has a new child")
        storage.settle()
        run = diagnose(storage)
        assert run.rc != 0 and "storage_watchdog" in ids(run), run
        assert self.pair(storage)[0] == parent
        assert "storage_watchdog" not in ids(run, "east-store1")

    @staticmethod
    def pair(storage):
        """Process ids of watchdog and child."""
        parent = storage.lab.on(HOST, "systemctl", "show", "-p", "MainPID", "--value", "circonus-snowth").stdout.strip()
        child = storage.lab.on(HOST, "sh", "-c", "cat /proc/%s/task/*/children" % parent, check=False).stdout.split()
        return parent, child[0] if child else ""

    @LONG
    def test_a_damaged_store_and_its_repair(self, storage):
        line = "leveldb: /snowth/text/%s/metrics: Corruption: x" % storage.ids[HOST]
        now = "[$(date -u '+%Y-%m-%d %H:%M:%S')]"
        storage.lab.on(HOST, "sh", "-c", 'echo "%s %s" >> /snowth/logs/errorlog' % (now, line))
        run = diagnose(storage)
        found = [item for item in run.report["findings"] if item["id"] == "storage_damaged"]
        assert [item["host"] for item in found] == [HOST]
        assert found[0]["remedy"] == (
            "data_storage_repair.yml -e data_storage_repair_limit=east-store2 -e circonus_confirm=east-store2")
        storage.lab.on(HOST, "systemctl", "restart", "circonus-snowth")
        storage.settle()
        assert "storage_damaged" not in ids(diagnose(storage))

    def test_a_disk_with_errors(self, storage, smartctl):
        run = diagnose(storage)
        assert ("storage_disk_errors" in ids(run)) is smartctl, run

    def test_a_node_that_is_down_and_one_that_hangs(self, storage):
        storage.lab.on("east-store3", "systemctl", "stop", "circonus-snowth")
        try:
            with storage.fault(HOST, "http-hang"):
                started = time.monotonic()
                run = diagnose(storage)
                assert time.monotonic() - started < 120
        finally:
            storage.lab.on("east-store3", "systemctl", "start", "circonus-snowth")
        assert run.rc != 0 and "storage_silent" in ids(run) and "storage_silent" in ids(run, "east-store3"), run
        storage.settle()
