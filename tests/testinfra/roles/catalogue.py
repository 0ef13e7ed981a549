# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The catalogue as tests see it: raw entries, and what of them exists in a release. Absent keys are no error."""

from __future__ import annotations

from pathlib import Path

import yaml

ROLES = Path(__file__).resolve().parents[3] / "roles"
# What the lab's editions are like; the later one still writes bert.log, which got its new name in 2021-12-13.
RELEASES = {"2019": "2019-12-16", "later": "2021-11-15"}


def load() -> dict:
    """{role: entry} of every role that has one."""
    entries = {}
    for path in sorted(ROLES.glob("*/vars/main.yml")):
        role = path.parents[1].name
        entry = (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get(role + "_service")
        if isinstance(entry, dict) and entry.get("name"):
            entries[role] = entry
    return entries


def exists(item: dict, release: str) -> bool:
    """Whether an entry, unit, port, endpoint, ... with from/until exists in a release."""
    gate = item.get("releases") or item
    return str(gate.get("from") or "") <= release and (not gate.get("until") or release < str(gate["until"]))


def items(entries: dict, key: str) -> list:
    """[(role, item)] of a list that entries may have."""
    return [(role, item) for role, entry in entries.items() for item in entry.get(key) or [] if isinstance(item, dict)]


def page(endpoint: dict) -> tuple | None:
    """(scheme, port, path) of an endpoint that can be asked for, in either form; None for the others."""
    if endpoint.get("methods") and "GET" not in endpoint["methods"]:
        return None
    if "url" in endpoint:
        scheme, _separator, rest = endpoint["url"].partition("://")
        where, slash, path = rest.partition("/")
        host, _colon, port = where.partition(":")
        found = (scheme, int(port or {"http": 80, "https": 443}[scheme]), slash + path)
        return found if host == "<host>" and "<" not in path else None
    if not isinstance(endpoint.get("port"), int) or "<" in str(endpoint.get("path")):
        return None
    return "https" if endpoint.get("tls") else "http", endpoint["port"], endpoint.get("path") or "/"


def unit_of_port(entry: dict, port: int) -> str | None:
    """Id of the unit (or process) that has a port."""
    return next((item.get("unit") for item in entry.get("ports") or [] if item.get("port") == port), None)
