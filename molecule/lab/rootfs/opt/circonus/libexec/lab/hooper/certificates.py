"""Platform certificates of a host: the key is made here and stays here, the CA signs the request in the database."""

import os
import pwd
import time

from hooper import database
from hooper.site_file import WARNING

SSL = "/www/etc/ssl"
WAIT_SECONDS = 20.0
RENEW_SECONDS = 14 * 86400


def commercial(site, role):
    """True when the operator brings the role's user-facing certificate, or there is none."""
    return site.role(role).get("certificate_type", "internal") != "internal"


def wanted(site, facts, name):
    """[(kind, directory, file stem, owner, common name, alternative names)] for this host."""
    roles = site.roles_of(name)
    domain = site.raw.get("domain", name)
    alternatives = [f"DNS:{name}", f"IP:{site.address(name)}"]
    found = [("host", SSL, name, "root", name, alternatives)]
    if "web_frontend" in roles and not commercial(site, "web_frontend"):
        prefix = site.role("web_frontend").get("url_host")
        portal = f"{prefix}.{domain}" if prefix else domain
        found.append(("web", SSL, "web", "root", portal, [f"DNS:{portal}"] + alternatives))
    if "api" in roles and not commercial(site, "api"):
        external = site.role("api").get("external_host") or f"api.{domain}"
        found.append(("api", SSL, "api", "root", external, [f"DNS:{external}"] + alternatives))
    if "stratcon" in roles:
        found.append(("stratcon", "/opt/noit/prod/etc", "stratcon", "circonus", name, alternatives))
    if "caql_broker" in roles:
        found.append(("caql_broker", "/opt/noit/prod/etc", "caql_broker", "circonus", name, alternatives))
    if "web_stream" in roles:
        found.append(("enzo", "/opt/circonus/etc/enzo", "enzo", "circonus", name, alternatives))
        if not commercial(site, "web_stream"):
            stream = site.role("web_stream").get("stream_service_name") or f"s.{domain}"
            entry = ("stream", "/opt/circonus/etc/enzo", "stream", "circonus", stream, [f"DNS:{stream}"] + alternatives)
            found.append(entry)
    if "fault_detection" in roles and facts["edition"] == "2019":
        found.append(("ernie", "/opt/circonus/etc/ernie", "ernie", "circonus", name, alternatives))
    return found


def converge(run, site, facts, name):
    entries = wanted(site, facts, name)
    obtain(run, site, name, entries)
    for kind, directory, stem, owner, *_rest in entries:
        if kind == "ernie":
            keystore(run, directory, stem, owner)


def keystore(run, directory, stem, owner):
    """The store that ernie's Java reads, built from the other files when it is missing or older than one of them."""
    path = f"{directory}/{stem}.jks"
    parts = [f"{directory}/{name}" for name in (f"{stem}.crt", f"{stem}.key", "ca.crt")]
    if not all(os.path.exists(part) for part in parts):
        return
    newest = max(os.stat(part).st_mtime for part in parts)

    def build():
        account = pwd.getpwnam(owner)
        argv = ["openssl", "pkcs12", "-export", "-in", parts[0], "-inkey", parts[1], "-certfile", parts[2]]
        run.run([*argv, "-name", stem, "-passout", "pass:changeit", "-out", path + ".new"], check=True)
        os.chown(path + ".new", account.pw_uid, account.pw_gid)
        os.chmod(path + ".new", 0o600)
        os.replace(path + ".new", path)

    run.resource(f"keystore[{path}]", not (os.path.exists(path) and os.stat(path).st_mtime >= newest), build)


def obtain(run, site, name, entries):
    """Keys, one round of requests for what is missing, and the authority's certificate beside it."""
    missing = []
    for entry in entries:
        kind, directory, stem = entry[:3]
        run.directory(directory, 0o755)
        path = f"{directory}/{stem}"
        if run.resource(f"certificate[{path}.crt]", not usable(run, path)):
            missing.append(entry)
    try:
        if missing and not run.why_run:
            request(run, site, name, missing)
        for directory in dict.fromkeys(entry[1] for entry in entries):
            authority(run, site, directory)
    except database.Error as exc:
        kinds = ", ".join(entry[0] for entry in missing) or "authority"
        run.note(WARNING, f"certificate {kinds} of {name}: database {site.master}: {exc}; run again")


def request(run, site, name, entries):
    """Ask for several certificates at once and write what the authority issued in time."""
    requests = {}
    for kind, directory, stem, owner, common, alternatives in entries:
        key = f"{directory}/{stem}.key"
        if not os.path.exists(key):
            run.file(key, run.run(["openssl", "genrsa", "2048"], check=True).stdout, 0o600, owner)
        arguments = ["openssl", "req", "-new", "-key", key, "-subj", f"/CN={common}"]
        arguments += ["-addext", "subjectAltName=" + ",".join(alternatives)]
        requests[kind] = run.run(arguments, check=True).stdout
    issued = ask(site, name, requests)
    for kind, directory, stem, *_rest in entries:
        if kind in issued:
            run.file(f"{directory}/{stem}.crt", issued[kind], 0o644)
        else:
            run.note(WARNING, f"certificate {kind} of {name} is requested and not issued yet; run again")


def usable(run, stem):
    """Certificate and key are there and stay valid for the renewal time."""
    if not (os.path.exists(stem + ".crt") and os.path.exists(stem + ".key")):
        return False
    return run.run(["openssl", "x509", "-noout", "-checkend", str(RENEW_SECONDS), "-in", stem + ".crt"]).returncode == 0


def ask(site, name, requests):
    """Put requests {kind: CSR} into the database, wait for the authority; {kind: certificate} of what came in time."""
    address = site.address(site.master)
    with database.connect(address, site, "web") as connection, connection.cursor() as cursor:
        for kind, text in requests.items():
            cursor.execute(
                "INSERT INTO circonus.certificate (name, kind, csr) VALUES (%s, %s, %s) ON CONFLICT (name, kind) "
                "DO UPDATE SET csr = excluded.csr, certificate = NULL, requested = now(), signed = NULL",
                (name, kind, text),
            )
        cursor.execute("NOTIFY circonus_csr")
    deadline = time.monotonic() + WAIT_SECONDS
    with database.connect(address, site, "web") as connection, connection.cursor() as cursor:
        while True:
            question = (
                "SELECT kind, certificate FROM circonus.certificate "
                "WHERE name = %s AND kind = ANY(%s) AND certificate IS NOT NULL"
            )
            cursor.execute(question, (name, list(requests)))
            found = dict(cursor.fetchall())
            connection.commit()
            if len(found) == len(requests) or time.monotonic() > deadline:
                return found
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


def revocations(run, site, path):
    """The authority's revocation list, when it is not there yet; a cron job renews it."""
    if os.path.exists(path):
        run.resource(f"file[{path}]", False)
        return
    try:
        with database.connect(site.address(site.master), site, "web") as connection, connection.cursor() as cursor:
            cursor.execute("SELECT ca_crl FROM circonus.ca_public")
            row = cursor.fetchone()
    except database.Error as exc:
        run.note(WARNING, f"revocation list {path}: database {site.master}: {exc}; run again")
        return
    if row:
        run.file(path, row[0])
    else:
        run.note(WARNING, "the certificate authority has not published its revocation list yet; run again")
