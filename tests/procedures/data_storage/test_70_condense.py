# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""data_storage_condense.yml on a running cluster with real ZFS below it (``lab up --zfs --edition 2019``).

Nothing is lost, the old data set is destroyed once and never without its proof, and every interruption is finished by
the same command. In a lab without ZFS one test remains: it refuses.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess

import pytest
from running_lab import Lab, torture, wait_until
from storage_lab import UNIT, Storage

D, NEW = "tank/snowth/data", "tank/snowth/data-new"
FRONT = "/opt/circonus/var/zfs-standin"
COPY = "/var/lib/circonus-inside/condense/copy.json"
RECORD = "/var/lib/circonus-inside/condense/record.json"
BALLAST = 24 * 1024 * 1024
QUICK = {
    "circonus_confirm": "data_storage", "data_storage_condense_limit": ["east"], "data_storage_condense_el7": True,
    "data_storage_condense_pause_s": 3, "data_storage_condense_spacing_s": 1, "data_storage_condense_settle_s": 240,
}
ONE = {"data_storage_condense_limit": ["east-store1"]}
#: What a run says at or right after each of its steps.
SAID = (
    "whose copy is proven",
    "Begin the condense",
    "Stop data_storage",
    "take the snapshot",
    "Copy tank/snowth/data@condense",
    "Unmount tank/snowth/data",
    "Rename tank/snowth/data-new",
    "Destroy the received snapshot",
    "writable and mount it",
    "Run Hooper",
    "Start data_storage",
    "Settle after",
)


class Condense(Storage):
    """The stores and what ZFS says of them."""

    def zfs(self, host, *words, check=True):
        return self.lab.on(host, "zfs", *words, check=check).stdout.strip()

    def data_sets(self, host):
        """Names of data sets and snapshots at the place of the data, in order."""
        names = self.zfs(host, "list", "-H", "-o", "name", "-t", "all", "-r", "tank/snowth").split()
        return sorted(name for name in names if name.startswith(D))

    def guid(self, host):
        return self.zfs(host, "get", "-Hp", "-o", "value", "guid", D)

    def guids(self):
        return {host: self.guid(host) for host in self.hosts}

    def destroyed(self, host):
        """How often the data set was destroyed, by the history of its pool."""
        lines = self.lab.on(host, "zpool", "history", "tank").stdout.splitlines()
        return len([line for line in lines if line.endswith("zfs destroy " + D)])

    def digest(self, host):
        """Of everything in the data set that the store does not write by itself."""
        return self.lab.on(host, "sh", "-c", "cd /snowth/data && find . -name ballast -exec sha256sum {} +").stdout

    def condense(self, *options, **more):
        return self.lab.play("data_storage_condense", *options, **dict(QUICK, **more))

    @contextlib.contextmanager
    def slow(self, host, name, rate):
        """zfs send, or the release of space, at so many bytes a second."""
        self.lab.on(host, "mkdir", "-p", FRONT)
        self.lab.on(host, "sh", "-c", "cat > %s/%s" % (FRONT, name), input=str(rate))
        try:
            yield
        finally:
            self.lab.on(host, "rm", "-f", "%s/%s" % (FRONT, name))

    def kill_when(self, condition, text, **more):
        """Start a run and kill it with everything it forked once a condition holds."""
        with open(self.lab.reports / "killed.log", "w") as stdout:
            process = self.lab.start("data_storage_condense", stdout=stdout, **dict(QUICK, **more))
            try:
                wait_until(lambda: process.poll() is not None or condition(), 240, text)
                assert process.poll() is None, (self.lab.reports / "killed.log").read_text()[-4000:]
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def done(self, host, before):
        """One data set, new, usable, with nothing beside it; the service enabled and running."""
        assert self.data_sets(host) == [D] and self.guid(host) != before
        assert self.zfs(host, "get", "-H", "-o", "value", "readonly", D) == "off"
        mounts = self.lab.on(host, "cat", "/proc/mounts").stdout
        assert "%s /snowth/data " % D in mounts
        for question in ("is-active", "is-enabled"):
            assert self.lab.on(host, "systemctl", question, UNIT, check=False).returncode == 0, question
        paths = "/snowth/data", "/snowth/data/" + self.ids[host]
        assert self.lab.on(host, "stat", "-c", "%U:%G", *paths).stdout.split() == ["nobody:nobody"] * 2


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """The running cluster, green."""
    found = Condense(Lab(tmp_path_factory.mktemp("reports")))
    found.settle()
    return found


def has_zfs(stores):
    return stores.lab.on("east-store1", "sh", "-c", "command -v zfs", check=False).returncode == 0


@pytest.fixture(scope="module")
def cluster(stores):
    """The cluster on ZFS, with something in each data set that takes a moment to copy."""
    if not has_zfs(stores):
        pytest.skip("this lab was brought up without --zfs")
    for host in stores.hosts:
        path = "/snowth/data/%s/ballast" % stores.ids[host]
        stores.lab.on(host, "sh", "-c", "head -c %d /dev/urandom > %s; chown nobody:nobody %s" % (BALLAST, path, path))
    return stores


def test_without_zfs_it_refuses(stores):
    if has_zfs(stores):
        pytest.skip("this lab was brought up with --zfs")
    before = stores.starts()
    run = stores.condense()
    assert run.rc != 0 and run.result == "refused" and "this host has no program zfs" in run.report["reason"], run
    assert stores.starts() == before


class TestCondense:
    def test_check_mode_shows_the_plan_and_touches_nothing(self, cluster):
        before = cluster.starts(), cluster.guids()
        run = cluster.condense("--check")
        assert run.rc == 0 and (cluster.starts(), cluster.guids()) == before, run
        assert cluster.data_sets("east-store1") == [D]
        plan = [line.strip() for line in run.output.splitlines() if "condense tank/snowth/data (" in line]
        assert [line.split(",")[0] for line in plan[:3]] == [
            "%d. Stop east-store%d" % (at, at) for at in (1, 2, 3)], run

    def test_every_measurement_survives_and_one_node_is_down_at_a_time(self, cluster):
        before, digests = cluster.guids(), {host: cluster.digest(host) for host in cluster.hosts}
        with cluster.traffic() as traffic:
            run = cluster.condense()
        assert run.rc == 0 and run.result == "ok", run
        for host in cluster.hosts:
            cluster.done(host, before[host])
            assert cluster.digest(host) == digests[host] != ""
        assert traffic["acknowledged"] > 200 and traffic["lost"] == [], traffic
        down = [look["down"] for look in traffic["seen"] if look["down"]]
        assert max(len(look) for look in down) == 1
        assert {address for look in down for address in look} == set(cluster.addresses.values())
        # A person sees how it goes.
        assert "whose copy is proven" in run.output and "Copy tank/snowth/data@condense to" in run.output


class TestInterrupted:
    @pytest.fixture(autouse=True)
    def green(self, cluster):
        cluster.settle()
        yield
        cluster.settle()

    def test_during_the_copy_the_next_run_watches_the_same_copy(self, cluster):
        host = "east-store1"
        before, digest = cluster.guid(host), cluster.digest(host)
        with cluster.slow(host, "send-rate", 300000):
            cluster.kill_when(lambda: NEW in cluster.data_sets(host), "the copy runs", **ONE)
            pid = cluster.lab.on(host, "grep", "-o", '"pid": [0-9]*', COPY).stdout
            assert cluster.guid(host) == before
            # Nobody else's run leaves the node where it is.
            run = cluster.condense(data_storage_condense_limit=["east-store2"])
            assert run.result == "refused" and "on its way on east-store1" in run.report["reason"], run
        run = cluster.condense(**ONE)
        assert run.rc == 0 and "Go on with tank/snowth/data on east-store1" in run.output, run
        assert cluster.lab.on(host, "grep", "-o", '"pid": [0-9]*', COPY).stdout == pid
        cluster.done(host, before)
        assert cluster.digest(host) == digest

    def test_during_the_release_nothing_is_destroyed_twice(self, cluster):
        host = "east-store2"
        before, digest = cluster.guid(host), cluster.digest(host)
        with cluster.slow(host, "free-rate", 500000):
            cluster.kill_when(lambda: cluster.data_sets(host)[:1] == [NEW], "the old one is destroyed",
                              data_storage_condense_limit=[host])
            new = cluster.zfs(host, "get", "-Hp", "-o", "value", "guid", NEW)
            assert cluster.data_sets(host) == [NEW, NEW + "@condense"]
        run = cluster.condense(data_storage_condense_limit=[host])
        assert run.rc == 0 and run.result == "ok", run
        cluster.done(host, before)
        # The very copy took the name.
        assert cluster.guid(host) == new and cluster.digest(host) == digest

    def test_a_boot_in_the_middle_of_the_copy(self, cluster):
        host = "east-store3"
        before, digest = cluster.guid(host), cluster.digest(host)
        with cluster.slow(host, "send-rate", 300000):
            cluster.kill_when(lambda: NEW in cluster.data_sets(host), "the copy runs",
                              data_storage_condense_limit=[host])
            cluster.lab.cli("host", "kill", host)
            cluster.lab.cli("host", "start", host)
            wait_until(lambda: cluster.zfs(host, "list", "-H", "-o", "name", D, check=False) == D, 60, "the pool")
            wait_until(lambda: cluster.lab.on(host, "systemctl", "is-system-running", check=False).stdout.strip()
                       in ("running", "degraded"), 60, "the host takes a login")
        assert cluster.lab.on(host, "systemctl", "is-active", UNIT, check=False).returncode != 0
        run = cluster.condense(data_storage_condense_limit=[host])
        assert run.rc == 0, run
        cluster.done(host, before)
        assert cluster.digest(host) == digest

    @pytest.mark.parametrize("said", torture(*SAID))
    def test_a_killed_controller_then_the_same_command(self, cluster, said):
        host, log = "east-store1", cluster.lab.reports / "killed.log"
        before, digest, destroyed = cluster.guid(host), cluster.digest(host), cluster.destroyed(host)
        log.unlink(missing_ok=True)
        cluster.kill_when(lambda: log.exists() and said in log.read_text().partition("Take the lock")[2], said, **ONE)
        run = cluster.condense(**ONE)
        # The step that runs when the controller dies is carried out to its end, and it may have been the last one.
        assert run.rc == 0 and run.result in ("ok", "nothing_to_do"), run
        cluster.done(host, before)
        assert cluster.digest(host) == digest and cluster.destroyed(host) == destroyed + 1
        assert json.loads(cluster.lab.on(host, "cat", RECORD).stdout)["finished"]

    def test_given_up_the_store_is_as_before(self, cluster):
        host = "east-store1"
        before = cluster.guid(host)
        with cluster.slow(host, "send-rate", 300000):
            cluster.kill_when(lambda: NEW in cluster.data_sets(host), "the copy runs", **ONE)
            run = cluster.condense(data_storage_condense_abort=True)
        assert run.rc == 0 and run.result == "ok", run
        assert cluster.data_sets(host) == [D] and cluster.guid(host) == before
        assert cluster.lab.on(host, "systemctl", "is-enabled", UNIT).stdout.strip() == "enabled"


class TestGates:
    """Each refuses before anything is touched, with one sentence that names the host."""

    @pytest.fixture(autouse=True)
    def untouched(self, cluster):
        cluster.settle()
        hosts = cluster.hosts[:2]
        before = cluster.starts(hosts), cluster.guids()
        yield
        assert (cluster.starts(hosts), cluster.guids()) == before

    @staticmethod
    def refused(run, *words):
        assert run.rc != 0 and run.result == "refused", run
        for word in words:
            assert word in run.report["reason"], run.report["reason"]

    def test_a_foreign_snapshot(self, cluster):
        cluster.zfs("east-store2", "snapshot", D + "@backup")
        try:
            self.refused(cluster.condense(), "east-store2: tank/snowth/data has the snapshot backup")
        finally:
            self.destroy(cluster, D + "@backup")

    def test_a_copy_that_somebody_else_made(self, cluster):
        cluster.zfs("east-store2", "create", NEW)
        try:
            self.refused(cluster.condense(), "east-store2", "no unfinished run of this procedure made it")
        finally:
            self.destroy(cluster, NEW)

    def test_a_child(self, cluster):
        cluster.zfs("east-store2", "create", D + "/child")
        try:
            self.refused(cluster.condense(), "east-store2", "the data set tank/snowth/data/child below it")
        finally:
            self.destroy(cluster, D + "/child")

    @staticmethod
    def destroy(cluster, name):
        def gone():
            cluster.zfs("east-store2", "unmount", name, check=False)
            cluster.zfs("east-store2", "destroy", name, check=False)
            return name not in cluster.data_sets("east-store2")

        wait_until(gone, 60, "%s is gone" % name)

    def test_a_pool_that_is_too_full(self, cluster):
        run = cluster.condense(data_storage_condense_capacity_percent=0)
        self.refused(run, "east-store1: The pool tank is used to", "at most 0 %")

    def test_a_peer_that_is_down(self, cluster):
        cluster.lab.on("east-store3", "systemctl", "stop", UNIT)
        try:
            self.refused(cluster.condense(**ONE), "east-store3 is down")
        finally:
            cluster.lab.on("east-store3", "systemctl", "start", UNIT)
        cluster.settle()

    @pytest.mark.parametrize("more, word", [
        ({"circonus_confirm": "east"}, "found east. Nothing was changed."),
        ({"data_storage_condense_el7": False}, "-e data_storage_condense_el7=true")])
    def test_what_has_to_be_typed(self, cluster, more, word):
        self.refused(cluster.condense(**more), word)


def test_the_program_of_the_lab_is_real_zfs(cluster):
    """Otherwise all of the above would prove nothing."""
    said = cluster.lab.on("east-store1", "sh", "-c", "cat /proc/$(pgrep -x zfs-fuse)/comm; zpool get version tank")
    assert isinstance(said, subprocess.CompletedProcess) and said.stdout.split()[0] == "zfs-fuse"
