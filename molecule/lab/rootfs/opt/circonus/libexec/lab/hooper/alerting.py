"""Roles fault_detection, notification and hub: their settings and units.

Later edition: in a standby site fault_detection and notification are kept stopped and disabled.
2019 edition: Hooper does not know which site works; after the first installation it leaves both alone.
"""

import json
import os

from hooper.converge import UNIT_DIR

DAEMON_CONFIG = "/opt/circonus/etc/lab-daemons.json"
NOTIFICATION = ("circonus-bert",) + tuple(f"circonus-bert-{kind}-bot" for kind in ("email", "http", "pagerduty", "sms"))
HUB = ("circonus-composite_expander", "circonus-metric_type_chance")
GROVER = "circonus-grover_queue"
FAULTD, ERNIE = "circonus-fault-detection", "circonus-ernie"


def daemon_settings(site, facts, name):
    """What the daemons read; nothing in it depends on which site is active."""
    return {
        "node": name,
        "edition": facts["edition"],
        "database": {
            "host": site.connect_host,
            "name": "circonus",
            "user": "web",
            "password": site.role("web_db").get("web_pass", ""),
        },
        "mq": {"hosts": site.hosts("mq"), "user": "circonus", "password": site.role("mq").get("password", "")},
    }


def common(run, site, facts, name):
    run.directory("/var/log/circonus/bots", 0o755, "circonus")
    text = json.dumps(daemon_settings(site, facts, name), indent=1) + "\n"
    return run.file(DAEMON_CONFIG, text, 0o640, "root", "circonus")


def alerting(run, site, facts, units):
    """Units of one alerting role, by edition and state of the site."""
    new = [unit for unit in units if not os.path.exists(f"{UNIT_DIR}/{unit}.service")]
    for unit in units:
        run.unit_file(unit)
    if facts["edition"] == "2019":
        units = new
    if units:
        run.services(units, enabled=site.active, running=site.active, restart=run.settings_changed)


def fault_detection(run, site, facts, name):
    units = (ERNIE, FAULTD) if facts["edition"] == "2019" else (FAULTD,)
    if facts["edition"] != "2019":
        run.remove_unit(ERNIE)
    run.directory("/opt/circonus/etc/fault", 0o755, "circonus")
    alerting(run, site, facts, units)


def notification(run, site, facts, name):
    alerting(run, site, facts, NOTIFICATION)


def hub(run, site, facts, name):
    units = HUB + ((GROVER,) if facts.get("grover_queue") else ())
    for unit in units:
        run.unit_file(unit)
    run.services(units, restart=run.settings_changed)
