#!/usr/bin/env python3
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Write gap of the planned failover against a bare script, on the same containers, interleaved.

One pair: ``datacenter_failover.yml`` to the other site, then the bare script there and back (so that the platform is
whole again). The bare script does CHECKPOINT, fast stop, proof of position, promote, and nothing else, in shells that
are open on both hosts beforehand. Both gaps are
seen by the same client: it commits on both database servers all the time and notes the last commit on the old one and
the first on the new one. The report of the procedure also names its own figure.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LAB = [sys.executable, str(ROOT / "molecule/lab/lab")]
UNIT = "circonus-postgres-circonus_wdb"
DATA = "/wdb/pgdata/15"
PROBE = r"""
import sys, threading, time
import psycopg2
hosts, password, last, first, stop = sys.argv[1:3], sys.argv[3], {}, {}, threading.Event()
def loop(host):
    connection = None
    while not stop.is_set():
        try:
            if connection is None:
                connection = psycopg2.connect(
                    host=host, user="web", password=password, dbname="circonus", connect_timeout=2,
                    options="-c statement_timeout=2000")
                connection.autocommit = True
                cursor = connection.cursor()
            cursor.execute("SELECT pg_logical_emit_message(true, 'bench', 'x')")
            moment = time.monotonic()
            first.setdefault(host, moment)
            last[host] = moment
            time.sleep(0.001)
        except psycopg2.Error:
            connection = None
            time.sleep(0.002)
threads = [threading.Thread(target=loop, args=(host,), daemon=True) for host in hosts]
[thread.start() for thread in threads]
print("ready", flush=True)
sys.stdin.readline()
stop.set()
time.sleep(0.05)
old, new = hosts
print("%.3f" % ((first[new] - last[old]) * 1000 if new in first and old in last else -1), flush=True)
"""


def lab_environment():
    """The lab's environment."""
    env = dict(os.environ)
    exports = subprocess.run([*LAB, "env"], cwd=ROOT, text=True, stdout=subprocess.PIPE, check=True).stdout
    for line in exports.splitlines():
        if line.startswith("export "):
            name, _equals, value = line[len("export ") :].partition("=")
            env[name] = value.strip().strip("'\"")
    return env


class Shell:
    """A shell of the database's user on a host, open before the measurement begins.

    Entering a container takes longer than the whole gap; a bare script that paid for it would be no yardstick.
    """

    MARK = "--done--"

    def __init__(self, project, host, env):
        self.host = host
        self.process = subprocess.Popen(
            ["podman", "exec", "-i", "%s-%s" % (project, host), "runuser", "-u", "postgres", "--", "sh"],
            env=env,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def __call__(self, command):
        """Output of one command line."""
        self.process.stdin.write("%s 2>&1; echo; echo %s $?\n" % (command, self.MARK))
        self.process.stdin.flush()
        lines = []
        for line in self.process.stdout:
            if line.startswith(self.MARK):
                if line.split()[1] != "0":
                    sys.exit("bench: %s on %s: %s" % (command, self.host, "".join(lines)))
                return "".join(lines).strip()
            lines.append(line)
        raise SystemExit("bench: the shell on %s has ended: %s" % (self.host, "".join(lines)))

    def close(self):
        """End it."""
        self.process.stdin.close()
        self.process.wait()


class Bench:
    """The containers and the two ways to move the primary."""

    def __init__(self):
        self.env = lab_environment()
        self.project = self.env["LAB_PROJECT"]
        site = json.loads((ROOT / "inventories/lab/site.east.json").read_text())
        self.addresses = {name: machine["ip_address"] for name, machine in site["machinfo"].items()}
        self.password = site["svclist"]["web_db"]["web_pass"]

    def on(self, host, *argv, check=True):
        """Output of a command in a container."""
        process = subprocess.run(
            ["podman", "exec", "-i", "%s-%s" % (self.project, host), *argv],
            env=self.env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        if check and process.returncode:
            sys.exit("bench: %s on %s: %s" % (" ".join(argv), host, process.stdout))
        return process.stdout.strip()

    def sql(self, host, query):
        """One value."""
        return self.on(host, "runuser", "-u", "postgres", "--", "/opt/pgsql/bin/psql", "-XAtq", "-c", query)

    def primary(self):
        """Host of the primary."""
        return next(h for h in ("east-app1", "west-app1") if self.sql(h, "select pg_is_in_recovery()") == "f")

    def until(self, condition, what, timeout=60):
        """Wait for a condition."""
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                sys.exit("bench: not within %d s: %s" % (timeout, what))
            time.sleep(0.05)

    def watched(self, old, new, move):
        """Gap in ms that the probe sees while ``move`` runs."""
        process = subprocess.Popen(
            [
                "podman",
                "exec",
                "-i",
                "%s-client" % self.project,
                "python3",
                "-c",
                PROBE,
                self.addresses[old],
                self.addresses[new],
                self.password,
            ],
            env=self.env,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        process.stdout.readline()
        time.sleep(1.0)
        move()
        time.sleep(1.0)
        process.stdin.write("\n")
        process.stdin.flush()
        return float(process.stdout.readline())

    def playbook(self, site):
        """One planned failover; returns its report."""
        command = [
            str(ROOT / ".venv/bin/ansible-playbook"),
            "playbooks/datacenter_failover.yml",
            "-e",
            "datacenter_failover_to=%s" % site,
            "-e",
            "circonus_confirm=%s" % site,
            "-e",
            "circonus_report_dir=%s" % (ROOT / ".cache/bench"),
        ]
        process = subprocess.run(
            command, cwd=ROOT, env=self.env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
        if process.returncode:
            sys.exit("bench: the failover failed:\n" + process.stdout[-3000:])
        return json.loads((ROOT / ".cache/bench/datacenter_failover-latest.json").read_text())

    def bare(self, old, new):
        """CHECKPOINT, fast stop, proof of position, promote."""
        psql = '/opt/pgsql/bin/psql -XAtq -c "%s"'
        old(psql % "checkpoint")
        old("/opt/pgsql/bin/pg_ctl -D %s -m fast -w stop" % DATA)
        control = dict(
            line.split(":", 1) for line in old("/opt/pgsql/bin/pg_controldata %s" % DATA).splitlines() if ":" in line
        )
        position = control["Latest checkpoint location"].strip()
        assert control["Database cluster state"].strip() == "shut down", control
        if new(psql % ("select pg_last_wal_replay_lsn() > '%s'::pg_lsn" % position)) != "t":
            sys.exit("bench: the standby does not hold %s" % position)
        new(psql % "select pg_promote(true)")

    def watched_bare(self, old, new):
        """Gap in ms of the bare script; its shells are open before the clock runs."""
        shells = [Shell(self.project, host, self.env) for host in (old, new)]
        try:
            for shell in shells:
                shell("true")
            return self.watched(old, new, lambda: self.bare(*shells))
        finally:
            for shell in shells:
                shell.close()

    def follow(self, old, new):
        """The old primary becomes a standby again; outside the measurement."""
        self.on(old, "runuser", "-u", "postgres", "--", "sh", "-c", "touch %s/standby.signal" % DATA)
        conninfo = "host=%s port=5432 user=replication application_name=%s" % (self.addresses[new], old)
        self.on(
            old,
            "runuser",
            "-u",
            "postgres",
            "--",
            "sh",
            "-c",
            "printf \"primary_conninfo = '%s'\\nrecovery_target_timeline = 'latest'\\n\" >> %s/postgresql.auto.conf"
            % (conninfo, DATA),
        )
        self.on(old, "systemctl", "stop", UNIT, check=False)
        self.on(old, "systemctl", "reset-failed", UNIT, check=False)
        self.on(old, "systemctl", "start", UNIT)
        self.until(
            lambda: old in self.sql(new, "select application_name from pg_stat_replication where state='streaming'"),
            "%s streams" % old,
        )


def main():
    """Run the pairs and print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=10, help="number of pairs (default 10)")
    options = parser.parse_args()
    bench = Bench()
    ours, own, bares, walls, slow = [], [], [], [], {}
    for number in range(1, options.pairs + 1):
        old = bench.primary()
        new = "west-app1" if old == "east-app1" else "east-app1"
        box = {}
        ours.append(bench.watched(old, new, lambda box=box, new=new: box.update(bench.playbook(new.split("-")[0]))))
        own.append(box["write_gap_ms"])
        walls.append(box["seconds"])
        for step in box["steps"]:
            slow.setdefault(step["name"], []).append(step["seconds"])
        pair = []
        for a, b in ((new, old), (old, new)):
            pair.append(bench.watched_bare(a, b))
            bench.follow(a, b)
        bares.append(statistics.median(pair))
        print(
            "pair %2d   procedure %7.1f ms (its own figure %7.1f ms)   bare script %7.1f ms   ratio %.2f   "
            "whole procedure %.1f s" % (number, ours[-1], own[-1], bares[-1], ours[-1] / bares[-1], walls[-1]),
            flush=True,
        )
    ratios = [a / b for a, b in zip(ours, bares, strict=True)]
    print(
        "median    procedure %.1f ms (its own figure %.1f ms), bare script %.1f ms, ratio %.2f (goal at most 2)"
        % (statistics.median(ours), statistics.median(own), statistics.median(bares), statistics.median(ratios))
    )
    print("whole procedure: median %.1f s; slowest steps:" % statistics.median(walls))
    for name, seconds in sorted(slow.items(), key=lambda item: -max(item[1]))[:5]:
        print("  %6.2f s  %s" % (statistics.median(seconds), name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
