# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A small real OpenSSL authority for tests, laid out as the lab's."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os
import subprocess

PHRASE = "fake phrase, not a secret"
CONFIG = """[ca]
default_ca = circonus
[circonus]
dir = %s
database = $dir/index
serial = $dir/serial
crlnumber = $dir/crlnumber
new_certs_dir = $dir/certs
certificate = $dir/public-info/ca.crt
private_key = $dir/private/ca.key
default_md = sha256
default_days = 30
default_crl_days = 30
unique_subject = no
policy = strict
[strict]
organizationName = match
commonName = supplied
[req]
distinguished_name = empty
[empty]
[root]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
"""


def openssl(home, *arguments):
    """Run openssl in the authority's directory."""
    environment = dict(os.environ, CA_KEY_PASS=PHRASE)
    subprocess.check_output(["openssl"] + list(arguments), cwd=str(home), env=environment, stderr=subprocess.STDOUT)


def make(home):
    """A new authority in the directory ``home`` (pathlib)."""
    for name in ("private", "public-info", "certs"):
        (home / name).mkdir(parents=True)
    (home / "private").chmod(0o700)
    files = {"index": "", "serial": "1000\n", "crlnumber": "01\n", "openssl.cnf": CONFIG % home}
    for name, text in files.items():
        (home / name).write_text(text)
    openssl(home, "genrsa", "-aes256", "-passout", "env:CA_KEY_PASS", "-out", "private/ca.key", "1024")
    openssl(home, "req", "-new", "-x509", "-config", "openssl.cnf", "-extensions", "root", "-days", "90", "-subj",
            "/O=Example/CN=Test CA", "-key", "private/ca.key", "-passin", "env:CA_KEY_PASS", "-out",
            "public-info/ca.crt")
    publish(home)
    return home


def publish(home):
    """A new CRL."""
    openssl(home, "ca", "-config", "openssl.cnf", "-gencrl", "-passin", "env:CA_KEY_PASS", "-out", "public-info/ca.crl")


def issue(home, name):
    """Sign one certificate as the processor does."""
    scratch = home.parent
    openssl(home, "req", "-new", "-config", "openssl.cnf", "-newkey", "rsa:1024", "-nodes", "-subj",
            "/O=Example/CN=" + name, "-keyout", str(scratch / "leaf.key"), "-out", str(scratch / "leaf.csr"))
    openssl(home, "ca", "-config", "openssl.cnf", "-batch", "-notext", "-in", str(scratch / "leaf.csr"), "-out",
            str(scratch / (name + ".crt")), "-passin", "env:CA_KEY_PASS")
