# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Order of the roles, and which of them may share a host."""

from __future__ import annotations

import pathlib

import pytest
import yaml

from ansible_collections.circonus.inside.plugins.plugin_utils import catalogue, site_data

ENTRIES = catalogue.load()
# Layouts that the vendor's documentation recommends: roles of one host each.
LEGAL = [
    ("small 1", "ca fault_detection mq web_db web_frontend"),
    ("small 2", "api caql_broker notification"),
    ("small 3", "stratcon hub web_stream"),
    ("medium 1", "ca mq web_db"),
    ("medium 2", "caql_broker web_frontend web_stream"),
    ("medium 3", "hub stratcon"),
    ("medium 4", "api fault_detection"),
    ("medium 6", "api notification"),
    ("medium 7", "web_frontend web_stream"),
    ("storage", "data_storage"),
    ("field", "broker"),
]


class TestOrder:
    def test_requires_agree_with_the_order_of_hooper(self):
        assert catalogue.order_problems(ENTRIES) == []

    def test_every_role_stands_after_what_it_needs(self):
        order = catalogue.run_order()
        assert sorted(order) == sorted(ENTRIES)
        for role in order:
            assert set(ENTRIES[role]["requires"]) <= set(order[: order.index(role)])

    def test_begins_with_the_stages_of_hooper(self):
        assert tuple(catalogue.run_order()[: len(site_data.STAGES)]) == site_data.STAGES

    def test_the_playbook_of_all_roles_keeps_it(self):
        path = pathlib.Path(catalogue.ROLES).parent / "playbooks/site.yml"
        if not path.exists():
            pytest.skip("no playbook for all roles yet")
        plays = yaml.safe_load(path.read_text(encoding="utf-8"))
        named = [role if isinstance(role, str) else role["role"] for play in plays for role in play.get("roles", [])]
        order = [role[len("circonus.inside.") :] for role in named]
        assert sorted(order) == sorted(ENTRIES)
        for role in order:
            assert set(ENTRIES[role]["requires"]) <= set(order[: order.index(role)])

    @pytest.mark.parametrize("trigger", ["web_db", "mq"])
    @pytest.mark.parametrize("edition", ["2019", "later"])
    def test_restart_chains_name_roles_and_units_that_exist(self, trigger, edition):
        for link in catalogue.chain(trigger, edition):
            units = {unit["id"] for unit in ENTRIES[link["role"]]["units"]}
            assert set(link.get("only", [])) <= units


class TestPorts:
    @pytest.mark.parametrize(("name", "roles"), LEGAL)
    def test_do_not_clash_in_a_recommended_layout(self, name, roles):
        assert catalogue.port_clashes(roles.split()) == []

    @pytest.mark.parametrize(
        ("role", "other", "port", "basis"),
        [(role, item["role"], item["port"], item["basis"]) for role, entry in ENTRIES.items()
         for item in entry.get("conflicts", [])],
    )
    def test_clash_where_the_data_names_a_conflict(self, role, other, port, basis):
        clashes = catalogue.port_clashes([role, other], optional=basis == "derived")
        assert port in [clash["port"] for clash in clashes]

    def test_every_clash_is_named_as_a_conflict(self):
        named = {(frozenset((role, item["role"])), item["port"]) for role, entry in ENTRIES.items()
                 for item in entry.get("conflicts", [])}
        for clash in catalogue.port_clashes(list(ENTRIES)):
            assert (frozenset(clash["roles"]), clash["port"]) in named

    def test_the_conflicts_that_hooper_checks(self):
        documented = {(role, item["role"], item["port"]) for role, entry in ENTRIES.items()
                      for item in entry.get("conflicts", []) if item["basis"] == "documented"}
        trio = ("caql_broker", "fault_detection", "stratcon")
        wanted = {(one, other, 43191) for one in trio for other in trio if one != other}
        assert documented >= wanted | {("api", "web_frontend", 8080), ("web_frontend", "api", 8080)}


class TestAlone:
    """Each role has a scenario of its own, whose playbook is what an operator would write."""

    @pytest.mark.parametrize("role", list(ENTRIES))
    def test_has_a_scenario(self, role):
        folder = pathlib.Path(catalogue.ROLES).parent / "molecule" / ("role_" + role)
        scenario = yaml.safe_load((folder / "molecule.yml").read_text(encoding="utf-8"))
        (play,) = yaml.safe_load((folder / "converge.yml").read_text(encoding="utf-8"))
        assert play["roles"] == ["circonus.inside." + role]
        assert scenario["driver"] == {"name": "default"} and scenario["provisioner"]["env"]["CIRCONUS_ROLE"] == role
        assert "destroy" not in scenario["scenario"]["test_sequence"]

    def test_no_scenario_is_of_a_role_that_is_gone(self):
        folders = (pathlib.Path(catalogue.ROLES).parent / "molecule").glob("role_*")
        assert {folder.name for folder in folders} == {"role_" + role for role in ENTRIES}
