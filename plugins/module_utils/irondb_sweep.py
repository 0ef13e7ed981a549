# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The delete sweep of one data_storage node: may it begin, is it done already, how far is it.

A node tells of a sweep only while it runs. What has been swept is therefore kept in a small record on its host::

    {"cancelled": epoch seconds of the last cancellation or None,
     "sweeps": [{"node": uuid, "before": epoch s, "types": {type: [seconds]}, "state": one of STATES,
                 "started", "ended", "seen": epoch s or None, "cpu_s": of the process when it was seen, or None,
                 "sockets": inodes that it listens with}]}

An order is ``{"before": epoch s, "types": {type: [seconds], [] for all}}``.

Source: operation manual, "Delete Sweep".
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import errno
import fcntl
import json
import os
import time

from ansible_collections.circonus.inside.plugins.module_utils import host_check_parse, irondb
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput, InsideError, Refused, TimedOut
from ansible_collections.circonus.inside.plugins.module_utils.lock import write_durable

PATH = "/var/lib/circonus-inside/data_storage_sweep.json"
HEADERS = {"nnt": "X-Snowth-NNT-Delete-Rollups", "histogram": "X-Snowth-Histogram-Delete-Rollups"}
STATES = ("started", "finished", "cancelled", "lost")
#: Sweeps that a record keeps.
KEPT = 20
#: Polls in a row without a running type after which a sweep has ended.
IDLE_POLLS = 2
#: Seconds for which a node that sweeps may not answer: it is busy with it.
PATIENCE_S = 120.0
ADVICE = ("Set data_storage.rollup_retention in site.json instead (a whole number of d or w for each rollup), then "
          "site_distribute.yml and hooper_run.yml.")


# ---- deciding --------------------------------------------------------------------------------------------------


def stamp(epoch):
    """``2019-01-01 00:00:00Z`` of epoch seconds."""
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(epoch))


def periods(values, name):
    """Sorted seconds of a list of numbers or of their texts. Raises BadInput."""
    found = set()
    for value in values or ():
        if isinstance(value, bool) or not str(value).strip().isdigit() or int(value) < 1:
            raise BadInput("Expected rollups in whole seconds such as 60 or 300 as {0}, found {1}.".format(name, value))
        found.add(int(value))
    return sorted(found)


def order(before, types, nnt_rollups=(), histogram_rollups=(), names=("nnt_rollups", "histogram_rollups")):
    """The order of a sweep. names: of the parameters, for sentences. Raises BadInput."""
    unknown = [str(kind) for kind in types if kind not in irondb.SWEPT]
    if unknown or not types:
        raise BadInput("Expected types of data to sweep ({0}), found {1}.".format(
            ", ".join(irondb.SWEPT), ", ".join(unknown) or "none"))
    found = dict((kind, []) for kind in irondb.SWEPT if kind in types)
    for kind, values, name in (("nnt", nnt_rollups, names[0]), ("histogram", histogram_rollups, names[1])):
        wanted = periods(values, name)
        if wanted and kind not in found:
            raise BadInput("{0} names rollups, but {1} is not among the types to sweep ({2}). Leave it out, or add "
                           "{1}.".format(name, kind, ", ".join(sorted(found))))
        if wanted:
            found[kind] = wanted
    return {"before": int(before), "types": found}


def headers(wanted):
    """Headers of the DELETE of an order."""
    types = [kind for kind in irondb.SWEPT if kind in wanted["types"]]
    fields = {"X-Snowth-Delete-Time": str(wanted["before"]), "X-Snowth-Delete-Data-Types": ",".join(types)}
    for kind in types:
        if wanted["types"][kind]:
            fields[HEADERS[kind]] = ",".join(str(period) for period in wanted["types"][kind])
    return fields


def describe(wanted):
    """``nnt of 60 and 300 s, all text``."""
    parts = []
    for kind in irondb.SWEPT:
        if kind not in wanted["types"]:
            continue
        rollups = [str(period) for period in wanted["types"][kind]]
        text = ", ".join(rollups[:-1]) + (" and " if len(rollups) > 1 else "") + "".join(rollups[-1:])
        parts.append("{0} of {1} s".format(kind, text) if rollups else "all " + kind)
    return ", ".join(parts)


def problem(wanted, state, status, now, name):
    """Why a node cannot be swept by an order, one sentence, or an empty text.

    state: of irondb.parse_state. status: of irondb.parse_sweep, None where the release has no sweep. now: clock of the
    node, epoch seconds.
    """
    if wanted["before"] > now:
        return "Expected a date in the past, found {0}; on {1} it is {2}. A sweep takes all that is older.".format(
            stamp(wanted["before"]), name, stamp(now))
    if status is None:
        return ("{0} ({1}) has no delete sweep: the release of 2021-06-28 removed it. {2}".format(
            name, state["version"] or "unknown version", ADVICE))
    if "nnt" in wanted["types"] and "nntbs" in state["stores"]:
        return ("{0} keeps its numbers in NNTBS, whose shards go by retention; the sweep is documented for NNT only. "
                "{1}".format(name, ADVICE))
    for kind, key in (("nnt", "rollups"), ("histogram", "histogram_rollups")):
        strange = [period for period in wanted["types"].get(kind, ()) if period not in state[key]]
        if strange:
            return "Expected rollups of {0} that {1} is configured with ({2}), found {3}.".format(
                kind, name, ", ".join(str(period) for period in state[key]) or "it tells none",
                ", ".join(str(period) for period in strange))
    return ""


def covers(entry, wanted, node):
    """Whether a sweep of the record took all that an order would take."""
    if entry["state"] != "finished" or entry["node"] != node or entry["before"] < wanted["before"]:
        return False
    for kind, rollups in wanted["types"].items():
        had = entry["types"].get(kind)
        if had is None or had and (not rollups or set(rollups) - set(had)):
            return False
    return True


def running(status):
    """Types that are being swept, of irondb.parse_sweep."""
    return [kind for kind in irondb.SWEPT if status.get(kind, {}).get("running")]


def same(wanted, status):
    """Whether all that runs on a node belongs to an order."""
    return all(kind in wanted["types"] and status[kind]["timestamp"] == wanted["before"]
               and status[kind]["rollups"] == (wanted["types"][kind] or "all") and not status[kind]["cancelling"]
               for kind in running(status))


def action(wanted, node, name, status, entry, done):
    """What has to be done: ``start``, ``follow`` one that runs, or nothing as it is ``done``. Raises Refused.

    entry: the last sweep of the record or None. done: whether the record has a sweep that counts and covers the order.
    """
    busy = running(status)
    if not busy:
        return "done" if done else "start"
    ours = entry is not None and entry["state"] == "started" and entry["node"] == node and (
        entry["before"], entry["types"]) == (wanted["before"], wanted["types"])
    # One that was started by hand tells of a type only while it is at it.
    if same(wanted, status) and (ours or sorted(busy) == sorted(wanted["types"])):
        return "follow"
    row = status[busy[0]]
    raise Refused(
        "{0} is sweeping already: {1}, older than {2}{3}; another sweep would cancel that one. Wait for its end, or "
        "cancel it with data_storage_sweep_state=cancelled.".format(
            name, " and ".join(busy), stamp(row["timestamp"]) if row["timestamp"] is not None else "unknown",
            ", being cancelled" if row["cancelling"] else ""))


def line(name, seconds, wanted, status, filesystems=()):
    """One line of progress: ``    35 s  db1  nnt at c0..., text to be swept or done  41.2 % used``."""
    parts = []
    for kind in irondb.SWEPT:
        row = status.get(kind)
        if kind not in wanted["types"] or row is None:
            continue
        text = "{0} done".format(kind)
        if row["running"]:
            text = "{0} at {1}".format(kind, row["current"]) if row["current"] else "{0} waits".format(kind)
        parts.append(text + (" (being cancelled)" if row["cancelling"] else ""))
    used = max([row["used_percent"] for row in filesystems] or [-1.0])
    return "{0:>6.0f} s  {1}  {2}{3}".format(
        seconds, name, ", ".join(parts) or "no progress told", "  {0:g} % used".format(used) if used >= 0 else "")


def listeners(host, port, tables=("/proc/net/tcp", "/proc/net/tcp6")):
    """Inodes of the sockets on this host that listen for a node: a process that was started anew has others. Empty when
    the node is elsewhere."""
    found = set()
    for path in tables:
        try:
            with open(path) as source:
                rows = host_check_parse.parse_sockets(source.read(), "tcp")
        except (IOError, OSError):
            continue
        found.update(row["inode"] for row in rows if row["port"] == port and row["address"] in (host, "0.0.0.0", "::"))
    return sorted(found)


# ---- the record ------------------------------------------------------------------------------------------------


class Record:
    """What was swept on this host. Writers take turns; a reader sees the old record or the new one."""

    def __init__(self, path=PATH):
        self.path = path

    def read(self):
        """The record; an empty one without a file. Raises InsideError for a file that cannot be used."""
        try:
            with open(self.path) as source:
                found = json.load(source)
            if isinstance(found["sweeps"], list):
                return found
        except (IOError, OSError) as exc:
            if exc.errno == errno.ENOENT:
                return {"cancelled": None, "sweeps": []}
            raise InsideError("Expected the record of sweeps in {0}, found: {1}.".format(self.path, exc))
        except (ValueError, KeyError, TypeError):
            pass
        raise InsideError("Expected the record of sweeps in {0}, found something else. Move the file aside; all nodes "
                          "are swept again then.".format(self.path))

    def change(self, work):
        """Give the record to ``work``, which changes it, and write it. Returns what ``work`` returns."""
        directory = os.path.dirname(self.path)
        if not os.path.isdir(directory):
            os.makedirs(directory, 0o755)
        with open(self.path + ".flock", "a") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            found = self.read()
            result = work(found)
            found["sweeps"] = found["sweeps"][-KEPT:]
            write_durable(self.path, json.dumps(found, sort_keys=True) + "\n")
        return result


# ---- doing -----------------------------------------------------------------------------------------------------


class Node:
    """The node of this host. host: where it listens. node: its uuid. name: for sentences."""

    def __init__(self, host, port, node, name, record, page_timeout=irondb.TIMEOUT_S, client=irondb.Client,
                 clock=time.time, pause=time.sleep):
        self.host, self.port, self.node, self.name, self.record = host, port, node, name or host, record
        self.page_timeout, self.client, self.clock, self.pause = page_timeout, client, clock, pause

    def _client(self):
        return self.client(self.host, self.port, self.page_timeout)

    def read(self):
        """``(state, status)``. Raises Unanswered, Refused when another node answers."""
        client = self._client()
        state = client.state()
        if self.node and state["identity"] != self.node:
            raise Refused("At {0}:{1} the node {2} answers, expected {3} of {4}. Compare the addresses in the topology "
                          "with site.json.".format(self.host, self.port, state["identity"], self.node, self.name))
        return state, client.sweep()

    def look(self):
        """As :meth:`read`, with a sentence for a node that does not answer. Raises InsideError."""
        try:
            return self.read()
        except irondb.Unanswered as exc:
            raise InsideError("Expected {0} to tell of its sweep at {1}:{2}, found: {3}. Look at circonus-snowth "
                              "there.".format(self.name, self.host, self.port, exc))

    def sweep(self, wanted, check=False, follow=False, max_age=None, cancelled_within=None, spacing=5.0, timeout=20.0):
        """Begin or follow a sweep for at most ``timeout`` seconds.

        follow: only follow what an earlier call began. max_age: seconds after which a finished sweep does not count any
        more. cancelled_within: a cancellation that is not older refuses.

        Returns ``{"action", "changed", "finished": bool, "status", "progress": line, "types": periods that are
        configured, "ended": epoch s or None}``. Raises InsideError.
        """
        state, status = self.look() if not follow else (None, None)
        now = self.clock()
        kept = self.record.read()
        self._refuse_cancelled(kept, now, cancelled_within)
        if follow:
            entry = self._mine(kept, wanted)
            if entry["state"] == "finished":
                return {"action": "follow", "changed": False, "finished": True, "status": {}, "ended": entry["ended"],
                        "seconds": round(entry["ended"] - entry["started"], 1),
                        "progress": "{0:>6.0f} s  {1}  done".format(entry["ended"] - entry["started"], self.name)}
            return dict(self._watch(wanted, entry, spacing, timeout), action="follow", changed=False)
        why = problem(wanted, state, status, now, self.name)
        if why:
            raise Refused(why)
        fitting = [entry for entry in kept["sweeps"] if covers(entry, wanted, self.node)
                   and (max_age is None or now - entry["ended"] <= max_age)]
        last = kept["sweeps"][-1] if kept["sweeps"] else None
        todo = action(wanted, self.node, self.name, status, last, bool(fitting))
        answer = {"action": todo, "changed": todo == "start", "finished": todo == "done", "status": status,
                  "progress": line(self.name, 0, wanted, status, state["filesystems"]), "seconds": 0.0,
                  "ended": fitting[-1]["ended"] if todo == "done" else None,
                  "types": {"nnt": state["rollups"], "text": [], "histogram": state["histogram_rollups"]}}
        if check or todo == "done":
            return answer
        entry = self._note(wanted, now, state["cpu_s"], todo == "follow")
        if todo == "start":
            try:
                self._client().start_sweep(headers(wanted))
            except irondb.Unanswered as exc:
                raise InsideError("Expected {0} to take the sweep, found: {1}. Run it again; it looks first whether "
                                  "one runs.".format(self.name, exc))
        return dict(answer, **self._watch(wanted, entry, spacing, timeout))

    def cancel(self, check=False, spacing=2.0, timeout=60.0):
        """Cancel what runs and wait for its end. Returns ``{"action", "changed", "finished", "status"}``."""
        _state, status = self.look()
        busy = running(status or {})
        answer = {"action": "cancel" if busy else "none", "changed": bool(busy), "finished": not busy, "status": status}
        if check:
            return answer
        self.record.change(self._cancelled)
        if not busy:
            return answer
        try:
            self._client().cancel_sweep()
        except irondb.Unanswered as exc:
            raise InsideError("Expected {0} to cancel its sweep, found: {1}. It runs on; run this again.".format(
                self.name, exc))
        end, why = self.clock() + timeout, "it still runs"
        while True:
            try:
                answer["status"] = self.read()[1]
                if not running(answer["status"] or {}):
                    return dict(answer, finished=True)
            except irondb.Unanswered as exc:
                why = str(exc)
            if self.clock() + spacing > end:
                raise TimedOut("Expected the sweep of {0} to end within {1:g} s of its cancellation, found: {2}. Look "
                               "at it again in a while.".format(self.name, timeout, why))
            self.pause(spacing)

    # -- the record of this node ------------------------------------------------------------------------------

    def _refuse_cancelled(self, kept, now, within):
        at = kept.get("cancelled")
        if at is not None and within is not None and now - at < within:
            raise InsideError("The sweep of {0} was cancelled at {1}. What it had deleted stays deleted; run the same "
                              "command again to sweep the rest.".format(self.name, stamp(at)))

    def _mine(self, kept, wanted):
        entry = kept["sweeps"][-1] if kept["sweeps"] else {}
        if entry.get("state") not in ("started", "finished") or (entry["node"], entry["before"], entry["types"]) != (
                self.node, wanted["before"], wanted["types"]):
            raise InsideError("Expected the record of the sweep that was begun on {0} in {1}, found {2}. Run the same "
                              "command again.".format(self.name, self.record.path, entry.get("state") or "none"))
        return entry

    def _note(self, wanted, now, cpu_s, follow):
        """Put the beginning of a sweep into the record, before it begins."""
        fresh = {"node": self.node, "before": wanted["before"], "types": wanted["types"], "state": "started",
                 "started": now, "ended": None, "seen": now, "cpu_s": cpu_s,
                 "sockets": listeners(self.host, self.port)}

        def work(kept):
            last = kept["sweeps"][-1] if kept["sweeps"] else None
            if follow and last and last["state"] == "started":
                return last
            kept["sweeps"].append(fresh)
            return fresh

        return self.record.change(work)

    def _cancelled(self, kept):
        kept["cancelled"] = self.clock()
        for entry in kept["sweeps"]:
            if entry["state"] == "started":
                entry.update(state="cancelled", ended=kept["cancelled"])

    def _write(self, entry, **change):
        """Change the entry of the running sweep. One that another follower saw end stays finished; for one that was
        cancelled it raises InsideError."""
        def work(kept):
            found = [one for one in kept["sweeps"] if one["started"] == entry["started"]]
            if found and found[-1]["state"] == "started":
                found[-1].update(change)
            return found[-1] if found and found[-1]["state"] in ("finished", change.get("state", "started")) else None

        entry = self.record.change(work)
        if entry is None:
            raise InsideError("The sweep of {0} was cancelled. What it had deleted stays deleted; run the same command "
                              "again to sweep the rest.".format(self.name))
        return entry

    def _lost(self, entry, why):
        self._write(entry, state="lost", ended=self.clock())
        raise InsideError("{0} was restarted while it swept ({1}), so the sweep is not whole. Look at "
                          "/snowth/logs/errorlog there, then run the same command again: it sweeps again.".format(
                              self.name, why))

    # -- watching ---------------------------------------------------------------------------------------------

    def _watch(self, wanted, entry, spacing, timeout):
        """Poll until the sweep has ended, at most ``timeout`` seconds."""
        end, idle, seen, cpu_s = self.clock() + timeout, 0, entry["seen"], entry["cpu_s"]
        answer = {"finished": False, "status": {}, "progress": ""}
        while True:
            try:
                state, status = self.read()
            except irondb.Unanswered as exc:
                if exc.problem in ("refused", "unreachable"):
                    self._lost(entry, str(exc))
                if self.clock() - seen > PATIENCE_S:
                    self._write(entry, cpu_s=cpu_s, seen=seen)
                    raise TimedOut("Expected {0} to tell of its sweep, found no answer for {1:.0f} s: {2}. It may "
                                   "sweep on; run the same command again, it follows then.".format(
                                       self.name, self.clock() - seen, exc))
                answer["progress"] = "{0:>6.0f} s  {1}  does not answer: {2}".format(
                    self.clock() - entry["started"], self.name, exc)
            else:
                if status is None:
                    raise Refused("{0} had a delete sweep and has none any more. {1}".format(self.name, ADVICE))
                sockets = listeners(self.host, self.port)
                if (None not in (cpu_s, state["cpu_s"]) and state["cpu_s"] < cpu_s
                        or sockets and entry["sockets"] and sockets != entry["sockets"]):
                    self._lost(entry, "its process is a new one")
                if not same(wanted, status):
                    self._foreign(entry, status)
                seen, cpu_s = self.clock(), state["cpu_s"]
                idle = 0 if running(status) else idle + 1
                answer.update(status=status, progress=line(self.name, seen - entry["started"], wanted, status,
                                                           state["filesystems"]))
                if idle >= IDLE_POLLS:
                    self._write(entry, state="finished", ended=seen, cpu_s=cpu_s, seen=seen)
                    return dict(answer, finished=True, ended=seen, seconds=round(seen - entry["started"], 1))
            if self.clock() + spacing > end and not idle:
                self._write(entry, cpu_s=cpu_s, seen=seen)
                return dict(answer, seconds=round(self.clock() - entry["started"], 1))
            self.pause(min(spacing, 1.0) if idle else spacing)

    def _foreign(self, entry, status):
        """What runs is not what was begun: it was cancelled, or somebody began another one."""
        cancelling = any(status[kind]["cancelling"] for kind in running(status))
        self._write(entry, state="cancelled", ended=self.clock())
        raise InsideError(
            "The sweep of {0} was {1} by somebody else. What it had deleted stays deleted; run the same command again "
            "to sweep the rest.".format(self.name, "cancelled" if cancelling else "replaced by another one"))
