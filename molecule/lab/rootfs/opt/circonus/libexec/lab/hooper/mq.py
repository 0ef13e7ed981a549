"""Role mq: a real RabbitMQ cluster of the site's own mq hosts, with the vendor's unit names."""

import base64
import hashlib
import json
import re

from hooper import database
from hooper.site_file import NOTICE, WARNING
from hooper.web_db import port_open

EPMD, UNIT, FQ = "circonus-epmd", "circonus-rabbitmq", "circonus-fq"
CTL = "/opt/rabbitmq/sbin/rabbitmqctl"
HOME = "/var/lib/rabbitmq"
LOG_DIR = "/var/log/circonus/rabbitmq"
PORT, MANAGEMENT = 5672, 55672
USER = "circonus"


def environment(name):
    return (
        "# Written by Hooper (lab stand-in); edits are lost\n"
        f"NODENAME=rabbit@{name}\n"
        f"LOG_BASE={LOG_DIR}\n"
        # Small machines: one scheduler, no busy waiting. epmd has its own unit.
        'SERVER_ADDITIONAL_ERL_ARGS="-start_epmd false +S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none"\n'
    )


def settings(peers):
    """rabbitmq.conf; peers: the site's mq hosts, which a new node joins at its first start when they run."""
    lines = [
        "# Written by Hooper (lab stand-in) from site.json; edits are lost",
        f"listeners.tcp.default = {PORT}",
        f"management.tcp.port = {MANAGEMENT}",
        "loopback_users.guest = true",
        "load_definitions = /etc/rabbitmq/definitions.json",
        "cluster_partition_handling = autoheal",
        "cluster_formation.peer_discovery_backend = classic_config",
        "cluster_formation.discovery_retry_limit = 2",
        "log.file.level = info",
    ]
    for number, host in enumerate(peers, 1):
        lines.append(f"cluster_formation.classic_config.nodes.{number} = rabbit@{host}")
    return "\n".join(lines) + "\n"


def password_hash(user, password):
    """RabbitMQ's SHA-256 form with a salt made from the user name, so that the file stays the same between runs."""
    salt = hashlib.sha256(user.encode()).digest()[:4]
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def definitions(password):
    users = (("guest", "guest", ["administrator"]), (USER, password, ["monitoring"]))
    return json.dumps(
        {
            "vhosts": [{"name": "/"}],
            "users": [
                {
                    "name": user,
                    "password_hash": password_hash(user, secret),
                    "hashing_algorithm": "rabbit_password_hashing_sha256",
                    "tags": tags,
                }
                for user, secret, tags in users
            ],
            "permissions": [
                {"user": user, "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"} for user, _, _ in users
            ],
            "exchanges": [
                {"name": "circonus", "vhost": "/", "type": "topic", "durable": True, "auto_delete": False}
                | {"internal": False, "arguments": {}}
            ],
        },
        indent=1,
    )


def members(text):
    """Node names in mnesia's cluster_nodes.config."""
    return sorted(set(re.findall(r"rabbit@[A-Za-z0-9_.-]+", text)))


def cluster_members(name):
    """Nodes of the cluster this node belongs to, read from its own record (asking the node takes seconds)."""
    try:
        with open(f"{HOME}/mnesia/rabbit@{name}/cluster_nodes.config", encoding="utf-8") as handle:
            return members(handle.read())
    except FileNotFoundError:
        return []


def converge(run, site, facts, name):
    role = site.role("mq")
    hosts = site.hosts("mq")
    for program in ("rabbitmqctl", "rabbitmq-diagnostics", "rabbitmq-plugins"):
        run.link(f"/opt/rabbitmq/sbin/{program}", f"/usr/sbin/{program}")
    run.directory(LOG_DIR, 0o755, "rabbitmq")
    changed = run.file(f"{HOME}/.erlang.cookie", role["cookie"], 0o400, "rabbitmq")
    changed = run.file("/etc/rabbitmq/rabbitmq-env.conf", environment(name)) or changed
    changed = run.file("/etc/rabbitmq/rabbitmq.conf", settings(hosts), 0o644) or changed
    changed = run.file("/etc/rabbitmq/enabled_plugins", "[rabbitmq_management].\n", 0o644) or changed
    users = run.file("/etc/rabbitmq/definitions.json", definitions(role["password"]), 0o640, "root", "rabbitmq")
    run.directory("/opt/circonus/var/lib/fq", 0o755, "circonus")
    run.link("/opt/circonus/sbin/fqd", "/opt/circonus/libexec/lab/bin/fqd")
    run.unit_file(FQ)
    run.unit_file(EPMD)
    run.unit_file(UNIT)
    was_running = run.is_running(UNIT)
    if changed and was_running:
        run.note(NOTICE, f"RabbitMQ settings changed on {name}: restart {UNIT} and {EPMD} one host at a time")
    first = not cluster_members(name)
    if not (run.services([EPMD, FQ]) and run.service(UNIT)) or run.why_run:
        return
    if users and was_running:
        command = [CTL, "import_definitions", "/etc/rabbitmq/definitions.json"]
        run.resource("rabbitmq users", True, lambda: run.run(command, check=True))
    join(run, site, name, hosts, first)
    register(run, site, facts, name, hosts)


def join(run, site, name, hosts, first):
    """Every host but the first of the role joins the first; a node that already has company is left alone.

    A node that starts while the first one runs joins by itself (peer discovery); this is for the one that was earlier.
    """
    known = cluster_members(name)
    seed = hosts[0]
    if name == seed or len(known) > 1:
        missing = [host for host in hosts if f"rabbit@{host}" not in known]
        if missing and not first:
            run.note(WARNING, f"RabbitMQ on {', '.join(missing)} has not joined the cluster yet; run Hooper there")
        return
    if not port_open(site.address(seed), PORT):
        run.note(WARNING, f"RabbitMQ on {seed} does not answer: {name} is not in the cluster yet; run again")
        return

    def work():
        for step in (["stop_app"], ["reset"], ["join_cluster", f"rabbit@{seed}"], ["start_app"]):
            result = run.run([CTL] + step, timeout=180)
            if result.returncode:
                run.note(WARNING, f"RabbitMQ {step[0]} on {name} failed: {result.stderr.strip().splitlines()[-1]}")
                run.run([CTL, "start_app"], timeout=180)
                return

    run.resource(f"rabbitmq cluster of {seed}", True, work)


def register(run, site, facts, name, hosts):
    """The site's record in the database: which queues exist, and (failover.pl decides) which one is active."""
    if name != hosts[0] or "web_db" not in site.services:
        return
    site_name = facts["site"] or "site"
    try:
        with (
            database.connect(site.address(site.master), site, "circduown") as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute("SELECT hosts FROM circonus.mq_cluster WHERE name = %s", (site_name,))
            row = cursor.fetchone()
            if row and row[0] == hosts:
                run.resource("record[mq_cluster]", False)
                return
            active = "%s AND NOT EXISTS (SELECT 1 FROM circonus.mq_cluster WHERE active)"
            statement = (
                f"INSERT INTO circonus.mq_cluster (name, hosts, active) SELECT %s, %s, {active} "
                "ON CONFLICT (name) DO UPDATE SET hosts = excluded.hosts, changed = now()"
            )
            run.resource("record[mq_cluster]", True, lambda: cursor.execute(statement, (site_name, hosts, site.active)))
    except database.Error as exc:
        run.note(WARNING, f"message queue record of {site_name} not written to {site.master}: {exc}")
