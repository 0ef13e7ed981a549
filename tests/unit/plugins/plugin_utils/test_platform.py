# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Seeded faults: one thing of a healthy platform is broken, and exactly one finding with that id and host comes."""
from __future__ import annotations

import pathlib

import pytest
import yaml
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput
from ansible_collections.circonus.inside.plugins.plugin_utils import findings, platform, platform_cross, report

ROOT = pathlib.Path(__file__).resolve().parents[4]
NOW = 1_800_000_000.0
DAY = 86400.0


def down(p, host, role, unit_id, **more):
    """A service with everything that hangs on it, as host_check sees it."""
    state = {"active": "inactive", "sub": "dead", "pid": None, "up": False, "missing": "inactive", **more}
    p.item(host, role, "units", unit_id).update(state)
    spec = next(entry for entry in p.entries[host] if entry["name"] == role)
    mine = {item["port"] for item in spec.get("ports") or [] if item["unit"] == unit_id}
    for port in p.state(host, role)["ports"]:
        if port["port"] in mine:
            port.update(listening=False, ok=False, owner=None, owner_unit=None, bound=None, bind_ok=None)
    for page in p.state(host, role)["endpoints"]:
        if next(e for e in spec["endpoints"] if e["id"] == page["id"])["unit"] == unit_id:
            page.update(status=None, ok=False, error="connection refused")
    for pair in p.state(host, role)["processes"]:
        if pair["id"] == unit_id:
            pair.update(parent=None, child=None, ok=False, detail="expected a process, found none")


def mq_down(p):
    down(p, "east-app2", "mq", "rabbitmq")
    p.answers["east-app2"]["mq"] = {}
    p.answers["east-app2"]["missing"] = {"mq": "rabbitmqctl cluster_status ended with 69: nodedown"}
    p.answers["east-app1"]["mq"]["running_nodes"] = ["rabbit@east-app1"]


def primary_down(p):
    down(p, "east-app1", "web_db", "postgres-circonus_wdb")
    p.answers["east-app1"]["web_db"].update(running=False, answers=False, in_recovery=None, replicas=[])
    for host in ("east-app3", "west-app1"):
        p.answers[host]["web_db"]["receiver"] = None


def stolen(p):
    down(p, "east-app3", "web_stream", "enzo-c", active="failed", sub="failed")
    p.item("east-app3", "web_stream", "ports", 9443).update(
        listening=True, ok=False, owner="nc", owner_pid=4242, owner_unit="cron")


def partition(p):
    p.answers["east-app1"]["mq"].update(running_nodes=["rabbit@east-app1"],
                                        partitions={"rabbit@east-app1": ["rabbit@east-app2"]})
    p.answers["east-app2"]["mq"].update(running_nodes=["rabbit@east-app2"],
                                        partitions={"rabbit@east-app2": ["rabbit@east-app1"]})


def two_primaries(p):
    p.answers["west-app1"]["web_db"].update(in_recovery=False, receiver=None)
    p.answers["east-app1"]["web_db"]["replicas"].pop()


def no_primary(p):
    p.answers["east-app1"]["web_db"].update(in_recovery=True)


def unseen_primary(p):
    """The master answers as a standby, and a database host that may be the primary does not tell."""
    no_primary(p)
    p.answers["west-app3"]["web_db"] = {}


def other_primary(p, host):
    """Another host became the primary and everybody follows it."""
    facts = {name: p.answers[name]["web_db"] for name in ("east-app1", "east-app3", "west-app1", "west-app3")}
    for name, own in facts.items():
        own["in_recovery"] = name != host
        local = name.startswith(host[:4])
        upstream = host if local or name.endswith("app1") else "%s-app1" % name[:4]
        own["receiver"] = None if name == host else {"status": "streaming", "upstream": upstream}
        own["replicas"] = [{"application_name": other, "lag_bytes": 0} for other in facts if other != name]


def fenced(p):
    """web_db_failover moved the primary away from west-app3's upstream; the old one waits with a fence."""
    down(p, "west-app1", "web_db", "postgres-circonus_wdb")
    p.answers["west-app1"]["web_db"].update(running=False, answers=False, in_recovery=None, fence={"run_id": "r-1"})


def unreachable(p, host):
    p.answers[host] = {"reachable": False, "msg": "ssh: connect to host port 22: No route to host"}


def status(p, host, state):
    p.answers[host]["status"] = {"state": state, "answers": [{"error": "status 500" if state == "unknown" else ""}]}


def unit(p, host, role, name, **more):
    p.item(host, role, "units", name).update(more)


def item(p, host, role, kind, key, **more):
    p.item(host, role, kind, key).update(more)


def web_db(p, host, **more):
    p.answers[host]["web_db"].update(more)


def alerting(p, host, role, name):
    unit(p, host, role, name, active="active", sub="running", up=True, pid=77)


def old_log(p):
    for log in p.state("east-store2", "data_storage")["logs"]:
        log.update(age_s=2 * DAY, mtime=NOW - 2 * DAY)


def clock(p, host, seconds):
    p.answers[host]["clock"].update(epoch=NOW + 0.3 + seconds, offset_s=0.3 + seconds)


def absent(p):
    for each in p.state("west-app3", "search")["units"]:
        each.update(present=False, unit=None, active=None, up=False)


def feeds(p, broker, *stratcons, kind="", **more):
    """Connections of some stratcons to a broker; without any, of all."""
    for host in stratcons or ("east-app3", "west-app3"):
        for feed in p.answers[host]["stratcon"]["feeds"]:
            if feed["remote"].startswith(p.nodes[broker]["address"]) and kind in feed["type"]:
                feed.update(more)


def lost(p, broker, *stratcons, kind=""):
    feeds(p, broker, *stratcons, kind=kind, connected=False, cn=None, silent_s=None)


def unlisted(p, broker, *stratcons):
    for host in stratcons:
        known = p.answers[host]["stratcon"]["feeds"]
        known[:] = [feed for feed in known if not feed["remote"].startswith(p.nodes[broker]["address"])]


def all_lost(p):
    for broker in ("broker1", "broker2"):
        lost(p, broker, "west-app3")


SPACE = {"total_bytes": 100 * 2**30, "total_inodes": 10000}
#: (name, id, host, how it is broken)
SEEDS = [
    ("host down", "host_unreachable", "west-app4", lambda p: unreachable(p, "west-app4")),
    ("host without Python", "check_failed", "west-app4",
     lambda p: p.answers.update({"west-app4": {"reachable": True, "msg": "the module broke off: no python3"}})),
    ("a part does not answer", "check_incomplete", "east-app3",
     lambda p: p.answers["east-app3"]["missing"].update(cron="no answer within 9.7 s")),
    ("file system hangs", "check_incomplete", "east-store1",
     lambda p: p.answers["east-store1"]["space"][0].update(error="no answer within 9.7 s")),
    ("unit dead", "unit_down", "east-app3", lambda p: down(p, "east-app3", "stratcon", "stratcon")),
    ("RabbitMQ dead", "unit_down", "east-app2", mq_down),
    ("primary database dead", "unit_down", "east-app1", primary_down),
    ("unit failed", "unit_failed", "west-app3",
     lambda p: down(p, "west-app3", "stratcon", "stratcon", active="failed", sub="failed")),
    ("unit flapping", "unit_flapping", "east-app2",
     lambda p: unit(p, "east-app2", "api", "network-api", loop=True, loop_detail="systemd restarted it 7 times")),
    ("unit flapping by its counter", "unit_flapping", "east-app2",
     lambda p: unit(p, "east-app2", "api", "network-api", loop=None, restarts=7, since_epoch=NOW - 20)),
    ("unit waits for its next start", "unit_flapping", "broker1",
     lambda p: down(p, "broker1", "broker", "noitd", active="activating", sub="auto-restart", loop=None)),
    ("unit not installed", "unit_absent", "east-app3",
     lambda p: unit(p, "east-app3", "hub", "grover_queue", present=False, unit=None, active=None, up=False)),
    ("unit not enabled", "unit_disabled", "east-app4",
     lambda p: unit(p, "east-app4", "caql_broker", "caql-broker", enabled="disabled")),
    ("role not installed", "role_absent", "west-app3", absent),
    ("no sign of life", "no_sign_of_life", "east-app3",
     lambda p: unit(p, "east-app3", "redis", "redis", up=False, missing="log line Ready")),
    ("process gone", "process_missing", "broker2",
     lambda p: item(p, "broker2", "broker", "processes", "jezebel", ok=False, parent=None, detail="found none")),
    ("pair without child", "pair_without_child", "east-store1",
     lambda p: item(p, "east-store1", "data_storage", "processes", "snowth", ok=False, child=None)),
    ("child restarted again and again", "restart_loop", "broker1",
     lambda p: item(p, "broker1", "broker", "processes", "noitd", ok=False, restarts=1, detail="started again")),
    ("port closed", "port_not_listening", "east-app1",
     lambda p: item(p, "east-app1", "mq", "ports", 4369, listening=False, ok=False)),
    ("port bound by a stranger", "port_stolen", "east-app3", stolen),
    ("port bound to the loopback", "port_bound_local", "east-app1",
     lambda p: item(p, "east-app1", "web_db", "ports", 5432, bound="local", bind_ok=False)),
    ("console open to the network", "port_exposed", "broker1",
     lambda p: item(p, "broker1", "broker", "ports", 32322, bound="any", bind_ok=False)),
    ("port hangs", "port_hung", "east-app1",
     lambda p: item(p, "east-app1", "mq", "endpoints", "fq", status=None, ok=False, error="timed out")),
    ("page 500", "endpoint_error", "west-app1",
     lambda p: item(p, "west-app1", "mq", "endpoints", "management", status=500, ok=False)),
    ("page without a section", "endpoint_sections_missing", "east-app2",
     lambda p: item(p, "east-app2", "fault_detection", "endpoints", "resmon", ok=False, missing_sections=["firehose"])),
    ("page hangs, the port does not", "endpoint_timeout", "east-store1",
     lambda p: item(p, "east-store1", "data_storage", "endpoints", "state", status=None, ok=False, error="timed out")),
    ("page slow", "endpoint_slow", "west-store2",
     lambda p: item(p, "west-store2", "data_storage", "endpoints", "gossip", seconds=4.2)),
    ("disk nearly full", "space_low", "east-app1",
     lambda p: p.answers["east-app1"]["space"][0].update(SPACE, free_bytes=7 * 2**30)),
    ("disk full", "space_full", "east-store2",
     lambda p: p.answers["east-store2"]["space"][0].update(SPACE, free_bytes=0)),
    ("inodes gone", "inodes_low", "west-store1",
     lambda p: p.answers["west-store1"]["space"][0].update(SPACE, free_inodes=3)),
    ("data directory gone", "path_missing", "west-store1",
     lambda p: p.answers["west-store1"]["space"][0].update(error="no such file or directory")),
    ("clock 15 s ahead", "clock_skew", "broker2", lambda p: clock(p, "broker2", 15)),
    ("clock 15 s behind", "clock_skew", "east-app3", lambda p: clock(p, "east-app3", -15)),
    ("clock of fault_detection off", "clock_skew", "east-app2", lambda p: clock(p, "east-app2", 15)),
    ("stale log", "log_stale", "east-store2", old_log),
    ("errors in a log", "log_errors", "broker1",
     lambda p: item(p, "broker1", "broker", "logs", "/opt/noit/prod/log/noitd.log", errors=["JLOG_ERR_CREATE_EXISTS"])),
    ("log grows", "log_grows", "east-app1",
     lambda p: item(p, "east-app1", "web_frontend", "logs", "/www/logs/circonus_access_log", grown_bytes=50 * 2**20)),
    ("log never rotated", "log_large", "east-app3",
     lambda p: item(p, "east-app3", "stratcon", "logs", "/var/log/circonus/stratcon.log", size=3 * 2**30)),
    ("key gone", "pki_missing", "east-app2",
     lambda p: item(p, "east-app2", "api", "pki", "key", present=False, mode=None, owner=None, group=None)),
    ("certificate garbled", "pki_unreadable", "east-app2",
     lambda p: item(p, "east-app2", "api", "pki", "cert", not_after_epoch=None, error="no certificate in it")),
    ("key readable by everybody", "pki_mode", "east-app3",
     lambda p: item(p, "east-app3", "hub", "pki", "key", mode="0644")),
    ("wrong owner on a key", "pki_owner", "west-app2",
     lambda p: item(p, "west-app2", "fault_detection", "pki", "key", owner="root")),
    ("certificate expired", "pki_expired", "west-app1",
     lambda p: item(p, "west-app1", "web_frontend", "pki", "cert", not_after_epoch=NOW - DAY)),
    ("CRL expired", "pki_expired", "east-app3",
     lambda p: item(p, "east-app3", "stratcon", "pki", "crl", not_after_epoch=NOW - DAY)),
    ("certificate of the portal expires", "pki_expiring", "east-app1",
     lambda p: item(p, "east-app1", "web_frontend", "pki", "/www/etc/ssl/web.crt", not_after_epoch=NOW + 12 * DAY)),
    ("cron missing", "cron_missing", "east-app3",
     lambda p: item(p, "east-app3", "hub", "cron", "stratcon_sync", present=False, user=None, ok=False)),
    ("cron of another user", "cron_wrong", "west-app3",
     lambda p: item(p, "west-app3", "hub", "cron", "noit_activation", user="nobody", ok=False)),
    ("guest/guest", "default_credentials", "west-app2",
     lambda p: p.answers["west-app2"]["mq"].update(default_credentials=1)),
    ("mixed releases", "release_mismatch", "west-app1",
     lambda p: p.answers.update({"east-app2": dict(p.answers["east-app2"], release="2020-02-10"),
                                 "west-app1": dict(p.answers["west-app1"], release="2019-11-04")})),
    ("mixed versions", "version_mismatch", "west-store2",
     lambda p: p.state("west-store2", "data_storage")["versions"].update({"circonus-data_storage": "1.2.2"})),
    ("site.json gone", "site_missing", "east-app4",
     lambda p: p.answers["east-app4"]["site"].update(present=False, sha256="", error="site.json is missing")),
    ("site.json edited", "site_differs", "west-app2", lambda p: p.answers["west-app2"]["site"].update(sha256="0" * 64)),
    ("no primary", "primary_none", "east-app1", no_primary),
    ("primary not to be seen", "primary_unknown", None, unseen_primary),
    ("two primaries", "primary_multiple", "west-app1", two_primaries),
    ("another primary than site.json says", "primary_not_master", "east-app3", lambda p: other_primary(p, "east-app3")),
    ("primary in the standby site", "primary_in_standby_site", "west-app1", lambda p: other_primary(p, "west-app1")),
    ("database hangs", "database_down", "west-app3",
     lambda p: web_db(p, "west-app3", answers=False, in_recovery=None, error="no answer within 5 s")),
    ("old primary fenced", "database_fenced", "west-app1", fenced),
    ("copy of another database", "database_foreign", "west-app3",
     lambda p: web_db(p, "west-app3", system_identifier="9")),
    ("replica detached", "replica_detached", "east-app3", lambda p: web_db(p, "east-app3", receiver=None)),
    ("replica follows the wrong host", "replica_upstream", "west-app3",
     lambda p: web_db(p, "west-app3", receiver={"status": "streaming", "upstream": "192.0.2.1"})),
    ("replica on another timeline", "replica_timeline", "west-app1", lambda p: web_db(
        p, "west-app1", receiver={"status": "stopping"}, timeline=2)),
    ("replay paused", "replica_paused", "east-app3", lambda p: web_db(p, "east-app3", replay_paused=True)),
    ("replica behind", "replica_lag", "west-app1",
     lambda p: p.answers["east-app1"]["web_db"]["replicas"][1].update(lag_bytes=48 * 2**20)),
    ("no guard", "guard_missing", "west-app3",
     lambda p: web_db(p, "west-app3", guard={"installed": False, "state": "absent"})),
    ("guard asleep", "guard_silent", "east-app1",
     lambda p: web_db(p, "east-app1", guard={"installed": True, "state": "silent"})),
    ("guard cut off", "guard_trouble", "east-app1", lambda p: web_db(
        p, "east-app1", guard={"installed": True, "state": "isolated", "message": "no peer answers"})),
    ("RabbitMQ node left", "mq_node_missing", "east-app1",
     lambda p: p.answers["east-app2"]["mq"].update(running_nodes=["rabbit@east-app2"])),
    ("RabbitMQ partition", "mq_partition", "east-app1", partition),
    ("RabbitMQ alarm", "mq_alarm", "west-app1", lambda p: p.answers["west-app1"]["mq"].update(alarms=["disk"])),
    ("broker cut off", "broker_disconnected", "broker1", lambda p: lost(p, "broker1")),
    ("broker cut off from one stratcon", "broker_disconnected", "west-app3", lambda p: lost(p, "broker2", "west-app3")),
    ("checkpoint of a stratcon is stuck", "broker_disconnected", "east-app3",
     lambda p: lost(p, "broker1", "east-app3", kind="durable")),
    ("broker hangs", "broker_silent", "broker2", lambda p: feeds(p, "broker2", silent_s=400.0)),
    ("broker not activated", "broker_unlisted", "broker2", lambda p: unlisted(p, "broker2", "east-app3", "west-app3")),
    ("hub did not tell a stratcon", "broker_unlisted", "east-app3", lambda p: unlisted(p, "broker1", "east-app3")),
    ("stratcon without brokers", "brokers_lost", "west-app3", all_lost),
    ("stratcon hangs", "port_hung", "east-app3", lambda p: p.answers["east-app3"].update(
        stratcon={}, missing={"stratcon": "no answer within 5 s"})),
    ("both sites active", "site_both_active", "west-app1", lambda p: status(p, "west-app1", "ACTIVE")),
    ("no site active", "site_none_active", "east-app1", lambda p: status(p, "east-app1", "STANDBY")),
    ("status says nothing", "status_unknown", "west-app1", lambda p: status(p, "west-app1", "unknown")),
    ("alerting in the standby site", "alerting_in_standby", "west-app2",
     lambda p: alerting(p, "west-app2", "fault_detection", "faultd")),
    ("notification in the standby site", "alerting_in_standby", "west-app2",
     lambda p: alerting(p, "west-app2", "notification", "bert")),
    ("two CA hosts", "ca_elsewhere", "west-app1", lambda p: alerting(p, "west-app1", "ca", "ca_processor")),
]


def second_frontend(p):
    """A site with two frontends of which one disagrees."""
    p.nodes["east-app4"]["roles"].append("web_frontend")
    p.answers["east-app4"]["status"] = {"state": "STANDBY", "answers": []}


SEEDS.append(("one of two frontends disagrees", "status_disagrees", "east-app4", second_frontend))

PKI = ("pki_missing", "pki_unreadable", "pki_mode", "pki_owner", "pki_expired", "pki_expiring")


class TestEvaluate:
    def test_a_healthy_platform_has_no_finding(self, healthy):
        verdict = healthy.check()
        assert verdict["findings"] == []
        assert verdict["sites"] == {"active": "east", "standby": "west"}
        assert verdict["checked"] == {"hosts": 14, "of": 14, "roles": 38}
        assert all(not row["silent"] for row in verdict["connections"])

    @pytest.mark.parametrize("name,wanted,host,change", SEEDS, ids=[seed[0].replace(" ", "_") for seed in SEEDS])
    def test_one_fault_is_one_finding(self, healthy, name, wanted, host, change):
        change(healthy)
        found = healthy.check()["findings"]
        assert [(item["id"], item["host"]) for item in found] == [(wanted, host)], [item["what"] for item in found]
        (only,) = found
        assert set(only) == set(findings.KEYS) and only["severity"] in findings.SEVERITIES
        for key in ("what", "expected", "found", "remedy", "source"):
            assert only[key] and "{" not in only[key] and "the role" not in only[key], (key, only[key])
        assert only["site"] == (healthy.nodes[host]["site"] if host else None)

    def test_every_registered_finding_has_a_seeded_fault(self):
        # Most about the PKI are those of pki_report, whose corpus has each ten times, and of pki_live; those about the
        # clusters of data_storage are of storage_status and storage_diagnose.
        others = ("pki_", "tls_", "storage_")
        mine = {name for name in findings.REGISTER if not name.startswith(others) or name in PKI}
        assert {seed[1] for seed in SEEDS} == mine
        assert len(SEEDS) >= 40

    def test_two_faults_are_two_findings_worst_first(self, healthy):
        partition(healthy)
        absent(healthy)
        assert healthy.ids() == [("mq_partition", "east-app1"), ("role_absent", "west-app3")]

    def test_the_report_of_every_verdict_has_the_documented_shape(self, healthy):
        partition(healthy)
        verdict = healthy.check()
        document = {
            "schema": report.SCHEMA, "procedure": "platform_check", "run_id": "r", "result": "failed", "reason": "x.",
            "check_mode": False, "started": "2026-11-22T15:45:12.123Z", "finished": "2026-11-22T15:45:13.123Z",
            "seconds": 1.0, "controller": "c", "owner": "o", "parameters": {}, "plan": [], "steps": [], "remaining": [],
            "warnings": [], "platform": {"after": verdict["picture"]}, "fail_on": "warning",
            **{key: verdict[key] for key in ("findings", "unknown", "sites", "connections", "checked")},
        }
        assert report.validate(document) == []


class TestSeverity:
    def test_losing_the_primary_is_critical_and_names_the_failover(self, healthy):
        primary_down(healthy)
        (only,) = healthy.check()["findings"]
        assert only["severity"] == "critical" and "web_db_failover.yml" in only["remedy"]

    def test_an_unreachable_primary_is_critical(self, healthy):
        unreachable(healthy, "east-app1")
        assert healthy.ids() == [("host_unreachable", "east-app1")]
        (only,) = healthy.check()["findings"]
        assert only["severity"] == "critical" and "datacenter_failover.yml" in only["remedy"]

    def test_a_required_unit_that_is_absent_is_an_error(self, healthy):
        down(healthy, "east-app2", "mq", "rabbitmq", present=False, unit=None)
        healthy.answers["east-app2"]["mq"] = {}
        found = [item for item in healthy.check()["findings"] if item["id"] == "unit_absent"]
        assert [(item["host"], item["severity"]) for item in found] == [("east-app2", "error")]

    @pytest.mark.parametrize("days,severity", [(29, "warning"), (6, "error")])
    def test_expiry_has_two_steps(self, healthy, days, severity):
        healthy.item("east-app2", "api", "pki", "cert")["not_after_epoch"] = NOW + days * DAY + 60
        assert [item["severity"] for item in healthy.check()["findings"]] == [severity]


class TestRemedy:
    @pytest.mark.parametrize("host,role,kind,words", [
        ("east-app3", "stratcon", "crl", "Run the refresh command of root's crontab on east-app3"),
        ("east-app1", "web_frontend", "/www/etc/ssl/web.crt",
         "Put the right one for users into /www/etc/ssl/web.crt on east-app1, then service_restart.yml "),
        ("east-app2", "api", "cert", "ca_reissue.yml -e ca_reissue_limit=east-app2 -e ca_reissue_roles=api"),
    ])
    def test_of_an_expired_file_depends_on_who_issues_it(self, healthy, host, role, kind, words):
        item(healthy, host, role, "pki", kind, not_after_epoch=NOW - 3 * DAY)
        (only,) = healthy.check()["findings"]
        assert only["remedy"].startswith(words) and only["found"] == "expired 3 days ago"


class TestLimits:
    def test_are_the_defaults_of_the_meta_file(self):
        meta = yaml.safe_load((ROOT / "playbooks/platform_check.meta.yml").read_text())["parameters"]
        mine = {name: spec["default"] for name, spec in meta.items()
                if name.startswith("platform_check_") and "default" in spec}
        assert mine.pop("platform_check_fail_on") == "warning"
        assert mine == {platform.PREFIX + name: value for name, value in platform.LIMITS.items()}

    @pytest.mark.parametrize("seed,parameter,value", [
        ("disk nearly full", "space_percent", 5.0), ("disk full", "space_full_percent", 0.0),
        ("inodes gone", "inodes_percent", 0.0), ("clock 15 s ahead", "clock_s", 30.0),
        ("replica behind", "lag_bytes", 2**30), ("page slow", "endpoint_s", 4.5),
        ("log grows", "log_growth_bytes", 2**40), ("log never rotated", "log_max_bytes", 2**40),
        ("stale log", "log_age_s", 10 * 86400), ("certificate of the portal expires", "expiry_days", 10),
        ("unit flapping by its counter", "restarts", 10), ("unit flapping by its counter", "flapping_s", 5),
        ("broker hangs", "broker_silent_s", 600),
    ])
    def test_a_parameter_moves_the_limit(self, healthy, seed, parameter, value):
        healthy.params = {platform.PREFIX + parameter: value}
        next(change for name, _id, _host, change in SEEDS if name == seed)(healthy)
        left = [finding for finding, _host in healthy.ids()]
        assert left in ([], ["space_low"] if seed == "disk full" else [])


class TestNotEverybodyAnswers:
    def test_a_limited_run_invents_nothing(self, healthy):
        for host in healthy.nodes:
            if not host.startswith("west"):
                healthy.answers[host] = None
        verdict = healthy.check()
        assert verdict["findings"] == []
        assert "--limit" in verdict["unknown"][0]
        assert any("primary" in text for text in verdict["unknown"])
        assert verdict["picture"]["sites"]["east"]["hosts"]["east-app1"]["worst"] == "not_checked"

    def test_nobody_answers(self, healthy):
        for host in healthy.nodes:
            unreachable(healthy, host)
        assert {finding for finding, _host in healthy.ids()} == {"host_unreachable"}
        assert len(healthy.ids()) == 14

    def test_a_release_that_lacks_a_service_is_no_finding(self, healthy):
        unit(healthy, "east-app2", "fault_detection", "ernie", present=False, unit=None, active=None, up=False)
        for host in healthy.answers:
            healthy.answers[host]["release"] = None
        # The release is not known and the catalogue says that it ends: absence proves nothing.
        assert [found for found in healthy.ids() if found[0] == "unit_absent"] == []

    @pytest.mark.parametrize("release,ids", [(None, []), ("2020-02-10", ["cron_missing", "pki_missing"])])
    def test_what_only_some_releases_have_may_be_missing_until_the_release_is_known(self, healthy, release, ids):
        entry = next(entry for entry in healthy.entries["east-app3"] if entry["name"] == "hub")
        entry["cron"][0]["until"] = "2020-11-02"
        entry["pki"]["until"] = "2020-11-02"
        item(healthy, "east-app3", "hub", "cron", "noit_activation", present=False, ok=False)
        item(healthy, "east-app3", "hub", "pki", "cert", present=False)
        for answer in healthy.answers.values():
            answer["release"] = None
        healthy.params = {"circonus_release": release}
        assert sorted(found for found, _host in healthy.ids()) == ids

    def test_nothing_more_is_said_of_a_role_that_is_not_installed(self, healthy):
        for each in healthy.state("east-app3", "hub")["units"]:
            each.update(present=False, unit=None, active=None, up=False)
        item(healthy, "east-app3", "hub", "cron", "noit_activation", present=False, ok=False)
        item(healthy, "east-app3", "hub", "pki", "cert", present=False)
        assert healthy.ids() == [("role_absent", "east-app3")]

    def test_a_replica_whose_upstream_is_down_is_no_finding_of_its_own(self, healthy):
        down(healthy, "west-app1", "web_db", "postgres-circonus_wdb")
        web_db(healthy, "west-app1", running=False, answers=False, in_recovery=None)
        web_db(healthy, "west-app3", receiver=None)
        assert healthy.ids() == [("unit_down", "west-app1")]

    def test_a_role_that_the_release_does_not_have_is_no_finding(self, healthy):
        healthy.answers["west-store1"]["space"][0].update(error="no such file or directory")
        for each in healthy.state("west-store1", "data_storage")["units"]:
            each.update(present=False, unit=None, active=None, up=False)
        healthy.entries["west-store1"][0]["absent"] = True
        assert healthy.ids() == []

    def test_a_role_that_is_not_installed_needs_no_directories(self, healthy):
        for each in healthy.state("east-store1", "data_storage")["units"]:
            each.update(present=False, unit=None, active=None, up=False)
        healthy.answers["east-store1"]["space"][0].update(error="no such file or directory")
        assert healthy.ids() == [("role_absent", "east-store1")]

    def test_a_frontend_that_is_down_has_no_status_page_to_complain_about(self, healthy):
        down(healthy, "west-app1", "web_frontend", "http")
        status(healthy, "west-app1", "unknown")
        assert healthy.ids() == [("unit_down", "west-app1")]

    def test_old_postgresql_leaves_replication_unknown(self, healthy):
        web_db(healthy, "east-app3", receiver=None, error="Expected PostgreSQL 9.6 or later, found 9.2.")
        verdict = healthy.check()
        assert verdict["findings"] == [] and any("Replication of east-app3" in text for text in verdict["unknown"])

    def test_a_trouble_of_the_past_in_a_log_is_history(self, healthy):
        item(healthy, "broker1", "broker", "logs", "/opt/noit/prod/log/noitd.log", errors=["old"], age_s=7200.0)
        assert healthy.ids() == []

    def test_single_site_of_2019_without_status_page(self, healthy):
        del healthy.sites["west"]
        healthy.nodes = {host: node for host, node in healthy.nodes.items() if not host.startswith("west")}
        for entry in (healthy.sites["east"]["raw"],):
            entry.pop("active_datacenter")
            entry["svclist"]["web_db"]["_machlist"] = ["east-app1", "east-app3"]
        healthy.answers["east-app1"]["web_db"]["replicas"].pop()
        status(healthy, "east-app1", "unknown")
        assert healthy.ids() == []


class TestPki:
    def test_files_that_the_release_does_not_have_are_not_missed(self, healthy):
        item(healthy, "east-app2", "fault_detection", "pki", "key", present=False, mode=None, owner=None, group=None)
        entry = next(entry for entry in healthy.entries["east-app2"] if entry["name"] == "fault_detection")
        assert healthy.ids() == [("pki_missing", "east-app2")]
        entry["pki"] = {}
        assert healthy.ids() == []


class TestRabbitMQ:
    def test_two_halves_that_do_not_see_each_other_are_a_partition(self, healthy):
        for host in ("east-app1", "east-app2"):
            healthy.answers[host]["mq"]["running_nodes"] = ["rabbit@" + host]
        assert healthy.ids() == [("mq_partition", "east-app1")]

    def test_a_node_that_left_the_cluster_is_missing(self, healthy):
        for host in ("east-app1", "east-app2"):
            healthy.answers[host]["mq"].update(nodes=["rabbit@" + host], running_nodes=["rabbit@" + host])
        assert [finding for finding, _host in healthy.ids()] == ["mq_node_missing"]

    def test_an_alarm_belongs_to_the_node_that_it_names(self, healthy):
        for host in ("east-app1", "east-app2"):
            healthy.answers[host]["mq"]["alarms"] = ["memory on rabbit@east-app2"]
        assert healthy.ids() == [("mq_alarm", "east-app2")]


class TestSignOfLife:
    def test_a_page_that_hangs_says_it_already(self, healthy):
        item(healthy, "east-store1", "data_storage", "endpoints", "state", status=None, ok=False, error="timed out")
        unit(healthy, "east-store1", "data_storage", "snowth", up=False, missing="does not answer well")
        assert healthy.ids() == [("endpoint_timeout", "east-store1")]


class TestBrokers:
    def test_a_broker_whose_trouble_is_known_is_not_told_again(self, healthy):
        lost(healthy, "broker1")
        down(healthy, "broker1", "broker", "noitd")
        lost(healthy, "broker2")
        unreachable(healthy, "broker2")
        assert set(healthy.ids()) == {("unit_down", "broker1"), ("host_unreachable", "broker2")}

    def test_an_expired_list_of_revocations_is_the_cause(self, healthy):
        all_lost(healthy)
        item(healthy, "west-app3", "stratcon", "pki", "crl", not_after_epoch=NOW - DAY)
        assert healthy.ids() == [("pki_expired", "west-app3")]

    def test_a_stratcon_that_is_down_leaves_the_others_to_tell(self, healthy):
        down(healthy, "west-app3", "stratcon", "stratcon")
        healthy.answers["west-app3"].update(stratcon={}, missing={"stratcon": "connection refused"})
        lost(healthy, "broker1", "east-app3")
        assert set(healthy.ids()) == {("unit_down", "west-app3"), ("broker_disconnected", "broker1")}
        assert any("west-app3" in text for text in healthy.check()["unknown"])

    def test_a_broker_outside_of_the_inventory_is_a_warning_where_it_was_seen(self, healthy):
        stranger = {"remote": "203.0.113.9:43191", "cn": None, "type": "durable/storage", "connected": False,
                    "last_connect_epoch": None, "silent_s": None}
        healthy.answers["east-app3"]["stratcon"]["feeds"].append(stranger)
        (only,) = healthy.check()["findings"]
        assert (only["id"], only["host"], only["severity"]) == ("broker_disconnected", "east-app3", "warning")
        assert "203.0.113.9:43191" in only["expected"] and "never" in only["found"]

    def test_behind_address_translation_the_name_counts(self, healthy):
        feeds(healthy, "broker1", remote="203.0.113.1:43191")
        assert healthy.ids() == []

    def test_an_address_that_is_not_the_one_of_the_inventory_is_left_unknown(self, healthy):
        feeds(healthy, "broker1", remote="203.0.113.1:43191", cn=None)
        verdict = healthy.check()
        assert verdict["findings"] == [] and any("broker1" in text for text in verdict["unknown"])

    def test_storage_alone_names_the_checkpoint(self, healthy):
        lost(healthy, "broker1", "east-app3", kind="durable")
        (only,) = healthy.check()["findings"]
        assert "jlogctl -s" in only["remedy"] and "transient" not in only["found"]

    def test_an_old_answer_without_brokers_says_nothing(self, healthy):
        for host in ("east-app3", "west-app3"):
            healthy.answers[host].pop("stratcon")
        assert healthy.ids() == []


class TestRehearsedClock:
    @pytest.mark.parametrize("host, seconds", [("broker1", 15.0), ("east-app1", -2.5), ("east-app2", 0.0)])
    def test_is_of_the_named_hosts(self, host, seconds):
        params = {"platform_check_rehearse_clock_s": ["broker1=15", "east-app1 = -2.5"]}
        assert platform.rehearsed_clock(params, host) == seconds

    def test_refuses_what_is_no_number(self):
        with pytest.raises(BadInput, match="broker1=late"):
            platform.rehearsed_clock({"platform_check_rehearse_clock_s": ["broker1=late"]}, "broker1")


class TestClocks:
    def test_a_slow_answer_is_no_skew(self):
        answer = {"clock": {"epoch": 100.0}, "asked_epoch": 88.0, "answered_epoch": 101.0}
        assert platform_cross.offset(answer) == (-1, 12)
        assert platform_cross.apart((-1, 12), (0, 0)) == 0

    def test_what_the_check_itself_took_hides_no_skew(self):
        answer = {"clock": {"epoch": NOW + 15.5}, "asked_epoch": NOW, "answered_epoch": NOW + 11.0}
        assert platform_cross.offset(answer) == (4.5, 15.5)
        answer["clock"]["age_s"] = 10.0
        assert platform_cross.offset(answer) == (14.5, 15.5)

    def test_direction(self):
        assert platform_cross.apart((14, 15), (0, 1)) == 13
        assert platform_cross.apart((-15, -14), (0, 1)) == -14

    def test_without_fault_detection_the_controller_counts(self, healthy):
        unreachable(healthy, "east-app2")
        clock(healthy, "broker1", 20)
        skew, gone = healthy.check()["findings"]
        assert (skew["id"], gone["id"]) == ("clock_skew", "host_unreachable")
        assert skew["expected"] == "a clock within 10 s of the controller"


class TestConnections:
    def test_says_who_must_be_reached_and_is_not(self, healthy):
        item(healthy, "east-store1", "data_storage", "ports", 8112, listening=False, ok=False)
        verdict = healthy.check()
        (only,) = verdict["findings"]
        assert only["expected"].endswith("listening, needed by api, stratcon, data_storage")
        silent = {(row["from"], row["to"], row["port"]) for row in verdict["connections"] if row["silent"]}
        assert silent == {("api", "data_storage", 8112), ("stratcon", "data_storage", 8112),
                          ("data_storage", "data_storage", 8112)}

    def test_leaves_out_what_is_kept_stopped_optional_or_a_range(self, healthy):
        rows = healthy.check()["connections"]
        assert not [row for row in rows if row["to"] == "fault_detection" and row["site"] == "west"]
        assert not [row for row in rows if row["to"] == "caql_broker"]


class TestRoleEntries:
    def test_gates_by_release_and_fills_in_the_host(self, monkeypatch):
        entry = {"name": "x", "releases": {"from": "2018-01-01", "until": "2021-01-01"},
                 "units": [{"id": "old", "until": "2019-05-06"}, {"id": "new", "from": "2019-05-06"}],
                 "pki": {"key": "/x/<host>.key"}}
        monkeypatch.setattr(platform.catalogue, "load", lambda: {"x": entry})

        def ids(release):
            return [item["id"] for each in platform.role_entries(["x"], release, "h1") for item in each["units"]]

        assert ids("2019-05-05") == ["old"] and ids("2019-05-06") == ["new"] and ids(None) == ["old", "new"]
        absent = [platform.role_entries(["x"], when, "h1")[0]["absent"] for when in (None, "2017-01-01", "2021-01-01")]
        assert absent == [False, True, True]
        assert platform.role_entries(["x", "unknown"], None, "h1")[0]["pki"] == {"key": "/x/h1.key"}


class TestDraw:
    def test_shows_the_worst_of_host_and_role(self, healthy):
        partition(healthy)
        unit(healthy, "east-app1", "web_frontend", "memcached", enabled="disabled")
        unreachable(healthy, "broker2")
        picture = healthy.check()["picture"]
        host = picture["sites"]["east"]["hosts"]["east-app1"]
        assert host["worst"] == "critical" and host["findings"] == 2
        assert host["role_states"] == {"ca": "ok", "mq": "critical", "web_db": "ok", "web_frontend": "warning"}
        assert picture["sites"]["west"]["hosts"]["west-app1"]["worst"] == "ok"
        assert picture["sites"]["east"]["hosts"]["broker1"]["roles"] == ["broker"]
        assert picture["sites"]["brokers"]["state"] == "unreachable" and picture["sites"]["brokers"]["worst"] == "error"
