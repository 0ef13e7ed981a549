"""Servers of the stand-ins: listeners, HTTP, TLS, and JSON as json-c and libmtev write it.

Small on purpose: http.server or asyncio would double the memory of a stand-in. Every connection has its thread.
"""

import json
import socket
import threading
import time

MAX_HEAD = 65536
MAX_BODY = 16 * 1024 * 1024
IDLE_SECONDS = 60.0
REASONS = {200: "OK", 201: "Created", 204: "No Content", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden"}
REASONS.update({404: "Not Found", 405: "Method Not Allowed", 500: "Internal Server Error", 503: "Service Unavailable"})


class Closed(Exception):
    """The other side went away."""


class Stream:
    """A connection with the little buffering that line and length protocols need."""

    def __init__(self, sock, already=b""):
        self.sock = sock
        self.buffer = already

    def fill(self):
        data = self.sock.recv(65536)
        if not data:
            raise Closed("connection closed")
        self.buffer += data

    def peek(self, size):
        while len(self.buffer) < size:
            self.fill()
        return self.buffer[:size]

    def exactly(self, size):
        data = self.peek(size)
        self.buffer = self.buffer[size:]
        return data

    def until(self, mark, limit=MAX_HEAD):
        while mark not in self.buffer:
            if len(self.buffer) > limit:
                raise Closed("line too long")
            self.fill()
        data, _, self.buffer = self.buffer.partition(mark)
        return data


class Request:
    """One HTTP request; cn: name in the client's certificate, "" without one."""

    def __init__(self, method, target, headers, body, cn="", peer=""):
        self.method, self.headers, self.body, self.cn, self.peer = method, headers, body, cn, peer
        self.path, _, text = target.partition("?")
        pairs = (part.partition("=") for part in text.split("&") if part)
        self.query = {key: value for key, _, value in pairs}


def read_request(stream, cn="", peer=""):
    """Return (Request, keep the connection?)."""
    lines = stream.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
    words = lines[0].split()
    if len(words) != 3:
        raise Closed("not HTTP")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    length = headers.get("content-length") or "0"
    if not length.isdigit() or int(length) > MAX_BODY:
        raise Closed("bad length")
    keep = words[2] == "HTTP/1.1" and headers.get("connection", "").lower() != "close"
    return Request(words[0], words[1], headers, stream.exactly(int(length)), cn, peer), keep


def answer(status, content, kind="application/json", version="HTTP/1.1", keep=False, reason=None):
    """The bytes of a response; content: bytes or text."""
    body = content if isinstance(content, bytes) else content.encode()
    head = "%s %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: %s\r\n\r\n" % (
        version,
        status,
        reason or REASONS.get(status, "Unknown"),
        kind,
        len(body),
        "keep-alive" if keep else "close",
    )
    return head.encode() + body


def serve_http(stream, respond, cn="", peer="", note=None):
    """Answer requests of one connection; respond(request) -> (status, content, content type)."""
    while True:
        request, keep = read_request(stream, cn, peer)
        began = time.monotonic()
        try:
            status, content, kind = respond(request)
        except Exception as exc:  # a fault of one request is an answer, not the end of the daemon
            status, content, kind = 500, json.dumps({"error": str(exc) or repr(exc)}) + "\n", "application/json"
        out = answer(status, b"" if request.method == "HEAD" else content, kind, keep=keep)
        stream.sock.sendall(out)
        if note:
            note(request, status, len(out), time.monotonic() - began)
        if not keep:
            return


def common_name(sock):
    """CN of the client certificate of a TLS connection, "" when there is none."""
    certificate = sock.getpeercert() if hasattr(sock, "getpeercert") else None
    for part in (certificate or {}).get("subject", ()):
        for key, value in part:
            if key == "commonName":
                return value
    return ""


def server_tls(certificate, key, ca=None):
    """A server's context; with ca, clients must show a certificate of it."""
    import ssl  # only where it is used: it costs some megabytes

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    if ca:
        context.load_verify_locations(ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_tls(certificate, key, ca, crl=None):
    """A client's context that shows its own certificate; with crl, revoked certificates and an expired list refuse."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # brokers are known by address; their certificate's name is shown as Remote CN
    context.load_verify_locations(ca)
    context.load_cert_chain(certificate, key)
    if crl:
        context.load_verify_locations(crl)
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    return context


class Listener(threading.Thread):
    """Accepts connections and gives each to handle(stream, peer address, cn) in a thread of its own."""

    def __init__(self, port, handle, host="0.0.0.0", tls=None, path=None):
        super().__init__(daemon=True)
        if path:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.bind(path)
        else:
            self.sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.sock.bind((host, port))
        self.sock.listen(64)
        self.port = None if path else self.sock.getsockname()[1]
        self.handle, self.tls = handle, tls
        self.start()

    def run(self):
        while True:
            try:
                sock, address = self.sock.accept()
            except OSError:
                return
            peer = "%s:%s" % address[:2] if address else "local"
            threading.Thread(target=self.connection, args=(sock, peer), daemon=True).start()

    def connection(self, sock, peer):
        try:
            sock.settimeout(IDLE_SECONDS)
            if self.tls:
                sock = self.tls.wrap_socket(sock, server_side=True)
            self.handle(Stream(sock), peer, common_name(sock))
        except (OSError, Closed):
            pass  # every kind of network end; TLS errors are OSErrors too
        finally:
            sock.close()

    def close(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()


def http_listener(port, respond, host="0.0.0.0", tls=None, note=None, path=None):
    return Listener(port, lambda stream, peer, cn: serve_http(stream, respond, cn, peer, note), host, tls, path)


def fetch(host, port, target, method="GET", body=b"", headers=(), tls=None, seconds=5.0):
    """One request as a client; (status, headers, body). Network errors come as OSError or Closed."""
    sock = socket.create_connection((host, port), seconds)
    try:
        if tls:
            sock = tls.wrap_socket(sock)
        lines = ["%s %s HTTP/1.1" % (method, target), "Host: %s" % host, "Connection: close"]
        lines += ["Content-Length: %d" % len(body)] if body or method in ("POST", "PUT") else []
        lines += ["%s: %s" % pair for pair in headers]
        sock.sendall("\r\n".join([*lines, "", ""]).encode() + body)
        stream = Stream(sock)
        head = stream.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        found = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        if "content-length" in found:
            content = stream.exactly(int(found["content-length"]))
        else:
            try:
                while True:
                    stream.fill()
            except Closed:
                content = stream.buffer
        return int(head[0].split()[1]), found, content
    finally:
        sock.close()


def leaf(value):
    """libmtev's statistics leaf."""
    if isinstance(value, str):
        return {"_type": "s", "_value": value}
    return {"_type": "n" if isinstance(value, float) else "l", "_value": value}


def leaves(value):
    """Nested objects whose leaves are libmtev's."""
    return {key: leaves(item) for key, item in value.items()} if isinstance(value, dict) else leaf(value)


def json_c(value):
    """JSON with json-c's default spacing and escaped slashes, as noitd and stratcond print it."""
    if isinstance(value, dict):
        pairs = ", ".join("%s: %s" % (json_c(key), json_c(item)) for key, item in value.items())
        return "{ %s }" % pairs if pairs else "{ }"
    if isinstance(value, (list, tuple)):
        items = ", ".join(map(json_c, value))
        return "[ %s ]" % items if items else "[ ]"
    return json.dumps(value).replace("/", "\\/")
