# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Repair the LevelDB stores of a stopped data_storage node until it opens again: what the module irondb_repair does.

A node says of one damaged store at a time why it does not open. So after a start that fails its log is read again, and
what it names now is repaired as well; the same store twice is beyond repair.

``snowthd -r`` works in the foreground and ends by itself. It is started as a session of its own and never stopped: a
repair that is cut off may lose what it had in hand. One that a lost controller left behind is waited for.

Source: operation manual, "Repairing Corrupt LevelDB Data Stores".
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os
import subprocess
import time

from ansible_collections.circonus.inside.plugins.module_utils import irondb_damage, script, service, unit_state
from ansible_collections.circonus.inside.plugins.module_utils.errors import (
    BadInput,
    CommandFailed,
    InsideError,
    Refused,
    TimedOut,
)
from ansible_collections.circonus.inside.plugins.module_utils.lock import Turn

SNOWTHD = "/opt/circonus/sbin/snowthd"
CONF = "/opt/circonus/etc/snowth.conf"
ACCOUNT = "nobody"
STATE_DIR = "/var/lib/circonus-inside"
LOCK = "irondb_repair.lock"
#: More stores than a node has: with the usual five or six periods it has nine.
ROUNDS = 12
POLL_S = 0.5
#: How much older than it is the time of a file may be.
COARSE_S = 0.05


def command(node, target, program=SNOWTHD, conf=CONF, account=ACCOUNT):
    """The command of the manual for one store. Pure. Raises BadInput for a target that it does not know."""
    if not irondb_damage.is_target(target):
        raise BadInput("Expected a store that snowthd -r repairs ({0}, hist/<period>), found {1!r}. Look at errorlog "
                       "of the node.".format(", ".join(irondb_damage.TARGETS), target))
    return [program, "-u", account, "-g", account, "-r", target, "-i", node, "-c", conf]


def of_state(look, *states):
    """Targets of a look (of :func:`irondb_damage.collect`) in these states, in the order of ``-r`` names. Pure."""
    return [item["target"] for item in look["stores"] if item["state"] in states and item["target"]]


def needed(look):
    """Whether there is anything to do: damage, or a repaired store that no process has opened yet. Pure."""
    states = set(item["state"] for item in look["stores"])
    return bool(states & {"damaged", "beyond"}) or "repaired" in states and not look["serving"]


def problem(look, targets, units):
    """Why nothing may be repaired, one sentence, or ''. Pure.

    targets: those that were planned; the log must name each of them.
    """
    beyond = next((item for item in look["stores"] if item["state"] == "beyond"), None)
    if beyond:
        return "No repair is documented for the damage of {0}: {1} {2}".format(
            beyond["store"] or "this node", beyond["line"], beyond["why"])
    other = irondb_damage.foreign(look["processes"], units)
    if other:
        return "Expected nobody else to work on the store, found {0}. Wait for its end, or end it.".format(other)
    named = [item["target"] for item in look["stores"]]
    stranger = [target for target in targets if target not in named]
    if stranger:
        return "Expected {0} to be damaged, errorlog names {1}. Repair what the log names.".format(
            ", ".join(stranger), ", ".join(filter(None, named)) or "no store")
    if any(item["kind"] == "daemon" for item in look["processes"]):
        return "Expected {0} to be stopped, both of its processes, found snowthd running. Stop it first.".format(
            " or ".join(units))
    return ""


def turn(path, timeout):
    """One repair at a time on this host. Raises TimedOut."""
    return Turn(path, timeout, "Another repair works on this host since before this one ({0}). Give the same command "
                               "again: it waits for it.".format(path), time.monotonic)


def wait_for_others(timeout, look=irondb_damage.running, pause=time.sleep, clock=time.monotonic):
    """Wait for a ``snowthd -r`` that somebody began. Returns the seconds waited. Raises TimedOut."""
    begun = clock()
    while True:
        at_work = [item for item in look() if item["kind"] == "repair"]
        if not at_work:
            return clock() - begun
        if clock() - begun >= timeout:
            raise TimedOut("snowthd -r {0} (pid {1}) still works after {2:.0f} s. It is left alone; give the same "
                           "command again: it waits for it.".format(at_work[0]["target"], at_work[0]["pid"], timeout))
        pause(POLL_S)


def run(argv, output, timeout):
    """Run a repair to its end: ``{"rc", "output": [last lines], "seconds"}``.

    Raises CommandFailed for another exit code than 0, TimedOut when it is not back in time; it goes on then.
    """
    begun = time.time()
    with open(output, "wb") as stream:
        try:
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT, cwd="/",
                                       start_new_session=True)
        except OSError as exc:
            raise CommandFailed("Cannot run {0}: {1}. Look at this host.".format(argv[0], exc.strerror))
    try:
        rc = process.wait(timeout)
    except subprocess.TimeoutExpired:
        raise TimedOut("{0} is not done after {1:.0f} s. It was not stopped; give the same command again: it waits for "
                       "it.".format(" ".join(argv), timeout))
    result = {"rc": rc, "output": unit_state.tail(output, 20), "seconds": round(time.time() - begun, 3)}
    if rc != 0:
        raise CommandFailed(script.failure(argv, rc, result["output"]), **result)
    return result


class Repair:
    """The work on one host. look, repair, start and stop are what touches it; tests give their own."""

    def __init__(self, params):
        self.params, self.node = params, params["node"]
        self.entry = params["service"]
        self.units = unit_state.names_of(self.entry)
        self.done = []

    def look(self):
        return irondb_damage.collect(dict(self.params, units=self.units, insist=self.params["targets"]))

    def repair(self, target):
        output = os.path.join(self.params["state_dir"], "irondb_repair-{0}.log".format(target.replace("/", "-")))
        argv = command(self.node, target, self.params["program"], self.params["conf"])
        return dict(run(argv, output, self.params["timeout"]), target=target)

    def start(self):
        # A unit that was given up after too many starts would refuse the next one.
        unit_state.run(["systemctl", "reset-failed"] + [unit_state.full_name(name) for name in self.units])
        service.operate(self.entry, "start", timeout=self.params["start_timeout"])

    def stop(self):
        service.operate(self.entry, "stop", timeout=self.params["start_timeout"])

    def work(self):
        """Repair and start until the node opens. Raises InsideError."""
        look = self.look()
        if not needed(look):
            return self.result(look, False)
        why = problem(look, self.params["targets"], self.units)
        if why:
            raise Refused(why, repaired=self.done, stores=look["stores"])
        wanted = of_state(look, "damaged")
        for _round in range(ROUNDS):
            for target in wanted:
                self.done.append(self.repair(target))
            mark = time.time() - COARSE_S
            try:
                self.start()
            except InsideError as exc:
                wanted = self.next_round(mark, exc)
                self.stop()
                continue
            look = self.look()
            fresh = [item for item in look["stores"] if item["state"] in ("damaged", "beyond") and item["at"] >= mark]
            if fresh:
                raise InsideError("{0} opened and says again: {1}. Rebuild the node: data_storage_rebuild.yml.".format(
                    self.units[0], fresh[0]["line"]), repaired=self.done, stores=look["stores"])
            return self.result(look, True)
        raise InsideError("{0} names another damaged store after each of {1} repairs. Rebuild the node: "
                          "data_storage_rebuild.yml.".format(self.units[0], ROUNDS), repaired=self.done)

    def next_round(self, mark, failure):
        """Targets that the log names since ``mark``. Raises InsideError when a start failed for another reason."""
        look = self.look()
        fresh = [item for item in look["stores"] if item["state"] in ("damaged", "beyond") and item["at"] >= mark]
        beyond = next((item for item in fresh if item["state"] == "beyond"), None)
        if beyond:
            raise InsideError("After the repair the node still does not open: {0} {1}".format(
                beyond["line"], beyond["why"]), repaired=self.done, stores=look["stores"])
        again = [item for item in fresh if item["target"] in [one["target"] for one in self.done]]
        if again:
            raise InsideError("{0} was repaired and is damaged still: {1}. It is beyond repair; rebuild the node: "
                              "data_storage_rebuild.yml.".format(again[0]["target"], again[0]["line"]),
                              repaired=self.done, stores=look["stores"])
        if not fresh:
            sentence = "The repair is done and the node does not open, its log names no damaged store: {0}"
            raise InsideError(sentence.format(failure), repaired=self.done, stores=look["stores"])
        return [item["target"] for item in fresh]

    def result(self, look, changed):
        names = [item["target"] for item in self.done]
        text = "{0} repaired; the node opens again.".format(", ".join(names))
        if not names:
            text = "The node was started and opens." if changed else "The log names no damaged store; left alone."
        return {"changed": changed, "repaired": self.done, "stores": look["stores"], "serving": look["serving"],
                "msg": text}


def rehearse(params):
    """What :func:`carry_out` would do, without doing it."""
    units = unit_state.names_of(params["service"])
    look = irondb_damage.collect(dict(params, units=units, insist=params["targets"]))
    todo = []
    if needed(look):
        why = problem(dict(look, processes=[item for item in look["processes"] if item["unit"] not in units]),
                      params["targets"], units)
        if why:
            raise Refused(why, repaired=[], stores=look["stores"])
        todo = ["repair {0}".format(target) for target in of_state(look, "damaged")]
        todo.append("start {0}".format(look["unit"] or units[0]))
    return {"changed": bool(todo), "repaired": [], "stores": look["stores"], "serving": look["serving"],
            "msg": "Would {0}.".format(", ".join(todo)) if todo else "Nothing to repair."}


def carry_out(params):
    """What the module irondb_repair returns. Raises InsideError."""
    script.check(params["program"])
    for target in params["targets"]:
        command(params["node"], target)
    with turn(os.path.join(params["state_dir"], LOCK), params["timeout"]):
        wait_for_others(params["timeout"])
        return Repair(params).work()
