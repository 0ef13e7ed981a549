# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decide about a Hooper run or an ordered restart from what every host answered, and sum up its result."""

from __future__ import annotations

import os

import yaml
from ansible.plugins.action import ActionBase

from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError
from ansible_collections.circonus.inside.plugins.plugin_utils import (
    catalogue,
    failover,
    operations,
    procedure,
    site_model,
)

CHAINS = os.path.join(catalogue.ROLES, "service", "vars", "main.yml")


class ActionModule(ActionBase):
    """See the module documentation of ``circonus.inside.operation_plan``."""

    _supports_check_mode = True
    _VALID_ARGS = frozenset(("procedure", "phase"))

    def run(self, tmp=None, task_vars=None):
        """Dispatch on procedure and phase."""
        result = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        run = (task_vars.get("circonus_begin") or {}).get("run") or {}
        journal = procedure.Journal(run.get("journal", os.devnull))
        if not run or journal.stopped():
            return dict(result, skipped=True, changed=False, msg="The run has been stopped.")
        try:
            act = getattr(self, "_%s_%s" % (self._task.args["phase"], self._task.args["procedure"]))
            result.update(act(task_vars, run, journal))
        except InsideError as error:
            journal.append("stop", reason=str(error), result="refused")
            result.update(failed=True, msg=str(error))
        result.setdefault("changed", False)
        return result

    def _situation(self, task_vars):
        described = self._templar.template(task_vars.get("circonus_sites")) or {}
        if not described:
            raise InsideError(
                "Expected sites from the inventory plugin circonus.inside.site, found none. Use an inventory file "
                "*.site.yml."
            )
        sites = {
            name: {"raw": site_model.load_site(entry["file"]), "hosts": list(entry["hosts"]), "file": entry["file"]}
            for name, entry in described.items()
        }
        probes, hostvars = {}, task_vars["hostvars"]
        for site in sites.values():
            for host in site["hosts"]:
                answer = hostvars[host].get("circonus_probe") if host in hostvars else None
                probes[host] = dict(answer) if answer else {"reachable": False, "msg": "not in this play"}
        units = {name: catalogue.unit_names(name) for name in catalogue.names()}
        return failover.Situation(sites, probes, units)

    @staticmethod
    def _answers(task_vars):
        hostvars = task_vars["hostvars"]
        return {
            host: dict(hostvars[host]["circonus_hooper_result"])
            for host in task_vars["ansible_play_hosts_all"]
            if "circonus_hooper_result" in hostvars[host]
        }

    def _decide_hooper_run(self, task_vars, run, journal):
        situation = self._situation(task_vars)
        hostvars = task_vars["hostvars"]
        known = {host for site in situation.sites.values() for host in site["hosts"]}
        order = {
            host: int(hostvars[host].get("circonus_run_order", 6))
            for host in task_vars["ansible_play_hosts_all"]
            if host in known
        }
        findings = site_model.validate({name: site["raw"] for name, site in situation.sites.items()})
        return {"verdict": operations.hooper_verdict(situation, order, run["parameters"], run, findings)}

    def _decide_service_restart_dependents(self, task_vars, run, journal):
        with open(CHAINS, encoding="utf-8") as handle:
            chains = yaml.safe_load(handle)["service_dependants"]
        situation = self._situation(task_vars)
        return {"verdict": operations.restart_verdict(situation, catalogue.load(), chains, run["parameters"], run)}

    def _pending_hooper_run(self, task_vars, run, journal):
        return {"pending": operations.hooper_pending(self._answers(task_vars))}

    def _sum_up_hooper_run(self, task_vars, run, journal):
        outcome = operations.hooper_outcome(self._answers(task_vars), bool(self._task.check_mode))
        journal.append("fact", key="hooper", value=outcome["facts"])
        for text in outcome["warnings"]:
            journal.append("warning", text=text)
        if outcome["problem"]:
            journal.append("stop", reason=outcome["problem"], result="failed")
            return {"failed": True, "msg": outcome["problem"]}
        return {"msg": "Hooper has nothing to warn about."}
