#!/usr/bin/python
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: ca_bootstrap_plan
version_added: 0.1.0
short_description: Decide how far a backup site without a CA of its own is, and prove that it is built
description:
  - Uses what every host answered to M(circonus.inside.datacenter_info), M(circonus.inside.pki_probe) and
    M(circonus.inside.connection_wait), and the site files.
  - This is an action plugin; it runs on the controller.
author:
  - circonus.inside contributors (@circonus-inside)
options:
  phase:
    description:
      - V(decide) before anything changes, V(save) writes the site.json of the controller, V(prove) after Hooper ran.
    type: str
    required: true
    choices: [decide, save, prove]
  base:
    description: RV(verdict), in the phases that follow V(decide).
    type: dict
  half:
    description: With O(phase=prove) only look at the certificates; the site still uses the database of the other one.
    type: bool
    default: false
requirements:
  - cryptography 45 or newer on the controller
attributes:
  check_mode:
    support: full
    description: V(save) is not called in check mode.
  diff_mode:
    support: none
    description: Returns no diff because site files are full of secrets.
"""

EXAMPLES = r"""
- name: Decide
  circonus.inside.ca_bootstrap_plan:
    phase: decide
  run_once: true
  register: circonus_plan
  no_log: true
"""

RETURN = r"""
verdict:
  description: The decision with result, reason, plan and the facts that the playbook acts on.
  returned: phase is decide
  type: dict
"""
