# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Files of the PKI as the host's openssl writes them; above all, what of a private key is returned: nothing."""
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import base64
import hashlib
import json
import os
import subprocess

import pytest
from ansible_collections.circonus.inside.plugins.module_utils import pki_files

KEYS = {
    "rsa": ["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
    "ec": ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
}


def openssl(*argv):
    done = subprocess.Popen(["openssl"] + list(argv), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = done.communicate()
    assert done.returncode == 0, err
    return out


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Directory with <type>.key, .p1, .der, .enc, .crt, .crt.der and ca.crl."""
    where = tmp_path_factory.mktemp("made")
    for kind, argv in KEYS.items():
        path = str(where / kind)
        openssl(*(argv + ["-out", path + ".key"]))
        openssl("rsa" if kind == "rsa" else "ec", "-in", path + ".key", "-out", path + ".p1",
                *(["-traditional"] if kind == "rsa" else []))
        openssl("pkey", "-in", path + ".key", "-outform", "DER", "-out", path + ".der")
        openssl("pkey", "-in", path + ".key", "-aes128", "-passout", "pass:word", "-out", path + ".enc")
        request = ["req", "-new", "-key", path + ".key", "-subj", "/CN=" + kind]
        openssl(*(request + ["-x509", "-days", "2", "-out", path + ".crt"]))
        openssl(*(request + ["-out", path + ".csr"]))
        openssl("x509", "-in", path + ".crt", "-outform", "DER", "-out", path + ".crt.der")
    (where / "index").write_text(u"")
    configuration = where / "ca.cnf"
    configuration.write_text(u"[ca]\ndefault_ca=x\n[x]\ndatabase={0}/index\ndefault_md=sha256\n".format(where))
    openssl("ca", "-config", str(configuration), "-gencrl", "-crldays", "9", "-keyfile", str(where / "rsa.key"),
            "-cert", str(where / "rsa.crt"), "-out", str(where / "ca.crl"))
    return where


def look(made, name):
    return pki_files.look(str(made / name))


class TestContent:
    @pytest.mark.parametrize("name, kinds", [
        ("rsa.crt", ["certificate"]), ("ec.crt.der", ["certificate"]), ("ca.crl", ["crl"]), ("rsa.csr", ["request"]),
    ])
    def test_public_things_come_as_they_are(self, made, name, kinds):
        item = look(made, name)
        assert [one["type"] for one in item["objects"]] == kinds and item["keys"] == [] and item["state"] == "file"
        assert base64.b64decode(item["objects"][0]["der"])[:1] == b"\x30"

    def test_a_bundle_keeps_its_order(self, made, tmp_path):
        bundle = tmp_path / "bundle"
        parts = [(made / name).read_bytes() for name in ("ec.crt", "rsa.crt", "ca.crl", "rsa.key")]
        bundle.write_bytes(b"text\n".join(parts))
        item = pki_files.look(str(bundle))
        assert [one["type"] for one in item["objects"]] == ["certificate", "certificate", "crl"]
        assert len(item["keys"]) == 1 and item["keys"][0]["type"] == "rsa"

    @pytest.mark.parametrize("data, form", [
        (b"", "empty"), (b"\n\n", "empty"), (b"hello", "other"), (b"\x30\x82", "other"), (b"\x00" * 99, "other"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n", "other"),
    ])
    def test_nothing_useful(self, data, form):
        assert pki_files.sort_content(data) == {"format": form, "objects": [], "keys": [], "unknown": 0}

    def test_a_block_of_something_else_is_counted(self):
        text = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
        assert pki_files.sort_content(text)["unknown"] == 1


class TestKeys:
    @pytest.mark.parametrize("kind, bits", [("rsa", 2048), ("ec", 384)])
    @pytest.mark.parametrize("form", ["key", "p1", "der"])
    def test_only_the_public_half_is_described(self, made, kind, bits, form):
        key = look(made, "{0}.{1}".format(kind, form))["keys"][0]
        assert (key["type"], key["bits"], key["encrypted"], key["error"]) == (kind, bits, False, "")
        public = openssl("x509", "-in", str(made / (kind + ".crt")), "-noout", "-pubkey")
        body = b"".join(public.split(b"-----")[2].split())
        assert key["public_sha256"] == hashlib.sha256(base64.b64decode(body)).hexdigest()

    @pytest.mark.parametrize("kind", ["rsa", "ec"])
    def test_an_encrypted_one_is_not_touched(self, made, kind):
        calls = []
        item = pki_files.look(str(made / (kind + ".enc")), runner=lambda *args: calls.append(args))
        assert item["keys"][0]["encrypted"] is True and item["keys"][0]["public_sha256"] is None and not calls

    def test_without_openssl_it_says_so(self, made):
        def gone(argv, timeout):
            raise OSError(2, "No such file or directory")

        item = pki_files.look(str(made / "rsa.key"), runner=gone)
        assert item["keys"][0]["error"] == "openssl on this host: No such file or directory"

    @pytest.mark.parametrize(
        "label", [None, b"CERTIFICATE", b"X509 CRL", b"TRUSTED CERTIFICATE", b"PUBLIC KEY", b"DATA"])
    @pytest.mark.parametrize("kind", ["rsa", "ec"])
    @pytest.mark.parametrize("form", ["key", "p1", "der", "enc"])
    def test_no_byte_of_one_gets_out_whatever_it_is_called(self, made, tmp_path, kind, form, label):
        """The canary: its bytes in every form, and under every label, beside a certificate."""
        source = made / "{0}.{1}".format(kind, form)
        data = source.read_bytes()
        secret = openssl("pkey", "-in", str(source), "-passin", "pass:word", "-outform", "DER") if form == "enc" else (
            openssl("pkey", "-in", str(source), "-outform", "DER", *(["-inform", "DER"] if form == "der" else [])))
        if label:
            raw = data if form == "der" else base64.b64decode(
                b"".join(line for line in data.splitlines() if b":" not in line and b"-" not in line))
            data = b"-----BEGIN " + label + b"-----\n" + base64.b64encode(raw) + b"\n-----END " + label + b"-----\n"
        path = tmp_path / "canary"
        path.write_bytes(data + (b"" if form == "der" and not label else (made / "ec.crt").read_bytes()))
        text = json.dumps(pki_files.collect([{"path": str(path), "kind": "cert"}]))
        # The end of an RSA or EC key in DER is secret; the public part is in the certificate anyway.
        windows = [secret[start:start + 24] for start in range(len(secret) // 2 if kind == "rsa" else 30,
                                                               len(secret) - 24 if kind == "rsa" else 60, 8)]
        for window in windows:
            for shift in range(3):
                encoded = base64.b64encode(window[shift:]).decode()[:20]
                assert encoded not in text and window.hex() not in text


class TestFiles:
    def test_what_is_not_a_file(self, tmp_path):
        os.mkdir(str(tmp_path / "directory"))
        os.mkfifo(str(tmp_path / "fifo"))
        os.symlink("nowhere", str(tmp_path / "dangling"))
        (tmp_path / "large").write_bytes(b"x" * (pki_files.LIMIT + 1))
        wanted = [{"path": str(tmp_path / name), "kind": "cert"} for name in
                  ("directory", "fifo", "dangling", "large", "missing")]
        found = pki_files.collect(wanted + [{"path": "/dev/zero", "kind": "key"}])
        assert [item["state"] for item in found] == ["directory", "fifo", "dangling", "too_large", "missing", "device"]
        assert found[2]["link"] == "nowhere"

    @pytest.mark.skipif(os.geteuid() == 0, reason="root can read everything")
    def test_unreadable(self, tmp_path):
        path = tmp_path / "closed"
        path.write_bytes(b"x")
        os.chmod(str(path), 0)
        assert pki_files.look(str(path))["state"] == "unreadable"

    def test_a_symlink_shows_its_target(self, made, tmp_path):
        os.symlink(str(made / "rsa.crt"), str(tmp_path / "link"))
        item = pki_files.look(str(tmp_path / "link"))
        assert item["link"] == str(made / "rsa.crt") and len(item["objects"]) == 1 and item["mode"] is not None

    def test_patterns_and_keys_of_the_item_come_back(self, made):
        found = pki_files.collect([{"path": str(made / "*.crt"), "kind": "cert", "role": "api"},
                                   {"path": str(made / "*.none"), "kind": "keystore"}])
        assert [(os.path.basename(item["path"]), item.get("role"), item["state"]) for item in found] == [
            ("ec.crt", "api", "file"), ("rsa.crt", "api", "file"), ("*.none", None, "missing")]

    def test_the_deadline_ends_it(self, made):
        ticks = iter([0, 0, 50])
        found = pki_files.collect([{"path": str(made / name), "kind": "cert"} for name in ("rsa.crt", "ec.crt")], 30,
                                  clock=lambda: next(ticks))
        assert [item["state"] for item in found] == ["file", "unreadable"]
        assert found[1]["error"] == "not looked at within 30 s"

    def test_a_hanging_openssl_is_ended(self):
        code, unused = pki_files.run(["sleep", "20"], 0.2)
        assert code == 124
