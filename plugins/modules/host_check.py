#!/usr/bin/python
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: host_check
short_description: Look at everything that the roles of one host consist of
version_added: 0.1.0
description:
  - One call reads units, watchdog pairs, listening ports and who owns them, pages, logs, PKI files, cron jobs,
    versions, free space, clock, database, message queue, connections to brokers, status page and the installed
    site.json of a host.
  - Everything is read side by side and within O(deadline_s). What hangs or cannot be read is told in its item or in
    RV(missing), the rest is complete; the module does not fail because of it.
  - A verdict (C(ok), C(up)) is V(none) where it cannot be told.
  - Nothing of the answer is a secret. Of a private key only whether it is there, its mode, owner and size are told.
author:
  - circonus.inside contributors (@circonus-inside)
options:
  entries:
    description:
      - Catalogue entries of the roles of this host, with the name of the host filled in and without what its release
        does not have. Keys that an entry does not have are not looked at.
    type: list
    elements: dict
    required: true
  expect_stopped:
    description: Names of roles that are kept stopped on this host, as in a passive datacenter.
    type: list
    elements: str
    default: []
  paths:
    description: Further directories whose free space is wanted, beside C(space) of the entries.
    type: list
    elements: path
    default: []
  reference_epoch:
    description: Time of the controller when it asked, to tell how far the clock of the host is off.
    type: float
  clock_offset_s:
    description: Shifts what the host says about its clock, to test what happens when it is wrong.
    type: float
    default: 0.0
  thresholds:
    description:
      - Limits by name. C(watch_s) seconds between the two looks at processes and logs (0.1), C(recent_s) seconds that
        count as recent (600), C(restarts) restarts of a unit that make a loop (3), C(endpoint_s) seconds for one page
        (5), C(log_bytes) bytes read from the end of a log (65536), C(log_lines) lines quoted of it (5).
      - Other names are ignored.
    type: dict
    default: {}
  web_db:
    description: Options for the database facts, as for M(circonus.inside.web_db_info).
    type: dict
    default: {}
  mq:
    description:
      - Options for the message queue, C(management_port) (55672), C(command) (path of rabbitmqctl, by default as in the
        catalogue) and C(epmd_port) (4369).
      - The management page is asked with the documented credentials. Where these do not work the command is run, but
        not while nothing listens on C(epmd_port), because it would start the port mapper.
    type: dict
    default: {}
  status_url:
    description: Status page of the local web frontend, asked where the role V(web_frontend) is.
    type: str
    default: http://127.0.0.1/status
  status_https_url:
    description: The same page by https, when that shall be asked too. Both answers must agree.
    type: str
  status_host:
    description: Name to send in the C(Host) header of the status page.
    type: str
  status_ca_file:
    description: Certificate of the private CA for O(status_https_url).
    type: path
    default: /www/etc/ssl/ca.crt
  status_verify:
    description: Whether the certificate behind O(status_https_url) must be valid.
    type: bool
    default: true
  site_path:
    description: The installed site.json.
    type: path
    default: /opt/circonus/var/chef-solo/data_bags/service_map/site.json
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
seealso:
  - module: circonus.inside.datacenter_info
  - module: circonus.inside.service_units
  - module: circonus.inside.web_db_info
"""

EXAMPLES = r"""
- name: Look at a host of two roles
  circonus.inside.host_check:
    entries:
      - name: mq
        units:
          - {id: epmd, candidates: [circonus-epmd], ports: [4369]}
          - {id: rabbitmq, candidates: [circonus-rabbitmq], ports: [5672], life: {endpoint: management}}
        endpoints:
          - {id: management, port: 55672, path: /, status: [200, 401]}
        space: [/opt/circonus]
      - name: stratcon
        units:
          - {id: stratcon, candidates: [circonus-stratcon], watchdog: true, process: stratcond}
    reference_epoch: "{{ now(utc=true).timestamp() }}"
    deadline_s: 5
  register: host_state
"""

RETURN = r"""
host:
  description: Name of the host as it calls itself.
  returned: success
  type: str
boot_id:
  description: Identity of the running boot.
  returned: success
  type: str
clock:
  description: >-
    Time of the host (C(epoch)) and how many seconds it is ahead of O(reference_epoch) (C(offset_s), V(none) without
    one). The way of the question to the host is part of the offset. C(age_s) is how long before the answer the clock
    was read.
  returned: success
  type: dict
  sample: {epoch: 1706702400.123, offset_s: 0.312, age_s: 0.41}
release:
  description: >-
    Release of the platform that is installed, from the version of the package circonus-web-service; V(none) when that
    is not here or its build belongs to no known release.
  returned: success
  type: str
  sample: '2019-11-04'
roles:
  description: What was found of each role, by name.
  returned: success
  type: dict
  sample:
    mq:
      units:
        - {id: epmd, unit: circonus-epmd, present: true, active: active, sub: running, enabled: enabled, pid: 312,
           restarts: 0, since_epoch: 1706702400.123, age_s: 86400.5, up: true, missing: '',
           expected: up, loop: false, loop_detail: ''}
      processes: []
      ports:
        - {port: 4369, proto: tcp, listening: true, owner: epmd, owner_pid: 312, owner_unit: circonus-epmd,
           expected_unit: circonus-epmd, bound: any, bind_ok: true, ok: true, detail: ''}
      endpoints:
        - {id: management, url: 'http://127.0.0.1:55672/', status: 200, seconds: 0.012, error: '', missing_sections: [],
           asked: true, ok: true}
      logs:
        - {path: /var/log/circonus/rabbitmq/rabbit.log, listed: /var/log/circonus/rabbitmq, present: true, size: 8123,
           mtime: 1706702399.5, age_s: 0.6, grown_bytes: 0, errors: [], error: ''}
      pki: []
      cron: []
      versions: {rabbitmq-server: 3.6.10}
  contains:
    units:
      description: >-
        State of each unit. C(present) and C(up) are V(none) when systemd did not answer, C(missing) says what it lacks
        to be up (active, its ports, the page that is its sign of life). C(expected) is V(up), V(down) (the role is kept
        stopped) or V(any) (not required, switched off, or its alternative runs). C(loop) tells a unit that is restarted
        over and over; C(restarts) stays 0 with a systemd before 235, which does not count.
      type: list
      elements: dict
    processes:
      description: >-
        Watchdog pairs and processes without a unit. C(restarts) counts the ends of a child that can be seen now;
        C(ok) is false for a parent alone, a child started again within C(recent_s) or gone between two looks.
      type: list
      elements: dict
    ports:
      description: >-
        Ports of the role. C(ok) is false when nobody or somebody else listens (not for a port that is
        C(optional)), V(none) when the owner cannot be told.
        C(bound) is V(any), V(local) or an address, C(bind_ok) whether that is as the catalogue says.
      type: list
      elements: dict
    endpoints:
      description: >-
        Pages of the role. C(asked) is false for a page of what is kept stopped or not in use, where nothing listens.
      type: list
      elements: dict
    logs:
      description: >-
        Log files. C(listed) is what the catalogue says, C(path) the file that was read. C(grown_bytes) is between two
        looks and negative when the file was cut, C(errors) are the last lines that match C(log_errors).
      type: list
      elements: dict
    pki:
      description: >-
        Files of the PKI with C(kind), C(path), C(present), C(mode), C(owner), C(group), C(size), C(not_after_epoch)
        (the earliest end of a certificate, the next update of a revocation list) and C(error).
      type: list
      elements: dict
    cron:
      description: >-
        Cron jobs with C(id), C(script), C(present) (in a crontab), C(user) and C(schedule) found there, C(file),
        C(script_present), C(expected_user), C(ok) and C(error).
      type: list
      elements: dict
    versions:
      description: Versions of the packages that the role names or that own its binaries, by name.
      type: dict
space:
  description: >-
    Room of file systems with C(path), C(mount), C(free_bytes), C(total_bytes), C(free_inodes), C(total_inodes) and
    C(error). Bytes and inodes are V(none) after an error.
  returned: success
  type: list
  elements: dict
  sample:
    - {path: /wdb, mount: /wdb, free_bytes: 104857600, total_bytes: 209715200, free_inodes: 6500, total_inodes: 6553,
       error: ''}
web_db:
  description: Facts of the database as M(circonus.inside.web_db_info) returns them, empty without the role.
  returned: success
  type: dict
mq:
  description: >-
    State of the RabbitMQ cluster as this node sees it, C(cluster_name), C(nodes), C(running_nodes), C(partitions)
    (nodes that a node cannot see, by node), C(alarms) and C(default_credentials), whether other hosts get in with
    guest/guest (V(none) when that was not told). Empty without the role.
  returned: success
  type: dict
  sample:
    alarms: []
    cluster_name: rabbit@mq1
    default_credentials: false
    nodes: [rabbit@mq1, rabbit@mq2]
    partitions: {}
    running_nodes: [rabbit@mq1, rabbit@mq2]
stratcon:
  description: >-
    Connections of stratcon to its brokers as C(feeds), two to each broker. C(connected) alone is no health, C(silent_s)
    tells for how long nothing came; C(last_connect_epoch) is V(none) for never. Empty without the role or an answer.
  returned: success
  type: dict
  sample:
    feeds:
      - {remote: '192.0.2.41:43191', cn: broker1, type: durable/storage, connected: true,
         last_connect_epoch: 1706702400.123, silent_s: 2.3}
status:
  description: V(ACTIVE), V(STANDBY) or V(unknown) as C(state), and the single C(answers).
  returned: success
  type: dict
  sample:
    answers: [{url: 'http://127.0.0.1/status', state: ACTIVE, http_status: 200, error: ''}]
    state: ACTIVE
site:
  description: Values of the installed site.json as M(circonus.inside.datacenter_info) returns them.
  returned: success
  type: dict
missing:
  description: One sentence for each part that could not be read.
  returned: success
  type: dict
  sample: {mq: no answer within 9.7 s}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.circonus.inside.plugins.module_utils import host_check
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError, Refused


def main():
    module = AnsibleModule(argument_spec=host_check.ARGUMENTS, supports_check_mode=True)
    try:
        module.exit_json(changed=False, **host_check.collect(module.params))
    except InsideError as exc:
        module.fail_json(msg=str(exc), refused=isinstance(exc, Refused), **exc.details)


if __name__ == "__main__":
    main()
