# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ask one data_storage host for its evidence, and put the archive beside the report. Never fails: a host that cannot be
looked at is a finding."""

from __future__ import annotations

import base64
import os

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase

from ansible_collections.circonus.inside.plugins.plugin_utils import procedure


class ActionModule(ActionBase):
    """See the module documentation of ``circonus.inside.irondb_evidence``."""

    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        """The answer of the module without the archive, and ``path``."""
        result = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        dest = arguments.pop("dest", None)
        try:
            outcome = self._execute_module(module_name="circonus.inside.irondb_evidence", module_args=arguments,
                                           task_vars=task_vars)
        except AnsibleConnectionFailure as error:
            outcome = {"reachable": False, "msg": " ".join(str(error).split())}
        except AnsibleError as error:
            outcome = {"msg": " ".join(str(error).split())}
        answer = procedure.host_answer(outcome)
        if dest and answer.get("bundle"):
            os.makedirs(os.path.dirname(dest), mode=0o750, exist_ok=True)
            descriptor = os.open(dest, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as target:
                target.write(base64.b64decode(answer["bundle"]))
            answer.update(bundle="", path=dest)
        return dict(result, **dict(answer, failed=False, changed=False))
