#!/usr/bin/python
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: web_db_info
short_description: Read everything about the configuration database of a host
version_added: 0.1.0
description:
  - Reads the server, its files, its replication, its fence and its guard in one call. Changes nothing.
  - Does not fail when the server is down; it says so.
author:
  - circonus.inside contributors (@circonus-inside)
extends_documentation_fragment:
  - circonus.inside.web_db
options:
  long_transaction_s:
    description: Transactions that are older than this many seconds are listed.
    type: float
    default: 60.0
attributes:
  check_mode:
    support: full
    description: Only reads.
  diff_mode:
    support: none
    description: Returns no diff.
"""

EXAMPLES = r"""
- name: Read the database of this host
  circonus.inside.web_db_info:
  register: web_db
"""

RETURN = r"""
web_db:
  description: The facts. What does not apply or cannot be read is V(none).
  returned: always
  type: dict
  contains:
    running:
      description: A server process of the data directory runs.
      type: bool
    answers:
      description: It answered a query; otherwise C(error) says why not.
      type: bool
    error:
      description: What could not be read, and why.
      type: str
    data_dir:
      description: Data directory.
      type: str
    version:
      description: Version of the server, of its directory when it is down.
      type: str
    server_version_num:
      description: Version as a number, for example V(150004).
      type: int
    in_recovery:
      description: V(true) for a standby, V(false) for a primary, V(none) when the server does not answer.
      type: bool
    starts_as:
      description: What the directory would start as, one of V(primary), V(standby), V(nothing).
      type: str
    upstream:
      description: Host, port and application name that a standby is set to.
      type: dict
    timeline:
      description: Timeline.
      type: int
    system_identifier:
      description: Identity that all copies of one database share.
      type: str
    lsn:
      description: Positions C(current) (primary), C(receive) and C(replay) (standby).
      type: dict
    replay_paused:
      description: Whether replay is paused.
      type: bool
    last_commit_age_s:
      description: Seconds since the last replayed commit was made.
      type: float
    receiver:
      description: >-
        C(status), C(timeline), C(upstream), C(latest_end_lsn) and C(last_msg_age_s) of the WAL receiver of a standby.
      type: dict
    replicas:
      description: >-
        One entry for each attached standby with C(application_name), C(addr), C(state), C(sync_state), C(sent),
        C(write), C(flush), C(replay) and C(lag_bytes).
      type: list
      elements: dict
    armed:
      description: Names of armed candidates that are connected.
      type: list
      elements: str
    long_transactions:
      description: C(pid), C(user), C(database), C(application_name), C(state) and C(age_s) of old transactions.
      type: list
      elements: dict
    control:
      description: >-
        The control file, C(state), C(checkpoint_lsn), C(redo_lsn), C(timeline), C(checkpoint_time),
        C(min_recovery_lsn), C(min_recovery_timeline), C(system_identifier), C(control_version).
      type: dict
    size_bytes:
      description: Size of the databases, of the directory without WAL and logs when the server is down.
      type: int
    free_bytes:
      description: Free bytes beside the data directory.
      type: int
    fence:
      description: The durable fence of this host with C(run_id), C(token), C(candidate), C(reason), C(at).
      type: dict
    last_fence_row:
      description: Last row of the table that carries fences to the standbys.
      type: dict
    promotion:
      description: What was noted about the last promotion of this host.
      type: dict
    known_primary:
      description: >-
        The last position of the primary that the guard of a standby has heard, C(name), C(lsn), C(timeline), C(at).
      type: dict
    guard:
      description: >-
        C(installed), C(state) (V(absent), V(silent), V(stopped), V(standby), V(watching), V(isolated), V(conflict),
        V(demoted), V(trouble)), C(age_s), C(peers) (timelines), C(message).
      type: dict
    asides:
      description: Directories that were set aside, with C(path) and C(free_to_remove).
      type: list
      elements: dict
    possible_loss:
      description: >-
        What an unplanned failover to this standby could lose, C(known_bytes), C(silent_s), C(rate_bytes_s),
        C(estimate_bytes).
      type: dict
    clock:
      description: Time of the host, seconds since the epoch.
      type: float
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.circonus.inside.plugins.module_utils import web_db
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError


def main():
    module = AnsibleModule(
        argument_spec=dict(web_db.NODE_SPEC, long_transaction_s=dict(type="float", default=60.0)),
        supports_check_mode=True,
    )
    try:
        module.exit_json(changed=False, web_db=web_db.collect(web_db.node_params(module.params)))
    except InsideError as exc:
        module.fail_json(msg=str(exc), **exc.details)


if __name__ == "__main__":
    main()
