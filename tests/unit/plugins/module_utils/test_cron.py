# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import pytest

from ansible_collections.circonus.inside.plugins.module_utils import cron
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError

SYNC = "/www/bin/noit/stratcon_sync.pl"
ENTRY = {
    "name": "hub",
    "units": [],
    "cron": [
        {"id": "stratcon_sync", "user": "root", "schedule": "* * * * *", "script": SYNC},
        {"id": "enzo_sync", "schedule": None, "script": "/www/bin/noit/enzo_sync.pl", "until": "2020-11-02"},
        {"id": "crl", "script": None},
    ],
}


class TestParse:
    def test_a_system_crontab(self):
        text = "SHELL=/bin/sh\n# no\n\n* * * * * www %s >/dev/null\n@daily root /x y\n5 4 broken\n" % SYNC
        assert cron.parse(text, "/etc/cron.d/hub") == [
            {"file": "/etc/cron.d/hub", "schedule": "* * * * *", "user": "www", "command": SYNC + " >/dev/null"},
            {"file": "/etc/cron.d/hub", "schedule": "@daily", "user": "root", "command": "/x y"},
        ]

    def test_a_personal_crontab(self):
        assert cron.parse("*/5 * * * * /x y z\n", "/var/spool/cron/www", "www") == [
            {"file": "/var/spool/cron/www", "schedule": "*/5 * * * *", "user": "www", "command": "/x y z"}
        ]


class TestRead:
    def test_both_kinds_and_not_what_editors_leave(self, tmp_path):
        for name, text in (("cron.d/hub", "* * * * * root /a\n"), ("cron.d/hub.bak", "* * * * * root /b\n")):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text)
        (tmp_path / "spool").mkdir()
        (tmp_path / "spool/www.user").write_text("* * * * * /c\n")
        jobs = cron.read([str(tmp_path / "cron.d/*")], [str(tmp_path / "spool/*")])
        assert [(job["user"], job["command"]) for job in jobs] == [("root", "/a"), ("www.user", "/c")]


class TestCompare:
    def job(self, **more):
        return dict({"file": "/f", "schedule": "* * * * *", "user": "root", "command": "nice %s -v" % SYNC}, **more)

    def test_everything_there(self):
        result = cron.compare(ENTRY, [self.job()], "2020-11-02")
        assert result["findings"] == [] and result["missing"] == [] and result["gone"] == ["enzo_sync"]

    def test_missing(self):
        result = cron.compare(ENTRY, [self.job(command=SYNC + ".bak")])
        assert result["missing"] == ["stratcon_sync", "enzo_sync"] and "not in any crontab" in result["findings"][0]

    @pytest.mark.parametrize(
        "more, words", [({"user": "www"}, "runs as www"), ({"schedule": "1 * * * *"}, "runs at 1 ")]
    )
    def test_another_account_or_schedule(self, more, words):
        result = cron.compare(ENTRY, [self.job(**more)], "2021-01-01")
        assert words in result["findings"][0] and result["missing"] == []
        cron.check(result, "any")
        with pytest.raises(InsideError, match=words):
            cron.check(result, "present")
