# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Judge a platform by what every host answered, and put the findings into the journal of the run."""

from __future__ import annotations

import os

from ansible.plugins.action import ActionBase

from ansible_collections.circonus.inside.plugins.module_utils import site_file
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput, InsideError
from ansible_collections.circonus.inside.plugins.plugin_utils import findings as f
from ansible_collections.circonus.inside.plugins.plugin_utils import platform, procedure, site_model


class ActionModule(ActionBase):
    """See the module documentation of ``circonus.inside.platform_check``."""

    _supports_check_mode = True
    _VALID_ARGS = frozenset(("answers",))

    def run(self, tmp=None, task_vars=None):
        """Return ``findings``; the result of the run is written by procedure_end."""
        result = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        run = (task_vars.get("circonus_begin") or {}).get("run") or {}
        journal = procedure.Journal(run.get("journal", os.devnull))
        if not run or journal.stopped():
            return dict(result, skipped=True, changed=False, msg="The run has been stopped.")
        try:
            verdict = platform.evaluate(self._platform(task_vars, run["parameters"]))
        except InsideError as error:
            journal.append("stop", reason=str(error), result="failed")
            return dict(result, failed=True, msg=str(error))
        fail_on = run["parameters"].get("platform_check_fail_on") or "warning"
        reason = self._record(journal, verdict, fail_on)
        return dict(result, changed=False, findings=verdict["findings"], msg=reason)

    def _platform(self, task_vars, parameters):
        described = self._templar.template(task_vars.get("circonus_sites")) or {}
        if not described:
            raise BadInput(
                "Expected sites from the inventory plugin circonus.inside.site, found none. Use an inventory "
                "file *.site.yml."
            )
        sites = {}
        for name, entry in described.items():
            raw = site_model.load_site(entry["file"])
            sites[str(name)] = {
                "raw": raw,
                "hosts": [str(host) for host in entry["hosts"]],
                "active": entry["active"],
                "digest": site_file.canonical_sha256(raw),
            }
        nodes, answers = {}, {}
        groups, hostvars = task_vars["groups"], task_vars["hostvars"]
        for host in [*groups.get("hooper", []), *groups.get("brokers", [])]:
            node = hostvars[host]["circonus_node"]
            nodes[host] = {"site": node.get("site"), "roles": [str(role) for role in node["roles"]]}
            if "broker" in node["roles"]:
                nodes[host]["address"] = str(hostvars[host].get("ansible_host") or "") or None
            answer = hostvars[host].get(self._task.args.get("answers") or "circonus_answer")
            answers[host] = dict(answer) if answer else None
        # What the release that the hosts report does not have is not looked for.
        release = parameters.get("circonus_release") or platform.release_of(answers)
        entries = {host: platform.role_entries(node["roles"], release, host) for host, node in nodes.items()}
        return platform.Platform(sites, nodes, answers, entries, parameters)

    @staticmethod
    def _record(journal, verdict, fail_on):
        """Put everything into the journal; returns the sentence of the result."""
        found, checked = verdict["findings"], verdict["checked"]
        for key in ("findings", "unknown", "sites", "connections", "checked"):
            journal.append("fact", key=key, value=verdict[key])
        journal.append("fact", key="fail_on", value=fail_on)
        journal.append("fact", key="platform", value={"after": verdict["picture"]})
        failed, reason = f.conclusion(found, fail_on, "%d of %d hosts and %d roles on them are as they must be" % (
            checked["hosts"], checked["of"], checked["roles"]))
        if failed:
            journal.append("stop", reason=reason, result="failed")
            return reason
        journal.append("verdict", result="proceed", reason=reason, plan=[], done=reason)
        journal.append("completed")
        return reason
