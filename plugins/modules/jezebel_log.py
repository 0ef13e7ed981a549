#!/usr/bin/python
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: jezebel_log
short_description: Turn the log of jezebel on for a diagnosis and reliably off again
version_added: 0.1.0
description:
  - Changes C(LOGFILE) in the script of jezebel, the Java helper of a broker, and ends jezebel, which noitd starts
    again.
  - What was there before is kept in a record on the host before anything changes; turning the log off puts it back. A
    run that was interrupted is finished by the next one.
  - A broker without that script has no separate jezebel; nothing is done there.
author:
  - circonus.inside contributors (@circonus-inside)
options:
  logfile:
    description: Where jezebel logs. Nothing rotates that file. V(/dev/null) turns the log off.
    type: path
    default: /dev/null
  script:
    description: The script.
    type: path
    default: /opt/noit/prod/bin/jezebel
  record:
    description: Where the change is recorded.
    type: path
    default: /var/lib/circonus-inside/jezebel_log.json
  process:
    description: Name by which the process is found.
    type: str
    default: jezebel
  timeout:
    description: Seconds in which jezebel must be back.
    type: int
    default: 60
attributes:
  check_mode:
    support: full
    description: Says what would be done.
  diff_mode:
    support: none
    description: Returns no diff.
"""

EXAMPLES = r"""
- name: See why a JMX check fails
  circonus.inside.jezebel_log:
    logfile: /opt/noit/prod/log/jezebel.log

- name: Turn it off again
  circonus.inside.jezebel_log:
"""

RETURN = r"""
present:
  description: Whether this host has a separate jezebel.
  returned: success
  type: bool
logfile:
  description: Where it logs now.
  returned: success
  type: str
restarted:
  description: Whether it ran and was ended.
  returned: success
  type: bool
actions:
  description: What was done, in check mode what would be.
  returned: success
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.circonus.inside.plugins.module_utils import jezebel
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError


def main():
    module = AnsibleModule(
        argument_spec=dict(
            logfile=dict(type="path", default=jezebel.OFF),
            script=dict(type="path", default=jezebel.SCRIPT),
            record=dict(type="path", default=jezebel.RECORD),
            process=dict(type="str", default="jezebel"),
            timeout=dict(type="int", default=60),
        ),
        supports_check_mode=True,
    )
    params = module.params
    try:
        result = jezebel.bring(
            params["logfile"],
            params["script"],
            params["record"],
            params["process"],
            params["timeout"],
            module.check_mode,
        )
    except InsideError as exc:
        module.fail_json(msg=str(exc), **exc.details)
    except (IOError, OSError) as exc:
        module.fail_json(msg="Cannot change the log of jezebel: {0}. Look at this host.".format(exc))
    warnings = []
    if result["logfile"] != jezebel.OFF:
        warnings.append("jezebel logs to {0}, which nothing rotates. Turn it off soon.".format(result["logfile"]))
    module.exit_json(procedure_warnings=warnings, **result)


if __name__ == "__main__":
    main()
