# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Collect the PKI files of one host: the only task of the audit that reaches it."""

from __future__ import annotations

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase

from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError
from ansible_collections.circonus.inside.plugins.plugin_utils import catalogue, pki_audit, platform, procedure
from ansible_collections.circonus.inside.plugins.plugin_utils.site_model import load_site

# Read once, before a worker is forked for each host.
catalogue.load()


class ActionModule(ActionBase):
    """See the module documentation of ``circonus.inside.pki_probe``."""

    _supports_check_mode = True
    _VALID_ARGS = frozenset(())

    def run(self, tmp=None, task_vars=None):
        """What pki_files returns, or why there is nothing. Never fails: a host that cannot be asked is a finding."""
        result = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        try:
            node, sites = (self._templar.template(task_vars.get(name)) or {}
                           for name in ("circonus_node", "circonus_sites"))
            run = (task_vars.get("circonus_begin") or {}).get("run") or {}
            outcome = self._execute_module(
                module_name="circonus.inside.pki_files",
                module_args=self._arguments(node, sites, run.get("parameters") or {}, run.get("procedure")),
                task_vars=task_vars,
            )
        except AnsibleConnectionFailure as error:
            outcome = {"reachable": False, "msg": " ".join(str(error).split())}
        except (AnsibleError, InsideError) as error:
            outcome = {"msg": " ".join(str(error).split())}
        outcome = procedure.host_answer(outcome)
        return dict(result, **dict(outcome, failed=False, changed=False))

    @staticmethod
    def _arguments(node, sites, parameters, procedure_name=None):
        host, site = node["name"], node.get("site")
        release = parameters.get("circonus_release") or None
        entries = platform.role_entries(node["roles"], release, host)
        stopped = []
        if site in sites and "ca" in node["roles"]:
            described = {site: {"raw": load_site(sites[site]["file"]), "active": sites[site]["active"]}}
            stopped = [role for role in platform.kept_stopped(described, site, host, entries) if role == "ca"]
        # The audit's own parameter, or that of the procedure that audits first.
        extra = parameters.get("pki_audit_files") or parameters.get("%s_files" % procedure_name) or []
        return {
            "files": pki_audit.wanted(entries, host, stopped, extra, release),
            "deadline": parameters.get("pki_audit_deadline_s") or 30,
        }
