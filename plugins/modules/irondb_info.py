#!/usr/bin/python
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: irondb_info
version_added: 0.1.0
short_description: Read a data_storage node, or its whole cluster from any node
description:
  - Reads state, statistics, gossip, topology, rebalance and rebuild in the spelling of every release.
  - A node that does not answer is a finding and no failure.
author:
  - circonus.inside contributors (@circonus-inside)
extends_documentation_fragment:
  - circonus.inside.irondb
options:
  want:
    description:
      - V(node) reads the first of O(hosts) only, with its statistics.
      - V(cluster) reads every node of the topology.
    type: str
    choices: [node, cluster]
    default: cluster
attributes:
  check_mode:
    support: full
    description: Reads only.
  diff_mode:
    support: none
    description: Returns no diff.
"""

EXAMPLES = r"""
- name: Read the cluster from the node of this host
  circonus.inside.irondb_info:

- name: Read one node with its statistics
  circonus.inside.irondb_info:
    want: node
    hosts: [192.0.2.31]
"""

RETURN = r"""
node:
  description:
    - State of the node. C(problem) is empty, or one of C(unreachable), C(refused), C(hung), C(missing), C(unreadable).
    - Parts are C(state), C(stats), C(gossip), C(rebalance), C(rebuilding), C(sweep) (V(none) where the release has
      none) and C(errors), a sentence for each part that could not be read.
  returned: want is node
  type: dict
nodes:
  description:
    - The nodes of the cluster in the order of the topology, each with C(id), C(name), C(address), C(port), C(side),
      C(weight), C(share) (part of the ring of which it has a copy), C(problem), C(error), C(state), C(rebalance) and
      C(rebuilding).
  returned: want is cluster
  type: list
  elements: dict
topology:
  description: C(digest), C(write_copies) and whether it is C(sided).
  returned: want is cluster and a node told it
  type: dict
matrix:
  description:
    - The latency matrix, a row for each node with C(id), C(name), C(age), C(age_colour), C(mean), C(colour), C(asked)
      and C(latency), a list of C(peer), C(name), C(seconds) and C(colour).
  returned: want is cluster
  type: list
  elements: dict
settled:
  description: Whether every gate is open, that is whether the next node could be restarted.
  returned: want is cluster
  type: bool
reasons:
  description: Why not, with C(id), C(node), C(peer), C(name) and C(text).
  returned: want is cluster
  type: list
  elements: dict
versions:
  description: Versions that answered nodes tell, with the nodes that tell them. More than one forbids a rebuild.
  returned: want is cluster
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.circonus.inside.plugins.module_utils import irondb_cluster
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError


def main():
    module = AnsibleModule(
        argument_spec=dict(
            irondb_cluster.SPEC,
            want=dict(type="str", choices=["node", "cluster"], default="cluster"),
        ),
        supports_check_mode=True,
    )
    params = module.params
    try:
        cluster = irondb_cluster.of_params(params)
        if params["want"] == "node":
            module.exit_json(changed=False, node=irondb_cluster.node_info(cluster))
        module.exit_json(changed=False, **irondb_cluster.info(cluster))
    except InsideError as exc:
        module.fail_json(msg=str(exc), **exc.details)


if __name__ == "__main__":
    main()
