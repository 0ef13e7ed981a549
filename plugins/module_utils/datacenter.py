# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Everything a procedure wants to know of one host, read at once and within a deadline.

The parts run side by side in threads. A part that does not answer in time is missing from the answer and is named; the
others are complete.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os
import threading
import time

from ansible_collections.circonus.inside.plugins.module_utils import (
    address,
    ca,
    lock,
    repository,
    site_file,
    status_page,
    unit_state,
    web_db,
)
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError

KILLSWITCH = "/opt/circonus/var/chef-solo/killswitch"
CA_UNIT = "circonus-ca_processor"
# The argument spec of the module.
ARGUMENTS = dict(
    roles=dict(type="list", elements="str", default=[]),
    units=dict(type="list", elements="str"),
    paths=dict(type="list", elements="path", default=[]),
    client_address=dict(type="str"),
    status_url=dict(type="str", default="http://127.0.0.1/status"),
    status_https_url=dict(type="str"),
    status_host=dict(type="str"),
    status_ca_file=dict(type="path", default="/www/etc/ssl/ca.crt"),
    status_verify=dict(type="bool", default=True),
    web_db=dict(type="dict", default={}),
    site_path=dict(type="path", default=site_file.PATH),
    ca_path=dict(type="path", default=ca.PATH),
    lock_path=dict(type="path", default=lock.DEFAULT_PATH),
    killswitch_path=dict(type="path", default=KILLSWITCH),
    deadline_s=dict(type="float", default=10.0),
)


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
    """Read this host. ``params`` are those of the module datacenter_info. Returns its answer; raises BadInput."""
    if params.get("client_address"):
        address.split(params["client_address"])
    roles = set(params.get("roles") or [])
    deadline_s = float(params["deadline_s"])
    each = max(0.5, deadline_s - 1.0)

    def units():
        names = params.get("units")
        names = unit_state.installed_units(timeout=deadline_s) if names is None else list(names)
        if "ca" in roles and CA_UNIT not in names:
            names.append(CA_UNIT)
        return unit_state.show_units(names, timeout=deadline_s)

    parts = {
        "units": units,
        "site": lambda: site_file.read_summary(params["site_path"]),
        "space": lambda: read_space(params.get("paths") or []),
        "addresses": lambda: [entry for entry in address.addresses() if entry["interface"] != "lo"],
    }
    if "ca" in roles:
        held = os.path.join(params.get("state_dir") or ca.STATE_DIR, ca.HELD)
        parts["ca"] = lambda: dict(ca.summary(params["ca_path"]), held=os.path.exists(held))
    if "web_db" in roles:
        parts["web_db"] = lambda: web_db.collect(dict(params.get("web_db") or {}))
    if "web_frontend" in roles:
        parts["release"] = lambda: repository.installed_release(deadline_s)
        urls = [url for url in (params.get("status_url"), params.get("status_https_url")) if url]
        for number, url in enumerate(urls):
            parts["status%d" % number] = lambda url=url: status_page.read(
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
            "boot_id": unit_state.read_boot_id(),
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
