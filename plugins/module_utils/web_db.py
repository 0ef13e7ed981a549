# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The configuration database of one host: its facts, its records, and the decisions about its role.

Changing the role is in web_db_switchover and web_db_follow, keeping it from being a second primary in web_db_guard.
"""
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import errno
import fcntl
import glob
import json
import os
import time

from ansible_collections.circonus.inside.plugins.module_utils import postgres as pg
from ansible_collections.circonus.inside.plugins.module_utils.errors import (
    BadInput, InsideError, TimedOut)
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
        "promotion": None, "last_fence_row": None, "known_primary": None, "guard": guard_facts(node), "asides": [],
        "possible_loss": None,
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
        return ("the replayed WAL ends at {0}, which is not the end of a shutdown checkpoint (last checkpoint {1}, "
                "redo "
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
