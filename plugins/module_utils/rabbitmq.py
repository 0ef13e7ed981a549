# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The RabbitMQ cluster of the role mq as one of its nodes sees it.

Sources: operation manual, "MQ node restart" (P20) and "mq"; JSON form of ``rabbitmqctl cluster_status`` (public).
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import base64
import json
import time

try:
    from http.client import HTTPConnection, HTTPException
except ImportError:  # not on a target that this collection supports; keeps documentation tools on old Pythons working
    HTTPConnection = None
    HTTPException = OSError

from ansible_collections.circonus.inside.plugins.module_utils import service
from ansible_collections.circonus.inside.plugins.module_utils.errors import (
    CommandFailed,
    InsideError,
    Refused,
    TimedOut,
)

PROGRAM = "/opt/rabbitmq/sbin/rabbitmqctl"
MANAGEMENT_PORT = 55672
POLL = 1.0


def parse_status(text):
    """Facts of ``rabbitmqctl cluster_status --formatter json``. Pure.

    Returns ``{"nodes": [every member], "running_nodes": [...], "partitions": {node: [nodes it cannot see]}, "alarms":
    ["disk on rabbit@a", ...], "cluster_name"}``. Raises CommandFailed for anything that is not that document.
    """
    start = text.find("{")
    try:
        document = json.loads(text[start:]) if start >= 0 else None
    except ValueError:
        document = None
    if not isinstance(document, dict) or "running_nodes" not in document:
        raise CommandFailed(
            "Expected the JSON of rabbitmqctl cluster_status, found {0!r}. Look at RabbitMQ on this host.".format(
                " ".join(text.split())[:120]
            )
        )
    nodes = list(document.get("disk_nodes") or []) + list(document.get("ram_nodes") or [])
    running = list(document.get("running_nodes") or [])
    partitions = document.get("partitions") or {}
    if isinstance(partitions, list):  # old releases: [[node, [nodes]], ...]
        partitions = dict((item[0], item[1]) for item in partitions)
    return {
        "cluster_name": document.get("cluster_name") or "",
        "nodes": sorted(set(nodes + running)),
        "running_nodes": sorted(set(running)),
        "partitions": dict((node, sorted(others)) for node, others in partitions.items() if others),
        "alarms": sorted(alarm_text(alarm) for alarm in document.get("alarms") or []),
    }


def alarm_text(alarm):
    """``disk on rabbit@a`` of an alarm, whatever its form. Pure."""
    if isinstance(alarm, dict):
        return "{0} on {1}".format(
            alarm.get("resource") or alarm.get("type") or "alarm", alarm.get("node") or "unknown node"
        )
    return str(alarm)


def problem(facts, expected_nodes=0):
    """Why the cluster is not whole, or None. Pure.

    expected_nodes: hosts of the role in this site; a cluster of fewer nodes has split or was never joined. 0: unknown.
    """
    if facts.get("error"):
        return facts["error"]
    if facts["partitions"]:
        parts = ["{0} does not see {1}".format(n, ", ".join(o)) for n, o in sorted(facts["partitions"].items())]
        return "RabbitMQ is partitioned: {0}".format("; ".join(parts))
    down = [node for node in facts["nodes"] if node not in facts["running_nodes"]]
    if down:
        return "{0} of the RabbitMQ cluster not running: {1}".format(
            "1 node" if len(down) == 1 else "{0} nodes".format(len(down)), ", ".join(down)
        )
    if len(facts["running_nodes"]) < expected_nodes:
        return "expected {0} nodes in the RabbitMQ cluster, found {1} ({2})".format(
            expected_nodes, len(facts["running_nodes"]), ", ".join(facts["running_nodes"]) or "none"
        )
    return None


def default_login(status):
    """Whether the documented default credentials work: True, False, or None when the page did not tell. Pure.

    status: HTTP status of a request with guest/guest, None without an answer.
    """
    if status == 200:
        return True
    return False if status in (401, 403) else None


def ask_login(port=MANAGEMENT_PORT, user="guest", password="guest", timeout=3.0):
    """HTTP status of the management interface's ``/api/whoami`` for a user, None without an answer."""
    token = base64.b64encode("{0}:{1}".format(user, password).encode("utf-8")).decode("ascii")
    connection = HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", "/api/whoami", headers={"Authorization": "Basic " + token, "Connection": "close"})
        return connection.getresponse().status
    except (OSError, HTTPException, ValueError):
        return None
    finally:
        connection.close()


def read(program=PROGRAM, timeout=20.0, runner=service.run):
    """Facts of the cluster, ``error`` says why there are none."""
    empty = {"cluster_name": "", "nodes": [], "running_nodes": [], "partitions": {}, "alarms": [], "error": ""}
    try:
        rc, out, err = runner([program, "-q", "cluster_status", "--formatter", "json"], timeout)
        if rc != 0:
            said = " ".join((err or out).split())[:200]
            return dict(empty, error="rabbitmqctl cluster_status ended with {0}: {1}".format(rc, said))
        return dict(empty, **parse_status(out))
    except InsideError as exc:
        return dict(empty, error=str(exc).rstrip("."))


def look(expect="any", expected_nodes=0, timeout=0.0, reader=read, login=ask_login, clock=time.time, pause=time.sleep):
    """Look at the cluster until it is whole or the time is up.

    expect: ``any`` only looks, once. ``whole`` raises Refused (looked once) or TimedOut (waited ``timeout`` seconds)
    when it is not. Returns the facts with ``whole``, ``problem``, ``default_login`` (None after waiting) and
    ``procedure_warnings``.
    """
    deadline = clock() + timeout
    while True:
        facts = reader()
        facts["problem"] = problem(facts, expected_nodes) or ""
        facts["whole"] = not facts["problem"]
        if facts["whole"] or expect == "any" or clock() >= deadline:
            break
        pause(POLL)
    # Who waits has looked before; one warning is enough.
    facts["default_login"] = None if timeout else default_login(login())
    facts["procedure_warnings"] = ["RabbitMQ has an alarm: {0}.".format(alarm) for alarm in facts["alarms"]]
    if facts["default_login"]:
        facts["procedure_warnings"].append(
            "The management page on port {0} of RabbitMQ lets guest/guest in. Change the password or close the port to "
            "others.".format(MANAGEMENT_PORT)
        )
    if expect == "whole" and not facts["whole"]:
        if timeout:
            raise TimedOut(
                "{0}, {1:.0f} s after the restart. Look at /var/log/circonus/rabbitmq; no further node was "
                "touched.".format(facts["problem"], timeout),
                **facts
            )
        raise Refused(
            "{0}. A node is restarted only when the cluster is whole; bring it back first: restart the node that is "
            "off with service_operate.yml.".format(facts["problem"]),
            **facts
        )
    return facts
