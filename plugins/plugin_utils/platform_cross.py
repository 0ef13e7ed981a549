# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What only several hosts together can say about a platform. Pure.

Every rule works with what is known: a host that was not asked or did not answer proves nothing, and what could not be
judged because of that is returned as a sentence, never as a clean bill of health.
"""

from __future__ import annotations

import time

from ansible_collections.circonus.inside.plugins.plugin_utils import failover
from ansible_collections.circonus.inside.plugins.plugin_utils import findings as f
from ansible_collections.circonus.inside.plugins.plugin_utils.platform_host import age
from ansible_collections.circonus.inside.plugins.plugin_utils.report_picture import size

#: Findings after which nothing is expected of a role.
DOWN = frozenset(
    ("unit_down", "unit_failed", "unit_flapping", "role_absent", "port_stolen", "host_unreachable", "check_failed")
)
#: Findings after which a page has nothing to say.
MUTE = DOWN | {"port_hung", "port_not_listening", "endpoint_error", "endpoint_timeout", "no_sign_of_life"}
#: Findings after which a broker and stratcon cannot be connected.
CUT = DOWN | {"pair_without_child", "port_hung", "pki_expired", "pki_missing", "pki_unreadable"}
GOOD_GUARD = ("watching", "standby")
ASLEEP_GUARD = ("absent", "silent", "stopped")


def judge(platform, found: list) -> tuple:
    """(findings, sentences about what is not known) of a :class:`platform.Platform`.

    ``found``: what :func:`platform_host.judge` said about every host; a cause that stands there is not told twice.
    """
    out, unknown = [], []
    for group in platform.groups:
        database = _Database(platform, group, found)
        out += database.findings()
        unknown += database.unknown
        out += _sites(platform, group, found)
        for site in group:
            more, open_questions = _rabbitmq(platform, site, found)
            out += more
            unknown += open_questions
    out += _site_files(platform) + _releases(platform) + _versions(platform)
    more, open_questions = _clocks(platform)
    unknown += open_questions
    brokers = _Brokers(platform, found)
    return out + more + brokers.findings(), unknown + brokers.unknown


def told(found, host, role, ids=DOWN) -> bool:
    """Whether it is known already that a role of a host is down."""
    return any(item["host"] == host and item["id"] in ids and item["role"] in (role, None) for item in found)


# -- the database -----------------------------------------------------------------------------------------------------


class _Database:
    """The database of one platform: a group of sites that share it."""

    def __init__(self, platform, group, found):
        self.platform, self.found, self.unknown = platform, found, []
        self.sites = {name: platform.sites[name] for name in group}
        self.situation = failover.Situation(self.sites, platform.probes, {})
        self.hosts = self.situation.db_hosts
        self.primaries = [host for host in self.situation.primaries if self.facts(host).get("answers", True)]

    def facts(self, host):
        return failover.db(self.platform.probes, host)

    def make(self, finding_id, host, **values):
        site = self.platform.site_of(host) if host else None
        return f.make(finding_id, host=host, role="web_db", site=site, **values)

    def findings(self):
        if not self.hosts:
            return []
        out = self._primary() + self._guard()
        primary = self.primaries[0] if len(self.primaries) == 1 else None
        for host in self.hosts:
            if self.facts(host) and host not in self.primaries and not told(self.found, host, "web_db"):
                out += self._standby(host, primary)
        return out

    def _master(self):
        """web_db.master of the active site; the only host where there is one."""
        for name in sorted(self.sites, key=lambda n: not self.sites[n]["active"]):
            master = failover.role(self.sites[name]["raw"], "web_db").get("master")
            if master in self.hosts:
                return master
        return self.hosts[0] if len(self.hosts) == 1 else None

    def _primary(self):
        master = self._master()
        silent = [h for h in self.hosts if not self.facts(h)]
        if not self.primaries:
            if master and told(self.found, master, "web_db"):
                return []
            names = ", ".join(self.hosts)
            if not silent:
                return [self.make("primary_none", master, hosts=names)]
            not_asked = [h for h in silent if self.platform.answers.get(h) is None]
            if not_asked:
                self.unknown.append("Which database is the primary: %s not asked." % ", ".join(not_asked))
                return []
            return [self.make("primary_unknown", None, hosts=names, unknown=", ".join(silent))]
        if len(self.primaries) > 1:
            right = master if master in self.primaries else self.primaries[0]
            return [self.make("primary_multiple", h, primary=right) for h in self.primaries if h != right]
        primary = self.primaries[0]
        site = self.platform.site_of(primary)
        active = [name for name in self.sites if self.sites[name]["active"]]
        if len(active) == 1 and site != active[0]:
            return [self.make("primary_in_standby_site", primary, active=active[0])]
        if master and primary != master:
            return [self.make("primary_not_master", primary, master=master)]
        return []

    def _guard(self):
        if len(self.hosts) < 2:
            return []
        out = []
        for host in self.hosts:
            guard = self.facts(host).get("guard")
            if not guard or told(self.found, host, "web_db"):
                continue
            state = guard.get("state") or "absent"
            if not guard.get("installed"):
                out.append(self.make("guard_missing", host))
            elif state in ASLEEP_GUARD:
                out.append(self.make("guard_silent", host, state=state))
            elif state not in GOOD_GUARD:
                message = ": %s" % guard["message"] if guard.get("message") else ""
                out.append(self.make("guard_trouble", host, state=state, message=message))
        return out

    def _standby(self, host, primary):
        facts = self.facts(host)
        if facts.get("fence") and not failover.is_standby(self.platform.probes, host):
            run_id = facts["fence"].get("run_id") or "unknown"
            return [self.make("database_fenced", host, primary=primary or "the primary", run_id=run_id)]
        if not facts.get("running") or not facts.get("answers", True):
            return [self.make("database_down", host, detail=facts.get("error") or "no server process")]
        if facts.get("error"):
            self.unknown.append("Replication of %s: %s" % (host, facts["error"]))
            return []
        if primary is None:
            return []
        return self._replica(host, primary, facts)

    def _replica(self, host, primary, facts):
        theirs = self.facts(primary)
        wanted, found = theirs.get("system_identifier"), facts.get("system_identifier")
        if wanted and found and str(wanted) != str(found):
            return [self.make("database_foreign", host, wanted=wanted, primary=primary, identifier=found)]
        upstream = failover.upstream_of(self.sites, host, primary)
        actual = self.situation.follows(host)
        if actual is None:
            receiver = facts.get("receiver") or {}
            detail = receiver.get("status") or "no WAL receiver"
            right, own = theirs.get("timeline"), facts.get("timeline")
            if right and own and right != own:
                return [self.make("replica_timeline", host, wanted=right, primary=primary, timeline=own)]
            if told(self.found, upstream, "web_db"):
                return []
            return [self.make("replica_detached", host, upstream=upstream, detail=detail)]
        if actual != upstream:
            return [self.make("replica_upstream", host, upstream=upstream, actual=actual)]
        if facts.get("replay_paused"):
            return [self.make("replica_paused", host)]
        lag = self.situation.replica_row(actual, host).get("lag_bytes") if self.facts(actual) else None
        limit = self.platform.limits["lag_bytes"]
        if lag is None:
            self.unknown.append("The lag of %s: %s does not name it." % (host, actual))
        elif lag > limit:
            return [self.make("replica_lag", host, limit=size(limit), upstream=actual, lag="%s behind" % size(lag))]
        return []


# -- which site is active ---------------------------------------------------------------------------------------------


def _sites(platform, group, found):
    """The witnesses: what /status says in every web frontend, against what site.json wants."""
    if len(group) < 2:
        return []
    pages = {}
    for site in group:
        for host in platform.hosts_of("web_frontend", site):
            answer = platform.read(host)
            if answer and answer.get("status"):
                pages[host] = (site, failover.status_of({host: answer}, host), answer["status"])
    active = next((site for site in group if platform.sites[site]["active"]), None)
    if active is None:
        return []
    saying = {site for site, state, _answers in pages.values() if state == "ACTIVE"}
    known = {site for site, state, _answers in pages.values() if state != "unknown"}
    out = []
    for host, (site, state, answers) in pages.items():
        wanted = "ACTIVE" if site == active else "STANDBY"
        if state == "unknown":
            # What is wrong with the frontend itself is told already.
            down = any(item["host"] == host and item["role"] == "web_frontend" and item["id"] in MUTE for item in found)
            # Only releases that know active_datacenter have the page.
            if "active_datacenter" in platform.sites[site]["raw"] and not down:
                reasons = [a.get("error") for a in answers.get("answers") or [] if a.get("error")]
                detail = reasons[0] if reasons else "neither"
                out.append(f.make("status_unknown", host=host, role="web_frontend", site=site, detail=detail))
        elif state == wanted:
            continue
        elif site != active and active in saying:
            out.append(f.make("site_both_active", host=host, role="web_frontend", site=site, active=active))
        elif site == active and not saying and known == set(group):
            out.append(f.make("site_none_active", host=host, role="web_frontend", site=site))
        else:
            out.append(f.make(
                "status_disagrees", host=host, role="web_frontend", site=site, wanted=wanted, state=state))
    return out


# -- RabbitMQ ---------------------------------------------------------------------------------------------------------


def _node(name):
    """Host of a RabbitMQ node: ``rabbit@mq1`` or ``rabbit@mq1.example.net`` -> ``mq1``."""
    return str(name).rsplit("@", 1)[-1].split(".")[0]


def _partitions(value):
    """Nodes of ``partitions`` in any of its shapes: list of names, or {node: [names]}."""
    if isinstance(value, dict):
        return sorted({_node(name) for names in value.values() for name in names or []})
    return sorted({_node(name.get("node", name) if isinstance(name, dict) else name) for name in value or []})


def _rabbitmq(platform, site, found):
    hosts = platform.hosts_of("mq", site)
    views, out, unknown = {}, [], []
    for host in hosts:
        answer = platform.read(host)
        if answer and answer.get("mq") and not told(found, host, "mq"):
            views[host] = answer["mq"]
    if hosts and not views:
        unknown.append("Whether RabbitMQ of %s is whole: no host of it reports." % site)
    for host, view in views.items():
        nodes = [node for node in _partitions(view.get("partitions")) if node != _node(host)]
        # Both halves see it; one finding names all.
        if nodes and not any(item["id"] == "mq_partition" for item in out):
            out.append(f.make("mq_partition", host=host, role="mq", site=site, nodes=", ".join(nodes)))
        if view.get("default_credentials"):
            out.append(f.make("default_credentials", host=host, role="mq", site=site))
    out += _alarms(site, views)
    if not any(item["id"] == "mq_partition" for item in out):
        apart = _apart(views)
        if apart:
            out.append(f.make("mq_partition", host=apart[0], role="mq", site=site, nodes=", ".join(apart[1:])))
        else:
            out += _missing_nodes(platform, site, hosts, views, found)
    return out, unknown


def _alarms(site, views):
    """Every node tells the alarms of all: each belongs to the node that it names, else to who tells it."""
    by_host = {}
    for host, view in views.items():
        alarms = view.get("alarms") or []
        for alarm in map(str, alarms if isinstance(alarms, (list, tuple)) else [alarms]):
            named = [other for other in views if _node(alarm.rpartition(" on ")[2]) == _node(other)]
            told_by = by_host.setdefault((named or [host])[0], [])
            if alarm not in told_by:
                told_by.append(alarm)
    return [f.make("mq_alarm", host=host, role="mq", site=site, alarms=", ".join(by_host[host]))
            for host in views if host in by_host]


def _apart(views):
    """A host and those that it is split from: both run, both are members, and neither sees the other.

    RabbitMQ itself lists a partition only when the two meet again.
    """
    def blind(one, other):
        running, members = ({_node(n) for n in views[one].get(key) or []} for key in ("running_nodes", "nodes"))
        return _node(one) in running and _node(other) in members - running

    for host in views:
        others = [other for other in views if other != host and blind(host, other) and blind(other, host)]
        if others:
            return [host, *others]
    return []


def _missing_nodes(platform, site, hosts, views, found):
    """A node counts as missing when at least half of the others do not see it; of two, the one listed first."""
    running = {h: sorted({_node(n) for n in view.get("running_nodes") or []}) for h, view in views.items()}
    known = [host for host in running if running[host]]
    out = []
    for host in hosts:
        others = [other for other in known if other != host]
        blind = [other for other in others if _node(host) not in running[other]]
        if not blind or told(found, host, "mq") or platform.answers.get(host) is None:
            continue
        if any(item["host"] in blind for item in out) or 2 * len(blind) < len(others):
            continue
        nodes = ", ".join(running[blind[0]])
        out.append(f.make("mq_node_missing", host=host, role="mq", site=site, nodes=nodes))
    return out


# -- stratcon and the brokers -----------------------------------------------------------------------------------------


class _Brokers:
    """Whether every broker delivers to every stratcon, by what the stratcons say of their connections.

    When no stratcon has a broker, the broker is at fault; when only some do not, those are.
    """

    def __init__(self, platform, found):
        self.platform, self.found, self.unknown = platform, found, []
        self.brokers = platform.hosts_of("broker")
        #: {broker, or address of one that is not in the inventory: {stratcon: its connections}}
        self.feeds = {}
        self.views = {}
        for host in platform.hosts_of("stratcon"):
            feeds = ((platform.read(host) or {}).get("stratcon") or {}).get("feeds")
            if feeds is not None:
                self.views[host] = feeds
            elif platform.answers.get(host) is not None:
                self.unknown.append("Whether stratcon on %s is connected to the brokers: it does not say." % host)
        for stratcon, feeds in self.views.items():
            for feed in feeds:
                broker = self._broker_of(feed) or feed["remote"]
                self.feeds.setdefault(broker, {}).setdefault(stratcon, []).append(feed)

    def _broker_of(self, feed):
        """By its address, else (behind address translation) by the name in its certificate."""
        address, name = feed["remote"].rpartition(":")[0], (feed.get("cn") or "").split(".")[0]
        for host in self.brokers:
            if self.platform.nodes[host].get("address") == address or host.split(".")[0] == name:
                return host
        return None

    def _cut(self, host, role):
        return told(self.found, host, role, CUT)

    def findings(self):
        out, blind, limit = [], self._blind(), self.platform.limits["broker_silent_s"]
        for stratcon in blind:
            out.append(self._make("brokers_lost", stratcon, "stratcon", number=len(self._theirs(stratcon))))
        for broker, views in self.feeds.items():
            if self._cut(broker, "broker"):
                continue
            views = {host: feeds for host, feeds in views.items()
                     if host not in blind and not self._cut(host, "stratcon")}
            lost = {host: feeds for host, feeds in views.items() if not all(feed["connected"] for feed in feeds)}
            silent = {host: feeds for host, feeds in views.items() if host not in lost and _silence(feeds) > limit}
            out += self._at_fault("broker_disconnected", broker, lost, views, _lost)
            out += self._at_fault("broker_silent", broker, silent, views, lambda feeds: {
                "limit": age(limit), "age": age(_silence(feeds))})
        return out + self._unlisted()

    def _theirs(self, stratcon):
        """Connections of a stratcon by broker, without those of brokers whose trouble is known."""
        return {broker: views[stratcon] for broker, views in self.feeds.items()
                if stratcon in views and not self._cut(broker, "broker")}

    def _blind(self):
        """Stratcons that have lost each of several brokers at once."""
        out = []
        for stratcon in self.views:
            theirs = self._theirs(stratcon)
            gone = [broker for broker, feeds in theirs.items() if not any(feed["connected"] for feed in feeds)]
            if len(theirs) > 1 and len(gone) == len(theirs) and not self._cut(stratcon, "stratcon"):
                out.append(stratcon)
        return out

    def _at_fault(self, finding_id, broker, bad, views, values):
        if broker in self.brokers and bad and len(bad) == len(views):
            words = values(next(iter(bad.values())))
            return [self._make(finding_id, broker, "broker", broker=broker, stratcon=", ".join(bad), **words)]
        # Nobody has described it: it may be switched off on purpose.
        severity = None if broker in self.brokers else "warning"
        return [
            self._make(finding_id, stratcon, "stratcon", severity, broker=broker, stratcon=stratcon, **values(feeds))
            for stratcon, feeds in bad.items()
        ]

    def _make(self, finding_id, host, role, severity=None, **values):
        site = self.platform.site_of(host)
        # Alerts come, storage does not: the checkpoint of stratcon names a file of the journal that is gone.
        remedy = f.CHECKPOINT if values.get("feeds") == "durable/storage" else None
        return f.make(finding_id, host=host, role=role, site=site, severity=severity, remedy=remedy, **values)

    def _unlisted(self):
        """Brokers of the inventory that a stratcon of their platform does not know."""
        out = []
        for broker in self.brokers:
            site = self.platform.site_of(broker)
            group = next((group for group in self.platform.groups if site in group), None)
            asked = {host: [] for host in self.views if group is None or self.platform.site_of(host) in group}
            bad = {host: [] for host in asked if host not in self.feeds.get(broker, {})}
            if not bad or self._cut(broker, "broker"):
                continue
            strangers = any(name not in self.brokers and set(views) & set(bad) for name, views in self.feeds.items())
            if strangers or not self.platform.nodes[broker].get("address"):
                self.unknown.append(
                    "Whether stratcon on %s is connected to %s: it has no broker with the address %s." % (
                        ", ".join(bad), broker, self.platform.nodes[broker].get("address") or "of the inventory"))
                continue
            out += self._at_fault("broker_unlisted", broker, bad, asked, lambda _feeds: {})
        return out


def _silence(feeds):
    """Seconds for which the quieter one of the connections to a broker has brought nothing."""
    return max(feed["silent_s"] or 0 for feed in feeds)


def _lost(feeds):
    """Which connections are gone, and since when, in words."""
    gone = [feed for feed in feeds if not feed["connected"]]
    last = [feed["last_connect_epoch"] for feed in gone if feed["last_connect_epoch"]]
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(max(last))) if last else "never"
    return {"feeds": " and ".join(sorted({feed["type"] for feed in gone})), "when": when}


# -- equal where it must be -------------------------------------------------------------------------------------------


def _site_files(platform):
    out = []
    for site, entry in platform.sites.items():
        for host in entry["hosts"]:
            installed = (platform.read(host) or {}).get("site")
            if not installed:
                continue
            if not installed.get("present") or installed.get("error"):
                detail = installed.get("error") or "no file"
                out.append(f.make("site_missing", host=host, site=site, detail=detail))
            elif installed.get("sha256") != entry["digest"]:
                digests = [str(digest)[:12] for digest in (entry["digest"], installed.get("sha256"))]
                out.append(f.make("site_differs", host=host, site=site, wanted=digests[0], digest=digests[1]))
    return out


def _odd_ones(values):
    """{host: value} -> (value of most hosts, hosts with another). With a tie the value of the first host counts."""
    ranked = {}
    for value in values.values():
        ranked[value] = ranked.get(value, 0) + 1
    if len(ranked) < 2:
        return None, []
    usual = max(ranked, key=ranked.get)
    return usual, [host for host, value in values.items() if value != usual]


def _others(values, usual):
    hosts = [host for host, value in values.items() if value == usual]
    return hosts[0] if len(hosts) == 1 else "%d hosts" % len(hosts)


def _releases(platform):
    values = {host: platform.read(host)["release"] for host in platform.hooper
              if (platform.read(host) or {}).get("release")}
    usual, odd = _odd_ones(values)
    return [
        f.make("release_mismatch", host=host, site=platform.site_of(host), wanted=usual, release=values[host],
               others=_others(values, usual))
        for host in odd
    ]


def _versions(platform):
    seen = {}
    for host in platform.nodes:
        for role, state in ((platform.read(host) or {}).get("roles") or {}).items():
            for package, version in (state.get("versions") or {}).items():
                if version:
                    seen.setdefault((role, package), {})[host] = version
    out, known = [], set()
    for (role, package), values in sorted(seen.items()):
        usual, odd = _odd_ones(values)
        for host in odd:
            if (host, package) not in known:  # one package may serve several roles of a host
                known.add((host, package))
                out.append(f.make("version_mismatch", host=host, role=role, site=platform.site_of(host), wanted=usual,
                                  package=package, version=values[host], others=_others(values, usual)))
    return out


# -- clocks -----------------------------------------------------------------------------------------------------------


def offset(answer):
    """(lowest, highest) difference of a host's clock from the controller's in seconds, None when unknown.

    The clock was read at some moment between asking and answering, ``age_s`` before the answer, so the difference is
    only known to lie within.
    """
    clock = answer.get("clock") or {}
    epoch = clock.get("epoch")
    asked, answered = answer.get("asked_epoch"), answer.get("answered_epoch")
    if epoch is None or asked is None or answered is None:
        value = clock.get("offset_s")
        return None if value is None else (value, value)
    return epoch - max(asked, answered - (clock.get("age_s") or 0.0)), epoch - asked


def apart(one, other):
    """Seconds by which two clocks differ for sure; negative when ``one`` is behind, 0 when they may agree."""
    if one[0] > other[1]:
        return one[0] - other[1]
    return min(0.0, one[1] - other[0])


def _clocks(platform):
    """Against fault_detection of the active site, or the controller where that has no trustworthy clock."""
    limit = platform.limits["clock_s"]
    offsets = {host: offset(platform.read(host)) for host in platform.nodes if platform.read(host)}
    offsets = {host: value for host, value in offsets.items() if value is not None}
    judges = [host for site in platform.active for host in platform.hosts_of("fault_detection", site)]
    judges = [host for host in judges if host in offsets and abs(apart(offsets[host], (0.0, 0.0))) <= limit]
    unknown = [] if judges else ["Clocks were compared with the controller: no fault_detection host could be read."]
    reference, name = (0.0, 0.0), "the controller"
    if judges:
        reference, name = offsets[judges[0]], "fault_detection on %s" % judges[0]
    out = []
    for host, value in offsets.items():
        skew = apart(value, reference)
        if abs(skew) > limit:
            out.append(f.make(
                "clock_skew", host=host, site=platform.site_of(host), limit="%g" % limit, reference=name,
                skew="at least %.0f" % abs(skew), direction="ahead" if skew > 0 else "behind",
            ))
    return out, unknown
