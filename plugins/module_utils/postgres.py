# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One PostgreSQL server of this host: its files, its process, and conversations with it through psql.

Nothing third-party: a conversation is a ``psql`` child that stays open. The control file is read directly, which
works for every version, with the server up or down, and needs no pg_controldata of the matching version.
Positions (LSN) are strings such as ``0/3000060`` at the edges and integers inside.
"""
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import errno
import glob
import json
import os
import pwd
import re
import select
import signal
import socket
import stat
import struct
import subprocess
import time

from ansible_collections.circonus.inside.plugins.module_utils.errors import (
    BadInput, CommandFailed, InsideError, TimedOut)
from ansible_collections.circonus.inside.plugins.module_utils.lock import write_durable

DATA_GLOB = "/wdb/pgdata/*"
PORT = 5432
SHUT_DOWN = "shut down"
SHUT_DOWN_IN_RECOVERY = "shut down in recovery"
STATES = ("starting up", SHUT_DOWN, SHUT_DOWN_IN_RECOVERY, "shutting down", "in crash recovery",
          "in archive recovery", "in production")
# pg_control_version: (offset of the checkpoint copy, offset of its time inside, its length).
CONTROL_LAYOUT = {960: (48, 56, 80), 1002: (48, 56, 80), 1100: (40, 56, 80), 1201: (40, 64, 88), 1300: (40, 64, 88),
                  1700: (40, 64, 88), 1800: (40, 64, 88)}
# A checkpoint record is 112 to 128 bytes long and no record is shorter than 32, so nothing else fits into this.
CHECKPOINT_RECORD_MAX = 128
WAL_PAGE = 8192
PAGE_HEADER_MAX = 40
_ERROR = re.compile(r"^(?:psql:.*?:\s*)?(ERROR|FATAL|PANIC|error|fatal):\s+(.*)$")
_SETTING = re.compile(r"^\s*(?P<name>[A-Za-z_][\w.]*)\s*(?:=|\s)\s*(?P<value>'(?:[^'\\]|''|\\.)*'|[^\s#']+)")
_PAIR = re.compile(r"\s*([A-Za-z_]\w*)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|((?:[^\s\\']|\\.)*))")


class SessionLost(InsideError):
    """The server ended the conversation, or could not be reached."""


class SqlFailed(InsideError):
    """The server refused a statement."""


# ---- positions -------------------------------------------------------------------------------------------------

def lsn(text):
    """``"1/2A"`` to an integer; None stays None. Raises BadInput."""
    if text is None or text == "":
        return None
    if isinstance(text, int):
        return text
    match = re.match(r"^([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})$", text)
    if not match:
        raise BadInput("Expected a WAL position such as 0/3000060, found {0!r}. Check the server's "
                       "answer.".format(text))
    return (int(match.group(1), 16) << 32) + int(match.group(2), 16)


def lsn_text(value):
    """The inverse of :func:`lsn`."""
    return None if value is None else "{0:X}/{1:X}".format(value >> 32, value & 0xFFFFFFFF)


def ends_with_shutdown_checkpoint(checkpoint, redo, replay):
    """True when ``replay`` is the end of the shutdown checkpoint record that starts at ``checkpoint``. Pure.

    A shutdown checkpoint is its own redo point; an online one never is where WAL is sent to standbys, because the
    list of running transactions is logged between the two. Integers in, see CHECKPOINT_RECORD_MAX for the bound.
    """
    if checkpoint is None or replay is None or checkpoint != redo:
        return False
    limit = CHECKPOINT_RECORD_MAX
    if checkpoint // WAL_PAGE != replay // WAL_PAGE:
        limit += PAGE_HEADER_MAX
    return 0 < replay - checkpoint <= limit


def fork_point(history, timeline):
    """Where the timeline described by ``history`` left ``timeline``, as an integer. Pure.

    history: content of a ``.history`` file. None when ``timeline`` is none of its ancestors.
    """
    for line in history.splitlines():
        fields = line.split("#")[0].split()
        if len(fields) >= 2 and fields[0].isdigit() and int(fields[0]) == timeline:
            return lsn(fields[1])
    return None


# ---- configuration text ----------------------------------------------------------------------------------------

def parse_conninfo(text):
    """``"host=a port=1"`` to a dict of strings. Raises BadInput for something that is no conninfo string."""
    found, position = {}, 0
    text = (text or "").strip()
    while position < len(text):
        match = _PAIR.match(text, position)
        if not match:
            raise BadInput("Expected a conninfo string (key=value …), found something else after {0!r}. Correct "
                           "primary_conninfo.".format(" ".join(sorted(found))))
        value = match.group(2) if match.group(2) is not None else match.group(3)
        found[match.group(1)] = re.sub(r"\\(.)", r"\1", value)
        position = match.end()
    return found


def format_conninfo(values):
    """A dict to a conninfo string, host first, quoted where needed."""
    order = ["host", "hostaddr", "port", "user", "dbname", "application_name"]
    parts = []
    for key in sorted(values, key=lambda item: (order.index(item) if item in order else len(order), item)):
        value = str(values[key])
        if not re.match(r"^[\w.:/,@%+-]+$", value):
            value = "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
        parts.append("{0}={1}".format(key, value))
    return " ".join(parts)


def parse_settings(text):
    """Settings of a PostgreSQL configuration file, the last of a name wins. Pure."""
    found = {}
    for line in text.splitlines():
        match = _SETTING.match(line)
        if match:
            value = match.group("value")
            if value.startswith("'"):
                value = re.sub(r"\\(.)", r"\1", value[1:-1].replace("''", "'"))
            found[match.group("name").lower()] = value
    return found


def change_settings(text, changes):
    """The text with ``changes`` (name: value, None removes) applied; everything else stays as it is. Pure."""
    lines = []
    for line in text.splitlines():
        match = _SETTING.match(line)
        if not match or match.group("name").lower() not in changes:
            lines.append(line)
    for name in sorted(changes):
        if changes[name] is not None:
            lines.append("{0} = '{1}'".format(name, str(changes[name]).replace("\\", "\\\\").replace("'", "''")))
    return "\n".join(lines) + "\n"


# ---- the control file ------------------------------------------------------------------------------------------

def parse_control(data):
    """The fields of a pg_control file this collection needs. Pure. Raises BadInput for an unknown layout.

    Layout: ControlFileData and CheckPoint in the server's pg_control.h, versions 9.6 to 18.
    """
    system, version = struct.unpack_from("=QI", data, 0)
    if version not in CONTROL_LAYOUT:
        raise BadInput("Expected pg_control version 960 to 1800 (PostgreSQL 9.6 to 18), found {0}. This PostgreSQL "
                       "is not supported here; follow the manual.".format(version))
    copy, when, length = CONTROL_LAYOUT[version]
    state = struct.unpack_from("=I", data, 16)[0]
    after = copy + length
    return {
        "control_version": version,
        "system_identifier": str(system),
        "state": STATES[state] if state < len(STATES) else "unknown {0}".format(state),
        "checkpoint_lsn": lsn_text(struct.unpack_from("=Q", data, 32)[0]),
        "redo_lsn": lsn_text(struct.unpack_from("=Q", data, copy)[0]),
        "timeline": struct.unpack_from("=I", data, copy + 8)[0],
        "checkpoint_time": struct.unpack_from("=q", data, copy + when)[0],
        "min_recovery_lsn": lsn_text(struct.unpack_from("=Q", data, after + 8)[0]),
        "min_recovery_timeline": struct.unpack_from("=I", data, after + 16)[0],
    }


def read_control(data_dir):
    """:func:`parse_control` of the file in ``data_dir``; None when there is none. Read twice, as it may be written."""
    path = os.path.join(data_dir, "global", "pg_control")
    before = None
    for _attempt in range(50):
        try:
            with open(path, "rb") as handle:
                data = handle.read()
        except (IOError, OSError) as exc:
            if exc.errno == errno.ENOENT:
                return None
            raise InsideError("Cannot read {0}: {1}. Run this as root or as the database's "
                              "user.".format(path, exc.strerror))
        if data == before and len(data) >= 256:
            return parse_control(data)
        before = data
    raise InsideError("Cannot read {0}: it changes all the time or is damaged. Look at this host.".format(path))


# ---- files of a data directory ---------------------------------------------------------------------------------

def is_spare(path):
    """True for a directory that this collection set aside or has not finished building."""
    return re.search(r"\.(aside|new)-", os.path.basename(path)) is not None


def find_data_dir(pattern=DATA_GLOB):
    """The only data directory under ``pattern``, or None when there is none. Raises BadInput for several."""
    found = sorted(path for path in glob.glob(pattern)
                   if os.path.exists(os.path.join(path, "PG_VERSION")) and not is_spare(path))
    if len(found) > 1:
        raise BadInput("Expected one data directory in {0}, found {1}. Name the right one in "
                       "data_dir.".format(pattern, ", ".join(found)))
    return found[0] if found else None


def read_text(path):
    """Content of a file, None when it is not there."""
    try:
        with open(path) as handle:
            return handle.read()
    except (IOError, OSError) as exc:
        if exc.errno in (errno.ENOENT, errno.ENOTDIR):
            return None
        raise InsideError("Cannot read {0}: {1}. Check its mode and owner.".format(path, exc.strerror))


def sync_directory(path):
    """Make names in ``path`` durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_file(path):
    """Remove a file durably; True when it was there."""
    try:
        os.unlink(path)
    except OSError as exc:
        if exc.errno in (errno.ENOENT, errno.ENOTDIR):
            return False
        raise InsideError("Cannot remove {0}: {1}. Remove it by hand.".format(path, exc.strerror))
    sync_directory(os.path.dirname(path))
    return True


def major_version(data_dir):
    """``(text, number)`` of PG_VERSION, for example ``("15", 15)`` or ``("9.6", 9)``; ``(None, None)`` without one."""
    text = (read_text(os.path.join(data_dir, "PG_VERSION")) or "").strip()
    return (text, int(text.split(".")[0])) if text else (None, None)


def standby_settings(data_dir):
    """How this directory would start.

    Returns ``{"starts_as": "standby"|"primary"|"nothing", "conninfo": dict, "settings": dict, "trigger_file"}``.
    """
    version, number = major_version(data_dir)
    if version is None:
        return {"starts_as": "nothing", "conninfo": {}, "settings": {}, "trigger_file": None}
    if number >= 12:
        settings = parse_settings(read_text(os.path.join(data_dir, "postgresql.conf")) or "")
        settings.update(parse_settings(read_text(os.path.join(data_dir, "postgresql.auto.conf")) or ""))
        standby = os.path.exists(os.path.join(data_dir, "standby.signal"))
    else:
        settings = parse_settings(read_text(os.path.join(data_dir, "recovery.conf")) or "")
        standby = settings.get("standby_mode", "off").lower() in ("on", "true", "yes", "1")
    trigger = settings.get("promote_trigger_file") or settings.get("trigger_file")
    if trigger and not os.path.isabs(trigger):
        trigger = os.path.join(data_dir, trigger)
    try:
        conninfo = parse_conninfo(settings.get("primary_conninfo", ""))
    except BadInput:
        conninfo = {}
    return {"starts_as": "standby" if standby else "primary", "conninfo": conninfo, "settings": settings,
            "trigger_file": trigger or None}


def _owned_write(path, text, like):
    write_durable(path, text, 0o600)
    if os.geteuid() == 0:
        owner = os.stat(like)
        os.chown(path, owner.st_uid, owner.st_gid)


def write_standby_settings(data_dir, conninfo):
    """Make the (stopped) directory start as a standby of ``conninfo``; durable on return. True when changed.

    Files that would promote it at once, or look like a finished promotion, are removed first.
    """
    number = major_version(data_dir)[1]
    wanted = {"primary_conninfo": format_conninfo(conninfo), "recovery_target_timeline": "latest",
              "primary_slot_name": None}
    current = standby_settings(data_dir)
    changed = False
    trigger = current["trigger_file"]
    done = os.path.join(data_dir, "recovery.done")
    for path in (trigger, os.path.join(data_dir, "failover.now"), os.path.join(data_dir, "promote"),
                 os.path.join(data_dir, "fallback_promote"), os.path.join(data_dir, "recovery.signal")):
        if path:
            changed = remove_file(path) or changed
    if number >= 12:
        path, signal_file = os.path.join(data_dir, "postgresql.auto.conf"), os.path.join(data_dir, "standby.signal")
        before = read_text(path) or ""
    else:
        path, signal_file = os.path.join(data_dir, "recovery.conf"), None
        before = read_text(path) or read_text(done) or ""
        wanted["standby_mode"] = "on"
        wanted["trigger_file"] = os.path.join(data_dir, "failover.now")
        for name in ("recovery_target", "recovery_target_time", "recovery_target_xid", "recovery_target_name",
                     "recovery_target_lsn", "recovery_target_inclusive", "recovery_target_action"):
            wanted[name] = None
    present = parse_settings(before)
    if current["starts_as"] != "standby" or any(present.get(name) != value for name, value in wanted.items()):
        _owned_write(path, change_settings(before, wanted), data_dir)
        if signal_file:
            _owned_write(signal_file, "", data_dir)
        changed = True
    return remove_file(done) or changed


def free_bytes(path):
    """Free bytes for an ordinary user on the file system of ``path`` or its nearest existing parent."""
    while not os.path.exists(path):
        path = os.path.dirname(path)
    info = os.statvfs(path)
    return info.f_bavail * info.f_frsize


def tree_bytes(path, skip=(), deadline_s=10.0):
    """Allocated bytes of a tree, None when counting takes longer than the deadline. ``skip``: directory names."""
    total, until = 0, time.time() + deadline_s
    for base, names, files in os.walk(path):
        names[:] = [name for name in names if name not in skip]
        if time.time() > until:
            return None
        for name in files:
            try:
                total += os.lstat(os.path.join(base, name)).st_blocks * 512
            except OSError:
                continue
    return total


# ---- processes -------------------------------------------------------------------------------------------------

def as_user(name):
    """A ``preexec_fn`` that becomes ``name`` when we are root, and the home directory to use."""
    if not name or os.geteuid() != 0:
        return None, os.environ.get("HOME", "/")
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise BadInput("Expected the operating system user {0} on this host, found none. Name the right one in "
                       "os_user.".format(name))

    def become():
        os.setgroups([])
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
    return become, entry.pw_dir


def run(argv, user=None, timeout=60.0):
    """Run a program; returns ``(rc, stdout, stderr)``. Raises CommandFailed or TimedOut."""
    become, home = as_user(user)
    env = dict(os.environ, LC_ALL="C", HOME=home)
    try:
        child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                 preexec_fn=become, env=env, cwd="/", close_fds=True)
    except OSError as exc:
        raise CommandFailed("Cannot run {0}: {1}. Check that it is installed.".format(argv[0], exc.strerror))
    try:
        out, err = child.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()
        raise TimedOut("{0} did not end within {1:g} s. Look at this host.".format(argv[0], timeout))
    return child.returncode, out.decode("utf-8", "replace"), err.decode("utf-8", "replace")


def process_alive(pid):
    """True when ``pid`` runs and is not a zombie."""
    try:
        with open("/proc/{0}/stat".format(pid)) as handle:
            return handle.read().rsplit(")", 1)[1].split()[0] not in ("Z", "X")
    except (IOError, OSError, IndexError):
        return False


def parent_of(pid):
    """Parent process id, 0 when unknown."""
    try:
        with open("/proc/{0}/stat".format(pid)) as handle:
            return int(handle.read().rsplit(")", 1)[1].split()[1])
    except (IOError, OSError, IndexError, ValueError):
        return 0


def postmaster(data_dir):
    """The running postmaster of ``data_dir``: ``{"pid", "port", "socket_dir", "ready"}``, or None.

    A left-over postmaster.pid whose process is gone, or is not a server of this directory, counts as None.
    """
    lines = (read_text(os.path.join(data_dir, "postmaster.pid")) or "").splitlines()
    if not lines or not lines[0].strip().lstrip("-").isdigit():
        return None
    pid = abs(int(lines[0]))
    if not process_alive(pid):
        return None
    try:
        if os.path.realpath(os.readlink("/proc/{0}/cwd".format(pid))) != os.path.realpath(data_dir):
            return None
    except OSError as exc:
        if exc.errno == errno.ENOENT:
            return None
    return {
        "pid": pid,
        "port": int(lines[3]) if len(lines) > 3 and lines[3].strip().isdigit() else PORT,
        "socket_dir": lines[4].strip() or None if len(lines) > 4 else None,
        "ready": (lines[7].strip() if len(lines) > 7 else "") in ("ready", "standby"),
    }


class SystemdService(object):
    """Starts and stops the server through its systemd unit."""

    def __init__(self, unit):
        self.unit = unit

    def start(self, timeout=120.0):
        """Start it; the guard's drop-in may refuse. Raises CommandFailed with what the unit's log says."""
        run(["systemctl", "reset-failed", self.unit], timeout=20.0)
        rc, dummy, err = run(["systemctl", "start", self.unit], timeout=timeout)
        if rc != 0:
            log = run(["journalctl", "-u", self.unit, "-n", "5", "-o", "cat", "--no-pager"], timeout=20.0)[1]
            raise CommandFailed("The unit {0} did not start: {1} {2}. Mend what it says, then run this "
                                "again.".format(self.unit, err.strip(), " | ".join(log.split("\n"))))

    def stop_begin(self):
        """Begin to stop it and return at once."""
        return subprocess.Popen(["systemctl", "stop", self.unit], stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, close_fds=True)

    def state(self):
        """ActiveState of the unit."""
        return run(["systemctl", "show", "-p", "ActiveState", self.unit], timeout=20.0)[1].strip().partition("=")[2]

    def stopped(self):
        """True when systemd has no process of it and will start none by itself."""
        return self.state() in ("inactive", "failed")

    def start_checks(self):
        """The programs that run before the server starts, as systemd shows them."""
        return run(["systemctl", "show", "-p", "ExecStartPre", self.unit], timeout=20.0)[1]


class PgCtlService(object):
    """Starts and stops a server that no unit manages (tests, hosts without systemd)."""

    def __init__(self, bindir, data_dir, os_user, options=""):
        self.bindir, self.data_dir, self.os_user, self.options = bindir, data_dir, os_user, options

    def _call(self, *words, **more):
        log = os.path.join(os.path.dirname(self.data_dir), "server-{0}.log".format(os.path.basename(self.data_dir)))
        return run([os.path.join(self.bindir, "pg_ctl"), "-D", self.data_dir, "-l", log] + list(words),
                   self.os_user, more.get("timeout", 60.0))

    def start(self, timeout=120.0):
        """Start it and wait until it answers."""
        rc, out, err = self._call("-w", "-t", str(int(timeout)), "-o", self.options, "start", timeout=timeout + 5)
        if rc != 0:
            raise CommandFailed("pg_ctl start failed: {0}. Look into the server's log.".format((err or out).strip()))

    def stop_begin(self):
        """Begin a fast stop and return at once."""
        self._call("-W", "-m", "fast", "stop")

    def state(self):
        """active or inactive."""
        return "active" if postmaster(self.data_dir) else "inactive"

    def stopped(self):
        """True when no process is left."""
        return self.state() == "inactive"

    def start_checks(self):
        """There are none."""
        return ""


# ---- conversations ---------------------------------------------------------------------------------------------

class Psql(object):
    """A psql child that stays open. Statements go in, rows come out; an error ends only the statement."""

    def __init__(self, bindir, conninfo, os_user=None, timeout=5.0):
        """conninfo: dict. With ``replication: 1`` the conversation speaks the replication protocol."""
        self.what = "{0}:{1}".format(conninfo.get("host", "local"), conninfo.get("port", PORT))
        self.timeout, self.buffer, self.count = timeout, b"", 0
        become, home = as_user(os_user)
        env = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
        env.update(LC_ALL="C", HOME=home, PGCLIENTENCODING="UTF8", PGCONNECT_TIMEOUT="2")
        program = os.path.join(bindir, "psql")
        if not os.access(program, os.X_OK):
            raise BadInput("Expected the program {0} on this host, found none. Name the right directory in "
                           "bindir.".format(program))
        self.child = subprocess.Popen([program, "-XAtq", "-w", "-F", "|", "-d", format_conninfo(conninfo)],
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                      preexec_fn=become, env=env, cwd="/", close_fds=True)
        self.out = self.child.stdout.fileno()

    def lines(self, statement, timeout=None):
        """Send one statement, return its output lines. Raises SqlFailed, SessionLost or TimedOut."""
        self.count += 1
        mark = "end-of-answer-{0}-{1}".format(os.getpid(), self.count)
        try:
            self.child.stdin.write("{0};\n\\echo {1}\n".format(statement, mark).encode("utf-8"))
            self.child.stdin.flush()
        except (IOError, OSError, ValueError):
            raise SessionLost(self._lost(b""))
        until = time.time() + (self.timeout if timeout is None else timeout)
        tail = (mark + "\n").encode("ascii")
        while not (self.buffer == tail or self.buffer.endswith(b"\n" + tail)):
            left = until - time.time()
            if left <= 0 or not select.select([self.out], [], [], left)[0]:
                self.close()
                raise TimedOut("The database at {0} did not answer within {1:g} s. Look whether it hangs.".format(
                    self.what, self.timeout if timeout is None else timeout), statement=statement)
            chunk = os.read(self.out, 65536)
            if not chunk:
                raise SessionLost(self._lost(self.buffer))
            self.buffer += chunk
        text = self.buffer[:-len(tail)].decode("utf-8", "replace")
        self.buffer = b""
        found = text.split("\n")[:-1]
        for line in found:
            match = _ERROR.match(line)
            if match:
                if match.group(1) in ("FATAL", "PANIC") or "server closed the connection" in text:
                    self.close()
                    raise SessionLost(self._lost(text.encode("utf-8")))
                raise SqlFailed("The database at {0} refused a statement: {1}. Check its version and "
                                "rights.".format(self.what, match.group(2)), statement=statement)
            if "server closed the connection" in line or "connection to server was lost" in line:
                self.close()
                raise SessionLost(self._lost(text.encode("utf-8")))
        return found

    def _lost(self, said):
        words = " ".join(said.decode("utf-8", "replace").split())
        return "The database at {0} ended or refused the connection{1}.".format(
            self.what, ": " + words if words else "")

    def rows(self, query, timeout=None):
        """Rows of a query as dicts."""
        found = self.lines("SELECT row_to_json(q) FROM ({0}) q".format(query), timeout)
        return [json.loads(line) for line in found if line.startswith("{")]

    def row(self, query, timeout=None):
        """The first row, None without one."""
        found = self.rows(query, timeout)
        return found[0] if found else None

    def open(self):
        """True while the child runs and the server has not ended the conversation."""
        if self.child.poll() is not None:
            return False
        try:
            # On an idle session psql itself notices a closed connection only when asked; ask with the next statement.
            return not select.select([self.out], [], [], 0)[0]
        except (ValueError, OSError):
            return False

    def close(self):
        """End the conversation now."""
        if self.child.poll() is None:
            self.child.kill()
        for stream in (self.child.stdin, self.child.stdout):
            try:
                stream.close()
            except (IOError, OSError):
                pass
        self.child.wait()


def identify(session, timeout=2.0):
    """Who answers on a replication-protocol session.

    Returns ``{"system_identifier", "timeline": int, "lsn", "read_write": bool or None}``; None where the server is
    too old to be asked (before 10). transaction_read_only of a fresh transaction is on exactly on a standby.
    """
    fields = None
    for line in session.lines("IDENTIFY_SYSTEM", timeout):
        if line.count("|") >= 3:
            fields = line.split("|")
    if not fields:
        raise SessionLost("The database at {0} did not identify itself.".format(session.what))
    try:
        answer = session.lines("SHOW transaction_read_only", timeout)
        read_write = {"off": True, "on": False}.get(answer[0].strip() if answer else "")
    except SqlFailed:
        read_write = None
    return {"system_identifier": fields[0], "timeline": int(fields[1]), "lsn": fields[2], "read_write": read_write}


def timeline_history(session, timeline, timeout=5.0):
    """Content of the history file of ``timeline``; empty for the first one."""
    if timeline <= 1:
        return ""
    text = "\n".join(session.lines("TIMELINE_HISTORY {0}".format(timeline), timeout))
    return text.partition("|")[2]


def tcp_answer(address, port=PORT, timeout=1.0):
    """``open``, ``refused`` or ``silent``: a timeout or an unreachable network proves nothing."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    probe = socket.socket(family, socket.SOCK_STREAM)
    probe.settimeout(timeout)
    try:
        probe.connect((address, port))
        return "open"
    except socket.error as exc:
        return "refused" if exc.errno == errno.ECONNREFUSED else "silent"
    finally:
        probe.close()


# ---- the node --------------------------------------------------------------------------------------------------

class Node(object):
    """The database server of this host."""

    def __init__(self, bindir="/opt/pgsql/bin", data_dir=None, unit="circonus-postgres-circonus_wdb",
                 user="postgres", port=PORT, replication_user="replication", state_dir="/var/lib/circonus-inside",
                 service=None, guard_dir="/run/circonus-inside"):
        self.bindir, self.unit, self.user, self.port = bindir, unit, user, port
        self.replication_user, self.state_dir, self.guard_dir = replication_user, state_dir, guard_dir
        self.data_dir = os.path.realpath(data_dir) if data_dir else find_data_dir()
        self.service = service or SystemdService(unit)

    def require_data_dir(self):
        """The data directory. Raises BadInput when none is known."""
        if not self.data_dir:
            raise BadInput("Expected a data directory {0}/PG_VERSION, found none. Let Hooper install the database, or "
                           "name data_dir.".format(DATA_GLOB))
        return self.data_dir

    def postmaster(self):
        """See :func:`postmaster`."""
        return postmaster(self.data_dir) if self.data_dir else None

    def connect(self, application="circonus-inside", timeout=5.0):
        """An SQL conversation with the local server as its superuser."""
        server = self.postmaster()
        if server is None:
            raise SessionLost("No database server runs in {0} on this host.".format(self.data_dir))
        where = {"port": server["port"], "user": self.user, "dbname": "postgres", "application_name": application}
        if server["socket_dir"]:
            where["host"] = server["socket_dir"]
        return Psql(self.bindir, where, self.user, timeout)

    def connect_replication(self, address, application, port=None, timeout=5.0):
        """A replication-protocol conversation with the server at ``address``."""
        return Psql(self.bindir, {
            "host": address, "port": port or self.port, "user": self.replication_user, "replication": 1,
            "dbname": "replication", "application_name": application}, self.user, timeout)

    def timeline_on_disk(self):
        """Highest timeline this directory has been on: the control file learns of a promotion only later than
        pg_wal does, where the history file is written first."""
        control = read_control(self.require_data_dir())
        found = [control["timeline"]] if control else [0]
        for name in ("pg_wal", "pg_xlog"):
            for path in glob.glob(os.path.join(self.data_dir, name, "*.history")):
                try:
                    found.append(int(os.path.basename(path)[:8], 16))
                except ValueError:
                    continue
        return max(found)

    def immediate_stop(self, timeout=3.0):
        """End the server at once, without a shutdown checkpoint; the smallest window. True when it is gone."""
        server = self.postmaster()
        if server is None:
            return True
        try:
            os.kill(server["pid"], signal.SIGQUIT)
            until = time.time() + timeout
            while process_alive(server["pid"]) and time.time() < until:
                time.sleep(0.005)
            if process_alive(server["pid"]):
                os.kill(server["pid"], signal.SIGKILL)
        except OSError as exc:
            if exc.errno != errno.ESRCH:
                raise InsideError("Cannot stop the database server {0}: {1}.".format(server["pid"], exc.strerror))
        return not process_alive(server["pid"])


def names(version_num):
    """SQL names that changed with version 10. Pure."""
    old = version_num < 100000
    return {
        "current": "pg_current_xlog_location()" if old else "pg_current_wal_lsn()",
        "receive": "pg_last_xlog_receive_location()" if old else "pg_last_wal_receive_lsn()",
        "replay": "pg_last_xlog_replay_location()" if old else "pg_last_wal_replay_lsn()",
        "file": "pg_xlogfile_name" if old else "pg_walfile_name",
        "column": "location" if old else "lsn",
        "paused": "pg_is_xlog_replay_paused()" if old else "pg_is_wal_replay_paused()",
    }


def mount_point(path):
    """True when a directory cannot be renamed because something is mounted on it."""
    return os.path.ismount(path)


def owner_and_mode(path):
    """``(uid, gid, mode)`` of a path."""
    info = os.stat(path)
    return info.st_uid, info.st_gid, stat.S_IMODE(info.st_mode)
