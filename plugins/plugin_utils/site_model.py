# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The one entrance to site.json: load, normalise, validate, flip, guard a change, dump.

Used by the inventory plugin, the filters and the procedures. Nothing here talks to a host.
"""
from __future__ import annotations

import copy
import os

import yaml
from ansible.module_utils.common.yaml import yaml_load
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput
from ansible_collections.circonus.inside.plugins.plugin_utils import site_rules, site_schema
from ansible_collections.circonus.inside.plugins.plugin_utils.site_data import (
    DATA_BAG,
    ROLES,
    activity,
    address,
    as_dict,
    digest,
    dump,
    layout,
    load_site,
    machines,
    machlist,
    names,
    normalise,
    parse_bytes,
    parse_site,
    placement,
    role_key,
    roles_of,
    run_order,
    service,
    write_site,
)
from ansible_collections.circonus.inside.plugins.plugin_utils.site_rules import (
    RULES,
    one_line,
    worst_first,
)

__all__ = [
    "DATA_BAG", "ROLES", "RULES", "activity", "address", "change_guard", "check_files", "digest", "dump", "flip",
    "layout", "load_site", "machines", "machlist", "normalise", "one_line", "parse_bytes", "parse_site", "placement",
    "read_sources", "roles_of", "run_order", "service", "set_primary", "stray_files", "summary", "validate",
    "worst_first", "write_site",
]


# -- validation -------------------------------------------------------------------------------------------------------
def validate(sites, release=None, strict=False, hosts=None):
    """All findings of {site name: raw dict}, worst first.

    ``release``: date of the release on the platform ('2019-11-04'), for C-25, C-26 and M-19. ``strict``: an unknown
    attribute is an error. ``hosts``: {site: [names]} that the operator places. A finding is a dict of strings: id,
    severity (error | warning), path, site (None: both), rule, expected, found, message, remedy.
    Raises BadInput for an impossible release and when jsonschema is missing.
    """
    try:
        release = site_rules.release_date(release)
    except ValueError as error:
        raise BadInput("%s." % error) from None
    found = []
    for name, raw in sites.items():
        for item in site_schema.check(raw):
            severity = "error" if item["id"] == "S-02" and strict else item["severity"]
            found.append({**item, "severity": severity, "site": name, "rule": RULES[item["id"]][1]})
        found.extend(site_rules.spelling_rules(name, raw))
    normal = {name: normalise(raw) for name, raw in sites.items()}
    kind = layout(normal)
    for name, site in normal.items():
        found.extend(site_rules.file_rules(name, site, kind, release))
    if kind == "unrelated":
        for name, site in normal.items():
            found.extend(site_rules.role_conflicts({name: site}))
    else:
        found.extend(site_rules.role_conflicts(normal))
    placed, _unplaced = placement(normal, hosts)
    found.extend(site_rules.pair_rules(normal, placed, release))
    return worst_first(found)


def check_files(files, release=None, strict=False, hosts=None):
    """{site: path} -> ({site: raw} of the readable ones, findings). A file that cannot be read is a J-01 finding."""
    sites, found = {}, []
    for name, path in files.items():
        try:
            sites[name] = load_site(path)
        except BadInput as error:
            text = str(error)
            line = error.details.get("line")
            found.append(site_rules.finding(
                "J-01", error.details.get("path") or "(line %s)" % line if line else "(file)", text,
                "Correct the file; nothing else in it can be checked before.", name, found=text))
    if sites:
        found.extend(validate(sites, release, strict, hosts))
    return sites, worst_first(found)


def read_sources(sources):
    """Paths of ``*.site.yml`` and of site.json files -> {files: {site: path}, release, strict, hosts}.

    A ``*.site.yml`` contributes its sites; a JSON file is a site named after the file (site.east.json -> east).
    Raises BadInput with one line.
    """
    result = {"files": {}, "release": None, "strict": False, "hosts": {}}
    for source in [sources] if isinstance(sources, str) else sources:
        if not str(source).endswith((".yml", ".yaml")):
            name = os.path.splitext(os.path.basename(source))[0]
            name = name[5:] if name.startswith(("site.", "site-")) and len(name) > 5 else name
            if name in result["files"]:
                name = str(source)
            result["files"][name] = str(source)
            continue
        try:
            with open(source, encoding="utf-8") as handle:
                config = yaml_load(handle)
        except OSError as error:
            raise BadInput("%s cannot be read: %s." % (source, error.strerror)) from None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            mark = getattr(error, "problem_mark", None)
            where = " line %d column %d" % (mark.line + 1, mark.column + 1) if mark else ""
            raise BadInput("%s%s: not valid YAML: %s." % (source, where, getattr(error, "problem", error))) from None
        for name, entry in as_dict(as_dict(config).get("sites")).items():
            entry = {"file": entry} if isinstance(entry, str) else as_dict(entry)
            if not entry.get("file"):
                raise BadInput("%s: sites.%s.file is missing. Name the site.json of the site." % (source, name))
            result["files"][name] = os.path.join(os.path.dirname(os.path.abspath(source)), str(entry["file"]))
            if entry.get("hosts"):
                result["hosts"][name] = names(entry["hosts"])
        result["release"] = as_dict(config).get("release") or result["release"]
        result["strict"] = bool(as_dict(config).get("strict")) or result["strict"]
    if not result["files"]:
        raise BadInput("No site.json to check. Give site.json files, or a *.site.yml that lists sites.")
    return result


def summary(findings):
    """'3 errors, 1 warning'."""
    counts = {s: sum(f["severity"] == s for f in findings) for s in ("error", "warning")}
    return ", ".join("%d %s%s" % (n, s, "" if n == 1 else "s") for s, n in counts.items())


def stray_files(files, site=None, where=None):
    """C-27 over the names in the data-bag directory of a host."""
    return list(site_rules.stray_rules(files, site=site, where=where))


def change_guard(old, new, allowed=(), site=None):
    """C-28 and, with two datacenters, M-20 between the installed (old) and the new raw file of one site.

    ``allowed``: patterns of paths that may differ besides those of a failover, '*' for everything.
    """
    return worst_first(site_rules.change_rules(normalise(old), normalise(new), allowed, site))


# -- planned changes --------------------------------------------------------------------------------------------------
def _editable(sites_raw):
    return {name: copy.deepcopy(raw) for name, raw in sites_raw.items()}


def _section(raw, role):
    return as_dict(raw["svclist"].get(role_key(raw, role)))


def flip(sites_raw, target, secondary_cluster=None, master=None, hosts=None):
    """Both files after a failover to ``target``: new deep copies, key order and role spelling kept.

    Works from either state and gives the same result each time. With active_datacenter: active_datacenter, ca.primary,
    web_db.master and data_storage.secondary_cluster (operation manual, datacenter failover). In the layout of the 2019
    manual only web_db.master, so that the next Hooper run works with the right one. ``master`` names the new primary
    when connect_host of the target is an alias; ``secondary_cluster`` overrides the hosts of the standby.
    """
    if len(sites_raw) != 2 or target not in sites_raw:
        raise BadInput("A failover to %s needs the files of two sites that include it, found %s."
                       % (target, ", ".join(sites_raw) or "none"))
    result = _editable(sites_raw)
    normal = {name: normalise(raw) for name, raw in result.items()}
    kind = layout(normal)
    if kind not in ("pair", "pair_2019"):
        raise BadInput("The files of %s do not describe one platform with two datacenters." % " and ".join(sites_raw))
    standby = next(name for name in sites_raw if name != target)
    placed = placement(normal, hosts)[0]
    database = service(normal[target], "web_db")
    local = [h for h in machlist(normal[target], "web_db") if placed.get(h) == target]
    if master is None:
        connect, current = database.get("connect_host"), database.get("master")
        master = connect if connect in local else current if current in local else next(iter(local), None)
    if master not in local:
        raise BadInput("web_db of %s has no host %s that can become the primary. Expected one of: %s."
                       % (target, master, ", ".join(local) or "none"))
    for name, raw in result.items():
        _section(raw, "web_db")["master"] = master
        if kind == "pair_2019":
            continue
        raw["active_datacenter"] = name == target
        authority = _section(raw, "ca")
        candidates = machlist(normal[target], "ca")
        key = "master" if "master" in authority and "primary" not in authority else "primary"
        if authority.get(key) not in candidates:
            if not candidates:
                raise BadInput("svclist.ca._machlist of %s is empty, so there is no new ca.primary." % target)
            authority[key] = candidates[0]
        _section(raw, "data_storage")["secondary_cluster"] = list(
            secondary_cluster or machlist(normal[standby], "data_storage"))
    return result


def set_primary(sites_raw, site, host, hosts=None):
    """All files after a database failover inside ``site`` to ``host``: new deep copies.

    connect_host of that site follows unless it is an alias; master changes in every file when it was in that site;
    read_connect_host moves to the old connect_host when it would name the new primary.
    """
    if site not in sites_raw:
        raise BadInput("Unknown site %s. Expected one of: %s." % (site, ", ".join(sites_raw)))
    result = _editable(sites_raw)
    normal = {name: normalise(raw) for name, raw in result.items()}
    placed = placement(normal, hosts)[0]
    everyone = machlist(normal[site], "web_db")
    local = [h for h in everyone if placed.get(h) == site]
    if host not in local:
        raise BadInput("%s is not a web_db host of %s. Expected one of: %s." % (host, site, ", ".join(local) or "none"))
    master = service(normal[site], "web_db").get("master")
    if master is None or placed.get(master) == site:
        for raw in result.values():
            _section(raw, "web_db")["master"] = host
    database = _section(result[site], "web_db")
    old = database.get("connect_host")
    if old in everyone:
        database["connect_host"] = host
    if database.get("read_connect_host") == host:
        previous = old if old in everyone and old != host else master
        if previous and previous != host:
            database["read_connect_host"] = previous
        else:
            del database["read_connect_host"]
    return result
