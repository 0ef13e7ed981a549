# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every gate of the cluster has a picture that it alone stops: closed it refuses, and forced open the picture passes.

A gate that has none, or that lets its picture through, fails here. Those of the controller are in
``plugin_utils/test_refusal_mutations.py``.
"""
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os
import sys

import pytest

from ansible_collections.circonus.inside.plugins.module_utils import irondb_cluster, irondb_gate, topology
from ansible_collections.circonus.inside.plugins.module_utils.errors import TimedOut

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from storage_views import cluster, green
from test_irondb_gate import FAULTS

THREE = cluster()
#: One node on a side of a ring that wants two copies there: what is on that side has two copies, not four.
THIN = cluster(5, 4, "abbbb")
#: Nodes so light that they share nothing.
LIGHT = topology.make([node._replace(weight=1 if at in (0, 9) else 60) for at, node in enumerate(cluster(20).nodes)], 2)
REGISTER = [(irondb_gate.GATES, gate_id) for gate_id in irondb_gate.GATES] + [
    (irondb_gate.STOPS, gate_id) for gate_id in irondb_gate.STOPS]


class Picture:
    """A cluster at one moment, in the place of ``irondb_cluster.Cluster``. stop: positions of the nodes to stop."""

    def __init__(self, given, stop, named, node=None, change=None):
        self.topology, self.named = given, named
        self.seen = green(given, node)
        if change:
            change(self.seen)
        self.stop = [given.nodes[at].id for at in stop]

    def view(self):
        return self.seen


def pictures(gate_id):
    """Everything that this gate alone stops."""
    found = [Picture(THREE, (1,), named, node, change) for name, node, named, change in FAULTS if name == gate_id]
    if gate_id == "short":
        found.append(Picture(THIN, (0, 1), 0))
    if gate_id == "too_many":
        found.append(Picture(LIGHT, (0, 9), 0))
    if gate_id == "journal":
        found.append(Picture(THREE, (1,), 1))
    return found


def ask(picture, redo_dir):
    """As the module irondb_safe_to_stop asks before each stop."""
    return irondb_cluster.ask_safe(picture, picture.stop, True, redo_dir if len(picture.stop) == 1 else None)


def wait(picture):
    """As the module irondb_wait waits after each start, on a clock of its own."""
    passed = [0.0]
    return irondb_cluster.wait(picture, 3, 5.0, 20.0, 60.0, clock=lambda: passed[0],
                               pause=lambda seconds: passed.__setitem__(0, passed[0] + max(seconds, 1.0)))


@pytest.fixture
def redo(tmp_path):
    """Journals of the node that would stop, almost empty."""
    for node in (0, 2):
        (tmp_path / THREE.nodes[node].id).mkdir()
        (tmp_path / THREE.nodes[node].id / "00000001").write_bytes(b"a record")
    return tmp_path


def fill(redo):
    with open(str(redo / THREE.nodes[2].id / "00000002"), "wb") as journal:
        journal.truncate(irondb_gate.JOURNAL_BYTES)


class TestForcedOpen:
    @pytest.mark.parametrize("table, gate_id", REGISTER, ids=[gate_id for _table, gate_id in REGISTER])
    def test_its_picture_passes_and_nothing_else_stops_it(self, table, gate_id, redo, monkeypatch):
        if gate_id == "journal":
            fill(redo)
        found = pictures(gate_id)
        assert found, "no picture shows that the gate %s stops anything" % gate_id
        for picture in found:
            answer = ask(picture, str(redo))
            assert not answer["safe"] and answer["gate"] == gate_id
            assert picture.named is None or "db%d" % (picture.named + 1) in irondb_cluster.refusal(answer["reasons"])
        monkeypatch.setitem(table, gate_id, lambda _picture: [])
        for picture in found:
            answer = ask(picture, str(redo))
            assert answer["safe"] and answer["reasons"] == [], (gate_id, answer["reasons"])

    @pytest.mark.parametrize("gate_id", list(irondb_gate.GATES))
    def test_nor_does_the_wait_end_before_it_opens(self, gate_id, monkeypatch):
        found = pictures(gate_id)
        for picture in found:
            with pytest.raises(TimedOut) as caught:
                wait(picture)
            assert caught.value.details["gate"] == gate_id and not caught.value.details["settled"]
            assert picture.named is None or "db%d" % (picture.named + 1) in str(caught.value)
        monkeypatch.setitem(irondb_gate.GATES, gate_id, lambda _view: [])
        for picture in found:
            assert wait(picture)["settled"]


def test_without_any_picture_all_are_open(redo):
    for node in (None, 0):
        picture = Picture(THREE, (1,), None, node)
        assert ask(picture, str(redo))["safe"] and wait(picture)["settled"]


def test_a_cluster_that_is_green_only_now_and_then_never_settles():
    """The gate of the wait itself: so many green polls in a row."""
    picture = Picture(THREE, (1,), None, 0)
    lagging = pictures("lagging")[0]
    turns = iter([picture, picture, lagging] * 100)
    restless = type("Restless", (), {"view": lambda self: next(turns).seen})()
    with pytest.raises(TimedOut) as caught:
        wait(restless)
    assert caught.value.details["gate"] in ("settling", "lagging") and not caught.value.details["settled"]
