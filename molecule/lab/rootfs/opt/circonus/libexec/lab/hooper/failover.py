"""failover.pl: make the local site's message queue the active one, in the local database, which must be a primary."""

import sys

from hooper import site_file, web_db
from hooper.converge import Run


def switch(run, site):
    """(exit code, line) of one call."""
    lines = web_db.sql(run, "SELECT pg_is_in_recovery()")
    if lines != ["f"]:
        return 1, "refused: the local database is a standby; promote it first, or run this on the new primary"
    hosts = "ARRAY[" + ",".join(web_db.quote(host) for host in site.hosts("mq")) + "]::text[]"
    rows = web_db.sql(run, f"SELECT name, active FROM circonus.mq_cluster WHERE hosts && {hosts}", "circonus")
    if len(rows) != 1:
        names = ", ".join(site.hosts("mq"))
        return 1, f"no single message queue record for {names}: found {len(rows)}; run Hooper there"
    name, active = rows[0].rsplit("|", 1)
    if active == "t":
        return 0, f"message queue of {name} is already active"
    web_db.sql(
        run,
        "BEGIN; LOCK TABLE circonus.mq_cluster;"
        "UPDATE circonus.mq_cluster SET active = false, changed = now() WHERE active;"
        f"UPDATE circonus.mq_cluster SET active = true, changed = now() WHERE name = {web_db.quote(name)};"
        "COMMIT;",
        "circonus",
    )
    return 0, f"message queue of {name} is now active"


def main():
    if len(sys.argv) > 1:
        print("usage: failover.pl (no arguments; lab stand-in)", file=sys.stderr)
        return 99
    try:
        code, text = switch(Run(), site_file.load())
    except (RuntimeError, site_file.SiteError) as exc:
        code, text = 1, f"not done: {exc}"
    print(text, file=sys.stderr if code else sys.stdout)
    return code


if __name__ == "__main__":
    sys.exit(main())
