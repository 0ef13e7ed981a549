# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Plays of an operator on the running lab, and what became of each of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[3]


class Outcome:
    """What one play did: results of its tasks in order."""

    def __init__(self, tasks):
        self.tasks = tasks

    def results(self, words=""):
        """Results of the tasks whose name has the words."""
        tasks = [task for task in self.tasks if words in task["task"]["name"]]
        return [result for task in tasks for result in task["hosts"].values()]

    @property
    def changed(self):
        return sum(bool(result.get("changed")) for result in self.results())

    @property
    def failure(self):
        """Message of the last task that failed, None without one."""
        return ([None] + [result.get("msg") for result in self.results() if result.get("failed")])[-1]


def play(directory, plays, *options, **variables):
    """{name of the play: Outcome} of one ansible-playbook over ``plays``; those that were not reached are missing."""
    path = directory / "operator.yml"
    path.write_text(yaml.safe_dump(plays, sort_keys=False, width=1000))
    done = subprocess.run(
        [str(Path(sys.executable).parent / "ansible-playbook"), str(path), "-e", json.dumps(variables), *options],
        cwd=ROOT, env=dict(os.environ, ANSIBLE_STDOUT_CALLBACK="ansible.posix.json"),
        capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=2400, check=False)
    try:
        answer = json.loads(done.stdout[done.stdout.index("{\n"):])
    except ValueError:
        raise AssertionError("no result of %s: %s" % (path, done.stdout[-3000:] + done.stderr[-3000:])) from None
    return {item["play"]["name"]: Outcome(item["tasks"]) for item in answer["plays"]}


def alone(role, host, name=None):
    """A role as an operator writes it down."""
    return {"name": name or "converge " + role, "hosts": host, "gather_facts": False,
            "roles": ["circonus.inside." + role]}


def verbs(role, host, *words):
    """Verbs on a role, without a procedure around."""
    include = {"name": "circonus.inside." + role, "tasks_from": "operate"}
    tasks = [{"name": "Operate", "ansible.builtin.include_role": include, "vars": {role + "_verb": verb}}
             for verb in words]
    return {"name": "%s %s" % ("+".join(words), role), "hosts": host, "gather_facts": False, "tasks": tasks}
