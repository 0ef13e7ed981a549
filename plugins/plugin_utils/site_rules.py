# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The rules of site.json that a schema cannot say: C- (one file), W- (advice), M- (two datacenters).

Source: installation manual (early 2020 and 2021 to 2023) and release notes; docs/site_json.md marks what is documented
and what is inferred. Every function takes normalised sites, never fails on a wrong shape (the schema reports that) and
yields findings: {id, severity, path, site, rule, expected, found, message, remedy}.
"""
from __future__ import annotations

import fnmatch
import functools
import ipaddress
import math
import re

from ansible_collections.circonus.inside.plugins.plugin_utils.site_data import (
    DATA_BAG,
    OBSOLETE_ROLES,
    ROLES,
    SHARED_ROLES,
    SPELLINGS,
    address,
    as_dict,
    is_secret,
    layout,
    machines,
    machlist,
    names,
    path_text,
    roles_of,
    service,
    shown,
)

# id: (severity, rule). The severity is the usual one; C-14 and C-25 raise or lower it as their text says.
RULES = {
    "J-01": ("error", "the file exists and is one JSON object in UTF-8, no key twice in an object"),
    "S-01": ("error", "required attributes are present"),
    "S-02": ("warning", "only documented attributes (an error when strict)"),
    "S-03": ("error", "values have the documented type and form"),
    "S-04": ("error", "attributes that exclude each other are not both present"),
    "C-01": ("error", "every host of a _machlist is in machinfo"),
    "C-02": ("error", "data_storage hosts have node_id and zfs_dataset_base"),
    "C-03": ("error", "node ids are unique in machinfo, stratcon.node_ids and faultd_cluster"),
    "C-04": ("error", "addresses in machinfo are unique and not loopback"),
    "C-05": ("error", "no host has both api and web_frontend (port 8080)"),
    "C-06": ("error", "no host has two of fault_detection, caql_broker, stratcon (port 43191)"),
    "C-07": ("error", "side_a and side_b are disjoint and together the data_storage hosts"),
    "C-08": ("error", "ncopies is 1 to 10, at most the number of data_storage hosts, and fits each side"),
    "C-09": ("warning", "data_storage sizing: two copies, three from 6 nodes on, sides from 10 nodes on"),
    "C-10": ("error", "web_db.master is a web_db host"),
    "C-11": ("warning", "web_db.connect_host is known, and with one site equals the master"),
    "C-12": ("error", "web_db.read_connect_host is a web_db host that is neither master nor connect_host"),
    "C-13": ("warning", "web_db.master is the first web_db host"),
    "C-14": ("error", "addresses of hosts that use the database lie in allowed_subnets"),
    "C-15": ("error", "ca.primary is a ca host, and present when there are several"),
    "C-16": ("error", "faultd_cluster names exactly the fault_detection hosts"),
    "C-17": ("error", "stratcon.node_ids names every stratcon host, with one site exactly those"),
    "C-18": ("error", "stratcon.groups holds every stratcon host once"),
    "C-19": ("error", "there are at least feeds times stratcon hosts mq hosts; more is a warning"),
    "C-20": ("warning", "cookie_domain is set with api.external_host and covers portal, API and stream"),
    "C-21": ("error", "header authentication: method and supported_methods are header; lookup_url or ldap present"),
    "C-22": ("error", "authentication method ldap or mixed has an ldap section"),
    "C-23": ("warning", "domain is a name, not an address"),
    "C-24": ("warning", "free-form secrets have no quotes, $, backslash or spaces"),
    "C-25": ("warning", "no obsolete attributes (an error when the release ignores it and its successor is missing)"),
    "C-26": ("warning", "no attribute is newer than the release"),
    "C-27": ("error", "site.json is the only site*.json in the data-bag directory"),
    "C-28": ("error", "node_id, sides and zfs_dataset_base of data_storage stay; no data_storage host goes away"),
    "W-01": ("warning", "every role of the smallest functional set is present"),
    "W-02": ("warning", "role names are written with underscores"),
    "M-01": ("error", "both files have active_datacenter and exactly one is true"),
    "M-02": ("error", "machinfo is equal in both files and covers every host of both"),
    "M-03": ("error", "no host is in the same role of both sites (except caql_broker and web_db)"),
    "M-04": ("error", "both files have the same roles"),
    "M-05": ("error", "caql_broker has the same hosts and registration_token in both files"),
    "M-06": ("error", "web_db has the same hosts in both files, some of each site"),
    "M-07": ("error", "web_db.master is equal in both files and a web_db host of the active site"),
    "M-08": ("error", "web_db.connect_host is a local web_db host or an alias, differs between the files, and is the "
                      "master in the active one"),
    "M-09": ("error", "web_db.allowed_subnets is equal in both files and covers every address of machinfo"),
    "M-10": ("error", "ca.primary is equal in both files and a ca host of the active site only"),
    "M-11": ("error", "fault_detection node ids of the two sites differ"),
    "M-12": ("error", "data_storage node ids of the two sites differ"),
    "M-13": ("error", "data_storage.secondary_cluster is equal in both files: the data_storage hosts of the standby"),
    "M-14": ("error", "stratcon.groups and stratcon.node_ids are equal in both files"),
    "M-15": ("error", "stratcon groups, node_ids and the hosts of both sites are the same set, no host in two groups"),
    "M-16": ("warning", "each site's stratcon hosts are a union of groups and no group mixes sites"),
    "M-17": ("error", "database passwords and ca.key_pass are equal in both files"),
    "M-18": ("warning", "names, keys and authentication settings that both sites share are equal"),
    "M-19": ("warning", "the layout of the two files fits the release"),
    "M-20": ("error", "a failover changes only active_datacenter, ca.primary, web_db.master and secondary_cluster"),
}
_ORDER = {"error": 0, "warning": 1}

SMALLEST_SET = ("ca", "fault_detection", "mq", "web_db", "web_frontend", "api", "caql_broker", "notification",
                "stratcon", "hub", "web_stream", "data_storage")
_REQUIRED_BY_SCHEMA = ("api", "ca", "data_storage", "mq", "web_db", "web_frontend")
_DATABASE_CLIENTS = ("api", "ca", "hub", "notification", "web_db", "web_frontend", "web_stream")
_ONE_PORT = ("fault_detection", "caql_broker", "stratcon")

# (path, first release that ignores it or None when it is only discouraged, successor, note)
DEPRECATED = (
    ("circonus_version", None, None, "OmniOS only"),
    ("subnet", None, "svclist.web_db.allowed_subnets", ""),
    ("svclist.api.use_commercial_cert", None, "svclist.api.certificate_type", ""),
    ("svclist.web_frontend.use_commercial_cert", None, "svclist.web_frontend.certificate_type", ""),
    ("svclist.web_stream.use_commercial_cert", None, "svclist.web_stream.certificate_type", ""),
    ("svclist.ca.master", None, "svclist.ca.primary", "renamed in 2020-11-16"),
    ("svclist.data_storage.backing_store", "2021-06-28", None, ""),
    ("svclist.data_storage.one_minute_rollup_since", "2021-06-28", None, ""),
    ("svclist.data_storage.statsd_target", "2019-04-08", None, ""),
    ("svclist.data_storage.additional_clusters", "2020-11-16", "svclist.data_storage.secondary_cluster", ""),
    ("svclist.fault_detection.heartbeat", "2020-10-19", None, "composite broker"),
    ("svclist.notification.xmpp_host", "2020-08-24", None, "XMPP"),
    ("svclist.notification.xmpp_port", "2020-08-24", None, "XMPP"),
    ("svclist.notification.xmpp_domain", "2020-08-24", None, "XMPP"),
    ("svclist.notification.xmpp_componentname", "2020-08-24", None, "XMPP"),
    ("svclist.notification.xmpp_user", "2020-08-24", None, "XMPP"),
    ("svclist.notification.xmpp_pass", "2020-08-24", None, "XMPP"),
    ("svclist.stratcon.uuid", "2020-08-10", "svclist.stratcon.node_ids", ""),
    ("svclist.stratcon.irondb_put_concurrency", "2021-01-11", "svclist.stratcon.irondb_tuning.put_concurrency", ""),
    ("svclist.stratcon.mq_type", None, None, "manuals up to early 2020"),
    ("svclist.web_stream.mq_type", None, None, "manuals up to early 2020"),
    ("svclist.redis", "2017-10-26", None, "role dropped"),
    ("svclist.search", "2017-10-26", None, "role dropped"),
)
# (path, first release that reads it)
INTRODUCED = (
    ("svclist.fault_detection.registration_token", "2019-05-06"),
    ("svclist.fault_detection.faultd_cluster", "2019-05-06"),
    ("svclist.web_frontend.session_key", "2019-05-06"),
    ("svclist.data_storage.rollup_retention", "2020-04-20"),
    ("cookie_domain", "2020-07-27"),
    ("svclist.api.external_host", "2020-07-27"),
    ("svclist.stratcon.node_ids", "2020-08-10"),
    ("svclist.data_storage.rollup_suppression_filter", "2020-09-21"),
    ("svclist.stratcon.irondb_put_concurrency", "2020-10-05"),
    ("active_datacenter", "2020-11-02"),
    ("svclist.ca.primary", "2020-11-16"),
    ("svclist.data_storage.secondary_cluster", "2020-11-16"),
    ("svclist.stratcon.irondb_tuning", "2021-01-11"),
    ("svclist.data_storage.journal", "2021-11-15"),
    ("svclist.data_storage.rollups", "2021-12-13"),
)
TWO_SITES_SINCE = "2020-11-16"
ZFS_ANYWHERE_SINCE = "2021-03-08"

# What a failover may change (M-20), as patterns of paths.
FAILOVER_PATHS = ("active_datacenter", "svclist.ca.primary", "svclist.ca.master", "svclist.web_db.master",
                  "svclist.data_storage.secondary_cluster")
_SHARED_VALUES = ("domain", "cookie_domain", "authentication", "svclist.web_frontend.url_host",
                  "svclist.web_frontend.session_key", "svclist.web_frontend.oauth2_key", "svclist.api.external_host",
                  "svclist.web_stream.stream_service_name", "svclist.ca.org_defaults")
_SHARED_SECRETS = ("svclist.web_db.admin_pass", "svclist.web_db.ca_pass", "svclist.web_db.web_pass",
                   "svclist.ca.key_pass")


# -- findings ---------------------------------------------------------------------------------------------------------
def finding(ident, path, message, remedy, site=None, expected=None, found=None, severity=None):
    """One finding; severity and rule text come from RULES unless given."""
    usual, rule = RULES[ident]
    return {"id": ident, "severity": severity or usual, "path": path, "site": site, "rule": rule,
            "expected": expected if expected is not None else rule, "found": found, "message": message,
            "remedy": remedy}


def worst_first(findings):
    """Errors before warnings; then by rule, site and path."""
    return sorted(findings, key=lambda f: (_ORDER.get(f["severity"], 2), f["id"], str(f["site"]), f["path"]))


def one_line(item):
    """A finding as one line: where, what, what to do, which rule."""
    where = "%s: " % item["site"] if item.get("site") else ""
    message = item["message"].rstrip(".")
    prefix = "" if item["path"] in message or item["path"] == "(top level)" else "%s: " % item["path"]
    return "%s%s%s. %s [%s]" % (where, prefix, message, item["remedy"], item["id"])


def listed(hosts, limit=5):
    """Names for a message: 'a, b, c and 7 more'."""
    hosts = [str(h) for h in hosts]
    if len(hosts) <= limit:
        return ", ".join(hosts)
    return "%s and %d more" % (", ".join(hosts[:limit]), len(hosts) - limit)


# -- reading ----------------------------------------------------------------------------------------------------------
_ABSENT = object()


def get(site, path, default=None):
    """Value at a dotted path of documented attribute names."""
    value = site
    for key in path.split("."):
        if not isinstance(value, dict) or key not in value:
            return default
        value = value[key]
    return value


def has(site, path):
    return get(site, path, _ABSENT) is not _ABSENT


def text_at(site, path):
    value = get(site, path)
    return value if isinstance(value, str) and value else None


def number(value):
    """A number written plainly or as digits, else None."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.isdecimal():
        return int(value)
    return None


@functools.lru_cache(maxsize=16384)
def _ipv4(text):
    try:
        return ipaddress.IPv4Address(text)
    except ValueError:
        return None


def ipv4(value):
    return _ipv4(value) if isinstance(value, str) else None


def networks(site):
    result = []
    for subnet in names(get(site, "svclist.web_db.allowed_subnets")):
        try:
            result.append(ipaddress.IPv4Network(subnet, strict=False))
        except ValueError:
            continue
    return result


def duplicates(pairs):
    """[(owner, value)] -> {value: [owners]} of values with more than one owner."""
    owners = {}
    for owner, value in pairs:
        if isinstance(value, str):
            owners.setdefault(value, []).append(owner)
    return {value: who for value, who in owners.items() if len(who) > 1}


def group_lists(site):
    value = get(site, "svclist.stratcon.groups")
    return [names(group) for group in value] if isinstance(value, list) else None


def node_id_of(value):
    return as_dict(value).get("node_id")


def before(release, date):
    return release is not None and release < date


def release_date(release):
    """'2019-11-04', '20191104' or a date -> '2019-11-04'; None stays None. ValueError for anything else."""
    if release in (None, ""):
        return None
    match = re.fullmatch(r"(\d{4})-?(\d{2})-?(\d{2})", str(release).strip())
    if not match or not 1 <= int(match.group(2)) <= 12 or not 1 <= int(match.group(3)) <= 31:
        raise ValueError("release is %s, expected a date such as 2019-11-04" % release)
    return "-".join(match.groups())


# -- one file ---------------------------------------------------------------------------------------------------------
def file_rules(name, site, kind, release=None):
    """C- and W- rules of one normalised file. ``kind`` is layout() of all files; 'single' and 'unrelated' are alone."""
    multi = kind in ("pair", "pair_2019") or "active_datacenter" in site
    for rule in (_hosts_known, _storage, _ids_unique, _addresses, _sides, _copies, _database, _subnets, _authority,
                 _fault_detection, _stratcon, _names_and_cookies, _authentication, _secrets, _missing_roles):
        yield from rule(name, site, multi, release)
    yield from _releases(name, site, release)


def _hosts_known(name, site, multi, release):
    known = machines(site)
    for role in as_dict(site.get("svclist")):
        for index, host in enumerate(names(service(site, role).get("_machlist"))):
            if host not in known:
                yield finding("C-01", "svclist.%s._machlist[%d]" % (role, index),
                              "%s of svclist.%s._machlist is not in machinfo" % (host, role),
                              "Add machinfo.%s or correct the name." % host, name, found=host)


def _storage(name, site, multi, release):
    known = machines(site)
    for host in machlist(site, "data_storage"):
        for attribute in ("node_id", "zfs_dataset_base"):
            if host in known and not as_dict(known[host]).get(attribute):
                yield finding("C-02", path_text(["machinfo", host, attribute]),
                              "data_storage host %s has no %s" % (host, attribute),
                              "Add %s." % path_text(["machinfo", host, attribute]), name, found="absent")


def _ids_unique(name, site, multi, release):
    tables = (
        ("machinfo", [(h, node_id_of(m)) for h, m in machines(site).items()], ".node_id"),
        ("svclist.stratcon.node_ids", list(as_dict(get(site, "svclist.stratcon.node_ids")).items()), ""),
        ("svclist.fault_detection.faultd_cluster",
         [(h, node_id_of(m)) for h, m in as_dict(get(site, "svclist.fault_detection.faultd_cluster")).items()],
         ".node_id"),
    )
    for where, pairs, suffix in tables:
        for value, hosts in duplicates(pairs).items():
            yield finding("C-03", "%s.%s%s" % (where, hosts[1], suffix),
                          "%s have the same id %s" % (listed(hosts), value),
                          "Give each host its own id (uuidgen | tr A-Z a-z); keep that of a node that holds data.",
                          name, found=value)


def _addresses(name, site, multi, release):
    pairs = [(host, address(site, host)) for host in machines(site)]
    for value, hosts in duplicates(pairs).items():
        yield finding("C-04", path_text(["machinfo", hosts[1], "ip_address"]),
                      "%s have the same address %s" % (listed(hosts), value), "Give each host its own address.", name,
                      found=value)
    for host, value in pairs:
        ip = ipv4(value)
        if ip is not None and ip.is_loopback:
            yield finding("C-04", path_text(["machinfo", host, "ip_address"]),
                          "%s has the loopback address %s" % (host, value),
                          "Write the address under which other hosts reach it.", name, found=value)


def role_conflicts(sites):
    """C-05 and C-06 over all files together: a remote caql_broker entry counts on its own host."""
    roles, source = {}, {}
    for name, site in sites.items():
        for host, has_roles in roles_of(site).items():
            roles.setdefault(host, set()).update(has_roles)
            for role in has_roles:
                source.setdefault((host, role), name)
    for host, has_roles in roles.items():
        if {"api", "web_frontend"} <= has_roles:
            yield finding("C-05", "svclist.web_frontend._machlist",
                          "%s has both api and web_frontend, which need port 8080" % host, "Move one to another host.",
                          source[host, "web_frontend"], found=host)
        clash = [role for role in _ONE_PORT if role in has_roles]
        if len(clash) > 1:
            yield finding("C-06", "svclist.%s._machlist" % clash[-1],
                          "%s has %s, which need port 43191" % (host, " and ".join(clash)),
                          "Keep one of them on this host.", source[host, clash[-1]], found=host)


def _sides(name, site, multi, release):
    storage = service(site, "data_storage")
    if "side_a" not in storage or "side_b" not in storage:
        return
    a, b, everyone = set(names(storage["side_a"])), set(names(storage["side_b"])), set(machlist(site, "data_storage"))
    path = "svclist.data_storage.side_a"
    if a & b:
        yield finding("C-07", path, "%s is on both sides" % listed(sorted(a & b)), "Keep it on one side.", name,
                      found=sorted(a & b))
    if (a | b) - everyone:
        yield finding("C-07", path, "%s of a side is not in data_storage._machlist"
                      % listed(sorted((a | b) - everyone)),
                      "Add it to the list or take it off the side.", name, found=sorted((a | b) - everyone))
    if everyone - (a | b):
        yield finding("C-07", path, "%s is on no side" % listed(sorted(everyone - (a | b))),
                      "Put it into side_a or side_b.", name, found=sorted(everyone - (a | b)))


def _copies(name, site, multi, release):
    storage = service(site, "data_storage")
    nodes = len(machlist(site, "data_storage"))
    path = "svclist.data_storage.ncopies"
    copies = number(storage.get("ncopies"))
    sides = [len(names(storage[s])) for s in ("side_a", "side_b") if s in storage]
    if copies is not None and nodes:
        if not 1 <= copies <= 10:
            yield finding("C-08", path, "ncopies is %d" % copies, "Write 1 to 10.", name, found=copies)
        elif copies > nodes:
            yield finding("C-08", path, "ncopies is %d with %d data_storage hosts" % (copies, nodes),
                          "Lower ncopies or add hosts.", name, found=copies)
        elif len(sides) == 2 and min(sides) < math.ceil(copies / 2):
            yield finding("C-08", path, "ncopies %d needs %d hosts on each side, found %d and %d"
                          % (copies, math.ceil(copies / 2), *sides), "Move hosts between the sides.", name,
                          found="%d and %d" % tuple(sides))
        if copies < 2:
            yield finding("C-09", path, "ncopies is 1: losing one node loses data", "Use 2 or more.", name,
                          found=copies)
        elif copies < 3 and nodes >= 6:
            yield finding("C-09", path, "ncopies is %d with %d nodes" % (copies, nodes), "Use 3 or more with 6 nodes.",
                          name, found=copies)
    if nodes >= 10 and not sides:
        yield finding("C-09", "svclist.data_storage.side_a", "%d data_storage hosts without sides" % nodes,
                      "Plan sides before the first installation; they cannot be added later.", name, found="no sides")


def _database(name, site, multi, release):
    database = service(site, "web_db")
    hosts = machlist(site, "web_db")
    master, connect, reader = (text_at(database, k) for k in ("master", "connect_host", "read_connect_host"))
    if master and master not in hosts:
        yield finding("C-10", "svclist.web_db.master", "web_db.master %s is not a web_db host" % master,
                      "Name one of %s." % listed(hosts), name, found=master)
    effective = master or (hosts[0] if len(hosts) == 1 else None)
    if connect and hosts:
        known = connect in hosts or connect in as_dict(site.get("additional_hosts")) or connect in machines(site)
        if not known:
            yield finding("C-11", "svclist.web_db.connect_host",
                          "connect_host %s is neither in machinfo nor in additional_hosts" % connect,
                          "Make sure that it resolves on every host, or add it to additional_hosts.", name,
                          found=connect)
        elif not multi and connect in hosts and effective and connect != effective:
            yield finding("C-11", "svclist.web_db.connect_host",
                          "connect_host is %s, the master is %s" % (connect, effective),
                          "Write %s." % effective, name, effective, connect)
    if reader:
        if reader not in hosts:
            yield finding("C-12", "svclist.web_db.read_connect_host", "%s is not a web_db host" % reader,
                          "Name a replica of %s." % listed(hosts), name, found=reader)
        elif reader in (effective, connect):
            yield finding("C-12", "svclist.web_db.read_connect_host",
                          "%s is also %s" % (reader, "the master" if reader == effective else "connect_host"),
                          "Name another replica, or remove read_connect_host.", name, found=reader)
    if master and hosts and master in hosts and hosts[0] != master and not multi:
        yield finding("C-13", "svclist.web_db._machlist[0]", "the first web_db host is %s, the master %s"
                      % (hosts[0], master), "List %s first." % master, name, master, hosts[0])


def _subnets(name, site, multi, release):
    allowed = networks(site)
    if not allowed:
        return
    clients = set(_DATABASE_CLIENTS)
    if release is None or before(release, "2020-01-01"):
        clients.add("fault_detection")
    roles = roles_of(site)
    ranges = [(int(n.network_address), int(n.broadcast_address)) for n in allowed]
    for host in machines(site):
        value = address(site, host)
        ip = ipv4(value)
        if ip is None or any(low <= int(ip) <= high for low, high in ranges):
            continue
        needs = [r for r in roles.get(host, ()) if r in clients]
        severity = "error" if multi or needs else "warning"
        yield finding("C-14", path_text(["machinfo", host, "ip_address"]),
                      "%s (%s) is outside web_db.allowed_subnets%s"
                      % (host, value, " and uses the database as %s" % listed(needs) if needs else ""),
                      "Add its network to svclist.web_db.allowed_subnets.", name, found=value, severity=severity)


def _authority(name, site, multi, release):
    if multi and "active_datacenter" in site:
        return  # M-10 instead
    hosts = machlist(site, "ca")
    for key in ("primary", "master"):
        value = text_at(site, "svclist.ca." + key)
        if value and hosts and value not in hosts:
            yield finding("C-15", "svclist.ca." + key, "ca.%s %s is not a ca host" % (key, value),
                          "Name one of %s." % listed(hosts), name, found=value)
    if len(hosts) > 1 and not text_at(site, "svclist.ca.primary") and not text_at(site, "svclist.ca.master"):
        yield finding("C-15", "svclist.ca.primary", "there are %d ca hosts and no primary" % len(hosts),
                      "Add svclist.ca.primary.", name, found="absent")


def _fault_detection(name, site, multi, release):
    cluster = get(site, "svclist.fault_detection.faultd_cluster")
    hosts = machlist(site, "fault_detection")
    if not isinstance(cluster, dict) or not hosts:
        return
    path = "svclist.fault_detection.faultd_cluster"
    for host in hosts:
        if host not in cluster:
            yield finding("C-16", "%s.%s" % (path, host), "faultd_cluster has no entry for %s" % host,
                          "Add one with its own node_id.", name, found="absent")
    for host in cluster:
        if host not in hosts:
            yield finding("C-16", "%s.%s" % (path, host), "%s is in faultd_cluster, but not a fault_detection host"
                          % host, "Remove it, or add the host to the role.", name, found=host)


def _stratcon(name, site, multi, release):
    hosts = machlist(site, "stratcon")
    ids = get(site, "svclist.stratcon.node_ids")
    if isinstance(ids, dict):
        for host in hosts:
            if host not in ids:
                yield finding("C-17", "svclist.stratcon.node_ids.%s" % host, "node_ids has no entry for %s" % host,
                              "Add one with its own UUID.", name, found="absent")
        for host in ids if not multi else ():
            if host not in hosts:
                yield finding("C-17", "svclist.stratcon.node_ids.%s" % host,
                              "%s is in node_ids, but not a stratcon host" % host, "Remove it.", name, found=host)
    groups = group_lists(site)
    if groups is not None and not (multi and "active_datacenter" in site):
        members = [host for group in groups for host in group]
        yield from _groups("C-18", name, members, hosts)
    feeds, brokers = number(service(site, "stratcon").get("feeds")), len(machlist(site, "mq"))
    if feeds and hosts and brokers:
        needed = feeds * len(hosts)
        if needed > brokers:
            yield finding("C-19", "svclist.stratcon.feeds", "feeds %d with %d stratcon hosts needs %d mq hosts, "
                          "found %d"
                          % (feeds, len(hosts), needed, brokers), "Lower feeds or add mq hosts.", name, needed, brokers)
        elif needed < brokers:
            yield finding("C-19", "svclist.stratcon.feeds", "feeds %d with %d stratcon hosts uses %d of %d mq hosts"
                          % (feeds, len(hosts), needed, brokers), "Raise feeds, or accept unused mq hosts.", name,
                          needed, brokers, severity="warning")


def _groups(ident, name, members, expected):
    twice = sorted({h for h in members if members.count(h) > 1})
    missing = [h for h in expected if h not in members]
    extra = [h for h in dict.fromkeys(members) if h not in expected]
    for hosts, what, remedy in ((twice, "in two groups", "Keep it in one group."),
                                (missing, "in no group", "Add it to a group."),
                                (extra, "in a group, but not a stratcon host", "Remove it from the group.")):
        if hosts:
            yield finding(ident, "svclist.stratcon.groups", "%s is %s" % (listed(hosts), what), remedy, name,
                          found=hosts)


def _names_and_cookies(name, site, multi, release):
    domain = text_at(site, "domain")
    if domain and ipv4(domain) is not None:
        yield finding("C-23", "domain", "domain is the address %s" % domain, "Write a domain name.", name, found=domain)
    cookie, external = text_at(site, "cookie_domain"), text_at(site, "svclist.api.external_host")
    if external and not cookie:
        yield finding("C-20", "cookie_domain", "api.external_host is %s and cookie_domain is absent" % external,
                      "Set cookie_domain to a parent of portal and API names.", name, found="absent")
    if cookie and domain:
        url_host = text_at(site, "svclist.web_frontend.url_host")
        portal = "%s.%s" % (url_host, domain) if url_host else domain
        stream = text_at(site, "svclist.web_stream.stream_service_name") or "s." + domain
        for what, value in (("portal", portal), ("API", external or "api." + domain), ("stream", stream)):
            if value != cookie and not value.endswith("." + cookie):
                yield finding("C-20", "cookie_domain", "cookie_domain %s does not cover the %s name %s"
                              % (cookie, what, value), "Use a parent domain of all three names.", name, value, cookie)


def _authentication(name, site, multi, release):
    section = as_dict(site.get("authentication"))
    method = section.get("method")
    methods = section.get("supported_methods")
    methods = [methods] if isinstance(methods, str) else names(methods)
    lowered = {m.lower() for m in methods}
    if "header" in section or method == "header" or "header" in lowered:
        if method != "header":
            yield finding("C-21", "authentication.method", "method is %s with header authentication" % shown(method),
                          "Write header.", name, "header", method)
        if lowered != {"header"}:
            yield finding("C-21", "authentication.supported_methods",
                          "supported_methods is %s with header authentication" % (listed(methods) or "absent"),
                          "Write header alone.", name, "header", methods)
        if not as_dict(section.get("header")).get("lookup_url") and "ldap" not in section:
            yield finding("C-21", "authentication.header.lookup_url", "neither header.lookup_url nor ldap is present",
                          "Add one of them; user data come from there.", name, found="absent")
    if isinstance(method, str) and method.lower() in ("ldap", "mixed") and "ldap" not in section:
        yield finding("C-22", "authentication.ldap", "method is %s and the ldap section is absent" % method,
                      "Add authentication.ldap.", name, found="absent")


def _secrets(name, site, multi, release):
    for path in ("authentication.ldap.bind_pass", "ga_client_secret", "saas_check_secret"):
        value = text_at(site, path)
        if value and re.search(r"""["'`$\\\s]""", value):
            yield finding("C-24", path, "%s has a quote, $, backslash or space" % path,
                          "Use letters, digits and plain punctuation.", name, found="a hidden value")


def _missing_roles(name, site, multi, release):
    present = as_dict(site.get("svclist"))
    for role in SMALLEST_SET:
        if role not in present and role not in _REQUIRED_BY_SCHEMA:
            yield finding("W-01", "svclist.%s" % role, "role %s is missing" % role,
                          "Add it unless this site does without on purpose.", name, found="absent")


def spelling_rules(name, raw):
    """W-02 on the raw file."""
    for role in as_dict(raw.get("svclist")):
        if role in SPELLINGS:
            yield finding("W-02", "svclist.%s" % role, "the role is written %s" % role,
                          "Write %s." % SPELLINGS[role], name, SPELLINGS[role], role)


def _releases(name, site, release):
    for path, ignored, successor, note in DEPRECATED:
        if not has(site, path):
            continue
        gone = ignored and release and release >= ignored
        missing = successor and not has(site, successor)
        what = "%s is obsolete%s%s" % (path, " and ignored since %s" % ignored if ignored else "",
                                       " (%s)" % note if note else "")
        remedy = "Use %s." % successor if missing else "Remove it."
        yield finding("C-25", path, what, remedy, name, found="present",
                      severity="error" if gone and missing else "warning")
    for role in as_dict(site.get("svclist")):
        if role.startswith("logstream"):
            yield finding("C-25", "svclist.%s" % role, "svclist.%s is obsolete and ignored since 2016-10-25 (role "
                          "dropped)" % role, "Remove it.", name, found="present")
    if release is None:
        return
    newer = [(path, since) for path, since in INTRODUCED if has(site, path)]
    for role in ("web_db", "long_tail_storage"):
        others = set(machlist(site, "data_storage"))
        hosts = [h for h in machlist(site, role) if h not in others
                 and as_dict(machines(site).get(h)).get("zfs_dataset_base")]
        newer += [("machinfo.%s.zfs_dataset_base" % h, ZFS_ANYWHERE_SINCE) for h in hosts]
    if len(machlist(site, "caql_broker")) > 1:
        newer.append(("svclist.caql_broker._machlist", "2018-12-17"))
    for path, since in newer:
        if release < since:
            yield finding("C-26", path, "%s exists since %s, the release is %s" % (path, since, release),
                          "Remove it until the platform is on %s or newer." % since, name, "%s or newer" % since,
                          release)


# -- two files --------------------------------------------------------------------------------------------------------
def pair_rules(sites, placed, release=None):
    """M- rules over two normalised files. ``placed`` is {host: site}."""
    kind = layout(sites)
    if kind == "many":
        yield finding("M-01", "active_datacenter", "%d related sites: %s" % (len(sites), listed(sites)),
                      "A platform has one or two datacenters; list two files.", found=len(sites))
        return
    if kind == "single":
        (name, site), = sites.items()
        if "active_datacenter" in site:
            yield finding("M-01", "active_datacenter", "%s has active_datacenter, but the file of its peer is not given"
                          % name, "Give both files so that they can be compared.", name, severity="warning",
                          found="one file")
        return
    if kind not in ("pair", "pair_2019"):
        return
    first, second = sites
    yield from _layout(sites, kind, release)
    active = [n for n in sites if sites[n].get("active_datacenter") is True]
    a = active[0] if len(active) == 1 else None
    b = next((n for n in sites if n != a), None) if a else None
    if kind == "pair_2019":
        master = text_at(sites[first], "svclist.web_db.master")
        a = placed.get(master)
        b = next((n for n in sites if n != a), None) if a in sites else None
        a = a if b else None
    yield from _machinfo_equal(first, second, sites)
    yield from _roles_equal(first, second, sites, kind)
    yield from _database_pair(first, second, a, b, sites, placed, kind)
    yield from _storage_pair(first, second, a, b, sites, kind)
    if kind == "pair":
        yield from _authority_pair(first, second, a, b, sites)
        yield from _fault_detection_pair(first, second, sites)
    yield from _stratcon_pair(first, second, a, b, sites, placed)
    yield from _shared_values(first, second, sites)


def _layout(sites, kind, release):
    if kind == "pair":
        states = {n: sites[n].get("active_datacenter", _ABSENT) for n in sites}
        for name, state in states.items():
            if state is _ABSENT:
                yield finding("M-01", "active_datacenter", "active_datacenter is absent",
                              "Write true in the active site and false in the other.", name, found="absent")
            elif not isinstance(state, bool):
                yield finding("M-01", "active_datacenter", "active_datacenter is %s, not a boolean" % shown(state),
                              "Write true or false without quotes.", name, "true or false", shown(state))
        booleans = [s for s in states.values() if isinstance(s, bool)]
        if len(booleans) == len(states) and booleans.count(True) != 1:
            yield finding("M-01", "active_datacenter", "active_datacenter is %s in both files"
                          % ("true" if booleans[0] else "false"), "Write true in exactly one of %s." % listed(sites),
                          found=booleans[0])
        if before(release, TWO_SITES_SINCE):
            yield finding("M-19", "active_datacenter", "active_datacenter and what goes with it are read since %s, the "
                          "release is %s" % (TWO_SITES_SINCE, release), "Use the layout of the 2019 manual: role lists "
                          "of both sites, no active_datacenter.", expected="release %s or newer" % TWO_SITES_SINCE,
                          found=release)
    elif not before(release, TWO_SITES_SINCE):
        yield finding("M-19", "active_datacenter", "the files have the layout of the 2019 manual (role lists of both "
                      "sites)%s" % (", the release is %s" % release if release else " and no release is given"),
                      "Move to one file per site with active_datacenter, or give the release.",
                      expected="release before %s" % TWO_SITES_SINCE, found=release)


def _machinfo_equal(first, second, sites):
    one, two = machines(sites[first]), machines(sites[second])
    for host in dict.fromkeys([*one, *two]):
        if host not in one or host not in two:
            where, other = (first, second) if host in one else (second, first)
            yield finding("M-02", path_text(["machinfo", host]), "host %s is in machinfo of %s only" % (host, where),
                          "Copy the entry into the other file.", other, found="absent")
        elif one[host] != two[host]:
            left, right = as_dict(one[host]), as_dict(two[host])
            for key in dict.fromkeys([*left, *right]):
                if left.get(key) != right.get(key):
                    what = "the addresses" if key == "ip_address" else "%s" % key
                    yield finding("M-02", path_text(["machinfo", host, key]), "host %s has %s %s in %s and %s in %s"
                                  % (host, what, shown(left.get(key)), first, shown(right.get(key)), second),
                                  "Write the right one in both files.", second, shown(left.get(key)),
                                  shown(right.get(key)))
    both = set(one) | set(two)
    for name, site in sites.items():
        for role in ROLES:
            for host in machlist(site, role):
                if host not in both:
                    yield finding("M-02", "svclist.%s._machlist" % role, "%s is in no machinfo" % host,
                                  "Add it to machinfo of both files.", name, found=host)


def _roles_equal(first, second, sites, kind):
    lists = {n: as_dict(sites[n].get("svclist")) for n in sites}
    for name, other in ((first, second), (second, first)):
        for role in lists[other]:
            if role not in lists[name]:
                yield finding("M-04", "svclist.%s" % role, "role %s is in %s only" % (role, other),
                              "Add it here or remove it there.", name, found="absent")
    if kind == "pair":
        for role in lists[first]:
            if role in SHARED_ROLES:
                continue
            both = [h for h in machlist(sites[first], role) if h in machlist(sites[second], role)]
            if both:
                yield finding("M-03", "svclist.%s._machlist" % role, "%s has role %s in both files"
                              % (listed(both), role), "List a host only in the file of its own site.", second,
                              found=both)
    if set(machlist(sites[first], "caql_broker")) != set(machlist(sites[second], "caql_broker")):
        yield finding("M-05", "svclist.caql_broker._machlist", "caql_broker is %s in %s and %s in %s" % (
            listed(machlist(sites[first], "caql_broker")) or "absent", first,
            listed(machlist(sites[second], "caql_broker")) or "absent", second),
            "List the hosts of both sites in both.", second, found=machlist(sites[second], "caql_broker"))
    token = "svclist.caql_broker.registration_token"
    if get(sites[first], token) != get(sites[second], token):
        yield finding("M-05", token, "registration_token differs", "Write the same token in both files.", second,
                      "equal", "a hidden value")


def _database_pair(first, second, a, b, sites, placed, kind):
    hosts = {n: machlist(sites[n], "web_db") for n in sites}
    path = "svclist.web_db."
    if set(hosts[first]) != set(hosts[second]):
        yield finding("M-06", path + "_machlist", "web_db is %s in %s and %s in %s" % (
            listed(hosts[first]) or "empty", first, listed(hosts[second]) or "empty", second),
            "List the database hosts of both sites in both files.", second, hosts[first], hosts[second])
    everyone = list(dict.fromkeys([*hosts[first], *hosts[second]]))
    for name in sites:
        if everyone and not any(placed.get(h) == name for h in everyone):
            yield finding("M-06", path + "_machlist", "no web_db host belongs to %s" % name,
                          "Add one, or place the host by hosts: of the inventory file.", name, found=everyone)
    masters = {n: text_at(sites[n], path + "master") for n in sites}
    if masters[first] != masters[second]:
        yield finding("M-07", path + "master", "web_db.master is %s in %s and %s in %s"
                      % (masters[first] or "absent", first, masters[second] or "absent", second),
                      "Write the primary of the active site in both.", second, masters[first], masters[second])
    for name, master in masters.items():
        if master and hosts[name] and master not in hosts[name]:
            yield finding("M-07", path + "master", "web_db.master %s is not a web_db host" % master,
                          "Name one of %s." % listed(hosts[name]), name, found=master)
        elif master and a and placed.get(master) not in (None, a):
            yield finding("M-07", path + "master", "web_db.master %s belongs to %s, the active site is %s"
                          % (master, placed[master], a), "Name the primary of %s." % a, name,
                          "a host of %s" % a, master)
    connects = {n: text_at(sites[n], path + "connect_host") for n in sites}

    def alias(name):
        return connects[name] not in machines(sites[name])

    for name, connect in connects.items():
        if not connect or alias(name):
            continue
        if connect not in hosts[name]:
            yield finding("M-08", path + "connect_host", "connect_host %s is not a web_db host" % connect,
                          "Name the local primary or primary-to-be.", name, found=connect)
        elif placed.get(connect) not in (None, name) and not (kind == "pair_2019" and connect == masters[name]):
            yield finding("M-08", path + "connect_host", "connect_host %s belongs to %s" % (connect, placed[connect]),
                          "Name a database host of %s." % name, name, "a host of %s" % name, connect)
    if kind == "pair":
        if connects[first] and connects[first] == connects[second] and not alias(first):
            yield finding("M-08", path + "connect_host", "connect_host is %s in both files" % connects[first],
                          "Name the local database host in each.", second, "different hosts", connects[second])
        if a and connects[a] and not alias(a) and masters[a] and connects[a] != masters[a]:
            yield finding("M-08", path + "connect_host", "connect_host of the active site is %s, the master is %s"
                          % (connects[a], masters[a]), "Write %s." % masters[a], a, masters[a], connects[a])
    subnets = {n: names(get(sites[n], path + "allowed_subnets")) for n in sites}
    if set(subnets[first]) != set(subnets[second]):
        yield finding("M-09", path + "allowed_subnets", "allowed_subnets is %s in %s and %s in %s" % (
            listed(subnets[first]) or "empty", first, listed(subnets[second]) or "empty", second),
            "List the networks of both sites in both files.", second, subnets[first], subnets[second])
    for name, site in sites.items():
        allowed = networks(site)
        outside = [h for h, ip in ((h, ipv4(address(site, h))) for h in machines(site))
                   if ip is not None and not any(ip in n for n in allowed)]
        if allowed and outside:
            yield finding("M-09", path + "allowed_subnets", "%s is outside allowed_subnets" % listed(outside),
                          "Add the missing network in both files.", name, found=outside)


def _authority_pair(first, second, a, b, sites):
    values = {n: text_at(sites[n], "svclist.ca.primary") or text_at(sites[n], "svclist.ca.master") for n in sites}
    path = "svclist.ca.primary"
    if values[first] != values[second]:
        yield finding("M-10", path, "ca.primary is %s in %s and %s in %s" % (
            values[first] or "absent", first, values[second] or "absent", second),
            "Write the CA host of the active site in both.", second, values[first], values[second])
    if not a:
        return
    for name, value in values.items():
        if value and value not in machlist(sites[a], "ca"):
            yield finding("M-10", path, "ca.primary %s is not a ca host of the active site %s" % (value, a),
                          "Name one of %s." % listed(machlist(sites[a], "ca")), name, found=value)
        if value and value in machlist(sites[b], "ca"):
            yield finding("M-10", path, "ca.primary %s is in the ca list of the standby site %s" % (value, b),
                          "Remove it from that list, or name the CA host of %s." % a, name, found=value)


def _fault_detection_pair(first, second, sites):
    path = "svclist.fault_detection.faultd_cluster"
    ids = {n: {node_id_of(v): h for h, v in as_dict(get(sites[n], path)).items() if node_id_of(v)} for n in sites}
    for value in ids[first]:
        if value in ids[second]:
            yield finding("M-11", "%s.%s.node_id" % (path, ids[second][value]),
                          "%s of %s and %s of %s have the node id %s"
                          % (ids[first][value], first, ids[second][value], second, value),
                          "Give the standby site its own ids.", second, found=value)


def _storage_pair(first, second, a, b, sites, kind):
    ids = {}
    for name in (first, second):
        for host in machlist(sites[name], "data_storage"):
            value = node_id_of(machines(sites[name]).get(host))
            if not isinstance(value, str):
                continue
            if value in ids and ids[value][0] != name and ids[value][1] != host:
                yield finding("M-12", path_text(["machinfo", host, "node_id"]),
                              "%s of %s has the node id of %s of %s" % (host, name, ids[value][1], ids[value][0]),
                              "Every data_storage node of both sites needs its own id.", name, found=value)
            ids.setdefault(value, (name, host))
    if kind != "pair":
        return
    path = "svclist.data_storage.secondary_cluster"
    lists = {n: names(get(sites[n], path)) for n in sites}
    if set(lists[first]) != set(lists[second]):
        yield finding("M-13", path, "secondary_cluster is %s in %s and %s in %s" % (
            listed(lists[first]) or "empty", first, listed(lists[second]) or "empty", second),
            "List the data_storage hosts of the standby site in both.", second, lists[first], lists[second])
    if b:
        expected = machlist(sites[b], "data_storage")
        for name in sites:
            if lists[name] and set(lists[name]) != set(expected):
                yield finding("M-13", path, "secondary_cluster is %s, data_storage of the standby site %s is %s" % (
                    listed(lists[name]), b, listed(expected)), "List the data_storage hosts of %s." % b, name,
                    expected, lists[name])


def _stratcon_pair(first, second, a, b, sites, placed):
    for key in ("groups", "node_ids"):
        path = "svclist.stratcon." + key
        if get(sites[first], path) != get(sites[second], path):
            yield finding("M-14", path, "stratcon.%s differs between %s and %s" % (key, first, second),
                          "Write the same in both files.", second, "equal", "different")
    everyone = list(dict.fromkeys([*machlist(sites[first], "stratcon"), *machlist(sites[second], "stratcon")]))
    for name, site in sites.items():
        groups, ids = group_lists(site), get(site, "svclist.stratcon.node_ids")
        if groups is not None:
            yield from _groups("M-15", name, [h for g in groups for h in g], everyone)
        if isinstance(ids, dict):
            missing = [h for h in everyone if h not in ids]
            extra = [h for h in ids if h not in everyone]
            for hosts, what, remedy in ((missing, "has no entry in node_ids", "Add one."),
                                        (extra, "is in node_ids, but no stratcon host of either site", "Remove it.")):
                if hosts:
                    yield finding("M-15", "svclist.stratcon.node_ids", "%s %s" % (listed(hosts), what), remedy, name,
                                  found=hosts)
        for index, group in enumerate(groups or ()):
            where = {placed.get(h) for h in group if h in placed}
            if len(where) > 1:
                yield finding("M-16", "svclist.stratcon.groups[%d]" % index, "the group %s mixes sites" % listed(group),
                              "Make one group per site.", name, found=group)


def _shared_values(first, second, sites):
    for ident, paths in (("M-17", _SHARED_SECRETS), ("M-18", _SHARED_VALUES)):
        for path in paths:
            one, two = get(sites[first], path), get(sites[second], path)
            if one != two:
                keys = path.split(".")
                if is_secret(keys) or isinstance(one, dict) or isinstance(two, dict):
                    what = "%s differs between %s and %s" % (path, first, second)
                else:
                    what = "%s is %s in %s and %s in %s" % (path, shown(one), first, shown(two), second)
                yield finding(ident, path, what, "Write the same in both files.", second, shown(one, keys),
                              shown(two, keys))


# -- change and place -------------------------------------------------------------------------------------------------
def changed_paths(old, new, prefix=()):
    """Paths (lists) where two raw or normalised values differ; a list is one value."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            if key not in old or key not in new:
                yield [*prefix, key]
            elif old[key] != new[key]:
                yield from changed_paths(old[key], new[key], [*prefix, key])
    elif old != new:
        yield list(prefix)


def permitted(path, patterns):
    """True when a path or one of its parents matches a pattern (shell wildcards)."""
    parts = path.split(".")
    parents = [".".join(parts[:n]) for n in range(1, len(parts) + 1)]
    return any(fnmatch.fnmatchcase(parent, pattern) for parent in parents for pattern in patterns)


def change_rules(old, new, allowed=(), site=None):
    """C-28 always and M-20 with two datacenters, between two normalised files of one site."""
    patterns = list(allowed or ())
    before_hosts, after_hosts = machlist(old, "data_storage"), machlist(new, "data_storage")
    for host in before_hosts:
        path = path_text(["machinfo", host])
        if host not in after_hosts:
            if not permitted(path, patterns) and not permitted("svclist.data_storage._machlist", patterns):
                yield finding("C-28", "svclist.data_storage._machlist", "data_storage host %s would go away" % host,
                              "Put it back, or allow svclist.data_storage._machlist explicitly.", site, host, "absent")
            continue
        for key in ("node_id", "zfs_dataset_base"):
            one, two = (as_dict(machines(f).get(host)).get(key) for f in (old, new))
            if one != two and not permitted("%s.%s" % (path, key), patterns):
                yield finding("C-28", "%s.%s" % (path, key), "%s of data_storage host %s would change from %s to %s"
                              % (key, host, shown(one), shown(two)), "Write %s again; it belongs to the data there."
                              % shown(one), site, shown(one), shown(two))
    one, two = service(old, "data_storage"), service(new, "data_storage")
    for key in ("side_a", "side_b"):
        path = "svclist.data_storage." + key
        moved = [h for h in names(one.get(key)) if h in after_hosts and h not in names(two.get(key))]
        moved += [h for h in names(two.get(key)) if h in before_hosts and h not in names(one.get(key))]
        if (moved or (key in one) != (key in two)) and not permitted(path, patterns):
            yield finding("C-28", path, "%s would change" % path, "Write it as before; sides cannot change after the "
                          "first installation.", site, listed(names(one.get(key))) or "absent",
                          listed(names(two.get(key))) or "absent")
    if "active_datacenter" not in old and "active_datacenter" not in new:
        return
    free = [*FAILOVER_PATHS, *patterns]
    for keys in changed_paths(old, new):
        path = path_text(keys)
        if not permitted(path, free):
            yield finding("M-20", path, "%s would change, which is no part of a failover" % path,
                          "Undo it, or allow %s explicitly." % path, site, shown(get(old, path), keys),
                          shown(get(new, path), keys))


def stray_rules(files, site=None, directory=DATA_BAG, where=None):
    """C-27: names in the data-bag directory that the loader would read besides site.json."""
    for name in sorted(files):
        if fnmatch.fnmatchcase(name, "site*.json") and name != "site.json":
            yield finding("C-27", "%s/%s" % (directory, name), "%s%s would be loaded beside site.json"
                          % ("%s: " % where if where else "", name),
                          "Move it out of %s or rename it so that it does not match site*.json." % directory, site,
                          "site.json alone", name)


__all__ = ["DEPRECATED", "INTRODUCED", "OBSOLETE_ROLES", "RULES", "change_rules", "file_rules", "finding", "one_line",
           "pair_rules", "release_date", "role_conflicts", "spelling_rules", "stray_rules", "worst_first"]
