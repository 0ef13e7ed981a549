# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which step of a condense comes next on a data_storage host, told by its data sets alone. Pure.

A condense writes the data set D anew: snapshot D@condense, copy to D-new, destroy D, rename D-new to D. The *facts* of
a host at one moment::

    {"name": D, "data_dir": where D belongs, "old": D of zfs.describe or None, "new": D-new or None,
     "pool": of zfs.parse_pool, "freeing": bytes, "copying": whether the copy runs now,
     "copied": {"guid", "bytes", "state"} of the last copy or None, "numeric": whether D holds data, None when not read,
     "record": {"dataset", "began": epoch s, "estimate", "finished"}, written before the node was stopped, or None,
     "up": whether the service runs}

The record only proves what belongs to this procedure, and so may be thrown away; how far it got, the data sets say. D
is destroyed in one call together with its proof: D is not mounted, D is as it was when the snapshot was taken, and the
snapshot of D-new, which exists only when ``zfs receive`` saw the checksum at the end of the stream, has its guid.

While it is copied D is mounted and read-only: in its place nothing else can be written, and a read leaves no trace. The
copy inherits that until it has taken the name.

Source: operation manual, "ZFS condensing"; zfs(8) for the guid of snapshots and for what a receive leaves behind.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

from ansible_collections.circonus.inside.plugins.module_utils.errors import Refused

SNAPSHOT = "condense"
NEW = "-new"
#: Percent of the pool that may be used; above, the manual wants a reconstitute instead.
CAPACITY_PERCENT = 45
#: By how much copy and original may differ in size; the layout of the copy is not the same, its content is.
SIZES = (0.9, 1.1)
#: How much shorter than its estimate a stream may be.
SHORTEST = 0.9
#: Bytes that two sizes may differ beyond that: what a data set needs for itself.
SLACK = 16 * 1024 * 1024
#: In the order in which a condense goes through them; discard and drop_snapshot go back to an earlier one.
STEPS = ("snapshot", "copy", "unmount", "swap", "freeing", "rename", "drop_received", "mount", "done")
TEXTS = {
    "snapshot": "Make {name} read-only and take the snapshot {name}@condense",
    "unmount": "Unmount {name}",
    "unmount_new": "Unmount {name}-new",
    "copy": "Copy {name}@condense to {name}-new",
    "discard": "Destroy the unfinished copy {name}-new",
    "drop_snapshot": "Destroy the outdated snapshot {name}@condense",
    "swap": "Destroy {name}@condense and {name}, whose copy is proven",
    "freeing": "Wait until the pool has released the space",
    "rename": "Rename {name}-new to {name}",
    "drop_received": "Destroy the received snapshot {name}@condense",
    "mount": "Make {name} writable and mount it",
    "done": "{name} is condensed",
    "end_copy": "End the copy to {name}-new",
}
#: How the service is stopped and started, by operating system. On EL7 the engine of the roles does it.
PLATFORMS = {
    "el7": {"unit": "circonus-snowth", "stop": ["systemctl", "stop", "circonus-snowth"],
            "start": ["systemctl", "start", "circonus-snowth"], "state": ["systemctl", "is-active", "circonus-snowth"],
            "up": "active"},
    "omnios": {"unit": "svc:/network/snowth:default", "stop": ["svcadm", "disable", "-s", "snowth"],
               "start": ["svcadm", "enable", "-s", "snowth"],
               "state": ["svcs", "-H", "-o", "state", "snowth"], "up": "online"},
}


def platform_of(system):
    """``el7`` or ``omnios`` of what the kernel calls itself (``platform.system()``)."""
    return "omnios" if system == "SunOS" else "el7"


def changed(data_set, snapshot):
    """Whether a data set is not as it was at its snapshot. Exact only while it is not mounted: what is not written yet
    is in no number. Any change replaces the root of the data set, and the snapshot then holds the old one alone."""
    return snapshot["used"] != 0 or data_set["referenced"] != snapshot["referenced"]


def received(data_set):
    """Whether the data set is a renamed copy: it was made when its snapshot existed already."""
    snapshot = data_set["snapshots"].get(SNAPSHOT)
    return snapshot is not None and data_set["creation"] >= snapshot["creation"]


def ours(facts):
    """Whether an unfinished run of this procedure made what is beside the data set."""
    record = facts["record"]
    return bool(record) and record["dataset"] == facts["name"] and not record.get("finished")


def condensed(facts):
    """Whether the data set was made anew since the record was begun, and nothing is left of the way there."""
    old, record = facts["old"], facts["record"]
    return bool(old and record and record["dataset"] == facts["name"] and facts["new"] is None
                and SNAPSHOT not in old["snapshots"] and old["creation"] >= int(record["began"]))


def in_progress(facts):
    """Whether a condense of this procedure was left on its way: a node that is down for that is no fault."""
    if not ours(facts):
        return False
    old = facts["old"]
    return (old is None or facts["new"] is not None or SNAPSHOT in old["snapshots"] or not usable(old)
            or not facts["up"])


def left_open(facts):
    """Whether only the end of a condense is missing: the data set is new and in use, the record does not say so yet."""
    return ours(facts) and not in_progress(facts) and condensed(facts)


def usable(data_set):
    """Whether a store can work on the data set."""
    return data_set["mounted"] and not data_set["read_only"]


def _foreign(data_set):
    """A sentence about what a plain destroy must not meet, '' when there is nothing."""
    if data_set["children"]:
        return "{0} has the data set {1} below it. Move it away first; condensing destroys {0}.".format(
            data_set["name"], data_set["children"][0])
    others = sorted(set(data_set["snapshots"]) - {SNAPSHOT})
    if others:
        return "{0} has the snapshot {1}, which condensing would lose. Keep it elsewhere and destroy it first.".format(
            data_set["name"], others[0])
    return ""


def _stranger(old, new):
    """A sentence when the copy is older than what should be its original: then the copy alone holds the data."""
    if old["creation"] < new["creation"]:
        return ""
    return ("{0} was made after {1}, so it is not the original; Hooper makes a data set that it misses. The data are "
            "in {1}: nothing is destroyed. Stop the store, look into both, destroy {0} if it is empty, and run "
            "again.").format(old["name"], new["name"])


def layout_problem(facts):
    """A sentence about why the manual's steps do not fit this host, '' when they do."""
    old = facts["old"]
    if old is None:
        return "Expected the data set {0}, found none.".format(facts["name"])
    if old["mountpoint"] != facts["data_dir"]:
        return ("Expected a data set of its own at {0}, found {1} at {2}. The manual's steps condense {0} alone; they "
                "do not fit this layout.").format(facts["data_dir"], old["name"], old["mountpoint"])
    if facts["numeric"] is False:
        return ("{0} holds no numeric data: this node keeps it in NNTBS (new nodes from 2019-04-22 on, all of releases "
                "from 2021-06-28 on), which condensing does not touch. Nothing to do here.").format(facts["data_dir"])
    return _foreign(old)


def room_problem(facts, limit=CAPACITY_PERCENT):
    """A sentence about a pool that must not be given a second copy now, '' when it may."""
    pool = facts["pool"]
    if pool["health"] != "ONLINE":
        return "Expected the pool {pool} to be ONLINE, found {health}. Mend it first (zpool status).".format(**pool)
    if pool["capacity"] > limit:
        return ("The pool {pool} is used to {capacity} %, condensing needs at most {limit} %: the copy stands beside "
                "the original. Reconstitute the node instead.").format(limit=limit, **pool)
    return ""


def _room(facts, limit, step):
    """``freeing`` while space is still being released, else the step. Raises Refused where there is no room."""
    if facts["freeing"]:
        return "freeing"
    problem = room_problem(facts, limit)
    if problem:
        raise Refused(problem)
    return step


def decide(facts, limit=CAPACITY_PERCENT):
    """The next step of :data:`STEPS`, or ``discard`` or ``drop_snapshot``. Raises Refused with one sentence.

    Nothing that is not proven to be a leftover of this procedure is destroyed, and never the only copy of anything.
    """
    old, name = facts["old"], facts["name"]
    if old is None:
        return _without_old(facts)
    if facts["new"] is not None:
        return _beside(facts, limit)
    if received(old):
        return "drop_received"
    if condensed(facts):
        return "done" if usable(old) else "mount"
    problem = layout_problem(facts)
    if problem:
        raise Refused(problem)
    snapshot = old["snapshots"].get(SNAPSHOT)
    if snapshot is not None:
        if not ours(facts):
            raise Refused("{0}@{1} exists, and no unfinished run of this procedure made it. Look whose it is, and "
                          "destroy it yourself.".format(name, SNAPSHOT))
        if facts["copying"]:
            return "copy"
        return "drop_snapshot" if changed(old, snapshot) else _room(facts, limit, "copy")
    return _room(facts, limit, "snapshot")


def _without_old(facts):
    """D is destroyed: the copy is all there is."""
    new, name = facts["new"], facts["name"]
    if new is None:
        raise Refused("Expected the data set {0} or its copy {0}{1}, found neither. The data of this node are gone: "
                      "reconstitute it.".format(name, NEW))
    if SNAPSHOT not in new["snapshots"]:
        raise Refused("{0} is gone, and {0}{1} has no snapshot {2} that would prove it complete. Nothing is done: ask "
                      "support, or reconstitute the node.".format(name, NEW, SNAPSHOT))
    return "freeing" if facts["freeing"] else "rename"


def _beside(facts, limit):
    """D and D-new exist."""
    old, new, name = facts["old"], facts["new"], facts["name"]
    if facts["copying"]:
        return "copy"
    if not ours(facts):
        raise Refused("{0} exists, and no unfinished run of this procedure made it. Look what it is, and destroy or "
                      "rename it yourself.".format(new["name"]))
    problem = _stranger(old, new) or _foreign(new)
    if problem:
        raise Refused(problem)
    got, snapshot = new["snapshots"].get(SNAPSHOT), old["snapshots"].get(SNAPSHOT)
    if got is None:
        return "discard"
    if new["mounted"]:  # after a boot
        return "unmount_new"
    if changed(new, got):
        raise Refused("{0} was used since it was received. Look what wrote there; it is not destroyed, and does not "
                      "replace {1}.".format(new["name"], name))
    if snapshot is None or any(got[key] != snapshot[key] for key in ("guid", "creation")):
        return "discard"
    if old["mounted"]:
        return "unmount"
    if changed(old, snapshot):
        return "discard"
    problem = proof_problem(facts) or _foreign(old)
    if problem:
        raise Refused(problem)
    return "swap"


def proof_problem(facts):
    """A sentence about what contradicts that the copy is whole, '' when nothing does. The guids agree already."""
    old, new, copied = facts["old"], facts["new"], facts["copied"]
    pool, snapshot, got = facts["pool"], old["snapshots"][SNAPSHOT], new["snapshots"][SNAPSHOT]
    keep = "Nothing was destroyed. Compare the two, and destroy {0} to have it copied again.".format(new["name"])
    if pool["health"] != "ONLINE":
        return "Expected the pool {pool} to be ONLINE, found {health}. Nothing was destroyed. Mend it first.".format(
            **pool)
    low, high = (share * snapshot["referenced"] for share in SIZES)
    if not low - SLACK <= got["referenced"] <= high + SLACK:
        return "Expected {0} to hold about {1} bytes as {2} does, found {3}. {4}".format(
            new["name"], snapshot["referenced"], old["name"], got["referenced"], keep)
    estimate = (facts["record"] or {}).get("estimate")
    # A copier that was killed at its end counted less than it sent.
    counted = copied and copied["state"] == "done" and copied["guid"] == snapshot["guid"]
    if estimate and counted and copied["bytes"] < SHORTEST * estimate - SLACK:
        return "Expected a stream of about {0} bytes (zfs send -nv), {1} were copied. {2}".format(
            estimate, copied["bytes"], keep)
    return ""


def abort(facts):
    """The next step back to a store as it was: ``end_copy``, ``discard``, ``drop_snapshot``, ``mount``, ``done``.

    Raises Refused from the moment on when the copy is all there is; then only going on helps.
    """
    old, new, name = facts["old"], facts["new"], facts["name"]
    if old is None:
        raise Refused("{0} is destroyed already, its copy is the only one. Run again without abort to finish.".format(
            name))
    if facts["copying"]:
        return "end_copy"
    if new is not None or (SNAPSHOT in old["snapshots"] and not received(old)):
        if not ours(facts):
            raise Refused("No unfinished run of this procedure made {0}. Look whose it is.".format(
                new["name"] if new is not None else "{0}@{1}".format(name, SNAPSHOT)))
        if new is None:
            return "drop_snapshot"
        got, problem = new["snapshots"].get(SNAPSHOT), _stranger(old, new) or _foreign(new)
        if not problem and got and changed(new, got):
            problem = "{0} was used since it was received. Look what wrote there; it is not destroyed.".format(
                new["name"])
        if problem:
            raise Refused(problem)
        return "discard"
    if received(old):
        return "drop_received"
    return "done" if usable(old) else "mount"


def progress(copied, passed_s):
    """``{"bytes", "total", "percent", "rate": bytes/s, "eta_s": None when unknown}`` of a copy that runs so long."""
    done, total = copied["bytes"], copied.get("total") or 0
    rate = done / passed_s if passed_s > 0 else 0.0
    left = max(0, total - done) / rate if rate > 0 and total else None
    # The estimate may be a little short.
    percent = min(99.9, 100.0 * done / total) if total else None
    return {"bytes": done, "total": total, "percent": None if percent is None else round(percent, 1),
            "rate": round(rate, 1), "eta_s": None if left is None else round(left)}
