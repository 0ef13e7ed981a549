# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The front of zfs-fuse. The real programs are scripts here that answer as zfs-fuse 0.7.0 was seen to."""

import pytest
from zfs import front

ZFS = """#!/bin/sh
echo "zfs $*" >> %(log)s
case "$*" in
  *nosuch*) echo "cannot open 'nosuch': dataset does not exist" >&2; exit 1;;
  "get -H -p -o value"*) echo 8511488;;
  send*) head -c 200000 /dev/zero;;
  "destroy busy") exit 1;;
esac
"""
ZPOOL = """#!/bin/sh
echo "zpool $*" >> %(log)s
case "$*" in
  "list -H -o name") printf 'tank\\nspare\\n';;
  "list -H -o name tank") echo tank;;
  "get capacity tank") printf 'NAME  PROPERTY  VALUE  SOURCE\\ntank  capacity  7%%%%     -\\n';;
  get*) echo "bad property list" >&2; exit 2;;
esac
"""


class Bench:
    def __init__(self, place):
        self.log, self.clock = place / "calls", 1000.0
        for name, text in (("zfs", ZFS), ("zpool", ZPOOL)):
            (place / name).write_text(text % {"log": self.log})
            (place / name).chmod(0o755)
        self.slept = []
        self.front = front.Front(str(place), str(place / "var"), lambda: self.clock, self.slept.append)
        self.var = place / "var"
        self.var.mkdir()

    def run(self, name, *arguments):
        return front.main(name, list(arguments), self.front)


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


class TestSend:
    @pytest.mark.parametrize(
        "dialect, option, lines",
        [
            ("", "-nv", "full send of tank/data@condense estimated size is 8.12M\ntotal estimated size is 8.12M\n"),
            (
                "illumos",
                "-nv",
                "send from @ to tank/data@condense estimated size is 8.12M\ntotal estimated size is 8.12M\n",
            ),
            ("linux", "-nvP", "full\ttank/data@condense\t8511488\nsize\t8511488\n"),
            ("", "-n", ""),
        ],
    )
    def test_estimates_in_the_words_of_the_dialect(self, bench, capsys, dialect, option, lines):
        (bench.var / "dialect").write_text(dialect)
        assert bench.run("zfs", "send", option, "tank/data@condense") == 0
        assert capsys.readouterr().out == lines

    def test_fails_for_a_snapshot_that_is_not_there(self, bench, capsys):
        assert bench.run("zfs", "send", "-nv", "nosuch@x") == 1
        assert capsys.readouterr().out == ""

    def test_is_slowed_down(self, bench, capfdbinary):
        (bench.var / "send-rate").write_text("100000")
        assert bench.run("zfs", "send", "-p", "tank/data@condense") == 0
        assert len(capfdbinary.readouterr().out) == 200000
        assert sum(bench.slept) == pytest.approx(2.0)

    def test_does_not_estimate_what_it_cannot(self, bench, capsys):
        assert bench.run("zfs", "send", "-nv", "-R", "tank@x") == 2
        assert "one whole snapshot" in capsys.readouterr().err


class TestFreeing:
    def test_falls_at_a_rate_after_a_destroy(self, bench, capsys):
        (bench.var / "free-rate").write_text("1000000")
        assert bench.run("zfs", "destroy", "-r", "tank/data") == 0
        found = []
        for seconds in (0, 4, 100):
            bench.clock = 1000.0 + seconds
            assert bench.run("zpool", "get", "-H", "-p", "-o", "value", "freeing", "tank") == 0
            found.append(capsys.readouterr().out)
        assert found == ["8511488\n", "4511488\n", "0\n"]
        assert "zfs destroy -r tank/data" in bench.log.read_text()

    def test_is_a_table_of_all_pools_for_people(self, bench, capsys):
        assert bench.run("zpool", "get", "freeing") == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line.split() for line in lines[1:]] == [["tank", "freeing", "0", "-"], ["spare", "freeing", "0", "-"]]
        assert lines[0].split() == ["NAME", "PROPERTY", "VALUE", "SOURCE"]

    def test_does_not_begin_when_the_destroy_failed(self, bench, capsys):
        assert bench.run("zfs", "destroy", "busy") == 1
        bench.run("zpool", "get", "-Hp", "-o", "value", "freeing", "tank")
        assert capsys.readouterr().out == "0\n"


class TestPath:
    """os.execv would end the test: what is handed on is caught before."""

    @pytest.fixture
    def passed(self, bench, tmp_path, monkeypatch):
        (tmp_path / "store" / "data" / "x").mkdir(parents=True)
        (tmp_path / "mounts").write_text(
            "overlay / overlay rw 0 0\ntank/snowth %s fuse.zfs rw 0 0\ntank/snowth/data %s fuse.zfs rw 0 0\n"
            % (tmp_path / "store", tmp_path / "store" / "data")
        )
        bench.front.mounts = str(tmp_path / "mounts")
        found = []
        monkeypatch.setattr(bench.front, "pass_on", lambda name, arguments: found.append(arguments) or 0)
        return found

    @pytest.mark.parametrize(
        "path, name",
        [("store", "tank/snowth"), ("store/data", "tank/snowth/data"), ("store/data/x", "tank/snowth/data")],
    )
    def test_is_answered_by_the_data_set_that_holds_it(self, bench, tmp_path, passed, path, name):
        assert bench.run("zfs", "list", "-H", "-o", "name", str(tmp_path / path)) == 0
        assert passed == [["list", "-H", "-o", "name", name]]

    def test_without_a_data_set_fails_as_zfs_does(self, bench, tmp_path, passed, capsys):
        assert bench.run("zfs", "list", str(tmp_path)) == 1
        assert "not a ZFS filesystem" in capsys.readouterr().err
        assert bench.run("zfs", "list", str(tmp_path / "nosuch")) == 1
        assert "No such file or directory" in capsys.readouterr().err and passed == []


class TestGet:
    def test_gives_other_properties_with_the_options_that_the_real_one_lacks(self, bench, capsys):
        assert bench.run("zpool", "get", "-H", "-o", "value,name", "capacity", "tank") == 0
        assert capsys.readouterr().out == "7%\ttank\n"

    def test_fails_where_the_real_one_fails(self, bench):
        assert bench.run("zpool", "get", "nonsense", "tank") == 1
        assert bench.run("zpool", "get", "-x", "capacity") == 2


class TestHuman:
    @pytest.mark.parametrize(
        "size, text", [(0, "0"), (512, "512B"), (12800, "12.5K"), (1 << 30, "1.00G"), (1 << 47, "128T")]
    )
    def test_has_three_digits_and_a_unit(self, size, text):
        assert front.human(size) == text
