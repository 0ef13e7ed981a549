# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ask each data_storage host about its stores, and decide about their repair."""

from __future__ import annotations

import time

from ansible_collections.circonus.inside.plugins.plugin_utils import (
    catalogue,
    play,
    storage_repair,
    storage_restart,
)
from ansible_collections.circonus.inside.plugins.plugin_utils.in_run import InRun


class ActionModule(InRun):
    """See the module documentation of ``circonus.inside.storage_repair_plan``."""

    _VALID_ARGS = frozenset(("phase",))

    def within(self, task_vars, run, journal):
        """Return ``questions`` or ``verdict``."""
        units = catalogue.unit_names("data_storage")
        if self._task.args["phase"] == "ask":
            sites = play.sites(self._templar, task_vars)
            asked = storage_repair.questions(sites, units, run["parameters"].get("data_storage_repair_targets"))
            return {"questions": asked, "damage": [host for host, question in asked.items() if question["damage"]]}
        return {"verdict": self._decide(task_vars, run, units)}

    def _decide(self, task_vars, run, units):
        situation = play.situation(self._templar, task_vars)
        hosts = [node["host"] for nodes in storage_restart.clusters(situation.sites).values() for node in nodes]
        probes, looks = ({host: play.answer(task_vars, host, name) for host in hosts}
                         for name in ("circonus_store", "circonus_damage"))
        return storage_repair.verdict(situation, probes, looks, run["parameters"], run, units, time.time())
