# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The frame of the actions that work within a run: questions, verdicts, conclusions."""

from __future__ import annotations

import os
from abc import abstractmethod

from ansible.plugins.action import ActionBase

from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput, InsideError
from ansible_collections.circonus.inside.plugins.plugin_utils import findings as f
from ansible_collections.circonus.inside.plugins.plugin_utils import procedure


class InRun(ActionBase):
    """Does nothing in a run that was stopped, and stops the run with one sentence when an InsideError ends it."""

    _supports_check_mode = True
    #: ``result`` of the run that an error ends, unless it is about a wrong input, which is always refused.
    ends = "refused"

    def run(self, tmp=None, task_vars=None):
        """What :meth:`within` returns, ``changed`` false where it does not say."""
        result = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        run = (task_vars.get("circonus_begin") or {}).get("run") or {}
        journal = procedure.Journal(run.get("journal", os.devnull))
        if not run or journal.stopped():
            return dict(result, skipped=True, changed=False, msg="The run has been stopped.")
        try:
            result.update(self.within(task_vars, run, journal))
        except InsideError as error:
            result_of_run = "refused" if isinstance(error, BadInput) else self.ends
            journal.append("stop", reason=str(error), result=result_of_run)
            result.update(failed=True, msg=str(error))
        result.setdefault("changed", False)
        return result

    @abstractmethod
    def within(self, task_vars: dict, run: dict, journal: procedure.Journal) -> dict:
        """Values of the result. run: of ``procedure_begin``. Raises InsideError with one sentence."""


def conclude(journal: procedure.Journal, verdict: dict, facts: tuple, fail_on: str, whole: str) -> str:
    """Put these facts of a check's verdict and how it ends into the journal; returns its sentence.

    whole: the sentence about what is well, without its end.
    """
    for key in facts:
        journal.append("fact", key=key, value=verdict[key])
    journal.append("fact", key="fail_on", value=fail_on)
    failed, reason = f.conclusion(verdict["findings"], fail_on, whole)
    close(journal, failed, reason)
    return reason


def close(journal: procedure.Journal, failed: bool, reason: str) -> None:
    """A run that only looks is over with its verdict."""
    if failed:
        journal.append("stop", reason=reason, result="failed")
    else:
        journal.append("verdict", result="proceed", reason=reason, plan=[], done=reason)
        journal.append("completed")
