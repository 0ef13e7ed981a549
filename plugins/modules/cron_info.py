#!/usr/bin/python
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: cron_info
short_description: Compare the cron jobs of a host with the documented ones
version_added: 0.1.0
description:
  - Reads C(/etc/crontab), C(/etc/cron.d) and the crontabs of all accounts, and looks for the jobs of a catalogue entry
    that the release has.
author:
  - circonus.inside contributors (@circonus-inside)
options:
  service:
    description: Catalogue entry of the component with C(cron).
    type: dict
    required: true
  release:
    description: Release on the platform, such as V(2019-11-04). Without it every job is looked for.
    type: str
  host:
    description: Name of this host in site.json, put in the place of C(<host>) in the catalogue entry.
    type: str
  expect:
    description: V(any) only looks. V(present) fails when a job is missing or has another account or schedule.
    type: str
    choices: [any, present]
    default: any
attributes:
  check_mode:
    support: full
    description: Reads only.
  diff_mode:
    support: none
    description: Changes nothing.
"""

EXAMPLES = r"""
- name: Look for the jobs of the hub
  circonus.inside.cron_info:
    service: "{{ hub_service }}"
    release: "2019-11-04"
"""

RETURN = r"""
jobs:
  description: The documented jobs with C(id), C(script), C(present), C(user), C(schedule), C(file) and C(problem).
  returned: always
  type: list
  elements: dict
missing:
  description: Ids of the jobs that no crontab has.
  returned: always
  type: list
  elements: str
gone:
  description: Ids of the jobs that this release does not have.
  returned: always
  type: list
  elements: str
findings:
  description: One sentence about each job that is not as documented.
  returned: always
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.circonus.inside.plugins.module_utils import cron
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError


def main():
    module = AnsibleModule(
        argument_spec=dict(
            service=dict(type="dict", required=True),
            release=dict(type="str"),
            host=dict(type="str"),
            expect=dict(type="str", choices=["any", "present"], default="any"),
        ),
        supports_check_mode=True,
    )
    params = module.params
    try:
        result = cron.compare(params["service"], cron.read(), params["release"], params["host"])
        cron.check(result, params["expect"])
    except InsideError as exc:
        module.fail_json(msg=str(exc), **exc.details)
    module.exit_json(changed=False, procedure_warnings=result["findings"], **result)


if __name__ == "__main__":
    main()
