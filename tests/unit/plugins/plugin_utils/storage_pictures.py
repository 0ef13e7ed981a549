# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Clusters as data_storage_status sees them, and the report of a run about them. Made up."""
from __future__ import annotations

import copy

from ansible_collections.circonus.inside.plugins.module_utils import irondb_gate, topology
from ansible_collections.circonus.inside.plugins.plugin_utils import findings, storage_status
from storage_views import cluster, green

PARAMS = {"data_storage_status_limit": [], "data_storage_status_fail_on": "warning",
          "data_storage_status_used_percent": 70.0, "data_storage_status_full_percent": 90.0,
          "data_storage_status_page_timeout_s": 5.0}
SWEEP = {kind: {"running": False, "cancelling": False, "timestamp": None, "current": "", "rollups": "all"}
         for kind in ("nnt", "text", "histogram")}


class Store:
    """A green cluster of the site east. Change ``views`` (of the hosts that read it) or ``answers``, then check."""

    def __init__(self, number=3, copies=2, sides=None):
        self.topology = cluster(number, copies, sides)
        self.ids = [node.id for node in self.topology.nodes]
        self.hosts = ["east-store%d" % at for at in range(1, number + 1)]
        self.sites = {"east": {"hosts": self.hosts, "active": True, "raw": {
            "svclist": {"data_storage": {"_machlist": self.hosts}},
            "machinfo": {host: {"node_id": node.id, "ip_address": node.address}
                         for host, node in zip(self.hosts, self.topology.nodes, strict=True)}}}}
        self.questions = storage_status.questions(self.sites, ["circonus-snowth"], PARAMS)
        self.answers, self.views = {}, {}
        for at, (host, identity) in enumerate(zip(self.hosts, self.ids, strict=True)):
            own = {"problem": "", "errors": {}, "state": None, "rebalance": None, "rebuilding": False,
                   "stats": {"semver": "0.19.3", "reconstitute": None}, "sweep": copy.deepcopy(SWEEP)}
            self.answers[host] = {"reachable": True, "node_ids": [identity], "unit": "circonus-snowth", "problem": "",
                                  "active": "active", "age_s": 86400.0 * (at + 1), "view": None, "topology": "",
                                  "node": own}
            if self.questions[host]["cluster"]:
                view = green(self.topology, viewers=(at, (at + 1) % number))
                for node, name in zip(view["nodes"], self.hosts, strict=True):
                    node["name"] = name
                for answer in view["answers"].values():
                    answer["state"].update(version="v1/2", filesystems=[
                        {"id": "1", "total_mb": 900000.0, "free_mb": 610000.5, "used_percent": 32.2}])
                self.views[host] = view

    def each(self, change):
        """The same in every view."""
        for view in self.views.values():
            change(view)
        return self

    def state(self, at, **change):
        return self.each(lambda view: view["answers"][self.ids[at]]["state"].update(change))

    def lag(self, node, peer, seconds):
        def change(view):
            for rows in view["gossip"].values():
                rows[self.ids[node]]["latency"][self.ids[peer]] = seconds
        return self.each(change)

    def check(self, **params):
        for host, view in self.views.items():
            answer = self.answers[host]
            if answer and "node_ids" in answer:
                answer.update(view=view, topology=topology.write_xml(self.topology),
                              reasons=irondb_gate.gate(view) if view else [])
        params = dict(PARAMS, **params)
        return storage_status.evaluate(storage_status.chosen(self.sites, params), self.answers, params)


def document(verdict, fail_on="warning"):
    """The report of a run that found this."""
    failed, reason = findings.conclusion(verdict["findings"], fail_on, storage_status.summary(verdict))
    return dict(verdict, schema="circonus.inside.report/1", procedure="data_storage_status",
                run_id="20261126T094431Z-3f9a1c", result="failed" if failed else "ok", reason=reason, check_mode=False,
                started="2026-11-26T09:44:31.000Z", finished="2026-11-26T09:44:33.400Z", seconds=2.4,
                controller="ops1/abc/1/2", owner="ada@ops1", parameters=dict(PARAMS), plan=[], steps=[], remaining=[],
                warnings=[], fail_on=fail_on)
