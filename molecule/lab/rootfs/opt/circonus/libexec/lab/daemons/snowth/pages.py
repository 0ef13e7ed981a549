"""What /state and the statistics show."""

import os
import resource
import sys
import time

from daemons import net
from daemons.snowth.store import ROLLUPS

CALLS = ("put.calls", "put.elapsed_us", "get.calls", "get.proxy_calls", "get.count", "get.elapsed_us")
USAGE = ("maxrss", "idrss", "minflt", "majflt", "nswap", "inblock", "oublock", "msgsnd", "msgrcv", "nsignals")
USAGE += ("nvcsw", "nivcsw")


def space(path, full):
    """Of the file system of a store; MB as the real one counts them."""
    found = os.statvfs(path)
    return {
        "id": os.stat(path).st_dev,
        "totalMb": round(found.f_blocks * found.f_frsize / 1e6, 6),
        "availMb": 0.0 if full else round(found.f_bavail * found.f_frsize / 1e6, 6),
    }


def lags(latency):
    """(largest, mean) of the known latencies."""
    found = [int(value) for value in latency.values()] or [0]
    return max(found), sum(found) / len(found)


def state(node):
    """/state of a node, with the fields of its release."""
    release, counters = node.release, node.counters
    full = node.faults.on("disk-full")
    usage = resource.getrusage(resource.RUSAGE_SELF)
    calls = {name: counters.get("nnt." + name, 0) for name in CALLS}
    none = dict.fromkeys(CALLS, 0)

    def rollups(kind, values):
        fs = space(os.path.join(node.root, kind), full)
        found = {"rollups": list(ROLLUPS), **{"rollup_%d" % p: {"fs": fs, **values} for p in ROLLUPS}}
        return {**found, "aggregate": dict(values)}

    largest, mean = lags(node.gossip.latency(node.identity))
    found = {
        "identity": node.identity,
        "current": node.active,
        "next": node.rebalance.next or "-",
        "base_rollup": ROLLUPS[0],
        "rollups": list(ROLLUPS),
    }
    converted = node.numeric_name == "nntbs"
    if release.nnt_state:
        found["nnt"] = rollups("data", {**(none if converted else calls), "extend.calls": 0})
    if converted:
        found["nntbs"] = rollups("nntbs", calls)
        found["nntbs"]["latest_rollup_timestamp"] = node.store.numeric.latest(ROLLUPS[-1])
    if release.nnt_state:
        found["nnt_cache_size"] = 0
    text = {name: counters.get("text." + name, 0) for name in ("get.calls", "get.proxy_calls", "put.calls")}
    found["text"] = {
        "fs": space(os.path.join(node.root, "text"), full),
        "get": {"proxy_calls": text["get.proxy_calls"], "err": 0, "calls": text["get.calls"]},
        "put": {"err": 0, "calls": text["put.calls"], "tuples": text["put.calls"], "elapsed_us": 0},
    }
    found["text"]["get"].update({"tuples": text["get.calls"], "elapsed_us": 0})
    found["histogram"] = rollups("hist", {name: counters.get("hist." + name, 0) for name in CALLS})
    found.update({"rusage.utime": usage.ru_utime, "rusage.stime": usage.ru_stime})
    found.update({"rusage." + name: getattr(usage, "ru_" + name, 0) for name in USAGE if hasattr(usage, "ru_" + name)})
    found["max_peer_lag"] = largest
    if release.newer:
        found["avg_peer_lag"] = mean
    found["features"] = {"text:store": "1", "histogram:store": "1", "nnt:store": "1", "features": "1"}
    if not release.nnt_state:
        found["indexes"] = {"jlog_replay_errors": 0}
    return {**found, "version": release.version, "application": "snowth"}


def statistics(node):
    """Plain values of /stats.json; net.leaves makes its default format of them."""
    found = {
        "identity": node.identity,
        "semver": node.release.semver,
        "version": node.release.version,
        "application": "snowth",
        "topology": {"current": node.active, "next": node.rebalance.next or "-"},
        "rusage": {"uptime": int(time.time() - node.started)},
        "features": {"text:store": "1", "histogram:store": "1", "nnt:store": "1"},
        "license": {"expiry": 0},
        "db": {"nntbs": {"put": {"calls": node.counters.get("nnt.put.calls", 0)}}},
        "replication": {
            peer: {"delay": float(max(node.now() - item.oldest, 0.0)) if item.oldest else 0.0, "sent": item.sent}
            for peer, item in sorted(node.journals.items())
        },
    }
    if node.rebuilding:
        found["reconstitute"] = node.rebuilding.status()
    return found


def framework(node):
    """Plain values of /mtev/stats.json."""
    return {
        "version": {"mtev": "lab stand-in"},
        "mtev": {
            "pid": os.getpid(),
            "uptime": int(time.time() - node.started),
            "eventer": {"jobq": {"default_queue": {"concurrency": 4, "backlog": 0, "inflight": 0}}},
        },
    }


def flat(value, path=()):
    """[(path, plain value)] of nested objects."""
    if not isinstance(value, dict):
        return [(path, value)]
    return [pair for name, item in value.items() for pair in flat(item, (*path, name))]


def tagged(node, value):
    """Flat keys with stream tags, as format=tagged has them."""
    tags = "app:snowth,snowth-node-id:" + node.identity
    return {"%s|ST[%s]" % ("`".join(path), tags): net.leaf(item) for path, item in flat(value)}


def simple(value):
    return {"`".join(path): item for path, item in flat(value)}


def capabilities(node):
    system = os.uname()
    return {
        "version": node.release.version,
        "unameRun": {name: getattr(system, name) for name in ("sysname", "nodename", "release", "version", "machine")},
        "bitwidth": "64bit" if sys.maxsize > 1 << 32 else "32bit",
        "current_time": "%.3f" % node.now(),
        "services": {"http_rest_api": {"control_dispatch": {}}},
        "modules": {},
    }


def capabilities_xml(found):
    fields = " ".join('%s="%s"' % pair for pair in found["unameRun"].items() if pair[0] != "version")
    return (
        '<mtev_capabilities><version>%s</version><unameRun bitwidth="%s" %s/><current_time>%s</current_time>'
        "<services/><modules/></mtev_capabilities>\n"
    ) % (found["version"], found["bitwidth"], fields, found["current_time"])
