# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""data_storage_repair.yml on a running cluster: what is damaged is found and opens again, nothing that a copy had is
lost, and nothing else is touched."""

from __future__ import annotations

import contextlib
import json

import pytest
from running_lab import LONG, Lab, torture, wait_until
from storage_lab import UNIT, Storage

HOST = "east-store2"
OTHERS = ("east-store1", "east-store3")
CHECK = "c0000000-0000-4000-8000-000000000030"
BASE = 1700000000
#: Fast enough for a test.
QUICK = {"data_storage_repair_limit": ["east"], "data_storage_repair_pause_s": 3, "data_storage_repair_spacing_s": 1,
         "data_storage_repair_settle_s": 180}
SIZES = "find /snowth -path '*/logs' -prune -o -path '*/redo' -prune -o -type f -printf '%p %s %T@\\n' | sort"
DEAD = "[ \"$(systemctl show -p ActiveState --value circonus-snowth)\" = failed ]"


class Damaged(Storage):
    """The cluster with text in it, and ways to hurt a store."""

    def repair(self, *options, confirm=HOST, **more):
        extra = {} if confirm is None else {"circonus_confirm": confirm}
        return self.lab.play("data_storage_repair", *options, **dict(QUICK, **extra, **more))

    def curl(self, address, path, body=None):
        argv = ["curl", "-sf", "-m", "10", "http://%s:8112%s" % (address, path)]
        argv += ["-X", "POST", "-d", json.dumps(body)] if body is not None else []
        return json.loads(self.lab.on("east-app2", *argv).stdout or "null")

    def write_texts(self, number=40):
        rows = [{"id": CHECK, "metric": "t%d" % (at % 5), "offset": BASE + at, "value": "v%d" % at}
                for at in range(number)]
        self.curl(self.addresses["east-store1"], "/write/text", rows)
        return number

    def texts(self, address):
        """How many values of the text metrics a node gives back."""
        found = [self.curl(address, "/read/%d/%d/%s/t%d" % (BASE, BASE + 1000, CHECK, at)) for at in range(5)]
        return sum(len(rows) for rows in found)

    def place(self, target, host=HOST):
        kind, name = target.split("/")
        return "/snowth/%s/%s/%s" % (kind, self.ids[host], name)

    def stop(self, host=HOST):
        self.lab.on(host, "systemctl", "stop", UNIT)

    def start(self, host=HOST):
        return self.lab.on(host, "systemctl", "start", UNIT, check=False).returncode

    def hurt(self, target, host=HOST):
        """Overwrite the manifest of a store: nothing can be read by its help, all records are whole."""
        self.lab.on(host, "sh", "-c", "for file in %s/MANIFEST-*; do echo garbage > $file; done" % self.place(
            target, host))

    def break_(self, *targets, host=HOST):
        """A node that does not start any more, and says so in its log."""
        self.stop(host)
        for target in targets:
            self.hurt(target, host)
        assert self.start(host) != 0
        wait_until(lambda: self.lab.on(host, "sh", "-c", DEAD, check=False).returncode == 0, 30, "the start has failed")

    def log(self, text, host=HOST):
        """A line in errorlog, as the node itself would write it now."""
        line = "[$(date -u '+%%Y-%%m-%%d %%H:%%M:%%S')] %s" % text
        self.lab.on(host, "sh", "-c", 'echo "%s" >> /snowth/logs/errorlog' % line)

    def sizes(self, host=HOST):
        return self.lab.on(host, "sh", "-c", SIZES).stdout

    def mend(self, host=HOST):
        """Whatever a test left behind: by the program itself, not by the procedure."""
        if self.start(host) == 0:
            return
        for target in ("text/metrics", "text/changelog", "hist/metrics", "hist/60", "hist/300", "hist/10800"):
            self.lab.on(host, "/opt/circonus/sbin/snowthd", "-u", "nobody", "-g", "nobody", "-r", target, "-i",
                        self.ids[host], "-c", "/opt/circonus/etc/snowth.conf", check=False)
        assert self.start(host) == 0


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    """The running cluster, green and with text in it."""
    found = Damaged(Lab(tmp_path_factory.mktemp("reports")))
    found.settle()
    found.number = found.write_texts()
    return found


@pytest.fixture(autouse=True)
def healthy(storage):
    """Before and after each test the cluster is whole."""
    storage.settle()
    yield
    for host in storage.hosts:
        storage.mend(host)
    storage.settle()


@contextlib.contextmanager
def untouched(storage, hosts=(HOST, *OTHERS)):
    """No node is started or stopped, and no file of a store is written that its node does not write itself."""
    before, sizes = storage.starts(hosts), storage.sizes()
    yield
    assert storage.starts(hosts) == before
    assert storage.sizes() == sizes


class TestRepair:
    def test_check_mode_shows_what_would_be_repaired_and_touches_nothing(self, storage):
        storage.break_("text/metrics")
        with untouched(storage):
            run = storage.repair("--check", confirm=None)
        assert run.rc == 0 and "Repair text/metrics of east-store2: snowthd -r text/metrics" in run.output, run
        assert "east-store1 is left alone: its log names no damaged store." in run.output

    @LONG
    def test_without_the_typed_names_it_says_which_they_are(self, storage):
        storage.break_("text/metrics")
        with untouched(storage):
            for confirm in (None, "east-store1", "east"):
                run = storage.repair(confirm=confirm)
                assert run.rc != 0 and run.result == "refused", run
                assert "circonus_confirm must be east-store2 to repair that" in run.report["reason"]

    def test_under_a_writer_several_stores_open_again_and_everything_is_readable(self, storage):
        others = storage.starts(OTHERS)
        storage.break_("text/metrics", "text/changelog", "hist/60")
        with storage.traffic() as traffic:
            run = storage.repair()
        assert run.rc == 0 and run.result == "ok", run
        assert traffic["acknowledged"] > 200 and traffic["lost"] == [], traffic
        assert storage.starts(OTHERS) == others
        # The log named one store after the other.
        said = storage.lab.on(HOST, "cat", "/snowth/logs/errorlog").stdout
        for target in ("text/metrics", "text/changelog", "hist/60"):
            assert "repaired %s:" % storage.place(target) in said
        assert {storage.texts(address) for address in storage.addresses.values()} == {storage.number}
        assert storage.curl(storage.addresses[HOST], "/state")["identity"] == storage.ids[HOST]
        assert any("data_storage_rebuild.yml" in text for text in run.report["remaining"])

    @LONG
    def test_the_same_command_again_leaves_all_alone(self, storage):
        storage.break_("hist/metrics")
        assert storage.repair().rc == 0
        with untouched(storage):
            run = storage.repair()
        assert run.rc == 0 and run.result == "nothing_to_do", run
        assert "east-store2 is left alone: its log names no damaged store." in run.report["reason"]

    @LONG
    def test_one_that_runs_in_spite_of_damage_is_stopped_when_it_can_be_spared(self, storage):
        before = storage.starts()
        storage.log("leveldb: %s: Corruption: block checksum mismatch" % storage.place("text/changelog"))
        with storage.traffic() as traffic:
            run = storage.repair()
        assert run.rc == 0 and "Stop east-store2, if its cluster can spare it" in run.output, run
        assert traffic["lost"] == [] and max(len(look["down"]) for look in traffic["seen"]) == 1
        after = storage.starts()
        assert after[HOST] != before[HOST] and all(after[host] == before[host] for host in OTHERS)
        assert storage.texts(storage.addresses[HOST]) == storage.number

    @LONG
    def test_and_is_not_stopped_when_it_cannot(self, storage):
        storage.log("leveldb: %s: Corruption: block checksum mismatch" % storage.place("text/changelog"))
        storage.stop("east-store3")
        try:
            with untouched(storage, (HOST, "east-store1")):
                run = storage.repair()
        finally:
            storage.start("east-store3")
            storage.settle()
            storage.stop()  # only a start that comes after the line disproves it
        assert run.rc != 0 and "east-store2" in run.report["reason"], run

    @LONG
    @pytest.mark.parametrize("step", torture("Stop data_storage", "Take the lock", "Prove that east-store2 may stop"))
    def test_a_killed_controller_is_continued_by_the_same_command(self, storage, step):
        storage.log("leveldb: %s: Corruption: block checksum mismatch" % storage.place("text/metrics"))
        assert storage.lab.kill_after("data_storage_repair", step, **dict(QUICK, circonus_confirm=HOST))
        run = storage.repair()
        assert run.rc == 0, run
        storage.settle()
        assert {storage.texts(address) for address in storage.addresses.values()} == {storage.number}
        with untouched(storage):
            assert storage.repair().result == "nothing_to_do"

    @LONG
    def test_one_that_is_killed_while_it_waits_for_the_cluster_repairs_nothing_twice(self, storage):
        storage.break_("text/metrics")
        assert storage.lab.kill_after("data_storage_repair", "Repair text/metrics", **dict(
            QUICK, circonus_confirm=HOST))
        starts = storage.starts()
        run = storage.repair()
        assert run.rc == 0 and storage.starts() == starts, run

    @LONG
    def test_what_was_repaired_by_hand_is_only_started(self, storage):
        storage.break_("text/metrics")
        storage.lab.on(HOST, "/opt/circonus/sbin/snowthd", "-u", "nobody", "-g", "nobody", "-r", "text/metrics", "-i",
                       storage.ids[HOST], "-c", "/opt/circonus/etc/snowth.conf")
        run = storage.repair()
        assert run.rc == 0 and "Start what was repaired" in run.output, run
        said = storage.lab.on(HOST, "cat", "/snowth/logs/errorlog").stdout
        assert said.splitlines()[-3:].count("repaired") == 0


class TestRefusals:
    """Nothing is touched, and one sentence says why."""

    @staticmethod
    def refused(run, *words):
        assert run.rc != 0 and run.result == "refused", run
        for word in words:
            assert word in run.report["reason"], run.report["reason"]

    @pytest.mark.parametrize("targets, words", [
        (["hist/60"], "must be what the log of east-store2 names (text/metrics)"),
        (["text/metrics", "hist/60"], "must be what the log"), (["text/metrics; reboot"], "must be of text/metrics")])
    def test_a_wrong_target(self, storage, targets, words):
        storage.break_("text/metrics")
        with untouched(storage):
            self.refused(storage.repair(data_storage_repair_targets=targets), words)

    @LONG
    @pytest.mark.parametrize("where", ["raw_db", "nntbs", "data"])
    def test_damage_for_which_there_is_no_repair(self, storage, where):
        storage.log("/snowth/%s/%s/1700000000: Corruption: checksum mismatch" % (where, storage.ids[HOST]))
        try:
            with untouched(storage):
                self.refused(storage.repair(), "No repair is documented", where, "data_storage_rebuild.yml")
        finally:
            storage.stop()

    def test_a_node_with_the_disk_of_another(self, storage):
        storage.break_("text/metrics")
        stranger = "/snowth/data/00000000-0000-4000-8000-00000000dead"
        storage.lab.on(HOST, "mkdir", "-p", stranger)
        try:
            with untouched(storage):
                self.refused(storage.repair(), "east-store2 holds the data of")
        finally:
            storage.lab.on(HOST, "rmdir", stranger)

    @LONG
    def test_a_rebuild_at_work_on_it(self, storage):
        storage.break_("text/metrics")
        sleeper = "exec -a snowthd python3 -c 'import time; time.sleep(300)' -B"
        pid = storage.lab.on(HOST, "bash", "-c", "(%s) >/dev/null 2>&1 & echo $!" % sleeper).stdout.strip()
        try:
            with untouched(storage):
                self.refused(storage.repair(), "rebuilds the node")
        finally:
            storage.lab.on(HOST, "kill", pid, check=False)
