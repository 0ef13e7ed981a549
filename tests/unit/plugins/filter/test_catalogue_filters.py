# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.circonus.inside.plugins.filter import catalogue, operator_files

FILTERS = dict(catalogue.FilterModule().filters(), **operator_files.FilterModule().filters())


class TestRoleUnits:
    def test_keeps_the_start_order(self):
        assert FILTERS["role_units"](["mq", "ca"])[:3] == ["circonus-epmd", "circonus-rabbitmq", "circonus-fq"]


class TestRoleService:
    def test_returns_the_entry(self):
        assert FILTERS["role_service"]("mq")["name"] == "mq"


class TestRoleEntries:
    def test_returns_what_holds_for_release_and_host(self):
        entry = FILTERS["role_entries"](["fault_detection", "hub"], "2021-01-11", "app1")
        assert [unit["id"] for unit in entry[0]["units"]] == ["faultd"]
        assert entry[1]["pki"]["cert"] == "/www/etc/ssl/app1.crt"

    @pytest.mark.parametrize(("roles", "release"), [(["irc"], None), (["mq"], "soon")])
    def test_an_error_is_one_line(self, roles, release):
        with pytest.raises(AnsibleFilterError, match="^Expected a r[^\n]*$"):
            FILTERS["role_entries"](roles, release)


class TestRoleProblems:
    def test_says_what_is_wrong(self):
        found = FILTERS["role_problems"](dict(FILTERS["role_service"]("mq"), colour="red"))
        assert len(found) == 1 and found[0].startswith("mq: the entry: unknown key colour")


class TestOperatorFiles:
    @pytest.mark.parametrize(
        ("name", "args"),
        [
            ("file_lines", ({"a b": 1}, "=")),
            ("licenses_conf", ("<a>",)),
            ("caql_broker_conf", ({"mq": {}},)),
            ("retention_rule", ("/etc", 3)),
        ],
    )
    def test_an_error_is_one_line(self, name, args):
        with pytest.raises(AnsibleFilterError, match="^Expected [^\n]*$"):
            FILTERS[name](*args)

    def test_values_pass_through(self):
        assert FILTERS["file_lines"]({"a": 1}, "=") == ["a=1"]
