# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is concluded from handshakes: each finding fires, stays silent, and is one where the cause is one."""

from __future__ import annotations

import base64
import hashlib

import pki_corpus
import pytest
from ansible_collections.circonus.inside.plugins.plugin_utils import findings as f
from ansible_collections.circonus.inside.plugins.plugin_utils import pki_audit

NODES = {"ca1": {"site": "east", "roles": ["ca"]}, "str1": {"site": "east", "roles": ["stratcon"]},
         "api1": {"site": "east", "roles": ["api"]}, "hub1": {"site": "east", "roles": ["hub"]}}
CA, PORT = pki_corpus.authority("p256", 50), 43191


def text(certificate):
    return base64.b64encode(pki_corpus.der(certificate)).decode()


def sha256(certificate):
    return hashlib.sha256(pki_corpus.der(certificate)).hexdigest()


def file(path, kind, role, *certificates, **more):
    objects = [{"type": "crl" if kind == "crl" else "certificate", "der": text(one)} for one in certificates]
    return dict({"path": path, "kind": kind, "role": role, "state": "file", "mode": "0600", "owner": "root",
                 "format": "pem", "objects": objects, "keys": [], "unknown": 0, "error": "", "mtime": 1, "size": 9},
                **more)


class Seen:
    """A healthy platform: a CA host, a stratcon, and two hosts that talk to it. Tests break one thing of it."""

    def __init__(self):
        self.leaf, self.answers = {}, {}
        for number, host in enumerate(NODES):
            if host == "ca1":
                self.answers[host] = {"files": [file("/CA/ca.crt", "ca", "ca", CA.certificate)]}
                continue
            role = NODES[host]["roles"][0]
            public = pki_corpus.key("p256", 200 + number).public_key()
            self.leaf[host] = CA.issue(public, host)
            self.answers[host] = {"files": [
                file("/%s/ca.crt" % host, "ca", role, CA.certificate),
                file("/%s/my.crt" % host, "cert", role, self.leaf[host], names=[host], usage=["server", "client"]),
            ], "live": {"ports": [], "peers": []}}
        self.answers["str1"]["files"].append(file("/str1/ca.crl", "crl", "stratcon", CA.crl()))
        for answer in self.answers.values():
            answer.update(reachable=True, now=pki_corpus.NOW.timestamp())
        self.port = {
            "role": "stratcon", "port": PORT, "file": "/str1/my.crt", "ca": "/str1/ca.crt", "cert": "/str1/my.crt",
            "key": "/str1/my.key", "users": False, "names": [], "optional": False, "verifies": True, "outcome": "ok",
            "detail": "", "alert": None, "protocol": "TLSv1.3", "cipher": "X", "chain": [text(self.leaf["str1"])],
            "default_chain": [], "asks": True, "anonymous": "refused", "anonymous_detail": "handshake failure",
            "pair": ""}
        self.answers["str1"]["live"]["ports"].append(self.port)
        self.peers = {}
        for host in ("api1", "hub1"):
            role = NODES[host]["roles"][0]
            self.peers[host] = {
                "role": role, "to": "str1", "to_role": "stratcon", "to_site": "east", "port": PORT, "optional": False,
                "address": "192.0.2.9", "ca": "/%s/ca.crt" % host, "cert": "/%s/my.crt" % host,
                "key": "/%s/my.key" % host, "outcome": "ok", "detail": "", "alert": None, "protocol": "TLSv1.2",
                "cipher": "X", "sha256": sha256(self.leaf["str1"]), "chain": []}
            self.answers[host]["live"]["peers"].append(self.peers[host])

    def evaluate(self, **parameters):
        self.verdict = pki_audit.evaluate(NODES, self.answers, parameters)
        self.findings = self.verdict["findings"]
        for item in self.findings:
            assert set(f.KEYS) <= set(item) and "{" not in item["what"] + item["remedy"], item
        return [(item["id"], item["host"]) for item in self.findings]

    def item(self, host, kind):
        return next(one for one in self.answers[host]["files"] if one["kind"] == kind)

    def reissue(self, host, presented=True, **options):
        """Give a host another certificate on disk; the service presents it too, or still the old one."""
        public = pki_corpus.key("p256", 300).public_key()
        new = (options.pop("by", None) or CA).issue(public, host, **options)
        self.item(host, "cert")["objects"] = [{"type": "certificate", "der": text(new)}]
        if presented and host == "str1":
            self.present(new)
        return new

    def present(self, *chain):
        self.port["chain"] = [text(one) for one in chain]
        for peer in self.peers.values():
            peer["sha256"] = sha256(chain[0])

    def all_peers(self, **values):
        for peer in self.peers.values():
            peer.update(values)


@pytest.fixture
def seen():
    return Seen()


class TestHealthy:
    def test_nothing_to_say(self, seen):
        assert seen.evaluate() == [] and seen.verdict["unknown"] == []
        assert [(row["host"], row["outcome"], row["client_certificate"]) for row in seen.verdict["tls_ports"]] == [
            ("str1", "ok", "required")]
        assert [(row["from"], row["to"], row["outcome"]) for row in seen.verdict["tls_connections"]] == [
            ("api1", "str1", "ok"), ("hub1", "str1", "ok")]
        assert pki_audit.summary(seen.verdict).endswith(
            "on 4 of 4 hosts, 1 TLS ports and 2 connections are as they must be")

    def test_without_live_checks_there_is_nothing_to_judge(self, seen):
        for answer in seen.answers.values():
            answer.pop("live", None)
        assert seen.evaluate() == [] and seen.verdict["tls_ports"] == [] and "TLS" not in pki_audit.summary(
            seen.verdict)


class TestPorts:
    def test_a_service_that_was_not_restarted_after_a_renewal(self, seen):
        seen.reissue("str1", presented=False)
        assert seen.evaluate() == [("tls_stale", "str1")]
        only = seen.findings[0]
        assert only["severity"] == "warning" and "valid until 2027" in only["found"] and only["path"] == "/str1/my.crt"
        assert only["remedy"].startswith("service_restart.yml -e service_restart_role=stratcon")

    def test_it_is_critical_when_what_it_presents_has_expired(self, seen):
        old = CA.issue(pki_corpus.key("p256", 301).public_key(), "str1", start=-400, end=-2)
        seen.present(old)
        seen.all_peers(outcome="untrusted", detail="certificate has expired", chain=[text(old)])
        assert seen.evaluate() == [("tls_stale", "str1")], "and nothing about the clients"
        only = seen.findings[0]
        assert only["severity"] == "critical" and "expired 2.0 days ago" in only["found"]
        assert len(only["evidence"]) == 2 and "api on api1 does not trust stratcon on str1" in only["what"]

    def test_it_is_an_error_when_another_authority_issued_it(self, seen):
        other = pki_corpus.authority("p256", 51, text="Old CA")
        seen.present(other.issue(pki_corpus.key("p256", 302).public_key(), "str1"))
        assert seen.evaluate() == [("tls_stale", "str1")]
        assert seen.findings[0]["severity"] == "error" and "the CA did not issue" in seen.findings[0]["found"]

    def test_another_certificate_without_a_name(self, seen):
        seen.port["default_chain"] = [text(CA.issue(pki_corpus.key("p256", 303).public_key(), "old"))]
        assert seen.evaluate() == [("tls_stale", "str1")] and "without a name" in seen.findings[0]["found"]

    def test_an_expired_file_that_is_presented_is_one_finding_with_all_evidence(self, seen):
        seen.reissue("str1", start=-400, end=-3)
        seen.all_peers(outcome="untrusted", detail="certificate has expired")
        assert seen.evaluate() == [("pki_expired", "str1")]
        assert seen.findings[0]["evidence"][0] == "port 43191 presents it" and len(seen.findings[0]["evidence"]) == 3

    def test_a_file_that_is_gone_is_one_finding_that_says_what_is_still_presented(self, seen):
        seen.item("str1", "cert").update(state="missing", objects=[])
        assert seen.evaluate() == [("pki_missing", "str1")]
        assert "port 43191 still presents the certificate str1" in seen.findings[0]["what"]

    def test_an_incomplete_chain(self, seen):
        middle = pki_corpus.Authority(pki_corpus.key("p256", 304), "Middle", parent=CA)
        leaf = middle.issue(pki_corpus.key("p256", 305).public_key(), "str1")
        seen.item("str1", "cert")["objects"] = [
            {"type": "certificate", "der": text(one)} for one in (leaf, middle.certificate)]
        seen.present(leaf)
        seen.all_peers(outcome="untrusted", detail="unable to get local issuer certificate")
        assert seen.evaluate() == [("tls_chain", "str1")] and len(seen.findings[0]["evidence"]) == 2
        seen.present(leaf, middle.certificate)
        seen.all_peers(outcome="ok")
        assert seen.evaluate() == []

    @pytest.mark.parametrize("outcome, ident", [("unreachable", "tls_not_listening"), ("hung", "tls_hung"),
                                                ("plain", "tls_plain"), ("closed", "tls_handshake"),
                                                ("failed", "tls_handshake")])
    def test_a_port_that_does_not_speak_tls_is_one_finding_whoever_sees_it(self, seen, outcome, ident):
        seen.port.update(outcome=outcome, detail="why", chain=[], anonymous=None)
        seen.all_peers(outcome=outcome, detail="why", sha256=None)
        assert seen.evaluate() == [(ident, "str1")]
        assert "; api on api1 cannot talk to port 43191; hub on hub1" in seen.findings[0]["found"]
        assert {row["outcome"] for row in seen.verdict["tls_connections"]} == {outcome}

    def test_a_service_that_does_not_start_for_want_of_a_file_is_one_finding(self, seen):
        seen.item("str1", "cert").update(state="missing", objects=[])
        seen.port.update(outcome="unreachable", detail="connection refused", chain=[])
        seen.all_peers(outcome="unreachable", detail="connection refused", sha256=None)
        assert seen.evaluate() == [("pki_missing", "str1")]
        assert seen.findings[0]["evidence"][0] == "nobody listens on port 43191" and len(
            seen.findings[0]["evidence"]) == 3

    def test_a_port_that_may_be_absent(self, seen):
        seen.port.update(outcome="unreachable", detail="refused", optional=True, chain=[])
        seen.all_peers(outcome="unreachable", detail="refused", optional=True)
        assert seen.evaluate() == [] and seen.verdict["tls_ports"][0]["outcome"] == "absent"
        assert {row["outcome"] for row in seen.verdict["tls_connections"]} == {"absent"}

    def test_a_port_that_lets_anybody_in(self, seen):
        seen.port.update(anonymous="ok")
        assert seen.evaluate() == [("tls_client_unverified", "str1")]
        seen.port.update(verifies=False)
        assert seen.evaluate() == [] and seen.verdict["tls_ports"][0]["client_certificate"] == "asked for"

    def test_a_port_that_refuses_its_own_certificate_because_of_its_file(self, seen):
        seen.reissue("str1", by=pki_corpus.authority("p256", 52, text="Other"))
        seen.port.update(outcome="refused", alert="unknown ca", detail="unknown ca")
        assert seen.evaluate() == [("pki_issuer", "str1")]
        assert "port 43191 refuses it (unknown ca)" in seen.findings[0]["evidence"]

    def test_a_port_that_refuses_its_own_certificate_without_a_reason(self, seen):
        seen.port.update(outcome="refused", alert="unknown ca", detail="unknown ca")
        seen.all_peers(outcome="refused", alert="unknown ca", detail="unknown ca")
        assert seen.evaluate() == [("tls_client_refused", "str1")], "the service has another CA than its file"
        assert "service_restart_role=stratcon" in seen.findings[0]["remedy"]

    def test_a_pair_that_cannot_be_loaded_is_told_by_its_file_or_not_known(self, seen):
        seen.port.update(pair="/str1/my.key cannot be used (bad decrypt)", outcome="refused", detail="")
        assert seen.evaluate() == [] and "bad decrypt" in seen.verdict["unknown"][0]

    def test_a_port_that_wants_a_certificate_of_a_role_without_known_files(self, seen):
        item = dict(seen.port, role="caql_broker", file=None, cert=None, key=None, outcome="refused", alert=None,
                    detail="handshake failure", verifies=False)
        seen.answers["api1"]["live"]["ports"].append(item)
        assert seen.evaluate() == []
        row = seen.verdict["tls_ports"][-1]
        assert (row["role"], row["outcome"], row["client_certificate"]) == ("caql_broker", "ok", "required")

    def test_a_port_that_was_not_tried_is_unknown(self, seen):
        seen.port.update(outcome="skipped", chain=[])
        seen.peers["hub1"].update(outcome="skipped")
        assert seen.evaluate() == [] and len(seen.verdict["unknown"]) == 2

    def test_names_of_users(self, seen):
        leaf = CA.issue(pki_corpus.key("p256", 306).public_key(), "portal.example.com")
        seen.answers["api1"]["files"].append(file("/api.crt", "user_facing", "api", leaf))
        item = dict(seen.port, role="api", port=443, file="/api.crt", users=True, names=["portal.example.com"],
                    verifies=False, anonymous="ok", chain=[text(leaf)], default_chain=[text(seen.leaf["api1"])])
        seen.answers["api1"]["live"]["ports"].append(item)
        assert seen.evaluate() == [], "without SNI another certificate may be shown to users"
        item["names"] = ["api.example.com"]
        assert seen.evaluate() == [("tls_name", "api1")]
        assert "for api.example.com, found portal.example.com" in seen.findings[0]["what"]

    def test_a_certificate_that_is_in_no_known_file(self, seen):
        leaf = CA.issue(pki_corpus.key("p256", 307).public_key(), "x", start=-400, end=-3)
        item = dict(seen.port, role="caql_broker", port=8081, file=None, verifies=False, chain=[text(leaf)])
        seen.answers["api1"]["live"]["ports"].append(item)
        assert seen.evaluate() == [("pki_expired", "api1")]
        assert "the certificate of port 8081 to be valid, found expired 3.0 days ago" in seen.findings[0]["what"]


class TestConnections:
    def test_a_firewall_between_two_hosts(self, seen):
        seen.peers["hub1"].update(outcome="unreachable", detail="no answer within 3 s", sha256=None)
        assert seen.evaluate() == [("tls_unreachable", "hub1")]
        assert "firewalls and routes between hub1 and str1, port 43191" in seen.findings[0]["remedy"]

    def test_a_host_that_is_down_is_one_finding(self, seen):
        seen.answers["str1"] = {"reachable": False, "msg": "no route"}
        seen.all_peers(outcome="unreachable", detail="no route to host", sha256=None)
        assert seen.evaluate() == [("host_unreachable", "str1")] and len(seen.findings[0]["evidence"]) == 2

    def test_an_address_that_leads_elsewhere(self, seen):
        seen.peers["hub1"]["sha256"] = "00"
        assert seen.evaluate() == [("tls_elsewhere", "hub1")] and "192.0.2.9" in seen.findings[0]["expected"]

    def test_a_client_with_another_ca(self, seen):
        other = pki_corpus.authority("p256", 53, text="Old CA")
        seen.item("hub1", "ca")["objects"] = [{"type": "certificate", "der": text(other.certificate)}]
        seen.peers["hub1"].update(outcome="untrusted", detail="self-signed certificate in certificate chain")
        assert seen.evaluate() == [("pki_ca_differs", "hub1")]
        assert "hub on hub1 does not trust stratcon on str1 (port 43191)" in seen.findings[0]["evidence"][0]

    def test_a_client_with_an_expired_certificate(self, seen):
        seen.reissue("hub1", start=-400, end=-3)
        seen.peers["hub1"].update(outcome="refused", alert="certificate expired", detail="certificate expired")
        assert seen.evaluate() == [("pki_expired", "hub1")]
        assert "refuses hub on hub1 (certificate expired)" in seen.findings[0]["evidence"][0]

    def test_a_client_that_is_not_trusted_and_nobody_knows_why(self, seen):
        seen.peers["hub1"].update(outcome="refused", alert="unknown ca", detail="unknown ca")
        assert seen.evaluate() == [("tls_client_refused", "hub1")]
        assert "pki_connectivity_from=hub -e pki_connectivity_to=stratcon" in seen.findings[0]["remedy"]

    def test_a_server_that_nobody_trusts_is_one_finding(self, seen):
        seen.all_peers(outcome="untrusted", detail="CRL has expired")
        assert seen.evaluate() == [("tls_untrusted", "str1")]
        assert "api on api1, hub on hub1" in seen.findings[0]["expected"]

    def test_an_expired_crl_is_the_cause_of_what_stratcon_does_not_trust(self, seen):
        crl = seen.item("str1", "crl")
        crl["objects"] = [{"type": "crl", "der": text(CA.crl(start=-40, end=-10))}]
        peer = dict(seen.peers["hub1"], role="stratcon", to="api1", to_role="broker", outcome="untrusted",
                    detail="CRL has expired", ca="/str1/ca.crt", crl="/str1/ca.crl", cert="/str1/my.crt")
        seen.answers["str1"]["live"]["peers"].append(peer)
        assert seen.evaluate() == [("pki_expired", "str1")]
        assert "(CRL has expired)" in seen.findings[0]["evidence"][0]

    def test_files_of_its_own_that_cannot_be_used(self, seen):
        seen.item("hub1", "cert").update(state="missing", objects=[])
        seen.peers["hub1"].update(outcome="local", detail="/hub1/my.crt is not there", sha256=None)
        assert seen.evaluate() == [("pki_missing", "hub1")] and len(seen.findings[0]["evidence"]) == 1
        seen.item("hub1", "cert").update(state="file", objects=[{"type": "certificate", "der": text(
            seen.leaf["hub1"])}])
        assert seen.evaluate() == [] and len(seen.verdict["unknown"]) == 1

    def test_a_host_that_was_left_out_is_judged_by_its_clients(self, seen):
        seen.answers["str1"] = None
        seen.peers["hub1"].update(outcome="unreachable", detail="refused", sha256=None)
        assert seen.evaluate() == [("tls_unreachable", "hub1")]
