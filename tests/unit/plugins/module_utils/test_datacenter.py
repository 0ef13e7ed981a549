# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from ansible_collections.circonus.inside.plugins.module_utils import datacenter
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError


class TestParseStatus:
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
        assert datacenter.parse_status(page) == state


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


class TestReadStatus:
    def test_reads_the_word(self, frontend):
        assert datacenter.read_status(frontend + "/status") == {
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
        answer = datacenter.read_status(frontend + path)
        assert (answer["state"], answer["http_status"]) == ("unknown", status)
        assert error in answer["error"]

    def test_nobody_there_is_unknown(self):
        answer = datacenter.read_status("http://127.0.0.1:1/status")
        assert answer["state"] == "unknown" and "refused" in answer["error"]

    def test_a_hanging_frontend_ends_with_the_timeout(self, frontend):
        started = time.time()
        assert datacenter.read_status(frontend + "/slow", timeout=0.2)["state"] == "unknown"
        assert time.time() - started < 5


class TestSummariseSite:
    @pytest.mark.parametrize("spelling", ["web_db", "web-db"])
    def test_takes_the_values_that_name_the_active_site(self, spelling):
        document = {
            "active_datacenter": False,
            "svclist": {
                spelling: {"master": "a", "connect_host": "b", "admin_pass": "Secret1"},
                "ca": {"primary": "c", "key_pass": "Secret2"},
                "data_storage": {"secondary_cluster": ["d"]},
            },
        }
        found = datacenter.summarise_site(document)
        assert len(found.pop("sha256")) == 64
        assert found == {
            "present": True,
            "active_datacenter": False,
            "ca_primary": "c",
            "web_db_master": "a",
            "web_db_connect_host": "b",
            "secondary_cluster": ["d"],
            "error": "",
        }
        assert "Secret" not in json.dumps(found)

    def test_digest_ignores_order_and_space(self, tmp_path):
        one, two = tmp_path / "one.json", tmp_path / "two.json"
        one.write_text('{"id": "site", "svclist": {}}')
        two.write_text('{"svclist":{},\n "id":"site"}')
        assert datacenter.read_site(str(one)) == datacenter.read_site(str(two))

    def test_a_missing_and_a_broken_file_are_answers(self, tmp_path):
        assert datacenter.read_site(str(tmp_path / "no.json"))["present"] is False
        (tmp_path / "bad.json").write_text("{")
        found = datacenter.read_site(str(tmp_path / "bad.json"))
        assert found["present"] is True and "Expected JSON" in found["error"]


class TestSideBySide:
    def test_runs_the_parts_at_the_same_time(self):
        barrier = threading.Barrier(3, timeout=5)
        results, problems = datacenter.side_by_side(dict.fromkeys("abc", barrier.wait), 5)
        assert sorted(results.values()) == [0, 1, 2] and problems == {}

    def test_names_what_did_not_answer_and_keeps_the_rest(self):
        gate = threading.Event()

        def fail():
            raise InsideError("expected x, found y")

        started = time.time()
        parts = {"fast": lambda: 1, "slow": lambda: gate.wait(30), "bad": fail}
        results, problems = datacenter.side_by_side(parts, 0.2)
        gate.set()
        assert results == {"fast": 1}
        assert problems == {"slow": "no answer within 0.2 s", "bad": "expected x, found y"}
        assert time.time() - started < 5


class TestCollect:
    def test_answers_without_systemd_database_and_frontend(self, tmp_path, monkeypatch):
        def no_systemd(*unused, **also_unused):
            raise InsideError("no systemd")

        monkeypatch.setattr(datacenter.service, "show_units", no_systemd)
        monkeypatch.setattr(
            datacenter.address,
            "addresses",
            lambda: [
                {"interface": "lo", "address": "127.0.0.1"},
                {"interface": "svc0", "family": "inet", "address": "192.0.2.200", "prefix": 24, "secondary": True},
            ],
        )
        (tmp_path / "lock").write_text('{"token": 3, "state": "held", "run_id": "r", "expires": 5}')
        answer = datacenter.collect(
            dict(
                roles=["web_frontend", "ca"],
                units=["circonus-http"],
                paths=[str(tmp_path), "/no/such/place"],
                deadline_s=5,
                client_address="192.0.2.200/24",
                status_url="http://127.0.0.1:1/status",
                site_path=str(tmp_path / "site.json"),
                ca_path=str(tmp_path / "CA"),
                lock_path=str(tmp_path / "lock"),
                killswitch_path=str(tmp_path / "lock"),
            )
        )
        assert answer["missing"] == {"units": "no systemd"}
        assert answer["units"] == {} and answer["status"]["state"] == "unknown" and answer["web_db"] == {}
        assert answer["lock"]["token"] == 3 and answer["lock"]["expired"] is True
        assert answer["client_address"] is True and len(answer["addresses"]) == 1
        assert answer["space"][str(tmp_path)]["free_bytes"] > 0 and answer["space"]["/no/such/place"]["error"]
        assert answer["ca"]["present"] is False and answer["killswitch"] is True
        json.dumps(answer)
