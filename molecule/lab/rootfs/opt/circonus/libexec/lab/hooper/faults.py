"""Fault injection for tests: files in one directory make the stand-in fail as the documents say the real one may.

exit-once, next-exit  "<code> <text>": the next run (not -n) ends with this code before it changes anything
exit-always           the same for every run while the file exists
summary-once          lines "LEVEL: text" added to the summary of the next run
summary-always        the same for every run
summary-fails         the run does its work, then ends with 95
slow                  seconds to wait before the work starts
newer-hooper          a version: the next run without -m and -n installs it, removes the file and ends with 90
update-fails          the next runs without -m and -n end with 91 while the file exists
"""

import os
import re
import time

DIRECTORY = "/opt/circonus/var/hooper-standin"


def _read(name):
    try:
        with open(os.path.join(DIRECTORY, name), encoding="utf-8") as handle:
            return handle.read().strip()
    except FileNotFoundError:
        return None


def present(name):
    return os.path.exists(os.path.join(DIRECTORY, name))


def _remove(name):
    try:
        os.unlink(os.path.join(DIRECTORY, name))
    except FileNotFoundError:
        pass


def parse_exit(text):
    """(code, message) of an exit file; a file without a number counts as 1."""
    match = re.match(r"(\d+)\s*(.*)", text, re.S)
    return (int(match.group(1)), match.group(2).strip() or "injected fault") if match else (1, text or "injected fault")


def exit_code(consume):
    for name, once in (("exit-once", True), ("next-exit", True), ("exit-always", False)):
        text = _read(name)
        if text is not None:
            if once and consume:
                _remove(name)
            return parse_exit(text)
    return 0, ""


def parse_summary(text):
    """[(level, text)] of a summary file; a line without a level is a WARNING."""
    found = []
    for line in filter(None, (line.strip() for line in text.splitlines())):
        match = re.match(r"(INFO|NOTICE|WARNING|FATAL):\s*(.*)", line)
        found.append((match.group(1), match.group(2)) if match else ("WARNING", line))
    return found


def summary_lines(consume):
    found = []
    for name, once in (("summary-once", True), ("summary-always", False)):
        text = _read(name)
        if text is not None:
            found.extend(parse_summary(text))
            if once and consume:
                _remove(name)
    return found


def delay(say):
    text = _read("slow")
    if text:
        say(f"slow is set: waiting {text} s")
        time.sleep(float(text))


def package_update(say):
    """Update of Hooper's own package: 0 nothing newer, 90 updated, 91 failed."""
    if present("update-fails"):
        say("update of circonus-field-hooper failed (fault injection update-fails)")
        return 91
    version = _read("newer-hooper")
    if version is None:
        return 0
    with open(os.path.join(DIRECTORY, "installed-version"), "w", encoding="utf-8") as handle:
        handle.write(version + "\n")
    _remove("newer-hooper")
    say(f"circonus-field-hooper {version} installed; run Hooper again")
    return 90
