#!/usr/bin/python
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: connection_wait
version_added: 0.1.0
short_description: Count the connections of a host to a server, or wait until they are gone
description:
  - Reads the tables of the kernel. No connection is made, and no service notices.
author:
  - circonus.inside contributors (@circonus-inside)
options:
  addresses:
    description: Addresses of the server.
    type: list
    elements: str
    required: true
  port:
    description: Port of the server.
    type: int
    required: true
  most:
    description: So many established connections are right. Without it they are only counted.
    type: int
  timeout:
    description: Seconds to wait until there are no more than O(most).
    type: int
    default: 60
attributes:
  check_mode:
    support: full
    description: Reads only.
  diff_mode:
    support: none
    description: Returns no diff.
"""

EXAMPLES = r"""
- name: Wait until nobody uses the old database
  circonus.inside.connection_wait:
    addresses: [192.0.2.11]
    port: 5432
    most: 0
"""

RETURN = r"""
count:
  description: Established connections.
  returned: always
  type: int
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.circonus.inside.plugins.module_utils import connections
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError


def main():
    module = AnsibleModule(
        argument_spec=dict(
            addresses=dict(type="list", elements="str", required=True),
            port=dict(type="int", required=True),
            most=dict(type="int"),
            timeout=dict(type="int", default=60),
        ),
        supports_check_mode=True,
    )
    params = module.params
    try:
        count = connections.wait(params["addresses"], params["port"], params["most"], params["timeout"])
    except InsideError as exc:
        module.fail_json(msg=str(exc), **exc.details)
    module.exit_json(changed=False, count=count, msg="%d connections." % count)


if __name__ == "__main__":
    main()
