#!/usr/bin/python
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: procedure_lock
short_description: Take, keep and give back the lock of a platform
version_added: 0.1.0
description:
  - One procedure at a time works on a platform. The lock is a small file on the hosts of the platform, so that two
    controllers which know nothing of each other meet there and exactly one of them proceeds.
  - A lock has an owner, an expiry and a fencing token. The token grows with every acquisition and never shrinks, also
    not
    across releases, an expiry, or a removed lock file.
  - A refusal is one line that names the holder, its procedure, since when, until when, and what to do.
author:
  - circonus.inside contributors (@circonus-inside)
options:
  state:
    description:
      - V(acquired) takes the lock when nobody holds it, when its time is up, or when O(break_run_id) names its holder.
        Taking it again with the same O(run_id) prolongs it and keeps the token.
      - V(renewed) prolongs a lock that O(run_id) holds, and fails when it was lost.
      - V(released) gives it back. Releasing a lock of another run or no lock at all does nothing.
      - V(read) returns the record and changes nothing.
    type: str
    choices: [acquired, renewed, released, read]
    default: read
  path:
    description: The lock file. The directory is made when it is missing.
    type: path
    default: /var/lib/circonus-inside/procedure.lock
  run_id:
    description: Identity of the run. Required unless O(state=read).
    type: str
  procedure:
    description: Name of the procedure, for the message that others get.
    type: str
    default: ''
  owner:
    description: Who started it, for the message that others get.
    type: str
    default: ''
  controller:
    description: The machine it was started on.
    type: str
    default: ''
  pid:
    description: The process on that machine.
    type: int
    default: 0
  ttl:
    description: Seconds until the lock expires when it is not renewed.
    type: int
    default: 1800
  token:
    description: With O(state=renewed) or O(state=released), act only on the lock with this token.
    type: int
  break_run_id:
    description: Take the lock over from this run, which is known to be dead.
    type: str
attributes:
  check_mode:
    support: full
    description: Decides and answers, writes nothing.
  diff_mode:
    support: none
    description: Returns no diff.
"""

EXAMPLES = r"""
- name: Take the lock
  circonus.inside.procedure_lock:
    state: acquired
    run_id: 20240131T120000-4711
    procedure: datacenter_failover
    owner: alice
    controller: noc1
    ttl: 900

- name: Take over from a run whose controller has died
  circonus.inside.procedure_lock:
    state: acquired
    run_id: 20240131T121500-4712
    procedure: datacenter_failover
    owner: alice
    break_run_id: 20240131T120000-4711

- name: Give the lock back
  circonus.inside.procedure_lock:
    state: released
    run_id: 20240131T121500-4712
"""

RETURN = r"""
changed:
  description: Always false. The lock belongs to the run of a procedure; to take it and to give it back is no change.
  returned: always
  type: bool
action:
  description: What was done, one of acquired, reacquired, expired_taken, broken, renewed, released, none.
  returned: success
  type: str
  sample: acquired
held:
  description: Whether O(run_id) holds the lock now.
  returned: success
  type: bool
lock:
  description: The record as it is now, empty when there has never been one. Also returned with a refusal, then of the
    holder.
  returned: always
  type: dict
  sample:
    acquired: 1706702400.0
    controller: noc1
    expires: 1706703300.0
    owner: alice
    pid: 4711
    procedure: datacenter_failover
    run_id: 20240131T120000-4711
    state: held
    token: 7
token:
  description: The fencing token of that record, 0 when there has never been one.
  returned: success
  type: int
  sample: 7
previous:
  description: The record that was displaced by an expiry or by O(break_run_id), empty otherwise.
  returned: success
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.circonus.inside.plugins.module_utils import lock
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError, Refused


def main():
    module = AnsibleModule(
        argument_spec=dict(
            state=dict(type="str", choices=["acquired", "renewed", "released", "read"], default="read"),
            path=dict(type="path", default=lock.DEFAULT_PATH),
            run_id=dict(type="str"),
            procedure=dict(type="str", default=""),
            owner=dict(type="str", default=""),
            controller=dict(type="str", default=""),
            pid=dict(type="int", default=0),
            ttl=dict(type="int", default=1800),
            token=dict(type="int", no_log=False),
            break_run_id=dict(type="str"),
        ),
        required_if=[("state", state, ["run_id"]) for state in ("acquired", "renewed", "released")],
        supports_check_mode=True,
    )
    request = dict(module.params)
    path = request.pop("path")
    if request["ttl"] < 1:
        module.fail_json(
            msg="ttl must be 1 second or more, found {0}. Give the seconds until the lock expires.".format(
                request["ttl"]
            )
        )
    try:
        outcome = lock.apply(path, request, check_mode=module.check_mode)
        # The lock belongs to the run, as its journal does: to hold it is no change of the platform.
        outcome["changed"] = False
        module.exit_json(**outcome)
    except InsideError as exc:
        module.fail_json(msg=str(exc), refused=isinstance(exc, Refused), **exc.details)


if __name__ == "__main__":
    main()
