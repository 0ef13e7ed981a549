# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import pytest

from ansible_collections.circonus.inside.plugins.module_utils import service
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


class TestParseShow:
    def test_keeps_the_order_of_the_names_and_computes_the_start(self):
        text = (
            "Id=a.service\nLoadState=loaded\nActiveState=active\nSubState=running\nMainPID=12\n"
            "ActiveEnterTimestampMonotonic=5000000\nNRestarts=2\n\n"
            "Id=b.service\nLoadState=not-found\nActiveState=inactive\nSubState=dead\nMainPID=0\n"
        )
        found = service.parse_show(text, ["a", "alias-of-b"], wall=1000.0, monotonic=10.0)
        facts = [found["a"][key] for key in ("exists", "pid", "restarts", "since_epoch")]
        assert facts == [True, 12, 2, 995.0]
        assert found["alias-of-b"]["exists"] is False and found["alias-of-b"]["since_epoch"] is None

    def test_a_name_without_an_answer_does_not_exist(self):
        assert service.parse_show("", ["a"])["a"]["exists"] is False


class TestParseUnitFiles:
    def test_takes_services_and_no_templates(self):
        lines = (
            "circonus-b.service  enabled enabled",
            "circonus-a.service disabled",
            "circonus-t@.service static",
            "x.timer enabled",
            "",
            "",
        )
        assert service.parse_unit_files("\n".join(lines)) == ["circonus-a", "circonus-b"]


class TestParseListeners:
    def test_takes_listeners_only(self):
        table = "\n".join(
            (
                "  sl  local_address rem_address   st tx_queue",
                "   0: 0100007F:1628 00000000:0000 0A 00000000:00000000",
                "   1: 0100007F:1629 0100007F:1628 01 00000000:00000000",
                "   2: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 0",
            )
        )
        assert service.parse_listeners(table) == {0x1628, 0x50}


class TestResolve:
    def test_takes_the_first_candidate_that_exists(self):
        systemd = Systemd({"circonus-epmd": "active", "circonus-rabbitmq": "active"})
        states = service.show_units(service.names_of(ENTRY), systemd)
        assert [unit["unit"] for unit in service.resolve(ENTRY, states)] == ["circonus-epmd", "circonus-rabbitmq"]

    def test_a_missing_required_unit_is_one_line(self):
        with pytest.raises(InsideError, match="Expected the unit circonus-epmd of mq"):
            service.resolve(ENTRY, {})

    def test_an_unknown_id_is_refused(self):
        with pytest.raises(BadInput, match="expected one of epmd, rabbitmq, fq"):
            service.resolve(ENTRY, {}, ["beam"])

    @pytest.mark.parametrize("wrong", [None, {}, {"units": {}}, {"units": [{"id": "a"}]}, {"units": ["a"]}])
    def test_a_malformed_entry_is_refused(self, wrong):
        with pytest.raises(BadInput):
            service.names_of(wrong)


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

    def test_does_not_start_what_the_operator_disabled(self):
        entry = {"name": "hub", "units": [{"id": "old", "candidates": ["circonus-old"], "enabled_only": True}]}
        systemd = Systemd({"circonus-old": "inactive"})
        systemd.units["circonus-old"]["enabled"] = "disabled"
        assert service.operate(entry, "restart", runner=systemd, ports_reader=set)["changed"] is False


class TestAsEntry:
    def test_accepts_names_and_descriptions(self):
        entry = service.as_entry(["circonus-bert", {"id": "x", "candidates": ["y"]}], "notification")
        assert service.names_of(entry) == ["circonus-bert", "y"]
