#!/usr/bin/python
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: pki_probe
version_added: 0.1.0
short_description: Collect the PKI files of the roles of a host
description:
  - Runs M(circonus.inside.pki_files) with every file that the catalogue entries of the roles of the host name, and
    those of the parameter C(pki_audit_files) of the running procedure; with C(pki_audit_live) also with its
    TLS ports and the connections to other hosts that its roles need.
  - Never fails. A host that cannot be reached is an answer too, because for M(circonus.inside.pki_audit) it is a
    finding.
  - This is an action plugin; everything but the collection itself runs on the controller.
author:
  - circonus.inside contributors (@circonus-inside)
options: {}
attributes:
  check_mode:
    support: full
    description: Reads only.
  diff_mode:
    support: none
    description: Returns no diff.
"""

EXAMPLES = r"""
- name: Collect the files of every host
  circonus.inside.pki_probe:
  register: circonus_answer
"""

RETURN = r"""
reachable:
  description: Whether the host could be reached.
  returned: always
  type: bool
files:
  description: See M(circonus.inside.pki_files).
  returned: the collection ran on the host
  type: list
  elements: dict
live:
  description: What was seen on TLS ports, see M(circonus.inside.pki_files).
  returned: the collection ran on the host, and pki_audit_live is true
  type: dict
now:
  description: Time of the host, seconds since the epoch.
  returned: the collection ran on the host
  type: float
msg:
  description: Why there is no answer.
  returned: the collection did not run
  type: str
"""
