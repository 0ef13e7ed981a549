# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The verdict on what TLS ports present and on the connections between hosts. Pure.

One cause is one finding: what is wrong with a file is told by the finding about the file, and what of it is seen on a
port or by another host is added to that as evidence. A problem gets a finding of its own only when no file explains it.
"""

from __future__ import annotations

from ansible_collections.circonus.inside.plugins.plugin_utils import findings as f
from ansible_collections.circonus.inside.plugins.plugin_utils import pki, pki_report

#: Findings about a file that keep others from trusting it, or its own service from using it.
CAUSES = frozenset((
    "pki_expired", "pki_not_yet_valid", "pki_issuer", "pki_signature", "pki_chain", "pki_usage", "pki_revoked",
    "pki_missing", "pki_unreadable", "pki_malformed", "pki_key_mismatch", "pki_key_encrypted", "pki_ca_differs",
    "pki_crl_missing", "pki_crl_foreign", "pki_weak_key", "pki_weak_signature",
))
#: Findings about a certificate that hold as well for what a port presents, when that is the same one.
SHOWN = CAUSES - {"pki_key_mismatch", "pki_key_encrypted", "pki_unreadable"} | {"pki_expiring", "pki_name"}
#: Alerts by which a peer says that it does not accept a certificate (RFC 8446, 6.2).
ABOUT_US = frozenset((
    "unknown ca", "bad certificate", "unsupported certificate", "certificate revoked", "certificate expired",
    "certificate unknown", "certificate required", "access denied", "decrypt error", "handshake failure",
))
MOST = 5
#: What a port presents and no file that is known holds.
UNKNOWN_FILE = (
    "Find the file that {role} on {host} presents on port {port}, then ca_reissue.yml with it in ca_reissue_files, or "
    "put a new certificate there"
)


class Judge:
    """All hosts: what was seen live, and the findings about their files, to which evidence is added."""

    def __init__(self, nodes, answers, found, ca=None, limits=None):
        self.nodes, self.answers, self.found = nodes, answers, list(found)
        self.roots = pki.load(ca).certificates if ca else []
        self.limits = dict(pki_report.DEFAULTS, **(limits or {}))
        self.evidence, self.unknown, self.ports, self.connections = {}, [], [], []
        self.own = {}

    # -- findings

    def add(self, ident, item, host, role, severity=None, remedy=None, **values):
        """A new finding; ``evidence`` is filled in at the end."""
        place = dict(values, port=item["port"], evidence="{evidence}")
        made = f.make(ident, host, role, (self.nodes.get(host) or {}).get("site"), severity, remedy, **place)
        made = dict(made, path=values.get("path"), port=item["port"])
        self.found.append(made)
        return made

    def note(self, finding, text):
        """Add to the evidence of a finding."""
        texts = self.evidence.setdefault(id(finding), [])
        if text not in texts:
            texts.append(text)

    def about(self, host, paths, idents, role=None):
        """Findings about files of a host, worst first."""
        paths = [path for path in paths if path]
        some = [item for item in self.found if item["host"] == host and item.get("path") in paths
                and item["id"] in idents and (role is None or item["role"] == role)]
        return sorted(some, key=lambda item: f.rank(item["severity"]))

    def result(self):
        """Findings with their evidence, worst first, and what the report shows."""
        out = []
        for item in self.found:
            texts = self.evidence.get(id(item)) or []
            shown = "; ".join(texts[:MOST]) + ("; and %d more" % (len(texts) - MOST) if texts[MOST:] else "")
            if "{evidence}" in item["found"]:
                found = item["found"].replace("{evidence}", "; " + shown if shown else "")
            else:
                found = item["found"] + ("; " + shown if shown else "")
            what = "%s: expected %s, found %s." % (
                f.where(item["role"], item["host"], item["site"]), item["expected"], found.rstrip("."))
            out.append(dict(item, found=found, what=what, **({"evidence": texts} if texts else {})))
        return {"findings": f.worst_first(out), "unknown": self.unknown, "ports": self.ports,
                "connections": self.connections}

    # -- ports

    def disk(self, host, item):
        """The certificate in the file of a port, None when there is none that can be read."""
        for one in (self.answers[host] or {}).get("files") or []:
            if item.get("file") and one["path"] == item["file"] and one.get("objects"):
                certificates = pki.load(one).certificates
                return certificates[0] if certificates else None
        return None

    def port(self, host, item, at):
        """What one port of a host presents."""
        outcome, role = item["outcome"], item["role"]
        view = {"host": host, "site": (self.nodes.get(host) or {}).get("site"), "role": role, "port": item["port"],
                "outcome": outcome, "detail": item.get("detail") or "", "protocol": item.get("protocol"),
                "cipher": item.get("cipher"), "client_certificate": client_certificate(item), "subject": None,
                "not_after": None, "sha256": None}
        seen = {"item": item, "outcome": outcome, "sha256": set(), "finding": None}
        self.own[(host, item["port"])] = seen
        self.ports.append(view)
        chain = certificates(item.get("chain"))
        if chain:
            facts = pki.facts(chain[0])
            view.update(subject=facts["subject"], not_after=facts["not_after"], sha256=facts["sha256"])
            seen["sha256"] = {facts["sha256"]} | {pki.facts(one)["sha256"] for one in
                                                  certificates(item.get("default_chain"))[:1]}
        if outcome == "unreachable" and item.get("optional"):
            view["outcome"] = "absent"
        elif outcome == "skipped":
            self.unknown.append("Port %s of %s on %s: not looked at in time." % (item["port"], role, host))
        elif outcome == "unreachable":
            # A service does not start without its files.
            causes = self.about(host, [item.get(name) for name in ("file", "key", "ca")], CAUSES)
            for cause in causes[:1]:
                self.note(cause, "nobody listens on port %s" % item["port"])
            seen["finding"] = causes[0] if causes else self.add(
                "tls_not_listening", item, host, role, detail=item["detail"])
        elif outcome == "hung":
            seen["finding"] = self.add("tls_hung", item, host, role, detail=item["detail"])
        elif outcome == "plain":
            seen["finding"] = self.add("tls_plain", item, host, role, detail=item["detail"])
        elif outcome == "local":
            self.unknown.append("Port %s of %s on %s: %s." % (item["port"], role, host, item["detail"]))
        else:
            if outcome != "ok":
                self.refused_port(host, item, seen, view)
            self.pair(host, item)
            if chain:
                self.shown(host, item, chain, at, seen)
            if item.get("verifies") and item.get("anonymous") == "ok":
                self.add("tls_client_unverified", item, host, role)

    def pair(self, host, item):
        """The pair of a role that its own host cannot load: the file says why."""
        if item.get("pair"):
            causes = self.about(host, [item.get("cert"), item.get("key")], CAUSES)
            for cause in causes[:1]:
                self.note(cause, item["pair"])
            if not causes:
                self.unknown.append("Whether port %s of %s on %s accepts its own certificate: %s." % (
                    item["port"], item["role"], host, item["pair"]))

    def refused_port(self, host, item, seen, view):
        """A port of this host that ends the handshake; without a pair of ours that may be right."""
        alert = item.get("alert")
        if item["outcome"] == "refused" and not item.get("cert"):
            # It wants a certificate, and nobody knows where the role has one.
            view.update(outcome="ok", client_certificate="required")
            return
        if item["outcome"] == "refused" and item.get("pair"):
            return
        if alert in ABOUT_US:
            causes = self.about(host, [item.get("cert"), item.get("key"), item.get("ca")], CAUSES)
            if causes:
                self.note(causes[0], "port %s refuses it (%s)" % (item["port"], alert))
                seen["finding"] = causes[0]
                return
            server = "port %s of %s on %s" % (item["port"], item["role"], host)
            seen["finding"] = self.add(
                "tls_client_refused", item, host, item["role"], server=server, clients="even its own certificate",
                detail=item["detail"], from_role=item["role"], to_role=item["role"], to=host)
            return
        seen["finding"] = self.add("tls_handshake", item, host, item["role"], detail=item["detail"])

    def shown(self, host, item, chain, at, seen):
        """Judge the certificates that a port presents against the file, or by themselves."""
        leaf, path, role = chain[0], item.get("file"), item["role"]
        disk, port = self.disk(host, item), item["port"]
        about = self.about(host, [path], SHOWN, role)
        if disk is not None and same(disk, leaf):
            for finding in about:
                self.note(finding, "port %s presents it" % port)
            if not about and not item.get("users") and self.roots:
                self.chain(host, item, chain, at)
        elif disk is not None:
            text, severity = self.described(leaf, chain[1:], at, item)
            seen["finding"] = self.add("tls_stale", item, host, role, severity, path=path, detail=text)
        elif about:
            for finding in about:
                self.note(finding, "port %s still presents %s" % (port, self.described(leaf, chain[1:], at, item)[0]))
        else:
            self.dates(host, item, leaf, at)
        default = certificates(item.get("default_chain"))
        if default and disk is not None and same(disk, leaf) and not item.get("users"):
            text, severity = self.described(default[0], default[1:], at, item)
            self.add("tls_stale", item, host, role, severity, path=path, detail="without a name (SNI) " + text)
        names = item.get("names") or []
        if names and not any(pki.covers(leaf, name) for name in names):
            known = pki.alternative_names(leaf)[0] or [pki.facts(leaf)["common_name"] or "no name at all"]
            self.add("tls_name", item, host, role, wanted=" or ".join(names), names=", ".join(known[:5]),
                     path=path or "the file of the service")

    def chain(self, host, item, chain, at):
        """Whether what is presented leads to the CA; what is wrong with the certificate itself was told before."""
        result = pki.validate(chain[0], chain[1:], self.roots, within(chain[0], at))
        if not result["valid"]:
            self.add("tls_chain", item, host, item["role"], wanted=" or ".join(sorted(
                {pki_report.label(root.subject) for root in self.roots})), detail=result["detail"], path=item["file"])

    def described(self, leaf, others, at, item):
        """(what people need to know of a certificate, how bad it is to present it)."""
        end = pki.span(leaf)[1]
        facts = pki.facts(leaf)
        text = "the certificate %s (serial %s)" % (facts["common_name"] or facts["subject"], facts["serial"])
        left = pki.days_left(end, at)
        if left is not None and left < 0:
            return text + " that expired %s ago" % pki_report.age(-left), "critical"
        if self.roots and not item.get("users") and not pki.validate(
                leaf, others, self.roots, within(leaf, at))["valid"]:
            return text + " that the CA did not issue", "error"
        return text + " that is valid until %s" % (end.date() if end else "nobody knows when"), None

    def dates(self, host, item, leaf, at):
        """A certificate that is in no file that anybody knows: only its dates can be judged."""
        judge = pki_report.Judge(host, at, (), (self.nodes.get(host) or {}).get("site"), self.limits)
        place = {"path": "the certificate of port %s" % item["port"], "kind": "cert", "role": item["role"]}
        judge.dates(place, leaf)
        remedy = UNKNOWN_FILE.format(port=item["port"], role=item["role"], host=host)
        self.found += [dict(made, port=item["port"], remedy=remedy) for made in judge.found]

    # -- connections

    def peer(self, host, item):
        """One connection from a host to another; returns it when it fails and nothing that is known explains it."""
        server = "%s on %s (port %s)" % (item["to_role"], item["to"], item["port"])
        client = "%s on %s" % (item["role"], host)
        view = {"from": host, "from_role": item["role"], "to": item["to"], "to_role": item["to_role"],
                "site": item.get("to_site"), "port": item["port"], "outcome": item["outcome"],
                "detail": item.get("detail") or "", "protocol": item.get("protocol")}
        self.connections.append(view)
        own, outcome = self.own.get((item["to"], item["port"])), item["outcome"]
        if outcome == "ok":
            if own and own["outcome"] == "ok" and own["sha256"] and item["sha256"] not in own["sha256"]:
                self.add("tls_elsewhere", item, host, item["role"], server=server, to=item["to"],
                         address=item["address"])
            return None
        if outcome == "unreachable" and item.get("optional") and (own is None or own["outcome"] != "ok"):
            view["outcome"] = "absent"
            return None
        if outcome == "skipped":
            self.unknown.append("The connection from %s to %s: not tried in time." % (client, server))
            return None
        if outcome == "local":
            causes = self.about(host, [item.get(name) for name in ("cert", "key", "ca", "crl")], CAUSES)
            causes.sort(key=lambda one: one["path"] not in item["detail"])
            if causes:
                self.note(causes[0], "no connection to %s" % server)
            else:
                self.unknown.append("The connection from %s to %s: %s." % (client, server, item["detail"]))
            return None
        cause, text = self.cause(host, item, own, client, server)
        if cause is None:
            return dict(item, host=host, client=client, server=server)
        self.note(cause, text)
        return None

    def cause(self, host, item, own, client, server):
        """(the finding that explains why a connection fails, the evidence to add to it), (None, None) without one."""
        outcome = item["outcome"]
        down = [one for one in self.found if one["host"] == item["to"] and one["id"] == "host_unreachable"]
        if outcome in ("unreachable", "hung") and down:
            return down[0], "%s cannot reach its port %s (%s)" % (client, item["port"], item["detail"])
        theirs = (own or {}).get("finding")
        if outcome not in ("untrusted", "refused") and theirs and own["outcome"] != "ok":
            return theirs, "%s cannot talk to port %s" % (client, item["port"])
        port = (own or {}).get("item") or {}
        if outcome == "untrusted":
            causes = self.about(host, [item.get("ca"), item.get("crl")], CAUSES)
            causes += self.about(item["to"], [port.get("file")], CAUSES)
            causes += [theirs] if theirs and theirs["id"] in ("tls_stale", "tls_chain") else []
            causes += [one for one in self.found if one["id"] == "tls_chain" and one["host"] == item["to"]
                       and one["port"] == item["port"]]
            if causes:
                return causes[0], "%s does not trust %s (%s)" % (client, server, item["detail"])
        if outcome == "refused":
            causes = self.about(host, [item.get("cert"), item.get("key")], CAUSES)
            causes += self.about(item["to"], [port.get("ca")], CAUSES)
            causes += [theirs] if theirs else []
            if causes:
                return causes[0], "%s refuses %s (%s)" % (server, client, item["detail"])
        return None, None

    def unexplained(self, rows):
        """Connections that fail and that no other finding explains: one finding for a server that fails for all."""
        asked = {}
        for row in self.connections:
            if row["outcome"] not in ("absent", "skipped", "local"):
                asked[(row["to"], row["port"])] = asked.get((row["to"], row["port"]), 0) + 1
        groups = {}
        for row in rows:
            ident = "tls_unreachable"
            if row["outcome"] == "untrusted":
                ident = "tls_untrusted"
            elif row["outcome"] == "refused":
                ident = "tls_client_refused"
            groups.setdefault((row["to"], row["port"], ident, row["detail"]), []).append(row)
        for (to, port, ident, detail), some in groups.items():
            values = {"server": some[0]["server"], "to": to, "to_role": some[0]["to_role"], "detail": detail,
                      "address": some[0]["address"], "from_role": some[0]["role"]}
            everybody = len(some) > 1 and len(some) == asked[(to, port)]
            if everybody and ident != "tls_unreachable":
                names = ", ".join(row["client"] for row in some[:MOST]) + (
                    " and %d more" % len(some[MOST:]) if some[MOST:] else "")
                self.add(ident, some[0], to, some[0]["to_role"], clients=names, **values)
                continue
            for row in some:
                values.update(clients=row["client"], from_role=row["role"])
                self.add(ident, row, row["host"], row["role"], **values)


def client_certificate(item) -> str:
    """``required``, ``asked for``, ``not asked for`` or ``unknown``, of a port."""
    if item.get("anonymous") not in (None, "ok", "skipped", "hung") and item["outcome"] == "ok":
        return "required"
    if item.get("asks") is None:
        return "unknown"
    return "asked for" if item["asks"] else "not asked for"


def certificates(texts) -> list:
    """Certificates of a list of base64 texts; what cannot be read is left out."""
    return pki.load([{"type": "certificate", "der": text} for text in texts or []]).certificates if texts else []


def same(one, two) -> bool:
    """Whether two certificates are the same, byte for byte."""
    return pki.facts(one)["sha256"] == pki.facts(two)["sha256"]


def within(certificate, at):
    """Now, or the nearest moment at which a certificate is valid: its dates are findings of their own."""
    start, end = pki.span(certificate)
    if start is None or end is None or end < start:
        return at
    return min(max(at, start), end)


def evaluate(nodes, answers, found, ca=None, limits=None) -> dict:
    """``{"findings", "unknown", "ports", "connections"}`` of a platform.

    nodes: ``{host: {"site", "roles"}}``. answers: ``{host: what pki_files returned}``, with ``live`` where it looked.
    found: findings about files, each with ``path``. ca: ca.crt of the CA host in any form of :func:`pki.load`.
    """
    judge = Judge(nodes, answers, found, ca, limits)
    looked = {host: answer for host, answer in answers.items() if answer and answer.get("live")}
    for host, answer in looked.items():
        for item in answer["live"]["ports"]:
            judge.port(host, item, pki.moment(answer.get("now")))
    rows = [judge.peer(host, item) for host, answer in looked.items() for item in answer["live"]["peers"]]
    judge.unexplained([row for row in rows if row])
    return judge.result()
