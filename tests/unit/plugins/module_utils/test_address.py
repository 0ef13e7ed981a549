# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import pytest

from ansible_collections.circonus.inside.plugins.module_utils import address
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput, CommandFailed, Refused

LIST = "\n".join(
    (
        r"1: lo    inet 127.0.0.1/8 scope host lo\       valid_lft forever preferred_lft forever",
        r"1: lo    inet6 ::1/128 scope host \       valid_lft forever preferred_lft forever",
        r"2: site0@if9    inet 192.0.2.11/24 brd 192.0.2.255 scope global site0\       valid_lft forever preferred_lft "
        r"forever",
        r"3: svc0    inet 198.51.100.11/24 brd 198.51.100.255 scope global svc0\       valid_lft forever",
        r"3: svc0    inet6 fe80::5054:ff:fe12:3456/64 scope link \       valid_lft forever preferred_lft forever",
        r"4: tun0    inet 203.0.113.1 peer 203.0.113.2/32 scope global tun0\       valid_lft forever",
    )
)
WITH = LIST + "\n" + r"3: svc0    inet 198.51.100.200/24 scope global secondary svc0\       valid_lft forever"
ALIAS_FIRST = "\n".join(
    (
        r"3: svc0    inet 198.51.100.200/24 scope global svc0\       valid_lft forever",
        r"3: svc0    inet 198.51.100.11/24 scope global secondary svc0\       valid_lft forever",
    )
)


class Host:
    """Answers ``ip`` from a list of outputs, one per ``ip -o addr show``, and records what was changed."""

    def __init__(self, listings, rc=0, err=""):
        self.listings, self.rc, self.err, self.changes = list(listings), rc, err, []

    def __call__(self, argv):
        if argv[1] == "-o":
            return 0, self.listings.pop(0) if len(self.listings) > 1 else self.listings[0], ""
        self.changes.append(" ".join(argv[1:]))
        return self.rc, "", self.err


def silent(host, interface):
    return "frames", ""


class TestParseAddresses:
    def test_reads_interfaces_prefixes_and_peers(self):
        found = address.parse_addresses(WITH)
        assert [(entry["interface"], entry["address"], entry["prefix"]) for entry in found] == [
            ("lo", "127.0.0.1", 8),
            ("lo", "::1", 128),
            ("site0", "192.0.2.11", 24),
            ("svc0", "198.51.100.11", 24),
            ("svc0", "fe80::5054:ff:fe12:3456", 64),
            ("tun0", "203.0.113.1", 32),
            ("svc0", "198.51.100.200", 24),
        ]
        assert [entry["secondary"] for entry in found] == [False] * 6 + [True]

    def test_ignores_what_it_does_not_know(self):
        assert address.parse_addresses("warning: something\n\n") == []


class TestSplit:
    def test_accepts_both_forms(self):
        assert address.split("192.0.2.1") == ("192.0.2.1", None)
        assert address.split("192.0.2.1/24") == ("192.0.2.1", 24)
        assert address.split("2001:db8::1/64") == ("2001:db8::1", 64)

    @pytest.mark.parametrize("wrong", ["", "portal", "192.0.2.300", "192.0.2.1/33", "192.0.2.1/x", "192.0.2.1/0"])
    def test_refuses_anything_else_in_one_line(self, wrong):
        with pytest.raises(BadInput):
            address.split(wrong)


class TestChooseInterface:
    def test_finds_the_interface_by_its_network(self):
        assert address.choose_interface(address.parse_addresses(LIST), "198.51.100.200") == ("svc0", 24)

    def test_refuses_when_no_interface_has_the_network(self):
        with pytest.raises(Refused, match=r"svc0 198\.51\.100\.11/24"):
            address.choose_interface(address.parse_addresses(LIST), "10.9.9.9")

    def test_refuses_a_named_interface_without_the_network(self):
        with pytest.raises(Refused, match="No interface site0"):
            address.choose_interface(address.parse_addresses(LIST), "198.51.100.200", "site0")

    def test_never_chooses_the_loopback(self):
        with pytest.raises(Refused):
            address.choose_interface(address.parse_addresses(LIST), "127.0.0.9")


class TestPresent:
    def test_adds_then_announces(self):
        host, told = Host([LIST]), []

        def listen(name, interface):
            told.append((name, interface, list(host.changes)))
            return "frames", ""

        result = address.present("198.51.100.200/24", runner=host, announcer=listen)
        assert host.changes == ["addr add 198.51.100.200/24 dev svc0"]
        assert told == [("198.51.100.200", "svc0", host.changes)]
        assert (result["changed"], result["interface"], result["announced"]) == (True, "svc0", "frames")

    def test_takes_the_prefix_of_the_network(self):
        host = Host([LIST])
        address.present("198.51.100.200", runner=host, announcer=silent)
        assert host.changes == ["addr add 198.51.100.200/24 dev svc0"]

    def test_second_time_changes_nothing(self):
        host = Host([WITH])
        assert address.present("198.51.100.200/24", runner=host, announcer=silent)["changed"] is False
        assert host.changes == []

    def test_check_mode_changes_nothing(self):
        host = Host([LIST])
        assert address.present("198.51.100.200/24", runner=host, check_mode=True)["changed"] is True
        assert host.changes == []

    def test_somebody_else_added_it_meanwhile(self):
        host = Host([LIST], rc=2, err="RTNETLINK answers: File exists")
        assert address.present("198.51.100.200/24", runner=host, announcer=silent)["changed"] is False

    def test_refuses_when_it_sits_on_another_interface(self):
        with pytest.raises(Refused, match="is on svc0"):
            address.present("198.51.100.200", "site0", runner=Host([WITH]), announcer=silent)

    def test_a_failing_ip_is_one_line(self):
        with pytest.raises(CommandFailed, match="Operation not permitted"):
            address.present(
                "198.51.100.200", runner=Host([LIST], rc=2, err="RTNETLINK answers: Operation not permitted\n")
            )


class TestAbsent:
    def test_removes_with_the_prefix_found(self):
        host = Host([WITH])
        assert address.absent("198.51.100.200", runner=host)["changed"] is True
        assert host.changes == ["addr del 198.51.100.200/24 dev svc0"]

    def test_second_time_changes_nothing(self):
        host = Host([LIST])
        assert address.absent("198.51.100.200", runner=host)["changed"] is False
        assert host.changes == []

    def test_a_foreign_network_is_simply_absent(self):
        assert address.absent("10.9.9.9", runner=Host([LIST]))["changed"] is False

    def test_keeps_the_other_addresses_when_a_primary_one_goes(self, monkeypatch):
        monkeypatch.setattr(address, "_promote_secondaries", lambda interface: False)
        host = Host([ALIAS_FIRST, ""])
        result = address.absent("198.51.100.200", runner=host)
        assert host.changes == ["addr del 198.51.100.200/24 dev svc0", "addr add 198.51.100.11/24 dev svc0"]
        assert "put back" in result["note"]


class TestHas:
    def test_compares_addresses_and_not_text(self):
        assert address.has("198.51.100.200/16", runner=Host([WITH]))
        assert not address.has("198.51.100.20", runner=Host([WITH]))


class TestArpFrames:
    def test_says_who_has_it_twice(self):
        request, reply = address.arp_frames(b"\x02\x00\x00\x00\x00\x01", "192.0.2.1")
        assert len(request) == len(reply) == 42
        assert request[:14] == b"\xff" * 6 + b"\x02\x00\x00\x00\x00\x01" + b"\x08\x06"
        assert (request[21], reply[21]) == (1, 2)
        assert request[28:32] == request[38:42] == reply[28:32] == reply[38:42] == b"\xc0\x00\x02\x01"


class TestAnnounce:
    def test_is_a_note_when_nothing_can_announce(self, monkeypatch):
        monkeypatch.setattr(address, "find_program", lambda name: None)
        how, note = address.announce("192.0.2.1", "no-such-interface")
        assert how == "none" and "were not told" in note
