# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""pki_audit.yml on the running lab: nothing to say while it is healthy; every seeded fault by id and place, and healed
by the remedy that the report names."""

from __future__ import annotations

import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from pki_forge import CRL, DAY, ENZO, NAPP, NOIT, WWW, Forge, follow, heal, named, new_key, pem
from running_lab import Lab, wait_until


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """The lab of this scenario, as playbooks and clients see it."""
    return Lab(tmp_path_factory.mktemp("reports"))


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
        ports = {(row["role"], row["outcome"]) for row in run.report["tls_ports"]}
        assert {("stratcon", "ok"), ("broker", "ok"), ("api", "ok"), ("web_frontend", "ok"), ("web_stream", "ok"),
                ("caql_broker", "ok")} <= ports and {state for _role, state in ports} <= {"ok", "absent"}, ports
        wanted = [row for row in run.report["tls_ports"] if row["port"] == 43191 and row["outcome"] == "ok"]
        assert {row["client_certificate"] for row in wanted} == {"required"} and all(row["not_after"] for row in wanted)
        links = {(row["from_role"], row["to_role"]) for row in run.report["tls_connections"] if row["outcome"] == "ok"}
        assert links == {(role, to) for role in ("api", "hub", "web_frontend", "web_stream")
                         for to in ("stratcon", "broker")} | {("stratcon", "broker")}
        assert len(run.report["certificates"]) > 20

    def test_finds_every_fault_and_its_remedy_heals_it(self, running):
        forge = Forge(running)
        broker = {name: forge.read("broker1", NAPP + name) for name in ("/appliance.crt", "/appliance.key")}
        wanted = seed(forge)
        found, run = audit(running)
        assert run.rc != 0 and run.result == "failed", run
        assert not set(wanted) - set(found), (set(wanted) - set(found), sorted(found, key=str))
        # A broker provisions itself at its vendor; the lab's got its pair when it was made.
        for name, data in broker.items():
            forge.write("broker1", NAPP + name, data)
        # First what is wrong with files; that a port still presents an old one is most often over with that.
        done = heal(running, [item for item in found.values() if item["id"].startswith("pki_")])
        assert [name for name, _parameters in done] == ["ca_reissue", "service_restart"], done
        assert set(done[0][1]["ca_reissue_limit"].split(",")) == {
            "east-app1", "east-app2", "east-app3", "west-app1", "west-app2", "west-app3"}
        assert done[1][1]["service_restart_limit"] == "broker1"
        heal(running, list(audit(running)[0].values()))
        wait_until(lambda: audit(running)[0] == {}, 120, "everything is healed", interval=1)

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


class TestLive:
    def test_a_service_that_was_not_restarted_after_a_renewal(self, running):
        path = NOIT + "/stratcon.crt"
        Forge(running).reissue("east-app3", path)
        found, run = audit(running)
        assert set(found) == {("tls_stale", "east-app3", path)} and run.rc != 0, run
        follow(running, found[("tls_stale", "east-app3", path)]["remedy"])
        wait_until(lambda: audit(running)[0] == {}, 60, "stratcon presents its new certificate", interval=1)

    def test_a_port_that_hangs_is_one_finding_and_holds_up_nothing(self, running):
        unit = ["circonus-stratcon"]
        try:
            running.on("east-app3", "systemctl", "kill", "--signal=STOP", *unit)
            found, run = audit(running)
            assert set(found) == {("tls_hung", "east-app3", None)}, run
            only = found[("tls_hung", "east-app3", None)]
            assert {text.split(" cannot")[0] for text in only["evidence"]} == {
                "api on east-app2", "hub on east-app3", "web_frontend on east-app1", "web_stream on east-app3"}
            assert run.report["seconds"] < 60
        finally:
            running.on("east-app3", "systemctl", "kill", "--signal=CONT", *unit)
            running.on("east-app3", "systemctl", "restart", *unit)
        wait_until(lambda: audit(running)[0] == {}, 60, "stratcon answers again", interval=1)

    def test_a_peer_with_another_ca_in_its_file_and_then_only_in_its_memory(self, running):
        path, key = NAPP + "/ca.crt", new_key()[0]
        forge = Forge(running)
        good = forge.read("broker1", path)
        name = named("Another CA")
        other = x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(1).public_key(
            key.public_key()).not_valid_before(forge.now - DAY).not_valid_after(forge.now + 99 * DAY)
        try:
            forge.write("broker1", path, pem(other.add_extension(x509.BasicConstraints(True, None), True).sign(
                key, hashes.SHA256())))
            running.on("broker1", "systemctl", "restart", "noitd")
            wait_until(lambda: "43191" in running.on("broker1", "ss", "-ltn").stdout, 30, "noitd listens")
            found, run = audit(running)
            assert set(found) == {("pki_ca_differs", "broker1", path)}, run
            texts = found[("pki_ca_differs", "broker1", path)]["evidence"]
            assert any("(port 43191) refuses stratcon on west-app3 (" in text for text in texts), texts
        finally:
            forge.write("broker1", path, good)
        found, run = audit(running)
        assert [(ident, host) for ident, host, _path in found] == [("tls_client_refused", "broker1")], run
        follow(running, next(iter(found.values()))["remedy"])
        wait_until(lambda: audit(running)[0] == {}, 60, "noitd trusts its file again", interval=1)

    def test_without_live_checks_no_port_is_looked_at(self, running):
        run = running.play("pki_audit", "-e", '{"pki_audit_live": false}')
        assert run.rc == 0 and run.report["tls_ports"] == [] and run.report["tls_connections"] == []
