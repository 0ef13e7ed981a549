"""CGI: asks the local connect_host whether its database is a primary; one of two words, or an error page without."""

import sys

CONF = "/www/etc/circonus.conf"


def settings(path=CONF):
    with open(path, encoding="utf-8") as handle:
        pairs = (line.split("=", 1) for line in handle if "=" in line and not line.startswith("#"))
        return {key.strip(): value.strip() for key, value in pairs}


def in_recovery(conf):
    import psycopg2

    connection = psycopg2.connect(
        host=conf["DB::Host"],
        dbname=conf["DB::Name"],
        user=conf["DB::User"],
        password=conf["DB::Password"],
        # Who asks has a patience of their own; a busy database is no broken one.
        connect_timeout=20,
        options="-c statement_timeout=20000",
        application_name="circonus-http",
    )
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_is_in_recovery()")
            return cursor.fetchone()[0]
    finally:
        connection.close()


def page(standby):
    """(status line, text) for a database state; None: it could not be asked."""
    if standby is None:
        return "500 Internal Server Error", "The database cannot be reached."
    return "200 OK", "STANDBY" if standby else "ACTIVE"


def main():
    try:
        standby = in_recovery(settings())
    except Exception as exc:  # whatever it is, the answer is the error page, and the reason is in the error log
        print(f"/status: {str(exc).strip()}", file=sys.stderr)
        standby = None
    status, text = page(standby)
    print(f"Status: {status}\nContent-Type: text/html; charset=utf-8\nCache-Control: no-store\n")
    print(f"<!DOCTYPE html>\n<html><head><title>Circonus</title></head>\n<body><p>{text}</p></body></html>")


if __name__ == "__main__":
    main()
