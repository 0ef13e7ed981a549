# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""snowthd: the documented digests, gossip between real nodes, and what a health check reads."""

import json

import pytest
from daemons import net, snowthd, watchdog
from hooper import storage

from .conftest import eventually, free_port

IDS = ["a0000000-0000-4000-8000-00000000000%d" % number for number in (1, 2, 3)]
SWAPPED = [IDS[1], IDS[0], IDS[2]]
NONE, SIDES = (None, None, None), ("a", "a", "b")
VECTORS = [
    (2, IDS, 170, NONE, "b41fb9439455c776d3e6878223d6aa79d1fcccbb2f14105d82775f01c0c6ae6a"),
    (3, IDS, 170, NONE, "375fac8573617633437afa9350082444860e5770d5bc4c6c7521f8f733382ed3"),
    (2, IDS, 171, NONE, "201f42f825665a683a5824b7a07466e5caab729065dbf774aa681ad2c75cbecc"),
    (2, SWAPPED, 170, NONE, "1a165695ff3eaa9489996d361404fdef7c0dd508d1c0229d6b452b498429e47f"),
    (2, IDS, 170, SIDES, "d62dc65796b316ab3f501a4197435145dfdcddce886da34e6f72dad8c4b44309"),
    (3, IDS, 170, SIDES, "1f6c847c4766346be1c8c6ce4eff907dd4b85ff9fb0d5919e6288c3e45346342"),
]


class TestDigest:
    @pytest.mark.parametrize("copies, ids, weight, sides, expected", VECTORS)
    def test_matches_the_published_ones(self, copies, ids, weight, sides, expected):
        nodes = [{"id": i, "weight": weight, "side": s} for i, s in zip(ids, sides, strict=True)]
        assert snowthd.digest(copies, nodes) == expected

    @pytest.mark.parametrize("copies, ids, weight, sides, expected", VECTORS)
    def test_hooper_computes_the_same(self, copies, ids, weight, sides, expected):
        nodes = [(i, "192.0.2.1", weight, s) for i, s in zip(ids, sides, strict=True)]
        assert storage.digest(copies, nodes) == expected

    def test_hoopers_file_has_its_digest(self):
        nodes = [(ident, "192.0.2.31", 170, None) for ident in IDS]
        copies, read = snowthd.read_topology(storage.topology(2, nodes))
        assert snowthd.digest(copies, read) == storage.digest(2, nodes)


class Cluster:
    """Nodes on 127.0.0.1 .. .3, as the loopback network has room for them."""

    def __init__(self, place):
        self.place, self.port = place, free_port()
        nodes = [(ident, "127.0.0.%d" % number, 170, None) for number, ident in enumerate(IDS, 1)]
        text = storage.topology(2, nodes).replace("8112", str(self.port))
        self.digest = storage.digest(2, nodes)
        (place / "topo").mkdir()
        (place / "topo" / self.digest).write_text(text)
        (place / "snowth.conf").write_text(f'<snowth>\n<topology active="{self.digest}" next=""/>\n</snowth>\n')

    def node(self, number, monkeypatch, identity=""):
        """A started node that binds its own loopback address only."""
        store = self.place / f"store{number}"
        (store / "logs").mkdir(parents=True)
        (store / "data" / IDS[number]).mkdir(parents=True)
        host = "127.0.0.%d" % (number + 1)
        real = net.http_listener
        monkeypatch.setattr(snowthd.net, "http_listener", lambda port, *a, **k: real(port, *a, host=host, **k))
        monkeypatch.setattr(snowthd, "ANY", host)
        paths = {"conf": str(self.place / "snowth.conf"), "topologies": str(self.place / "topo"), "store": str(store)}
        daemon = snowthd.Snowth(watchdog.Child(), identity=identity, console_port=0, **paths)
        daemon.start()
        monkeypatch.undo()
        return daemon


@pytest.fixture
def cluster(tmp_path):
    return Cluster(tmp_path)


def get(node, path):
    return json.loads(node.respond(net.Request("GET", path, {}, b""))[1])


class TestGossip:
    def test_nodes_hear_each_other_and_not_the_one_that_is_down(self, cluster, monkeypatch):
        first, second = cluster.node(0, monkeypatch), cluster.node(1, monkeypatch)
        second.gossip()
        eventually(lambda: IDS[1] in first.heard)
        rows = {row["id"]: row for row in get(first, "/gossip/json")}
        assert float(rows[IDS[1]]["gossip_age"]) < 2 and rows[IDS[1]]["topo_current"] == cluster.digest
        assert rows[IDS[0]]["latency"] == {IDS[1]: "0"}
        assert float(rows[IDS[2]]["gossip_time"]) == 0 and rows[IDS[2]]["latency"] == {}
        assert {type(row[key]) for row in rows.values() for key in row if key != "latency"} == {str}

    def test_a_peer_that_is_silent_ages(self, cluster, monkeypatch):
        node = cluster.node(0, monkeypatch)
        node.heard[IDS[1]] = (node.started - 41, {"current": cluster.digest, "latency": {}})
        assert get(node, "/gossip/json")[0]["latency"][IDS[1]] in ("41", "42")
        assert get(node, "/state")["max_peer_lag"] in (41, 42)

    def test_rubbish_is_logged_and_forgotten(self, cluster, monkeypatch):
        node = cluster.node(0, monkeypatch)
        node.udp.sendto(b"\xff\xfe", ("127.0.0.1", cluster.port))
        log = cluster.place / "store0" / "logs" / "errorlog"
        eventually(lambda: log.exists() and "cannot be read" in log.read_text())
        assert node.heard == {}


class TestPages:
    def test_state_and_statistics_name_the_same_node_and_topology(self, cluster, monkeypatch):
        node = cluster.node(0, monkeypatch)
        state, stats = get(node, "/state"), get(node, "/stats.json")
        assert state["identity"] == stats["identity"]["_value"] == IDS[0]
        assert state["current"] == stats["topology"]["current"]["_value"] == cluster.digest
        assert state["text"]["fs"]["totalMb"] > state["text"]["fs"]["availMb"] > 0
        assert stats["semver"]["_type"] == "s"

    def test_topology_is_served_by_its_hash_only(self, cluster, monkeypatch):
        node = cluster.node(0, monkeypatch)
        assert [entry["n"] for entry in get(node, "/topology/json/" + cluster.digest)] == [2, 2, 2]
        assert node.respond(net.Request("GET", "/topology/json/0", {}, b""))[0] == 404
        xml = node.respond(net.Request("GET", "/topology/xml/" + cluster.digest, {}, b""))[1]
        assert snowthd.digest(*snowthd.read_topology(xml)) == cluster.digest


class TestStart:
    def test_refuses_a_second_one_on_the_same_store(self, cluster, monkeypatch):
        first = cluster.node(0, monkeypatch)
        again = snowthd.Snowth(watchdog.Child(), first.conf, first.topologies, first.store)
        with pytest.raises(SystemExit) as caught:
            again.start()
        assert caught.value.code == 255

    def test_refuses_a_topology_that_does_not_match_its_name(self, cluster, monkeypatch):
        path = cluster.place / "topo" / cluster.digest
        path.write_text(path.read_text().replace('weight="170"', 'weight="171"', 1))
        with pytest.raises(SystemExit):
            cluster.node(0, monkeypatch)

    def test_refuses_a_node_that_is_not_in_the_topology(self, cluster, monkeypatch):
        with pytest.raises(SystemExit):
            cluster.node(0, monkeypatch, identity="b0000000-0000-4000-8000-000000000009")

    def test_reads_node_and_configuration_from_the_command_line(self):
        found = snowthd.options(["-D", "-d", "-c", "/x.conf", "-i", IDS[0]])
        assert found == {"conf": "/x.conf", "identity": IDS[0]}


class TestSweep:
    def ask(self, node, method, headers=()):
        return node.respond(net.Request(method, "/sweep_delete", dict(headers), b""))

    def test_is_gone_from_later_releases(self, cluster, monkeypatch):
        assert self.ask(cluster.node(0, monkeypatch), "GET")[0] == 404

    def test_of_the_2019_edition_answers_as_documented(self, cluster, monkeypatch):
        path = cluster.place / "snowth.conf"
        path.write_text(path.read_text().replace("</snowth>", "<sweep_delete/></snowth>"))
        node = cluster.node(0, monkeypatch)
        assert json.loads(self.ask(node, "GET")[1])["nnt"] == {"running": "false"}
        assert self.ask(node, "DELETE")[0] == 400
        assert self.ask(node, "DELETE", [("x-snowth-delete-time", "1496275200")])[:2] == (200, "[]")
