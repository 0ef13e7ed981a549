#!/usr/bin/python
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: storage_diagnose
version_added: 0.1.0
short_description: Judge the data_storage nodes by their evidence
description:
  - V(ask) says what each host is asked by M(circonus.inside.irondb_evidence). V(judge) turns the answers into findings
    and puts them into the journal of the run.
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
    choices: [ask, judge]
"""

EXAMPLES = r"""
- name: Judge the nodes
  circonus.inside.storage_diagnose:
    phase: judge
  run_once: true
"""

RETURN = r"""
questions:
  description: Arguments of M(circonus.inside.irondb_evidence) by host.
  returned: phase is ask
  type: dict
findings:
  description: What is not as it must be, worst first, as in C(docs/report.md).
  returned: phase is judge
  type: list
  elements: dict
"""
