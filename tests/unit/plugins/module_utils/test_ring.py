# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import hashlib
import random
import time

import pytest

from ansible_collections.circonus.inside.plugins.module_utils import ring, topology
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput, Refused

CHECK = "1f846f26-0cfd-4df5-b4f1-e0930604e577"
#: Ten nodes with sides and three copies whose placement the tests of the public client publish (gosnowth).
PUBLISHED = topology.make([
    {"id": name, "weight": 51, "side": side} for name, side in zip((
        "5c32c076-ffeb-cfdd-a541-97e25c028dd6", "1533fc6b-de08-6eac-eb46-d3920a1a18a3",
        "18111a24-5832-42c8-e780-bcbf88f47215", "4ec7bd67-f279-6f9a-fbe7-be9a0dee4c39",
        "0475df4e-ee2d-c96c-b6d7-e9d1b0239c2c", "9d1a34cd-b150-4c19-a894-e20280b42b62",
        "3d8ae36d-3d4d-4eda-ab53-c58538985062", "d2b9a8aa-9503-6cb3-dfdd-e407c1a6bee7",
        "15e35e06-4069-ecb8-c7a4-93e4c540693d", "8f0073e1-5d52-67da-bd59-e8017e5b5aa1"), "ab" * 5)], 3)


def ids(number):
    return ["a0000000-0000-4000-8000-%012d" % at for at in range(1, number + 1)]


def cluster(weights, copies, sides=None):
    return topology.make([{"id": name, "weight": weight, "side": side} for name, weight, side in
                          zip(ids(len(weights)), weights, sides or [None] * len(weights))], copies)


def by_hand(given, place):
    """Owners by the words of the reference, slot by slot, in bytes: nothing in common with the code under test."""
    sided = any(node.side for node in given.nodes)
    slots = []
    for node in given.nodes:
        for slot in range(node.weight):
            where = bytearray(hashlib.sha256(node.id.encode() + bytes([slot >> 8, slot & 255])).digest())
            if node.side == "a":
                where[0] &= 127
            elif node.side == "b":
                where[0] |= 128
            slots.append((bytes(where), node.id))
    slots.sort()
    place, found = bytearray(place), []
    for _unused in range(given.write_copies):
        after = [slot for slot in slots if slot[0] >= bytes(place)]
        before = [slot for slot in slots if slot[0] < bytes(place)]
        for where, name in after + before:
            if name not in found and (not sided or where[0] & 128 == place[0] & 128):
                found.append(name)
                break
        else:
            return found
        place[0] ^= 128
    return found


def random_cluster(source, most_nodes=12, most_weight=12):
    number = source.randint(3, most_nodes)
    sides = None
    if source.random() < 0.5:
        sides = ["a", "b"] + [source.choice("ab") for _unused in range(number - 2)]
    weights = [source.randint(1, most_weight) for _unused in range(number)]
    return cluster(weights, source.randint(1, min(4, number)), sides)


class TestOwners:
    def test_published_placement(self):
        assert ring.owners(PUBLISHED, CHECK.upper(), "test") == [
            "9d1a34cd-b150-4c19-a894-e20280b42b62", "3d8ae36d-3d4d-4eda-ab53-c58538985062",
            "1533fc6b-de08-6eac-eb46-d3920a1a18a3"]

    def test_the_same_as_by_hand(self):
        source = random.Random(8112)
        for _unused in range(60):
            given = random_cluster(source)
            for number in range(10):
                metric = "cpu|ST[core:%d]é" % number
                place = hashlib.sha256((CHECK + "-" + metric).encode("utf-8")).digest()
                assert ring.owners(given, CHECK, metric) == by_hand(given, place)

    def test_a_slot_owns_its_own_position(self):
        given = cluster([3, 3, 3], 2)
        it = ring.Ring(given)
        place = int(hashlib.sha256(ids(1)[0].encode() + b"\0\2").hexdigest(), 16)
        assert it.indexes(place)[0] == 0
        assert list(map(ids(3).__getitem__, it.indexes(place + 1))) == by_hand(given, (place + 1).to_bytes(32, "big"))

    def test_copies_are_on_both_sides(self):
        sides = {node.id: node.side for node in PUBLISHED.nodes}
        for number in range(200):
            found = [sides[name] for name in ring.owners(PUBLISHED, CHECK, str(number))]
            assert found in (["a", "b", "a"], ["b", "a", "b"])

    def test_a_side_with_too_few_nodes_has_fewer_copies(self):
        given = cluster([9, 9, 9], 3, "aab")
        found = {tuple(ring.owners(given, CHECK, str(number))) for number in range(100)}
        assert set(map(len, found)) == {2, 3} and all(len(set(names)) == len(names) for names in found)

    def test_refuses_a_topology_no_cluster_would_take(self):
        with pytest.raises(BadInput, match="weight"):
            ring.Ring(cluster([1, 0], 2))


class TestSegments:
    def test_cover_the_ring_without_a_gap_and_agree_with_its_definition(self):
        source = random.Random(1)
        for _unused in range(25):
            given = random_cluster(source, 8, 6)
            names = [node.id for node in given.nodes]
            found = ring.Ring(given).segments()
            assert found[0][0] == 0 and found[-1][1] == (1 << 256) - 1
            assert all(one[1] + 1 == other[0] and one[2] != other[2] for one, other in zip(found, found[1:]))
            for first, last, copies in found:
                for place in (first, (first + last) // 2, last):
                    assert [names[index] for index in copies] == by_hand(given, place.to_bytes(32, "big"))

    def test_sixty_nodes_of_many_slots_take_seconds(self):
        started = time.process_time()
        it = ring.Ring(cluster([170] * 60, 4))
        assert it.short(ids(60)[:3]) == [] and len(it.segments()) > 15000
        assert time.process_time() - started < 10


class TestShort:
    def test_nothing_is_down(self):
        assert ring.short_segments(PUBLISHED, (), 3) == [] and ring.Ring(PUBLISHED).fewest(()) == 3

    def test_says_where_and_how_much(self):
        given = cluster([5, 5, 5], 2)
        found = ring.short_segments(given, ids(2))
        assert found and all(set(segment["owners"]) == set(ids(2)) and segment["live"] == [] for segment in found)
        assert all(int(segment["first"], 16) <= int(segment["last"], 16) and len(segment["first"]) == 64
                   for segment in found)
        assert 0 < sum(segment["share"] for segment in found) < 1
        assert ring.describe(found).startswith("%d ring segments (" % len(found)) and ids(2)[0] in ring.describe(found)
        assert ring.describe([]) == "" and "1 ring segment (" in ring.describe(found[:1])

    def test_no_sample_would_find_the_only_short_segment(self):
        """Two nodes of one slot each among heavy ones share next to nothing; exact is exact."""
        given = cluster([1, 1] + [400] * 6, 2)
        for segment in ring.short_segments(given, ids(2)):
            assert segment["share"] < 0.001
        found = [segment for segment in ring.Ring(given).segments() if set(segment[2]) == {0, 1}]
        assert len(ring.short_segments(given, ids(2))) == len(found)

    def test_the_same_as_counting_segment_by_segment(self):
        source = random.Random(2)
        for _unused in range(40):
            given = random_cluster(source)
            down = [node.id for node in given.nodes if source.random() < 0.4]
            it, names = ring.Ring(given), [node.id for node in given.nodes]
            for wanted in (1, 2):
                expected = sum(1 for segment in it.segments()
                               if len([at for at in segment[2] if names[at] not in down]) < wanted)
                assert len(it.short(down, wanted)) == expected
            assert bool(it.short(down)) == (it.fewest(down) < 1)

    def test_shares_of_all_nodes_are_the_copies(self):
        it = ring.Ring(cluster([1, 5, 9, 2], 3))
        assert abs(sum(it.share(name) for name in ids(4)) - 3) < 1e-9


class TestWaves:
    def test_one_after_the_other_in_the_order_of_the_topology(self):
        assert ring.waves(cluster([5, 5, 5], 2)) == [[name] for name in ids(3)]

    def test_sides_stop_together(self):
        given = cluster([5] * 4, 2, "abab")
        assert ring.waves(given, "sides") == [ids(4)[0::2], ids(4)[1::2]]

    @pytest.mark.parametrize("given, options, why", [
        (cluster([5, 5, 5], 1), {}, "keeps 1 copy of everything"),
        (cluster([5, 5], 1, "ab"), {"parallel": "sides"}, "keeps 1 copy of everything"),
        (cluster([5, 5, 5], 2), {"parallel": "sides"}, "this one has none"),
        (cluster([5, 5, 5], 2), {"parallel": "all"}, "Expected one or sides"),
        (cluster([5, 5, 5], 2), {"down": ["db9"]}, "found db9"),
        (cluster([50, 50, 50], 2), {"down": ids(1)}, "%s cannot stop while %s is down" % (ids(2)[1], ids(1)[0])),
        (cluster([50] * 4, 2, "abab"), {"parallel": "sides", "down": ids(2)[1:]}, "Bring back the nodes"),
        (cluster([5, 5, 5], 2), {"wanted": 2}, "fewer than 2 live copies"),
        (cluster([50] * 4, 3, "abab"), {"parallel": "sides", "wanted": 2}, "Take one node at a time"),
    ])
    def test_refuses(self, given, options, why):
        with pytest.raises(Refused) as caught:
            ring.waves(given, **options)
        assert why in str(caught.value)

    def test_a_node_that_is_down_is_in_no_wave(self):
        assert ring.waves(cluster([5] * 5, 3), down=ids(1)) == [[name] for name in ids(5)[1:]]


def broken(given, found, down):
    """Waves that have more than n-1 copies of something down, or none live. Counted by hand at each segment."""
    it, names, bad = ring.Ring(given), [node.id for node in given.nodes], []
    for wave in found:
        dead = set(wave) | set(down)
        for _unused, last, copies in it.segments():
            lost = [at for at in copies if names[at] in dead]
            if len(lost) > given.write_copies - 1 or len(lost) == len(copies):
                bad.append((wave, last))
    return bad


class TestWavesOfAnyTopology:
    """A property, tried on 1,000 generated clusters of 3 to 60 nodes."""

    def test_never_more_than_all_but_one_copy_is_down(self):
        hypothesis = pytest.importorskip("hypothesis")
        from hypothesis import strategies as some

        @some.composite
        def case(draw):
            number = draw(some.integers(3, 60))
            copies = draw(some.integers(1, min(4, number)))
            sides = None
            if draw(some.booleans()):
                sides = ["a", "b"] + draw(some.lists(some.sampled_from("ab"), min_size=number - 2, max_size=number - 2))
            weights = draw(some.lists(some.integers(1, 16), min_size=number, max_size=number))
            down = draw(some.sets(some.sampled_from(ids(number)), max_size=2))
            return cluster(weights, copies, sides), down

        seen = {"one": 0, "sides": 0, "refused": 0}
        tried = []

        @hypothesis.settings(max_examples=1000, deadline=None, database=None, derandomize=True,
                             suppress_health_check=list(hypothesis.HealthCheck))
        @hypothesis.given(case())
        def check(given):
            given, down = given
            tried.append(1)
            for parallel in ring.PARALLEL:
                try:
                    found = ring.waves(given, parallel, down)
                except Refused:
                    seen["refused"] += 1
                    assert given.write_copies == 1 or down or (parallel == "sides" and not topology.sided(given))
                    continue
                seen[parallel] += 1
                assert sorted(sum(found, [])) == sorted(set(ids(len(given.nodes))) - down)
                assert parallel == "sides" or all(len(wave) == 1 for wave in found)
                assert broken(given, found, down) == []

        check()
        assert len(tried) >= 1000 and min(seen.values()) > 100

    def test_the_counting_would_notice(self):
        given = cluster([50] * 4, 2)
        assert broken(given, [ids(4)[:2]], ()) and not broken(given, ring.waves(given), ())
