# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""snowthd as a process: rebuild, repair, control, conversion, watchdog."""

import os
import signal

import pytest
from daemons.snowth import level, numeric, options, reconstitute, store, topology

from ..conftest import eventually
from .conftest import AT, CHECK, IDS, encoded, points


def finish(process, seconds=120):
    """(exit code, output) of a process that ends by itself."""
    text, _none = process.communicate(timeout=seconds)
    return process.returncode, text


def percent(cluster, kind):
    """How far the rebuild of the second node is, -1 before it tells."""
    told = cluster.ask(1, "/stats.json")[1].get("reconstitute", {}).get(kind, {})
    return told["percent"]["_value"] if told else -1


def stop(process):
    process.terminate()
    process.wait(60)


def settle(cluster, numbers):
    def settled():
        rows = {row["id"]: row for row in cluster.ask(numbers[0], "/gossip/json")[1]}
        found = [rows[IDS[n]]["latency"].get(IDS[m]) for n in numbers for m in numbers if n != m]
        sending = [cluster.ask(n, "/stats.json")[1]["replication"] for n in numbers]
        delays = [peer["delay"]["_value"] for peers in sending for peer in peers.values()]
        return set(found) == {"0"} and not any(delays)

    eventually(settled)


def filled(cluster, count=60):
    """Three processes with data of all kinds."""
    for number in range(3):
        cluster.up(number)
    assert cluster.ask(0, "/write/nnt", "POST", encoded(points(0, count)))[0] == 200
    texts = [{"metric": "t%d" % n, "id": CHECK, "offset": str(AT), "value": "v%d" % n} for n in range(12)]
    assert cluster.ask(0, "/write/text", "POST", encoded(texts))[0] == 200
    hist = [{"metric": "h%d" % n, "id": CHECK, "offset": AT, "period": 60, "histogram": "AAEyAAAD"} for n in range(12)]
    assert cluster.ask(0, "/histogram/write", "POST", encoded(hist))[0] == 200
    settle(cluster, [0, 1, 2])


def kept(cluster, number):
    """Everything on the disk of a node that is down."""
    item = cluster.build(number)
    item.open()
    found = sorted(str(item.store.records(*entry)) for entry in item.store.everything())
    item.store.close()
    item.lock_file.close()
    return found


def wipe(cluster, number, names=store.DIRECTORIES):
    for name in names:
        path = cluster.path(number, "store", name, IDS[number])
        for directory, _names, files in os.walk(path, topdown=False):
            for file in files:
                os.unlink(os.path.join(directory, file))
        for directory, names, _files in os.walk(path, topdown=False):
            for inner in names:
                os.rmdir(os.path.join(directory, inner))


class TestReconstitute:
    def test_pulls_everything_that_belongs_here(self, cluster):
        filled(cluster)
        stop(cluster.processes[1])
        before = kept(cluster, 1)
        assert len(before) > 20
        wipe(cluster, 1)
        code, text = finish(cluster.spawn(1, "-B"))
        assert code == 0 and text.splitlines()[-1] == "Reconstitute Finished!"
        assert kept(cluster, 1) == before

    def test_goes_on_where_it_was_interrupted_and_takes_new_data_meanwhile(self, cluster):
        filled(cluster)
        stop(cluster.processes[1])
        before = kept(cluster, 1)
        wipe(cluster, 1)
        cluster.fault(1, "reconstitute-rate", 40)
        process = cluster.up(1, "-B")

        eventually(lambda: 20 < percent(cluster, "nnt") < 100)
        assert cluster.ask(1, "/reconstitute_state")[1]["in_progress"] is True
        assert cluster.ask(0, "/write/nnt", "POST", encoded(points(100, 20)))[0] == 200
        process.send_signal(signal.SIGKILL)
        process.wait(60)
        cluster.heal(1, "reconstitute-rate")
        code, text = finish(cluster.spawn(1, "-B"))
        assert code == 0 and text.splitlines()[-1] == reconstitute.DONE
        cluster.up(1)
        settle(cluster, [0, 1, 2])
        stop(cluster.processes[1])
        after = kept(cluster, 1)
        assert set(before) <= set(after) and len(after) > len(before)

    @pytest.mark.parametrize("kind", ["nntbs", "text", "hist"])
    def test_begins_again_when_data_was_removed_since(self, cluster, kind):
        filled(cluster, 40)
        stop(cluster.processes[1])
        before = kept(cluster, 1)
        wipe(cluster, 1)
        cluster.fault(1, "reconstitute-rate", 100)
        process = cluster.up(1, "-B")
        eventually(lambda: percent(cluster, "hist") > 10)
        stop(process)
        wipe(cluster, 1, [kind])
        cluster.heal(1, "reconstitute-rate")
        assert finish(cluster.spawn(1, "-B"))[0] == 0
        assert kept(cluster, 1) == before

    def test_waits_while_too_many_nodes_are_down(self, cluster):
        filled(cluster, 20)
        for number in (1, 2):
            stop(cluster.processes[number])
        before = kept(cluster, 1)
        wipe(cluster, 1)
        process = cluster.spawn(1, "-B")
        eventually(lambda: "1 nodes cannot be read, waiting" in cluster.log(1))
        assert process.poll() is None
        cluster.up(2)
        assert finish(process)[0] == 0
        assert kept(cluster, 1) == before

    def test_of_a_new_cluster_pulls_from_the_old_one(self, make):
        old = make(count=2, copies=2)
        for number in range(2):
            old.up(number)
        assert old.ask(0, "/write/nnt", "POST", encoded(points(0, 20)))[0] == 200
        settle(old, [0, 1])
        new = make(count=1, copies=1)
        new.port, new.text = old.port, new.text.replace("127.0.0.1", "127.0.0.9").replace(str(new.port), str(old.port))
        new.text = new.text.replace(IDS[0], IDS[4])
        new.digest = topology.parse(new.text).digest
        places = new.places
        new.places = lambda number: dict(places(number), host="127.0.0.9")
        new.prepare(4)
        source = "127.0.0.1:%d" % old.port
        code, text = finish(new.spawn(4, "-B", "-T", old.digest, "-O", source))
        assert (code, text.splitlines()[-1]) == (0, reconstitute.DONE)
        assert len(kept(new, 4)) == 20 * 3

    def test_refuses_a_topology_that_the_source_does_not_know(self, cluster):
        cluster.up(0)
        cluster.prepare(1)
        source = "127.0.0.1:%d" % cluster.port
        code, text = finish(cluster.spawn(1, "-B", "-T", "0" * 64, "-O", source))
        assert code == 1 and "does not know topology" in text

    def test_from_an_incompatible_release_does_not_start(self, cluster):
        filled(cluster, 5)
        stop(cluster.processes[1])
        cluster.fault(1, "release", "2022")
        cluster.spawn(1, "-B")
        eventually(lambda: "incompatible release" in cluster.log(1))

    def test_may_stay_when_it_has_finished(self, cluster):
        filled(cluster, 5)
        stop(cluster.processes[1])
        cluster.fault(1, "reconstitute-stays")
        process = cluster.up(1, "-B")
        eventually(lambda: percent(cluster, "nnt") == 100)
        assert process.poll() is None
        cluster.heal(1, "reconstitute-stays")
        assert finish(process)[0] == 0


class TestNames:
    @pytest.mark.parametrize("item", [("nnt", 60, CHECK, "a/b"), ("hist", 300, CHECK, "???"), ("text", 0, CHECK, "ü")])
    def test_of_a_rebuild_are_read_as_they_were_written(self, item):
        assert reconstitute.parse(reconstitute.name_of(*item)) == item

    def test_of_types_follow_both_generations(self):
        assert reconstitute.kinds(["nntbs", "hist", "raw"]) == {"nnt", "hist"}
        with pytest.raises(reconstitute.Failed, match="unknown type words"):
            reconstitute.kinds(["words"])


class TestRepair:
    @pytest.mark.parametrize("what", ["text/metrics", "text/changelog", "hist/metrics", "hist/60"])
    def test_makes_a_damaged_store_start_again(self, cluster, what):
        filled(cluster, 5)
        stop(cluster.processes[1])
        before = kept(cluster, 1)
        kind, name = what.split("/")
        path = cluster.path(1, "store", kind, IDS[1], name, "MANIFEST-000002")
        path.write_bytes(b"\0" * 10)
        code, _text = finish(cluster.spawn(1))
        assert code == 255 and "Corruption: checksum mismatch: %s" % path in cluster.log(1)
        assert finish(cluster.spawn(1, "-r", what))[0] == 0
        assert kept(cluster, 1) == before
        cluster.up(1)

    def test_of_a_running_node_or_an_unknown_store_is_refused(self, cluster):
        running = cluster.up(0)
        code, text = finish(cluster.spawn(0, "-r", "text/metrics"))
        assert code == 255 and "another snowthd works here" in text
        stop(running)
        code, text = finish(cluster.spawn(0, "-r", "text/words"))
        assert code == 1 and "unknown store text/words" in text
        assert set(store.targets()) == {
            "text/metrics", "text/changelog", "hist/metrics", "hist/60", "hist/300", "hist/10800",
        }  # fmt: skip
        assert level.CURRENT in os.listdir(cluster.path(0, "store", "text", IDS[0], "metrics"))


class TestControl:
    def test_says_whether_it_runs_and_stops_it(self, cluster):
        cluster.prepare(0)
        assert finish(cluster.spawn(0, "-k", "status"))[0] == 1
        running = cluster.up(0)
        assert finish(cluster.spawn(0, "-k", "status"))[0] == 0
        assert finish(cluster.spawn(0, "-k", "stop"))[0] == 0
        assert running.wait(60) == 0

    def test_refuses_options_that_do_not_fit(self, cluster):
        cluster.prepare(0)
        code, text = finish(cluster.spawn(0, "-B", "-T", "0" * 64))
        assert code == 2 and "-T and -O belong together" in text
        cluster.fault(0, "release", "2019")
        code, text = finish(cluster.spawn(0, "-B", "-S", IDS[1]))
        assert code == 2 and "-S is not in this release" in text


class TestOptions:
    @pytest.mark.parametrize(
        "flags, watched", [([], True), (["-D", "-D"], True), (["-D"], False), (["-D", "-d"], False), (["-B"], False)]
    )
    def test_say_whether_there_is_a_watchdog(self, flags, watched):
        assert options.Options(flags).watched is watched

    @pytest.mark.parametrize(
        "flags, reason",
        [(["-k", "dance"], "-k takes"), (["-S", "x"], "belong to -B"), (["-E"], "not in this"), (["x"], "unexpected")],
    )
    def test_refuse_what_is_unknown(self, flags, reason):
        with pytest.raises(options.Usage, match=reason):
            options.Options(flags)


class TestDrain:
    def test_delivers_the_journals_and_ends(self, cluster):
        cluster.up(0)
        assert cluster.ask(0, "/write/nnt", "POST", encoded(points(0, 30)))[0] == 200
        stop(cluster.processes[0])
        for number in (1, 2):
            cluster.up(number)
        assert finish(cluster.spawn(0, "-j"))[0] == 0
        for number in (1, 2):
            assert len(cluster.ask(number, "/list/metric")[1]) > 5


class TestConvert:
    def test_moves_numbers_from_one_place_to_the_other(self, make):
        cluster = make(release="2019", count=1, copies=1)
        cluster.up(0)
        cluster.ask(0, "/write/nnt", "POST", encoded(points(0, 5)))
        stop(cluster.processes[0])
        before = kept(cluster, 0)
        assert cluster.path(0, "store", "data", IDS[0], numeric.FILE).exists()
        assert finish(cluster.spawn(0, "-N"))[0] == 0
        assert kept(cluster, 0) == before
        assert cluster.path(0, "store", "nntbs", IDS[0], numeric.FILE).exists()
        cluster.fault(0, "release", "2022")
        code, text = finish(cluster.spawn(0, "-N"))
        assert code == 1 and "gone from this release" in text


class TestWatchdog:
    def test_starts_a_killed_child_again(self, cluster):
        cluster.up(0, "-D", "-D")
        eventually(lambda: "process starting" in cluster.log(0, "startuplog"))  # killed earlier, it is given up
        first = int(cluster.path(0, "store", "logs", "snowth.lock").read_text())
        os.kill(first, signal.SIGKILL)
        eventually(lambda: cluster.log(0).count("watchdog: child") >= 2 and cluster.answers(0))
        assert int(cluster.path(0, "store", "logs", "snowth.lock").read_text()) != first
