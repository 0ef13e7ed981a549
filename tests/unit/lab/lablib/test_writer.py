"""What counts as lost, and what counts as two primaries."""

import importlib.machinery
import importlib.util
import os
import sys
import types

import pytest
from lablib import paths, writer

MS = 1000000


class TestCompare:
    def test_all_there(self):
        result = writer.compare([1, 2, 3], [1, 2, 3])
        assert (result["lost"], result["holes"], result["consecutive"]) == (0, 0, True)

    def test_acknowledged_but_absent_is_lost(self):
        result = writer.compare([1, 2, 3, 4], [1, 2])
        assert (result["lost"], result["lost_seqs"], result["holes"]) == (2, [3, 4], 0)

    def test_a_hole_is_lost_and_a_hole(self):
        result = writer.compare([1, 2, 3], [1, 3])
        assert (result["lost"], result["holes"]) == (1, 1)

    def test_committed_without_an_answer_is_not_lost(self):
        result = writer.compare([1, 2], [1, 2, 3])
        assert (result["lost"], result["unacknowledged"]) == (0, 1)


@pytest.fixture(scope="module")
def program():
    """The client's program; its database driver is in the image, not here."""
    path = os.path.join(paths.LAB, "image", "rootfs", "usr", "local", "libexec", "circonus-lab", "lab-writer")
    for name in ("psycopg2", "psycopg2.errors", "psycopg2.extensions"):
        sys.modules.setdefault(name, types.ModuleType(name))
    loader = importlib.machinery.SourceFileLoader("lab_writer", path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("lab_writer", loader))
    bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = bytecode
    return module


def polls(*answers, start=0):
    """One poll every 50 ms, each taking 1 ms."""
    return [((start + 50 * n) * MS, (start + 50 * n + 1) * MS, answer) for n, answer in enumerate(answers)]


class TestTwoPrimaries:
    def test_a_switchover_is_none(self, program):
        east = polls("accepted", "accepted", "none", "none", "none")
        west = polls("standby", "standby", "standby", "accepted", "accepted")
        assert program.two_primaries({"east": east, "west": west}) == []

    def test_a_switchover_and_back_is_none(self, program):
        east = polls("accepted", "accepted", "none", "none", "none", "none", "accepted", "accepted")
        west = polls("standby", "standby", "none", "accepted", "accepted", "none", "none", "standby")
        assert program.two_primaries({"east": east, "west": west}) == []

    def test_one_accepted_write_of_a_returning_primary_is_seen(self, program):
        east = polls("accepted", "none", "none", "accepted", "none", "none", start=10)
        west = polls("standby", "accepted", "accepted", "accepted", "accepted", "accepted")
        found = program.two_primaries({"east": east, "west": west})
        assert [(m["primary"], m["also_accepted"], m["polls"]) for m in found] == [("west", "east", 1)]
