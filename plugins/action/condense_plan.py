# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ask about the data sets of the data_storage clusters, and decide about condensing them."""

from __future__ import annotations

import time

from ansible_collections.circonus.inside.plugins.plugin_utils import (
    catalogue,
    play,
    storage_condense,
    storage_restart,
)
from ansible_collections.circonus.inside.plugins.plugin_utils.in_run import InRun


class ActionModule(InRun):
    """See the module documentation of ``circonus.inside.condense_plan``."""

    _VALID_ARGS = frozenset(("phase",))

    def within(self, task_vars, run, journal):
        """Return ``nodes`` and ``data_sets`` (questions), or ``verdict``."""
        if self._task.args["phase"] == "ask":
            sites, units = play.sites(self._templar, task_vars), catalogue.unit_names("data_storage")
            return {"nodes": storage_restart.questions(sites, units),
                    "data_sets": storage_condense.questions(sites, units, run["parameters"])}
        return {"verdict": self._decide(task_vars, run, journal)}

    def _decide(self, task_vars, run, journal):
        situation = play.situation(self._templar, task_vars)
        answers, looks = {}, {}
        for nodes in storage_restart.clusters(situation.sites).values():
            for node in nodes:
                answers[node["host"]] = play.answer(task_vars, node["host"], "circonus_store")
                looks[node["host"]] = play.answer(task_vars, node["host"], "circonus_data_set")
        since = storage_restart.begun(run, storage_condense.PROCEDURE)
        verdict = storage_condense.verdict(
            situation, answers, looks, run["parameters"], run, since, time.time())
        for key in ("since", "nodes", "estimate_s"):
            if verdict.get(key):
                journal.append("fact", key=key, value=verdict[key])
        return verdict
