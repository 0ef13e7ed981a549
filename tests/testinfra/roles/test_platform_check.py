# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""platform_check.yml on the running lab: nothing to say while it is healthy, and every seeded fault by id and host."""

from __future__ import annotations

import datetime
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from running_lab import Lab, wait_until

CHECKS = 10
SITE = "/opt/circonus/var/chef-solo/data_bags/service_map/site.json"
BERT, HUB = "circonus-bert", "circonus-composite_expander"


def expired_certificate() -> str:
    """A certificate that ended yesterday, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "expired")])
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(9)).not_valid_after(now - datetime.timedelta(1))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def shell(text):
    """A command line as an argument list."""
    return ["sh", "-c", text]


def rabbit(users):
    """Change who is let in from the host itself only, in the running RabbitMQ."""
    return ["/opt/rabbitmq/sbin/rabbitmqctl", "eval", "application:set_env(rabbit, loopback_users, %s)." % users]


#: (id, host, how it is broken, how it is mended); all at once, on parts that do not hide each other. What follows from
#: a unit that is down (the cluster without a node, the database without a replica) is not said a second time.
FAULTS = (
    ("unit_down", "east-app3", shell("systemctl stop " + HUB), shell("systemctl start " + HUB)),
    ("unit_disabled", "east-app1", shell("systemctl disable circonus-memcached"),
     shell("systemctl enable circonus-memcached")),
    ("pki_mode", "west-app2", shell("chmod 0644 /www/etc/ssl/west-app2.key"),
     shell("chmod 0600 /www/etc/ssl/west-app2.key")),
    ("pki_owner", "east-app2", shell("chown nobody /www/etc/ssl/east-app2.key"),
     shell("chown root /www/etc/ssl/east-app2.key")),
    ("pki_missing", "west-app3", shell("mv /www/etc/ssl/ca.crt /root/ca.crt"),
     shell("mv /root/ca.crt /www/etc/ssl/ca.crt")),
    ("pki_expired", "east-app3", shell("cp -p /www/etc/ssl/east-app3.crt /root/; cat > /www/etc/ssl/east-app3.crt"),
     shell("cp -p /root/east-app3.crt /www/etc/ssl/")),
    ("cron_missing", "west-app3", shell("mkdir /root/cron; mv /etc/cron.d/* /root/cron/"),
     shell("mv /root/cron/* /etc/cron.d/; rmdir /root/cron")),
    ("alerting_in_standby", "west-app2", shell("systemctl start " + BERT), shell("systemctl stop " + BERT)),
    ("site_differs", "west-app2", shell("cp -p %s /root/; sed -i s/noreply@/other@/ %s" % (SITE, SITE)),
     shell("cp -p /root/site.json " + SITE)),
    ("unit_down", "east-app1", shell("systemctl stop circonus-rabbitmq"),
     shell("systemctl start circonus-rabbitmq")),
    ("default_credentials", "west-app1", rabbit("[]"), rabbit('[<<"guest">>]')),
    ("unit_down", "west-app3", shell("systemctl stop circonus-postgres-circonus_wdb"),
     shell("systemctl start circonus-postgres-circonus_wdb")),
    ("port_stolen", "west-app2",
     shell("systemctl stop circonus-network-api; systemd-run --unit stranger python3 -m http.server 8080"),
     shell("systemctl stop stranger; systemctl start circonus-network-api")),
    ("pair_without_child", "east-store1", shell("pkill -STOP -o snowthd; pkill -KILL -n snowthd"),
     shell("pkill -CONT -o snowthd; systemctl restart circonus-snowth")),
    ("log_errors", "broker1", shell("echo certificate verify failed >> /opt/noit/prod/log/noitd.log"),
     shell("sed -i '/certificate verify failed/d' /opt/noit/prod/log/noitd.log")),
    ("host_unreachable", "west-store3", None, None),
)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """The lab of this scenario, as playbooks and clients see it."""
    return Lab(tmp_path_factory.mktemp("reports"))


def found(lab):
    """{(id, host)} of one check, and the check."""
    run = lab.play("platform_check")
    assert run.report is not None, run
    return {(finding["id"], finding["host"]) for finding in run.report["findings"]}, run


class TestHealthy:
    def test_ten_checks_find_nothing(self, running):
        wait_until(lambda: found(running)[1].rc == 0, 120, "the lab has settled", interval=1)
        for _number in range(CHECKS):
            findings, run = found(running)
            assert findings == set() and run.rc == 0 and run.result == "ok", run


class TestFaults:
    def test_each_is_found_with_its_host(self, running):
        try:
            for _ident, host, broken, _mended in FAULTS:
                if broken is None:
                    running.cli("host", "pause", host)
                else:
                    running.on(host, *broken, input=expired_certificate())
            started = time.monotonic()
            findings, run = found(running)
            print("the check of a broken platform took %.1f s" % (time.monotonic() - started))
            assert run.rc != 0 and run.result == "failed", run
            missing = {(ident, host) for ident, host, _broken, _mended in FAULTS} - findings
            assert not missing, (missing, sorted(findings, key=str))
            assert all(finding["remedy"] for finding in run.report["findings"])
        finally:
            for _ident, host, _broken, mended in FAULTS:
                if mended is None:
                    running.cli("host", "resume", host)
                else:
                    running.on(host, *mended, check=False)
        wait_until(lambda: found(running)[0] == set(), 180, "everything is mended", interval=1)
