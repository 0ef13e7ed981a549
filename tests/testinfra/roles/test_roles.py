# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every host of the lab against the catalogue: what a role's entry names is there, runs, listens and answers.

A role that is added to the catalogue is tested by its entry. Units that a host does not have are no error as such: the
lab has one edition at a time; but every role has at least one that runs.
"""

from __future__ import annotations

import functools
import json
import re

import pytest

from ..conftest import eventually
from . import catalogue

CATALOGUE = catalogue.load()
SETTLE = 60


def named(pairs):
    """Parameters with readable names."""
    return [pytest.param(role, item, id="%s-%s" % (role, label(item))) for role, item in pairs]


def label(item):
    words = (item.get("id"), item.get("port"), item.get("proto"), item.get("path") or item.get("url"))
    return "-".join(str(word) for word in words if word is not None).replace("/", "_")


class Host:
    """What one host has, asked once; ports and processes are asked anew."""

    def __init__(self, lab, name):
        self.lab, self.name, self.shell = lab, name, lab.host(name)

    @functools.cached_property
    def unit_files(self):
        """{unit: enabled, disabled, static, ...}"""
        command = "systemctl list-unit-files --plain --no-legend --type=service"
        # On a very busy machine the bus may not answer in time.
        lines = eventually_value(lambda: self.shell.run(command).stdout, command + " on " + self.name).splitlines()
        return {line.split()[0].removesuffix(".service"): line.split()[1] for line in lines}

    def unit(self, entry, ident):
        """Name of a unit of the entry on this host: its first candidate that is there."""
        for unit in entry.get("units") or []:
            if unit.get("id") == ident:
                return next((name for name in unit["candidates"] if name in self.unit_files), None)
        return None

    def state(self, unit):
        return self.shell.run("systemctl is-active %s", unit).stdout.strip()

    def listens(self, port, proto="tcp"):
        option = "-Hltn" if proto == "tcp" else "-Hlun"
        lines = self.shell.check_output("ss %s sport = :%s", option, str(port)).splitlines()
        return [line.split()[3].rpartition(":")[0] for line in lines]

    def processes(self):
        """[(pid, parent, name, command line)]"""
        lines = self.shell.check_output("ps -eo pid=,ppid=,comm=,args=").splitlines()
        return [tuple(line.split(None, 3)) for line in lines if len(line.split(None, 3)) == 4]


@pytest.fixture(scope="session")
def release(lab):
    return catalogue.RELEASES[lab.status["edition"]]


@pytest.fixture(scope="session")
def hosts(lab):
    return {name: Host(lab, name) for name, entry in lab.hosts.items() if entry.get("roles")}


@pytest.fixture
def working(lab, hosts, release):
    """Hosts on which a role works; skips a test of what this release or this lab does not have."""

    def choose(role, item=None):
        entry = CATALOGUE[role]
        if not catalogue.exists(entry, release) or item and not catalogue.exists(item, release):
            pytest.skip("not in release %s" % release)
        found = [name for name in lab.of(role) if not stopped(lab, entry, name)]
        if role == "ca":
            found = [name for name in found if hosts[name].unit_files.get("circonus-ca_processor") == "enabled"]
        if not found:
            pytest.skip("no host of this lab has the role")
        return [hosts[name] for name in found]

    return choose


def stopped(lab, entry, name):
    """Whether a role is kept stopped there."""
    return entry.get("passive") == "stopped" and lab.hosts[name]["site"] != lab.status["active_site"]


def owners(working, role, item, ident):
    """[(host, unit)] where the unit (or, without one, the process) that an item belongs to is there and on."""
    entry = CATALOGUE[role]
    found = []
    for host in working(role, item):
        unit = host.unit(entry, ident)
        if unit and host.unit_files[unit] == "enabled":
            found.append((host, unit))
        elif any(process.get("id") == ident for process in entry.get("processes") or []):
            found.append((host, None))
    if not found:
        pytest.skip("no host has the unit %s" % ident)
    return found


class TestUnits:
    @pytest.mark.parametrize("role, unit", named(catalogue.items(CATALOGUE, "units")))
    def test_run_where_they_are(self, working, role, unit):
        for host, name in owners(working, role, unit, unit["id"]):

            def active(host=host, name=name):
                return host.state(name) == "active"

            eventually(active, SETTLE, "%s on %s is active" % (name, host.name))

    @pytest.mark.parametrize("role", CATALOGUE)
    def test_of_every_role_one_runs_on_each_of_its_hosts(self, working, role):
        for host in working(role):
            ids = [unit["id"] for unit in CATALOGUE[role].get("units") or []]
            units = [name for name in (host.unit(CATALOGUE[role], ident) for ident in ids) if name]
            assert "active" in [host.state(name) for name in units], "%s on %s: %s" % (role, host.name, units)

    @pytest.mark.parametrize("role", [role for role, entry in CATALOGUE.items() if entry.get("passive") == "stopped"])
    def test_are_stopped_in_the_standby_site(self, lab, hosts, role):
        names = [name for name in lab.of(role) if stopped(lab, CATALOGUE[role], name)]
        for host in (hosts[name] for name in names):
            for unit in CATALOGUE[role]["units"]:
                name = host.unit(CATALOGUE[role], unit["id"])
                assert name is None or host.state(name) != "active", "%s on %s" % (name, host.name)

    @pytest.mark.parametrize(
        "role, unit", named(pair for pair in catalogue.items(CATALOGUE, "units") if pair[1].get("watchdog"))
    )
    def test_with_a_watchdog_are_parent_and_child(self, working, role, unit):
        for host, name in owners(working, role, unit, unit["id"]):
            parent = host.shell.check_output("systemctl show -P MainPID %s", name)
            processes = host.processes()
            program = next(process[2] for process in processes if process[0] == parent)
            children = [process[0] for process in processes if process[1] == parent and process[2] == program]
            assert len(children) == 1, "%s on %s: children %s" % (name, host.name, children)

    @pytest.mark.parametrize(
        "role, unit",
        named(pair for pair in catalogue.items(CATALOGUE, "units") if (pair[1].get("life") or {}).get("log")),
    )
    def test_say_in_their_log_that_they_live(self, working, role, unit):
        sign = unit["life"]["log"]
        for host, _name in owners(working, role, unit, unit["id"]):
            path = sign["file"].replace("<host>", host.name)
            text = host.shell.file(path).content_string
            assert re.search(sign["pattern"], text, re.M), "%s on %s" % (path, host.name)


class TestProcesses:
    @pytest.mark.parametrize("role, process", named(catalogue.items(CATALOGUE, "processes")))
    def test_without_a_unit_of_their_own_run(self, working, role, process):
        for host in working(role, process):

            def runs(host=host):
                return any(process["match"] in found[3] for found in host.processes())

            eventually(runs, SETTLE, "%s on %s" % (process["match"], host.name))


class TestPorts:
    @pytest.mark.parametrize(
        "role, port",
        named(pair for pair in catalogue.items(CATALOGUE, "ports") if isinstance(pair[1].get("port"), int)),
    )
    def test_are_listened_on(self, working, role, port):
        if not port.get("unit"):
            pytest.skip("no unit is named for it")
        for host, unit in owners(working, role, port, port["unit"]):
            what = "%s port %s of %s on %s" % (port.get("proto", "tcp"), port["port"], unit, host.name)

            def listens(host=host):
                return host.listens(port["port"], port.get("proto", "tcp"))

            if port.get("optional") and not listens():
                continue
            found = eventually_value(listens, what)
            assert port.get("bind") != "any" or set(found) - {"127.0.0.1", "[::1]"}, what + " is local only"


class TestPlaces:
    @pytest.mark.parametrize("role", [role for role, entry in CATALOGUE.items() if entry.get("space")])
    def test_that_need_room_are_there(self, working, role):
        for host in working(role):
            for path in CATALOGUE[role]["space"]:
                assert host.shell.file(path).exists, "%s on %s" % (path, host.name)

    @pytest.mark.parametrize(
        "role", [role for role, entry in CATALOGUE.items() if (entry.get("paths") or {}).get("binaries")]
    )
    def test_of_programs_are_the_documented_ones(self, working, role):
        for host in working(role):
            for path in CATALOGUE[role]["paths"]["binaries"]:
                host.shell.run_test("test -x %s", path)


class TestPages:
    @pytest.mark.parametrize(
        "role, endpoint", named(pair for pair in catalogue.items(CATALOGUE, "endpoints") if catalogue.page(pair[1]))
    )
    def test_answer(self, working, role, endpoint):
        entry = CATALOGUE[role]
        scheme, port, path = catalogue.page(endpoint)
        ident = endpoint.get("unit") or catalogue.unit_of_port(entry, port)
        pki = entry.get("pki") or {}
        pairs = owners(working, role, endpoint, ident) if ident else [(host, None) for host in working(role, endpoint)]
        for host, _unit in pairs:
            options = []
            for option in ("cert", "key"):
                file = str(pki.get(option) or "").replace("<host>", host.name)
                if scheme == "https" and file and host.shell.file(file).exists:
                    options += ["--" + option, file]
            url = "%s://localhost:%d%s" % (scheme, port, path)
            command = ["curl", "-sk", "-m", "10", *options, "-w", "\\n%{http_code}", url]
            done = host.shell.run(" ".join("'%s'" % word for word in command))
            body, _end, status = done.stdout.rpartition("\n")
            assert int(status or 0) in (endpoint.get("status") or [200]), "%s on %s: %s" % (url, host.name, status)
            missing = [name for name in endpoint.get("sections") or [] if name not in sections(body)]
            assert not missing, "%s on %s: %s missing" % (url, host.name, missing)


class TestConsoles:
    @pytest.mark.parametrize("role, console", named(catalogue.items(CATALOGUE, "consoles")))
    def test_greet(self, working, role, console):
        if not isinstance(console.get("port"), int):
            pytest.skip("no line console")
        ident = console.get("unit") or catalogue.unit_of_port(CATALOGUE[role], console["port"])
        script = "exec 3<>/dev/tcp/127.0.0.1/%d && timeout 5 head -c 56 <&3" % console["port"]
        for host, _unit in owners(working, role, console, ident):
            greeting = host.shell.run("bash -c '%s'" % script).stdout_bytes
            assert b"mtev: (no auth)\r\n" in greeting, "console %s on %s" % (console["port"], host.name)


class TestCertificates:
    @pytest.mark.parametrize(
        "role", [role for role, entry in CATALOGUE.items() if (entry.get("pki") or {}).get("cert")]
    )
    def test_are_of_the_platforms_authority(self, working, role):
        pki = CATALOGUE[role]["pki"]
        for host in working(role):
            files = {kind: pki[kind].replace("<host>", host.name) for kind in ("ca", "cert", "key")}
            if not host.shell.file(files["cert"].rpartition("/")[0]).exists:
                continue  # of a unit that this edition does not have
            assert all(host.shell.file(path).exists for path in files.values()), (host.name, files)
            host.shell.run_test("openssl verify -CAfile %s %s", files["ca"], files["cert"])


class TestCron:
    @pytest.mark.parametrize(
        "role, job",
        named(pair for pair in catalogue.items(CATALOGUE, "cron") if str(pair[1].get("script")).startswith("/")),
    )
    def test_jobs_are_installed_and_do_something(self, working, role, job):
        for host in working(role, job):
            table = host.shell.run("sh -c 'cat /etc/cron.d/* /var/spool/cron/crontabs/* 2>/dev/null'").stdout
            assert job["script"] in table, "%s on %s" % (job["script"], host.name)
            host.shell.run_test("%s", job["script"])


class TestBrokers:
    def test_every_stratcon_is_connected_to_every_broker(self, lab, hosts):
        for name in lab.of("stratcon"):
            script = 'exec 3<>/dev/tcp/127.0.0.1/32324 && printf "show noits\\r" >&3 && timeout 3 cat <&3'

            for broker in lab.of("broker"):
                line = "%s:43191 [connected]:" % lab.hosts[broker]["address"]

                def both(name=name, script=script, line=line):
                    text = hosts[name].shell.run("bash -c '%s'" % script).stdout_bytes.decode("latin-1")
                    return text.count(line) == 2

                eventually(both, 90, "%s is connected to %s" % (name, broker))

    def test_a_broker_that_goes_away_is_seen(self, lab, hosts):
        broker, stratcon = hosts[lab.of("broker")[0]], hosts[lab.of("stratcon")[0]]
        address = lab.hosts[broker.name]["address"] + ":43191"
        files = "--cert /opt/noit/prod/etc/stratcon.crt --key /opt/noit/prod/etc/stratcon.key"

        def down():
            text = stratcon.shell.check_output("curl -sk %s https://localhost:43191/noits/show.json" % files)
            nodes = [node for node in json.loads(text)["nodes"] if node["remote"] == address]
            return [node["state"] for node in nodes].count("disconnected")

        broker.shell.run_test("systemctl stop noitd")
        try:
            eventually(lambda: down() == 2, 15, "both feeds are disconnected")
        finally:
            broker.shell.run_test("systemctl start noitd")
        eventually(lambda: down() == 0, 60, "both feeds are connected again")


def eventually_value(question, what):
    """The first true answer."""
    box = []

    def ask():
        box[:] = [question()]
        return box[0]

    eventually(ask, SETTLE, what)
    return box[0]


def sections(body):
    """Keys of a JSON object, or names in a resmon document."""
    try:
        found = json.loads(body)
    except ValueError:
        return set(re.findall(r'(?:module|service|name)="([^"]+)"', body))
    return set(found) if isinstance(found, dict) else set().union(*(set(row) for row in found if isinstance(row, dict)))
