# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: site
short_description: Hosts, roles and sites of Circonus Inside, read from site.json
version_added: 0.1.0
author:
  - circonus.inside contributors (!UNKNOWN)
description:
  - Reads a C(*.site.yml) file that lists the site.json of each datacenter and the brokers, which are not in site.json.
  - The files are validated first; an error ends the run with one line and a non-zero exit code.
  - "Groups: one for each role, C(dc_<site>), C(active), C(standby), C(hooper) (every host of site.json) and
    C(brokers). A broker is also in the C(dc_<site>) of its site, but never in C(hooper), C(active) or C(standby)."
  - "Variables of a host: C(ansible_host) from machinfo, C(circonus_node) (C(name), C(roles), C(site), C(machinfo)),
    C(circonus_site_name), C(circonus_site) (the normalised site.json of its own site) and C(circonus_run_order)
    (stage 1 to 6: web_db, ca, mq, web_frontend, api, rest; the earliest of its roles)."
  - "Variable of all hosts: C(circonus_sites), for each site C(file), C(active), C(active_rule) and C(hosts)."
extends_documentation_fragment:
  - constructed
  - inventory_cache
notes:
  - Name the C(*.site.yml) file itself as inventory source, not its directory, because Ansible would read the
    site.json files in there as inventories of their own.
  - What the cache keeps is the verdict of the validation, by a digest of the files. It holds no passwords, and an
    edited file is always read and validated again.
requirements:
  - jsonschema (Python library)
options:
  plugin:
    description: Marks the file as one for this plugin.
    type: str
    required: true
    choices: [circonus.inside.site]
  sites:
    description:
      - The sites, one or two, by name. The name is used in C(dc_<name>), with anything but letters, digits and
        underscores replaced by an underscore.
      - C(file) is the path of the site.json, relative to the directory of this file. Required.
      - C(hosts) lists hosts of this site that no role list places, such as a host that has only web_db or caql_broker.
      - C(target_python) is the Python version on the hosts of this site, see O(target_python).
    type: dict
    required: true
  brokers:
    description:
      - Broker hosts by name, each with C(ansible_host) (required), C(site) (optional) and any variables.
    type: dict
    default: {}
  release:
    description:
      - Date of the release on the platform, such as 2019-11-04. Used by the rules about old and new attributes.
    type: str
  strict:
    description:
      - Treats an unknown attribute of site.json and an unknown key of this file as an error.
      - As with every constructed inventory, an expression in O(compose), O(groups) or O(keyed_groups) that fails is
        then an error too.
    type: bool
    default: false
  validate:
    description:
      - What ends the run. V(error) is an error of any rule, V(warning) a warning as well.
      - V(none) checks only what the inventory itself needs. For work on a platform that is known to break a rule.
    type: str
    choices: [error, warning, none]
    default: error
  target_python:
    description:
      - The Python version on the hosts, such as 3.6. When it is older than this ansible-core supports, the run ends
        with one line that says which ansible-core to use. Also taken from C(ansible_python_interpreter) of a broker or
        of group variables beside this file, from O(compose) or from C(-e), when it names a version, such as
        C(/usr/bin/python3.6).
    type: str
"""

EXAMPLES = r"""
# platform.site.yml: two datacenters
plugin: circonus.inside.site
sites:
  east:
    file: site.east.json
  west:
    file: site.west.json
brokers:
  broker1:
    ansible_host: 192.0.2.9
    site: east

# one datacenter, on EL7 with its own Python
# plugin: circonus.inside.site
# sites:
#   main:
#     file: site.json
# target_python: "3.6"
# release: "2019-11-04"
# keyed_groups:
#   - key: circonus_run_order
#     prefix: stage
"""

import difflib
import hashlib
import json
import os
import re

from ansible import context
from ansible.errors import AnsibleError, AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin, Cacheable, Constructable
from ansible.release import __version__ as core_version
from ansible.utils.unsafe_proxy import wrap_var
from ansible.vars.plugins import get_vars_from_inventory_sources
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput, InsideError
from ansible_collections.circonus.inside.plugins.plugin_utils import site_model

try:
    from ansible.template import trust_as_template
except ImportError:  # before 2.19 every string is evaluated
    trust_as_template = None

_SITE_KEYS = ("file", "hosts", "target_python")
_PARSER_ERROR = 4  # exit code of ansible for input that cannot be parsed
# Above this number of hosts, variables that repeat the whole site for every host are given as expressions.
_MANY_HOSTS = 200
# Oldest Python of a target -> the newest ansible-core that can work with it.
_LAST_CORE = (((3, 6), "2.16"), ((3, 7), "2.17"), ((3, 8), "2.19"))


class InventoryRefused(SystemExit):
    """Ends the command with a non-zero exit code.

    Ansible turns any Exception of an inventory plugin into warnings, tries other plugins and goes on with an empty
    inventory and exit code 0. Only what is not an Exception gets through.
    """


def minimum_python(version=core_version):
    """Oldest Python on a target that an ansible-core supports, as (3, 8); 2.16 and older also take 2.7."""
    try:
        from ansible.module_utils import basic
        found = getattr(basic, "_PY_MIN", None)
    except Exception:  # the table below knows as well
        found = None
    if isinstance(found, tuple) and len(found) >= 2:
        return found[:2]
    major, minor = (int(n) for n in version.split(".")[:2])
    if (major, minor) < (2, 17):
        return (2, 7)
    return {17: (3, 7), 18: (3, 8), 19: (3, 8)}.get(minor, (3, 9))


def python_problem(version, minimum=None):
    """Why this ansible-core cannot work on hosts with this Python (text '3.6'), or None."""
    match = re.match(r"(\d+)\.(\d+)", str(version))
    if not match:
        raise BadInput("target_python is %s, expected a version such as 3.6 in quotes." % version)
    python = (int(match.group(1)), int(match.group(2)))
    minimum = minimum or minimum_python()
    if python >= minimum and python not in ((3, 0), (3, 1), (3, 2), (3, 3), (3, 4), (3, 5)):
        return None
    core = next((core for newest, core in _LAST_CORE if python <= newest), None)
    if python < (2, 7) or (3, 0) <= python < (3, 6):
        core = None
    return "Python %d.%d is too old for ansible-core %s (needs %d.%d). %s" % (
        *python, core_version, *minimum,
        "Use ansible-core %s for these hosts, or a newer Python on them." % core if core
        else "Use a newer Python on these hosts.")


def interpreter_version(value):
    """'/usr/bin/python3.6' -> '3.6'; anything that names no version -> None."""
    match = re.fullmatch(r"(?:.*/)?python(\d+\.\d+)", value) if isinstance(value, str) else None
    return match.group(1) if match else None


class InventoryModule(BaseInventoryPlugin, Constructable, Cacheable):
    NAME = "circonus.inside.site"

    def verify_file(self, path):
        return super().verify_file(path) and path.endswith((".site.yml", ".site.yaml"))

    def parse(self, inventory, loader, path, cache=True):
        super().parse(inventory, loader, path, cache)
        try:
            self._parse(path, cache)
        except InsideError as error:
            self._refuse(path, str(error))
        except (AnsibleError, AnsibleParserError) as error:
            message = getattr(error, "message", None) or str(error)
            self._refuse(path, message if os.path.basename(path) in message else "%s: %s" % (path, message))

    # -- ending the run -----------------------------------------------------------------------------------------------
    def _refuse(self, path, message):
        message = " ".join(str(message).split())
        if self._checking():
            self.inventory.set_variable("all", "circonus_sites", {})
            self.display.warning("The inventory is refused: %s" % message)
            return
        self._say(message)
        raise InventoryRefused(_PARSER_ERROR)

    def _say(self, message):
        try:
            columns, self.display.columns = self.display.columns, max(len(message) + 40, 100)
        except AttributeError:
            columns = None
        self.display.error(message, wrap_text=False)
        if columns is not None:
            self.display.columns = columns

    @staticmethod
    def _checking():
        """True under the playbook that lists all findings: it reads the files itself and must be able to start."""
        playbooks = context.CLIARGS.get("args") or ()
        stems = {re.sub(r"\.ya?ml$", "", os.path.basename(str(p))).rpartition(".")[2] for p in playbooks}
        return stems == {"site_check"}

    # -- reading ------------------------------------------------------------------------------------------------------
    def _parse(self, path, cache):
        config = self._read_config_data(path)
        self._unknown_keys(path, config)
        settings = self._site_settings(path)
        files = {name: entry["file"] for name, entry in settings.items()}
        hosts = {name: entry["hosts"] for name, entry in settings.items() if entry["hosts"]}
        raw = {name: site_model.load_site(file) for name, file in files.items()}
        level = self.get_option("validate")
        findings = [] if level == "none" else self._findings(path, raw, hosts, cache)
        self._judge(files, findings, level)

        sites = {name: _plain(site_model.normalise(data)) for name, data in raw.items()}
        placed, unplaced = site_model.placement(sites, hosts)
        plan = self._plan(path, sites, placed, unplaced)
        brokers = self._brokers(path, plan, settings)
        self._check_python(path, settings, plan, brokers)
        self._populate(files, sites, placed, plan, brokers)

    def _unknown_keys(self, path, config):
        known = set(self.get_options()) | {"plugin"}
        for key in config:
            if key not in known:
                near = difflib.get_close_matches(str(key), known, n=1)
                message = "%s: unknown key %s. %s" % (path, key, "Write %s if that is meant." % near[0] if near
                                                      else "Remove it.")
                if self.get_option("strict"):
                    raise BadInput(message)
                self.display.warning(message)

    def _site_settings(self, path):
        sites = self.get_option("sites")
        if not isinstance(sites, dict) or not sites:
            raise BadInput("%s: sites is empty. List one or two sites, each with a file." % path)
        result = {}
        for name, entry in sites.items():
            entry = {"file": entry} if isinstance(entry, str) else entry
            if not isinstance(entry, dict) or not isinstance(entry.get("file"), str) or not entry["file"]:
                raise BadInput("%s: sites.%s.file is missing. Name the site.json of the site." % (path, name))
            for key in entry:
                if key not in _SITE_KEYS:
                    raise BadInput("%s: unknown key sites.%s.%s. Expected one of: %s."
                                   % (path, name, key, ", ".join(_SITE_KEYS)))
            hosts = entry.get("hosts") or []
            if not isinstance(hosts, list) or not all(isinstance(h, str) for h in hosts):
                raise BadInput("%s: sites.%s.hosts is not a list of host names." % (path, name))
            file = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(path)), entry["file"]))
            result[str(name)] = {"file": file, "hosts": [str(h) for h in hosts],
                                 "target_python": entry.get("target_python")}
        return result

    def _findings(self, path, raw, hosts, cache):
        """Findings of the validator, from the cache when these very files have been judged before."""
        release, strict = self.get_option("release"), self.get_option("strict")
        if not self.get_option("cache"):
            return site_model.validate(raw, release, strict, hosts)
        with open(site_model.__file__, "rb") as code:
            version = hashlib.sha256(code.read()).hexdigest()
        question = json.dumps([version, {n: site_model.digest(r) for n, r in raw.items()}, str(release), strict, hosts],
                              sort_keys=True)
        key, question = self.get_cache_key(path), hashlib.sha256(question.encode()).hexdigest()
        if cache:
            try:
                known = self._cache[key]
                if known.get("digest") == question:
                    return known["findings"]
            except (KeyError, TypeError, AttributeError):
                pass
        findings = site_model.validate(raw, release, strict, hosts)
        self._cache[key] = {"digest": question, "findings": findings}
        return findings

    def _judge(self, files, findings, level):
        """Refuse on findings of the level; name warnings in one line, or each with -v."""
        bad = [f for f in findings if f["severity"] == "error" or level == "warning"]
        where = ", ".join(os.path.basename(f) for f in files.values())
        command = "ansible-playbook circonus.inside.site_check"
        if bad:
            more = " (and %d more in %s)" % (len(bad) - 1, where) if len(bad) > 1 else ""
            raise BadInput("site.json: %s%s All findings: %s" % (site_model.one_line(bad[0]), more, command))
        if findings and self.display.verbosity:
            for item in findings:
                self.display.warning("site.json: %s" % site_model.one_line(item))
        elif findings and not self._checking():
            self.display.warning("site.json: %s in %s; -v or %s shows them."
                                 % (site_model.summary(findings).partition(", ")[2], where, command))

    # -- deciding -----------------------------------------------------------------------------------------------------
    def _plan(self, path, sites, placed, unplaced):
        """{host: {site, address, roles, machinfo, stage}}; refuses what cannot be an inventory."""
        plan, addresses = {}, {}
        for data in sites.values():
            for host in site_model.machines(data):
                address = site_model.address(data, host)
                known = addresses.setdefault(host, address)
                if known != address and known and address:
                    raise BadInput("host %s has two addresses: %s and %s (%s). Write the right one in both files."
                                   % (host, known, address, " and ".join(sites)))
        for name, data in sites.items():
            machinfo, roles, stages = site_model.machines(data), site_model.roles_of(data), site_model.run_order(data)
            lost = [host for host in unplaced if roles.get(host)]
            if lost:
                raise BadInput("%s: %s has the roles %s and belongs to no site. Add it to hosts of its site under "
                               "sites." % (path, lost[0], ", ".join(roles[lost[0]])))
            for host in dict.fromkeys([*machinfo, *roles]):
                if placed.get(host) == name:
                    plan[host] = {"site": name, "address": addresses.get(host), "roles": roles.get(host, []),
                                  "machinfo": machinfo.get(host) or {}, "stage": stages[host]}
        for host, entry in plan.items():
            if not entry["address"]:
                raise BadInput("host %s has no ip_address in machinfo of %s. Add machinfo.%s.ip_address."
                               % (host, entry["site"], host))
        return plan

    def _brokers(self, path, plan, settings):
        brokers = self.get_option("brokers") or {}
        result, addresses = {}, {entry["address"]: host for host, entry in plan.items()}
        for name, entry in brokers.items():
            if not isinstance(entry, dict) or not entry.get("ansible_host"):
                raise BadInput("%s: brokers.%s.ansible_host is missing. Give its address or name." % (path, name))
            entry = dict(entry)
            site = entry.pop("site", None)
            if site is not None and site not in settings:
                raise BadInput("%s: brokers.%s.site is %s. Expected one of: %s."
                               % (path, name, site, ", ".join(settings)))
            if name in plan:
                raise BadInput("host %s has two addresses: %s in site.json and %s as a broker in %s. Rename the broker."
                               % (name, plan[name]["address"], entry["ansible_host"], path))
            taken = addresses.setdefault(entry["ansible_host"], name)
            if taken != name:
                raise BadInput("%s: broker %s has the address %s of %s. Give each host its own."
                               % (path, name, entry["ansible_host"], taken))
            result[str(name)] = {"site": site, "vars": entry}
        return result

    def _check_python(self, path, settings, plan, brokers):
        general = self.get_option("target_python")
        claims = [("sites.%s.target_python" % name, entry["target_python"] or general)
                  for name, entry in settings.items()]
        for name, entry in brokers.items():
            claims.append(("brokers.%s.ansible_python_interpreter" % name,
                           interpreter_version(entry["vars"].get("ansible_python_interpreter"))))
        claims.append(("-e ansible_python_interpreter", interpreter_version(
            (self._vars or {}).get("ansible_python_interpreter"))))
        composed = (self.get_option("compose") or {}).get("ansible_python_interpreter")
        claims.append(("compose.ansible_python_interpreter", interpreter_version(
            composed.strip("\"' ") if isinstance(composed, str) else None)))
        groups = ["all", "hooper", "brokers", "active", "standby", *site_model.ROLES,
                  *(self._group(name) for name in settings)]
        for group in groups:
            claims.append(("group_vars of %s" % group, interpreter_version(self._group_variable(path, group))))
        for where, version in claims:
            problem = python_problem(version) if version else None
            if problem:
                raise BadInput("%s: %s: %s" % (path, where, problem))

    def _group_variable(self, path, group):
        """ansible_python_interpreter from group_vars beside the inventory file, without templating."""
        directory = os.path.join(os.path.dirname(os.path.abspath(path)), "group_vars")
        if not any(os.path.exists(os.path.join(directory, group + end)) for end in ("", ".yml", ".yaml", ".json")):
            return None
        try:
            found = get_vars_from_inventory_sources(self.loader, [path], [self.inventory.groups.get(group)
                                                    or self._new_group(group)], "task")
        except Exception:  # a broken or encrypted file is reported by Ansible itself when it is really needed
            return None
        return found.get("ansible_python_interpreter")

    @staticmethod
    def _new_group(name):
        from ansible.inventory.group import Group
        return Group(name)

    @staticmethod
    def _group(site):
        return "dc_" + re.sub(r"\W", "_", site)

    # -- writing ------------------------------------------------------------------------------------------------------
    def _populate(self, files, sites, placed, plan, brokers):
        inventory = self.inventory
        activity = site_model.activity(sites, placed)
        for group in (*site_model.ROLES, "active", "standby", "hooper", "brokers", *(self._group(n) for n in sites)):
            inventory.add_group(group)
        states, seen = {True: "active", False: "standby"}, {}

        def trusted(value):
            return _plain(value, seen)

        for host, entry in plan.items():
            site = entry["site"]
            inventory.add_host(host, group="hooper")
            inventory.add_child(self._group(site), host)
            state = states.get(activity[site]["active"])
            if state:
                inventory.add_child(state, host)
            for role in entry["roles"]:
                inventory.add_child(role if role in inventory.groups else inventory.add_group(role), host)
            variables = {
                "ansible_host": entry["address"],
                "circonus_site_name": trusted(site),
                "circonus_node": {"name": trusted(host), "roles": trusted(entry["roles"]), "site": trusted(site),
                                  "machinfo": entry["machinfo"]},
                "circonus_run_order": entry["stage"],
            }
            # Straight to the host: data of site.json are no templates, and InventoryData.set_variable of 2.19 walks
            # through every value, which costs half a second for 2,000 hosts.
            target = inventory.hosts[host]
            for key, value in variables.items():
                target.set_variable(key, value)
        for host, entry in brokers.items():
            inventory.add_host(host, group="brokers")
            if entry["site"]:
                inventory.add_child(self._group(entry["site"]), host)
            node = {"name": host, "roles": ["broker"], "site": entry["site"],
                    "machinfo": {"ip_address": entry["vars"]["ansible_host"]}}
            for key, value in {"circonus_site_name": entry["site"], "circonus_node": node}.items():
                inventory.set_variable(host, key, _plain(value))
            for key, value in entry["vars"].items():  # written by the operator like any inventory, templates included
                inventory.set_variable(host, key, value)
        self._site_variables(files, sites, plan, activity)
        self._construct([*plan, *brokers])

    def _site_variables(self, files, sites, plan, activity):
        many = len(plan) > _MANY_HOSTS
        overview = {}
        for name, data in sites.items():
            group = self._group(name)
            hosts = [host for host, entry in plan.items() if entry["site"] == name]
            overview[name] = _plain({"file": files[name], "active": activity[name]["active"],
                                     "active_rule": activity[name]["rule"], "hosts": hosts})
            if many:
                overview[name]["hosts"] = _expression("groups['hooper'] | intersect(groups['%s'])" % group)
            content = _expression("%s | circonus.inside.site_load" % json.dumps(files[name])) if many else data
            self.inventory.set_variable(group, "circonus_site", content)
        self.inventory.set_variable("all", "circonus_sites", overview)

    def _construct(self, hosts):
        compose, groups, keyed = (self.get_option(o) for o in ("compose", "groups", "keyed_groups"))
        if not (compose or groups or keyed):
            return
        strict = self.get_option("strict")
        for host in hosts:
            variables = {**self.inventory.groups["all"].get_vars(), **self.inventory.hosts[host].get_vars()}
            site = variables.get("circonus_site_name")
            if site:
                variables.update(self.inventory.groups[self._group(site)].get_vars())
            self._set_composite_vars(compose, variables, host, strict=strict)
            variables.update(self.inventory.hosts[host].get_vars())
            self._add_host_to_composed_groups(groups, variables, host, strict=strict, fetch_hostvars=False)
            self._add_host_to_keyed_groups(keyed, variables, host, strict=strict, fetch_hostvars=False)


def _expression(text):
    """A string that Ansible evaluates when it is used (2.19 evaluates only what is marked as trusted)."""
    text = "{{ %s }}" % text
    return trust_as_template(text) if trust_as_template else text


def _plain(value, seen=None):
    """Data of site.json are no templates, and what looks like one must never be evaluated.

    Until 2.18 every string is evaluated unless it is wrapped; from 2.19 on only what is marked as trusted is, and
    everything else is shown as unsafe by ansible-inventory. So strings without template marks are trusted there.
    """
    seen = {} if seen is None else seen
    if isinstance(value, dict):
        return {k: _plain(v, seen) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(v, seen) for v in value]
    if not isinstance(value, str):
        return value
    known = seen.get(value)
    if known is None:
        if "{" in value and any(mark in value for mark in ("{{", "{%", "{#")):
            known = value if trust_as_template else wrap_var(value)
        else:
            known = trust_as_template(value) if trust_as_template else value
        seen[value] = known
    return known
