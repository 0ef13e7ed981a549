# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import socket
import threading

import pytest

from ansible_collections.circonus.inside.plugins.module_utils import search
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError

GREEN = '{"cluster_name": "grover", "status": "green", "number_of_nodes": 2, "unassigned_shards": 0}'


class TestParseHealth:
    def test_reads_what_matters(self):
        assert search.parse_health(GREEN) == {"cluster_name": "grover", "status": "green", "nodes": 2, "unassigned": 0}

    @pytest.mark.parametrize("text", ["", "[]", "{}", "null"])
    def test_anything_else_is_one_line(self, text):
        with pytest.raises(InsideError, match="Expected the cluster health"):
            search.parse_health(text)


class TestClusterFindings:
    def test_whole(self):
        assert search.cluster_findings(search.parse_health(GREEN), 2) == []

    @pytest.mark.parametrize(
        "change, words",
        [
            ({"nodes": 1}, "Expected 2 nodes in the search cluster grover, found 1"),
            ({"status": "red", "unassigned": 3}, "is red, 3 shards"),
            ({"error": "refused"}, "does not answer: refused"),
        ],
    )
    def test_names_what_is_wrong(self, change, words):
        assert words in search.cluster_findings(dict(search.parse_health(GREEN), **change), 2)[0]


class TestAskHealth:
    def test_answer_and_refusal(self):
        with socket.socket() as server:
            server.bind(("127.0.0.1", 0))
            server.listen(1)
            port = server.getsockname()[1]

            def answer():
                peer = server.accept()[0]
                peer.recv(1024)
                peer.sendall(("HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(GREEN), GREEN)).encode())
                peer.close()

            thread = threading.Thread(target=answer)
            thread.start()
            assert search.ask_health(port)["nodes"] == 2
            thread.join()
        assert "refused" in search.ask_health(port)["error"]


class Session:
    """A database of dictionaries."""

    def __init__(self, **tables):
        self.tables = tables

    def row(self, query):
        for name, rows in self.tables.items():
            if query.endswith("c.relname = '%s'" % name):
                return {"there": 1}
            if query.endswith("FROM circonus.%s" % name):
                return {"rows": rows}
        return None


class TestBacklog:
    def test_counts_what_is_there(self):
        assert search.backlog(Session(grover_queue=12)) == {"grover_queue": 12, "grover_low_priority_queue": None}
