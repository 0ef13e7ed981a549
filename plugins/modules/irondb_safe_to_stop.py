#!/usr/bin/python
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: irondb_safe_to_stop
version_added: 0.1.0
short_description: Ask a data_storage cluster whether nodes may stop
description:
  - Answers from the gossip, latencies, journals and topology of the cluster whether everything keeps a live copy while
    the given nodes are stopped, and names the segments of the ring that would not.
  - Nothing is stopped. What cannot be read counts as not safe.
author:
  - circonus.inside contributors (@circonus-inside)
extends_documentation_fragment:
  - circonus.inside.irondb
options:
  nodes:
    description: Uuids of the nodes that would stop together.
    type: list
    elements: str
    required: true
  others:
    description:
      - With V(green) every node has to be green towards every other, as the manual demands before a restart.
      - With V(enough) a node that does not serve its copies now, the ones to be stopped included, counts as stopped
        already. That is what the repair of a sick node needs. A rebalance, a reconstitute, different topologies and a
        cluster with one copy refuse either way.
    type: str
    choices: [green, enough]
    default: green
  redo_dir:
    description:
      - Directory of the journals on this host, such as C(/snowth/redo). When given, O(nodes) has to be the one node of
        this host, and a journal with more than O(journal_limit) bytes for a peer refuses.
    type: path
  journal_limit:
    description: Bytes of a journal from which a peer counts as behind. Below that it may be one open segment.
    type: int
    default: 67108864
  refuse:
    description: Whether the task fails when it is not safe. Otherwise RV(safe) tells.
    type: bool
    default: true
attributes:
  check_mode:
    support: full
    description: Reads only.
  diff_mode:
    support: none
    description: Returns no diff.
"""

EXAMPLES = r"""
- name: May this node be stopped
  circonus.inside.irondb_safe_to_stop:
    hosts: ["{{ circonus_node.address }}"]
    nodes: [a0000000-0000-4000-8000-000000000001]
    redo_dir: /snowth/redo
"""

RETURN = r"""
safe:
  description: Whether the nodes may stop.
  returned: always
  type: bool
reasons:
  description: Why they may not, with C(id), C(node), C(peer), C(name) and C(text).
  returned: always
  type: list
  elements: dict
gate:
  description: Id of the first of the reasons, empty when it is safe.
  returned: always
  type: str
  sample: short
short:
  description:
    - The twenty largest segments of the ring that would have no live copy, with C(first) and C(last) position, their
      C(share) of the ring, C(owners) and C(live) owners.
  returned: when the cluster could be read
  type: list
  elements: dict
short_count:
  description: Number of such segments.
  returned: when the cluster could be read
  type: int
fewest:
  description: Live copies that the worst segment would keep.
  returned: when the cluster could be read
  type: int
down:
  description: Nodes that do not serve their copies already.
  returned: when the cluster could be read
  type: list
  elements: str
write_copies:
  description: Copies of everything that the cluster keeps.
  returned: when the cluster could be read
  type: int
digest:
  description: Digest of the topology in force.
  returned: when the cluster could be read
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.circonus.inside.plugins.module_utils import irondb_cluster, irondb_gate
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError


def main():
    module = AnsibleModule(
        argument_spec=dict(
            irondb_cluster.SPEC,
            nodes=dict(type="list", elements="str", required=True),
            others=dict(type="str", choices=["green", "enough"], default="green"),
            redo_dir=dict(type="path"),
            journal_limit=dict(type="int", default=irondb_gate.JOURNAL_BYTES),
            refuse=dict(type="bool", default=True),
        ),
        supports_check_mode=True,
    )
    params = module.params
    try:
        answer = irondb_cluster.ask_safe(irondb_cluster.of_params(params), params["nodes"], params["others"] == "green",
                                         params["redo_dir"], params["journal_limit"])
    except InsideError as exc:
        module.fail_json(msg=str(exc), **dict({"safe": False, "reasons": [], "gate": "unreadable"}, **exc.details))
    if params["refuse"] and not answer["safe"]:
        module.fail_json(msg=irondb_cluster.refusal(answer["reasons"]), **answer)
    text = "They may stop." if answer["safe"] else irondb_cluster.refusal(answer["reasons"])
    module.exit_json(changed=False, msg=text, **answer)


if __name__ == "__main__":
    main()
