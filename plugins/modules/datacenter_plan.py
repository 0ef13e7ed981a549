#!/usr/bin/python
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: datacenter_plan
version_added: 0.1.0
short_description: Decide about a failover and prove its result
description:
  - Looks at what every host answered and at the site files, and says whether the failover may start, with the plan.
  - Afterwards proves from a new probe that everything is as it must be.
  - Keeps the site files of the controller current.
  - This is an action plugin; it runs on the controller.
author:
  - circonus.inside contributors (@circonus-inside)
options:
  procedure:
    description: Name of the procedure.
    type: str
    required: true
    choices: [datacenter_failover, web_db_failover, web_db_rejoin]
  phase:
    description: What to do; V(decide) before anything changes, V(save) the site files, V(prove) after the last step.
    type: str
    required: true
    choices: [decide, save, prove]
  probe:
    description: Name of the variable that holds the answer of each host.
    type: str
    default: circonus_probe
  base:
    description: The verdict of the phase V(decide).
    type: dict
    default: {}
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
  circonus.inside.datacenter_plan:
    procedure: datacenter_failover
    phase: decide
  run_once: true
  register: circonus_plan
"""

RETURN = r"""
verdict:
  description: The decision with result, reason, plan and the facts that the playbook acts on.
  returned: phase is decide
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
