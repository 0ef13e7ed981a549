# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What one data_storage host knows before anything is done to its node: what the module irondb_probe does."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os
import time

from ansible_collections.circonus.inside.plugins.module_utils import (
    irondb_cluster,
    irondb_gate,
    irondb_package,
    topology,
    unit_state,
)
from ansible_collections.circonus.inside.plugins.module_utils.errors import CommandFailed, TimedOut

# The argument spec of the module.
ARGUMENTS = dict(
    irondb_cluster.SPEC,
    cluster=dict(type="bool", default=False),
    own=dict(type="bool", default=False),
    units=dict(type="list", elements="str", default=[]),
    aged=dict(type="path"),
    package=dict(type="bool", default=False),
    program=dict(type="path", default=irondb_package.PROGRAM),
    data_dir=dict(type="path", default="/snowth/data"),
)


def node_ids(data_dir):
    """Uuids of the directories in ``data_dir``, sorted; None when it cannot be read."""
    try:
        names = sorted(os.listdir(data_dir))
    except OSError:
        return None
    return [name for name in names if not topology.uuid_problem(name) and os.path.isdir(os.path.join(data_dir, name))]


def age_of(path):
    """Seconds since a file was changed, None without it."""
    try:
        return time.time() - os.stat(path).st_mtime if path else None
    except OSError:
        return None


def parse_boot(uptime, first, ticks):
    """Seconds since the first process of this system was started, from the texts of ``/proc/uptime`` and
    ``/proc/1/stat``. Pure. On a host that is its boot; a container has the kernel of its machine, and boots by itself.
    """
    return float(uptime.split()[0]) - int(first.rpartition(")")[2].split()[19]) / float(ticks)


def booted():
    """Seconds since this system was booted, None when that cannot be read."""
    try:
        with open("/proc/uptime") as uptime, open("/proc/1/stat") as first:
            return parse_boot(uptime.read(), first.read(), os.sysconf("SC_CLK_TCK"))
    except (IOError, OSError, ValueError, IndexError):
        return None


def collect(params):
    """Answer of the module irondb_probe for its ``params``. Raises BadInput for hosts that are none."""
    answer = {"node_ids": node_ids(params["data_dir"]), "unit": "", "active": "unknown", "enabled": "", "age_s": None,
              "problem": "", "view": None, "topology": "", "reasons": [], "node": None,
              "aged_s": age_of(params["aged"]), "booted_s": booted(), "package_changed": None, "package_reason": ""}
    try:
        states = unit_state.show_units(params["units"])
    except (CommandFailed, TimedOut) as exc:
        answer["problem"], states = str(exc), {}
    for name in params["units"]:
        state = states.get(name) or {}
        if state.get("exists"):
            since = state["since_epoch"]
            answer.update(unit=name, active=state["active"], enabled=state["enabled"],
                          age_s=None if since is None else time.time() - since)
            break
    if params["package"]:
        answer["package_changed"], answer["package_reason"] = irondb_package.collect(params["units"], params["program"])
    if params["cluster"]:
        cluster = irondb_cluster.of_params(params)
        try:
            answer["view"] = cluster.view()
            answer["topology"] = topology.write_xml(cluster.topology)
            answer["reasons"] = irondb_gate.gate(answer["view"])
        except irondb_cluster.NobodyAnswers as exc:
            answer["reasons"], answer["problem"] = exc.reasons, str(exc)
    if params["own"]:
        answer["node"] = irondb_cluster.node_info(irondb_cluster.of_params(params))
        answer["node"].pop("gossip")
    return answer
