# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Handshakes with real servers on this machine: honest ones, and every kind that an audit must not fall for."""
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import base64
import hashlib
import os
import socket
import ssl
import subprocess
import threading
import time
import warnings

import pytest
from ansible_collections.circonus.inside.plugins.module_utils import pki_live


def openssl(*argv):
    done = subprocess.Popen(["openssl"] + list(argv), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = done.communicate()
    assert done.returncode == 0, err
    return out


class Pki(object):
    """Two authorities, ``ca`` and ``other``, and what they have issued, each <name>.crt and <name>.key."""

    def __init__(self, where):
        self.where = str(where)
        for name in ("ca", "other"):
            openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "9",
                    "-subj", "/CN=" + name, "-keyout", self.path(name + ".key"), "-out", self.path(name + ".crt"))
        for name in ("server", "client", "vhost"):
            self.issue(name)
        self.issue("stranger", "other")
        self.issue("old", days="-1")
        openssl("pkey", "-in", self.path("client.key"), "-aes128", "-passout", "pass:word", "-out",
                self.path("locked.key"))

    def path(self, name):
        return os.path.join(self.where, name)

    def pair(self, name):
        return self.path(name + ".crt"), self.path(name + ".key")

    def issue(self, name, by="ca", days="5"):
        openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj",
                "/CN=" + name, "-keyout", self.path(name + ".key"), "-out", self.path(name + ".csr"))
        if days.startswith("-"):
            configuration = self.path("x.cnf")
            with open(configuration, "w") as handle:
                handle.write("[ca]\ndefault_ca=x\n[x]\ndatabase={0}/index\nserial={0}/serial\nnew_certs_dir={0}\n"
                             "default_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n".format(self.where))
            for path, text in (("index", ""), ("serial", "77\n")):
                with open(self.path(path), "w") as handle:
                    handle.write(text)
            openssl("ca", "-batch", "-config", configuration, "-in", self.path(name + ".csr"), "-cert",
                    self.path(by + ".crt"), "-keyfile", self.path(by + ".key"), "-startdate", "20200101000000Z",
                    "-enddate", "20200201000000Z", "-out", self.path(name + ".crt"))
        else:
            openssl("x509", "-req", "-in", self.path(name + ".csr"), "-CA", self.path(by + ".crt"), "-CAkey",
                    self.path(by + ".key"), "-set_serial", str(abs(hash(name)) % 99999), "-days", days, "-out",
                    self.path(name + ".crt"))

    def sha256(self, name):
        return hashlib.sha256(openssl("x509", "-in", self.path(name + ".crt"), "-outform", "DER")).hexdigest()


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return Pki(tmp_path_factory.mktemp("pki"))


class Server(object):
    """A port on loopback; ``serve(connection)`` in a thread for each connection, ended with the fixture."""

    def __init__(self, serve):
        self.sock = socket.socket()
        self.sock.bind(("127.0.0.1", 0))
        self.sock.listen(20)
        self.port, self.serve, self.kept, self.count = self.sock.getsockname()[1], serve, [], 0
        thread = threading.Thread(target=self.run)
        thread.daemon = True
        thread.start()

    def run(self):
        while True:
            try:
                connection = self.sock.accept()[0]
            except OSError:
                return
            self.count += 1
            self.kept.append(connection)
            thread = threading.Thread(target=self.one, args=(connection,))
            thread.daemon = True
            thread.start()

    def one(self, connection):
        try:
            self.serve(connection)
        except (OSError, ValueError):
            connection.close()

    def close(self):
        self.sock.close()
        for connection in self.kept:
            connection.close()


@pytest.fixture
def serve():
    """serve(function) starts a server and gives its port."""
    servers = []

    def start(function):
        servers.append(Server(function))
        return servers[-1].port

    start.servers = servers
    yield start
    for server in servers:
        server.close()


def tls(pki, name="server", clients=None, newest=None, vhosts=(), optional=False):
    """What a TLS server does: shows a certificate (by SNI another), may ask for one, waits until the client goes."""
    def context(which):
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(*pki.pair(which))
        if clients:
            made.load_verify_locations(pki.path(clients + ".crt"))
            made.verify_mode = ssl.CERT_OPTIONAL if optional else ssl.CERT_REQUIRED
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if newest is False:
                made.options |= ssl.OP_NO_TLSv1_3
            if newest is True:
                made.options |= ssl.OP_NO_TLSv1_2 | ssl.OP_NO_TLSv1_1 | ssl.OP_NO_TLSv1
        return made

    first, others = context(name), {vhost: context(vhost) for vhost in vhosts}

    def choose(connection, sni, _context):
        if sni in others:
            connection.context = others[sni]

    if vhosts:
        first.set_servername_callback(choose)

    def handle(connection):
        connection = first.wrap_socket(connection, server_side=True)
        while connection.recv(100):
            pass

    return handle


def plain(connection):
    connection.recv(1000)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nServer: old\r\n\r\n")
    connection.close()


def hang(connection):
    connection.recv(1000)  # and never a word


def hang_up(connection):
    connection.recv(1000)
    connection.close()


def port(number, pki=None, name="client", timeout=2.0, **more):
    item = dict({"port": number, "sni": "app1"}, **more)
    if pki:
        item.update(cert=pki.pair(name)[0], key=pki.pair(name)[1])
    return pki_live.look_port(item, timeout)


def peer(number, pki, name="client", ca="ca", timeout=2.0, **more):
    cert, key = pki.pair(name)
    item = dict({"address": "127.0.0.1", "port": number, "sni": "app1", "ca": pki.path(ca + ".crt"), "cert": cert,
                 "key": key}, **more)
    return pki_live.look_peer(item, timeout)


def digest(chain):
    return hashlib.sha256(base64.b64decode(chain[0])).hexdigest()


class TestPort:
    def test_what_a_server_presents(self, pki, serve):
        found = port(serve(tls(pki)), pki)
        assert (found["outcome"], found["anonymous"], found["asks"]) == ("ok", "ok", False)
        assert digest(found["chain"]) == pki.sha256("server") and found["default_chain"] == []
        assert found["protocol"] in ("TLSv1.3", "TLSv1.2") and found["cipher"] and found["pair"] == ""

    def test_a_server_that_wants_a_certificate(self, pki, serve):
        found = port(serve(tls(pki, clients="ca")), pki)
        assert (found["outcome"], found["asks"]) == ("ok", True)
        assert found["anonymous"] == "refused" and found["anonymous_detail"]

    def test_a_server_that_only_asks(self, pki, serve):
        found = port(serve(tls(pki, clients="ca", optional=True)), pki)
        assert (found["outcome"], found["asks"], found["anonymous"]) == ("ok", True, "ok")

    def test_a_server_that_does_not_take_ours_shows_its_certificate_all_the_same(self, pki, serve):
        found = port(serve(tls(pki, clients="ca")), pki, "stranger")
        assert (found["outcome"], found["alert"]) == ("refused", "unknown ca")
        assert digest(found["chain"]) == pki.sha256("server")

    def test_a_server_of_tls_1_3_only(self, pki, serve):
        if not getattr(ssl, "HAS_TLSv1_3", False):
            pytest.skip("no TLS 1.3 here")
        found = port(serve(tls(pki, newest=True)), pki)
        assert (found["outcome"], found["protocol"], found["asks"]) == ("ok", "TLSv1.3", None)
        assert digest(found["chain"]) == pki.sha256("server")
        found = port(serve(tls(pki, newest=True, clients="ca")), pki, "stranger")
        assert (found["outcome"], found["alert"]) == ("refused", "unknown ca")
        assert port(serve(tls(pki, newest=True, clients="ca")), pki)["anonymous"] == "refused"

    def test_a_server_of_tls_1_2_only(self, pki, serve):
        found = port(serve(tls(pki, newest=False)), pki)
        assert (found["outcome"], found["protocol"]) == ("ok", "TLSv1.2")

    def test_another_certificate_by_name(self, pki, serve):
        found = port(serve(tls(pki, vhosts=["vhost"])), pki, sni="vhost")
        assert digest(found["chain"]) == pki.sha256("vhost") and digest(found["default_chain"]) == pki.sha256("server")

    def test_no_tls(self, serve):
        found = port(serve(plain))
        assert (found["outcome"], found["detail"]) == ("plain", "HTTP/1.1 400 Bad Request")

    def test_a_port_that_hangs_costs_its_timeout_once(self, serve):
        number, began = serve(hang), time.time()
        found = port(number, timeout=0.4)
        assert (found["outcome"], found["detail"]) == ("hung", "no answer within 0.4 s")
        assert time.time() - began < 10 and serve.servers[0].count == 1

    def test_a_port_that_hangs_up(self, serve):
        assert port(serve(hang_up))["outcome"] == "closed"

    def test_nobody_listens(self):
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            number = sock.getsockname()[1]
            found = port(number)
        assert (found["outcome"], found["detail"]) == ("unreachable", "connection refused")

    def test_a_port_that_listens_on_the_other_address_only(self, pki, serve):
        assert port(serve(tls(pki)), address="127.9.9.9", else_address="127.0.0.1")["outcome"] == "ok"

    @pytest.mark.parametrize("cert, key, why", [
        ("client.crt", "none.key", "is not there"), ("client.crt", "stranger.key", "key values mismatch"),
        ("client.crt", "locked.key", "cannot be used"), ("ca.key", "client.key", "cannot be used"),
    ])
    def test_a_pair_that_cannot_be_used_does_not_hide_what_the_server_shows(self, pki, serve, cert, key, why):
        found = port(serve(tls(pki)), cert=pki.path(cert), key=pki.path(key))
        assert found["outcome"] == "ok" and digest(found["chain"]) == pki.sha256("server")
        assert why in found["pair"] and "\n" not in found["pair"]


class TestPeer:
    def test_both_sides_agree(self, pki, serve):
        found = peer(serve(tls(pki, clients="ca")), pki)
        assert (found["outcome"], found["sha256"], found["chain"]) == ("ok", pki.sha256("server"), [])

    def test_a_peer_of_another_authority(self, pki, serve):
        found = peer(serve(tls(pki, "stranger")), pki)
        assert found["outcome"] == "untrusted" and digest(found["chain"]) == pki.sha256("stranger")
        assert "local issuer" in found["detail"] or "verify failed" in found["detail"]

    def test_a_peer_whose_certificate_has_expired(self, pki, serve):
        found = peer(serve(tls(pki, "old")), pki)
        assert found["outcome"] == "untrusted" and digest(found["chain"]) == pki.sha256("old")

    def test_a_peer_that_does_not_trust_ours(self, pki, serve):
        found = peer(serve(tls(pki, clients="other")), pki)
        assert (found["outcome"], found["alert"]) == ("refused", "unknown ca")
        found = peer(serve(tls(pki, clients="ca")), pki, "old")
        assert (found["outcome"], found["alert"]) == ("refused", "certificate expired")

    def test_a_file_of_our_own_that_is_not_there(self, pki, serve):
        assert peer(serve(tls(pki)), pki, ca="nothing")["outcome"] == "local"
        assert "is not there" in peer(serve(tls(pki)), pki, crl="/nowhere.crl")["detail"]

    def test_a_crl_that_is_none_or_has_expired(self, pki, serve):
        assert peer(serve(tls(pki)), pki, crl=pki.path("server.key"))["outcome"] in ("local", "untrusted")


class TestLooks:
    def test_all_at_once_and_in_order(self, pki, serve):
        number = serve(tls(pki, clients="ca"))
        cert, key = pki.pair("client")
        ports = [{"port": number, "cert": cert, "key": key, "role": "stratcon"}, {"port": serve(plain), "role": "api"}]
        peers = [{"address": "127.0.0.1", "port": number, "ca": pki.path("ca.crt"), "cert": cert, "key": key}] * 40
        found = pki_live.Looks(ports, peers).finish()
        assert [(item["role"], item["outcome"]) for item in found["ports"]] == [("stratcon", "ok"), ("api", "plain")]
        assert [item["outcome"] for item in found["peers"]] == ["ok"] * 40

    def test_the_deadline_holds_when_ports_hang(self, serve):
        number, began = serve(hang), time.time()
        found = pki_live.Looks([{"port": number}] * 50, [], timeout=30.0, deadline=0.6).finish()
        assert time.time() - began < 15
        outcomes = [item["outcome"] for item in found["ports"]]
        assert set(outcomes) <= {"hung", "skipped"} and outcomes.count("hung") >= pki_live.WORKERS

    def test_the_deadline_holds_when_a_look_never_comes_back(self, monkeypatch):
        stop = threading.Event()
        monkeypatch.setattr(pki_live, "look_port", lambda _item, _timeout: {"outcome": stop.wait(60)})
        looks = pki_live.Looks([{"port": 1}], timeout=0.1, deadline=0.2)
        assert looks.finish()["ports"][0]["outcome"] == "hung"
        stop.set()

    def test_a_strange_port_does_not_hide_the_others(self, pki, serve):
        found = pki_live.Looks([{"port": "x"}, {"port": serve(tls(pki))}]).finish()
        assert [item["outcome"] for item in found["ports"]] == ["local", "ok"]

    def test_nothing_to_do(self):
        assert pki_live.Looks().finish() == {"ports": [], "peers": []}


class TestBytes:
    def test_words_of_an_alert(self):
        assert pki_live.words("SSLV3_ALERT_BAD_CERTIFICATE") == "bad certificate"
        assert pki_live.words("CERTIFICATE_VERIFY_FAILED") is None and pki_live.words(None) is None

    def test_bytes_that_are_no_tls_or_cut_off_are_no_error(self):
        for raw in (b"", b"\x16", b"\x16\x03\x03\xff\xff\x0b\x00\x00\x09\x00\x00\x06\x00\x00\xff", b"\x00" * 50,
                    b"HTTP/1.1"):
            assert pki_live.presented(raw) in ([], [b""]) and isinstance(pki_live.messages(raw), list)
        assert not pki_live.is_tls(b"HTTP") and pki_live.is_tls(b"\x15\x03\x03\x00\x02\x02\x28")

    def test_a_line_is_harmless_to_print(self):
        assert pki_live.first_line(b"\x1b[31mred\x00\r\nnext") == ".[31mred."
