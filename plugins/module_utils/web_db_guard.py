# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The guard of a database host: no second primary after a failover, whatever the old one missed.

``check_start`` runs before the server starts and refuses a start as primary that is not known to be right.
``Guard.loop`` runs beside the server and stops a primary that sees a peer on a newer timeline. A standby is never
touched.
"""
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import json
import os
import sys
import threading
import time

from ansible_collections.circonus.inside.plugins.module_utils import address as client_address
from ansible_collections.circonus.inside.plugins.module_utils import postgres as pg
from ansible_collections.circonus.inside.plugins.module_utils import web_db
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput, InsideError

CONFIG = "/etc/circonus-inside/web_db_guard.json"
OVERRIDE_S = 600.0
STATE_EVERY_S = 5.0
STANDBY_EVERY_S = 2.0
#: How often a standby asks the peers that are not its primary, while that one answers.
OTHERS_EVERY_S = 10.0
#: How soon a shorter interval is followed, and a standby's guard sees that it guards a primary now.
NOTICED_S = 0.5
DEFAULTS = {"site": None, "peers": [], "client_address": None, "interval_s": 0.5, "connect_timeout_s": 1.0,
            "isolated_wait_s": 30.0, "allow_isolated_start": False, "node": {}}


def read_config(path=CONFIG):
    """The guard's configuration with its defaults. Raises BadInput when it cannot be used.

    ``{"site", "peers": [{"name", "address", "site"}], "client_address", "interval_s", "connect_timeout_s",
    "isolated_wait_s", "allow_isolated_start", "node": options of a database node}``.
    """
    text = pg.read_text(path)
    try:
        config = dict(DEFAULTS, **json.loads(text or ""))
        for peer in config["peers"]:
            peer["name"], peer["address"], peer["site"]  # pylint: disable=pointless-statement
    except (ValueError, TypeError, KeyError):
        raise BadInput("Expected the guard's configuration (JSON with peers) in {0}, found {1}. Run "
                       "web_db_guard.yml.".format(path, "nothing" if text is None else "something else"))
    return config


def log(message):
    """One line to the journal."""
    sys.stderr.write("web_db_guard: {0}\n".format(message))
    sys.stderr.flush()


class PeerWatch(threading.Thread):
    """Asks one peer again and again over a connection that stays open."""

    def __init__(self, node, peer, interval, timeout):
        super(PeerWatch, self).__init__()
        self.daemon = True
        self.node, self.peer, self.interval, self.timeout = node, peer, interval, timeout
        self.halt, self.asked = threading.Event(), threading.Event()
        self.answer, self.session, self.keep = None, None, True

    def run(self):
        """Ask until told to stop."""
        while not self.halt.is_set():
            begun = time.time()
            try:
                if self.session is None:
                    self.session = self.node.connect_replication(
                        self.peer["address"], web_db.GUARD, timeout=self.timeout)
                self.answer = pg.identify(self.session, self.timeout)
                if not self.keep:
                    self._drop()
            except InsideError:
                self.answer = None
                self._drop()
            self.asked.set()
            while time.time() - begun < self.interval and not self.halt.is_set():
                self.halt.wait(min(NOTICED_S, max(0.0, self.interval - (time.time() - begun))))
        self._drop()

    def _drop(self):
        if self.session is not None:
            self.session.close()
            self.session = None


class Guard(object):
    """The guard of one host. ``service`` and ``address`` can be replaced where there is no unit or no interface."""

    def __init__(self, config, service=None, address=client_address):
        self.config, self.service, self.address = config, service, address
        self.node = web_db.node_of(config["node"], service)
        self.sites = {peer["name"]: peer["site"] for peer in config["peers"]}
        self.watches = []
        self.state, self.message, self.written, self.primary = None, "", 0.0, None
        self.halt = threading.Event()

    # -- the peers

    def watch(self, often=True):
        """Begin to ask all peers, each in its own time. Not often: for a standby, which only remembers what it hears of
        its primary and keeps no connection slot of its peers."""
        primaries = [name for name, answer in self.peers().items() if answer and answer["read_write"]]
        for watch in self.watches:
            watch.keep, seconds = often, 0.0
            if not often:
                seconds = OTHERS_EVERY_S if primaries and watch.peer["name"] not in primaries else STANDBY_EVERY_S
            watch.interval = max(seconds, self.config["interval_s"])
        if not self.watches:
            for peer in self.config["peers"]:
                watch = PeerWatch(self.node, peer, self.config["interval_s"], self.config["connect_timeout_s"])
                self.watches.append(watch)
                watch.start()

    def unwatch(self):
        """Stop asking."""
        for watch in self.watches:
            watch.halt.set()
        self.watches = []

    def peers(self):
        """``{name: last answer or None}``."""
        return {watch.peer["name"]: watch.answer for watch in self.watches}

    def own(self):
        """This server, as a peer would see it."""
        control = pg.read_control(self.node.data_dir)
        return {"system_identifier": control["system_identifier"], "timeline": self.node.timeline_on_disk()}

    # -- before a start

    def verdict(self, allow_isolated):
        """:func:`web_db.start_verdict` of what is known right now."""
        peers = self.peers()
        return web_db.start_verdict(
            pg.standby_settings(self.node.data_dir)["starts_as"], web_db.read_record(self.node, "fenced"), self.own(),
            peers, web_db.unseen_peers(peers, self.sites, self.config["site"]), allow_isolated)

    def override(self):
        """True while the operator's one-shot permission to start alone is there and fresh."""
        path = os.path.join(self.node.state_dir, "web_db.start_alone")
        try:
            return time.time() - os.stat(path).st_mtime < OVERRIDE_S
        except OSError:
            return False

    def check_start(self):
        """Whether the server may start, as ``(verdict, reason)``; waits for peers when that decides it."""
        if not self.node.data_dir or pg.standby_settings(self.node.data_dir)["starts_as"] != "primary" \
                or pg.read_control(self.node.data_dir) is None:
            return "allow", "there is no primary to start"
        alone = self.override()
        self.watch()
        until = time.time() + self.config["isolated_wait_s"]
        try:
            for watch in self.watches:
                watch.asked.wait(self.config["connect_timeout_s"] + 1.0)
            while True:
                verdict, reason = self.verdict(self.config["allow_isolated_start"] or alone)
                if verdict != "isolated" or time.time() >= until:
                    break
                time.sleep(0.2)
        finally:
            self.unwatch()
        if verdict == "rival":
            try:
                self._mark(reason)
            except InsideError:
                # As the database's user it cannot be written; the peers say the same at the next start.
                pass
        isolated = os.path.join(self.node.guard_dir, "guard", "isolated")
        try:
            if verdict == "isolated":
                with open(isolated, "w"):
                    pass
            elif os.path.exists(isolated):
                os.unlink(isolated)
            if alone:
                os.unlink(os.path.join(self.node.state_dir, "web_db.start_alone"))
        except (IOError, OSError):
            pass
        return verdict, reason

    def _mark(self, reason):
        if web_db.read_record(self.node, "fenced") is None:
            web_db.write_record(self.node, "fenced", {
                "run_id": "guard", "token": 0, "candidate": reason.split(" ")[0], "primary": None, "reason": reason,
                "at": time.time()})

    # -- beside the server

    def is_primary(self):
        """True when a server runs here that is not a standby."""
        return self.node.postmaster() is not None and \
            pg.standby_settings(self.node.data_dir)["starts_as"] == "primary"

    def step(self):
        """Look once; returns the state: stopped, standby, watching, isolated, conflict or demoted."""
        if not self.node.data_dir:
            self.node.data_dir = pg.find_data_dir(self.config["node"].get("data_glob", pg.DATA_GLOB))
        if not self.node.data_dir or self.node.postmaster() is None:
            return self._stopped()
        if not self.is_primary():
            self.watch(often=False)
            self._remember()
            return self._say("standby", "")
        self.watch()
        self.primary = None
        own, peers = self.own(), self.peers()
        rival = web_db.find_rival(own, peers)
        if rival and self.is_primary():
            return self._demote(rival)
        twin = web_db.find_twin(own, peers)
        if twin:
            return self._say("conflict", twin + ", and so is this host: stop one of them by hand")
        unseen = web_db.unseen_peers(peers, self.sites, self.config["site"])
        if unseen and all(watch.asked.is_set() for watch in self.watches):
            return self._say("isolated", "none of {0} answers".format(", ".join(unseen)))
        return self._say("watching", "")

    def _remember(self):
        """Keep the last position of the primary: after it is lost, this says how much a failover could lose."""
        for name, answer in self.peers().items():
            if answer and answer["read_write"] and answer["lsn"] != (self.primary or {}).get("lsn"):
                self.primary = dict(name=name, lsn=answer["lsn"], timeline=answer["timeline"], at=time.time())

    def _demote(self, rival):
        gone = self.node.immediate_stop()
        if self.config["client_address"] and self.address is not None:
            try:
                self.address.absent(self.config["client_address"])
            except InsideError as exc:
                log(str(exc))
        self._mark(rival)
        self.unwatch()
        if not gone:
            return self._say("conflict", rival + ", and the server here does not stop")
        return self._say("demoted", rival + ": the primary of this host was stopped and fenced")

    def _stopped(self):
        """Start a server again whose start was refused only because nobody answered, once somebody does."""
        path = os.path.join(self.node.guard_dir, "guard", "isolated")
        if not self.node.data_dir or not os.path.exists(path) or self.node.service.state() != "failed":
            self.unwatch()
            return self._say("demoted" if self.state == "demoted" else "stopped", self.message)
        self.watch()
        if not all(watch.asked.is_set() for watch in self.watches):
            return self._say("stopped", "waiting for peers")
        verdict, reason = self.verdict(False)
        if verdict == "isolated":
            return self._say("stopped", reason)
        os.unlink(path)
        self.unwatch()
        if verdict == "allow":
            log("peers answer again ({0}), starting {1}".format(reason, self.node.unit))
            try:
                self.node.service.start()
            except InsideError as exc:
                log(str(exc))
        return self._say("stopped", reason)

    def _say(self, state, message):
        """Log a change of state, and keep the state file fresh for web_db_info."""
        new = (state, message) != (self.state, self.message)
        if new:
            log("{0}{1}".format(state, ": " + message if message else ""))
        if new or time.time() - self.written > STATE_EVERY_S:
            self.state, self.message, self.written = state, message, time.time()
            path = os.path.join(self.node.guard_dir, "web_db_guard.json")
            text = json.dumps({"at": time.time(), "state": state, "message": message, "pid": os.getpid(),
                               "primary": self.primary, "peers": {
                name: (answer or {}).get("timeline") for name, answer in self.peers().items()}}, sort_keys=True)
            try:
                with open(path + ".new", "w") as handle:
                    handle.write(text + "\n")
                os.rename(path + ".new", path)
            except (IOError, OSError) as exc:
                log("cannot write {0}: {1}".format(path, exc.strerror))
        return state

    def prepare(self):
        """The directory in which a start check that runs as the database's user leaves its word."""
        directory = os.path.join(self.node.guard_dir, "guard")
        if not os.path.isdir(directory):
            os.makedirs(directory, 0o755)
        become = pg.as_user(self.node.user)[0]
        if become is not None:
            import pwd
            entry = pwd.getpwnam(self.node.user)
            os.chown(directory, entry.pw_uid, entry.pw_gid)

    def loop(self):
        """Look for ever; trouble is said and does not end it."""
        self.prepare()
        while not self.halt.is_set():
            begun = time.time()
            try:
                self.step()
            except InsideError as exc:
                self._say("conflict" if self.state == "conflict" else "trouble", str(exc))
            # Peers are asked in their own threads; the judgement costs little, and is made often where it counts.
            pause = NOTICED_S if self.state == "standby" else 0.1
            self.halt.wait(max(0.01, min(pause, self.config["interval_s"]) - (time.time() - begun)))
        self.unwatch()


def is_standby_anyway():
    """True when the only data directory of this host starts as a standby, whatever is wrong with the guard."""
    try:
        data_dir = pg.find_data_dir()
        return bool(data_dir) and pg.standby_settings(data_dir)["starts_as"] == "standby"
    except InsideError:
        return False


def main(argv):
    """``web_db_guard check-start|loop|status [config]``; exit code 1 refuses a start."""
    if len(argv) < 2 or argv[1] not in ("check-start", "loop", "status"):
        sys.stderr.write("usage: web_db_guard check-start|loop|status [configuration]\n")
        return 2
    try:
        guard = Guard(read_config(argv[2] if len(argv) > 2 else CONFIG))
        if argv[1] == "loop":
            guard.loop()
            return 0
        if argv[1] == "status":
            sys.stdout.write(json.dumps(web_db.guard_facts(guard.node), sort_keys=True) + "\n")
            return 0
        verdict, reason = guard.check_start()
    except InsideError as exc:
        if argv[1] == "check-start" and is_standby_anyway():
            log("a standby may start, but the guard is not in order: {0}".format(exc))
            return 0
        log("the start as a primary is refused: {0}".format(exc) if argv[1] == "check-start" else str(exc))
        return 1
    if verdict == "allow":
        return 0
    alone = os.path.join(guard.node.state_dir, "web_db.start_alone")
    remedy = "rejoin it with web_db_rejoin.yml"
    if verdict == "isolated":
        remedy = "if it is certain that no other host took over: touch {0}, then start within {1:.0f} minutes".format(
            alone, OVERRIDE_S / 60)
    log("the start as a primary is refused: {0}; {1}".format(reason, remedy))
    return 1
