# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Readers of one host. Each answers with plain data; what it means is decided in host_check."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import contextlib
import errno
import glob
import grp
import os
import pwd
import re
import socket
import stat
import time

from ansible_collections.circonus.inside.plugins.module_utils import host_check_parse, http_page, programs, unit_state
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError

NET = (("tcp", "/proc/net/tcp"), ("tcp", "/proc/net/tcp6"), ("udp", "/proc/net/udp"), ("udp", "/proc/net/udp6"))
CRONTABS = (("/etc/crontab", False), ("/etc/cron.d/*", False), ("/var/spool/cron/*", True),
            ("/var/spool/cron/crontabs/*", True))
CRON_PARTS = ("hourly", "daily", "weekly", "monthly")
DPKG = "/var/lib/dpkg"
DPKG_LIMIT = 64 * 1024 * 1024
WEB_PACKAGE = "circonus-web-service"
FILE_LIMIT = 262144
STRATCON_PORT, NOITS, NOITS_LIMIT = 43191, "/noits/show.json", 4194304
COMMAND_LINE_LIMIT = 4096
LINE_LIMIT = 500
CLOCK_BOOTTIME = 7
NETLINK, SOCK_DIAG, NETLINK_S = 16, 4, 2.0
# Process id of the parent of the kernel's threads; in a container it can be anything.
KERNEL_THREADS = 2


def _text(path, limit=FILE_LIMIT):
    with open(path, "rb") as handle:
        return handle.read(limit).decode("utf-8", "replace")


def reason(exc):
    """What an OSError says, without the path."""
    return (exc.strerror or str(exc)).lower()


# ---- processes and sockets -------------------------------------------------------------------------------------


def sockets(ask_kernel=True):
    """Listening sockets of this host; see :func:`host_check_parse.parse_sockets`.

    The kernel is asked for just these (sock_diag(7)). For the tables of ``/proc/net`` it goes through all places that a
    connection could have, 11 ms of CPU; they are read where it does not know the question.
    """
    if ask_kernel:
        try:
            return [item for family in (socket.AF_INET, socket.AF_INET6) for proto in ("tcp", "udp")
                    for item in _diagnosed(family, proto)]
        except (OSError, ValueError):
            pass
    found = []
    for proto, path in NET:
        try:
            with open(path) as handle:
                found += host_check_parse.parse_sockets(handle.read(), proto)
        except (IOError, OSError):
            continue
    return found


def _diagnosed(family, proto):
    found, done = [], False
    connection = socket.socket(NETLINK, socket.SOCK_RAW, SOCK_DIAG)
    try:
        connection.settimeout(NETLINK_S)
        connection.send(host_check_parse.diag_request(family, proto))
        while not done:
            items, done = host_check_parse.parse_diag(connection.recv(65536), proto)
            found += items
    finally:
        connection.close()
    return found


def _proc(path, limit=COMMAND_LINE_LIMIT):
    """Text of a file in ``/proc``, with as few calls as can be: there are thousands."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.read(descriptor, limit).decode("utf-8", "replace")
    finally:
        os.close(descriptor)


def processes(short=False):
    """``{pid: {"pid", "ppid", "comm", "start_ticks", "name", "command", "unit"}}`` of what runs; no dead children and
    no threads of the kernel.

    name: last part of the first argument; command: the command line; short leaves these and the unit out.
    """
    found = {}
    try:
        kernel = _proc("/proc/{0}/comm".format(KERNEL_THREADS)).strip() == "kthreadd"
    except OSError:
        kernel = False
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        base = "/proc/" + entry
        try:
            item = host_check_parse.parse_stat(_proc(base + "/stat"))
            if item.pop("state") in "ZX" or KERNEL_THREADS in (item["pid"], item["ppid"]) and kernel:
                continue
            if not short:
                arguments = _proc(base + "/cmdline").split("\0")
                item["name"] = os.path.basename(arguments[0])
                item["command"] = " ".join(arguments).strip()
                item["unit"] = host_check_parse.parse_cgroup(_proc(base + "/cgroup"))
        except (IOError, OSError, ValueError, IndexError):
            continue
        found[item["pid"]] = item
    return found


def owners(inodes, table):
    """``{inode: pid}``: who has these sockets open. The oldest process counts, systemd only if it is the only one."""
    left, found = set(inodes), {}
    order = sorted(table.values(), key=lambda item: (item["pid"] == 1, item["start_ticks"], item["pid"]))
    for item in order:
        if not left:
            break
        for inode in left & _open_sockets(item["pid"]):
            left.discard(inode)
            found[inode] = item["pid"]
    return found


def _open_sockets(pid):
    """Inodes of the sockets that a process has open. Root of a container may not look at those of other users; there
    their owner is asked."""
    base = "/proc/{0}/fd".format(pid)
    try:
        return _sockets_below(base)
    except OSError as exc:
        if exc.errno not in (errno.EACCES, errno.EPERM) or os.geteuid() != 0:
            return set()
    try:
        info = os.stat(os.path.dirname(base))
        with file_access_as(info.st_uid, info.st_gid):
            return _sockets_below(base)
    except OSError:
        return set()


def _sockets_below(base):
    found, denied = set(), None
    for descriptor in os.listdir(base):
        try:
            target = os.readlink(base + "/" + descriptor)
        except OSError as exc:
            denied = exc if exc.errno in (errno.EACCES, errno.EPERM) else denied
            continue
        if target.startswith("socket:["):
            found.add(int(target[8:-1]))
    if denied and not found:
        raise denied
    return found


@contextlib.contextmanager
def file_access_as(uid, gid):
    """Files are accessed as this user for a while, by this thread only (setfsuid(2)); nothing else changes."""
    try:
        import ctypes
    except ImportError:  # a Python without it cannot look into processes of others where root may not
        yield
        return
    library = ctypes.CDLL(None)
    group, user = library.setfsgid(gid), library.setfsuid(uid)
    try:
        yield
    finally:
        library.setfsuid(user)
        library.setfsgid(group)


def look_twice(inodes, watch_s):
    """Processes of this host, the owners of some sockets, and a second look at the processes after ``watch_s``.

    Returns ``{"processes": [...], "owners": [[inode, pid]], "later": [short processes], "boot_s", "ticks",
    "watch_s"}``; boot_s: seconds since the boot, on the clock that ``start_ticks`` count. A process is ``own`` when it
    is this one or above it.
    """
    table = processes()
    since_boot = time.clock_gettime(CLOCK_BOOTTIME)
    started = time.monotonic()
    owned = owners(inodes, table)
    time.sleep(max(0.0, watch_s - (time.monotonic() - started)))
    own = _own_family(table)
    return {
        "processes": [dict(item, own=pid in own) for pid, item in table.items()],
        "owners": sorted([inode, pid] for inode, pid in owned.items()),
        "later": list(processes(short=True).values()),
        "boot_s": since_boot,
        "ticks": os.sysconf("SC_CLK_TCK"),
        "watch_s": watch_s,
    }


def _own_family(table):
    """This process and those above it up to the first of the host's: their command lines may name anything."""
    found, pid = set(), os.getpid()
    while pid in table and pid > 1 and table[pid]["ppid"] != 1:
        found.add(pid)
        pid = table[pid]["ppid"]
    return found


# ---- pages -----------------------------------------------------------------------------------------------------


def feeds(cert, key, port=STRATCON_PORT, timeout=3.0):
    """Connections of the local stratcon to its brokers; see :func:`host_check_parse.parse_noits`."""
    answer = http_page.ask("127.0.0.1", port, NOITS, True, timeout=timeout, pair=(cert, key), limit=NOITS_LIMIT)
    if answer["error"] or answer["status"] != 200:
        raise InsideError(answer["error"] or "expected status 200 from {0}, found {1}".format(NOITS, answer["status"]))
    try:
        return host_check_parse.parse_noits(answer["body"])
    except ValueError as exc:
        raise InsideError("expected the brokers of stratcon from {0}: {1}".format(NOITS, exc))


# ---- files -----------------------------------------------------------------------------------------------------


def space(path):
    """Room of the file system below ``path``: ``{"mount", "free_bytes", "total_bytes", "free_inodes",
    "total_inodes"}``."""
    try:
        info = os.statvfs(path)
        mount = os.path.realpath(path)
        while not os.path.ismount(mount):
            mount = os.path.dirname(mount)
    except OSError as exc:
        raise InsideError(reason(exc))
    return {
        "mount": mount,
        "free_bytes": info.f_bavail * info.f_frsize,
        "total_bytes": info.f_blocks * info.f_frsize,
        "free_inodes": info.f_favail,
        "total_inodes": info.f_files,
    }


def newest(pattern):
    """The file that a log entry means: the newest match of a pattern, the newest file of a directory; else itself."""
    candidates = [pattern]
    if any(mark in pattern for mark in "*?["):
        candidates = glob.glob(pattern) or [pattern]
    files = []
    for path in candidates[:1000]:
        names = [path]
        if os.path.isdir(path):
            names = [os.path.join(path, name) for name in sorted(os.listdir(path))[:1000] if not name.startswith(".")]
        for name in names:
            try:
                info = os.stat(name)
            except OSError:
                continue
            if stat.S_ISREG(info.st_mode):
                files.append((info.st_mtime, name))
    return max(files)[1] if files else pattern


def log(pattern, errors, watch_s, tail_bytes=65536, lines=5):
    """Size, age, growth within ``watch_s`` and the last lines that match one of ``errors``, from the end of a log.

    Returns ``{"path", "size", "mtime", "grown_bytes", "errors"}``. Raises InsideError when it cannot be read.
    """
    try:
        path = newest(pattern)
        info = os.stat(path)
        if not stat.S_ISREG(info.st_mode):
            raise InsideError("expected a file, found something else")
        started = time.monotonic()
        found = []
        if errors and info.st_size:
            expressions = [re.compile(item) for item in errors]
            for line in unit_state.tail(path, 100000, tail_bytes):
                if any(expression.search(line[:2000]) for expression in expressions):
                    found.append(line[:LINE_LIMIT])
        time.sleep(max(0.0, watch_s - (time.monotonic() - started)))
        later = os.stat(path)
    except OSError as exc:
        raise InsideError(reason(exc))
    except re.error as exc:
        raise InsideError("cannot use a pattern of log_errors: {0}".format(exc))
    return {
        "path": path,
        "size": later.st_size,
        "mtime": round(later.st_mtime, 3),
        "grown_bytes": later.st_size - info.st_size,
        "errors": found[-lines:],
    }


def _name(number, lookup):
    try:
        return lookup(number)[0]
    except KeyError:
        return str(number)


def pki_files(kind, pattern):
    """Files of one PKI entry; see :func:`pki_file`. A pattern without a match is one file that is not there."""
    paths = [pattern]
    if any(mark in pattern for mark in "*?["):
        paths = sorted(glob.glob(pattern))[:20] or [pattern]
    return [pki_file(kind, path) for path in paths]


def pki_file(kind, path):
    """``{"kind", "path", "present", "mode", "owner", "group", "size", "not_after_epoch", "error"}``. Of a private key
    only its first bytes are looked at, to see that it is one and whether it is encrypted."""
    item = {"kind": kind, "path": path, "present": False, "mode": None, "owner": None, "group": None, "size": None,
            "not_after_epoch": None, "error": ""}
    try:
        info = os.stat(path)
        item.update(
            present=True,
            mode="{0:04o}".format(stat.S_IMODE(info.st_mode)),
            owner=_name(info.st_uid, pwd.getpwuid),
            group=_name(info.st_gid, grp.getgrgid),
            size=info.st_size,
        )
        if not stat.S_ISREG(info.st_mode):
            item["error"] = "expected a file, found something else"
        elif kind != "keystore":
            with open(path, "rb") as handle:
                head = handle.read(64)
                if kind == "key" or b"PRIVATE KEY" in head and b"CERTIFICATE" not in head:
                    item["error"] = host_check_parse.key_problem(head)
                else:
                    data = head + handle.read(FILE_LIMIT)
                    item["not_after_epoch"], item["error"] = host_check_parse.validity_end(data)
    except OSError as exc:
        item["error"] = "" if exc.errno == errno.ENOENT else reason(exc)
    return item


def crontabs():
    """``{"jobs": [{"schedule", "user", "command", "file"}], "unreadable": [paths]}`` of all crontabs of this host."""
    jobs, unreadable = [], []

    def read(path, user, whole=False):
        try:
            if not os.path.isfile(path):
                return
            text = _text(path)
        except (IOError, OSError):
            unreadable.append(path)
            return
        if whole:
            found = [{"schedule": None, "user": "root", "command": line} for line in text.splitlines()
                     if line.strip() and not line.strip().startswith("#")]
        else:
            found = host_check_parse.parse_crontab(text, user)
        jobs.extend(dict(job, file=path) for job in found)

    for pattern, personal in CRONTABS:
        for path in sorted(glob.glob(pattern)):
            read(path, os.path.basename(path) if personal else None)
    for part in CRON_PARTS:
        for path in sorted(glob.glob("/etc/cron.{0}/*".format(part))):
            read(path, None, True)
    return {"jobs": jobs, "unreadable": unreadable}


# ---- programs --------------------------------------------------------------------------------------------------


def versions(paths, packages, timeout=5.0, find=programs.find_program, run=unit_state.run, dpkg=DPKG):
    """Versions of ``packages`` and of those that own ``paths``, from the package manager of this host.

    Returns ``{"versions": {package: version}, "owners": {path: package}}``.
    """
    paths = [path for path in paths if os.path.exists(path)]
    found, owned = {}, {}
    rpm = find("rpm")
    if os.path.exists(dpkg + "/status"):
        owned = dpkg_owners(paths, dpkg + "/info/*.list")
        found = host_check_parse.parse_dpkg_status(_text(dpkg + "/status", DPKG_LIMIT),
                                                   set(packages) | set(owned.values()))
    elif rpm:
        shape = ["--qf", "%{NAME}\\t%{VERSION}\\n"]
        if paths:
            owned, found = host_check_parse.parse_owner_lines(run([rpm, "-qf"] + shape + paths, timeout)[1], paths)
        left = [name for name in packages if name not in found]
        if left:
            found.update(host_check_parse.parse_versions(run([rpm, "-q"] + shape + left, timeout)[1]))
    else:
        raise InsideError("expected the database of rpm or dpkg on this host, found neither")
    return {"versions": found, "owners": owned}


def dpkg_owners(paths, lists):
    """``{path: package}`` from the lists of files that dpkg keeps. ``dpkg -S`` builds a table of all files of all
    packages first, which took more time than everything else on a host."""
    owned, left = {}, dict((path, path.encode("utf-8") + b"\n") for path in paths)
    for name in glob.glob(lists) if left else ():
        with open(name, "rb") as handle:
            files = handle.read()
        for path in [path for path in left if left[path] in files]:
            if b"\n" + left[path] in b"\n" + files:
                owned[path] = os.path.basename(name)[:-len(".list")]
                del left[path]
    return owned
