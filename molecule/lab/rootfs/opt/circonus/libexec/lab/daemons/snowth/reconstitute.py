"""Rebuild of a node (-B): every other node is asked what belongs here, and all of it is pulled.

Progress is kept beside the data, so that the same command goes on where it was interrupted, and begins again when the
data of any kind was removed since. It does not finish while more nodes
than the write copies allow cannot be reached: it waits for them.
"""

import base64
import json
import os
import threading

from daemons import net
from daemons.snowth import topology

FILE, MARK = ".reconstitute.json", ".reconstitute"
RATE = 500.0  # metrics a second
RETRY = 2.0
SAVE = 50  # metrics
DONE = "Reconstitute Finished!"
TYPES = {"nnt": "nnt", "nntbs": "nnt", "text": "text", "hist": "hist", "raw": "", "metrics": "", "surrogate": ""}


class Failed(Exception):
    """The rebuild cannot work; one line."""


def kinds(types):
    """Kinds of data that -A asks for."""
    wrong = [name for name in types if name not in TYPES]
    if wrong:
        raise Failed("-A: unknown type %s" % wrong[0])
    return {TYPES[name] for name in types} - {""} if types else {"nnt", "text", "hist"}


def text(path):
    try:
        with open(path, encoding="utf-8") as handle:
            return handle.read()
    except OSError:
        return ""


def name_of(kind, period, check, metric):
    """A metric as /reconstitute/<node> lists it."""
    encoded = base64.b64encode(metric.encode()).decode()
    return "/".join([kind, *([str(period)] if kind != "text" else []), check, encoded])


def parse(name):
    """(kind, period, check, metric) of such a name."""
    words = name.split("/", 3 if not name.startswith("text/") else 2)
    metric = base64.b64decode(words[-1]).decode()
    return words[0], int(words[1]) if len(words) == 4 else 0, words[-2], metric


class Reconstitute:
    def __init__(self, node, options):
        self.node, self.options = node, options
        self.kinds = kinds(options.types)
        places = ("data", "text", "hist", node.numeric_name)
        self.marks = [os.path.join(node.root, name, node.identity, MARK) for name in dict.fromkeys(places)]
        self.path = os.path.join(node.root, node.numeric_name, node.identity, FILE)
        self.stamp = ""
        self.stopping = threading.Event()
        self.done = {}  # node id: number of metrics pulled, in the order of its list
        self.total = {}
        self.finished = False

    def load(self):
        """Take up the progress of an interrupted run for the same source."""
        try:
            with open(self.path, encoding="utf-8") as handle:
                found = json.load(handle)
        except (OSError, ValueError):
            return
        if found.get("source") == self.source and all(text(path) == found["stamp"] for path in self.marks):
            self.stamp, self.done, self.lists = found["stamp"], found["done"], found["lists"]

    def mark(self):
        """Note in every directory of data that this run began with what is there."""
        if not self.stamp:
            self.stamp = os.urandom(8).hex()
            for path in self.marks:
                with open(path, "w", encoding="utf-8") as handle:
                    handle.write(self.stamp)

    def save(self):
        found = {"source": self.source, "stamp": self.stamp, "done": self.done, "lists": self.lists}
        with open(self.path + ".new", "w", encoding="utf-8") as handle:
            json.dump(found, handle)
        os.replace(self.path + ".new", self.path)

    def sources(self):
        """Topology to pull from: the own one, or that of -T from the node of -O."""
        self.source, self.lists = self.options.foreign or self.node.active, {}
        if not self.options.foreign:
            return self.node.topology(self.node.active)
        from daemons.snowth.options import target

        path = "/topology/xml/" + self.options.foreign
        try:
            status, _headers, content = net.fetch(*target(self.options.bootstrap), path)
            found = topology.parse(content.decode()) if status == 200 else None
        except (OSError, net.Closed, topology.Invalid) as exc:
            raise Failed("topology from %s: %s" % (self.options.bootstrap, exc)) from exc
        if found is None:
            raise Failed("%s does not know topology %s" % (self.options.bootstrap, self.options.foreign))
        return found

    def run(self):
        """Pull everything; returns when it is finished."""
        found = self.sources()
        self.load()
        self.mark()
        waiting = [row for row in found.nodes if row["id"] not in {self.node.identity, *self.options.without}]
        left_out = len(self.options.without) + (self.node.identity in found.by_id)
        while waiting:
            failed = [row for row in waiting if not self.pull(row)]
            if len(failed) + left_out <= found.copies - 1:
                break
            waiting = failed
            self.node.log("reconstitute: %d nodes cannot be read, waiting for them" % len(failed))
            self.stopping.wait(RETRY)
        self.finished = True
        for path in (self.path, *self.marks):
            if os.path.exists(path):
                os.unlink(path)

    def get(self, row, path):
        """JSON of a source node; OSError, Closed or ValueError when it does not come."""
        headers = [("X-Snowth-Lab-Format", str(self.node.release.rebuild_format))]
        status, _headers, content = net.fetch(row["address"], row["apiport"], path, headers=headers, seconds=30.0)
        if status != 200:
            raise OSError("status %d %s" % (status, content[:80].decode(errors="replace")))
        return json.loads(content.decode())

    def pull(self, row):
        """All of one source that belongs here; False when it stopped answering."""
        ident = row["id"]
        try:
            if ident not in self.lists:
                self.lists[ident] = self.wanted(row)
            names = self.lists[ident]
            at = self.done.get(ident, 0)
            while at < len(names):
                kind, period, check, metric = parse(names[at])
                path = "/lab/records/" + names[at]
                records = self.get(row, path)
                if kind in self.kinds:
                    self.node.store.write([record for record in records if record[:4] == [kind, period, check, metric]])
                at += 1
                self.done[ident] = at
                if at % SAVE == 0:
                    self.save()
                self.stopping.wait(1.0 / max(self.node.faults.number("reconstitute-rate", RATE), 0.01))
        except (OSError, net.Closed, ValueError) as exc:
            self.node.log("reconstitute: %s: %s" % (ident, exc))
            self.save()
            return False
        self.save()
        return True

    def wanted(self, row):
        """Names of the metrics of a source that belong on this node."""
        if not self.options.foreign:
            return self.get(row, "/reconstitute/" + self.node.identity)["metrics"]
        mine = self.node.topology(self.node.active)
        found = self.get(row, "/lab/everything")
        return [name for name in found if self.node.identity in mine.owners(*parse(name)[2:])]

    def status(self):
        """Section `reconstitute` of the statistics: percent by kind of data."""
        percent = {}
        for kind in ("nnt", "text", "hist"):
            total = done = 0
            for ident, names in list(self.lists.items()):
                chosen = [name.startswith(kind + "/") for name in names]
                total, done = total + sum(chosen), done + sum(chosen[: self.done.get(ident, 0)])
            percent[kind] = {"percent": 100.0 * done / total if total else 100.0 * self.finished}
        return percent
