# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Collect the PKI files of one host: the only task of the audit that reaches it."""

from __future__ import annotations

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase

from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError
from ansible_collections.circonus.inside.plugins.plugin_utils import (
    catalogue,
    direct,
    pki_audit,
    pki_targets,
    platform,
    procedure,
)
from ansible_collections.circonus.inside.plugins.plugin_utils.site_model import load_site

# Read once, before a worker is forked for each host.
catalogue.load()
_LOOK = direct.Look("circonus.inside.pki_files", "pki_look")


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
            arguments = self._arguments(node, sites, run, task_vars)
            outcome = _LOOK.run(self, arguments, task_vars)
        except AnsibleConnectionFailure as error:
            outcome = {"reachable": False, "msg": " ".join(str(error).split())}
        except (AnsibleError, InsideError) as error:
            outcome = {"msg": " ".join(str(error).split())}
        outcome = procedure.host_answer(outcome)
        return dict(result, **dict(outcome, failed=False, changed=False))

    def _arguments(self, node, sites, run, task_vars):
        host, site = node["name"], node.get("site")
        parameters = run.get("parameters") or {}
        release = parameters.get("circonus_release") or None
        entries = platform.role_entries(node["roles"], release, host)
        raw = load_site(sites[site]["file"]) if site in sites and self._named(node["roles"]) else {}
        described = {site: {"raw": raw, "active": sites[site]["active"]}} if site in sites else {}
        stopped = platform.kept_stopped(described, site, host, entries) if described else []
        # The audit's own parameter, or that of the procedure that audits first.
        extra = parameters.get("pki_audit_files") or parameters.get("%s_files" % run.get("procedure")) or []
        files = pki_audit.wanted(entries, host, [role for role in stopped if role == "ca"], extra, release)
        arguments = {"files": files, "deadline": parameters.get("pki_audit_deadline_s") or 30}
        # Procedures that only want the files do not have the parameter.
        if parameters.get("pki_audit_live"):
            needed = pki_targets.links(entries, self._known(release), release)
            where = self._servers({to_role for _role, to_role, _port in needed}, sites, task_vars)
            arguments.update(
                ports=pki_targets.ports(host, entries, files, stopped, release, raw, self._address(node)),
                peers=pki_targets.peers(site, needed, files, where, stopped,
                                        parameters.get("pki_audit_live_skip") or ()),
                live_timeout=parameters.get("pki_audit_live_timeout_s") or 3,
                live_deadline=parameters.get("pki_audit_live_deadline_s") or 15,
            )
        return arguments

    @staticmethod
    def _address(node):
        return (node.get("machinfo") or {}).get("ip_address")

    @staticmethod
    def _named(roles):
        """Whether site.json says more about these roles than the inventory does: ca.primary, names for users."""
        return bool({"ca", "web_frontend", "api", "web_stream"} & set(roles))

    @staticmethod
    def _known(release):
        names = catalogue.names()
        return dict(zip(names, catalogue.for_roles(names, release), strict=True))

    def _servers(self, roles, sites, task_vars):
        """``{role: [{"host", "site", "address"}]}`` of the hosts on which the roles run."""
        groups, hostvars, found = task_vars["groups"], task_vars["hostvars"], {}
        for role in roles:
            entry = catalogue.load()[role]
            for host in groups.get("brokers" if role == "broker" else role) or []:
                node = hostvars[host]["circonus_node"]
                site = node.get("site")
                if entry.get("passive") == "stopped" and site in sites and sites[site]["active"] is False:
                    continue
                address = self._address(node) or hostvars[host].get("ansible_host") or host
                found.setdefault(role, []).append({"host": host, "site": site, "address": str(address)})
        return found
