"""python3 -m daemons.main <service>: run one stand-in; only its own module is loaded."""

import importlib
import sys

SERVICES = {
    "bert": ("notification", "Bert", ()),
    "ca_processor": ("ca_processor", "CaProcessor", ()),
    "caql-broker": ("caql_broker", "CaqlBroker", ()),
    "elasticsearch": ("search", "Search", ()),
    "ernie": ("fault_detection", "Ernie", ()),
    "fault-detection": ("fault_detection", "Faultd", ()),
    "network-api": ("api", "NetworkApi", ()),
}
SERVICES.update({kind: ("enzo", "Enzo", (kind,)) for kind in ("enzo", "enzo-c")})
BOTS = ("email", "http", "pagerduty", "sms")
SERVICES.update({f"bert-{kind}-bot": ("notification", "Bot", (kind,)) for kind in BOTS})
SERVICES.update(
    {kind: ("hub", "Hub", (kind,)) for kind in ("composite_expander", "metric_type_chance", "grover_queue")}
)


def main():
    if len(sys.argv) != 2 or sys.argv[1] not in SERVICES:
        print("usage: python3 -m daemons.main " + "|".join(sorted(SERVICES)), file=sys.stderr)
        return 99
    module, name, arguments = SERVICES[sys.argv[1]]
    getattr(importlib.import_module("daemons." + module), name)(*arguments).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
