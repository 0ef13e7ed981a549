#!/usr/bin/python
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: service_files
short_description: Write the files of a component that the manual leaves to the operator
version_added: 0.1.0
description:
  - Brings files to their content, owner and mode, each atomically, and says which units a change concerns.
  - Never for a file that Hooper writes; Hooper would undo it.
author:
  - circonus.inside contributors (@circonus-inside)
options:
  files:
    description: The files.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Absolute path. Its directory must exist.
        type: path
        required: true
      content:
        description: All that the file holds.
        type: str
      lines:
        description:
          - Lines that must be in the file. A line with the same text before its C(=), or with the same first word, is
            replaced; other lines stay as they are.
        type: list
        elements: str
      create:
        description: Whether the file is made when there is none. A file that is not there is left alone otherwise.
        type: bool
        default: true
      state:
        description: V(file) without O(files[].content) and O(files[].lines) only sets owner and mode of a file.
        type: str
        choices: [file, directory, absent]
        default: file
      owner:
        description: Owner. Left alone when not given.
        type: str
      group:
        description: Group. Left alone when not given.
        type: str
      mode:
        description: Mode, quoted. Left alone when not given; a new file then has C(0644).
        type: raw
      when:
        description: Leaves this file alone when false.
        type: bool
        default: true
      keep:
        description: Whether the old file stays beside the new one, with the time of the change at the end of its name.
        type: bool
        default: false
      restart:
        description: Ids of the units that must be restarted when the file changes.
        type: list
        elements: str
        default: []
attributes:
  check_mode:
    support: full
    description: Says what would change.
  diff_mode:
    support: none
    description: Returns no diff, these files may hold passwords.
"""

EXAMPLES = r"""
- name: Let the broker find its account
  circonus.inside.service_files:
    files:
      - path: /opt/noit/prod/etc/noit.local.env
        lines: [USER=43191, GROUP=43191]
        mode: "0644"
        restart: [noitd]
"""

RETURN = r"""
paths:
  description: Files that changed.
  returned: success
  type: list
  elements: str
kept:
  description: Files that hold what was there before.
  returned: success
  type: list
  elements: str
  sample: [/opt/circonus/etc/licenses.conf.20261126T094431Z]
restart:
  description: Ids of the units that must be restarted because of it.
  returned: success
  type: list
  elements: str
  sample: [noitd]
"""

import os
import shutil
import tempfile
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.circonus.inside.plugins.module_utils import service_files
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError


def read(path):
    """Text of a file, None when there is none."""
    try:
        with open(path, "rb") as handle:
            return handle.read().decode("utf-8", "surrogateescape")
    except (IOError, OSError) as exc:
        if not os.path.lexists(path):
            return None
        raise InsideError("Cannot read {0}: {1}. Look at this host.".format(path, exc.strerror))


def write(module, item, text):
    """Replace a file by one with ``text``; owner and mode of the old one stay."""
    path = item["path"]
    handle, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".circonus-inside-")
    with os.fdopen(handle, "wb") as stream:
        stream.write(text.encode("utf-8", "surrogateescape"))
    # A new file gets its mode from the umask; it may hold a password and its own mode is set afterwards.
    umask = os.umask(0o022 if item["mode"] is None else 0o077)
    try:
        module.atomic_move(temporary, path)
    finally:
        os.umask(umask)


def keep(path):
    """Copy a file with its owner and mode to a name of its own beside it, which is returned."""
    aside = "{0}.{1}".format(path, time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()))
    shutil.copy2(path, aside)
    found = os.stat(path)
    os.chown(aside, found.st_uid, found.st_gid)
    return aside


def bring(module, item, kept):
    """Bring one file to where it should be; whether that changed anything. kept: gets the names of old files."""
    path, changed = item["path"], False
    parent = os.path.dirname(path.rstrip("/"))
    if item["state"] == "absent":
        if not os.path.lexists(path):
            return False
        if os.path.isdir(path) and not os.path.islink(path):
            raise InsideError("Expected a file to remove, found the directory {0}. Remove it by hand.".format(path))
        if not module.check_mode:
            os.unlink(path)
        return True
    if not os.path.lexists(path) and not item["create"]:
        return False
    if not os.path.isdir(parent):
        if module.check_mode:
            return True
        raise InsideError("Expected the directory {0} for {1}, found none. Run Hooper first.".format(parent, path))
    if item["state"] == "directory":
        if not os.path.isdir(path):
            changed = True
            if not module.check_mode:
                os.mkdir(path, 0o755)
    else:
        present = read(path)
        text = service_files.wanted_text(item, present)
        if text is None and present is None:
            raise InsideError("Expected the file {0} to be there, found none. Give it content.".format(path))
        if text is not None and text != present:
            changed = True
            if not module.check_mode:
                if item["keep"] and present is not None:
                    kept.append(keep(path))
                write(module, item, text)
    if os.path.exists(path):
        wanted = module.load_file_common_arguments(dict(module.params, **item), path=path)
        changed = module.set_fs_attributes_if_different(wanted, changed)
    return changed


def main():
    module = AnsibleModule(
        argument_spec=dict(
            files=dict(
                type="list",
                elements="dict",
                required=True,
                options=dict(
                    path=dict(type="path", required=True),
                    content=dict(type="str"),
                    lines=dict(type="list", elements="str"),
                    create=dict(type="bool", default=True),
                    state=dict(type="str", choices=["file", "directory", "absent"], default="file"),
                    owner=dict(type="str"),
                    group=dict(type="str"),
                    mode=dict(type="raw"),
                    when=dict(type="bool", default=True),
                    keep=dict(type="bool", default=False),
                    restart=dict(type="list", elements="str", default=[]),
                ),
            ),
        ),
        supports_check_mode=True,
    )
    items = [item for item in module.params["files"] if item["when"]]
    changed, kept = [], []
    try:
        service_files.check(items)
        for item in items:
            if bring(module, item, kept):
                changed.append(item)
    except (InsideError, OSError) as exc:
        done = ", ".join(item["path"] for item in changed) or "nothing"
        module.fail_json(msg=str(exc), written=done)
    module.exit_json(
        changed=bool(changed), paths=[item["path"] for item in changed], restart=service_files.restarts(changed),
        kept=kept,
    )


if __name__ == "__main__":
    main()
