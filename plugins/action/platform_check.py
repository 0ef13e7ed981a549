# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Judge a platform by what every host answered, and put the findings into the journal of the run."""

from __future__ import annotations


from ansible_collections.circonus.inside.plugins.module_utils import site_file
from ansible_collections.circonus.inside.plugins.plugin_utils import platform, play
from ansible_collections.circonus.inside.plugins.plugin_utils.in_run import InRun, conclude


class ActionModule(InRun):
    """See the module documentation of ``circonus.inside.platform_check``."""

    _VALID_ARGS = frozenset(("answers",))
    ends = "failed"

    def within(self, task_vars, run, journal):
        """Return ``findings``; the result of the run is written by procedure_end."""
        verdict = platform.evaluate(self._platform(task_vars, run["parameters"]))
        journal.append("fact", key="platform", value={"after": verdict["picture"]})
        checked = verdict["checked"]
        reason = conclude(
            journal, verdict, ("findings", "unknown", "sites", "connections", "checked"),
            run["parameters"].get("platform_check_fail_on") or "warning",
            "%d of %d hosts and %d roles on them are as they must be" % (
                checked["hosts"], checked["of"], checked["roles"]))
        return {"findings": verdict["findings"], "msg": reason}

    def _platform(self, task_vars, parameters):
        sites = {name: dict(site, digest=site_file.canonical_sha256(site["raw"]))
                 for name, site in play.sites(self._templar, task_vars).items()}
        nodes, name = play.nodes(task_vars), self._task.args.get("answers") or "circonus_answer"
        for host, node in nodes.items():
            if "broker" in node["roles"]:
                node["address"] = str(task_vars["hostvars"][host].get("ansible_host") or "") or None
        answers = {host: play.answer(task_vars, host, name) for host in nodes}
        # What the release that the hosts report does not have is not looked for.
        release = parameters.get("circonus_release") or platform.release_of(answers)
        entries = {host: platform.role_entries(node["roles"], release, host) for host, node in nodes.items()}
        return platform.Platform(sites, nodes, answers, entries, parameters)
