# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters over plugin_utils/site_model.py: the site.json model for playbooks."""
from __future__ import annotations

import base64
import functools
import os

from ansible.errors import AnsibleFilterError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput, InsideError
from ansible_collections.circonus.inside.plugins.plugin_utils.lazy import Lazy

site_model = Lazy("site_model")


def _errors_as_one_line(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        try:
            return function(*args, **kwargs)
        except InsideError as error:
            raise AnsibleFilterError(str(error)) from None
    return wrapper


def _sources(value):
    """Paths, 'a,b', {site: path} or circonus_sites -> what to check."""
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if isinstance(value, dict):
        files = {str(name): str(entry["file"] if isinstance(entry, dict) else entry)
                 for name, entry in value.items()}
        hosts = {str(name): [str(h) for h in entry.get("hosts") or []]
                 for name, entry in value.items() if isinstance(entry, dict)}
        if not files:
            raise BadInput("No site.json to check. Give site.json files, or a *.site.yml that lists sites.")
        return {"files": files, "hosts": hosts, "release": None, "strict": False}
    return site_model.read_sources([str(v) for v in value])


def site_load(path):
    return site_model.normalise(site_model.load_site(str(path)))


def site_findings(value, release=None, strict=None):
    sources = _sources(value)
    strict = sources["strict"] if strict in (None, "") else boolean(strict)
    return site_model.check_files(sources["files"], release or sources["release"], strict, sources["hosts"])[1]


def site_sources(value):
    return [{"site": name, "file": path} for name, path in _sources(value)["files"].items()]


def site_table(findings):
    """Lines of a table, worst first, with a line that counts at the end."""
    lines = []
    for number, item in enumerate(site_model.worst_first(list(findings)), 1):
        where = " ".join(str(part) for part in (item.get("site"), item["path"]) if part)
        lines.append("%3d  %-7s  %-4s  %s" % (number, item["severity"], item["id"], where))
        lines.append("%s%s. %s" % (" " * 20, str(item["message"]).rstrip("."), item["remedy"]))
    return [*lines, site_model.summary(findings)]


def site_line(item):
    return "%s." % site_model.one_line(item)


def site_flip(sites, target, secondary_cluster=None, master=None, hosts=None):
    return site_model.flip(_plain(sites), str(target), secondary_cluster, master, hosts)


def site_set_primary(sites, site, host, hosts=None):
    return site_model.set_primary(_plain(sites), str(site), str(host), hosts)


def site_dump(raw):
    return site_model.dump(_plain(raw))


def site_digest(raw):
    return site_model.digest(_plain(raw))


def _plain(value):
    """Ansible's own containers and strings -> plain ones, in the same order."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, str):
        return str(value)
    return value


def _installed(variables, name):
    """Bytes that slurp registered under ``name``, or None when the file is not there."""
    result = variables.get(name)
    content = result.get("content") if isinstance(result, dict) else None
    return None if content is None else base64.b64decode(content)


def site_distribute_findings(hostvars, hosts, sites, allow=(), installed="__site_distribute_installed",
                             listing="__site_distribute_listing"):
    """C-27, C-28 and M-20 of every host against the file its site is about to get; equal findings once."""
    new = {str(name): site_model.load_site(str(entry["file"])) for name, entry in sites.items()}
    result = {}
    for host in hosts:
        variables = hostvars[host]
        site = str(variables["circonus_site_name"])
        found = list((variables.get(listing) or {}).get("files") or [])
        items = site_model.stray_files([os.path.basename(str(f["path"])) for f in found], site=site, where=str(host))
        old = _installed(variables, installed)
        if old is not None:
            try:
                items += site_model.change_guard(site_model.parse_bytes(old, "site.json on %s" % host), new[site],
                                                 [str(p) for p in allow], site)
            except BadInput:
                items += []  # what cannot be parsed is no state worth guarding; the copy keeps a backup
        for item in items:
            result.setdefault((item["id"], item["site"], item["path"], item["message"]), item)
    return site_model.worst_first(result.values())


def site_installed_findings(hostvars, hosts, sites, installed="__site_check_installed"):
    """H-01 and H-02: the file on each host against the file of its site, by digest of the canonical JSON."""
    expected, result = {}, []
    for name, entry in sites.items():
        try:
            expected[str(name)] = site_model.digest(site_model.load_site(str(entry["file"])))
        except BadInput:
            expected[str(name)] = None
    for host in hosts:
        variables = hostvars[host]
        site = str(variables["circonus_site_name"])
        answer = variables.get(installed) or {}
        data = _installed(variables, installed)
        path = "%s:%s/site.json" % (host, site_model.DATA_BAG)
        item = {"site": site, "path": path, "expected": "equal to %s" % sites[site]["file"]}
        if data is None:
            absent = not answer.get("unreachable")
            result.append({**item, "id": "H-01" if absent else "H-02",
                           "severity": "error" if absent else "warning",
                           "rule": "the host has the site.json of its site", "found": "absent" if absent else
                           "unreachable", "message": "%s %s" % (host, "has no readable site.json" if absent else
                                                                "cannot be reached"),
                           "remedy": "Run site_distribute." if absent else "Bring it back and check again."})
            continue
        try:
            found = site_model.digest(site_model.parse_bytes(data, path))
        except BadInput as error:
            found = str(error)
        if found != expected[site]:
            result.append({**item, "id": "H-01", "severity": "error", "rule": "the host has the site.json of its site",
                           "found": "another file", "message": "%s has another site.json than its site" % host,
                           "remedy": "Run site_distribute."})
    return site_model.worst_first(result)


class FilterModule:
    """Filters of site.json."""

    def filters(self):
        functions = (site_load, site_findings, site_sources, site_line, site_table, site_flip, site_set_primary,
                     site_dump, site_digest, site_distribute_findings, site_installed_findings)
        return {function.__name__: _errors_as_one_line(function) for function in functions}
