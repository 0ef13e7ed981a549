# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""data_storage_rebuild.yml on a running cluster: nothing is lost, nothing done twice, a wrong target keeps all."""

from __future__ import annotations

import contextlib
import json
import shutil

import pytest
from running_lab import LONG, Lab, torture, wait_until
from storage_lab import UNIT, Storage

NODE, OTHER = "east-store2", "east-store3"
SITE = "/opt/circonus/var/chef-solo/data_bags/service_map/site.json"
KILLSWITCH = "/opt/circonus/var/chef-solo/killswitch"
STATE = "/var/lib/circonus-inside/data_storage_rebuild"
STORES = ("data", "text", "hist", "raw_db", "surrogate_db", "metric_name_db", "nntbs")
#: Fast enough for a test: the manual's two minutes are a parameter.
QUICK = {"data_storage_rebuild_node": NODE, "circonus_confirm": NODE, "data_storage_rebuild_pause_s": 3,
         "data_storage_rebuild_spacing_s": 1, "data_storage_rebuild_settle_s": 240,
         "data_storage_rebuild_progress_s": 2}
STEPS = ("Start the reconstitute", "Take the lock", "Prove that east-store2", "Open the rebuild", "Stop data_storage",
         "Make room for the new stores", "Follow the reconstitute", "End the reconstitute", "Start data_storage",
         "Settle after east-store2", "Close the rebuild")


class Rebuild:
    """The cluster, and the node that is rebuilt."""

    def __init__(self, lab):
        self.storage, self.lab = Storage(lab), lab
        self.id = self.storage.ids[NODE]

    def play(self, *options, **more):
        return self.lab.play("data_storage_rebuild", *options, **dict(QUICK, **more))

    def shell(self, script, host=NODE, check=True):
        return self.lab.on(host, "sh", "-c", script, check=check).stdout

    def aside(self):
        """Directories that were set aside, by the time of their rebuild."""
        return self.shell("ls /snowth/aside 2>/dev/null || true").split()

    def records(self):
        return [json.loads(text) for text in self.shell(
            "for f in %s/*.json; do [ -e $f ] && tr -d '\\n' < $f && echo; done; true" % STATE).splitlines()]

    def inodes(self):
        """What stands where the stores are."""
        return self.shell("stat -c '%%n %%i' %s" % " ".join("/snowth/%s/*" % store for store in STORES))

    def untouched(self):
        """All that a refusal must leave as it is."""
        return (self.inodes(), self.aside(), self.records(), self.storage.starts((NODE,)),
                self.shell("systemctl is-enabled %s" % UNIT), self.shell("ls -d %s 2>/dev/null || true" % KILLSWITCH))

    def belongs(self, host):
        """What a node says to have that belongs on the rebuilt one: kind, period, check and metric."""
        text = self.lab.on("east-app2", "curl", "-sf", "-m", "20", "http://%s:8112/reconstitute/%s" % (
            self.storage.addresses[host], self.id)).stdout
        return set(json.loads(text)["metrics"])

    def slowly(self):
        """The reconstitute takes some 20 s, however much there is."""
        count = len(self.belongs("east-store1") | self.belongs(OTHER))
        return self.storage.fault(NODE, "reconstitute-rate", "%.1f" % max(2.0, count / 20))

    def whole(self):
        """Everything that its peers have for it is on the node itself."""
        return self.belongs(NODE) >= self.belongs("east-store1") | self.belongs(OTHER)

    def in_order(self, asides):
        """The end of every rebuild: it serves, starts with the host, and nothing of the rebuild is left but the old."""
        assert self.shell("systemctl is-enabled %s" % UNIT).strip() == "enabled"
        assert self.shell("systemctl is-active %s" % UNIT).strip() == "active"
        assert self.shell("ls %s 2>/dev/null || true" % KILLSWITCH) == ""
        assert {record["phase"] for record in self.records()} == {"done"}
        assert len(self.aside()) == asides and self.whole()

    def starts_of(self, record):
        """How often the reconstitute of a record was started, by its console."""
        return self.shell("grep -c '^# ' %s" % record["log"]).strip()

    def forget(self):
        """As if no rebuild had ever been: what was set aside goes, and the records."""
        self.shell("rm -rf /snowth/aside %s" % STATE)


@pytest.fixture(scope="module")
def rebuild(tmp_path_factory):
    """The running cluster, green and with data on every node."""
    found = Rebuild(Lab(tmp_path_factory.mktemp("reports")))
    found.storage.settle()
    with found.storage.traffic():
        wait_until(lambda: found.belongs("east-store1") and found.belongs(OTHER), 60, "there is something to rebuild")
    found.forget()
    yield found
    found.forget()


@pytest.fixture
def fresh(rebuild):
    """No rebuild before this one."""
    rebuild.storage.settle()
    rebuild.forget()
    return rebuild


class TestRebuild:
    @LONG  # test_30_check_mode.py compares every host
    def test_check_mode_shows_the_whole_plan_and_touches_nothing(self, fresh):
        before = fresh.untouched()
        run = fresh.play("--check")
        assert run.rc == 0 and fresh.untouched() == before, run
        assert "Set aside by rename the directory /snowth/nntbs/%s" % fresh.id in run.output
        assert "Start on east-store2, detached: /opt/circonus/bin/snowth-start -B" in run.output

    def test_every_measurement_survives(self, fresh):
        with fresh.slowly(), fresh.storage.traffic() as traffic:
            run = fresh.play()
        assert run.rc == 0 and run.result == "ok", run
        assert traffic["acknowledged"] > 200 and traffic["lost"] == [], traffic
        down = {address for look in traffic["seen"] for address in look["down"]}
        assert down <= {fresh.storage.addresses[NODE]}, "no other node was ever down"
        fresh.in_order(1)
        # What was there before is kept, named, and whole.
        (record,) = fresh.records()
        aside = [item["aside"] for item in run.report["set_aside"]]
        assert aside and all(record["stamp"] in path for path in aside)
        for path in aside:
            fresh.shell("test -d %s" % path)
        assert record["stamp"] in run.report["remaining"][0] and aside[0] in run.report["remaining"][0]
        assert "green 3 of 3" in run.output and " %  " in run.output

        again = fresh.play()
        assert again.rc == 0 and again.result == "nothing_to_do", again

        wrong = fresh.play(data_storage_rebuild_mode="remove", data_storage_rebuild_stamp="20200101T000000Z")
        assert wrong.rc != 0 and wrong.result == "refused" and len(fresh.aside()) == 1, wrong
        gone = fresh.play(data_storage_rebuild_mode="remove", data_storage_rebuild_stamp=record["stamp"])
        assert gone.rc == 0 and fresh.aside() == [] and fresh.whole(), gone

    @LONG
    def test_a_reconstitute_that_does_not_end_by_itself(self, fresh):
        with fresh.storage.fault(NODE, "reconstitute-stays"):
            run = fresh.play()
        assert run.rc == 0, run
        fresh.in_order(1)


class TestGoingOn:
    @pytest.mark.parametrize("step", torture(*STEPS))
    def test_a_killed_controller_then_the_same_command(self, fresh, step):
        old = fresh.inodes()
        with fresh.slowly():
            assert fresh.lab.kill_after("data_storage_rebuild", step, **QUICK)
            lock = fresh.lab.report_of("data_storage_rebuild")
            run = fresh.play()
        assert run.rc == 0, (lock, run)
        (record,) = fresh.records()
        fresh.in_order(1)
        assert fresh.starts_of(record) == "1", "never started twice"
        # Each store was moved once: what was set aside is what stood there before.
        for line in fresh.shell("stat -c '%n %i' /snowth/aside/*/*/*").splitlines():
            path, inode = line.split()
            assert "/snowth/%s %s" % (path.split("/", 4)[4], inode) in old

    @LONG
    def test_a_killed_reconstitute_is_taken_up_where_it_stopped(self, fresh):
        with fresh.storage.fault(NODE, "reconstitute-rate", "0.2"):
            assert fresh.lab.kill_after("data_storage_rebuild", "Start the reconstitute", **QUICK)
            fresh.shell("kill -9 $(cat /snowth/logs/snowth.lock)")
        run = fresh.play()
        assert run.rc == 0, run
        (record,) = fresh.records()
        assert fresh.starts_of(record) == "2"
        fresh.in_order(1)

    @LONG
    def test_one_that_dies_while_it_is_followed_is_told(self, fresh):
        with fresh.storage.fault(NODE, "reconstitute-rate", "0.2"):
            assert fresh.lab.kill_after("data_storage_rebuild", "Start the reconstitute", **QUICK)
            process = fresh.lab.start("data_storage_rebuild", **QUICK)
            wait_until(lambda: "Follow the reconstitute on" in _read(process), 120, "it is followed", interval=0)
            fresh.shell("kill -9 $(cat /snowth/logs/snowth.lock)")
            output, _none = process.communicate(timeout=300)
        assert process.returncode != 0 and "ended without 'Reconstitute Finished!'" in output, output
        assert fresh.play().rc == 0
        fresh.in_order(1)


def _read(process):
    """The next line of a running playbook."""
    line = process.stdout.readline()
    assert line, "it ended"
    return line


class TestWrongTargets:
    """Each refuses with one sentence, before anything is touched."""

    @pytest.fixture(autouse=True)
    def nothing(self, fresh):
        before = fresh.untouched()
        yield
        assert fresh.untouched() == before
        fresh.storage.settle()

    @staticmethod
    def refused(run, *words):
        assert run.rc != 0 and run.result == "refused", run
        for word in words:
            assert word in run.report["reason"], run.report["reason"]

    @contextlib.contextmanager
    def changed(self, fresh, path, script):
        """A file of the node, changed by a shell script that gets its name, and put back."""
        kept = "/root/kept-" + path.rsplit("/", 1)[1]
        fresh.shell("cp -p %s %s" % (path, kept))
        try:
            fresh.shell(script % path)
            yield
        finally:
            fresh.shell("cp -p %s %s && rm %s" % (kept, path, kept))

    def test_the_typed_name(self, fresh):
        self.refused(fresh.play(circonus_confirm=OTHER), "must name the node", "Nothing was changed")

    def test_ids_swapped_in_the_inventory(self, fresh, tmp_path):
        copy = tmp_path / "inventory"
        shutil.copytree(fresh.lab.inventory, copy, symlinks=False)
        for name in ("site.east.json", "site.west.json"):
            site = json.loads((copy / name).read_text())
            machines = site["machinfo"]
            if NODE in machines:
                machines[NODE]["node_id"], machines[OTHER]["node_id"] = (
                    machines[OTHER]["node_id"], machines[NODE]["node_id"])
            (copy / name).write_text(json.dumps(site))
        self.refused(fresh.play("-i", str(copy / "lab.site.yml")), NODE)

    @LONG
    def test_a_stale_site_json_on_the_host(self, fresh):
        with self.changed(fresh, SITE, "sed -i s/%s/%s/ %%s" % (fresh.id, "b0000000-0000-4000-8000-00000000dead")):
            self.refused(fresh.play(), "stale")

    @pytest.mark.parametrize("store", ["data", "text"])
    def test_data_of_another_node_on_the_disk(self, fresh, store):
        stranger = "/snowth/%s/00000000-0000-4000-8000-00000000dead" % store
        fresh.shell("mkdir %s" % stranger)
        try:
            self.refused(fresh.play(), "holds the data of 00000000-0000-4000-8000-00000000dead")
        finally:
            fresh.shell("rmdir %s" % stranger)

    @LONG
    def test_no_topology_on_the_host(self, fresh):
        script = "sed -i 's/active=\"[0-9a-f]*\"/active=\"\"/' %s"
        with self.changed(fresh, "/opt/circonus/etc/topology.conf", script), self.changed(
                fresh, "/opt/circonus/etc/snowth.conf", script):
            self.refused(fresh.play(), "Expected the topology installed")

    @LONG
    def test_another_node_is_down(self, fresh):
        """Of some data the only copy left is on the node that would be rebuilt."""
        fresh.lab.on(OTHER, "systemctl", "stop", UNIT)
        try:
            self.refused(fresh.play(), "while %s serves no copies nothing would be left of" % OTHER)
        finally:
            fresh.lab.on(OTHER, "systemctl", "start", UNIT)


class TestNewCluster:
    @LONG
    def test_a_node_of_the_other_site_pulls_what_belongs_to_it(self, fresh):
        host = "west-store2"
        fresh.shell("rm -rf %s" % STATE, host)
        before = json.loads(fresh.lab.on(host, "curl", "-sf", "http://127.0.0.1:8112/list/metric").stdout)
        run = fresh.play(data_storage_rebuild_node=host, circonus_confirm=host, data_storage_rebuild_mode="new_cluster",
                         data_storage_rebuild_source=fresh.storage.addresses["east-store1"])
        assert run.rc == 0, run
        after = json.loads(fresh.lab.on(host, "curl", "-sf", "http://127.0.0.1:8112/list/metric").stdout)
        assert len(after) > len(before) and fresh.shell("ls /snowth/aside 2>/dev/null || true", host) == ""
        fresh.shell("rm -rf %s" % STATE, host)

    @LONG
    def test_its_own_cluster_refuses(self, fresh):
        run = fresh.play(data_storage_rebuild_mode="new_cluster",
                         data_storage_rebuild_source=fresh.storage.addresses["east-store1"])
        assert run.rc != 0 and run.result == "refused" and "is of the same cluster" in run.report["reason"], run
