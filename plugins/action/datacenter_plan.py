# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decide about a failover from what every host answered, prove its result, keep the controller's site files current."""
from __future__ import annotations

import os

from ansible.plugins.action import ActionBase

from ansible_collections.circonus.inside.plugins.module_utils import site_file
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError
from ansible_collections.circonus.inside.plugins.plugin_utils import catalogue, failover, procedure, site_model


class ActionModule(ActionBase):
    """See the module documentation of ``circonus.inside.datacenter_plan``."""

    _supports_check_mode = True
    _VALID_ARGS = frozenset(("procedure", "phase", "probe", "base"))

    def run(self, tmp=None, task_vars=None):
        """Dispatch on the phase: decide, prove, save."""
        result = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        args = self._task.args
        run = (task_vars.get("circonus_begin") or {}).get("run") or {}
        journal = procedure.Journal(run.get("journal", os.devnull))
        if not run or journal.stopped():
            return dict(result, skipped=True, changed=False, msg="The run has been stopped.")
        try:
            context = self._context(args, task_vars, run)
            result.update(getattr(self, "_" + args["phase"])(context, journal))
        except InsideError as error:
            journal.append("stop", reason=str(error), result="refused")
            result.update(failed=True, msg=str(error))
        result.setdefault("changed", False)
        return result

    def _context(self, args, task_vars, run):
        described = self._templar.template(task_vars.get("circonus_sites")) or {}
        if not described:
            raise InsideError("Expected sites from the inventory plugin circonus.inside.site, found none. Use an inventory file *.site.yml.")
        raw = {name: site_model.load_site(entry["file"]) for name, entry in described.items()}
        sites = {
            name: {"raw": raw[name], "hosts": list(entry["hosts"]), "file": entry["file"]}
            for name, entry in described.items()
        }
        probes = {}
        hostvars = task_vars["hostvars"]
        for site in sites.values():
            for host in site["hosts"]:
                answer = hostvars[host].get(args.get("probe", "circonus_probe")) if host in hostvars else None
                probes[host] = dict(answer) if answer else {"reachable": False, "msg": "not in this play"}
        return {
            "procedure": args["procedure"],
            "raw": raw,
            "sites": sites,
            "probes": probes,
            "params": run["parameters"],
            "run": run,
            "units": {name: catalogue.unit_names(name) for name in catalogue.names()},
            "base": args.get("base") or {},
        }

    # -- phases

    def _decide(self, context, journal):
        findings = site_model.validate(context["raw"])
        decide = getattr(self, "_verdict_" + context["procedure"])
        verdict = decide(context, findings)
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
        target = context["params"]["datacenter_failover_to"]
        flipped = unflipped = context["raw"]
        if target in context["raw"] and len(context["raw"]) == 2:
            other = next(name for name in context["raw"] if name != target)
            flipped = site_model.flip(context["raw"], target)
            unflipped = site_model.flip(context["raw"], other)
        verdict = failover.datacenter_verdict(
            context["sites"], flipped, unflipped, context["probes"], context["params"], context["run"], context["units"], findings)
        if verdict["result"] == "refused":
            return verdict
        verdict["site_changes"] = {
            name: {
                "changes": failover.site_changes(raw, verdict["edition"]),
                "sha256": site_file.canonical_sha256(raw),
            }
            for name, raw in flipped.items()
        }
        stages = {name: self._stages(context, name, verdict) for name in context["sites"]}
        verdict["stages"] = {"target": stages[verdict["target"]], "other": stages[verdict["other"]]}
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

    def _prove(self, context, journal):
        target = context["base"]["target"]
        proof = failover.datacenter_proof(
            context["sites"], site_model.flip(context["raw"], target), context["probes"], context["params"], context["units"], context["base"])
        journal.append("fact", key="platform", value={"before": context["base"]["picture"], "after": proof["picture"]})
        journal.append("fact", key="sites", value=_active(proof["picture"]))
        if proof["problems"]:
            reason = "The last probe does not show what was expected: %s. Start the same command again." % "; ".join(proof["problems"][:5])
            journal.append("stop", reason=reason, result="failed")
            return {"failed": True, "msg": reason}
        return {"msg": "Proven by a new probe of every host."}

    def _save(self, context, journal):
        target = context["base"]["target"]
        changed = []
        for name, raw in site_model.flip(context["raw"], target).items():
            path = context["sites"][name]["file"]
            if raw == context["raw"][name]:
                continue
            try:
                with open(path, encoding="utf-8") as handle:
                    procedure.write_atomically(path + ".previous", handle.read(), 0o600)
                procedure.write_atomically(path, site_file.dump(raw), os.stat(path).st_mode & 0o7777)
                changed.append(path)
            except OSError as error:
                journal.append("remaining", text="Set the values of the active site in %s by hand (%s)." % (path, error.strerror))
        return {"changed": bool(changed), "paths": changed}


def _active(picture):
    """{"active": site or None, "standby": site or None} of a picture."""
    states = {name: site["state"] for name, site in picture["sites"].items()}
    active = [name for name, state in states.items() if state == "active"]
    standby = [name for name, state in states.items() if state != "active"]
    return {"active": active[0] if len(active) == 1 else None, "standby": standby[0] if len(standby) == 1 else None}
