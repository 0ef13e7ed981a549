# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Building a backup site that has no CA of its own: its site.json on the way, the decision and the proof. Pure.

The certificates of the new site are issued by the CA of the active one, whose processor hears of requests from the
primary database only. So the site uses that database until its hosts are up, and its own one afterwards.

Source: operation manual, "CA failover", building the backup datacenter without its own CA. The manual of 2019 keeps the
role lists of both sites in both files; with ``active_datacenter`` (2020-11 and later) ``ca._machlist`` stays local, and
its hosts get directories without keys.
"""

from __future__ import annotations

import copy

from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput
from ansible_collections.circonus.inside.plugins.module_utils.site_file import canonical_sha256, edit
from ansible_collections.circonus.inside.plugins.plugin_utils import ca_reissue, catalogue, operations, site_model
from ansible_collections.circonus.inside.plugins.plugin_utils import failover as f

CONNECT = "svclist.web_db.connect_host"
DATABASE_PORT = 5432
#: Findings about the file on the way: until its hosts are up the site uses the database of the other one.
ON_THE_WAY = ("M-08", "C-12")


def documents(raws: dict, site: str, active: str, connect: str | None = None) -> dict:
    """The site.json of the new site on the way and at the end.

    raws: {site: raw} of both files. connect: its own database host, else connect_host of its file when that is one
    of its own, else the first of its own. Returns ``{"lasting": changes, "final": raw, "temporary": raw, "master",
    "connect", "layout"}``; changes are those of the module site_edit. Raises BadInput.
    """
    normal = {name: site_model.normalise(raw) for name, raw in raws.items()}
    kind = site_model.layout(normal)
    if kind not in ("pair", "pair_2019"):
        raise BadInput("Expected the files of two sites of one platform, found %s. Give both to the inventory."
                       % " and ".join(sorted(raws)))
    placed = site_model.placement(normal)[0]
    theirs, mine = f.role(raws[active], "ca"), f.role(raws[site], "ca")
    authority, refusal = ca_reissue.ca_host({active: {"raw": raws[active]}})
    if refusal:
        raise BadInput(refusal)
    master = f.role(raws[active], "web_db").get("master") or next(iter(f.machines(raws[active], "web_db")), None)
    local = [host for host in f.machines(raws[site], "web_db") if placed.get(host) == site]
    named = f.role(raws[site], "web_db").get("connect_host")
    connect = connect or (named if named in local else next(iter(local), None))
    if connect not in local:
        raise BadInput("Expected a database host of %s (%s), found %s. Correct web_db._machlist or "
                       "ca_bootstrap_standby_connect_host." % (site, ", ".join(local) or "none", connect))
    section = copy.deepcopy(theirs)
    if kind == "pair":
        section["_machlist"] = list(mine.get("_machlist") or [])
        if not section["_machlist"]:
            raise BadInput("Expected a host of %s in svclist.ca._machlist, found none. With active_datacenter every "
                           "site has the role; its host gets no keys." % site)
    lasting: dict = {}
    if mine != section:
        lasting["svclist.ca"] = section
    if f.role(raws[site], "web_db").get("master") != master:
        lasting["svclist.web_db.master"] = master
    for host in dict.fromkeys((master, authority)):
        entry = (raws[active].get("machinfo") or {}).get(host)
        if entry and host not in (raws[site].get("machinfo") or {}):
            lasting["machinfo.%s" % host] = entry
    if named != connect:
        lasting[CONNECT] = connect
    final = edit(raws[site], lasting)
    return {"lasting": lasting, "final": final, "temporary": edit(final, {CONNECT: master}), "master": master,
            "authority": authority, "connect": connect, "layout": kind}


def file_problem(raws: dict, site: str, wanted: dict) -> str | None:
    """What the validator says against the files on the way and at the end, or None."""
    for words, raw, allowed in (("at the end", wanted["final"], ()), ("on the way", wanted["temporary"], ON_THE_WAY)):
        for found in site_model.validate(dict(raws, **{site: raw})):
            if found["severity"] == "error" and found["id"] not in allowed:
                return "site.json of %s would not be valid %s: %s %s: %s Correct it, site_check.yml lists every " \
                    "finding." % (site, words, found["id"], found["path"], found["message"].rstrip(".") + ".")
    return None


def broken(findings: list, hosts: list) -> list:
    """Findings that say that a certificate of these hosts is missing or not of the platform's CA."""
    return [one for one in findings if one["host"] in hosts and one["id"].startswith("pki_")
            and one["severity"] in ("error", "critical")]


def verdict(situation: f.Situation, facts: dict, params: dict, run: dict) -> dict:
    """Decide how far the site is.

    facts: ``findings`` of the audit, ``connections`` {host: to the primary database, None when unknown}, ``order``
    {host: Hooper's stage}, ``activity`` {site: {"active"}}. The verdict has ``bring_up`` and ``go_local`` (whether the
    two halves are still to be done), ``edits`` {"bring_up", "go_local": arguments of site_edit}, ``secret`` (whether
    they hold one), ``final_sha256``, ``waves``, ``site_hosts``, ``most`` {host: connections that may stay}, ``address``
    of the primary database, ``alerting_units`` {host: [units]}.
    """
    site, sites = params["ca_bootstrap_standby_site"], situation.sites
    raws = {name: one["raw"] for name, one in sites.items()}
    if site not in sites or len(sites) != 2:
        return f.refuse("Expected one of two sites in ca_bootstrap_standby_site (%s), found %s." % (
            ", ".join(sorted(sites)), site))
    if params.get("circonus_confirm") != site:
        return f.refuse("circonus_confirm must name the site that is built (%s), found %s. Nothing was changed." % (
            site, params.get("circonus_confirm") or "nothing"))
    active = next(name for name in sites if name != site)
    here = [host for host in situation.primaries if host in sites[site]["hosts"]]
    if facts["activity"][site]["active"] is not False or here:
        return f.refuse("Expected %s to be the backup site, found %s. Build the site that is not active." % (
            site, "the primary database on %s" % ", ".join(here) if here else "that it is active"))
    wanted = documents(raws, site, active, params.get("ca_bootstrap_standby_connect_host"))
    hosts = list(sites[site]["hosts"])
    problem = _problem(situation, raws, site, active, wanted, hosts)
    if problem:
        return f.refuse(problem)
    lock = situation.lock(run, params.get("circonus_lock_break"))
    if lock["refusal"]:
        return f.refuse(lock["refusal"])
    bad = broken(facts["findings"], hosts)
    most = {host: 1 if host in f.machines(raws[site], "web_db") else 0 for host in hosts}
    installed = {f.installed_site(situation.probes, host).get("sha256") for host in hosts}
    final = canonical_sha256(wanted["final"])
    far = [host for host in hosts if (facts["connections"].get(host) or 0) > most[host]]
    bring_up = bool(bad)
    go_local = bring_up or installed != {final} or bool(far)
    if not go_local and not wanted["lasting"]:
        return {"result": "nothing_to_do", "plan": [], "warnings": [], "lock_hosts": [],
                "reason": "Every certificate of %s is of the CA of %s, and its hosts use the database of %s." % (
                    site, active, wanted["connect"])}
    stages = operations.hooper_stages(sites, {host: facts["order"][host] for host in hosts}, params["hooper_run_mode"])
    return {
        "result": "proceed",
        "reason": "Build %s with the CA of %s: %s." % (
            site, active, "%d findings about its certificates" % len(bad) if bad else "its certificates are there"),
        "done": "%s is built: certificates of the CA on %s, database on %s." % (
            site, wanted["authority"], wanted["connect"]),
        "plan": _sentences(site, wanted, bring_up, hosts, facts),
        "warnings": [],
        "bring_up": bring_up,
        "go_local": go_local,
        "edits": {
            "bring_up": _edit(wanted["lasting"], {CONNECT: wanted["master"]}, wanted["temporary"]),
            "go_local": _edit(wanted["lasting"], {CONNECT: wanted["connect"]}, wanted["final"]),
        },
        "final_sha256": final,
        "secret": "svclist.ca" in wanted["lasting"],
        "site": site,
        "site_hosts": hosts,
        "waves": [wave for stage in stages for wave in stage["waves"]],
        "most": most,
        "address": f.address(sites, wanted["master"]),
        "alerting_units": _alerting(wanted, site, sites),
        "lock_hosts": f.lock_hosts(situation),
        "lock_break": lock["break"] or params.get("circonus_lock_break"),
    }


def _edit(lasting, more, document):
    return {"changes": dict(lasting, **more), "expected_sha256": canonical_sha256(document)}


def _problem(situation, raws, site, active, wanted, hosts):
    """Why it cannot begin, or None."""
    probes = situation.probes
    for host in [*hosts, wanted["authority"], wanted["master"]]:
        if not f.reachable(probes, host):
            return "%s does not answer (%s). Bring it back; the site is built with all its hosts." % (
                host, (probes.get(host) or {}).get("msg") or "no answer")
    problem = file_problem(raws, site, wanted)
    if problem:
        return problem
    if situation.primaries != [wanted["master"]]:
        return "Expected the primary database on %s (web_db.master), found %s. Start it, or correct web_db.master." % (
            wanted["master"], " and ".join(situation.primaries) or "none")
    names = situation.units["ca"]
    if not f.unit_active(probes, wanted["authority"], names):
        return "Expected circonus-ca_processor to run on %s, it does not. Start it, nothing is signed without it." % (
            wanted["authority"])
    own = [host for host in hosts if f.unit_active(probes, host, names)]
    if own:
        return "Expected no CA in %s, a processor runs on %s: two would give the same serial numbers. Stop it." % (
            site, ", ".join(own))
    known = {canonical_sha256(raw) for raw in (raws[site], wanted["final"], wanted["temporary"])}
    for host in hosts:
        if probes[host].get("killswitch"):
            return "%s has a Hooper killswitch: somebody wants Hooper to keep off. Remove it when that is over." % host
        if f.installed_site(probes, host).get("sha256") not in known:
            return "site.json on %s is not that of site %s on the controller. Run site_distribute.yml first." % (
                host, site)
    return None


def _alerting(wanted, site, sites):
    """{host: units that a standby site keeps down}; Hooper itself does so with active_datacenter only."""
    found: dict = {}
    if wanted["layout"] == "pair_2019":
        for role in f.ALERTING_ROLES:
            for host in f.local_machines(sites, site, role):
                found.setdefault(host, []).extend(catalogue.unit_names(role))
    return found


def _sentences(site, wanted, bring_up, hosts, facts):
    number = ca_reissue.count(hosts, "host")
    names = sorted({path.split(".")[1] if path.startswith("svclist") else path for path in wanted["lasting"]})
    plan = []
    if bring_up:
        plan += [
            "Reach the database on %s from every host of %s" % (wanted["master"], site),
            "site.json of %s on %s: connect_host %s%s" % (
                site, number, wanted["master"], "; lasting: %s" % ", ".join(names) if names else ""),
            "Run Hooper on %s in run order, again until it has nothing to warn about" % number,
            "Prove that every certificate is of the CA on %s" % wanted["authority"],
        ]
    plan += [
        "site.json of %s on %s: connect_host %s" % (site, number, wanted["connect"]),
        "Run Hooper on %s in run order, again until it has nothing to warn about" % number,
    ]
    if wanted["layout"] == "pair_2019":
        plan.append("Stop and disable alerting in %s, which Hooper does not do in this layout" % site)
    plan.append("Prove certificates, site.json and that no client of %s uses the database on %s" % (
        site, wanted["master"]))
    return plan


def proof(situation: f.Situation, findings: list, base: dict, half: bool) -> list:
    """What is not as it must be, as sentences. half: only certificates, before the site goes to its own database."""
    problems = [one["what"] for one in broken(findings, base["site_hosts"])]
    silent = [host for host in base["site_hosts"] if not f.reachable(situation.probes, host)]
    problems += ["%s does not answer." % host for host in silent]
    if half:
        return problems
    for host in base["site_hosts"]:
        digest = f.installed_site(situation.probes, host).get("sha256")
        if host not in silent and digest != base["final_sha256"]:
            problems.append("site.json on %s is not that of %s." % (host, base["site"]))
    return problems
