"""caql-broker: consumes the firehose, asks the API for its statements, shows libmtev statistics over TLS (8081, 43191).

It needs one fqd of the site and finds it again after a loss; its logs are the documented ones.
"""

import json
import os
import time

from daemons import net
from daemons.base import Daemon, stamp, write_log

LOGS = "/opt/noit/prod/log"
STEM = "/opt/noit/prod/etc/caql_broker"
CA = "/opt/noit/prod/etc/ca.crt"
PORT, FEED_PORT = 8081, 43191
THREADS = 10
REFRESH = 300.0


class CaqlBroker(Daemon):
    name = "caql-broker"
    uses_database = False
    uses_queue = False
    reconnects = True
    interval = 2.0
    fq_program = 'prefix:"check."'
    port = PORT

    def __init__(self):
        super().__init__()
        self.messages = 0
        self.statements = 0
        self.delay = 0.0
        self.refreshed = None

    def log(self, text):
        write_log("error.log" if text.startswith("EXCEPTION") else "caqlbroker.log", f"{stamp()} {text}", LOGS)

    def metric(self, _route, payload):
        self.messages += 1
        words = payload.split(b"\t")
        if len(words) > 2 and words[1][:1].isdigit():
            self.delay = time.time() - float(words[1])

    def serve(self):
        plain = net.server_tls(STEM + ".crt", STEM + ".key")
        net.http_listener(PORT, self.respond, tls=plain)
        net.http_listener(FEED_PORT, self.respond, tls=net.server_tls(STEM + ".crt", STEM + ".key", CA))
        self.refresh()
        pid = os.getpid()
        progress = f"[{pid}/0] Awaiting statement initialization total={THREADS} done={THREADS} (100%) failed=0 (0%)"
        write_log("error.log", progress, LOGS)
        for thread in range(THREADS):
            event = {"pid": f"{pid}/{thread}", "event": "Initialization completed", "statement_count": self.statements}
            write_log("error.log", json.dumps(event, separators=(",", ":")), LOGS)

    def refresh(self):
        """Ask the API, through its plain port, which checks there are; the lab has no CAQL statement."""
        self.refreshed = time.monotonic()
        headers = (("X-Circonus-Auth-Token", self.config["caql_token"]), ("X-Circonus-App-Name", "caql-broker"))
        for host in self.config["api"]:
            try:
                status, _headers, _body = net.fetch(host, 8080, "/v2/check", headers=headers, seconds=3.0)
                write_log("caql.log", f"{stamp()} search on {host}: {status}", LOGS)
                return
            except (OSError, net.Closed) as exc:
                write_log("warn.log", f"{stamp()} API {host}: {exc}", LOGS)

    def work(self):
        self.check_firehose()
        if time.monotonic() - self.refreshed > REFRESH:
            self.refresh()

    def respond(self, request):
        if request.path != "/mtev/stats.json":
            return 404, "", "text/plain"
        seconds = {"M": self.delay, "H": 0.0}
        messages = {"count": self.messages, "err": 0, "delay": seconds, "duration": 0.0}
        messages["tagsearch"] = {"cache_size": 0}
        found = {"messages": messages, "metric": {"subscriptions": self.statements}}
        uptime = {"uptime": int(time.time() - self.started)}
        return 200, json.dumps(net.leaves({"caqlbroker": found, "mtev": uptime})), "application/json"
