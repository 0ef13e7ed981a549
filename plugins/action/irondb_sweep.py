# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Sweep one data_storage node, with a line on the controller while it goes on.

A module says nothing before it ends. So the module begins the sweep and is asked for slices of its time after that.
"""

from __future__ import annotations

import time

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.circonus.inside.plugins.plugin_utils import procedure as p

display = Display()
MODULE = "circonus.inside.irondb_sweep"
#: Seconds between two lines.
SLICE_S = 20.0


class ActionModule(ActionBase):
    """See the module documentation of ``circonus.inside.irondb_sweep``."""

    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        """The answer of the module for the whole sweep."""
        result = super().run(tmp, task_vars)
        args = dict(self._task.args)
        if self._task.check_mode or args.get("state", "swept") != "swept" or args.get("follow"):
            return dict(result, **self._module(args, task_vars))
        timeout, within = float(args.get("timeout", 86400.0)), args.get("cancelled_within")
        run = ((task_vars or {}).get("circonus_begin") or {}).get("run") or {}
        if within is None and run:
            within = p.seconds_between(run["started"], p.now())  # a cancellation ends the whole run
        started, first = time.monotonic(), None
        while True:
            passed = time.monotonic() - started
            part = dict(args, timeout=min(SLICE_S, max(timeout - passed, 0.0)))
            if within is not None:
                part["cancelled_within"] = float(within) + passed
            outcome = self._module(dict(part, follow=first is not None), task_vars)
            if outcome.get("failed") or outcome.get("unreachable"):
                return dict(result, **outcome)
            first = first or outcome
            outcome = dict(outcome, action=first["action"], changed=first["changed"], types=first["types"])
            if outcome["action"] != "done":
                display.display("%s  %s" % (time.strftime("%H:%M:%S"), outcome["progress"]))
            if outcome["finished"]:
                return dict(result, **outcome)
            if time.monotonic() - started >= timeout:
                text = ("Expected the sweep of %s to end within %g s, it still runs. It goes on by itself; run the "
                        "same command again to follow it.")
                name = args.get("name") or args.get("host") or "the node"
                return dict(result, **dict(outcome, failed=True, msg=text % (name, timeout)))

    def _module(self, args, task_vars):
        return self._execute_module(module_name=MODULE, module_args=args, task_vars=task_vars)
