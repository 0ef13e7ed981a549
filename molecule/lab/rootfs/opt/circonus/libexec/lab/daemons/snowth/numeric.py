"""Numeric rollups of one node, in SQLite: synced to the disk before a write is acknowledged.

What is written has the base period; the longer rollups are computed from it at once. Of two values for the same metric
and time the one with the higher count stays, then the higher one: all copies agree whatever the order of arrival.
"""

import os
import sqlite3
import threading

FIELDS = ("count", "value", "derivative", "counter", "stddev", "derivative_stddev", "counter_stddev")
FILE = "numeric.sqlite"
KEEP = (
    "ON CONFLICT DO UPDATE SET "
    + ", ".join("%s = excluded.%s" % (name, name) for name in FIELDS)
    + " WHERE excluded.count > n.count OR (excluded.count = n.count AND excluded.value > n.value)"
)
INSERT = "INSERT INTO n VALUES (%s) %s" % (", ".join("?" * (4 + len(FIELDS))), KEEP)
MEAN = ", ".join("SUM(%s * count) / MAX(SUM(count), 1)" % name for name in FIELDS[1:])
ROLL = (
    "INSERT INTO n SELECT ?1, check_id, metric, ?4, SUM(count), " + MEAN + " FROM n"
    " WHERE period = ?5 AND check_id = ?2 AND metric = ?3 AND at >= ?4 AND at < ?4 + ?1 GROUP BY check_id, metric "
    "ON CONFLICT DO UPDATE SET "
    + ", ".join("%s = excluded.%s" % (name, name) for name in FIELDS)
    + " WHERE excluded.count >= n.count"
)


class Numeric:
    def __init__(self, directory, rollups):
        self.rollups = rollups
        self.lock = threading.Lock()
        self.base = sqlite3.connect(os.path.join(directory, FILE), check_same_thread=False, isolation_level=None)
        self.base.execute("PRAGMA journal_mode = TRUNCATE")  # no shared memory: works on every file system
        self.base.execute("PRAGMA synchronous = FULL")
        self.base.execute("PRAGMA cache_size = -512")
        self.base.execute(
            "CREATE TABLE IF NOT EXISTS n (period INTEGER, check_id TEXT, metric TEXT, at INTEGER, "
            + ", ".join(name + " REAL" for name in FIELDS)
            + ", PRIMARY KEY (check_id, metric, period, at)) WITHOUT ROWID"
        )

    def close(self):
        """Not in the middle of another thread's change: SQLite would crash the process."""
        with self.lock:
            self.base.close()

    def _change(self, work):
        with self.lock:
            self.base.execute("BEGIN IMMEDIATE")
            try:
                found = work()
                self.base.execute("COMMIT")
                return found
            except BaseException:
                self.base.execute("ROLLBACK")
                raise

    def write(self, rows):
        """rows: [(period, check, metric, at, *FIELDS)]."""
        base, buckets = self.rollups[0], set()
        for period, check, metric, at, *_values in rows:
            if period == base:
                buckets.update((long, check, metric, at - at % long, base) for long in self.rollups[1:])

        def work():
            self.base.executemany(INSERT, rows)
            self.base.executemany(ROLL, sorted(buckets))

        self._change(work)

    def _all(self, statement, values=()):
        with self.lock:
            return self.base.execute(statement, values).fetchall()

    def read(self, check, metric, period, start, end):
        """[(at, *FIELDS)], start inclusive, end exclusive."""
        where = "check_id = ? AND metric = ? AND period = ? AND at >= ? AND at < ? ORDER BY at"
        values = (check, metric, period, start, end)
        return self._all("SELECT at, %s FROM n WHERE %s" % (", ".join(FIELDS), where), values)

    def metrics(self, check=None):
        """[(check, metric)], sorted."""
        where, values = (" WHERE check_id = ?", (check,)) if check else ("", ())
        return self._all("SELECT DISTINCT check_id, metric FROM n%s ORDER BY 1, 2" % where, values)

    def periods(self, check, metric):
        found = self._all("SELECT DISTINCT period FROM n WHERE check_id = ? AND metric = ?", (check, metric))
        return sorted(period for (period,) in found)

    def latest(self, period):
        return self._all("SELECT MAX(at) FROM n WHERE period = ?", (period,))[0][0] or 0

    def delete(self, check, metric, before=None, periods=None):
        """Remove a metric, or what of it is older."""
        where, values = "check_id = ? AND metric = ?", [check, metric]
        if before is not None:
            where, values = where + " AND at < ?", [*values, before]
        if periods is not None:
            where, values = where + " AND period IN (%s)" % ", ".join("?" * len(periods)), [*values, *periods]
        return self._change(lambda: self.base.execute("DELETE FROM n WHERE " + where, values).rowcount)
