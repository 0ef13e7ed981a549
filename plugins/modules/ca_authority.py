#!/usr/bin/python
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: ca_authority
short_description: Prove that the private CA of a host can sign, and raise its counters
version_added: 0.1.0
description:
  - V(proven) signs a throw-away request in a private copy of the directory, with a random serial number, and verifies
    the certificate. The authority itself is only read.
  - V(advanced) raises the next serial number and the next CRL number to at least the given ones and makes a CRL. It is
    for a CA that goes on from a copy which may be older than the last certificate.
author:
  - circonus.inside contributors (@circonus-inside)
options:
  state:
    description: What to do.
    type: str
    choices: [proven, advanced]
    default: proven
  serial_floor:
    description: Lowest next serial number. Required with O(state=advanced).
    type: int
  crl_floor:
    description: Lowest number of the CRL. Required with O(state=advanced).
    type: int
  path:
    description: Home of the CA.
    type: path
    default: /opt/circonus/CA
  config:
    description: Its openssl configuration, from there.
    type: str
    default: openssl.cnf
  crl:
    description: Its CRL, from there.
    type: str
    default: public-info/ca.crl
  site_path:
    description: The installed site.json, which has the pass phrase of the CA key.
    type: path
    default: /opt/circonus/var/chef-solo/data_bags/service_map/site.json
  state_dir:
    description: Directory in which the private directory of the proof is made and removed.
    type: path
    default: /var/lib/circonus-inside
requirements:
  - openssl on the host
attributes:
  check_mode:
    support: full
    description: Changes nothing. V(proven) changes nothing anyway.
  diff_mode:
    support: none
    description: Returns no diff.
"""

EXAMPLES = r"""
- name: Prove that this CA can sign
  circonus.inside.ca_authority:

- name: Go on beyond every serial number that is known
  circonus.inside.ca_authority:
    state: advanced
    serial_floor: 8192
    crl_floor: 300
"""

RETURN = r"""
serial:
  description: The next serial number.
  returned: with O(state=advanced)
  type: int
crl_number:
  description: The next number of a CRL.
  returned: with O(state=advanced)
  type: int
crl:
  description: Number and next update (epoch seconds) of the CRL.
  returned: with O(state=advanced)
  type: dict
msg:
  description: What was proven.
  returned: with O(state=proven)
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.circonus.inside.plugins.module_utils import ca, ca_authority, site_file
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError, Refused


def main():
    module = AnsibleModule(
        argument_spec=dict(
            state=dict(type="str", choices=["proven", "advanced"], default="proven"),
            serial_floor=dict(type="int"),
            crl_floor=dict(type="int"),
            path=dict(type="path", default=ca.PATH),
            config=dict(type="str", default=ca_authority.CONFIG),
            crl=dict(type="str", default=ca_authority.CRL),
            site_path=dict(type="path", default=site_file.PATH),
            state_dir=dict(type="path", default=ca.STATE_DIR),
        ),
        required_if=[("state", "advanced", ["serial_floor", "crl_floor"])],
        supports_check_mode=True,
    )
    params = module.params
    try:
        phrase = ca_authority.key_pass(params["site_path"])
        if params["state"] == "proven":
            ca_authority.trial_in_copy(params["path"], params["state_dir"], phrase, params["config"])
            result = {"changed": False, "msg": "A throw-away request was signed in a copy and verified."}
        else:
            result = ca_authority.advance(
                params["path"], params["serial_floor"], params["crl_floor"], phrase, params["config"], params["crl"],
                module.check_mode)
            result["msg"] = "next serial number %X, CRL number %X" % (
                result["serial"], result["crl"].get("number", 0))
    except InsideError as exc:
        module.fail_json(msg=str(exc), refused=isinstance(exc, Refused), **exc.details)
    except (IOError, OSError) as exc:
        module.fail_json(msg="Cannot work on {0}: {1}. Check the file system of this host.".format(
            getattr(exc, "filename", None) or params["path"], exc.strerror))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
