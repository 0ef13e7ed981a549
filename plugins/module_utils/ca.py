# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The directory of the private CA: what is in it, without telling what its keys are.

Source: on-premises documentation, CA failover and CA backup. The directory holds private keys; of those only name,
size,
owner and mode are ever part of an answer.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import glob
import grp
import hashlib
import io
import json
import os
import pwd
import re
import shutil
import stat
import subprocess
import tarfile
import tempfile

from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput, CommandFailed, Refused

PATH = "/opt/circonus/CA"
STATE_DIR = "/var/lib/circonus-inside"
#: In STATE_DIR: keeps the processor from starting while the copy is not known to be good, see ca_takeover.
HELD = "ca-held"
ENVELOPE_BITS = 3072
_RUN_ID = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
_KEY_MARKS = (b"PRIVATE KEY-----",)


def is_key(relative, head):
    """True when a file of the directory may hold a private key: by its place, its name or its first bytes."""
    parts = relative.split("/")
    return (
        "private" in parts[:-1]
        or parts[-1].endswith((".key", ".p12", ".pfx", ".jks"))
        or any(mark in head for mark in _KEY_MARKS)
    )


def _owner(number):
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _group(number):
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def manifest(directory, with_keys=True):
    """Everything in ``directory`` as sorted ``[path, kind, mode, owner, group, size, digest]`` rows.

    kind is dir, file or link. with_keys false leaves out the digest of files that may hold a private key; only such a
    manifest may leave the host. Raises BadInput when something else lies there (a socket, a device).
    """
    rows = []
    for base, directories, files in os.walk(directory):
        for name in sorted(directories) + sorted(files):
            path = os.path.join(base, name)
            relative = os.path.relpath(path, directory)
            info = os.lstat(path)
            row = [relative, None, "%04o" % stat.S_IMODE(info.st_mode), _owner(info.st_uid), _group(info.st_gid), 0, ""]
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
                raise BadInput(
                    "Expected files and directories in the CA directory, found something else at {0}. Move it "
                    "away.".format(path)
                )
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


# -- copying ---------------------------------------------------------------------------------------------------------
#
# The controller carries a sealed envelope: the receiver makes a key that never leaves it, the source encrypts for its
# certificate, the receiver opens it. A host that is no CA host learns the size of the directory and a digest.


def safe_id(run_id):
    """``run_id`` as a part of a file name. Raises BadInput."""
    if not _RUN_ID.match(run_id or ""):
        raise BadInput("Expected a run id of letters, digits, dot, dash and underscore, found {0!r}.".format(run_id))
    return run_id


def envelope_paths(state_dir, run_id):
    """``(directory, key, certificate)`` of the envelope of a run. Pure."""
    directory = os.path.join(state_dir, "ca-copy-" + safe_id(run_id))
    return directory, os.path.join(directory, "envelope.key"), os.path.join(directory, "envelope.crt")


def openssl(arguments, data=None, cwd="/", key_pass=None, program="openssl"):
    """Run openssl in ``cwd``; returns its standard output (bytes). Raises CommandFailed without any of its input.

    key_pass: pass phrase of the CA key, which goes by the environment (``env:CA_KEY_PASS``).
    """
    environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "RANDFILE": "/dev/null"}
    if key_pass is not None:
        environment["CA_KEY_PASS"] = key_pass
    try:
        process = subprocess.Popen([program] + arguments, cwd=cwd, env=environment, stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, err = process.communicate(data)
    except OSError as exc:
        raise CommandFailed("Cannot run {0}: {1}. Install openssl on this host.".format(program, exc.strerror))
    if process.returncode:
        lines = [line for line in err.decode("utf-8", "replace").splitlines() if line.strip()]
        raise CommandFailed("Expected openssl {0} to succeed{1}, found exit code {2}: {3}. Check {4}.".format(
            arguments[0], "" if cwd == "/" else " in " + cwd, process.returncode, lines[-1] if lines else "no word",
            "openssl on this host" if cwd == "/" else "ca.key_pass of site.json and the files of the authority"))
    return out


def make_envelope(state_dir, run_id, check_mode=False):
    """Make the key of the receiver and return ``(certificate PEM, changed)``; a second call returns the same one."""
    directory, key, certificate = envelope_paths(state_dir, run_id)
    if not os.path.exists(certificate):
        if check_mode:
            return "", True
        if not os.path.isdir(state_dir):
            os.makedirs(state_dir, 0o755)
        remove_envelope(state_dir, run_id)
        os.mkdir(directory, 0o700)
        old = os.umask(0o077)
        try:
            # Spelled for openssl 1.0.2 and later.
            openssl(
                [
                    "req",
                    "-x509",
                    "-newkey",
                    "rsa:%d" % ENVELOPE_BITS,
                    "-nodes",
                    "-sha256",
                    "-days",
                    "2",
                    "-subj",
                    "/CN=circonus-inside-ca-copy",
                    "-keyout",
                    key,
                    "-out",
                    certificate + ".new",
                ]
            )
        finally:
            os.umask(old)
        os.rename(certificate + ".new", certificate)
        with open(certificate) as handle:
            return handle.read(), True
    with open(certificate) as handle:
        return handle.read(), False


def remove_envelope(state_dir, run_id):
    """Remove key and certificate of a run; True when there was one."""
    directory = envelope_paths(state_dir, run_id)[0]
    if not os.path.isdir(directory):
        return False
    shutil.rmtree(directory)
    return True


def pack(directory):
    """The directory as ``(bytes of a tar.gz, full manifest)``.

    Reads it twice and refuses when it changed meanwhile (the CA was just issuing).
    """
    if not summary(directory)["initialised"]:
        raise Refused(
            "Expected a CA with its keys in {0}, found none. Copy from the CA host that ca.primary of site.json "
            "names.".format(directory)
        )
    for _unused in range(3):
        before = manifest(directory)
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz", format=tarfile.PAX_FORMAT) as archive:
            archive.add(directory, arcname="CA")
        if manifest(directory) == before:
            return buffer.getvalue(), before
    raise Refused(
        "Expected {0} to stay as it is for a moment, it changed during three attempts. Repeat when the CA is "
        "quiet.".format(directory)
    )


def seal(directory, certificate):
    """The directory, encrypted for ``certificate`` (PEM). Returns ``(envelope bytes, digest of the full manifest)``."""
    data, rows = pack(directory)
    return encrypt(data, certificate), digest(rows)


def encrypt(data, certificate):
    """``data`` as a CMS envelope (DER) that only the key of ``certificate`` (PEM) opens."""
    descriptor, path = tempfile.mkstemp(prefix="ca-copy-", suffix=".crt")
    try:
        with os.fdopen(descriptor, "w") as handle:
            handle.write(certificate)
        return openssl(["cms", "-encrypt", "-binary", "-aes256", "-outform", "DER", path], data)
    finally:
        os.unlink(path)


def _account(member):
    """``(uid, gid)`` that the owner of a member of the archive has on this host, found by name. Raises Refused."""
    numbers = []
    for name, number, lookup, field, kind in (
        (member.uname, member.uid, pwd.getpwnam, "pw_uid", "user"),
        (member.gname, member.gid, grp.getgrnam, "gr_gid", "group"),
    ):
        if not name:
            numbers.append(number)
            continue
        try:
            numbers.append(getattr(lookup(name), field))
        except KeyError:
            raise Refused(
                "Expected the {0} {1} on this host, who owns {2} in the CA directory; there is none. Run Hooper on "
                "this host first.".format(kind, name, member.name)
            )
    return tuple(numbers)


def unseal(envelope, expected, target, state_dir, run_id):
    """Open ``envelope`` into the new directory ``target`` and prove that it is what was sealed. Raises Refused."""
    directory, key, certificate = envelope_paths(state_dir, run_id)
    if not os.path.exists(key):
        raise Refused(
            "Expected the envelope key of run {0} in {1}, found none. Start with state=request on this host.".format(
                run_id, directory
            )
        )
    data = openssl(["cms", "-decrypt", "-binary", "-inform", "DER", "-recip", certificate, "-inkey", key], envelope)
    return unpack(data, expected, target)


def unpack(data, expected, target):
    """Unpack what :func:`pack` made into the new directory ``target``; returns the CA directory in it. Raises Refused.

    expected: digest of the manifest, or None when it is not known.
    """
    if os.path.lexists(target):
        shutil.rmtree(target)
    os.mkdir(target, 0o700)
    try:
        owners = {}
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
            for member in archive.getmembers():
                parts = member.name.split("/")
                if parts[0] != "CA" or ".." in parts or not (member.isdir() or member.isfile() or member.issym()):
                    raise Refused("Expected only files below CA in the envelope, found {0}.".format(member.name))
                owners[os.path.join(target, member.name)] = _account(member) + (
                    None if member.issym() else member.mode & 0o7777,
                )
            archive.extractall(target, **({"filter": "fully_trusted"} if hasattr(tarfile, "data_filter") else {}))
        unpacked = os.path.join(target, "CA")
        for path, (uid, gid, mode) in owners.items():
            os.lchown(path, uid, gid)
            if mode is not None:
                os.chmod(path, mode)
        found = digest(manifest(unpacked))
        if expected and found != expected:
            raise Refused(
                "Expected the CA directory with digest {0}, the envelope contains {1}. Copy it again.".format(
                    expected[:12], found[:12]
                )
            )
        return unpacked
    except Exception:
        shutil.rmtree(target, ignore_errors=True)
        raise


def install(envelope, expected, directory, state_dir, run_id, mark="", check_mode=False):
    """Make ``directory`` what was sealed. Returns ``{"changed": bool, "aside": path or ""}``.

    What is there and differs is moved aside, never deleted. The envelope key is removed at the end; a repeated call
    after
    that finds equal content and changes nothing.
    """
    here = digest(manifest(directory)) if os.path.isdir(directory) else None
    if here == expected:
        if not check_mode:
            remove_envelope(state_dir, run_id)
        return {"changed": False, "aside": ""}
    aside = "{0}.aside-{1}{2}".format(directory.rstrip("/"), mark, safe_id(run_id))
    if check_mode:
        return {"changed": True, "aside": aside if here is not None else ""}
    target = new_target(directory, run_id)
    moved = put_in_place(unseal(envelope, expected, target, state_dir, run_id), directory, aside)
    remove_envelope(state_dir, run_id)
    # What was not known to be good is not there any more.
    if os.path.exists(os.path.join(state_dir, HELD)):
        os.unlink(os.path.join(state_dir, HELD))
    return {"changed": True, "aside": moved}


def new_target(directory, run_id):
    """Where a copy is built beside ``directory``; what an unfinished run left there is removed, it holds keys."""
    begin = directory.rstrip("/") + ".new-"
    for left in glob.glob(begin + "*"):
        shutil.rmtree(left)
    return begin + safe_id(run_id)


def put_in_place(unpacked, directory, aside):
    """Rename the directory ``unpacked`` to ``directory``; what is there goes to ``aside``. Returns where it went."""
    _sync_tree(unpacked)
    moved = ""
    if os.path.lexists(directory):
        moved, number = aside, 1
        while os.path.lexists(moved):
            number += 1
            moved = "{0}.{1}".format(aside, number)
        os.rename(directory, moved)
    os.rename(unpacked, directory)
    os.rmdir(os.path.dirname(unpacked))
    _sync(os.path.dirname(directory.rstrip("/")))
    return moved


def prune_asides(directory, mark, keep):
    """Remove all but the newest ``keep`` directories ``<directory>.aside-<mark>*``; returns what was removed.

    Only for a mark whose directories are proven to hold nothing that their successor does not have.
    """
    begin = "{0}.aside-{1}".format(os.path.basename(directory.rstrip("/")), mark)
    parent = os.path.dirname(directory.rstrip("/"))
    found = sorted(name for name in os.listdir(parent) if name.startswith(begin))
    gone = found[: max(0, len(found) - max(1, keep))]
    for name in gone:
        shutil.rmtree(os.path.join(parent, name))
    return gone


def _sync(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_tree(directory):
    for base, _unused, files in os.walk(directory):
        for name in files:
            path = os.path.join(base, name)
            if not os.path.islink(path):
                _sync(path)
        _sync(base)
