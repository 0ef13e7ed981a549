"""fqd of role mq: the firehose. Exchanges, queues with limits and counters that count; /stats.json byte for byte.

Permanent queues and bindings are kept in fqd.sqlite; everything else starts at zero with the process.
"""

import collections
import os
import threading

from daemons import fq
from daemons.base import Plain
from daemons.net import Closed, Listener, answer, read_request

DATABASE = "/opt/circonus/var/lib/fq/fqd.sqlite"
VERSION = "0.13.12"
CLIENT_KEYS = ("no_exchange", "no_route", "routed", "dropped", "size_dropped", "msgs_in", "msgs_out")
CLIENT_KEYS += ("octets_in", "octets_out")
SCHEMA = """
CREATE TABLE IF NOT EXISTS queue (name TEXT NOT NULL PRIMARY KEY, type TEXT NOT NULL, attributes TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS binding (exchange TEXT NOT NULL, queue TEXT NOT NULL, program TEXT NOT NULL,
  PRIMARY KEY (exchange, queue, program));
"""
PAGE = """<!DOCTYPE html>
<html><head><title>fq (lab stand-in)</title></head>
<body><h1>FQ</h1><p>What this stand-in would show is in <a href="/stats.json">/stats.json</a>.</p></body>
</html>
"""


class Queue:
    def __init__(self, name, kind="mem:drop"):
        self.name = name
        options = kind.replace(":", ",").split(",")
        self.type = options[0] if options[0] in ("mem", "disk") else "mem"
        self.policy = "block" if "block" in options else "drop"
        self.private = "public" not in options
        self.permanent = "permanent" in options
        limits = [word.partition("=")[2] for word in options if word.startswith("backlog=")]
        self.limit = int(limits[0]) if limits and limits[0].isdigit() else 16384
        self.kind = kind
        self.messages = collections.deque()
        self.changed = threading.Condition()
        self.dropped = 0
        self.clients = []

    def put(self, message):
        """False when the message was dropped."""
        with self.changed:
            while self.policy == "block" and self.clients and len(self.messages) >= self.limit:
                self.changed.wait(1.0)
            if len(self.messages) >= self.limit:
                self.dropped += 1
                return False
            self.messages.append(message)
            self.changed.notify_all()
            return True

    def get(self, alive):
        with self.changed:
            while not self.messages:
                if not alive():
                    return None
                self.changed.wait(1.0)
            message = self.messages.popleft()
            self.changed.notify_all()
            return message


class Client:
    """One logged-in client; counters are numbers here and strings in the answer."""

    def __init__(self, user, queue, peer):
        self.user, self.queue, self.peer = user, queue, peer
        self.alive, self.data = True, False
        self.counters = dict.fromkeys(CLIENT_KEYS, 0)


class Route:
    def __init__(self, number, queue, program, permanent):
        self.number, self.queue, self.program, self.permanent = number, queue, program, permanent
        self.prefix = program.partition(":")[2].strip('"') if program.startswith("prefix:") else ""
        self.invocations = 0


class Exchange:
    def __init__(self):
        self.counters = dict.fromkeys(("messages", "octets", "no_route", "routed", "dropped"), 0)
        self.routes = {}


class Fqd(Plain):
    name = "fq"

    def __init__(self, database=DATABASE, port=fq.PORT):
        super().__init__()
        self.database, self.port = database, port
        self.exchanges, self.queues, self.keys = {}, {}, {}
        self.total = dict.fromkeys(
            ("no_exchange", "messages", "octets", "no_route", "routed", "dropped", "size_dropped"), 0
        )
        self.lock = threading.RLock()
        self.numbers = 0

    # -- what is kept -------------------------------------------------------------------------------------------
    def store(self, statement=None, values=()):
        """Run one statement on fqd.sqlite; rows."""
        import sqlite3

        connection = sqlite3.connect(self.database)
        try:
            with connection:
                connection.executescript(SCHEMA)
                return list(connection.execute(statement, values)) if statement else []
        finally:
            connection.close()

    def load(self):
        os.makedirs(os.path.dirname(self.database), exist_ok=True)
        for name, kind in self.store("SELECT name, type || ':' || attributes FROM queue"):
            self.queues[name] = Queue(name, kind)
        for exchange, queue, program in self.store("SELECT exchange, queue, program FROM binding"):
            if queue in self.queues:
                self.bind(self.queues[queue], exchange, program, True)

    # -- messages -----------------------------------------------------------------------------------------------
    def queue(self, name, kind):
        with self.lock:
            if name not in self.queues:
                self.queues[name] = Queue(name, kind)
                if self.queues[name].permanent:
                    head, _, rest = kind.partition(":")
                    self.store("INSERT OR REPLACE INTO queue VALUES (?, ?, ?)", (name, head, rest))
            return self.queues[name]

    def bind(self, queue, exchange, program, permanent):
        with self.lock:
            routes = self.exchanges.setdefault(exchange, Exchange()).routes
            for route in routes.values():
                if route.queue is queue and route.program == program:
                    return route.number
            self.numbers += 1
            routes[self.numbers] = Route(self.numbers, queue, program, permanent)
            return self.numbers

    def submit(self, route, exchange, payload, counters=None, message=b""):
        """Hand one message to every queue whose program wants it."""
        counters = counters if counters is not None else dict.fromkeys(CLIENT_KEYS, 0)
        counters["msgs_in"] += 1
        counters["octets_in"] += len(message) or len(payload)
        size = len(payload)
        with self.lock:
            found = self.exchanges.get(exchange)
            tables = (self.total, found.counters) if found else (self.total,)
            for table in tables:
                table["messages"] += 1
                table["octets"] += size
            wanted = [entry for entry in found.routes.values() if route.startswith(entry.prefix)] if found else []
            if not wanted:
                for table in (*tables, counters):
                    table["no_route"] += 1
                if not found:
                    self.total["no_exchange"] += 1
                    counters["no_exchange"] += 1
                return 0
        for entry in wanted:
            entry.invocations += 1
            taken = entry.queue.put(message)
            with self.lock:
                for table in (*tables, counters):
                    table["routed"] += 1
                    if not taken:
                        table["dropped"] += 1
        return len(wanted)

    # -- connections --------------------------------------------------------------------------------------------
    def connection(self, stream, peer, _cn):
        mode = int.from_bytes(stream.peek(4), "big")
        if mode == fq.CMD_MODE:
            stream.exactly(4)
            self.command(stream, peer)
        elif mode == fq.DATA_MODE:
            stream.exactly(4)
            self.data(stream)
        else:
            self.http(stream, peer)

    def command(self, stream, peer):
        stream.sock.settimeout(None)
        if (fq.read_u16(stream), fq.read_u16(stream)) != (fq.AUTH_CMD, fq.AUTH_PLAIN):
            stream.sock.sendall(fq.u16(fq.ERROR) + fq.short("unsupported auth method"))
            return
        user, composed, _password = fq.read_short(stream), fq.read_short(stream), fq.read_short(stream)
        name, _, kind = composed.decode(errors="replace").partition("\0")
        queue = self.queue(name, kind or "mem:drop")
        client, key = Client(user.decode(errors="replace"), queue, peer), os.urandom(127)
        with self.lock:
            queue.clients.append(client)
            self.keys[key] = client
        try:
            stream.sock.sendall(fq.u16(fq.AUTH_RESP) + fq.short(key))
            while True:
                self.one_command(stream, client)
        finally:
            self.leave(client, key)

    def one_command(self, stream, client):
        kind = fq.read_u16(stream)
        if kind == fq.HB:
            stream.sock.sendall(fq.u16(fq.HB))
        elif kind == fq.HBREQ:
            fq.read_u16(stream)  # milliseconds between heartbeats; ours are answers only
        elif kind == fq.BINDREQ:
            flags, exchange, program = fq.read_u16(stream), fq.read_short(stream), fq.read_short(stream)
            permanent = flags & fq.BIND_PERM == fq.BIND_PERM and client.queue.permanent
            names = exchange.decode(errors="replace"), program.decode(errors="replace")
            number = self.bind(client.queue, *names, permanent)
            if permanent:
                self.store("INSERT OR REPLACE INTO binding VALUES (?, ?, ?)", (names[0], client.queue.name, names[1]))
            stream.sock.sendall(fq.u16(fq.BIND) + number.to_bytes(4, "big"))
        else:
            raise Closed("unknown command 0x%04x" % kind)

    def leave(self, client, key):
        """A client is gone; so are its queue and routes, unless they are permanent or somebody else's too."""
        with self.lock:
            client.alive = False
            self.keys.pop(key, None)
            queue = client.queue
            queue.clients.remove(client)
            if queue.clients or queue.permanent:
                return
            self.queues.pop(queue.name, None)
            for exchange in self.exchanges.values():
                for number in [number for number, route in exchange.routes.items() if route.queue is queue]:
                    del exchange.routes[number]

    def data(self, stream):
        stream.sock.settimeout(None)
        client = self.keys.get(fq.read_short(stream))
        if client is None:
            return
        client.data = True
        threading.Thread(target=self.deliver, args=(stream.sock, client), daemon=True).start()
        while True:
            route, exchange, ident, payload = fq.read_published(stream)
            text = exchange.decode(errors="replace")
            with self.lock:
                self.exchanges.setdefault(text, Exchange())
            message = fq.delivered(route, exchange, ident, client.user, payload)
            self.submit(route.decode(errors="replace"), text, payload, client.counters, message)

    def deliver(self, sock, client):
        try:
            while client.alive:
                message = client.queue.get(lambda: client.alive)
                if message is None:
                    return
                sock.sendall(message)
                client.counters["msgs_out"] += 1
                client.counters["octets_out"] += len(message)
        except OSError:
            client.alive = False

    def http(self, stream, peer):
        """HTTP/1.0, one request a connection."""
        request, _keep = read_request(stream, "", peer)
        kind, reason, status = "text/html", None, 200
        if request.path == "/stats.json" and request.method == "GET":
            content, kind = self.stats(), "application/json"
        elif request.path == "/" and request.method == "GET":
            content = PAGE
        elif request.path == "/submit" and request.method == "POST":
            names = [request.headers.get("x-fq-" + key, "") for key in ("route", "exchange")]
            sender = request.headers.get("x-fq-user", "web")
            message = fq.delivered(names[0], names[1], os.urandom(16), sender, request.body)
            routed = self.submit(names[0], names[1], request.body, None, message)
            content, kind = '{ "routed": %d }' % routed, "application/json"
        else:
            content, status, reason = "", 404, "OK"  # so says the real one
        stream.sock.sendall(answer(status, content, kind, "HTTP/1.0", reason=reason))

    # -- /stats.json --------------------------------------------------------------------------------------------
    def stats(self):
        with self.lock:
            exchanges = "".join(exchange_text(name, entry) for name, entry in self.exchanges.items())
            queues = ",\n".join(queue_text(queue) for queue in self.queues.values())
        return '{\n "version": "%s",\n "exchanges": {\n%s  "_aggregate": {\n%s\n  }\n },\n "queues": {\n%s }\n}\n' % (
            VERSION,
            exchanges,
            number_lines(self.total, "   "),
            queues,
        )

    def start(self):
        self.load()
        self.listener = Listener(self.port, self.connection)
        self.log("started (lab stand-in), listening on %d" % self.listener.port)


def number_lines(table, indent):
    return ",\n".join('%s"%s": %d' % (indent, key, value) for key, value in table.items())


def quoted(text):
    return text.replace("\\", "\\\\").replace('"', '\\"')


def exchange_text(name, entry):
    routes = "\n   ,".join(
        '"%d": {\n     "route_id": %d,\n     "prefix": "%s",\n     "queue": "%s",\n     "permanent": %s,\n'
        '     "invocations": %d,\n     "avg_ns": 0,\n     "program": "%s"\n    }'
        % (
            number,
            number,
            quoted(route.prefix),
            quoted(route.queue.name),
            "true" if route.permanent else "false",
            route.invocations,
            quoted(route.program),
        )
        for number, route in sorted(entry.routes.items(), reverse=True)
    )
    routes = "    " + routes + "\n" if routes else ""
    counters = number_lines(entry.counters, "   ")
    return '  "%s": {\n%s,\n   "routes": {\n%s   }\n  },\n' % (quoted(name), counters, routes)


def queue_text(queue):
    clients = ",".join(client_text(client) for client in list(queue.clients))
    return (
        '  "%s": \n{\n  "private": %s,\n  "type": "%s",\n  "policy": "%s",\n  "backlog_limit": %d,\n  "backlog": %d,\n'
        '  "dropped_to": %d,\n  "refcnt": %d,\n  "clients": [%s]\n}'
        % (
            quoted(queue.name),
            "true" if queue.private else "false",
            queue.type,
            queue.policy,
            queue.limit,
            len(queue.messages),
            queue.dropped,
            3 + len(queue.clients),
            clients,
        )
    )


def client_text(client):
    address, _, port = client.peer.rpartition(":")
    lines = ['"user": "%s"' % quoted(client.user), '"remote_addr": "%s"' % address, '"remote_port": "%s"' % port]
    if client.data:
        lines.append('"mode": "client"')
        lines += ['"%s": "%d"' % pair for pair in client.counters.items()]
    return "    {\n    " + "\n   ,".join(lines) + "\n    }\n"
