# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The address that clients follow: add it to this host, or take it away, without waiting.

Adding happens while nobody can write to the database, so nothing here blocks: the address is added first, then the
neighbours are told by gratuitous ARP frames that are sent and not waited for.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import binascii
import os
import re
import socket
import struct
import subprocess
import time

from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput, CommandFailed, Refused
from ansible_collections.circonus.inside.plugins.module_utils.programs import find_program

COMMAND_TIMEOUT = 5.0
_LINE = re.compile(
    r"^\d+:\s+(?P<interface>[^\s@:]+)(?:@\S+)?\s+(?P<family>inet6?)\s+(?P<address>[0-9A-Fa-f.:]+)"
    r"(?:\s+peer\s+(?P<peer>[0-9A-Fa-f.:]+))?(?:/(?P<prefix>\d+))?(?P<rest>.*)$"
)


def run(argv):
    """Run ``argv`` and return ``(rc, stdout, stderr)``; the caller decides what they mean."""
    try:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except OSError as exc:
        raise CommandFailed("Cannot run {0}: {1}. Install it on this host.".format(argv[0], exc.strerror))
    try:
        out, err = process.communicate(timeout=COMMAND_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise CommandFailed(
            "{0} did not answer within {1:g} s. Look at this host.".format(" ".join(argv), COMMAND_TIMEOUT)
        )
    return process.returncode, out.decode("utf-8", "replace"), err.decode("utf-8", "replace")


def parse_addresses(text):
    """Read the output of ``ip -o addr show``.

    Returns ``[{"interface", "family": "inet"|"inet6", "address", "prefix": int, "secondary": bool}, ...]`` in its
    order.
    """
    found = []
    for line in text.splitlines():
        match = _LINE.match(line.strip())
        if not match:
            continue
        family = match.group("family")
        full = 32 if family == "inet" else 128
        flags = match.group("rest").split("\\")[0].split()
        found.append(
            {
                "interface": match.group("interface"),
                "family": family,
                "address": match.group("address"),
                "prefix": full if match.group("peer") else int(match.group("prefix") or full),
                "secondary": "secondary" in flags or "temporary" in flags,
            }
        )
    return found


def packed(address):
    """``(family, bytes)`` of an address in text form. Raises BadInput."""
    for family, kind in (("inet", socket.AF_INET), ("inet6", socket.AF_INET6)):
        try:
            return family, socket.inet_pton(kind, address)
        except (OSError, ValueError):
            continue
    raise BadInput(
        "Expected an IP address such as 192.0.2.10 or 192.0.2.10/24, found {0!r}. Correct the client address.".format(
            address
        )
    )


def split(address):
    """``192.0.2.10/24`` to ``("192.0.2.10", 24)``; no prefix gives None. Raises BadInput."""
    host, dummy, prefix = str(address).strip().partition("/")
    family = packed(host)[0]
    if not prefix:
        return host, None
    longest = 32 if family == "inet" else 128
    if not prefix.isdigit() or not 1 <= int(prefix) <= longest:
        raise BadInput(
            "Expected a prefix of 1 to {0} in {1!r}, found {2!r}. Correct the client address.".format(
                longest, address, prefix
            )
        )
    return host, int(prefix)


def same_network(first, second, prefix):
    """True when both addresses lie in the same network of ``prefix`` bits."""
    family_one, one = packed(first)
    family_two, two = packed(second)
    if family_one != family_two:
        return False
    shift = len(one) * 8 - prefix
    return int(binascii.hexlify(one), 16) >> shift == int(binascii.hexlify(two), 16) >> shift


def locate(entries, host):
    """The entry that is ``host`` itself, or None."""
    family, wanted = packed(host)
    for entry in entries:
        if entry["family"] == family and packed(entry["address"])[1] == wanted:
            return entry
    return None


def choose_interface(entries, host, interface=None):
    """``(interface, prefix)`` that ``host`` belongs on: where an address of its network already is. Pure.

    The longest network wins; the loopback interface never does. With ``interface`` only that one is looked at.
    Raises Refused when no network of this host contains the address.
    """
    best = None
    for entry in entries:
        if entry["interface"] == "lo" or (interface and entry["interface"] != interface):
            continue
        longest = 32 if entry["family"] == "inet" else 128
        if entry["prefix"] >= longest or entry["address"] == host:
            continue
        if same_network(entry["address"], host, entry["prefix"]) and (best is None or entry["prefix"] > best[1]):
            best = (entry["interface"], entry["prefix"])
    if best is None:
        networks = sorted(
            {"{interface} {address}/{prefix}".format(**entry) for entry in entries if entry["interface"] != "lo"}
        )
        raise Refused(
            "No interface {0}has a network that contains {1}: expected one, found {2}. Choose another client address, "
            "name the interface, or another host.".format(
                "{0} ".format(interface) if interface else "", host, ", ".join(networks) or "none"
            )
        )
    return best


def plan(entries, address, interface, wanted):
    """Decide what makes ``address`` present (``wanted`` true) or absent. Pure.

    Returns ``{"command": None or list after ip, "interface": str or None, "prefix": int or None, "lost": [entries]}``;
    ``lost`` are addresses that the kernel drops together with a primary one unless it promotes them.
    Raises BadInput or Refused.
    """
    host, prefix = split(address)
    there = locate(entries, host)
    if wanted:
        if there is not None:
            if interface and there["interface"] != interface:
                raise Refused(
                    "{0} is on {1} of this host, expected {2}. Remove it there, or name that interface.".format(
                        host, there["interface"], interface
                    )
                )
            return {"command": None, "interface": there["interface"], "prefix": there["prefix"], "lost": []}
        name, network_prefix = choose_interface(entries, host, interface)
        prefix = prefix or network_prefix
        return {
            "command": ["addr", "add", "{0}/{1}".format(host, prefix), "dev", name],
            "interface": name,
            "prefix": prefix,
            "lost": [],
        }
    if there is None or (interface and there["interface"] != interface):
        return {"command": None, "interface": interface, "prefix": prefix, "lost": []}
    lost = []
    if there["family"] == "inet" and not there["secondary"]:
        lost = [
            entry
            for entry in entries
            if entry["interface"] == there["interface"]
            and entry["secondary"]
            and entry["family"] == "inet"
            and same_network(entry["address"], host, there["prefix"])
        ]
    return {
        "command": ["addr", "del", "{0}/{1}".format(host, there["prefix"]), "dev", there["interface"]],
        "interface": there["interface"],
        "prefix": there["prefix"],
        "lost": lost,
    }


def arp_frames(hardware, host):
    """The two gratuitous ARP frames (request and reply form) of an IPv4 ``host`` at ``hardware`` (6 bytes). Pure."""
    protocol = socket.inet_aton(host)
    broadcast = b"\xff" * 6
    frames = []
    for operation, target in ((1, b"\x00" * 6), (2, broadcast)):
        frames.append(
            broadcast
            + hardware
            + struct.pack("!HHHBBH", 0x0806, 1, 0x0800, 6, 4, operation)
            + hardware
            + protocol
            + target
            + protocol
        )
    return frames


def announce(host, interface, frames=3):
    """Tell the neighbours that ``host`` is here now. Never waits; returns ``(how, note)``.

    ``how`` is frames, arping or none. A missing possibility is a note and not an error: the address is in place,
    neighbours only learn of it later.
    """
    if packed(host)[0] != "inet":
        return "none", "the kernel announces IPv6 addresses itself"
    try:
        with open("/sys/class/net/{0}/address".format(interface)) as handle:
            hardware = binascii.unhexlify(handle.read().strip().replace(":", ""))
        if len(hardware) != 6:
            return "none", "{0} is no Ethernet interface, there is nobody to tell".format(interface)
        link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        try:
            link.setblocking(False)
            link.bind((interface, 0x0806))
            for frame in arp_frames(hardware, host) * frames:
                link.send(frame)
        finally:
            link.close()
        return "frames", ""
    except (OSError, IOError, ValueError, AttributeError) as exc:
        reason = getattr(exc, "strerror", None) or str(exc)
    arping = find_program("arping")
    if arping is None:
        note = "the neighbours were not told ({0}, and arping is not installed); they may need a minute"
        return "none", note.format(reason)
    # -U -I -c are the options that both arping programs (iputils and Habets) understand the same way.
    with open(os.devnull, "r+b") as nowhere:
        subprocess.Popen(
            [arping, "-U", "-I", interface, "-c", str(frames), host],
            stdin=nowhere,
            stdout=nowhere,
            stderr=nowhere,
            close_fds=True,
            start_new_session=True,
        )
    return "arping", ""


def _entries(runner):
    ip = find_program("ip") or "ip"
    rc, out, err = runner([ip, "-o", "addr", "show"])
    if rc != 0:
        raise CommandFailed("ip -o addr show failed with {0}: {1}. Check iproute on this host.".format(rc, err.strip()))
    return ip, parse_addresses(out)


def addresses(runner=run):
    """All addresses of this host, see :func:`parse_addresses`."""
    return _entries(runner)[1]


def has(address, runner=run):
    """True when this host has the address (its prefix is not compared)."""
    return locate(_entries(runner)[1], split(address)[0]) is not None


def _result(todo, host, changed, started, how="none", note=""):
    return {
        "changed": changed,
        "address": host,
        "prefix": todo["prefix"],
        "interface": todo["interface"],
        "announced": how,
        "note": note,
        "seconds": round(time.time() - started, 4),
    }


def present(address, interface=None, runner=run, check_mode=False, announcer=announce):
    """Put ``address`` on this host.

    address: ``192.0.2.10`` or ``192.0.2.10/24``; without a prefix the one of the network is used. interface: found by
    the network when None. Returns ``{"changed", "address", "prefix", "interface", "announced", "note", "seconds"}``.
    An address that is there already is announced again, which harms nobody and helps after an interrupted run.
    """
    started = time.time()
    host = split(address)[0]
    ip, entries = _entries(runner)
    todo = plan(entries, address, interface, True)
    if check_mode:
        return _result(todo, host, todo["command"] is not None, started)
    changed = False
    if todo["command"]:
        rc, out, err = runner([ip] + todo["command"])
        if rc != 0 and "exists" not in err and "already assigned" not in err:
            raise CommandFailed(
                "Cannot add {0} to {1}: {2}. Check the address and the interface.".format(
                    host, todo["interface"], (err or out).strip()
                )
            )
        changed = rc == 0
    how, note = announcer(host, todo["interface"])
    return _result(todo, host, changed, started, how, note)


def _promote_secondaries(interface):
    """Ask the kernel to keep the other addresses when a primary one goes; True when it will."""
    path = "/proc/sys/net/ipv4/conf/{0}/promote_secondaries".format(interface)
    try:
        with open(path) as handle:
            if handle.read().strip() == "1":
                return True
        with open(path, "w") as handle:
            handle.write("1\n")
        return True
    except (IOError, OSError):
        return False


def absent(address, interface=None, runner=run, check_mode=False):
    """Take ``address`` away from this host; the answer has the shape of :func:`present`.

    When the kernel would drop other addresses of the network with it, it is asked to promote them; where that is not
    possible they are put back and a note says so.
    """
    started = time.time()
    host = split(address)[0]
    ip, entries = _entries(runner)
    todo = plan(entries, address, interface, False)
    if todo["command"] is None or check_mode:
        return _result(todo, host, todo["command"] is not None, started)
    promoted = _promote_secondaries(todo["interface"]) if todo["lost"] else True
    rc, out, err = runner([ip] + todo["command"])
    if rc != 0 and "Cannot assign requested address" not in err and "not found" not in err:
        raise CommandFailed(
            "Cannot remove {0} from {1}: {2}. Remove it by hand: ip {3}.".format(
                host, todo["interface"], (err or out).strip(), " ".join(todo["command"])
            )
        )
    note = ""
    if not promoted:
        left = _entries(runner)[1]
        for entry in todo["lost"]:
            if locate(left, entry["address"]) is None:
                runner([ip, "addr", "add", "{address}/{prefix}".format(**entry), "dev", entry["interface"]])
                note = "the kernel dropped other addresses of {0}, they were put back; check its routes"
                note = note.format(todo["interface"])
    return _result(todo, host, rc == 0, started, note=note)
