# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a node shows of itself, by release; topologies that are loaded; refused starts."""

import json

import pytest
from daemons import net
from daemons.snowth import release, topology

from ..conftest import eventually
from .conftest import CHECK, IDS, encoded


class TestRelease:
    @pytest.mark.parametrize("text, day", [("2019", "2019-11-04"), ("", "2021-11-29"), ("2021-03-01", "2021-03-01")])
    def test_is_a_day_or_a_year(self, text, day):
        assert release.Release(text).day == day

    def test_refuses_what_is_neither(self):
        with pytest.raises(ValueError, match="neither a day"):
            release.Release("0.18.1")

    def test_comes_from_the_configuration_and_the_fault_wins(self, cluster):
        cluster.prepare(0)
        cluster.fault(0, "release", "2019")
        assert cluster.node(0).release.day == "2019-11-04"
        assert release.of_conf("<snowth/>") == ""


class TestState:
    @pytest.mark.parametrize(
        "version, present, absent",
        [
            ("2019", ["nnt", "nnt_cache_size"], ["nntbs", "avg_peer_lag", "indexes"]),
            ("2021", ["nnt", "nntbs", "avg_peer_lag"], ["indexes"]),
            ("2022", ["nntbs", "avg_peer_lag", "indexes"], ["nnt", "nnt_cache_size"]),
        ],
    )
    def test_has_the_fields_of_the_release(self, make, version, present, absent):
        cluster = make(release=version)
        cluster.node(0)
        found = cluster.ask(0, "/state")[1]
        assert set(present) <= set(found) and not set(absent) & set(found)
        numeric = found["nntbs" if "nntbs" in found else "nnt"]
        assert numeric["rollup_60"]["fs"]["totalMb"] > numeric["rollup_60"]["fs"]["availMb"] > 0

    def test_and_statistics_name_the_same_node_and_topology(self, cluster):
        cluster.node(0)
        state, stats = cluster.ask(0, "/state")[1], cluster.ask(0, "/stats.json")[1]
        assert state["identity"] == stats["identity"]["_value"] == IDS[0]
        assert state["current"] == stats["topology"]["current"]["_value"] == cluster.digest
        assert state["next"] == stats["topology"]["next"]["_value"] == "-"
        assert stats["semver"] == {"_type": "s", "_value": "0.1.1638144000"}
        assert "reconstitute" not in stats and state["application"] == "snowth"


class TestStatistics:
    def test_tagged_have_flat_keys_and_the_same_leaves(self, cluster):
        cluster.node(0)
        found = cluster.ask(0, "/stats.json?format=tagged")[1]
        key = "topology`current|ST[app:snowth,snowth-node-id:%s]" % IDS[0]
        assert found[key] == {"_type": "s", "_value": cluster.digest}

    def test_simple_have_no_leaves(self, cluster):
        cluster.node(0)
        assert cluster.ask(0, "/stats.json?format=simple")[1]["identity"] == IDS[0]

    def test_of_the_framework_are_others(self, cluster):
        cluster.node(0)
        assert cluster.ask(0, "/mtev/stats.json")[1]["mtev"]["pid"]["_type"] == "l"

    def test_capabilities_name_the_version(self, cluster):
        item = cluster.node(0)
        assert cluster.ask(0, "/capa.json")[1]["version"] == item.release.version
        assert net.fetch("127.0.0.1", cluster.port, "/capa")[2].startswith(b"<mtev_capabilities>")


class TestTopology:
    def test_is_served_by_its_hash_only(self, cluster):
        cluster.node(0)
        rows = cluster.ask(0, "/topology/json/" + cluster.digest)[1]
        assert [(row["n"], row["side"], row["apiport"]) for row in rows] == [(2, "both", cluster.port)] * 3
        assert cluster.ask(0, "/topology/json/" + "0" * 64)[0] == 404
        assert cluster.ask(0, "/toporing/json/" + "0" * 64)[0] == 404
        text = net.fetch("127.0.0.1", cluster.port, "/topology/xml/" + cluster.digest)[2].decode()
        assert topology.parse(text).digest == cluster.digest

    def test_has_no_sides_in_2019(self, make):
        cluster = make(release="2019")
        cluster.node(0)
        assert "side" not in cluster.ask(0, "/topology/json/" + cluster.digest)[1][0]

    def test_ring_has_all_slots(self, cluster):
        cluster.node(0)
        assert len(cluster.ask(0, "/toporing/json/" + cluster.digest)[1]) == 3 * 64
        text = net.fetch("127.0.0.1", cluster.port, "/toporing/xml/" + cluster.digest)[2].decode()
        assert text.startswith('<vnodes n="2">') and text.count("<vnode ") == 192

    def test_is_loaded_under_its_digest_and_not_put_into_force(self, cluster):
        cluster.node(0)
        text = cluster.xml(range(4), 2)
        digest = topology.parse(text).digest
        for _twice in range(2):
            assert cluster.ask(0, "/topology/" + digest, "POST", text.encode())[0] == 200
        assert cluster.path(0, "topo", digest).exists()
        assert cluster.ask(0, "/state")[1]["current"] == cluster.digest
        assert cluster.ask(0, "/topology/json/" + digest)[0] == 200

    @pytest.mark.parametrize("digest", ["0" * 64, None])
    def test_is_refused_with_another_digest_or_no_sense(self, cluster, digest):
        cluster.node(0)
        body = cluster.xml(range(4), 2) if digest else "<nodes write_copies='9'/>"
        status, found = cluster.ask(0, "/topology/" + (digest or cluster.digest), "POST", body.encode())
        assert status == 500 and ("bad topology hash" if digest else "topology: no nodes") in found["error"]

    def test_locates_as_xml(self, cluster):
        cluster.node(0)
        text = net.fetch("127.0.0.1", cluster.port, "/locate/xml/%s/m" % CHECK)[2].decode()
        assert text.startswith('<nodes n="2">') and text.count("<node ") == 2


class TestNotThere:
    @pytest.mark.parametrize("path", ["/nothing", "/rebalance/load/x", "/rebalance/vote/x", "/activate/x", "/topology"])
    def test_is_an_error_as_json(self, cluster, path):
        cluster.node(0)
        status, found = cluster.ask(0, path, "POST")
        assert status == 404 and found == {"error": "not found"}

    @pytest.mark.parametrize("version, status", [("2019", 404), ("2021", 200)])
    def test_the_state_of_rebuilds_is_of_2020(self, make, version, status):
        cluster = make(release=version)
        cluster.node(0)
        assert cluster.ask(0, "/reconstitute_state")[0] == status
        flag = "/reconstitute_state/%s?in_progress=true" % IDS[1]
        assert cluster.ask(0, flag, "PUT", b"")[0] == status
        if status == 200:
            assert cluster.ask(0, "/reconstitute_state")[1] == {"in_progress": True, "nodes": [IDS[1]]}


class TestStart:
    def refused(self, cluster, number=0, *arguments):
        with pytest.raises(SystemExit) as caught:
            cluster.build(number, *arguments).start()
        assert caught.value.code == 255
        return cluster.log(number)

    def test_refuses_a_second_one_on_the_same_store(self, cluster):
        cluster.node(0)
        assert "another snowthd works here" in self.refused(cluster)

    def test_refuses_a_topology_that_does_not_match_its_name(self, cluster):
        cluster.prepare(0)
        path = cluster.path(0, "topo", cluster.digest)
        path.write_text(path.read_text().replace('weight="64"', 'weight="65"', 1))
        assert "does not match its digest" in self.refused(cluster)

    def test_refuses_a_node_that_is_not_in_the_topology(self, cluster):
        cluster.prepare(0)
        assert "is not in topology" in self.refused(cluster, 0, "-i", IDS[5])

    def test_refuses_a_store_without_its_directories(self, cluster):
        cluster.prepare(0)
        cluster.path(0, "store", "text", IDS[0]).rmdir()
        assert "text/%s: no such directory" % IDS[0] in self.refused(cluster)

    def test_refuses_a_damaged_store_and_names_it(self, cluster):
        cluster.prepare(0)
        item = cluster.build(0)
        item.open()
        item.store.close()
        item.lock_file.close()
        cluster.path(0, "store", "text", IDS[0], "changelog", "CURRENT").unlink()
        log = self.refused(cluster)
        assert "leveldb: cannot open" in log and "text/%s/changelog: Corruption: " % IDS[0] in log

    def test_refuses_numeric_data_of_the_old_kind_on_a_later_release(self, make):
        cluster = make(release="2019")
        item = cluster.node(0)
        item.store.close()
        item.lock_file.close()
        cluster.fault(0, "release", "2022")
        assert "holds NNT data" in self.refused(cluster)


class TestHttpFaults:
    def test_a_hang_ends_with_the_fault(self, cluster):
        cluster.node(0)
        cluster.fault(0, "http-hang")
        with pytest.raises((OSError, net.Closed)):
            cluster.ask(0, "/state", seconds=0.5)
        cluster.heal(0, "http-hang")
        assert cluster.ask(0, "/state")[0] == 200

    def test_answers_errors_while_the_fault_is_there(self, cluster):
        cluster.node(0)
        cluster.fault(0, "http-error")
        for path in ("/state", "/gossip/json", "/nowhere"):
            assert cluster.ask(0, path)[0] == 500
        cluster.heal(0, "http-error")
        assert cluster.ask(0, "/state")[0] == 200


class TestSlowStart:
    def test_opens_its_port_late(self, cluster):
        cluster.prepare(0)
        cluster.fault(0, "slow-start", "0.5")
        cluster.node(0)
        log = cluster.log(0, "startuplog")
        assert log.index("slow start: 0.5 s") < log.index("process starting")


class TestSweep:
    HEADERS = [("X-Snowth-Delete-Time", "5000")]

    def filled(self, make, **shape):
        cluster = make(release="2019", count=1, copies=1, **shape)
        item = cluster.node(0)
        base = {"id": CHECK, "count": 1}
        rows = [dict(base, metric="m%d" % n, offset=at, value=1) for n in range(10) for at in (1200, 60000)]
        assert cluster.ask(0, "/write/nnt", "POST", encoded(rows))[0] == 200
        texts = [dict(base, metric="t", offset=str(at), value="v%d" % at) for at in (1200, 60000)]
        assert cluster.ask(0, "/write/text", "POST", encoded(texts))[0] == 200
        return cluster, item

    def idle(self, cluster):
        return all(state == {"running": "false"} for state in cluster.ask(0, "/sweep_delete")[1].values())

    def times(self, item, period):
        return [row[0] for row in item.store.numeric.read(CHECK, "m3", period, 0, 1 << 40)]

    @pytest.mark.parametrize("version", ["2021", "2022"])
    @pytest.mark.parametrize("path", ["/sweep_delete", "/sweep_delete/cancel"])
    def test_is_gone_from_later_releases(self, make, version, path):
        cluster = make(release=version)
        cluster.node(0)
        assert cluster.ask(0, path)[0] == 404

    def test_removes_numbers_of_all_rollups_and_nothing_else(self, make):
        cluster, item = self.filled(make)
        assert cluster.ask(0, "/sweep_delete", "DELETE", headers=self.HEADERS) == (200, [])
        eventually(lambda: self.idle(cluster))
        assert [self.times(item, period) for period in (60, 300, 10800)] == [[60000], [60000], [54000]]
        assert len(item.store.text(CHECK, "t", 0, 1 << 40)) == 2

    def test_removes_the_types_and_rollups_that_are_named(self, make):
        cluster, item = self.filled(make)
        headers = [("X-Snowth-Delete-Data-Types", "nnt,text"), ("X-Snowth-NNT-Delete-Rollups", "60, 300")]
        assert cluster.ask(0, "/sweep_delete", "DELETE", headers=self.HEADERS + headers) == (200, [])
        eventually(lambda: self.idle(cluster))
        assert [self.times(item, period) for period in (60, 300, 10800)] == [[60000], [60000], [0, 54000]]
        assert [value for _at, value in item.store.text(CHECK, "t", 0, 1 << 40)] == ["v60000"]

    @pytest.mark.parametrize(
        "name, value",
        [
            ("X-Snowth-Delete-Time", "yesterday"),
            ("X-Snowth-Delete-Data-Types", "nnt,words"),
            ("X-Snowth-NNT-Delete-Rollups", "60,61"),
            ("X-Snowth-NNT-Delete-Rollups", ""),
        ],
    )
    def test_refuses_headers_that_do_not_fit(self, make, name, value):
        cluster, item = self.filled(make)
        headers = dict(self.HEADERS)
        headers[name] = value
        status, found = cluster.ask(0, "/sweep_delete", "DELETE", headers=headers.items())
        assert status == 500 and name.lower() in found["error"].lower()
        assert self.idle(cluster) and len(self.times(item, 60)) == 2

    def test_needs_a_time(self, make):
        cluster, _item = self.filled(make)
        assert "X-Snowth-Delete-Time" in cluster.ask(0, "/sweep_delete", "DELETE")[1]["error"]

    def test_shows_its_progress_and_keeps_what_it_did_when_cancelled(self, make):
        cluster, item = self.filled(make)
        cluster.fault(0, "sweep-rate", 4)
        cluster.ask(0, "/sweep_delete", "DELETE", headers=self.HEADERS)

        def working():
            return cluster.ask(0, "/sweep_delete")[1]["nnt"].get("current_uuid")

        assert eventually(working) == CHECK
        found = cluster.ask(0, "/sweep_delete/cancel")[1]
        assert found["nnt"]["cancelling"] == "true" and found["nnt"]["timestamp"] == "5000"
        assert found["nnt"]["rollups"] == "all" and found["text"] == {"running": "false"}
        eventually(lambda: self.idle(cluster))
        left = [len(item.store.numeric.read(CHECK, "m%d" % n, 60, 0, 1 << 40)) for n in range(10)]
        assert left[0] == 1 and left[-1] == 2

    def test_a_second_one_starts_over(self, make):
        cluster, item = self.filled(make)
        cluster.fault(0, "sweep-rate", 2)
        cluster.ask(0, "/sweep_delete", "DELETE", headers=self.HEADERS)
        cluster.heal(0, "sweep-rate")
        cluster.ask(0, "/sweep_delete", "DELETE", headers=[("X-Snowth-Delete-Time", "70000")])
        eventually(lambda: self.idle(cluster))
        assert self.times(item, 60) == [] and json.dumps(cluster.ask(0, "/list/metric")[1]).count("numeric") == 0
