# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput
from ansible_collections.circonus.inside.plugins.plugin_utils import site_model

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture
def small():
    return json.loads((ROOT / "tests/unit/fixtures/site.small.json").read_text())


@pytest.fixture
def pair():
    return {s: json.loads((ROOT / ("inventories/example/site.%s.json" % s)).read_text()) for s in ("east", "west")}


class TestValidate:
    def test_published_spellings_give_warnings_only(self, small):
        for spelling in ("web-db", "web-frontend", "web-stream", "fault-detection"):
            small["svclist"][spelling] = small["svclist"].pop(spelling.replace("-", "_"))
        small["ops_email"] = "ops@example.net"
        found = site_model.validate({"main": small})
        assert {(f["id"], f["severity"]) for f in found} == {("W-02", "warning")} and len(found) == 4

    def test_unknown_attribute_is_an_error_when_strict(self, small):
        small["flavour"] = "mint"
        assert [f["severity"] for f in site_model.validate({"main": small})] == ["warning"]
        assert [f["severity"] for f in site_model.validate({"main": small}, strict=True)] == ["error"]

    def test_impossible_release(self, small):
        with pytest.raises(BadInput, match="expected a date"):
            site_model.validate({"main": small}, release="newest")

    def test_does_not_change_its_input(self, pair):
        before = copy.deepcopy(pair)
        site_model.validate(pair)
        assert pair == before


class TestCheckFiles:
    def test_a_broken_file_is_a_finding_and_the_other_is_still_checked(self, tmp_path, small):
        (tmp_path / "bad.json").write_text("{")
        small["domain"] = "192.0.2.1"
        (tmp_path / "good.json").write_text(json.dumps(small))
        sites, found = site_model.check_files({"a": tmp_path / "bad.json", "b": tmp_path / "good.json"})
        assert list(sites) == ["b"]
        assert [(f["id"], f["site"]) for f in found] == [("J-01", "a"), ("C-23", "b")]


class TestReadSources:
    def test_site_yml_and_json(self, tmp_path):
        (tmp_path / "p.site.yml").write_text(
            "plugin: circonus.inside.site\nrelease: 2021-06-28\nstrict: true\n"
            "sites: {east: {file: a.json, hosts: [db9]}, west: b.json}\n")
        found = site_model.read_sources([str(tmp_path / "p.site.yml")])
        assert found["files"] == {"east": str(tmp_path / "a.json"), "west": str(tmp_path / "b.json")}
        assert found["hosts"] == {"east": ["db9"]} and found["strict"] is True and str(found["release"]) == "2021-06-28"
        assert site_model.read_sources("x/site.dc1.json")["files"] == {"dc1": "x/site.dc1.json"}
        assert list(site_model.read_sources(["a/site.json", "b/site.json"])["files"]) == ["site", "b/site.json"]

    @pytest.mark.parametrize("text", ["a: [", "sites: {east: {}}", "other: 1"])
    def test_one_line_for_what_cannot_be_used(self, tmp_path, text):
        (tmp_path / "p.site.yml").write_text(text)
        with pytest.raises(BadInput):
            site_model.read_sources([str(tmp_path / "p.site.yml")])

    def test_nothing(self):
        with pytest.raises(BadInput, match="No site.json to check"):
            site_model.read_sources([])


class TestFlip:
    def test_changes_what_the_manual_says_and_nothing_else(self, pair):
        flipped = site_model.flip(pair, "west")
        for name, raw in flipped.items():
            assert raw["active_datacenter"] is (name == "west")
            assert raw["svclist"]["ca"]["primary"] == "west-alert1"
            assert raw["svclist"]["web_db"]["master"] == "west-db1"
            assert raw["svclist"]["web_db"]["connect_host"] == "%s-db1" % name
            assert raw["svclist"]["data_storage"]["secondary_cluster"] == ["east-store%d" % n for n in range(1, 7)]
            assert site_model.change_guard(pair[name], raw) == []

    def test_result_is_valid_and_can_be_flipped_back(self, pair):
        flipped = site_model.flip(pair, "west")
        assert site_model.validate(flipped) == []
        back = site_model.flip(flipped, "east")
        assert back == pair
        assert {n: site_model.dump(r) for n, r in back.items()} == {n: site_model.dump(r) for n, r in pair.items()}

    def test_is_idempotent_from_any_state(self, pair):
        flipped = site_model.flip(pair, "west")
        assert site_model.flip(flipped, "west") == flipped
        assert site_model.flip({"east": pair["east"], "west": flipped["west"]}, "west") == flipped
        assert site_model.flip({"east": flipped["east"], "west": pair["west"]}, "west") == flipped

    def test_leaves_its_input_alone_and_keeps_the_spelling(self, pair):
        for raw in pair.values():
            raw["svclist"]["web-db"] = raw["svclist"].pop("web_db")
        before = copy.deepcopy(pair)
        flipped = site_model.flip(pair, "west")
        assert pair == before
        assert flipped["east"]["svclist"]["web-db"]["master"] == "west-db1"
        assert "web_db" not in flipped["east"]["svclist"]

    def test_override_of_the_secondary_cluster(self, pair):
        flipped = site_model.flip(pair, "west", secondary_cluster=["west-store1"])
        assert flipped["east"]["svclist"]["data_storage"]["secondary_cluster"] == ["west-store1"]

    def test_alias_needs_no_name_but_takes_one(self, pair):
        pair["west"]["svclist"]["web_db"]["connect_host"] = "dbalias"
        assert site_model.flip(pair, "west")["east"]["svclist"]["web_db"]["master"] == "west-db1"
        assert site_model.flip(pair, "west", master="west-db2")["east"]["svclist"]["web_db"]["master"] == "west-db2"

    def test_refuses_what_cannot_be_flipped(self, pair, small):
        with pytest.raises(BadInput):
            site_model.flip(pair, "north")
        with pytest.raises(BadInput):
            site_model.flip({"main": small}, "main")
        with pytest.raises(BadInput, match="can become the primary"):
            site_model.flip(pair, "west", master="east-db1")


class TestSetPrimary:
    def test_inside_the_active_site(self, pair):
        changed = site_model.set_primary(pair, "east", "east-db2")
        assert {raw["svclist"]["web_db"]["master"] for raw in changed.values()} == {"east-db2"}
        assert changed["east"]["svclist"]["web_db"]["connect_host"] == "east-db2"
        assert changed["east"]["svclist"]["web_db"]["read_connect_host"] == "east-db1"
        assert changed["west"]["svclist"]["web_db"]["connect_host"] == "west-db1"
        assert site_model.validate(changed) == []
        assert site_model.set_primary(changed, "east", "east-db2") == changed
        assert site_model.set_primary(changed, "east", "east-db1") == pair

    def test_inside_the_standby_site_the_master_stays(self, pair):
        changed = site_model.set_primary(pair, "west", "west-db2")
        assert changed["east"] == pair["east"]
        assert changed["west"]["svclist"]["web_db"]["connect_host"] == "west-db2"
        assert site_model.validate(changed) == []

    def test_single_site_with_an_alias(self, small):
        small["svclist"]["web_db"].update(_machlist=["app1", "app2"], master="app1", connect_host="mailhost",
                                          read_connect_host="app2")
        changed = site_model.set_primary({"main": small}, "main", "app2")["main"]["svclist"]["web_db"]
        assert (changed["master"], changed["connect_host"], changed["read_connect_host"]) == (
            "app2", "mailhost", "app1")

    def test_refuses_a_foreign_host(self, pair):
        with pytest.raises(BadInput, match="not a web_db host of east"):
            site_model.set_primary(pair, "east", "west-db1")


class TestOneLine:
    def test_says_where_what_and_which_rule(self, small):
        small["domain"] = "192.0.2.1"
        line = site_model.one_line(site_model.validate({"main": small})[0])
        assert line == "main: domain is the address 192.0.2.1. Write a domain name. [C-23]"
