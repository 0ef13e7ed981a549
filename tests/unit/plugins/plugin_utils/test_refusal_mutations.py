# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every refusal of the plan of a rolling operation is taken out once, and a picture notices.

The gates of the cluster itself are forced open in ``module_utils/test_gate_mutations.py``; here they are once more, as
the plan asks them, and with them what only the controller sees: hosts that do not answer, and who is who.
"""
from __future__ import annotations

import ast
import inspect
import os
import sys
import types

import pytest

from ansible_collections.circonus.inside.plugins.module_utils import irondb_gate, topology
from ansible_collections.circonus.inside.plugins.plugin_utils import failover, storage_plan, storage_restart

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "module_utils"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from storage_views import OTHER, cluster, green
from test_irondb_gate import FAULTS
from test_storage_restart import NOW, PARAMS, Platform

#: Functions whose refusals are meant.
FUNCTIONS = {storage_restart: ("told", "_cluster", "changed", "_reboots", "verdict"),
             storage_plan: ("identity_problems", "disk_problems", "restart_plan")}
GIVEN = cluster()
IDS = [node.id for node in GIVEN.nodes]
HELD = {"east-db1": {"reachable": True, "clock": 1.0, "lock": {
    "state": "held", "run_id": "r9", "procedure": "x", "owner": "bert", "controller": "elsewhere/b/1/2"}}}


def decide(module, platform, probes=None, **params):
    """The verdict of this edition of storage_restart."""
    situation = failover.Situation(platform.sites, probes or platform.probes, {})
    run = {"controller": "me/a/1/2", "local": platform.local}
    return module.verdict(situation, platform.answers, dict(PARAMS, **params), run, NOW, NOW)


# -- pictures: what is wrong, and the words that refuse it -----------------------------------------------------------


def wrong(change, **params):
    """A picture: something is wrong with the platform, or with the parameters."""
    def look(module):
        platform = Platform()
        if change:
            change(platform)
        return decide(module, platform, **params)
    return look


def answered(host, **change):
    return wrong(lambda platform: platform.answers[host].update(change))


def machine(host, **change):
    return wrong(lambda platform: platform.sites["east"]["raw"]["machinfo"][host].update(change))


def seen(change):
    return wrong(lambda platform: change(platform.views["east"]))


def unasked(platform):
    for key in ("node_ids", "view"):
        platform.answers["east-db2"].pop(key)


def locked(module):
    platform = Platform()
    platform.sites["east"]["raw"]["svclist"]["web_db"] = {"_machlist": ["east-db1"]}
    return decide(module, platform, HELD)


def stranger(module):
    return module.storage_plan.restart_plan(
        [{"host": "east-db%d" % at, "id": node.id, "address": node.address} for at, node in enumerate(GIVEN.nodes, 1)],
        GIVEN, green(GIVEN), {"since": NOW, "hosts": ["east-app1"]})


def stale(platform):
    """site.json knows one node less than the topology."""
    platform.sites["east"]["hosts"].remove("east-db3")
    platform.sites["east"]["raw"]["svclist"]["data_storage"]["_machlist"] = ["east-db1", "east-db2"]


def reboots(change):
    return wrong(change, data_storage_restart_how="reboot")


PICTURES = [
    ("is reached by a local connection", reboots(lambda platform: platform.local.append("east-db3"))),
    ("does not start with its host", reboots(lambda platform: platform.answers["east-db2"].update(enabled="masked"))),
    ("holds the primary of web_db", reboots(lambda platform: platform.also("east-db2", "web_db"))),
    ("holds the active CA", reboots(lambda platform: platform.also("east-db2", "ca"))),
    ("runs the snowthd that is installed, found: who knows", wrong(
        lambda platform: platform.answers["east-db2"].update(package_changed=None, package_reason="who knows"),
        data_storage_restart_only="changed")),
    ("must name hosts of the role", wrong(None, data_storage_restart_limit=["east-app1"])),
    ("circonus_confirm must name the role", wrong(None, circonus_confirm="east-db1")),
    ("holds the lock on east-db1", locked),
    ("Expected an answer of east-db2", answered("east-db2", reachable=False, msg="no route")),
    ("Expected what east-db2 knows of its node", wrong(unasked)),
    ("east: Nobody tells", answered("east-db1", view=None, problem="Nobody tells.")),
    ("expected a topology as XML", answered("east-db1", topology="<nod")),
    ("Expected hosts with a node of this cluster, found east-app1", stranger),
    ("this one has none", wrong(None, data_storage_parallel="sides")),
    ("east-db2 has no node_id", machine("east-db2", node_id=None)),
    ("The node_id of east-db2 in site.json is east-db2", machine("east-db2", node_id="east-db2")),
    ("have the same node_id", machine("east-db2", node_id=IDS[0])),
    ("is not in the topology of the cluster", machine("east-db2", node_id=IDS[1].replace("a", "b"))),
    ("has the address 192.0.2.99 in site.json", machine("east-db2", ip_address="192.0.2.99")),
    ("no host of site.json has this node_id", wrong(stale)),
    ("Compare topology and addresses", seen(lambda view: view["answers"][IDS[1]]["state"].update(identity=IDS[2]))),
    ("east-db2 was not read", answered("east-db2", node_ids=None)),
    ("east-db2 holds the data of %s" % IDS[2], answered("east-db2", node_ids=[IDS[2]])),
    ("has the topology ffffffffffff..", seen(lambda view: view["answers"][IDS[1]]["state"].update(current=OTHER))),
]


def refuses(module, words, look):
    verdict = look(module)
    return verdict["result"] == "refused" and words in " ".join([verdict["reason"], *verdict.get("problems", [])])


@pytest.mark.parametrize("words, look", PICTURES, ids=[words for words, _look in PICTURES])
def test_each_picture_is_refused_and_nothing_is_planned(words, look):
    assert refuses(storage_restart, words, look)
    assert not look(storage_restart).get("waves")


# -- mutations -------------------------------------------------------------------------------------------------------


def is_refusal(statement):
    """``return refuse(...)``, ``return`` of a refusal of another function, or a sentence that is added to a list."""
    if isinstance(statement, ast.Return):
        values = statement.value.elts if isinstance(statement.value, ast.Tuple) else [statement.value]
        if any(isinstance(value, ast.Call) and getattr(value.func, "id", getattr(value.func, "attr", "")) in (
                "refuse", "_refuse") for value in values):
            return True
        value = statement.value
        return isinstance(value, ast.Name) and value.id in ("refusal", "mine", "unknown") or isinstance(
            value, ast.List) and bool(value.elts)
    if isinstance(statement, ast.AugAssign):
        return getattr(statement.target, "id", "") == "found"
    call = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(call, ast.Call) and ast.unparse(call.func) == "found.append"


def refusals(tree, names):
    """[(list of statements, position)] of the refusals below an ``if`` or ``for`` of these functions, and of those that
    add to a list."""
    found = []
    for function in tree.body:
        if not isinstance(function, ast.FunctionDef) or function.name not in names:
            continue
        for node in ast.walk(function):
            for key in ("body", "orelse", "handlers"):
                block = getattr(node, key, None)
                if not isinstance(block, list) or isinstance(node, ast.FunctionDef) and node is not function:
                    continue  # a function within only makes the refusal
                found += [(block, at) for at, statement in enumerate(block) if is_refusal(statement)]
    return found


def mutants():
    """(module, line, its text, edition of the module without that refusal)."""
    for module, names in FUNCTIONS.items():
        source = inspect.getsource(module)
        for number in range(len(refusals(ast.parse(source), names))):
            tree = ast.parse(source)
            block, at = refusals(tree, names)[number]
            line, block[at] = block[at].lineno, ast.copy_location(ast.Pass(), block[at])
            edition = types.ModuleType(module.__name__)
            edition.__file__ = module.__file__
            exec(compile(tree, module.__file__, "exec"), edition.__dict__)
            yield module, line, source.splitlines()[line - 1].strip(), edition


MUTANTS = list(mutants())


def test_there_are_as_many_refusals_as_the_plan_has():
    """Whoever takes the search above apart notices."""
    assert len(MUTANTS) >= 20


@pytest.mark.parametrize("module, line, text, edition", MUTANTS, ids=[
    "%s:%d" % (module.__name__.rsplit(".", 1)[1], line) for module, line, _text, _edition in MUTANTS])
def test_a_refusal_that_is_taken_out_is_noticed(module, line, text, edition, monkeypatch):
    asked = edition if module is storage_restart else storage_restart
    if module is storage_plan:
        monkeypatch.setattr(storage_restart, "storage_plan", edition)
    for words, look in PICTURES:
        try:
            if not refuses(asked, words, look):
                return
        except (AttributeError, KeyError, NameError, TypeError, StopIteration, ValueError):
            return  # it went on with what it does not have
    pytest.fail("nothing notices that %s, line %d is taken out: %s" % (module.__name__, line, text))


# -- the gates of the cluster, as the plan asks them -----------------------------------------------------------------


@pytest.mark.parametrize("gate_id", [name for name in irondb_gate.GATES if name != "not_back"])  # of a wait alone
def test_a_gate_of_the_cluster_that_is_forced_open_lets_the_plan_through(gate_id, monkeypatch):
    faults = [(named, change) for name, node, named, change in FAULTS if name == gate_id and node is None]
    assert faults, "no picture shows that the gate %s stops a plan" % gate_id
    for is_open in (False, True):
        if is_open:
            monkeypatch.setitem(irondb_gate.GATES, gate_id, lambda _view: [])
            monkeypatch.setattr(storage_plan, "identity_problems", lambda *_more: [])  # it asks who answers, too
        for named, change in faults:
            platform = Platform()
            change(platform.views["east"])
            verdict = decide(storage_restart, platform)
            assert verdict["result"] == ("proceed" if is_open else "refused"), (gate_id, verdict["reason"])
            if not is_open:
                assert not verdict.get("waves")
                assert named is None or "db%d" % (named + 1) in verdict["reason"]


def test_the_platform_of_the_pictures_is_in_order():
    assert decide(storage_restart, Platform())["result"] == "proceed"
    assert topology.digest(GIVEN) == Platform().views["east"]["digest"]
