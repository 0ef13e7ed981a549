"""Install a broker: account, files, certificate of the lab's authority, unit noitd; and make it known to the platform.

Reads {"name", "address", "site": site.json of a site} as JSON from its input and keeps none of it. Running it again
changes only what is not as it should be, such as a certificate of an authority that was made anew.
"""

import json
import os
import pwd
import sys

from hooper import certificates, database
from hooper.converge import Run
from hooper.site_file import Site

HOME, SSL = "/opt/noit/prod", "/opt/napp/etc/ssl"
ACCOUNT, NUMBER = "broker", 43191
BIN = "/opt/circonus/libexec/lab/bin"
ENVIRONMENT = f"{HOME}/etc/noit.local.env"
REGISTER = (
    "INSERT INTO circonus.broker (name, cn, address) VALUES (%s, %s, %s) "
    "ON CONFLICT (name) DO UPDATE SET cn = excluded.cn, address = excluded.address"
)


def account(run):
    try:
        pwd.getpwnam(ACCOUNT)
        missing = False
    except KeyError:
        missing = True
    user = ["useradd", "--system", "--uid", str(NUMBER), "--gid", ACCOUNT, "--home-dir", HOME, "--no-create-home"]

    def make():
        run.run(["groupadd", "--system", "--gid", str(NUMBER), ACCOUNT], check=True)
        run.run([*user, "--shell", "/usr/sbin/nologin", ACCOUNT], check=True)

    run.resource(f"user[{ACCOUNT}]", missing, make)


def files(run):
    for path in ("/var/log/circonus", f"{HOME}/etc", f"{HOME}/sbin", f"{HOME}/bin", SSL):
        run.directory(path)
    run.directory(f"{HOME}/log", 0o750, ACCOUNT)
    run.once(ENVIRONMENT, f"USER={NUMBER}\nGROUP={NUMBER}\n")
    run.link(f"{HOME}/sbin/noitd", f"{BIN}/noitd")
    run.link("/opt/circonus/bin/jlogctl", f"{BIN}/jlogctl")
    with open(f"{BIN}/jezebel", encoding="utf-8") as handle:
        run.once(f"{HOME}/bin/jezebel", handle.read(), 0o755)  # a copy: the operator may set its LOGFILE


def identity(run, site, name, address):
    """Key, certificate and the authority's certificate; True when they changed."""
    with database.connect(site.address(site.master), site, "web") as connection, connection.cursor() as cursor:
        cursor.execute("SELECT ca_crt FROM circonus.ca_public")
        row = cursor.fetchone()
    try:
        with open(f"{SSL}/ca.crt", encoding="utf-8") as handle:
            known = handle.read()
    except FileNotFoundError:
        known = None
    if row and known is not None and known != row[0]:
        for kind in ("ca.crt", "appliance.crt"):
            os.unlink(f"{SSL}/{kind}")
    before = run.updated
    entry = ("appliance", SSL, "appliance", ACCOUNT, name, [f"DNS:{name}", f"IP:{address}"])
    certificates.obtain(run, site, name, [entry])
    return run.updated > before


def main():
    asked = json.load(sys.stdin)
    site, name, address = Site(asked["site"]), asked["name"], asked["address"]
    run = Run()
    account(run)
    files(run)
    try:
        changed = identity(run, site, name, address)
        run.unit_file("noitd")
        run.service("noitd", restart=changed)
        with database.connect(site.address(site.master), site, "web") as connection, connection.cursor() as cursor:
            cursor.execute(REGISTER, (name, name, address))
    except database.Error as exc:
        run.note("WARNING", f"database {site.master}: {exc}")
    for level, text in run.summary:
        print(f"{level}: {text}")
    return 1 if run.summary else 0


if __name__ == "__main__":
    sys.exit(main())
