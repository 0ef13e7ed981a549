# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""docs/developer/adding_a_role.md: its blocks make a seventeenth role in a copy of the collection."""

from __future__ import annotations

import importlib.util
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.circonus.inside.plugins.plugin_utils import catalogue

ROOT = pathlib.Path(catalogue.ROLES).parent
PAGE = ROOT / "docs/developer/adding_a_role.md"
BLOCK = re.compile(r"^`([\w./]+)`\n\n```yaml\n(.*?)^```$", re.M | re.S)
ROLE = "relay"


def blocks():
    """{path: text} of the page's blocks that stand below a path."""
    return dict(BLOCK.findall(PAGE.read_text(encoding="utf-8")))


def with_line(site, line):
    """A playbook with a line more: after the last one for a role, else at the end."""
    lines = site.splitlines()
    roles = [number for number, text in enumerate(lines) if "roles: [circonus.inside." in text]
    at = roles[-1] + 1 if roles else len(lines)
    return "\n".join([*lines[:at], line.rstrip("\n"), *lines[at:]]) + "\n"


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    """A copy of the collection with the role of the page in it."""
    root = tmp_path_factory.mktemp("adding") / "ansible_collections/circonus/inside"
    for name in ("roles", "playbooks", "plugins", "meta"):
        shutil.copytree(ROOT / name, root / name)
    shutil.copy(ROOT / "galaxy.yml", root)
    for path, text in blocks().items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if path == "playbooks/site.yml":
            text = with_line(target.read_text(encoding="utf-8") if target.exists() else "---\n", text)
        target.write_text(text, encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def entries(collection):
    return catalogue.load(str(collection / "roles"))


def gen_docs():
    spec = importlib.util.spec_from_file_location("gen_docs", str(ROOT / "tools/gen_docs.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def playbook(collection, *arguments):
    """Run ansible-playbook of this environment on the copy, with one host in the group of the role."""
    base = collection.parents[2]
    (base / "ansible.cfg").write_text("[defaults]\nhome = home\n", encoding="utf-8")
    (base / "hosts.ini").write_text("[relay]\nrelay1 ansible_connection=local\n", encoding="utf-8")
    program = os.path.join(os.path.dirname(sys.executable), "ansible-playbook")
    environment = dict(os.environ, ANSIBLE_COLLECTIONS_PATH=str(base), ANSIBLE_CONFIG=str(base / "ansible.cfg"))
    return subprocess.run([program, "-i", str(base / "hosts.ini"), *arguments], env=environment, capture_output=True,
                          text=True, timeout=120, cwd=str(collection), check=False)


class TestPage:
    def test_touches_one_directory_and_one_line(self):
        paths = list(blocks())
        assert paths and all(path.startswith("roles/%s/" % ROLE) for path in paths if path != "playbooks/site.yml")
        assert len(blocks()["playbooks/site.yml"].splitlines()) == 1
        assert not (ROOT / "roles" / ROLE).exists()

    def test_has_every_file_that_a_role_has(self):
        have = {str(path.relative_to(ROOT / "roles/mq")) for path in (ROOT / "roles/mq").glob("*/*.yml")}
        wanted = {"vars/main.yml", "defaults/main.yml", "meta/main.yml", "meta/argument_specs.yml", "tasks/main.yml",
                  "tasks/operate.yml"}
        assert wanted <= have and wanted == {
            path[len("roles/relay/"):] for path in blocks() if path.startswith("roles/")}

    def test_explains_every_key_of_the_form(self):
        text = PAGE.read_text(encoding="utf-8").split("## Form of an entry")[1]

        def keys(form):
            if isinstance(form, list):
                form = form[0]
            if isinstance(form, dict):
                for key, kind in form.items():
                    yield key
                    yield from keys(kind)

        assert [key for key in keys(catalogue.FORM) if "`%s`" % key not in text] == []


class TestRole:
    def test_is_in_the_catalogue(self, entries):
        assert set(entries) == set(catalogue.names()) | {ROLE}

    def test_its_entry_has_the_form(self, entries):
        assert catalogue.problems(entries[ROLE], list(entries)) == []

    def test_stands_in_the_run_order(self, entries):
        order = catalogue.run_order(entries)
        assert order.index("mq") < order.index(ROLE)

    def test_a_mistake_in_it_is_named(self, entries):
        wrong = dict(entries[ROLE], requires=["irc"])
        assert catalogue.problems(wrong, list(entries)) == ["relay: irc is no role."]

    def test_its_defaults_pass_its_argument_specs(self, collection):
        read = [yaml.safe_load((collection / "roles" / ROLE / name).read_text(encoding="utf-8"))
                for name in ("defaults/main.yml", "meta/argument_specs.yml")]
        options = read[1]["argument_specs"]["main"]["options"]
        assert list(options) == list(read[0])
        assert ArgumentSpecValidator(options).validate(read[0]).error_messages == []

    def test_its_page_is_written_from_it(self, collection):
        text = gen_docs().outputs(collection)[collection / "roles" / ROLE / "README.md"]
        assert "| `relay` | `circonus-relay` or `circonus-metric-relay` | 4712 |" in text
        assert "`http://localhost:4713/health.json`" in text and "| `relay_env` | dict | `{}` |" in text


class TestPlaybook:
    def test_ansible_reads_the_line_and_the_role(self, collection):
        done = playbook(collection, "playbooks/site.yml", "--syntax-check")
        assert done.returncode == 0, done.stderr

    def test_ansible_lists_its_plays(self, collection):
        done = playbook(collection, "playbooks/site.yml", "--list-tasks")
        assert done.returncode == 0 and "Role relay" in done.stdout, done.stderr

    def test_ansible_validates_its_variables(self, collection):
        path = collection / "try.yml"
        path.write_text(yaml.safe_dump([{
            "name": "Try", "hosts": "relay", "gather_facts": False,
            "tasks": [{"ansible.builtin.include_role": {"name": "circonus.inside.relay"},
                       "vars": {"relay_expect": "sideways"}}],
        }]), encoding="utf-8")
        done = playbook(collection, str(path))
        assert done.returncode != 0
        assert "value of relay_expect must be one of: up, down, any" in done.stdout + done.stderr
