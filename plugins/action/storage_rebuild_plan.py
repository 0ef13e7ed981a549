# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ask the right questions about the node that is to be rebuilt, and decide about it."""

from __future__ import annotations


from ansible_collections.circonus.inside.plugins.plugin_utils import catalogue, play, storage_rebuild
from ansible_collections.circonus.inside.plugins.plugin_utils.in_run import InRun


class ActionModule(InRun):
    """See the module documentation of ``circonus.inside.storage_rebuild_plan``."""

    _VALID_ARGS = frozenset(("phase",))

    def within(self, task_vars, run, journal):
        """Return ``questions`` or ``verdict``."""
        units, params = catalogue.unit_names("data_storage"), run["parameters"]
        if self._task.args["phase"] == "ask":
            return {"questions": storage_rebuild.questions(play.sites(self._templar, task_vars), params, units)}
        situation = play.situation(self._templar, task_vars)
        host = storage_rebuild.parameter(params, "node")
        answers = {"look": play.answer(task_vars, host, "circonus_node_look"),
                   "source": play.answer(task_vars, host, "circonus_source_look")}
        return {"verdict": storage_rebuild.verdict(situation, answers, params, run, units)}
