# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What one answer of the module host_check says about its host. Pure.

A consequence is not a finding of its own: ports, processes and pages of a service that is down, or a page behind a port
that hangs, are left out, because one cause with one remedy is what somebody can act on.
"""

from __future__ import annotations

from ansible_collections.circonus.inside.plugins.plugin_utils import findings as f
from ansible_collections.circonus.inside.plugins.plugin_utils.report_picture import size

UP = ("active", "reloading", "refreshing")
_TIMEOUT = ("timed out", "timeout", "no answer within", "deadline")
_DAY = 86400.0


def age(seconds) -> str:
    """``45 s``, ``12 min``, ``30 h``, ``3 days``."""
    seconds = int(seconds)
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length or (seconds >= length and unit != "days"):
            return "%d %s" % (seconds // length, unit)
    return "%d s" % seconds


def timed_out(text) -> bool:
    """Whether the words of a failed read mean that nothing came back in time."""
    text = str(text or "").lower()
    return any(word in text for word in _TIMEOUT)


def unit_state(unit) -> str:
    """``inactive (dead)``."""
    sub = unit.get("sub")
    return "%s%s" % (unit.get("active") or "unknown", " (%s)" % sub if sub else "")


def is_up(unit) -> bool:
    """Whether systemd calls the unit running."""
    return bool(unit.get("present")) and unit.get("active") in UP


def judge(platform, host: str) -> list:
    """All findings about a host that need nothing but its own answer.

    ``platform`` is the :class:`platform.Platform`; it knows the answers, the catalogue entries and the limits.
    """
    answer = platform.answers.get(host)
    if answer is None:
        return []
    site = platform.site_of(host)
    if answer.get("reachable") is False or answer.get("unreachable"):
        return [_unreachable(platform, host, site, answer)]
    if not isinstance(answer.get("roles"), dict):
        detail = str(answer.get("msg") or "nothing").splitlines()[-1]
        return [f.make("check_failed", host=host, site=site, detail=detail)]
    found = []
    for entry in platform.entries.get(host) or []:
        found += _Role(platform, host, site, entry, answer).findings()
    absent = {item["role"] for item in found if item["id"] == "role_absent"}
    here = [e for e in platform.entries.get(host) or [] if e["name"] not in absent and not e.get("absent")]
    wanted = {path for entry in here for path in entry.get("space") or []}
    found += _space(platform, host, site, [item for item in answer.get("space") or [] if item["path"] in wanted])
    found += _missing(platform, host, site, answer, found)
    return found


def _unreachable(platform, host, site, answer):
    detail = " ".join(str(answer.get("msg") or "no reason given").split())
    if host in platform.masters:
        return f.make(
            "host_unreachable", host=host, site=site, severity="critical", detail=detail,
            remedy=f.primary_lost("power, network"),
        )
    return f.make("host_unreachable", host=host, site=site, detail=detail)


def _missing(platform, host, site, answer, found):
    """Parts that could not be read, unless a finding about their service says why."""
    down = ("unit_down", "unit_failed", "unit_flapping", "port_hung", "port_stolen", "role_absent",
            "pair_without_child", "port_not_listening")
    broken = {item["role"] for item in found if item["id"] in down}
    out = []
    for part, why in sorted((answer.get("missing") or {}).items()):
        role = {"status": "web_frontend"}.get(part.split()[0], part.split()[0])
        if part == "stratcon" and timed_out(why) and role not in broken:
            out.append(f.make("port_hung", host=host, role=role, site=site, port=43191, detail=why))
        elif role not in broken:
            out.append(f.make("check_incomplete", host=host, site=site, part=part, detail=why))
    return out


def _space(platform, host, site, items):
    out, seen = [], set()
    limits = platform.limits
    for item in items:
        if timed_out(item.get("error")):
            part = "the file system of %s" % item["path"]
            out.append(f.make("check_incomplete", host=host, site=site, part=part, detail=item["error"]))
            continue
        if item.get("error"):
            out.append(f.make("path_missing", host=host, site=site, path=item["path"], detail=item["error"]))
            continue
        mount = item.get("mount") or item["path"]
        if mount in seen:
            continue
        seen.add(mount)
        if item.get("total_bytes"):
            percent = 100.0 * item["free_bytes"] / item["total_bytes"]
            full = percent < limits["space_full_percent"]
            if full or percent < limits["space_percent"]:
                limit = limits["space_full_percent" if full else "space_percent"]
                out.append(f.make(
                    "space_full" if full else "space_low", host=host, site=site, mount=mount, limit="%g" % limit,
                    percent="%.1f" % percent, free=size(item["free_bytes"]),
                ))
        if item.get("total_inodes"):
            percent = 100.0 * item["free_inodes"] / item["total_inodes"]
            if percent < limits["inodes_percent"]:
                out.append(f.make(
                    "inodes_low", host=host, site=site, mount=mount, limit="%g" % limits["inodes_percent"],
                    percent="%.1f" % percent,
                ))
    return out


class _Role:
    """One role on one host."""

    def __init__(self, platform, host, site, entry, answer):
        self.platform, self.host, self.site, self.entry = platform, host, site, entry
        self.name, self.limits = entry["name"], platform.limits
        self.seen = (answer.get("roles") or {}).get(self.name) or {}
        self.epoch = (answer.get("clock") or {}).get("epoch")
        self.specs = {unit["id"]: unit for unit in entry.get("units") or []}
        # A host that was asked for everything may report what the release of the platform does not have.
        self.units = {unit["id"]: unit for unit in self.seen.get("units") or [] if unit["id"] in self.specs}
        self.stopped = self.name in platform.stopped(host)
        self.bad_units, self.bad_ports = set(), set()
        self.by_unit, self.robbed = {}, set()

    def make(self, finding_id, **values):
        return f.make(finding_id, host=self.host, role=self.name, site=self.site, **values)

    def findings(self):
        """Services first: what follows from them is left out below."""
        if self.entry.get("absent") or not self.seen:
            return []  # the release does not have the role: what an older one left behind is no fault
        found = self._units()
        if any(item["id"] == "role_absent" for item in found):
            return found
        if not self.stopped:
            found += self._processes() + self._ports() + self._endpoints()
            found += self._life(found) + self._logs()
        # A service whose port is taken cannot start: the thief is the cause.
        consequences = [self.by_unit[unit_id] for unit_id in self.robbed if unit_id in self.by_unit]
        found = [item for item in found if not any(item is other for other in consequences)]
        # A second CA host has nothing but what was copied to it.
        return found + ([] if self.stopped and self.name == "ca" else self._pki()) + self._cron()

    # -- services

    def _units(self):
        if self.stopped:
            return self._running_although_stopped()
        known = [unit for unit in self.units.values() if unit.get("present") is not None]
        if known and not any(unit["present"] for unit in known):
            names = [name for spec in self.specs.values() for name in spec.get("candidates") or []]
            return [self.make("role_absent", candidates=", ".join(names))]
        found = []
        for unit in known:
            item = self._unit(self.specs[unit["id"]], unit)
            if item and item["id"] in ("unit_flapping", "unit_failed", "unit_down"):
                self.bad_units.add(unit["id"])
                self.by_unit[unit["id"]] = item
            if item:
                found.append(item)
        return found

    def _running_although_stopped(self):
        out = []
        for unit in self.units.values():
            if not is_up(unit):
                continue
            if self.name == "ca":
                primary = self.platform.ca_primary(self.host) or "another host"
                out.append(self.make("ca_elsewhere", unit=unit["unit"], primary=primary))
            else:
                out.append(self.make("alerting_in_standby", unit=unit["unit"]))
        return out

    def _gated(self, spec):
        """Whether only some releases have an item and nobody knows which release this is: absence proves nothing."""
        return bool(spec.get("from") or spec.get("until")) and not self.platform.release

    def _absent(self, spec):
        """The finding for a service that is not installed, None where that is as it should be."""
        others = [i for i, s in self.specs.items() if s.get("alternative_to") == spec["id"]]
        others += [spec["alternative_to"]] if spec.get("alternative_to") else []
        replaced = any((self.units.get(other) or {}).get("present") for other in others)
        if replaced or self._gated(spec) or spec.get("enabled_only") or spec.get("required") is False:
            return None
        severity = "error" if spec.get("required") else None
        return self.make("unit_absent", severity=severity, candidates=", ".join(spec.get("candidates") or [spec["id"]]))

    def _flaps(self, unit):
        """Why a unit counts as restarted over and over; empty when it does not."""
        if unit.get("loop") is not None:
            return unit.get("loop_detail") or ("restarted over and over" if unit["loop"] else "")
        since, restarts = unit.get("since_epoch"), unit.get("restarts") or 0
        young = since is None or self.epoch is None or self.epoch - since < self.limits["flapping_s"]
        many = restarts >= self.limits["restarts"] and young and unit.get("active") in (*UP, "activating")
        if unit.get("sub") == "auto-restart" or many:
            return "%d restarts, now %s" % (restarts, unit_state(unit))
        return ""

    def _unit(self, spec, unit):
        if not unit["present"]:
            return self._absent(spec)
        name, active, enabled = unit.get("unit") or spec["id"], unit.get("active"), unit.get("enabled")
        logs = spec.get("logs") or self.entry.get("logs") or []
        log = " %s" % logs[0] if logs else ""
        if self._flaps(unit):
            return self.make("unit_flapping", unit=name, detail=self._flaps(unit), log=log)
        off = spec.get("enabled_only") and enabled not in ("enabled", "enabled-runtime", "static")
        if active not in UP and (unit.get("expected") == "any" or off):
            return None
        if active == "failed":
            return self.make("unit_failed", unit=name, state=unit_state(unit), log=log, **self._lost())
        if active not in UP:
            fenced = self.name == "web_db" and self.platform.fence(self.host)  # database_fenced says it
            return None if fenced else self.make("unit_down", unit=name, state=unit_state(unit), **self._lost())
        if enabled in ("disabled", "masked") and not spec.get("enabled_only"):
            return self.make("unit_disabled", unit=name, state=enabled)
        return None

    def _lost(self):
        """The primary database is more than a service: severity and remedy of its loss."""
        if self.name != "web_db" or self.host not in self.platform.masters:
            return {}
        start = "service_operate.yml -e service_operate_role=web_db -e service_operate_limit={host} "
        start += "-e service_operate_verb=start"
        return {"severity": "critical", "remedy": f.primary_lost(start)}

    def _life(self, found):
        """Signs of life that are missing where no other finding about the service says why."""
        out = []
        for unit_id, unit in self.units.items():
            if unit_id in self.bad_units or not is_up(unit) or unit.get("up") is not False:
                continue
            ports = {str(port) for port in (self.specs.get(unit_id) or {}).get("ports") or []}
            if ports & self.bad_ports or any(item["id"] in _SAY_WHY for item in found):
                continue
            missing = unit.get("missing")
            missing = ", ".join(map(str, missing)) if isinstance(missing, (list, tuple)) else str(missing or "unknown")
            out.append(self.make("no_sign_of_life", unit=unit.get("unit") or unit_id, missing=missing))
        return out

    def _processes(self):
        out = []
        specs = {p["id"]: p for p in (self.entry.get("units") or []) + (self.entry.get("processes") or [])}
        for process in self.seen.get("processes") or []:
            name, detail = process["id"], process.get("detail") or "not running as it should"
            if name not in specs or process.get("ok") is not False or self._silent(name):
                continue
            self.bad_units.add(name)
            if not process.get("parent"):
                out.append(self.make("process_missing", process=name, detail=detail))
            elif specs[name].get("watchdog") and not process.get("child"):
                out.append(self.make("pair_without_child", process=name, parent=process["parent"]))
            else:
                out.append(self.make("restart_loop", process=name, detail=detail))
        return out

    # -- ports and pages

    def _port_spec(self, number, proto="tcp"):
        """What the catalogue says of a port: its list, else its consoles, else the units and processes that have it."""
        for key in ("ports", "consoles"):
            for spec in self.entry.get(key) or []:
                if str(spec.get("port")) == str(number) and (spec.get("proto") or "tcp") == proto:
                    return spec
        for spec in (self.entry.get("units") or []) + (self.entry.get("processes") or []):
            if number in (spec.get("ports") or [spec.get("port")]) and proto == "tcp":
                return {"port": number, "unit": spec["id"], "bind": None}
        return {}

    def _silent(self, unit_id):
        """Whether a service is absent, down or reported already, so that its ports say nothing new."""
        if unit_id is None:
            return False
        unit = self.units.get(unit_id)
        return unit_id in self.bad_units or (unit is not None and not is_up(unit))

    def _ports(self):
        out = []
        for port in self.seen.get("ports") or []:
            proto = port.get("proto") or "tcp"
            spec = self._port_spec(port["port"], proto)
            item = self._port(port, spec, proto) if spec else None
            if item:
                out.append(item)
                self.bad_ports.add(str(port["port"]))
        return out

    def _port(self, port, spec, proto):
        unit_id = spec.get("unit")
        unit = (self.units.get(unit_id) or {}).get("unit") or port.get("expected_unit") or unit_id or self.name
        known = {"port": port["port"], "proto": proto, "unit": unit}
        if port.get("listening") and port.get("ok") is False:
            owner = port.get("owner_unit") or port.get("owner") or "an unknown program"
            owner += " (pid %s)" % port["owner_pid"] if port.get("owner_pid") else ""
            self.robbed.add(unit_id)
            self.bad_units.add(unit_id)
            return self.make("port_stolen", owner=owner, **known)
        if self._silent(unit_id) or "-" in str(port["port"]):
            return None
        if not port.get("listening"):
            if port.get("ok") is not False or spec.get("optional") or self._gated(spec):
                return None
            return self.make("port_not_listening", needed=self._needed(spec), **known)
        if port.get("bind_ok") is not False:
            return None
        if spec.get("bind") == "local":
            return self.make("port_exposed", bound=port.get("bound") or "any", **known)
        return self.make("port_bound_local", bound=port.get("bound") or "local", needed=self._needed(spec), **known)

    def _needed(self, spec):
        roles = self.platform.client_roles(self.host, self.name, spec)
        return ", needed by %s" % ", ".join(roles) if roles else ""

    def _endpoints(self):
        out, hung = [], set()
        specs = {e["id"]: e for e in self.entry.get("endpoints") or [] if "id" in e}
        pages = [(specs[e["id"]], e) for e in self.seen.get("endpoints") or [] if e["id"] in specs]
        alive = {str(spec.get("port")) for spec, page in pages if page.get("status") is not None}
        for spec, page in pages:
            port = str(spec.get("port"))
            unit_id = spec.get("unit") or self._port_spec(spec.get("port")).get("unit")
            if page.get("asked") is False or self._gated(spec) or port in self.bad_ports or self._silent(unit_id):
                continue
            if page.get("status") is None and timed_out(page.get("error")):
                if port in alive:
                    out.append(self.make("endpoint_timeout", url=page["url"], detail=page["error"]))
                elif port not in hung:
                    hung.add(port)
                    out.append(self.make("port_hung", port=port, detail=page["error"]))
            else:
                out += self._page(spec, page)
        self.bad_ports |= hung
        return out

    def _page(self, spec, page):
        wanted, url, seconds = spec.get("status") or [200], page.get("url"), page.get("seconds") or 0
        if page.get("missing_sections"):
            sections = ", ".join(page["missing_sections"])
            return [self.make("endpoint_sections_missing", url=url, sections=sections)]
        if page.get("ok", page.get("status") in wanted) is False:
            detail = page.get("error") or "no answer"
            if page.get("status") is not None and page["status"] not in wanted:
                detail = "status %s" % page["status"]
            return [self.make("endpoint_error", url=url, status=" or ".join(map(str, wanted)), detail=detail)]
        if seconds > self.limits["endpoint_s"]:
            limit = "%g" % self.limits["endpoint_s"]
            return [self.make("endpoint_slow", url=url, limit=limit, seconds="%.1f" % seconds)]
        return []

    # -- files

    def _logs(self):
        out = []
        logs = self.seen.get("logs") or []
        for log in logs:
            path, written = log["path"], log.get("age_s")
            if log.get("errors") and (written is None or written < _RECENT):
                out.append(self.make("log_errors", path=path, line=str(log["errors"][-1])[:200]))
            if (log.get("grown_bytes") or 0) > self.limits["log_growth_bytes"]:
                grown = "%s more" % size(log["grown_bytes"])
                out.append(self.make("log_grows", path=path, limit=size(self.limits["log_growth_bytes"]), grown=grown))
            if (log.get("size") or 0) > self.limits["log_max_bytes"]:
                large = size(self.limits["log_max_bytes"])
                out.append(self.make("log_large", path=path, limit=large, size=size(log["size"])))
        return out + self._silence([log for log in logs if log.get("age_s") is not None])

    def _silence(self, logs):
        """Error logs are silent on a good day, so a role is silent when all of its logs are."""
        limit = self.limits["log_age_s"]
        started = max([unit.get("since_epoch") or 0 for unit in self.units.values() if is_up(unit)], default=None)
        if not logs or started is None or self.bad_units or (self.epoch or 0) - started <= limit:
            return []
        newest = min(logs, key=lambda log: log["age_s"])
        if newest["age_s"] <= limit:
            return []
        return [self.make("log_stale", path=newest["path"], limit=age(limit), age=age(newest["age_s"]))]

    def _pki(self):
        out, spec = [], self.entry.get("pki") or {}
        if not spec:
            return []  # the release has none, although the host was asked
        facing = set(spec.get("user_facing") or [])
        for item in self.seen.get("pki") or []:
            kind, path = item["kind"], item["path"]
            if item.get("present") is None and item.get("error"):
                out.append(self._file("pki_unreadable", kind, path, detail=item["error"]))
                continue
            if not item.get("present"):
                # Whether a certificate of its own is used for what users see is the operator's choice.
                if path not in facing and kind != "user_facing" and not self._gated(spec):
                    out.append(self._file("pki_missing", kind, path))
                continue
            if item.get("error"):
                out.append(self._file("pki_unreadable", kind, path, detail=item["error"]))
                continue
            private = kind == "key" or str(path).endswith(".key")
            mode = int(str(item["mode"]), 8) if item.get("mode") is not None else 0
            if private and mode & 0o027:
                out.append(self.make("pki_mode", path=path, mode="%04o" % mode))
            if path not in facing and kind != "user_facing":
                out += self._owner(item, spec)
            out += self._expiry(kind, path, item.get("not_after_epoch"))
        return out

    def _file(self, ident, kind, path, days=0, **values):
        """A finding about a file of the PKI; what heals it depends on what kind of file it is."""
        words = {"kind": kind} if "{kind}" in f.REGISTER[ident]["expected"] else {}
        remedy = f.pki_remedy(ident, kind, self.name, days=days)
        return self.make(ident, path=path, remedy=remedy, **words, **values)

    def _owner(self, item, spec):
        pairs = [(spec.get(key), item.get(key)) for key in ("owner", "group") if spec.get(key) and item.get(key)]
        if all(str(wanted) == str(found) for wanted, found in pairs):
            return []
        wanted, found = (":".join(str(pair[n]) for pair in pairs) for n in (0, 1))
        return [self.make("pki_owner", path=item["path"], wanted=wanted, owner=found)]

    def _expiry(self, kind, path, until):
        if until is None or self.epoch is None:
            return []
        days = (until - self.epoch) / _DAY
        if days < 0:
            return [self._file("pki_expired", kind, path, age=age(-days * _DAY))]
        # A CRL lives for 30 days and is refreshed every week: it is late in its last days only.
        limit = self.limits["expiry_soon_days"] if kind == "crl" else self.limits["expiry_days"]
        if days >= limit:
            return []
        soon = {"severity": "error"} if days < self.limits["expiry_soon_days"] else {}
        return [self._file("pki_expiring", kind, path, limit, left=age(days * _DAY), limit="%g" % limit, **soon)]

    def _cron(self):
        out = []
        wanted = {job.get("id"): job for job in self.entry.get("cron") or []}
        for job in self.seen.get("cron") or []:
            script, user = job.get("script") or job["id"], job.get("expected_user") or job.get("user")
            if job.get("id") not in wanted:
                continue
            if job.get("present") is False and self._gated(wanted[job["id"]]):
                continue
            if job.get("present") is False:
                out.append(self.make("cron_missing", script=script, user=" of %s" % user if user else ""))
            elif job.get("present") and job.get("ok") is False:
                detail = "the script is not there" if job.get("script_present") is False else "of %s" % job.get("user")
                out.append(self.make("cron_wrong", script=script, user=user or "its user", detail=detail))
        return out


#: Seconds after which trouble in a log is history.
_RECENT = 3600.0
#: Findings that explain a missing sign of life.
_SAY_WHY = frozenset(("process_missing", "pair_without_child", "restart_loop", "endpoint_error", "endpoint_timeout",
                      "port_hung"))
