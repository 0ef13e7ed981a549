#!/usr/bin/python
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: client_address
short_description: Put the address that clients follow on a host, or take it away
version_added: 0.1.0
description:
  - Adds an address to the interface that already has an address of the same network, and tells the neighbours by
    gratuitous
    ARP without waiting. Removes it from wherever it is.
  - The change lasts until the host restarts. That is intended, so that a host that returns after a failover does not
    take the
    address back by itself.
  - The module does not look whether another host still has the address. Remove it there first.
author:
  - circonus.inside contributors (@circonus-inside)
options:
  address:
    description: The address, with or without a prefix length. Without one, that of the network is used.
    type: str
    required: true
  interface:
    description: The interface. Found by the network of the address when not given.
    type: str
  state:
    description: Whether this host shall have the address.
    type: str
    choices: [present, absent]
    default: present
requirements:
  - iproute on the host
attributes:
  check_mode:
    support: full
    description: Says whether the address would be added or removed.
  diff_mode:
    support: none
    description: Returns no diff.
"""

EXAMPLES = r"""
- name: Put the portal address on this host
  circonus.inside.client_address:
    address: 192.0.2.200/24

- name: Take the portal address away
  circonus.inside.client_address:
    address: 192.0.2.200
    state: absent
"""

RETURN = r"""
address:
  description: The address without its prefix length.
  returned: success
  type: str
  sample: 192.0.2.200
prefix:
  description: The prefix length, V(none) when the address was not there and none was given.
  returned: success
  type: int
  sample: 24
interface:
  description: The interface that has it, or had it.
  returned: success
  type: str
  sample: eth1
announced:
  description: How the neighbours were told, one of V(frames), V(arping), V(none).
  returned: success
  type: str
  sample: frames
note:
  description: What the operator should know, empty when nothing.
  returned: success
  type: str
seconds:
  description: How long it took.
  returned: success
  type: float
  sample: 0.0061
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.circonus.inside.plugins.module_utils import address
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError, Refused


def main():
    module = AnsibleModule(
        argument_spec=dict(
            address=dict(type="str", required=True),
            interface=dict(type="str"),
            state=dict(type="str", choices=["present", "absent"], default="present"),
        ),
        supports_check_mode=True,
    )
    act = address.present if module.params["state"] == "present" else address.absent
    try:
        module.exit_json(**act(module.params["address"], module.params["interface"], check_mode=module.check_mode))
    except InsideError as exc:
        module.fail_json(msg=str(exc), refused=isinstance(exc, Refused), **exc.details)


if __name__ == "__main__":
    main()
