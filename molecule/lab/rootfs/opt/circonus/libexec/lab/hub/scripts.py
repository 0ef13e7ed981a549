"""STAND-INS of the hub's scripts, and of stratcon's noit_version_check.js: one program, known by the name it is run as.

They use the host's own certificate and the database of the site's connect_host. In a standby site the database is
read-only: what would write there says so and is done.
"""

import json
import os
import sys
import time

from daemons import net
from daemons.base import CONFIG

SSL = "/www/etc/ssl"
PORT = 43191


def settings(path=CONFIG):
    with open(path, encoding="utf-8") as handle:
        return json.load(handle)


def connect(config):
    import psycopg2

    target = config["database"]
    connection = psycopg2.connect(
        host=target["host"],
        dbname=target["name"],
        user=target["user"],
        password=target["password"],
        connect_timeout=3,
        application_name="hub-script",
    )
    connection.autocommit = True
    return connection


def query(connection, statement, values=()):
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


def standby(connection):
    return query(connection, "SELECT pg_is_in_recovery()")[0][0]


def tls(config):
    stem = f"{SSL}/{config['node']}"
    return net.client_tls(stem + ".crt", stem + ".key", f"{SSL}/ca.crt")


def reached(address, port, context):
    """("", facts of /capa.json) of a broker that answers, else (what is wrong, {})."""
    try:
        status, _headers, body = net.fetch(address, port, "/capa.json", tls=context, seconds=3.0)
        return ("", json.loads(body)) if status == 200 else (f"status {status}", {})
    except (OSError, net.Closed, ValueError) as exc:
        return str(exc) or repr(exc), {}


def noit_activation(config):
    """Test brokers that have a certificate but are pending; activate those that answer."""
    connection = connect(config)
    if standby(connection):
        print("standby site: nothing to activate")
        return 0
    waiting = query(
        connection, "SELECT id, name, host(address), port FROM circonus.broker WHERE NOT active AND NOT retired"
    )
    context = tls(config) if waiting else None
    for ident, name, address, port in waiting:
        error, _facts = reached(address, port, context)
        if error:
            query(
                connection,
                "INSERT INTO circonus.noit_activation_status (noit, status) VALUES (%s, %s) ON CONFLICT (noit) "
                "DO UPDATE SET status = excluded.status, at = now()",
                (name, f"Could not create selfcheck: {error}"),
            )
        else:
            query(connection, "UPDATE circonus.broker SET active = true WHERE id = %s", (ident,))
            query(connection, "DELETE FROM circonus.noit_activation_status WHERE noit = %s", (name,))
        print(f"{name}: {error or 'activated'}")
    return 0


def changes(known, wanted):
    """(to add, to remove), both sorted."""
    return sorted(set(wanted) - set(known)), sorted(set(known) - set(wanted))


def stratcon_sync(config):
    """Tell the site's stratcons about new and deactivated brokers."""
    rows = query(connect(config), "SELECT host(address), port FROM circonus.broker WHERE active AND NOT retired")
    wanted, context, failed = [f"{address}:{port}" for address, port in rows], tls(config), 0
    for host in config["stratcon"]:
        try:
            _status, _headers, body = net.fetch(host, PORT, "/noits/show.json", tls=context)
            add, remove = changes([node["remote"] for node in json.loads(body)["nodes"]], wanted)
            for remote in add:
                net.fetch(host, PORT, "/noits/set/" + remote, "PUT", tls=context)
                print(f"{host}: added {remote}")
            for remote in remove:
                net.fetch(host, PORT, "/noits/delete/" + remote, "DELETE", tls=context)
                print(f"{host}: removed {remote}")
        except (OSError, net.Closed, ValueError) as exc:
            print(f"{host}: {exc}", file=sys.stderr)
            failed = 1
    return failed


def enzo_sync(config):
    """The same for web_stream, whose stand-in takes everything from the queue: brokers are only named."""
    rows = query(connect(config), "SELECT name FROM circonus.broker WHERE active AND NOT retired ORDER BY name")
    print(f"{', '.join(config['web_stream'])}: {len(rows)} brokers known")
    return 0


def noit_version_check(config):
    """Write clock skew and software of the brokers to the database."""
    connection = connect(config)
    if standby(connection):
        print("standby site: nothing is written")
        return 0
    rows = query(connection, "SELECT id, name, host(address), port FROM circonus.broker WHERE active AND NOT retired")
    context = own_tls(config) if rows else None
    for ident, name, address, port in rows:
        asked = time.time()
        error, facts = reached(address, port, context)
        if not error:
            skew = "%.2f" % (float(facts["now"]) - (asked + time.time()) / 2)
            query(
                connection,
                "UPDATE circonus.broker SET skew = %s, version = %s, checked = now() WHERE id = %s",
                (skew, 1570000000, ident),
            )
        print(f"{name}: {error or 'skew ' + skew + ' s'}")
    return 0


def own_tls(config):
    """On a stratcon host its own certificate serves as well."""
    stem = "/opt/noit/prod/etc/stratcon"
    if os.path.exists(stem + ".crt") and not os.path.exists(f"{SSL}/{config['node']}.crt"):
        return net.client_tls(stem + ".crt", stem + ".key", "/opt/noit/prod/etc/ca.crt")
    return tls(config)


def systems_monitor(config):
    """-l: print the internals of the alerting path; without it they would be sent, which the lab never does."""
    if "-l" not in sys.argv[1:]:
        return 0
    found = {"bert": {}, "stratcon": {}, "mq": {}}
    connection = connect(config)
    rows = query(connection, "SELECT host, service, extract(epoch FROM now() - at) FROM circonus.alerting_heartbeat")
    found["bert"] = {f"{host} {service}": round(float(age), 1) for host, service, age in rows}
    found["db"] = {"errors": query(connection, "SELECT count(*) FROM circonus.errors")[0][0]}
    for host in config["stratcon"]:
        try:
            _status, _headers, body = net.fetch(host, PORT, "/noits/show.json", tls=tls(config))
            nodes = json.loads(body)["nodes"]
            found["stratcon"][host] = {"feeds": len(nodes), "down": sum(n["state"] == "disconnected" for n in nodes)}
        except (OSError, net.Closed, ValueError) as exc:
            found["stratcon"][host] = {"error": str(exc)}
    for host in config["mq"]["hosts"]:
        try:
            _status, _headers, body = net.fetch(host, 8765, "/stats.json")
            queues = json.loads(body)["queues"]
            found["mq"][host] = {name: queue["backlog"] for name, queue in queues.items()}
        except (OSError, net.Closed, ValueError) as exc:
            found["mq"][host] = {"error": str(exc)}
    print(json.dumps(found, indent=1, sort_keys=True))
    return 0


def reindex_elasticsearch(config):
    """Write every object of the database into the search cluster anew."""
    rows = query(connect(config), "SELECT check_id, check_uuid::text FROM circonus.checks WHERE active")
    for host in config["search"]:
        net.fetch(host, 9200, "/checks", "DELETE")
        for ident, uuid in rows:
            net.fetch(host, 9200, f"/checks/_doc/{ident}", "PUT", json.dumps({"check_uuid": uuid}).encode())
        print(f"{host}: {len(rows)} objects indexed")
    return 0


SCRIPTS = {
    "noit_activation.pl": noit_activation,
    "stratcon_sync.pl": stratcon_sync,
    "enzo_sync.pl": enzo_sync,
    "noit_version_check.pl": noit_version_check,
    "noit_version_check.js": noit_version_check,
    "systems_monitor.pl": systems_monitor,
    "reindex_elasticsearch.pl": reindex_elasticsearch,
}


def main(name):
    if name not in SCRIPTS:
        print("known as none of " + ", ".join(SCRIPTS), file=sys.stderr)
        return 99
    try:
        return SCRIPTS[name](settings())
    except Exception as exc:  # a script of every minute says one line
        print(f"{name}: {(str(exc) or repr(exc)).strip().splitlines()[0]}", file=sys.stderr)
        return 1
