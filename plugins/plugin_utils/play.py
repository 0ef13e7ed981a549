# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an action plugin knows of the platform: the sites of the inventory, the hosts, and what the hosts answered."""

from __future__ import annotations

from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput
from ansible_collections.circonus.inside.plugins.plugin_utils import catalogue, failover, site_model

ABSENT = "not in this play"


def sites(templar, task_vars: dict) -> dict:
    """``{site: {"raw": site.json, "hosts": [host], "file": its path, "active": bool or None}}``. Raises BadInput."""
    described = templar.template(task_vars.get("circonus_sites")) or {}
    if not described:
        raise BadInput(
            "Expected sites from the inventory plugin circonus.inside.site, found none. Use an inventory file "
            "*.site.yml."
        )
    return {
        str(name): {
            "raw": site_model.load_site(entry["file"]),
            "hosts": [str(host) for host in entry["hosts"]],
            "file": entry["file"],
            "active": entry.get("active"),
        }
        for name, entry in described.items()
    }


def answer(task_vars: dict, host: str, name: str) -> dict | None:
    """What a host registered under a name; None when it was not asked."""
    hostvars = task_vars["hostvars"]
    found = hostvars[host].get(name) if host in hostvars else None
    return dict(found) if found and not found.get("skipped") else None


def nodes(task_vars: dict) -> dict:
    """``{host: {"site", "roles"}}`` of Hooper's hosts and the brokers, which are in no site.json."""
    groups, hostvars, found = task_vars["groups"], task_vars["hostvars"], {}
    for host in [*groups.get("hooper", []), *groups.get("brokers", [])]:
        node = hostvars[host]["circonus_node"]
        found[host] = {"site": node.get("site"), "roles": [str(role) for role in node["roles"]]}
    return found


def situation(templar, task_vars: dict, probe: str = "circonus_probe", more: tuple | list = ()) -> failover.Situation:
    """The situation as the rules of the failovers read it. more: hosts of no site, whose answers are of use as well."""
    known = sites(templar, task_vars)
    hosts = [host for site in known.values() for host in site["hosts"]]
    probes = {
        host: answer(task_vars, host, probe) or {"reachable": False, "msg": ABSENT}
        for host in dict.fromkeys([*hosts, *more])
    }
    units = {name: catalogue.unit_names(name) for name in catalogue.names()}
    return failover.Situation(known, probes, units)
