# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Attributes of the actions that decide within a run."""

from __future__ import annotations


class ModuleDocFragment:
    """See the modules ``*_plan`` and those of the checks."""

    DOCUMENTATION = r"""
attributes:
  check_mode:
    support: full
    description: Changes nothing but the journal of the run on the controller.
  diff_mode:
    support: none
    description: Returns no diff.
"""
