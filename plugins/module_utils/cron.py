# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Jobs that cron runs on a host, and the documented ones among them.

Source: operation manual, "hub, Cron jobs"; crontab(5).
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import glob
import os
import re

from ansible_collections.circonus.inside.plugins.module_utils import service
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError

# With an account in every line.
SYSTEM = ("/etc/crontab", "/etc/cron.d/*")
# One file per account, named after it: EL and Debian.
SPOOLS = ("/var/spool/cron/*", "/var/spool/cron/crontabs/*")
_ASSIGNMENT = re.compile(r"^\s*[A-Za-z_][A-Za-z0-9_]*\s*=")
# cron itself ignores files with other characters in their names (editors leave some behind).
_NAME = re.compile(r"^[A-Za-z0-9_-]+$")


def parse(text, path, user=None):
    """Jobs of one crontab: ``[{"file", "schedule", "user", "command"}]``. Pure.

    user: account of a personal crontab; None for a system one, which has the account in every line.
    """
    jobs = []
    for line in text.splitlines():
        line = line.strip()
        if not line or line.startswith("#") or _ASSIGNMENT.match(line):
            continue
        count = 1 if line.startswith("@") else 5
        fields = line.split(None, count + (0 if user else 1))
        if len(fields) < count + (1 if user else 2):
            continue
        jobs.append(
            {
                "file": path,
                "schedule": " ".join(fields[:count]),
                "user": user or fields[count],
                "command": fields[-1],
            }
        )
    return jobs


def read(system=SYSTEM, spools=SPOOLS):
    """Jobs of all crontabs of this host, in the order of the files; one that cannot be read is left out."""
    jobs = []
    for patterns, personal in ((system, False), (spools, True)):
        for pattern in patterns:
            for path in sorted(glob.glob(pattern)):
                name = os.path.basename(path)
                if not os.path.isfile(path) or not (personal or _NAME.match(name)):
                    continue
                try:
                    with open(path, encoding="utf-8", errors="replace") as handle:
                        jobs += parse(handle.read(), path, name if personal else None)
                except (IOError, OSError):
                    continue
    return jobs


def runs(job, script):
    """Whether a job runs a script: it is one of the words of the command. Pure."""
    return script in re.split(r"[\s;&|()'\"]+", job["command"])


def compare(entry, jobs, release=None, host=None):
    """The documented jobs of a component against what cron has. Pure.

    entry: catalogue entry with ``cron``. jobs: of :func:`read`. Returns ``{"jobs": [{"id", "script", "present", "user",
    "schedule", "file", "problem"}], "missing": [ids], "gone": [ids that the release does not have], "findings":
    [sentences]}``. A job without a script in the catalogue cannot be recognised and is left out.
    """
    kept = service.effective(entry, release, host)
    wanted = [] if kept["gone"] else [item for item in kept.get("cron") or [] if item.get("script")]
    all_ids = [item["id"] for item in entry.get("cron") or [] if item.get("script")]
    found = []
    for item in wanted:
        match = next((job for job in jobs if runs(job, item["script"])), None)
        problem = ""
        if match is None:
            problem = "{0} is not in any crontab of this host. Run Hooper.".format(item["script"])
        elif item.get("user") and match["user"] != item["user"]:
            problem = "{0} runs as {1}, expected {2}. Correct {3}.".format(
                item["script"], match["user"], item["user"], match["file"]
            )
        elif item.get("schedule") and match["schedule"].split() != item["schedule"].split():
            problem = "{0} runs at {1}, expected {2}. Correct {3}.".format(
                item["script"], match["schedule"], item["schedule"], match["file"]
            )
        found.append(
            {
                "id": item["id"],
                "script": item["script"],
                "present": match is not None,
                "user": match["user"] if match else None,
                "schedule": match["schedule"] if match else None,
                "file": match["file"] if match else None,
                "problem": problem,
            }
        )
    return {
        "jobs": found,
        "missing": [job["id"] for job in found if not job["present"]],
        "gone": [identity for identity in all_ids if identity not in [job["id"] for job in found]],
        "findings": [job["problem"] for job in found if job["problem"]],
    }


def check(result, expect):
    """Raise InsideError when ``expect`` is ``present`` and something is not as documented. Pure."""
    if expect == "present" and result["findings"]:
        raise InsideError(" ".join(result["findings"]), **result)
