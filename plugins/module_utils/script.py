# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Run one program of the vendor: as an account, within a time, with its output."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os
import pwd
import signal
import subprocess
import tempfile
import time

from ansible_collections.circonus.inside.plugins.module_utils.errors import (
    BadInput,
    CommandFailed,
    InsideError,
    TimedOut,
)

# How much of the output is read at most, the end of it.
LIMIT = 1024 * 1024


def check(path):
    """Raise InsideError unless ``path`` is a program that can be run."""
    if not os.path.isfile(path):
        raise InsideError("Expected {0}, this host has none. Run Hooper, or look at the release.".format(path))
    if not os.access(path, os.X_OK):
        raise InsideError("{0} cannot be run, its mode has no x. Run Hooper.".format(path))


def demote(account):
    """A function for the child process that becomes ``account`` (pwd entry); None where it is that already."""
    if account is None or account.pw_uid == os.geteuid():
        return None

    def become():
        os.initgroups(account.pw_name, account.pw_gid)
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)

    return become


def account_of(user):
    """The pwd entry of an account, None for None. Raises BadInput when there is none."""
    if not user:
        return None
    try:
        return pwd.getpwnam(user)
    except KeyError:
        raise BadInput("Expected the account {0}, this host has none. Correct user.".format(user))


def failure(argv, rc, output):
    """The sentence about a program that failed. Pure."""
    said = " | ".join(line.strip() for line in output[-5:] if line.strip())
    how = "was ended by signal {0}".format(-rc) if rc < 0 else "ended with exit code {0}".format(rc)
    return "{0} {1}{2}. Look at what it says.".format(" ".join(argv), how, ": {0}".format(said) if said else "")


def run(argv, user=None, environment=None, timeout=300, lines=200):
    """Run ``argv`` and wait. Returns ``{"rc", "output": [last lines], "seconds"}``.

    Raises CommandFailed for another exit code than 0 and TimedOut when the time is up; its process group is ended then.
    Both carry the result in ``details``.
    """
    account = account_of(user)
    variables = dict(os.environ, **dict((str(key), str(value)) for key, value in (environment or {}).items()))
    if account is not None:
        variables.update(HOME=account.pw_dir, USER=account.pw_name, LOGNAME=account.pw_name)
    begun = time.time()
    # A file instead of a pipe: a daemon that the program leaves behind may hold it open.
    with tempfile.TemporaryFile() as stream:
        try:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env=variables,
                cwd="/",
                preexec_fn=demote(account),
                start_new_session=True,
            )
        except (OSError, subprocess.SubprocessError) as exc:
            raise CommandFailed("Cannot run {0}: {1}. Look at this host.".format(argv[0], exc))
        try:
            rc = process.wait(timeout=timeout)
            late = False
        except subprocess.TimeoutExpired:
            late = True
            for number in (signal.SIGTERM, signal.SIGKILL):
                try:
                    os.killpg(process.pid, number)
                    process.wait(timeout=5)
                    break
                except subprocess.TimeoutExpired:
                    continue
                except OSError:
                    break
            rc = process.poll()
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - LIMIT))
        output = stream.read().decode("utf-8", "replace").splitlines()[-lines:]
    result = {"rc": rc, "output": output, "seconds": round(time.time() - begun, 3)}
    if late:
        raise TimedOut(
            "{0} did not end within {1} s and was stopped. Raise the time, or look at what it waits for.".format(
                " ".join(argv), timeout
            ),
            **result
        )
    if rc != 0:
        raise CommandFailed(failure(argv, rc, output), **result)
    return result
