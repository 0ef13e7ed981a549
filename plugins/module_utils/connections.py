# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who this host is connected to, read from the kernel: no connection is made, no daemon notices."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import binascii
import socket
import time

from ansible_collections.circonus.inside.plugins.module_utils.errors import TimedOut

TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
ESTABLISHED = "01"
_POLL = 0.5


def peer(text):
    """``(address, port)`` of a column of the table. An IPv4 address inside an IPv6 one is shown as IPv4. Pure."""
    raw, _sep, port = text.rpartition(":")
    data = binascii.unhexlify(raw)
    # The kernel prints each group of four bytes as a number of the machine, which is little-endian here.
    data = b"".join(data[start:start + 4][::-1] for start in range(0, len(data), 4))
    if len(data) == 16 and data[:12] == b"\0" * 10 + b"\xff\xff":
        data = data[12:]
    family = socket.AF_INET if len(data) == 4 else socket.AF_INET6
    return socket.inet_ntop(family, data), int(port, 16)


def parse(text, addresses, port):
    """How many established connections of a table lead to a port of these addresses. Pure."""
    count = 0
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 3 and fields[3] == ESTABLISHED:
            address, number = peer(fields[2])
            count += number == port and address in addresses
    return count


def read_tables(paths=TABLES):
    """Texts of the tables that this host has."""
    found = []
    for path in paths:
        try:
            with open(path) as handle:
                found.append(handle.read())
        except (IOError, OSError):
            continue
    return found


def wait(addresses, port, most=None, timeout=0, reader=read_tables, clock=time.time, pause=time.sleep):
    """The number of connections, when there are at most ``most``; at once without a limit. Raises TimedOut."""
    end = clock() + timeout
    while True:
        count = sum(parse(text, addresses, port) for text in reader())
        if most is None or count <= most:
            return count
        if clock() >= end:
            raise TimedOut(
                "Expected at most {0} connections to port {1} of {2} within {3:g} s, found {4}. ss -tnp shows whose "
                "they are: restart it.".format(most, port, ", ".join(addresses), timeout, count),
                count=count,
            )
        pause(_POLL)
