#!/usr/bin/python
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: mq_info
short_description: Read the state of the RabbitMQ cluster
version_added: 0.1.0
description:
  - Members, running nodes, partitions and alarms as a node of the cluster sees them, and whether the management page
    lets the documented default credentials in.
  - With O(expect=whole) it waits for a whole cluster, or fails. Whole means that every member runs, nobody is
    partitioned and there are as many nodes as there should be.
author:
  - circonus.inside contributors (@circonus-inside)
options:
  expect:
    description: V(any) only looks. V(whole) fails when the cluster is not whole.
    type: str
    choices: [any, whole]
    default: any
  expected_nodes:
    description: How many nodes there should be. V(0) when unknown.
    type: int
    default: 0
  timeout:
    description: Seconds to wait for a whole cluster. V(0) looks once.
    type: int
    default: 0
  program:
    description: The program.
    type: path
    default: /opt/rabbitmq/sbin/rabbitmqctl
attributes:
  check_mode:
    support: full
    description: Reads only.
  diff_mode:
    support: none
    description: Changes nothing.
"""

EXAMPLES = r"""
- name: Wait until the restarted node is back
  circonus.inside.mq_info:
    expect: whole
    expected_nodes: 2
    timeout: 180
"""

RETURN = r"""
whole:
  description: Whether every member runs and sees the others.
  returned: always
  type: bool
problem:
  description: What is wrong, empty when nothing is.
  returned: always
  type: str
nodes:
  description: Members of the cluster.
  returned: always
  type: list
  elements: str
running_nodes:
  description: Members that run.
  returned: always
  type: list
  elements: str
  sample: [rabbit@app1, rabbit@app2]
partitions:
  description: Nodes that do not see others, with those.
  returned: always
  type: dict
alarms:
  description: Alarms about memory or disk.
  returned: always
  type: list
  elements: str
default_login:
  description: Whether guest/guest is let in, V(none) when the page did not answer or with O(timeout).
  returned: always
  type: bool
cluster_name:
  description: Name of the cluster.
  returned: always
  type: str
error:
  description: Why the cluster could not be read, empty when it could.
  returned: always
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.circonus.inside.plugins.module_utils import rabbitmq
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError, Refused


def main():
    module = AnsibleModule(
        argument_spec=dict(
            expect=dict(type="str", choices=["any", "whole"], default="any"),
            expected_nodes=dict(type="int", default=0),
            timeout=dict(type="int", default=0),
            program=dict(type="path", default=rabbitmq.PROGRAM),
        ),
        supports_check_mode=True,
    )
    params = module.params
    try:
        facts = rabbitmq.look(
            params["expect"],
            params["expected_nodes"],
            params["timeout"],
            reader=lambda: rabbitmq.read(params["program"]),
        )
    except InsideError as exc:
        module.fail_json(msg=str(exc), refused=isinstance(exc, Refused), **exc.details)
    module.exit_json(changed=False, **facts)


if __name__ == "__main__":
    main()
