# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import socket

import pytest
from ansible_collections.circonus.inside.plugins.module_utils import connections
from ansible_collections.circonus.inside.plugins.module_utils.errors import TimedOut

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue\n"
#: 192.0.2.11:5432 established, the same in state TIME_WAIT, another port, another host.
TABLE = HEAD + "".join(
    "   %d: 0100007F:A000 %s %s 00000000:00000000\n" % (number, remote, state)
    for number, (remote, state) in enumerate([
        ("0B0200C0:1538", "01"), ("0B0200C0:1538", "06"), ("0B0200C0:1539", "01"), ("0C0200C0:1538", "01")]))
SIX = HEAD + "   0: 00 0000000000000000FFFF00000B0200C0:1538 01 x\n"


class TestParse:
    def test_counts_what_is_established(self):
        assert connections.parse(TABLE, ["192.0.2.11"], 5432) == 1
        assert connections.parse(TABLE, ["192.0.2.11", "192.0.2.12"], 5432) == 2

    def test_an_ipv4_address_in_the_other_table(self):
        assert connections.parse(SIX, ["192.0.2.11"], 5432) == 1

    def test_the_kernel_of_this_machine(self):
        server = socket.socket()
        server.bind(("127.0.0.1", 0))
        server.listen(1)
        port = server.getsockname()[1]
        assert connections.wait(["127.0.0.1"], port) == 0
        client = socket.create_connection(("127.0.0.1", port))
        try:
            assert connections.wait(["127.0.0.1"], port) == 1
        finally:
            client.close()
            server.close()


class TestWait:
    def wait(self, tables, most, timeout=5):
        now, left = [0.0], list(tables)
        return connections.wait(
            ["192.0.2.11"], 5432, most, timeout, reader=lambda: [left.pop(0) if len(left) > 1 else left[0]],
            clock=lambda: now[0], pause=lambda seconds: now.__setitem__(0, now[0] + seconds))

    def test_until_they_are_gone(self):
        assert self.wait([TABLE, TABLE, HEAD], 0) == 0

    def test_some_may_stay(self):
        assert self.wait([TABLE], 1) == 1 and self.wait([TABLE], None) == 1

    def test_says_what_is_left(self):
        with pytest.raises(TimedOut, match="Expected at most 0 connections to port 5432 of 192.0.2.11 within 5 s, "
                                           "found 1"):
            self.wait([TABLE], 0)
