# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every gate of a rolling restart on a running cluster: one thing is wrong, and no node is touched.

A peer that is down or hangs, gossip that is lost both ways, data of another node and a node that does not come back are
in ``test_10_restart.py``.
"""

from __future__ import annotations

import contextlib
import json

import pytest
from running_lab import LONG, Lab, wait_until
from storage_lab import UNIT, Storage

ONE, TWO, THREE = "east-store1", "east-store2", "east-store3"
WEST = ("west-store1", "west-store2", "west-store3")
ETC = "/opt/circonus/etc"
#: Write another edition of the topology ARGV[1] beside it, in the order ARGV[2] and with ARGV[3] copies; its digest.
EDITION = """
import sys
sys.path.insert(0, "/opt/circonus/libexec/lab")
from daemons.snowth import topology
directory = "/opt/circonus/etc/snowth-topo/"
found = topology.parse(open(directory + sys.argv[1]).read())
nodes = found.nodes[::-1] if sys.argv[2] == "reversed" else found.nodes
edition = topology.Topology(int(sys.argv[3]), nodes)
open(directory + edition.digest, "w").write(edition.xml())
print(edition.digest)
"""


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    """The running cluster, green."""
    found = Storage(Lab(tmp_path_factory.mktemp("reports")))
    found.settle()
    return found


@pytest.fixture(autouse=True)
def healed(storage, tmp_path):
    """What a test has broken is whole again at its end: green, one topology, no rebalance."""
    storage.lab.reports = tmp_path  # or a run that failed would be continued by the next
    before = storage.gossip()[0]["topo_current"]
    yield
    storage.settle()
    wait_until(lambda: all((row["topo_current"], row["topo_next"], row["topo_state"]) == (before, "-", "n/a")
                           for host in storage.hosts for row in storage.gossip(host)), 30, "one topology in force")


def refused(storage, *words, result="refused"):
    """A restart that stops before any node, with one sentence."""
    before = storage.starts(storage.hosts + WEST)
    run = storage.restart()
    assert run.rc != 0 and run.result == result, run
    assert storage.starts(storage.hosts + WEST) == before
    for word in words:
        assert word in run.report["reason"], run.report["reason"]
    assert "\n" not in run.report["reason"] and run.report["reason"].endswith("."), run.report["reason"]


@contextlib.contextmanager
def packets(storage, host, rule, chain="type filter hook input priority 0"):
    """A rule of the packet filter of a host, by default for what comes in."""
    text = "table inet gates { chain gates { %s; %s; }; }" % (chain, rule)
    storage.lab.on(host, "nft", "-f", "-", input=text)
    try:
        yield
    finally:
        storage.lab.on(host, "nft", "delete", "table", "inet", "gates")


def edition(storage, host, order, copies):
    """Digest of another edition of the topology in force, which the host has from now on beside it."""
    active = storage.gossip(host)[0]["topo_current"]
    return storage.lab.on(host, "python3", "-sBc", EDITION, active, order, str(copies)).stdout.strip()


@contextlib.contextmanager
def on_another_topology(storage, hosts, order, copies):
    """These nodes with another edition in force, and back."""
    old = storage.gossip()[0]["topo_current"]
    new = {host: edition(storage, host, order, copies) for host in hosts}

    def switch(before, after):
        for host in hosts:
            storage.lab.on(host, "systemctl", "stop", UNIT)
        for host in hosts:
            storage.lab.on(host, "sed", "-i", "s/%s/%s/" % (before, after), ETC + "/topology.conf")
            storage.lab.on(host, "systemctl", "start", UNIT)
        storage.settle()

    (digest,) = set(new.values())
    switch(old, digest)
    try:
        yield digest
    finally:
        switch(digest, old)
        for host in hosts:
            storage.lab.on(host, "rm", "-f", "%s/snowth-topo/%s" % (ETC, digest))


def call(storage, host, method, path, body=""):
    """A page of a node that changes something."""
    url = "http://%s:8112%s" % (storage.addresses[host], path)
    storage.lab.on(host, "curl", "-sf", "-m", "10", "-X", method, "-d", "@-", url, input=body)


class TestTheHost:
    @LONG
    def test_one_that_cannot_be_reached(self, storage):
        with packets(storage, TWO, "tcp dport 22 reject with tcp reset"):
            refused(storage, "Expected an answer of east-store2", "No node may be touched while one is unknown")

    @LONG
    def test_a_journal_that_waits_for_a_peer(self, storage):
        """Its size counts: 64 MiB, which the lab's 2000 records a second do not make in time."""
        waiting = "/snowth/redo/%s/waiting" % storage.ids[THREE]
        storage.lab.on(ONE, "truncate", "-s", str(64 * 1024 * 1024), waiting)
        try:
            # Only the node itself knows, so it is asked right before its stop.
            refused(storage, "Prove that east-store1 may stop", "east-store1 holds ",
                    " bytes for east-store3 that are not delivered yet", result="failed")
        finally:
            storage.lab.on(ONE, "rm", waiting)


class TestTheNode:
    @LONG
    @pytest.mark.parametrize("rule", [
        "drop", "reject with icmp type host-unreachable"], ids=["swallowed", "host unreachable"])
    def test_one_whose_port_cannot_be_reached(self, storage, rule):
        """By anybody else: the node itself sees nothing of it."""
        others = "ip saddr != %s tcp dport 8112 %s" % (storage.addresses[THREE], rule)
        with packets(storage, THREE, others):
            refused(storage, "east-store3 cannot be reached at %s:8112" % storage.addresses[THREE],
                    "Look at the host and at the network")

    @LONG
    def test_another_one_that_answers_at_its_address(self, storage):
        """As after an address was given twice: what it says of itself is what counts."""
        rule = "ip daddr %s tcp dport 8112 dnat ip to %s" % (storage.addresses[THREE], storage.addresses[TWO])
        with packets(storage, ONE, rule, "type nat hook output priority -100"):
            refused(storage, "At %s:8112 answers the node %s, expected %s of east-store3" % (
                storage.addresses[THREE], storage.ids[TWO], storage.ids[THREE]))

    @LONG
    def test_one_that_answers_errors(self, storage):
        with storage.fault(THREE, "http-error"):
            refused(storage, "east-store3 answers at", "what cannot be read")

    @LONG
    def test_one_with_another_topology(self, storage):
        with on_another_topology(storage, [THREE], "reversed", 2) as digest:
            refused(storage, "east-store3 has the topology %s.." % digest[:12], "restart none until they have")

    @LONG
    def test_one_copy_of_everything(self, storage):
        with on_another_topology(storage, storage.hosts, "as it is", 1):
            refused(storage, "write_copies 1", "no node may be stopped without an outage")

    def test_a_rebalance_that_runs(self, storage):
        digest = edition(storage, THREE, "reversed", 2)
        call(storage, THREE, "POST", "/rebalance/activate/" + digest)
        try:
            refused(storage, "A rebalance is running on east-store3 (TOPO_REBALANCE_VOTE)")
        finally:
            call(storage, THREE, "POST", "/rebalance/deactivate/" + digest)
            storage.lab.on(THREE, "rm", "%s/snowth-topo/%s" % (ETC, digest))

    @LONG
    def test_a_reconstitute_that_runs(self, storage):
        flag = "/reconstitute_state/%s?in_progress=" % storage.ids[TWO]
        call(storage, THREE, "PUT", flag + "true")
        try:
            refused(storage, "A reconstitute is running, says east-store3")
        finally:
            call(storage, THREE, "PUT", flag + "false")


class TestTheGossip:
    def test_of_one_that_lags(self, storage):
        """It was down while another one took measurements, 40 s ago by that one's clock, and gets them slowly."""
        check = "c0000000-0000-4000-8000-000000000014"
        points = [{"id": check, "metric": "gate%d" % at, "offset": 1700000040, "count": 1, "value": at}
                  for at in range(60)]

        def behind(host):
            return next(float(row["latency"].get(storage.ids[ONE], 0)) for row in storage.gossip()
                        if row["id"] == storage.ids[host])

        storage.lab.on(THREE, "systemctl", "stop", UNIT)
        try:
            with storage.fault(ONE, "clock-offset", "-40"):
                call(storage, ONE, "POST", "/write/nnt", json.dumps(points))
            wait_until(lambda: behind(TWO) < 2, 30, "east-store2 has it all")
            with storage.fault(ONE, "drain-rate", "0.2"):
                storage.lab.on(THREE, "systemctl", "start", UNIT)
                wait_until(lambda: behind(THREE) >= 30, 30, "east-store3 is behind")
                wait_until(lambda: all(float(row["gossip_age"]) < 2 for row in storage.gossip()), 30, "it is young")
                refused(storage, "east-store3 is ", " s behind east-store1 (limit 30 s)")
        finally:
            storage.lab.on(THREE, "systemctl", "start", UNIT)

    @LONG
    def test_of_nobody_since_the_start(self, storage):
        with storage.fault(THREE, "gossip-lost"):
            storage.lab.on(THREE, "systemctl", "restart", UNIT)
            wait_until(lambda: storage.gossip(THREE), 30, "it answers")
            refused(storage, "east-store3 has heard nothing of east-store1 since it started")

    @LONG
    def test_that_is_lost_in_one_direction(self, storage):
        """One node does not hear another, which hears it: only the view of the first tells."""
        def age(viewer, seen):
            return next(float(row["gossip_age"]) for row in storage.gossip(viewer) if row["id"] == storage.ids[seen])

        with packets(storage, TWO, "ip saddr %s udp dport 8112 drop" % storage.addresses[THREE]):
            wait_until(lambda: age(TWO, THREE) > 9, 60, "it is old on east-store2")
            assert age(THREE, TWO) < 8 and age(ONE, THREE) < 8
            refused(storage, "The gossip about east-store3 on east-store2 is ", "udp port 8112")
