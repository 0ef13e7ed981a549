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
  - V(taken_over) does both for a failover whose database is there already, once for each O(event). What is in the way
    never fails the task; then the processor is stopped and kept from starting, until V(taken_over) or V(advanced)
    succeeds or M(circonus.inside.ca_copy) puts another copy in place.
author:
  - circonus.inside contributors (@circonus-inside)
extends_documentation_fragment:
  - circonus.inside.ca
  - circonus.inside.ca.crl
  - circonus.inside.ca.signing
options:
  state:
    description: What to do.
    type: str
    choices: [proven, advanced, taken_over]
    default: proven
  serial_floor:
    description: Lowest next serial number. Required with O(state=advanced), and with V(taken_over) without O(problem).
    type: int
  crl_floor:
    description: Lowest number of the CRL. Required as O(serial_floor) is.
    type: int
  event:
    description: With O(state=taken_over) what identifies the failover. Empty when nothing does; then it raises again.
    type: str
    default: ''
  problem:
    description: With O(state=taken_over) why the floors are not known, one sentence. The processor is then held.
    type: str
    default: ''
  unit_dir:
    description: Where systemd looks for the drop-in that keeps the processor from starting.
    type: path
    default: /etc/systemd/system
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

- name: The same, once for a failover, and never a failure
  circonus.inside.ca_authority:
    state: taken_over
    event: 7312345678901234567 timeline 4
    serial_floor: 8192
    crl_floor: 300
"""

RETURN = r"""
serial:
  description: The next serial number.
  returned: with O(state=advanced) and O(state=taken_over)
  type: int
crl_number:
  description: The next number of a CRL.
  returned: with O(state=advanced) and O(state=taken_over)
  type: int
crl:
  description: Number and next update (epoch seconds) of the CRL.
  returned: with O(state=advanced)
  type: dict
taken:
  description: Whether the numbers are beyond the floors. If not, the processor is kept from starting.
  returned: with O(state=taken_over)
  type: bool
problem:
  description: Why not, one sentence.
  returned: with O(state=taken_over)
  type: str
msg:
  description: What was proven or raised.
  returned: success
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.circonus.inside.plugins.module_utils import ca, ca_authority, ca_takeover, site_file
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput, InsideError, Refused


def proven(params, phrase, check_mode):
    ca_authority.trial_in_copy(params["path"], params["state_dir"], phrase(), params["config"])
    return {"changed": False, "msg": "A throw-away request was signed in a copy and verified."}


def advanced(params, phrase, check_mode):
    result = ca_authority.advance(params["path"], params["serial_floor"], params["crl_floor"], phrase(),
                                  params["config"], params["crl"], check_mode)
    released = ca_takeover.release(params["state_dir"], params["unit_dir"], check_mode)
    return dict(result, changed=result["changed"] or released, msg="next serial number %X, CRL number %X" % (
        result["serial"], result["crl"].get("number", 0)))


def taken_over(params, phrase, check_mode):
    wanted = {key: params[key] for key in ("event", "serial_floor", "crl_floor", "problem")}
    if not wanted["problem"] and None in (wanted["serial_floor"], wanted["crl_floor"]):
        raise BadInput("Expected serial_floor and crl_floor, or a problem, found neither. Give what ca_plan returned.")
    result = ca_takeover.take_over(wanted, params["path"], params["state_dir"], params["unit_dir"], phrase,
                                   params["config"], params["crl"], check_mode)
    return dict(result, msg=result["problem"] or "next serial number %X, next CRL number %X" % (
        result["serial"], result["crl_number"]))


ACTS = {"proven": proven, "advanced": advanced, "taken_over": taken_over}


def main():
    module = AnsibleModule(
        argument_spec=dict(
            state=dict(type="str", choices=["proven", "advanced", "taken_over"], default="proven"),
            serial_floor=dict(type="int"),
            crl_floor=dict(type="int"),
            event=dict(type="str", default=""),
            problem=dict(type="str", default=""),
            unit_dir=dict(type="path", default=ca_takeover.UNIT_DIR),
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
        result = ACTS[params["state"]](params, lambda: ca_authority.key_pass(params["site_path"]), module.check_mode)
    except InsideError as exc:
        module.fail_json(msg=str(exc), refused=isinstance(exc, Refused), **exc.details)
    except (IOError, OSError) as exc:
        module.fail_json(msg="Cannot work on {0}: {1}. Check the file system of this host.".format(
            getattr(exc, "filename", None) or params["path"], exc.strerror))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
