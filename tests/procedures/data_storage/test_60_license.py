# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""data_storage_license.yml and data_storage_status.yml on a running cluster."""

from __future__ import annotations

import pytest
from running_lab import LONG, Lab
from storage_lab import Storage

PATH = "/opt/circonus/etc/licenses.conf"
QUICK = {"circonus_confirm": "data_storage", "data_storage_license_limit": ["east"], "data_storage_license_pause_s": 3,
         "data_storage_license_spacing_s": 1, "data_storage_license_settle_s": 180}


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    found = Storage(Lab(tmp_path_factory.mktemp("reports")))
    found.settle()
    return found


@pytest.fixture(scope="module")
def licences(storage, tmp_path_factory):
    """A file as the vendor sends it; before and after, every node has what Hooper made."""
    path = tmp_path_factory.mktemp("vendor") / "licenses.xml"
    path.write_text('<license id="1" company="Initech"/>\n')
    before = {host: storage.lab.on(host, "cat", PATH).stdout for host in storage.hosts}
    yield path
    for host, text in before.items():
        storage.lab.on(host, "sh", "-c", "rm -f %s.*; cat > %s" % (PATH, PATH), input=text)


def give(storage, path, *options, **more):
    return storage.lab.play("data_storage_license", *options, **dict(
        QUICK, data_storage_license_file=str(path), **more))


class TestLicense:
    @LONG  # test_30_check_mode.py compares every host
    def test_check_mode_writes_and_restarts_nothing(self, storage, licences):
        before, text = storage.starts(), storage.lab.on("east-store1", "cat", PATH).stdout
        run = give(storage, licences, "--check")
        assert run.rc == 0 and storage.starts() == before and storage.lab.on("east-store1", "cat", PATH).stdout == text
        assert "Write %s on east-store3 beside the old file, restart it and wait" % PATH in run.output, run

    def test_one_node_after_the_other_and_only_those_that_need_it(self, storage, licences):
        before = storage.starts()
        # One has the file already and was not restarted since, so that it is restarted without being written.
        content = "<licenses>\n%s</licenses>\n" % licences.read_text()
        storage.lab.on("east-store2", "sh", "-c", "cat > " + PATH, input=content)
        with storage.traffic() as traffic:
            run = give(storage, licences)
        assert run.rc == 0 and run.result == "ok", run
        after = storage.starts()
        assert all(after[host] != before[host] for host in storage.hosts)
        assert traffic["lost"] == [] and max(len(look["down"]) for look in traffic["seen"]) == 1
        for host in storage.hosts:
            assert storage.lab.on(host, "cat", PATH).stdout == content
            kept = storage.lab.on(host, "sh", "-c", "ls %s.* 2>/dev/null | wc -l" % PATH, check=False).stdout.strip()
            assert kept == ("0" if host == "east-store2" else "1")
        assert sorted(run.report["licenses"]) == list(storage.hosts) and "Initech" not in run.output
        run = give(storage, licences)
        assert run.rc == 0 and run.result == "nothing_to_do" and storage.starts() == after, run

    def test_what_is_no_licence_is_refused(self, storage, licences, tmp_path):
        before = storage.starts()
        (tmp_path / "bad.xml").write_text("<license>")
        run = give(storage, tmp_path / "bad.xml")
        assert run.rc != 0 and run.result == "refused" and "Expected licences in XML" in run.report["reason"], run
        assert storage.starts() == before


class TestStatus:
    def test_a_green_cluster_and_a_node_that_hangs(self, storage):
        before = storage.starts()
        run = storage.lab.play("data_storage_status", data_storage_status_limit=["east"])
        # How full the disk of the machine is, may be found.
        assert {item["id"] for item in run.report["findings"]} <= {"storage_space", "storage_gossip"}, run
        assert run.report["storage"][0]["settled"] and run.report["checked"]["hosts"] == 3
        with storage.fault("east-store3", "http-hang"):
            run = storage.lab.play("data_storage_status", "--check", data_storage_status_limit=["east"])
        assert run.rc != 0 and run.result == "failed", run
        assert ("storage_node_down", "east-store3") in {(item["id"], item["host"]) for item in run.report["findings"]}
        assert storage.starts() == before
        storage.settle()
