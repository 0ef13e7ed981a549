"""circonus-fault-detection (faultd) and circonus-ernie of the 2019 edition: they announce themselves on the queue.

faultd listens on 9127 (pages) and 43192 (its peers), its console on 32328; ernie on 43191 with TLS and on 8092.
"""

import json
import os
import time

from daemons import console, net
from daemons.base import Daemon

PEER_PORT, CONSOLE = 43192, 32328
ERNIE_PORT, ERNIE_SSL = 43191, "/opt/circonus/etc/ernie"


class Faultd(Daemon):
    name = "fault-detection"
    log_name = "faultd-error.log"
    port = 9127
    uses_database = False  # the later edition's connection matrix has no database for it

    def serve(self):
        super().serve()
        tree = {"show": {"version": lambda _words: console.version("fault")}}
        net.Listener(CONSOLE, lambda stream, _peer, _cn: console.serve(stream, "fault# ", tree), "127.0.0.1")
        net.Listener(PEER_PORT, lambda stream, _peer, _cn: stream.exactly(1))  # the wire between nodes is not public

    def work(self):
        text = json.dumps({"host": self.node, "service": self.name, "at": time.time()})
        self.channel.basic_publish("circonus", "fault.heartbeat", text.encode())
        self.counters["processed"] += 1


class Ernie(Faultd):
    name = "ernie"
    log_name = "ernie.log"
    port = 8092
    uses_database = True

    def serve(self):
        net.http_listener(self.port, self.respond)
        stem = os.path.join(ERNIE_SSL, "ernie")
        tls = net.server_tls(stem + ".crt", stem + ".key", os.path.join(ERNIE_SSL, "ca.crt"))
        net.http_listener(ERNIE_PORT, lambda _request: (404, "", "text/plain"), tls=tls)

    def respond(self, request):
        if request.path == "/composite/queue":
            return 200, "[]\n", "application/json"  # no composite check is in progress
        if request.path != "/resmon":
            return 404, "not found\n", "text/plain"
        return 200, json.dumps(self.resmon(), indent=1) + "\n", "application/json"

    def resmon(self):
        found = super().resmon()
        found["core"] = {"uptime": found["main"]["uptime"], "leader": True}
        found["Faultrules"] = {"processed": self.counters["processed"]}
        found["firehose"] = {"messages": 0}
        return found

    def work(self):
        self.counters["rules"] = self.execute("SELECT count(*) FROM circonus.checks WHERE active")[0][0]
        super().work()
