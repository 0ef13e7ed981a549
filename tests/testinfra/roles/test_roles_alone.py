# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every role without the others: stopped, converged and looked at by plays of two lines.

One ansible-playbook goes through all roles, one after another, so that what a role needs is up. Between its plays a
client looks at the host: who is active, and which ports can be reached from outside. The environment variable
CIRCONUS_ROLE names single roles, with commas between them.
"""

from __future__ import annotations

import os

import pytest

from . import catalogue, playbook

CATALOGUE = catalogue.load()
CHOSEN = [role for role in os.environ.get("CIRCONUS_ROLE", "").split(",") if role]
ROLES = [role for role in CATALOGUE if not CHOSEN or role in CHOSEN]


def look(lab, role, host, name):
    """A play that lets the client look at a host; its answer is read by :func:`seen`."""
    entry = CATALOGUE[role]
    units = [name for unit in entry["units"] for name in unit["candidates"]]
    ports = [str(item["port"]) for item in entry["ports"]
             if item.get("unit") and item.get("bind") == "any" and item["proto"] == "tcp"]
    address = lab.hosts[host]["address"]
    knock = "for p in %s; do timeout 2 bash -c \"</dev/tcp/%s/$p\" 2>/dev/null && echo $p; done; true" % (
        " ".join(ports), address)
    ask = "for u in %s; do systemctl is-active -q $u && echo $u; done; true" % " ".join(units)
    script = "podman exec %s bash -c '%s'; podman exec %s bash -c '%s'" % (
        lab.hosts["client"]["container"], knock, lab.hosts[host]["container"], ask)
    task = {"name": "Look", "ansible.builtin.command": {"argv": ["sh", "-c", script]}, "changed_when": False}
    return {"name": "%s %s" % (name, role), "hosts": "localhost", "connection": "local", "gather_facts": False,
            "tasks": [task]}


def seen(outcomes, role, name):
    """Units that are active and ports that answer."""
    return set(outcomes["%s %s" % (name, role)].results("Look")[0]["stdout"].split())


def host_for(lab, role):
    """A host on which the role works: none of a standby site where it is stopped there, the primary CA, no primary
    database."""
    found = [name for name in lab.of(role)
             if CATALOGUE[role].get("passive") != "stopped" or lab.hosts[name]["site"] == lab.status["active_site"]]
    return found[0 if role == "ca" else -1] if found else None


@pytest.fixture(scope="module")
def places(lab):
    """{role: host}; a role that this edition does not have is converged on a host without it."""
    return {role: host_for(lab, role) or lab.of("hub")[0] for role in ROLES}


@pytest.fixture(scope="module")
def outcomes(lab, places, tmp_path_factory):
    plays = []
    for role, host in places.items():
        plays += [
            look(lab, role, host, "before"),
            playbook.verbs(role, host, "stop"),
            look(lab, role, host, "down"),
            playbook.alone(role, host),
            look(lab, role, host, "after"),
            playbook.alone(role, host, "again " + role),
            playbook.verbs(role, host, "check", "status", "collect"),
        ]
    return playbook.play(tmp_path_factory.mktemp("alone"), plays)


@pytest.fixture
def absent(lab):
    return lambda role: host_for(lab, role) is None


@pytest.mark.parametrize("role", ROLES)
class TestAlone:
    def test_stops_and_comes_back_as_it_was(self, outcomes, absent, role):
        before, down, after = (seen(outcomes, role, name) for name in ("before", "down", "after"))
        assert down == set()
        assert after == before
        assert bool(before) is not absent(role)

    def test_changes_nothing_the_second_time(self, outcomes, absent, role):
        assert [outcomes[name + role].failure for name in ("stop ", "converge ", "again ")] == [None, None, None]
        assert (outcomes["converge " + role].changed > 0) is not absent(role)
        assert outcomes["again " + role].changed == 0

    def test_answers_to_the_verbs_that_look(self, outcomes, absent, role):
        outcome = outcomes["check+status+collect " + role]
        states = [outcome.results(words)[0]["state"] for words in ("Check | ", "Status | ", "Collect | ")]
        assert outcome.failure is None and outcome.changed == 0
        assert states == ["absent" if absent(role) else "up"] * 3

    def test_says_that_it_is_absent(self, outcomes, absent, role):
        verdict = outcomes["converge " + role].results("Say the verdict")[0]["msg"]
        assert ("absent" in verdict and " up" not in verdict) is absent(role)
