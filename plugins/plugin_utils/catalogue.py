# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The catalogue: what the roles of this collection say about their component (``roles/<role>/vars/main.yml``).

An entry is plain data. ``FORM`` says which keys it may have; docs/developer/adding_a_role.md explains them. Texts may
hold ``<host>`` (name of the host in site.json) and ``<version>``. An item with ``from`` or ``until`` exists in the
releases r with from <= r < until; a date that no source gives is left out.
"""

from __future__ import annotations

import functools
import itertools
import os
import re

from ansible.module_utils.common.yaml import yaml_load
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput
from ansible_collections.circonus.inside.plugins.module_utils.release import in_release, release_date
from ansible_collections.circonus.inside.plugins.plugin_utils.site_data import LAST_STAGE, STAGES

ROLES = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "roles")

# Who connects, apart from roles.
OUTSIDERS = ("operators", "users", "brokers", "outside", "localhost")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_RANGE = re.compile(r"\d+-\d+")
_GATE = {"from": "date", "until": "date"}
_LINK = {"port": "port?!", "proto": "tcp|udp|any!", "source": "2019|later|public", "note": "text"}
# Kinds of values: text, flag, number, port (number or range), date, names (list of texts), numbers, map (of texts);
# "?" allows null, "|" lists choices, "!" marks what must be there.
FORM = {
    "name": "text!",
    "purpose": "text!",
    "user": "text?!",
    "passive": "stopped|running",
    "releases": {"from": "date?", "until": "date?"},
    "requires": "names!",
    "units": [
        {
            "id": "text!", "candidates": "names!", "patterns": "names", "omnios": "text?", "ports": "numbers",
            "life": {
                "endpoint": "text", "seconds": "number",
                "log": {"file": "text!", "pattern": "text!", "count": "number"},
            },
            "logs": "names", "required": "flag", "enabled_only": "flag", "alternative_to": "text", "watchdog": "flag",
            "process": "text", **_GATE,
        }
    ],
    "processes": [{"id": "text!", "match": "text!", "watchdog": "flag", "port": "number", **_GATE}],
    "ports": [
        {
            "port": "port!", "proto": "tcp|udp!", "unit": "text?!", "bind": "any|local!", "tls": "flag?",
            "clients": "names!", "source": "2019|later|public", "optional": "flag", "reserved": "flag", "note": "text",
            **_GATE,
        }
    ],
    "endpoints": [
        {
            "id": "text!", "port": "number!", "unit": "text!", "path": "text!", "tls": "flag!", "bind": "any|local!",
            "status": "numbers!", "sections": "names!", "returns": "text!", "source": "2019|later|public", **_GATE,
        }
    ],
    "calls": [
        {
            "method": "GET|PUT|POST|DELETE!", "port": "number!", "path": "text!", "tls": "flag", "certificate": "flag",
            "returns": "text!", "source": "2019|later|public", **_GATE,
        }
    ],
    "consoles": [
        {
            "id": "text!", "port": "number!", "unit": "text!", "bind": "any|local!", "commands": "names!",
            "note": "text", **_GATE,
        }
    ],
    "paths": {"config": "names", "binaries": "names", "scripts": "names", "data": "names", "public": "names"},
    "space": "names",
    "logs": "names",
    "log_directories": "names",
    "log_rotation": "text?",
    "log_errors": "names",
    "pki": {
        "ca": "text", "cert": "text", "key": "text", "crl": "text", "service": "text", "owner": "text?",
        "group": "text?", "user_facing": "names", "keystore": "text?", **_GATE,
    },
    "cron": [
        {
            "id": "text!", "user": "text?!", "schedule": "text?!", "script": "text?!", "purpose": "text!",
            "source": "2019|later|public", **_GATE,
        }
    ],
    "sql": [{"id": "text!", "query": "text!", "purpose": "text!"}],
    "conflicts": [{"role": "text!", "port": "number!", "basis": "documented|derived!", "note": "text"}],
    "sizing": {"cpu_cores": "number?", "ram_gb": "number?", "disk_gb": "number?", "bare_metal": "flag?"},
    "connections": {
        "out": [dict(_LINK, to="text!", hosts="names")],
        "in": [{"from": "text!", **_LINK}],
    },
    "commands": [
        {"os": "any|linux|el7|omnios|smartos!", "run": "text!", "purpose": "text!", "source": "2019|later|public"}
    ],
    "facts": "map",
    "history": "map",
    "notes": "names",
}


@functools.cache
def load(directory: str = ROLES) -> dict:
    """{role: catalogue entry} of every role that has one."""
    entries = {}
    for name in sorted(os.listdir(directory)):
        path = os.path.join(directory, name, "vars", "main.yml")
        if os.path.exists(path):
            with open(path, encoding="utf-8") as handle:
                entry = (yaml_load(handle) or {}).get(name + "_service")
            if entry:
                entries[name] = entry
    return entries


def names() -> list:
    """Roles that have a catalogue entry."""
    return list(load())


def unit_names(role: str) -> list:
    """Every unit name that a role may have on a host, in start order; [] for a role that is not in the catalogue."""
    return [candidate for unit in load().get(role, {}).get("units", []) for candidate in unit["candidates"]]


@functools.cache
def chain(trigger: str, edition: str) -> list:
    """What has to be restarted after ``trigger`` (web_db, mq), in order: [{"role", "only" (optional)}]."""
    with open(os.path.join(ROLES, "service", "vars", "main.yml"), encoding="utf-8") as handle:
        return yaml_load(handle)["service_dependants"][trigger][edition]


# -- what a host of a release has -------------------------------------------------------------------------------------
def effective(entry: dict, release=None, host: str | None = None, version: str | None = None) -> dict:
    """The entry as it holds for one host: every key of FORM there, placeholders replaced, other releases' items gone.

    release: None or empty when it is not known, then everything stays. A port, page or console whose unit is gone goes
    with it; a port that is reserved for the role stays, without unit. The result has one key more, ``absent``: true
    when the release does not have the role at all. Its items stay in that case, because a host may still carry what an
    older release installed; nothing of it is a fault when missing.
    """
    release = release_date(release)
    result = dict({key: _empty(form) for key, form in FORM.items()}, **_replaced(entry, host, version))
    gone = {item["id"] for key in ("units", "processes") for item in result[key] if not in_release(item, release)}
    for key, form in FORM.items():
        if isinstance(form, list):
            result[key] = [item for item in result[key] if in_release(item, release)]
    ports = []
    for port in result["ports"]:
        if port["unit"] in gone:
            if not port.get("reserved"):
                continue
            port.update(unit=None, optional=True)
        ports.append(port)
    result["ports"] = ports
    for key in ("endpoints", "consoles"):
        result[key] = [item for item in result[key] if item.get("unit") not in gone]
    if not in_release(result["pki"], release):
        result["pki"] = {}
    result["absent"] = not in_release(entry.get("releases") or {}, release)
    return result


def _empty(form):
    if isinstance(form, list):
        return []
    if isinstance(form, dict):
        return {key: [] for key, kind in form.items() if isinstance(kind, list)}
    return {"names": [], "names!": [], "map": {}}.get(form)


def _replaced(value, host, version):
    """A copy of ``value`` with the placeholders replaced that are given."""
    if isinstance(value, str):
        value = value.replace("<host>", host) if host else value
        return value.replace("<version>", version) if version else value
    if isinstance(value, list):
        return [_replaced(item, host, version) for item in value]
    if isinstance(value, dict):
        return {key: _replaced(item, host, version) for key, item in value.items()}
    return value


def for_roles(roles, release=None, host: str | None = None) -> list:
    """Effective entries of the roles of a host, in their order. Raises BadInput for a role without an entry."""
    entries = load()
    for role in roles:
        if role not in entries:
            known = ", ".join(entries)
            raise BadInput("Expected a role of the catalogue (%s), found %r. Correct the role." % (known, role))
    return [effective(entries[role], release, host) for role in roles]


# -- order ------------------------------------------------------------------------------------------------------------
def stage(role: str) -> int:
    """Stage of Hooper's run order in which a role is installed, 1 to 6."""
    return STAGES.index(role) + 1 if role in STAGES else LAST_STAGE


def run_order(entries: dict | None = None) -> list:
    """All roles of ``entries``, each after what it requires: by Hooper's stages, then requires, then the name.

    Raises BadInput for an order that cannot be; see :func:`order_problems`.
    """
    entries = load() if entries is None else entries
    found = order_problems(entries)
    if found:
        raise BadInput(" ".join(found))
    order, waiting = [], sorted(entries, key=lambda role: (stage(role), role))
    while waiting:
        role = next(role for role in waiting if set(entries[role]["requires"]) <= set(order))
        waiting.remove(role)
        order.append(role)
    return order


def order_problems(entries: dict) -> list:
    """What is wrong with ``requires``: unknown roles, roles that Hooper installs later, cycles. Sentences."""
    found = []
    for role, entry in entries.items():
        for needed in entry["requires"]:
            if needed not in entries:
                found.append("%s requires %s, which is no role of the catalogue." % (role, needed))
            elif stage(needed) > stage(role):
                found.append("%s requires %s, which Hooper installs after it." % (role, needed))
    done = set()
    while True:
        ready = [role for role, entry in entries.items()
                 if role not in done and all(needed in done or needed not in entries for needed in entry["requires"])]
        if not ready:
            break
        done.update(ready)
    if len(done) < len(entries):
        found.append("%s require each other in a circle." % ", ".join(sorted(set(entries) - done)))
    return found


# -- ports ------------------------------------------------------------------------------------------------------------
def port_clashes(roles, entries: dict | None = None, optional: bool = False) -> list:
    """Ports that two of ``roles`` need on the same host: [{"port", "proto", "roles": [two names]}], by port.

    A port that may or may not be opened does not count unless Hooper holds it for the role (``reserved``) or
    ``optional`` is true; ranges never do.
    """
    entries = load() if entries is None else entries
    held = {}
    for role in roles:
        for port in entries[role]["ports"]:
            if isinstance(port["port"], int) and (optional or not port.get("optional") or port.get("reserved")):
                held.setdefault((port["port"], port["proto"]), {})[role] = True
    return [
        {"port": number, "proto": proto, "roles": list(pair)}
        for (number, proto), holders in sorted(held.items())
        for pair in itertools.combinations(holders, 2)
    ]


# -- form -------------------------------------------------------------------------------------------------------------
def problems(entry, known=None) -> list:
    """What is wrong with the form of an entry, as sentences; [] when it is right.

    known: names of all roles, to which ``requires``, clients and connections may point; the catalogue's when None.
    """
    if not isinstance(entry, dict):
        return ["Expected a catalogue entry as a mapping, found %s." % type(entry).__name__]
    label = entry.get("name") if isinstance(entry.get("name"), str) else "entry"
    found = list(_misfits(entry, FORM, "")) or _loose_ends(entry, names() if known is None else known)
    return ["%s: %s." % (label, problem) for problem in found]


def _misfits(value, form, where):
    """Problems of ``value`` against ``form`` (see FORM), each with its place."""
    place = where or "the entry"
    if isinstance(form, list):
        if not isinstance(value, list):
            yield "%s: expected a list, found %s" % (place, type(value).__name__)
            return
        for number, item in enumerate(value):
            yield from _misfits(item, form[0], "%s[%d]" % (where, number))
    elif isinstance(form, dict):
        if not isinstance(value, dict):
            yield "%s: expected a mapping, found %s" % (place, type(value).__name__)
            return
        for key in value:
            if key not in form:
                yield "%s: unknown key %s, expected one of %s" % (place, key, ", ".join(form))
        for key, kind in form.items():
            if key in value:
                yield from _misfits(value[key], kind, "%s.%s" % (where, key) if where else key)
            elif isinstance(kind, str) and kind.endswith("!"):
                yield "%s: expected a key %s" % (place, key)
    elif not _fits(value, form.rstrip("!")):
        yield "%s: expected %s, found %r" % (place, form.rstrip("!"), value)


def _fits(value, kind):
    """Whether a value is of a kind of FORM."""
    if kind.endswith("?"):
        return value is None or _fits(value, kind[:-1])
    number = isinstance(value, int) and not isinstance(value, bool)
    if kind in ("names", "numbers"):
        return isinstance(value, list) and all(_fits(item, kind[:-1].replace("name", "text")) for item in value)
    if kind == "map":
        return isinstance(value, dict) and all(_fits(item, "text") for pair in value.items() for item in pair)
    if kind == "port":
        return (number and 0 < value < 65536) or (isinstance(value, str) and bool(_RANGE.fullmatch(value)))
    simple = {
        "text": isinstance(value, str) and bool(value.strip()) and "{{" not in value,
        "flag": isinstance(value, bool),
        "number": number and value > 0,
        "date": isinstance(value, str) and bool(_DATE.fullmatch(value)),
    }
    return simple[kind] if kind in simple else value in kind.split("|")


def _loose_ends(entry, known):
    """References that lead nowhere, ids that are there twice, patterns that do not compile, gates that never open."""
    units = [unit["id"] for unit in entry["units"]]
    holders = units + [process["id"] for process in entry.get("processes", [])]
    ports = {port["port"] for port in entry.get("ports", [])}
    pages = {page["id"] for page in entry.get("endpoints", [])}
    others = set(known) | {entry["name"]}
    for key in ("units", "endpoints", "consoles", "cron", "sql"):
        ids = [item["id"] for item in entry.get(key, [])]
        yield from ("%s: the id %s is there twice" % (key, name) for name in sorted(set(ids)) if ids.count(name) > 1)
    for unit in entry["units"]:
        where = "units.%s" % unit["id"]
        if not unit["candidates"]:
            yield "%s: expected at least one candidate" % where
        for port in set(unit.get("ports", ())) - ports:
            yield "%s: port %s is not in ports" % (where, port)
        if unit.get("alternative_to", unit["id"]) not in units:
            yield "%s: alternative_to %s is no unit" % (where, unit["alternative_to"])
        life = unit.get("life", {})
        if life.get("endpoint") and life["endpoint"] not in pages:
            yield "%s: life.endpoint %s is no endpoint" % (where, life["endpoint"])
        if life.get("log") and not _compiles(life["log"]["pattern"]):
            yield "%s: life.log.pattern %r is no regular expression" % (where, life["log"]["pattern"])
    for key in ("ports", "endpoints", "consoles"):
        for item in entry.get(key, []):
            where = "%s.%s" % (key, item.get("id", item["port"]))
            if item["unit"] is not None and item["unit"] not in holders:
                yield "%s: unit %s is neither a unit nor a process" % (where, item["unit"])
            if item["port"] not in ports:
                yield "%s: port %s is not in ports" % (where, item["port"])
            for client in item.get("clients", []):
                if client not in others and client not in OUTSIDERS:
                    yield "%s: client %s is neither a role nor one of %s" % (where, client, ", ".join(OUTSIDERS))
    for process in entry.get("processes", []):
        if process.get("port", None) not in ports | {None}:
            yield "processes.%s: port %s is not in ports" % (process["id"], process["port"])
    for call in entry.get("calls", []):
        if call["port"] not in ports:
            yield "calls.%s: port %s is not in ports" % (call["path"], call["port"])
    for pattern in entry.get("log_errors", []):
        if not _compiles(pattern):
            yield "log_errors: %r is no regular expression" % pattern
    for role in [*entry["requires"], *(conflict["role"] for conflict in entry.get("conflicts", []))]:
        if role not in others:
            yield "%s is no role" % role
    for way, end in (("out", "to"), ("in", "from")):
        for link in entry.get("connections", {}).get(way, []):
            if link[end] not in others and link[end] not in OUTSIDERS:
                yield "connections.%s: %s is neither a role nor one of %s" % (way, link[end], ", ".join(OUTSIDERS))
    for release in entry.get("history", {}):
        if not _DATE.fullmatch(release):
            yield "history: expected a release as YYYY-MM-DD, found %r" % release
    gated = {key: entry.get(key, []) for key, form in FORM.items() if isinstance(form, list)}
    gated.update((key, [entry.get(key) or {}]) for key in ("pki", "releases"))
    for key, items in gated.items():
        for item in items:
            if item.get("from") and item.get("until") and item["from"] >= item["until"]:
                yield "%s: from %s is not before until %s" % (key, item["from"], item["until"])


def _compiles(pattern):
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True
