# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import socket
import ssl
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from ansible_collections.circonus.inside.plugins.module_utils import http_page


class _Pages(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/never":
            self.server.gate.wait(30)
            return
        self.send_response({"/broken": 500, "/moved": 302}.get(self.path, 200))
        if self.path == "/moved":
            self.send_header("Location", "/")
        if self.path == "/short":
            self.send_header("Content-Length", "100")
        self.end_headers()
        if self.path == "/late":
            self.server.gate.wait(0.8)
            self.wfile.write(b"late")
            self.wfile.flush()
            self.server.gate.wait(30)
            return
        if self.path == "/half":
            self.wfile.write(b"half")
            self.server.gate.wait(30)
            return
        if self.path == "/slow":
            while not self.server.gate.wait(0.05):
                self.wfile.write(b"x")
                self.wfile.flush()
            return
        self.wfile.write(("host " + self.headers["Host"]).encode())

    def log_message(self, *unused):
        pass


@pytest.fixture
def pages():
    server = HTTPServer(("127.0.0.1", 0), _Pages)
    server.gate = threading.Event()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_port
    server.gate.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def deaf():
    """A port where somebody listens and nobody accepts."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(1)
    yield listener.getsockname()[1]
    listener.close()


class TestAsk:
    def test_reads_a_page_with_the_wanted_host(self, pages):
        answer = http_page.ask("127.0.0.1", pages, "/", header="portal.example.com")
        assert (answer["status"], answer["error"], answer["body"]) == (200, "", "host portal.example.com")

    @pytest.mark.parametrize("path, status", [("/broken", 500), ("/moved", 302)])
    def test_a_status_is_an_answer(self, pages, path, status):
        answer = http_page.ask("127.0.0.1", pages, path)
        assert (answer["status"], answer["error"]) == (status, "")

    def test_a_server_that_never_answers(self, pages):
        answer = http_page.ask("127.0.0.1", pages, "/never", timeout=0.3)
        assert answer["status"] is None and answer["error"] == "no answer within 0.3 s" and answer["seconds"] < 10

    def test_a_page_without_an_end(self, pages):
        started = time.time()
        answer = http_page.ask("127.0.0.1", pages, "/slow", timeout=0.5)
        assert answer["status"] == 200 and time.time() - started < 5
        assert answer["error"] == "the answer did not end within 0.5 s"

    def test_a_page_that_stops_late_keeps_the_deadline(self, pages):
        """Each piece has what is left, not the whole time again."""
        started = time.time()
        answer = http_page.ask("127.0.0.1", pages, "/late", timeout=1.0)
        assert answer["status"] == 200 and answer["error"] and time.time() - started < 1.5

    @pytest.mark.parametrize("path, connected, complete", [
        ("/", True, True), ("/short", True, False), ("/half", True, False), ("/never", True, False)])
    def test_says_how_far_it_came(self, pages, path, connected, complete):
        answer = http_page.ask("127.0.0.1", pages, path, timeout=0.3)
        assert (answer["connected"], answer["complete"]) == (connected, complete)

    def test_a_page_that_stops_keeps_its_status(self, pages):
        answer = http_page.ask("127.0.0.1", pages, "/half", timeout=0.3)
        assert (answer["status"], answer["error"]) == (200, "the answer did not end within 0.3 s")

    def test_a_server_that_hangs_up(self):
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)

        def hang_up():
            listener.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        answer = http_page.ask("127.0.0.1", listener.getsockname()[1], "/", timeout=3)
        thread.join()
        listener.close()
        assert answer["status"] is None and answer["error"]

    def test_a_port_nobody_accepts_on(self, deaf):
        assert http_page.ask("127.0.0.1", deaf, "/", timeout=0.3)["error"] == "no answer within 0.3 s"

    def test_a_closed_port(self, deaf):
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        listener.close()
        answer = http_page.ask("127.0.0.1", port, "/")
        assert answer["error"] == "connection refused" and not answer["connected"]

    def test_no_tls_where_tls_is_wanted(self, pages):
        answer = http_page.ask("127.0.0.1", pages, "/", tls=True, timeout=2)
        assert answer["status"] is None and answer["error"]


class TestHttpRequest:
    def test_asks_for_a_plain_answer_and_the_end(self):
        assert http_page.http_request("::1", 80, "/x?y") == (
            b"GET /x?y HTTP/1.1\r\nHost: [::1]:80\r\nAccept-Encoding: identity\r\nConnection: close\r\n\r\n")

    def test_names_the_server_and_the_user(self):
        lines = http_page.http_request("127.0.0.1", 80, "/", "portal", "guest:guest").split(b"\r\n")
        assert b"Host: portal" in lines and b"Authorization: Basic Z3Vlc3Q6Z3Vlc3Q=" in lines


class TestHttpReply:
    @pytest.mark.parametrize("data, body, complete, endless", [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok", True, False),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok", b"ok", False, False),
        (b"HTTP/1.0 200 OK\r\n\r\nok", b"ok", False, True),
        (b"HTTP/1.1 200\r\nTransfer-Encoding: Chunked\r\n\r\n2;a=b\r\nok\r\na\r\n0123456789\r\n0\r\n\r\n",
         b"ok0123456789", True, False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", b"ab", False, False),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"", True, False),
    ])
    def test_reads_what_came_in(self, data, body, complete, endless):
        assert http_page.http_reply(data) == {"status": 200, "body": body, "complete": complete, "endless": endless}

    def test_waits_for_the_head(self):
        assert [http_page.http_reply(b"HTTP/1.1 204 No Content\r\n\r\n"[:n]) for n in (0, 3, 10, 26)] == [None] * 4
        assert http_page.http_reply(b"HTTP/1.1 204 No Content\r\n\r\n")["complete"]

    @pytest.mark.parametrize("data", [b"SSH-2.0", b"HTTP/1.1 okay\r\n\r\n", b"HTTP/1.1\r\n\r\n", b"HTTP/1.1 9\r\n\r\n"])
    def test_refuses_what_is_no_http(self, data):
        with pytest.raises(ValueError, match="expected"):
            http_page.http_reply(data)


class TestTrust:
    """What the certificate of a server must be signed by."""

    @pytest.fixture
    def server(self, tmp_path):
        for name in ("own", "other"):
            subprocess.run(
                ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                 "-days", "2", "-subj", "/CN=" + name, "-keyout", str(tmp_path / (name + ".key")),
                 "-out", str(tmp_path / (name + ".crt"))], check=True, stderr=subprocess.DEVNULL)
        server = HTTPServer(("127.0.0.1", 0), _Pages)
        context = ssl.SSLContext(getattr(ssl, "PROTOCOL_TLS_SERVER", ssl.PROTOCOL_SSLv23))
        context.load_cert_chain(str(tmp_path / "own.crt"), str(tmp_path / "own.key"))
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_port, tmp_path
        server.shutdown()
        server.server_close()
        thread.join()

    def test_any_certificate_without_a_wish(self, server):
        assert http_page.ask("127.0.0.1", server[0], "/", tls=True)["status"] == 200

    def test_its_own_one_whatever_its_name(self, server):
        answer = http_page.ask("127.0.0.1", server[0], "/", tls=True, verify=True, ca_file=str(server[1] / "own.crt"))
        assert (answer["status"], answer["error"]) == (200, "")

    @pytest.mark.parametrize("name", ["other.crt", None])
    def test_no_other_one(self, server, name):
        where = str(server[1] / name) if name else None
        answer = http_page.ask("127.0.0.1", server[0], "/", tls=True, verify=True, ca_file=where)
        assert answer["status"] is None and "certificate" in answer["error"].lower()
