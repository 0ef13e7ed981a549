# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""ZFS of a host: the programs ``zfs`` and ``zpool``, and what they print, in old and current versions.

The dialects differ in what they know: an old version (zfs-fuse 0.7, the first OmniOS) has no property ``written``, no
pool property ``freeing`` (its ``destroy`` gives the space back before it ends) and no ``send -n``. Of the rest only
forms are used that all versions have.

Sources: zfs(8) and zpool(8) of OpenZFS and illumos; what zfs-fuse 0.7.0 was seen to print.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import re
import time

from ansible_collections.circonus.inside.plugins.module_utils import unit_state
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput, CommandFailed, InsideError
from ansible_collections.circonus.inside.plugins.module_utils.programs import find_program

UNITS = "BKMGTPEZ"
#: Asked of every data set. ``guid`` is hidden in old versions and answered all the same.
PROPERTIES = ("type", "creation", "guid", "used", "referenced", "mounted", "mountpoint", "readonly")
#: Seconds that one command may take; an old version frees the space of a data set before ``destroy`` ends.
COMMAND_S = 3600.0
#: Seconds for which a data set that was just used may be busy.
BUSY_S = 60.0


class Absent(InsideError):
    """This host has no ZFS."""


# -- reading what they print. Pure. ----------------------------------------------------------------------------------


def size(text):
    """Bytes of a size as ZFS prints it: ``8.12M``, ``512``, ``1.50T``, ``0`` or ``-`` for nothing. Raises BadInput."""
    text = text.strip()
    if text in ("-", "none"):
        return 0
    found = re.match(r"^(\d+(?:\.\d+)?)([{0}]?)B?$".format(UNITS), text)
    if not found:
        raise BadInput("Expected a size of ZFS such as 8.12M, found {0!r}.".format(text))
    if found.group(2) in ("", "B"):
        return int(float(found.group(1)))
    return int(float(found.group(1)) * 1024 ** UNITS.index(found.group(2)))


def human(number):
    """``900.0 GiB``."""
    value, unit = float(number), 0
    while value >= 1024 and unit < 5:
        value, unit = value / 1024, unit + 1
    return "%d B" % number if unit == 0 else "%.1f %siB" % (value, UNITS[unit])


def parse_properties(text):
    """``{data set or snapshot: {property: (value, source)}}`` of ``zfs get -H -p -o name,property,value,source``."""
    found = {}
    for line in text.splitlines():
        words = [word.strip() for word in line.split("\t")]
        if len(words) == 4:
            found.setdefault(words[0], {})[words[1]] = (words[2], words[3])
    return found


def parse_pool(text):
    """``{"pool", "capacity": percent, "health"}`` of ``zpool list -H -o name,capacity,health``. Raises BadInput."""
    words = text.split()
    if len(words) != 3 or not words[1].rstrip("%").isdigit():
        raise BadInput("Expected name, capacity and health of a pool, found {0!r}.".format(text.strip()))
    return {"pool": words[0], "capacity": int(words[1].rstrip("%")), "health": words[2]}


def parse_freeing(text):
    """Bytes that a pool still has to release, of the table of ``zpool get freeing``. Raises BadInput."""
    rows = [line.split() for line in text.splitlines()]
    values = [row[2] for row in rows if len(row) >= 3 and row[1] == "freeing"]
    if len(values) != 1:
        raise BadInput("Expected one row about freeing, found {0!r}.".format(text.strip()))
    return size(values[0])


def parse_estimate(text):
    """Bytes of ``zfs send -nv`` in the words of any version (they differ before the word total). Raises BadInput."""
    for pattern in (r"(?m)^size\s+(\S+)\s*$", r"total estimated size is (\S+)", r"estimated size is (\S+)"):
        found = re.search(pattern, text)
        if found:
            return size(found.group(1))
    raise BadInput("Expected an estimated size, found {0!r}.".format(text.strip()[:200]))


def describe(properties, name):
    """One data set out of :func:`parse_properties`, None when it is not among them. Raises BadInput.

    ``{"name", "creation": epoch s, "guid", "used", "referenced": bytes, "mounted", "read_only": bool, "mountpoint",
    "children": [names], "snapshots": {short name: {"creation", "guid", "used", "referenced"}}}``. A source
    ``temporary`` means that the mount is not as the property says; zfs-fuse says so of what was set read-only.
    """
    if name not in properties:
        return None
    own = properties[name]
    try:
        if own["type"][0] != "filesystem":
            raise BadInput("Expected {0} to be a file system, found a {1}.".format(name, own["type"][0]))
        snapshots = dict(
            (full.split("@", 1)[1], _numbers(values)) for full, values in properties.items()
            if full.startswith(name + "@"))
        children = sorted(full for full in properties if full.startswith(name + "/") and "@" not in full)
        return dict(_numbers(own), name=name, mounted=own["mounted"][0] == "yes", mountpoint=own["mountpoint"][0],
                    read_only=own["readonly"][0] == "on" or own["readonly"][1] == "temporary", snapshots=snapshots,
                    children=children)
    except (KeyError, ValueError) as exc:
        raise BadInput("Expected the properties of {0}, found {1!r} wrong or missing.".format(name, exc.args[0]))


def _numbers(values):
    found = dict((key, int(values[key][0])) for key in ("creation", "used", "referenced"))
    return dict(found, guid=values["guid"][0])


# -- the programs ----------------------------------------------------------------------------------------------------


class Zfs(object):
    """zfs and zpool of this host. run: as ``unit_state.run``. Raises Absent where there are none."""

    def __init__(self, run=unit_state.run, find=find_program, clock=time.monotonic, sleep=time.sleep):
        self._run, self._clock, self._sleep = run, clock, sleep
        self.programs = {}
        for name in ("zfs", "zpool"):
            self.programs[name] = find(name)
            if not self.programs[name]:
                raise Absent("Expected ZFS, this host has no program {0}.".format(name))

    def ask(self, name, *arguments):
        """(exit code, output, complaints) of a program."""
        return self._run([self.programs[name]] + list(arguments), COMMAND_S)

    def do(self, name, *arguments):
        """Output of a program that has to succeed. Raises CommandFailed."""
        rc, out, err = self.ask(name, *arguments)
        if rc != 0:
            said = " ".join((err or out).split()) or "nothing"
            raise CommandFailed("{0} {1} ended with exit code {2} and said: {3}".format(
                name, " ".join(arguments), rc, said[:500]))
        return out

    def patiently(self, *arguments):
        """``zfs`` with a command that may find its data set busy for a moment after another one."""
        until = self._clock() + BUSY_S
        while True:
            try:
                return self.do("zfs", *arguments)
            except CommandFailed as exc:
                if "busy" not in str(exc) or self._clock() >= until:
                    raise
            self._sleep(1.0)

    def at(self, path):
        """Name of the data set that holds a path, None when ZFS knows none."""
        rc, out, _err = self.ask("zfs", "list", "-H", "-o", "name", path)
        names = out.split()
        return names[0] if rc == 0 and len(names) == 1 else None

    def data_set(self, name):
        """:func:`describe` of a data set, None when it does not exist. Raises CommandFailed, BadInput."""
        rc, out, err = self.ask("zfs", "get", "-r", "-H", "-p", "-o", "name,property,value,source",
                                ",".join(PROPERTIES), name)
        if rc != 0:
            if "does not exist" in err:
                return None
            raise CommandFailed("zfs get of {0} ended with exit code {1} and said: {2}".format(
                name, rc, " ".join(err.split())[:500] or "nothing"))
        return describe(parse_properties(out), name)

    def pool(self, name):
        """:func:`parse_pool` of the pool of a data set."""
        return parse_pool(self.do("zpool", "list", "-H", "-o", "name,capacity,health", name.split("/")[0]))

    def freeing(self, name):
        """Bytes that the pool of a data set still has to release; 0 where the version releases them at once."""
        rc, out, err = self.ask("zpool", "get", "freeing", name.split("/")[0])
        if rc != 0:
            if "invalid property" in err:
                return 0
            raise CommandFailed("zpool get freeing ended with exit code {0} and said: {1}".format(
                rc, " ".join(err.split())[:500] or "nothing"))
        return parse_freeing(out)

    def estimate(self, snapshot):
        """Bytes of a stream of a snapshot by ``send -nv``; None where the version has no estimate."""
        rc, out, err = self.ask("zfs", "send", "-nv", snapshot)
        if rc != 0:
            if "invalid option" in err or "usage:" in err:
                return None
            raise CommandFailed("zfs send -nv {0} ended with exit code {1} and said: {2}".format(
                snapshot, rc, " ".join(err.split())[:500] or "nothing"))
        return parse_estimate(out + "\n" + err)  # Old ones tell on standard error.
