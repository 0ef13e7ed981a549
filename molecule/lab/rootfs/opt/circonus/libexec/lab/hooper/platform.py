"""One host's converge: what every host has, then its roles in a fixed order."""

import os
import pwd

from hooper import alerting, api, ca, certificates, mq, storage, stream, web_db, web_frontend
from hooper.site_file import INFO, OBSOLETE

LOG_DIR = "/var/log/circonus"
USER = "circonus"
DAEMON_ROLES = set("web_frontend hub notification fault_detection api caql_broker stratcon web_stream".split())
WEB_TREE = {"web_frontend", "hub", "notification", "web_db", "api"}


def converge(run, site, facts, name, roles):
    everywhere(run, site, name)
    order = (
        ("web_db", web_db.converge),
        ("ca", ca.converge),
        ("mq", mq.converge),
        ("data_storage", storage.data_storage),
        ("long_tail_storage", storage.long_tail_storage),
        ("redis", storage.redis),
        ("search", storage.search),
        ("stratcon", stream.stratcon),
        ("web_frontend", web_frontend.converge),
        ("api", api.converge),
        ("caql_broker", stream.caql_broker),
        ("web_stream", stream.web_stream),
        ("hub", alerting.hub),
        ("notification", alerting.notification),
        ("fault_detection", alerting.fault_detection),
    )
    # Certificates come after web_db and ca of the same host, which issue them, and before the parts that need them.
    if DAEMON_ROLES & set(roles):
        run.settings_changed = alerting.common(run, site, facts, name)
        order = order[:3] + (("", certificates.converge),) + order[3:]
    if WEB_TREE & set(roles):
        web_frontend.circonus_conf(run, site)
    for role, work in order:
        if role in OBSOLETE and role in roles and facts["edition"] != "2019":
            run.note(INFO, f"role {role} does not exist in this release; nothing was installed for it")
        elif not role or role in roles:
            run.debug(f"role {role or 'certificates'}")
            work(run, site, facts, name)
    run.settle()


def everywhere(run, site, name):
    """What every core host gets: the account, the directories and /etc/hosts."""
    try:
        pwd.getpwnam(USER)
        missing = False
    except KeyError:
        missing = True
    run.resource(
        f"user[{USER}]",
        missing,
        lambda: run.run(
            ["useradd", "--system", "--uid", "890", "--user-group", "--home-dir", "/opt/circonus", "--no-create-home"]
            + ["--shell", "/usr/sbin/nologin", USER],
            check=True,
        ),
    )
    run.file("/etc/hosts", site.hosts_file(name), in_place=True)
    run.directory(LOG_DIR, 0o755, USER)
    for path in ("/opt/circonus/etc", "/opt/circonus/var", "/www/etc", "/www/etc/ssl"):
        run.directory(path)
    keep_hosts_file(run)


def keep_hosts_file(run):
    """A container's /etc/hosts is rewritten when it starts; a copy and a boot unit put Hooper's one back."""
    if not os.path.ismount("/etc/hosts"):
        return
    with open("/etc/hosts", encoding="utf-8") as handle:
        run.file("/opt/circonus/var/hooper-standin/etc-hosts", handle.read())
    run.unit_file("circonus-lab-hosts")
    run.service("circonus-lab-hosts", running=False)
