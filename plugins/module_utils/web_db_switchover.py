# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The primary of the configuration database changes: the candidate is armed and waits, the old primary fences itself.

Whatever happens to the controller in between, the candidate promotes only on proof, see :meth:`Candidate._missing`.
"""
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import errno
import os
import signal
import threading
import time

from ansible_collections.circonus.inside.plugins.module_utils import postgres as pg
from ansible_collections.circonus.inside.plugins.module_utils.errors import (
    CommandFailed, InsideError, Refused, TimedOut)
from ansible_collections.circonus.inside.plugins.module_utils.web_db import (
    ARMED, GUARD, GUARD_PROGRAM, STATEMENT_TIMEOUT, FENCE_COLUMNS, FENCE_TABLE, read_record, write_record,
    remove_record, OneAtATime, collect, create_fence_table, fence_table, insert_fence, candidate_problem,
    replica_problem, fence_problem, shutdown_problem, find_rival)


class Side(object):
    """One host's part in a switchover.

    request: ``run_id, token, host, candidate, candidate_address, primary, primary_address, max_lag_bytes,
    arm_timeout, timeout, unplanned, client_address, client_interface, require_guard``.
    lock_check: called without arguments right before what cannot be undone, raises LockHeld.
    address: the module ``address`` (present, absent), or None.
    """

    def __init__(self, node, request, lock_check=None, address=None, check_mode=False):
        self.node, self.request, self.check_mode = node, request, check_mode
        self.lock_check = lock_check or (lambda: None)
        self.address = address
        self.timings, self.started = {}, time.time()

    def mark(self, name):
        """Note how many seconds after the start something was done."""
        self.timings[name] = round(time.time() - self.started, 4)

    def identify(self, address, until=0.0):
        """:func:`postgres.identify` of another host; None when it does not answer, asked again up to a moment."""
        while True:
            try:
                session = self.node.connect_replication(address, "circonus-inside-check", timeout=3.0)
                try:
                    return pg.identify(session, 3.0)
                finally:
                    session.close()
            except InsideError:
                if time.time() >= until:
                    return None
                time.sleep(0.2)

    def move_address(self, wanted):
        """Add or remove the client address; None when there is none to move, else whether that changed anything."""
        wished = self.request.get("client_address")
        if not wished or self.address is None:
            return None
        act = self.address.present if wanted else self.address.absent
        interface = self.request.get("client_interface") if wanted else None
        outcome = act(wished, interface, check_mode=self.check_mode)
        return outcome["changed"] if isinstance(outcome, dict) else bool(outcome)

    def turn(self):
        """Wait for an orphaned run on this host, but no longer than it can last."""
        return OneAtATime(self.node, self.request["arm_timeout"] + 2 * self.request["timeout"])


class Candidate(Side):
    """The standby that becomes the primary."""

    POLL_IDLE, POLL_FENCED = 0.01, 0.002

    def run(self):
        """Do this side's part; returns the module's result. Raises InsideError."""
        if self.check_mode:
            return self._run()
        with self.turn():
            return self._run()

    def _run(self):
        self.node.require_data_dir()
        facts = collect({}, self.node)
        if not facts["answers"]:
            raise Refused("web_db on {0} is expected to run and answer, found: {1}. Start it first.".format(
                self.request["candidate"], facts["error"] or "it is stopped"))
        if not facts["in_recovery"]:
            return self._already_primary(facts)
        if self.request.get("unplanned"):
            return self._unplanned(facts)
        resumed = (facts["last_fence_row"] is not None
                   and fence_problem(self.request, facts["last_fence_row"], None) is None
                   and (facts["receiver"] or {}).get("status") != "streaming")
        if not resumed:
            upstream = self.identify(self.request["primary_address"], time.time() + self.request["arm_timeout"] / 4.0)
            if upstream is None:
                raise Refused("The old primary {0} ({1}) is expected to answer a replication connection, it does not. "
                              "Mend it, or choose the unplanned mode.".format(
                                  self.request["primary"], self.request["primary_address"]))
            problem = candidate_problem(self.request, facts, upstream)
            if problem:
                raise Refused(problem)
        if self.check_mode:
            return {"changed": True, "promoted": False, "msg": "would arm and promote when the old primary is fenced"}
        return self._armed(facts, resumed)

    def _already_primary(self, facts):
        other = self.identify(self.request["primary_address"])
        if other and other["read_write"] and other["system_identifier"] == facts["system_identifier"]:
            raise Refused("Two primaries: {0} on timeline {1} and {2} on timeline {3}. Decide which one holds the "
                          "wanted "
                          "data and stop the other; nothing is done here.".format(
                              self.request["candidate"], facts["timeline"], self.request["primary"],
                              other["timeline"]))
        record = facts["promotion"] or {}
        changed = self.move_address(True)
        result = dict(record.get("result") or {}, changed=bool(changed), promoted=False, already=True,
                      timeline=facts["timeline"], address_added=changed,
                      msg="{0} is the primary already".format(self.request["candidate"]))
        return result

    def _arm(self):
        """The connection the old primary looks for; only that it is there counts.

        The old primary may act on it the moment it appears, and end it: that is no failure, the fence row decides.
        """
        session = self.node.connect_replication(
            self.request["primary_address"], ARMED + str(self.request["token"]), timeout=3.0)
        try:
            pg.identify(session, 3.0)
        except InsideError:
            session.close()
        return session

    def _restartpoint_first(self, session, since, until):
        """Flush now what the restartpoint inside the gap would have to flush; the primary checkpoints meanwhile."""
        while time.time() < until:
            session.lines("CHECKPOINT", 600.0)
            if pg.lsn(pg.read_control(self.node.data_dir)["checkpoint_lsn"]) >= since:
                return
            time.sleep(0.05)

    def _armed(self, facts, resumed):
        request = self.request
        session = self.node.connect("circonus-inside-candidate")
        armed = None
        baseline = None
        try:
            if not resumed:
                baseline = facts["last_fence_row"]["id"] if facts["last_fence_row"] else 0
                since = pg.lsn(facts["lsn"]["replay"])
                self._restartpoint_first(session, since, time.time() + min(10.0, request["arm_timeout"] / 3.0))
                self.lock_check()
                armed = self._arm()
                self.mark("armed")
            proof = self._wait(session, armed, baseline)
            return self._promote(session, facts, proof)
        finally:
            if armed is not None:
                armed.close()
            session.close()

    def _wait(self, session, armed, baseline):
        """Wait for the four proofs. Returns them; raises TimedOut with the one that was missing."""
        name = pg.names(session.row("SELECT current_setting('server_version_num')::int AS n")["n"])
        until = time.time() + self.request["arm_timeout" if armed else "timeout"]
        state = {"table": False, "offset": None, "stamp": None, "since": None, "checkpointed": None, "grace": False}
        query = (
            "SELECT (SELECT row_to_json(f) FROM (SELECT {0} FROM {1} ORDER BY id DESC LIMIT 1) f) AS fence, "
            "(SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming') AS streaming, "
            "{replay}::text AS replay, extract(epoch FROM pg_last_xact_replay_timestamp())::float8 AS stamp, "
            "extract(epoch FROM clock_timestamp())::float8 AS clock").format(FENCE_COLUMNS, FENCE_TABLE, **name)
        while True:
            if not state["table"]:
                state["table"] = fence_table(session)
            missing = "no fence of the old primary has arrived"
            if state["table"]:
                seen = session.row(query)
                self._learn_offset(state, seen)
                missing = self._missing(session, seen, baseline, state)
                if missing is None:
                    return dict(seen, offset=state["offset"])
                if state["since"] is not None and not state["grace"]:
                    # The fence is here: from now on only the old primary's stop is waited for.
                    until, state["grace"] = max(until, time.time() + self.request["timeout"]), True
            if time.time() >= until:
                if armed is not None and state["since"] is None:
                    # Disarm first, then look once more: the primary may have fenced itself for us just now.
                    armed.close()
                    until, armed = time.time() + 2.0, None
                    continue
                raise TimedOut("{0} was not promoted: {1}. Nothing was changed on it. If the old primary {2} is "
                               "fenced, "
                               "run the same command again, or undo its fence with role abort.".format(
                                   self.request["candidate"], missing, self.request["primary"]), missing=missing)
            time.sleep(self.POLL_IDLE if state["since"] is None else self.POLL_FENCED)

    @staticmethod
    def _learn_offset(state, seen):
        if seen["stamp"] is not None and seen["stamp"] != state["stamp"]:
            first, state["stamp"] = state["stamp"] is None, seen["stamp"]
            if first:
                # Nobody knows for how long that commit has been here.
                return
            offset = seen["clock"] - seen["stamp"]
            if state["offset"] is None or offset < state["offset"]:
                state["offset"] = offset

    def _missing(self, session, seen, baseline, state):
        """The first proof that is still missing, None when all four are there."""
        problem = fence_problem(self.request, seen["fence"], baseline)
        if problem:
            state["since"] = None
            return problem
        if state["since"] is None:
            state["since"] = time.time()
            self.mark("fence_replayed")
        if seen["streaming"]:
            return "the old primary {0} still sends WAL".format(self.request["primary"])
        if state["checkpointed"] != seen["replay"]:
            self.timings.setdefault("receiver_gone", round(time.time() - self.started, 4))
            session.lines("CHECKPOINT", 600.0)
            state["checkpointed"] = seen["replay"]
            self.mark("restartpoint")
        control = pg.read_control(self.node.data_dir)
        # Replay may have gone on while the restartpoint was made: the position that counts is the one before it,
        # and it has to be the same one afterwards.
        again = session.row("SELECT {replay}::text AS replay".format(**pg.names(
            100000 if pg.major_version(self.node.data_dir)[1] >= 10 else 90600)))["replay"]
        if again != seen["replay"]:
            state["checkpointed"] = None
            return "replay still moves"
        problem = shutdown_problem(seen["fence"], control, again)
        if problem:
            return problem
        answer = pg.tcp_answer(self.request["primary_address"], self.node.port, 1.0)
        if answer != "refused":
            return "port {0} of the old primary {1} is {2}, only a refused connection proves that it is down".format(
                self.node.port, self.request["primary"], answer)
        seen["checkpoint"] = control["checkpoint_lsn"]
        return None

    def _unplanned(self, facts):
        """Promote without the old primary's help; the caller has established that this is wanted."""
        other = self.identify(self.request["primary_address"])
        if other and other["read_write"] is not False and other["system_identifier"] == facts["system_identifier"]:
            raise Refused("The old primary {0} still answers as a primary. Fence it first (role primary), or use the "
                          "planned mode.".format(self.request["primary"]))
        if facts["fence"]:
            raise Refused("web_db on {0} still carries the fence of run {1}. Choose another candidate or run "
                          "web_db_rejoin.yml.".format(self.request["candidate"],
                                                      facts["fence"].get("run_id", "?")))
        if self.check_mode:
            return {"changed": True, "promoted": False, "msg": "would promote without proof of a clean shutdown",
                    "possible_loss": facts["possible_loss"]}
        session = self.node.connect("circonus-inside-candidate")
        try:
            name = pg.names(facts["server_version_num"])
            until = time.time() + self.request["timeout"]
            while True:
                seen = session.row("SELECT {receive}::text AS receive, {replay}::text AS replay, {paused} AS paused, "
                                   "extract(epoch FROM pg_last_xact_replay_timestamp())::float8 AS stamp, "
                                   "extract(epoch FROM clock_timestamp())::float8 AS clock".format(**name))
                if seen["paused"]:
                    raise Refused("Replay is paused on {0}. Resume it with SELECT "
                                  "pg_wal_replay_resume().".format(self.request["candidate"]))
                if seen["receive"] is None or pg.lsn(seen["replay"]) >= pg.lsn(seen["receive"]):
                    break
                if time.time() >= until:
                    raise TimedOut("{0} has replayed {1} of the received {2} within {3:g} s. Wait, then run this "
                                   "again.".format(self.request["candidate"], seen["replay"], seen["receive"],
                                                   self.request["timeout"]))
                time.sleep(0.02)
            return self._promote(session, facts, dict(seen, offset=None, checkpoint=None, fence=None))
        finally:
            session.close()

    def _promote(self, session, facts, proof):
        """Promote, take the client address, probe until a write commits."""
        self.lock_check()
        record = {key: self.request[key] for key in ("run_id", "token", "candidate", "primary")}
        record.update(at=time.time(), timeline_before=facts["timeline"], unplanned=bool(self.request.get("unplanned")))
        write_record(self.node, "promotion", record)
        self.mark("proven")
        trigger = None
        version = facts["server_version_num"]
        if version >= 120000:
            session.lines("SELECT pg_promote(false)")
        else:
            trigger = pg.standby_settings(self.node.data_dir)["trigger_file"]
            path = trigger or os.path.join(self.node.data_dir, "promote")
            with open(path, "w"):
                pass
            if os.geteuid() == 0:
                owner = os.stat(self.node.data_dir)
                os.chown(path, owner.st_uid, owner.st_gid)
            if trigger:
                # The startup process looks for the file when it wakes up; a reload wakes it.
                session.lines("SELECT pg_reload_conf()")
            else:
                os.kill(self.node.postmaster()["pid"], signal.SIGUSR1)
        self.mark("promote_asked")
        # Old clients write to the address; it is ours from here on, and it is there before the first write succeeds.
        added, address_error = None, None
        try:
            added = self.move_address(True)
        except InsideError as exc:
            # The database comes first; the address is asked for again at the end and by the next run.
            address_error = exc
        self.mark("address")
        until = time.time() + self.request["timeout"]
        reloaded = time.time()
        while session.row("SELECT pg_is_in_recovery() AS r")["r"]:
            if time.time() >= until:
                raise TimedOut("{0} was told to promote and is still in recovery after {1:g} s. Look into its log; run "
                               "the same command again.".format(self.request["candidate"], self.request["timeout"]))
            if time.time() - reloaded > 0.05:
                # The startup process can miss the order while its receiver tries to reconnect, and then sleeps for
                # wal_retrieve_retry_interval (5 s). A reload wakes it, in every version.
                session.lines("SELECT pg_reload_conf()")
                reloaded = time.time()
            time.sleep(0.002)
        self.mark("promoted")
        first_write = self._probe(session, until)
        self.mark("first_write")
        name = pg.names(version)
        row = session.row("SELECT {file}({current}) AS file".format(**name))
        timeline = int(row["file"][:8], 16)
        gap = None
        if proof.get("stamp") is not None:
            gap = round(max(0.0, first_write - (proof["stamp"] + (proof["offset"] or 0.0))) * 1000.0, 1)
        basis = "armed" if proof.get("offset") is not None and not self.request.get("unplanned") else "clocks"
        create_fence_table(session)
        if self.request.get("unplanned"):
            insert_fence(session, self.request, "promoted_unplanned")
        if trigger:
            self._after_trigger(trigger, until)
        result = {"changed": True, "promoted": True, "already": False, "timeline": timeline,
                  "promote_lsn": proof["replay"], "shutdown_checkpoint_lsn": proof["checkpoint"],
                  "write_gap_ms": gap, "write_gap_basis": basis, "rpo_bytes": 0, "address_added": added,
                  "timings": self.timings,
                  "msg": "{0} is the primary on timeline {1}".format(self.request["candidate"], timeline)}
        if self.request.get("unplanned"):
            result.update(rpo_bytes=None, possible_loss=facts["possible_loss"])
        write_record(self.node, "promotion", dict(record, result={
            key: result[key] for key in ("write_gap_ms", "write_gap_basis", "rpo_bytes", "promote_lsn",
                                         "shutdown_checkpoint_lsn")}))
        if address_error is not None:
            try:
                result["address_added"] = self.move_address(True)
            except InsideError as exc:
                raise InsideError("{0} is the primary, but the client address is not on it: {1}".format(
                    self.request["candidate"], exc), promoted=True)
        return result

    def _after_trigger(self, trigger, until):
        done = os.path.join(self.node.data_dir, "recovery.done")
        while not os.path.exists(done) and time.time() < until:
            time.sleep(0.01)
        pg.remove_file(trigger)
        if not os.path.exists(done):
            raise TimedOut("{0} promoted, but recovery.conf has not become recovery.done. Look into {1} before the "
                           "next "
                           "restart.".format(self.request["candidate"], self.node.data_dir))

    def _probe(self, session, until):
        """Epoch seconds of this host's clock when the first write was acknowledged."""
        while True:
            try:
                session.lines("SELECT pg_logical_emit_message(true, 'circonus.inside', 'probe')", 5.0)
                return time.time()
            except pg.SqlFailed:
                if time.time() >= until:
                    raise
                time.sleep(0.005)


class Heartbeat(threading.Thread):
    """Commits something every few milliseconds, so that the standby knows when the last commit was possible."""

    def __init__(self, node, interval=0.004):
        super(Heartbeat, self).__init__()
        self.daemon, self.interval = True, interval
        self.halt, self.last, self.count = threading.Event(), None, 0
        self.session = node.connect("circonus-inside-probe")

    def run(self):
        """Commit until told to stop, or until the server stops."""
        try:
            while not self.halt.wait(self.interval):
                self.session.lines("SELECT pg_logical_emit_message(true, 'circonus.inside', 'probe')", 5.0)
                self.last, self.count = time.time(), self.count + 1
        except InsideError:
            return
        finally:
            self.session.close()


class Primary(Side):
    """The primary that gives its role away."""

    def run(self):
        """Do this side's part; returns the module's result. Raises InsideError."""
        if self.check_mode:
            return self._run()
        with self.turn():
            return self._run()

    def _result(self, state, changed, **more):
        facts = {"changed": changed, "state": state, "timings": self.timings}
        facts.update(more)
        facts.setdefault("msg", "{0} is {1}".format(self.request["primary"], state))
        return facts

    def _marker(self, reason):
        record = {key: self.request[key] for key in ("run_id", "token", "candidate", "primary")}
        record.update(reason=reason, at=time.time())
        return record

    def _run(self):
        self.node.require_data_dir()
        facts = collect({}, self.node)
        if not facts["running"]:
            return self._down(facts)
        if not facts["answers"]:
            raise Refused("web_db on {0} runs but does not answer: {1}. Look at it before a failover.".format(
                self.request["primary"], facts["error"]))
        if facts["in_recovery"]:
            return self._result("standby", bool(self.move_address(False)))
        return self._fence(facts)

    def _down(self, facts):
        """The server is down: a resumed run, or somebody else's stop."""
        marker, control = facts["fence"], facts["control"]
        if facts["starts_as"] == "standby":
            return self._result("standby", bool(self.move_address(False)))
        other = self.identify(self.request["candidate_address"])
        taken = (other is not None and other["system_identifier"] == facts["system_identifier"]
                 and other["timeline"] > (facts["timeline"] or 0))
        clean = control is not None and control["state"] == pg.SHUT_DOWN
        ours = marker is not None and marker.get("candidate") == self.request["candidate"]
        if not (taken or self.request.get("unplanned")):
            if not ours:
                raise Refused(
                    "web_db on {0} is stopped, but not fenced for {1} (fence: {2}). Start it for a planned "
                    "switchover, or "
                    "choose the unplanned mode.".format(
                        self.request["primary"], self.request["candidate"],
                        "for " + str(marker.get("candidate")) if marker else "none"))
            if not clean:
                raise Refused(
                    "web_db on {0} is fenced, but was not shut down cleanly ({1}), so {2} cannot prove that it has "
                    "everything. Undo the fence with role abort, or choose the unplanned mode.".format(
                        self.request["primary"], control["state"] if control else "no control file",
                        self.request["candidate"]))
        changed = False
        if not self.check_mode and not marker:
            self.lock_check()
            write_record(self.node, "fenced", self._marker("found stopped"))
            changed = True
        removed = self.move_address(False)
        return self._result("fenced", bool(changed or removed), clean=clean, resumed=True, address_removed=removed)

    def _require_guard(self):
        if not self.request.get("require_guard", True):
            return
        if GUARD_PROGRAM not in self.node.service.start_checks():
            raise Refused("The guard is expected in the start of {0} on {1}, it is not there, so nothing would keep a "
                          "stopped primary from starting. Run web_db_guard.yml first.".format(
                              self.node.unit, self.request["primary"]))

    def _fence(self, facts):
        request = self.request
        unplanned = bool(request.get("unplanned"))
        self._require_guard()
        other = self.identify(request["candidate_address"])
        rival = find_rival(facts, {request["candidate"]: other})
        if rival and not unplanned:
            raise Refused("Two timelines: {0}. web_db on {1} must be stopped and rejoined, a planned switchover is not "
                          "possible.".format(rival, request["primary"]))
        problem = None if unplanned else replica_problem(request, facts)
        if problem:
            raise Refused(problem)
        if self.check_mode:
            return self._result("primary", True, msg="would fence and stop {0}".format(request["primary"]))
        session = self.node.connect("circonus-inside-primary", 10.0)
        heartbeat = None
        try:
            if not unplanned:
                create_fence_table(session)
                session.lines("SET statement_timeout = 0")
                session.lines("CHECKPOINT", 600.0)
                session.lines("SET statement_timeout = {0}".format(int(STATEMENT_TIMEOUT * 1000)))
                heartbeat = Heartbeat(self.node)
                heartbeat.start()
                self._wait_armed(session)
            self.lock_check()
            self._write_fence(session, unplanned)
            return self._stop(facts, heartbeat)
        finally:
            if heartbeat is not None:
                heartbeat.halt.set()
            session.close()

    def _armed_problem(self, session):
        name = pg.names(session.row("SELECT current_setting('server_version_num')::int AS n")["n"])
        rows = session.rows(
            ("SELECT application_name, host(client_addr) AS addr, state, "
             "({current} - replay_{column})::bigint AS lag_bytes FROM pg_stat_replication").format(**name))
        armed = [row for row in rows if row["application_name"] == ARMED + str(self.request["token"])]
        if not armed:
            return "{0} has not armed itself with token {1}".format(self.request["candidate"], self.request["token"])
        return replica_problem(self.request, {"replicas": [
            row for row in rows if not row["application_name"].startswith((ARMED, GUARD))]})

    def _wait_armed(self, session):
        until = time.time() + self.request["arm_timeout"]
        checkpointed = time.time()
        while True:
            problem = self._armed_problem(session)
            if problem is None:
                self.mark("armed")
                return
            if time.time() >= until:
                raise TimedOut("{0} was not fenced, nothing was changed: {1} within {2:g} s.".format(
                    self.request["primary"], problem.rstrip("."), self.request["arm_timeout"]), missing=problem)
            if time.time() - checkpointed > 0.5:
                session.lines("CHECKPOINT", 600.0)
                checkpointed = time.time()
            time.sleep(0.01)

    def _write_fence(self, session, unplanned):
        """The marker, then the row. When it comes back the fence is set; otherwise it is lifted again."""
        write_record(self.node, "fenced", self._marker("planned switchover" if not unplanned else "unplanned failover"))
        self.mark("marker")
        asked = False
        try:
            if not unplanned:
                problem = self._armed_problem(session)
                if problem:
                    raise TimedOut("{0} was not fenced: {1}".format(self.request["primary"], problem))
                asked = True
                insert_fence(session, self.request, "fenced")
                self.mark("fence_row")
            self.lock_check()
        except InsideError as exc:
            self._lift(asked, exc)
            raise

    def _lift(self, asked, reason):
        """Undo a fence while the server still runs: first the row (which may be there), then the marker."""
        if asked:
            try:
                session = self.node.connect("circonus-inside-primary")
                try:
                    create_fence_table(session)
                    insert_fence(session, self.request, "cancelled")
                finally:
                    session.close()
            except InsideError as exc:
                raise CommandFailed("{0} The fence of {1} could not be lifted either: {2} It stays; run the same "
                                    "command "
                                    "again, or role abort.".format(reason, self.request["primary"], exc))
        remove_record(self.node, "fenced")

    def _walsenders(self, facts):
        """Other replicas' senders, which a fast shutdown waits for."""
        keep = (self.request["candidate_address"],)
        return [row["pid"] for row in facts["replicas"]
                if row["addr"] not in keep and row["application_name"] != self.request["candidate"]]

    def _stop(self, facts, heartbeat):
        """Fast stop, and the proof of it."""
        server = self.node.postmaster()
        senders = self._walsenders(facts)
        self.mark("stop_asked")
        child = self.node.service.stop_begin()
        if server is not None:
            try:
                # Whatever the unit's stop does: this is a fast shutdown, from now on.
                os.kill(server["pid"], signal.SIGINT)
            except OSError as exc:
                if exc.errno != errno.ESRCH:
                    raise InsideError("Cannot stop the database server: {0}. Run this as root.".format(exc.strerror))
        begun, until = time.time(), time.time() + self.request["timeout"]
        impatient = False
        while server is not None and pg.process_alive(server["pid"]):
            if time.time() >= until and self.request.get("unplanned"):
                # Nothing is proven by its shutdown checkpoint here; down is what counts.
                self.node.immediate_stop()
                continue
            if time.time() >= until:
                raise TimedOut("web_db on {0} is fenced and still shuts down after {1:g} s. It will not come back by "
                               "itself; run the same command again.".format(
                                   self.request["primary"], self.request["timeout"]), fenced=True)
            if not impatient and time.time() - begun > min(2.0, self.request["timeout"] / 4.0):
                impatient = True
                for pid in senders:
                    if pg.parent_of(pid) == server["pid"]:
                        try:
                            os.kill(pid, signal.SIGTERM)
                        except OSError:
                            continue
            time.sleep(0.002)
        self.mark("stopped")
        removed = self.move_address(False)
        self.mark("address")
        if heartbeat is not None:
            heartbeat.halt.set()
        if child is not None:
            try:
                child.wait(max(1.0, until - time.time()))
            except Exception:
                child.kill()
                child.wait()
        while not self.node.service.stopped() and time.time() < until:
            time.sleep(0.05)
        control = pg.read_control(self.node.data_dir)
        answer = pg.tcp_answer(self.request["primary_address"], self.node.port, 1.0)
        clean = control["state"] == pg.SHUT_DOWN
        for holds, what in ((self.node.service.stopped(), "its unit is {0}".format(self.node.service.state())),
                            (self.node.postmaster() is None, "a server process runs again"),
                            (clean or bool(self.request.get("unplanned")),
                             "its control file says {0}".format(control["state"])),
                            (answer == "refused", "port {0} is {1}".format(self.node.port, answer))):
            if not holds:
                raise InsideError("web_db on {0} is fenced, but is not proven to be down: {1}. Look at it, then run "
                                  "the "
                                  "same command again.".format(self.request["primary"], what), fenced=True)
        self.mark("proven")
        return self._result("fenced", True, clean=clean, resumed=False, address_removed=removed,
                            shutdown_checkpoint_lsn=control["checkpoint_lsn"],
                            heartbeats=heartbeat.count if heartbeat else 0,
                            last_write_at=heartbeat.last if heartbeat else None)

    def abort(self):
        """Lift the fence of a stopped primary that nobody has succeeded, and start it again."""
        self.node.require_data_dir()
        marker = read_record(self.node, "fenced")
        if marker is None:
            return self._result("primary" if self.node.postmaster() else "stopped", False, msg="there is no fence")
        if pg.standby_settings(self.node.data_dir)["starts_as"] != "primary":
            raise Refused("web_db on {0} is a standby already, its fence is lifted by web_db_rejoin.yml.".format(
                self.request["primary"]))
        if self.check_mode:
            return self._result("fenced", True, msg="would lift the fence and start the server")
        with self.turn():
            control = pg.read_control(self.node.data_dir)
            own = {"system_identifier": control["system_identifier"], "timeline": self.node.timeline_on_disk()}
            # An armed candidate that reaches this host promotes within a fraction of a second: watch it for longer.
            until = time.time() + 3.0
            while True:
                other = self.identify(self.request["candidate_address"])
                if other is None:
                    raise Refused("{0} is expected to answer that it has not been promoted, it does not answer. The "
                                  "fence "
                                  "of {1} stays.".format(self.request["candidate"], self.request["primary"]))
                rival = find_rival(own, {self.request["candidate"]: other})
                if rival or other["read_write"]:
                    raise Refused("{0} has taken over ({1}). The fence stays; run web_db_rejoin.yml for {2}.".format(
                        self.request["candidate"], rival or "it is a primary", self.request["primary"]))
                if time.time() >= until:
                    break
                time.sleep(0.2)
            self.lock_check()
            remove_record(self.node, "fenced")
            try:
                if self.node.postmaster() is None:
                    self.node.service.start()
                session = self.node.connect("circonus-inside-primary", 30.0)
                try:
                    create_fence_table(session)
                    insert_fence(session, self.request, "cancelled")
                finally:
                    session.close()
            except InsideError:
                if self.node.postmaster() is None:
                    write_record(self.node, "fenced", marker)
                raise
            added = self.move_address(True)
            return self._result("primary", True, address_added=added, msg="{0} is the primary again".format(
                self.request["primary"]))
