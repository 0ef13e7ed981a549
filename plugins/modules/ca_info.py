#!/usr/bin/python
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: ca_info
short_description: Read what the private CA of a host has issued and where its counters stand
version_added: 0.1.0
description:
  - Reads index, serial number, CRL and the processor of a CA host. Nothing of a private key is returned.
  - Where the files lie is read from the openssl configuration of the authority.
  - A host whose CA cannot be read is an answer, with RV(problem), because a damaged CA host is what a failover is for.
author:
  - circonus.inside contributors (@circonus-inside)
extends_documentation_fragment:
  - circonus.inside.ca
  - circonus.inside.ca.crl
options:
  backup_directory:
    description: Where ca_backup.yml keeps its archives.
    type: path
    default: /var/lib/circonus-inside/ca-backup
  processor_unit:
    description: Unit of the processor.
    type: str
    default: circonus-ca_processor
attributes:
  check_mode:
    support: full
    description: Reads only.
  diff_mode:
    support: none
    description: Returns no diff.
"""

EXAMPLES = r"""
- name: Read the CA of this host
  circonus.inside.ca_info:
  register: circonus_ca
"""

RETURN = r"""
present:
  description: Whether the directory is there.
  returned: success
  type: bool
initialised:
  description: Whether it holds a CA certificate and keys.
  returned: success
  type: bool
problem:
  description: One sentence when index, counters or CRL cannot be read, else empty.
  returned: success
  type: str
certificate:
  description: The CA certificate (PEM).
  returned: success
  type: str
fingerprint:
  description: SHA-256 of the CA certificate.
  returned: success
  type: str
serial:
  description: The next serial number.
  returned: success
  type: int
highest:
  description: The highest serial number of the index.
  returned: success
  type: int
issued:
  description: Serial number (hexadecimal) to V(V) or V(R) of every certificate that has not expired.
  returned: success
  type: dict
  sample: {"1000": "V", "1001": "R"}
crl_number:
  description: The next number of a CRL.
  returned: success
  type: int
crl:
  description: Number and next update (epoch seconds) of the CRL, empty when there is none.
  returned: success
  type: dict
  sample: {"next_update": 1709294400, "number": 7}
manifest_sha256:
  description: Digest over names, owners, modes and digests of all files.
  returned: success
  type: str
newest_mtime:
  description: Time of its newest file in epoch seconds.
  returned: success
  type: float
asides:
  description: Directories of the CA that were moved aside.
  returned: success
  type: list
  elements: str
backups:
  description: Archives of ca_backup.yml, newest first, with C(path), C(created), C(serial), C(sha256) and C(intact).
  returned: success
  type: list
  elements: dict
processor:
  description: State of the processor's unit, C(active), C(enabled) and C(load).
  returned: success
  type: dict
  sample: {"active": "active", "enabled": "enabled", "load": "loaded"}
now:
  description: Clock of the host in epoch seconds.
  returned: success
  type: float
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.circonus.inside.plugins.module_utils import ca, ca_authority, ca_backup, service
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError


def main():
    module = AnsibleModule(
        argument_spec=dict(
            path=dict(type="path", default=ca.PATH),
            config=dict(type="str", default=ca_authority.CONFIG),
            crl=dict(type="str", default=ca_authority.CRL),
            backup_directory=dict(type="path", default=ca_backup.DIRECTORY),
            processor_unit=dict(type="str", default="circonus-ca_processor"),
        ),
        supports_check_mode=True,
    )
    params = module.params
    unit = params["processor_unit"]
    try:
        result = ca_authority.state(params["path"], params["config"], params["crl"])
        shown = service.show_units([unit])[unit]
        result["processor"] = {key: shown.get(key) or "unknown" for key in ("active", "enabled", "load")}
        wanted = ("path", "created", "serial", "sha256", "intact", "recipient")
        result["backups"] = [{key: record.get(key) for key in wanted}
                             for record in ca_backup.records(params["backup_directory"])]
    except InsideError as exc:
        result = {"present": False, "initialised": False, "problem": str(exc)}
    except (IOError, OSError) as exc:
        result = {"present": False, "initialised": False, "problem": "Cannot read {0}: {1}.".format(
            getattr(exc, "filename", None) or params["path"], exc.strerror)}
    module.exit_json(changed=False, now=time.time(), **result)


if __name__ == "__main__":
    main()
