#!/usr/bin/python
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: procedure_begin
version_added: 0.1.0
short_description: Open the run of a procedure
description:
  - Checks the parameters of a procedure against its C(<procedure>.meta.yml).
  - Gives the run its id and opens the journal.
  - Register the result as C(circonus_begin); every later step of the run finds its journal there.
  - This is an action plugin; it runs on the controller.
author:
  - circonus.inside contributors (@circonus-inside)
options:
  procedure:
    description: Name of the playbook without its extension.
    type: str
    required: true
  min_forks:
    description: Number of hosts that must be able to act at the same time.
    type: int
    default: 1
attributes:
  check_mode:
    support: full
    description: Can run in check mode; writes only the journal and the report on the controller.
  diff_mode:
    support: none
    description: Returns no diff.
"""

EXAMPLES = r"""
- name: Open the run
  circonus.inside.procedure_begin:
    procedure: datacenter_failover
    min_forks: 2
  run_once: true
  register: circonus_begin
"""

RETURN = r"""
run:
  description: The run; run_id, procedure, started, parameters, owner, controller, pid, report_dir, journal, check_mode.
  returned: always
  type: dict
"""
