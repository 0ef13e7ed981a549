"""circonus-snowth (snowthd): watchdog and child, HTTP and gossip on 8112, console on 32322.

What a health check reads is real: identity and topology come from the files on disk, gossip goes by UDP to every node
of the topology, and the age of the newest gossip of a peer stands for the age of its newest journal data, because this
store keeps no metrics yet. The datagrams are this stand-in's own format.
"""

import fcntl
import hashlib
import json
import os
import random
import re
import socket
import struct
import sys
import threading
import time
from xml.etree import ElementTree

from daemons import console, net, watchdog
from daemons.noitd import clock

CONF = "/opt/circonus/etc/snowth.conf"
TOPOLOGIES = "/opt/circonus/etc/snowth-topo"
STORE = "/snowth"
CONSOLE = 32322
ANY = "0.0.0.0"
GOSSIP = (0.2, 1.8)
ROLLUPS = (60, 300, 10800)
FRESH = 2.0  # gossip of a living node is never older
VERSION, SEMVER = "v00000000/00000000", "0.1.1640000000"


def read_topology(text):
    """(write copies, [{id, address, port, apiport, weight, side}]) of a topology file."""
    root = ElementTree.fromstring(text)
    copies = int(root.get("write_copies") or root.get("n") or 2)
    nodes = [
        {
            "id": node.get("id"),
            "address": node.get("address"),
            "port": int(node.get("port", 8112)),
            "apiport": int(node.get("apiport", 8112)),
            "weight": int(node.get("weight")),
            "side": node.get("side"),
        }
        for node in root.iter("node")
    ]
    return copies, nodes


def digest(copies, nodes):
    """Name of a topology: ids, weights, sides and order, and the copies unless they are two."""
    code = {"a": 1, "b": 2}
    sided = any(code.get(node["side"]) for node in nodes)
    total = hashlib.sha256()
    for node in nodes:
        total.update(node["id"].encode() + b"\0\0" + struct.pack(">H", node["weight"]))
        if sided:
            total.update(struct.pack(">H", code.get(node["side"], 0)))
    if copies != 2:
        total.update(b"\0" * 38 + struct.pack(">H", copies) + (b"\0\0" if sided else b""))
    return total.hexdigest()


class Snowth:
    def __init__(self, child, conf=CONF, topologies=TOPOLOGIES, store=STORE, identity="", console_port=CONSOLE):
        self.child, self.conf, self.topologies, self.store = child, conf, topologies, store
        self.wanted, self.console_port = identity, console_port
        self.started = time.time()
        self.heard = {}  # id: (time, latency of that node)
        self.lock = threading.Lock()

    def log(self, text, name="errorlog"):
        path = os.path.join(self.store, "logs", name)
        try:
            with open(path, "a", encoding="utf-8") as handle:
                handle.write("[%s] %s\n" % (clock(time.time()), text))
        except OSError as exc:
            print("%s: %s" % (path, exc), file=sys.stderr, flush=True)

    def access(self, request, status, size, seconds):
        self.log(
            '%s "%s %s" %d %d %.3f' % (request.peer, request.method, request.path, status, size, seconds), "accesslog"
        )

    # -- start and main loop ------------------------------------------------------------------------------------
    def work(self):
        self.start()
        self.child.ready()
        due = 0.0
        while True:
            self.child.beat()
            if time.monotonic() >= due:
                self.gossip()
                due = time.monotonic() + random.uniform(*GOSSIP)
            time.sleep(0.2)

    def start(self):
        self.lock_store()
        try:
            with open(self.conf, encoding="utf-8") as handle:
                text = handle.read()
            self.active = re.search(r'active="([0-9a-f]{64})"', text).group(1)
            self.sweeps = "<sweep_delete/>" in text
            with open(os.path.join(self.topologies, self.active), encoding="utf-8") as handle:
                self.copies, self.nodes = read_topology(handle.read())
        except (OSError, AttributeError, ValueError, ElementTree.ParseError) as exc:
            watchdog.die(self.log, "topology of %s: %s" % (self.conf, exc))
        if digest(self.copies, self.nodes) != self.active:
            watchdog.die(self.log, "topology %s does not match its digest" % self.active)
        found = sorted(os.listdir(os.path.join(self.store, "data")))
        self.identity = self.wanted or (found[0] if found else "")
        mine = [node for node in self.nodes if node["id"] == self.identity]
        if not mine:
            watchdog.die(self.log, "node %s is not in topology %s" % (self.identity or "-", self.active))
        self.node = mine[0]
        self.port = self.node["port"]
        try:
            self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.udp.bind((ANY, self.port))
            self.listener = net.http_listener(self.node["apiport"], self.respond, note=self.access)
            tree = {"show": {"version": lambda _words: console.version("snowth")}, **self.child.commands()}
            net.Listener(
                self.console_port, lambda stream, _peer, _cn: console.serve(stream, "snowth# ", tree), "127.0.0.1"
            )
        except OSError as exc:
            watchdog.die(self.log, "cannot listen on %d or %d: %s" % (self.port, self.console_port, exc))
        threading.Thread(target=self.hear, daemon=True).start()
        self.log("process starting: %d, node %s (lab stand-in)" % (os.getpid(), self.identity), "startuplog")

    def lock_store(self):
        """One instance on a store: the lock file lives as long as the process."""
        path = os.path.join(self.store, "logs", "snowth.lock")
        try:
            self.lock_file = open(path, "w", encoding="utf-8")  # held until the process ends
            fcntl.flock(self.lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            watchdog.die(self.log, "%s: %s: another snowthd works here" % (path, exc))

    # -- gossip -------------------------------------------------------------------------------------------------
    def latency(self):
        """{peer: whole seconds} that this node is behind its peers."""
        now = time.time()
        with self.lock:
            ages = {peer: now - at for peer, (at, _row) in self.heard.items()}
        # A peer never heard of has no number: what is not known is not made up.
        return {peer: "%d" % (0 if age < FRESH else age) for peer, age in sorted(ages.items())}

    def gossip(self):
        data = json.dumps({"id": self.identity, "current": self.active, "latency": self.latency()}).encode()
        for node in self.nodes:
            if node["id"] != self.identity:
                try:
                    self.udp.sendto(data, (node["address"], node["port"]))
                except OSError as exc:
                    self.log("gossip to %s: %s" % (node["address"], exc), "startuplog")

    def hear(self):
        known = {node["id"] for node in self.nodes}
        while True:
            data = self.udp.recv(65536)
            try:
                row = json.loads(data.decode())
                if row["id"] in known:
                    with self.lock:
                        self.heard[row["id"]] = (time.time(), row)
            except (ValueError, KeyError, TypeError):
                self.log("gossip that cannot be read: %r" % data[:40])

    def rows(self):
        """/gossip/json: one row per node of the topology, numbers as strings."""
        now, rows = time.time(), []
        for node in self.nodes:
            with self.lock:
                at, row = self.heard.get(node["id"], (0.0, {}))
            if node["id"] == self.identity:
                at, row = now, {"current": self.active, "latency": self.latency()}
            rows.append(
                {
                    "id": node["id"],
                    "gossip_time": "%.6f" % at,
                    "gossip_age": "%.6f" % (now - at),
                    "topo_current": row.get("current", "unknown"),
                    "topo_next": "-",
                    "topo_state": "n/a" if row else "unknown",
                    "latency": row.get("latency", {}),
                }
            )
        return rows

    # -- HTTP ---------------------------------------------------------------------------------------------------
    def respond(self, request):
        kind, path = "application/json", request.path
        if path == "/state":
            return 200, json.dumps(self.state()), kind
        if path in ("/stats.json", "/mtev/stats.json"):
            return 200, json.dumps(self.stats()), kind
        if path == "/gossip/json":
            return 200, json.dumps(self.rows()), kind
        if path == "/gossip/xml":
            return 200, gossip_xml(self.rows()), "text/xml"
        if path == "/sweep_delete" and self.sweeps:
            return sweep(request)
        if path == "/topology/json/" + self.active:
            nodes = [dict(node, n=self.copies, side=node["side"] or "both") for node in self.nodes]
            return 200, json.dumps(nodes), kind
        if path == "/topology/xml/" + self.active:
            return 200, topology_xml(self.copies, self.nodes), "text/xml"
        if path == "/":
            page = "<!DOCTYPE html><title>snowth (lab stand-in)</title><p>Node %s of the lab's data store.</p>\n"
            return 200, page % self.identity, "text/html"
        return 404, json.dumps({"error": "not found"}), kind

    def space(self):
        """Of the file system of the store; MB as the real one counts them."""
        found = os.statvfs(self.store)
        return {
            "id": 1,
            "totalMb": round(found.f_blocks * found.f_frsize / 1e6, 6),
            "availMb": round(found.f_bavail * found.f_frsize / 1e6, 6),
        }

    def state(self):
        lags = [int(value) for value in self.latency().values()] or [0]
        times = os.times()
        space, none = self.space(), {"proxy_calls": 0, "count": 0, "calls": 0, "elapsed_us": 0}
        store = {"fs": space, "put.calls": 0, "get.calls": 0, "get.proxy_calls": 0, "get.count": 0}
        return {
            "identity": self.identity,
            "current": self.active,
            "next": "-",
            "base_rollup": ROLLUPS[0],
            "rollups": list(ROLLUPS),
            "nntbs": {
                "rollups": list(ROLLUPS),
                **{"rollup_%d" % period: store for period in ROLLUPS},
                "aggregate": {"put.calls": 0, "get.calls": 0},
            },
            "text": {"fs": space, "get": none, "put": {"err": 0, "calls": 0, "tuples": 0, "elapsed_us": 0}},
            "histogram": {"rollups": list(ROLLUPS), **{"rollup_%d" % period: store for period in ROLLUPS}},
            "rusage.utime": times.user,
            "rusage.stime": times.system,
            "max_peer_lag": max(lags),
            "avg_peer_lag": sum(lags) / len(lags),
            "features": {"text:store": "1", "histogram:store": "1", "nntbs:store": "1"},
            "version": VERSION,
            "application": "snowth",
        }

    def stats(self):
        now = time.time()
        with self.lock:
            delays = {peer: {"gossip_age": now - at} for peer, (at, _row) in self.heard.items()}
        return net.leaves(
            {
                "identity": self.identity,
                "semver": SEMVER,
                "version": VERSION,
                "application": "snowth",
                "topology": {"current": self.active, "next": "-"},
                "rusage": {"uptime": int(now - self.started)},
                "replication": delays,
            }
        )


def sweep(request):
    """Delete sweep of releases before 2021-06-28; with nothing stored it is done at once."""
    if request.method == "GET":
        return (
            200,
            json.dumps({kind: {"running": "false"} for kind in ("nnt", "text", "histogram")}),
            "application/json",
        )
    if request.method == "DELETE" and request.headers.get("x-snowth-delete-time", "").isdigit():
        return 200, "[]", "application/json"
    return 400, json.dumps({"error": "X-Snowth-Delete-Time is required"}), "application/json"


def topology_xml(copies, nodes):
    lines = ['<nodes n="%d">\n' % copies]
    for node in nodes:
        side = ' side="%s"' % node["side"] if node["side"] else ""
        lines.append(
            '  <node id="%(id)s" address="%(address)s" apiport="%(apiport)d" port="%(port)d" weight="%(weight)d"' % node
            + side
            + "/>\n"
        )
    return "".join(lines) + "</nodes>\n"


def gossip_xml(rows):
    lines = []
    for row in rows:
        fields = " ".join('%s="%s"' % (key, value) for key, value in row.items() if key != "latency")
        inner = "".join('<node id="%s" diff="%s"/>' % pair for pair in row["latency"].items())
        lines.append("  <node %s><latency>%s</latency></node>\n" % (fields, inner))
    return "<nodes>\n%s</nodes>\n" % "".join(lines)


def options(arguments):
    """Values of -c and -i of a snowthd command line."""
    pairs = dict(zip(arguments, arguments[1:], strict=False))
    return {"conf": pairs.get("-c", CONF), "identity": pairs.get("-i", "")}


def main(arguments=None):
    arguments = sys.argv[1:] if arguments is None else arguments
    chosen = options(arguments)
    log = Snowth(watchdog.Child(), **chosen).log
    return watchdog.run("circonus-snowth", lambda child: Snowth(child, **chosen).work(), log, arguments)
