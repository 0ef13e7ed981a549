# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError
from ansible_collections.circonus.inside.plugins.plugin_utils import play

LAB = Path(__file__).resolve().parents[4] / "inventories" / "lab"


class Templar:
    """Values of tests have nothing to fill in."""

    @staticmethod
    def template(value):
        return value


@pytest.fixture
def known():
    sites = {name: {"file": str(LAB / ("site.%s.json" % name)), "hosts": ["%s-app1" % name], "active": name == "east"}
             for name in ("east", "west")}
    hostvars = {
        "east-app1": {"circonus_node": {"site": "east", "roles": ["ca"]}, "circonus_probe": {"lock": {}}},
        "west-app1": {"circonus_node": {"site": "west", "roles": ["ca"]}, "circonus_probe": {"skipped": True}},
        "broker1": {"circonus_node": {"roles": ["broker"]}, "circonus_probe": {"units": {}}},
    }
    groups = {"hooper": ["east-app1", "west-app1"], "brokers": ["broker1"]}
    return {"circonus_sites": sites, "groups": groups, "hostvars": hostvars}


class TestSites:
    def test_have_their_files_read(self, known):
        found = play.sites(Templar, known)
        assert found["west"]["raw"]["svclist"] and found["east"]["active"] and not found["west"]["active"]

    @pytest.mark.parametrize("described", [None, {}])
    def test_an_inventory_without_any_is_refused(self, described):
        with pytest.raises(InsideError, match="Expected sites from the inventory plugin"):
            play.sites(Templar, {"circonus_sites": described})


class TestSituation:
    def test_hosts_that_were_not_asked_are_not_reachable(self, known):
        found = play.situation(Templar, known, more=["broker1"])
        assert found.probes == {"east-app1": {"lock": {}}, "west-app1": {"reachable": False, "msg": play.ABSENT},
                                "broker1": {"units": {}}}
        assert "broker1" not in play.situation(Templar, known).probes
        assert found.units["ca"] == ["circonus-ca_processor"]


class TestNodes:
    def test_brokers_have_no_site(self, known):
        assert play.nodes(known)["broker1"] == {"site": None, "roles": ["broker"]}
        assert play.answer(known, "nobody", "circonus_probe") is None
