# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ask the data_storage clusters for their dashboard, judge it, and put it into the journal of the run."""

from __future__ import annotations

import os

from ansible.plugins.action import ActionBase

from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput, InsideError
from ansible_collections.circonus.inside.plugins.plugin_utils import catalogue, play, procedure, storage_status
from ansible_collections.circonus.inside.plugins.plugin_utils import findings as f


class ActionModule(ActionBase):
    """See the module documentation of ``circonus.inside.storage_status``."""

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
        params = run["parameters"]
        try:
            sites = play.sites(self._templar, task_vars)
            if self._task.args["phase"] == "ask":
                units = catalogue.unit_names("data_storage")
                return dict(result, changed=False, questions=storage_status.questions(sites, units, params))
            known = storage_status.chosen(sites, params)
            answers = {node["host"]: play.answer(task_vars, node["host"], "circonus_store")
                       for nodes in known.values() for node in nodes}
            verdict = storage_status.evaluate(known, answers, params)
        except InsideError as error:
            journal.append("stop", reason=str(error), result="refused" if isinstance(error, BadInput) else "failed")
            return dict(result, failed=True, changed=False, msg=str(error))
        if not known:
            reason = "No host of this inventory has the role data_storage."
            journal.append("verdict", result="nothing_to_do", reason=reason, plan=[])
            return dict(result, changed=False, findings=[], msg=reason)
        fail_on = params[storage_status.PREFIX + "fail_on"]
        for key in ("findings", "unknown", "checked", "storage"):
            journal.append("fact", key=key, value=verdict[key])
        journal.append("fact", key="fail_on", value=fail_on)
        failed, reason = f.conclusion(verdict["findings"], fail_on, storage_status.summary(verdict))
        if failed:
            journal.append("stop", reason=reason, result="failed")
        else:
            journal.append("verdict", result="proceed", reason=reason, plan=[], done=reason)
            journal.append("completed")
        return dict(result, changed=False, findings=verdict["findings"], msg=reason)
