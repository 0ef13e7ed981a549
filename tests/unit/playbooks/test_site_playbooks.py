# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""site_check.yml and site_distribute.yml run for real, with directories of this machine in the place of hosts."""
from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SMALL = json.loads((ROOT / "tests/unit/fixtures/site.small.json").read_text())


class Platform:
    """Two hosts that are directories, and the inventory of them."""

    def __init__(self, path):
        self.path = path
        self.site = json.loads(json.dumps(SMALL))
        services = self.site["svclist"]
        for role in services:
            services[role]["_machlist"] = ["app1"]
        services["web_frontend"]["_machlist"] = services["caql_broker"]["_machlist"] = ["app2"]
        services["fault_detection"]["_machlist"] = ["app2"]
        services["fault_detection"]["faultd_cluster"] = {"app2": {"node_id": "00000000-0000-4000-8000-000000000301"}}
        services["stratcon"].update(node_ids={"app1": "00000000-0000-4000-8000-000000000401"})
        del services["caql_broker"]
        services["data_storage"]["ncopies"] = 1
        services["stratcon"]["_machlist"] = ["app1"]
        self.site["machinfo"] = {"app1": {**SMALL["machinfo"]["store1"], "ip_address": "192.0.2.11"},
                                 "app2": {"ip_address": "192.0.2.12"}}
        (path / "x.site.yml").write_text("plugin: circonus.inside.site\nsites: {main: {file: site.json}}\n")
        self.save()

    def save(self):
        (self.path / "site.json").write_text(json.dumps(self.site, indent=2))

    def installed(self, host):
        return self.path / "hosts" / host / "site.json"

    def play(self, name, *arguments, **variables):
        env = {k: v for k, v in os.environ.items() if not k.startswith("ANSIBLE_")}
        env.update(ANSIBLE_COLLECTIONS_PATH=str(ROOT / ".cache/collections"), ANSIBLE_NOCOLOR="1",
                   ANSIBLE_HOME=str(self.path / ".ansible"))
        values = {"ansible_connection": "local", "ansible_become": False, "ansible_python_interpreter": sys.executable,
                  name + "_data_bag": str(self.path / "hosts/{{ inventory_hostname }}"),
                  "site_distribute_owner": str(os.getuid()), "site_distribute_group": str(os.getgid()), **variables}
        done = subprocess.run([str(Path(sys.executable).parent / "ansible-playbook"), "-i", "x.site.yml",
                               "circonus.inside." + name, "-e", json.dumps(values), *arguments], cwd=self.path, env=env,
                              capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
        output = done.stdout + done.stderr
        assert "Traceback" not in output and "FakeAdminPass1" not in output
        return done.returncode, output

    def changed(self, output):
        recap = [line for line in output.splitlines() if line.startswith("app")]
        return [int(line.split("changed=")[1].split()[0]) for line in recap if "changed=" in line]


@pytest.fixture
def platform(tmp_path):
    return Platform(tmp_path)


class TestSiteDistribute:
    def test_installs_keeps_the_previous_file_and_settles(self, platform):
        code, output = platform.play("site_distribute", "--check")
        assert code == 0 and not (platform.path / "hosts").exists()
        code, output = platform.play("site_distribute")
        assert code == 0, output
        for host in ("app1", "app2"):
            assert platform.installed(host).read_bytes() == (platform.path / "site.json").read_bytes()
            assert platform.installed(host).stat().st_mode & 0o777 == 0o600
        code, output = platform.play("site_distribute")
        assert code == 0 and platform.changed(output) == [0, 0]

        old = platform.installed("app1").read_bytes()
        platform.site["domain"] = "other.example.net"
        platform.save()
        code, output = platform.play("site_distribute")
        assert code == 0, output
        kept = [p for p in platform.installed("app1").parent.iterdir() if p.name != "site.json"]
        assert [p.read_bytes() for p in kept] == [old]
        assert not kept[0].match("site*.json") and kept[0].stat().st_mode & 0o777 == 0o600

    def test_refuses_a_guarded_change_until_it_is_allowed(self, platform):
        assert platform.play("site_distribute")[0] == 0
        before = platform.installed("app1").read_bytes()
        platform.site["machinfo"]["app1"]["zfs_dataset_base"] = "tank"
        platform.save()
        code, output = platform.play("site_distribute")
        assert code != 0 and "C-28" in output and "machinfo.app1.zfs_dataset_base" in output
        assert platform.installed("app1").read_bytes() == before and platform.installed("app2").read_bytes() == before
        assert platform.play("site_distribute", site_distribute_allow=["machinfo.app1.zfs_dataset_base"])[0] == 0
        assert platform.installed("app1").read_bytes() != before

    def test_refuses_a_stray_file_by_name(self, platform):
        (platform.path / "hosts/app2").mkdir(parents=True)
        (platform.path / "hosts/app2/site-old.json").write_text("{}")
        code, output = platform.play("site_distribute")
        assert code != 0 and "app2: site-old.json would be loaded" in output
        assert not platform.installed("app1").exists() and not platform.installed("app2").exists()

    def test_an_unreachable_host_stops_it_before_any_change(self, platform):
        (platform.path / "host_vars").mkdir()
        (platform.path / "host_vars/app2.yml").write_text("lab_connection: ssh\n")
        code, output = platform.play(
            "site_distribute", ansible_connection="{{ lab_connection | default('local') }}", ansible_port=1,
            ansible_host="127.0.0.1", ansible_ssh_common_args="-o ConnectTimeout=2 -o BatchMode=yes -F /dev/null")
        assert code != 0 and "unreachable=1" in output
        assert not platform.installed("app1").exists()


class TestSiteCheck:
    def test_good_files(self, platform):
        code, output = platform.play("site_check")
        assert code == 0, output
        assert "0 errors" in output

    def test_lists_everything_about_a_file_that_the_inventory_refuses(self, platform):
        platform.site["svclist"]["api"]["_machlist"] = ["app2"]
        platform.site["svclist"]["mq"]["_machlist"] = ["app9"]
        platform.save()
        code, output = platform.play("site_check")
        assert code != 0 and "C-05" in output and "C-01" in output and "site.json has 2 error(s)" in output

    def test_bad_json(self, platform):
        (platform.path / "site.json").write_text("{")
        code, output = platform.play("site_check")
        assert code != 0 and "J-01" in output and "line 1 column 2" in output

    def test_compares_what_is_installed(self, platform):
        assert platform.play("site_distribute")[0] == 0
        assert platform.play("site_check", site_check_installed=True)[0] == 0
        platform.installed("app2").write_text(json.dumps({**platform.site, "domain": "other.example.net"}))
        code, output = platform.play("site_check", site_check_installed=True)
        assert code != 0 and "H-01" in output and "app2 has another site.json" in output and "app1 has" not in output
