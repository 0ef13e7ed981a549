# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``--check`` of every playbook about the CA and its certificates changes nothing anywhere."""

from __future__ import annotations

import pytest
from test_30_check_mode import changes_nothing, no_housekeeping, playbooks  # noqa: F401 (a fixture of this file too)


@pytest.mark.parametrize("playbook", playbooks(ca=True))
def test_changes_nothing(lab, playbook):
    changes_nothing(lab, playbook)
