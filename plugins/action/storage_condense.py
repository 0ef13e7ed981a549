# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Condense a data set, with a line on the controller for each step and while the copy grows.

A module says nothing before it ends. So it is asked for one step at a time, and for a slice of one that waits.
"""

from __future__ import annotations

import time

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.circonus.inside.plugins.plugin_utils import storage_condense

display = Display()
MODULE = "circonus.inside.storage_condense"
#: More steps than any way through a condense has, with every step back once.
STEPS = 40


class ActionModule(ActionBase):
    """See the module documentation of ``circonus.inside.storage_condense``."""

    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        """The answer of the module for all steps."""
        result = super().run(tmp, task_vars)
        args = dict(self._task.args)
        if args.get("state") not in ("condensed", "aborted") or self._task.check_mode:
            return dict(result, **self._execute_module(module_name=MODULE, module_args=args, task_vars=task_vars))
        steps, copied, changed = [], None, False
        host = self._task.delegate_to or task_vars["inventory_hostname"]
        while len(steps) < STEPS:
            outcome = self._execute_module(module_name=MODULE, module_args=args, task_vars=task_vars)
            if outcome.get("failed") or "step" not in outcome:
                return dict(result, **dict(outcome, steps=steps, copy=copied, changed=changed))
            copied, changed = outcome.get("copy") or copied, changed or bool(outcome.get("changed"))
            line = storage_condense.line(outcome)
            display.display("%s    %s: %s" % (time.strftime("%H:%M:%S"), host, line))
            if outcome["done"]:
                return dict(result, changed=changed, done=True, steps=steps, copy=copied, msg="%s." % line)
            if not outcome["waiting"]:
                steps.append(outcome["text"])
        return dict(result, failed=True, changed=changed, steps=steps, copy=copied,
                    msg="%s goes in circles: %s. Look at zfs list -t all there." % (host, "; ".join(steps[-4:])))
