"""Role web_frontend: real Apache, TLS terminator and memcached; the page /status shows the state of the database."""

import os

from hooper.site_file import WARNING

HTTP, TLS, MEMCACHED = "circonus-http", "circonus-ssl-term", "circonus-memcached"
SEARCH = "circonus-api-search"
CONF = "/www/etc/circonus.conf"
TERMINATOR = "/opt/circonus/etc/ssl-term.conf"


def settings(site):
    """circonus.conf: Inside::PrimaryDC is 1 in the active site, 0 in a standby site."""
    database = site.role("web_db")
    lines = [
        "# Written by Hooper (lab stand-in) from site.json; edits are lost",
        f"Inside::PrimaryDC = {1 if site.active else 0}",
        f"Inside::Domain = {site.raw.get('domain', '')}",
        f"DB::Host = {site.connect_host}",
        f"DB::ReadHost = {database.get('read_connect_host') or site.connect_host}",
        "DB::Name = circonus",
        "DB::User = web",
        f"DB::Password = {database.get('web_pass', '')}",
        f"MQ::Hosts = {' '.join(site.hosts('mq'))}",
        f"Memcached::Hosts = {' '.join(site.hosts('web_frontend'))}",
    ]
    return "\n".join(lines + list(site.raw.get("additional_web_config", []))) + "\n"


def circonus_conf(run, site):
    """Every host with a part of the web tree gets it."""
    run.file(CONF, settings(site), 0o640, "root", "www-data")


def converge(run, site, facts, name):
    run.directory("/www/logs")
    run.directory("/www/etc/local-apache")
    run.link(TERMINATOR, "/opt/circonus/libexec/lab/web/ssl-term.conf")
    for unit in (HTTP, TLS, MEMCACHED):
        run.unit_file(unit)
    run.later([MEMCACHED, HTTP])
    search(run, facts)
    if site.role("web_frontend").get("certificate_type") == "none":
        run.later([TLS], enabled=False, running=False)
    elif os.path.exists("/www/etc/ssl/web.crt") and os.path.exists("/www/etc/ssl/web.key"):
        run.later([TLS])
    elif not run.why_run:
        run.note(WARNING, f"/www/etc/ssl/web.crt or web.key is missing on {name}: {TLS} not started; run again")


def search(run, facts):
    """The search part of GoAPI ran on these hosts until release 2020-06-15."""
    if facts["edition"] != "2019":
        run.remove_unit(SEARCH)
        return
    run.link("/opt/circonus/sbin/goapi", "/opt/circonus/libexec/lab/bin/goapi")
    run.unit_file(SEARCH)
    run.later([SEARCH], restart=run.settings_changed)
