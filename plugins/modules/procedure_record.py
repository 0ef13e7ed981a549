#!/usr/bin/python
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: procedure_record
version_added: 0.1.0
short_description: Write a verdict, facts or words into the journal of the run
description:
  - Records what was decided on the controller and prints the plan.
  - Fails when the verdict is a refusal.
  - This is an action plugin; it runs on the controller.
author:
  - circonus.inside contributors (@circonus-inside)
options:
  verdict:
    description:
      - The decision; C(result) is proceed, refused or nothing_to_do.
      - Also C(reason), C(plan), C(done), C(warnings).
    type: dict
  facts:
    description: Extra keys of the report.
    type: dict
    default: {}
  remaining:
    description: What remains to be done by hand.
    type: list
    elements: str
    default: []
  warnings:
    description: Warnings for the report.
    type: list
    elements: str
    default: []
  stop:
    description: Stop the run with this sentence.
    type: str
  completed:
    description: Mark the last step as passed.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    description: Can run in check mode; writes only the journal and the report on the controller.
  diff_mode:
    support: none
    description: Returns no diff.
"""

EXAMPLES = r"""
- name: Mark the procedure as completed
  circonus.inside.procedure_record:
    completed: true
  run_once: true
"""

RETURN = r"""
msg:
  description: The reason of the verdict.
  returned: when a verdict was given
  type: str
"""
