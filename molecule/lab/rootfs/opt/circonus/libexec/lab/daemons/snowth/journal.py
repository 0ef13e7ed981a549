"""What a node has still to tell a peer: a journal on disk per peer, delivered over HTTP at a limited rate.

The files are JLog's, one message a record. The thread sleeps while there is nothing to deliver.
"""

import json
import os
import threading

from daemons import jlog, net

UNIT = 256 * 1024
BATCH = 250
RATE = 2000.0  # records a second
RETRY = 1.0
KIND = "application/snowth-journal"


class Journal(threading.Thread):
    """One outbound journal. target: () -> (address, port) of the peer."""

    def __init__(self, path, peer, target, faults, now, log):
        super().__init__(daemon=True, name="journal-" + peer[:8])
        self.peer, self.target, self.faults, self.now, self.log = peer, target, faults, now, log
        self.lock, self.wake = threading.Lock(), threading.Event()
        self.writer = jlog.Writer(path, unit_limit=UNIT)
        self.reader = jlog.Reader(path, peer)
        self.oldest = 0.0  # stamp of the oldest record that is not delivered, 0 without one
        self.sent = 0
        self.failing = False
        self.peek(1)

    def append(self, records):
        """Note records for the peer; on the disk when it returns."""
        with self.lock:
            stamp = self.now()
            for record in records:
                self._write(json.dumps(record, separators=(",", ":")).encode(), stamp)
            os.fdatasync(self.writer.handle)
            self.oldest = self.oldest or stamp
        self.wake.set()

    def _write(self, payload, stamp):
        """One record, whole or not at all."""
        before, handle = os.fstat(self.writer.handle).st_size, self.writer.handle
        try:
            self.writer.write(payload, stamp)
        finally:
            same = self.writer.handle == handle and before < UNIT
            start = before if same else 0
            size = os.fstat(self.writer.handle).st_size
            complete = size == start + jlog.HEAD.size + len(payload)
            if not complete:
                os.ftruncate(self.writer.handle, start)
        if not complete:
            raise OSError(28, "No space left on device")

    def peek(self, limit):
        """[(checkpoint, stamp, record)] that come next."""
        with self.lock:
            found = self.reader.read(limit)
            self.oldest = found[0][1] + found[0][2] / 1e6 if found else 0.0
            if not found:
                self.writer.clean()
        return found

    def run(self):
        while True:
            self.wake.clear()
            if not self.step():
                self.wake.wait(RETRY if self.oldest else None)

    def step(self):
        """Deliver one batch; False when there is nothing to do now."""
        rate = max(self.faults.number("drain-rate", RATE), 0.01)
        batch = self.peek(int(min(BATCH, max(rate / 4, 1))))
        if not batch or self.faults.names("stuck-peer", self.peer) or not self.deliver([item[3] for item in batch]):
            return False
        with self.lock:
            self.reader.set(*batch[-1][0])
        self.sent += len(batch)
        self.peek(1)
        self.pause(len(batch) / rate)
        return True

    def pause(self, seconds):
        threading.Event().wait(seconds)

    def deliver(self, payloads):
        """True when the peer has stored them."""
        try:
            status, _headers, content = post(self.target(), payloads)
            reason = "" if status == 200 else "status %d %s" % (status, content[:80].decode(errors="replace"))
        except (OSError, net.Closed, KeyError) as exc:
            reason = str(exc) or repr(exc)
        if reason and not self.failing:
            self.log("journal to %s: %s" % (self.peer, reason))
        self.failing = bool(reason)
        return not reason


def post(target, payloads, seconds=10.0):
    """Send records (JSON as bytes) to a node; what net.fetch returns."""
    headers = [("Content-Type", KIND)]
    return net.fetch(*target, "/journal/%d" % len(payloads), "POST", b"\n".join(payloads), headers, seconds=seconds)


def drain(journals, pause):
    """-j: deliver until nothing is left; 0."""
    while any(journal.oldest for journal in journals):
        delivered = [journal.step() for journal in journals if journal.oldest]  # each of them has its turn
        if not any(delivered):
            pause(RETRY)
    return 0
