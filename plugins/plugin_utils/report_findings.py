# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The findings of a report for people: lines of text and parts of the page. Pure functions of docs/report.md."""

from __future__ import annotations

from ansible_collections.circonus.inside.plugins.plugin_utils import findings as f
from ansible_collections.circonus.inside.plugins.plugin_utils.report_picture import escape, plain

#: Lines of text that findings may take; the others are in the report.
MOST = 40
#: Keys of a document that are shown here.
PLACED = frozenset(("findings", "unknown", "connections", "checked", "fail_on", "tls_ports", "tls_connections")
                   + ("sequence", "first_broken_step"))
#: Outcomes of a TLS port or connection, in words.
_STEPS = {"pass": "ok         ", "fail": "BROKEN     ", "not_reached": "not reached"}
TLS = {
    "ok": "works", "absent": "not there, as is right in some releases", "unreachable": "no connection",
    "hung": "no answer", "plain": "no TLS", "closed": "hung up", "refused": "refused", "untrusted": "not trusted",
    "failed": "no common handshake", "local": "its own files cannot be used", "skipped": "not tried in time",
}
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


def sequence_lines(document) -> list:
    """One line for each step of a sequence, with what broke it and what mends it."""
    out = []
    for step in document.get("sequence") or []:
        shown = [one for one in step["checks"] if one["state"] == step["state"]]
        if step["state"] == "pass":
            shown = shown[:1] if len(shown) < 2 else [{"text": "%d looked at" % len(shown)}]
        out.append("  %d. %s %s" % (step["number"], _STEPS[step["state"]], plain(step["title"])))
        out += ["       %s" % plain(one["text"]) for one in shown[:3]]
        if len(shown) > 3:
            out.append("       ... and %d more in the report." % (len(shown) - 3))
        if step["state"] == "fail" and step["remedy"]:
            out.append("       -> %s" % plain(step["remedy"]))
    return out


def html_sequence(document) -> str:
    """The steps of a sequence as a table."""
    rows = ""
    for step in document.get("sequence") or []:
        css = {"pass": "info", "fail": "error"}.get(step["state"], "warning")
        checks = "".join('<span class="each">%s: %s</span>' % (
            escape(_STEPS[one["state"]].strip()), escape(one["text"])) for one in step["checks"])
        remedy = '<code class="remedy">%s</code>' % escape(step["remedy"]) if step["state"] == "fail" else ""
        rows += '<tr class="%s"><td class="severity"><span class="state">%s</span></td><td>%d. %s%s%s</td></tr>' % (
            css, escape(_STEPS[step["state"]].strip()), step["number"], escape(step["title"]), remedy, checks)
    if not rows:
        return ""
    return ('<section><h2>Steps</h2><table class="findings"><thead><tr><th>Result</th><th>Step, and what was seen</th>'
            "</tr></thead><tbody>%s</tbody></table></section>" % rows)


def tls_counts(document) -> str:
    """``TLS ports: 12, 1 with a problem; connections between hosts: 30, all work``; empty without any."""
    parts = []
    for key, noun in (("tls_ports", "TLS ports"), ("tls_connections", "connections between hosts")):
        rows = document.get(key) or []
        bad = sum(row["outcome"] not in ("ok", "absent") for row in rows)
        if rows:
            parts.append("%s: %d, %s" % (noun, len(rows), "%d with a problem" % bad if bad else "all work"))
    return "; ".join(parts)


def html_tls(document) -> str:
    """What TLS ports present and who can talk to whom, what does not work first; open when anything does not."""
    out = ""
    for key, title, heads in (
        ("tls_ports", "TLS ports", ("Port", "Result", "Protocol", "Client certificate", "Certificate", "Until")),
        ("tls_connections", "Connections between hosts", ("From", "To", "Site", "Result", "Protocol")),
    ):
        rows = sorted(document.get(key) or [], key=lambda row: row["outcome"] in ("ok", "absent"))
        if not rows:
            continue
        bad = sum(row["outcome"] not in ("ok", "absent") for row in rows)
        body = "".join(
            '<tr class="%s">%s</tr>' % ("listens" if row["outcome"] in ("ok", "absent") else "silent",
                                        "".join("<td>%s</td>" % escape(cell) for cell in _tls_cells(key, row)))
            for row in rows)
        out += (
            "<section><h2>%s</h2><details%s><summary>%d looked at, %d with a problem</summary>"
            '<table class="connections"><thead><tr>%s</tr></thead><tbody>%s</tbody></table></details></section>'
        ) % (title, " open" if bad else "", len(rows), bad, "".join("<th>%s</th>" % head for head in heads), body)
    return out


def _tls_cells(key, row):
    result = TLS.get(row["outcome"], row["outcome"])
    if row["outcome"] not in ("ok", "absent") and row.get("detail"):
        result += ": %s" % row["detail"]
    protocol = row.get("protocol") or ""
    if key == "tls_connections":
        return ("%s on %s" % (row["from_role"], row["from"]), "%s on %s:%s" % (row["to_role"], row["to"], row["port"]),
                row.get("site") or "", result, protocol)
    return ("%s on %s:%s" % (row["role"], row["host"], row["port"]), result, protocol, row["client_certificate"],
            row.get("subject") or "", (row.get("not_after") or "")[:10])


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
