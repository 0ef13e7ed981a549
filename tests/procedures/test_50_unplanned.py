# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The active site is killed, frozen, cut off; it comes back and must accept no write."""

from __future__ import annotations

import re

import pytest
from running_lab import torture, wait_until

PROCESSOR = "circonus-ca_processor"
HOSTS = ("app1", "app2", "app3", "store1", "store2", "store3")


def fail(lab, site, kind):
    """Make a site go away."""
    if kind == "killed":
        lab.cli("host", "kill", "@" + site)
    elif kind == "paused":
        lab.cli("host", "pause", "@" + site)
    else:
        lab.cli("site", "isolate", site)


def come_back(lab, site, kind):
    """Bring it back as it would come back by itself."""
    if kind == "killed":
        lab.cli("host", "start", "@" + site)
    elif kind == "paused":
        lab.cli("host", "resume", "@" + site)
    else:
        lab.cli("site", "heal", site)


def next_serial(lab, site):
    """The next serial number of the CA that a site has, 0 where it has none (edition 2019)."""
    text = lab.on("%s-app1" % site, "sh", "-c", "cat /opt/circonus/CA/serial", check=False).stdout.strip()
    return int(text or "0", 16)


def issue(lab, host):
    """Have a certificate issued the documented way; its serial number."""
    path = "/www/etc/ssl/%s.crt" % host
    lab.on(host, "rm", path)
    lab.on(host, "/opt/circonus/bin/run-hooper", "-m")
    return int(lab.on(host, "openssl", "x509", "-noout", "-serial", "-in", path).stdout.strip().partition("=")[2], 16)


class TestUnplanned:
    """datacenter_failover.yml, mode unplanned."""

    # Hosts that are frozen, and one that is killed in the middle, are in the tests below and in test_60.
    @pytest.mark.parametrize("kind", torture("cut_off", "killed", "paused"))
    def test_lost_site(self, lab, writing, kind):
        lost = lab.active_site()
        target = "west" if lost == "east" else "east"
        old, new = "%s-app1" % lost, "%s-app1" % target
        given = max(next_serial(lab, lost), next_serial(lab, target)) if next_serial(lab, target) else None
        key = "/opt/circonus/CA/private/ca.key"
        held = bool(given) and kind == "cut_off"
        if held:
            lab.on(new, "sh", "-c", "mv %s /root/kept.key; echo nothing > %s" % (key, key))
            copied = next_serial(lab, target)
        fail(lab, lost, kind)

        refused = lab.failover(target, datacenter_failover_mode="unplanned")
        assert refused.rc != 0 and refused.result == "refused", refused
        offer = re.search(r"datacenter_failover_accept_data_loss=(\d+)", refused.report["reason"])
        assert offer, refused.report["reason"]
        assert lab.sql(new, "select pg_is_in_recovery()") == "t", "a refusal must not promote"

        run = lab.failover(
            target, datacenter_failover_mode="unplanned", datacenter_failover_accept_data_loss=int(offer.group(1))
        )
        assert run.rc == 0 and run.result == "ok", run
        assert lab.sql(new, "select pg_is_in_recovery()") == "f"
        assert run.report["rpo_bytes"] == int(offer.group(1))
        assert any(lost in text or old in text for text in run.report["remaining"]), run.report["remaining"]
        lab.sql(new, "create table if not exists public.after_failover(n int)", database="circonus")
        lab.sql(new, "insert into public.after_failover values (1)", database="circonus")

        if held:
            said = " ".join(run.report["remaining"])
            assert "The CA on %s does not sign" % new in said and "start the same command again" in said, said
            assert lab.on(new, "systemctl", "is-active", PROCESSOR, check=False).stdout.strip() == "inactive"
            assert next_serial(lab, target) == copied
        elif given:
            raised = next_serial(lab, target)
            assert raised > given + 900, "what the lost CA may have issued since is not given once more"
            assert lab.on(new, "systemctl", "is-active", PROCESSOR).stdout.strip() == "active"
            if kind == "killed":
                assert issue(lab, "%s-app2" % target) >= raised

        come_back(lab, lost, kind)
        wait_until(
            lambda: lab.sql(old, "select pg_is_in_recovery()", check=False) != "f",
            30,
            "the old primary accepts no write",
            interval=0.02,
        )
        assert lab.sql(old, "insert into public.after_failover values (2)", check=False, database="circonus") is None
        report = writing()
        # The client asks every database host every 50 ms for a write; these are the answers of two primaries at once.
        print(
            "window of %s: %s; acknowledged %d, lost %d"
            % (kind, report["two_primaries"] or "none", report["acknowledged"], report["lost"])
        )
        if kind == "killed":
            assert not report["two_primaries"], "a database that was off may not even start as a primary"

        rejoined = lab.rejoin(old)
        assert rejoined.rc == 0 and rejoined.result in ("ok", "nothing_to_do"), rejoined
        if held:
            lab.on(new, "mv", "/root/kept.key", key)
        again = lab.failover(target)
        assert again.rc == 0 and again.result in ("ok", "nothing_to_do"), again
        lab.assert_settled(target)
        if held:
            assert next_serial(lab, target) > given + 900
            assert lab.on(new, "systemctl", "is-active", PROCESSOR).stdout.strip() == "active"
        elif given:
            assert next_serial(lab, target) < raised + 500, "a second run does not raise again"
        rows = wait_until(
            lambda: lab.sql(old, "select count(*) from public.after_failover", database="circonus", check=False),
            20,
            "rows",
        )
        assert int(rows) >= 1


class TestHostLostInTheMiddle:
    """A host that stops answering in the middle of a run."""

    def test_stops_and_touches_no_further_host(self, lab):
        site = lab.active_site()
        target = "west" if site == "east" else "east"
        # Hooper of the second stage waits, so there is a middle to freeze a host in.
        slow = "%s-app2" % target
        lab.on(
            slow,
            "sh",
            "-c",
            "mkdir -p /opt/circonus/var/hooper-standin && echo 25 > /opt/circonus/var/hooper-standin/slow",
        )
        lab.on("%s-store1" % target, "sh", "-c", "rm -f /var/log/chef/circonus-hooper.log")
        process = lab.start(
            "datacenter_failover",
            datacenter_failover_to=target,
            circonus_confirm=target,
            circonus_report_dir=str(lab.reports),
        )
        try:
            wait_until(
                lambda: "hooper.main" in lab.on(slow, "ps", "-eo", "args").stdout, 180, "Hooper runs on %s" % slow
            )
            lab.cli("host", "pause", slow)
            output, _none = process.communicate(timeout=900)
        finally:
            lab.cli("host", "resume", slow)
            lab.on(slow, "rm", "-f", "/opt/circonus/var/hooper-standin/slow")
        report = lab.report_of("datacenter_failover")
        assert process.returncode != 0, output
        assert report["result"] == "failed" and slow in report["reason"], report["reason"]
        ran = (
            lab.on("%s-store1" % target, "test", "-e", "/var/log/chef/circonus-hooper.log", check=False).returncode == 0
        )
        assert not ran, "a host of a later stage was touched"
        wait_until(
            lambda: "hooper.main" not in lab.on(slow, "ps", "-eo", "args").stdout, 60, "the frozen Hooper run has ended"
        )
        run = lab.failover(target)
        assert run.rc == 0 and run.result == "ok", run
        lab.assert_settled(target)
