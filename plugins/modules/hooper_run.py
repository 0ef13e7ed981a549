#!/usr/bin/python
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: hooper_run
short_description: Run Hooper on a host and understand how it ended
version_added: 0.1.0
description:
  - Runs the vendor's configuration system, handles every documented exit code, and sorts the summary by level.
  - Exit code 90 (a newer Hooper was installed) runs it again, 93 (no name) self-configures once and runs it again. 91,
    92,
    94, 95, 99 and every other code fail with one line that says what was found and what to do.
  - A C(FATAL) entry always fails. A C(NOTICE) fails unless O(allow_notice). A C(WARNING) does not fail, RV(again) says
    that
    Hooper wants another run once other hosts are up.
  - When somebody else's run is under way, the module waits for it first.
  - Only excerpts of the output are returned, without file differences and with every secret of the installed site.json
    hidden.
author:
  - circonus.inside contributors (@circonus-inside)
options:
  mode:
    description:
      - V(maintenance) leaves all packages as they are. V(full) updates packages, that of Hooper itself first.
      - Hooper before release 2019-08-26 updated two packages in maintenance mode too, and until 2021-07-12 those for
        crash
        reports.
    type: str
    choices: [maintenance, full]
    default: maintenance
  nodename:
    description: Short name of the host as in machinfo. Without it Hooper uses the name that self-configure has stored.
    type: str
  self_configure:
    description:
      - Find out name and roles of the host anew before the run. Needed when the roles of the host changed or a notice
        says so.
        In check mode site.json is only checked.
    type: bool
    default: false
  auto_self_configure:
    description: Do so by itself, once, when Hooper does not know its host.
    type: bool
    default: true
  config_check:
    description: Only let Hooper check site.json, and run nothing.
    type: bool
    default: false
  update_retries:
    description: How often to run again after Hooper has updated itself.
    type: int
    default: 2
  allow_notice:
    description: Accept notices, and exit code 94 when nothing worse than notices caused it.
    type: bool
    default: false
  allow_killswitch:
    description: Skip a host with a killswitch instead of failing.
    type: bool
    default: false
  debug:
    description: More detail in Hooper's log.
    type: bool
    default: false
  timeout:
    description: Seconds for everything together. A run that takes longer is stopped and the module fails.
    type: int
    default: 3600
  command:
    description: The program.
    type: path
    default: /opt/circonus/bin/run-hooper
  site_path:
    description: The installed site.json, whose secrets are hidden in every answer.
    type: path
    default: /opt/circonus/var/chef-solo/data_bags/service_map/site.json
  killswitch_path:
    description: Named in the message about a killswitch.
    type: path
    default: /opt/circonus/var/chef-solo/killswitch
  log_path:
    description: Named in failure messages.
    type: path
    default: /var/log/chef/circonus-hooper.log
attributes:
  check_mode:
    support: full
    description: Runs Hooper with its no-op option, which changes nothing.
  diff_mode:
    support: none
    description: Returns no diff, Hooper's own would show secrets.
"""

EXAMPLES = r"""
- name: Correct drift, leave packages alone
  circonus.inside.hooper_run:

- name: Update this host and accept what an operator has to do later
  circonus.inside.hooper_run:
    mode: full
    allow_notice: true

- name: Check the site.json of this host
  circonus.inside.hooper_run:
    config_check: true
"""

RETURN = r"""
rc:
  description: Exit code of the last run, V(none) when it had to be stopped.
  returned: always
  type: int
  sample: 0
summary:
  description: Entries of the summary by level. A failure has it as well.
  returned: always
  type: dict
  sample:
    FATAL: []
    INFO: []
    NOTICE: []
    WARNING: [mq is not up yet on east-app2]
messages:
  description: Messages of severity WARN and higher of the run's own log, for example about deprecated attributes.
  returned: always
  type: list
  elements: str
again:
  description: Whether a warning asks for another run once other hosts are up.
  returned: always
  type: bool
skipped:
  description: Whether nothing was done because of a killswitch, or in check mode because the host has no name yet.
  returned: always
  type: bool
reason:
  description: Why it was skipped, or the accepted notices.
  returned: always
  type: str
runs:
  description: Every run with its C(arguments), C(rc) and C(seconds).
  returned: always
  type: list
  elements: dict
  sample: [{arguments: ['-m'], rc: 0, seconds: 12.4}]
updated:
  description: How many resources the last run changed, V(none) when it did not say; then C(changed) is true.
  returned: always
  type: int
log_tail:
  description: Last lines of the output, without file differences and secrets.
  returned: always
  type: list
  elements: str
seconds:
  description: How long everything took.
  returned: always
  type: float
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.circonus.inside.plugins.module_utils import hooper, site_file
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError


def main():
    module = AnsibleModule(
        argument_spec=dict(
            mode=dict(type="str", choices=["maintenance", "full"], default="maintenance"),
            nodename=dict(type="str"),
            self_configure=dict(type="bool", default=False),
            auto_self_configure=dict(type="bool", default=True),
            config_check=dict(type="bool", default=False),
            update_retries=dict(type="int", default=2),
            allow_notice=dict(type="bool", default=False),
            allow_killswitch=dict(type="bool", default=False),
            debug=dict(type="bool", default=False),
            timeout=dict(type="int", default=3600),
            command=dict(type="path", default=hooper.COMMAND),
            site_path=dict(type="path", default=site_file.PATH),
            killswitch_path=dict(type="path", default=hooper.KILLSWITCH),
            log_path=dict(type="path", default=hooper.LOG),
        ),
        mutually_exclusive=[("config_check", "self_configure")],
        supports_check_mode=True,
    )
    try:
        result = hooper.converge(module.params, noop=module.check_mode)
    except InsideError as exc:
        module.fail_json(msg=str(exc), **exc.details)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
