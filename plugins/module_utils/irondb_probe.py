# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What one data_storage host knows before anything is done to its node: what the module irondb_probe does."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os
import time

from ansible_collections.circonus.inside.plugins.module_utils import irondb_cluster, irondb_gate, topology, unit_state
from ansible_collections.circonus.inside.plugins.module_utils.errors import CommandFailed, TimedOut

# The argument spec of the module.
ARGUMENTS = dict(
    irondb_cluster.SPEC,
    cluster=dict(type="bool", default=False),
    own=dict(type="bool", default=False),
    units=dict(type="list", elements="str", default=[]),
    aged=dict(type="path"),
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


def collect(params):
    """Answer of the module irondb_probe for its ``params``. Raises BadInput for hosts that are none."""
    answer = {"node_ids": node_ids(params["data_dir"]), "unit": "", "active": "unknown", "age_s": None, "problem": "",
              "view": None, "topology": "", "reasons": [], "node": None,
              "aged_s": age_of(params["aged"])}
    try:
        states = unit_state.show_units(params["units"])
    except (CommandFailed, TimedOut) as exc:
        answer["problem"], states = str(exc), {}
    for name in params["units"]:
        state = states.get(name) or {}
        if state.get("exists"):
            since = state["since_epoch"]
            answer.update(unit=name, active=state["active"], age_s=None if since is None else time.time() - since)
            break
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
