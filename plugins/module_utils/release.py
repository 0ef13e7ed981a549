# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Releases of the platform: how people write them, and what exists in which. Pure."""
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import re

from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput


def release_date(text):
    """A release as ``YYYY-MM-DD`` from that form, ``YYYYMMDD`` or ``release-YYYYMMDD``; None for nothing.

    Raises BadInput for anything else.
    """
    if text is None or not str(text).strip():
        return None
    found = re.match(r"^(?:release-)?(\d{4})-?(\d{2})-?(\d{2})$", str(text).strip())
    if not found:
        raise BadInput(
            "Expected a release such as 2019-11-04 or release-20191104, found {0}. Correct circonus_release.".format(
                text
            )
        )
    return "-".join(found.groups())


def in_release(item, release):
    """Whether an item with ``from`` and ``until`` exists in a release: from <= release < until.

    An unknown release (None) has everything, the host then decides.
    """
    if release is None or not isinstance(item, dict):
        return True
    if item.get("from") and release < str(item["from"]):
        return False
    return not (item.get("until") and release >= str(item["until"]))
