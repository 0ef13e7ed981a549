#!/usr/bin/python
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: procedure_end
version_added: 0.1.0
short_description: Close the run of a procedure and write its report
description:
  - Writes the report as JSON and HTML, prints it as text and fails unless the result is C(ok) or C(nothing_to_do).
  - This is an action plugin; it runs on the controller.
author:
  - circonus.inside contributors (@circonus-inside)
options: {}
attributes:
  check_mode:
    support: full
    description: Can run in check mode; writes only the journal and the report on the controller.
  diff_mode:
    support: none
    description: Returns no diff.
"""

EXAMPLES = r"""
- name: Write the report
  circonus.inside.procedure_end:
  run_once: true
"""

RETURN = r"""
result:
  description: Result of the run.
  returned: when a run was open
  type: str
report:
  description: Path of the JSON report on the controller.
  returned: when a run was open
  type: str
report_html:
  description: Path of the HTML report on the controller.
  returned: when a run was open
  type: str
"""
