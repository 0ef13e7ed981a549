#!/usr/bin/python
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: storage_plan
version_added: 0.1.0
short_description: Decide about a procedure that goes through the nodes of the data_storage clusters
description:
  - V(ask) says what each host is asked by M(circonus.inside.irondb_probe), and before a sweep by
    M(circonus.inside.irondb_sweep). V(decide) compares the answers with site.json and with each other, and returns the
    waves in which nodes are worked on, or refuses.
  - C(data_storage_restart) does not restart a node again that was restarted since the run began that this one
    continues, and has settled. C(data_storage_license) only restarts nodes whose file changes, or was changed after
    they were started. C(data_storage_sweep) does not sweep a node again that has swept for that date.
  - This is an action plugin; it runs on the controller and changes nothing but the journal of the run.
author:
  - circonus.inside contributors (@circonus-inside)
extends_documentation_fragment:
  - circonus.inside.journal
options:
  phase:
    description:
      - What is wanted. V(cancelled) judges whether every node that was to cancel its sweep has done so, V(licensed)
        puts what the nodes tell of their licences into the journal.
    type: str
    required: true
    choices: [ask, decide, cancelled, licensed]
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
source:
  description: The file with licences on the controller.
  returned: phase is ask, of data_storage_license
  type: str
sweeps:
  description: Arguments of M(circonus.inside.irondb_sweep) by host.
  returned: phase is ask, of data_storage_sweep
  type: dict
verdict:
  description:
    - The verdict with C(result), C(reason), C(plan) and C(waves), each with C(site), C(hosts), C(watch), C(addresses),
      C(names) and C(digest).
    - Of a restart also C(done_hosts), C(since) and C(estimate_s), and in a wave C(ids), C(node) and C(settle_only).
    - Of a sweep also C(state), and in a wave C(args) by host and C(settle); of a cancelled one C(args) and C(hosts).
  returned: phase is decide
  type: dict
"""
