# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The verdict on a role's set of PKI files, and on all of a platform together. Pure.

Input are items of the module pki_files. Beside ``path``, ``kind`` and ``role`` an item may carry ``wanted_owner``,
``names`` (a certificate has to name one of them) and ``usage`` (``server``, ``client``). A consequence is not reported
beside its cause: of a certificate with a bad signature, its chain is not.
"""

from __future__ import annotations

from ansible_collections.circonus.inside.plugins.plugin_utils import findings as f
from ansible_collections.circonus.inside.plugins.plugin_utils import pki

WORDS = {
    "ca": "CA certificate",
    "cert": "certificate",
    "key": "private key",
    "crl": "CRL",
    "keystore": "keystore",
    "user_facing": "certificate or key for users",
}
STATES = {
    "unreadable": "cannot be read ({error})",
    "too_large": "{size} bytes, more than any such file has",
    "dangling": "a symlink to {link}, which does not exist",
    "directory": "a directory",
    "fifo": "a FIFO",
    "socket": "a socket",
    "device": "a device",
}
DEFAULTS = {"expiry_days": 30, "expiry_soon_days": 7, "crl_age_days": 10}


def age(days) -> str:
    """``3.2 days``, ``5 hours``."""
    return "%.1f days" % days if abs(days) >= 2 else "%.0f hours" % (days * 24)


def _finding(ident, item, site=None, remedy=None, days=0, **values):
    """A finding about a file, with its path; item: ``host``, ``role``, ``path``, ``kind``, ``own``."""
    remedy = remedy or f.pki_remedy(ident, item.get("kind"), item.get("role"), bool(item.get("own")), days)
    made = f.make(ident, item["host"], item.get("role"), site, path=item["path"], remedy=remedy, **values)
    return dict(made, path=item["path"])


class Judge:
    """One host: its files, the time, and the findings so far."""

    def __init__(self, host, at, ca=None, site=None, limits=None):
        self.host, self.at, self.site, self.ca = host, at, site, ca
        self.limits = dict(DEFAULTS, **(limits or {}))
        self.found, self.certificates = [], []

    def make(self, ident, item, **values):
        """Add a finding about a file."""
        self.found.append(_finding(ident, dict(item, host=self.host), self.site, **values))

    # -- one file

    def readable(self, item) -> bool:
        """Whether there is a file that can be looked into; says so when not."""
        kind, state = item["kind"], item.get("state", "file")
        if state == "file":
            return True
        if kind == "crl" and state in ("missing", "dangling"):
            self.make("pki_crl_missing", item, detail="no such file")
        elif kind == "keystore" and state in ("missing", "dangling"):
            self.make("pki_keystore_missing", item)
        elif state == "missing":
            self.make("pki_missing", item, kind=WORDS[kind])
        else:
            detail = STATES[state].format(
                error=item.get("error") or "no reason given", size=item.get("size"), link=item.get("link"))
            self.make("pki_unreadable", item, kind=WORDS[kind], detail=detail)
        return False

    def access(self, item):
        """Mode and owner of a file that holds a private key; the owner of the others."""
        mode = int(item["mode"], 8) if item.get("mode") else None
        private = item["kind"] in ("key", "keystore") or bool(item.get("keys"))
        if mode is not None and private and mode & (0o004 if item["kind"] == "keystore" else 0o077):
            if item["kind"] in ("key", "keystore", "user_facing"):
                self.make("pki_mode", item, mode=item["mode"], remedy="chmod go-rwx {path} on {host}")
            else:
                self.make("pki_key_in_public", item, mode=item["mode"])
        wanted = item.get("wanted_owner")
        if wanted and item.get("owner") not in (None, wanted):
            self.make("pki_owner", item, wanted=wanted, owner=item["owner"])

    def loaded(self, item):
        """Content of a file of certificates, or None when it holds none; says so."""
        content = pki.load(item)
        kind = WORDS[item["kind"]]
        wanted = content.crls if item["kind"] == "crl" else content.certificates
        if not wanted or content.problems:
            detail = "; ".join(content.problems)
            if not detail:
                others = [("a private key", content.keys), ("a CRL", content.crls),
                          ("a certificate", content.certificates)]
                detail = " and ".join(name for name, items in others if items) or "nothing"
            self.make("pki_malformed", item, kind=kind, detail=detail)
        return content if wanted else None

    def dates(self, item, certificate):
        """Expired, expiring, not yet valid."""
        start, end = pki.span(certificate)
        if start is None or end is None:
            self.make("pki_malformed", item, kind=WORDS[item["kind"]], detail="a validity that cannot be read")
            return
        if self.at < start:
            self.make("pki_not_yet_valid", item, start=start.isoformat())
        self.ending(item, end)

    def ending(self, item, end):
        """Expired or expiring."""
        left = pki.days_left(end, self.at)
        # A CRL lives 30 days and is refreshed weekly: that it ends within a month is no news.
        limit = self.limits["expiry_soon_days" if item["kind"] == "crl" else "expiry_days"]
        if left < 0:
            self.make("pki_expired", item, age=age(-left))
        elif left < limit:
            soon = left < self.limits["expiry_soon_days"]
            word = "%g" % self.limits["expiry_soon_days" if soon else "expiry_days"]
            self.make("pki_expiring", item, left=age(left), limit=word, severity="error" if soon else None, days=limit)

    def strength(self, item, certificate, facts):
        """Weak keys and signatures; that of a root by itself says nothing."""
        weak = pki.weak_key(facts["key"])
        if weak:
            self.make("pki_weak_key", item, detail=weak)
        if facts["signature_hash"] in pki.WEAK_HASHES and not pki.names_equal(certificate.subject, certificate.issuer):
            self.make("pki_weak_signature", item, detail=facts["signature_hash"])

    def remember(self, item, certificate):
        """Facts of a certificate, kept for the report and for what is judged across hosts."""
        facts = pki.facts(certificate)
        for problem in facts["problems"]:
            self.make("pki_malformed", item, kind=WORDS[item["kind"]], detail=problem)
        self.certificates.append(
            dict(facts, host=self.host, path=item["path"], role=item.get("role"), kind=item["kind"],
                 **({"own": True} if item.get("own") else {})))
        return facts

    # -- a set

    def role(self, items):
        """All files of one role on this host. Of an optional set nothing may be there, but not a part of it."""
        if all(item.get("optional") and item.get("state") == "missing" for item in items):
            return
        by_kind = {}
        for item in items:
            by_kind.setdefault(item["kind"], []).append(item)
        roots = []
        for item in by_kind.get("ca", []):
            roots += self.authority(item)
        leaves = [(item, self.certificate(item, roots)) for item in by_kind.get("cert", [])]
        certificate = next((found for _item, found in leaves if found is not None), None)
        shown = next((item["path"] for item, found in leaves if found is not None), "its certificate")
        for item in by_kind.get("key", []):
            self.key(item, certificate, shown)
        for item in by_kind.get("crl", []):
            self.crl(item, roots, [(item, found) for item, found in leaves if found is not None])
        parts = [item for kind in ("ca", "cert", "key") for item in by_kind.get(kind, [])]
        for item in by_kind.get("keystore", []):
            self.keystore(item, parts)
        self.user_facing(by_kind.get("user_facing", []), leaves, roots)

    def authority(self, item):
        """Certificates of a ca.crt; what is wrong with them."""
        if not self.readable(item):
            return []
        self.access(item)
        content = self.loaded(item)
        if content is None:
            return []
        for certificate in content.certificates:
            facts = self.remember(item, certificate)
            self.dates(item, certificate)
            self.strength(item, certificate, facts)
            problem = pki.usage_problem(certificate, "ca")
            if problem:
                self.make("pki_usage", item, purpose="certificate authority", detail=problem)
        if self.ca:
            known = {pki.facts(one)["sha256"] for one in self.ca}
            seen = {pki.facts(one)["sha256"] for one in content.certificates}
            if not known <= seen:
                wanted, shown = (
                    ", ".join("%s (sha256 %s...)" % (label(one.subject), pki.facts(one)["sha256"][:16]) for one in some)
                    for some in (self.ca, content.certificates)
                )
                self.make("pki_ca_differs", item, wanted=wanted, found=shown)
                # What it issued is judged by the right one: the certificates are not to blame for this file.
                return self.ca
        return content.certificates

    def certificate(self, item, roots):
        """The leaf of a file, None when there is none."""
        if not self.readable(item):
            return None
        self.access(item)
        content = self.loaded(item)
        if content is None:
            return None
        certificate, others = content.certificates[0], content.certificates[1:]
        facts = self.remember(item, certificate)
        self.dates(item, certificate)
        self.strength(item, certificate, facts)
        if roots:
            self.path(item, certificate, others, roots)
        names = item.get("names") or []
        if names and not any(pki.covers(certificate, name) for name in names):
            known = facts["dns"] + facts["ip"] or [facts["common_name"] or "no name at all"]
            self.make("pki_name", item, wanted=" or ".join(names), names=", ".join(known[:5]))
        for purpose in item.get("usage") or []:
            problem = pki.usage_problem(certificate, purpose)
            if problem:
                self.make("pki_usage", item, purpose=purpose, detail=problem)
        return certificate

    def path(self, item, certificate, others, roots):
        """Whether a trusted authority issued it. Of roots that have expired the ca.crt is told already."""
        result = pki.validate(certificate, others, roots, self._within(certificate))
        if result["valid"]:
            return
        wanted = _listed(roots)
        if result["problem"] == "issuer" and len(result["chain"]) == 1:
            self.make("pki_issuer", item, wanted=wanted, issuer=label(certificate.issuer))
        elif result["problem"] == "signature" and len(result["chain"]) == 1:
            self.make("pki_signature", item, wanted=wanted)
        elif result["problem"] in ("expired", "not_yet_valid") and any(
            pki.facts(result["chain"][-1])["sha256"] == pki.facts(root)["sha256"] for root in roots
        ):
            return
        else:
            self.make("pki_chain", item, detail=result["detail"])

    def _within(self, certificate):
        """Now, or the nearest moment at which the certificate itself is valid: its dates are findings of their own."""
        start, end = pki.span(certificate)
        if start is None or end is None or end < start:
            return self.at
        return min(max(self.at, start), end)

    def key(self, item, certificate, shown):
        """A private key and whether it belongs to the certificate."""
        if not self.readable(item):
            return
        self.access(item)
        keys = item.get("keys") or []
        if not keys:
            content = pki.load(item)
            detail = "; ".join(content.problems) or ("a certificate" if content.certificates else "no private key")
            self.make("pki_malformed", item, kind=WORDS["key"], detail=detail)
            return
        first = keys[0]
        if first.get("encrypted"):
            self.make("pki_key_encrypted", item)
            return
        if not first.get("public_sha256"):
            detail = first.get("error") or "a key that cannot be read"
            self.make("pki_malformed", item, kind=WORDS["key"], detail=detail)
            return
        if certificate is not None and pki.public_sha256(certificate) not in (None, first["public_sha256"]):
            self.make("pki_key_mismatch", item, certificate=shown)
        elif certificate is None and pki.weak_key(first):
            self.make("pki_weak_key", item, detail=pki.weak_key(first))

    def crl(self, item, roots, leaves):
        """A CRL: its age, its signature, and whether it revokes what is in use."""
        if not self.readable(item):
            return
        self.access(item)
        content = self.loaded(item)
        if content is None:
            return
        crl = content.crls[0]
        end = pki.crl_end(crl)
        facts = pki.crl_facts(crl)
        if end is None:
            self.make("pki_malformed", item, kind=WORDS["crl"], detail="a CRL without the date of the next one")
        else:
            self.ending(item, end)
        if facts["last_update"] and (end is None or end >= self.at):
            old = -pki.days_left(pki.moment(facts["last_update"]), self.at)
            if old > self.limits["crl_age_days"]:
                self.make("pki_crl_stale", item, age=age(old), limit="%g" % self.limits["crl_age_days"])
        if roots and not any(pki.names_equal(crl.issuer, root.subject) and pki.signed_by(crl, root) for root in roots):
            self.make("pki_crl_foreign", item, wanted=_listed(roots), issuer=facts["issuer"])
            return
        for place, certificate in leaves:
            date = pki.revoked_on(certificate, crl) if pki.names_equal(certificate.issuer, crl.issuer) else None
            if date is not None:
                self.make("pki_revoked", place, date=date.date())

    def keystore(self, item, parts):
        """A keystore and the files it is built from."""
        if not self.readable(item):
            return
        self.access(item)
        newer = [part for part in parts if (part.get("mtime") or 0) > (item.get("mtime") or 0)]
        if newer and item.get("mtime"):
            part = max(newer, key=lambda one: one["mtime"])
            self.make("pki_keystore_stale", item, part=part["path"], age=age((part["mtime"] - item["mtime"]) / 86400))

    def user_facing(self, items, leaves, roots):
        """Pairs for users: dates and strength, and that no certificate is used on both sides."""
        internal = {pki.facts(one)["sha256"]: item for item, one in leaves if one is not None}
        for item in items:
            # A load balancer in front may have them.
            if item.get("state") == "missing" or not self.readable(item):
                continue
            self.access(item)
            content = pki.load(item)
            if not content.certificates:
                if not content.keys:
                    detail = "; ".join(content.problems) or "nothing"
                    self.make("pki_malformed", item, kind=WORDS["user_facing"], detail=detail)
                continue
            certificate = content.certificates[0]
            facts = self.remember(item, certificate)
            self.dates(item, certificate)
            self.strength(item, certificate, facts)
            other = internal.get(facts["sha256"])
            if other is None:
                continue
            if any(pki.signed_by(certificate, root) for root in roots):
                self.make("pki_user_facing", item, wanted="an authority that users trust",
                          detail="the certificate between hosts, %s" % other["path"])
            else:
                self.make("pki_user_facing", other, wanted="the platform's own CA",
                          detail="the certificate for users, %s" % item["path"])


def label(name) -> str:
    """What people call an authority: its common name, the whole name when it has none."""
    return _short(pki.name_text(name))


def _short(text):
    parts = text.split(",")
    return next((part[3:] for part in parts if part.startswith("CN=")), ",".join(parts) or "a nameless authority")


def _listed(certificates) -> str:
    return " or ".join(sorted({label(item.subject) for item in certificates})) or "nobody"


def report(files, host=None, now=None, ca=None, site=None, **limits) -> dict:
    """The verdict on the files of one host.

    files: items of the module pki_files. now: see :func:`pki.moment`; the time of that host. ca: the CA host's own
    ca.crt in any form of :func:`pki.load`. limits: ``expiry_days``, ``expiry_soon_days``, ``crl_age_days``.

    Returns ``{"host", "ok", "worst", "findings" (worst first, each with "path"), "certificates" (facts)}``.
    """
    with pki.quiet():
        judge = Judge(host, pki.moment(now), pki.load(ca).certificates if ca else [], site, limits)
        roles = {}
        for item in files:
            roles.setdefault(item.get("role"), []).append(item)
        for items in roles.values():
            judge.role(items)
    found = f.worst_first(judge.found)
    return {"host": host, "ok": not found, "worst": f.worst(found), "findings": found,
            "certificates": judge.certificates}


def across(reports, keys=None) -> list:
    """Findings that only several hosts together show: serial numbers given twice, keys on two hosts.

    reports: results of :func:`report`. keys: ``[{"host", "path", "role", "kind", "public_sha256"}]`` of private keys.
    """
    found = []
    serials = {}
    for one in (item for report_ in reports for item in report_["certificates"] if not item["self_issued"]):
        serials.setdefault((one["issuer"], one["serial"]), {}).setdefault(one["sha256"], []).append(one)
    for (_issuer, serial), different in serials.items():
        if len(different) < 2:
            continue
        groups = list(different.values())
        for group in groups:
            places = ["%(host)s:%(path)s" % item for other in groups if other is not group for item in other]
            for item in group:
                values = {"issuer": _short(item["issuer"]), "serial": serial, "places": ", ".join(places[:5])}
                found.append(_finding("pki_serial_duplicate", item, **values))
    by_key = {}
    for item in keys or []:
        if item.get("public_sha256"):
            by_key.setdefault(item["public_sha256"], []).append(item)
    for items in by_key.values():
        if len({item["host"] for item in items}) < 2:
            continue
        for item in items:
            places = ["%(host)s:%(path)s" % other for other in items if other["host"] != item["host"]]
            found.append(_finding("pki_key_shared", item, places=", ".join(places[:5])))
    return f.worst_first(found)
