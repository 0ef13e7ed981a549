# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What people and hosts hand in, hostile input above all: a text about it, never a traceback."""

from __future__ import annotations

import base64
import datetime
import time

import pki_corpus
import pytest
from ansible_collections.circonus.inside.plugins.module_utils import pki_files
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput
from ansible_collections.circonus.inside.plugins.plugin_utils import pki, pki_report
from cryptography import x509
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

AUTHORITY = pki_corpus.authority("p256")
LEAF = AUTHORITY.issue(pki_corpus.key("p256").public_key())
PEM, DER = pki_corpus.pem(LEAF), pki_corpus.der(LEAF)
CRL = AUTHORITY.crl([9])


def judge(data, kind="cert"):
    """The verdict on one file with this content."""
    item = dict(pki_files.look_nothing("/x"), kind=kind, role="broker", state="file", names=["app1"], usage=["server"])
    item.update(pki_files.sort_content(data))
    ca = dict(pki_files.look_nothing("/ca"), kind="ca", role="broker", state="file")
    ca.update(pki_files.sort_content(pki_corpus.pem(AUTHORITY.certificate)))
    return pki_report.report([ca, item], "app1", pki_corpus.NOW)


class TestForms:
    @pytest.mark.parametrize(
        "value",
        [PEM, PEM.decode(), DER, base64.b64encode(DER).decode(), base64.b64encode(PEM).decode(), [PEM],
         {"objects": [{"type": "certificate", "der": base64.b64encode(DER).decode()}]}, LEAF,
         {"type": "certificate", "der": base64.b64encode(DER).decode()}],
        ids=["pem", "text", "der", "base64 of der", "slurp", "list", "module", "object", "one object"],
    )
    def test_every_form_of_a_certificate_is_read(self, value):
        assert [pki.facts(one)["serial"] for one in pki.load(value).certificates] == ["%x" % LEAF.serial_number]

    def test_facts(self):
        facts = pki.facts(LEAF)
        assert (facts["common_name"], facts["dns"], facts["ip"]) == ("app1", ["app1"], ["192.0.2.9"])
        assert facts["key"]["type"] == "ec" and facts["key"]["bits"] == 256
        assert facts["not_after"] == (pki_corpus.NOW + 400 * pki_corpus.DAY).isoformat()
        assert not facts["is_ca"] and not facts["self_issued"] and facts["problems"] == []

    def test_facts_of_a_crl(self):
        facts = pki.crl_facts(pki.load(pki_corpus.pem(CRL)).crls[0])
        assert facts["revoked"] == ["9"] and facts["number"] == 7
        assert facts["next_update"] == (pki_corpus.NOW + 28 * pki_corpus.DAY).isoformat()

    def test_a_request_is_none(self):
        loaded = pki.load({"type": "request", "der": "AAAA"})
        assert loaded.problems == ["expected a certificate, found a certificate request"]


class TestNames:
    @pytest.mark.parametrize(
        ("host", "name", "covered"),
        [
            ("app1", "app1", True),
            ("app1", "APP1.", True),
            ("app1", "app1.example.com", False),
            ("app1", "192.0.2.9", True),
            ("app1", "192.0.2.8", False),
            ("*.example.com", "a.example.com", True),
            ("*.example.com", "a.b.example.com", False),
            ("*.example.com", "example.com", False),
            ("*.com", "a.com", False),
        ],
    )
    def test_a_certificate_covers(self, host, name, covered):
        certificate = AUTHORITY.issue(pki_corpus.key("p256").public_key(), host)
        assert pki.covers(certificate, name) is covered

    def test_without_a_subject_alternative_name_the_common_name_counts(self):
        certificate = AUTHORITY.issue(pki_corpus.key("p256").public_key(), "app7", san=False)
        assert pki.covers(certificate, "app7") and not pki.covers(certificate, "app1")

    def test_control_characters_are_shown(self):
        certificate = AUTHORITY.issue(pki_corpus.key("p256").public_key(), "a\x00b\n", san=False)
        facts = pki.facts(certificate)
        assert "\x00" not in facts["common_name"] + facts["subject"] and "\n" not in facts["common_name"]


class TestMoment:
    @pytest.mark.parametrize("value", ["2026-01-31T12:00:00Z", 1769860800, "2026-01-31 13:00:00+01:00",
                                       datetime.datetime(2026, 1, 31, 12)])
    def test_reads(self, value):
        assert pki.moment(value).isoformat() == "2026-01-31T12:00:00+00:00"

    @pytest.mark.parametrize("value", ["tomorrow", 1e300, True, [1]])
    def test_refuses_in_one_line(self, value):
        with pytest.raises(BadInput, match="Expected a time as seconds"):
            pki.moment(value)


class TestChains:
    def test_by_the_strict_verifier_where_it_fits(self):
        assert pki.validate(LEAF, [], [AUTHORITY.certificate], pki_corpus.NOW)["by"] == "rfc5280"

    def test_an_authority_of_ed25519_needs_the_own_one(self):
        authority = pki_corpus.authority("ed25519")
        leaf = authority.issue(pki_corpus.key("p256").public_key())
        result = pki.validate(leaf, [], [authority.certificate], pki_corpus.NOW)
        assert result["valid"] and result["by"] == "own"

    def test_a_long_chain_ends(self):
        chain = [AUTHORITY]
        for number in range(15):
            chain.append(pki_corpus.Authority(pki_corpus.key("p256", 300 + number), "CA %d" % number, parent=chain[-1]))
        leaf = chain[-1].issue(pki_corpus.key("p256").public_key())
        result = pki.validate(leaf, [one.certificate for one in chain[1:]], [AUTHORITY.certificate], pki_corpus.NOW)
        assert not result["valid"] and result["problem"] == "loop"

    def test_authorities_that_sign_each_other_end(self):
        one, two = (pki_corpus.Authority(pki_corpus.key("p256", 320 + n), text) for n, text in enumerate(("A", "B")))
        crossed = [pki_corpus.Authority(pki_corpus.key("p256", 320), "A", parent=two).certificate,
                   pki_corpus.Authority(pki_corpus.key("p256", 321), "B", parent=one).certificate]
        leaf = one.issue(pki_corpus.key("p256").public_key())
        result = pki.validate(leaf, crossed * 3, [AUTHORITY.certificate], pki_corpus.NOW)
        assert not result["valid"] and result["problem"] in ("loop", "incomplete")

    def test_a_path_length_counts(self):
        short = pki_corpus.Authority(pki_corpus.key("p256", 330), "Short", path_length=0)
        middle = pki_corpus.Authority(pki_corpus.key("p256", 331), "Middle", parent=short)
        leaf = middle.issue(pki_corpus.key("p256").public_key())
        result = pki.validate(leaf, [middle.certificate], [short.certificate], pki_corpus.NOW)
        assert (result["valid"], result["problem"]) == (False, "authority") and "below it" in result["detail"]


class TestHostileInput:
    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.binary(max_size=400), st.sampled_from(["cert", "ca", "crl", "key", "user_facing"]))
    def test_random_bytes_are_a_finding(self, data, kind):
        verdict = judge(data, kind)
        assert {"pki_malformed"} <= {item["id"] for item in verdict["findings"]}

    @settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.integers(0, len(DER) - 1), st.integers(0, 255), st.integers(0, 40), st.booleans())
    def test_a_broken_certificate_is_a_finding(self, position, value, cut, as_pem):
        data = bytearray(DER)
        data[position] = value
        data = bytes(data[:len(data) - cut])
        if as_pem:
            data = b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(data) + b"-----END CERTIFICATE-----\n"
        verdict = judge(data)
        whole = bytes(DER) in data if not as_pem else base64.encodebytes(DER) in data
        assert whole or verdict["findings"], (position, value, cut)

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.integers(0, len(pki_corpus.der(CRL)) - 1), st.integers(0, 255))
    def test_a_broken_crl_is_a_finding_or_is_whole(self, position, value):
        data = bytearray(pki_corpus.der(CRL))
        whole = data[position] == value
        data[position] = value
        assert bool(judge(bytes(data), "crl")["findings"]) is not whole

    def test_ten_megabytes_take_no_time(self):
        start = time.monotonic()
        for data in (b"\x30" * 10**7, b"-----BEGIN CERTIFICATE-----" + b"A" * 10**7, b"-" * 10**7, b"\x30\x80" * 10**6):
            pki.load(data)
        assert time.monotonic() - start < 20

    def test_dates_far_away(self):
        for start, end in ((-60000 / 1, 400), (-10, 365 * 500)):
            item = AUTHORITY.issue(pki_corpus.key("p256").public_key(), start=max(start, -27000), end=end)
            assert judge(pki_corpus.pem(item))["findings"] == []
        before_1970 = AUTHORITY.issue(pki_corpus.key("p256").public_key(), start=-22000, end=-21000)
        assert [one["id"] for one in judge(pki_corpus.pem(before_1970))["findings"]] == ["pki_expired"]

    def test_an_unknown_algorithm_is_a_finding(self):
        data = bytes(DER).replace(bytes.fromhex("06082a8648ce3d0301"), bytes.fromhex("06082a8648ce3d0399"))
        data = data.replace(bytes.fromhex("06072a8648ce3d0201"), bytes.fromhex("06072a8648ce3d0277"))
        assert data != DER and judge(data)["findings"]
        assert pki.load(data).certificates or pki.load(data).problems


def test_the_library_is_asked_for_in_one_line(monkeypatch):
    monkeypatch.setattr(pki, "MISSING", "No module named 'cryptography'")
    with pytest.raises(BadInput, match="pip install 'cryptography"):
        pki.load(PEM)


def test_a_certificate_of_version_1_is_an_authority_only_when_self_signed():
    assert pki.usage_problem(AUTHORITY.certificate, "ca") == ""
    assert pki.usage_problem(LEAF, "ca") == "it is no certificate authority"
    assert isinstance(LEAF, x509.Certificate)
