# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which stores of a data_storage node its error log calls damaged, and whether they still are. Reads only.

The manual prints no message; it says that errorlog names the store. LevelDB words its statuses ``Corruption: ...``, and
``... does not exist (create_if_missing is false)`` for a store without its CURRENT; RocksDB (raw data) has the first
too, and a NNTBS shard that is corrupt is taken offline since 2021-07-26. So a line counts that says so and has the path
of a store, or the name that ``snowthd -r`` has for it.

A log remembers what was mended long ago. Two things disprove a line: a process that answers and began after it, since
it has opened every store; and a CURRENT that was written after it, since LevelDB writes that file last when it repairs
or opens a store, and not when it fails to. When the CURRENT of every store was, a process has opened them all since.
LevelDB does not look at every block when it opens a store, so a person may insist on a complaint that only an opening
disproves; what the repair itself left behind (``lost/``) tells that it was repaired since.

Sources: operation manual, "Repairing Corrupt LevelDB Data Stores"; IRONdb manual, "Command line options"; LevelDB's
public description of its files.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import calendar
import glob
import os
import re
import time

from ansible_collections.circonus.inside.plugins.module_utils import host_check_read, irondb, topology, unit_state
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput, CommandFailed, TimedOut

ROOT = "/snowth"
PROGRAM = "snowthd"
#: What ``-r`` takes besides ``hist/<period>``.
TARGETS = ("text/metrics", "text/changelog", "hist/metrics")
#: Bytes of each log file that are read, its end, and how many files: errorlog is kept a week, a file a day.
LIMIT, FILES = 8 * 1024 * 1024, 8
LINE = 300
#: Seconds that the clock of a log and the time of its file may differ.
JITTER_S = 60.0
_REBUILD = "The manual's way back is a rebuild from the other copies: data_storage_rebuild.yml."
#: Stores without a repair, by their directory below the root: what to do instead.
BEYOND = {
    "data": _REBUILD, "nntbs": _REBUILD, "raw_db": _REBUILD, "metric_name_db": _REBUILD, "metadata": _REBUILD,
    "hist_ingest": _REBUILD, "hist_rollup": _REBUILD, "localstate": _REBUILD,
    "surrogate_db": "It has a tool of its own (snowthsurrogatecontrol -R, IRONdb 0.19.14 and later): ask support, or "
                    "rebuild the node by data_storage_rebuild.yml.",
    "redo": "It is the journal for another node, which no rebuild brings back: ask support before anything is removed.",
}
_DAMAGE = re.compile(r"(?<!\bno )(?<!\bnot )(?<!\b0 )corrupt|does not exist \(create_if_missing is false\)", re.I)
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_LEVELDB = re.compile(r"(?<![\w.-])(text|hist)/(?:(%s)(?:/([\w.-]+))?|(metrics|changelog|\d+)\b)" % _UUID, re.I)
#: Words that are a store wherever they stand; data, metadata, localstate and redo only in a path.
_WORDS = ("nntbs", "raw_db", "surrogate_db", "metric_name_db", "hist_ingest", "hist_rollup")
_OTHERS = re.compile(r"/(?:snowth|irondb)/(%s)\b(?:/(%s))?|\b(%s)\b" % (
    "|".join(sorted(BEYOND)), _UUID, "|".join(_WORDS)), re.I)
_STAMP = re.compile(r"\[?(\d{4})-(\d\d)-(\d\d)[ T](\d\d):(\d\d):(\d\d)(\.\d+)?")
#: Options of snowthd and what a process with them is there for.
_TASKS = (("-r", "repair"), ("-B", "rebuild"), ("-N", "convert"), ("-j", "drain"), ("-k", "control"))

# The argument spec of the module irondb_damage_info.
ARGUMENTS = dict(
    node=dict(type="str", required=True),
    units=dict(type="list", elements="str", default=["circonus-snowth"]),
    root=dict(type="path", default=ROOT),
    port=dict(type="int", default=irondb.PORT),
    page_timeout=dict(type="float", default=irondb.TIMEOUT_S),
    insist=dict(type="list", elements="str", default=[]),
)


# ---- the log ---------------------------------------------------------------------------------------------------


def is_target(text):
    """Whether ``snowthd -r`` of the documents takes this. Pure."""
    return text in TARGETS or re.match(r"hist/[1-9]\d*\Z", text) is not None


def stamp(line):
    """Seconds of the stamp that a line begins with, on the clock and in the zone of the log; None without one. Pure.

    A stamp without a fraction counts as the end of its second.
    """
    found = _STAMP.match(line)
    if not found:
        return None
    parts = [int(part) for part in found.groups()[:6]]
    try:
        return calendar.timegm(tuple(parts) + (0, 0, 0)) + float(found.group(7) or 0.999)
    except (ValueError, OverflowError):
        return None


def zone(last, mtime, local):
    """Seconds to add to the stamps of a log. Pure.

    last: its last stamp. mtime: when it was written last, not much before that. local: seconds that the host's zone is
    ahead of UTC. Programs write local time or UTC; what agrees better with mtime is taken. When neither can be, the
    last line is of mtime.
    """
    fitting = [(mtime - last - shift, shift) for shift in (-local, 0) if mtime - last - shift >= -JITTER_S]
    return min(fitting)[1] if fitting else mtime - last


def dated(lines, mtime):
    """``[(epoch seconds, line)]``, none younger than mtime, when the file was written last.

    A line without a stamp is of the time of the one before it; in a file without any, all are of mtime: rather too
    young than too old.
    """
    stamps = [stamp(line) for line in lines]
    known = [seconds for seconds in stamps if seconds is not None]
    shift = zone(known[-1], mtime, time.localtime(mtime).tm_gmtoff) if known else 0.0
    found, now = [], None
    for seconds, line in zip(stamps, lines):
        now = now if seconds is None else seconds + shift
        found.append((mtime if now is None else min(now, mtime), line))
    return found


def stores_of(line, node):
    """``[(store, target)]`` that a line names: the target of ``-r``, or '' and the store for what has no repair. Pure.

    node: lines about the data of another node say nothing about this one.
    """
    found = []
    for kind, owner, below, short in _LEVELDB.findall(line):
        target = "{0}/{1}".format(kind.lower(), below or short)
        if not owner or owner.lower() == node:
            found.append((target, target) if is_target(target) else (kind.lower(), ""))
    for kind, owner, word in _OTHERS.findall(line):
        kind = (kind or word).lower()
        if kind == "redo" or not owner or owner.lower() == node:  # a journal has the name of its peer
            found.append((kind, ""))
    return [pair for at, pair in enumerate(found) if pair not in found[:at]]


def elsewhere(line, node):
    """Whether a line names stores, and only those of other nodes. Pure."""
    owners = [match[1].lower() for match in _LEVELDB.findall(line) + _OTHERS.findall(line) if match[1]]
    return bool(owners) and node not in owners and not stores_of(line, node)


def damage(rows, node, path=""):
    """The newest complaint about each store. Pure.

    rows: of :func:`dated`. Returns ``{store: {"store", "target": of -r or '', "at": epoch s, "line", "log": path}}``;
    the store '' has complaints that name none.
    """
    found = {}
    for at, line in rows:
        if not _DAMAGE.search(line) or elsewhere(line, node):
            continue
        for store, target in stores_of(line, node) or [("", "")]:
            if store not in found or at >= found[store]["at"]:
                found[store] = {"store": store, "target": target, "at": round(at, 3), "line": line.strip()[:LINE],
                                "log": path}
    return found


def read_logs(root, node):
    """:func:`damage` of errorlog and its rotated files. Raises BadInput when errorlog cannot be read."""
    base = os.path.join(root, "logs", "errorlog")
    dates = []
    for path in set(glob.glob(base + "*") + [base]):
        try:
            dates.append((os.stat(path).st_mtime, path))
        except OSError as exc:
            if path == base:
                raise BadInput("Expected the error log of the node at {0}: {1}. Look whether {2} is mounted.".format(
                    path, exc.strerror, root))
    found = {}
    for mtime, path in sorted(dates)[-FILES:]:
        lines = unit_state.tail(path, LIMIT, LIMIT)
        if not any(_DAMAGE.search(line) for line in lines):
            continue
        for store, item in damage(dated(lines, mtime), node, path).items():
            if store not in found or item["at"] >= found[store]["at"]:
                found[store] = item
    return found


# ---- the store and the processes ---------------------------------------------------------------------------------


def directory(root, node, target):
    kind, name = target.split("/")
    return os.path.join(root, kind, node, name)


def rewritten(path):
    """Epoch seconds at which LevelDB opened or repaired the store at ``path`` last, None without its CURRENT."""
    try:
        return os.stat(os.path.join(path, "CURRENT")).st_mtime
    except OSError:
        return None


def mended(path):
    """Epoch seconds at which a repair put files of the store at ``path`` aside last, None when none did."""
    try:
        return os.stat(os.path.join(path, "lost")).st_mtime
    except OSError:
        return None


def store_problem(path):
    """None for a directory that looks like LevelDB's, else what it is instead, in words."""
    try:
        names = os.listdir(path)
    except OSError as exc:
        return "{0}: {1}".format(path, exc.strerror)
    known = [name for name in names if name == "CURRENT" or name.startswith("MANIFEST-")
             or name.endswith((".log", ".ldb", ".sst"))]
    return None if known else "{0} has no files of LevelDB".format(path)


def targets(root, node):
    """Targets of ``-r`` that this node has on its disk, sorted."""
    found = []
    for kind in ("text", "hist"):
        try:
            names = os.listdir(os.path.join(root, kind, node))
        except OSError:
            continue
        found += ["{0}/{1}".format(kind, name) for name in names if is_target("{0}/{1}".format(kind, name))]
    return sorted(found)


def task_of(command):
    """``(kind, what)`` of a command line of snowthd: daemon, repair (what: its target), rebuild, convert, drain or
    control. Pure."""
    words = command.split()
    for flag, kind in _TASKS:
        if flag in words:
            at = words.index(flag)
            return kind, words[at + 1] if kind == "repair" and at + 1 < len(words) else ""
    return "daemon", ""


def running(table=None):
    """``[{"pid", "kind", "target", "command", "unit", "started": epoch s}]`` of the processes of snowthd here."""
    table = host_check_read.processes() if table is None else table
    with open("/proc/uptime") as handle:
        boot = time.time() - float(handle.read().split()[0])
    ticks = os.sysconf("SC_CLK_TCK")
    found = []
    for pid in sorted(table):
        item = table[pid]
        words = item["command"].split()
        at = next((at for at, word in enumerate(words[:3]) if os.path.basename(word) == PROGRAM), None)
        if at is None or at and item["comm"] != PROGRAM:  # a script has its interpreter first
            continue
        kind, target = task_of(" ".join(words[at:]))
        found.append({"pid": pid, "kind": kind, "target": target, "command": item["command"][:LINE],
                      "unit": item["unit"] or "", "started": round(boot + item["start_ticks"] / float(ticks), 3)})
    return found


def foreign(processes, units):
    """One sentence about a process of snowthd that is not the unit's, '' without one. Pure."""
    words = {"repair": "repairs a store", "rebuild": "rebuilds the node", "convert": "converts its data",
             "drain": "drains the journals", "daemon": "runs outside of {0}".format(" or ".join(units))}
    for item in processes:
        if item["kind"] not in ("control", "repair") and not (item["kind"] == "daemon" and item["unit"] in units):
            return "snowthd (pid {0}) {1}: {2}".format(item["pid"], words[item["kind"]], item["command"])
    return ""


def state_of(item, written, opened):
    """``opened``, ``repaired``, ``damaged`` or ``beyond`` (there is no repair) of a complaint. Pure.

    written: CURRENT of the store. opened: of :func:`last_opening`.
    """
    if opened is not None and opened > item["at"]:
        return "opened"
    if not item["target"]:
        return "beyond"
    return "repaired" if written is not None and written > item["at"] else "damaged"


def last_opening(starts, written):
    """Epoch seconds since when every store is known to have opened, None when that is not known. Pure.

    starts: of the processes of a node that answers, the child among them. written: CURRENT of each store, or None.
    """
    if starts:
        return max(starts)
    return min(written) if written and None not in written else None


def serving(node, port, timeout):
    """Whether this very node answers for itself here: ``(bool, sentence about why not)``."""
    try:
        state = irondb.Client("127.0.0.1", port, timeout).state()
    except irondb.Unanswered as exc:
        return False, str(exc)
    if state["identity"] != node:
        return False, "the node {0} answers here, expected {1}".format(state["identity"], node)
    return True, ""


def collect(params):
    """Answer of the module irondb_damage_info for its ``params``. Raises InsideError."""
    node, root = params["node"], params["root"]
    if topology.uuid_problem(node):
        raise BadInput("Expected the id of a node, found {0}: {1}.".format(node, topology.uuid_problem(node)))
    answer = {"node": node, "unit": "", "active": "unknown", "serving": False, "problem": "", "processes": running(),
              "targets": targets(root, node), "stores": []}
    try:
        states = unit_state.show_units(params["units"])
    except (CommandFailed, TimedOut) as exc:
        raise BadInput(str(exc))
    for name in params["units"]:
        if states[name]["exists"]:
            answer.update(unit=name, active=states[name]["active"])
            break
    answer["serving"], answer["problem"] = serving(node, params["port"], params["page_timeout"])
    daemons = [item["started"] for item in answer["processes"] if item["kind"] == "daemon"]
    opened = last_opening(
        daemons if answer["serving"] else [], [rewritten(directory(root, node, name)) for name in answer["targets"]])
    for store, item in sorted(read_logs(root, node).items()):
        written, why, repaired = None, BEYOND.get(store, ""), False
        if item["target"]:
            path = directory(root, node, item["target"])
            written, why = rewritten(path), store_problem(path) or ""
            repaired = (mended(path) or 0.0) > item["at"]
        state = state_of(item, written, opened)
        if state == "opened" and item["target"] in params["insist"] and not repaired:
            state = "damaged"
        if state in ("damaged", "repaired") and why:
            state = "beyond"
        if state == "beyond" and not why:
            why = "Which store it is, the log does not say: ask support with that line."
        answer["stores"].append(dict(item, state=state, mended=repaired, why=why if state == "beyond" else ""))
    return answer
