# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The reconstitute itself: found where it runs, started once and detached, watched, and known to have finished.

Sources: operation manual, "Reconstituting a Data Storage node": the command, that a silent console is normal, that the
same command goes on after an interruption, and the last line. What the statistics call their percentages is in no
document, and whether the program ends by itself is not either; both are taken as they come.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os
import signal
import subprocess
import time

from ansible_collections.circonus.inside.plugins.module_utils import irondb, irondb_cluster, irondb_stores
from ansible_collections.circonus.inside.plugins.module_utils.errors import CommandFailed, InsideError, TimedOut

DAEMON = "/opt/circonus/sbin/snowthd"
WRAPPER = "/opt/circonus/bin/snowth-start"
FINISHED = "Reconstitute Finished!"
#: Seconds that a start is looked at, that the program has to end after its last line, and between two looks.
BEGIN_S, END_S, LOOK_S = 3.0, 10.0, 2.0
TAIL = 64 * 1024
#: Words of names under which a number is a percentage, or a count of bytes.
PERCENT, DONE, TOTAL = ("percent", "pct", "progress", "complete"), ("done", "read", "written", "received"), ("total",)


# ---- finding ---------------------------------------------------------------------------------------------------


def commands(proc="/proc"):
    """[(process id, [words])] of all processes."""
    found = []
    for entry in os.listdir(proc):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            with open(os.path.join(proc, entry, "cmdline"), "rb") as handle:
                words = handle.read().decode("utf-8", "replace").split("\0")
        except (IOError, OSError):  # ended meanwhile
            continue
        found.append((int(entry), [word for word in words if word]))
    return found


def sort_out(found):
    """{"running": [{"pid", "node": of -i or None}] of a reconstitute, "daemons": [pids] of any other snowthd}. Pure.

    found: of :func:`commands`. The program may be run by an interpreter or by its start script.
    """
    result = {"running": [], "daemons": []}
    for pid, words in found:
        at = [number for number, word in enumerate(words[:4]) if os.path.basename(word) in ("snowthd", "snowth-start")]
        if not at or at[0] and os.path.basename(words[0])[:2] not in ("py", "sh", "ba"):
            continue
        options = words[at[0] + 1:]
        if "-B" in options:
            node = options[options.index("-i") + 1] if "-i" in options[:-1] else None
            result["running"].append({"pid": pid, "node": node})
        elif "status" not in options:
            result["daemons"].append(pid)
    return result


def processes(proc="/proc"):
    """:func:`sort_out` of this host."""
    return sort_out(commands(proc))


# ---- starting --------------------------------------------------------------------------------------------------


def command(identity, source=None, wrapper=False):
    """The manual's command; that of the later edition where its start script exists. Pure.

    source: {"digest", "address": ip:port} of another cluster, or None.
    """
    argv = [WRAPPER, "-B"] if wrapper else [DAEMON, "-u", "nobody", "-g", "nobody", "-i", identity, "-B"]
    return argv + (["-T", source["digest"], "-O", source["address"]] if source else [])


def start(argv, log, begin_s=BEGIN_S):
    """Start it detached, its console in ``log``. Raises CommandFailed when it ends at once with a complaint.

    Returns its process id.
    """
    with open(log, "ab") as console:
        console.write("# {0} {1}\n".format(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                                           " ".join(argv)).encode("utf-8"))
        console.flush()
        try:
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT,
                                       cwd="/", close_fds=True, start_new_session=True)
        except OSError as exc:
            raise CommandFailed("Cannot run {0}: {1}. Look at this host.".format(argv[0], exc.strerror))
    try:
        rc = process.wait(timeout=begin_s)
    except subprocess.TimeoutExpired:
        return process.pid
    if rc:
        sentence = "{0} ended at once with exit code {1}: {2}. Mend it and give the same command again."
        raise CommandFailed(sentence.format(" ".join(argv), rc, last_words(log)))
    return process.pid


def console_of(log):
    """The end of the console as lines, [] without one."""
    try:
        with open(log, "rb") as handle:
            handle.seek(0, os.SEEK_END)
            handle.seek(max(0, handle.tell() - TAIL))
            return handle.read().decode("utf-8", "replace").splitlines()
    except (IOError, OSError):
        return []


def finished(lines):
    """Whether the console has the manual's last line. Pure."""
    return any(line.strip().endswith(FINISHED) and not line.startswith("#") for line in lines)


def last_words(log):
    """What the console said last, for a sentence."""
    said = [line.strip() for line in console_of(log) if line.strip() and not line.startswith("#")]
    return " | ".join(said[-3:]).rstrip(".") or "it said nothing"


# ---- watching --------------------------------------------------------------------------------------------------


def progress(section):
    """{"percent": of all or None, "parts": {name: percent}, "done", "total": bytes or None} of the section
    ``reconstitute`` of the statistics ({path: value}, None without it). Pure.

    Percentages have a name that says so; without any, numbers from 0 to 100 that are no count of bytes are taken. The
    whole is as far as the mean of its parts.
    """
    numbers = dict((path, irondb.number(value)) for path, value in (section or {}).items())
    numbers = dict((path, value) for path, value in numbers.items() if value is not None)
    sizes = dict((path, value) for path, value in numbers.items() if "byte" in path.lower())
    others = dict((path, value) for path, value in numbers.items() if path not in sizes and 0.0 <= value <= 100.0)
    named = dict((path, value) for path, value in others.items() if _has(path.lower(), PERCENT))
    parts = named or others
    total = sum(value for path, value in sizes.items() if _has(path.lower(), TOTAL))
    done = sum(value for path, value in sizes.items() if _has(path.lower(), DONE) and not _has(path.lower(), TOTAL))
    percent = sum(parts.values()) / len(parts) if parts else 100.0 * done / total if total else None
    return {"percent": None if percent is None else round(min(percent, 100.0), 2),
            "parts": dict((path.split("/")[0], value) for path, value in parts.items()),
            "done": int(done) if sizes else None, "total": int(total) if total else None}


def _has(path, words):
    return any(word in path for word in words)


def estimate(points):
    """Seconds until 100 percent from [(seconds, percent)], oldest first; None while it does not move. Pure.

    A percentage falls when another source has told what it has; what was before that counts no more.
    """
    known = []
    for point in points:
        if point[1] is not None:
            known = known + [point] if known and point[1] >= known[-1][1] else [point]
    if len(known) < 2 or known[-1][1] <= known[0][1]:
        return None
    rate = (known[-1][1] - known[0][1]) / max(known[-1][0] - known[0][0], 0.001)
    return (100.0 - known[-1][1]) / rate


def line(row, left):
    """One line of progress. row: of :func:`watch` with ``before``. left: seconds or None. Pure."""
    percent = "percent unknown" if row["percent"] is None else "{0:5.1f} %".format(row["percent"])
    size, text = irondb_stores.size, ""
    if row["done"] is not None:
        text = "  " + size(row["done"]) + (" of {0}".format(size(row["total"])) if row["total"] else "")
    elif row["used"] is not None:
        text = "  " + size(row["used"]) + (" on disk, {0} before".format(size(row["before"])) if row["before"] else
                                           " on disk")
    parts = ", ".join("{0} {1:.0f} %".format(name, row["parts"][name]) for name in sorted(row["parts"]))
    eta = "ETA unknown" if left is None else "ETA {0:.0f} s".format(left) if left < 90 else "ETA {0:.0f} min".format(
        left / 60) if left < 7200 else "ETA {0:.1f} h".format(left / 3600)
    more = "  ({0})".format(parts) if parts else ""
    return "{0:>6.0f} s  {1}{2}  {3}{4}".format(row["seconds"], percent, text, eta, more)


def statistics(address, port, timeout=irondb.TIMEOUT_S):
    """The section of the statistics of a node, None when it does not tell; it is only to be shown."""
    try:
        return irondb.Client(address, port, timeout).stats()["reconstitute"]
    except irondb.Unanswered:
        return None


def watch(identity, log, address, timeout, used=lambda: None, find=processes, ask=statistics, clock=time.monotonic,
          pause=time.sleep):
    """Look at a reconstitute until it has finished, has ended without that, or ``timeout`` seconds have passed.

    address: address:port of its pages. used: tells bytes on the disk. Returns {"finished": bool, "running": bool,
    "seconds", "percent", "parts", "done", "total", "used"}. Raises InsideError when it has ended unfinished.
    """
    started, (host, port) = clock(), irondb_cluster.endpoint(address, irondb.PORT)
    while True:
        running = [item for item in find()["running"] if item["node"] in (None, identity)]
        over = finished(console_of(log))
        passed = clock() - started
        if not running and not over:
            pause(LOOK_S)  # between its last line and this look it may have ended
            over = finished(console_of(log))
            if not over and not [item for item in find()["running"] if item["node"] in (None, identity)]:
                raise InsideError("The reconstitute of {0} ended without {1!r} in {2}: {3}. The same command goes on "
                                  "where it stopped.".format(identity, FINISHED, log, last_words(log)), finished=False)
        if over or passed >= timeout:
            row = progress(ask(host, port)) if not over else dict(progress(None), percent=100.0)
            return dict(row, finished=over, running=bool(running), seconds=round(passed, 1), used=used())
        pause(min(LOOK_S, timeout - passed))


def settle_down(identity, log, find=processes, kill=os.kill, clock=time.monotonic, pause=time.sleep, end_s=END_S,
                patience_s=60.0):
    """See that a finished reconstitute is gone: it may end by itself, otherwise it is told to. Raises InsideError."""
    if not finished(console_of(log)):
        raise InsideError("Expected {0!r} in {1}, found: {2}. The node stays down until it is there.".format(
            FINISHED, log, last_words(log)))
    begun, told = clock(), set()
    while True:
        left = [item["pid"] for item in find()["running"] if item["node"] in (None, identity)]
        if not left:
            return bool(told)
        passed = clock() - begun
        if passed > patience_s:
            raise TimedOut("The finished reconstitute (process {0}) did not end within {1:.0f} s of being told to. End "
                           "it by hand and give the same command again.".format(left[0], patience_s))
        if passed >= end_s:
            for pid in left:
                if pid not in told:
                    told.add(pid)
                    try:
                        kill(pid, signal.SIGTERM)
                    except OSError:  # ended by itself just now
                        continue
        pause(0.5)
