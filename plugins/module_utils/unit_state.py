# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host says of its units: systemd's word, the ports that somebody listens on, the boot, the end of a log.

Reads only. The functions that change something are in :mod:`service`.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os
import subprocess
import time

from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput, CommandFailed, TimedOut

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
DOWN_STATES = ("inactive", "failed")


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
    rc, out, err = runner(argv + [full_name(name) for name in names], timeout)
    if not out.strip():
        raise CommandFailed(
            "systemctl show answered nothing (exit code {0}: {1}). Check systemd on this host.".format(
                rc, err.strip() or "no message"
            )
        )
    return parse_show(out, names, time.time(), _monotonic())


def read_boot_id():
    """Identity of the running boot; changes with a restart of the host."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as handle:
            return handle.read().strip()
    except (IOError, OSError):
        return ""


def installed_units(pattern="circonus-*", runner=run, timeout=10.0):
    """Names (without ``.service``) of the service unit files of this host that match ``pattern``, sorted."""
    out = runner(["systemctl", "list-unit-files", "--type=service", "--no-legend", "--no-pager", pattern], timeout)[1]
    return parse_unit_files(out)


def parse_unit_files(text):
    """Names of services in the output of ``systemctl list-unit-files``; templates are left out. Pure."""
    names = [line.split()[0] for line in text.splitlines() if line.split()]
    return sorted(name[: -len(".service")] for name in names if name.endswith(".service") and "@." not in name)


def full_name(name):
    """The name of a unit with its type, ``.service`` when it has none. Pure."""
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


def is_up(unit, states, ports):
    """None when ``unit`` (from :func:`service.resolve`) is active and listens, else what is missing, in words. Pure."""
    state = states[unit["unit"]]
    if state["active"] != "active":
        return "is {0} ({1}), expected active".format(state["active"], state["sub"])
    missing = [str(port) for port in unit["ports"] if port not in ports]
    return "does not listen on {0}".format(", ".join(missing)) if missing else None
