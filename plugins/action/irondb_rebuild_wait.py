# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Follow a reconstitute with a line on the controller for each slice of the wait, as ``irondb_wait`` does."""

from __future__ import annotations

import time

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.circonus.inside.plugins.module_utils import irondb_reconstitute

display = Display()
MODULE = "circonus.inside.irondb_rebuild_wait"
#: Looks that a row of the report keeps.
KEPT = 200


class ActionModule(ActionBase):
    """See the module documentation of ``circonus.inside.irondb_rebuild_wait``."""

    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        """The answer of the module for the whole wait, with ``series``: [[seconds, percent]]."""
        result = super().run(tmp, task_vars)
        args = dict(self._task.args)
        timeout, slice_s = float(args.get("timeout", 604800.0)), float(args.get("slice", 20.0))
        started, series = time.monotonic(), []
        while True:
            passed = time.monotonic() - started
            outcome = self._execute_module(
                module_name=MODULE, task_vars=task_vars,
                module_args=dict(args, timeout=max(min(slice_s, timeout - passed), 0.0)))
            if outcome.get("failed") or outcome.get("unreachable") or "percent" not in outcome:
                return dict(result, **outcome)
            gone = time.monotonic() - started
            series = [*series, [round(gone, 1), outcome["percent"]]][-KEPT:]
            outcome.update(seconds=round(gone, 1), series=series)
            if outcome["finished"]:
                return dict(result, **outcome)
            text = irondb_reconstitute.line(outcome, irondb_reconstitute.estimate(series))
            display.display("%s  %s" % (time.strftime("%H:%M:%S"), text))
            if gone >= timeout:
                return dict(result, **dict(
                    outcome, failed=True,
                    msg="The reconstitute has not finished within %g s, it goes on (%s). Give the same command again "
                        "to follow it, or raise data_storage_rebuild_timeout_s." % (timeout, text.strip())))
