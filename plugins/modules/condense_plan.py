#!/usr/bin/python
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: condense_plan
version_added: 0.1.0
short_description: Decide about condensing the data sets of the data_storage clusters
description:
  - V(ask) says what each host is asked by M(circonus.inside.irondb_probe) and M(circonus.inside.storage_condense).
    V(decide) compares the answers with site.json and with each other, and returns the nodes in their order, or refuses.
  - A node whose condense was left on its way comes first. A node whose data set was made anew since the run began that
    this one continues is done.
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
  circonus.inside.condense_plan:
    phase: decide
  run_once: true
  register: circonus_plan
"""

RETURN = r"""
nodes:
  description: Arguments of M(circonus.inside.irondb_probe) by host.
  returned: phase is ask
  type: dict
data_sets:
  description: Arguments of M(circonus.inside.storage_condense) by host.
  returned: phase is ask
  type: dict
verdict:
  description:
    - The verdict with C(result), C(reason), C(plan), C(nodes) (each with C(site), C(hosts), C(ids), C(node), C(watch),
      C(addresses), C(names), C(digest), C(mode), C(platform), C(estimate_s)), C(done_hosts), C(since), C(estimate_s)
      and C(lock_ttl_s).
  returned: phase is decide
  type: dict
"""
