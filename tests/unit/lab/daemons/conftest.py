# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A certificate authority, free ports and conditions with deadlines, for stand-ins that run inside the test."""

import os
import random
import socket
import subprocess
import time

import pytest

NEW = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
FIXTURES = os.path.join(os.path.dirname(__file__), "..", "fixtures")
ROOTFS = os.path.join(os.path.dirname(__file__), "..", "..", "..", "..", "molecule", "lab", "rootfs")
LIBRARY = os.path.realpath(os.path.join(ROOTFS, "opt", "circonus", "libexec", "lab"))


def fixture_bytes(name):
    with open(os.path.join(FIXTURES, name), "rb") as handle:
        return handle.read()


def eventually(condition, seconds=60.0, what="the condition"):
    """The first true value of a condition, within a deadline."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


#: Below the range from which the kernel gives ports to clients, and each number once in a process.
PORTS = iter(random.SystemRandom().sample(range(12000, 32000), 20000))


def free_port():
    """A port that nobody has on any address, neither tcp nor udp, and that no client is given by the kernel."""
    for port in PORTS:
        with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagram:
            try:
                stream.bind(("", port))
                datagram.bind(("", port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port")


def openssl(*arguments, cwd):
    subprocess.run(["openssl", *arguments], cwd=cwd, check=True, capture_output=True)


class Authority:
    """An authority of its own with revocation lists."""

    def __init__(self, home):
        self.home = str(home)
        openssl("req", "-x509", *NEW, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=Test CA", cwd=self.home)
        with open(os.path.join(self.home, "ca.cnf"), "w", encoding="utf-8") as handle:
            handle.write("[ca]\ndefault_ca=x\n[x]\ndatabase=index\ncrlnumber=crlnumber\ndefault_md=sha256\n")
        for name, text in (("index", ""), ("crlnumber", "01\n")):
            with open(os.path.join(self.home, name), "w", encoding="utf-8") as handle:
                handle.write(text)

    def issue(self, name, directory, stem):
        """Key and certificate of a name, and the authority's certificate beside them."""
        os.makedirs(directory, exist_ok=True)
        path = os.path.join(str(directory), stem)
        request = ["req", *NEW, "-keyout", path + ".key", "-out", path + ".csr"]
        openssl(*request, "-subj", "/CN=" + name, cwd=self.home)
        signing = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2"]
        openssl("x509", "-req", "-in", path + ".csr", *signing, "-out", path + ".crt", cwd=self.home)
        with open(os.path.join(self.home, "ca.crt"), "rb") as source:
            with open(os.path.join(str(directory), "ca.crt"), "wb") as target:
                target.write(source.read())
        return path

    def revocations(self, path, seconds):
        """A list that is valid for so many seconds."""
        options = ["-config", "ca.cnf", "-keyfile", "ca.key", "-cert", "ca.crt", "-crlsec", str(seconds)]
        openssl("ca", "-gencrl", *options, "-out", str(path), cwd=self.home)


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(autouse=True)
def logs(tmp_path, monkeypatch):
    """Log files go below the test's own directory."""
    from daemons import base

    directory = tmp_path / "logs"
    directory.mkdir()
    monkeypatch.setattr(base, "LOG_DIR", str(directory))
    return directory
