"""The lab named by LAB_PROJECT, as its own command line shows it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import beside
import pytest
from testinfra.backend.podman import PodmanBackend
from testinfra.host import Host

ROOT = Path(__file__).resolve().parents[2]


class Beside(PodmanBackend):
    """testinfra's backend for podman, quicker."""

    def run(self, command: str, *args: str, **unused):
        """Run a shell command in the container."""
        text = self.get_command(command, *args)
        done = beside.run(self.name, ["/bin/sh", "-c", text], stdin=subprocess.DEVNULL, text=False)
        return self.result(done.returncode, self.encode(text), done.stdout, done.stderr)


class Lab:
    """A running lab."""

    def __init__(self):
        for line in self("env").splitlines():
            name, value = line.removeprefix("export ").split("=", 1)
            os.environ.setdefault(name, value.strip("'"))
        self.status = json.loads(self("status", "--json"))
        self.hosts = {entry["name"]: entry for entry in self.status["hosts"]}
        self.seen: dict[str, Host] = {}

    def __call__(self, *argv: str) -> str:
        """Output of a lab command, which must succeed."""
        done = subprocess.run(
            [sys.executable, str(ROOT / "molecule/lab/lab"), *argv], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, "lab %s: %s%s" % (" ".join(argv), done.stdout, done.stderr)
        return done.stdout

    def host(self, name: str):
        """A host to look at, beside ssh."""
        if name not in self.seen:
            self.seen[name] = Host(Beside(self.hosts[name]["container"]))
        return self.seen[name]

    def of(self, role: str) -> list[str]:
        return [name for name, entry in self.hosts.items() if role in entry.get("roles", [])]


def eventually(condition, seconds: float, what: str):
    """Wait for a condition, with a deadline of four times ``seconds``: the machine may be busy."""
    deadline = time.monotonic() + 4 * seconds
    while not condition():
        assert time.monotonic() < deadline, "not within %s s: %s" % (seconds, what)
        time.sleep(0.1)


@pytest.fixture(scope="session")
def lab():
    return Lab()
