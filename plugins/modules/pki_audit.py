#!/usr/bin/python
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: pki_audit
version_added: 0.1.0
short_description: Judge the PKI files of a whole platform
description:
  - Applies the rules of the filter P(circonus.inside.pki_report#filter) to what every host answered, and those that
    only several hosts together show, and puts the findings into the journal of the running procedure.
  - This is an action plugin; it runs on the controller and reads nothing but the answers.
author:
  - circonus.inside contributors (@circonus-inside)
options:
  answers:
    description: Name of the variable that holds the answer of each host, see M(circonus.inside.pki_probe).
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
- name: Judge the certificates of the platform
  circonus.inside.pki_audit:
  run_once: true
"""

RETURN = r"""
findings:
  description: Everything that is not as it must be, worst first. The ids are listed in docs/findings.md.
  returned: success
  type: list
  elements: dict
  sample:
    - id: pki_key_mismatch
      severity: error
      role: api
      host: east-app2
      site: east
      path: /www/etc/ssl/east-app2.key
      what: "api on east-app2: expected the key in /www/etc/ssl/east-app2.key to belong to
        /www/etc/ssl/east-app2.crt, found another key."
      expected: the key in /www/etc/ssl/east-app2.key to belong to /www/etc/ssl/east-app2.crt
      found: another key
      remedy: hooper_run.yml --limit east-app2
      source: operation manual, "PKI Connectivity"
"""
