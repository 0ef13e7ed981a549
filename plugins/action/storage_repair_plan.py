# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ask each data_storage host about its stores, and decide about their repair."""

from __future__ import annotations

import os
import time

from ansible.plugins.action import ActionBase

from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError
from ansible_collections.circonus.inside.plugins.plugin_utils import (
    catalogue,
    play,
    procedure,
    storage_repair,
    storage_restart,
)


class ActionModule(ActionBase):
    """See the module documentation of ``circonus.inside.storage_repair_plan``."""

    _supports_check_mode = True
    _VALID_ARGS = frozenset(("phase",))

    def run(self, tmp=None, task_vars=None):
        """Return ``questions`` or ``verdict``."""
        result = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        run = (task_vars.get("circonus_begin") or {}).get("run") or {}
        journal = procedure.Journal(run.get("journal", os.devnull))
        if not run or journal.stopped():
            return dict(result, skipped=True, changed=False, msg="The run has been stopped.")
        units = catalogue.unit_names("data_storage")
        try:
            if self._task.args["phase"] == "ask":
                sites = play.sites(self._templar, task_vars)
                asked = storage_repair.questions(sites, units, run["parameters"].get("data_storage_repair_targets"))
                return dict(result, changed=False, questions=asked,
                            damage=[host for host, question in asked.items() if question["damage"]])
            return dict(result, changed=False, verdict=self._decide(task_vars, run, units))
        except InsideError as error:
            journal.append("stop", reason=str(error), result="refused")
            return dict(result, failed=True, changed=False, msg=str(error))

    def _decide(self, task_vars, run, units):
        situation = play.situation(self._templar, task_vars)
        hosts = [node["host"] for nodes in storage_restart.clusters(situation.sites).values() for node in nodes]
        probes, looks = ({host: play.answer(task_vars, host, name) for host in hosts}
                         for name in ("circonus_store", "circonus_damage"))
        return storage_repair.verdict(situation, probes, looks, run["parameters"], run, units, time.time())
