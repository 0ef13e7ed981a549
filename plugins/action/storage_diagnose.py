# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ask each data_storage host for evidence, judge the answers, and put the findings into the journal of the run."""

from __future__ import annotations


from ansible_collections.circonus.inside.plugins.plugin_utils import catalogue, play, storage_diagnose
from ansible_collections.circonus.inside.plugins.plugin_utils.in_run import InRun, conclude


class ActionModule(InRun):
    """See the module documentation of ``circonus.inside.storage_diagnose``."""

    _VALID_ARGS = frozenset(("phase",))
    ends = "failed"

    def within(self, task_vars, run, journal):
        """Return ``questions`` or ``findings``; the result of the run is written by procedure_end."""
        sites = play.sites(self._templar, task_vars)
        asked = storage_diagnose.questions(sites, catalogue.unit_names("data_storage"), run)
        if self._task.args["phase"] == "ask":
            return {"questions": asked}
        answers = {host: play.answer(task_vars, host, "circonus_answer") for host in asked}
        verdict = storage_diagnose.evaluate(sites, answers, run["parameters"])
        checked = verdict["checked"]
        reason = conclude(
            journal, verdict, ("findings", "unknown", "checked", "evidence"),
            run["parameters"][storage_diagnose.PREFIX + "fail_on"],
            "%d of %d data_storage nodes are as they must be" % (checked["hosts"], checked["of"]))
        return {"findings": verdict["findings"], "msg": reason}
