# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Topologies: the published digests, the ring, copies and sides; and what nobody may load."""

import pytest
from daemons.snowth import topology
from hooper import storage

from .conftest import IDS

THREE = IDS[:3]
SWAPPED = [IDS[1], IDS[0], IDS[2]]
NONE, SIDES = (None, None, None), ("a", "a", "b")
VECTORS = [
    (2, THREE, 170, NONE, "b41fb9439455c776d3e6878223d6aa79d1fcccbb2f14105d82775f01c0c6ae6a"),
    (3, THREE, 170, NONE, "375fac8573617633437afa9350082444860e5770d5bc4c6c7521f8f733382ed3"),
    (2, THREE, 171, NONE, "201f42f825665a683a5824b7a07466e5caab729065dbf774aa681ad2c75cbecc"),
    (2, SWAPPED, 170, NONE, "1a165695ff3eaa9489996d361404fdef7c0dd508d1c0229d6b452b498429e47f"),
    (2, THREE, 170, SIDES, "d62dc65796b316ab3f501a4197435145dfdcddce886da34e6f72dad8c4b44309"),
    (3, THREE, 170, SIDES, "1f6c847c4766346be1c8c6ce4eff907dd4b85ff9fb0d5919e6288c3e45346342"),
]
PUBLISHED = "e9968ea18b2793f168a6c67af6f119108c088fe6023d6b8940a495fd4acb1538"
METRICS = [("c0000000-0000-4000-8000-%012d" % n, "m%d" % n) for n in range(300)]


def file_of(copies, ids, weight, sides):
    return storage.topology(copies, [(i, "192.0.2.1", weight, s) for i, s in zip(ids, sides, strict=True)])


class TestDigest:
    @pytest.mark.parametrize("copies, ids, weight, sides, expected", VECTORS)
    def test_matches_the_known_ones(self, copies, ids, weight, sides, expected):
        assert topology.parse(file_of(copies, ids, weight, sides)).digest == expected

    @pytest.mark.parametrize("copies, ids, weight, sides, expected", VECTORS)
    def test_hooper_computes_the_same(self, copies, ids, weight, sides, expected):
        nodes = [(i, "192.0.2.1", weight, s) for i, s in zip(ids, sides, strict=True)]
        assert storage.digest(copies, nodes) == expected

    def test_matches_the_published_one_with_another_port(self):
        node = {"id": "bb6f7162-4828-11df-bab8-6bac200dcc2a", "weight": 128, "side": None}
        assert topology.Topology(2, [node]).digest == PUBLISHED

    @pytest.mark.parametrize("copies, ids, weight, sides, expected", VECTORS)
    def test_what_a_node_serves_has_the_same(self, copies, ids, weight, sides, expected):
        assert topology.parse(topology.parse(file_of(copies, ids, weight, sides)).xml()).digest == expected


class TestParse:
    @pytest.mark.parametrize(
        "copies, ids, weight, sides, reason",
        [
            (4, THREE, 170, NONE, "4 write copies with 3 nodes"),
            (0, THREE, 170, NONE, "0 write copies"),
            (2, [THREE[0]] * 2, 170, NONE[:2], "twice"),
            (2, [THREE[0].upper(), THREE[1]], 170, NONE[:2], "not a lowercase"),
            (1, ["00000000-0000-0000-0000-000000000000"], 170, NONE[:1], "not a lowercase, non-nil"),
            (2, THREE, 0, NONE, "weight 0"),
            (2, THREE, 170, ("a", "a", None), "has a side"),
            (2, THREE, 170, ("a", "a", "a"), "has a side"),
        ],
    )
    def test_refuses_what_no_cluster_can_be(self, copies, ids, weight, sides, reason):
        with pytest.raises(topology.Invalid, match=reason):
            topology.parse(file_of(copies, ids, weight, sides))

    def test_refuses_what_is_no_xml(self):
        with pytest.raises(topology.Invalid, match="cannot be read"):
            topology.parse("<nodes")

    def test_write_copies_wins_over_n(self):
        text = file_of(3, THREE, 170, NONE).replace("<nodes ", '<nodes n="1" ')
        assert topology.parse(text).copies == 3


class TestRing:
    def test_has_a_slot_for_each_weight_and_counts_from_one(self):
        rows = topology.parse(file_of(2, THREE, 10, NONE)).ring_rows()
        assert len(rows) == 30 and {row["idx"] for row in rows} == set(range(1, 11))
        assert rows == sorted(rows, key=lambda row: row["location"]) and 0 <= rows[0]["location"] < 1

    def test_sides_have_half_a_circle_each(self):
        found = topology.parse(file_of(2, THREE, 10, SIDES))
        for row in found.ring_rows():
            assert (row["location"] >= 0.5) == (found.by_id[row["id"]]["side"] == "b")


class TestOwners:
    @pytest.mark.parametrize("copies", [1, 2, 3])
    def test_are_as_many_different_nodes_as_there_are_copies(self, copies):
        found = topology.parse(file_of(copies, THREE, 170, NONE))
        owners = [found.owners(*metric) for metric in METRICS]
        assert all(len(set(item)) == copies for item in owners)
        assert {item[0] for item in owners} == set(THREE)

    @pytest.mark.parametrize("copies, most", [(2, 1), (3, 2), (4, 2)])
    def test_in_a_sided_ring_are_on_both_sides(self, copies, most):
        sides = ("a", "a", "a", "b", "b", "b")
        found = topology.parse(file_of(copies, IDS, 64, sides))
        for metric in METRICS:
            owners = [found.by_id[ident]["side"] for ident in found.owners(*metric)]
            assert max(owners.count("a"), owners.count("b")) == most
            assert owners.count(owners[0]) == most  # an odd copy more is on the primary's side

    def test_do_not_depend_on_the_case_of_the_check(self):
        found = topology.parse(file_of(2, THREE, 170, NONE))
        assert found.owners(METRICS[10][0].upper(), "m10") == found.owners(METRICS[10][0], "m10")
