# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Certificates are issued anew by the lab's own CA; a client sees the new ones; nothing is lost when the CA does not
sign or the controller is killed."""

from __future__ import annotations

import json

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from pki_forge import CA, ENZO, NOIT, WWW, Forge, named, new_key
from running_lab import torture, wait_until

RECORDS = "/var/lib/circonus-inside/pki-renew"
HOSTS = ("east-app1", "east-app2", "east-app3", "west-app1", "west-app2", "west-app3")
STRATCON = NOIT + "/stratcon.crt"
CRL_DIRECTORY = "/opt/noit/web/stratcon/pki"
UNITS = ("circonus-http", "circonus-network-api", "circonus-stratcon", "circonus-enzo-c", "circonus-ssl-term")


@pytest.fixture(scope="module")
def forge(lab):
    """The lab's CA key in the test's hands, on a platform that has nothing wrong."""
    made = Forge(lab)
    wait_until(lambda: audit(lab) == {}, 120, "nothing is wrong before the tests", interval=1)
    return made


def audit(lab):
    run = lab.play("pki_audit")
    return {(item["id"], item["host"], item.get("path")): item["what"] for item in run.report["findings"]}


def reissue(lab, *options, **extra):
    return lab.play("ca_reissue", *options, **extra)


def files(lab):
    """Digest, mode and owner of every file beside the certificates, and when the services that read them started."""
    script = (
        "for d in %s %s %s; do test -d $d && find $d -type f -exec stat -c '%%n %%a %%U' {} + "
        "-exec sha256sum {} +; done | sort; systemctl show -p ActiveEnterTimestampMonotonic --value %s; ls %s"
    ) % (WWW, ENZO, NOIT, " ".join(UNITS), RECORDS)
    return {host: lab.on(host, "sh", "-c", script, check=False).stdout for host in HOSTS}


def presented(lab, host, port, seen_from):
    """(serial number, whether the whole handshake verifies) of a port, as another host of the platform sees it."""
    pair = "%s/%s" % (WWW, seen_from)
    seen = lab.on(seen_from, "openssl", "s_client", "-connect", "%s:%d" % (lab.address(host), port), "-CAfile",
                  WWW + "/ca.crt", "-cert", pair + ".crt", "-key", pair + ".key", check=False).stdout
    begin, end = seen.find("-----BEGIN CERT"), seen.find("-----END CERTIFICATE-----")
    assert begin >= 0, seen
    shown = x509.load_pem_x509_certificate((seen[begin:end] + "-----END CERTIFICATE-----\n").encode())
    return shown.serial_number, "Verify return code: 0 (ok)" in seen


def seed(forge):
    """Nine defects over roles and hosts; {(host, path of the certificate): its serial number, None when unreadable}."""
    lab, other = forge.lab, rsa.generate_private_key(65537, 2048)
    places = [("east-app3", STRATCON), ("west-app3", STRATCON), ("east-app3", ENZO + "/enzo.crt"),
              ("west-app3", ENZO + "/enzo.crt")]
    places += [(host, "%s/%s.crt" % (WWW, host)) for host in ("east-app1", "east-app2", "west-app1", "west-app2")]
    found = {(host, path): forge.serial(host, path) for host, path in places}
    forge.revoke("east-app3", [found["east-app3", STRATCON]])
    forge.write("west-app3", NOIT + "/stratcon.key", new_key()[1])
    forge.reissue("east-app3", ENZO + "/enzo.crt", span=(-9, 5))
    forge.write("west-app3", ENZO + "/enzo.crt", b"moved\n")
    forge.reissue("east-app1", WWW + "/east-app1.crt", name="elsewhere")
    lab.on("east-app2", "rm", WWW + "/east-app2.crt")
    forge.reissue("west-app1", WWW + "/west-app1.crt", issuer=(other, named("Somebody else")))
    forge.reissue("west-app2", WWW + "/west-app2.crt", extended=ExtendedKeyUsageOID.CODE_SIGNING)
    forge.write("west-app2", WWW + "/ca.crt", b"nothing\n")
    return found


def certificates(lab, places):
    """{(host, path): serial number} of files that openssl on the host verifies."""
    found = {}
    for host, path in places:
        ca = path.rpartition("/")[0] + "/ca.crt"
        done = lab.on(host, "openssl", "verify", "-CAfile", ca, path, check=False)
        assert done.returncode == 0, (host, path, done.stdout, done.stderr)
        found[host, path] = x509.load_pem_x509_certificate(lab.on(host, "cat", path).stdout.encode()).serial_number
    return found


def settled(lab):
    """Hooper that a dead controller left behind has ended."""
    wait_until(lambda: all(lab.on(host, "pgrep", "-f", "^[^ ]*python[^ ]* .*run-hooper", check=False).returncode
                           for host in HOSTS), 120, "no Hooper is left behind", interval=1)


class TestHealthy:
    def test_changes_nothing(self, lab, forge):
        before = files(lab)
        run = reissue(lab)
        assert run.rc == 0 and run.result == "nothing_to_do", run
        assert "changed=0" in run.output and "changed=1" not in run.output, run
        assert files(lab) == before

    def test_users_and_brokers_are_named_and_left_alone(self, lab, forge):
        path = WWW + "/api.crt"
        kept = {("east-app2", path): forge.read("east-app2", path)}
        kept["broker1", "/opt/napp/etc/ssl/appliance.crt"] = forge.read("broker1", "/opt/napp/etc/ssl/appliance.crt")
        try:
            for host, one in kept:
                forge.reissue(host, one, span=(-9, -1))
            before = files(lab)
            run = reissue(lab)
            assert run.rc == 0 and run.result == "nothing_to_do" and files(lab) == before, run
            texts = "\n".join(run.report["warnings"])
            assert path in texts and "for users" in texts and "a broker provisions itself" in texts, texts
            refused = reissue(lab, ca_reissue_roles=["broker"])
            assert refused.rc != 0 and refused.result == "refused", refused
        finally:
            for (host, one), data in kept.items():
                forge.write(host, one, data)


class TestReissue:
    def test_check_mode_prints_the_plan_and_changes_nothing(self, lab, forge):
        TestReissue.old = seed(forge)
        before = files(lab)
        run = reissue(lab, "--check")
        assert run.rc == 0 and run.result == "ok" and files(lab) == before, run
        plan = "\n".join(run.report["plan"])
        for host, path in self.old:
            assert "%s on %s" % (path, host) in plan or "%s and its key" % path in plan, (host, path, plan)
        active = lab.active_site()
        places = [plan.index("Restart stratcon on %s-app3" % site)
                  for site in sorted(("east", "west"), key=lambda name: name == active)]
        assert places == sorted(places), "the passive site comes first"

    @pytest.mark.parametrize("step", torture("Run Hooper", "Move certificates aside", "Prove the new"))
    def test_a_killed_controller_leaves_what_the_next_run_needs(self, lab, forge, step):
        assert lab.kill_after("ca_reissue", step)
        settled(lab)
        assert any(lab.on(host, "sh", "-c", "ls %s" % RECORDS, check=False).stdout for host in HOSTS)

    def test_every_defect_is_healed(self, lab, forge):
        run = reissue(lab)
        assert run.rc == 0 and run.result == "ok", run
        new = certificates(lab, self.old)
        assert not set(new.values()) & set(self.old.values()) and len(set(new.values())) == len(new)
        for host, seen_from in (("east-app3", "east-app1"), ("west-app3", "west-app1")):
            assert presented(lab, host, 43191, seen_from) == (new[host, STRATCON], True)
        assert audit(lab) == {}
        for host in HOSTS:
            assert lab.on(host, "sh", "-c", "ls %s" % RECORDS, check=False).stdout == ""
        kept = [lab.on("west-app3", "sh", "-c", "stat -c '%%a %%U' %s/stratcon.key.aside-*" % NOIT).stdout.split()]
        assert kept[0][:2] == ["600", "circonus"], "a private key that was moved is still nobody else's"

    def test_a_second_run_changes_nothing(self, lab, forge):
        TestHealthy().test_changes_nothing(lab, forge)

    def test_a_killed_restart_is_made_up_for(self, lab, forge):
        old = forge.serial("west-app3", STRATCON)
        forge.reissue("west-app3", STRATCON, span=(-9, -1))
        assert lab.kill_after("ca_reissue", "Prove the new")
        settled(lab)
        run = reissue(lab)
        assert run.rc == 0 and run.result == "ok", run
        new = forge.serial("west-app3", STRATCON)
        assert new != old and presented(lab, "west-app3", 43191, "west-app1") == (new, True)
        assert audit(lab) == {}

    def test_one_by_its_serial_number_once(self, lab, forge):
        serial = "%x" % forge.serial("east-app2", WWW + "/east-app2.crt")
        key = lab.on("east-app2", "sha256sum", WWW + "/east-app2.key").stdout
        run = reissue(lab, ca_reissue_serials=[serial], ca_reissue_new_key=True)
        assert run.rc == 0 and run.result == "ok", run
        assert forge.serial("east-app2", WWW + "/east-app2.crt") != int(serial, 16)
        assert lab.on("east-app2", "sha256sum", WWW + "/east-app2.key").stdout != key
        again = reissue(lab, ca_reissue_serials=[serial], ca_reissue_new_key=True)
        assert again.rc == 0 and again.result == "nothing_to_do", again
        assert audit(lab) == {}


class TestAuthorityThatDoesNotSign:
    @pytest.fixture
    def broken(self, lab, forge):
        """An expired pair, which is given back to the test at its end."""
        path = WWW + "/west-app2.crt"
        data = forge.read("west-app2", path)
        forge.reissue("west-app2", path, span=(-9, -1))
        yield path
        forge.write("west-app2", path, data)

    @pytest.fixture
    def authority(self, lab):
        """Host of the CA."""
        return json.loads((lab.inventory / "site.east.json").read_text())["svclist"]["ca"]["primary"]

    def test_refuses_when_somebody_keeps_it_down(self, lab, broken, authority):
        lab.on(authority, "systemctl", "disable", "--now", "circonus-ca_processor")
        try:
            before = files(lab)
            run = reissue(lab)
            assert run.rc != 0 and run.result == "refused" and files(lab) == before, run
            assert "somebody keeps it down" in run.report["reason"]
        finally:
            lab.on(authority, "systemctl", "enable", "--now", "circonus-ca_processor")

    def test_refuses_when_two_would_sign(self, lab, broken, authority):
        other = "west-app1" if authority == "east-app1" else "east-app1"
        unit = "/run/systemd/system/circonus-ca_processor.service.d"
        idle = "[Service]\nType=simple\nExecStart=\nExecStart=/bin/sleep 300\n"
        lab.on(other, "sh", "-c", "mkdir -p %s; cat > %s/x.conf; systemctl daemon-reload; "
               "systemctl start circonus-ca_processor" % (unit, unit), input=idle)
        try:
            before = files(lab)
            run = reissue(lab)
            assert run.rc != 0 and run.result == "refused" and files(lab) == before, run
            assert "it runs on %s too" % other in run.report["reason"]
        finally:
            lab.on(other, "sh", "-c", "systemctl stop circonus-ca_processor; rm -r %s; "
                   "systemctl daemon-reload" % unit, check=False)

    def test_what_was_there_is_given_back(self, lab, broken, authority):
        key = lab.on(authority, "sh", "-c", "ls %s/private/*" % CA).stdout.split()[0]
        lab.on(authority, "mv", key, key + ".hidden")
        try:
            before = files(lab)
            run = reissue(lab, ca_reissue_hooper_runs=1)
            assert run.rc != 0 and run.result == "failed" and files(lab) == before, run
            assert "journalctl -u circonus-ca_processor on %s" % authority in run.report["reason"]
            assert "/var/log/chef/circonus-hooper.log on west-app2" in run.report["reason"]
        finally:
            lab.on(authority, "mv", key + ".hidden", key)
        run = reissue(lab)
        assert run.rc == 0 and run.result == "ok" and audit(lab) == {}, run
