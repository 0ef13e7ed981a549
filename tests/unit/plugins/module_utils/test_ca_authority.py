# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Copies, counters and the trial signature of a real OpenSSL authority."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os
import shutil
import sys

import pytest

from ansible_collections.circonus.inside.plugins.module_utils import ca, ca_authority
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput, CommandFailed, Refused

sys.path.insert(0, os.path.dirname(__file__))
import authority

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl program")


@pytest.fixture
def home(tmp_path):
    return authority.make(tmp_path / "one" / "CA")


def copy(home, to):
    """A copy whose configuration names its own place, as on another host."""
    shutil.copytree(str(home), str(to))
    (to / "openssl.cnf").write_text(authority.CONFIG % to)
    return to


class TestParseConfig:
    def test_finds_paths_through_variables(self):
        found = ca_authority.parse_config(authority.CONFIG % "/opt/circonus/CA", "/opt/circonus/CA")
        assert found["serial"] == "/opt/circonus/CA/serial"
        assert found["private_key"] == "/opt/circonus/CA/private/ca.key"

    def test_relative_paths_count_from_the_home(self):
        text = "[ca]\ndefault_ca=x\n[x]\ndatabase=i # c\nserial=./s\ncertificate=c\nprivate_key=${d}/k\nd=p\n"
        found = ca_authority.parse_config(text, "/home")
        assert (found["database"], found["serial"], found["private_key"]) == ("/home/i", "/home/s", "/home/p/k")

    @pytest.mark.parametrize("text", ["", "[ca]\ndefault_ca = x\n[x]\ndatabase = $ENV::HOME/i\n"])
    def test_says_in_one_line_what_is_missing(self, text):
        with pytest.raises(BadInput, match="Expected"):
            ca_authority.parse_config(text, "/home")


class TestParseIndex:
    def test_leaves_out_what_has_expired(self):
        text = (
            "V\t300101000000Z\t\t1000\tunknown\t/CN=a\n"
            "R\t300101000000Z\t240101000000Z\t1001\tunknown\t/CN=b\n"
            "E\t200101000000Z\t\t0FFF\tunknown\t/CN=c\n"
            "V\t20990101000000Z\t\t0A\tunknown\t/CN=d\n"
        )
        assert ca_authority.parse_index(text, 1.7e9) == ({"1000": "V", "1001": "R", "A": "V"}, 0x1001)

    def test_refuses_what_is_no_index(self):
        with pytest.raises(BadInput):
            ca_authority.parse_index("V\tnever\t\tZZ\tunknown\t/CN=a\n", 0)


class TestState:
    def test_tells_counters_and_issued_serials(self, home):
        authority.issue(home, "a")
        found = ca_authority.state(str(home))
        assert found["initialised"] and not found["problem"]
        assert found["issued"] == {"1000": "V"} and found["serial"] == 0x1001 and found["highest"] == 0x1000
        assert found["crl"]["number"] == 1 and found["crl_number"] == 2 and found["crl"]["next_update"] > 1e9
        assert len(found["fingerprint"]) == 64

    def test_a_directory_without_keys_is_an_answer(self, tmp_path):
        (tmp_path / "CA").mkdir()
        found = ca_authority.state(str(tmp_path / "CA"))
        assert found["present"] and not found["initialised"] and found["problem"] == ""

    def test_a_broken_serial_is_told(self, home):
        (home / "serial").write_text("what\n")
        assert "hexadecimal" in ca_authority.state(str(home))["problem"]


class TestAhead:
    def test_a_copy_is_behind_after_the_next_certificate(self, home, tmp_path):
        other = copy(home, tmp_path / "CA2")

        def one():
            return ca_authority.state(str(home))

        def two():
            return ca_authority.state(str(other))

        assert ca_authority.ahead(one(), two()) == [] == ca_authority.ahead(two(), one())
        authority.issue(home, "a")
        assert ca_authority.ahead(one(), two()) == ["1000"] and ca_authority.ahead(two(), one()) == []

    def test_a_revocation_and_counters_count(self):
        base = {"issued": {"A": "V"}, "serial": 11, "crl_number": 2}
        assert ca_authority.ahead(dict(base, issued={"A": "R"}), base) == ["A"]
        assert ca_authority.ahead(dict(base, serial=12), base) == ["next serial C"]
        assert ca_authority.ahead(dict(base, crl_number=3), base) == ["CRL number 3"]


class TestTrial:
    def test_signs_in_a_copy_and_leaves_the_authority_alone(self, home, tmp_path):
        before = ca.manifest(str(home))
        serial = ca_authority.trial_in_copy(str(home), str(tmp_path / "state"), authority.PHRASE)
        assert ca.manifest(str(home)) == before
        assert int(serial, 16) > 1 << 120
        assert os.listdir(str(tmp_path / "state")) == []

    def test_a_wrong_phrase_fails_in_one_line_without_it(self, home, tmp_path):
        with pytest.raises(CommandFailed) as failed:
            ca_authority.trial_in_copy(str(home), str(tmp_path / "state"), "another phrase")
        assert "another phrase" not in str(failed.value) and "\n" not in str(failed.value)
        assert os.listdir(str(tmp_path / "state")) == []

    def test_refuses_a_configuration_that_points_outside(self, home, tmp_path):
        (home / "openssl.cnf").write_text(authority.CONFIG.replace("$dir/index", "/var/tmp/index") % home)
        with pytest.raises(Refused, match="/var/tmp/index"):
            ca_authority.trial_in_copy(str(home), str(tmp_path / "state"), authority.PHRASE)

    def test_removes_what_a_killed_run_left(self, home, tmp_path):
        left = tmp_path / "state" / "ca-scratch-999999999.x"
        left.mkdir(parents=True)
        ca_authority.trial_in_copy(str(home), str(tmp_path / "state"), authority.PHRASE)
        assert not left.exists()


class TestAdvance:
    def test_jumps_once_and_makes_a_crl(self, home):
        authority.issue(home, "a")
        found = ca_authority.advance(str(home), 0x2000, 0x10, authority.PHRASE)
        assert found["changed"] and (home / "serial").read_text() == "2000\n"
        assert found["crl"]["number"] == 0x10 and found["crl_number"] == 0x11
        assert not ca_authority.advance(str(home), 0x2000, 0x10, authority.PHRASE)["changed"]
        authority.issue(home, "b")
        assert set(ca_authority.state(str(home))["issued"]) == {"1000", "2000"}

    def test_check_mode_writes_nothing(self, home):
        before = ca.manifest(str(home))
        assert ca_authority.advance(str(home), 0x2000, 0x10, authority.PHRASE, check_mode=True)["changed"]
        assert ca.manifest(str(home)) == before
