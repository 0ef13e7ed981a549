# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The rebuild of one data_storage node on its host, step by step: what the module irondb_rebuild does.

Each step asks the host whether it is done already. The record of a rebuild (``<state_dir>/<stamp>.json``, written
before the change that it tells of) says only what cannot be seen: which stores were the old ones, and whether the unit
was enabled. Phases: opened, clearing, cleared, rebuilt, done.

Source: operation manual, "Reconstituting a Data Storage node".
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import errno
import fcntl
import json
import os
import re
import time

from ansible_collections.circonus.inside.plugins.module_utils import (
    address,
    hooper,
    irondb_cluster,
    irondb_identity,
    irondb_stores,
    lock,
    site_file,
    topology,
    unit_state,
)
from ansible_collections.circonus.inside.plugins.module_utils import irondb_reconstitute as reconstitute
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput, InsideError, Refused

STATE = "/var/lib/circonus-inside/data_storage_rebuild"
ETC = "/opt/circonus/etc"
PHASES = ("opened", "clearing", "cleared", "rebuilt", "done")
_ACTIVE = re.compile(r"<topology\b[^>]*\bactive=\"([0-9a-f]{64})\"")


# ---- the record ------------------------------------------------------------------------------------------------


def records(state_dir):
    """All records, oldest first. Raises BadInput for one that cannot be read: it may be of an unfinished rebuild."""
    found = []
    try:
        names = sorted(name for name in os.listdir(state_dir) if name.endswith(".json"))
    except OSError as exc:
        if exc.errno == errno.ENOENT:
            return []
        raise BadInput("Cannot read {0}: {1}. Look at this host.".format(state_dir, exc.strerror))
    for name in names:
        path = os.path.join(state_dir, name)
        try:
            with open(path) as handle:
                record = json.load(handle)
            found.append(dict(record, stamp=record["stamp"], node_id=record["node_id"], phase=record["phase"]))
        except (IOError, OSError, ValueError, KeyError, TypeError):
            raise BadInput("Expected the record of a rebuild in {0}, found something else. Look at it, and move it "
                           "away when it is of no use.".format(path))
    return found


def unfinished(found):
    """The record of the rebuild that is not done yet, None without one. Pure."""
    left = [record for record in found if record["phase"] != "done"]
    return left[-1] if left else None


def write(state_dir, record):
    """Make the record durable before what it tells of is done."""
    if not os.path.isdir(state_dir):
        os.makedirs(state_dir, 0o755)
    lock.write_durable(os.path.join(state_dir, record["stamp"] + ".json"), json.dumps(record, indent=2) + "\n")


# ---- evidence --------------------------------------------------------------------------------------------------


def installed_site(path, host):
    """What site.json on this host says of it: {"node_id", "address", "owners"}. Raises Refused."""
    document = site_file.load(path)
    machines = document.get("machinfo")
    machines = machines if isinstance(machines, dict) else {}
    machine = machines.get(host)
    if not isinstance(machine, dict):
        raise Refused("it does not know the host")
    identity = machine.get("node_id")
    owners = sorted(name for name, other in machines.items()
                    if identity and isinstance(other, dict) and other.get("node_id") == identity)
    return {"node_id": identity, "address": str(machine.get("ip_address") or "").partition("/")[0],
            "owners": owners}


def members(given, digest):
    """A topology as evidence."""
    return {"digest": digest, "nodes": [{"id": node.id, "address": node.address} for node in given.nodes]}


def installed_topology(etc=ETC):
    """The topology that is installed on this host, as evidence. Raises BadInput."""
    for name in ("topology.conf", "snowth.conf"):
        try:
            with open(os.path.join(etc, name)) as handle:
                active = _ACTIVE.search(handle.read())
        except (IOError, OSError):
            continue
        if active:
            break
    else:
        raise BadInput("no digest under active in {0}/topology.conf".format(etc))
    path = os.path.join(etc, "snowth-topo", active.group(1))
    try:
        with open(path) as handle:
            found = topology.read_xml(handle.read(), path)
    except (IOError, OSError) as exc:
        raise BadInput("{0}: {1}".format(path, exc.strerror))
    if topology.digest(found) != active.group(1):
        raise BadInput("{0} has the digest {1}..".format(path, topology.digest(found)[:12]))
    return members(found, active.group(1))


def evidence(params, disk, record, view, served):
    """What :func:`irondb_identity.problems` wants. view, served: of the cluster, None when nobody told it."""
    found = {"disk": disk, "recorded": record["node_id"] if record else None, "site": None, "files": None,
             "served": members(served, view["digest"]) if view else None, "answers": None,
             "gossip": view["gossip"] if view else {}}
    for key, read in (("site", lambda: installed_site(params["site_path"], params["host"])),
                      ("files", lambda: installed_topology(params["etc_dir"])),
                      ("addresses", lambda: [item["address"] for item in address.addresses()])):
        try:
            found[key] = read()
        except InsideError as exc:
            found[key + "_problem"] = str(exc)
    if view:
        answer = view["answers"].get(params["node_id"]) or {}
        found["answers"] = (answer.get("state") or {}).get("identity")
    return found


def look(params, sizes=True):
    """All that is to be known before, or in the middle of, a rebuild; see the module irondb_rebuild."""
    stores, base, disk, problem = [], {"name": "", "pool": "", "free": 0}, {}, ""
    found = records(params["state_dir"])
    record = unfinished(found)
    try:
        base, stores, disk = irondb_stores.read(params["node_id"], params["extra"], params["root"],
                                                seconds=params["measure_s"] if sizes else 0.0)
    except OSError as exc:
        problem = "Cannot read the stores in {0}: {1}.".format(exc.filename or params["root"], exc.strerror)
    except InsideError as exc:
        problem = str(exc)
    view, served, silence = None, None, ""
    cluster = irondb_cluster.of_params(dict(params, node=None))
    try:
        view, served = cluster.view(), cluster.topology
    except irondb_cluster.NobodyAnswers as exc:
        silence = str(exc)
    proof = evidence(params, disk, record, view, served)
    proof["served_problem"] = silence
    expected = {"host": params["host"], "node_id": params["node_id"], "address": params["address"]}
    problems = [problem] if problem else irondb_identity.problems(expected, proof)
    if not problems and (record is None or record["phase"] == "opened"):
        problems += ["The data set {0} is not mounted at {1}, so nobody knows whose data it holds. Mount it "
                     "first.".format(item["dataset"], item["holder"]) for item in stores if not item["mounted"]]
    states = unit_state.show_units(params["units"])
    unit = next((name for name in params["units"] if states[name]["exists"]), "")
    log = record["log"] if record else ""
    return {
        "problems": problems, "evidence": proof, "stores": stores, "base": base,
        "choice": irondb_stores.decide(stores, base["free"]), "record": record, "records": found,
        "processes": reconstitute.processes(), "finished": bool(log) and reconstitute.finished(
            reconstitute.console_of(log)),
        "unit": unit, "active": states[unit]["active"] if unit else "unknown",
        "enabled": states[unit]["enabled"] if unit else "", "wrapper": os.access(reconstitute.WRAPPER, os.X_OK),
        "killswitch": os.path.exists(params["killswitch_path"]), "view": view,
        "topology": topology.write_xml(served) if served else "", "now": time.time(),
    }


def proven(params):
    """:func:`look`, or Refused with the first of its problems: asked again right before something is changed."""
    found = look(params, sizes=params["step"] == "clear")
    if found["problems"]:
        raise Refused("{0} Nothing was destroyed.".format(found["problems"][0]), problems=found["problems"])
    return found


# ---- steps -----------------------------------------------------------------------------------------------------


def open_record(params):
    """Write down what is about to begin, and keep Hooper away. Returns ``(changed, record)``."""
    found = proven(params)
    record = found["record"]
    if record:
        if any(record[key] != params[key] for key in ("node_id", "mode", "source")):
            raise Refused("An unfinished rebuild of {0} (mode {1}) was begun on this host at {2}. Finish it with its "
                          "own parameters first.".format(record["node_id"], record["mode"], record["stamp"]))
    else:
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        running = bool(found["processes"]["running"])
        record = {
            "stamp": stamp, "node_id": params["node_id"], "host": params["host"], "mode": params["mode"],
            "source": params["source"], "digest": found["view"]["digest"],
            # One that somebody has started already works on stores that are new.
            "phase": "cleared" if running else "opened", "adopted": running,
            "enabled": found["enabled"] in ("enabled", "enabled-runtime"), "unit": found["unit"],
            "killswitch": not found["killswitch"], "stores": [], "starts": [],
            "log": os.path.join(params["root"], "logs", "reconstitute-{0}.log".format(stamp)),
        }
        write(params["state_dir"], record)
    changed = not found["record"]
    if record["killswitch"] and not os.path.exists(params["killswitch_path"]) and record["phase"] != "rebuilt":
        if not os.path.isdir(os.path.dirname(params["killswitch_path"])):
            os.makedirs(os.path.dirname(params["killswitch_path"]), 0o755)
        text = "data_storage is being rebuilt since {0} (circonus.inside)\n"
        lock.write_durable(params["killswitch_path"], text.format(record["stamp"]))
        changed = True
    return changed, record


def current(params):
    """The record of the unfinished rebuild of this node. Raises Refused."""
    record = unfinished(records(params["state_dir"]))
    if not record or record["node_id"] != params["node_id"]:
        raise Refused("Expected the record of a rebuild of {0} in {1}, found {2}. Give the whole command again.".format(
            params["node_id"], params["state_dir"], "one of " + record["node_id"] if record else "none"))
    return record


def clear(params):
    """Set the old stores aside (or destroy them where that was confirmed) and make new ones."""
    record = current(params)
    if PHASES.index(record["phase"]) >= PHASES.index("cleared"):
        return False, record
    found = proven(params)
    busy = found["processes"]["daemons"] + [item["pid"] for item in found["processes"]["running"]]
    if busy:
        raise Refused("Expected no snowthd on this host while its stores are set aside, found process {0}. Stop "
                      "circonus-snowth.".format(busy[0]))
    if record["phase"] == "opened":
        choice = found["choice"]
        jobs = []
        if params["mode"] == "reconstitute":
            if choice["action"] == "destroy" and params["destroy"] != params["node_id"]:
                raise Refused("The old stores cannot be kept: {0}. Make room, or destroy them with "
                              "-e data_storage_rebuild_destroy={1}. Nothing was destroyed.".format(
                                  choice["reason"], params["node_id"]))
            jobs = [irondb_stores.job(item, choice["action"], record["stamp"], found["base"]["name"], params["root"])
                    for item in found["stores"]]
        record = dict(record, phase="clearing", stores=jobs, pool=found["base"]["pool"])
        write(params["state_dir"], record)
    for kept in record["stores"]:
        _one(kept)
    if record["pool"] and any(kept["action"] == "destroy" for kept in record["stores"]):
        irondb_stores.wait_freed(record["pool"])
    record = dict(record, phase="cleared")
    write(params["state_dir"], record)
    return True, record


def _one(kept, most=8):
    """Bring one store to its end. Its steps are few, so more of them than that are a mistake."""
    for _number in range(most):
        step = irondb_stores.next_step(kept, irondb_stores.look(kept))
        if step == "done":
            return
        irondb_stores.carry_out(step, kept)
    raise InsideError("The store {0} is still not ready after {1} steps ({2} is next). Look at {3}.".format(
        kept["store"], most, step, kept["path"]))


def start(params):
    """Start the reconstitute unless it runs or has finished. Returns ``(changed, record)``."""
    record = current(params)
    if PHASES.index(record["phase"]) < PHASES.index("cleared"):
        raise Refused("Expected stores that are ready for a rebuild, found the phase {0}. Give the whole command "
                      "again.".format(record["phase"]))
    if record["phase"] == "rebuilt" or reconstitute.finished(reconstitute.console_of(record["log"])):
        return False, record
    with open(os.path.join(params["state_dir"], "start.flock"), "a") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # two controllers never start two
        found = reconstitute.processes()
        for item in found["running"]:
            if item["node"] not in (None, params["node_id"]):
                raise Refused("A reconstitute of another node ({0}, process {1}) runs on this host.".format(
                    item["node"], item["pid"]))
        if found["running"]:
            return False, record
        if found["daemons"]:
            raise Refused("Expected no snowthd on this host before the rebuild starts, found process {0}. Stop "
                          "circonus-snowth.".format(found["daemons"][0]))
        _unlink(os.path.join(params["root"], "logs", "snowth.lock"))
        argv = reconstitute.command(params["node_id"], record["source"], os.access(reconstitute.WRAPPER, os.X_OK))
        record = dict(record, starts=record["starts"] + [time.time()], argv=argv)
        write(params["state_dir"], record)
        reconstitute.start(argv, record["log"])
    return True, record


def finish(params):
    """The reconstitute has finished: see that its process is gone and its lock file too."""
    record = current(params)
    if record["phase"] == "rebuilt":
        return False, record
    reconstitute.settle_down(params["node_id"], record["log"])
    _unlink(os.path.join(params["root"], "logs", "snowth.lock"))
    record = dict(record, phase="rebuilt")
    write(params["state_dir"], record)
    return True, record


def close(params):
    """The node serves again and has settled: let Hooper back, and keep the record of what was set aside."""
    record = current(params)
    if record["phase"] != "rebuilt":
        raise Refused("Expected a rebuild that has finished, found the phase {0}. Give the whole command again.".format(
            record["phase"]))
    if record["killswitch"]:
        _unlink(params["killswitch_path"])
    record = dict(record, phase="done", closed=time.time())
    write(params["state_dir"], record)
    return True, record


def set_aside(record):
    """[{"store", "aside", "used", "kind"}] that a record says was kept, whether it is still there or not. Pure."""
    return [{"store": kept["store"], "aside": kept["aside"], "used": kept["used"], "kind": kept["kind"]}
            for kept in record["stores"] if kept["action"] == "aside" and kept["mark"]]


def remove(params):
    """Destroy what one finished rebuild has set aside, and nothing that is not what it has set aside."""
    done = [record for record in records(params["state_dir"])
            if record["stamp"] == params["stamp"] and record["node_id"] == params["node_id"]]
    if not done or done[0]["phase"] != "done":
        raise Refused("Expected a finished rebuild {0} of {1} on this host, found {2}. Nothing was removed.".format(
            params["stamp"], params["node_id"], "one that is not finished" if done else "none"))
    record, left = done[0], []
    for kept in record["stores"]:
        if kept["action"] != "aside" or not kept["mark"]:
            continue
        now = irondb_stores.look(kept)["aside"]
        if now not in (None, kept["mark"]):
            raise Refused("Expected at {0} what was set aside on {1}, found something else. Look at it; nothing was "
                          "removed.".format(kept["aside"], record["stamp"]))
        left += [kept] if now else []
    for kept in left:
        irondb_stores.carry_out("drop", kept)
    write(params["state_dir"], dict(record, removed=True))
    return bool(left), dict(record, removed=True)


def bytes_on_disk(record, run=irondb_stores.zfs, seconds=1.0):
    """Bytes that the new stores of a record use by now, None when that cannot be told quickly."""
    total = 0
    for kept in record["stores"]:
        try:
            if kept["kind"] == "dataset":
                used = int(run(["zfs", "get", "-H", "-p", "-o", "value", "used", kept["dataset"]]).strip())
            else:
                used = irondb_stores.size_of(kept["path"], seconds)
        except (InsideError, ValueError):
            return None
        if used is None:
            return None
        total += used
    return total if record["stores"] else None


def watch(params):
    """Wait for the reconstitute of an unfinished rebuild: a row of :func:`irondb_reconstitute.watch` with ``line``."""
    record = current(params)
    row = reconstitute.watch(params["node_id"], record["log"], params["address"], params["timeout"],
                             lambda: bytes_on_disk(record))
    return dict(row, before=sum(kept["used"] or 0 for kept in record["stores"]) or None, log=record["log"])


def _unlink(path):
    try:
        os.unlink(path)
    except OSError as exc:
        if exc.errno != errno.ENOENT:
            raise InsideError("Cannot remove {0}: {1}. Remove it and give the same command again.".format(
                path, exc.strerror))


STEPS = {"open": open_record, "clear": clear, "start": start, "finish": finish, "close": close, "remove": remove}

# The argument spec of the module.
ARGUMENTS = dict(
    irondb_cluster.SPEC,
    step=dict(type="str", required=True, choices=["look"] + sorted(STEPS)),
    host=dict(type="str", required=True),
    node_id=dict(type="str", required=True),
    address=dict(type="str", required=True),
    mode=dict(type="str", choices=["reconstitute", "new_cluster"], default="reconstitute"),
    source=dict(type="dict"),
    extra=dict(type="list", elements="str", choices=list(irondb_stores.EXTRA), default=[]),
    destroy=dict(type="str"),
    stamp=dict(type="str"),
    units=dict(type="list", elements="str", default=["circonus-snowth"]),
    root=dict(type="path", default=irondb_stores.ROOT),
    etc_dir=dict(type="path", default=ETC),
    site_path=dict(type="path", default=site_file.PATH),
    state_dir=dict(type="path", default=STATE),
    killswitch_path=dict(type="path", default=hooper.KILLSWITCH),
    measure_s=dict(type="float", default=irondb_stores.MEASURE_S),
)
