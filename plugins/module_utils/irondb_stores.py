# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The stores of one data_storage node: data sets of ZFS or directories, set aside and made anew.

What is there is read from the host, never taken from a list: the manual's data sets differ between releases. Every
store that is worked on is known by more than its name (``mark``: creation time of a data set, device and inode of a
directory), so that a run that was interrupted never takes a new store for the old one.

Sources: operation manual, "Reconstituting a Data Storage node"; release notes for the stores that came later.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import errno
import os
import shutil
import time

from ansible_collections.circonus.inside.plugins.module_utils import programs, topology, unit_state
from ansible_collections.circonus.inside.plugins.module_utils.errors import (
    CommandFailed,
    InsideError,
    Refused,
    TimedOut,
)

ROOT = "/snowth"
#: The manual's stores in its order.
STORES = ("data", "text", "hist", "raw_db", "surrogate_db", "metric_name_db", "nntbs")
#: Stores that later texts name; only worked on when asked for.
EXTRA = ("metadata", "hist_ingest", "hist_rollup", "localstate")
#: Stores without a directory for each node.
SHARED = ("localstate",)
THROUGHPUT = ("raw_db", "surrogate_db")
#: Properties that a data set made anew takes over when they were set on the old one.
KEPT = ("mountpoint", "compression", "recordsize", "atime", "logbias", "primarycache", "sync", "quota", "reservation")
#: Room that the rebuild needs, for each byte that the old stores use.
MARGIN = 1.1
MEASURE_S = 120.0
BUSY_S = 60.0
FREEING_S = 6 * 3600.0


def zfs(argv, timeout=120.0, runner=unit_state.run):
    """Standard output of one command of zfs or zpool. Raises CommandFailed; "dataset is busy" is tried again."""
    program = programs.find_program(argv[0])
    if not program:
        raise CommandFailed("Cannot run {0}, this host has no such program.".format(argv[0]))
    end = time.monotonic() + BUSY_S
    while True:
        rc, out, err = runner([program] + list(argv[1:]), timeout)
        if rc == 0:
            return out
        if "busy" not in err or time.monotonic() > end:
            raise CommandFailed("{0} ended with exit code {1}: {2}. Look at the pool.".format(
                " ".join(argv), rc, " ".join(err.split()).rstrip(".") or "no message"))
        time.sleep(0.5)


# ---- reading ---------------------------------------------------------------------------------------------------


def is_zfs(path, mounts="/proc/mounts"):
    """Whether a path is on ZFS, by the kernel's list of mounts: a failing command must not make a data set look like a
    directory."""
    best, kind = "", ""
    with open(mounts) as handle:
        for line in handle:
            _source, place, found = (line.split() + ["", "", ""])[:3]
            inside = (path.rstrip("/") + "/").startswith(place.rstrip("/") + "/")
            if inside and len(place) >= len(best):  # of two mounts on one place the later one is seen
                best, kind = place, found
    return kind in ("zfs", "fuse.zfs")


def base_of(root=ROOT, run=zfs):
    """{"name": data set that holds ``root`` or "", "pool", "free": bytes, "children": {data set: mount point}}.

    Raises CommandFailed where ZFS does not answer.
    """
    name = run(["zfs", "list", "-H", "-o", "name", root]).strip() if is_zfs(os.path.realpath(root)) else ""
    if not name:
        info = os.statvfs(root)
        return {"name": "", "pool": "", "free": info.f_bavail * info.f_frsize, "children": {}}
    rows = run(["zfs", "list", "-H", "-r", "-t", "filesystem", "-o", "name,mountpoint", name])
    children = dict(line.split("\t") for line in rows.splitlines() if line.count("\t") == 1)
    return {"name": name, "pool": name.split("/")[0], "children": children,
            "free": int(run(["zfs", "get", "-H", "-p", "-o", "value", "available", name]).strip())}


def size_of(path, seconds=MEASURE_S):
    """Bytes below a directory; None when it takes longer than that."""
    end, total = time.monotonic() + seconds, 0
    for directory, _names, files in os.walk(path):
        for name in files:
            try:
                total += os.lstat(os.path.join(directory, name)).st_blocks * 512
            except OSError:  # removed meanwhile
                continue
        if time.monotonic() > end:
            return None
    return total


def mark_of(path):
    """``device:inode`` of a directory, None without it."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return "{0}:{1}".format(found.st_dev, found.st_ino)


def owner_of(path):
    """[user id, group id, mode] of a directory."""
    found = os.stat(path)
    return [found.st_uid, found.st_gid, found.st_mode & 0o7777]


def created(dataset, run=zfs):
    """Creation time of a data set as text, None when there is none of this name."""
    try:
        return run(["zfs", "get", "-H", "-p", "-o", "value", "creation", dataset]).strip() or None
    except CommandFailed as exc:
        if "does not exist" in str(exc) or "not exist" in str(exc):
            return None
        raise


def properties(dataset, run=zfs):
    """{name: value} of :data:`KEPT` that were set on the data set itself."""
    found = {}
    # All of them: a name that an old ZFS does not know would fail.
    for line in run(["zfs", "get", "-H", "-o", "property,value,source", "all", dataset]).splitlines():
        parts = line.split("\t")
        if len(parts) == 3 and parts[0] in KEPT and parts[2] in ("local", "received") and parts[1] not in ("none", "-"):
            found[parts[0]] = parts[1]
    return found


def read(identity, extra=(), root=ROOT, run=zfs, seconds=MEASURE_S):
    """``(base, stores, disk)`` of this host.

    base: of :func:`base_of`. disk: {store: [uuids below it]} of every store that exists. stores: in order, those that
    exist: {"store", "kind": dataset or directory, "dataset", "path": what is moved, "holder": directory of the store,
    "mark", "used": bytes or None, "movable": bool, "why": text, "properties", "owners": of holder and path, "empty",
    "mounted"}.
    """
    base, stores, disk = base_of(root, run), [], {}
    for store in STORES + tuple(extra):
        holder, dataset = os.path.join(root, store), "{0}/{1}".format(base["name"], store)
        if not os.path.isdir(holder) and dataset not in base["children"]:
            continue
        names = sorted(os.listdir(holder)) if os.path.isdir(holder) else []
        if store not in SHARED:
            disk[store] = [name for name in names if not topology.uuid_problem(name)]
        stores.append(_store(store, holder, dataset, identity, base, run, seconds, root))
    return base, stores, disk


def _store(store, holder, dataset, identity, base, run, seconds, root):
    path = holder if store in SHARED else os.path.join(holder, identity)
    item = {"store": store, "kind": "directory", "dataset": "", "path": path, "holder": holder, "mark": mark_of(path),
            "used": 0, "movable": True, "why": "", "properties": {}, "owners": [], "empty": False, "mounted": True}
    item["owners"] = [owner_of(name) for name in (holder, path) if os.path.isdir(name)]
    if base["name"] and dataset in base["children"]:
        if base["children"][dataset] != holder:
            raise Refused("Expected the data set {0} at {1}, found its mount point {2}. Correct it first.".format(
                dataset, holder, base["children"][dataset]))
        used = run(["zfs", "get", "-H", "-p", "-o", "value", "used", dataset]).strip()
        item.update(kind="dataset", dataset=dataset, mounted=os.path.ismount(holder), mark=created(dataset, run),
                    properties=properties(dataset, run), used=int(used))
        return item
    if item["mark"] is None:
        item["empty"] = True
        return item
    item["empty"] = not os.listdir(path)
    item["used"] = 0 if item["empty"] else size_of(path, seconds)
    if os.stat(path).st_dev != os.stat(root).st_dev or os.path.ismount(path):
        item.update(movable=False, why="{0} is on another file system than {1}".format(path, root))
    return item


# ---- deciding --------------------------------------------------------------------------------------------------


def decide(stores, free):
    """How the old stores are dealt with. Pure: ``{"action": aside or destroy, "reason", "used", "need", "unknown"}``.

    They are set aside by rename when what is free takes the rebuilt ones as well.
    """
    full = [item for item in stores if not item["empty"]]
    unknown = [item["store"] for item in full if item["used"] is None]
    used = sum(item["used"] or 0 for item in full)
    need = int(used * MARGIN)
    fixed = [item["why"] for item in full if not item["movable"]]
    reason = ""
    if fixed:
        reason = "{0}, so it cannot be set aside by a rename".format(fixed[0])
    elif unknown:
        reason = "how much {0} uses could not be measured in time".format(", ".join(unknown))
    elif need > free:
        reason = "{0} are free, {1} are needed to rebuild {2} beside what is there".format(
            size(free), size(need), size(used))
    return {"action": "destroy" if reason else "aside", "reason": reason, "used": used, "need": need}


def size(number):
    """``1.5 GB`` of bytes."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= factor:
            return "{0:.1f} {1}".format(number / factor, unit)
    return "{0:d} bytes".format(int(number))


def job(item, action, stamp, base, root=ROOT):
    """What the record of a rebuild keeps of one store of :func:`read`. Pure."""
    kept = dict((key, item[key]) for key in ("store", "kind", "dataset", "path", "holder", "mark", "used", "properties",
                                             "owners"))
    if item["kind"] == "dataset":
        aside = "{0}/aside-{1}-{2}".format(base, stamp, item["store"])
    else:
        aside = os.path.join(root, "aside", stamp, item["store"], os.path.basename(item["path"]))
        if not item["movable"]:  # only ever destroyed, and so out of the way on its own file system
            aside = os.path.join(item["holder"], ".aside-" + stamp)
        if item["empty"]:
            kept["mark"] = None  # nothing to set aside
    return dict(kept, aside=aside, action=action)


def next_step(kept, now):
    """What is to be done next to a store: move, empty, drop, create, node or done. Pure.

    kept: of :func:`job`. now: {"original", "aside": marks or None, "entries": in a directory that was set aside,
    "node": whether the directory of the node is there}. Only what has the mark of the old store is moved or destroyed.
    A directory is there until the new one is, as its inode may be given to the new one otherwise.
    Raises Refused when the place for what is set aside is taken.
    """
    old = kept["mark"]
    if old and now["original"] == old:
        if now["aside"] is not None:
            raise Refused("Expected nothing at {0}, found something. Look at it and move it away.".format(
                kept["aside"]))
        return "move"
    mine = bool(old) and now["aside"] == old and kept["action"] == "destroy"
    if mine and kept["kind"] == "dataset":
        return "drop"
    if mine and now["entries"]:
        return "empty"
    if now["original"] is None:
        return "create"
    if not now["node"]:
        return "node"
    return "drop" if mine else "done"


# ---- doing -----------------------------------------------------------------------------------------------------


def look(kept, run=zfs):
    """What :func:`next_step` wants to know of a store now."""
    if kept["kind"] == "dataset":
        original, aside, entries = created(kept["dataset"], run), created(kept["aside"], run), 0
    else:
        original, aside = mark_of(kept["path"]), mark_of(kept["aside"])
        entries = len(os.listdir(kept["aside"])) if aside else 0
    node = os.path.isdir(kept["path"])
    return {"original": original, "aside": aside, "entries": entries, "node": node}


def carry_out(step, kept, run=zfs):
    """One step of :func:`next_step`. Raises InsideError."""
    try:
        if kept["kind"] == "dataset":
            _dataset(step, kept, run)
        else:
            _directory(step, kept)
    except (IOError, OSError) as exc:
        raise InsideError("{0} of {1} failed: {2} ({3}). Mend it and give the same command again.".format(
            step, kept["path"], exc.strerror, exc.filename or kept["path"]))


def _dataset(step, kept, run):
    dataset, aside = kept["dataset"], kept["aside"]
    if step == "move":
        # One with others below it is unmounted after them; none of them is mounted at the next start of the host.
        for name in reversed(run(["zfs", "list", "-H", "-r", "-t", "filesystem", "-o", "name", dataset]).split()):
            run(["zfs", "set", "canmount=noauto", name])
            try:
                run(["zfs", "unmount", name])
            except CommandFailed as exc:
                if "not currently mounted" not in str(exc):
                    raise
        run(["zfs", "rename", dataset, aside])
    elif step == "drop":
        run(["zfs", "destroy", "-r", aside], timeout=3600.0)
    elif step == "create":
        options = dict(kept["properties"])
        if kept["store"] in THROUGHPUT:
            options["logbias"] = "throughput"
        argv = ["zfs", "create"]
        for name in sorted(options):
            argv += ["-o", "{0}={1}".format(name, options[name])]
        run(argv + [dataset])
    else:
        _make(kept)


def _directory(step, kept):
    path, aside = kept["path"], kept["aside"]
    if step == "move":
        if not os.path.isdir(os.path.dirname(aside)):
            os.makedirs(os.path.dirname(aside), 0o755)
        os.rename(path, aside)
    elif step == "empty":
        for name in sorted(os.listdir(aside)):
            inside = os.path.join(aside, name)
            if os.path.isdir(inside) and not os.path.islink(inside):
                shutil.rmtree(inside)
            else:
                os.unlink(inside)
    elif step == "drop":
        shutil.rmtree(aside)
        prune(aside)
    else:
        _make(kept)


def _make(kept):
    """The directories of the store and of the node, as theirs were before."""
    owners = kept["owners"] or [[0, 0, 0o755]]
    for path, owner in ((kept["holder"], owners[0]), (kept["path"], owners[-1])):
        if not os.path.isdir(path):
            os.makedirs(path, 0o755)
        os.chown(path, owner[0], owner[1])
        os.chmod(path, owner[2])


def prune(aside):
    """Remove what is empty of ``aside/<stamp>/<store>`` above a directory that was removed."""
    directory = os.path.dirname(aside)
    for _level in range(3):
        try:
            os.rmdir(directory)
        except OSError as exc:
            if exc.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT, errno.EBUSY):
                return
            raise
        directory = os.path.dirname(directory)


def freeing(pool, run=zfs):
    """Bytes that the pool still gives back; 0 where it has no such property."""
    try:
        rows = run(["zpool", "get", "freeing", pool]).splitlines()
    except CommandFailed as exc:
        if "bad property" in str(exc) or "invalid property" in str(exc):
            return 0
        raise
    parts = rows[-1].split() if len(rows) > 1 else []
    return 0 if len(parts) < 3 or parts[2] in ("0", "-") else parts[2]


def wait_freed(pool, run=zfs, seconds=FREEING_S, pause=time.sleep):
    """Wait until a pool has given back what was destroyed (the manual's step 7). Raises TimedOut."""
    end = time.monotonic() + seconds
    while True:
        left = freeing(pool, run)
        if not left:
            return
        if time.monotonic() > end:
            raise TimedOut("The pool {0} still frees {1} after {2:.0f} s. Give the same command again later.".format(
                pool, left, seconds))
        pause(2.0)
