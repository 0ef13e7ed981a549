# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ask the right questions about the data_storage clusters, and decide about them."""

from __future__ import annotations

import os
import time

from ansible.plugins.action import ActionBase

from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError
from ansible_collections.circonus.inside.plugins.plugin_utils import (
    catalogue,
    play,
    procedure,
    storage_restart,
    storage_sweep,
)


class ActionModule(ActionBase):
    """See the module documentation of ``circonus.inside.storage_plan``."""

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
        phase = self._task.args["phase"]
        try:
            if phase == "ask":
                sites = play.sites(self._templar, task_vars)
                asked = {"questions": storage_restart.questions(sites, catalogue.unit_names("data_storage"))}
                if run["procedure"] == storage_sweep.PROCEDURE:
                    asked["sweeps"] = storage_sweep.questions(sites, run, time.time())
                return dict(result, changed=False, **asked)
            if phase == "cancelled":
                hosts = task_vars["circonus_plan"]["verdict"]["hosts"]
                problem = storage_sweep.cancelled(
                    hosts, {host: play.answer(task_vars, host, "circonus_cancelled") for host in hosts})
                if problem:
                    journal.append("stop", reason=problem, result="failed")
                return dict(result, failed=bool(problem), changed=False, msg=problem or "Nothing sweeps any more.")
            return dict(result, changed=False, verdict=self._decide(task_vars, run, journal))
        except InsideError as error:
            journal.append("stop", reason=str(error), result="refused")
            return dict(result, failed=True, changed=False, msg=str(error))

    def _decide(self, task_vars, run, journal):
        situation = play.situation(self._templar, task_vars)
        answers = {}
        for nodes in storage_restart.clusters(situation.sites).values():
            answers.update((node["host"], play.answer(task_vars, node["host"], "circonus_store")) for node in nodes)
        if run["procedure"] == storage_sweep.PROCEDURE:
            looks = {host: play.answer(task_vars, host, "circonus_sweep") for host in answers}
            return storage_sweep.verdict(situation, answers, looks, run["parameters"], run, time.time())
        since = storage_restart.begun(run)
        verdict = storage_restart.verdict(situation, answers, run["parameters"], run, since, time.time())
        for key in ("since", "waves", "estimate_s"):
            if verdict.get(key):
                journal.append("fact", key=key, value=verdict[key])
        return verdict
