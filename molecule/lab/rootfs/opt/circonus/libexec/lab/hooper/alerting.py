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
SCRIPT = "/opt/circonus/libexec/lab/bin/hub-script"
CRON = ("/www/bin/noit/noit_activation.pl", "/www/bin/noit/stratcon_sync.pl", "/www/bin/inside/systems_monitor.pl")
#: Only in the 2019 manual: gone since 2020-11-02, and moved to stratcon in 2019-01-28 (which that manual does not say).
CRON_2019 = ("/www/bin/noit/enzo_sync.pl", "/www/bin/noit/noit_version_check.pl")
TOKENS = ("caql_broker", "fault_detection")
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
        "api": site.hosts("api"),
        "stratcon": site.hosts("stratcon"),
        "web_stream": site.hosts("web_stream"),
        "search": site.hosts("search"),
        "api_tokens": [site.role(role)["registration_token"] for role in TOKENS if token(site, role)],
        "caql_token": token(site, "caql_broker"),
    }


def token(site, role):
    """The pre-authorised API token of a role."""
    return site.role(role).get("registration_token") or ""


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
        run.later(units, enabled=site.active, running=site.active, restart=run.settings_changed)


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
    run.later(units, restart=run.settings_changed)
    cron(run, facts)


def cron(run, facts):
    """The jobs of every minute, and the scripts that are run by hand."""
    scripts = CRON + (CRON_2019 if facts["edition"] == "2019" else ())
    by_hand = ("/www/bin/grover/reindex_elasticsearch.pl",) if facts["edition"] == "2019" else ()
    for path in scripts + by_hand:
        run.link(path, SCRIPT)
    lines = ["# Written by Hooper (lab stand-in); edits are lost"] + [f"* * * * * root {path}" for path in scripts]
    run.file("/etc/cron.d/circonus-hub", "\n".join(lines) + "\n")
