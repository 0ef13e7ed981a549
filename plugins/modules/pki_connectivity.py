#!/usr/bin/python
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: pki_connectivity
version_added: 0.1.0
short_description: Follow the manual's steps for two roles that cannot talk to each other over TLS
description:
  - The seven steps of the operation manual's page PKI Connectivity between the two roles that the parameters of the
    running procedure name, and the first of them that is broken.
  - Changes nothing. A private key is read by its own host only.
  - This is an action plugin; on the hosts it runs M(circonus.inside.pki_files), and on the CA host also
    M(circonus.inside.service_info).
author:
  - circonus.inside contributors (@circonus-inside)
options:
  phase:
    description:
      - V(decide) finds the hosts and the port, once. V(probe) asks one host, and never fails. V(judge) puts the steps
        into the journal of the run, once.
    type: str
    required: true
    choices: [decide, probe, judge]
  plan:
    description: What the phase V(decide) returned, for the two others.
    type: dict
  answers:
    description: Name of the variable that holds the answer of each host.
    type: str
    default: circonus_answer
requirements:
  - cryptography 45 or newer on the controller
attributes:
  check_mode:
    support: full
    description: Reads only.
  diff_mode:
    support: none
    description: Returns no diff.
"""

EXAMPLES = r"""
- name: Judge the steps
  circonus.inside.pki_connectivity:
    phase: judge
    plan: "{{ circonus_plan.plan }}"
  run_once: true
"""

RETURN = r"""
plan:
  description: Roles, port, pairs of hosts, and what each host is asked for.
  returned: phase decide
  type: dict
sequence:
  description: >-
    The seven steps, each with C(number), C(title), C(state) (V(pass), V(fail), V(not_reached)), C(checks) and
    C(remedy).
  returned: phase judge
  type: list
  elements: dict
first:
  description: Number of the first step that does not pass, null when all do.
  returned: phase judge
  type: int
"""
