# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The page that tells whether a datacenter is active."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import re

from ansible_collections.circonus.inside.plugins.module_utils import http_page

# An address as the options of the modules have it; a name or an address in brackets, a port and a path as you like.
_URL = re.compile(r"^(https?)://(\[[0-9A-Fa-f:.]+\]|[^/:@?#]+)(?::([0-9]{1,5}))?(/[^#\s]*)?$")
_BLIND = re.compile(r"<!--.*?-->|<(script|style)\b.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<[^>]*>", re.DOTALL)
_WORD = re.compile(r"(?<![\w-])(ACTIVE|STANDBY)(?![\w-])")


def parse(page):
    """State of a datacenter from the text of ``/status``: ACTIVE, STANDBY or unknown. Pure.

    Source: on-premises documentation, backup datacenter. The page is only known to contain one of the two words, so
    markup is removed and a whole word in capitals is wanted; neither or both is unknown.
    """
    words = set(_WORD.findall(_TAG.sub(" ", _BLIND.sub(" ", page))))
    return words.pop() if len(words) == 1 else "unknown"


def read(url, timeout=3.0, host=None, ca_file=None, verify=True):
    """Ask one web frontend for its state.

    host: Host header, when the frontend wants the portal name. ca_file: certificate of the private CA for https. verify
    false accepts any certificate. The name in the certificate is never compared, frontends are asked by address.
    Returns ``{"url", "state": "ACTIVE"|"STANDBY"|"unknown", "http_status": int or None, "error": str}``; never raises.
    """
    answer = {"url": url, "state": "unknown", "http_status": None, "error": ""}
    parts = _URL.match(url)
    if not parts:
        answer["error"] = "expected an address such as http://127.0.0.1/status, found {0!r}".format(url)
        return answer
    scheme, name, port, path = parts.groups()
    page = http_page.ask(
        name.strip("[]"),
        int(port or (443 if scheme == "https" else 80)),
        path or "/",
        tls=scheme == "https",
        header=host or (name if port is None else None),
        timeout=timeout,
        verify=verify,
        ca_file=ca_file,
    )
    answer["http_status"] = page["status"]
    if page["error"]:
        answer["error"] = page["error"]
    elif page["status"] != 200:
        answer["error"] = "expected a page, found HTTP status {0}".format(page["status"])
    else:
        answer["state"] = parse(page["body"])
        if answer["state"] == "unknown":
            answer["error"] = "expected the word ACTIVE or STANDBY on the page, found neither or both"
    return answer
