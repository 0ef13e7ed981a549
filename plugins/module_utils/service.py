# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Units of a component on one host: which exist, what state they are in, start, stop, restart, wait.

The facts of a component are its catalogue entry (``<role>_service`` in a role's vars)::

    {"name": "fault_detection",
     "units": [{"id": "faultd", "candidates": ["circonus-fault-detection"], "ports": [9127], "required": False}, ...],
     "logs": ["/var/log/circonus/faultd-error.log"]}

``units`` stand in start order. The names of a unit changed over the releases, so each lists its candidates and the
first
one known to this host counts; a unit without any is left out, unless it is ``required``. ``ports`` are those that must
be
listening once the unit is up. ``logs`` belong to the component, a unit may add its own.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os
import subprocess
import time

from ansible_collections.circonus.inside.plugins.module_utils.errors import (
    BadInput,
    CommandFailed,
    InsideError,
    TimedOut,
)

PROPERTIES = (
    "Id",
    "LoadState",
    "ActiveState",
    "SubState",
    "UnitFileState",
    "MainPID",
    "ActiveEnterTimestamp",
    "ActiveEnterTimestampMonotonic",
    "Result",
    "NRestarts",
)
VERBS = ("check", "start", "stop", "restart")
DOWN_STATES = ("inactive", "failed")
POLL = 0.1
_PAST = {"start": "started", "stop": "stopped", "enable": "enabled", "disable": "disabled"}


def run(argv, timeout=30.0):
    """Run ``argv``; returns ``(rc, stdout, stderr)``. Raises CommandFailed when it cannot run, TimedOut when it
    hangs."""
    try:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except OSError as exc:
        raise CommandFailed("Cannot run {0}: {1}. Install it on this host.".format(argv[0], exc.strerror))
    try:
        out, err = process.communicate(timeout=max(0.1, timeout))
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise TimedOut("{0} did not end within {1:.0f} s. Look at this host.".format(" ".join(argv), timeout))
    return process.returncode, out.decode("utf-8", "replace"), err.decode("utf-8", "replace")


def parse_show(text, names, wall=None, monotonic=None):
    """Read the output of one ``systemctl show`` about ``names`` (in that order). Pure.

    wall, monotonic: the two clocks now, to turn the monotonic stamp into an epoch. Returns ``{name: {"load", "active",
    "sub", "enabled", "result": str, "pid": int, "restarts": int, "since": str, "since_epoch": float or None,
    "exists": bool}}``. A name that systemd did not answer for does not exist.
    """
    blocks = []
    for block in text.split("\n\n"):
        values = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if values:
            blocks.append(values)
    states = {}
    for position, name in enumerate(names):
        values = blocks[position] if position < len(blocks) else {}
        since = None
        try:
            micros = int(values.get("ActiveEnterTimestampMonotonic") or 0)
            if micros and wall is not None and monotonic is not None:
                since = round(wall - (monotonic - micros / 1e6), 3)
        except ValueError:
            pass
        load = values.get("LoadState", "not-found")
        states[name] = {
            "load": load,
            "active": values.get("ActiveState", "unknown"),
            "sub": values.get("SubState", "unknown"),
            "enabled": values.get("UnitFileState", ""),
            "result": values.get("Result", ""),
            "pid": _number(values.get("MainPID")),
            "restarts": _number(values.get("NRestarts")),
            "since": values.get("ActiveEnterTimestamp", ""),
            "since_epoch": since,
            "exists": load not in ("not-found", "error", ""),
        }
    return states


def _number(text):
    try:
        return int(text)
    except (TypeError, ValueError):
        return 0


def show_units(names, runner=run, timeout=10.0):
    """State of all ``names`` by one ``systemctl show``; see :func:`parse_show`. No names: an empty answer."""
    names = list(names)
    if not names:
        return {}
    argv = ["systemctl", "show"]
    for name in PROPERTIES:
        argv += ["-p", name]
    rc, out, err = runner(argv + [_full(name) for name in names], timeout)
    if not out.strip():
        raise CommandFailed(
            "systemctl show answered nothing (exit code {0}: {1}). Check systemd on this host.".format(
                rc, err.strip() or "no message"
            )
        )
    return parse_show(out, names, time.time(), _monotonic())


def installed_units(pattern="circonus-*", runner=run, timeout=10.0):
    """Names (without ``.service``) of the service unit files of this host that match ``pattern``, sorted."""
    out = runner(["systemctl", "list-unit-files", "--type=service", "--no-legend", "--no-pager", pattern], timeout)[1]
    return parse_unit_files(out)


def parse_unit_files(text):
    """Names of services in the output of ``systemctl list-unit-files``; templates are left out. Pure."""
    names = [line.split()[0] for line in text.splitlines() if line.split()]
    return sorted(name[: -len(".service")] for name in names if name.endswith(".service") and "@." not in name)


def _full(name):
    return name if "." in name.rsplit("/", 1)[-1] else name + ".service"


def _monotonic():
    # systemd stamps with CLOCK_MONOTONIC, which is what this is on Linux.
    return time.monotonic()


def parse_listeners(text):
    """Local TCP ports in state LISTEN of a ``/proc/net/tcp`` or ``tcp6`` table, as a set. Pure."""
    ports = set()
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 3 and fields[3] == "0A":
            ports.add(int(fields[1].rsplit(":", 1)[1], 16))
    return ports


def listening_ports():
    """TCP ports that somebody listens on, read from the kernel: no connection is made, no daemon notices."""
    ports = set()
    for path in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(path) as handle:
                ports |= parse_listeners(handle.read())
        except (IOError, OSError):
            continue
    return ports


def tail(path, lines=20, limit=65536):
    """The last ``lines`` lines of a file as a list; empty when it cannot be read."""
    try:
        with open(path, "rb") as handle:
            handle.seek(0, os.SEEK_END)
            handle.seek(max(0, handle.tell() - limit))
            return handle.read().decode("utf-8", "replace").splitlines()[-lines:]
    except (IOError, OSError):
        return []


def names_of(entry):
    """All unit names that a catalogue entry mentions, in order. Raises BadInput for a malformed entry."""
    names = []
    if not isinstance(entry, dict) or not isinstance(entry.get("units"), list):
        raise BadInput(
            "Expected a catalogue entry with a list of units, found {0}. Correct the role's vars.".format(
                type(entry).__name__
            )
        )
    for unit in entry["units"]:
        candidates = unit.get("candidates") if isinstance(unit, dict) else None
        if not candidates or not unit.get("id"):
            raise BadInput(
                "Expected id and candidates for every unit of {0}, found {1!r}. Correct the role's vars.".format(
                    entry.get("name"), unit
                )
            )
        names += [name for name in candidates if name not in names]
    return names


def resolve(entry, states, only=None):
    """Which units of a catalogue entry this host has. Pure.

    states: answer of :func:`show_units` for :func:`names_of`. only: list of unit ids, None means all. Returns
    ``[{"id", "unit", "ports", "logs", "enabled_only"}, ...]`` in start order. Raises BadInput for an id that the entry
    does
    not have or a required unit that the host does not have.
    """
    known = [unit["id"] for unit in entry["units"]]
    for wanted in only or ():
        if wanted not in known:
            raise BadInput(
                "Unknown unit {0} of {1}: expected one of {2}. Correct the request.".format(
                    wanted, entry.get("name"), ", ".join(known)
                )
            )
    found = []
    for unit in entry["units"]:
        if only is not None and unit["id"] not in only:
            continue
        name = next((name for name in unit["candidates"] if states.get(name, {}).get("exists")), None)
        if name is None:
            if unit.get("required"):
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
            }
        )
    return found


def is_up(unit, states, ports):
    """None when ``unit`` (from :func:`resolve`) is up, else what is missing, in words. Pure."""
    state = states[unit["unit"]]
    if state["active"] != "active":
        return "is {0} ({1}), expected active".format(state["active"], state["sub"])
    missing = [str(port) for port in unit["ports"] if port not in ports]
    return "does not listen on {0}".format(", ".join(missing)) if missing else None


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
    """``[("enable"|"disable", unit), ...]`` for the units whose boot setting differs; static ones have none. Pure."""
    found = []
    for unit in units:
        now = states[unit["unit"]]["enabled"]
        if enabled and now == "disabled" and unit["id"] not in keep_stopped:
            found.append(("enable", unit))
        elif not enabled and now in ("enabled", "enabled-runtime"):
            found.append(("disable", unit))
    return found


def as_entry(units, name=None):
    """A catalogue entry from a list of unit names or unit descriptions. Pure."""
    described = [dict(id=unit, candidates=[unit]) if isinstance(unit, str) else unit for unit in units]
    return {"name": name or "this host", "units": described}


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
):
    """Carry out one verb of the engine on the units of a catalogue entry that this host has.

    verb: check, start, stop, restart. expect: for check, whether ``up``, ``down`` or ``any`` is right. timeout:
    seconds for
    the whole call. enabled: true or false sets whether the units start with the host, None leaves that alone. Returns
    ``{"changed", "verb", "service", "units": [{"id", "unit", "active", "sub", "pid", "enabled",
    "up", "missing", "since_epoch"}], "actions": ["stop circonus-bert", ...], "absent": [ids], "seconds"}``.
    Raises TimedOut when something did not get where it should, naming it with its last log lines; CommandFailed when
    systemctl refuses.
    """
    if verb not in VERBS:
        raise BadInput("Expected one of {0}, found {1!r}. Correct the verb.".format(", ".join(VERBS), verb))
    started = time.time()
    deadline = started + timeout
    names = names_of(entry)
    states = show_units(names, runner)
    units = resolve(entry, states, only)
    present = [unit["id"] for unit in units]
    wanted = [unit["id"] for unit in entry["units"] if only is None or unit["id"] in only]
    todo = steps(verb, units, states, keep_stopped)
    if enabled is not None:
        todo += switches(units, states, enabled, keep_stopped)
    result = {
        "service": entry.get("name"),
        "verb": verb,
        "changed": bool(todo),
        "actions": ["{0} {1}".format(action, unit["unit"]) for action, unit in todo],
        "absent": [identity for identity in wanted if identity not in present],
    }

    if not check_mode:
        for action, unit in todo:
            argv = ["systemctl", action, _full(unit["unit"])]
            rc, out, err = runner(argv, deadline - time.time())
            if rc != 0:
                what = "could not be {0}".format(_PAST[action])
                raise CommandFailed(
                    _complaint(entry, unit, what, (err or out).strip(), log_lines, runner),
                    service=entry.get("name"),
                    unit=unit["unit"],
                )
            if action in ("start", "stop"):
                _wait([unit], action == "start", deadline, entry, log_lines, runner, ports_reader)
    expected = {"start": "up", "restart": "up", "stop": "down"}.get(verb, expect)
    states = show_units(names, runner) if units else {}
    ports = ports_reader() if units else set()
    result["units"] = []
    wrong = []
    for unit in units:
        state = states[unit["unit"]]
        missing = is_up(unit, states, ports)
        result["units"].append(
            {
                "id": unit["id"],
                "unit": unit["unit"],
                "active": state["active"],
                "sub": state["sub"],
                "enabled": state["enabled"],
                "pid": state["pid"],
                "since_epoch": state["since_epoch"],
                "up": missing is None,
                "missing": missing or "",
            }
        )
        if verb == "check" and unit["id"] not in keep_stopped:
            if expected == "up" and missing and not _switched_off(unit, state):
                wrong.append(_complaint(entry, unit, missing, "", log_lines, runner))
            elif expected == "down" and state["active"] not in DOWN_STATES:
                wrong.append(
                    "{0} is {1}, expected it to be stopped. Stop it: systemctl stop {0}".format(
                        unit["unit"], state["active"]
                    )
                )
    result["seconds"] = round(time.time() - started, 3)
    if wrong:
        raise InsideError(" ".join(wrong), service=entry.get("name"), units=result["units"])
    return result


def _wait(units, up, deadline, entry, log_lines, runner, ports_reader):
    """Wait until all ``units`` are up (or down). Raises TimedOut naming the first that is not."""
    while True:
        states = show_units([unit["unit"] for unit in units], runner)
        ports = ports_reader()
        missing = None
        for unit in units:
            state = states[unit["unit"]]
            if up:
                missing = is_up(unit, states, ports)
            else:
                down = state["active"] in DOWN_STATES
                missing = None if down else "is still {0}, expected it to be down".format(state["active"])
            if missing:
                break
        if missing is None:
            return
        gave_up = up and state["active"] == "failed"
        if gave_up or time.time() >= deadline:
            raise TimedOut(
                _complaint(entry, unit, missing if gave_up else missing + " at the deadline", "", log_lines, runner),
                service=entry.get("name"),
                unit=unit["unit"],
            )
        time.sleep(POLL)


def _complaint(entry, unit, what, message, log_lines, runner):
    """One line about a unit: what is wrong, what systemctl said, its last log lines, where to look."""
    lines = []
    for path in unit["logs"]:
        lines += tail(path, log_lines)
    if not lines:
        try:
            argv = ["journalctl", "-u", _full(unit["unit"]), "-n", str(log_lines), "--no-pager", "-o", "cat"]
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
