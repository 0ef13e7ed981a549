"""Read site.json and the lab facts, and answer questions about them. Nothing here changes anything."""

import glob
import json
import os

DATA_BAG = "/opt/circonus/var/chef-solo/data_bags/service_map"
FACTS = "/etc/circonus-lab.json"

INFO, NOTICE, WARNING, FATAL = "INFO", "NOTICE", "WARNING", "FATAL"

#: Manuals after 2020-01-28 print these with a hyphen; Hooper itself writes underscores.
HYPHENATED = {
    "web-db": "web_db",
    "web-frontend": "web_frontend",
    "web-stream": "web_stream",
    "fault-detection": "fault_detection",
}
ROLES = (
    "api ca caql_broker data_storage fault_detection hub long_tail_storage mq notification redis search stratcon "
    "web_db web_frontend web_stream"
).split()
#: Roles of the 2019 manual that later releases do not have (nor, by the release notes, Hooper since 2017-10-26).
OBSOLETE = ("redis", "search")
#: (port, roles that claim it): Hooper refuses two of them on one host.
CONFLICTS = ((8080, ("api", "web_frontend")), (43191, ("fault_detection", "caql_broker", "stratcon")))


class SiteError(Exception):
    """site.json cannot be used at all; the text is one line for the summary."""


def load_facts(path=FACTS):
    """Facts the lab wrote about this container, with defaults for anything missing."""
    facts = {"host": "", "site": "", "pg_version": "15", "edition": "later", "client_address": ""}
    try:
        with open(path, encoding="utf-8") as handle:
            facts.update(json.load(handle))
    except FileNotFoundError:
        pass
    except ValueError as exc:
        raise SiteError(f"{path} is not JSON: {exc}") from exc
    facts["pg_version"] = str(facts["pg_version"])
    return facts


def load(directory=DATA_BAG):
    """The Site of a data-bag directory.

    Like Chef's data-bag loader every file matching site*.json is read, so a second one is an error of its own.
    """
    found = sorted(glob.glob(os.path.join(directory, "site*.json")))
    wanted = os.path.join(directory, "site.json")
    if wanted not in found:
        raise SiteError(f"no site.json in {directory}")
    others = [os.path.basename(path) for path in found if path != wanted]
    if others:
        raise SiteError(
            f"data bag {directory} holds {', '.join(others)} beside site.json; every site*.json is loaded, "
            "move it out of the directory or rename it"
        )
    try:
        with open(wanted, encoding="utf-8") as handle:
            return Site(json.load(handle))
    except ValueError as exc:
        raise SiteError(f"{wanted} is not JSON: {exc}") from exc


class Site:
    """One site.json: roles with underscores, and what follows from them for one host."""

    def __init__(self, raw):
        if not isinstance(raw, dict) or raw.get("id") != "site":
            raise SiteError('site.json: "id" must be "site"')
        for key in ("svclist", "machinfo"):
            if not isinstance(raw.get(key), dict):
                raise SiteError(f'site.json: "{key}" must be an object')
        self.raw = raw
        self.machinfo = raw["machinfo"]
        self.services = {}
        for name, value in raw["svclist"].items():
            role = HYPHENATED.get(name, name)
            if role in self.services:
                raise SiteError(f"site.json: svclist has both spellings of {role}")
            self.services[role] = value

    @property
    def two_sites(self):
        return "active_datacenter" in self.raw

    @property
    def active(self):
        """True in the active site and in a single site, False in a standby site."""
        return self.raw.get("active_datacenter", True) is True

    def role(self, name):
        return self.services.get(name, {})

    def hosts(self, role):
        return list(self.role(role).get("_machlist", []))

    def roles_of(self, host):
        return [role for role in ROLES if host in self.hosts(role)]

    def address(self, host):
        """Address of a machine or an additional host; the name itself when the file does not know it."""
        entry = self.machinfo.get(host) or self.raw.get("additional_hosts", {}).get(host) or {}
        return entry.get("ip_address", host)

    @property
    def master(self):
        """Primary database host: `master`, or the only (first) host of the role."""
        hosts = self.hosts("web_db")
        return self.role("web_db").get("master") or (hosts[0] if hosts else "")

    @property
    def connect_host(self):
        return self.role("web_db").get("connect_host") or self.master

    def upstream(self, host):
        """Where a replica on `host` is built from (None for the primary).

        The first local database of a site copies from the primary; further local ones from the local connect_host.
        """
        if host == self.master:
            return None
        local = self.connect_host
        return self.master if host == local or local not in self.hosts("web_db") else local

    @property
    def ca_primary(self):
        ca = self.role("ca")
        hosts = self.hosts("ca")
        return ca.get("primary") or ca.get("master") or (hosts[0] if hosts else "")

    def own_name(self, addresses, hostname):
        """Name of this machine: the machinfo entry that carries one of its addresses, else its own host name."""
        for name, entry in self.machinfo.items():
            if entry.get("ip_address") in addresses:
                return name
        short = hostname.split(".")[0]
        return short if short in self.machinfo else None

    def hosts_file(self, own):
        """Content of /etc/hosts: every machine and additional host, the own name as 127.0.0.1."""
        lines = ["# Written by Hooper (lab stand-in) from site.json; edits are lost", "127.0.0.1\tlocalhost"]
        lines.append("::1\tip6-localhost ip6-loopback")
        for table in (self.machinfo, self.raw.get("additional_hosts", {})):
            for name in sorted(table):
                lines.append(f"{'127.0.0.1' if name == own else table[name]['ip_address']}\t{name}")
        return "\n".join(lines) + "\n"

    def check(self, edition="later"):
        """All findings of the sanity check as (level, text)."""
        found = list(self._check_hosts())
        found.extend(self._check_database())
        found.extend(self._check_ca())
        found.extend(self._check_messaging(edition))
        return found

    def _check_hosts(self):
        for name, entry in self.machinfo.items():
            if not isinstance(entry, dict) or not entry.get("ip_address"):
                yield FATAL, f"machinfo.{name} has no ip_address"
        if self.two_sites and not isinstance(self.raw["active_datacenter"], bool):
            yield FATAL, f"active_datacenter must be true or false, found {self.raw['active_datacenter']!r}"
        for role, value in self.services.items():
            hosts = value.get("_machlist") if isinstance(value, dict) else None
            if not isinstance(hosts, list) or not hosts:
                yield FATAL, f"svclist.{role}._machlist must list at least one host"
                continue
            if role not in ROLES:
                yield INFO, f"svclist.{role} is not a known role"
            for host in hosts:
                if host not in self.machinfo:
                    yield FATAL, f"svclist.{role}._machlist names {host}, which is not in machinfo"
        for port, roles in CONFLICTS:
            for host in self.machinfo:
                claimed = [role for role in roles if host in self.hosts(role)]
                if len(claimed) > 1:
                    yield FATAL, f"{host} has {' and '.join(claimed)}, which both use port {port}"

    def _check_database(self):
        if "web_db" not in self.services:
            return
        database = self.role("web_db")
        hosts = self.hosts("web_db")
        if len(hosts) > 1 and not database.get("master"):
            yield FATAL, "web_db.master is required when web_db has several hosts"
        elif self.master not in hosts:
            yield FATAL, f"web_db.master is {self.master}, which is not in web_db._machlist"
        for key in ("connect_host", "allowed_subnets", "admin_pass", "ca_pass", "web_pass"):
            if not database.get(key):
                yield FATAL, f"web_db.{key} is required"
        if database.get("read_connect_host") and database["read_connect_host"] == self.master:
            yield NOTICE, f"web_db.read_connect_host is the primary {self.master}; name a replica"

    def _check_ca(self):
        if "ca" not in self.services:
            return
        authority = self.role("ca")
        if authority.get("master"):
            yield NOTICE, "ca.master is deprecated, rename it to ca.primary in site.json"
        elif (len(self.hosts("ca")) > 1 or self.two_sites) and not authority.get("primary"):
            yield FATAL, "ca.primary is required with several CA hosts or two datacenters"
        if not authority.get("key_pass"):
            yield FATAL, "ca.key_pass is required"

    def _check_messaging(self, edition):
        if "mq" in self.services:
            for key in ("cookie", "password"):
                if not self.role("mq").get(key):
                    yield FATAL, f"mq.{key} is required"
        stratcon = self.role("stratcon")
        if stratcon.get("feeds"):
            need = int(stratcon["feeds"]) * len(self.hosts("stratcon"))
            have = len(self.hosts("mq"))
            if need > have:
                yield FATAL, f"stratcon.feeds needs {need} mq hosts, site.json has {have}"
            elif need < have:
                yield NOTICE, f"stratcon.feeds uses {need} of {have} mq hosts; the others carry no feed"
        if stratcon and edition != "2019" and not stratcon.get("node_ids"):
            yield NOTICE, "stratcon.node_ids is missing; give every stratcon host its id"
        detection = self.role("fault_detection")
        if detection:
            cluster = detection.get("faultd_cluster") or {}
            if not detection.get("registration_token"):
                yield FATAL, "fault_detection.registration_token is required"
            if sorted(cluster) != sorted(self.hosts("fault_detection")):
                yield FATAL, "fault_detection.faultd_cluster must name exactly the hosts of fault_detection._machlist"
