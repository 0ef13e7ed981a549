# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What there is to see on a data_storage host when its node is unstable, and all of it in one archive. Reads only.

The manual's order: CPU, IO, memory, disks, then the program itself. Everything is read at the same time and within a
deadline, whatever hangs: a disk that fails is one of the reasons to look. The archive is made in memory; nothing is
written on the host. Secrets of site.json and what follows a word such as password are hidden; no configuration but the
topology is taken.

Sources: operation manual, "Data Storage"; the kernel's documentation of /proc; libmtev's public source for the words of
its watchdog ("[monitor]").
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import base64
import glob
import io
import json
import os
import re
import tarfile
import time

from ansible_collections.circonus.inside.plugins.module_utils import (
    hooper,
    host_check_gather,
    host_check_read,
    http_page,
    irondb,
    irondb_damage,
    programs,
    site_file,
    unit_state,
)
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError

DUMPS = ("/opt/circonus/traces/*", "{root}/appcrash/*")
TOPOLOGY = ("/opt/circonus/etc/topology", "/opt/circonus/etc/topology.conf")
PAGES = ("/state", "/gossip/json", "/rebalance/state", "/stats.json")
PAGE_LIMIT = 2 * 1024 * 1024
KERNEL = ("loadavg", "meminfo", "stat", "vmstat", "diskstats", "mounts", "uptime", "pressure/cpu", "pressure/io",
          "pressure/memory")
#: What the watchdog and its child write about the child's end, the lab's stand-in too: kind and pattern.
WATCHDOG = (
    ("gave_up", re.compile(r"exceeded retry limit|starts within \d+ seconds, giving up")),
    ("killed", re.compile(r"Watchdog timeout on heart|has watchdogged|missed its heartbeats, killed")),
    ("crashed", re.compile(r"\bhas crashed\b|ended with signal (?!9\b)\d+")),
)
#: Attributes of ATA disks that count errors which were not corrected.
_ATA = ("Reported_Uncorrect", "Current_Pending_Sector", "Offline_Uncorrectable")

ARGUMENTS = dict(
    irondb_damage.ARGUMENTS,
    deadline_s=dict(type="float", default=30.0),
    watch_s=dict(type="float", default=2.0),
    hours=dict(type="int", default=24),
    log_kb=dict(type="int", default=256),
    bundle=dict(type="bool", default=True),
    site_path=dict(type="path", default=site_file.PATH),
)


# ---- reading what the kernel says --------------------------------------------------------------------------------


def parse_cpu(before, after):
    """``{"busy_percent", "iowait_percent", "steal_percent", "cpus"}`` between two texts of /proc/stat. Pure."""
    def fields(text):
        return [int(word) for word in text.splitlines()[0].split()[1:9]]

    spent = [max(0, later - earlier) for earlier, later in zip(fields(before), fields(after))]
    total = float(sum(spent)) or 1.0
    idle, iowait, steal = spent[3], spent[4], spent[7] if len(spent) > 7 else 0
    return {
        "busy_percent": round(100.0 * (sum(spent) - idle - iowait) / total, 1),
        "iowait_percent": round(100.0 * iowait / total, 1),
        "steal_percent": round(100.0 * steal / total, 1),
        "cpus": len(re.findall(r"^cpu\d", after, re.M)),
    }


def parse_memory(meminfo, vmstat):
    """``{"total_kb", "available_kb", "available_percent", "swap_used_kb", "oom_kills": since the boot or None}``.
    Pure."""
    values = dict((name, int(number)) for name, number in re.findall(r"^(\w+):\s+(\d+)", meminfo, re.M))
    total = values.get("MemTotal", 0)
    # Kernels before 3.14 do not estimate it.
    available = values.get("MemAvailable", values.get("MemFree", 0) + values.get("Cached", 0))
    kills = re.search(r"^oom_kill (\d+)", vmstat, re.M)
    return {"total_kb": total, "available_kb": available,
            "available_percent": round(100.0 * available / total, 1) if total else None,
            "swap_used_kb": values.get("SwapTotal", 0) - values.get("SwapFree", 0),
            "oom_kills": int(kills.group(1)) if kills else None}


def parse_disks(before, after, seconds, names):
    """``[{"disk", "busy_percent", "await_ms"}]`` of disks between two texts of /proc/diskstats. Pure.

    await_ms: mean time of an operation, 0 without any.
    """
    def rows(text):
        split = (line.split() for line in text.splitlines())
        return dict((row[2], [int(word) for word in row[3:14]]) for row in split if len(row) > 13 and row[2] in names)

    found, old, new = [], rows(before), rows(after)
    for name in sorted(set(old) & set(new)):
        spent = [max(0, later - earlier) for earlier, later in zip(old[name], new[name])]
        operations, waited, busy = spent[0] + spent[4], spent[3] + spent[7], spent[9]
        found.append({"disk": name, "busy_percent": min(100.0, round(busy / (10.0 * seconds), 1)),
                      "await_ms": round(waited / float(operations), 1) if operations else 0.0})
    return found


def parse_smart(text):
    """``{"health": the disk's own word or '', "uncorrected": errors or None, "reallocated": sectors or None}`` of the
    output of ``smartctl -a``, of ATA, SCSI and NVMe. Pure."""
    health = re.search(r"^SMART (?:overall-health self-assessment test result|Health Status): *(.+)$", text, re.M)
    counts, reallocated = [], None
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 10 and words[0].isdigit():
            number = int(re.match(r"\d*", words[9]).group(0) or 0)
            if words[1] in _ATA:
                counts.append(number)
            elif words[1] == "Reallocated_Sector_Ct":
                reallocated = number
        elif len(words) == 8 and words[0] in ("read:", "write:", "verify:") and words[7].isdigit():
            counts.append(int(words[7]))
    for number in re.findall(r"^Media and Data Integrity Errors: +([\d,.]+)", text, re.M):
        counts.append(int(re.sub(r"\D", "", number)))
    defects = re.search(r"^Elements in grown defect list: +(\d+)", text, re.M)
    if defects:
        reallocated = int(defects.group(1))
    return {"health": health.group(1).strip() if health else "", "uncorrected": sum(counts) if counts else None,
            "reallocated": reallocated}


def watchdog(rows, since):
    """``{kind of WATCHDOG: {"count", "last": epoch s or None, "line"}}`` of the lines since then. Pure.

    rows: of :func:`irondb_damage.dated`.
    """
    found = dict((kind, {"count": 0, "last": None, "line": ""}) for kind, _pattern in WATCHDOG)
    seen = set()
    for at, line in rows:
        kind = next((kind for kind, pattern in WATCHDOG if at >= since and pattern.search(line)), None)
        if kind is None:
            continue
        # libmtev tells of a timeout when it asks for the end of a child and again when it is gone.
        child = (kind, (re.findall(r"(?:child|snowthd?|snowth) (\d+)", line) or [line])[0])
        found[kind]["count"] += child not in seen
        found[kind].update(last=round(at, 3), line=line.strip()[:irondb_damage.LINE])
        seen.add(child)
    return found


# ---- reading ---------------------------------------------------------------------------------------------------


def _proc(name):
    with open("/proc/" + name) as handle:
        return handle.read()


def physical():
    """Names of the disks of this host that are hardware, sorted."""
    return sorted(name for name in os.listdir("/sys/block") if os.path.exists("/sys/block/{0}/device".format(name))
                  and not name.startswith(("sr", "fd")))


def load(watch_s):
    before = _proc("stat")
    time.sleep(watch_s)
    return dict(parse_cpu(before, _proc("stat")), load=[float(word) for word in _proc("loadavg").split()[:3]])


def disks(watch_s):
    before, started = _proc("diskstats"), time.monotonic()
    time.sleep(watch_s)
    return parse_disks(before, _proc("diskstats"), max(0.01, time.monotonic() - started), physical())


def program(name, arguments, timeout, find=programs.find_program, run=unit_state.run):
    """Output of a program of the host. Raises InsideError when it is not installed."""
    path = find(name)
    if path is None:
        raise InsideError("{0} is not installed".format(name))
    _rc, out, err = run([path] + arguments, timeout)
    return out + err


def smart(timeout, names=None):
    """``[{"disk", "text"} and what parse_smart finds]``. Raises InsideError without smartctl."""
    found = []
    for name in physical() if names is None else names:
        text = program("smartctl", ["-a", "/dev/" + name], timeout)
        found.append(dict(parse_smart(text), disk=name, text=text))
    return found


def dumps(patterns, since):
    """``[{"path", "size", "mtime"}]`` of crash dumps and traces, those since then first and no more than twenty."""
    found = []
    for pattern in patterns:
        for path in glob.glob(pattern):
            try:
                info = os.stat(path)
            except OSError:
                continue
            if info.st_mtime >= since:
                found.append({"path": path, "size": info.st_size, "mtime": round(info.st_mtime, 3)})
    return sorted(found, key=lambda item: -item["mtime"])[:20]


def ends(root):
    """What the watchdog wrote, dated."""
    path = os.path.join(root, "logs", "errorlog")
    rows = []
    for name in sorted(glob.glob(path + "*"), key=os.path.getmtime)[-2:]:
        lines = unit_state.tail(name, irondb_damage.LIMIT, irondb_damage.LIMIT)
        rows += irondb_damage.dated(lines, os.stat(name).st_mtime)
    return rows


def texts(params):
    """Jobs that only fill the archive: ``{file name: function}``."""
    root, limit = params["root"], params["log_kb"] * 1024

    def tail(path):
        with open(path, "rb") as handle:
            handle.seek(0, os.SEEK_END)
            handle.seek(max(0, handle.tell() - limit))
            return handle.read().decode("utf-8", "replace")

    def page(path):
        answer = http_page.ask("127.0.0.1", params["port"], path, timeout=params["page_timeout"], limit=PAGE_LIMIT)
        if answer["error"]:
            raise InsideError(answer["error"])
        return answer["body"]

    inner = max(1.0, params["deadline_s"] - 1.0)
    jobs = {}
    for name in ("errorlog", "startuplog", "accesslog"):
        jobs["logs/" + name] = lambda name=name: tail(os.path.join(root, "logs", name))
    for path in TOPOLOGY:
        jobs["topology/" + os.path.basename(path)] = lambda path=path: tail(path)
    for path in PAGES:
        jobs["pages" + path.replace("/json", "").replace(".json", "") + ".json"] = lambda path=path: page(path)
    for name in KERNEL:
        jobs["kernel/" + name.replace("/", "-")] = lambda name=name: _proc(name)
    jobs["programs/iostat"] = lambda: program("iostat", ["-x", "-t", "1", "3"], inner)
    jobs["programs/zpool-status"] = lambda: program("zpool", ["status", "-v"], inner)
    jobs["programs/zpool-list"] = lambda: program("zpool", ["list"], inner)
    journal = ["-u", params["units"][0], "-n", "500", "--no-pager"]
    jobs["programs/journal"] = lambda: program("journalctl", journal, inner)
    jobs["programs/dmesg"] = lambda: program("dmesg", [], inner)[-limit:]
    return jobs


def archive(name, files):
    """A tar.gz of ``{path: text}`` below one directory, in base64. Pure but for the clock."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as tar:
        for path in sorted(files):
            data = files[path].encode("utf-8", "replace")
            info = tarfile.TarInfo("{0}/{1}".format(name, path))
            info.size, info.mtime, info.mode = len(data), int(time.time()), 0o600
            tar.addfile(info, io.BytesIO(data))
    return base64.b64encode(target.getvalue()).decode("ascii")


def collect(params):
    """Answer of the module irondb_evidence for its ``params``. Back at the deadline, whatever hangs.

    Returns ``{"facts": {name: answer of its reader}, "unread": {name: why}, "now": epoch s, "host": name of this host,
    "bundle": the archive in base64 or ''}``.
    """
    now, watch_s = time.time(), params["watch_s"]
    since = now - params["hours"] * 3600.0
    inner = max(1.0, params["deadline_s"] - 1.0)
    patterns = [pattern.replace("{root}", params["root"]) for pattern in DUMPS]
    facts = {
        "load": lambda: load(watch_s),
        "memory": lambda: parse_memory(_proc("meminfo"), _proc("vmstat")),
        "disks": lambda: disks(watch_s),
        "smart": lambda: smart(inner),
        "pool": lambda: program("zpool", ["status", "-x"], inner).strip(),
        "space": lambda: host_check_read.space(params["root"]),
        "watchdog": lambda: watchdog(ends(params["root"]), since),
        "dumps": lambda: dumps(patterns, since),
        "store": lambda: irondb_damage.collect(params),
        "state": lambda: irondb.Client("127.0.0.1", params["port"], params["page_timeout"]).state(),
    }
    more = texts(params) if params["bundle"] else {}
    jobs = dict((name, _hidden(job, params["site_path"])) for name, job in dict(facts, **more).items())
    results, unread = host_check_gather.gather(jobs, params["deadline_s"])
    answer = {"facts": dict((name, results[name]) for name in facts if name in results), "now": round(now, 3),
              "unread": dict((name, unread[name]) for name in facts if name in unread), "host": os.uname()[1],
              "bundle": ""}
    files = dict((name, results[name]) for name in more if name in results)
    for item in answer["facts"].get("smart") or []:
        files["programs/smartctl-" + item["disk"]] = item.pop("text")
    if params["bundle"]:
        files["facts.json"] = json.dumps(answer["facts"], indent=1, sort_keys=True)
        files["unread.json"] = json.dumps(unread, indent=1, sort_keys=True)
        answer["bundle"] = archive(answer["host"], files)
    return answer


def hide(value, secrets):
    """The same without secrets in any text of it. Pure."""
    if isinstance(value, dict):
        return dict((key, hide(item, secrets)) for key, item in value.items())
    if isinstance(value, list):
        return [hide(item, secrets) for item in value]
    return hooper.redact(value, secrets) if isinstance(value, str) else value


def _hidden(job, site_path):
    return lambda: hide(job(), hooper.load_secrets(site_path))
