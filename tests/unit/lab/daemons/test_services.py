# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The smaller stand-ins: REST answers, websockets, statistics, the hub's decisions."""

import base64
import json
import os

import pytest
from daemons import api, caql_broker, enzo, main, net, search
from hub import scripts

TOKEN = "00000000-0000-4000-8000-000000000901"
ROW = (7, "broker1", "broker1", True, "192.0.2.40", 43191, 1570000000, "0.01")


def request(path, method="GET", token=TOKEN, body=b""):
    headers = {"x-circonus-auth-token": token} if token else {}
    return net.Request(method, path, headers, body)


@pytest.fixture
def interface():
    return api.Interface(lambda statement: [ROW], [TOKEN])


class TestInterface:
    def test_a_broker_has_the_documented_form(self, interface):
        status, text, _kind = interface.respond(request("/v2/broker/7"))
        found = json.loads(text)
        assert status == 200 and found["_cid"] == "/broker/7" and found["_type"] == "enterprise"
        shown = [found["_details"][0][key] for key in ("cn", "status", "port", "skew")]
        assert shown == ["broker1", "active", 43191, "0.01"]

    @pytest.mark.parametrize("token, status", [(None, 401), ("00000000-0000-4000-8000-000000000000", 403)])
    def test_refuses_without_a_known_token(self, interface, token, status):
        found = interface.respond(request("/v2/broker", token=token))
        error = json.loads(found[1])
        assert found[0] == error["status"] == status and error["code"] and error["message"] and error["tag"]

    def test_an_unknown_object_is_404(self, interface):
        assert interface.respond(request("/v2/broker/8"))[0] == 404
        assert interface.respond(request("/v2/nothing"))[0] == 404

    def test_bare_paths_work_too(self, interface):
        assert interface.respond(request("/account/current"))[0] == 200

    def test_the_serial_number_is_in_every_error(self, interface):
        tags = {json.loads(interface.respond(request("/v2/x"))[1])["tag"] for _number in range(3)}
        assert len(tags) == 3


class TestNetworkApi:
    @pytest.fixture
    def daemon(self, monkeypatch, tmp_path):
        monkeypatch.setattr(api, "WWW_LOGS", str(tmp_path))
        made = object.__new__(api.NetworkApi)
        made.broken, made.counters, made.reconnects = None, {"exceptions": 0}, False
        return made

    def test_answers_500_after_it_lost_its_database_until_it_is_restarted(self, daemon):
        def lost(statement):
            raise RuntimeError("server closed the connection unexpectedly")

        daemon.interface = api.Interface(lost, [TOKEN])
        assert daemon.respond(request("/v2/broker"))[0] == 500
        daemon.interface = api.Interface(lambda statement: [ROW], [TOKEN])
        assert daemon.respond(request("/v2/broker"))[0] == 500

    def test_logs_carry_no_whole_token(self, daemon, tmp_path):
        daemon.interface = api.Interface(lambda statement: [ROW], [TOKEN])
        daemon.respond(request("/v2/broker"))
        text = "".join(path.read_text() for path in tmp_path.iterdir() if path.is_file())
        assert TOKEN not in text and "/v2/broker 200" in text


class TestGoApi:
    @pytest.mark.parametrize(
        "edition, level, name",
        [
            ("2019", "ERROR", "goapi.log"),
            ("later", "ERROR", "goapi_error.log"),
            ("later", "INFO", "goapi_access.log"),
        ],
    )
    def test_logs_in_the_documented_form(self, logs, edition, level, name):
        daemon = object.__new__(api.GoApi)
        daemon.config = {"edition": edition}
        daemon.write(level, "account", "listening", rpc="server")
        line = (logs / name).read_text()
        assert line[10] == "T" and line[19:] == (
            f' [{level:<5}] account: listening {{"rpc":"server","service":"account"}}\n'
        )

    def test_usage(self, capsys):
        assert api.main(["nonsense"]) == 2 and "usage" in capsys.readouterr().err


class TestCaqlBroker:
    def test_statistics_are_leaves_of_libmtev(self):
        daemon = object.__new__(caql_broker.CaqlBroker)
        daemon.messages, daemon.statements, daemon.delay, daemon.started = 0, 0, 0.0, 0.0
        daemon.metric(b"check.1", b"M\t1700000000.000\tuuid\tname\tl\t1")
        found = json.loads(daemon.respond(request("/mtev/stats.json"))[1])
        assert found["caqlbroker"]["messages"]["count"] == {"_type": "l", "_value": 1}
        assert found["caqlbroker"]["messages"]["delay"]["M"]["_value"] > 0
        assert set(found["caqlbroker"]["messages"]) >= {"count", "delay", "duration", "err", "tagsearch"}


class TestEnzo:
    def test_accepts_as_the_standard_says(self):
        assert enzo.accepted("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

    @pytest.mark.parametrize("size, head", [(3, b"\x81\x03"), (200, b"\x81\x7e\x00\xc8")])
    def test_frames(self, size, head):
        assert enzo.frame("x" * size) == head + b"x" * size

    def test_a_viewer_gets_metrics(self):
        import socket
        import threading

        daemon = object.__new__(enzo.Enzo)
        daemon.viewers, daemon.lock, daemon.counters = [], threading.Lock(), {"processed": 0}
        listener = net.Listener(0, daemon.viewer)
        with socket.create_connection(("127.0.0.1", listener.port), 5) as sock:
            key = base64.b64encode(os.urandom(16)).decode()
            sock.sendall(f"GET / HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode())
            stream = net.Stream(sock)
            assert enzo.accepted(key) in stream.until(b"\r\n\r\n").decode()
            from .conftest import eventually

            eventually(lambda: daemon.viewers)
            daemon.metric(b"check.1", b"M\t1")
            assert stream.exactly(5) == b"\x81\x03M\t1"
        listener.close()


class TestSearch:
    def test_health_and_documents(self, logs, monkeypatch):
        monkeypatch.setattr(search, "LOGS", str(logs))
        daemon = search.Search(0)
        health = json.loads(daemon.respond(request("/_cluster/health"))[1])
        assert (health["cluster_name"], health["status"]) == ("grover", "green")
        assert daemon.respond(request("/checks/_doc/1", "PUT", body=b"{}"))[0] == 201
        assert json.loads(daemon.respond(request("/checks/_count"))[1]) == {"count": 1}
        daemon.respond(request("/checks", "DELETE"))
        assert json.loads(daemon.respond(request("/checks/_count"))[1]) == {"count": 0}


class TestHubScripts:
    def test_what_a_stratcon_has_to_be_told(self):
        assert scripts.changes(["a:1", "b:1"], ["b:1", "c:1"]) == (["c:1"], ["a:1"])

    def test_a_fault_is_one_line(self, monkeypatch, capsys):
        monkeypatch.setattr(scripts, "settings", lambda: {})
        assert scripts.main("stratcon_sync.pl") == 1
        assert len(capsys.readouterr().err.strip().splitlines()) == 1

    def test_systems_monitor_sends_nothing(self, monkeypatch):
        monkeypatch.setattr(scripts.sys, "argv", ["systems_monitor.pl"])
        assert scripts.systems_monitor({}) == 0


class TestMain:
    def test_every_service_has_its_class(self):
        import importlib

        for module, name, _arguments in main.SERVICES.values():
            assert hasattr(importlib.import_module("daemons." + module), name)


class TestHttp:
    def test_json_c_writes_as_json_c_does(self):
        assert net.json_c({"a": [], "b": {}, "c": "x/y", "d": [1, True]}) == (
            '{ "a": [ ], "b": { }, "c": "x\\/y", "d": [ 1, true ] }'
        )

    def test_a_fault_of_a_request_is_a_500(self):
        def respond(_request):
            raise RuntimeError("boom")

        listener = net.http_listener(0, respond)
        status, _headers, body = net.fetch("127.0.0.1", listener.port, "/")
        assert status == 500 and b"boom" in body
        listener.close()

    def test_a_connection_is_kept(self):
        import socket

        listener = net.http_listener(0, lambda request: (200, request.path, "text/plain"))
        with socket.create_connection(("127.0.0.1", listener.port), 5) as sock:
            stream = net.Stream(sock)
            for path in ("/one", "/two"):
                sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                assert b"Content-Length: 4" in stream.until(b"\r\n\r\n")
                assert stream.exactly(4) == path.encode()
        listener.close()
