# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""data_storage_restart.yml on six nodes, one at a time and side by side (``lab up --stores 6``, with ``--sided``)."""

from __future__ import annotations

import pytest
from running_lab import Lab
from storage_lab import Storage, outages

NODES = 6
SIDES = {"data_storage_parallel": "sides"}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """The running cluster, green, of whatever size."""
    found = Storage(Lab(tmp_path_factory.mktemp("reports")))
    found.settle()
    return found


@pytest.fixture
def six(cluster):
    """The cluster, in a lab with six nodes."""
    if len(cluster.hosts) != NODES:
        pytest.skip("the cluster of this lab has %d nodes: lab up --stores %d" % (len(cluster.hosts), NODES))
    return cluster


@pytest.fixture
def sided(six):
    """The cluster, in a lab with six nodes on two sides."""
    if not six.sides:
        pytest.skip("the cluster of this lab has no sides: lab up --stores %d --sided" % NODES)
    return six


def moments(storage):
    """{host: when its unit was started last}; all containers have the monotonic clock of this machine."""
    fields = {host: dict(line.split("=") for line in text.splitlines()) for host, text in storage.starts().items()}
    return {host: int(found["ExecMainStartTimestampMonotonic"]) / 1e6 for host, found in fields.items()}


def nothing_lost(traffic):
    assert traffic["acknowledged"] > 200 and traffic["lost"] == [], traffic


def waves_of(run):
    """The waves that a run shows in its plan, which a rehearsal shows a second time at its end."""
    lines = [line.strip() for line in run.output.splitlines()]
    shown = [line.split(". ", 1)[1] for line in lines if line[:1].isdigit() and ". Restart east-store" in line]
    return list(dict.fromkeys(shown))


class TestOneByOne:
    """With sides as well as without: sides are by choice only."""

    def test_every_measurement_survives_and_one_node_is_down_at_a_time(self, six):
        before = six.starts()
        with six.traffic() as traffic:
            run = six.restart()
        assert run.rc == 0 and run.result == "ok", run
        after = six.starts()
        assert all(after[host] != before[host] for host in six.hosts)
        assert waves_of(run) == ["Restart %s and wait until every node is green" % host for host in six.hosts]
        nothing_lost(traffic)
        down = [look["down"] for look in traffic["seen"] if look["down"]]
        assert {address for look in down for address in look} == set(six.addresses.values())
        assert max(len(look) for look in down) == 1, down
        stops = outages(traffic["seen"])
        assert len(stops) == NODES and all(worst < 30 for _down, worst in stops), stops

    def test_sides_are_refused_where_there_are_none_and_nothing_is_touched(self, cluster):
        if cluster.sides:
            pytest.skip("the cluster of this lab has sides: lab up --stores %d" % NODES)
        before = cluster.starts()
        run = cluster.restart(**SIDES)
        assert run.rc != 0 and run.result == "refused" and cluster.starts() == before, run
        assert run.report["reason"] == (
            "Sides can only stop together where the topology has sides, this one has none. Take one node at a time.")


class TestSides:
    def test_check_mode_shows_two_waves_and_touches_nothing(self, sided):
        before = sided.starts()
        run = sided.restart("--check", **SIDES)
        assert run.rc == 0 and sided.starts() == before, run
        assert waves_of(run) == [
            "Restart %s and wait until every node is green" % " and ".join(side) for side in sided.sides]

    def test_a_whole_side_at_a_time_and_every_measurement_survives(self, sided):
        before = moments(sided)
        with sided.traffic() as traffic:
            run = sided.restart(**SIDES)
        assert run.rc == 0 and run.result == "ok", run
        after = moments(sided)
        assert all(after[host] > before[host] for host in sided.hosts)
        first, second = ([after[host] for host in side] for side in sided.sides)
        pause = 3  # of storage_lab.QUICK
        assert max(first) + pause <= min(second), after
        nothing_lost(traffic)
        sides = [{sided.addresses[host] for host in side} for side in sided.sides]
        down = [set(look["down"]) for look in traffic["seen"] if look["down"]]
        assert all(look <= sides[0] or look <= sides[1] for look in down), down
        assert set.union(*down) == set(sided.addresses.values()), down
        # Of each side several were down at once.
        assert all(max(len(look) for look in down if look <= side) > 1 for side in sides), down
        stops = outages(traffic["seen"])
        assert stops and all(worst < 30 for _down, worst in stops), stops
