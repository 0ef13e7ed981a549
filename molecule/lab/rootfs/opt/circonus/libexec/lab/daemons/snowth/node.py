"""One node: its files, its parts, and the life of its process."""

import fcntl
import os
import random
import re
import sys
import threading
import time

from daemons import console, net, watchdog
from daemons.noitd import clock
from daemons.snowth import faults, gossip, journal, rebalance, reconstitute, release, rest, store, sweep, topology

TOPOLOGIES = "/opt/circonus/etc/snowth-topo"
STORE = "/snowth"
CONSOLE = 32322
ANY = "0.0.0.0"
GOSSIP = (0.2, 1.8)
SELECTOR = re.compile(r'(<topology\b[^>]*\bactive=")([0-9a-f]{64})(")')
PROXY_SECONDS = 5.0


class Snowth:
    """host: address to listen on (tests run several nodes on one machine)."""

    def __init__(
        self,
        child,
        options,
        topologies=TOPOLOGIES,
        root=STORE,
        host=ANY,
        console_port=CONSOLE,
        fault_dir=faults.DIRECTORY,
    ):
        self.child, self.options, self.topologies, self.root = child, options, topologies, root
        self.host, self.console_port = host, console_port
        self.faults = faults.Faults(fault_dir)
        self.started = time.time()
        self.known, self.counters, self.journals, self.rebuilds = {}, {}, {}, set()
        self.lock = threading.Lock()
        self.rebuilding = None

    def now(self):
        """The clock of this node, which may be wrong."""
        return time.time() + self.faults.number("clock-offset", 0.0)

    # -- logs ---------------------------------------------------------------------------------------------------
    def log(self, text, name="errorlog"):
        path = os.path.join(self.root, "logs", name)
        try:
            with open(path, "a", encoding="utf-8") as handle:
                handle.write("[%s] %s\n" % (clock(time.time()), text))
        except OSError as exc:
            print("%s: %s" % (path, exc), file=sys.stderr, flush=True)

    def access(self, request, status, size, seconds):
        self.log(
            '%s "%s %s" %d %d %.3f' % (request.peer, request.method, request.path, status, size, seconds), "accesslog"
        )

    def die(self, text):
        watchdog.die(self.log, text)

    # -- start --------------------------------------------------------------------------------------------------
    def work(self):
        self.start()
        self.child.ready()
        due = 0.0
        while True:
            self.child.beat()
            now = time.monotonic()
            if now >= due:
                if not self.options.quiet:
                    self.gossip.send()
                due = now + random.uniform(*GOSSIP)
            time.sleep(max(min(watchdog.BEAT, due - time.monotonic()), 0.01))

    def start(self):
        self.open()
        delay = self.faults.number("slow-start", 0.0)
        if delay:
            self.log("slow start: %g s" % delay, "startuplog")
            self.child.ready()
            wait = time.monotonic() + delay
            while time.monotonic() < wait:
                self.child.beat()
                time.sleep(min(watchdog.BEAT, delay))
        self.listen()
        self.log("process starting: %d, node %s (lab stand-in)" % (os.getpid(), self.identity), "startuplog")

    def open(self):
        """Everything that needs no network."""
        self.lock_store()
        self.configure()
        try:
            self.store = store.Store(self.root, self.identity, self.release)
        except store.Broken as exc:
            self.die(str(exc))
        self.store.full = lambda: self.faults.on("disk-full")
        self.numeric_name = os.path.basename(os.path.dirname(self.store.numeric_directory(self.release)))
        self.sweep = sweep.Sweep(self.store, self.faults)
        self.rebalance = rebalance.Rebalance(self, os.path.join(self.root, "localstate"))

    def lock_store(self):
        """One instance on a store: the lock lives as long as the process."""
        path = os.path.join(self.root, "logs", "snowth.lock")
        try:
            self.lock_file = open(path, "a+", encoding="utf-8")  # held until the process ends
            fcntl.flock(self.lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            self.die("%s: %s: another snowthd works here" % (path, exc))
        except OSError as exc:
            self.die("%s: %s" % (path, exc))
        try:
            os.ftruncate(self.lock_file.fileno(), 0)
            os.write(self.lock_file.fileno(), b"%d\n" % os.getpid())
        except OSError as exc:  # a full disk: only -k misses the number
            print("%s: %s" % (path, exc), file=sys.stderr, flush=True)

    def configure(self):
        """Release, topology and identity, from the files."""
        try:
            with open(self.options.conf, encoding="utf-8") as handle:
                text = handle.read()
            self.release = release.Release(self.faults.text("release") or release.of_conf(text))
            self.selector = os.path.join(os.path.dirname(self.options.conf), "topology.conf")
            if not os.path.exists(self.selector):
                self.selector = self.options.conf
            with open(self.selector, encoding="utf-8") as handle:
                self.active = SELECTOR.search(handle.read()).group(2)
        except (OSError, AttributeError, ValueError) as exc:
            self.die("topology of %s: %s" % (self.options.conf, exc))
        try:
            with open(os.path.join(self.topologies, self.active), encoding="utf-8") as handle:
                found = topology.parse(handle.read())
        except (OSError, topology.Invalid) as exc:
            self.die("topology %s: %s" % (self.active, exc))
        if found.digest != self.active:
            self.die("topology %s does not match its digest" % self.active)
        self.known[self.active] = found
        directories = sorted(os.listdir(os.path.join(self.root, "data")))
        self.identity = self.options.identity or (directories[0] if directories else "")
        if self.identity not in found.by_id:
            self.die("node %s is not in topology %s" % (self.identity or "-", self.active))

    def listen(self):
        me = self.topology(self.active).by_id[self.identity]
        self.rest = rest.Rest(self)
        tree = {"show": {"version": lambda _words: console.version("snowth")}, **self.child.commands()}
        try:
            self.gossip = gossip.Gossip(self.host, me["port"], self.row, self.peers, self.faults, self.now, self.log)
            for peer in sorted(set(self.peers()) - {self.identity}):
                self.journal(peer)
            self.listener = net.http_listener(me["apiport"], self.rest.respond, host=self.host, note=self.access)
            self.console = net.Listener(
                self.console_port, lambda stream, _peer, _cn: console.serve(stream, "snowth# ", tree), "127.0.0.1"
            )
        except OSError as exc:
            self.die("cannot listen on %d or %d: %s" % (me["port"], self.console_port, exc))
        self.gossip.start()
        self.rebalance.resume()

    # -- topologies ---------------------------------------------------------------------------------------------
    def topology(self, digest):
        """A topology by its digest, None when it is not loaded."""
        if digest not in self.known and re.fullmatch("[0-9a-f]{64}", digest):
            try:
                with open(os.path.join(self.topologies, digest), encoding="utf-8") as handle:
                    found = topology.parse(handle.read())
            except (OSError, topology.Invalid):
                return None
            if found.digest == digest:
                self.known[digest] = found
        return self.known.get(digest)

    def load_topology(self, digest, text):
        """POST /topology/<digest>: stored, not in force."""
        found = topology.parse(text)
        if found.digest != digest:
            raise topology.Invalid("bad topology hash: %s is %s" % (digest, found.digest))
        path = os.path.join(self.topologies, digest)
        if not os.path.exists(path):
            with open(path + ".new", "w", encoding="utf-8") as handle:
                handle.write(text)
            os.replace(path + ".new", path)
        self.known[digest] = found

    def switch(self, digest):
        """Put a topology into force, in the selector too."""
        with open(self.selector, encoding="utf-8") as handle:
            text = SELECTOR.sub(lambda match: match.group(1) + digest + match.group(3), handle.read())
        with open(self.selector, "r+", encoding="utf-8") as handle:
            handle.write(text)
            handle.truncate()
        self.active = digest

    def layouts(self):
        following = self.rebalance.next
        return [self.topology(digest) for digest in (self.active, following) if digest]

    def peers(self):
        """{id: node} of the layouts in force and to come."""
        return {ident: node for layout in self.layouts() for ident, node in layout.by_id.items()}

    def target(self, peer):
        node = self.peers()[peer]
        return node["address"], node["apiport"]

    def row(self):
        """The own row of gossip."""
        state = self.rebalance.state
        return {
            "id": self.identity,
            "current": self.active,
            "next": self.rebalance.next or "-",
            "state": "n/a" if state == rebalance.IDLE else state,
            "latency": self.gossip.latency(self.identity),
            "journal": {peer: item.oldest for peer, item in list(self.journals.items()) if item.oldest},
            "format": self.release.rebuild_format,
        }

    # -- data ---------------------------------------------------------------------------------------------------
    def journal(self, peer):
        with self.lock:
            if peer not in self.journals:
                path = os.path.join(self.root, "redo", peer)
                item = journal.Journal(path, peer, lambda: self.target(peer), self.faults, self.now, self.log)
                self.journals[peer] = item
                if not self.options.drain:
                    item.start()
            return self.journals[peer]

    def owners(self, check, metric):
        """Nodes that a new value goes to, of both layouts while there are two."""
        found = [ident for layout in self.layouts() for ident in layout.owners(check, metric)]
        return list(dict.fromkeys(found))

    def ingest(self, records):
        """Store and journal; on the disk when it returns. Number of records that belong here."""
        if self.faults.on("disk-full"):
            raise OSError(28, "No space left on device")
        mine, others = [], {}
        for record in records:
            for owner in self.owners(record[2], record[3]):
                if owner == self.identity:
                    mine.append(record)
                else:
                    others.setdefault(owner, []).append(record)
        self.store.write(mine)
        for peer, items in others.items():
            self.journal(peer).append(items)
        for record in records:
            self.count(record[0] + ".put.calls")
        return len(mine)

    def count(self, name):
        with self.lock:
            self.counters[name] = self.counters.get(name, 0) + 1

    def read(self, kind, request, check, metric, local):
        """The answer of this node when it has the metric and is not behind, else of the owner that answers first."""
        if self.rebuilding and self.release.rebuild_format == 2:
            raise rest.Bad(503, "node %s is being rebuilt" % self.identity)
        self.count(kind + ".get.calls")
        owners = self.topology(self.active).owners(check, metric)
        mine = self.identity in owners
        complete = mine and not self.rebuilding and self.gossip.synced(self.identity)
        if complete or rest.LOCAL in request.headers:
            return rest.body(local())
        rows, alive = self.gossip.rows(), self.gossip.alive()
        others = [ident for ident in owners if ident != self.identity]
        others.sort(key=lambda ident: (ident not in alive, behind(rows.get(ident))))
        for peer in others:
            try:
                path, headers = request.path, [(rest.LOCAL, "1")]
                status, _headers, content = net.fetch(*self.target(peer), path, headers=headers, seconds=PROXY_SECONDS)
            except (OSError, net.Closed):
                continue
            if status == 200:
                self.count(kind + ".get.proxy_calls")
                return status, content, rest.JSON
        if mine:
            return rest.body(local())
        raise rest.Bad(500, "no node that keeps %s-%s answers" % (check, metric))

    # -- rebuild ------------------------------------------------------------------------------------------------
    def rebuild(self):
        """-B: serve and gossip while the data is pulled; the exit code."""
        self.open()
        self.rebuilding = reconstitute.Reconstitute(self, self.options)
        self.listen()
        code = []

        def pull():
            try:
                self.rebuilding.run()
                print(reconstitute.DONE, flush=True)
                code.append(0)
            except reconstitute.Failed as exc:
                self.log("reconstitute: %s" % exc)
                print(exc, file=sys.stderr, flush=True)
                code.append(1)

        threading.Thread(target=pull, daemon=True, name="reconstitute").start()
        while not code or (code == [0] and self.faults.on("reconstitute-stays")):
            self.gossip.send()
            time.sleep(random.uniform(*GOSSIP) if not code else 0.2)
        return code[0]

    def drain(self):
        """-j: deliver what the journals hold, without listening."""
        self.open()
        self.gossip = None
        for peer in sorted(set(self.peers()) - {self.identity}):
            self.journal(peer)
        return journal.drain(list(self.journals.values()), time.sleep)


def behind(row):
    """Largest latency of a node, by its own row."""
    values = [int(value) for value in (row or {}).get("latency", {}).values()]
    return max(values) if values else 0


def holder(root):
    """Process id that holds the lock of a store, 0 without one."""
    path = os.path.join(root, "logs", "snowth.lock")
    try:
        with open(path, encoding="utf-8") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return int(handle.read() or 0)
    except (OSError, ValueError):
        return 0
    return 0
