#!/usr/bin/python
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: platform_probe
version_added: 0.1.0
short_description: Ask one host for everything that the platform check wants to know
description:
  - Runs M(circonus.inside.host_check) with the catalogue entries of the roles of the host.
  - Never fails. A host that cannot be reached, or on which the check does not run, is an answer too, because for
    M(circonus.inside.platform_check) it is a finding.
  - This is an action plugin; everything but the check itself runs on the controller.
author:
  - circonus.inside contributors (@circonus-inside)
attributes:
  check_mode:
    support: full
    description: Reads only.
  diff_mode:
    support: none
    description: Returns no diff.
"""

EXAMPLES = r"""
- name: Ask every host once
  circonus.inside.platform_probe:
  register: circonus_answer
"""

RETURN = r"""
reachable:
  description: Whether the host could be reached.
  returned: always
  type: bool
asked_epoch:
  description: Time of the controller when the host was asked.
  returned: always
  type: float
answered_epoch:
  description: Time of the controller when the answer was there.
  returned: always
  type: float
roles:
  description: What M(circonus.inside.host_check) says, which returns further keys.
  returned: the check ran on the host
  type: dict
msg:
  description: Why there is no answer.
  returned: the check did not run
  type: str
"""
