# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Run one module as a step of a procedure: gate, time, journal."""

from __future__ import annotations

import time

from ansible.errors import AnsibleConnectionFailure
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.circonus.inside.plugins.plugin_utils import direct
from ansible_collections.circonus.inside.plugins.plugin_utils import procedure as p

display = Display()
# Every procedure begins with the first of these looks at every host.
_LOOKS = {look.module: look for look in (
    direct.Look("circonus.inside.datacenter_info", "datacenter"),
    direct.Look("circonus.inside.irondb_probe", "irondb_probe"),
)}


class ActionModule(ActionBase):
    """See the module documentation of ``circonus.inside.procedure_step``."""

    _supports_check_mode = True
    _supports_diff = False
    _VALID_ARGS = frozenset(("module", "args", "title", "probe", "facts", "remaining", "quiet", "announce", "optional"))

    def run(self, tmp=None, task_vars=None):
        """Execute the wrapped module unless the run has been stopped."""
        result = super().run(tmp, task_vars)
        args = self._task.args
        run = ((task_vars or {}).get("circonus_begin") or {}).get("run") or {}
        journal = p.Journal(run["journal"]) if run.get("journal") else None
        stopped = journal.stopped() if journal else None
        if stopped:
            return dict(result, skipped=True, changed=False, msg="Not started: %s" % stopped)
        host = self._task.delegate_to or task_vars["inventory_hostname"]
        title = args.get("title") or self._task.get_name().split(" : ")[-1]
        started, clock = p.now(), time.monotonic()
        optional = boolean(args.get("optional", False))
        probe = bool(args.get("probe")) or optional
        if boolean(args.get("announce", False)):
            display.display("%s  %s on %s ..." % (time.strftime("%H:%M:%S"), title, host))
        try:
            outcome = self._dispatch(args, task_vars)
        except AnsibleConnectionFailure as error:
            reason = " ".join(str(error).split())
            outcome = {
                "failed": not probe,
                "reachable": False,
                "changed": False,
                "msg": "%s cannot be reached: %s" % (host, reason),
            }
            state = "unreachable"
        else:
            outcome.setdefault("reachable", True)
            state = self._state(outcome)
        if optional and outcome.get("failed"):
            # ignore_unreachable and failed_when do not help: with any_errors_fatal an ignored host ends the play.
            outcome["failed"] = False
        seconds = round(time.monotonic() - clock, 3)
        quiet = boolean(args.get("quiet", False))
        outcome.update(step_seconds=seconds, step_title=title, step_host=str(host), step_quiet=quiet)
        if journal and (not quiet or state in ("failed", "unreachable")):
            text = p.outcome_message(outcome)
            journal.append(
                "step", name=title, host=str(host), state=state, seconds=seconds, started=started, message=text[:2000]
            )
            if outcome.get("failed"):
                reason = "%s on %s: %s" % (title, host, text or "failed without a message")
                journal.append("stop", reason=reason, result=p.stop_result(journal.records(), outcome))
            else:
                self._facts(journal, args, outcome)
        result.update(outcome)
        return result

    def _dispatch(self, args, task_vars):
        """Through the action plugin of that name where there is one (copy, template), else the module itself."""
        name = args["module"]
        module_args = dict(args.get("args") or {})
        loader = self._shared_loader_obj.action_loader
        if loader.has_plugin(name) and name != "circonus.inside.procedure_step":
            task = self._task.copy()
            task.args = module_args
            action = loader.get(
                name,
                task=task,
                connection=self._connection,
                play_context=self._play_context,
                loader=self._loader,
                templar=self._templar,
                shared_loader_obj=self._shared_loader_obj,
            )
            return action.run(task_vars=task_vars)
        if name in _LOOKS:
            return _LOOKS[name].run(self, module_args, task_vars)
        return self._execute_module(module_name=name, module_args=module_args, task_vars=task_vars)

    def _state(self, outcome):
        if outcome.get("unreachable"):
            return "unreachable"
        if outcome.get("failed"):
            return "failed"
        if outcome.get("skipped"):
            return "skipped"
        if outcome.get("changed"):
            return "planned" if self._task.check_mode else "changed"
        return "ok"

    @staticmethod
    def _facts(journal, args, outcome):
        for key, source in (args.get("facts") or {}).items():
            if outcome.get(source) is not None:
                journal.append("fact", key=key, value=outcome[source])
        for text in args.get("remaining") or []:
            journal.append("remaining", text=str(text))
        for text in outcome.get("procedure_warnings") or []:
            journal.append("warning", text=str(text))
