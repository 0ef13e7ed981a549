# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Read, write and normalise site.json; who is where and in which order.

Everything but :func:`load_site` is a pure function over plain dicts as ``json.loads`` returns them.
"raw" is the file as written; "normalised" has underscore role names and lists where both forms are allowed.
"""
from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import re
from json.decoder import scanstring

from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput

ROLES = (
    "api", "ca", "caql_broker", "data_storage", "fault_detection", "hub", "long_tail_storage", "mq",
    "notification", "stratcon", "web_db", "web_frontend", "web_stream",
)
OBSOLETE_ROLES = ("redis", "search")
SPELLINGS = {
    "web-db": "web_db", "web-frontend": "web_frontend", "web-stream": "web_stream",
    "fault-detection": "fault_detection",
}
STAGES = ("web_db", "ca", "mq", "web_frontend", "api")
LAST_STAGE = len(STAGES) + 1
# Roles whose list holds the hosts of both sites, so that it does not say where a host is.
SHARED_ROLES = ("caql_broker", "web_db")

DATA_BAG = "/opt/circonus/var/chef-solo/data_bags/service_map"

_SECRET_KEY = re.compile(
    r"(pass|password|secret|token|cookie|session_key|oauth2_key|key_pass|authtoken|twilio_sid)$"
)
_LOCATION = re.compile(r": line (\d+) column (\d+) \(char \d+\)$")


# -- reading and writing ----------------------------------------------------------------------------------------------
class _DuplicateKey(Exception):
    pass


def _object(pairs):
    result = dict(pairs)
    if len(result) != len(pairs):
        raise _DuplicateKey
    return result


def _no_constant(name):
    raise ValueError("%s is not JSON" % name)


def _line_column(text, position):
    line = text.count("\n", 0, position) + 1
    return line, position - text.rfind("\n", 0, position)


def _find_duplicate(text):
    """First key written twice in one object: (key, path of the object, position of the second, both raw values)."""
    decoder = json.JSONDecoder()
    stack = []  # per container: [kind, path element, {key: text position of its value}, current key]
    position, size, expect_key = 0, len(text), False
    while position < size:
        char = text[position]
        if char == '"':
            start = position
            value, position = scanstring(text, position + 1)
            if expect_key:
                frame = stack[-1]
                colon = text.index(":", position)
                first = frame[2].get(value)
                if first is not None:
                    values = []
                    for at in (first, colon + 1):
                        while text[at].isspace():
                            at += 1
                        values.append(decoder.raw_decode(text, at)[0])
                    return value, [f[3] for f in stack[:-1]], start, values
                frame[2][value] = colon + 1
                frame[3], expect_key, position = value, False, colon + 1
            continue
        if char == "{":
            stack.append(["object", None, {}, None])
            expect_key = True
        elif char == "[":
            stack.append(["array", None, {}, 0])
            expect_key = False
        elif char in "}]":
            stack.pop()
            expect_key = False
        elif char == ",":
            frame = stack[-1]
            expect_key = frame[0] == "object"
            if not expect_key:
                frame[3] += 1
        position += 1
    return None


def parse_site(text, name="site.json"):
    """Text of a site.json -> dict. Raises BadInput: one line with file, line and column."""
    if text.startswith("\ufeff"):
        raise BadInput("%s line 1 column 1: starts with a byte order mark. Save it as UTF-8 without one." % name,
                       file=name, line=1, column=1)
    try:
        data = json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)
    except _DuplicateKey:
        key, path, position, values = _find_duplicate(text)
        line, column = _line_column(text, position)
        where = path_text(path) or "the top level"
        first, second = (v.get("ip_address") if isinstance(v, dict) else None for v in values)
        if path[-1:] == ["machinfo"] and first and second:
            what = "host %s is in machinfo twice, with the addresses %s and %s" % (key, first, second)
        else:
            what = "%s is written twice in %s" % (key, where)
        raise BadInput("%s line %d column %d: %s. Keep one." % (name, line, column, what),
                       file=name, line=line, column=column, path=path_text([*path, key])) from None
    except json.JSONDecodeError as error:
        line, column = error.lineno, error.colno
        raise BadInput("%s line %d column %d: not valid JSON: %s" % (name, line, column, _json_hint(text, error)),
                       file=name, line=line, column=column) from None
    except (ValueError, RecursionError) as error:
        hint = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise BadInput("%s line 1 column 1: not valid JSON: %s." % (name, hint), file=name, line=1, column=1) from None
    if not isinstance(data, dict):
        raise BadInput("%s line 1 column 1: expected one JSON object, found %s." % (name, type_name(data)),
                       file=name, line=1, column=1)
    return data


def _json_hint(text, error):
    before = text[:error.pos].rstrip()
    after = text[error.pos:error.pos + 1]
    if not text.strip():
        return "the file is empty."
    if before.endswith(",") and after in ("}", "]"):
        return "trailing comma before '%s'. Remove the comma." % after
    if error.msg.startswith("Illegal trailing comma"):  # Python 3.13 on
        return "trailing comma before the end of an object or list. Remove the comma."
    if after in ("/", "#"):
        return "comments are not allowed. Remove the comment."
    if after == "'":
        return "single quotes are not allowed. Use double quotes."
    return "%s." % _LOCATION.sub("", str(error))


def load_site(path):
    """Read one site.json. Raises BadInput with file, line and column; returns the raw dict in file order."""
    try:
        with open(path, "rb") as handle:
            data = handle.read()
    except FileNotFoundError:
        raise BadInput("%s does not exist. Name an existing site.json; a relative path counts from the directory of "
                       "the file that names it." % path, file=str(path)) from None
    except OSError as error:
        raise BadInput("%s cannot be read: %s." % (path, error.strerror), file=str(path)) from None
    return parse_bytes(data, path)


def parse_bytes(data, name):
    """Bytes of a site.json -> dict; see :func:`parse_site`."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise BadInput("%s line %d: not UTF-8 text. Save it as UTF-8." % (name, line),
                       file=str(name), line=line) from None
    return parse_site(text, str(name))


def dump(raw):
    """A site dict -> text as we write it: two spaces, key order kept, newline at the end."""
    return json.dumps(raw, indent=2, ensure_ascii=False) + "\n"


def digest(raw):
    """SHA-256 of the canonical JSON, so that layout and key order do not matter."""
    text = json.dumps(raw, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def write_site(path, raw):
    """Write a site dict atomically with mode 0600 (or the mode the file has, if it is stricter)."""
    directory, name = os.path.split(os.path.abspath(path))
    mode = 0o600
    if os.path.exists(path):
        mode &= os.stat(path).st_mode
    temporary = os.path.join(directory, ".%s.%d.new" % (name, os.getpid()))
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode or 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
            handle.write(dump(raw))
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise


# -- small readers that never fail on a wrong shape -------------------------------------------------------------------
def as_dict(value):
    return value if isinstance(value, dict) else {}


def names(value):
    """Strings of a list, in order, without repeats; anything else is empty."""
    return list(dict.fromkeys(v for v in value if isinstance(v, str))) if isinstance(value, list) else []


def type_name(value):
    if isinstance(value, bool):
        return "a boolean"
    return {dict: "an object", list: "a list", str: "a string", int: "a number", float: "a number",
            type(None): "null"}.get(type(value), type(value).__name__)


def path_text(path):
    """['svclist', 'mq', '_machlist', 0] -> 'svclist.mq._machlist[0]'; names with dots are quoted."""
    text = ""
    for element in path:
        if isinstance(element, int):
            text += "[%d]" % element
        elif "." in element or "[" in element or not element:
            text += '["%s"]' % element
        else:
            text += ("." if text else "") + element
    return text


def is_secret(path):
    """True when the value at this path (list of keys) must never be shown."""
    keys = [p for p in path if isinstance(p, str)]
    return any(_SECRET_KEY.search(key) for key in keys[-2:])


def shown(value, path=()):
    """A value for a message: secrets hidden, long ones cut."""
    if is_secret(path):
        return "a hidden value"
    if isinstance(value, (dict, list)) and value:
        return type_name(value)
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "..."


def service(site, role):
    return as_dict(as_dict(site.get("svclist")).get(role))


def machlist(site, role):
    """Hosts of a role in a normalised site."""
    return names(service(site, role).get("_machlist"))


def machines(site):
    return as_dict(site.get("machinfo"))


def address(site, host):
    value = as_dict(machines(site).get(host)).get("ip_address")
    return value if isinstance(value, str) else None


# -- shape ------------------------------------------------------------------------------------------------------------
def role_key(raw, role):
    """The key under which ``role`` is written in a raw file (``web_db`` or ``web-db``)."""
    svclist = as_dict(raw.get("svclist"))
    if role not in svclist:
        for spelling, canonical in SPELLINGS.items():
            if canonical == role and spelling in svclist:
                return spelling
    return role


def normalise(raw):
    """Raw -> normalised: roles with underscores, ops_email a list. Key order is kept; the input is not changed."""
    site = dict(raw)
    svclist = raw.get("svclist")
    if isinstance(svclist, dict):
        result = {}
        for role, value in svclist.items():
            role = SPELLINGS.get(role, role)
            if role not in result or role in svclist and svclist[role] is value:
                result[role] = value
        site["svclist"] = result
    if isinstance(raw.get("ops_email"), str):
        site["ops_email"] = [raw["ops_email"]]
    return site


def roles_of(site):
    """{host: [roles in run order]} of a normalised site, obsolete roles included."""
    result = {}
    known = as_dict(site.get("svclist"))
    ordered = [*STAGES, *(r for r in (*ROLES, *OBSOLETE_ROLES) if r not in STAGES)]
    for role in ordered:
        if role in known:
            for host in machlist(site, role):
                result.setdefault(host, []).append(role)
    return result


def run_order(site):
    """{host: stage} of a normalised site, stages 1 to 6 (web_db, ca, mq, web_frontend, api, rest).

    Source: Hooper run order of the installation manual (2021-06 on, valid for earlier ones). A host with several roles
    takes its earliest stage; a host of machinfo without a role runs last.
    """
    result = dict.fromkeys(machines(site), LAST_STAGE)
    for stage, role in reversed(list(enumerate(STAGES, 1))):
        for host in machlist(site, role):
            result[host] = stage
    for role in as_dict(site.get("svclist")):
        for host in machlist(site, role):
            result.setdefault(host, LAST_STAGE)
    return result


# -- who is where -----------------------------------------------------------------------------------------------------
def layout(sites):
    """Kind of a set of normalised sites: 'single', 'pair', 'pair_2019' (role lists of both sites in both files, no
    active_datacenter), 'unrelated' (several single sites) or 'many' (more than two related sites)."""
    files = list(sites.values())
    if len(files) == 1:
        return "single"
    related = any("active_datacenter" in f for f in files)
    hosts = [set(machines(f)) for f in files]
    shared = any(hosts[i] & hosts[j] for i in range(len(files)) for j in range(i))
    if len(files) > 2:
        return "many" if related or shared else "unrelated"
    if related:
        return "pair"
    if not shared:
        return "unrelated"
    for role in ROLES:
        if role not in SHARED_ROLES and role not in ("ca", "data_storage"):
            if set(machlist(files[0], role)) & set(machlist(files[1], role)):
                return "pair_2019"
    return "pair"


def _networks(site):
    result = []
    subnets = service(site, "web_db").get("allowed_subnets")
    for subnet in names(subnets):
        try:
            result.append(ipaddress.ip_network(subnet, strict=False))
        except ValueError:
            continue
    return sorted(result, key=lambda n: -n.prefixlen)


def placement(sites, hosts=None):
    """Which host belongs to which site: ({host: site}, [hosts nobody places]).

    No attribute says it. In this order: what the operator says (``hosts``: {site: [names]}); the role lists of each
    file except those that hold both sites; its connect_host and read_connect_host; the network (of allowed_subnets)
    that only hosts of one site use.
    """
    result, conflicts = {}, set()
    for site, listed in (hosts or {}).items():
        for host in listed or []:
            result[host] = site
    if len(sites) == 1:
        (only, data), = sites.items()
        for host in [*machines(data), *roles_of(data)]:
            result.setdefault(host, only)
        return result, []
    kind = layout(sites)
    told = dict(result)

    def place(host, site):
        if told.get(host):
            return
        if result.setdefault(host, site) != site:
            conflicts.add(host)

    if kind == "unrelated":
        for site, data in sites.items():
            for host in [*machines(data), *roles_of(data)]:
                place(host, site)
        return result, []
    for site, data in sites.items():
        for role in ("data_storage",) if kind == "pair_2019" else [r for r in ROLES if r not in SHARED_ROLES]:
            for host in machlist(data, role):
                place(host, site)
    connects = {}
    for site, data in sites.items():
        database = service(data, "web_db")
        for key in ("connect_host", "read_connect_host"):
            host = database.get(key)
            if isinstance(host, str) and host in machines(data):
                connects.setdefault(host, set()).add(site)
    for host, claims in connects.items():
        if host not in result and len(claims) == 1:
            result[host] = next(iter(claims))
    everyone = dict.fromkeys(host for data in sites.values() for host in [*machines(data), *roles_of(data)])
    missing = [host for host in everyone if host not in result]
    if missing:
        networks = sorted({n for data in sites.values() for n in _networks(data)}, key=lambda n: -n.prefixlen)

        def network(host):
            for data in sites.values():
                try:
                    ip = ipaddress.ip_address(address(data, host) or "")
                except ValueError:
                    continue
                return next((n for n in networks if ip in n), None)
            return None

        users = {}
        for host, site in result.items():
            users.setdefault(network(host), set()).add(site)
        for host in list(missing):
            there = network(host)
            if there is not None and len(users.get(there, ())) == 1:
                result[host] = next(iter(users[there]))
                missing.remove(host)
    return result, missing


def activity(sites, placed=None):
    """{site: {'active': True|False|None, 'rule': why}} of normalised sites, read from the files alone."""
    result = {}
    if placed is None:
        placed = placement(sites)[0]
    for name, data in sites.items():
        state = data.get("active_datacenter")
        if isinstance(state, bool):
            result[name] = {"active": state, "rule": "active_datacenter"}
        elif len(sites) == 1:
            result[name] = {"active": True, "rule": "single site"}
        elif layout(sites) == "unrelated":
            result[name] = {"active": True, "rule": "site of its own"}
        else:
            where = placed.get(service(data, "web_db").get("master"))
            result[name] = {"active": None if where is None else where == name, "rule": "web_db.master"}
    return result
