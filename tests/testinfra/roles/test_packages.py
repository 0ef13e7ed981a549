# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The package repository, its pin and the package of Hooper, as an operator converges them; dnf and rpm are real."""

from __future__ import annotations

import pytest
from running_lab import Lab

from . import playbook

FILE = "/etc/yum.repos.d/Circonus.repo"
MIRROR = "file:///srv/circonus-packages"
HOOPER, WEB = "circonus-field-hooper", "circonus-web-service"
BUILDS = {"2021-11-15": "0.1.1636675200", "2021-11-29": "0.1.1637884800"}
PINNED = """[circonus]
name=circonus
enabled=1
baseurl=file:///srv/circonus-packages/centos/7/release-20211115/x86_64/
gpgcheck=0
metadata_expire=30m
"""
# What an operator makes of it.
OWN = "# ask the network people\n" + PINNED.replace("gpgcheck=0\n", "gpgcheck = no\nexclude=circonus-fq*\n")
SETTINGS = {"circonus_repo_manage": True, "circonus_package_manager": "dnf"}


class Machine:
    """A host with a web frontend, which knows the running release."""

    def __init__(self, running, host, directory):
        self.running, self.host, self.directory = running, host, directory

    def sh(self, text, check=True):
        return self.running.on(self.host, "sh", "-c", text, check=check).stdout

    def version(self, package):
        return self.sh("rpm -q --qf '%%{VERSION}' %s || true" % package).split(" is not ")[0]

    def state(self):
        """File, backups and packages."""
        return self.sh("cat %s; ls /etc/yum.repos.d; rpm -qa | sort" % FILE)

    def converge(self, *options, **variables):
        plays = [playbook.alone("web_frontend", self.host)]
        return playbook.play(self.directory, plays, *options, **{**SETTINGS, **variables})["converge web_frontend"]


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    return Lab(tmp_path_factory.mktemp("reports"))


@pytest.fixture(scope="module")
def machine(lab, running, tmp_path_factory):
    machine = Machine(running, lab.of("web_frontend")[0], tmp_path_factory.mktemp("packages"))
    clean = "rpm -e --justdb %s %s 2>/dev/null; rm -f /etc/yum.repos.d/*; dnf -q clean all" % (HOOPER, WEB)
    machine.sh(clean, check=False)
    yield machine
    machine.sh(clean, check=False)


class TestPackages:
    """In this order: a new host, then its updates."""

    def test_a_new_host_gets_the_pinned_file_and_the_package(self, machine):
        options = {"circonus_repo_mirror": MIRROR, "circonus_repo_pin": "2021-11-15",
                   "circonus_hooper_package_state": "present"}
        rehearsal = machine.converge("--check", **options)
        assert rehearsal.failure is None and rehearsal.changed == 1 and machine.sh("ls /etc/yum.repos.d") == ""
        first = machine.converge(**options)
        assert first.failure is None and first.changed == 2
        assert machine.sh("cat " + FILE) == PINNED and machine.version(HOOPER) == BUILDS["2021-11-15"]
        assert machine.sh("stat -c '%a %U' " + FILE) == "644 root\n"
        before = machine.state()
        again = machine.converge(**options)
        assert (again.failure, again.changed, machine.state()) == (None, 0, before)

    @pytest.mark.parametrize(
        "pin, words",
        [
            ("2021-11-01", "2021-11-01 is earlier than the release 2021-11-15 that runs here"),
            ("2019-07-15", "Expected circonus_repo_pin to be 2019-07-29 or later, found 2019-07-15"),
        ],
    )
    def test_a_downgrade_or_a_wrong_pin_is_refused_and_nothing_touched(self, machine, pin, words):
        machine.sh("dnf -q -y install " + WEB)
        before = machine.state()
        refused = machine.converge(circonus_repo_pin=pin, circonus_hooper_package_state="latest")
        assert words in refused.failure and refused.changed == 0 and machine.state() == before

    def test_the_plan_refuses_it_for_hosts_that_do_not_know_the_release(self, lab, machine):
        other = lab.of("hub")[0]
        pin = {"circonus_repo_manage": True, "circonus_repo_pin": "2021-11-01"}
        run = machine.running.play("service_operate", service_operate_role="hub", service_operate_verb="converge",
                                   service_operate_limit=[other], **pin)
        words = "%s: circonus_repo_pin 2021-11-01 is earlier than the release 2021-11-15 that runs on %s" % (
            other, machine.host)
        assert run.rc != 0 and words in run.report["reason"], run
        run = machine.running.play("site", **pin)
        assert run.rc != 0 and "2021-11-01 is earlier than the release 2021-11-15" in run.report["reason"], run
        assert "Circonus.repo" not in machine.running.on(other, "ls", "/etc/yum.repos.d").stdout

    def test_a_file_changed_by_hand_keeps_everything_but_its_address(self, machine):
        machine.running.on(machine.host, "sh", "-c", "cat > " + FILE, input=OWN)
        options = {"circonus_repo_pin": "release-20211129", "circonus_hooper_package_state": "latest"}
        done = machine.converge(**options)
        assert done.failure is None and done.changed == 2
        assert machine.sh("cat " + FILE) == OWN.replace("20211115", "20211129")
        assert machine.sh("cat %s.*~" % FILE) == OWN and machine.version(HOOPER) == BUILDS["2021-11-29"]
        again = machine.converge(**options)
        assert (again.failure, again.changed) == (None, 0)

    def test_a_pin_that_is_not_given_stays(self, machine):
        before = machine.state()
        assert machine.converge().changed == 0 and machine.state() == before

    def test_the_file_is_as_before_when_the_metadata_cannot_be_cleaned(self, machine):
        before = machine.sh("cat " + FILE)
        machine.sh("printf '#!/bin/sh\\necho locked >&2; exit 1\\n' > /usr/local/bin/yum; chmod +x /usr/local/bin/yum")
        try:
            failed = machine.converge(circonus_repo_pin="none")
        finally:
            machine.sh("rm /usr/local/bin/yum")
        assert "locked. The file is as it was before." in failed.failure and machine.sh("cat " + FILE) == before


class TestConverge:
    """The verb of service_operate.yml on hosts of both sites."""

    def test_brings_back_what_is_down_and_starts_nothing_in_the_passive_site(self, running, lab):
        active = lab.status["active_site"]
        hosts = {lab.hosts[name]["site"]: name for name in lab.of("notification")}
        passive = next(name for site, name in hosts.items() if site != active)
        running.on(hosts[active], "systemctl", "stop", "circonus-bert")
        arguments = {"service_operate_role": "notification", "service_operate_verb": "converge"}
        run = running.play("service_operate", "--check", **arguments)
        assert run.rc == 0 and running.active_units(hosts[active], "circonus-bert") == [], run
        run = running.play("service_operate", **arguments)
        assert run.rc == 0 and run.result == "ok", run
        assert running.active_units(hosts[active], "circonus-bert") == ["circonus-bert"]
        assert running.active_units(passive, "circonus-bert") == []
        run = running.play("service_operate", **arguments)
        assert run.rc == 0 and not [step for step in run.report["steps"] if step["state"] == "changed"], run
