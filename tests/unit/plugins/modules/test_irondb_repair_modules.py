# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""irondb_damage_info, irondb_repair and irondb_evidence as modules, on a node that is down."""
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import json
import os

import pytest

from ansible.module_utils import basic
from ansible_collections.circonus.inside.plugins.module_utils import irondb_damage
from ansible_collections.circonus.inside.plugins.modules import irondb_damage_info, irondb_evidence, irondb_repair

NODE = "a0000000-0000-4000-8000-000000000001"
SERVICE = {"name": "data_storage", "units": [{"id": "snowth", "candidates": ["circonus-snowth"]}]}


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a module with parameters; its result as JSON and without a traceback."""
    monkeypatch.setattr(irondb_damage, "running", lambda: [])
    monkeypatch.setattr(irondb_damage.unit_state, "show_units",
                        lambda names: {name: {"exists": True, "active": "failed"} for name in names})

    def call(module, check=False, **params):
        text = json.dumps({"ANSIBLE_MODULE_ARGS": dict(params, node=NODE, port=1, _ansible_check_mode=check)})
        monkeypatch.setattr(basic, "_ANSIBLE_ARGS", text.encode("utf-8"))
        if hasattr(basic, "_ANSIBLE_PROFILE"):
            monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy")
        with pytest.raises(SystemExit):
            module.main()
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return json.loads(out)

    return call


@pytest.fixture
def root(tmp_path):
    """A node with one damaged store."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "errorlog").write_text(u"[2026-11-26 10:00:00] [hist/60] Corruption: bad block\n")
    store = tmp_path / "hist" / NODE / "60"
    store.mkdir(parents=True)
    (store / "CURRENT").write_text(u"MANIFEST-000002\n")
    os.utime(str(store / "CURRENT"), (1, 1))
    return str(tmp_path)


class TestDamageInfo:
    def test_says_what_is_damaged(self, run, root):
        found = run(irondb_damage_info, root=root)
        assert not found["changed"] and [(item["store"], item["state"]) for item in found["stores"]] == [
            ("hist/60", "damaged")]
        assert not found["serving"] and found["targets"] == ["hist/60"]

    def test_a_host_without_the_log_fails_in_one_sentence(self, run, tmp_path):
        found = run(irondb_damage_info, root=str(tmp_path))
        assert found["failed"] and found["msg"].startswith("Expected the error log of the node at ")


class TestRepair:
    def test_check_mode_says_what_it_would_do(self, run, root):
        found = run(irondb_repair, check=True, root=root, service=SERVICE)
        assert found["changed"] and found["msg"] == "Would repair hist/60, start circonus-snowth."

    @pytest.mark.parametrize("targets, words", [
        (["raw"], "Expected a store that snowthd -r repairs"),
        (["text/metrics"], "Expected text/metrics to be damaged")])
    def test_a_wrong_target_touches_nothing(self, run, root, tmp_path, targets, words):
        program = tmp_path / "snowthd"
        program.write_text(u"#!/bin/sh\ntouch %s/called\n" % tmp_path)
        program.chmod(0o755)
        found = run(irondb_repair, root=root, service=SERVICE, targets=targets, program=str(program),
                    state_dir=str(tmp_path / "state"))
        assert found["failed"] and words in found["msg"] and not (tmp_path / "called").exists()

    def test_a_host_without_the_program_fails_in_one_sentence(self, run, root):
        found = run(irondb_repair, root=root, service=SERVICE, program="/nowhere/snowthd")
        assert found["failed"] and "Expected /nowhere/snowthd" in found["msg"] and found["repaired"] == []


class TestEvidence:
    def test_returns_facts_and_an_archive(self, run, root):
        found = run(irondb_evidence, root=root, watch_s=0.1, deadline_s=20, page_timeout=0.5)
        assert found["facts"]["store"]["stores"][0]["state"] == "damaged" and found["bundle"]
