# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import json
import os
import shutil

import pytest

from ansible_collections.circonus.inside.plugins.module_utils import ca
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput, CommandFailed, Refused

KEY = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nZmFrZSBieXRlcyBvZiBhIGtleQ==\n-----END ENCRYPTED PRIVATE KEY-----\n"
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl program")


@pytest.fixture
def home(tmp_path):
    path = tmp_path / "source" / "CA"
    for name in ("private", "public-info", "certs"):
        (path / name).mkdir(parents=True)
    (path / "private" / "ca.key").write_text(KEY)
    (path / "private" / "ca.key").chmod(0o600)
    (path / "private").chmod(0o700)
    (path / "public-info" / "ca.crt").write_text("-----BEGIN CERTIFICATE-----\n")
    (path / "certs" / "01.pem").write_text("one")
    (path / "index.txt").write_text("V\n")
    (path / "current").symlink_to("certs/01.pem")
    return path


class TestSummary:
    def test_tells_what_is_there(self, home):
        found = ca.summary(str(home))
        assert (found["present"], found["initialised"], found["files"]) == (True, True, 4)
        assert found["newest_mtime"] > 0 and len(found["digest"]) == 64

    def test_a_tree_without_keys_is_not_initialised(self, home, tmp_path):
        (home / "private" / "ca.key").unlink()
        assert ca.summary(str(home))["initialised"] is False
        assert ca.summary(str(tmp_path / "none"))["present"] is False

    def test_does_not_depend_on_the_bytes_of_a_key(self, home):
        before = ca.summary(str(home))["digest"]
        (home / "private" / "ca.key").write_text(KEY.replace("Zm", "Xm"))
        assert ca.summary(str(home))["digest"] == before
        (home / "index.txt").write_text("V2\n")
        assert ca.summary(str(home))["digest"] != before


class TestIsKey:
    @pytest.mark.parametrize(
        "name, head, expected",
        [
            ("private/anything", b"", True),
            ("web.key", b"", True),
            ("certs/bundle.pem", KEY.encode(), True),
            ("public-info/ca.crt", b"-----BEGIN CERTIFICATE-----", False),
            ("index.txt", b"", False),
        ],
    )
    def test_by_place_name_or_content(self, name, head, expected):
        assert ca.is_key(name, head) is expected


class TestManifest:
    def test_sees_modes_and_content(self, home):
        before = ca.digest(ca.manifest(str(home)))
        (home / "index.txt").chmod(0o640)
        assert ca.digest(ca.manifest(str(home))) != before

    def test_refuses_what_is_neither_file_nor_directory(self, home):
        os.mkfifo(str(home / "pipe"))
        with pytest.raises(BadInput, match="pipe"):
            ca.manifest(str(home))


@needs_openssl
class TestCopy:
    @pytest.fixture(autouse=True)
    def quick_keys(self, monkeypatch):
        monkeypatch.setattr(ca, "ENVELOPE_BITS", 2048)

    def carry(self, home, target, state, run_id="run-1"):
        certificate = ca.make_envelope(state, run_id)[0]
        envelope, digest = ca.seal(str(home), certificate)
        return envelope, digest, ca.install(envelope, digest, target, state, run_id)

    def test_arrives_whole_and_unreadable_on_the_way(self, home, tmp_path):
        target, state = tmp_path / "target" / "CA", str(tmp_path / "state")
        target.parent.mkdir()
        envelope, digest, result = self.carry(home, str(target), state)
        assert result == {"changed": True, "aside": ""}
        assert ca.manifest(str(target)) == ca.manifest(str(home))
        assert (target / "private" / "ca.key").stat().st_mode & 0o777 == 0o600
        assert b"PRIVATE KEY" not in envelope and b"fake bytes" not in envelope and b"ca.key" not in envelope
        assert os.listdir(state) == [] and sorted(os.listdir(str(target.parent))) == ["CA"]

    def test_a_second_copy_changes_nothing(self, home, tmp_path):
        target, state = tmp_path / "target" / "CA", str(tmp_path / "state")
        target.parent.mkdir()
        self.carry(home, str(target), state)
        assert self.carry(home, str(target), state, "run-2")[2] == {"changed": False, "aside": ""}
        assert os.listdir(state) == []

    def test_moves_aside_what_differs(self, home, tmp_path):
        target, state = tmp_path / "target" / "CA", str(tmp_path / "state")
        target.mkdir(parents=True)
        (target / "old").write_text("precious")
        result = self.carry(home, str(target), state)[2]
        assert result == {"changed": True, "aside": str(target) + ".aside-run-1"}
        with open(os.path.join(result["aside"], "old")) as handle:
            assert handle.read() == "precious"

    def test_what_a_killed_run_left_is_removed(self, home, tmp_path):
        left = tmp_path / "target" / "CA.new-run-0"
        left.mkdir(parents=True)
        self.carry(home, str(tmp_path / "target" / "CA"), str(tmp_path / "state"))
        assert not left.exists()

    def test_prunes_only_what_has_the_mark(self, home, tmp_path):
        for name in ("CA.aside-sync-1", "CA.aside-sync-2", "CA.aside-sync-3", "CA.aside-0"):
            (tmp_path / "target" / name).mkdir(parents=True)
        target = str(tmp_path / "target" / "CA")
        assert ca.prune_asides(target, "sync-", 2) == ["CA.aside-sync-1"]
        assert ca.prune_asides(target, "sync-", 0) == ["CA.aside-sync-2"]
        assert sorted(os.listdir(str(tmp_path / "target"))) == ["CA.aside-0", "CA.aside-sync-3"]

    def test_check_mode_leaves_everything(self, home, tmp_path):
        target, state = tmp_path / "target" / "CA", str(tmp_path / "state")
        assert ca.make_envelope(state, "run-1", check_mode=True) == ("", True)
        assert not os.path.exists(state)
        certificate = ca.make_envelope(state, "run-1")[0]
        envelope, digest = ca.seal(str(home), certificate)
        assert ca.install(envelope, digest, str(target), state, "run-1", check_mode=True)["changed"] is True
        assert not target.exists() and os.listdir(state) == ["ca-copy-run-1"]

    def test_the_key_of_the_envelope_is_private_and_reused(self, tmp_path):
        state = str(tmp_path / "state")
        first = ca.make_envelope(state, "run-1")
        directory, key, unused = ca.envelope_paths(state, "run-1")
        assert os.stat(directory).st_mode & 0o777 == 0o700 and os.stat(key).st_mode & 0o077 == 0
        assert ca.make_envelope(state, "run-1") == (first[0], False)

    def test_refuses_another_content_than_was_announced(self, home, tmp_path):
        target, state = tmp_path / "target" / "CA", str(tmp_path / "state")
        target.mkdir(parents=True)
        envelope, unused = ca.seal(str(home), ca.make_envelope(state, "run-1")[0])
        with pytest.raises(Refused, match="Copy it again"):
            ca.install(envelope, "0" * 64, str(target), state, "run-1")
        assert os.listdir(str(target.parent)) == ["CA"] and os.listdir(str(target)) == []

    def test_refuses_an_envelope_for_somebody_else(self, home, tmp_path):
        state = str(tmp_path / "state")
        envelope, digest = ca.seal(str(home), ca.make_envelope(state, "run-1")[0])
        ca.make_envelope(state, "run-2")
        with pytest.raises(CommandFailed):
            ca.install(envelope, digest, str(tmp_path / "CA"), state, "run-2")
        with pytest.raises(Refused, match="state=request"):
            ca.install(envelope, digest, str(tmp_path / "CA"), state, "run-3")

    def test_refuses_to_copy_from_a_host_without_keys(self, home, tmp_path):
        (home / "private" / "ca.key").unlink()
        with pytest.raises(Refused, match="ca.primary"):
            ca.seal(str(home), "unused")

    def test_a_bad_run_id_is_refused(self, tmp_path):
        with pytest.raises(BadInput):
            ca.make_envelope(str(tmp_path), "../x")

    def test_no_answer_has_key_bytes(self, home, tmp_path):
        answers = [ca.summary(str(home)), ca.make_envelope(str(tmp_path / "state"), "run-1")]
        assert "ZmFrZSBieXRlcyBvZiBhIGtleQ" not in json.dumps(answers) and "PRIVATE" not in json.dumps(answers)
