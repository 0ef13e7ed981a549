#!/usr/bin/env python3
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Time the inventory plugin on a generated site.json with 2,000 hosts (goal: 1 s or less).

What is timed is one call of the plugin in a fresh process each time: read, parse, validate by every rule, populate.
The start of Ansible itself is not part of it; its wall time is printed beside it. Python keeps its bytecode, as it does
on an ordinary machine; a first run that fills that cache is not counted.
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

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def site(hosts):
    """One site with ``hosts`` hosts: every role, the rest data_storage on two sides."""
    apps = ["app%d" % n for n in range(1, 13)]
    stores = ["store%d" % n for n in range(1, hosts - len(apps) + 1)]
    machinfo = {}
    for number, host in enumerate([*apps, *stores], 1):
        machinfo[host] = {"ip_address": "10.%d.%d.%d" % (64 + number // 60000, number // 250 % 250, number % 250 + 1)}
        if host in stores[:1] or host.startswith("store"):
            machinfo[host].update(node_id="00000000-0000-4000-8000-%012x" % number, zfs_dataset_base="data")
    half = len(stores) // 2
    return {
        "id": "site", "domain": "circonus.example.net", "ops_email": ["ops@example.net"],
        "noreply_email": "noreply@example.net",
        "svclist": {
            "web_db": {"_machlist": [apps[0]], "connect_host": apps[0], "allowed_subnets": ["10.0.0.0/8"],
                       "admin_pass": "FakeAdminPass1", "ca_pass": "FakeCaPass1", "web_pass": "FakeWebPass1"},
            "ca": {"_machlist": [apps[1]], "key_pass": "fake key phrase",
                   "org_defaults": {"country": "US", "state_prov": "Exampleshire", "locality": "Sampletown",
                                    "org_name": "Example Org", "ou": "Monitoring", "email": "pki@example.net"}},
            "mq": {"_machlist": [apps[2]], "cookie": "FakeMqCookie1", "password": "FakeMqPass1"},
            "web_frontend": {"_machlist": [apps[3]], "session_key": "FakeSessionKey01"},
            "api": {"_machlist": [apps[4]]},
            "caql_broker": {"_machlist": [apps[5]], "registration_token": "00000000-0000-4000-8000-0000000f0901"},
            "notification": {"_machlist": [apps[6]]},
            "fault_detection": {"_machlist": [apps[7]], "registration_token": "00000000-0000-4000-8000-0000000f0902",
                                "faultd_cluster": {apps[7]: {"node_id": "00000000-0000-4000-8000-0000000f0301"}}},
            "stratcon": {"_machlist": [apps[8]], "node_ids": {apps[8]: "00000000-0000-4000-8000-0000000f0401"}},
            "hub": {"_machlist": [apps[9]]},
            "web_stream": {"_machlist": [apps[10]]},
            "long_tail_storage": {"_machlist": [apps[11]]},
            "data_storage": {"_machlist": stores, "ncopies": 3, "side_a": stores[:half], "side_b": stores[half:]},
        },
        "machinfo": machinfo,
    }


def write(directory, hosts):
    """Write the inventory; returns the path of the *.site.yml."""
    with open(os.path.join(directory, "site.json"), "w", encoding="utf-8") as handle:
        json.dump(site(hosts), handle, indent=2)
    path = os.path.join(directory, "bench.site.yml")
    with open(path, "w", encoding="utf-8") as handle:
        handle.write("plugin: circonus.inside.site\nsites: {main: {file: site.json}}\n")
    return path


def measure(path):
    """One run of the plugin in this process: seconds and number of hosts."""
    from ansible.inventory.manager import InventoryManager
    from ansible.parsing.dataloader import DataLoader
    from ansible.plugins.loader import init_plugin_loader

    init_plugin_loader()
    loader = DataLoader()
    manager = InventoryManager(loader=loader, sources=[], parse=False)
    started, used = time.perf_counter(), time.process_time()
    if not manager.parse_source(path):
        sys.exit("the plugin refused %s" % path)
    seconds, used = time.perf_counter() - started, time.process_time() - used
    return {"seconds": seconds, "cpu": used, "hosts": len(manager.hosts)}


def environment():
    """The collection is this checkout; see the Makefile for the link that makes it importable."""
    variables = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return {**variables, "ANSIBLE_NOCOLOR": "1", "PYTHONPYCACHEPREFIX": os.path.join(ROOT, ".cache", "pycache"),
            "ANSIBLE_COLLECTIONS_PATH": os.environ.get("ANSIBLE_COLLECTIONS_PATH")
            or os.path.join(ROOT, ".cache", "collections")}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=2000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--goal", type=float, default=1.0, help="seconds, for the verdict of the last line")
    parser.add_argument("--fail", action="store_true", help="exit code 1 when the goal is not met")
    parser.add_argument("--json", help="write the result to this file")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure)))
        return 0
    with tempfile.TemporaryDirectory() as directory:
        path = write(directory, options.hosts)
        results, walls = [], []
        for _run in range(options.runs + 1):
            started = time.perf_counter()
            done = subprocess.run([sys.executable, os.path.abspath(__file__), "--measure", path], check=True,
                                  stdout=subprocess.PIPE, env=environment(), text=True)
            walls.append(time.perf_counter() - started)
            results.append(json.loads(done.stdout.splitlines()[-1]))
    results, walls = results[1:], walls[1:]
    seconds = [r["seconds"] for r in results]
    report = {"hosts": results[0]["hosts"], "runs": len(seconds), "median_s": statistics.median(seconds),
              "min_s": min(seconds), "max_s": max(seconds),
              "cpu_median_s": statistics.median(r["cpu"] for r in results),
              "process_median_s": statistics.median(walls),
              "goal_s": options.goal}
    if options.json:
        with open(options.json, "w", encoding="utf-8") as handle:
            json.dump(report, handle, indent=2)
            handle.write("\n")
    met = report["median_s"] <= options.goal
    print("inventory plugin, %(hosts)d hosts: median %(median_s).2f s (%(min_s).2f to %(max_s).2f, %(runs)d runs; "
          "CPU %(cpu_median_s).2f s, whole process %(process_median_s).2f s), goal %(goal_s).1f s" % report
          + (": met" if met else ": NOT met"))
    return 0 if met or not options.fail else 1


if __name__ == "__main__":
    sys.exit(main())
