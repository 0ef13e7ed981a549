# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ask one page by HTTP. Written by hand because http.client reads a mail parser first, 14 ms of CPU on every host."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import base64
import errno
import socket
import time

BODY_LIMIT = 262144


def ask(host, port, path, tls=False, header=None, timeout=3.0, login=None, pair=None, limit=BODY_LIMIT, verify=False,
        ca_file=None, method="GET", fields=None):
    """Ask one page. Returns ``{"status": int or None, "seconds", "error", "body", "connected", "complete"}``; never
    raises, follows no redirect.

    connected: whether the server took the connection. complete: whether the answer came to its announced end, or the
    server ended it where none was announced. timeout: seconds for all of it, however slowly the answer comes.
    header: name of the server, by default its address. login: ``user:password``. pair: files of the client's
    certificate and key. limit: most bytes of an answer. verify: whether the certificate of the server must be signed by
    one of ``ca_file`` (without it, of those that the host trusts); its name is never compared, servers are asked by
    address. method, fields: of the request, for the few pages that take another one than GET or headers of their own.
    """
    answer = {"status": None, "seconds": 0.0, "error": "", "body": "", "connected": False, "complete": False}
    started = time.monotonic()
    connection = None
    try:
        context = None
        if tls:
            import ssl

            context = ssl.SSLContext(getattr(ssl, "PROTOCOL_TLS_CLIENT", ssl.PROTOCOL_SSLv23))
            context.check_hostname = False
            context.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
            if verify and ca_file:
                context.load_verify_locations(ca_file)
            elif verify:
                context.load_default_certs()
            if pair:
                context.load_cert_chain(*pair)
        connection = socket.create_connection((host, port), timeout)
        answer["connected"] = True
        if context:
            connection = context.wrap_socket(connection)
        connection.sendall(http_request(host, port, path, header, login, method, fields))
        data, reply, ended = b"", None, False
        while len(data) < limit and not (reply and reply["complete"]):
            left = timeout - (time.monotonic() - started)
            if left <= 0:
                answer["error"] = "the answer did not end within {0:g} s".format(timeout)
                break
            connection.settimeout(left)
            try:
                more = connection.recv(65536)
            except socket.timeout:
                if data:
                    continue
                raise
            except OSError as exc:
                # The end of a connection that was not announced in TLS is an end too.
                if not reply or "eof" not in str(exc).lower():
                    raise
                ended = True
                break
            if not more:
                ended = True
                break
            data += more
            reply = http_reply(data)
            answer["status"] = reply and reply["status"]
        if reply:
            answer["complete"] = reply["complete"] or ended and reply["endless"]
            answer["body"] = reply["body"].decode("utf-8", "replace")
        elif not answer["error"]:
            answer["error"] = "the connection was closed without an answer"
    except (OSError, ValueError) as exc:
        text = str(exc)
        if "timed out" in text:
            text = "no answer within {0:g} s".format(timeout)
        elif isinstance(exc, OSError) and exc.errno == errno.ECONNREFUSED:
            text = "connection refused"
        answer["error"] = text or type(exc).__name__
    finally:
        if connection is not None:
            connection.close()
    answer["seconds"] = round(time.monotonic() - started, 3)
    return answer


def http_request(host, port, path, header=None, login=None, method="GET", fields=None):
    """The bytes of a request. header: name of the server, by default its address. login: ``user:password``. fields:
    further headers, ``{name: text}``."""
    name = header or "{0}:{1}".format("[{0}]".format(host) if ":" in host else host, port)
    lines = ["{0} {1} HTTP/1.1".format(method, path), "Host: " + name, "Accept-Encoding: identity", "Connection: close"]
    lines += ["{0}: {1}".format(key, fields[key]) for key in sorted(fields or {})]
    if login:
        lines.append("Authorization: Basic " + base64.b64encode(login.encode("utf-8")).decode("ascii"))
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8")


def http_reply(data):
    """``{"status": int, "body": bytes, "complete": bool, "endless": bool}`` of an answer as far as it came in, None
    while its head is not complete. complete: no more will come. endless: only the end of the connection tells that.
    Raises ValueError for what is no HTTP."""
    if not data.startswith(b"HTTP/"[:len(data)]):
        raise ValueError("expected HTTP, found something else")
    head, mark, body = data.partition(b"\r\n\r\n")
    if not mark:
        return None
    lines = head.decode("latin-1").split("\r\n")
    fields = dict((name.strip().lower(), value.strip().lower()) for name, dummy, value in
                  (line.partition(":") for line in lines[1:]))
    words = lines[0].split()
    status = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
    if not 100 <= status <= 999:
        raise ValueError("expected an HTTP status, found {0}".format(lines[0][:80]))
    if status == 100:
        return http_reply(body) if body else None
    endless = False
    if fields.get("transfer-encoding") == "chunked":
        body, complete = _unchunk(body)
    else:
        length = fields.get("content-length", "")
        complete = status in (204, 304) or length.isdigit() and len(body) >= int(length)
        endless = not complete and not length.isdigit()
        body = body[:int(length)] if length.isdigit() else body
    return {"status": status, "body": body, "complete": complete, "endless": endless}


def _unchunk(data):
    """``(body, complete)`` of a chunked body (RFC 7230, 4.1), as far as it came in."""
    parts = []
    while True:
        size, mark, rest = data.partition(b"\r\n")
        if not mark:
            return b"".join(parts), False
        length = int(size.split(b";")[0], 16)
        if not length:
            return b"".join(parts), True
        parts.append(rest[:length])
        data = rest[length + 2:]
