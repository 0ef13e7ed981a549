# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decide which certificates are issued anew, judge what came, and say what was given back."""

from __future__ import annotations

from ansible.plugins.action import ActionBase

from ansible_collections.circonus.inside.plugins.action.operation_plan import ActionModule as OperationPlan
from ansible_collections.circonus.inside.plugins.plugin_utils import (
    ca_reissue,
    catalogue,
    pki,
    platform,
    play,
    procedure,
)


class ActionModule(OperationPlan):
    """See the module documentation of ``circonus.inside.ca_reissue_plan``."""

    _VALID_ARGS = frozenset(("phase", "targets", "old_serials", "ca_host", "final"))

    def run(self, tmp=None, task_vars=None):
        """Dispatch on the phase. ``settle`` speaks of a run that was stopped, so it is never left out."""
        if self._task.args["phase"] == "settle":
            return dict(ActionBase.run(self, tmp, task_vars), **self._settle(task_vars or {}))
        return super().run(tmp, task_vars)

    def within(self, task_vars, run, journal):
        """Decide or judge."""
        pki.need()
        return (self._decide if self._task.args["phase"] == "decide" else self._judge)(task_vars, run, journal)

    # -- what the hosts said

    @staticmethod
    def _answers(task_vars, nodes):
        """The newest answer of each host."""
        return {host: play.answer(task_vars, host, "circonus_answer_kept")
                or play.answer(task_vars, host, "circonus_answer") for host in nodes}

    def _decide(self, task_vars, run, journal):
        situation = self._situation(task_vars)
        nodes, hostvars, params = play.nodes(task_vars), task_vars["hostvars"], run["parameters"]
        release = params.get("circonus_release") or None
        sites = {host for site in situation.sites.values() for host in site["hosts"]}
        described = self._templar.template(task_vars.get("circonus_sites")) or {}
        facts = {
            "nodes": nodes,
            "entries": {host: platform.role_entries(nodes[host]["roles"], release, host) for host in nodes},
            "answers": self._answers(task_vars, nodes),
            "renewals": {host: dict(hostvars[host].get("circonus_renewal") or {"msg": "not in this play"})
                         for host in nodes if host in sites},
            "order": {host: int(hostvars[host].get("circonus_run_order", catalogue.LAST_STAGE))
                      for host in nodes if host in sites},
            "standby": sorted(name for name, site in described.items() if site.get("active") is False),
        }
        verdict = ca_reissue.verdict(situation, facts, params, run)
        journal.append("fact", key="targets", value=[
            {key: target[key] for key in ("host", "path", "kind", "reasons", "aside")}
            for target in verdict.get("targets") or []
        ])
        return {"verdict": verdict}

    def _judge(self, task_vars, run, journal):
        args, nodes = self._task.args, play.nodes(task_vars)
        audit = ca_reissue.evaluate(nodes, self._answers(task_vars, nodes), run["parameters"])
        judged = ca_reissue.judge(audit, args["targets"], args["old_serials"])
        for text in judged["warnings"] if not judged["pending"] else []:
            journal.append("warning", text=text)
        if judged["problems"] or (judged["pending"] and args.get("final")):
            reason = ca_reissue.not_issued(judged, run["parameters"], args["ca_host"])
            journal.append("stop", reason=reason, result="failed")
            return {"failed": True, "msg": reason, "judged": judged}
        return {"judged": judged, "msg": "%d of %d proven" % (len(judged["proven"]), len(args["targets"]))}

    def _settle(self, task_vars):
        """Put into the journal what went back, and what the next run has to finish."""
        run = (task_vars.get("circonus_begin") or {}).get("run") or {}
        if not run:
            return {"changed": False, "msg": "No run is open."}
        journal = procedure.Journal(run["journal"])
        for host in task_vars["ansible_play_hosts_all"]:
            answer = dict(task_vars["hostvars"][host].get("circonus_given_back") or {})
            if answer.get("failed") or answer.get("unreachable"):
                journal.append("remaining", text=(
                    "On %s files may still be moved aside (%s): run the same command again when it answers." % (
                        host, procedure.outcome_message(answer))))
            for path in answer.get("restored") or []:
                journal.append("step", name="Give back", host=host, state="changed", seconds=0.0,
                               started=procedure.now(), message="%s is the old one again." % path)
        if journal.stopped():
            journal.append("remaining", text=(
                "Run the same command again when the cause is mended; certificates that were issued stay, and their "
                "services are restarted by it."))
        return {"changed": False, "msg": "Told what went back."}
