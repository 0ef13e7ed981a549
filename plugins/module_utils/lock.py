# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lock that lets one procedure at a time work on a platform.

It lives on the hosts of the platform, not on the controller: two controllers that know nothing of each other meet
here. The record is a small JSON file, replaced as a whole and durably; writers take turns by ``flock`` on a file
beside it. That file also keeps the highest token ever given, so a token grows even when the record was removed.

Record: ``{"token": int, "state": "held"|"released", "run_id": str, "procedure": str, "owner": str,
"controller": str, "pid": int, "acquired": epoch seconds, "expires": epoch seconds}``.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import errno
import fcntl
import json
import os
import time

from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput, InsideError, LockHeld, TimedOut

DEFAULT_PATH = "/var/lib/circonus-inside/procedure.lock"
FLOCK_SUFFIX = ".flock"
FLOCK_TIMEOUT = 10.0
STATES = ("acquired", "renewed", "released", "read")


def stamp(epoch):
    """Epoch seconds as ``2024-01-31T12:00:00Z``; ``unknown`` when the value is not a number."""
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(float(epoch)))
    except (TypeError, ValueError, OverflowError, OSError):
        return "unknown"


def is_held(record):
    """True when ``record`` (dict or None) names a holder, expired or not."""
    return bool(record) and record.get("state") == "held"


def is_expired(record, now):
    """True when the time of ``record`` is up at ``now`` (epoch seconds)."""
    return float(record.get("expires", 0)) <= now


def refusal(record, path, now):
    """One line about the holder of the lock and what can be done. ``record`` is held and not expired."""
    return (
        "The platform is locked: expected no other procedure, found {procedure} of {owner} on {controller} (run "
        "{run_id}, since {since}, expires {expires}, in {left} s) in {path}. Wait for it to end, or when it is known "
        "to be dead repeat with break_run_id={run_id} (of a procedure: -e circonus_lock_break={run_id})."
    ).format(
        procedure=record.get("procedure") or "an unnamed procedure",
        owner=record.get("owner") or "an unnamed owner",
        controller=record.get("controller") or "an unnamed controller",
        run_id=record.get("run_id"),
        since=stamp(record.get("acquired")),
        expires=stamp(record.get("expires")),
        left=max(0, int(round(float(record.get("expires", now)) - now))),
        path=path,
    )


def lost(record, path, run_id, now):
    """One line for a run that believed to hold the lock and does not."""
    if not record:
        found = "no lock at all"
    elif not is_held(record):
        found = "a released lock (last run {0})".format(record.get("run_id"))
    elif record.get("run_id") != run_id:
        found = "{0} of {1} (run {2}, since {3})".format(
            record.get("procedure"), record.get("owner"), record.get("run_id"), stamp(record.get("acquired"))
        )
    else:
        found = "its own lock expired since {0}".format(stamp(record.get("expires")))
    return (
        "Run {0} does not hold the lock of the platform: expected itself, found {1} in {2}. Nothing was changed by "
        "this step; start the procedure again.".format(run_id, found, path)
    )


def decide(current, request, now, floor=0, path=DEFAULT_PATH):
    """Decide what a request does to the lock. Pure.

    current: record as read, or None. request: dict with ``state`` (one of acquired, renewed, released, read),
    ``run_id``, ``procedure``, ``owner``, ``controller``, ``pid``, ``ttl`` (seconds), ``break_run_id`` (or None),
    ``token`` (int or None, only for renewed and released). now: epoch seconds. floor: highest token ever given.

    Returns ``(record, action, previous)``: ``record`` to write, or None to leave the file as it is; ``action`` one of
    acquired, reacquired, expired_taken, broken, renewed, released, none; ``previous`` the record that was displaced or
    None.
    Raises LockHeld when the request must be refused.
    """
    state = request["state"]
    run_id = request.get("run_id")
    mine = is_held(current) and current.get("run_id") == run_id

    if state == "read":
        return None, "none", None

    if state == "released":
        if not mine or (request.get("token") is not None and request["token"] != current.get("token")):
            return None, "none", None
        record = dict(current, state="released", released=now)
        return record, "released", None

    if state == "renewed":
        if not mine or (request.get("token") is not None and request["token"] != current.get("token")):
            raise LockHeld(lost(current, path, run_id, now), lock=current)
        return dict(current, expires=now + request["ttl"]), "renewed", None

    fresh = {
        "token": max(int(floor), int((current or {}).get("token", 0))) + 1,
        "state": "held",
        "run_id": run_id,
        "procedure": request.get("procedure"),
        "owner": request.get("owner"),
        "controller": request.get("controller"),
        "pid": request.get("pid"),
        "acquired": now,
        "expires": now + request["ttl"],
    }
    if not is_held(current):
        return fresh, "acquired", None
    if mine:
        if is_expired(current, now):
            # Somebody may have acted on the expiry already on another host: a new token, never the old one again.
            return fresh, "reacquired", current
        return dict(current, expires=now + request["ttl"]), "reacquired", None
    if is_expired(current, now):
        return fresh, "expired_taken", current
    if request.get("break_run_id") and request["break_run_id"] == current.get("run_id"):
        return fresh, "broken", current
    raise LockHeld(refusal(current, path, now), lock=current)


def parse(text, path):
    """Read a record from ``text``; None for empty text. Raises BadInput when it is not one."""
    if not text.strip():
        return None
    try:
        record = json.loads(text)
        int(record["token"])
        if record["state"] not in ("held", "released"):
            raise ValueError("state")
        float(record["expires"])
    except (ValueError, KeyError, TypeError):
        raise BadInput(
            "The lock file {0} is damaged: expected a JSON record with token, state and expires, found something else. "
            "Make sure that no procedure runs, then remove the file.".format(path)
        )
    return record


def read(path=DEFAULT_PATH):
    """The record in ``path`` or None when there is no such file; it is only ever replaced, so no turn is needed."""
    try:
        with open(path) as handle:
            return parse(handle.read(), path)
    except IOError as exc:
        if exc.errno == errno.ENOENT:
            return None
        raise InsideError(
            "Cannot read the lock {0}: {1}. Check the file system of this host.".format(path, exc.strerror)
        )


def check(path, run_id, token=None, now=None):
    """Prove that ``run_id`` (and ``token`` when given) holds the lock right now; returns the record.

    To be called right before an act that cannot be undone. Raises LockHeld otherwise.
    """
    now = time.time() if now is None else now
    record = read(path)
    if (
        not is_held(record)
        or record.get("run_id") != run_id
        or is_expired(record, now)
        or (token is not None and int(token) != int(record["token"]))
    ):
        raise LockHeld(lost(record, path, run_id, now), lock=record)
    return record


def write_durable(path, text, mode=0o644):
    """Replace ``path`` by ``text`` as a whole; on return it is on disk, directory entry included."""
    directory = os.path.dirname(path) or "."
    temporary = "{0}.new-{1}".format(path, os.getpid())
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        with os.fdopen(descriptor, "w") as handle:
            handle.write(text)
            handle.flush()
            os.fsync(handle.fileno())
        os.rename(temporary, path)
    except Exception:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Turn:
    """One at a time on this host, whatever became of the controller that began the other one.

    path: the file to hold ``flock`` on, made with its directory. busy: sentence of the TimedOut, raised when another
    process still holds it after ``timeout`` seconds. handle: the open file; a child that lives on has to close its own.
    """

    POLL_S = 0.2

    def __init__(self, path, timeout, busy, clock=time.time, pause=time.sleep):
        self.path, self.timeout, self.busy, self.clock, self.pause = path, timeout, busy, clock, pause
        self.handle = None

    def __enter__(self):
        if not os.path.isdir(os.path.dirname(self.path)):
            os.makedirs(os.path.dirname(self.path), 0o755)
        self.handle = open(self.path, "a")
        end = self.clock() + self.timeout
        while True:
            try:
                fcntl.flock(self.handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return self
            except (IOError, OSError) as exc:
                if exc.errno not in (errno.EAGAIN, errno.EACCES, errno.EINTR):
                    self.handle.close()
                    raise
            if self.clock() >= end:
                self.handle.close()
                raise TimedOut(self.busy)
            self.pause(self.POLL_S)

    def __exit__(self, *unused):
        self.handle.close()


class _Turn:
    """Holds ``flock`` on the file beside the lock, and the token floor kept inside that file."""

    def __init__(self, path, timeout=FLOCK_TIMEOUT):
        self.path = path + FLOCK_SUFFIX
        self.timeout = timeout
        self.descriptor = None

    def __enter__(self):
        directory = os.path.dirname(self.path)
        if directory and not os.path.isdir(directory):
            try:
                os.makedirs(directory, 0o755)
            except OSError as exc:
                if exc.errno != errno.EEXIST:
                    raise
        self.descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        deadline = time.time() + self.timeout
        while True:
            try:
                fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return self
            except (IOError, OSError) as exc:
                if exc.errno not in (errno.EAGAIN, errno.EACCES, errno.EINTR):
                    self.__exit__()
                    raise
            if time.time() >= deadline:
                self.__exit__()
                raise TimedOut(
                    "Expected a turn at {0} within {1:g} s, another process keeps it. Look for a hanging "
                    "procedure_lock on this host.".format(self.path, self.timeout)
                )
            time.sleep(0.01)

    def __exit__(self, *unused):
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None

    def floor(self):
        """Highest token ever given, 0 when none."""
        os.lseek(self.descriptor, 0, os.SEEK_SET)
        try:
            return int(os.read(self.descriptor, 32).decode("ascii").strip() or 0)
        except ValueError:
            return 0

    def raise_floor(self, token):
        """Keep ``token`` as the highest one ever given; fixed width, so one write is never half a number."""
        os.lseek(self.descriptor, 0, os.SEEK_SET)
        os.write(self.descriptor, "{0:020d}\n".format(token).encode("ascii"))
        os.fsync(self.descriptor)


def apply(path, request, check_mode=False, now=None, timeout=FLOCK_TIMEOUT):
    """Carry out ``request`` (see :func:`decide`) on the lock file ``path``.

    Returns ``{"changed": bool, "action": str, "lock": record or {}, "token": int, "previous": record or {},
    "held": bool}``.
    In check mode the file is only read. Raises LockHeld, TimedOut or BadInput.
    """

    def outcome(current, floor):
        moment = time.time() if now is None else now
        record, action, previous = decide(current, request, moment, floor, path)
        result = record if record is not None else (current or {})
        return record, {
            "changed": record is not None,
            "action": action,
            "lock": result,
            "token": int(result.get("token", 0)),
            "previous": previous or {},
            "held": is_held(result)
            and result.get("run_id") == request.get("run_id")
            and not is_expired(result, moment),
        }

    if check_mode or request["state"] == "read":
        return outcome(read(path), 0)[1]
    try:
        with _Turn(path, timeout) as turn:
            record, result = outcome(read(path), turn.floor())
            if record is not None:
                turn.raise_floor(record["token"])
                write_durable(path, json.dumps(record, sort_keys=True) + "\n")
            return result
    except (IOError, OSError) as exc:
        raise InsideError(
            "Cannot write the lock {0}: {1}. Check that its directory is writable and has space.".format(
                path, exc.strerror
            )
        )
