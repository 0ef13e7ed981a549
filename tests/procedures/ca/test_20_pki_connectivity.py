# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""pki_connectivity.yml on the running lab: every step passes while it is healthy; each one, broken on purpose, is named
as the first broken one, and its remedy heals it."""

from __future__ import annotations

import pytest
from pki_forge import CRL, NOIT, WWW, Forge, by_hand, follow, named, new_key
from running_lab import Lab, wait_until

CLIENT, SERVER = "east-app2", "east-app3"


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """The lab of this scenario, as playbooks and clients see it."""
    return Lab(tmp_path_factory.mktemp("reports"))


@pytest.fixture
def forge(running):
    return Forge(running)


@pytest.fixture
def keep(running):
    """keep(host, path) puts a file back as it was when the test ends."""
    kept = []

    def one(host, path):
        kept.append((host, path, running.on(host, "cat", path).stdout))
        return path

    yield one
    for host, path, text in kept:
        running.on(host, "sh", "-c", "cat > " + path, input=text)


def steps(lab, client="api", server="stratcon", *options, **more):
    """(first broken step, {number: state}, the run) between two roles in the site east."""
    values = {"pki_connectivity_from": client, "pki_connectivity_to": server}
    values.update({"pki_connectivity_" + name: value for name, value in more.items()})
    run = lab.play("pki_connectivity", *options, **values)
    assert run.report is not None and "sequence" in run.report, run
    assert (run.rc == 0) == (run.report["first_broken_step"] is None), run
    return run.report["first_broken_step"], {one["number"]: one["state"] for one in run.report["sequence"]}, run


def east(lab, *options):
    return steps(lab, "api", "stratcon", *options, from_host=CLIENT, to_host=SERVER)


def remedy(run, number):
    return run.report["sequence"][number - 1]["remedy"]


class TestHealthy:
    @pytest.mark.parametrize("client, server", [
        ("api", "stratcon"), ("stratcon", "broker"), ("broker", "stratcon"), ("hub", "broker"),
        ("web_frontend", "stratcon"), ("web_stream", "broker"),
    ])
    def test_every_step_passes(self, running, client, server):
        first, states, run = steps(running, client, server)
        assert first is None and set(states.values()) == {"pass"} and len(states) == 7, run
        assert "All seven steps pass between %s and %s: port 43191" % (client, server) in run.output
        assert run.output.count(". ok ") == 7

    def test_check_mode_sees_the_same(self, running):
        first, states, run = east(running, "--check")
        assert first is None and set(states.values()) == {"pass"} and run.report["check_mode"]


class TestBroken:
    def test_1_the_ca_processor_is_down(self, running):
        running.on("east-app1", "systemctl", "stop", "circonus-ca_processor")
        try:
            first, states, run = east(running)
            assert first == 1 and set(states.values()) == {"fail", "pass"} and "step 1" in run.report["reason"], run
            follow(running, remedy(run, 1))
            assert east(running)[0] is None
        finally:
            running.on("east-app1", "systemctl", "start", "circonus-ca_processor")

    def test_2_a_file_is_missing(self, running):
        running.on(CLIENT, "mv", f"{WWW}/{CLIENT}.crt", f"{WWW}/{CLIENT}.crt.aside")
        first, states, run = east(running)
        assert first == 2 and states[4] == states[6] == "not_reached" and states[3] == states[7] == "pass", run
        assert remedy(run, 2).startswith("ca_reissue.yml -e ca_reissue_limit=" + CLIENT)
        # What that runs in the end; its restarts take a minute, and the audit's test sees them.
        again = running.play("hooper_run", "--limit", CLIENT)
        assert again.rc == 0 and east(running)[0] is None, again

    def test_3_another_ca(self, running, forge, keep):
        # Any certificate will do.
        forge.write(CLIENT, keep(CLIENT, WWW + "/ca.crt"), forge.read(SERVER, NOIT + "/stratcon.crt"))
        first, states, run = east(running)
        assert first == 3 and states[6] == "fail" and states[7] == "pass", run
        assert WWW + "/ca.crt" in run.report["reason"]

    def test_4_not_signed_by_the_ca(self, running, forge, keep):
        issuer = (new_key()[0], named("Somebody else"))
        forge.reissue(CLIENT, keep(CLIENT, f"{WWW}/{CLIENT}.crt"), issuer=issuer)
        first, states, run = east(running)
        assert first == 4 and states[5] == "pass" and states[6] == "fail", run
        assert "refuses api on east-app2 (unknown ca)" in str(run.report["findings"])

    def test_4_expired(self, running, forge, keep):
        forge.reissue(CLIENT, keep(CLIENT, f"{WWW}/{CLIENT}.crt"), span=(-9, -1))
        first, _states, run = east(running)
        assert first == 4 and "expired" in run.report["reason"], run

    def test_5_another_key(self, running, forge, keep):
        forge.write(CLIENT, keep(CLIENT, f"{WWW}/{CLIENT}.key"), new_key()[1])
        first, states, run = east(running)
        assert first == 5 and states[6] == "not_reached", run

    def test_6_nobody_answers(self, running):
        running.on(SERVER, "systemctl", "stop", "circonus-stratcon")
        try:
            first, states, run = east(running)
            assert first == 6 and states[7] == "pass" and "connection refused" in run.report["reason"], run
            follow(running, remedy(run, 6))
            wait_until(lambda: east(running)[0] is None, 60, "stratcon answers again", interval=1)
        finally:
            running.on(SERVER, "systemctl", "start", "circonus-stratcon")

    def test_7_the_crl_has_ended(self, running, forge, keep):
        keep(SERVER, CRL)
        forge.revoke(SERVER, [], span=(-40, -10))
        first, states, run = east(running)
        assert first == 7 and [states[number] for number in range(1, 7)] == ["pass"] * 6, run
        first, states, again = steps(running, "stratcon", "broker", from_host=SERVER)
        assert first == 6 and states[7] == "fail" and "CRL has expired" in again.report["reason"], again
        assert by_hand(running, SERVER, remedy(run, 7))
        assert east(running)[0] is None


class TestRefused:
    def test_a_role_without_a_port_for_other_hosts(self, running):
        run = running.play("pki_connectivity", pki_connectivity_from="hub", pki_connectivity_to="api")
        assert run.result == "refused" and "a TLS port for other hosts" in run.report["reason"]
