# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A host of the configuration database becomes a standby, without losing what only it may hold.
"""
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import errno
import glob
import os
import pwd
import re
import shutil
import signal
import time

from ansible_collections.circonus.inside.plugins.module_utils import postgres as pg
from ansible_collections.circonus.inside.plugins.module_utils.errors import (
    CommandFailed, InsideError, Refused, TimedOut)
from ansible_collections.circonus.inside.plugins.module_utils.lock import write_durable
from ansible_collections.circonus.inside.plugins.module_utils.web_db import (
    read_record, write_record, remove_record, OneAtATime, follow_method, find_rival)


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
            raise Refused("The upstream {0} is on timeline {1}, web_db on {2} has been on timeline {3} already. "
                          "Follow the newer one, or set rebuild to always (web_db_rejoin_rebuild=always) to set aside "
                          "what is here.".format(
                              self.request["upstream"], who["timeline"], self.request["host"], own))

    def _nothing_to_do(self):
        if read_record(self.node, "fenced") is None:
            return self._finish(False)
        if not self.check_mode:
            remove_record(self.node, "fenced")
        return self._finish(True)

    def _finish(self, changed):
        if not self.check_mode:
            # Whatever a build left to remember is over once it streams.
            remove_record(self.node, "follow")
        self.result.update(changed=changed, seconds=round(time.time() - self.started, 2))
        self.result["msg"] = "{0} follows {1} ({2})".format(
            self.request["host"], self.request["upstream"], self.result["method"])
        return self.result

    def _finished_build(self):
        """True for a base backup of an earlier run that was put into place and has never been started."""
        record = read_record(self.node, "follow") or {}
        return bool(record.get("finished")) and record.get("data_dir") == self.node.data_dir \
            and self.node.postmaster() is None \
            and os.path.exists(os.path.join(self.node.data_dir, "backup_label"))

    def _method(self, control, who):
        if self._finished_build():
            return "direct", "the base backup of an earlier run is in place"
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
            raise Refused("web_db on {0} is a running primary and its upstream is on no newer timeline. Give its role "
                          "away "
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
                    self.request["host"], self.request["upstream"], missing,
                    said or self._last_complaint() or "nothing"))
            time.sleep(0.1)

    def _check_space(self):
        data_dir = self.node.data_dir
        if pg.mount_point(data_dir):
            raise Refused("The data directory {0} is a mount point and cannot be set aside by renaming it. Mount its "
                          "parent instead, or rebuild this standby by hand.".format(data_dir))
        spaces = glob.glob(os.path.join(data_dir, "pg_tblspc", "*"))
        if spaces:
            raise Refused("The database on {0} has tablespaces outside its directory ({1}); they cannot be set aside "
                          "with "
                          "it. Rebuild this standby by hand.".format(self.request["host"], len(spaces)))
        here = pg.tree_bytes(data_dir, ("pg_wal", "pg_xlog", "pg_log", "log")) if os.path.isdir(data_dir) else 0
        need = int(max(self.request.get("size_bytes") or 0, here or 0) * 1.1) + self.request["reserve_bytes"]
        leftovers = sum(pg.tree_bytes(path) or 0 for path in self._own_builds())
        free = pg.free_bytes(os.path.dirname(data_dir)) + leftovers
        self.result.update(needed_bytes=need, free_bytes=free)
        if free < need:
            raise Refused("A base backup on {0} needs {1} bytes in {2}, {3} are free (the old directory is kept). "
                          "Free {4} "
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
            entry = pwd.getpwnam(node.user)
            uid, gid = entry.pw_uid, entry.pw_gid
        os.mkdir(build, 0o700)
        if os.geteuid() == 0:
            os.chown(build, uid, gid)
        conninfo = self._conninfo()
        source = dict(conninfo, application_name="circonus-inside-basebackup")
        rc, out, err = pg.run([os.path.join(node.bindir, "pg_basebackup"), "-D", build,
                               "-d", pg.format_conninfo(source),
                               "-X", "stream", "-c", "fast", "-w"], node.user, request["backup_timeout"])
        if rc != 0:
            shutil.rmtree(build)
            raise CommandFailed("pg_basebackup from {0} failed with {1}: {2}. The old directory is untouched; mend "
                                "what it "
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
            write_durable(path, pg.change_settings(text, {
                "trigger_file": os.path.join(data_dir, "failover.now")}), 0o600)
            if os.geteuid() == 0:
                os.chown(path, owner.st_uid, owner.st_gid)

    def _point_new(self, who):
        pg.write_standby_settings(self.node.data_dir, self._conninfo())
        remove_record(self.node, "fenced")
        self.node.service.start(self.request["timeout"])
        self._wait_streaming(who, self.request["timeout"])
