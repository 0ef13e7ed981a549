# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""LevelDB-like stores: what was written is there again, damage does not open, and repair saves what is whole."""

import os

import pytest
from daemons.snowth import level

PAIRS = [(b"key%d" % n, b"value%d" % n) for n in range(20)]


@pytest.fixture
def path(tmp_path):
    store = level.Level(str(tmp_path / "db"))
    store.write(PAIRS)
    store.write([(b"key3", None)])
    store.close()
    return str(tmp_path / "db")


def opened(path):
    store = level.Level(path)
    store.close()
    return store.data


EXPECTED = {key: value for key, value in PAIRS if key != b"key3"}


class TestLevel:
    def test_keeps_what_was_written(self, path):
        assert opened(path) == EXPECTED
        assert {"CURRENT", "MANIFEST-000002", "000003.log"} <= set(os.listdir(path))

    def test_forgets_a_last_record_that_was_cut_off(self, path):
        with open(os.path.join(path, "000003.log"), "ab") as handle:
            handle.write(level.record(b"late", b"value")[:-2])
        assert opened(path) == EXPECTED

    @pytest.mark.parametrize(
        "name, change, complaint",
        [
            ("CURRENT", None, "does not exist"),
            ("CURRENT", b"MANIFEST-000002", "does not end with newline"),
            ("CURRENT", b"MANIFEST-000009\n", "points to a non-existent file"),
            ("MANIFEST-000002", b"rubbish", "checksum mismatch"),
            ("000003.log", None, "1 missing files"),
            ("000003.log", b"rubbish", "checksum mismatch"),
        ],
    )
    def test_refuses_damage_and_opens_after_repair(self, path, name, change, complaint):
        opened(path)
        file = os.path.join(path, name)
        if change is None:
            os.unlink(file)
        else:
            with open(file, "wb") as handle:
                handle.write(change)
        with pytest.raises(level.Corruption, match="^Corruption: .*" + complaint):
            opened(path)
        level.repair(path)
        assert opened(path) == ({} if name == "000003.log" else EXPECTED)

    def test_repair_keeps_what_is_behind_the_damage(self, path):
        opened(path)
        file = os.path.join(path, "000003.log")
        with open(file, "r+b") as handle:
            handle.seek(handle.read().index(b"value5"))
            handle.write(b"VALUE5")
        with pytest.raises(level.Corruption):
            opened(path)
        kept, lost = level.repair(path)
        assert kept == 18 and lost == len(level.record(b"key5", b"value5"))
        assert opened(path) == {key: value for key, value in EXPECTED.items() if key != b"key5"}
        assert os.listdir(os.path.join(path, "lost"))
