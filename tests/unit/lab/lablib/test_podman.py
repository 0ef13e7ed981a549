"""The containers.conf is written only where plain podman cannot work."""

import resource

from lablib import podman


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
