#!/usr/bin/python
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: storage_rebuild_plan
version_added: 0.1.0
short_description: Decide about the rebuild of a data_storage node
description:
  - V(ask) says what the host of the node is asked by M(circonus.inside.irondb_rebuild). V(decide) compares the answer
    with site.json and the cluster, and returns what is to be done, or refuses.
  - A rebuild that was begun is gone on with, one that runs is followed, and one that has just ended is not begun again.
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
  circonus.inside.storage_rebuild_plan:
    phase: decide
  run_once: true
  register: circonus_plan
"""

RETURN = r"""
questions:
  description: C(look) with arguments of M(circonus.inside.irondb_rebuild), and C(source) of
    M(circonus.inside.irondb_info), by host.
  returned: phase is ask
  type: dict
verdict:
  description:
    - The verdict with C(result), C(reason), C(plan), C(host), C(node_id), C(watch), C(gate), C(stop), C(remove),
      C(args), C(addresses), C(names), C(digest) and C(page).
  returned: phase is decide
  type: dict
"""
