"""Role api: circonus-network-api behind the TLS terminator, and circonus-api (GoAPI)."""

import os

from hooper.site_file import WARNING
from hooper.web_frontend import TERMINATOR, TLS

NETWORK, GOAPI, SEARCH = "circonus-network-api", "circonus-api", "circonus-api-search"
BIN = "/opt/circonus/libexec/lab/bin"


def goapi(run):
    run.link("/opt/circonus/sbin/goapi", f"{BIN}/goapi")


def converge(run, site, facts, name):
    run.directory("/www/logs")
    run.directory("/www/etc/local-apache")
    run.link(TERMINATOR, "/opt/circonus/libexec/lab/api/ssl-term.conf")
    goapi(run)
    for unit in (NETWORK, TLS, GOAPI):
        run.unit_file(unit)
    units = [NETWORK, GOAPI]
    if site.role("api").get("certificate_type") == "none":
        run.later([TLS], enabled=False, running=False)
    elif os.path.exists("/www/etc/ssl/api.crt") and os.path.exists("/www/etc/ssl/api.key"):
        units.append(TLS)
    elif not run.why_run:
        run.note(WARNING, f"/www/etc/ssl/api.crt or api.key is missing on {name}: {TLS} not started; run again")
    run.later(units, restart=run.settings_changed)
