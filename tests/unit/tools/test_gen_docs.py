# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""tools/gen_docs.py: pages, index and AWX surveys follow from the meta files, and are up to date in this checkout."""

from __future__ import annotations

import importlib.util
import pathlib
import re

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[3]
META = """
short_description: Do a thing
description: [First., Second.]
changes: true
parameters:
  thing_to: {type: str, required: true, description: "Where | to <go>."}
  thing_mode: {type: str, choices: [planned, unplanned], default: planned, description: How.}
  thing_bytes: {type: int, default: 16, description: How many.}
  thing_force: {type: bool, default: false, description: Force.}
  thing_names: {type: list, default: [a, b], description: Names.}
  thing_map: {type: dict, description: Map.}
examples:
  - {name: Do it, command: ansible-playbook playbooks/thing.yml -e thing_to=west}
"""


@pytest.fixture
def gen_docs():
    spec = importlib.util.spec_from_file_location("gen_docs", str(ROOT / "tools/gen_docs.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "playbooks").mkdir()
    (tmp_path / "playbooks/thing.yml").write_text("---\n")
    (tmp_path / "playbooks/thing.meta.yml").write_text(META)
    return tmp_path


def page(tree):
    return (tree / "docs/procedures/thing.md").read_text()


class TestThisCheckout:
    def test_generated_files_are_up_to_date(self, gen_docs, capsys):
        code = gen_docs.main(["--check"])
        assert code == 0, capsys.readouterr().err

    def test_every_template_names_a_playbook(self):
        for template in yaml.safe_load((ROOT / "awx/job_templates.yml").read_text())["circonus_job_templates"]:
            assert (ROOT / template["playbook"]).is_file()

    def test_questions_have_the_shape_that_awx_accepts(self):
        for template in yaml.safe_load((ROOT / "awx/job_templates.yml").read_text())["circonus_job_templates"]:
            for question in template["survey_spec"].get("spec", []):
                assert question["type"] in ("text", "integer", "float", "multiplechoice")
                assert re.fullmatch(r"[a-z][a-z0-9_]*", question["variable"])
                default = question["default"]
                if question["type"] == "multiplechoice":
                    assert default == "" or default in question["choices"]
                else:
                    kind = {"integer": int, "float": float}.get(question["type"], str)
                    assert default == "" or isinstance(default, kind)


class TestMain:
    def test_writes_a_skeleton_with_description_and_parameters(self, gen_docs, tree):
        assert gen_docs.main([], root=tree) == 0
        text = page(tree)
        assert text.startswith("# thing\n\nDo a thing.\n\nFirst.\n\nSecond.\n\n<!-- generated from playbooks/thing.")
        assert "| `thing_to` | str | **required** | Where \\| to &lt;go>. |" in text
        assert "| `thing_mode` | str | `planned` | How. One of `planned`, `unplanned`. |" in text
        assert "Do it:\n\n```sh\nansible-playbook playbooks/thing.yml -e thing_to=west\n```" in text

    def test_keeps_what_people_wrote_around_the_markers(self, gen_docs, tree):
        (tree / "docs/procedures").mkdir(parents=True)
        (tree / "docs/procedures/thing.md").write_text(
            "# My title\n\n<!-- generated from playbooks/thing.meta.yml -->\nold\n<!-- end generated -->\n\n## After\n"
        )
        assert gen_docs.main([], root=tree) == 0
        text = page(tree)
        assert text.startswith("# My title\n") and text.endswith("\n\n## After\n")
        assert "old" not in text and "thing_mode" in text

    def test_appends_to_a_page_without_markers(self, gen_docs, tree):
        (tree / "docs/procedures").mkdir(parents=True)
        (tree / "docs/procedures/thing.md").write_text("# My title\n\nText.\n")
        assert gen_docs.main([], root=tree) == 0
        assert page(tree).startswith("# My title\n\nText.\n\n<!-- generated from")

    def test_refuses_a_page_whose_end_marker_is_gone(self, gen_docs, tree, capsys):
        (tree / "docs/procedures").mkdir(parents=True)
        (tree / "docs/procedures/thing.md").write_text("<!-- generated from playbooks/thing.meta.yml -->\n")
        assert gen_docs.main([], root=tree) == 1
        assert "expected the line <!-- end generated -->" in capsys.readouterr().err

    def test_second_run_writes_nothing(self, gen_docs, tree, capsys):
        gen_docs.main([], root=tree)
        capsys.readouterr()
        assert gen_docs.main([], root=tree) == 0
        assert capsys.readouterr().out == ""

    def test_check_names_stale_files_and_writes_nothing(self, gen_docs, tree, capsys):
        assert gen_docs.main(["--check"], root=tree) == 1
        assert "docs/procedures/thing.md is stale" in capsys.readouterr().err
        assert not (tree / "docs").exists()
        gen_docs.main([], root=tree)
        assert gen_docs.main(["--check"], root=tree) == 0

    def test_writes_a_survey_without_mappings(self, gen_docs, tree):
        gen_docs.main([], root=tree)
        (template,) = yaml.safe_load((tree / "awx/job_templates.yml").read_text())["circonus_job_templates"]
        questions = {q["variable"]: q for q in template["survey_spec"]["spec"]}
        assert "thing_map" not in questions
        assert questions["thing_to"]["required"] and questions["thing_to"]["type"] == "text"
        assert questions["thing_bytes"]["type"] == "integer" and questions["thing_bytes"]["default"] == 16
        assert questions["thing_force"]["choices"] == ["true", "false"]
        assert questions["thing_force"]["default"] == "false"
        assert questions["thing_names"]["default"] == "a, b"

    def test_index_lists_procedures_and_common_parameters(self, gen_docs, tree):
        gen_docs.main([], root=tree)
        text = (tree / "docs/procedures/README.md").read_text()
        assert "| [thing](thing.md) | Do a thing | yes |" in text and "`circonus_report_dir`" in text

    @pytest.mark.parametrize(
        "old,new,problem",
        [
            ("changes: true", "changes: sometimes", "thing.meta.yml: changes: expected true or false"),
            ("short_description: Do a thing", "short: x", "thing.meta.yml: unknown key short"),
            ("{type: int, default: 16", "{type: int, default: x", "thing_bytes: default: expected int, found 'x'"),
            (
                "{type: dict",
                "{type: map",
                "parameters.thing_map: type: expected one of str, path, int, float, bool, list, dict",
            ),
            ("default: planned", "default: later", "parameters.thing_mode: default: expected one of the choices"),
            ("description: Force.", "help: x", "parameters.thing_force: unknown key help"),
            ("playbooks/thing.yml", "playbooks/other.yml", "examples[0].command: expected playbooks/thing.yml"),
            ("-e thing_to=west", "-e thing_too=west", "examples[0].command: unknown parameter thing_too"),
            ("short_description: Do", "short_description: [", "thing.meta.yml: not YAML"),
        ],
    )
    def test_names_a_mistake_in_a_meta_file(self, gen_docs, tree, capsys, old, new, problem):
        path = tree / "playbooks/thing.meta.yml"
        assert old in META
        path.write_text(META.replace(old, new))
        assert gen_docs.main([], root=tree) == 1
        assert problem in capsys.readouterr().err
        assert not (tree / "docs").exists()

    def test_wants_a_playbook_beside_the_meta_file(self, gen_docs, tree, capsys):
        (tree / "playbooks/thing.yml").unlink()
        assert gen_docs.main([], root=tree) == 1
        assert "expected a playbook thing.yml beside it" in capsys.readouterr().err


class TestFolded:
    def test_breaks_before_options_only(self, gen_docs):
        command = "ansible-playbook playbooks/thing.yml" + " -e thing_to=west" * 9
        lines = gen_docs.folded(command).split(" \\\n")
        assert len(lines) > 1 and all(line.startswith("  -e ") for line in lines[1:])
        assert " ".join(line.strip() for line in lines) == command


ENTRY = """
thing_service:
  name: thing
  purpose: Does a | thing.
  user: null
  requires: []
  units:
    - id: one
      candidates: [thing-new, thing-old]
      ports: [81]
      watchdog: true
      until: '2020-01-06'
      life: {log: {file: /var/log/thing.log, pattern: ready, count: 2}, seconds: 60}
  ports:
    - {port: 81, proto: tcp, unit: one, bind: local, clients: [operators], tls: true, source: later}
  endpoints: []
  paths: {}
  logs: []
  pki: {}
  connections: {out: [], in: [{from: outside, port: 81, proto: tcp}]}
"""
SPECS = """
argument_specs:
  main:
    short_description: Converge thing
    options:
      thing_map:
        type: dict
        default: {}
        description: Map.
        options:
          name: {type: str, required: true, description: Name.}
      thing_text: {type: str, default: "", description: Text.}
"""


@pytest.fixture
def role(tree):
    for name, text in (("vars/main", ENTRY), ("meta/argument_specs", SPECS),
                       ("meta/main", "galaxy_info: {description: A thing}")):
        path = tree / "roles/thing" / (name + ".yml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tree / "roles/service/vars").mkdir(parents=True)
    (tree / "roles/service/vars/main.yml").write_text(
        "service_dependants: {thing: {'2019': [{role: mq, only: [fq]}, {role: api}], later: []}}")
    return tree / "roles/thing"


class TestRoles:
    def test_page_shows_the_catalogue_entry(self, gen_docs, tree, role):
        assert gen_docs.main([], root=tree) == 0
        text = (role / "README.md").read_text()
        assert "| `one` | `thing-new` or `thing-old` | 81 |" in text
        assert "| 2 times `ready` in `/var/log/thing.log`; within 60 s |" in text
        assert "parent and child of the same program; until release 2020-01-06 |" in text
        assert "| 81/tcp | `one` | operators | local | yes | later edition of the manual |" in text
        assert "| from outside | 81 | tcp |" in text and "### Pages" not in text
        assert "- Restarted after it, edition 2019: mq (fq), then api." in text
        assert "- Restarted after it, edition later: nothing." in text

    def test_page_shows_options_of_options_and_empty_texts(self, gen_docs, tree, role):
        assert gen_docs.main([], root=tree) == 0
        text = (role / "README.md").read_text()
        assert "| `thing_map.name` | str | **required** | Name. |" in text
        assert '| `thing_text` | str | `""` | Text. |' in text

    def test_overview_lists_the_role(self, gen_docs, tree, role):
        assert gen_docs.main([], root=tree) == 0
        text = (tree / "docs/developer/roles.md").read_text()
        assert "| [thing](../../roles/thing/README.md) | 6 | Does a \\| thing. |" in text
        assert "| `thing-new`, `thing-old` | 81/tcp |" in text

    def test_an_entry_of_another_form_is_named(self, gen_docs, tree, role, capsys):
        (role / "vars/main.yml").write_text(ENTRY + "  colour: red\n")
        assert gen_docs.main([], root=tree) == 1
        assert "thing: the entry: unknown key colour" in capsys.readouterr().err
