# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Open the run of a procedure on the controller: parameters checked, run id, journal."""

from __future__ import annotations

import os

from ansible.plugins.action import ActionBase

from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError
from ansible_collections.circonus.inside.plugins.plugin_utils import procedure as p


class ActionModule(ActionBase):
    """See the module documentation of ``circonus.inside.procedure_begin``."""

    _supports_check_mode = True
    _VALID_ARGS = frozenset(("procedure", "derived", "min_forks"))

    def run(self, tmp=None, task_vars=None):
        """Return ``run``: run_id, journal path, parameters and who runs it."""
        result = super().run(tmp, task_vars)
        name = self._task.args["procedure"]
        task_vars = task_vars or {}
        try:
            meta = p.load_meta(task_vars["playbook_dir"], name)
            values, problems = p.check_parameters(meta, name, self._given(meta, name, task_vars))
        except InsideError as error:
            return dict(result, failed=True, msg=str(error))
        report_dir = os.path.abspath(os.path.expanduser(values.get("circonus_report_dir") or "reports/"))
        journal_dir = os.path.join(report_dir, "journal")
        try:
            os.makedirs(journal_dir, mode=0o750, exist_ok=True)
        except OSError as error:
            return dict(
                result,
                failed=True,
                msg="circonus_report_dir must be a directory that can be written, found %s." % error,
            )
        run_id = p.new_run_id()
        run = dict(
            p.controller_identity(os.getppid()),
            run_id=run_id,
            procedure=name,
            started=p.now(),
            check_mode=bool(self._task.check_mode),
            parameters=values,
            report_dir=report_dir,
            journal=os.path.join(journal_dir, "%s-%s.jsonl" % (name, run_id)),
            forks=int(task_vars.get("ansible_forks", 5)),
        )
        journal = p.Journal(run["journal"])
        journal.append("begin", **run)
        forks = int(self._task.args.get("min_forks") or 1)
        if not problems and run["forks"] < forks:
            problems = [
                "Expected at least %d forks, found %d: two hosts must act at the same time. Add --forks %d."
                % (forks, run["forks"], forks)
            ]
        if problems:
            reason = " ".join(problems)
            journal.append("stop", reason=reason, result="refused")
            return dict(result, failed=True, msg=reason, run=run)
        return dict(result, changed=False, run=run)

    def _given(self, meta, name, task_vars):
        wanted = set(p.COMMON_PARAMETERS) | set(meta.get("parameters") or {})
        wanted |= {key for key in task_vars if str(key).startswith(name + "_")}
        return {key: self._templar.template(task_vars[key]) for key in wanted if key in task_vars}
