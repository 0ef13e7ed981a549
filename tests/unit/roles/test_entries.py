# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The catalogue entries of all roles: their form, their references, and what each must say."""

from __future__ import annotations

import pytest

from ansible_collections.circonus.inside.plugins.plugin_utils import catalogue, site_data

ENTRIES = catalogue.load()
# Written down by hand from the operation manual, so that an edit of the data by mistake is seen.
UNITS = {
    "api": ["circonus-network-api", "circonus-ssl-term", "circonus-api"],
    "broker": ["noitd"],
    "ca": ["circonus-ca_processor"],
    "caql_broker": ["caql-broker"],
    "data_storage": ["circonus-snowth"],
    "fault_detection": ["circonus-ernie", "circonus-fault-detection"],
    "hub": [
        "circonus-composite_expander", "circonus-grover_queue", "circonus-grover-queue", "circonus-metric_type_chance",
        "circonus-metric_type_change", "circonus-pending_check_processor", "circonus-template_rules_sync",
        "circonus-template-rules-sync",
    ],
    "long_tail_storage": ["circonus-ltstore-rsync"],
    "mq": ["circonus-epmd", "circonus-rabbitmq", "circonus-fq"],
    "notification": [
        "circonus-bert", "circonus-bert-email-bot", "circonus-bert-http-bot", "circonus-bert-pagerduty-bot",
        "circonus-bert-sms-bot",
    ],
    "redis": ["circonus-redis"],
    "search": ["circonus-elasticsearch"],
    "stratcon": ["circonus-stratcon"],
    "web_db": ["circonus-postgres-circonus_wdb"],
    "web_frontend": ["circonus-memcached", "circonus-http", "circonus-ssl-term", "circonus-api-search"],
    "web_stream": ["circonus-enzo-c", "circonus-enzo"],
}
PORTS = {
    "api": {443, 8080, 8089},
    "broker": {43191, 32322, 8083},
    "ca": set(),
    "caql_broker": {8081},
    "data_storage": {8112, 32322},
    "fault_detection": {43191, 8092, 9127, 43192, 32328},
    "hub": set(),
    "long_tail_storage": {873},
    "mq": {4369, 5672, 55672, 8765},
    "notification": {8084},
    "redis": set(),
    "search": set(),
    "stratcon": {43191, 32324},
    "web_db": {5432},
    "web_frontend": {80, 443, 11211},
    "web_stream": {9443},
}
KEYS = {
    "api": "/www/etc/ssl/app1.key",
    "broker": "/opt/napp/etc/ssl/appliance.key",
    "fault_detection": "/opt/circonus/etc/ernie/ernie.key",
    "hub": "/www/etc/ssl/app1.key",
    "stratcon": "/opt/noit/prod/etc/stratcon.key",
    "web_frontend": "/www/etc/ssl/app1.key",
    "web_stream": "/opt/circonus/etc/enzo/enzo.key",
}
USER_FACING = {
    "api": "/www/etc/ssl/api.key",
    "web_frontend": "/www/etc/ssl/web.key",
    "web_stream": "/opt/circonus/etc/enzo/stream.key",
}
ADDRESSES = {
    "caql_broker": ["https://8081/mtev/stats.json"],
    "data_storage": ["http://8112/state", "http://8112/gossip/json", "http://8112/stats.json", "http://8112/"],
    "fault_detection": ["http://8092/resmon", "http://9127/"],
    "mq": ["http://55672/", "http://8765/stats.json", "http://8765/"],
    "notification": ["http://8084/resmon"],
    "web_frontend": ["https://443/status"],
}
SIZES = {
    "api": (4, 8, 40), "broker": (2, 4, 40), "ca": (1, 2, 10), "data_storage": (16, 256, 320),
    "fault_detection": (4, 16, 20), "hub": (1, 2, 20), "mq": (2, 8, 20), "notification": (1, 4, 20),
    "stratcon": (4, 32, 80), "web_db": (8, 64, 200), "web_frontend": (4, 8, 40), "web_stream": (1, 4, 10),
}

# A further role needs no line in this file.
DOCUMENTED = {role: ENTRIES[role] for role in UNITS}


def jobs(role, release):
    return [job["id"] for job in catalogue.effective(ENTRIES[role], release)["cron"]]


def unit(role, name):
    return next(item for item in ENTRIES[role]["units"] if item["id"] == name)


class TestForm:
    def test_all_documented_roles_are_there(self):
        assert set(ENTRIES) >= set(site_data.ROLES) | set(site_data.OBSOLETE_ROLES) | {"broker"}
        assert len(UNITS) == 16 and set(UNITS) <= set(ENTRIES)

    @pytest.mark.parametrize("role", sorted(ENTRIES))
    def test_has_no_problem(self, role):
        assert catalogue.problems(ENTRIES[role]) == []

    @pytest.mark.parametrize("role", sorted(ENTRIES))
    def test_is_named_as_its_role(self, role):
        assert ENTRIES[role]["name"] == role

    @pytest.mark.parametrize("role", sorted(ENTRIES))
    def test_holds_no_path_twice_and_only_absolute_ones(self, role):
        entry = catalogue.effective(ENTRIES[role])
        for paths in [entry["logs"], entry["log_directories"], entry["space"], *entry["paths"].values()]:
            assert len(set(paths)) == len(paths)
            assert all(path.startswith("/") for path in paths)

    @pytest.mark.parametrize("role", sorted(ENTRIES))
    def test_a_unit_and_a_page_on_a_port_agree(self, role):
        ports = {(port["port"], port["unit"]) for port in ENTRIES[role]["ports"]}
        listed = [(port, item["id"]) for item in ENTRIES[role]["units"] for port in item.get("ports", [])]
        pages = [(page["port"], page["unit"]) for page in ENTRIES[role]["endpoints"]]
        assert set(listed + pages) <= ports


class TestConnections:
    def test_both_ends_say_the_same(self):
        # The matrix of the manual lists both directions; what only one end says is a mistake in the data.
        out, into = set(), set()
        for role, entry in ENTRIES.items():
            for link in entry["connections"]["out"]:
                if link["to"] in ENTRIES:
                    out.add((role, link["to"], link["port"], link["proto"]))
            for link in entry["connections"]["in"]:
                if link["from"] in ENTRIES:
                    into.add((link["from"], role, link["port"], link["proto"]))
        assert out == into

    def test_lead_to_ports_that_the_other_role_has(self):
        for role, entry in ENTRIES.items():
            for link in entry["connections"]["out"]:
                if link["to"] in ENTRIES:
                    ports = {(port["port"], port["proto"]) for port in ENTRIES[link["to"]]["ports"]}
                    assert (link["port"], link["proto"]) in ports, "%s to %s" % (role, link["to"])

    def test_who_connects_is_a_client_of_the_port(self):
        for role, entry in ENTRIES.items():
            for link in entry["connections"]["in"]:
                port = next(item for item in entry["ports"] if (item["port"], item["proto"])
                            == (link["port"], link["proto"]))
                assert link["from"] in port["clients"], "%s:%s" % (role, link["port"])


class TestFacts:
    @pytest.mark.parametrize("role", sorted(UNITS))
    def test_units_in_start_order(self, role):
        assert catalogue.unit_names(role) == UNITS[role]

    @pytest.mark.parametrize("role", sorted(PORTS))
    def test_ports(self, role):
        assert {port["port"] for port in ENTRIES[role]["ports"] if not port.get("optional")} == PORTS[role]

    @pytest.mark.parametrize("role", sorted(KEYS))
    def test_keys(self, role):
        assert catalogue.effective(ENTRIES[role], host="app1")["pki"]["key"] == KEYS[role]

    @pytest.mark.parametrize("role", sorted(USER_FACING))
    def test_certificates_for_users_are_told_apart(self, role):
        pki = ENTRIES[role]["pki"]
        assert USER_FACING[role] in pki["user_facing"] and pki["key"] not in pki["user_facing"]

    @pytest.mark.parametrize("role", sorted(DOCUMENTED))
    def test_pages(self, role):
        found = ["http%s://%d%s" % ("s" if page["tls"] else "", page["port"], page["path"])
                 for page in ENTRIES[role]["endpoints"]]
        assert found == ADDRESSES.get(role, [])

    @pytest.mark.parametrize("role", sorted(SIZES))
    def test_sizes(self, role):
        assert tuple(ENTRIES[role]["sizing"][key] for key in ("cpu_cores", "ram_gb", "disk_gb")) == SIZES[role]

    def test_process_pairs(self):
        pairs = {(role, item["id"], item["process"]) for role, entry in DOCUMENTED.items()
                 for item in entry["units"] if item.get("watchdog")}
        assert pairs == {
            ("broker", "noitd", "noitd"), ("data_storage", "snowth", "snowthd"), ("stratcon", "stratcon", "stratcond"),
        }

    def test_jezebel_is_a_process_without_a_unit(self):
        assert [(item["id"], item["port"]) for item in ENTRIES["broker"]["processes"]] == [("jezebel", 8083)]

    def test_only_alerting_is_kept_stopped_in_a_standby_site(self):
        assert [role for role, entry in DOCUMENTED.items() if entry.get("passive") == "stopped"] == [
            "fault_detection", "notification"]

    def test_consoles_hold_no_live_command(self):
        commands = [command for entry in ENTRIES.values() for console in entry.get("consoles", [])
                    for command in console["commands"]]
        assert commands and all(command.startswith("show ") for command in commands)

    def test_consoles_answer_on_the_host_only(self):
        found = {(role, console["port"], console["bind"]) for role, entry in DOCUMENTED.items()
                 for console in entry.get("consoles", [])}
        assert found == {
            ("broker", 32322, "local"), ("data_storage", 32322, "local"), ("fault_detection", 32328, "local"),
            ("stratcon", 32324, "local"),
        }

    def test_smf_names(self):
        assert unit("data_storage", "snowth")["omnios"] == "svc:/network/snowth:default"
        assert unit("web_db", "postgres")["omnios"] == "svc:/database/postgres:circonus_wdb"
        assert unit("fault_detection", "ernie")["omnios"] == "ernie:default"
        assert unit("api", "goapi")["omnios"] == "svc://circonus/api"

    def test_caql_broker_is_up_when_every_thread_says_so(self):
        log = unit("caql_broker", "caql_broker")["life"]["log"]
        assert (log["file"], log["count"]) == ("/opt/noit/prod/log/error.log", 10)


class TestReleases:
    @pytest.mark.parametrize(
        ("release", "engines"),
        [("2019-04-22", ["ernie"]), ("2019-05-06", ["ernie", "faultd"]), ("2020-10-19", ["faultd"]),
         (None, ["ernie", "faultd"])],
    )
    def test_engines_of_fault_detection(self, release, engines):
        entry = catalogue.effective(ENTRIES["fault_detection"], release)
        assert [item["id"] for item in entry["units"]] == engines

    def test_without_ernie_nothing_of_it_is_left(self):
        entry = catalogue.effective(ENTRIES["fault_detection"], "2021-01-11")
        assert entry["pki"] == {} and entry["calls"] == []
        assert [page["id"] for page in entry["endpoints"]] == ["operations"]
        held = [port for port in entry["ports"] if port["port"] == 43191]
        assert [(port["unit"], port["optional"]) for port in held] == [(None, True)]
        assert 8092 not in [port["port"] for port in entry["ports"]]

    def test_the_version_check_moves_from_hub_to_stratcon(self):
        assert "noit_version_check" in jobs("hub", "2019-01-14")
        assert "noit_version_check" not in jobs("stratcon", "2019-01-14")
        assert "noit_version_check" not in jobs("hub", "2019-01-28")
        assert "noit_version_check" in jobs("stratcon", "2019-01-28")

    def test_enzo_sync_leaves(self):
        assert "enzo_sync" in jobs("hub", "2020-10-19") and "enzo_sync" not in jobs("hub", "2020-11-02")

    @pytest.mark.parametrize("role", ["redis", "search"])
    def test_obsolete_roles_are_absent_and_still_known(self, role):
        entry = catalogue.effective(ENTRIES[role], "2019-11-04")
        assert entry["absent"] is True and entry["units"]
        assert catalogue.effective(ENTRIES[role])["absent"] is False

    def test_sweep_delete_leaves(self):
        assert len(catalogue.effective(ENTRIES["data_storage"], "2021-06-14")["calls"]) == 4
        assert len(catalogue.effective(ENTRIES["data_storage"], "2021-06-28")["calls"]) == 1
