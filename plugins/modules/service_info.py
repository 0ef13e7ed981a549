#!/usr/bin/python
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: service_info
short_description: Collect the evidence of a component on a host
version_added: 0.1.0
description:
  - Returns in one call the state of its units, the last lines and the sizes of its logs, what systemd has kept of it,
    and the room on its file systems. Changes nothing; what is missing is in the answer and no failure.
author:
  - circonus.inside contributors (@circonus-inside)
options:
  service:
    description: Catalogue entry of the component.
    type: dict
    required: true
  release:
    description: Release on the platform, such as V(2019-11-04). Without it the host decides what exists.
    type: str
  host:
    description: Name of this host in site.json, put in the place of C(<host>) in the catalogue entry.
    type: str
  log_lines:
    description: Lines of each log.
    type: int
    default: 20
  log_files:
    description: How many files of its log directories, the newest.
    type: int
    default: 5
attributes:
  check_mode:
    support: full
    description: Reads only.
  diff_mode:
    support: none
    description: Changes nothing.
"""

EXAMPLES = r"""
- name: See what the message queue says
  circonus.inside.service_info:
    service: "{{ 'mq' | circonus.inside.role_service }}"
"""

RETURN = r"""
state:
  description: V(absent), V(up), V(down) or V(mixed).
  returned: success
  type: str
units:
  description: Every unit that this host has, as the module service_units returns them.
  returned: success
  type: list
  elements: dict
absent:
  description: Ids of units that this host does not have.
  returned: success
  type: list
  elements: str
logs:
  description: The logs with C(path), C(size), C(mtime), C(age_s), C(lines) and C(error).
  returned: success
  type: list
  elements: dict
journal:
  description: Last lines of the journal by unit.
  returned: success
  type: dict
space:
  description: Free and total bytes by path.
  returned: success
  type: list
  elements: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.circonus.inside.plugins.module_utils import service_evidence
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError


def main():
    module = AnsibleModule(
        argument_spec=dict(
            service=dict(type="dict", required=True),
            release=dict(type="str"),
            host=dict(type="str"),
            log_lines=dict(type="int", default=20),
            log_files=dict(type="int", default=5),
        ),
        supports_check_mode=True,
    )
    params = module.params
    try:
        result = service_evidence.collect(
            params["service"], params["release"], params["host"], params["log_lines"], params["log_files"]
        )
    except InsideError as exc:
        module.fail_json(msg=str(exc), **exc.details)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
