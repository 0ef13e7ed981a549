# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The page that tells whether a datacenter is active."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import re
import ssl

try:
    from urllib.error import HTTPError, URLError
    from urllib.request import HTTPRedirectHandler, HTTPSHandler, ProxyHandler, Request, build_opener
except ImportError:  # not on a target that this collection supports; keeps documentation tools on old Pythons working
    HTTPError = URLError = Request = build_opener = None
    HTTPRedirectHandler = HTTPSHandler = ProxyHandler = object

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


class _NoRedirect(HTTPRedirectHandler):
    """A redirect could lead to the portal name and so to the other site; it is an answer, not a way."""

    def redirect_request(self, *unused, **also_unused):
        return None


def read(url, timeout=3.0, host=None, ca_file=None, verify=True):
    """Ask one web frontend for its state.

    host: Host header, when the frontend wants the portal name. ca_file: certificate of the private CA for https. verify
    false accepts any certificate. The name in the certificate is never compared, frontends are asked by address.
    Returns ``{"url", "state": "ACTIVE"|"STANDBY"|"unknown", "http_status": int or None, "error": str}``; never raises.
    """
    answer = {"url": url, "state": "unknown", "http_status": None, "error": ""}
    try:
        handlers = [ProxyHandler({}), _NoRedirect()]
        if url.startswith("https:"):
            context = ssl.create_default_context(cafile=ca_file if verify else None)
            context.check_hostname = False
            if not verify:
                context.verify_mode = ssl.CERT_NONE
            handlers.append(HTTPSHandler(context=context))
        request = Request(url, headers={"Host": host} if host else {})
        reply = build_opener(*handlers).open(request, timeout=timeout)
        try:
            answer["http_status"] = reply.getcode()
            answer["state"] = parse(reply.read(262144).decode("utf-8", "replace"))
        finally:
            reply.close()
        if answer["state"] == "unknown":
            answer["error"] = "expected the word ACTIVE or STANDBY on the page, found neither or both"
    except HTTPError as exc:
        answer["http_status"] = exc.code
        answer["error"] = "expected a page, found HTTP status {0}".format(exc.code)
        exc.close()
    except (URLError, OSError, ValueError) as exc:
        answer["error"] = str(getattr(exc, "reason", None) or exc)
    return answer
