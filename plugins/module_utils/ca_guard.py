# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The guard of a CA host: its processor starts only where it is known to be the only one.

A processor is useless without the database and keeps a connection to it (the manual: it listens for notifications). So
the database knows who signs: a session of the CA's user from another host is another processor. No answer is no proof,
and the start is refused; a platform runs without a CA for days.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import glob
import json
import os
import subprocess
import sys
import time

from ansible_collections.circonus.inside.plugins.module_utils import site_file
from ansible_collections.circonus.inside.plugins.module_utils.errors import (
    BadInput,
    CommandFailed,
    InsideError,
    Refused,
)

CONFIG = "/etc/circonus-inside/ca_guard.json"
DEFAULTS = {
    "host": None,
    "site_path": site_file.PATH,
    "psql": "/opt/pgsql/bin/psql",
    "user": "ca",
    "database": "circonus",
    "port": 5432,
    "timeout_s": 5,
}
OTHERS = (
    "SELECT pg_is_in_recovery(), coalesce(string_agg(DISTINCT coalesce(host(client_addr), 'local'), ','), '') "
    "FROM pg_stat_activity WHERE usename = current_user AND client_addr IS DISTINCT FROM inet_client_addr()"
)
#: A session from here is one of the database's own host.
LOCAL = ("local", "127.0.0.1", "::1")
END = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = current_user "
    "AND host(client_addr) = '%s'"
)


def read_config(path=CONFIG):
    """The configuration with its defaults. Raises BadInput."""
    try:
        with open(path) as handle:
            config = dict(DEFAULTS, **json.load(handle))
    except (IOError, OSError, ValueError, TypeError):
        raise BadInput("Expected the guard's configuration (JSON) in {0}, found none. Run ca_sync.yml.".format(path))
    return config


def primary_of(document):
    """``ca.primary`` of an installed site.json, the only CA host where none is named. Pure."""
    section = site_file.role_of(document, "ca")
    hosts = section.get("_machlist") or []
    return section.get("primary") or section.get("master") or (hosts[0] if len(hosts) == 1 else None)


def target_of(document):
    """``(name, address, password)`` of the database that the processor of this site uses. Raises Refused."""
    database = site_file.role_of(document, "web_db")
    name = database.get("connect_host") or database.get("master") or ""
    address = ((document.get("machinfo") or {}).get(name) or {}).get("ip_address") or name
    if not name or not database.get("ca_pass"):
        raise Refused("Expected web_db.connect_host and web_db.ca_pass in site.json, found none. Run "
                      "site_distribute.yml.")
    return name, address, database["ca_pass"]


def client(config):
    """The database client: the configured one, else that of the system."""
    found = [config["psql"], "/usr/bin/psql"] + sorted(glob.glob("/usr/*/postgresql/*/bin/psql"), reverse=True)
    found += sorted(glob.glob("/usr/pgsql-*/bin/psql"), reverse=True)
    return next((path for path in found if os.access(path, os.X_OK)), config["psql"])


def query(config, document, statement):
    """First row of a statement as a list of texts, asked as the CA's own user. Raises CommandFailed."""
    name, address, password = target_of(document)
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "PGPASSWORD": password,
                   "PGCONNECT_TIMEOUT": str(int(config["timeout_s"])), "PGAPPNAME": "circonus-inside-ca-guard",
                   "PGOPTIONS": "-c statement_timeout=%d" % (config["timeout_s"] * 1000)}
    try:
        process = subprocess.Popen(
            [client(config), "-XAtqw", "-F", "|", "-h", address, "-p", str(config["port"]), "-U", config["user"],
             "-d", config["database"], "-c", statement],
            env=environment, cwd="/", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, err = process.communicate()
    except OSError as exc:
        raise CommandFailed("Expected the program {0} on this host, found: {1}. Set ca_guard_psql.".format(
            config["psql"], exc.strerror))
    if process.returncode:
        said = " ".join(err.decode("utf-8", "replace").split())
        raise CommandFailed("The database on {0} gives no answer to the user {1}: {2}.".format(
            name, config["user"], said[-200:].rstrip(".")))
    return out.decode("utf-8", "replace").strip().split("|")


def name_of(document, address):
    """Name of the host with an address in machinfo, the address where there is none. Pure."""
    for name, machine in sorted((document.get("machinfo") or {}).items()):
        if machine.get("ip_address") == address:
            return name
    return address


def judge(row, document, host):
    """Why a start on ``host`` is refused by the answer of the database, or None. Pure."""
    name = target_of(document)[0]
    if row[0] != "f":
        return "the database on {0} is a standby, a CA of this site could not sign".format(name)
    found = [address for address in row[1].split(",") if address]
    others = sorted(set(name if address in LOCAL else name_of(document, address) for address in found) - set([host]))
    if others:
        return "the CA of {0} is connected to the database".format(" and ".join(others))
    return None


def check_start(config, ask=query):
    """Why the processor must not start here, or None."""
    document = site_file.load(config["site_path"])
    primary = primary_of(document)
    if primary != config["host"]:
        return "ca.primary is {0}, this host is {1}".format(primary or "not set", config["host"])
    return judge(ask(config, document, OTHERS), document, config["host"])


def end_sessions(config, host, watch_s=5.0, check_mode=False, ask=query, sleep=time.sleep, clock=time.time):
    """End what a lost CA host left at the database, and watch that it does not come back.

    The database notices a host that died only after hours. Returns how many sessions were ended. Raises Refused when
    there is a new one: then the host is not lost.
    """
    document = site_file.load(config["site_path"])
    address = ((document.get("machinfo") or {}).get(host) or {}).get("ip_address")
    if not address:
        raise BadInput("Expected {0} in machinfo of {1}, found no such host.".format(host, config["site_path"]))

    def connected():
        return address in ask(config, document, OTHERS)[1].split(",")

    if not connected() or check_mode:
        return 0
    ended = int(ask(config, document, END % address)[0])
    until = clock() + watch_s
    while clock() < until:
        sleep(0.5)
        if connected():
            raise Refused("Expected {0} to be lost, its CA has connected to the database again. Stop {0}, or use "
                          "ca_failover_mode=planned.".format(host))
    return ended


def main(argv):
    """``ca_guard check-start|client [config]``; exit code 1 refuses a start, or tells that there is no client."""
    if len(argv) < 2 or argv[1] not in ("check-start", "client"):
        sys.stderr.write("usage: ca_guard check-start|client [configuration]\n")
        return 2
    if argv[1] == "client":
        return 0 if os.access(client(read_config(argv[2] if len(argv) > 2 else CONFIG)), os.X_OK) else 1
    try:
        reason = check_start(read_config(argv[2] if len(argv) > 2 else CONFIG))
    except InsideError as exc:
        reason = str(exc)
    if reason:
        sys.stderr.write("ca_guard: the start of the CA processor is refused: {0}; docs/ca.md of the collection "
                         "circonus.inside says what to do\n".format(reason.rstrip(".")))
        return 1
    return 0
