# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The CA of a site that takes over from a lost one: its numbers are raised, or it is kept from starting.

The lost CA may have issued more than its last copy knows. A record says for which failover the numbers were raised and
how far, so the same failover never raises twice, and a copy that was turned back since does not count as raised.

What is in the way of that never stops a failover of the database. Then a mark is written, and a drop-in of systemd
makes a start of the processor do nothing while the mark is there: not even an error that would stop Hooper.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import json
import os

from ansible_collections.circonus.inside.plugins.module_utils import ca, ca_authority, unit_state
from ansible_collections.circonus.inside.plugins.module_utils.errors import CommandFailed, InsideError

UNIT = "circonus-ca_processor"
UNIT_DIR = "/etc/systemd/system"
RECORD = "ca-takeover.json"
DROP_IN = """# Written by the collection circonus.inside; see its docs/ca.md.
[Unit]
ConditionPathExists=!{0}
"""


def mark_path(state_dir):
    """The file that keeps the processor from starting. Pure."""
    return os.path.join(state_dir, ca.HELD)


def drop_in_path(unit_dir):
    """The drop-in that looks for the mark. Pure."""
    return os.path.join(unit_dir, UNIT + ".service.d", "60-circonus-inside-held.conf")


def systemctl(arguments, runner=unit_state.run):
    """Run systemctl. Raises CommandFailed."""
    rc, unused, err = runner(["systemctl"] + arguments)
    if rc:
        raise CommandFailed("Expected systemctl {0} to succeed, found exit code {1}: {2}.".format(
            " ".join(arguments), rc, (err.strip().splitlines() or ["no word"])[-1].rstrip(".")))


def read_record(state_dir):
    """``{"event", "serial", "crl_number"}`` of the last raise, ``{}`` where there is none that can be read."""
    try:
        with open(os.path.join(state_dir, RECORD)) as handle:
            record = json.load(handle)
        return {"event": str(record["event"]), "serial": int(record["serial"]), "crl_number": int(record["crl_number"])}
    except (IOError, OSError, ValueError, KeyError, TypeError):
        return {}


def raised_already(record, event, serial, crl_number):
    """Whether the numbers of the directory are those that were raised for this failover, or later ones. Pure."""
    return bool(event) and record.get("event") == event and serial >= record["serial"] and (
        crl_number >= record["crl_number"])


def hold(reason, state_dir, unit_dir, check_mode=False, control=systemctl):
    """Keep the processor from starting, and stop it. Returns whether anything changed."""
    mark, drop_in = mark_path(state_dir), drop_in_path(unit_dir)
    text = DROP_IN.format(mark)
    changed = not os.path.exists(mark) or _content(drop_in) != text
    if check_mode:
        return changed
    for path, content in ((mark, reason + "\n"), (drop_in, text)):
        if not os.path.isdir(os.path.dirname(path)):
            os.makedirs(os.path.dirname(path), 0o755)
        ca_authority.replace(path, content.encode("utf-8"))
    control(["daemon-reload"])
    control(["stop", UNIT])
    return changed


def release(state_dir, unit_dir, check_mode=False, control=systemctl):
    """Let the processor start again. Returns whether it was held."""
    paths = [path for path in (mark_path(state_dir), drop_in_path(unit_dir)) if os.path.exists(path)]
    if paths and not check_mode:
        for path in paths:
            os.unlink(path)
        control(["daemon-reload"])
    return bool(paths)


def _content(path):
    try:
        with open(path) as handle:
            return handle.read()
    except (IOError, OSError):
        return None


def take_over(wanted, home, state_dir, unit_dir, phrase, config=ca_authority.CONFIG, crl=ca_authority.CRL,
              check_mode=False, control=systemctl):
    """Raise the numbers for a failover, once, and prove that the CA can sign; else keep its processor down.

    wanted: ``{"event": what identifies the failover, "serial_floor", "crl_floor", "problem": why that is not known}``.
    phrase: gives the pass phrase of the key, and raises where there is none.
    Returns ``{"changed", "taken": bool, "problem", "serial", "crl_number"}``. Raises only when it can neither raise nor
    hold.
    """
    try:
        if wanted["problem"]:
            raise CommandFailed(wanted["problem"])
        result = _raise(wanted, home, state_dir, phrase(), config, crl, check_mode)
        result["changed"] = release(state_dir, unit_dir, check_mode, control) or result["changed"]
        return dict(result, taken=True, problem="")
    except (InsideError, IOError, OSError) as exc:
        problem = str(exc) if isinstance(exc, InsideError) else "Cannot work on {0}: {1}.".format(
            getattr(exc, "filename", None) or home, exc.strerror)
    changed = hold(problem, state_dir, unit_dir, check_mode, control)
    return {"changed": changed, "taken": False, "problem": problem, "serial": 0, "crl_number": 0}


def _raise(wanted, home, state_dir, phrase, config, crl, check_mode):
    unused, paths = ca_authority.config_of(home, config)
    numbers = [ca_authority.read_number(paths[key]) if paths[key] else 0 for key in ("serial", "crlnumber")]
    if raised_already(read_record(state_dir), wanted["event"], *numbers):
        return {"changed": False, "serial": numbers[0], "crl_number": numbers[1]}
    ca_authority.trial_in_copy(home, state_dir, phrase, config)
    result = ca_authority.advance(home, wanted["serial_floor"], wanted["crl_floor"], phrase, config, crl, check_mode)
    if not check_mode:
        record = dict((key, result[key]) for key in ("serial", "crl_number"))
        ca_authority.replace(os.path.join(state_dir, RECORD), json.dumps(
            dict(record, event=wanted["event"]), sort_keys=True).encode("utf-8"))
    return result
