# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decide about a delete sweep of the data_storage clusters, and about cancelling one. Pure, but for :func:`questions`
with ``repeat``, which reads journals.

Source: operation manual, "Delete Sweep".
"""

from __future__ import annotations

import datetime
import re

from ansible_collections.circonus.inside.plugins.module_utils import irondb_gate, irondb_sweep
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput
from ansible_collections.circonus.inside.plugins.plugin_utils import failover as f
from ansible_collections.circonus.inside.plugins.plugin_utils import storage_plan, storage_restart

PROCEDURE = "data_storage_sweep"
PREFIX = PROCEDURE + "_"
#: Parameters that make a run another one.
SAME = tuple(PREFIX + name for name in ("state", "before", "types", "nnt_rollups", "histogram_rollups", "limit",
                                        "repeat"))
_FORMS = (re.compile(r"\d{4}-\d{2}-\d{2}"), re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}Z"))


def moment(text: str | None) -> int:
    """Epoch seconds of ``2019-01-01`` (its first second) or ``2019-01-01T06:00:00Z``, both UTC. Raises BadInput."""
    if text and any(form.fullmatch(text) for form in _FORMS):
        try:
            found = datetime.datetime.fromisoformat(text.replace("Z", ""))
            return int(found.replace(tzinfo=datetime.timezone.utc).timestamp())
        except ValueError:
            pass
    raise BadInput("Expected a date in UTC as %sbefore, such as 2019-01-01 or 2019-01-01T06:00:00Z, found %s. All data "
                   "older than it is deleted." % (PREFIX, text or "none"))


def order(params: dict) -> dict:
    """The order of the parameters, see module_utils/irondb_sweep.py. Raises BadInput."""
    names = [PREFIX + name for name in ("nnt_rollups", "histogram_rollups")]
    return irondb_sweep.order(moment(params.get(PREFIX + "before")), params.get(PREFIX + "types") or [],
                              params.get(names[0]) or [], params.get(names[1]) or [], names)


def _chosen(known, params):
    """(sites that are wanted, refusal)."""
    wanted = params.get(PREFIX + "limit") or list(known)
    unknown = [name for name in wanted if name not in known]
    if unknown:
        return [], ("%slimit must name sites with data storage (%s), found %s. A cluster is swept as a whole: what one "
                    "node keeps, the others read." % (PREFIX, ", ".join(known), ", ".join(unknown)))
    return [name for name in known if name in wanted], None


def questions(sites: dict, run: dict, now: float) -> dict:
    """``{host: arguments of irondb_sweep}`` of the sites that are wanted. now: epoch seconds. Raises BadInput."""
    params = run["parameters"]
    known = storage_restart.clusters(sites)
    chosen, refusal = _chosen(known, params)
    if refusal:
        raise BadInput(refusal)
    more = {"state": params[PREFIX + "state"]}
    if more["state"] == "swept":
        wanted = order(params)
        more.update(before=wanted["before"], types=sorted(wanted["types"]), nnt_rollups=wanted["types"].get("nnt", []),
                    histogram_rollups=wanted["types"].get("histogram", []))
        if params[PREFIX + "repeat"]:
            # What was swept since the run began that this one continues counts.
            more["max_age"] = now - storage_restart.begun(run, PROCEDURE, SAME)
    return {node["host"]: dict(more, host=node["address"] or "127.0.0.1", node=node["id"] or "", name=node["host"])
            for name in chosen for node in known[name]}


def confirmation(params: dict) -> str:
    """What has to be typed: the role and the date."""
    return "%s:%s" % (storage_plan.ROLE, params.get(PREFIX + "before"))


def _failed(nodes, looks):
    """(host, why) of the first node whose sweep was not told, refusals of a node before silence."""
    wrong = [(node["host"], looks.get(node["host"]) or {}) for node in nodes]
    wrong = [(host, look) for host, look in wrong if "action" not in look]
    host, look = next(((host, look) for host, look in wrong if look.get("refused")), wrong[0] if wrong else (None, {}))
    return host, str(look.get("msg") or "it is not in this play")


def _problem(name, nodes, answers, looks):
    """Why nothing is swept in one cluster, or None."""
    view, ring, disks, refusal = storage_restart.told(name, nodes, answers)
    if refusal:
        return refusal["reason"]
    problems = storage_plan.identity_problems(nodes, ring, view, disks)
    if problems:
        return problems[0]
    host, why = _failed(nodes, looks)
    if host:
        return why if (looks.get(host) or {}).get("refused") else "Expected %s to tell of its sweep, found none: %s" % (
            host, why)
    # No node is stopped, so a cluster that keeps one copy may be swept as well.
    reasons = [reason for reason in irondb_gate.gate(view) if reason["id"] != "write_copies"]
    return reasons[0]["text"] if reasons else None


def _line(host, look, wanted, before):
    """What is done to one node, with the periods that it is configured with."""
    types = {kind: rollups or look["types"][kind] for kind, rollups in wanted["types"].items()}
    text = irondb_sweep.describe({"types": types})
    if look["action"] == "done":
        return "%s has swept for that already, it ended at %s." % (host, irondb_sweep.stamp(look["ended"]))
    if look["action"] == "follow":
        return "Follow the sweep that runs on %s already: %s older than %s" % (host, text, before)
    return "Sweep %s: %s older than %s" % (host, text, before)


def verdict(situation: f.Situation, answers: dict, looks: dict, params: dict, run: dict, now: float) -> dict:
    """Decide about sweeping whole clusters, one node after the other, or about cancelling.

    answers: ``{host: answer of irondb_probe}``. looks: ``{host: answer of irondb_sweep in check mode}``, both with
    reachable. now: epoch seconds. A verdict of ``failover`` with ``waves``: ``[{"site", "hosts", "args": {host:
    arguments of irondb_sweep}, "watch": host that waits, "addresses", "names", "digest", "settle": whether it waits}]``
    and ``state``.
    """
    known = storage_restart.clusters(situation.sites)
    if not known:
        return dict(f.refuse(""), result="nothing_to_do", reason="No host of this inventory has the role data_storage.")
    try:
        args = questions(situation.sites, run, now)
        chosen = _chosen(known, params)[0]
        if params[PREFIX + "state"] == "cancelled":
            return _cancel(known, chosen, looks, args)
        wanted = order(params)
    except BadInput as error:
        return f.refuse(str(error))
    if wanted["before"] > now:
        return f.refuse("Expected a date in the past as %sbefore, found %s; it is %s. A sweep deletes all that is "
                        "older." % (PREFIX, irondb_sweep.stamp(wanted["before"]), irondb_sweep.stamp(now)))
    if params.get("circonus_confirm") != confirmation(params):
        return f.refuse("circonus_confirm must be %s, as this deletes data, found %s. Nothing was changed." % (
            confirmation(params), params.get("circonus_confirm") or "nothing"))
    lock = situation.lock(run, params.get("circonus_lock_break"))
    if lock["refusal"]:
        return f.refuse(lock["refusal"])
    before, text = irondb_sweep.stamp(wanted["before"]), irondb_sweep.describe(wanted)
    plan, waves, count = [], [], 0
    for name in chosen:
        nodes = known[name]
        problem = _problem(name, nodes, answers, looks)
        if problem:
            return f.refuse(problem)
        plan += [_line(node["host"], looks[node["host"]], wanted, before) for node in nodes]
        todo = [node["host"] for node in nodes if looks[node["host"]]["action"] != "done"]
        count += len(todo)
        together = [[host] for host in todo] if params[PREFIX + "parallel"] == "one" else [todo] if todo else []
        waves += [_wave(name, nodes, hosts, answers[nodes[0]["host"]]["view"], args) for hosts in together]
    base = {"plan": plan, "waves": waves, "state": "swept", "lock_hosts": f.lock_hosts(situation),
            "lock_break": lock["break"], "warnings": []}
    if not waves:
        return dict(base, result="nothing_to_do", reason="Every node has swept %s older than %s already; "
                    "%srepeat=true sweeps again." % (text, before, PREFIX))
    word = "node" if count == 1 else "nodes"
    return dict(
        base, result="proceed",
        reason="Sweep %s older than %s on %d data_storage %s." % (text, before, count, word),
        done="%s older than %s swept on %d data_storage %s; every node is green." % (
            text[:1].upper() + text[1:], before, count, word),
        warnings=["What is swept comes back only by a rebuild from nodes that still have it; once every node has "
                  "swept, it is gone."])


def _wave(name, nodes, hosts, view, args):
    return {
        "site": name, "hosts": hosts, "args": {host: args[host] for host in hosts}, "watch": nodes[0]["host"],
        "addresses": [node["address"] for node in nodes], "names": {node["id"]: node["host"] for node in nodes},
        "digest": view["digest"], "settle": view["write_copies"] > 1,
    }


def _cancel(known, chosen, looks, args):
    """The verdict about cancelling what runs; hosts that do not answer do not keep the others from it."""
    hosts = [node["host"] for name in chosen for node in known[name]]
    lines = []
    for host in hosts:
        look = looks.get(host) or {}
        if look.get("action") == "cancel":
            busy = irondb_sweep.running(look["status"])
            lines.append("Cancel the sweep of %s (%s)" % (host, " and ".join(busy)))
        elif "action" in look:
            lines.append("No sweep runs on %s; one of a run that goes on elsewhere will not begin there." % host)
        else:
            lines.append("%s does not tell of its sweep (%s); it is tried all the same." % (
                host, str(look.get("msg") or "no answer").rstrip(".")))
    return {
        "result": "proceed", "plan": lines, "state": "cancelled", "args": args, "lock_hosts": [], "lock_break": None,
        "waves": [], "hosts": hosts, "reason": "Cancel what runs on %d data_storage nodes." % len(hosts),
        "done": "No sweep runs on any of %d data_storage nodes. What was deleted stays deleted." % len(hosts),
        "warnings": [],
    }


def cancelled(hosts: list, outcomes: dict) -> str | None:
    """Why a cancellation is not whole, or None. outcomes: ``{host: answer of irondb_sweep, None without one}``."""
    left = [host for host in hosts if not (outcomes.get(host) or {}).get("finished")]
    if not left:
        return None
    why = str((outcomes.get(left[0]) or {}).get("msg") or "no answer").rstrip(".")
    return "Expected no sweep on any node any more, %s may still sweep: %s. Run the same command again." % (
        ", ".join(left), why)
