# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import copy
import os
import random
import sys

import pytest

from ansible_collections.circonus.inside.plugins.module_utils import irondb_identity, topology

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from storage_views import cluster

GIVEN = cluster(4)
IDS = [node.id for node in GIVEN.nodes]
DIGEST = topology.digest(GIVEN)
STRANGER = "b0000000-0000-4000-8000-00000000dead"
EXPECTED = {"host": "db2", "node_id": IDS[1], "address": "192.0.2.32"}


def evidence():
    """What all sources say of db2 when everything is as it should be."""
    members = {"digest": DIGEST, "nodes": [{"id": node.id, "address": node.address} for node in GIVEN.nodes]}
    row = {"heard": True, "current": DIGEST}
    return {
        "site": {"node_id": IDS[1], "address": "192.0.2.32", "owners": ["db2"]},
        "disk": {"data": [IDS[1]], "text": [IDS[1]], "nntbs": [IDS[1]]}, "recorded": None,
        "addresses": ["127.0.0.1", "192.0.2.32"], "files": copy.deepcopy(members), "served": members,
        "answers": IDS[1], "gossip": {asked: {name: dict(row) for name in IDS} for asked in IDS[:3]},
    }


def changed(change):
    found = evidence()
    change(found)
    return irondb_identity.problems(EXPECTED, found)


class TestProblems:
    def test_everybody_says_the_same(self):
        assert irondb_identity.problems(EXPECTED, evidence()) == []

    def test_a_node_that_is_down_is_proven_by_what_others_heard(self):
        assert changed(lambda found: found.update(answers=None)) == []

    def test_an_unfinished_rebuild_stands_for_the_directories_that_it_moved(self):
        found = evidence()
        found.update(disk={"data": [], "text": []}, recorded=IDS[1])
        assert irondb_identity.problems(EXPECTED, found) == []
        found["recorded"] = IDS[0]
        assert "found none" in irondb_identity.problems(EXPECTED, found)[0]

    @pytest.mark.parametrize("name, change, words", [
        ("no site.json", lambda found: found.update(site=None, site_problem="no such file"), "no such file"),
        ("stale site.json", lambda found: found["site"].update(node_id=IDS[2]), "stale"),
        ("stale address", lambda found: found["site"].update(address="192.0.2.99"), "192.0.2.99"),
        ("two with one id", lambda found: found["site"].update(owners=["db2", "db9"]), "db2 and db9"),
        ("another disk", lambda found: found["disk"].update(data=[IDS[0]]), "holds the data of " + IDS[0]),
        ("two on the disk", lambda found: found["disk"].update(hist=[IDS[1], IDS[3]]), "holds the data of " + IDS[3]),
        ("empty disk", lambda found: found.update(disk={"data": []}), "found none"),
        ("no disk", lambda found: found.update(disk={}), "found none"),
        ("another machine", lambda found: found.update(addresses=["192.0.2.31"]), "192.0.2.31"),
        ("addresses unknown", lambda found: found.update(addresses=None), "none"),
        ("no topology here", lambda found: found.update(files=None, files_problem="no digest"), "no digest"),
        ("no topology there", lambda found: found.update(served=None, served_problem="Nobody."), "Nobody."),
        ("not in it here", lambda found: found["files"]["nodes"].pop(1), "not in the topology"),
        ("not in it there", lambda found: found["served"]["nodes"].pop(1), "not in the topology"),
        ("two digests", lambda found: found["files"].update(digest="e" * 64), "Explain"),
        ("another address", lambda found: found["served"]["nodes"][1].update(address="192.0.2.77"), "no node at"),
        ("two at the address", lambda found: found["files"]["nodes"][0].update(address="192.0.2.32"), "and"),
        ("another answers", lambda found: found.update(answers=IDS[3]), "answers the node " + IDS[3]),
        ("gossip is silent", lambda found: found.update(gossip={}), "No other node has heard"),
        ("only itself", lambda found: found.update(gossip={IDS[1]: found["gossip"][IDS[1]]}), "No other node"),
        ("never heard", lambda found: [rows[IDS[1]].update(heard=False) for rows in found["gossip"].values()],
         "No other node"),
        ("gossip knows another", lambda found: found["gossip"][IDS[0]].update({STRANGER: {}}), STRANGER),
        ("gossip of another topology", lambda found: found["gossip"][IDS[2]][IDS[1]].update(current="d" * 64), "dddd"),
    ])
    def test_one_that_disagrees_or_is_missing_refuses(self, name, change, words):
        found = changed(change)
        assert found and words in " ".join(found), (name, found)
        assert found[0].endswith(".") and "{" not in found[0], name

    @pytest.mark.parametrize("wrong, why", [
        ({"node_id": ""}, "missing"), ({"node_id": IDS[1].upper()}, "lower case"), ({"address": ""}, "ip_address"),
    ])
    def test_what_site_json_leaves_open_refuses(self, wrong, why):
        assert why in irondb_identity.problems(dict(EXPECTED, **wrong), evidence())[0]


def wrong_targets(number, seed=20260101):
    """(what was done, expected, evidence) of attempts at a wrong node: ids swapped in one source or in several, a stale
    site.json, another machine, a topology without the node, gossip that knows another."""
    dice = random.Random(seed)
    for at in range(number):
        found, expected, other = evidence(), dict(EXPECTED), dice.choice([0, 2, 3])
        kind = at % 10
        if kind == 0:  # the ids of two hosts are swapped in the inventory
            expected["node_id"] = IDS[other]
        elif kind == 1:  # and in the installed site.json as well
            expected["node_id"] = found["site"]["node_id"] = IDS[other]
            found["site"]["owners"] = ["db2"]
        elif kind == 2:  # and even the disk was moved, not the machine
            expected["node_id"] = found["site"]["node_id"] = IDS[other]
            found["disk"] = {store: [IDS[other]] for store in found["disk"]}
        elif kind == 3:
            stale = dice.choice([IDS[other], "192.0.2.3%d" % (other + 1), ""])
            found["site"][dice.choice(["node_id", "address"])] = stale
        elif kind == 4:  # the name leads to another host, which is in order by itself
            found["addresses"] = ["127.0.0.1", "192.0.2.3%d" % (other + 1)]
            found["disk"] = {store: [IDS[other]] for store in found["disk"]}
        elif kind == 5:
            del found[dice.choice(["files", "served"])]["nodes"][1]
        elif kind == 6:
            found["gossip"][dice.choice([IDS[0], IDS[2]])][STRANGER] = {"heard": True, "current": DIGEST}
        elif kind == 7:
            store = dice.choice(sorted(found["disk"]))
            found["disk"][store] = dice.choice([[IDS[other]], [IDS[1], IDS[other]], [STRANGER]])
        elif kind == 8:
            found[dice.choice(["answers"])] = dice.choice([IDS[other], STRANGER])
        else:
            key = dice.choice(["site", "disk", "addresses", "files", "served", "gossip"])
            found[key] = {} if key in ("disk", "gossip") else None
        yield "%d of kind %d" % (at, kind), expected, found


class TestWrongTargets:
    def test_each_of_them_refuses(self):
        refused = 0
        for what, expected, found in wrong_targets(1000):
            problems = irondb_identity.problems(expected, found)
            assert problems, what
            refused += 1
        assert refused == 1000
