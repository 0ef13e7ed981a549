# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ask each data_storage host for evidence, judge the answers, and put the findings into the journal of the run."""

from __future__ import annotations

import os

from ansible.plugins.action import ActionBase

from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError
from ansible_collections.circonus.inside.plugins.plugin_utils import catalogue, play, procedure, storage_diagnose
from ansible_collections.circonus.inside.plugins.plugin_utils import findings as f


class ActionModule(ActionBase):
    """See the module documentation of ``circonus.inside.storage_diagnose``."""

    _supports_check_mode = True
    _VALID_ARGS = frozenset(("phase",))

    def run(self, tmp=None, task_vars=None):
        """Return ``questions`` or ``findings``; the result of the run is written by procedure_end."""
        result = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        run = (task_vars.get("circonus_begin") or {}).get("run") or {}
        journal = procedure.Journal(run.get("journal", os.devnull))
        if not run or journal.stopped():
            return dict(result, skipped=True, changed=False, msg="The run has been stopped.")
        try:
            sites = play.sites(self._templar, task_vars)
            asked = storage_diagnose.questions(sites, catalogue.unit_names("data_storage"), run)
            if self._task.args["phase"] == "ask":
                return dict(result, changed=False, questions=asked)
            answers = {host: play.answer(task_vars, host, "circonus_answer") for host in asked}
            verdict = storage_diagnose.evaluate(sites, answers, run["parameters"])
        except InsideError as error:
            journal.append("stop", reason=str(error), result="failed")
            return dict(result, failed=True, msg=str(error))
        fail_on = run["parameters"][storage_diagnose.PREFIX + "fail_on"]
        for key in ("findings", "unknown", "checked", "evidence"):
            journal.append("fact", key=key, value=verdict[key])
        journal.append("fact", key="fail_on", value=fail_on)
        whole = "%d of %d data_storage nodes are as they must be"
        failed, reason = f.conclusion(verdict["findings"], fail_on, whole % (
            verdict["checked"]["hosts"], verdict["checked"]["of"]))
        if failed:
            journal.append("stop", reason=reason, result="failed")
        else:
            journal.append("verdict", result="proceed", reason=reason, plan=[], done=reason)
            journal.append("completed")
        return dict(result, changed=False, findings=verdict["findings"], msg=reason)
