"""Everything one node keeps: numeric rollups, text and histograms, and the lists of metrics of the latter two.

A record is a list as journals carry it: ["nnt", period, check, metric, at, *values], ["text", 0, check, metric, at in
milliseconds, text] or ["hist", period, check, metric, at, base64].
"""

import base64
import os
import threading

from daemons.snowth import level, numeric

ROLLUPS = (60, 300, 10800)
KINDS = {"nnt": "numeric", "text": "text", "hist": "histogram"}
NUMERIC = ("data", "nntbs")  # below one of these, by release
DIRECTORIES = ("data", "text", "hist", "raw_db", "surrogate_db", "metric_name_db", "nntbs")


class Broken(Exception):
    """A store that does not open; text for the error log."""


def targets(rollups=ROLLUPS):
    """{what of -r: path below the store, without the node id}."""
    found = {"text/metrics": ("text", "metrics"), "text/changelog": ("text", "changelog")}
    found["hist/metrics"] = ("hist", "metrics")
    found.update({"hist/%d" % period: ("hist", str(period)) for period in rollups})
    return found


def place(root, ident, target):
    kind, name = targets()[target]
    return os.path.join(root, kind, ident, name)


def key(*parts):
    return "\0".join(map(str, parts)).encode()


def parts(data):
    return data.decode().split("\0")


class Store:
    def __init__(self, root, ident, release):
        self.root, self.ident = root, ident
        self.lock = threading.Lock()
        self.full = lambda: False
        for name in ("data", "text", "hist", *(() if release.nnt_store else ("nntbs",))):
            if not os.path.isdir(os.path.join(root, name, ident)):
                raise Broken("%s: no such directory" % os.path.join(root, name, ident))
        self.levels = {}
        for target in targets():
            path = place(root, ident, target)
            try:
                self.levels[target] = level.Level(path)
            except level.Corruption as exc:
                raise Broken("leveldb: cannot open %s: %s" % (path, exc)) from exc
        self.numeric = numeric.Numeric(self.numeric_directory(release), ROLLUPS)

    def numeric_directory(self, release):
        old, new = (os.path.join(self.root, name, self.ident) for name in NUMERIC)
        converted = os.path.exists(os.path.join(new, numeric.FILE))
        if release.nnt_store and not converted:
            return old
        if os.path.exists(os.path.join(old, numeric.FILE)):
            raise Broken("%s holds NNT data, which only snowthd -N of an earlier release converts" % old)
        return new

    def close(self):
        self.numeric.close()
        for store in self.levels.values():
            store.close()

    # -- writing ------------------------------------------------------------------------------------------------
    def write(self, records):
        """Store records; they are on the disk when it returns. OSError when there is no space."""
        if self.full():
            raise OSError(28, "No space left on device")
        rows = [record[1:] for record in records if record[0] == "nnt"]
        if rows:
            self.numeric.write(rows)
        with self.lock:
            for kind, name in (("text", "changelog"), ("hist", None)):
                chosen = [record for record in records if record[0] == kind]
                for period in sorted({record[1] for record in chosen}):
                    pairs = [
                        (key(check, metric, "%016d" % at), str(value).encode())
                        for _kind, found, check, metric, at, value in chosen
                        if found == period
                    ]
                    self.levels["%s/%s" % (kind, name or period)].write(pairs)
                listed = {(check, metric) for _kind, _period, check, metric, *_rest in chosen}
                self.levels[kind + "/metrics"].write([(key(*pair), b"1") for pair in sorted(listed)])

    # -- reading ------------------------------------------------------------------------------------------------
    def _level(self, target, check, metric):
        """[(at, text)] of a metric, sorted."""
        start = key(check, metric, "")
        with self.lock:
            found = [pair for pair in self.levels[target].data.items() if pair[0].startswith(start)]
        return sorted((int(parts(name)[2]), value.decode()) for name, value in found)

    def text(self, check, metric, start, end):
        """Change points from start to before end (seconds), led by the last one before."""
        found = self._level("text/changelog", check, metric)
        before = [pair for pair in found if pair[0] < start * 1000][-1:]
        return before + [pair for pair in found if start * 1000 <= pair[0] < end * 1000]

    def histogram(self, check, metric, period, start, end):
        """[(at, base64)], both ends inclusive."""
        return [pair for pair in self._level("hist/%d" % period, check, metric) if start <= pair[0] <= end]

    def metrics(self, kind, check=None):
        """[(check, metric)] that this node lists."""
        if kind == "nnt":
            return self.numeric.metrics(check)
        with self.lock:
            found = sorted(tuple(parts(name)) for name in self.levels[kind + "/metrics"].data)
        return [pair for pair in found if check in (None, pair[0])]

    def everything(self):
        """[(kind, period, check, metric)] of all metrics, each rollup by itself."""
        found = [("nnt", p, c, m) for c, m in self.metrics("nnt") for p in self.numeric.periods(c, m)]
        found += [("text", 0, c, m) for c, m in self.metrics("text")]
        for check, metric in self.metrics("hist"):
            found += [("hist", p, check, metric) for p in ROLLUPS if self._level("hist/%d" % p, check, metric)]
        return found

    def records(self, kind, period, check, metric):
        """All of one metric, as records."""
        if kind == "nnt":
            rows = self.numeric.read(check, metric, period, 0, 1 << 40)
            return [[kind, period, check, metric, *row] for row in rows]
        target = "text/changelog" if kind == "text" else "hist/%d" % period
        return [[kind, period, check, metric, *pair] for pair in self._level(target, check, metric)]

    # -- removing -----------------------------------------------------------------------------------------------
    def delete(self, kind, check, metric, before=None, periods=None):
        """Remove a metric, or of the given rollups what is older than `before` (seconds)."""
        if kind == "nnt":
            self.numeric.delete(check, metric, before, periods)
            return
        names = ["text/changelog"] if kind == "text" else ["hist/%d" % p for p in (periods or ROLLUPS)]
        start, scale = key(check, metric, ""), 1000 if kind == "text" else 1
        with self.lock:
            for name in names:
                gone = [
                    stored
                    for stored in self.levels[name].data
                    if stored.startswith(start) and (before is None or int(parts(stored)[2]) < before * scale)
                ]
                self.levels[name].write([(stored, None) for stored in gone])
            if before is None:
                self.levels[kind + "/metrics"].write([(key(check, metric), None)])


def bins(text):
    """{value: count} of a serialised histogram: bins of value, exponent, size of the count, count."""
    data = base64.b64decode(text, validate=True)
    found, at = {}, 2
    for _number in range(int.from_bytes(data[:2], "big")):
        value, exponent, size = data[at], data[at + 1], data[at + 2] + 1
        value = (value - 256 if value > 127 else value) / 10.0
        exponent = exponent - 256 if exponent > 127 else exponent
        name = "%g" % (value * 10.0**exponent)
        found[name] = found.get(name, 0) + int.from_bytes(data[at + 3 : at + 3 + size], "big")
        at += 3 + size
    return found


def convert(root, ident):
    """-N: rollups from data/ to nntbs/; True when there was anything to do."""
    old, new = (os.path.join(root, name, ident, numeric.FILE) for name in NUMERIC)
    if not os.path.exists(old):
        return False
    os.makedirs(os.path.dirname(new), exist_ok=True)
    os.replace(old, new) if os.stat(old).st_dev == os.stat(os.path.dirname(new)).st_dev else copy(old, new)
    return True


def copy(old, new):
    import shutil

    shutil.copyfile(old, new + ".part")
    os.replace(new + ".part", new)
    os.unlink(old)
