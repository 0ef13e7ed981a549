# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A real OpenSSL authority takes over from a lost one: raised once for a failover, or kept from starting."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os
import shutil
import sys

import pytest

from ansible_collections.circonus.inside.plugins.module_utils import ca, ca_authority, ca_takeover
from ansible_collections.circonus.inside.plugins.module_utils.errors import CommandFailed, Refused

sys.path.insert(0, os.path.dirname(__file__))
import authority

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl program")
WANTED = {"event": "77 timeline 4", "serial_floor": 0x1400, "crl_floor": 500, "problem": ""}


class Host(object):
    """A CA host: its directory, and what systemctl was asked."""

    def __init__(self, path):
        self.home, self.state, self.units = authority.make(path / "CA"), path / "state", path / "units"
        self.state.mkdir()
        self.asked = []

    def take_over(self, phrase=authority.PHRASE, check_mode=False, **wanted):
        return ca_takeover.take_over(dict(WANTED, **wanted), str(self.home), str(self.state), str(self.units),
                                     lambda: phrase, check_mode=check_mode, control=self.asked.append)

    def held(self):
        return (self.state / "ca-held").exists()

    def serial(self):
        return ca_authority.read_number(str(self.home / "serial"))


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


class TestTakeOver:
    def test_raises_and_the_next_certificate_is_beyond(self, host):
        found = host.take_over()
        assert found["changed"] and found["taken"] and not found["problem"] and not host.held() and host.asked == []
        authority.issue(host.home, "a")
        assert ca_authority.state(str(host.home))["highest"] == 0x1400
        assert ca_authority.state(str(host.home))["crl"]["number"] == 500

    def test_does_not_raise_again_for_the_same_failover(self, host):
        host.take_over()
        authority.issue(host.home, "a")
        found = host.take_over(serial_floor=0x1801, crl_floor=1501)
        assert found["taken"] and not found["changed"] and host.serial() == 0x1401

    def test_raises_for_the_next_failover(self, host):
        host.take_over()
        assert host.take_over(event="77 timeline 6", serial_floor=0x1801, crl_floor=1501)["changed"]
        assert host.serial() == 0x1801

    def test_raises_again_when_nothing_identifies_the_failover(self, host):
        host.take_over(event="")
        assert host.take_over(event="", serial_floor=0x1801)["changed"] and host.serial() == 0x1801

    def test_does_not_believe_its_record_over_a_copy_that_was_turned_back(self, host):
        host.take_over()
        (host.home / "serial").write_text("1002\n")
        assert host.take_over()["changed"] and host.serial() == 0x1400

    def test_a_record_that_cannot_be_read_is_none(self, host):
        host.take_over()
        (host.state / ca_takeover.RECORD).write_text("{")
        assert host.take_over(serial_floor=0x1801)["changed"] and host.serial() == 0x1801

    def test_check_mode_changes_nothing(self, host):
        assert host.take_over(check_mode=True)["changed"]
        assert host.serial() == 0x1000 and os.listdir(str(host.state)) == []
        assert not host.take_over(check_mode=True, problem="No copy.")["taken"] and not host.held()

    def test_holds_the_processor_when_it_cannot_sign(self, host):
        found = host.take_over(phrase="wrong")
        assert found["changed"] and not found["taken"] and "openssl ca" in found["problem"]
        assert host.serial() == 0x1000, "not half raised"
        assert host.held() and host.asked == [["daemon-reload"], ["stop", ca_takeover.UNIT]]
        drop_in = host.units / "circonus-ca_processor.service.d" / "60-circonus-inside-held.conf"
        assert "ConditionPathExists=!%s/ca-held" % host.state in drop_in.read_text()
        assert not host.take_over(phrase="wrong")["changed"]

    @pytest.mark.parametrize("break_it", [
        lambda host: shutil.rmtree(str(host.home)),
        lambda host: (host.home / "serial").write_text("word\n"),
        lambda host: (host.home / "private" / "ca.key").unlink(),
        lambda host: (host.home / "openssl.cnf").write_text(authority.CONFIG % "/elsewhere"),
    ])
    def test_holds_whatever_is_broken(self, host, break_it):
        break_it(host)
        found = host.take_over()
        assert not found["taken"] and found["problem"].endswith(".") and host.held()

    def test_holds_without_a_pass_phrase_and_for_a_problem_of_the_controller(self, host):
        def none():
            raise Refused("No pass phrase.")

        for wanted, phrase in ((WANTED, none), (dict(WANTED, problem="No pass phrase."), lambda: authority.PHRASE)):
            found = ca_takeover.take_over(wanted, str(host.home), str(host.state), str(host.units), phrase,
                                          control=host.asked.append)
            assert found["problem"] == "No pass phrase." and host.held() and host.serial() == 0x1000

    def test_is_released_when_it_can_be_raised(self, host):
        host.take_over(phrase="wrong")
        assert host.take_over()["taken"] and not host.held()
        assert not ca_takeover.release(str(host.state), str(host.units), control=host.asked.append)

    def test_another_copy_ends_the_hold(self, host, tmp_path):
        host.take_over(phrase="wrong")
        (tmp_path / "other").mkdir()
        certificate, unused = ca.make_envelope(str(host.state), "two")
        envelope, digest = ca.seal(str(host.home), certificate)
        ca.install(envelope, digest, str(tmp_path / "other" / "CA"), str(host.state), "two")
        assert not host.held()


class TestSystemctl:
    def test_says_what_it_was_told(self):
        with pytest.raises(CommandFailed, match="systemctl stop x to succeed, found exit code 5: no such unit"):
            ca_takeover.systemctl(["stop", "x"], lambda argv: (5, "", "no such unit.\n"))
