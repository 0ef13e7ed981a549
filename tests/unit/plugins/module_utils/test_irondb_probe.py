# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

from ansible_collections.circonus.inside.plugins.module_utils import irondb_probe


class TestParseBoot:
    def test_is_the_age_of_the_first_process_whatever_its_name_is(self):
        first = "1 (systemd ) x) S " + " ".join(["0"] * 18) + " 25000 1 2"
        assert irondb_probe.parse_boot("1000.50 1800.00\n", first, 100) == 750.5

    def test_this_system_was_booted_before_now(self):
        assert irondb_probe.booted() > 0
