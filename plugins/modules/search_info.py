#!/usr/bin/python
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: search_info
short_description: Read the search cluster and its backlog
version_added: 0.1.0
description:
  - On a search host the nodes and the health of Elasticsearch; on a database host how many changes it has not seen yet.
  - Releases since 2017-10-26 have neither; then the tables are absent, which is no failure.
author:
  - circonus.inside contributors (@circonus-inside)
options:
  want:
    description: What this host can tell.
    type: str
    choices: [cluster, backlog]
    required: true
  expected_nodes:
    description: How many nodes the cluster should have. V(0) when unknown.
    type: int
    default: 0
  port:
    description: Port of Elasticsearch. No edition of the manual names it.
    type: int
    default: 9200
  bindir:
    description: Directory of the database programs.
    type: path
    default: /opt/pgsql/bin
  data_dir:
    description: Data directory of the database, found when not given.
    type: path
  database:
    description: Name of the database.
    type: str
    default: circonus
attributes:
  check_mode:
    support: full
    description: Reads only.
  diff_mode:
    support: none
    description: Changes nothing.
"""

EXAMPLES = r"""
- name: See whether the backlog falls
  circonus.inside.search_info:
    want: backlog
"""

RETURN = r"""
cluster:
  description: Name, C(status), C(nodes), C(unassigned) shards and C(error).
  returned: want is cluster
  type: dict
backlog:
  description: Rows by queue, V(none) where the release has no such table.
  returned: want is backlog
  type: dict
  sample: {grover_low_priority_queue: 0, grover_queue: 12}
findings:
  description: Sentences about what is not as it should be.
  returned: success
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.circonus.inside.plugins.module_utils import postgres, search
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError


def main():
    module = AnsibleModule(
        argument_spec=dict(
            want=dict(type="str", choices=["cluster", "backlog"], required=True),
            expected_nodes=dict(type="int", default=0),
            port=dict(type="int", default=search.PORT),
            bindir=dict(type="path", default="/opt/pgsql/bin"),
            data_dir=dict(type="path"),
            database=dict(type="str", default=search.DATABASE),
        ),
        supports_check_mode=True,
    )
    params = module.params
    if params["want"] == "cluster":
        health = search.ask_health(params["port"])
        findings = search.cluster_findings(health, params["expected_nodes"])
        module.exit_json(changed=False, cluster=health, findings=findings, procedure_warnings=findings)
    try:
        node = postgres.Node(bindir=params["bindir"], data_dir=params["data_dir"])
        session = search.connect(node, params["database"])
        try:
            counts = search.backlog(session)
        finally:
            session.close()
    except InsideError as exc:
        module.fail_json(msg=str(exc), **exc.details)
    module.exit_json(changed=False, backlog=counts, findings=[])


if __name__ == "__main__":
    main()
