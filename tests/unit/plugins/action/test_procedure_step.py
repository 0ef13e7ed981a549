# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A step in a real play of two hosts, one of which nobody can reach."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]
PLAY = """
- hosts: all
  gather_facts: false
  any_errors_fatal: true
  vars: {circonus_begin: {run: {journal: %s, procedure: x, run_id: x, parameters: {}}}}
  tasks:
    - circonus.inside.procedure_step: {title: Ping, module: ansible.builtin.ping, optional: %s}
    - circonus.inside.procedure_step:
        {title: Fail, module: ansible.builtin.command, args: {argv: ["false"]}, optional: %s}
      when: inventory_hostname == 'here'
    - ansible.builtin.debug: {msg: reached the end}
"""


@pytest.fixture
def play(tmp_path):
    """play(optional): (exit code, output, records of the journal)."""
    inventory = {"all": {"hosts": {
        "here": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable},
        "away": {"ansible_host": "127.0.0.1", "ansible_port": 1}}}}
    (tmp_path / "hosts.yml").write_text(json.dumps(inventory))

    def run(optional):
        journal = tmp_path / "journal"
        journal.write_text("")
        (tmp_path / "play.yml").write_text(PLAY % (journal, optional, optional))
        env = {k: v for k, v in os.environ.items() if not k.startswith("ANSIBLE_")}
        env.update(ANSIBLE_COLLECTIONS_PATH=str(ROOT / ".cache/collections"), ANSIBLE_NOCOLOR="1",
                   ANSIBLE_HOME=str(tmp_path / ".ansible"))
        done = subprocess.run([str(Path(sys.executable).parent / "ansible-playbook"), "-i", "hosts.yml", "play.yml"],
                              cwd=tmp_path, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL,
                              check=False)
        return done.returncode, done.stdout + done.stderr, [json.loads(x) for x in journal.read_text().splitlines()]

    return run


class TestOptional:
    def test_neither_a_host_that_is_away_nor_a_failure_ends_the_run(self, play):
        code, output, records = play("true")
        assert code == 0 and output.count("reached the end") == 2, output
        states = {(record["name"], record["host"]): record["state"] for record in records}
        assert states == {("Ping", "here"): "ok", ("Ping", "away"): "unreachable", ("Fail", "here"): "failed"}
        assert not [record for record in records if record["type"] == "stop"]

    def test_without_it_the_run_is_over(self, play):
        code, output, records = play("false")
        assert code != 0 and "reached the end" not in output
        assert [record for record in records if record["type"] == "stop"]
