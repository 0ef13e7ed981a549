# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Nodes of data_storage that answer by HTTP on loopback, in this process, and misbehave when told to."""
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import json
import socketserver
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

from ansible_collections.circonus.inside.plugins.module_utils import topology


class _Server(socketserver.ThreadingMixIn, HTTPServer):
    daemon_threads = True

    def server_bind(self):
        """Without looking up a name for the address."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address

    def handle_error(self, *unused):
        """A client that left early is no failure of a test."""


class _Pages(BaseHTTPRequestHandler):
    def do_GET(self):
        node = self.server.node
        node.asked.append(self.path)
        if node.mode == "hung" or self.path in node.hung:
            node.over.wait(30)
            return
        if node.mode == "close":
            return
        if node.mode == "garbage":
            self.wfile.write(b"\x00\x01 this is not HTTP\r\n\r\n")
            return
        body = node.cluster.page(node, self.path)
        status = 404 if body is None else 500 if node.mode == "error" else 200
        data = (body or '{"error": "no"}').encode("utf-8")
        if node.mode == "html":
            data = b"<html>starting</html>"
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if node.mode == "half":
            self.wfile.write(data[:len(data) // 2])
            return
        if node.mode == "trickle":
            for at in range(len(data)):
                self.wfile.write(data[at:at + 1])
                self.wfile.flush()
                if node.over.wait(0.05):
                    return
            return
        self.wfile.write(data)

    def log_message(self, *unused):
        pass


class Node:
    def __init__(self, cluster, at):
        self.cluster, self.id = cluster, "a0000000-0000-4000-8000-%012d" % (at + 1)
        self.mode, self.hung, self.asked, self.over = "ok", (), [], threading.Event()
        self.server = _Server(("127.0.0.1", 0), _Pages)
        self.server.node, self.port = self, self.server.server_port
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.daemon = True
        self.thread.start()

    def stop(self):
        """Close the port: connections are refused from now on."""
        if self.server:
            self.over.set()
            self.server.shutdown()
            self.server.server_close()
            self.thread.join()
            self.server = None


class Nodes:
    """A cluster. ``lag[(node, peer)]``: seconds, by position; ``old``: pages and spellings of 2019."""

    def __init__(self, number=3, copies=2, old=False):
        self.old, self.lag, self.rebuilding, self.changes = old, {}, False, {}
        self.nodes = [Node(self, at) for at in range(number)]
        self.topology = topology.make([{"id": node.id, "address": "127.0.0.1", "port": node.port, "apiport": node.port,
                                        "weight": 20} for node in self.nodes], copies)
        self.digest = topology.digest(self.topology)

    def host(self, at):
        return "127.0.0.1:%d" % self.nodes[at].port

    def close(self):
        for node in self.nodes:
            node.stop()

    def page(self, node, path):
        """Body of a page, None for 404."""
        if (node.id, path) in self.changes:
            return self.changes[node.id, path]
        if path == "/state":
            store = {"rollup_60": {"fs": {"id": 1, "totalMb": 1000, "availMb": 400}}}
            state = {"identity": node.id, "current": self.digest, "next": "-", "rollups": [60], "max_peer_lag": 0,
                     "version": "v1/2", "application": "snowth", "nnt" if self.old else "nntbs": store}
            return json.dumps(state)
        if path == "/stats.json":
            stats = {"identity": {"_type": "s", "_value": node.id}, "semver": {"_type": "s", "_value": "0.19.3"}}
            if self.rebuilding:
                stats["reconstitute"] = {"nnt": {"_type": "n", "_value": 12.5}}
            return json.dumps(stats)
        if path == "/gossip/json":
            return json.dumps([self._row(at) for at in range(len(self.nodes))])
        if path == "/rebalance/state":
            return json.dumps({"current": self.digest, "next": "-", "state": "TOPO_REBALANCE_IDLE"})
        if path == "/topology/json/" + self.digest:
            return None if self.old else json.dumps([dict(one._asdict(), n=self.topology.write_copies, side="both")
                                                     for one in self.topology.nodes])
        if path == "/topology/xml/" + self.digest:
            return topology.write_xml(self.topology, "n")
        if path == "/reconstitute_state" and not self.old:
            return json.dumps({"in_progress": self.rebuilding})
        if path == "/sweep_delete" and self.old:
            return '{"nnt": {"running": "false"}, "text": {"running": "false",}}'
        return None

    def _row(self, at):
        kind = float if self.old else str
        return {"id": self.nodes[at].id, "gossip_time": kind(time.time()), "gossip_age": kind(0.25),
                "topo_current": self.digest, "topo_next": "-", "topo_state": "n/a",
                "latency": {peer.id: kind(self.lag.get((at, to), 0)) for to, peer in enumerate(self.nodes) if to != at}}
