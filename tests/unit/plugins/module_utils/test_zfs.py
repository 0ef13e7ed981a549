# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What zfs and zpool print. OLD was copied from zfs-fuse 0.7.0, NEW is what OpenZFS 2 and illumos print."""
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import pytest

from ansible_collections.circonus.inside.plugins.module_utils import zfs
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput, CommandFailed

D = "tank/snowth/data"
ROWS = [
    (D, "type", "filesystem", "-"), (D, "creation", "1795697038", "-"), (D, "guid", "4375485548424591863", "-"),
    (D, "used", "50348032", "-"), (D, "referenced", "50257920", "-"), (D, "mounted", "yes", "-"),
    (D, "mountpoint", "/snowth/data", "inherited from tank/snowth"), (D, "readonly", "off", "default"),
    (D + "@condense", "type", "snapshot", "-"), (D + "@condense", "creation", "1795697041", "-"),
    (D + "@condense", "guid", "14557443004587753593", "-"), (D + "@condense", "used", "90112", "-"),
    (D + "@condense", "referenced", "50257920", "-"), (D + "@condense", "mounted", "-", "-"),
    (D + "@condense", "mountpoint", "-", "-"), (D + "@condense", "readonly", "-", "-"),
]


def text(rows):
    return "".join("\t".join(row) + "\n" for row in rows)


def changed(name, prop, value, source="-"):
    return text([row[:2] + (value, source) if row[:2] == (name, prop) else row for row in ROWS])


class Programs:
    """zfs and zpool: answers by what the command line begins with, each (rc, out, err), or a list of them in turn."""

    def __init__(self, **answers):
        self.answers, self.calls, self.now = answers, [], 0.0

    def run(self, argv, timeout):
        name, words = argv[0].split("/")[-1], argv[1:]
        self.calls.append(" ".join([name] + words))
        answer = self.answers[name + "_" + words[0]]
        return answer.pop(0) if isinstance(answer, list) else answer

    def sleep(self, seconds):
        self.now += seconds

    def zfs(self):
        return zfs.Zfs(self.run, "/sbin/{0}".format, lambda: self.now, self.sleep)


class TestSize:
    @pytest.mark.parametrize("text, number", [
        ("0", 0), ("-", 0), ("none", 0), ("512", 512), ("512B", 512), ("12.5K", 12800), ("8.12M", 8514437),
        ("900G", 966367641600), ("1.50T", 1649267441664), ("47.9M", 50226790), (" 2P\n", 2251799813685248)])
    def test_is_read_as_zfs_prints_it(self, text, number):
        assert zfs.size(text) == number

    @pytest.mark.parametrize("text", ["", "many", "1.2.3G", "12Q", "-5", "1G free"])
    def test_anything_else_is_refused(self, text):
        with pytest.raises(BadInput):
            zfs.size(text)

    def test_a_person_reads_it(self):
        assert [zfs.human(n) for n in (0, 900, 1536, 900 * 2 ** 30, 2 ** 51)] == [
            "0 B", "900 B", "1.5 KiB", "900.0 GiB", "2.0 PiB"]


class TestEstimate:
    @pytest.mark.parametrize("said, number", [
        ("full send of tank/snowth/data@condense estimated size is 8.12M\ntotal estimated size is 8.12M\n", 8514437),
        ("send from @ to tank/data@condense estimated size is 900G\ntotal estimated size is 900G\n", 966367641600),
        ("send from @ to tank/snowth/data@condense estimated size is 1.50T\n", 1649267441664),
        ("full\ttank/snowth/data@condense\t50257920\nsize\t50257920\n", 50257920),
    ], ids=["OpenZFS", "illumos", "first illumos", "parsable"])
    def test_of_every_dialect(self, said, number):
        assert zfs.parse_estimate(said) == number

    def test_nothing_is_no_estimate(self):
        with pytest.raises(BadInput):
            zfs.parse_estimate("")

    def test_it_may_be_on_standard_error(self):
        programs = Programs(zfs_send=(0, "", "total estimated size is 900G\n"))
        assert programs.zfs().estimate(D + "@condense") == 966367641600

    def test_an_old_version_has_none_and_another_failure_is_one(self):
        programs = Programs(zfs_send=(2, "", "invalid option 'n'\nusage:\n\tsend [-RDp] [-[iI] snapshot] <snapshot>\n"))
        assert programs.zfs().estimate(D + "@condense") is None
        programs = Programs(zfs_send=(1, "", "cannot open 'tank/x@condense': dataset does not exist\n"))
        with pytest.raises(CommandFailed, match="does not exist"):
            programs.zfs().estimate("tank/x@condense")


class TestPool:
    @pytest.mark.parametrize("text", ["tank\t44%\tONLINE\n", "tank\t44\tONLINE\n"], ids=["old", "new"])
    def test_capacity_and_health(self, text):
        assert zfs.parse_pool(text) == {"pool": "tank", "capacity": 44, "health": "ONLINE"}

    @pytest.mark.parametrize("text", ["", "tank\t-\tFAULTED\n", "tank 4% ONLINE\nspare 3% ONLINE\n"])
    def test_anything_else_is_refused(self, text):
        with pytest.raises(BadInput):
            zfs.parse_pool(text)

    def test_is_that_of_the_data_set(self):
        programs = Programs(zpool_list=(0, "tank\t4%\tONLINE\n", ""))
        programs.zfs().pool(D)
        assert programs.calls == ["zpool list -H -o name,capacity,health tank"]


class TestFreeing:
    @pytest.mark.parametrize("value, number", [("0", 0), ("-", 0), ("39.1M", 40999321), ("1.20T", 1319413953331)])
    def test_is_read_of_the_table(self, value, number):
        table = "NAME  PROPERTY  VALUE    SOURCE\ntank  freeing   %s        -\n" % value
        assert Programs(zpool_get=(0, table, "")).zfs().freeing(D) == number

    def test_an_old_version_frees_at_once(self):
        said = "bad property list: invalid property 'freeing'\nusage:\n"
        assert Programs(zpool_get=(2, "", said)).zfs().freeing(D) == 0

    def test_no_answer_is_no_zero(self):
        with pytest.raises(CommandFailed):
            Programs(zpool_get=(1, "", "cannot open 'tank': no such pool\n")).zfs().freeing(D)
        with pytest.raises(BadInput):
            Programs(zpool_get=(0, "NAME  PROPERTY  VALUE  SOURCE\n", "")).zfs().freeing(D)


class TestDataSet:
    def read(self, out):
        return Programs(zfs_get=(0, out, "")).zfs().data_set(D)

    def test_with_its_snapshots(self):
        assert self.read(text(ROWS)) == {
            "name": D, "creation": 1795697038, "guid": "4375485548424591863", "used": 50348032, "referenced": 50257920,
            "mounted": True, "read_only": False, "mountpoint": "/snowth/data", "children": [],
            "snapshots": {"condense": {"creation": 1795697041, "guid": "14557443004587753593", "used": 90112,
                                       "referenced": 50257920}}}

    def test_with_children_and_theirs(self):
        rows = ROWS + [(name,) + row[1:] for row in ROWS[:8] for name in (D + "/child", D + "/child@keep")]
        found = self.read(text(rows))
        assert found["children"] == [D + "/child"] and list(found["snapshots"]) == ["condense"]

    @pytest.mark.parametrize("value, source", [("on", "local"), ("on", "received"), ("off", "temporary")])
    def test_read_only_in_every_dialect(self, value, source):
        assert self.read(changed(D, "readonly", value, source))["read_only"] is True

    def test_that_does_not_exist_is_none(self):
        said = "cannot open '%s': dataset does not exist\n" % D
        assert Programs(zfs_get=(1, "", said)).zfs().data_set(D) is None

    def test_that_cannot_be_read_is_not_none(self):
        with pytest.raises(CommandFailed, match="connection"):
            Programs(zfs_get=(1, "", "connection to the daemon lost\n")).zfs().data_set(D)

    @pytest.mark.parametrize("out", [
        changed(D, "type", "volume"), changed(D, "referenced", "48M"), text(ROWS[:3]), changed(D, "creation", "-")])
    def test_anything_half_read_is_refused(self, out):
        with pytest.raises(BadInput):
            self.read(out)


class TestZfs:
    def test_a_host_without_it_says_so(self):
        with pytest.raises(zfs.Absent, match="no program zfs"):
            zfs.Zfs(find=lambda name: None)

    def test_the_data_set_of_a_path(self):
        assert Programs(zfs_list=(0, "tank/snowth\n", "")).zfs().at("/snowth") == "tank/snowth"
        said = "cannot open '/snowth': not a ZFS filesystem\n"
        assert Programs(zfs_list=(1, "", said)).zfs().at("/snowth") is None

    def test_busy_passes(self):
        busy = (1, "", "cannot destroy '%s': dataset is busy\n" % D)
        programs = Programs(zfs_destroy=[busy, busy, (0, "", "")])
        programs.zfs().patiently("destroy", D)
        assert len(programs.calls) == 3 and programs.now == 2.0

    def test_busy_for_long_fails_and_anything_else_at_once(self):
        programs = Programs(zfs_destroy=(1, "", "dataset is busy"))
        with pytest.raises(CommandFailed, match="is busy"):
            programs.zfs().patiently("destroy", D)
        assert programs.now == zfs.BUSY_S
        programs = Programs(zfs_destroy=(1, "", "cannot destroy '%s': filesystem has children" % D))
        with pytest.raises(CommandFailed, match="has children"):
            programs.zfs().patiently("destroy", D)
        assert len(programs.calls) == 1
