# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ask the data_storage clusters for their dashboard, judge it, and put it into the journal of the run."""

from __future__ import annotations


from ansible_collections.circonus.inside.plugins.plugin_utils import catalogue, play, storage_status
from ansible_collections.circonus.inside.plugins.plugin_utils.in_run import InRun, conclude


class ActionModule(InRun):
    """See the module documentation of ``circonus.inside.storage_status``."""

    _VALID_ARGS = frozenset(("phase",))
    ends = "failed"

    def within(self, task_vars, run, journal):
        """Return ``questions`` or ``findings``; the result of the run is written by procedure_end."""
        sites, params = play.sites(self._templar, task_vars), run["parameters"]
        if self._task.args["phase"] == "ask":
            return {"questions": storage_status.questions(sites, catalogue.unit_names("data_storage"), params)}
        known = storage_status.chosen(sites, params)
        answers = {node["host"]: play.answer(task_vars, node["host"], "circonus_store")
                   for nodes in known.values() for node in nodes}
        verdict = storage_status.evaluate(known, answers, params)
        if not known:
            reason = "No host of this inventory has the role data_storage."
            journal.append("verdict", result="nothing_to_do", reason=reason, plan=[])
            return {"findings": [], "msg": reason}
        reason = conclude(
            journal, verdict, ("findings", "unknown", "checked", "storage"), params[storage_status.PREFIX + "fail_on"],
            storage_status.summary(verdict))
        return {"findings": verdict["findings"], "msg": reason}
