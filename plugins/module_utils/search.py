# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The search cluster of old releases: its nodes, and the queues of changes that it has not seen yet.

Sources: operation manual, "UI Not Updating" (P22) and "Node Connectivity Troubleshooting" (P24); cluster health of
Elasticsearch (public).
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import json

try:
    from http.client import HTTPConnection, HTTPException
except ImportError:  # not on a target that this collection supports; keeps documentation tools on old Pythons working
    HTTPConnection = None
    HTTPException = OSError

from ansible_collections.circonus.inside.plugins.module_utils import postgres as pg
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError

DATABASE = "circonus"
#: Queues that the services circonus-grover-queue* of the hub work off, always with their schema.
QUEUES = ("grover_queue", "grover_low_priority_queue")
PORT = 9200


def parse_health(text):
    """Facts of Elasticsearch's ``/_cluster/health``: ``{"cluster_name", "status", "nodes", "unassigned"}``. Pure."""
    try:
        document = json.loads(text)
        return {
            "cluster_name": str(document["cluster_name"]),
            "status": str(document["status"]),
            "nodes": int(document["number_of_nodes"]),
            "unassigned": int(document.get("unassigned_shards") or 0),
        }
    except (ValueError, TypeError, KeyError):
        raise InsideError(
            "Expected the cluster health of Elasticsearch, found {0!r}. Look at its logs.".format(text[:80])
        )


def cluster_findings(health, expected_nodes=0):
    """Sentences about a cluster that is not whole. Pure."""
    found = []
    if health.get("error"):
        return ["Elasticsearch does not answer: {0}. Restart circonus-elasticsearch.".format(health["error"])]
    if health["nodes"] < expected_nodes:
        found.append(
            "Expected {0} nodes in the search cluster {1}, found {2}: about half of the pages are stale. Look at "
            "/opt/circonus/elasticsearch/log/grover??.log, restart circonus-elasticsearch.".format(
                expected_nodes, health["cluster_name"], health["nodes"]
            )
        )
    if health["status"] == "red":
        found.append(
            "The search cluster {0} is red, {1} shards have no node. Look at its logs.".format(
                health["cluster_name"], health["unassigned"]
            )
        )
    return found


def ask_health(port=PORT, timeout=5.0):
    """Cluster health of the local node; ``error`` says why there is none."""
    nothing = {"cluster_name": "", "status": "unknown", "nodes": 0, "unassigned": 0, "error": ""}
    connection = HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", "/_cluster/health", headers={"Connection": "close"})
        answer = connection.getresponse()
        text = answer.read(65536).decode("utf-8", "replace")
        if answer.status != 200:
            return dict(nothing, error="HTTP {0}".format(answer.status))
        return dict(parse_health(text), error="")
    except (OSError, HTTPException, ValueError) as exc:
        return dict(nothing, error=str(exc) or type(exc).__name__)
    except InsideError as exc:
        return dict(nothing, error=str(exc))
    finally:
        connection.close()


def connect(node, database=DATABASE, timeout=5.0):
    """A conversation with the product's database on this host."""
    server = node.postmaster()
    if server is None:
        raise pg.SessionLost("No database server runs on this host. Ask the primary database.")
    where = {"port": server["port"], "user": node.user, "dbname": database, "application_name": "circonus-inside"}
    if server["socket_dir"]:
        where["host"] = server["socket_dir"]
    return pg.Psql(node.bindir, where, node.user, timeout)


def backlog(session, queues=QUEUES):
    """``{queue: rows, None where the release has no such table}``."""
    counts = {}
    for queue in queues:
        there = session.row(
            "SELECT 1 AS there FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
            "WHERE n.nspname = 'circonus' AND c.relname = '{0}'".format(queue)
        )
        query = "SELECT count(*) AS rows FROM circonus.{0}".format(queue)
        counts[queue] = session.row(query)["rows"] if there else None
    return counts
