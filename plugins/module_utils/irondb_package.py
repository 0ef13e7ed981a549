# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether the snowthd that runs on this host is older than the one that is installed. Reads only.

Hooper updates the package and leaves the restart to the operator. A package manager puts a new file in the place of the
old one, so the kernel calls the file of the running process deleted; and the installed file, written over or new, has
its status changed after the process was started. The time of its content does not tell: it is that of the build. Where
there is an RPM database it says when the package of the file was installed.

Evidence::

    {"processes": [{"pid", "started": epoch s, "exe": text of /proc/<pid>/exe or None}],
     "program": path, "changed": epoch s at which the installed file or a link to it was changed last, or None,
     "package": {"name", "installed": epoch s} or None,       # no database, or no package has the file
     "problem": why the database did not answer, or ""}

Sources: operation manual, "Running Hooper Updates" and "Performing cluster restarts"; proc(5); rpm(8).
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os
import re
import time

from ansible_collections.circonus.inside.plugins.module_utils import irondb_damage, programs, unit_state
from ansible_collections.circonus.inside.plugins.module_utils.errors import CommandFailed, TimedOut

PROGRAM = "/opt/circonus/sbin/snowthd"
DELETED = " (deleted)"
RPM_S = 20.0
#: Seconds to which the start of a process is known. What happened within them came after it.
JITTER_S = 0.1
_ROW = re.compile(r"^(\d+)\t(\S+)$", re.M)


def _stamp(epoch):
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(epoch))


def judge(evidence):
    """``(changed: True, False or None when it is not known, reason in words)``. Pure.

    One sign that it changed is enough; that it did not takes all of them.
    """
    processes, program, package = evidence["processes"], evidence["program"], evidence["package"]
    if not processes:
        return None, "no snowthd runs"
    started = min(item["started"] for item in processes)
    since = "snowthd runs since {0}".format(_stamp(started))
    for item in processes:
        if item["exe"] and item["exe"].endswith(DELETED):
            return True, "{0} from a file that was replaced ({1}, pid {2})".format(since, item["exe"], item["pid"])
    if evidence["changed"] is not None and evidence["changed"] > started - JITTER_S:
        return True, "{0}, {1} was changed at {2}".format(since, program, _stamp(evidence["changed"]))
    if package and package["installed"] > started - JITTER_S:
        return True, "{0}, {1} was installed at {2}".format(since, package["name"], _stamp(package["installed"]))
    unread = next((item["pid"] for item in processes if not item["exe"]), None)
    if unread is not None:
        return None, "/proc/{0}/exe cannot be read".format(unread)
    if evidence["changed"] is None:
        return None, "{0} cannot be read".format(program)
    if evidence["problem"]:
        return None, evidence["problem"]
    return False, "{0}, after {1} was installed".format(since, package["name"] if package else program)


def changed_at(path):
    """When the status of a file, or of a link in its place, was changed last; None when it cannot be read."""
    try:
        return max(os.lstat(path).st_ctime, os.stat(path).st_ctime)
    except OSError:
        return None


def executable(pid):
    """Text of ``/proc/<pid>/exe``, None when it cannot be read."""
    try:
        return os.readlink("/proc/{0}/exe".format(pid))
    except OSError:
        return None


def read_package(path, run=unit_state.run, find=programs.find_program):
    """``(package, problem)`` of the evidence: what the RPM database says of a file."""
    rpm = find("rpm")
    if not rpm:
        return None, ""
    argv = ["env", "LC_ALL=C", rpm, "-q", "--qf", "%{INSTALLTIME}\\t%{NAME}-%{VERSION}-%{RELEASE}\\n", "-f", path]
    try:
        code, out, err = run(argv, RPM_S)
    except (CommandFailed, TimedOut) as exc:
        return None, str(exc).rstrip(".")
    rows = _ROW.findall(out)
    if rows:
        installed, name = max((int(row[0]), row[1]) for row in rows)
        return {"name": name, "installed": float(installed)}, ""
    if "not owned by any package" in out + err:
        return None, ""
    said = " ".join((err or out).split())
    return None, "rpm does not tell of which package {0} is (exit code {1}: {2})".format(path, code, said or "no word")


def collect(units, program=PROGRAM):
    """``(changed, reason)`` of :func:`judge` for this host. units: names that the unit of the node may have."""
    processes = [item for item in irondb_damage.running() if item["kind"] == "daemon" and item["unit"] in units]
    package, problem = read_package(program)
    return judge({
        "processes": [{"pid": item["pid"], "started": item["started"], "exe": executable(item["pid"])}
                      for item in processes],
        "program": program, "changed": changed_at(program), "package": package, "problem": problem,
    })
