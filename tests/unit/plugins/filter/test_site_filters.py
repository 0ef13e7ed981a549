# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.circonus.inside.plugins.filter.site_filters import FilterModule
from ansible_collections.circonus.inside.plugins.plugin_utils import site_model

ROOT = Path(__file__).resolve().parents[4]
EXAMPLE = ROOT / "inventories/example"
FILTERS = FilterModule().filters()


@pytest.fixture
def pair():
    return {s: json.loads((EXAMPLE / ("site.%s.json" % s)).read_text()) for s in ("east", "west")}


@pytest.fixture
def sites():
    return {s: {"file": str(EXAMPLE / ("site.%s.json" % s)), "hosts": []} for s in ("east", "west")}


def slurped(text):
    return {"content": base64.b64encode(text.encode()).decode()}


class TestFilterModule:
    def test_every_filter_is_documented(self):
        for name in FILTERS:
            documentation = yaml.safe_load((ROOT / ("plugins/filter/%s.yml" % name)).read_text())
            assert documentation["DOCUMENTATION"]["name"] == name

    def test_errors_are_one_line(self, tmp_path):
        with pytest.raises(AnsibleFilterError, match="does not exist"):
            FILTERS["site_load"](str(tmp_path / "none.json"))


class TestSiteFindings:
    @pytest.mark.parametrize("value", [
        str(EXAMPLE / "example.site.yml"),
        "%s,%s" % (EXAMPLE / "site.east.json", EXAMPLE / "site.west.json"),
        [str(EXAMPLE / "site.east.json"), str(EXAMPLE / "site.west.json")],
        {"east": str(EXAMPLE / "site.east.json"), "west": {"file": str(EXAMPLE / "site.west.json"), "hosts": []}},
    ])
    def test_takes_every_way_to_name_files(self, value):
        assert FILTERS["site_findings"](value) == []

    @pytest.mark.parametrize("value", ["", [], {}])
    def test_refuses_nothing_to_check(self, value):
        with pytest.raises(AnsibleFilterError, match="No site.json to check"):
            FILTERS["site_findings"](value)

    def test_strict_as_text_of_the_command_line(self, tmp_path, pair):
        (tmp_path / "site.json").write_text(json.dumps({**pair["east"], "flavour": "mint"}))
        path = str(tmp_path / "site.json")
        assert {f["severity"] for f in FILTERS["site_findings"](path, None, "false")} == {"warning"}
        assert "error" in {f["severity"] for f in FILTERS["site_findings"](path, None, "true")}


class TestSiteTable:
    def test_errors_first_and_a_count(self):
        lines = FILTERS["site_table"]([
            {"id": "W-01", "severity": "warning", "site": "main", "path": "a", "message": "m", "remedy": "r."},
            {"id": "C-05", "severity": "error", "site": None, "path": "b", "message": "n", "remedy": "s."}])
        assert lines[0].split() == ["1", "error", "C-05", "b"] and lines[-1] == "1 error, 1 warning"
        assert FILTERS["site_table"]([]) == ["0 errors, 0 warnings"]


class TestSiteFlip:
    def test_is_the_flip_of_the_model(self, pair):
        assert FILTERS["site_flip"](pair, "west") == site_model.flip(pair, "west")


class TestSiteSetPrimary:
    def test_is_the_change_of_the_model(self, pair):
        assert FILTERS["site_set_primary"](pair, "east", "east-db2") == site_model.set_primary(pair, "east", "east-db2")


class TestSiteDump:
    def test_text_of_the_repository(self, pair):
        assert FILTERS["site_dump"](pair["east"]) == (EXAMPLE / "site.east.json").read_text()


class TestSiteDistributeFindings:
    def host(self, site, text=None, listing=("site.json",)):
        return {"circonus_site_name": site, "l": {"files": [{"path": "/d/" + n} for n in listing]},
                "i": slurped(text) if text else {"skipped": True}}

    def run(self, sites, hostvars, allow=()):
        return FILTERS["site_distribute_findings"](hostvars, list(hostvars), sites, allow, "i", "l")

    def test_first_installation_and_same_file(self, sites, pair):
        hosts = {"a": self.host("east", None, ()), "b": self.host("west", json.dumps(pair["west"]))}
        assert self.run(sites, hosts) == []

    def test_stray_file_names_the_host(self, sites):
        found = self.run(sites, {"a": self.host("east", None, ("site.json", "site-old.json"))})
        assert [f["id"] for f in found] == ["C-27"] and found[0]["message"].startswith("a: site-old.json")

    def test_the_same_change_on_many_hosts_is_one_finding(self, sites, pair):
        pair["east"]["domain"] = "other.example.net"
        hosts = {h: self.host("east", json.dumps(pair["east"])) for h in "abc"}
        assert [f["path"] for f in self.run(sites, hosts)] == ["domain"]
        assert self.run(sites, hosts, ["domain"]) == []

    def test_what_cannot_be_parsed_may_be_replaced(self, sites):
        assert self.run(sites, {"a": self.host("east", "{")}) == []


class TestSiteInstalledFindings:
    def test_by_content_not_layout(self, sites, pair):
        hostvars = {
            "same": {"circonus_site_name": "east", "i": slurped(json.dumps(pair["east"], sort_keys=True))},
            "other": {"circonus_site_name": "west", "i": slurped(json.dumps(pair["east"]))},
            "none": {"circonus_site_name": "east", "i": {"failed": True}},
            "gone": {"circonus_site_name": "east", "i": {"unreachable": True}},
        }
        found = FILTERS["site_installed_findings"](hostvars, list(hostvars), sites, "i")
        assert [(f["id"], f["severity"], f["path"].split(":")[0]) for f in found] == [
            ("H-01", "error", "none"), ("H-01", "error", "other"), ("H-02", "warning", "gone")]
