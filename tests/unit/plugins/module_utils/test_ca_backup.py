# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Archives of a real OpenSSL authority."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os
import shutil
import stat
import sys

import pytest

from ansible_collections.circonus.inside.plugins.module_utils import ca, ca_authority, ca_backup
from ansible_collections.circonus.inside.plugins.module_utils.errors import CommandFailed, Refused

sys.path.insert(0, os.path.dirname(__file__))
import authority

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl program")
DAY = 86400


@pytest.fixture
def home(tmp_path):
    return authority.make(tmp_path / "one" / "CA")


@pytest.fixture
def backup(home, tmp_path):
    """Make a backup with some options changed."""

    def act(**more):
        return ca_backup.present(str(home), str(tmp_path / "backup"), str(tmp_path / "state"),
                                 more.pop("phrase", authority.PHRASE), **more)

    return act


@pytest.fixture
def restore(home, tmp_path):
    """Restore an archive with some options changed."""

    def act(record, **more):
        return ca_backup.restored(record["path"], str(home), str(tmp_path / "state"), authority.PHRASE, "run1", **more)

    return act


class TestPresent:
    def test_is_proven_and_private(self, home, backup, tmp_path):
        before = ca.manifest(str(home))
        made = backup()
        assert made["changed"] and made["archive"]["proven"] and made["archive"]["intact"]
        path = made["archive"]["path"]
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600 == stat.S_IMODE(os.stat(path + ".json").st_mode)
        assert stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode) == 0o700
        assert made["authority"]["serial"] == 0x1000
        assert ca.manifest(str(home)) == before and os.listdir(str(tmp_path / "state")) == []

    def test_a_second_one_only_when_something_changed(self, home, backup):
        assert backup(now=1e9)["made"]
        second = backup(now=1e9 + 60)
        assert not second["changed"] and second["kept"] == 1
        authority.issue(home, "a")
        third = backup(now=1e9 + 120)
        assert third["made"] and third["kept"] == 2

    def test_check_mode_makes_nothing(self, backup, tmp_path):
        assert backup(check_mode=True)["made"]
        assert not (tmp_path / "backup").exists()

    def test_a_key_that_cannot_sign_is_no_backup(self, backup, tmp_path):
        with pytest.raises(CommandFailed):
            backup(phrase="another")
        assert os.listdir(str(tmp_path / "backup")) == [] == os.listdir(str(tmp_path / "state"))

    def test_a_damaged_one_is_told_and_made_again(self, backup):
        first = backup(now=1e9)["archive"]["path"]
        with open(first, "ab") as handle:
            handle.write(b"x")
        again = backup(now=1e9 + 60)
        assert again["made"] and again["damaged"] == [first] and again["archive"]["intact"]

    def test_encrypted_for_a_certificate(self, home, backup, restore, tmp_path):
        authority.openssl(tmp_path, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=operator", "-keyout",
                          "operator.key", "-out", "operator.crt")
        record = backup(certificate=(tmp_path / "operator.crt").read_text())["archive"]
        assert record["path"].endswith(".cms")
        with open(record["path"], "rb") as handle:
            assert b"ca.key" not in handle.read()
        shutil.rmtree(str(home))
        with pytest.raises(Refused, match="key"):
            restore(record)
        assert restore(record, key=str(tmp_path / "operator.key"))["changed"]

    def test_refuses_a_host_without_keys(self, home, backup):
        (home / "private" / "ca.key").unlink()
        with pytest.raises(Refused):
            backup()


class TestSurplus:
    def records(self, *ages, **more):
        return [{"path": str(age), "created": 1e9 - age * DAY, "intact": age not in more.get("broken", ())}
                for age in ages]

    def test_keeps_the_newest_and_the_young(self):
        gone = ca_backup.surplus(self.records(0, 1, 2, 10, 40, 50), 2, 30, 1e9)
        assert [record["path"] for record in gone] == ["40", "50"]
        assert ca_backup.surplus(self.records(40, 50), 2, 30, 1e9) == []

    def test_never_the_only_intact_one(self):
        assert ca_backup.surplus(self.records(0, 90, broken=(0,)), 0, 0, 1e9) == []

    def test_is_carried_out(self, home, backup):
        first = backup(now=1e9)["archive"]["path"]
        authority.issue(home, "a")
        second = backup(now=1e9 + 40 * DAY, keep=1, days=30)
        assert second["removed"] == [first] and not os.path.exists(first) and not os.path.exists(first + ".json")


class TestRestored:
    def test_puts_everything_back_and_what_was_there_aside(self, home, backup, restore):
        authority.issue(home, "a")
        before = ca.manifest(str(home))
        record = backup()["archive"]
        shutil.rmtree(str(home / "private"))
        result = restore(record)
        assert result["changed"] and os.path.isdir(result["aside"])
        assert ca.manifest(str(home)) == before
        assert not restore(record)["changed"]

    def test_never_turns_the_counters_back(self, home, backup, restore):
        record = backup()["archive"]
        authority.issue(home, "a")
        assert not restore(record)["changed"]
        assert ca_authority.state(str(home))["serial"] == 0x1001

    def test_refuses_when_both_issued_something(self, home, backup, restore, tmp_path):
        shutil.copytree(str(home), str(tmp_path / "kept"))
        authority.issue(home, "a")
        authority.issue(home, "b")
        record = backup()["archive"]
        shutil.rmtree(str(home))
        shutil.copytree(str(tmp_path / "kept"), str(home))
        (home / "serial").write_text("1005\n")
        authority.issue(home, "c")
        with pytest.raises(Refused, match="1005"):
            restore(record)

    def test_refuses_another_authority(self, home, backup, restore):
        record = backup()["archive"]
        shutil.rmtree(str(home))
        authority.make(home)
        with pytest.raises(Refused, match="another authority"):
            restore(record)

    def test_refuses_a_damaged_archive(self, backup, restore):
        record = backup()["archive"]
        with open(record["path"], "ab") as handle:
            handle.write(b"x")
        with pytest.raises(Refused, match="damaged"):
            restore(record)

    def test_check_mode_changes_nothing(self, home, backup, restore):
        record = backup()["archive"]
        shutil.rmtree(str(home))
        assert restore(record, check_mode=True)["changed"] and not home.exists()
