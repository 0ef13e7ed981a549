# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decide about backup, copy and failover of the CA from what every host answered, and prove the result."""

from __future__ import annotations

import os

from ansible_collections.circonus.inside.plugins.module_utils import site_file
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError
from ansible_collections.circonus.inside.plugins.plugin_utils import (
    ca_moves,
    failover,
    pki,
    play,
    procedure,
    site_model,
)
from ansible_collections.circonus.inside.plugins.plugin_utils.in_run import InRun


class ActionModule(InRun):
    """See the module documentation of ``circonus.inside.ca_plan``."""

    _VALID_ARGS = frozenset(("procedure", "phase", "base", "answer", "final"))

    def within(self, task_vars, run, journal):
        """Dispatch on phase and procedure."""
        args = self._task.args
        act = getattr(self, "_%s_%s" % (args["phase"], args["procedure"]))
        return act(task_vars, run, journal, args.get("base") or {})

    # -- what is known

    def _situation(self, task_vars):
        return play.situation(self._templar, task_vars)

    def _authorities(self, task_vars, situation):
        found = {}
        for host in ca_moves.ca_hosts(situation.sites):
            answer = play.answer(task_vars, host, "circonus_ca")
            found[host] = answer or {"reachable": False, "msg": situation.probes[host].get("msg")}
        return found

    def _seen(self, task_vars, situation):
        """Serial numbers and CRL numbers in use, and certificates that the CA does not verify."""
        answers = {host: play.answer(task_vars, host, "circonus_pki") or {} for host in situation.probes}
        seen = {"serials": {}, "crl_numbers": [], "broken": []}
        held = [answer.get("certificate") for answer in self._authorities(task_vars, situation).values()]
        trusted = [item for answer in answers.values() for item in answer.get("files") or [] if item["kind"] == "ca"]
        roots = pki.load(([text for text in held if text] or trusted)[:1]).certificates
        for host, answer in answers.items():
            for item in answer.get("files") or []:
                loaded = pki.load(item)
                if item.get("kind") == "crl":
                    seen["crl_numbers"] += [pki.crl_facts(crl)["number"] or 0 for crl in loaded.crls]
                if item.get("kind") not in ("cert", "user_facing") or not roots:
                    continue
                for certificate in loaded.certificates[:1]:
                    facts = pki.facts(certificate)
                    if pki.signed_by(certificate, roots[0]):
                        place = [host, item["path"], facts["sha256"]]
                        seen["serials"].setdefault(facts["serial"].upper(), []).append(place)
                    elif item["kind"] == "cert":
                        seen["broken"].append("%s on %s does not verify against ca.crt" % (item["path"], host))
        return seen

    @staticmethod
    def _raws(situation):
        return {name: site["raw"] for name, site in situation.sites.items()}

    # -- ca_backup

    def _decide_ca_backup(self, task_vars, run, journal, base):
        situation = self._situation(task_vars)
        return {"verdict": ca_moves.backup_verdict(situation, self._authorities(task_vars, situation))}

    def _sum_up_ca_backup(self, task_vars, run, journal, base):
        answer = dict(self._task.args["answer"])
        summary = ca_moves.backup_summary(base["host"], answer, bool(self._task.check_mode))
        journal.append("fact", key="backup", value=summary["facts"])
        for text in summary["warnings"]:
            journal.append("warning", text=text)
        journal.append("verdict", result="proceed", reason=summary["done"], plan=base["plan"], done=summary["done"])
        journal.append("completed")
        return {"msg": summary["done"]}

    # -- ca_sync

    def _decide_ca_sync(self, task_vars, run, journal, base):
        situation = self._situation(task_vars)
        authorities = self._authorities(task_vars, situation)
        return self._with_remaining(
            ca_moves.sync_verdict(situation, authorities, run["parameters"], run), journal)

    def _prove_ca_sync(self, task_vars, run, journal, base):
        situation = self._situation(task_vars)
        authorities = self._authorities(task_vars, situation)
        for host in base["targets"]:
            problem = ca_moves.sync_problem(authorities, base["source"], host)
            if problem or not ca_moves.usable(authorities, host):
                raise InsideError(problem or "Expected the CA with its keys on %s after the copy, found none." % host)
        if base["silent"]:
            reason = "%s But %s did not answer." % (base["done"], ", ".join(base["silent"]))
            journal.append("stop", reason=reason, result="failed")
            return {"failed": True, "msg": reason}
        return {"msg": base["done"]}

    @staticmethod
    def _with_remaining(verdict, journal):
        for text in verdict.get("remaining") or []:
            journal.append("remaining", text=text)
        return {"verdict": verdict}

    # -- the CA in an unplanned datacenter_failover; nothing of it may end the run

    def _copy_datacenter_failover(self, task_vars, run, journal, base):
        candidate = base["candidate"]
        promoted = play.answer(task_vars, candidate, "circonus_switchover") or {}
        try:
            situation = self._situation(task_vars)
            facts = failover.db(situation.probes, candidate)
            database = {"system_identifier": facts.get("system_identifier"),
                        "timeline": promoted.get("timeline") if base["promote"] else facts.get("timeline")}
            decision = ca_moves.take_over_wanted(
                base["take_over"], self._authorities(task_vars, situation), self._seen(task_vars, situation), database,
                run["parameters"]["ca_failover_margin"])
        except (InsideError, KeyError, TypeError, ValueError) as error:
            decision = {"event": "", "serial_floor": None, "crl_floor": None, "problem": str(error)}
        return {"decision": decision}

    def _sum_up_datacenter_failover(self, task_vars, run, journal, base):
        wanted, answer = base["take_over"], dict(self._task.args["answer"])
        remaining = ca_moves.take_over_remaining(wanted, answer)
        for text in remaining:
            journal.append("remaining", text=text)
        return {"msg": "; ".join(remaining) or "The numbers of the CA on %s are raised." % wanted["host"]}

    # -- ca_failover

    def _decide_ca_failover(self, task_vars, run, journal, base):
        situation = self._situation(task_vars)
        raws, target = self._raws(situation), run["parameters"]["ca_failover_to"]
        changed = ca_moves.with_primary(raws, target)
        verdict = ca_moves.failover_verdict(
            situation,
            self._authorities(task_vars, situation),
            changed,
            run["parameters"],
            run,
            # Of the files as they will be: a run that was ended between the two has left them different.
            site_model.validate(changed),
            self._seen(task_vars, situation),
        )
        if verdict["result"] == "proceed":
            verdict["site_changes"] = {
                name: {
                    "changes": {ca_moves.primary_key(raw): target},
                    "sha256": site_file.canonical_sha256(raw),
                }
                for name, raw in changed.items()
            }
        journal.append("fact", key="ca", value={"host": target, "was": verdict.get("primary")})
        return self._with_remaining(verdict, journal)

    def _copy_ca_failover(self, task_vars, run, journal, base):
        situation = self._situation(task_vars)
        decision = ca_moves.copy_decision(
            base, self._authorities(task_vars, situation), run["parameters"], self._seen(task_vars, situation))
        if decision["problem"]:
            journal.append("stop", reason=decision["problem"], result="failed" if base["stop"] else "refused")
            return {"failed": True, "msg": decision["problem"]}
        return {"decision": decision}

    def _save_ca_failover(self, task_vars, run, journal, base):
        situation, changed = self._situation(task_vars), []
        for name, raw in ca_moves.with_primary(self._raws(situation), base["target"]).items():
            path = situation.sites[name]["file"]
            if raw == situation.sites[name]["raw"]:
                continue
            try:
                with open(path, encoding="utf-8") as handle:
                    procedure.write_atomically(path + ".previous", handle.read(), 0o600)
                procedure.write_atomically(path, site_file.dump(raw), os.stat(path).st_mode & 0o7777)
                changed.append(path)
            except OSError as error:
                journal.append("remaining", text="Set ca.primary in %s by hand (%s)." % (path, error.strerror))
        return {"changed": bool(changed), "paths": changed}

    def _prove_ca_failover(self, task_vars, run, journal, base):
        situation = self._situation(task_vars)
        seen = self._seen(task_vars, situation)
        problems = ca_moves.failover_proof(
            situation,
            self._authorities(task_vars, situation),
            ca_moves.with_primary(self._raws(situation), base["target"]),
            base,
            seen,
        )
        if problems and not self._task.args.get("final", True):
            return {"proven": False, "msg": "Not yet: %s" % "; ".join(problems[:5])}
        if problems:
            reason = "The last probe does not show what was expected: %s. Start the same command again." % "; ".join(
                problems[:5])
            journal.append("stop", reason=reason, result="failed")
            return {"failed": True, "msg": reason}
        journal.append("fact", key="certificates", value=sum(len(places) for places in seen["serials"].values()))
        return {"proven": True, "msg": "Proven by a new probe of every host."}
