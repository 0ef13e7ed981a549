# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Judge data_storage nodes by what their hosts told (``module_utils/irondb_evidence.py``). Pure.

Source: operation manual, "Data Storage" (a child that becomes unstable: CPU, IO, memory, disks). It gives no numbers;
the limits are those of the procedure's parameters.
"""

from __future__ import annotations

import os

from ansible_collections.circonus.inside.plugins.module_utils import topology
from ansible_collections.circonus.inside.plugins.plugin_utils import findings as f
from ansible_collections.circonus.inside.plugins.plugin_utils import storage_plan, storage_restart

PREFIX = "data_storage_diagnose_"
_NAMES = {"load": "CPU", "memory": "memory", "disks": "IO of the disks", "smart": "health of the disks",
          "pool": "the pool", "space": "space of /snowth", "watchdog": "what the watchdog did", "dumps": "crash dumps",
          "store": "damaged stores"}
NO_SMARTCTL = "smartctl is not installed"
#: Programs that are not everywhere; the first has a finding of its own.
ABSENT = (NO_SMARTCTL, "zpool is not installed")


def questions(sites: dict, units: list, run: dict) -> dict:
    """``{host: arguments of irondb_evidence}`` of the hosts whose node has a valid id."""
    params, asked = run["parameters"], {}
    for nodes in storage_restart.clusters(sites).values():
        for node in nodes:
            if not node["id"] or topology.uuid_problem(node["id"]):
                continue
            asked[node["host"]] = {"node": node["id"], "units": units, "bundle": params[PREFIX + "evidence"]}
            for key in ("deadline_s", "watch_s", "hours", "log_kb"):
                asked[node["host"]][key] = params[PREFIX + key]
            if params[PREFIX + "evidence"]:
                asked[node["host"]]["dest"] = os.path.join(
                    run["report_dir"], "evidence", run["run_id"], node["host"] + ".tar.gz")
    return asked


class _Host:
    """Findings of one host; ``limit`` gives the value of a parameter."""

    def __init__(self, host, site, answer, params):
        self.host, self.site, self.facts, self.now = host, site, answer["facts"], answer["now"]
        self.unread, self.params, self.found = answer["unread"], params, []

    def limit(self, name):
        return self.params[PREFIX + name]

    def add(self, finding_id, **values):
        self.found.append(f.make(finding_id, self.host, storage_plan.ROLE, self.site, **values))

    def resources(self):
        load, memory = self.facts.get("load"), self.facts.get("memory")
        if load and load["busy_percent"] >= self.limit("cpu_percent"):
            self.add("storage_cpu", limit="%g" % self.limit("cpu_percent"), busy="%g" % load["busy_percent"],
                     load=load["load"][0], cpus=load["cpus"])
        if load and load["iowait_percent"] >= self.limit("iowait_percent"):
            self.add("storage_iowait", limit="%g" % self.limit("iowait_percent"), wait="%g" % load["iowait_percent"])
        available = memory and memory["available_percent"]
        if available is not None and available < self.limit("memory_percent"):
            self.add("storage_memory", limit="%g" % self.limit("memory_percent"), available="%g" % available)
        if memory and memory["oom_kills"]:
            self.add("storage_oom", count=memory["oom_kills"])
        space = self.facts.get("space")
        if space and space["total_bytes"]:
            used = 100.0 * (space["total_bytes"] - space["free_bytes"]) / space["total_bytes"]
            if used >= self.limit("space_percent"):
                self.add("storage_disk_full", limit="%g" % self.limit("space_percent"), used="%.0f" % used,
                         mount=space["mount"])

    def disks(self):
        for disk in self.facts.get("disks") or []:
            if disk["busy_percent"] >= self.limit("disk_percent"):
                self.add("storage_disk_busy", disk=disk["disk"], limit="%g" % self.limit("disk_percent"),
                         busy="%g" % disk["busy_percent"], wait="%g" % disk["await_ms"])
        for disk in self.facts.get("smart") or []:
            sick = disk["health"] and disk["health"] not in ("PASSED", "OK")
            if disk["uncorrected"] or sick:
                words = "%s uncorrected errors" % disk["uncorrected"] if disk["uncorrected"] else "none counted"
                self.add("storage_disk_errors", disk=disk["disk"], errors="%s, health %s" % (
                    words, disk["health"] or "not told"))
        if self.unread.get("smart") == NO_SMARTCTL:
            self.add("storage_smart_missing")
        pool = self.facts.get("pool")
        if pool and pool not in ("all pools are healthy", "no pools available"):
            self.add("storage_pool", said=" ".join(pool.split())[:200])

    def process(self):
        told = self.facts.get("watchdog") or {}
        for kind, finding_id in (("killed", "storage_watchdog"), ("crashed", "storage_crash"),
                                 ("gave_up", "storage_gave_up")):
            if told.get(kind, {}).get("count"):
                self.add(finding_id, count=told[kind]["count"], hours=self.limit("hours"), line=told[kind]["line"])
        if self.facts.get("dumps"):
            self.add("storage_dumps", count=len(self.facts["dumps"]), hours=self.limit("hours"),
                     path=self.facts["dumps"][0]["path"])
        store = self.facts.get("store") or {}
        for item in store.get("stores") or []:
            if item["state"] == "damaged":
                self.add("storage_damaged", store=item["store"], line=item["line"])
            elif item["state"] == "beyond":
                self.add("storage_beyond", store=item["store"] or "a store", line=item["line"], why=item["why"])
        if store and not store["serving"]:
            self.add("storage_silent", why=store["problem"])

    def unknown(self):
        """Sentences about what was not read."""
        return ["%s on %s: %s." % (_NAMES[name], self.host, why.rstrip("."))
                for name, why in sorted(self.unread.items()) if name in _NAMES and why not in ABSENT]


def evaluate(sites: dict, answers: dict, params: dict) -> dict:
    """``{"findings": worst first, "unknown": [text], "checked": {"hosts", "of", "roles"}, "evidence": {host: path}}``.

    answers: ``{host: answer of irondb_evidence with reachable, None when it was not asked}``.
    """
    found, unknown, evidence, looked, number = [], [], {}, 0, 0
    for site, nodes in storage_restart.clusters(sites).items():
        for node in nodes:
            host, answer, number = node["host"], answers.get(node["host"]), number + 1
            if answer is None:
                unknown.append("Everything about %s: it was not asked (--limit, or no node_id in site.json)." % host)
            elif not answer.get("reachable", True) or "facts" not in answer:
                ident = "host_unreachable" if not answer.get("reachable", True) else "check_failed"
                found.append(f.make(ident, host, None, site, detail=answer.get("msg") or "no reason given"))
            else:
                looked += 1
                one = _Host(host, site, answer, params)
                for part in (one.resources, one.disks, one.process):
                    part()
                found += one.found
                unknown += one.unknown()
                if answer.get("path"):
                    evidence[host] = answer["path"]
    return {"findings": f.worst_first(found), "unknown": unknown, "evidence": evidence,
            "checked": {"hosts": looked, "of": number, "roles": looked}}
