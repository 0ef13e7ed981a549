# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Put a verdict, facts or words into the journal of the running procedure."""

from __future__ import annotations

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.circonus.inside.plugins.plugin_utils import procedure as p

display = Display()


class ActionModule(ActionBase):
    """See the module documentation of ``circonus.inside.procedure_record``."""

    _supports_check_mode = True
    _VALID_ARGS = frozenset(("verdict", "facts", "remaining", "warnings", "stop", "completed"))

    def run(self, tmp=None, task_vars=None):
        """Append the records; print a plan; fail where the verdict is a refusal."""
        result = super().run(tmp, task_vars)
        args = self._task.args
        run = ((task_vars or {}).get("circonus_begin") or {}).get("run") or {}
        if not run.get("journal"):
            return dict(result, skipped=True, msg="No run is open.")
        journal = p.Journal(run["journal"])
        if journal.stopped():
            return dict(result, skipped=True, msg="Not recorded: the run has been stopped.")
        for key, value in (args.get("facts") or {}).items():
            journal.append("fact", key=key, value=value)
        for text in args.get("warnings") or []:
            journal.append("warning", text=str(text))
        for text in args.get("remaining") or []:
            journal.append("remaining", text=str(text))
        verdict = args.get("verdict")
        if verdict:
            result.update(self._verdict(journal, verdict))
        if args.get("stop"):
            journal.append("stop", reason=str(args["stop"]), result="failed")
            result.update(failed=True, msg=str(args["stop"]))
        if args.get("completed"):
            journal.append("completed")
        result.setdefault("changed", False)
        return result

    @staticmethod
    def _verdict(journal, verdict):
        journal.append("verdict", **{k: verdict.get(k) for k in ("result", "reason", "plan", "done")})
        for text in verdict.get("warnings") or []:
            journal.append("warning", text=str(text))
        if verdict["result"] == "refused":
            journal.append("stop", reason=verdict["reason"], result="refused")
            return {"failed": True, "refused": True, "msg": verdict["reason"]}
        for number, line in enumerate(verdict.get("plan") or [], 1):
            display.display("%4d. %s" % (number, line))
        return {"msg": verdict["reason"]}
