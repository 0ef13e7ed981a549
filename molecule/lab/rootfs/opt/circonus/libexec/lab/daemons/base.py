"""What every stand-in daemon shares: connections, the main loop, the way it breaks, log, /resmon, readiness.

A daemon connects while it starts and exits with one line when it cannot. A daemon that does not reconnect stays
"running" after it lost a connection: it logs an exception again and again and does no work until it is restarted,
which is what the manual's service-dependency procedure is for.
"""

import json
import os
import select
import signal
import socket
import sys
import threading
import time
import traceback

from daemons.net import Closed, http_listener

CONFIG = "/opt/circonus/etc/lab-daemons.json"
LOG_DIR = "/var/log/circonus"
LOG_LIMIT = 50 * 1024 * 1024
START_SECONDS = 10.0
COMPLAIN_SECONDS = 10.0


def write_log(name, text, directory=None):
    """One line into a log file below LOG_DIR; a full one is put aside. A log that cannot be written goes to stderr."""
    path = os.path.join(directory or LOG_DIR, name)
    try:
        if os.path.exists(path) and os.path.getsize(path) > LOG_LIMIT:
            os.replace(path, path + ".1")
        with open(path, "a", encoding="utf-8") as handle:
            handle.write(text + "\n")
    except OSError as exc:
        print(f"{path}: {exc}", file=sys.stderr, flush=True)


def stamp():
    return time.strftime("%Y-%m-%d %H:%M:%S")


def notify(text):
    """Tell systemd about our state; nothing happens outside systemd."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.sendto(text.encode(), address)


class Plain:
    """A daemon without connections of its own to other roles: it starts, says that it is ready, and serves."""

    name = "daemon"
    log_name = None
    interval = 3600.0

    def __init__(self):
        self.started = time.time()
        self.stopping = threading.Event()

    def log(self, text):
        write_log(self.log_name or f"{self.name}.log", f"{stamp()} [{os.getpid()}] {text}")

    def start(self):
        """Open what is served; an exception ends the start."""

    def work(self):
        """One round, every interval."""

    def run(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: sys.exit(0))
        print(f"LAB STAND-IN of circonus-{self.name} (not vendor code)", flush=True)
        self.start()
        notify("READY=1\nSTATUS=lab stand-in")
        while not self.stopping.wait(self.interval):
            try:
                self.work()
            except Exception as exc:  # the next round may do better
                self.log(f"EXCEPTION {exc!r}")


class Daemon:
    name = "daemon"
    log_name = None
    port = None
    uses_database = True
    uses_queue = True
    fq_program = None  # with a program: a consumer of the firehose on every mq host of the site
    reconnects = False
    interval = 1.0

    def __init__(self, config_path=CONFIG):
        with open(config_path, encoding="utf-8") as handle:
            self.config = json.load(handle)
        self.node = self.config["node"]
        self.connection = None
        self.queue = None
        self.channel = None
        self.firehose = []
        self.firehose_tried = 0.0
        self.broken = None
        self.started = time.time()
        self.counters = {"processed": 0, "exceptions": 0}
        self.stopping = threading.Event()
        self.complained = 0.0

    # -- log --------------------------------------------------------------------------------------------------
    def log(self, text):
        write_log(self.log_name or f"{self.name}.log", f"{stamp()} [{os.getpid()}] {text}")

    # -- connections ------------------------------------------------------------------------------------------
    def connect(self):
        """Open what is missing; raises the client library's own exceptions."""
        if self.uses_database and self.connection is None:
            import psycopg2

            target = self.config["database"]
            self.connection = psycopg2.connect(
                host=target["host"],
                dbname=target["name"],
                user=target["user"],
                password=target["password"],
                connect_timeout=3,
                application_name=f"circonus-{self.name}",
                keepalives_idle=5,
                keepalives_interval=2,
                keepalives_count=3,
            )
            self.connection.autocommit = True
            self.database_ready()
        if self.uses_queue and self.channel is None:
            self.queue = self.open_queue()
            self.channel = self.queue.channel()
            self.queue_ready()
        if self.fq_program and not self.firehose:
            self.firehose = self.open_firehose()

    def open_firehose(self):
        """Clients of every fqd that answers; at least one must."""
        found, reason = [], "no mq host"
        for host in self.config["mq"]["hosts"]:
            try:
                found.append(self.consume_from(host))
            except (OSError, Closed) as exc:
                reason = f"fqd on {host}: {exc}"
        if not found:
            raise Closed(reason)
        self.firehose_tried = time.monotonic()
        return found

    def consume_from(self, host):
        from daemons import fq

        client = fq.Client(host, self.name, f"{self.name}-{self.node}", "mem:drop,private,backlog=10000")
        client.bind(self.fq_program)
        client.consume(self.metric)
        return client

    def metric(self, _route, _payload):
        """Called for every message of the firehose."""
        self.counters["processed"] += 1

    def check_firehose(self):
        """Drop clients whose server is gone, look for those that are back; an exception when none is left."""
        for client in list(self.firehose):
            try:
                client.heartbeat()
            except (OSError, Closed) as exc:
                client.close()
                self.firehose.remove(client)
                self.log(f"fqd on {client.host}: {exc}")
                if not self.firehose:
                    raise
        missing = set(self.config["mq"]["hosts"]) - {client.host for client in self.firehose}
        if missing and time.monotonic() - self.firehose_tried > COMPLAIN_SECONDS:
            self.firehose_tried = time.monotonic()
            for host in missing:
                try:
                    self.firehose.append(self.consume_from(host))
                except (OSError, Closed) as exc:
                    self.log(f"fqd on {host}: {exc}")

    def open_queue(self):
        import pika

        target = self.config["mq"]
        hosts = sorted(target["hosts"], key=lambda host: host != self.node)  # the own host first
        parameters = [
            pika.ConnectionParameters(
                host=host,
                credentials=pika.PlainCredentials(target["user"], target["password"]),
                heartbeat=20,
                blocked_connection_timeout=20,
                socket_timeout=3,
                client_properties={"connection_name": f"circonus-{self.name}@{self.node}"},
            )
            for host in hosts
        ]
        return pika.BlockingConnection(parameters)

    def database_ready(self):
        """Called after every new database connection."""

    def queue_ready(self):
        """Called after every new queue connection."""

    def disconnect(self):
        for item in (self.connection, self.queue):
            try:
                if item is not None:
                    item.close()
            except Exception as exc:  # closing a broken connection may fail in any way
                self.log(f"close: {exc}")
        for client in self.firehose:
            client.close()
        self.connection = self.queue = self.channel = None
        self.firehose = []

    def execute(self, statement, values=()):
        """Run one statement; rows when it has any."""
        with self.connection.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    # -- work -------------------------------------------------------------------------------------------------
    def work(self):
        """One round; an exception means a lost connection or a refused statement."""

    def idle(self):
        """Wait for the next round, serving the queue meanwhile."""
        if self.queue is not None:
            self.queue.process_data_events(time_limit=self.interval)
        else:
            self.stopping.wait(self.interval)

    def start(self):
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self.connect()
                return
            except Exception as exc:
                self.disconnect()
                if time.monotonic() >= deadline:
                    text = (str(exc) or repr(exc)).strip().splitlines()[0]
                    target = self.config["database"]["host"], ",".join(self.config["mq"]["hosts"])
                    print(f"{self.name}: no connection to database {target[0]} or queue {target[1]}: {text}")
                    sys.exit(1)
            self.stopping.wait(0.5)

    def run(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: sys.exit(0))
        print(f"LAB STAND-IN of circonus-{self.name} (not vendor code)", flush=True)
        self.start()
        if self.port:
            self.serve()
        self.log(f"started (lab stand-in), database {self.config['database']['host'] if self.uses_database else '-'}")
        notify("READY=1\nSTATUS=lab stand-in, connected")
        while not self.stopping.is_set():
            if self.broken:
                self.remain_broken()
                continue
            try:
                self.connect()
                self.work()
                self.idle()
            except Exception as exc:
                self.fail(exc)

    def fail(self, exc):
        self.counters["exceptions"] += 1
        self.broken = (str(exc) or repr(exc)).strip().splitlines()[0]
        self.log("EXCEPTION " + traceback.format_exc().rstrip())
        self.complained = time.monotonic()
        if self.reconnects:
            notify(f"STATUS=lab stand-in, reconnecting: {self.broken}")
            self.disconnect()
        else:
            notify(f"STATUS=lab stand-in, NOT PROCESSING until restarted: {self.broken}")

    def remain_broken(self):
        self.stopping.wait(self.interval)
        if not self.reconnects:
            if time.monotonic() - self.complained >= COMPLAIN_SECONDS:
                self.counters["exceptions"] += 1
                self.complained = time.monotonic()
                self.log(f"EXCEPTION not processing, connection lost: {self.broken}")
            return
        try:
            self.connect()
            self.log("connected again")
            notify("STATUS=lab stand-in, connected")
            self.broken = None
        except Exception as exc:
            self.disconnect()
            if time.monotonic() - self.complained >= COMPLAIN_SECONDS:
                self.complained = time.monotonic()
                self.log(f"still not connected: {exc!r}")

    # -- /resmon ----------------------------------------------------------------------------------------------
    def resmon(self):
        """Sections and counters; `main.state` is connected or broken."""
        return {
            "main": {
                "service": f"circonus-{self.name}",
                "standin": True,
                "host": self.node,
                "uptime": round(time.time() - self.started, 1),
                "state": "broken" if self.broken else "connected",
                "error": self.broken or "",
            },
            "counters": dict(self.counters),
        }

    def serve(self):
        def respond(request):
            if request.path.rstrip("/") not in ("", "/resmon"):
                return 404, "not found\n", "text/plain"
            return 200, json.dumps(self.resmon(), indent=1) + "\n", "application/json"

        http_listener(self.port, respond)


def wait_readable(item, seconds):
    """True when the connection has input within the time."""
    return bool(select.select([item], [], [], seconds)[0])
