# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import copy
import json
import os

import pytest
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput
from ansible_collections.circonus.inside.plugins.module_utils.site_file import canonical_sha256, edit
from ansible_collections.circonus.inside.plugins.plugin_utils import ca_bootstrap as b
from ansible_collections.circonus.inside.plugins.plugin_utils import catalogue, failover, site_model

LAB = os.path.join(os.path.dirname(catalogue.ROLES), "inventories", "lab")
PARAMS = {"ca_bootstrap_standby_site": "west", "circonus_confirm": "west", "hooper_run_mode": "full"}
RUN = {"controller": "noc/0/1/1"}
UP = {"active": "active", "enabled": "enabled", "exists": True, "load": "loaded"}


def pair():
    """The two files of the lab, the layout with active_datacenter."""
    found = {}
    for site in ("east", "west"):
        with open(os.path.join(LAB, "site.%s.json" % site), encoding="utf-8") as handle:
            found[site] = json.load(handle)
    return found


def pair_2019():
    """The same in the layout of 2019: role lists of both sites in both files, one CA machine, no active_datacenter."""
    found = pair()
    both = {role: list(dict.fromkeys(found["east"]["svclist"][role]["_machlist"]
                                     + found["west"]["svclist"][role]["_machlist"]))
            for role in found["east"]["svclist"]}
    ids = {**found["east"]["svclist"]["fault_detection"]["faultd_cluster"],
           **found["west"]["svclist"]["fault_detection"]["faultd_cluster"]}
    for raw in found.values():
        del raw["active_datacenter"], raw["svclist"]["data_storage"]["secondary_cluster"]
        for role, hosts in both.items():
            if role not in ("ca", "data_storage"):
                raw["svclist"][role]["_machlist"] = hosts
        raw["svclist"]["fault_detection"]["faultd_cluster"] = ids
        del raw["svclist"]["ca"]["primary"]
        raw["svclist"]["ca"]["_machlist"] = ["east-app1"]
    return found


def new(raws):
    """A west file as somebody wrote it who does not know P15."""
    raw = raws["west"]
    raw["svclist"]["ca"] = dict(raw["svclist"]["ca"], key_pass="other words", org_defaults={"country": "DE"})
    del raw["machinfo"]["east-app1"]
    return raws


class TestDocuments:
    def test_2019_copies_the_section_unchanged(self):
        raws = new(pair_2019())
        raws["west"]["svclist"]["ca"]["_machlist"] = ["west-app1"]
        found = b.documents(raws, "west", "east")
        assert found["layout"] == "pair_2019"
        assert found["final"]["svclist"]["ca"] == raws["east"]["svclist"]["ca"]
        assert found["final"]["svclist"]["ca"]["_machlist"] == ["east-app1"]
        assert found["final"]["machinfo"]["east-app1"] == raws["east"]["machinfo"]["east-app1"]

    def test_later_the_role_list_stays_local(self):
        found = b.documents(new(pair()), "west", "east")
        section = found["final"]["svclist"]["ca"]
        assert section["_machlist"] == ["west-app1"] and section["primary"] == "east-app1"
        assert section["key_pass"] == pair()["east"]["svclist"]["ca"]["key_pass"]

    def test_connect_host_goes_there_and_back(self):
        found = b.documents(pair(), "west", "east")
        assert found["lasting"] == {} and found["final"] == pair()["west"]
        assert found["temporary"]["svclist"]["web_db"]["connect_host"] == "east-app1"
        assert edit(found["temporary"], {b.CONNECT: found["connect"]}) == found["final"]

    def test_its_own_database_is_found_or_named(self):
        raws = pair()
        raws["west"]["svclist"]["web_db"]["connect_host"] = "east-app1"
        assert b.documents(raws, "west", "east")["connect"] == "west-app1"
        assert b.documents(raws, "west", "east", "west-app3")["final"]["svclist"]["web_db"]["connect_host"] == (
            "west-app3")
        with pytest.raises(BadInput, match="Expected a database host of west .*found east-app3"):
            b.documents(raws, "west", "east", "east-app3")

    def test_master_follows_the_active_site(self):
        raws = pair()
        raws["west"]["svclist"]["web_db"]["master"] = "west-app1"
        assert b.documents(raws, "west", "east")["lasting"] == {"svclist.web_db.master": "east-app1"}

    def test_it_is_the_same_when_the_controller_has_it_already(self):
        raws = new(pair())
        first = b.documents(raws, "west", "east")
        again = b.documents(dict(raws, west=first["final"]), "west", "east")
        assert again["lasting"] == {} and again["temporary"] == first["temporary"]

    @pytest.mark.parametrize("make", [pair, pair_2019])
    def test_both_files_are_valid_but_for_the_way(self, make):
        raws = new(make())
        assert b.file_problem(raws, "west", b.documents(raws, "west", "east")) is None

    def test_another_fault_is_named(self):
        raws = new(pair())
        raws["west"]["machinfo"]["west-app2"]["ip_address"] = "10.89.101.11"
        text = b.file_problem(raws, "west", b.documents(raws, "west", "east"))
        assert text.startswith("site.json of west would not be valid at the end:"), text

    def test_unrelated_sites_are_refused(self):
        raws = pair()
        for name, raw in raws.items():
            raw.pop("active_datacenter")
            raw["machinfo"] = {host: entry for host, entry in raw["machinfo"].items() if host.startswith(name)}
        with pytest.raises(BadInput, match="Expected the files of two sites of one platform"):
            b.documents(raws, "west", "east")


def world(raws=None):
    raws = raws or pair()
    sites = {name: {"raw": raws[name], "file": name,
                    "hosts": [host for host in pair()[name]["machinfo"] if host.startswith(name)]} for name in raws}
    probes = {}
    for name, site in sites.items():
        for host in site["hosts"]:
            probes[host] = {"reachable": True, "units": {}, "web_db": {},
                            "site": {"present": True, "sha256": canonical_sha256(raws[name])}}
    probes["east-app1"].update(units={"circonus-ca_processor": UP}, web_db={"running": True, "in_recovery": False})
    situation = failover.Situation(sites, probes, {name: catalogue.unit_names(name) for name in catalogue.names()})
    facts = {
        "findings": [],
        "connections": {host: 1 if host in situation.db_hosts else 0 for host in probes},
        "order": {host: 1 if host in situation.db_hosts else 6 for host in probes},
        "activity": site_model.activity({name: site_model.normalise(raw) for name, raw in raws.items()}),
    }
    return situation, facts


def missing(host="west-app2"):
    return {"id": "pki_missing", "host": host, "severity": "error", "path": "/x", "what": "api on %s: gone." % host}


def decide(change=None, raws=None, **params):
    situation, facts = world(raws)
    if change:
        change(situation, facts)
    return b.verdict(situation, facts, dict(PARAMS, **params), RUN)


class TestVerdict:
    def test_a_site_that_is_built_is_left_alone(self):
        verdict = decide()
        assert verdict["result"] == "nothing_to_do" and verdict["lock_hosts"] == []

    def test_a_new_site_goes_all_the_way(self):
        verdict = decide(lambda _s, facts: facts["findings"].append(missing()))
        assert verdict["bring_up"] and verdict["go_local"] and len(verdict["plan"]) == 7
        assert verdict["waves"][0] == ["west-app1"] and not verdict["secret"]
        assert {host for wave in verdict["waves"] for host in wave} == set(verdict["site_hosts"])
        assert verdict["edits"]["bring_up"]["changes"] == {b.CONNECT: "east-app1"}
        assert verdict["edits"]["go_local"]["expected_sha256"] == verdict["final_sha256"]
        assert verdict["address"] == "10.89.101.11" and verdict["most"]["west-app1"] == 1

    def test_faults_of_the_other_site_do_not_begin_it(self):
        assert decide(lambda _s, facts: facts["findings"].append(missing("east-app2")))["result"] == "nothing_to_do"

    def test_killed_when_every_host_was_up(self):
        def change(situation, _facts):
            temporary = canonical_sha256(b.documents(pair(), "west", "east")["temporary"])
            situation.probes["west-app2"]["site"]["sha256"] = temporary

        verdict = decide(change)
        assert not verdict["bring_up"] and verdict["go_local"]

    def test_killed_before_hooper_gave_them_their_own_database(self):
        verdict = decide(lambda _s, facts: facts["connections"].update({"west-app2": 2}))
        assert not verdict["bring_up"] and verdict["go_local"]

    def test_the_copy_to_the_standby_database_is_no_client(self):
        assert decide(lambda _s, facts: facts["connections"].update({"west-app1": 1}))["result"] == "nothing_to_do"

    def test_2019_keeps_alerting_down_itself(self):
        raws = new(pair_2019())
        verdict = decide(raws=raws)
        assert verdict["secret"] and verdict["alerting_units"]["west-app2"] == catalogue.unit_names("notification")
        assert any("Stop and disable alerting" in line for line in verdict["plan"])
        assert decide(lambda _s, facts: facts["findings"].append(missing()))["alerting_units"] == {}


class TestRefusals:
    @pytest.mark.parametrize("params,words", [
        ({"ca_bootstrap_standby_site": "north"}, "Expected one of two sites"),
        ({"circonus_confirm": "east"}, "circonus_confirm must name the site"),
        ({"ca_bootstrap_standby_site": "east", "circonus_confirm": "east"}, "Expected east to be the backup site"),
    ])
    def test_by_what_was_asked(self, params, words):
        verdict = decide(**params)
        assert verdict["result"] == "refused" and words in verdict["reason"], verdict

    @pytest.mark.parametrize("host,values,words", [
        ("west-store1", {"reachable": False, "msg": "no route"}, "west-store1 does not answer (no route)"),
        ("west-app2", {"killswitch": True}, "west-app2 has a Hooper killswitch"),
        ("west-app2", {"site": {"sha256": "other"}}, "Run site_distribute.yml first"),
        ("east-app1", {"units": {}}, "Expected circonus-ca_processor to run on east-app1"),
        ("west-app1", {"units": {"circonus-ca_processor": UP}}, "Expected no CA in west"),
    ])
    def test_by_what_the_hosts_say(self, host, values, words):
        verdict = decide(lambda situation, _facts: situation.probes[host].update(values))
        assert verdict["result"] == "refused" and words in verdict["reason"], verdict

    def test_a_file_that_would_not_be_valid(self):
        raws = pair()
        raws["west"]["machinfo"]["west-app2"]["ip_address"] = "10.89.101.11"
        verdict = decide(raws=raws)
        assert verdict["result"] == "refused" and "would not be valid" in verdict["reason"], verdict

    def test_a_primary_that_is_not_the_master(self):
        def change(situation, _facts):
            situation.primaries = ["east-app3"]

        assert "Expected the primary database on east-app1" in decide(change)["reason"]


class TestProof:
    def prove(self, findings=(), change=None, half=False):
        situation, _facts = world()
        if change:
            change(situation)
        base = {"site": "west", "site_hosts": situation.sites["west"]["hosts"],
                "final_sha256": canonical_sha256(pair()["west"])}
        return b.proof(situation, list(findings), base, half)

    def test_built(self):
        assert self.prove() == []

    def test_a_certificate_that_is_not_there(self):
        assert self.prove([missing()]) == ["api on west-app2: gone."] == self.prove([missing()], half=True)

    def test_another_file_on_a_host(self):
        def change(situation):
            situation.probes["west-app2"]["site"]["sha256"] = "x"

        assert self.prove(change=change) == ["site.json on west-app2 is not that of west."]
        assert self.prove(change=change, half=True) == []


def test_the_files_of_the_lab_are_not_changed():
    raws = pair()
    before = copy.deepcopy(raws)
    b.documents(new(copy.deepcopy(raws)), "west", "east")
    b.documents(raws, "west", "east")
    assert raws == before
