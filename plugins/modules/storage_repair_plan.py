#!/usr/bin/python
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: storage_repair_plan
version_added: 0.1.0
short_description: Decide which data_storage nodes are repaired
description:
  - V(ask) says what each host is asked by M(circonus.inside.irondb_probe) and M(circonus.inside.irondb_damage_info).
    V(decide) compares the answers with site.json and with each other, and returns the nodes to repair in their order,
    or refuses.
  - This is an action plugin; it runs on the controller and changes nothing but the journal of the run.
author:
  - circonus.inside contributors (@circonus-inside)
extends_documentation_fragment:
  - circonus.inside.journal
options:
  phase:
    description: What is wanted.
    type: str
    required: true
    choices: [ask, decide]
"""

EXAMPLES = r"""
- name: Decide
  circonus.inside.storage_repair_plan:
    phase: decide
  run_once: true
  register: circonus_plan
"""

RETURN = r"""
questions:
  description: By host C(probe) and C(damage), the arguments of the two modules.
  returned: phase is ask
  type: dict
damage:
  description: Hosts that are asked for damage, which are those with a node id.
  returned: phase is ask
  type: list
  elements: str
verdict:
  description:
    - The verdict with C(result), C(reason), C(plan) and C(waves) (each with C(site), C(hosts), C(node), C(targets),
      C(ask), C(settle), C(settle_only), C(watch), C(addresses), C(names), C(digest) and C(remaining)).
  returned: phase is decide
  type: dict
"""
