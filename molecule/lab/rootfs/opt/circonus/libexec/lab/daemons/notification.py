"""circonus-bert takes messages of fault_detection from the queue and keeps its state in the database; and its bots."""

import json

from daemons.base import Daemon

HEARTBEAT = (
    "INSERT INTO circonus.alerting_heartbeat (host, service, at) VALUES (%s, %s, clock_timestamp()) "
    "ON CONFLICT (host, service) DO UPDATE SET at = excluded.at"
)


class Bert(Daemon):
    name = "bert"
    port = 8084

    def queue_ready(self):
        name = f"bert.{self.node}"
        self.channel.queue_declare(name, durable=False, exclusive=True, auto_delete=True)
        self.channel.queue_bind(name, "circonus", "fault.#")
        self.channel.basic_consume(name, self.message, auto_ack=True)
        self.counters.setdefault("received", 0)

    def message(self, _channel, method, _properties, body):
        """One JSON line per message and the decision for it, as in bert.log of the product."""
        self.counters["received"] += 1
        content = json.loads(body)
        if method.routing_key == "fault.heartbeat":
            self.execute(HEARTBEAT, (content["host"], content["service"]))
            return
        self.log(body.decode())
        self.log("no contact group in the lab: nothing sent")

    def resmon(self):
        """The sections of the manual; what the lab has none of is empty."""
        found = super().resmon()
        found.update(cases={"active": 0, "created": 0}, timers={}, contact={}, noit_maintenance={})
        found["mq"] = {"sent": 0, "received": self.counters.get("received", 0)}
        return found

    def work(self):
        self.execute(HEARTBEAT, (self.node, self.name))
        self.counters["processed"] += 1


class Bot(Daemon):
    """A delivery bot: waits on its own queue; the lab sends nothing out."""

    uses_database = False
    reconnects = True

    def __init__(self, kind):
        super().__init__()
        self.kind = kind
        self.name = f"bert-{kind}-bot"
        self.log_name = f"bots/{kind}-bot.log"

    def queue_ready(self):
        name = f"bot.{self.kind}"
        self.channel.queue_declare(name, durable=False, auto_delete=True)
        self.channel.basic_consume(name, self.message, auto_ack=True)

    def message(self, _channel, _method, _properties, body):
        self.counters["processed"] += 1
        self.log("would send: " + body.decode(errors="replace"))
