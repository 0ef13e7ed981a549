# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The data_storage cluster of one site as its clients see it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
from pathlib import Path

from running_lab import wait_until

TRAFFIC = (Path(__file__).parent / "storage_traffic.py").read_text()
FAULTS = "/opt/circonus/var/snowth-standin"
UNIT = "circonus-snowth"
#: Fast enough for a test: the manual's two minutes are a parameter.
QUICK = {"circonus_confirm": "data_storage", "data_storage_restart_limit": ["east"], "data_storage_restart_pause_s": 3,
         "data_storage_restart_spacing_s": 1, "data_storage_restart_settle_s": 180}


class Storage:
    """The nodes of the site east: three, or as many as the lab was brought up with (``lab up --stores``)."""

    def __init__(self, lab):
        self.lab = lab
        site = json.loads((lab.inventory / "site.east.json").read_text())
        store = site["svclist"]["data_storage"]
        self.hosts = tuple(store["_machlist"])
        self.sides = [store[side] for side in ("side_a", "side_b") if side in store]
        self.ids = {host: site["machinfo"][host]["node_id"] for host in self.hosts}
        self.addresses = {host: site["machinfo"][host]["ip_address"] for host in self.hosts}

    def starts(self, hosts=None):
        """When the unit of each host was started last, by systemd."""
        return {host: self.lab.on(host, "systemctl", "show", "-p", "ExecMainStartTimestampMonotonic,ExecMainPID",
                                  UNIT).stdout for host in hosts or self.hosts}

    def boots(self, hosts=None):
        """When each host was booted last, by systemd."""
        return {host: self.lab.on(host, "systemctl", "show", "-p", "UserspaceTimestampMonotonic").stdout
                for host in hosts or self.hosts}

    def gossip(self, host="east-store1"):
        url = "http://%s:8112/gossip/json" % self.addresses[host]
        said = self.lab.on(host, "curl", "-sf", "-m", "3", url, check=False)
        return json.loads(said.stdout) if said.returncode == 0 else []

    def green(self):
        """Whether all nodes tell of all others, young and level."""
        for host in self.hosts:
            rows = self.gossip(host)
            if len(rows) != len(self.hosts) or any(
                    float(row["gossip_age"]) >= 2 or len(row["latency"]) < len(rows) - 1 for row in rows):
                return False
            if any(float(value) >= 30 for row in rows for value in row["latency"].values()):
                return False
        return True

    def settle(self):
        wait_until(self.green, 120, "the cluster is green")

    @contextlib.contextmanager
    def fault(self, host, name, content="all"):
        """A fault of the stand-in, healed at the end."""
        path = "%s/%s" % (FAULTS, name)
        self.lab.on(host, "mkdir", "-p", FAULTS)
        self.lab.on(host, "sh", "-c", "cat > %s" % path, input=content)
        try:
            yield
        finally:
            self.lab.on(host, "rm", "-f", path)

    def restart(self, *options, **more):
        return self.lab.play("data_storage_restart", *options, **dict(QUICK, **more))

    @contextlib.contextmanager
    def release(self, text):
        """All nodes on another release with empty numbers, which no release takes from the other kind; and back."""
        def change(*argv):
            for host in self.hosts:
                self.lab.on(host, "systemctl", "stop", UNIT)
            for host in self.hosts:
                self.lab.on(host, "sh", "-c", "rm -f /snowth/data/*/numeric.sqlite* /snowth/nntbs/*/numeric.sqlite*")
                self.lab.on(host, *argv)
            for host in self.hosts:
                self.lab.on(host, "systemctl", "start", UNIT)
            self.settle()

        change("sh", "-c", "mkdir -p %s; echo %s > %s/release" % (FAULTS, text, FAULTS))
        try:
            yield
        finally:
            change("rm", "-f", FAULTS + "/release")

    @contextlib.contextmanager
    def traffic(self, host="east-app2"):
        """Writer, reader and watcher on another host; yields a dict that has ``lost``, ``seen`` and ``acknowledged`` at
        the end."""
        directory, result = "/tmp/traffic", {}
        self.lab.on(host, "rm", "-rf", directory)
        done = {}

        def run():
            done["process"] = self.lab.on(
                host, "python3", "-c", TRAFFIC, directory, *self.addresses.values(), check=False)

        thread = threading.Thread(target=run)
        thread.start()

        def count():
            said = self.lab.on(host, "sh", "-c", "wc -l < %s/acknowledged" % directory, check=False).stdout
            return int(said) if said.strip().isdigit() else 0

        try:
            wait_until(lambda: count() > 50, 30, "the writer writes")
            yield result
        finally:
            self.lab.on(host, "touch", directory + "/stop")
            thread.join(120)
        process: subprocess.CompletedProcess = done["process"]
        assert process.returncode == 0, process.stderr
        result.update(json.loads(process.stdout.splitlines()[-1]))
        seen = self.lab.on(host, "cat", directory + "/seen").stdout
        result["seen"] = [json.loads(line) for line in seen.splitlines()]


def outages(seen):
    """[(addresses that went down together, highest latency told just before)] of the looks of a watcher."""
    found, before = [], {"down": [], "worst": 0.0}
    for look in seen:
        if set(look["down"]) - set(before["down"]):
            found.append((look["down"], before["worst"]))
        before = look
    return found
