"""Role ca: a real OpenSSL authority on ca.primary; other CA hosts get the directories and no keys."""

import json
import os

from hooper import database
from hooper.site_file import FATAL, WARNING

UNIT = "circonus-ca_processor"
HOME = "/opt/circonus/CA"
CONFIG = "/opt/circonus/etc/ca_processor.json"
DEFAULT_NAME = "Circonus Inside Certificate Authority"
DAYS = 3650
OPENSSL = """# Written by Hooper (lab stand-in); edits are lost
[ca]
default_ca = circonus
[circonus]
dir = /opt/circonus/CA
database = $dir/index
serial = $dir/serial
crlnumber = $dir/crlnumber
new_certs_dir = $dir/certs
certificate = $dir/public-info/ca.crt
private_key = $dir/private/ca.key
default_md = sha256
default_days = 825
default_crl_days = 30
unique_subject = no
copy_extensions = copy
policy = any
x509_extensions = leaf
[any]
commonName = supplied
organizationName = optional
organizationalUnitName = optional
[leaf]
basicConstraints = CA:FALSE
keyUsage = digitalSignature, keyEncipherment
extendedKeyUsage = serverAuth, clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[req]
distinguished_name = empty
[empty]
[root]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
"""


def subject(defaults):
    """OpenSSL subject of the authority from ca.org_defaults."""
    fields = (
        ("C", "country", None),
        ("ST", "state_prov", None),
        ("L", "locality", None),
        ("O", "org_name", None),
        ("OU", "ou", None),
        ("CN", "common_name", DEFAULT_NAME),
        ("emailAddress", "email", None),
    )
    pairs = [(key, defaults.get(name) or default) for key, name, default in fields]
    return "".join("/" + key + "=" + value.replace("\\", "\\\\").replace("/", "\\/") for key, value in pairs if value)


def converge(run, site, facts, name):
    for path, mode in (("", 0o755), ("/certs", 0o755), ("/crl", 0o755), ("/public-info", 0o755), ("/private", 0o700)):
        run.directory(HOME + path, mode)
    run.unit_file(UNIT)
    if name != site.ca_primary:
        run.service(UNIT, enabled=False, running=False)
        return
    role = site.role("ca")
    if not os.path.exists(f"{HOME}/private/ca.key") and not create(run, site, role, name):
        return
    run.file(f"{HOME}/openssl.cnf", OPENSSL)
    content = {
        "node": name,
        "edition": facts["edition"],
        "key_pass": role["key_pass"],
        "mq": {"hosts": []},
        "database": {
            "host": site.connect_host,
            "name": "circonus",
            "user": "ca",
            "password": site.role("web_db")["ca_pass"],
        },
    }
    changed = run.file(CONFIG, json.dumps(content, indent=1) + "\n", 0o600)
    run.service(UNIT, restart=changed)


def create(run, site, role, name):
    """A new authority, but only for a platform that has none. False: not possible now."""
    try:
        with database.connect(site.address(site.master), site, "ca") as connection, connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM circonus.ca_public")
            if cursor.fetchone():
                run.note(
                    FATAL,
                    f"{HOME}/private/ca.key is missing on {name}, but this platform has a certificate authority: "
                    f"restore the newest copy of {HOME}, then run Hooper again",
                )
                return False
    except database.Error as exc:
        if run.why_run:
            return True
        run.note(WARNING, f"certificate authority not created on {name}: database {site.master}: {exc}; run again")
        return False

    def make():
        environment = {"PATH": "/usr/bin:/bin", "CA_KEY_PASS": role["key_pass"]}
        files = {"index": "", "serial": "1000\n", "crlnumber": "01\n", "openssl.cnf": OPENSSL}
        for file_name, content in files.items():
            run.file(f"{HOME}/{file_name}", content)
        new = f"{HOME}/private/.new.key"
        steps = (
            ["genrsa", "-aes256", "-passout", "env:CA_KEY_PASS", "-out", new, "2048"],
            ["req", "-new", "-x509", "-config", f"{HOME}/openssl.cnf", "-extensions", "root", "-days", str(DAYS)]
            + ["-utf8", "-subj", subject(role.get("org_defaults", {})), "-key", new, "-passin", "env:CA_KEY_PASS"]
            + ["-out", f"{HOME}/public-info/ca.crt"],
        )
        for step in steps:
            run.run(["openssl"] + step, env=environment, check=True)
        os.chmod(new, 0o400)
        os.rename(new, f"{HOME}/private/ca.key")

    run.resource(f"certificate authority[{HOME}]", True, make)
    return True
