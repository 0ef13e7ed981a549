"""What the lab promises: its hosts, its networks, its faults, its client, and that a second `up` does nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ..conftest import eventually

UNREACHABLE_WITHIN = 30  # about ten seconds, plus Ansible's own start on a busy machine


def ping(lab, name):
    """Whether Ansible reaches a host, and how long it took to know."""
    began = time.monotonic()
    program = Path(sys.executable).with_name("ansible")
    done = subprocess.run(
        [str(program) if program.exists() else shutil.which("ansible"), name, "-m", "ansible.builtin.ping"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode == 0, time.monotonic() - began


def reaches(lab, name, address):
    return lab.host(name).run("ping -c 1 -W 1 %s", address).rc == 0


class TestHosts:
    def test_all_run_without_failed_units(self, lab):
        assert {name: entry["state"] for name, entry in lab.hosts.items() if entry["state"] != "running"} == {}
        assert {name: entry["failed"] for name, entry in lab.hosts.items() if entry["failed"]} == {}

    def test_thirteen_platform_hosts_carry_the_small_layout_twice(self, lab):
        for site in ("east", "west"):
            assert len([e for e in lab.hosts.values() if e.get("site") == site and e["roles"] != ["broker"]]) == 6
        assert len(lab.of("broker")) == 1
        assert len(lab.of("data_storage")) == 6

    def test_one_database_is_primary_and_the_others_follow(self, lab):
        roles = {name: lab.hosts[name]["database"] for name in lab.of("web_db")}
        assert roles == {"east-app1": "primary", "east-app3": "standby", "west-app1": "standby", "west-app3": "standby"}

    def test_alerting_runs_only_in_the_active_site(self, lab):
        units = {name: lab.host(name).service("circonus-fault-detection") for name in lab.of("fault_detection")}
        assert {name: unit.is_running for name, unit in units.items()} == {"east-app1": True, "west-app1": False}

    @pytest.mark.parametrize("site", ["east", "west"])
    def test_rabbitmq_is_one_cluster_per_site(self, lab, site):
        command = lab.host(site + "-app1").run("/opt/rabbitmq/sbin/rabbitmqctl cluster_status --formatter json")
        assert len(json.loads(command.stdout)["running_nodes"]) == 2

    def test_containers_hold_no_power_over_the_clock(self, lab):
        effective = lab.host("east-app1").run("grep CapEff /proc/1/status").stdout.split()[1]
        assert not int(effective, 16) >> 25 & 1, "CAP_SYS_TIME"
        assert not int(effective, 16) >> 21 & 1, "CAP_SYS_ADMIN"


class TestUpAgain:
    def test_changes_nothing_and_takes_seconds(self, lab):
        before = lab.host("east-app1").run("stat -c %Y /proc/1").stdout
        began = time.monotonic()
        assert "already up" in lab("up", "--no-guard")
        assert time.monotonic() - began < 30
        assert lab.host("east-app1").run("stat -c %Y /proc/1").stdout == before


class TestEnv:
    def test_makes_ansible_work_in_a_shell_that_does_not_know_it(self, lab):
        script = 'eval "$("$0" "$1" env)" && command -v ansible-playbook && printenv ANSIBLE_INVENTORY'
        program = Path(__file__).resolve().parents[3] / "molecule/lab/lab"
        environment = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "HOME": os.environ["HOME"]}
        environment["LAB_PROJECT"] = lab.status["project"]
        done = subprocess.run(
            ["sh", "-c", script, sys.executable, str(program)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == lab.status["inventory"]


class TestNetwork:
    def test_client_address_is_on_the_active_entry_host_only(self, lab):
        assert lab.status["client_address_on"] == ["east-app1"]
        assert reaches(lab, "client", lab.status["client_address"].split("/")[0])

    def test_sites_meet_only_through_the_router(self, lab):
        assert reaches(lab, "east-app1", lab.hosts["west-app1"]["address"])
        lab("link", "cut")
        try:
            assert not reaches(lab, "east-app1", lab.hosts["west-app1"]["address"])
            assert reaches(lab, "east-app1", lab.hosts["east-app2"]["address"])
            assert reaches(lab, "client", lab.hosts["west-app1"]["address"])
        finally:
            lab("link", "heal")
        assert reaches(lab, "east-app1", lab.hosts["west-app1"]["address"])

    def test_slow_link_slows_the_other_site_and_nobody_else(self, lab):
        def seconds(source):
            command = "bash -c 'head -c 200000 /dev/zero | nc -N -w 60 %s 9999'" % lab.hosts["west-app2"]["address"]
            sink = subprocess.Popen(
                ["podman", "exec", lab.hosts["west-app2"]["container"], "sh", "-c", "nc -l -p 9999 > /dev/null"]
            )
            try:
                listening = lab.host("west-app2")
                eventually(lambda: "LISTEN" in listening.run("ss -ltn sport = :9999").stdout, 10, "nc listens")
                began = time.monotonic()
                assert lab.host(source).run(command).rc == 0
                sink.wait(timeout=60)
                return time.monotonic() - began
            finally:
                sink.kill()

        lab("link", "slow", "256kbit")
        try:
            assert json.loads(lab("link", "status"))["link"].startswith("slow")
            slow = seconds("east-app2")
            assert slow > 4  # 1.6 Mbit of data at 256 kbit/s, less the burst
            assert seconds("client") < slow / 2
        finally:
            lab("link", "heal")
        assert seconds("east-app2") < slow / 2

    def test_isolated_site_is_unreachable_for_clients_and_the_controller(self, lab):
        assert ping(lab, "west-app2")[0]
        lab("site", "isolate", "west")
        try:
            assert not reaches(lab, "client", lab.hosts["west-app2"]["service_address"])
            assert not reaches(lab, "east-app2", lab.hosts["west-app2"]["address"])
            reached, seconds = ping(lab, "west-app2")
            assert not reached and seconds < UNREACHABLE_WITHIN
        finally:
            lab("site", "heal", "west")
        assert reaches(lab, "client", lab.hosts["west-app2"]["service_address"])
        assert ping(lab, "west-app2")[0]

    def test_frozen_host_is_unreachable_for_the_controller(self, lab):
        assert ping(lab, "west-store1")[0]
        lab("host", "pause", "west-store1")
        try:
            reached, seconds = ping(lab, "west-store1")
            assert not reached and seconds < UNREACHABLE_WITHIN
        finally:
            lab("host", "resume", "west-store1")
        assert ping(lab, "west-store1")[0]


class TestReboot:
    HOST, BOOT = "west-store2", "systemctl show -p UserspaceTimestampMonotonic"

    def test_a_host_that_reboots_itself_comes_back_without_what_a_boot_ends(self, lab):
        host, address = lab.host(self.HOST), lab.hosts[self.HOST]["service_address"]
        alias = address.rpartition(".")[0] + ".210"
        host.run_test("ip address add %s/24 dev svc0", alias)
        before = host.run(self.BOOT).stdout
        host.run("systemctl reboot")
        eventually(lambda: host.run(self.BOOT).stdout.strip() not in ("", before.strip()), 60, "it booted")
        eventually(lambda: host.run("systemctl is-system-running").stdout.strip() == "running", 120, "all units run")
        assert alias not in host.run("ip -o address").stdout
        assert reaches(lab, "client", address) and ping(lab, self.HOST)[0]

    def test_a_host_that_is_killed_stays_off(self, lab):
        lab("host", "kill", self.HOST)
        try:
            states = {entry["name"]: entry["state"] for entry in json.loads(lab("status", "--json"))["hosts"]}
            assert states[self.HOST] == "exited" and not ping(lab, self.HOST)[0]
        finally:
            lab("host", "start", self.HOST)
        assert ping(lab, self.HOST)[0]


class TestWriter:
    def test_loses_nothing_over_a_restart_of_the_primary(self, lab):
        lab("writer", "start")
        lab.host("east-app1").run_test("systemctl restart circonus-postgres-circonus_wdb")
        before = json.loads(lab("writer", "report", "--json"))["acknowledged"]
        eventually(
            lambda: json.loads(lab("writer", "report", "--json"))["acknowledged"] > before + 50, 30, "it writes again"
        )
        report = json.loads(lab("writer", "stop", "--json"))
        assert report["lost"] == 0 and report["holes"] == 0 and report["consecutive"]
        assert report["two_primaries"] == []
        assert report["longest_gap_ms"] > 0
        assert report["polls"]["west-app1"]["accepted"] == 0


class TestErrors:
    @pytest.mark.parametrize(
        "argv",
        [
            ["host", "kill", "nosuchhost"],
            ["site", "isolate", "north"],
            ["link", "slow", "quickly"],
            ["up", "--pg", "11"],
        ],
    )
    def test_are_one_line(self, lab, argv):
        done = subprocess.run(["molecule/lab/lab", *argv], capture_output=True, text=True, check=False, env=os.environ)
        assert done.returncode == 1
        assert done.stderr.startswith("lab: ") and len(done.stderr.strip().splitlines()) == 1


class TestReset:
    def test_returns_to_the_snapshot(self, lab):
        lab.host("east-app2").run_test("touch /root/left-behind")
        lab("link", "cut")
        lab("reset")
        assert not lab.host("east-app2").file("/root/left-behind").exists
        again = json.loads(lab("status", "--json"))
        assert again["network"]["link"] == "up"
        assert again["primaries"] == ["east-app1"] and again["client_address_on"] == ["east-app1"]
        standby = [entry for entry in again["hosts"] if entry.get("database") == "standby"]
        assert len(standby) == 3
