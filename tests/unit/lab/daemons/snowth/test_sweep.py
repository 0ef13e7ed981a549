# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The collection's sweep of one node, on nodes that really store: what is gone afterwards, and what is not."""

import json
import threading

import pytest
from ansible_collections.circonus.inside.plugins.module_utils import irondb, irondb_sweep
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError, Refused

from ..conftest import eventually
from .conftest import CHECK, IDS

FAST = {"spacing": 0.05, "timeout": 20.0}
WANTED = irondb_sweep.order(5000, ["nnt"])


class Site:
    """One node with ten metrics before and after the date, and the record of its host."""

    def __init__(self, make, tmp_path, **shape):
        self.cluster = make(count=1, copies=1, **dict({"release": "2019"}, **shape))
        self.process = self.cluster.up(0)
        base = {"id": CHECK, "count": 1}
        rows = [dict(base, metric="m%d" % n, offset=at, value=1) for n in range(10) for at in (1200, 60000)]
        assert self.cluster.ask(0, "/write/nnt", "POST", json.dumps(rows).encode())[0] == 200
        texts = [dict(base, metric="t", offset=str(at), value="v%d" % at) for at in (1200, 60000)]
        assert self.cluster.ask(0, "/write/text", "POST", json.dumps(texts).encode())[0] == 200
        self.record = irondb_sweep.Record(str(tmp_path / "host" / "sweep.json"))
        self.deletes = 0

    def node(self, node=IDS[0]):
        site = self

        class Client(irondb.Client):
            def start_sweep(self, fields):
                site.deletes += 1
                return super().start_sweep(fields)

        return irondb_sweep.Node("127.0.0.1", self.cluster.port, node, "db1", self.record, client=Client)

    def sweep(self, wanted=None, **options):
        return self.node().sweep(wanted or WANTED, **dict(FAST, **options))

    def times(self, period, metric="m3"):
        rows = self.cluster.ask(0, "/read/0/90000/%d/%s/average/%s" % (period, CHECK, metric))[1]
        return [row[0] for row in rows]

    def states(self):
        return [entry["state"] for entry in self.record.read()["sweeps"]]


@pytest.fixture
def site(make, tmp_path):
    return Site(make, tmp_path)


def test_what_is_older_is_gone_and_the_rest_is_read(site):
    answer = site.sweep()
    assert answer["finished"] and answer["changed"] and answer["action"] == "start" and "nnt done" in answer["progress"]
    assert [site.times(period) for period in (60, 300, 10800)] == [[60000], [60000], [54000]]
    assert len(site.cluster.ask(0, "/read/0/90000/%s/t" % CHECK)[1]) == 2
    # The same order, and a smaller one, are done; a larger one is not.
    for smaller in (WANTED, irondb_sweep.order(4000, ["nnt"], [60])):
        answer = site.sweep(smaller)
        assert answer["action"] == "done" and answer["finished"] and not answer["changed"] and answer["ended"]
    assert site.deletes == 1 and site.sweep(irondb_sweep.order(70000, ["nnt"]))["changed"] and site.deletes == 2


def test_rollups_and_types_are_kept_apart(site):
    site.sweep(irondb_sweep.order(5000, ["nnt", "text"], [60, 300]))
    assert [site.times(period) for period in (60, 300, 10800)] == [[60000], [60000], [0, 54000]]
    assert [row[1] for row in site.cluster.ask(0, "/read/50000/90000/%s/t" % CHECK)[1]] == ["v60000"]


def test_check_mode_tells_and_touches_nothing(site, tmp_path):
    answer = site.sweep(check=True)
    assert answer["action"] == "start" and answer["changed"] and not answer["finished"]
    assert answer["types"] == {"nnt": [60, 300, 10800], "text": [], "histogram": [60, 300, 10800]}
    assert site.times(60) == [1200, 60000] and site.deletes == 0 and not (tmp_path / "host").exists()


@pytest.mark.parametrize("wanted, why", [
    (irondb_sweep.order(5000, ["nnt"], [60, 61]), "60, 300, 10800), found 61"),
    (irondb_sweep.order(5000, ["histogram"], (), [30]), "found 30"),
    (irondb_sweep.order(1 << 33, ["nnt"]), "Expected a date in the past"),
])
def test_refuses_before_anything_is_deleted(site, wanted, why):
    with pytest.raises(Refused, match="db1") as caught:
        site.sweep(wanted)
    assert why in str(caught.value) and site.deletes == 0 and site.times(60) == [1200, 60000]


@pytest.mark.parametrize("release", ["2021", "2022"])
def test_a_release_without_sweep_is_told_what_to_do_instead(make, tmp_path, release):
    site = Site(make, tmp_path, release=release)
    with pytest.raises(Refused, match="db1 .* has no delete sweep.*rollup_retention in site.json"):
        site.sweep()
    answer = site.node().cancel()
    assert not answer["changed"] and answer["finished"] and answer["status"] is None


def test_another_node_is_not_swept(site):
    with pytest.raises(Refused, match="expected %s of db1" % IDS[1]):
        site.node(IDS[1]).sweep(WANTED, **FAST)
    assert site.deletes == 0


def test_one_that_runs_is_followed_and_never_started_twice(site):
    site.cluster.fault(0, "sweep-rate", 4)
    answer = site.sweep(timeout=0.2)
    assert not answer["finished"] and answer["status"]["nnt"]["running"]
    again = site.sweep(timeout=0.2)
    assert again["action"] == "follow" and not again["changed"] and "nnt at %s" % CHECK in again["progress"]
    assert site.states() == ["started"]
    with pytest.raises(Refused, match="db1 is sweeping already: nnt, older than 1970-01-01 01:23:20Z"):
        site.sweep(irondb_sweep.order(60000, ["nnt"]))
    answer = site.sweep(follow=True)
    assert answer["finished"] and site.deletes == 1 and site.states() == ["finished"]
    assert site.times(60, "m9") == [60000]


def test_one_that_was_started_by_hand_for_the_same_is_followed(site):
    site.cluster.fault(0, "sweep-rate", 8)
    site.cluster.ask(0, "/sweep_delete", "DELETE", headers=list(irondb_sweep.headers(WANTED).items()))
    assert site.sweep()["action"] == "follow" and site.deletes == 0 and site.states() == ["finished"]


def test_a_controller_that_died_is_no_reason_to_call_it_done(site):
    """The record has a beginning and no end: whether it ended or was cancelled, nobody knows."""
    site.cluster.fault(0, "sweep-rate", 100)
    site.sweep(timeout=0.0)
    eventually(lambda: not irondb_sweep.running(site.node().read()[1]))
    assert site.states() == ["started"]
    assert site.sweep()["action"] == "start" and site.deletes == 2 and site.states()[-1] == "finished"


def test_a_restart_in_the_middle_is_not_taken_for_its_end(site):
    site.cluster.fault(0, "sweep-rate", 4)
    assert not site.sweep(timeout=0.3)["finished"]
    site.process.kill()
    site.process.wait()
    site.cluster.up(0)
    with pytest.raises(InsideError, match="db1 was restarted while it swept"):
        site.sweep(follow=True)
    assert site.states() == ["lost"] and site.times(60, "m9") == [1200, 60000]
    site.cluster.heal(0, "sweep-rate")
    assert site.sweep()["action"] == "start" and site.times(60, "m9") == [60000]


def test_a_node_that_goes_down_ends_the_wait(site):
    site.cluster.fault(0, "sweep-rate", 4)
    site.sweep(timeout=0.3)
    site.process.kill()
    site.process.wait()
    with pytest.raises(InsideError, match="restarted while it swept .*connection refused"):
        site.sweep(follow=True)


def test_one_whose_end_another_follower_saw_is_finished(site):
    site.cluster.fault(0, "sweep-rate", 8)
    site.sweep(timeout=0.2)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(site.sweep(follow=True))) for _one in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [answer["finished"] for answer in answers] == [True, True] and site.states() == ["finished"]
    assert site.sweep(follow=True)["finished"]


def test_cancel_ends_it_here_and_elsewhere(site):
    site.cluster.fault(0, "sweep-rate", 4)
    site.sweep(timeout=0.2)
    answers = []

    def follower():
        try:
            answers.append(site.sweep(follow=True))
        except InsideError as exc:
            answers.append(str(exc))

    thread = threading.Thread(target=follower)
    thread.start()
    told = site.node().cancel(check=True)
    assert told["action"] == "cancel" and site.states() == ["started"]
    answer = site.node().cancel(spacing=0.1)
    assert answer["changed"] and answer["finished"]
    thread.join(30)
    assert len(answers) == 1 and "The sweep of db1 was cancelled" in str(answers[0]) and site.states() == ["cancelled"]
    # What it had done stays done, the rest is there; a run that began before does not go on, a new one does.
    assert site.times(60, "m9") == [1200, 60000]
    with pytest.raises(InsideError, match="was cancelled at"):
        site.sweep(cancelled_within=60.0)
    site.cluster.heal(0, "sweep-rate")
    assert site.sweep(cancelled_within=0.0)["finished"] and site.times(60, "m9") == [60000]
    assert not site.node().cancel()["changed"]


def test_another_sweep_in_its_place_is_seen(site):
    site.cluster.fault(0, "sweep-rate", 2)
    site.sweep(timeout=0.2)
    site.cluster.ask(0, "/sweep_delete", "DELETE", headers=[("X-Snowth-Delete-Time", "70")])
    with pytest.raises(InsideError, match="replaced by another one"):
        site.sweep(follow=True)


def test_a_hanging_node_is_waited_for(site, monkeypatch):
    site.cluster.fault(0, "sweep-rate", 8)
    site.sweep(timeout=0.2)
    node = site.node()
    node.page_timeout = 0.3
    site.cluster.fault(0, "http-hang")
    answer = node.sweep(WANTED, follow=True, spacing=0.05, timeout=0.5)
    assert not answer["finished"] and "does not answer" in answer["progress"]
    monkeypatch.setattr(irondb_sweep, "PATIENCE_S", 0.5)
    with pytest.raises(InsideError, match="It may sweep on"):
        node.sweep(WANTED, follow=True, **FAST)
    site.cluster.heal(0, "http-hang")
    assert site.sweep()["finished"] and site.states()[-1] == "finished"


def test_an_old_sweep_does_not_count_where_it_is_to_be_repeated(site):
    site.sweep()
    assert site.sweep(max_age=60.0)["action"] == "done"
    assert site.sweep(max_age=-1.0)["action"] == "start"
    assert site.deletes == 2
