# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import os
import re
import sys

import pytest

from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput
from ansible_collections.circonus.inside.plugins.plugin_utils import report, report_storage, storage_status

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "module_utils"))
from storage_pictures import PARAMS, Store, document
from storage_views import OTHER, silent


def found(verdict):
    return [(item["id"], item["severity"], item["host"]) for item in verdict["findings"]]


class TestQuestions:
    def test_every_host_tells_of_itself_and_a_few_of_the_cluster(self):
        asked = Store(12, 3).questions
        assert len(asked) == 12 and all(question["own"] for question in asked.values())
        assert [host for host, question in asked.items() if question["cluster"]] == [
            "east-store%d" % at for at in (1, 3, 5, 8, 10)]
        assert asked["east-store2"]["hosts"][0] == "192.0.2.32" and asked["east-store2"]["page_timeout"] == 5.0

    def test_a_site_that_is_none(self):
        with pytest.raises(BadInput, match=r"\(east\) in data_storage_status_limit, found north"):
            storage_status.chosen(Store().sites, dict(PARAMS, data_storage_status_limit=["north"]))


class TestEvaluate:
    def test_a_green_cluster(self):
        verdict = Store().check()
        assert verdict["findings"] == [] and verdict["unknown"] == []
        assert verdict["checked"] == {"hosts": 3, "of": 3, "roles": 3}
        (cluster,) = verdict["storage"]
        assert cluster["settled"] and cluster["seen_from"] == "east-store1" and not cluster["sided"]
        assert [node["host"] for node in cluster["nodes"]] == ["east-store1", "east-store2", "east-store3"]
        assert {entry["colour"] for node in cluster["nodes"] for entry in node["latency"]} == {"green"}
        assert cluster["nodes"][0]["viewed"] and cluster["nodes"][0]["free_bytes"] == 610000500000
        assert storage_status.summary(verdict) == (
            "3 of 3 data_storage nodes in 1 cluster are green towards every other")

    @pytest.mark.parametrize("spoil, expected", [
        (lambda s: s.lag(1, 0, 45.0), [("storage_behind", "warning", "east-store2")]),
        (lambda s: s.lag(1, 0, 270.0), [("storage_behind", "error", "east-store2")]),
        (lambda s: s.each(lambda view: silent(view, 2, "refused")), [("storage_node_down", "error", "east-store3")]),
        (lambda s: s.each(lambda view: [silent(view, at, "hung") for at in (1, 2)]),
         [("storage_node_down", "critical", "east-store2"), ("storage_node_down", "critical", "east-store3")]),
        (lambda s: s.state(1, current=OTHER), [("storage_topology", "error", "east-store2")]),
        (lambda s: s.each(lambda view: view["answers"][s.ids[1]].update(rebuilding=True)),
         [("storage_reconstitute", "warning", "east-store2")]),
        (lambda s: s.each(lambda view: view["answers"][s.ids[1]]["rebalance"].update(
            running=True, state="TOPO_REBALANCE_REHASH")), [("storage_rebalance", "warning", "east-store2")]),
        (lambda s: s.state(2, filesystems=[{"id": "1", "total_mb": 100.0, "free_mb": 29.9, "used_percent": 70.1}]),
         [("storage_space", "warning", "east-store3")]),
        (lambda s: s.state(2, filesystems=[{"id": "1", "total_mb": 100.0, "free_mb": 9.0, "used_percent": 91.0}]),
         [("storage_space", "error", "east-store3")]),
        (lambda s: s.state(2, filesystems=[{"id": "1", "total_mb": 100.0, "free_mb": 30.0, "used_percent": 70.0}]), []),
        (lambda s: s.state(0, version="v2/3"), [("storage_versions", "warning", None)]),
        (lambda s: s.answers.update({"east-store2": {"reachable": False, "msg": "no route."}}),
         [("host_unreachable", "error", "east-store2")]),
        (lambda s: s.answers.update({"east-store2": {"reachable": True, "msg": "the module broke off"}}),
         [("check_failed", "error", "east-store2")]),
        (lambda s: s.answers["east-store3"].update(node_ids=[s.ids[0]]), [("storage_identity", "error", None)]),
        (lambda s: s.answers["east-store1"]["node"]["sweep"]["nnt"].update(running=True, timestamp=1546300800),
         [("storage_sweeping", "info", "east-store1")]),
    ])
    def test_each_thing_that_is_wrong_is_one_finding(self, spoil, expected):
        store = Store()
        spoil(store)
        assert found(store.check()) == expected

    def test_gossip_that_is_late_or_old(self):
        def age(seconds):
            store = Store()
            return store.each(lambda view: [rows[store.ids[2]].update(age=seconds)
                                            for rows in view["gossip"].values()]).check()

        assert found(age(1.9)) == []
        assert found(age(2.0)) == [("storage_gossip", "info", "east-store3")]
        assert found(age(8.0)) == [("storage_gossip", "error", "east-store3")]

    def test_a_consequence_is_not_told_beside_its_cause(self):
        store = Store().lag(0, 2, 500.0).lag(2, 0, 500.0)
        store.each(lambda view: silent(view, 2, "refused"))
        store.each(lambda view: [rows[store.ids[2]].update(age=50.0) for rows in view["gossip"].values()])
        assert found(store.check()) == [("storage_node_down", "error", "east-store3")]

    def test_what_only_one_host_sees_says_so(self):
        store = Store()
        silent(store.views["east-store3"], 0, "unreachable")
        verdict = store.check()
        assert found(verdict) == [("storage_node_down", "error", "east-store1")]
        assert "(seen from east-store3)" in verdict["findings"][0]["found"]
        assert verdict["storage"][0]["seen_from"] == "east-store1" and not verdict["storage"][0]["settled"]

    def test_a_cluster_that_nobody_tells(self):
        store = Store()
        store.views = dict.fromkeys(store.views)
        for answer in store.answers.values():
            answer["problem"] = "No node tells the topology of the cluster: refused. Start it."
        verdict = store.check()
        assert found(verdict) == [("storage_cluster_silent", "critical", None)]
        assert verdict["storage"][0]["digest"] is None and len(verdict["storage"][0]["nodes"]) == 3

    def test_all_hosts_are_gone(self):
        store = Store()
        store.answers = {host: {"reachable": False, "msg": "no route"} for host in store.hosts}
        verdict = store.check()
        assert [item[0] for item in found(verdict)].count("host_unreachable") == 3
        assert ("storage_cluster_silent", "critical", None) in found(verdict) and verdict["checked"]["hosts"] == 0

    def test_a_host_that_was_left_out_is_not_known(self):
        store = Store()
        store.answers["east-store2"] = None
        verdict = store.check()
        assert found(verdict) == [] and "east-store2 was left out by --limit" in verdict["unknown"][0]

    def test_pages_that_could_not_be_read_are_not_known(self):
        store = Store()
        why = {"stats": "/stats.json: HTTP status 500"}
        store.answers["east-store2"]["node"].update(problem="unreadable", errors=why)
        assert store.check()["unknown"] == ["stats of east-store2: /stats.json: HTTP status 500."]

    def test_one_copy(self):
        assert found(Store(3, 1).check()) == [("storage_one_copy", "warning", None)]

    def test_a_rebuild_with_its_progress(self):
        store = Store()
        store.answers["east-store2"]["node"]["stats"]["reconstitute"] = {"nnt/percent": 12.5}
        assert "is being rebuilt: nnt/percent 12.5" in report_storage.doing(store.check()["storage"][0]["nodes"][1])


def bad():
    """Much at once, with names that would break a page."""
    store = Store(6, 2, "aabbab")
    store.lag(1, 0, 45.0).lag(2, 0, 300.0).lag(2, 1, 400.0)
    store.each(lambda view: silent(view, 4, "refused"))
    store.each(lambda view: [rows[store.ids[4]].update(heard=False, age=None) for rows in view["gossip"].values()])
    store.each(lambda view: [rows[store.ids[3]].update(age=3.2) for rows in view["gossip"].values()])
    store.state(3, version="<b>v2</b>", filesystems=[
        {"id": "1", "total_mb": 900000.0, "free_mb": 80000.0, "used_percent": 91.1}])
    store.each(lambda view: view["answers"][store.ids[5]].update(rebuilding=True))
    store.answers["east-store6"]["node"]["stats"]["reconstitute"] = {"nnt": 41.5, "text": 100.0}
    store.answers["east-store5"] = {"reachable": False, "msg": "No route to host"}
    return store


class TestReport:
    def test_the_document_is_a_good_one(self):
        for store in (Store(), bad()):
            assert report.validate(document(store.check())) == []

    def test_text_shows_the_matrix_and_a_line_for_each_node(self):
        text = report.render_text(document(Store().lag(1, 0, 7.0).check()))
        assert text.startswith("HEALTHY: 3 of 3 data_storage nodes in 1 cluster")
        head = r"east: 3 nodes, 2 write copies, topology [0-9a-f]{12}\.\., settled \(seen from east-store1\)"
        assert re.search(head, text) and re.search(r"east-store2 +0\.4 s +7 s +- +\d s", text)
        assert "east-store3  32.2 % used, 568.1 GiB free, version 0.19.3" in text

    def test_text_marks_what_is_not_green(self):
        text = report.render_text(document(bad().check()))
        assert text.startswith("NOT HEALTHY") and "NOT SETTLED" in text
        assert "45 s !" in text and "400 s !!" in text and "3.2 s !" in text and "never heard" in text
        assert "does not serve: refused" in text and "is being rebuilt: nnt 41.5, text 100.0" in text

    def test_a_large_cluster_shows_the_worst_of_each_node(self):
        text = report.render_text(document(Store(12, 3).lag(3, 7, 33.0).check()))
        assert "33 s ! to east-store8" in text
        assert max(len(line) for line in text.splitlines() if "expected" not in line) < 110

    def test_the_page_has_every_colour_and_escapes_names(self):
        page = report.render_html(document(bad().check()))
        assert "<b>v2" not in page and "&lt;b&gt;v2" in page
        for colour in ("green", "yellow", "red", "unknown", "black"):
            assert '<td class="%s">' % colour in page
        assert '<th scope="col" class="viewed" title="east-store1">1</th>' in page
        assert '<th scope="row" class="">3 east-store3</th>' in page and "latencies danger (mean 140.6 s)" in page
        assert page.count('<section class="storage">') == 1 and "Measured and recorded" not in page

    def test_no_cluster_is_shown_where_none_was_read(self):
        store = Store()
        store.answers = {host: {"reachable": False, "msg": "no route"} for host in store.hosts}
        page = report.render_html(document(store.check()))
        assert "east: no node tells the topology" in page and "<table class=\"matrix\"" not in page

    def test_something_else_by_that_name_is_shown_as_data(self):
        other = dict(document(Store().check()), storage="full")
        assert report_storage.lines(other) == [] and "storage" in report.render_html(other)
