# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import copy
import json
import os
import stat
from pathlib import Path

import pytest
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput
from ansible_collections.circonus.inside.plugins.plugin_utils import site_data as data

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture
def small():
    return json.loads((ROOT / "tests/unit/fixtures/site.small.json").read_text())


@pytest.fixture
def pair():
    return {s: json.loads((ROOT / ("inventories/example/site.%s.json" % s)).read_text()) for s in ("east", "west")}


def refusal(text):
    with pytest.raises(BadInput) as caught:
        data.parse_site(text, "site.json")
    assert "\n" not in str(caught.value)
    return str(caught.value)


class TestParseSite:
    def test_names_file_line_and_column(self):
        assert refusal('{\n  "a": 1\n  "b": 2}').startswith("site.json line 3 column 3: not valid JSON:")

    @pytest.mark.parametrize("text", ['{"a": 1,}', '{"a": [1, 2,]}'])
    def test_explains_a_trailing_comma(self, text):
        assert "trailing comma" in refusal(text)

    def test_explains_a_comment(self):
        assert "comments are not allowed" in refusal('{ // no\n"a": 1}')

    def test_explains_single_quotes(self):
        assert "Use double quotes" in refusal("{'a': 1}")

    def test_explains_an_empty_file(self):
        assert "the file is empty" in refusal(" \n")

    def test_refuses_a_list(self):
        assert "expected one JSON object, found a list" in refusal("[]")

    def test_refuses_nan(self):
        assert "NaN is not JSON" in refusal('{"a": NaN}')

    def test_refuses_a_byte_order_mark(self):
        assert "byte order mark" in refusal("\ufeff{}")

    def test_refuses_endless_nesting(self):
        assert "not valid JSON" in refusal('{"a":' * 100000)

    def test_finds_the_host_with_two_addresses(self):
        text = '{"machinfo": {\n "app1": {"ip_address": "192.0.2.1"},\n "app1": {"ip_address": "192.0.2.2"}}}'
        message = refusal(text)
        assert message.startswith("site.json line 3 column 2: ")
        assert "host app1 is in machinfo twice, with the addresses 192.0.2.1 and 192.0.2.2" in message

    def test_finds_a_key_twice_below_lists_and_escapes(self):
        message = refusal('{"a": [{"x": "}\\"{"}, {"k": {"y": 1}, "z": [1, {"q": 1}], "k": 2}]}')
        assert "k is written twice in a[1]" in message

    def test_same_key_in_different_objects_is_fine(self):
        assert data.parse_site('{"a": {"k": 1}, "b": [{"k": 1}, {"k": 2}]}')["b"][1] == {"k": 2}


class TestLoadSite:
    def test_missing_file(self, tmp_path):
        with pytest.raises(BadInput, match="does not exist"):
            data.load_site(tmp_path / "none.json")

    def test_directory(self, tmp_path):
        with pytest.raises(BadInput, match="cannot be read"):
            data.load_site(tmp_path)

    def test_not_utf8(self, tmp_path):
        (tmp_path / "site.json").write_bytes(b'{\n"a": "\xff"}')
        with pytest.raises(BadInput, match="line 2: not UTF-8"):
            data.load_site(tmp_path / "site.json")


class TestDump:
    def test_round_trip_keeps_the_order(self, small):
        text = data.dump(small)
        assert text.endswith("}\n") and json.loads(text) == small
        assert list(json.loads(text)) == list(small)


class TestWriteSite:
    def test_writes_atomically_for_the_owner_only(self, tmp_path, small):
        path = tmp_path / "site.json"
        data.write_site(path, small)
        assert data.load_site(path) == small
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        assert os.listdir(tmp_path) == ["site.json"]


class TestDigest:
    def test_layout_and_order_do_not_matter(self, small):
        assert data.digest(dict(reversed(small.items()))) == data.digest(small)
        assert data.digest({**small, "domain": "other.example.net"}) != data.digest(small)


class TestNormalise:
    def test_hyphens_and_single_address(self, small):
        raw = copy.deepcopy(small)
        raw["ops_email"] = "ops@example.net"
        for spelling, role in data.SPELLINGS.items():
            raw["svclist"][spelling] = raw["svclist"].pop(role)
        before = copy.deepcopy(raw)
        site = data.normalise(raw)
        assert site["ops_email"] == ["ops@example.net"]
        assert not set(site["svclist"]) & set(data.SPELLINGS)
        assert raw == before

    def test_survives_nonsense(self):
        for raw in ({}, {"svclist": []}, {"svclist": {"mq": 3}, "machinfo": "x"}):
            site = data.normalise(raw)
            assert data.roles_of(site) == {} and data.run_order(site) == {}


class TestRunOrder:
    def test_earliest_stage_of_each_host(self, small):
        assert data.run_order(small) == {"app1": 1, "app2": 5, "app3": 6, "store1": 6, "store2": 6, "store3": 6}


class TestPathText:
    def test_quotes_names_with_dots(self):
        assert data.path_text(["machinfo", "a.b", "ip_address"]) == 'machinfo["a.b"].ip_address'
        assert data.path_text(["ops_email", 0]) == "ops_email[0]"


class TestShown:
    @pytest.mark.parametrize("path", ["svclist.web_db.admin_pass", "svclist.mq.cookie", "svclist.ca.key_pass",
                                      "svclist.web_frontend.session_key", "saas_check_secret",
                                      "svclist.caql_broker.registration_token", "authentication.ldap.bind_pass"])
    def test_hides_secrets(self, path):
        assert data.shown("hunter2", path.split(".")) == "a hidden value"

    @pytest.mark.parametrize("path", ["cookie_domain", "svclist.web_db.master"])
    def test_shows_the_rest(self, path):
        assert data.shown("x", path.split(".")) == '"x"'


class TestLayout:
    def test_kinds(self, small, pair):
        assert data.layout({"main": small}) == "single"
        assert data.layout(pair) == "pair"
        other = json.loads(json.dumps(small).replace('"app', '"eu-app').replace('"store', '"eu-store'))
        assert data.layout({"a": small, "b": other}) == "unrelated"
        assert data.layout({**pair, "north": pair["west"]}) == "many"

    def test_2019(self, pair):
        assert data.layout(in_2019(pair)) == "pair_2019"


def in_2019(pair):
    """The pair in the layout of the 2019 manual."""
    result = copy.deepcopy(pair)
    for site in result.values():
        del site["active_datacenter"]
        del site["svclist"]["data_storage"]["secondary_cluster"]
        for role in site["svclist"]:
            if role not in ("ca", "data_storage", "caql_broker", "web_db"):
                site["svclist"][role]["_machlist"] = [
                    h for s in pair.values() for h in s["svclist"][role]["_machlist"]]
    return result


class TestPlacement:
    def test_by_role_lists_connect_hosts_and_network(self, pair):
        placed, missing = data.placement(pair)
        assert missing == []
        assert {h: s for h, s in placed.items() if not h.startswith(s)} == {}
        assert placed["east-db1"] == "east" and placed["west-db2"] == "west" and len(placed) == 28

    def test_2019_layout(self, pair):
        placed, missing = data.placement(in_2019(pair))
        assert missing == [] and {h for h, s in placed.items() if not h.startswith(s)} == set()

    def test_a_host_nobody_places(self, pair):
        for site in pair.values():
            site["machinfo"]["db9"] = {"ip_address": "203.0.113.9"}
            site["svclist"]["web_db"]["_machlist"].append("db9")
        assert data.placement(pair)[1] == ["db9"]
        placed, missing = data.placement(pair, {"west": ["db9"]})
        assert placed["db9"] == "west" and missing == []


class TestActivity:
    def test_rules(self, small, pair):
        assert data.activity({"main": small})["main"] == {"active": True, "rule": "single site"}
        assert {n: a["active"] for n, a in data.activity(pair).items()} == {"east": True, "west": False}
        assert data.activity(in_2019(pair))["west"] == {"active": False, "rule": "web_db.master"}
