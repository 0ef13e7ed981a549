"""The name server of the nsupdate variant: a real BIND with one zone that the procedures update with a key."""

import os

from . import podman
from .layout import DNS, ZONE

KEY_FILE = "/etc/circonus-lab-ddns.key"
NAMED_CONF = """include "%(key)s";
options {
    directory "/var/cache/bind";
    listen-on { any; };
    listen-on-v6 { none; };
    recursion no;
    dnssec-validation no;
    allow-query { any; };
};
zone "%(zone)s" {
    type primary;
    file "/var/lib/bind/%(zone)s.db";
    allow-update { key "lab"; };
};
"""
ZONE_FILE = """$ORIGIN %(zone)s.
$TTL 1
@ IN SOA ns hostmaster 1 60 60 3600 1
@ IN NS ns
ns IN A %(server)s
"""


def configure(lab):
    """Start the name server, point every host at it, and make the clients' name lead to the active site."""
    facts = {"zone": ZONE, "server": lab.plan.service(DNS), "key": KEY_FILE}
    with open(lab.project.path("ddns.key"), encoding="utf-8") as stream:
        key = stream.read()
    put(lab, "dns", KEY_FILE, key, "root:bind", "0640")
    put(lab, "dns", "/etc/bind/named.conf", NAMED_CONF % facts, "root:bind", "0644")
    zone = "/var/lib/bind/%s.db" % ZONE
    if lab.execute("dns", "test", "-e", zone, check=False).returncode != 0:
        lines = ["%s IN A %s" % (host.name, host.service) for host in lab.hosts]
        entry = lab.site_files()[lab.active_site()]["svclist"]["web_db"]["connect_host"]
        lines.append("db IN A %s" % lab.host(entry).service)
        put(lab, "dns", zone, ZONE_FILE % facts + "\n".join(lines) + "\n", "bind:bind", "0644")
    lab.execute("dns", "systemctl", "enable", "--quiet", "--now", "named")

    def point(name):
        put(
            lab,
            name,
            "/etc/resolv.conf",
            "nameserver %s\noptions timeout:1 attempts:2\n" % facts["server"],
            "root:root",
            "0644",
        )
        put(lab, name, KEY_FILE, key, "root:root", "0600")

    podman.parallel(point, [name for name in lab.members() if name not in ("router", "dns")])


def put(lab, name, path, text, owner, mode):
    """Write a file in a container at once."""
    script = 'umask 077; cat > "$1.new" && chown "$2" "$1.new" && chmod "$3" "$1.new" && mv "$1.new" "$1"'
    lab.execute(name, "sh", "-c", script, os.path.basename(path), path, owner, mode, stdin=text)
