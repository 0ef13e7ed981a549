# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The inventory plugin through Ansible's inventory manager, and through its commands outside the repository."""
from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.utils.display import Display
from ansible_collections.circonus.inside.plugins.inventory import site as plugin
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput

ROOT = Path(__file__).resolve().parents[4]
SMALL = (ROOT / "tests/unit/fixtures/site.small.json").read_text()
PARSER_ERROR = 4


class Directory:
    """A directory with inventory files, and Ansible run in it."""

    def __init__(self, path):
        self.path = path

    def write(self, name, text):
        (self.path / name).write_text(text if isinstance(text, str) else json.dumps(text))
        return self

    def run(self, program, *arguments, **variables):
        env = {k: v for k, v in os.environ.items() if not k.startswith("ANSIBLE_")}
        env.update(ANSIBLE_COLLECTIONS_PATH=str(ROOT / ".cache/collections"), ANSIBLE_NOCOLOR="1", COLUMNS="80",
                   ANSIBLE_HOME=str(self.path / ".ansible"), HOME=str(self.path), **variables)
        return subprocess.run([str(Path(sys.executable).parent / program), *arguments], cwd=self.path, env=env,
                              capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)

    def inventory(self, *arguments, **variables):
        done = self.run("ansible-inventory", "-i", "x.site.yml", *arguments, **variables)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout), done.stderr

    def refused(self):
        """The one line of a refusal, from Ansible's inventory manager in this process."""
        with pytest.MonkeyPatch.context() as patch:
            lines = []
            patch.setattr(Display, "error", lambda _self, msg, **_options: lines.append(str(msg)))
            with pytest.raises(SystemExit) as caught:
                InventoryManager(loader=DataLoader(), sources=[str(self.path / "x.site.yml")])
        assert caught.value.code == PARSER_ERROR and len(lines) == 1 and "\n" not in lines[0]
        return lines[0]

    def refusal(self):
        """The same from the command that a user types."""
        done = self.run("ansible-inventory", "-i", "x.site.yml", "--list")
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        assert done.returncode == PARSER_ERROR and len(lines) == 1, done.stderr
        assert "Traceback" not in done.stderr and not done.stdout.strip()
        return lines[0]


@pytest.fixture
def one(tmp_path):
    return Directory(tmp_path).write("site.json", SMALL).write(
        "x.site.yml", "plugin: circonus.inside.site\nsites: {main: {file: site.json}}\n")


@pytest.fixture
def two(tmp_path):
    directory = Directory(tmp_path)
    for name in ("east", "west"):
        directory.write("site.%s.json" % name, (ROOT / ("inventories/example/site.%s.json" % name)).read_text())
    return directory.write("x.site.yml", """
plugin: circonus.inside.site
sites: {east: {file: site.east.json}, west: {file: site.west.json}}
brokers: {broker1: {ansible_host: 192.0.2.201, site: east, rack: 4}}
""")


def edit(directory, name, change):
    raw = json.loads((directory.path / name).read_text())
    change(raw)
    directory.write(name, json.dumps(raw, indent=2))


class TestGroupsAndVariables:
    def test_two_sites(self, two):
        data, errors = two.inventory("--list")
        assert errors == ""
        members = {name: set(group.get("hosts", ())) for name, group in data.items() if name != "_meta"}
        east = {h for h in members["hooper"] if h.startswith("east")}
        assert members["active"] == east and len(members["hooper"]) == 28
        assert members["standby"] == members["hooper"] - east
        assert members["dc_east"] == east | {"broker1"} and members["dc_west"] == members["standby"]
        assert members["brokers"] == {"broker1"}
        assert members["web_db"] == {"east-db1", "east-db2", "west-db1", "west-db2"}
        assert members["mq"] == {"east-mq1", "east-mq2", "west-mq1", "west-mq2"}
        host = data["_meta"]["hostvars"]["west-db2"]
        assert host["ansible_host"] == "198.51.100.12" and host["circonus_run_order"] == 1
        assert host["circonus_node"] == {"name": "west-db2", "roles": ["web_db"], "site": "west",
                                         "machinfo": {"ip_address": "198.51.100.12"}}
        assert host["circonus_site"]["svclist"]["web_db"]["connect_host"] == "west-db1"
        assert host["circonus_sites"]["east"]["active"] is True
        assert host["circonus_sites"]["west"]["active_rule"] == "active_datacenter"
        assert host["circonus_sites"]["west"]["file"] == str(two.path / "site.west.json")
        broker = data["_meta"]["hostvars"]["broker1"]
        assert broker["ansible_host"] == "192.0.2.201" and broker["rack"] == 4 and "circonus_run_order" not in broker
        assert broker["circonus_node"]["roles"] == ["broker"]

    def test_one_site_from_another_directory(self, one):
        (one.path / "elsewhere").mkdir()
        done = one.run("ansible-inventory", "-i", str(one.path / "x.site.yml"), "--host", "app1")
        host = json.loads(done.stdout)
        assert host["circonus_sites"]["main"]["active"] is True
        assert host["circonus_node"]["roles"] == ["web_db", "ca", "mq", "web_frontend", "fault_detection"]

    def test_run_order_takes_the_earliest_stage(self, one):
        data, _errors = one.inventory("--list")
        order = {h: v["circonus_run_order"] for h, v in data["_meta"]["hostvars"].items()}
        assert order == {"app1": 1, "app2": 5, "app3": 6, "store1": 6, "store2": 6, "store3": 6}

    def test_hyphens_are_normalised(self, one):
        edit(one, "site.json", lambda raw: raw["svclist"].update({"web-db": raw["svclist"].pop("web_db")}))
        data, errors = one.inventory("--list")
        assert data["web_db"]["hosts"] == ["app1"] and "web-db" not in data
        assert "0 errors" not in errors and "1 warning in site.json" in " ".join(errors.split())

    def test_a_host_is_placed_by_the_operator(self, two):
        def add(raw):
            raw["machinfo"]["db9"] = {"ip_address": "203.0.113.9"}
            raw["svclist"]["web_db"]["_machlist"].append("db9")
            raw["svclist"]["web_db"]["allowed_subnets"].append("203.0.113.0/24")
        for name in ("site.east.json", "site.west.json"):
            edit(two, name, add)
        assert "db9 has the roles web_db and belongs to no site" in two.refused()
        two.write("x.site.yml", "plugin: circonus.inside.site\nsites: {east: {file: site.east.json}, "
                                "west: {file: site.west.json, hosts: [db9]}}\n")
        data, _errors = two.inventory("--list")
        assert "db9" in data["dc_west"]["hosts"] and data["_meta"]["hostvars"]["db9"]["circonus_site_name"] == "west"

    def test_a_secret_that_looks_like_a_template_stays_as_it_is(self, one):
        edit(one, "site.json", lambda raw: raw["svclist"]["ca"].update(key_pass="a {{ 6 * 7 }} b"))
        one.write("x.yml", "- hosts: app1\n  gather_facts: false\n  tasks:\n"
                           "    - ansible.builtin.assert:\n"
                           "        that: circonus_site.svclist.ca.key_pass | length == 15\n")
        done = one.run("ansible-playbook", "-i", "x.site.yml", "x.yml")
        assert done.returncode == 0, done.stdout

    def test_large_sites_give_the_same_variables_as_expressions(self, one, monkeypatch):
        def grow(raw):
            for number in range(250):
                raw["machinfo"]["x%d" % number] = {"ip_address": "192.0.2.%d" % (number + 100)
                                                   if number < 120 else "203.0.113.%d" % (number - 100)}
            raw["svclist"]["web_db"]["allowed_subnets"].append("203.0.113.0/24")
        edit(one, "site.json", grow)
        one.write("x.yml", "- hosts: app1\n  gather_facts: false\n  tasks:\n"
                           "    - ansible.builtin.assert:\n"
                           "        that:\n"
                           "          - circonus_site.svclist.web_db._machlist == ['app1']\n"
                           "          - circonus_site.machinfo | length == 256\n"
                           "          - circonus_sites.main.hosts | length == 256\n")
        done = one.run("ansible-playbook", "-i", "x.site.yml", "x.yml")
        assert done.returncode == 0, done.stdout + done.stderr


class TestConstructed:
    def test_compose_groups_and_keyed_groups(self, one):
        one.write("x.site.yml", """
plugin: circonus.inside.site
sites: {main: {file: site.json}}
compose:
  ansible_user: "'ops-' ~ circonus_site_name"
  database: circonus_site.svclist.web_db.connect_host
groups:
  storage: "'data_storage' in circonus_node.roles"
keyed_groups:
  - key: circonus_run_order | string
    prefix: stage
""")
        data, _errors = one.inventory("--list")
        assert data["storage"]["hosts"] == ["store1", "store2", "store3"]
        assert data["stage_1"]["hosts"] == ["app1"]
        host, _errors = one.inventory("--host", "app2")
        assert host["ansible_user"] == "ops-main" and host["database"] == "app1"

    def test_strict_makes_a_failing_expression_an_error(self, one):
        one.write("x.site.yml", "plugin: circonus.inside.site\nsites: {main: {file: site.json}}\nstrict: true\n"
                                "compose: {a: nothing.such}\n")
        one.refused()


class TestCache:
    CONFIG = ("plugin: circonus.inside.site\nsites: {main: {file: site.json}}\ncache: true\n"
              "cache_plugin: ansible.builtin.jsonfile\ncache_connection: %s/verdicts\n")

    def test_keeps_the_verdict_without_secrets(self, one):
        one.write("x.site.yml", self.CONFIG % one.path)
        first, _errors = one.inventory("--list")
        files = list((one.path / "verdicts").iterdir())
        assert len(files) == 1 and "FakeAdminPass1" not in files[0].read_text()
        second, _errors = one.inventory("--list")
        assert second == first

    def test_is_used(self, one):
        one.write("x.site.yml", self.CONFIG % one.path)
        one.inventory("--list")
        path = next((one.path / "verdicts").iterdir())
        known = json.loads(path.read_text())
        record = known.get("__payload__", known)  # 2.19 wraps what a cache plugin stores
        record = json.loads(record) if isinstance(record, str) else record
        record["findings"] = [{"id": "C-99", "severity": "error", "path": "x", "site": None,
                               "message": "from the cache", "remedy": "."}]
        if "__payload__" in known:
            known["__payload__"] = json.dumps(record)
        path.write_text(json.dumps(known))
        assert "from the cache" in one.refused()

    def test_an_edited_file_is_judged_again(self, one):
        one.write("x.site.yml", self.CONFIG % one.path)
        one.inventory("--list")
        edit(one, "site.json", lambda raw: raw["svclist"]["web_frontend"].update(_machlist=["app2"]))
        assert "C-05" in one.refused()


class TestRefusals:
    """One line, exit code 4, no traceback, although Ansible only warns about inventories that it cannot parse."""

    def test_bad_json(self, one):
        one.write("site.json", SMALL.replace('"id": "site",', '"id": "site",,'))
        assert "site.json line 2 column" in one.refusal()

    def test_trailing_comma(self, one):
        one.write("site.json", SMALL.rstrip()[:-1] + ",}")
        assert "trailing comma" in one.refused()

    def test_missing_file(self, one):
        (one.path / "site.json").unlink()
        assert "site.json does not exist" in one.refusal()

    def test_a_host_twice_in_a_file(self, one):
        one.write("site.json", SMALL.replace('"app2": {\n      "ip', '"app1": {\n      "ip'))
        assert "host app1 is in machinfo twice, with the addresses 192.0.2.11 and 192.0.2.12" in one.refusal()

    def test_a_host_with_another_address_in_the_other_file(self, two):
        edit(two, "site.west.json", lambda raw: raw["machinfo"]["east-db1"].update(ip_address="192.0.2.99"))
        line = two.refusal()
        assert "east-db1" in line and "192.0.2.11" in line and "192.0.2.99" in line

    @pytest.mark.parametrize("broker", ["app1: {ansible_host: 192.0.2.99}", "b1: {ansible_host: 192.0.2.11}",
                                        "b1: {site: main}", "b1: {ansible_host: 192.0.2.99, site: north}"])
    def test_a_broker_that_cannot_be(self, one, broker):
        one.write("x.site.yml", "plugin: circonus.inside.site\nsites: {main: {file: site.json}}\nbrokers:\n  %s\n"
                  % broker)
        one.refused()

    def test_a_role_clash_on_a_port(self, one):
        edit(one, "site.json", lambda raw: raw["svclist"]["web_frontend"].update(_machlist=["app2"]))
        line = one.refusal()
        assert "app2 has both api and web_frontend, which need port 8080" in line and "site_check" in line

    def test_more_findings_are_counted(self, one):
        def spoil(raw):
            raw["svclist"]["web_frontend"].update(_machlist=["app2"])
            raw["svclist"]["hub"].update(_machlist=["app9"])
        edit(one, "site.json", spoil)
        assert "(and 1 more in site.json)" in one.refused()

    @pytest.mark.parametrize("config", [
        "plugin: circonus.inside.site\n",
        "plugin: circonus.inside.site\nsites: {}\n",
        "plugin: circonus.inside.site\nsites: [a]\n",
        "plugin: circonus.inside.site\nsites: {main: {path: site.json}}\n",
        "plugin: circonus.inside.site\nsites: {main: {file: site.json, colour: red}}\n",
        "plugin: circonus.inside.site\nsites: {main: {file: site.json}}\nrelease: newest\n",
        "plugin: circonus.inside.site\nsites: {main: {file: site.json}}\nvalidate: often\n",
        "plugin: circonus.inside.site\nsites: {main: {file: site.json}}\nstrict: true\nbroker: {}\n",
        "plugin: circonus.inside.site\nsites: {main: {file: site.json}}\ntarget_python: new\n",
        "plugin: circonus.inside.site\nsites: {main: {file: site.json}}\ntarget_python: '3.5'\n",
        "plugin: circonus.inside.site\nsites: {main: {file: site.json, target_python: '2.6'}}\n",
    ])
    def test_a_configuration_that_cannot_be(self, one, config):
        one.write("x.site.yml", config)
        one.refused()

    def test_an_old_interpreter_in_group_vars(self, one):
        (one.path / "group_vars").mkdir()
        one.write("group_vars/all.yml", "ansible_python_interpreter: /usr/bin/python3.5\n")
        assert "Python 3.5 is too old for ansible-core" in one.refusal()

    def test_a_playbook_does_not_start(self, one):
        (one.path / "site.json").unlink()
        one.write("x.yml", "- hosts: localhost\n  gather_facts: false\n  tasks:\n    - ansible.builtin.debug:\n")
        done = one.run("ansible-playbook", "-i", "x.site.yml", "x.yml")
        assert done.returncode == PARSER_ERROR and "PLAY" not in done.stdout
        assert len(done.stderr.strip().splitlines()) == 1

    def test_the_plugin_named_explicitly_behaves_the_same(self, one):
        (one.path / "site.json").unlink()
        done = one.run("ansible-inventory", "-i", "x.site.yml", "--list",
                       ANSIBLE_INVENTORY_ENABLED="circonus.inside.site,ini")
        assert done.returncode == PARSER_ERROR and len(done.stderr.strip().splitlines()) == 1


class TestLevels:
    def test_warnings_are_one_line(self, one):
        edit(one, "site.json", lambda raw: [raw.update(flavour="mint"), raw["svclist"].pop("hub")])
        _data, errors = one.inventory("--list")
        assert errors.count("[WARNING]") == 1 and "2 warnings in site.json" in " ".join(errors.split())
        done = one.run("ansible-inventory", "-i", "x.site.yml", "--list", "-v")
        assert done.stderr.count("[WARNING]") == 2 and "W-01" in done.stderr

    def test_warning_level(self, one):
        edit(one, "site.json", lambda raw: raw.update(flavour="mint"))
        one.write("x.site.yml", "plugin: circonus.inside.site\nsites: {main: {file: site.json}}\nvalidate: warning\n")
        assert "unknown attribute flavour" in one.refused()

    def test_strict(self, one):
        edit(one, "site.json", lambda raw: raw.update(flavour="mint"))
        one.write("x.site.yml", "plugin: circonus.inside.site\nsites: {main: {file: site.json}}\nstrict: true\n")
        assert "unknown attribute flavour" in one.refused()

    def test_off(self, one):
        edit(one, "site.json", lambda raw: raw["svclist"]["web_frontend"].update(_machlist=["app2"]))
        one.write("x.site.yml", "plugin: circonus.inside.site\nsites: {main: {file: site.json}}\nvalidate: none\n")
        data, errors = one.inventory("--list")
        assert data["web_frontend"]["hosts"] == ["app2"] and errors == ""


class TestPythonProblem:
    def test_names_the_core_to_use(self):
        assert "Use ansible-core 2.16 for these hosts" in plugin.python_problem("3.6", (3, 8))
        assert "Use ansible-core 2.17 for these hosts" in plugin.python_problem("3.7", (3, 8))
        assert "Use ansible-core 2.16 for these hosts" in plugin.python_problem("2.7", (3, 8))
        assert "Use ansible-core 2.19 for these hosts" in plugin.python_problem("3.8", (3, 9))

    def test_new_enough(self):
        assert plugin.python_problem("3.8", (3, 8)) is None
        assert plugin.python_problem("3.13.1", (3, 8)) is None
        assert plugin.python_problem("2.7", (2, 7)) is None and plugin.python_problem("3.6", (2, 7)) is None

    def test_too_old_for_any(self):
        for version in ("2.6", "3.4"):
            assert "a newer Python on these hosts" in plugin.python_problem(version, (2, 7))

    def test_no_version(self):
        with pytest.raises(BadInput):
            plugin.python_problem("new")


class TestMinimumPython:
    def test_agrees_with_this_core(self):
        assert (2, 7) <= plugin.minimum_python() <= (3, 9)
        from ansible.release import __version__ as version
        if version.startswith("2.16."):
            assert plugin.minimum_python() == (2, 7)
        if version.startswith("2.19."):
            assert plugin.minimum_python() == (3, 8)


class TestInterpreterVersion:
    @pytest.mark.parametrize(("path", "version"), [
        ("/usr/bin/python3.6", "3.6"), ("python2.7", "2.7"), ("/usr/bin/python3", None), ("auto", None), (None, None),
        ("/usr/libexec/platform-python", None), ("{{ x }}/python3.6", "3.6")])
    def test_reads_it_from_the_name(self, path, version):
        assert plugin.interpreter_version(path) == version
