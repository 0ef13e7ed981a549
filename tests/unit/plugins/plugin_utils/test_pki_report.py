# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The verdict on a corpus of file sets, and whether the openssl command sees them the same way."""

from __future__ import annotations

import subprocess

import pki_corpus
import pytest
from ansible_collections.circonus.inside.plugins.module_utils import pki_files
from ansible_collections.circonus.inside.plugins.plugin_utils import findings, pki, pki_report

EPOCH = str(int(pki_corpus.NOW.timestamp()))


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """[(set, collected items, report)] of the corpus."""
    root = tmp_path_factory.mktemp("pki")
    result = []
    for number, one in enumerate(pki_corpus.corpus()):
        items = pki_files.collect(one.write(str(root / str(number))))
        verdict = pki_report.report(items, "app1", pki_corpus.NOW, pki_corpus.pem(one.reference))
        result.append((one, items, verdict))
    return result


def seen(one, verdict):
    kinds = {path: kind for kind, path in one.files.items()}
    return {(item["id"], kinds[item["path"]]) for item in verdict["findings"]}


class TestCorpus:
    def test_is_large_and_has_every_defect_ten_times(self, judged):
        assert len(judged) >= 300
        count = {}
        for one, _items, _verdict in judged:
            for ident, _kind in one.expected:
                count[ident] = count.get(ident, 0) + 1
        assert all(number >= 10 for number in count.values()), count
        elsewhere = {"pki_owner", "pki_user_facing", "pki_keystore_missing", "pki_keystore_stale",
                     "pki_serial_duplicate", "pki_key_shared", "pki_ca_processor_down"}
        assert set(count) | elsewhere == {name for name in findings.REGISTER if name.startswith("pki_")}

    def test_every_defect_is_found_and_nothing_else(self, judged):
        wrong = [(one.number, one.label, "expected", one.expected, "found", seen(one, verdict))
                 for one, _items, verdict in judged if seen(one, verdict) != one.expected]
        assert not wrong, wrong[:20]


def openssl(*argv):
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    done = subprocess.run(["openssl", *argv], check=False, **streams)
    return done.returncode, done.stdout.decode("utf-8", "replace")


def stored(path, *values):
    """Path of a new file with these objects as PEM."""
    with open(path, "wb") as handle:
        handle.write(pki_corpus.pem(*values))
    return path


class TestOpenssl:
    """The same questions to the openssl command, which the manual has people ask."""

    def test_agrees_about_chains_and_revocation(self, judged):
        wrong = []
        for one, items, verdict in judged:
            files = {item["kind"]: pki.load(item) for item in items}
            if not files["ca"].certificates or not files["cert"].certificates:
                continue
            leaf, others = files["cert"].certificates[0], files["cert"].certificates[1:]
            start, end = pki.span(leaf)
            ours = pki.validate(leaf, others, files["ca"].certificates, pki_corpus.NOW)
            ours = ours["valid"] and start <= pki_corpus.NOW <= end
            argv = ["verify", "-attime", EPOCH, "-CAfile", stored(one.files["ca"] + ".pem", *files["ca"].certificates)]
            argv += ["-untrusted", stored(one.files["cert"] + ".rest", *others)] if others else []
            alone = stored(one.files["cert"] + ".leaf", leaf)
            code, text = openssl(*argv, alone)
            if (code == 0) != ours:
                wrong.append((one.number, one.label, ours, text.strip()[-200:]))
            crl = files.get("crl")
            if not crl or not crl.crls or not ours or others:
                continue
            code, text = openssl(*argv, "-crl_check", "-CRLfile", stored(one.files["crl"] + ".pem", *crl.crls), alone)
            bad = {"pki_revoked", "pki_crl_foreign"} & {item["id"] for item in verdict["findings"]}
            bad |= {item["id"] for item in verdict["findings"] if item["id"] == "pki_expired"}
            if (code == 0) == bool(bad):
                wrong.append((one.number, one.label, bad, text.strip()[-200:]))
        assert not wrong, wrong[:10]

    def test_agrees_about_keys(self, judged):
        compared = 0
        for one, items, verdict in judged:
            by_kind = {item["kind"]: item for item in items}
            leaf = pki.load(by_kind["cert"]).certificates
            if not leaf or not (by_kind["key"]["keys"] or [{}])[0].get("public_sha256"):
                continue
            alone = stored(one.files["cert"] + ".leaf", leaf[0])
            _code, wanted = openssl("x509", "-noout", "-pubkey", "-in", alone)
            form = "DER" if by_kind["key"]["format"] == "der" else "PEM"
            code, found = openssl("pkey", "-pubout", "-inform", form, "-in", one.files["key"])
            assert code == 0
            differs = "pki_key_mismatch" in {item["id"] for item in verdict["findings"]}
            assert (wanted != found) is differs, (one.number, one.label)
            compared += 1
        assert compared > 250


class TestAlone:
    """What needs more than one set, or an account."""

    def judge(self, one, tmp_path, change=None):
        items = pki_files.collect(one.write(str(tmp_path)))
        if change:
            change(items)
        return pki_report.report(items, "app1", pki_corpus.NOW, pki_corpus.pem(one.reference))["findings"]

    def test_owner(self, tmp_path):
        found = self.judge(pki_corpus.FileSet(0, ""), tmp_path, lambda items: items[2].update(wanted_owner="noit"))
        assert [(item["id"], item["path"].rpartition("/")[2]) for item in found] == [("pki_owner", "app.key")]
        assert "chown noit" in found[0]["remedy"]

    @pytest.mark.parametrize("own", [True, False])
    def test_one_certificate_on_both_sides(self, tmp_path, own):
        one = pki_corpus.FileSet(0, "")
        if not own:
            one.leaf = pki_corpus.authority("p256", 30, text="Public CA").issue(one.private.public_key())
        one.content["user_facing"] = pki_corpus.pem(one.leaf)
        found = self.judge(one, tmp_path)
        place = {item["id"]: item["path"].rpartition("/")[2] for item in found}
        assert place["pki_user_facing"] == ("user_facing" if own else "app.crt"), found

    def test_other_certificates_for_users_are_left_alone(self, tmp_path):
        one = pki_corpus.FileSet(0, "")
        other = pki_corpus.authority("p256", 30, text="Public CA").issue(pki_corpus.key("p256", 31).public_key(), "api")
        one.content["user_facing"] = pki_corpus.pem(other)
        assert self.judge(one, tmp_path) == []

    def test_keystore(self, tmp_path):
        def add(state, mtime):
            def change(items):
                store = {"path": "/etc/ernie/ernie.jks", "kind": "keystore", "role": "broker", "state": state}
                items.append(dict(store, mtime=mtime, mode="0640", owner="circonus"))
            return change

        found = [self.judge(pki_corpus.FileSet(0, ""), tmp_path, add(*args))
                 for args in (("missing", None), ("file", 1000), ("file", 2**40))]
        assert [[item["id"] for item in items] for items in found] == [
            ["pki_keystore_missing"], ["pki_keystore_stale"], []]

    def test_serials_and_keys_across_hosts(self, tmp_path):
        authority = pki_corpus.authority("p256")
        reports, keys = [], []
        for number, host in enumerate(("app1", "app2", "app3")):
            one = pki_corpus.FileSet(0, "")
            one.private = pki_corpus.key("p256", min(number, 1))
            one.leaf = authority.issue(one.private.public_key(), host, serial=77 if number < 2 else 78)
            items = pki_files.collect(one.write(str(tmp_path / host)))
            reports.append(pki_report.report(items, host, pki_corpus.NOW))
            keys += [dict(item["keys"][0], host=host, path=item["path"], role="broker", kind=item["kind"])
                     for item in items if item["keys"]]
        found = {(item["id"], item["host"]) for item in pki_report.across(reports, keys)}
        assert found == {("pki_serial_duplicate", "app1"), ("pki_serial_duplicate", "app2"),
                         ("pki_key_shared", "app2"), ("pki_key_shared", "app3")}
        assert not any("hooper" in item["remedy"] for item in pki_report.across(reports, keys)), "the role is broker"
        assert pki_report.across(reports[1:], keys[:2]) == []

    @pytest.mark.parametrize("gone", [("cert", "key", "ca"), ("cert", "key")])
    def test_an_optional_set_is_there_or_it_is_not(self, tmp_path, gone):
        one = pki_corpus.FileSet(0, "")
        one.content.update(dict.fromkeys(gone))
        found = self.judge(one, tmp_path, lambda items: [item.update(optional=True) for item in items])
        assert [item["id"] for item in found] == ([] if len(gone) == 3 else ["pki_missing", "pki_missing"])

    def test_a_host_that_missed_a_new_authority(self, tmp_path):
        one = pki_corpus.FileSet(1, "")
        one.reference = pki_corpus.authority("p384", 10).certificate
        found = [(item["id"], item["path"].rpartition("/")[2]) for item in self.judge(one, tmp_path)]
        assert found == [("pki_ca_differs", "ca.crt"), ("pki_crl_foreign", "ca.crl"), ("pki_signature", "app.crt")]

    def test_a_missing_authority_hides_no_other_defect(self, tmp_path):
        one = pki_corpus.FileSet(0, "")
        one.content.update(ca=None, key=b"nothing")
        assert {item["id"] for item in self.judge(one, tmp_path)} == {"pki_missing", "pki_malformed"}
