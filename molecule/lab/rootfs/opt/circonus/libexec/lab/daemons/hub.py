"""Hub daemons. They are in no restart chain of the manual, so they find their database and queue again by themselves;
grover_queue (only deployed by old releases, and in the chain of the 2019 edition) does not."""

from daemons.base import Daemon


class Hub(Daemon):
    reconnects = True
    interval = 2.0

    def __init__(self, kind):
        super().__init__()
        self.name = kind
        self.reconnects = kind != "grover_queue"
        self.uses_queue = kind != "grover_queue"

    def work(self):
        self.counters["checks"] = self.execute("SELECT count(*) FROM circonus.checks WHERE active")[0][0]
        if self.name == "grover_queue" and not self.execute("SELECT pg_is_in_recovery()")[0][0]:
            self.execute("DELETE FROM circonus.grover_queue")
        self.counters["processed"] += 1
