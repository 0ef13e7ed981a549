# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tests about certificates."""
from __future__ import annotations

from ansible.errors import AnsibleFilterError
from ansible_collections.circonus.inside.plugins.filter.pki import first_certificate
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError
from ansible_collections.circonus.inside.plugins.plugin_utils.lazy import Lazy

pki = Lazy("pki")


def pki_signed_by(value, ca) -> bool:
    """Whether one of the authorities signed a certificate, by name and by signature."""
    try:
        leaf = first_certificate(value)
        first_certificate(ca)
        return any(pki.names_equal(leaf.issuer, one.subject) and pki.signed_by(leaf, one)
                   for one in pki.load(ca).certificates)
    except InsideError as exc:
        raise AnsibleFilterError(str(exc)) from exc


def pki_valid_for(value, hostname) -> bool:
    """Whether a certificate names a host."""
    try:
        return pki.covers(first_certificate(value), hostname)
    except InsideError as exc:
        raise AnsibleFilterError(str(exc)) from exc


class TestModule:
    """Jinja tests of the collection."""

    def tests(self):
        """Name to function."""
        return {"pki_signed_by": pki_signed_by, "pki_valid_for": pki_valid_for}
