# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Everything a procedure wants to know of one host, read at once and within a deadline.

The parts run side by side in threads. A part that does not answer in time is missing from the answer and is named; the
others are complete.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os
import re
import ssl
import threading
import time

try:
    from urllib.error import HTTPError, URLError
    from urllib.request import HTTPRedirectHandler, HTTPSHandler, ProxyHandler, Request, build_opener
except ImportError:  # not on a target that this collection supports; keeps documentation tools on old Pythons working
    HTTPError = URLError = Request = build_opener = None
    HTTPRedirectHandler = HTTPSHandler = ProxyHandler = object

from ansible_collections.circonus.inside.plugins.module_utils import (
    address,
    ca,
    lock,
    repository,
    service,
    site_file,
    web_db,
)
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError

KILLSWITCH = "/opt/circonus/var/chef-solo/killswitch"
CA_UNIT = "circonus-ca_processor"
_BLIND = re.compile(r"<!--.*?-->|<(script|style)\b.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<[^>]*>", re.DOTALL)
_WORD = re.compile(r"(?<![\w-])(ACTIVE|STANDBY)(?![\w-])")


def parse_status(page):
    """State of a datacenter from the text of ``/status``: ACTIVE, STANDBY or unknown. Pure.

    Source: on-premises documentation, backup datacenter. The page is only known to contain one of the two words, so
    markup is removed and a whole word in capitals is wanted; neither or both is unknown.
    """
    words = set(_WORD.findall(_TAG.sub(" ", _BLIND.sub(" ", page))))
    return words.pop() if len(words) == 1 else "unknown"


class _NoRedirect(HTTPRedirectHandler):
    """A redirect could lead to the portal name and so to the other site; it is an answer, not a way."""

    def redirect_request(self, *unused, **also_unused):
        return None


def read_status(url, timeout=3.0, host=None, ca_file=None, verify=True):
    """Ask one web frontend for its state.

    host: Host header, when the frontend wants the portal name. ca_file: certificate of the private CA for https. verify
    false accepts any certificate. The name in the certificate is never compared, frontends are asked by address.
    Returns ``{"url", "state": "ACTIVE"|"STANDBY"|"unknown", "http_status": int or None, "error": str}``; never raises.
    """
    answer = {"url": url, "state": "unknown", "http_status": None, "error": ""}
    try:
        handlers = [ProxyHandler({}), _NoRedirect()]
        if url.startswith("https:"):
            context = ssl.create_default_context(cafile=ca_file if verify else None)
            context.check_hostname = False
            if not verify:
                context.verify_mode = ssl.CERT_NONE
            handlers.append(HTTPSHandler(context=context))
        request = Request(url, headers={"Host": host} if host else {})
        reply = build_opener(*handlers).open(request, timeout=timeout)
        try:
            answer["http_status"] = reply.getcode()
            answer["state"] = parse_status(reply.read(262144).decode("utf-8", "replace"))
        finally:
            reply.close()
        if answer["state"] == "unknown":
            answer["error"] = "expected the word ACTIVE or STANDBY on the page, found neither or both"
    except HTTPError as exc:
        answer["http_status"] = exc.code
        answer["error"] = "expected a page, found HTTP status {0}".format(exc.code)
        exc.close()
    except (URLError, OSError, ValueError) as exc:
        answer["error"] = str(getattr(exc, "reason", None) or exc)
    return answer


def role_of(document, name):
    """Attributes of a role in a site.json, whichever spelling the file uses. Empty when the role is not there."""
    roles = document.get("svclist")
    roles = roles if isinstance(roles, dict) else {}
    value = roles.get(name, roles.get(name.replace("_", "-"), {}))
    return value if isinstance(value, dict) else {}


def summarise_site(document):
    """The few values of an installed site.json that tell which site is meant to be active; no secrets. Pure."""
    web_db = role_of(document, "web_db")
    return {
        "present": True,
        "sha256": site_file.canonical_sha256(document),
        "active_datacenter": document.get("active_datacenter"),
        "ca_primary": role_of(document, "ca").get("primary"),
        "web_db_master": web_db.get("master"),
        "web_db_connect_host": web_db.get("connect_host"),
        "secondary_cluster": role_of(document, "data_storage").get("secondary_cluster"),
        "error": "",
    }


def read_site(path):
    """:func:`summarise_site` of the file at ``path``; a missing or broken file is an answer too."""
    nothing = dict.fromkeys(
        ("active_datacenter", "ca_primary", "web_db_master", "web_db_connect_host", "secondary_cluster")
    )
    if not os.path.exists(path):
        return dict(nothing, present=False, sha256="", error="{0} is missing".format(path))
    try:
        return summarise_site(site_file.load(path))
    except (InsideError, ValueError, IOError, OSError) as exc:
        return dict(nothing, present=True, sha256="", error=str(exc))


def read_space(paths):
    """``{path: {"free_bytes", "total_bytes", "error"}}`` of the file systems below ``paths``."""
    result = {}
    for path in paths:
        try:
            info = os.statvfs(path)
            result[path] = {
                "free_bytes": info.f_bavail * info.f_frsize,
                "total_bytes": info.f_blocks * info.f_frsize,
                "error": "",
            }
        except OSError as exc:
            result[path] = {"free_bytes": 0, "total_bytes": 0, "error": exc.strerror}
    return result


def read_boot_id():
    """Identity of the running boot; changes with a restart of the host."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as handle:
            return handle.read().strip()
    except (IOError, OSError):
        return ""


def read_lock(path, now):
    """Record of the procedure lock with ``expired`` (bool), or ``{}``; a damaged one is told as such."""
    try:
        record = lock.read(path)
        return dict(record, expired=lock.is_expired(record, now)) if record else {}
    except InsideError as exc:
        return {"error": str(exc)}


def side_by_side(parts, deadline_s):
    """Run ``parts`` (name to function without arguments) in threads until the deadline.

    Returns ``(results, problems)``: results by name of those that came back, and one sentence by name for each that
    raised or did not come back.
    """
    results, problems = {}, {}

    def work(name, function):
        try:
            results[name] = function()
        except InsideError as exc:
            problems[name] = str(exc)
        except Exception as exc:
            problems[name] = "{0}: {1}".format(type(exc).__name__, exc)

    deadline = time.time() + deadline_s
    threads = {}
    for name in sorted(parts):
        threads[name] = threading.Thread(target=work, args=(name, parts[name]))
        threads[name].daemon = True
        threads[name].start()
    for name in sorted(threads):
        threads[name].join(max(0.0, deadline - time.time()))
        if threads[name].is_alive():
            problems[name] = "no answer within {0:g} s".format(deadline_s)
    # A late thread may still write: hand out copies without what it was too late for.
    return dict((name, results[name]) for name in list(results) if name not in problems), dict(problems)


def collect(params):
    """Read this host. ``params`` are those of the module datacenter_info. Returns its answer."""
    roles = set(params.get("roles") or [])
    deadline_s = float(params["deadline_s"])
    each = max(0.5, deadline_s - 1.0)

    def units():
        names = params.get("units")
        names = service.installed_units(timeout=deadline_s) if names is None else list(names)
        if "ca" in roles and CA_UNIT not in names:
            names.append(CA_UNIT)
        return service.show_units(names, timeout=deadline_s)

    parts = {
        "units": units,
        "site": lambda: read_site(params["site_path"]),
        "space": lambda: read_space(params.get("paths") or []),
        "addresses": lambda: [entry for entry in address.addresses() if entry["interface"] != "lo"],
    }
    if "ca" in roles:
        parts["ca"] = lambda: ca.summary(params["ca_path"])
    if "web_db" in roles:
        parts["web_db"] = lambda: web_db.collect(dict(params.get("web_db") or {}))
    if "web_frontend" in roles:
        parts["release"] = lambda: repository.installed_release(deadline_s)
        urls = [url for url in (params.get("status_url"), params.get("status_https_url")) if url]
        for number, url in enumerate(urls):
            parts["status%d" % number] = lambda url=url: read_status(
                url, each, params.get("status_host"), params.get("status_ca_file"), params.get("status_verify", True)
            )
    results, problems = side_by_side(parts, deadline_s)
    answers = [results.pop(name) for name in sorted(results) if name.startswith("status")]
    states = set(answer["state"] for answer in answers)
    if "ca" in results:
        results["ca"]["processor"] = results.get("units", {}).get(CA_UNIT, {}).get("active", "unknown")
    results.update(
        {
            "status": {"state": states.pop() if len(states) == 1 else "unknown", "answers": answers},
            "lock": read_lock(params["lock_path"], time.time()),
            "killswitch": os.path.exists(params["killswitch_path"]),
            "clock": time.time(),
            "boot_id": read_boot_id(),
            "hostname": os.uname()[1],
            "missing": problems,
        }
    )
    if params.get("client_address"):
        wanted = address.split(params["client_address"])[0]
        results["client_address"] = address.locate(results.get("addresses", []), wanted) is not None
    else:
        results["client_address"] = None
    results.setdefault("release", None)
    for name, empty in (("units", {}), ("site", {}), ("space", {}), ("addresses", []), ("ca", {}), ("web_db", {})):
        results.setdefault(name, empty)
    return results
