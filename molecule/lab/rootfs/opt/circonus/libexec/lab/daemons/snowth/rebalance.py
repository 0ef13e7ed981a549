"""Resize: the documented states, walked through by every node of both layouts, waiting for the others where it must.

While it runs reads go by the old layout and writes to both. What the new layout does not want here is removed after
everybody has switched, because until then the old layout must stay readable.
"""

import json
import os
import threading

from daemons import net
from daemons.snowth import journal

STATES = ["IDLE", "VOTE", "REHASH", "REHASH_VOTE", "CLEANUP", "COMPLETE", "COMPLETE_VOTE"]
STATES = ["TOPO_REBALANCE_" + name for name in STATES]
IDLE, VOTE, REHASH, REHASH_VOTE, CLEANUP, COMPLETE, COMPLETE_VOTE = STATES
FILE = ".rebalance_state.json"
POLL = 0.5
CHUNK = 250


class Refused(Exception):
    """A call that does not fit the state; one line."""


class Rebalance:
    """node: the daemon; its topologies, gossip, store and selector are used."""

    def __init__(self, node, directory):
        self.node, self.path = node, os.path.join(directory, FILE)
        self.state, self.next, self.thread = IDLE, "", None
        self.lock, self.stopping = threading.Lock(), threading.Event()

    def resume(self):
        """Go on with what was running when the process ended."""
        try:
            with open(self.path, encoding="utf-8") as handle:
                found = json.load(handle)
            state, following = found["state"], found["next"]
        except (OSError, ValueError, KeyError, TypeError):
            return
        if state in STATES[1:] and self.node.topology(following):
            self.begin(following, state)

    def status(self):
        return {"current": self.node.active, "next": self.next or "-", "state": self.state}

    def activate(self, digest):
        if not self.node.topology(digest):
            raise Refused("topology %s is not loaded" % digest)
        if digest == self.node.active:
            raise Refused("topology %s is active already" % digest)
        if self.next and self.next != digest:
            raise Refused("a rebalance to %s is running" % self.next)
        old, new = self.node.topology(self.node.active), self.node.topology(digest)
        if self.node.identity in new.by_id and len(old.nodes) > 1:
            if old.sided != new.sided:
                raise Refused("a cluster cannot change between sided and not sided")
            gone = len(set(old.by_id) - set(new.by_id))
            if gone > old.copies - 1:
                raise Refused("%d nodes leave, at most %d may" % (gone, old.copies - 1))
        if not self.next:
            self.begin(digest, VOTE)

    def begin(self, digest, state):
        with self.lock:
            self.next, self.state = digest, state
            self.stopping = threading.Event()
            self.save()
            self.thread = threading.Thread(target=self.work, args=(self.stopping,), daemon=True, name="rebalance")
            self.thread.start()

    def deactivate(self, digest):
        if not self.next or digest != self.next:
            raise Refused("no rebalance to %s is running" % digest)
        if self.state in (COMPLETE, COMPLETE_VOTE):
            raise Refused("the rebalance to %s is complete" % digest)
        self.stopping.set()
        self.thread.join(30)
        self.end()

    def end(self):
        with self.lock:
            self.state, self.next = IDLE, ""
            if os.path.exists(self.path):
                os.unlink(self.path)

    def save(self):
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        new = "%s.%d" % (self.path, threading.get_ident())  # threads may save at the same time
        with open(new, "w", encoding="utf-8") as handle:
            json.dump(self.status(), handle)
        os.replace(new, self.path)

    def enter(self, state):
        with self.lock:
            self.state = state
            self.save()

    # -- the walk -----------------------------------------------------------------------------------------------
    def work(self, stopping):
        steps = {VOTE: self.vote, REHASH: self.rehash, CLEANUP: self.cleanup, COMPLETE: self.complete}
        steps[REHASH_VOTE] = lambda stop: self.reached(stop, REHASH_VOTE)
        steps[COMPLETE_VOTE] = lambda stop: self.everyone(stop, lambda row: row["current"] == self.next)
        old = self.node.topology(self.node.active)
        for state in STATES[STATES.index(self.state) :]:
            if stopping.is_set():
                return
            self.enter(state)
            if not steps[state](stopping):
                return
        self.remove(old)
        self.end()

    def everyone(self, stopping, agreed):
        """Wait until the newest gossip of all other nodes of both layouts agrees; False when stopped."""
        while not stopping.wait(POLL):
            rows, alive = self.node.gossip.rows(), self.node.gossip.alive()
            others = set(self.node.peers()) - {self.node.identity}
            if all(peer in alive and agreed(rows[peer]) for peer in others):
                return True
        return False

    def reached(self, stopping, state):
        at = STATES.index(state)

        def agreed(row):
            if row["current"] == self.next:
                return True
            return row["next"] == self.next and row["state"] in STATES and STATES.index(row["state"]) >= at

        return self.everyone(stopping, agreed)

    def vote(self, stopping):
        formats = [row.get("format") for row in self.node.gossip.rows().values()]
        if any(number != self.node.release.rebuild_format for number in formats):
            self.node.log("rebalance: nodes of an incompatible release; waiting")
        same = self.node.release.rebuild_format
        return self.everyone(stopping, lambda row: row["next"] == self.next and row.get("format") == same)

    def rehash(self, stopping):
        """Give every metric of this node to its new owners."""
        old, new = self.node.topology(self.node.active), self.node.topology(self.next)
        for kind, period, check, metric in self.node.store.everything():
            for peer in set(new.owners(check, metric)) - set(old.owners(check, metric)) - {self.node.identity}:
                records = self.node.store.records(kind, period, check, metric)
                for at in range(0, len(records), CHUNK):
                    if not self.give(stopping, peer, records[at : at + CHUNK]):
                        return False
        return True

    def give(self, stopping, peer, records):
        payloads = [json.dumps(record).encode() for record in records]
        while not stopping.is_set():
            try:
                if journal.post(self.node.target(peer), payloads)[0] == 200:
                    return True
            except (OSError, net.Closed, KeyError) as exc:
                self.node.log("rebalance: %s: %s" % (peer, exc))
            stopping.wait(2 * POLL)
        return False

    def cleanup(self, stopping):
        """Nothing may be on its way any more when the layout changes."""
        while any(item.oldest for item in self.node.journals.values()):
            if stopping.wait(POLL):
                return False
        return True

    def complete(self, _stopping):
        self.node.switch(self.next)
        return True

    def remove(self, old):
        new = self.node.topology(self.node.active)
        if self.node.identity not in new.by_id:
            return  # a node that left keeps its data until it is decommissioned
        for kind in ("nnt", "text", "hist"):
            for check, metric in self.node.store.metrics(kind):
                if self.node.identity not in new.owners(check, metric) and self.node.identity in old.by_id:
                    self.node.store.delete(kind, check, metric)
