# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ask the right questions about the data_storage clusters, and decide about them."""

from __future__ import annotations

import time

from ansible_collections.circonus.inside.plugins.plugin_utils import (
    catalogue,
    play,
    storage_license,
    storage_restart,
    storage_sweep,
)
from ansible_collections.circonus.inside.plugins.plugin_utils.in_run import InRun


class ActionModule(InRun):
    """See the module documentation of ``circonus.inside.storage_plan``."""

    _VALID_ARGS = frozenset(("phase",))

    def within(self, task_vars, run, journal):
        """Return ``questions`` or ``verdict``."""
        phase = self._task.args["phase"]
        if phase == "ask":
            return self._ask(task_vars, run)
        if phase == "cancelled":
            hosts = task_vars["circonus_plan"]["verdict"]["hosts"]
            problem = storage_sweep.cancelled(
                hosts, {host: play.answer(task_vars, host, "circonus_cancelled") for host in hosts})
            if problem:
                journal.append("stop", reason=problem, result="failed")
            return {"failed": bool(problem), "msg": problem or "Nothing sweeps any more."}
        if phase == "licensed":
            return {"msg": self._licensed(task_vars, journal)}
        return {"verdict": self._decide(task_vars, run, journal)}

    def _ask(self, task_vars, run):
        sites, units = play.sites(self._templar, task_vars), catalogue.unit_names("data_storage")
        if run["procedure"] == storage_license.PROCEDURE:
            return {"questions": storage_license.questions(sites, units),
                    "source": storage_license.source(run["parameters"][storage_license.PREFIX + "file"])}
        only = run["parameters"].get(storage_restart.PROCEDURE + "_only")
        asked = {"questions": storage_restart.questions(sites, units, only == "changed")}
        if run["procedure"] == storage_sweep.PROCEDURE:
            asked["sweeps"] = storage_sweep.questions(sites, run, time.time())
        return asked

    def _decide(self, task_vars, run, journal):
        situation = play.situation(self._templar, task_vars)
        answers = {}
        for nodes in storage_restart.clusters(situation.sites).values():
            answers.update((node["host"], play.answer(task_vars, node["host"], "circonus_store")) for node in nodes)
        if run["procedure"] == storage_sweep.PROCEDURE:
            looks = {host: play.answer(task_vars, host, "circonus_sweep") for host in answers}
            return storage_sweep.verdict(situation, answers, looks, run["parameters"], run, time.time())
        if run["procedure"] == storage_license.PROCEDURE:
            looks = {host: play.answer(task_vars, host, "circonus_license") for host in answers}
            since = storage_restart.begun(run, storage_license.PROCEDURE, storage_license.SAME)
            verdict = storage_license.verdict(situation, answers, looks, run["parameters"], run, since, time.time())
        else:
            since = storage_restart.begun(run, same=storage_restart.SAME)
            hostvars = task_vars["hostvars"]
            local = [host for host in answers
                     if host in hostvars and hostvars[host].get("ansible_connection") == "local"]
            verdict = storage_restart.verdict(
                situation, answers, run["parameters"], dict(run, local=local), since, time.time())
        for key in ("since", "waves", "estimate_s"):
            if verdict.get(key):
                journal.append("fact", key=key, value=verdict[key])
        return verdict

    @staticmethod
    def _licensed(task_vars, journal):
        """What the restarted nodes tell of their licences, for the report."""
        hosts = [host for wave in task_vars["circonus_plan"]["verdict"]["waves"] for host in wave["hosts"]]
        facts, warnings = storage_license.told(
            hosts, {host: play.answer(task_vars, host, "circonus_licensed") for host in hosts})
        journal.append("fact", key="licenses", value=facts)
        for text in warnings:
            journal.append("warning", text=text)
        return " ".join(warnings) or "Every node tells of its licence."
