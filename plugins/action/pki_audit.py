# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Judge the PKI files of all hosts, and put the findings into the journal of the run."""

from __future__ import annotations

import os

from ansible.plugins.action import ActionBase

from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError
from ansible_collections.circonus.inside.plugins.plugin_utils import findings as f
from ansible_collections.circonus.inside.plugins.plugin_utils import pki, pki_audit, play, procedure


class ActionModule(ActionBase):
    """See the module documentation of ``circonus.inside.pki_audit``."""

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
        nodes, name = play.nodes(task_vars), self._task.args.get("answers") or "circonus_answer"
        answers = {host: play.answer(task_vars, host, name) for host in nodes}
        try:
            pki.need()
            verdict = pki_audit.evaluate(nodes, answers, run["parameters"])
        except InsideError as error:
            journal.append("stop", reason=str(error), result="failed")
            return dict(result, failed=True, msg=str(error))
        fail_on = run["parameters"].get("pki_audit_fail_on") or "warning"
        for key in ("findings", "unknown", "checked", "certificates", "tls_ports", "tls_connections"):
            journal.append("fact", key=key, value=verdict[key])
        journal.append("fact", key="fail_on", value=fail_on)
        failed, reason = f.conclusion(verdict["findings"], fail_on, pki_audit.summary(verdict))
        if failed:
            journal.append("stop", reason=reason, result="failed")
        else:
            journal.append("verdict", result="proceed", reason=reason, plan=[], done=reason)
            journal.append("completed")
        return dict(result, changed=False, findings=verdict["findings"], msg=reason)
