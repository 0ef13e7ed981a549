# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import json
import threading
import time

from ansible_collections.circonus.inside.plugins.module_utils import datacenter
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError


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

        monkeypatch.setattr(datacenter.unit_state, "show_units", no_systemd)
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
