#!/usr/bin/python
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: site_edit
version_added: 0.1.0
short_description: Change single attributes of the installed site.json
description:
  - Replaces the values of named attributes in the site.json of this host, atomically. The others keep their values.
  - No secret of the file crosses the wire, because only the attributes that change are sent.
  - Refused when the result would differ from what the controller expects, which proves that both hold the same file.
author:
  - circonus.inside contributors (@circonus-inside)
options:
  path:
    description: The file.
    type: path
    default: /opt/circonus/var/chef-solo/data_bags/service_map/site.json
  changes:
    description: Attribute path (V(svclist.web_db.master)) to new value.
    type: dict
    required: true
  expected_sha256:
    description: Digest of the changed document (canonical JSON). Nothing is written when it differs.
    type: str
attributes:
  check_mode:
    support: full
    description: Can run in check mode.
  diff_mode:
    support: none
    description: Returns no diff because the file is full of secrets.
"""

EXAMPLES = r"""
- name: Tell Hooper that this site is active
  circonus.inside.site_edit:
    changes:
      active_datacenter: true
      svclist.web_db.master: west-app1
"""

RETURN = r"""
sha256:
  description: Digest of the document after the change (canonical JSON).
  returned: success
  type: str
paths:
  description: Attributes whose value changed.
  returned: success
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.circonus.inside.plugins.module_utils import site_file
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError, Refused


def main():
    module = AnsibleModule(
        argument_spec=dict(
            path=dict(type="path", default=site_file.PATH),
            changes=dict(type="dict", required=True),
            expected_sha256=dict(type="str"),
        ),
        supports_check_mode=True,
    )
    params = module.params
    try:
        old = site_file.load(params["path"])
        new = site_file.edit(old, params["changes"])
        digest = site_file.canonical_sha256(new)
        expected = params["expected_sha256"]
        if expected and digest != expected:
            raise Refused(
                "The site.json in %s is not the one the controller knows: expected digest %s after the change, "
                "found %s. Run site_distribute.yml, then start again." % (params["path"], expected[:12], digest[:12])
            )
        changed = new != old
        paths = sorted(
            path for path, value in params["changes"].items() if site_file.edit(old, {path: value}) != old)
        if changed and not module.check_mode:
            site_file.write(params["path"], new)
    except InsideError as error:
        module.fail_json(msg=str(error), refused=isinstance(error, Refused))
    module.exit_json(changed=changed, sha256=digest, paths=paths)


if __name__ == "__main__":
    main()
