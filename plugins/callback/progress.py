# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Screen output of a procedure: one line for each thing that was done, and nothing else until the report."""

from __future__ import annotations

DOCUMENTATION = r"""
name: progress
type: stdout
short_description: One line for each step of a procedure
version_added: 0.1.0
description:
  - Prints what was done, on which hosts and how long it took, one line for each step, then the report of the procedure.
  - Tasks that only look, includes and skipped hosts are left out. A failure is one line.
  - With C(-v) it prints what the default callback prints.
author:
  - circonus.inside contributors (@circonus-inside)
extends_documentation_fragment:
  - default_callback
  - result_format_callback
requirements:
  - set as stdout in configuration
"""

import time

from ansible import constants as C
from ansible.plugins.callback.default import CallbackModule as Default

from ansible_collections.circonus.inside.plugins.plugin_utils import lazy
from ansible_collections.circonus.inside.plugins.plugin_utils.procedure import outcome_message

STEP = "circonus.inside.procedure_step"
NAMED_HOSTS = 4


def hosts_text(hosts: list) -> str:
    """Names while they fit on a line, else their number."""
    return ", ".join(hosts) if len(hosts) <= NAMED_HOSTS else "%d hosts" % len(hosts)


def host_of(result) -> str:
    """Where a task ran: a task with ``no_log`` does not say, but the task itself knows to whom it was delegated."""
    named = result._result.get("step_host") or result._task_fields.get("delegate_to")
    return str(named or result._host.get_name())


def lines(rows: list) -> list:
    """[(title, state, hosts as text, slowest seconds or None)] of the results of one task, in the order they came.

    ``rows``: [{"title", "state", "host", "seconds"}]. Hosts with the same title and state share a line.
    """
    groups = {}
    for row in rows:
        groups.setdefault((row["title"], row["state"]), []).append(row)
    result = []
    for (title, state), members in groups.items():
        seconds = [row["seconds"] for row in members if row["seconds"] is not None]
        hosts = list(dict.fromkeys(row["host"] for row in members))
        result.append((title, state, hosts_text(hosts), max(seconds) if seconds else None))
    return result


class CallbackModule(Default):
    """See DOCUMENTATION."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "circonus.inside.progress"

    def __init__(self):
        super().__init__()
        self._rows = []
        self._title = None

    @property
    def _plain(self):
        return self._display.verbosity > 0

    def v2_playbook_on_start(self, playbook):
        """Before the first process of a task is copied from this one."""
        lazy.preload()
        super().v2_playbook_on_start(playbook)

    # -- what the default prints and this does not

    def v2_playbook_on_play_start(self, play):
        """The name of the play, without the banner."""
        self._flush()
        if self._plain:
            return super().v2_playbook_on_play_start(play)
        self._play = play
        mode = " (check mode: nothing is changed)" if play.check_mode else ""
        title = "%s%s" % (play.get_name().strip(), mode)
        if title != self._title:
            self._title = title
            self._display.display(title, color=C.COLOR_HIGHLIGHT)
        return None

    def v2_playbook_on_task_start(self, task, is_conditional):
        """A new task: the results of the one before it are complete."""
        self._flush()
        if self._plain:
            super().v2_playbook_on_task_start(task, is_conditional)

    def v2_playbook_on_handler_task_start(self, task):
        """As for a task."""
        self._flush()
        if self._plain:
            super().v2_playbook_on_handler_task_start(task)

    def v2_playbook_on_no_hosts_matched(self):
        """A play for a role that no host has."""
        if self._plain:
            super().v2_playbook_on_no_hosts_matched()

    def v2_playbook_on_include(self, included_file):
        """Where tasks come from is of no interest here."""
        if self._plain:
            super().v2_playbook_on_include(included_file)

    def v2_runner_on_skipped(self, result):
        """Nothing was done."""
        if self._plain:
            super().v2_runner_on_skipped(result)

    def v2_runner_item_on_skipped(self, result):
        """Nothing was done."""
        if self._plain:
            super().v2_runner_item_on_skipped(result)

    # -- what was done

    def v2_runner_on_ok(self, result):
        """Remember it; the items of a loop have come one by one."""
        if self._plain:
            super().v2_runner_on_ok(result)
        elif not (result._task.loop and "results" in result._result):
            self._add(result)

    def v2_runner_item_on_ok(self, result):
        """One item of a loop."""
        if self._plain:
            super().v2_runner_item_on_ok(result)
        else:
            self._add(result)
            # A loop works item by item: say it now, the next may take minutes.
            self._flush()

    def v2_runner_on_failed(self, result, ignore_errors=False):
        """One line; the report repeats the reason."""
        if self._plain:
            super().v2_runner_on_failed(result, ignore_errors)
        elif not (result._task.loop and "results" in result._result) and not ignore_errors:
            self._failed(result, "FAILED")

    def v2_runner_item_on_failed(self, result):
        """One line."""
        if self._plain:
            super().v2_runner_item_on_failed(result)
        else:
            self._failed(result, "FAILED")

    def v2_runner_on_unreachable(self, result):
        """One line."""
        if self._plain:
            super().v2_runner_on_unreachable(result)
        else:
            self._failed(result, "UNREACHABLE")

    def v2_playbook_on_stats(self, stats):
        """One line instead of one for each host."""
        self._flush()
        if self._plain:
            super().v2_playbook_on_stats(stats)
            return
        total = {}
        for host in stats.processed:
            for key, number in stats.summarize(host).items():
                total[key] = total.get(key, 0) + number
        self._display.display(
            "%d hosts: ok=%d changed=%d unreachable=%d failed=%d"
            % (
                len(stats.processed),
                *(total.get(key, 0) for key in ("ok", "changed", "unreachable", "failures")),
            )
        )

    # -- helpers

    def _add(self, result):
        outcome, task = result._result, result._task
        step = task.action == STEP
        changed = bool(outcome.get("changed"))
        # Of a task with no_log only "changed" is left.
        if step and (outcome.get("skipped") or not {"step_seconds", "censored"} & set(outcome)):
            return
        if (not step and not changed) or (step and outcome.get("step_quiet") and not changed):
            return
        state = "changed" if changed else "ok"
        if changed and (task.check_mode or (self._play is not None and self._play.check_mode)):
            state = "would change"
        self._rows.append(
            {
                "title": outcome.get("step_title") or task.get_name().split(" : ")[-1].split(" | ")[-1],
                "state": state,
                "host": host_of(result),
                "seconds": outcome.get("step_seconds"),
            }
        )

    def _failed(self, result, word):
        self._flush()
        outcome, task = result._result, result._task
        title = outcome.get("step_title") or task.get_name().split(" : ")[-1].split(" | ")[-1]
        text = " ".join((outcome_message(outcome) or "no reason given").split())
        self._display.display("%s  %s on %s: %s" % (word, title, host_of(result), text), color=C.COLOR_ERROR)

    def _flush(self):
        rows, self._rows = self._rows, []
        for title, state, hosts, seconds in lines(rows):
            color = C.COLOR_CHANGED if state != "ok" else C.COLOR_OK
            took = "" if seconds is None else "  %.1f s" % seconds
            self._display.display(
                "%s  %-52s %-12s %s%s" % (time.strftime("%H:%M:%S"), title, state, hosts, took), color=color
            )
