#!/usr/bin/python
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: ca_plan
version_added: 0.1.0
short_description: Decide about backup, copy and failover of the CA and prove the result
description:
  - Looks at what every host answered and at the site files, and says whether the procedure may start, with the plan.
  - Asks again once the other processors are stopped which copy is the right one, and proves the result at the end.
  - This is an action plugin; it runs on the controller.
author:
  - circonus.inside contributors (@circonus-inside)
options:
  procedure:
    description: Name of the procedure.
    type: str
    required: true
    choices: [ca_backup, ca_failover, ca_sync, datacenter_failover]
  phase:
    description:
      - V(decide) before anything changes, V(copy) once nobody signs any more, V(save) the site files of the controller,
        V(prove) after the last step, V(sum_up) for the report.
    type: str
    required: true
    choices: [decide, copy, save, prove, sum_up]
  base:
    description: The verdict of the phase V(decide).
    type: dict
    default: {}
  answer:
    description: For V(sum_up). What the module ca_backup or ca_authority returned.
    type: dict
  final:
    description: For V(prove). Whether a result that is not proven yet stops the run.
    type: bool
    default: true
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
  circonus.inside.ca_plan:
    procedure: ca_failover
    phase: decide
  run_once: true
  register: circonus_plan
"""

RETURN = r"""
verdict:
  description: The decision with result, reason, plan and the facts that the playbook acts on.
  returned: phase is decide
  type: dict
decision:
  description: The host to copy from, the hosts to refresh, and the lowest serial and CRL number.
  returned: phase is copy
  type: dict
proven:
  description: Whether everything is as it must be.
  returned: phase is prove
  type: bool
paths:
  description: Site files of the controller that were written.
  returned: phase is save
  type: list
  elements: str
"""
