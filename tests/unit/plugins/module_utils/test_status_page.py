# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from ansible_collections.circonus.inside.plugins.module_utils import status_page


class TestParse:
    @pytest.mark.parametrize(
        "page, state",
        [
            ("ACTIVE", "ACTIVE"),
            ("<html><body><h1> STANDBY </h1></body></html>", "STANDBY"),
            ("<p>state:ACTIVE.</p>", "ACTIVE"),
            ("<b>ACTIVE</b> since noon, was <i class='STANDBY'>elsewhere</i>", "ACTIVE"),
            ("<title>ACTIVE</title><body>ACTIVE</body>", "ACTIVE"),
            ("ACTIVE or STANDBY", "unknown"),
            ("", "unknown"),
            ("active", "unknown"),
            ("INACTIVE", "unknown"),
            ("ACTIVE-ISH STANDBY_MODE", "unknown"),
            ("<!-- ACTIVE --><p>STANDBY</p>", "STANDBY"),
            ("<script>var x = 'ACTIVE';</script>", "unknown"),
            ("<h1>Internal Server Error</h1>", "unknown"),
        ],
    )
    def test_wants_one_whole_word_in_the_text(self, page, state):
        assert status_page.parse(page) == state


class _Frontend(BaseHTTPRequestHandler):
    answers = {"/status": (200, "<p>ACTIVE</p>"), "/broken": (500, "<p>ACTIVE</p>"), "/other": (200, "<p>hello</p>")}

    def do_GET(self):
        if self.path == "/slow":
            self.server.gate.wait(10)
            return
        status, text = self.answers.get(self.path, (302, ""))
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/status")
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *unused):
        pass


@pytest.fixture
def frontend():
    server = HTTPServer(("127.0.0.1", 0), _Frontend)
    server.gate = threading.Event()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield "http://127.0.0.1:%d" % server.server_port
    server.gate.set()
    server.shutdown()
    thread.join()
    server.server_close()


class TestRead:
    def test_reads_the_word(self, frontend):
        assert status_page.read(frontend + "/status") == {
            "url": frontend + "/status",
            "state": "ACTIVE",
            "http_status": 200,
            "error": "",
        }

    @pytest.mark.parametrize(
        "path, status, error",
        [("/broken", 500, "HTTP status 500"), ("/moved", 302, "HTTP status 302"), ("/other", 200, "neither or both")],
    )
    def test_anything_else_is_unknown(self, frontend, path, status, error):
        answer = status_page.read(frontend + path)
        assert (answer["state"], answer["http_status"]) == ("unknown", status)
        assert error in answer["error"]

    def test_nobody_there_is_unknown(self):
        answer = status_page.read("http://127.0.0.1:1/status")
        assert answer["state"] == "unknown" and "refused" in answer["error"]

    def test_a_hanging_frontend_ends_with_the_timeout(self, frontend):
        started = time.time()
        assert status_page.read(frontend + "/slow", timeout=0.2)["state"] == "unknown"
        assert time.time() - started < 5

    @pytest.mark.parametrize("url", ["ftp://127.0.0.1/status", "127.0.0.1/status", "http://user@127.0.0.1/", ""])
    def test_no_address_of_a_page(self, url):
        assert "expected an address such as http://127.0.0.1/status" in status_page.read(url)["error"]
