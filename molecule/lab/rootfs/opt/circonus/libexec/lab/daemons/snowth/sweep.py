"""Delete sweep of releases before 2021-06-28: everything older than a time, one metric after the other, in a thread."""

import threading

from daemons.snowth.store import ROLLUPS

KINDS = {"nnt": "nnt", "text": "text", "histogram": "hist"}
HEADERS = {"nnt": "x-snowth-nnt-delete-rollups", "histogram": "x-snowth-histogram-delete-rollups"}
RATE = 200.0  # metrics a second


class Refused(Exception):
    """Headers that do not fit; one line."""


def order(headers):
    """(time, {type: None for all rollups or [seconds]}) of a request's headers."""
    text = headers.get("x-snowth-delete-time", "")
    if not text.isdigit():
        raise Refused("X-Snowth-Delete-Time: seconds since the epoch are required, found %r" % text)
    found = {}
    for name in words(headers.get("x-snowth-delete-data-types") or "nnt"):
        if name not in KINDS:
            raise Refused("X-Snowth-Delete-Data-Types: unknown type %r" % name)
        found[name] = rollups(headers, HEADERS[name]) if name in HEADERS else None
    return int(text), found


def words(text):
    return [word.strip() for word in text.split(",")]


def rollups(headers, name):
    if name not in headers:
        return None
    spans = words(headers[name])
    wrong = [span for span in spans if not span.isdigit() or int(span) not in ROLLUPS]
    if wrong:
        raise Refused("%s: %s is no configured period" % (name.title(), wrong[0] or "''"))
    return [int(span) for span in spans]


class Sweep:
    """At most one at a time; a new one ends the one that runs."""

    def __init__(self, store, faults):
        self.store, self.faults = store, faults
        self.lock = threading.Lock()
        self.state = {name: {"running": "false"} for name in KINDS}
        self.cancelled, self.thread = threading.Event(), None

    def start(self, headers):
        before, types = order(headers)
        with self.lock:
            if self.thread:
                self.cancelled.set()
                self.thread.join()
            self.cancelled = threading.Event()
            for name, spans in types.items():
                self.state[name] = {"running": "true", "timestamp": str(before)}
                if name in HEADERS:
                    self.state[name]["rollups"] = ",".join(map(str, spans)) if spans else "all"
            arguments = (before, types, self.cancelled)
            self.thread = threading.Thread(target=self.work, args=arguments, daemon=True, name="sweep")
            self.thread.start()

    def cancel(self):
        for state in self.state.values():
            if state["running"] == "true":
                state["cancelling"] = "true"
        found = self.status()
        self.cancelled.set()
        return found

    def status(self):
        return {name: dict(state) for name, state in self.state.items()}

    def work(self, before, types, cancelled):
        for name, spans in types.items():
            kind = KINDS[name]
            for check, metric in self.store.metrics(kind):
                if cancelled.wait(1.0 / max(self.faults.number("sweep-rate", RATE), 0.01)):
                    break
                if name == "nnt":
                    self.state[name]["current_uuid"] = check
                else:
                    self.state[name]["current_metric"] = "%s-%s" % (check, metric)
                self.store.delete(kind, check, metric, before, spans)
            self.state[name] = {"running": "false"}
