# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The filters and tests a person uses in a template, on PEM text."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pki_corpus
import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.circonus.inside.plugins.filter import pki as filters
from ansible_collections.circonus.inside.plugins.module_utils import pki_files
from ansible_collections.circonus.inside.plugins.test import pki as tests

ROOT = Path(__file__).resolve().parents[4]
FILTERS, TESTS = filters.FilterModule().filters(), tests.TestModule().tests()
AUTHORITY, OTHER = pki_corpus.authority("p256"), pki_corpus.authority("p256", 40, text="Other")
KEY = pki_corpus.key("p256")
LEAF, CA = (pki_corpus.pem(one).decode() for one in (AUTHORITY.issue(KEY.public_key()), AUTHORITY.certificate))
NOW = pki_corpus.NOW.isoformat()


def text(private, form="pkcs8"):
    return pki_corpus.private_bytes(private, form).decode()


class TestFilters:
    def test_certificate(self):
        assert FILTERS["pki_certificate"](LEAF)["common_name"] == "app1"

    def test_chain(self):
        assert FILTERS["pki_chain"](LEAF, CA, now=NOW)["chain"] == ["CN=app1,O=Example", "CN=Example CA,O=Example"]
        wrong = FILTERS["pki_chain"](LEAF, pki_corpus.pem(OTHER.certificate).decode(), now=NOW)
        assert (wrong["valid"], wrong["problem"]) == (False, "issuer") and "CN=Example CA" in wrong["detail"]

    def test_chain_through_an_intermediate_authority(self):
        middle = pki_corpus.Authority(pki_corpus.key("p256", 41), "Middle", parent=AUTHORITY)
        leaf = pki_corpus.pem(middle.issue(KEY.public_key()))
        assert not FILTERS["pki_chain"](leaf, CA, now=NOW)["valid"]
        assert FILTERS["pki_chain"](leaf, CA, pki_corpus.pem(middle.certificate), NOW)["valid"]
        assert FILTERS["pki_chain"](leaf + pki_corpus.pem(middle.certificate), CA, now=NOW)["valid"]

    def test_key_matches(self):
        assert FILTERS["pki_key_matches"](LEAF, text(KEY)) is True
        assert FILTERS["pki_key_matches"](LEAF, text(pki_corpus.key("p256", 50))) is False

    @pytest.mark.parametrize(("days", "ends"), [(399, False), (401, True)])
    def test_expires_within(self, days, ends):
        assert FILTERS["pki_expires_within"](LEAF, days, NOW) is ends
        assert FILTERS["pki_expires_within"](pki_corpus.pem(AUTHORITY.crl()), 29, NOW) is True

    def test_crl(self):
        assert FILTERS["pki_crl"](pki_corpus.pem(AUTHORITY.crl([255])))["revoked"] == ["ff"]

    def test_report(self, tmp_path):
        (tmp_path / "ca.crt").write_text(CA)
        files = pki_files.collect([{"path": str(tmp_path / "ca.crt"), "kind": "ca", "role": "api"}])
        assert FILTERS["pki_report"](files, "app1", NOW)["ok"] is True
        later = FILTERS["pki_report"](files, host="app1", now="2046-01-01T00:00:00Z")
        assert [(item["id"], item["host"]) for item in later["findings"]] == [("pki_expired", "app1")]

    @pytest.mark.parametrize(
        ("name", "arguments", "says"),
        [
            ("pki_certificate", ["nothing"], "Expected a certificate as PEM or DER, found: neither PEM nor DER"),
            ("pki_chain", [LEAF, ""], "found: the file is empty"),
            ("pki_key_matches", [LEAF, CA], "Expected a private key"),
            ("pki_key_matches", [LEAF, text(KEY, "encrypted")], "found an encrypted one"),
            ("pki_expires_within", ["", 3], "Expected certificates or CRLs with an end"),
            ("pki_expires_within", [LEAF, "soon"], "Expected a number of days, found 'soon'"),
            ("pki_crl", [LEAF], "Expected a CRL as PEM or DER"),
            ("pki_chain", [LEAF, CA, None, "once"], "Expected a time as seconds"),
        ],
    )
    def test_bad_input_is_one_line(self, name, arguments, says):
        with pytest.raises(AnsibleFilterError) as caught:
            FILTERS[name](*arguments)
        assert says in str(caught.value) and "\n" not in str(caught.value)

    def test_an_unknown_limit_is_named(self):
        with pytest.raises(AnsibleFilterError, match="found days"):
            FILTERS["pki_report"]([], days=3)


class TestTests:
    def test_signed_by(self):
        forged = pki_corpus.authority("rsa2048", 42)  # the same name, another key
        assert TESTS["pki_signed_by"](LEAF, CA) is True
        for other in (OTHER, forged):
            assert TESTS["pki_signed_by"](LEAF, pki_corpus.pem(other.certificate)) is False

    def test_valid_for(self):
        assert TESTS["pki_valid_for"](LEAF, "app1") is True and TESTS["pki_valid_for"](LEAF, "app2") is False

    def test_bad_input_is_one_line(self):
        with pytest.raises(AnsibleFilterError, match="^Expected a certificate"):
            TESTS["pki_valid_for"]("nothing", "app1")


def test_a_template_finds_them(tmp_path):
    (tmp_path / "app1.crt").write_text(LEAF)
    certificate = "lookup('ansible.builtin.file', '%s')" % (tmp_path / "app1.crt")
    template = "{{ (%s | circonus.inside.pki_certificate).dns[0] }} {{ %s is circonus.inside.pki_valid_for('app1') }}"
    done = subprocess.run(
        [str(Path(sys.executable).with_name("ansible")), "-i", "localhost,", "localhost", "-c", "local",
         "-m", "ansible.builtin.debug",
         "-a", "msg='" + template % (certificate, certificate) + "'"],
        env=dict(os.environ, ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"), ANSIBLE_HOME=str(tmp_path), ANSIBLE_NOCOLOR="1",
                 ANSIBLE_STDOUT_CALLBACK="default"),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )
    assert "app1 True" in done.stdout, done.stdout
