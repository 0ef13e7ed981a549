#!/usr/bin/python
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: storage_condense
version_added: 0.1.0
short_description: Write the data set of a data_storage node anew, step by step
description:
  - A store writes into ever smaller gaps. Sending its ZFS data set into a new one, destroying the old one and renaming
    the new one puts the data together again (operation manual, "ZFS condensing").
  - Which step comes next is read from the data sets each time, so an interrupted condense goes on where it stopped. The
    copy runs by itself on the host and outlives the connection.
  - The old data set is destroyed only together with the proof that the copy is complete and nothing was written since.
    Data sets and snapshots that this module did not make are never destroyed; it refuses and names them.
  - The node has to be stopped before V(condensed) and V(aborted).
author:
  - circonus.inside contributors (@circonus-inside)
options:
  state:
    description:
      - V(look) only reads.
      - V(begun) refuses where the steps do not apply, and writes down on the host that a condense begins.
      - V(condensed) does all steps that are left, V(aborted) goes back as long as the old data set is there.
      - V(finished) writes down that nothing is on its way any more.
      - V(stopped) and V(started) stop and start the service with the commands of the platform, for OmniOS, where
        M(circonus.inside.service_units) does not work.
    type: str
    choices: [look, begun, condensed, aborted, finished, stopped, started]
    default: look
  data_dir:
    description: Where the data set is mounted.
    type: path
    default: /snowth/data
  units:
    description: Names that the unit of the node may have. The first that exists counts.
    type: list
    elements: str
    default: [circonus-snowth]
  capacity_percent:
    description: Percent of the pool that may be used before the copy begins.
    type: int
    default: 45
  run_id:
    description: The run that this belongs to. A copy that broke off in the same run is not begun again.
    type: str
    default: ''
  wait_s:
    description: Seconds after which a step that waits is reported; the next call waits on.
    type: float
    default: 20.0
  timeout:
    description: Seconds for V(stopped) and V(started).
    type: int
    default: 600
  directory:
    description: Where the host keeps what it wrote down and the progress of the copy.
    type: path
    default: /var/lib/circonus-inside/condense
attributes:
  check_mode:
    support: full
    description: Reads only and tells the next step.
  diff_mode:
    support: none
    description: Returns no diff.
"""

EXAMPLES = r"""
- name: See what would be done
  circonus.inside.storage_condense:

- name: Condense the data set of a node that is stopped
  circonus.inside.storage_condense:
    state: condensed
    run_id: "{{ circonus_begin.run.run_id }}"
"""

RETURN = r"""
facts:
  description: Data sets, pool, copy and record as C(module_utils/condense.py) describes them, V(none) without them.
  returned: O(state=look) or O(state=begun)
  type: dict
problem:
  description: Why the steps do not apply to this host, empty when they do.
  returned: O(state=look)
  type: str
in_progress:
  description: Whether a condense was left on its way here.
  returned: O(state=look)
  type: bool
left_open:
  description: Whether a condense is done here but for its end, with the node running.
  returned: O(state=look)
  type: bool
next:
  description: The next step, V(none) where none can be done.
  returned: O(state=look)
  type: str
node_ids:
  description: Uuids that were below O(data_dir) when the condense began that is on its way, V(none) without one.
  returned: O(state=look)
  type: list
  elements: str
age_s:
  description: Seconds since the data set was made.
  returned: O(state=look)
  type: float
platform:
  description: V(el7) or V(omnios).
  returned: O(state=look)
  type: str
steps:
  description: What was done, in order.
  returned: O(state=condensed) or O(state=aborted)
  type: list
  elements: str
  sample: ["Unmount tank/snowth/data", "Snapshot tank/snowth/data@condense"]
copy:
  description: C(bytes), C(total), C(percent), C(rate) in bytes a second and C(eta_s) of the copy, V(none) without one.
  returned: O(state=condensed)
  type: dict
done:
  description: Whether nothing is left to do.
  returned: O(state=condensed) or O(state=aborted)
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.circonus.inside.plugins.module_utils import condense_run
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError, Refused


def main():
    module = AnsibleModule(
        argument_spec=dict(
            state=dict(type="str", default="look", choices=[
                "look", "begun", "condensed", "aborted", "finished", "stopped", "started"]),
            data_dir=dict(type="path", default="/snowth/data"),
            units=dict(type="list", elements="str", default=["circonus-snowth"]),
            capacity_percent=dict(type="int", default=45),
            run_id=dict(type="str", default=""),
            wait_s=dict(type="float", default=20.0),
            timeout=dict(type="int", default=600),
            directory=dict(type="path", default=condense_run.DIRECTORY),
        ),
        supports_check_mode=True,
    )
    params = module.params
    host = condense_run.Host(params["data_dir"], params["units"], params["directory"])
    state = params["state"]
    try:
        if state == "look" or module.check_mode:
            module.exit_json(changed=state != "look", **condense_run.look(host, params["capacity_percent"]))
        if state == "begun":
            facts = host.begin(params["run_id"], params["capacity_percent"])
            module.exit_json(changed=True, facts=facts, msg="{0} will be condensed.".format(facts["name"]))
        if state == "finished":
            module.exit_json(changed=host.finish())
        if state in ("stopped", "started"):
            module.exit_json(changed=host.service("stop" if state == "stopped" else "start", params["timeout"]))
        answer = host.step(params["run_id"], params["wait_s"], params["capacity_percent"], state == "aborted")
        module.exit_json(**answer)
    except InsideError as exc:
        module.fail_json(msg=str(exc), refused=isinstance(exc, Refused), **exc.details)


if __name__ == "__main__":
    main()
