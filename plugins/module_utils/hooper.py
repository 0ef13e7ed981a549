# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Run Hooper, the vendor's configuration system, on one host and understand how it ended.

Sources: operation manual "Updates"; on-premises documentation, Hooper: exit codes 90 to 95 and 99, the four levels of
the
summary at the end of a run, maintenance mode, self-configure, config-check, killswitch. The layout of the summary is
not
documented, so it is read leniently and its text is kept.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import json
import os
import re
import signal
import subprocess
import tempfile
import time

from ansible_collections.circonus.inside.plugins.module_utils import site_file
from ansible_collections.circonus.inside.plugins.module_utils.errors import CommandFailed, InsideError, TimedOut

COMMAND = "/opt/circonus/bin/run-hooper"
KILLSWITCH = "/opt/circonus/var/chef-solo/killswitch"
LOG = "/var/log/chef/circonus-hooper.log"
LEVELS = ("INFO", "NOTICE", "WARNING", "FATAL")
HIDDEN = "********"

OK, PACKAGE_UPDATED, PACKAGE_FAILED, KILLED, NO_NAME, ATTENTION, NO_SUMMARY, USAGE = 0, 90, 91, 92, 93, 94, 95, 99

_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_HEADER = re.compile(r"^\W*[\w ]*\bsummary\b[\w ]*\W*$", re.IGNORECASE)
_ENTRY = re.compile(r"^\W{0,12}(?:[\w.-]{1,64}[:\]]\s+\W{0,4})?(INFO|NOTICE|WARNING|FATAL)\b[\]):>\s|-]*(.*)$")
_DIFF = re.compile(r"^\s*(?:[+-]\S|[+-]{3} |@@ )")
_BULLET = re.compile(r"^\s+\W*(\S.*)$")
_CHEF = re.compile(r"^\s*\[\d{4}-\d\d-\d\dT[^\]]*\]\s+(DEBUG|INFO|WARN|WARNING|ERROR|FATAL):\s*(.*)$")
_UPDATED = re.compile(r"\bfinished,\s+(\d+)(?:/\d+)?\s+resources?\b", re.IGNORECASE)
_SECRET_NAME = re.compile(r"(pass|secret|token|^cookie$|session_key|oauth2_key|private)", re.IGNORECASE)
_SECRET_TEXT = re.compile(
    r"(?i)\b([\w.-]*(?:pass(?:word|phrase)?|secret|token|cookie|session_key|oauth2_key)[\"']?\s*(?:=>|[:=])\s*)"
    r"(\"[^\"]*\"|'[^']*'|[^\s,;]+)"
)


def command_line(command=COMMAND, nodename=None, maintenance=True, noop=False, debug=False):
    """Arguments of one run. Pure."""
    argv = [command]
    for wanted, flag in ((maintenance, "-m"), (noop, "-n"), (debug, "-d")):
        if wanted:
            argv.append(flag)
    return argv + ([nodename] if nodename else [])


def parse_summary(text):
    """Sort the summary of a run by level. Pure.

    Returns ``{"INFO": [text, ...], "NOTICE": [...], "WARNING": [...], "FATAL": [...]}``. The words are matched in
    capitals
    near the beginning of a line; when there is a headline with the word summary, only what follows the last one counts.
    Indented lines below an entry belong to it. Lines of the configuration run's own log and of file diffs do not count.
    """
    lines = [_ANSI.sub("", line).rstrip() for line in text.splitlines()]
    for position in range(len(lines) - 1, -1, -1):
        if _HEADER.match(lines[position]) and not _ENTRY.match(lines[position]):
            lines = lines[position + 1 :]
            break
    found = dict((level, []) for level in LEVELS)
    level, bare = None, False
    for line in lines:
        if _CHEF.match(line) or _DIFF.match(line):
            level = None
            continue
        match = _ENTRY.match(line)
        if match:
            level, content = match.group(1), match.group(2).strip()
            bare = not content
            if content and content not in found[level]:
                found[level].append(content)
            continue
        more = _BULLET.match(line) if level else None
        if more is None:
            level = None
        elif bare:
            if more.group(1) not in found[level]:
                found[level].append(more.group(1))
        elif found[level]:
            found[level][-1] += " " + more.group(1)
    return found


def parse_messages(text):
    """Messages of severity WARN and higher in the configuration run's own log, in order and once each. Pure."""
    found = []
    for line in text.splitlines():
        match = _CHEF.match(_ANSI.sub("", line))
        if match and match.group(1) not in ("DEBUG", "INFO"):
            entry = "{0}: {1}".format(match.group(1), match.group(2).strip())
            if entry not in found:
                found.append(entry)
    return found


def parse_updated(text):
    """How many resources a run changed, or None when it does not say. Pure."""
    counts = _UPDATED.findall(_ANSI.sub("", text))
    return int(counts[-1]) if counts else None


def secrets_of(document):
    """Values in a site.json that must never be shown, longest first. Pure."""
    found = set()

    def walk(value, secret):
        if isinstance(value, dict):
            for key, below in value.items():
                walk(below, bool(_SECRET_NAME.search(str(key))))
        elif isinstance(value, list):
            for below in value:
                walk(below, secret)
        elif secret and isinstance(value, str) and len(value) >= 4:
            found.add(value)

    walk(document, False)
    return sorted(found, key=lambda value: (-len(value), value))


def redact(text, secrets=()):
    """``text`` without the ``secrets`` and without what follows a word such as password. Pure."""
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    return _SECRET_TEXT.sub(lambda match: match.group(1) + HIDDEN, text)


def safe_tail(text, secrets=(), lines=20):
    """Last lines of the output for a person: no diff lines, no secrets. Pure."""
    kept = [_ANSI.sub("", line).rstrip() for line in text.splitlines() if line.strip() and not _DIFF.match(line)]
    return [redact(line, secrets) for line in kept[-lines:]]


def decide(rc, summary, done, options):
    """What to do after a run that ended with ``rc``. Pure.

    summary: as :func:`parse_summary`. done: ``{"updates": runs repeated for 90, "self_configured": bool}``. options:
    ``{"update_retries": int, "auto_self_configure": bool, "allow_notice": bool, "allow_killswitch": bool, "noop":
    bool}``.
    Returns ``(verdict, sentence)`` with verdict done, again, self_configure, skip or fail. The sentence of a failure
    says
    what was found and what to do; log excerpts are added by the caller.
    Source: on-premises documentation, Hooper exit codes.
    """
    attention = "; ".join(
        "{0}: {1}".format(level, entry) for level in ("FATAL", "NOTICE") for entry in summary.get(level, ())
    )
    if rc == PACKAGE_UPDATED:
        if done["updates"] < options["update_retries"]:
            return "again", "a newer Hooper was installed"
        return "fail", (
            "installed a newer version of itself {0} times in a row (exit code 90), expected one. Check the package "
            "repository and the version pin.".format(done["updates"] + 1)
        )
    if rc == PACKAGE_FAILED:
        return "fail", (
            "could not update its own package (exit code 91), nothing else was done. Check repository, proxy and "
            "version pin of this host, or use mode maintenance."
        )
    if rc == KILLED:
        verdict = "skip" if options["allow_killswitch"] else "fail"
        return verdict, (
            "found the killswitch and did nothing (exit code 92). Somebody wants Hooper to keep off this host; remove "
            "the file {0} when that is over.".format(options.get("killswitch", KILLSWITCH))
        )
    if rc == NO_NAME:
        if options["noop"]:
            return "skip", "does not know the name of this host yet (exit code 93); a real run would self-configure"
        if options["auto_self_configure"] and not done["self_configured"]:
            return "self_configure", "the host had no name"
        return "fail", (
            "does not know the name of this host (exit code 93). Run it with self_configure, and check that machinfo "
            "of site.json has an address of this host."
        )
    if summary.get("FATAL"):
        return "fail", (
            "stopped (exit code {0}): {1}. Fix this before any other host is touched.".format(rc, attention.rstrip("."))
        )
    if rc in (OK, ATTENTION) and summary.get("NOTICE"):
        if options["allow_notice"]:
            return "done", attention
        return "fail", (
            "wants the attention of an operator (exit code {0}): {1}. Settle it, or accept notices by "
            "allow_notice.".format(rc, attention.rstrip("."))
        )
    if rc == OK:
        return "done", ""
    if rc == ATTENTION:
        return "fail", (
            "wants the attention of an operator (exit code 94) and its summary does not say why. Read its log."
        )
    if rc == NO_SUMMARY:
        return "fail", (
            "could not summarise its run (exit code 95), so its result is unknown. Read its log, then run it again."
        )
    if rc == USAGE:
        return "fail", (
            "did not understand its arguments (exit code 99). Expected a Hooper with the documented options; check the "
            "installed package circonus-field-hooper."
        )
    if rc < 0:
        return "fail", "was killed by signal {0}. Find out by whom, then run it again.".format(-rc)
    return "fail", "failed with exit code {0} of the configuration run. Read the last lines of its log.".format(rc)


def running(command=COMMAND, proc="/proc"):
    """Process ids of runs that are under way on this host, started by whomever."""
    found = []
    for entry in os.listdir(proc):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            with open(os.path.join(proc, entry, "cmdline"), "rb") as handle:
                words = handle.read().split(b"\0")
        except (IOError, OSError):
            continue
        if command.encode() in words[:3]:
            found.append(int(entry))
    return found


def execute(argv, timeout):
    """Run ``argv``, both outputs together. Returns ``(rc, text, seconds)``; a signal is a negative rc. Raises TimedOut.

    The output goes to a file: services that Hooper starts may keep it open, and reading a pipe would then never end.
    """
    started = time.time()
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        except OSError as exc:
            raise CommandFailed(
                "Cannot run {0}: {1}. Install the package circonus-field-hooper on this host.".format(
                    argv[0], exc.strerror
                )
            )
        late = False
        try:
            process.wait(timeout=max(0.1, timeout))
        except subprocess.TimeoutExpired:
            late = True
            for number, grace in ((signal.SIGTERM, 10.0), (signal.SIGKILL, 10.0)):
                try:
                    os.killpg(process.pid, number)
                    process.wait(timeout=grace)
                    break
                except subprocess.TimeoutExpired:
                    continue
                except OSError:
                    break
        output.seek(0)
        text = output.read().decode("utf-8", "replace")
    if late:
        raise TimedOut(
            "did not end within {0:.0f} s and was stopped. Read its log, then run it again or raise the "
            "timeout.".format(timeout),
            output=text,
        )
    return process.returncode, text, round(time.time() - started, 3)


def load_secrets(path=site_file.PATH):
    """Secrets of the installed site.json; none when it cannot be read."""
    try:
        with open(path, "rb") as handle:
            return secrets_of(json.loads(handle.read().decode("utf-8")))
    except (IOError, OSError, ValueError):
        return []


def converge(params, noop=False, runner=execute, clock=time.time, pause=time.sleep, busy=running):
    """Run Hooper until its exit codes say that it is done.

    params: those of the module hooper_run. Returns ``{"changed", "rc", "summary", "messages", "runs": [{"arguments",
    "rc",
    "seconds"}], "seconds", "again": True when a warning asks for another run later, "skipped": bool, "reason",
    "updated",
    "log_tail"}``. Raises InsideError; its details have the same keys.
    """
    started = clock()
    deadline = started + params["timeout"]
    secrets = load_secrets(params.get("site_path") or site_file.PATH)
    log = params.get("log_path") or LOG
    host = params.get("nodename") or os.uname()[1].split(".")[0]
    options = {
        "update_retries": params.get("update_retries", 2),
        "auto_self_configure": params.get("auto_self_configure", True),
        "allow_notice": params.get("allow_notice", False),
        "allow_killswitch": params.get("allow_killswitch", False),
        "killswitch": params.get("killswitch_path") or KILLSWITCH,
        "noop": noop,
    }
    done = {"updates": 0, "self_configured": False}
    result = {
        "changed": False,
        "rc": None,
        "summary": dict((level, []) for level in LEVELS),
        "messages": [],
        "runs": [],
        "seconds": 0.0,
        "again": False,
        "skipped": False,
        "reason": "",
        "updated": None,
        "log_tail": [],
    }

    def fail(sentence, kind=InsideError):
        result["seconds"] = round(clock() - started, 3)
        raise kind("Hooper on {0} {1} Its log is {2}.".format(host, redact(sentence, secrets), log), **result)

    def once(argv):
        try:
            rc, text, seconds = runner(argv, deadline - clock())
        except TimedOut as exc:
            text = exc.details.get("output", "")
            result["runs"].append({"arguments": argv[1:], "rc": None, "seconds": round(clock() - started, 3)})
            result["log_tail"] = safe_tail(text, secrets)
            fail(str(exc), TimedOut)
        result["runs"].append({"arguments": argv[1:], "rc": rc, "seconds": seconds})
        result["rc"] = rc
        found = parse_summary(text)
        result["summary"] = dict((level, [redact(entry, secrets) for entry in found[level]]) for level in LEVELS)
        result["messages"] = [redact(entry, secrets) for entry in parse_messages(text)]
        result["log_tail"] = safe_tail(text, secrets)
        result["updated"] = parse_updated(text)
        return rc

    def last_words():
        return " It said: {0}.".format(" | ".join(result["log_tail"][-3:])) if result["log_tail"] else ""

    def special(word):
        rc = once([params["command"], word])
        if rc == KILLED and options["allow_killswitch"]:
            return rc
        if rc != OK or result["summary"]["FATAL"]:
            verdict, sentence = decide(
                rc, result["summary"], {"updates": 99, "self_configured": True}, dict(options, allow_notice=True)
            )
            if verdict == "fail":
                fail("{0}: {1}{2}".format(word, sentence, last_words()))
        return rc

    waited = False
    while busy(params["command"]):
        if clock() >= deadline:
            fail(
                "is still busy with a run that somebody else started (process {0}). Wait for it.".format(
                    ", ".join(map(str, busy(params["command"])))
                ),
                TimedOut,
            )
        waited = True
        pause(0.5)
    if waited:
        result["reason"] = "waited for a run that was under way"

    if params.get("config_check") or (params.get("self_configure") and noop):
        special("config-check")
        if params.get("config_check"):
            result["seconds"] = round(clock() - started, 3)
            return result
    elif params.get("self_configure"):
        special("self-configure")
        done["self_configured"] = True

    argv = command_line(
        params["command"], params.get("nodename"), params["mode"] == "maintenance", noop, params.get("debug", False)
    )
    while True:
        rc = once(argv)
        if rc in (OK, ATTENTION):
            # A run that does not tell how much it changed is taken to have changed something.
            result["changed"] = result["changed"] or result["updated"] is None or result["updated"] > 0
        elif rc == PACKAGE_UPDATED:
            result["changed"] = True
        verdict, sentence = decide(rc, result["summary"], done, options)
        if verdict == "again":
            done["updates"] += 1
            continue
        if verdict == "self_configure":
            special("self-configure")
            result["changed"] = done["self_configured"] = True
            continue
        if verdict == "fail":
            explained = rc == KILLED or result["summary"]["FATAL"] or result["summary"]["NOTICE"]
            fail(sentence + ("" if explained else last_words()))
        result["skipped"] = verdict == "skip"
        result["reason"] = redact(sentence, secrets) or result["reason"]
        result["again"] = bool(result["summary"]["WARNING"])
        result["seconds"] = round(clock() - started, 3)
        return result
