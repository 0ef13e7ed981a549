"""circonus-stratcon: watchdog and child; pulls the journals of its brokers, twice each, and feeds the firehose.

Two connections to a broker: transient/iep goes into FQ, durable/storage is counted. A broker that goes away is seen at
once when its connection closes, and after a minute of silence when it only hangs.
"""

import json
import os
import socket
import struct
import sys
import threading
import time

from daemons import console, fq, net, watchdog
from daemons.base import CONFIG, write_log
from daemons.noitd import FEED, HEADER, TEMP_FEED, clock

ETC = "/opt/noit/prod/etc"
CRL = "/opt/noit/web/stratcon/pki/ca.crl"
NOITS = "/opt/circonus/var/stratcon/noits.json"
PORT, CONSOLE = 43191, 32324
TIMEOUT = 60.0
RETRY = (1.0, 15.0)
TYPES = {TEMP_FEED: "transient/iep", FEED: "durable/storage"}
WAITING = "waiting for next batch"


class Feed:
    """One connection to a broker; a thread of its own keeps it up until the feed is dropped."""

    def __init__(self, owner, remote, command):
        self.owner, self.remote, self.command = owner, remote, command
        self.type = TYPES[command]
        self.status, self.state = "disconnected", "disconnected"
        self.last_connect = self.last_event = self.next_attempt = self.deadline = 0.0
        self.local = self.cn = ""
        self.point = (0, 0)
        self.events = self.octets = 0
        self.dropped = False
        self.sock = None
        threading.Thread(target=self.work, daemon=True).start()

    def work(self):
        pause = RETRY[0]
        while not self.dropped:
            try:
                self.session()
                pause = RETRY[0]
            except (OSError, net.Closed, ValueError) as exc:
                if self.events:
                    pause = RETRY[0]
                self.owner.log("%s [%s]: %s" % (self.remote, self.type, str(exc) or repr(exc)))
            if self.sock is not None:
                self.sock.close()
            self.status = self.state = "disconnected"
            self.next_attempt = time.time() + pause
            while not self.dropped and time.time() < self.next_attempt:
                time.sleep(0.1)
            pause = min(pause * 2, RETRY[1])

    def session(self):
        host, _, port = self.remote.rpartition(":")
        self.status = "connecting"
        self.events = self.octets = 0
        self.touch()
        tls = self.owner.tls()
        self.sock = socket.create_connection((host, int(port)), TIMEOUT)
        self.last_connect = time.time()
        self.local = "%s:%d" % self.sock.getsockname()[:2]
        self.sock = tls.wrap_socket(self.sock)
        self.cn = net.common_name(self.sock)
        stream = net.Stream(self.sock)
        self.sock.sendall(struct.pack(">I", self.command))
        self.status, self.state = "connected", WAITING
        while not self.dropped:
            self.batch(stream)

    def touch(self):
        self.deadline = time.time() + TIMEOUT

    def batch(self, stream):
        self.touch()
        count = struct.unpack(">I", stream.exactly(4))[0]
        self.touch()
        if not count:
            return
        self.state = "reading message"
        for _number in range(count):
            log, marker, seconds, micro, length = HEADER.unpack(stream.exactly(HEADER.size))
            payload = stream.exactly(length)
            self.point = (log, marker)
            self.last_event = seconds + micro / 1e6
            self.events += 1
            self.octets += length
            self.owner.event(self.command, payload)
        self.sock.sendall(struct.pack(">II", *self.point))
        self.state = WAITING

    def drop(self):
        self.dropped = True
        if self.sock is not None:
            try:
                self.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    # -- how it is shown ----------------------------------------------------------------------------------------
    def text(self):
        now = time.time()
        when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(self.last_connect)) if self.last_connect else "never"
        lines = ["%s [%s]:" % (self.remote, self.status), "\tLast connect: " + when]
        if self.status == "disconnected":
            lines += ["\tJLog event streamer [%s]" % self.type]
            lines += ["\tNext attempt in %.6fs" % max(0.0, self.next_attempt - now)]
        elif self.status == "connecting":
            lines += ["\tJLog event streamer [%s]" % self.type]
            lines += ["\tTimeout scheduled for %.6fs" % max(0.0, self.deadline - now)]
        else:
            session = max(now - self.last_connect, 0.001)
            lines += [
                "\tLocal address is " + self.local,
                "\tJLog event streamer [%s]" % self.type,
                "\tTimeout scheduled for %.6fs" % max(0.0, self.deadline - now),
                "\tRemote CN: '%s'" % self.cn,
                "\tState: " + self.state,
                "\tNext checkpoint: [%08x:%08x]" % self.point,
                "\tLast event: %.6fs ago" % (now - self.last_event),
                "\tEvents this session: %d (%.2f/s)" % (self.events, self.events / session),
                "\tOctets this session: %d (%.2f/s)" % (self.octets, self.octets / session),
            ]
        return "\n".join(lines) + "\n"

    def node(self):
        """Entry of /noits/show.json: every value is a string."""
        now = time.time()
        if self.status != "connected":
            return {
                "last_connect": "%.6f" % self.last_connect,
                "state": "disconnected",
                "remote": self.remote,
                "type": self.type,
                "next_attempt": "%.6f" % max(0.0, self.next_attempt - now),
            }
        return {
            "last_connect": "%.6f" % self.last_connect,
            "local": self.local,
            "remote": self.remote,
            "type": self.type,
            "remote_cn": self.cn,
            "state": self.state,
            "checkpoint": "%08x:%08x" % self.point,
            "session_events": str(self.events),
            "session_bytes": str(self.octets),
            "session_duration": "%.6f" % (now - self.last_connect),
            "last_event": "%.6f" % self.last_event,
            "last_event_age": "%.6f" % (now - self.last_event),
        }


class Stratcon:
    def __init__(self, child, etc=ETC, crl=CRL, noits=NOITS, config=CONFIG, port=PORT, console_port=CONSOLE):
        self.child, self.etc, self.crl, self.noits_file, self.config_file = child, etc, crl, noits, config
        self.port, self.console_port = port, console_port
        self.started = time.time()
        self.feeds = []
        self.lock = threading.RLock()
        self.publisher = None
        self.queue_broken = None
        self.tried = 0.0
        self.concurrency = 50
        self.counters = {"iep": 0, "iep_lost": 0, "storage": 0}

    def log(self, text, name="stratcon.log"):
        write_log(name, "[%s] %s" % (clock(time.time()), text))

    def access(self, request, status, size, seconds):
        self.log(
            '%s %s "%s %s" %d %d %.3f'
            % (request.peer, request.cn or "-", request.method, request.path, status, size, seconds),
            "stratcon-access.log",
        )

    # -- start and main loop ------------------------------------------------------------------------------------
    def work(self):
        self.start()
        self.child.ready()
        told = time.monotonic()
        while True:
            self.child.beat()
            self.keep_queue()
            if time.monotonic() - told >= 60:
                told = time.monotonic()
                self.log("put %d messages since start" % self.counters["storage"], "stratcon_raw_ingestor.log")
            time.sleep(watchdog.BEAT)

    def start(self):
        with open(self.config_file, encoding="utf-8") as handle:
            self.config = json.load(handle)
        self.log("process starting: %d (lab stand-in)" % os.getpid())
        stem = os.path.join(self.etc, "stratcon")
        try:
            tls = net.server_tls(stem + ".crt", stem + ".key", os.path.join(self.etc, "ca.crt"))
        except OSError as exc:
            watchdog.die(self.log, "TLS: %s: %s" % (stem, exc))
        try:
            self.listener = net.http_listener(self.port, self.respond, tls=tls, note=self.access)
            tree = {"show": self.show(), "mtev": {"jobq": self.set_jobq}, **self.child.commands()}
            net.Listener(
                self.console_port, lambda stream, _peer, _cn: console.serve(stream, "stratcon# ", tree), "127.0.0.1"
            )
        except OSError as exc:
            watchdog.die(self.log, "cannot listen on %d or %d: %s" % (self.port, self.console_port, exc))
        self.keep_queue()
        for remote in self.known():
            self.add(remote)

    def tls(self):
        """Read anew for every connection: the revocation list is renewed on disk."""
        stem = os.path.join(self.etc, "stratcon")
        return net.client_tls(stem + ".crt", stem + ".key", os.path.join(self.etc, "ca.crt"), self.crl)

    # -- brokers ------------------------------------------------------------------------------------------------
    def known(self):
        try:
            with open(self.noits_file, encoding="utf-8") as handle:
                return json.load(handle)
        except FileNotFoundError:
            return []

    def remember(self):
        remotes = sorted({feed.remote for feed in self.feeds})
        with open(self.noits_file + ".new", "w", encoding="utf-8") as handle:
            json.dump(remotes, handle)
        os.replace(self.noits_file + ".new", self.noits_file)

    def add(self, remote):
        with self.lock:
            if any(feed.remote == remote for feed in self.feeds):
                return
            self.feeds += [Feed(self, remote, command) for command in (TEMP_FEED, FEED)]
            self.feeds.sort(key=lambda feed: (feed.remote, feed.command))

    def remove(self, remote):
        with self.lock:
            for feed in [feed for feed in self.feeds if feed.remote == remote]:
                feed.drop()
                self.feeds.remove(feed)

    # -- the firehose -------------------------------------------------------------------------------------------
    def keep_queue(self):
        """A publisher on the first mq host that answers. The 2019 edition's one has to be restarted after a loss."""
        if self.publisher is not None:
            try:
                self.publisher.heartbeat()
                return
            except (OSError, net.Closed) as exc:
                self.lose_queue(exc)
        if self.queue_broken and self.config.get("edition") == "2019" or time.monotonic() - self.tried < 5:
            return
        self.tried = time.monotonic()
        for host in self.config["mq"]["hosts"]:
            try:
                self.publisher = fq.Client(host, "stratcon")
                self.queue_broken = None
                self.log("publishing to fqd on %s" % host)
                return
            except (OSError, net.Closed) as exc:
                self.log("fqd on %s: %s" % (host, exc))

    def lose_queue(self, exc):
        self.queue_broken = str(exc) or repr(exc)
        self.log("EXCEPTION fqd: %s" % self.queue_broken)
        self.publisher.close()
        self.publisher = None

    def event(self, command, payload):
        if command == FEED:
            self.counters["storage"] += 1
            return
        publisher = self.publisher
        try:
            if publisher is None:
                raise net.Closed("no fqd")
            publisher.publish("check.1.1.1." + payload.decode(errors="replace").split("\t")[2], payload)
            self.counters["iep"] += 1
        except (OSError, net.Closed, IndexError):
            self.counters["iep_lost"] += 1

    # -- REST ---------------------------------------------------------------------------------------------------
    def respond(self, request):
        kind, path = "application/json", request.path
        with self.lock:
            feeds = list(self.feeds)
        if path.startswith("/noits/set/") and request.method == "PUT":
            self.add(path.rpartition("/")[2])
            self.remember()
            return 200, "", kind
        if path.startswith("/noits/delete/") and request.method == "DELETE":
            self.remove(path.rpartition("/")[2])
            self.remember()
            return 200, "", kind
        if path == "/noits/show.json":
            return 200, net.json_c({"nodes": [feed.node() for feed in feeds]}) + "\n", kind
        if path == "/noits/show":
            return 200, noits_xml([feed.node() for feed in feeds]), "text/xml"
        if path == "/mtev/stats.json":
            connected = sum(feed.status == "connected" for feed in feeds)
            stats = {"mtev": {"uptime": int(time.time() - self.started)}}
            stats["stratcon"] = {"feed": dict(self.counters, connected=connected, known=len(feeds))}
            return 200, json.dumps(net.leaves(stats), separators=(",", ":")), kind
        if path == "/capa.json":
            return 200, net.json_c({"version": "lab stand-in", "now": time.time()}) + "\n", kind
        return 404, "", "text/plain"

    # -- console ------------------------------------------------------------------------------------------------
    def show(self):
        return {
            "eventer": {"debug": {"jobq": self.show_jobq}},
            "noits": lambda _words: "".join(feed.text() for feed in list(self.feeds)),
            "version": lambda _words: console.version("stratcon"),
        }

    def show_jobq(self, words):
        blocks = {
            "iep_submitter": (self.counters["iep"], "1/1"),
            "raw_ingestor_put": (self.counters["storage"], "0/%d" % self.concurrency),
            "stratcon_datastore_push_jobq": (self.counters["storage"], "0/32"),
            "default_queue": (0, "0/4"),
        }
        return "".join(
            console.jobq(name, total, concurrency=slots)
            for name, (total, slots) in blocks.items()
            if not words or name in words
        )

    def set_jobq(self, words):
        """mtev jobq raw_ingestor_put concurrency <n>"""
        if len(words) != 3 or words[:2] != ["raw_ingestor_put", "concurrency"] or not words[2].isdigit():
            return "incomplete command.\n"
        self.concurrency = int(words[2])
        return ""


def noits_xml(nodes):
    lines = ["  <noit %s/>\n" % " ".join('%s="%s"' % pair for pair in node.items()) for node in nodes]
    return '<?xml version="1.0" encoding="utf8"?>\n<noits>\n%s</noits>\n' % "".join(lines)


def main(arguments=None):
    arguments = sys.argv[1:] if arguments is None else arguments
    log = Stratcon(watchdog.Child()).log
    return watchdog.run("circonus-stratcon", lambda child: Stratcon(child).work(), log, arguments)
