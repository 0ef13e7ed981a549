# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Draw the sites of a platform as inline SVG: who is active, which database is primary, who follows whom.

Shape of a picture: docs/report.md, "platform". Colours come from the CSS variables of the page, so that the drawing
follows light, dark and print; every colour is repeated as a word.
"""
from __future__ import annotations

import html
import re

WIDTH = 470
MAX_ROWS = 16
_HEADER = 47
_GAP = 40
_MARGIN = 6
_LINE = 14
#: How much wider bold text is.
_BOLD = 1.13
_NARROW = frozenset("iljtfrI.,:;|!'()[]-/ ")
_WIDE = frozenset("mwMW@%")
_STATES = {
    "active": ("ACTIVE", "ok"),
    "standby": ("STANDBY", "info"),
    "unreachable": ("UNREACHABLE", "bad"),
    "unknown": ("UNKNOWN", "warn"),
}
_DATABASE = {
    "primary": ("PRIMARY", "solid"),
    "standby": ("STANDBY", "info"),
    "down": ("DB DOWN", "bad"),
    "unknown": ("DB UNKNOWN", "warn"),
}
#: Where a picture puts brokers that belong to no site.
_BROKERS = "brokers"
_ALERTING = {"running": ("ALERTING ON", "ok"), "stopped": ("ALERTING OFF", "mute")}
#: The worst finding of a host or role, in reports that have findings.
_WORST = {
    "critical": ("CRITICAL", "solid-bad"),
    "error": ("ERROR", "bad"),
    "warning": ("WARNING", "warn"),
    "info": ("INFO", "mute"),
    "ok": ("OK", "ok"),
    "not_checked": ("NOT CHECKED", "mute"),
}


def plain(text) -> str:
    """Text on one line without control characters (a terminal or a browser may obey them)."""
    if text is None:
        return ""
    return " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", " ", str(text)).split())


def escape(text) -> str:
    """Plain text for HTML content and attributes."""
    return html.escape(plain(text), quote=True)


def size(count) -> str:
    """Bytes for people; small numbers exactly."""
    if count is None:
        return "unknown"
    if count < 1024:
        return "%d byte%s" % (count, "" if count == 1 else "s")
    value = float(count)
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        value /= 1024
        if value < 1024 or unit == "TiB":
            return "%.1f %s" % (value, unit)
    return str(count)


def describe(picture: dict) -> str:
    """One line: ``west ACTIVE (primary west-app1, clients), east STANDBY (follows west-app1)``."""
    parts = []
    sites = picture.get("sites") or {}
    for name in sorted(sites, key=lambda n: (n == _BROKERS, sites[n].get("state") != "active", n)):
        site = sites[name]
        hosts = site.get("hosts") or {}
        notes = ["primary %s" % h for h in sorted(hosts) if hosts[h].get("web_db") == "primary"]
        if not notes:
            upstream = sorted({hosts[h]["follows"] for h in hosts if hosts[h].get("follows")} - set(hosts))
            notes = ["follows %s" % ", ".join(upstream)] if upstream else []
        if site.get("client_address"):
            notes.append("clients")
        if any(h.get("alerting") == "running" for h in hosts.values()):
            notes.append("alerting")
        away = [h for h in sorted(hosts) if hosts[h].get("reachable") is False]
        if away and site.get("state") != "unreachable":
            more = " and %d more" % (len(away) - 3) if away[3:] else ""
            notes.append("unreachable %s%s" % (", ".join(away[:3]), more))
        parts.append("%s %s%s" % (name, _state(name, site)[0],
                                  " (%s)" % ", ".join(notes) if notes else ""))
    return plain(", ".join(parts))


def _state(name, site):
    """Word and colour of a site; brokers that belong to no site are not one."""
    if name == _BROKERS and site.get("worst"):
        return _WORST.get(site["worst"], _WORST["ok"])
    return _STATES.get(site.get("state"), _STATES["unknown"])


def primaries(picture: dict) -> list:
    """Names of all hosts whose database accepts writes."""
    return sorted(
        host
        for site in (picture.get("sites") or {}).values()
        for host, facts in (site.get("hosts") or {}).items()
        if facts.get("web_db") == "primary"
    )


def drawable(picture) -> bool:
    """Whether the structure is whole enough to be drawn; a report must not fail over its picture."""
    if not isinstance(picture, dict) or not isinstance(picture.get("sites"), dict) or not picture["sites"]:
        return False
    for site in picture["sites"].values():
        hosts = site.get("hosts") if isinstance(site, dict) else None
        if not isinstance(hosts, dict):
            return False
        for facts in hosts.values():
            if not isinstance(facts, dict):
                return False
            kinds = (("roles", list), ("follows", str), ("lag_bytes", (int, float)), ("role_states", dict))
            if any(facts.get(key) is not None and not isinstance(facts[key], kind) for key, kind in kinds):
                return False
    return True


def render(title: str, picture: dict, other: dict | None = None, mark: bool = False) -> str:
    """One ``<svg>`` of ``picture``.

    ``other`` is the picture it is compared with: rows of both lie at the same height. With ``mark``, rows that differ
    carry a bar at their left edge.
    """
    layout = _Layout(picture, other)
    body = []
    for name, top, rows, rest, height in layout.sites:
        site = (picture.get("sites") or {}).get(name)
        body.append(_site(name, site, top, rows, rest, height, layout.box))
        if site:
            before = ((other or {}).get("sites") or {}).get(name, {}).get("hosts") or {}
            body.extend(
                _row(host, site["hosts"][host], before.get(host, {}) if mark else None, y, h, layout.box)
                for host, y, h in rows
                if host in site["hosts"]
            )
    body.append(_flow(picture, layout))
    body.append(_edges(picture, layout))
    return (
        '<svg class="picture" viewBox="0 0 %d %d" role="img" aria-label="%s" xmlns="http://www.w3.org/2000/svg">'
        "<title>%s</title>%s</svg>"
    ) % (WIDTH, layout.height, escape("%s: %s" % (title, describe(picture))), escape(title), "".join(body))


class _Layout:
    """Places: ``sites`` is a list of (name, top, rows, text for hosts left out, height), rows of (host, y, height)."""

    def __init__(self, picture, other):
        pictures = [p for p in (picture, other) if p]
        sites = {}
        for one in pictures:
            for name, site in (one.get("sites") or {}).items():
                merged = sites.setdefault(name, {})
                for host, facts in (site.get("hosts") or {}).items():
                    merged.setdefault(host, []).append(facts)
        known = {host for hosts in sites.values() for host in hosts}
        upstreams = [len({f["follows"] for s in (p.get("sites") or {}).values() for f in (s.get("hosts") or {}).values()
                          if f.get("follows") in known}) for p in pictures]
        lanes = max(upstreams, default=0)
        self.box = WIDTH - 2 * _MARGIN - (12 + 11 * lanes if lanes else 0)
        self.sites, self.rows = [], {}
        y = _MARGIN
        for name in sorted(sites, key=lambda n: (n == _BROKERS, n)):
            top = y
            y += _HEADER
            shown = _choose(sites[name])
            rows = []
            for host in shown:
                height = _row_height(sites[name][host], self.box)
                rows.append((host, y, height))
                self.rows[host] = (y, height)
                y += height
            rest = len(sites[name]) - len(shown)
            y += (20 if rest else 0) + 6
            self.sites.append((name, top, rows, rest, y - top))
            y += _GAP
        self.height = max(y - _GAP + _MARGIN, 40)


def _choose(hosts: dict) -> list:
    """Hosts to draw: all of a small site; of a large one those with errors or a part in a failover first."""
    names = sorted(hosts, key=_natural)
    if len(names) <= MAX_ROWS:
        return names

    def weight(name):
        facts = hosts[name]
        if any(f.get("worst") in ("critical", "error") for f in facts):
            return -1
        if any(f.get("web_db") for f in facts):
            return 0
        if any(f.get("reachable") is False for f in facts):
            return 1
        return 2 if any(f.get("alerting") for f in facts) else 3

    kept = set(sorted(names, key=lambda n: (weight(n), _natural(n)))[:MAX_ROWS - 2])
    return [name for name in names if name in kept]


def _natural(name):
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", str(name)) if part]


def _text_width(text, points):
    """Width of text in a wide sans-serif font; narrower fonts leave some room."""
    total = 0.0
    for char in text:
        if char in _NARROW:
            total += 0.36
        elif char in _WIDE:
            total += 0.95
        elif char.isupper() or char.isdigit() or char == "_":
            total += 0.68
        else:
            total += 0.6
    return total * points


def _fit(text, points, room):
    text = plain(text)
    if _text_width(text, points) <= room:
        return text
    while text and _text_width(text + "\u2026", points) > room:
        text = text[:-1]
    return text + "\u2026"


def _wrap(words, points, room):
    lines = [""]
    for word in words:
        longer = (lines[-1] + "  " + word) if lines[-1] else word
        if lines[-1] and _text_width(longer, points) > room:
            lines.append(word)
        else:
            lines[-1] = longer
    return [line for line in lines if line]


def _role_lines(facts, box):
    states = facts.get("role_states") or {}
    words = []
    for role in facts.get("roles") or []:
        bad = states.get(role) in ("critical", "error", "warning")
        words.append("%s: %s" % (plain(role), _WORST[states[role]][0]) if bad else plain(role))
    return _wrap(words, 11, box - 30)


def _role_span(word):
    """A role in the colour of its worst finding."""
    label = word.rpartition(": ")[2]
    css = {"CRITICAL": "bad", "ERROR": "bad", "WARNING": "warn"}.get(label) if ": " in word else None
    return '<tspan class="%s">%s</tspan>' % (css, escape(word)) if css else escape(word)


def _database_note(facts):
    if not facts.get("follows"):
        return ""
    note = "follows %s" % facts["follows"]
    if facts.get("lag_bytes") is not None:
        note += ", %s" % ("no lag" if facts["lag_bytes"] == 0 else size(facts["lag_bytes"]) + " behind")
    return note


def _row_height(variants, box):
    lines = max(len(_role_lines(facts, box)) + (1 if _database_note(facts) else 0) for facts in variants)
    return 30 + _LINE * lines


def _text(x, y, text, css, anchor="start"):
    place = "" if anchor == "start" else ' text-anchor="%s"' % anchor
    return '<text x="%.1f" y="%.1f" class="%s"%s>%s</text>' % (x, y, css, place, escape(text))


def _pill(right, y, label, css):
    """A pill that ends at ``right``; returns (svg, left edge)."""
    width = _text_width(label, 9.5 * _BOLD) + 13
    left = right - width
    return '<g class="pill %s"><rect x="%.1f" y="%.1f" width="%.1f" height="17" rx="8.5"/>%s</g>' % (
        css, left, y, width, _text(left + width / 2, y + 12, label, "pill-text", "middle"),
    ), left


def _site(name, site, top, rows, rest, height, box):
    word, css = _state(name, site or {})
    css = css.replace("solid-", "")
    if site is None:
        word, css = "NOT SEEN", "warn"
    out = ['<g class="site %s"><rect class="frame" x="%d" y="%d" width="%d" height="%d" rx="8"/>' % (
        css, _MARGIN, top, box, height)]
    out.append('<path class="head" d="M%d %d v-%d a8 8 0 0 1 8 -8 h%d a8 8 0 0 1 8 8 v%d z"/>' % (
        _MARGIN, top + _HEADER, _HEADER - 8, box - 16, _HEADER - 8))
    right = _MARGIN + box - 12
    pill, left = _pill(right, top + 7, word, "solid-" + css)
    out.append(pill)
    if (site or {}).get("client_address"):
        pill, left = _pill(left - 6, top + 7, "CLIENTS CONNECT HERE", "solid")
        out.append(pill)
    out.append(_text(_MARGIN + 14, top + 21, _fit(name, 16 * _BOLD, left - _MARGIN - 20), "site-name"))
    page = (site or {}).get("status_page")
    if page and name != _BROKERS:
        out.append(_text(_MARGIN + 14, top + 37, "/status page: %s" % page, "note"))
    if rest:
        out.append(_text(_MARGIN + 14, top + height - 11, "and %d more host%s, see the JSON report" % (
            rest, "" if rest == 1 else "s"), "note"))
    out.append("</g>")
    return "".join(out)


def _row(host, facts, before, y, height, box):
    left, right = _MARGIN + 14, _MARGIN + box - 12
    out = ['<g class="row"><title>%s</title><path class="rule" d="M%d %d h%d"/>' % (
        escape(host), _MARGIN + 1, y, box - 2)]
    keys = ("reachable", "web_db", "follows", "alerting", "client_address")
    if before is not None and any(before.get(key) != facts.get(key) for key in keys):
        out.append('<path class="differs" d="M%.1f %d v%d"><title>differs from the other picture</title></path>' % (
            _MARGIN + 3.5, y + 4, height - 8))
    pills = []
    if facts.get("worst") and facts["worst"] in _WORST:
        pills.append(_WORST[facts["worst"]])
    if facts.get("reachable") is False and facts.get("worst") != "not_checked":
        pills.append(("UNREACHABLE", "bad"))
    if facts.get("web_db"):
        pills.append(_DATABASE.get(facts["web_db"], _DATABASE["unknown"]))
    if facts.get("alerting"):
        pills.append(_ALERTING.get(facts["alerting"], ("ALERTING UNKNOWN", "warn")))
    if facts.get("client_address"):
        pills.append(("CLIENTS", "solid"))
    for label, css in pills:
        pill, edge = _pill(right, y + 7, label, css)
        out.append(pill)
        right = edge - 5
        if label in ("PRIMARY", "STANDBY"):
            out.append(_drum(right - 12, y + 8.5, css))
            right -= 18
    out.append(_text(left, y + 20, _fit(host, 13.5 * _BOLD, right - left), "host-name"))
    line = y + 22 + 12
    note = _database_note(facts)
    if note:
        out.append(_text(left, line, _fit(note, 11, box - 30), "db-note"))
        line += _LINE
    for roles in _role_lines(facts, box):
        out.append('<text x="%.1f" y="%.1f" class="note" xml:space="preserve">%s</text>' % (
            left, line, "  ".join(_role_span(r) for r in roles.split("  "))))
        line += _LINE
    out.append("</g>")
    return "".join(out)


def _drum(x, y, css):
    return (
        '<path class="drum %s" d="M%.1f %.1f a6 2.4 0 0 1 12 0 v9 a6 2.4 0 0 1 -12 0 z m0 0 a6 2.4 0 0 0 12 0"/>'
        % (css, x, y + 2.4)
    )


def _where(picture):
    return {host: name for name, site in (picture.get("sites") or {}).items() for host in (site.get("hosts") or {})}


def _following(picture):
    """[(upstream, follower, facts of the follower)] of all hosts that are drawn."""
    return [
        (facts["follows"], host, facts)
        for site in (picture.get("sites") or {}).values()
        for host, facts in (site.get("hosts") or {}).items()
        if facts.get("follows")
    ]


def _flow(picture, layout):
    """The words between two sites: which way replication goes."""
    where = _where(picture)
    out = []
    tops = {name: (top, height) for name, top, _rows, _rest, height in layout.sites}
    names = [name for name, _top, _rows, _rest, _height in layout.sites]
    for upper, lower in zip(names, names[1:], strict=False):
        if lower == _BROKERS:
            continue
        pairs = {(where[up], where[down]) for up, down, _facts in _following(picture)
                 if up in where and where[up] != where[down]}
        y = tops[upper][0] + tops[upper][1] + _GAP / 2 + 4
        words = []
        if (upper, lower) in pairs:
            words.append("\u2193 replication from %s to %s" % (upper, lower))
        if (lower, upper) in pairs:
            words.append("\u2191 replication from %s to %s" % (lower, upper))
        css = "flow" if words else "flow none"
        text = "   ".join(words) or "no replication between %s and %s" % (upper, lower)
        out.append(_text(_MARGIN + layout.box / 2, y, _fit(text, 12, layout.box), css, "middle"))
    return "".join(out)


def _edges(picture, layout):
    """One lane per upstream at the right edge: a dot where it starts, an arrow head at each follower."""
    where = _where(picture)
    lanes = {}
    for upstream, follower, facts in _following(picture):
        if upstream in layout.rows and follower in layout.rows and upstream != follower and upstream in where:
            lanes.setdefault(upstream, []).append((follower, facts))
    right = _MARGIN + layout.box
    # The shortest lane lies next to the boxes.
    order = sorted(lanes, key=lambda up: max(abs(layout.rows[up][0] - layout.rows[f][0]) for f, _facts in lanes[up]))
    out = []
    for number, upstream in enumerate(order):
        x = right + 16 + 11 * number
        start = layout.rows[upstream][0] + 21
        for follower, facts in lanes[upstream]:
            end = layout.rows[follower][0] + 12
            css = "edge" if facts.get("web_db") == "standby" and facts.get("reachable") is not False else "edge broken"
            css += "" if where[upstream] != where[follower] else " local"
            turn = 4 if end > start else -4
            out.append('<path class="%s" d="M%d %d H%d q4 0 4 %d V%d q0 %d -4 %d H%d"/>' % (
                css, right, start, x - 4, turn, end - turn, turn, turn, right + 6))
            out.append('<path class="tip" d="M%d %d l8 -4.5 v9 z"/>' % (right, end))
        out.append('<circle class="dot" cx="%d" cy="%d" r="3.2"/>' % (right, start))
    return "".join(out)
