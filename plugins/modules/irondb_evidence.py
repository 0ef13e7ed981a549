#!/usr/bin/python
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: irondb_evidence
version_added: 0.1.0
short_description: Collect what an unstable data_storage node can be judged by
description:
  - Reads load, IO, memory, disks (C(smartctl) and C(iostat) where they are installed), pools, crash dumps, what the
    watchdog wrote about its child, damaged stores and the state page, all at the same time.
  - Is back at the deadline, whatever hangs. What could not be read is named.
  - Everything together can be returned as an archive. Nothing is written on the host, secrets are hidden, and no
    configuration but the topology is taken.
  - On the controller an action plugin of the same name writes the archive to O(dest).
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
    description: See M(circonus.inside.irondb_damage_info).
    type: list
    elements: str
    default: []
  deadline_s:
    description: Seconds for everything.
    type: float
    default: 30.0
  watch_s:
    description: Seconds between two looks at CPU and disks.
    type: float
    default: 2.0
  hours:
    description: How far back kills, crashes and dumps count.
    type: int
    default: 24
  log_kb:
    description: Kilobytes of each log in the archive, its end.
    type: int
    default: 256
  bundle:
    description: Whether an archive is made.
    type: bool
    default: true
  site_path:
    description: The site.json whose secrets are hidden.
    type: path
    default: /opt/circonus/var/chef-solo/data_bags/service_map/site.json
  dest:
    description: File on the controller for the archive. Without it the archive is returned.
    type: path
attributes:
  check_mode:
    support: full
    description: Reads only.
  diff_mode:
    support: none
    description: Returns no diff.
"""

EXAMPLES = r"""
- name: Look at an unstable node
  circonus.inside.irondb_evidence:
    node: a0000000-0000-4000-8000-000000000001
    dest: /tmp/db1.tar.gz
"""

RETURN = r"""
facts:
  description:
    - By name what was read, of C(load), C(memory), C(disks), C(smart), C(pool), C(space), C(watchdog), C(dumps),
      C(store) (see M(circonus.inside.irondb_damage_info)) and C(state).
  returned: success
  type: dict
unread:
  description: By the same names why something was not read.
  returned: success
  type: dict
  sample: {smart: smartctl is not installed}
now:
  description: Clock of the host.
  returned: success
  type: float
host:
  description: Name of the host.
  returned: success
  type: str
bundle:
  description: The archive (tar.gz) in base64; empty when it was written to O(dest) or not wanted.
  returned: success
  type: str
path:
  description: Where the archive is on the controller.
  returned: when dest was given
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.circonus.inside.plugins.module_utils import irondb_evidence
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError


def main():
    module = AnsibleModule(argument_spec=dict(irondb_evidence.ARGUMENTS, dest=dict(type="path")),
                           supports_check_mode=True)
    try:
        module.exit_json(changed=False, **irondb_evidence.collect(module.params))
    except InsideError as exc:
        module.fail_json(msg=str(exc), **exc.details)


if __name__ == "__main__":
    main()
