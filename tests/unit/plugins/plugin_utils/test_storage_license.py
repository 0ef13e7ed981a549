# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import os
import sys

import pytest

from ansible_collections.circonus.inside.plugins.module_utils import irondb_gate
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput
from ansible_collections.circonus.inside.plugins.plugin_utils import failover, storage_license

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "module_utils"))
from storage_views import behind, silent
from test_storage_restart import NOW
from test_storage_restart import Platform as Clusters

PARAMS = {"data_storage_license_file": "/x", "data_storage_license_limit": [], "data_storage_license_pause_s": 120.0,
          "data_storage_license_timeout_s": 600, "data_storage_license_polls": 3,
          "data_storage_license_spacing_s": 5.0, "data_storage_license_settle_s": 1800.0,
          "circonus_confirm": "data_storage", "circonus_lock_break": None}


class Platform(Clusters):
    """Nodes that have been up for a day, with licences that are older."""

    def __init__(self, **clusters):
        super().__init__(**clusters)
        self.looks = {host: {"reachable": True, "changed": False, "paths": []} for host in self.answers}
        for answer in self.answers.values():
            answer["aged_s"] = 2 * 86400.0

    def changes(self, *hosts):
        for host in hosts:
            self.looks[host].update(changed=True, paths=[storage_license.PATH])
        return self

    def decide(self, since=NOW, **params):
        for view in self.views.values():
            view["reasons"] = irondb_gate.gate(view)
        situation = failover.Situation(self.sites, {}, {})
        return storage_license.verdict(situation, self.answers, self.looks, dict(PARAMS, **params),
                                       {"controller": "me"}, since, NOW)


@pytest.fixture
def platform():
    return Platform()


def hosts(verdict):
    return [wave["hosts"] for wave in verdict["waves"]]


class TestSource:
    def test_a_file_with_licences(self, tmp_path, monkeypatch):
        (tmp_path / "a.xml").write_text('<?xml version="1.0"?>\n<license id="1"/>')
        monkeypatch.chdir(tmp_path)
        assert storage_license.source("a.xml") == str(tmp_path / "a.xml")

    @pytest.mark.parametrize("text, why", [("", "found nothing"), ("<license>", "Expected licences in XML"),
                                           (None, "found: ")])
    def test_anything_else(self, tmp_path, text, why):
        if text is not None:
            (tmp_path / "a.xml").write_text(text)
        with pytest.raises(BadInput) as caught:
            storage_license.source(str(tmp_path / "a.xml"))
        assert why in str(caught.value) and "a.xml" in str(caught.value)


class TestVerdict:
    def test_only_nodes_whose_file_changes(self, platform):
        verdict = platform.changes("east-db1", "east-db3").decide()
        assert verdict["result"] == "proceed" and hosts(verdict) == [["east-db1"], ["east-db3"]]
        assert verdict["plan"] == [
            "Write /opt/circonus/etc/licenses.conf on %s beside the old file, restart it and wait until every node is "
            "green" % host for host in ("east-db1", "east-db3")]
        assert verdict["waves"][0]["pace"] == {"timeout_s": 600, "polls": 3, "spacing_s": 5.0, "pause_s": 120.0,
                                               "settle_s": 1800.0}
        assert verdict["done"].endswith("every other, with its licences.")

    def test_one_that_was_written_and_not_restarted_since(self, platform):
        platform.answers["east-db2"]["aged_s"] = 60.0
        verdict = platform.decide()
        assert hosts(verdict) == [["east-db2"]] and verdict["plan"] == [
            "Restart east-db2 and wait until every node is green"]

    def test_goes_on_after_a_stop(self, platform):
        """The first is written and restarted and still catches up, the second is written, the third is as before."""
        platform.answers["east-db1"].update(aged_s=300.0, age_s=20.0)
        platform.answers["east-db2"].update(aged_s=100.0)
        behind(platform.views["east"], 0, 1, 45.0)
        verdict = platform.changes("east-db3").decide(since=NOW - 600)
        assert [(wave["hosts"], wave["settle_only"]) for wave in verdict["waves"]] == [
            (["east-db1"], True), (["east-db2"], False), (["east-db3"], False)]
        # The same lag of a node that this run did not restart refuses.
        assert platform.decide(since=NOW)["result"] == "refused"

    def test_nothing_to_do(self, platform):
        verdict = platform.decide()
        assert verdict["result"] == "nothing_to_do" and "was started after they were written" in verdict["reason"]

    def test_a_file_that_was_not_read_refuses_unless_it_is_left_out(self, platform):
        platform.looks["east-db2"] = {"reachable": True, "msg": "Cannot read it."}
        verdict = platform.changes("east-db1").decide()
        assert verdict["result"] == "refused" and "on east-db2, found: Cannot read it." in verdict["reason"]
        assert platform.decide(data_storage_license_limit=["east-db1"])["result"] == "proceed"

    def test_the_gates_and_the_name_are_those_of_the_restart(self, platform):
        platform.changes("east-db1")
        assert "must name the role" in platform.decide(circonus_confirm="east")["reason"]
        silent(platform.views["east"], 2, "refused")
        assert "db3 is down" in platform.decide()["reason"]


class TestStale:
    @pytest.mark.parametrize("answer, expected", [
        ({"aged_s": 10.0, "age_s": 20.0}, True), ({"aged_s": 20.0, "age_s": 10.0}, False),
        ({"aged_s": 10.0, "age_s": None}, True), ({"aged_s": None, "age_s": 10.0}, False), ({}, False)])
    def test_by_what_was_later(self, answer, expected):
        assert storage_license.stale(answer) is expected


class TestTold:
    def test_facts_as_they_are_and_a_warning_for_those_that_are_silent(self):
        facts, warnings = storage_license.told(["a", "b"], {
            "a": {"node": {"stats": {"license": {"expiry": 0}}}}, "b": {"node": {"stats": None}}})
        assert facts == {"a": {"expiry": 0}} and "statistics of b tell nothing" in warnings[0]
        assert storage_license.told([], {}) == ({}, [])
