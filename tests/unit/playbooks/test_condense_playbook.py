# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""data_storage_condense.yml runs for real on hosts of this machine; what the hosts answer is written by the test, and
what would be done to them is written down instead."""
from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ansible_collections.circonus.inside.plugins.module_utils import lock

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "plugins/module_utils"))
from storage_platform import HOSTS, IDS, NEWEST, Platform
from storage_views import green, silent

D = "tank/snowth/data"
STUBS = {
    "condense_run": """
def look(host, limit=45):
    return _answer('look.' + _who())


class Host(object):
    def __init__(self, *more):
        pass

    def begin(self, run_id, limit):
        _told('begin')
        return {'name': 'tank/snowth/data'}

    def step(self, run_id, wait_s, limit, back):
        steps = _answer('steps.' + _who())
        with open(_os.environ['STORAGE_ANSWERS'] + '/steps.' + _who(), 'w') as handle:
            _json.dump(steps[1:], handle)
        _told('give up' if back else 'step', step=steps[0])
        if steps[0] == 'broken':
            raise CommandFailed('The copy of tank/snowth/data broke off. Nothing was destroyed.')
        return {'step': steps[0], 'done': steps[0] == 'done', 'waiting': False, 'changed': True, 'copy': None,
                'text': steps[0]}

    def finish(self):
        _told('finish')
        return True

    def service(self, verb, timeout):
        _told('smf ' + verb)
        return True
""",
    "service": """
def operate(entry, verb, **more):
    _told(verb, enabled=more['enabled'])
    return {'changed': True, 'verb': verb, 'service': entry['name'], 'units': [], 'actions': [], 'msg': verb}
""",
    "hooper": """
def converge(params, noop=False):
    _told('hooper', mode=params['mode'])
    return {'changed': True, 'rc': 0, 'summary': {}, 'msg': 'Hooper ran.'}
""",
}
WHOLE = ["ask", "begin", "stop", "step", "step", "hooper", "start", "finish", "wait"]


def look(host, **more):
    facts = {"name": D, "old": {"name": D, "referenced": 900 * 2 ** 30},
             "pool": {"pool": "tank", "capacity": 41, "health": "ONLINE"}}
    return dict({"platform": "el7", "problem": "", "in_progress": False, "left_open": False, "node_ids": None,
                 "facts": facts, "next": "snapshot", "age_s": 1e7}, **more)


class Run(Platform):
    """A platform with three nodes on ZFS, all of them well, and what came of a run."""

    def __init__(self, path):
        super().__init__(path, STUBS)
        self.view = green(self.given)
        for host in HOSTS:
            self.write("look." + host, look(host))
            self.write("steps." + host, ["swap", "done"])

    def play(self, *arguments, **variables):
        return self.run_playbook("data_storage_condense", self.view, arguments, {
            "circonus_confirm": "data_storage", "data_storage_condense_el7": True, "data_storage_condense_pause_s": 0,
            "data_storage_condense_spacing_s": 0, "data_storage_condense_polls": 1, **variables})


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path)


def test_one_node_after_the_other_in_the_order_of_the_manual(run):
    code, output, report = run.play()
    assert code == 0 and report["result"] == "ok", output
    calls = run.calls()
    # Asked on the node that stops, watched from one that stays.
    assert [call["call"] for call in calls] == WHOLE * 3, output
    touched = [call["host"] for call in calls if call["call"] in ("begin", "stop", "step", "hooper", "start", "finish")]
    assert touched == [host for host in HOSTS for _call in WHOLE[1:-1]]
    assert [call["enabled"] for call in calls if call["call"] in ("stop", "start")] == [False, True] * 3
    assert {call["mode"] for call in calls if call["call"] == "hooper"} == {"maintenance"}
    assert all(call["strict"] and call["redo_dir"] == "/snowth/redo" for call in calls if call["call"] == "ask")
    assert [call["node"] for call in calls if call["call"] == "wait"] == [IDS[host] for host in HOSTS]
    assert not lock.is_held(lock.read(str(run.told / "lock")))


def test_check_mode_shows_the_plan_and_does_nothing(run):
    code, output, report = run.play("--check")
    assert code == 0 and run.calls() == [], output
    assert "1. Stop store1, condense tank/snowth/data (900.0 GiB, pool tank used to 41 %" in output


@NEWEST
def test_a_step_that_fails_leaves_the_other_nodes_alone(run):
    run.write("steps.store1", ["snapshot", "broken"])
    code, output, report = run.play()
    assert code != 0 and report["result"] == "failed", output
    assert "Condense the data set on store1: The copy of tank/snowth/data broke off." in report["reason"]
    assert [call["call"] for call in run.calls()] == ["ask", "begin", "stop", "step", "step"]
    assert run.calls("store2") == run.calls("store3") == []


@NEWEST
def test_a_cluster_that_cannot_spare_it_stops_the_run_before_the_node(run):
    (run.told / "unsafe").write_text("")
    code, output, report = run.play()
    assert code != 0 and "Without store2 nothing would be left." in report["reason"], output
    assert [call["call"] for call in run.calls()] == ["ask"]


@NEWEST
def test_what_was_left_on_its_way_is_finished_without_asking(run):
    run.write("look.store2", look("store2", in_progress=True, node_ids=[IDS["store2"]], next="freeing"))
    run.probes["store2"]["node_ids"] = []
    silent(run.view, 1, "refused")
    code, output, report = run.play(data_storage_condense_limit=["store2"])
    assert code == 0 and "Go on with tank/snowth/data on store2 (next: freeing)" in output, output
    assert [call["call"] for call in run.calls()] == WHOLE[1:]


@NEWEST
def test_what_only_lacks_its_end_is_ended_without_stopping_the_node(run):
    run.write("look.store2", look("store2", left_open=True, age_s=0.0))
    code, output, report = run.play(data_storage_condense_limit=["store2"])
    assert code == 0 and report["result"] == "ok", output
    assert [call["call"] for call in run.calls()] == ["hooper", "start", "finish", "wait"]


@NEWEST
def test_giving_up_starts_the_node_again(run):
    run.write("look.store2", look("store2", in_progress=True, node_ids=[IDS["store2"]]))
    run.write("steps.store2", ["discard", "done"])
    silent(run.view, 1, "refused")
    code, output, report = run.play(data_storage_condense_abort=True)
    assert code == 0, output
    assert [call["call"] for call in run.calls()] == ["stop", "give up", "give up", "hooper", "start", "finish", "wait"]


@NEWEST
def test_on_omnios_the_service_is_handled_by_its_own_commands(run):
    for host in HOSTS:
        run.write("look." + host, look(host, platform="omnios"))
    code, output, report = run.play(data_storage_condense_el7=False, data_storage_condense_limit=["store3"])
    assert code == 0, output
    assert [call["call"] for call in run.calls()] == [
        "ask", "begin", "smf stop", "step", "step", "hooper", "smf start", "finish", "wait"]
