#!/usr/bin/python
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: operation_plan
version_added: 0.1.0
short_description: Decide about an everyday procedure
description:
  - Looks at what every host answered and at the site files, and says whether the procedure may start, with the plan.
  - This is an action plugin; it runs on the controller.
author:
  - circonus.inside contributors (@circonus-inside)
options:
  procedure:
    description: Name of the procedure.
    type: str
    required: true
    choices: [hooper_run, service_operate, service_restart, service_restart_dependents, site]
  phase:
    description:
      - V(decide) before anything changes. For V(hooper_run) also V(pending) (which hosts want another run), for it and
        V(service_operate) also V(sum_up) (after the last step).
    type: str
    required: true
    choices: [decide, pending, sum_up]
attributes:
  check_mode:
    support: full
    description: Can run in check mode.
  diff_mode:
    support: none
    description: Returns no diff because site files are full of secrets.
"""

EXAMPLES = r"""
- name: Decide
  circonus.inside.operation_plan:
    procedure: hooper_run
    phase: decide
  run_once: true
  register: circonus_plan
"""

RETURN = r"""
verdict:
  description: The decision with result, reason, plan and the facts that the playbook acts on.
  returned: phase is decide
  type: dict
pending:
  description: Hosts whose last run asks for another one.
  returned: phase is pending
  type: list
  elements: str
"""
