# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Certificates, keys and CRLs judged on the controller."""
from __future__ import annotations

import functools

from ansible.errors import AnsibleFilterError
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput, InsideError
from ansible_collections.circonus.inside.plugins.plugin_utils.lazy import Lazy

pki = Lazy("pki")
pki_report = Lazy("pki_report")


def _one_line(function):
    @functools.wraps(function)
    def wrapped(*args, **kwargs):
        try:
            return function(*args, **kwargs)
        except InsideError as exc:
            raise AnsibleFilterError(str(exc)) from exc
    return wrapped


def first_certificate(value):
    """The first certificate of an input. Raises BadInput when it has none."""
    loaded = pki.load(value)
    if not loaded.certificates:
        why = "; ".join(loaded.problems) or ("a private key" if loaded.keys else "none")
        raise BadInput("Expected a certificate as PEM or DER, found: %s. Give the content of a certificate file." % why)
    return loaded.certificates[0]


@_one_line
def pki_certificate(value) -> list | dict:
    """Facts of the first certificate of an input."""
    return pki.facts(first_certificate(value))


@_one_line
def pki_chain(value, ca, intermediates=None, now=None) -> dict:
    """Whether a certificate leads to an authority."""
    loaded = pki.load(value)
    leaf = first_certificate(value)
    others = loaded.certificates[1:] + (pki.load(intermediates).certificates if intermediates else [])
    first_certificate(ca)
    result = pki.validate(leaf, others, pki.load(ca).certificates, pki.moment(now))
    return dict(result, chain=[pki.facts(one)["subject"] for one in result["chain"]])


@_one_line
def pki_key_matches(value, key) -> bool:
    """Whether a private key belongs to a certificate."""
    keys = pki.load(key).keys
    if not keys:
        raise BadInput("Expected a private key or what pki_files returns for one, found none. Give the key's file.")
    if keys[0].get("encrypted"):
        raise BadInput("Expected a private key without a passphrase, found an encrypted one. It cannot be compared.")
    if not keys[0].get("public_sha256"):
        raise BadInput("Expected a private key, found one that cannot be read. Look at it with openssl pkey.")
    return keys[0]["public_sha256"] == pki.public_sha256(first_certificate(value))


@_one_line
def pki_expires_within(value, days, now=None) -> bool:
    """Whether a certificate or CRL ends within a number of days, or has ended."""
    loaded = pki.load(value)
    at = pki.moment(now)
    ends = [pki.span(one)[1] for one in loaded.certificates] + [pki.crl_end(one) for one in loaded.crls]
    if not ends or None in ends:
        raise BadInput("Expected certificates or CRLs with an end, found: %s. Give the content of such a file."
                       % ("; ".join(loaded.problems) or "none"))
    try:
        limit = float(days)
    except (TypeError, ValueError):
        raise BadInput("Expected a number of days, found %r. Correct it." % (days,)) from None
    return any(pki.days_left(end, at) < limit for end in ends)


@_one_line
def pki_crl(value) -> dict:
    """Facts of a CRL."""
    loaded = pki.load(value)
    if not loaded.crls:
        raise BadInput("Expected a CRL as PEM or DER, found: %s. Give the content of a CRL file."
                       % ("; ".join(loaded.problems) or "none"))
    return pki.crl_facts(loaded.crls[0])


@_one_line
def pki_verdict(files, host=None, now=None, ca=None, **limits) -> dict:
    """The verdict on the files of a host."""
    unknown = set(limits) - set(pki_report.DEFAULTS)
    if unknown:
        raise BadInput("Expected %s as limits, found %s. Correct the filter's arguments."
                       % (", ".join(sorted(pki_report.DEFAULTS)), ", ".join(sorted(unknown))))
    pki.need()
    return pki_report.report(files, host, now, ca, **limits)


class FilterModule:
    """Jinja filters of the collection."""

    def filters(self):
        """Name to function."""
        return {
            "pki_certificate": pki_certificate,
            "pki_chain": pki_chain,
            "pki_crl": pki_crl,
            "pki_expires_within": pki_expires_within,
            "pki_key_matches": pki_key_matches,
            "pki_report": pki_verdict,
        }
