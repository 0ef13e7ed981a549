# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Rebuild, condense and repair aimed at a wrong node, in more than a hundred ways: each refuses and touches nothing.

Every attempt goes the way of the playbook: the questions, what the host of db2 answers from real directories and from a
pool in memory, the verdict. Where the host alone can tell, its own steps are called too, as if nobody had asked first.
Afterwards every file and every data set is as it was, byte for byte.
"""
from __future__ import annotations

import copy
import json
import os
import sys

import pytest

from ansible_collections.circonus.inside.plugins.module_utils import (
    condense_run,
    irondb_damage,
    irondb_probe,
    irondb_rebuild,
    irondb_repair,
    topology,
)
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError
from ansible_collections.circonus.inside.plugins.plugin_utils import (
    failover,
    storage_condense,
    storage_rebuild,
    storage_repair,
)

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "module_utils"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fake_zfs import D, Pool
from storage_views import cluster, green, silent
from test_condense_run import host_of
from test_irondb_rebuild import Host
from test_storage_condense import PARAMS as CONDENSE
from test_storage_repair import PARAMS as REPAIR

UNITS = ["circonus-snowth"]
SERVICE = {"name": "data_storage", "units": [{"id": "snowth", "candidates": UNITS}]}
NOW = 1700000000.0
EAST = cluster(4)
WEST = topology.make([node._replace(id=node.id.replace("a", "d", 1), address=node.address.replace("192.0.2", "192.0.3"))
                      for node in EAST.nodes])
IDS, HOSTS, ME = [node.id for node in EAST.nodes], ["db1", "db2", "db3", "db4"], 1
STAMP = "20260101T000000Z"


class World:
    """The site east, the host of db2 with its files, and what the cluster says: all is in order for all three."""

    def __init__(self, path, monkeypatch):
        self.path = path / "host"
        self.path.mkdir()
        self.host, self.pool, self.elsewhere = Host(self.path, monkeypatch), Pool(), path
        self.machines = {host: {"node_id": node.id, "ip_address": node.address}
                         for host, node in zip(HOSTS, EAST.nodes, strict=True)}
        self.view, self.served, self.params, self.source = green(EAST), EAST, {}, None
        self.addresses, self.processes, self.unit = [EAST.nodes[ME].address], [], {"exists": True, "active": "failed"}
        store = self.host.root / "text" / IDS[ME] / "metrics"
        store.mkdir()
        (store / "MANIFEST-000001").write_text("a store")
        self.complain("[text/metrics] Corruption: bad block")
        monkeypatch.setattr(irondb_rebuild.address, "addresses", lambda: [{"address": one} for one in self.addresses])
        self.host.view = lambda: self.view
        monkeypatch.setattr(irondb_damage, "running", lambda *_more: self.processes)
        monkeypatch.setattr(irondb_damage, "serving", lambda *_more: (False, "refused"))
        monkeypatch.setattr(irondb_damage.unit_state, "show_units", lambda names: dict.fromkeys(
            names, dict(self.unit, enabled="enabled")))

    # -- what a test changes --------------------------------------------------------------------------------------
    def complain(self, line):
        (self.host.root / "logs" / "errorlog").write_text("[2026-11-26 10:00:00.000000] %s\n" % line)

    def install(self, machines):
        """Another site.json on the host."""
        self.host.site.write_text(json.dumps({"machinfo": machines}))

    def serve(self, given):
        """The cluster has another topology."""
        self.served = self.host.topology = given
        self.view = green(given)

    def move(self, store, identity):
        """The data of a store are those of another node."""
        (self.host.root / store / IDS[ME]).rename(self.host.root / store / identity)

    # -- the way of the playbooks ---------------------------------------------------------------------------------
    def situation(self):
        sites = {"east": {"hosts": list(self.machines), "active": True, "raw": {
            "svclist": {"data_storage": {"_machlist": list(self.machines)}}, "machinfo": self.machines}}}
        return failover.Situation(copy.deepcopy(sites), {}, {})

    def probes(self):
        found = {host: {"reachable": True, "node_ids": [identity], "unit": UNITS[0], "active": "active",
                        "view": None, "topology": "", "problem": ""} for host, identity in zip(HOSTS, IDS, strict=True)}
        found["db2"]["node_ids"] = irondb_probe.node_ids(str(self.host.root / "data"))
        found["db1"].update(view=self.view, topology=topology.write_xml(self.served))
        return found

    def rebuild(self):
        params = dict({"data_storage_rebuild_node": "db2", "data_storage_rebuild_mode": "reconstitute",
                       "circonus_confirm": "db2", "circonus_lock_break": None}, **self.params)
        situation = self.situation()
        asked = storage_rebuild.questions(situation.sites, params, UNITS)
        look = None
        for question in asked.values():
            look = dict(irondb_rebuild.look(self.host.params(**question["look"])), reachable=True)
        return storage_rebuild.verdict(situation, {"look": look, "source": self.source}, params,
                                       {"controller": "me"}, UNITS)

    def condense(self):
        params = dict(CONDENSE, data_storage_condense_limit=["db2"], **self.params)
        fresh = {"reachable": True, "platform": "el7", "problem": "", "in_progress": False, "left_open": False,
                 "node_ids": None, "next": "snapshot", "age_s": 1e7, "facts": None}
        looks = dict({host: dict(fresh) for host in HOSTS}, db2=dict(condense_run.look(self.zfs()), reachable=True))
        return storage_condense.verdict(self.situation(), self.probes(), looks, params, {"controller": "me"}, NOW, NOW)

    def zfs(self):
        return host_of(self.pool, str(self.path / "condense"))

    def damage(self, **more):
        return dict({"node": self.machines["db2"]["node_id"], "units": UNITS, "root": str(self.host.root), "port": 8112,
                     "page_timeout": 1.0, "insist": []}, **more)

    def repair(self):
        params = dict(REPAIR, **dict({"circonus_confirm": "db2", "data_storage_repair_limit": ["db2"]}, **self.params))
        situation = self.situation()
        asked = storage_repair.questions(situation.sites, UNITS)
        looks = {host: {"reachable": True} for host in HOSTS}
        if asked.get("db2", {}).get("damage"):
            looks["db2"].update(irondb_damage.collect(dict(self.damage(), **asked["db2"]["damage"])))
        return storage_repair.verdict(situation, self.probes(), looks, params, {"controller": "me"}, UNITS, NOW)

    # -- the host alone, as if nobody had asked -------------------------------------------------------------------
    def by_itself(self, procedure):
        """Every change that the host could make, whoever asks for it: each refuses."""
        if procedure == "condense":
            with pytest.raises(InsideError):
                self.zfs().begin("run")
            return
        if procedure == "repair":
            program = self.elsewhere / "snowthd"
            program.write_text("#!/bin/sh\nrm -rf %s\n" % self.host.root)
            program.chmod(0o755)
            with pytest.raises(InsideError):
                irondb_repair.carry_out(self.damage(
                    service=SERVICE, targets=self.params.get("data_storage_repair_targets") or ["text/metrics"],
                    program=str(program), conf="/dev/null", timeout=1, start_timeout=1,
                    state_dir=str(self.elsewhere / "turn")))
            return
        machine = self.machines["db2"]
        steps = ("open", "clear", "start", "finish", "close", "remove")
        if self.params.get("data_storage_rebuild_mode") == "remove":
            steps = ("remove",)
        for step in steps:
            with pytest.raises(InsideError):
                self.host.do(step, node_id=machine.get("node_id") or "", address=machine["ip_address"],
                             stamp=STAMP, destroy=machine.get("node_id") or "")

    def everything(self):
        """All files with their content, all data sets, and what was done."""
        return self.host.tree(), copy.deepcopy(self.pool.sets), list(self.pool.commands), list(self.host.started)


# -- the attempts ----------------------------------------------------------------------------------------------------

#: (procedures, name, what is wrong, whether the host refuses by itself as well)
ATTEMPTS = []
ALL = ("rebuild", "condense", "repair")


def attempt(name, change, procedures=ALL, alone=()):
    """alone: procedures whose host refuses without the plan."""
    ATTEMPTS.extend((procedure, name, change, procedure in alone) for procedure in procedures)


def inventory(**hosts):
    return lambda world: [world.machines[host].update(change) for host, change in hosts.items()]


def given(**params):
    return lambda world: world.params.update(params)


def both(*changes):
    return lambda world: [change(world) for change in changes]


def disk(store, identity, beside=False):
    def change(world):
        if beside:
            (world.host.root / store / identity).mkdir()
            (world.host.root / store / identity / "file").write_text("of another")
        else:
            world.move(store, identity)
    return change


def answers(identity):
    return lambda world: world.view["answers"][IDS[ME]].update(problem="", state={
        "identity": identity, "current": world.view["digest"], "next": None})


def of_another(at):
    """One other node of the same cluster takes the place of db2, in one source or in several."""
    other, host, node = IDS[at], HOSTS[at], EAST.nodes[at]
    swapped = inventory(db2={"node_id": other}, **{host: {"node_id": IDS[ME]}})
    attempt("ids of db2 and %s swapped" % host, swapped, alone=("rebuild", "repair"))
    attempt("addresses of db2 and %s swapped" % host, inventory(
        db2={"ip_address": node.address}, **{host: {"ip_address": EAST.nodes[ME].address}}), alone=("rebuild",))
    attempt("db2 and %s swapped as a whole" % host, inventory(
        db2={"node_id": other, "ip_address": node.address},
        **{host: {"node_id": IDS[ME], "ip_address": EAST.nodes[ME].address}}), alone=("rebuild", "repair"))
    attempt("the id of %s twice" % host, inventory(db2={"node_id": other}), alone=("rebuild", "repair"))
    attempt("the data of %s" % host, disk("data", other), alone=("rebuild",))
    attempt("the data of %s beside" % host, disk("data", other, True), alone=("rebuild",))
    attempt("%s answers as db2" % host, answers(other), alone=("rebuild",))
    # What a rebuild looks at besides.
    attempt("ids swapped, installed as well, %s" % host, both(swapped, lambda world: world.install(world.machines)),
            ("rebuild",), ("rebuild",))
    attempt("ids swapped, the disk as well, %s" % host, both(
        swapped, *(disk(store, other) for store in ("data", "text", "hist"))), ALL, ("rebuild",))
    attempt("the name leads to the machine of %s" % host, lambda world: world.addresses.__setitem__(0, node.address),
            ("rebuild",), ("rebuild",))
    attempt("another machine with the data of %s" % host, both(
        lambda world: world.addresses.__setitem__(0, node.address), *(
            disk(store, other) for store in ("data", "text", "hist"))), ("rebuild",), ("rebuild",))
    for store in ("text", "hist"):
        attempt("%s of %s" % (store, host), disk(store, other), ("rebuild",), ("rebuild",))
        attempt("%s of %s beside" % (store, host), disk(store, other, True), ("rebuild",), ("rebuild",))
    for key, value in (("node_id", other), ("ip_address", node.address)):
        attempt("a stale site.json on the host, %s of %s" % (key, host), lambda world, key=key, value=value:
                world.install(dict(world.machines, db2=dict(world.machines["db2"], **{key: value}))),
                ("rebuild",), ("rebuild",))
    attempt("what %s set aside is to be removed" % host, both(
        given(data_storage_rebuild_mode="remove", data_storage_rebuild_stamp=STAMP), lambda world: record(
            world, node_id=other, phase="done")), ("rebuild",), ("rebuild",))
    attempt("the rebuild of %s is not finished here" % host, lambda world: record(world, node_id=other, phase="opened"),
            ("rebuild",), ("rebuild",))
    attempt("to destroy the stores of %s" % host, given(data_storage_rebuild_destroy=other), ("rebuild",))
    attempt("a condense that was begun on %s" % host, lambda world: begun(world, other), ("condense",))


def record(world, **more):
    """The record of a rebuild on this host."""
    irondb_rebuild.write(str(world.path / "state"), dict({
        "stamp": STAMP, "mode": "reconstitute", "source": None, "starts": [], "killswitch": False, "log": "",
        "closed": NOW, "stores": [{"store": "data", "action": "aside", "mark": "1", "aside": "/snowth/aside/x",
                                   "used": 1, "kind": "directory"}]}, **more))


def begun(world, identity):
    """A condense was begun here while the disk held another node's data; now it is not mounted."""
    world.pool.sets[D].update(mounted=False, read_only=True)
    for name in os.listdir(str(world.host.root / "data")):
        (world.host.root / "data" / name).rename(world.path / name)
    condense_run.write_json(world.zfs().paths[condense_run.RECORD], {
        "dataset": D, "began": 1.0, "run_id": "r", "node_ids": [identity], "estimate": None, "finished": False})


for position in (0, 2, 3):
    of_another(position)

for number, stranger in enumerate(node.id for node in WEST.nodes):
    attempt("the id of node %d of the other site" % (number + 1), inventory(db2={"node_id": stranger}),
            alone=("rebuild", "repair"))
    attempt("the data of node %d of the other site" % (number + 1), disk("data", stranger), alone=("rebuild",))

for name, wrong in (("in capitals", IDS[ME].upper()), ("cut", IDS[ME][:-1]), ("missing", None), ("the host", "db2"),
                    ("nil", "00000000-0000-0000-0000-000000000000")):
    attempt("the id is " + name, inventory(db2={"node_id": wrong}), alone=("rebuild",))

for name, topo in (
        ("of the other site", WEST), ("without db2", topology.make([EAST.nodes[0], EAST.nodes[2], EAST.nodes[3]])),
        ("with a node that site.json lacks", cluster(5)),
        ("with another address of db2", topology.make([
            node._replace(address="192.0.2.99") if node.id == IDS[ME] else node for node in EAST.nodes]))):
    attempt("the cluster has the topology " + name, lambda world, topo=topo: world.serve(topo), alone=("rebuild",))

attempt("site.json lacks a node", lambda world: world.machines.pop("db4"))
attempt("nothing is mounted", lambda world: (world.host.root / "data").rename(world.path / "data"),
        ("condense", "repair"))

# A topology on the host that is not that of the cluster.
for name, topo in (("of the other site", WEST), ("in another order", topology.make(list(EAST.nodes)[::-1])),
                   ("with other weights", topology.make([node._replace(weight=21) for node in EAST.nodes]))):
    def installed(world, topo=topo):
        etc, digest = world.path / "etc", topology.digest(topo)
        (etc / "snowth-topo" / digest).write_text(topology.write_xml(topo))
        (etc / "topology.conf").write_text('<topology path="x" active="%s" next="" redo="y"/>' % digest)
    attempt("a topology on the host " + name, installed, ("rebuild",), ("rebuild",))
attempt("no site.json on the host", lambda world: world.host.site.unlink(), ("rebuild",), ("rebuild",))
attempt("db9 has the same id on the host", lambda world: world.install(dict(
    world.machines, db9={"node_id": IDS[ME], "ip_address": "192.0.2.39"})), ("rebuild",), ("rebuild",))
attempt("gossip knows a node that the topology does not", lambda world: [
    rows.update({WEST.nodes[0].id: dict(rows[IDS[0]])}) for rows in world.view["gossip"].values()], ("rebuild",),
    ("rebuild",))
attempt("gossip has not heard of it", lambda world: [
    rows[IDS[ME]].update(heard=False) for rows in world.view["gossip"].values()], ("rebuild",), ("rebuild",))
attempt("to remove a rebuild that never was", given(
    data_storage_rebuild_mode="remove", data_storage_rebuild_stamp=STAMP), ("rebuild",), ("rebuild",))


def source(identity, digest):
    def change(world):
        world.params.update(data_storage_rebuild_mode="new_cluster", data_storage_rebuild_source="192.0.3.31")
        world.source = {"topology": {"digest": digest, "write_copies": 2}, "nodes": [
            {"id": identity, "name": "old1", "problem": ""}]}
    return change


attempt("its own cluster as the other one", source(WEST.nodes[0].id, topology.digest(EAST)), ("rebuild",))
attempt("another cluster that has the same node", source(IDS[ME], topology.digest(WEST)), ("rebuild",))
attempt("another cluster that is not told", given(data_storage_rebuild_mode="new_cluster"), ("rebuild",))

# Names that are almost right.
for name in ("db", "db22", "db2 ", "DB2", "db-2", "east-db2", "db2.example.com", IDS[ME]):
    attempt("the node %r" % name, given(data_storage_rebuild_node=name, circonus_confirm=name), ("rebuild",))
    attempt("the host %r" % name, given(data_storage_repair_limit=[name]), ("repair",))
for name in ("db1", "db2 db1", "DB2", "east", "data_storage", "yes", "", None, IDS[ME]):
    attempt("%r is typed" % name, given(circonus_confirm=name), ("rebuild", "repair"))
for name in ("data-storage", "storage", "db2", "yes", "", None, "data_storage,web_db"):
    attempt("%r is typed" % name, given(circonus_confirm=name), ("condense",))

# What is no target of a repair, or not of this one.
for target in ("raw", "text", "nntbs", "data", "hist/0", "hist/-1", "hist/60s", "text/metrics/..", "hist/60/../..",
               "/snowth", "text/changelog", "hist/metrics", "hist/60"):
    attempt("to repair " + target, given(data_storage_repair_targets=[target]), ("repair",), ("repair",))
for store in ("raw_db", "nntbs", "surrogate_db", "metric_name_db"):
    attempt("damage of " + store, lambda world, store=store: world.complain(
        "/snowth/%s/%s/1: Corruption: bad" % (store, IDS[ME])), ("repair",), ("repair",))
for kind, command in (("rebuild", "snowthd -B"), ("convert", "snowthd -N"), ("drain", "snowthd -j"),
                      ("daemon", "snowthd -D")):
    process = {"pid": 7, "kind": kind, "target": "", "command": command, "unit": "", "started": NOW}
    attempt("while there is " + command, lambda world, process=process: world.processes.append(process), ("repair",),
            ("repair",))

# Data sets that are not what a condense may destroy.
for name, change in (
    ("a child", lambda pool: pool.sets.update({D + "/child": pool.fresh("/snowth/data/child", "of somebody")})),
    ("a foreign snapshot", lambda pool: pool.snapshot(D + "@backup")),
    ("a snapshot condense of somebody", lambda pool: pool.snapshot(D + "@condense")),
    ("a copy of somebody", lambda pool: pool.sets.update({D + "-new": pool.fresh("/snowth/data-new", "other")})),
    ("another place", lambda pool: pool.sets[D].update(mountpoint="/snowth/data2")),
    ("no data set", lambda pool: pool.sets.pop(D)),
    ("no pool below it", lambda pool: pool.sets.clear()),
    ("only a copy that is not proven", lambda pool: pool.sets.update({
        D + "-new": dict(pool.sets.pop(D), mountpoint="/snowth/data-new", mounted=False)})),
    ("a degraded pool", lambda pool: setattr(pool, "health", "DEGRADED")),
    ("a full pool", lambda pool: setattr(pool, "capacity", 46)),
):
    attempt("a data set with " + name, lambda world, change=change: [change(world.pool), world.pool.commands.clear()],
            ("condense",), ("condense",))


@pytest.fixture
def world(tmp_path, monkeypatch):
    return World(tmp_path, monkeypatch)


def prepare(world, procedure):
    if procedure == "repair":  # only a node that does not open is repaired without a stop
        silent(world.view, ME, "refused")


@pytest.mark.parametrize("procedure", ALL)
def test_the_right_target_would_be_taken(world, procedure):
    prepare(world, procedure)
    verdict = getattr(world, procedure)()
    assert verdict["result"] == "proceed", verdict["reason"]


def test_there_are_more_than_a_hundred_attempts_and_each_is_another_one():
    names = [(procedure, name) for procedure, name, _change, _alone in ATTEMPTS]
    assert len(names) == len(set(names)) and len({name for _procedure, name in names}) >= 100
    assert all(sum(1 for one, _name in names if one == procedure) >= 40 for procedure in ALL)


@pytest.mark.parametrize("procedure, name, change, alone", ATTEMPTS, ids=[
    "%s-%s" % (procedure, name) for procedure, name, _change, _alone in ATTEMPTS])
def test_a_wrong_target_is_refused_and_everything_is_as_it_was(world, procedure, name, change, alone):
    prepare(world, procedure)
    change(world)
    before = world.everything()
    verdict = getattr(world, procedure)()
    assert verdict["result"] == "refused", verdict
    assert verdict["reason"].endswith((".", ")")) and "\n" not in verdict["reason"]
    assert not verdict.get("waves") and not verdict.get("nodes") and "args" not in verdict
    assert world.everything() == before
    if alone:
        world.by_itself(procedure)
        assert world.everything() == before
