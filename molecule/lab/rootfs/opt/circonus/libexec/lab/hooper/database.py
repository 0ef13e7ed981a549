"""Connections over TCP to the web database, as the platform's own users."""

import contextlib

PASSWORDS = {"circduown": "admin_pass", "web": "web_pass", "ca": "ca_pass"}


class Error(Exception):
    """The database cannot be used now; one line."""


@contextlib.contextmanager
def connect(address, site, user, timeout=3):
    """A connection whose block is one transaction; every database fault comes out as Error."""
    import psycopg2  # here and not above: most runs of most hosts need no database

    try:
        connection = psycopg2.connect(
            host=address,
            dbname="circonus",
            user=user,
            password=site.role("web_db")[PASSWORDS[user]],
            connect_timeout=timeout,
            application_name="hooper",
        )
    except psycopg2.Error as exc:
        raise Error(str(exc).strip().splitlines()[0]) from exc
    try:
        with connection:
            yield connection
    except psycopg2.Error as exc:
        raise Error(str(exc).strip().splitlines()[0]) from exc
    finally:
        connection.close()
