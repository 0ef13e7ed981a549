#!/usr/bin/env python3
# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Time the verdict on file sets against the manual's four openssl calls for each (goal: 50 times as fast), and
pki_audit.yml against `ansible all -m ping` on the same inventory (goal: at most 1.2 times).

The file sets are those of the unit tests, healthy ones and every defect. What the filter pki_report answers for each
is timed as an audit asks for it, on what the module pki_files has collected before. The four calls are those of the
operation manual, "PKI Connectivity", without its two `openssl md5`: verify, x509 -modulus, rsa -modulus, the date of
the CRL, or of the certificate where the set has none. Both sides take their turn, so that a busy machine slows both;
figures are medians of the pairs.

Hosts of the second part are simulated (connection local) without --inventory. Nothing of what the audit looks for is
there, which costs it about as much, and it ends with exit code 2 (findings). What a host does is then work of this
machine too, so the ratio is only fair with real hosts.
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
sys.path[:0] = [os.path.join(ROOT, "tests"), os.path.join(ROOT, "tests/unit/plugins/plugin_utils")]


def collected(directory, number):
    """[(paths by kind, items of pki_files)] of so many file sets."""
    import conftest  # noqa: F401 (makes this checkout importable as the collection)
    import pki_corpus
    from ansible_collections.circonus.inside.plugins.module_utils import pki_files

    sets = []
    for position, one in enumerate(pki_corpus.corpus()):
        if position == number:
            return sets
        asked = one.write(os.path.join(directory, str(position)))
        sets.append(({item["kind"]: item["path"] for item in asked}, pki_files.collect(asked)))
    sys.exit("Expected at least %d file sets in the corpus, found %d. Lower --sets." % (number, len(sets)))


def by_filter(sets):
    """Seconds for the verdict on every set."""
    import pki_corpus
    from ansible_collections.circonus.inside.plugins.plugin_utils import pki_report

    started = time.perf_counter()
    for _paths, items in sets:
        pki_report.report(items, "app1", pki_corpus.NOW)
    return time.perf_counter() - started


def by_openssl(sets):
    """Seconds for the manual's four calls on every set; what they answer is not read."""
    started = time.perf_counter()
    for paths, _items in sets:
        certificate, key = paths["cert"], paths["key"]
        last = ["x509", "-noout", "-enddate", "-in", certificate]
        if "crl" in paths:
            last = ["crl", "-noout", "-nextupdate", "-in", paths["crl"]]
        for arguments in (["verify", "-CAfile", paths["ca"], certificate],
                          ["x509", "-noout", "-modulus", "-in", certificate],
                          ["rsa", "-noout", "-modulus", "-in", key, "-passin", "pass:"], last):
            subprocess.run(["openssl", *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL, check=False)
    return time.perf_counter() - started


def verdicts(number, runs):
    """{"filter": [seconds], "openssl": [seconds]} in turns; a first pair that fills caches is not counted."""
    seconds = {"filter": [], "openssl": []}
    with tempfile.TemporaryDirectory() as directory:
        sets = collected(directory, number)
        for run in range(runs + 1):
            order = [("filter", by_filter), ("openssl", by_openssl)]
            for name, measure in order if run % 2 else order[::-1]:
                value = measure(sets)
                if run:
                    seconds[name].append(value)
    return seconds


def audits(inventory, simulated, runs, forks):
    """{"ping", "audit", "audit_files": [seconds]} in turns; audit_files is without what is looked at live."""
    seconds = {"ping": [], "audit": [], "audit_files": []}
    with tempfile.TemporaryDirectory() as directory:
        variables = {"circonus_report_dir": os.path.join(directory, "reports")}
        if simulated:
            variables.update(ansible_connection="local", ansible_python_interpreter=sys.executable)
        common = ["-i", inventory, "-f", str(forks), "-e", json.dumps(variables)]
        play = [os.path.join(BIN, "ansible-playbook"), os.path.join(ROOT, "playbooks/pki_audit.yml"), *common]
        todo = {"ping": [os.path.join(BIN, "ansible"), "hooper:brokers", "-m", "ansible.builtin.ping", *common],
                "audit": play, "audit_files": [*play, "-e", '{"pki_audit_live": false}']}
        report = os.path.join(directory, "reports/pki_audit-latest.json")
        for run in range(runs + 1):
            for name in list(todo) if run % 2 else list(reversed(todo)):
                value = timed(name, todo[name], report)
                if run:
                    seconds[name].append(value)
    return seconds


def timed(name, command, report):
    """Wall seconds of one run. Stops the benchmark when the command did not do its work."""
    if os.path.lexists(report):
        os.unlink(report)
    environment = dict(inventory_bench.environment(), ANSIBLE_CONFIG=os.path.join(ROOT, "ansible.cfg"))
    started = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          stdin=subprocess.DEVNULL, text=True, check=False)
    seconds = time.perf_counter() - started
    if done.returncode not in ((0,) if name == "ping" else (0, 2)):
        sys.exit("%s ended with %d:\n%s" % (name, done.returncode, done.stdout[-2000:]))
    if name != "ping":
        with open(report, encoding="utf-8") as handle:
            document = json.load(handle)
        checked = document.get("checked") or {}
        if not checked.get("of") or checked["hosts"] != checked["of"]:
            sys.exit("pki_audit looked at too few hosts: %s" % document["reason"])
    return seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=300, help="file sets (default 300)")
    parser.add_argument("--runs", type=int, default=5, help="pairs of runs (default 5)")
    parser.add_argument("--inventory", help="a *.site.yml whose hosts answer; simulated hosts without it")
    parser.add_argument("--hosts", type=int, default=20, help="simulated hosts (default 20)")
    parser.add_argument("--audit-runs", type=int, default=5, help="rounds of ping and audit (default 5, 0: none)")
    parser.add_argument("--forks", type=int, default=10)
    parser.add_argument("--goal", type=float, default=50, help="times as fast as openssl, for the verdict")
    parser.add_argument("--audit-goal", type=float, default=1.2, help="audit to ping, for the verdict")
    parser.add_argument("--fail", action="store_true", help="exit code 1 when a goal is not met")
    parser.add_argument("--json", help="write the result to this file")
    options = parser.parse_args()
    seconds = verdicts(options.sets, options.runs)
    mine, theirs = (statistics.median(seconds[name]) for name in ("filter", "openssl"))
    ratio = statistics.median(b / a for a, b in zip(seconds["filter"], seconds["openssl"], strict=True))
    met = [ratio >= options.goal]
    report = {"sets": options.sets, "runs": options.runs, "filter_median_s": mine, "openssl_median_s": theirs,
              "ratio": ratio, "goal": options.goal, "seconds": seconds}
    print("verdict on %d file sets: median %.3f s, openssl %.2f s, %.0f times as fast (%d pairs), goal %.0f: %s" % (
        options.sets, mine, theirs, ratio, options.runs, options.goal, "met" if met[-1] else "NOT met"), flush=True)
    if options.audit_runs:
        with tempfile.TemporaryDirectory() as directory:
            inventory = options.inventory and os.path.abspath(options.inventory)
            place = inventory or inventory_bench.write(directory, options.hosts)
            rounds = audits(place, not inventory, options.audit_runs, options.forks)
        ratios = {name: statistics.median(b / a for a, b in zip(rounds["ping"], rounds[name], strict=True))
                  for name in ("audit", "audit_files")}
        met.append(ratios["audit"] <= options.audit_goal)
        medians = {name: statistics.median(values) for name, values in rounds.items()}
        report.update(audit_ratio=ratios["audit"], audit_files_ratio=ratios["audit_files"], audit_medians_s=medians,
                      audit_seconds=rounds, simulated=not inventory)
        print("pki_audit, %s: median %.2f s (%.2f s without live checks), ping %.2f s, ratio %.2f (%.2f) (%d rounds), "
              "goal %.1f: %s" % (
                  options.inventory or "%d simulated hosts" % options.hosts, medians["audit"], medians["audit_files"],
                  medians["ping"], ratios["audit"], ratios["audit_files"], options.audit_runs, options.audit_goal,
                  "met" if met[-1] else "NOT met"), flush=True)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as handle:
            json.dump(report, handle, indent=2)
            handle.write("\n")
    return 0 if all(met) or not options.fail else 1


if __name__ == "__main__":
    sys.exit(main())
