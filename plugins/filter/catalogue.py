# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the roles of the collection say about their components."""
from __future__ import annotations

from ansible_collections.circonus.inside.plugins.plugin_utils import catalogue


def role_units(roles) -> list:
    """Names of all units that a host with these roles may have."""
    return [unit for role in roles for unit in catalogue.unit_names(role)]


def role_service(role: str) -> dict:
    """The catalogue entry of a role."""
    return catalogue.load()[role]


class FilterModule:
    """Jinja filters of the collection."""

    def filters(self):
        """Name to function."""
        return {"role_units": role_units, "role_service": role_service}
