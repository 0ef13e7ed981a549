# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The findings of a report for people: lines of text and parts of the page. Pure functions of docs/report.md."""

from __future__ import annotations

from ansible_collections.circonus.inside.plugins.plugin_utils import findings as f
from ansible_collections.circonus.inside.plugins.plugin_utils.report_picture import escape, plain

#: Lines of text that findings may take; the others are in the report.
MOST = 40
#: Keys of a document that are shown here.
PLACED = frozenset(("findings", "unknown", "connections", "checked", "fail_on"))
_TITLES = {"critical": "CRITICAL", "error": "ERROR", "warning": "WARNING", "info": "FOR INFORMATION"}


def present(document) -> bool:
    """Whether a report has findings in the documented shape, an empty list included; other lists are shown as data."""
    found = document.get("findings")
    return "fail_on" in document and isinstance(found, list) and not problems(document)


def label(document) -> str:
    """HEALTHY, HEALTHY BUT … or NOT HEALTHY."""
    if document.get("result") != "ok":
        return "NOT HEALTHY"
    return "HEALTHY" if not document["findings"] else "NO FINDING AT OR ABOVE %s" % str(document.get("fail_on")).upper()


def lines(document) -> list:
    """One line per finding under the name of its severity, and how many things are not known."""
    out, shown = [], 0
    found = document["findings"]
    for severity in f.SEVERITIES:
        group = [item for item in found if item["severity"] == severity]
        if not group or shown >= MOST:
            continue
        out.append("  %s" % _TITLES[severity])
        for item in group[: MOST - shown]:
            out.append("    %s -> %s" % (plain(item["what"]), plain(item["remedy"])))
            shown += 1
    if len(found) > shown:
        out.append("  ... and %d more in the report." % (len(found) - shown))
    unknown = document.get("unknown") or []
    if found and unknown:
        out.append("  Not known: %d thing%s, see the report." % (len(unknown), "" if len(unknown) == 1 else "s"))
    return out


def figures(document) -> list:
    """(title, value, hint) for the head of the page."""
    checked = document.get("checked") or {}
    return [
        ("Findings", str(len(document["findings"])), f.count_text(document["findings"])),
        ("Hosts checked", "%s of %s" % (checked.get("hosts", "?"), checked.get("of", "?")),
         "%s roles" % checked.get("roles", "?")),
    ]


def html(document) -> str:
    """The table of findings, and what could not be judged."""
    rows = "".join(
        '<tr class="%s"><td class="severity"><span class="state">%s</span></td><td class="where">%s'
        '<span class="each">%s</span></td><td>Expected %s, found %s.<code class="remedy">%s</code>'
        '<span class="each">%s</span></td></tr>' % tuple(
            escape(value) for value in (
                item["severity"], item["severity"].upper(), f.where(item["role"], item["host"], item["site"]),
                item["id"], item["expected"], item["found"], item["remedy"], item["source"]))
        for item in document["findings"]
    )
    table = (
        '<table class="findings"><thead><tr><th>Severity</th><th>Where</th><th>What, and what to do</th></tr></thead>'
        "<tbody>%s</tbody></table>" % rows
        if rows
        else "<p>Nothing: everything that could be read is as it must be.</p>"
    )
    out = "<section><h2>Findings, worst first</h2>%s</section>" % table
    if document.get("unknown"):
        items = "".join("<li>%s</li>" % escape(text) for text in document["unknown"])
        out += '<section class="notice todo"><h2>Not known</h2><ul>%s</ul></section>' % items
    return out


def html_connections(document) -> str:
    """Who must reach whom, folded; open where somebody must be reached and does not listen."""
    rows = document.get("connections") or []
    if not rows:
        return ""
    body = "".join(
        '<tr class="%s"><td>%s</td><td>%s</td><td>%s</td><td>%s %s</td><td>%s</td></tr>' % (
            "silent" if row.get("silent") else "listens", escape(row["from"]), escape(row["to"]),
            escape(row["site"] or ""), escape(row["proto"]), escape(row["port"]),
            escape("not listening: %s" % ", ".join(row["silent"]) if row.get("silent")
                   else "listening: %s" % ", ".join(row["servers"])))
        for row in sorted(rows, key=lambda row: not row.get("silent"))
    )
    silent = sum(1 for row in rows if row.get("silent"))
    return (
        "<section><h2>Connections</h2><details%s><summary>%d needed, %d without a listener</summary>"
        '<table class="connections"><thead><tr><th>From</th><th>To</th><th>Site</th><th>Port</th><th>Servers</th></tr>'
        "</thead><tbody>%s</tbody></table></details></section>"
    ) % (" open" if silent else "", len(rows), silent, body)


def problems(document) -> list:
    """Every difference of the findings from the documented shape, as sentences."""
    out = []
    for number, item in enumerate(document["findings"]):
        where = "findings[%d]" % number
        if not isinstance(item, dict):
            out.append("%s: expected a mapping, found %s" % (where, type(item).__name__))
            continue
        for key in f.KEYS:
            optional = key in ("role", "host", "site")
            if key not in item:
                out.append("%s.%s: missing" % (where, key))
            elif not isinstance(item[key], str) and not (optional and item[key] is None):
                out.append("%s.%s: expected text, found %r" % (where, key, item[key]))
        if item.get("severity") not in f.SEVERITIES:
            out.append("%s.severity: expected one of %s, found %r" % (
                where, ", ".join(f.SEVERITIES), item.get("severity")))
    return out
