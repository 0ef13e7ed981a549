#!/usr/bin/python
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: irondb_repair
version_added: 0.1.0
short_description: Repair the damaged stores of a stopped data_storage node until it opens again
description:
  - Runs C(snowthd -r) for each LevelDB store that the error log of the node calls damaged, then starts the unit and
    waits until the node answers. When it does not open, because its log names another store now, that one is repaired
    as well.
  - Refuses while C(snowthd) runs, in its unit or outside of it, and when the log names a store for which no repair is
    documented.
  - A repair is never cut off. When the time is over, or the controller is lost, it goes on; the next call waits for it.
  - A node whose log shows no damage is left alone. A store that was repaired and not opened yet is not repaired again.
author:
  - circonus.inside contributors (@circonus-inside)
extends_documentation_fragment:
  - circonus.inside.irondb_node
options:
  targets:
    description:
      - Stores that are expected to be damaged, as C(snowthd -r) names them. The log must name each, else nothing is
        done. One that opened since its last complaint and was not repaired is repaired as well.
      - What else the log calls damaged is repaired in any case, since the node does not open without.
    type: list
    elements: str
    default: []
  service:
    description: Catalogue entry of data_storage, see M(circonus.inside.service_units).
    type: dict
    required: true
  program:
    description: The program that repairs.
    type: path
    default: /opt/circonus/sbin/snowthd
  conf:
    description: Its configuration.
    type: path
    default: /opt/circonus/etc/snowth.conf
  timeout:
    description: Seconds for the repair of one store.
    type: int
    default: 14400
  start_timeout:
    description: Seconds for one start of the unit.
    type: int
    default: 600
  state_dir:
    description: Where the output of the repairs is kept, and the file by which they take turns.
    type: path
    default: /var/lib/circonus-inside
attributes:
  check_mode:
    support: full
    description: Says which stores would be repaired.
  diff_mode:
    support: none
    description: Returns no diff.
"""

EXAMPLES = r"""
- name: Repair what the log calls damaged, and start the node
  circonus.inside.irondb_repair:
    node: a0000000-0000-4000-8000-000000000001
    targets: [text/metrics]
    service: "{{ 'data_storage' | circonus.inside.role_service }}"
"""

RETURN = r"""
repaired:
  description: What was repaired, each with C(target), C(rc), C(output) (last lines) and C(seconds).
  returned: always
  type: list
  elements: dict
stores:
  description: What the log says, see M(circonus.inside.irondb_damage_info).
  returned: when the log was read
  type: list
  elements: dict
serving:
  description: Whether the node answers.
  returned: success
  type: bool
msg:
  description: One sentence.
  returned: always
  type: str
  sample: text/metrics repaired; the node opens again.
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.circonus.inside.plugins.module_utils import irondb_damage, irondb_repair
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError, Refused


def main():
    spec = dict(
        irondb_damage.ARGUMENTS,
        targets=dict(type="list", elements="str", default=[]),
        service=dict(type="dict", required=True),
        program=dict(type="path", default=irondb_repair.SNOWTHD),
        conf=dict(type="path", default=irondb_repair.CONF),
        timeout=dict(type="int", default=14400),
        start_timeout=dict(type="int", default=600),
        state_dir=dict(type="path", default=irondb_repair.STATE_DIR),
    )
    for name in ("units", "insist"):  # in service and targets
        del spec[name]
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    try:
        work = irondb_repair.rehearse if module.check_mode else irondb_repair.carry_out
        module.exit_json(**work(module.params))
    except InsideError as exc:
        module.fail_json(msg=str(exc), refused=isinstance(exc, Refused), **dict({"repaired": []}, **exc.details))


if __name__ == "__main__":
    main()
