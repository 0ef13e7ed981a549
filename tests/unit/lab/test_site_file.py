# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The Hooper stand-in's reading of site.json, on the lab's own two files."""

import copy
import json
import os

import pytest
from hooper.site_file import FATAL, INFO, NOTICE, Site, SiteError, load, load_facts

INVENTORY = os.path.join(os.path.dirname(__file__), "..", "..", "..", "inventories", "lab")


def raw(site):
    with open(os.path.join(INVENTORY, f"site.{site}.json"), encoding="utf-8") as handle:
        return json.load(handle)


@pytest.fixture
def east():
    return raw("east")


@pytest.fixture
def west():
    return raw("west")


class TestLoad:
    def test_reads_the_only_file(self, tmp_path, east):
        (tmp_path / "site.json").write_text(json.dumps(east))
        assert load(str(tmp_path)).master == "east-app1"

    def test_refuses_a_second_matching_file(self, tmp_path, east):
        for name in ("site.json", "site-old.json"):
            (tmp_path / name).write_text(json.dumps(east))
        with pytest.raises(SiteError, match=r"site-old\.json"):
            load(str(tmp_path))

    def test_leaves_a_backup_that_does_not_match(self, tmp_path, east):
        for name in ("site.json", "site.json.bak"):
            (tmp_path / name).write_text(json.dumps(east))
        assert load(str(tmp_path)).active

    def test_refuses_broken_json_in_one_line(self, tmp_path):
        (tmp_path / "site.json").write_text("{,}")
        with pytest.raises(SiteError) as caught:
            load(str(tmp_path))
        assert "\n" not in str(caught.value)

    def test_refuses_a_missing_file(self, tmp_path):
        with pytest.raises(SiteError, match="no site.json"):
            load(str(tmp_path))

    def test_refuses_another_id(self, east):
        east["id"] = "other"
        with pytest.raises(SiteError, match="id"):
            Site(east)


class TestLoadFacts:
    def test_has_defaults_outside_the_lab(self, tmp_path):
        assert load_facts(str(tmp_path / "none"))["edition"] == "later"

    def test_takes_the_version_as_a_string(self, tmp_path):
        (tmp_path / "facts").write_text('{"pg_version": 11}')
        assert load_facts(str(tmp_path / "facts"))["pg_version"] == "11"


class TestSite:
    def test_takes_hyphenated_roles(self, east):
        east["svclist"]["web-db"] = east["svclist"].pop("web_db")
        assert Site(east).hosts("web_db")[0] == "east-app1"

    def test_refuses_both_spellings_of_a_role(self, east):
        east["svclist"]["web-db"] = copy.deepcopy(east["svclist"]["web_db"])
        with pytest.raises(SiteError, match="both spellings"):
            Site(east)

    def test_a_single_site_is_active(self, east):
        del east["active_datacenter"]
        assert Site(east).active and not Site(east).two_sites

    def test_a_standby_site_is_not_active(self, west):
        assert not Site(west).active

    @pytest.mark.parametrize(
        ("site", "host", "source"),
        [
            ("east", "east-app1", None),
            ("east", "east-app3", "east-app1"),
            ("west", "west-app1", "east-app1"),
            ("west", "west-app3", "west-app1"),
        ],
    )
    def test_builds_replicas_from_the_documented_host(self, site, host, source):
        assert Site(raw(site)).upstream(host) == source

    def test_builds_replicas_from_the_primary_when_clients_use_an_alias(self, east):
        east["svclist"]["web_db"]["connect_host"] = "db-alias"
        assert Site(east).upstream("east-app3") == "east-app1"

    def test_finds_its_own_name_by_address(self, east):
        site = Site(east)
        address = east["machinfo"]["east-app3"]["ip_address"]
        assert site.own_name({"127.0.0.1", address}, "localhost") == "east-app3"

    def test_finds_its_own_name_by_host_name(self, east):
        assert Site(east).own_name({"127.0.0.1"}, "east-app2.example.net") == "east-app2"

    def test_knows_no_name_for_a_foreign_machine(self, east):
        assert Site(east).own_name({"127.0.0.1"}, "elsewhere") is None

    def test_hosts_file_has_every_machine_and_the_own_one_as_loopback(self, east):
        text = Site(east).hosts_file("east-app1")
        assert "127.0.0.1\teast-app1\n" in text
        for name, entry in east["machinfo"].items():
            if name != "east-app1":
                assert f"{entry['ip_address']}\t{name}\n" in text


class TestCheck:
    @pytest.mark.parametrize("site", ["east", "west"])
    def test_the_lab_files_are_clean(self, site):
        assert Site(raw(site)).check() == []

    @pytest.mark.parametrize(
        ("change", "level", "words"),
        [
            (lambda s: s["svclist"]["mq"]["_machlist"].append("ghost"), FATAL, "ghost, which is not in machinfo"),
            (lambda s: s["svclist"]["mq"].update(_machlist=[]), FATAL, "mq._machlist must list"),
            (lambda s: s["svclist"]["api"].update(_machlist=["east-app1"]), FATAL, "port 8080"),
            (lambda s: s["svclist"]["stratcon"].update(_machlist=["east-app1"]), FATAL, "port 43191"),
            (lambda s: s["svclist"]["web_db"].pop("master"), FATAL, "web_db.master is required"),
            (lambda s: s["svclist"]["web_db"].update(master="ghost"), FATAL, "web_db.master is ghost"),
            (lambda s: s["svclist"]["web_db"].pop("web_pass"), FATAL, "web_db.web_pass"),
            (lambda s: s["svclist"]["ca"].pop("primary"), FATAL, "ca.primary"),
            (lambda s: s["svclist"]["ca"].update(master="east-app1"), NOTICE, "deprecated"),
            (lambda s: s["svclist"]["mq"].pop("cookie"), FATAL, "mq.cookie"),
            (lambda s: s["svclist"]["stratcon"].pop("node_ids"), NOTICE, "node_ids"),
            (lambda s: s["svclist"]["stratcon"].update(feeds=1), NOTICE, "1 of 2 mq hosts"),
            (lambda s: s["svclist"]["stratcon"].update(feeds=3), FATAL, "needs 3 mq hosts"),
            (lambda s: s["svclist"]["fault_detection"].update(faultd_cluster={}), FATAL, "faultd_cluster"),
            (lambda s: s["svclist"]["fault_detection"].pop("registration_token"), FATAL, "registration_token"),
            (lambda s: s["svclist"].update(odd={"_machlist": ["east-app1"]}), INFO, "not a known role"),
            (lambda s: s.update(active_datacenter="yes"), FATAL, "true or false"),
            (lambda s: s["machinfo"]["east-app1"].pop("ip_address"), FATAL, "no ip_address"),
        ],
    )
    def test_finds(self, east, change, level, words):
        change(east)
        assert [found for found in Site(east).check() if found[0] == level and words in found[1]]

    def test_node_ids_are_not_asked_for_in_2019(self, east):
        del east["svclist"]["stratcon"]["node_ids"]
        assert Site(east).check("2019") == []
