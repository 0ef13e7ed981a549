"""python3 -m daemons.main <service>: run one stand-in."""

import sys

from daemons.ca_processor import CaProcessor
from daemons.fault_detection import Ernie, Faultd
from daemons.hub import Hub
from daemons.notification import Bert, Bot

SERVICES = {
    "bert": Bert,
    "ca_processor": CaProcessor,
    "ernie": Ernie,
    "fault-detection": Faultd,
}
SERVICES.update({f"bert-{kind}-bot": (lambda kind=kind: Bot(kind)) for kind in ("email", "http", "pagerduty", "sms")})
SERVICES.update(
    {kind: (lambda kind=kind: Hub(kind)) for kind in ("composite_expander", "metric_type_chance", "grover_queue")}
)


def main():
    if len(sys.argv) != 2 or sys.argv[1] not in SERVICES:
        print("usage: python3 -m daemons.main " + "|".join(sorted(SERVICES)), file=sys.stderr)
        return 99
    SERVICES[sys.argv[1]]().run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
