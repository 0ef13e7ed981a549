# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Wait for a cluster to settle, with a line on the controller while the latency falls.

A module says nothing before it ends. So the module is asked for slices of the wait, and the last poll of each is shown.
"""

from __future__ import annotations

import time

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.circonus.inside.plugins.module_utils import irondb_cluster

display = Display()
MODULE = "circonus.inside.irondb_wait"
#: Seconds between two lines.
SLICE_S = 20.0


class ActionModule(ActionBase):
    """See the module documentation of ``circonus.inside.irondb_wait``."""

    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        """The answer of the module for the whole wait."""
        result = super().run(tmp, task_vars)
        args = dict(self._task.args)
        polls, spacing = int(args.get("polls", 3)), float(args.get("spacing", 5.0))
        minimum, timeout = float(args.get("minimum", 120.0)), float(args.get("timeout", 900.0))
        row_s = (polls - 1) * spacing
        if polls < 1 or spacing < 0 or max(minimum, row_s) > timeout:
            return dict(result, **self._execute_module(module_name=MODULE, module_args=args, task_vars=task_vars))
        started, series, count = time.monotonic(), [], 0
        while True:
            passed = time.monotonic() - started
            left = max(minimum - passed, 0.0)
            slice_s = max(SLICE_S, row_s + spacing)
            if left < slice_s:  # the last slices end when it is over, not later
                slice_s = max(slice_s, left + row_s + spacing)
            slice_s = max(min(slice_s, timeout - passed), row_s, min(left, slice_s))
            outcome = self._execute_module(
                module_name=MODULE, task_vars=task_vars,
                module_args=dict(args, minimum=min(left, slice_s), timeout=slice_s))
            rows = [dict(row, seconds=round(row["seconds"] + passed, 1)) for row in outcome.get("series") or []]
            series, count = (series + rows)[-irondb_cluster.KEPT:], count + len(rows)
            gone = time.monotonic() - started
            settled = not outcome.get("failed") and bool(outcome.get("settled"))
            if rows:
                green = sum(1 for _row in _tail(series))
                display.display("%s  %s" % (time.strftime("%H:%M:%S"), irondb_cluster.line(rows[-1], green, polls)))
            if outcome.get("series") is None or outcome.get("unreachable"):
                return dict(result, **outcome)
            if settled and gone >= minimum or not settled and gone >= timeout:
                return dict(result, **dict(outcome, series=series, polls=count, seconds=round(gone, 1)))


def _tail(series):
    """The green polls at the end of a series."""
    for row in reversed(series):
        if not row["green"]:
            return
        yield row
