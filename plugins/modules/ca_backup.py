#!/usr/bin/python
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: ca_backup
short_description: Make an archive of the private CA that is proven, and restore one
version_added: 0.1.0
description:
  - V(present) makes an archive of the directory. Before it counts it is restored to a private directory on the same
    host, every file is compared, and a throw-away request is signed there and verified. The authority itself is only
    read.
  - The archive is encrypted after that proof when O(certificate) is given, so that no key is needed for it here.
  - Nothing is made while the newest archive holds exactly what is there.
  - V(restored) puts an archive in place. What is there goes aside and is never deleted.
author:
  - circonus.inside contributors (@circonus-inside)
extends_documentation_fragment:
  - circonus.inside.ca
  - circonus.inside.ca.signing
options:
  state:
    description: What to do.
    type: str
    choices: [present, restored]
    default: present
  directory:
    description: Where the archives are kept. Made with mode 0700.
    type: path
    default: /var/lib/circonus-inside/ca-backup
  certificate:
    description: Certificate (PEM) to encrypt the archive for. Without it the archive is protected by its mode alone.
    type: str
    default: ''
  keep:
    description: At least this many archives stay.
    type: int
    default: 7
  days:
    description: An archive that is younger than this stays.
    type: int
    default: 30
  archive:
    description: The archive to restore, a file on this host.
    type: path
  archive_key:
    description: Private key on this host that opens an encrypted archive.
    type: path
    default: ''
  run_id:
    description: Part of the name under which what is there goes aside.
    type: str
  processor_unit:
    description: A CA that is in use is not replaced, so V(restored) refuses while this unit is active.
    type: str
    default: circonus-ca_processor
attributes:
  check_mode:
    support: full
    description: Says whether an archive would be made or restored and which ones would be removed.
  diff_mode:
    support: none
    description: Returns no diff, the directory holds private keys.
"""

EXAMPLES = r"""
- name: Make an archive when something has changed
  circonus.inside.ca_backup:
    keep: 14

- name: Restore one
  circonus.inside.ca_backup:
    state: restored
    archive: /var/lib/circonus-inside/ca-backup/ca-20240131T020000Z-0123456789ab.tar.gz
    run_id: "{{ run_id }}"
"""

RETURN = r"""
archive:
  description: Record of the newest archive, empty when there is none.
  returned: with O(state=present)
  type: dict
  sample:
    created: 1706702400.0
    crl_next_update: 1709294400
    files: 42
    path: /var/lib/circonus-inside/ca-backup/ca-20240131T120000Z-0123456789ab.tar.gz
    proven: true
    serial: 4123
    sha256: 2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae
    size: 20480
made:
  description: Whether an archive was made by this run.
  returned: with O(state=present)
  type: bool
removed:
  description: Archives that were removed.
  returned: with O(state=present)
  type: list
  elements: str
kept:
  description: How many intact archives there are.
  returned: with O(state=present)
  type: int
damaged:
  description: Archives whose content is not that of their record. They are left alone.
  returned: with O(state=present)
  type: list
  elements: str
authority:
  description: Next serial number, next CRL number, the CRL and the fingerprint of the CA as it is now.
  returned: with O(state=present)
  type: dict
age_s:
  description: Age of the newest archive in seconds.
  returned: with O(state=present)
  type: int
aside:
  description: Where the directory is that was in place before, empty when there was none or nothing changed.
  returned: with O(state=restored)
  type: str
reason:
  description: What was found.
  returned: with O(state=restored)
  type: str
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.circonus.inside.plugins.module_utils import ca, ca_authority, ca_backup, service, site_file
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError, Refused


def present(params, phrase, check_mode):
    result = ca_backup.present(
        params["path"], params["directory"], params["state_dir"], phrase, params["certificate"], params["keep"],
        params["days"], check_mode, config=params["config"])
    archive = result["archive"]
    result["age_s"] = int(time.time() - archive["created"]) if archive else None
    return result


def restored(params, phrase, check_mode):
    unit = params["processor_unit"]
    if service.show_units([unit])[unit]["active"] in ("active", "activating"):
        raise Refused("Expected a CA that is not in use, {0} runs on this host. Restore on the CA host that does not "
                      "run it.".format(unit))
    return ca_backup.restored(params["archive"], params["path"], params["state_dir"], phrase, params["run_id"],
                              params["archive_key"], check_mode, params["config"])


def main():
    module = AnsibleModule(
        argument_spec=dict(
            state=dict(type="str", choices=["present", "restored"], default="present"),
            path=dict(type="path", default=ca.PATH),
            config=dict(type="str", default=ca_authority.CONFIG),
            directory=dict(type="path", default=ca_backup.DIRECTORY),
            certificate=dict(type="str", default=""),
            keep=dict(type="int", default=7),
            days=dict(type="int", default=30),
            archive=dict(type="path"),
            archive_key=dict(type="path", default="", no_log=False),
            run_id=dict(type="str"),
            site_path=dict(type="path", default=site_file.PATH),
            state_dir=dict(type="path", default=ca.STATE_DIR),
            processor_unit=dict(type="str", default="circonus-ca_processor"),
        ),
        required_if=[("state", "restored", ["archive", "run_id"])],
        supports_check_mode=True,
    )
    params = module.params
    act = {"present": present, "restored": restored}[params["state"]]
    try:
        result = act(params, ca_authority.key_pass(params["site_path"]), module.check_mode)
    except InsideError as exc:
        module.fail_json(msg=str(exc), refused=isinstance(exc, Refused), **exc.details)
    except (IOError, OSError) as exc:
        module.fail_json(msg="Cannot work on {0}: {1}. Check the file system of this host.".format(
            getattr(exc, "filename", None) or params["path"], exc.strerror))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
