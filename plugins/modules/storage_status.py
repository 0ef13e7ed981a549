#!/usr/bin/python
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: storage_status
version_added: 0.1.0
short_description: Judge the data_storage clusters by what their nodes tell
description:
  - V(ask) says what each host is asked by M(circonus.inside.irondb_probe). V(judge) makes findings and the tables of
    the operations dashboard of the answers, and puts them into the journal of the running procedure. The report and
    the result of the run are written by M(circonus.inside.procedure_end).
  - This is an action plugin; it runs on the controller and changes nothing but the journal of the run.
author:
  - circonus.inside contributors (@circonus-inside)
options:
  phase:
    description: What is wanted.
    type: str
    required: true
    choices: [ask, judge]
attributes:
  check_mode:
    support: full
    description: Reads only.
  diff_mode:
    support: none
    description: Returns no diff.
"""

EXAMPLES = r"""
- name: Judge the clusters
  circonus.inside.storage_status:
    phase: judge
  run_once: true
"""

RETURN = r"""
questions:
  description: Arguments of M(circonus.inside.irondb_probe) by host.
  returned: phase is ask
  type: dict
findings:
  description: Everything that is not as it must be, worst first. The ids are listed in docs/findings.md.
  returned: phase is judge
  type: list
  elements: dict
"""
