"""The continuous client: start it, stop it, and count what it was promised against what is there."""

import json
import time

from . import LabError, layout
from .layout import ALIAS

HOME = "/var/lib/lab-writer"
FIRST_COMMIT_DEADLINE = 20
SQL = """
set client_min_messages = warning;
create schema if not exists circonus;
create table if not exists circonus.lab_writer (seq bigint primary key, written_at timestamptz not null);
truncate circonus.lab_writer;
grant usage on schema circonus to web;
grant all on circonus.lab_writer to web;
"""


def query(lab, host, sql, database="circonus"):
    """Return what psql prints for a statement, run as postgres on a database host."""
    return lab.execute(
        host,
        *["runuser", "-u", "postgres", "--", "/usr/bin/psql", "-h", "/var/run/postgresql"],
        *["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", database, "-f", "-"],
        stdin=sql,
    ).stdout


def databases(lab):
    return [host for host in lab.platform if "web_db" in host.roles]


def primaries(lab):
    """Return the running database hosts that are not in recovery."""
    found = []
    for host in databases(lab):
        try:
            if query(lab, host.name, "select pg_is_in_recovery()", "postgres").strip() == "f":
                found.append(host.name)
        except LabError:
            continue
    return found


def the_primary(lab):
    found = primaries(lab)
    if len(found) != 1:
        raise LabError("expected one database primary, found %s; see `lab status`" % (", ".join(found) or "none"))
    return found[0]


def running(lab):
    return lab.execute("client", "systemctl", "is-active", "--quiet", "lab-writer", check=False).returncode == 0


def start(lab, interval_ms):
    """Empty the table and start committing; returns when the first commits are acknowledged."""
    if running(lab):
        raise LabError("the writer runs already; stop it first (lab writer stop)")
    query(lab, the_primary(lab), SQL)
    database = lab.site_files()[lab.active_site()]["svclist"]["web_db"]
    by_name = lab.state["clients"] == "nsupdate"
    settings = {
        "host": "db." + layout.ZONE if by_name else lab.plan.service(ALIAS),
        "port": 5432,
        "dbname": "circonus",
        "user": "web",
        "password": database["web_pass"],
        "interval_ms": interval_ms,
        "first": 1,
        "databases": {host.name: host.address for host in databases(lab)},
    }
    script = "umask 077; rm -rf %s; mkdir %s; cat > %s/config.json; systemctl start lab-writer" % ((HOME,) * 3)
    lab.execute("client", "sh", "-c", script, stdin=json.dumps(settings))
    deadline = time.monotonic() + FIRST_COMMIT_DEADLINE
    while time.monotonic() < deadline:
        if lab.execute("client", "test", "-s", HOME + "/acknowledged", check=False).returncode == 0:
            return report(lab)
        time.sleep(0.1)
    errors = lab.execute("client", "tail", "-n", "1", HOME + "/errors", check=False).stdout.strip()
    raise LabError(
        "no commit through %s within %d s: %s" % (settings["host"], FIRST_COMMIT_DEADLINE, errors or "no error")
    )


def stop(lab):
    """Stop committing; what was noted stays for the report."""
    lab.execute("client", "systemctl", "stop", "lab-writer")
    return report(lab)


def report(lab):
    """Compare what the client was promised with what the current primary holds."""
    if lab.execute("client", "test", "-e", HOME + "/config.json", check=False).returncode != 0:
        raise LabError("the writer has not run in this lab; start it (lab writer start)")
    active = running(lab)
    seen = json.loads(lab.execute("client", "/usr/local/libexec/circonus-lab/lab-writer", "report").stdout)
    acknowledged = seen.pop("sequence")
    found = primaries(lab)
    result = dict(seen, running=active, primaries=found, acknowledged=len(acknowledged))
    if len(found) == 1:
        text = query(lab, found[0], "select seq from circonus.lab_writer order by seq")
        result.update(compare(acknowledged, [int(line) for line in text.split()], active))
    else:
        result.update(present=None, lost=None, lost_seqs=[], holes=None, unacknowledged=None)
    return result


def compare(acknowledged, present, active=False):
    """Return the counts that matter.

    acknowledged, present: sequence numbers. A row that is present without an acknowledgement is not wrong: the answer
    was lost, or it was committed after the notes were read.
    """
    there = set(present)
    lost = [number for number in acknowledged if number not in there]
    wanted = set(range(1, (max(present) if present else 0) + 1))
    promised = set(acknowledged)
    return {
        "present": len(there),
        "lost": len(lost),
        "lost_seqs": lost[:20],
        "holes": len(wanted - there),
        "unacknowledged": None if active else len(there - promised),
        "consecutive": acknowledged == list(range(1, len(acknowledged) + 1)),
    }


def describe(result):
    moments = result["two_primaries"]
    lines = [
        "writer %s: %d commits acknowledged in %s s, %s present on %s"
        % (
            "running" if result["running"] else "stopped",
            result["acknowledged"],
            result["seconds"],
            result["present"],
            ", ".join(result["primaries"]) or "no primary",
        ),
        "lost: %s   holes: %s   longest gap: %s ms" % (result["lost"], result["holes"], result["longest_gap_ms"]),
        "two primaries at once: %s" % (json.dumps(moments) if moments else "never seen"),
    ]
    return "\n".join(lines)
