# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The state of everything that the roles of one host consist of, read at once and judged.

The readers run side by side within a deadline (:mod:`host_check_gather`). The verdicts are pure functions of what was
read and of the catalogue entries. What could not be read is told, never guessed: a verdict about it is None.

Ansible sends a module as source text, which every run compiles anew, so what only some hosts need is imported where it
is used: reading libraries was the largest part of a call.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os
import re
import time

from ansible_collections.circonus.inside.plugins.module_utils import (
    host_check_gather,
    host_check_parse,
    host_check_read,
    http_page,
    site_file,
    unit_state,
)
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput

# Seconds between two looks, seconds that count as recent, restarts that make a loop, seconds for one page, bytes read
# from the end of a log, lines quoted of it.
THRESHOLDS = {
    "watch_s": 0.1,
    "recent_s": 600.0,
    "restarts": 3,
    "endpoint_s": 5.0,
    "log_bytes": 65536,
    "log_lines": 5,
}
# A watchdog starts its child at once; later than that, it was not the first child.
CHILD_SLACK_S = 10.0
# Kept of the deadline to put the answer together.
RESERVE_S = 0.3
COMM_LENGTH = 15
PKI_KINDS = ("ca", "cert", "key", "crl", "keystore")
# The argument spec of the module.
ARGUMENTS = dict(
    entries=dict(type="list", elements="dict", required=True),
    expect_stopped=dict(type="list", elements="str", default=[]),
    paths=dict(type="list", elements="path", default=[]),
    reference_epoch=dict(type="float"),
    clock_offset_s=dict(type="float", default=0.0),
    thresholds=dict(type="dict", default={}),
    web_db=dict(type="dict", default={}),
    mq=dict(type="dict", default={}),
    status_url=dict(type="str", default="http://127.0.0.1/status"),
    status_https_url=dict(type="str"),
    status_host=dict(type="str"),
    status_ca_file=dict(type="path", default="/www/etc/ssl/ca.crt"),
    status_verify=dict(type="bool", default=True),
    site_path=dict(type="path", default=site_file.PATH),
    deadline_s=dict(type="float", default=10.0),
)


# ---- units -----------------------------------------------------------------------------------------------------


def choose_units(entry, states, stopped=False):
    """Which unit stands for each unit of an entry on this host, and whether it should run. Pure.

    states: answer of :func:`unit_state.show_units`, None when it could not be read. stopped: the role is kept stopped
    here. Returns ``[{"id", "names", "unit", "state", "expected", "spec"}, ...]`` in start order; names: what it may be
    called; unit and state: None when the host has none; expected: ``up``, ``down``, ``any``, or None when that cannot
    be told. A unit that is absent and not required, or switched off, or whose alternative runs, may be as it is.
    """
    chosen = []
    for spec in entry.get("units") or []:
        name = next((name for name in spec["candidates"] if (states or {}).get(name, {}).get("exists")), None)
        state = states[name] if name else None
        expected = "up"
        if stopped:
            expected = "down"
        elif states is None:
            expected = None
        elif state is None:
            expected = "up" if spec.get("required") else "any"
        elif state and spec.get("enabled_only") and state["active"] in unit_state.DOWN_STATES \
                and state["enabled"] not in ("enabled", "static"):
            expected = "any"
        chosen.append(
            {"id": spec["id"], "names": list(spec["candidates"]), "unit": name, "state": state, "expected": expected,
             "spec": spec}
        )
    for item in chosen:
        other = item["spec"].get("alternative_to")
        if not other or stopped or states is None:
            continue
        group = [one for one in chosen if one["id"] == other or one["spec"].get("alternative_to") == other]
        there = [one for one in group if one["state"]]
        runs = any(one["state"]["active"] == "active" for one in there)
        for one in group:
            if there and not one["state"] or runs and one["state"]["active"] in unit_state.DOWN_STATES:
                one["expected"] = "any"
    return chosen


def unit_item(item, open_ports, silent, now, gone_pids, limits):
    """The answer about one unit. Pure.

    item: of :func:`choose_units`. open_ports: TCP ports that somebody listens on. silent: sentence about the endpoint
    that is its sign of life, empty when that is well. now: epoch of the host. gone_pids: of :func:`gone`.
    """
    state = item["state"]
    answer = {
        "id": item["id"], "unit": item["unit"], "present": state is not None, "active": None, "sub": None,
        "enabled": None, "pid": None, "restarts": None, "since_epoch": None, "age_s": None, "up": False, "missing": "",
        "expected": item["expected"], "loop": False, "loop_detail": "",
    }
    if state is None:
        answer["missing"] = "expected the unit {0}, this host has none".format(" or ".join(item["names"]))
        return answer
    for key in ("active", "sub", "enabled", "restarts", "since_epoch"):
        answer[key] = state[key]
    answer["pid"] = state["pid"] or None
    wanted = {"unit": item["unit"], "ports": item["spec"].get("ports") or []}
    answer["missing"] = unit_state.is_up(wanted, {item["unit"]: state}, open_ports) or silent
    answer["up"] = not answer["missing"]
    if state["since_epoch"] is not None:
        answer["age_s"] = round(now - state["since_epoch"], 1)
    answer["loop_detail"] = restart_loop(state, now, gone_pids, limits)
    answer["loop"] = bool(answer["loop_detail"])
    return answer


def unknown_unit(item, why):
    """The answer about a unit whose state could not be read. Pure."""
    return {
        "id": item["id"], "unit": None, "present": None, "active": None, "sub": None, "enabled": None, "pid": None,
        "restarts": None, "since_epoch": None, "age_s": None, "up": None, "missing": why, "expected": item["expected"],
        "loop": None, "loop_detail": "",
    }


def restart_loop(state, now, gone_pids, limits):
    """Why a unit seems to be restarted over and over, as text; empty when it does not. Pure.

    systemd before 235 does not count restarts; there only a unit that is just waiting for its next start, or whose
    process ends while it is looked at, can be told.
    """
    if state["sub"] == "auto-restart":
        return "waits for its next start after {0} restarts".format(state["restarts"])
    if state["active"] == "active" and state["pid"] in gone_pids:
        return "its process {0} ended while it was looked at".format(state["pid"])
    recent = state["since_epoch"] is not None and now - state["since_epoch"] < limits["recent_s"]
    if state["restarts"] >= limits["restarts"] and (recent or state["active"] == "activating"):
        since = "" if state["since_epoch"] is None else ", the last {0:.0f} s ago".format(
            max(0.0, now - state["since_epoch"]))
        return "systemd restarted it {0} times{1}".format(state["restarts"], since)
    return ""


# ---- processes -------------------------------------------------------------------------------------------------


def gone(look):
    """Ids of the processes that were there at the first look and not at the second. Pure."""
    later = set((item["pid"], item["start_ticks"]) for item in look["later"])
    return set(item["pid"] for item in look["processes"] if (item["pid"], item["start_ticks"]) not in later)


def is_program(process, program):
    """True when a process runs ``program``, by the name of the kernel (15 characters) or of its first argument."""
    return process["comm"] == program[:COMM_LENGTH] or process["name"] == program


def members_of(processes, unit, main_pid):
    """Processes that belong to a unit: those of its control group, else its main process and what descends of it."""
    found = dict((item["pid"], item) for item in processes if unit and item["unit"] == unit)
    if main_pid and main_pid not in found:
        table = dict((item["pid"], item) for item in processes)
        wanted = set([main_pid]) if main_pid in table else set()
        before = -1
        while len(wanted) != before:
            before = len(wanted)
            wanted |= set(item["pid"] for item in processes if item["ppid"] in wanted)
        found.update((pid, table[pid]) for pid in wanted)
    return found


def same_program(members, main_pid, program=None):
    """Those of ``members`` (by process id) that run ``program``, by default that of the main or the oldest process."""
    if not members:
        return {}
    if program:
        return dict((pid, item) for pid, item in members.items() if is_program(item, program))
    first = members.get(main_pid) or min(members.values(), key=lambda item: (item["start_ticks"], item["pid"]))
    return dict((pid, item) for pid, item in members.items()
                if item["comm"] == first["comm"] or first["name"] and item["name"] == first["name"])


def pair_item(identity, members, main_pid, look, watchdog, limits, expected="up", what=None):
    """The answer about a process, or a parent and child of the same program. Pure.

    members: processes of the program by process id. look: of :func:`host_check_read.look_twice`. what: its name in
    sentences. Returns ``{"id", "parent", "child", "restarts", "ok", "detail"}``; restarts: how many ends of the child
    can be seen now.
    """
    what = what or identity
    answer = {"id": identity, "parent": None, "child": None, "restarts": 0, "ok": True, "detail": ""}
    order = sorted(members.values(), key=lambda item: (item["start_ticks"], item["pid"]))
    parent = members.get(main_pid) or next((item for item in order if item["ppid"] not in members), None)
    while parent and parent["ppid"] in members:
        parent = members[parent["ppid"]]
    if parent is None:
        if expected == "up":
            answer.update(ok=False, detail="expected a process of {0}, found none".format(what))
        return answer
    answer["parent"] = parent["pid"]
    children = [item for item in order if item["ppid"] == parent["pid"]]
    child = children[0] if children else None
    answer["child"] = child["pid"] if child and watchdog else None
    if expected == "down":
        answer.update(ok=False, detail="expected it stopped, found the process {0} of {1}".format(parent["pid"], what))
        return answer
    left = gone(look)
    ended = [item["pid"] for item in (parent, child if watchdog else None) if item and item["pid"] in left]
    if ended:
        fresh = [item["pid"] for item in look["later"]
                 if item["ppid"] == parent["pid"] and item["comm"] == parent["comm"]]
        follow = ", now it is {0}".format(min(fresh)) if fresh and parent["pid"] not in ended else ""
        answer.update(restarts=1, ok=False, detail="the process {0} of {1} ended within {2:g} s{3}".format(
            ended[0], what, look["watch_s"], follow))
        return answer
    if not watchdog:
        return answer
    if child is None:
        answer.update(ok=False, detail="expected a parent and a child of {0}, found the process {1} alone".format(
            what, parent["pid"]))
        return answer
    age = look["boot_s"] - child["start_ticks"] / float(look["ticks"])
    delay = (child["start_ticks"] - parent["start_ticks"]) / float(look["ticks"])
    if delay > CHILD_SLACK_S:
        answer["restarts"] = 1
        answer["detail"] = "the watchdog of {0} started the child {1} again {2:.0f} s ago".format(
            what, child["pid"], max(0.0, age))
        answer["ok"] = age >= limits["recent_s"]
    return answer


def unknown_pair(identity, why):
    """The answer about processes that could not be read. Pure."""
    return {"id": identity, "parent": None, "child": None, "restarts": None, "ok": None, "detail": why}


def matching(processes, text):
    """Processes whose command line contains ``text``, by process id, without this module and its parents. Pure."""
    return dict((item["pid"], item) for item in processes if text in item["command"] and not item.get("own"))


# ---- ports -----------------------------------------------------------------------------------------------------


def ports_of(entry):
    """Ports of an entry as ``[{"port", "proto", "unit", "bind"}, ...]``: its list, its consoles, those of its units.

    Ranges are information only and left out. Pure.
    """
    found = {}
    listed = list(entry.get("ports") or []) + list(entry.get("consoles") or [])
    for unit in entry.get("units") or []:
        listed += [{"port": port, "unit": unit["id"]} for port in unit.get("ports") or []]
    listed += [{"port": item["port"], "unit": item["id"]} for item in entry.get("processes") or [] if item.get("port")]
    for item in listed:
        if str(item.get("port")).isdigit():
            key = (int(item["port"]), item.get("proto") or "tcp")
            new = {"port": key[0], "proto": key[1], "unit": None, "bind": None, "required": True}
            kept = found.setdefault(key, new)
            for name in ("unit", "bind"):
                kept[name] = kept[name] or item.get(name)
            kept["required"] = kept["required"] and item.get("required", True) and not item.get("optional")
    return [found[key] for key in sorted(found)]


def port_item(port, listening, holders, units, process_pids, unknown=""):
    """The answer about one port. Pure.

    port: of :func:`ports_of`. listening: its sockets. holders: ``[process or None, ...]`` of these sockets. units: of
    :func:`choose_units`. process_pids: ``{process id of the catalogue: set of pids}``. unknown: why owners could not
    be read. ok: None when that cannot be told.
    """
    spec = next((item for item in units if item["id"] == port["unit"]), None)
    names, expected, expected_unit = [], "up", None
    if spec:
        group = [spec] + [item for item in units if item is not spec and (
            item["spec"].get("alternative_to") == spec["id"] or spec["spec"].get("alternative_to") == item["id"])]
        names = [name for item in group for name in ([item["unit"]] if item["unit"] else item["names"])]
        running = [item for item in group if item["expected"] == "up"]
        chosen = (running or [spec])[0]
        expected, expected_unit = chosen["expected"], chosen["unit"]
    known = [item for item in holders if item]
    right = [item for item in known if _owned(item, names, process_pids.get(port["unit"]))]
    wrong = [item for item in known if item not in right]
    judged = bool(names) or port["unit"] in process_pids
    owner = (wrong if judged and wrong else known or [None])[0]
    answer = {
        "port": port["port"], "proto": port["proto"], "listening": bool(listening),
        "owner": owner["name"] or owner["comm"] if owner else None,
        "owner_pid": owner["pid"] if owner else None,
        "owner_unit": owner["unit"] if owner else None,
        "expected_unit": expected_unit,
        "bound": host_check_parse.bound([item["address"] for item in listening]) if listening else None,
        "bind_ok": None, "ok": True, "detail": "",
    }
    if listening and port["bind"] in ("any", "local"):
        answer["bind_ok"] = (answer["bound"] == "local") == (port["bind"] == "local")
    place = "{0}/{1}".format(port["port"], port["proto"])
    wanted = expected_unit or " or ".join(names) or port["unit"] or "a service"
    if not listening:
        if expected in ("up", None) and port["required"]:
            answer.update(ok=False if expected else None,
                          detail="expected {0} on {1}, nothing listens".format(wanted, place))
        return answer
    who = ""
    if owner:
        who = "{0} (pid {1}, {2})".format(answer["owner"], owner["pid"], owner["unit"] or "no unit")
    if expected == "down":
        if right or not known:
            answer.update(ok=False, detail="expected {0} stopped, found {1} on {2}".format(
                wanted, who or "a listener", place))
    elif expected == "any":
        if wrong:
            answer["detail"] = "{0} is not in use here, {1} has {2}".format(wanted, who, place)
    elif judged and not known:
        answer.update(ok=None, detail="the owner of {0} is unknown: {1}".format(
            place, unknown or "no process shows it"))
    elif judged and wrong and not right and all(item["pid"] == 1 for item in wrong):
        # systemd listens for a unit that it starts with the first connection.
        answer.update(ok=None, detail="init holds {0}, for whom cannot be told".format(place))
    elif judged and wrong and not port["required"]:
        answer["detail"] = "{0} may use {1}, {2} has it".format(wanted, place, who)
    elif judged and wrong:
        answer.update(ok=False, detail="expected {0} on {1}, found {2}".format(wanted, place, who))
    return answer


def _owned(process, names, pids):
    return process["unit"] in names or bool(pids) and process["pid"] in pids


# ---- pages -----------------------------------------------------------------------------------------------------


def endpoints_of(entry):
    """Pages of an entry in one form, ``[{"id", "port", "path", "tls", "status", "sections", "unit", "header"}, ...]``.

    An entry may name a ``url`` instead of port and path. Paths with a placeholder are for people and left out. Pure.
    """
    units = dict((item["port"], item["unit"]) for item in ports_of(entry) if item["proto"] == "tcp")
    found = []
    for item in entry.get("endpoints") or []:
        port, path, tls, header = item.get("port"), item.get("path") or "/", bool(item.get("tls")), item.get("host")
        if port is None and item.get("url"):
            from urllib.parse import urlsplit

            parts = urlsplit(item["url"])
            tls = parts.scheme == "https"
            port, header = parts.port or (443 if tls else 80), header or parts.hostname
            path = (parts.path or "/") + ("?" + parts.query if parts.query else "")
        if port is None or "<" in path:
            continue
        found.append(
            {
                "id": item.get("id") or path, "port": int(port), "path": path, "tls": tls, "header": header,
                "status": list(item.get("status") or [200]), "sections": list(item.get("sections") or []),
                "unit": item.get("unit") or units.get(int(port)),
            }
        )
    return found


def local_address(sockets, port):
    """Address under which this host reaches its own TCP port: loopback where possible. Pure."""
    own = [item["address"] for item in sockets if item["proto"] == "tcp" and item["port"] == port]
    if not own or any(item in ("0.0.0.0", "127.0.0.1") for item in own):
        return "127.0.0.1"
    return "::1" if any(item in ("::", "::1") for item in own) else sorted(own)[0]


def endpoint_url(page, host):
    """The address of a page of :func:`endpoints_of` when it is asked at ``host``. Pure."""
    return "{0}://{1}:{2}{3}".format(
        "https" if page["tls"] else "http", "[{0}]".format(host) if ":" in host else host, page["port"], page["path"]
    )


def endpoint_item(page, host, answer, why="", expected="up", listening=True):
    """The answer about one page. Pure.

    answer: of :func:`http_page.ask`, None when it was not asked or did not come back; why: the reason. A page of
    a role that is kept stopped, or of a unit that is not in use, does not count while nothing listens.
    """
    item = {"id": page["id"], "url": endpoint_url(page, host), "status": None, "seconds": None, "error": "",
            "missing_sections": [], "asked": expected in ("up", None) or listening, "ok": True}
    if not item["asked"]:
        return item
    if answer is None:
        item.update(error=why or "not asked", ok=False if why else None)
        return item
    item.update(status=answer["status"], seconds=answer["seconds"], error=answer["error"])
    if not item["error"] and answer["status"] not in page["status"]:
        item["error"] = "expected status {0}, found {1}".format(
            " or ".join(str(number) for number in page["status"]), answer["status"])
    elif not item["error"]:
        item["missing_sections"] = host_check_parse.missing_sections(answer["body"], page["sections"])
    item["ok"] = not item["error"] and not item["missing_sections"]
    if expected is None and not listening:
        item["ok"] = None
    return item


# ---- files -----------------------------------------------------------------------------------------------------


def logs_of(entry):
    """Log files of an entry, in order, each once: its own, those of its units, then the newest of each directory."""
    found = []
    for path in list(entry.get("logs") or []) + [path for unit in entry.get("units") or []
                                                 for path in unit.get("logs") or []] \
            + list(entry.get("log_directories") or []):
        if isinstance(path, str) and path not in found and "<" not in path:
            found.append(path)
    return found


def log_item(path, answer, why, now):
    """The answer about one log file. Pure."""
    item = {"path": path, "listed": path, "present": answer is not None, "size": None, "mtime": None, "age_s": None,
            "grown_bytes": None, "errors": [], "error": why}
    if answer:
        item.update(answer, age_s=round(now - answer["mtime"], 1))
    return item


def pki_of(entry):
    """``[(kind, path or pattern), ...]`` of the PKI files of an entry. Pure."""
    pki = entry.get("pki") or {}
    listed = [(kind, pki[kind]) for kind in PKI_KINDS if pki.get(kind)]
    listed += [("user_facing", path) for path in pki.get("user_facing") or []]
    found = []
    for kind, paths in listed:
        for path in paths if isinstance(paths, list) else [paths]:
            path = path.get("path") if isinstance(path, dict) else path
            if isinstance(path, str) and "<" not in path:
                found.append((kind, path))
    return found


def cron_item(item, tables, exists, why=""):
    """The answer about one cron job. Pure.

    tables: of :func:`host_check_read.crontabs`, None when they could not be read (why). exists: whether the script is
    there. present: None when it is in no crontab that could be read and some could not.
    """
    script, user = item.get("script"), item.get("user")
    answer = {"id": item.get("id") or script, "script": script, "present": None, "user": None, "schedule": None,
              "file": None, "script_present": exists, "expected_user": user, "ok": None, "error": why}
    if tables is None or not script:
        return answer
    job = host_check_parse.find_cron(tables["jobs"], script, user)
    if job is None and tables["unreadable"]:
        answer["error"] = "cannot read {0}".format(", ".join(tables["unreadable"][:5]))
        return answer
    answer["present"] = job is not None
    if job:
        answer.update(user=job["user"], schedule=job["schedule"], file=job["file"])
    answer["ok"] = bool(job) and exists is not False and (not user or job["user"] == user)
    return answer


def clock(epoch, reference, shift=0.0):
    """``{"epoch", "offset_s"}``: the host's time and how far it is ahead of ``reference``, None without one. Pure.

    The time that the question took to get here is part of the offset.
    """
    epoch += shift
    return {"epoch": round(epoch, 3), "offset_s": None if reference is None else round(epoch - reference, 3)}


# ---- all of it -------------------------------------------------------------------------------------------------


def check_entries(entries):
    """Refuse what is no list of catalogue entries with a name and units. Pure. Raises BadInput."""
    for entry in entries:
        if not isinstance(entry, dict) or not entry.get("name"):
            raise BadInput("Expected catalogue entries with a name, found {0}. Correct the entries.".format(
                repr(entry)[:200]))
        if entry.get("units"):
            unit_state.names_of(entry)
        for key in ("ports", "endpoints", "consoles", "processes", "cron"):
            for item in entry.get(key) or []:
                if not isinstance(item, dict):
                    raise BadInput("Expected {0} of {1} to be a list of objects, found {2!r}. Correct the role's "
                                   "vars.".format(key, entry["name"], item))


def collect(params):
    """Read and judge this host. ``params`` are those of the module host_check. Returns its answer; raises BadInput."""
    entries = params.get("entries") or []
    check_entries(entries)
    limits = dict(THRESHOLDS)
    for key, value in (params.get("thresholds") or {}).items():
        if key in limits and value is not None:
            try:
                limits[key] = type(THRESHOLDS[key])(value)
            except (TypeError, ValueError):
                raise BadInput("Expected a number for the threshold {0}, found {1!r}. Correct it.".format(key, value))
    now, started = time.time(), time.monotonic()
    inner_s = max(0.2, float(params["deadline_s"]) - RESERVE_S)
    limits["watch_s"] = max(0.0, min(limits["watch_s"], inner_s / 2))
    sockets = host_check_read.sockets()
    facts, problems = host_check_gather.gather(_jobs(params, entries, limits, sockets, inner_s), inner_s)
    result = judge(params, entries, limits, sockets, facts, problems, now)
    result["boot_id"] = unit_state.read_boot_id()
    result["host"] = os.uname()[1]
    result["clock"] = clock(now, params.get("reference_epoch"), params.get("clock_offset_s") or 0.0)
    result["clock"]["age_s"] = round(time.monotonic() - started, 3)
    return result


def _jobs(params, entries, limits, sockets, inner_s):
    """The readers that ``entries`` need, by name."""
    names, inodes, jobs = [], set(), {}
    roles = set(entry["name"] for entry in entries)
    page_s = max(0.1, min(limits["endpoint_s"], inner_s - 0.1))
    for entry in entries:
        role = entry["name"]
        if entry.get("units"):
            names += [name for name in unit_state.names_of(entry) if name not in names]
        wanted = set((item["port"], item["proto"]) for item in ports_of(entry))
        inodes |= set(item["inode"] for item in sockets if (item["port"], item["proto"]) in wanted)
        for page in endpoints_of(entry):
            host = local_address(sockets, page["port"])
            jobs["endpoint {0} {1}".format(role, page["id"])] = lambda page=page, host=host: http_page.ask(
                host, page["port"], page["path"], page["tls"], page["header"], page_s)
        patterns = list(entry.get("log_errors") or [])
        for path in logs_of(entry):
            jobs["log {0} {1}".format(role, path)] = lambda path=path, patterns=patterns: _log(
                path, patterns, limits, params.get("site_path"))
        for kind, path in pki_of(entry):
            jobs["pki {0} {1} {2}".format(role, kind, path)] = lambda kind=kind, path=path: host_check_read.pki_files(
                kind, path)
        for item in entry.get("cron") or []:
            script = str(item.get("script"))
            if script.startswith("/"):
                jobs["script " + script] = lambda path=script: os.path.exists(path)
    jobs["units"] = lambda: unit_state.show_units(names, timeout=inner_s)
    jobs["processes"] = lambda: host_check_read.look_twice(inodes, limits["watch_s"])
    for path in space_paths(params, entries):
        jobs["space " + path] = lambda path=path: host_check_read.space(path)
    if any(entry.get("cron") for entry in entries):
        jobs["cron"] = host_check_read.crontabs
    paths, packages = version_sources(entries)
    if paths or packages:
        jobs["versions"] = lambda: host_check_read.versions(paths, packages, inner_s)
    if params.get("site_path"):
        jobs["site"] = lambda: site_file.read_summary(params["site_path"])
    if "web_db" in roles:
        from ansible_collections.circonus.inside.plugins.module_utils import web_db

        jobs["web_db"] = lambda: web_db.collect(dict(params.get("web_db") or {}))
    if "mq" in roles:
        from ansible_collections.circonus.inside.plugins.module_utils import rabbitmq

        options = params.get("mq") or {}
        command = options.get("command") or _rabbitmqctl(entries) or rabbitmq.PROGRAM
        epmd, page = (int(options.get(key) or port) for key, port in (
            ("epmd_port", 4369), ("management_port", rabbitmq.MANAGEMENT_PORT)))
        jobs["mq"] = lambda: rabbitmq.cluster(command, epmd, inner_s, page)
    pki = next((entry.get("pki") or {} for entry in entries if entry["name"] == "stratcon"), {})
    if pki.get("cert") and pki.get("key"):
        jobs["stratcon"] = lambda: {"feeds": host_check_read.feeds(pki["cert"], pki["key"], timeout=page_s)}
    for number, url in enumerate(_status_urls(params, roles)):
        from ansible_collections.circonus.inside.plugins.module_utils import status_page

        jobs["status {0}".format(number)] = lambda url=url: status_page.read(
            url, page_s, params.get("status_host"), params.get("status_ca_file"), params.get("status_verify", True))
    return jobs


def _log(path, patterns, limits, site_path):
    answer = host_check_read.log(path, patterns, limits["watch_s"], limits["log_bytes"], limits["log_lines"])
    if answer["errors"]:
        from ansible_collections.circonus.inside.plugins.module_utils import hooper

        secrets = hooper.load_secrets(site_path) if site_path else []
        answer["errors"] = [hooper.redact(line, secrets) for line in answer["errors"]]
    return answer


def _rabbitmqctl(entries):
    for entry in entries:
        for path in (entry.get("paths") or {}).get("binaries") or []:
            if isinstance(path, str) and path.endswith("/rabbitmqctl"):
                return path
    return None


def _status_urls(params, roles):
    if "web_frontend" not in roles:
        return []
    return [url for url in (params.get("status_url"), params.get("status_https_url")) if url]


def space_paths(params, entries):
    """Paths whose file systems are looked at, each once, in order. Pure."""
    found = []
    for path in [path for entry in entries for path in entry.get("space") or []] + list(params.get("paths") or []):
        if path not in found:
            found.append(path)
    return found


def version_sources(entries):
    """``(paths, packages)`` that tell versions: binaries of the roles, packages they name, that of the release."""
    paths, packages = [], []
    for entry in entries:
        for path in (entry.get("paths") or {}).get("binaries") or []:
            path = path.get("path") if isinstance(path, dict) else path
            if isinstance(path, str) and path.startswith("/") and not re.search(r"[*?<]", path) and path not in paths:
                paths.append(path)
        packages += [name for name in entry.get("packages") or [] if name not in packages]
    if any(entry["name"] == "web_frontend" for entry in entries) and host_check_read.WEB_PACKAGE not in packages:
        packages.append(host_check_read.WEB_PACKAGE)
    return paths, packages


def judge(params, entries, limits, sockets, facts, problems, now):
    """The answer of the module from what was read. Pure.

    facts, problems: of :func:`host_check_gather.gather` for the jobs of :func:`collect`; sockets: of
    :func:`host_check_read.sockets`.
    """
    stopped = set(params.get("expect_stopped") or [])
    packages = facts.get("versions") or {"versions": {}, "owners": {}}
    answers = [facts[name] for name in sorted(facts) if name.startswith("status ")]
    states = set(answer["state"] for answer in answers)
    result = {
        "release": host_check_parse.release_of(packages["versions"].get(host_check_read.WEB_PACKAGE)),
        "roles": {},
        "space": [],
        "web_db": facts.get("web_db") or {},
        "mq": facts.get("mq") or {},
        "stratcon": facts.get("stratcon") or {},
        "status": {"state": states.pop() if len(states) == 1 else "unknown", "answers": answers},
        "site": facts.get("site") or {},
        "missing": dict((name, problems[name]) for name in problems
                        if name.split()[0] in ("units", "processes", "cron", "versions", "site", "web_db", "mq",
                                               "stratcon", "status")),
    }
    for entry in entries:
        result["roles"][entry["name"]] = _judge_role(entry, entry["name"] in stopped, limits, sockets, facts, problems,
                                                     now, packages)
    for path in space_paths(params, entries):
        empty = dict.fromkeys(("mount", "free_bytes", "total_bytes", "free_inodes", "total_inodes"))
        item = dict(empty, path=path, error=problems.get("space " + path, ""))
        item.update(facts.get("space " + path) or {})
        result["space"].append(item)
    return result


def _judge_role(entry, stopped, limits, sockets, facts, problems, now, packages):
    role = entry["name"]
    states, look = facts.get("units"), facts.get("processes")
    units = choose_units(entry, states, stopped)
    processes = look["processes"] if look else []
    table = dict((item["pid"], item) for item in processes)
    gone_pids = gone(look) if look else set()
    holder_of = dict((inode, pid) for inode, pid in (look["owners"] if look else []))
    open_ports = set(item["port"] for item in sockets if item["proto"] == "tcp")

    pages, silent = [], {}
    expected_of = dict((item["id"], item["expected"]) for item in units)
    for page in endpoints_of(entry):
        name = "endpoint {0} {1}".format(role, page["id"])
        expected = "down" if stopped else expected_of.get(page["unit"], "up")
        item = endpoint_item(page, local_address(sockets, page["port"]), facts.get(name), problems.get(name, ""),
                             expected, page["port"] in open_ports)
        pages.append(item)
        if item["asked"] and item["error"]:
            silent[page["id"]] = "does not answer well on {0}: {1}".format(item["url"], item["error"])

    items, pairs, pids = [], [], {}
    for unit in units:
        life = (unit["spec"].get("life") or {}).get("endpoint")
        if states is None:
            items.append(unknown_unit(unit, problems.get("units", "its state is unknown")))
        else:
            items.append(unit_item(unit, open_ports, silent.get(life, ""), now, gone_pids, limits))
        if unit["spec"].get("watchdog") and (look is None or states is None):
            pairs.append(unknown_pair(unit["id"], problems.get("processes") or problems.get("units", "")))
        elif unit["spec"].get("watchdog") and unit["unit"]:
            main_pid = unit["state"]["pid"]
            members = members_of(processes, unit["unit"], main_pid)
            members = same_program(members, main_pid, unit["spec"].get("process"))
            pairs.append(pair_item(unit["id"], members, main_pid, look, True, limits, unit["expected"], unit["unit"]))
    for process in entry.get("processes") or []:
        members = matching(processes, process.get("match") or process["id"])
        pids[process["id"]] = set(members)
        expected = "down" if stopped else "up" if process.get("required", True) else "any"
        if look is None:
            pairs.append(unknown_pair(process["id"], problems.get("processes", "")))
        else:
            pairs.append(pair_item(process["id"], members, None, look, bool(process.get("watchdog")), limits, expected))
    ports = []
    for port in ports_of(entry):
        own = [item for item in sockets if (item["port"], item["proto"]) == (port["port"], port["proto"])]
        holders = [table.get(holder_of.get(item["inode"])) for item in own]
        ports.append(port_item(port, own, holders, units, pids, problems.get("processes", "")))

    pki = []
    for kind, path in pki_of(entry):
        name = "pki {0} {1} {2}".format(role, kind, path)
        nothing = dict.fromkeys(("present", "mode", "owner", "group", "size", "not_after_epoch"))
        nothing.update(kind=kind, path=path, error=problems.get(name, ""))
        pki += facts.get(name) or [nothing]
    return {
        "units": items,
        "processes": pairs,
        "ports": ports,
        "endpoints": pages,
        "logs": [log_item(path, facts.get("log {0} {1}".format(role, path)),
                          problems.get("log {0} {1}".format(role, path), ""), now) for path in logs_of(entry)],
        "pki": pki,
        "cron": [cron_item(item, facts.get("cron"), facts.get("script {0}".format(item.get("script"))),
                           problems.get("cron", "")) for item in entry.get("cron") or []],
        "versions": versions_of(entry, packages),
    }


def versions_of(entry, packages):
    """``{package: version}`` of what a role consists of. Pure. packages: of :func:`host_check_read.versions`."""
    paths, names = version_sources([entry])
    names = names + [packages["owners"][path] for path in paths if path in packages["owners"]]
    return dict((name, packages["versions"][name]) for name in names if name in packages["versions"])
