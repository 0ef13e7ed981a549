#!/usr/bin/python
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: web_db_follow
short_description: Make the configuration database of a host a standby of another one
version_added: 0.1.0
description:
  - A server that streams from the upstream already is left alone.
  - A server whose data are part of the upstream's history is pointed at it and started. This is the case for an old
    primary that was shut down cleanly in a planned switchover.
  - Any other directory may hold commits that nobody else has. It is set aside by renaming it, never deleted, and a base
    backup is put into its place.
  - A running primary is only touched when the upstream is on a newer timeline; then it is stopped at once.
author:
  - circonus.inside contributors (@circonus-inside)
extends_documentation_fragment:
  - circonus.inside.web_db
options:
  upstream:
    description: Address of the server to follow.
    type: str
    required: true
  upstream_name:
    description: Its name, for messages.
    type: str
  upstream_port:
    description: Its port. The value of O(port) when not given.
    type: int
  application_name:
    description: Name by which the upstream knows this standby. The short host name when not given.
    type: str
  run_id:
    description: The run of the procedure. Becomes part of the name of what is set aside.
    type: str
    required: true
  rebuild:
    description: Whether a base backup is taken when it is needed, always, or never.
    type: str
    choices: [auto, always, never]
    default: auto
  timeout:
    description: Seconds for stopping, for starting, and until it streams.
    type: float
    default: 120.0
  backup_timeout:
    description: Seconds for the base backup.
    type: float
    default: 86400.0
  reserve_bytes:
    description: Bytes that have to stay free after a base backup.
    type: int
    default: 268435456
  size_bytes:
    description: Size of the upstream's databases, when that is known; the local directory is measured anyway.
    type: int
  lock_path:
    description: Lock file of the procedure on this host.
    type: path
    default: /var/lib/circonus-inside/procedure.lock
  require_lock:
    description: Prove before the first change that O(run_id) holds the lock.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    description: Says which way would be taken and changes nothing.
  diff_mode:
    support: none
    description: Returns no diff.
"""

EXAMPLES = r"""
- name: Make the old primary a standby of the new one
  circonus.inside.web_db_follow:
    upstream: 192.0.2.12
    upstream_name: db2
    run_id: "{{ run_id }}"
"""

RETURN = r"""
method:
  description: What was done, V(none), V(direct) (settings and start) or V(basebackup).
  returned: success
  type: str
reason:
  description: Why that way.
  returned: success
  type: str
aside:
  description: Where the old data directory is now, V(none) when it was kept.
  returned: success
  type: str
bytes:
  description: Size of the base backup.
  returned: success
  type: int
needed_bytes:
  description: Bytes that the base backup was estimated to need.
  returned: when a base backup was considered
  type: int
free_bytes:
  description: Bytes that were free then.
  returned: when a base backup was considered
  type: int
upstream:
  description: Address of the server that is followed.
  returned: success
  type: str
seconds:
  description: How long it took.
  returned: success
  type: float
refused:
  description: Nothing was changed, as a precondition does not hold.
  returned: failure
  type: bool
"""

import socket

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.circonus.inside.plugins.module_utils import lock, web_db, web_db_follow
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError, Refused


def main():
    module = AnsibleModule(
        argument_spec=dict(
            web_db.NODE_SPEC,
            upstream=dict(type="str", required=True),
            upstream_name=dict(type="str"),
            upstream_port=dict(type="int"),
            application_name=dict(type="str"),
            run_id=dict(type="str", required=True),
            rebuild=dict(type="str", choices=["auto", "always", "never"], default="auto"),
            timeout=dict(type="float", default=120.0),
            backup_timeout=dict(type="float", default=86400.0),
            reserve_bytes=dict(type="int", default=268435456),
            size_bytes=dict(type="int"),
            lock_path=dict(type="path", default=lock.DEFAULT_PATH),
            require_lock=dict(type="bool", default=False),
        ),
        supports_check_mode=True,
    )
    params = module.params
    host = socket.gethostname().split(".")[0]
    request = {key: params[key] for key in (
        "upstream", "upstream_name", "upstream_port", "run_id", "rebuild", "timeout",
        "backup_timeout", "reserve_bytes", "size_bytes")}
    request.update(host=host, application_name=params["application_name"] or host)

    def lock_check():
        if params["require_lock"]:
            lock.check(params["lock_path"], params["run_id"])

    try:
        node = web_db.node_of(web_db.node_params(params))
        module.exit_json(**web_db_follow.Follow(node, request, lock_check, module.check_mode).run())
    except InsideError as exc:
        module.fail_json(msg=str(exc), refused=isinstance(exc, Refused), **exc.details)


if __name__ == "__main__":
    main()
