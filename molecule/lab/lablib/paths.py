"""Where the lab reads and writes. Everything it writes is below .cache/ of this checkout."""

import contextlib
import fcntl
import json
import os
import re

from . import LabError

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__)))))
LAB = os.path.join(ROOT, "molecule", "lab")
CACHE = os.path.join(ROOT, ".cache", "lab")
DEFAULT_PROJECT = "circonus"


class Project:
    """The directory and the state file of one lab, named by LAB_PROJECT."""

    def __init__(self, name=None):
        self.name = name or os.environ.get("LAB_PROJECT") or DEFAULT_PROJECT
        if not re.match(r"^[a-z][a-z0-9]{0,31}$", self.name):
            raise LabError(
                "LAB_PROJECT %r: expected a lower case letter and up to 31 letters or digits; choose such a name"
                % self.name
            )
        self.directory = os.path.join(CACHE, self.name)

    def path(self, *parts):
        return os.path.join(self.directory, *parts)

    @property
    def inventory(self):
        """The working copy of the inventory; procedures change the site.json files in it."""
        return self.path("inventory")

    def container(self, host):
        return "%s-%s" % (self.name, host)

    def network(self, name):
        return "%s-net-%s" % (self.name, name)

    def load(self):
        """Return the state written by the last `up`, or {}."""
        try:
            with open(self.path("state.json"), encoding="utf-8") as stream:
                return json.load(stream)
        except FileNotFoundError:
            return {}
        except ValueError:
            return {}

    def save(self, state):
        write(self.path("state.json"), json.dumps(state, indent=2, sort_keys=True) + "\n")

    @contextlib.contextmanager
    def lock(self):
        """One command at a time changes a lab."""
        with locked(os.path.join(CACHE, "%s.lock" % self.name), "lab %s" % self.name):
            yield


@contextlib.contextmanager
def locked(path, what):
    """Hold an exclusive lock on a file; say so once when somebody else has it."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "a", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            print("another command is at work on %s; waiting for it" % what, flush=True)
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def write(path, text, mode=0o644, in_place=False):
    """Write a file at once (rename), or in place where a container has it mounted."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    target = path if in_place else "%s.%d.new" % (path, os.getpid())
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    os.chmod(target, mode)
    if not in_place:
        os.replace(target, path)
