#!/usr/bin/python
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: irondb_probe
version_added: 0.1.0
short_description: Read what a data_storage host knows before anything is done to its node
description:
  - Returns the node ids on its disk, since when its unit runs, and on demand the whole cluster as this host sees it.
  - Read by the procedures C(data_storage_*), which compare the answers of all hosts before they touch one.
author:
  - circonus.inside contributors (@circonus-inside)
extends_documentation_fragment:
  - circonus.inside.irondb
options:
  cluster:
    description: Whether every node of the cluster is asked as well.
    type: bool
    default: false
  own:
    description: Whether the first of O(hosts), the node of this host, tells everything of itself.
    type: bool
    default: false
  units:
    description: Names that the unit of the node may have. The first that exists counts.
    type: list
    elements: str
    default: []
  aged:
    description: A file that the node reads when it starts.
    type: path
  package:
    description: Whether the host tells if its running snowthd is older than O(program) and the package of it.
    type: bool
    default: false
  program:
    description: The program of the node.
    type: path
    default: /opt/circonus/sbin/snowthd
  data_dir:
    description: Directory with one directory for each node that has data on this host.
    type: path
    default: /snowth/data
attributes:
  check_mode:
    support: full
    description: Reads only.
  diff_mode:
    support: none
    description: Returns no diff.
"""

EXAMPLES = r"""
- name: Read the node of this host, and the cluster
  circonus.inside.irondb_probe:
    units: [circonus-snowth]
    cluster: true
"""

RETURN = r"""
node_ids:
  description: Uuids below O(data_dir), V(none) when it could not be read.
  returned: success
  type: list
  elements: str
  sample: [a0000000-0000-4000-8000-000000000001]
unit:
  description: The unit that exists, empty when none does.
  returned: success
  type: str
active:
  description: State of the unit in systemd's words, V(unknown) without one.
  returned: success
  type: str
enabled:
  description: Whether the unit starts with the host, in systemd's words, empty when that is not known.
  returned: success
  type: str
age_s:
  description: Seconds since the unit got into its state, V(none) when that is not known.
  returned: success
  type: float
aged_s:
  description: Seconds since O(aged) was changed, V(none) without such a file.
  returned: success
  type: float
booted_s:
  description: Seconds since the host was booted, V(none) when that cannot be read.
  returned: success
  type: float
package_changed:
  description: Whether the running snowthd is older than the installed one, V(none) when that is not known or not asked.
  returned: success
  type: bool
package_reason:
  description: What RV(package_changed) was concluded from, empty when it was not asked.
  returned: success
  type: str
  sample: snowthd runs since 2026-11-26 09:44:31Z, /opt/circonus/sbin/snowthd was changed at 2026-11-26 10:02:11Z
view:
  description: The cluster as C(module_utils/irondb_gate.py) describes it, V(none) when it was not asked or is silent.
  returned: success
  type: dict
topology:
  description: The topology in force as XML, empty when it was not asked or nobody told it.
  returned: success
  type: str
reasons:
  description: Why no node may be stopped now, with C(id), C(node), C(peer), C(name) and C(text).
  returned: success
  type: list
  elements: dict
node:
  description: All parts of C(node) of M(circonus.inside.irondb_info) but its gossip, V(none) when it was not asked.
  returned: success
  type: dict
problem:
  description: One sentence about what could not be read, empty when all was.
  returned: success
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.circonus.inside.plugins.module_utils import irondb_probe
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError


def main():
    module = AnsibleModule(argument_spec=irondb_probe.ARGUMENTS, supports_check_mode=True)
    try:
        module.exit_json(changed=False, **irondb_probe.collect(module.params))
    except InsideError as exc:
        module.fail_json(msg=str(exc), **exc.details)


if __name__ == "__main__":
    main()
