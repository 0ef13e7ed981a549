#!/usr/bin/python
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: irondb_rebuild_wait
version_added: 0.1.0
short_description: Wait until the reconstitute of a data_storage node has finished
description:
  - Waits for the last line that the manual names in the console of the reconstitute that was started on this host.
  - Shows how far it is every O(slice) seconds, with bytes and the time that is left as far as the statistics of the
    node tell. Percentages that stand still are normal.
  - Fails when the program ends without that line, or after O(timeout) seconds; the reconstitute goes on then.
author:
  - circonus.inside contributors (@circonus-inside)
options:
  node_id:
    description: Uuid of the node.
    type: str
    required: true
  address:
    description: Where its statistics are asked, as C(address:port).
    type: str
    required: true
  timeout:
    description: Seconds to wait.
    type: float
    default: 604800.0
  slice:
    description: Seconds between two lines of progress.
    type: float
    default: 20.0
  state_dir:
    description: Directory of the records.
    type: path
    default: /var/lib/circonus-inside/data_storage_rebuild
attributes:
  check_mode:
    support: full
    description: Reads only.
  diff_mode:
    support: none
    description: Returns no diff.
"""

EXAMPLES = r"""
- name: Wait for the reconstitute
  circonus.inside.irondb_rebuild_wait:
    node_id: a0000000-0000-4000-8000-000000000002
    address: 192.0.2.32:8112
"""

RETURN = r"""
finished:
  description: Whether it has finished.
  returned: success
  type: bool
running:
  description: Whether its process is there.
  returned: success
  type: bool
seconds:
  description: How long it was waited for.
  returned: success
  type: float
percent:
  description: How far it is, V(none) when the node does not tell.
  returned: success
  type: float
parts:
  description: Percentages by what the statistics call their parts.
  returned: success
  type: dict
done:
  description: Bytes by the statistics, V(none) when they name none.
  returned: success
  type: int
total:
  description: Bytes in all by the statistics, V(none) when they name none.
  returned: success
  type: int
used:
  description: Bytes that the new stores use, V(none) when that takes long to measure.
  returned: success
  type: int
before:
  description: Bytes that the old stores used, V(none) when nothing was set aside.
  returned: success
  type: int
log:
  description: File with the console of the reconstitute.
  returned: success
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.circonus.inside.plugins.module_utils import irondb_rebuild
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError


def main():
    module = AnsibleModule(
        argument_spec=dict(
            node_id=dict(type="str", required=True),
            address=dict(type="str", required=True),
            timeout=dict(type="float", default=604800.0),
            slice=dict(type="float", default=20.0),
            state_dir=dict(type="path", default=irondb_rebuild.STATE),
        ),
        supports_check_mode=True,
    )
    try:
        row = irondb_rebuild.watch(module.params)
    except InsideError as exc:
        module.fail_json(msg=str(exc), **exc.details)
    module.exit_json(changed=False, msg="The reconstitute has finished." if row["finished"] else "It goes on.", **row)


if __name__ == "__main__":
    main()
