# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The installed site.json of a host: read it, compare it, change single attributes of it.

Hooper loads every file that matches ``site*.json`` in the data bag directory, so a backup must not match that pattern.
"""
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import copy
import fnmatch
import hashlib
import json
import os

from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput, InsideError, Refused

PATH = "/opt/circonus/var/chef-solo/data_bags/service_map/site.json"
SPELLINGS = {
    "web_db": "web-db",
    "web_frontend": "web-frontend",
    "web_stream": "web-stream",
    "fault_detection": "fault-detection",
}


def canonical_sha256(document):
    """Digest (hex) of a JSON document that does not depend on white space or on the order of keys."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def dump(document):
    """The text that is written to disk; keys keep their order."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def edit(document, changes):
    """A copy of ``document`` with attributes replaced.

    ``changes`` maps a path such as ``svclist.web_db.master`` to its new value. The parent of an attribute must exist;
    the spelling of a role that the document uses is kept (web_db or web-db). Raises BadInput for an unknown parent.
    """
    result = copy.deepcopy(document)
    for path in sorted(changes):
        parts = path.split(".")
        node = result
        for part in parts[:-1]:
            if not isinstance(node, dict):
                raise BadInput("Expected an object above %s in site.json, found %s." % (path, type(node).__name__))
            if part not in node and SPELLINGS.get(part) in node:
                part = SPELLINGS[part]
            if part not in node:
                raise BadInput("Expected %s in site.json to set %s; it is not there." % (part, path))
            node = node[part]
        node[parts[-1]] = changes[path]
    return result


def load(path):
    """Parse the file. Raises Refused when it is missing or is not a JSON object."""
    try:
        with open(path, "rb") as handle:
            document = json.loads(handle.read().decode("utf-8"))
    except (IOError, OSError) as error:
        raise Refused("Expected the file %s on this host; found: %s. Distribute it first." % (path, error.strerror))
    except ValueError as error:
        raise Refused("Expected JSON in %s, found: %s." % (path, error))
    if not isinstance(document, dict):
        raise Refused("Expected a JSON object in %s, found %s." % (path, type(document).__name__))
    return document


def role_of(document, name):
    """Attributes of a role in a site.json, whichever spelling the file uses. Empty when the role is not there."""
    roles = document.get("svclist")
    roles = roles if isinstance(roles, dict) else {}
    value = roles.get(name, roles.get(name.replace("_", "-"), {}))
    return value if isinstance(value, dict) else {}


def summarise(document):
    """The few values of an installed site.json that tell which site is meant to be active; no secrets. Pure."""
    web_db = role_of(document, "web_db")
    return {
        "present": True,
        "sha256": canonical_sha256(document),
        "active_datacenter": document.get("active_datacenter"),
        "ca_primary": role_of(document, "ca").get("primary"),
        "web_db_master": web_db.get("master"),
        "web_db_connect_host": web_db.get("connect_host"),
        "secondary_cluster": role_of(document, "data_storage").get("secondary_cluster"),
        "error": "",
    }


def read_summary(path):
    """:func:`summarise` of the file at ``path``; a missing or broken file is an answer too."""
    nothing = dict.fromkeys(
        ("active_datacenter", "ca_primary", "web_db_master", "web_db_connect_host", "secondary_cluster")
    )
    if not os.path.exists(path):
        return dict(nothing, present=False, sha256="", error="{0} is missing".format(path))
    try:
        return summarise(load(path))
    except (InsideError, ValueError, IOError, OSError) as exc:
        return dict(nothing, present=True, sha256="", error=str(exc))


def strays(path):
    """Other files of the directory that Hooper would load as well."""
    directory, name = os.path.split(path)
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return []
    return [entry for entry in names if entry != name and fnmatch.fnmatch(entry, "site*.json")]


def write(path, document):
    """Replace the file durably, owner and mode kept; the previous text stays beside it as ``.previous-site``."""
    backup = os.path.join(os.path.dirname(path), ".previous-site")
    stat = os.stat(path)
    with open(path, "rb") as handle:
        old = handle.read()
    for target, data in ((backup, old), (path, dump(document).encode("utf-8"))):
        temporary = "%s.new" % os.path.join(os.path.dirname(target), "." + os.path.basename(target).lstrip("."))
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(data)
            handle.flush()
            os.fchmod(handle.fileno(), stat.st_mode & 0o7777)
            os.fchown(handle.fileno(), stat.st_uid, stat.st_gid)
            os.fsync(handle.fileno())
        os.rename(temporary, target)
    directory = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
