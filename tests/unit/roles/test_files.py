# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Files of all roles: alike, specs agree with defaults, nothing written twice, no shell, no text parsing."""

from __future__ import annotations

import pathlib
import re

import pytest
import yaml

from ansible_collections.circonus.inside.plugins.plugin_utils import catalogue

ROOT = pathlib.Path(catalogue.ROLES)
ROLES = catalogue.names()
COMMON = ["timeout_s", "expect", "keep_stopped", "release", "hooper"]
RUN = 6
FILE_KEYS = {
    "path", "content", "lines", "state", "owner", "group", "mode", "when", "restart",
    "create",
}


def read(role, path):
    return yaml.safe_load((ROOT / role / path).read_text(encoding="utf-8")) or {}


def lines_of(path):
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line and line != "---" and not line.startswith("#")]


def repeated(files, length=RUN):
    """[(name, name, first line)] of runs of ``length`` lines that stand twice in {name: lines}."""
    seen, found = {}, []
    for name, lines in files.items():
        for start in range(len(lines) - length + 1):
            run = tuple(lines[start : start + length])
            if run in seen:
                found.append((seen[run], name, run[0]))
            seen.setdefault(run, name)
    return found


class TestRepeated:
    def test_finds_a_run_in_two_files(self):
        body = ["a", "b", "c", "d", "e", "f"]
        assert repeated({"one": ["x", *body], "two": [*body, "y"]}) == [("one", "two", "a")]

    def test_finds_a_run_twice_in_one_file(self):
        body = ["a", "b", "c", "d", "e", "f"]
        assert repeated({"one": [*body, "x", *body]})

    def test_lets_five_lines_pass(self):
        body = ["a", "b", "c", "d", "e"]
        assert repeated({"one": ["x", *body, "y"], "two": ["z", *body, "w"]}) == []


class TestTasks:
    def test_no_run_of_six_lines_stands_twice(self):
        files = {str(path.relative_to(ROOT)): lines_of(path) for path in sorted(ROOT.glob("*/tasks/*.yml"))}
        assert len(files) > 2 * len(ROLES) and repeated(files) == []

    @pytest.mark.parametrize("path", sorted(ROOT.glob("*/*/*.yml")), ids=lambda path: str(path.relative_to(ROOT)))
    def test_no_shell_and_no_text_parsing(self, path):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"\b(ansible\.(builtin|legacy)\.)?(shell|raw):\s", text)
        assert not re.search(r"\|\s*(ansible\.builtin\.)?(regex_\w+|split|splitlines|json_query)\b", text)
        assert ".split(" not in text and "ignore_errors" not in text and "is regex" not in text

    @pytest.mark.parametrize("role", ROLES)
    def test_converge_and_operate_go_through_the_engine(self, role):
        for path, verb in (("tasks/main.yml", "converge"), ("tasks/operate.yml", None)):
            task = read(role, path)[-1]
            assert task["ansible.builtin.include_role"] == {"name": "circonus.inside.service"}
            assert task["vars"] == dict({"service_role": role}, **({"service_verb": verb} if verb else {}))

    @pytest.mark.parametrize("role", ROLES)
    def test_every_task_file_that_is_no_part_of_another_is_an_entry_point(self, role):
        files = {path.stem for path in (ROOT / role / "tasks").glob("*.yml")}
        text = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / role / "tasks").glob("*.yml"))
        parts = {name for name in files if "include_tasks: %s.yml" % name in text or "file: %s.yml" % name in text}
        assert files - parts <= set(read(role, "meta/argument_specs.yml")["argument_specs"])


class TestSpecs:
    @pytest.mark.parametrize("role", ROLES)
    def test_main_has_a_default_for_every_option_and_no_other(self, role):
        specs = read(role, "meta/argument_specs.yml")["argument_specs"]
        others = [specs[entry].get("options", {}) for entry in specs if entry not in ("main", "operate")]
        special = {name for options in others for name in options}
        options = list(specs["main"]["options"])
        # What only another entry point has may have a default too.
        assert options == [name for name in read(role, "defaults/main.yml") if name in options or name not in special]

    @pytest.mark.parametrize("role", ROLES)
    def test_defaults_are_equal(self, role):
        defaults = read(role, "defaults/main.yml")
        for name, entry in read(role, "meta/argument_specs.yml")["argument_specs"].items():
            for option, spec in entry.get("options", {}).items():
                if option not in defaults:
                    # Of one entry point only: what operate does, and what entry points of a single role ask for.
                    assert name != "main" and (name != "operate" or option in (role + "_verb", role + "_only")), option
                elif "{{" in str(defaults[option]):
                    # Computed: an argument spec cannot say how. Those without a fallback of their own have no default.
                    assert spec.get("default", "") == "", option
                else:
                    assert spec.get("default") == defaults[option], option

    @pytest.mark.parametrize("role", ROLES)
    def test_every_role_has_the_common_variables(self, role):
        assert [role + "_" + name for name in COMMON] == list(read(role, "defaults/main.yml"))[: len(COMMON)]

    @pytest.mark.parametrize("role", ROLES)
    def test_operate_knows_the_verbs(self, role):
        options = read(role, "meta/argument_specs.yml")["argument_specs"]["operate"]["options"]
        assert options[role + "_verb"]["choices"] == ["start", "stop", "restart", "check", "collect", "status"]
        assert options[role + "_only"]["elements"] == "str"

    @pytest.mark.parametrize("role", ROLES)
    def test_every_variable_of_its_own_is_used(self, role):
        own = [name for name in read(role, "defaults/main.yml") if name[len(role) + 1 :] not in COMMON]
        paths = [path for folder in ("vars", "tasks", "templates") for path in (ROOT / role).glob(folder + "/*")]
        text = "\n".join(path.read_text(encoding="utf-8") for path in paths)
        assert [name for name in own if name not in text] == []

    @pytest.mark.parametrize("role", ROLES)
    def test_hooper_runs_only_when_asked(self, role):
        assert read(role, "defaults/main.yml")[role + "_hooper"] == "never"


class TestOperatorFiles:
    @pytest.mark.parametrize("role", ROLES)
    def test_items_have_the_form_that_the_engine_reads(self, role):
        for item in read(role, "vars/main.yml").get(role + "_files", []):
            assert set(item) <= FILE_KEYS and item["path"].startswith("/")
            given = [key for key in ("content", "lines") if key in item]
            assert len(given) == (0 if item.get("state") == "absent" else 1)
            units = {unit["id"] for unit in catalogue.load()[role]["units"]}
            assert set(item.get("restart", [])) <= units

    def test_roles_that_own_files(self):
        found = {role: sorted({item["path"] for item in read(role, "vars/main.yml").get(role + "_files", [])})
                 for role in ROLES}
        assert found.items() >= {
            "api": ["/opt/circonus/etc/goapi.env", "/www/etc/logging.conf"],
            "broker": ["/opt/noit/prod/bin/jezebel", "/opt/noit/prod/etc/noit.local.env"],
            "caql_broker": ["/opt/noit/prod/etc/circonus-caql-broker.conf", "/opt/noit/prod/etc/circonus-logs.conf"],
            "data_storage": ["/opt/circonus/etc/licenses.conf"],
            "hub": ["/www/etc/logging.conf"],
            "long_tail_storage": ["/etc/tmpfiles.d/circonus-inside-long-tail.conf"],
            "web_frontend": ["/opt/circonus/etc/goapi.env", "/www/etc/logging.conf"],
            **dict.fromkeys(("ca", "fault_detection", "mq", "notification", "redis", "search", "stratcon"), []),
        }.items()


class TestReadme:
    @pytest.mark.parametrize("role", ROLES)
    def test_shows_every_value_of_the_entry(self, role):
        text = (ROOT / role / "README.md").read_text(encoding="utf-8")
        squeezed = "".join(text.replace("&lt;", "<").replace("\\|", "|").replace("_", " ").split())

        def leaves(value, key=""):
            if isinstance(value, dict):
                for name, item in value.items():
                    yield from leaves(item, name)
            elif isinstance(value, list):
                for item in value:
                    yield from leaves(item, key)
            elif isinstance(value, str) and key not in ("proto", "source"):
                yield value
            elif isinstance(value, int) and not isinstance(value, bool):
                yield str(value)

        missing = [leaf for leaf in leaves(catalogue.load()[role])
                   if "".join(leaf.rstrip(".").replace("_", " ").split()) not in squeezed]
        assert missing == []
