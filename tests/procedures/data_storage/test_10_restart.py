# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""data_storage_restart.yml on a running cluster: nothing is lost, one node at a time, and every gate holds."""

from __future__ import annotations

import pytest
from running_lab import LONG, Lab, wait_until
from storage_lab import QUICK, UNIT, Storage, outages


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    """The running cluster, green."""
    found = Storage(Lab(tmp_path_factory.mktemp("reports")))
    found.settle()
    return found


class TestRestart:
    def test_check_mode_shows_the_waves_and_touches_nothing(self, storage):
        before = storage.starts()
        run = storage.restart("--check")
        assert run.rc == 0 and storage.starts() == before, run
        lines = [line.strip() for line in run.output.splitlines() if "Restart east-store" in line]
        text = "%d. Restart east-store%d and wait until every node is green"
        assert lines[:3] == [text % (at, at) for at in (1, 2, 3)]

    def test_every_measurement_survives_and_one_node_is_down_at_a_time(self, storage):
        before, west = storage.starts(), storage.starts(("west-store1",))
        with storage.traffic() as traffic:
            run = storage.restart()
        assert run.rc == 0 and run.result == "ok", run
        after = storage.starts()
        assert all(after[host] != before[host] for host in storage.hosts) and storage.starts(("west-store1",)) == west
        assert traffic["acknowledged"] > 200 and traffic["lost"] == [], traffic
        down = [look["down"] for look in traffic["seen"] if look["down"]]
        assert {address for look in down for address in look} == set(storage.addresses.values())
        assert max(len(look) for look in down) == 1, down
        stops = outages(traffic["seen"])
        assert len(stops) == 3 and all(worst < 30 for _down, worst in stops), stops
        # A person sees how it goes.
        assert "Restart data_storage on east-store1" in run.output and "green 3 of 3" in run.output

    def test_a_node_that_does_not_come_back_stops_it_and_the_same_command_goes_on(self, storage):
        before = storage.starts()
        with storage.fault("east-store1", "slow-start", "25"):
            run = storage.restart(data_storage_restart_timeout_s=10)
        assert run.rc != 0 and run.result == "failed" and "east-store1" in run.report["reason"], run
        assert storage.starts(storage.hosts[1:]) == {host: before[host] for host in storage.hosts[1:]}
        storage.settle()
        first = storage.starts()["east-store1"]
        run = storage.restart()
        assert run.rc == 0 and "east-store1 was restarted in this run and has settled" in run.output, run
        after = storage.starts()
        assert after["east-store1"] == first
        assert all(after[host] != before[host] for host in storage.hosts[1:])

    @LONG
    def test_a_killed_controller_is_continued(self, storage):
        before = storage.starts()
        assert storage.lab.kill_after("data_storage_restart", "Restart data_storage", **dict(
            QUICK))
        storage.settle()
        first = storage.starts()
        assert first["east-store3"] == before["east-store3"]
        run = storage.restart()
        assert run.rc == 0, run
        assert storage.starts()["east-store1"] == first["east-store1"] != before["east-store1"]
        assert storage.starts()["east-store3"] != before["east-store3"]


class TestModes:
    """Whole hosts, and only the nodes whose package changed."""

    REBOOT = {"data_storage_restart_how": "reboot", "data_storage_restart_boot_s": 240}
    PROGRAM = "/opt/circonus/sbin/snowthd"

    def test_every_measurement_survives_a_reboot_of_each_host(self, storage):
        boots, west = storage.boots(), storage.boots(("west-store1", "east-app1"))
        with storage.traffic() as traffic:
            run = storage.restart(**self.REBOOT)
        assert run.rc == 0 and run.result == "ok", run
        after = storage.boots()
        assert all(after[host] != boots[host] for host in storage.hosts)
        assert storage.boots(("west-store1", "east-app1")) == west
        assert traffic["acknowledged"] > 200 and traffic["lost"] == [], traffic
        stops = outages(traffic["seen"])
        assert max(len(look["down"]) for look in traffic["seen"]) == 1
        assert {address for down, _worst in stops for address in down} == set(storage.addresses.values())
        assert all(worst < 30 for _down, worst in stops), stops
        line = "Reboot east-store3 and wait until every node is green; long_tail_storage of east-store3 goes down"
        assert line + " with it" in run.output, run
        for host in storage.hosts:
            wait_until(lambda host=host: storage.lab.on(host, "systemctl", "is-system-running", check=False).stdout
                       == "running\n", 60, "all that is on %s runs" % host)
        assert storage.lab.active_units("east-store3", "circonus-ltstore-rsync")

    @LONG
    def test_a_killed_run_is_continued_with_the_hosts_that_were_not_booted(self, storage):
        boots = storage.boots()
        assert storage.lab.kill_after("data_storage_restart", "Reboot the host", **dict(QUICK, **self.REBOOT))
        wait_until(lambda: storage.lab.active_units("east-store1", UNIT), 60, "the first node serves")
        # A restart of the service alone is no reboot.
        storage.settle()
        storage.lab.on("east-store2", "systemctl", "restart", UNIT)
        storage.settle()
        first = storage.boots()
        assert first["east-store1"] != boots["east-store1"] and first["east-store2"] == boots["east-store2"]
        run = storage.restart(**self.REBOOT)
        assert run.rc == 0 and "east-store1 was rebooted in this run and has settled" in run.output, run
        after = storage.boots()
        assert after["east-store1"] == first["east-store1"]
        assert all(after[host] != first[host] for host in storage.hosts[1:])

    def test_only_the_node_whose_program_was_replaced_is_restarted(self, storage):
        before, change = storage.starts(), {"data_storage_restart_only": "changed"}
        run = storage.restart(**change)
        assert run.rc == 0 and run.result == "nothing_to_do" and storage.starts() == before, run
        storage.lab.on("east-store2", "mv", self.PROGRAM, self.PROGRAM + ".away")
        try:
            run = storage.restart(**change)
        finally:
            storage.lab.on("east-store2", "mv", self.PROGRAM + ".away", self.PROGRAM)
        assert run.rc != 0 and run.result == "refused", run
        assert "%s cannot be read" % self.PROGRAM in run.report["reason"], run
        # As a package manager does it.
        replace = "p=$(readlink -f %s) && cp -p $p $p.new && mv $p.new $p" % self.PROGRAM
        storage.lab.on("east-store2", "sh", "-c", replace)
        run = storage.restart("--check", **change)
        assert "Restart east-store2 and wait until every node is green; on east-store2 snowthd runs since" in run.output
        assert "east-store1 is left alone: snowthd runs since" in run.output and storage.starts() == before, run
        run = storage.restart(**change)
        assert run.rc == 0 and run.result == "ok", run
        after = storage.starts()
        assert after["east-store2"] != before["east-store2"]
        assert all(after[host] == before[host] for host in ("east-store1", "east-store3"))
        assert storage.restart(**change).result == "nothing_to_do"


class TestGates:
    """Each refuses before anything is touched, with one sentence that names the node."""

    @pytest.fixture(autouse=True)
    def untouched(self, storage):
        storage.settle()
        before = storage.starts(("east-store1", "east-store2"))
        yield
        assert storage.starts(("east-store1", "east-store2")) == before
        storage.settle()

    @staticmethod
    def refused(run, *words):
        assert run.rc != 0 and run.result == "refused", run
        for word in words:
            assert word in run.report["reason"], run.report["reason"]

    def test_a_peer_that_is_down(self, storage):
        storage.lab.on("east-store3", "systemctl", "stop", "circonus-snowth")
        try:
            self.refused(storage.restart(), "east-store3 is down: nothing listens")
        finally:
            storage.lab.on("east-store3", "systemctl", "start", "circonus-snowth")

    def test_a_page_that_hangs(self, storage):
        with storage.fault("east-store3", "http-hang"):
            self.refused(storage.restart(), "east-store3 hangs")

    def test_gossip_that_is_lost(self, storage):
        with storage.fault("east-store3", "gossip-lost"):
            wait_until(lambda: not storage.green(), 60, "the gossip is stale")
            wait_until(lambda: any(float(row["gossip_age"]) > 9 for row in storage.gossip()), 60, "the gossip is stale")
            self.refused(storage.restart(), "east-store3", "udp port 8112")

    def test_data_of_another_node_on_the_disk(self, storage):
        stranger = "/snowth/data/00000000-0000-4000-8000-00000000dead"
        storage.lab.on("east-store3", "mkdir", "-p", stranger)
        try:
            self.refused(storage.restart(), "east-store3 holds the data of")
        finally:
            storage.lab.on("east-store3", "rmdir", stranger)

    def test_the_typed_name(self, storage):
        self.refused(storage.restart(circonus_confirm="east"), "must name the role", "Nothing was changed")
