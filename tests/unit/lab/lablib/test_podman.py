"""The containers.conf is written only where plain podman cannot work; what podman gives up on is asked for again."""

import resource
import subprocess

import pytest

from lablib import LabError, podman


class TestNeededSettings:
    def machine(self, monkeypatch, uid=0, capabilities=-1, hybrid=False):
        monkeypatch.setattr(podman.os, "geteuid", lambda: uid)
        monkeypatch.setattr(podman, "_effective_capabilities", lambda: capabilities)
        monkeypatch.setattr(podman.os.path, "exists", lambda path: hybrid)
        monkeypatch.setattr(podman.shutil, "which", lambda name: "/usr/bin/" + name)
        monkeypatch.setattr(podman.resource, "getrlimit", lambda limit: (1, 5000))

    def test_nothing_on_an_ordinary_machine(self, monkeypatch):
        self.machine(monkeypatch)
        assert podman.needed_settings() == ""

    def test_nothing_without_root(self, monkeypatch):
        self.machine(monkeypatch, uid=1000, capabilities=0, hybrid=True)
        assert podman.needed_settings() == ""

    def test_limits_without_the_capability_to_raise_them(self, monkeypatch):
        self.machine(monkeypatch, capabilities=0)
        assert 'default_ulimits = ["nofile=5000:5000", "nproc=5000:5000"]' in podman.needed_settings()
        assert "runc" not in podman.needed_settings()

    def test_unlimited_becomes_a_number_the_kernel_knows(self, monkeypatch):
        self.machine(monkeypatch, capabilities=0)
        monkeypatch.setattr(podman.resource, "getrlimit", lambda limit: (1, resource.RLIM_INFINITY))
        assert "nofile=1048576:1048576" in podman.needed_settings()

    def test_runc_on_hybrid_cgroups(self, monkeypatch):
        self.machine(monkeypatch, hybrid=True)
        assert 'runtime = "runc"' in podman.needed_settings()
        assert "default_ulimits" not in podman.needed_settings()


class TestRemove:
    def failing(self, monkeypatch, times):
        asked = []

        def answer(command, **options):
            asked.append(command)
            code = 125 if len(asked) <= times else 0
            return subprocess.CompletedProcess(command, code, "", "given PIDs did not die within timeout")

        monkeypatch.setattr(podman.subprocess, "run", answer)
        return asked

    def test_asks_again(self, monkeypatch):
        asked = self.failing(monkeypatch, 2)
        podman.remove("x", pause=0)
        assert asked == [["podman", "rm", "-f", "-t", "0", "-v", "x"]] * 3

    def test_says_at_last_what_podman_said(self, monkeypatch):
        asked = self.failing(monkeypatch, 9)
        with pytest.raises(LabError, match="did not die"):
            podman.remove("x", pause=0)
        assert len(asked) == 4
