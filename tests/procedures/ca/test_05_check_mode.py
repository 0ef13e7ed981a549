# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``--check`` of every playbook about the CA and its certificates changes nothing anywhere."""

from __future__ import annotations

import pytest
from test_30_check_mode import changes_nothing, playbooks

pytestmark = pytest.mark.usefixtures("no_housekeeping")


@pytest.mark.parametrize("playbook", playbooks(ca=True))
def test_changes_nothing(lab, playbook):
    changes_nothing(lab, playbook)
