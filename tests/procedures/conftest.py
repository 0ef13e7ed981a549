# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Front door tests: playbooks on the lab's containers, looked at with a client's own eyes (SQL, HTTP, files)."""

from __future__ import annotations

import pytest
from running_lab import Lab, wait_until


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """The lab of this scenario, already up."""
    return Lab(tmp_path_factory.mktemp("reports"))


@pytest.fixture
def writing(lab):
    """A client that commits all the time; the test gets a function that stops it and returns its report."""
    lab.writer("start")
    wait_until(lambda: lab.writer("report")["acknowledged"] > 20, 20, "the writer commits")

    def stop():
        lab.writer("stop")
        return lab.writer("report")

    yield stop
    lab.writer("stop")


@pytest.fixture(scope="module")
def no_housekeeping(lab):
    """The server's own vacuum writes too, and so do the hub's jobs of every minute: they rest."""
    for hub in ("east-app3", "west-app3"):
        lab.on(hub, "systemctl", "stop", "cron")
    host = "%s-app1" % lab.active_site()

    def autovacuum(value):
        lab.sql(host, "alter system set autovacuum = %s" % value)
        lab.sql(host, "select pg_reload_conf()")
        wait_until(lambda: lab.sql(host, "show autovacuum") == value, 10, "autovacuum %s" % value)

    autovacuum("off")
    yield
    for hub in ("east-app3", "west-app3"):
        lab.on(hub, "systemctl", "start", "cron")
    autovacuum("on")
    lab.sql(host, "alter system reset autovacuum")
    lab.sql(host, "select pg_reload_conf()")
