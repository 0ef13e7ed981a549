#!/usr/bin/python
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: irondb_damage_info
version_added: 0.1.0
short_description: Find the damaged stores of a data_storage node
description:
  - Reads what C(errorlog) and its rotated files say of damaged stores, and whether that still holds. A complaint is
    over when a process answers that began after it, or when the store was repaired or opened since.
  - Says for each store whether C(snowthd -r) repairs it, by its documented name, or what to do instead.
  - Also tells which processes of C(snowthd) run, those outside of the unit among them. Changes nothing.
author:
  - circonus.inside contributors (@circonus-inside)
extends_documentation_fragment:
  - circonus.inside.irondb_node
options:
  units:
    description: Names that its unit may have.
    type: list
    elements: str
    default: [circonus-snowth]
  insist:
    description:
      - Stores that count as damaged although they were opened since the last complaint, as long as they were not
        repaired since. LevelDB does not look at every block when it opens a store.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    support: full
    description: Reads only.
  diff_mode:
    support: none
    description: Returns no diff.
"""

EXAMPLES = r"""
- name: What is damaged
  circonus.inside.irondb_damage_info:
    node: a0000000-0000-4000-8000-000000000001
  register: damage

- name: Say it
  ansible.builtin.debug:
    msg: "{{ damage.stores | selectattr('state', 'eq', 'damaged') | map(attribute='target') | list }}"
"""

RETURN = r"""
stores:
  description:
    - The newest complaint about each store, with C(store), C(target) (what C(snowthd -r) takes, or empty), C(at) (epoch
      seconds), C(line), C(log), C(mended) (a repair put files aside since), C(why) and C(state).
    - C(state) is V(damaged), V(repaired) (and not opened since), V(opened), or V(beyond) where no repair is documented,
      with the reason in C(why).
  returned: success
  type: list
  elements: dict
targets:
  description: Stores of this node that C(snowthd -r) knows, damaged or not.
  returned: success
  type: list
  elements: str
  sample: [hist/60, hist/metrics, text/changelog, text/metrics]
serving:
  description: Whether this very node answers on the host.
  returned: success
  type: bool
problem:
  description: Why it does not.
  returned: success
  type: str
unit:
  description: The unit that exists, empty when none does.
  returned: success
  type: str
active:
  description: State of the unit in systemd's words.
  returned: success
  type: str
processes:
  description:
    - Processes of C(snowthd), with C(pid), C(kind) (daemon, repair, rebuild, convert, drain, control), C(target),
      C(command), C(unit) and C(started).
  returned: success
  type: list
  elements: dict
node:
  description: The same as O(node).
  returned: success
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.circonus.inside.plugins.module_utils import irondb_damage
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError


def main():
    module = AnsibleModule(argument_spec=irondb_damage.ARGUMENTS, supports_check_mode=True)
    try:
        module.exit_json(changed=False, **irondb_damage.collect(module.params))
    except InsideError as exc:
        module.fail_json(msg=str(exc), **exc.details)


if __name__ == "__main__":
    main()
