# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decide about the everyday procedures from what every host answered, and sum up their result."""

from __future__ import annotations

import os

import yaml
from ansible.module_utils.parsing.convert_bool import boolean
from ansible_collections.circonus.inside.plugins.plugin_utils import (
    catalogue,
    operations,
    play,
    site_model,
)

CHAINS = os.path.join(catalogue.ROLES, "service", "vars", "main.yml")
from ansible_collections.circonus.inside.plugins.plugin_utils.in_run import InRun


class ActionModule(InRun):
    """See the module documentation of ``circonus.inside.operation_plan``."""

    _VALID_ARGS = frozenset(("procedure", "phase"))

    def within(self, task_vars, run, journal):
        """Dispatch on procedure and phase."""
        return getattr(self, "_%s_%s" % (self._task.args["phase"], self._task.args["procedure"]))(
            task_vars, run, journal)

    def _situation(self, task_vars):
        # Brokers are in no site.json; they answer all the same when they are in the play.
        return play.situation(self._templar, task_vars, more=task_vars["ansible_play_hosts_all"])

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

    @staticmethod
    def _chains():
        with open(CHAINS, encoding="utf-8") as handle:
            return yaml.safe_load(handle)["service_dependants"]

    def _nodes(self, task_vars):
        """{host: {"roles", "site"}} of the hosts of this play, and the names of the passive sites."""
        hostvars = task_vars["hostvars"]
        nodes = {}
        for host in task_vars["ansible_play_hosts_all"]:
            node = hostvars[host].get("circonus_node") or {}
            nodes[host] = {"roles": list(node.get("roles") or []), "site": node.get("site")}
        described = self._templar.template(task_vars.get("circonus_sites")) or {}
        return nodes, sorted(name for name, site in described.items() if site.get("active") is False)

    @staticmethod
    def _more(task_vars, role):
        """What the inventory says about a role beyond the parameters of the run."""
        hostvars = task_vars["hostvars"]
        kept = {host: hostvars[host].get(role + "_keep_stopped") for host in task_vars["ansible_play_hosts_all"]}
        return {
            "keep_stopped": {host: list(ids) for host, ids in kept.items() if ids},
            "release": str(task_vars.get(role + "_release") or task_vars.get("circonus_release") or ""),
        }

    def _pins(self, task_vars):
        """{host: pin} of the hosts of this play whose package repository is managed."""
        hostvars, found = task_vars["hostvars"], {}
        for host in task_vars["ansible_play_hosts_all"]:
            brokers_only = list((hostvars[host].get("circonus_node") or {}).get("roles") or []) == ["broker"]
            if boolean(hostvars[host].get("circonus_repo_manage") or False) and not brokers_only:
                found[host] = hostvars[host].get("circonus_repo_pin")
        return found

    def _decide_service_restart_dependents(self, task_vars, run, journal):
        situation = self._situation(task_vars)
        return {
            "verdict": operations.restart_verdict(
                situation, catalogue.load(), self._chains(), run["parameters"], run
            )
        }

    def _decide_service_operate(self, task_vars, run, journal):
        nodes, standby = self._nodes(task_vars)
        params = run["parameters"]
        more = self._more(task_vars, params["service_operate_role"])
        more["pins"] = self._pins(task_vars)
        return {
            "verdict": operations.operate_verdict(
                self._situation(task_vars), catalogue.load(), nodes, standby, params, run, more
            )
        }

    def _decide_service_restart(self, task_vars, run, journal):
        nodes, standby = self._nodes(task_vars)
        params = run["parameters"]
        more = self._more(task_vars, params["service_restart_role"])
        return {
            "verdict": operations.role_restart_verdict(
                self._situation(task_vars), catalogue.load(), self._chains(), nodes, standby, params, run, more
            )
        }

    def _decide_site(self, task_vars, run, journal):
        nodes, unused = self._nodes(task_vars)
        with open(os.path.join(task_vars["playbook_dir"], "site.yml"), encoding="utf-8") as handle:
            plays = yaml.safe_load(handle)
        order = [role.split(".")[-1] for play in plays for role in play.get("roles") or []]
        verdict = operations.site_verdict(
            self._situation(task_vars), nodes, order, run["parameters"], run, self._pins(task_vars)
        )
        return {"verdict": verdict}

    def _sum_up_service_operate(self, task_vars, run, journal):
        verdict = task_vars["circonus_plan"]["verdict"]
        answers = [dict(answer) for answer in (task_vars.get("circonus_operated") or {}).get("results") or []]
        outcome = operations.operate_outcome(verdict, answers)
        for host in verdict["converge"]:
            outcome["facts"][host] = (task_vars["hostvars"][host].get("service_result") or {}).get("msg") or ""
        journal.append("fact", key="answers", value=outcome["facts"])
        if outcome["problem"]:
            journal.append("stop", reason=outcome["problem"], result="failed")
            return {"failed": True, "msg": outcome["problem"]}
        return {"msg": "; ".join("%s: %s" % pair for pair in sorted(outcome["facts"].items()))}

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
