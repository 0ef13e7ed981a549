# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import copy
import os
import socket
import threading

import pytest

from ansible_collections.circonus.inside.plugins.module_utils import service, unit_state
from ansible_collections.circonus.inside.plugins.module_utils.errors import (
    BadInput,
    CommandFailed,
    InsideError,
    TimedOut,
)

ENTRY = {
    "name": "mq",
    "units": [
        {"id": "epmd", "candidates": ["circonus-epmd"], "ports": [4369], "required": True},
        {"id": "rabbitmq", "candidates": ["circonus-rabbitmq-new", "circonus-rabbitmq"], "ports": [5672]},
        {"id": "fq", "candidates": ["circonus-fq"]},
    ],
}


class Systemd:
    """A systemd of dictionaries. ``stubborn`` units stay as they are, whatever is asked."""

    def __init__(self, units, stubborn=(), refuse=()):
        self.units = {name: {"active": active, "enabled": "enabled"} for name, active in units.items()}
        self.stubborn, self.refuse, self.calls = stubborn, refuse, []

    def __call__(self, argv, timeout=None):
        if argv[0] == "journalctl":
            return 0, "first line\nout of memory\n", ""
        verb = argv[1]
        names = [name[: -len(".service")] for name in argv[2:] if name.endswith(".service")]
        if verb == "show":
            return 0, "\n\n".join(self._show(name) for name in names) + "\n", ""
        self.calls.append(verb + " " + names[0])
        if names[0] in self.refuse:
            return 1, "", "Job failed.\n"
        if verb in ("enable", "disable"):
            self.units[names[0]]["enabled"] = verb + "d"
        elif names[0] not in self.stubborn:
            self.units[names[0]]["active"] = "active" if verb == "start" else "inactive"
        return 0, "", ""

    def _show(self, name):
        unit = self.units.get(name)
        if unit is None:
            return "Id=%s.service\nLoadState=not-found\nActiveState=inactive\nSubState=dead\nMainPID=0" % name
        return "Id=%s.service\nLoadState=loaded\nActiveState=%s\nSubState=running\nMainPID=7\nUnitFileState=%s" % (
            name,
            unit["active"],
            unit["enabled"],
        )

    def ports(self):
        table = {"circonus-epmd": 4369, "circonus-rabbitmq": 5672}
        return {port for name, port in table.items() if self.units.get(name, {}).get("active") == "active"}


def operate(systemd, verb, **options):
    options.setdefault("timeout", 0.3)
    return service.operate(ENTRY, verb, runner=systemd, ports_reader=systemd.ports, **options)


class TestForeignPort:
    """A port that somebody else holds looks like a sign of life."""

    def test_is_not_taken_for_a_unit_that_starts(self):
        systemd = Systemd({"circonus-epmd": "active", "circonus-rabbitmq": "inactive"})
        with pytest.raises(CommandFailed, match="another process still listens on 5672 .ss -ltnp shows which."):
            service.operate(ENTRY, "start", runner=systemd, ports_reader=lambda: {4369, 5672}, timeout=0.3)
        assert systemd.calls == []

    def test_of_a_sibling_that_runs_is_none(self):
        entry = copy.deepcopy(ENTRY)
        entry["units"][1]["ports"] = [4369]
        systemd = Systemd({"circonus-epmd": "active", "circonus-rabbitmq": "inactive"})
        service.operate(entry, "start", runner=systemd, ports_reader=systemd.ports, timeout=0.3)
        assert systemd.calls == ["start circonus-rabbitmq"]


class TestResolve:
    def test_takes_the_first_candidate_that_exists(self):
        systemd = Systemd({"circonus-epmd": "active", "circonus-rabbitmq": "active"})
        states = unit_state.show_units(unit_state.names_of(ENTRY), systemd)
        assert [unit["unit"] for unit in service.resolve(ENTRY, states)] == ["circonus-epmd", "circonus-rabbitmq"]

    def test_a_missing_required_unit_is_one_line(self):
        with pytest.raises(InsideError, match="Expected the unit circonus-epmd of mq"):
            service.resolve(ENTRY, {})

    def test_an_unknown_id_is_refused(self):
        with pytest.raises(BadInput, match="expected one of epmd, rabbitmq, fq"):
            service.resolve(ENTRY, {}, ["beam"])


class TestOperate:
    def test_restart_stops_in_reverse_and_starts_in_order(self):
        systemd = Systemd({"circonus-epmd": "active", "circonus-rabbitmq": "active"})
        result = operate(systemd, "restart")
        assert systemd.calls == [
            "stop circonus-rabbitmq",
            "stop circonus-epmd",
            "start circonus-epmd",
            "start circonus-rabbitmq",
        ]
        assert result["changed"] and result["absent"] == ["fq"] and all(unit["up"] for unit in result["units"])

    def test_start_touches_only_what_is_down(self):
        systemd = Systemd({"circonus-epmd": "active", "circonus-rabbitmq": "failed"})
        operate(systemd, "start")
        assert systemd.calls == ["start circonus-rabbitmq"]
        assert operate(systemd, "start")["changed"] is False

    def test_stop_and_disable_is_idempotent(self):
        systemd = Systemd({"circonus-epmd": "active", "circonus-rabbitmq": "active"})
        operate(systemd, "stop", enabled=False, only=["rabbitmq"])
        assert systemd.calls == ["stop circonus-rabbitmq", "disable circonus-rabbitmq"]
        assert operate(systemd, "stop", enabled=False, only=["rabbitmq"])["changed"] is False

    def test_check_mode_acts_on_nothing(self):
        systemd = Systemd({"circonus-epmd": "active", "circonus-rabbitmq": "active"})
        result = operate(systemd, "restart", check_mode=True)
        assert systemd.calls == [] and result["changed"] and len(result["actions"]) == 4

    def test_keeps_stopped_what_must_stay_stopped(self):
        systemd = Systemd({"circonus-epmd": "inactive", "circonus-rabbitmq": "inactive"})
        operate(systemd, "restart", keep_stopped=["rabbitmq"])
        assert systemd.calls == ["start circonus-epmd"]

    def test_names_what_does_not_come_up_with_its_last_lines(self):
        systemd = Systemd({"circonus-epmd": "active", "circonus-rabbitmq": "inactive"}, stubborn=["circonus-rabbitmq"])
        with pytest.raises(TimedOut) as caught:
            operate(systemd, "start")
        assert "circonus-rabbitmq of mq is inactive" in str(caught.value) and "out of memory" in str(caught.value)

    def test_an_active_unit_without_its_port_is_not_up(self):
        systemd = Systemd({"circonus-epmd": "active", "circonus-rabbitmq": "inactive"})
        with pytest.raises(TimedOut, match="does not listen on 5672"):
            service.operate(ENTRY, "start", runner=systemd, ports_reader=lambda: {4369}, timeout=0.3)

    def test_stops_at_the_first_refusal(self):
        systemd = Systemd({"circonus-epmd": "inactive", "circonus-rabbitmq": "inactive"}, refuse=["circonus-epmd"])
        with pytest.raises(CommandFailed, match="could not be started. Job failed. It said"):
            operate(systemd, "start")
        assert systemd.calls == ["start circonus-epmd"]

    def test_check_fails_for_what_is_down_and_accepts_what_should_be(self):
        systemd = Systemd({"circonus-epmd": "active", "circonus-rabbitmq": "inactive"})
        with pytest.raises(InsideError, match="circonus-rabbitmq of mq is inactive"):
            operate(systemd, "check")
        assert operate(systemd, "check", expect="any")["changed"] is False
        with pytest.raises(InsideError, match="expected it to be stopped"):
            operate(systemd, "check", expect="down")

    def test_does_not_enable_what_the_operator_disabled(self):
        entry = {"name": "hub", "units": [{"id": "old", "candidates": ["circonus-old"], "enabled_only": True}]}
        systemd = Systemd({"circonus-old": "inactive"})
        systemd.units["circonus-old"]["enabled"] = "disabled"
        service.operate(entry, "start", enabled=True, runner=systemd, ports_reader=set)
        assert systemd.calls == []

    def test_does_not_start_what_the_operator_disabled(self):
        entry = {"name": "hub", "units": [{"id": "old", "candidates": ["circonus-old"], "enabled_only": True}]}
        systemd = Systemd({"circonus-old": "inactive"})
        systemd.units["circonus-old"]["enabled"] = "disabled"
        assert service.operate(entry, "restart", runner=systemd, ports_reader=set)["changed"] is False


def mq(**unit):
    """An entry with one unit and whatever a test adds to it."""
    page = {"id": "page", "port": 8084, "path": "/resmon", "status": [200]}
    return {
        "name": "notification",
        "passive": "stopped",
        "units": [dict({"id": "bert", "candidates": ["circonus-bert"]}, **unit)],
        "endpoints": [page],
    }


def one(entry, verb, active="inactive", **options):
    systemd = Systemd({"circonus-bert": active})
    options.setdefault("timeout", 0.3)
    options.setdefault("ports_reader", set)
    return service.operate(entry, verb, runner=systemd, **options), systemd


class TestSignsOfLife:
    def test_a_start_waits_for_the_page(self):
        answers = [{"status": None, "error": "refused"}, {"status": 503, "error": ""}, {"status": 200, "error": ""}]
        result, _unused = one(
            mq(life={"endpoint": "page"}), "start", timeout=5, endpoint_reader=lambda *unused: answers.pop(0)
        )
        assert answers == [] and result["state"] == "up"

    def test_a_page_that_answers_wrongly_is_named(self):
        with pytest.raises(TimedOut, match="answers HTTP 503 on http://127.0.0.1:8084/resmon, expected HTTP 200"):
            one(mq(life={"endpoint": "page"}), "start", endpoint_reader=lambda *unused: {"status": 503, "error": ""})

    def test_a_check_asks_the_page_too(self):
        with pytest.raises(InsideError, match="answers refused on"):
            one(
                mq(life={"endpoint": "page"}),
                "check",
                active="active",
                endpoint_reader=lambda *unused: {"status": None, "error": "refused"},
            )

    def test_only_a_line_after_the_start_counts(self, tmp_path):
        log = tmp_path / "bert.log"
        log.write_text("ready\n")
        life = {"log": {"file": str(log), "pattern": "^ready$"}}
        with pytest.raises(TimedOut, match="has written 0 of 1 lines like '\\^ready\\$' to"):
            one(mq(life=life), "start")
        writer = threading.Timer(0.2, lambda: log.open("a").write("ready\n"))
        writer.start()
        assert one(mq(life=life), "start", timeout=5)[0]["state"] == "up"
        writer.join()

    def test_every_thread_writes_its_line(self, tmp_path):
        log = tmp_path / "error.log"
        log.write_text("")
        life = {"log": {"file": str(log), "pattern": "completed", "count": 2}}

        class Writes(Systemd):
            lines = 1

            def __call__(self, argv, timeout=None):
                if argv[1] == "start":
                    with log.open("a") as handle:
                        handle.write("completed\n" * self.lines)
                return super(Writes, self).__call__(argv, timeout)

        systemd = Writes({"circonus-bert": "inactive"})
        with pytest.raises(TimedOut, match="has written 1 of 2 lines"):
            service.operate(mq(life=life), "start", runner=systemd, ports_reader=set, timeout=0.3)
        systemd = Writes({"circonus-bert": "inactive"})
        systemd.lines = 2
        assert service.operate(mq(life=life), "start", runner=systemd, ports_reader=set, timeout=0.3)["changed"]

    def test_a_rotated_log_is_read_from_its_begin(self, tmp_path):
        log = tmp_path / "bert.log"
        log.write_text("a long old line\n")
        mark = service.log_mark(str(log))
        os.rename(str(log), str(log) + ".1")
        log.write_text("ready\n")
        assert service.written_since(str(log), mark, "ready")
        assert not service.written_since(str(log), service.log_mark(str(log)), "ready")

    def test_a_unit_has_its_own_seconds(self):
        with pytest.raises(TimedOut, match="does not listen on 8084 at the deadline, 0 s"):
            one(mq(ports=[8084], life={"seconds": 0.2}), "start", timeout=60)

    def test_a_hanging_systemctl_is_named_with_the_log(self):
        class Hangs(Systemd):
            def __call__(self, argv, timeout=None):
                if argv[1] == "start":
                    raise TimedOut("systemctl start did not end")
                return super(Hangs, self).__call__(argv, timeout)

        with pytest.raises(TimedOut, match="circonus-bert of notification could not be started within 0 s. It said"):
            service.operate(mq(), "start", runner=Hangs({"circonus-bert": "inactive"}), ports_reader=set, timeout=0.3)

    def test_a_stop_waits_for_the_port(self):
        with pytest.raises(TimedOut, match="is down, but another process still listens on 8084"):
            one(mq(ports=[8084]), "stop", active="active", ports_reader=lambda: {8084})

    def test_a_port_of_a_running_sibling_does_not_count(self):
        states = {"a": {"active": "inactive"}}
        assert service.is_down({"unit": "a", "ports": [80]}, states, {80}, [80]) is None

    def test_a_pattern_that_is_none_is_refused(self):
        with pytest.raises(BadInput, match="life.log.pattern of bert"):
            one(mq(life={"log": {"file": "/x", "pattern": "("}}), "start")


class TestHttpStatus:
    def test_answer_refusal_and_silence(self):
        with socket.socket() as server:
            server.bind(("127.0.0.1", 0))
            server.listen(2)
            endpoint = {"port": server.getsockname()[1], "path": "/x"}
            assert service.http_status(endpoint, 0.2)["status"] is None

            def answer():
                for _unused in range(2):  # the first one is the connection of the call above
                    peer = server.accept()[0]
                    peer.sendall(b"HTTP/1.0 401 No\r\n\r\n")
                    peer.close()

            thread = threading.Thread(target=answer)
            thread.start()
            assert service.http_status(endpoint, 5)["status"] == 401
            thread.join()
        assert "refused" in service.http_status(endpoint, 0.2)["error"]


class TestRelease:
    def test_a_role_that_is_gone_is_absent_and_no_failure(self):
        entry = dict(mq(required=True), releases={"from": None, "until": "2017-10-26"})
        result, systemd = one(entry, "restart", active="active", release="2019-11-04")
        assert (result["state"], result["changed"], systemd.calls) == ("absent", False, [])
        assert result["msg"] == "notification is absent: release 2019-11-04 does not have it (until 2017-10-26)."

    def test_a_unit_that_is_gone_may_be_named(self):
        entry = mq()
        entry["units"].append({"id": "irc", "candidates": ["circonus-bert-irc-bot"], "until": "2020-05-04"})
        result, unused = one(entry, "start", only=["irc"], release="2020-05-04")
        assert result["absent"] == ["irc"] and result["state"] == "absent"

    def test_a_host_without_any_unit_is_absent(self):
        result = service.operate(mq(), "check", runner=Systemd({}), ports_reader=set)
        assert result["state"] == "absent" and result["msg"] == "notification: bert absent."

    def test_fills_in_the_host_and_leaves_the_entry_alone(self):
        entry = dict(mq(), pki={"cert": "/ssl/<host>.crt"})
        assert service.effective(entry, None, "app1")["pki"]["cert"] == "/ssl/app1.crt"
        assert entry["pki"]["cert"] == "/ssl/<host>.crt"

    def test_leaves_out_the_pki_of_what_a_release_no_longer_has(self):
        entry = {"name": "x", "units": [{"id": "a", "candidates": ["a"]}],
                 "pki": {"until": "2020-10-19", "cert": "/etc/a.crt"}}
        assert service.effective(entry, "2020-10-05")["pki"]["cert"] == "/etc/a.crt"
        assert service.effective(entry, "2020-11-02")["pki"] == {}

    def test_an_endpoint_that_is_gone_is_no_sign(self):
        entry = mq(life={"endpoint": "page"})
        entry["endpoints"][0]["until"] = "2019-01-01"
        result, unused = one(entry, "start", release="2019-11-04", endpoint_reader=lambda *unused: {"status": 0})
        assert result["state"] == "up"

    def test_an_alternative_replaces_a_required_unit(self):
        entry = {
            "name": "fault_detection",
            "units": [
                {"id": "ernie", "candidates": ["circonus-ernie"], "required": True},
                {"id": "faultd", "candidates": ["circonus-fault-detection"], "alternative_to": "ernie"},
            ],
        }
        result = service.operate(
            entry, "start", runner=Systemd({"circonus-fault-detection": "inactive"}), ports_reader=set
        )
        assert result["started"] == ["faultd"] and result["absent"] == ["ernie"]


class TestPatterns:
    ENTRY = {
        "name": "hub",
        "units": [{"id": "queue", "candidates": ["circonus-queue"], "patterns": ["circonus-queue*"]}],
    }

    def test_every_unit_of_the_host_that_matches_counts(self):
        class Lists(Systemd):
            def __call__(self, argv, timeout=None):
                if argv[1] == "list-unit-files":
                    return 0, "".join("%s.service enabled\n" % name for name in sorted(self.units)), ""
                return super(Lists, self).__call__(argv, timeout)

        systemd = Lists({"circonus-queue1": "inactive", "circonus-queue1-low": "active", "circonus-other": "active"})
        result = service.operate(self.ENTRY, "start", only=["queue"], runner=systemd, ports_reader=set)
        assert systemd.calls == ["start circonus-queue1"] and result["absent"] == []
        assert [unit["unit"] for unit in result["units"]] == ["circonus-queue1", "circonus-queue1-low"]

    def test_without_a_match_the_candidates_stay(self):
        assert service.expand(self.ENTRY, ["circonus-other"]) == self.ENTRY


class TestStandby:
    def test_nothing_is_started_in_a_passive_datacenter(self):
        result, systemd = one(mq(), "start", standby=True)
        assert systemd.calls == [] and result["msg"] == "notification: bert kept stopped."
        result, systemd = one(mq(), "restart", active="active", standby=True)
        assert systemd.calls == ["stop circonus-bert"]

    def test_a_check_wants_it_down(self):
        assert one(mq(), "check", standby=True)[0]["state"] == "down"
        with pytest.raises(InsideError, match="expected it to be stopped"):
            one(mq(), "check", active="active", standby=True)

    def test_other_components_run_there(self):
        entry = dict(mq(), passive="running")
        assert one(entry, "start", standby=True)[1].calls == ["start circonus-bert"]


class TestAsEntry:
    def test_accepts_names_and_descriptions(self):
        entry = service.as_entry(["circonus-bert", {"id": "x", "candidates": ["y"]}], "notification")
        assert unit_state.names_of(entry) == ["circonus-bert", "y"]
