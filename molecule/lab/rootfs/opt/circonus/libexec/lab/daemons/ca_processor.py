"""circonus-ca_processor: signs the requests that wait in the database, then listens for new ones.

It runs only on ca.primary. The 2019 edition's one has to be restarted after the database was; later ones reconnect.
"""

import os
import subprocess
import tempfile
import time

from daemons.base import Daemon, wait_readable

HOME = "/opt/circonus/CA"
CHANNEL = "circonus_csr"
CRL_SECONDS = 7 * 86400


class CaProcessor(Daemon):
    name = "ca_processor"
    uses_queue = False

    def __init__(self):
        super().__init__("/opt/circonus/etc/ca_processor.json")
        self.reconnects = self.config["edition"] != "2019"

    def openssl(self, *arguments):
        environment = {"PATH": "/usr/bin:/bin", "CA_KEY_PASS": self.config["key_pass"]}
        result = subprocess.run(["openssl", *arguments], env=environment, cwd=HOME, capture_output=True, text=True)
        if result.returncode:
            raise RuntimeError(f"openssl {arguments[0]}: " + result.stderr.strip().splitlines()[-1])
        return result.stdout

    def database_ready(self):
        self.execute(f"LISTEN {CHANNEL}")
        self.publish()
        self.sign_pending()

    def publish(self):
        """Renew the revocation list when it gets old, and show certificate and list to every host."""
        crl = f"{HOME}/public-info/ca.crl"
        if not os.path.exists(crl) or time.time() - os.path.getmtime(crl) > CRL_SECONDS:
            self.openssl("ca", "-config", "openssl.cnf", "-gencrl", "-passin", "env:CA_KEY_PASS", "-out", crl)
        texts = []
        for name in ("ca.crt", "ca.crl"):
            with open(f"{HOME}/public-info/{name}", encoding="utf-8") as handle:
                texts.append(handle.read())
        if self.execute("SELECT ca_crt, ca_crl FROM circonus.ca_public") != [tuple(texts)]:
            self.execute(
                "INSERT INTO circonus.ca_public (ca_crt, ca_crl) VALUES (%s, %s) "
                "ON CONFLICT (one) DO UPDATE SET ca_crt = excluded.ca_crt, ca_crl = excluded.ca_crl, at = now()",
                texts,
            )

    def sign_pending(self):
        for name, kind, request in self.execute(
            "SELECT name, kind, csr FROM circonus.certificate WHERE certificate IS NULL ORDER BY requested"
        ):
            try:
                certificate = self.sign(request)
            except RuntimeError as exc:
                self.log(f"request {kind} of {name} not signed: {exc}")
                continue
            self.execute(
                "UPDATE circonus.certificate SET certificate = %s, signed = now() WHERE name = %s AND kind = %s",
                (certificate, name, kind),
            )
            self.counters["processed"] += 1
            self.log(f"signed {kind} of {name}")

    def sign(self, request):
        with tempfile.TemporaryDirectory() as place:
            path = os.path.join(place, "request.csr")
            with open(path, "w", encoding="utf-8") as handle:
                handle.write(request)
            self.openssl(
                "ca",
                "-config",
                "openssl.cnf",
                "-batch",
                "-notext",
                "-in",
                path,
                "-out",
                f"{place}/signed.crt",
                "-passin",
                "env:CA_KEY_PASS",
            )
            with open(f"{place}/signed.crt", encoding="utf-8") as handle:
                return handle.read()

    def idle(self):
        if wait_readable(self.connection, self.interval):
            self.connection.poll()
            if self.connection.notifies:
                self.connection.notifies.clear()
                self.sign_pending()

    def work(self):
        if self.connection.closed:
            raise RuntimeError("database connection closed")
