# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Journals against one that JLog itself wrote."""

import os
import shutil
import tarfile

import pytest
from daemons import jlog, jlogctl

from .conftest import FIXTURES


@pytest.fixture
def recorded(tmp_path):
    with tarfile.open(os.path.join(FIXTURES, "journal.tar.xz")) as archive:
        # Python 3.11.2 of Debian has no filters yet; this archive is our own.
        archive.extractall(tmp_path, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    return str(tmp_path / "healthy")


def content(path, name):
    with open(os.path.join(path, name), "rb") as handle:
        return handle.read()


def everything(reader):
    found = []
    while True:
        batch = reader.read()
        if not batch:
            return found
        found += batch
        reader.set(*batch[-1][0])


class TestWriter:
    def test_writes_what_jlog_wrote(self, recorded, tmp_path):
        messages = everything(jlog.Reader(recorded, "all"))
        own = str(tmp_path / "own")
        writer = jlog.Writer(own, unit_limit=65536)
        for _point, seconds, micro, payload in messages:
            writer.write(payload, seconds + (micro + 0.5) / 1e6)
        for name in ("metastore", "pre_commit", *(jlog.segment(number) for number in range(8))):
            assert content(own, name) == content(recorded, name), name
        assert oct(os.stat(os.path.join(own, "00000000")).st_mode & 0o7777) == "0o640"
        assert oct(os.stat(own).st_mode & 0o7777) == "0o750"

    def test_goes_on_where_it_stopped(self, recorded):
        writer = jlog.Writer(recorded)
        assert (writer.current, writer.unit_limit) == (7, 65536)

    @pytest.mark.parametrize("damage", [b"", b"\0" * 8, b"\0" * 16])
    def test_refuses_a_bad_metastore(self, recorded, damage):
        with open(os.path.join(recorded, "metastore"), "wb") as handle:
            handle.write(damage)
        with pytest.raises(jlog.Damaged, match="JLOG_ERR_CREATE_EXISTS"):
            jlog.Writer(recorded)

    def test_cleans_what_every_subscriber_has_read(self, recorded):
        for name in ("cp.7e6261636b7570", "cp.6c617465"):
            os.unlink(os.path.join(recorded, name))
        jlog.Writer(recorded).clean()
        assert jlog.segments(recorded) == [2, 3, 4, 5, 6, 7]

    def test_cleans_nothing_without_a_subscriber(self, recorded):
        for name in [name for name in os.listdir(recorded) if name.startswith("cp.")]:
            os.unlink(os.path.join(recorded, name))
        jlog.Writer(recorded).clean()
        assert len(jlog.segments(recorded)) == 8


class TestReader:
    def test_resumes_behind_a_recorded_checkpoint(self, recorded):
        reader = jlog.Reader(recorded, "stratcon")
        assert (reader.log, reader.marker) == (2, 0x5C)
        assert reader.read(1)[0][0] == (2, 0x5D)

    def test_writes_the_index_that_jlog_writes(self, recorded):
        kept = content(recorded, "00000000.idx")
        os.unlink(os.path.join(recorded, "00000000.idx"))
        jlog.Reader(recorded, "all").read()
        assert content(recorded, "00000000.idx") == kept

    def test_goes_on_with_a_stale_index(self, recorded):
        reader = jlog.Reader(recorded, "all")
        assert len(reader.offsets(6)) == 304
        assert len(content(recorded, "00000006.idx")) == 305 * 8

    def test_skips_a_missing_segment(self, recorded):
        os.unlink(os.path.join(recorded, "00000002"))
        reader = jlog.Reader(recorded, "stratcon")
        assert reader.read(1)[0][0] == (3, 1)

    def test_reads_nothing_beyond_the_writer(self, recorded):
        reader = jlog.Reader(recorded, "stratcon")
        reader.set(0x20, 1)
        assert reader.read() == []

    def test_refuses_a_short_checkpoint(self, recorded):
        with open(os.path.join(recorded, "cp.7374726174636f6e"), "wb") as handle:
            handle.write(b"\0\0\0\0")
        with pytest.raises(jlog.Damaged, match="empty or short"):
            jlog.Reader(recorded, "stratcon")

    def test_sees_what_is_written_later(self, tmp_path):
        path = str(tmp_path / "feed")
        writer = jlog.Writer(path)
        writer.write(b"one")
        reader = jlog.Reader(path, "~1", create_at_end=True)
        assert reader.read() == []
        writer.write(b"two")
        assert [entry[3] for entry in reader.read()] == [b"two"]

    def test_names_subscribers_as_jlog_does(self, recorded):
        assert jlog.checkpoint_name("stratcon") == "cp.7374726174636f6e"
        shutil.rmtree(recorded)
        assert jlog.subscriber_of("cp.7e6261636b7570") == "~backup"


class TestJlogctl:
    def run(self, capsys, *arguments):
        code = jlogctl.main(list(arguments))
        found = capsys.readouterr()
        return code, found.out.splitlines(), found.err

    def test_shows_subscribers_as_documented(self, recorded, capsys):
        code, lines, _error = self.run(capsys, "-s", recorded)
        assert code == 0 and lines[0] == recorded
        assert "\t                        stratcon @ 00000002:0000005c" in lines
        assert "\t                         ~backup @ 00000000:00000000" in lines

    def test_a_short_checkpoint_is_not_shown(self, recorded, capsys):
        with open(os.path.join(recorded, "cp.7374726174636f6e"), "wb") as handle:
            handle.write(b"\0\0\0\0")
        assert "stratcon" not in "".join(self.run(capsys, "-s", recorded)[1])

    def test_lists_segments_and_indexes(self, recorded, capsys):
        lines = self.run(capsys, "-l", "-i", recorded)[1]
        assert lines[3:5] == [
            "\t00000001 [    65664 bytes] 1 pending readers",
            "\t\tidx: 304 messages (00000130), closed",
        ]
        assert lines[-1] == "\t\tidx: 173 messages (000000ad), open"

    def test_a_journal_that_cannot_be_opened_is_said_with_status_0(self, recorded, capsys):
        os.unlink(os.path.join(recorded, "metastore"))
        code, lines, error = self.run(capsys, "-s", recorded)
        assert (code, lines) == (0, []) and error.startswith(f"Failed to open jlog at '{recorded}'\n")

    def test_usage_is_255(self, capsys):
        assert self.run(capsys, "-a", "x")[0] == 255
