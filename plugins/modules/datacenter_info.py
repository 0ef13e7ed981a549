#!/usr/bin/python
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: datacenter_info
short_description: Read everything that a procedure wants to know of one host at once
version_added: 0.1.0
description:
  - One call reads units, installed site.json, database, status page, CA directory, free space, addresses, lock,
    killswitch and
    clock of a host, side by side and within a deadline.
  - A part that does not answer in time or cannot be read is named in RV(missing); the module does not fail because of
    it.
  - Nothing of the answer is a secret. Of site.json it has a digest and the few values that name the active site.
author:
  - circonus.inside contributors (@circonus-inside)
options:
  roles:
    description:
      - Roles of this host. V(web_db) adds the facts of the database, V(ca) the CA directory, V(web_frontend) the
        status page.
    type: list
    elements: str
    default: []
  units:
    description:
      - Names of systemd units to look at, without C(.service). When not given, every unit of the host whose name starts
        with C(circonus-).
    type: list
    elements: str
  paths:
    description: Directories whose free space is wanted.
    type: list
    elements: path
    default: []
  client_address:
    description: Address that clients follow, with or without prefix length; RV(client_address) says whether it is here.
    type: str
  status_url:
    description: Status page of the local web frontend. Redirects are not followed, they could lead to the other site.
    type: str
    default: http://127.0.0.1/status
  status_https_url:
    description: The same page by https, when that shall be asked too. Both answers must agree.
    type: str
  status_host:
    description: Name to send in the C(Host) header.
    type: str
  status_ca_file:
    description:
      - Certificate of the private CA for O(status_https_url). The name in the certificate is not compared, because a
        frontend is asked by its own address.
    type: path
    default: /www/etc/ssl/ca.crt
  status_verify:
    description: Whether the certificate behind O(status_https_url) must be valid.
    type: bool
    default: true
  web_db:
    description: Options for the database facts, as for M(circonus.inside.web_db_info).
    type: dict
    default: {}
  site_path:
    description: The installed site.json.
    type: path
    default: /opt/circonus/var/chef-solo/data_bags/service_map/site.json
  ca_path:
    description: Home of the private CA.
    type: path
    default: /opt/circonus/CA
  lock_path:
    description: The lock of the platform.
    type: path
    default: /var/lib/circonus-inside/procedure.lock
  killswitch_path:
    description: The file that keeps Hooper from running.
    type: path
    default: /opt/circonus/var/chef-solo/killswitch
  deadline_s:
    description: Seconds after which the module answers with what it has.
    type: float
    default: 10.0
attributes:
  check_mode:
    support: full
    description: Reads only.
  diff_mode:
    support: none
    description: Returns no diff.
"""

EXAMPLES = r"""
- name: Read the hosts of both sites
  circonus.inside.datacenter_info:
    roles: "{{ circonus_node.roles }}"
    paths: [/wdb]
    client_address: 192.0.2.200
  register: circonus_probe
"""

RETURN = r"""
units:
  description: State of each unit by name.
  returned: success
  type: dict
  sample:
    circonus-rabbitmq:
      active: active
      enabled: enabled
      exists: true
      load: loaded
      pid: 812
      restarts: 0
      result: success
      since: Wed 2024-01-31 12:00:00 UTC
      since_epoch: 1706702400.123
      sub: running
site:
  description: Digest (canonical JSON) and the values that name the active site, of the installed site.json.
  returned: success
  type: dict
  sample:
    active_datacenter: true
    ca_primary: east-app1
    error: ''
    present: true
    secondary_cluster: [west-store1, west-store2, west-store3]
    sha256: 2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae
    web_db_connect_host: east-app1
    web_db_master: east-app1
status:
  description: V(ACTIVE), V(STANDBY) or V(unknown) as C(state), and the single answers.
  returned: success
  type: dict
  sample:
    answers: [{url: 'http://127.0.0.1/status', state: ACTIVE, http_status: 200, error: ''}]
    state: ACTIVE
web_db:
  description: Facts of the database as M(circonus.inside.web_db_info) returns them, empty without the role.
  returned: success
  type: dict
ca:
  description:
    - Whether the CA directory is there (C(present)) and has keys (C(initialised)), C(files), C(newest_mtime) (epoch),
      C(digest)
      of its content without key bytes, the state of the C(processor), and whether it is C(held), kept from starting by
      M(circonus.inside.ca_authority). Empty without the role.
  returned: success
  type: dict
space:
  description: By path C(free_bytes), C(total_bytes) and C(error).
  returned: success
  type: dict
addresses:
  description: Addresses of the host with C(interface), C(family), C(address), C(prefix), C(secondary); without
    loopback.
  returned: success
  type: list
  elements: dict
client_address:
  description: Whether O(client_address) is on this host, V(none) when that was not asked.
  returned: success
  type: bool
lock:
  description: Record of the lock of the platform with C(expired), empty when there has never been one.
  returned: success
  type: dict
killswitch:
  description: Whether Hooper is kept from running.
  returned: success
  type: bool
clock:
  description: Time of the host in epoch seconds.
  returned: success
  type: float
release:
  description: Release of the platform, from the package of the web frontend; V(none) where it is unknown.
  returned: success
  type: str
  sample: "2019-11-04"
boot_id:
  description: Identity of the running boot.
  returned: success
  type: str
hostname:
  description: Name of the host as it calls itself.
  returned: success
  type: str
missing:
  description: One sentence for each part that could not be read.
  returned: success
  type: dict
  sample: {web_db: no answer within 10 s}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.circonus.inside.plugins.module_utils import datacenter
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError, Refused


def main():
    module = AnsibleModule(argument_spec=datacenter.ARGUMENTS, supports_check_mode=True)
    try:
        module.exit_json(changed=False, **datacenter.collect(module.params))
    except InsideError as exc:
        module.fail_json(msg=str(exc), refused=isinstance(exc, Refused), **exc.details)


if __name__ == "__main__":
    main()
