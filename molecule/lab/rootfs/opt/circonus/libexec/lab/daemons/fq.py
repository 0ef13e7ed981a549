"""FQ's wire protocol, as far as the stand-ins speak it, and a client.

Two connections per client: the command one logs in (user, queue with its type behind a NUL, password) and gets a key,
binds a queue to an exchange with a program and answers heartbeats; the data one starts with the key, then messages.
Numbers are big-endian; names have a length of one byte in messages and of two in commands.
"""

import os
import socket
import struct
import threading

from daemons.net import Closed, Stream

PORT = 8765
CMD_MODE, DATA_MODE = 0xCC50CAFE, 0xCC50FACE
ERROR, AUTH_CMD, AUTH_PLAIN, AUTH_RESP = 0xEEEE, 0xAAAA, 0, 0xAA00
HBREQ, HB, BINDREQ, BIND = 0x4848, 0xBEA7, 0xB170, 0xB171
BIND_TRANS, BIND_PERM = 0x0100, 0x0110
EXCHANGE = "noit.firehose"


def u16(value):
    return struct.pack(">H", value)


def short(data):
    data = data.encode() if isinstance(data, str) else data
    return u16(len(data)) + data


def tiny(data):
    data = data.encode() if isinstance(data, str) else data
    return bytes([len(data)]) + data


def read_u16(stream):
    return struct.unpack(">H", stream.exactly(2))[0]


def read_u32(stream):
    return struct.unpack(">I", stream.exactly(4))[0]


def read_short(stream):
    return stream.exactly(read_u16(stream))


def read_tiny(stream):
    return stream.exactly(stream.exactly(1)[0])


def published(route, payload, exchange=EXCHANGE):
    """A message as a client sends it."""
    return tiny(route) + tiny(exchange) + os.urandom(16) + struct.pack(">I", len(payload)) + payload


def read_published(stream):
    """(route, exchange, id, payload) of a client's message."""
    route, exchange, ident = read_tiny(stream), read_tiny(stream), stream.exactly(16)
    return route, exchange, ident, stream.exactly(read_u32(stream))


def delivered(route, exchange, ident, sender, payload):
    """A message as the server hands it on: sender and no hops."""
    return tiny(route) + tiny(exchange) + ident + tiny(sender) + b"\0" + struct.pack(">I", len(payload)) + payload


def read_delivered(stream):
    """(route, payload) of a message from the server."""
    route, _exchange, _ident, _sender = read_tiny(stream), read_tiny(stream), stream.exactly(16), read_tiny(stream)
    stream.exactly(4 * stream.exactly(1)[0])
    return route, stream.exactly(read_u32(stream))


class Client:
    """A connected client. queue "" asks for a private one of its own, as publishers have it."""

    def __init__(self, host, user, queue="", kind="mem:drop", port=PORT, seconds=5.0):
        self.host = host
        self.lost = None
        self.lock = threading.Lock()
        queue = queue or "q-%s" % random_uuid()
        self.command = Stream(socket.create_connection((host, port), seconds))
        self.command.sock.sendall(
            struct.pack(">I", CMD_MODE)
            + u16(AUTH_CMD)
            + u16(AUTH_PLAIN)
            + short(user)
            + short(queue.encode() + b"\0" + kind.encode())
            + short("")
        )
        kind = read_u16(self.command)
        if kind != AUTH_RESP:
            raise Closed("fqd on %s refused: %s" % (host, read_short(self.command).decode(errors="replace")))
        key = read_short(self.command)
        self.data = Stream(socket.create_connection((host, port), seconds))
        self.data.sock.sendall(struct.pack(">I", DATA_MODE) + short(key))
        self.data.sock.settimeout(None)

    def bind(self, program, exchange=EXCHANGE, flags=BIND_TRANS):
        self.command.sock.sendall(u16(BINDREQ) + u16(flags) + short(exchange) + short(program))
        self.expect(BIND)
        return read_u32(self.command)

    def expect(self, kind):
        found = read_u16(self.command)
        if found == ERROR:
            raise Closed("fqd on %s: %s" % (self.host, read_short(self.command).decode(errors="replace")))
        if found != kind:
            raise Closed("fqd on %s: expected 0x%04x, found 0x%04x" % (self.host, kind, found))

    def heartbeat(self):
        """Raises when the server is gone."""
        if self.lost:
            raise Closed("connection to fqd on %s lost: %s" % (self.host, self.lost))
        with self.lock:
            self.command.sock.sendall(u16(HB))
            self.expect(HB)

    def publish(self, route, payload):
        self.data.sock.sendall(published(route, payload))

    def consume(self, handle):
        """Call handle(route, payload) for every message, in a thread of its own."""

        def work():
            try:
                while True:
                    handle(*read_delivered(self.data))
            except (OSError, Closed) as exc:
                self.lost = str(exc) or repr(exc)

        threading.Thread(target=work, daemon=True).start()

    def close(self):
        for stream in (self.command, self.data):
            stream.sock.close()


def random_uuid():
    text = os.urandom(16).hex()
    return "-".join((text[:8], text[8:12], "4" + text[13:16], "8" + text[17:20], text[20:]))
