"""What every stand-in daemon shares: connections, the main loop, the way it breaks, log, /resmon, readiness.

A daemon connects while it starts and exits with one line when it cannot. A daemon that does not reconnect stays
"running" after it lost a connection: it logs an exception again and again and does no work until it is restarted,
which is what the manual's service-dependency procedure is for.
"""

import http.server
import json
import os
import select
import signal
import socket
import sys
import threading
import time
import traceback

CONFIG = "/opt/circonus/etc/lab-daemons.json"
LOG_DIR = "/var/log/circonus"
LOG_LIMIT = 50 * 1024 * 1024
START_SECONDS = 10.0
COMPLAIN_SECONDS = 10.0


def notify(text):
    """Tell systemd about our state; nothing happens outside systemd."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.sendto(text.encode(), address)


class Daemon:
    name = "daemon"
    log_name = None
    port = None
    uses_database = True
    uses_queue = True
    reconnects = False
    interval = 1.0

    def __init__(self, config_path=CONFIG):
        with open(config_path, encoding="utf-8") as handle:
            self.config = json.load(handle)
        self.node = self.config["node"]
        self.connection = None
        self.queue = None
        self.channel = None
        self.broken = None
        self.started = time.time()
        self.counters = {"processed": 0, "exceptions": 0}
        self.stopping = threading.Event()
        self.complained = 0.0

    # -- log --------------------------------------------------------------------------------------------------
    def log(self, text):
        path = os.path.join(LOG_DIR, self.log_name or f"{self.name}.log")
        try:
            if os.path.exists(path) and os.path.getsize(path) > LOG_LIMIT:
                os.replace(path, path + ".1")
            with open(path, "a", encoding="utf-8") as handle:
                handle.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} [{os.getpid()}] {text}\n")
        except OSError as exc:
            print(f"{path}: {exc}", file=sys.stderr, flush=True)

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
        self.connection = self.queue = self.channel = None

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
        daemon = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                if self.path.rstrip("/") not in ("", "/resmon"):
                    self.send_error(404)
                    return
                body = (json.dumps(daemon.resmon(), indent=1) + "\n").encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                """Requests are not logged."""

        http.server.ThreadingHTTPServer.allow_reuse_address = True
        server = http.server.ThreadingHTTPServer(("0.0.0.0", self.port), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()


def wait_readable(item, seconds):
    """True when the connection has input within the time."""
    return bool(select.select([item], [], [], seconds)[0])
