# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The console of libmtev programs against recordings of the real ones."""

import re
import socket

import pytest
from daemons import console, net

from .conftest import fixture_bytes

STRATCON = {
    name: (lambda words: "")
    for name in ("apply", "configure", "crash", "hang", "log", "mtev", "no", "restart", "shutdown", "write")
}
SHOW = ("apply", "conf", "eventer", "help", "log", "memory", "mtev", "noit", "noits", "rest", "reverse", "version")


@pytest.fixture
def session():
    """Connect to a console of a command tree."""
    opened = []

    def connect(tree, prompt="stratcon# "):
        listener = net.Listener(0, lambda stream, _peer, _cn: console.serve(stream, prompt, tree), "127.0.0.1")
        sock = socket.create_connection(("127.0.0.1", listener.port), 5)
        opened.extend((sock, listener))
        stream = net.Stream(sock)
        stream.greeting = stream.until(prompt.encode()) + prompt.encode()
        return stream

    yield connect
    for item in opened:
        item.close()


def ask(stream, command, prompt=b"stratcon# ", end=b"\r"):
    stream.sock.sendall(command + end)
    return stream.until(prompt)


class TestServe:
    def test_greets_as_recorded(self, session):
        recorded = fixture_bytes("stratcon-console.raw")
        greeting = session({}).greeting
        assert greeting == recorded[: len(greeting)]

    def test_help_and_completion_are_as_recorded(self, session):
        tree = {**STRATCON, "show": {name: (lambda words: "") for name in SHOW}}
        stream = session(tree)
        answer = ask(stream, b"help") + b"stratcon# " + ask(stream, b"show ?")
        recorded = fixture_bytes("stratcon-console.raw")
        assert answer + b"stratcon# show noits" in recorded

    def test_errors_are_as_recorded(self, session):
        stream = session({"show": {"memory": {"apply": None, "jemalloc": None}}, "shutdown": None})
        assert ask(stream, b"bogus command") == b"bogus command\r\nNo such command: 'bogus'\r\n"
        assert ask(stream, b"sh") == b"sh\r\nAmbiguous command: 'sh'\r\n"
        assert ask(stream, b"show memory") == (
            b"show memory\r\n  ==> 'apply'\r\n  ==> 'jemalloc'\r\nincomplete command.\r\n"
        )

    def test_a_unique_beginning_is_enough(self, session):
        stream = session({"show": {"noits": lambda words: "all\n", "version": lambda words: "1\n"}})
        assert ask(stream, b"sho noi") == b"sho noi\r\nall\r\n"

    def test_a_line_feed_runs_an_empty_command_too(self, session):
        stream = session({"show": lambda words: "all\n"})
        assert ask(stream, b"show", end=b"\n") == b"show\r\nall\r\n"
        assert stream.until(b"stratcon# ") == b"\r\n"

    def test_pipelined_commands_get_lost(self, session):
        stream = session({"one": lambda words: "1\n", "two": lambda words: "2\n"})
        assert ask(stream, b"one\rtwo") == b"one\r\n1\r\n"
        assert ask(stream, b"one") == b"one\r\n1\r\n"

    def test_telnet_answers_are_no_input(self, session):
        stream = session({"one": lambda words: "1\n"})
        assert ask(stream, bytes.fromhex("fffd01fffa1800787465726dfff0") + b"one") == b"one\r\n1\r\n"

    def test_exit_closes(self, session):
        stream = session({})
        stream.sock.sendall(b"exit\r")
        assert stream.exactly(6) == b"exit\r\n"
        with pytest.raises(net.Closed):
            stream.exactly(1)


class TestStripTelnet:
    def test_keeps_a_doubled_iac_as_one_byte(self):
        assert console.strip_telnet(b"a\xff\xffb") == b"a\xffb"

    def test_knows_commands_without_an_option(self):
        assert console.strip_telnet(b"\xff\xf1ab") == b"ab"


class TestJobq:
    def test_is_a_block_as_noitd_prints_it(self):
        text = console.jobq("default_queue")
        assert re.fullmatch(r"=== default_queue ===\n( [a-z_/ ]+: \S+\n){10}", text)
