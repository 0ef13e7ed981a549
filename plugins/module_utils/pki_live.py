# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What TLS ports present, seen from this host: the non-interactive form of the manual's ``openssl s_client``.

Every handshake has a deadline of its own and runs in a thread, so that a port that hangs holds up nobody. The side that
asks speaks TLS 1.2 first: there the certificates that a server presents and whether it asks for one of ours are read
from the handshake on every Python, and a server that refuses our certificate says so before the handshake ends, not
somewhen after it. TLS 1.3 is spoken to tell what a server prefers, and where it is all that a server has.

A private key is read by ``ssl.load_cert_chain`` of this host and by nobody else.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import base64
import errno
import hashlib
import os
import select
import socket
import threading
import time

CHANGE_CIPHER, ALERT, HANDSHAKE, DATA = 20, 21, 22, 23
CERTIFICATE, CERTIFICATE_REQUEST = 11, 13
WORKERS = 32
#: A server that does not like our certificate says so after a handshake in TLS 1.3, and within this time.
AFTER_S = 0.5


# -- the bytes of a handshake -----------------------------------------------------------------------------------------


def records(raw):
    """[(type, payload)] of the TLS records in ``raw``; [] when they are none. Pure."""
    raw, found, position = bytearray(raw), [], 0
    while position + 5 <= len(raw) and CHANGE_CIPHER <= raw[position] <= DATA:
        size = raw[position + 3] << 8 | raw[position + 4]
        found.append((raw[position], bytes(raw[position + 5:position + 5 + size])))
        position += 5 + size
    return found


def messages(raw):
    """[(type, body)] of the handshake messages that are not encrypted. Pure."""
    data = bytearray()
    for kind, payload in records(raw):
        if kind == CHANGE_CIPHER:
            break
        if kind == HANDSHAKE:
            data += payload
    found, position = [], 0
    while position + 4 <= len(data):
        size = data[position + 1] << 16 | data[position + 2] << 8 | data[position + 3]
        if position + 4 + size > len(data):
            break
        found.append((data[position], bytes(data[position + 4:position + 4 + size])))
        position += 4 + size
    return found


def presented(raw):
    """DER of the certificates that a server sent up to TLS 1.2, the leaf first; [] without any. Pure."""
    found = []
    for kind, body in messages(raw):
        if kind != CERTIFICATE:
            continue
        body, position = bytearray(body), 3
        while position + 3 <= len(body):
            size = body[position] << 16 | body[position + 1] << 8 | body[position + 2]
            found.append(bytes(body[position + 3:position + 3 + size]))
            position += 3 + size
        break
    return found


def is_tls(raw):
    """Whether bytes begin a TLS record. Pure."""
    return bool(raw) and CHANGE_CIPHER <= bytearray(raw)[0] <= DATA and (len(raw) < 2 or bytearray(raw)[1] == 3)


def first_line(raw):
    """The beginning of what a port said that speaks no TLS, harmless to print. Pure."""
    text = bytes(raw[:60]).splitlines()[0].decode("latin-1")
    return "".join(char if " " <= char <= "~" else "." for char in text).strip()


def words(reason):
    """``unknown ca`` of TLSV1_ALERT_UNKNOWN_CA, None when it is no alert. Pure."""
    _before, sep, after = (reason or "").partition("_ALERT_")
    return after.replace("_", " ").lower() if sep else None


# -- one handshake ----------------------------------------------------------------------------------------------------


class LocalProblem(Exception):
    """A file of this host that the handshake needs cannot be used."""


def make_context(pair=None, trust=None, newest=False):
    """A client's SSLContext. pair: (certificate, key). trust: files of authorities and CRLs; nobody is checked without.

    Raises LocalProblem. Whatever strength a key or protocol has is accepted here: that is a finding of its own.
    """
    import ssl

    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    made.options |= getattr(ssl, "OP_LEGACY_SERVER_CONNECT", 0x4)  # as every OpenSSL before 3 does
    try:
        made.set_ciphers("DEFAULT:@SECLEVEL=0")
    except ssl.SSLError:
        pass  # OpenSSL before 1.1 has no levels
    if hasattr(ssl, "TLSVersion"):
        made.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        if not newest:
            made.maximum_version = ssl.TLSVersion.TLSv1_2
    elif not newest:
        made.options |= getattr(ssl, "OP_NO_TLSv1_3", 0)
    _load(made, ssl, pair, trust or {})
    return made


def _load(made, ssl, pair, trust):
    for path in list(pair or []) + [trust[name] for name in ("ca", "crl") if trust.get(name)]:
        if not os.path.isfile(path):
            raise LocalProblem("{0} is not there".format(path))
    try:
        if trust.get("ca"):
            what = trust["ca"]
            made.load_verify_locations(trust["ca"])
            made.verify_mode = ssl.CERT_REQUIRED
        if trust.get("crl"):
            what = trust["crl"]
            made.load_verify_locations(trust["crl"])
            made.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
        if pair:
            what = "{0} and {1}".format(*pair)
            made.load_cert_chain(pair[0], pair[1], password=lambda: "")
    except (IOError, OSError, ValueError) as exc:
        why = getattr(exc, "reason", None) or getattr(exc, "strerror", None) or "not PEM"
        raise LocalProblem("{0} cannot be used ({1})".format(what, why.replace("_", " ").lower()))


def handshake(address, port, timeout, sni=None, pair=None, trust=None, newest=False, linger=False):
    """One connection. Never raises for what the network or the other side does.

    Returns ``{"outcome", "detail", "protocol", "cipher", "chain": [DER], "asks", "alert"}``. outcome: ``ok``;
    ``unreachable`` (no TCP connection); ``hung`` (nobody answers on it); ``plain`` (an answer that is no TLS);
    ``closed`` (ended without any answer); ``refused`` (the other side ended the handshake; ``alert`` says why);
    ``untrusted`` (this side does not trust the other one); ``failed`` (the two have nothing in common); ``local`` (a
    file of this host cannot be used). asks: whether a certificate was asked for, None when that cannot be told.
    linger: wait for what a server says of our certificate after a handshake in TLS 1.3.
    """
    import ssl

    result = {"outcome": "ok", "detail": "", "protocol": None, "cipher": None, "chain": [], "asks": None, "alert": None}
    try:
        made = make_context(pair, trust, newest)
    except LocalProblem as exc:
        return dict(result, outcome="local", detail=str(exc))
    end = time.time() + timeout
    try:
        sock = socket.create_connection((address, int(port)), timeout)
    except (OSError, UnicodeError) as exc:
        return dict(result, outcome="unreachable", detail=_why(exc, timeout))
    try:
        result = _talk(ssl, made, sock, end, timeout, sni, result, linger)
    finally:
        sock.close()
    return result


def _why(exc, timeout):
    if isinstance(exc, socket.timeout) or getattr(exc, "errno", None) in (errno.ETIMEDOUT, errno.EAGAIN):
        return "no answer within {0:g} s".format(timeout)
    if isinstance(exc, socket.gaierror):
        return "the name cannot be resolved"
    return (getattr(exc, "strerror", None) or str(exc) or type(exc).__name__).lower()


class _Pump:
    """Carries bytes between a socket and an SSLObject, and keeps what came."""

    def __init__(self, ssl, made, sock, sni):
        self.raw, self.sock = bytearray(), sock
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = made.wrap_bio(self.incoming, self.outgoing, server_hostname=sni or None)
        self.ended = False

    def flush(self, end):
        data = self.outgoing.read()
        if data:
            self.sock.settimeout(max(0.01, end - time.time()))
            self.sock.sendall(data)

    def fill(self, end):
        """Waits for bytes; False when the time is over."""
        left = end - time.time()
        if left <= 0 or not select.select([self.sock], [], [], left)[0]:
            return False
        data = self.sock.recv(65536)
        if data:
            self.raw += data[:max(0, 262144 - len(self.raw))]
            self.incoming.write(data)
        else:
            self.ended = True
            self.incoming.write_eof()
        return True


def _talk(ssl, made, sock, end, timeout, sni, result, linger):
    pump = _Pump(ssl, made, sock, sni)
    step, finished = pump.tls.do_handshake, False
    try:
        while not finished:
            try:
                step()
                finished = True
            except ssl.SSLWantReadError:
                pump.flush(end)
                if not pump.fill(end):
                    result.update(_seen(pump))
                    return dict(result, outcome="hung", detail="no answer within {0:g} s".format(timeout))
        pump.flush(end)
        result.update(_seen(pump), protocol=pump.tls.version(), cipher=pump.tls.cipher()[0])
        if linger and result["protocol"] == "TLSv1.3":
            _listen(ssl, pump, min(end, time.time() + AFTER_S))
    except ssl.SSLError as exc:
        try:
            pump.flush(end)
        except OSError:
            pass  # an alert to somebody who has left
        return dict(result, **dict(_seen(pump), **_failure(exc, pump)))
    except (OSError, ValueError) as exc:
        result.update(_seen(pump))
        if isinstance(exc, socket.timeout):
            return dict(result, outcome="hung", detail=_why(exc, timeout))
        outcome = "refused" if pump.raw else "closed"
        return dict(result, outcome=outcome, detail="the connection was ended ({0})".format(_why(exc, timeout)))
    return result


def _listen(ssl, pump, end):
    """In TLS 1.3 a server judges our certificate after the handshake; raises when it says no."""
    while True:
        try:
            pump.tls.read(1)
            return
        except ssl.SSLWantReadError:
            if not pump.fill(end):
                return
        except ssl.SSLEOFError:
            return  # gone without a word: it had nothing to say to an idle client


def _seen(pump):
    """What the other side presented so far."""
    kinds = [kind for kind, _body in messages(pump.raw)]
    chain = presented(pump.raw)
    asks = CERTIFICATE_REQUEST in kinds if chain else None
    if not chain:
        try:
            chain = _chain(pump.tls)
        except Exception:  # not in this version of Python, or not far enough
            chain = []
    return {"chain": chain, "asks": asks}


def _chain(tls):
    """The certificates of a TLS 1.3 handshake; only the leaf before Python 3.10."""
    if hasattr(tls, "get_unverified_chain"):
        return list(tls.get_unverified_chain())
    inner = getattr(tls, "_sslobj", None)
    if hasattr(inner, "get_unverified_chain"):
        import _ssl

        return [item.public_bytes(_ssl.ENCODING_DER) for item in inner.get_unverified_chain() or []]
    leaf = tls.getpeercert(True)
    return [leaf] if leaf else []


def _failure(exc, pump):
    """Outcome of a handshake that broke off."""
    reason = getattr(exc, "reason", None) or ""
    alert = words(reason)
    if pump.raw and not is_tls(pump.raw):
        return {"outcome": "plain", "detail": first_line(pump.raw) or "bytes that are no TLS"}
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        return {"outcome": "untrusted", "detail": getattr(exc, "verify_message", None) or "certificate verify failed"}
    if alert:
        return {"outcome": "refused", "detail": alert, "alert": alert}
    if pump.ended:
        if pump.raw:
            return {"outcome": "refused", "detail": "the connection was ended during the handshake"}
        return {"outcome": "closed", "detail": "the connection was ended without an answer"}
    if not reason:
        return {"outcome": "refused", "detail": "an alert that this Python has no name for"}
    return {"outcome": "failed", "detail": reason.replace("_", " ").lower()}


# -- what is asked of one port ----------------------------------------------------------------------------------------


def only_newest(seen):
    """Whether a server has nothing older than TLS 1.3. Pure."""
    return seen["outcome"] in ("refused", "failed") and (
        seen["alert"] == "protocol version" or "protocol" in seen["detail"] or "version" in seen["detail"])


def connect(address, port, timeout, **options):
    """:func:`handshake` in TLS 1.2, in TLS 1.3 where there is nothing else."""
    seen = handshake(address, port, timeout, **options)
    return handshake(address, port, timeout, newest=True, linger=True, **options) if only_newest(seen) else seen


def look_port(item, timeout):
    """A port of this host: what it presents, with and without SNI, with and without a certificate of ours.

    item: ``address``, ``else_address`` (where nobody listens on the first), ``port``, ``sni``, ``cert``, ``key``.
    Returns ``{"outcome", "detail", "alert", "protocol", "cipher", "chain": [base64], "asks", "pair": problem of our own
    pair, "default_chain": [base64] (without SNI, only when it is another one), "anonymous": the outcome without a
    certificate, "anonymous_detail"}``.
    """
    address, port, sni = item.get("address") or "127.0.0.1", item["port"], item.get("sni")
    pair = (item["cert"], item["key"]) if item.get("cert") and item.get("key") else None
    seen, problem = connect(address, port, timeout, sni=sni, pair=pair), ""
    if seen["outcome"] == "unreachable" and item.get("else_address"):
        address = item["else_address"]
        seen = connect(address, port, timeout, sni=sni, pair=pair)
    if seen["outcome"] == "local":
        problem, pair = seen["detail"], None
        seen = connect(address, port, timeout, sni=sni)
    result = {name: seen[name] for name in ("outcome", "detail", "alert", "protocol", "cipher", "asks")}
    result.update(pair=problem, chain=_text(seen["chain"]), default_chain=[], anonymous=None, anonymous_detail="")
    if seen["outcome"] not in ("ok", "refused"):
        return result
    if pair:
        without = connect(address, port, timeout, sni=sni)
        result.update(anonymous=without["outcome"], anonymous_detail=without["detail"])
    else:
        result.update(anonymous=seen["outcome"], anonymous_detail=seen["detail"])
    default = connect(address, port, timeout, pair=pair)
    if default["chain"][:1] != seen["chain"][:1]:
        result["default_chain"] = _text(default["chain"])
    newest = handshake(address, port, timeout, sni=sni, pair=pair, newest=True)
    if newest["protocol"]:
        result.update(protocol=newest["protocol"], cipher=newest["cipher"])
    return result


def look_peer(item, timeout):
    """A connection that a role of this host needs: the peer is checked against ca (and crl), the pair is shown to it.

    item: ``address``, ``port``, ``sni``, ``ca``, ``crl``, ``cert``, ``key``. Returns ``{"outcome", "detail", "alert",
    "protocol", "cipher", "sha256" (of the leaf), "chain": [base64] (only of a peer that is not trusted), "seconds"}``.
    """
    started = time.time()
    seen = connect(item["address"], item["port"], timeout, sni=item.get("sni"), pair=(item["cert"], item["key"]),
                   trust={"ca": item["ca"], "crl": item.get("crl")})
    result = {name: seen[name] for name in ("outcome", "detail", "alert", "protocol", "cipher")}
    chain = seen["chain"]
    if seen["outcome"] == "untrusted" and not chain:
        chain = connect(item["address"], item["port"], timeout, sni=item.get("sni"))["chain"]
    result["sha256"] = hashlib.sha256(chain[0]).hexdigest() if chain else None
    result["chain"] = _text(chain) if seen["outcome"] == "untrusted" else []
    result["seconds"] = round(time.time() - started, 3)
    return result


def _text(chain):
    return [base64.b64encode(der).decode("ascii") for der in chain[:10]]


# -- all of a host ----------------------------------------------------------------------------------------------------


class Looks:
    """All connections of a host at once, in the background; :meth:`finish` waits for them until the deadline."""

    def __init__(self, ports=(), peers=(), timeout=3.0, deadline=15.0, clock=time.time):
        self.clock, self.deadline = clock, deadline
        self.end = clock() + deadline
        self.todo = [(look_port, dict(item)) for item in ports] + [(look_peer, dict(item)) for item in peers]
        self.done, self.timeout, self.split = [None] * len(self.todo), timeout, len(list(ports))
        self.next, self.lock = 0, threading.Lock()
        self.threads = [threading.Thread(target=self._work) for _number in range(min(WORKERS, len(self.todo)))]
        for thread in self.threads:
            thread.daemon = True  # a name server or a file that hangs must not keep the module alive
            thread.start()

    def _work(self):
        while True:
            with self.lock:
                number = self.next
                self.next += 1
            left = self.end - self.clock()
            if number >= len(self.todo) or left <= 0:
                return
            look, item = self.todo[number]
            try:
                found = look(item, min(self.timeout, left))
            except Exception as exc:  # one strange port must not hide the others
                found = {"outcome": "local", "detail": "{0}: {1}".format(type(exc).__name__, exc), "chain": []}
            self.done[number] = dict(item, **found)

    def finish(self):
        """``{"ports": [...], "peers": [...]}`` in the order they were asked for, each item with what was found.

        What was begun and has not come back is ``hung``; what was not begun is ``skipped``.
        """
        for thread in self.threads:
            thread.join(max(0.0, self.end - self.clock()))
        with self.lock:
            begun, self.next = self.next, len(self.todo)
        found = []
        for number, (_look, item) in enumerate(self.todo):
            outcome = "hung" if number < begun else "skipped"
            nothing = {"outcome": outcome, "detail": "no answer within {0:g} s".format(self.deadline), "alert": None,
                       "protocol": None, "cipher": None, "chain": [], "sha256": None}
            found.append(self.done[number] or dict(item, **nothing))
        return {"ports": found[:self.split], "peers": found[self.split:]}
