# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decide about a failover from what every host answered, prove its result, keep the controller's site files current."""

from __future__ import annotations

import os
import shutil

from ansible_collections.circonus.inside.plugins.module_utils import site_file
from ansible_collections.circonus.inside.plugins.plugin_utils import failover, play, procedure, site_model
from ansible_collections.circonus.inside.plugins.plugin_utils.in_run import InRun


class ActionModule(InRun):
    """See the module documentation of ``circonus.inside.datacenter_plan``."""

    _VALID_ARGS = frozenset(("procedure", "phase", "probe", "base", "final"))

    def within(self, task_vars, run, journal):
        """Dispatch on the phase: decide, prove, save."""
        args = self._task.args
        return getattr(self, "_" + args["phase"])(self._context(args, task_vars, run), journal)

    def _context(self, args, task_vars, run):
        situation = play.situation(self._templar, task_vars, args.get("probe", "circonus_probe"))
        return {
            "procedure": args["procedure"],
            "raw": {name: site["raw"] for name, site in situation.sites.items()},
            "sites": situation.sites,
            "probes": situation.probes,
            "params": run["parameters"],
            "run": run,
            "units": situation.units,
            "base": args.get("base") or {},
        }

    # -- phases

    def _decide(self, context, journal):
        findings = site_model.validate(context["raw"])
        decide = getattr(self, "_verdict_" + context["procedure"])
        verdict = decide(context, findings)
        command = (verdict.get("clients") or {}).get("command")
        if verdict["result"] == "proceed" and command and not shutil.which(command[0]):
            verdict = dict(
                verdict,
                **failover.refuse("circonus_clients_command: no program %s on the controller." % command[0]),
            )
        for key in ("warnings", "remaining"):
            for text in verdict.get(key) or []:
                journal.append(key.rstrip("s"), text=text)
        if verdict.get("picture"):
            journal.append("fact", key="platform", value={"before": verdict["picture"], "after": verdict["picture"]})
            journal.append("fact", key="sites", value=_active(verdict["picture"]))
        for key in ("rpo_bytes", "possible_loss_bytes"):
            if verdict.get(key) is not None:
                journal.append("fact", key=key, value=verdict[key])
        journal.append("fact", key="write_gap_ms", value=None)
        return {"verdict": verdict}

    def _verdict_datacenter_failover(self, context, findings):
        target, raw = context["params"]["datacenter_failover_to"], context["raw"]
        versions = [raw]
        if target in raw and len(raw) == 2:
            versions = [site_model.flip(raw, name) for name in sorted(raw, key=lambda name: name != target)]
        verdict = failover.datacenter_verdict(
            context["sites"],
            versions[0],
            _digests(versions),
            context["probes"],
            context["params"],
            context["run"],
            context["units"],
            findings,
        )
        return self._with_changes(context, verdict, versions[0])

    def _verdict_web_db_failover(self, context, findings):
        raw, candidate = context["raw"], context["params"]["web_db_failover_to"]
        site = failover.site_of(context["sites"], candidate)
        versions = [raw]
        if site and candidate in failover.local_machines(context["sites"], site, "web_db"):
            local = failover.local_machines(context["sites"], site, "web_db")
            versions = [
                site_model.set_primary(raw, site, host) for host in sorted(local, key=lambda host: host != candidate)
            ] + [raw]
        verdict = failover.web_db_verdict(
            context["sites"],
            versions[0],
            _digests(versions),
            context["probes"],
            context["params"],
            context["run"],
            context["units"],
            findings,
        )
        return self._with_changes(context, verdict, versions[0])

    @staticmethod
    def _verdict_web_db_rejoin(context, findings):
        return failover.rejoin_verdict(
            context["sites"], context["probes"], context["params"], context["run"], context["units"]
        )

    def _with_changes(self, context, verdict, flipped):
        """What each host needs to know, and the order of Hooper's runs."""
        if verdict["result"] != "proceed":
            return verdict
        verdict["site_changes"] = {
            name: {"changes": failover.site_changes(raw), "sha256": site_file.canonical_sha256(raw)}
            for name, raw in flipped.items()
        }
        other = next((name for name in context["sites"] if name != verdict["target"]), None)
        verdict["stages"] = {
            "target": self._stages(context, verdict["target"], verdict),
            "other": self._stages(context, other, verdict) if other else [],
        }
        return verdict

    @staticmethod
    def _stages(context, site, verdict):
        """Hosts of a site in Hooper's run order: [[host, …], …]; primaries first, storage nodes one by one."""
        raw = site_model.normalise(context["raw"][site])
        order = site_model.run_order(raw)
        reachable = set(verdict["reachable_hosts"])
        hosts = [host for host in context["sites"][site]["hosts"] if host in reachable]
        first = verdict["candidate"]
        groups = {}
        for host in hosts:
            stage = order.get(host, 6)
            serial = host if "data_storage" in failover.roles_of(context["sites"], host) else ""
            groups.setdefault((stage, host != first, serial), []).append(host)
        return [sorted(groups[key]) for key in sorted(groups)]

    @staticmethod
    def _flipped(context):
        base, raw = context["base"], context["raw"]
        if context["procedure"] == "datacenter_failover":
            return site_model.flip(raw, base["target"])
        if context["procedure"] == "web_db_failover":
            return site_model.set_primary(raw, base["target"], base["candidate"])
        return raw

    def _prove(self, context, journal):
        arguments = (
            context["sites"],
            self._flipped(context),
            context["probes"],
            context["params"],
            context["units"],
            context["base"],
        )
        prove = failover.datacenter_proof if context["procedure"] == "datacenter_failover" else failover.web_db_proof
        proof = prove(*arguments)
        journal.append("fact", key="platform", value={"before": context["base"]["picture"], "after": proof["picture"]})
        journal.append("fact", key="sites", value=_active(proof["picture"]))
        if proof["problems"] and not self._task.args.get("final", True):
            return {"proven": False, "msg": "Not yet: %s" % "; ".join(proof["problems"][:5])}
        if proof["problems"]:
            reason = "The last probe does not show what was expected: %s. Start the same command again." % "; ".join(
                proof["problems"][:5]
            )
            journal.append("stop", reason=reason, result="failed")
            return {"failed": True, "msg": reason}
        return {"proven": True, "msg": "Proven by a new probe of every host."}

    def _save(self, context, journal):
        changed = []
        for name, raw in self._flipped(context).items():
            path = context["sites"][name]["file"]
            if raw == context["raw"][name]:
                continue
            try:
                with open(path, encoding="utf-8") as handle:
                    procedure.write_atomically(path + ".previous", handle.read(), 0o600)
                procedure.write_atomically(path, site_file.dump(raw), os.stat(path).st_mode & 0o7777)
                changed.append(path)
            except OSError as error:
                journal.append(
                    "remaining", text="Set the values of the active site in %s by hand (%s)." % (path, error.strerror)
                )
        return {"changed": bool(changed), "paths": changed}


def _active(picture):
    """{"active": site or None, "standby": site or None} of a picture."""
    states = {name: site["state"] for name, site in picture["sites"].items()}
    active = [name for name, state in states.items() if state == "active"]
    standby = [name for name, state in states.items() if state != "active"]
    return {"active": active[0] if len(active) == 1 else None, "standby": standby[0] if len(standby) == 1 else None}


def _digests(versions):
    """{site: digests of its file in any of the versions}."""
    return {name: {site_file.canonical_sha256(version[name]) for version in versions} for name in versions[0]}
