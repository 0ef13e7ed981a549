# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ansible_collections.circonus.inside.plugins.action.pki_probe import ActionModule
from ansible_collections.circonus.inside.plugins.plugin_utils import procedure

ROOT = Path(__file__).resolve().parents[4]
LAB = ROOT / "inventories" / "lab"
NODE = {"name": "east-app3", "site": "east", "roles": ["stratcon"], "machinfo": {"ip_address": "192.0.2.3"}}
SITES = {"east": {"file": str(LAB / "site.east.json"), "active": True, "hosts": ["east-app3"]}}


def arguments(name):
    """What pki_files is asked by the procedure of that name with nothing but its defaults."""
    meta = yaml.safe_load((ROOT / "playbooks" / (name + ".meta.yml")).read_text())
    parameters = procedure.check_parameters(meta, name, {})[0]
    known = {"groups": {"broker": [], "brokers": []}, "hostvars": {}}
    action = ActionModule.__new__(ActionModule)
    return action._arguments(NODE, SITES, {"procedure": name, "parameters": parameters}, known)


class TestLive:
    """A handshake with every port costs seconds and says nothing that these procedures need."""

    @pytest.mark.parametrize("name", ["ca_failover", "ca_reissue", "ca_bootstrap_standby", "datacenter_failover"])
    def test_is_off_in_procedures_that_only_want_the_files(self, name):
        found = arguments(name)
        assert found["files"] and not {"ports", "peers", "live_timeout", "live_deadline"} & set(found)

    def test_is_on_in_the_audit(self):
        assert {item["port"] for item in arguments("pki_audit")["ports"]} == {43191}
