#!/usr/bin/python
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: storage_plan
version_added: 0.1.0
short_description: Decide about a rolling restart of the data_storage clusters
description:
  - V(ask) says what each host is asked by M(circonus.inside.irondb_probe). V(decide) compares the answers with
    site.json and with each other, and returns the waves in which nodes are restarted, or refuses.
  - A node that was restarted since the run began that this one continues, and has settled, is not restarted again.
  - This is an action plugin; it runs on the controller and changes nothing but the journal of the run.
author:
  - circonus.inside contributors (@circonus-inside)
options:
  phase:
    description: What is wanted.
    type: str
    required: true
    choices: [ask, decide]
attributes:
  check_mode:
    support: full
    description: Changes nothing but the journal of the run on the controller.
  diff_mode:
    support: none
    description: Returns no diff.
"""

EXAMPLES = r"""
- name: Decide
  circonus.inside.storage_plan:
    phase: decide
  run_once: true
  register: circonus_plan
"""

RETURN = r"""
questions:
  description: Arguments of M(circonus.inside.irondb_probe) by host.
  returned: phase is ask
  type: dict
verdict:
  description:
    - The verdict with C(result), C(reason), C(plan), C(waves) (each with C(site), C(hosts), C(ids), C(node), C(watch),
      C(addresses), C(names), C(digest), C(settle_only)), C(done_hosts), C(since) and C(estimate_s).
  returned: phase is decide
  type: dict
"""
