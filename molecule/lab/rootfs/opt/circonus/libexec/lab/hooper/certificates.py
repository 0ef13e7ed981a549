"""Platform certificates of a host: the key is made here and stays here, the CA signs the request in the database."""

import os
import time

from hooper import database
from hooper.site_file import WARNING

SSL = "/www/etc/ssl"
WAIT_SECONDS = 20.0
RENEW_SECONDS = 14 * 86400


def wanted(site, facts, name):
    """[(kind, directory, file stem, owner, common name, alternative names)] for this host."""
    roles = site.roles_of(name)
    alternatives = [f"DNS:{name}", f"IP:{site.address(name)}"]
    found = [("host", SSL, name, "root", name, alternatives)]
    if "web_frontend" in roles and site.role("web_frontend").get("certificate_type", "internal") == "internal":
        prefix = site.role("web_frontend").get("url_host")
        portal = f"{prefix}.{site.raw.get('domain')}" if prefix else site.raw.get("domain", name)
        found.append(("web", SSL, "web", "root", portal, [f"DNS:{portal}"] + alternatives))
    if "fault_detection" in roles and facts["edition"] == "2019":
        found.append(("ernie", "/opt/circonus/etc/ernie", "ernie", "circonus", name, alternatives))
    return found


def converge(run, site, facts, name):
    for kind, directory, stem, owner, common, alternatives in wanted(site, facts, name):
        run.directory(directory, 0o755)
        try:
            certificate(run, site, name, kind, f"{directory}/{stem}", owner, common, alternatives)
            authority(run, site, directory)
        except database.Error as exc:
            run.note(WARNING, f"certificate {kind} of {name}: database {site.master}: {exc}; run again")
            return


def usable(run, stem):
    """Certificate and key are there and stay valid for the renewal time."""
    if not (os.path.exists(stem + ".crt") and os.path.exists(stem + ".key")):
        return False
    return run.run(["openssl", "x509", "-noout", "-checkend", str(RENEW_SECONDS), "-in", stem + ".crt"]).returncode == 0


def certificate(run, site, name, kind, stem, owner, common, alternatives):
    if usable(run, stem):
        run.resource(f"certificate[{stem}.crt]", False)
        return

    def work():
        if not os.path.exists(stem + ".key"):
            key = run.run(["openssl", "genrsa", "2048"], check=True).stdout
            run.file(stem + ".key", key, 0o600, owner)
        arguments = ["openssl", "req", "-new", "-key", stem + ".key", "-subj", f"/CN={common}"]
        request = run.run(arguments + ["-addext", "subjectAltName=" + ",".join(alternatives)], check=True).stdout
        text = ask(site, name, kind, request)
        if text is None:
            run.note(WARNING, f"certificate {kind} of {name} is requested and not issued yet; run again")
        else:
            run.file(stem + ".crt", text, 0o644)

    run.resource(f"certificate[{stem}.crt]", True, work)


def ask(site, name, kind, request):
    """Put a request into the database and wait for the authority; None when it does not answer in time."""
    address = site.address(site.master)
    with database.connect(address, site, "web") as connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO circonus.certificate (name, kind, csr) VALUES (%s, %s, %s) ON CONFLICT (name, kind) "
            "DO UPDATE SET csr = excluded.csr, certificate = NULL, requested = now(), signed = NULL",
            (name, kind, request),
        )
        cursor.execute("NOTIFY circonus_csr")
    deadline = time.monotonic() + WAIT_SECONDS
    with database.connect(address, site, "web") as connection, connection.cursor() as cursor:
        while True:
            question = "SELECT certificate FROM circonus.certificate WHERE name = %s AND kind = %s"
            cursor.execute(question, (name, kind))
            row = cursor.fetchone()
            connection.commit()
            if row and row[0]:
                return row[0]
            if time.monotonic() > deadline:
                return None
            time.sleep(0.1)


def authority(run, site, directory):
    """The authority's own certificate beside the host's one."""
    path = f"{directory}/ca.crt"
    if os.path.exists(path):
        run.resource(f"file[{path}]", False)
        return
    with database.connect(site.address(site.master), site, "web") as connection, connection.cursor() as cursor:
        cursor.execute("SELECT ca_crt FROM circonus.ca_public")
        row = cursor.fetchone()
    if row:
        run.file(path, row[0])
    else:
        run.note(WARNING, "the certificate authority has not published its certificate yet; run again")
