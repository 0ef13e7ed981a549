#!/usr/bin/python
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: irondb_rebuild
version_added: 0.1.0
short_description: Rebuild a data_storage node in steps
description:
  - One step of a rebuild on the host of the node. Each asks the host whether it is done already.
  - Before anything is changed it is proven once more that this host is the node that is meant, by the installed
    site.json, the directories on its disk, the addresses of the machine, the installed topology, the topology that the
    cluster serves, and gossip. One that is missing or says something else refuses.
  - Old stores are set aside by a rename. Only where that is not possible and O(destroy) names the node are they
    destroyed.
author:
  - circonus.inside contributors (@circonus-inside)
extends_documentation_fragment:
  - circonus.inside.irondb
options:
  step:
    description:
      - V(look) reads everything and changes nothing.
      - V(open) writes the record of the rebuild and keeps Hooper away. V(clear) sets the old stores aside and makes new
        ones. V(start) starts the reconstitute, detached, unless one runs or has finished. V(finish) sees that it has
        ended. V(close) lets Hooper back. V(remove) destroys what the finished rebuild O(stamp) has set aside.
    type: str
    required: true
    choices: [look, clear, close, finish, open, remove, start]
  host:
    description: Name of this host in site.json.
    type: str
    required: true
  node_id:
    description: Uuid of the node by the site.json of the inventory.
    type: str
    required: true
  address:
    description: Address of the node by the site.json of the inventory.
    type: str
    required: true
  mode:
    description: V(new_cluster) pulls from another cluster and sets nothing aside.
    type: str
    choices: [reconstitute, new_cluster]
    default: reconstitute
  source:
    description: The other cluster, with C(digest) of its topology and C(address) (C(ip:port)) of one of its nodes.
    type: dict
  extra:
    description: Stores besides those of the manual.
    type: list
    elements: str
    choices: [metadata, hist_ingest, hist_rollup, localstate]
    default: []
  destroy:
    description: Uuid of the node whose old stores may be destroyed when they cannot be set aside.
    type: str
  stamp:
    description: The finished rebuild of which V(remove) destroys what was set aside.
    type: str
  units:
    description: Names that the unit of the node may have. The first that exists counts.
    type: list
    elements: str
    default: [circonus-snowth]
  root:
    description: Directory of the stores.
    type: path
    default: /snowth
  etc_dir:
    description: Directory of C(topology.conf) and C(snowth-topo).
    type: path
    default: /opt/circonus/etc
  site_path:
    description: The installed site.json.
    type: path
    default: /opt/circonus/var/chef-solo/data_bags/service_map/site.json
  state_dir:
    description: Directory of the records.
    type: path
    default: /var/lib/circonus-inside/data_storage_rebuild
  killswitch_path:
    description: File that keeps Hooper away.
    type: path
    default: /opt/circonus/var/chef-solo/killswitch
  measure_s:
    description: Seconds that measuring one store may take.
    type: float
    default: 120.0
attributes:
  check_mode:
    support: full
    description: Only V(look) does anything.
  diff_mode:
    support: none
    description: Returns no diff.
"""

EXAMPLES = r"""
- name: What would be done to this node
  circonus.inside.irondb_rebuild:
    step: look
    host: store2
    node_id: a0000000-0000-4000-8000-000000000002
    address: 192.0.2.32
    hosts: [192.0.2.31, 192.0.2.32, 192.0.2.33]
"""

RETURN = r"""
problems:
  description: Why this host is not proven to be the node, worst first; empty when it is.
  returned: step is look
  type: list
  elements: str
evidence:
  description: What each source says, see C(module_utils/irondb_identity.py).
  returned: step is look
  type: dict
stores:
  description: The stores that exist, with C(store), C(kind), C(dataset), C(path), C(used), C(empty), C(movable).
  returned: step is look
  type: list
  elements: dict
choice:
  description: Whether they can be set aside (C(action), C(reason), C(used), C(need)).
  returned: step is look
  type: dict
record:
  description: The record of the rebuild, V(none) when none was begun.
  returned: success
  type: dict
records:
  description: All records of this host, oldest first.
  returned: step is look
  type: list
  elements: dict
processes:
  description: C(running) reconstitutes and process ids of other C(daemons).
  returned: step is look
  type: dict
finished:
  description: Whether the console of the reconstitute has its last line.
  returned: step is look
  type: bool
aside:
  description: What was set aside, with C(store), C(aside), C(used) and C(kind).
  returned: step is not look
  type: list
  elements: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.circonus.inside.plugins.module_utils import irondb_rebuild
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError, Refused


def main():
    module = AnsibleModule(argument_spec=irondb_rebuild.ARGUMENTS, supports_check_mode=True)
    params = module.params
    try:
        if params["step"] == "look":
            module.exit_json(changed=False, **irondb_rebuild.look(params))
        if module.check_mode:
            module.exit_json(changed=True, record=None, aside=[])
        changed, record = irondb_rebuild.STEPS[params["step"]](params)
    except InsideError as exc:
        module.fail_json(msg=str(exc), refused=isinstance(exc, Refused), **exc.details)
    except (IOError, OSError) as exc:
        module.fail_json(msg="{0}: {1} failed: {2}. Look at this host and give the same command again.".format(
            exc.filename or params["root"], params["step"], exc.strerror))
    module.exit_json(changed=changed, record=record, aside=irondb_rebuild.set_aside(record))


if __name__ == "__main__":
    main()
