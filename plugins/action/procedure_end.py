# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Close the run of a procedure: report as JSON, HTML and text; the exit code of the playbook."""

from __future__ import annotations

import json
import os

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.circonus.inside.plugins.plugin_utils import procedure as p
from ansible_collections.circonus.inside.plugins.plugin_utils import report

display = Display()


class ActionModule(ActionBase):
    """See the module documentation of ``circonus.inside.procedure_end``."""

    _supports_check_mode = True
    _VALID_ARGS = frozenset(())

    def run(self, tmp=None, task_vars=None):
        """Write the report; fail unless the result is ok or nothing_to_do."""
        result = super().run(tmp, task_vars)
        run = ((task_vars or {}).get("circonus_begin") or {}).get("run") or {}
        if not run.get("journal"):
            return dict(result, failed=True, msg="The procedure could not be started; see the message above.")
        doc = p.document(p.Journal(run["journal"]).records(), p.now())
        base = "%s-%s" % (doc["procedure"], doc["run_id"])
        paths = {kind: os.path.join(run["report_dir"], "%s.%s" % (base, kind)) for kind in ("json", "html")}
        p.write_atomically(paths["json"], json.dumps(doc, indent=2, ensure_ascii=False) + "\n")
        p.write_atomically(paths["html"], report.render_html(doc))
        for kind in paths:
            p.link("%s.%s" % (base, kind), os.path.join(run["report_dir"], "latest.%s" % kind))
            p.link("%s.%s" % (base, kind), os.path.join(run["report_dir"], "%s-latest.%s" % (doc["procedure"], kind)))
        display.display("")
        display.display(report.render_text(doc))
        display.display("Report: %s" % paths["html"])
        bad = doc["result"] not in ("ok", "nothing_to_do")
        return dict(
            result,
            failed=bad,
            changed=False,
            result=doc["result"],
            report=paths["json"],
            report_html=paths["html"],
            msg="%s: %s" % (doc["result"], doc["reason"]),
        )
