# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The running lab as tests see it: playbooks through the front door, the result with a client's own eyes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import beside
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
LAB = [sys.executable, str(ROOT / "molecule/lab/lab")]
DB_HOSTS = ("east-app1", "east-app3", "west-app1", "west-app3")
#: How many times as long a test waits as it takes when nothing else runs.
PATIENCE = 4
#: How the steps of a planned datacenter failover begin, in their order: where `make torture` kills the controller.
BOUNDARIES = (
    "Take the lock",
    "Stop the CA processor",
    "Make an envelope key",
    "Seal the CA",
    "Restore the CA",
    "Arm and promote",
    "Fence the old primary",
    "Take the client address",
    "Give the client address",
    "Switch the active message queue",
    "Stop fault_detection",
    "Set the active site",
    "Run Hooper",
    "Follow ",
)


def torture(first, *others):
    """Of kinds of a test that take minutes each: all for `make torture`, the first one otherwise."""
    return (first, *others) if os.environ.get("CIRCONUS_TORTURE") else (first,)


#: A test that takes long, of something that a test of every run shows in another way.
LONG = pytest.mark.skipif(not os.environ.get("CIRCONUS_TORTURE"), reason="only in make torture: it takes long")


def wait_until(condition, timeout: float, what: str, interval: float = 0.2):
    """Poll until ``condition()`` is truthy and return its value; a busy machine gets more than ``timeout``."""
    timeout *= PATIENCE
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError("not within %.0f s: %s (last seen %r)" % (timeout, what, value))
        time.sleep(interval)


class Run:
    """What one call of ansible-playbook left behind."""

    def __init__(self, process: subprocess.CompletedProcess, report: dict | None):
        self.rc, self.output, self.report = process.returncode, process.stdout, report

    @property
    def result(self):
        """``result`` of the report, None without one."""
        return (self.report or {}).get("result")

    def __repr__(self):
        return "<rc=%s result=%s reason=%s>\n%s" % (
            self.rc,
            self.result,
            (self.report or {}).get("reason"),
            self.output[-6000:],
        )


class Lab:
    """The running lab."""

    def __init__(self, reports: Path):
        self.reports = reports
        self.project = os.environ.get("LAB_PROJECT", "circonus")
        self.env = dict(os.environ, LAB_PROJECT=self.project, ANSIBLE_NOCOLOR="1", PYTHONUNBUFFERED="1")
        exports = self.cli("env").stdout
        for line in exports.splitlines():
            if line.startswith("export "):
                name, _sep, value = line[len("export ") :].partition("=")
                self.env[name] = value.strip().strip("'\"")

        self.inventory = Path(self.env["ANSIBLE_INVENTORY"]).parent
        self.variables = yaml.safe_load((self.inventory / "group_vars/all/lab.yml").read_text())
        self.alias = self.variables["circonus_client_address"].partition("/")[0]

    # -- the lab's own command

    def cli(self, *args, check=True, **kwargs):
        """Run ``molecule/lab/lab ARGS``."""
        process = subprocess.run(
            [*LAB, *args], env=self.env, cwd=ROOT, capture_output=True, text=True, check=False, **kwargs
        )
        if check and process.returncode:
            raise AssertionError("lab %s: %s%s" % (" ".join(args), process.stdout, process.stderr))
        return process

    def on(self, host, *argv, check=True, **options):
        """Run a command on a host, not through SSH but beside it, as an observer."""
        options = dict({"stdin": subprocess.DEVNULL} if "input" not in options else {}, **options)
        process = beside.run("%s-%s" % (self.project, host), argv, **options)
        if check and process.returncode:
            raise AssertionError("%s on %s: %s%s" % (" ".join(argv), host, process.stdout, process.stderr))
        return process

    def writer(self, verb):
        """Continuous committing client; ``report`` returns a dict."""
        if verb == "report":
            return json.loads(self.cli("writer", "report", "--json").stdout)
        return self.cli("writer", verb)

    # -- playbooks

    def start(self, playbook, *options, stdout=subprocess.PIPE, **extra):
        """Start a playbook in a process group of its own."""
        command = [
            str(Path(sys.executable).parent / "ansible-playbook"),
            str(ROOT / "playbooks" / (playbook + ".yml")),
            *options,
        ]
        extra = dict({"circonus_report_dir": str(self.reports)}, **extra)
        command += ["-e", json.dumps(extra)]
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env=self.env,
            text=True,
            start_new_session=True,
            stdout=stdout,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )

    def play(self, playbook, *options, timeout=1200, **extra):
        """Run a playbook to its end."""
        before = self.report_of(playbook)
        process = self.start(playbook, *options, **extra)
        try:
            output, _none = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _none = process.communicate()
            raise AssertionError("%s did not end within %d s:\n%s" % (playbook, timeout, output[-6000:])) from None
        report = self.report_of(playbook)
        if report and before and report["run_id"] == before["run_id"]:
            report = None
        run = Run(subprocess.CompletedProcess(process.args, process.returncode, output), report)
        print(run.output)
        return run

    def kill_after(self, playbook, step, timeout=900, **extra):
        """Start a playbook; SIGKILL it once a step whose title begins so is in its journal. The workers of ansible-core
        2.19 are groups of their own: they end their task, as with a controller that the kernel kills.

        Returns False when the run ended before it.
        """
        started = time.time()
        journals = self.reports / "journal"
        with open(self.reports / "killed.log", "w") as stdout:
            process = self.start(playbook, stdout=stdout, **extra)
        deadline = time.monotonic() + timeout
        mark = '"name": "%s' % step
        while process.poll() is None and time.monotonic() < deadline:
            files = [path for path in journals.glob(playbook + "-*.jsonl") if path.stat().st_mtime >= started]
            if any(mark in path.read_text() for path in files):
                break
            time.sleep(0.05)
        ended = process.poll() is not None
        if not ended:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return not ended

    def report_of(self, playbook):
        """Newest report of a procedure, None without one."""
        path = self.reports / ("%s-latest.json" % playbook)
        return json.loads(path.read_text()) if path.exists() else None

    def failover(self, to, *options, **extra):
        """datacenter_failover.yml with the confirmation typed."""
        return self.play(
            "datacenter_failover", *options, **dict({"datacenter_failover_to": to, "circonus_confirm": to}, **extra)
        )

    def switch_primary(self, host, *options, **extra):
        """web_db_failover.yml with the confirmation typed."""
        return self.play(
            "web_db_failover", *options, **dict({"web_db_failover_to": host, "circonus_confirm": host}, **extra)
        )

    def rejoin(self, host, **extra):
        """web_db_rejoin.yml with the confirmation typed."""
        return self.play("web_db_rejoin", web_db_rejoin_host=host, circonus_confirm=host, **extra)

    # -- a client's eyes

    def sql(self, host, query, check=True, database="postgres"):
        """One value from the database of a host, over its local socket; None when the server does not answer."""
        process = self.on(
            host,
            "runuser",
            "-u",
            "postgres",
            "--",
            "/opt/pgsql/bin/psql",
            "-XAtq",
            "-d",
            database,
            "-c",
            query,
            check=False,
        )
        if process.returncode:
            if check:
                raise AssertionError("%s on %s: %s" % (query, host, process.stderr))
            return None
        return process.stdout.strip()

    def primaries(self):
        """Hosts whose database accepts writes right now."""
        return [host for host in DB_HOSTS if self.sql(host, "select pg_is_in_recovery()", check=False) == "f"]

    def status_page(self, host):
        """Text of /status, fetched by HTTP from the client's side."""
        return self.on("client", "curl", "-sk", "-m", "5", "https://%s/status" % self.address(host), check=False).stdout

    def address(self, host):
        """Address of a host in its own site's network."""
        site = json.loads((self.inventory / "site.east.json").read_text())
        return site["machinfo"][host]["ip_address"]

    def active_units(self, host, *units):
        """Which of the units run."""
        output = self.on(host, "systemctl", "is-active", *units, check=False).stdout.split()
        return [unit for unit, state in zip(units, output, strict=False) if state == "active"]

    def alerting(self):
        """Host and unit of every alerting service that runs."""
        found = []
        for site in ("east", "west"):
            found += [
                ("%s-app1" % site, unit) for unit in self.active_units("%s-app1" % site, "circonus-fault-detection")
            ]
            found += [("%s-app2" % site, unit) for unit in self.active_units("%s-app2" % site, "circonus-bert")]
        return found

    def entrance(self):
        """Hosts that clients are led to: by the address alias, or by the name that the name server gives."""
        if self.variables["circonus_clients"] == "nsupdate":
            name = "{circonus_dns_record}.{circonus_dns_zone}".format(**self.variables)
            server = "@" + self.variables["circonus_dns_server"]
            answer = self.on("client", "dig", "+short", "+time=2", server, name, "A").stdout.split()
            return [
                host
                for host in DB_HOSTS
                if set(self.on(host, "hostname", "-I", check=False).stdout.split()) & set(answer)
            ]
        return [host for host in DB_HOSTS if self.alias in self.on(host, "ip", "-o", "-4", "addr", check=False).stdout]

    def active_site(self):
        """Site of the one primary, None unless there is exactly one."""
        primaries = self.primaries()
        return primaries[0].split("-")[0] if len(primaries) == 1 else None

    def streaming(self):
        """{upstream: sorted names of its streaming standbys}."""
        result = {}
        for host in DB_HOSTS:
            names = self.sql(
                host, "select application_name from pg_stat_replication where state='streaming' order by 1", check=False
            )
            if names:
                result[host] = [name for name in names.splitlines() if not name.startswith("circonus-")]
        return result

    def lsn(self, host):
        """Write position of a primary."""
        return self.sql(host, "select pg_current_wal_insert_lsn()")

    def rabbit_nodes(self, host):
        """Running nodes of the RabbitMQ cluster that a host belongs to; none while its node is not up."""
        process = self.on(
            host, "/opt/rabbitmq/sbin/rabbitmqctl", "-q", "cluster_status", "--formatter", "json", check=False
        )
        return sorted(json.loads(process.stdout)["running_nodes"]) if process.returncode == 0 else []

    def assert_settled(self, site, host="app1"):
        """The platform is whole, ``site`` is its active site with the primary on ``host``, seen from outside."""
        other = "west" if site == "east" else "east"
        primary, local = "%s-%s" % (site, host), "%s-%s" % (site, "app3" if host == "app1" else "app1")
        assert self.primaries() == [primary]
        wait_until(
            lambda: (
                self.streaming()
                == {primary: sorted([local, "%s-app1" % other]), "%s-app1" % other: ["%s-app3" % other]}
            ),
            30,
            "three standbys streaming",
        )
        assert "ACTIVE" in self.status_page("%s-app1" % site)
        assert "STANDBY" in self.status_page("%s-app1" % other)
        assert self.alerting() == [("%s-app1" % site, "circonus-fault-detection"), ("%s-app2" % site, "circonus-bert")]
        assert self.entrance() == [primary]
        for name in ("east", "west"):
            # A node that was frozen restarts itself when it sees that the cluster went on without it.
            wait_until(
                lambda name=name: (
                    self.rabbit_nodes("%s-app1" % name) == ["rabbit@%s-app1" % name, "rabbit@%s-app2" % name]
                ),
                120,
                "the RabbitMQ cluster of %s is whole" % name,
                interval=1,
            )
