"""Roles data_storage and long_tail_storage, and the roles redis and search of the 2019 manual."""

import grp
import hashlib
import os
import struct
import subprocess

from hooper.site_file import FATAL

SNOWTH, RSYNC, REDIS, ELASTIC = (
    "circonus-snowth",
    "circonus-ltstore-rsync",
    "circonus-redis",
    "circonus-elasticsearch",
)
ETC = "/opt/circonus/etc"
STORES = ("data", "text", "hist", "raw_db", "surrogate_db", "metric_name_db", "nntbs")
RELEASES = {"2019": "2019-11-04", "later": "2021-11-29"}  # of the store's package, by edition
BUSY = ("raw_db", "surrogate_db")
SLOTS = 512
LONG_TAIL = "/ltstore"


def topology_nodes(site):
    """[(id, address, weight, side)] in the order of the role's list."""
    hosts, role = site.hosts("data_storage"), site.role("data_storage")
    weight = SLOTS // max(len(hosts), 1)
    sides = {host: side for side in ("a", "b") for host in role.get("side_" + side, [])}
    return [(site.machinfo[host].get("node_id", ""), site.address(host), weight, sides.get(host)) for host in hosts]


def topology(copies, nodes):
    """The topology's file."""
    lines = [f'<nodes write_copies="{copies}">']
    for ident, address, weight, side in nodes:
        place = f' side="{side}"' if side else ""
        lines.append(f'  <node id="{ident}" address="{address}" apiport="8112" port="8112" weight="{weight}"{place}/>')
    return "\n".join([*lines, "</nodes>"]) + "\n"


def digest(copies, nodes):
    """Name of the topology (what snowthimport prints)."""
    sided = any(side for *_rest, side in nodes)
    total = hashlib.sha256()
    for ident, _address, weight, side in nodes:
        total.update(ident.encode() + b"\0\0" + struct.pack(">H", weight))
        if sided:
            total.update(struct.pack(">H", {"a": 1, "b": 2}.get(side, 0)))
    if copies != 2:
        total.update(b"\0" * 38 + struct.pack(">H", copies) + (b"\0\0" if sided else b""))
    return total.hexdigest()


def data_storage(run, site, facts, name):
    nodes = topology_nodes(site)
    ident = site.machinfo[name].get("node_id")
    if not ident:
        run.note(FATAL, f"machinfo.{name} has no node_id, which data_storage needs")
        return
    group(run, "nobody")
    run.directory("/snowth", 0o755, "nobody", "nobody")
    for name in ("logs", "localstate", "redo"):
        run.directory(f"/snowth/{name}", 0o755, "nobody", "nobody")
    base = dataset("/snowth")
    for store in STORES:
        if base and not exists(f"{base}/{store}"):
            options = ["-o", "logbias=throughput"] if store in BUSY else []
            command = ["zfs", "create", *options, f"{base}/{store}"]
            run.resource(f"zfs[{base}/{store}]", True, lambda command=command: run.run(command, check=True))
        run.directory(f"/snowth/{store}", 0o755, "nobody", "nobody")
        run.directory(f"/snowth/{store}/{ident}", 0o755, "nobody", "nobody")
    copies = max(1, int(site.role("data_storage").get("ncopies", 2)))
    # The topology is written at the first installation and then left alone.
    if not os.path.exists(f"{ETC}/topology"):
        text, active = topology(copies, nodes), digest(copies, nodes)
        run.directory(f"{ETC}/snowth-topo", 0o755, "nobody", "nobody")
        run.file(f"{ETC}/topology", text)
        run.file(f"{ETC}/snowth-topo/{active}", text)
        run.file(
            f"{ETC}/topology.conf",
            f'<topology path="{ETC}/snowth-topo" active="{active}" next="" redo="/snowth/redo/{{node}}"/>\n',
            owner="nobody",  # a rebalance rewrites it
        )
    changed = settings(run, facts)
    run.once(f"{ETC}/licenses.conf", "<licenses>\n</licenses>\n")
    run.link("/opt/circonus/sbin/snowthd", "/opt/circonus/libexec/lab/bin/snowthd")
    if facts["edition"] != "2019":
        run.link("/opt/circonus/bin/snowth-start", "/opt/circonus/libexec/lab/bin/snowth-start")
    run.unit_file(SNOWTH)
    run.later([SNOWTH], restart=changed)


def dataset(path):
    """The ZFS data set that is mounted there, an empty text without one."""
    if not os.path.ismount(path):
        return ""
    found = subprocess.run(["zfs", "list", "-H", "-o", "name", path], stdout=subprocess.PIPE, text=True, check=False)
    return found.stdout.strip() if found.returncode == 0 else ""


def exists(name):
    """Whether there is a data set, mounted or not."""
    found = subprocess.run(["zfs", "list", "-H", name], capture_output=True, check=False)
    return found.returncode == 0


def settings(run, facts):
    """snowth.conf holds the selector of topology.conf, which an activated topology would change."""
    try:
        with open(f"{ETC}/topology.conf", encoding="utf-8") as handle:
            selector = handle.read()
    except FileNotFoundError:  # why-run of a first run
        selector = ""
    release = f'  <lab release="{RELEASES.get(facts["edition"], RELEASES["later"])}"/>\n'
    text = f"<!-- Written by Hooper (lab stand-in); edits are lost -->\n<snowth>\n  {selector}{release}</snowth>\n"
    return run.file(f"{ETC}/snowth.conf", text)


def group(run, name):
    try:
        grp.getgrnam(name)
        missing = False
    except KeyError:
        missing = True
    run.resource(f"group[{name}]", missing, lambda: run.run(["groupadd", "--system", name], check=True))


def long_tail_storage(run, site, facts, name):
    """A real rsync daemon with one module for what stratcon hosts send; keeping it is the operator's affair."""
    run.directory(LONG_TAIL, 0o755, "circonus")
    clients = " ".join(site.address(host) for host in site.hosts("stratcon"))
    lines = ["# Written by Hooper (lab stand-in) from site.json; edits are lost", "use chroot = false"]
    lines += ["uid = circonus", "gid = circonus", "[ltstore]", f"path = {LONG_TAIL}", "read only = false"]
    run.file("/opt/circonus/etc/ltstore-rsyncd.conf", "\n".join([*lines, f"hosts allow = {clients}"]) + "\n")
    run.unit_file(RSYNC)
    run.later([RSYNC])


def redis(run, site, facts, name):
    run.unit_file(REDIS)
    run.later([REDIS])


def search(run, site, facts, name):
    run.directory("/opt/circonus/elasticsearch")
    run.directory("/opt/circonus/elasticsearch/logs", 0o755, "circonus")
    run.unit_file(ELASTIC)
    run.later([ELASTIC])
