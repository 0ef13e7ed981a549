# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import json
import re

import pytest

from ansible_collections.circonus.inside.plugins.module_utils import rabbitmq
from ansible_collections.circonus.inside.plugins.module_utils.errors import CommandFailed, Refused, TimedOut

STATUS = {
    "cluster_name": "mq",
    "disk_nodes": ["rabbit@a", "rabbit@b"],
    "ram_nodes": [],
    "running_nodes": ["rabbit@b", "rabbit@a"],
    "partitions": {},
    "alarms": [],
}


def facts(**more):
    return dict(rabbitmq.parse_status(json.dumps(dict(STATUS, **more))), error="")


class TestParseStatus:
    def test_reads_members_and_ignores_what_stands_before(self):
        found = rabbitmq.parse_status("Cluster status of node rabbit@a ...\n" + json.dumps(STATUS))
        assert found["nodes"] == found["running_nodes"] == ["rabbit@a", "rabbit@b"]

    def test_alarms_and_both_forms_of_partitions(self):
        found = facts(
            alarms=[{"node": "rabbit@a", "resource": "disk", "type": "resource_limit"}, "file_descriptor_limit"],
            partitions=[["rabbit@a", ["rabbit@b"]]],
        )
        assert found["alarms"] == ["disk on rabbit@a", "file_descriptor_limit"]
        assert found["partitions"] == {"rabbit@a": ["rabbit@b"]} == facts(partitions=found["partitions"])["partitions"]

    @pytest.mark.parametrize("text", ["", "Error: unable to connect", "{", "[]", '{"a": 1}'])
    def test_anything_else_is_one_line(self, text):
        with pytest.raises(CommandFailed, match="Expected the JSON of rabbitmqctl"):
            rabbitmq.parse_status(text)


class TestProblem:
    def test_whole(self):
        assert rabbitmq.problem(facts(), 2) is None

    @pytest.mark.parametrize(
        "found, nodes, words",
        [
            (facts(partitions={"rabbit@a": ["rabbit@b"]}), 2, "partitioned: rabbit@a does not see rabbit@b"),
            (facts(running_nodes=["rabbit@a"]), 2, "1 node of the RabbitMQ cluster not running: rabbit@b"),
            (facts(disk_nodes=["rabbit@a"], running_nodes=["rabbit@a"]), 2, "expected 2 nodes .* found 1"),
            (dict(facts(), error="no answer"), 0, "no answer"),
        ],
    )
    def test_names_what_is_wrong(self, found, nodes, words):
        assert re.search(words, rabbitmq.problem(found, nodes))


class TestDefaultLogin:
    @pytest.mark.parametrize("status, works", [(200, True), (401, False), (403, False), (404, None), (None, None)])
    def test_by_status(self, status, works):
        assert rabbitmq.default_login(status) is works


class Clock:
    now = 0.0

    def __call__(self):
        return self.now

    def pause(self, seconds):
        self.now += seconds


def look(answers, clock=None, login=401, **options):
    clock = clock or Clock()
    return rabbitmq.look(
        reader=lambda: dict(answers.pop(0)), login=lambda: login, clock=clock, pause=clock.pause, **options
    )


class TestLook:
    def test_waits_until_it_is_whole(self):
        broken = facts(running_nodes=["rabbit@a"])
        assert look([broken, broken, facts()], expect="whole", expected_nodes=2, timeout=10)["whole"]

    def test_gives_up_at_the_deadline_with_the_facts(self):
        with pytest.raises(TimedOut, match="no further node was touched") as caught:
            look([facts(running_nodes=["rabbit@a"])] * 5, expect="whole", timeout=2)
        assert caught.value.details["running_nodes"] == ["rabbit@a"]

    def test_refuses_to_begin(self):
        with pytest.raises(Refused, match="restarted only when the cluster is whole"):
            look([facts(partitions={"rabbit@a": ["rabbit@b"]})], expect="whole")

    def test_only_looks(self):
        found = look([facts(running_nodes=[])])
        assert found["whole"] is False and "not running" in found["problem"]

    def test_warns_about_alarms_and_the_default_login(self):
        found = look([facts(alarms=["disk"])], login=200)
        assert len(found["procedure_warnings"]) == 2 and "guest/guest" in found["procedure_warnings"][1]


class TestRead:
    def test_an_error_is_part_of_the_answer(self):
        found = rabbitmq.read(runner=lambda *unused: (69, "", "Error: unable to perform\n an operation"))
        assert found["error"] == "rabbitmqctl cluster_status ended with 69: Error: unable to perform an operation"
        assert found["running_nodes"] == []

    def test_reads_the_cluster(self):
        calls = []

        def runner(argv, timeout):
            calls.append(argv)
            return 0, json.dumps(STATUS), ""

        assert rabbitmq.read("/x", runner=runner)["running_nodes"] == ["rabbit@a", "rabbit@b"]
        assert calls == [["/x", "-q", "cluster_status", "--formatter", "json"]]
