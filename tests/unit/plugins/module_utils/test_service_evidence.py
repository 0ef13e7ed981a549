# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

from ansible_collections.circonus.inside.plugins.module_utils import service_evidence

ENTRY = {
    "name": "mq",
    "units": [{"id": "epmd", "candidates": ["circonus-epmd"], "logs": ["/unit.log"]}],
    "logs": ["/role.log", "/unit.log"],
}


def systemd(argv, timeout=None):
    if argv[0] == "journalctl":
        return 0, "started\nstopped\n", ""
    return 0, "Id=circonus-epmd.service\nLoadState=loaded\nActiveState=failed\nSubState=failed\nMainPID=0\n", ""


class TestLogPaths:
    def test_each_once_units_first(self):
        assert service_evidence.log_paths(ENTRY) == ["/unit.log", "/role.log"]


class TestCollect:
    def test_units_logs_journal_and_room(self, tmp_path):
        for number in range(4):
            (tmp_path / ("%d.log" % number)).write_text("a\nb\nc\n")
        (tmp_path / "sub").mkdir()
        entry = dict(ENTRY, log_directories=[str(tmp_path)], space=[str(tmp_path), "/none"])
        entry["logs"] = []
        seen = service_evidence.collect(entry, lines=2, files=3, runner=systemd, ports_reader=set)
        assert seen["state"] == "down" and seen["units"][0]["active"] == "failed"
        assert len(seen["logs"]) == 1 + 3
        assert seen["logs"][0]["error"] == "No such file or directory" and seen["logs"][0]["size"] is None
        assert seen["logs"][1]["lines"] == ["b", "c"] and seen["logs"][1]["size"] == 6
        assert seen["journal"] == {"circonus-epmd": ["started", "stopped"]}
        assert seen["space"][0]["total_bytes"] > 0 and seen["space"][1]["error"]

    def test_a_role_that_is_gone(self):
        entry = dict(ENTRY, releases={"until": "2019-01-01"})
        seen = service_evidence.collect(entry, release="2020-01-01", runner=systemd, ports_reader=set)
        assert seen["state"] == "absent" and seen["logs"] == []
