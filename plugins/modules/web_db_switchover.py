#!/usr/bin/python
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: web_db_switchover
short_description: Change the primary of the configuration database without losing a commit
version_added: 0.1.0
description:
  - Runs as one task on two hosts at the same time, as O(role=candidate) on the standby that takes over and as
    O(role=primary) on the old primary.
  - The candidate arms itself and waits. The old primary fences itself, which the candidate learns through the
    replication, and shuts down cleanly. The candidate promotes itself when all of this holds. The fence for it has been
    replayed, nothing sends WAL any more, what it has replayed ends with the shutdown checkpoint of that fence, and a
    connection to the old primary is refused (a timeout proves nothing).
  - When a proof does not arrive in time nothing is promoted, and the message says which one it was.
  - Running the same task again goes on from whatever state it finds.
author:
  - circonus.inside contributors (@circonus-inside)
extends_documentation_fragment:
  - circonus.inside.web_db
options:
  role:
    description:
      - What this host does.
      - With V(abort) the old primary lifts a fence that nobody has followed, and starts again.
    type: str
    required: true
    choices: [candidate, primary, abort]
  run_id:
    description: The run of the procedure, as the lock knows it.
    type: str
    required: true
  token:
    description: Fencing token, larger for each later run. The one that the lock gives.
    type: int
    required: true
  candidate:
    description: Name of the host that takes over.
    type: str
    required: true
  candidate_address:
    description: Its address.
    type: str
    required: true
  primary:
    description: Name of the old primary.
    type: str
    required: true
  primary_address:
    description: Its address.
    type: str
    required: true
  max_lag_bytes:
    description: The candidate must not replay further behind than this.
    type: int
    default: 16777216
  arm_timeout:
    description: Seconds in which both hosts have to meet.
    type: float
    default: 60.0
  timeout:
    description: Seconds for the shutdown, and again for the promotion.
    type: float
    default: 60.0
  unplanned:
    description:
      - The candidate promotes without proof, unless the old primary still answers. Deciding that this is allowed is up
        to the caller. The old primary, when this runs there, is fenced and stopped without a candidate.
    type: bool
    default: false
  client_address:
    description:
      - The address that clients follow, removed from the old primary when its server is down, added to the
        candidate.
    type: dict
    suboptions:
      address:
        description: The address, with or without a prefix length.
        type: str
        required: true
      interface:
        description: Interface on the candidate, found by the network when not given.
        type: str
  lock_path:
    description: Lock file of the procedure on this host.
    type: path
    default: /var/lib/circonus-inside/procedure.lock
  require_lock:
    description: Prove right before what cannot be undone that O(run_id) holds the lock.
    type: bool
    default: true
  require_guard:
    description: Refuse to fence a primary whose unit the guard does not check, as it could start again.
    type: bool
    default: true
attributes:
  check_mode:
    support: full
    description: Checks what can be checked and changes nothing.
  diff_mode:
    support: none
    description: Returns no diff.
"""

EXAMPLES = r"""
- name: Move the primary from db1 to db2
  circonus.inside.web_db_switchover:
    role: "{{ 'candidate' if inventory_hostname == 'db2' else 'primary' }}"
    run_id: "{{ run_id }}"
    token: "{{ lock.token }}"
    candidate: db2
    candidate_address: 192.0.2.12
    primary: db1
    primary_address: 192.0.2.11
    client_address:
      address: 192.0.2.200/24
"""

RETURN = r"""
state:
  description: What the old primary is now, one of V(fenced), V(standby), V(primary), V(stopped).
  returned: on the old primary
  type: str
promoted:
  description: Whether this run promoted the candidate.
  returned: on the candidate
  type: bool
already:
  description: Whether the candidate was the primary before.
  returned: on the candidate
  type: bool
timeline:
  description: The new timeline.
  returned: on the candidate
  type: int
promote_lsn:
  description: Position at which the candidate left the old timeline.
  returned: on the candidate
  type: str
  sample: 0/50000D8
shutdown_checkpoint_lsn:
  description: The shutdown checkpoint of the old primary.
  returned: planned
  type: str
  sample: 0/5000060
write_gap_ms:
  description: >-
    Milliseconds from the last commit of the old primary to the first acknowledged write of the new one, by the
    candidate's clock. See C(docs/web_db.md) for its error.
  returned: on the candidate
  type: float
write_gap_basis:
  description: >-
    V(armed) when the old primary's clock was measured while armed, V(clocks) when both clocks are taken as they are.
  returned: on the candidate
  type: str
rpo_bytes:
  description: Lost bytes, V(0) when proven, V(none) when unknown.
  returned: on the candidate
  type: int
possible_loss:
  description: See M(circonus.inside.web_db_info).
  returned: unplanned
  type: dict
clean:
  description: Whether the old primary ended with a shutdown checkpoint.
  returned: on the old primary
  type: bool
address_added:
  description: Whether the client address was added; V(none) without one.
  returned: on the candidate
  type: bool
address_removed:
  description: Whether the client address was removed; V(none) without one.
  returned: on the old primary
  type: bool
missing:
  description: The proof that did not arrive in time.
  returned: when a deadline passed
  type: str
refused:
  description: Nothing was changed, as a precondition does not hold.
  returned: failure
  type: bool
timings:
  description: Seconds after the start of the module at which each step was done.
  returned: success
  type: dict
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.circonus.inside.plugins.module_utils import address, lock, web_db, web_db_switchover
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError, Refused


def main():
    module = AnsibleModule(
        argument_spec=dict(
            web_db.NODE_SPEC,
            role=dict(type="str", required=True, choices=["candidate", "primary", "abort"]),
            run_id=dict(type="str", required=True),
            token=dict(type="int", required=True, no_log=False),
            candidate=dict(type="str", required=True),
            candidate_address=dict(type="str", required=True),
            primary=dict(type="str", required=True),
            primary_address=dict(type="str", required=True),
            max_lag_bytes=dict(type="int", default=16777216),
            arm_timeout=dict(type="float", default=60.0),
            timeout=dict(type="float", default=60.0),
            unplanned=dict(type="bool", default=False),
            client_address=dict(type="dict", options=dict(
                address=dict(type="str", required=True), interface=dict(type="str"))),
            lock_path=dict(type="path", default=lock.DEFAULT_PATH),
            require_lock=dict(type="bool", default=True),
            require_guard=dict(type="bool", default=True),
        ),
        supports_check_mode=True,
    )
    params = module.params
    request = {key: params[key] for key in (
        "run_id", "token", "candidate", "candidate_address", "primary", "primary_address", "max_lag_bytes",
        "arm_timeout", "timeout", "unplanned", "require_guard")}
    request["host"] = params["candidate" if params["role"] == "candidate" else "primary"]
    client = params["client_address"] or {}
    request.update(client_address=client.get("address"), client_interface=client.get("interface"))

    def lock_check():
        if params["require_lock"]:
            lock.check(params["lock_path"], params["run_id"])

    started = time.time()
    try:
        node = web_db.node_of(web_db.node_params(params))
        kind = web_db_switchover.Candidate if params["role"] == "candidate" else web_db_switchover.Primary
        side = kind(node, request, lock_check, address, module.check_mode)
        result = side.abort() if params["role"] == "abort" else side.run()
        module.exit_json(seconds=round(time.time() - started, 2), **result)
    except InsideError as exc:
        module.fail_json(msg=str(exc), refused=isinstance(exc, Refused), **exc.details)


if __name__ == "__main__":
    main()
