# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The PKI files of one host and what its TLS ports and its peers say, side by side: what the module pki_files does."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import time

from ansible_collections.circonus.inside.plugins.module_utils import pki_files, pki_live
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput

# The argument spec of the module.
ARGUMENTS = dict(
    files=dict(type="list", elements="dict", required=True),
    deadline=dict(type="int", default=30),
    ports=dict(type="list", elements="dict", default=[]),
    peers=dict(type="list", elements="dict", default=[]),
    live_timeout=dict(type="float", default=3),
    live_deadline=dict(type="float", default=15),
)


def collect(params):
    """``{"files", "now", "live"}`` as the module documents them; ``live`` only when ports or peers are asked for.

    params: those of the module, seconds for the times. Raises BadInput for a file without an absolute path or a kind.
    """
    wanted, looks = params["files"], None
    for item in wanted:
        if not str(item.get("path") or "").startswith("/") or not item.get("kind"):
            raise BadInput(
                "Expected an absolute path and a kind for every file, found {0!r}. Correct files.".format(item))
    if params["ports"] or params["peers"]:
        # Begun first: they wait for the network while the files are read.
        looks = pki_live.Looks(params["ports"], params["peers"], params["live_timeout"], params["live_deadline"])
    answer = {"files": pki_files.collect(wanted, params["deadline"]), "now": time.time()}
    if looks:
        answer["live"] = looks.finish()
    return answer
