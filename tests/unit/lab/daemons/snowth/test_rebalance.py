# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Resize: nodes vote, move their data, switch; and stop where they have to."""

import json

import pytest
from daemons.snowth import rebalance, topology

from ..conftest import eventually
from .conftest import AT, CHECK, IDS, encoded, points


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(rebalance, "POLL", 0.05)


class Resize:
    """Three nodes with data, and a fourth one with a topology of its own; all in this process."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.nodes = cluster.all()
        alone = cluster.xml([3], 1)
        self.nodes.append(cluster.node(3, text=alone))
        self.text = cluster.xml(range(4), 2)
        self.digest = topology.parse(self.text).digest
        assert cluster.ask(0, "/write/nnt", "POST", encoded(points(0, 40)))[0] == 200
        eventually(lambda: not any(item.oldest for node in self.nodes for item in node.journals.values()))

    def load(self):
        for number in range(4):
            assert self.cluster.ask(number, "/topology/" + self.digest, "POST", self.text.encode())[0] == 200

    def call(self, number, verb, digest=None):
        return self.cluster.ask(number, "/rebalance/%s/%s" % (verb, digest or self.digest), "POST")

    def states(self):
        return [self.cluster.ask(number, "/rebalance/state")[1]["state"] for number in range(4)]

    def done(self):
        self.cluster.gossip()
        found = [self.cluster.ask(number, "/rebalance/state")[1] for number in range(4)]
        return found == [{"current": self.digest, "next": "-", "state": rebalance.IDLE}] * 4


@pytest.fixture
def resize(cluster):
    return Resize(cluster)


class TestRebalance:
    def test_moves_everything_to_the_new_layout(self, resize):
        resize.load()
        for number in range(4):
            assert resize.call(number, "activate")[0] == 200
        eventually(resize.done)
        new = topology.parse(resize.text)
        for n in range(40):
            owners = {IDS.index(ident) for ident in new.owners(CHECK, "m%05d" % n)}
            found = {
                number
                for number, node in enumerate(resize.nodes)
                if node.store.numeric.read(CHECK, "m%05d" % n, 60, 0, AT + 60)
            }
            assert found == owners
        assert resize.digest in resize.cluster.path(0, "topology.conf").read_text()
        assert not resize.cluster.path(0, "store", "localstate", rebalance.FILE).exists()

    def test_waits_for_every_vote_and_can_be_called_off(self, resize):
        resize.load()
        for number in range(3):
            resize.call(number, "activate")
        for _round in range(5):
            resize.cluster.gossip()
        assert resize.states()[:3] == [rebalance.VOTE] * 3
        row = resize.cluster.ask(0, "/gossip/json")[1][0]
        assert row["topo_next"] == resize.digest and row["topo_state"] == rebalance.VOTE
        assert resize.cluster.ask(0, "/state")[1]["next"] == resize.digest
        for number in range(3):
            assert resize.call(number, "deactivate")[0] == 200
        assert resize.states() == [rebalance.IDLE] * 4
        assert resize.call(0, "deactivate")[0] == 500

    def test_goes_on_after_a_restart_and_not_without_its_file(self, resize):
        resize.load()
        first = resize.nodes[0]
        first.rebalance.activate(resize.digest)
        path = resize.cluster.path(0, "store", "localstate", rebalance.FILE)
        assert json.loads(path.read_text())["state"] == rebalance.VOTE
        again = rebalance.Rebalance(first, str(path.parent))
        again.resume()
        assert again.state == rebalance.VOTE and again.next == resize.digest
        again.deactivate(resize.digest)
        again.resume()
        assert again.state == rebalance.IDLE

    def test_refuses_what_does_not_fit(self, resize):
        assert "is not loaded" in resize.call(0, "activate")[1]["error"]
        assert "is active already" in resize.call(0, "activate", resize.cluster.digest)[1]["error"]
        resize.load()
        small = resize.cluster.xml([0], 1)
        digest = topology.parse(small).digest
        assert resize.cluster.ask(0, "/topology/" + digest, "POST", small.encode())[0] == 200
        assert "2 nodes leave, at most 1" in resize.call(0, "activate", digest)[1]["error"]
        resize.call(0, "activate")
        assert "is running" in resize.call(0, "activate", digest)[1]["error"]

    def test_takes_new_data_into_both_layouts_meanwhile(self, resize):
        resize.load()
        for number in range(3):
            resize.call(number, "activate")
        old, new = topology.parse(resize.cluster.text), topology.parse(resize.text)
        found = resize.nodes[0].owners(CHECK, "m00001")
        assert set(found) == set(old.owners(CHECK, "m00001")) | set(new.owners(CHECK, "m00001"))
