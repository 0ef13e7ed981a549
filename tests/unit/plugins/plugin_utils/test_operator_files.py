# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from xml.etree import ElementTree

import pytest

from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput
from ansible_collections.circonus.inside.plugins.plugin_utils import operator_files

CONFIG = {
    "mq": {"host": "mq1", "user": "caql", "password": "a<b"},
    "nodes": [{"address": "192.0.2.1"}, {"address": "192.0.2.2", "port": 9112, "host": "store2"}],
    "api": {"address": "192.0.2.9", "token": "t-1", "search_refresh_seconds": 600},
    "snowth": {"concurrency": 5},
    "window_timeout": 45,
}


class TestLines:
    def test_a_line_for_every_setting(self):
        assert operator_files.lines({"USER": 43191, "GROUP": "43191"}, "=") == ["USER=43191", "GROUP=43191"]
        assert operator_files.lines({"psgi": "FATAL"}, " ") == ["psgi FATAL"]

    def test_no_settings_no_lines(self):
        assert operator_files.lines({}, "=") == [] and operator_files.lines(None, "=") == []

    @pytest.mark.parametrize("settings", [{"A B": 1}, {"A=": 1}, {"A": "1\nB=2"}, {"": 1}, {"A": ""}, {"A": None}])
    def test_refuses_what_would_break_the_file(self, settings):
        with pytest.raises(BadInput, match="Expected a name and a value of one line"):
            operator_files.lines(settings, "=")


class TestLicensesConf:
    def test_puts_licences_between_the_tags(self):
        text = operator_files.licenses_conf("<license id='1'/>\n<license id='2'/>")
        assert [child.get("id") for child in ElementTree.fromstring(text)] == ["1", "2"]

    def test_keeps_tags_that_are_there(self):
        assert operator_files.licenses_conf("<licenses><license/></licenses>") == "<licenses><license/></licenses>\n"

    def test_nothing_set_nothing_written(self):
        assert operator_files.licenses_conf(" ") == ""

    def test_refuses_what_is_no_xml(self):
        with pytest.raises(BadInput, match="Expected licences in XML, found text with .*data_storage_licenses"):
            operator_files.licenses_conf("<license>")


class TestCaqlBrokerConf:
    @staticmethod
    def parse(text):
        head, body = text.split("\n", 1)
        assert head == '<?xml version="1.0" encoding="utf8"?>'
        return ElementTree.fromstring("<all>%s</all>" % body)

    def test_writes_both_parts(self):
        root = self.parse(operator_files.caql_broker_conf(CONFIG))
        assert [child.tag for child in root] == ["network", "caqlbroker"]
        mq = root.find("network/in/mq")
        assert mq.get("type") == "fq"
        assert {child.tag: child.text for child in mq} == {
            "host": "mq1", "port": "8765", "user": "caql", "pass": "a<b", "exchange": "noit.firehose",
            "program": 'prefix:"check."'}
        broker = root.find("caqlbroker")
        assert broker.get("window_timeout") == "45" and broker.find("snowth").attrib == {"concurrency": "5"}
        assert [node.attrib for node in broker.findall("snowth/node")] == [
            {"address": "192.0.2.1", "port": "8112"}, {"address": "192.0.2.2", "host": "store2", "port": "9112"}]
        api = broker.find("api")
        assert api.attrib == {"search_refresh_seconds": "600"} and api.find("token").text == "t-1"
        assert api.find("node").attrib == {"address": "192.0.2.9", "port": "8080"}
        assert api.find("app_name").text == "caql-broker"

    def test_nothing_set_nothing_written(self):
        assert operator_files.caql_broker_conf({}) == ""

    def test_names_all_that_is_missing(self):
        with pytest.raises(BadInput, match="Expected mq.user, mq.password, api.address, api.token, nodes in"):
            operator_files.caql_broker_conf({"mq": {"host": "mq1"}})


class TestRetentionRule:
    def test_a_rule_for_tmpfiles(self):
        text = operator_files.retention_rule("/data/long-tail/", 400)
        assert text.splitlines()[-1] == "d /data/long-tail - - - 400d"

    @pytest.mark.parametrize("days", [0, "0", -1])
    def test_off(self, days):
        assert operator_files.retention_rule("", days) == ""

    @pytest.mark.parametrize(
        "directory",
        ["", "/", "data", "/opt", "/opt/circonus", "/opt/circonus/CA", "/opt/circonus/CA/certs", "/wdb",
         "/wdb/pgdata/9.2", "/snowth/data", "/etc/x", "/usr/local", "/data/../etc", "/data/a b", "/home", "/var",
         "/data/x - - - 1d"],
    )
    def test_refuses_a_directory_that_holds_more(self, directory):
        with pytest.raises(BadInput, match="Set long_tail_storage_directory"):
            operator_files.retention_rule(directory, 30)
