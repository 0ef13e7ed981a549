# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The wait in slices ends when the whole wait would, and says how it goes."""
from __future__ import annotations

import pytest
from ansible.plugins.action import ActionBase

from ansible_collections.circonus.inside.plugins.action import irondb_wait
from ansible_collections.circonus.inside.plugins.module_utils import irondb_cluster
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError


class Cluster:
    """A cluster whose latency falls from ``seconds`` by one each second of the test's clock."""

    def __init__(self, seconds, monkeypatch):
        self.now, self.seconds, self.lines, self.calls = 0.0, seconds, [], []
        monkeypatch.setattr(irondb_wait.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(irondb_wait.display, "display", self.lines.append)
        monkeypatch.setattr(irondb_cluster.irondb_gate, "gate", lambda view: [
            {"id": "lagging", "text": "It lags."}] if view >= 30 else [])
        monkeypatch.setattr(irondb_cluster.irondb_gate, "matrix", lambda view: [])
        monkeypatch.setattr(irondb_cluster, "sample", lambda view, reasons, passed: {
            "seconds": round(passed, 1), "green": not reasons, "reasons": {"lagging": 1} if reasons else {},
            "latency": {}, "worst": {"node": "db1", "peer": "db2", "seconds": view}})

    def view(self):
        return max(0.0, self.seconds - self.now)

    def pause(self, seconds):
        self.now += seconds

    def module(self, module_name, module_args, task_vars):
        """What the module does, on the clock of the test."""
        self.calls.append(module_args)
        self.now += 0.5
        args = {key: module_args[key] for key in ("polls", "spacing", "minimum", "timeout") if key in module_args}
        try:
            return irondb_cluster.wait(self, clock=lambda: self.now, pause=self.pause, **args)
        except InsideError as error:
            return dict(error.details, failed=True, msg=str(error))

    def wait(self, monkeypatch, **args):
        monkeypatch.setattr(ActionBase, "run", lambda *_more: {})
        action = irondb_wait.ActionModule.__new__(irondb_wait.ActionModule)
        action._task = type("Task", (), {"args": args})
        action._execute_module = self.module
        return action.run(task_vars={})


def test_a_green_cluster_waits_for_the_pause_and_no_longer(monkeypatch):
    cluster = Cluster(0.0, monkeypatch)
    answer = cluster.wait(monkeypatch, polls=3, spacing=5.0, minimum=120.0, timeout=900.0)
    assert answer["settled"] and 120.0 <= answer["seconds"] <= 126.0
    assert len(cluster.lines) >= 5 and cluster.lines[-1].endswith("green 3 of 3")


def test_the_latency_is_seen_falling_and_the_end_is_not_late(monkeypatch):
    cluster = Cluster(300.0, monkeypatch)
    answer = cluster.wait(monkeypatch, polls=3, spacing=5.0, minimum=60.0, timeout=900.0)
    assert answer["settled"] and 280.0 <= answer["seconds"] <= 310.0
    behind = [float(line.split(" is ")[1].split()[0]) for line in cluster.lines]
    assert behind == sorted(behind, reverse=True) and len(behind) > 8
    seconds = [row["seconds"] for row in answer["series"]]
    assert seconds == sorted(seconds) and answer["polls"] == len(seconds)


def test_one_that_never_settles_ends_with_its_reason(monkeypatch):
    cluster = Cluster(1e6, monkeypatch)
    answer = cluster.wait(monkeypatch, polls=3, spacing=5.0, minimum=0.0, timeout=100.0)
    assert answer["failed"] and answer["gate"] == "lagging" and 95.0 <= answer["seconds"] <= 125.0


@pytest.mark.parametrize("args", [{"polls": 0}, {"minimum": 100.0, "timeout": 50.0}, {"spacing": -1.0}])
def test_a_wait_that_can_never_end_is_refused_by_the_module(monkeypatch, args):
    cluster = Cluster(0.0, monkeypatch)
    assert "Expected a timeout" in cluster.wait(monkeypatch, **args)["msg"] and len(cluster.calls) == 1


def test_what_no_module_answered_is_handed_on(monkeypatch):
    cluster = Cluster(0.0, monkeypatch)
    monkeypatch.setattr(cluster, "module", lambda **_args: {"unreachable": True, "msg": "gone"})
    assert cluster.wait(monkeypatch)["unreachable"] and cluster.lines == []
