# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Data in its copies, journals for nodes that are down, and the latency that comes of them: nodes within the test."""

import threading
import time

import pytest
from daemons import jlog, net
from daemons.snowth import journal, numeric

from ..conftest import eventually
from .conftest import AT, CHECK, IDS, encoded, points

READ = "/read/%d/%d/%%d/%s/%%s/%%s" % (AT - 60, AT + 60, CHECK)


def holders(nodes, metric):
    """Numbers of the nodes that have a metric on their disk."""
    return {n for n, item in enumerate(nodes) if item.store.numeric.read(CHECK, metric, 60, 0, AT + 60)}


def wanted(cluster, nodes, metric):
    owners = nodes[0].topology(cluster.digest).owners(CHECK, metric)
    return {IDS.index(ident) for ident in owners}


def delivered(nodes):
    return not any(item.oldest for node in nodes for item in node.journals.values())


class TestIngest:
    def test_keeps_each_value_on_its_owners_and_nowhere_else(self, cluster):
        nodes = cluster.all()
        status, found = cluster.ask(0, "/write/nnt", "POST", encoded(points(0, 60)))
        assert status == 200 and found["records"] == 60 and found["updated"] + found["misdirected"] == 60
        eventually(lambda: delivered(nodes))
        for n in range(60):
            assert holders(nodes, "m%05d" % n) == wanted(cluster, nodes, "m%05d" % n)

    def test_of_six_nodes_with_sides_is_on_both_sides(self, make):
        cluster = make(count=6, copies=3, sides="aaabbb")
        nodes = cluster.all(6)
        assert cluster.ask(4, "/write/nnt", "POST", encoded(points(0, 40)))[0] == 200
        eventually(lambda: delivered(nodes))
        for n in range(40):
            found = holders(nodes, "m%05d" % n)
            assert found == wanted(cluster, nodes, "m%05d" % n) and len(found) == 3
            assert {"aaabbb"[number] for number in found} == {"a", "b"}

    def test_locate_names_the_same_owners(self, cluster):
        nodes = cluster.all()
        found = cluster.ask(1, "/locate/json/%s/m00001" % CHECK)[1]
        assert found["key"] == CHECK + "-m00001"
        assert {IDS.index(row["id"]) for row in found["location"]} == wanted(cluster, nodes, "m00001")

    @pytest.mark.parametrize("path, kind", [("/write/nnt", "numeric"), ("/write/text", "text")])
    def test_of_numbers_and_text_is_listed(self, cluster, path, kind):
        nodes = cluster.all()
        point = {"metric": "a/b c", "id": CHECK, "offset": str(AT), "count": 1, "value": 3}
        point["value"] = 3 if kind == "numeric" else "x"
        assert cluster.ask(0, path, "POST", encoded([point]))[0] == 200
        eventually(lambda: delivered(nodes))
        row = {"id": CHECK, "metric": "a/b c", "type": kind}
        lists = [cluster.ask(n, "/list/metric/" + CHECK)[1] for n in range(3)]
        assert sorted(map(len, lists)) == [0, 1, 1] and [row] in lists

    @pytest.mark.parametrize(
        "path, data",
        [
            ("/write/nnt", b"{"),
            ("/write/nnt", encoded([{"id": CHECK, "offset": 1, "count": 1, "value": 1}])),
            ("/write/nnt", encoded([{"id": "x", "metric": "m", "offset": 1, "count": 1, "value": 1}])),
            ("/write/text", encoded([{"id": CHECK, "metric": "m", "offset": 1, "value": 1}])),
            ("/histogram/write", encoded([{"id": CHECK, "metric": "m", "offset": 1, "period": 7, "histogram": ""}])),
        ],
    )
    def test_refuses_what_it_cannot_read(self, cluster, path, data):
        cluster.all(1)
        status, found = cluster.ask(0, path, "POST", data)
        assert status == 500 and list(found) == ["error"]

    def test_fails_on_a_full_disk_and_stores_nothing(self, cluster):
        nodes = cluster.all()
        cluster.fault(0, "disk-full")
        found = cluster.ask(0, "/write/nnt", "POST", encoded(points(0, 5)))
        assert found == (500, {"error": "No space left on device"})
        assert cluster.ask(0, "/state")[1]["text"]["fs"]["availMb"] == 0
        assert delivered(nodes) and not holders(nodes, "m00000")


class TestRead:
    def test_gives_values_and_rollups_from_any_node(self, cluster):
        nodes = cluster.all()
        for at, value in ((AT, 10), (AT - 60, 20)):
            cluster.ask(0, "/write/nnt", "POST", encoded(points(7, 1, value, at)))
        eventually(lambda: delivered(nodes))
        start = AT - AT % 300
        for n in range(3):
            assert cluster.ask(n, READ % (60, "average", "m00007"))[1] == [[AT - 60, 20], [AT, 10]]
            path = "/read/%d/%d/300/%s/all/m00007" % (start, start + 1, CHECK)
            (found,) = cluster.ask(n, path)[1]
            assert found[0] == start and found[1]["count"] == 2 and found[1]["value"] == 15
            assert found[1]["counter2_stddev"] == 0

    def test_of_text_begins_with_the_change_before(self, cluster):
        nodes = cluster.all()
        data = [{"metric": "t", "id": CHECK, "offset": str(AT + n), "value": "v%d" % n} for n in range(4)]
        cluster.ask(0, "/write/text", "POST", encoded(data))
        eventually(lambda: delivered(nodes))
        path = "/read/%d/%d/%s/t" % (AT + 2, AT + 3, CHECK)
        assert cluster.ask(2, path)[1] == [[(AT + 1) * 1000, "v1"], [(AT + 2) * 1000, "v2"]]

    def test_knows_names_that_are_encoded_in_the_path(self, cluster):
        cluster.all(1)
        nodes = list(cluster.nodes.values())
        nodes[0].store.write([["text", 0, CHECK, "größe/a b|ST[x:y]", AT * 1000, "v"]])
        path = "/read/%d/%d/%s/gr%%c3%%B6%%C3%%9Fe/a%%20b%%7CST%%5Bx:y]" % (AT, AT + 1, CHECK)
        assert cluster.ask(0, path, headers=[("X-Snowth-Lab-Local", "1")])[1] == [[AT * 1000, "v"]]

    def test_of_a_histogram_counts_its_bins(self, cluster):
        nodes = cluster.all()
        point = {"metric": "h", "id": CHECK, "offset": AT, "period": 60, "histogram": "AAEyAAAD"}
        assert cluster.ask(0, "/histogram/write", "POST", encoded([point]))[0] == 200
        eventually(lambda: delivered(nodes))
        path = "/histogram/%d/%d/60/%s/h" % (AT - 60, AT, CHECK)
        assert cluster.ask(1, path)[1] == [[AT - AT % 60, 60, {"5": 3}]]

    @pytest.mark.parametrize("period, kind", [(61, "average"), (60, "median")])
    def test_refuses_unknown_periods_and_types(self, cluster, period, kind):
        cluster.all(1)
        assert cluster.ask(0, READ % (period, kind, "m"))[0] == 500


class TestConflict:
    def test_the_same_value_stays_whatever_the_order(self, cluster):
        (only,) = cluster.all(1)
        low = ["nnt", 60, CHECK, "m", AT, 1.0, 5.0, 0, 0, 0, 0, 0]
        high = ["nnt", 60, CHECK, "m", AT, 2.0, 4.0, 0, 0, 0, 0, 0]
        for first, second in ((low, high), (high, low)):
            only.store.write([first])
            only.store.write([second])
            assert only.store.numeric.read(CHECK, "m", 60, 0, AT + 1)[0][1:3] == (2.0, 4.0)
            only.store.delete("nnt", CHECK, "m")


class TestClose:
    def test_waits_for_the_change_of_another_thread(self, tmp_path):
        """Else SQLite crashes the whole process."""
        for number in range(10):
            (tmp_path / str(number)).mkdir()
            store = numeric.Numeric(str(tmp_path / str(number)), [60, 300])
            rows = [(60, CHECK, "m%d" % n, AT, 1, n, 0, 0, 0, 0, 0) for n in range(500)]
            thread = threading.Thread(target=store.write, args=(rows,))
            thread.start()
            while thread.is_alive() and not store.lock.locked():
                time.sleep(0.0001)
            store.close()
            thread.join()
            again = numeric.Numeric(str(tmp_path / str(number)), [60, 300])
            assert len(again.metrics()) == 500
            again.close()


class TestJournal:
    def stopped(self, cluster):
        """Two nodes; the third is in the topology and down."""
        return [cluster.node(0), cluster.node(1)]

    def test_grows_for_a_node_that_is_down_and_is_delivered_when_it_is_back(self, cluster):
        first, second = self.stopped(cluster)
        cluster.ask(0, "/write/nnt", "POST", encoded(points(0, 40)))
        backlog = cluster.path(0, "store", "redo", IDS[2], "00000000")
        assert first.journals[IDS[2]].oldest and backlog.stat().st_size > 1000
        eventually(lambda: not first.journals[IDS[1]].oldest)
        third = cluster.node(2)
        eventually(lambda: delivered([first, second, third]))
        nodes = [first, second, third]
        assert all(holders(nodes, "m%05d" % n) == wanted(cluster, nodes, "m%05d" % n) for n in range(40))

    def test_survives_the_process(self, cluster):
        first = self.stopped(cluster)[0]
        cluster.ask(0, "/write/nnt", "POST", encoded(points(0, 20)))
        found = journal.Journal(
            str(cluster.path(0, "store", "redo", IDS[2])), IDS[2], lambda: None, first.faults, time.time, first.log
        )
        assert found.oldest == pytest.approx(first.journals[IDS[2]].oldest, abs=0.01)

    def test_is_delivered_at_the_rate_of_the_fault(self, cluster):
        nodes = cluster.all()
        cluster.fault(0, "drain-rate", 20)
        began = time.monotonic()
        cluster.ask(0, "/write/nnt", "POST", encoded(points(0, 30)))
        eventually(lambda: delivered(nodes))
        assert time.monotonic() - began > 0.5

    def test_of_a_stuck_peer_stays(self, cluster):
        nodes = cluster.all()
        cluster.fault(0, "stuck-peer", IDS[1])
        cluster.ask(0, "/write/nnt", "POST", encoded(points(0, 30)))
        eventually(lambda: not nodes[0].journals[IDS[2]].oldest)
        assert nodes[0].journals[IDS[1]].oldest
        cluster.heal(0, "stuck-peer")
        eventually(lambda: delivered(nodes))

    def test_removes_segments_that_were_delivered(self, cluster, monkeypatch):
        monkeypatch.setattr(journal, "UNIT", 2000)
        nodes = cluster.all()
        cluster.ask(0, "/write/nnt", "POST", encoded(points(0, 200)))
        eventually(lambda: delivered(nodes))
        # They go right after the last of them was delivered.
        eventually(lambda: 0 not in jlog.segments(str(cluster.path(0, "store", "redo", IDS[1]))))
        assert all(holders(nodes, "m%05d" % n) == wanted(cluster, nodes, "m%05d" % n) for n in range(200))

    def test_that_cannot_be_stored_by_the_peer_is_kept(self, cluster):
        nodes = cluster.all()
        cluster.fault(1, "disk-full")
        cluster.ask(0, "/write/nnt", "POST", encoded(points(0, 30)))
        eventually(lambda: "journal to" in cluster.log(0))
        assert nodes[0].journals[IDS[1]].oldest and "No space left" in cluster.log(1)
        cluster.heal(1, "disk-full")
        eventually(lambda: delivered(nodes))

    def test_announces_how_many_records_it_brings(self, cluster):
        cluster.all(1)
        assert cluster.ask(0, "/journal/2", "POST", b"[]") == (500, {"records": 0, "failures": 1, "errors": 1})


class TestLatency:
    def row(self, cluster, viewer, number):
        return {row["id"]: row for row in cluster.ask(viewer, "/gossip/json")[1]}[IDS[number]]

    def test_is_zero_between_living_nodes(self, cluster):
        nodes = cluster.all()
        cluster.gossip()
        time.sleep(0.05)
        assert self.row(cluster, 0, 0)["latency"] == {IDS[1]: "0", IDS[2]: "0"}
        assert {type(value) for value in self.row(cluster, 0, 1).values()} == {str, dict}
        assert nodes[0].gossip.synced(IDS[0])

    def test_is_the_age_of_the_oldest_record_not_delivered(self, cluster):
        nodes = cluster.all()
        cluster.fault(0, "stuck-peer", IDS[1])
        nodes[0].journals[IDS[1]].now = lambda: time.time() - 41
        cluster.ask(0, "/write/nnt", "POST", encoded(points(0, 30)))
        cluster.gossip()
        eventually(lambda: self.row(cluster, 1, 1)["latency"][IDS[0]] in ("41", "42"))
        assert cluster.ask(1, "/state")[1]["max_peer_lag"] in (41, 42)
        assert self.row(cluster, 0, 0)["latency"][IDS[1]] == "0"
        cluster.gossip()
        eventually(lambda: self.row(cluster, 2, 1)["latency"].get(IDS[0]) in ("41", "42"))  # read from any node
        cluster.heal(0, "stuck-peer")
        eventually(lambda: delivered(nodes))
        cluster.gossip()
        eventually(lambda: self.row(cluster, 1, 1)["latency"][IDS[0]] == "0")

    def test_grows_towards_a_node_that_is_silent(self, cluster):
        nodes = cluster.all()

        def aged():  # again when one more word of it was under way
            nodes[0].gossip.heard[IDS[1]]["at"] = nodes[0].now() - 100
            return self.row(cluster, 0, 0)["latency"][IDS[1]] in ("100", "101")

        eventually(aged)
        assert float(self.row(cluster, 0, 1)["gossip_age"]) > 99

    def test_has_no_number_for_a_node_never_heard_of(self, cluster):
        cluster.node(0)
        row = self.row(cluster, 0, 1)
        assert float(row["gossip_time"]) == 0 and row["latency"] == {} and row["topo_state"] == "unknown"
        assert self.row(cluster, 0, 0)["latency"] == {}

    def test_shows_a_wrong_clock_of_the_viewer(self, cluster):
        cluster.all()
        cluster.fault(0, "clock-offset", 60)
        cluster.gossip()
        time.sleep(0.05)
        assert float(self.row(cluster, 0, 1)["gossip_age"]) > 59
        assert int(self.row(cluster, 0, 0)["latency"][IDS[1]]) in (60, 61)

    def test_may_be_given_as_numbers_by_older_builds(self, cluster):
        cluster.all()
        cluster.fault(0, "gossip-numbers")
        assert isinstance(self.row(cluster, 0, 1)["gossip_age"], float)


class TestGossip:
    def test_that_is_lost_is_not_heard(self, cluster):
        nodes = cluster.all()
        before = nodes[0].gossip.rows()[IDS[1]]["at"]
        cluster.fault(0, "gossip-lost", IDS[1])
        cluster.gossip()
        eventually(lambda: nodes[0].gossip.rows()[IDS[2]]["at"] > before)
        assert nodes[0].gossip.rows()[IDS[1]]["at"] == before

    def test_that_is_rubbish_is_logged_and_forgotten(self, cluster):
        node = cluster.node(0)
        for data in (b"\xff\xfe", b"[]", b'{"at": "x"}'):
            node.gossip.udp.sendto(data, ("127.0.0.1", cluster.port))
        eventually(lambda: cluster.log(0).count("cannot be read") == 3)
        assert node.gossip.rows() == {}

    def test_as_xml_has_the_same_values(self, cluster):
        cluster.all()
        text = net.fetch("127.0.0.1", cluster.port, "/gossip/xml")[2].decode()
        assert text.count("<latency>") == 3 and 'topo_current="%s"' % cluster.digest in text


class TestRestart:
    def test_of_every_node_in_turn_loses_nothing(self, make):
        cluster = make()
        for n in range(3):
            cluster.up(n)
        written = 0
        for n in range(3):
            cluster.processes[n].terminate()
            cluster.processes[n].wait(60)
            other = (n + 1) % 3
            for _batch in range(5):
                assert cluster.ask(other, "/write/nnt", "POST", encoded(points(written, 20)))[0] == 200
                written += 20
            cluster.up(n)

        def settled():
            rows = cluster.ask(0, "/gossip/json")[1]
            return all(len(row["latency"]) == 2 and set(row["latency"].values()) == {"0"} for row in rows)

        eventually(settled)
        for metric in range(written):
            path = READ % (60, "average", "m%05d" % metric)
            eventually(lambda p=path, m=metric: cluster.ask(m % 3, p)[1] == [[AT, m]])
