#!/usr/bin/python
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: irondb_wait
version_added: 0.1.0
short_description: Wait until a data_storage cluster has settled
description:
  - Polls the nodes of a cluster until every one is green towards every other, in both directions, several times in a
    row.
  - Also wanted are the same topology everywhere, no rebalance, no reconstitute, and fresh gossip. Whatever cannot be
    read counts as not settled.
author:
  - circonus.inside contributors (@circonus-inside)
extends_documentation_fragment:
  - circonus.inside.irondb
options:
  node:
    description: The uuid of the node that was restarted. Without it any pair of nodes is looked at the same way.
    type: str
  polls:
    description: How many polls in a row have to be green.
    type: int
    default: 3
  spacing:
    description: Seconds between two polls.
    type: float
    default: 5.0
  minimum:
    description: Seconds to wait even when all is green; the manual wants about two minutes between disruptive actions.
    type: float
    default: 120.0
  timeout:
    description: Seconds after which it fails.
    type: float
    default: 900.0
attributes:
  check_mode:
    support: full
    description: Reads only, and waits.
  diff_mode:
    support: none
    description: Returns no diff.
"""

EXAMPLES = r"""
- name: Wait until the restarted node is level with all others
  circonus.inside.irondb_wait:
    hosts: [192.0.2.31, 192.0.2.32]
    node: a0000000-0000-4000-8000-000000000001
    timeout: 1800
"""

RETURN = r"""
settled:
  description: Whether the cluster has settled.
  returned: always
  type: bool
seconds:
  description: How long it took.
  returned: when the topology could be used
  type: float
polls:
  description: Number of polls.
  returned: when the topology could be used
  type: int
series:
  description:
    - The last 500 polls, each with C(seconds), C(green), C(worst) (C(node), C(peer), C(seconds)), C(reasons) (number by
      gate) and C(latency) (seconds by node and peer; only pairs of O(node) when that is given).
  returned: when the topology could be used
  type: list
  elements: dict
matrix:
  description: The latency matrix of the last poll, in the colours of the dashboard. See M(circonus.inside.irondb_info).
  returned: when the topology could be used
  type: list
  elements: dict
reasons:
  description: Why it has not settled, with C(id), C(node), C(peer), C(name) and C(text).
  returned: always
  type: list
  elements: dict
gate:
  description: Id of the first of the reasons.
  returned: when it has not settled in time
  type: str
  sample: lagging
progress:
  description: The last line of progress.
  returned: success
  type: str
  sample: "    45 s  db1 is 2 s behind db3  green 3 of 3"
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.circonus.inside.plugins.module_utils import irondb_cluster
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError


def main():
    module = AnsibleModule(
        argument_spec=dict(
            irondb_cluster.SPEC,
            node=dict(type="str"),
            polls=dict(type="int", default=3),
            spacing=dict(type="float", default=5.0),
            minimum=dict(type="float", default=120.0),
            timeout=dict(type="float", default=900.0),
        ),
        supports_check_mode=True,
    )
    params = module.params
    lines = []
    try:
        cluster = irondb_cluster.of_params(params)
        result = irondb_cluster.wait(cluster, params["polls"], params["spacing"], params["minimum"], params["timeout"],
                                     lines.append)
    except InsideError as exc:
        module.fail_json(msg=str(exc), **dict({"settled": False, "reasons": []}, **exc.details))
    module.exit_json(changed=False, msg="The cluster has settled after {0:g} s.".format(result["seconds"]),
                     progress="".join(lines[-1:]), **result)


if __name__ == "__main__":
    main()
