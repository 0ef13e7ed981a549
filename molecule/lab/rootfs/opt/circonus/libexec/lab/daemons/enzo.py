"""Role web_stream, websockets of live metrics: circonus-enzo-c on 9080 and 9443; 2019: circonus-enzo on 9443."""

import base64
import hashlib
import threading

from daemons import net
from daemons.base import Daemon

STEM = "/opt/circonus/etc/enzo/stream"
TLS_PORT, PLAIN_PORT = 9443, 9080
ACCEPT = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455


def frame(text):
    """A text frame from the server, up to 64 KiB."""
    data = text.encode()[:65535]
    size = bytes([len(data)]) if len(data) < 126 else b"\x7e" + len(data).to_bytes(2, "big")
    return b"\x81" + size + data


def accepted(key):
    return base64.b64encode(hashlib.sha1((key + ACCEPT).encode()).digest()).decode()


class Enzo(Daemon):
    uses_queue = False
    reconnects = True
    interval = 2.0
    fq_program = 'prefix:"check."'
    port = TLS_PORT

    def __init__(self, kind="enzo-c"):
        self.name = kind
        super().__init__()
        self.viewers = []
        self.lock = threading.Lock()

    def metric(self, route, payload):
        self.counters["processed"] += 1
        data = frame(payload.decode(errors="replace"))
        with self.lock:
            viewers = list(self.viewers)
        for sock in viewers:
            try:
                sock.sendall(data)
            except OSError:
                self.forget(sock)

    def forget(self, sock):
        with self.lock:
            if sock in self.viewers:
                self.viewers.remove(sock)

    def serve(self):
        net.Listener(TLS_PORT, self.viewer, tls=net.server_tls(STEM + ".crt", STEM + ".key"))
        if self.name == "enzo-c":
            net.Listener(PLAIN_PORT, self.viewer)

    def viewer(self, stream, peer, _cn):
        request, _keep = net.read_request(stream, "", peer)
        key = request.headers.get("sec-websocket-key")
        if request.headers.get("upgrade", "").lower() != "websocket" or not key:
            stream.sock.sendall(net.answer(200, "LAB STAND-IN of web_stream: open a websocket\n", "text/plain"))
            return
        lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
        stream.sock.sendall("\r\n".join([*lines, "Sec-WebSocket-Accept: " + accepted(key), "", ""]).encode())
        with self.lock:
            self.viewers.append(stream.sock)
        try:
            stream.sock.settimeout(None)
            while stream.exactly(1):  # what viewers ask for is not looked at: everybody gets everything
                pass
        finally:
            self.forget(stream.sock)

    def work(self):
        self.check_firehose()
        self.execute("SELECT 1")
