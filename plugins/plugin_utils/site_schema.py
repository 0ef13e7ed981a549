# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Structure of a site.json: schemas/site.schema.json through jsonschema, as findings a person can act on."""
from __future__ import annotations

import difflib
import functools
import json
import os
import re

from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput
from ansible_collections.circonus.inside.plugins.plugin_utils.site_data import (
    OBSOLETE_ROLES,
    as_dict,
    path_text,
    shown,
    type_name,
)

SCHEMA_FILE = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                            "..", "..", "schemas", "site.schema.json"))
# A list longer than this is looked at by the fast path first.
_LONG_LIST = 8
_TYPES = {"object": "an object", "array": "a list", "string": "a string", "integer": "a whole number",
          "number": "a number", "boolean": "true or false", "null": "null"}


@functools.lru_cache(maxsize=1)
def load_schema():
    """The schema as a dict."""
    with open(SCHEMA_FILE, encoding="utf-8") as handle:
        return json.load(handle)


@functools.lru_cache(maxsize=1)
def _validator():
    try:
        from jsonschema import Draft202012Validator
    except ImportError:
        raise BadInput("The Python library jsonschema (4.0 or newer) is needed to check site.json and is missing here. "
                       "Install it for the Python that runs Ansible: python -m pip install jsonschema") from None
    return Draft202012Validator(load_schema())


@functools.lru_cache(maxsize=1)
def _patterns():
    defs = load_schema()["$defs"]
    result = {name: re.compile(defs[name]["pattern"]).search for name in ("hostname", "ipv4", "uuid", "zfs_name")}
    result["longest"] = defs["hostname"]["maxLength"]
    return result


def _good_name(name):
    patterns = _patterns()
    return isinstance(name, str) and len(name) <= patterns["longest"] and patterns["hostname"](name) is not None


def _good_machine(machine):
    """True when the schema's ``machine`` certainly accepts it (hot path: thousands of entries)."""
    if not isinstance(machine, dict) or "ip_address" not in machine:
        return False
    patterns = _patterns()
    checks = {"ip_address": patterns["ipv4"], "node_id": patterns["uuid"], "zfs_dataset_base": patterns["zfs_name"]}
    for key, value in machine.items():
        check = checks.get(key)
        if check is None or not isinstance(value, str) or check(value) is None:
            return False
    return True


def _thin(value):
    """A copy without what is certainly right: good machinfo entries and the bulk of long, good host lists.

    jsonschema needs about 0.1 ms for an entry; the patterns of the same schema, used directly, a fiftieth.
    """
    if not isinstance(value, dict):
        return value
    result = dict(value)
    machinfo = value.get("machinfo")
    if isinstance(machinfo, dict) and len(machinfo) > _LONG_LIST:
        left = {k: v for k, v in machinfo.items() if not (_good_name(k) and _good_machine(v))}
        if not left:
            first = next(iter(machinfo))
            left = {first: machinfo[first]}
        result["machinfo"] = left
    svclist = value.get("svclist")
    if isinstance(svclist, dict):
        result["svclist"] = {role: _thin_role(entry) for role, entry in svclist.items()}
    return result


def _thin_role(entry):
    if not isinstance(entry, dict):
        return entry
    result = entry
    for key, value in entry.items():
        if (isinstance(value, list) and len(value) > _LONG_LIST and all(_good_name(v) for v in value)
                and len(set(value)) == len(value)):
            if result is entry:
                result = dict(entry)
            result[key] = value[:2]
    return result


def check(raw):
    """Structure findings of one raw site: list of {id, severity, path, expected, found, message, remedy}.

    Unknown attributes (S-02) come as warnings; the caller raises them when strict. Raises BadInput without jsonschema.
    """
    result, seen = [], set()
    for error in _validator().iter_errors(_thin(raw)):
        for item in _explain(error, [], raw):
            key = (item["id"], item["path"], item["message"])
            if key not in seen:
                seen.add(key)
                result.append(item)
    return result


def _item(ident, path, message, remedy, expected, found, severity="error"):
    return {"id": ident, "severity": severity, "path": path_text(path) or "(top level)", "message": message,
            "remedy": remedy, "expected": expected, "found": found}


def _missing(path, name, owner=None):
    where = path_text(path)
    return _item("S-01", [*path, name], "%s is missing%s" % (name, " in %s" % where if where else ""),
                 "Add %s." % path_text([*path, name]), "present" if owner is None else owner, "absent")


def _unknown(path, name, known):
    where = path_text(path)
    if path == ["svclist"] and (name in OBSOLETE_ROLES or name.startswith("logstream")):
        return None  # the rules report it as an obsolete role
    near = difflib.get_close_matches(name, [k for k in known if k != name], n=1, cutoff=0.75)
    what = "role" if path == ["svclist"] else "attribute"
    remedy = "Write %s if that is meant, else remove it." % near[0] if near else \
        "Remove it, or keep it if support asked for it."
    return _item("S-02", [*path, name], "unknown %s %s%s" % (what, name, " in %s" % where if where else ""), remedy,
                 "a documented %s" % what, name, severity="warning")


def _required_names(schema):
    return [n for part in schema for n in as_dict(part).get("required", [])]


def _value(root, path):
    for element in path:
        root = root[element]
    return root


def _wrong(error, path, raw, expected):
    try:
        value = _value(raw, path)
    except (KeyError, IndexError, TypeError):
        value = error.instance
    found = shown(value, path)
    return _item("S-03", path, "%s is %s, expected %s" % (path_text(path) or "the file", found, expected),
                 "Write %s." % expected, expected, found)


def _explain(error, prefix, raw):
    """One jsonschema error -> findings; branches of oneOf and anyOf are reduced to the one that was meant."""
    path = [*prefix, *error.path]
    kind = error.validator
    schema = error.schema if isinstance(error.schema, dict) else {}
    if kind == "required":
        return [_missing(path, name) for name in error.validator_value if name not in error.instance]
    if kind == "dependentRequired":
        result = []
        for trigger, needed in error.validator_value.items():
            if trigger in error.instance:
                for name in needed:
                    if name not in error.instance:
                        result.append(_item(
                            "S-01", [*path, name], "%s is missing: it goes with %s" % (name, trigger),
                            "Add %s or remove %s." % (path_text([*path, name]), path_text([*path, trigger])),
                            "present with %s" % trigger, "absent"))
        return result
    if kind == "additionalProperties":
        known = list(schema.get("properties", {}))
        unknown = (_unknown(path, name, known) for name in error.instance if name not in known)
        return [item for item in unknown if item]
    if kind == "propertyNames" or "propertyNames" in error.schema_path:
        name = error.instance
        return [_item("S-03", [*path, str(name)], "%s is not a host name" % shown(name),
                      "Use letters, digits, dots and hyphens.", "a host name", shown(name))]
    if kind in ("oneOf", "anyOf"):
        return _explain_choice(error, path, raw)
    if kind == "not":
        return _explain_not(error, path)
    if kind == "uniqueItems":
        twice = sorted({shown(v) for v in error.instance if error.instance.count(v) > 1})
        return [_item("S-03", path, "%s lists %s twice" % (path_text(path), ", ".join(twice)), "List it once.",
                      "no repeats", ", ".join(twice))]
    if kind in ("minItems", "minProperties"):
        return [_item("S-03", path, "%s is empty" % path_text(path), "Add at least one entry.", "one entry or more",
                      "none")]
    if kind == "type":
        kinds = error.validator_value if isinstance(error.validator_value, list) else [error.validator_value]
        expected = schema.get("description") if len(kinds) > 1 or "pattern" in schema else None
        expected = expected or " or ".join(_TYPES[k] for k in kinds)
        return [_wrong(error, path, raw, expected)]
    if kind in ("enum", "const"):
        values = error.validator_value if kind == "enum" else [error.validator_value]
        return [_wrong(error, path, raw, " or ".join(json.dumps(v) for v in values))]
    expected = schema.get("description") or "a value that fits %s %s" % (kind, error.validator_value)
    return [_wrong(error, path, raw, expected)]


def _explain_choice(error, path, raw):
    options = error.validator_value
    needed = _required_names(options)
    if needed and all(set(as_dict(o)) <= {"required"} for o in options):
        if not isinstance(error.instance, dict):
            return []  # its type is another finding
        present = [n for n in needed if n in error.instance]
        if len(present) > 1:
            return [_both(path, present)]
        if path == ["svclist"]:
            return [_missing(path, needed[0])]
        return [_item("S-01", [*path, needed[0]], "%s is missing in %s" % (" or ".join(needed), path_text(path)),
                      "Add %s." % path_text([*path, needed[0]]), "one of %s" % ", ".join(needed), "absent")]
    branches = {}
    for inner in error.context:
        branches.setdefault(inner.schema_path[0], []).append(inner)
    fitting = [inner for inner in branches.values()
               if not any(e.validator in ("type", "const") and not e.path for e in inner)]
    expected = as_dict(error.schema).get("description")
    if len(fitting) == 1 and (isinstance(error.instance, (dict, list)) or not expected):
        return [item for inner in fitting[0] for item in _explain(inner, path, raw)]
    return [_wrong(error, path, raw, expected or " or ".join(
        _TYPES.get(as_dict(o).get("type"), "another form") for o in options))]


def _both(path, present):
    return _item("S-04", [*path, present[-1]], "%s are both present in %s" % (" and ".join(present), path_text(path)),
                 "Keep %s and remove %s." % (present[0], " and ".join(present[1:])), "one of them", "both")


def _explain_not(error, path):
    if not isinstance(error.instance, dict):
        return []
    present = as_dict(error.validator_value).get("required", [])
    if len(present) > 1:
        return [_both(path, present)]
    name = present[0] if present else "?"
    return [_item("S-04", [*path, name], "%s is present, but active_datacenter is absent (one datacenter)" % name,
                  "Remove %s, or add active_datacenter to the file of each site." % path_text([*path, name]),
                  "absent with one datacenter", type_name(error.instance.get(name)))]
