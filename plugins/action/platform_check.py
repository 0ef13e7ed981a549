# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Judge a platform by what every host answered, and put the findings into the journal of the run."""

from __future__ import annotations

import os

from ansible.plugins.action import ActionBase

from ansible_collections.circonus.inside.plugins.module_utils import site_file
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError
from ansible_collections.circonus.inside.plugins.plugin_utils import findings as f
from ansible_collections.circonus.inside.plugins.plugin_utils import platform, play, procedure


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
        sites = {name: dict(site, digest=site_file.canonical_sha256(site["raw"]))
                 for name, site in play.sites(self._templar, task_vars).items()}
        nodes, name = play.nodes(task_vars), self._task.args.get("answers") or "circonus_answer"
        for host, node in nodes.items():
            if "broker" in node["roles"]:
                node["address"] = str(task_vars["hostvars"][host].get("ansible_host") or "") or None
        answers = {host: play.answer(task_vars, host, name) for host in nodes}
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
