# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import base64
import hashlib
import json

import pki_corpus
import pytest
from ansible_collections.circonus.inside.plugins.module_utils.errors import Refused
from ansible_collections.circonus.inside.plugins.plugin_utils import catalogue, report_findings
from ansible_collections.circonus.inside.plugins.plugin_utils import pki_connectivity as steps

CA = pki_corpus.authority("p256", 70)
TAKING = ("app1", "app2", "app3")
NODES = {
    "app1": {"site": "east", "roles": ["ca", "web_frontend"], "address": "192.0.2.1"},
    "app2": {"site": "east", "roles": ["api"], "address": "192.0.2.2"},
    "app3": {"site": "east", "roles": ["stratcon", "hub"], "address": "192.0.2.3"},
    "app9": {"site": "west", "roles": ["stratcon", "fault_detection", "caql_broker"], "address": "192.0.2.9"},
    "b1": {"site": None, "roles": ["broker"], "address": "192.0.2.41"},
}
SITES = {"east": {"raw": {"svclist": {"ca": {"_machlist": ["app1"], "primary": "app1"}}}, "active": True},
         "west": {"raw": {"svclist": {"ca": {"_machlist": ["app9"], "primary": "app1"}}}, "active": False}}


def known(release=None):
    return dict(zip(catalogue.names(), catalogue.for_roles(catalogue.names(), release), strict=True))


def plan(client="api", server="stratcon", release=None, **more):
    params = {"pki_connectivity_from": client, "pki_connectivity_to": server}
    params.update({"pki_connectivity_" + name: value for name, value in more.items()})
    return steps.plan(NODES, SITES, params, known(release))


class TestPlan:
    def test_hosts_and_port_come_from_inventory_and_catalogue(self):
        found = plan()
        assert (found["port"], found["pairs"]) == (43191, [("app2", "app3")])
        assert (found["ca"], found["stratcon"]) == (["app1"], ["app3"])
        assert found["hosts"] == {"app2": ["api"], "app3": ["stratcon"]}

    def test_a_broker_is_on_either_side(self):
        assert plan("stratcon", "broker")["pairs"] == [("app3", "b1"), ("app9", "b1")]
        found = plan("broker", "stratcon")
        assert found["pairs"] == [("b1", "app3"), ("b1", "app9")] and found["port"] == 43191

    def test_named_hosts_may_be_in_two_sites(self):
        assert plan(from_host="app2", to_host="app9")["pairs"] == [("app2", "app9")]
        assert plan(to_host="app3")["pairs"] == [("app2", "app3")]

    def test_a_role_that_is_kept_stopped_is_not_asked(self):
        with pytest.raises(Refused, match="run in the same site"):
            plan("stratcon", "fault_detection")

    @pytest.mark.parametrize("values, why", [
        ({"client": "apj"}, "a role in pki_connectivity_from"), ({"server": "x"}, "a role in pki_connectivity_to"),
        ({"client": "mq"}, "a certificate of its own"), ({"server": "api"}, "a TLS port for other hosts"),
        ({"from_host": "app1"}, "a host of api in pki_connectivity_from_host"),
        ({"to_host": "app9"}, "run in the same site"), ({"client": "web_stream"}, "a host with the role web_stream"),
        ({"client": "fault_detection", "release": "2021-01-11"}, "a certificate of its own"),
    ])
    def test_refuses_in_one_line(self, values, why):
        with pytest.raises(Refused, match=why) as error:
            plan(**values)
        assert "\n" not in str(error.value)

    def test_a_port_and_files_that_no_manual_names(self):
        assert plan(server="api", client="hub", port=443, from_host="app3", to_host="app2")["port"] == 443
        files = [{"role": "caql_broker", "path": "/c.crt", "kind": "cert"}]
        found = plan("caql_broker", "stratcon", files=files)
        assert found["pairs"] == [("app9", "app9")]

    def test_what_a_host_is_asked(self):
        wanted = plan()
        params = {"pki_connectivity_from": "api", "pki_connectivity_to": "stratcon"}
        asked = {host: steps.arguments(host, wanted, NODES, known(), params) for host in NODES}
        assert asked["b1"] is None and asked["app9"] is None
        kinds = {host: [(item["role"], item["kind"]) for item in asked[host]["files"]] for host in TAKING}
        assert kinds == {"app1": [("ca", "ca")], "app2": [("api", "ca"), ("api", "cert"), ("api", "key")],
                         "app3": [("stratcon", kind) for kind in ("ca", "cert", "key", "crl")]}
        assert asked["app2"]["files"][1]["path"] == "/www/etc/ssl/app2.crt"
        assert [(item["to"], item["port"], item["address"]) for item in asked["app2"]["peers"]] == [
            ("app3", 43191, "192.0.2.3")]
        assert [item["port"] for item in asked["app3"]["ports"]] == [43191] and asked["app2"]["ports"] == []

    def test_stratcon_shows_its_crl_also_when_it_is_not_one_of_the_two(self):
        wanted = plan("hub", "broker", from_host="app3", to_host="b1")
        asked = steps.arguments("app3", wanted, NODES, known(), {})
        assert [(item["role"], item["kind"]) for item in asked["files"]][-2:] == [
            ("stratcon", "ca"), ("stratcon", "crl")]


def text(certificate):
    return base64.b64encode(pki_corpus.der(certificate)).decode()


class Lab:
    """api on app2 talks to stratcon on app3; everything is well until a test breaks it."""

    def __init__(self):
        self.wanted = json.loads(json.dumps(plan()))  # as it comes back from Ansible
        self.answers = {host: steps.arguments(host, self.wanted, NODES, known(), {}) for host in TAKING}
        leaves = {}
        for number, (host, answer) in enumerate(self.answers.items()):
            private = pki_corpus.key("p256", 400 + number)
            leaves[host] = CA.issue(private.public_key(), host)
            public = hashlib.sha256(private.public_key().public_bytes(
                pki_corpus.serialization.Encoding.DER,
                pki_corpus.serialization.PublicFormat.SubjectPublicKeyInfo)).hexdigest()
            content = {"ca": [("certificate", CA.certificate)], "cert": [("certificate", leaves[host])],
                       "crl": [("crl", CA.crl())], "key": []}
            for item in answer["files"]:
                item.update(state="file", mode="0600", owner=item.get("wanted_owner"), format="pem", unknown=0,
                            error="", objects=[{"type": kind, "der": text(one)} for kind, one in content[item["kind"]]],
                            keys=[{"type": "ec", "bits": 256, "public_sha256": public, "encrypted": False, "error": ""}]
                            if item["kind"] == "key" else [])
            shown = {"outcome": "ok", "detail": "", "alert": None, "protocol": "TLSv1.3", "cipher": "x"}
            answer["live"] = {
                "ports": [dict(item, **shown, chain=[text(leaves[host])], default_chain=[], asks=True, pair="",
                               anonymous="refused", anonymous_detail="") for item in answer["ports"]],
                "peers": [dict(item, **shown, chain=[], sha256=None) for item in answer["peers"]]}
            answer.update(reachable=True, now=pki_corpus.NOW.timestamp())
        self.peer = self.answers["app2"]["live"]["peers"][0]
        self.peer["sha256"] = hashlib.sha256(pki_corpus.der(leaves["app3"])).hexdigest()
        self.answers["app1"]["ca_units"] = [
            {"unit": "circonus-ca_processor", "up": True, "active": "active", "sub": "running"}]

    def item(self, host, kind, role=None):
        return next(one for one in self.answers[host]["files"] if one["kind"] == kind)

    def put(self, host, kind, *certificates):
        self.item(host, kind)["objects"] = [{"type": "crl" if kind == "crl" else "certificate", "der": text(one)}
                                            for one in certificates]

    def gone(self, host, kind):
        self.item(host, kind).update(state="missing", objects=[], keys=[])

    def evaluate(self):
        self.verdict = steps.evaluate(self.wanted, NODES, self.answers, {})
        self.states = [step["state"] for step in self.verdict["sequence"]]
        return self.verdict["first"]


@pytest.fixture
def lab():
    return Lab()


class TestSteps:
    def test_all_seven_pass(self, lab):
        assert lab.evaluate() is None and set(lab.states) == {"pass"} and not lab.verdict["failed"]
        assert lab.verdict["findings"] == []
        assert "All seven steps pass between api and stratcon" in lab.verdict["reason"]
        texts = [step["checks"][0]["text"] for step in lab.verdict["sequence"]]
        assert texts[0] == "app1: circonus-ca_processor is running"
        assert texts[5] == "api on app2 to stratcon on app3:43191: TLSv1.3, verify return code 0"

    def test_1_the_processor_is_down(self, lab):
        lab.answers["app1"]["ca_units"][0].update(up=False, active="inactive", sub="dead")
        assert lab.evaluate() == 1 and lab.states == ["fail"] + ["pass"] * 6
        assert "service_operate_role=ca -e service_operate_verb=restart" in lab.verdict["reason"]
        assert [item["id"] for item in lab.verdict["findings"]] == ["pki_ca_processor_down"]

    def test_1_services_that_could_not_be_looked_at(self, lab):
        lab.answers["app1"].update(ca_units=None, ca_msg="no systemctl")
        assert lab.evaluate() == 1 and lab.states[0] == "not_reached" and lab.verdict["failed"]
        lab.gone("app2", "key")
        assert lab.evaluate() == 2, "what is known to be broken is the result"

    def test_2_a_file_is_missing(self, lab):
        lab.gone("app2", "cert")
        lab.peer.update(outcome="local", detail="/www/etc/ssl/app2.crt is not there", sha256=None)
        assert lab.evaluate() == 2 and "ca_reissue_limit=app2" in lab.verdict["reason"]
        assert lab.states == ["pass", "fail", "pass", "not_reached", "not_reached", "not_reached", "pass"]

    def test_3_another_ca(self, lab):
        other = pki_corpus.authority("p256", 71, text="Old CA")
        lab.put("app2", "ca", other.certificate)
        lab.peer.update(outcome="untrusted", detail="self-signed certificate in chain")
        assert lab.evaluate() == 3
        assert lab.states == ["pass", "pass", "fail", "pass", "pass", "fail", "pass"]
        assert "/www/etc/ssl/ca.crt" in lab.verdict["reason"] and "ca_reissue.yml" in lab.verdict["reason"]
        assert lab.verdict["sequence"][5]["remedy"] == lab.verdict["sequence"][2]["remedy"], "the cause, no more advice"

    def test_4_not_signed_by_the_ca_or_expired(self, lab):
        public = pki_corpus.key("p256", 401).public_key()
        lab.put("app2", "cert", pki_corpus.authority("p256", 72, text="X").issue(public, "app2"))
        lab.peer.update(outcome="refused", alert="unknown ca", detail="unknown ca")
        assert lab.evaluate() == 4 and lab.states[5] == "fail"
        lab.put("app2", "cert", CA.issue(public, "app2", start=-400, end=-1))
        assert lab.evaluate() == 4 and "expired 24 hours ago" in lab.verdict["reason"]

    def test_5_another_key(self, lab):
        lab.item("app2", "key")["keys"][0]["public_sha256"] = "00"
        lab.peer.update(outcome="local", detail="key values mismatch")
        assert lab.evaluate() == 5 and lab.states[4:] == ["fail", "not_reached", "pass"]

    def test_6_the_connection_fails(self, lab):
        lab.peer.update(outcome="unreachable", detail="no answer within 5 s", sha256=None)
        assert lab.evaluate() == 6 and "firewalls and routes between app2 and app3" in lab.verdict["reason"]
        assert "api on app2 to stratcon on app3:43191: no answer within 5 s" in lab.verdict["reason"]

    def test_6_the_service_still_has_another_ca(self, lab):
        lab.peer.update(outcome="refused", alert="unknown ca", detail="unknown ca")
        assert lab.evaluate() == 6 and "service_restart_role=stratcon" in lab.verdict["reason"]

    def test_7_the_crl_has_ended(self, lab):
        lab.put("app3", "crl", CA.crl(start=-40, end=-1))
        assert lab.evaluate() == 7 and "root's crontab on app3" in lab.verdict["reason"]
        lab.gone("app3", "crl")
        assert lab.evaluate() == 7

    def test_a_host_that_cannot_be_reached(self, lab):
        lab.answers["app2"] = {"reachable": False, "msg": "no route"}
        assert lab.evaluate() == 2 and "app2: no route" in lab.verdict["reason"]
        lab.answers["app2"] = None
        assert lab.evaluate() == 2 and "could not be looked at" in lab.verdict["reason"]

    def test_the_lines_of_the_report(self, lab):
        lab.gone("app2", "cert")
        lab.peer.update(outcome="local", detail="not there", sha256=None)
        lab.evaluate()
        lines = report_findings.sequence_lines(lab.verdict)
        assert lines[0] == "  1. ok          the CA processor runs"
        assert "  2. BROKEN      ca.crt, certificate and key are there" in lines
        assert any(line.startswith("       -> ca_reissue.yml -e ca_reissue_limit=app2") for line in lines)
        assert "  4. not reached the certificate is signed by the CA and valid" in lines
        assert "/www/etc/ssl/app2.crt" in report_findings.html_sequence(lab.verdict)
