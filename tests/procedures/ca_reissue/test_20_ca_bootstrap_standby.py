# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The standby site loses every certificate and the CA section of its site.json, and is built by the other's CA."""

from __future__ import annotations

import json

import pytest
from running_lab import torture, wait_until

from .test_10_ca_reissue import CRL_DIRECTORY, audit, certificates, settled

PLACES = ("/www/etc/ssl", "/opt/circonus/etc/enzo", CRL_DIRECTORY)


@pytest.fixture(scope="module")
def standby(lab):
    """Name of the standby site."""
    return "west" if lab.active_site() == "east" else "east"


def hosts(site):
    return ["%s-app%d" % (site, number) for number in (1, 2, 3)]


def build(lab, site, *options, **extra):
    return lab.play("ca_bootstrap_standby", *options,
                    **dict({"ca_bootstrap_standby_site": site, "circonus_confirm": site}, **extra))


def installed(lab, host):
    path = "/opt/circonus/var/chef-solo/data_bags/service_map/site.json"
    return json.loads(lab.on(host, "cat", path).stdout)


def digests(lab, site):
    script = "find %s /opt/noit/prod/etc -type f -exec sha256sum {} + 2>/dev/null | sort; sha256sum %s" % (
        " ".join(PLACES), "/opt/circonus/var/chef-solo/data_bags/service_map/site.json")
    return {host: lab.on(host, "sh", "-c", script).stdout for host in hosts(site)}


def unmake(lab, site):
    """As a new site is: no certificate, no key, no CA certificate, no CRL; and a ca section of its own."""
    path = lab.inventory / ("site.%s.json" % site)
    raw = json.loads(path.read_text())
    raw["svclist"]["ca"]["org_defaults"]["ou"] = "Somebody else"
    path.write_text(json.dumps(raw, indent=2) + "\n")
    run = lab.play("site_distribute", "--limit", "dc_%s" % site, site_distribute_allow=["svclist.ca"])
    assert run.rc == 0, run
    for host in hosts(site):
        lab.on(host, "sh", "-c", "rm -f %s /opt/noit/prod/etc/*.crt /opt/noit/prod/etc/*.key" % " ".join(
            "%s/*" % place for place in PLACES))


class TestBootstrap:
    def test_a_site_that_is_built_is_left_alone(self, lab, standby):
        wait_until(lambda: audit(lab) == {}, 120, "nothing is wrong before the tests", interval=1)
        before = digests(lab, standby)
        run = build(lab, standby)
        assert run.rc == 0 and run.result == "nothing_to_do" and digests(lab, standby) == before, run
        assert "changed=0" in run.output and "changed=1" not in run.output, run

    def test_refuses_the_active_site(self, lab, standby):
        run = build(lab, lab.active_site())
        assert run.rc != 0 and run.result == "refused", run

    def test_check_mode_changes_nothing(self, lab, standby):
        unmake(lab, standby)
        before = digests(lab, standby)
        run = build(lab, standby, "--check")
        assert run.rc == 0 and run.result == "ok" and digests(lab, standby) == before, run
        assert len(run.report["plan"]) == 7 and "lasting: ca" in "\n".join(run.report["plan"])

    @pytest.mark.parametrize("step", torture("Run Hooper", "Edit site.json"))
    def test_a_killed_controller_leaves_what_the_next_run_needs(self, lab, standby, step):
        assert lab.kill_after("ca_bootstrap_standby", step, ca_bootstrap_standby_site=standby,
                              circonus_confirm=standby)
        settled(lab)

    def test_is_built_by_the_other_sites_ca(self, lab, standby):
        run = build(lab, standby)
        assert run.rc == 0 and run.result == "ok", run
        files = [(host, "/www/etc/ssl/%s.crt" % host) for host in hosts(standby)]
        files += [("%s-app3" % standby, "/opt/noit/prod/etc/stratcon.crt"),
                  ("%s-app3" % standby, "/opt/circonus/etc/enzo/enzo.crt")]
        assert len(set(certificates(lab, files).values())) == len(files)
        both = {site: json.loads((lab.inventory / ("site.%s.json" % site)).read_text()) for site in ("east", "west")}
        active = both[lab.active_site()]["svclist"]["ca"]
        for host in hosts(standby):
            raw = installed(lab, host)
            assert raw == both[standby] and raw["svclist"]["web_db"]["connect_host"] == "%s-app1" % standby
            assert raw["svclist"]["ca"] == dict(active, _machlist=["%s-app1" % standby])
        # What runs with a certificate that no file has any more; for the tests that follow.
        for host in hosts(standby):
            lab.on(host, "sh", "-c", "systemctl try-restart circonus-ssl-term circonus-http circonus-network-api "
                   "circonus-stratcon circonus-enzo-c caql-broker", check=False)
        wait_until(lambda: audit(lab) == {}, 120, "nothing is wrong", interval=1)

    def test_clients_use_their_own_database(self, lab, standby):
        primary = "%s-app1" % lab.active_site()
        query = ("select count(*) from pg_stat_activity where backend_type = 'client backend' and client_addr = any("
                 "array[%s]::inet[])" % ",".join("'%s'" % lab.address(host) for host in hosts(standby)))
        wait_until(lambda: lab.sql(primary, query) == "0", 60, "no client of the standby site at the primary")

    def test_a_second_run_changes_nothing(self, lab, standby):
        self.test_a_site_that_is_built_is_left_alone(lab, standby)
