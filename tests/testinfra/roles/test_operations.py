# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""service_operate.yml and service_restart.yml on the running lab: what they touch, in which order, what stops them.

Looked at through systemd and its journal on the hosts, whose monotonic clocks are one: the hosts are containers.
"""

from __future__ import annotations

import json
import time

import pytest
from running_lab import Lab, wait_until

BERT, API, RABBITMQ, EPMD = "circonus-bert", "circonus-network-api", "circonus-rabbitmq", "circonus-epmd"
LOCK = "/var/lib/circonus-inside/procedure.lock"


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """The lab of this scenario, as playbooks and clients see it."""
    return Lab(tmp_path_factory.mktemp("reports"))


def processes(lab, unit, *hosts):
    """{host: main process of a unit, "0" when it does not run}"""
    return {host: lab.on(host, "systemctl", "show", "--value", "-p", "MainPID", unit).stdout.strip() for host in hosts}


def jobs(lab, host, since, *units):
    """[(microseconds, unit, "start" or "stop")]: what systemd finished on a host since ``since`` (epoch), in order."""
    argv = ["journalctl", "-o", "json", "--since", "@%d" % since, *["UNIT=%s.service" % unit for unit in units]]
    found = []
    for line in lab.on(host, *argv).stdout.splitlines():
        record = json.loads(line)
        # The journal is asked for whole seconds; what was before in the first one does not count.
        if record.get("JOB_RESULT") == "done" and int(record["__REALTIME_TIMESTAMP"]) >= since * 1e6:
            # The first half of a restart is a job of that name.
            verb = "start" if record["JOB_TYPE"] == "start" else "stop"
            found.append((int(record["__MONOTONIC_TIMESTAMP"]), record["UNIT"].removesuffix(".service"), verb))
    return sorted(found)


def put_lock(lab, host, **record):
    """Leave a lock behind as another run would."""
    started = time.time() - 3600
    lock = {
        "token": 900,
        "state": "held",
        "run_id": "20260101T000000Z-other",
        "procedure": "web_db_failover",
        "owner": "bert@elsewhere",
        "controller": "elsewhere/00000000/77/12345",
        "pid": 77,
        "acquired": started,
    }
    lab.on(host, "mkdir", "-p", LOCK.rpartition("/")[0])
    lab.on(host, "tee", LOCK, input=json.dumps(dict(lock, **record)))


class TestOperate:
    def restart(self, lab, **extra):
        return lab.play("service_operate", service_operate_role="notification", service_operate_verb="restart", **extra)

    def test_restart_touches_the_named_site_only(self, running):
        hosts = ("east-app2", "west-app2")
        before = processes(running, BERT, *hosts)
        run = self.restart(running, service_operate_limit=["east"], circonus_confirm="notification")
        assert run.rc == 0 and run.result == "ok", run
        after = processes(running, BERT, *hosts)
        assert after["east-app2"] not in ("0", before["east-app2"])
        assert after["west-app2"] == before["west-app2"] == "0", "alerting stays stopped in the standby site"

    def test_restart_without_the_word_is_refused(self, running):
        before = processes(running, BERT, "east-app2")
        run = self.restart(running)
        assert run.rc != 0 and run.result == "refused" and "circonus_confirm" in run.report["reason"], run
        assert processes(running, BERT, "east-app2") == before

    def test_a_lock_that_has_expired_is_taken_over(self, running):
        put_lock(running, "east-app1", expires=time.time() - 60)
        run = self.restart(running, service_operate_limit=["east"], circonus_confirm="notification")
        assert run.rc == 0 and run.result == "ok", run
        lock = json.loads(running.on("east-app1", "cat", LOCK).stdout)
        assert lock["state"] != "held" and lock["token"] > 900, lock

    def test_a_port_that_a_stranger_holds_is_no_sign_of_life_and_stops_the_rest(self, running):
        hosts = ("east-app2", "west-app2")
        try:
            for host in hosts:
                running.on(host, "systemctl", "stop", API)
            running.on("east-app2", "systemd-run", "--unit", "stranger", "python3", "-m", "http.server", "8080")
            wait_until(lambda: ":8080" in running.on("east-app2", "ss", "-Hltn").stdout, 20, "the port is taken")
            run = running.play(
                "service_operate",
                service_operate_role="api",
                service_operate_verb="start",
                service_operate_only=["network_api"],
                service_operate_timeout_s=20,
            )
            assert run.rc != 0 and run.result == "failed", run
            assert "east-app2" in run.report["reason"] and "network_api" in run.report["reason"], run
            assert "another process still listens on 8080" in run.report["reason"], run
            assert processes(running, API, "west-app2")["west-app2"] == "0", "no further host was touched"
        finally:
            running.on("east-app2", "systemctl", "stop", "stranger", check=False)
            for host in hosts:
                running.on(host, "systemctl", "reset-failed", API, check=False)
                running.on(host, "systemctl", "start", API)

    def test_what_does_not_come_up_is_named_with_the_last_lines_of_its_log(self, running):
        directory = "/run/systemd/system/%s.service.d" % BERT
        words = "echo out of luck | tee -a /var/log/circonus/bert.log.0 /var/log/circonus/bert.log; exit 3"
        lines = '[Service]\nExecStart=\nExecStart=/bin/sh -c "%s"\n' % words
        script = "mkdir -p %s; cat > %s/fault.conf; systemctl daemon-reload" % (directory, directory)
        try:
            running.on("east-app2", "sh", "-c", script, input=lines)
            run = self.restart(running, service_operate_limit=["east"], circonus_confirm="notification",
                               service_operate_timeout_s=20)
            assert run.rc != 0 and run.result == "failed", run
            assert "bert" in run.report["reason"] and "out of luck" in run.output, run
        finally:
            running.on("east-app2", "sh", "-c", "rm -r %s; systemctl daemon-reload; systemctl reset-failed %s; "
                                                "systemctl restart %s" % (directory, BERT, BERT))


class TestMessageQueue:
    def restart(self, lab, **extra):
        words = {"service_restart_role": "mq", "service_restart_limit": ["east"], "circonus_confirm": "mq"}
        return lab.play("service_restart", **words, **extra)

    def test_restarts_node_by_node_then_the_dependants_in_order(self, running):
        since = time.time()
        run = self.restart(running, circonus_edition="2019")
        assert run.rc == 0 and run.result == "ok", run
        ends = []
        for host in ("east-app1", "east-app2"):
            found = jobs(running, host, since, RABBITMQ, EPMD)
            assert [(unit, job) for _at, unit, job in found] == [
                (RABBITMQ, "stop"),
                (EPMD, "stop"),
                (EPMD, "start"),
                (RABBITMQ, "start"),
            ], (host, found)
            ends.append((found[0][0], found[-1][0]))
        assert ends[0][1] < ends[1][0] or ends[1][1] < ends[0][0], "never two nodes at a time"
        dependants = (
            ("east-app3", "circonus-stratcon"),
            ("east-app1", "circonus-fault-detection"),
            ("east-app2", BERT),
            ("east-app1", "circonus-http"),
            ("east-app2", API),
        )
        starts = [[at for at, _unit, job in jobs(running, host, since, unit)] for host, unit in dependants]
        assert all(starts), (starts, "every dependant was restarted")
        spans = [(min(times), max(times)) for times in starts]
        assert max(end for _start, end in ends) < spans[0][0], "dependants after the queue"
        assert all(one[1] < two[0] for one, two in zip(spans, spans[1:], strict=False)), "one after another, in order"
        assert running.rabbit_nodes("east-app1") == ["rabbit@east-app1", "rabbit@east-app2"]

    def test_does_not_begin_while_a_node_is_down(self, running):
        try:
            running.on("east-app2", "systemctl", "stop", RABBITMQ)
            before = processes(running, RABBITMQ, "east-app1")
            run = self.restart(running)
            assert run.rc != 0 and "east-app2" in run.report["reason"], run
            assert processes(running, RABBITMQ, "east-app1") == before, "the only node left goes on"
        finally:
            running.on("east-app2", "systemctl", "start", RABBITMQ)
        wait_until(lambda: len(running.rabbit_nodes("east-app1")) == 2, 120, "the cluster is whole again", interval=1)
