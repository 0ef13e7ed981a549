"""One small site with a large store, made of the active site of an inventory: `lab up --stores N`."""

import json
import os
import re
import uuid

from . import LabError
from .paths import write

#: Beside the store only what a site.json cannot be without. The database host is where procedures take their lock.
KEPT = ("api", "ca", "data_storage", "mq", "web_db", "web_frontend")
FEWEST, MOST = 2, 12
SITE_FILE = re.compile(r"site\.([A-Za-z0-9_-]+)\.json$")
#: Nodes from which on the sizing rule of the store wants three copies.
THREE_COPIES_FROM = 6


def check(count, sided):
    """Refuse a store that cannot be."""
    if not FEWEST <= count <= MOST:
        raise LabError("--stores %d: expected %d to %d" % (count, FEWEST, MOST))
    if sided and count % 2:
        raise LabError("--stores %d --sided: expected an even number, half of it on each side" % count)


def wish(state):
    """(number, sided) that a lab was asked for, None for the store of its inventory."""
    return (state["stores"], state["sided"]) if state.get("stores") else None


def reduce(site, count, sided):
    """site.json of the active site with the roles of KEPT and so many stores, its first one and more like it.

    Half of them are side_a, the others side_b, when sided.
    """
    services = {role: dict(site["svclist"][role]) for role in KEPT}
    master = services["web_db"]["master"]
    for role in ("ca", "mq", "web_db", "web_frontend"):
        services[role]["_machlist"] = [master]
    services["api"]["_machlist"] = services["api"]["_machlist"][:1]
    services["web_db"]["connect_host"] = services["ca"]["primary"] = master
    services["web_db"].pop("read_connect_host", None)
    store = services["data_storage"]
    store.pop("secondary_cluster", None)
    first = store["_machlist"][0]
    like = site["machinfo"][first]
    network, _dot, last = like["ip_address"].rpartition(".")
    stores = {}
    for number in range(count):
        name = "%s%d" % (first.rstrip("0123456789"), number + 1)
        stores[name] = dict(
            like,
            ip_address="%s.%d" % (network, int(last) + number),
            node_id=str(uuid.UUID(int=uuid.UUID(like["node_id"]).int + number)),
        )
    hosts = list(stores)
    store["_machlist"] = hosts
    if count >= THREE_COPIES_FROM:
        store["ncopies"] = max(3, int(store.get("ncopies", 2)))
    if sided:
        store.update(side_a=hosts[: count // 2], side_b=hosts[count // 2 :])
    others = dict.fromkeys(host for role in KEPT if role != "data_storage" for host in services[role]["_machlist"])
    result = {key: value for key, value in site.items() if key != "active_datacenter"}
    result.update(svclist=services, machinfo=dict({host: site["machinfo"][host] for host in others}, **stores))
    return result


def reshape(directory, count, sided):
    """Make a copied inventory that of one site with so many stores."""
    chosen = None
    for name in sorted(os.listdir(directory)):
        path = os.path.join(directory, name)
        found = SITE_FILE.match(name)
        if found:
            with open(path, encoding="utf-8") as stream:
                site = json.load(stream)
            if site.get("active_datacenter", True) and chosen is None:
                chosen = found.group(1), name, site
        if found or name.endswith(".site.yml"):
            os.unlink(path)
    if chosen is None:
        raise LabError("--stores: expected a site.NAME.json of an active site in the inventory, found none")
    site_name, name, site = chosen
    text = json.dumps(reduce(site, count, sided), indent=2) + "\n"
    write(os.path.join(directory, name), text, mode=0o600)
    lines = ["---", "# Written by `lab up --stores`.", "plugin: circonus.inside.site", "sites:"]
    lines += ["  %s:" % site_name, "    file: %s" % name]
    write(os.path.join(directory, "lab.site.yml"), "\n".join(lines) + "\n")
