# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import json
import os
import sys

import pytest

from ansible_collections.circonus.inside.plugins.module_utils import irondb_cluster, irondb_rebuild, topology
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput, InsideError, Refused

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from storage_views import cluster, green
from test_irondb_identity import EXPECTED, GIVEN, IDS, wrong_targets

NODE = IDS[1]
DONE = "Reconstitute Finished!\n"


class Host:
    """A host with a node in directories, whose cluster, units and processes are the test's."""

    def __init__(self, path, monkeypatch):
        self.path, self.root = path, path / "snowth"
        self.topology, self.processes = GIVEN, {"running": [], "daemons": []}
        self.unit = {"exists": True, "active": "active", "enabled": "enabled"}
        self.started, self.silent = [], False
        for store in ("data", "text", "hist"):
            (self.root / store / NODE).mkdir(parents=True)
            (self.root / store / NODE / "file").write_text(store)
        (self.root / "logs").mkdir()
        (self.root / "logs" / "snowth.lock").write_text("1")
        etc = path / "etc"
        (etc / "snowth-topo").mkdir(parents=True)
        digest = topology.digest(GIVEN)
        (etc / "snowth-topo" / digest).write_text(topology.write_xml(GIVEN))
        (etc / "topology.conf").write_text('<topology path="x" active="%s" next="" redo="y"/>' % digest)
        machines = {"db%d" % at: {"node_id": node.id, "ip_address": node.address}
                    for at, node in enumerate(GIVEN.nodes, 1)}
        self.site = path / "site.json"
        self.site.write_text(json.dumps({"machinfo": machines}))
        self.killswitch = path / "chef" / "killswitch"
        monkeypatch.setattr(irondb_rebuild.irondb_stores, "is_zfs", lambda path: False)
        monkeypatch.setattr(irondb_rebuild.irondb_cluster, "of_params", lambda params: self)
        monkeypatch.setattr(irondb_rebuild.address, "addresses", lambda: [{"address": EXPECTED["address"]}])
        monkeypatch.setattr(irondb_rebuild.unit_state, "show_units", lambda names: dict.fromkeys(names, self.unit))
        monkeypatch.setattr(irondb_rebuild.reconstitute, "processes", lambda: self.processes)
        monkeypatch.setattr(irondb_rebuild.reconstitute, "start", lambda argv, log: self.started.append((argv, log)))

    def view(self):
        """As the reader of a cluster has it."""
        if self.silent:
            raise irondb_cluster.NobodyAnswers([{"text": "silence."}])
        return green(GIVEN)

    def params(self, step, **more):
        return dict({
            "step": step, "mode": "reconstitute", "source": None, "extra": [], "destroy": "", "stamp": "",
            "units": ["circonus-snowth"], "root": str(self.root), "etc_dir": str(self.path / "etc"),
            "site_path": str(self.site), "state_dir": str(self.path / "state"), "killswitch_path": str(self.killswitch),
            "measure_s": 10.0, "hosts": [], "port": 8112, "names": {}, "digest": None, "page_timeout": 1.0,
        }, **dict(EXPECTED, **more))

    def do(self, step, **more):
        if step == "look":
            return irondb_rebuild.look(self.params(step, **more))
        return irondb_rebuild.STEPS[step](self.params(step, **more))

    def tree(self):
        """Every file below the host's directory with its content."""
        found = {}
        for directory, _names, files in os.walk(str(self.path)):
            found[directory] = None
            for name in files:
                with open(os.path.join(directory, name)) as handle:
                    found[os.path.join(directory, name)] = handle.read()
        return found

    def finish_it(self):
        """The reconstitute that was started says that it is done."""
        with open(self.started[-1][1], "w") as log:
            log.write(DONE)

    def record(self):
        return irondb_rebuild.records(str(self.path / "state"))[-1]


@pytest.fixture
def host(tmp_path, monkeypatch):
    return Host(tmp_path, monkeypatch)


class TestLook:
    def test_reads_all_and_changes_nothing(self, host):
        before = host.tree()
        found = host.do("look")
        assert found["problems"] == [] and host.tree() == before
        assert [item["store"] for item in found["stores"]] == ["data", "text", "hist"]
        assert found["choice"]["action"] == "aside" and found["record"] is None and found["unit"] == "circonus-snowth"
        assert json.loads(json.dumps(found))["topology"] == topology.write_xml(GIVEN)

    def test_a_silent_cluster_is_a_problem(self, host):
        host.silent = True
        assert any("that the cluster serves, found none" in text for text in host.do("look")["problems"])

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"machinfo": 3}', '{"machinfo": {}}'])
    def test_a_site_json_that_says_nothing_is_a_problem(self, host, text):
        host.site.write_text(text)
        assert "site.json" in host.do("look")["problems"][0]

    def test_a_topology_that_does_not_match_its_name_is_a_problem(self, host):
        path = host.path / "etc" / "snowth-topo" / topology.digest(GIVEN)
        path.write_text(topology.write_xml(cluster(3)))
        assert "has the digest" in " ".join(host.do("look")["problems"])


class TestSteps:
    def test_from_the_first_to_the_last(self, host):
        changed, record = host.do("open")
        assert changed and record["phase"] == "opened" and record["enabled"] and host.killswitch.exists()
        changed, record = host.do("clear")
        assert changed and record["phase"] == "cleared"
        aside = irondb_rebuild.set_aside(record)
        assert [item["store"] for item in aside] == ["data", "text", "hist"]
        assert all(os.listdir(item["aside"]) == ["file"] for item in aside)
        assert os.listdir(str(host.root / "data" / NODE)) == []
        changed, record = host.do("start")
        assert changed and host.started[0][0][-3:] == ["-i", NODE, "-B"] and len(record["starts"]) == 1
        assert not (host.root / "logs" / "snowth.lock").exists()
        host.finish_it()
        assert host.do("finish")[1]["phase"] == "rebuilt" and host.killswitch.exists()
        changed, record = host.do("close")
        assert changed and record["phase"] == "done" and not host.killswitch.exists()
        assert host.do("look")["record"] is None and all(os.path.isdir(item["aside"]) for item in aside)

    def test_each_of_them_twice_is_as_once(self, host):
        host.do("open")
        assert host.do("open")[0] is False
        host.do("clear")
        (host.root / "data" / NODE / "new").write_text("new")
        assert host.do("clear")[0] is False and host.do("open")[0] is False
        host.do("start")
        host.processes = {"running": [{"pid": 9, "node": NODE}], "daemons": []}
        assert host.do("start")[0] is False and len(host.started) == 1
        host.processes = {"running": [], "daemons": []}
        host.finish_it()
        assert host.do("start")[0] is False and len(host.started) == 1
        host.do("finish")
        assert host.do("finish")[0] is False and host.do("start")[0] is False and host.do("clear")[0] is False
        assert (host.root / "data" / NODE / "new").exists() and len(host.do("look")["records"]) == 1

    def test_an_interrupted_reconstitute_is_started_again_into_the_same_stores(self, host):
        for step in ("open", "clear", "start"):
            host.do(step)
        (host.root / "data" / NODE / "half").write_text("half")
        for step in ("open", "clear", "start"):
            host.do(step)
        assert len(host.started) == 2 and host.started[0] == host.started[1]
        assert (host.root / "data" / NODE / "half").exists()

    @pytest.mark.parametrize("cut", range(1, 7))
    def test_killed_while_the_stores_are_moved_it_goes_on(self, host, monkeypatch, cut):
        host.do("open")
        carry_out, seen = irondb_rebuild.irondb_stores.carry_out, []

        def killed(*args):
            if len(seen) == cut:
                raise KeyboardInterrupt
            seen.append(args[0])
            carry_out(*args)

        monkeypatch.setattr(irondb_rebuild.irondb_stores, "carry_out", killed)
        if cut < 6:
            with pytest.raises(KeyboardInterrupt):
                host.do("clear")
            assert host.record()["phase"] == "clearing"
        monkeypatch.setattr(irondb_rebuild.irondb_stores, "carry_out", carry_out)
        assert host.do("open")[0] is False
        record = host.do("clear")[1]
        assert [os.listdir(item["aside"]) for item in irondb_rebuild.set_aside(record)] == [["file"]] * 3
        assert all(os.listdir(str(host.root / store / NODE)) == [] for store in ("data", "text", "hist"))

    def test_a_killswitch_of_somebody_else_stays(self, host):
        host.killswitch.parent.mkdir()
        host.killswitch.write_text("mine")
        for step in ("open", "clear", "start"):
            host.do(step)
        host.finish_it()
        for step in ("finish", "close"):
            host.do(step)
        assert host.killswitch.read_text() == "mine"

    def test_a_rebuild_that_somebody_started_is_taken_over(self, host):
        host.processes = {"running": [{"pid": 9, "node": NODE}], "daemons": []}
        record = host.do("open")[1]
        assert record["phase"] == "cleared" and record["adopted"] and host.do("clear")[0] is False
        assert host.do("start")[0] is False and host.started == []
        assert (host.root / "data" / NODE / "file").exists()

    def test_another_cluster_s_data_is_added_and_nothing_set_aside(self, host):
        source = {"digest": "d" * 64, "address": "192.0.2.99:8112"}
        for step in ("open", "clear", "start"):
            record = host.do(step, mode="new_cluster", source=source)[1]
        assert irondb_rebuild.set_aside(record) == [] and host.started[0][0][-4:] == [
            "-T", "d" * 64, "-O", "192.0.2.99:8112"]
        assert (host.root / "data" / NODE / "file").exists()
        with pytest.raises(Refused) as caught:
            host.do("open")
        assert "mode new_cluster" in str(caught.value)


class TestRefusals:
    def test_nothing_is_set_aside_under_a_daemon(self, host):
        host.do("open")
        host.processes = {"running": [], "daemons": [77]}
        before = host.tree()
        with pytest.raises(Refused) as caught:
            host.do("clear")
        assert "process 77" in str(caught.value) and host.tree() == before
        host.processes = {"running": [], "daemons": []}
        host.do("clear")
        host.processes = {"running": [], "daemons": [77]}
        with pytest.raises(Refused):
            host.do("start")
        assert host.started == []

    def test_a_rebuild_of_another_node_on_this_host(self, host):
        for step in ("open", "clear"):
            host.do(step)
        host.processes = {"running": [{"pid": 9, "node": IDS[0]}], "daemons": []}
        with pytest.raises(Refused) as caught:
            host.do("start")
        assert IDS[0] in str(caught.value) and host.started == []

    @pytest.mark.parametrize("destroy", ["", IDS[0], "yes"])
    def test_without_room_and_without_the_node_id_nothing_is_destroyed(self, host, monkeypatch, destroy):
        monkeypatch.setattr(irondb_rebuild.irondb_stores, "MARGIN", 1e15)
        host.do("open")
        before = host.tree()
        with pytest.raises(Refused) as caught:
            host.do("clear", destroy=destroy)
        assert "data_storage_rebuild_destroy=" + NODE in str(caught.value) and host.tree() == before

    def test_without_room_and_with_the_node_id_they_are_destroyed_once(self, host, monkeypatch):
        monkeypatch.setattr(irondb_rebuild.irondb_stores, "MARGIN", 1e15)
        host.do("open")
        record = host.do("clear", destroy=NODE)[1]
        assert irondb_rebuild.set_aside(record) == [] and os.listdir(str(host.root / "data" / NODE)) == []
        assert not (host.root / "aside").exists()
        (host.root / "data" / NODE / "new").write_text("new")
        host.do("clear", destroy=NODE)
        assert (host.root / "data" / NODE / "new").exists()

    def test_the_id_alone_destroys_nothing_where_there_is_room(self, host):
        host.do("open")
        assert len(irondb_rebuild.set_aside(host.do("clear", destroy=NODE)[1])) == 3

    def test_a_step_without_the_ones_before(self, host):
        for step in ("clear", "start", "finish", "close"):
            with pytest.raises(Refused):
                host.do(step)
        host.do("open")
        for step in ("start", "close"):
            with pytest.raises(Refused):
                host.do(step)
        with pytest.raises(InsideError):
            host.do("finish")
        assert host.started == []

    def test_a_record_that_cannot_be_read(self, host):
        (host.path / "state").mkdir()
        for text in ("", "{", "[]", '{"stamp": "x"}'):
            (host.path / "state" / "20260101T000000Z.json").write_text(text)
            with pytest.raises(BadInput):
                host.do("look")


class TestWrongTargets:
    """Whatever says that this is another node: the steps that change something do not."""

    def test_a_hundred_attempts_destroy_nothing(self, host, monkeypatch):
        attempts = 0
        for number, (what, expected, found) in enumerate(wrong_targets(100)):
            state = host.path / "state"
            monkeypatch.setattr(irondb_rebuild, "evidence", lambda *args, found=found: found)
            # Half of them when a rebuild was begun rightly and the world changed before the stores are touched.
            step = "open" if number % 2 else "clear"
            if step == "clear":
                irondb_rebuild.write(str(state), {
                    "stamp": "20260101T000000Z", "node_id": expected["node_id"], "phase": "opened", "mode":
                    "reconstitute", "source": None, "stores": [], "starts": [], "killswitch": False, "log": ""})
            before = host.tree()
            with pytest.raises(Refused) as caught:
                host.do(step, destroy=expected["node_id"], **expected)
            assert "Nothing was destroyed." in str(caught.value), what
            assert host.tree() == before and host.started == [], what
            attempts += 1
            for path in state.glob("*.json") if state.exists() else ():
                path.unlink()
        assert attempts == 100

    def test_files_of_another_host(self, host):
        """The same with real files: site.json and disk of db3 under the name of db2."""
        machines = json.loads(host.site.read_text())["machinfo"]
        machines["db2"], machines["db3"] = machines["db3"], machines["db2"]
        host.site.write_text(json.dumps({"machinfo": machines}))
        with pytest.raises(Refused) as caught:
            host.do("open")
        assert "stale" in str(caught.value)
        # The inventory has the swap too.
        with pytest.raises(Refused) as caught:
            host.do("open", node_id=IDS[2], address="192.0.2.33")
        assert "holds the data of %s" % NODE in str(caught.value)
        for store in ("data", "text", "hist"):
            (host.root / store / NODE).rename(host.root / store / IDS[2])
        with pytest.raises(Refused) as caught:
            host.do("open", node_id=IDS[2], address="192.0.2.33")
        assert "The machine that was reached as db2" in str(caught.value)


class TestRemove:
    @pytest.fixture
    def done(self, host):
        for step in ("open", "clear", "start"):
            host.do(step)
        host.finish_it()
        for step in ("finish", "close"):
            host.do(step)
        return host

    def test_what_was_set_aside_and_nothing_else(self, done):
        (done.root / "data" / NODE / "new").write_text("new")
        stamp = done.record()["stamp"]
        assert done.do("remove", stamp=stamp)[0] and not (done.root / "aside").exists()
        assert (done.root / "data" / NODE / "new").exists()
        assert done.do("remove", stamp=stamp)[0] is False

    @pytest.mark.parametrize("more", [{"stamp": ""}, {"stamp": "20200101T000000Z"}, {"node_id": IDS[0]}])
    def test_another_rebuild_or_another_node_removes_nothing(self, done, more):
        before = done.tree()
        with pytest.raises(Refused):
            done.do("remove", **dict({"stamp": done.record()["stamp"]}, **more))
        assert done.tree() == before

    def test_something_else_at_its_place_stays(self, done):
        record = done.record()
        aside = irondb_rebuild.set_aside(record)[0]["aside"]
        os.rename(aside, aside + ".away")
        os.mkdir(aside)
        with pytest.raises(Refused) as caught:
            done.do("remove", stamp=record["stamp"])
        assert aside in str(caught.value) and os.path.isdir(aside)

    def test_an_unfinished_one_keeps_everything(self, host):
        host.do("open")
        record = host.do("clear")[1]
        with pytest.raises(Refused) as caught:
            host.do("remove", stamp=record["stamp"])
        assert "one that is not finished" in str(caught.value)
