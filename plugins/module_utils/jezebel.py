# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The log of jezebel, the Java helper of a broker: on for a diagnosis, and reliably off again.

Source: operation manual, "Broker Troubleshooting" (P35): in the script change ``LOGFILE=/dev/null``, read the log,
change it back; nothing rotates that file.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import json
import os
import re
import signal
import tempfile
import time

from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput, InsideError, TimedOut

SCRIPT = "/opt/noit/prod/bin/jezebel"
RECORD = "/var/lib/circonus-inside/jezebel_log.json"
OFF = "/dev/null"
POLL = 0.2
_LINE = re.compile(r"^([ \t]*(?:export[ \t]+)?LOGFILE=)(\S*)[ \t]*$", re.MULTILINE)
_PATH = re.compile(r"^/[A-Za-z0-9._/-]+$")


def plan(text, record, logfile):
    """What to do. Pure.

    text: the script. record: what an earlier run left (``{"original", "logfile", "restarted"}``), None without one.
    logfile: where jezebel should log, ``/dev/null`` for off. Returns ``{"text": new script, "edit": bool, "restart":
    bool, "record": record to write before the edit, None to remove it at the end, "value": value of LOGFILE then}``.
    Raises InsideError when the script has no such line, BadInput for a path that a shell would not take literally.
    """
    if not _PATH.match(logfile):
        raise BadInput("Expected an absolute path without blanks for the log of jezebel, found {0!r}.".format(logfile))
    found = _LINE.search(text)
    if not found:
        raise InsideError("Expected a line LOGFILE=... in the script of jezebel, found none. Look at its package.")
    present = found.group(2)
    if logfile == OFF:
        value = (record or {}).get("original") or OFF
        keep, restart = None, record is not None or present != value
    else:
        value = logfile
        original = record["original"] if record else present
        done = bool(record) and record.get("logfile") == logfile and record.get("restarted") and present == value
        keep, restart = {"original": original, "logfile": logfile, "restarted": bool(done)}, not done
    return {
        "text": text[: found.start(2)] + value + text[found.end(2) :],
        "edit": present != value,
        "restart": restart,
        "record": keep,
        "value": value,
    }


def read_record(path):
    """The record of an earlier run, None without one. Raises InsideError when it cannot be read."""
    try:
        with open(path) as handle:
            record = json.load(handle)
        return record if record.get("original") else None
    except (IOError, OSError):
        if os.path.exists(path):
            raise InsideError("Cannot read {0}. Look at this host.".format(path))
        return None
    except (ValueError, AttributeError):
        raise InsideError("Expected JSON in {0}. Set LOGFILE in {1} by hand, then remove it.".format(path, SCRIPT))


def write(path, text, like=None):
    """Replace a file durably; owner and mode of ``like``, 0600 without it."""
    directory = os.path.dirname(path)
    if not os.path.isdir(directory):
        os.makedirs(directory, 0o755)
    handle, temporary = tempfile.mkstemp(dir=directory, prefix=".circonus-inside-")
    with os.fdopen(handle, "w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    if like:
        status = os.stat(like)
        os.chown(temporary, status.st_uid, status.st_gid)
        os.chmod(temporary, status.st_mode & 0o7777)
    os.rename(temporary, path)


def pids(match, proc="/proc"):
    """Processes with ``match`` as the name of a program, class or jar in their arguments; never this one."""
    found = []
    for name in os.listdir(proc):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            with open(os.path.join(proc, name, "cmdline"), "rb") as handle:
                words = handle.read().decode("utf-8", "replace").split("\0")
        except (IOError, OSError):
            continue
        if is_jezebel(words, match):
            found.append(int(name))
    return sorted(found)


def is_jezebel(words, match):
    """Whether a command line is jezebel: one of its words ends with the name, with or without ``.jar``. Pure."""
    pattern = re.compile(r"(^|[/.]){0}(\.(jar|py|sh))?$".format(re.escape(match)), re.IGNORECASE)
    return any(pattern.search(word) for word in words)


def restart(match, timeout, finder=pids, kill=os.kill, clock=time.time, pause=time.sleep):
    """End jezebel and wait until noitd has started it again: whether there was one.

    Raises TimedOut when it does not go or does not come back.
    """
    old = finder(match)
    if not old:
        return False
    deadline = clock() + timeout
    for pid in old:
        try:
            kill(pid, signal.SIGTERM)
        except OSError:
            continue
    while True:
        now = finder(match)
        left = [pid for pid in old if pid in now]
        if not left and now:
            return True
        if clock() >= deadline:
            what = "did not end" if left else "was not started again"
            raise TimedOut(
                "jezebel {0} within {1:.0f} s. Restart noitd, which looks after it, then run this again.".format(
                    what, timeout
                )
            )
        pause(POLL)


def bring(
    logfile, script=SCRIPT, record_path=RECORD, match="jezebel", timeout=60.0, check_mode=False, restarter=restart
):
    """Turn the log on or off. Returns ``{"changed", "present", "logfile", "restarted", "actions"}``.

    The record is on disk before the script changes and goes when everything is as it was; a run that was interrupted is
    finished by the next one.
    """
    result = {"changed": False, "present": os.path.isfile(script), "logfile": OFF, "restarted": False, "actions": []}
    record = read_record(record_path)
    if not result["present"]:
        return result
    with open(script) as handle:
        todo = plan(handle.read(), record, logfile)
    result["logfile"] = todo["value"]
    if todo["edit"]:
        result["actions"].append("set LOGFILE={0}".format(todo["value"]))
    if todo["restart"]:
        result["actions"].append("restart jezebel")
    result["changed"] = bool(result["actions"])
    if check_mode or not result["changed"]:
        return result
    if todo["record"]:
        write(record_path, json.dumps(dict(todo["record"], restarted=False)))
    if todo["edit"]:
        write(script, todo["text"], like=script)
    if todo["restart"]:
        result["restarted"] = restarter(match, timeout)
    if todo["record"]:
        write(record_path, json.dumps(dict(todo["record"], restarted=True)))
    elif os.path.exists(record_path):
        os.unlink(record_path)
    return result
