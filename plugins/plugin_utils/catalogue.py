# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The catalogue: what the roles of this collection say about their component (``roles/<role>/vars/main.yml``)."""

from __future__ import annotations

import functools
import os

import yaml

ROLES = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "roles")


@functools.cache
def load(directory: str = ROLES) -> dict:
    """{role: catalogue entry} of every role that has one."""
    entries = {}
    for name in sorted(os.listdir(directory)):
        path = os.path.join(directory, name, "vars", "main.yml")
        if os.path.exists(path):
            with open(path, encoding="utf-8") as handle:
                entry = (yaml.safe_load(handle) or {}).get(name + "_service")
            if entry:
                entries[name] = entry
    return entries


def names() -> list:
    """Roles that have a catalogue entry."""
    return list(load())


def unit_names(role: str) -> list:
    """Every unit name that a role may have on a host, in start order; [] for a role that is not in the catalogue."""
    return [candidate for unit in load().get(role, {}).get("units", []) for candidate in unit["candidates"]]


@functools.cache
def chain(trigger: str, edition: str) -> list:
    """What has to be restarted after ``trigger`` (web_db, mq), in order: [{"role", "only" (optional)}]."""
    with open(os.path.join(ROLES, "service", "vars", "main.yml"), encoding="utf-8") as handle:
        return yaml.safe_load(handle)["service_dependants"][trigger][edition]
