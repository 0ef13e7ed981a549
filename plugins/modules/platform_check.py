#!/usr/bin/python
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: platform_check
version_added: 0.1.0
short_description: Judge the health of a platform by what every host answered
description:
  - Applies the rules about single hosts and those that only several hosts together can prove, and puts the findings
    into the journal of the running procedure. The report and the result of the run are written by
    M(circonus.inside.procedure_end).
  - This is an action plugin; it runs on the controller and reads nothing but the answers and the site files there.
author:
  - circonus.inside contributors (@circonus-inside)
options:
  answers:
    description: Name of the variable that holds the answer of each host, see M(circonus.inside.platform_probe).
    type: str
    default: circonus_answer
attributes:
  check_mode:
    support: full
    description: Reads only.
  diff_mode:
    support: none
    description: Returns no diff.
"""

EXAMPLES = r"""
- name: Judge the platform
  circonus.inside.platform_check:
  run_once: true
"""

RETURN = r"""
findings:
  description: Everything that is not as it must be, worst first. The ids are listed in docs/findings.md.
  returned: success
  type: list
  elements: dict
  sample:
    - id: unit_down
      severity: error
      role: mq
      host: east-app2
      site: east
      what: "mq on east-app2: expected circonus-rabbitmq running, found inactive (dead)."
      expected: circonus-rabbitmq running
      found: inactive (dead)
      remedy: service_operate.yml -e service_operate_role=mq -e service_operate_verb=start --limit east-app2
      source: operation manual, "Roles"
"""
