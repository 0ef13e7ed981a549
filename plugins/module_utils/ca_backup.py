# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Archives of the private CA: made, proven by restoring and signing, kept for a while, restored.

An archive counts when its record (a JSON file beside it) is there; the record is written last, after the proof.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import hashlib
import json
import os
import re
import time

from ansible_collections.circonus.inside.plugins.module_utils import ca, ca_authority
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput, CommandFailed, Refused

DIRECTORY = "/var/lib/circonus-inside/ca-backup"
_NAME = re.compile(r"^ca-\d{8}T\d{6}Z-[0-9a-f]{12}\.tar\.gz(\.cms)?$")


def sha256(path):
    """Digest (hex) of a file, "" where there is none."""
    try:
        with open(path, "rb") as handle:
            return hashlib.sha256(handle.read()).hexdigest()
    except (IOError, OSError):
        return ""


def records(directory):
    """``[record, …]`` of the archives of a directory, newest first, with ``path`` and ``intact`` (bool)."""
    found = []
    for name in sorted(os.listdir(directory)) if os.path.isdir(directory) else []:
        if not _NAME.match(name):
            continue
        path = os.path.join(directory, name)
        try:
            with open(path + ".json") as handle:
                record = dict(json.load(handle), path=path)
            record["intact"] = sha256(path) == record["sha256"]
            record["created"] = float(record["created"])
        except (IOError, OSError, ValueError, KeyError, TypeError):
            continue
        found.append(record)
    return sorted(found, key=lambda record: record["created"], reverse=True)


def surplus(found, keep, days, now):
    """Records that may go: neither among the newest ``keep`` intact ones nor younger than ``days``. Pure.

    found: newest first. The newest intact one always stays; a damaged one is never deleted, somebody should look at it.
    """
    intact = [record for record in found if record["intact"]]
    kept = set(record["path"] for record in intact[: max(1, keep)])
    return [record for record in intact if record["path"] not in kept and record["created"] < now - days * 86400]


def _write(path, data):
    temporary = path + ".new"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())
    os.rename(temporary, path)


def prove(data, manifest_sha256, home, state_dir, phrase, config=ca_authority.CONFIG):
    """Restore ``data`` to a private directory, compare every file, sign a request there. Raises what is wrong."""
    with ca_authority.Scratch(state_dir) as scratch:
        unpacked = ca.unpack(data, manifest_sha256, os.path.join(scratch, "restored"))
        ca_authority.trial(unpacked, home, phrase, config)


def _recipient(certificate):
    if not certificate:
        return ""
    found = re.search("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", certificate, re.S)
    if not found:
        raise BadInput("Expected a certificate (PEM) to encrypt the archive for, found something else.")
    return hashlib.sha256("".join(found.group(0).split()).encode("ascii", "replace")).hexdigest()


def present(home, directory, state_dir, phrase, certificate="", keep=7, days=30, check_mode=False, now=None,
            config=ca_authority.CONFIG):
    """Make an archive unless the newest one holds exactly what is there now; remove those that are surplus.

    Returns ``{"changed", "archive": record, "made": bool, "removed": [path], "kept": int, "damaged": [path]}``.
    """
    now = time.time() if now is None else now
    recipient = _recipient(certificate)
    authority = ca_authority.state(home, config)
    if not authority["initialised"] or authority["problem"]:
        raise Refused("Expected a CA with its keys in {0}, found {1}. The backup is made on the host that ca.primary "
                      "names.".format(home, authority["problem"] or "none"))
    found = records(directory)
    newest = next((record for record in found if record["intact"]), None)
    made = not newest or newest["manifest_sha256"] != authority["manifest_sha256"] or newest["recipient"] != recipient
    if made and not check_mode:
        newest = _make(home, directory, state_dir, phrase, certificate, recipient, now, config)
        found = records(directory)
    gone = surplus(found, keep, days, now)
    if not check_mode:
        for record in gone:
            os.unlink(record["path"] + ".json")
            os.unlink(record["path"])
    paths = [record["path"] for record in gone]
    return {
        "changed": bool(made or gone),
        "made": made,
        "archive": newest or {},
        "removed": paths,
        "kept": len([record for record in found if record["intact"] and record["path"] not in paths]),
        "damaged": [record["path"] for record in found if not record["intact"]],
        "authority": {key: authority[key] for key in ("serial", "crl_number", "crl", "fingerprint")},
    }


def _make(home, directory, state_dir, phrase, certificate, recipient, now, config):
    if not os.path.isdir(directory):
        os.makedirs(directory, 0o700)
    os.chmod(directory, 0o700)
    data, rows = ca.pack(home)
    manifest_sha256 = ca.digest(rows)
    authority = ca_authority.state(home, config)
    if authority["manifest_sha256"] != manifest_sha256:
        raise Refused("Expected {0} to stay as it is for a moment, it changed. Start again.".format(home))
    prove(data, manifest_sha256, home, state_dir, phrase, config)
    if recipient:
        data = ca.encrypt(data, certificate)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    name = "ca-{0}-{1}.tar.gz{2}".format(stamp, manifest_sha256[:12], ".cms" if recipient else "")
    path = os.path.join(directory, name)
    _write(path, data)
    record = {
        "created": now,
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "manifest_sha256": manifest_sha256,
        "recipient": recipient,
        "proven": True,
        "files": len([row for row in rows if row[1] == "file"]),
        "serial": authority["serial"],
        "crl_number": authority["crl_number"],
        "fingerprint": authority["fingerprint"],
        "crl_next_update": authority["crl"].get("next_update"),
    }
    if sha256(path) != record["sha256"]:
        raise Refused("Expected {0} to hold what was written, it does not. Check the file system.".format(path))
    _write(path + ".json", (json.dumps(record, sort_keys=True, indent=1) + "\n").encode("utf-8"))
    return dict(record, path=path, intact=True)


def restored(path, home, state_dir, phrase, mark, key="", check_mode=False, config=ca_authority.CONFIG):
    """Put the archive ``path`` in place of ``home``; what is there goes aside as ``<home>.aside-<mark>``.

    Nothing changes where what is there is the same or newer, so that a second run does not turn the counters back.
    Refused where both have something that the other has not. Returns ``{"changed", "aside", "reason"}``.
    """
    try:
        with open(path, "rb") as handle:
            data = handle.read()
    except (IOError, OSError) as exc:
        raise Refused("Expected an archive of the CA in {0}, found: {1}. Name one that ca_backup.yml made.".format(
            path, exc.strerror))
    record = next((one for one in records(os.path.dirname(path)) if one["path"] == path), None)
    if record and not record["intact"]:
        raise Refused("Expected {0} to have the digest of its record, it is damaged. Use another archive.".format(path))
    if path.endswith(".cms"):
        if not key:
            raise Refused("Expected the key that opens {0}, found none. Put it on this host and name it by "
                          "ca_failover_backup_key.".format(path))
        data = _decrypt(data, key)
    with ca_authority.Scratch(state_dir) as scratch:
        unpacked = ca.unpack(data, record["manifest_sha256"] if record else None, os.path.join(scratch, "restored"))
        # Paths in its configuration are those of its real home.
        theirs = _state_of_copy(unpacked, home, config)
        ours = ca_authority.state(home, config)
        if ours["initialised"] and not ours["problem"]:
            if ours["fingerprint"] != theirs["fingerprint"]:
                raise Refused("Expected the CA {0} in {1}, found that of another authority. Nothing was restored."
                              .format(ours["fingerprint"][:12], path))
            lost = ca_authority.ahead(ours, theirs)
            if not ca_authority.ahead(theirs, ours):
                return {"changed": False, "aside": "", "reason": "what is there is the same or newer"}
            if lost and not lost[0].startswith(("next serial", "CRL number")):
                raise Refused("Expected an archive that holds everything that {0} has issued, {1} does not have {2}."
                              .format(home, path, ", ".join(lost[:5])))
        # A trial marks its copy, so it is made in one of its own.
        prove(data, None, home, state_dir, phrase, config)
        aside = "{0}.aside-{1}".format(home.rstrip("/"), ca.safe_id(mark))
        if check_mode:
            return {"changed": True, "aside": aside if ours["present"] else "", "reason": "would be restored"}
    moved = ca.put_in_place(ca.unpack(data, None, ca.new_target(home, mark)), home, aside)
    return {"changed": True, "aside": moved, "reason": "restored"}


def _state_of_copy(unpacked, home, config):
    path = os.path.join(unpacked, config)
    with open(path) as handle:
        text = handle.read()
    own = os.path.join(unpacked, ".state.cnf")
    with open(own, "w") as handle:
        handle.write(text.replace(home.rstrip("/"), unpacked))
    try:
        found = ca_authority.state(unpacked, ".state.cnf")
    finally:
        os.unlink(own)
    if found["problem"] or not found["initialised"]:
        raise Refused("Expected a whole CA in the archive, found {0}.".format(found["problem"] or "no keys"))
    return found


def _decrypt(data, key):
    try:
        return ca.openssl(["cms", "-decrypt", "-binary", "-inform", "DER", "-inkey", key], data)
    except CommandFailed as exc:
        raise Refused("Expected {0} to open the archive: {1}".format(key, exc))
