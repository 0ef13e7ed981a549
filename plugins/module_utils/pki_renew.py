# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Make room for new certificates on one host, and give the old ones back when there are no new ones.

Hooper makes what is missing and does not look into what is there, so a file that is to be replaced is moved aside
first. Before that a record of it is written below STATE_DIR. The record is removed when the services that read the file
have been restarted, so a run that was killed at any moment leaves what the next one needs to go on or to go back.

A record is ``{"path": the file that is to be new, "run_id": of the run that began, "files": {path: where it was moved,
or "" when there was none}, "accepted": SHA-256 of the new one, "" until it has been proven}``.
Source: operation manual, "PKI Connectivity"; private keys are moved and never read here.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import base64
import hashlib
import json
import os
import re
import time

from ansible_collections.circonus.inside.plugins.module_utils import pki_files, service
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput, InsideError, Refused, TimedOut

STATE_DIR = "/var/lib/circonus-inside/pki-renew"
PROCESSOR = "circonus-ca_processor"
_RUN_ID = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
_POLL = 0.5


# -- records ----------------------------------------------------------------------------------------------------------


def record_path(state_dir, path):
    """Where the record of a file is. Pure."""
    return os.path.join(state_dir, hashlib.sha256(path.encode("utf-8")).hexdigest()[:32] + ".json")


def records(state_dir):
    """Every open record, by path. Raises Refused for one that cannot be read: it names files that are set aside."""
    found = []
    names = sorted(os.listdir(state_dir)) if os.path.isdir(state_dir) else []
    for name in names:
        if not name.endswith(".json"):
            continue
        try:
            with open(os.path.join(state_dir, name)) as handle:
                record = json.load(handle)
            found.append(dict((key, record[key]) for key in ("path", "run_id", "files", "accepted")))
        except (IOError, OSError, ValueError, KeyError, TypeError):
            raise Refused(
                "Expected the record of a certificate that is being renewed in {0}, found something else. Compare the "
                "files *.aside-* with those in use, then remove it.".format(os.path.join(state_dir, name))
            )
    return sorted(found, key=lambda record: record["path"])


def _save(state_dir, record):
    """Write a record durably."""
    if not os.path.isdir(state_dir):
        os.makedirs(state_dir, 0o700)
    path = record_path(state_dir, record["path"])
    with open(path + ".new", "w") as handle:
        json.dump(record, handle)
        handle.flush()
        os.fsync(handle.fileno())
    os.rename(path + ".new", path)
    _sync(state_dir)


def _sync(directory):
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _move(path, target):
    os.rename(path, target)
    _sync(os.path.dirname(path))


def free_name(path, word, run_id):
    """A name beside ``path`` that is not taken: ``<path>.<word>-<run_id>``."""
    name, number = "{0}.{1}-{2}".format(path, word, run_id), 1
    while os.path.lexists(name):
        number += 1
        name = "{0}.{1}-{2}.{3}".format(path, word, run_id, number)
    return name


# -- what a run does --------------------------------------------------------------------------------------------------


def read(state_dir=STATE_DIR, look=pki_files.look, units=service.show_units):
    """What an earlier run left, and whether this host signs: ``{"records", "processor"}``.

    A record has two keys more: ``old``, what the certificates that were moved aside say (no key is looked at), and
    ``mtime`` of the file that is in its place now, None when there is none. processor: ``active``, ``enabled``,
    ``exists`` of the CA's service.
    """
    found = []
    for record in records(state_dir):
        aside = record["files"].get(record["path"])
        old = look(aside)["objects"] if aside and os.path.lexists(aside) else []
        mtime = int(os.stat(record["path"]).st_mtime) if os.path.exists(record["path"]) else None
        found.append(dict(record, old=old, mtime=mtime))
    state = units([PROCESSOR])[PROCESSOR]
    return {"records": found, "processor": dict((key, state[key]) for key in ("active", "enabled", "exists"))}


def set_aside(items, run_id, state_dir=STATE_DIR, check_mode=False):
    """Move files aside. items: ``[{"path", "files": [paths that belong to it and have to go too]}]``.

    What an earlier run moved stays what is given back; a file that stands there again by now is moved as well.
    Returns ``[[path, where it is now], ...]`` of what was moved.
    """
    if not _RUN_ID.match(run_id or ""):
        raise BadInput("Expected a run id of letters, digits, dot, dash and underscore, found {0!r}.".format(run_id))
    known = dict((record["path"], record) for record in records(state_dir))
    moved = []
    for item in items:
        record = known.get(item["path"])
        if record is None or record["accepted"]:
            record = {"path": item["path"], "run_id": run_id, "files": {}, "accepted": ""}
        moves = []
        for path in item["files"]:
            there = os.path.lexists(path)
            target = free_name(path, "aside", run_id) if there else ""
            kept = record["files"].get(path)
            if kept is None or (kept and not os.path.lexists(kept)):
                record["files"][path] = target
            if there:
                moves.append([path, target])
        moved += moves
        if check_mode:
            continue
        # Before anything is moved, so that a run that is killed in between is known.
        _save(state_dir, record)
        for path, target in moves:
            _move(path, target)
    return moved


def accept(items, state_dir=STATE_DIR, check_mode=False, look=pki_files.look):
    """Note that new files were proven. items: ``[{"path", "sha256"}]``. Refused when another one is there by now."""
    known = dict((record["path"], record) for record in records(state_dir))
    changed = False
    for item in items:
        found = sha256_of(item["path"], look)
        if found != item["sha256"]:
            raise Refused(
                "Expected the certificate that was proven in {0} (sha256 {1}...), found another one by now. Start "
                "again.".format(item["path"], item["sha256"][:16])
            )
        record = known.get(item["path"])
        if record and record["accepted"] != found:
            changed = True
            if not check_mode:
                _save(state_dir, dict(record, accepted=found))
    return changed


def sha256_of(path, look=pki_files.look):
    """SHA-256 (hex) of the first certificate in a file, None when there is none."""
    for item in look(path)["objects"]:
        if item["type"] == "certificate":
            return hashlib.sha256(base64.b64decode(item["der"])).hexdigest()
    return None


def give_back(run_id, state_dir=STATE_DIR, check_mode=False):
    """Put back what was moved aside for files that were not proven. Returns the paths.

    What stands in their place is moved to ``<path>.rejected-<run_id>``. The file comes back as it was, with owner, mode
    and times.
    """
    restored = []
    for record in records(state_dir):
        if record["accepted"]:
            continue
        for path, aside in sorted(record["files"].items()):
            # Nothing is taken away where nothing can be given back, unless there was nothing before.
            if aside and not os.path.lexists(aside):
                continue
            if not check_mode:
                if os.path.lexists(path):
                    _move(path, free_name(path, "rejected", run_id))
                if aside:
                    _move(aside, path)
            if aside:
                restored.append(path)
        if not check_mode:
            os.unlink(record_path(state_dir, record["path"]))
    return restored


def close(paths, state_dir=STATE_DIR, check_mode=False):
    """Forget the records of files whose services run with them. Returns whether there were any."""
    changed = False
    for record in records(state_dir):
        if record["path"] in paths and record["accepted"]:
            changed = True
            if not check_mode:
                os.unlink(record_path(state_dir, record["path"]))
    return changed


# -- what a service shows ---------------------------------------------------------------------------------------------


def shown(port, path, key, runner=pki_files.run, timeout=5.0, address="127.0.0.1", openssl="openssl"):
    """SHA-256 (hex) of the certificate that a port presents, None when none came.

    The host's own pair is offered, because most of these ports ask their clients for one.
    """
    argv = [openssl, "s_client", "-connect", "{0}:{1}".format(address, port), "-prexit", "-cert", path, "-key", key]
    try:
        out = runner(argv, timeout)[1]
    except OSError as exc:
        raise InsideError("Cannot run openssl: {0}. Install it on this host.".format(os.strerror(exc.errno)))
    for item in pki_files.sort_content(out)["objects"]:
        if item["type"] == "certificate":
            return hashlib.sha256(base64.b64decode(item["der"])).hexdigest()
    return None


def presented(port, path, key, timeout=60.0, runner=pki_files.run, look=pki_files.look, clock=time.time,
              pause=time.sleep):
    """Wait until a port presents the certificate of a file. Raises TimedOut with what it presents instead."""
    wanted, end = sha256_of(path, look), clock() + timeout
    if wanted is None:
        raise Refused("Expected a certificate in {0}, found none. Start again.".format(path))
    while True:
        found = shown(port, path, key, runner, max(1.0, min(5.0, end - clock())))
        if found == wanted:
            return wanted
        if clock() >= end:
            raise TimedOut(
                "Expected port {0} to present the certificate of {1} (sha256 {2}...) within {3:g} s, found {4}. Look "
                "at the log of the service, then restart it.".format(
                    port, path, wanted[:16], timeout, "another one (%s...)" % found[:16] if found else "none"
                )
            )
        pause(_POLL)
