# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Command line, fault files and resources of the Hooper stand-in; what needs systemd is tested in the lab itself."""

import grp
import json
import os
import pwd

import pytest
from hooper import converge, faults, main

OWNER = pwd.getpwuid(os.geteuid()).pw_name
GROUP = grp.getgrgid(os.getegid()).gr_name


class TestArguments:
    @pytest.mark.parametrize(
        ("argv", "flags", "name"),
        [
            ([], set(), None),
            (["-m"], {"m"}, None),
            (["-nd", "east-app1"], {"n", "d"}, "east-app1"),
            (["-m", "-n", "config-check"], {"m", "n"}, "config-check"),
        ],
    )
    def test_takes(self, argv, flags, name):
        assert main.arguments(argv) == (flags, name)

    @pytest.mark.parametrize("argv", [["-x"], ["-"], ["--help"], ["a", "b"], ["-mx"]])
    def test_refuses(self, argv):
        with pytest.raises(main.Usage):
            main.arguments(argv)


class TestTrim:
    def test_keeps_the_last_runs(self):
        runs = [f"{main.RUN_MARK}{number}\nwork\n" for number in range(60)]
        assert main.trim("".join(runs)) == "".join(runs[-50:])

    def test_leaves_a_short_log_alone(self):
        assert main.trim("old line\n" + main.RUN_MARK + "1\n") == "old line\n" + main.RUN_MARK + "1\n"


class TestLog:
    def test_keeps_fifty_runs_in_the_file(self, tmp_path, capsys):
        path = str(tmp_path / "chef" / "hooper.log")
        for number in range(55):
            log = main.Log(["-m", str(number)])
            log.say("work")
            log.write(0, path)
        with open(path, encoding="utf-8") as handle:
            text = handle.read()
        assert text.count(main.RUN_MARK) == 50
        assert "run-hooper -m 54" in text and "run-hooper -m 4\n" not in text


@pytest.fixture
def platform(tmp_path, monkeypatch):
    """The stand-in's files below a temporary directory; nothing of its interface is replaced."""
    home = tmp_path / "chef-solo"
    bag = home / "data_bags" / "service_map"
    bag.mkdir(parents=True)
    monkeypatch.setattr(main, "KILLSWITCH", str(home / "killswitch"))
    monkeypatch.setattr(main, "NODE_CONFIG", str(home / "node.json"))
    monkeypatch.setattr(main, "LOCK", str(tmp_path / "lock"))
    monkeypatch.setattr(main.site_file.load, "__defaults__", (str(bag),))
    monkeypatch.setattr(main.site_file.load_facts, "__defaults__", (str(tmp_path / "facts"),))
    monkeypatch.setattr(faults, "DIRECTORY", str(tmp_path / "faults"))
    (tmp_path / "faults").mkdir()
    inventory = os.path.join(os.path.dirname(__file__), "..", "..", "..", "inventories", "lab", "site.east.json")
    with open(inventory, encoding="utf-8") as handle:
        (bag / "site.json").write_text(handle.read())
    return tmp_path


def call(*argv):
    log = main.Log(argv)
    return main.execute(list(argv), log), "\n".join(log.lines[1:])


class TestExecute:
    def test_usage_is_99(self, platform):
        assert call("-x")[0] == (99, False)

    def test_killswitch_is_92_before_anything_else(self, platform):
        (platform / "chef-solo" / "killswitch").write_text("")
        (platform / "chef-solo" / "data_bags" / "service_map" / "site.json").write_text("{")
        assert call("-m")[0] == (92, False)

    def test_no_node_name_is_93(self, platform):
        assert call("-m")[0] == (93, True)

    def test_config_check_of_good_files_is_0(self, platform):
        result, text = call("config-check")
        assert result == (0, False) and "nothing to report" in text

    def test_second_file_in_the_data_bag_is_94(self, platform):
        (platform / "chef-solo" / "data_bags" / "service_map" / "site-2.json").write_text("{}")
        result, text = call("config-check")
        assert result[0] == 94 and "FATAL: data bag" in text

    def test_broken_site_json_is_94(self, platform):
        (platform / "chef-solo" / "data_bags" / "service_map" / "site.json").write_text("{")
        assert call("-m", "east-app1")[0][0] == 94

    def test_unknown_node_name_is_94(self, platform):
        result, text = call("-n", "ghost")
        assert result == (94, False) and "FATAL: ghost is not in machinfo" in text

    def test_changed_roles_ask_for_self_configure(self, platform):
        (platform / "chef-solo" / "node.json").write_text(json.dumps({"name": "east-app1", "roles": ["hub"]}))
        result, text = call("-n")
        assert result[0] == 94 and "NOTICE" in text and "self-configure" in text

    def test_old_node_config_asks_for_self_configure(self, platform):
        roles = ["ca", "fault_detection", "mq", "web_db", "web_frontend"]
        path = platform / "chef-solo" / "node.json"
        path.write_text(json.dumps({"name": "east-app1", "roles": roles}))
        os.utime(path, (1600000000, 1600000000))
        result, text = call("-n")
        assert result[0] == 94 and "reconfiguration needed since 2021-01-11" in text

    def test_injected_exit_happens_once(self, platform):
        (platform / "faults" / "exit-once").write_text("17 exploded")
        result, text = call("-m", "east-app1")
        assert result[0] == 17 and "exploded" in text
        assert not (platform / "faults" / "exit-once").exists()

    def test_a_dry_run_leaves_the_fault_for_the_real_one(self, platform):
        (platform / "faults" / "next-exit").write_text("17")
        assert call("-n", "east-app1")[0] == (17, False)
        assert (platform / "faults" / "next-exit").exists()

    def test_injected_94_shows_its_text(self, platform):
        (platform / "faults" / "exit-always").write_text("94 restart the database")
        result, text = call("-m", "east-app1")
        assert result[0] == 94 and "NOTICE: restart the database" in text

    def test_newer_package_is_90_then_gone(self, platform):
        (platform / "faults" / "newer-hooper").write_text("0.1.9")
        assert call("east-app1")[0] == (90, True)
        assert (platform / "faults" / "installed-version").read_text() == "0.1.9\n"
        assert not (platform / "faults" / "newer-hooper").exists()

    def test_failed_package_update_is_91(self, platform):
        (platform / "faults" / "update-fails").write_text("")
        assert call("east-app1")[0] == (91, True)

    @pytest.mark.parametrize("flag", ["-m", "-n"])
    def test_no_package_update_in_maintenance_mode_or_dry_run(self, platform, flag):
        (platform / "faults" / "newer-hooper").write_text("0.1.9")
        call(flag)
        assert (platform / "faults" / "newer-hooper").exists()

    def test_summary_that_fails_is_95(self, platform):
        (platform / "faults" / "summary-fails").write_text("")
        assert call("-n", "ghost")[0] == (95, False)

    def test_summary_is_sorted_by_level(self, platform):
        (platform / "faults" / "summary-once").write_text("FATAL: c\nWARNING: b\nINFO: a\n")
        text = call("-n", "ghost")[1]
        assert text.index("INFO: a") < text.index("WARNING: b") < text.index("FATAL: c")


class TestFaults:
    def test_parse_exit(self):
        assert faults.parse_exit("90 newer") == (90, "newer")
        assert faults.parse_exit("7") == (7, "injected fault")
        assert faults.parse_exit("broken") == (1, "broken")

    def test_parse_summary(self):
        assert faults.parse_summary("NOTICE: x\n\nplain") == [("NOTICE", "x"), ("WARNING", "plain")]


@pytest.fixture
def said():
    return []


@pytest.fixture
def run(said):
    return converge.Run(emit=said.append)


class TestRunFile:
    def test_writes_then_leaves_alone(self, tmp_path, run):
        path = str(tmp_path / "new" / "file")
        assert run.file(path, "text", 0o640, OWNER, GROUP)
        assert os.stat(path).st_mode & 0o777 == 0o640
        assert not run.file(path, "text", 0o640, OWNER, GROUP)
        assert (run.updated, run.total) == (1, 2)

    def test_corrects_only_the_mode(self, tmp_path, run):
        path = tmp_path / "file"
        path.write_text("text")
        path.chmod(0o666)
        inode = path.stat().st_ino
        assert run.file(str(path), "text", 0o600, OWNER, GROUP)
        assert path.stat().st_mode & 0o777 == 0o600 and path.stat().st_ino == inode

    def test_keeps_the_inode_in_place(self, tmp_path, run):
        path = tmp_path / "hosts"
        path.write_text("old, and longer")
        inode = path.stat().st_ino
        run.file(str(path), "new", 0o644, OWNER, GROUP, in_place=True)
        assert path.read_text() == "new" and path.stat().st_ino == inode

    def test_dry_run_touches_nothing(self, tmp_path, said):
        run = converge.Run(why_run=True, emit=said.append)
        path = tmp_path / "file"
        assert run.file(str(path), "text", 0o600, OWNER, GROUP)
        assert run.directory(str(tmp_path / "directory"), 0o755, OWNER, GROUP)
        assert run.link(str(tmp_path / "link"), "target")
        assert os.listdir(tmp_path) == []
        assert said[0] == f"  * file[{path}] would be changed"


class TestRunLink:
    def test_replaces_another_target(self, tmp_path, run):
        path = str(tmp_path / "link")
        os.symlink("old", path)
        assert run.link(path, "new") and os.readlink(path) == "new"
        assert not run.link(path, "new")


class TestRunDirectory:
    def test_makes_and_keeps(self, tmp_path, run):
        path = str(tmp_path / "a" / "b")
        assert run.directory(path, 0o700, OWNER, GROUP)
        assert not run.directory(path, 0o700, OWNER, GROUP)
