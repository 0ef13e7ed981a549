# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import pytest
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput
from ansible_collections.circonus.inside.plugins.module_utils.site_file import canonical_sha256
from ansible_collections.circonus.inside.plugins.plugin_utils import ca_reissue as c
from ansible_collections.circonus.inside.plugins.plugin_utils import catalogue, failover, findings

WWW, NOIT, ERNIE, ENZO = "/www/etc/ssl", "/opt/noit/prod/etc", "/opt/circonus/etc/ernie", "/opt/circonus/etc/enzo"
LAYOUT = {
    "app1": ("web_db", "ca", "web_frontend", "fault_detection"), "app2": ("api", "caql_broker"),
    "app3": ("stratcon", "hub", "web_stream"),
}
PARAMS = {"ca_reissue_expiry_days": 30, "ca_reissue_hooper_mode": "maintenance", "ca_reissue_timeout_s": 60,
          "ca_reissue_hooper_runs": 3, "circonus_release": None}
RUN = {"controller": "noc/0/1/1", "run_id": "r1"}
UP = {"active": "active", "enabled": "enabled", "exists": True, "load": "loaded", "since_epoch": 1000.0}
DOWN = dict(UP, active="inactive", enabled="disabled", since_epoch=None)
SIGNS = {"records": [], "processor": {"active": "active", "enabled": "enabled", "exists": True}}
SILENT = {"records": [], "processor": {"active": "inactive", "enabled": "disabled", "exists": True}}


def raw(site):
    hosts = {role: ["%s-%s" % (site, name)] for name, roles in LAYOUT.items() for role in roles}
    machines = {"%s-%s" % (s, name): {"ip_address": "192.0.2.%d" % n}
                for n, (s, name) in enumerate([(s, h) for s in ("east", "west") for h in LAYOUT], 1)}
    services = {role: {"_machlist": names} for role, names in hosts.items()}
    services["web_db"] = {"_machlist": ["east-app1", "west-app1"], "master": "east-app1",
                          "connect_host": site + "-app1"}
    services["ca"]["primary"] = "east-app1"
    return {"machinfo": machines, "svclist": services, "active_datacenter": site == "east"}


def world(found=(), release="2019-11-04", renewals=None):
    """(situation, facts, audit) of a healthy platform of two sites and a broker, with findings."""
    sites = {name: {"raw": raw(name), "hosts": ["%s-%s" % (name, host) for host in LAYOUT], "file": name}
             for name in ("east", "west")}
    nodes = {"%s-%s" % (site, host): {"site": site, "roles": list(roles)}
             for site in sites for host, roles in LAYOUT.items()}
    nodes["broker1"] = {"site": "east", "roles": ["broker"]}
    probes = {}
    for host, node in nodes.items():
        units = {name: dict(UP) for role in node["roles"] for name in catalogue.unit_names(role)}
        for name in list(units):
            passive = node["site"] == "west" and name in ("circonus-ernie", "circonus-fault-detection")
            if passive or (name == "circonus-ca_processor" and host != "east-app1"):
                units[name] = dict(DOWN)
        probes[host] = {"reachable": True, "units": units, "web_db": {},
                        "site": {"present": True, "sha256": canonical_sha256(sites[node["site"]]["raw"])}}
    probes["east-app1"]["web_db"] = {"running": True, "in_recovery": False}
    situation = failover.Situation(sites, probes, {name: catalogue.unit_names(name) for name in catalogue.names()})
    answers = dict.fromkeys(nodes)
    facts = {
        "nodes": nodes,
        "entries": {host: catalogue.for_roles(node["roles"], release, host) for host, node in nodes.items()},
        "answers": answers,
        "renewals": dict({host: SIGNS if host == "east-app1" else SILENT for host in nodes if host != "broker1"},
                         **(renewals or {})),
        "order": {host: 1 if host.endswith("app1") else 6 for host in nodes if host != "broker1"},
        "standby": ["west"],
    }
    certificates = [fact(host, one["path"], "%x" % (0x1000 + number))
                    for host in sorted(facts["order"])
                    for number, one in enumerate(c.sets(facts["entries"][host], host), 16 * len(host))
                    if one["kind"] == "cert"]
    for number, item in enumerate(certificates):
        item["serial"] = "%x" % (0x1000 + number)
    audit = {"findings": list(found), "unknown": [], "checked": {}, "certificates": certificates}
    return situation, facts, audit


def fact(host, path, serial, **more):
    return dict({"host": host, "path": path, "kind": "cert", "issuer": "CN=CA", "serial": serial, "self_issued": False,
                 "sha256": "%s-%s" % (host, serial)}, **more)


def finding(ident, host, path, role="stratcon"):
    values = dict(dict.fromkeys(findings.fields(ident), "x"), path=path)
    made = findings.make(ident, host, role, host.split("-")[0], **values)
    return dict(made, path=path)


def decide(monkeypatch, found=(), renewals=None, params=None, change=None, **options):
    situation, facts, audit = world(found, renewals=renewals, **options)
    if change:
        change(situation, facts, audit)
    monkeypatch.setattr(c, "evaluate", lambda *_all: audit)
    return c.verdict(situation, facts, dict(PARAMS, **(params or {})), RUN)


def asides(verdict):
    return {(host, item["path"]): item["files"] for wave in verdict["waves"]
            for host, items in wave["aside"].items() for item in items}


def restarted(verdict):
    return [(item["host"], item["args"]["only"]) for item in verdict["restarts"] if item["restart"]]


STRATCON = ("east-app3", NOIT + "/stratcon.crt")


class TestSets:
    def test_a_pair_that_several_roles_read_is_one_set(self):
        found = c.sets(catalogue.for_roles(["hub", "web_frontend"], None, "app1"), "app1")
        assert [(one["path"], one["kind"], one["roles"]) for one in found] == [
            (WWW + "/app1.crt", "cert", ["hub", "web_frontend"]), (WWW + "/ca.crt", "ca", ["hub", "web_frontend"])]

    def test_neither_brokers_nor_the_authority_itself(self):
        assert c.sets(catalogue.for_roles(["broker", "ca"], None, "app1"), "app1") == []

    def test_the_operators_own_files(self):
        extra = [{"path": "/a/x.crt", "kind": "cert", "role": "caql_broker", "host": "app1"},
                 {"path": "/a/x.key", "kind": "key", "role": "caql_broker", "host": "app1"},
                 {"path": "/b/y.crt", "kind": "cert", "role": "caql_broker", "host": "app2"}]
        one, = c.sets([], "app1", extra)
        assert (one["path"], one["key"], one["extra"]) == ("/a/x.crt", "/a/x.key", True)


class TestVerdict:
    def test_a_healthy_platform_needs_nothing(self, monkeypatch):
        verdict = decide(monkeypatch)
        assert verdict["result"] == "nothing_to_do" and verdict["lock_hosts"] == []

    @pytest.mark.parametrize("ident", [i for i in c.CERTIFICATE if i != "pki_missing"])
    def test_a_good_key_is_kept(self, monkeypatch, ident):
        verdict = decide(monkeypatch, [finding(ident, *STRATCON)])
        assert asides(verdict) == {STRATCON: [STRATCON[1]]}, verdict

    @pytest.mark.parametrize("ident,path", [(ident, STRATCON[1].replace("crt", end)) for ident in c.PAIR
                                            for end in ("crt", "key")] + [("pki_missing", NOIT + "/stratcon.key"),
                                                                          ("pki_malformed", NOIT + "/stratcon.key")])
    def test_a_bad_key_goes_with_its_certificate(self, monkeypatch, ident, path):
        verdict = decide(monkeypatch, [finding(ident, STRATCON[0], path)])
        assert asides(verdict) == {STRATCON: [STRATCON[1], NOIT + "/stratcon.key"]}, verdict

    def test_what_is_missing_is_made(self, monkeypatch):
        plan = decide(monkeypatch, [finding("pki_missing", *STRATCON)])["plan"]
        assert "Have %s on %s made (pki_missing: no such file)" % STRATCON[::-1] in plan, plan

    def test_new_keys_when_asked(self, monkeypatch):
        verdict = decide(monkeypatch, [finding("pki_expired", *STRATCON)], params={"ca_reissue_new_key": True})
        assert len(asides(verdict)[STRATCON]) == 2

    def test_a_wrong_ca_certificate_is_fetched_again(self, monkeypatch):
        verdict = decide(monkeypatch, [finding("pki_ca_differs", "east-app3", NOIT + "/ca.crt")])
        assert asides(verdict) == {("east-app3", NOIT + "/ca.crt"): [NOIT + "/ca.crt"]}
        assert restarted(verdict) == [("east-app3", ["stratcon"])] and not verdict["restarts"][0]["presents"]

    def test_a_new_key_is_for_what_has_one(self, monkeypatch):
        verdict = decide(monkeypatch, [finding("pki_ca_differs", "east-app3", NOIT + "/ca.crt")],
                         params={"ca_reissue_new_key": True})
        assert asides(verdict) == {("east-app3", NOIT + "/ca.crt"): [NOIT + "/ca.crt"]}

    def test_a_ca_that_ends_soon_is_not_mended_by_another_copy(self, monkeypatch):
        verdict = decide(monkeypatch, [finding("pki_expiring", "east-app3", NOIT + "/ca.crt")])
        assert verdict["result"] == "nothing_to_do" and "Left alone" in verdict["warnings"][0]

    def test_a_stale_keystore_needs_hooper_only(self, monkeypatch):
        verdict = decide(monkeypatch, [finding("pki_keystore_stale", "east-app1", ERNIE + "/ernie.jks",
                                               "fault_detection")])
        assert asides(verdict) == {("east-app1", ERNIE + "/ernie.crt"): []}
        assert verdict["waves"][0]["hooper"] == ["east-app1"] and restarted(verdict) == [("east-app1", ["ernie"])]

    def test_restarts_in_dependency_order_passive_site_first(self, monkeypatch):
        found = [finding("pki_expired", site + "-app%d" % n, path % {"host": site + "-app%d" % n}, role)
                 for site in ("east", "west")
                 for n, path, role in ((3, ENZO + "/enzo.crt", "web_stream"), (3, NOIT + "/stratcon.crt", "stratcon"),
                                       (2, WWW + "/%(host)s.crt", "api"), (1, WWW + "/%(host)s.crt", "web_frontend"))]
        verdict = decide(monkeypatch, found)
        assert restarted(verdict) == [
            ("west-app1", ["http"]), ("east-app1", ["http"]), ("west-app2", ["network_api"]),
            ("east-app2", ["network_api"]), ("west-app3", ["stratcon"]), ("east-app3", ["stratcon"]),
            ("west-app3", ["enzo"]), ("east-app3", ["enzo"])]

    def test_only_ports_between_hosts_are_looked_at(self, monkeypatch):
        found = [finding("pki_expired", "east-app3", ENZO + "/enzo.crt", "web_stream"),
                 finding("pki_expired", *STRATCON)]
        verdict = decide(monkeypatch, found)
        assert {item["role"]: [port["port"] for port in item["presents"]] for item in verdict["restarts"]} == {
            "stratcon": [43191], "web_stream": []}

    def test_what_is_kept_stopped_is_not_started(self, monkeypatch):
        verdict = decide(monkeypatch, [finding("pki_expired", "west-app1", ERNIE + "/ernie.crt", "fault_detection")])
        assert restarted(verdict) == [] and any("kept stopped" in line for line in verdict["plan"]), verdict["plan"]

    def test_hosts_in_hoopers_order(self, monkeypatch):
        found = [finding("pki_expired", "east-app2", WWW + "/east-app2.crt", "api"),
                 finding("pki_expired", "east-app1", WWW + "/east-app1.crt", "web_frontend")]
        verdict = decide(monkeypatch, found)
        assert [wave["hosts"] for wave in verdict["waves"]] == [["east-app1"], ["east-app2"]]
        assert verdict["ca_step"]["only"] == ["ca_processor"] and verdict["ca_host"] == "east-app1"

    def test_users_brokers_and_the_rest_are_named_and_left_alone(self, monkeypatch):
        found = [finding("pki_expired", "east-app2", WWW + "/api.crt", "api"),
                 finding("pki_expired", "broker1", "/opt/napp/etc/ssl/appliance.crt", "broker"),
                 finding("pki_mode", "east-app3", NOIT + "/stratcon.key"),
                 finding("pki_crl_missing", "east-app3", "/opt/noit/web/stratcon/pki/ca.crl")]
        verdict = decide(monkeypatch, found)
        assert verdict["result"] == "nothing_to_do", verdict
        texts = verdict["warnings"]
        assert [text for text in texts if c.USERS in text and "api.crt" in text], texts
        assert [text for text in texts if c.LEFT_BROKER in text] and [text for text in texts if "chmod" in text]
        assert [text for text in texts if "refresh command" in text] and len(texts) == 4

    @pytest.mark.parametrize("params,hosts", [
        ({"ca_reissue_roles": ["api"]}, {"east-app2", "west-app2"}),
        ({"ca_reissue_limit": ["west"]}, {"west-app2", "west-app3"}),
        ({"ca_reissue_limit": ["east-app3"]}, {"east-app3"}),
        ({"ca_reissue_limit": ["east-app3"], "ca_reissue_roles": ["api"]}, set())])
    def test_by_role_and_by_host(self, monkeypatch, params, hosts):
        found = []
        for site in ("east", "west"):
            found += [finding("pki_expired", site + "-app2", WWW + "/%s-app2.crt" % site, "api"),
                      finding("pki_expired", site + "-app3", NOIT + "/stratcon.crt")]
        verdict = decide(monkeypatch, found, params=params)
        assert {target["host"] for target in verdict.get("targets") or []} == hosts

    def test_by_serial_number_and_nothing_else(self, monkeypatch):
        audit = world()[2]
        item = next(item for item in audit["certificates"] if (item["host"], item["path"]) == STRATCON)
        written = "0x" + ":".join(["0" + item["serial"][:1], item["serial"][1:].upper()])
        verdict = decide(monkeypatch, [finding("pki_expired", "east-app2", WWW + "/east-app2.crt", "api")],
                         params={"ca_reissue_serials": [written]})
        assert asides(verdict) == {STRATCON: [STRATCON[1]]}
        again = decide(monkeypatch, params={"ca_reissue_serials": ["beef"]})
        assert again["result"] == "nothing_to_do"

    @pytest.mark.parametrize("params,words", [
        ({"ca_reissue_roles": ["broker"]}, "ca_reissue_roles has broker: a broker provisions itself"),
        ({"ca_reissue_roles": ["ca"]}, "the CA's own certificate"),
        ({"ca_reissue_roles": ["appi"]}, "ca_reissue_roles must be of .*found appi"),
        ({"ca_reissue_limit": ["north"]}, "ca_reissue_limit must name hosts or sites .*found north"),
        ({"ca_reissue_serials": ["xyz"]}, "Expected serial numbers in hex")])
    def test_refuses_names_that_are_none(self, monkeypatch, params, words):
        with pytest.raises(BadInput, match=words):
            decide(monkeypatch, params=params)


def _running_twice(situation, facts, _audit):
    facts["renewals"]["west-app1"] = SIGNS


def _silent_ca(situation, facts, _audit):
    facts["renewals"]["west-app1"] = {"reachable": False, "msg": "no route"}


def _switched_off(situation, facts, _audit):
    facts["renewals"]["east-app1"] = SILENT


def _two_primaries(situation, facts, _audit):
    situation.sites["west"]["raw"]["svclist"]["ca"]["primary"] = "west-app1"


def _no_database(situation, facts, _audit):
    situation.primaries = []


def _killswitch(situation, facts, _audit):
    situation.probes["east-app3"]["killswitch"] = True


def _other_site(situation, facts, _audit):
    situation.probes["east-app3"]["site"]["sha256"] = "other"


def _unreachable(situation, facts, _audit):
    situation.probes["east-app3"] = {"reachable": False, "msg": "no route"}


def _broken_ca(situation, facts, audit):
    audit["findings"].append(finding("pki_expired", "east-app1", "/opt/circonus/CA/public-info/ca.crt", "ca"))


class TestRefusals:
    @pytest.mark.parametrize("change,words", [
        (_running_twice, "it runs on west-app1 too"),
        (_silent_ca, "west-app1 cannot be asked (no route)"),
        (_switched_off, "somebody keeps it down"),
        (_two_primaries, "Expected one ca.primary in the site files, found east-app1, west-app1"),
        (_no_database, "No database accepts writes"),
        (_killswitch, "east-app3 has a Hooper killswitch"),
        (_other_site, "Run site_distribute.yml first"),
        (_unreachable, "east-app3 does not answer (no route)"),
        (_broken_ca, "Nothing is issued by a CA that is broken itself"),
    ])
    def test_nothing_begins_that_cannot_be_proven(self, monkeypatch, change, words):
        verdict = decide(monkeypatch, [finding("pki_expired", *STRATCON)], change=change)
        assert verdict["result"] == "refused" and words in verdict["reason"], verdict["reason"]

    def test_a_processor_that_somebody_started_by_hand_is_right(self, monkeypatch):
        by_hand = {"records": [], "processor": {"active": "active", "enabled": "disabled", "exists": True}}
        verdict = decide(monkeypatch, [finding("pki_expired", *STRATCON)], renewals={"east-app1": by_hand})
        assert verdict["result"] == "proceed"

    def test_a_processor_that_is_down_but_wanted_is_started(self, monkeypatch):
        down = {"records": [], "processor": {"active": "failed", "enabled": "enabled", "exists": True}}
        verdict = decide(monkeypatch, [finding("pki_expired", *STRATCON)], renewals={"east-app1": down})
        assert verdict["result"] == "proceed" and "Restart circonus-ca_processor on east-app1" in verdict["plan"][0]


def left_by(accepted="", mtime=None):
    record = {"path": STRATCON[1], "run_id": "r0", "files": {STRATCON[1]: STRATCON[1] + ".aside-r0"},
              "accepted": accepted, "old": [], "mtime": mtime}
    return {STRATCON[0]: dict(SILENT, records=[record])}


class TestSilence:
    @staticmethod
    def silent(host, role=None):
        return findings.make("host_unreachable", host, role, host.split("-")[0], detail="no route")

    def test_nothing_to_do_is_not_said_of_hosts_that_were_not_looked_at(self, monkeypatch):
        verdict = decide(monkeypatch, [self.silent("west-app3")])
        assert verdict["result"] == "refused" and "west-app3 could not be looked at" in verdict["reason"], verdict
        elsewhere = decide(monkeypatch, [self.silent("west-app3")], params={"ca_reissue_limit": ["east"]})
        assert elsewhere["result"] == "nothing_to_do"

    def test_a_broker_that_is_silent_keeps_nobody_from_anything(self, monkeypatch):
        verdict = decide(monkeypatch, [self.silent("broker1", "broker")])
        assert verdict["result"] == "nothing_to_do"

    def test_others_are_not_kept_waiting(self, monkeypatch):
        verdict = decide(monkeypatch, [self.silent("west-app3"), finding("pki_expired", *STRATCON)])
        assert verdict["result"] == "proceed" and any("west-app3" in text for text in verdict["warnings"])


class TestResume:
    def test_missing_since_the_last_run(self, monkeypatch):
        verdict = decide(monkeypatch, [finding("pki_missing", *STRATCON)], renewals=left_by(),
                         params={"ca_reissue_roles": ["api"]})
        assert verdict["waves"][0]["hooper"] == ["east-app3"], "whatever is asked for, what was begun is finished"

    def test_issued_and_not_proven(self, monkeypatch):
        verdict = decide(monkeypatch, renewals=left_by(mtime=2000))
        wave, = verdict["waves"]
        assert wave["hooper"] == [] and wave["aside"] == {} and verdict["ca_step"] == {}
        assert restarted(verdict) == [("east-app3", ["stratcon"])]

    def test_proven_and_not_restarted(self, monkeypatch):
        verdict = decide(monkeypatch, renewals=left_by("abc", 2000))
        assert verdict["waves"] == [] and restarted(verdict) == [("east-app3", ["stratcon"])]
        assert verdict["close"] == {"east-app3": [STRATCON[1]]}

    def test_restarted_and_not_closed(self, monkeypatch):
        verdict = decide(monkeypatch, renewals=left_by("abc", 500))
        assert restarted(verdict) == [] and verdict["restarts"][0]["presents"][0]["port"] == 43191
        assert verdict["close"] == {"east-app3": [STRATCON[1]]}

    def test_needs_no_authority_when_only_a_restart_is_left(self, monkeypatch):
        verdict = decide(monkeypatch, renewals=left_by("abc", 2000), change=_switched_off)
        assert verdict["result"] == "proceed"


class TestJudge:
    def judge(self, found=(), serial="2000", old=None, hooper=True, record=None, **more):
        target = dict({"path": STRATCON[1], "kind": "cert", "key": NOIT + "/stratcon.key", "keystore": None,
                       "host": STRATCON[0], "aside": [STRATCON[1]] if hooper else [], "hooper": hooper,
                       "record": record}, **more)
        certificates = [fact(*STRATCON, serial)] if serial else []
        audit = {"findings": list(found), "certificates": certificates}
        return c.judge(audit, [target], old if old is not None else [["CN=CA", "1001", *STRATCON]])

    def test_a_new_one(self):
        assert self.judge()["proven"] == [{"host": STRATCON[0], "path": STRATCON[1], "sha256": "east-app3-2000"}]

    @pytest.mark.parametrize("found,serial", [([finding("pki_missing", *STRATCON)], None), ([], None),
                                              ([finding("pki_missing", "east-app3", NOIT + "/stratcon.key")], "2000")])
    def test_still_missing(self, found, serial):
        judged = self.judge(found, serial)
        assert judged["pending"] == ["east-app3"] and not judged["proven"]
        text = c.not_issued(judged, PARAMS, "east-app1")
        assert "journalctl -u circonus-ca_processor on east-app1" in text and c.HOOPER_LOG + " on east-app3" in text

    @pytest.mark.parametrize("ident", ["pki_signature", "pki_key_mismatch", "pki_name", "pki_serial_duplicate"])
    def test_one_that_is_not_right(self, ident):
        judged = self.judge([finding(ident, *STRATCON)])
        assert judged["problems"] and not judged["proven"] and "given back" in c.not_issued(judged, PARAMS, "x")

    def test_a_serial_number_that_was_given_before(self):
        judged = self.judge(serial="1001")
        assert "never given before, found 1001" in judged["problems"][0]
        other = self.judge(serial="1001", old=[["CN=CA", "1001", "east-app2", "/x"]])
        assert other["problems"]
        assert self.judge(serial="1001", old=[["CN=Another CA", "1001", "east-app2", "/x"]])["proven"]

    def test_what_an_earlier_run_brought_stood_there_already(self):
        record = {"files": {STRATCON[1]: "x"}, "accepted": "", "run_id": "r0"}
        old = [["CN=CA", "2000", *STRATCON], ["CN=CA", "1001", STRATCON[0], None]]
        assert self.judge(old=old, hooper=False, record=record)["proven"]
        assert self.judge(serial="1001", old=old, hooper=False, record=record)["problems"]

    def test_a_keystore_is_new_without_a_new_certificate(self):
        assert self.judge(serial="1001", aside=[])["proven"]

    def test_a_ca_that_issues_for_a_short_time_is_told(self):
        judged = self.judge([finding("pki_expiring", *STRATCON)])
        assert judged["proven"] and "issues for no longer" in judged["warnings"][0]

    def test_faults_of_others_are_not_its_own(self):
        others = [finding("pki_expired", "east-app2", WWW + "/api.crt", "api"),
                  finding("pki_mode", "east-app3", NOIT + "/stratcon.key")]
        assert self.judge(others)["proven"]


#: A place of each kind: (host, role, path, kind).
PLACES = {
    "certificate": ("east-app3", "stratcon", NOIT + "/stratcon.crt", "cert"),
    "key": ("east-app3", "stratcon", NOIT + "/stratcon.key", "key"),
    "authority": ("east-app3", "stratcon", NOIT + "/ca.crt", "ca"),
    "crl": ("east-app3", "stratcon", "/opt/noit/web/stratcon/pki/ca.crl", "crl"),
    "keystore": ("east-app1", "fault_detection", ERNIE + "/keystore.jks", "keystore"),
    "users": ("east-app2", "api", WWW + "/api.crt", "user_facing"),
    "broker": ("broker1", "broker", "/opt/napp/etc/ssl/appliance.crt", "cert"),
    "ca": ("east-app1", "ca", "/opt/circonus/CA/public-info/ca.crt", "ca"),
    "own": ("east-app2", "caql_broker", NOIT + "/caql_broker.crt", "cert"),
}
KEYLESS = ("pki_missing", "pki_unreadable", "pki_malformed", "pki_mode", "pki_owner")
#: Which classes the audit reports about which kind of file (pki_report).
REPORTED = {
    "cert": [i for i in findings.REGISTER if i.startswith("pki_") and "crl" not in i and "keystore" not in i
             and i not in ("pki_ca_differs", "pki_key_mismatch", "pki_key_encrypted", "pki_ca_processor_down")],
    "key": [*KEYLESS, "pki_key_mismatch", "pki_key_encrypted", "pki_weak_key", "pki_key_shared"],
    "ca": [*KEYLESS, "pki_expired", "pki_expiring", "pki_not_yet_valid", "pki_weak_key", "pki_weak_signature",
           "pki_usage", "pki_ca_differs", "pki_key_in_public"],
    "crl": [*KEYLESS, "pki_expired", "pki_expiring", "pki_crl_missing", "pki_crl_stale", "pki_crl_foreign"],
    "keystore": ["pki_unreadable", "pki_mode", "pki_owner", "pki_keystore_missing", "pki_keystore_stale"],
    "user_facing": [*KEYLESS, "pki_expired", "pki_expiring", "pki_not_yet_valid", "pki_weak_key", "pki_weak_signature",
                    "pki_user_facing"],
}


class TestRemedies:
    """What a finding says heals it, against what this procedure does about it."""

    @staticmethod
    def keystore():
        return next(one["keystore"] for one in c.sets(catalogue.for_roles(["fault_detection"], None, "east-app1"),
                                                      "east-app1") if one["keystore"]).replace("*", "x")

    def test_every_class_is_tried(self):
        tried = {ident for idents in REPORTED.values() for ident in idents}
        assert tried == {i for i in findings.REGISTER if i.startswith("pki_")} - {"pki_ca_processor_down"}

    @pytest.mark.parametrize("place,ident", [(place, ident) for place, values in PLACES.items()
                                             for ident in REPORTED[values[3]]])
    def test_ca_reissue_is_named_where_it_heals_and_only_there(self, monkeypatch, place, ident):
        host, role, path, kind = PLACES[place]
        path = self.keystore() if kind == "keystore" else path
        made = finding(ident, host, path, role)
        template = findings.pki_remedy(ident, kind, role, own=place == "own")
        text = template.format(path=path, host=host, role=role, wanted="x")
        named = "ca_reissue.yml" in text
        params = {}
        if named:
            assert "-e ca_reissue_limit=%s -e ca_reissue_roles=%s" % (host, role) in text
            params = {"ca_reissue_limit": [host], "ca_reissue_roles": [role]}
        verdict = decide(monkeypatch, [made], params=params)
        chosen = [(one["host"], one["hooper"]) for one in verdict.get("targets") or []]
        assert chosen == ([(host, True)] if named else []), (text, verdict)

    def test_days_beyond_its_own_are_given_along(self):
        assert findings.pki_remedy("pki_expiring", "cert", "api", days=30).endswith("ca_reissue_roles={role}")
        assert findings.pki_remedy("pki_expiring", "cert", "api", days=59.5).endswith(" -e ca_reissue_expiry_days=60")
