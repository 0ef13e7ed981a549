# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The manual's steps for two roles that cannot talk to each other: who takes part, what hosts show, the verdict."""

from __future__ import annotations


from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError
from ansible_collections.circonus.inside.plugins.plugin_utils import catalogue, pki, pki_connectivity, procedure
from ansible_collections.circonus.inside.plugins.plugin_utils.site_model import load_site

catalogue.load()
from ansible_collections.circonus.inside.plugins.plugin_utils.in_run import InRun, close


class ActionModule(InRun):
    """See the module documentation of ``circonus.inside.pki_connectivity``."""

    _VALID_ARGS = frozenset(("phase", "plan", "answers"))

    def within(self, task_vars, run, journal):
        """Dispatch on the phase."""
        act = getattr(self, "_" + self._task.args["phase"])
        return dict(act(task_vars, run["parameters"], journal), changed=False)

    def _platform(self, task_vars, parameters):
        """(nodes, sites, {role: effective catalogue entry})."""
        described = self._templar.template(task_vars.get("circonus_sites")) or {}
        sites = {str(name): {"raw": load_site(entry["file"]), "active": entry["active"]}
                 for name, entry in described.items()}
        nodes, groups, hostvars = {}, task_vars["groups"], task_vars["hostvars"]
        for host in [*groups.get("hooper", []), *groups.get("brokers", [])]:
            node = hostvars[host]["circonus_node"]
            address = (node.get("machinfo") or {}).get("ip_address") or hostvars[host].get("ansible_host") or host
            nodes[str(host)] = {"site": node.get("site"), "roles": [str(role) for role in node["roles"]],
                                "address": str(address)}
        names = catalogue.names()
        release = parameters.get("circonus_release") or None
        return nodes, sites, dict(zip(names, catalogue.for_roles(names, release), strict=True))

    def _decide(self, task_vars, parameters, _journal):
        nodes, sites, known = self._platform(task_vars, parameters)
        plan = pki_connectivity.plan(nodes, sites, parameters, known)
        release = parameters.get("circonus_release") or None
        ask = {}
        for host in dict.fromkeys([*plan["hosts"], *plan["ca"], *plan["stratcon"]]):
            ask[host] = pki_connectivity.arguments(host, plan, nodes, known, parameters, release)
        return {"plan": dict(plan, ask=ask, nodes={host: nodes[host] for host in ask})}

    def _probe(self, task_vars, _parameters, _journal):
        """What one host shows. Never fails: a host that cannot be asked is part of the verdict."""
        plan, host = self._task.args["plan"], str(task_vars["inventory_hostname"])
        arguments = (plan.get("ask") or {}).get(host)
        if not arguments:
            return {"skipped": True, "msg": "takes no part"}
        try:
            outcome = self._execute_module("circonus.inside.pki_files", module_args=arguments, task_vars=task_vars)
            if host in plan["ca"] and not outcome.get("failed"):
                service = {"service": catalogue.load()["ca"], "host": host, "log_lines": 1}
                seen = self._execute_module("circonus.inside.service_info", module_args=service, task_vars=task_vars)
                outcome["ca_units"] = None if seen.get("failed") else seen["units"]
                outcome["ca_msg"] = procedure.outcome_message(seen) if seen.get("failed") else ""
        except AnsibleConnectionFailure as error:
            outcome = {"reachable": False, "msg": " ".join(str(error).split())}
        except (AnsibleError, InsideError) as error:
            outcome = {"msg": " ".join(str(error).split())}
        return dict(procedure.host_answer(outcome), failed=False)

    def _judge(self, task_vars, parameters, journal):
        pki.need()
        plan, hostvars = self._task.args["plan"], task_vars["hostvars"]
        name, answers = self._task.args.get("answers") or "circonus_answer", {}
        for host in plan["ask"]:
            answer = hostvars[host].get(name) if host in hostvars else None
            answers[host] = dict(answer) if answer and not answer.get("skipped") else None
        verdict = pki_connectivity.evaluate(plan, plan["nodes"], answers, parameters)
        for key in ("sequence", "findings", "unknown", "checked", "tls_ports", "tls_connections"):
            journal.append("fact", key=key, value=verdict[key])
        journal.append("fact", key="fail_on", value="error")
        journal.append("fact", key="first_broken_step", value=verdict["first"])
        close(journal, verdict["failed"], verdict["reason"])
        return {"sequence": verdict["sequence"], "first": verdict["first"], "msg": verdict["reason"]}
