# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Files of the PKI on one host: certificates and CRLs as they are, of a private key only what is public.

What leaves this host of a file is decided here by the shape of its content, never by its name or its label: a DER value
goes out only when it is built like a certificate, a request or a CRL. A private key is looked at by the host's openssl,
which is given the path and asked for the public half; of that only type, size and SHA-256 are returned.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import base64
import binascii
import errno
import glob
import grp
import hashlib
import os
import pwd
import re
import stat
import subprocess
import threading
import time

LIMIT = 1048576
FILES_PER_PATTERN = 50
SEQUENCE, BIT_STRING, OCTET_STRING, INTEGER, OID = 0x30, 0x03, 0x04, 0x02, 0x06
KINDS = {
    stat.S_IFDIR: "directory",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}
BLOCK = re.compile(b"-----BEGIN ([A-Z0-9 ]{1,40})-----(.*?)-----END \\1-----", re.DOTALL)
ALGORITHMS = {
    "1.2.840.113549.1.1.1": "rsa",
    "1.2.840.113549.1.1.10": "rsa",
    "1.2.840.10045.2.1": "ec",
    "1.2.840.10040.4.1": "dsa",
    "1.3.101.112": "ed25519",
    "1.3.101.113": "ed448",
}
CURVES = {
    "1.2.840.10045.3.1.1": 192,
    "1.3.132.0.33": 224,
    "1.2.840.10045.3.1.7": 256,
    "1.3.132.0.10": 256,
    "1.3.132.0.34": 384,
    "1.3.132.0.35": 521,
}


# -- DER, as far as it is needed to tell one thing from another -------------------------------------------------------


def element(data, position, end):
    """(tag, start, end) of the DER element at a position. Raises ValueError when it is none or does not fit."""
    if position + 2 > end:
        raise ValueError("truncated")
    tag, length, start = data[position], data[position + 1], position + 2
    if length >= 0x80:
        size = length & 0x7F
        if not 1 <= size <= 4 or start + size > end:
            raise ValueError("no DER length")
        length = int(binascii.hexlify(bytes(data[start:start + size])), 16)
        start += size
    if start + length > end:
        raise ValueError("truncated")
    return tag, start, start + length


def children(data, start, end):
    """Elements between two positions."""
    found = []
    while start < end:
        item = element(data, start, end)
        found.append(item)
        start = item[2]
    return found


def _tags(data):
    """Tags of the parts of the one SEQUENCE that ``data`` is, and of the parts of its first part; [], [] otherwise."""
    data = bytearray(data)
    try:
        tag, start, end = element(data, 0, len(data))
        if tag != SEQUENCE or end != len(data):
            return [], []
        parts = children(data, start, end)
        inner = children(data, parts[0][1], parts[0][2]) if parts and parts[0][0] == SEQUENCE else []
    except ValueError:
        return [], []
    return [part[0] for part in parts], [part[0] for part in inner]


def public_type(der):
    """``certificate``, ``crl``, ``request``, or None for everything else, private keys above all. Pure.

    All three are SEQUENCE {SEQUENCE, SEQUENCE, BIT STRING}, which no form of a private key is.
    """
    outer, inner = _tags(der)
    if outer != [SEQUENCE, SEQUENCE, BIT_STRING]:
        return None
    if inner[:1] == [0xA0] or inner[:6] == [INTEGER, SEQUENCE, SEQUENCE, SEQUENCE, SEQUENCE, SEQUENCE]:
        return "certificate"
    if inner[:3] == [INTEGER, SEQUENCE, SEQUENCE] and inner[3:4] == [0xA0]:
        return "request"
    plain = inner[1:] if inner[:1] == [INTEGER] else inner
    if plain[:2] == [SEQUENCE, SEQUENCE] and plain[2:3] in ([0x17], [0x18]):
        return "crl"
    return None


def private_format(der):
    """``pkcs1``, ``pkcs8``, ``pkcs8 encrypted``, ``sec1``, ``dsa`` of a private key, or None. Pure."""
    outer, unused = _tags(der)
    if outer[:3] == [INTEGER, SEQUENCE, OCTET_STRING]:
        return "pkcs8"
    if outer == [SEQUENCE, OCTET_STRING]:
        return "pkcs8 encrypted"
    if outer[:2] == [INTEGER, OCTET_STRING]:
        return "sec1"
    if len(outer) >= 9 and set(outer[:9]) == set([INTEGER]):
        return "pkcs1"
    if outer == [INTEGER] * 6:
        return "dsa"
    return None


def oid_text(raw):
    """Dotted text of an encoded object identifier. Pure."""
    numbers, value = [], 0
    for byte in bytearray(raw):
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            numbers.append(value)
            value = 0
    if not numbers:
        raise ValueError("empty object identifier")
    first = min(numbers[0] // 40, 2)
    return ".".join(str(number) for number in [first, numbers[0] - 40 * first] + numbers[1:])


def public_key_facts(der):
    """``{"type", "bits", "public_sha256"}`` of a SubjectPublicKeyInfo. Pure.

    type is the OID and bits None where they are not known. Raises ValueError for anything else.
    """
    data = bytearray(der)
    tag, start, end = element(data, 0, len(data))
    parts = children(data, start, end)
    if tag != SEQUENCE or [part[0] for part in parts] != [SEQUENCE, BIT_STRING]:
        raise ValueError("expected a public key")
    algorithm = children(data, parts[0][1], parts[0][2])
    if not algorithm or algorithm[0][0] != OID:
        raise ValueError("expected a public key with an algorithm")
    oid = oid_text(data[algorithm[0][1]:algorithm[0][2]])
    kind = ALGORITHMS.get(oid, oid)
    bits = {"ed25519": 256, "ed448": 448}.get(kind)
    if kind == "rsa":
        key = element(data, parts[1][1] + 1, parts[1][2])
        modulus = element(data, key[1], key[2])
        bits = int(binascii.hexlify(bytes(data[modulus[1]:modulus[2]])), 16).bit_length()
    elif kind == "ec" and len(algorithm) > 1 and algorithm[1][0] == OID:
        bits = CURVES.get(oid_text(data[algorithm[1][1]:algorithm[1][2]]))
    return {"type": kind, "bits": bits, "public_sha256": hashlib.sha256(bytes(der)).hexdigest()}


# -- content of a file ------------------------------------------------------------------------------------------------


def sort_content(data):
    """What a file holds, sorted into what may leave the host and what may not. Pure.

    Returns ``{"format": "pem" | "der" | "other" | "empty", "objects": [{"type", "der": base64 text}], "keys":
    [{"format", "encrypted"}], "unknown": number of PEM blocks that are neither}``. Text between blocks is dropped.
    """
    result = {"format": "other", "objects": [], "keys": [], "unknown": 0}
    if not data.strip():
        return dict(result, format="empty")
    blocks = BLOCK.findall(data)
    if not blocks:
        kind, key = public_type(data), private_format(data)
        if kind:
            result.update(format="der", objects=[_object(kind, data)])
        elif key:
            result.update(format="der", keys=[{"format": key, "encrypted": key == "pkcs8 encrypted"}])
        return result
    result["format"] = "pem"
    for label, body in blocks:
        if label.endswith(b"PRIVATE KEY"):
            result["keys"].append(_key_block(label, body))
            continue
        try:
            der = base64.b64decode(b"".join(body.split()), None)
        except (binascii.Error, ValueError, TypeError):
            result["unknown"] += 1
            continue
        kind = public_type(_leading(der) if label.startswith(b"TRUSTED") else der)
        if kind:
            result["objects"].append(_object(kind, _leading(der) if label.startswith(b"TRUSTED") else der))
        elif private_format(der):
            result["keys"].append({"format": private_format(der), "encrypted": False})
        elif b"PARAMETERS" not in label:
            result["unknown"] += 1
    return result


def _leading(der):
    """A certificate without the trust settings that OpenSSL puts behind it."""
    try:
        return der[:element(bytearray(der), 0, len(der))[2]]
    except ValueError:
        return der


def _object(kind, der):
    return {"type": kind, "der": base64.b64encode(bytes(der)).decode("ascii")}


def _key_block(label, body):
    name = label[:-len(b" PRIVATE KEY")] if label != b"PRIVATE KEY" else b""
    forms = {b"RSA": "pkcs1", b"EC": "sec1", b"DSA": "dsa", b"": "pkcs8", b"ENCRYPTED": "pkcs8 encrypted"}
    encrypted = name == b"ENCRYPTED" or b"Proc-Type: 4,ENCRYPTED" in body
    return {"format": forms.get(name, name.decode("ascii").lower()), "encrypted": encrypted}


# -- the host ---------------------------------------------------------------------------------------------------------


def run(argv, timeout):
    """(exit code, output bytes) of a program that gets no input and whose complaints are dropped; 124 after timeout."""
    devnull = open(os.devnull, "r+b")
    try:
        process = subprocess.Popen(argv, stdin=devnull, stdout=subprocess.PIPE, stderr=devnull, close_fds=True)
        timer = threading.Timer(timeout, process.kill)
        timer.start()
        try:
            out = process.communicate()[0]
        finally:
            timed_out = not timer.is_alive()
            timer.cancel()
        return (124 if timed_out else process.returncode), out
    finally:
        devnull.close()


def public_half(path, form, timeout=5.0, runner=run, openssl="openssl"):
    """Facts of the public half of a plain private key, or ``{"error": text}``. The key is read by openssl alone."""
    argv = [openssl, "pkey", "-in", path, "-inform", "DER" if form == "der" else "PEM", "-passin", "pass:"]
    try:
        code, out = runner(argv + ["-pubout", "-outform", "DER"], timeout)
    except OSError as exc:
        return {"error": "openssl on this host: {0}".format(os.strerror(exc.errno))}
    if code == 124:
        return {"error": "openssl gave no answer within {0:g} s".format(timeout)}
    try:
        if code:
            raise ValueError("openssl refuses it")
        return public_key_facts(out)
    except ValueError:
        return {"error": "openssl on this host cannot read this private key (exit code {0})".format(code)}


def look(path, timeout=5.0, runner=run):
    """Everything about one path. Never blocks on a FIFO or a device, never reads more than LIMIT bytes.

    Returns ``{"path", "state", "link", "mode", "owner", "group", "size", "mtime", "format", "objects", "keys",
    "unknown", "error"}``. state: ``file``, ``missing``, ``unreadable``, ``too_large``, ``dangling`` (a symlink without
    a target), ``directory``, ``fifo``, ``socket``, ``device``. mode, owner and group are those of the target.
    """
    item = {"path": path, "state": "file", "link": None, "mode": None, "owner": None, "group": None, "size": None,
            "mtime": None, "format": None, "objects": [], "keys": [], "unknown": 0, "error": ""}
    try:
        if os.path.islink(path):
            item["link"] = os.readlink(path)
        info = os.stat(path)
        item.update(mode="{0:04o}".format(stat.S_IMODE(info.st_mode)), size=info.st_size, mtime=int(info.st_mtime),
                    owner=_name(info.st_uid, pwd.getpwuid), group=_name(info.st_gid, grp.getgrgid))
        kind = KINDS.get(stat.S_IFMT(info.st_mode))
        if kind:
            return dict(item, state=kind)
        if info.st_size > LIMIT:
            return dict(item, state="too_large")
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0))
        with os.fdopen(descriptor, "rb") as handle:
            data = handle.read(LIMIT + 1)
    except (IOError, OSError) as exc:
        state = "unreadable"
        if exc.errno == errno.ENOENT:
            state = "dangling" if item["link"] else "missing"
        return dict(item, state=state, error="" if state == "missing" else os.strerror(exc.errno or 0))
    if len(data) > LIMIT:
        return dict(item, state="too_large")
    item.update(sort_content(data))
    for number, key in enumerate(item["keys"]):
        key.update({"type": None, "bits": None, "public_sha256": None, "error": ""})
        # openssl reads the first key of a file; more than one is a finding of its own.
        if number == 0 and not key["encrypted"]:
            key.update(public_half(path, item["format"], timeout, runner))
    return item


def _name(number, lookup):
    try:
        return lookup(number)[0]
    except KeyError:
        return str(number)


def collect(wanted, deadline=30.0, runner=run, clock=time.time):
    """Looks at files, each path once. ``wanted``: ``[{"path" (may be a pattern), ...}]``; other keys are passed on.

    Returns ``[dict(the wanted item, **look())]``; what was not reached before the deadline (seconds) is ``unreadable``.
    A pattern without a match is one file that is ``missing``.
    """
    end, seen, result = clock() + deadline, {}, []
    for item in wanted:
        paths = [item["path"]]
        if any(mark in item["path"] for mark in "*?["):
            paths = sorted(glob.glob(item["path"]))[:FILES_PER_PATTERN] or paths
        for path in paths:
            if path not in seen:
                left = end - clock()
                if left <= 0:
                    seen[path] = dict(look_nothing(path), error="not looked at within {0:g} s".format(deadline))
                else:
                    seen[path] = look(path, min(5.0, left), runner)
            result.append(dict(item, **seen[path]))
    return result


def look_nothing(path):
    """A path that was not looked at."""
    return {"path": path, "state": "unreadable", "link": None, "mode": None, "owner": None, "group": None, "size": None,
            "mtime": None, "format": None, "objects": [], "keys": [], "unknown": 0, "error": ""}
