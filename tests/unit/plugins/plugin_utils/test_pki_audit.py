# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import pki_corpus
import pytest
from ansible_collections.circonus.inside.plugins.module_utils import pki_files
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput
from ansible_collections.circonus.inside.plugins.plugin_utils import catalogue, pki_audit

NODES = {"app1": {"site": "east", "roles": ["broker", "ca"]}, "app2": {"site": "west", "roles": ["broker"]}}


def wanted(roles, host="app1", **options):
    return pki_audit.wanted(catalogue.for_roles(roles, options.get("release"), host), host, **options)


def kinds(items):
    return [(item["role"], item["kind"]) for item in items]


class TestWanted:
    def test_every_file_of_every_role(self):
        items = wanted(["api", "stratcon", "data_storage"])
        assert kinds(items)[:5] == [("api", "ca"), ("api", "cert"), ("api", "key"), ("api", "user_facing"),
                                    ("api", "user_facing")]
        assert ("stratcon", "crl") in kinds(items) and "data_storage" not in dict(kinds(items))
        by_kind = {item["kind"]: item for item in items[:3]}
        assert by_kind["cert"]["names"] == ["app1"] and by_kind["cert"]["usage"] == ["server", "client"]
        assert by_kind["key"]["wanted_owner"] == "root" and "wanted_owner" not in by_kind["ca"]

    def test_a_certificate_without_the_host_in_its_path_may_name_anybody(self):
        assert [item["names"] for item in wanted(["broker"]) if item["kind"] == "cert"] == [[]]

    def test_what_a_release_does_not_have_is_not_looked_for(self):
        assert ("fault_detection", "keystore") in kinds(wanted(["fault_detection"], release="2019-11-04"))
        assert wanted(["fault_detection"], release="2021-01-11") == []

    def test_without_a_release_what_only_some_have_is_optional(self):
        items = wanted(["fault_detection", "api"])
        assert {(item["role"], item.get("optional", False)) for item in items} == {
            ("fault_detection", True), ("api", False)}
        assert not any(item.get("optional") for item in wanted(["fault_detection"], release="2019-11-04"))

    def test_a_second_ca_host_has_no_files(self):
        assert wanted(["ca"], stopped=["ca"]) == [] and kinds(wanted(["ca"])) == [("ca", "ca")]

    def test_the_operators_own_files(self):
        extra = [{"path": "/a", "kind": "user_facing", "host": "app1"}, {"path": "/b", "kind": "crl", "host": "app2"},
                 {"path": "/c", "kind": "cert", "names": ["x"], "owner": "noit"}]
        items = wanted([], extra=extra)
        assert [item["path"] for item in items] == ["/a", "/c"]
        assert items[1]["names"] == ["x"] and items[1]["wanted_owner"] == "noit"

    @pytest.mark.parametrize("extra", [{"path": "/a"}, {"path": "/a", "kind": "pem"}, {"kind": "crl"}, "text"])
    def test_refuses_a_file_without_a_kind_in_one_line(self, extra):
        with pytest.raises(BadInput, match="Expected path and kind .* for every file of pki_audit_files"):
            wanted([], extra=[extra])


class TestEvaluate:
    @pytest.fixture
    def answers(self, tmp_path):
        """Two healthy hosts with keys of their own, the first is the CA host."""
        result = {}
        for number, host in enumerate(NODES):
            one = pki_corpus.FileSet(0, "")
            one.private = pki_corpus.key("p256", 60 + number)
            one.leaf = one.authority.issue(one.private.public_key(), host)
            asked = [dict(item, names=[host] if item["kind"] == "cert" else [])
                     for item in one.write(str(tmp_path / host))]
            if host == "app1":
                (tmp_path / "public.crt").write_bytes(pki_corpus.pem(one.root))
                asked.append({"path": str(tmp_path / "public.crt"), "kind": "ca", "role": "ca"})
            files = pki_files.collect(asked)
            result[host] = {"reachable": True, "files": files, "now": pki_corpus.NOW.timestamp()}
        return result

    def found(self, answers, **parameters):
        verdict = pki_audit.evaluate(NODES, answers, parameters)
        return [(item["id"], item["host"]) for item in verdict["findings"]], verdict

    def test_healthy(self, answers):
        found, verdict = self.found(answers)
        assert found == [] and verdict["unknown"] == []
        assert verdict["checked"] == {"hosts": 2, "of": 2, "roles": 3}
        assert {(one["host"], one["kind"]) for one in verdict["certificates"]} == {
            ("app1", "ca"), ("app1", "cert"), ("app2", "ca"), ("app2", "cert")}

    def test_a_host_that_was_not_reached_is_a_finding(self, answers):
        answers["app2"] = {"reachable": False, "msg": "no route"}
        found, verdict = self.found(answers)
        assert found == [("host_unreachable", "app2")] and verdict["checked"]["hosts"] == 1
        answers["app2"] = {"reachable": True, "msg": "no Python"}
        assert self.found(answers)[0] == [("check_failed", "app2")]

    def test_a_host_that_was_not_asked_is_unknown(self, answers):
        found, verdict = self.found(dict(answers, app1=None))
        assert found == [] and [text.split()[0] for text in verdict["unknown"]] == ["Whether", "Everything"]

    def test_a_ca_of_another_host_is_found(self, answers, tmp_path):
        (tmp_path / "app2" / "ca.crt").write_bytes(pki_corpus.pem(pki_corpus.authority("p384", 10).certificate))
        answers["app2"]["files"] = pki_files.collect(
            [{key: item.get(key) for key in ("path", "kind", "role", "names")} for item in answers["app2"]["files"]])
        found, verdict = self.found(answers)
        assert found == [("pki_ca_differs", "app2")], "its certificate is not to blame"
        assert "Example CA (sha256 " in verdict["findings"][0]["expected"]

    def test_limits_are_parameters(self, answers):
        assert {name for name, _host in self.found(answers, pki_audit_expiry_days=500)[0]} == {"pki_expiring"}

    def test_the_host_has_its_own_time(self, answers):
        answers["app2"]["now"] += 500 * 86400
        assert self.found(answers)[0] == [("pki_expired", "app2")]

    def test_a_key_on_two_hosts(self, answers):
        keys = [next(item for item in answers[host]["files"] if item["keys"]) for host in NODES]
        keys[1]["keys"] = keys[0]["keys"]
        assert {("pki_key_shared", "app1"), ("pki_key_shared", "app2")} <= set(self.found(answers)[0])
