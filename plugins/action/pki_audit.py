# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Judge the PKI files of all hosts, and put the findings into the journal of the run."""

from __future__ import annotations


from ansible_collections.circonus.inside.plugins.plugin_utils import pki, pki_audit, play
from ansible_collections.circonus.inside.plugins.plugin_utils.in_run import InRun, conclude


class ActionModule(InRun):
    """See the module documentation of ``circonus.inside.pki_audit``."""

    _VALID_ARGS = frozenset(("answers",))
    ends = "failed"

    def within(self, task_vars, run, journal):
        """Return ``findings``; the result of the run is written by procedure_end."""
        nodes, name = play.nodes(task_vars), self._task.args.get("answers") or "circonus_answer"
        answers = {host: play.answer(task_vars, host, name) for host in nodes}
        pki.need()
        verdict = pki_audit.evaluate(nodes, answers, run["parameters"])
        reason = conclude(
            journal, verdict, ("findings", "unknown", "checked", "certificates", "tls_ports", "tls_connections"),
            run["parameters"].get("pki_audit_fail_on") or "warning", pki_audit.summary(verdict))
        return {"findings": verdict["findings"], "msg": reason}
