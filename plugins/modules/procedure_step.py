#!/usr/bin/python
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: procedure_step
version_added: 0.1.0
short_description: Run a module as a step of a procedure
description:
  - Runs one module, measures it and writes it into the journal of the run.
  - A host that cannot be reached is a failed step, on every version of Ansible.
  - After a failed step no further step of the run starts on any host; it is skipped and says why.
  - This is an action plugin; it runs on the controller.
author:
  - circonus.inside contributors (@circonus-inside)
options:
  module:
    description: Fully qualified name of the module.
    type: str
    required: true
  args:
    description: Arguments of the module.
    type: dict
    default: {}
  title:
    description: Name of the step in the report. The name of the task when unset.
    type: str
  probe:
    description: A reader for which an unreachable host is an answer (C(reachable=false)) and not a failure.
    type: bool
    default: false
  facts:
    description: Keys of the report that are taken from keys of the module's result.
    type: dict
    default: {}
  remaining:
    description: Sentences for the list of what remains to be done by hand, added when the step succeeded.
    type: list
    elements: str
    default: []
  quiet:
    description: Journal the step only when it fails.
    type: bool
    default: false
  announce:
    description: Print a line when the step starts, because it may take long.
    type: bool
    default: false
  optional:
    description:
      - Whatever comes of the step, a host that cannot be reached included, the run goes on and the result is not called
        failed. The journal has it as it was.
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
- name: Switch the active message queue
  circonus.inside.procedure_step:
    module: ansible.builtin.command
    args:
      argv: [/www/bin/inside/failover.pl]
  delegate_to: db1
  run_once: true
"""

RETURN = r"""
reachable:
  description: Whether the host answered.
  returned: when the step was started
  type: bool
step_seconds:
  description: How long the step took.
  returned: when the step was started
  type: float
step_title:
  description: Name of the step in the report.
  returned: when the step was started
  type: str
step_host:
  description: Host on which the module ran.
  returned: when the step was started
  type: str
step_quiet:
  description: Whether the step is journalled only when it fails.
  returned: when the step was started
  type: bool
"""
