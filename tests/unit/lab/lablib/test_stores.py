"""The site of `lab up --stores N`: a whole site.json, and a topology as the collection reads and writes it."""

import json
import os

import pytest
from ansible_collections.circonus.inside.plugins.module_utils import ring, topology
from ansible_collections.circonus.inside.plugins.plugin_utils import site_model
from hooper import storage
from hooper.site_file import Site
from lablib import LabError, layout, stores

SOURCE = os.path.join(os.path.dirname(__file__), "..", "..", "..", "..", "inventories", "lab")
KINDS = pytest.mark.parametrize("count, sided", [(2, True), (3, False), (6, False), (6, True), (12, True)])


class Project:
    def __init__(self, place):
        self.inventory = str(place)


def site_of(tmp_path, count, sided, edition="later"):
    layout.copy_inventory(SOURCE, Project(tmp_path), "10.89.100", edition, (count, sided))
    with open(tmp_path / "site.east.json", encoding="utf-8") as stream:
        return json.load(stream)


def topology_of(site):
    """As the first Hooper run of a node writes it."""
    read = Site(site)
    copies = read.role("data_storage")["ncopies"]
    nodes = storage.topology_nodes(read)
    return storage.topology(copies, nodes), storage.digest(copies, nodes)


class TestReshape:
    @KINDS
    @pytest.mark.parametrize("edition", ["later", "2019"])
    def test_its_site_json_keeps_every_rule(self, tmp_path, count, sided, edition):
        site_of(tmp_path, count, sided, edition)
        _sites, findings = site_model.check_files({"east": str(tmp_path / "site.east.json")})
        assert [found for found in findings if found["id"] != "W-01"] == []

    def test_leaves_one_site_with_its_variables(self, tmp_path):
        site_of(tmp_path, 6, False)
        assert sorted(os.listdir(tmp_path)) == ["group_vars", "lab.site.yml", "site.east.json"]
        assert "file: site.east.json" in (tmp_path / "lab.site.yml").read_text()

    @pytest.mark.parametrize("count, copies", [(3, 2), (5, 2), (6, 3), (12, 3)])
    def test_keeps_three_copies_from_six_nodes_on(self, tmp_path, count, copies):
        assert site_of(tmp_path, count, False)["svclist"]["data_storage"]["ncopies"] == copies

    def test_keeps_the_hosts_that_are_there_already(self, tmp_path):
        machines = site_of(tmp_path, 6, False)["machinfo"]
        with open(os.path.join(SOURCE, "site.east.json"), encoding="utf-8") as stream:
            before = json.load(stream)["machinfo"]
        assert {host: machines[host] for host in before if host in machines} == {
            host: machine for host, machine in before.items() if host in machines
        }
        assert len(machines) == 8

    @pytest.mark.parametrize("count, sided", [(1, False), (13, False), (5, True)])
    def test_refuses_what_is_no_store(self, count, sided):
        with pytest.raises(LabError, match="--stores %d" % count):
            stores.check(count, sided)


class TestTopology:
    @KINDS
    def test_is_what_the_collection_writes_and_reads(self, tmp_path, count, sided):
        text, digest = topology_of(site_of(tmp_path, count, sided))
        read = topology.checked(topology.read_xml(text))
        assert topology.write_xml(read) == text and topology.digest(read) == digest
        assert topology.sided(read) is sided and len(read.nodes) == count

    def test_six_on_two_sides_may_stop_side_by_side(self, tmp_path):
        site = site_of(tmp_path, 6, True)
        read = topology.read_xml(topology_of(site)[0])
        waves = ring.waves(read, "sides")
        ids = [[site["machinfo"][host]["node_id"] for host in site["svclist"]["data_storage"][side]]
               for side in ("side_a", "side_b")]
        assert waves == ids and [len(wave) for wave in waves] == [3, 3]
