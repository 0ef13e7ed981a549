# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the roles of the collection say about their components."""
from __future__ import annotations

from ansible.errors import AnsibleFilterError
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError
from ansible_collections.circonus.inside.plugins.plugin_utils.lazy import Lazy

catalogue = Lazy("catalogue")


def role_units(roles) -> list:
    """Names of all units that a host with these roles may have."""
    return [unit for role in roles for unit in catalogue.unit_names(role)]


def role_service(role: str) -> dict:
    """The catalogue entry of a role."""
    return catalogue.load()[role]


def role_entries(roles, release=None, host=None) -> list:
    """Effective catalogue entries of a host's roles."""
    try:
        return catalogue.for_roles(roles, release, host)
    except InsideError as exc:
        raise AnsibleFilterError(str(exc)) from exc


def role_problems(entry) -> list:
    """What is wrong with the form of a catalogue entry."""
    return catalogue.problems(entry)


class FilterModule:
    """Jinja filters of the collection."""

    def filters(self):
        """Name to function."""
        return {
            "role_units": role_units,
            "role_service": role_service,
            "role_entries": role_entries,
            "role_problems": role_problems,
        }
