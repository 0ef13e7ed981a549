# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What site.yml promises: every role once, in an order that agrees with what the roles require."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ansible_collections.circonus.inside.plugins.plugin_utils import catalogue

ROOT = Path(__file__).resolve().parents[3]
LINES = [line for line in (ROOT / "playbooks/site.yml").read_text().splitlines() if "roles:" in line]
PLAYS = [play for play in yaml.safe_load((ROOT / "playbooks/site.yml").read_text()) if "roles" in play]
ORDER = [role.split(".")[-1] for play in PLAYS for role in play["roles"]]


class TestSite:
    def test_every_role_is_one_line_for_its_own_hosts(self):
        assert len(LINES) == len(ORDER) == len(set(ORDER))
        for play, role in zip(PLAYS, ORDER, strict=True):
            assert play["hosts"] == {"broker": "brokers"}.get(role, role) and len(play["roles"]) == 1

    def test_names_every_role_of_the_catalogue(self):
        assert set(catalogue.names()) <= set(ORDER)

    @pytest.mark.parametrize("role", catalogue.names())
    def test_what_a_role_requires_comes_first(self, role):
        required = catalogue.load()[role].get("requires") or []
        late = [name for name in required if name in ORDER and ORDER.index(name) > ORDER.index(role)]
        assert late == []
