# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Break certificates of the lab on purpose, with its own CA key, and do what a remedy says."""

from __future__ import annotations

import datetime
import json
import re

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

WWW, ENZO, NOIT = "/www/etc/ssl", "/opt/circonus/etc/enzo", "/opt/noit/prod/etc"
NAPP, CRL = "/opt/napp/etc/ssl", "/opt/noit/web/stratcon/pki/ca.crl"
CA = "/opt/circonus/CA"
DAY = datetime.timedelta(1)


class Forge:
    """Makes certificates with the lab's own CA key, or with another one of the same or another name."""

    def __init__(self, lab):
        self.lab = lab
        self.root = x509.load_pem_x509_certificate(self.read("east-app1", CA + "/public-info/ca.crt"))
        keys = self.lab.on("east-app1", "sh", "-c", "ls %s/private/*" % CA).stdout.split()
        phrase = json.loads((lab.inventory / "site.east.json").read_text())["svclist"]["ca"]["key_pass"]
        self.key = serialization.load_pem_private_key(self.read("east-app1", keys[0]), phrase.encode())
        self.now = datetime.datetime.now(datetime.timezone.utc)

    def read(self, host, path):
        return self.lab.on(host, "cat", path).stdout.encode()

    def write(self, host, path, data):
        """Put text into a file that is there, so that mode and owner stay."""
        self.lab.on(host, "sh", "-c", "cat > " + path, input=data.decode())

    def reissue(self, host, path, key=None, serial=None, name=None, span=(-9, 90), issuer=None, extended=None):
        """Replace a certificate by one for the same key, with one thing different."""
        old = x509.load_pem_x509_certificate(self.read(host, path))
        signer, subject = issuer or (self.key, self.root.subject)
        builder = x509.CertificateBuilder().subject_name(named(name) if name else old.subject).issuer_name(subject)
        builder = builder.public_key((key or old).public_key()).serial_number(serial or x509.random_serial_number())
        builder = builder.not_valid_before(self.now + span[0] * DAY).not_valid_after(self.now + span[1] * DAY)
        known = old.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = [x509.DNSName(name)] if name else known
        builder = builder.add_extension(x509.SubjectAlternativeName(names), False)
        if extended:
            builder = builder.add_extension(x509.ExtendedKeyUsage([extended]), False)
        self.write(host, path, pem(builder.sign(signer, hashes.SHA256())))
        return old.serial_number

    def revoke(self, host, serials, span=(-1, 29)):
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.root.subject)
        builder = builder.last_update(self.now + span[0] * DAY).next_update(self.now + span[1] * DAY)
        for serial in serials:
            item = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(self.now - DAY)
            builder = builder.add_revoked_certificate(item.build())
        self.write(host, CRL, pem(builder.sign(self.key, hashes.SHA256())))

    def serial(self, host, path):
        return x509.load_pem_x509_certificate(self.read(host, path)).serial_number


def named(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def pem(value):
    return value.public_bytes(serialization.Encoding.PEM)


def new_key(bits=2048, passphrase=None):
    key = rsa.generate_private_key(65537, bits)
    guard = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return key, key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, guard)


def playbooks(remedy):
    """[(playbook, {parameter: value})] that a remedy names, in its order."""
    return [(name, dict(pair.split("=", 1) for pair in re.findall(r"-e ([a-z_]+=[\w.,/-]*[\w/])", rest)))
            for name, rest in re.findall(r"(\w+)[.]yml((?: -e [\w=.,/-]+| --limit [\w,.-]+)*)", remedy)]


def follow(lab, remedy):
    """Run the playbook that a remedy names first, with its parameters."""
    name, parameters = playbooks(remedy)[0]
    run = lab.play(name, **parameters)
    assert run.rc == 0, run
    return run


def by_hand(lab, host, remedy):
    """Do on the host what a remedy has a person do there; whether that was all of it."""
    if remedy.startswith(("chmod", "chown")):
        lab.on(host, *remedy.split(" on ")[0].split())
    elif remedy.startswith("Run the refresh command"):
        lab.on(host, "sh", "-c", "$(crontab -l | sed -n '/refresh/s/^[0-9*]* [0-9*]* [0-9*]* [0-9*]* [0-9*]* //p')")
    else:
        return False
    return True


def heal(lab, findings):
    """Do what the remedies of findings say, and nothing else: by hand what is by hand, then each playbook that they
    name, once for all hosts that they name it for. Returns [(playbook, parameters)] of what ran."""
    wanted: dict = {}
    for item in findings:
        remedy = item["remedy"]
        if by_hand(lab, item["host"], remedy):
            continue
        found = playbooks(remedy)
        assert found, (item["id"], remedy)
        for name, parameters in found:
            key = name, *(value for word, value in sorted(parameters.items()) if not word.startswith("ca_reissue"))
            known = wanted.setdefault(key, {})
            for word, value in parameters.items():
                known.setdefault(word, [])
                known[word] += [value] if value not in known[word] else []
    done = []
    # What only reads a certificate comes after what makes it.
    for key in sorted(wanted, key=lambda key: key[0] != "ca_reissue"):
        parameters = {word: ",".join(values) for word, values in wanted[key].items()}
        run = lab.play(key[0], **parameters)
        assert run.rc == 0 and run.result == "ok", run
        done.append((key[0], parameters))
    return done
