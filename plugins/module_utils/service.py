# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Units of a component on one host: which exist, what state they are in, start, stop, restart, wait.

The facts of a component are its catalogue entry (``<role>_service`` in a role's vars)::

    {"name": "fault_detection",
     "units": [{"id": "faultd", "candidates": ["circonus-fault-detection"], "ports": [9127], "required": False}, ...],
     "logs": ["/var/log/circonus/faultd-error.log"]}

``units`` stand in start order. The names of a unit changed over the releases, so each lists its candidates and the
first one known to this host counts; a unit without any is left out, unless it is ``required``. ``ports`` are those that
must be listening once the unit is up. ``logs`` belong to the component, a unit may add its own. ``life`` names further
signs: ``endpoint`` (id of an endpoint of the entry that must answer), ``log`` (``file``, ``pattern``: a line that is
written after the start) and ``seconds`` (how long a start may take).

``patterns`` of a unit name further units of the host that count as the same one (the queues of the hub have the number
of a cluster in their names).

``from`` and ``until`` (dates) of the entry, a unit, a port, an endpoint or a cron job say in which releases it exists;
``<host>`` in a string stands for the name of the host.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import fnmatch
import os
import re
import time

from ansible_collections.circonus.inside.plugins.module_utils import http_page
from ansible_collections.circonus.inside.plugins.module_utils.errors import (
    BadInput,
    CommandFailed,
    InsideError,
    TimedOut,
)
from ansible_collections.circonus.inside.plugins.module_utils.release import in_release, release_date
from ansible_collections.circonus.inside.plugins.module_utils.unit_state import (
    DOWN_STATES,
    full_name,
    installed_units,
    is_up,
    listening_ports,
    names_of,
    run,
    show_units,
    tail,
)

VERBS = ("check", "start", "stop", "restart")
POLL = 0.1
# Bytes of a log that are searched for the sign of life, the newest.
LOG_WINDOW = 4 * 1024 * 1024
_PAST = {"start": "started", "stop": "stopped", "enable": "enabled", "disable": "disabled"}


def fill(value, host):
    """``value`` with every ``<host>`` in its strings replaced. Pure."""
    if isinstance(value, str):
        return value.replace("<host>", host)
    if isinstance(value, list):
        return [fill(item, host) for item in value]
    if isinstance(value, dict):
        return dict((key, fill(item, host)) for key, item in value.items())
    return value


def effective(entry, release=None, host=None):
    """A catalogue entry as it is in one release on one host. Pure.

    release: see :func:`release_date`. host: name in site.json. Items that do not exist in the release are left out; ids
    of such units are in ``gone_units``, and ``gone`` is a sentence when the whole component does not exist, else None.
    """
    names_of(entry)
    release = release_date(release)
    result = dict(fill(entry, host) if host else entry)
    for key in ("units", "processes", "ports", "endpoints", "consoles", "cron"):
        if isinstance(result.get(key), list):
            result[key] = [item for item in result[key] if in_release(item, release)]
    if isinstance(result.get("pki"), dict):
        items = result["pki"].items() if in_release(result["pki"], release) else ()
        result["pki"] = dict((key, item) for key, item in items if in_release(item, release))
    kept = [unit["id"] for unit in result["units"]]
    result["gone_units"] = [unit["id"] for unit in entry["units"] if unit["id"] not in kept]
    span = entry.get("releases") or {}
    result["gone"] = None
    if not in_release(span, release):
        words = " ".join("{0} {1}".format(key, span[key]) for key in ("from", "until") if span.get(key))
        result["gone"] = "{0} is absent: release {1} does not have it ({2}).".format(entry.get("name"), release, words)
    return result


def patterns_of(entry):
    """All name patterns of an entry, each once. Pure."""
    found = []
    for unit in entry["units"]:
        found += [pattern for pattern in unit.get("patterns") or [] if pattern not in found]
    return found


def expand(entry, installed):
    """An entry in which a unit with ``patterns`` stands once for each unit of the host that it means. Pure.

    installed: names of units of this host. Where none matches, the candidates stay.
    """
    units = []
    for unit in entry["units"]:
        patterns = unit.get("patterns") or []
        matching = [name for name in installed if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]
        matching = sorted(set(matching))
        names = [name for name in unit["candidates"] if name in matching]
        names += [name for name in matching if name not in names]
        units += [dict(unit, candidates=[name]) for name in names] or [unit]
    return dict(entry, units=units)


def _life(entry, unit):
    """Signs of life of a unit besides its ports: {"endpoint": dict or None, "log": dict or None, "seconds"}. Pure."""
    life = unit.get("life") or {}
    endpoint = None
    if life.get("endpoint"):
        endpoints = entry.get("endpoints") or []
        endpoint = next((item for item in endpoints if item.get("id") == life["endpoint"] and item.get("port")), None)
    log = life.get("log") or None
    if log:
        try:
            re.compile(log["pattern"])
        except (KeyError, TypeError, re.error) as exc:
            raise BadInput(
                "Expected a regular expression as life.log.pattern of {0} in {1}: {2}. Correct the role's vars.".format(
                    unit.get("id"), entry.get("name"), exc
                )
            )
    return {"endpoint": endpoint, "log": log, "seconds": life.get("seconds")}


def resolve(entry, states, only=None):
    """Which units of a catalogue entry this host has. Pure.

    states: answer of :func:`show_units` for :func:`names_of`. only: list of unit ids, empty or None means all. Returns
    ``[{"id", "unit", "ports", "logs", "enabled_only", "life"}, ...]`` in start order. Raises BadInput for an id that
    the entry does not have, InsideError for a required unit when the host has neither it nor its alternative.
    """
    known = [unit["id"] for unit in entry["units"]] + list(entry.get("gone_units") or [])
    for wanted in only or ():
        if wanted not in known:
            raise BadInput(
                "Unknown unit {0} of {1}: expected one of {2}. Correct the request.".format(
                    wanted, entry.get("name"), ", ".join(known)
                )
            )
    names = {}
    for unit in entry["units"]:
        name = next((name for name in unit["candidates"] if states.get(name, {}).get("exists")), None)
        names[unit["id"]] = names.get(unit["id"]) or name
    found = []
    for unit in entry["units"]:
        if only and unit["id"] not in only:
            continue
        name = next((name for name in unit["candidates"] if states.get(name, {}).get("exists")), None)
        if name is None:
            others = [unit.get("alternative_to")]
            others += [other["id"] for other in entry["units"] if other.get("alternative_to") == unit["id"]]
            if unit.get("required") and not any(names.get(other) for other in others):
                raise InsideError(
                    "Expected the unit {0} of {1}, this host has none. Run Hooper on it, then start again.".format(
                        " or ".join(unit["candidates"]), entry.get("name")
                    )
                )
            continue
        found.append(
            {
                "id": unit["id"],
                "unit": name,
                "ports": list(unit.get("ports") or []),
                "logs": list(unit.get("logs") or entry.get("logs") or []),
                "enabled_only": bool(unit.get("enabled_only")),
                "life": _life(entry, unit),
            }
        )
    return found


def is_down(unit, states, ports, shared=()):
    """None when ``unit`` is down and its ports are free, else what is not. Pure.

    shared: ports that another running unit of the component may hold.
    """
    active = states[unit["unit"]]["active"]
    if active not in DOWN_STATES:
        return "is still {0}, expected it to be down".format(active)
    held = [str(port) for port in unit["ports"] if port in ports and port not in shared]
    return "is down, but another process still listens on {0}".format(", ".join(held)) if held else None


def shared_ports(unit, units, states):
    """Ports that other units of the component, which run, may hold. Pure."""
    running = [other for other in units if states[other["unit"]]["active"] not in DOWN_STATES]
    return [port for other in running if other is not unit for port in other["ports"]]


def endpoint_problem(endpoint, answer):
    """None when an endpoint answered as it should, else what it did, in words. Pure.

    answer: ``{"status": int or None, "error": str}``, see :func:`http_status`.
    """
    wanted = endpoint.get("status") or [200]
    if answer["status"] in wanted:
        return None
    what = "HTTP {0}".format(answer["status"]) if answer["status"] is not None else answer["error"] or "nothing"
    return "answers {0} on {1}, expected HTTP {2}".format(
        what, endpoint_url(endpoint), " or ".join(str(code) for code in wanted)
    )


def endpoint_url(endpoint):
    """The address of an endpoint on its own host. Pure."""
    return "{0}://127.0.0.1:{1}{2}".format(
        "https" if endpoint.get("tls") else "http", endpoint["port"], endpoint.get("path") or "/"
    )


def http_status(endpoint, timeout=3.0):
    """Ask an endpoint on this host once: ``{"status": int or None, "error": str}``. Any certificate is accepted."""
    answer = http_page.ask(
        "127.0.0.1", int(endpoint["port"]), endpoint.get("path") or "/", bool(endpoint.get("tls")), timeout=timeout
    )
    return {"status": answer["status"], "error": "" if answer["status"] else answer["error"]}


def log_mark(path):
    """Where a log ends now: ``(inode, size)``, ``(None, 0)`` when there is none."""
    try:
        status = os.stat(path)
        return status.st_ino, status.st_size
    except OSError:
        return None, 0


def written_since(path, mark, pattern):
    """How many lines written after ``mark`` (of :func:`log_mark`) match; copes with a rotated file."""
    inode, size = mark
    try:
        with open(path, "rb") as handle:
            status = os.fstat(handle.fileno())
            begin = size if status.st_ino == inode and status.st_size >= size else 0
            handle.seek(max(begin, status.st_size - LOG_WINDOW))
            text = handle.read(LOG_WINDOW).decode("utf-8", "replace")
    except (IOError, OSError):
        return 0
    return sum(1 for line in text.splitlines() if re.search(pattern, line))


def steps(verb, units, states, keep_stopped=()):
    """The order of single actions for ``verb``. Pure.

    Returns ``[(action, unit), ...]`` with action start or stop. start: only what is not active, in start order. stop:
    only
    what is not down, in reverse. restart: everything stopped in reverse, then started in start order (RabbitMQ needs
    its port
    mapper first, operation manual, "MQ node restart"). check: nothing. Units whose id is in ``keep_stopped`` are never
    started. ``enabled_only`` units are started only when enabled or running.
    """
    running = [unit for unit in units if states[unit["unit"]]["active"] not in DOWN_STATES]
    stops = [("stop", unit) for unit in reversed(running)]
    starts = []
    for unit in units:
        if unit["id"] in keep_stopped:
            continue
        state = states[unit["unit"]]
        if _switched_off(unit, state):
            continue
        if verb == "start" and state["active"] == "active":
            continue
        starts.append(("start", unit))
    return {"check": [], "start": starts, "stop": stops, "restart": stops + starts}[verb]


def _switched_off(unit, state):
    """True for a unit that runs only where it is enabled, and is neither enabled nor running."""
    return unit["enabled_only"] and state["active"] in DOWN_STATES and state["enabled"] not in ("enabled", "static")


def switches(units, states, enabled, keep_stopped=()):
    """``[("enable"|"disable", unit), ...]`` for the units whose boot setting differs. Pure.

    Static units have none. ``enabled_only`` ones are never enabled, that is up to whoever disabled them.
    """
    found = []
    for unit in units:
        now = states[unit["unit"]]["enabled"]
        if enabled and now == "disabled" and unit["id"] not in keep_stopped and not unit["enabled_only"]:
            found.append(("enable", unit))
        elif not enabled and now in ("enabled", "enabled-runtime"):
            found.append(("disable", unit))
    return found


def as_entry(units, name=None):
    """A catalogue entry from a list of unit names or unit descriptions. Pure."""
    described = [dict(id=unit, candidates=[unit]) if isinstance(unit, str) else unit for unit in units]
    return {"name": name or "this host", "units": described}


def overall(units, wanted):
    """State of a component: up, down, mixed, or absent when units were wanted and the host has none. Pure."""
    if wanted and not units:
        return "absent"
    flags = set(unit["up"] for unit in units)
    return "mixed" if len(flags) > 1 else "down" if False in flags else "up"


def verdict(result, keep_stopped=()):
    """One sentence about the units of a result. Pure."""
    parts = []
    groups = (
        ("up", [unit["id"] for unit in result["units"] if unit["up"]]),
        ("not up", [unit["id"] for unit in result["units"] if not unit["up"] and unit["id"] not in keep_stopped]),
        ("kept stopped", [unit["id"] for unit in result["units"] if not unit["up"] and unit["id"] in keep_stopped]),
        ("absent", result["absent"]),
    )
    for word, ids in groups:
        if ids:
            parts.append("{0} {1}".format(", ".join(ids), word))
    return "{0}: {1}.".format(result["service"], "; ".join(parts) or "has no units")


def operate(
    entry,
    verb,
    only=None,
    keep_stopped=(),
    timeout=120.0,
    check_mode=False,
    log_lines=5,
    runner=run,
    ports_reader=listening_ports,
    expect="up",
    enabled=None,
    release=None,
    host=None,
    standby=False,
    endpoint_reader=http_status,
):
    """Carry out one verb of the engine on the units of a catalogue entry that this host has.

    verb: check, start, stop, restart. expect: for check, whether ``up``, ``down`` or ``any`` is right. timeout: seconds
    for the whole call; a unit with ``life.seconds`` has at most those. enabled: true or false sets whether the units
    start with the host, None leaves that alone. release, host: see :func:`effective`. standby: this is a passive
    datacenter, where an entry with ``passive: stopped`` is never started and is expected to be down.

    Returns ``{"changed", "verb", "service", "state": "absent"|"up"|"down"|"mixed", "units": [{"id", "unit", "active",
    "sub", "pid", "restarts", "enabled", "up", "missing", "since_epoch"}], "actions": ["stop circonus-bert", ...],
    "started": [ids], "stopped": [ids], "absent": [ids], "seconds", "msg"}``. A component that the release or the host
    does not have is ``absent``, whatever the verb.
    Raises TimedOut when something did not get where it should, naming it with its last log lines; CommandFailed when
    systemctl refuses.
    """
    if verb not in VERBS:
        raise BadInput("Expected one of {0}, found {1!r}. Correct the verb.".format(", ".join(VERBS), verb))
    started = time.time()
    deadline = started + timeout
    entry = effective(entry, release, host)
    if standby and entry.get("passive") == "stopped":
        keep_stopped = [unit["id"] for unit in entry["units"]]
        expect = "down" if expect == "up" else expect
        standby_down = True
    else:
        standby_down = False
    result = {
        "service": entry.get("name"),
        "verb": verb,
        "changed": False,
        "state": "absent",
        "actions": [],
        "started": [],
        "stopped": [],
        "units": [],
        "absent": list(entry["gone_units"]),
        "seconds": 0.0,
        "msg": entry["gone"] or "",
    }
    if entry["gone"]:
        result["absent"] = [unit["id"] for unit in entry["units"]] + entry["gone_units"]
        return result
    patterns = patterns_of(entry)
    if patterns:
        entry = expand(entry, [name for pattern in patterns for name in installed_units(pattern, runner)])
    names = names_of(entry)
    states = show_units(names, runner)
    units = resolve(entry, states, only)
    present = [unit["id"] for unit in units]
    wanted = [unit["id"] for unit in entry["units"]] + entry["gone_units"]
    wanted = [identity for identity in wanted if not only or identity in only]
    todo = steps(verb, units, states, keep_stopped)
    if enabled is not None:
        todo += switches(units, states, enabled, keep_stopped)
    result.update(
        changed=bool(todo),
        actions=["{0} {1}".format(action, unit["unit"]) for action, unit in todo],
        started=[unit["id"] for action, unit in todo if action == "start"],
        stopped=[unit["id"] for action, unit in todo if action == "stop"],
        absent=[identity for identity in wanted if identity not in present],
    )

    if not check_mode:
        for action, unit in todo:
            _act(action, unit, units, deadline, entry, log_lines, runner, ports_reader, endpoint_reader)
    expected = {"start": "up", "restart": "up", "stop": "down"}.get(verb, expect)
    states = show_units(names, runner) if units else {}
    ports = ports_reader() if units else set()
    wrong = []
    for unit in units:
        state = states[unit["unit"]]
        missing = is_up(unit, states, ports)
        if missing is None and unit["life"]["endpoint"] and verb == "check":
            missing = endpoint_problem(unit["life"]["endpoint"], endpoint_reader(unit["life"]["endpoint"]))
        result["units"].append(
            {
                "id": unit["id"],
                "unit": unit["unit"],
                "active": state["active"],
                "sub": state["sub"],
                "enabled": state["enabled"],
                "pid": state["pid"],
                "restarts": state["restarts"],
                "since_epoch": state["since_epoch"],
                "up": missing is None,
                "missing": missing or "",
            }
        )
        if verb == "check" and (standby_down or unit["id"] not in keep_stopped):
            if expected == "up" and missing and not _switched_off(unit, state):
                wrong.append(_complaint(entry, unit, missing, "", log_lines, runner))
            elif expected == "down" and state["active"] not in DOWN_STATES:
                wrong.append(
                    "{0} is {1}, expected it to be stopped. Stop it: systemctl stop {0}".format(
                        unit["unit"], state["active"]
                    )
                )
    result["state"] = overall(result["units"], bool(wanted))
    result["seconds"] = round(time.time() - started, 3)
    result["msg"] = verdict(result, keep_stopped)
    if wrong:
        raise InsideError(" ".join(wrong), service=entry.get("name"), units=result["units"])
    return result


def _act(action, unit, units, deadline, entry, log_lines, runner, ports_reader, endpoint_reader):
    """One systemctl call and the wait for what it should bring."""
    begun = time.time()
    seconds = unit["life"]["seconds"] if action == "start" else None
    limit = min(deadline, begun + seconds) if seconds else deadline
    mark = log_mark(unit["life"]["log"]["file"]) if unit["life"]["log"] else None
    what = "could not be {0}".format(_PAST[action])
    states = show_units([other["unit"] for other in units], runner) if action == "start" and unit["ports"] else {}
    if states and states[unit["unit"]]["active"] in DOWN_STATES:
        # Its port would look like a sign of life, and it is somebody else's.
        taken = is_down(unit, states, ports_reader(), shared_ports(unit, units, states))
        if taken:
            raise CommandFailed(
                _complaint(entry, unit, what, taken + " (ss -ltnp shows which)", log_lines, runner),
                service=entry.get("name"),
                unit=unit["unit"],
            )
    try:
        rc, out, err = runner(["systemctl", action, full_name(unit["unit"])], limit - time.time())
    except TimedOut:
        what += " within {0:.0f} s".format(time.time() - begun)
        raise TimedOut(
            _complaint(entry, unit, what, "", log_lines, runner), service=entry.get("name"), unit=unit["unit"]
        )
    if rc != 0:
        raise CommandFailed(
            _complaint(entry, unit, what, (err or out).strip(), log_lines, runner),
            service=entry.get("name"),
            unit=unit["unit"],
        )
    if action not in ("start", "stop"):
        return

    def missing():
        states = show_units([other["unit"] for other in units], runner)
        state = states[unit["unit"]]
        ports = ports_reader()
        if action == "stop":
            return is_down(unit, states, ports, shared_ports(unit, units, states)), False
        lacks = is_up(unit, states, ports)
        if lacks is None and unit["life"]["endpoint"]:
            endpoint = unit["life"]["endpoint"]
            lacks = endpoint_problem(endpoint, endpoint_reader(endpoint, min(3.0, max(0.2, limit - time.time()))))
        log = unit["life"]["log"]
        if lacks is None and log:
            seen, wanted = written_since(log["file"], mark, log["pattern"]), int(log.get("count") or 1)
            if seen < wanted:
                lacks = "has written {0} of {1} lines like {2!r} to {3}".format(
                    seen, wanted, str(log["pattern"]), log["file"]
                )
        return lacks, state["active"] == "failed"

    while True:
        lacks, gave_up = missing()
        if lacks is None:
            return
        if gave_up or time.time() >= limit:
            words = lacks if gave_up else "{0} at the deadline, {1:.0f} s".format(lacks, time.time() - begun)
            raise TimedOut(
                _complaint(entry, unit, words, "", log_lines, runner), service=entry.get("name"), unit=unit["unit"]
            )
        time.sleep(POLL)


def _complaint(entry, unit, what, message, log_lines, runner):
    """One line about a unit: what is wrong, what systemctl said, its last log lines, where to look."""
    lines = []
    for path in unit["logs"]:
        lines += tail(path, log_lines)
    if not lines:
        try:
            argv = ["journalctl", "-u", full_name(unit["unit"]), "-n", str(log_lines), "--no-pager", "-o", "cat"]
            lines = runner(argv, 5.0)[1].splitlines()
        except InsideError:
            lines = []
    lines = [line.strip() for line in lines[-log_lines:] if line.strip()]
    said = " It said: {0}.".format(" | ".join(lines)) if lines else ""
    return "{0} of {1} {2}.{3}{4} Look at {5} and systemctl status {0}.".format(
        unit["unit"],
        entry.get("name"),
        what,
        " {0}.".format(message.rstrip(".")) if message else "",
        said,
        ", ".join(unit["logs"]) or "the journal",
    )
