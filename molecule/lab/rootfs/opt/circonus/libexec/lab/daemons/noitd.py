"""noitd of a broker: watchdog and child, console on 32322, TLS on 43191 (REST and journal feeds), a journal on disk.

It runs one check, its own selfcheck, and manages jezebel. Its journal is noitd.feed in JLog's format; a durable
subscriber is the name in the certificate of the one who connects, a transient feed gets a name that starts with ~.
"""

import os
import struct
import subprocess
import sys
import threading
import time

from daemons import console, jlog, net, watchdog
from daemons.base import write_log

HOME = "/opt/noit/prod"
SSL = "/opt/napp/etc/ssl"
FEED, TEMP_FEED = 0xDA7AFEED, 0x7E66FEED
UUID = "f7cea020-f19d-11dd-85a6-cb6d3a2207da"
PERIOD = 5.0
INPUTS = (80, 443, 2003, 2443)  # what checks receive by themselves: traps and Graphite
UDP = (67, 68, 8125, 25826)
JEZEBEL_PORT = 8083
HEADER = struct.Struct(">IIIII")


class Noitd:
    def __init__(self, child, home=HOME, ssl=SSL, port=43191, console_port=32322, inputs=INPUTS, udp=UDP):
        self.child, self.home, self.ssl = child, home, ssl
        self.port, self.console_port, self.inputs, self.udp = port, console_port, inputs, udp
        self.feed = os.path.join(home, "log", "noitd.feed")
        self.started = time.time()
        self.runs = self.metrics = self.bytes = 0
        self.last_run = self.started
        self.current, self.previous = [], []
        self.feeds = {}  # subscriber: [connections, last connection, last checkpoint]
        self.serial = 0
        self.lock = threading.Lock()
        self.jezebel = None

    # -- log ----------------------------------------------------------------------------------------------------
    def log(self, text):
        write_log("noitd.log", "[%s] %s" % (clock(time.time()), text), os.path.join(self.home, "log"))

    def access(self, request, status, size, seconds):
        line = '%s %s [%s] "%s %s" %d %d %.3f' % (
            request.peer.rpartition(":")[0],
            request.cn or "-",
            clock(time.time()),
            request.method,
            request.path,
            status,
            size,
            seconds,
        )
        write_log("access.log", line, os.path.join(self.home, "log"))

    # -- start and main loop ------------------------------------------------------------------------------------
    def work(self):
        self.start()
        self.child.ready()
        due = 0.0
        while True:
            self.child.beat()
            if time.monotonic() >= due:
                due = time.monotonic() + PERIOD
                self.selfcheck()
                self.keep_jezebel()
            time.sleep(watchdog.BEAT)

    def start(self):
        try:
            self.journal = jlog.Writer(self.feed)
        except jlog.Damaged as exc:
            watchdog.die(self.log, str(exc))
        self.log("process starting: %d (lab stand-in)" % os.getpid())
        try:
            stem = os.path.join(self.ssl, "appliance")
            tls = net.server_tls(stem + ".crt", stem + ".key", os.path.join(self.ssl, "ca.crt"))
        except OSError as exc:
            watchdog.die(self.log, "TLS: %s: %s" % (stem, exc))
        self.listen(self.port, self.connection, tls=tls)
        tree = {"show": self.show(), **self.child.commands()}
        self.listen(
            self.console_port, lambda stream, _peer, _cn: console.serve(stream, "noit# ", tree), host="127.0.0.1"
        )
        for port in self.inputs:
            self.listen(port, self.trap, tls=tls_without_client(stem) if port in (443, 2443) else None)
        for port in self.udp:
            threading.Thread(target=self.datagrams, args=(port,), daemon=True).start()

    def listen(self, port, handle, **options):
        try:
            net.Listener(port, handle, **options)
        except OSError as exc:
            if port in (self.port, self.console_port):
                watchdog.die(self.log, "cannot listen on %d: %s" % (port, exc))
            self.log("cannot listen on %d: %s" % (port, exc))

    def trap(self, stream, peer, cn):
        """What other programs send in; the lab has no check that would take it."""
        stream.peek(1)
        if stream.peek(1).isalpha() and self.inputs:
            net.serve_http(stream, lambda _request: (404, "no such check\n", "text/plain"), cn, peer, self.access)

    def datagrams(self, port):
        import socket

        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            sock.bind(("0.0.0.0", port))
            while True:
                sock.recv(65536)
        except OSError as exc:
            self.log("udp %d: %s" % (port, exc))

    def keep_jezebel(self):
        """jezebel is a process of noitd: it ends when noitd's end of its input closes."""
        program = os.path.join(self.home, "bin", "jezebel")
        if (self.jezebel is None or self.jezebel.poll() is not None) and os.path.exists(program):
            if self.jezebel is not None:
                self.log("jezebel ended with %s" % self.jezebel.returncode)
            self.jezebel = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
            self.log("started jezebel, process %d" % self.jezebel.pid)

    # -- the selfcheck and the journal --------------------------------------------------------------------------
    def selfcheck(self):
        with self.lock:
            now = time.time()
            self.runs += 1
            values = [
                ("check_cnt", "i", 1),
                ("checks_run", "L", self.runs),
                ("feed_bytes", "l", self.bytes),
            ]
            for name, (connections, connected, pointed) in sorted(self.feeds.items()):
                values += [
                    ("feed`%s`connections_established" % name, "I", connections),
                    ("feed`%s`last_checkpoint_ms" % name, "L", int((now - pointed) * 1000)),
                    ("feed`%s`last_connection_ms" % name, "L", int((now - connected) * 1000)),
                ]
            values += [("metrics_collected", "L", self.metrics), ("transient_cnt", "i", 0)]
            values += [("uptime", "l", int(now - self.started)), ("version", "s", "lab stand-in")]
            self.previous, self.current, self.last_run = self.current, values, now
            self.metrics += len(values)
        moment = "%.3f" % now
        self.write("S\t%s\t%s\tG\tA\t0\tok" % (moment, UUID))
        for name, kind, value in values:
            self.write("M\t%s\t%s\t%s\t%s\t%s" % (moment, UUID, name, kind, value))
        self.journal.clean()

    def write(self, line):
        data = (line + "\n").encode()
        self.bytes += len(data)
        self.journal.write(data)

    # -- 43191 --------------------------------------------------------------------------------------------------
    def connection(self, stream, peer, cn):
        kind = int.from_bytes(stream.peek(4), "big")
        if kind in (FEED, TEMP_FEED):
            stream.exactly(4)
            self.stream_journal(stream, peer, cn, kind == TEMP_FEED)
        else:
            net.serve_http(stream, self.respond, cn, peer, self.access)

    def stream_journal(self, stream, peer, cn, transient):
        """A subscriber: batches (count, then header and message each), and its checkpoint after every batch."""
        with self.lock:
            name = self.transient_name() if transient else cn
            shown = "~" if transient else cn
            known = self.feeds.setdefault(shown, [0, 0.0, time.time()])
            known[0] += 1
            known[1] = time.time()
        self.log("feed of %s (%s) as %s" % (cn, peer, name))
        try:
            reader = jlog.Reader(self.feed, name, create_at_end=transient)
            while True:
                batch = reader.read()
                stream.sock.sendall(struct.pack(">I", len(batch)))
                for (log, marker), seconds, micro, payload in batch:
                    stream.sock.sendall(HEADER.pack(log, marker, seconds, micro, len(payload)) + payload)
                if batch:
                    reader.set(*struct.unpack(">II", stream.exactly(8)))
                    known[2] = time.time()
                else:
                    time.sleep(1.0)
        except jlog.Damaged as exc:
            self.log("feed of %s: %s" % (cn, exc))
        finally:
            with self.lock:
                known[0] -= 1
            if transient and os.path.exists(reader.file):
                os.unlink(reader.file)

    def transient_name(self):
        """A name that no feed has had: checkpoints of transient feeds survive a kill."""
        while True:
            self.serial += 1
            name = "~%d" % self.serial
            if not os.path.exists(os.path.join(self.feed, jlog.checkpoint_name(name))):
                return name

    def respond(self, request):
        path = request.path
        if path in ("/checks/show.json", "/checks/show/%s.json" % UUID):
            check = self.check_json()
            return 200, net.json_c({UUID: check} if path == "/checks/show.json" else check) + "\n", "application/json"
        if path in ("/capa.json", "/mtev/stats.json"):
            facts = {"version": "lab stand-in", "now": time.time(), "uptime": int(time.time() - self.started)}
            found = {"mtev": net.leaves({"uptime": facts["uptime"]}), "noit": net.leaves({"checks_run": self.runs})}
            return 200, net.json_c(facts if path == "/capa.json" else found) + "\n", "application/json"
        return 404, "", "text/plain"

    def check_json(self):
        def table(values):
            return {name: {"_type": kind, "_value": str(value)} for name, kind, value in values}

        return {
            "id": UUID,
            "seq": "0",
            "flags": 0,
            "name": "selfcheck",
            "module": "selfcheck",
            "target": "127.0.0.1",
            "target_ip": "127.0.0.1",
            "filterset": "default",
            "period": 5000,
            "timeout": 4000,
            "active_on_cluster_node": True,
            "last_run": int(self.last_run * 1000),
            "next_run": int((self.last_run + PERIOD) * 1000),
            "config": {},
            "status": {"available": True, "good": True},
            "metrics": {
                "current": table(self.current),
                "current_timestamp": str(int(self.last_run * 1000)),
                "previous": table(self.previous),
                "previous_timestamp": str(int((self.last_run - PERIOD) * 1000)),
            },
        }

    # -- console ------------------------------------------------------------------------------------------------
    def show(self):
        return {
            "check": self.show_check,
            "checks": lambda _words: "%s 127.0.0.1`selfcheck (127.0.0.1 [0])\n\tok\n" % UUID,
            "eventer": {"debug": {"jobq": lambda _words: console.jobq("default_queue")}},
            "version": lambda _words: console.version("noit"),
        }

    def show_check(self, words):
        if words != [UUID]:
            return "no checks found\n"
        now = time.time()

        def block(values):
            return "".join("   %s[%s] = %s\n" % (name, kind, value) for name, kind, value in values)

        return (
            "==== %s ====\n name: selfcheck\n module: selfcheck\n target: 127.0.0.1\n seq: [undef]\n"
            " resolve_rtype: prefer-ipv4 [inherited from @resolve_rtype]\n period: 5000\n timeout: 4000\n"
            " oncheck: [undef]\n filterset: default [inherited from @filterset]\n disable: [undef]\n"
            " target_ip: 127.0.0.1\n currently: 00000000 idle\n next run: %.3f seconds\n last run: %.3f seconds ago\n"
            " availability/state: available/good\n status: ok\n feeds: 0\n metrics (current):\n%s"
            " metrics (previous):\n%s"
            % (
                UUID,
                max(0.0, self.last_run + PERIOD - now),
                now - self.last_run,
                block(self.current),
                block(self.previous),
            )
        )


def tls_without_client(stem):
    return net.server_tls(stem + ".crt", stem + ".key")


def clock(now):
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(now)) + ".%06d" % (now % 1 * 1e6)


def main(arguments=None):
    arguments = sys.argv[1:] if arguments is None else arguments
    log = Noitd(watchdog.Child()).log
    return watchdog.run("noitd", lambda child: Noitd(child).work(), log, arguments)
