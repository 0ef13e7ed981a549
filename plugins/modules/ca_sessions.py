#!/usr/bin/python
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: ca_sessions
short_description: End what a lost CA host left at the database
version_added: 0.1.0
description:
  - Ends the sessions of the user of the CA that come from a named host, and watches that none comes back. The database
    notices a host that died only after hours, and until then it looks as if its CA were alive.
  - Refused when the host connects again, because then it is not lost.
  - Asks as the CA's own user with the password of site.json, which does not leave the host.
author:
  - circonus.inside contributors (@circonus-inside)
options:
  host:
    description: The lost host, as in machinfo.
    type: str
    required: true
  watch_s:
    description: How long to watch, in seconds.
    type: float
    default: 5.0
  user:
    description: User of the CA at the database.
    type: str
    default: ca
  database:
    description: Name of the database.
    type: str
    default: circonus
  psql:
    description: The client program.
    type: path
    default: /opt/pgsql/bin/psql
  site_path:
    description: The installed site.json.
    type: path
    default: /opt/circonus/var/chef-solo/data_bags/service_map/site.json
attributes:
  check_mode:
    support: full
    description: Ends nothing.
  diff_mode:
    support: none
    description: Returns no diff.
"""

EXAMPLES = r"""
- name: End what the lost CA left
  circonus.inside.ca_sessions:
    host: east-app1
"""

RETURN = r"""
ended:
  description: How many sessions were ended.
  returned: success
  type: int
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.circonus.inside.plugins.module_utils import ca_guard, site_file
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError, Refused


def main():
    module = AnsibleModule(
        argument_spec=dict(
            host=dict(type="str", required=True),
            watch_s=dict(type="float", default=5.0),
            user=dict(type="str", default="ca"),
            database=dict(type="str", default="circonus"),
            psql=dict(type="path", default="/opt/pgsql/bin/psql"),
            site_path=dict(type="path", default=site_file.PATH),
        ),
        supports_check_mode=True,
    )
    params = module.params
    config = dict(ca_guard.DEFAULTS, **{key: params[key] for key in ("user", "database", "psql", "site_path")})
    try:
        ended = ca_guard.end_sessions(config, params["host"], params["watch_s"], module.check_mode)
    except InsideError as exc:
        module.fail_json(msg=str(exc), refused=isinstance(exc, Refused), **exc.details)
    module.exit_json(changed=ended > 0, ended=ended)


if __name__ == "__main__":
    main()
