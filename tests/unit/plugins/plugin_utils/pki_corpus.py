# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""File sets as hosts have them, healthy or with a defect, and what is wrong about each."""

from __future__ import annotations

import datetime
import functools
import getpass
import ipaddress
import itertools
import os

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = datetime.datetime(2026, 6, 1, 12, tzinfo=datetime.timezone.utc)
DAY = datetime.timedelta(1)
KINDS = ("rsa2048", "p256", "rsa3072", "ed25519", "p384", "p521", "rsa4096")
ROUNDS = 10


@functools.lru_cache(None)
def key(kind: str, number: int = 0):
    """A private key, made once for each kind and number."""
    if kind.startswith("rsa"):
        return rsa.generate_private_key(65537, int(kind[3:]))
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key({"p192": ec.SECP192R1, "p256": ec.SECP256R1, "p384": ec.SECP384R1,
                                    "p521": ec.SECP521R1}[kind]())


def signing_hash(private):
    """Hash to sign with; Ed25519 has its own."""
    return None if isinstance(private, ed25519.Ed25519PrivateKey) else hashes.SHA256()


def signed_anew_with_sha1(certificate, private):
    """The same certificate signed with RSA and SHA-1, which the library does not write any more."""
    new, old = (bytes.fromhex("06092a864886f70d0101" + last) for last in ("0b", "05"))
    signed = certificate.tbs_certificate_bytes.replace(new, old, 1)
    whole = der(certificate).replace(certificate.tbs_certificate_bytes, signed).replace(new, old)
    signature = private.sign(signed, padding.PKCS1v15(), hashes.SHA1())
    return x509.load_der_x509_certificate(whole.replace(certificate.signature, signature))


def name(text):
    return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example"),
                      x509.NameAttribute(NameOID.COMMON_NAME, text)])


_serials = itertools.count(1000)


class Authority:
    """A certificate authority that can issue."""

    def __init__(self, private, text="Example CA", parent=None, start=-1000, end=3650, basic=True, path_length=None,
                 sign=True):
        self.private, self.text = private, text
        issuer, signer = (parent.certificate.subject, parent.private) if parent else (name(text), private)
        builder = _builder(name(text), issuer, private.public_key(), start, end)
        if basic is not None:
            builder = builder.add_extension(x509.BasicConstraints(basic, path_length if basic else None), True)
        builder = builder.add_extension(_usage(not sign, sign), True)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(private.public_key()), False)
        builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False)
        self.certificate = builder.sign(signer, signing_hash(signer))

    def issue(self, public, host="app1", start=-10, end=400, san=True, extended=None, serial=None):
        """A leaf for a host."""
        builder = _builder(name(host), self.certificate.subject, public, start, end, serial)
        builder = builder.add_extension(x509.BasicConstraints(False, None), True)
        builder = builder.add_extension(_usage(True, False), True)
        if san:
            names = [x509.DNSName(host), x509.IPAddress(ipaddress.ip_address("192.0.2.9"))]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), False)
        purposes = extended or [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), False)
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self.private.public_key()), False)
        return builder.sign(self.private, signing_hash(self.private))

    def crl(self, revoked=(), start=-2, end=28):
        """A CRL, with the serial numbers it revokes."""
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.certificate.subject)
        builder = builder.last_update(NOW + start * DAY).next_update(NOW + end * DAY)
        builder = builder.add_extension(x509.CRLNumber(7), False)
        for serial in revoked:
            item = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(NOW - 3 * DAY)
            builder = builder.add_revoked_certificate(item.build())
        return builder.sign(self.private, signing_hash(self.private))


def _builder(subject, issuer, public, start, end, serial=None):
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public)
    builder = builder.serial_number(serial or next(_serials))
    return builder.not_valid_before(NOW + start * DAY).not_valid_after(NOW + end * DAY)


def _usage(leaf, sign):
    return x509.KeyUsage(digital_signature=leaf, key_encipherment=leaf, content_commitment=False,
                         data_encipherment=False, key_agreement=False, key_cert_sign=sign, crl_sign=sign,
                         encipher_only=False, decipher_only=False)


@functools.lru_cache(None)
def authority(kind, number=0, **options):
    return Authority(key(kind, 100 + number), **options)


def pem(*values):
    return b"".join(value.public_bytes(serialization.Encoding.PEM) for value in values)


def der(value):
    return value.public_bytes(serialization.Encoding.DER)


def private_bytes(private, form):
    """pkcs1 (SEC1 for EC), pkcs8, der, encrypted or encrypted1 (the old way)."""
    formats = serialization.PrivateFormat
    traditional = formats.PKCS8 if isinstance(private, ed25519.Ed25519PrivateKey) else formats.TraditionalOpenSSL
    encoding = serialization.Encoding.DER if form == "der" else serialization.Encoding.PEM
    kind = traditional if form in ("pkcs1", "encrypted1") else formats.PKCS8
    guard = serialization.NoEncryption()
    if form.startswith("encrypted"):
        guard = serialization.BestAvailableEncryption(b"secret")
    return private.private_bytes(encoding, kind, guard)


class FileSet:
    """One role's files on a host. ``expected``: {(finding id, kind of file)}."""

    def __init__(self, number, label):
        kind = KINDS[number % len(KINDS)]
        self.label, self.number, self.expected = label, number, set()
        self.authority = authority(KINDS[number % 3 if number % 7 else 3])
        self.kind, self.private = kind, key(kind, number % 2)
        self.root = self.authority.certificate
        self.leaf = self.authority.issue(self.private.public_key(), san=number % 4 != 3)
        self.crl = self.authority.crl() if number % 2 else None
        self.files = {}
        self.modes = {"key": 0o600}
        self.content = {}
        self.reference = self.root

    def issue(self, **options):
        self.leaf = self.authority.issue(self.private.public_key(), **options)

    def bytes(self):
        """{kind: content}, with the ways of writing that the number chooses."""
        number = self.number
        content = {
            "ca": der(self.root) if number % 9 == 8 else pem(self.root),
            "cert": der(self.leaf) if number % 5 == 4 else b"Subject: app1\n" + pem(self.leaf),
            "key": private_bytes(self.private, ("pkcs8", "pkcs1", "der")[number % 3]),
        }
        if self.crl is not None:
            content["crl"] = der(self.crl) if number % 4 == 1 else pem(self.crl)
        content.update(self.content)
        return {kind: data for kind, data in content.items() if data is not None}

    def write(self, directory):
        """Write the files; returns what pki_files is asked for."""
        os.makedirs(directory, exist_ok=True)
        wanted = []
        kinds = {"ca", "cert", "key"} | ({"crl"} if self.crl is not None or "crl" in self.content else set())
        content = self.bytes()
        for kind in sorted(kinds | set(content)):
            path = os.path.join(directory, {"ca": "ca.crt", "cert": "app.crt", "key": "app.key", "crl": "ca.crl"}.get(
                kind, kind))
            self.files[kind] = path
            data = content.get(kind)
            if data is not None:
                with open(path, "wb") as handle:
                    handle.write(data)
                os.chmod(path, self.modes.get(kind, 0o644))
            item = {"path": path, "kind": kind, "role": "broker", "wanted_owner": getpass.getuser()}
            if kind == "cert":
                item.update(names=["app1"], usage=["server", "client"])
            wanted.append(item)
        return wanted


# -- defects: each changes a healthy set and says what must be found --------------------------------------------------
DEFECTS = {}


def defect(*expected):
    def register(function):
        DEFECTS[function.__name__] = (function, set(expected))
        return function
    return register


@defect(("pki_missing", "cert"))
def certificate_missing(one):
    one.content["cert"] = None


@defect(("pki_missing", "key"))
def key_missing(one):
    one.content["key"] = None


@defect(("pki_missing", "ca"))
def authority_missing(one):
    one.content["ca"] = None
    if one.crl is not None:
        one.crl = None


@defect(("pki_malformed", "cert"))
def certificate_garbage(one):
    one.content["cert"] = (b"not a certificate", b"", b"\x30\x82\xff\xff", pem(one.leaf)[:200], b"\x00" * 500)[
        one.number % 5]


@defect(("pki_malformed", "key"))
def key_garbage(one):
    one.content["key"] = (b"nothing", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", pem(one.leaf))[
        one.number % 3]


@defect(("pki_mode", "key"))
def key_for_all(one):
    one.modes["key"] = (0o644, 0o640, 0o604, 0o660, 0o666)[one.number % 5]


@defect(("pki_key_in_public", "cert"))
def key_in_certificate(one):
    one.content["cert"] = pem(one.leaf) + private_bytes(one.private, "pkcs8")


@defect(("pki_expired", "cert"))
def expired(one):
    one.issue(start=-500, end=-(one.number + 1) / 7)


@defect(("pki_expiring", "cert"))
def expiring(one):
    one.issue(end=1 + one.number % 28)


@defect(("pki_not_yet_valid", "cert"))
def not_yet_valid(one):
    one.issue(start=0.2 + one.number % 10, end=500)


@defect(("pki_issuer", "cert"))
def other_issuer(one):
    other = authority("p256", 7, text="Somebody else")
    one.leaf = other.issue(one.private.public_key())


@defect(("pki_signature", "cert"))
def made_anew(one):
    """The authority was made anew under its old name."""
    other = authority(("p256", "rsa2048")[one.number % 2], 8)
    one.leaf = other.issue(one.private.public_key())


@defect(("pki_chain", "cert"))
def chain_incomplete(one):
    """The right intermediate is there, but its own authority is not the root."""
    middle = Authority(key("p256", 201), "Middle", parent=authority("rsa2048", 9, text="Far away"))
    one.leaf = middle.issue(one.private.public_key())
    one.content["cert"] = pem(one.leaf, middle.certificate)
    one.crl = None


@defect(("pki_chain", "cert"))
def chain_of_no_authority(one):
    """A leaf issued another one."""
    options = ({"basic": False}, {"sign": False}, {"end": -3}, {"start": 3})[one.number % 4]
    middle = Authority(key("p256", 202), "Middle", parent=one.authority, **options)
    one.leaf = middle.issue(one.private.public_key())
    one.content["cert"] = pem(one.leaf, middle.certificate)


@defect(("pki_ca_differs", "ca"))
def authority_differs(one):
    """The file of another authority of the same name; the certificate beside it is right."""
    one.content["ca"] = pem(authority("p384", 10).certificate)


@defect(("pki_key_mismatch", "key"))
def other_key(one):
    one.content["key"] = private_bytes(key(one.kind, 50), "pkcs8")


@defect(("pki_key_encrypted", "key"))
def key_encrypted(one):
    old = one.number % 2 and one.kind != "ed25519"
    one.content["key"] = private_bytes(one.private, "encrypted1" if old else "encrypted")


@defect(("pki_name", "cert"))
def other_host(one):
    one.issue(host=("app2", "app1.example.com", "*.example.com")[one.number % 3])


@defect(("pki_usage", "cert"))
def other_usage(one):
    purposes = [[ExtendedKeyUsageOID.CODE_SIGNING], [ExtendedKeyUsageOID.SERVER_AUTH],
                [ExtendedKeyUsageOID.CLIENT_AUTH]][one.number % 3]
    one.issue(extended=purposes)


@defect(("pki_usage", "ca"), ("pki_chain", "cert"))
def authority_without_the_flag(one):
    one.authority = authority("p256", 11, basic=False)
    one.root = one.reference = one.authority.certificate
    one.issue()
    one.crl = None


@defect(("pki_weak_key", "cert"))
def short_key(one):
    one.private = key("rsa1024", one.number % 2)
    one.issue()


@defect(("pki_weak_signature", "cert"))
def sha1(one):
    one.authority = authority("rsa2048")
    one.root = one.reference = one.authority.certificate
    one.issue()
    one.leaf = signed_anew_with_sha1(one.leaf, one.authority.private)
    one.crl = None if one.crl is None else one.authority.crl()


@defect(("pki_revoked", "cert"))
def revoked(one):
    one.crl = one.authority.crl([5, one.leaf.serial_number])


@defect(("pki_crl_missing", "crl"))
def crl_missing(one):
    one.content["crl"] = None


@defect(("pki_crl_stale", "crl"))
def crl_stale(one):
    one.crl = one.authority.crl(start=-11 - one.number % 5, end=40)


@defect(("pki_expired", "crl"))
def crl_expired(one):
    one.crl = one.authority.crl(start=-40, end=-(one.number + 1) / 9)


@defect(("pki_expiring", "crl"))
def crl_expiring(one):
    one.crl = one.authority.crl(start=-1, end=(one.number + 1) / 2)


@defect(("pki_crl_foreign", "crl"))
def crl_foreign(one):
    one.crl = authority("rsa2048", 12, text=("Somebody else", "Example CA")[one.number % 2]).crl()


@defect(("pki_expired", "ca"))
def authority_expired(one):
    one.authority = authority("p256", 13, start=-900, end=-3)
    one.root = one.reference = one.authority.certificate
    one.issue()
    one.crl = None if one.crl is None else one.authority.crl()


@defect(("pki_malformed", "ca"))
def authority_garbage(one):
    one.content["ca"] = (b"moved", b"\x30\x03\x02\x01", b"")[one.number % 3]
    one.crl = None


@defect(("pki_malformed", "crl"))
def crl_garbage(one):
    one.content["crl"] = (b"nothing", pem(one.leaf), b"")[one.number % 3]


@defect(("pki_unreadable", "cert"))
def too_large(one):
    one.content["cert"] = b"#" * 1100000


PAIRS = (("expired", "other_key"), ("key_for_all", "revoked"), ("expiring", "crl_expired"),
         ("other_host", "key_encrypted"), ("sha1", "crl_stale"),
         ("not_yet_valid", "authority_differs"), ("short_key", "crl_missing"),
         ("other_usage", "key_missing"), ("made_anew", "key_for_all"), ("expired", "crl_garbage"))


def corpus():
    """Every set: healthy ones, each defect ROUNDS times, combinations of two."""
    for number in range(4 * len(KINDS) * 3):
        yield FileSet(number, "healthy")
    for label, (change, expected) in DEFECTS.items():
        for number in range(ROUNDS):
            one = FileSet(number, label)
            change(one)
            one.expected = set(expected)
            yield one
    for number, labels in enumerate(PAIRS * 3):
        one = FileSet(number, "+".join(labels))
        for label in labels:
            DEFECTS[label][0](one)
            one.expected |= DEFECTS[label][1]
        yield one
