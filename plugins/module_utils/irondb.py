# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One data_storage node: asking its pages, and reading them in the spelling of every release.

Sources: IRONdb manual, "API"; operation manual, "Delete Sweep" and "Performing cluster restarts"; the public client for
names that the manual and the program spell differently. What cannot be read is None or raises BadInput, never a guess.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import json
import math
import re
import time

from ansible_collections.circonus.inside.plugins.module_utils import http_page
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput

PORT = 8112
#: Most bytes of a page: statistics of a big node and the gossip of a big cluster are megabytes.
LIMIT = 16 * 1024 * 1024
TIMEOUT_S = 5.0
#: What may be wrong with a page. ``unreachable``: no connection; ``refused``: nothing listens; ``hung``: the connection
#: was taken and nothing came in time; ``missing``: 404; ``unreadable``: any other answer.
PROBLEMS = ("unreachable", "refused", "hung", "missing", "unreadable")
#: States of a rebalance in their order (IRONdb manual, "Resizing clusters").
REBALANCE_STATES = (
    "TOPO_REBALANCE_IDLE", "TOPO_REBALANCE_VOTE", "TOPO_REBALANCE_REHASH", "TOPO_REBALANCE_REHASH_VOTE",
    "TOPO_REBALANCE_CLEANUP", "TOPO_REBALANCE_COMPLETE", "TOPO_REBALANCE_COMPLETE_VOTE")
IDLE = REBALANCE_STATES[0]
SWEPT = ("nnt", "text", "histogram")
_COMMA = re.compile(r'("(?:\\.|[^"\\])*")|,(?=\s*[}\]])')


class Unanswered(Exception):
    """A page that did not come, or not as it should. ``problem`` is one of :data:`PROBLEMS`."""

    def __init__(self, problem, text):
        super(Unanswered, self).__init__(text)
        self.problem = problem


# ---- asking ----------------------------------------------------------------------------------------------------


def problem_of(answer):
    """``(problem, sentence part)`` of an answer of :func:`http_page.ask`, ``("", "")`` for a whole page. Pure."""
    if not answer["connected"]:
        refused = "refused" in answer["error"]
        return "refused" if refused else "unreachable", answer["error"] or "no connection"
    if answer["error"]:
        late = answer["error"].startswith(("no answer within", "the answer did not end within"))
        return "hung" if late else "unreadable", answer["error"]
    if answer["status"] == 404:
        return "missing", "HTTP status 404"
    if answer["status"] != 200:
        return "unreadable", "HTTP status {0}".format(answer["status"])
    if not answer["complete"]:
        return "unreadable", "the answer was cut short after {0} characters".format(len(answer["body"]))
    return "", ""


class Client:
    """Pages of one node. All of them together take ``timeout`` seconds at most, however the port behaves."""

    def __init__(self, address, port=PORT, timeout=TIMEOUT_S, asker=http_page.ask, clock=time.monotonic):
        self.address, self.port, self.timeout = address, port, timeout
        self._ask, self._clock = asker, clock
        self._end = clock() + timeout

    def page(self, path, method="GET", fields=None):
        """Text of a page. fields: headers of the request. Raises Unanswered."""
        left = self._end - self._clock()
        if left <= 0:
            raise Unanswered("hung", "{0} was not answered within {1:g} s".format(path, self.timeout))
        more = {} if method == "GET" else {"method": method, "fields": fields}
        answer = self._ask(self.address, self.port, path, timeout=left, limit=LIMIT, **more)
        problem, text = problem_of(answer)
        if problem:
            said = error_of(answer["body"])
            text += ": {0}".format(said) if said else ""
            raise Unanswered(problem, "{0}: {1}".format(path, text))
        return answer["body"]

    def read(self, path, parser):
        """What ``parser`` makes of a page. Raises Unanswered."""
        text = self.page(path)
        try:
            return parser(text)
        except BadInput as exc:
            raise Unanswered("unreadable", "{0}: {1}".format(path, str(exc).rstrip(".")))

    def state(self):
        return self.read("/state", parse_state)

    def stats(self):
        return self.read("/stats.json", parse_stats)

    def gossip(self):
        return self.read("/gossip/json", parse_gossip)

    def rebalance(self):
        return self.read("/rebalance/state", parse_rebalance)

    def sweep(self):
        """Progress of a delete sweep, None where the release has none (since 2021-06-28)."""
        try:
            return self.read("/sweep_delete", parse_sweep)
        except Unanswered as exc:
            if exc.problem == "missing":
                return None
            raise

    def start_sweep(self, fields):
        """Begin a delete sweep. The node cancels one that runs already. Raises Unanswered, also when it refuses."""
        text = self.page("/sweep_delete", "DELETE", fields)
        try:
            document(text, "[], a sweep that was accepted", list)
        except BadInput as exc:
            raise Unanswered("unreadable", "/sweep_delete: {0}".format(error_of(text) or str(exc).rstrip(".")))

    def cancel_sweep(self):
        """Cancel the delete sweep that runs. A GET that changes something: so the manual has it. Raises Unanswered."""
        return self.read("/sweep_delete/cancel", parse_sweep)

    def rebuilding(self):
        """Whether the node is being rebuilt. Old releases have no page for it; their statistics have a section."""
        try:
            return self.read("/reconstitute_state", parse_reconstitute)
        except Unanswered as exc:
            if exc.problem != "missing":
                raise
        return self.stats()["reconstitute"] is not None


# ---- reading ---------------------------------------------------------------------------------------------------


def document(text, what, kind=dict):
    """The JSON of a page; commas before a closing bracket, as in the manual's own samples, are forgiven."""
    for attempt in (lambda: text, lambda: _COMMA.sub(lambda match: match.group(1) or "", text)):
        try:
            found = json.loads(attempt())
        except (TypeError, ValueError, RuntimeError):  # RuntimeError: nested too deeply
            continue
        if isinstance(found, kind):
            return found
        break
    raise BadInput("expected {0}, found {1!r}".format(what, " ".join(str(text).split())[:60]))


def error_of(text):
    """What the JSON of a refused request says, an empty text for anything else."""
    try:
        said = document(text, "an error").get("error")
    except BadInput:
        return ""
    return " ".join(said.split())[:200] if isinstance(said, str) else ""


def number(value):
    """float of a number or of text that holds one; None for anything else, "unknown" included."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def flag(value):
    """bool of a boolean, of 0 and 1, or of their names; None for anything else."""
    if isinstance(value, str):
        return {"true": True, "1": True, "false": False, "0": False}.get(value.strip().lower())
    return bool(value) if isinstance(value, (bool, int)) else None


def digest_or_none(value):
    """A digest; None for ``-``, for nothing and for what is no text."""
    return value if isinstance(value, str) and value not in ("", "-") else None


def parse_state(text):
    """Facts of ``/state``.

    Returns ``{"identity", "current": digest, "next": digest or None, "version", "application", "base_rollup": s,
    "rollups": [s], "histogram_rollups": [s], "stores": ["nnt", "nntbs"], "features": [names],
    "cpu_s": used by the process or None, "max_peer_lag", "avg_peer_lag": s or None,
    "filesystems": [{"id", "total_mb", "free_mb", "used_percent"}], "jlog_replay_errors": int or None}``.
    Raises BadInput.
    """
    found = document(text, "the state of a node")
    if not isinstance(found.get("identity"), str) or not isinstance(found.get("current"), str):
        raise BadInput("expected the state of a node with identity and current, found {0}".format(
            ", ".join(sorted(map(str, found)))[:80] or "an empty object"))
    features = found.get("features")
    errors = number((found.get("indexes") or {}).get("jlog_replay_errors")) if isinstance(
        found.get("indexes"), dict) else None
    base = number(found.get("base_rollup"))
    used = [number(found.get("rusage." + name)) for name in ("utime", "stime")]
    return {
        "identity": found["identity"].lower(),
        "current": found["current"],
        "next": digest_or_none(found.get("next")),
        "version": str(found.get("version") or ""),
        "application": str(found.get("application") or ""),
        "base_rollup": None if base is None else int(base),
        "rollups": _rollups(found),
        "histogram_rollups": _histogram_rollups(found),
        "cpu_s": None if None in used else round(sum(used), 3),
        "stores": [name for name in ("nnt", "nntbs") if isinstance(found.get(name), dict)],
        "features": sorted(map(str, features)) if isinstance(features, dict) else [],
        "max_peer_lag": number(found.get("max_peer_lag")),
        "avg_peer_lag": number(found.get("avg_peer_lag")),
        "filesystems": _filesystems(found),
        "jlog_replay_errors": None if errors is None else int(errors),
    }


def _rollups(found):
    for holder in (found, found.get("nntbs"), found.get("nnt")):
        periods = holder.get("rollups") if isinstance(holder, dict) else None
        if isinstance(periods, list):
            return sorted(int(period) for period in map(number, periods) if period is not None)
    return []


def _histogram_rollups(found):
    """Periods of the histograms, those of the numbers where the node tells none."""
    held = found.get("histogram")
    if not isinstance(held, dict):
        return _rollups(found)
    told = [number(name[len("rollup_"):]) for name in held if str(name).startswith("rollup_")]
    periods = held.get("rollups") if isinstance(held.get("rollups"), list) else []
    named = set(int(period) for period in told + [number(period) for period in periods] if period is not None)
    return sorted(named) or _rollups(found)


def _filesystems(found):
    """Every ``fs`` in the state once. The manual spells totalMB and freeMB, programs totalMb and availMb."""
    rows, todo = {}, [found]
    while todo:
        item = todo.pop()
        for key, value in item.items():
            if not isinstance(value, dict):
                continue
            todo.append(value)
            if key != "fs":
                continue
            total, free = ([number(value[name]) for name in names if number(value.get(name)) is not None]
                           for names in (("totalMb", "totalMB"), ("availMb", "freeMB", "freeMb", "availMB")))
            if total and free and total[0] > 0:
                rows[str(value.get("id"))] = {
                    "id": str(value.get("id")), "total_mb": total[0], "free_mb": free[0],
                    "used_percent": round(100.0 * (total[0] - free[0]) / total[0], 1)}
    return [rows[key] for key in sorted(rows)]


def leaves(tree, prefix=""):
    """``{"a/b": value}`` of statistics whose leaves are ``{"_type", "_value"}``. A bare value is a leaf too."""
    found = {}
    for key, value in tree.items():
        path = prefix + key
        if isinstance(value, dict) and "_value" in value:
            found[path] = value["_value"]
        elif isinstance(value, dict):
            found.update(leaves(value, path + "/"))
        else:
            found[path] = value
    return found


def parse_stats(text):
    """Facts of ``/stats.json`` in its default format.

    Returns ``{"identity", "semver", "current", "next", "version", "application", "reconstitute": {path: value} or None,
    "replication": {path: value}, "license": {path: value} or None}``; what is missing is None. ``reconstitute`` is
    there while the node is being rebuilt; the names in it and in ``license`` are not documented. Raises BadInput.
    """
    found = document(text, "the statistics of a node")
    try:
        values = leaves(dict((key, found[key]) for key in found if key in (
            "identity", "semver", "version", "application", "topology", "reconstitute", "replication", "license")))
    except RuntimeError:
        raise BadInput("expected the statistics of a node, found something nested too deeply")

    def section(name):
        return dict((key.split("/", 1)[1], value) for key, value in values.items() if key.startswith(name + "/"))

    return {
        "identity": values.get("identity"), "semver": values.get("semver"), "version": values.get("version"),
        "application": values.get("application"), "current": digest_or_none(values.get("topology/current")),
        "next": digest_or_none(values.get("topology/next")), "replication": section("replication"),
        "reconstitute": section("reconstitute") if found.get("reconstitute") else None,
        "license": section("license") if isinstance(found.get("license"), dict) else None,
    }


def parse_gossip(text):
    """Rows of ``/gossip/json``: ``{node: {"heard": bool, "age": s or None, "current", "next": digest or None,
    "rebalance": state or None, "latency": {peer: s or None}}}``.

    Unknown is: a row that is missing, no latency, one that is no number, a time of 0 or before (nothing was heard since
    the asked node started). Old releases send numbers, later ones text. Raises BadInput.
    """
    rows = {}
    for row in document(text, "the gossip of a node", list):
        if not isinstance(row, dict) or not isinstance(row.get("id"), str):
            raise BadInput("expected rows with an id in the gossip of a node, found {0!r}".format(str(row)[:60]))
        when, latency = number(row.get("gossip_time")), row.get("latency")
        heard = when is not None and when > 0
        state = row.get("topo_state")
        rows[row["id"].lower()] = {
            "heard": heard,
            "age": number(row.get("gossip_age")) if heard else None,
            "current": digest_or_none(row.get("topo_current")),
            "next": digest_or_none(row.get("topo_next")),
            "rebalance": None if state in (None, "", "-", "n/a", "unknown", IDLE) else str(state),
            "latency": dict((peer.lower(), number(value)) for peer, value in latency.items())
            if isinstance(latency, dict) else {},
        }
    return rows


def parse_rebalance(text):
    """Facts of ``/rebalance/state``: ``{"current", "next": digest or None, "state", "running": bool}``.

    A state that nobody has documented counts as running. Raises BadInput.
    """
    found = document(text, "the state of a rebalance")
    if not isinstance(found.get("state"), str):
        raise BadInput("expected the state of a rebalance, found {0!r}".format(str(found)[:60]))
    after = digest_or_none(found.get("next"))
    return {"current": digest_or_none(found.get("current")), "next": after, "state": found["state"],
            "running": found["state"] != IDLE or after is not None}


def parse_reconstitute(text):
    """Whether ``/reconstitute_state`` says that any node is being rebuilt. Its form is not documented: any ``true``
    under a name with "progress", "running" or "reconst" in it, or as the whole answer, is a yes. Raises BadInput."""
    found = document(text, "the state of a rebuild", (dict, list, bool, str))
    if isinstance(found, (bool, str)):
        answer = flag(found)
        if answer is None:
            raise BadInput("expected the state of a rebuild, found {0!r}".format(found[:60]))
        return answer
    todo = [("reconst", found)]
    while todo:
        name, value = todo.pop()
        if isinstance(value, dict):
            # A uuid as a name says nothing itself, what it is under does.
            todo += [(key if re.search("progress|running|reconst", key.lower()) else name, item)
                     for key, item in value.items()]
        elif isinstance(value, list):
            todo += [(name, item) for item in value]
        elif flag(value) and re.search("progress|running|reconst", name.lower()):
            return True
    return False


def parse_sweep(text):
    """Progress of a delete sweep: ``{type: {"running", "cancelling": bool, "timestamp": s or None, "current": what is
    worked on, "rollups": "all" or [s]}}``. Values are text, and the manual's sample has commas too many.

    Raises BadInput when a type does not say whether it runs: unknown is not finished.
    """
    rows = {}
    for kind, row in document(text, "the progress of a delete sweep").items():
        running = flag(row.get("running")) if isinstance(row, dict) else None
        if running is None:
            raise BadInput("expected running as true or false of {0} in the progress of a delete sweep, found "
                           "{1!r}".format(kind, str(row)[:60]))
        rollups = str(row.get("rollups") or "all")
        when = number(row.get("timestamp"))
        rows[kind] = {
            "running": running,
            "cancelling": bool(flag(row.get("cancelling", False))),
            "timestamp": None if when is None else int(when),
            "current": str(row.get("current_uuid") or row.get("current_metric") or ""),
            "rollups": [int(part) for part in rollups.split(",") if part.strip().isdigit()] or "all",
        }
    if not rows:
        raise BadInput("expected the progress of a delete sweep, found an empty object")
    return rows
