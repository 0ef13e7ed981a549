# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decisions of the stand-in's roles, and the file tree they are shipped in."""

import base64
import hashlib
import json
import os
import re
import stat

import pytest
from hooper import alerting, api, ca, certificates, failover, mq, platform, storage, stream, web_db, web_frontend
from hooper.converge import Run
from hooper.site_file import Site

HERE = os.path.dirname(__file__)
ROOTFS = os.path.realpath(os.path.join(HERE, "..", "..", "..", "molecule", "lab", "rootfs"))
LIBRARY = os.path.join(ROOTFS, "opt", "circonus", "libexec", "lab")
UNITS = os.path.join(LIBRARY, "units")
FACTS = {"edition": "later", "site": "east", "pg_version": "15"}


@pytest.fixture
def east():
    path = os.path.join(HERE, "..", "..", "..", "inventories", "lab", "site.east.json")
    with open(path, encoding="utf-8") as handle:
        return Site(json.load(handle))


class TestSettings:
    def test_a_current_server_gets_a_size(self):
        values = dict(web_db.settings({"replication": {"wal_keep_segments": 4}}, "15"))
        assert values["wal_keep_size"] == "64MB" and "wal_keep_segments" not in values

    def test_an_older_server_gets_segments(self):
        values = dict(web_db.settings({}, "11"))
        assert values["wal_keep_segments"] == "16" and "wal_keep_size" not in values

    def test_checkpoint_segments_become_a_size(self):
        values = dict(web_db.settings({"wal": {"checkpoint_segments": "16"}}, "15"))
        assert values["max_wal_size"] == "768MB" and "checkpoint_segments" not in values

    def test_site_values_win_over_the_defaults(self):
        values = dict(web_db.settings({"tuning": {"max_connections": 300}, "logging": {"log_timezone": "CET"}}, "15"))
        assert values["max_connections"] == "300" and values["log_timezone"] == "CET"

    def test_what_the_platform_needs_cannot_be_overridden(self):
        values = dict(web_db.settings({"tuning": {"port": "1"}}, "15"))
        assert values["port"] == "5432" and values["fsync"] == "on" and values["wal_log_hints"] == "on"

    def test_quotes_values(self):
        assert web_db.render_settings([("a", "it's")]).endswith("a = 'it''s'\n")


class TestRenderAccess:
    def test_every_network_may_replicate_and_log_in(self):
        lines = web_db.render_access(["192.0.2.0/24"]).splitlines()
        assert "host\treplication\treplication\t192.0.2.0/24\ttrust" in lines
        assert "host\tall\tall\t192.0.2.0/24\tmd5" in lines
        assert "local\tall\tpostgres\tpeer" in lines
        assert "local\treplication\treplication\ttrust" in lines

    def test_nobody_else_is_trusted(self):
        trusted = [line for line in web_db.render_access(["192.0.2.0/24"]).splitlines() if line.endswith("trust")]
        assert all(line.split("\t")[1:3] == ["replication", "replication"] for line in trusted)


class TestReplicaFiles:
    def test_from_12_on(self):
        files = web_db.replica_files("15", "/wdb/pgdata/15", "192.0.2.1", "west-app1")
        assert files["standby.signal"] == ""
        wanted = "primary_conninfo = 'host=192.0.2.1 port=5432 user=replication application_name=west-app1'\n"
        assert wanted in files["postgresql.auto.conf"]

    def test_before_12(self):
        files = web_db.replica_files("11", "/wdb/pgdata/11", "192.0.2.1", "west-app1")
        assert list(files) == ["recovery.conf"]
        assert "trigger_file = '/wdb/pgdata/11/failover.now'" in files["recovery.conf"]
        assert "recovery_target_timeline = 'latest'" in files["recovery.conf"]


class TestRabbit:
    def test_password_hash_is_verifiable(self):
        raw = base64.b64decode(mq.password_hash("circonus", "secret"))
        assert raw[4:] == hashlib.sha256(raw[:4] + b"secret").digest()

    def test_definitions_are_the_same_every_time(self):
        assert mq.definitions("a") == mq.definitions("a") != mq.definitions("b")
        users = {user["name"] for user in json.loads(mq.definitions("a"))["users"]}
        assert users == {"guest", "circonus"}

    def test_definitions_hold_no_clear_password(self):
        assert "FakeSecret" not in mq.definitions("FakeSecret")

    def test_members(self):
        text = "{['rabbit@east-app1','rabbit@east-app2'],['rabbit@east-app1']}.\n"
        assert mq.members(text) == ["rabbit@east-app1", "rabbit@east-app2"]

    def test_settings_list_the_sites_nodes(self):
        text = mq.settings(["east-app1", "east-app2"])
        assert "cluster_formation.classic_config.nodes.2 = rabbit@east-app2\n" in text
        assert "management.tcp.port = 55672\n" in text
        assert "loopback_users.guest = true\n" in text


class TestAuthority:
    def test_subject_has_the_default_name(self):
        assert ca.subject({"country": "US", "org_name": "A/B"}) == (
            "/C=US/O=A\\/B/CN=Circonus Inside Certificate Authority"
        )

    def test_certificates_of_a_frontend(self, east):
        kinds = {entry[0]: entry for entry in certificates.wanted(east, FACTS, "east-app1")}
        assert set(kinds) == {"host", "web"}
        assert f"IP:{east.address('east-app1')}" in kinds["web"][5]

    def test_certificates_of_fault_detection_in_2019(self, east):
        kinds = [entry[0] for entry in certificates.wanted(east, {"edition": "2019"}, "east-app1")]
        assert "ernie" in kinds

    def test_a_commercial_certificate_is_not_made(self, east):
        east.services["web_frontend"]["certificate_type"] = "commercial"
        assert [entry[0] for entry in certificates.wanted(east, FACTS, "east-app1")] == ["host"]


class TestCirconusConf:
    def test_says_which_site_is_active(self, east):
        assert "Inside::PrimaryDC = 1\n" in web_frontend.settings(east)
        east.raw["active_datacenter"] = False
        assert "Inside::PrimaryDC = 0\n" in web_frontend.settings(east)


class TestDaemonSettings:
    def test_do_not_change_in_a_failover(self, east):
        before = alerting.daemon_settings(east, FACTS, "east-app1")
        east.raw["active_datacenter"] = False
        east.services["web_db"]["master"] = "west-app1"
        assert alerting.daemon_settings(east, FACTS, "east-app1") == before


class TestStore:
    """What data_storage writes, and for whom; nothing is done."""

    class Recorder:
        def __init__(self):
            self.calls = {}

        def file(self, path, content, mode=0o644, owner="root", **_more):
            self.calls[path] = (owner, content)
            return True

        def directory(self, path, _mode=0o755, owner="root", _group=None):
            self.calls[path] = (owner, None)

        def link(self, path, target):
            self.calls[path] = ("root", target)

        once = file

        def __getattr__(self, _name):
            return lambda *_arguments, **_options: None

    def written(self, east, tmp_path, monkeypatch, edition):
        monkeypatch.setattr(storage, "ETC", str(tmp_path))
        run = self.Recorder()
        storage.data_storage(run, east, dict(FACTS, edition=edition), "east-store1")
        return {path.replace(str(tmp_path), "etc"): call for path, call in run.calls.items()}

    @pytest.mark.parametrize("edition, day", [("2019", "2019-11-04"), ("later", "2021-11-29")])
    def test_names_the_release_of_the_edition(self, east, tmp_path, monkeypatch, edition, day):
        found = self.written(east, tmp_path, monkeypatch, edition)
        assert f'<lab release="{day}"/>' in found["etc/snowth.conf"][1]
        assert ("/opt/circonus/bin/snowth-start" in found) == (edition == "later")

    def test_gives_the_service_what_a_resize_rewrites(self, east, tmp_path, monkeypatch):
        found = self.written(east, tmp_path, monkeypatch, "later")
        names = ["etc/topology.conf", "etc/snowth-topo", "/snowth/localstate", "/snowth/redo", "/snowth/logs"]
        assert {found[name][0] for name in names} == {"nobody"}
        assert found["etc/topology"][0] == found["etc/snowth.conf"][0] == "root"


class TestFailover:
    """The database is played here; the real one is switched in the lab's own scenarios."""

    @pytest.fixture
    def answers(self, monkeypatch):
        given, asked = [], []

        def sql(_run, text, database="postgres"):
            asked.append(text)
            return given.pop(0)

        monkeypatch.setattr(web_db, "sql", sql)
        return given, asked

    def test_refuses_on_a_standby(self, answers, east):
        answers[0].append(["t"])
        assert failover.switch(Run(), east)[0] == 1
        assert len(answers[1]) == 1

    def test_does_nothing_when_already_active(self, answers, east):
        answers[0].extend([["f"], ["east|t"]])
        assert failover.switch(Run(), east) == (0, "message queue of east is already active")
        assert not any("UPDATE" in text for text in answers[1])

    def test_switches_the_local_site(self, answers, east):
        answers[0].extend([["f"], ["east|f"], []])
        assert failover.switch(Run(), east)[0] == 0
        assert "UPDATE" in answers[1][-1] and "'east'" in answers[1][-1]

    def test_refuses_without_a_record(self, answers, east):
        answers[0].extend([["f"], []])
        assert failover.switch(Run(), east)[0] == 1


class TestStatusPage:
    @pytest.fixture
    def status_page(self):
        import importlib.util

        path = os.path.join(LIBRARY, "web", "status_page.py")
        spec = importlib.util.spec_from_file_location("status_page", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    @pytest.mark.parametrize(("state", "words"), [(True, {"STANDBY"}), (False, {"ACTIVE"}), (None, set())])
    def test_shows_one_word_or_none(self, status_page, state, words):
        line, text = status_page.page(state)
        assert {word for word in ("ACTIVE", "STANDBY") if word in text} == words
        assert line.startswith("200" if words else "500")

    def test_reads_what_hooper_writes(self, status_page, east, tmp_path):
        path = tmp_path / "circonus.conf"
        path.write_text(web_frontend.settings(east))
        conf = status_page.settings(str(path))
        assert conf["DB::Host"] == "east-app1" and conf["DB::Password"] == east.role("web_db")["web_pass"]


class TestCertificates:
    @pytest.mark.parametrize(
        "host, kinds",
        [("east-app2", {"host", "api", "caql_broker"}), ("east-app3", {"host", "stratcon", "enzo", "stream"})],
    )
    def test_every_role_gets_its_own(self, east, host, kinds):
        assert {entry[0] for entry in certificates.wanted(east, FACTS, host)} == kinds

    def test_the_operators_own_are_not_asked_for(self, east):
        east.services["api"]["certificate_type"] = "commercial"
        assert "api" not in {entry[0] for entry in certificates.wanted(east, FACTS, "east-app2")}


class TestStorage:
    def test_topology_follows_the_order_of_the_site(self, east):
        nodes = storage.topology_nodes(east)
        assert [address for _id, address, _weight, _side in nodes] == ["10.89.101.31", "10.89.101.32", "10.89.101.33"]
        assert {weight for _id, _address, weight, _side in nodes} == {170}

    def test_sides_are_kept(self, east):
        east.services["data_storage"].update(side_a=["east-store1"], side_b=["east-store2", "east-store3"])
        assert [node[3] for node in storage.topology_nodes(east)] == ["a", "b", "b"]


class TestStream:
    def test_caql_settings_name_queue_api_and_store(self, east):
        text = stream.caql_settings(east)
        assert "<host>east-app1</host>" in text and 'host="east-app2" port="8080"' in text
        assert 'host="east-store1" port="8112"' in text and east.role("caql_broker")["registration_token"] in text


class FakeRun(Run):
    """Records what would be done to files and units."""

    def __init__(self):
        super().__init__()
        self.done = []

    def file(self, path, content, *_more, **_options):
        self.done.append((path, content))
        return True

    def link(self, path, target):
        self.done.append((path, target))

    def services(self, units, enabled=True, running=True, restart=False):
        self.done.append((tuple(units), enabled, running, restart))


class TestHubJobs:
    @pytest.mark.parametrize("edition, there", [("later", False), ("2019", True)])
    def test_are_the_documented_ones(self, edition, there):
        run = FakeRun()
        alerting.cron(run, {"edition": edition})
        table = dict(run.done)["/etc/cron.d/circonus-hub"]
        assert "* * * * * root /www/bin/noit/stratcon_sync.pl\n" in table
        assert ("/www/bin/noit/enzo_sync.pl" in table) is there
        assert ("/www/bin/grover/reindex_elasticsearch.pl" in dict(run.done)) is there


class TestSettle:
    def test_units_of_a_kind_go_together(self):
        run = FakeRun()
        run.later(["a"])
        run.later(["b"], restart=True)
        run.later(["c"])
        run.settle()
        assert run.done == [(("a", "c"), True, True, False), (("b",), True, True, True)]
        run.settle()
        assert len(run.done) == 2


class TestObsoleteRoles:
    def test_are_left_alone_in_the_later_edition(self, east, monkeypatch):
        monkeypatch.setattr(platform, "everywhere", lambda *_: None)
        east.services["redis"] = {"_machlist": ["east-store1"]}
        run = FakeRun()
        platform.converge(run, east, FACTS, "east-store1", ["redis"])
        assert run.summary == [("INFO", "role redis does not exist in this release; nothing was installed for it")]
        assert run.done == []

    def test_are_installed_in_the_2019_edition(self, east, monkeypatch):
        monkeypatch.setattr(platform, "everywhere", lambda *_: None)
        monkeypatch.setattr(FakeRun, "unit_file", lambda self, unit: None)
        run = FakeRun()
        platform.converge(run, east, {**FACTS, "edition": "2019"}, "east-store1", ["redis"])
        assert run.done == [((storage.REDIS,), True, True, False)]


def tree():
    for directory, _folders, names in os.walk(ROOTFS):
        for name in names:
            if "__pycache__" not in directory:
                yield os.path.join(directory, name)


class TestTree:
    def test_has_no_symbolic_links(self):
        assert [path for path in tree() if os.path.islink(path)] == []

    def test_every_program_says_what_it_is_and_bytecode_stays_away(self):
        programs = [path for path in tree() if os.stat(path).st_mode & stat.S_IXUSR]
        assert {os.path.basename(path) for path in programs} >= {"run-hooper", "failover.pl", "status"}
        for path in programs:
            with open(path, encoding="utf-8") as handle:
                lines = [handle.readline() for _line in range(2)]
            assert lines[0] in ("#!/bin/sh\n", "#!/usr/bin/python3 -sB\n")
            assert re.match(r"# (STAND-IN|Lab)", lines[1]), path

    def test_every_unit_the_roles_name_is_there(self):
        names = {web_db.UNIT, mq.EPMD, mq.UNIT, ca.UNIT, web_frontend.HTTP, web_frontend.TLS, web_frontend.MEMCACHED}
        names |= {*alerting.NOTIFICATION, *alerting.HUB, alerting.GROVER, alerting.FAULTD, alerting.ERNIE}
        names |= {mq.FQ, api.NETWORK, api.GOAPI, api.SEARCH, stream.STRATCON, stream.CAQL, stream.ENZO, stream.ENZO_C}
        names |= {storage.SNOWTH, storage.RSYNC, storage.REDIS, storage.ELASTIC, "noitd"}
        assert {f"{name}.service" for name in names} <= set(os.listdir(UNITS))

    @pytest.mark.parametrize("name", sorted(os.listdir(UNITS)))
    def test_every_unit_says_whether_it_is_real(self, name):
        with open(os.path.join(UNITS, name), encoding="utf-8") as handle:
            description = re.search(r"^Description=(.*)$", handle.read(), re.M).group(1)
        assert re.search(r"STAND-IN|real|Lab", description)
