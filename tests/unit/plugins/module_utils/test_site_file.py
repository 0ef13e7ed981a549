# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import json

import pytest

from ansible_collections.circonus.inside.plugins.module_utils import site_file


class TestSummary:
    @pytest.mark.parametrize("spelling", ["web_db", "web-db"])
    def test_takes_the_values_that_name_the_active_site(self, spelling):
        document = {
            "active_datacenter": False,
            "svclist": {
                spelling: {"master": "a", "connect_host": "b", "admin_pass": "Secret1"},
                "ca": {"primary": "c", "key_pass": "Secret2"},
                "data_storage": {"secondary_cluster": ["d"]},
            },
        }
        found = site_file.summarise(document)
        assert len(found.pop("sha256")) == 64
        assert found == {
            "present": True,
            "active_datacenter": False,
            "ca_primary": "c",
            "web_db_master": "a",
            "web_db_connect_host": "b",
            "secondary_cluster": ["d"],
            "error": "",
        }
        assert "Secret" not in json.dumps(found)

    def test_digest_ignores_order_and_space(self, tmp_path):
        one, two = tmp_path / "one.json", tmp_path / "two.json"
        one.write_text('{"id": "site", "svclist": {}}')
        two.write_text('{"svclist":{},\n "id":"site"}')
        assert site_file.read_summary(str(one)) == site_file.read_summary(str(two))

    def test_a_missing_and_a_broken_file_are_answers(self, tmp_path):
        assert site_file.read_summary(str(tmp_path / "no.json"))["present"] is False
        (tmp_path / "bad.json").write_text("{")
        found = site_file.read_summary(str(tmp_path / "bad.json"))
        assert found["present"] is True and "Expected JSON" in found["error"]
