#!/usr/bin/python
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: irondb_sweep
version_added: 0.1.0
short_description: Delete what is older than a date from one data_storage node
description:
  - Begins the delete sweep of one node, or follows one that runs already for the same data, until it has ended, and
    keeps in a record on the host what was swept. What was swept before is not swept again.
  - Refuses a date in the future, rollups that the node is not configured with, a sweep for other data that runs
    already, a node that keeps its numbers in NNTBS, and releases that have no sweep.
  - Other nodes are not touched. Every node of a cluster has to be swept, which is what the procedure
    C(data_storage_sweep) does. What was deleted comes back only by a rebuild from nodes that still have it.
  - Called as a task, progress is printed while it runs; an action plugin asks the module for a part of the time again
    and again.
author:
  - circonus.inside contributors (@circonus-inside)
options:
  state:
    description:
      - V(swept) sweeps. V(cancelled) cancels what runs and waits for its end; what was deleted stays deleted.
    type: str
    choices: [swept, cancelled]
    default: swept
  host:
    description: Address of the node.
    type: str
    default: 127.0.0.1
  port:
    description: HTTP port of the node.
    type: int
    default: 8112
  node:
    description: The uuid of the node. Nothing is done when another one answers.
    type: str
  name:
    description: Name of the node in messages, its address when not given.
    type: str
  before:
    description: Epoch seconds. Everything older is deleted.
    type: int
  types:
    description: Types of data to sweep, of V(nnt), V(text) and V(histogram).
    type: list
    elements: str
    default: [nnt]
  nnt_rollups:
    description: Periods in seconds of the numbers that are swept, all when empty.
    type: list
    elements: int
    default: []
  histogram_rollups:
    description: Periods in seconds of the histograms that are swept, all when empty.
    type: list
    elements: int
    default: []
  max_age:
    description: Seconds after which a sweep in the record does not count any more. It counts for ever when not given.
    type: float
  cancelled_within:
    description: Fail when a cancellation that is not older than so many seconds is in the record.
    type: float
  follow:
    description: Only follow the sweep that an earlier call began.
    type: bool
    default: false
  spacing:
    description: Seconds between two polls.
    type: float
    default: 5.0
  timeout:
    description:
      - Seconds for which the sweep is followed. With V(cancelled) the seconds that its end may take.
      - In a task it fails when the sweep has not ended by then; the sweep runs on.
    type: float
    default: 86400.0
  page_timeout:
    description: Seconds for all the pages of one look at the node.
    type: float
    default: 5.0
  record:
    description: File of the record on the host.
    type: path
    default: /var/lib/circonus-inside/data_storage_sweep.json
attributes:
  check_mode:
    support: full
    description: Reads only, and says in RV(action) what would be done.
  diff_mode:
    support: none
    description: Returns no diff.
"""

EXAMPLES = r"""
- name: Delete the one-minute numbers of before 2019 from this node
  circonus.inside.irondb_sweep:
    node: a0000000-0000-4000-8000-000000000001
    before: 1546300800
    nnt_rollups: [60]

- name: Cancel the sweep of this node
  circonus.inside.irondb_sweep:
    state: cancelled
"""

RETURN = r"""
action:
  description:
    - V(start) when it was begun, V(follow) when one was followed that ran already, V(done) when the record has it.
    - V(cancel) or V(none) with O(state=cancelled).
  returned: success
  type: str
  sample: start
finished:
  description: Whether nothing is left to do on this node.
  returned: success
  type: bool
status:
  description:
    - What the node tells, for each type with C(running), C(cancelling), C(timestamp), C(current) and C(rollups).
    - V(none) with O(state=cancelled) where the release has no sweep.
  returned: success
  type: dict
types:
  description: Periods in seconds that the node is configured with, for each type.
  returned: when one was begun, or could be
  type: dict
ended:
  description: When it had ended, epoch seconds of the node's clock.
  returned: when it has
  type: float
seconds:
  description: How long it took, or has taken so far.
  returned: state is swept
  type: float
progress:
  description: The last line of progress.
  returned: state is swept
  type: str
  sample: "    35 s  db1  nnt at c0000000-0000-4000-8000-000000000001, text waits  41.2 % used"
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.circonus.inside.plugins.module_utils import irondb, irondb_sweep
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput, InsideError, Refused


def main():
    module = AnsibleModule(
        argument_spec=dict(
            state=dict(type="str", choices=["swept", "cancelled"], default="swept"),
            host=dict(type="str", default="127.0.0.1"),
            port=dict(type="int", default=irondb.PORT),
            node=dict(type="str"),
            name=dict(type="str"),
            before=dict(type="int"),
            types=dict(type="list", elements="str", default=["nnt"]),
            nnt_rollups=dict(type="list", elements="int", default=[]),
            histogram_rollups=dict(type="list", elements="int", default=[]),
            max_age=dict(type="float"),
            cancelled_within=dict(type="float"),
            follow=dict(type="bool", default=False),
            spacing=dict(type="float", default=5.0),
            timeout=dict(type="float", default=86400.0),
            page_timeout=dict(type="float", default=5.0),
            record=dict(type="path", default=irondb_sweep.PATH),
        ),
        required_if=[("state", "swept", ["node", "before"])],
        supports_check_mode=True,
    )
    params = module.params
    node = irondb_sweep.Node(params["host"], params["port"], params["node"], params["name"],
                             irondb_sweep.Record(params["record"]), params["page_timeout"])
    try:
        if params["state"] == "cancelled":
            module.exit_json(**node.cancel(module.check_mode, params["spacing"], params["timeout"]))
        wanted = irondb_sweep.order(params["before"], params["types"], params["nnt_rollups"],
                                    params["histogram_rollups"])
        module.exit_json(**node.sweep(wanted, module.check_mode, params["follow"], params["max_age"],
                                      params["cancelled_within"], params["spacing"], params["timeout"]))
    except InsideError as exc:
        module.fail_json(msg=str(exc), refused=isinstance(exc, (Refused, BadInput)), **exc.details)


if __name__ == "__main__":
    main()
