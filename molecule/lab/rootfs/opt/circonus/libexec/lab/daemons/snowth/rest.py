"""The REST interface on 8112."""

import json
import re
import time

from daemons import net
from daemons.snowth import gossip, numeric, pages, rebalance, reconstitute, store, sweep, topology

JSON, XML = "application/json", "text/xml"
LOCAL = "x-snowth-lab-local"  # a read that another node passed on is answered from the own data
TYPES = {"count": 0, "average": 1, "derive": 2, "counter": 3, "average_stddev": 4, "derive_stddev": 5}
TYPES["counter_stddev"] = 6
MAX_TIME = 1 << 33
REFUSALS = (sweep.Refused, rebalance.Refused, topology.Invalid)


class Bad(Exception):
    """A request that cannot be served: status, text."""

    def __init__(self, status, text):
        super().__init__(text)
        self.status = status


def body(value):
    return 200, json.dumps(value), JSON


def error(status, text):
    return status, json.dumps({"error": text}), JSON


class Rest:
    """Routes of one node."""

    def __init__(self, node):
        self.node = node
        self.exact = {
            "/": self.dashboard,
            "/state": lambda _r: body(pages.state(node)),
            "/stats.json": self.statistics,
            "/mtev/stats.json": self.framework,
            "/capa.json": lambda _r: body(pages.capabilities(node)),
            "/capa": lambda _r: (200, pages.capabilities_xml(pages.capabilities(node)), XML),
            "/gossip/json": lambda _r: body(self.table()),
            "/gossip/xml": lambda _r: (200, gossip.xml(self.table()), XML),
            "/rebalance/state": lambda _r: body(node.rebalance.status()),
            "/sweep_delete": self.sweep,
            "/sweep_delete/cancel": self.sweep_cancel,
            "/write/nnt": self.write_numeric,
            "/write/text": self.write_text,
            "/histogram/write": self.write_histogram,
            "/list/metric": self.list_metrics,
            "/reconstitute_state": self.rebuild_state,
            "/lab/everything": self.everything,
        }
        self.prefixes = {
            "topology": self.topology,
            "toporing": self.toporing,
            "rebalance": self.rebalance,
            "locate": self.locate,
            "journal": self.journal,
            "read": self.read,
            "histogram": self.histogram,
            "list": self.list_metrics,
            "reconstitute": self.reconstitute,
            "reconstitute_state": self.rebuild_flag,
            "lab": self.records,
        }

    def respond(self, request):
        while self.node.faults.on("http-hang"):
            time.sleep(0.2)
        if self.node.faults.on("http-error"):
            return error(500, "fault on demand")
        try:
            words = request.path.split("/")[1:]
            found = self.exact.get(request.path) or (self.prefixes.get(words[0]) if len(words) > 1 else None)
            return found(request) if found else error(404, "not found")
        except Bad as exc:
            return error(exc.status, str(exc))
        except REFUSALS as exc:
            return error(500, str(exc))
        except OSError as exc:
            self.node.log("%s %s: %s" % (request.method, request.path, exc))
            return error(500, exc.strerror or str(exc))

    def words(self, request, number):
        """Parts of a path behind the first one, decoded; the last one may hold slashes."""
        found = request.path.split("/", number + 1)[2:]
        if len(found) != number or not all(found):
            raise Bad(404, "not found")
        return [unquote(word) for word in found]

    def method(self, request, *allowed):
        if request.method not in allowed:
            raise Bad(405, "%s is not for this" % request.method)

    # -- state --------------------------------------------------------------------------------------------------
    def dashboard(self, _request):
        view = " Rebuilding." if self.node.rebuilding else ""
        page = "<!DOCTYPE html><title>snowth (lab stand-in)</title><p>Node %s of the lab's data store.%s</p>\n"
        return 200, page % (self.node.identity, view), "text/html"

    def formatted(self, request, value):
        form = request.query.get("format", "default")
        if form == "tagged":
            return body(pages.tagged(self.node, value))
        if form == "simple":
            return body(pages.simple(value))
        return body(net.leaves(value))

    def statistics(self, request):
        return self.formatted(request, pages.statistics(self.node))

    def framework(self, request):
        return self.formatted(request, pages.framework(self.node))

    def table(self):
        node = self.node
        table = node.gossip.table(node.topology(node.active).nodes, node.row())
        if node.faults.on("gossip-numbers"):
            for row in table:
                row.update({name: float(row[name]) for name in ("gossip_time", "gossip_age")})
        return table

    # -- topology -----------------------------------------------------------------------------------------------
    def known(self, digest):
        found = self.node.topology(digest)
        if found is None:
            raise Bad(404, "topology %s is not known here" % digest)
        return found

    def topology(self, request):
        if request.method == "POST":
            (digest,) = self.words(request, 1)
            self.node.load_topology(digest, request.body.decode(errors="replace"))
            return body({})
        self.method(request, "GET", "HEAD")
        form, digest = self.words(request, 2)
        found = self.known(digest)
        if form == "json":
            return body(found.rows(side=self.node.release.sides))
        if form == "xml":
            return 200, found.xml(), XML
        raise Bad(404, "not found")

    def toporing(self, request):
        form, digest = self.words(request, 2)
        found = self.known(digest)
        if form == "json":
            return body(found.ring_rows())
        if form == "xml":
            return 200, found.ring_xml(), XML
        raise Bad(404, "not found")

    def locate(self, request):
        form, check, metric = self.words(request, 3)
        found = self.node.topology(self.node.active)
        owners = found.owners(check, metric)
        if form == "json":
            rows = found.rows(owners, side=self.node.release.sides)
            return body({"key": "%s-%s" % (check, metric), "location": rows})
        if form == "xml":
            return 200, topology.Topology(found.copies, [found.by_id[ident] for ident in owners]).xml(), XML
        raise Bad(404, "not found")

    def rebalance(self, request):
        self.method(request, "POST")
        verb, digest = self.words(request, 2)
        if verb == "activate":
            self.node.rebalance.activate(digest)
        elif verb == "deactivate":
            self.node.rebalance.deactivate(digest)
        else:
            raise Bad(404, "not found")
        return body({})

    # -- sweep --------------------------------------------------------------------------------------------------
    def sweep(self, request):
        self.swept()
        self.method(request, "GET", "DELETE")
        if request.method == "GET":
            return body(self.node.sweep.status())
        self.node.sweep.start(request.headers)
        return 200, "[]", JSON

    def sweep_cancel(self, request):
        self.swept()
        self.method(request, "GET")
        return body(self.node.sweep.cancel())

    def swept(self):
        if not self.node.release.sweeps:
            raise Bad(404, "not found")

    # -- writing ------------------------------------------------------------------------------------------------
    def points(self, request, convert):
        """Take a JSON array of measurements; the answer counts them."""
        self.method(request, "POST", "PUT")
        try:
            found = [convert(point) for point in json.loads(request.body.decode())]
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            raise Bad(500, "data cannot be read: %s" % (str(exc) or repr(exc))) from exc
        updated = self.node.ingest(found)
        counts = {"records": len(found), "updated": updated, "misdirected": len(found) - updated, "errors": 0}
        return body(counts)

    def write_numeric(self, request):
        base = store.ROLLUPS[0]

        def convert(point):
            at = int(point["offset"])
            values = [float(point.get(name, 0)) for name in numeric.FIELDS]
            float(point["value"])  # the one that has to be there, as has the count
            if point["count"] < 0:
                raise ValueError("count %r" % point["count"])
            return ["nnt", base, check_id(point), name(point), at - at % base, *values]

        return self.points(request, convert)

    def write_text(self, request):
        def convert(point):
            if not isinstance(point["value"], str):
                raise ValueError("value of %s is no text" % point["metric"])
            at = int(float(point["offset"]) * 1000)
            return ["text", 0, check_id(point), name(point), at, point["value"]]

        return self.points(request, convert)

    def write_histogram(self, request):
        def convert(point):
            period, at = int(point["period"]), int(point["offset"])
            if period not in store.ROLLUPS:
                raise ValueError("period %d is not configured" % period)
            store.bins(point["histogram"])
            return ["hist", period, check_id(point), name(point), at - at % period, point["histogram"]]

        return self.points(request, convert)

    def journal(self, request):
        """Records of another node; all are stored, or none."""
        self.method(request, "POST")
        (count,) = self.words(request, 1)
        try:
            records = [json.loads(line) for line in request.body.decode().split("\n") if line]
            if len(records) != int(count):
                raise ValueError("%d records announced, %d found" % (int(count), len(records)))
            self.node.store.write(records)
        except (OSError, ValueError, TypeError) as exc:
            self.node.log("journal: %s" % exc)
            return 500, json.dumps({"records": 0, "failures": 1, "errors": 1}), JSON
        return body({"records": len(records), "failures": 0, "errors": 0})

    # -- reading ------------------------------------------------------------------------------------------------
    def times(self, *texts):
        try:
            return [int(float(text)) for text in texts]
        except ValueError:
            raise Bad(500, "times and periods are numbers, found %s" % " ".join(texts)) from None

    def read(self, request):
        """Numbers (six parts behind /read) and text (four)."""
        self.method(request, "GET")
        words = request.path.split("/")
        if len(words) > 6 and not topology.UUID.fullmatch(words[4].lower()):
            start, end, period, check, kind, metric = self.words(request, 6)
            start, end, period = self.times(start, end, period)
            if kind != "all" and kind not in TYPES:
                raise Bad(500, "unknown type %s" % kind)
            if period not in store.ROLLUPS:
                raise Bad(500, "period %d is not configured" % period)

            def local():
                rows = self.node.store.numeric.read(check.lower(), metric, period, start, end)
                return [[at, named(values) if kind == "all" else number(values[TYPES[kind]])] for at, *values in rows]

            return self.node.read("nnt", request, check, metric, local)
        start, end, check, metric = self.words(request, 4)
        start, end = self.times(start, end)
        return self.node.read(
            "text", request, check, metric, lambda: self.node.store.text(check.lower(), metric, start, end)
        )

    def histogram(self, request):
        self.method(request, "GET")
        start, end, period, check, metric = self.words(request, 5)
        start, end, period = self.times(start, end, period)
        if period not in store.ROLLUPS:
            raise Bad(500, "period %d is not configured" % period)

        def local():
            found = self.node.store.histogram(check.lower(), metric, period, start, end)
            return [[at, period, store.bins(text)] for at, text in found]

        return self.node.read("hist", request, check, metric, local)

    def list_metrics(self, request):
        self.method(request, "GET")
        check = None
        if request.path != "/list/metric":
            what, check = self.words(request, 2)
            if what != "metric":
                raise Bad(404, "not found")
        found = []
        for kind, spoken in store.KINDS.items():
            found += [{"id": c, "metric": m, "type": spoken} for c, m in self.node.store.metrics(kind, check)]
        return body(found)

    # -- rebuild ------------------------------------------------------------------------------------------------
    def fits(self, request):
        form = request.headers.get("x-snowth-lab-format")
        if form and form != str(self.node.release.rebuild_format):
            raise Bad(500, "incompatible release: format %s here, not %s" % (self.node.release.rebuild_format, form))

    def reconstitute(self, request):
        self.method(request, "GET")
        self.fits(request)
        (ident,) = self.words(request, 1)
        found = self.node.topology(self.node.active)
        if ident not in found.by_id:
            raise Bad(404, "node %s is not in topology %s" % (ident, self.node.active))
        names = [
            reconstitute.name_of(*item) for item in self.node.store.everything() if ident in found.owners(*item[2:])
        ]
        journal = self.node.journals.get(ident)
        checkpoint = (journal.reader.log, journal.reader.marker) if journal else (0, 0)
        return body({"checkpoint": "%08x:%08x" % checkpoint, "metrics": names})

    def everything(self, request):
        self.fits(request)
        return body([reconstitute.name_of(*item) for item in self.node.store.everything()])

    def records(self, request):
        self.fits(request)
        what, text = self.words(request, 2)
        if what != "records":
            raise Bad(404, "not found")
        return body(self.node.store.records(*reconstitute.parse(text)))

    def rebuild_state(self, request):
        if not self.node.release.newer:
            raise Bad(404, "not found")
        running = sorted(self.node.rebuilds | ({self.node.identity} if self.node.rebuilding else set()))
        return body({"in_progress": bool(running), "nodes": running})

    def rebuild_flag(self, request):
        if not self.node.release.newer:
            raise Bad(404, "not found")
        self.method(request, "PUT")
        (ident,) = self.words(request, 1)
        wanted = request.query.get("in_progress")
        if wanted not in ("true", "false"):
            raise Bad(500, "in_progress is true or false")
        (self.node.rebuilds.add if wanted == "true" else self.node.rebuilds.discard)(ident)
        return body({})


def unquote(text):
    """A part of a path without %XX (urllib would be most of this program's memory)."""
    data = re.sub(
        rb"%([0-9A-Fa-f]{2})", lambda match: bytes([int(match.group(1), 16)]), text.encode("latin-1", "replace")
    )
    return data.decode(errors="replace")


def check_id(point):
    found = str(point["id"]).lower()
    if not topology.UUID.fullmatch(found):
        raise ValueError("id %s is no UUID" % found)
    return found


def name(point):
    if not isinstance(point["metric"], str) or not point["metric"] or "\0" in point["metric"]:
        raise ValueError("metric %r" % (point["metric"],))
    return point["metric"]


def number(value):
    return int(value) if value == int(value) else value


def named(values):
    """All values of a rollup, with the names of the documents."""
    found = {name: number(value) for name, value in zip(numeric.FIELDS, values, strict=True)}
    seconds = ("derivative2", "derivative2_stddev", "counter2", "counter2_stddev")
    return {**found, **dict.fromkeys(seconds, 0)}
