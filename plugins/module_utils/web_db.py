# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The configuration database of one host: what it is, how it changes its role, what keeps it from being a second
primary.

A planned switchover is one task on two hosts. The candidate arms itself and waits; the primary fences itself and
stops. Whatever happens to the controller in between, the candidate promotes only on proof, see :func:`missing_proof`.
"""
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import errno
import fcntl
import glob
import json
import os
import re
import shutil
import signal
import threading
import time

from ansible_collections.circonus.inside.plugins.module_utils import postgres as pg
from ansible_collections.circonus.inside.plugins.module_utils.errors import (
    BadInput, CommandFailed, InsideError, Refused, TimedOut)
from ansible_collections.circonus.inside.plugins.module_utils.lock import write_durable

FENCE_TABLE = "public.circonus_inside_fence"
ARMED = "circonus-armed-"
GUARD = "circonus-guard"
CLOCK_SLACK = 2.0
STOP_SLACK = 300.0
STATEMENT_TIMEOUT = 5.0
NODE_OPTIONS = ("bindir", "data_dir", "unit", "user", "port", "replication_user", "state_dir", "guard_dir")
GUARD_PROGRAM = "web_db_guard"
NODE_SPEC = {
    "bindir": {"type": "path", "default": "/opt/pgsql/bin"},
    "data_dir": {"type": "path"},
    "unit": {"type": "str", "default": "circonus-postgres-circonus_wdb"},
    "os_user": {"type": "str", "default": "postgres"},
    "port": {"type": "int", "default": 5432},
    "state_dir": {"type": "path", "default": "/var/lib/circonus-inside"},
}


def node_of(params, service=None):
    """A :class:`postgres.Node` from module parameters, all of them optional."""
    chosen = {key: params[key] for key in NODE_OPTIONS if params.get(key) is not None}
    return pg.Node(service=service, **chosen)


def node_params(params):
    """Module parameters by the names that :func:`collect` and :func:`node_of` know."""
    known = {key: params.get(key) for key in NODE_SPEC if key != "os_user"}
    return dict(known, user=params.get("os_user"), long_transaction_s=params.get("long_transaction_s"))


def quote(value):
    """A value as an SQL literal."""
    if value is None:
        return "NULL"
    if isinstance(value, (int, float)):
        return repr(value)
    return "E'" + str(value).replace("\\", "\\\\").replace("'", "''") + "'"


# ---- records on this host --------------------------------------------------------------------------------------

def _record_path(node, name):
    return os.path.join(node.state_dir, "web_db." + name)


def read_record(node, name):
    """A JSON record of this host (``fenced``, ``promotion``, ``follow``), None when there is none.

    A fence that cannot be read is still a fence, so damage gives ``{"damaged": True}``.
    """
    text = pg.read_text(_record_path(node, name))
    if text is None:
        return None
    try:
        record = json.loads(text)
        return record if isinstance(record, dict) else {"damaged": True}
    except ValueError:
        return {"damaged": True}


def write_record(node, name, record):
    """Write a record durably, readable by everyone (it holds no secrets)."""
    try:
        if not os.path.isdir(node.state_dir):
            os.makedirs(node.state_dir, 0o755)
            pg.sync_directory(os.path.dirname(node.state_dir.rstrip("/")) or "/")
        write_durable(_record_path(node, name), json.dumps(record, sort_keys=True) + "\n")
    except (IOError, OSError) as exc:
        raise InsideError("Cannot write {0}: {1}. Check that its directory is writable and has space.".format(
            _record_path(node, name), exc.strerror))


def remove_record(node, name):
    """Remove a record durably; True when it was there."""
    return pg.remove_file(_record_path(node, name))


class OneAtATime(object):
    """One switchover or follow at a time on this host, an orphan of a killed controller included."""

    def __init__(self, node, timeout):
        self.path, self.timeout, self.descriptor = os.path.join(node.guard_dir, "web_db.turn"), timeout, None

    def __enter__(self):
        try:
            if not os.path.isdir(os.path.dirname(self.path)):
                os.makedirs(os.path.dirname(self.path), 0o755)
            self.descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as exc:
            raise InsideError("Cannot write {0}: {1}. Run this as root.".format(self.path, exc.strerror))
        # Programs we start must not keep the turn when we die.
        fcntl.fcntl(self.descriptor, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
        until = time.time() + self.timeout
        while True:
            try:
                fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.ftruncate(self.descriptor, 0)
                os.pwrite(self.descriptor, str(os.getpid()).encode("ascii"), 0)
                return self
            except (IOError, OSError) as exc:
                if exc.errno not in (errno.EAGAIN, errno.EACCES, errno.EINTR):
                    raise
            if time.time() >= until:
                holder = (pg.read_text(self.path) or "?").strip()
                os.close(self.descriptor)
                raise TimedOut("Expected no other switchover on this host, process {0} still works on one after {1:g} "
                               "s. Wait for it or look what it does.".format(holder, self.timeout))
            time.sleep(0.05)

    def __exit__(self, *unused):
        os.close(self.descriptor)


# ---- facts -----------------------------------------------------------------------------------------------------

def _empty_facts(node):
    return {
        "running": False, "answers": False, "error": None, "data_dir": node.data_dir, "version": None,
        "server_version_num": None, "in_recovery": None, "timeline": None, "system_identifier": None,
        "starts_as": "nothing", "upstream": {}, "lsn": {"current": None, "receive": None, "replay": None},
        "replay_paused": None, "last_commit_age_s": None, "receiver": None, "replicas": [], "armed": [],
        "long_transactions": [], "control": None, "size_bytes": None, "free_bytes": None, "fence": None,
        "promotion": None, "last_fence_row": None, "known_primary": None, "guard": guard_facts(node), "asides": [], "possible_loss": None,
        "clock": time.time(),
    }


def guard_facts(node):
    """What the guard's loop last wrote, and whether it is installed and awake."""
    facts = {"installed": os.path.exists("/opt/circonus/libexec/inside/web_db_guard"), "state": "absent", "age_s": None,
             "peers": {}, "message": "", "primary": None}
    text = pg.read_text(os.path.join(node.guard_dir, "web_db_guard.json"))
    if text:
        try:
            said = json.loads(text)
            facts["primary"] = said.get("primary")
            facts["age_s"] = round(time.time() - float(said["at"]), 1)
            facts["state"] = said["state"] if facts["age_s"] < 30 else "silent"
            facts["peers"], facts["message"] = said.get("peers", {}), said.get("message", "")
        except (ValueError, KeyError, TypeError):
            facts["state"] = "silent"
    return facts


def possible_loss(receiver, receive, replay, control, last_commit_age_s, clock):
    """What an unplanned failover to this standby could lose. Pure.

    ``known_bytes``: written by the primary as of its last message, not here. ``rate_bytes_s``: WAL since the last
    restartpoint over its time. ``estimate_bytes``: known, plus that rate for as long as nothing has been heard.
    """
    here = pg.lsn(receive) or pg.lsn(replay)
    known = 0
    silent = last_commit_age_s or 0.0
    if receiver and receiver.get("latest_end_lsn") and here is not None:
        known = max(0, pg.lsn(receiver["latest_end_lsn"]) - here)
    if receiver and receiver.get("last_msg_age_s") is not None:
        silent = receiver["last_msg_age_s"]
    rate = 0.0
    if control and here is not None:
        span = clock - silent - control["checkpoint_time"]
        written = here - pg.lsn(control["redo_lsn"])
        if span > 1 and written > 0:
            rate = written / span
    return {"known_bytes": known, "silent_s": round(silent, 1), "rate_bytes_s": int(rate),
            "estimate_bytes": int(known + rate * silent)}


def _sql_facts(node, facts, session, long_transaction_s):
    version = session.row("SELECT current_setting('server_version_num')::int AS n, "
                          "current_setting('server_version') AS v, pg_is_in_recovery() AS r")
    facts.update(version=version["v"], server_version_num=version["n"], in_recovery=version["r"], answers=True)
    if version["n"] < 90600:
        raise BadInput("Expected PostgreSQL 9.6 or later, found {0}. Follow the manual.".format(version["v"]))
    name = pg.names(version["n"])
    if version["r"]:
        row = session.row(
            "SELECT {receive}::text AS receive, {replay}::text AS replay, {paused} AS paused, "
            "extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8 AS age".format(**name))
        facts["lsn"].update(receive=row["receive"], replay=row["replay"])
        facts.update(replay_paused=row["paused"], last_commit_age_s=row["age"])
        receiver = session.row(
            "SELECT status, received_tli AS timeline, latest_end_lsn::text AS latest_end_lsn, "
            "extract(epoch FROM clock_timestamp() - last_msg_receipt_time)::float8 AS last_msg_age_s, conninfo "
            "FROM pg_stat_wal_receiver")
        if receiver and receiver["status"]:
            receiver["upstream"] = pg.parse_conninfo(receiver.pop("conninfo") or "").get("host")
            facts["receiver"] = receiver
            facts["timeline"] = receiver["timeline"]
        if facts["timeline"] is None:
            facts["timeline"] = max(facts["control"]["timeline"], facts["control"]["min_recovery_timeline"])
    else:
        row = session.row("SELECT {current}::text AS lsn, {file}({current}) AS file".format(**name))
        facts["lsn"]["current"] = row["lsn"]
        facts["timeline"] = int(row["file"][:8], 16)
    here = "{receive}" if version["r"] else "{current}"
    rows = session.rows(
        ("SELECT pid, application_name, host(client_addr) AS addr, state, sync_state, sent_{column}::text AS sent, "
         "write_{column}::text AS write, flush_{column}::text AS flush, replay_{column}::text AS replay, "
         "(" + here + " - replay_{column})::bigint AS lag_bytes FROM pg_stat_replication").format(**name))
    facts["armed"] = [row["application_name"] for row in rows if row["application_name"].startswith(ARMED)]
    facts["replicas"] = [row for row in rows
                         if not row["application_name"].startswith((ARMED, GUARD, "circonus-inside"))]
    facts["long_transactions"] = session.rows(
        "SELECT pid, usename AS user, datname AS database, application_name, state, "
        "extract(epoch FROM clock_timestamp() - xact_start)::float8 AS age_s FROM pg_stat_activity "
        "WHERE xact_start < clock_timestamp() - interval '{0} seconds' AND pid <> pg_backend_pid() "
        "ORDER BY xact_start".format(float(long_transaction_s)))
    facts["last_fence_row"] = latest_fence(session)
    try:
        facts["size_bytes"] = session.row("SELECT sum(pg_database_size(oid))::bigint AS n FROM pg_database")["n"]
    except pg.SqlFailed:
        facts["size_bytes"] = None


def collect(params, node=None):
    """Everything there is to know about the database of this host; never raises because the server is down.

    params (all optional): bindir, data_dir, unit, user, port, state_dir, long_transaction_s. See the documentation of
    the module web_db_info for the shape of the answer.
    """
    node = node or node_of(params)
    facts = _empty_facts(node)
    facts["fence"], facts["promotion"] = read_record(node, "fenced"), read_record(node, "promotion")
    facts["known_primary"] = facts["guard"].pop("primary")
    if not node.data_dir:
        facts["error"] = "no data directory was found in {0}".format(pg.DATA_GLOB)
        return facts
    facts["running"] = node.postmaster() is not None
    facts["asides"] = [{"path": path, "free_to_remove": ".new-" in os.path.basename(path)}
                       for path in sorted(glob.glob(node.data_dir + ".aside-*") + glob.glob(node.data_dir + ".new-*"))]
    facts["free_bytes"] = pg.free_bytes(os.path.dirname(node.data_dir))
    try:
        standby = pg.standby_settings(node.data_dir)
        facts["starts_as"] = standby["starts_as"]
        facts["version"] = pg.major_version(node.data_dir)[0]
        if standby["starts_as"] == "standby":
            facts["upstream"] = {key: standby["conninfo"].get(key) for key in ("host", "port", "application_name")}
        facts["control"] = pg.read_control(node.data_dir)
        if facts["control"]:
            facts["system_identifier"] = facts["control"]["system_identifier"]
        if facts["running"]:
            session = node.connect("circonus-inside-info")
            try:
                _sql_facts(node, facts, session, params.get("long_transaction_s") or 60)
            finally:
                session.close()
        elif facts["control"]:
            facts["timeline"] = node.timeline_on_disk()
    except InsideError as exc:
        facts["error"] = str(exc)
    if facts["size_bytes"] is None:
        facts["size_bytes"] = pg.tree_bytes(node.data_dir, ("pg_wal", "pg_xlog", "pg_log", "log"), 5.0)
    if facts["in_recovery"]:
        facts["possible_loss"] = possible_loss(facts["receiver"], facts["lsn"]["receive"], facts["lsn"]["replay"],
                                               facts["control"], facts["last_commit_age_s"], time.time())
    return facts


# ---- the fence row ---------------------------------------------------------------------------------------------

def create_fence_table(session):
    """Create the table that carries a fence to the standbys, if it is not there."""
    session.lines("SET client_min_messages = error")
    session.lines("SET default_transaction_read_only = off")
    session.lines("SET statement_timeout = {0}".format(int(STATEMENT_TIMEOUT * 1000)))
    if fence_table(session):
        return
    session.lines(
        "CREATE TABLE IF NOT EXISTS {0} (id bigserial PRIMARY KEY, token bigint NOT NULL, run_id text NOT NULL, "
        "candidate text NOT NULL, host text NOT NULL, state text NOT NULL, at timestamptz NOT NULL DEFAULT "
        "clock_timestamp(), stop_before timestamptz)".format(FENCE_TABLE))


def fence_table(session):
    """True when the fence table exists (on a standby: has been replayed)."""
    return session.row("SELECT to_regclass({0}) IS NOT NULL AS there".format(quote(FENCE_TABLE)))["there"]


FENCE_COLUMNS = ("id, token, run_id, candidate, host, state, extract(epoch FROM at)::float8 AS at, "
                 "extract(epoch FROM stop_before)::float8 AS stop_before")


def latest_fence(session):
    """The last row of the fence table, None when there is none. Times are epoch seconds of the host that wrote it."""
    if not fence_table(session):
        return None
    return session.row("SELECT {0} FROM {1} ORDER BY id DESC LIMIT 1".format(FENCE_COLUMNS, FENCE_TABLE))


def insert_fence(session, request, state):
    """Write a row and return once its commit is acknowledged."""
    found = session.lines(
        "INSERT INTO {0} (token, run_id, candidate, host, state, stop_before) VALUES ({1}, {2}, {3}, {4}, {5}, "
        "clock_timestamp() + interval '{6} seconds') RETURNING id".format(
            FENCE_TABLE, int(request["token"]), quote(request["run_id"]), quote(request["candidate"]),
            quote(request["host"]), quote(state), float(request["timeout"])), STATEMENT_TIMEOUT + 1)
    return int(found[0])


# ---- decisions -------------------------------------------------------------------------------------------------

def candidate_problem(request, facts, upstream):
    """Why this standby must not be armed, None when it may. Pure.

    facts: of :func:`collect`; upstream: of :func:`postgres.identify` for the old primary.
    """
    where = "web_db on {0}".format(request["candidate"])
    if not facts["in_recovery"]:
        return "{0} is expected to be a standby, it is a primary. Choose another candidate.".format(where)
    if facts["fence"]:
        return ("{0} still carries the fence of run {1}. Run web_db_rejoin.yml for it "
                "first.".format(where, facts["fence"].get("run_id", "?")))
    if upstream["system_identifier"] != facts["system_identifier"]:
        return "{0} is no copy of {1}: system identifiers {2} and {3}. Rebuild it from the primary.".format(
            where, request["primary"], facts["system_identifier"], upstream["system_identifier"])
    if upstream["read_write"] is False:
        return "{0} is expected to be the primary, it is a standby. Correct the request.".format(request["primary"])
    if facts["timeline"] != upstream["timeline"]:
        return ("{0} is on timeline {1}, {2} is on timeline {3}. Rebuild the standby with web_db_rejoin.yml.".format(
            where, facts["timeline"], request["primary"], upstream["timeline"]))
    if not facts["receiver"] or facts["receiver"]["status"] != "streaming":
        return ("{0} is expected to stream from {1}, its receiver is {2}. Mend the replication, then run this "
                "again.".format(where, request["primary"],
                                facts["receiver"]["status"] if facts["receiver"] else "not running"))
    if facts["replay_paused"]:
        return "Replay is paused on {0}. Resume it with SELECT pg_wal_replay_resume().".format(where)
    lag = pg.lsn(upstream["lsn"]) - pg.lsn(facts["lsn"]["replay"])
    if lag > request["max_lag_bytes"]:
        return ("{0} replays {1} bytes behind {2} (limit {3} bytes). Wait, or raise the limit of the lag.".format(
            where, lag, request["primary"], request["max_lag_bytes"]))
    return None


def replica_problem(request, facts):
    """Why the candidate, as the primary sees it, must not take over; None when it may. Pure."""
    mine = [row for row in facts["replicas"]
            if row["addr"] == request["candidate_address"] or row["application_name"] == request["candidate"]]
    if not mine:
        return "{0} is expected to be attached to {1}, the primary has no such replica. Mend the replication.".format(
            request["candidate"], request["primary"])
    best = min(mine, key=lambda row: (row["state"] != "streaming", row["lag_bytes"] is None, row["lag_bytes"] or 0))
    if best["state"] != "streaming":
        return "{0} is expected to stream from {1}, its state is {2}. Wait until it has caught up.".format(
            request["candidate"], request["primary"], best["state"])
    if best["lag_bytes"] is None or best["lag_bytes"] > request["max_lag_bytes"]:
        return ("{0} replays {1} bytes behind {2} (limit {3} bytes). Wait, or raise the limit of the lag.".format(
            request["candidate"], "unknown" if best["lag_bytes"] is None else best["lag_bytes"], request["primary"],
            request["max_lag_bytes"]))
    return None


def fence_problem(request, row, baseline):
    """Why the last fence row does not allow this candidate to promote, None when it does. Pure.

    baseline: id of the last row when the candidate armed itself while the primary was alive; an older row belongs to
    a fence that was lifted since. None when the primary was down already.
    """
    if row is None:
        return "no fence of the old primary has arrived"
    if row["state"] != "fenced":
        return "the last fence is {0}".format(row["state"])
    if row["candidate"] != request["candidate"]:
        return "the last fence is for {0}".format(row["candidate"])
    if row["token"] > request["token"]:
        return "the last fence has token {0}, ours is {1}: a newer run is at work".format(row["token"],
                                                                                          request["token"])
    if baseline is not None and row["id"] <= baseline:
        return "the last fence is older than this run"
    return None


def shutdown_problem(row, control, replay):
    """Why the standby has not proven that it holds everything up to the fenced shutdown, None when it has. Pure.

    row: the fence; control: of :func:`postgres.read_control` after a restartpoint; replay: WAL position.
    The time of the checkpoint and of the fence are both of the old primary's clock: a shutdown long after the fence
    belongs to a server that was started again in between.
    """
    if not pg.ends_with_shutdown_checkpoint(pg.lsn(control["checkpoint_lsn"]), pg.lsn(control["redo_lsn"]),
                                            pg.lsn(replay)):
        return ("the replayed WAL ends at {0}, which is not the end of a shutdown checkpoint (last checkpoint {1}, redo "
                "{2})".format(replay, control["checkpoint_lsn"], control["redo_lsn"]))
    # The checkpoint's time has whole seconds.
    if not row["at"] - CLOCK_SLACK <= control["checkpoint_time"] <= row["stop_before"] + STOP_SLACK:
        return "the shutdown checkpoint at {0} does not belong to the fence written at {1:.0f}".format(
            control["checkpoint_time"], row["at"])
    return None


def follow_method(control, switchpoint, same_timeline, upstream_lsn, known_lsn=None):
    """How a stopped server can become a standby: ``direct`` or ``basebackup``, with the reason. Pure.

    control: of :func:`postgres.read_control`; switchpoint: where the upstream's timeline left ours (integer), None
    when ours is none of its ancestors; same_timeline: the upstream is on ours; upstream_lsn: its position (integer);
    known_lsn: last position this server is known to have received (integer or None).
    """
    if control["state"] == pg.SHUT_DOWN:
        # Its last record is the checkpoint. What starts before the fork is common, as the fork is between records.
        own = pg.lsn(control["checkpoint_lsn"])
        inside = (own < switchpoint) if switchpoint is not None else (same_timeline and own < upstream_lsn)
        what = "clean shutdown checkpoint at {0}".format(control["checkpoint_lsn"])
    elif control["state"] in (pg.SHUT_DOWN_IN_RECOVERY, "in archive recovery"):
        own = max(pg.lsn(control["min_recovery_lsn"]), pg.lsn(control["checkpoint_lsn"]), known_lsn or 0)
        inside = (own <= switchpoint) if switchpoint is not None else (same_timeline and own <= upstream_lsn)
        what = "standby stopped at {0}".format(pg.lsn_text(own))
    else:
        return "basebackup", "it was not shut down cleanly ({0}) and may hold writes nobody else has".format(
            control["state"])
    if inside:
        return "direct", "{0} is part of the upstream's history".format(what)
    if switchpoint is None and not same_timeline:
        return "basebackup", "{0} on timeline {1}, which is no ancestor of the upstream's".format(
            what, control["timeline"])
    return "basebackup", "{0} lies beyond {1}, up to where the upstream has the same history".format(
        what, pg.lsn_text(switchpoint if switchpoint is not None else upstream_lsn))


def start_verdict(starts_as, marker, own, peers, unseen, allow_isolated):
    """Whether the server may start: ``(verdict, reason)``. Pure.

    own: ``{"system_identifier", "timeline"}``; peers: ``{name: answer of postgres.identify or None}``; unseen: of
    :func:`unseen_peers`. Verdicts: ``allow``, ``fenced`` (a mark on this host), ``rival`` (a peer took over),
    ``isolated`` (a peer that cannot be asked may have taken over).
    """
    if starts_as != "primary":
        return "allow", "it would start as {0}".format(starts_as)
    if marker:
        return "fenced", "this host is fenced by run {0} ({1} took over or was to)".format(
            marker.get("run_id", "?"), marker.get("candidate", "?"))
    rival = find_rival(own, peers) or find_twin(own, peers)
    if rival:
        return "rival", rival
    if unseen and not allow_isolated:
        return "isolated", "none of {0} answers, so one of them may have taken over".format(", ".join(unseen))
    return "allow", "no peer is on a newer timeline than {0}".format(own["timeline"])


def unseen_peers(peers, sites, own_site):
    """Which peers leave the question open who is the primary. Pure.

    One answer from every other site is wanted (any answer where all peers are of one site): a site that was cut off
    together with its old primary must not be convinced by its own replicas. sites: ``{name: site}``.
    """
    others = {}
    for name in peers:
        if sites.get(name) != own_site:
            others.setdefault(sites.get(name), []).append(name)
    groups = list(others.values()) or ([list(peers)] if peers else [])
    return sorted(name for group in groups if not any(peers[name] for name in group) for name in group)


def find_twin(own, peers):
    """Which peer is a primary on the very timeline of this server, as text; None when none is. Pure."""
    for name in sorted(peers):
        peer = peers[name]
        if (peer and peer["read_write"] and peer["system_identifier"] == own["system_identifier"]
                and peer["timeline"] == own["timeline"]):
            return "{0} is a primary of the same database on the same timeline {1}".format(name, own["timeline"])
    return None


def find_rival(own, peers):
    """Which peer proves that this server is no longer the primary, as text; None when there is none. Pure."""
    for name in sorted(peers):
        peer = peers[name]
        if peer and peer["system_identifier"] == own["system_identifier"] and peer["timeline"] > own["timeline"]:
            return "{0} is on timeline {1}, this host is on timeline {2}".format(
                name, peer["timeline"], own["timeline"])
    return None


# ---- what both sides share -------------------------------------------------------------------------------------

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

    def identify(self, address, application="circonus-inside-check"):
        """:func:`postgres.identify` of another host, None when it does not answer."""
        try:
            session = self.node.connect_replication(address, application, timeout=3.0)
        except InsideError:
            return None
        try:
            return pg.identify(session, 3.0)
        except InsideError:
            return None
        finally:
            session.close()

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
        resumed = (facts["last_fence_row"] is not None and fence_problem(self.request, facts["last_fence_row"], None) is None
                   and (facts["receiver"] or {}).get("status") != "streaming")
        if not resumed:
            upstream = self.identify(self.request["primary_address"])
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
            raise Refused("Two primaries: {0} on timeline {1} and {2} on timeline {3}. Decide which one holds the wanted "
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
        """The connection the old primary looks for; what it says is of no interest, only that it is there."""
        session = self.node.connect_replication(
            self.request["primary_address"], ARMED + str(self.request["token"]), timeout=3.0)
        try:
            pg.identify(session, 3.0)
        except InsideError:
            session.close()
            raise
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
                if armed is not None and armed.open() and state["since"] is None:
                    # Disarm first, then look once more: the primary may have fenced itself for us just now.
                    armed.close()
                    until = time.time() + 2.0
                    armed = None
                    continue
                raise TimedOut("{0} was not promoted: {1}. Nothing was changed on it. If the old primary {2} is fenced, "
                               "run the same command again, or undo its fence with role abort.".format(
                                   self.request["candidate"], missing, self.request["primary"]), missing=missing)
            time.sleep(self.POLL_IDLE if state["since"] is None else self.POLL_FENCED)

    @staticmethod
    def _learn_offset(state, seen):
        if seen["stamp"] is not None and seen["stamp"] != state["stamp"]:
            state["stamp"] = seen["stamp"]
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
                  "write_gap_ms": gap, "write_gap_basis": basis, "rpo_bytes": 0, "address_added": added, "timings": self.timings,
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
            raise TimedOut("{0} promoted, but recovery.conf has not become recovery.done. Look into {1} before the next "
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
                    "web_db on {0} is stopped, but not fenced for {1} (fence: {2}). Start it for a planned switchover, or "
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
                raise CommandFailed("{0} The fence of {1} could not be lifted either: {2} It stays; run the same command "
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
                raise InsideError("web_db on {0} is fenced, but is not proven to be down: {1}. Look at it, then run the "
                                  "same command again.".format(self.request["primary"], what), fenced=True)
        self.mark("proven")
        return self._result("fenced", True, clean=clean, resumed=False, address_removed=removed,
                            shutdown_checkpoint_lsn=control["checkpoint_lsn"], heartbeats=heartbeat.count if heartbeat else 0,
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
                    raise Refused("{0} is expected to answer that it has not been promoted, it does not answer. The fence "
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


# ---- follow ----------------------------------------------------------------------------------------------------

class Follow(object):
    """Makes this host a standby of an upstream.

    request: ``run_id, host, upstream, upstream_port, application_name, timeout, rebuild (auto|always|never),
    reserve_bytes, size_bytes, backup_timeout``.
    """

    GONE = re.compile("already been removed|forked off from|not contain|not a child|not in this server's history|"
                      "diverge|record length|different system")

    def __init__(self, node, request, lock_check=None, check_mode=False):
        self.node, self.request, self.check_mode = node, request, check_mode
        self.lock_check = lock_check or (lambda: None)
        self.started = time.time()
        self.result = {"changed": False, "method": "none", "reason": "", "aside": None, "bytes": 0, "seconds": 0.0,
                       "upstream": request["upstream"]}

    def run(self):
        """Do it; returns the module's result. Raises InsideError."""
        if self.check_mode:
            return self._run()
        with OneAtATime(self.node, self.request["timeout"]):
            return self._run()

    # -- reading

    def _upstream(self):
        session = self.node.connect_replication(self.request["upstream"], "circonus-inside-check",
                                                self.request.get("upstream_port"))
        try:
            who = pg.identify(session, 5.0)
            who["history"] = pg.timeline_history(session, who["timeline"])
            return who
        except InsideError as exc:
            raise Refused("The upstream {0} is expected to answer a replication connection: {1} Start it, or check "
                          "pg_hba.conf there.".format(self.request["upstream"], exc))
        finally:
            session.close()

    def _conninfo(self):
        known = pg.standby_settings(self.node.data_dir)["conninfo"] if self.node.data_dir else {}
        wanted = {key: value for key, value in known.items()
                  if key not in ("host", "hostaddr", "port", "application_name", "dbname", "replication")}
        wanted.setdefault("user", self.node.replication_user)
        wanted.update(host=self.request["upstream"], port=str(self.request.get("upstream_port") or self.node.port),
                      application_name=self.request["application_name"])
        return wanted

    def _streams(self, who):
        """None when the server streams from the upstream on its timeline, else what is missing."""
        if self.node.postmaster() is None:
            return "the server does not run"
        try:
            session = self.node.connect("circonus-inside-follow", 5.0)
        except InsideError as exc:
            return str(exc)
        try:
            row = session.row("SELECT pg_is_in_recovery() AS r")
            if not row["r"]:
                return "the server is a primary"
            receiver = session.row("SELECT status, received_tli, conninfo FROM pg_stat_wal_receiver")
            if not receiver or receiver["status"] != "streaming":
                return "its receiver is {0}".format(receiver["status"] if receiver else "not running")
            host = pg.parse_conninfo(receiver["conninfo"] or "").get("host")
            if host != self.request["upstream"]:
                return "it streams from {0}".format(host)
            if receiver["received_tli"] < who["timeline"]:
                return "it streams timeline {0}, the upstream is on {1}".format(
                    receiver["received_tli"], who["timeline"])
            return None
        except InsideError as exc:
            return str(exc)
        finally:
            session.close()

    # -- deciding

    def _run(self):
        self._recover_names()
        who = self._upstream()
        data_dir = self.node.require_data_dir()
        control = pg.read_control(data_dir)
        if control is None:
            method, reason = "basebackup", "the data directory is empty"
        elif control["system_identifier"] != who["system_identifier"]:
            raise Refused("web_db on {0} and its upstream {1} are expected to be copies of one database, their system "
                          "identifiers are {2} and {3}. Move {4} away by hand if it is not needed.".format(
                              self.request["host"], self.request["upstream"], control["system_identifier"],
                              who["system_identifier"], data_dir))
        else:
            if self._streams(who) is None:
                return self._nothing_to_do()
            self._require_newer(who)
            method, reason = self._method(control, who)
        self.result.update(method=method, reason=reason)
        if method == "basebackup" and self.request["rebuild"] == "never":
            raise Refused("web_db on {0} needs a base backup ({1}), which was not allowed. Set rebuild to "
                          "auto.".format(self.request["host"], reason))
        if method == "basebackup":
            self._check_space()
        if self.check_mode:
            return self._finish(True)
        self.lock_check()
        if method == "basebackup":
            self._rebuild(who)
        else:
            self._point(who)
        return self._finish(True)

    def _require_newer(self, who):
        own = self.node.timeline_on_disk()
        if who["timeline"] < own and self.request["rebuild"] != "always":
            raise Refused("The upstream {0} is on timeline {1}, web_db on {2} has been on timeline {3} already. Follow the "
                          "newer one, or set rebuild to always to give up what is here.".format(
                              self.request["upstream"], who["timeline"], self.request["host"], own))

    def _nothing_to_do(self):
        if read_record(self.node, "fenced") is None:
            return self._finish(False)
        if not self.check_mode:
            remove_record(self.node, "fenced")
        return self._finish(True)

    def _finish(self, changed):
        self.result.update(changed=changed, seconds=round(time.time() - self.started, 2))
        self.result["msg"] = "{0} follows {1} ({2})".format(
            self.request["host"], self.request["upstream"], self.result["method"])
        return self.result

    def _method(self, control, who):
        if self.request["rebuild"] == "always":
            return "basebackup", "a base backup was asked for"
        known = None
        if self.node.postmaster() is not None:
            known = self._stop_standby(who)
            if not self.check_mode:
                control = pg.read_control(self.node.data_dir)
            elif control["state"] != "in production":
                control = dict(control, state=pg.SHUT_DOWN_IN_RECOVERY)
        timeline = self.node.timeline_on_disk()
        if control["state"] != pg.SHUT_DOWN:
            timeline = max(control["timeline"], control["min_recovery_timeline"])
        same = timeline == who["timeline"]
        switch = None if same else pg.fork_point(who["history"], timeline)
        return follow_method(dict(control, timeline=timeline), switch, same, pg.lsn(who["lsn"]), known)

    def _stop_standby(self, who):
        """Stop a standby that follows somebody else; a primary is never stopped here. Returns what it has received."""
        known = None
        session = self.node.connect("circonus-inside-follow")
        try:
            version = session.row("SELECT current_setting('server_version_num')::int AS n, pg_is_in_recovery() AS r")
            if not version["r"]:
                return self._stop_outdated_primary(who)
            row = session.row("SELECT {receive}::text AS a, {replay}::text AS b".format(**pg.names(version["n"])))
            known = max(pg.lsn(row["a"]) or 0, pg.lsn(row["b"]) or 0)
        except (pg.SessionLost, TimedOut):
            # A standby that cannot become consistent answers nothing, and may be stopped all the same.
            if pg.standby_settings(self.node.data_dir)["starts_as"] != "standby":
                raise
        finally:
            session.close()
        if not self.check_mode:
            self._stop()
        return known

    def _stop_outdated_primary(self, who):
        """A primary that the upstream's timeline has left behind must not run a moment longer; no other is stopped."""
        own = {"system_identifier": who["system_identifier"], "timeline": self.node.timeline_on_disk()}
        rival = find_rival(own, {self.request["upstream"]: who})
        if not rival:
            raise Refused("web_db on {0} is a running primary and its upstream is on no newer timeline. Give its role away "
                          "with a switchover first, then make it a standby.".format(self.request["host"]))
        if not self.check_mode:
            self.lock_check()
            write_record(self.node, "fenced", {
                "run_id": self.request["run_id"], "token": 0, "candidate": self.request["upstream"], "primary": None,
                "reason": rival, "at": time.time()})
            self.node.immediate_stop()
            self._stop()
        return None

    def _stop(self):
        server = self.node.postmaster()
        child = self.node.service.stop_begin()
        until = time.time() + self.request["timeout"]
        if server is not None:
            try:
                os.kill(server["pid"], signal.SIGINT)
            except OSError as exc:
                if exc.errno != errno.ESRCH:
                    raise
            while pg.process_alive(server["pid"]):
                if time.time() >= until:
                    raise TimedOut("web_db on {0} does not stop within {1:g} s. Look at it.".format(
                        self.request["host"], self.request["timeout"]))
                time.sleep(0.01)
        if child is not None:
            child.wait()

    # -- doing

    def _point(self, who):
        """The data are good: settings first, durable; then the fence may go; then start."""
        try:
            pg.write_standby_settings(self.node.data_dir, self._conninfo())
            remove_record(self.node, "fenced")
            self.node.service.start(self.request["timeout"])
            self._wait_streaming(who, self.request["timeout"])
        except InsideError as exc:
            said = self._last_complaint()
            if self.request["rebuild"] == "never" or not self.GONE.search(said or str(exc)):
                raise
            self.result.update(method="basebackup", reason="the server said: {0}".format(said or exc))
            self._check_space()
            self._rebuild(who)

    def _last_complaint(self):
        """The last FATAL or ERROR line of the server's own log, None when there is none."""
        logs = []
        for pattern in ("pg_log/*.log", "log/*.log", "../server-{0}.log".format(os.path.basename(self.node.data_dir))):
            logs += glob.glob(os.path.join(self.node.data_dir, pattern))
        if not logs:
            return None
        with open(max(logs, key=os.path.getmtime), "rb") as handle:
            handle.seek(0, os.SEEK_END)
            handle.seek(max(0, handle.tell() - 16384))
            lines = handle.read().decode("utf-8", "replace").splitlines()
        for line in reversed(lines):
            match = re.search(r"(FATAL|PANIC|ERROR):\s+.*", line)
            if match and "starting up" not in line:
                return match.group(0)
        return None

    def _wait_streaming(self, who, timeout):
        until = time.time() + timeout
        while True:
            missing = self._streams(who)
            if missing is None:
                return
            # A hopeless start need not be waited for.
            said = self._last_complaint() if time.time() - until + timeout > 3 else None
            if time.time() >= until or (said and self.GONE.search(said)):
                raise TimedOut("web_db on {0} does not stream from {1}: {2}. The server's log says: {3}".format(
                    self.request["host"], self.request["upstream"], missing, said or self._last_complaint() or "nothing"))
            time.sleep(0.1)

    def _check_space(self):
        data_dir = self.node.data_dir
        if pg.mount_point(data_dir):
            raise Refused("The data directory {0} is a mount point and cannot be set aside by renaming it. Mount its "
                          "parent instead, or rebuild this standby by hand.".format(data_dir))
        spaces = glob.glob(os.path.join(data_dir, "pg_tblspc", "*"))
        if spaces:
            raise Refused("The database on {0} has tablespaces outside its directory ({1}); they cannot be set aside with "
                          "it. Rebuild this standby by hand.".format(self.request["host"], len(spaces)))
        here = pg.tree_bytes(data_dir, ("pg_wal", "pg_xlog", "pg_log", "log")) if os.path.isdir(data_dir) else 0
        need = int(max(self.request.get("size_bytes") or 0, here or 0) * 1.1) + self.request["reserve_bytes"]
        leftovers = sum(pg.tree_bytes(path) or 0 for path in self._own_builds())
        free = pg.free_bytes(os.path.dirname(data_dir)) + leftovers
        self.result.update(needed_bytes=need, free_bytes=free)
        if free < need:
            raise Refused("A base backup on {0} needs {1} bytes in {2}, {3} are free (the old directory is kept). Free {4} "
                          "bytes, or move an older .aside- directory away.".format(
                              self.request["host"], need, os.path.dirname(data_dir), free, need - free))

    def _own_builds(self):
        """Directories of a build that did not end, as recorded by ourselves."""
        record = read_record(self.node, "follow") or {}
        path = record.get("build")
        if path and pg.is_spare(path) and ".new-" in os.path.basename(path) and os.path.isdir(path):
            return [path]
        return []

    def _recover_names(self):
        """A run killed between its two renames leaves no data directory but a finished build: put it into place."""
        record = read_record(self.node, "follow") or {}
        if self.node.data_dir is None and record.get("data_dir"):
            self.node.data_dir = record["data_dir"]
            if isinstance(self.node.service, pg.PgCtlService):
                self.node.service.data_dir = self.node.data_dir
        if self.node.data_dir and not os.path.exists(os.path.join(self.node.data_dir, "PG_VERSION")) \
                and record.get("data_dir") == self.node.data_dir and record.get("finished") \
                and os.path.isdir(record.get("build", "")) and not self.check_mode:
            if os.path.isdir(self.node.data_dir):
                os.rmdir(self.node.data_dir)
            os.rename(record["build"], self.node.data_dir)
            pg.sync_directory(os.path.dirname(self.node.data_dir))
            self.result["aside"] = record.get("aside")

    def _free_name(self, kind):
        base = "{0}.{1}-{2}".format(self.node.data_dir, kind, re.sub(r"[^\w.-]", "_", self.request["run_id"]))
        path, number = base, 1
        while os.path.lexists(path):
            number += 1
            path = "{0}-{1}".format(base, number)
        return path

    def _rebuild(self, who):
        """A base backup beside the old directory, which is then set aside, never deleted."""
        node, request = self.node, self.request
        if node.postmaster() is not None:
            self._stop_standby(who)
        for path in self._own_builds():
            shutil.rmtree(path)
        data_dir = node.data_dir
        parent = os.path.dirname(data_dir)
        build = self._free_name("new")
        aside = self._free_name("aside") if os.path.isdir(data_dir) and os.listdir(data_dir) else None
        record = {"data_dir": data_dir, "build": build, "aside": aside, "run_id": request["run_id"], "finished": False,
                  "at": time.time()}
        write_record(node, "follow", record)
        uid, gid, dummy = pg.owner_and_mode(data_dir if os.path.isdir(data_dir) else parent)
        if os.geteuid() == 0 and uid == 0:
            import pwd
            entry = pwd.getpwnam(node.user)
            uid, gid = entry.pw_uid, entry.pw_gid
        os.mkdir(build, 0o700)
        if os.geteuid() == 0:
            os.chown(build, uid, gid)
        conninfo = self._conninfo()
        source = dict(conninfo, application_name="circonus-inside-basebackup")
        rc, out, err = pg.run([os.path.join(node.bindir, "pg_basebackup"), "-D", build, "-d", pg.format_conninfo(source),
                               "-X", "stream", "-c", "fast", "-w"], node.user, request["backup_timeout"])
        if rc != 0:
            shutil.rmtree(build)
            raise CommandFailed("pg_basebackup from {0} failed with {1}: {2}. The old directory is untouched; mend what it "
                                "says and run this again.".format(
                                    request["upstream"], rc, (err or out).strip().splitlines()[-1:]))
        self.result["bytes"] = pg.tree_bytes(build) or 0
        for name in ("postgresql.conf", "pg_hba.conf", "pg_ident.conf"):
            own = os.path.join(data_dir, name)
            if os.path.isfile(own):
                # What Hooper wrote for this host stays this host's.
                shutil.copy2(own, os.path.join(build, name))
                if os.geteuid() == 0:
                    os.chown(os.path.join(build, name), uid, gid)
        pg.remove_file(os.path.join(build, "standby.signal"))
        pg.write_standby_settings(build, conninfo)
        self._own_trigger(build, data_dir)
        pg.run(["sync", "-f", build], timeout=600.0)
        write_record(node, "follow", dict(record, finished=True))
        if os.path.isdir(data_dir):
            if aside:
                os.rename(data_dir, aside)
            else:
                os.rmdir(data_dir)
        os.rename(build, data_dir)
        pg.sync_directory(parent)
        self.result["aside"] = aside
        self._point_new(who)

    @staticmethod
    def _own_trigger(build, data_dir):
        """Before version 12 the trigger file is named with the directory's final path."""
        path = os.path.join(build, "recovery.conf")
        text = pg.read_text(path)
        if text is not None and pg.major_version(build)[1] < 12:
            owner = os.stat(build)
            write_durable(path, pg.change_settings(text, {"trigger_file": os.path.join(data_dir, "failover.now")}), 0o600)
            if os.geteuid() == 0:
                os.chown(path, owner.st_uid, owner.st_gid)

    def _point_new(self, who):
        pg.write_standby_settings(self.node.data_dir, self._conninfo())
        remove_record(self.node, "fenced")
        self.node.service.start(self.request["timeout"])
        self._wait_streaming(who, self.request["timeout"])
        remove_record(self.node, "follow")
