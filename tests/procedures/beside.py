# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Commands inside a container, from beside it: an observer does not depend on what it observes.

`podman exec` takes a third of a second on a busy machine, and tests ask thousands of questions. Here nsenter goes into
the namespaces and control groups of the container's first process, which takes some milliseconds. Otherwise it is the
same: a container that is down or paused answers nothing and the command fails.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")
#: What `podman exec` gives a command.
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "TERM": "xterm",
    "container": "podman",
}
#: Exit code of podman for a container that takes no command.
NO_CONTAINER = 125
_known: dict[str, tuple[int, str]] = {}


def run(container: str, argv, **options) -> subprocess.CompletedProcess:
    """Run ``argv`` in a container; ``options`` are those of `subprocess.run`. Output is captured, text by default."""
    options = {"text": True, **options}
    pid = first_process(container)
    groups = control_groups(pid) if pid else []
    problem = "is not running" if not pid else "is paused" if frozen(groups) else None
    if problem:
        said = "container %s %s\n" % (container, problem)
        output = ("", said) if options["text"] else (b"", said.encode())
        return subprocess.CompletedProcess(list(argv), NO_CONTAINER, *output)
    return subprocess.run(
        ["nsenter", "--target", str(pid), "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--wdns=/", *argv],
        env=ENVIRONMENT,
        preexec_fn=lambda: join(groups),
        capture_output=True,
        check=False,
        **options,
    )


def first_process(container: str) -> int | None:
    """Process id of a container's init on this machine, None when it does not run."""
    pid, started = _known.get(container, (0, ""))
    if not pid or _started(pid) != started:
        said = subprocess.run(
            ["podman", "inspect", "--format", "{{.State.Pid}}", container], capture_output=True, text=True, check=False
        ).stdout.strip()
        pid = int(said) if said.isdigit() else 0
        started = _started(pid)
        _known[container] = pid, started
    return pid if started else None


def _started(pid: int) -> str:
    """When a process was started, in ticks; a number that is given out again belongs to another start."""
    try:
        return Path("/proc/%d/stat" % pid).read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def control_groups(pid: int) -> list[Path]:
    """Directories of the control groups of the container whose init is ``pid``, of either version."""
    found = []
    for line in Path("/proc/%d/cgroup" % pid).read_text().splitlines():
        _number, names, path = line.split(":", 2)
        mount = GROUPS / names.removeprefix("name=") if names else GROUPS / "unified"
        found.append((mount if mount.is_dir() else GROUPS) / path.removesuffix("/init.scope").lstrip("/"))
    return found


def frozen(groups: list[Path]) -> bool:
    """Whether the container is paused."""
    for group in groups:
        for name, mark in (("freezer.state", "FROZEN"), ("cgroup.freeze", "1")):
            path = group / name
            if path.is_file() and path.read_text().strip() == mark:
                return True
    return False


def join(groups: list[Path]):
    """Put this process into the control groups. Where a group takes none (version 2), it stays outside."""
    for group in groups:
        try:
            (group / "cgroup.procs").write_text(str(os.getpid()))
        except OSError:
            continue
