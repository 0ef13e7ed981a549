# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""fqd: the answer of /stats.json against recordings, and messages that really go through."""

import json
import re
import sqlite3

import pytest
from daemons import fq, fqd, net

from .conftest import eventually, fixture_bytes


@pytest.fixture
def server(tmp_path):
    daemon = fqd.Fqd(str(tmp_path / "fq" / "fqd.sqlite"), 0)
    daemon.start()
    yield daemon
    daemon.listener.close()


@pytest.fixture
def connect(server):
    opened = []

    def make(*arguments, **options):
        client = fq.Client("127.0.0.1", *arguments, port=server.listener.port, **options)
        opened.append(client)
        return client

    yield make
    for client in opened:
        client.close()


def shape(text):
    """A recorded answer without what differs between runs: numbers, names, addresses."""
    text = re.sub(r'"(slow-q|noit-data|one|two)"', '"Q"', text)
    text = re.sub(r'("user"|"remote_addr"|"remote_port"|"program"|"prefix"): "(\\"|[^"])*"', r"\1: X", text)
    return re.sub(r'"?\d+"?', lambda found: '"N"' if '"' in found.group() else "N", text)


class TestStats:
    def test_looks_as_recorded_with_two_clients(self, server, connect):
        first = connect("slowpoke", "one", "mem:drop,private,backlog=200")
        first.bind('prefix:"noit"')
        second = connect("stratcon", "two", "mem:drop,public,backlog=1000")
        second.bind('prefix:"noit"')
        eventually(lambda: server.stats().count('"mode"') == 2)
        recorded = fixture_bytes("fq-idle.json").decode()
        assert shape(server.stats()) == shape(recorded)

    def test_looks_as_recorded_after_a_restart(self, server):
        server.queue("perm-disk", "disk:drop,public,permanent,backlog=300")
        recorded = fixture_bytes("fq-after-restart.json").decode()
        assert shape(server.stats()) == shape(recorded)

    def test_is_served_by_http_1_0(self, server):
        status, headers, body = net.fetch("127.0.0.1", server.listener.port, "/stats.json")
        assert (status, headers["content-type"]) == (200, "application/json")
        assert json.loads(body)["exchanges"]["_aggregate"]["messages"] == 0

    def test_an_unknown_page_is_404_ok(self, server):
        import socket

        with socket.create_connection(("127.0.0.1", server.listener.port)) as sock:
            sock.sendall(b"GET /x HTTP/1.0\r\n\r\n")
            assert sock.recv(100).startswith(b"HTTP/1.0 404 OK\r\n")


class TestMessages:
    def test_reach_the_queues_that_want_them_and_are_counted(self, server, connect):
        got = []
        reader = connect("enzo", "one")
        reader.bind('prefix:"check."')
        reader.consume(lambda route, payload: got.append((route, payload)))
        writer = connect("stratcon")
        writer.publish("check.1.1", b"M\t1")
        writer.publish("other", b"x")
        eventually(lambda: got)
        assert got == [(b"check.1.1", b"M\t1")]
        stats = eventually(lambda: (s := json.loads(server.stats()))["exchanges"]["_aggregate"]["messages"] == 2 and s)
        counters = stats["exchanges"][fq.EXCHANGE]
        assert (counters["routed"], counters["no_route"], counters["octets"]) == (1, 1, 4)
        sender = next(c for q in stats["queues"].values() for c in q["clients"] if c["user"] == "stratcon")
        assert (sender["msgs_in"], sender["no_route"]) == ("2", "1")

    def test_a_full_queue_drops_and_says_so(self, server):
        queue = server.queue("slow", "mem:drop,public,permanent,backlog=2")
        server.bind(queue, fq.EXCHANGE, 'prefix:"check."', False)
        for _number in range(5):
            server.submit("check.1", fq.EXCHANGE, b"x")
        found = json.loads(server.stats())
        assert (found["queues"]["slow"]["backlog"], found["queues"]["slow"]["dropped_to"]) == (2, 3)
        assert found["exchanges"][fq.EXCHANGE]["dropped"] == 3

    def test_submit_over_http(self, server):
        headers = (("X-Fq-Route", "check.1"), ("X-Fq-Exchange", fq.EXCHANGE))
        status, _headers, body = net.fetch("127.0.0.1", server.listener.port, "/submit", "POST", b"x", headers)
        assert status == 200 and json.loads(body) == {"routed": 0}


class TestClients:
    def test_a_client_that_leaves_takes_its_queue_and_routes_along(self, server, connect):
        client = connect("enzo", "one")
        client.bind('prefix:"check."')
        client.close()
        eventually(lambda: "one" not in server.queues)
        assert server.exchanges[fq.EXCHANGE].routes == {}

    def test_heartbeats_are_answered(self, connect):
        connect("enzo", "one").heartbeat()

    def test_permanent_queues_survive_a_restart(self, server, connect, tmp_path):
        client = connect("enzo", "kept", "mem:drop,public,permanent,backlog=7")
        client.bind('prefix:"check."', flags=fq.BIND_PERM)
        client.close()
        eventually(lambda: not server.queues["kept"].clients)
        again = fqd.Fqd(server.database, 0)
        again.load()
        assert again.queues["kept"].limit == 7
        assert [route.permanent for route in again.exchanges[fq.EXCHANGE].routes.values()] == [True]
        rows = sqlite3.connect(server.database).execute("SELECT name FROM queue").fetchall()
        assert rows == [("kept",)]
