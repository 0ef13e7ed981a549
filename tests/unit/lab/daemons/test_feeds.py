# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""noitd and stratcond together, over real TLS: feeds, what they show of each other, and how they lose each other."""

import json
import os
import re
import socket
import time

import pytest
from daemons import fqd, jlog, net, noitd, stratcond, watchdog

from .conftest import eventually, fixture_bytes, free_port, openssl


class Broker:
    """A noitd without its main loop: the test runs its selfcheck."""

    def __init__(self, authority, place):
        authority.issue("noit-a", place / "ssl", "appliance")
        self.port, self.console = free_port(), free_port()
        os.makedirs(place / "log")
        ports = {"port": self.port, "console_port": self.console, "inputs": (), "udp": ()}
        self.noitd = noitd.Noitd(watchdog.Child(), str(place), str(place / "ssl"), **ports)
        self.noitd.start()
        self.remote = f"127.0.0.1:{self.port}"


@pytest.fixture
def broker(authority, tmp_path):
    return Broker(authority, tmp_path / "broker")


@pytest.fixture
def queue(tmp_path):
    daemon = fqd.Fqd(str(tmp_path / "fq" / "fqd.sqlite"), 0)
    daemon.start()
    yield daemon
    daemon.listener.close()


@pytest.fixture
def stratcon(authority, queue, tmp_path, monkeypatch):
    monkeypatch.setattr(stratcond, "RETRY", (0.2, 0.2))
    monkeypatch.setattr(stratcond.fq.Client.__init__, "__defaults__", ("", "mem:drop", queue.listener.port, 5.0))
    authority.issue("stratcon", tmp_path / "etc", "stratcon")
    authority.revocations(tmp_path / "ca.crl", 3600)
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"edition": "later", "mq": {"hosts": ["127.0.0.1"]}}))
    files = {"etc": str(tmp_path / "etc"), "crl": str(tmp_path / "ca.crl"), "noits": str(tmp_path / "noits.json")}
    daemon = stratcond.Stratcon(watchdog.Child(), config=str(config), port=0, console_port=0, **files)
    daemon.start()
    yield daemon
    for feed in list(daemon.feeds):
        daemon.remove(feed.remote)
    daemon.listener.close()


def subscribed(broker):
    """Both feeds of a stratcon have their place in the journal."""
    return sum(name.startswith("cp.") for name in os.listdir(broker.noitd.feed)) == 2


def connected(stratcon):
    return len(stratcon.feeds) == 2 and all(feed.status == "connected" for feed in stratcon.feeds)


def forms(text):
    """Lines without their numbers, names and addresses."""
    text = re.sub(r"\d+\.\d+\.\d+\.\d+:\d+", "ADDRESS", text.replace("\r", ""))
    text = re.sub(r"\[[0-9a-f]{8}:[0-9a-f]{8}\]", "[POINT]", text)
    return [re.sub(r"'[^']*'", "'NAME'", re.sub(r"\d+", "N", line)) for line in text.splitlines()]


class TestFeeds:
    def test_events_reach_the_firehose_and_checkpoints_the_journal(self, broker, stratcon, queue):
        stratcon.add(broker.remote)
        eventually(lambda: connected(stratcon) and subscribed(broker))
        broker.noitd.selfcheck()
        storage = next(feed for feed in stratcon.feeds if feed.type == "durable/storage")
        eventually(lambda: storage.events and storage.state == stratcond.WAITING)
        eventually(lambda: queue.total["messages"] == storage.events)
        point = os.path.join(broker.noitd.feed, jlog.checkpoint_name("stratcon"))
        eventually(lambda: jlog.read_point(point) == storage.point)
        assert broker.noitd.feeds["stratcon"][0] == 1

    def test_show_noits_is_as_recorded(self, broker, stratcon):
        stratcon.add(broker.remote)
        stratcon.add(f"127.0.0.1:{free_port()}")
        eventually(lambda: sum(feed.status == "connected" for feed in stratcon.feeds) == 2 and subscribed(broker))
        broker.noitd.selfcheck()
        eventually(lambda: all(feed.events for feed in stratcon.feeds if feed.status == "connected"))
        gone = [feed for feed in stratcon.feeds if feed.status != "connected"]
        eventually(lambda: all(feed.status == "disconnected" for feed in gone))
        recorded = forms(fixture_bytes("stratcon-console.raw").decode("latin-1").partition("show noits\r\n")[2])
        shown = forms(stratcon.show()["noits"]([]))
        blocks = {"connected": recorded[:11], "disconnected": recorded[-4:]}
        for state, size in (("connected", 11), ("disconnected", 4)):
            at = shown.index(f"ADDRESS [{state}]:")
            found = [line.replace("durable/storage", "transient/iep") for line in shown[at : at + size]]
            wanted = [line.replace("durable/storage", "transient/iep") for line in blocks[state]]
            assert found == wanted

    def test_noits_json_has_the_recorded_keys_and_only_strings(self, broker, stratcon):
        stratcon.add(broker.remote)
        stratcon.add(f"127.0.0.1:{free_port()}")
        eventually(lambda: sum(feed.status == "connected" for feed in stratcon.feeds) == 2)
        request = net.Request("GET", "/noits/show.json", {}, b"")
        text = stratcon.respond(request)[1]
        recorded = json.loads(fixture_bytes("noits-show.json"))["nodes"]
        nodes = json.loads(text)["nodes"]
        up = next(node for node in nodes if node["state"] != "disconnected")
        down = next(node for node in nodes if node["state"] == "disconnected")
        assert list(up) == list(recorded[0]) and list(down) == list(recorded[-1])
        assert {type(value) for node in nodes for value in node.values()} == {str}
        assert text.startswith('{ "nodes": [ { "last_connect": "') and '"transient\\/iep"' in text

    def test_a_broker_that_goes_away_is_seen_and_one_that_returns_too(self, broker, stratcon):
        stratcon.add(broker.remote)
        eventually(lambda: connected(stratcon))
        held = broker.noitd.port
        for feed in stratcon.feeds:
            feed.sock.shutdown(socket.SHUT_RDWR)
        stratcon.feeds[0].remote = "127.0.0.1:1"
        eventually(lambda: stratcon.feeds[0].status == "disconnected")
        assert "Next attempt in" in stratcon.feeds[0].text()
        stratcon.feeds[0].remote = f"127.0.0.1:{held}"
        eventually(lambda: connected(stratcon))

    def test_an_expired_revocation_list_refuses_every_broker(self, authority, broker, stratcon, tmp_path, logs):
        authority.revocations(tmp_path / "ca.crl", 1)
        command = ["crl", "-in", str(tmp_path / "ca.crl"), "-noout", "-nextupdate"]
        openssl(*command, cwd=str(tmp_path))
        stratcon.add(broker.remote)
        log = logs / "stratcon.log"
        for feed in stratcon.feeds:
            eventually(lambda feed=feed: feed.sock is not None)

        def refused():
            for feed in stratcon.feeds:
                if feed.status == "connected":
                    feed.sock.shutdown(socket.SHUT_RDWR)
            return "CRL has expired" in log.read_text()

        eventually(refused)

    def test_an_empty_checkpoint_hurts_the_durable_feed_only(self, broker, stratcon):
        path = os.path.join(broker.noitd.feed, jlog.checkpoint_name("stratcon"))
        with open(path, "wb"):
            pass
        stratcon.add(broker.remote)
        states = {feed.type: feed for feed in stratcon.feeds}
        eventually(lambda: states["transient/iep"].status == "connected")
        eventually(lambda: states["durable/storage"].status == "disconnected")


class TestTransientName:
    def test_avoids_what_a_kill_left_behind(self, broker):
        with open(os.path.join(broker.noitd.feed, jlog.checkpoint_name("~1")), "wb") as handle:
            handle.write(b"\0" * 8)
        assert broker.noitd.transient_name() == "~2"


class TestRest:
    def test_brokers_are_set_and_deleted(self, broker, stratcon, tmp_path):
        stratcon.respond(net.Request("PUT", "/noits/set/" + broker.remote, {}, b""))
        assert json.loads((tmp_path / "noits.json").read_text()) == [broker.remote]
        stratcon.respond(net.Request("DELETE", "/noits/delete/" + broker.remote, {}, b""))
        assert stratcon.feeds == [] and json.loads((tmp_path / "noits.json").read_text()) == []

    def test_needs_a_client_certificate(self, authority, broker, tmp_path):
        stem = authority.issue("hub1", tmp_path / "hub", "hub1")
        tls = net.client_tls(stem + ".crt", stem + ".key", str(tmp_path / "hub" / "ca.crt"))
        status, _headers, body = net.fetch("127.0.0.1", broker.port, "/capa.json", tls=tls)
        assert status == 200 and abs(json.loads(body)["now"] - time.time()) < 5
        import ssl

        bare = ssl.create_default_context(cafile=str(tmp_path / "hub" / "ca.crt"))
        bare.check_hostname = False
        with pytest.raises((OSError, net.Closed)):
            net.fetch("127.0.0.1", broker.port, "/capa.json", tls=bare)

    def test_an_unknown_check_is_404_with_an_empty_body(self, broker):
        assert broker.noitd.respond(net.Request("GET", "/checks/show/x.json", {}, b""))[:2] == (404, "")

    def test_the_selfcheck_has_the_documented_form(self, broker):
        broker.noitd.selfcheck()
        found = json.loads(broker.noitd.respond(net.Request("GET", f"/checks/show/{noitd.UUID}.json", {}, b""))[1])
        assert found["metrics"]["current"]["checks_run"] == {"_type": "L", "_value": "1"}
        assert found["status"] == {"available": True, "good": True}


class TestNoitConsole:
    def test_show_check_has_the_recorded_lines(self, broker):
        broker.noitd.selfcheck()
        broker.noitd.selfcheck()
        recorded = fixture_bytes("noit-console.raw").decode("latin-1").replace("\r", "")
        shown = broker.noitd.show_check([noitd.UUID])
        heads = [line.split(":")[0] for line in shown.splitlines() if re.match(r" \w", line)]
        wanted = [line.split(":")[0] for line in recorded.splitlines() if re.match(r" \w", line)]
        assert heads == wanted
        assert shown.splitlines()[0] in recorded

    def test_an_unknown_check_is_said_as_recorded(self, broker):
        text = broker.noitd.show_check(["00000000-0000-0000-0000-000000000000"]).replace("\n", "\r\n").encode()
        assert text in fixture_bytes("noit-console.raw")


class TestStart:
    def test_noitd_refuses_a_damaged_journal(self, broker, logs):
        with open(os.path.join(broker.noitd.feed, "metastore"), "wb"):
            pass
        with pytest.raises(SystemExit) as caught:
            broker.noitd.start()
        assert caught.value.code == 255
        with open(os.path.join(broker.noitd.home, "log", "noitd.log"), encoding="utf-8") as handle:
            assert handle.read().endswith("Cannot init jlog writer: JLOG_ERR_CREATE_EXISTS\n")


class TestQueue:
    def test_the_2019_edition_does_not_publish_again_until_it_is_restarted(self, stratcon, queue):
        stratcon.config["edition"] = "2019"
        stratcon.publisher.close()
        stratcon.keep_queue()
        stratcon.tried = 0.0
        stratcon.keep_queue()
        assert stratcon.publisher is None and stratcon.queue_broken
        stratcon.config["edition"] = "later"
        stratcon.keep_queue()
        assert stratcon.publisher is not None
