# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import pytest
from ansible_collections.circonus.inside.plugins.plugin_utils import catalogue, pki_audit, pki_targets

RAW = {"domain": "example.com", "svclist": {"web_frontend": {"url_host": "portal"}, "api": {}, "web-stream": {
    "stream_service_name": "live"}}}


def known(release=None):
    return dict(zip(catalogue.names(), catalogue.for_roles(catalogue.names(), release), strict=True))


def ports(roles, release=None, stopped=(), raw=None, extra=()):
    entries = catalogue.for_roles(roles, release, "app1")
    items = pki_audit.wanted(entries, "app1", (), extra, release)
    return {(item["role"], item["port"]): item
            for item in pki_targets.ports("app1", entries, items, stopped, release, raw or RAW)}


class TestPorts:
    def test_a_port_between_hosts_shows_the_pair_of_its_role(self):
        item = ports(["stratcon"])[("stratcon", 43191)]
        assert item["file"] == item["cert"] == "/opt/noit/prod/etc/stratcon.crt" and item["sni"] == "app1"
        assert item["verifies"] and not item["optional"] and not item["users"] and item["ca"].endswith("/ca.crt")
        assert ports(["broker"])[("broker", 43191)]["verifies"]

    def test_a_port_for_users_shows_their_certificate_under_their_names(self):
        found = ports(["web_frontend", "api", "web_stream"])
        assert set(found) == {("web_frontend", 443), ("api", 443), ("web_stream", 9443)}
        web, stream = found[("web_frontend", 443)], found[("web_stream", 9443)]
        assert (web["file"], web["names"], web["sni"]) == (
            "/www/etc/ssl/web.crt", ["portal.example.com"], "portal.example.com")
        assert "cert" not in web and not web["verifies"]
        assert stream["names"] == ["live", "live.example.com"]
        assert found[("api", 443)]["names"] == ["api.example.com"]

    def test_no_certificate_for_users(self):
        raw = {"domain": "x", "svclist": {"api": {"certificate_type": "none"}}}
        assert ports(["api"], raw=raw)[("api", 443)]["optional"]

    def test_what_only_some_releases_have_may_be_absent(self):
        assert ports(["fault_detection"])[("fault_detection", 43191)]["optional"]
        assert not ports(["fault_detection"], "2019-11-04")[("fault_detection", 43191)]["optional"]
        assert ports(["fault_detection"], "2021-01-11")[("fault_detection", 43191)]["optional"]

    def test_a_role_that_is_kept_stopped_has_no_ports(self):
        assert ports(["fault_detection"], stopped=["fault_detection"]) == {}

    def test_plain_ports_and_ranges_are_left_alone(self):
        assert ports(["mq", "data_storage", "web_db", "hub", "notification"]) == {}

    def test_files_of_a_role_that_the_catalogue_does_not_know(self):
        assert ports(["caql_broker"])[("caql_broker", 8081)]["file"] is None
        extra = [{"path": "/c.crt", "kind": "cert", "role": "caql_broker"}]
        assert ports(["caql_broker"], extra=extra)[("caql_broker", 8081)]["file"] == "/c.crt"


class TestLinks:
    @pytest.mark.parametrize("role, wanted", [
        ("api", {"broker", "stratcon"}), ("hub", {"broker", "stratcon"}), ("stratcon", {"broker", "fault_detection"}),
        ("web_frontend", {"broker", "stratcon", "fault_detection"}), ("web_stream", {"broker", "stratcon"}),
        ("broker", set()), ("mq", set()), ("data_storage", set()),
    ])
    def test_the_ssl_roles_of_the_manual(self, role, wanted):
        found = pki_targets.links(catalogue.for_roles([role], None, "app1"), known())
        assert {to for _role, to, _port in found} == wanted and {port["port"] for _r, _t, port in found} <= {43191}


class TestPeers:
    WHERE = {"stratcon": [{"host": "s1", "site": "east", "address": "192.0.2.1"},
                          {"host": "s2", "site": "west", "address": "192.0.2.2"}],
             "broker": [{"host": "b1", "site": "west", "address": "192.0.2.3"}]}

    def peers(self, role="api", site="east", stopped=(), skip=()):
        entries = catalogue.for_roles([role], None, "app1")
        needed = pki_targets.links(entries, known())
        return pki_targets.peers(site, needed, pki_audit.wanted(entries, "app1"), self.WHERE, stopped, skip)

    def test_servers_of_the_own_site_and_every_broker(self):
        found = self.peers()
        assert [(item["to_role"], item["to"], item["address"]) for item in found] == [
            ("broker", "b1", "192.0.2.3"), ("stratcon", "s1", "192.0.2.1")]
        assert found[0]["ca"] == "/www/etc/ssl/ca.crt" and found[0]["key"] == "/www/etc/ssl/app1.key"
        assert [item["to"] for item in self.peers(site="west")] == ["b1", "s2"]

    def test_stratcon_brings_its_crl(self):
        assert {item["to"]: item["crl"] for item in self.peers("stratcon")} == {
            "b1": "/opt/noit/web/stratcon/pki/ca.crl"}

    def test_a_broker_that_calls_instead_of_being_called(self):
        assert [item["to"] for item in self.peers(skip=["b1"])] == ["s1"]

    def test_a_role_that_is_kept_stopped_needs_nothing(self):
        assert self.peers(stopped=["api"]) == []
