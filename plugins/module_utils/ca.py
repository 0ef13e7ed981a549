# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The directory of the private CA: what is in it, without telling what its keys are.

Source: on-premises documentation, CA failover and CA backup. The directory holds private keys; of those only name,
size,
owner and mode are ever part of an answer.
"""
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import hashlib
import json
import os
import stat

from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput

PATH = "/opt/circonus/CA"
_KEY_MARKS = (b"PRIVATE KEY-----",)


def is_key(relative, head):
    """True when a file of the directory may hold a private key: by its place, its name or its first bytes."""
    parts = relative.split("/")
    return "private" in parts[:-1] or parts[-1].endswith((".key", ".p12", ".pfx", ".jks")) or any(
        mark in head for mark in _KEY_MARKS)


def manifest(directory, with_keys=True):
    """Everything in ``directory`` as sorted ``[path, kind, mode, uid, gid, size, digest]`` rows.

    kind is dir, file or link. with_keys false leaves out the digest of files that may hold a private key; only such a
    manifest may leave the host. Raises BadInput when something else lies there (a socket, a device).
    """
    rows = []
    for base, directories, files in os.walk(directory):
        for name in sorted(directories) + sorted(files):
            path = os.path.join(base, name)
            relative = os.path.relpath(path, directory)
            info = os.lstat(path)
            row = [relative, None, "%04o" % stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid, 0, ""]
            if stat.S_ISLNK(info.st_mode):
                row[1], row[6] = "link", os.readlink(path)
            elif stat.S_ISDIR(info.st_mode):
                row[1] = "dir"
            elif stat.S_ISREG(info.st_mode):
                row[1], row[5] = "file", info.st_size
                with open(path, "rb") as handle:
                    content = handle.read()
                if with_keys or not is_key(relative, content[:4096]):
                    row[6] = hashlib.sha256(content).hexdigest()
            else:
                raise BadInput("Expected files and directories in the CA directory, found something else at {0}. Move "
                               "it "
                               "away.".format(path))
            rows.append(row)
    return sorted(rows)


def digest(rows):
    """Digest (hex) of a manifest."""
    return hashlib.sha256(json.dumps(rows, sort_keys=True, separators=(",", ":")).encode("utf-8")).hexdigest()


def summary(directory=PATH):
    """What may be told about the directory: ``{"present", "initialised", "files", "newest_mtime", "digest"}``.

    initialised: it holds a CA certificate (a host that is not the primary has the tree and no keys). newest_mtime:
    epoch
    seconds of the newest file or None. digest: of the manifest without key bytes; equal digests mean equal copies as
    far
    as can be told without looking into keys.
    """
    if not os.path.isdir(directory):
        return {"present": False, "initialised": False, "files": 0, "newest_mtime": None, "digest": ""}
    rows = manifest(directory, with_keys=False)
    newest = None
    files = [row for row in rows if row[1] == "file"]
    for row in files:
        changed = os.lstat(os.path.join(directory, row[0])).st_mtime
        newest = changed if newest is None or changed > newest else newest
    return {
        "present": True,
        "initialised": any(row[0] == "public-info/ca.crt" for row in files)
        and any(is_key(row[0], b"") for row in files),
        "files": len(files),
        "newest_mtime": newest,
        "digest": digest(rows),
    }
