# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Judge the data_storage clusters by what their hosts told: the operations dashboard as findings and tables. Pure.

Source: operation manual, "Operations Dashboard"; colours and limits of ``module_utils/irondb_gate.py``.
"""

from __future__ import annotations

from ansible_collections.circonus.inside.plugins.module_utils import irondb_gate, irondb_sweep, topology
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput
from ansible_collections.circonus.inside.plugins.plugin_utils import findings as f
from ansible_collections.circonus.inside.plugins.plugin_utils import storage_plan, storage_restart
from ansible_collections.circonus.inside.plugins.plugin_utils.report_picture import size

PREFIX = "data_storage_status_"
ROLE = storage_plan.ROLE
#: Hosts of a cluster that read all of it. All of them would be too many questions in a large one.
READERS = 5
#: Gates that say of a node that it does not serve, and what every other gate is as a finding. ``identity`` is judged
#: with site.json and the disks.
SILENT = ("unreachable", "peer_down", "not_back", "hung", "unreadable")
GATES = {"write_copies": "storage_one_copy", "topology": "storage_topology", "rebalance": "storage_rebalance",
         "reconstitute": "storage_reconstitute", "viewpoints": "storage_gossip", "unknown": "storage_gossip",
         "stale": "storage_gossip", "lagging": "storage_behind", **dict.fromkeys(SILENT, "storage_node_down")}


def readers(hosts: list) -> list:
    """Hosts that read the whole cluster, spread over it."""
    if len(hosts) <= READERS:
        return list(hosts)
    return [hosts[at * len(hosts) // READERS] for at in range(READERS)]


def chosen(sites: dict, params: dict) -> dict:
    """``{site: nodes}`` of the sites that are wanted. Raises BadInput."""
    known = storage_restart.clusters(sites)
    wanted = params.get(PREFIX + "limit") or list(known)
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise BadInput("Expected sites with data storage (%s) in %slimit, found %s." % (
            ", ".join(known) or "there are none", PREFIX, ", ".join(unknown)))
    return {name: nodes for name, nodes in known.items() if name in wanted}


def questions(sites: dict, units: list, params: dict) -> dict:
    """``{host: arguments of irondb_probe}``. Raises BadInput."""
    known = chosen(sites, params)
    asked = storage_restart.questions(sites, units)
    found = {}
    for nodes in known.values():
        reading = readers([node["host"] for node in nodes])
        found.update({node["host"]: dict(asked[node["host"]], own=True, cluster=node["host"] in reading,
                                         page_timeout=params[PREFIX + "page_timeout_s"]) for node in nodes})
    return found


def evaluate(known: dict, answers: dict, params: dict) -> dict:
    """Findings and tables of all clusters.

    known: of :func:`chosen`. answers: ``{host: answer of irondb_probe with reachable, None when it is not in the
    play}``. Returns ``{"findings", "unknown", "checked": {"hosts", "of", "roles"}, "storage": [cluster]}``, a cluster
    as docs/report.md has it.
    """
    found, unknown, clusters = [], [], []
    for name, nodes in known.items():
        cluster = _Cluster(name, nodes, answers, params)
        cluster.judge()
        found += cluster.found
        unknown += cluster.unknown
        clusters.append(cluster.table())
    hosts = [node["host"] for nodes in known.values() for node in nodes]
    read = [host for host in hosts if "node_ids" in (answers.get(host) or {})]
    return {"findings": f.worst_first(found), "unknown": unknown, "storage": clusters,
            "checked": {"hosts": len(read), "of": len(hosts), "roles": len(read)}}


def summary(verdict: dict) -> str:
    """The sentence about what is well."""
    checked, clusters = verdict["checked"], len(verdict["storage"])
    return "%d of %d data_storage nodes in %d cluster%s are green towards every other" % (
        checked["hosts"], checked["of"], clusters, "" if clusters == 1 else "s")


def _first(text):
    """The first sentence of a reason, without its end and its limit, which the finding has itself."""
    text = text.split(". ", 1)[0].split(" (limit ", 1)[0].rstrip(".")
    return text[:1].lower() + text[1:] if text.startswith("A ") else text


class _Cluster:
    """One cluster while it is judged."""

    def __init__(self, site, nodes, answers, params):
        self.site, self.nodes, self.answers, self.params = site, nodes, answers, params
        self.host_of = {node["id"]: node["host"] for node in nodes}
        told = {node["host"]: (answers.get(node["host"]) or {}) for node in nodes}
        self.told = {host: answer for host, answer in told.items() if "node_ids" in answer}
        self.views = {host: answer["view"] for host, answer in self.told.items() if answer.get("view")}
        # What the most complete look saw is shown; what any of them saw is judged.
        self.viewer = min(self.views, key=lambda host: len(self.told[host]["reasons"]), default=None)
        self.view = self.views.get(self.viewer)
        self.matrix = irondb_gate.matrix(self.view) if self.view else []
        self.found, self.unknown = [], []

    def add(self, finding_id, host=None, **values):
        self.found.append(f.make(finding_id, host=host, role=ROLE, site=self.site, **values))

    # -- judging ----------------------------------------------------------------------------------------------

    def judge(self):
        self._hosts()
        if not self.view:
            why = next((answer["problem"] for answer in self.told.values() if answer["problem"]), "no host was read")
            self.add("storage_cluster_silent", detail=_first(why))
            return
        self._gates()
        self._identity()
        self._late()
        self._space()
        self._versions()
        for host, answer in self.told.items():
            sweep = (answer.get("node") or {}).get("sweep") or {}
            busy = irondb_sweep.running(sweep)
            if busy:
                self.add("storage_sweeping", host, detail="%s older than %s" % (
                    " and ".join(busy), irondb_sweep.stamp(sweep[busy[0]]["timestamp"] or 0)))

    def _hosts(self):
        for node in self.nodes:
            host, answer = node["host"], self.answers.get(node["host"])
            if answer is None:
                self.unknown.append("%s was left out by --limit; what its node tells of itself is not known." % host)
            elif not answer.get("reachable"):
                self.add("host_unreachable", host, detail=str(answer.get("msg") or "no answer").rstrip("."))
            elif "node_ids" not in answer:
                self.add("check_failed", host, detail=str(answer.get("msg") or "no answer").rstrip("."))
            else:
                own = answer.get("node") or {}
                if own.get("problem") in ("", "missing", "unreadable", None):
                    self.unknown += ["%s of %s: %s." % (part, host, _first(why))
                                     for part, why in sorted((own.get("errors") or {}).items())]

    def _gates(self):
        seen = {}
        for host, view in self.views.items():
            for reason in irondb_gate.gate(view):
                key = (reason["id"] if reason["id"] not in SILENT else "silent", reason["node"], reason["peer"])
                seen.setdefault(key, (reason, []))[1].append(host)
        silent = {node for kind, node, _peer in seen if kind == "silent"}
        copies = self.view["write_copies"]
        for reason, hosts in seen.values():
            finding_id = GATES.get(reason["id"])
            gone = {reason["node"], reason["peer"]} & silent
            if finding_id is None or gone and finding_id in ("storage_gossip", "storage_behind"):
                continue  # a consequence is not told beside its cause
            detail = _first(reason["text"])
            if len(hosts) < len(self.views):
                detail += " (seen from %s)" % ", ".join(hosts)
            more = {"limit": "%g" % irondb_gate.AGE_S[1]}
            if finding_id == "storage_node_down" and len(silent) > max(0, copies - 1):
                more["severity"] = "critical"
            elif finding_id == "storage_behind":
                more["limit"] = "%g" % irondb_gate.LATENCY_S[0]
                if self._colour(self.views[hosts[0]], reason) == "red":
                    more["severity"] = "error"
            self.add(finding_id, self.host_of.get(reason["node"]), detail=detail, **more)

    @staticmethod
    def _colour(view, reason):
        """The worst colour of a latency between two nodes as anybody tells it."""
        seconds = [row["latency"].get(reason["peer"]) for rows in view["gossip"].values()
                   for name, row in rows.items() if name == reason["node"]]
        return irondb_gate.latency_colour(max((one for one in seconds if one is not None), default=None))

    def _identity(self):
        try:
            ring = topology.read_xml(self.told[self.viewer]["topology"])
        except BadInput as error:
            self.unknown.append("Who is who in the cluster of %s: %s" % (self.site, error))
            return
        # A host that was not read is a finding itself.
        disks = {node["host"]: self.told.get(node["host"], {"node_ids": [node["id"]]})["node_ids"]
                 for node in self.nodes}
        for text in storage_plan.identity_problems(self.nodes, ring, self.view, disks):
            self.add("storage_identity", detail=_first(text))

    def _late(self):
        for row in self.matrix:
            if row["age_colour"] == "yellow":
                detail = "gossip about it is %.1f s old on %s" % (row["age"], self.viewer)
                self.add("storage_gossip", self.host_of.get(row["id"]), severity="info",
                         limit="%g" % irondb_gate.AGE_S[0], detail=detail)

    def _space(self):
        warn, full = self.params[PREFIX + "used_percent"], self.params[PREFIX + "full_percent"]
        for identity, host in self.host_of.items():
            space = self._space_of(identity)
            if space and space["used_percent"] > min(warn, full):
                self.add("storage_space", host, severity="error" if space["used_percent"] > full else "warning",
                         limit="%g" % min(warn, full), percent="%g" % space["used_percent"],
                         free=size(int(space["free_mb"] * 1000000)))

    def _versions(self):
        hosts = {}
        for identity, host in self.host_of.items():
            state = self._state(identity)
            if state:
                hosts.setdefault(state["version"] or "unknown", []).append(host)
        if len(hosts) > 1:
            self.add("storage_versions", detail="; ".join(
                "%s on %s" % (version, ", ".join(names)) for version, names in sorted(hosts.items())))

    # -- showing ----------------------------------------------------------------------------------------------

    def _own(self, identity):
        return (self.told.get(self.host_of.get(identity)) or {}).get("node") or {}

    def _state(self, identity):
        answer = (self.view or {"answers": {}})["answers"].get(identity) or {}
        return answer.get("state") or self._own(identity).get("state")

    def _space_of(self, identity):
        state = self._state(identity)
        return max(state["filesystems"], key=lambda row: row["used_percent"], default=None) if state else None

    def table(self):
        """The cluster for the report."""
        rows = {row["id"]: row for row in self.matrix}
        names = {node["id"]: node["host"] for node in self.nodes}
        return {
            "site": self.site, "seen_from": self.viewer, "digest": self.view["digest"] if self.view else None,
            "write_copies": self.view["write_copies"] if self.view else None,
            "sided": any(node["side"] for node in self.view["nodes"]) if self.view else None,
            "settled": bool(self.view) and not any(irondb_gate.gate(view) for view in self.views.values()),
            "nodes": [self._node(node, rows.get(node["id"]), names) for node in self._members()],
        }

    def _members(self):
        """All nodes of the topology and of site.json, in the order of the topology."""
        order = [node["id"] for node in self.view["nodes"]] if self.view else []
        known = [node["id"] for node in self.nodes]
        side = {node["id"]: node["side"] for node in self.view["nodes"]} if self.view else {}
        return [{"id": identity, "side": side.get(identity)}
                for identity in order + [one for one in known if one not in order]]

    def _node(self, node, row, names):
        identity = node["id"]
        answer = (self.view or {"answers": {}})["answers"].get(identity) or {}
        own, state, space = self._own(identity), self._state(identity), self._space_of(identity)
        stats = own.get("stats") or {}
        rebalance = answer.get("rebalance") or own.get("rebalance")
        told = self.told.get(names.get(identity)) or {}
        return {
            "host": names.get(identity) or (row or {}).get("name") or "", "id": identity, "side": node["side"],
            "problem": answer.get("problem") or ("" if state else "not read"), "error": answer.get("error") or "",
            "age": row["age"] if row else None, "age_colour": row["age_colour"] if row else "black",
            "mean": row["mean"] if row else None, "colour": row["colour"] if row else "unknown",
            "viewed": bool(row and row["asked"]),
            "latency": [{"host": names.get(one["peer"], one["name"]), "id": one["peer"], "seconds": one["seconds"],
                         "colour": one["colour"]} for one in (row or {"latency": ()})["latency"]],
            "used_percent": space["used_percent"] if space else None,
            "free_bytes": int(space["free_mb"] * 1000000) if space else None,
            "digest": state["current"] if state else None, "next": state["next"] if state else None,
            "version": state["version"] if state else None, "semver": stats.get("semver"),
            "rebalance": rebalance["state"] if rebalance else None, "rebuilding": answer.get("rebuilding"),
            "reconstitute": stats.get("reconstitute"), "running_s": told.get("age_s"), "unit": told.get("active"),
        }
