# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every gate fires, says one sentence and leaves everything as it was."""

from __future__ import annotations

import json
import shutil
import subprocess
import time

import pytest
from running_lab import DB_HOSTS, wait_until


def fingerprint(lab):
    """What a refused run must not have touched."""
    state = {"primaries": lab.primaries(), "entrance": lab.entrance(), "alerting": lab.alerting()}
    for host in DB_HOSTS:
        state[host] = lab.on(
            host,
            "sh",
            "-c",
            "sha256sum /opt/circonus/var/chef-solo/data_bags/service_map/site.json; ls /wdb/pgdata "
            "/var/lib/circonus-inside; "
            "systemctl show -p MainPID -p ActiveEnterTimestampMonotonic circonus-postgres-circonus_wdb",
            check=False,
        ).stdout
        state[host] = [line for line in state[host].splitlines() if "procedure.lock" not in line]
    return state


@pytest.fixture
def untouched(lab):
    """Compares the platform before and after the test's refusal."""
    holder = {}

    def remember():
        holder["before"] = fingerprint(lab)

    def check(run, words, rc_ok=False):
        assert run.rc != 0, run
        assert run.result == "refused", run
        for word in words:
            assert word in run.report["reason"], run.report["reason"]
        assert "Traceback" not in run.output
        assert fingerprint(lab) == holder["before"]

    return remember, check


class TestRefusals:
    """Preconditions of datacenter_failover.yml."""

    def test_wrong_confirmation(self, lab, untouched):
        remember, check = untouched
        remember()
        check(lab.failover("west", circonus_confirm="east"), ["circonus_confirm", "west", "east"])

    def test_unknown_parameter(self, lab, untouched):
        remember, check = untouched
        remember()
        check(
            lab.failover("west", datacenter_failover_mod="unplanned"),
            ["datacenter_failover_mod", "datacenter_failover_mode"],
        )

    def test_unknown_site(self, lab, untouched):
        remember, check = untouched
        remember()
        check(lab.failover("north"), ["north", "east"])

    def test_lag_above_the_limit(self, lab, untouched):
        remember, check = untouched
        lab.sql("west-app1", "select pg_wal_replay_pause()")
        try:
            lab.sql("east-app1", "create table if not exists public.lag_probe(x text)", database="circonus")
            lab.sql(
                "east-app1",
                "insert into public.lag_probe select repeat('x', 1000) from generate_series(1, 3000)",
                database="circonus",
            )
            remember()
            check(
                lab.failover("west", web_db_failover_max_lag_bytes=1048576),
                ["west-app1", "limit 1 MiB", "web_db_failover_max_lag_bytes"],
            )
        finally:
            lab.sql("west-app1", "select pg_wal_replay_resume()")

    def test_long_transaction(self, lab, untouched):
        remember, check = untouched
        holder = subprocess.Popen(
            [
                "podman",
                "exec",
                "-i",
                "%s-east-app1" % lab.project,
                "runuser",
                "-u",
                "postgres",
                "--",
                "/opt/pgsql/bin/psql",
                "-Xq",
            ],
            stdin=subprocess.PIPE,
            text=True,
            env=lab.env,
        )
        try:
            holder.stdin.write("begin; select 1;\n")
            holder.stdin.flush()
            wait_until(
                lambda: (
                    lab.sql(
                        "east-app1",
                        "select count(*) from pg_stat_activity where state='idle in transaction' and "
                        "now()-xact_start > '3 s'",
                    )
                    != "0"
                ),
                20,
                "a transaction is open for three seconds",
            )
            remember()
            check(
                lab.failover("west", web_db_failover_max_transaction_s=2),
                ["transaction", "east-app1", "web_db_failover_max_transaction_s"],
            )
        finally:
            holder.stdin.close()
            holder.wait(10)

    def test_lock_held(self, lab, untouched):
        remember, check = untouched
        lock = {
            "token": 900,
            "state": "held",
            "run_id": "20260101T000000Z-other",
            "procedure": "web_db_failover",
            "owner": "bert@elsewhere",
            "controller": "elsewhere/00000000/77/12345",
            "pid": 77,
            "acquired": time.time(),
            "expires": time.time() + 600,
        }
        lab.on("east-app1", "mkdir", "-p", "/var/lib/circonus-inside")
        lab.on("east-app1", "tee", "/var/lib/circonus-inside/procedure.lock", input=json.dumps(lock))
        try:
            remember()
            check(lab.failover("west"), ["bert@elsewhere", "20260101T000000Z-other", "circonus_lock_break"])
        finally:
            lab.on("east-app1", "rm", "/var/lib/circonus-inside/procedure.lock")

    def test_site_json_on_a_host_differs(self, lab, untouched):
        remember, check = untouched
        path = "/opt/circonus/var/chef-solo/data_bags/service_map/site.json"
        lab.on("west-app2", "cp", "-p", path, "/root/site.keep")
        lab.on("west-app2", "sed", "-i", "s/noreply@/other@/", path)
        try:
            remember()
            check(lab.failover("west"), ["site.json", "west-app2", "site_distribute.yml"])
        finally:
            lab.on("west-app2", "cp", "-p", "/root/site.keep", path)

    def test_unreachable_host(self, lab, untouched):
        remember, check = untouched
        lab.cli("host", "pause", "west-store2")
        try:
            remember()
            check(lab.failover("west"), ["west-store2"])
        finally:
            lab.cli("host", "resume", "west-store2")

    def test_replica_detached(self, lab, untouched):
        remember, check = untouched
        lab.cli("link", "cut")
        try:
            wait_until(lambda: "west-app1" not in lab.streaming().get("east-app1", []), 90, "the standby is detached")
            remember()
            check(lab.failover("west"), ["west-app1", "not attached"])
        finally:
            lab.cli("link", "heal")
            wait_until(lambda: "west-app1" in lab.streaming().get("east-app1", []), 60, "the standby is back")


class TestBrokenParts:
    """Something that the failover needs, or that must not be, is found before anything changes."""

    CA = "/opt/circonus/CA"

    @pytest.mark.parametrize(
        ("host", "broken", "mended", "words"),
        [
            pytest.param(
                "west-app1",
                ["systemctl", "stop", "circonus-rabbitmq"],
                ["systemctl", "start", "circonus-rabbitmq"],
                ["circonus-rabbitmq on west-app1 is inactive", "mq"],
                id="queue_of_the_target_is_down",
            ),
            pytest.param(
                "west-app2",
                ["systemctl", "start", "circonus-bert"],
                ["systemctl", "stop", "circonus-bert"],
                ["notification runs in the standby site west", "twice"],
                id="alerting_runs_in_the_standby_site",
            ),
            pytest.param(
                "east-app1",
                ["mv", CA, CA + ".away"],
                ["mv", CA + ".away", CA],
                ["CA directory on east-app1", "west"],
                id="the_ca_is_missing",
            ),
            pytest.param(
                "east-app1",
                ["systemctl", "stop", "circonus-http"],
                ["systemctl", "start", "circonus-http"],
                ["witnesses do not agree", "/status of east-app1 says unknown"],
                id="the_status_page_is_silent",
            ),
        ],
    )
    def test_refuses(self, lab, untouched, host, broken, mended, words):
        remember, check = untouched
        lab.on(host, *broken)
        try:
            remember()
            check(lab.failover("west"), words)
        finally:
            lab.on(host, *mended)
            wait_until(
                lambda: len(lab.rabbit_nodes("west-app2")) == 2 and "ACTIVE" in lab.status_page("east-app1"),
                60,
                "the queue and the page are back",
            )

    def test_disk_without_room(self, lab, untouched):
        remember, check = untouched
        remember()
        check(lab.failover("west", web_db_failover_min_free_bytes=10**16), ["free", "web_db_failover_min_free_bytes"])


class TestInvalidSiteJson:
    """The controller's own file breaks a rule."""

    def test_stops_with_one_line(self, lab, tmp_path):
        broken = tmp_path / "inventory"
        shutil.copytree(lab.inventory, broken)
        text = (broken / "site.west.json").read_text()
        (broken / "site.west.json").write_text(text.replace('"active_datacenter": false', '"active_datacenter": true'))
        before = fingerprint(lab)
        run = lab.failover("west", "-i", str(broken / "lab.site.yml"))
        assert run.rc != 0 and run.report is None, run
        assert "M-01" in run.output and "Traceback" not in run.output, run
        assert fingerprint(lab) == before


class TestWrongHistory:
    """A standby that somebody promoted by hand."""

    def test_two_primaries_then_another_timeline_then_rejoined(self, lab, untouched):
        remember, check = untouched
        guard, unit = "circonus-inside-web-db-guard", "circonus-postgres-circonus_wdb"
        for host in DB_HOSTS:
            lab.on(host, "systemctl", "stop", guard)
        try:
            lab.sql("west-app1", "select pg_promote(true)")
            remember()
            check(lab.failover("west"), ["Two primaries", "east-app1", "west-app1"])
            lab.on("west-app1", "systemctl", "stop", unit)
            data = lab.on("west-app1", "sh", "-c", "ls -d /wdb/pgdata/1[0-9]").stdout.strip()
            lab.on("west-app1", "runuser", "-u", "postgres", "--", "touch", data + "/standby.signal")
            lab.on("west-app1", "systemctl", "start", unit)
            wait_until(lambda: lab.sql("west-app1", "select pg_is_in_recovery()", check=False) == "t", 30, "a standby")
            remember()
            check(lab.failover("west"), ["timeline", "west-app1", "web_db_rejoin.yml"])
            # The guards stay off until the wrong history is gone: a peer on a newer timeline stops a primary.
            for host in ("west-app1", "west-app3"):
                run = lab.rejoin(host, web_db_rejoin_rebuild="always")
                assert run.rc == 0 and run.result in ("ok", "nothing_to_do"), run
        finally:
            for host in DB_HOSTS:
                lab.on(host, "systemctl", "start", guard)
        assert ".aside-" in lab.on("west-app1", "ls", "/wdb/pgdata").stdout, "the wrong history is kept"
        lab.assert_settled("east")


class TestTwoControllers:
    """The lock of the platform."""

    def test_exactly_one_proceeds(self, lab):
        site = "west" if lab.active_site() == "east" else "east"
        extra = {"datacenter_failover_to": site, "circonus_confirm": site, "circonus_report_dir": str(lab.reports)}
        runs = [lab.start("datacenter_failover", **extra) for _number in range(2)]
        outputs = [process.communicate(timeout=1200)[0] for process in runs]
        codes = [process.returncode for process in runs]
        text = "\n=====\n".join(outputs)
        assert codes.count(0) == 1, text
        loser = outputs[0] if codes[0] else outputs[1]
        assert "lock" in loser, text
        lab.assert_settled(site)
