#!/usr/bin/python
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: pki_renew
version_added: 0.1.0
short_description: Make room for new certificates on a host, or give the old ones back
description:
  - Hooper makes certificates and keys that are missing. This module moves those that are to be replaced aside
    (O(state=aside)), notes that the new ones were proven (O(state=accepted)), waits until a port presents a new one
    (O(state=presented)), and forgets the matter when the services run with them (O(state=closed)).
  - What was not accepted is given back by O(state=back), as it was.
  - Every step is recorded on the host before it is done, so a run that was killed can be finished or undone by the
    next one.
  - A private key is moved; nothing of it is read or returned. No file is ever deleted.
author:
  - circonus.inside contributors (@circonus-inside)
options:
  state:
    description: What to do. V(read) tells what an earlier run left, and whether the CA's service runs on this host.
    type: str
    choices: [read, aside, accepted, back, closed, presented]
    default: read
  items:
    description:
      - With O(state=aside) C(path) of each file that is to be new, and C(files), all paths that have to go for it.
      - With O(state=accepted) C(path), and C(sha256) of the certificate that was proven.
    type: list
    elements: dict
    default: []
  paths:
    description: With O(state=closed) the files whose services run with them.
    type: list
    elements: str
    default: []
  run_id:
    description: Identity of the run; part of the names of files that are moved. With O(state=aside) and O(state=back).
    type: str
  port:
    description: With O(state=presented) the port.
    type: int
  path:
    description: With O(state=presented) the file with the certificate.
    type: path
  key:
    description: With O(state=presented) the file with its key, which the host's openssl reads as a client.
    type: path
  timeout:
    description: With O(state=presented) seconds to wait.
    type: int
    default: 60
  state_dir:
    description: Directory of the records.
    type: path
    default: /var/lib/circonus-inside/pki-renew
requirements:
  - openssl on the host, for O(state=presented)
attributes:
  check_mode:
    support: full
    description: Says what would be moved.
  diff_mode:
    support: none
    description: Returns no diff.
"""

EXAMPLES = r"""
- name: Make room for a new certificate; the key stays
  circonus.inside.pki_renew:
    state: aside
    run_id: "{{ run_id }}"
    items:
      - path: /opt/noit/prod/etc/stratcon.crt
        files: [/opt/noit/prod/etc/stratcon.crt]

- name: Wait until stratcon presents it
  circonus.inside.pki_renew:
    state: presented
    port: 43191
    path: /opt/noit/prod/etc/stratcon.crt
    key: /opt/noit/prod/etc/stratcon.key

- name: Give back what was not accepted
  circonus.inside.pki_renew:
    state: back
    run_id: "{{ run_id }}"
"""

RETURN = r"""
records:
  description: What is not finished on this host, with what the certificates that were moved aside say.
  returned: with O(state=read)
  type: list
  elements: dict
processor:
  description: C(active), C(enabled) and C(exists) of circonus-ca_processor.
  returned: with O(state=read)
  type: dict
moved:
  description: Pairs of a path and where its file is now.
  returned: with O(state=aside)
  type: list
  elements: list
restored:
  description: Paths whose files were given back.
  returned: with O(state=back)
  type: list
  elements: str
sha256:
  description: Digest of the certificate that the port presents.
  returned: with O(state=presented)
  type: str
msg:
  description: What was done, in one sentence.
  returned: success
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.circonus.inside.plugins.module_utils import pki_renew
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError, Refused


def carry_out(params, check_mode):
    """The result of the module."""
    state, where = params["state"], params["state_dir"]
    if state == "read":
        found = pki_renew.read(where)
        return dict(found, changed=False, msg="{0} not finished.".format(len(found["records"])))
    if state == "aside":
        moved = pki_renew.set_aside(params["items"], params["run_id"], where, check_mode)
        return {"changed": bool(params["items"]), "moved": moved,
                "msg": "; ".join("{0} is now {1}".format(*pair) for pair in moved) or "Nothing was in the way."}
    if state == "accepted":
        changed = pki_renew.accept(params["items"], where, check_mode)
        return {"changed": changed, "msg": "Proven: {0}.".format(", ".join(item["path"] for item in params["items"]))}
    if state == "back":
        restored = pki_renew.give_back(params["run_id"], where, check_mode)
        return {"changed": bool(restored), "restored": restored,
                "msg": "Given back: {0}.".format(", ".join(restored) or "nothing")}
    if state == "closed":
        return {"changed": pki_renew.close(params["paths"], where, check_mode), "msg": "Finished."}
    digest = pki_renew.presented(params["port"], params["path"], params["key"], params["timeout"])
    return {"changed": False, "sha256": digest,
            "msg": "Port {0} presents {1}.".format(params["port"], params["path"])}


def main():
    module = AnsibleModule(
        argument_spec=dict(
            state=dict(type="str", choices=["read", "aside", "accepted", "back", "closed", "presented"],
                       default="read"),
            items=dict(type="list", elements="dict", default=[]),
            paths=dict(type="list", elements="str", default=[]),
            run_id=dict(type="str"),
            port=dict(type="int"),
            path=dict(type="path"),
            key=dict(type="path", no_log=False),
            timeout=dict(type="int", default=60),
            state_dir=dict(type="path", default=pki_renew.STATE_DIR),
        ),
        required_if=[("state", "aside", ["run_id"]), ("state", "back", ["run_id"]),
                     ("state", "presented", ["port", "path", "key"])],
        supports_check_mode=True,
    )
    try:
        result = carry_out(module.params, module.check_mode)
    except InsideError as exc:
        module.fail_json(msg=str(exc), refused=isinstance(exc, Refused), **exc.details)
    except (IOError, OSError) as exc:
        module.fail_json(
            msg="Cannot work on {0}: {1}. Check the file system of this host.".format(
                getattr(exc, "filename", None) or module.params["state_dir"], exc.strerror
            )
        )
    module.exit_json(**result)


if __name__ == "__main__":
    main()
