"""Role web_db: a real PostgreSQL under the vendor's names.

Hooper creates a primary or builds a replica only where the data directory is empty. It never promotes, demotes,
re-points or restarts a database that exists: it writes the configuration, reloads, starts what is stopped and says
what an administrator has to do.
"""

import hashlib
import os
import re
import shutil
import socket

from hooper.site_file import FATAL, NOTICE, WARNING

UNIT = "circonus-postgres-circonus_wdb"
BIN = "/opt/pgsql/bin"
BASE = "/wdb/pgdata"
ENVIRONMENT = "/etc/sysconfig/" + UNIT
PORT = 5432
CLIENT_VERSION = "15"
CLIENT_PROGRAMS = ("psql", "pg_basebackup", "pg_isready", "pg_dump", "pg_restore", "pg_receivewal")
SERVER_PROGRAMS = ("initdb", "pg_ctl", "postgres", "pg_controldata", "pg_rewind", "pg_waldump", "pg_checksums")
#: What an administrator restarts after the database (operation manual, service dependencies).
DEPENDANTS = {"2019": ("fault_detection", "notification", "ca_processor"), "later": ("notification",)}
DEFAULTS = {
    "max_connections": "100",
    "shared_buffers": "32MB",
    "work_mem": "4MB",
    "maintenance_work_mem": "32MB",
    "effective_cache_size": "128MB",
    "wal_level": "replica",
    "checkpoint_completion_target": "0.9",
    "archive_mode": "off",
    "max_wal_senders": "10",
    "hot_standby": "on",
    "hot_standby_feedback": "off",
    "log_filename": "postgresql-%a.log",
    "log_min_messages": "warning",
    "log_min_error_statement": "error",
    "log_min_duration_statement": "-1",
    "log_timezone": "UTC",
}
SCHEMA = """
BEGIN;
CREATE SCHEMA IF NOT EXISTS circonus AUTHORIZATION circduown;
SET ROLE circduown;
CREATE TABLE IF NOT EXISTS circonus.mq_cluster
  (name text PRIMARY KEY, hosts text[] NOT NULL, active boolean NOT NULL DEFAULT false,
   changed timestamptz DEFAULT now());
CREATE UNIQUE INDEX IF NOT EXISTS mq_cluster_one_active ON circonus.mq_cluster (active) WHERE active;
CREATE TABLE IF NOT EXISTS circonus.alerting_heartbeat
  (host text, service text, at timestamptz NOT NULL, PRIMARY KEY (host, service));
CREATE TABLE IF NOT EXISTS circonus.checks
  (check_id serial PRIMARY KEY, check_uuid uuid NOT NULL, active boolean DEFAULT true);
CREATE TABLE IF NOT EXISTS circonus.errors
  (error_id serial PRIMARY KEY, at timestamptz DEFAULT now(), source text, message text);
CREATE TABLE IF NOT EXISTS circonus.noit_activation_status
  (noit text PRIMARY KEY, status text, at timestamptz DEFAULT now());
CREATE TABLE IF NOT EXISTS circonus.grover_queue
  (id serial PRIMARY KEY, object text, queued timestamptz DEFAULT now());
CREATE TABLE IF NOT EXISTS circonus.grover_low_priority_queue
  (id serial PRIMARY KEY, object text, queued timestamptz DEFAULT now());
CREATE TABLE IF NOT EXISTS circonus.broker
  (id serial PRIMARY KEY, name text UNIQUE NOT NULL, cn text NOT NULL, address inet NOT NULL, port int DEFAULT 43191,
   active boolean NOT NULL DEFAULT false, retired boolean NOT NULL DEFAULT false, version bigint, skew text,
   checked timestamptz);
CREATE TABLE IF NOT EXISTS circonus.certificate
  (name text, kind text, csr text NOT NULL, certificate text, requested timestamptz DEFAULT now(), signed timestamptz,
   PRIMARY KEY (name, kind));
CREATE TABLE IF NOT EXISTS circonus.ca_public
  (one boolean PRIMARY KEY DEFAULT true CHECK (one), ca_crt text NOT NULL, ca_crl text NOT NULL,
   at timestamptz DEFAULT now());
GRANT USAGE ON SCHEMA circonus TO web, ca;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA circonus TO web;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA circonus TO web;
GRANT SELECT, INSERT, UPDATE ON circonus.certificate, circonus.ca_public TO ca;
INSERT INTO circonus.checks (check_uuid)
  SELECT '00000000-0000-4000-8000-000000000701' WHERE NOT EXISTS (SELECT 1 FROM circonus.checks);
RESET ROLE;
COMMIT;
"""


def data_directory(version):
    return f"{BASE}/{version}"


def quote(text):
    """A string as an SQL literal."""
    return "'" + str(text).replace("'", "''") + "'"


def settings(database, version):
    """Every line of postgresql.conf as (name, value), from the defaults and site.json's attributes.

    The attributes are those of PostgreSQL 9.2; where a later server renamed one, the present name is written.
    """
    major = int(version.split(".")[0])
    values = dict(DEFAULTS)
    for group in ("tuning", "wal", "replication", "logging"):
        values.update({key: str(value) for key, value in database.get(group, {}).items()})
    segments = int(values.pop("wal_keep_segments", "16"))
    if major >= 13:
        values["wal_keep_size"] = f"{segments * 16}MB"
    else:
        values["wal_keep_segments"] = str(segments)
    if "checkpoint_segments" in values:
        values["max_wal_size"] = f"{int(values.pop('checkpoint_segments')) * 48}MB"
    values.update(
        {
            "listen_addresses": "0.0.0.0",
            "port": str(PORT),
            "unix_socket_directories": "/var/run/postgresql,/tmp",
            "wal_log_hints": "on",
            "wal_sender_timeout": "10s",
            "wal_receiver_timeout": "10s",
            "wal_retrieve_retry_interval": "1s",
            "logging_collector": "on",
            "log_directory": "pg_log",
            "log_line_prefix": "%m [%p] %u@%d %a ",
            "log_truncate_on_rotation": "on",
            "search_path": '"$user", circonus, public',
            "fsync": "on",
        }
    )
    return sorted(values.items())


def render_settings(lines):
    body = "".join(f"{name} = {quote(value)}\n" for name, value in lines)
    return "# Written by Hooper (lab stand-in) from site.json; edits are lost\n" + body


def render_access(subnets):
    lines = [
        "# Written by Hooper (lab stand-in) from site.json; edits are lost",
        "# type\tdatabase\tuser\taddress\tmethod",
        "local\tall\tpostgres\tpeer",
        "local\treplication\treplication\ttrust",
        "local\tall\tall\tmd5",
    ]
    for net in ["127.0.0.1/32"] + list(subnets):
        lines.append(f"host\treplication\treplication\t{net}\ttrust")
        lines.append(f"host\tall\tall\t{net}\tmd5")
    return "\n".join(lines) + "\n"


def replica_files(version, data, address, own):
    """{file name: content} that make `data` a standby of `address`."""
    conninfo = f"host={address} port={PORT} user=replication application_name={own}"
    if int(version.split(".")[0]) >= 12:
        text = f"primary_conninfo = {quote(conninfo)}\nrecovery_target_timeline = 'latest'\n"
        return {"standby.signal": "", "postgresql.auto.conf": "# Written when this replica was built\n" + text}
    return {
        "recovery.conf": f"standby_mode = 'on'\nprimary_conninfo = {quote(conninfo)}\n"
        f"recovery_target_timeline = 'latest'\ntrigger_file = '{data}/failover.now'\n"
    }


def is_standby_directory(data):
    return any(os.path.exists(f"{data}/{name}") for name in ("standby.signal", "recovery.conf"))


def port_open(address, port=PORT, timeout=2.0):
    try:
        socket.create_connection((address, port), timeout).close()
        return True
    except OSError:
        return False


def sql(run, text, database="postgres", tuples=True):
    """Run SQL on the local server as its superuser; returns the output lines, raises RuntimeError with the reason."""
    argv = [f"{BIN}/psql", "-X", "-v", "ON_ERROR_STOP=1", "-h", "/var/run/postgresql", "-p", str(PORT), "-d", database]
    argv += ["-Atq"] if tuples else ["-q"]
    result = run.run(argv, user="postgres", stdin=text, env={"PATH": "/usr/bin:/bin", "PGCONNECT_TIMEOUT": "5"})
    if result.returncode:
        raise RuntimeError(result.stderr.strip().splitlines()[-1] if result.stderr.strip() else "psql failed")
    return result.stdout.splitlines()


def converge(run, site, facts, name):
    version = facts["pg_version"]
    data = data_directory(version)
    database = site.role("web_db")
    for program in CLIENT_PROGRAMS:
        run.link(f"{BIN}/{program}", f"/usr/lib/postgresql/{CLIENT_VERSION}/bin/{program}")
    for program in SERVER_PROGRAMS:
        target = f"/usr/lib/postgresql/{version}/bin/{program}"
        if os.path.exists(target):
            run.link(f"{BIN}/{program}", target)
    run.directory("/wdb")
    run.directory(BASE, 0o700, "postgres")
    run.file(ENVIRONMENT, f"# Written by Hooper (lab stand-in)\nPGDATA={data}\n")
    run.unit_file(UNIT)
    failover_script(run)
    if not os.path.exists(f"{data}/PG_VERSION"):
        if os.path.isdir(data) and os.listdir(data):
            run.note(FATAL, f"{data} is not empty and holds no database; move its content away")
            return
        if not create(run, site, database, version, data, name):
            return
    configuration(run, database, version, data)
    if not run.service(UNIT) or run.why_run:
        return
    check_running(run, site, facts, database, data, name)


def failover_script(run):
    """The web tree's failover.pl belongs to database hosts."""
    with open("/opt/circonus/libexec/lab/failover.pl", encoding="utf-8") as handle:
        run.file("/www/bin/inside/failover.pl", handle.read(), 0o755)


def create(run, site, database, version, data, name):
    """Fill an empty data directory: initdb on the primary, a base backup elsewhere. False: not possible now."""
    source = site.upstream(name)
    if source is None:
        others = [host for host in site.hosts("web_db") if host != name and port_open(site.address(host), timeout=1.0)]
        if others:
            run.note(
                FATAL,
                f"{data} is empty on the primary {name} although {', '.join(others)} serves a database: "
                "nothing was created, correct web_db.master or restore this host",
            )
            return False
        argv = [f"{BIN}/initdb", "-D", data, "-U", "postgres", "-E", "UTF8", "--locale=C", "--auth-local=peer"]
        run.resource(f"database[{data}] initdb", True, lambda: run.run(argv, user="postgres", check=True))
        return True
    if not run.why_run and not port_open(site.address(source)):
        run.note(WARNING, f"{source} does not answer on port {PORT}: the replica on {name} is not built yet; run again")
        return False
    return base_backup(run, version, data, site.address(source), name)


def base_backup(run, version, data, address, name):
    building = data + ".hooper-building"

    def copy():
        shutil.rmtree(building, ignore_errors=True)
        argv = [f"{BIN}/pg_basebackup", "-D", building, "-h", address, "-p", str(PORT), "-U", "replication"]
        result = run.run(argv + ["-X", "stream", "-c", "fast"], user="postgres", timeout=3600)
        if result.returncode:
            raise RuntimeError(result.stderr.strip().splitlines()[-1])
        for left in ("failover.now", "recovery.conf", "recovery.done", "standby.signal", "postmaster.opts"):
            if os.path.exists(f"{building}/{left}"):
                os.unlink(f"{building}/{left}")
        for file_name, content in replica_files(version, data, address, name).items():
            run.file(f"{building}/{file_name}", content, 0o600, "postgres")
        if os.path.isdir(data):
            os.rmdir(data)
        os.rename(building, data)

    try:
        run.resource(f"database[{data}] base backup from {address}", True, copy)
    except RuntimeError as exc:
        run.note(WARNING, f"the replica on {name} could not be copied from {address}: {exc}; run again")
        return False
    return True


def configuration(run, database, version, data):
    """Write both files; a running server reads them again (a restart is never done here)."""
    content = render_settings(settings(database, version))
    changed = run.file(f"{data}/postgresql.conf", content, 0o600, "postgres")
    access = render_access(database.get("allowed_subnets", []))
    changed = run.file(f"{data}/pg_hba.conf", access, 0o600, "postgres") or changed
    if changed and not run.why_run and os.path.exists(f"{data}/postmaster.pid"):
        run.run([f"{BIN}/pg_ctl", "reload", "-D", data], user="postgres")


def check_running(run, site, facts, database, data, name):
    """Compare the running server with site.json, and report what only an administrator may do."""
    try:
        standby, tables, pending = state(run)
    except RuntimeError as exc:
        run.note(WARNING, f"database on {name} does not answer yet: {exc}")
        return
    if name == site.master and not standby:
        bootstrap(run, database, tables)
    elif name == site.master:
        run.note(WARNING, f"web_db.master is {name}, but its database is a standby; promote it or correct site.json")
    elif not standby:
        run.note(WARNING, f"the database on {name} is a primary, but web_db.master is {site.master}")
    if pending:
        services = ", ".join(DEPENDANTS.get(facts["edition"], DEPENDANTS["later"]))
        run.note(
            NOTICE,
            f"database restart needed on {name} for {', '.join(pending)}: restart {UNIT}, "
            f"afterwards restart these services: {services}",
        )


def state(run):
    """(in recovery, circonus database there, settings waiting for a restart) of the local server."""
    lines = sql(
        run,
        "SELECT pg_is_in_recovery();"
        "SELECT count(*) FROM pg_database WHERE datname = 'circonus';"
        "SELECT name FROM pg_settings WHERE pending_restart ORDER BY 1;",
    )
    return lines[0] == "t", lines[1] == "1", lines[2:]


def fingerprint(user, password):
    """Recognises a changed password without keeping it: kept as the comment of the database user."""
    return "hooper:" + hashlib.sha256(f"{user}:{password}".encode()).hexdigest()[:16]


def bootstrap(run, database, has_database):
    """Database users, the circonus database and its tables, on the primary only."""
    users = (("circduown", "admin_pass"), ("web", "web_pass"), ("ca", "ca_pass"))
    known = dict(
        line.split("|", 1)
        for line in sql(run, "SELECT rolname, shobj_description(oid, 'pg_authid') FROM pg_authid WHERE rolcanlogin;")
    )
    if "replication" not in known:
        run.resource("user[replication]", True, lambda: sql(run, "CREATE ROLE replication LOGIN REPLICATION;"))
    for user, attribute in users:
        mark = fingerprint(user, database[attribute])
        verb = "ALTER" if user in known else "CREATE"
        text = (
            f"{verb} ROLE {user} LOGIN PASSWORD {quote(database[attribute])};COMMENT ON ROLE {user} IS {quote(mark)};"
        )
        run.resource(f"user[{user}]", known.get(user) != mark, lambda text=text: sql(run, text))
    if not has_database:
        make = "CREATE DATABASE circonus OWNER circduown ENCODING 'UTF8' TEMPLATE template0;"
        run.resource("database[circonus]", True, lambda: sql(run, make))
    mark = "hooper:" + hashlib.sha256(SCHEMA.encode()).hexdigest()[:16]
    question = "SELECT coalesce(obj_description(to_regnamespace('circonus')), '');"
    stale = not re.fullmatch(re.escape(mark), "".join(sql(run, question, "circonus")))
    comment = f"COMMENT ON SCHEMA circonus IS {quote(mark)};"
    run.resource("schema[circonus]", stale, lambda: sql(run, SCHEMA + comment, "circonus"))
