# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import base64
import json
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from ansible_collections.circonus.inside.plugins.module_utils import rabbitmq
from ansible_collections.circonus.inside.plugins.module_utils.errors import (
    CommandFailed,
    InsideError,
    Refused,
    TimedOut,
)

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
        with pytest.raises(CommandFailed, match="Expected the state of a cluster"):
            rabbitmq.parse_status(text)


NEW_CLUSTER = """{"alarms":[{"node":"rabbit@mq2","resource":"memory","type":"resource_limit"}],
"cluster_name":"rabbit@mq1","disk_nodes":["rabbit@mq2","rabbit@mq1"],"ram_nodes":[],"running_nodes":["rabbit@mq1"],
"partitions":{"rabbit@mq1":["rabbit@mq2"]}}"""
OLD_CLUSTER = """Cluster status of node 'rabbit@mq1' ...
[{nodes,[{disc,['rabbit@mq1','rabbit@mq2']}]},
 {running_nodes,['rabbit@mq1']},
 {cluster_name,<<"rabbit@mq1">>},
 {partitions,[{'rabbit@mq1',['rabbit@mq2']}]},
 {alarms,[{'rabbit@mq2',[memory]},{'rabbit@mq1',[]}]}]
...done.
"""


class TestParseStatusForms:
    def test_both_forms_say_the_same(self):
        wanted = {
            "cluster_name": "rabbit@mq1",
            "nodes": ["rabbit@mq1", "rabbit@mq2"],
            "running_nodes": ["rabbit@mq1"],
            "partitions": {"rabbit@mq1": ["rabbit@mq2"]},
            "alarms": ["memory on rabbit@mq2"],
        }
        assert rabbitmq.parse_status(NEW_CLUSTER) == wanted
        assert rabbitmq.parse_status(OLD_CLUSTER) == wanted

    def test_reads_the_oldest_form(self):
        found = rabbitmq.parse_status("Cluster status of node rabbit@a ...\n[{nodes,[{disc,[rabbit@a]}]},"
                                      "{running_nodes,[rabbit@a]},{partitions,[]}]\n...done.\n")
        assert (found["running_nodes"], found["partitions"], found["alarms"]) == (["rabbit@a"], {}, [])

    @pytest.mark.parametrize("text", ["", "Error: unable to connect", "[{a,b}]", "[{nodes,[{disc,["])
    def test_refuses_anything_else(self, text):
        with pytest.raises(CommandFailed):
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

    def test_falls_back_to_terms(self):
        answers = [(64, "", "Error: invalid"), (0, "[{running_nodes,['rabbit@a']}]", "")]
        assert rabbitmq.read("/x", runner=lambda *unused: answers.pop(0))["running_nodes"] == ["rabbit@a"]

    def test_a_node_that_is_down_is_asked_once(self):
        answers = [(69, "", "Error: unable to connect")]
        assert "unable to connect" in rabbitmq.read("/x", runner=lambda *unused: answers.pop(0))["error"]


NODES = [
    {"name": "rabbit@a", "running": True, "mem_alarm": False, "disk_free_alarm": True, "partitions": ["rabbit@b"]},
    {"name": "rabbit@b", "running": True, "mem_alarm": False, "disk_free_alarm": False, "partitions": []},
    {"name": "rabbit@c", "running": False},
]
NAME = '{"name": "mq"}'


class TestParseNodes:
    def test_says_the_same_as_the_program(self):
        said = dict(STATUS, disk_nodes=["rabbit@a", "rabbit@b", "rabbit@c"], partitions={"rabbit@a": ["rabbit@b"]},
                    alarms=[{"node": "rabbit@a", "resource": "disk"}])
        assert rabbitmq.parse_nodes(json.dumps(NODES), NAME) == rabbitmq.parse_status(json.dumps(said))

    @pytest.mark.parametrize("nodes, name", [
        (json.dumps([{"name": "rabbit@a", "running": True}]), NAME), (json.dumps(NODES), "{}"), ("", NAME),
        ('{"error": "x"}', NAME), (json.dumps(NODES)[:90], NAME), ("[1]", NAME),
    ])
    def test_half_an_answer_is_none(self, nodes, name):
        assert rabbitmq.parse_nodes(nodes, name) is None


class _Management(BaseHTTPRequestHandler):
    """Stands for the management interface: guest of 127.0.0.1, or of everywhere.

    Who asks 127.0.0.2 comes from 127.0.0.1 as well, so the address that was asked tells; of a real address both are
    the same.
    """

    def do_GET(self):
        login = "Basic " + base64.b64encode(self.server.login.encode()).decode()
        known = self.headers["Authorization"] == login and (
            self.server.open or self.connection.getsockname()[0] == "127.0.0.1")
        pages = {"/api/nodes": json.dumps(self.server.nodes), "/api/cluster-name": NAME, "/api/whoami": "{}"}
        self.send_response(200 if known else 401)
        self.end_headers()
        self.wfile.write(pages[self.path].encode() if known else b"no")

    def log_message(self, *unused):
        pass


@pytest.fixture
def management():
    server = HTTPServer(("0.0.0.0", 0), _Management)
    server.login, server.open, server.nodes = "guest:guest", False, NODES
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def pages(server):
    facts, known = rabbitmq.read_pages(server.server_port, 3.0, lambda: "127.0.0.2")
    return facts and facts["running_nodes"], known


class TestReadPages:
    def test_guest_of_this_host_only(self, management):
        assert pages(management) == (["rabbit@a", "rabbit@b"], False)

    def test_guest_from_everywhere(self, management):
        management.open = True
        assert pages(management) == (["rabbit@a", "rabbit@b"], True)

    def test_another_password(self, management):
        management.login = "guest:better"
        assert pages(management) == (None, False)

    def test_nobody_there(self):
        assert rabbitmq.read_pages(1, 1.0) == (None, None)

    def test_without_a_way_out_nothing_is_told_of_others(self, management):
        assert rabbitmq.read_pages(management.server_port, 3.0, lambda: None)[1] is None


class TestOwnAddress:
    def test_is_an_address_of_this_host_that_is_not_loopback(self):
        address = rabbitmq.own_address()
        if address is None:
            pytest.skip("only loopback here")
        one = socket.socket()
        one.bind((address, 0))
        one.close()
        assert not address.startswith("127.")

    def test_is_none_with_loopback_alone(self, monkeypatch):
        monkeypatch.setattr(rabbitmq.socket, "if_nameindex", lambda: [(1, "lo"), (2, "not-there")])
        assert rabbitmq.own_address() is None


@pytest.fixture
def mapper():
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(1)
    yield listener.getsockname()[1]
    listener.close()


class TestCluster:
    def test_the_program_is_not_run_where_pages_tell(self):
        found = rabbitmq.cluster("/nowhere", 1, pages=lambda *unused: ({"nodes": []}, True))
        assert found == {"nodes": [], "default_credentials": True}

    def test_the_program_tells_where_pages_do_not(self, mapper):
        found = rabbitmq.cluster("/bin/sh", mapper, runner=lambda *unused: (0, json.dumps(STATUS), ""),
                                 pages=lambda *unused: (None, False))
        assert found["running_nodes"] == ["rabbit@a", "rabbit@b"] and found["default_credentials"] is False

    def test_is_not_asked_without_the_port_mapper(self):
        with pytest.raises(InsideError, match="port 1 of the Erlang port mapper"):
            rabbitmq.cluster("/bin/sh", 1, runner=None, pages=lambda *unused: (None, None))

    def test_says_what_the_program_says(self, mapper):
        with pytest.raises(InsideError, match="ended with 69: Error: unable"):
            rabbitmq.cluster("/bin/sh", mapper, runner=lambda *unused: (69, "", "Error: unable to connect\n"),
                             pages=lambda *unused: (None, None))
        with pytest.raises(InsideError, match="it is not there"):
            rabbitmq.cluster("/nowhere/rabbitmqctl", mapper, pages=lambda *unused: (None, None))
