# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import copy

import pytest

from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput
from ansible_collections.circonus.inside.plugins.plugin_utils import catalogue

ENTRY = {
    "name": "thing",
    "purpose": "Does things.",
    "user": "circonus",
    "requires": ["mq"],
    "units": [
        {"id": "old", "candidates": ["thing-old"], "until": "2020-01-06", "ports": [81]},
        {"id": "new", "candidates": ["thing-new"], "from": "2019-05-06", "ports": [82], "life": {"endpoint": "page"}},
    ],
    "ports": [
        {"port": 81, "proto": "tcp", "unit": "old", "bind": "any", "clients": ["operators"]},
        {"port": 82, "proto": "tcp", "unit": "new", "bind": "any", "clients": ["mq"]},
        {"port": 83, "proto": "tcp", "unit": "old", "bind": "any", "clients": [], "reserved": True},
    ],
    "endpoints": [
        {"id": "page", "port": 82, "unit": "new", "path": "/<host>", "tls": False, "bind": "any", "status": [200],
         "sections": [], "returns": "a page"},
        {"id": "old_page", "port": 81, "unit": "old", "path": "/", "tls": False, "bind": "any", "status": [200],
         "sections": [], "returns": "a page"},
    ],
    "paths": {"config": ["/etc/thing/<version>"]},
    "logs": ["/var/log/<host>.log"],
    "pki": {"key": "/etc/<host>.key", "from": "2019-05-06"},
    "cron": [{"id": "job", "user": None, "schedule": None, "script": None, "purpose": "works", "from": "2021-02-08"}],
}


@pytest.fixture
def entry():
    return copy.deepcopy(ENTRY)


def broken(entry, path, value):
    """The entry with one value replaced; path: keys and numbers."""
    place = entry
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return entry


class TestEffective:
    def test_an_unknown_release_keeps_everything(self, entry):
        result = catalogue.effective(entry)
        assert [unit["id"] for unit in result["units"]] == ["old", "new"]
        assert result["absent"] is False and len(result["cron"]) == 1

    def test_takes_away_what_the_release_does_not_have(self, entry):
        result = catalogue.effective(entry, "2019-01-14")
        assert [unit["id"] for unit in result["units"]] == ["old"]
        assert result["pki"] == {} and result["cron"] == []

    def test_ports_and_pages_go_with_their_unit(self, entry):
        result = catalogue.effective(entry, "2020-01-06")
        assert [page["id"] for page in result["endpoints"]] == ["page"]
        assert [port["port"] for port in result["ports"]] == [82, 83]

    def test_a_reserved_port_stays_and_need_not_be_open(self, entry):
        held = catalogue.effective(entry, "2020-01-06")["ports"][1]
        assert (held["unit"], held["optional"]) == (None, True)

    def test_replaces_placeholders_everywhere(self, entry):
        result = catalogue.effective(entry, host="app1", version="15")
        assert result["logs"] == ["/var/log/app1.log"] and result["pki"]["key"] == "/etc/app1.key"
        assert result["endpoints"][0]["path"] == "/app1" and result["paths"]["config"] == ["/etc/thing/15"]

    def test_keeps_placeholders_that_nobody_fills(self, entry):
        assert catalogue.effective(entry)["logs"] == ["/var/log/<host>.log"]

    def test_has_every_key_of_the_form(self, entry):
        result = catalogue.effective(entry)
        assert set(result) == set(catalogue.FORM) | {"absent"}
        assert result["consoles"] == [] and result["facts"] == {} and result["connections"] == {"out": [], "in": []}

    def test_a_role_that_the_release_does_not_have_is_absent(self, entry):
        entry["releases"] = {"from": None, "until": "2017-10-26"}
        result = catalogue.effective(entry, "2019-11-04")
        assert result["absent"] is True and [unit["id"] for unit in result["units"]] == ["old", "new"]

    def test_leaves_the_entry_alone(self, entry):
        catalogue.effective(entry, "2020-01-06", "app1", "15")
        assert entry == ENTRY


class TestForRoles:
    def test_keeps_the_order(self):
        assert [entry["name"] for entry in catalogue.for_roles(["mq", "api"], "2019-11-04", "app1")] == ["mq", "api"]

    def test_refuses_an_unknown_role(self):
        with pytest.raises(BadInput, match="Expected a role of the catalogue .*, found 'irc'"):
            catalogue.for_roles(["irc"])


class TestOrderProblems:
    def test_names_an_unknown_role(self):
        assert catalogue.order_problems({"api": {"requires": ["irc"]}}) == [
            "api requires irc, which is no role of the catalogue."]

    def test_names_a_role_that_hooper_installs_later(self):
        entries = {"web_db": {"requires": ["mq"]}, "mq": {"requires": []}}
        assert catalogue.order_problems(entries) == ["web_db requires mq, which Hooper installs after it."]

    def test_names_a_circle(self):
        entries = {"hub": {"requires": ["stratcon"]}, "stratcon": {"requires": ["hub"]}, "mq": {"requires": []}}
        assert catalogue.order_problems(entries) == ["hub, stratcon require each other in a circle."]
        with pytest.raises(BadInput, match="in a circle"):
            catalogue.run_order(entries)


class TestRunOrder:
    def test_stages_then_requires_then_names(self):
        entries = {"zeta": {"requires": []}, "alpha": {"requires": ["zeta"]}, "beta": {"requires": []},
                   "mq": {"requires": []}, "web_db": {"requires": []}}
        assert catalogue.run_order(entries) == ["web_db", "mq", "beta", "zeta", "alpha"]


class TestPortClashes:
    @staticmethod
    def entries(**more):
        port = {"port": 80, "proto": "tcp"}
        return {"one": {"ports": [port]}, "two": {"ports": [dict(port, **more)]}}

    def test_names_port_and_roles(self):
        assert catalogue.port_clashes(["one", "two"], self.entries()) == [
            {"port": 80, "proto": "tcp", "roles": ["one", "two"]}]

    def test_two_protocols_do_not_clash(self):
        assert catalogue.port_clashes(["one", "two"], self.entries(proto="udp")) == []

    def test_a_port_that_may_be_closed_counts_only_when_asked(self):
        assert catalogue.port_clashes(["one", "two"], self.entries(optional=True)) == []
        assert catalogue.port_clashes(["one", "two"], self.entries(optional=True), optional=True)

    def test_a_reserved_port_counts(self):
        assert catalogue.port_clashes(["one", "two"], self.entries(optional=True, reserved=True))

    def test_a_range_never_counts(self):
        entries = self.entries()
        entries["one"]["ports"] = [{"port": "1-90", "proto": "tcp"}]
        assert catalogue.port_clashes(["one", "two"], entries) == []


class TestProblems:
    def test_a_right_entry_has_none(self, entry):
        assert catalogue.problems(entry) == []

    @pytest.mark.parametrize(
        ("path", "value", "said"),
        [
            (["colour"], "red", "the entry: unknown key colour"),
            (["units", 0, "port"], 81, "units[0]: unknown key port"),
            (["units", 0, "ports"], ["81"], "units[0].ports: expected numbers, found ['81']"),
            (["units", 0, "watchdog"], "yes", "units[0].watchdog: expected flag, found 'yes'"),
            (["units", 1, "life"], {"log": {"file": "/a"}}, "units[1].life.log: expected a key pattern"),
            (["ports", 0, "proto"], "sctp", "ports[0].proto: expected tcp|udp, found 'sctp'"),
            (["ports", 0, "port"], 70000, "ports[0].port: expected port, found 70000"),
            (["passive"], "off", "passive: expected stopped|running, found 'off'"),
            (["units", 0, "until"], "2020", "units[0].until: expected date, found '2020'"),
            (["purpose"], "{{ x }}", "purpose: expected text"),
            (["paths"], [], "paths: expected a mapping, found list"),
            (["units"], {}, "units: expected a list, found dict"),
        ],
    )
    def test_names_the_place_of_a_misfit(self, entry, path, value, said):
        found = catalogue.problems(broken(entry, path, value))
        assert len(found) == 1 and found[0].startswith("thing: " + said)

    @pytest.mark.parametrize("key", ["name", "purpose", "user", "requires"])
    def test_names_a_key_that_is_missing(self, entry, key):
        del entry[key]
        assert any("expected a key %s" % key in problem for problem in catalogue.problems(entry))

    @pytest.mark.parametrize(
        ("path", "value", "said"),
        [
            (["units", 1, "id"], "old", "units: the id old is there twice"),
            (["units", 0, "candidates"], [], "units.old: expected at least one candidate"),
            (["units", 0, "ports"], [99], "units.old: port 99 is not in ports"),
            (["units", 0, "alternative_to"], "other", "units.old: alternative_to other is no unit"),
            (["units", 1, "life"], {"endpoint": "none"}, "units.new: life.endpoint none is no endpoint"),
            (["units", 1, "life"], {"log": {"file": "/a", "pattern": "("}}, "units.new: life.log.pattern '('"),
            (["ports", 0, "unit"], "other", "ports.81: unit other is neither"),
            (["ports", 0, "clients"], ["martians"], "ports.81: client martians is neither"),
            (["endpoints", 0, "port"], 99, "endpoints.page: port 99 is not in ports"),
            (["endpoints", 0, "unit"], "other", "endpoints.page: unit other is neither"),
            (["requires"], ["irc"], "irc is no role"),
            (["log_errors"], ["("], "log_errors: '(' is no regular expression"),
            (["processes"], [{"id": "p", "match": "p", "port": 99}], "processes.p: port 99 is not in ports"),
            (["history"], {"lately": "it changed"}, "history: expected a release"),
            (["pki"], {"from": "2020-01-06", "until": "2019-05-06"}, "pki: from 2020-01-06 is not before until"),
        ],
    )
    def test_names_what_leads_nowhere(self, entry, path, value, said):
        found = catalogue.problems(broken(entry, path, value))
        assert any(problem.startswith("thing: " + said) for problem in found), found

    def test_something_else_than_a_mapping(self):
        assert catalogue.problems(["units"]) == ["Expected a catalogue entry as a mapping, found list."]
