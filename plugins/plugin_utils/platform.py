# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The health of a whole platform from one answer of host_check per host. Pure.

Shapes
  ``sites``    {site: {"raw": site.json, "hosts": [host, …], "active": bool or None, "digest": sha256 of the file}}
  ``nodes``    {host: {"site": name or None, "roles": [role, …]}}: the hosts of the sites, and the brokers,
               these with the ``address`` of the inventory
  ``answers``  {host: answer of host_check with asked_epoch and answered_epoch, {"reachable": False, "msg"} for a host
               that did not answer, or None for one that was not asked}
  ``entries``  {host: [catalogue entry, …]}
  ``params``   the parameters of the procedure after defaults
Rules about one host are in platform_host, rules about several in platform_cross, ids and words in findings.
"""

from __future__ import annotations

from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput
from ansible_collections.circonus.inside.plugins.plugin_utils import catalogue, failover, platform_cross, platform_host
from ansible_collections.circonus.inside.plugins.plugin_utils import findings as f
from ansible_collections.circonus.inside.plugins.plugin_utils.site_model import layout, normalise

PREFIX = "platform_check_"
#: Limits by the name of their parameter without its prefix; the defaults of platform_check.meta.yml.
LIMITS = {
    "deadline_s": 10.0,
    "space_percent": 10.0,
    "space_full_percent": 2.0,
    "inodes_percent": 5.0,
    "expiry_days": 30,
    "expiry_soon_days": 7,
    "clock_s": 10.0,
    "lag_bytes": 16777216,
    "log_age_s": 86400,
    "log_growth_bytes": 10485760,
    "log_max_bytes": 2147483648,
    "endpoint_s": 4.0,
    "restarts": 3,
    "flapping_s": 600,
    "broker_silent_s": 300,
}


def limits(params: dict) -> dict:
    """:data:`LIMITS` with what the parameters of a run say."""
    return {key: value if params.get(PREFIX + key) is None else params[PREFIX + key] for key, value in LIMITS.items()}


def rehearsed_clock(params: dict, host: str) -> float:
    """Seconds that the clock of a host is taken to be off in a rehearsal, of ``["<host>=<seconds>", …]``."""
    for item in params.get(PREFIX + "rehearse_clock_s") or []:
        name, _sep, seconds = str(item).partition("=")
        if name.strip() == host:
            try:
                return float(seconds)
            except ValueError:
                raise BadInput("%srehearse_clock_s has %s. Expected <host>=<seconds>." % (PREFIX, item)) from None
    return 0.0


def release_of(answers: dict) -> str | None:
    """The release that the first host with one reports."""
    return next((answer["release"] for answer in answers.values() if answer and answer.get("release")), None)


# -- catalogue entries of a host ------------------------------------------------------------------------------------


def role_entries(roles, release=None, host=None) -> list:
    """Effective catalogue entries of the roles of a host: release gates applied, ``<host>`` replaced.

    A role that is not in the catalogue is left out; one that the release does not have is ``absent``: nothing of it is
    a fault when missing.
    """
    known = catalogue.names()
    return catalogue.for_roles([role for role in roles if role in known], release, host)


def kept_stopped(sites: dict, site: str | None, host: str, entries: list) -> list:
    """Names of the roles whose services must not run on this host; see :func:`failover.kept_stopped`."""
    if site is None:
        return []
    raw, passive = sites[site]["raw"], sites[site]["active"] is False
    return [entry["name"] for entry in entries if failover.kept_stopped(entry, host, raw, passive)]


# -- the platform -----------------------------------------------------------------------------------------------------


class Platform:
    """What the rules ask: who is where, who answered, what is meant to be."""

    def __init__(self, sites, nodes, answers, entries, params=None):
        self.sites, self.nodes, self.answers, self.entries = sites, nodes, answers, entries
        self.limits = limits(params or {})
        self._stopped = {}
        self.hooper = [host for site in sites.values() for host in site["hosts"]]
        self.active = [name for name, site in sites.items() if site["active"]]
        kind = layout({name: normalise(site["raw"]) for name, site in sites.items()})
        #: Sites that share one database.
        self.groups = [list(sites)] if kind in ("pair", "pair_2019") else [[name] for name in sites]
        #: Whether the entries are gated by a release; without one an absent item may just not exist in it.
        self.release = (params or {}).get("circonus_release") or release_of(answers)
        #: The answers as the rules of the failovers want them.
        self.probes = {host: self.read(host) or {"reachable": False} for host in self.hooper}
        self.masters = {failover.role(site["raw"], "web_db").get("master") for site in sites.values()} - {None}

    def read(self, host):
        """The answer of a host that was checked, else None."""
        answer = self.answers.get(host)
        usable = answer and answer.get("reachable", True) and isinstance(answer.get("roles"), dict)
        return answer if usable else None

    def site_of(self, host):
        """Site of a host, None for a broker without one."""
        return (self.nodes.get(host) or {}).get("site")

    def hosts_of(self, role, site=None):
        """Hosts that have a role, in one site or everywhere."""
        return [h for h, n in self.nodes.items() if role in n["roles"] and (site is None or n["site"] == site)]

    def stopped(self, host):
        """Roles kept stopped on a host."""
        if host not in self._stopped:
            entries = self.entries.get(host) or []
            self._stopped[host] = kept_stopped(self.sites, self.site_of(host), host, entries)
        return self._stopped[host]

    def fence(self, host):
        """The fence that a failover left on a database host, {} without one."""
        return failover.fence_of(self.probes, host)

    def ca_primary(self, host):
        """``ca.primary`` of the host's site."""
        return failover.role(self.sites[self.site_of(host)]["raw"], "ca").get("primary")

    def client_roles(self, host, role, spec):
        """Roles on other hosts that need a port of ``role`` on ``host``, by the catalogue."""
        if spec.get("bind", "any") != "any":
            return []
        out = []
        for client in spec.get("clients") or []:
            others = [other for other in self.hosts_of(client) if other != host]
            if any(self.may_meet(other, client, host, role) for other in others):
                out.append(client)
        return out

    def may_meet(self, client_host, client, host, role):
        """Whether a client uses a server: within a site; database and brokers serve every site."""
        return self.site_of(client_host) == self.site_of(host) or bool({"web_db", "broker"} & {client, role})


def evaluate(platform: Platform) -> dict:
    """Everything that the report says: {"findings", "unknown", "picture", "sites", "connections", "checked"}."""
    found = []
    for host in platform.nodes:
        found += platform_host.judge(platform, host)
    more, unknown = platform_cross.judge(platform, found)
    not_asked = [host for host in platform.nodes if platform.answers.get(host) is None]
    if not_asked:
        unknown.insert(0, "%s not asked (--limit): rules that need them were left out." % ", ".join(not_asked))
    found = f.worst_first(found + more)
    picture = draw(platform, found)
    return {
        "findings": found,
        "unknown": unknown,
        "picture": picture,
        "sites": active_sites(picture),
        "connections": connections(platform),
        "checked": {
            "hosts": sum(platform.read(host) is not None for host in platform.nodes),
            "of": len(platform.nodes),
            "roles": sum(len(platform.read(host)["roles"]) for host in platform.nodes if platform.read(host)),
        },
    }


def draw(platform: Platform, found: list) -> dict:
    """The picture of the report (docs/report.md), with the worst finding of every host, role and site."""
    units = {}
    for host in platform.hooper:
        for role, state in ((platform.read(host) or {}).get("roles") or {}).items():
            for unit in state.get("units") or []:
                if unit.get("unit"):
                    units.setdefault(role, set()).add(unit["unit"])
    probes = {host: dict(answer, units=_unit_states(answer)) for host, answer in platform.probes.items()}
    names = {role: sorted(units.get(role, ())) for role in failover.ALERTING_ROLES}
    picture = failover.Situation(platform.sites, probes, names).picture()
    for host, node in platform.nodes.items():
        site = node["site"] or "brokers"
        place = picture["sites"].setdefault(
            site, {"state": "unknown", "status_page": "unknown", "client_address": False, "hosts": {}})
        facts = place["hosts"].setdefault(host, {
            "roles": sorted(node["roles"]), "reachable": platform.read(host) is not None, "web_db": None,
            "follows": None, "lag_bytes": None, "alerting": None})
        facts["roles"] = sorted(node["roles"])  # site.json does not name them all
        mine = [item for item in found if item["host"] == host]
        facts["worst"] = f.worst(mine) or "ok"
        facts["findings"] = len(mine)
        facts["role_states"] = {
            role: f.worst([item for item in mine if item["role"] == role]) or "ok" for role in facts["roles"]}
        if platform.answers.get(host) is None:
            facts["worst"] = "not_checked"
    for name, place in picture["sites"].items():
        place["worst"] = f.worst([item for item in found if (item["site"] or "brokers") == name]) or "ok"
        if name == "brokers":
            place["state"] = "active" if any(h["reachable"] for h in place["hosts"].values()) else "unreachable"
    return picture


def _unit_states(answer):
    states = {}
    for role in (answer.get("roles") or {}).values() if isinstance(answer.get("roles"), dict) else ():
        for unit in role.get("units") or []:
            if unit.get("present"):
                states[unit["unit"]] = {"load": "loaded", "active": unit.get("active")}
    return states


def active_sites(picture: dict) -> dict:
    """{"active", "standby"}: names of the sites by where the primary database is; null where that is not one."""
    states = {name: site["state"] for name, site in picture["sites"].items() if name != "brokers"}
    active = [name for name, state in states.items() if state == "active"]
    standby = [name for name, state in states.items() if state == "standby"]
    return {"active": active[0] if len(active) == 1 else None, "standby": standby[0] if len(standby) == 1 else None}


def connections(platform: Platform) -> list:
    """Who must reach whom, derived from the ports and clients of the catalogue, and whether somebody listens there.

    [{"from": role, "to": role, "port", "proto", "site" (of the server), "servers": [host, …], "silent": [host, …]}].
    Nothing is probed over the network: this is what listens, not what a firewall lets through.
    """
    rows = {}
    for host, node in platform.nodes.items():
        answer = platform.read(host)
        for entry in platform.entries.get(host) or []:
            role = entry["name"]
            if entry.get("absent") or role in platform.stopped(host):
                continue
            state = ((answer or {}).get("roles") or {}).get(role) or {}
            listening = {
                (str(port["port"]), port.get("proto") or "tcp"): bool(port["listening"] and port.get("ok") is not False)
                for port in state.get("ports") or []
            }
            for spec in entry.get("ports") or []:
                key = (str(spec.get("port")), spec.get("proto", "tcp"))
                if "-" in key[0] or spec.get("optional") or (answer and key not in listening):
                    continue
                for client in platform.client_roles(host, role, spec):
                    row = rows.setdefault((client, role, key, node["site"]), {
                        "from": client, "to": role, "port": int(key[0]), "proto": key[1], "site": node["site"],
                        "servers": [], "silent": []})
                    row["servers"].append(host)
                    if not listening.get(key):
                        row["silent"].append(host)
    return [rows[key] for key in sorted(rows, key=str)]
