#!/usr/bin/python
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: ca_reissue_plan
version_added: 0.1.0
short_description: Decide which certificates are issued anew, and judge what came
description:
  - Uses what every host answered to M(circonus.inside.pki_probe), M(circonus.inside.datacenter_info) and
    M(circonus.inside.pki_renew), by the rules of M(circonus.inside.pki_audit).
  - This is an action plugin; it runs on the controller.
author:
  - circonus.inside contributors (@circonus-inside)
options:
  phase:
    description:
      - V(decide) before anything changes, V(judge) after Hooper ran on a host, V(settle) after files were given back.
    type: str
    required: true
    choices: [decide, judge, settle]
  targets:
    description: With O(phase=judge) those of RV(verdict) that have to be there now.
    type: list
    elements: dict
  old_serials:
    description: With O(phase=judge) the serial numbers of RV(verdict) that were given before.
    type: list
    elements: raw
  ca_host:
    description: With O(phase=judge) the host that signs, named where something did not come.
    type: str
  final:
    description: With O(phase=judge) whether what is still missing is a failure.
    type: bool
    default: false
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
- name: Decide
  circonus.inside.ca_reissue_plan:
    phase: decide
  run_once: true
  register: circonus_plan
"""

RETURN = r"""
verdict:
  description: The decision with result, reason, plan and the facts that the playbook acts on.
  returned: phase is decide
  type: dict
judged:
  description:
    - C(pending), hosts on which something is still missing; C(proven), with C(host), C(path) and C(sha256); C(problems)
      and C(warnings) as sentences.
  returned: phase is judge
  type: dict
"""
