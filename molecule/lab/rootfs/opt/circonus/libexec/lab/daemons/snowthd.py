"""circonus-snowth (snowthd): watchdog and child, HTTP and gossip on 8112, console on 32322; the rest is daemons.snowth.

Data is really kept in as many copies as the topology says, journalled for nodes that are down, rebuilt and repaired.
"""

import grp
import os
import pwd
import signal
import sys
import time

from daemons import watchdog
from daemons.snowth import level, node, options, reconstitute, release, store

USAGE = 2
STOP_SECONDS = 30.0


def become(user, group):
    """Give up root for the account of -u and -g."""
    if os.geteuid() == 0 and group:
        os.setgroups([])
        os.setgid(group_id(group))
    if os.geteuid() == 0 and user:
        os.setuid(pwd.getpwnam(user).pw_uid)


def group_id(group):
    """nobody is called nogroup on some systems."""
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        return pwd.getpwnam(group).pw_gid


def control(chosen, root):
    """-k status and -k stop."""
    pid = node.holder(root)
    if chosen.control == "status":
        print("snowthd is %s" % ("running, pid %d" % pid if pid else "not running"))
        return 0 if pid else 1
    if not pid:
        print("snowthd is not running", file=sys.stderr)
        return 1
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while node.holder(root) == pid and time.monotonic() < deadline:
        time.sleep(0.05)
    return 0 if node.holder(root) != pid else 1


def repair(daemon, what):
    """-r: in the foreground, on a store that nobody uses."""
    if what not in store.targets():
        print("-r: unknown store %s (%s)" % (what, ", ".join(store.targets())), file=sys.stderr)
        return 1
    daemon.lock_store()
    daemon.configure()
    path = store.place(daemon.root, daemon.identity, what)
    if not os.path.isdir(path):
        print("-r: %s: no such directory" % path, file=sys.stderr)
        return 1
    kept, lost = level.repair(path)
    daemon.log("leveldb: repaired %s: %d records, %d bytes lost" % (path, kept, lost))
    return 0


def convert(daemon):
    """-N: numeric data from data/ to nntbs/."""
    daemon.lock_store()
    daemon.configure()
    if not daemon.release.converts:
        print("-N is gone from this release (2021-06-28)", file=sys.stderr)
        return 1
    store.convert(daemon.root, daemon.identity)
    return 0


def foreground(daemon, chosen):
    """What ends by itself."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    if chosen.repair:
        return repair(daemon, chosen.repair)
    if chosen.convert:
        return convert(daemon)
    if chosen.drain:
        return daemon.drain()
    if chosen.without and not released(daemon).leaves_out:
        print("-S is not in this release (2021-05-17)", file=sys.stderr)
        return USAGE
    try:
        return daemon.rebuild()
    except reconstitute.Failed as exc:
        print(exc, file=sys.stderr)
        return 1


def released(daemon):
    """Release of a daemon that is not configured yet."""
    with open(daemon.options.conf, encoding="utf-8") as handle:
        return release.Release(daemon.faults.text("release") or release.of_conf(handle.read()))


def main(arguments=None, **places):
    """places: topologies, root, host, console_port and fault_dir of node.Snowth, for tests."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        chosen = options.Options(arguments)
    except options.Usage as exc:
        print("snowthd: %s" % exc, file=sys.stderr)
        return USAGE
    if chosen.help:
        print("usage: snowthd -i <uuid> [-k start|stop|status] [-c conf] [-B ...] [-r what] [-j] [-N]")
        return 0
    if chosen.control != "start":
        return control(chosen, places.get("root", node.STORE))
    become(chosen.user, chosen.group)
    log = node.Snowth(watchdog.Child(), chosen, **places).log
    if chosen.rebuild or chosen.repair or chosen.drain or chosen.convert:
        print("LAB STAND-IN of circonus-snowth (not vendor code)", flush=True)
        return foreground(node.Snowth(watchdog.Child(), chosen, **places), chosen)
    return watchdog.run(
        "circonus-snowth",
        lambda child: node.Snowth(child, chosen, **places).work(),
        log,
        [] if chosen.watched else ["-M"],
    )
