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
    packed = b"".join(struct.pack("=I", int(text[at:at + 8], 16)) for at in range(0, len(text), 8))
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


# ---- RabbitMQ --------------------------------------------------------------------------------------------------

_TOKEN = re.compile(r"""\s*(?:(?P<string>"(?:\\.|[^"\\])*")|(?P<quoted>'(?:\\.|[^'\\])*')|(?P<mark><<|>>|[\[\]{},])"""
                    r"""|(?P<word>[^\s\[\]{},<>"']+))""")


def parse_terms(text):
    """An Erlang term as lists (of lists and tuples) and strings. Raises ValueError for what is none."""
    tokens, at = [], 0
    text = text.strip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if not match:
            raise ValueError("unexpected text in an Erlang term")
        at = match.end()
        if match.group("mark"):
            if match.group("mark") in "[]{},":
                tokens.append((True, match.group("mark")))
        else:
            tokens.append((False, match.group("word") or match.group(match.lastgroup)[1:-1]))
    value, end = _term(tokens, 0)
    return value


def _term(tokens, at):
    if at >= len(tokens):
        raise ValueError("an Erlang term ends early")
    mark, value = tokens[at]
    if not mark:
        return value, at + 1
    if value not in "[{":
        raise ValueError("unexpected {0} in an Erlang term".format(value))
    close, items, at = {"[": "]", "{": "}"}[value], [], at + 1
    while at < len(tokens) and tokens[at] != (True, close):
        item, at = _term(tokens, at)
        items.append(item)
        if at < len(tokens) and tokens[at] == (True, ","):
            at += 1
    if at >= len(tokens):
        raise ValueError("an Erlang term ends early")
    return items, at + 1


def parse_cluster(text):
    """State of a RabbitMQ cluster from ``rabbitmqctl cluster_status``, as JSON or as Erlang terms.

    Returns ``{"cluster_name", "nodes", "running_nodes": [names], "partitions": {node: [nodes]}, "alarms": [texts]}``.
    Raises ValueError for anything else.
    """
    start = text.find("{")
    try:
        document = json.loads(text[start:]) if start >= 0 else None
    except ValueError:
        document = None
    if isinstance(document, dict):
        alarms = document.get("alarms") or []
        partitions = document.get("partitions") or {}
        if isinstance(partitions, list):
            partitions = dict(
                (item.get("node", item.get("name")), item.get("partitions", [])) if isinstance(item, dict)
                else (item[0], item[1]) for item in partitions
            )
        nodes = (document.get("disk_nodes") or []) + (document.get("ram_nodes") or [])
        return {
            "cluster_name": document.get("cluster_name") or "",
            "nodes": sorted(nodes),
            "running_nodes": sorted(document.get("running_nodes") or []),
            "partitions": partitions,
            "alarms": sorted(_alarm(item) for item in alarms),
        }
    start = text.find("[{")
    if start < 0:
        raise ValueError("expected the state of a cluster from rabbitmqctl, found something else")
    term = parse_terms(text[start:])
    values = dict((item[0], item[1]) for item in term if isinstance(item, list) and len(item) == 2)
    if "running_nodes" not in values and "nodes" not in values:
        raise ValueError("expected the state of a cluster from rabbitmqctl, found other terms")
    nodes = [name for kind in values.get("nodes", []) for name in kind[1]]
    alarms = []
    for item in values.get("alarms", []):
        found = item[1] if isinstance(item, list) and len(item) == 2 else []
        alarms += ["{0} on {1}".format(name if isinstance(name, str) else " ".join(name), item[0]) for name in found]
    return {
        "cluster_name": values.get("cluster_name", ""),
        "nodes": sorted(nodes),
        "running_nodes": sorted(values.get("running_nodes", [])),
        "partitions": dict((item[0], item[1]) for item in values.get("partitions", [])),
        "alarms": sorted(alarms),
    }


def _alarm(item):
    if not isinstance(item, dict):
        return str(item)
    kind = item.get("resource") or item.get("type") or "alarm"
    return "{0} on {1}".format(kind, item.get("node") or "unknown")


# ---- packages --------------------------------------------------------------------------------------------------


def parse_versions(text):
    """``{package: version}`` from lines of a name, a tab and a version; other lines are messages."""
    pairs = [line.split("\t") for line in text.splitlines()]
    return dict((pair[0], pair[1]) for pair in pairs if len(pair) == 2 and pair[0] and pair[1])


def parse_owners(text):
    """``{path: package}`` of ``dpkg -S``, without diversions."""
    found = {}
    for line in text.splitlines():
        packages, mark, path = line.partition(": ")
        names = [name.strip() for name in packages.split(",")]
        if mark and path.startswith("/") and " " not in names[0]:
            found[path] = names[0]
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
