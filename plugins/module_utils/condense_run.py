# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Do the steps of a condense on a data_storage host: what the module storage_condense does.

The copy takes hours. It runs by itself, detached from whoever began it, and a later call watches it: a connection that
breaks, or a controller that dies, costs nothing. It holds a lock on its file while it lives, so a number of a process
that was given anew deceives nobody.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import fcntl
import json
import os
import platform
import queue
import signal
import subprocess
import threading
import time

from ansible_collections.circonus.inside.plugins.module_utils import condense, unit_state
from ansible_collections.circonus.inside.plugins.module_utils import zfs as zfs_programs
from ansible_collections.circonus.inside.plugins.module_utils.errors import (
    CommandFailed,
    InsideError,
    Refused,
    TimedOut,
)
from ansible_collections.circonus.inside.plugins.module_utils.irondb_probe import node_ids
from ansible_collections.circonus.inside.plugins.module_utils.lock import Turn

DIRECTORY = "/var/lib/circonus-inside/condense"
RECORD, COPIED, COPYING, TURN = "record.json", "copy.json", "copy.lock", "turn.lock"
BLOCK = 1024 * 1024
#: Blocks between sender and receiver, the 512 MB that the manual gives its pipe.
BLOCKS = 512
#: Seconds for a copier to begin, or to end when it is told to.
COPIER_S = 20.0
#: Seconds to wait for a step that another run has at work.
TURN_S = 120.0


# -- files -----------------------------------------------------------------------------------------------------------


def read_json(path):
    """A dict from a file, None when there is none or it is no dict."""
    try:
        with open(path) as handle:
            found = json.load(handle)
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def write_json(path, value):
    """Replace a file as a whole, durably."""
    if not os.path.isdir(os.path.dirname(path)):
        os.makedirs(os.path.dirname(path), 0o755)
    with open(path + ".new", "w") as handle:
        json.dump(value, handle)
        handle.flush()
        os.fsync(handle.fileno())
    os.rename(path + ".new", path)


def locked(path):
    """Whether somebody holds the lock on a file. Makes no file, and does not look like a holder to another look."""
    try:
        with open(path) as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (IOError, OSError):
        return os.path.exists(path)
    return False


def has_files(directory):
    """Whether any regular file is below a directory."""
    return any(names for _top, _directories, names in os.walk(directory))


# -- the copy --------------------------------------------------------------------------------------------------------


class Ended(OSError):
    """The copy was told to end."""


def pump(source, target, tell):
    """Move everything from one file to another through a buffer; returns the number of bytes.

    Closes the source, so that whoever writes there ends by itself. tell: called with the number so far.
    """
    blocks, over, failed, count = queue.Queue(BLOCKS), threading.Event(), [], 0

    def hand_on(block):
        while not over.is_set():
            try:
                blocks.put(block, timeout=0.5)
                return
            except queue.Full:
                continue

    def fill():
        block = b"-"
        try:
            while block and not over.is_set():
                block = source.read(BLOCK)
                hand_on(block)
        except (OSError, ValueError) as exc:
            failed.append(exc)
            hand_on(b"")
        finally:
            source.close()

    thread = threading.Thread(target=fill)
    thread.daemon = True
    thread.start()
    try:
        while True:
            block = blocks.get()
            if not block:
                break
            target.write(block)
            count += len(block)
            tell(count)
        target.flush()
    finally:
        over.set()
    if failed:
        raise failed[0]
    return count


def ended(_number, _frame):
    """Handler of the signal that ends a copy."""
    raise Ended("it was told to end")


def copy(send, receive, told, path, clock=time.time):
    """Run ``send | receive`` and keep ``path`` up to date; both have to succeed.

    told: what the file says beside ``bytes``, ``state`` (running, done, failed), ``message``, ``pid``, ``started``. On
    SIGTERM the pipe is closed and both end by themselves: a receive without the end of its stream leaves nothing, and
    zfs-fuse would keep the snapshot of a sender that was killed busy for good.
    """
    value = dict(told, bytes=0, state="running", message="", pid=os.getpid(), started=clock())
    write_json(path, value)
    last = [clock()]

    def tell(count):
        value["bytes"] = count
        if clock() - last[0] >= 1.0:
            last[0] = clock()
            write_json(path, value)

    before = signal.signal(signal.SIGTERM, ended)
    complaints = [open(path + name, "w+b") for name in (".send", ".receive")]
    try:
        sender = subprocess.Popen(send, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaints[0])
        receiver = subprocess.Popen(receive, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=complaints[1])
        broken = ""
        try:
            pump(sender.stdout, receiver.stdin, tell)
        except (OSError, ValueError) as exc:
            broken = str(exc)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        try:
            receiver.stdin.close()
        except OSError as exc:
            broken = broken or str(exc)
        codes, said = [sender.wait(), receiver.wait()], []
        for handle in complaints:
            handle.seek(0)
            said.append(" ".join(handle.read(4096).decode("utf-8", "replace").split()))
        if broken or any(codes):
            value.update(state="failed", message="zfs send ended with {0} ({1}), zfs receive with {2} ({3}){4}".format(
                codes[0], said[0] or "no word", codes[1], said[1] or "no word", "; " + broken if broken else ""))
        else:
            value.update(state="done")
    except (OSError, subprocess.SubprocessError) as exc:
        value.update(state="failed", message=str(exc))
    finally:
        signal.signal(signal.SIGTERM, before)
        for handle in complaints:
            handle.close()
    value["ended"] = clock()
    write_json(path, value)
    return value


def detach(work, lock):
    """Run ``work()`` in a process of its own that outlives this one and holds ``lock``. Returns when it holds it."""
    if not os.path.isdir(os.path.dirname(lock)):
        os.makedirs(os.path.dirname(lock), 0o755)
    ready, told = os.pipe()
    first = os.fork()
    if first == 0:
        try:
            os.setsid()
            if os.fork() != 0:
                os._exit(0)
            handle = open(lock, "a")
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            nothing = os.open(os.devnull, os.O_RDWR)
            for number in (0, 1, 2):
                os.dup2(nothing, number)
            os.chdir("/")
            for number in (signal.SIGHUP, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
            os.write(told, b"1")
            os.close(told)
            os.close(ready)
            work()
            os._exit(0)
        except BaseException:  # nothing of the parent may run on in this process
            os._exit(1)
    os.close(told)
    os.waitpid(first, 0)
    said = os.read(ready, 1)
    os.close(ready)
    if not said:
        raise CommandFailed("The copy did not begin. Look whether another one holds {0}.".format(lock))


# -- the host --------------------------------------------------------------------------------------------------------


class Host(object):
    """Data sets, record and copy of one data_storage host."""

    def __init__(self, data_dir="/snowth/data", units=("circonus-snowth",), directory=DIRECTORY, zfs=None,
                 run=unit_state.run, now=time.time, sleep=time.sleep, system=None):
        self.data_dir, self.units, self._run, self.now, self.sleep = data_dir, list(units), run, now, sleep
        self.paths = dict((name, os.path.join(directory, name)) for name in (RECORD, COPIED, COPYING, TURN))
        self.platform = condense.platform_of(system or platform.system())
        self._zfs, self._held = zfs, None

    @property
    def zfs(self):
        """The programs. Raises Refused on a host without ZFS."""
        if self._zfs is None:
            try:
                self._zfs = zfs_programs.Zfs(self._run)
            except zfs_programs.Absent as exc:
                raise Refused("{0} Condensing rewrites a ZFS data set; {1} is none here: nothing is to be done.".format(
                    exc, self.data_dir))
        return self._zfs

    @property
    def record(self):
        return read_json(self.paths[RECORD])

    def up(self):
        """Whether the service runs, None when nobody knows."""
        if self.platform == "omnios":
            entry = condense.PLATFORMS["omnios"]
            rc, out, _err = self._run(entry["state"], 30.0)
            return out.strip().rstrip("*") == entry["up"] if rc == 0 else None
        states = unit_state.show_units(self.units)
        for name in self.units:
            if (states.get(name) or {}).get("exists"):
                return states[name]["active"] not in unit_state.DOWN_STATES
        return None

    def name(self):
        """Name of the data set: of an unfinished record, of the path, or by its place below that of /snowth."""
        record = self.record
        if record and not record.get("finished"):
            return record["dataset"]
        found = self.zfs.at(self.data_dir)
        if found is not None:
            there = self.zfs.data_set(found)
            if there is not None and there["mountpoint"] == self.data_dir:
                return found
        base = self.zfs.at(os.path.dirname(self.data_dir))
        if base is None:
            raise Refused("Expected {0} on ZFS, zfs list knows no data set there. Condensing rewrites a ZFS data set; "
                          "nothing is to be done here.".format(self.data_dir))
        name = "{0}/{1}".format(base, os.path.basename(self.data_dir))
        if self.zfs.data_set(name) is None and self.zfs.data_set(name + condense.NEW) is None and found is not None:
            return found
        return name

    def facts(self):
        """The facts of ``condense.py``."""
        name = self.name()
        old, new = self._both(name)
        mounted = bool(old) and old["mounted"] and old["mountpoint"] == self.data_dir
        return {
            "name": name, "data_dir": self.data_dir, "old": old, "new": new,
            "pool": self.zfs.pool(name), "freeing": self.zfs.freeing(name), "copying": locked(self.paths[COPYING]),
            "copied": read_json(self.paths[COPIED]), "record": self.record, "up": self.up(),
            "numeric": has_files(self.data_dir) if mounted else None,
        }

    def _both(self, name):
        """D and D-new. What a killed controller left behind may rename between the two looks, so that neither is seen;
        there is one rename only."""
        for _look in range(2):
            old, new = self.zfs.data_set(name), self.zfs.data_set(name + condense.NEW)
            if old is not None or new is not None:
                break
        return old, new

    # -- record ------------------------------------------------------------------------------------------------
    def begin(self, run_id, limit=condense.CAPACITY_PERCENT):
        """Write down that a condense begins here, unless one is on its way. Returns the facts. Raises Refused."""
        facts = self.facts()
        if condense.in_progress(facts):
            return facts
        condense.decide(dict(facts, record=None), limit)
        with self._turn():
            if not condense.in_progress(self.facts()):
                write_json(self.paths[RECORD], {
                    "dataset": facts["name"], "began": self.now(), "run_id": run_id,
                    "node_ids": node_ids(self.data_dir), "estimate": None, "finished": False})
            return self.facts()

    def finish(self):
        """Write down that nothing is on its way any more; True when that was new."""
        with self._turn():
            record = self.record
            if not record or record.get("finished"):
                return False
            write_json(self.paths[RECORD], dict(record, finished=True, ended=self.now()))
            return True

    # -- service, where no engine of the roles reaches it -----------------------------------------------------
    def service(self, verb, timeout):
        """Stop or start the service with the commands of the platform; True when it was not so already."""
        wanted = verb == "start"
        if self.up() is wanted:
            return False
        entry = condense.PLATFORMS[self.platform]
        rc, out, err = self._run(entry[verb], timeout)
        if wanted and self.platform == "omnios":
            self._run(["svcadm", "clear", "snowth"], timeout)  # of maintenance; it complains where there is none
        until = self.now() + timeout
        while self.up() is not wanted:
            if self.now() >= until:
                raise TimedOut("{0} did not {1} within {2} s ({3}). Look at its log.".format(
                    entry["unit"], verb, timeout, " ".join((err or out).split()) or "exit code {0}".format(rc)))
            self.sleep(1.0)
        return True

    # -- steps -------------------------------------------------------------------------------------------------
    def step(self, run_id, wait_s=20.0, limit=condense.CAPACITY_PERCENT, back=False):
        """Do the next step, at most ``wait_s`` seconds of one that waits. back: towards the store as it was.

        Returns ``{"step", "done": nothing is left to do, "waiting", "changed", "text", "copy": condense.progress or
        None}``. Raises Refused, CommandFailed.

        One step at a time, and of the runs that want steps here only the newest gets them: of a controller that was
        killed, a worker may live on, be at a step, and ask for the next one while another run takes over.
        """
        with self._turn():
            self._claim(run_id)
            facts = self.facts()
            step = condense.abort(facts) if back else condense.decide(facts, limit)
            text = ("{name} is as before" if back and step == "done" else condense.TEXTS[step]).format(**facts)
            answer = {"step": step, "done": step == "done", "waiting": False, "changed": step != "done", "copy": None,
                      "text": text}
            getattr(self, "_" + step)(facts, answer, run_id, wait_s)
        return answer

    def _turn(self):
        """Nobody else writes to the record or does a step meanwhile. Raises TimedOut."""
        path = self.paths[TURN]
        self._held = Turn(path, TURN_S, "A step of another run is still at work on this host after {0:.0f} s; this one "
                                        "did nothing. Wait for its end (fuser -v {1}), and run again.".format(
                                            TURN_S, path), self.now, self.sleep)
        return self._held

    def _claim(self, run_id):
        """Make the run the newest of the record, at its first step. Raises Refused for one after which another came."""
        record = self.record
        if not record or record.get("finished"):
            return
        runs = record.get("runs", [])
        if run_id not in runs:
            write_json(self.paths[RECORD], dict(record, runs=runs + [run_id]))
        elif runs[-1] != run_id:
            raise Refused("The run {0} has taken over the condense of {1}; this one ({2}) does nothing "
                          "more.".format(runs[-1], record["dataset"], run_id))

    def _done(self, facts, answer, run_id, wait_s):
        pass

    def _unmount(self, facts, answer, run_id, wait_s):
        try:
            self.zfs.patiently("unmount", facts["name"])
        except CommandFailed as exc:
            if "not currently mounted" not in str(exc):
                raise CommandFailed("{0}. Nothing was destroyed. Look who uses {1} (fuser -vm {1}), and run "
                                    "again.".format(str(exc).rstrip("."), self.data_dir))
        if not self._becomes(facts["name"], False):
            raise TimedOut("{0} is still mounted {1:.0f} s after it was unmounted. Nothing was destroyed. Run "
                           "again.".format(facts["name"], zfs_programs.BUSY_S))

    def _becomes(self, name, mounted):
        """Whether a data set is mounted, or not, within the time that zfs-fuse may take to have done what it said."""
        until = self.now() + zfs_programs.BUSY_S
        while True:
            there = self.zfs.data_set(name)
            if there is not None and there["mounted"] is mounted:
                return True
            if self.now() >= until:
                return False
            self.sleep(1.0)

    def _snapshot(self, facts, answer, run_id, wait_s):
        snapshot = "{0}@{1}".format(facts["name"], condense.SNAPSHOT)
        if facts["old"]["mounted"]:
            self._unmount(facts, answer, run_id, wait_s)  # writes down what is not yet, and proves that nobody uses it
        self.zfs.do("zfs", "set", "readonly=on", facts["name"])
        self._mount_there(facts)
        self.zfs.do("zfs", "snapshot", snapshot)
        estimate = self.zfs.estimate(snapshot)
        if estimate is None:  # what the data set holds is the next best
            estimate = self.zfs.data_set(facts["name"])["snapshots"][condense.SNAPSHOT]["referenced"]
        write_json(self.paths[RECORD], dict(self.record, estimate=estimate))

    def _copy(self, facts, answer, run_id, wait_s):
        guid = facts["old"]["snapshots"][condense.SNAPSHOT]["guid"]
        if not facts["copying"]:
            copied = facts["copied"]
            if copied and copied.get("run_id") == run_id and copied.get("guid") == guid:
                raise CommandFailed("The copy of {0} broke off: {1}. Nothing was destroyed. Mend the cause and run "
                                    "again.".format(facts["name"], copied.get("message") or "its process is gone"))
            self._begin_copy(facts, run_id, guid)
        until = self.now() + wait_s
        while self.now() < until and locked(self.paths[COPYING]):
            self.sleep(min(1.0, max(0.05, until - self.now())))
        copied = read_json(self.paths[COPIED]) or {"bytes": 0}
        answer["waiting"] = locked(self.paths[COPYING])
        now = self.now()
        answer["copy"] = condense.progress(copied, (copied.get("ended") or now) - copied.get("started", now))

    def _begin_copy(self, facts, run_id, guid):
        program, name = self.zfs.programs["zfs"], facts["name"]
        # Not mounted (-u): with the properties comes the mount point, and the copy would compete for it.
        send = [program, "send", "-p", "{0}@{1}".format(name, condense.SNAPSHOT)]
        receive = [program, "receive", "-u", name + condense.NEW]
        told = {"run_id": run_id, "guid": guid, "total": (self.record or {}).get("estimate")}
        path = self.paths[COPIED]
        if os.path.exists(path):
            os.unlink(path)

        def work():
            self._held.handle.close()  # or the turn of this step would last as long as the copy
            copy(send, receive, told, path)

        detach(work, self.paths[COPYING])

    def _unmount_new(self, facts, answer, run_id, wait_s):
        self.zfs.patiently("unmount", facts["new"]["name"])

    def _discard(self, facts, answer, run_id, wait_s):
        try:
            self.zfs.patiently("destroy", "-r", facts["new"]["name"])
        except CommandFailed:
            # What a receive leaves unfinished goes with its end.
            if self.zfs.data_set(facts["new"]["name"]) is not None:
                raise

    def _drop_snapshot(self, facts, answer, run_id, wait_s):
        self.zfs.patiently("destroy", "{0}@{1}".format(facts["name"], condense.SNAPSHOT))

    _drop_received = _drop_snapshot

    def _swap(self, facts, answer, run_id, wait_s):
        self.zfs.patiently("destroy", "{0}@{1}".format(facts["name"], condense.SNAPSHOT))
        self.zfs.patiently("destroy", facts["name"])

    def _freeing(self, facts, answer, run_id, wait_s):
        until, left = self.now() + wait_s, facts["freeing"]
        while left and self.now() < until:
            self.sleep(min(1.0, wait_s))
            left = self.zfs.freeing(facts["name"])
        answer.update(waiting=bool(left), changed=False,
                      text="{0}: {1} left".format(answer["text"], zfs_programs.human(left)))

    def _rename(self, facts, answer, run_id, wait_s):
        self.zfs.patiently("rename", facts["new"]["name"], facts["name"])

    def _mount(self, facts, answer, run_id, wait_s):
        if facts["old"]["mounted"]:
            self._unmount(facts, answer, run_id, wait_s)
        self.zfs.do("zfs", "inherit", "readonly", facts["name"])
        self._mount_there(facts)

    def _mount_there(self, facts):
        """Mount the data set; empty directories that somebody made in its place go, files do not."""
        for top, _directories, _names in os.walk(self.data_dir, topdown=False):
            try:
                os.rmdir(top)
            except OSError:
                break
        try:
            self.zfs.patiently("mount", facts["name"])
        except CommandFailed as exc:
            # It was unmounted before, so what is there now is what is wanted; zfs-fuse mounts more than it says.
            if "already mounted" in str(exc) and self._becomes(facts["name"], True):
                return
            raise CommandFailed("{0}. Somebody wrote to {1} while {2} was not mounted there: move that away, and run "
                                "again.".format(str(exc).rstrip("."), self.data_dir, facts["name"])
                                if "not empty" in str(exc) else str(exc))

    def _end_copy(self, facts, answer, run_id, wait_s):
        pid = (facts["copied"] or {}).get("pid")
        if not pid:
            raise InsideError("Expected the number of the process that copies, found none in {0}.".format(
                self.paths[COPIED]))
        try:
            os.kill(pid, signal.SIGTERM)
        except OSError:
            pass
        until = self.now() + COPIER_S
        while locked(self.paths[COPYING]):
            if self.now() >= until:
                raise TimedOut("The copy (process {0}) did not end within {1:.0f} s.".format(pid, COPIER_S))
            self.sleep(0.2)


def look(host, limit=condense.CAPACITY_PERCENT):
    """What the plan wants to know of a host: ``{"platform", "problem": sentence or "", "in_progress", "left_open",
    "node_ids", "facts", "next": step, "age_s": of the data set}``."""
    answer = {"platform": host.platform, "problem": "", "in_progress": False, "left_open": False, "node_ids": None,
              "facts": None, "next": None, "age_s": None}
    try:
        facts = answer["facts"] = host.facts()
        answer["in_progress"], answer["left_open"] = condense.in_progress(facts), condense.left_open(facts)
        record = facts["record"]
        if answer["in_progress"]:
            answer["node_ids"] = record.get("node_ids")
        if facts["old"]:
            answer["age_s"] = host.now() - facts["old"]["creation"]
        answer["next"] = condense.decide(facts if answer["in_progress"] else dict(facts, record=None), limit)
    except InsideError as exc:
        answer["problem"] = str(exc)
    return answer
