# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from ansible_collections.circonus.inside.plugins.module_utils import host_check, host_check_read
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput

LIMITS = host_check.THRESHOLDS


def state(active="active", **more):
    values = {"load": "loaded", "active": active, "sub": "running" if active == "active" else "dead",
              "enabled": "enabled", "result": "success", "pid": 50 if active == "active" else 0, "restarts": 0,
              "since": "", "since_epoch": 1000.0, "exists": True}
    return dict(values, **more)


def process(pid, ppid=1, start_s=0.0, comm="noitd", unit="noitd", **more):
    values = {"pid": pid, "ppid": ppid, "comm": comm, "name": comm, "command": "/opt/" + comm, "unit": unit,
              "start_ticks": int(start_s * 100)}
    return dict(values, **more)


def look(*processes, **more):
    values = {"processes": list(processes), "later": list(processes), "owners": [], "boot_s": 10000.0, "ticks": 100,
              "watch_s": 0.25}
    return dict(values, **more)


def pair(first, later=None, main_pid=50, expected="up", watchdog=True):
    seen = look(*first, later=first if later is None else later)
    members = host_check.same_program(host_check.members_of(first, "noitd", main_pid), main_pid)
    return host_check.pair_item("noitd", members, main_pid, seen, watchdog, LIMITS, expected)


PARENT, CHILD = process(50, start_s=100), process(51, 50, 100.5)


class TestPairItem:
    def test_a_parent_and_its_child(self):
        assert pair([PARENT, CHILD]) == {
            "id": "noitd", "parent": 50, "child": 51, "restarts": 0, "ok": True, "detail": ""}

    def test_the_main_process_may_be_the_child(self):
        assert pair([PARENT, CHILD], main_pid=51)["parent"] == 50

    def test_a_parent_alone(self):
        item = pair([PARENT, process(60, 50, 101, comm="helper")])
        assert (item["parent"], item["child"], item["ok"]) == (50, None, False)
        assert "found the process 50 alone" in item["detail"]

    def test_a_child_of_another_unit_does_not_count(self):
        assert pair([PARENT, process(51, 50, 100.5, unit="other")])["ok"] is False

    def test_a_child_that_was_started_again_just_now(self):
        item = pair([PARENT, process(51, 50, 9900)])
        assert (item["restarts"], item["ok"]) == (1, False)
        assert "started the child 51 again 100 s ago" in item["detail"]

    def test_a_child_that_was_started_again_long_ago(self):
        item = pair([PARENT, process(51, 50, 5000)])
        assert (item["restarts"], item["ok"]) == (1, True)

    def test_both_started_just_now(self):
        assert pair([process(50, start_s=9900), process(51, 50, 9901)])["ok"] is True

    def test_a_child_that_changes_between_two_looks(self):
        item = pair([PARENT, CHILD], [PARENT, process(77, 50, 10000)])
        assert (item["restarts"], item["ok"]) == (1, False)
        assert item["detail"] == "the process 51 of noitd ended within 0.25 s, now it is 77"

    def test_a_child_whose_number_was_used_again(self):
        assert pair([PARENT, CHILD], [PARENT, process(51, 50, 10000)])["ok"] is False

    def test_nothing_runs(self):
        assert pair([])["ok"] is False
        assert pair([], expected="any")["ok"] is True
        assert pair([], expected="down")["ok"] is True

    def test_what_should_be_stopped(self):
        item = pair([PARENT, CHILD], expected="down")
        assert item["ok"] is False and "expected it stopped, found the process 50" in item["detail"]

    def test_a_single_process_needs_no_child(self):
        assert pair([PARENT], watchdog=False)["ok"] is True

    def test_a_named_program_of_the_unit(self):
        members = {1: process(1, comm="sh"), 2: process(2, 1, comm="a_very_long_prog", name="a_very_long_program")}
        assert list(host_check.same_program(members, 1, "a_very_long_program")) == [2]

    def test_without_a_unit_what_descends_of_the_main_process_belongs(self):
        found = [process(50, unit=None), process(51, 50, unit=None), process(52, 51, unit=None), process(53, unit=None)]
        assert sorted(host_check.members_of(found, "noitd", 50)) == [50, 51, 52]


class TestChooseUnits:
    ENTRY = {"name": "web_stream", "units": [
        {"id": "old", "candidates": ["circonus-enzo"]},
        {"id": "new", "candidates": ["circonus-enzo-c"], "alternative_to": "old", "required": True},
        {"id": "off", "candidates": ["circonus-off"], "enabled_only": True},
        {"id": "gone", "candidates": ["a", "b"]},
        {"id": "must", "candidates": ["c"], "required": True},
    ]}

    def expected(self, states, stopped=False):
        return [item["expected"] for item in host_check.choose_units(self.ENTRY, states, stopped)]

    def test_says_what_should_run(self):
        states = {"circonus-enzo": state(), "circonus-off": state("inactive", enabled="disabled")}
        assert self.expected(states) == ["up", "any", "any", "any", "up"]

    def test_the_alternative_that_runs_is_enough(self):
        states = {"circonus-enzo": state("inactive"), "circonus-enzo-c": state(), "circonus-off": state("failed")}
        assert self.expected(states) == ["any", "up", "up", "any", "up"]

    def test_one_of_two_stopped_alternatives_should_run(self):
        states = {"circonus-enzo": state("inactive"), "circonus-enzo-c": state("failed")}
        assert self.expected(states)[:2] == ["up", "up"]

    def test_a_role_that_is_kept_stopped(self):
        assert set(self.expected({"circonus-enzo": state()}, True)) == {"down"}

    def test_nothing_is_known_without_systemd(self):
        assert set(self.expected(None)) == {None}


class TestRestartLoop:
    def test_a_unit_that_stays_up(self):
        assert host_check.restart_loop(state(), 5000.0, {51}, LIMITS) == ""
        assert host_check.restart_loop(state(restarts=9), 5000.0, {51}, LIMITS) == ""
        assert host_check.restart_loop(state(restarts=1), 1001.0, set(), LIMITS) == ""

    def test_many_restarts_and_a_recent_start(self):
        assert "restarted it 3 times, the last 60 s ago" in host_check.restart_loop(
            state(restarts=3), 1060.0, set(), LIMITS)

    def test_a_unit_between_two_starts(self):
        waiting = state("activating", sub="auto-restart", pid=0, restarts=7)
        assert "after 7 restarts" in host_check.restart_loop(waiting, 5000.0, set(), LIMITS)

    def test_a_process_that_ends_while_it_is_looked_at(self):
        assert "process 50 ended" in host_check.restart_loop(state(), 5000.0, {50}, LIMITS)


def port(number=5672, unit="rabbitmq", bind="any", **more):
    return dict({"port": number, "proto": "tcp", "unit": unit, "bind": bind, "required": True}, **more)


def listener(address="0.0.0.0"):
    return {"proto": "tcp", "port": 5672, "address": address, "inode": 1}


class TestPortItem:
    ENTRY = {"name": "mq", "units": [{"id": "rabbitmq", "candidates": ["circonus-rabbitmq"]}]}
    BEAM = process(9, comm="beam.smp", unit="circonus-rabbitmq")
    OTHER = process(8, comm="nginx", unit="nginx")

    def item(self, listening, holders, states=None, stopped=False, described=None, **more):
        states = {"circonus-rabbitmq": state()} if states is None else states
        units = host_check.choose_units(self.ENTRY, states or None, stopped)
        return host_check.port_item(described or port(), listening, holders, units, {}, **more)

    def test_the_right_owner(self):
        assert self.item([listener()], [self.BEAM]) == {
            "port": 5672, "proto": "tcp", "listening": True, "owner": "beam.smp", "owner_pid": 9,
            "owner_unit": "circonus-rabbitmq", "expected_unit": "circonus-rabbitmq", "bound": "any", "bind_ok": True,
            "ok": True, "detail": ""}

    def test_somebody_else(self):
        item = self.item([listener()], [self.OTHER])
        assert item["ok"] is False
        assert item["detail"] == "expected circonus-rabbitmq on 5672/tcp, found nginx (pid 8, nginx)"

    def test_somebody_else_on_one_of_two_addresses(self):
        assert self.item([listener(), listener("127.0.0.1")], [self.BEAM, self.OTHER])["owner"] == "nginx"

    def test_a_process_of_no_unit(self):
        item = self.item([listener()], [process(7, comm="python3", unit=None)])
        assert item["ok"] is False and "python3 (pid 7, no unit)" in item["detail"]

    def test_somebody_else_on_a_port_that_is_optional(self):
        item = self.item([listener()], [self.OTHER], described=port(required=False))
        assert item["ok"] is True and "may use 5672/tcp, nginx" in item["detail"]

    def test_a_socket_that_systemd_holds(self):
        item = self.item([listener()], [process(1, comm="systemd", unit="init.scope")])
        assert item["ok"] is None and "init holds 5672/tcp" in item["detail"]

    def test_nobody(self):
        item = self.item([], [])
        assert (item["ok"], item["listening"]) == (False, False)
        assert item["detail"] == "expected circonus-rabbitmq on 5672/tcp, nothing listens"
        assert self.item([], [], described=port(required=False))["ok"] is True

    def test_an_owner_that_cannot_be_told(self):
        item = self.item([listener()], [None], unknown="no answer within 5 s")
        assert item["ok"] is None and "no answer within 5 s" in item["detail"]

    def test_kept_stopped(self):
        assert self.item([], [], stopped=True)["ok"] is True
        assert self.item([listener()], [self.BEAM], stopped=True)["ok"] is False
        assert self.item([listener()], [self.OTHER], stopped=True)["ok"] is True

    def test_a_unit_that_this_host_does_not_have(self):
        assert self.item([], [], {"x": state()})["ok"] is True
        item = self.item([listener()], [self.OTHER], {"x": state()})
        assert item["ok"] is True and "is not in use here" in item["detail"]

    def test_units_that_could_not_be_read(self):
        assert self.item([], [], {})["ok"] is None
        assert self.item([listener()], [self.BEAM], {})["ok"] is True
        assert self.item([listener()], [self.OTHER], {})["detail"]

    def test_how_far_it_reaches(self):
        assert self.item([listener("127.0.0.1")], [self.BEAM])["bind_ok"] is False
        assert self.item([listener()], [self.BEAM], described=port(bind="local"))["bind_ok"] is False
        assert self.item([listener("::1")], [self.BEAM], described=port(bind="local"))["bind_ok"] is True
        assert self.item([listener()], [self.BEAM], described=port(bind=None))["bind_ok"] is None

    def test_the_process_without_a_unit(self):
        item = host_check.port_item(port(8083, "jezebel"), [listener()], [process(5)], [], {"jezebel": {5}})
        assert item["ok"] is True
        item = host_check.port_item(port(8083, "jezebel"), [listener()], [process(6)], [], {"jezebel": {5}})
        assert item["ok"] is False

    def test_an_alternative_may_have_it(self):
        entry = {"name": "x", "units": [{"id": "old", "candidates": ["a"]},
                                        {"id": "new", "candidates": ["b"], "alternative_to": "old"}]}
        units = host_check.choose_units(entry, {"b": state()})
        item = host_check.port_item(port(unit="old"), [listener()], [process(5, unit="b")], units, {})
        assert (item["ok"], item["expected_unit"]) == (True, "b")


class TestPortsOf:
    def test_joins_ports_consoles_units_and_processes(self):
        entry = {"name": "x", "ports": [{"port": 1, "unit": "a", "bind": "local"}, {"port": "5-9", "unit": "a"}],
                 "consoles": [{"id": "c", "port": 2, "unit": "a", "bind": "local"}],
                 "units": [{"id": "a", "candidates": ["a"], "ports": [1, 3]}], "processes": [{"id": "p", "port": 4}]}
        assert all(item["required"] for item in host_check.ports_of(entry))
        assert not host_check.ports_of({"name": "x", "ports": [{"port": 1, "optional": True}]})[0]["required"]
        assert [(item["port"], item["unit"], item["bind"]) for item in host_check.ports_of(entry)] == [
            (1, "a", "local"), (2, "a", "local"), (3, "a", None), (4, "p", None)]


class TestEndpointsOf:
    def test_reads_both_forms_and_leaves_placeholders_out(self):
        entry = {"name": "x", "ports": [{"port": 80, "unit": "http"}], "endpoints": [
            {"id": "a", "port": 80, "path": "/x", "status": [200, 401], "sections": ["core"]},
            {"url": "https://east-app1/status?x=1"}, {"id": "c", "port": 80, "path": "/check/<check_uuid>"}]}
        assert host_check.endpoints_of(entry) == [
            {"id": "a", "port": 80, "path": "/x", "tls": False, "header": None, "status": [200, 401],
             "sections": ["core"], "unit": "http"},
            {"id": "/status?x=1", "port": 443, "path": "/status?x=1", "tls": True, "header": "east-app1",
             "status": [200], "sections": [], "unit": None}]


class TestLocalAddress:
    @pytest.mark.parametrize("addresses, wanted", [
        ([], "127.0.0.1"), (["0.0.0.0"], "127.0.0.1"), (["::"], "::1"), (["192.0.2.7"], "192.0.2.7"),
        (["192.0.2.7", "127.0.0.1"], "127.0.0.1")])
    def test_prefers_loopback(self, addresses, wanted):
        assert host_check.local_address([listener(address) for address in addresses], 5672) == wanted


class TestEndpointItem:
    PAGE = {"id": "a", "port": 80, "path": "/", "tls": False, "header": None, "status": [200, 401],
            "sections": ["core"], "unit": None}

    def item(self, answer, why="", expected="up", listening=True):
        return host_check.endpoint_item(self.PAGE, "::1", answer, why, expected, listening)

    def test_judges_status_and_sections(self):
        answer = {"status": 200, "seconds": 0.1, "error": "", "body": '{"core": 1}'}
        assert self.item(answer) == {"id": "a", "url": "http://[::1]:80/", "status": 200, "seconds": 0.1, "error": "",
                                     "missing_sections": [], "asked": True, "ok": True}
        assert self.item(dict(answer, body="{}"))["missing_sections"] == ["core"]
        assert self.item(dict(answer, body="{}"))["ok"] is False
        broken = self.item(dict(answer, status=500))
        assert (broken["ok"], broken["error"]) == (False, "expected status 200 or 401, found 500")

    def test_no_answer(self):
        assert self.item(None, "no answer within 3 s")["error"] == "no answer within 3 s"
        assert self.item(None, "no answer within 3 s")["ok"] is False

    def test_does_not_count_for_what_is_not_in_use(self):
        refused = {"status": None, "seconds": 0.1, "error": "connection refused", "body": ""}
        for expected in ("down", "any"):
            item = self.item(refused, expected=expected, listening=False)
            assert (item["asked"], item["ok"], item["error"]) == (False, True, "")
        assert self.item(refused, expected=None, listening=False)["ok"] is None


class TestCronItem:
    ITEM = {"id": "x", "user": "circonus", "script": "/www/bin/x.pl"}

    def tables(self, user="circonus", unreadable=()):
        jobs = [{"schedule": "* * * * *", "user": user, "command": "/www/bin/x.pl", "file": "/f"}] if user else []
        return {"jobs": jobs, "unreadable": list(unreadable)}

    def test_present_with_script_and_user(self):
        item = host_check.cron_item(self.ITEM, self.tables(), True)
        assert (item["present"], item["user"], item["schedule"], item["ok"]) == (True, "circonus", "* * * * *", True)

    def test_not_ok_without_job_script_or_user(self):
        assert host_check.cron_item(self.ITEM, self.tables(None), True)["ok"] is False
        assert host_check.cron_item(self.ITEM, self.tables(), False)["ok"] is False
        assert host_check.cron_item(self.ITEM, self.tables("root"), True)["ok"] is False

    def test_unknown_when_a_table_cannot_be_read(self):
        item = host_check.cron_item(self.ITEM, self.tables(None, ["/var/spool/cron/x"]), True)
        assert item["present"] is None and "/var/spool/cron/x" in item["error"]
        assert host_check.cron_item(self.ITEM, None, True, "no answer")["error"] == "no answer"


class TestClock:
    def test_compares_with_the_reference(self):
        assert host_check.clock(1000.5, 1000.0) == {"epoch": 1000.5, "offset_s": 0.5}
        assert host_check.clock(1000.0, 1000.0, -90.0) == {"epoch": 910.0, "offset_s": -90.0}
        assert host_check.clock(1000.0, None)["offset_s"] is None


class TestCheckEntries:
    @pytest.mark.parametrize("entry", [
        "x", {}, {"name": "x", "units": [{"id": "a"}]}, {"name": "x", "ports": [5]}, {"name": "x", "cron": ["y"]}])
    def test_refuses_malformed_ones(self, entry):
        with pytest.raises(BadInput):
            host_check.check_entries([entry])

    def test_refuses_a_threshold_that_is_no_number(self):
        with pytest.raises(BadInput, match="threshold recent_s"):
            host_check.collect({"entries": [], "deadline_s": 5, "thresholds": {"recent_s": "soon"}})


# ---- the whole of it, with real processes, sockets, servers and files ------------------------------------------


class _Pages(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/never":
            self.server.gate.wait(60)
            return
        self.send_response(500 if self.path == "/broken" else 200)
        self.end_headers()
        self.wfile.write(b'{"core": {}}')

    def log_message(self, *unused):
        pass


class _Server(HTTPServer):
    def process_request(self, request, client_address):
        threading.Thread(target=self._one, args=(request, client_address), daemon=True).start()

    def _one(self, request, client_address):
        self.finish_request(request, client_address)
        self.shutdown_request(request)


@pytest.fixture
def server():
    server = _Server(("127.0.0.1", 0), _Pages)
    server.gate = threading.Event()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_port
    server.gate.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def deaf():
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(1)
    yield listening.getsockname()[1]
    listening.close()


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Replace programs of the host by scripts; real are only what calls them and how long they may take."""
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", "{0}:{1}".format(directory, os.environ["PATH"]))

    def write(name, script):
        path = directory / name
        path.write_text("#!/bin/sh\n" + script)
        path.chmod(0o755)
        return str(path)

    return write


SHOW = """\
cat <<'END'
MainPID={pid}
NRestarts=0
Result=success
Id=circonus-x.service
LoadState=loaded
ActiveState=active
SubState=running
UnitFileState=enabled
ActiveEnterTimestampMonotonic=1000000

LoadState=not-found
ActiveState=inactive
SubState=dead
END
"""
WATCHDOG = """
import os, signal, sys
def child():
    pid = os.fork()
    if pid == 0:
        signal.pause()
    print(pid, flush=True)
    return pid
while True:
    os.waitpid(child(), 0)
"""


@pytest.fixture
def watchdog():
    parent = subprocess.Popen([sys.executable, "-c", WATCHDOG], stdout=subprocess.PIPE, start_new_session=True)
    yield parent
    os.killpg(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()


def collect(entries, **more):
    return host_check.collect(dict({"entries": entries, "deadline_s": 8.0}, **more))


class TestCollect:
    def test_a_whole_host(self, server, programs, watchdog, tmp_path):
        child = int(watchdog.stdout.readline())
        programs("systemctl", SHOW.format(pid=watchdog.pid))
        (tmp_path / "x.log").write_text("fine\nerror: password=geheim\n")
        site = tmp_path / "site.json"
        site.write_text(json.dumps({"active_datacenter": True, "svclist": {"ca": {"primary": "app1"}}}))
        entry = {
            "name": "x", "log_errors": ["^error"], "logs": [str(tmp_path / "x.log"), str(tmp_path / "y.log")],
            "units": [{"id": "x", "candidates": ["circonus-x"], "ports": [server], "watchdog": True,
                       "life": {"endpoint": "a"}},
                      {"id": "y", "candidates": ["circonus-y"]}],
            "processes": [{"id": "helper", "match": "nothing has this on its command line"}],
            "endpoints": [{"id": "a", "port": server, "path": "/", "sections": ["core", "fire"]},
                          {"id": "b", "port": server, "path": "/broken"}],
            "space": [str(tmp_path)], "pki": {"cert": str(tmp_path / "x.crt")},
        }
        reference = time.time()
        answer = collect([entry], site_path=str(site), paths=["/nowhere"], reference_epoch=reference,
                         clock_offset_s=90.0)
        role = answer["roles"]["x"]
        assert answer["missing"] == {}
        assert [(item["id"], item["unit"], item["up"], item["expected"]) for item in role["units"]] == [
            ("x", "circonus-x", True, "up"), ("y", None, False, "any")]
        assert role["processes"] == [
            {"id": "x", "parent": watchdog.pid, "child": child, "restarts": 0, "ok": True, "detail": ""},
            {"id": "helper", "parent": None, "child": None, "restarts": 0, "ok": False,
             "detail": "expected a process of helper, found none"}]
        found = role["ports"][0]
        assert (found["owner_pid"], found["expected_unit"], found["ok"]) == (os.getpid(), "circonus-x", False)
        assert [(item["status"], item["ok"], item["missing_sections"]) for item in role["endpoints"]] == [
            (200, False, ["fire"]), (500, False, [])]
        assert [item["present"] for item in role["logs"]] == [True, False]
        assert len(role["logs"][0]["errors"]) == 1 and "geheim" not in role["logs"][0]["errors"][0]
        assert role["pki"][0]["present"] is False
        assert answer["space"][0]["free_inodes"] is not None and "no such file" in answer["space"][1]["error"]
        assert answer["site"]["ca_primary"] == "app1"
        assert 89.9 < answer["clock"]["offset_s"] < 95
        assert answer["boot_id"] and answer["host"] == os.uname()[1]
        json.dumps(answer)

    def test_hangs_cost_only_what_hangs(self, server, deaf, programs, tmp_path):
        pids = tmp_path / "pids"
        programs("systemctl", "echo $$ >> {0}\nexec sleep 600\n".format(pids))
        mapper = programs("rabbitmqctl", "echo $$ >> {0}\nsleep 600\n".format(pids))
        os.mkfifo(str(tmp_path / "hung.crt"))
        (tmp_path / "x.log").write_text("x\n")
        entry = {
            "name": "mq", "units": [{"id": "x", "candidates": ["circonus-x"], "watchdog": True}],
            "logs": [str(tmp_path / "x.log")], "ports": [{"port": server, "unit": "x"}],
            "endpoints": [{"id": "deaf", "port": deaf, "path": "/"}, {"id": "never", "port": server, "path": "/never"},
                          {"id": "good", "port": server, "path": "/"}],
            "pki": {"cert": str(tmp_path / "hung.crt"), "key": str(tmp_path / "no.key")}, "space": [str(tmp_path)],
        }
        started = time.time()
        answer = collect([entry], deadline_s=3.0, mq={"command": mapper, "epmd_port": deaf})
        assert time.time() - started < 10
        role = answer["roles"]["mq"]
        assert sorted(answer["missing"]) == ["mq", "units"]
        assert all("2.7 s" in why or "did not end within" in why for why in answer["missing"].values())
        assert (role["units"][0]["present"], role["units"][0]["up"]) == (None, None)
        assert role["processes"][0]["ok"] is None
        assert [item["ok"] for item in role["endpoints"]] == [False, False, True]
        assert "no answer within" in role["endpoints"][0]["error"]
        assert role["logs"][0]["size"] == 2
        assert [item["present"] for item in role["pki"]] == [True, False]
        assert "expected a file" in role["pki"][0]["error"]
        assert answer["space"][0]["error"] == ""
        limit = time.time() + 10
        left = [int(pid) for pid in pids.read_text().split()]
        assert left
        while set(left) & set(host_check_read.processes(short=True)):
            assert time.time() < limit, "a hung program was left behind"
            time.sleep(0.01)

    def test_a_file_system_that_hangs(self, programs, monkeypatch, tmp_path):
        programs("systemctl", SHOW.format(pid=0))
        real = os.statvfs

        def statvfs(path):
            return threading.Event().wait() if path == "/hung" else real(path)

        monkeypatch.setattr(host_check_read.os, "statvfs", statvfs)
        answer = collect([{"name": "x"}], paths=["/hung", str(tmp_path)], deadline_s=1.5)
        assert [item["error"] for item in answer["space"]] == ["no answer within 1.2 s", ""]

    def test_sees_a_child_that_is_replaced(self, watchdog):
        first_child = int(watchdog.stdout.readline())
        first = host_check_read.look_twice([], 0.0)
        os.kill(first_child, signal.SIGKILL)
        second_child = int(watchdog.stdout.readline())
        first["later"] = list(host_check_read.processes(short=True).values())
        members = host_check.same_program(host_check.members_of(first["processes"], None, watchdog.pid), watchdog.pid)
        item = host_check.pair_item("x", members, watchdog.pid, first, True, LIMITS)
        assert (item["child"], item["ok"]) == (first_child, False)
        assert item["detail"].endswith("now it is {0}".format(second_child))

    def test_a_unit_that_does_not_answer_is_not_up(self, server, programs):
        programs("systemctl", SHOW.format(pid=0))
        entry = {"name": "x", "units": [{"id": "x", "candidates": ["circonus-x"], "ports": [server],
                                         "life": {"endpoint": "b"}}],
                 "endpoints": [{"id": "b", "port": server, "path": "/broken"}]}
        unit = collect([entry])["roles"]["x"]["units"][0]
        assert unit["up"] is False and "expected status 200, found 500" in unit["missing"]

    def test_a_role_that_is_kept_stopped(self, programs):
        programs("systemctl", SHOW.format(pid=0))
        entry = {"name": "x", "units": [{"id": "y", "candidates": ["circonus-y2", "circonus-y"], "ports": [1],
                                         "watchdog": True}],
                 "endpoints": [{"id": "b", "port": 1, "path": "/"}]}
        role = collect([entry], expect_stopped=["x"])["roles"]["x"]
        assert role["units"][0]["expected"] == "down"
        assert role["ports"][0]["ok"] is True and role["endpoints"][0]["ok"] is True

    def test_the_status_page_and_the_release(self, server, programs, monkeypatch):
        programs("systemctl", SHOW.format(pid=0))
        version = {"versions": {"circonus-web-service": "0.1.1572639958"}, "owners": {}}
        monkeypatch.setattr(host_check_read, "versions", lambda paths, packages, timeout: version)
        answer = collect([{"name": "web_frontend"}], status_url="http://127.0.0.1:{0}/".format(server))
        assert answer["release"] == "2019-11-04"
        assert answer["roles"]["web_frontend"]["versions"] == {"circonus-web-service": "0.1.1572639958"}
        assert answer["status"]["state"] == "unknown" and answer["status"]["answers"][0]["http_status"] == 200

    def test_is_quick_on_a_healthy_host(self, server, programs):
        programs("systemctl", SHOW.format(pid=0))
        entries = [{"name": "r%d" % number, "units": [{"id": "x", "candidates": ["circonus-x"]}], "endpoints": [
            {"id": str(page), "port": server, "path": "/"} for page in range(4)]} for number in range(5)]
        started = time.time()
        answer = collect(entries)
        assert time.time() - started < 20
        assert all(page["ok"] for role in answer["roles"].values() for page in role["endpoints"])
