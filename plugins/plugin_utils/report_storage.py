# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The data_storage clusters of a report for people: lines of text and a part of the page. Pure functions of
docs/report.md."""

from __future__ import annotations

from ansible_collections.circonus.inside.plugins.plugin_utils.report_picture import escape, plain, size

#: Nodes up to which the whole matrix is printed as text; of a larger cluster the worst peer of each node.
WIDE = 8
#: Nodes up to which a column of the page has a name.
NAMED = 5
#: What stands behind a number, so that nobody has to see its colour.
MARKS = {"green": "", "yellow": " !", "red": " !!", "unknown": "", "black": ""}
_LEGEND = (("green", "below 30 s"), ("yellow", "! from 30 s"), ("red", "!! from 270 s"), ("unknown", "unknown"))
_NOT_TOLD = {"seconds": None, "colour": "unknown"}
_AGES = "Gossip is green below 2 s, yellow (!) up to 8 s, red (!!) from there, black when nothing was ever heard."


def present(document) -> bool:
    """Whether a report has clusters in the documented shape."""
    found = document.get("storage")
    return isinstance(found, list) and all(
        isinstance(one, dict) and isinstance(one.get("nodes"), list) for one in found)


def _seconds(entry):
    if entry["seconds"] is None:
        return "unknown"
    return "%g s%s" % (entry["seconds"], MARKS.get(entry["colour"], ""))


def _age(node):
    if node["age"] is None:
        return "never heard" if node["age_colour"] == "black" else "unknown"
    return "%.1f s%s" % (node["age"], MARKS.get(node["age_colour"], ""))


def _used(node):
    if node["used_percent"] is None:
        return "unknown"
    return "%g %% used, %s free" % (node["used_percent"], size(node["free_bytes"]))


def _version(node):
    return node["semver"] or node["version"] or "unknown"


def doing(node) -> str:
    """What keeps a node from being just a node: what is wrong with it, a rebalance, a rebuild with its progress."""
    parts = []
    if node["problem"]:
        parts.append("does not serve: %s%s" % (node["problem"], " (%s)" % node["error"] if node["error"] else ""))
    if node["rebalance"] and node["rebalance"] != "TOPO_REBALANCE_IDLE":
        parts.append("rebalance: %s" % node["rebalance"].replace("TOPO_REBALANCE_", "").lower())
    if node["next"]:
        parts.append("next topology %s.." % node["next"][:12])
    if node["reconstitute"]:
        told = ", ".join("%s %s" % item for item in sorted(node["reconstitute"].items())[:4])
        parts.append("is being rebuilt: %s" % told)
    elif node["rebuilding"]:
        parts.append("tells of a rebuild")
    return "; ".join(parts)


def head(cluster) -> str:
    """One line about a cluster."""
    if not cluster["digest"]:
        return "%s: no node tells the topology" % cluster["site"]
    return "%s: %d nodes, %s write cop%s%s, topology %s.., %s (seen from %s)" % (
        cluster["site"], len(cluster["nodes"]), cluster["write_copies"], "y" if cluster["write_copies"] == 1 else "ies",
        ", sided" if cluster["sided"] else "", cluster["digest"][:12],
        "settled" if cluster["settled"] else "NOT SETTLED", cluster["seen_from"])


def lines(document) -> list:
    """The dashboard as text: a table of latencies and a line for each node."""
    out = []
    for cluster in document["storage"] if present(document) else ():
        out.append("  %s" % plain(head(cluster)))
        nodes = cluster["nodes"]
        whole = len(nodes) <= WIDE
        names = [node["host"] for node in nodes]
        rows = [["behind:", "gossip", *(names if whole else ["worst"])]]
        for node in nodes:
            told = {entry["id"]: entry for entry in node["latency"]}
            if whole:
                cells = [_seconds(told.get(peer["id"], _NOT_TOLD)) if peer["id"] != node["id"] else "-"
                         for peer in nodes]
            else:
                last = max(node["latency"], key=lambda entry: (entry["seconds"] is None, entry["seconds"] or 0),
                           default=None)
                cells = ["%s to %s" % (_seconds(last), last["host"]) if last else "unknown"]
            rows.append([node["host"], _age(node), *cells])
        widths = [max(len(plain(row[at])) for row in rows) for at in range(len(rows[0]))]
        out += ["    " + "  ".join(plain(cell).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
                for row in rows]
        for node in nodes:
            said = doing(node)
            out.append("    %s  %s, version %s%s" % (plain(node["host"]).ljust(widths[0]), _used(node),
                                                     plain(_version(node)), ", %s" % plain(said) if said else ""))
    return out


def html(document) -> str:
    """The dashboard of each cluster: matrix with colours, and what each node tells of itself."""
    return "".join(_html_cluster(cluster) for cluster in document["storage"]) if present(document) else ""


def _html_cluster(cluster):
    nodes = cluster["nodes"]
    if not cluster["digest"]:
        return '<section class="storage"><h2>Data storage %s</h2></section>' % escape(head(cluster))
    # With many nodes the columns have numbers, the rows number and name.
    short = len(nodes) > NAMED
    heads = "".join('<th scope="col" class="%s" title="%s">%s</th>' % (
        "viewed" if node["viewed"] else "", escape(node["host"]), at if short else escape(node["host"]))
        for at, node in enumerate(nodes, 1))
    rows = ""
    for at, node in enumerate(nodes, 1):
        told = {entry["id"]: entry for entry in node["latency"]}
        cells = ""
        for peer in nodes:
            entry = told.get(peer["id"])
            if peer["id"] == node["id"]:
                cells += '<td class="self">&ndash;</td>'
            else:
                entry = entry or _NOT_TOLD
                cells += '<td class="%s">%s</td>' % (escape(entry["colour"]), escape(_seconds(entry)))
        mean = "unknown" if node["mean"] is None else "mean %g s" % round(node["mean"], 1)
        rows += ('<tr><th scope="row" class="%s">%s%s</th><td class="%s">%s</td><td class="%s">%s</td>%s</tr>' % (
            "viewed" if node["viewed"] else "", "%d " % at if short else "", escape(node["host"]),
            escape(node["age_colour"]), escape(_age(node)), escape(node["colour"]), escape(_summary(node, mean)),
            cells))
    legend = " ".join('<span class="key %s">%s</span>' % (colour, escape(text)) for colour, text in _LEGEND)
    body = "".join(
        "<tr><th scope=\"row\">%s</th><td>%s%s</td><td>%s</td><td>%s</td><td><code>%s</code></td><td>%s</td></tr>" % (
            escape(node["host"]) + ('<span class="each">side %s</span>' % escape(node["side"]) if node["side"] else ""),
            _bar(node["used_percent"]), escape(_used(node)), escape(_version(node)), escape(_running(node)),
            escape((node["digest"] or "unknown")[:12]), escape(doing(node) or "serves"))
        for node in nodes)
    return (
        '<section class="storage"><h2>Data storage %s</h2>'
        '<div class="wide"><table class="matrix"><caption>How far a node (row) is behind the others (columns), as %s '
        'tells it</caption><thead><tr><th></th><th scope="col">Gossip</th><th scope="col">Node</th>%s</tr></thead>'
        "<tbody>%s"
        '</tbody></table></div><p class="hint">%s %s The node that was asked is underlined.</p>'
        '<table class="values nodes"><thead><tr><th>Node</th><th>Space</th><th>Version</th><th>Runs for</th>'
        "<th>Topology</th><th>State</th></tr></thead><tbody>%s</tbody></table></section>"
    ) % (escape(head(cluster)), escape(cluster["seen_from"]), heads, rows, legend, escape(_AGES), body)


def _summary(node, mean):
    """The words of the dashboard in the heading of a node."""
    words = {"red": "latencies danger", "yellow": "latencies warning"}.get(node["colour"])
    return "%s (%s)" % (words, mean) if words else mean


def _running(node):
    seconds = node["running_s"]
    if seconds is None:
        return node["unit"] or "unknown"
    for limit, unit, length in ((120, "s", 1), (7200, "min", 60), (172800, "h", 3600)):
        if seconds < limit:
            return "%d %s" % (seconds / length, unit)
    return "%d days" % (seconds / 86400)


def _bar(percent):
    if percent is None:
        return ""
    return '<span class="track"><span class="fill" style="width:%.1f%%"></span></span> ' % max(0.0, min(100.0, percent))
