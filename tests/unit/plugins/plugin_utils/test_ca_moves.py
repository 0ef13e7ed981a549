# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import copy

import pytest

from ansible_collections.circonus.inside.plugins.module_utils.site_file import canonical_sha256
from ansible_collections.circonus.inside.plugins.plugin_utils import ca_moves, failover

RUN = {"controller": "noc/0/1/1"}
PARAMS = {
    "ca_failover_to": "east-app2",
    "circonus_confirm": "east-app2",
    "ca_failover_mode": "planned",
    "ca_failover_margin": 1000,
}
LOST = {"ca_failover_mode": "lost", "ca_failover_lost_host": "east-app1"}
ON = {"active": "active", "enabled": "enabled", "load": "loaded"}
OFF = {"active": "inactive", "enabled": "disabled", "load": "loaded"}
NOTHING = {"serials": {}, "crl_numbers": [], "broken": []}


def raw(site):
    return {
        "active_datacenter": site == "east",
        "machinfo": {},
        "svclist": {
            "web_db": {"_machlist": ["east-app1", "west-app1"], "master": "east-app1"},
            "ca": {
                "_machlist": ["east-app1", "east-app2"] if site == "east" else ["west-app1"],
                "primary": "east-app1",
            },
        },
    }


def authority(serials=("1000",), serial=0x1001, crl=2, processor=None, **more):
    return dict(
        {
            "present": True,
            "initialised": True,
            "problem": "",
            "fingerprint": "aa",
            "issued": dict.fromkeys(serials, "V"),
            "highest": max([int(item, 16) for item in serials] or [0]),
            "serial": serial,
            "crl_number": crl,
            "crl": {"number": crl - 1},
            "manifest_sha256": "%s-%x-%x" % (",".join(sorted(serials)), serial, crl),
            "processor": processor or OFF,
        },
        **more,
    )


EMPTY = {
    "present": True,
    "initialised": False,
    "problem": "",
    "issued": {},
    "manifest_sha256": "tree",
    "processor": OFF,
}


class Platform:
    """East is active with two CA hosts, the CA is on east-app1; tests change one thing."""

    def __init__(self):
        self.raws = {name: raw(name) for name in ("east", "west")}
        self.hosts = {"east": ["east-app1", "east-app2", "east-app3"], "west": ["west-app1"]}
        self.installed = {host: self.raws[name] for name, hosts in self.hosts.items() for host in hosts}
        self.ca = {"east-app1": authority(processor=ON), "east-app2": authority(), "west-app1": dict(EMPTY)}
        self.down, self.lock = set(), {}

    def moved(self, host="east-app2"):
        """As a finished move leaves it."""
        self.raws = ca_moves.with_primary(self.raws, host)
        self.installed = {name: self.raws[site] for site, hosts in self.hosts.items() for name in hosts}
        for name in self.ca:
            self.ca[name] = dict(self.ca[name], processor=ON if name == host else OFF)
        return self

    def lose(self, host):
        self.down.add(host)
        self.ca[host] = {"reachable": False, "msg": "no route"}
        return self

    def situation(self):
        sites = {name: {"raw": self.raws[name], "hosts": self.hosts[name], "file": name} for name in self.raws}
        probes = {}
        for host, document in self.installed.items():
            probes[host] = {"site": {"sha256": canonical_sha256(document)}, "lock": self.lock, "clock": 1.0}
            if host in self.down:
                probes[host] = {"reachable": False, "msg": "no route"}
        return failover.Situation(sites, probes, {})

    def verdict(self, seen=None, findings=(), **more):
        params = dict(PARAMS, **more)
        changed = ca_moves.with_primary(self.raws, params["ca_failover_to"])
        seen = seen or NOTHING
        return ca_moves.failover_verdict(self.situation(), self.ca, changed, params, RUN, list(findings), seen)

    def decision(self, verdict, seen=None, **more):
        return ca_moves.copy_decision(verdict, self.ca, dict(PARAMS, **more), seen or NOTHING)


@pytest.fixture
def platform():
    return Platform()


class TestWithPrimary:
    def test_sets_it_in_every_file_and_leaves_the_old_ones(self, platform):
        before = copy.deepcopy(platform.raws)
        changed = ca_moves.with_primary(platform.raws, "east-app2")
        assert {ca_moves.named(document) for document in changed.values()} == {"east-app2"}
        assert platform.raws == before

    def test_keeps_the_older_name(self):
        old = {"svclist": {"ca": {"_machlist": ["a", "b"], "master": "a"}}}
        assert ca_moves.with_primary({"x": old}, "b")["x"]["svclist"]["ca"] == {"_machlist": ["a", "b"], "master": "b"}
        assert ca_moves.primary_key(old) == "svclist.ca.master"


class TestPlanned:
    def test_stops_the_old_one_and_copies(self, platform):
        platform.ca["east-app2"] = dict(EMPTY)
        verdict = platform.verdict()
        assert verdict["result"] == "proceed" and verdict["stop"] == ["east-app1"] and not verdict["settled"]
        platform.ca["east-app1"]["processor"] = OFF
        assert platform.decision(verdict) == {
            "copy_from": "east-app1", "refresh": [], "serial_floor": None, "crl_floor": None, "problem": None}

    def test_copies_what_was_issued_after_the_first_look(self, platform):
        verdict = platform.verdict()
        platform.ca["east-app1"] = authority(("1000", "1001"), 0x1002)
        assert platform.decision(verdict)["copy_from"] == "east-app1"

    def test_goes_on_after_the_copy_of_a_killed_run(self, platform):
        platform.ca["east-app1"]["processor"] = OFF
        verdict = platform.verdict()
        assert verdict["result"] == "proceed" and platform.decision(verdict)["copy_from"] is None

    def test_goes_on_after_a_kill_between_the_site_files(self, platform):
        changed = ca_moves.with_primary(platform.raws, "east-app2")
        platform.raws["east"] = changed["east"]
        for host in ("east-app1", "east-app2"):
            platform.installed[host] = changed["east"]
        platform.ca["east-app1"]["processor"] = OFF
        assert platform.verdict()["result"] == "proceed"

    def test_nothing_to_do_when_it_is_there(self, platform):
        assert platform.moved().verdict()["result"] == "nothing_to_do"

    def test_names_hosts_that_did_not_answer(self, platform):
        verdict = platform.moved().lose("east-app3").verdict()
        assert verdict["result"] == "nothing_to_do" and "east-app3" in verdict["remaining"][0]

    def test_does_not_trust_the_stop(self, platform):
        verdict = platform.verdict()
        assert "is active" in platform.decision(verdict)["problem"]


class TestRefusals:
    def refused(self, platform, *words, **more):
        verdict = platform.verdict(**more)
        assert verdict["result"] == "refused", verdict
        for word in words:
            assert word in verdict["reason"]

    def test_a_host_that_is_no_ca_host(self, platform):
        self.refused(platform, "east-app3", ca_failover_to="east-app3")

    def test_without_the_typed_name(self, platform):
        self.refused(platform, "circonus_confirm", circonus_confirm="east-app1")

    def test_a_host_of_the_standby_site(self, platform):
        self.refused(platform, "datacenter_failover", ca_failover_to="west-app1", circonus_confirm="west-app1")

    def test_a_site_file_with_errors(self, platform):
        bad = {"severity": "error", "id": "C-15", "path": "svclist.ca", "message": "no."}
        self.refused(platform, "C-15", findings=[bad])

    def test_a_lock_of_another_run(self, platform):
        platform.lock = {"state": "held", "expires": 9e9, "run_id": "other", "owner": "bob", "procedure": "site"}
        self.refused(platform, "circonus_lock_break=other")

    def test_another_site_json_on_a_host(self, platform):
        platform.installed["east-app3"] = {"svclist": {}}
        self.refused(platform, "east-app3", "site_distribute")

    def test_a_silent_ca_when_planned(self, platform):
        self.refused(platform.lose("east-app1"), "ca_failover_mode=lost")

    def test_an_empty_ca_when_planned(self, platform):
        platform.ca["east-app1"] = dict(EMPTY)
        self.refused(platform, "keys on east-app1")

    def test_copies_that_diverged(self, platform):
        platform.ca["east-app1"] = authority(("1000", "1001"), 0x1002, processor=ON)
        platform.ca["east-app2"] = authority(("1000", "2001"), 0x2002)
        self.refused(platform, "1001", "2001", "diverged")

    def test_another_authority(self, platform):
        platform.ca["east-app2"]["fingerprint"] = "bb"
        self.refused(platform, "different authorities")

    def test_an_archive_when_planned(self, platform):
        self.refused(platform, "ca_failover_backup", ca_failover_backup="/x")


class TestLost:
    def test_needs_the_name_of_the_lost_host(self, platform):
        verdict = platform.lose("east-app1").verdict(ca_failover_mode="lost")
        assert verdict["result"] == "refused" and "ca_failover_lost_host" in verdict["reason"]
        verdict = platform.verdict(ca_failover_mode="lost", ca_failover_lost_host="west-app1")
        assert verdict["result"] == "refused" and "the CA is on east-app1" in verdict["reason"]

    def test_refuses_while_it_answers(self, platform):
        verdict = platform.verdict(**LOST)
        assert verdict["result"] == "refused" and "planned" in verdict["reason"]

    def test_takes_a_host_that_lost_its_directory(self, platform):
        platform.ca["east-app1"] = dict(EMPTY, processor=ON)
        verdict = platform.verdict(**LOST)
        assert verdict["result"] == "proceed" and verdict["stop"] == ["east-app1"]

    def test_goes_on_beyond_every_number_that_is_known(self, platform):
        seen = dict(NOTHING, serials={"1010": [["h", "p", "d"]]}, crl_numbers=[7])
        verdict = platform.lose("east-app1").verdict(seen, **LOST)
        assert verdict["result"] == "proceed" and verdict["stop"] == []
        assert "east-app1 issued after the last copy" in verdict["reason"]
        decision = platform.decision(verdict, seen, **LOST)
        assert decision["copy_from"] is None and decision["problem"] is None
        assert decision["serial_floor"] == 0x1011 + 1000 and decision["crl_floor"] == 8 + 1000

    def test_a_second_loss_begins_above_the_numbers_of_the_first(self, platform):
        platform.ca["west-app1"] = authority()
        verdict = platform.lose("east-app1").verdict(**LOST)
        first = platform.decision(verdict, **LOST)
        assert first["refresh"] == ["west-app1"], "the copy that may be the last one of the next loss"
        platform.ca["west-app1"].update(serial=first["serial_floor"], crl_number=first["crl_floor"])
        second = platform.decision(verdict, **LOST)
        assert second["serial_floor"] == first["serial_floor"] + 1000
        assert second["crl_floor"] == first["crl_floor"] + 1000

    def test_an_archive_replaces_no_copy(self, platform):
        platform.ca["east-app2"] = dict(EMPTY)
        platform.ca["west-app1"] = authority(("1000", "1001"), 0x1002)
        verdict = platform.lose("east-app1").verdict(ca_failover_backup="/x", **LOST)
        assert verdict["result"] == "proceed", verdict
        decision = platform.decision(verdict, **LOST)
        assert decision["refresh"] == [] and decision["serial_floor"] == 0x1002 + 1000

    def test_an_archive_counts_for_the_floor(self, platform):
        platform.ca["east-app2"]["backups"] = [{"serial": 0x3000}]
        verdict = platform.lose("east-app1").verdict(**LOST)
        assert platform.decision(verdict, **LOST)["serial_floor"] == 0x3000 + 1000

    def test_takes_the_newest_copy_that_answers(self, platform):
        platform.ca["west-app1"] = authority(("1000", "1001"), 0x1002)
        verdict = platform.lose("east-app1").verdict(**LOST)
        assert platform.decision(verdict, **LOST)["copy_from"] == "west-app1"

    def test_refuses_without_any_copy_unless_an_archive_is_named(self, platform):
        platform.ca["east-app2"] = dict(EMPTY)
        platform.lose("east-app1")
        assert "ca_failover_backup" in platform.verdict(**LOST)["reason"]
        verdict = platform.verdict(ca_failover_backup="/x", **LOST)
        assert verdict["result"] == "proceed" and verdict["restore"] == "/x"
        assert platform.decision(verdict, **LOST)["problem"] is None


class TestTakeOver:
    """The CA in an unplanned datacenter_failover."""

    WANTED = {"host": "west-app1", "lost": "east-app1"}
    DATABASE = {"system_identifier": "77", "timeline": 4}

    def wanted(self, authorities, seen=None, database=None):
        database = self.DATABASE if database is None else database
        return ca_moves.take_over_wanted(self.WANTED, authorities, seen or NOTHING, database, 1000)

    def test_goes_beyond_its_copy_other_copies_archives_and_what_is_in_use(self):
        copies = {"west-app1": authority(crl=9), "east-app1": {"msg": "no route"}}
        assert self.wanted(copies) == {
            "event": "77 timeline 4", "serial_floor": 0x1000 + 4001, "crl_floor": 4009, "problem": ""}
        copies["west-app2"] = authority(serials=("1004",))
        assert self.wanted(copies)["serial_floor"] == 0x1004 + 4001
        copies["west-app1"]["backups"] = [{"serial": 0x1010}]
        assert self.wanted(copies)["serial_floor"] == 0x100F + 4001
        seen = dict(NOTHING, serials={"1020": [["west-app3", "/x", "d"]]}, crl_numbers=[40])
        assert self.wanted(copies, seen)["serial_floor"] == 0x1020 + 4001
        assert self.wanted(copies, seen)["crl_floor"] == 4041

    def test_two_losses_from_the_same_copy_stay_apart(self):
        ends = [dict(self.DATABASE, timeline=number) for number in (4, 5)]
        floors = [self.wanted({"west-app1": authority()}, database=end)["serial_floor"] for end in ends]
        assert floors[1] - floors[0] == 1000

    def test_another_authority_does_not_count(self):
        copies = {"west-app1": authority(), "west-app2": authority(serials=("FFFF",), fingerprint="bb")}
        assert self.wanted(copies)["serial_floor"] == 0x1000 + 4001

    def test_without_a_usable_copy_the_reason_is_told(self):
        assert self.wanted({"west-app1": dict(EMPTY)})["problem"].endswith("on west-app1, found none.")
        assert "cannot read it" in self.wanted({"west-app1": dict(EMPTY, problem="cannot read it.")})["problem"]

    def test_a_database_that_told_nothing_is_no_event(self):
        database = {"system_identifier": None, "timeline": 4}
        assert self.wanted({"west-app1": authority()}, database=database)["event"] == ""

    def test_nothing_remains_of_a_raise(self):
        assert ca_moves.take_over_remaining(self.WANTED, {"taken": True, "serial": 0x2000, "crl_number": 9}) == []

    def test_a_held_ca_is_one_sentence_with_the_way_out(self):
        (text,) = ca_moves.take_over_remaining(self.WANTED, {"taken": False, "problem": "No key."})
        assert "No key. No certificate is issued" in text and "kept from starting. Mend that" in text
        assert "ca_failover_to=west-app1 -e circonus_confirm=west-app1 -e ca_failover_mode=lost" in text

    def test_a_host_that_did_not_answer_has_to_be_stopped_by_hand(self):
        (text,) = ca_moves.take_over_remaining(self.WANTED, {"reachable": False, "msg": "no route"})
        assert "no route. No" in text and "stop circonus-ca_processor there now" in text


class TestReturned:
    """The old host is back after the CA went on elsewhere."""

    @pytest.fixture
    def returned(self, platform):
        platform.moved()
        platform.ca["east-app2"] = authority(("1000", "2000"), 0x2001, 9, ON)
        platform.ca["east-app1"] = authority(processor=ON)
        platform.installed["east-app1"] = raw("east")
        return platform

    def test_is_fenced_and_gets_the_new_copy(self, returned):
        verdict = returned.verdict(**LOST)
        assert verdict["result"] == "proceed" and verdict["settled"] and verdict["stop"] == ["east-app1"]
        returned.ca["east-app1"]["processor"] = OFF
        decision = returned.decision(verdict, **LOST)
        assert decision["problem"] is None and decision["refresh"] == ["east-app1"]
        assert decision["serial_floor"] is None

    def test_by_the_planned_command_as_well(self, returned):
        assert returned.verdict()["stop"] == ["east-app1"]

    def test_names_what_it_issued_that_is_not_known(self, returned):
        returned.ca["east-app1"] = authority(("1000", "1001"), 0x1002, processor=ON)
        verdict = returned.verdict(**LOST)
        assert verdict["result"] == "proceed" and verdict["stop"] == ["east-app1"]
        returned.ca["east-app1"]["processor"] = OFF
        assert "1001" in returned.decision(verdict, **LOST)["problem"]

    def test_goes_on_when_that_is_accepted(self, returned):
        returned.ca["east-app1"] = authority(("1000", "1001"), 0x1002, processor=ON)
        verdict = returned.verdict(ca_failover_accept_serials=["1001"], **LOST)
        returned.ca["east-app1"]["processor"] = OFF
        decision = returned.decision(verdict, ca_failover_accept_serials=["1001"], **LOST)
        assert decision["problem"] is None and decision["refresh"] == ["east-app1"]

    def test_a_fenced_host_that_knows_more_is_work_until_it_has_the_new_copy(self, returned):
        returned.moved()
        returned.ca["east-app1"] = authority(("1000", "1001"), 0x1002)
        verdict = returned.verdict(ca_failover_accept_serials=["1001"])
        assert verdict["result"] == "proceed" and verdict["stop"] == []
        assert returned.decision(verdict, ca_failover_accept_serials=["1001"])["refresh"] == ["east-app1"]
        returned.ca["east-app1"] = dict(returned.ca["east-app2"], processor=OFF)
        assert returned.verdict()["result"] == "nothing_to_do"


class TestProof:
    def test_holds_for_a_finished_move(self, platform):
        verdict = platform.verdict()
        platform.moved()
        assert ca_moves.failover_proof(platform.situation(), platform.ca, platform.raws, verdict, NOTHING) == []

    def test_fails_for_two_processors_and_for_twice_the_same_serial(self, platform):
        verdict = platform.verdict()
        platform.moved()
        platform.ca["east-app1"]["processor"] = ON
        seen = dict(NOTHING, serials={"1000": [["a", "p", "x"], ["b", "q", "y"]], "1001": [["a", "p", "z"]] * 2})
        problems = ca_moves.failover_proof(platform.situation(), platform.ca, platform.raws, verdict, seen)
        assert len(problems) == 2 and "east-app1" in problems[0] and "serial 1000" in problems[1]

    def test_does_not_blame_what_was_broken_before(self, platform):
        seen = dict(NOTHING, broken=["x on y does not verify"])
        verdict = platform.verdict(seen)
        platform.moved()
        proof = ca_moves.failover_proof(platform.situation(), platform.ca, platform.raws, verdict, seen)
        assert proof == []
        seen = dict(NOTHING, broken=["another"])
        assert ca_moves.failover_proof(platform.situation(), platform.ca, platform.raws, verdict, seen) == ["another"]


class TestSync:
    def verdict(self, platform):
        return ca_moves.sync_verdict(platform.situation(), platform.ca, {}, RUN)

    def test_copies_where_something_differs(self, platform):
        verdict = self.verdict(platform)
        assert verdict["result"] == "proceed" and verdict["source"] == "east-app1"
        assert verdict["targets"] == ["west-app1"]

    def test_nothing_to_do_when_all_are_the_same(self, platform):
        platform.ca["west-app1"] = authority()
        assert self.verdict(platform)["result"] == "nothing_to_do"

    @pytest.mark.parametrize("answer", [None, {"reachable": False, "msg": "no route."}])
    def test_a_source_that_is_gone_after_the_copy_is_one_sentence(self, platform, answer):
        known = dict(platform.ca)
        known.pop("east-app1")
        if answer:
            known["east-app1"] = answer
        problem = ca_moves.sync_problem(known, "east-app1", "west-app1")
        assert problem.startswith("Expected the CA of east-app1 to compare with, found none: ")

    @pytest.mark.parametrize(
        "copy_of, word",
        [
            (authority(("1000", "1001"), 0x1002), "1001"),
            (authority(serial=0x1009), "next serial 1009"),
            (authority(processor=ON), "is active"),
            (authority(fingerprint="bb"), "another authority"),
        ],
    )
    def test_never_replaces_a_newer_copy_or_one_in_use(self, platform, copy_of, word):
        platform.ca["west-app1"] = copy_of
        verdict = self.verdict(platform)
        assert verdict["result"] == "refused" and word in verdict["reason"]

    def test_a_silent_host_is_a_failure_of_its_own(self, platform):
        platform.lose("west-app1")
        verdict = self.verdict(platform)
        assert verdict["result"] == "refused" and "west-app1" in verdict["reason"]

    def test_refuses_without_the_ca(self, platform):
        platform.lose("east-app1")
        assert self.verdict(platform)["result"] == "refused"


class TestBackup:
    def test_on_the_ca(self, platform):
        assert ca_moves.backup_verdict(platform.situation(), platform.ca)["host"] == "east-app1"

    def test_refuses_while_the_site_files_differ(self, platform):
        platform.raws["west"] = ca_moves.with_primary(platform.raws, "east-app2")["west"]
        assert "not the same" in ca_moves.backup_verdict(platform.situation(), platform.ca)["reason"]

    def test_the_report_names_everything(self):
        answer = {
            "made": True, "age_s": 3, "kept": 2, "damaged": ["/x"], "removed": [],
            "archive": {"path": "/a", "size": 5, "sha256": "cc", "created": 1.0, "proven": True, "files": 4},
            "authority": {"serial": 0x1001, "crl": {"next_update": 9}},
        }
        summary = ca_moves.backup_summary("h", answer, False)
        wanted = {"path": "/a", "size": 5, "sha256": "cc", "serial": "1001", "age_s": 3, "crl_next_update": 9}
        assert {key: summary["facts"][key] for key in wanted} == wanted
        assert "/x" in summary["warnings"][0]
