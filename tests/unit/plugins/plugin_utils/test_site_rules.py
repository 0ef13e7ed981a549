# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every rule has a change of a good file that makes it fire; the good files themselves are clean."""
from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
from ansible_collections.circonus.inside.plugins.plugin_utils import site_model, site_rules

ROOT = Path(__file__).resolve().parents[4]
SMALL = json.loads((ROOT / "tests/unit/fixtures/site.small.json").read_text())
PAIR = {s: json.loads((ROOT / ("inventories/example/site.%s.json" % s)).read_text()) for s in ("east", "west")}


def put(raw, path, value):
    """Set or, with value None, remove what is at a dotted path."""
    keys = path.split(".")
    for key in keys[:-1]:
        raw = raw[key]
    if value is None:
        del raw[keys[-1]]
    else:
        raw[keys[-1]] = value


def findings(sites, ident=None, **options):
    found = site_model.validate(sites, **options)
    assert all("\n" not in f["message"] + f["remedy"] and f["rule"] and f["path"] for f in found)
    return [f for f in found if ident in (None, f["id"])]


def ids(host, start, number):
    return {host + str(n): {"ip_address": "203.0.113.%d" % (start + n), "zfs_dataset_base": "data",
                            "node_id": "00000000-0000-4000-8000-%012d" % (500 + n)} for n in range(number)}


def many_stores(raw, number):
    raw["machinfo"].update(ids("s", 1, number))
    raw["svclist"]["web_db"]["allowed_subnets"].append("203.0.113.0/24")
    raw["svclist"]["data_storage"]["_machlist"] = ["s%d" % n for n in range(number)]


def two_databases(raw, master="app1"):
    raw["svclist"]["web_db"]["_machlist"] = ["app1", "app2"]
    raw["svclist"]["web_db"]["master"] = master


LDAP = {"connect": "ldap.example.net:389", "base_dn": "dc=example", "super_admin_group": "cn=admins"}
HEADER = {"super_admin_group": "cn=admins", "lookup_url": "https://id.example.net/{username}"}


def several(*changes):
    def change(raw):
        for path, value in changes:
            put(raw, path, value)
    return change


# (rule, severity, change of the small file, path of the finding or its beginning)
ONE_FILE = [
    ("C-01", "error", several(("svclist.hub._machlist", ["app3", "app9"])), "svclist.hub._machlist[1]"),
    ("C-02", "error", several(("machinfo.store1.zfs_dataset_base", None)), "machinfo.store1.zfs_dataset_base"),
    ("C-02", "error", several(("machinfo.store1.node_id", None)), "machinfo.store1.node_id"),
    ("C-03", "error", several(("machinfo.store2.node_id", SMALL["machinfo"]["store1"]["node_id"])),
     "machinfo.store2.node_id"),
    ("C-03", "error", lambda raw: (put(raw, "svclist.stratcon._machlist", ["app3", "store1"]), put(
        raw, "svclist.stratcon.node_ids.store1", raw["svclist"]["stratcon"]["node_ids"]["app3"])),
     "svclist.stratcon.node_ids.store1"),
    ("C-03", "error", lambda raw: (put(raw, "svclist.fault_detection._machlist", ["app1", "store1"]), put(
        raw, "svclist.fault_detection.faultd_cluster.store1",
        dict(raw["svclist"]["fault_detection"]["faultd_cluster"]["app1"]))),
     "svclist.fault_detection.faultd_cluster.store1.node_id"),
    ("C-04", "error", several(("machinfo.app2.ip_address", "192.0.2.11")), "machinfo.app2.ip_address"),
    ("C-04", "error", several(("machinfo.app2.ip_address", "127.0.0.5")), "machinfo.app2.ip_address"),
    ("C-05", "error", several(("svclist.web_frontend._machlist", ["app2"])), "svclist.web_frontend._machlist"),
    ("C-06", "error", several(("svclist.caql_broker._machlist", ["app1"])), "svclist.caql_broker._machlist"),
    ("C-07", "error", several(("svclist.data_storage.side_a", ["store1", "store2"]),
                              ("svclist.data_storage.side_b", ["store2", "store3"])), "svclist.data_storage.side_a"),
    ("C-07", "error", several(("svclist.data_storage.side_a", ["store1"]),
                              ("svclist.data_storage.side_b", ["store2"])), "svclist.data_storage.side_a"),
    ("C-07", "error", several(("svclist.data_storage.side_a", ["store1", "app1"]),
                              ("svclist.data_storage.side_b", ["store2", "store3"])), "svclist.data_storage.side_a"),
    ("C-08", "error", several(("svclist.data_storage.ncopies", 4)), "svclist.data_storage.ncopies"),
    ("C-08", "error", several(("svclist.data_storage.ncopies", 11)), "svclist.data_storage.ncopies"),
    ("C-08", "error", several(("svclist.data_storage.ncopies", 3), ("svclist.data_storage.side_a", ["store1"]),
                              ("svclist.data_storage.side_b", ["store2", "store3"])), "svclist.data_storage.ncopies"),
    ("C-09", "warning", several(("svclist.data_storage.ncopies", 1)), "svclist.data_storage.ncopies"),
    ("C-09", "warning", lambda raw: many_stores(raw, 6), "svclist.data_storage.ncopies"),
    ("C-09", "warning", lambda raw: many_stores(raw, 10), "svclist.data_storage.side_a"),
    ("C-10", "error", several(("svclist.web_db.master", "app2")), "svclist.web_db.master"),
    ("C-11", "warning", several(("svclist.web_db.connect_host", "dbalias")), "svclist.web_db.connect_host"),
    ("C-11", "warning", lambda raw: (two_databases(raw), put(raw, "svclist.web_db.connect_host", "app2")),
     "svclist.web_db.connect_host"),
    ("C-12", "error", several(("svclist.web_db.read_connect_host", "app2")), "svclist.web_db.read_connect_host"),
    ("C-12", "error", several(("svclist.web_db.read_connect_host", "app1")), "svclist.web_db.read_connect_host"),
    ("C-13", "warning", lambda raw: two_databases(raw, "app2"), "svclist.web_db._machlist[0]"),
    ("C-14", "error", several(("machinfo.app2.ip_address", "203.0.113.2")), "machinfo.app2.ip_address"),
    ("C-14", "warning", several(("machinfo.store1.ip_address", "203.0.113.2")), "machinfo.store1.ip_address"),
    ("C-15", "error", several(("svclist.ca._machlist", ["app1", "app2"])), "svclist.ca.primary"),
    ("C-15", "error", several(("svclist.ca.primary", "app3")), "svclist.ca.primary"),
    ("C-16", "error", several(("svclist.fault_detection._machlist", ["app1", "store1"])),
     "svclist.fault_detection.faultd_cluster.store1"),
    ("C-16", "error", several(("svclist.fault_detection.faultd_cluster.app9",
                               {"node_id": "00000000-0000-4000-8000-000000000399"})),
     "svclist.fault_detection.faultd_cluster.app9"),
    ("C-17", "error", several(("svclist.stratcon._machlist", ["app3", "store1"])), "svclist.stratcon.node_ids.store1"),
    ("C-17", "error", several(("svclist.stratcon.node_ids.store1", "00000000-0000-4000-8000-000000000499")),
     "svclist.stratcon.node_ids.store1"),
    ("C-18", "error", several(("svclist.stratcon.groups", [["app3"], ["app3"]])), "svclist.stratcon.groups"),
    ("C-18", "error", several(("svclist.stratcon.groups", [["app1"]])), "svclist.stratcon.groups"),
    ("C-19", "error", several(("svclist.stratcon.feeds", 2)), "svclist.stratcon.feeds"),
    ("C-19", "warning", several(("svclist.stratcon.feeds", "1"), ("svclist.mq._machlist", ["app1", "app2"])),
     "svclist.stratcon.feeds"),
    ("C-20", "warning", several(("svclist.api.external_host", "api.example.org")), "cookie_domain"),
    ("C-20", "warning", several(("cookie_domain", "example.org")), "cookie_domain"),
    ("C-21", "error", several(("authentication", {"method": "mixed", "header": HEADER, "ldap": LDAP,
                                                  "supported_methods": ["header"]})), "authentication.method"),
    ("C-21", "error", several(("authentication", {"method": "header", "header": HEADER,
                                                  "supported_methods": ["header", "LDAP"]})),
     "authentication.supported_methods"),
    ("C-21", "error", several(("authentication", {"method": "header", "supported_methods": "header",
                                                  "header": {"super_admin_group": "x"}})),
     "authentication.header.lookup_url"),
    ("C-22", "error", several(("authentication", {"method": "ldap"})), "authentication.ldap"),
    ("C-23", "warning", several(("domain", "192.0.2.80")), "domain"),
    ("C-24", "warning", several(("ga_client_secret", 'se"cret')), "ga_client_secret"),
    ("C-25", "warning", several(("svclist.data_storage.backing_store", "nntbs")), "svclist.data_storage.backing_store"),
    ("C-25", "warning", several(("svclist.redis", {"_machlist": ["app1"]})), "svclist.redis"),
    ("C-25", "warning", several(("svclist.logstream2", {"_machlist": ["app1"]})), "svclist.logstream2"),
    ("W-01", "warning", several(("svclist.hub", None)), "svclist.hub"),
    ("W-02", "warning", lambda raw: put(raw, "svclist.web-stream", raw["svclist"].pop("web_stream")),
     "svclist.web-stream"),
]


class TestGoodFiles:
    def test_have_no_findings(self):
        assert findings({"main": SMALL}, strict=True) == []
        assert findings(PAIR, strict=True) == []
        assert findings(PAIR, strict=True, release="2021-06-28") == []

    def test_rule_table_is_covered_by_these_tests(self):
        tested = {row[0] for row in [*ONE_FILE, *TWO_FILES]} | {"J-01", "S-01", "S-02", "S-03", "S-04", "C-26", "C-27",
                                                                "C-28", "M-19", "M-20"}
        assert tested == set(site_rules.RULES)

    def test_rule_table_is_the_one_of_the_documentation(self):
        page = (ROOT / "docs/site_json.md").read_text()
        for ident, (severity, rule) in site_rules.RULES.items():
            assert "| %s | %s | %s |" % (ident, severity, rule) in page


class TestOneFile:
    @pytest.mark.parametrize(("ident", "severity", "change", "path"), ONE_FILE,
                             ids=["%s-%d" % (row[0], n) for n, row in enumerate(ONE_FILE)])
    def test_rule_fires(self, ident, severity, change, path):
        raw = copy.deepcopy(SMALL)
        change(raw)
        found = [f for f in findings({"main": raw}, ident) if f["path"] == path]
        assert found and found[0]["severity"] == severity and found[0]["site"] == "main"

    def test_all_findings_at_once(self):
        raw = copy.deepcopy(SMALL)
        for row in (ONE_FILE[0], ONE_FILE[6], ONE_FILE[9]):
            row[2](raw)
        found = findings({"main": raw})
        assert {"C-01", "C-04", "C-06"} <= {f["id"] for f in found}
        assert found == site_rules.worst_first(found)

    def test_good_header_authentication_passes(self):
        raw = {**copy.deepcopy(SMALL), "authentication": {"method": "header", "supported_methods": ["header"],
                                                          "header": HEADER}}
        assert findings({"main": raw}) == []

    def test_secrets_stay_out_of_findings(self):
        raw = copy.deepcopy(SMALL)
        put(raw, "saas_check_secret", "hunter2 $x")
        put(raw, "saas_check_uuid", "00000000-0000-4000-8000-000000000777")
        found = findings({"main": raw})
        assert [f["id"] for f in found] == ["C-24"] and "hunter2" not in json.dumps(found)

    def test_nonsense_is_survived(self):
        for raw in ({}, {"svclist": {"web_db": 3, "stratcon": {"groups": [3], "feeds": "x"}}, "machinfo": {"a": 1}},
                    {"svclist": {r: {"_machlist": [None, {}]} for r in site_model.ROLES}, "authentication": [],
                     "machinfo": {"a": {"ip_address": 4}}}):
            assert any(f["severity"] == "error" for f in findings({"main": raw}))
            assert findings({"east": raw, "west": copy.deepcopy(PAIR["west"])})
            assert findings({"east": raw, "west": raw, "north": PAIR["west"]})


class TestReleases:
    def test_newer_attribute(self):
        assert [f["path"] for f in findings({"main": SMALL}, "C-26", release="2019-11-04")] == [
            "svclist.data_storage.rollup_retention", "svclist.stratcon.node_ids"]

    def test_zfs_base_elsewhere_and_caql_cluster(self):
        raw = copy.deepcopy(SMALL)
        put(raw, "machinfo.app1.zfs_dataset_base", "data")
        put(raw, "svclist.caql_broker._machlist", ["app2", "store1"])
        paths = {f["path"] for f in findings({"main": raw}, "C-26", release="2018-11-05")}
        assert {"machinfo.app1.zfs_dataset_base", "svclist.caql_broker._machlist"} <= paths

    def test_dropped_attribute_without_successor_is_an_error(self):
        raw = copy.deepcopy(SMALL)
        put(raw, "svclist.stratcon.node_ids", None)
        put(raw, "svclist.stratcon.uuid", "00000000-0000-4000-8000-000000000777")
        assert findings({"main": raw}, "C-25", release="2019-11-04")[0]["severity"] == "warning"
        assert findings({"main": raw}, "C-25", release="2021-06-28")[0]["severity"] == "error"
        assert findings({"main": raw}, "C-25")[0]["severity"] == "warning"

    def test_fault_detection_needs_the_database_in_2019(self):
        raw = copy.deepcopy(SMALL)
        raw["machinfo"]["fd1"] = {"ip_address": "203.0.113.2"}
        put(raw, "svclist.fault_detection._machlist", ["fd1"])
        assert findings({"main": raw}, "C-14", release="2019-11-04")[0]["severity"] == "error"
        assert findings({"main": raw}, "C-14", release="2021-06-28")[0]["severity"] == "warning"

    def test_dates(self):
        assert site_rules.release_date("20191104") == site_rules.release_date("2019-11-04") == "2019-11-04"
        assert site_rules.release_date(None) is None
        with pytest.raises(ValueError, match="expected a date"):
            site_rules.release_date("newest")


def both(path, value):
    def change(sites):
        for raw in sites.values():
            put(raw, path, copy.deepcopy(value))
    return change


def west(path, value):
    return lambda sites: put(sites["west"], path, value)


def same_storage_ids(sites):
    for raw in sites.values():
        raw["machinfo"]["west-store1"]["node_id"] = raw["machinfo"]["east-store1"]["node_id"]


def no_local_database(sites):
    both("svclist.web_db._machlist", ["east-db1", "east-db2"])(sites)


def mixed_group(sites):
    for raw in sites.values():
        put(raw, "svclist.stratcon.groups", [["east-collect1", "west-collect1"]])


# (rule, severity, change of the pair, path of the finding)
TWO_FILES = [
    ("M-01", "error", west("active_datacenter", True), "active_datacenter"),
    ("M-01", "error", west("active_datacenter", "false"), "active_datacenter"),
    ("M-01", "error", both("active_datacenter", None), "active_datacenter"),
    ("M-01", "error", west("active_datacenter", None), "active_datacenter"),
    ("M-02", "error", west("machinfo.east-db1.ip_address", "192.0.2.99"), "machinfo.east-db1.ip_address"),
    ("M-02", "error", west("machinfo.east-db1", None), "machinfo.east-db1"),
    ("M-02", "error", west("svclist.hub._machlist", ["west-hub9"]), "svclist.hub._machlist"),
    ("M-03", "error", west("svclist.hub._machlist", ["east-collect1"]), "svclist.hub._machlist"),
    ("M-04", "error", west("svclist.hub", None), "svclist.hub"),
    ("M-05", "error", west("svclist.caql_broker._machlist", ["west-api1"]), "svclist.caql_broker._machlist"),
    ("M-05", "error", west("svclist.caql_broker.registration_token", "00000000-0000-4000-8000-000000000999"),
     "svclist.caql_broker.registration_token"),
    ("M-06", "error", west("svclist.web_db._machlist", ["east-db1", "west-db1", "west-db2"]),
     "svclist.web_db._machlist"),
    ("M-06", "error", no_local_database, "svclist.web_db._machlist"),
    ("M-07", "error", west("svclist.web_db.master", "west-db1"), "svclist.web_db.master"),
    ("M-07", "error", both("svclist.web_db.master", "west-db1"), "svclist.web_db.master"),
    ("M-07", "error", both("svclist.web_db.master", "east-web1"), "svclist.web_db.master"),
    ("M-08", "error", west("svclist.web_db.connect_host", "east-db1"), "svclist.web_db.connect_host"),
    ("M-08", "error", west("svclist.web_db.connect_host", "west-web1"), "svclist.web_db.connect_host"),
    ("M-08", "error", lambda s: (put(s["east"], "svclist.web_db.connect_host", "east-db2"),
                                 put(s["east"], "svclist.web_db.read_connect_host", None)),
     "svclist.web_db.connect_host"),
    ("M-09", "error", west("svclist.web_db.allowed_subnets", ["198.51.100.0/24"]), "svclist.web_db.allowed_subnets"),
    ("M-09", "error", both("machinfo.west-store1.ip_address", "203.0.113.9"), "svclist.web_db.allowed_subnets"),
    ("M-10", "error", west("svclist.ca.primary", "west-alert1"), "svclist.ca.primary"),
    ("M-10", "error", both("svclist.ca.primary", "west-alert1"), "svclist.ca.primary"),
    ("M-11", "error", west("svclist.fault_detection.faultd_cluster.west-alert1",
                           PAIR["east"]["svclist"]["fault_detection"]["faultd_cluster"]["east-alert1"]),
     "svclist.fault_detection.faultd_cluster.west-alert1.node_id"),
    ("M-12", "error", same_storage_ids, "machinfo.west-store1.node_id"),
    ("M-13", "error", west("svclist.data_storage.secondary_cluster", ["west-store1"]),
     "svclist.data_storage.secondary_cluster"),
    ("M-13", "error", both("svclist.data_storage.secondary_cluster", ["east-store1"]),
     "svclist.data_storage.secondary_cluster"),
    ("M-14", "error", west("svclist.stratcon.groups", [["west-collect1"], ["east-collect1"]]),
     "svclist.stratcon.groups"),
    ("M-14", "error", west("svclist.stratcon.node_ids.east-collect1", "00000000-0000-4000-8000-000000000999"),
     "svclist.stratcon.node_ids"),
    ("M-15", "error", both("svclist.stratcon.groups", [["east-collect1"]]), "svclist.stratcon.groups"),
    ("M-15", "error", both("svclist.stratcon.node_ids.east-web1", "00000000-0000-4000-8000-000000000999"),
     "svclist.stratcon.node_ids"),
    ("M-16", "warning", mixed_group, "svclist.stratcon.groups[0]"),
    ("M-17", "error", west("svclist.web_db.admin_pass", "Other1"), "svclist.web_db.admin_pass"),
    ("M-17", "error", west("svclist.ca.key_pass", "other"), "svclist.ca.key_pass"),
    ("M-18", "warning", west("svclist.web_frontend.session_key", "OtherSessionKey"),
     "svclist.web_frontend.session_key"),
    ("M-18", "warning", west("cookie_domain", "circonus.example.net"), "cookie_domain"),
]


class TestTwoFiles:
    @pytest.mark.parametrize(("ident", "severity", "change", "path"), TWO_FILES,
                             ids=["%s-%d" % (row[0], n) for n, row in enumerate(TWO_FILES)])
    def test_rule_fires(self, ident, severity, change, path):
        sites = copy.deepcopy(PAIR)
        change(sites)
        found = [f for f in findings(sites, ident) if f["path"] == path]
        assert found and found[0]["severity"] == severity

    def test_two_addresses_of_one_host_are_both_named(self):
        sites = copy.deepcopy(PAIR)
        west("machinfo.east-db1.ip_address", "192.0.2.99")(sites)
        text = findings(sites, "M-02")[0]["message"]
        assert "east-db1" in text and "192.0.2.11" in text and "192.0.2.99" in text

    def test_secrets_stay_out_of_findings(self):
        sites = copy.deepcopy(PAIR)
        west("svclist.web_db.admin_pass", "hunter2")(sites)
        west("svclist.web_frontend.session_key", "hunter2hunter2")(sites)
        assert "hunter2" not in json.dumps(findings(sites))

    def test_a_clash_across_the_files_is_found(self):
        sites = copy.deepcopy(PAIR)
        both("svclist.caql_broker._machlist", ["east-api1", "west-collect1"])(sites)
        assert [f["message"] for f in findings(sites, "C-06")] == [
            "west-collect1 has caql_broker and stratcon, which need port 43191"]

    def test_an_alias_as_connect_host(self):
        sites = copy.deepcopy(PAIR)
        for name, raw in sites.items():
            raw["additional_hosts"]["dbalias"] = {"ip_address": "203.0.113.%d" % (1 if name == "east" else 2)}
            put(raw, "svclist.web_db.connect_host", "dbalias")
        assert findings(sites) == []

    def test_one_file_of_a_pair_is_a_warning(self):
        found = findings({"east": PAIR["east"]})
        assert [(f["id"], f["severity"]) for f in found] == [("M-01", "warning")]

    def test_three_sites(self):
        assert "M-01" in {f["id"] for f in findings({**PAIR, "north": PAIR["west"]})}

    def test_unrelated_sites_are_checked_alone(self):
        other = json.loads(json.dumps(SMALL).replace('"app', '"eu-app').replace('"store', '"eu-store'))
        assert findings({"one": SMALL, "two": other}) == []

    def test_release_too_old_for_the_layout(self):
        assert findings(PAIR, "M-19", release="2020-07-27")[0]["severity"] == "warning"


class TestLayoutOf2019:
    @staticmethod
    def sites():
        result = copy.deepcopy(PAIR)
        shared = ("ca", "data_storage", "caql_broker", "web_db")
        for site in result.values():
            del site["active_datacenter"], site["svclist"]["data_storage"]["secondary_cluster"]
            del site["svclist"]["ca"]["primary"]
            site["svclist"]["ca"]["_machlist"] = ["east-alert1"]
            cluster = {}
            for role in site["svclist"]:
                if role not in shared:
                    site["svclist"][role]["_machlist"] = [
                        h for s in PAIR.values() for h in s["svclist"][role]["_machlist"]]
            for raw in PAIR.values():
                cluster.update(raw["svclist"]["fault_detection"]["faultd_cluster"])
            site["svclist"]["fault_detection"]["faultd_cluster"] = cluster
        return result

    def test_passes_with_a_release_of_its_time(self):
        assert {f["id"] for f in findings(self.sites(), release="2019-11-04")} == {"C-26"}

    def test_warns_with_a_newer_release(self):
        assert [f["id"] for f in findings(self.sites(), release="2021-06-28")] == ["M-19"]

    def test_failover_changes_the_master_only(self):
        flipped = site_model.flip(self.sites(), "west")
        assert {raw["svclist"]["web_db"]["master"] for raw in flipped.values()} == {"west-db1"}
        assert site_model.flip(flipped, "east") == self.sites()


class TestStrayRules:
    def test_only_what_the_loader_would_read(self):
        names = ["site.json", "site-old.json", "site.json.bak", ".site.json.1", "site.json.7.2024~", "other.json"]
        found = site_model.stray_files(names, site="east", where="east-db1")
        assert [(f["id"], f["severity"]) for f in found] == [("C-27", "error")]
        assert found[0]["path"].endswith("/site-old.json") and "east-db1" in found[0]["message"]


class TestChangeRules:
    @pytest.mark.parametrize(("path", "value"), [
        ("machinfo.store1.node_id", "00000000-0000-4000-8000-000000000999"),
        ("machinfo.store1.zfs_dataset_base", "tank"),
        ("svclist.data_storage._machlist", ["store1", "store2"]),
        ("svclist.data_storage.side_a", ["store1"]),
    ])
    def test_storage_identity_is_guarded_with_one_site(self, path, value):
        new = copy.deepcopy(SMALL)
        put(new, path, value)
        found = site_model.change_guard(SMALL, new)
        assert {f["id"] for f in found} == {"C-28"}
        assert found[0]["path"] == path
        assert site_model.change_guard(SMALL, new, allowed=[path]) == []

    def test_a_new_node_joins_a_side(self):
        new = copy.deepcopy(PAIR["east"])
        new["svclist"]["data_storage"]["_machlist"].append("east-store7")
        new["svclist"]["data_storage"]["side_a"].append("east-store7")
        assert "C-28" not in {f["id"] for f in site_model.change_guard(PAIR["east"], new)}

    def test_other_values_may_change_with_one_site(self):
        new = copy.deepcopy(SMALL)
        put(new, "domain", "other.example.net")
        assert site_model.change_guard(SMALL, new) == []

    def test_a_failover_passes(self):
        flipped = site_model.flip(PAIR, "west")
        for name in PAIR:
            assert flipped[name] != PAIR[name] and site_model.change_guard(PAIR[name], flipped[name]) == []

    def test_anything_else_with_two_sites_is_named(self):
        new = copy.deepcopy(PAIR["east"])
        put(new, "svclist.web_db.tuning.max_connections", 900)
        put(new, "svclist.web_db.admin_pass", "hunter2")
        found = site_model.change_guard(PAIR["east"], new)
        assert {f["path"] for f in found} == {"svclist.web_db.tuning.max_connections", "svclist.web_db.admin_pass"}
        assert {f["id"] for f in found} == {"M-20"} and "hunter2" not in json.dumps(found)
        assert site_model.change_guard(PAIR["east"], new, allowed=["svclist.web_db"]) == []
        assert site_model.change_guard(PAIR["east"], new, allowed=["*"]) == []

    def test_the_spelling_of_a_role_is_no_change(self):
        new = copy.deepcopy(PAIR["east"])
        new["svclist"]["web-db"] = new["svclist"].pop("web_db")
        assert site_model.change_guard(PAIR["east"], new) == []
