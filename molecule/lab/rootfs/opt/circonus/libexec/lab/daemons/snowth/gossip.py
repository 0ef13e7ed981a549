"""Gossip: every node sends its own row to every other one, by UDP. The datagrams are this stand-in's own form.

A row says, beside what /gossip/json shows, from when on the node has something undelivered for each peer. From
that, and from the stamps of the sender, a node knows how far it is behind: it has all that a peer had before the
oldest undelivered record, or before the peer's last sign of life. Stamps are of the sender's clock: a wrong one shows.
"""

import json
import socket
import threading

FRESH = 2.0  # gossip of a living node is never older


class Gossip:
    """me(): the own row, peers(): {id: node}; both are asked every time."""

    def __init__(self, host, port, me, peers, faults, now, log):
        self.me, self.peers, self.faults, self.now, self.log = me, peers, faults, now, log
        self.heard = {}  # id: last row of it
        self.lock = threading.Lock()
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind((host, port))

    def start(self):
        threading.Thread(target=self.listen, daemon=True, name="gossip").start()

    def send(self):
        row = self.me()
        data = json.dumps(dict(row, at=self.now()), separators=(",", ":")).encode()
        for ident, node in self.peers().items():
            if ident != row["id"] and not self.faults.names("gossip-lost", ident):
                try:
                    self.udp.sendto(data, (node["address"], node["port"]))
                except OSError as exc:
                    self.log("gossip to %s: %s" % (node["address"], exc), "startuplog")

    def listen(self):
        while True:
            data = self.udp.recv(65536)
            try:
                row = json.loads(data.decode())
                row = dict(row, at=float(row["at"]), id=str(row["id"]), journal=dict(row["journal"]))
            except (ValueError, KeyError, TypeError):
                self.log("gossip that cannot be read: %r" % data[:40])
                continue
            self.take(row)

    def take(self, row):
        if row["id"] in self.peers() and not self.faults.names("gossip-lost", row["id"]):
            with self.lock:
                self.heard[row["id"]] = row

    def rows(self):
        with self.lock:
            return dict(self.heard)

    def outstanding(self, ident, row):
        """Stamp up to which everything of a peer is here."""
        return min(row["at"], row["journal"].get(ident) or row["at"])

    def latency(self, ident):
        """{peer: whole seconds that this node is behind it}; a peer never heard of has no number."""
        now = self.now()
        ages = {peer: now - self.outstanding(ident, row) for peer, row in sorted(self.rows().items())}
        return {peer: "%d" % (0 if age < FRESH else age) for peer, age in ages.items()}

    def synced(self, ident):
        """True when every peer was heard of and those alive have nothing old for this node."""
        rows, now = self.rows(), self.now()
        alive = [row for row in rows.values() if now - row["at"] < FRESH]
        return set(rows) >= set(self.peers()) - {ident} and all(
            now - self.outstanding(ident, row) < FRESH for row in alive
        )

    def alive(self):
        now = self.now()
        return {ident for ident, row in self.rows().items() if now - row["at"] < FRESH}

    def table(self, nodes, row):
        """/gossip/json: a row for each node of a topology; row: the own one."""
        now, heard, table = self.now(), self.rows(), []
        for node in nodes:
            ident = node["id"]
            found = dict(row, at=now) if ident == row["id"] else heard.get(ident)
            at = found["at"] if found else 0.0
            table.append(
                {
                    "id": ident,
                    "gossip_time": "%.6f" % at,
                    "gossip_age": "%.6f" % (now - at),
                    "topo_current": found["current"] if found else "unknown",
                    "topo_next": found["next"] if found else "-",
                    "topo_state": found["state"] if found else "unknown",
                    "latency": found["latency"] if found else {},
                }
            )
        return table


def xml(table):
    lines = []
    for row in table:
        fields = " ".join('%s="%s"' % (key, value) for key, value in row.items() if key != "latency")
        inner = "".join('<node id="%s" diff="%s"/>' % pair for pair in row["latency"].items())
        lines.append("  <node %s><latency>%s</latency></node>\n" % (fields, inner))
    return "<nodes>\n%s</nodes>\n" % "".join(lines)
