"""circonus-fault-detection (faultd) and circonus-ernie of the 2019 edition: they announce themselves on the queue."""

import json
import time

from daemons.base import Daemon


class Faultd(Daemon):
    name = "fault-detection"
    log_name = "faultd-error.log"
    port = 9127
    uses_database = False  # the later edition's connection matrix has no database for it

    def work(self):
        text = json.dumps({"host": self.node, "service": self.name, "at": time.time()})
        self.channel.basic_publish("circonus", "fault.heartbeat", text.encode())
        self.counters["processed"] += 1


class Ernie(Faultd):
    name = "ernie"
    log_name = "ernie.log"
    port = 8092
    uses_database = True

    def work(self):
        self.counters["rules"] = self.execute("SELECT count(*) FROM circonus.checks WHERE active")[0][0]
        super().work()
