# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What there is to see of a component on one host when something went wrong: units, logs, sizes. Reads only."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import glob
import os
import time

from ansible_collections.circonus.inside.plugins.module_utils import service, unit_state
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError


def log_paths(entry):
    """Log files that an entry names, those of its units first, each once. Pure."""
    paths = []
    for item in list(entry.get("units") or []) + [entry]:
        paths += [path for path in item.get("logs") or [] if path not in paths]
    return paths


def newest(listed, limit):
    """The ``limit`` files that were written last. Pure. listed: [(mtime, path)]."""
    return [path for unused, path in sorted(listed, reverse=True)[:limit]]


def file_facts(path, now, lines):
    """``{"path", "size", "mtime", "age_s", "lines", "error"}`` of one log; size None when it cannot be read."""
    facts = {"path": path, "size": None, "mtime": None, "age_s": None, "lines": [], "error": ""}
    try:
        status = os.stat(path)
        facts.update(size=status.st_size, mtime=round(status.st_mtime, 3), age_s=round(now - status.st_mtime, 3))
        with open(path, "rb"):
            facts["lines"] = unit_state.tail(path, lines)
    except (IOError, OSError) as exc:
        facts["error"] = exc.strerror or str(exc)
    return facts


def listing(patterns):
    """``[(mtime, path)]`` of the files in directories; a pattern may name several."""
    found = []
    for pattern in patterns:
        for directory in sorted(glob.glob(pattern)):
            for name in sorted(os.listdir(directory)) if os.path.isdir(directory) else []:
                path = os.path.join(directory, name)
                try:
                    if os.path.isfile(path):
                        found.append((os.stat(path).st_mtime, path))
                except OSError:
                    continue
    return found


def space(paths):
    """``[{"path", "free_bytes", "total_bytes", "error"}]``."""
    result = []
    for path in paths:
        try:
            found = os.statvfs(path)
            free, total, error = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize, ""
        except OSError as exc:
            free, total, error = None, None, exc.strerror or str(exc)
        result.append({"path": path, "free_bytes": free, "total_bytes": total, "error": error})
    return result


def collect(
    entry, release=None, host=None, lines=20, files=5, runner=unit_state.run, ports_reader=None, clock=time.time
):
    """Evidence of a component; nothing is changed and nothing missing is a failure.

    lines: of each log. files: how many of each component's log directories, the newest. Returns ``{"service", "state",
    "msg", "units": [...], "absent", "logs": [file_facts], "journal": {unit: [lines]}, "space": [...]}``.
    """
    seen = service.operate(
        entry,
        "check",
        expect="any",
        runner=runner,
        ports_reader=ports_reader or unit_state.listening_ports,
        release=release,
        host=host,
    )
    entry = service.effective(entry, release, host)
    result = {
        "service": seen["service"],
        "state": seen["state"],
        "msg": seen["msg"],
        "units": seen["units"],
        "absent": seen["absent"],
        "logs": [],
        "journal": {},
        "space": [],
    }
    if entry["gone"]:
        return result
    paths = log_paths(entry)
    paths += [path for path in newest(listing(entry.get("log_directories") or []), files) if path not in paths]
    now = clock()
    result["logs"] = [file_facts(path, now, lines) for path in paths]
    for unit in seen["units"]:
        argv = ["journalctl", "-u", unit["unit"], "-n", str(lines), "--no-pager", "-o", "short-iso"]
        try:
            result["journal"][unit["unit"]] = runner(argv, 5.0)[1].splitlines()
        except InsideError as exc:
            result["journal"][unit["unit"]] = [str(exc)]
    result["space"] = space(entry.get("space") or [])
    return result
