# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The report of a procedure for people: HTML page and short text. Pure functions of the document in docs/report.md."""
from __future__ import annotations

import datetime
import itertools
import json
import re
import textwrap

from ansible_collections.circonus.inside.plugins.plugin_utils import report_findings, report_storage
from ansible_collections.circonus.inside.plugins.plugin_utils import report_picture as picture_of
from ansible_collections.circonus.inside.plugins.plugin_utils.report_picture import escape, plain, size
from ansible_collections.circonus.inside.plugins.plugin_utils.report_style import CSS

SCHEMA = "circonus.inside.report/1"
RESULTS = {"ok": "OK", "failed": "FAILED", "refused": "REFUSED", "nothing_to_do": "NOTHING TO DO"}
STATES = ("ok", "changed", "failed", "skipped", "unreachable", "planned")
TEXT_LINES = 15
_SITE_STATES = ("active", "standby", "unreachable", "unknown")
_DATABASE_STATES = ("primary", "standby", "down", "unknown")
_NUMBER = (int, float)
#: Required keys of a document and their types.
_SHAPE = {
    "schema": str, "procedure": str, "run_id": str, "result": str, "reason": str, "check_mode": bool, "started": str,
    "finished": str, "seconds": _NUMBER, "controller": str, "owner": str, "parameters": dict, "plan": list,
    "steps": list, "remaining": list, "warnings": list,
}
_STEP_SHAPE = {"name": str, "host": str, "state": str, "seconds": _NUMBER, "started": str, "message": str}
#: Keys that the page shows in a place of their own.
_PLACED = set(_SHAPE) | {"write_gap_ms", "rpo_bytes", "sites", "platform"}


# --- what the document says ------------------------------------------------------------------------------------------


def slowest(document: dict, n: int = 3) -> list:
    """The ``n`` steps that took longest, longest first: ``{name, host, seconds, share}``.

    A step that ran on several hosts counts once, with its slowest host. ``share`` is the part of the whole run, 0 to 1.
    """
    longest = {}
    for step in document.get("steps") or []:
        if step.get("state") in ("skipped", None):
            continue
        name = plain(step.get("name") or "")
        if name not in longest or _seconds(step) > longest[name]["seconds"]:
            longest[name] = {"name": name, "host": plain(step.get("host") or ""), "seconds": _seconds(step)}
    ranked = sorted(longest.values(), key=lambda s: -s["seconds"])[:n]
    total = _seconds(document)
    return [
        dict(step, share=round(min(1.0, step["seconds"] / total), 3) if total > 0 else 0.0)
        for step in ranked if step["seconds"] > 0
    ]


def validate(document) -> list:
    """Every difference from the documented shape, as sentences; an empty list for a good document."""
    if not isinstance(document, dict):
        return ["document: expected a mapping, found %s" % type(document).__name__]
    problems = _check_shape(document, _SHAPE, "")
    if document.get("schema") not in (None, SCHEMA):
        problems.append("schema: expected %r, found %r" % (SCHEMA, document["schema"]))
    _check_choice(document, "result", tuple(RESULTS), "", problems)
    for key in ("started", "finished"):
        _check_stamp(document.get(key), key, problems)
    if document.get("reason") == "":
        problems.append("reason: expected one sentence, found nothing")
    for key in ("plan", "remaining", "warnings"):
        for number, item in enumerate(_list(document.get(key))):
            if not isinstance(item, str):
                problems.append("%s[%d]: expected text, found %s" % (key, number, type(item).__name__))
    for number, step in enumerate(_list(document.get("steps"))):
        where = "steps[%d]" % number
        if not isinstance(step, dict):
            problems.append("%s: expected a mapping, found %s" % (where, type(step).__name__))
            continue
        problems.extend(_check_shape(step, _STEP_SHAPE, where + "."))
        _check_choice(step, "state", STATES, where + ".", problems)
        _check_stamp(step.get("started"), where + ".started", problems)
    for key in ("write_gap_ms", "rpo_bytes"):
        value = document.get(key)
        if value is not None and (not isinstance(value, _NUMBER) or isinstance(value, bool) or value < 0):
            problems.append("%s: expected a number of at least 0 or null, found %r" % (key, value))
    sites = document.get("sites")
    if "sites" in document and not isinstance(sites, dict):
        problems.append("sites: expected a mapping of active and standby, found %r" % (sites,))
    if "platform" in document:
        problems.extend(_check_platform(document["platform"]))
    if "fail_on" in document and not isinstance(document.get("findings"), list):
        problems.append("findings: expected list, found %s" % type(document.get("findings")).__name__)
    elif "fail_on" in document:
        problems.extend(report_findings.problems(document))
    return problems


def _list(value):
    return value if isinstance(value, list) else []


def _check_shape(values, shape, where):
    problems = []
    for key, kind in shape.items():
        if key not in values:
            problems.append("%s%s: missing" % (where, key))
            continue
        value = values[key]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            wanted = "number" if kind is _NUMBER else kind.__name__
            problems.append("%s%s: expected %s, found %s" % (where, key, wanted, type(value).__name__))
    return problems


def _check_choice(values, key, choices, where, problems):
    value = values.get(key)
    if isinstance(value, str) and value not in choices:
        problems.append("%s%s: expected one of %s, found %r" % (where, key, ", ".join(choices), value))


def _check_stamp(value, where, problems):
    if isinstance(value, str) and not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", value):
        problems.append("%s: expected UTC time like 2026-11-22T15:45:12.123Z, found %r" % (where, value))


def _check_platform(platform):
    if not isinstance(platform, dict):
        return ["platform: expected before and after, found %s" % type(platform).__name__]
    problems = ["platform.%s: expected before or after" % key for key in platform if key not in ("before", "after")]
    for moment in ("before", "after"):
        if platform.get(moment) is None:
            continue
        sites = platform[moment].get("sites") if isinstance(platform[moment], dict) else None
        if not isinstance(sites, dict):
            problems.append("platform.%s.sites: expected a mapping of sites" % moment)
            continue
        for name, site in sites.items():
            where = "platform.%s.sites.%s." % (moment, name)
            if not isinstance(site, dict):
                problems.append("%s: expected a mapping, found %s" % (where[:-1], type(site).__name__))
                continue
            found = _check_shape(site, {"state": str, "status_page": str, "hosts": dict, "client_address": bool}, where)
            problems.extend(found)
            _check_choice(site, "state", _SITE_STATES, where, problems)
            _check_choice(site, "status_page", ("ACTIVE", "STANDBY", "unknown"), where, problems)
            for host, facts in (site["hosts"] if isinstance(site.get("hosts"), dict) else {}).items():
                problems.extend(_check_host("%shosts.%s" % (where, host), facts))
    return problems


def _check_host(where, facts):
    if not isinstance(facts, dict):
        return ["%s: expected a mapping, found %s" % (where, type(facts).__name__)]
    problems = _check_shape(facts, {"roles": list, "reachable": bool}, where + ".")
    _check_choice(facts, "web_db", _DATABASE_STATES, where + ".", problems)
    _check_choice(facts, "alerting", ("running", "stopped"), where + ".", problems)
    for key, kind in (("web_db", str), ("follows", str), ("alerting", str), ("lag_bytes", int)):
        if facts.get(key) is not None and not isinstance(facts[key], kind):
            problems.append("%s.%s: expected %s or null, found %r" % (where, key, kind.__name__, facts[key]))
    return problems


def _seconds(step):
    value = step.get("seconds")
    return float(value) if isinstance(value, _NUMBER) else 0.0


def _duration(seconds):
    """``0.41 s``, ``41.2 s``, ``3 min 07 s``, ``1 h 02 min``."""
    if seconds < 10:
        return "%.2f s" % seconds
    if round(seconds, 1) < 60:
        return "%.1f s" % seconds
    minutes, rest = divmod(int(round(seconds)), 60)
    if minutes < 60:
        return "%d min %02d s" % (minutes, rest)
    return "%d h %02d min" % divmod(minutes, 60)


def _gap(milliseconds):
    if milliseconds is None:
        return "not measured"
    if milliseconds >= 10000:
        return _duration(milliseconds / 1000)
    return "%.0f ms" % milliseconds if milliseconds >= 10 else "%.1f ms" % milliseconds


def _label(document):
    if report_findings.present(document):
        return report_findings.label(document)
    word = RESULTS.get(document.get("result"), plain(document.get("result") or "unknown").upper())
    return word + (" (CHECK MODE)" if document.get("check_mode") else "")


def _failed(document):
    return [s for s in document.get("steps") or [] if s.get("state") in ("failed", "unreachable")]


def _stopping(document):
    """Failed steps when the run ended badly; a probe that found a dead host in a good run is no failure."""
    return _failed(document) if document.get("result") in ("failed", "refused") else []


def _unexplained(document):
    """Failed steps that the reason does not name already."""
    reason = plain(document.get("reason"))
    return [s for s in _stopping(document) if not s.get("name") or plain(s["name"]) not in reason]


def _pictures(document):
    """``(before, after)``; None for what is missing or cannot be drawn."""
    platform = document.get("platform")
    platform = platform if isinstance(platform, dict) else {}
    return tuple(platform.get(m) if picture_of.drawable(platform.get(m)) else None for m in ("before", "after"))


def _measured(document):
    """Whether write gap and RPO mean anything: the procedure has them and something was attempted."""
    return ("write_gap_ms" in document or "rpo_bytes" in document) and (
        document.get("write_gap_ms") is not None
        or document.get("rpo_bytes") is not None
        or (document.get("result") in ("ok", "failed") and not document.get("check_mode"))
    )


def _changes(document):
    """How much was changed, as one sentence. Counts only what steps reported."""
    steps = document.get("steps") or []
    changed = [s for s in steps if s.get("state") == "changed"]
    planned = sum(1 for s in steps if s.get("state") == "planned")
    result = document.get("result")
    if document.get("check_mode"):
        return "Check mode: nothing was changed" + (
            "; %s would change something." % _count(planned, "step") if planned else ".")
    if not changed:
        if result == "failed" and _failed(document):
            return "No other step reported a change."
        return "No step changed anything."
    if result == "ok":
        return "%s of %d changed something." % (_count(len(changed), "step"), len(steps))
    last = changed[-1]
    return "Changed before the end: %s, the last one: %s on %s." % (
        _count(len(changed), "step"), plain(last.get("name")), plain(last.get("host")))


def _count(number, noun):
    return "%d %s%s" % (number, noun, "" if number == 1 else "s")


def _now(document):
    """Which picture shows the platform as the run left it, and how sure that is: (words, picture or None)."""
    before, after = _pictures(document)
    if after:
        return "Now", after
    if before:
        touched = any(s.get("state") in ("changed", "failed", "unreachable") for s in document.get("steps") or [])
        return ("Before this run" if touched and not document.get("check_mode") else "Found"), before
    return "", None


def _next_step(document):
    if document.get("result") == "failed" and not document.get("check_mode"):
        return "Correct the cause, then run the same command again: it asks the platform what is already done."
    return ""


def _alarm(picture):
    names = picture_of.primaries(picture)
    return "Two or more databases accept writes: %s." % ", ".join(plain(n) for n in names) if len(names) > 1 else ""


# --- text ------------------------------------------------------------------------------------------------------------


def render_text(document: dict, width: int = 100) -> str:
    """About 15 lines for the end of a run: result, reason, figures, state of the platform, what to do."""
    width = max(width, 40)
    lines = []
    if report_findings.present(document):
        return _findings_text(document, width)
    title = "%s: %s, run %s" % (_label(document), document.get("procedure") or "unknown", document.get("run_id"))
    _paragraph(lines, title, width, "", 2)
    _paragraph(lines, document.get("reason") or "No reason was recorded.", width, "  ", 4)
    _paragraph(lines, _figure_line(document), width, "  ", 2)
    word, picture = _now(document)
    if picture:
        _paragraph(lines, "%s: %s" % (word, picture_of.describe(picture)), width, "  ", 2)
        if _alarm(picture):
            _paragraph(lines, "DANGER: " + _alarm(picture), width, "  ", 2)
    for step in _unexplained(document)[:2]:
        text = "Failed: %s on %s: %s" % (step.get("name"), step.get("host"), step.get("message") or "no message")
        _paragraph(lines, text, width, "  ", 2)
    _paragraph(lines, _changes(document), width, "  ", 2)
    _paragraph(lines, _next_step(document), width, "  ", 2)
    for text in (document.get("warnings") or [])[:2]:
        _paragraph(lines, "Warning: %s" % text, width, "  ", 2)
    _more(lines, len(document.get("warnings") or []) - 2, "warning")
    if document.get("remaining"):
        lines.append("  To do by hand:")
        _items(lines, document["remaining"], width)
    elif document.get("check_mode") and document.get("plan"):
        lines.append("  Plan:")
        _items(lines, document["plan"], width)
    slow = slowest(document)
    if slow and len(lines) < TEXT_LINES - 1 and document.get("result") == "ok" and not document.get("check_mode"):
        words = ", ".join("%s (%s) %s" % (s["name"], s["host"], _duration(s["seconds"])) for s in slow)
        _paragraph(lines, "Slowest: " + words, width, "  ", 2)
    return "\n".join(lines)


def _findings_text(document, width):
    """A healthy platform in one line; otherwise one line per finding, worst first."""
    lines = []
    if not document["findings"] and document.get("result") == "ok":
        sites = document.get("sites") or {}
        active = " Active: %s." % plain(sites["active"]) if sites.get("active") else ""
        unknown = len(document.get("unknown") or [])
        more = " Not known: %s, see the report." % _count(unknown, "thing") if unknown else ""
        lines.append("%s: %s %s%s" % (_label(document), plain(document.get("reason")), active.strip(), more))
        return "\n".join(lines + report_findings.sequence_lines(document) + report_storage.lines(document))
    title = "%s: %s, run %s" % (_label(document), document.get("procedure") or "unknown", document.get("run_id"))
    _paragraph(lines, title, width, "", 2)
    (_title, _number, words), (_hosts, checked, _roles) = report_findings.figures(document)
    _paragraph(lines, "%s; %s hosts checked; failing from %s on; %s" % (
        words, checked, document["fail_on"], _figure_line(document)), width, "  ", 2)
    _paragraph(lines, report_findings.tls_counts(document), width, "  ", 2)
    word, picture = _now(document)
    if picture:
        _paragraph(lines, "%s: %s" % (word, picture_of.describe(picture)), width, "  ", 3)
    # The steps say what the findings say.
    lines += report_findings.sequence_lines(document) or report_findings.lines(document)
    lines += report_storage.lines(document)
    return "\n".join(lines)


def _figure_line(document):
    parts = []
    if _measured(document):
        if "write_gap_ms" in document:
            parts.append("write gap %s" % _gap(document["write_gap_ms"]))
        if "rpo_bytes" in document:
            parts.append("data lost (RPO) %s" % size(document["rpo_bytes"]))
    parts.append("%s" % _duration(_seconds(document)))
    sites = document.get("sites") or {}
    if sites.get("active"):
        parts.append("active %s" % sites["active"])
        if sites.get("standby"):
            parts[-1] += ", standby %s" % sites["standby"]
    return " | ".join(parts)


def _paragraph(lines, text, width, indent, most):
    text = plain(text)
    if not text:
        return
    wrapped = textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
    if len(wrapped) > most:
        wrapped = wrapped[:most]
        wrapped[-1] = wrapped[-1][: width - 4].rstrip() + " ..."
    lines.extend(wrapped)


def _items(lines, items, width):
    """Numbered, whole sentences: an instruction cut in half is worse than a pointer to the report."""
    for number, text in enumerate(items, 1):
        wrapped = textwrap.wrap(plain(text), width, initial_indent="  %2d. " % number, subsequent_indent="      ",
                                break_on_hyphens=False)
        if number > 1 and len(lines) + len(wrapped) > TEXT_LINES - (1 if number < len(items) else 0):
            _more(lines, len(items) - number + 1, "item")
            return
        lines.extend(wrapped)


def _more(lines, number, noun):
    if number > 0:
        lines.append("  ... and %d more %s%s in the report." % (number, noun, "" if number == 1 else "s"))


# --- HTML ------------------------------------------------------------------------------------------------------------


def render_html(document: dict) -> str:
    """One self-contained page: no script, nothing loaded from elsewhere, every value escaped."""
    result = document.get("result") if document.get("result") in RESULTS else "failed"
    middle = [_html_platform(document), _html_plan(document)]
    if document.get("check_mode"):
        # The plan is what somebody who runs --check wants to read.
        middle.reverse()
    judged = report_findings.present(document)
    placed = _PLACED | (report_findings.PLACED if judged else set())
    placed |= {"storage"} if report_storage.present(document) else set()
    sections = [
        _html_head(document, result),
        _html_notices(document),
        report_findings.html_sequence(document) if judged else "",
        report_findings.html(document) if judged else "",
        report_storage.html(document),
        *middle,
        report_findings.html_connections(document) if judged else "",
        report_findings.html_tls(document) if judged else "",
        _html_steps(document),
        _html_values("Measured and recorded", {k: v for k, v in document.items() if k not in placed}),
        _html_values("Parameters", document.get("parameters") or {}),
        _html_foot(document),
    ]
    title = "%s: %s" % (_label(document), document.get("procedure", ""))
    return _PAGE % {"title": escape(title), "css": CSS, "result": result, "body": "\n".join(s for s in sections if s)}


def _html_head(document, result):
    mode = '<span class="tag">Check mode: nothing was changed</span>' if document.get("check_mode") else ""
    figures = []
    if _measured(document):
        if "write_gap_ms" in document:
            figures.append(("Write gap", _gap(document["write_gap_ms"]), "no database accepted writes"))
        if "rpo_bytes" in document:
            figures.append(("Data lost (RPO)", size(document["rpo_bytes"]), "acknowledged, not on the new primary"))
    figures.append(("Duration", _duration(_seconds(document)), _clock_span(document)))
    sites = document.get("sites") or {}
    if sites.get("active"):
        standby = "standby: %s" % sites["standby"] if sites.get("standby") else "single site"
        figures.append(("Active site", sites["active"], standby))
    if report_findings.present(document):
        figures = report_findings.figures(document) + figures
    steps = document.get("steps") or []
    if steps:
        changed = sum(1 for s in steps if s.get("state") == "changed")
        bad = len(_stopping(document))
        planned = sum(1 for s in steps if s.get("state") == "planned")
        note = "%d changed" % changed if not planned else "%d would change" % planned
        figures.append(("Steps", str(len(steps)), note + (", %d failed" % bad if bad else "")))
    cells = "".join(
        '<div class="figure"><dt>%s</dt><dd>%s</dd><dd class="hint">%s</dd></div>' % (escape(a), escape(b), escape(c))
        for a, b, c in figures
    )
    icon = {"ok": "\u2713", "failed": "\u2715", "refused": "\u2298", "nothing_to_do": "="}[result]
    return (
        '<header><p class="line"><span class="badge"><span aria-hidden="true">%s</span> %s</span>%s</p>'
        "<h1>%s</h1><p class=\"reason\">%s</p><dl class=\"figures\">%s</dl></header>"
    ) % (icon, escape(_label(document) if report_findings.present(document)
                      else RESULTS.get(document.get("result"), document.get("result"))), mode,
         escape(document.get("procedure", "")), escape(document.get("reason") or "No reason was recorded."), cells)


def _clock_span(document):
    clock = [re.sub(r"^.*T|\..*$|Z$", "", plain(document.get(key))) for key in ("started", "finished")]
    return "%s to %s UTC" % tuple(clock)


def _html_notices(document):
    out = []
    _word, picture = _now(document)
    if picture and _alarm(picture):
        out.append(_NOTICE % ("bad", "Danger", "<p>%s</p>" % escape(_alarm(picture))))
    if document.get("result") in ("failed", "refused") and not report_findings.present(document):
        parts = "<p>%s %s</p>" % (escape(_changes(document)), escape(_next_step(document)))
        for step in _unexplained(document):
            values = tuple(escape(step.get(key)) for key in ("name", "host", "message"))
            parts += "<p><strong>%s</strong> on %s: %s</p>" % values
        out.append(_NOTICE % ("bad", "Where it stopped", parts))
    if document.get("remaining"):
        out.append(_NOTICE % ("todo", "To do by hand", "<ol>%s</ol>" % _html_items(document["remaining"])))
    if document.get("warnings"):
        out.append(_NOTICE % ("warn", "Warnings", "<ul>%s</ul>" % _html_items(document["warnings"])))
    return "\n".join(out)


def _html_items(items):
    return "".join("<li>%s</li>" % escape(item) for item in items)


def _html_platform(document):
    before, after = _pictures(document)
    if not before and not after:
        return ""
    notes = []
    if before and after and before != after:
        figures = [("Before", before, picture_of.render("Before", before, after)),
                   ("After", after, picture_of.render("After", after, before, mark=True))]
        notes.append("A bar at the left edge of a row marks what differs from before.")
    elif before and after:
        figures = [("Before and after", after, picture_of.render("Before and after", after))]
        notes.append("The platform looked the same before and after.")
    else:
        title, only = ("After", after) if after else ("Before", before)
        title = "As found" if report_findings.present(document) else title
        figures = [(title, only, picture_of.render(title, only))]
        if not after and not document.get("check_mode"):
            notes.append("The platform was not read again after this picture: look at it before you decide anything.")
    drawn = "".join(
        "<figure><figcaption><strong>%s</strong> %s</figcaption>%s</figure>" % (t, escape(picture_of.describe(p)), svg)
        for t, p, svg in figures
    )
    note = '<p class="hint">%s</p>' % escape(" ".join(notes)) if notes else ""
    return '<section><h2>Platform</h2><div class="pictures">%s</div>%s</section>' % (drawn, note)


def _html_plan(document):
    if not document.get("plan"):
        return ""
    title = "Plan" if not document.get("check_mode") else "Plan (not carried out: check mode)"
    return '<section><h2>%s</h2><ol class="plan">%s</ol></section>' % (title, _html_items(document["plan"]))


def _html_steps(document):
    steps = document.get("steps") or []
    if not steps:
        return ""
    longest = max(max(_seconds(s) for s in steps), 0.001)
    rows = []
    for number, (_name, same) in enumerate(itertools.groupby(steps, key=lambda s: s.get("name")), 1):
        rows.extend(_step_rows(number, list(same), longest))
    slow = slowest(document)
    named = "".join(
        "<li><strong>%s</strong> on %s: %s, %.0f %% of the run</li>" % (
            escape(s["name"]), escape(s["host"]), _duration(s["seconds"]), 100 * s["share"])
        for s in slow
    )
    named = '<h3>Slowest</h3><ol class="slowest">%s</ol>' % named if named else ""
    return (
        '<section><h2>Steps</h2>%s<table class="steps"><thead><tr><th class="n">#</th><th>Step</th><th>Host</th>'
        "<th>State</th><th>Seconds</th></tr></thead><tbody>%s</tbody></table></section>"
    ) % (named, "".join(rows))


def _step_rows(number, steps, longest):
    """One row per outcome of a step: hosts that ended alike share a row."""
    alike = {}
    for step in steps:
        alike.setdefault((step.get("state"), step.get("message") or ""), []).append(step)
    rows = []
    for (state, message), members in alike.items():
        css = state if state in STATES else "unknown"
        top = max(_seconds(s) for s in members)
        if len(members) == 1:
            hosts = escape(members[0].get("host"))
        else:
            hosts = '%d hosts<span class="each">%s</span>' % (
                len(members),
                ", ".join("<span>%s\u00a0%.2f</span>" % (escape(s.get("host")), _seconds(s)) for s in members))
        rows.append(
            '<tr class="%s"><td class="n">%s</td><td class="what">%s%s</td><td class="host">%s</td>'
            '<td><span class="state">%s</span></td><td class="time"><span class="value">%.2f</span>'
            '<span class="track"><span class="fill" style="width:%.1f%%"></span></span></td></tr>' % (
                css, number if not rows else "", escape(members[0].get("name")),
                '<span class="message">%s</span>' % escape(message) if message else "",
                hosts, escape(state), top, 100 * top / longest)
        )
    return rows


def _html_values(title, values):
    """A table of names and values; long structures as folded JSON."""
    if not values:
        return ""
    rows = []
    for name in sorted(values):
        value = values[name]
        if value is None:
            shown = '<span class="hint">not set</span>'
        elif isinstance(value, bool):
            shown = "true" if value else "false"
        elif isinstance(value, (dict, list)):
            flat = json.dumps(value, ensure_ascii=False, default=str, sort_keys=isinstance(value, dict))
            if len(flat) <= 120:
                shown = "<code>%s</code>" % escape(flat)
            else:
                text = json.dumps(value, ensure_ascii=False, default=str, sort_keys=isinstance(value, dict), indent=2)
                lines = "\n".join(" " * (len(line) - len(line.lstrip())) + escape(line) for line in text.split("\n"))
                shown = "<details><summary>%s</summary><pre>%s</pre></details>" % (
                    escape(_count(len(value), "entry").replace("entrys", "entries")), lines)
        else:
            shown = escape(value)
        rows.append("<tr><th scope=\"row\">%s</th><td>%s</td></tr>" % (escape(name), shown))
    return '<section><h2>%s</h2><table class="values"><tbody>%s</tbody></table></section>' % (title, "".join(rows))


def _html_foot(document):
    stamp = plain(document.get("started", ""))
    try:
        stamp = datetime.datetime.fromisoformat(stamp.replace("Z", "+00:00")).strftime("%A %d %B %Y %H:%M:%S UTC")
    except ValueError:
        pass
    machine = plain(document.get("controller", "")).split("/")[0]
    words = "Run %s by %s%s, started %s. The same as data: the .json file beside this page." % (
        document.get("run_id", ""), document.get("owner") or "unknown", " on %s" % machine if machine else "", stamp)
    return "<footer><p>%s</p></footer>" % escape(words)


_NOTICE = '<section class="notice %s"><h2>%s</h2>%s</section>'
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>%(title)s</title>
<style>%(css)s</style>
</head>
<body class="%(result)s">
<main>
%(body)s
</main>
</body>
</html>
"""
