# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Screen output: a playbook on local hosts, read as a person would read it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.circonus.inside.plugins.callback.progress import hosts_text, lines

ROOT = Path(__file__).resolve().parents[4]
PLAY = """
- name: Try the screen
  hosts: all
  gather_facts: false
  tasks:
    - name: Only look
      ansible.builtin.command: {argv: ["true"]}
      changed_when: false
    - name: Touch | Change every host
      circonus.inside.procedure_step:
        title: Change the host
        announce: "{{ inventory_hostname == 'h1' }}"
        module: ansible.builtin.command
        args: {argv: ["true"]}
    - name: Looks quietly
      circonus.inside.procedure_step:
        quiet: true
        module: ansible.builtin.ping
    - name: Keep a secret
      ansible.builtin.set_fact: {secret: "{{ 'open' }} sesame"}
      no_log: true
    - name: Give a secret to another host
      circonus.inside.procedure_step:
        module: ansible.builtin.command
        args: {argv: ["true"]}
      delegate_to: "{{ 'h' ~ 2 }}"
      no_log: true
      run_once: true
    - name: Break
      ansible.builtin.command: {argv: [sh, -c, "echo reason >&2; exit 3"]}
      when: inventory_hostname == 'h1'
"""


@pytest.fixture(scope="module")
def screen(tmp_path_factory):
    directory = tmp_path_factory.mktemp("screen")
    (directory / "play.yml").write_text(PLAY)
    (directory / "hosts").write_text("h[1:6] ansible_connection=local ansible_python_interpreter=%s" % sys.executable)
    environment = dict(
        os.environ,
        ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"),
        ANSIBLE_HOME=str(directory),
        ANSIBLE_LOCAL_TEMP=str(directory / "tmp"),
        ANSIBLE_NOCOLOR="1",
    )

    def run(*options):
        program = Path(sys.executable).with_name("ansible-playbook")
        done = subprocess.run(
            [str(program), "-i", str(directory / "hosts"), str(directory / "play.yml"), *options],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.stdout

    return run


class TestLines:
    def test_hosts_with_the_same_outcome_share_a_line(self):
        rows = [{"title": "Set", "state": "changed", "host": "h%d" % n, "seconds": n / 10} for n in range(3)]
        rows.append({"title": "Set", "state": "ok", "host": "h9", "seconds": None})
        assert lines(rows) == [("Set", "changed", "h0, h1, h2", 0.2), ("Set", "ok", "h9", None)]

    def test_many_hosts_are_a_number(self):
        assert hosts_text(["a", "b", "c", "d"]) == "a, b, c, d"
        assert hosts_text(list("abcde")) == "5 hosts"


class TestScreen:
    def test_says_what_changed_and_what_failed_and_nothing_else(self, screen):
        text = re.sub(r"(?m)^\d\d:\d\d:\d\d ", "", screen())
        text = re.sub(r"\d+\.\d s\b", "N s", text)
        text = [" ".join(line.split()) for line in text.splitlines() if line and not line.startswith("[")]
        assert text == [
            "Try the screen",
            "Change the host on h1 ...",
            "Change the host changed 6 hosts N s",
            "Give a secret to another host changed h2",
            "FAILED Break on h1: expected exit code 0 of sh -c echo reason >&2; exit 3, found 3: reason",
            "6 hosts: ok=25 changed=7 unreachable=0 failed=1",
        ]

    def test_verbose_prints_what_the_default_prints(self, screen):
        text = screen("-v")
        assert "TASK [Only look]" in text and "PLAY RECAP" in text
