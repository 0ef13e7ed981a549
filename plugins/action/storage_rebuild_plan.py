# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ask the right questions about the node that is to be rebuilt, and decide about it."""

from __future__ import annotations

import os

from ansible.plugins.action import ActionBase

from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError
from ansible_collections.circonus.inside.plugins.plugin_utils import catalogue, play, procedure, storage_rebuild


class ActionModule(ActionBase):
    """See the module documentation of ``circonus.inside.storage_rebuild_plan``."""

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
                questions = storage_rebuild.questions(sites, run["parameters"], units)
                return dict(result, changed=False, questions=questions)
            situation = play.situation(self._templar, task_vars)
            host = storage_rebuild.parameter(run["parameters"], "node")
            answers = {"look": play.answer(task_vars, host, "circonus_node_look"),
                       "source": play.answer(task_vars, host, "circonus_source_look")}
            verdict = storage_rebuild.verdict(situation, answers, run["parameters"], run, units)
            return dict(result, changed=False, verdict=verdict)
        except InsideError as error:
            journal.append("stop", reason=str(error), result="refused")
            return dict(result, failed=True, changed=False, msg=str(error))
