# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Contents of the files that Hooper leaves to the operator."""
from __future__ import annotations

from ansible.errors import AnsibleFilterError
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError
from ansible_collections.circonus.inside.plugins.plugin_utils.lazy import Lazy

operator_files = Lazy("operator_files")


def _spoken(function):
    """``function`` with its own errors in Ansible's class, so that a person sees one line."""

    def call(*args):
        try:
            return function(*args)
        except InsideError as exc:
            raise AnsibleFilterError(str(exc)) from exc

    return call


class FilterModule:
    """Jinja filters of the collection."""

    def filters(self):
        """Name to function."""
        return {
            "file_lines": _spoken(operator_files.lines),
            "caql_broker_conf": _spoken(operator_files.caql_broker_conf),
            "licenses_conf": _spoken(operator_files.licenses_conf),
            "retention_rule": _spoken(operator_files.retention_rule),
        }
