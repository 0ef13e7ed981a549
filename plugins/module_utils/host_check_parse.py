# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the texts and bytes that a host gives mean. Everything here is pure."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import base64
import calendar
import datetime
import json
import re
import socket
import struct

# Release dates of the platform (release notes): year to month and day.
_RELEASES = {
    2018: "0903 0925 1012 1022 1105 1119 1203 1210 1217 1231",
    2019: "0114 0128 0211 0225 0311 0325 0408 0422 0506 0520 0603 0617 0701 0715 0729 0812 0826 0909 0923 1007 1021"
          " 1104 1118 1202 1216 1230",
    2020: "0113 0127 0210 0224 0309 0323 0406 0420 0504 0518 0601 0615 0629 0713 0727 0810 0824 0907 0921 1005 1019"
          " 1102 1116",
    2021: "0111 0125 0208 0222 0308 0322 0405 0419 0503 0517 0531 0614 0628 0712 0726 0809 0823 0906 0920 1004 1018"
          " 1101 1115 1129 1213",
    2022: "0110 0124 0207 0221 0307 0321 0404 0418 0502 0530 0627 0725 0822 0919 1017 1114",
    2023: "0109",
}
RELEASES = ["{0}-{1}-{2}".format(year, day[:2], day[2:]) for year in sorted(_RELEASES)
            for day in _RELEASES[year].split()]
# Built after the date of its release, the only one of those published.
_BUILT_LATE = {1536180382: "2018-09-03"}
LONGEST_GAP_DAYS = 20


def release_of(version):
    """Release of the platform that a version of the package circonus-web-service belongs to, None when unknown.

    version: ``0.1.<epoch of the build>``, more may follow. The release is the first one that is not older than the
    build, and at most 20 days younger (operation manual, "Release Notes").
    """
    match = re.match(r"0\.1\.(\d{10})(?!\d)", version or "")
    if not match:
        return None
    epoch = int(match.group(1))
    built = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=epoch)
    found = _BUILT_LATE.get(epoch) or next((day for day in RELEASES if day >= built.strftime("%Y-%m-%d")), None)
    if found is None or (datetime.datetime.strptime(found, "%Y-%m-%d") - built).days > LONGEST_GAP_DAYS:
        return None
    return found


# ---- processes and sockets -------------------------------------------------------------------------------------


def parse_stat(text):
    """``/proc/<pid>/stat`` to ``{"pid", "comm", "state", "ppid", "start_ticks"}``."""
    head, dummy, tail = text.rpartition(")")
    pid, dummy, comm = head.partition("(")
    fields = tail.split()
    return {
        "pid": int(pid),
        "comm": comm,
        "state": fields[0],
        "ppid": int(fields[1]),
        "start_ticks": int(fields[19]),
    }


def parse_cgroup(text):
    """Name of the systemd unit in ``/proc/<pid>/cgroup``: a service without its suffix, a scope with it, or None."""
    paths = {}
    for line in text.splitlines():
        parts = line.split(":", 2)
        if len(parts) == 3:
            paths["systemd" if parts[1] == "name=systemd" else parts[0]] = parts[2]
    for path in (paths.get("systemd"), paths.get("0")):
        parts = (path or "").split("/")
        for suffix, keep in ((".service", False), (".scope", True)):
            for part in reversed(parts):
                if part.endswith(suffix):
                    return part if keep else part[: -len(suffix)]
    return None


def _address(text):
    """Hexadecimal address of a table in ``/proc/net`` to text."""
    return _unpacked(b"".join(struct.pack("=I", int(text[at:at + 8], 16)) for at in range(0, len(text), 8)))


def _unpacked(packed):
    """Binary address to text; an IPv4 one in IPv6 form is an IPv4 one."""
    if len(packed) == 16 and packed.startswith(b"\0" * 10 + b"\xff\xff"):
        packed = packed[12:]
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


def parse_sockets(text, proto):
    """Listening sockets of a table in ``/proc/net``: ``[{"proto", "port", "address", "inode"}, ...]``.

    proto: tcp or udp. A UDP socket without a peer counts as listening.
    """
    found = []
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 10 or fields[3] != ("0A" if proto == "tcp" else "07"):
            continue
        address, port = fields[1].rsplit(":", 1)
        found.append(
            {"proto": proto, "port": int(port, 16), "address": _address(address), "inode": int(fields[9])}
        )
    return found


_NETLINK = struct.Struct("=IHHII")
_DIAG = struct.Struct("=BBBBI48x")
_PROTOCOLS = {"tcp": (6, 10), "udp": (17, 7)}  # number, state of a socket that waits


def diag_request(family, proto):
    """The question to the kernel for the sockets of one family and protocol that wait for somebody (sock_diag(7))."""
    number, state = _PROTOCOLS[proto]
    body = _DIAG.pack(family, number, 0, 0, 1 << state)
    return _NETLINK.pack(_NETLINK.size + len(body), 20, 0x301, 1, 0) + body  # SOCK_DIAG_BY_FAMILY; REQUEST and DUMP


def parse_diag(data, proto):
    """``(sockets, done)`` of one part of the kernel's answer, in the form of :func:`parse_sockets`. Raises OSError when
    the kernel refuses, ValueError for anything unexpected."""
    found, at = [], 0
    while at + _NETLINK.size <= len(data):
        length, kind = _NETLINK.unpack_from(data, at)[:2]
        part = data[at + _NETLINK.size:at + length]
        if kind == 3:  # NLMSG_DONE
            return found, True
        if kind == 2:  # NLMSG_ERROR
            raise OSError(-struct.unpack("=i", part[:4])[0], "the kernel does not tell its sockets")
        if kind != 20 or len(part) < 72:
            raise ValueError("unexpected answer of the kernel")
        packed = part[8:24] if part[0] == socket.AF_INET6 else part[8:12]
        found.append({"proto": proto, "port": struct.unpack("!H", part[4:6])[0], "address": _unpacked(packed),
                      "inode": struct.unpack("=I", part[68:72])[0]})
        at += (length + 3) & ~3
    return found, False


def bound(addresses):
    """How far the addresses of a socket reach: ``any``, ``local``, or the first address itself."""
    local = [item for item in addresses if item.startswith("127.") or item == "::1"]
    if any(item in ("0.0.0.0", "::") for item in addresses):
        return "any"
    return "local" if len(local) == len(addresses) else next(item for item in addresses if item not in local)


# ---- pages -----------------------------------------------------------------------------------------------------


def section_names(body):
    """Lower-case names of the sections in an answer: keys of a JSON object, modules and tags of XML; None for text."""
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if isinstance(document, dict):
        return set(str(key).lower() for key in document)
    if isinstance(document, list):
        return set(str(item["module"]).lower() for item in document if isinstance(item, dict) and "module" in item)
    if re.match(r"\s*<(\?xml|Resmon)", body):
        names = re.findall(r"<([A-Za-z_][\w.-]*)", body) + re.findall(r"\b(?:module|service)=[\"']([^\"']*)", body)
        return set(name.lower() for name in names)
    return None


def missing_sections(body, wanted):
    """Which of the ``wanted`` sections are not in the answer, in their order. A plain page must have the words."""
    names = section_names(body)
    if names is not None:
        return [name for name in wanted if name.lower() not in names]
    return [name for name in wanted if not re.search(r"(?<!\w)" + re.escape(name) + r"(?!\w)", body, re.IGNORECASE)]


def parse_noits(body):
    """Connections of stratcon to its brokers from ``/noits/show.json`` (Reconnoiter), two to each broker.

    Returns ``[{"remote", "cn", "type", "connected", "last_connect_epoch", "silent_s"}, ...]``; last_connect_epoch:
    None for never; silent_s: seconds of this session without an event, None while disconnected. Raises ValueError.
    """
    try:
        # A broker that is only configured has no connection yet.
        return [_feed(node) for node in json.loads(body)["nodes"] if node.get("type") != "configured"]
    except (AttributeError, KeyError, TypeError) as exc:
        raise ValueError("found no list of nodes ({0})".format(exc))


def _feed(node):
    connected = node["state"] not in ("disconnected", "connecting") and "next_attempt" not in node
    # A broker that never sent an event has sent the last one in 1970.
    silent = [float(node[key]) for key in ("last_event_age", "session_duration") if connected and key in node]
    return {
        "remote": node["remote"],
        "cn": node.get("remote_cn") or node.get("cn"),
        "type": node["type"],
        "connected": connected,
        "last_connect_epoch": float(node.get("last_connect") or 0) or None,
        "silent_s": round(min(silent), 1) if silent else None,
    }


# ---- certificates ----------------------------------------------------------------------------------------------


def _element(data, at):
    """``(tag, start, end)`` of the DER element at ``at``; the end may lie behind what was read."""
    tag, length = data[at], data[at + 1]
    at += 2
    if length & 0x80:
        count = length & 0x7F
        if not 0 < count < 5:
            raise ValueError("no DER length")
        length = int.from_bytes(data[at:at + count], "big")
        at += count
    return tag, at, at + length


def _time(data, at):
    """``(epoch, end)`` of the UTCTime or GeneralizedTime at ``at``."""
    tag, start, end = _element(data, at)
    text = data[start:end].decode("ascii")
    if tag == 0x17:
        text = ("19" if int(text[:2]) >= 50 else "20") + text
    elif tag != 0x18:
        raise ValueError("no DER time")
    return calendar.timegm(datetime.datetime.strptime(text, "%Y%m%d%H%M%SZ").timetuple()), end


def certificate_end(der):
    """Epoch of notAfter of a certificate. Raises ValueError or IndexError when it is none (RFC 5280, 4.1)."""
    at = _element(der, _element(der, 0)[1])[1]
    tag, dummy, end = _element(der, at)
    if tag == 0xA0:
        at = end
    for _unused in range(3):  # serial number, signature algorithm, issuer
        at = _element(der, at)[2]
    validity = _element(der, at)
    if validity[0] != 0x30:
        raise ValueError("no validity")
    return _time(der, _time(der, validity[1])[1])[0]


def crl_end(der):
    """Epoch of nextUpdate of a revocation list, None when it has none (RFC 5280, 5.1). Its beginning is enough."""
    at = _element(der, _element(der, 0)[1])[1]
    tag, dummy, end = _element(der, at)
    if tag == 0x02:
        at = end
    for _unused in range(2):  # signature algorithm, issuer
        at = _element(der, at)[2]
    at = _time(der, at)[1]
    return _time(der, at)[0] if der[at] in (0x17, 0x18) else None


_BLOCK = re.compile(br"-----BEGIN (TRUSTED CERTIFICATE|CERTIFICATE|X509 CRL)-----\s+([A-Za-z0-9+/=\s]+)")


def validity_end(data):
    """``(epoch or None, error)`` of a file with certificates or a revocation list; of several the first that ends."""
    blocks = [(match.group(1), b"".join(match.group(2).split())) for match in _BLOCK.finditer(data)]
    ends = []
    try:
        for label, text in blocks:
            der = base64.b64decode(text[: len(text) // 4 * 4])
            ends.append(crl_end(der) if label == b"X509 CRL" else certificate_end(der))
        if not blocks and data[:1] == b"\x30":
            try:
                ends.append(certificate_end(data))
            except (ValueError, IndexError):
                ends.append(crl_end(data))
    except (ValueError, IndexError, UnicodeDecodeError):
        return None, "expected a certificate or a revocation list, found one that cannot be read"
    if not ends:
        return None, "expected a certificate or a revocation list, found neither"
    ends = [end for end in ends if end is not None]
    return (min(ends), "") if ends else (None, "the revocation list names no next update")


def key_problem(head):
    """What is wrong with a private key, from its first bytes; empty when nothing is seen. Nothing of it is returned."""
    if not head:
        return "the key is empty"
    if b"BEGIN ENCRYPTED PRIVATE KEY" in head or b"4,ENCRYPTED" in head:
        return "the key is encrypted: no daemon can use it without its passphrase"
    if b"PRIVATE KEY" not in head and not head.startswith((b"\x30", b"-----BEGIN EC PARAMETERS")):
        return "expected a private key, found something else"
    return ""


# ---- cron ------------------------------------------------------------------------------------------------------

_SETTING = re.compile(r"^\s*[A-Za-z_][\w]*\s*=")


def parse_crontab(text, user=None):
    """Jobs of a crontab: ``[{"schedule", "user", "command"}, ...]``. user: owner of a personal one, None for a system
    one, whose lines name the user."""
    jobs = []
    for line in text.splitlines():
        line = line.strip()
        if not line or line.startswith("#") or _SETTING.match(line):
            continue
        count = 1 if line.startswith("@") else 5
        fields = line.split(None, count if user else count + 1)
        if len(fields) < (count if user else count + 1) + 1:
            continue
        jobs.append(
            {
                "schedule": " ".join(fields[:count]),
                "user": user or fields[count],
                "command": fields[-1],
            }
        )
    return jobs


def find_cron(jobs, script, user=None):
    """The first job whose command names ``script``, one of ``user`` preferred; None when there is none.

    A script without a path may be anywhere.
    """
    before = r"(?<![\w./-])" if "/" in script else r"(?<![\w.-])"
    pattern = re.compile(before + re.escape(script) + r"(?![\w./-])")
    found = [job for job in jobs if pattern.search(job["command"])]
    return next((job for job in found if user and job["user"] == user), found[0] if found else None)


# ---- packages --------------------------------------------------------------------------------------------------


def parse_versions(text):
    """``{package: version}`` from lines of a name, a tab and a version; other lines are messages."""
    pairs = [line.split("\t") for line in text.splitlines()]
    return dict((pair[0], pair[1]) for pair in pairs if len(pair) == 2 and pair[0] and pair[1])


def parse_dpkg_status(text, names):
    """``{package: version}`` of those of ``names`` that are installed, from the status file of dpkg. A name may have
    its architecture behind a colon."""
    found = {}
    for name in names:
        package, mark, architecture = name.partition(":")
        start = ("\n" + text).find("\nPackage: " + package + "\n")
        while start >= 0:
            end = text.find("\n\n", start)
            fields = dict(line.split(": ", 1) for line in text[start:None if end < 0 else end].splitlines()
                          if ": " in line and not line.startswith(" "))
            right = not architecture or fields.get("Architecture") == architecture
            if right and fields.get("Status", "").endswith(" installed") and fields.get("Version"):
                found[name] = fields["Version"]
                break
            start = text.find("\nPackage: " + package + "\n", start + 1)
    return found


def parse_owner_lines(text, paths):
    """``({path: package}, {package: version})`` of ``rpm -qf`` with a tab between name and version: one line a path,
    in their order, a sentence for a path that no package owns."""
    owners, versions = {}, {}
    lines = text.splitlines()
    for path, line in zip(paths, lines) if len(lines) == len(paths) else ():
        name, mark, version = line.partition("\t")
        if mark:
            owners[path], versions[name] = name, version
    return owners, versions
