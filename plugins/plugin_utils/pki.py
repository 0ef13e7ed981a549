# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Certificates, keys and CRLs: read from whatever a person or the module pki_files has, described, and validated. Pure.

Nothing here raises for bad input: what cannot be read is a text in ``problems``, because an audit has to go on.

Paths are validated as RFC 5280 says by the verifier of ``cryptography``. It demands more than the platform's own
authority gives: certificates issued years ago have no subjectAltName, an authority of version 1 has no extensions, and
some are signed with SHA-1 or have keys of 1024 bits. Such a path is followed by :func:`_own_path`, which checks names,
signatures, dates, the CA flag, path length and key usage, and leaves the strength of keys and signatures to findings of
their own.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import contextvars
import datetime
import hashlib
import re
import warnings

try:
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
    from cryptography.x509 import verification
    from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

    MISSING = None
except ImportError as exc:  # reported by the plugins in one line
    MISSING = str(exc)

from ansible_collections.circonus.inside.plugins.module_utils import pki_files
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput

DEPTH = 10
WEAK_HASHES = ("md2", "md5", "sha1")
#: Smallest size that is not weak (NIST SP 800-57 part 1, 112 bits of security).
SMALLEST = {"rsa": 2048, "dsa": 2048, "ec": 224}
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def need():
    """Raises BadInput when the library is not there."""
    if MISSING:
        raise BadInput(
            "Expected the Python library cryptography on the controller (%s). Install it into the environment of "
            "ansible-core: pip install 'cryptography>=45'." % MISSING
        )


# -- reading ----------------------------------------------------------------------------------------------------------
class Loaded:
    """What one input holds: ``certificates``, ``crls``, ``keys`` (facts), ``problems`` (texts)."""

    def __init__(self):
        self.certificates, self.crls, self.keys, self.problems = [], [], [], []

    def add(self, kind, der):
        """Parse one DER value."""
        reader = {"certificate": "load_der_x509_certificate", "crl": "load_der_x509_crl"}.get(kind)
        if reader is None:
            self.problems.append("expected a certificate, found a certificate request")
            return
        value, problem = _guard(lambda: _readable(getattr(x509, reader)(der)))
        if problem:
            self.problems.append("the %s cannot be read: %s" % (kind, problem))
        else:
            (self.certificates if kind == "certificate" else self.crls).append(value)


def _readable(value):
    """The object itself; raises when a part that everything here builds on cannot be read (the library reads late)."""
    if isinstance(value, x509.CertificateRevocationList):
        parts = value.issuer, list(value)
    else:
        parts = value.issuer, value.subject, value.serial_number, value.signature_algorithm_oid
    return value if parts else None


_quiet = contextvars.ContextVar("quiet", default=False)


@contextlib.contextmanager
def quiet():
    """The library warns about old certificates; within this it does not. Once around much work costs less."""
    if _quiet.get():
        yield
        return
    token = _quiet.set(True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        _quiet.reset(token)


def _guard(call):
    """(value, None) or (None, why) of a call into the library, whatever it raises; a panic of it is no Exception."""
    try:
        if _quiet.get():
            return call(), None
        with quiet():
            return call(), None
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as exc:
        return None, " ".join(str(exc).split())[:200] or type(exc).__name__


def load(value) -> Loaded:
    """Whatever holds certificates, keys or CRLs: PEM text or bytes, DER bytes, base64 of DER, a result of the module
    pki_files, what it returns in ``objects``, or a list of any of them."""
    need()
    loaded = Loaded()
    _load(value, loaded)
    return loaded


def _load(value, loaded):
    if isinstance(value, dict):
        if "der" in value:
            der, problem = _guard(lambda: base64.b64decode(value["der"], validate=True))
            if problem:
                loaded.problems.append("expected base64 in der: %s" % problem)
            else:
                loaded.add(value.get("type") or pki_files.public_type(der), der)
        else:
            _load(list(value.get("objects") or []), loaded)
            loaded.keys += value.get("keys") or []
            if value.get("unknown"):
                loaded.problems.append("%d PEM blocks hold something else" % value["unknown"])
            if value.get("format") in ("other", "empty"):
                loaded.problems.append("neither PEM nor DER" if value["format"] == "other" else "the file is empty")
        return
    if isinstance(value, (list, tuple)):
        for item in value:
            _load(item, loaded)
        return
    if isinstance(value, (x509.Certificate, x509.CertificateRevocationList)):
        (loaded.certificates if isinstance(value, x509.Certificate) else loaded.crls).append(value)
        return
    data = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape")
    content = pki_files.sort_content(data)
    if content["format"] == "other":
        # Base64 without the lines around it, as slurp returns it: of DER, or of a PEM file.
        try:
            decoded = base64.b64decode(b"".join(data.split()), validate=True)
        except (binascii.Error, ValueError):
            decoded = b""
        inner = pki_files.sort_content(decoded)
        if inner["format"] in ("der", "pem"):
            content, data = inner, decoded
    for key in content["keys"]:
        key.update(_private(data, key["encrypted"]) if key is content["keys"][0] else {})
    _load(content, loaded)


def _private(data, encrypted):
    """Public facts of a private key that a person gave to a filter; no other part of it is kept."""
    nothing = {"type": None, "bits": None, "public_sha256": None, "error": ""}
    if encrypted:
        return nothing
    reader = serialization.load_pem_private_key if b"-----BEGIN" in data else serialization.load_der_private_key
    if b"-----BEGIN" in data:
        block = re.search(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", data, re.DOTALL)
        data = block.group(0) if block else data
    key, problem = _guard(lambda: reader(data, None))
    if problem:
        return dict(nothing, error="cannot be read")
    return dict(public_facts(key.public_key()), error="")


def public_facts(key) -> dict:
    """``{"type", "bits", "public_sha256"}`` of a public key."""
    kinds = ((rsa.RSAPublicKey, "rsa"), (ec.EllipticCurvePublicKey, "ec"), (dsa.DSAPublicKey, "dsa"),
             (ed25519.Ed25519PublicKey, "ed25519"), (ed448.Ed448PublicKey, "ed448"))
    kind = next((name for cls, name in kinds if isinstance(key, cls)), type(key).__name__.strip("_").lower())
    bits = {"ed25519": 256, "ed448": 448}.get(kind) or getattr(key, "key_size", None)
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return {"type": kind, "bits": bits, "public_sha256": hashlib.sha256(der).hexdigest()}


# -- facts ------------------------------------------------------------------------------------------------------------
def name_text(name) -> str:
    """A distinguished name as RFC 4514 text, control characters shown; a text about it when it cannot be written."""
    text, problem = _guard(name.rfc4514_string)
    text = text if problem is None else "(a name that cannot be read)"
    return "".join(char if char.isprintable() else "\\x%02x" % ord(char) for char in text)


def names_equal(one, two) -> bool:
    """Whether two distinguished names are the same, by their encoding or, as RFC 5280 7.1 compares, without case and
    surplus blanks."""
    encoded, problem = _guard(lambda: one.public_bytes() == two.public_bytes())
    if problem is None and encoded:
        return True
    folded, problem = _guard(lambda: _folded(one) == _folded(two))
    return problem is None and folded


def _folded(name):
    return [sorted((item.oid.dotted_string, " ".join(str(item.value).casefold().split())) for item in rdn)
            for rdn in name.rdns]


def extension(certificate, oid):
    """Value of an extension; None when there is none, or none that can be read."""
    found, problem = _guard(lambda: certificate.extensions.get_extension_for_oid(oid))
    return None if problem else found.value


def span(certificate):
    """(not before, not after) as aware datetimes; None for a date that Python does not have."""
    return tuple(_guard(lambda name=name: getattr(certificate, name))[0]
                 for name in ("not_valid_before_utc", "not_valid_after_utc"))


def signature_hash(value) -> str | None:
    """Name of the hash of a signature; None where it has none of its own (Ed25519) or it is not known."""
    found, problem = _guard(lambda: value.signature_hash_algorithm)
    return found.name if problem is None and found is not None else None


def facts(certificate) -> dict:
    """One certificate as plain values; dates in ISO 8601, UTC; lists are empty when an extension is not there.

    ``subject``, ``issuer``, ``common_name``, ``serial`` (hex), ``version``, ``not_before``, ``not_after``, ``dns``,
    ``ip``, ``is_ca``, ``path_length``, ``key_usage``, ``extended_key_usage``, ``key`` (type, bits, public_sha256),
    ``signature_hash``, ``self_issued``, ``sha256``, ``problems``.
    """
    need()
    problems = []

    def tried(call, default=None, what=None):
        value, problem = _guard(call)
        if problem:
            problems.append("%s: %s" % (what, problem) if what else problem)
            return default
        return value

    before, after = span(certificate)
    for name, value in (("not before", before), ("not after", after)):
        if value is None:
            problems.append("the date '%s' cannot be read" % name)
    tried(lambda: certificate.extensions, what="extensions")
    basic = extension(certificate, ExtensionOID.BASIC_CONSTRAINTS)
    usage = extension(certificate, ExtensionOID.KEY_USAGE)
    extended = extension(certificate, ExtensionOID.EXTENDED_KEY_USAGE)
    key = tried(lambda: public_facts(certificate.public_key()), what="public key")
    common = tried(lambda: [str(item.value) for item in
                            certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)], [])
    dns, addresses = alternative_names(certificate)
    return {
        "subject": name_text(certificate.subject),
        "issuer": name_text(certificate.issuer),
        "common_name": _shown(common[-1]) if common else None,
        "serial": "%x" % tried(lambda: certificate.serial_number, 0),
        "version": tried(lambda: certificate.version.value + 1),
        "not_before": before.isoformat() if before else None,
        "not_after": after.isoformat() if after else None,
        "dns": [_shown(item) for item in dns],
        "ip": addresses,
        "is_ca": bool(basic and basic.ca),
        "path_length": basic.path_length if basic else None,
        "key_usage": usages(usage),
        "extended_key_usage": [item.dotted_string for item in extended] if extended is not None else [],
        "key": key or {"type": None, "bits": None, "public_sha256": None},
        "signature_hash": signature_hash(certificate),
        "self_issued": names_equal(certificate.subject, certificate.issuer),
        "sha256": tried(lambda: hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).hexdigest()),
        "problems": problems,
    }


def _shown(text):
    return "".join(char if char.isprintable() else "\\x%02x" % ord(char) for char in str(text))


def usages(usage) -> list:
    """Names of the bits of a KeyUsage extension."""
    if usage is None:
        return []
    names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
             "key_cert_sign", "crl_sign")
    return [name for name in names if getattr(usage, name)]


def alternative_names(certificate):
    """(DNS names, IP addresses as text) of the subjectAltName."""
    value = extension(certificate, ExtensionOID.SUBJECT_ALTERNATIVE_NAME)
    if value is None:
        return [], []
    dns = _guard(lambda: [str(item) for item in value.get_values_for_type(x509.DNSName)])[0] or []
    addresses = _guard(lambda: [str(item) for item in value.get_values_for_type(x509.IPAddress)])[0] or []
    return dns, addresses


def covers(certificate, name) -> bool:
    """Whether a certificate names a host: by subjectAltName, or by its common name when it has no DNS name at all.

    A wildcard stands for one whole leftmost label (RFC 6125, 6.4.3). A short name covers only itself.
    """
    need()
    dns, addresses = alternative_names(certificate)
    wanted = str(name).rstrip(".").lower()
    if wanted in addresses:
        return True
    if not dns:
        dns = _guard(lambda: [str(item.value) for item in
                              certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)])[0] or []
    return any(_matches(pattern.rstrip(".").lower(), wanted) for pattern in dns)


def _matches(pattern, name):
    if pattern == name:
        return True
    first, dot, rest = pattern.partition(".")
    return first == "*" and dot == "." and "." in rest and name.partition(".")[2] == rest and name != rest


# -- keys and signatures ----------------------------------------------------------------------------------------------
def public_sha256(certificate) -> str | None:
    """SHA-256 of the public key of a certificate (SubjectPublicKeyInfo, DER); None when it cannot be read."""
    return _guard(lambda: public_facts(certificate.public_key())["public_sha256"])[0]


def signed_by(value, issuer) -> bool:
    """Whether the signature of a certificate or CRL verifies with the key of a certificate; names do not matter."""
    need()
    if isinstance(value, x509.CertificateRevocationList):
        good, problem = _guard(lambda: value.is_signature_valid(issuer.public_key()))
        return problem is None and good is True
    return _guard(lambda: _verify(value, issuer.public_key()))[1] is None


def _verify(certificate, key):
    """Raises unless the key made the signature."""
    signature, body = certificate.signature, certificate.tbs_certificate_bytes
    algorithm = certificate.signature_hash_algorithm
    if isinstance(key, rsa.RSAPublicKey):
        key.verify(signature, body, certificate.signature_algorithm_parameters, algorithm)
    elif isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(signature, body, ec.ECDSA(algorithm))
    elif isinstance(key, dsa.DSAPublicKey):
        key.verify(signature, body, algorithm)
    elif isinstance(key, (ed25519.Ed25519PublicKey, ed448.Ed448PublicKey)):
        key.verify(signature, body)
    else:
        raise UnsupportedAlgorithm("the type of the key is not known")


# -- paths ------------------------------------------------------------------------------------------------------------
def validate(certificate, intermediates, roots, at) -> dict:
    """Whether a certificate leads to one of the roots at a time (aware datetime).

    Returns ``{"valid", "by": "rfc5280" | "own" | None, "chain": [certificates, leaf first], "problem", "detail"}``.
    problem of the best path found: ``issuer`` (nobody of that name is there and no root has it), ``signature`` (the
    named issuer did not sign), ``incomplete`` (it ends before a root), ``expired`` or ``not_yet_valid`` (an authority
    on the path), ``authority`` (an issuer that may not issue), ``loop``.
    """
    need()
    chain, problem = _guard(lambda: _verified(certificate, intermediates, roots, at))
    if problem is None:
        return {"valid": True, "by": "rfc5280", "chain": chain, "problem": None, "detail": ""}
    return _own_path(certificate, list(intermediates), list(roots), at)


def _verified(certificate, intermediates, roots, at):
    authority, leaf = verification.ExtensionPolicy.webpki_defaults_ca(), verification.ExtensionPolicy.permit_all()
    policy = verification.PolicyBuilder().store(verification.Store(roots)).time(at).max_chain_depth(DEPTH)
    policy = policy.extension_policies(ca_policy=authority, ee_policy=leaf)
    return policy.build_client_verifier().verify(certificate, list(intermediates)).chain


def _own_path(certificate, intermediates, roots, at):
    best = None
    pool = [(item, True) for item in roots] + [(item, False) for item in intermediates]

    def failed(chain, problem, detail):
        nonlocal best
        # The longest path, and among those of one length the first: roots are tried before intermediates.
        if best is None or len(chain) > len(best["chain"]):
            best = {"valid": False, "by": None, "chain": chain, "problem": problem, "detail": detail}

    def follow(chain):
        last = chain[-1]
        if any(_same(last, root) for root in roots):
            return {"valid": True, "by": "own", "chain": chain, "problem": None, "detail": ""}
        if len(chain) > DEPTH:
            failed(chain, "loop", "the chain has more than %d certificates" % DEPTH)
            return None
        named = [(item, root) for item, root in pool if names_equal(item.subject, last.issuer)]
        if not named:
            if names_equal(last.subject, last.issuer):
                failed(chain, "incomplete", "it ends at %s, which is not a trusted authority" % name_text(last.subject))
            else:
                failed(chain, "issuer", "nobody has the certificate of its issuer %s" % name_text(last.issuer))
        signers = [(item, root) for item, root in named if signed_by(last, item)]
        if named and not signers:
            failed(chain, "signature", "the key of %s did not sign it" % name_text(last.issuer))
        for item, _root in signers:
            if any(_same(item, known) for known in chain):
                failed(chain, "loop" if len(chain) > 1 else "incomplete",
                       "it ends at %s, which is not a trusted authority" % name_text(item.subject))
                continue
            problem, detail = authority_problem(item, len(chain) - 1, at)
            if problem:
                failed([*chain, item], problem, detail)
                continue
            found = follow([*chain, item])
            if found:
                return found
        return None

    return follow([certificate]) or best


def _same(one, two):
    return _guard(lambda: one.fingerprint(_sha256()) == two.fingerprint(_sha256()))[0] is True


def _sha256():
    from cryptography.hazmat.primitives import hashes

    return hashes.SHA256()


def authority_problem(certificate, below, at):
    """(problem, detail) when a certificate may not issue at a time; ``below``: authorities between it and the leaf.

    An authority of version 1 has no extensions and cannot say that it is one; it is accepted as a root only, which is
    the caller's store. (None, "") otherwise.
    """
    before, after = span(certificate)
    text = name_text(certificate.subject)
    if before is None or after is None:
        return "authority", "the validity of %s cannot be read" % text
    if at > after:
        return "expired", "%s expired on %s" % (text, after.date())
    if at < before:
        return "not_yet_valid", "%s is valid from %s" % (text, before.date())
    basic = extension(certificate, ExtensionOID.BASIC_CONSTRAINTS)
    version, _problem = _guard(lambda: certificate.version)
    if basic is None and version != x509.Version.v1 or basic is not None and not basic.ca:
        return "authority", "%s is no certificate authority" % text
    if basic is not None and basic.path_length is not None and below > basic.path_length:
        return "authority", "%s allows only %d authorities below it" % (text, basic.path_length)
    usage = extension(certificate, ExtensionOID.KEY_USAGE)
    if usage is not None and not usage.key_cert_sign:
        return "authority", "%s may not sign certificates" % text
    return None, ""


# -- time -------------------------------------------------------------------------------------------------------------
def moment(value=None):
    """An aware datetime from epoch seconds, ISO 8601 text, a datetime, or None for now. Raises BadInput."""
    if value is None or value == "":
        return datetime.datetime.now(datetime.timezone.utc)
    if isinstance(value, datetime.datetime):
        found = value if value.tzinfo else value.replace(tzinfo=datetime.timezone.utc)
        return found.astimezone(datetime.timezone.utc)
    try:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return _EPOCH + datetime.timedelta(seconds=value)
        found = datetime.datetime.fromisoformat(str(value).strip().replace("Z", "+00:00"))
    except (ValueError, OverflowError):
        raise BadInput(
            "Expected a time as seconds since the epoch or as 2026-01-31T12:00:00Z, found %r. Correct it." % (value,)
        ) from None
    return moment(found)


def days_left(end, at) -> float | None:
    """Days until a date, negative after it."""
    return None if end is None else (end - at).total_seconds() / 86400


def crl_end(crl):
    """nextUpdate of a CRL, None when it has none or it cannot be read."""
    return _guard(lambda: crl.next_update_utc)[0]


def crl_facts(crl) -> dict:
    """One CRL: ``issuer``, ``last_update``, ``next_update`` (ISO 8601), ``number``, ``revoked`` (serials, hex)."""
    need()
    start, end = _guard(lambda: crl.last_update_utc)[0], crl_end(crl)
    number = extension(crl, ExtensionOID.CRL_NUMBER)
    return {
        "issuer": name_text(crl.issuer),
        "last_update": start.isoformat() if start else None,
        "next_update": end.isoformat() if end else None,
        "number": number.crl_number if number else None,
        "revoked": _guard(lambda: ["%x" % item.serial_number for item in crl])[0] or [],
    }


def revoked_on(certificate, crl):
    """When a CRL revoked a certificate (aware datetime), None when it did not."""
    item, problem = _guard(lambda: crl.get_revoked_certificate_by_serial_number(certificate.serial_number))
    return None if problem or item is None else item.revocation_date_utc


def weak_key(key) -> str:
    """What is weak about a key's facts, empty when nothing is."""
    least = SMALLEST.get(key.get("type"))
    if least and key.get("bits") and key["bits"] < least:
        return "%s of %d bits" % (key["type"].upper(), key["bits"])
    return ""


def usage_problem(certificate, purpose) -> str:
    """What keeps a certificate from being used for ``server``, ``client`` or ``ca``, empty when nothing does."""
    basic = extension(certificate, ExtensionOID.BASIC_CONSTRAINTS)
    usage = extension(certificate, ExtensionOID.KEY_USAGE)
    extended = extension(certificate, ExtensionOID.EXTENDED_KEY_USAGE)
    if purpose == "ca":
        version, _problem = _guard(lambda: certificate.version)
        if basic is None and version == x509.Version.v1 and names_equal(certificate.subject, certificate.issuer):
            return ""
        if basic is None or not basic.ca:
            return "it is no certificate authority"
        return "" if usage is None or usage.key_cert_sign else "it may not sign certificates"
    wanted = ExtendedKeyUsageOID.SERVER_AUTH if purpose == "server" else ExtendedKeyUsageOID.CLIENT_AUTH
    if extended is not None and wanted not in extended and ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE not in extended:
        return "its extended key usage does not allow %s" % purpose
    if usage is not None and not (usage.digital_signature or usage.key_agreement
                                  or purpose == "server" and usage.key_encipherment):
        return "its key usage does not allow %s" % purpose
    return ""
