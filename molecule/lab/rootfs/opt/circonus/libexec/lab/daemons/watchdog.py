"""The watchdog of libmtev programs: a parent that only watches, and a child of the same program that does the work.

The child beats twice a second. A child that misses its heartbeats is killed, one that died is started again; too many
starts within a minute end the parent too. `shutdown` (exit 0) and a first start that fails end both.
"""

import os
import select
import signal
import sys
import time

from daemons.base import notify

BEAT = 0.5
LATE = 5.0
RETRIES, SPAN = 5, 60.0
RESTART = 2  # the child's exit code that asks for a new one


class Child:
    """The working side's view: beat() in the main loop, ready() once."""

    def __init__(self, pipe=None):
        self.pipe = pipe
        self.hanging = False

    def ready(self):
        if self.pipe is None:
            notify("READY=1\nSTATUS=lab stand-in")
        else:
            os.write(self.pipe, b"R")

    def beat(self):
        """Say that the main loop runs; ends the child when its parent is gone."""
        while self.hanging:
            time.sleep(BEAT)
        if self.pipe is not None:
            try:
                os.write(self.pipe, b".")
            except BrokenPipeError:
                os._exit(1)

    def commands(self):
        """Console commands of every libmtev program that end or hurt it."""

        def hang(_words):
            self.hanging = True
            return ""

        return {
            "crash": lambda _words: os.kill(os.getpid(), signal.SIGABRT) or "",
            "hang": hang,
            "restart": lambda _words: os._exit(RESTART),
            "shutdown": lambda _words: os._exit(0),
        }


def alone(work):
    """Foreground without a parent (-M, or -d as the manual's core-dump advice runs it)."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    return work(Child())


def pair(work, log, late=LATE):
    """Run work(child) under a watching parent; returns the exit code of the parent."""
    state = {"pid": 0, "stop": False}

    def stop(*_):
        state["stop"] = True
        if state["pid"]:
            try:
                os.kill(state["pid"], signal.SIGTERM)
            except ProcessLookupError:
                pass

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    starts, ever_ready = [], False
    while True:
        starts = [*(at for at in starts if time.monotonic() - at < SPAN), time.monotonic()]
        if len(starts) > RETRIES:
            log("watchdog: %d starts within %d seconds, giving up" % (len(starts), SPAN))
            return 1
        reading, writing = os.pipe()
        state["pid"] = os.fork()
        if state["pid"] == 0:
            os.close(reading)
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: os._exit(0))
            code = 1
            try:
                code = work(Child(writing))
            except SystemExit as exc:
                code = exc.code if isinstance(exc.code, int) else 1
            except Exception as exc:  # one line in the log, and the parent starts it again
                log("EXCEPTION child ends: %r" % exc)
            finally:
                os._exit(code or 0)
        os.close(writing)
        log("watchdog: child %d started" % state["pid"])
        if state["stop"]:
            stop()
        ready = watch(reading, state["pid"], log, late, first=not ever_ready)
        ever_ready = ever_ready or ready
        os.close(reading)
        _pid, status = os.waitpid(state["pid"], 0)
        code = os.waitstatus_to_exitcode(status)
        if state["stop"]:
            return 0
        log("watchdog: child %d ended with %s" % (state["pid"], code if code >= 0 else "signal %d" % -code))
        if code == 0 or not ever_ready:
            return code if code >= 0 else 1


def watch(pipe, pid, log, late, first):
    """Return when the child is gone; True when it had been ready."""
    ready = False
    while True:
        try:
            readable = select.select([pipe], [], [], late if ready else 60.0)[0]
        except InterruptedError:
            continue
        data = os.read(pipe, 4096) if readable else b""
        if b"R" in data:
            ready = True
            if first:
                notify("READY=1\nSTATUS=lab stand-in, watchdog and child %d" % pid)
            else:
                notify("STATUS=lab stand-in, watchdog and child %d (restarted)" % pid)
        if not readable:
            log("watchdog: child %d missed its heartbeats, killed" % pid)
            os.kill(pid, signal.SIGKILL)
            return ready
        if not data:
            return ready


def run(name, work, log, arguments):
    """What every such program does with its options: -M or -d: no parent."""
    print("LAB STAND-IN of %s (not vendor code)" % name, flush=True)
    if "-M" in arguments or "-d" in arguments:
        return alone(work)
    return pair(work, log)


def die(log, text, code=255):
    """End a child that cannot start, with its reason as the last line."""
    log(text)
    print(text, file=sys.stderr, flush=True)
    raise SystemExit(code)
