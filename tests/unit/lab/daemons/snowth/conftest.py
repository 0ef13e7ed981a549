# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A cluster of snowth nodes on addresses of the loopback network, within the test or as processes."""

import json
import os
import subprocess
import sys

import pytest
from daemons import net, watchdog
from daemons.snowth import node, options, store, topology

from ..conftest import LIBRARY, eventually, free_port

IDS = ["a0000000-0000-4000-8000-%012d" % number for number in range(1, 7)]
CHECK = "c0000000-0000-4000-8000-000000000001"
AT = 1700000040


class Cluster:
    """Nodes on 127.0.0.1, .2, ...; each has its own store, faults and configuration below one directory."""

    def __init__(self, place, release="2021", count=3, copies=2, sides=()):
        self.place, self.release, self.port = place, release, free_port()
        self.text = self.xml(range(count), copies, sides)
        self.digest = topology.parse(self.text).digest
        self.nodes, self.processes = {}, {}

    def xml(self, numbers, copies=2, sides=()):
        rows = "".join(
            '<node id="%s" address="127.0.0.%d" port="%d" apiport="%d" weight="64"%s/>\n'
            % (IDS[n], n + 1, self.port, self.port, ' side="%s"' % sides[n] if sides else "")
            for n in numbers
        )
        return '<nodes write_copies="%d">\n%s</nodes>\n' % (copies, rows)

    def path(self, number, *parts):
        return self.place.joinpath("node%d" % number, *parts)

    def prepare(self, number, text=None):
        """What Hooper does on a host."""
        text = text or self.text
        digest = topology.parse(text).digest
        for name in ("logs", "localstate", *("%s/%s" % (name, IDS[number]) for name in store.DIRECTORIES)):
            self.path(number, "store", name).mkdir(parents=True, exist_ok=True)
        for name in ("topo", "faults"):
            self.path(number, name).mkdir(exist_ok=True)
        self.path(number, "topo", digest).write_text(text)
        selector = '<topology path="topo" active="%s" next=""/>\n' % digest
        self.path(number, "topology.conf").write_text(selector)
        self.path(number, "snowth.conf").write_text('<snowth>\n<lab release="%s"/>\n</snowth>\n' % self.release)

    def places(self, number):
        return {
            "topologies": str(self.path(number, "topo")),
            "root": str(self.path(number, "store")),
            "host": "127.0.0.%d" % (number + 1),
            "console_port": 0,
            "fault_dir": str(self.path(number, "faults")),
        }

    def options(self, number, *arguments):
        return ["-c", str(self.path(number, "snowth.conf")), "-i", IDS[number], *arguments]

    def build(self, number, *arguments):
        chosen = options.Options(self.options(number, *arguments))
        return node.Snowth(watchdog.Child(), chosen, **self.places(number))

    def node(self, number, *arguments, text=None):
        """A started node within this process; gossip goes when the test says so."""
        self.prepare(number, text)
        self.nodes[number] = self.build(number, *arguments)
        self.nodes[number].start()
        return self.nodes[number]

    def gossip(self):
        for item in self.nodes.values():
            item.gossip.send()

    def all(self, count=3):
        """So many nodes in this process, which know each other."""
        found = [self.node(number) for number in range(count)]

        def known():
            self.gossip()
            return all(len(item.gossip.rows()) == count - 1 for item in found)

        eventually(known)
        return found

    def spawn(self, number, *arguments):
        """A node as a process of its own, without a watchdog unless -D -D is asked for."""
        if not self.path(number).exists():
            self.prepare(number)
        program = "import sys; sys.path.insert(0, %r); from daemons.snowthd import main; sys.exit(main(%r, **%r))"
        program %= (LIBRARY, self.options(number, *(arguments or ("-D",))), self.places(number))
        process = subprocess.Popen(
            [sys.executable, "-sB", "-c", program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.processes[number] = process
        return process

    def up(self, number, *arguments):
        """A spawned node that answers."""
        process = self.spawn(number, *arguments)
        eventually(lambda: self.answers(number), 60, "node %d answers" % number)
        return process

    def answers(self, number):
        try:
            return self.ask(number, "/state")[0] == 200
        except (OSError, net.Closed):
            return False

    def ask(self, number, path, method="GET", body=b"", headers=(), seconds=60.0):
        """(status, JSON) over HTTP."""
        host = "127.0.0.%d" % (number + 1)
        status, _headers, content = net.fetch(host, self.port, path, method, body, headers, seconds=seconds)
        return status, json.loads(content.decode())

    def fault(self, number, name, text=""):
        self.path(number, "faults", name).write_text(str(text))

    def heal(self, number, name):
        self.path(number, "faults", name).unlink()

    def log(self, number, name="errorlog"):
        path = self.path(number, "store", "logs", name)
        return path.read_text() if path.exists() else ""

    @staticmethod
    def close(item):
        """Give back what a node within this process has open; its threads end with the process and do not mind."""
        for name in ("listener", "console", "store", "lock_file"):
            if getattr(item, name, None):
                getattr(item, name).close()
        if getattr(item, "gossip", None):
            item.gossip.udp.close()
        for journal in item.journals.values():
            os.close(journal.writer.handle)

    def end(self):
        for item in self.nodes.values():
            self.close(item)
        for process in self.processes.values():
            if process.poll() is None:
                process.terminate()
        for process in self.processes.values():
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()


def points(first, count, value=None, at=AT):
    """Measurements for /write/nnt of so many metrics, one each."""
    return [
        {"metric": "m%05d" % n, "id": CHECK, "offset": at, "count": 1, "value": n if value is None else value}
        for n in range(first, first + count)
    ]


def encoded(value):
    return json.dumps(value).encode()


@pytest.fixture
def cluster(tmp_path):
    found = Cluster(tmp_path)
    yield found
    found.end()


@pytest.fixture
def make(tmp_path):
    """Clusters of another release or shape."""
    made = []

    def build(**shape):
        place = tmp_path / ("cluster%d" % len(made))
        place.mkdir()
        made.append(Cluster(place, **shape))
        return made[-1]

    yield build
    for found in made:
        found.end()
