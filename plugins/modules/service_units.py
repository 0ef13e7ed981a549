#!/usr/bin/python
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: service_units
short_description: Start, stop, restart or check the units of a component
version_added: 0.1.0
description:
  - Works on those units of a component that exist on this host, in the order of its catalogue entry, and waits for
    each until it shows its signs of life (active, listening on its ports, its page answers, its log has the line that
    the manual names), or until it is down and its ports are free.
  - A restart stops everything in reverse order, proves that it is down, and starts it in order.
  - What does not come up is named together with its last log lines.
  - A component that the release or the host does not have is reported as absent and is never a failure.
author:
  - circonus.inside contributors (@circonus-inside)
options:
  service:
    description:
      - Catalogue entry of the component with C(name) and C(units). Each unit has an C(id), the C(candidates) for its
        name (the first one that exists on the host counts) or C(patterns) (all that match count), and may have C(ports)
        that must be listening, C(life) with further signs (C(endpoint), the id of one of C(endpoints); C(log) with
        C(file), C(pattern) and C(count); C(seconds)), C(logs), C(required), C(alternative_to) and C(enabled_only)
        (started only when it is enabled).
      - C(from) and C(until) of a unit or an endpoint, and C(releases) of the entry, say in which releases it exists.
    type: dict
  units:
    description: Instead of O(service), names of units or entries of the same form.
    type: list
    elements: raw
  verb:
    description: What to do. V(check) only looks and fails when something is not as O(expect) says.
    type: str
    choices: [check, start, stop, restart]
  state:
    description: The same as O(verb), in the words of other modules.
    type: str
    choices: [checked, started, stopped, restarted]
  only:
    description: Only the units with these ids. An empty list means all.
    type: list
    elements: str
  keep_stopped:
    description: Ids of units that are never started, for example in a passive datacenter.
    type: list
    elements: str
    default: []
  enabled:
    description: Whether the units start with the host. Left alone when not given.
    type: bool
  expect:
    description: What V(check) wants.
    type: str
    choices: [up, down, any]
    default: up
  timeout:
    description: Seconds for everything together.
    type: int
    default: 120
  log_lines:
    description: How many log lines to quote about a unit that does not come up.
    type: int
    default: 5
  release:
    description: Release on the platform, such as V(2019-11-04). Without it the host decides what exists.
    type: str
  host:
    description: Name of this host in site.json, put in the place of C(<host>) in the catalogue entry.
    type: str
  standby:
    description:
      - This host is in a passive datacenter. A component with C(passive=stopped) is never started there, and V(check)
        expects it to be down.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    description: Says what would be started and stopped.
  diff_mode:
    support: none
    description: Returns no diff.
"""

EXAMPLES = r"""
- name: Restart RabbitMQ and its port mapper
  circonus.inside.service_units:
    verb: restart
    service:
      name: mq
      units:
        - {id: epmd, candidates: [circonus-epmd], ports: [4369]}
        - {id: rabbitmq, candidates: [circonus-rabbitmq], ports: [5672]}

- name: Stop alerting and keep it stopped
  circonus.inside.service_units:
    state: stopped
    enabled: false
    units: [circonus-bert, circonus-fault-detection]
"""

RETURN = r"""
service:
  description: Name of the component.
  returned: success
  type: str
verb:
  description: What was done.
  returned: success
  type: str
actions:
  description: The single actions in order, in check mode those that would be done.
  returned: success
  type: list
  elements: str
  sample: [stop circonus-rabbitmq, stop circonus-epmd, start circonus-epmd, start circonus-rabbitmq]
units:
  description: Every unit of the component that this host has.
  returned: success
  type: list
  elements: dict
  sample:
    - active: active
      enabled: enabled
      id: epmd
      missing: ''
      pid: 312
      restarts: 0
      since_epoch: 1706702400.123
      sub: running
      unit: circonus-epmd
      up: true
started:
  description: Ids of the units among the actions that were started.
  returned: success
  type: list
  elements: str
stopped:
  description: Ids of the units among the actions that were stopped.
  returned: success
  type: list
  elements: str
absent:
  description: Ids of units that this host does not have.
  returned: success
  type: list
  elements: str
state:
  description: V(absent) when the release or the host does not have the component, else V(up), V(down) or V(mixed).
  returned: success
  type: str
msg:
  description: One sentence about the units.
  returned: success
  type: str
  sample: "mq: epmd, rabbitmq up; fq absent."
seconds:
  description: How long it took.
  returned: success
  type: float
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.circonus.inside.plugins.module_utils import service
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError, Refused

VERB_OF = {"checked": "check", "started": "start", "stopped": "stop", "restarted": "restart"}


def main():
    module = AnsibleModule(
        argument_spec=dict(
            service=dict(type="dict"),
            units=dict(type="list", elements="raw"),
            verb=dict(type="str", choices=["check", "start", "stop", "restart"]),
            state=dict(type="str", choices=["checked", "started", "stopped", "restarted"]),
            only=dict(type="list", elements="str"),
            keep_stopped=dict(type="list", elements="str", default=[]),
            enabled=dict(type="bool"),
            expect=dict(type="str", choices=["up", "down", "any"], default="up"),
            timeout=dict(type="int", default=120),
            log_lines=dict(type="int", default=5),
            release=dict(type="str"),
            host=dict(type="str"),
            standby=dict(type="bool", default=False),
        ),
        required_one_of=[("service", "units"), ("verb", "state")],
        mutually_exclusive=[("service", "units"), ("verb", "state")],
        supports_check_mode=True,
    )
    params = module.params
    entry = params["service"] if params["service"] is not None else service.as_entry(params["units"])
    try:
        result = service.operate(
            entry,
            params["verb"] or VERB_OF[params["state"]],
            only=params["only"],
            keep_stopped=params["keep_stopped"],
            timeout=params["timeout"],
            check_mode=module.check_mode,
            log_lines=params["log_lines"],
            expect=params["expect"],
            enabled=params["enabled"],
            release=params["release"],
            host=params["host"],
            standby=params["standby"],
        )
    except InsideError as exc:
        module.fail_json(msg=str(exc), refused=isinstance(exc, Refused), **exc.details)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
