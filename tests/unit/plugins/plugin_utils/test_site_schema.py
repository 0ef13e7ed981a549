# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import builtins
import json
import os
from pathlib import Path

import pytest
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput
from ansible_collections.circonus.inside.plugins.plugin_utils import site_schema

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture
def small():
    return json.loads((ROOT / "tests/unit/fixtures/site.small.json").read_text())


@pytest.fixture
def east():
    return json.loads((ROOT / "inventories/example/site.east.json").read_text())


def put(raw, path, value):
    keys = path.split(".")
    for key in keys[:-1]:
        raw = raw[key]
    raw[keys[-1]] = value


def drop(raw, path):
    keys = path.split(".")
    for key in keys[:-1]:
        raw = raw[key]
    del raw[keys[-1]]


def only(raw):
    found = site_schema.check(raw)
    assert len(found) == 1, found
    assert "\n" not in found[0]["message"]
    return found[0]


class TestSchemaFile:
    def test_is_a_valid_schema_reachable_from_the_plugin(self):
        from jsonschema import Draft202012Validator

        assert os.path.samefile(site_schema.SCHEMA_FILE, ROOT / "schemas/site.schema.json")
        Draft202012Validator.check_schema(site_schema.load_schema())

    def test_every_reference_resolves(self):
        text = json.dumps(site_schema.load_schema())
        for name in {part.split('"')[0] for part in text.split("#/$defs/")[1:]}:
            assert name in site_schema.load_schema()["$defs"]


class TestCheck:
    def test_good_files(self, small, east):
        assert site_schema.check(small) == [] and site_schema.check(east) == []

    def test_published_spellings_pass(self, small):
        small["ops_email"] = "ops@example.net"
        for spelling in ("web-db", "web-frontend", "web-stream", "fault-detection"):
            small["svclist"][spelling] = small["svclist"].pop(spelling.replace("-", "_"))
        small["min_check_period"] = 30
        small["svclist"]["data_storage"]["ncopies"] = 2
        assert site_schema.check(small) == []

    @pytest.mark.parametrize("path", ["domain", "svclist", "svclist.web_db", "svclist.web_db.connect_host",
                                      "svclist.ca.org_defaults.country", "svclist.mq._machlist",
                                      "machinfo.app1.ip_address", "svclist.caql_broker.registration_token"])
    def test_missing(self, small, path):
        drop(small, path)
        item = only(small)
        assert (item["id"], item["severity"], item["path"]) == ("S-01", "error", path)
        assert item["remedy"] == "Add %s." % path

    def test_missing_identity_of_stratcon(self, small):
        drop(small, "svclist.stratcon.node_ids")
        assert only(small)["path"] == "svclist.stratcon.node_ids"

    def test_one_of_a_pair(self, small):
        small["saas_check_uuid"] = "00000000-0000-4000-8000-000000000001"
        item = only(small)
        assert item["path"] == "saas_check_secret" and "goes with saas_check_uuid" in item["message"]

    @pytest.mark.parametrize("path", ["active_datacenter"])
    def test_two_site_attributes_come_together(self, east, path):
        for name in ("svclist.ca.primary", "svclist.data_storage.secondary_cluster", "svclist.stratcon.groups"):
            drop(east, name)
        assert {f["path"] for f in site_schema.check(east)} == {
            "svclist.ca.primary", "svclist.data_storage.secondary_cluster", "svclist.stratcon.groups"}

    def test_unknown_attribute_is_a_warning_with_a_guess(self, small):
        put(small, "svclist.web_db.conect_host", "app1")
        item = only(small)
        assert (item["id"], item["severity"], item["path"]) == ("S-02", "warning", "svclist.web_db.conect_host")
        assert "Write connect_host" in item["remedy"]

    def test_every_unknown_attribute_is_named(self, small):
        small.update(one=1, two=2)
        assert [f["path"] for f in site_schema.check(small)] == ["one", "two"]

    @pytest.mark.parametrize(("path", "value", "expected"), [
        ("svclist.web_db.allowed_subnets", ["192.0.2.0"], "an IPv4 network"),
        ("machinfo.app1.ip_address", "192.0.2.256", "an IPv4 address"),
        ("machinfo.store1.node_id", "00000000-0000-4000-8000-00000000010A", "a lowercase UUID"),
        ("svclist.api.certificate_type", "public", '"internal" or "commercial" or "none"'),
        ("svclist.web_stream.stream_service_name", "s.example.net:9443", "a host name without port"),
        ("min_check_period", 61, "a whole number of seconds from 1 to 60"),
        ("svclist.data_storage.ncopies", "11", "a whole number from 1 to 10"),
        ("ops_email", "nobody", "an e-mail address or a list of them"),
        ("ops_email", ["nobody"], "an e-mail address"),
        ("id", "sight", '"site"'),
        ("svclist.web_db.connect_host", 3, "a host name"),
        ("svclist.mq", [], "an object"),
        ("svclist.data_storage.rollup_retention.numeric.1m", "1y", "a number of days or weeks"),
        ("active_datacenter", "true", "true or false"),
    ])
    def test_wrong_value(self, small, path, value, expected):
        put(small, path, value)
        found = [f for f in site_schema.check(small) if f["id"] == "S-03"]
        assert len(found) == 1
        assert found[0]["path"].startswith(path) and expected in found[0]["expected"]

    def test_secrets_are_never_shown(self, small):
        for path in ("svclist.web_db.admin_pass", "svclist.mq.cookie", "svclist.web_frontend.session_key"):
            put(small, path, "s3cr,t")
        found = site_schema.check(small)
        assert len(found) == 3 and "s3cr" not in json.dumps(found)

    @pytest.mark.parametrize("twins", [("web_db", "web-db"), ("fault_detection", "fault-detection")])
    def test_both_spellings_of_a_role(self, small, twins):
        small["svclist"][twins[1]] = small["svclist"][twins[0]]
        item = only(small)
        assert item["id"] == "S-04" and "web_db and web-db" in item["message"].replace("fault_detection", "web_db") \
            .replace("fault-detection", "web-db")

    def test_primary_and_master_of_ca(self, small):
        small["svclist"]["ca"].update(primary="app1", master="app1")
        assert only(small)["id"] == "S-04"

    def test_secondary_cluster_with_one_site(self, small):
        put(small, "svclist.data_storage.secondary_cluster", ["store1"])
        assert "active_datacenter is absent" in only(small)["message"]

    def test_a_host_twice_in_a_list(self, small):
        put(small, "svclist.hub._machlist", ["app3", "app3"])
        assert "twice" in only(small)["message"]

    def test_an_empty_list(self, small):
        put(small, "svclist.hub._machlist", [])
        assert "is empty" in only(small)["message"]

    def test_a_name_that_is_no_host_name(self, small):
        put(small, "machinfo.app_9", {"ip_address": "192.0.2.99"})
        assert "not a host name" in only(small)["message"]

    @pytest.mark.parametrize("bad", ["ip", "name", "extra", "duplicate"])
    def test_the_fast_path_finds_what_the_schema_finds(self, small, bad):
        for number in range(20):
            small["machinfo"]["x%d" % number] = {"ip_address": "203.0.113.%d" % number}
        hosts = small["svclist"]["hub"]["_machlist"] = ["x%d" % n for n in range(20)]
        assert site_schema.check(small) == []
        if bad == "ip":
            small["machinfo"]["x7"]["ip_address"] = "203.0.113.700"
        elif bad == "name":
            small["machinfo"]["-x"] = small["machinfo"].pop("x7")
        elif bad == "extra":
            small["machinfo"]["x7"]["rack"] = "4"
        else:
            hosts.append("x3")
        assert len(site_schema.check(small)) == 1

    def test_nonsense_everywhere_is_survived(self):
        for raw in ({}, {"svclist": 3, "machinfo": []}, {"svclist": {"web_db": "x"}, "machinfo": {"a": None}}):
            assert site_schema.check(raw)

    def test_missing_library_is_one_line(self, monkeypatch, small):
        real = builtins.__import__

        def missing(name, *args, **kwargs):
            if name == "jsonschema":
                raise ImportError(name)
            return real(name, *args, **kwargs)

        site_schema._validator.cache_clear()
        monkeypatch.setattr(builtins, "__import__", missing)
        with pytest.raises(BadInput, match="python -m pip install jsonschema"):
            site_schema.check(small)
        monkeypatch.undo()
        site_schema._validator.cache_clear()
