# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The web_db failover on real PostgreSQL clusters with real streaming replication, each on its own loopback address.

Needs server binaries (PostgreSQL 15 from the distribution; before 12: a directory in CIRCONUS_TEST_PG11, what the
lab's image was made from, or /usr/lib/postgresql/11) and, for root, the operating system user postgres. The only things
that are not real are the systemd unit (pg_ctl instead) and the client address (a set).
"""
from __future__ import absolute_import, division, print_function

import glob
import json
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import pytest
from ansible_collections.circonus.inside.plugins.module_utils import postgres as pg
from ansible_collections.circonus.inside.plugins.module_utils import (
    web_db, web_db_follow, web_db_guard, web_db_switchover)
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError, LockHeld, Refused, TimedOut
from ansible_collections.circonus.inside.plugins.module_utils.web_db_guard import Guard

CLIENTS = ("psql", "pg_basebackup")
SERVERS = {}
LAB_11 = os.path.join(os.path.dirname(os.path.abspath(__file__)), *[".."] * 4, ".cache/lab/image/postgresql-11/11/bin")
for _label, _choices in (("15", ["/usr/lib/postgresql/15/bin"]),
                         ("11", [os.environ.get("CIRCONUS_TEST_PG11", ""), LAB_11, "/usr/lib/postgresql/11/bin"])):
    for _choice in _choices:
        for _dir in (_choice, os.path.join(_choice, "bin")):
            if _choice and os.access(os.path.join(_dir, "postgres"), os.X_OK):
                SERVERS.setdefault(_label, _dir)

try:
    OS_USER = pwd.getpwnam("postgres").pw_name if os.geteuid() == 0 else None
    REASON = None if "15" in SERVERS else "no PostgreSQL 15 server binaries on this machine"
except KeyError:
    OS_USER, REASON = None, "root needs the operating system user postgres to run a server"
pytestmark = pytest.mark.skipif(REASON is not None, reason=REASON or "")
VERSIONS = [pytest.param(label, marks=pytest.mark.skipif(
    label not in SERVERS, reason="no PostgreSQL {0} server binaries; make lab-image brings 11".format(label)))
    for label in ("15", "11")]


def wait_for(condition, what, timeout=20.0):
    until = time.time() + timeout
    while True:
        found = condition()
        if found:
            return found
        assert time.time() < until, "not reached in time: " + what
        time.sleep(0.01)


class Address(object):
    """Stands for the address module, which needs a real interface."""

    def __init__(self):
        self.holders = []

    def of(self, name):
        outer = self

        class Mine(object):
            @staticmethod
            def present(address, interface=None, check_mode=False):
                changed = name not in outer.holders
                if changed and not check_mode:
                    outer.holders.append(name)
                return {"changed": changed}

            @staticmethod
            def absent(address, interface=None, check_mode=False):
                changed = name in outer.holders
                if changed and not check_mode:
                    outer.holders.remove(name)
                return {"changed": changed}
        return Mine


class Writer(threading.Thread):
    """A client that commits numbers, first on one server, then on the next one that accepts writes."""

    def __init__(self, lab, names):
        super(Writer, self).__init__()
        self.daemon, self.lab, self.names = True, lab, names
        self.acknowledged, self.halt = [], threading.Event()

    def run(self):
        number, session, turn = 0, None, 0
        while not self.halt.is_set():
            try:
                if session is None:
                    session = self.lab.sql(self.names[turn % len(self.names)])
                number += 1
                session.lines("INSERT INTO numbers VALUES ({0})".format(number), 5.0)
                self.acknowledged.append(number)
            except (InsideError, OSError):
                turn += 1
                if session is not None:
                    session.close()
                session = None
                time.sleep(0.002)
        if session is not None:
            session.close()


def free_port():
    """A port that nobody has on any address, below the range from which the kernel gives ports to clients."""
    for port in random.SystemRandom().sample(range(12000, 32000), 100):
        probe = socket.socket()
        try:
            probe.bind(("", port))
            return port
        except OSError:
            continue
        finally:
            probe.close()
    raise AssertionError("no free port")


class Lab(object):
    """Clusters of one database, each with its own directory, address and records."""

    def __init__(self, base, version, template, bindir, net):
        self.base, self.version, self.template, self.bindir, self.net = base, version, template, bindir, net
        self.nodes, self.addresses, self.address = {}, {}, Address()
        self.port = free_port()

    def directory(self, *parts):
        path = os.path.join(self.base, *parts)
        os.makedirs(path)
        if OS_USER:
            entry = pwd.getpwnam(OS_USER)
            os.chown(path, entry.pw_uid, entry.pw_gid)
        return path

    def node(self, name):
        if name not in self.nodes:
            self.directory(name)
            self.addresses[name] = "127.0.{0}.{1}".format(self.net, len(self.nodes) + 1)
            self.directory(name, "socket")
            data = os.path.join(self.base, name, self.version)
            options = "-c listen_addresses={0} -c port={1} -c unix_socket_directories={2}".format(
                self.addresses[name], self.port, os.path.join(self.base, name, "socket"))
            service = pg.PgCtlService(self.bindir, data, OS_USER, options)
            self.nodes[name] = pg.Node(
                self.bindir, data, user="postgres" if OS_USER else None, port=self.port,
                state_dir=os.path.join(self.base, name, "state"), guard_dir=os.path.join(self.base, name, "run"),
                service=service)
            os.makedirs(self.nodes[name].guard_dir)
            self.nodes[name].user = "postgres"
        return self.nodes[name]

    def primary(self, name):
        node = self.node(name)
        subprocess.check_call(["cp", "-a", self.template, node.data_dir])
        node.service.start()
        self.address.holders.append(name)
        session = self.sql(name)
        session.lines("CREATE TABLE numbers (n int)")
        session.close()
        return node

    def standby(self, name, upstream):
        node = self.node(name)
        self.follow(name, upstream)
        return node

    def follow(self, name, upstream, **more):
        request = {"run_id": "r1", "host": name, "upstream": self.addresses[upstream], "application_name": name,
                   "timeout": 30.0, "rebuild": "auto", "reserve_bytes": 1024, "backup_timeout": 60.0}
        check = more.pop("check_mode", False)
        request.update(more)
        return web_db_follow.Follow(self.node(name), request, check_mode=check).run()

    def request(self, candidate, primary, **more):
        request = {"run_id": "r1", "token": 1, "candidate": candidate, "candidate_address": self.addresses[candidate],
                   "primary": primary, "primary_address": self.addresses[primary], "max_lag_bytes": 10 ** 9,
                   "arm_timeout": 60.0, "timeout": 60.0, "client_address": "192.0.2.200/24", "require_guard": False}
        request.update(more)
        return request

    def candidate(self, candidate, primary, lock_check=None, check_mode=False, **more):
        request = dict(self.request(candidate, primary, **more), host=candidate)
        return web_db_switchover.Candidate(self.node(candidate), request, lock_check, self.address.of(candidate),
                                           check_mode)

    def old(self, candidate, primary, lock_check=None, check_mode=False, **more):
        request = dict(self.request(candidate, primary, **more), host=primary)
        return web_db_switchover.Primary(self.node(primary), request, lock_check, self.address.of(primary), check_mode)

    def switch(self, candidate, primary, **more):
        """Both sides at once, as the task does: (candidate's result, primary's result), an exception for a failure."""
        return together(self.candidate(candidate, primary, **more).run, self.old(candidate, primary, **more).run)

    def moved(self, candidate, primary):
        """A switchover that a test starts from; without this a slow machine would fail it somewhere else."""
        new, old = self.switch(candidate, primary)
        assert not isinstance(new, Exception) and new["promoted"], (new, old)

    def sql(self, name):
        return self.node(name).connect("test", 10.0)

    def facts(self, name):
        return web_db.collect({}, self.node(name))

    def primaries(self):
        return [name for name in sorted(self.nodes) if self.facts(name)["in_recovery"] is False]

    def numbers(self, name):
        session = self.sql(name)
        try:
            return sorted(row["n"] for row in session.rows("SELECT n FROM numbers"))
        finally:
            session.close()

    def insert(self, name, number):
        session = self.sql(name)
        session.lines("INSERT INTO numbers VALUES ({0})".format(number))
        session.close()

    def guard(self, name, others, **more):
        peers = [{"name": peer, "address": self.addresses[peer], "site": peer} for peer in others]
        config = {"site": name, "peers": peers,
                  "client_address": "192.0.2.200/24", "interval_s": 0.1, "connect_timeout_s": 1.0,
                  "isolated_wait_s": 0.5, "allow_isolated_start": False, "node": {}}
        config.update(more)
        guard = Guard(config, self.node(name).service, self.address.of(name))
        guard.node = self.node(name)
        return guard

    def end(self):
        for node in self.nodes.values():
            server = pg.postmaster(node.data_dir)
            if server:
                os.kill(server["pid"], signal.SIGCONT)
                os.kill(server["pid"], signal.SIGQUIT)
                wait_for(lambda pid=server["pid"]: not pg.process_alive(pid), "the server's end")
        shutil.rmtree(self.base)


class Both(threading.Thread):
    """One side in a thread, its result or its error kept."""

    def __init__(self, act):
        super(Both, self).__init__()
        self.daemon, self.act, self.result = True, act, None
        self.start()

    def run(self):
        try:
            self.result = self.act()
        except InsideError as exc:
            self.result = exc

    def done(self, timeout=300.0):
        self.join(timeout)
        assert not self.is_alive(), "one side does not end"
        return self.result


def together(*acts):
    return [side.done() for side in [Both(act) for act in acts]]


@pytest.fixture(scope="session")
def templates(tmp_path_factory):
    """An initialised cluster and a directory of programs for each version, made once."""
    made, base = {}, tempfile.mkdtemp(prefix="web_db_template_")
    os.chmod(base, 0o755)

    def make(version):
        if version in made:
            return made[version]
        bindir = os.path.join(base, "bin" + version)
        os.mkdir(bindir)
        for program in glob.glob(os.path.join(SERVERS[version], "*")):
            os.symlink(program, os.path.join(bindir, os.path.basename(program)))
        for program in CLIENTS:
            if not os.path.exists(os.path.join(bindir, program)):
                os.symlink(os.path.join(SERVERS["15"], program), os.path.join(bindir, program))
        data = os.path.join(base, "data" + version)
        os.mkdir(data, 0o700)
        if OS_USER:
            entry = pwd.getpwnam(OS_USER)
            os.chown(data, entry.pw_uid, entry.pw_gid)
        rc, out, err = pg.run([os.path.join(SERVERS[version], "initdb"), "-D", data, "-U", "postgres", "-A",
                               "trust", "-N"],
                              OS_USER)
        assert rc == 0, err
        with open(os.path.join(data, "postgresql.conf"), "a") as handle:
            handle.write("fsync = off\nmax_wal_senders = 10\nhot_standby = on\nwal_log_hints = on\nshared_buffers = "
                         "16MB\n"
                         "wal_retrieve_retry_interval = 5s\n" +
                         ("wal_level = replica\nwal_keep_segments = 20\n" if version == "11" else "wal_keep_size = "
                                                                                                  "256MB\n"))
        with open(os.path.join(data, "pg_hba.conf"), "w") as handle:
            handle.write("local all all trust\nhost all all 127.0.0.0/8 trust\nhost replication all 127.0.0.0/8 "
                         "trust\n")
        rc, out, err = pg.run(["bash", "-c", "echo 'CREATE ROLE replication REPLICATION LOGIN' | {0}/postgres "
                                             "--single -D {1} "
                               "postgres".format(SERVERS[version], data)], OS_USER)
        assert rc == 0, err
        made[version] = (data, bindir)
        return made[version]
    yield make
    shutil.rmtree(base)


_NET = [os.getpid() % 200 + 20]


def build(templates, version):
    base = tempfile.mkdtemp(prefix="web_db_lab_")
    os.chmod(base, 0o755)
    _NET[0] = _NET[0] % 230 + 1
    template, bindir = templates(version)
    return Lab(base, version, template, bindir, _NET[0])


@pytest.fixture(params=VERSIONS)
def lab(request, templates):
    made = build(templates, request.param)
    yield made
    made.end()


@pytest.fixture
def lab15(templates):
    made = build(templates, "15")
    yield made
    made.end()


@pytest.fixture
def pair(lab15):
    lab15.primary("a")
    lab15.standby("b", "a")
    return lab15


class TestPlannedSwitchover:
    def test_loses_nothing_under_a_writer_and_comes_back(self, lab):
        lab.primary("a")
        lab.standby("b", "a")
        lab.standby("c", "a")
        writer = Writer(lab, ["a", "b"])
        writer.start()
        wait_for(lambda: len(writer.acknowledged) > 50, "writes before")
        new, old = lab.switch("b", "a")
        assert not isinstance(new, Exception), new
        assert not isinstance(old, Exception), old
        before = len(writer.acknowledged)
        wait_for(lambda: len(writer.acknowledged) > before + 20, "writes after")
        print("gap", lab.version, new["write_gap_ms"], new["timings"], old["timings"])
        assert new["promoted"] and new["timeline"] == 2 and new["rpo_bytes"] == 0
        assert 0 < new["write_gap_ms"] < 60000 and new["write_gap_basis"] == "armed"
        assert old["state"] == "fenced" and old["clean"]
        assert old["shutdown_checkpoint_lsn"] == new["shutdown_checkpoint_lsn"]
        assert lab.address.holders == ["b"]
        assert lab.primaries() == ["b"]
        assert lab.facts("a")["fence"]["candidate"] == "b"
        # The old primary and the other standby follow without a base backup.
        assert lab.follow("a", "b")["method"] == "direct"
        assert lab.facts("a")["fence"] is None
        assert lab.follow("c", "b")["method"] == "direct"
        again = lab.follow("a", "b")
        assert again["method"] == "none" and not again["changed"]
        if lab.version == "11":
            data = lab.node("b").data_dir
            assert os.path.exists(os.path.join(data, "recovery.done"))
            assert not os.path.exists(os.path.join(data, "failover.now"))
        # And back.
        before = len(writer.acknowledged)
        new, old = lab.switch("a", "b", token=2, run_id="r2")
        assert not isinstance(new, Exception), new
        assert not isinstance(old, Exception), old
        print("gap back", lab.version, new["write_gap_ms"], new["timings"])
        wait_for(lambda: len(writer.acknowledged) > before + 20, "writes after the way back")
        writer.halt.set()
        writer.join(10)
        assert lab.follow("b", "a")["method"] == "direct"
        assert set(writer.acknowledged) - set(lab.numbers("a")) == set()
        wait_for(lambda: lab.numbers("b") == lab.numbers("a"), "the standby's copy")

    def test_second_run_changes_nothing(self, pair):
        pair.moved("b", "a")
        new, old = pair.switch("b", "a", token=2)
        assert (new["changed"], new["already"], old["changed"], old["state"]) == (False, True, False, "fenced")
        assert new["write_gap_ms"] is not None
        pair.follow("a", "b")
        new, old = pair.switch("b", "a", token=3)
        assert (new["changed"], old["changed"], old["state"]) == (False, False, "standby")

    def test_resumes_when_the_primary_was_fenced_and_nobody_promoted(self, pair):
        side = pair.candidate("b", "a")
        side.lock_check = second_time_refused()
        new, old = together(side.run, pair.old("b", "a").run)
        assert isinstance(new, LockHeld) and old["state"] == "fenced"
        assert pair.primaries() == []
        new, old = pair.switch("b", "a", token=2)
        assert new["promoted"] and new["write_gap_basis"] == "clocks"
        assert (old["changed"], old["state"], old["resumed"]) == (False, "fenced", True)

    def test_check_mode_changes_nothing(self, pair):
        before = pair.facts("a")["lsn"], pair.facts("b")["timeline"]
        new, old = pair.switch("b", "a", check_mode=True)
        assert new["changed"] and old["changed"]
        assert (pair.facts("a")["lsn"], pair.facts("b")["timeline"]) == before
        assert pair.primaries() == ["a"] and not os.path.exists(pair.node("a").state_dir)
        assert pair.address.holders == ["a"]


def second_time_refused():
    """A lock that is there when it is checked first and gone the second time."""
    calls = []

    def check():
        calls.append(1)
        if len(calls) == 2:
            raise LockHeld("the lock is gone")
    return check


class TestRefusals:
    def untouched(self, lab):
        assert lab.primaries() == ["a"]
        assert lab.facts("a")["fence"] is None
        assert lab.address.holders == ["a"]
        assert lab.facts("b")["timeline"] == 1

    def test_refuses_lag_above_the_limit(self, pair):
        pair.sql("b").lines("SELECT pg_wal_replay_pause()")
        session = pair.sql("a")
        session.lines("INSERT INTO numbers SELECT generate_series(1, 20000)")
        pair.sql("b").lines("SELECT pg_wal_replay_resume()")
        new, old = pair.switch("b", "a", max_lag_bytes=-1, arm_timeout=1.0)
        assert isinstance(new, Refused) and "behind a (limit -1 bytes)" in str(new)
        assert isinstance(old, Refused) and "behind a (limit -1 bytes)" in str(old)
        self.untouched(pair)

    def test_refuses_a_paused_standby(self, pair):
        pair.sql("b").lines("SELECT pg_wal_replay_pause()")
        new = Both(pair.candidate("b", "a").run).done()
        assert isinstance(new, Refused) and "paused" in str(new)
        self.untouched(pair)

    def test_refuses_a_detached_standby(self, pair):
        data = pair.node("b").data_dir
        path = os.path.join(data, "postgresql.auto.conf")
        with open(path, "a") as handle:
            handle.write("primary_conninfo = ''\n")
        pair.sql("b").lines("SELECT pg_reload_conf()")
        wait_for(lambda: not pair.facts("a")["replicas"], "detached")
        new, old = pair.switch("b", "a", arm_timeout=1.0)
        assert isinstance(new, Refused) and "its receiver is" in str(new)
        assert isinstance(old, Refused) and "no such replica" in str(old)
        self.untouched(pair)

    def test_refuses_a_candidate_that_is_a_primary_beside_another(self, pair):
        pair.sql("b").lines("SELECT pg_promote()")
        new, old = pair.switch("b", "a", arm_timeout=1.0)
        assert isinstance(new, Refused) and "Two primaries" in str(new)
        assert isinstance(old, Refused) and "Two timelines" in str(old)
        assert pair.primaries() == ["a", "b"] and pair.facts("a")["fence"] is None

    def test_refuses_a_standby_on_another_timeline(self, pair):
        pair.standby("c", "b")
        pair.sql("b").lines("SELECT pg_promote()")
        wait_for(lambda: pair.facts("c")["timeline"] == 2, "the new timeline")
        new = Both(pair.candidate("c", "a").run).done()
        assert isinstance(new, Refused) and "is on timeline 2, a is on timeline 1" in str(new)

    def test_refuses_a_fenced_candidate(self, pair):
        web_db.write_record(pair.node("b"), "fenced", {"run_id": "old"})
        new = Both(pair.candidate("b", "a").run).done()
        assert isinstance(new, Refused) and "still carries the fence of run old" in str(new)

    def test_refuses_a_primary_without_a_guard(self, pair):
        old = Both(pair.old("b", "a", require_guard=True).run).done()
        assert isinstance(old, Refused) and "web_db_guard.yml" in str(old)
        self.untouched(pair)

    def test_refuses_a_primary_that_was_stopped_without_a_fence(self, pair):
        pair.node("a").service.stop_begin()
        wait_for(lambda: pair.node("a").postmaster() is None, "stopped")
        new, old = pair.switch("b", "a", arm_timeout=1.0)
        assert isinstance(new, Refused) and isinstance(old, Refused) and "not fenced for b" in str(old)
        assert pair.facts("b")["in_recovery"]

    def test_primary_gives_up_when_nobody_arms(self, pair):
        old = Both(pair.old("b", "a", arm_timeout=1.0).run).done()
        assert isinstance(old, TimedOut) and "has not armed itself" in str(old)
        self.untouched(pair)

    def test_primary_does_not_fence_for_another_token(self, pair):
        new, old = together(pair.candidate("b", "a", token=7, arm_timeout=2.0).run,
                            pair.old("b", "a", token=8, arm_timeout=2.0).run)
        assert isinstance(new, TimedOut) and isinstance(old, TimedOut)
        self.untouched(pair)

    def test_lock_lost_between_arming_and_stopping_lifts_the_fence(self, pair):
        new, old = together(pair.candidate("b", "a", arm_timeout=10.0, timeout=2.0).run,
                            pair.old("b", "a", arm_timeout=10.0, lock_check=second_time_refused()).run)
        assert isinstance(old, LockHeld) and isinstance(new, TimedOut)
        self.untouched(pair)
        assert pair.facts("a")["last_fence_row"]["state"] == "cancelled"
        new, old = pair.switch("b", "a", token=2)
        assert new["promoted"]

    def test_an_unfenced_restart_of_the_primary_promotes_nobody(self, pair):
        side = Both(pair.candidate("b", "a", arm_timeout=6.0).run)
        wait_for(lambda: pair.facts("a")["armed"], "armed")
        node = pair.node("a")
        node.service.stop_begin()
        wait_for(lambda: node.postmaster() is None, "stopped")
        time_out = side.done()
        assert isinstance(time_out, TimedOut)
        assert time_out.details["missing"] == "no fence of the old primary has arrived"
        assert pair.facts("b")["in_recovery"]
        node.service.start()
        self.untouched(pair)

    def test_an_old_fence_does_not_count_for_a_later_stop(self, pair):
        session = pair.sql("a")
        web_db.create_fence_table(session)
        web_db.insert_fence(session, dict(pair.request("b", "a"), host="a"), "fenced")
        wait_for(lambda: pair.facts("b")["last_fence_row"], "the row")
        side = Both(pair.candidate("b", "a", token=2, arm_timeout=5.0).run)
        wait_for(lambda: pair.facts("a")["armed"], "armed")
        pair.node("a").service.stop_begin()
        failed = side.done()
        assert isinstance(failed, TimedOut) and failed.details["missing"] == "the last fence is older than this run"
        assert pair.facts("b")["in_recovery"]

    def test_two_candidates_only_the_named_one_promotes(self, pair):
        pair.standby("c", "a")
        new, other, old = together(pair.candidate("b", "a").run,
                                   pair.candidate("c", "a", timeout=3.0, arm_timeout=4.0).run,
                                   pair.old("b", "a").run)
        assert new["promoted"] and old["state"] == "fenced"
        assert isinstance(other, TimedOut) and "the last fence is for b" in str(other)
        assert pair.primaries() == ["b"]

    def test_a_silent_old_primary_is_no_proof(self, pair, monkeypatch):
        # A packet filter that drops cannot be had on every machine that runs these tests.
        monkeypatch.setattr(web_db_switchover.pg, "tcp_answer", lambda *unused: "silent")
        side = pair.candidate("b", "a", arm_timeout=10.0, timeout=2.0)
        new = Both(side.run)
        old = pair.old("b", "a", arm_timeout=10.0, timeout=4.0)
        result = Both(old.run).done()
        assert isinstance(result, InsideError)
        failed = new.done()
        assert isinstance(failed, TimedOut) and "only a refused connection proves" in str(failed)
        assert pair.facts("b")["in_recovery"]

    def test_a_killed_primary_is_not_a_clean_shutdown(self, pair):
        side = pair.candidate("b", "a", arm_timeout=5.0, timeout=3.0)
        new = Both(side.run)
        wait_for(lambda: pair.facts("a")["armed"], "armed")
        session = pair.sql("a")
        web_db.create_fence_table(session)
        web_db.insert_fence(session, dict(pair.request("b", "a"), host="a"), "fenced")
        wait_for(lambda: pair.facts("b")["last_fence_row"], "the row")
        pair.node("a").immediate_stop()
        failed = new.done()
        assert isinstance(failed, TimedOut) and "not the end of a shutdown checkpoint" in failed.details["missing"]
        assert pair.facts("b")["in_recovery"]


class TestAbort:
    def test_brings_back_a_primary_that_nobody_succeeded(self, pair):
        side = pair.candidate("b", "a")
        side.lock_check = second_time_refused()
        together(side.run, pair.old("b", "a").run)
        assert pair.primaries() == [] and pair.address.holders == []
        result = pair.old("b", "a").abort()
        assert result["state"] == "primary" and pair.primaries() == ["a"] and pair.address.holders == ["a"]
        assert pair.facts("a")["last_fence_row"]["state"] == "cancelled" and pair.facts("a")["fence"] is None
        assert pair.old("b", "a").abort()["changed"] is False

    def test_refuses_after_the_promotion(self, pair):
        pair.moved("b", "a")
        with pytest.raises(Refused, match="b has taken over"):
            pair.old("b", "a").abort()
        assert pair.primaries() == ["b"] and pair.facts("a")["fence"]


class TestUnplanned:
    def test_refuses_while_the_old_primary_answers(self, pair):
        new = Both(pair.candidate("b", "a", unplanned=True).run).done()
        assert isinstance(new, Refused) and "still answers" in str(new)
        assert pair.primaries() == ["a"]

    def test_promotes_after_a_kill_and_the_old_one_rejoins_aside(self, lab):
        lab.primary("a")
        lab.standby("b", "a")
        lab.insert("a", 1)
        wait_for(lambda: lab.numbers("b") == [1], "replicated")
        lab.node("a").immediate_stop()
        new = lab.candidate("b", "a", unplanned=True).run()
        assert new["promoted"] and new["rpo_bytes"] is None and new["possible_loss"]["known_bytes"] == 0
        lab.insert("b", 2)
        result = lab.follow("a", "b")
        assert result["method"] == "basebackup" and "not shut down cleanly" in result["reason"]
        assert os.path.exists(os.path.join(result["aside"], "PG_VERSION"))
        wait_for(lambda: lab.numbers("a") == [1, 2], "the copy")
        assert lab.facts("a")["asides"] == [{"path": result["aside"], "free_to_remove": False}]

    def test_fences_and_stops_a_reachable_primary_first(self, pair):
        old = pair.old("b", "a", unplanned=True).run()
        assert old["state"] == "fenced" and pair.facts("a")["fence"]["candidate"] == "b"
        assert pair.candidate("b", "a", unplanned=True).run()["promoted"]


class TestFollow:
    def diverge(self, lab):
        lab.insert("a", 1)
        wait_for(lambda: lab.numbers("b") == [1], "replicated")
        os.kill(pg.postmaster(lab.node("b").data_dir)["pid"], signal.SIGINT)
        wait_for(lambda: lab.node("b").postmaster() is None, "stopped")
        lab.insert("a", 2)
        lab.node("a").service.stop_begin()
        wait_for(lambda: lab.node("a").postmaster() is None, "stopped")
        lab.node("b").service.start()
        lab.candidate("b", "a", unplanned=True).run()

    def test_a_clean_primary_with_more_writes_is_set_aside(self, pair):
        self.diverge(pair)
        result = pair.follow("a", "b")
        assert result["method"] == "basebackup" and "lies beyond" in result["reason"]
        assert pair.numbers("a") == [1]
        # What it had alone can still be read from the directory that was set aside.
        rescue = pg.PgCtlService(pair.bindir, result["aside"], OS_USER, "-c listen_addresses='' -c port=5999 -c "
                                 "unix_socket_directories={0}".format(os.path.join(pair.base, "a", "socket")))
        rescue.start()
        session = pg.Psql(pair.bindir, {"host": os.path.join(pair.base, "a", "socket"), "port": 5999,
                                        "user": "postgres",
                                        "dbname": "postgres"}, OS_USER)
        assert [row["n"] for row in session.rows("SELECT n FROM numbers ORDER BY n")] == [1, 2]
        session.close()
        os.kill(pg.postmaster(result["aside"])["pid"], signal.SIGQUIT)

    def test_check_mode_only_says_what_it_would_do(self, pair):
        self.diverge(pair)
        before = sorted(os.listdir(os.path.dirname(pair.node("a").data_dir)))
        result = pair.follow("a", "b", check_mode=True)
        assert result["changed"] and result["method"] == "basebackup"
        assert sorted(os.listdir(os.path.dirname(pair.node("a").data_dir))) == before
        assert pair.node("a").postmaster() is None

    def test_refuses_without_space_and_says_the_numbers(self, pair):
        self.diverge(pair)
        with pytest.raises(Refused, match=r"needs \d+ bytes .* \d+ are free"):
            pair.follow("a", "b", reserve_bytes=1 << 60)
        assert os.path.isdir(pair.node("a").data_dir)

    def test_refuses_a_base_backup_that_is_not_allowed(self, pair):
        self.diverge(pair)
        with pytest.raises(Refused, match="needs a base backup"):
            pair.follow("a", "b", rebuild="never")

    def test_a_killed_base_backup_is_done_again(self, pair):
        self.diverge(pair)
        node = pair.node("a")
        build = node.data_dir + ".new-r0"
        os.mkdir(build)
        with open(os.path.join(build, "half"), "w") as handle:
            handle.write("x")
        web_db.write_record(node, "follow", {"data_dir": node.data_dir, "build": build, "finished": False})
        assert pair.follow("a", "b")["method"] == "basebackup"
        assert not os.path.exists(build)

    def test_does_not_remove_a_directory_that_is_not_its_own(self, pair):
        self.diverge(pair)
        other = pair.node("a").data_dir + ".new-r0"
        os.mkdir(other)
        pair.follow("a", "b")
        assert os.path.isdir(other)

    def test_goes_on_when_killed_between_the_two_renames(self, pair):
        self.diverge(pair)
        node = pair.node("a")
        real, calls = os.rename, []

        def killed(source, target):
            if target == node.data_dir:
                calls.append(1)
                raise SystemExit("killed")
            real(source, target)
        web_db_follow.os.rename = killed
        try:
            with pytest.raises(SystemExit):
                pair.follow("a", "b")
        finally:
            web_db_follow.os.rename = real
        assert calls and not os.path.exists(node.data_dir)
        result = pair.follow("a", "b")
        assert result["method"] == "direct" and ".aside-" in result["aside"]
        assert pair.numbers("a") == [1]

    def test_goes_on_when_killed_after_the_settings(self, pair):
        pair.moved("b", "a")
        node = pair.node("a")
        pg.write_standby_settings(node.data_dir, {"host": pair.addresses["b"], "port": pair.port, "user": "replication",
                                                  "application_name": "a"})
        assert pair.facts("a")["fence"] and pair.facts("a")["starts_as"] == "standby"
        assert pair.follow("a", "b")["method"] == "direct"
        assert pair.facts("a")["fence"] is None

    def test_refuses_to_stop_a_primary_that_is_right(self, pair):
        with pytest.raises(Refused, match="running primary"):
            pair.follow("a", "b")
        assert pair.primaries() == ["a"]

    def test_stops_a_primary_that_was_left_behind(self, pair):
        pair.sql("b").lines("SELECT pg_promote()")
        result = pair.follow("a", "b")
        assert result["method"] == "basebackup" and pair.primaries() == ["b"]

    def test_repoints_a_cascade(self, lab):
        lab.primary("a")
        lab.standby("b", "a")
        lab.standby("c", "b")
        result = lab.follow("c", "a")
        assert result["method"] == "direct" and result["aside"] is None
        assert sorted(row["application_name"] for row in lab.facts("a")["replicas"]) == ["b", "c"]

    def test_refuses_another_database(self, pair):
        pair.node("z")
        subprocess.check_call(["cp", "-a", pair.template, pair.node("z").data_dir])
        path = os.path.join(pair.node("z").data_dir, "global", "pg_control")
        with open(path, "r+b") as handle:
            handle.write(b"\x01\x02\x03\x04")
        with pytest.raises(Refused, match="system identifiers"):
            pair.follow("z", "a")

    def test_refuses_an_upstream_that_does_not_answer(self, pair):
        pair.node("a").immediate_stop()
        with pytest.raises(Refused, match="expected to answer a replication connection"):
            pair.follow("b", "a")

    def test_a_left_over_trigger_file_does_not_promote_it(self, lab):
        lab.primary("a")
        lab.standby("b", "a")
        lab.moved("b", "a")
        path = os.path.join(lab.node("a").data_dir, "failover.now")
        with open(path, "w"):
            pass
        lab.follow("a", "b")
        assert not os.path.exists(path) and lab.primaries() == ["b"]


class TestGuard:
    def test_a_standby_may_always_start(self, pair):
        pair.node("b").immediate_stop()
        pair.node("a").immediate_stop()
        assert pair.guard("b", ["a"]).check_start()[0] == "allow"

    def test_a_primary_may_start_beside_its_standby(self, pair):
        pair.node("a").immediate_stop()
        assert pair.guard("a", ["b"]).check_start()[0] == "allow"

    def test_a_fenced_primary_may_not_start(self, pair):
        pair.moved("b", "a")
        pair.node("b").immediate_stop()
        verdict, reason = pair.guard("a", ["b"]).check_start()
        assert verdict == "fenced" and "run r1" in reason

    def test_an_outrun_primary_may_not_start_and_is_fenced(self, pair):
        pair.node("a").immediate_stop()
        pair.candidate("b", "a", unplanned=True).run()
        verdict, reason = pair.guard("a", ["b"]).check_start()
        assert verdict == "rival" and reason == "b is on timeline 2, this host is on timeline 1"
        assert pair.facts("a")["fence"]["run_id"] == "guard"

    def test_an_isolated_primary_may_not_start_unless_told_so(self, pair):
        pair.node("a").immediate_stop()
        pair.node("b").immediate_stop()
        assert pair.guard("a", ["b"]).check_start()[0] == "isolated"
        assert pair.guard("a", ["b"], allow_isolated_start=True).check_start()[0] == "allow"
        os.makedirs(pair.node("a").state_dir)
        path = os.path.join(pair.node("a").state_dir, "web_db.start_alone")
        with open(path, "w"):
            pass
        assert pair.guard("a", ["b"]).check_start()[0] == "allow"
        assert not os.path.exists(path)
        assert pair.guard("a", ["b"]).check_start()[0] == "isolated"

    def test_an_old_permission_to_start_alone_is_void(self, pair):
        pair.node("a").immediate_stop()
        pair.node("b").immediate_stop()
        os.makedirs(pair.node("a").state_dir)
        path = os.path.join(pair.node("a").state_dir, "web_db.start_alone")
        with open(path, "w"):
            pass
        os.utime(path, (time.time() - 3600, time.time() - 3600))
        assert pair.guard("a", ["b"]).check_start()[0] == "isolated"

    def test_the_permission_does_not_help_against_a_newer_timeline(self, pair):
        pair.node("a").immediate_stop()
        pair.candidate("b", "a", unplanned=True).run()
        assert pair.guard("a", ["b"], allow_isolated_start=True).check_start()[0] == "rival"

    def test_replicas_of_the_own_site_do_not_prove_anything(self, pair):
        pair.standby("c", "a")
        pair.node("a").immediate_stop()
        pair.node("b").immediate_stop()
        peers = [{"name": "c", "address": pair.addresses["c"], "site": "a"},
                 {"name": "b", "address": pair.addresses["b"], "site": "b"}]
        verdict, reason = pair.guard("a", [], peers=peers).check_start()
        assert verdict == "isolated" and reason.startswith("none of b answers")

    def test_a_new_primary_is_not_stopped_by_its_own_standbys(self, pair):
        pair.standby("c", "b")
        guard = pair.guard("b", ["a", "c"])
        pair.moved("b", "a")
        wait_for(lambda: pair.facts("c")["timeline"] == 2, "the cascade's timeline")
        until = time.time() + 1.0
        while time.time() < until:
            assert guard.step() in ("watching", "isolated")
            time.sleep(0.02)
        guard.unwatch()
        assert pair.primaries() == ["b"]

    def test_stops_an_outrun_primary_after_a_pause_and_the_window_is_small(self, pair):
        """Server and guard are stopped and resumed together, as in a paused host; the guard is the real program."""
        node = pair.node("a")
        config = os.path.join(pair.base, "guard.json")
        with open(config, "w") as handle:
            json.dump({"site": "a", "peers": [{"name": "b", "address": pair.addresses["b"], "site": "b"}],
                       "interval_s": 0.5, "node": {
                           "bindir": pair.bindir, "data_dir": node.data_dir, "user": node.user, "port": pair.port,
                           "state_dir": node.state_dir, "guard_dir": node.guard_dir}}, handle)
        library = os.path.abspath(__file__).split(os.sep + "tests" + os.sep)[0] + "/.cache/collections"
        guard = subprocess.Popen(
            [sys.executable, "-c", "import sys; from ansible_collections.circonus.inside.plugins.module_utils."
             "web_db_guard import main; main(['guard', 'loop', sys.argv[1]])", config],
            env=dict(os.environ, PYTHONPATH=library))
        try:
            state = os.path.join(node.guard_dir, "web_db_guard.json")
            wait_for(lambda: '"state": "watching"' in (pg.read_text(state) or ""), "watching")
            session = pair.sql("a")
            server = pg.postmaster(node.data_dir)["pid"]
            group = [server] + [int(pid) for pid in subprocess.check_output(
                ["ps", "-o", "pid=", "--ppid", str(server)]).decode().split()] + [guard.pid]
            for pid in group:
                os.kill(pid, signal.SIGSTOP)
            pair.candidate("b", "a", unplanned=True).run()
            for pid in group:
                os.kill(pid, signal.SIGCONT)
            resumed = last = time.time()
            count = 0
            with pytest.raises(InsideError):
                while True:
                    session.lines("INSERT INTO numbers VALUES (99)", 5.0)
                    last, count = time.time(), count + 1
            window = last - resumed
            print("guard window {0:.0f} ms, {1} writes".format(window * 1000, count))
            assert window < 3.0
            wait_for(lambda: pair.facts("a")["guard"]["state"] == "demoted", "demoted")
        finally:
            guard.kill()
            guard.wait()
        assert pair.primaries() == ["b"]
        assert pair.facts("a")["fence"]["candidate"] == "b"

    def test_takes_the_client_address_off_when_it_stops_a_primary(self, pair):
        guard = pair.guard("a", ["b"])
        pair.sql("b").lines("SELECT pg_promote()")
        wait_for(lambda: guard.step() == "demoted", "demoted")
        assert pair.address.holders == [] and pair.primaries() == ["b"]

    def test_a_standby_is_never_stopped_and_remembers_the_primary(self, pair):
        guard = pair.guard("b", ["a"])
        wait_for(lambda: guard.step() == "standby" and guard.primary, "the primary's position")
        guard.unwatch()
        assert guard.primary["name"] == "a" and pair.facts("b")["in_recovery"]

    def test_a_standby_asks_its_primary_often_and_the_others_too_when_that_is_gone(self, pair, monkeypatch):
        monkeypatch.setattr(web_db_guard, "OTHERS_EVERY_S", 1000.0)
        pair.standby("c", "a")
        guard = pair.guard("c", ["a", "b"])

        def pace():
            guard.step()
            return {watch.peer["name"]: watch.interval for watch in guard.watches}

        often, seldom = web_db_guard.STANDBY_EVERY_S, web_db_guard.OTHERS_EVERY_S
        wait_for(lambda: guard.step() == "standby" and all(guard.peers().values()), "answers")
        assert pace() == {"a": often, "b": seldom}
        pair.moved("b", "a")
        # Nobody waits for the end of the long pause.
        wait_for(lambda: pace() == {"a": seldom, "b": often} and guard.primary["name"] == "b", "the new primary")
        guard.unwatch()

    def test_starts_again_what_it_refused_only_for_isolation(self, pair):
        guard = pair.guard("a", ["b"])
        guard.prepare()
        pair.node("a").immediate_stop()
        pair.node("b").immediate_stop()
        assert guard.check_start()[0] == "isolated"
        node = pair.node("a")
        node.service.state = lambda: "failed" if node.postmaster() is None else "active"
        guard.step()
        assert node.postmaster() is None
        pair.node("b").service.start()
        wait_for(lambda: guard.step() and node.postmaster() is not None, "started again")
        guard.unwatch()


class TestGuardProgram:
    def run(self, monkeypatch, found, config):
        monkeypatch.setattr(web_db_guard.pg, "find_data_dir", lambda *unused: found)
        return web_db_guard.main(["web_db_guard", "check-start", config])

    def test_without_a_configuration_a_primary_is_refused(self, pair, monkeypatch):
        assert self.run(monkeypatch, pair.node("a").data_dir, "/nonexistent") == 1

    def test_without_a_configuration_a_standby_may_start(self, pair, monkeypatch):
        assert self.run(monkeypatch, pair.node("b").data_dir, "/nonexistent") == 0

    def test_the_exit_code_says_whether_the_server_may_start(self, pair, tmp_path):
        pair.moved("b", "a")
        config = tmp_path / "guard.json"
        node = pair.node("a")
        config.write_text(json.dumps({"peers": [], "node": {
            "bindir": pair.bindir, "data_dir": node.data_dir, "state_dir": node.state_dir,
            "guard_dir": node.guard_dir}}))
        assert web_db_guard.main(["web_db_guard", "check-start", str(config)]) == 1
        web_db.remove_record(node, "fenced")
        assert web_db_guard.main(["web_db_guard", "check-start", str(config)]) == 0
        assert web_db_guard.main(["web_db_guard"]) == 2


class TestCollect:
    def test_describes_both_roles(self, lab):
        lab.primary("a")
        lab.standby("b", "a")
        first, second = lab.facts("a"), lab.facts("b")
        assert first["in_recovery"] is False and first["timeline"] == 1 and first["error"] is None
        assert [row["application_name"] for row in first["replicas"]] == ["b"]
        assert second["receiver"]["status"] == "streaming" and second["receiver"]["upstream"] == lab.addresses["a"]
        assert first["system_identifier"] == second["system_identifier"]
        assert first["size_bytes"] > 1000000 and first["free_bytes"] > 0
        session = lab.sql("a")
        row = session.row("SELECT checkpoint_lsn::text AS l, redo_lsn::text AS r, timeline_id AS t, "
                          "extract(epoch FROM checkpoint_time)::bigint AS c FROM pg_control_checkpoint()")
        control = lab.facts("a")["control"]
        assert (control["checkpoint_lsn"], control["redo_lsn"], control["timeline"], control["checkpoint_time"]) == (
            row["l"], row["r"], row["t"], row["c"])
        other = lab.sql("b").row("SELECT min_recovery_end_lsn::text AS l, min_recovery_end_timeline AS t "
                                 "FROM pg_control_recovery()")
        control = pg.read_control(lab.node("b").data_dir)
        assert (control["min_recovery_lsn"], control["min_recovery_timeline"]) == (other["l"], other["t"])

    def test_a_server_that_is_down_is_a_fact(self, pair):
        pair.node("a").service.stop_begin()
        wait_for(lambda: pair.node("a").postmaster() is None, "stopped")
        facts = pair.facts("a")
        assert (facts["running"], facts["answers"], facts["error"]) == (False, False, None)
        assert facts["control"]["state"] == "shut down" and facts["timeline"] == 1

    def test_lists_a_transaction_that_is_left_open(self, pair):
        session = pair.sql("a")
        session.lines("BEGIN")
        session.lines("SELECT 1")
        time.sleep(0.05)
        facts = web_db.collect({"long_transaction_s": 0.01}, pair.node("a"))
        assert [row["application_name"] for row in facts["long_transactions"]] == ["test"]
        assert pair.facts("a")["long_transactions"] == []
        session.close()

    def test_without_a_data_directory(self, tmp_path):
        node = pg.Node(data_dir=None, service=object())
        node.data_dir = None
        assert "no data directory" in web_db.collect({}, node)["error"]
