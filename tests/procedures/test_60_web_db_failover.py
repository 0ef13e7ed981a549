# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Another database host of the same site becomes the primary, planned and after a loss."""

from __future__ import annotations

import re

from running_lab import wait_until
from test_10_planned import assert_nothing_lost


class TestPlanned:
    """web_db_failover.yml, mode planned."""

    def test_moves_inside_the_site_and_loses_nothing(self, lab, writing):
        host = "%s-app3" % lab.active_site()
        site, short = host.split("-")
        run = lab.switch_primary(host)
        assert run.rc == 0 and run.result == "ok", run
        before = lab.writer("report")["acknowledged"]
        wait_until(
            lambda: lab.writer("report")["acknowledged"] > before + 20, 20, "the client writes to the new primary"
        )
        assert_nothing_lost(writing())
        lab.assert_settled(site, short)
        assert run.report["rpo_bytes"] == 0 and run.report["write_gap_ms"] > 0

    def test_second_run_has_nothing_to_do(self, lab):
        run = lab.switch_primary("%s-app3" % lab.active_site())
        assert run.rc == 0 and run.result == "nothing_to_do", run
        assert "changed=0" in run.output and "changed=1" not in run.output, run

    def test_refuses_a_host_of_the_other_site(self, lab):
        site = lab.active_site()
        host = "%s-app1" % ("west" if site == "east" else "east")
        run = lab.switch_primary(host)
        assert run.rc != 0 and run.result == "refused", run
        assert "datacenter_failover" in run.report["reason"], run.report["reason"]
        lab.assert_settled(site, "app3")


class TestUnplanned:
    """web_db_failover.yml, mode unplanned: the host of the primary is frozen; the lab ends as it began."""

    def test_frozen_primary(self, lab):
        site = lab.active_site()
        old, new = "%s-app3" % site, "%s-app1" % site
        lab.assert_settled(site, "app3")
        lab.cli("host", "pause", old)
        try:
            refused = lab.switch_primary(new, web_db_failover_mode="unplanned")
            assert refused.rc != 0 and refused.result == "refused", refused
            offer = re.search(r"web_db_failover_accept_data_loss=(\d+)", refused.report["reason"])
            assert offer, refused.report["reason"]
            assert lab.sql(new, "select pg_is_in_recovery()") == "t", "a refusal must not promote"
            run = lab.switch_primary(
                new, web_db_failover_mode="unplanned", web_db_failover_accept_data_loss=int(offer.group(1))
            )
            assert run.rc == 0 and run.result == "ok", run
            assert lab.sql(new, "select pg_is_in_recovery()") == "f"
            assert run.report["rpo_bytes"] == int(offer.group(1))
        finally:
            lab.cli("host", "resume", old)
        wait_until(
            lambda: lab.sql(old, "select pg_is_in_recovery()", check=False) != "f",
            30,
            "the old primary accepts no write",
        )
        rejoined = lab.rejoin(old)
        assert rejoined.rc == 0 and rejoined.result in ("ok", "nothing_to_do"), rejoined
        again = lab.switch_primary(new)
        assert again.rc == 0 and again.result in ("ok", "nothing_to_do"), again
        lab.assert_settled(site)
