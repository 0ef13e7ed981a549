# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Files of a component that the manual leaves to the operator: what they should hold, and which units to restart."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import re

from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput

_KEY = re.compile(r"^\s*([^\s=#;]+)(\s*=|\s)")


def key_of(line):
    """What a line is about: the text before its ``=``, or its first word; None for a comment or a single word. Pure.

    Both kinds of file are in the manual: ``USER=43191`` (noit.local.env) and ``search INFO`` (logging.conf).
    """
    found = _KEY.match(line)
    return (found.group(1), found.group(2).strip()) if found else None


def with_lines(text, lines):
    """``text`` with every one of ``lines`` in it. Pure.

    A line about the same thing (:func:`key_of`) is replaced where it stands, repeated ones are dropped, others stay as
    they are. What is missing is added at the end.
    """
    wanted = [(key_of(line), line) for line in lines]
    result, done = [], set()
    for present in text.splitlines():
        key = key_of(present)
        match = next((n for n, (k, line) in enumerate(wanted) if line == present or (k and k == key)), None)
        if match is None:
            result.append(present)
        elif match not in done:
            done.add(match)
            result.append(wanted[match][1])
    result += [line for number, (unused, line) in enumerate(wanted) if number not in done]
    return "".join(line + "\n" for line in result)


def problem_of(item):
    """What is wrong with the description of a file, or None. Pure."""
    given = [key for key in ("content", "lines") if item.get(key) is not None]
    if not str(item.get("path") or "").startswith("/"):
        return "expected an absolute path, found {0!r}".format(item.get("path"))
    if item.get("state") == "file" and len(given) == 2:
        return "{0} has content and lines, expected one of them".format(item["path"])
    if item.get("state") != "file" and given:
        return "{0} has {1}, which only a file has, its state is {2}".format(item["path"], given[0], item["state"])
    return None


def check(items):
    """Raise BadInput for the first item that :func:`problem_of` does not like. Pure."""
    for item in items:
        problem = problem_of(item)
        if problem:
            raise BadInput("service_files: {0}. Correct <role>_files.".format(problem))


def wanted_text(item, present):
    """Text that a file should hold, or None when only owner and mode matter. Pure.

    present: its text now, None when there is no such file.
    """
    if item.get("content") is not None:
        return item["content"]
    if item.get("lines") is not None:
        return with_lines(present or "", item["lines"])
    return None


def restarts(changed):
    """Ids of the units to restart for the items that changed, each once. Pure."""
    found = []
    for item in changed:
        found += [unit for unit in item.get("restart") or [] if unit not in found]
    return found
