# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A pool in memory for tests, with the methods of ``zfs.Zfs``. Kernel ZFS cannot be had in a unit test.

Each command is whole or not at all, as with ZFS, and the test may be killed before or after any of them.
"""
from __future__ import absolute_import, division, print_function

__metaclass__ = type

from ansible_collections.circonus.inside.plugins.module_utils.errors import CommandFailed

D = "tank/snowth/data"
SIZE = 5000000000


class Killed(BaseException):
    """The process that condenses is gone."""


class Pool(object):
    """sets: {name: {"creation", "guid", "content", "size", "mounted", "mountpoint", "read_only", "snapshots"}}."""

    def __init__(self, old=False):
        self.old, self.clock, self.guid = old, 1000000, 0
        self.capacity, self.health, self.released = 20, "ONLINE", 0
        self.sets, self.commands, self.destroyed, self.kill_at, self.busy = {}, [], [], None, set()
        self.programs = {"zfs": "/sbin/zfs", "zpool": "/sbin/zpool"}
        self.sets["tank/snowth"] = self.fresh("/snowth", "base")
        self.sets[D] = self.fresh("/snowth/data", "numbers")

    def fresh(self, mountpoint, content, size=SIZE, mounted=True, read_only=False):
        self.clock += 10
        self.guid += 1
        return {"creation": self.clock, "guid": str(self.guid), "content": content, "size": size, "mounted": mounted,
                "mountpoint": mountpoint, "read_only": read_only, "snapshots": {}}

    # -- what is asked ----------------------------------------------------------------------------------------------
    def at(self, path):
        found = [name for name, one in self.sets.items() if one["mounted"] and (path + "/").startswith(
            one["mountpoint"] + "/")]
        return max(found, key=len) if found else None

    def data_set(self, name):
        one = self.sets.get(name)
        if one is None:
            return None
        snapshots = {}
        for short, shot in one["snapshots"].items():
            same = shot["content"] == one["content"]
            snapshots[short] = {"creation": shot["creation"], "guid": shot["guid"], "used": 0 if same else 4096,
                                "referenced": shot["size"]}
        return {"name": name, "creation": one["creation"], "guid": one["guid"], "used": one["size"],
                "referenced": one["size"], "mounted": one["mounted"], "read_only": one["read_only"],
                "mountpoint": one["mountpoint"], "snapshots": snapshots,
                "children": sorted(other for other in self.sets if other.startswith(name + "/"))}

    def pool(self, name):
        return {"pool": "tank", "capacity": self.capacity, "health": self.health}

    def freeing(self, name):
        left, self.released = self.released, max(0, self.released - SIZE // 2)
        return 0 if self.old else left

    def estimate(self, snapshot):
        return None if self.old else SIZE

    # -- what is done -----------------------------------------------------------------------------------------------
    def patiently(self, *words):
        return self.do("zfs", *words)

    def do(self, program, *words):
        number = len(self.commands)
        self.commands.append(" ".join(words))
        if self.kill_at == (number, "before"):
            raise Killed(words)
        if words[0] in self.busy:
            raise CommandFailed("zfs {0} ended with exit code 1 and said: it is busy".format(" ".join(words)))
        getattr(self, words[0])(*words[1:])
        if self.kill_at == (number, "after"):
            raise Killed(words)
        return ""

    def fail(self, text):
        raise CommandFailed("zfs ended with exit code 1 and said: " + text)

    def snapshot(self, full):
        name, short = full.split("@")
        if short in self.sets[name]["snapshots"]:
            self.fail("dataset already exists")
        self.clock += 10
        self.guid += 1
        one = self.sets[name]
        one["snapshots"][short] = {"creation": self.clock, "guid": str(self.guid), "content": one["content"],
                                   "size": one["size"]}

    def destroy(self, *words):
        name, _at, short = words[-1].partition("@")
        if name not in self.sets or (short and short not in self.sets[name]["snapshots"]):
            self.fail("cannot open '{0}': dataset does not exist".format(words[-1]))
        one = self.sets[name]
        if short:
            self.destroyed.append(one["snapshots"].pop(short)["guid"])
            return
        children = [other for other in self.sets if other.startswith(name + "/")]
        if (one["snapshots"] or children) and "-r" not in words:
            self.fail("filesystem has children")
        for other in children + [name]:
            self.destroyed.append(self.sets.pop(other)["guid"])
        self.released = one["size"]

    def receive(self, full, new):
        """The whole of send | receive."""
        if new in self.sets:
            self.fail("destination '{0}' exists".format(new))
        name, short = full.split("@")
        one, shot = self.sets[name], self.sets[name]["snapshots"][short]
        self.sets[new] = self.fresh(one["mountpoint"] + "-new", shot["content"], shot["size"], False, one["read_only"])
        self.sets[new]["snapshots"][short] = dict(shot)

    def rename(self, name, new):
        if new in self.sets:
            self.fail("dataset already exists")
        self.sets[new] = self.sets.pop(name)
        self.sets[new].update(mountpoint="/snowth/data", mounted=False)

    def unmount(self, name):
        self.sets[name]["mounted"] = False

    def mount(self, name):
        self.sets[name]["mounted"] = True

    def set(self, value, name):
        assert value == "readonly=on"
        self.sets[name]["read_only"] = True

    def inherit(self, prop, name):
        assert prop == "readonly"
        self.sets[name]["read_only"] = False

    def write(self, name, content):
        """Somebody writes."""
        self.sets[name]["content"] = content
