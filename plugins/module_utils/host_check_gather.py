# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Run many readers side by side and be back at the deadline, whatever hangs.

The readers run as threads of a child process. A reader may hang where not even a signal ends it (a dead disk, a
suspended pool, a server that is gone behind a mount); then the child is left behind and the caller goes on. Programs
that readers started end with the child.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import errno
import json
import os
import select
import signal
import threading
import time

from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError

CHUNK = 65536


def gather(jobs, deadline_s):
    """Run ``jobs`` (name to a function without arguments that returns plain data) until the deadline.

    Returns ``(results, problems)``: by name the answers that came in time, as JSON gives them back, and one sentence
    for each job that raised or did not come back. Never raises because of a job and never waits longer than
    ``deadline_s`` seconds.
    """
    if not jobs:
        return {}, {}
    deadline = time.monotonic() + deadline_s
    reader, writer = os.pipe()
    try:
        child = os.fork()
    except OSError as exc:
        os.close(reader)
        os.close(writer)
        raise InsideError("Cannot start a process: {0}. Look at the load of this host.".format(exc.strerror))
    if child == 0:
        try:
            _work(jobs, writer)
        finally:
            os._exit(0)
    os.close(writer)
    try:
        results, problems = _listen(reader, set(jobs), deadline)
    finally:
        os.close(reader)
        _end(child)
    for name in jobs:
        if name not in results and name not in problems:
            problems[name] = "no answer within {0:g} s".format(deadline_s)
    return results, problems


def _listen(reader, wanted, deadline):
    """Read answers, one JSON line each, until all of ``wanted`` are there, the child is gone, or the deadline."""
    results, problems, rest = {}, {}, b""
    while wanted:
        left = deadline - time.monotonic()
        if left <= 0:
            break
        try:
            if not select.select([reader], [], [], left)[0]:
                break
            data = os.read(reader, CHUNK)
        except (OSError, select.error) as exc:
            if getattr(exc, "errno", None) == errno.EINTR:
                continue
            break
        if not data:
            break
        lines = (rest + data).split(b"\n")
        rest = lines.pop()
        for line in lines:
            name, good, value = json.loads(line.decode("utf-8"))
            (results if good else problems)[name] = value
            wanted.discard(name)
    return results, problems


def _end(child):
    """End the child and all it started. What cannot be ended is left to init."""
    for end in (os.killpg, os.kill):
        try:
            end(child, signal.SIGKILL)
        except OSError:
            continue
    limit = time.monotonic() + 0.1
    while time.monotonic() < limit:
        try:
            if os.waitpid(child, os.WNOHANG)[0]:
                return
        except OSError:
            return
        time.sleep(0.002)


def _work(jobs, writer):
    """The child: one thread a job, one line of JSON an answer."""
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    # Nothing of the caller stays open here: a session waits for its descriptors, and a socket has an owner.
    for entry in os.listdir("/proc/self/fd"):
        if int(entry) > 2 and int(entry) != writer:
            try:
                os.close(int(entry))
            except OSError:
                continue
    lock = threading.Lock()

    def one(name, function):
        try:
            answer = [name, True, function()]
        except InsideError as exc:
            answer = [name, False, str(exc)]
        except Exception as exc:
            answer = [name, False, " ".join("{0}: {1}".format(type(exc).__name__, exc).split())]
        data = (json.dumps(answer, default=str) + "\n").encode("utf-8")
        with lock:
            while data:
                data = data[os.write(writer, data):]

    threads = [threading.Thread(target=one, args=(name, jobs[name])) for name in sorted(jobs)]
    for thread in threads:
        thread.daemon = True
        thread.start()
    for thread in threads:
        thread.join()
