"""Calls of podman, with the settings without which it cannot run containers on some machines."""

import concurrent.futures
import json
import os
import resource
import shutil
import subprocess
import time

from . import LabError
from .paths import CACHE, write

CONF = os.path.join(CACHE, "containers.conf")
CAP_SYS_RESOURCE = 24


def _effective_capabilities():
    with open("/proc/self/status", encoding="ascii") as stream:
        for line in stream:
            if line.startswith("CapEff:"):
                return int(line.split()[1], 16)
    return 0


def needed_settings():
    """Return the text of a containers.conf for this machine, or "" where plain podman works.

    Two faults are known. Root without CAP_SYS_RESOURCE cannot raise limits, and podman asks for more open files and
    processes than it may have. With hybrid cgroups (version 1 and a version 2 mount beside it) crun refuses to start
    containers, depending on which controllers are in use at that moment; runc works in both states.
    """
    if os.geteuid() != 0:
        return ""
    limits = not _effective_capabilities() >> CAP_SYS_RESOURCE & 1
    hybrid = os.path.exists("/sys/fs/cgroup/unified/cgroup.controllers")
    if not (limits or hybrid):
        return ""
    lines = ["[containers]"]
    if limits:
        with open("/proc/sys/kernel/pid_max", encoding="ascii") as stream:
            pid_max = int(stream.read())
        pairs = []
        for name, limit, most in (
            ("nofile", resource.RLIMIT_NOFILE, 1048576),
            ("nproc", resource.RLIMIT_NPROC, pid_max),
        ):
            hard = resource.getrlimit(limit)[1]
            value = most if hard == resource.RLIM_INFINITY else min(hard, most)
            pairs.append('"%s=%d:%d"' % (name, value, value))
        lines.append("default_ulimits = [%s]" % ", ".join(pairs))
    lines.append('log_driver = "k8s-file"')
    lines.append("[engine]")
    if hybrid and shutil.which("runc"):
        lines.append('runtime = "runc"')
    lines.append('events_logger = "file"')
    if not os.path.isdir("/run/systemd/system"):
        lines.append('cgroup_manager = "cgroupfs"')
    return "\n".join(lines) + "\n"


def containers_conf():
    """Return the path of a containers.conf to use, or None; an operator's own CONTAINERS_CONF wins."""
    if os.environ.get("CONTAINERS_CONF"):
        return os.environ["CONTAINERS_CONF"]
    text = needed_settings()
    if not text:
        return None
    try:
        with open(CONF, encoding="utf-8") as stream:
            if stream.read() == text:
                return CONF
    except FileNotFoundError:
        pass
    write(CONF, text)
    return CONF


def prepare():
    """Make podman usable for this process and its children."""
    if not shutil.which("podman"):
        raise LabError("podman is not installed; the lab needs podman (Debian: apt-get install podman runc mmdebstrap)")
    if os.geteuid() != 0:
        raise LabError(
            "the lab runs as user id %d, but its networks and systemd containers need root; run it with sudo"
            % os.geteuid()
        )
    conf = containers_conf()
    if conf:
        os.environ["CONTAINERS_CONF"] = conf


def run(*args, stdin=None, check=True, timeout=120):
    """Run podman and return the completed process (text). check: one line of error instead of a traceback."""
    command = ["podman", *args]
    try:
        done = subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
            stdin=None if stdin is not None else subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        if not check:
            return subprocess.CompletedProcess(command, 124, "", "no answer within %d s" % timeout)
        raise LabError(
            "podman %s: no answer within %d s; look at `podman ps -a`" % (" ".join(args[:3]), timeout)
        ) from None
    if check and done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or "nothing said").splitlines()[-1]
        raise LabError("podman %s failed (%d): %s" % (" ".join(args[:4]), done.returncode, said))
    return done


def remove(container, attempts=4, pause=2.0):
    """Remove a container by force; podman itself gives up on processes that a busy machine needs seconds to end."""
    command = ("rm", "-f", "-t", "0", "-v", container)
    for _number in range(attempts - 1):
        if run(*command, check=False).returncode == 0:
            return
        time.sleep(pause)
    run(*command)


def execute(container, *argv, stdin=None, check=True, timeout=60, user=None):
    """Run a command in a container."""
    options = ["exec"]
    if stdin is not None:
        options.append("-i")
    if user:
        options += ["--user", user]
    return run(*options, container, *argv, stdin=stdin, check=check, timeout=timeout)


def parallel(function, items, workers=8):
    """Call function(item) for all items at once and return the results in order; the first error is raised."""
    items = list(items)
    if not items:
        return []
    with concurrent.futures.ThreadPoolExecutor(max_workers=min(workers, len(items))) as pool:
        return list(pool.map(function, items))


def containers(project):
    """Return {container name: state} of one lab ("running", "paused", "exited", ...)."""
    out = run("ps", "-a", "--filter", "label=circonus-lab.project=%s" % project.name, "--format", "json").stdout
    return {entry["Names"][0]: entry["State"] for entry in json.loads(out or "[]") or []}


def image_exists(name):
    return run("image", "exists", name, check=False).returncode == 0
