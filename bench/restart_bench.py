#!/usr/bin/env python3
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Time data_storage_restart.yml against a bare script that restarts the same nodes with the same gate (goal: at most
1.25 times).

The bare script is what a careful operator would write: ssh, systemctl, curl and the manual's thresholds, no plan, no
journal, no lock, no report. Before each stop and after it one ssh asks every node for its pages at the same time; all
have to answer, be one cluster without rebalance or rebuild, and be green towards each other, so many times in a row
and at least for the pause. Both take the same pause, polls and spacing, over connections that stay open, in turns.

The goal is for the pause that the manual wants (--pause, 120 s), which is what the playbook does by default. A
second ratio with a short pause (--short-pause) has no goal: it shows what the playbook itself takes.
"""
from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "bench"))

from write_gap_bench import lab_environment  # noqa: E402

UNIT = "circonus-snowth"
PORT = 8112
PAGES = ("state", "gossip/json", "rebalance/state", "reconstitute_state")
JOURNAL_BYTES = 64 * 1024 * 1024
LATENCY_S, AGE_S, RESTARTED_AGE_S = 30.0, 8.0, 2.0
#: Seconds that all pages of a node may take together.
PAGE_S = 5
#: One round of questions, asked from inside; prints ``== ADDRESS HTTP-CODE PAGE`` and the page, for every page.
LOOK = r"""
d=$(mktemp -d)
for a in %(addresses)s; do
  ( cd "$d"; timeout %(seconds)d curl -s %(urls)s ) > /dev/null 2>&1 &
done
wait
for f in "$d"/*; do [ -s "$f" ] && { echo "== ${f##*/}"; cat "$f"; echo; }; done
rm -r "$d"
"""


class Refused(Exception):
    """The gate is closed; one clause."""


class Bare:
    """The bare script: restarts the first nodes of one site, one after another."""

    def __init__(self, env, site, sockets, pace, nodes):
        self.pace = pace
        machines, self.hosts = site["machinfo"], site["svclist"]["data_storage"]["_machlist"]
        self.wanted = self.hosts[:nodes]
        self.addresses = {host: machines[host]["ip_address"] for host in self.hosts}
        self.ids = {host: machines[host]["node_id"] for host in self.hosts}
        directory = Path(env["ANSIBLE_INVENTORY"]).parents[1]
        proxy = "%s %%h %%p" % (directory / "ssh-proxy")
        self.ssh = ["ssh", "-F", "none", "-o", "ProxyCommand=" + proxy, "-i", str(directory / "id_ed25519")]
        for option in ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "BatchMode=yes",
                       "IdentitiesOnly=yes", "ControlMaster=auto", "ControlPersist=900s",
                       "ControlPath=%s/%%C" % sockets):
            self.ssh += ["-o", option]
        self.env = env

    def on(self, host, command):
        """Output of a command on a host."""
        done = subprocess.run([*self.ssh, "root@" + self.addresses[host], command], env=self.env, text=True,
                              capture_output=True, stdin=subprocess.DEVNULL, check=False)
        if done.returncode:
            sys.exit("bench: %s on %s: %s" % (command[:60], host, done.stderr.strip()))
        return done.stdout

    def look(self, host):
        """``{address: {page: document}}`` as a host sees them; a page that does not answer is missing."""
        urls = " ".join("-o $a,%d http://$a:%d/%s" % (number, PORT, page) for number, page in enumerate(PAGES))
        text = self.on(host, LOOK % {
            "addresses": " ".join(self.addresses.values()), "seconds": PAGE_S, "urls": urls})
        found = {address: {} for address in self.addresses.values()}
        for part in text.split("== ")[1:]:
            name, _end, page = part.partition("\n")
            address, _comma, number = name.partition(",")
            try:
                found[address][PAGES[int(number)]] = json.loads(page)
            except ValueError:
                continue
        return found

    def gate(self, pages, restarted=None):
        """Raise Refused unless every node is green towards every other."""
        digests = set()
        for host, address in self.addresses.items():
            mine = pages[address]
            if set(mine) != set(PAGES):
                raise Refused("%s does not answer" % host)
            if mine["state"]["identity"] != self.ids[host] or mine["state"]["next"] not in ("", "-"):
                raise Refused("%s is another node, or in a rebalance" % host)
            if mine["rebalance/state"]["state"] != "TOPO_REBALANCE_IDLE":
                raise Refused("%s rebalances" % host)
            if "true" in json.dumps(mine["reconstitute_state"]).lower():
                raise Refused("%s is rebuilt" % host)
            digests.add(mine["state"]["current"])
            for row in mine["gossip/json"]:
                limit = RESTARTED_AGE_S if row["id"] == restarted and self.ids[host] != restarted else AGE_S
                late = [float(value) for value in row["latency"].values()]
                if float(row["gossip_age"]) >= limit or len(late) < len(self.hosts) - 1 or max(late) >= LATENCY_S:
                    raise Refused("%s sees %s late" % (host, row["id"]))
                digests.add(row["topo_current"])
            if {row["id"] for row in mine["gossip/json"]} != set(self.ids.values()):
                raise Refused("%s does not see every node" % host)
        if len(digests) != 1:
            raise Refused("the nodes have different topologies")

    def settle(self, watch, restarted):
        """Wait until the gate was open so many times in a row, and for the pause."""
        began, green = time.monotonic(), 0
        while True:
            at = time.monotonic()
            try:
                self.gate(self.look(watch), restarted)
                green += 1
            except Refused as why:
                green = 0
                if at - began > self.pace["settle_s"]:
                    sys.exit("bench: the cluster has not settled: %s" % why)
            if green >= self.pace["polls"] and time.monotonic() - began >= self.pace["pause_s"]:
                return
            time.sleep(max(0.0, self.pace["spacing_s"] - (time.monotonic() - at)))

    def run(self):
        """Seconds for the wanted nodes."""
        began = time.monotonic()
        for host in self.wanted:
            watch = next(other for other in self.hosts if other != host)
            try:
                self.gate(self.look(host))
            except Refused as why:
                sys.exit("bench: %s may not stop: %s" % (host, why))
            waiting = [int(line.split()[0]) for line in self.on(host, "du -sb /snowth/redo/*/ || :").splitlines()]
            if any(size >= JOURNAL_BYTES for size in waiting):
                sys.exit("bench: %s may not stop: its journals are not delivered" % host)
            self.on(host, "systemctl restart " + UNIT)
            self.settle(watch, self.ids[host])
        return time.monotonic() - began


def playbook(env, hosts, reports, pace):
    """``(seconds of the whole command, its report)``."""
    extra = {"circonus_confirm": "data_storage", "data_storage_restart_limit": hosts, "circonus_report_dir": reports}
    extra.update(("data_storage_restart_" + key, value) for key, value in pace.items())
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "playbooks/data_storage_restart.yml", "-e",
               json.dumps(extra)]
    began = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          stdin=subprocess.DEVNULL, check=False)
    seconds = time.monotonic() - began
    if done.returncode:
        sys.exit("bench: the restart failed:\n" + done.stdout[-3000:])
    return seconds, json.loads((Path(reports) / "data_storage_restart-latest.json").read_text())


def measure(env, site, pace, pairs, nodes):
    """``{"bare": [s], "playbook": [s], "ratio": median of the pairs, "steps": {title: [s]}}`` in turns, told as they
    come."""
    found, steps = {"bare": [], "playbook": []}, {}
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        bare = Bare(env, site, directory, pace, nodes)
        for host in bare.hosts:  # opens the connections; the playbook keeps its own
            bare.on(host, "true")

        def ours():
            seconds, report = playbook(env, bare.wanted, directory, pace)
            for step in report["steps"]:
                steps.setdefault(step["name"].split(" east-")[0].split(" west-")[0], []).append(step["seconds"])
            return seconds

        try:
            for number in range(pairs):
                for kind in ("bare", "playbook") if number % 2 else ("playbook", "bare"):
                    found[kind].append(bare.run() if kind == "bare" else ours())
                a, b = found["playbook"][-1], found["bare"][-1]
                print("pair %2d   playbook %6.1f s   bare script %6.1f s   ratio %.2f" % (number + 1, a, b, a / b),
                      flush=True)
        finally:
            for address in bare.addresses.values():
                subprocess.run([*bare.ssh, "-O", "exit", "root@" + address], capture_output=True, check=False)
    ratios = [a / b for a, b in zip(found["playbook"], found["bare"], strict=True)]
    return dict(found, ratio=statistics.median(ratios), steps=steps)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--site", default="east", help="site of the lab whose nodes are restarted (default east)")
    parser.add_argument("--nodes", type=int, help="only so many of its nodes (default all)")
    parser.add_argument("--pairs", type=int, default=1, help="pairs with the manual's pause (default 1, 0: none)")
    parser.add_argument("--pause", type=float, default=120.0, help="seconds after each restart (default 120)")
    parser.add_argument("--short-pairs", type=int, default=3, help="pairs with the short pause (default 3, 0: none)")
    parser.add_argument("--short-pause", type=float, default=0.0, help="seconds (default 0: the gate alone)")
    parser.add_argument("--polls", type=int, default=3, help="green polls in a row (default 3)")
    parser.add_argument("--spacing", type=float, default=5.0, help="seconds between two polls (default 5)")
    parser.add_argument("--goal", type=float, default=1.25, help="ratio with the manual's pause, for the verdict")
    parser.add_argument("--fail", action="store_true", help="exit code 1 when the goal is not met")
    parser.add_argument("--json", help="write the result to this file")
    options = parser.parse_args()
    env = lab_environment()
    site = json.loads((Path(env["ANSIBLE_INVENTORY"]).parent / ("site.%s.json" % options.site)).read_text())
    nodes = len(site["svclist"]["data_storage"]["_machlist"][:options.nodes])
    report, met = {"nodes": nodes, "goal": options.goal}, True
    for kind, pause, pairs in (("short", options.short_pause, options.short_pairs),
                               ("manual", options.pause, options.pairs)):
        if not pairs:
            continue
        pace = {"pause_s": pause, "polls": options.polls, "spacing_s": options.spacing, "settle_s": 1800.0}
        found = measure(env, site, pace, pairs, nodes)
        verdict = "no goal"
        if kind == "manual":
            met = found["ratio"] <= options.goal
            verdict = "goal at most %.2f: %s" % (options.goal, "met" if met else "NOT met")
        over = statistics.median(a - b for a, b in zip(found["playbook"], found["bare"], strict=True))
        print("restart of %d nodes, pause %g s: median %.1f s, bare script %.1f s, ratio %.2f, %.1f s more (%d pairs), "
              "%s" % (nodes, pause, statistics.median(found["playbook"]), statistics.median(found["bare"]),
                      found["ratio"], over, pairs, verdict), flush=True)
        for name, seconds in sorted(found["steps"].items(), key=lambda item: -sum(item[1]))[:5]:
            print("  %6.2f s each, %d in all  %s" % (statistics.median(seconds), len(seconds), name))
        report[kind] = dict(found, pause_s=pause)
    if options.json:
        Path(options.json).write_text(json.dumps(report, indent=2) + "\n")
    return 0 if met or not options.fail else 1


if __name__ == "__main__":
    sys.exit(main())
