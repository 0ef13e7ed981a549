# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A planned failover there and back under a writer."""

from __future__ import annotations

from running_lab import BOUNDARIES, wait_until


def assert_nothing_lost(report):
    """The client's own books: every acknowledged row is there, no hole, never two primaries."""
    assert report["acknowledged"] > 100, report
    assert report["lost"] == 0, report
    assert report["holes"] == 0, report
    assert not report["two_primaries"], report


def own_command(lab):
    """Where clients follow a name: another way to move them, a program of the operator's own."""
    if lab.variables["circonus_clients"] != "nsupdate":
        return {}
    name = "{circonus_dns_record}.{circonus_dns_zone}".format(**lab.variables)
    script = r"printf 'server 127.0.0.1\nupdate delete %s A\nupdate add %s 1 A {address}\nsend\n' | nsupdate -k %s"
    return {
        "circonus_clients": "command",
        "circonus_clients_command": [
            *("podman", "exec", "-i", "%s-dns" % lab.project, "sh", "-c"),
            script % (name, name, "/etc/circonus-lab-ddns.key"),
        ],
    }


class TestPlannedFailover:
    """datacenter_failover.yml, mode planned."""

    def there(self, lab, writing, site, **extra):
        run = lab.failover(site, **extra)
        assert run.rc == 0 and run.result == "ok", run
        before = lab.writer("report")["acknowledged"]
        wait_until(
            lambda: lab.writer("report")["acknowledged"] > before + 20, 20, "the client writes to the new primary"
        )
        assert_nothing_lost(writing())
        lab.assert_settled(site)
        assert run.report["rpo_bytes"] == 0
        assert run.report["write_gap_ms"] > 0
        assert run.report["sites"] == {"active": site, "standby": "east" if site == "west" else "west"}
        assert {step["state"] for step in run.report["steps"]} <= {"ok", "changed", "skipped"}
        names = [step["name"] for step in run.report["steps"]]
        sealed = [number for number, name in enumerate(names) if name.startswith("Seal the CA")]
        assert not sealed or names.index("Stop the CA processor") < sealed[0], "what is issued then would be lost"
        if lab.variables["circonus_clients"] == "ip_alias":
            unknown = {step["name"] for step in run.report["steps"] if not step["name"].startswith(BOUNDARIES)}
            assert not unknown, "no test kills the controller there"
        return run

    def test_moves_to_the_standby_site_and_loses_nothing(self, lab, writing):
        lab.assert_settled("east")
        self.there(lab, writing, "west")

    def test_second_run_has_nothing_to_do(self, lab):
        run = lab.failover("west")
        assert run.rc == 0 and run.result == "nothing_to_do", run
        assert "changed=0" in run.output and "changed=1" not in run.output, run

    def test_fails_back_and_loses_nothing(self, lab, writing):
        self.there(lab, writing, "east", **own_command(lab))
