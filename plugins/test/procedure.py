# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tests about the run of a procedure."""
from __future__ import annotations

from ansible_collections.circonus.inside.plugins.plugin_utils.lazy import Lazy

procedure = Lazy("procedure")


def stopped(begin) -> bool:
    """Whether the run that ``procedure_begin`` opened must not touch anything any more."""
    run = begin.get("run") if isinstance(begin, dict) else None
    if not run or not run.get("journal"):
        return True
    return procedure.Journal(run["journal"]).stopped() is not None


class TestModule:
    """Jinja tests of the collection."""

    def tests(self):
        """Name to function."""
        return {"stopped": stopped}
