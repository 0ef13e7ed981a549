# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import os

import pytest
import yaml

from ansible_collections.circonus.inside.plugins.module_utils.site_file import canonical_sha256
from ansible_collections.circonus.inside.plugins.plugin_utils import catalogue, failover, operations

CHAINS = yaml.safe_load(open(os.path.join(catalogue.ROLES, "service", "vars", "main.yml"), encoding="utf-8"))[
    "service_dependants"
]
ORDER = {"app1": 1, "app3": 1, "app2": 3, "store1": 6, "store2": 6}
RUN = {"controller": "noc/0/1/1"}
UP = {"active": "active", "enabled": "enabled", "exists": True, "load": "loaded"}
DOWN = {"active": "inactive", "enabled": "disabled", "exists": True, "load": "loaded"}


def raw(site, active=True, two=True):
    other = "west" if site == "east" else "east"
    primary = site if active else other
    machines = {
        "%s-%s" % (name, host): {"ip_address": "192.0.2.%d" % number}
        for number, (name, host) in enumerate([(n, h) for n in ("east", "west") for h in ORDER], 1)
    }
    document = {
        "machinfo": machines,
        "svclist": {
            "web_db": {
                "_machlist": ["east-app1", "east-app3", "west-app1", "west-app3"],
                "master": primary + "-app1",
                "connect_host": site + "-app1",
            },
            "ca": {"_machlist": [site + "-app1"], "primary": primary + "-app1"},
            "mq": {"_machlist": [site + "-app1", site + "-app2"]},
            "fault_detection": {"_machlist": [site + "-app1"]},
            "notification": {"_machlist": [site + "-app2"]},
            "hub": {"_machlist": [site + "-app3"]},
            "web_frontend": {"_machlist": [site + "-app1"]},
            "stratcon": {"_machlist": [site + "-app3"]},
            "api": {"_machlist": [site + "-app2"]},
            "caql_broker": {"_machlist": ["east-app2", "west-app2"]},
            "data_storage": {"_machlist": [site + "-store1", site + "-store2"]},
        },
    }
    if two:
        document["active_datacenter"] = active
    return document


def platform(two=True):
    sites = {
        name: {"raw": raw(name, name == "east", two), "hosts": ["%s-%s" % (name, host) for host in ORDER], "file": name}
        for name in ("east", "west")
    }
    probes = {}
    for name, site in sites.items():
        for host in site["hosts"]:
            units = {}
            for role in failover.roles_of(sites, host):
                passive = name == "west" and role in failover.ALERTING_ROLES + ("ca",)
                for unit in catalogue.unit_names(role):
                    units[unit] = dict(DOWN if passive else UP)
            for gone in ("circonus-grover_queue", "circonus-grover-queue", "circonus-ernie"):
                units.pop(gone, None)
            probes[host] = {
                "units": units,
                "site": {"present": True, "sha256": canonical_sha256(site["raw"])},
                "killswitch": False,
                "lock": {},
                "clock": 100.0,
            }
            if host.endswith(("app1", "app3")):
                probes[host]["web_db"] = {"running": True, "in_recovery": host != "east-app1"}
    return sites, probes


def situation(sites, probes):
    units = {name: catalogue.unit_names(name) for name in catalogue.names()}
    return failover.Situation(sites, probes, units)


def order_of(sites):
    return {host: ORDER[host.split("-")[1]] for site in sites.values() for host in site["hosts"]}


class TestHooperStages:
    def test_primary_then_the_source_of_the_standby_site_then_the_rest(self):
        sites, unused = platform()
        stages = operations.hooper_stages(sites, order_of(sites), "maintenance")
        assert stages == [
            {"stage": 1, "waves": [["east-app1"], ["west-app1"], ["east-app3", "west-app3"]]},
            {"stage": 3, "waves": [["east-app2", "west-app2"]]},
            {"stage": 6, "waves": [["east-store1", "west-store1"], ["east-store2", "west-store2"]]},
        ]

    def test_brokers_of_one_cluster_are_not_updated_together(self):
        sites, unused = platform()
        stages = operations.hooper_stages(sites, order_of(sites), "full")
        assert stages[1] == {"stage": 3, "waves": [["east-app2"], ["west-app2"]]}

    def test_ca_primary_first(self):
        sites = {"one": {"raw": {"svclist": {"ca": {"_machlist": ["a", "b"], "primary": "b"}}}, "hosts": ["a", "b"]}}
        assert operations.hooper_stages(sites, {"a": 2, "b": 2}, "maintenance")[0]["waves"] == [["b"], ["a"]]

    def test_the_first_database_is_the_primary_when_none_is_named(self):
        sites = {"one": {"raw": {"svclist": {"web_db": {"_machlist": ["b", "a"]}}}, "hosts": ["a", "b"]}}
        assert operations.hooper_stages(sites, {"a": 1, "b": 1}, "maintenance")[0]["waves"] == [["b"], ["a"]]


def decide_hooper(sites, probes, order=None, **parameters):
    params = dict({"hooper_run_mode": "maintenance"}, **parameters)
    order = order_of(sites) if order is None else order
    return operations.hooper_verdict(situation(sites, probes), order, params, RUN, [])


class TestHooperVerdict:
    def test_proceeds_with_a_plan(self):
        verdict = decide_hooper(*platform())
        assert verdict["result"] == "proceed"
        assert verdict["plan"][0] == "Stage 1 (web_db): east-app1, then west-app1, then east-app3 and west-app3"
        assert verdict["lock_hosts"] == ["east-app1", "east-app3", "west-app1", "west-app3"]

    def test_a_host_without_answer_stops_it_before_the_start(self):
        sites, probes = platform()
        probes["west-store2"] = {"reachable": False, "msg": "timed out"}
        verdict = decide_hooper(sites, probes)
        assert verdict["result"] == "refused" and "west-store2 does not answer (timed out)" in verdict["reason"]

    def test_a_limited_run_does_not_ask_the_others(self):
        sites, probes = platform()
        probes["west-store2"] = {"reachable": False, "msg": "timed out"}
        verdict = decide_hooper(sites, probes, {"east-app2": 3})
        assert verdict["result"] == "proceed" and verdict["lock_hosts"] == ["east-app1"]

    @pytest.mark.parametrize(
        "change, words",
        [
            ({"site": {"present": True, "sha256": "0"}}, "differs"),
            ({"site": {"present": False, "error": "missing"}}, "has no site.json"),
            ({"killswitch": True}, "killswitch"),
            (
                {
                    "lock": {
                        "state": "held",
                        "run_id": "r9",
                        "procedure": "datacenter_failover",
                        "owner": "bob",
                        "expires": 999,
                        "controller": "other/1/1/1",
                    }
                },
                "circonus_lock_break=r9",
            ),
        ],
    )
    def test_refuses_in_one_line(self, change, words):
        sites, probes = platform()
        probes["east-app1"].update(change)
        verdict = decide_hooper(sites, probes)
        assert verdict["result"] == "refused" and words in verdict["reason"] and "\n" not in verdict["reason"]

    def test_a_killswitch_may_be_left_alone(self):
        sites, probes = platform()
        probes["east-app1"]["killswitch"] = True
        assert decide_hooper(sites, probes, hooper_run_allow_killswitch=True)["result"] == "proceed"

    def test_no_host_is_refused(self):
        assert decide_hooper(*platform(), order={})["result"] == "refused"


class TestHooperOutcome:
    def answer(self, **levels):
        return {"rc": 0, "summary": levels, "messages": [], "again": bool(levels.get("WARNING"))}

    def test_a_warning_that_stays_is_a_failure(self):
        answers = {"a": self.answer(WARNING=["mq is not up."]), "b": self.answer(NOTICE=["later"], INFO=["tidy"])}
        outcome = operations.hooper_outcome(answers, False)
        assert outcome["problem"].startswith("Hooper still warns after its last run on a: mq is not up.")
        assert outcome["warnings"] == ["b: NOTICE: later"] and outcome["facts"]["a"]["rc"] == 0
        assert operations.hooper_pending(answers) == ["a"]

    def test_in_check_mode_it_is_only_told(self):
        outcome = operations.hooper_outcome({"a": self.answer(WARNING=["mq"])}, True)
        assert outcome["problem"] is None and outcome["warnings"] == ["a: WARNING: mq"]


def decide_restart(sites, probes, of="web_db", **parameters):
    params = dict({"service_restart_dependents_of": of}, **parameters)
    return operations.restart_verdict(situation(sites, probes), catalogue.load(), CHAINS, params, RUN)


def order(verdict):
    return [(item["role"], item["host"]) for item in verdict["restarts"]]


class TestRestartVerdict:
    def test_later_edition_restarts_notification_of_the_active_site(self):
        verdict = decide_restart(*platform())
        assert verdict["result"] == "proceed" and verdict["edition"] == "later"
        assert order(verdict) == [("notification", "east-app2")]
        assert verdict["plan"][1:] == [
            "notification on west-app2 is left alone: it is kept stopped in the passive datacenter."
        ]

    def test_2019_edition_follows_the_chain_and_skips_what_is_not_there(self):
        verdict = decide_restart(*platform(two=False), circonus_edition="2019")
        assert order(verdict) == [("fault_detection", "east-app1"), ("notification", "east-app2"), ("ca", "east-app1")]
        assert "hub on east-app3 is left alone: it is not installed." in verdict["plan"]
        assert "ca on west-app1 is left alone: it is switched off on this host." in verdict["plan"]

    def test_mq_chain_in_order_active_site_first(self):
        verdict = decide_restart(*platform(), of="mq", circonus_edition="2019")
        assert order(verdict) == [
            ("stratcon", "east-app3"),
            ("stratcon", "west-app3"),
            ("fault_detection", "east-app1"),
            ("notification", "east-app2"),
            ("web_frontend", "east-app1"),
            ("web_frontend", "west-app1"),
            ("api", "east-app2"),
            ("api", "west-app2"),
        ]
        assert [item["only"] for item in verdict["restarts"]][4] == ["http"]

    def test_one_site_only(self):
        verdict = decide_restart(*platform(), of="mq", circonus_edition="2019", service_restart_dependents_site="west")
        assert {host for unused, host in order(verdict)} == {"west-app1", "west-app2", "west-app3"}
        assert decide_restart(*platform(), service_restart_dependents_site="north")["result"] == "refused"

    def test_grover_queue_where_it_still_runs(self):
        sites, probes = platform()
        probes["east-app3"]["units"]["circonus-grover_queue"] = dict(UP)
        verdict = decide_restart(sites, probes, circonus_edition="2019")
        assert ("hub", "east-app3") in order(verdict) and order(verdict)[-1] == ("ca", "east-app1")

    def test_later_mq_chain_is_empty(self):
        verdict = decide_restart(*platform(), of="mq")
        assert verdict["result"] == "nothing_to_do" and verdict["restarts"] == []

    def test_alerting_that_runs_in_the_passive_site_is_told_and_left(self):
        sites, probes = platform()
        probes["west-app2"]["units"]["circonus-bert"] = dict(UP)
        verdict = decide_restart(sites, probes)
        assert ("notification", "west-app2") not in order(verdict)
        assert "must not" in verdict["warnings"][0]

    @pytest.mark.parametrize(
        "host, facts, words",
        [
            ("east-app1", {"running": False}, "No database accepts writes"),
            ("west-app1", {"running": True, "in_recovery": False}, "at the same time"),
        ],
    )
    def test_refuses_without_exactly_one_primary(self, host, facts, words):
        sites, probes = platform()
        probes[host]["web_db"] = facts
        verdict = decide_restart(sites, probes)
        assert verdict["result"] == "refused" and words in verdict["reason"]

    def test_says_when_the_primary_only_does_not_answer(self):
        sites, probes = platform()
        probes["east-app1"] = {"reachable": False, "msg": "timed out"}
        assert decide_restart(sites, probes)["reason"].startswith("east-app1 does not answer (timed out)")

    def test_refuses_when_site_json_names_another_site(self):
        sites, probes = platform()
        probes["east-app1"]["web_db"] = {"running": True, "in_recovery": True}
        probes["west-app1"]["web_db"] = {"running": True, "in_recovery": False}
        assert "witnesses do not agree" in decide_restart(sites, probes)["reason"]

    def test_refuses_when_the_queue_itself_is_down(self):
        sites, probes = platform()
        for host in ("east-app1", "east-app2"):
            for unit in catalogue.unit_names("mq"):
                probes[host]["units"][unit] = dict(DOWN)
        verdict = decide_restart(sites, probes, of="mq", circonus_edition="2019")
        assert verdict["result"] == "refused" and "mq runs on no host of east" in verdict["reason"]

    def test_refuses_when_a_host_of_the_chain_does_not_answer(self):
        sites, probes = platform()
        probes["east-app2"] = {"reachable": False, "msg": "timed out"}
        verdict = decide_restart(sites, probes)
        assert verdict["result"] == "refused" and "east-app2 does not answer" in verdict["reason"]


def nodes_of(sites):
    """Hosts of a play over everything, with a broker."""
    nodes = {
        host: {"roles": failover.roles_of(sites, host), "site": name}
        for name, site in sites.items()
        for host in site["hosts"]
    }
    nodes["broker1"] = {"roles": ["broker"], "site": "east"}
    return nodes


def operate(sites, probes, role="notification", verb="check", more=None, **parameters):
    params = {
        "service_operate_role": role,
        "service_operate_verb": verb,
        "service_operate_only": [],
        "service_operate_limit": [],
        "service_operate_timeout_s": 60,
        **parameters,
    }
    probes.setdefault("broker1", {"reachable": True})
    entries = dict(catalogue.load(), redis={"name": "redis", "units": [{"id": "redis", "candidates": ["x"]}]})
    return operations.operate_verdict(
        situation(sites, probes), entries, nodes_of(sites), ["west"], params, RUN, more or {}
    )


class TestOperateVerdict:
    def test_active_site_first_and_no_lock_to_look(self):
        verdict = operate(*platform())
        assert [step["host"] for step in verdict["steps"]] == ["east-app2", "west-app2"]
        assert [step["args"]["standby"] for step in verdict["steps"]] == [False, True]
        assert verdict["changes"] is False and verdict["lock_hosts"] == []

    def test_a_start_takes_the_lock_and_warns_of_the_passive_site(self):
        verdict = operate(*platform(), verb="start")
        assert verdict["changes"] and verdict["lock_hosts"] == ["east-app1", "east-app3", "west-app1", "west-app3"]
        assert verdict["warnings"] == ["notification on west-app2 is kept stopped, its datacenter is passive."]

    @pytest.mark.parametrize("verb", ["start", "restart"])
    def test_a_second_ca_is_never_started(self, verb):
        sites, probes = platform()
        for name in ("east", "west"):
            ca = sites[name]["raw"]["svclist"].setdefault("ca", {})
            ca.update(_machlist=["east-app1", "west-app1"], primary="east-app1")
        steps = operate(sites, probes, "ca", verb, circonus_confirm="ca")["steps"]
        kept = {step["host"]: step["args"]["keep_stopped"] for step in steps}
        assert kept == {"east-app1": [], "west-app1": ["ca_processor"]}

    def test_converge_takes_the_hosts_in_order_and_needs_no_word(self):
        verdict = operate(*platform(), verb="converge")
        assert (verdict["result"], verdict["changes"], verdict["steps"]) == ("proceed", True, [])
        assert verdict["converge"] == ["east-app2", "west-app2"] and len(verdict["plan"]) == 2
        assert operate(*platform(), verb="start")["converge"] == []

    def test_converge_of_some_units_is_refused(self):
        verdict = operate(*platform(), verb="converge", service_operate_only=["bert"])
        assert verdict["result"] == "refused" and "the whole role, found service_operate_only bert" in verdict["reason"]

    def test_converge_refuses_a_pin_before_any_host_is_touched(self):
        verdict = operate(*platform(), verb="converge", more={"pins": {"west-app2": "2019-07-01"}})
        assert verdict["reason"].startswith("west-app2: Expected circonus_repo_pin to be 2019-07-29 or later")
        for more in ({"pins": {"east-app1": "2019-07-01"}}, {"pins": {"west-app2": None}}):
            assert operate(*platform(), verb="converge", more=more)["result"] == "proceed"

    @pytest.mark.parametrize("verb", ["stop", "restart"])
    @pytest.mark.parametrize("confirm", [None, "mq"])
    def test_a_disruption_wants_the_name_of_the_role(self, verb, confirm):
        verdict = operate(*platform(), verb=verb, circonus_confirm=confirm)
        assert verdict["result"] == "refused" and "circonus_confirm must name the role" in verdict["reason"]
        assert operate(*platform(), verb=verb, circonus_confirm="notification")["result"] == "proceed"

    def test_redis_is_restarted_freely_and_stopped_with_a_word(self):
        sites, probes = platform()
        sites["east"]["raw"]["svclist"]["redis"] = {"_machlist": ["east-app2"]}
        assert operate(sites, probes, "redis", "restart")["result"] == "proceed"
        assert operate(sites, probes, "redis", "stop")["result"] == "refused"

    def test_a_role_that_nobody_has_is_absent_and_no_failure(self):
        verdict = operate(*platform(), role="redis", verb="restart")
        assert verdict["result"] == "nothing_to_do" and "redis is absent" in verdict["reason"]

    @pytest.mark.parametrize(
        "parameters, words",
        [
            ({"role": "nonsense"}, "service_operate_role must be one of"),
            ({"service_operate_only": ["beam"]}, "service_operate_only must be of bert"),
            ({"service_operate_limit": ["south"]}, "found south"),
            ({"service_operate_limit": ["east-app1"]}, "found east-app1"),
        ],
    )
    def test_refuses_what_does_not_exist(self, parameters, words):
        verdict = operate(*platform(), **parameters)
        assert verdict["result"] == "refused" and words in verdict["reason"]

    def test_a_limit_of_hosts_and_sites(self):
        assert [s["host"] for s in operate(*platform(), service_operate_limit=["west"])["steps"]] == ["west-app2"]
        assert [s["host"] for s in operate(*platform(), service_operate_limit=["east-app2"])["steps"]] == ["east-app2"]

    def test_a_silent_host_stops_it_unless_left_out(self):
        sites, probes = platform()
        probes["west-app2"] = {"reachable": False, "msg": "timed out"}
        assert "west-app2 does not answer (timed out)" in operate(sites, probes)["reason"]
        assert operate(sites, probes, service_operate_limit=["east"])["result"] == "proceed"

    def test_a_cluster_is_not_taken_down_node_by_node(self):
        verdict = operate(*platform(), role="mq", verb="restart", circonus_confirm="mq")
        assert verdict["result"] == "refused" and "service_restart.yml" in verdict["reason"]
        for parameters in ({"service_operate_limit": ["east-app1"]}, {"service_operate_only": ["fq"]}):
            assert operate(*platform(), role="mq", verb="restart", circonus_confirm="mq", **parameters)["plan"]

    def test_a_held_lock_stops_a_change_only(self):
        sites, probes = platform()
        probes["east-app1"]["lock"] = {"state": "held", "run_id": "r9", "procedure": "x", "controller": "a/b/1/2"}
        assert operate(sites, probes)["result"] == "proceed"
        assert "Another procedure" in operate(sites, probes, verb="start")["reason"]

    def test_standby_databases_before_the_primary(self):
        verdict = operate(*platform(), role="web_db", verb="restart", circonus_confirm="web_db")
        assert [step["host"] for step in verdict["steps"]][-1] == "east-app1"

    def test_what_the_inventory_says(self):
        more = {"keep_stopped": {"east-app2": ["bert"]}, "release": "2019-11-04"}
        args = operate(*platform(), more=more)["steps"][0]["args"]
        assert args["keep_stopped"] == ["bert"] and args["release"] == "2019-11-04" and args["host"] == "east-app2"

    def test_collect_puts_the_evidence_into_the_report(self):
        step = operate(*platform(), verb="collect")["steps"][0]
        assert step["module"] == "circonus.inside.service_info" and step["facts"]["logs on east-app2"] == "logs"


class TestOperateOutcome:
    UNIT = {"id": "bert", "unit": "circonus-bert", "active": "active", "enabled": "enabled", "up": True, "missing": ""}
    DOWN = dict(UNIT, active="failed", up=False, missing="is failed (failed), expected active")

    def outcome(self, here, there, **more):
        verdict = operate(*platform(), more=more)
        return operations.operate_outcome(verdict, [{"msg": "a", "units": [here]}, {"msg": "b", "units": [there]}])

    def test_all_as_it_should_be(self):
        outcome = self.outcome(self.UNIT, self.DOWN)
        assert outcome == {"facts": {"east-app2": "a", "west-app2": "b"}, "problem": None}

    def test_names_everything(self):
        problem = self.outcome(self.DOWN, self.UNIT)["problem"]
        assert "circonus-bert on east-app2 is failed" in problem
        assert "circonus-bert on west-app2 runs in a passive datacenter" in problem

    def test_a_check_of_mq_looks_at_each_cluster(self):
        verdict = operate(*platform(), role="mq")
        looks = [step for step in verdict["steps"] if step["module"] == "circonus.inside.mq_info"]
        assert [(look["host"], look["args"]["expected_nodes"]) for look in looks] == [
            ("east-app1", 2),
            ("west-app1", 2),
        ]
        answers = [{"msg": "a", "units": []}] * 4 + [{"problem": ""}, {"problem": "RabbitMQ is partitioned"}]
        outcome = operations.operate_outcome(verdict, answers)
        assert "RabbitMQ is partitioned, as west-app1 sees it" in outcome["problem"]
        assert set(outcome["facts"].values()) == {"a"}

    def test_what_is_kept_stopped_may_be_down(self):
        assert self.outcome(self.DOWN, self.DOWN, keep_stopped={"east-app2": ["bert"]})["problem"] is None


def role_restart(sites, probes, role="mq", **parameters):
    params = {
        "service_restart_role": role,
        "service_restart_only": [],
        "service_restart_limit": [],
        "service_restart_dependents": True,
        "service_restart_timeout_s": 60,
        "circonus_edition": "2019",
        "circonus_confirm": role,
        **parameters,
    }
    return operations.role_restart_verdict(
        situation(sites, probes), catalogue.load(), CHAINS, nodes_of(sites), ["west"], params, RUN, {}
    )


class TestRoleRestartVerdict:
    def test_rabbitmq_rolls_per_cluster_and_its_dependants_follow(self):
        verdict = role_restart(*platform())
        assert verdict["rolling"] == [
            {"hosts": ["east-app1", "east-app2"], "nodes": 2},
            {"hosts": ["west-app1", "west-app2"], "nodes": 2},
        ]
        assert verdict["steps"] == []
        assert [item["role"] for item in verdict["restarts"] if item["host"].startswith("east")] == [
            "stratcon",
            "fault_detection",
            "notification",
            "web_frontend",
            "api",
        ]

    def test_one_node_still_belongs_to_its_cluster(self):
        verdict = role_restart(*platform(), service_restart_limit=["west-app2"])
        assert verdict["rolling"] == [{"hosts": ["west-app2"], "nodes": 2}]
        assert {item["host"].split("-")[0] for item in verdict["restarts"]} == {"west"}

    def test_fq_only_by_name_and_not_together(self):
        verdict = role_restart(*platform(), service_restart_only=["fq"])
        assert verdict["rolling"] == [] and verdict["steps"][0]["args"]["only"] == ["fq"]
        assert "different ways" in role_restart(*platform(), service_restart_only=["fq", "epmd"])["reason"]

    def test_the_chain_follows_the_primary_database_only(self):
        verdict = role_restart(*platform(), role="web_db")
        assert [step["host"] for step in verdict["steps"]][-1] == "east-app1" and verdict["restarts"]
        verdict = role_restart(*platform(), role="web_db", service_restart_limit=["west"])
        assert verdict["restarts"] == [] and "no primary database is among the hosts" in verdict["plan"][-1]

    def test_without_dependants(self):
        assert role_restart(*platform(), service_restart_dependents=False)["restarts"] == []
        assert role_restart(*platform(), role="hub")["restarts"] == []

    def test_a_dependant_without_an_answer_stops_it_before_anything(self):
        sites, probes = platform()
        probes["east-app3"] = {"reachable": False, "msg": "timed out"}
        verdict = role_restart(sites, probes)
        assert verdict["result"] == "refused" and "stratcon on it is part of the chain" in verdict["reason"]

    @pytest.mark.parametrize(
        "parameters, words",
        [
            ({"circonus_confirm": None}, "circonus_confirm must name the role"),
            ({"role": "nonsense"}, "service_restart_role must be one of"),
            ({"service_restart_only": ["beam"]}, "service_restart_only must be of epmd"),
            ({"service_restart_limit": ["south"]}, "service_restart_limit must name"),
        ],
    )
    def test_refuses(self, parameters, words):
        verdict = role_restart(*platform(), **parameters)
        assert verdict["result"] == "refused" and words in verdict["reason"]

    def test_later_edition_has_no_dependants_of_mq(self):
        assert role_restart(*platform(), circonus_edition="later")["restarts"] == []


class TestSiteVerdict:
    def verdict(self, sites, probes, nodes=None):
        probes.setdefault("broker1", {"reachable": True})
        nodes = nodes_of(sites) if nodes is None else nodes
        return operations.site_verdict(situation(sites, probes), nodes, ["web_db", "redis", "broker"], {}, RUN)

    def test_a_line_for_each_role_that_somebody_has(self):
        verdict = self.verdict(*platform())
        assert verdict["plan"] == [
            "Converge web_db on east-app1, east-app3, west-app1, west-app3",
            "Converge broker on broker1",
        ]
        assert verdict["lock_hosts"] == ["east-app1", "east-app3", "west-app1", "west-app3"]

    def test_a_limited_run_still_locks_the_platform(self):
        nodes = {"east-app2": {"roles": ["mq"], "site": "east"}}
        assert self.verdict(*platform(), nodes=nodes)["lock_hosts"] == ["east-app1"]

    def test_refusals(self):
        sites, probes = platform()
        assert self.verdict(sites, probes, {})["result"] == "refused"
        probes["west-store1"] = {"reachable": False, "msg": "timed out"}
        assert "west-store1 does not answer (timed out)" in self.verdict(sites, probes)["reason"]


class TestPinProblem:
    """What is refused on the controller, where one host knows the release and others do not."""

    def problem(self, pins, **releases):
        sites, probes = platform()
        for host, release in releases.items():
            probes[host.replace("_", "-")]["release"] = release
        return operations.pin_problem(situation(sites, probes), pins)

    def test_a_downgrade_on_a_host_that_does_not_know_what_runs(self):
        problem = self.problem({"east-app3": "2021-11-01"}, east_app2="2021-11-15")
        assert problem == (
            "east-app3: circonus_repo_pin 2021-11-01 is earlier than the release 2021-11-15 that runs on east-app2, "
            "and a downgrade is not supported. Pin that release or a later one; nothing was changed."
        )

    def test_the_newest_release_counts_in_a_half_done_update(self):
        releases = {"east_app2": "2021-11-01", "west_app2": "2021-11-15"}
        assert "runs on west-app2" in self.problem({"east-app3": "2021-11-01"}, **releases)
        assert self.problem({"east-app3": "2021-11-15"}, **releases) is None

    def test_nothing_is_pinned_or_nothing_is_known(self):
        assert self.problem({}) is None
        assert self.problem({"east-app3": None, "east-app1": "none"}, east_app2="2021-11-15") is None
        assert self.problem({"east-app3": "2021-11-01"}) is None

    def test_converging_the_site_asks_it_too(self):
        sites, probes = platform()
        arguments = (situation(sites, probes), nodes_of(sites), ["ca"], {}, RUN)
        probes.setdefault("broker1", {"reachable": True})
        assert operations.site_verdict(*arguments)["result"] == "proceed"
        verdict = operations.site_verdict(*arguments, {"east-app3": "2019-11-05"})
        assert verdict["result"] == "refused" and "No release has the date 2019-11-05" in verdict["reason"]
