# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``--check`` of every playbook changes nothing anywhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from running_lab import DB_HOSTS, ROOT

pytestmark = pytest.mark.usefixtures("no_housekeeping")
HOSTS = DB_HOSTS + ("east-app2", "west-app2", "east-store1")
#: Everything that a procedure could touch; logs and the run's own noise are left out. PostgreSQL names another log in
#: current_logfiles at midnight.
TREES = "/etc /opt/circonus /www /wdb/pgdata /var/lib/circonus-inside /var/lib/rabbitmq/.erlang.cookie"
PRUNE = r"pg_log|pg_stat|pg_stat_tmp|pg_wal|pg_xlog|pg_xact|pg_subtrans|pg_logical|global|base|log|postmaster.*|logs|" \
        r"current_logfiles"
PARAMETERS = {
    "datacenter_failover": {"datacenter_failover_to": "OTHER", "circonus_confirm": "OTHER"},
    "web_db_failover": {"web_db_failover_to": "ACTIVE-app3", "circonus_confirm": "ACTIVE-app3"},
    "web_db_rejoin": {"web_db_rejoin_host": "OTHER-app1", "circonus_confirm": "OTHER-app1"},
    "data_storage_restart": {"circonus_confirm": "data_storage"},
    "data_storage_license": {"data_storage_license_file": str(Path(__file__).parent / "licenses.xml"),
                             "circonus_confirm": "data_storage"},
    "data_storage_sweep": {"data_storage_sweep_before": "2019-01-01", "circonus_confirm": "data_storage:2019-01-01"},
    "data_storage_repair": {"circonus_confirm": "east-store1"},
    "data_storage_diagnose": {"data_storage_diagnose_fail_on": "critical"},
    "data_storage_rebuild": {"data_storage_rebuild_node": "ACTIVE-store2", "circonus_confirm": "ACTIVE-store2"},
    "data_storage_condense": {"circonus_confirm": "data_storage"},
    "service_operate": {"service_operate_role": "mq"},
    "service_restart": {"service_restart_role": "mq", "circonus_confirm": "mq"},
    "service_restart_dependents": {"service_restart_dependents_of": "web_db"},
    "ca_failover": {"ca_failover_to": "ACTIVE-app1", "circonus_confirm": "ACTIVE-app1"},
    "ca_bootstrap_standby": {"ca_bootstrap_standby_site": "OTHER", "circonus_confirm": "OTHER"},
    "pki_connectivity": {"pki_connectivity_from": "api", "pki_connectivity_to": "stratcon"},
}
#: What this lab lacks, and a part of the sentence that says so.
REFUSED = {"data_storage_sweep": "has no delete sweep", "data_storage_condense": "this host has no program zfs"}
#: Playbooks whose names begin so are tested on the lab of the CA.
CA = ("ca_", "pki_")


def playbooks(ca=False):
    """Every playbook with a description, so a new one is tested without writing a test."""
    names = (path.name[: -len(".meta.yml")] for path in (ROOT / "playbooks").glob("*.meta.yml"))
    return sorted(name for name in names if name.startswith(CA) is ca)


def snapshot(lab):
    """Files (name, size, digest of content and mode), write position and start times of processes."""
    script = (
        "find %s -xdev -regextype posix-extended -regex '.*/(%s)' -prune -o -type f -printf '%%p %%m %%u %%s ' "
        "-exec sha256sum {} + 2>/dev/null | sort;"
        "systemctl list-units 'circonus-*' --no-legend --plain | awk '{print $1}' | xargs -n1 systemctl show -p "
        "Id -p MainPID -p ActiveEnterTimestampMonotonic;"
        "ip -o -4 addr | awk '{print $2, $4}'" % (TREES, PRUNE)
    )
    state = {host: lab.on(host, "sh", "-c", script, check=False).stdout.splitlines() for host in HOSTS}
    state["lsn"] = {host: lab.lsn(host) for host in lab.primaries()}
    return state


def written(lab, host, start, end):
    """Write-ahead records of changed data between two positions, less those of the heartbeat of the alerting daemons.

    Commits, checkpoints, running transactions and hint bits are left out: reading alone may cause them.
    """
    beats = lab.sql(
        host,
        "select relfilenode from pg_class where relname like 'alerting_heartbeat%'",
        database="circonus",
    ).split()
    # A primary that was promoted writes on another timeline than the first.
    timeline = int(lab.sql(host, "select pg_walfile_name('%s')" % end)[:8], 16)
    dump = lab.on(
        host,
        "runuser",
        "-u",
        "postgres",
        "--",
        "/opt/pgsql/bin/pg_waldump",
        *("-t", str(timeline), "-p", lab.sql(host, "show data_directory") + "/pg_wal", "-s", start, "-e", end),
    ).stdout
    records = [line for line in dump.splitlines() if not re.match(r"rmgr: (XLOG|Standby|Transaction) ", line)]
    return [line for line in records if not re.search(r"rel \d+/\d+/(%s) " % "|".join(beats), line)]


def changes_nothing(lab, playbook):
    """Run a playbook with --check and compare hosts and database before and after."""
    site = lab.active_site()
    words = {"OTHER": "west" if site == "east" else "east", "ACTIVE": site}
    extra = {}
    for name, value in PARAMETERS.get(playbook, {}).items():
        for word, meaning in words.items():
            value = value.replace(word, meaning)
        extra[name] = value
    meta = yaml.safe_load((ROOT / "playbooks" / (playbook + ".meta.yml")).read_text())
    missing = [n for n, spec in (meta.get("parameters") or {}).items() if spec.get("required") and n not in extra]
    assert not missing, "this test must know %s" % missing
    before = snapshot(lab)
    # One site of it is enough, and half as long.
    run = lab.play(playbook, "--check", *(["--limit", "dc_" + site] if playbook == "site" else []), **extra)
    after = snapshot(lab)
    if playbook == "platform_check":
        # What the tests before this one left in logs is found, and said by the exit code.
        assert run.report["checked"]["hosts"] == run.report["checked"]["of"] > len(HOSTS), run
    elif playbook == "data_storage_status":
        # How full the disk of the machine is, may be found as well.
        assert run.report["checked"]["hosts"] == run.report["checked"]["of"] > 2, run
    elif playbook in REFUSED:
        assert run.result == "refused" and REFUSED[playbook] in run.report["reason"], run
    else:
        assert run.rc == 0, run
    for host, lines in before.items():
        if host == "lsn":
            continue
        assert sorted(set(after[host]) ^ set(lines)) == [], (host, run.output[-3000:])
    for host, position in before["lsn"].items():
        assert written(lab, host, position, after["lsn"][host]) == [], (host, run.output[-3000:])


class TestCheckMode:
    """Front door, with the writer off."""

    @pytest.mark.parametrize("playbook", playbooks())
    def test_changes_nothing(self, lab, playbook):
        changes_nothing(lab, playbook)

    def test_a_written_row_is_seen(self, lab):
        """The look above finds a single row; otherwise it would prove nothing."""
        host = "%s-app1" % lab.active_site()
        lab.sql(host, "create table if not exists public.check_mode_probe(n int)")
        start = lab.lsn(host)
        lab.sql(host, "insert into public.check_mode_probe values (1)")
        assert written(lab, host, start, lab.lsn(host))
        lab.sql(host, "drop table public.check_mode_probe")


def test_parameters_are_known_to_this_file():
    """A typing error above would silently test nothing."""
    assert set(PARAMETERS) <= {*playbooks(), *playbooks(ca=True)}
    assert Path(ROOT / "playbooks").is_dir()
