# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decisions of the failovers, on answers as the hosts of the lab give them."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
from ansible_collections.circonus.inside.plugins.module_utils.site_file import canonical_sha256
from ansible_collections.circonus.inside.plugins.plugin_utils import failover, site_model

LAB = Path(__file__).resolve().parents[4] / "inventories" / "lab"
UNITS = {
    "fault_detection": ["circonus-fault-detection", "circonus-ernie"],
    "notification": ["circonus-bert"],
    "mq": ["circonus-epmd", "circonus-rabbitmq"],
    "web_frontend": ["circonus-http"],
    "ca": ["circonus-ca_processor"],
}
UPSTREAMS = {"east-app1": None, "east-app3": "east-app1", "west-app1": "east-app1", "west-app3": "west-app1"}
PARAMS = {
    "datacenter_failover_to": "west",
    "circonus_confirm": "west",
    "datacenter_failover_mode": "planned",
    "circonus_clients": "ip_alias",
    "circonus_client_address": "10.89.103.200/24",
    "web_db_failover_max_lag_bytes": 16 * 1024 * 1024,
    "web_db_failover_max_transaction_s": 60,
    "web_db_failover_min_free_bytes": 1024,
    "ca_failover_margin": 1000,
}
RUN = {"run_id": "now", "controller": "ops/00000000/1/1", "forks": 10}


def make_sites():
    """The lab's two sites."""
    raw = {name: json.loads((LAB / ("site.%s.json" % name)).read_text()) for name in ("east", "west")}
    return {
        name: {
            "raw": raw[name],
            "file": "site.%s.json" % name,
            "hosts": ["%s-%s" % (name, host) for host in ("app1", "app2", "app3", "store1", "store2", "store3")],
        }
        for name in raw
    }


def unit(active):
    """State of a unit as the reader gives it."""
    return {"load": "loaded", "active": "active" if active else "inactive", "exists": True}


class Platform:
    """Answers of a healthy platform; tests break one thing."""

    def __init__(self, active="east"):
        self.sites = make_sites()
        raw = {name: site["raw"] for name, site in self.sites.items()}
        self.versions = {name: site_model.flip(raw, name) for name in raw}
        self.active = active
        other = "west" if active == "east" else "east"
        self.probes = {}
        upstream = {
            "%s-app1" % active: None,
            "%s-app3" % active: "%s-app1" % active,
            "%s-app1" % other: "%s-app1" % active,
            "%s-app3" % other: "%s-app1" % other,
        }
        for site in self.sites:
            for host in self.sites[site]["hosts"]:
                self.probes[host] = self.answer(site, host, upstream)
        self.params = dict(PARAMS, datacenter_failover_to=other, circonus_confirm=other)

    def answer(self, site, host, upstream):
        """One host."""
        roles = failover.roles_of(self.sites, host)
        file = self.versions[self.active][site]
        probe = {
            "reachable": True,
            "clock": 1000.0,
            "lock": {},
            "addresses": [],
            "ca": {"present": True, "initialised": True},
            "site": {"sha256": canonical_sha256(file), "active_datacenter": file["active_datacenter"]},
            "status": {"state": "ACTIVE" if site == self.active else "STANDBY"},
            "units": {
                name: unit(role not in failover.ALERTING_ROLES or site == self.active)
                for role, names in UNITS.items()
                if role in roles
                for name in names
            },
            "web_db": {},
        }
        if host in upstream:
            above = upstream[host]
            followers = [name for name, up in upstream.items() if up == host]
            probe["web_db"] = {
                "running": True,
                "in_recovery": above is not None,
                "timeline": 3,
                "system_identifier": "77",
                "free_bytes": 10**9,
                "lsn": {"receive": "0/5000000" if above else None, "replay": "0/5000000" if above else None},
                "receiver": {"status": "streaming", "upstream": failover.address(self.sites, above)} if above else {},
                "replicas": [{"application_name": name, "state": "streaming", "lag_bytes": 0} for name in followers],
                "long_transactions": [],
                "control": {"state": "in production"},
                "fence": None,
                "last_fence_row": None,
            }
            if above is None:
                probe["addresses"] = [{"interface": "svc0", "address": "10.89.103.200/24"}]
        return probe

    def db(self, host):
        """Database facts of a host, to break them."""
        return self.probes[host]["web_db"]

    def away(self, *hosts):
        """Hosts that do not answer."""
        for host in hosts:
            self.probes[host] = {"reachable": False, "msg": "timed out"}

    def known(self):
        """Digests of both versions of each file."""
        return {name: {canonical_sha256(version[name]) for version in self.versions.values()} for name in self.sites}

    def decide(self, findings=(), **params):
        """The verdict."""
        values = dict(self.params, **params)
        target = values["datacenter_failover_to"]
        flipped = self.versions.get(target) or self.versions["east"]
        return failover.datacenter_verdict(
            self.sites, flipped, self.known(), self.probes, values, RUN, UNITS, list(findings)
        )


@pytest.fixture
def platform():
    """East active, everything healthy."""
    return Platform()


def assert_refused(verdict, *words):
    """Refused in one line that holds the words."""
    assert verdict["result"] == "refused", verdict
    for word in words:
        assert word in verdict["reason"], verdict["reason"]
    assert "\n" not in verdict["reason"]


class TestDatacenterVerdictPlanned:
    """A healthy platform proceeds, everything else is refused."""

    def test_healthy_platform_proceeds(self, platform):
        verdict = platform.decide()
        assert verdict["result"] == "proceed", verdict
        assert (verdict["candidate"], verdict["old_primary"], verdict["promote"], verdict["switch"]) == (
            "west-app1",
            "east-app1",
            True,
            "together",
        )
        assert verdict["lock_hosts"] == sorted(verdict["lock_hosts"])
        assert [(i["host"], i["upstream"]) for i in verdict["rejoin"]] == [
            ("east-app1", "west-app1"),
            ("west-app3", "west-app1"),
            ("east-app3", "east-app1"),
        ]

    def test_already_active_has_nothing_to_do(self):
        verdict = Platform("west").decide(datacenter_failover_to="west", circonus_confirm="west")
        assert verdict["result"] == "nothing_to_do", verdict

    def test_refuses_wrong_confirmation(self, platform):
        assert_refused(platform.decide(circonus_confirm="east"), "circonus_confirm", "west")

    def test_refuses_missing_confirmation(self, platform):
        assert_refused(platform.decide(circonus_confirm=None), "circonus_confirm", "nothing")

    def test_refuses_unknown_site(self, platform):
        assert_refused(platform.decide(datacenter_failover_to="north"), "north", "east, west")

    def test_refuses_invalid_site_json(self, platform):
        finding = {"id": "M-07", "severity": "error", "path": "svclist.web_db.master", "message": "differs"}
        assert_refused(platform.decide([finding]), "M-07", "svclist.web_db.master")

    def test_warnings_of_the_validator_do_not_stop(self, platform):
        assert (
            platform.decide([{"id": "W-01", "severity": "warning", "path": "", "message": "x"}])["result"] == "proceed"
        )

    @pytest.mark.parametrize("host", ["east-store2", "west-app2"])
    def test_refuses_unreachable_host(self, platform, host):
        platform.away(host)
        assert_refused(platform.decide(), host)

    def test_refuses_two_primaries(self, platform):
        platform.db("west-app1")["in_recovery"] = False
        assert_refused(platform.decide(), "Two primaries", "east-app1", "west-app1")

    def test_refuses_lag_above_the_limit(self, platform):
        platform.db("east-app1")["replicas"][1]["lag_bytes"] = 48 * 1024 * 1024
        assert_refused(platform.decide(), "48 MiB", "limit 16 MiB", "web_db_failover_max_lag_bytes")

    def test_refuses_unknown_lag(self, platform):
        platform.db("east-app1")["replicas"][1]["lag_bytes"] = None
        assert_refused(platform.decide(), "unknown")

    def test_refuses_another_timeline(self, platform):
        platform.db("west-app1")["timeline"] = 2
        assert_refused(platform.decide(), "timeline 2", "timeline 3")

    def test_refuses_another_database(self, platform):
        platform.db("west-app1")["system_identifier"] = "78"
        assert_refused(platform.decide(), "another database")

    def test_refuses_detached_replica(self, platform):
        platform.db("east-app1")["replicas"] = []
        assert_refused(platform.decide(), "west-app1", "not attached")

    def test_refuses_replica_that_catches_up(self, platform):
        platform.db("east-app1")["replicas"][1]["state"] = "catchup"
        assert_refused(platform.decide(), "catchup")

    def test_refuses_candidate_that_is_down(self, platform):
        platform.db("west-app1")["running"] = False
        assert_refused(platform.decide(), "west-app1", "not running")

    def test_refuses_long_transaction(self, platform):
        platform.db("east-app1")["long_transactions"] = [{"pid": 9, "user": "web", "age_s": 300}]
        assert_refused(platform.decide(), "300 s", "pid 9")

    def test_refuses_full_disk(self, platform):
        platform.db("west-app1")["free_bytes"] = 10
        assert_refused(platform.decide(), "west-app1", "10 bytes")

    def test_refuses_held_lock(self, platform):
        platform.probes["west-app3"]["lock"] = {
            "state": "held",
            "run_id": "r1",
            "owner": "anna@b",
            "controller": "b/11111111/5/6",
            "procedure": "x",
            "expires": 2000,
        }
        assert_refused(platform.decide(), "anna@b", "r1", "west-app3", "circonus_lock_break=r1")

    def test_takes_over_an_expired_lock(self, platform):
        platform.probes["west-app3"]["lock"] = {
            "state": "held",
            "run_id": "r1",
            "controller": "b/11111111/5/6",
            "expires": 900,
        }
        assert platform.decide()["result"] == "proceed"

    def test_breaks_the_lock_of_a_dead_process_of_this_machine(self, platform):
        platform.probes["east-app1"]["lock"] = {
            "state": "held",
            "run_id": "r1",
            "controller": "ops/00000000/999999999/1",
            "expires": 2000,
        }
        verdict = platform.decide()
        assert (verdict["result"], verdict["lock_break"]) == ("proceed", "r1")

    def test_breaks_a_lock_that_the_operator_names(self, platform):
        platform.probes["east-app1"]["lock"] = {
            "state": "held",
            "run_id": "r1",
            "controller": "b/11111111/5/6",
            "expires": 2000,
        }
        assert platform.decide(circonus_lock_break="r1")["lock_break"] == "r1"

    def test_refuses_unknown_site_json_on_a_host(self, platform):
        platform.probes["west-store3"]["site"]["sha256"] = "0" * 64
        assert_refused(platform.decide(), "west-store3", "site_distribute.yml")

    def test_refuses_when_the_status_page_disagrees(self, platform):
        platform.probes["west-app1"]["status"] = {"state": "ACTIVE"}
        assert_refused(platform.decide(), "witnesses", "/status of west-app1 says ACTIVE")

    def test_refuses_when_the_status_page_is_silent(self, platform):
        platform.probes["east-app1"]["status"] = {"state": "unknown"}
        assert_refused(platform.decide(), "/status of east-app1 says unknown")

    def test_refuses_when_site_json_disagrees(self, platform):
        file = platform.versions["west"]["west"]
        platform.probes["west-app2"]["site"] = {"sha256": canonical_sha256(file), "active_datacenter": True}
        assert_refused(platform.decide(), "site.json on west-app2")

    def test_refuses_a_broken_queue_in_the_target(self, platform):
        platform.probes["west-app2"]["units"]["circonus-rabbitmq"] = unit(False)
        assert_refused(platform.decide(), "circonus-rabbitmq on west-app2")

    def test_refuses_alerting_that_runs_in_the_standby_site(self, platform):
        platform.probes["west-app2"]["units"]["circonus-bert"] = unit(True)
        assert_refused(platform.decide(), "notification", "twice")

    def test_refuses_a_missing_ca(self, platform):
        platform.probes["east-app1"]["ca"] = {"present": False}
        assert_refused(platform.decide(), "CA directory on east-app1")

    def test_copies_the_ca_from_the_host_that_ca_failover_moved_it_to(self, platform):
        section = platform.sites["east"]["raw"]["svclist"]["ca"]
        section.update(_machlist=["east-app1", "east-app2"], primary="east-app2")
        assert platform.decide()["ca_old"] == "east-app2"

    def test_refuses_a_primary_that_promotion_of_somebody_else_made(self, platform):
        other = Platform("west")
        for host in ("east-app1", "west-app1", "east-app3", "west-app3"):
            platform.probes[host]["web_db"] = copy.deepcopy(other.probes[host]["web_db"])
        assert_refused(platform.decide(), "witnesses do not agree")


class TestDatacenterVerdictResume:
    """An interrupted run is finished by the same command."""

    def test_fenced_and_not_promoted(self, platform):
        platform.db("east-app1").update(
            running=False,
            in_recovery=None,
            fence={"candidate": "west-app1", "run_id": "r0"},
            control={"state": "shut down"},
        )
        verdict = platform.decide()
        assert (verdict["result"], verdict["promote"], verdict["switch"]) == ("proceed", True, "together")

    def test_fenced_and_not_promoted_can_go_back(self, platform):
        platform.db("east-app1").update(
            running=False,
            in_recovery=None,
            fence={"candidate": "west-app1", "run_id": "r0"},
            control={"state": "shut down"},
        )
        verdict = platform.decide(datacenter_failover_to="east", circonus_confirm="east")
        assert (verdict["result"], verdict["switch"], verdict["candidate"]) == ("proceed", "abort", "east-app1")
        assert verdict["old_primary"] == "west-app1"

    def test_unclean_and_fenced_is_not_a_planned_resume(self, platform):
        platform.db("east-app1").update(
            running=False,
            in_recovery=None,
            fence={"candidate": "west-app1", "run_id": "r0"},
            control={"state": "in production"},
        )
        assert_refused(platform.decide(), "east-app1 is down", "unplanned")

    def test_promoted_and_nothing_else(self, platform):
        other = Platform("west")
        platform.probes["west-app1"]["web_db"] = dict(
            other.db("west-app1"), last_fence_row={"candidate": "west-app1", "state": "fenced"}
        )
        platform.db("east-app1").update(running=False, in_recovery=None, fence={"candidate": "west-app1"})
        verdict = platform.decide()
        assert (verdict["result"], verdict["promote"]) == ("proceed", False)

    @pytest.mark.parametrize("broken", ["site", "alert_old", "alert_new", "status", "alias", "follow"])
    def test_every_open_piece_of_work_is_seen(self, broken):
        platform = Platform("west")
        platform.params.update(datacenter_failover_to="west", circonus_confirm="west")
        platform.db("west-app1")["last_fence_row"] = {"candidate": "west-app1", "state": "fenced"}
        if broken == "site":
            platform.probes["east-store1"]["site"]["sha256"] = canonical_sha256(platform.versions["east"]["east"])
        elif broken == "alert_old":
            platform.probes["east-app2"]["units"]["circonus-bert"] = unit(True)
        elif broken == "alert_new":
            platform.probes["west-app1"]["units"] = dict(platform.probes["west-app1"]["units"])
            for name in UNITS["fault_detection"]:
                platform.probes["west-app1"]["units"][name] = unit(False)
        elif broken == "status":
            platform.probes["east-app1"]["status"] = {"state": "ACTIVE"}
        elif broken == "alias":
            platform.probes["east-app1"]["addresses"] = [{"interface": "svc0", "address": "10.89.103.200/24"}]
        else:
            platform.db("east-app3")["receiver"] = {}
        verdict = platform.decide()
        assert (verdict["result"], verdict["promote"]) == ("proceed", False), verdict


class TestDatacenterVerdictUnplanned:
    """The old site is gone."""

    @pytest.fixture
    def lost(self, platform):
        platform.away(*platform.sites["east"]["hosts"])
        platform.params["datacenter_failover_mode"] = "unplanned"
        platform.db("west-app1")["receiver"] = {"status": "stopped", "latest_end_lsn": "0/5000040"}
        return platform

    def test_refuses_without_acceptance_and_names_the_number(self, lost):
        assert_refused(lost.decide(), "east-app1", "cannot be reached", "datacenter_failover_accept_data_loss=64")

    def test_refuses_too_small_an_acceptance(self, lost):
        assert_refused(lost.decide(datacenter_failover_accept_data_loss=63), "accepted so far 63")

    @pytest.mark.parametrize("accepted", [64, 100000])
    def test_proceeds_with_acceptance(self, lost, accepted):
        verdict = lost.decide(datacenter_failover_accept_data_loss=accepted)
        assert (verdict["result"], verdict["switch"], verdict["rpo_bytes"]) == ("proceed", "promote_only", 64)
        assert any("east" in text for text in verdict["remaining"])

    def test_zero_measured_loss_still_needs_the_word_of_the_operator(self, lost):
        lost.db("west-app1")["receiver"] = {}
        assert_refused(lost.decide(), "datacenter_failover_accept_data_loss=0")

    def test_planned_mode_is_refused(self, lost):
        assert_refused(lost.decide(datacenter_failover_mode="planned"), "unplanned")

    def test_refuses_when_a_host_of_the_target_is_away_too(self, lost):
        lost.away("west-app2")
        assert_refused(lost.decide(datacenter_failover_accept_data_loss=64), "west-app2")

    def test_refuses_when_a_neighbour_has_received_more(self, lost):
        lost.db("west-app3")["lsn"] = {"receive": "0/6000000", "replay": "0/6000000"}
        assert_refused(lost.decide(datacenter_failover_accept_data_loss=10**9), "west-app3", "more than west-app1")

    def test_reachable_host_with_a_crashed_database_is_fenced_first(self, platform):
        platform.params["datacenter_failover_mode"] = "unplanned"
        platform.db("east-app1").update(
            running=False, in_recovery=None, control={"state": "in production", "checkpoint_lsn": "0/4000000"}
        )
        verdict = platform.decide(datacenter_failover_accept_data_loss=0)
        assert (verdict["result"], verdict["switch"]) == ("proceed", "fence_then_promote")

    def test_running_old_primary_is_moved_as_planned(self, platform):
        verdict = platform.decide(datacenter_failover_mode="unplanned")
        assert (verdict["result"], verdict["switch"]) == ("proceed", "together")


class TestCaTakeOver:
    """Whether the CA of the site that takes over goes on from a copy that may be too old."""

    @pytest.fixture
    def lost(self, platform):
        """East is cut off, and the processor of west is down, as it is in a passive site."""
        platform.away(*platform.sites["east"]["hosts"])
        platform.probes["west-app1"]["units"]["circonus-ca_processor"] = unit(False)
        return platform

    @staticmethod
    def after(active="west"):
        """Promoted by an earlier run, the rest is not done."""
        moved = Platform(active)
        moved.params = dict(PARAMS, datacenter_failover_to=active, circonus_confirm=active)
        moved.probes["%s-app2" % active]["status"] = {"state": "STANDBY"}
        for host in ("%s-app1" % active, "%s-app3" % active):
            moved.probes[host]["status"] = {"state": "STANDBY"}
        moved.probes["west-app1"]["units"]["circonus-ca_processor"] = unit(False)
        for host, digest in (("west-app1", "copy"), ("east-app1", "newer")):
            moved.probes[host]["ca"] = {"present": True, "initialised": True, "digest": digest}
        return moved

    def test_a_lost_site_has_its_numbers_raised(self, lost):
        verdict = lost.decide(datacenter_failover_mode="unplanned", datacenter_failover_accept_data_loss=10**9)
        assert verdict["take_over"] == {"host": "west-app1", "lost": "east-app1"} and not verdict["copy_ca"]
        assert any("1000 beyond every one that is known" in text for text in verdict["plan"])

    def test_a_fresh_copy_needs_none(self, platform):
        platform.probes["west-app1"]["units"]["circonus-ca_processor"] = unit(False)
        verdict = platform.decide()
        assert verdict["result"] == "proceed" and verdict["copy_ca"] and verdict["take_over"] is None

    def test_a_planned_run_finishes_what_an_unplanned_one_began(self):
        verdict = self.after().decide()
        assert verdict["result"] == "proceed" and not verdict["promote"]
        assert verdict["take_over"] == {"host": "west-app1", "lost": "east-app1"}

    def test_a_processor_that_runs_was_started_behind_the_raise(self):
        moved = self.after()
        moved.probes["west-app1"]["units"]["circonus-ca_processor"] = unit(True)
        assert moved.decide()["take_over"] is None

    def test_a_copy_that_is_the_same_needs_none(self):
        moved = self.after()
        moved.probes["west-app1"]["ca"]["digest"] = "newer"
        assert moved.decide()["take_over"] is None

    def test_a_held_ca_is_work_for_the_same_command(self):
        moved = Platform("west")
        moved.params = dict(PARAMS, datacenter_failover_to="west", circonus_confirm="west", circonus_clients="none")
        assert moved.decide()["result"] == "nothing_to_do"
        moved.probes["west-app1"]["ca"]["held"] = True
        verdict = moved.decide()
        assert verdict["result"] == "proceed" and "the CA on west-app1 is held back" in verdict["reason"]
        assert verdict["take_over"] == {"host": "west-app1", "lost": "east-app1"}

    def test_2019_only_where_somebody_put_a_ca(self, lost):
        wanted = {"datacenter_failover_mode": "unplanned", "datacenter_failover_accept_data_loss": 10**9,
                  "circonus_edition": "2019"}
        assert lost.decide(**wanted)["take_over"]["host"] == "west-app1"
        lost.probes["west-app1"]["ca"] = {"present": True, "initialised": False}
        assert lost.decide(**wanted)["take_over"] is None


class TestWebDbVerdict:
    """Another host of the same site."""

    @pytest.fixture
    def decide(self, platform):
        raw = {name: site["raw"] for name, site in platform.sites.items()}

        def decide(**params):
            values = dict(
                platform.params,
                web_db_failover_to="east-app3",
                circonus_confirm="east-app3",
                web_db_failover_mode="planned",
            )
            values.update(params)
            flipped = site_model.set_primary(raw, "east", "east-app3")
            known = {name: {canonical_sha256(raw[name]), canonical_sha256(flipped[name])} for name in raw}
            return failover.web_db_verdict(
                platform.sites, flipped, known, platform.probes, values, RUN, UNITS, values.pop("findings", [])
            )

        return decide

    @pytest.fixture
    def moved(self, platform):
        """east-app3 is the primary already; site.json and the standbys say so."""
        flipped = site_model.set_primary({n: s["raw"] for n, s in platform.sites.items()}, "east", "east-app3")
        upstream = {"east-app3": None, "east-app1": "east-app3", "west-app1": "east-app3", "west-app3": "west-app1"}
        for site in platform.sites:
            for host in platform.sites[site]["hosts"]:
                platform.probes[host] = platform.answer(site, host, upstream)
                platform.probes[host]["site"]["sha256"] = canonical_sha256(flipped[site])
        return platform

    def test_healthy_platform_proceeds(self, decide):
        verdict = decide()
        assert (verdict["result"], verdict["promote"], verdict["candidate"], verdict["old_primary"]) == (
            "proceed",
            True,
            "east-app3",
            "east-app1",
        )
        assert {(i["host"], i["upstream"]) for i in verdict["rejoin"]} >= {
            ("east-app1", "east-app3"),
            ("west-app1", "east-app3"),
        }

    def test_already_there_has_nothing_to_do(self, decide, moved):
        verdict = decide()
        assert (verdict["result"], verdict["remaining"]) == ("nothing_to_do", []), verdict

    def test_already_there_names_a_host_that_is_away(self, decide, moved):
        moved.away("west-app1")
        verdict = decide(web_db_failover_mode="unplanned")
        assert verdict["result"] == "nothing_to_do", verdict
        assert any("west-app1" in text and "web_db_rejoin" in text for text in verdict["remaining"]), verdict

    def test_interrupted_after_the_promotion_is_finished(self, decide, moved):
        moved.db("east-app1").update(running=False, in_recovery=None, receiver={})
        verdict = decide()
        assert (verdict["result"], verdict["promote"]) == ("proceed", False), verdict

    @pytest.mark.parametrize(
        ("params", "words"),
        [
            ({"web_db_failover_to": "east-app2"}, ["east-app2", "database hosts"]),
            ({"circonus_confirm": None}, ["circonus_confirm", "east-app3"]),
            ({"findings": [{"id": "C-01", "severity": "error", "path": "id", "message": "x"}]}, ["C-01"]),
            ({"web_db_failover_to": "west-app1", "circonus_confirm": "west-app1"}, ["datacenter_failover.yml"]),
        ],
    )
    def test_refuses_a_wrong_request(self, decide, params, words):
        assert_refused(decide(**params), *words)

    def test_refuses_an_unreachable_host(self, decide, platform):
        platform.away("east-store1")
        assert_refused(decide(), "east-store1", "unplanned")

    def test_refuses_two_primaries(self, decide, platform):
        platform.db("west-app1").update(in_recovery=False)
        assert_refused(decide(), "Two primaries")

    def test_refuses_an_unreachable_candidate(self, decide, platform):
        platform.away("east-app3")
        assert_refused(decide(web_db_failover_mode="unplanned"), "east-app3 must be reachable")

    def test_refuses_a_lost_primary_without_the_unplanned_mode(self, decide, platform):
        platform.db("east-app1").update(running=False, in_recovery=None, control={"state": "in production"})
        assert_refused(decide(), "east-app1 is down", "unplanned")

    def test_lost_primary_needs_the_word_of_the_operator(self, decide, platform):
        platform.away("east-app1")
        platform.db("east-app3")["receiver"] = {"status": "stopped", "latest_end_lsn": "0/5000040"}
        refused = decide(web_db_failover_mode="unplanned")
        assert_refused(refused, "web_db_failover_accept_data_loss=64")
        assert refused["possible_loss_bytes"] == 64
        verdict = decide(web_db_failover_mode="unplanned", web_db_failover_accept_data_loss=64)
        assert (verdict["result"], verdict["rpo_bytes"]) == ("proceed", 64)
        assert any("east-app1" in text for text in verdict["remaining"])


class TestRejoinVerdict:
    """web_db_rejoin.yml."""

    def decide(self, platform, host="east-app1", confirm="east-app1"):
        params = dict(platform.params, web_db_rejoin_host=host, circonus_confirm=confirm)
        return failover.rejoin_verdict(platform.sites, platform.probes, params, RUN, UNITS)

    @pytest.fixture
    def returned(self):
        """West took over; east-app1 is back and stopped."""
        platform = Platform("west")
        platform.db("east-app1").update(running=False, in_recovery=None, receiver={}, timeline=2)
        return platform

    def test_proceeds(self, returned):
        verdict = self.decide(returned)
        assert (verdict["result"], verdict["rejoin"][0]["upstream"]) == ("proceed", "west-app1")

    def test_old_primary_on_an_older_timeline_proceeds(self, returned):
        returned.db("east-app1").update(running=True, in_recovery=False)
        assert self.decide(returned)["result"] == "proceed"

    def test_refuses_two_equal_primaries(self, returned):
        returned.db("east-app1").update(running=True, in_recovery=False, timeline=3)
        assert_refused(self.decide(returned), "cannot be told")

    def test_nothing_to_do(self):
        assert self.decide(Platform("west"))["result"] == "nothing_to_do"

    def test_refuses_without_a_primary(self, returned):
        returned.db("west-app1").update(running=False, in_recovery=None)
        assert_refused(self.decide(returned), "exactly one primary")

    def test_refuses_an_unreachable_host(self, returned):
        returned.away("east-app1")
        assert_refused(self.decide(returned), "cannot be reached")

    @pytest.mark.parametrize("confirm", [None, "east-app3"])
    def test_refuses_without_confirmation(self, returned, confirm):
        assert_refused(self.decide(returned, confirm=confirm), "circonus_confirm")


class TestClientsMove:
    """What a way of moving the clients needs is asked for before anything changes."""

    @pytest.mark.parametrize(
        ("params", "word"),
        [
            ({"circonus_clients": "ip_alias", "circonus_client_address": None}, "circonus_client_address"),
            ({"circonus_clients": "nsupdate", "circonus_dns_server": "x"}, "circonus_dns_zone"),
            ({"circonus_clients": "command"}, "circonus_clients_command"),
            ({"circonus_clients": "command", "circonus_clients_command": ["x", "{nobody}"]}, "{site}"),
        ],
    )
    def test_refused_when_something_is_missing(self, platform, params, word):
        assert_refused(platform.decide(**params), word)

    def test_record_by_host_then_site_then_address(self):
        given = {"circonus_clients": "nsupdate"}
        given.update(dict.fromkeys(failover.CLIENTS_NEED["nsupdate"], "x"))
        ask = failover.clients_move
        assert ask(given, "west", "west-app1", "10.0.0.1")["dns_value"] == "10.0.0.1"
        given["circonus_dns_addresses"] = {"west": "10.0.0.2"}
        assert ask(given, "west", "west-app1", "10.0.0.1")["dns_value"] == "10.0.0.2"
        given["circonus_dns_addresses"]["west-app1"] = "10.0.0.3"
        assert ask(given, "west", "west-app1", "10.0.0.1")["dns_value"] == "10.0.0.3"

    def test_command_is_filled_in(self):
        given = {"circonus_clients": "command", "circonus_clients_command": ["move", "{site}/{host}", "{address}"]}
        move = failover.clients_move(given, "west", "west-app1", "10.0.0.1")
        assert move == {"problem": None, "dns_value": None, "command": ["move", "west/west-app1", "10.0.0.1"]}


class TestPicture:
    """The two sites as the report draws them."""

    @staticmethod
    def picture(platform):
        situation = failover.Situation(platform.sites, platform.probes, UNITS, "10.89.103.200/24")
        return situation.picture()["sites"]

    def test_healthy_platform(self, platform):
        sites = self.picture(platform)
        assert [(n, s["state"], s["status_page"], s["client_address"]) for n, s in sorted(sites.items())] == [
            ("east", "active", "ACTIVE", True),
            ("west", "standby", "STANDBY", False),
        ]
        hosts = {**sites["east"]["hosts"], **sites["west"]["hosts"]}
        assert {name: (h["web_db"], h["follows"]) for name, h in hosts.items() if h["web_db"]} == {
            "east-app1": ("primary", None),
            "east-app3": ("standby", "east-app1"),
            "west-app1": ("standby", "east-app1"),
            "west-app3": ("standby", "west-app1"),
        }
        assert {name: h["alerting"] for name, h in hosts.items() if h["alerting"]} == {
            "east-app1": "running",
            "east-app2": "running",
            "west-app1": "stopped",
            "west-app2": "stopped",
        }
        assert hosts["west-app1"]["lag_bytes"] == 0 and hosts["east-app1"]["lag_bytes"] is None
        assert hosts["west-app3"]["lag_bytes"] is None, "its upstream is not a primary"

    def test_lost_site(self, platform):
        platform.away(*platform.sites["west"]["hosts"])
        sites = self.picture(platform)
        assert (sites["west"]["state"], sites["west"]["status_page"]) == ("unreachable", "unknown")
        assert sites["west"]["hosts"]["west-app1"]["web_db"] == "unknown"
        assert (
            sites["west"]["hosts"]["west-app2"]["alerting"] is None
            or not sites["west"]["hosts"]["west-app2"]["reachable"]
        )

    def test_stopped_database(self, platform):
        platform.db("west-app3").update(running=False, in_recovery=None)
        assert self.picture(platform)["west"]["hosts"]["west-app3"]["web_db"] == "down"


class TestDependents:
    """Only what is deployed and runs is restarted."""

    def test_only_what_runs(self, platform):
        situation = failover.Situation(platform.sites, platform.probes, UNITS)
        found = {(item["role"], item["host"]) for item in failover.dependents(situation, "2019")}
        assert ("fault_detection", "east-app1") in found and ("notification", "east-app2") in found
        assert not any(host.startswith("west") and role != "ca" for role, host in found), found

    def test_those_of_the_old_site_wait_for_their_database(self, platform):
        for host in ("east-app3", "west-app3"):
            platform.probes[host]["units"]["circonus-grover_queue"] = unit(True)
        values = dict(platform.params, circonus_edition="2019")
        verdict = failover.datacenter_verdict(
            platform.sites,
            platform.versions["west"],
            platform.known(),
            platform.probes,
            values,
            RUN,
            dict(UNITS, hub=["circonus-grover_queue"]),
            [],
        )
        assert [i["host"] for i in verdict["dependents"] if i["role"] == "hub"] == ["west-app3"]
        assert [i["host"] for i in verdict["dependents_other"] if i["role"] == "hub"] == ["east-app3"]

    def test_2019_leaves_the_ca_of_the_old_site_and_says_so(self, platform):
        platform.probes["east-app1"]["units"]["circonus-ca_processor"] = unit(True)
        platform.probes["west-app1"]["ca"] = {"present": False}
        verdict = platform.decide(circonus_edition="2019")
        assert not [i for i in verdict["dependents"] + verdict["dependents_other"] if i["role"] == "ca"]
        assert any("CA stays on east-app1" in text for text in verdict["remaining"])

    def test_2019_starts_the_ca_that_comes_back_to_the_primary(self, platform):
        platform.probes["east-app1"]["ca"] = {"present": False}
        verdict = platform.decide(circonus_edition="2019")
        assert [i["host"] for i in verdict["dependents"] if i["role"] == "ca"] == ["west-app1"]
        assert not any("CA stays" in text for text in verdict["remaining"])

    def test_later_edition_leaves_the_ca_to_hooper(self, platform):
        verdict = platform.decide()
        assert not [i for i in verdict["dependents"] + verdict["dependents_other"] if i["role"] == "ca"]


class TestSiteChanges:
    """Attributes that Hooper has to know."""

    def test_later_edition(self, platform):
        changes = failover.site_changes(platform.versions["west"]["west"])
        assert changes["active_datacenter"] is True
        assert changes["svclist.web_db.master"] == "west-app1"

    def test_edition_2019_knows_no_active_datacenter(self, platform):
        raw = copy.deepcopy(platform.versions["west"]["west"])
        del raw["active_datacenter"]
        assert not [path for path in failover.site_changes(raw) if not path.startswith("svclist.web_db.")]


class TestProof:
    """What the last probe must show."""

    def proof(self, platform, to="west"):
        base = dict(platform.decide(datacenter_failover_to=to, circonus_confirm=to), target=to)
        base.update(other="east" if to == "west" else "west", candidate="%s-app1" % to)
        return failover.datacenter_proof(
            platform.sites, platform.versions[to], platform.probes, platform.params, UNITS, base
        )["problems"]

    def test_settled_platform_is_proven(self):
        assert self.proof(Platform("west")) == []

    def test_two_primaries_are_a_problem(self):
        platform = Platform("west")
        platform.db("east-app1").update(in_recovery=False)
        assert any("only primary" in text for text in self.proof(platform))

    def test_nothing_moved_is_a_problem(self, platform):
        assert any("expected west-app1 as the only primary" in text for text in self.proof(platform))

    @pytest.mark.parametrize("params", [{"web_db_rejoin_host": "east-app1"}, {}])
    def test_web_db(self, params):
        platform = Platform("west")
        base = {
            "candidate": "west-app1",
            "target": "west",
            "rejoin": [{"host": "east-app1", "upstream": "west-app1", "upstream_address": "x"}],
        }
        values = dict(platform.params, **params)

        def problems():
            return failover.web_db_proof(
                platform.sites, platform.versions["west"], platform.probes, values, UNITS, base
            )["problems"]

        assert problems() == []
        platform.db("east-app1")["receiver"] = {}
        assert problems() == ["east-app1 does not follow west-app1"]
        platform.db("west-app1").update(in_recovery=True)
        assert any("only primary" in text for text in problems())


class TestPlanText:
    """The plan says what will happen and nothing else."""

    def test_planned(self, platform):
        text = "\n".join(platform.decide()["plan"])
        assert "Arm west-app1, fence east-app1" in text
        assert "Stop the CA processor of east-app1. Copy the CA from east-app1 to west-app1" in text
        assert "Lift the fence" not in text and "without proof" not in text
        assert "east-app1 becomes a standby of west-app1" in text
        assert "Hooper in maintenance mode on west in run order" in text
        assert "west-app3 becomes a standby" not in text, "it follows west-app1 already"

    def test_edition_2019_runs_no_hooper(self, platform):
        text = "\n".join(platform.decide(circonus_edition="2019")["plan"])
        assert "Hooper" not in text and "Copy the CA" not in text
        assert "Start fault_detection, then notification in west" in text

    def test_clients_left_alone_are_left_to_the_operator(self, platform):
        assert any("Point the clients" in text for text in platform.decide(circonus_clients="none")["remaining"])
        assert not any("Point the clients" in text for text in platform.decide()["remaining"])


class TestKeptStopped:
    @pytest.mark.parametrize("primary, kept", [("a", False), ("b", True), (None, False), ("", False)])
    @pytest.mark.parametrize("passive", [False, True])
    def test_the_authority_runs_on_its_primary_only(self, primary, kept, passive):
        raw = {"svclist": {"ca": {"primary": primary}}}
        assert failover.kept_stopped({"name": "ca"}, "a", raw, passive) is kept
        assert failover.kept_stopped({"name": "hub"}, "a", raw, passive) is False

    @pytest.mark.parametrize("passive", [False, True])
    def test_alerting_runs_in_the_active_site_only(self, passive):
        assert failover.kept_stopped({"name": "hub", "passive": "stopped"}, "a", {}, passive) is passive
        assert failover.kept_stopped({"name": "api", "passive": "running"}, "a", {}, passive) is False


class TestUpstreamOf:
    """Who follows whom."""

    @pytest.mark.parametrize(
        "host,primary,upstream",
        [
            ("west-app1", "east-app1", "east-app1"),
            ("west-app3", "east-app1", "west-app1"),
            ("east-app3", "east-app1", "east-app1"),
            ("east-app3", "west-app1", "east-app1"),
            ("east-app1", "east-app3", "east-app3"),
        ],
    )
    def test_local_source_in_a_standby_site(self, host, primary, upstream):
        assert failover.upstream_of(make_sites(), host, primary) == upstream


class TestPossibleLoss:
    """Bytes that may be missing."""

    def test_clean_shutdown_that_the_candidate_holds_is_proven(self, platform):
        platform.db("east-app1").update(
            running=False, in_recovery=None, control={"state": "shut down", "checkpoint_lsn": "0/4FFFF88"}
        )
        loss = failover.possible_loss(
            failover.Situation(platform.sites, platform.probes, UNITS), "west-app1", "east-app1"
        )
        assert (loss["bytes"], loss["proven"]) == (0, True)

    def test_other_standbys_count(self, platform):
        platform.away("east-app1")
        platform.db("east-app3")["lsn"] = {"receive": "0/5000100", "replay": "0/5000000"}
        loss = failover.possible_loss(
            failover.Situation(platform.sites, platform.probes, UNITS), "west-app1", "east-app1"
        )
        assert (loss["bytes"], loss["proven"]) == (256, False)
