# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The RabbitMQ cluster of the role mq as one of its nodes sees it.

The management interface tells it for the price of a page, where the documented credentials work; ``rabbitmqctl`` starts
a whole Erlang machine, a second of CPU, and is asked where they do not.

Sources: operation manual, "MQ node restart" (P20) and "mq"; ``rabbitmqctl cluster_status`` as JSON and as Erlang terms,
``/api/nodes`` of the management interface (public).
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import fcntl
import json
import os
import re
import socket
import struct
import time

from ansible_collections.circonus.inside.plugins.module_utils import http_page, unit_state
from ansible_collections.circonus.inside.plugins.module_utils.errors import (
    CommandFailed,
    InsideError,
    Refused,
    TimedOut,
)

PROGRAM = "/opt/rabbitmq/sbin/rabbitmqctl"
MANAGEMENT_PORT = 55672
DEFAULT_LOGIN = "guest:guest"
# A node that hangs must leave time for rabbitmqctl.
PAGE_S = 3.0
POLL = 1.0
SIOCGIFADDR = 0x8915
# Exit code of rabbitmqctl without a running node.
UNAVAILABLE = 69


# ---- what RabbitMQ says ----------------------------------------------------------------------------------------


def _facts(cluster_name, nodes, running, partitions, alarms):
    return {
        "cluster_name": cluster_name or "",
        "nodes": sorted(set(nodes) | set(running)),
        "running_nodes": sorted(set(running)),
        "partitions": dict((node, sorted(others)) for node, others in partitions.items() if others),
        "alarms": sorted(alarms),
    }


def parse_status(text):
    """Facts of ``rabbitmqctl cluster_status``, as JSON or as Erlang terms. Pure.

    Returns ``{"nodes": [every member], "running_nodes": [...], "partitions": {node: [nodes it cannot see]}, "alarms":
    ["disk on rabbit@a", ...], "cluster_name"}``. Raises CommandFailed for anything else.
    """
    start = text.find("{")
    try:
        document = json.loads(text[start:]) if start >= 0 else None
    except ValueError:
        document = None
    if document is None and "[{" in text:
        try:
            document = _document(parse_terms(text[text.index("[{"):]))
        except ValueError:
            document = None
    if not isinstance(document, dict) or "running_nodes" not in document:
        raise CommandFailed(
            "Expected the state of a cluster from rabbitmqctl cluster_status, found {0!r}. Look at RabbitMQ on this "
            "host.".format(" ".join(text.split())[:120])
        )
    partitions = document.get("partitions") or {}
    if isinstance(partitions, list):  # old releases: [[node, [nodes]], ...]
        partitions = dict(
            (item.get("node", item.get("name")), item.get("partitions", [])) if isinstance(item, dict)
            else (item[0], item[1]) for item in partitions
        )
    nodes = list(document.get("disk_nodes") or []) + list(document.get("ram_nodes") or [])
    return _facts(document.get("cluster_name"), nodes, document.get("running_nodes") or [], partitions,
                  [alarm_text(alarm) for alarm in document.get("alarms") or []])


def _document(terms):
    """Erlang terms of ``cluster_status`` in the form of its JSON."""
    values = dict((item[0], item[1]) for item in terms if isinstance(item, list) and len(item) == 2)
    alarms = []
    for item in values.get("alarms", []):
        found = item[1] if isinstance(item, list) and len(item) == 2 else []
        alarms += [{"node": item[0], "resource": name if isinstance(name, str) else " ".join(name)} for name in found]
    if "nodes" in values:
        values.setdefault("running_nodes", [])
    return dict(values, disk_nodes=[name for kind in values.get("nodes", []) for name in kind[1]], alarms=alarms)


_TOKEN = re.compile(r"""\s*(?:(?P<string>"(?:\\.|[^"\\])*")|(?P<quoted>'(?:\\.|[^'\\])*')|(?P<mark><<|>>|[\[\]{},])"""
                    r"""|(?P<word>[^\s\[\]{},<>"']+))""")


def parse_terms(text):
    """An Erlang term as lists (of lists and tuples) and strings. Raises ValueError for what is none."""
    tokens, at = [], 0
    text = text.strip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if not match:
            raise ValueError("unexpected text in an Erlang term")
        at = match.end()
        if match.group("mark"):
            if match.group("mark") in "[]{},":
                tokens.append((True, match.group("mark")))
        else:
            tokens.append((False, match.group("word") or match.group(match.lastgroup)[1:-1]))
    value, end = _term(tokens, 0)
    return value


def _term(tokens, at):
    if at >= len(tokens):
        raise ValueError("an Erlang term ends early")
    mark, value = tokens[at]
    if not mark:
        return value, at + 1
    if value not in "[{":
        raise ValueError("unexpected {0} in an Erlang term".format(value))
    close, items, at = {"[": "]", "{": "}"}[value], [], at + 1
    while at < len(tokens) and tokens[at] != (True, close):
        item, at = _term(tokens, at)
        items.append(item)
        if at < len(tokens) and tokens[at] == (True, ","):
            at += 1
    if at >= len(tokens):
        raise ValueError("an Erlang term ends early")
    return items, at + 1


def alarm_text(alarm):
    """``disk on rabbit@a`` of an alarm, whatever its form. Pure."""
    if isinstance(alarm, dict):
        return "{0} on {1}".format(
            alarm.get("resource") or alarm.get("type") or "alarm", alarm.get("node") or "unknown node"
        )
    return str(alarm)


def parse_nodes(nodes, name):
    """:func:`parse_status` of the pages ``/api/nodes`` and ``/api/cluster-name``; None when a node that runs has not
    told everything yet, as in the first seconds after its start. Pure."""
    try:
        nodes, name = json.loads(nodes), json.loads(name)["name"]
        running = [node for node in nodes if node["running"]]
        alarms = ["{0} on {1}".format(kind, node["name"]) for node in running
                  for kind, key in (("memory", "mem_alarm"), ("disk", "disk_free_alarm")) if node[key]]
        partitions = dict((node["name"], node["partitions"]) for node in running)
        names = [[node["name"] for node in some] for some in (nodes, running)]
    except (KeyError, TypeError, ValueError):
        return None
    return _facts(name, names[0], names[1], partitions, alarms)


# ---- is it well ------------------------------------------------------------------------------------------------


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


# ---- reading ---------------------------------------------------------------------------------------------------


def ask_login(host="127.0.0.1", port=MANAGEMENT_PORT, timeout=PAGE_S):
    """HTTP status of the management interface's ``/api/whoami`` for guest/guest, None without an answer."""
    return http_page.ask(host, port, "/api/whoami", login=DEFAULT_LOGIN, timeout=timeout)["status"]


def own_address():
    """The IPv4 address of an interface of this host that is not loopback, None without one. Not looked up by name:
    Hooper makes a host's own name loopback."""
    question = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        for _unused, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(question, SIOCGIFADDR, struct.pack("256s", name.encode("utf-8")))
            except OSError:  # has none
                continue
            address = socket.inet_ntoa(answer[20:24])
            if not address.startswith("127."):
                return address
        return None
    finally:
        question.close()


def read_pages(port=MANAGEMENT_PORT, timeout=PAGE_S, outside=own_address):
    """``(facts or None, whether guest/guest is let in from other hosts, or None)`` from the management interface.

    From this host guest is let in by default (``loopback_users``); by another address of its own a host is a stranger.
    """
    nodes = http_page.ask("127.0.0.1", port, "/api/nodes", login=DEFAULT_LOGIN, timeout=timeout)
    known = default_login(nodes["status"])
    if not known:
        return None, known
    name = http_page.ask("127.0.0.1", port, "/api/cluster-name", login=DEFAULT_LOGIN, timeout=timeout)
    address = outside()
    return parse_nodes(nodes["body"], name["body"]), address and default_login(ask_login(address, port, timeout))


def read_program(program=PROGRAM, timeout=20.0, runner=unit_state.run):
    """Facts of the cluster from rabbitmqctl. Raises InsideError when there are none."""
    rc, out, err = runner([program, "-q", "cluster_status", "--formatter", "json"], timeout)
    if rc not in (0, UNAVAILABLE):
        # Releases before 3.7.9 know no formatter.
        rc, out, more = runner([program, "-q", "cluster_status"], timeout)
        err = more or err
    if rc != 0:
        said = " ".join((err or out).split())[:300]
        raise CommandFailed("rabbitmqctl cluster_status ended with {0}: {1}".format(rc, said or "no message"))
    return parse_status(out)


def read(program=PROGRAM, timeout=20.0, runner=unit_state.run):
    """:func:`read_program`, ``error`` says why there is nothing."""
    empty = {"cluster_name": "", "nodes": [], "running_nodes": [], "partitions": {}, "alarms": [], "error": ""}
    try:
        return dict(empty, **read_program(program, timeout, runner))
    except InsideError as exc:
        return dict(empty, error=str(exc).rstrip("."))


def cluster(program, epmd_port=4369, timeout=10.0, port=MANAGEMENT_PORT, runner=unit_state.run, pages=read_pages):
    """Facts of the cluster with ``default_credentials``: whether other hosts get in with guest/guest, None when that
    was not told. Raises InsideError when there are none.

    The program would start the port mapper when it does not run, so it is only asked where that listens.
    """
    started = time.monotonic()
    facts, known = pages(port, min(PAGE_S, timeout / 3))
    if facts is None:
        if epmd_port not in unit_state.listening_ports():
            raise InsideError("not asked: nothing listens on the port {0} of the Erlang port mapper".format(epmd_port))
        if not os.access(program, os.X_OK):
            raise InsideError("expected the program {0}, it is not there".format(program))
        facts = read_program(program, timeout - (time.monotonic() - started), runner)
    return dict(facts, default_credentials=known)


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
