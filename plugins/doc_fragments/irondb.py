# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options of every module that reads a data_storage cluster."""

from __future__ import annotations


class ModuleDocFragment:
    """See the modules ``irondb_*``."""

    DOCUMENTATION = r"""
options:
  hosts:
    description:
      - Nodes that are asked for the topology, as C(address) or C(address:port). The first in this order that answers is
        believed; all nodes of its topology are asked then.
    type: list
    elements: str
    default: [127.0.0.1]
  port:
    description: HTTP port of O(hosts) that name none.
    type: int
    default: 8112
  names:
    description: Host names by node uuid, for messages. Without one a node is named by its address.
    type: dict
    default: {}
  digest:
    description: Digest of the topology that has to be in force. That of the first host that answers when not given.
    type: str
  page_timeout:
    description: Seconds for all the pages of one node, however its port behaves.
    type: float
    default: 5.0
"""
