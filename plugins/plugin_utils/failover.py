# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decisions of the database and datacenter failovers. Pure: probes and site files in, a verdict out.

Shapes
  ``sites``   {site: {"raw": dict (normalised site.json), "hosts": [host, …], "file": path}}
  ``probes``  {host: result of the module datacenter_info, or {"reachable": False, "msg": str}}
  ``params``  the parameters of the procedure after defaults
  ``run``     {"run_id", "controller", "forks"}: who asks

A verdict is a dict: ``result`` (proceed, refused, nothing_to_do), ``reason`` (one sentence), ``plan`` (sentences),
``done`` (sentence for the report of a run that went through), ``warnings``, and the facts that the playbook acts on.

Sources: operation manual "Web DB Failover" and "Datacenter Failover"; later edition of both; /status probe.
"""

from __future__ import annotations

from ansible_collections.circonus.inside.plugins.module_utils.errors import Refused
from ansible_collections.circonus.inside.plugins.module_utils.site_file import canonical_sha256
from ansible_collections.circonus.inside.plugins.plugin_utils import catalogue
from ansible_collections.circonus.inside.plugins.plugin_utils.procedure import holder_is_dead

ALERTING_ROLES = ("fault_detection", "notification")
MIB = 1024 * 1024


# -- small readers of site.json -----------------------------------------------------------------------------------


def role(raw: dict, name: str) -> dict:
    """The section of a role, either spelling; {} when the site has no such role."""
    services = raw.get("svclist") or {}
    return services.get(name) or services.get(name.replace("_", "-")) or {}


def machines(raw: dict, name: str) -> list:
    """``_machlist`` of a role."""
    return list(role(raw, name).get("_machlist") or [])


def local_machines(sites: dict, site: str, name: str) -> list:
    """Hosts of a role that stand in ``site``."""
    hosts = set(sites[site]["hosts"])
    return [host for host in machines(sites[site]["raw"], name) if host in hosts]


def address(sites: dict, host: str) -> str:
    """``ip_address`` of a host in machinfo."""
    for site in sites.values():
        machine = (site["raw"].get("machinfo") or {}).get(host)
        if machine:
            return machine["ip_address"]
    raise Refused("Expected %s in machinfo of a site.json, found no such host." % host)


def kept_stopped(entry: dict, host: str, raw: dict, passive: bool) -> bool:
    """Whether nothing of a role may run on a host: alerting in a passive site, the CA anywhere but on ``ca.primary``.

    Two authorities at once would sign with the same serial numbers (operation manual, "CA").
    raw: site.json of the host's site.
    """
    if passive and entry.get("passive") == "stopped":
        return True
    return entry["name"] == "ca" and role(raw, "ca").get("primary") not in (None, "", host)


def site_of(sites: dict, host: str) -> str | None:
    """Site in which a host stands."""
    return next((name for name, site in sites.items() if host in site["hosts"]), None)


def roles_of(sites: dict, host: str) -> list:
    """Roles of a host, sorted; those of its own site's file."""
    site = site_of(sites, host)
    if site is None:
        return []
    services = sites[site]["raw"].get("svclist") or {}
    return sorted(
        name.replace("-", "_") for name, section in services.items() if host in (section.get("_machlist") or [])
    )


def upstream_of(sites: dict, host: str, primary: str) -> str:
    """The server that a standby should follow.

    The primary itself, except that a further database host of a standby site follows the primary-to-be of its own site
    (release 2020-11-02 and later; web_db.connect_host).
    """
    site = site_of(sites, host)
    if site == site_of(sites, primary):
        return primary
    connect = role(sites[site]["raw"], "web_db").get("connect_host")
    if (
        connect
        and connect != host
        and connect in sites[site]["hosts"]
        and connect in machines(sites[site]["raw"], "web_db")
    ):
        return connect
    return primary


# -- probes ----------------------------------------------------------------------------------------------------------


def reachable(probes: dict, host: str) -> bool:
    """Whether the host answered."""
    probe = probes.get(host)
    return bool(probe) and probe.get("reachable", True) and not probe.get("failed")


def db(probes: dict, host: str) -> dict:
    """web_db facts of a host, {} when unknown."""
    return (probes.get(host) or {}).get("web_db") or {} if reachable(probes, host) else {}


def is_primary(probes: dict, host: str) -> bool:
    """The database of the host runs and accepts writes."""
    facts = db(probes, host)
    return bool(facts.get("running")) and facts.get("in_recovery") is False


def is_standby(probes: dict, host: str) -> bool:
    """The database of the host runs as a standby."""
    facts = db(probes, host)
    return bool(facts.get("running")) and facts.get("in_recovery") is True


def fence_of(probes: dict, host: str) -> dict:
    """The durable fence marker on a host, {} when there is none."""
    return db(probes, host).get("fence") or {}


def fence_row(probes: dict, host: str) -> dict:
    """The newest row of the fence table that the database of the host has."""
    return db(probes, host).get("last_fence_row") or {}


def unit_active(probes: dict, host: str, names) -> bool | None:
    """Any of the units is active; None when the host was not asked or has none of them."""
    units = (probes.get(host) or {}).get("units") or {}
    known = [units[name] for name in names if name in units and units[name].get("load") != "not-found"]
    if not known or not reachable(probes, host):
        return None
    return any(unit.get("active") in ("active", "activating", "reloading") for unit in known)


def status_of(probes: dict, host: str) -> str:
    """ACTIVE, STANDBY or unknown, as the status page of that frontend says."""
    status = (probes.get(host) or {}).get("status") or {}
    if isinstance(status, str):
        return status
    return status.get("state") or "unknown"


def installed_site(probes: dict, host: str) -> dict:
    """Digest and the attributes that a failover changes, of the installed site.json."""
    return (probes.get(host) or {}).get("site") or {}


def human(size) -> str:
    """Bytes for a person, exact below 1 KiB."""
    size = int(size)
    for unit, factor in (("GiB", 1024**3), ("MiB", MIB), ("KiB", 1024)):
        if abs(size) >= factor:
            return "%.4g %s" % (size / factor, unit)
    return "%d bytes" % size


# -- the situation ---------------------------------------------------------------------------------------------------


class Situation:
    """What the probes say, in the words that the rules need."""

    def __init__(self, sites: dict, probes: dict, units: dict, client_address: str | None = None):
        self.sites, self.probes, self.units = sites, probes, units
        self.client_address = (client_address or "").split("/")[0] or None
        hosts = []
        for site in sites.values():
            hosts += [host for host in machines(site["raw"], "web_db") if host not in hosts]
        self.db_hosts = sorted(hosts)
        self.primaries = [host for host in self.db_hosts if is_primary(probes, host)]
        self.unreachable = sorted(h for s in sites.values() for h in s["hosts"] if not reachable(probes, h))

    def lock(self, run: dict, lock_break: str | None) -> dict:
        """Lock holder per host: {"refusal": sentence or None, "break": run id of a dead holder or None}."""
        for host in self.db_hosts:
            lock = (self.probes.get(host) or {}).get("lock") or {}
            if not reachable(self.probes, host) or lock.get("state") != "held" or lock.get("expired"):
                continue
            clock = self.probes[host].get("clock") or 0
            if lock.get("expires") is not None and clock and float(lock["expires"]) <= float(clock):
                continue
            if lock.get("run_id") == lock_break or holder_is_dead(lock.get("controller") or "", run["controller"]):
                return {"refusal": None, "break": lock.get("run_id")}
            text = (
                "Another procedure works on this platform: %s of %s (run %s) holds the lock on %s. Wait for it, "
                "or if it is "
                "known to be dead add -e circonus_lock_break=%s."
                % (lock.get("procedure"), lock.get("owner"), lock.get("run_id"), host, lock.get("run_id"))
            )
            return {"refusal": text, "break": None}
        return {"refusal": None, "break": None}

    def replica_row(self, primary: str, candidate: str) -> dict:
        """The primary's view of the candidate, {} when it is not attached."""
        wanted = address(self.sites, candidate)
        for row in db(self.probes, primary).get("replicas") or []:
            if row.get("application_name") == candidate or row.get("addr") == wanted:
                return row
        return {}

    def follows(self, host: str) -> str | None:
        """Host that a running standby receives from."""
        receiver = db(self.probes, host).get("receiver") or {}
        if receiver.get("status") != "streaming":
            return None
        upstream = receiver.get("upstream") or receiver.get("host") or ""
        for other in self.db_hosts:
            if upstream in (other, address(self.sites, other)):
                return other
        return upstream or None

    def alerting(self, site: str, name: str) -> list:
        """Hosts of a site on which an alerting role runs."""
        return [
            host for host in local_machines(self.sites, site, name) if unit_active(self.probes, host, self.units[name])
        ]

    def holds_client_address(self, host: str) -> bool:
        """The address that clients follow is on an interface of this host."""
        found = (self.probes.get(host) or {}).get("addresses") or []
        return bool(self.client_address) and any(
            entry.get("address", "").split("/")[0] == self.client_address for entry in found
        )

    def picture(self) -> dict:
        """The two sites for the report."""
        sites = {}
        for name, site in self.sites.items():
            frontends = local_machines(self.sites, name, "web_frontend")
            pages = {status_of(self.probes, host) for host in frontends if reachable(self.probes, host)}
            page = pages.pop() if len(pages) == 1 else "unknown"
            here = [host for host in self.primaries if host in site["hosts"]]
            answering = [host for host in site["hosts"] if reachable(self.probes, host)]
            state = "active" if here else "standby" if answering else "unreachable"
            sites[name] = {"state": state, "status_page": page, "client_address": False, "hosts": {}}
            for host in sorted(site["hosts"]):
                sites[name]["hosts"][host] = self._host_picture(host)
                if self.holds_client_address(host):
                    sites[name]["client_address"] = True
        return {"sites": sites}

    def _host_picture(self, host):
        state = None
        if host in self.db_hosts:
            facts = db(self.probes, host)
            state = "unknown"
            if facts:
                state = (
                    "primary"
                    if is_primary(self.probes, host)
                    else "standby"
                    if is_standby(self.probes, host)
                    else "down"
                )
        alerting = None
        mine = [name for name in ALERTING_ROLES if name in roles_of(self.sites, host)]
        if mine:
            flags = [unit_active(self.probes, host, self.units[name]) for name in mine]
            alerting = "running" if any(flags) else "stopped" if False in flags else None
        lag = None
        follows = self.follows(host) if state == "standby" else None
        if follows in self.primaries:
            lag = self.replica_row(follows, host).get("lag_bytes")
        return {
            "roles": roles_of(self.sites, host),
            "reachable": reachable(self.probes, host),
            "web_db": state,
            "follows": follows,
            "lag_bytes": lag,
            "alerting": alerting,
        }


def refuse(reason: str, **more) -> dict:
    """A verdict that changes nothing."""
    return dict({"result": "refused", "reason": " ".join(reason.split()), "plan": [], "warnings": []}, **more)


# -- rules that both failovers share ---------------------------------------------------------------------------------


def candidate_problem(situation: Situation, primary: str, candidate: str, params: dict) -> str | None:
    """Why the candidate cannot take over from a running primary, or None (planned failover)."""
    probes = situation.probes
    mine, theirs = db(probes, candidate), db(probes, primary)
    if not mine.get("running"):
        return (
            "The database on %s is not running; it must stream from %s before it can take over. Start it, or run "
            "web_db_rejoin.yml." % (candidate, primary)
        )
    if mine.get("in_recovery") is not True:
        return "%s is not a standby; expected it to replay from %s." % (candidate, primary)
    if (
        mine.get("system_identifier")
        and theirs.get("system_identifier")
        and str(mine["system_identifier"]) != str(theirs["system_identifier"])
    ):
        return "%s holds another database (system identifier %s) than %s (%s). Run web_db_rejoin.yml." % (
            candidate,
            mine["system_identifier"],
            primary,
            theirs["system_identifier"],
        )
    row = situation.replica_row(primary, candidate)
    receiver = mine.get("receiver") or {}
    if not row or row.get("state") != "streaming" or receiver.get("status") != "streaming":
        hint = ""
        if mine.get("timeline") != theirs.get("timeline"):
            hint = " It was last on timeline %s, the primary is on timeline %s." % (
                mine.get("timeline"),
                theirs.get("timeline"),
            )
        return "%s is not attached to %s (sender %s, receiver %s, expected streaming).%s %s" % (
            candidate,
            primary,
            (row or {}).get("state") or "none",
            receiver.get("status") or "none",
            hint,
            "Repair the replication, or run web_db_rejoin.yml.",
        )
    if mine.get("timeline") != theirs.get("timeline"):
        return "%s is on timeline %s, %s on timeline %s: it does not follow the primary. Run web_db_rejoin.yml." % (
            candidate,
            mine.get("timeline"),
            primary,
            theirs.get("timeline"),
        )
    limit = int(params["web_db_failover_max_lag_bytes"])
    lag = row.get("lag_bytes")
    if lag is None or int(lag) > limit:
        found = "an unknown amount" if lag is None else human(lag)
        return "web_db on %s replays %s behind %s (limit %s). Wait, or raise web_db_failover_max_lag_bytes." % (
            candidate,
            found,
            primary,
            human(limit),
        )
    return None


def transaction_problem(situation: Situation, primary: str, params: dict) -> str | None:
    """A transaction on the primary that is older than the limit."""
    limit = float(params["web_db_failover_max_transaction_s"])
    old = [
        row
        for row in db(situation.probes, primary).get("long_transactions") or []
        if float(row.get("age_s") or 0) > limit
    ]
    if not old:
        return None
    worst = max(old, key=lambda row: float(row["age_s"]))
    return (
        "A transaction on %s has been open for %.0f s (pid %s, user %s; limit %.0f s) and would be cut off. End "
        "it, or raise web_db_failover_max_transaction_s."
        % (primary, float(worst["age_s"]), worst.get("pid"), worst.get("user"), limit)
    )


def disk_problem(situation: Situation, hosts: list, params: dict) -> str | None:
    """A database host without room to work."""
    limit = int(params["web_db_failover_min_free_bytes"])
    for host in hosts:
        free = db(situation.probes, host).get("free_bytes")
        if free is not None and int(free) < limit:
            return (
                "%s has %s free in its database directory (limit %s). Make room, or lower "
                "web_db_failover_min_free_bytes." % (host, human(free), human(limit))
            )
    return None


def switch_kind(situation: Situation, old: str | None) -> str:
    """How the roles change: ``together`` (one task arms, fences and promotes), ``fence_then_promote`` (the old primary
    answers but its database is down, and not by a clean fence of ours), ``promote_only`` (the old primary is away)."""
    if old is None or not reachable(situation.probes, old):
        return "promote_only"
    clean = (db(situation.probes, old).get("control") or {}).get("state") == "shut down"
    if is_primary(situation.probes, old) or (clean and fence_of(situation.probes, old)):
        return "together"
    return "fence_then_promote"


def client_address(params: dict) -> dict | None:
    """The address alias that moves with the primary, None when clients are moved in another way."""
    if params.get("circonus_clients") != "ip_alias":
        return None
    return {"address": params.get("circonus_client_address"), "interface": params.get("circonus_client_interface")}


#: What each way of moving the clients cannot do without.
CLIENTS_NEED = {
    "ip_alias": ("circonus_client_address",),
    "nsupdate": ("circonus_dns_server", "circonus_dns_zone", "circonus_dns_record"),
    "command": ("circonus_clients_command",),
}


def clients_move(params: dict, site: str, host: str, address: str) -> dict:
    """What the chosen way of moving the clients needs to know: {"problem", "dns_value", "command"}.

    ``problem`` is one sentence about missing or wrong parameters, None without one.
    """
    how = params.get("circonus_clients")
    missing = [name for name in CLIENTS_NEED.get(how, ()) if not params.get(name)]
    move = {"problem": None, "dns_value": None, "command": None}
    if missing:
        move["problem"] = "circonus_clients=%s needs %s; nothing was given." % (how, " and ".join(missing))
    elif how == "nsupdate":
        given = params.get("circonus_dns_addresses") or {}
        move["dns_value"] = given.get(host) or given.get(site) or address
    elif how == "command":
        words = {"site": site, "host": host, "address": address}
        try:
            move["command"] = [str(word).format(**words) for word in params["circonus_clients_command"]]
        except (KeyError, IndexError, ValueError) as error:
            move["problem"] = "circonus_clients_command may use {site}, {host} and {address}; found %s." % error
    return move


def lock_hosts(situation: Situation) -> list:
    """Reachable database hosts in the one order in which every controller takes their locks."""
    return [host for host in situation.db_hosts if reachable(situation.probes, host)]


def rejoin_plan(situation: Situation, primary: str) -> list:
    """Standbys in the order in which they have to follow: [{"host", "upstream", "upstream_address"}]."""
    result = []
    for host in situation.db_hosts:
        if host == primary:
            continue
        upstream = upstream_of(situation.sites, host, primary)
        result.append({"host": host, "upstream": upstream, "upstream_address": address(situation.sites, upstream)})
    result.sort(key=lambda item: (item["upstream"] != primary, item["host"]))
    return result


def settled_standby(situation: Situation, host: str, upstream: str) -> bool:
    """The host streams from where it should and carries no fence."""
    return (
        is_standby(situation.probes, host)
        and situation.follows(host) == upstream
        and not fence_of(situation.probes, host)
    )


def dependents(situation: Situation, edition: str) -> list:
    """Services to restart after a failover of the database, in order (operation manual, "Service Dependencies").

    [{"role", "host"}]; only where deployed, never alerting in a standby site, ca_processor only on the primary CA.
    """
    result = []
    for link in catalogue.chain("web_db", edition):
        name = link["role"]
        for site in sorted(situation.sites):
            for host in local_machines(situation.sites, site, name):
                if unit_active(situation.probes, host, situation.units.get(name) or []):
                    result.append({"role": name, "host": host, "only": link.get("only")})
    return result


def ca_initialised(situation: Situation, host: str) -> bool:
    """Whether a host holds the CA itself, not only the role."""
    return bool(((situation.probes.get(host) or {}).get("ca") or {}).get("initialised"))


def ca_restarts(situation: Situation, base: dict) -> list:
    """The CA of the site that takes over, edition 2019 only, running or not.

    ca_processor waits for notifications of the primary database and cannot do so on a standby, so the one of the other
    site is left alone; the 2019 installer knows no failover of the CA.
    """
    link = next((item for item in catalogue.chain("web_db", base["edition"]) if item["role"] == "ca"), None)
    if not link or not base["ca_new"] or not ca_initialised(situation, base["ca_new"]):
        return []
    return [{"role": "ca", "host": base["ca_new"], "only": link.get("only")}]


def ca_held(situation: Situation, host: str | None) -> bool:
    """Whether the CA of a host is kept from starting, because its numbers could not be raised."""
    return bool(host) and bool(((situation.probes.get(host) or {}).get("ca") or {}).get("held"))


def ca_take_over(situation: Situation, base: dict, copied: bool, promote: bool) -> dict | None:
    """``{"host", "lost"}`` when the CA of the site that takes over goes on from a copy that may be too old, else None.

    That follows from what the hosts say, not from how the run is called: the run that finishes an unplanned failover
    may be a planned one. A processor that runs has been started by an earlier run, after its numbers were raised.
    copied: this run brings the newest copy itself.
    """
    host, lost = base["ca_new"], base["ca_old"]
    if copied or not host or not lost or not (base["unplanned"] or not promote):
        return None
    if base["edition"] != "later" and not ca_initialised(situation, host):
        return None
    if ca_held(situation, host):
        return {"host": host, "lost": lost}
    if unit_active(situation.probes, host, situation.units["ca"]):
        return None
    digests = [((situation.probes.get(name) or {}).get("ca") or {}).get("digest") for name in (host, lost)]
    if reachable(situation.probes, lost) and digests[0] and digests[0] == digests[1]:
        return None
    return {"host": host, "lost": lost}


# -- datacenter failover ---------------------------------------------------------------------------------------------


def site_changes(flipped_raw: dict) -> dict:
    """Attributes that Hooper needs to know after a failover, with their values ("values changed at failover")."""
    database = role(flipped_raw, "web_db")
    changes = {"svclist.web_db.%s" % key: database.get(key) for key in ("master", "connect_host", "read_connect_host")}
    if "active_datacenter" in flipped_raw:
        changes["active_datacenter"] = flipped_raw["active_datacenter"]
        for key in ("primary", "master"):
            changes["svclist.ca.%s" % key] = role(flipped_raw, "ca").get(key)
        changes["svclist.data_storage.secondary_cluster"] = role(flipped_raw, "data_storage").get("secondary_cluster")
    return {path: value for path, value in changes.items() if value is not None}


def edition_of(sites: dict, wanted: str | None) -> str:
    """``2019`` or ``later``: as asked, else by ``active_datacenter`` (read by Hooper from 2020-11 on)."""
    if wanted:
        return wanted
    return "later" if any("active_datacenter" in site["raw"] for site in sites.values()) else "2019"


def datacenter_verdict(
    sites: dict, flipped: dict, known: dict, probes: dict, params: dict, run: dict, units: dict, findings: list
) -> dict:
    """Decide about a failover to ``params["datacenter_failover_to"]``.

    ``flipped``: {site: raw} as the files must be afterwards. ``known``: {site: digests} of every version that a step of
    this procedure may have left. ``units``: {role: [unit candidates]}. ``findings``: of the validator over both files.
    """
    target = params["datacenter_failover_to"]
    if target not in sites:
        return refuse("datacenter_failover_to must be one of %s, found %s." % (", ".join(sorted(sites)), target))
    if len(sites) != 2:
        return refuse(
            "A datacenter failover needs two sites, found %d in the inventory. For one site use web_db_failover.yml."
            % len(sites)
        )
    if params.get("circonus_confirm") != target:
        return refuse(
            "circonus_confirm must name the site that takes over (%s), found %s. Nothing was changed."
            % (target, params.get("circonus_confirm") or "nothing")
        )
    errors = [finding for finding in findings if finding["severity"] == "error"]
    if errors:
        more = " (and %d more: run site_check.yml)" % (len(errors) - 1) if len(errors) > 1 else ""
        return refuse(
            "site.json is not valid: %s %s: %s%s."
            % (errors[0]["id"], errors[0]["path"], errors[0]["message"].rstrip("."), more)
        )
    situation = Situation(sites, probes, units, params.get("circonus_client_address"))
    other = next(name for name in sites if name != target)
    base = _datacenter_facts(situation, target, other, params)
    verdict = _datacenter_rules(situation, flipped, known, params, run, base)
    return dict(base, **verdict)


def _datacenter_facts(situation, target, other, params):
    sites = situation.sites
    candidate = role(sites[target]["raw"], "web_db").get("connect_host")
    if candidate not in machines(sites[target]["raw"], "web_db"):
        local = local_machines(sites, target, "web_db")
        candidate = local[0] if local else None
    old = next((host for host in situation.primaries if host != candidate), None)
    if old is None:
        fenced = [host for host in situation.db_hosts if fence_of(situation.probes, host)]
        connect = role(sites[other]["raw"], "web_db").get("connect_host")
        old = fenced[0] if fenced else connect
    edition = edition_of(sites, params.get("circonus_edition"))
    return {
        "target": target,
        "other": other,
        "candidate": candidate,
        "candidate_address": address(sites, candidate) if candidate else None,
        "old_primary": old,
        "old_primary_address": address(sites, old) if old in situation.db_hosts else None,
        "edition": edition,
        "clients": clients_move(params, target, candidate, address(sites, candidate) if candidate else None),
        "alert_old": sorted(
            {h for name in ALERTING_ROLES for h in local_machines(sites, other, name) if reachable(situation.probes, h)}
        ),
        "alert_new": sorted({h for name in ALERTING_ROLES for h in local_machines(sites, target, name)}),
        "ca_old": _ca_of(sites, other),
        "ca_new": next(iter(local_machines(sites, target, "ca")), None),
        "lock_hosts": lock_hosts(situation),
        "reachable_hosts": sorted(h for s in sites.values() for h in s["hosts"] if reachable(situation.probes, h)),
        "unplanned": params["datacenter_failover_mode"] == "unplanned",
        "picture": situation.picture(),
        "lock_break": None,
        "warnings": [],
        "plan": [],
    }


def _ca_of(sites, site):
    """The CA host of a site: the one that ca.primary names, where ca_failover has moved it, else the first."""
    local = local_machines(sites, site, "ca")
    named = role(sites[site]["raw"], "ca").get("primary")
    return named if named in local else next(iter(local), None)


def _datacenter_rules(situation, flipped, known, params, run, base):
    probes, target, other = situation.probes, base["target"], base["other"]
    candidate = base["candidate"]
    if candidate is None:
        return refuse("Site %s has no web_db host of its own, so it cannot take over." % target)
    if base["clients"]["problem"]:
        return refuse(base["clients"]["problem"])
    lost = [host for host in situation.unreachable if host in situation.sites[target]["hosts"]]
    if lost:
        return refuse(
            "Every host of %s must be reachable to take over; no answer from %s (%s)."
            % (target, ", ".join(lost), (probes.get(lost[0]) or {}).get("msg", "no probe"))
        )
    if situation.unreachable and not base["unplanned"]:
        return refuse(
            "A planned failover needs every host of both sites; no answer from %s. If %s is lost use "
            "datacenter_failover_mode=unplanned." % (", ".join(situation.unreachable), other)
        )
    if len(situation.primaries) > 1:
        return refuse(
            "Two primaries: %s all accept writes. Expected exactly one. Stop the wrong one and rejoin it by "
            "web_db_rejoin.yml." % ", ".join(situation.primaries)
        )
    lock = situation.lock(run, params.get("circonus_lock_break"))
    if lock["refusal"]:
        return refuse(lock["refusal"])
    more = {"lock_break": lock["break"]}
    incoherent = _site_problem(situation, known)
    if incoherent:
        return refuse(incoherent)
    if situation.primaries == [candidate]:
        return dict(more, **_after_promotion(situation, flipped, params, base))
    if situation.primaries and situation.primaries[0] in situation.sites[target]["hosts"]:
        return refuse(
            "%s is the primary and stands in %s already, but connect_host of that site is %s. Use "
            "web_db_failover.yml to move it." % (situation.primaries[0], target, candidate)
        )
    if situation.primaries:
        return dict(more, **_before_promotion(situation, params, base))
    return dict(more, **_without_primary(situation, params, base))


def _site_problem(situation, known):
    """A host whose site.json is neither the version before nor the one after the failover."""
    for name, site in situation.sites.items():
        for host in sorted(site["hosts"]):
            installed = installed_site(situation.probes, host)
            if not reachable(situation.probes, host) or not installed:
                continue
            digest = installed.get("sha256")
            if not digest:
                return "%s has no usable site.json (%s). Run site_distribute.yml." % (
                    host,
                    installed.get("error") or "missing",
                )
            if digest not in known[name]:
                return (
                    "The site.json on %s differs from %s. Run site_distribute.yml (or correct the file) so that "
                    "both say the same." % (host, site.get("file") or "the file of the controller")
                )
    return None


def _witnesses(situation, active, standby):
    """Sentences of the witnesses that do not agree that ``active`` is the active site."""
    against = []
    for site, page in ((active, "ACTIVE"), (standby, "STANDBY")):
        for host in local_machines(situation.sites, site, "web_frontend"):
            if reachable(situation.probes, host) and status_of(situation.probes, host) != page:
                against.append("/status of %s says %s, expected %s" % (host, status_of(situation.probes, host), page))
        for host in sorted(situation.sites[site]["hosts"]):
            flag = installed_site(situation.probes, host).get("active_datacenter")
            if reachable(situation.probes, host) and flag is not None and flag is not (site == active):
                against.append(
                    "site.json on %s says active_datacenter %s, expected %s"
                    % (host, str(flag).lower(), str(site == active).lower())
                )
    return against


def _before_promotion(situation, params, base):
    primary, candidate = situation.primaries[0], base["candidate"]
    against = _witnesses(situation, base["other"], base["target"])
    if against:
        return refuse(
            "The witnesses do not agree on the active site: the primary database is %s in %s, but %s. Nothing "
            "was changed." % (primary, base["other"], "; ".join(against[:3]))
        )
    fence = fence_of(situation.probes, primary)
    if fence:
        return refuse(
            "%s carries a fence marker (run %s) and still accepts writes. Look at docs/web_db.md before anything else."
            % (primary, fence.get("run_id"))
        )
    problem = (
        candidate_problem(situation, primary, candidate, params)
        or transaction_problem(situation, primary, params)
        or disk_problem(situation, [candidate, primary], params)
        or _target_services_problem(situation, base)
        or _ca_problem(situation, base)
    )
    if problem:
        return refuse(problem)
    double = [name for name in ALERTING_ROLES if situation.alerting(base["target"], name)]
    if double:
        return refuse(
            "%s runs in the standby site %s already; alerts would be sent twice. Stop it there first."
            % (" and ".join(double), base["target"])
        )
    return _proceed(situation, params, base, promote=True)


def _without_primary(situation, params, base):
    probes, candidate, old = situation.probes, base["candidate"], base["old_primary"]
    mine = db(probes, candidate)
    fence = fence_of(probes, candidate)
    rival = fence.get("candidate")
    if fence and not mine.get("running") and rival in situation.db_hosts and is_standby(probes, rival):
        back = dict(base, old_primary=rival, old_primary_address=address(situation.sites, rival))
        resumed = "%s was fenced for %s, which has not been promoted; the fence is lifted." % (candidate, rival)
        return dict(back, **_proceed(situation, params, back, promote=True, resumed=resumed, switch="abort"))
    if not is_standby(probes, candidate):
        return refuse(
            "No database accepts writes and %s is not a running standby (found %s); it cannot take over. Start "
            "it first." % (candidate, "down" if not mine.get("running") else "another state")
        )
    fence = fence_of(probes, old) if old else {}
    clean = (db(probes, old).get("control") or {}).get("state") == "shut down" if old else False
    if fence.get("candidate") == candidate and clean:
        return _proceed(
            situation, params, base, promote=True, resumed="An earlier run fenced %s; this one finishes it." % old
        )
    if not base["unplanned"]:
        return refuse(
            "No database accepts writes: %s is down. Start it again, or if it is lost use "
            "datacenter_failover_mode=unplanned." % (old or "the primary")
        )
    foreign = [host for host in situation.primaries if host != candidate]
    if foreign:
        return refuse("%s still accepts writes." % foreign[0])
    return _unplanned(situation, params, base)


def _unplanned(situation, params, base):
    probes, candidate, old = situation.probes, base["candidate"], base["old_primary"]
    behind = _better_standby(situation, base)
    if behind:
        return refuse(behind)
    problem = disk_problem(situation, [candidate], params) or _target_services_problem(situation, base)
    if problem:
        return refuse(problem)
    fenced = bool(old) and reachable(probes, old) and bool(db(probes, old)) and not db(probes, old).get("running")
    loss = possible_loss(situation, candidate, old)
    accepted = params.get("datacenter_failover_accept_data_loss")
    if not fenced or loss["bytes"] > 0 or not loss["proven"]:
        if accepted is None or int(accepted) < loss["bytes"]:
            why = (
                "%s cannot be reached, so it cannot be proven to be stopped" % old
                if not fenced
                else "%s is down and was not shut down cleanly" % old
            )
            given = "" if accepted is None else ", accepted so far %s" % accepted
            return refuse(
                "%s. Measured possible loss: %d bytes (%s)%s. To go on without that proof add -e "
                "datacenter_failover_accept_data_loss=%d." % (why, loss["bytes"], loss["text"], given, loss["bytes"]),
                possible_loss_bytes=loss["bytes"],
            )
    verdict = _proceed(situation, params, base, promote=True, loss=loss)
    verdict["rpo_bytes"] = loss["bytes"]
    verdict["old_fenced"] = fenced
    return verdict


def _better_standby(situation, base):
    """Another standby that has received more than the candidate."""
    mine = db(situation.probes, base["candidate"])
    for host in situation.db_hosts:
        if host == base["candidate"] or not is_standby(situation.probes, host):
            continue
        theirs = db(situation.probes, host)
        if (
            theirs.get("timeline") == mine.get("timeline")
            and received(theirs) > received(mine)
            and host in situation.sites[base["target"]]["hosts"]
        ):
            return (
                "%s has received %s more than %s. Make it the connect_host of %s, or let it feed the candidate first."
                % (host, human(received(theirs) - received(mine)), base["candidate"], base["target"])
            )
    return None


def parse_lsn(text) -> int:
    """``16/B374D848`` as a number of bytes; 0 for nothing."""
    if not text:
        return 0
    if isinstance(text, int):
        return text
    high, low = str(text).split("/")
    return (int(high, 16) << 32) + int(low, 16)


def received(facts: dict) -> int:
    """The end of what a standby has, received or replayed, in bytes."""
    lsn = facts.get("lsn") or {}
    return max(parse_lsn(lsn.get("receive")), parse_lsn(lsn.get("replay")))


def possible_loss(situation: Situation, candidate: str, old: str | None) -> dict:
    """Bytes that were acknowledged on the old primary and may be missing on the candidate.

    The end of the old primary's log is the greatest of what any reachable host knows about it: its own control file,
    the last position it announced to a standby, and what other standbys have received. ``proven`` is true only when the
    old primary was shut down cleanly and the candidate holds its shutdown checkpoint.
    """
    probes = situation.probes
    mine = received(db(probes, candidate))
    best, text = mine, "nothing newer is known on any reachable host"
    for host in situation.db_hosts:
        facts = db(probes, host)
        receiver = facts.get("receiver") or {}
        known = facts.get("known_primary") or {}
        for source, value in (
            ("last position announced to %s" % host, receiver.get("latest_end_lsn")),
            ("last position seen by the guard of %s" % host, known.get("lsn")),
            ("received by %s" % host, received(facts) if is_standby(probes, host) else 0),
            ("write-ahead log found on %s" % host, (facts.get("lsn") or {}).get("wal_end") if host == old else None),
            (
                "last checkpoint of %s" % host,
                (facts.get("control") or {}).get("checkpoint_lsn") if host == old else None,
            ),
        ):
            if parse_lsn(value) > best:
                best, text = parse_lsn(value), source
    control = db(probes, old).get("control") or {} if old else {}
    proven = control.get("state") == "shut down" and parse_lsn(control.get("checkpoint_lsn")) < mine
    return {"bytes": max(0, best - mine), "text": text, "proven": proven}


def _target_services_problem(situation, base):
    """A service of the target site that clients will need and that does not run."""
    for name in ("mq", "web_frontend"):
        for host in local_machines(situation.sites, base["target"], name):
            for unit in situation.units.get(name) or []:
                state = ((situation.probes.get(host) or {}).get("units") or {}).get(unit)
                if not state or state.get("load") == "not-found" or state.get("enabled") in ("disabled", "masked"):
                    continue
                if state.get("active") != "active":
                    return "%s on %s is %s, expected active: %s would take over with a broken %s. Repair it first." % (
                        unit,
                        host,
                        state.get("active") or "unknown",
                        base["target"],
                        name,
                    )
    return None


def _ca_problem(situation, base):
    """The CA that would be copied cannot be read (later edition: restored before the failover)."""
    if base["edition"] != "later" or not base["ca_old"] or not base["ca_new"]:
        return None
    ca = (situation.probes.get(base["ca_old"]) or {}).get("ca")
    if ca is not None and not ca.get("present"):
        return (
            "Expected the CA directory on %s, found none; %s could not issue certificates. Restore it, then "
            "start again." % (base["ca_old"], base["target"])
        )
    return None


def _after_promotion(situation, flipped, params, base):
    candidate, target, other = base["candidate"], base["target"], base["other"]
    row = fence_row(situation.probes, candidate)
    ours = row.get("candidate") == candidate
    flags = {
        installed_site(situation.probes, host).get("active_datacenter")
        for host in situation.sites[target]["hosts"]
        if reachable(situation.probes, host)
    }
    if not ours and flags != {True} and flags != {None}:
        return refuse(
            "The witnesses do not agree: %s in %s accepts writes, but site.json there says standby and no "
            "failover of ours made it primary." % (candidate, target)
        )
    open_work = unfinished(situation, flipped, params, base)
    if ca_held(situation, base["ca_new"]):
        # Not a part of what is proven at the end: a CA that cannot sign is no reason to call a failover failed.
        open_work.append("the CA on %s is held back" % base["ca_new"])
    if not open_work:
        away = [host for host in situation.sites[other]["hosts"] if not reachable(situation.probes, host)]
        reason = "%s is the active site already." % target
        remaining = []
        if away:
            remaining = [
                "%s: no answer from %s; run this playbook again when it is back." % (other, ", ".join(sorted(away)))
            ]
            reason = "%s is the active site; %s cannot be brought in yet." % (target, other)
        return {"result": "nothing_to_do", "reason": reason, "plan": [], "promote": False, "remaining": remaining}
    return _proceed(
        situation,
        params,
        base,
        promote=False,
        resumed="An earlier failover to %s is finished: %s." % (target, "; ".join(open_work[:4])),
    )


def unfinished(situation: Situation, flipped: dict, params: dict, base: dict) -> list:
    """What is not yet as it must be when ``target`` is active; empty when the failover is complete."""
    target, other, candidate = base["target"], base["other"], base["candidate"]
    work = []
    for name in situation.sites:
        digest = canonical_sha256(flipped[name])
        stale = [
            h
            for h in situation.sites[name]["hosts"]
            if reachable(situation.probes, h) and installed_site(situation.probes, h).get("sha256", digest) != digest
        ]
        if stale:
            work.append("site.json of %s" % ", ".join(sorted(stale)))
    if not base.get("controller_files_current", True):
        work.append("the site files of the controller")
    for item in rejoin_plan(situation, candidate):
        if reachable(situation.probes, item["host"]) and not settled_standby(situation, item["host"], item["upstream"]):
            work.append("%s does not follow %s" % (item["host"], item["upstream"]))
    for name in ALERTING_ROLES:
        missing = [
            h
            for h in local_machines(situation.sites, target, name)
            if unit_active(situation.probes, h, situation.units[name]) is False
        ]
        if missing:
            work.append("%s is not running on %s" % (name, ", ".join(missing)))
        wrong = situation.alerting(other, name)
        if wrong:
            work.append("%s still runs on %s" % (name, ", ".join(wrong)))
    for site, page in ((target, "ACTIVE"), (other, "STANDBY")):
        for host in local_machines(situation.sites, site, "web_frontend"):
            if reachable(situation.probes, host) and status_of(situation.probes, host) != page:
                work.append("/status of %s is not %s" % (host, page))
    if params.get("circonus_clients") == "ip_alias":
        if [h for h in situation.db_hosts if situation.holds_client_address(h)] != [candidate]:
            work.append("the client address is not on %s alone" % candidate)
    return work


def _proceed(situation, params, base, promote, resumed=None, loss=None, switch=None):
    target, other, candidate, old = base["target"], base["other"], base["candidate"], base["old_primary"]
    later = base["edition"] == "later"
    away = not reachable(situation.probes, old) if old else True
    plan = ["Take the lock of the platform on %s." % ", ".join(base["lock_hosts"])]
    copy_ca = bool(
        later and base["ca_old"] and base["ca_new"] and reachable(situation.probes, base["ca_old"]) and promote
    )
    if copy_ca:
        plan.append(
            "Stop the CA processor of %s. Copy the CA from %s to %s (encrypted for %s alone)."
            % (base["ca_old"], base["ca_old"], base["ca_new"], base["ca_new"])
        )
    if switch == "abort":
        plan.append("Lift the fence of %s once %s has said that it was not promoted." % (candidate, old))
    elif promote and away:
        plan.append(
            "Promote %s without proof that %s is stopped; possible loss %s."
            % (candidate, old, human((loss or {}).get("bytes", 0)))
        )
    elif promote:
        plan.append(
            "Arm %s, fence %s (stopped and kept from starting), promote %s when it holds the last write."
            % (candidate, old, candidate)
        )
    plan.append(
        "Move the clients: %s."
        % {
            "ip_alias": "address alias to %s" % candidate,
            "nsupdate": "DNS record by nsupdate",
            "command": "the given command",
            "none": "not by this playbook",
        }[params["circonus_clients"]]
    )
    taken = ca_take_over(situation, base, copy_ca, promote)
    if taken:
        plan.append(
            "Raise the next serial and CRL number of the CA on %s at least %d beyond every one that is known: what %s "
            "issued after the last copy is not in it." % (taken["host"], params["ca_failover_margin"], taken["lost"])
        )
    plan.append("Switch the active message queue (failover.pl on %s)." % candidate)
    plan.append(
        "Stop fault_detection and notification in %s (%s)." % (other, ", ".join(base["alert_old"]) or "unreachable")
    )
    plan.append("site.json on %d hosts: %s active, %s standby." % (len(base["reachable_hosts"]), target, other))
    if later:
        plan.append(
            "Hooper in maintenance mode on %s in run order; it starts fault_detection and notification there." % target
        )
    else:
        plan.append("Start fault_detection, then notification in %s; restart what depends on the database." % target)
    rejoin = [item for item in rejoin_plan(situation, candidate) if reachable(situation.probes, item["host"])]
    for item in rejoin:
        if not settled_standby(situation, item["host"], item["upstream"]):
            plan.append("%s becomes a standby of %s." % (item["host"], item["upstream"]))
    restarts = [item for item in dependents(situation, base["edition"]) if item["role"] not in (*ALERTING_ROLES, "ca")]
    restarts += ca_restarts(situation, base)
    if later:
        plan.append("Hooper in maintenance mode on the reachable hosts of %s in run order." % other)
    else:
        plan.append("Restart what depends on the database in %s." % other)
    plan.append("Probe everything again and prove the result.")
    remaining = []
    absent = [host for host in situation.sites[other]["hosts"] if not reachable(situation.probes, host)]
    if absent:
        remaining.append(
            "%s: when %s answer again, run this playbook once more (or web_db_rejoin.yml)."
            % (other, ", ".join(sorted(absent)))
        )
    if not later and base["ca_old"] and ca_initialised(situation, base["ca_old"]):
        remaining.append(
            "The CA stays on %s in %s: no certificate is issued or renewed while %s is active."
            % (base["ca_old"], other, target)
        )
    if params["circonus_clients"] == "none":
        remaining.append("Point the clients (DNS, load balancer) to %s." % target)
    remaining.append("Ask users of the web interface to reload the page.")
    reason = resumed or ("%s takes over from %s." % (target, other))
    return {
        "result": "proceed",
        "reason": reason,
        "plan": plan,
        "done": "%s is the active site." % target,
        "promote": promote,
        "copy_ca": copy_ca,
        "take_over": taken,
        "switch": switch or switch_kind(situation, old),
        "client_address": client_address(params),
        "alerting_units": [unit for name in ALERTING_ROLES for unit in situation.units[name]],
        # Those of the old site need their own database back before they can start.
        "dependents": [item for item in restarts if item["host"] in situation.sites[target]["hosts"]],
        "dependents_other": [item for item in restarts if item["host"] in situation.sites[other]["hosts"]],
        "rejoin": rejoin,
        "remaining": remaining,
        "rpo_bytes": 0,
    }


# -- failover of the database inside its site ------------------------------------------------------------------------


def web_db_verdict(
    sites: dict, flipped: dict, known: dict, probes: dict, params: dict, run: dict, units: dict, findings: list
) -> dict:
    """Decide about making ``params["web_db_failover_to"]`` the primary of its site.

    ``flipped`` and ``known`` as in :func:`datacenter_verdict`.
    """
    candidate = params["web_db_failover_to"]
    situation = Situation(sites, probes, units, params.get("circonus_client_address"))
    if candidate not in situation.db_hosts:
        return refuse(
            "web_db_failover_to must be one of the database hosts (%s), found %s."
            % (", ".join(situation.db_hosts), candidate)
        )
    if params.get("circonus_confirm") != candidate:
        return refuse(
            "circonus_confirm must name the new primary (%s), found %s. Nothing was changed."
            % (candidate, params.get("circonus_confirm") or "nothing")
        )
    errors = [finding for finding in findings if finding["severity"] == "error"]
    if errors:
        return refuse(
            "site.json is not valid: %s %s: %s."
            % (errors[0]["id"], errors[0]["path"], errors[0]["message"].rstrip("."))
        )
    old = next((host for host in situation.primaries if host != candidate), None)
    if old is None:
        fenced = [host for host in situation.db_hosts if fence_of(probes, host).get("candidate") == candidate]
        connect = role(sites[site_of(sites, candidate)]["raw"], "web_db").get("master")
        old = fenced[0] if fenced else connect if connect != candidate else None
    base = {
        "target": site_of(sites, candidate),
        "candidate": candidate,
        "candidate_address": address(sites, candidate),
        "old_primary": old,
        "old_primary_address": address(sites, old) if old in situation.db_hosts else None,
        "edition": edition_of(sites, params.get("circonus_edition")),
        "clients": clients_move(params, site_of(sites, candidate), candidate, address(sites, candidate)),
        "lock_hosts": lock_hosts(situation),
        "reachable_hosts": sorted(h for s in sites.values() for h in s["hosts"] if reachable(probes, h)),
        "unplanned": params["web_db_failover_mode"] == "unplanned",
        "picture": situation.picture(),
        "lock_break": None,
        "warnings": [],
        "plan": [],
    }
    return dict(base, **_web_db_rules(situation, flipped, known, params, run, base))


def _web_db_rules(situation, flipped, known, params, run, base):
    probes, candidate, old = situation.probes, base["candidate"], base["old_primary"]
    if base["clients"]["problem"]:
        return refuse(base["clients"]["problem"])
    if not reachable(probes, candidate):
        return refuse(
            "%s must be reachable to take over; no answer (%s)."
            % (candidate, (probes.get(candidate) or {}).get("msg", "no probe"))
        )
    if situation.unreachable and not base["unplanned"]:
        return refuse(
            "A planned failover needs every host; no answer from %s. If the primary is lost use "
            "web_db_failover_mode=unplanned." % ", ".join(situation.unreachable)
        )
    if len(situation.primaries) > 1:
        return refuse("Two primaries: %s all accept writes. Expected exactly one." % ", ".join(situation.primaries))
    lock = situation.lock(run, params.get("circonus_lock_break"))
    if lock["refusal"]:
        return refuse(lock["refusal"])
    more = {"lock_break": lock["break"]}
    incoherent = _site_problem(situation, known)
    if incoherent:
        return refuse(incoherent)
    if old and site_of(situation.sites, old) != base["target"]:
        return refuse(
            "%s is the primary and stands in %s, %s in %s. Use datacenter_failover.yml to move to another site."
            % (old, site_of(situation.sites, old), candidate, base["target"])
        )
    if situation.primaries == [candidate]:
        work = web_db_unfinished(situation, flipped, params, base)
        if not work:
            return dict(
                more,
                result="nothing_to_do",
                reason="%s is the primary already." % candidate,
                promote=False,
                remaining=_not_rejoined(situation),
            )
        return dict(
            more,
            **_web_db_proceed(
                situation,
                params,
                base,
                False,
                "An earlier failover to %s is finished: %s." % (candidate, "; ".join(work[:4])),
            ),
        )
    if situation.primaries:
        problem = (
            candidate_problem(situation, old, candidate, params)
            or transaction_problem(situation, old, params)
            or disk_problem(situation, [candidate, old], params)
        )
        if problem:
            return refuse(problem)
        return dict(more, **_web_db_proceed(situation, params, base, True))
    if not is_standby(probes, candidate):
        return refuse("No database accepts writes and %s is not a running standby; it cannot take over." % candidate)
    control = db(probes, old).get("control") or {} if old else {}
    if old and fence_of(probes, old).get("candidate") == candidate and control.get("state") == "shut down":
        return dict(
            more,
            **_web_db_proceed(situation, params, base, True, "An earlier run fenced %s; this one finishes it." % old),
        )
    if not base["unplanned"]:
        return refuse(
            "No database accepts writes: %s is down. Start it again, or if it is lost use "
            "web_db_failover_mode=unplanned." % (old or "the primary")
        )
    return dict(more, **_web_db_unplanned(situation, params, base))


def _web_db_unplanned(situation, params, base):
    candidate, old = base["candidate"], base["old_primary"]
    behind = _better_standby(situation, base)
    if behind:
        return refuse(behind)
    loss = possible_loss(situation, candidate, old)
    fenced = bool(old) and bool(db(situation.probes, old)) and not db(situation.probes, old).get("running")
    accepted = params.get("web_db_failover_accept_data_loss")
    if not fenced or not loss["proven"]:
        if accepted is None or int(accepted) < loss["bytes"]:
            why = "%s cannot be proven to be stopped" % old if not fenced else "%s was not shut down cleanly" % old
            return refuse(
                "%s. Measured possible loss: %d bytes (%s). To go on without that proof add -e "
                "web_db_failover_accept_data_loss=%d." % (why, loss["bytes"], loss["text"], loss["bytes"]),
                possible_loss_bytes=loss["bytes"],
            )
    verdict = _web_db_proceed(situation, params, base, True)
    verdict["rpo_bytes"] = loss["bytes"]
    return verdict


def _not_rejoined(situation):
    """What is left to do by hand about database hosts that do not answer."""
    return [
        "%s: no answer; rejoin it by web_db_rejoin.yml." % host
        for host in situation.unreachable
        if host in situation.db_hosts
    ]


def _web_db_proceed(situation, params, base, promote, resumed=None):
    candidate, old = base["candidate"], base["old_primary"]
    away = old is None or not reachable(situation.probes, old)
    plan = ["Take the lock of the platform on %s." % ", ".join(base["lock_hosts"])]
    if promote and away:
        plan.append("Promote %s without proof that %s is stopped." % (candidate, old))
    elif promote:
        plan.append(
            "Arm %s, fence %s (stopped and kept from starting), promote %s when it holds the last write."
            % (candidate, old, candidate)
        )
    plan.append("Move the clients (%s)." % params["circonus_clients"])
    plan.append("site.json on %d hosts: web_db.master is %s." % (len(base["reachable_hosts"]), candidate))
    rejoin = [item for item in rejoin_plan(situation, candidate) if reachable(situation.probes, item["host"])]
    for item in rejoin:
        if not settled_standby(situation, item["host"], item["upstream"]):
            plan.append("%s becomes a standby of %s." % (item["host"], item["upstream"]))
    plan.append("Hooper in maintenance mode on the hosts of %s in run order." % base["target"])
    plan.append("Restart what depends on the database (edition %s)." % base["edition"])
    plan.append("Probe everything again and prove the result.")
    return {
        "result": "proceed",
        "reason": resumed or "%s takes over from %s." % (candidate, old),
        "plan": plan,
        "done": "%s is the primary." % candidate,
        "promote": promote,
        "switch": switch_kind(situation, old),
        "client_address": client_address(params),
        "dependents": dependents(situation, base["edition"]),
        "rejoin": rejoin,
        "remaining": _not_rejoined(situation),
        "rpo_bytes": 0,
    }


def web_db_unfinished(situation: Situation, flipped: dict, params: dict, base: dict) -> list:
    """What is not yet as it must be when ``candidate`` is the primary of its site."""
    candidate = base["candidate"]
    work = []
    for name in situation.sites:
        digest = canonical_sha256(flipped[name])
        stale = [
            h
            for h in situation.sites[name]["hosts"]
            if reachable(situation.probes, h) and installed_site(situation.probes, h).get("sha256") != digest
        ]
        if stale:
            work.append("site.json of %s" % ", ".join(sorted(stale)))
    for item in rejoin_plan(situation, candidate):
        if reachable(situation.probes, item["host"]) and not settled_standby(situation, item["host"], item["upstream"]):
            work.append("%s does not follow %s" % (item["host"], item["upstream"]))
    if params.get("circonus_clients") == "ip_alias":
        if [h for h in situation.db_hosts if situation.holds_client_address(h)] != [candidate]:
            work.append("the client address is not on %s alone" % candidate)
    return work


def rejoin_verdict(sites: dict, probes: dict, params: dict, run: dict, units: dict) -> dict:
    """Decide about making ``params["web_db_rejoin_host"]`` a standby again."""
    host = params["web_db_rejoin_host"]
    situation = Situation(sites, probes, units)
    if host not in situation.db_hosts:
        return refuse(
            "web_db_rejoin_host must be one of the database hosts (%s), found %s."
            % (", ".join(situation.db_hosts), host)
        )
    if params.get("circonus_confirm") != host:
        return refuse(
            "circonus_confirm must name the host that becomes a standby (%s), found %s. Nothing was changed."
            % (host, params.get("circonus_confirm") or "nothing")
        )
    if not reachable(probes, host):
        return refuse("%s cannot be reached (%s)." % (host, (probes.get(host) or {}).get("msg", "no probe")))
    others = [name for name in situation.primaries if name != host]
    if len(others) != 1:
        return refuse("Expected exactly one primary besides %s, found %s." % (host, ", ".join(others) or "none"))
    primary = others[0]
    mine, theirs = db(probes, host), db(probes, primary)
    if is_primary(probes, host) and int(mine.get("timeline") or 0) >= int(theirs.get("timeline") or 0):
        return refuse(
            "%s accepts writes on timeline %s, %s on timeline %s: it cannot be told which one is right. Stop the "
            "wrong one first." % (host, mine.get("timeline"), primary, theirs.get("timeline"))
        )
    lock = situation.lock(run, params.get("circonus_lock_break"))
    if lock["refusal"]:
        return refuse(lock["refusal"])
    items = [item for item in rejoin_plan(situation, primary) if item["host"] == host]
    base = {
        "candidate": primary,
        "target": site_of(sites, primary),
        "lock_hosts": lock_hosts(situation),
        "lock_break": lock["break"],
        "rejoin": items,
        "picture": situation.picture(),
        "warnings": [],
        "remaining": [],
    }
    if settled_standby(situation, host, items[0]["upstream"]):
        return dict(
            base, result="nothing_to_do", reason="%s follows %s already." % (host, items[0]["upstream"]), plan=[]
        )
    plan = [
        "Take the lock of the platform on %s." % ", ".join(base["lock_hosts"]),
        "%s becomes a standby of %s; when it holds writes of its own its data directory is set aside first."
        % (host, items[0]["upstream"]),
        "Probe everything again and prove the result.",
    ]
    return dict(
        base,
        result="proceed",
        reason="%s becomes a standby of %s." % (host, items[0]["upstream"]),
        plan=plan,
        done="%s follows %s." % (host, items[0]["upstream"]),
    )


def web_db_proof(sites: dict, flipped: dict, probes: dict, params: dict, units: dict, base: dict) -> dict:
    """What is wrong after the last step of web_db_failover or web_db_rejoin, and the picture."""
    situation = Situation(sites, probes, units, params.get("circonus_client_address"))
    problems = []
    if situation.primaries != [base["candidate"]]:
        problems.append(
            "expected %s as the only primary, found %s" % (base["candidate"], ", ".join(situation.primaries) or "none")
        )
    if "web_db_rejoin_host" in params:
        for item in base["rejoin"]:
            if not settled_standby(situation, item["host"], item["upstream"]):
                problems.append("%s does not follow %s" % (item["host"], item["upstream"]))
    else:
        problems += web_db_unfinished(situation, flipped, params, base)
    return {"problems": problems, "picture": situation.picture()}


def datacenter_proof(sites: dict, flipped: dict, probes: dict, params: dict, units: dict, base: dict) -> dict:
    """What is wrong after the last step (an empty list when all is proven), and the picture."""
    situation = Situation(sites, probes, units, params.get("circonus_client_address"))
    problems = []
    if situation.primaries != [base["candidate"]]:
        problems.append(
            "expected %s as the only primary, found %s" % (base["candidate"], ", ".join(situation.primaries) or "none")
        )
    problems += unfinished(situation, flipped, params, dict(base, controller_files_current=True))
    picture = situation.picture()
    return {"problems": problems, "picture": picture}
