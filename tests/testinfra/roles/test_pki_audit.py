# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""pki_audit.yml on the running lab: nothing to say while it is healthy; every seeded fault by id and place, and healed
by the remedy that the report names."""

from __future__ import annotations

import datetime
import json
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from running_lab import Lab, wait_until

WWW, ENZO, NOIT = "/www/etc/ssl", "/opt/circonus/etc/enzo", "/opt/noit/prod/etc"
NAPP, CRL = "/opt/napp/etc/ssl", "/opt/noit/web/stratcon/pki/ca.crl"
CA = "/opt/circonus/CA"
#: Services that read a certificate when they start.
TLS = ("circonus-http", "circonus-ssl-term", "circonus-network-api", "circonus-stratcon", "circonus-enzo", "noitd")
DAY = datetime.timedelta(1)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """The lab of this scenario, as playbooks and clients see it."""
    return Lab(tmp_path_factory.mktemp("reports"))


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


def seed(forge):
    """Break it all; [(id, host, path)] of what must be found."""
    lab, other = forge.lab, rsa.generate_private_key(65537, 2048)
    found = []
    hub, enzo = WWW + "/west-app3.key", ENZO + "/enzo.key"

    def fault(ident, host, path, *_done):
        found.append((ident, host, path))

    fault("pki_missing", "east-app2", WWW + "/east-app2.crt", lab.on("east-app2", "rm", WWW + "/east-app2.crt"))
    fault("pki_mode", "west-app1", WWW + "/west-app1.key", lab.on("west-app1", "chmod", "640", WWW + "/west-app1.key"))
    fault("pki_owner", "west-app3", hub, lab.on("west-app3", "chown", "nobody", hub))
    fault("pki_malformed", "west-app3", ENZO + "/enzo.crt", forge.write("west-app3", ENZO + "/enzo.crt", b"moved\n"))
    fault("pki_key_mismatch", "east-app3", enzo, forge.write("east-app3", enzo, new_key()[1]))
    fault("pki_key_encrypted", "west-app2", WWW + "/west-app2.key",
          forge.write("west-app2", WWW + "/west-app2.key", new_key(passphrase=b"word")[1]))
    fault("pki_usage", "west-app2", WWW + "/west-app2.crt",
          forge.reissue("west-app2", WWW + "/west-app2.crt", extended=ExtendedKeyUsageOID.CODE_SIGNING))
    fault("pki_expired", "east-app3", WWW + "/east-app3.crt",
          forge.reissue("east-app3", WWW + "/east-app3.crt", span=(-9, -1)))
    fault("pki_signature", "west-app3", NOIT + "/stratcon.crt",
          forge.reissue("west-app3", NOIT + "/stratcon.crt", issuer=(other, forge.root.subject)))
    fault("pki_issuer", "west-app1", WWW + "/west-app1.crt",
          forge.reissue("west-app1", WWW + "/west-app1.crt", issuer=(other, named("Somebody else"))))
    fault("pki_name", "east-app1", WWW + "/east-app1.crt",
          forge.reissue("east-app1", WWW + "/east-app1.crt", name="elsewhere"))
    fault("pki_revoked", "east-app3", NOIT + "/stratcon.crt",
          forge.revoke("east-app3", [forge.serial("east-app3", NOIT + "/stratcon.crt")]))
    fault("pki_expired", "west-app3", CRL, forge.revoke("west-app3", [], span=(-40, -10)))
    fault("pki_not_yet_valid", "west-app3", WWW + "/west-app3.crt",
          forge.reissue("west-app3", WWW + "/west-app3.crt", span=(3, 90)))
    fault("pki_ca_differs", "west-app2", WWW + "/ca.crt", forge.write("west-app2", WWW + "/ca.crt", pem(
        x509.CertificateBuilder().subject_name(named("Old CA")).issuer_name(named("Old CA")).serial_number(1)
        .public_key(other.public_key()).not_valid_before(forge.now - DAY).not_valid_after(forge.now + 99 * DAY)
        .add_extension(x509.BasicConstraints(True, None), True).sign(other, hashes.SHA256()))))
    key, text = new_key(1024)
    forge.write("broker1", NAPP + "/appliance.key", text)
    serial = forge.serial("west-app2", WWW + "/west-app2.crt")
    fault("pki_weak_key", "broker1", NAPP + "/appliance.crt",
          forge.reissue("broker1", NAPP + "/appliance.crt", key=key, serial=serial))
    found += [("pki_serial_duplicate", "broker1", NAPP + "/appliance.crt"),
              ("pki_serial_duplicate", "west-app2", WWW + "/west-app2.crt")]
    return found


def audit(lab):
    run = lab.play("pki_audit")
    assert run.report is not None, run
    return {(item["id"], item["host"], item.get("path")): item for item in run.report["findings"]}, run


class TestAudit:
    def test_finds_nothing_on_a_healthy_platform(self, running):
        found, run = audit(running)
        assert found == {} and run.rc == 0 and run.report["checked"]["hosts"] == 13, run
        assert len(run.report["certificates"]) > 20

    def test_finds_every_fault_and_its_remedy_heals_it(self, running):
        forge = Forge(running)
        broker = {name: forge.read("broker1", NAPP + name) for name in ("/appliance.crt", "/appliance.key")}
        wanted = seed(forge)
        found, run = audit(running)
        assert run.rc != 0 and run.result == "failed", run
        assert not set(wanted) - set(found), (set(wanted) - set(found), sorted(found, key=str))
        hosts = {host for (_ident, host, path), item in found.items() if heal(running, host, path, item["remedy"])}
        # A broker provisions itself at its vendor; the lab's got its pair when it was made.
        for name, data in broker.items():
            path = NAPP + name
            running.on("broker1", "sh", "-c", f"test ! -e {path}.aside || mv {path}.aside {path}")
            forge.write("broker1", path, data)
        assert {"east-app1", "east-app2", "east-app3", "west-app1", "west-app2", "west-app3"} == hosts
        again = running.play("hooper_run", "--limit", ",".join(sorted(hosts)))
        assert again.rc == 0, again
        wait_until(lambda: audit(running)[0] == {}, 120, "everything is healed", interval=1)
        # Every file is read by its service again, not only by root.
        for host in (*sorted(hosts), "broker1"):
            units = running.on(host, "systemctl", "list-units", "--plain", "--no-legend", "circonus-*", "noitd*")
            running.on(host, "systemctl", "restart", *[
                line.split()[0] for line in units.stdout.splitlines() if line.split()[0].startswith(TLS)])

    def test_no_byte_of_a_private_key_is_shown(self, running):
        """A key made for this, in a place that the audit reads, beside a certificate and as one."""
        _key, text = new_key()
        canary = [line for line in text.decode().splitlines() if not line.startswith("-")]
        path = "%s/west-app2" % WWW
        kept = {end: running.on("west-app2", "cat", path + end).stdout for end in (".crt", ".key")}
        try:
            running.on("west-app2", "sh", "-c", "cat > %s.key; cat %s.key >> %s.crt" % (path, path, path),
                       input=text.decode())
            run = running.play("pki_audit", "-vvvv")
            assert ("pki_key_in_public", "west-app2") in {(i["id"], i["host"]) for i in run.report["findings"]}
            seen = run.output + "".join(p.read_text() for p in running.reports.rglob("*") if p.is_file())
            assert not [line for line in canary if line in seen]
            for where in ("/tmp", "/root", "/var/log", "/var/tmp"):
                done = running.on("west-app2", "grep", "-rl", "-e", canary[3], where, check=False)
                assert done.stdout == "", done.stdout
            local = subprocess.run(["grep", "-rlI", "-e", canary[3], str(running.reports)], capture_output=True,
                                   text=True, check=False)
            assert local.stdout == ""
        finally:
            for end, old in kept.items():
                running.on("west-app2", "sh", "-c", "cat > %s%s" % (path, end), input=old)


def heal(lab, host, path, remedy):
    """Do on the host what a remedy says before Hooper's turn; whether it asks for Hooper."""
    if remedy.startswith(("chmod", "chown")):
        lab.on(host, "sh", "-c", "test ! -e %s || %s" % (path, remedy.split(" on ")[0]))
    elif "refresh command" in remedy and path.endswith(".crl"):
        lab.on(host, "sh", "-c", "$(crontab -l | sed -n '/refresh/s/^[0-9*]* [0-9*]* [0-9*]* [0-9*]* [0-9*]* //p')")
    elif "aside" in remedy:
        stem = path.rpartition(".")[0]
        both = [stem + ".crt", stem + ".key"] if "and its" in remedy else [path]
        for one in both:
            lab.on(host, "sh", "-c", f"test ! -e {one} || mv {one} {one}.aside")
    return "hooper_run.yml" in remedy
