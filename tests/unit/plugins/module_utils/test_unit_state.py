# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import pytest

from ansible_collections.circonus.inside.plugins.module_utils import unit_state
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput


class TestParseShow:
    def test_keeps_the_order_of_the_names_and_computes_the_start(self):
        text = (
            "Id=a.service\nLoadState=loaded\nActiveState=active\nSubState=running\nMainPID=12\n"
            "ActiveEnterTimestampMonotonic=5000000\nNRestarts=2\n\n"
            "Id=b.service\nLoadState=not-found\nActiveState=inactive\nSubState=dead\nMainPID=0\n"
        )
        found = unit_state.parse_show(text, ["a", "alias-of-b"], wall=1000.0, monotonic=10.0)
        facts = [found["a"][key] for key in ("exists", "pid", "restarts", "since_epoch")]
        assert facts == [True, 12, 2, 995.0]
        assert found["alias-of-b"]["exists"] is False and found["alias-of-b"]["since_epoch"] is None

    def test_a_name_without_an_answer_does_not_exist(self):
        assert unit_state.parse_show("", ["a"])["a"]["exists"] is False


class TestParseUnitFiles:
    def test_takes_services_and_no_templates(self):
        lines = (
            "circonus-b.service  enabled enabled",
            "circonus-a.service disabled",
            "circonus-t@.service static",
            "x.timer enabled",
            "",
            "",
        )
        assert unit_state.parse_unit_files("\n".join(lines)) == ["circonus-a", "circonus-b"]


class TestParseListeners:
    def test_takes_listeners_only(self):
        table = "\n".join(
            (
                "  sl  local_address rem_address   st tx_queue",
                "   0: 0100007F:1628 00000000:0000 0A 00000000:00000000",
                "   1: 0100007F:1629 0100007F:1628 01 00000000:00000000",
                "   2: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 0",
            )
        )
        assert unit_state.parse_listeners(table) == {0x1628, 0x50}


class TestNamesOf:
    @pytest.mark.parametrize("wrong", [None, {}, {"units": {}}, {"units": [{"id": "a"}]}, {"units": ["a"]}])
    def test_a_malformed_entry_is_refused(self, wrong):
        with pytest.raises(BadInput):
            unit_state.names_of(wrong)
