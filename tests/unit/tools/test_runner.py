"""tools/test: a failing stage must never pass for a good one."""

import importlib.machinery
import importlib.util
import pathlib
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]


@pytest.fixture
def runner(tmp_path, monkeypatch):
    loader = importlib.machinery.SourceFileLoader("tools_test", str(ROOT / "tools/test"))
    spec = importlib.util.spec_from_loader("tools_test", loader)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loader.exec_module(module)
    monkeypatch.setattr(module, "LOGS", tmp_path)
    return module


def stage_of(runner, *argv, **options):
    stage = runner.Stage("try", lambda s: s.command(argv, **options), "check", "")
    stage.run()
    return stage


class TestStage:
    def test_passes_on_exit_code_zero(self, runner):
        assert stage_of(runner, "true").state == "passed"

    def test_fails_on_any_other_exit_code_and_names_it(self, runner):
        stage = stage_of(runner, "sh", "-c", "echo why; exit 7")
        assert stage.state == "failed"
        assert "exit code 7" in stage.reason
        assert "why" in stage.tail()

    def test_fails_when_the_program_is_missing(self, runner):
        assert stage_of(runner, "/nonexistent/program").state == "failed"

    def test_stops_the_whole_process_group_at_the_deadline(self, runner, tmp_path):
        pid_file = tmp_path / "pid"
        stage = stage_of(runner, "sh", "-c", "sleep 600 & echo $! >%s; wait" % pid_file, timeout=0.5)
        assert stage.state == "failed"
        deadline = time.monotonic() + 10
        status = pathlib.Path("/proc/%s/stat" % pid_file.read_text().strip())
        while time.monotonic() < deadline and status.exists() and ") Z " not in status.read_text():
            time.sleep(0.05)
        assert not status.exists() or ") Z " in status.read_text()

    def test_shows_only_the_errors_of_ansible_test(self, runner):
        stage = runner.Stage("sanity-x", lambda s: s.command(["printf", "Collecting a\nERROR: b\n"]), "package", "")
        stage.run()
        assert stage.tail()[-1] == "ERROR: b"
        assert "Collecting a" not in stage.tail()

    def test_shows_failed_tests_first_wherever_they_stand_in_the_log(self, runner):
        text = '        "FAILED tests/a.py::test_b - assert 1 == 2",\n' + "later\n" * 200
        stage = runner.Stage("molecule:x", lambda s: s.command(["printf", text]), "molecule", "")
        stage.run()
        assert "FAILED tests/a.py::test_b" in stage.tail()[0]
        assert len(stage.tail()) == runner.TAIL_LINES + 1


class TestSummary:
    def test_what_failed_comes_last_and_the_same_reason_once(self, runner, capsys):
        broken = stage_of(runner, "sh", "-c", "echo 'FAILED tests/a.py::test_b'; seq 90; exit 3")
        fine = runner.Stage("fine", lambda stage: stage.command(["true"]), "check", "")
        fine.run()
        stages = [broken, fine]
        for name in ("x", "y"):
            stages.append(runner.Stage(name, lambda stage: None, "check", ""))
            stages[-1].state, stages[-1].reason = "skipped", "too long"
        runner.summary(stages, 7)
        lines = capsys.readouterr().out.splitlines()
        assert lines[-1].split() == ["|", "FAILED", "tests/a.py::test_b"]
        assert "exit code 3" in lines[-2]
        assert [line.split("skipped") for line in lines if "too long" in line] == [
            ["x and 1 more".ljust(45), "  too long"]]


class TestScenarios:
    @pytest.fixture
    def tree(self, runner, tmp_path, monkeypatch):
        for name in ("alpha", "beta", "gamma"):
            (tmp_path / "molecule" / name).mkdir(parents=True)
            (tmp_path / "molecule" / name / "molecule.yml").touch()
        (tmp_path / "tools").mkdir()
        monkeypatch.setattr(runner, "ROOT", tmp_path)
        return tmp_path / "tools/scenarios.list"

    def test_runs_the_listed_ones_first_and_forgets_none(self, runner, tree):
        tree.write_text("# order\ngamma\ngamma@2.16 # again\n")
        assert runner.scenarios() == [("gamma", "2.19"), ("gamma", "2.16"), ("alpha", "2.19"), ("beta", "2.19")]

    def test_refuses_a_listed_scenario_that_does_not_exist(self, runner, tree):
        tree.write_text("delta\n")
        with pytest.raises(SystemExit, match="found 'delta'"):
            runner.scenarios()

    def test_a_pattern_names_several_and_keeps_them_back(self, runner, tree):
        tree.write_text("gamma\n?[el]* | too long\n")
        assert runner.scenarios() == [("gamma", "2.19"), ("alpha", "2.19"), ("beta", "2.19")]
        stages = {stage.name: stage for stage in runner.stages()}
        with pytest.raises(runner.Skipped, match="too long"):
            stages["molecule:beta"].function(None)


class TestCommandLine:
    def test_a_pattern_that_matches_no_stage_is_wrong_use(self):
        done = subprocess.run([sys.executable, str(ROOT / "tools/test"), "--only", "nonsense"], stderr=subprocess.PIPE,
                              check=False)
        assert done.returncode == 2
        assert b"nonsense" in done.stderr
