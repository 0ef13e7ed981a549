#!/usr/bin/python
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: ca_copy
short_description: Copy the private CA from one host to another without showing it to the controller
version_added: 0.1.0
description:
  - The receiver makes a key that never leaves it (O(state=request)), the source encrypts the directory for its
    certificate
    (O(state=exported)), the receiver opens the envelope, proves its content and puts it in place (O(state=imported)).
  - What is in place and differs is moved aside and never deleted. Owners, by name, and modes are kept.
author:
  - circonus.inside contributors (@circonus-inside)
options:
  state:
    description:
      - V(read) tells what is in the directory, without anything about the content of its keys.
      - V(request) makes the envelope key on the receiver, or finds that of the same O(run_id).
      - V(exported) seals the directory on the source.
      - V(imported) installs the envelope on the receiver and removes the envelope key. Equal content changes nothing.
    type: str
    choices: [read, request, exported, imported]
    default: read
  run_id:
    description: Identity of the run. Required unless O(state=read).
    type: str
  path:
    description: Home of the CA.
    type: path
    default: /opt/circonus/CA
  certificate:
    description: Certificate that V(request) returned. Required with O(state=exported).
    type: str
  archive:
    description: Envelope that V(exported) returned. Required with O(state=imported).
    type: str
  manifest_sha256:
    description: Digest that V(exported) returned. Required with O(state=imported).
    type: str
  state_dir:
    description: Directory on the receiver in which a private directory keeps the envelope key during a run.
    type: path
    default: /var/lib/circonus-inside
  processor_unit:
    description: A CA that is in use is not replaced, so V(imported) refuses while this unit is active.
    type: str
    default: circonus-ca_processor
  keep_asides:
    description:
      - With O(state=imported), how many directories that earlier runs with the same O(aside_mark) moved aside stay.
        All when not given.
    type: int
  aside_mark:
    description:
      - Put before O(run_id) in the name of a directory that is moved aside. With O(keep_asides) only directories with
        this mark are removed, so give it only where the copy is proven to hold everything that was there.
    type: str
    default: ''
requirements:
  - openssl on both hosts
attributes:
  check_mode:
    support: full
    description:
      - Changes nothing. V(request) without an envelope key returns an empty certificate, and V(exported) and
        V(imported) then
        have nothing to seal and open.
  diff_mode:
    support: none
    description: Returns no diff, the directory holds private keys.
"""

EXAMPLES = r"""
- name: Make an envelope key on the receiver
  circonus.inside.ca_copy:
    state: request
    run_id: "{{ run_id }}"
  delegate_to: west-app1
  register: request

- name: Seal the CA on the source
  circonus.inside.ca_copy:
    state: exported
    run_id: "{{ run_id }}"
    certificate: "{{ request.certificate }}"
  delegate_to: east-app1
  register: sealed

- name: Install the envelope on the receiver
  circonus.inside.ca_copy:
    state: imported
    run_id: "{{ run_id }}"
    archive: "{{ sealed.archive }}"
    manifest_sha256: "{{ sealed.manifest_sha256 }}"
  delegate_to: west-app1
"""

RETURN = r"""
certificate:
  description: Certificate of the receiver for this run.
  returned: with O(state=request)
  type: str
archive:
  description: The directory, encrypted for the receiver, in Base64.
  returned: with O(state=exported)
  type: str
manifest_sha256:
  description: Digest over names, owners, modes and digests of all files.
  returned: with O(state=exported)
  type: str
aside:
  description: Where the directory is that was in place before, empty when there was none or nothing changed.
  returned: with O(state=imported)
  type: str
  sample: /opt/circonus/CA.aside-20240131T120000Z-a1b2c3
present:
  description: Whether the directory is there.
  returned: with O(state=read)
  type: bool
initialised:
  description: Whether it has a CA certificate and keys.
  returned: with O(state=read)
  type: bool
files:
  description: How many files it has.
  returned: with O(state=read)
  type: int
newest_mtime:
  description: Time of its newest file in epoch seconds.
  returned: with O(state=read)
  type: float
digest:
  description: Digest of its content, of keys only name, size, owner and mode.
  returned: with O(state=read)
  type: str
"""

import base64
import binascii

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.circonus.inside.plugins.module_utils import ca, unit_state
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput, InsideError, Refused


def request(params, check_mode):
    certificate, changed = ca.make_envelope(params["state_dir"], params["run_id"], check_mode)
    return {"changed": changed, "certificate": certificate}


def export(params, check_mode):
    if check_mode and not params["certificate"]:
        return {"changed": False, "archive": "", "manifest_sha256": ""}
    envelope, manifest = ca.seal(params["path"], params["certificate"])
    return {"changed": False, "archive": base64.b64encode(envelope).decode("ascii"), "manifest_sha256": manifest}


def load(params, check_mode):
    if check_mode and not params["archive"]:
        return {"changed": True, "aside": ""}
    try:
        envelope = base64.b64decode(params["archive"].encode("ascii"))
    except (binascii.Error, ValueError):
        raise BadInput("Expected Base64 in archive, found something else. Give what state=exported returned.")
    arguments = [envelope] + [params[name] for name in ("manifest_sha256", "path", "state_dir", "run_id")]
    arguments.append(params["aside_mark"])
    if ca.install(*arguments, check_mode=True)["changed"]:
        unit = params["processor_unit"]
        if unit and unit_state.show_units([unit])[unit]["active"] == "active":
            raise Refused(
                "Expected a CA that is not in use, {0} is active on this host. Check ca.primary of site.json, the copy "
                "goes to the host that does not run it.".format(unit)
            )
    result = ca.install(*arguments, check_mode=check_mode)
    if params["aside_mark"] and params["keep_asides"] and not check_mode:
        ca.prune_asides(params["path"], params["aside_mark"], params["keep_asides"])
    return result


def main():
    module = AnsibleModule(
        argument_spec=dict(
            state=dict(type="str", choices=["read", "request", "exported", "imported"], default="read"),
            run_id=dict(type="str"),
            path=dict(type="path", default=ca.PATH),
            certificate=dict(type="str"),
            archive=dict(type="str", no_log=True),
            manifest_sha256=dict(type="str"),
            state_dir=dict(type="path", default=ca.STATE_DIR),
            processor_unit=dict(type="str", default="circonus-ca_processor"),
            keep_asides=dict(type="int"),
            aside_mark=dict(type="str", default=""),
        ),
        required_if=[
            ("state", "request", ["run_id"]),
            ("state", "exported", ["run_id", "certificate"]),
            ("state", "imported", ["run_id", "archive", "manifest_sha256"]),
        ],
        supports_check_mode=True,
    )
    params = module.params
    try:
        if params["state"] == "read":
            result = dict(ca.summary(params["path"]), changed=False)
        else:
            act = {"request": request, "exported": export, "imported": load}[params["state"]]
            result = act(params, module.check_mode)
    except InsideError as exc:
        module.fail_json(msg=str(exc), refused=isinstance(exc, Refused), **exc.details)
    except (IOError, OSError) as exc:
        module.fail_json(
            msg="Cannot work on {0}: {1}. Check the file system of this host.".format(
                getattr(exc, "filename", None) or params["path"], exc.strerror
            )
        )
    module.exit_json(**result)


if __name__ == "__main__":
    main()
