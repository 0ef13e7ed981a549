"""Addresses, routes and names of a lab: pure functions of LAB_NET and the hosts."""

import json
import os

import pytest
from lablib import LabError, layout, paths


def host(name, address, order=1, roles=("web_db",)):
    return layout.Host(name, name.split("-")[0], address, None, list(roles), order, "site.json")


def pair(net="10.89.100"):
    third = int(net.rsplit(".", 1)[1])
    return layout.Plan(
        net, [host("east-app1", "10.89.%d.11" % (third + 1)), host("west-app1", "10.89.%d.11" % (third + 2))]
    )


class TestPlan:
    def test_service_leg_keeps_the_last_number_and_moves_the_second_site_by_a_hundred(self):
        assert [h.service for h in pair().hosts] == ["10.89.103.11", "10.89.103.111"]

    def test_everything_follows_the_prefix(self):
        plan = pair("10.89.120")
        assert plan.subnets() == {"east": "10.89.121.0/24", "west": "10.89.122.0/24", "service": "10.89.123.0/24"}
        assert plan.client_address == "10.89.123.200/24"

    def test_host_reaches_the_other_site_through_its_own_site_leg(self):
        plan = pair()
        assert "route replace 10.89.102.0/24 via 10.89.101.254 dev site0" in plan.host_routes(plan.hosts[0])

    def test_answers_leave_by_the_leg_they_came_in(self):
        plan = pair()
        routes = plan.host_routes(plan.hosts[1])
        assert "rule add pref 100 from 10.89.102.11 table 100" in routes
        assert "route replace default via 10.89.102.254 dev site0 table 100" in routes

    def test_a_second_boot_in_the_same_network_finds_it_as_the_first_one_did(self):
        lines = pair().host_routes(pair().hosts[0]).splitlines()
        assert lines[:2] == ["address flush dev svc0 secondary", "rule flush table 100"]
        assert all(" replace " in line or line.startswith("rule add pref 100") for line in lines[2:])

    def test_one_site_alone_works(self):
        plan = layout.Plan("10.89.100", [host("app1", "10.89.101.11")])
        assert list(plan.subnets()) == ["app1", "service"]

    def test_refuses_an_address_outside_the_site_network(self):
        with pytest.raises(LabError, match="lives? in 10.89.101.0/24"):
            layout.Plan("10.89.100", [host("east-app1", "192.0.2.1")])

    def test_refuses_an_address_whose_service_leg_would_clash(self):
        with pytest.raises(LabError, match="11 to 89"):
            layout.Plan("10.89.100", [host("east-app1", "10.89.101.200")])

    def test_refuses_a_third_site(self):
        hosts = [host("%s-a" % site, "10.89.%d.11" % number) for number, site in enumerate("abc", 101)]
        with pytest.raises(LabError, match="two sites"):
            layout.Plan("10.89.100", hosts)


def test_a_leg_has_the_same_hardware_address_at_every_start():
    assert layout.hardware_address("10.89.101.33") == "02:42:0a:59:65:21"


class TestCopyInventory:
    def test_moves_addresses_to_the_prefix_and_leaves_others(self, tmp_path, monkeypatch):
        monkeypatch.setattr(paths, "CACHE", str(tmp_path / "cache"))
        source = tmp_path / "source"
        source.mkdir()
        (source / "x.site.yml").write_text("a: 10.89.101.41\nb: 10.89.104.1\nc: 192.0.2.1\nd: 110.89.101.1\n")
        (source / "site.json").write_text('"10.89.103.0/24"\n')
        project = paths.Project("labtest")
        layout.copy_inventory(str(source), project, "10.89.200")
        copy = tmp_path / "cache" / "labtest" / "inventory"
        assert (copy / "x.site.yml").read_text() == "a: 10.89.201.41\nb: 10.89.104.1\nc: 192.0.2.1\nd: 110.89.101.1\n"
        assert (copy / "site.json").read_text() == '"10.89.203.0/24"\n'

    def test_says_what_is_missing(self, tmp_path):
        with pytest.raises(LabError, match="does not exist"):
            layout.copy_inventory(str(tmp_path / "none"), paths.Project("labtest"), "10.89.100")
        with pytest.raises(LabError, match="expected one"):
            layout.copy_inventory(str(tmp_path), paths.Project("labtest"), "10.89.100")


class TestProject:
    @pytest.mark.parametrize("name", ["Upper", "a-b", "1st", "a" * 33])
    def test_refuses_names_that_podman_or_a_path_would_not_like(self, name):
        with pytest.raises(LabError, match="LAB_PROJECT"):
            paths.Project(name)


class TestPlain:
    def test_unwraps_marked_strings_only(self):
        assert layout.plain({"__ansible_unsafe": "x"}) == "x"
        assert layout.plain({"a": 1}) == {"a": 1}


class TestAdditionsOfAnEdition:
    SOURCE = os.path.join(os.path.dirname(__file__), "..", "..", "..", "..", "inventories", "lab")

    class Project:
        def __init__(self, place):
            self.inventory = str(place)

    def roles(self, tmp_path, edition):
        layout.copy_inventory(self.SOURCE, self.Project(tmp_path / edition), "10.89.100", edition)
        with open(tmp_path / edition / "site.east.json", encoding="utf-8") as stream:
            return json.load(stream)["svclist"]

    def test_bring_the_roles_that_only_it_has(self, tmp_path):
        assert {"redis", "search"} <= set(self.roles(tmp_path, "2019"))
        assert not {"redis", "search"} & set(self.roles(tmp_path, "later"))
        assert not (tmp_path / "2019" / "edition-2019.json").exists()

    def test_are_merged_into_objects(self):
        assert layout.merged({"a": {"b": 1}, "c": [1]}, {"a": {"d": 2}, "c": [2]}) == {"a": {"b": 1, "d": 2}, "c": [2]}
