# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options of every module that looks into the stores of the node of its host."""

from __future__ import annotations


class ModuleDocFragment:
    """See the modules ``irondb_damage_info``, ``irondb_evidence`` and ``irondb_repair``."""

    DOCUMENTATION = r"""
options:
  node:
    description: The uuid of the node.
    type: str
    required: true
  root:
    description: Where the stores and logs are.
    type: path
    default: /snowth
  port:
    description: Port of the node on the host itself.
    type: int
    default: 8112
  page_timeout:
    description: Seconds for a page.
    type: float
    default: 5.0
"""
