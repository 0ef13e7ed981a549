# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""data_storage_sweep.yml on a running cluster: what is older is gone from every node, nothing else, and never twice."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest
from running_lab import LONG, Lab, wait_until
from storage_lab import UNIT, Storage

CHECK = "c0000000-0000-4000-8000-000000000002"
DAY = 86400
METRICS = 12
#: Metrics a second, so few that no sweep ends by itself while a busy machine starts a playbook.
SLOW = "0.03"
#: Older than what the traffic of a test writes.
BEFORE = time.strftime("%Y-%m-%d", time.gmtime(time.time() - 100 * DAY))
QUICK = {"data_storage_sweep_before": BEFORE, "circonus_confirm": "data_storage:" + BEFORE,
         "data_storage_sweep_limit": ["east"], "data_storage_sweep_spacing_s": 1}


class Swept(Storage):
    """The nodes of the site east with numbers and text on both sides of the date."""

    def __init__(self, lab):
        super().__init__(lab)
        self.old, self.new = (int(time.time()) // 10800 * 10800 - days * DAY for days in (200, 10))

    def post(self, path, rows, host="east-store2"):
        url = "http://%s:8112%s" % (self.addresses[host], path)
        said = self.lab.on(host, "curl", "-sf", "-m", "20", "-d", json.dumps(rows), url).stdout
        # What belongs on other nodes is passed on, and counted as misdirected.
        assert json.loads(said)["errors"] == 0 and json.loads(said)["records"] == len(rows), said

    def fill(self):
        """The same measurements again, whatever was swept."""
        base = {"id": CHECK, "count": 1}
        self.post("/write/nnt", [dict(base, metric="m%d" % n, offset=at, value=n) for n in range(METRICS)
                                 for at in (self.old, self.new)])
        self.post("/write/text", [dict(base, metric="t", offset=str(at), value="v%d" % at)
                                  for at in (self.old, self.new)])
        wait_until(lambda: self.everywhere(60) == {(self.old, self.new)}, 60, "every node has what was written")
        self.settle()

    def ask(self, host, path):
        url = "http://%s:8112%s" % (self.addresses[host], path)
        return json.loads(self.lab.on(host, "curl", "-sf", "-m", "10", url).stdout)

    def times(self, host, period, metric):
        """When a metric has values, as a client that asks this node gets them."""
        path = "/read/%d/%d/%d/%s/average/%s" % (self.old - DAY, self.new + DAY, period, CHECK, metric)
        return tuple(row[0] for row in self.ask(host, path))

    def everywhere(self, period):
        return {self.times(host, period, "m%d" % n) for host in self.hosts for n in range(METRICS)}

    def texts(self):
        path = "/read/%d/%d/%s/t" % (self.old - DAY, self.new + DAY, CHECK)
        return {tuple(row[1] for row in self.ask(host, path)) for host in self.hosts}

    def begun(self):
        """How many sweeps each node was told to begin, by its own log."""
        count = "cat /snowth/logs/accesslog* 2>/dev/null | grep -c '\"DELETE /sweep_delete'"
        return {host: int(self.lab.on(host, "sh", "-c", count, check=False).stdout) for host in self.hosts}

    def running(self, host):
        return any(row["running"] == "true" for row in self.ask(host, "/sweep_delete").values())

    def sweep(self, *options, **more):
        return self.lab.play("data_storage_sweep", *options, **dict(QUICK, **more))


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    return Lab(tmp_path_factory.mktemp("reports"))


class TestLaterRelease:
    def test_refuses_with_the_advice_to_use_retention(self, lab):
        storage = Swept(lab)
        storage.settle()
        run = storage.sweep()
        assert run.rc != 0 and run.result == "refused", run
        assert "has no delete sweep" in run.report["reason"] and "rollup_retention in site.json" in run.report["reason"]
        # There is nothing to cancel, and that is no failure.
        assert storage.lab.play("data_storage_sweep", data_storage_sweep_state="cancelled").rc == 0


@pytest.fixture(scope="module")
def storage(lab):
    """The cluster on the release of 2019."""
    found = Swept(lab)
    found.settle()
    with found.release("2019"):
        yield found


@pytest.fixture
def filled(storage):
    """Measurements on both sides of the date, and nobody remembers a sweep."""
    for host in storage.hosts:
        storage.lab.on(host, "rm", "-f", "/var/lib/circonus-inside/data_storage_sweep.json")
    storage.fill()
    return storage


class TestSweep:
    def test_check_mode_names_nodes_types_and_periods_and_deletes_nothing(self, filled):
        before = filled.begun()
        run = filled.sweep("--check", data_storage_sweep_types=["nnt", "text"], data_storage_sweep_nnt_rollups=[60])
        assert run.rc == 0 and filled.begun() == before, run
        text = "%d. Sweep east-store%d: nnt of 60 s, all text older than " + BEFORE
        for at in (1, 2, 3):
            assert text % (at, at) in run.output
        assert filled.everywhere(60) == {(filled.old, filled.new)}
        record = filled.lab.on("east-store1", "ls", "/var/lib/circonus-inside/data_storage_sweep.json", check=False)
        assert record.returncode != 0

    def test_what_is_older_is_gone_from_every_node_and_the_traffic_loses_nothing(self, filled):
        before = filled.begun()
        with filled.traffic() as traffic:
            run = filled.sweep()
        assert run.rc == 0 and run.result == "ok", run
        assert traffic["acknowledged"] > 50 and traffic["lost"] == [], traffic
        assert {address for look in traffic["seen"] for address in look["down"]} == set()
        assert filled.everywhere(60) == {(filled.new,)} and filled.everywhere(10800) == {(filled.new,)}
        # Text was not among the types.
        assert filled.texts() == {("v%d" % filled.old, "v%d" % filled.new)}
        assert {host: number - before[host] for host, number in filled.begun().items()} == dict.fromkeys(
            filled.hosts, 1)
        for host in filled.hosts:
            assert "Sweep data_storage on %s" % host in run.output
        assert "nnt done" in run.output
        again = filled.sweep()
        assert again.rc == 0 and again.result == "nothing_to_do", again
        # An import that came late is taken by a repeated one.
        filled.fill()
        assert filled.sweep(data_storage_sweep_repeat=True).rc == 0
        assert filled.everywhere(60) == {(filled.new,)}

    @LONG
    def test_a_killed_controller_is_continued_and_nothing_starts_twice(self, filled):
        before = filled.begun()
        with filled.fault("east-store1", "sweep-rate", "0.1"):
            process = filled.lab.start("data_storage_sweep", **QUICK)
            wait_until(lambda: filled.running("east-store1"), 60, "the first node sweeps")
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            wait_until(lambda: filled.running("east-store1"), 5, "it sweeps on without its controller")
            run = filled.sweep("--check")
            assert run.rc == 0 and "Follow the sweep that runs on east-store1 already" in run.output, run
            run = filled.sweep()
        assert run.rc == 0, run
        assert {host: number - before[host] for host, number in filled.begun().items()} == dict.fromkeys(
            filled.hosts, 1)
        assert filled.everywhere(60) == {(filled.new,)}

    @LONG
    def test_cancelled_from_another_terminal(self, filled):
        before = filled.begun()
        with filled.fault("east-store1", "sweep-rate", SLOW):
            process = filled.lab.start("data_storage_sweep", **QUICK)
            wait_until(lambda: filled.running("east-store1"), 60, "the first node sweeps")
            reports = str(filled.lab.reports / "cancel")
            run = filled.lab.play("data_storage_sweep", data_storage_sweep_state="cancelled",
                                  circonus_report_dir=reports)
            assert run.rc == 0 and "Cancel the sweep of east-store1 (nnt)" in run.output, run
            output, _none = process.communicate(timeout=300)
        assert process.returncode != 0 and "The sweep of east-store1 was cancelled" in output, output[-3000:]
        after = filled.begun()
        assert [after[host] - before[host] for host in filled.hosts] == [1, 0, 0]
        assert not filled.running("east-store1")
        # The same command goes on.
        assert filled.sweep().rc == 0 and filled.everywhere(60) == {(filled.new,)}

    @LONG
    def test_a_node_that_is_restarted_meanwhile_is_not_called_done(self, filled):
        before = filled.begun()
        with filled.fault("east-store1", "sweep-rate", SLOW):
            process = filled.lab.start("data_storage_sweep", **QUICK)
            wait_until(lambda: filled.running("east-store1"), 60, "the first node sweeps")
            filled.lab.on("east-store1", "systemctl", "restart", UNIT)
            output, _none = process.communicate(timeout=300)
        assert process.returncode != 0 and "east-store1 was restarted while it swept" in output, output[-3000:]
        after = filled.begun()
        assert [after[host] - before[host] for host in filled.hosts[1:]] == [0, 0]
        filled.settle()
        assert filled.sweep().rc == 0 and filled.everywhere(60) == {(filled.new,)}


def refused(run, *words):
    assert run.rc != 0 and run.result == "refused", run
    for word in words:
        assert word in run.report["reason"], run.report["reason"]


def test_one_for_other_data_is_not_cancelled_by_another(filled):
    url = "http://%s:8112/sweep_delete" % filled.addresses["east-store2"]
    before = filled.begun()
    with filled.fault("east-store2", "sweep-rate", SLOW):
        filled.lab.on("east-store2", "curl", "-sf", "-X", "DELETE", "-H", "X-Snowth-Delete-Time: 70", url)
        run = filled.sweep()
        filled.lab.on("east-store2", "curl", "-sf", url + "/cancel")
    refused(run, "east-store2 is sweeping already: nnt, older than 1970-01-01 00:01:10Z")
    assert [number - before[host] for host, number in filled.begun().items()] == [0, 1, 0]


class TestRefusals:
    """Each with one sentence, before anything is deleted."""

    @pytest.fixture(autouse=True)
    def untouched(self, storage):
        storage.settle()
        before = storage.begun()
        yield
        assert storage.begun() == before

    def test_a_date_in_the_future(self, storage):
        date = time.strftime("%Y-%m-%d", time.gmtime(time.time() + 2 * DAY))
        refused(storage.sweep(data_storage_sweep_before=date, circonus_confirm="data_storage:" + date),
                "Expected a date in the past")

    @LONG
    def test_a_type_and_a_rollup_that_are_not_there(self, storage):
        refused(storage.sweep(data_storage_sweep_types=["words"]), "found words")
        refused(storage.sweep(data_storage_sweep_nnt_rollups=[60, 61]), "60, 300, 10800), found 61", "east-store")

    @LONG
    def test_the_typed_date(self, storage):
        refused(storage.sweep(circonus_confirm="data_storage"), "data_storage:" + BEFORE, "Nothing was changed")

    def test_a_cluster_that_has_not_settled(self, storage):
        with storage.fault("east-store3", "http-hang"):
            refused(storage.sweep(), "east-store3")
        storage.settle()
