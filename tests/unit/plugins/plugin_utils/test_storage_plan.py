# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import os
import sys

import pytest

from ansible_collections.circonus.inside.plugins.module_utils import topology
from ansible_collections.circonus.inside.plugins.plugin_utils import storage_plan

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "module_utils"))
from storage_views import behind, cluster, green, silent

THREE = cluster()
SINCE = 1700000000.0


def site(given=THREE):
    """A normalised site.json with the nodes of a topology as db1, db2, ..."""
    hosts = {"db%d" % at: node for at, node in enumerate(given.nodes, 1)}
    return {
        "svclist": {"data_storage": {"_machlist": list(hosts)}},
        "machinfo": {host: {"node_id": node.id, "ip_address": node.address} for host, node in hosts.items()},
    }


def nodes(given=THREE, **changes):
    found = storage_plan.nodes_of(site(given))
    for host, change in changes.items():
        next(node for node in found if node["host"] == host).update(change)
    return found


def plan(given=THREE, view=None, found=None, **run):
    return storage_plan.restart_plan(found or nodes(given), given, view or green(given), dict({"since": SINCE}, **run))


class TestNodesOf:
    def test_reads_host_id_and_address(self):
        assert nodes()[0] == {"host": "db1", "id": THREE.nodes[0].id, "address": "192.0.2.31"}

    def test_what_is_missing_is_none(self):
        odd = site()
        odd["machinfo"]["db1"] = {"node_id": 7, "ip_address": "192.0.2.31/24"}
        del odd["machinfo"]["db2"]
        assert [(node["id"], node["address"]) for node in storage_plan.nodes_of(odd)[:2]] == [
            (None, "192.0.2.31"), (None, None)]

    def test_only_hosts_of_the_site(self):
        assert [node["host"] for node in storage_plan.nodes_of(site(), ["db2", "web1"])] == ["db2"]


class TestIdentityProblems:
    def test_everything_agrees(self):
        disks = {node["host"]: [node["id"]] for node in nodes()}
        assert storage_plan.identity_problems(nodes(), THREE, green(THREE), disks) == []

    @pytest.mark.parametrize("change, why", [
        ({"id": None}, "db1 has no node_id"),
        ({"id": "db1"}, "expected a uuid"),
        ({"id": "A0000000-0000-4000-8000-000000000001"}, "lower case"),
        ({"id": "b0000000-0000-4000-8000-000000000001"}, "is not in the topology"),
        ({"id": THREE.nodes[1].id}, "the same node_id"),
        ({"address": "192.0.2.99"}, "has the address 192.0.2.99 in site.json"),
        ({"address": None}, "has the address none in site.json"),
    ])
    def test_site_json_is_wrong(self, change, why):
        found = storage_plan.identity_problems(nodes(db1=change), THREE)
        assert any(why in text for text in found) and plan(found=nodes(db1=change))["result"] == "refused"

    def test_swapped_ids_are_noticed_on_both(self):
        first, second = (node.id for node in THREE.nodes[:2])
        found = storage_plan.identity_problems(nodes(db1={"id": second}, db2={"id": first}), THREE)
        assert len(found) == 2 and "db1" in found[0] and "db2" in found[1]

    def test_a_stale_site_json_lacks_a_node(self):
        found = storage_plan.identity_problems(nodes()[:2], THREE)
        assert len(found) == 1 and THREE.nodes[2].id in found[0] and "stale" in found[0]

    def test_another_node_answers(self):
        view = green(THREE)
        view["answers"][THREE.nodes[0].id]["state"]["identity"] = THREE.nodes[2].id
        found = storage_plan.identity_problems(nodes(), THREE, view)
        assert len(found) == 1 and "expected %s of db1" % THREE.nodes[0].id in found[0]
        assert plan(view=view)["gate"] == "identity"

    @pytest.mark.parametrize("on_disk, why", [
        ([THREE.nodes[1].id], "holds the data of"), ([], "holds the data of no node"), (None, "was not read"),
        ([THREE.nodes[0].id, THREE.nodes[1].id], "holds the data of")])
    def test_the_disk_says_otherwise(self, on_disk, why):
        disks = dict({node["host"]: [node["id"]] for node in nodes()}, db1=on_disk)
        found = storage_plan.identity_problems(nodes(), THREE, None, disks)
        assert len(found) == 1 and why in found[0] and "db1" in found[0]


class TestRestartPlan:
    def test_one_after_the_other_in_the_order_of_the_topology(self):
        mixed = topology.make(list(THREE.nodes)[::-1])
        assert plan()["waves"] == [["db1"], ["db2"], ["db3"]]
        found = storage_plan.restart_plan(nodes(), mixed, green(mixed), {"since": SINCE})
        assert found["waves"] == [["db3"], ["db2"], ["db1"]] and found["result"] == "proceed"
        assert found["estimate_s"] == 540.0 and found["reason"] == (
            "Restart 3 data_storage nodes in 3 waves, about 9 min.")

    def test_sides_by_choice_only(self):
        given = cluster(6, 2, "ababab")
        assert len(plan(given)["waves"]) == 6
        assert plan(given, parallel="sides")["waves"] == [["db1", "db3", "db5"], ["db2", "db4", "db6"]]
        assert plan(parallel="sides")["result"] == "refused" and plan(parallel="sides")["gate"] == "waves"

    def test_only_the_wanted_hosts(self):
        assert plan(hosts=["db2"])["waves"] == [["db2"]]
        assert "found web1" in plan(hosts=["web1"])["reason"]

    def test_continues_where_it_was(self):
        found = plan(started={"db1": SINCE + 5, "db2": SINCE - 5, "db3": None})
        assert (found["done"], found["waves"], found["settle"]) == (["db1"], [["db2"], ["db3"]], [])

    def test_first_waits_for_the_one_that_still_catches_up(self):
        view = green(THREE)
        behind(view, 0, 2, 90.0)
        behind(view, 1, 0, None)
        found = plan(view=view, started={"db1": SINCE + 5})
        assert found["result"] == "proceed" and found["settle"] == ["db1"] and found["done"] == []
        assert found["waves"] == [["db2"], ["db3"]] and found["plan"][0].startswith("Wait until db1")
        assert found["estimate_s"] == 480.0

    def test_the_last_one_catches_up(self):
        view = green(THREE)
        behind(view, 2, 0, 90.0)
        found = plan(view=view, started=dict.fromkeys(("db1", "db2", "db3"), SINCE + 5))
        assert found["result"] == "proceed" and found["settle"] == ["db3"] and found["waves"] == []

    def test_nothing_is_left(self):
        found = plan(started=dict.fromkeys(("db1", "db2", "db3"), SINCE + 5))
        assert found["result"] == "nothing_to_do" and found["done"] == ["db1", "db2", "db3"]

    @pytest.mark.parametrize("started", [{}, {"db2": SINCE + 5}])
    def test_refuses_when_another_node_is_behind(self, started):
        view = green(THREE)
        behind(view, 0, 2, 90.0)
        found = plan(view=view, started=started)
        assert (found["result"], found["gate"], found["waves"]) == ("refused", "lagging", [])
        assert "db1 is 90 s behind db3" in found["reason"]

    def test_refuses_a_restarted_node_that_is_down(self):
        view = green(THREE)
        silent(view, 0, "refused")
        assert plan(view=view, started={"db1": SINCE + 5})["gate"] == "peer_down"

    def test_refuses_one_copy(self):
        single = cluster(3, 1)
        assert plan(single)["gate"] == "write_copies"

    def test_measured_times_make_the_estimate(self):
        assert plan(restart_s=20.0, settle_s=130.0)["estimate_s"] == 450.0


class TestDuration:
    @pytest.mark.parametrize("seconds, text", [(45, "about 45 s"), (540, "about 9 min"), (10800, "about 3.0 h")])
    def test_reads_well(self, seconds, text):
        assert storage_plan.duration(seconds) == text
