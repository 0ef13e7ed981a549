# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decide how far a backup site without a CA of its own is, and prove that it is built."""

from __future__ import annotations

import os

from ansible_collections.circonus.inside.plugins.action.operation_plan import ActionModule as OperationPlan
from ansible_collections.circonus.inside.plugins.module_utils import site_file
from ansible_collections.circonus.inside.plugins.plugin_utils import (
    ca_bootstrap,
    catalogue,
    pki,
    pki_audit,
    play,
    procedure,
    site_model,
)


class ActionModule(OperationPlan):
    """See the module documentation of ``circonus.inside.ca_bootstrap_plan``."""

    _VALID_ARGS = frozenset(("phase", "base", "half"))

    def within(self, task_vars, run, journal):
        """Dispatch on the phase: decide, save, prove."""
        pki.need()
        return getattr(self, "_" + self._task.args["phase"])(self._situation(task_vars), task_vars, run, journal)

    @staticmethod
    def _findings(task_vars):
        """Findings of the audit over the newest answers of all hosts that were asked."""
        nodes = play.nodes(task_vars)
        answers = {host: play.answer(task_vars, host, "circonus_answer") for host in nodes}
        return pki_audit.evaluate(nodes, answers, {})["findings"]

    def _decide(self, situation, task_vars, run, journal):
        hostvars = task_vars["hostvars"]
        hosts = [host for site in situation.sites.values() for host in site["hosts"]]
        raws = {name: site_model.normalise(site["raw"]) for name, site in situation.sites.items()}
        facts = {
            "findings": self._findings(task_vars),
            "connections": {host: (hostvars[host].get("circonus_connections") or {}).get("count") for host in hosts},
            "order": {host: int(hostvars[host].get("circonus_run_order", catalogue.LAST_STAGE)) for host in hosts},
            "activity": site_model.activity(raws),
        }
        return {"verdict": ca_bootstrap.verdict(situation, facts, run["parameters"], run)}

    def _save(self, situation, task_vars, run, journal):
        site = self._task.args["base"]["site"]
        raws = {name: one["raw"] for name, one in situation.sites.items()}
        active = next(name for name in raws if name != site)
        final = ca_bootstrap.documents(
            raws, site, active, run["parameters"].get("ca_bootstrap_standby_connect_host"))["final"]
        path = situation.sites[site]["file"]
        if raws[site] == final:
            return {"msg": "The file of the controller is current."}
        with open(path, encoding="utf-8") as handle:
            procedure.write_atomically(path + ".previous", handle.read(), 0o600)
        procedure.write_atomically(path, site_file.dump(final), os.stat(path).st_mode & 0o7777)
        return {"changed": True, "msg": "Written: %s." % path}

    def _prove(self, situation, task_vars, run, journal):
        args = self._task.args
        problems = ca_bootstrap.proof(situation, self._findings(task_vars), args["base"], bool(args.get("half")))
        if not problems:
            return {"msg": "Proven."}
        reason = "%s (%d in all.) ca_reissue.yml -e ca_reissue_limit=%s mends certificates; then start again." % (
            problems[0], len(problems), args["base"]["site"])
        journal.append("stop", reason=reason, result="failed")
        return {"failed": True, "msg": reason}
