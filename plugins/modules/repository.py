#!/usr/bin/python
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: repository
short_description: Converge the package repository of Hooper, and its pin
version_added: 0.1.0
description:
  - Brings C(/etc/yum.repos.d/Circonus.repo) to where it should be. A new file has the keys that the operation manual
    gives. In a file that is there only C(baseurl) and what is set here is changed, with a backup; everything else that
    Hooper or an operator wrote into it stays.
  - Refuses, before anything changes, a pin that is not the date of a release, one before 2019-07-29, and one before the
    running release. That release is read from the package of the web frontend on this host, else from O(release), else
    from the pin of the file.
  - Cleans the cached metadata of the repository when the file changed, and only then.
author:
  - circonus.inside contributors (@circonus-inside)
options:
  pin:
    description:
      - Release to pin, V(YYYY-MM-DD), V(YYYYMMDD) or V(release-YYYYMMDD), from 2019-07-29 on. V(none) removes a pin.
      - When not given, a pin that the file has stays.
    type: str
  mirror:
    description:
      - Address of the repository up to C(/centos/7/). When not given, that of the file stays; a new file gets
        C(http://updates.circonus.net).
    type: str
  proxy:
    description: Proxy for this repository. When not given, the file keeps what it has; C(_none_) means none to yum.
    type: str
  gpgcheck:
    description:
      - Whether signatures of packages are checked. When not given, the file keeps what it has; a new file gets C(0), as
        the operation manual has it.
    type: bool
  release:
    description: Release that runs, for hosts that cannot tell it themselves.
    type: str
  path:
    description: The file.
    type: path
    default: /etc/yum.repos.d/Circonus.repo
attributes:
  check_mode:
    support: full
    description: Says what would change.
  diff_mode:
    support: full
    description: Shows the file, unless a proxy with a password is in it.
"""

EXAMPLES = r"""
- name: Pin the release before the update
  circonus.inside.repository:
    pin: "2019-11-04"

- name: Use a mirror of one's own, and the newest release that it has
  circonus.inside.repository:
    mirror: http://mirror.example.net/circonus
    pin: none
"""

RETURN = r"""
baseurl:
  description: Address of the repository.
  returned: success
  type: str
  sample: http://updates.circonus.net/centos/7/release-20191104/x86_64/
pin:
  description: Release that it is pinned to, empty when to none.
  returned: success
  type: str
  sample: "2019-11-04"
release:
  description: Release that runs as far as it is known, else V(none).
  returned: success
  type: str
backup:
  description: Copy of the file before it changed, empty when there is none.
  returned: success
  type: str
procedure_warnings:
  description: What an operator should know.
  returned: success
  type: list
  elements: str
msg:
  description: One sentence.
  returned: success
  type: str
  sample: "The repository is pinned to 2019-11-04."
"""

import os
import re
import tempfile

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.circonus.inside.plugins.module_utils import repository
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError, Refused


def read(path):
    """Text of the file, None when there is none."""
    if not os.path.isdir(os.path.dirname(path)):
        raise Refused("Expected the directory {0}, found none: no yum here?".format(os.path.dirname(path)))
    if not os.path.lexists(path):
        return None
    with open(path, "rb") as handle:
        return handle.read().decode("utf-8", "surrogateescape")


def write(module, path, text):
    """Replace the file by one with ``text``; owner and mode of an old one stay."""
    handle, temporary = tempfile.mkstemp(dir=module.tmpdir)
    with os.fdopen(handle, "wb") as stream:
        stream.write(text.encode("utf-8", "surrogateescape"))
    module.atomic_move(temporary, path)


def apply(module, path, old, new, program):
    """Write the file and clean the metadata, or leave everything as it was. Returns the path of the backup."""
    backup = module.backup_local(path) if old is not None else ""
    write(module, path, new)
    try:
        repository.clean_metadata(program)
    except InsideError:
        if old is None:
            os.unlink(path)
        else:
            write(module, path, old)
        raise
    return backup


def main():
    module = AnsibleModule(
        argument_spec=dict(
            pin=dict(type="str"),
            mirror=dict(type="str"),
            proxy=dict(type="str"),
            gpgcheck=dict(type="bool"),
            release=dict(type="str"),
            path=dict(type="path", default=repository.PATH),
        ),
        supports_check_mode=True,
    )
    path = module.params["path"]
    result = {"changed": False, "backup": ""}
    try:
        repository.pin_date(module.params["pin"])
        old = read(path)
        plan = repository.decide(old, module.params, repository.installed_release())
        program = repository.package_manager()
        result["changed"] = plan["text"] != old
        if result["changed"] and not module.check_mode:
            result["backup"] = apply(module, path, old, plan["text"], program)
    except (InsideError, OSError) as exc:
        module.fail_json(msg=str(exc), refused=isinstance(exc, Refused))
    if module._diff and not re.search(r"://[^/\s]*@|proxy_password", (old or "") + plan["text"]):
        result["diff"] = {"before": old or "", "after": plan["text"], "before_header": path, "after_header": path}
    for warning in plan["warnings"]:
        module.warn(warning)
    module.exit_json(
        baseurl=plan["baseurl"],
        pin=plan["pin"],
        release=plan["release"],
        procedure_warnings=plan["warnings"],
        msg="The repository is {0}.".format("pinned to " + plan["pin"] if plan["pin"] else "not pinned"),
        **result
    )


if __name__ == "__main__":
    main()
