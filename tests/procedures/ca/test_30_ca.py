# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The private CA of the lab: backup, copies, failover planned and lost, the guard; looked at with openssl and SQL."""

from __future__ import annotations

import json
import os
import re

import pytest
from running_lab import torture, wait_until

HOME = "/opt/circonus/CA"
UNIT = "circonus-ca_processor"
BACKUPS = "/var/lib/circonus-inside/ca-backup"
SITES = ("east", "west")
STEPS = ("Restore the CA directory", "Stop and disable the CA processor", "Set ca.primary in site.json",
         "Run Hooper in maintenance mode")


class Authority:
    """The CA hosts of the lab: two in the active site, one in the other."""

    def __init__(self, lab):
        self.lab, self.site = lab, lab.active_site()
        self.first, self.second = self.site + "-app1", self.site + "-app2"
        self.far = "%s-app1" % next(name for name in SITES if name != self.site)
        self.hosts = (self.first, self.second, self.far)

    def machines(self, *hosts):
        """Name the CA hosts of the active site, tell the platform."""
        path = self.lab.inventory / ("site.%s.json" % self.site)
        document = json.loads(path.read_text())
        document["svclist"]["ca"]["_machlist"] = list(hosts)
        path.write_text(json.dumps(document, indent=2) + "\n")
        run = self.lab.play("site_distribute", site_distribute_allow=["svclist.ca"])
        assert run.rc == 0, run
        self.lab.on(self.second, "/opt/circonus/bin/run-hooper", "self-configure")
        self.lab.on(self.second, "/opt/circonus/bin/run-hooper", "-m")

    def active(self):
        """CA hosts whose processor runs."""
        return [host for host in self.hosts if self.lab.active_units(host, UNIT)]

    def openssl(self, host, *words):
        return self.lab.on(host, "openssl", *words).stdout.strip()

    def serial_of(self, host):
        """Serial number of the certificate of a host."""
        path = "/www/etc/ssl/%s.crt" % host
        return int(self.openssl(host, "x509", "-noout", "-serial", "-in", path).partition("=")[2], 16)

    def issue(self, host):
        """Have a certificate issued the documented way: it is missing, Hooper asks, the processor signs."""
        old = self.serial_of(host)
        self.lab.on(host, "rm", "/www/etc/ssl/%s.crt" % host)
        self.lab.on(host, "/opt/circonus/bin/run-hooper", "-m")
        new = self.serial_of(host)
        assert new != old
        return new

    def next_serial(self, host):
        return int(self.lab.on(host, "cat", HOME + "/serial").stdout, 16)

    def indexed(self, host):
        """Serial numbers of the index of a host, in its order."""
        lines = self.lab.on(host, "cat", HOME + "/index").stdout.splitlines()
        return [int(line.split("\t")[3], 16) for line in lines]

    def move(self, to, *options, **extra):
        return self.lab.play("ca_failover", *options, **dict({"ca_failover_to": to, "circonus_confirm": to}, **extra))

    def digest(self, host):
        """Everything about the directory of a host: names, modes, owners, content."""
        script = "cd %s && find . -printf '%%p %%m %%u %%g\\n' | sort && find . -type f | sort | xargs sha256sum"
        return self.lab.on(host, "sh", "-c", script % HOME).stdout

    def assert_settled(self, host):
        """One processor, on ``host``; every host verifies its certificate; no serial number twice."""
        assert self.active() == [host]
        enabled = [name for name in self.hosts
                   if self.lab.on(name, "systemctl", "is-enabled", UNIT, check=False).stdout.strip() == "enabled"]
        assert enabled == [host]
        for name in SITES:
            document = json.loads((self.lab.inventory / ("site.%s.json" % name)).read_text())
            assert document["svclist"]["ca"]["primary"] == host
        serials = {}
        for name in SITES:
            for short in ("app1", "app2", "app3"):
                one = "%s-%s" % (name, short)
                files = [("/www/etc/ssl", one)] + [("/opt/noit/prod/etc", "stratcon")] * (short == "app3")
                for place, what in files:
                    answer = self.openssl(one, "verify", "-CAfile", place + "/ca.crt", "%s/%s.crt" % (place, what))
                    assert answer.endswith(": OK"), answer
                serials[one] = self.serial_of(one)
        assert len(set(serials.values())) == len(serials), serials
        index = self.indexed(host)
        assert len(set(index)) == len(index)
        assert self.next_serial(host) > max(index)
        crl = self.openssl(host, "crl", "-in", HOME + "/public-info/ca.crl", "-noout", "-text")
        assert "CRL Number" in crl
        return serials


@pytest.fixture(scope="module")
def ca(lab):
    """A second CA host in the active site; everything as it was afterwards."""
    authority = Authority(lab)
    authority.machines(authority.first, authority.second)
    yield authority
    lab.cli("host", "start", authority.second, check=False)
    if authority.active() != [authority.first]:
        authority.move(authority.first)
    authority.machines(authority.first)
    drop_in = "/etc/systemd/system/%s.service.d" % UNIT
    lab.on(authority.second, "systemctl", "disable", "--now", UNIT, check=False)
    for host in authority.hosts:
        lab.on(host, "sh", "-c", "rm -rf %s %s.aside-* %s" % (drop_in, HOME, BACKUPS))
        lab.on(host, "systemctl", "daemon-reload")
    lab.on(authority.second, "rm", "-rf", HOME)


def files(lab, host):
    """Archives on a host."""
    return sorted(lab.on(host, "ls", BACKUPS, check=False).stdout.split())


class TestBackup:
    """ca_backup.yml; its check mode is in test_05_check_mode.py."""

    def test_is_proven_and_leaves_the_ca_alone(self, lab, ca):
        before = ca.digest(ca.first)
        run = lab.play("ca_backup")
        assert run.rc == 0 and run.result == "ok", run
        assert ca.digest(ca.first) == before
        facts = run.report["backup"]
        assert facts["made"] and facts["proven"] and facts["host"] == ca.first
        assert int(facts["serial"], 16) == ca.next_serial(ca.first) and facts["crl_next_update"] > facts["created"]
        assert lab.on(ca.first, "sha256sum", facts["path"]).stdout.split()[0] == facts["sha256"]
        assert lab.on(ca.first, "stat", "-c", "%a %U", facts["path"], BACKUPS).stdout.split() == [
            "600", "root", "700", "root"]
        assert not lab.on(ca.first, "sh", "-c", "ls -d /var/lib/circonus-inside/ca-scratch-*", check=False).stdout
        phrase = json.loads((lab.inventory / ("site.%s.json" % ca.site)).read_text())["svclist"]["ca"]["key_pass"]
        assert phrase not in run.output and phrase not in json.dumps(run.report)

    def test_a_second_run_makes_none(self, lab, ca):
        before = files(lab, ca.first)
        run = lab.play("ca_backup")
        assert run.rc == 0 and files(lab, ca.first) == before and len(before) == 2, run
        assert not re.search(r"changed=[1-9]", run.output), run

    def test_keeps_the_newest_ones(self, lab, ca):
        ca.issue(ca.second)
        run = lab.play("ca_backup", ca_backup_keep=1, ca_backup_days=0)
        assert run.rc == 0 and run.report["backup"]["removed"] and len(files(lab, ca.first)) == 2, run

    def test_refuses_a_ca_whose_files_lie_elsewhere(self, lab, ca):
        config, before = HOME + "/openssl.cnf", files(lab, ca.first)
        script = "cp -a %s /root/kept.cnf; sed -i 's|^new_certs_dir = .*|new_certs_dir = /root|' %s"
        lab.on(ca.first, "sh", "-c", script % (config, config))
        try:
            run = lab.play("ca_backup")
        finally:
            lab.on(ca.first, "mv", "/root/kept.cnf", config)
        assert run.rc != 0 and run.result == "refused" and "found /root. A trial could" in run.report["reason"], run
        assert files(lab, ca.first) == before


class TestSync:
    """ca_sync.yml."""

    def test_copies_to_every_other_ca_host(self, lab, ca):
        run = lab.play("ca_sync")
        assert run.rc == 0 and run.result == "ok", run
        assert ca.digest(ca.first) == ca.digest(ca.second) == ca.digest(ca.far)
        assert ca.active() == [ca.first]

    def test_a_second_run_changes_nothing(self, lab, ca):
        run = lab.play("ca_sync")
        assert run.rc == 0 and run.result == "nothing_to_do" and not re.search(r"changed=[1-9]", run.output), run

    def test_never_forgets_what_a_copy_knows(self, lab, ca):
        lab.on(ca.far, "sh", "-c", "cp -a %s/serial %s.kept; echo FFFF > %s/serial" % (HOME, HOME, HOME))
        run = lab.play("ca_sync")
        assert run.rc != 0 and run.result == "refused" and "next serial FFFF" in run.report["reason"], run
        lab.on(ca.far, "mv", HOME + ".kept", HOME + "/serial")

    @pytest.mark.skipif(not os.environ.get("CIRCONUS_TORTURE"), reason="only in make torture: it takes minutes")
    def test_a_silent_host_fails_and_one_without_a_client_gets_no_guard(self, lab, ca):
        """The others have their copy all the same; a guard that cannot ask the database could never allow a start."""
        drop_in = "/etc/systemd/system/%s.service.d/50-circonus-inside-guard.conf" % UNIT
        change = ("for f in /opt/pgsql/bin/psql /usr/bin/psql /usr/*/postgresql/*/bin/psql; do test ! -e $f || "
                  "chmod %s $(readlink -f $f); done")
        ca.issue(ca.first)
        lab.on(ca.second, "rm", drop_in)
        lab.on(ca.second, "sh", "-c", change % "a-x")
        lab.cli("host", "pause", ca.far)
        try:
            run = lab.play("ca_sync")
        finally:
            lab.cli("host", "resume", ca.far)
            lab.on(ca.second, "sh", "-c", change % "a+x")
        assert run.rc != 0 and run.result == "failed" and "But %s did not answer" % ca.far in run.report["reason"], run
        assert any(ca.far in text for text in run.report["remaining"]), run.report["remaining"]
        assert ca.digest(ca.first) == ca.digest(ca.second)
        assert "No psql on %s, so nothing keeps a second CA from starting here" % ca.second in run.output
        assert lab.on(ca.second, "test", "-e", drop_in, check=False).returncode != 0
        again = lab.play("ca_sync")
        assert again.rc == 0 and again.result == "ok" and ca.digest(ca.first) == ca.digest(ca.far), again


class TestPlanned:
    """ca_failover.yml, mode planned."""

    def test_check_mode_changes_nothing(self, lab, ca):
        before = ca.digest(ca.first), ca.digest(ca.second)
        run = ca.move(ca.second, "--check")
        assert run.rc == 0 and run.result == "ok", run
        assert (ca.digest(ca.first), ca.digest(ca.second)) == before and ca.active() == [ca.first]

    @pytest.mark.parametrize("extra, word", [
        ({"circonus_confirm": "nobody"}, "circonus_confirm"),
        ({"ca_failover_to": "FAR", "circonus_confirm": "FAR"}, "datacenter_failover"),
        ({"ca_failover_mode": "lost", "ca_failover_lost_host": "FIRST"}, "is not lost"),
    ])
    def test_refuses(self, lab, ca, extra, word):
        names = {"FAR": ca.far, "FIRST": ca.first}
        run = ca.move(ca.second, **{key: names.get(value, value) for key, value in extra.items()})
        assert run.rc != 0 and run.result == "refused" and word in run.report["reason"], run
        assert ca.active() == [ca.first]

    def test_refuses_another_authority(self, lab, ca):
        path = HOME + "/public-info/ca.crt"
        lab.on(ca.second, "sh", "-c", "cp -a %s /root/kept.crt; openssl req -x509 -newkey rsa:2048 -nodes "
               "-subj /CN=Other -keyout /dev/null -out %s 2>/dev/null" % (path, path))
        try:
            run = ca.move(ca.second)
        finally:
            lab.on(ca.second, "mv", "/root/kept.crt", path)
        assert run.rc != 0 and run.result == "refused" and "different authorities" in run.report["reason"], run
        assert ca.active() == [ca.first]

    def test_there_with_a_certificate_before_and_after(self, lab, ca):
        before = ca.issue(ca.far)
        run = ca.move(ca.second)
        assert run.rc == 0 and run.result == "ok", run
        serials = ca.assert_settled(ca.second)
        assert serials[ca.far] == before
        assert ca.issue(ca.far) == before + 1
        ca.assert_settled(ca.second)

    def test_again_has_nothing_to_do(self, lab, ca):
        run = ca.move(ca.second)
        assert run.rc == 0 and run.result == "nothing_to_do" and not re.search(r"changed=[1-9]", run.output), run

    def test_two_processors_cannot_start(self, lab, ca):
        process = lab.on(ca.first, "systemctl", "start", UNIT, check=False)
        assert process.returncode != 0 and ca.active() == [ca.second]
        said = lab.on(ca.first, "journalctl", "-u", UNIT, "-n", "20", "--no-pager").stdout
        assert "the start of the CA processor is refused" in said, said
        lab.on(ca.first, "systemctl", "stop", UNIT)

    @pytest.mark.parametrize("step", torture(*STEPS))
    def test_killed_controller(self, lab, ca, step):
        target = ca.first if ca.active() == [ca.second] else ca.second
        issued = ca.serial_of(ca.far)
        assert lab.kill_after("ca_failover", step, ca_failover_to=target, circonus_confirm=target), step
        run = ca.move(target)
        if run.rc:
            # A module that the dead controller left behind may still be at work; the operator starts it again.
            run = ca.move(target)
        assert run.rc == 0 and run.result in ("ok", "nothing_to_do"), run
        ca.assert_settled(target)
        assert ca.issue(ca.far) > issued
        ca.assert_settled(target)


class TestLost:
    """ca_failover.yml, mode lost, and the return of the lost host."""

    def test_goes_on_from_the_copy_and_fences_the_old_one(self, lab, ca):
        if ca.active() != [ca.second]:
            assert ca.move(ca.second).rc == 0
        assert lab.play("ca_sync").rc == 0
        late = ca.issue(ca.far)
        assert late not in ca.indexed(ca.first)
        lab.cli("host", "kill", ca.second)

        refused = ca.move(ca.first)
        assert refused.rc != 0 and "ca_failover_mode=lost" in refused.report["reason"], refused
        refused = ca.move(ca.first, ca_failover_mode="lost", ca_failover_lost_host=ca.far)
        assert refused.rc != 0 and refused.result == "refused", refused

        run = ca.move(ca.first, ca_failover_mode="lost", ca_failover_lost_host=ca.second)
        assert run.rc == 0 and run.result == "ok", run
        assert ca.second in " ".join(run.report["remaining"])
        fresh = ca.issue(ca.far)
        assert fresh > late + 1000
        assert ca.next_serial(ca.first) == fresh + 1
        assert late + 1000 < ca.next_serial(ca.far) <= fresh, "a second loss would begin at the numbers of this one"

        lab.cli("host", "start", ca.second)
        wait_until(
            lambda: "start of the CA processor is refused" in lab.on(
                ca.second, "journalctl", "-b", "-u", UNIT, "--no-pager", check=False).stdout,
            90, "the guard of the returned host refuses", interval=1)
        assert ca.active() == [ca.first]

        unknown = ca.move(ca.first)
        assert unknown.rc != 0 and "%X" % late in unknown.report["reason"], unknown
        assert ca.active() == [ca.first]
        assert lab.on(ca.second, "systemctl", "is-enabled", UNIT, check=False).stdout.strip() == "disabled"

        again = ca.move(ca.first, ca_failover_accept_serials=["%X" % late])
        assert again.rc == 0 and again.result in ("ok", "nothing_to_do"), again
        ca.assert_settled(ca.first)

    @pytest.mark.skipif(not os.environ.get("CIRCONUS_TORTURE"), reason="only in make torture: it takes minutes")
    def test_restores_an_archive_where_the_directory_is_gone(self, lab, ca):
        assert ca.active() == [ca.first]
        backup = lab.play("ca_backup").report["backup"]["path"]
        lab.on(ca.first, "systemctl", "stop", UNIT)
        for end in ("", ".json"):
            data = lab.on(ca.first, "base64", backup + end).stdout
            lab.on(ca.second, "sh", "-c", "base64 -d > /root/%s" % (backup.rsplit("/", 1)[1] + end), input=data)
        for host in ca.hosts:
            lab.on(host, "mv", HOME, HOME + ".aside-test")
        try:
            arguments = {"ca_failover_mode": "lost", "ca_failover_lost_host": ca.first}
            refused = ca.move(ca.second, **arguments)
            assert refused.rc != 0 and "ca_failover_backup" in refused.report["reason"], refused
            archive = "/root/" + backup.rsplit("/", 1)[1]
            run = ca.move(ca.second, ca_failover_backup=archive, **arguments)
            assert run.rc == 0 and run.result == "ok", run
            ca.assert_settled(ca.second)
            last = ca.serial_of(ca.far)
            assert ca.issue(ca.far) > last + 1000
            assert lab.play("ca_sync").rc == 0
            assert ca.move(ca.first).rc == 0
            ca.assert_settled(ca.first)
        finally:
            lab.on(ca.second, "sh", "-c", "rm -f /root/ca-*.tar.gz*")
