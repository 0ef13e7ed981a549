#!/usr/bin/python
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: pki_files
short_description: Collect certificates and CRLs of a host, and what is public of its private keys
version_added: 0.1.0
description:
  - Looks at every named file once and returns certificates, requests and CRLs as they are.
  - Of a private key it returns only type, size, encryption, mode, owner and the SHA-256 of its public half. Its bytes
    are read by the C(openssl) of the host and never leave it, whatever the file is called or labelled.
  - With O(ports) and O(peers) it also looks at what TLS ports present and whether this host can talk to others.
  - Missing and unreadable files, directories, FIFOs and files of more than 1 MiB are results, not failures. Use the
    filter P(circonus.inside.pki_report#filter) to judge what was found.
author:
  - circonus.inside contributors (@circonus-inside)
options:
  files:
    description:
      - Files to look at, each with C(path) and C(kind). What else an item has comes back with its result, for example
        C(role), C(wanted_owner), C(names) and C(usage), which the filter reads.
      - A C(path) is absolute; a pattern with V(*) or V(?) stands for the files that match.
      - C(kind) is what is expected there, one of V(ca), V(cert), V(key), V(crl), V(keystore), V(user_facing).
    type: list
    elements: dict
    required: true
  deadline:
    description: Seconds for all files together. What was not reached is returned as V(unreadable).
    type: int
    default: 30
  ports:
    description:
      - TLS ports of this host to connect to while the files are read, each with C(port), and as needed C(address)
        (V(127.0.0.1)), C(else_address) (tried when nobody listens there), C(sni), C(cert) and C(key) (paths of the pair
        to show). What else an item has comes back.
      - A service may log that a client without a certificate was there.
    type: list
    elements: dict
    default: []
  peers:
    description:
      - Ports of other hosts that this host must reach, each with C(address), C(port), C(ca), C(cert), C(key) (paths),
        and as needed C(sni) and C(crl). The peer is checked against C(ca) by the TLS library of this host.
    type: list
    elements: dict
    default: []
  live_timeout:
    description: Seconds for one connection.
    type: float
    default: 3
  live_deadline:
    description: Seconds for all connections together. It holds when a port hangs.
    type: float
    default: 15
requirements:
  - openssl on the host, for private keys
attributes:
  check_mode:
    support: full
    description: Reads only.
  diff_mode:
    support: none
    description: Changes nothing.
"""

EXAMPLES = r"""
- name: Collect what the web frontend uses
  circonus.inside.pki_files:
    files:
      - {path: /www/etc/ssl/ca.crt, kind: ca, role: web_frontend}
      - {path: /www/etc/ssl/app1.crt, kind: cert, role: web_frontend}
      - {path: /www/etc/ssl/app1.key, kind: key, role: web_frontend, wanted_owner: root}
  register: pki
"""

RETURN = r"""
files:
  description: One item for each file, in the order of the option, with its keys and what was found.
  returned: always
  type: list
  elements: dict
  contains:
    path:
      description: The path.
      type: str
    state:
      description: >-
        V(file), V(missing), V(unreadable), V(too_large), V(dangling), V(directory), V(fifo), V(socket) or V(device).
      type: str
    link:
      description: What it points to, when it is a symlink.
      type: str
    mode:
      description: Permissions of the file, of its target for a symlink, as V(0600).
      type: str
    owner:
      description: Account that owns it.
      type: str
    group:
      description: Group of the file.
      type: str
    size:
      description: Bytes.
      type: int
    mtime:
      description: Last modification, seconds since the epoch.
      type: int
    format:
      description: V(pem), V(der), V(empty) or V(other).
      type: str
    objects:
      description: Certificates, requests and CRLs, each with C(type) and C(der) (base64), in their order in the file.
      type: list
      elements: dict
    keys:
      description: >-
        Private keys with C(format), C(encrypted), C(type), C(bits), C(public_sha256) and C(error). Only the first
        one of a file is looked into.
      type: list
      elements: dict
    unknown:
      description: Number of PEM blocks that are nothing of that.
      type: int
    error:
      description: Why it could not be read.
      type: str
  sample:
    - path: /www/etc/ssl/app1.key
      kind: key
      role: web_frontend
      state: file
      link:
      mode: "0600"
      owner: root
      group: root
      size: 1704
      mtime: 1706703300
      format: pem
      objects: []
      keys:
        - format: pkcs8
          encrypted: false
          type: rsa
          bits: 2048
          public_sha256: 0d5f7a4d8e2f1b3c5a69788796a5b4c3d2e1f00112233445566778899aabbccd
          error: ""
      unknown: 0
      error: ""
live:
  description: >-
    What was seen on the C(ports) and C(peers), one item for each in their order, with its keys and C(outcome)
    (V(ok), V(unreachable), V(hung), V(plain), V(closed), V(refused), V(untrusted), V(failed), V(local), V(skipped)),
    C(detail), C(alert), C(protocol), C(cipher). Of a port also C(chain) and C(default_chain) (base64), C(asks),
    C(anonymous) (the outcome without a certificate) and C(pair); of a peer C(sha256) of its certificate, and C(chain)
    when it is not trusted.
  returned: when ports or peers were given
  type: dict
now:
  description: Time of this host, seconds since the epoch.
  returned: always
  type: float
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.circonus.inside.plugins.module_utils import pki_look
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError


def main():
    module = AnsibleModule(argument_spec=pki_look.ARGUMENTS, supports_check_mode=True)
    try:
        module.exit_json(changed=False, **pki_look.collect(module.params))
    except InsideError as exc:
        module.fail_json(msg=str(exc), **exc.details)


if __name__ == "__main__":
    main()
