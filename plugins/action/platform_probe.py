# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ask one host for everything that the platform check wants to know of it: the only task that reaches a host."""

from __future__ import annotations

import time

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase

from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError
from ansible_collections.circonus.inside.plugins.plugin_utils import catalogue, direct, platform, procedure, site_model

# Ansible imports an action before it forks a worker for each host: what is read here is read once, not once per host.
catalogue.load()
_LOOK = direct.Look("circonus.inside.host_check", "host_check")
#: Keys of a catalogue entry that mean nothing to the host; they need not travel.
_AT_HOME = frozenset(
    ("purpose", "sizing", "connections", "sql", "conflicts", "log_rotation", "requires", "commands", "facts", "history")
    + ("notes", "calls", "consoles")
)


class ActionModule(ActionBase):
    """See the module documentation of ``circonus.inside.platform_probe``."""

    _supports_check_mode = True
    _VALID_ARGS = frozenset(())

    def run(self, tmp=None, task_vars=None):
        """The answer of host_check, or why there is none. Never fails: a host that cannot be checked is a finding."""
        result = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        asked = time.time()
        try:
            # The inventory's own words are data, a dict without templates; anything else is evaluated first.
            node, sites = (self._plain(task_vars.get(name)) for name in ("circonus_node", "circonus_sites"))
            run = (task_vars.get("circonus_begin") or {}).get("run") or {}
            arguments = self._arguments(node, sites, run.get("parameters") or {})
            arguments["reference_epoch"] = asked = time.time()
            outcome = _LOOK.run(self, arguments, task_vars)
        except AnsibleConnectionFailure as error:
            outcome = {"reachable": False, "msg": " ".join(str(error).split())}
        except (AnsibleError, InsideError) as error:
            outcome = {"msg": " ".join(str(error).split())}
        outcome = procedure.host_answer(outcome)
        outcome.update(failed=False, changed=False, asked_epoch=asked, answered_epoch=time.time())
        return dict(result, **outcome)

    def _plain(self, value):
        return value if isinstance(value, dict) else self._templar.template(value) or {}

    @staticmethod
    def _arguments(node, sites, parameters):
        host, site = node["name"], node.get("site")
        entries = platform.role_entries(node["roles"], parameters.get("circonus_release"), host)
        present = [entry for entry in entries if not entry["absent"]]
        stopped, limits = [], platform.limits(parameters)
        if site in sites:
            raw = site_model.load_site(sites[site]["file"]) if "ca" in node["roles"] else {}
            described = {site: {"raw": raw, "active": sites[site]["active"]}}
            stopped = platform.kept_stopped(described, site, host, entries)
        return {
            "clock_offset_s": platform.rehearsed_clock(parameters, host),
            "entries": [{k: v for k, v in entry.items() if k not in _AT_HOME} for entry in present],
            "expect_stopped": stopped,
            "deadline_s": limits["deadline_s"],
            "thresholds": {"restarts": limits["restarts"], "recent_s": limits["flapping_s"]},
        }
