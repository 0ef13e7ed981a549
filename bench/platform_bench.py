#!/usr/bin/env python3
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Time platform_check.yml against `ansible all -m ping` on the same inventory (goal: at most 1.3 times), and its growth
from 20 to 200 hosts (goal: at most linear).

Both commands run in turns, so that a busy machine slows both; figures are medians. Without --inventory the hosts are
simulated: every name of a generated site.json is this machine (connection local). The check finds little of what it
looks for there, which costs it as much, and ends with exit code 2 (findings). What a host does is then work of this
machine too, so the ratio is only fair with real hosts, and simulated ones are for the growth.
"""
from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

import inventory_bench

ROOT = inventory_bench.ROOT
BIN = os.path.dirname(sys.executable)


def commands(inventory, directory, simulated, forks):
    """{name: argument list}; both over the same hosts, with the same variables and forks."""
    variables = ["-e", json.dumps({"circonus_report_dir": os.path.join(directory, "reports")})]
    if simulated:
        local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        variables += ["-e", json.dumps(local)]
    common = ["-i", inventory, "-f", str(forks), *variables]
    return {
        "ping": [os.path.join(BIN, "ansible"), "hooper:brokers", "-m", "ansible.builtin.ping", *common],
        "check": [os.path.join(BIN, "ansible-playbook"), os.path.join(ROOT, "playbooks/platform_check.yml"), *common],
    }


def timed(name, command, directory):
    """Wall seconds of one run. Stops the benchmark when the command did not do its work."""
    report = os.path.join(directory, "reports/platform_check-latest.json")
    if os.path.lexists(report):
        os.unlink(report)
    environment = dict(inventory_bench.environment(), ANSIBLE_CONFIG=os.path.join(ROOT, "ansible.cfg"))
    started = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          stdin=subprocess.DEVNULL, text=True, check=False)
    seconds = time.perf_counter() - started
    if name == "ping" and done.returncode:
        sys.exit("ping ended with %d:\n%s" % (done.returncode, done.stdout[-2000:]))
    if name == "check":
        if done.returncode not in (0, 2) or not os.path.exists(report):
            sys.exit("platform_check ended with %d:\n%s" % (done.returncode, done.stdout[-2000:]))
        with open(report, encoding="utf-8") as handle:
            document = json.load(handle)
        checked = document.get("checked") or {}
        if not checked.get("of") or checked["hosts"] != checked["of"]:
            found = document.get("findings") or []
            why = [item["what"] for item in found if item["id"] in ("check_failed", "host_unreachable")]
            sys.exit("platform_check looked at %(hosts)s of %(of)s hosts: " % dict({"hosts": 0, "of": 0}, **checked)
                     + " ".join(why[:2] or [document["reason"]]))
    return seconds


def pairs(inventory, simulated, runs, forks):
    """{name: [seconds, ...]} of runs in turns; a first pair that fills caches is not counted."""
    result = {"ping": [], "check": []}
    with tempfile.TemporaryDirectory() as directory:
        todo = commands(inventory, directory, simulated, forks)
        for number in range(runs + 1):
            order = list(todo) if number % 2 else list(reversed(todo))
            for name in order:
                seconds = timed(name, todo[name], directory)
                if number:
                    result[name].append(seconds)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inventory", help="a *.site.yml whose hosts answer; simulated hosts without it")
    parser.add_argument("--runs", type=int, default=5, help="pairs of runs (default 5)")
    parser.add_argument("--hosts", type=int, nargs=2, default=(20, 200), metavar=("FEW", "MANY"),
                        help="simulated hosts for the growth (default 20 200)")
    parser.add_argument("--growth-runs", type=int, default=3, help="runs of each size (default 3, 0 leaves it out)")
    parser.add_argument("--forks", type=int, default=10)
    parser.add_argument("--goal", type=float, default=1.3, help="ratio, for the verdict")
    parser.add_argument("--fail", action="store_true", help="exit code 1 when a goal is not met")
    parser.add_argument("--json", help="write the result to this file")
    options = parser.parse_args()
    few, many = options.hosts
    report = {"forks": options.forks, "runs": options.runs, "goal": options.goal}
    met = []
    with tempfile.TemporaryDirectory() as directory:
        def site(hosts):
            path = os.path.join(directory, str(hosts))
            os.makedirs(path)
            return inventory_bench.write(path, hosts)

        small = site(few)
        inventory, simulated = (os.path.abspath(options.inventory), False) if options.inventory else (small, True)
        seconds = pairs(inventory, simulated, options.runs, options.forks)
        ping, check = (statistics.median(seconds[name]) for name in ("ping", "check"))
        # Of each pair, because a busy moment slows both.
        ratio = statistics.median(b / a for a, b in zip(seconds["ping"], seconds["check"], strict=True))
        met.append(ratio <= options.goal)
        report.update(ping_median_s=ping, check_median_s=check, ratio=ratio, seconds=seconds, simulated=simulated)
        print("platform_check, %s: median %.2f s, ping %.2f s, ratio %.2f (%d pairs), goal %.1f: %s" % (
            "%d simulated hosts" % few if simulated else options.inventory, check, ping, ratio, options.runs,
            options.goal, "met" if met[-1] else "NOT met"), flush=True)
        if options.growth_runs:
            large = pairs(site(many), True, options.growth_runs, options.forks)
            base = seconds if simulated else pairs(small, True, options.growth_runs, options.forks)
            sizes = {few: statistics.median(base["check"]), many: statistics.median(large["check"])}
            growth = sizes[many] / sizes[few]
            met.append(growth <= many / few)
            report.update(growth=growth, growth_s=sizes, growth_ping_s=statistics.median(large["ping"]))
            print("platform_check, growth from %d to %d simulated hosts: %.2f s to %.2f s, %.1f times (ping %.2f s), "
                  "goal at most %.1f: %s" % (few, many, sizes[few], sizes[many], growth, report["growth_ping_s"],
                                             many / few, "met" if met[-1] else "NOT met"))
    if options.json:
        with open(options.json, "w", encoding="utf-8") as handle:
            json.dump(report, handle, indent=2)
            handle.write("\n")
    return 0 if all(met) or not options.fail else 1


if __name__ == "__main__":
    sys.exit(main())
