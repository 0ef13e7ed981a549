#!/usr/bin/python
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: script_run
short_description: Run a script of the vendor with a time limit and return what it said
version_added: 0.1.0
description:
  - Runs one program as an account, without a terminal and without input. When its time is up, it and everything that
    it started is ended.
author:
  - circonus.inside contributors (@circonus-inside)
options:
  path:
    description: Absolute path of the program.
    type: path
    required: true
  arguments:
    description: Its arguments.
    type: list
    elements: str
    default: []
  user:
    description: Account to run it as, that of the connection when not given.
    type: str
  environment:
    description: Variables to set.
    type: dict
    default: {}
  timeout:
    description: Seconds that it may take.
    type: int
    default: 300
  output_lines:
    description: How many lines of its output are returned, the last ones.
    type: int
    default: 200
attributes:
  check_mode:
    support: full
    description: Runs nothing; fails when there is no such program.
  diff_mode:
    support: none
    description: Returns no diff.
"""

EXAMPLES = r"""
- name: Tell stratcon about new brokers now
  circonus.inside.script_run:
    path: /www/bin/noit/stratcon_sync.pl
    timeout: 120
"""

RETURN = r"""
rc:
  description: Exit code.
  returned: not in check mode
  type: int
output:
  description: Last lines of what it wrote, errors included.
  returned: always
  type: list
  elements: str
seconds:
  description: How long it took.
  returned: always
  type: float
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.circonus.inside.plugins.module_utils import script
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError


def main():
    module = AnsibleModule(
        argument_spec=dict(
            path=dict(type="path", required=True),
            arguments=dict(type="list", elements="str", default=[]),
            user=dict(type="str"),
            environment=dict(type="dict", default={}),
            timeout=dict(type="int", default=300),
            output_lines=dict(type="int", default=200),
        ),
        supports_check_mode=True,
    )
    params = module.params
    try:
        script.check(params["path"])
        if module.check_mode:
            module.exit_json(changed=True, output=[], seconds=0.0, msg="{0} would run.".format(params["path"]))
        result = script.run(
            [params["path"]] + params["arguments"],
            user=params["user"],
            environment=params["environment"],
            timeout=params["timeout"],
            lines=params["output_lines"],
        )
    except InsideError as exc:
        module.fail_json(msg=str(exc), **exc.details)
    module.exit_json(changed=True, msg="; ".join(result["output"][-3:]), **result)


if __name__ == "__main__":
    main()
