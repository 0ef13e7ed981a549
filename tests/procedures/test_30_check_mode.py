# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``--check`` of every playbook changes nothing anywhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml
from running_lab import DB_HOSTS, ROOT

pytestmark = pytest.mark.skipif(
    not os.environ.get("CIRCONUS_CHECK_MODE"), reason="not green on the lab yet; run it with CIRCONUS_CHECK_MODE=1"
)
HOSTS = DB_HOSTS + ("east-app2", "west-app2", "east-store1")
#: Everything that a procedure could touch; logs and the run's own noise are left out.
TREES = "/etc /opt/circonus /www /wdb/pgdata /var/lib/circonus-inside /var/lib/rabbitmq/.erlang.cookie"
PRUNE = r"pg_log|pg_stat|pg_stat_tmp|pg_wal|pg_xlog|pg_xact|pg_subtrans|pg_logical|global|base|log|postmaster.*|logs"
PARAMETERS = {
    "datacenter_failover": {"datacenter_failover_to": "OTHER", "circonus_confirm": "OTHER"},
    "web_db_failover": {"web_db_failover_to": "ACTIVE-app3", "circonus_confirm": "ACTIVE-app3"},
    "web_db_rejoin": {"web_db_rejoin_host": "OTHER-app1", "circonus_confirm": "OTHER-app1"},
    "service_restart_dependents": {"service_restart_dependents_of": "web_db"},
}


def playbooks():
    """Every playbook with a description, so a new one is tested without writing a test."""
    return sorted(path.name[: -len(".meta.yml")] for path in (ROOT / "playbooks").glob("*.meta.yml"))


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


def quiet_lsn(lab, host):
    """Settle what the server writes on its own."""
    lab.sql(host, "checkpoint")


class TestCheckMode:
    """Front door, with the writer off."""

    @pytest.mark.parametrize("playbook", playbooks())
    def test_changes_nothing(self, lab, playbook):
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
        for host in lab.primaries():
            quiet_lsn(lab, host)
        before = snapshot(lab)
        run = lab.play(playbook, "--check", **extra)
        after = snapshot(lab)
        assert run.rc == 0, run
        for host, lines in before.items():
            if host == "lsn":
                continue
            assert sorted(set(after[host]) ^ set(lines)) == [], (host, run.output[-3000:])
        for host, position in before["lsn"].items():
            moved = lab.sql(host, "select pg_wal_lsn_diff('%s', '%s')" % (after["lsn"][host], position))
            # The server logs its running transactions and the heartbeat of notification by itself.
            assert float(moved) < 262144, moved


def test_parameters_are_known_to_this_file():
    """A typing error above would silently test nothing."""
    assert set(PARAMETERS) <= set(playbooks())
    assert Path(ROOT / "playbooks").is_dir()
