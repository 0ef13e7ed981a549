# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A healthy platform of two sites with all sixteen roles, as host_check answers for it; tests break one thing of it."""
from __future__ import annotations

import pytest
from ansible_collections.circonus.inside.plugins.module_utils.site_file import canonical_sha256
from ansible_collections.circonus.inside.plugins.plugin_utils import platform

NOW = 1_800_000_000.0
DAY = 86400.0


def unit(unit_id, *ports, **more):
    return {"id": unit_id, "candidates": ["circonus-%s" % unit_id], "ports": list(ports), **more}


def port(number, unit_id, *clients, bind="any", **more):
    return {"port": number, "proto": "tcp", "unit": unit_id, "bind": bind, "clients": list(clients), **more}


def page(page_id, number, unit_id, path="/", status=(200,), sections=()):
    return {"id": page_id, "port": number, "unit": unit_id, "path": path, "status": list(status),
            "sections": list(sections)}


WWW = {"ca": "/www/etc/ssl/ca.crt", "cert": "/www/etc/ssl/<host>.crt", "key": "/www/etc/ssl/<host>.key",
       "owner": "root"}
#: Entries in the form of roles/<role>/vars/main.yml, small, one of every kind of thing.
CATALOGUE = {
    "api": {
        "units": [unit("network-api", 8080), unit("goapi", 8089, enabled_only=True)],
        "ports": [port(8080, "network-api", "caql_broker", "fault_detection"), port(8089, "goapi")],
        "pki": {**WWW, "user_facing": ["/www/etc/ssl/api.crt", "/www/etc/ssl/api.key"]},
        "logs": ["/www/logs/circonus_access_log", "/www/logs/circonus_error_log"],
    },
    "broker": {
        "units": [unit("noitd", 43191, watchdog=True)],
        "processes": [{"id": "jezebel", "match": "jezebel", "watchdog": False, "port": 8083}],
        "ports": [port(43191, "noitd", "stratcon", "web_frontend"), port(8083, "jezebel", "localhost"),
                  port(2003, "noitd", "outside", optional=True)],
        "consoles": [{"id": "noitd", "port": 32322, "unit": "noitd", "bind": "local"}],
        "logs": ["/opt/noit/prod/log/noitd.log"],
    },
    "ca": {"units": [unit("ca_processor")], "pki": {"ca": "/opt/circonus/CA/public-info/ca.crt"}},
    "caql_broker": {
        "units": [unit("caql-broker", 8081)],
        "ports": [port(8081, "caql-broker", "operators", bind="local"),
                  port(43191, "caql-broker", "stratcon", optional=True)],
    },
    "data_storage": {
        "units": [unit("snowth", 8112, watchdog=True)],
        "ports": [port(8112, "snowth", "api", "stratcon", "data_storage"),
                  port(8112, "snowth", "data_storage", proto="udp")],
        "endpoints": [page("state", 8112, "snowth", "/state", sections=["identity", "current"]),
                      page("gossip", 8112, "snowth", "/gossip/json")],
        "space": ["/snowth"],
        "logs": ["/snowth/logs/errorlog", "/snowth/logs/accesslog"],
    },
    "fault_detection": {
        "passive": "stopped",
        "units": [unit("ernie", 8092, until="2020-10-19"), unit("faultd", 9127)],
        "ports": [port(43191, "ernie", "stratcon"), port(9127, "faultd", "operators")],
        "endpoints": [page("resmon", 8092, "ernie", "/resmon", sections=["core", "firehose"])],
        "pki": {"cert": "/opt/circonus/etc/ernie/ernie.crt", "key": "/opt/circonus/etc/ernie/ernie.key",
                "owner": "circonus", "group": "circonus"},
    },
    "hub": {
        "units": [unit("composite_expander"), unit("grover_queue")],
        "cron": [{"id": "noit_activation", "user": "root", "script": "/www/bin/noit/noit_activation.pl"},
                 {"id": "stratcon_sync", "user": None, "script": "/www/bin/noit/stratcon_sync.pl"}],
        "pki": WWW,
    },
    "long_tail_storage": {"units": [unit("ltstore-rsync", 873)], "ports": [port(873, "ltstore-rsync", "stratcon")]},
    "mq": {
        "units": [unit("epmd", 4369), unit("rabbitmq", 5672, required=True), unit("fq", 8765)],
        "ports": [port(4369, "epmd", "mq"), port(5672, "rabbitmq", "hub", "notification"),
                  port(55672, "rabbitmq", "operators"), port(8765, "fq", "stratcon", "web_stream")],
        "endpoints": [page("management", 55672, "rabbitmq", status=(200, 401)),
                      page("fq", 8765, "fq", "/stats.json", sections=["exchanges", "queues"])],
    },
    "notification": {
        "passive": "stopped",
        "units": [unit("bert", 8084), unit("bert-email-bot")],
        "ports": [port(8084, "bert", "operators")],
        "logs": ["/var/log/circonus/bert.log.0"],
    },
    "redis": {"units": [unit("redis")]},
    "search": {"units": [unit("elasticsearch")]},
    "stratcon": {
        "units": [unit("stratcon", 43191, watchdog=True)],
        "ports": [port(43191, "stratcon", "api", "web_stream"),
                  port("1025-65535", "stratcon", "api", optional=True)],
        "pki": {"cert": "/opt/noit/prod/etc/stratcon.crt", "key": "/opt/noit/prod/etc/stratcon.key",
                "crl": "/opt/noit/web/stratcon/pki/ca.crl"},
        "logs": ["/var/log/circonus/stratcon.log"],
    },
    "web_db": {"units": [unit("postgres-circonus_wdb", 5432)], "space": ["/wdb/pgdata"],
               "ports": [port(5432, "postgres-circonus_wdb", "api", "hub", "web_db", "web_frontend")]},
    "web_frontend": {
        "units": [unit("memcached", 11211), unit("http", 80), unit("ssl-term", 443)],
        "ports": [port(11211, "memcached", "api", "web_frontend"), port(80, "http", "hub", "stratcon"),
                  port(443, "ssl-term", "users")],
        "pki": {**WWW, "user_facing": ["/www/etc/ssl/web.crt", "/www/etc/ssl/web.key"]},
        "logs": ["/www/logs/circonus_access_log"],
    },
    "web_stream": {
        "units": [unit("enzo-c", 9443), unit("enzo", 9443, alternative_to="enzo-c")],
        "ports": [port(9443, "enzo-c", "users")],
    },
}
for name, entry in CATALOGUE.items():
    entry["name"] = name

#: Roles of the hosts of a site, without the site's name.
LAYOUT = {
    "app1": ["ca", "mq", "web_db", "web_frontend"],
    "app2": ["api", "fault_detection", "mq", "notification"],
    "app3": ["hub", "redis", "search", "stratcon", "web_db", "web_stream"],
    "app4": ["caql_broker", "long_tail_storage"],
    "store1": ["data_storage"],
    "store2": ["data_storage"],
}
SITES = ("east", "west")


def site_json(name, active="east"):
    """site.json of a site; the smallest that the rules need."""
    here = {role: ["%s-%s" % (name, host) for host, roles in LAYOUT.items() if role in roles] for role in CATALOGUE}
    both = ["%s-%s" % (site, host) for site in SITES for host in LAYOUT]
    services = {role: {"_machlist": hosts} for role, hosts in here.items() if hosts and role not in ("redis", "search")}
    databases = [host for host in both if host.endswith(("app1", "app3"))]
    services["web_db"] = {"_machlist": databases, "master": "%s-app1" % active, "connect_host": "%s-app1" % name}
    services["ca"]["primary"] = "%s-app1" % active
    machines = {host: {"ip_address": "192.0.2.%d" % number} for number, host in enumerate(both, 1)}
    return {"active_datacenter": name == active, "svclist": services, "machinfo": machines}


def placed(value, host):
    """A copy of an entry with the name of its host filled in."""
    if isinstance(value, dict):
        return {key: placed(item, host) for key, item in value.items()}
    if isinstance(value, list):
        return [placed(item, host) for item in value]
    return value.replace("<host>", host) if isinstance(value, str) else value


class Healthy:
    """The platform; ``answers`` may be changed before :meth:`check`."""

    def __init__(self):
        self.params = {}
        self.sites = {}
        for name in SITES:
            raw = site_json(name)
            hosts = ["%s-%s" % (name, host) for host in LAYOUT]
            self.sites[name] = {"raw": raw, "hosts": hosts, "active": name == "east", "digest": canonical_sha256(raw)}
        self.nodes = {
            "%s-%s" % (name, host): {"site": name, "roles": list(roles)}
            for name in SITES
            for host, roles in LAYOUT.items()
        }
        self.nodes["broker1"] = {"site": "east", "roles": ["broker"], "address": "198.51.100.1"}
        self.nodes["broker2"] = {"site": None, "roles": ["broker"], "address": "198.51.100.2"}
        self.entries = {
            host: [placed(CATALOGUE[role], host) for role in node["roles"]]
            for host, node in self.nodes.items()
        }
        self.answers = {host: self.answer(host) for host in self.nodes}

    def answer(self, host):
        """What host_check says of a healthy host."""
        site = self.nodes[host]["site"]
        stopped = platform.kept_stopped(self.sites, site, host, self.entries[host])
        answer = {
            "reachable": True, "host": host, "boot_id": "b-%s" % host, "asked_epoch": NOW, "answered_epoch": NOW + 0.8,
            "clock": {"epoch": NOW + 0.3, "offset_s": 0.3}, "release": None, "missing": {}, "web_db": {}, "mq": {},
            "stratcon": {}, "status": {"state": "unknown", "answers": []}, "site": {}, "space": [], "roles": {},
        }
        for entry in self.entries[host]:
            answer["roles"][entry["name"]] = role_state(entry, entry["name"] in stopped)
            answer["space"] += [space(path) for path in entry.get("space") or []]
        if site:
            answer["site"] = {"present": True, "sha256": self.sites[site]["digest"], "error": ""}
        if "web_frontend" in answer["roles"]:
            state = "ACTIVE" if self.sites[site]["active"] else "STANDBY"
            answer["status"] = {"state": state, "answers": [{"url": "http://127.0.0.1/status", "state": state}]}
            answer["release"] = "2020-02-10"
        if "mq" in answer["roles"]:
            nodes = ["rabbit@%s-app1" % site, "rabbit@%s-app2" % site]
            answer["mq"] = {"nodes": nodes, "running_nodes": nodes, "partitions": {}, "alarms": []}
        if "web_db" in answer["roles"]:
            answer["web_db"] = database(host)
        if "stratcon" in answer["roles"]:
            answer["stratcon"] = {"feeds": [feed(number, kind) for number in (1, 2) for kind in FEEDS]}
        return answer

    def state(self, host, role):
        return self.answers[host]["roles"][role]

    def item(self, host, role, kind, key):
        """The unit, process, page or cron job by its id, the port by its number, the file by its path."""
        return next(item for item in self.state(host, role)[kind]
                    if key in (item.get("id"), item.get("port"), item.get("path"), item.get("kind")))

    def platform(self):
        return platform.Platform(self.sites, self.nodes, self.answers, self.entries, self.params)

    def check(self):
        return platform.evaluate(self.platform())

    def ids(self):
        """[(id, host), …] of all findings, worst first."""
        return [(item["id"], item["host"]) for item in self.check()["findings"]]


def role_state(entry, stopped):
    """One role as host_check reports it when all is well."""
    units = []
    for spec in entry.get("units") or []:
        absent = bool(spec.get("alternative_to"))
        up = not stopped and not absent
        units.append({
            "id": spec["id"], "unit": None if absent else spec["candidates"][0], "present": not absent,
            "active": None if absent else "active" if up else "inactive", "sub": "running" if up else "dead",
            "enabled": "enabled" if up else "disabled", "pid": 100 if up else None, "restarts": 0,
            "since_epoch": NOW - 3 * DAY, "up": up, "missing": "" if up else "active", "loop": False, "loop_detail": "",
            "expected": "any" if absent else "down" if stopped else "up",
        })
    pairs = [{"id": spec["id"], "parent": 100, "child": 101 if spec.get("watchdog") else None, "restarts": 0,
              "ok": True, "detail": ""}
             for spec in (entry.get("units") or []) + (entry.get("processes") or [])
             if not stopped and (spec.get("watchdog") or "match" in spec)]
    ports = []
    for spec in (entry.get("ports") or []) + (entry.get("consoles") or []):
        if "-" not in str(spec["port"]):
            open_ = not stopped and not spec.get("optional")
            ports.append({
                "port": spec["port"], "proto": spec.get("proto", "tcp"), "listening": open_,
                "owner": spec["unit"] if open_ else None, "owner_pid": 100 if open_ else None,
                "owner_unit": "circonus-%s" % spec["unit"] if open_ else None,
                "expected_unit": "circonus-%s" % spec["unit"], "bound": spec["bind"] if open_ else None,
                "bind_ok": True if open_ else None, "ok": True, "detail": "",
            })
    pki = []
    for kind in ("ca", "cert", "key", "crl"):
        if (entry.get("pki") or {}).get(kind):
            pki.append(pki_file(kind, entry["pki"][kind], entry["pki"]))
    pki += [pki_file("user_facing", path, {}) for path in (entry.get("pki") or {}).get("user_facing") or []]
    return {
        "units": units, "processes": pairs, "ports": ports, "pki": pki,
        "endpoints": [{"id": p["id"], "url": "http://127.0.0.1:%d%s" % (p["port"], p["path"]), "ok": True, "error": "",
                       "status": None if stopped else p["status"][0], "seconds": 0.02, "missing_sections": [],
                       "asked": not stopped}
                      for p in entry.get("endpoints") or []],
        "logs": [{"path": path, "listed": path, "present": True, "size": 4096, "mtime": NOW - 5, "age_s": 5.0,
                  "grown_bytes": 100, "errors": [], "error": ""} for path in entry.get("logs") or []],
        "cron": [{"id": c["id"], "script": c["script"], "present": True, "user": c["user"] or "root",
                  "expected_user": c["user"], "script_present": True, "ok": True, "error": ""}
                 for c in entry.get("cron") or []],
        "versions": {"circonus-%s" % entry["name"]: "1.2.3"},
    }


def pki_file(kind, path, spec):
    key = path.endswith(".key")
    days = 20 if kind == "crl" else 300
    return {"kind": kind, "path": path, "present": True, "mode": "0640" if key else "0644", "size": 1700,
            "owner": spec.get("owner") or "root", "group": spec.get("group") or "root", "error": "",
            "not_after_epoch": None if key else NOW + days * DAY}


def space(path):
    return {"path": path, "mount": path, "free_bytes": 60 * 2**30, "total_bytes": 100 * 2**30, "free_inodes": 9000,
            "total_inodes": 10000, "error": ""}


FEEDS = ("transient/iep", "durable/storage")


def feed(number, kind):
    return {"remote": "198.51.100.%d:43191" % number, "cn": "broker%d" % number, "type": kind, "connected": True,
            "last_connect_epoch": NOW - DAY, "silent_s": 1.5}


def database(host):
    """web_db facts: east-app1 is the primary; east-app3 and west-app1 follow it, west-app3 follows west-app1."""
    facts = {"running": True, "answers": True, "error": None, "in_recovery": host != "east-app1", "timeline": 3,
             "system_identifier": "7000000000000000001", "receiver": None, "replicas": [], "fence": None,
             "replay_paused": False, "guard": {"installed": True, "state": "standby", "message": ""}}
    upstream = {"east-app3": "east-app1", "west-app1": "east-app1", "west-app3": "west-app1"}.get(host)
    if upstream:
        facts["receiver"] = {"status": "streaming", "timeline": 3, "upstream": upstream}
    else:
        facts["guard"]["state"] = "watching"
    followers = {"east-app1": ["east-app3", "west-app1"], "west-app1": ["west-app3"]}.get(host, [])
    facts["replicas"] = [{"application_name": name, "addr": None, "state": "streaming", "lag_bytes": 0}
                         for name in followers]
    return facts


@pytest.fixture
def healthy():
    """A fresh healthy platform, free to be broken."""
    return Healthy()
