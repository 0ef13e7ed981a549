# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import json

import pytest

from ansible_collections.circonus.inside.plugins.module_utils import ca_guard
from ansible_collections.circonus.inside.plugins.module_utils.errors import CommandFailed, Refused

SITE = {
    "machinfo": {"app1": {"ip_address": "192.0.2.1"}, "app2": {"ip_address": "192.0.2.2"}},
    "svclist": {
        "ca": {"_machlist": ["app1", "app2"], "primary": "app1"},
        "web_db": {"_machlist": ["app1"], "connect_host": "app1", "ca_pass": "FakePass1"},
    },
}


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "site.json"
    path.write_text(json.dumps(SITE))
    return dict(ca_guard.DEFAULTS, host="app1", site_path=str(path))


def answers(*rows):
    """A database that gives one answer after another, the last one for ever."""
    left = list(rows)
    return lambda *unused: left.pop(0) if len(left) > 1 else left[0]


class TestCheckStart:
    def test_starts_where_nobody_else_is_connected(self, config):
        assert ca_guard.check_start(config, answers(["f", ""])) is None

    def test_refuses_while_another_host_is_connected(self, config):
        assert "CA of app2 is connected" in ca_guard.check_start(config, answers(["f", "192.0.2.2"]))

    def test_a_local_session_is_the_ca_of_the_database_host(self, config):
        assert ca_guard.check_start(config, answers(["f", "127.0.0.1,local,192.0.2.1"])) is None
        assert "CA of app1" in ca_guard.judge(["f", "127.0.0.1"], SITE, "app2")

    def test_refuses_where_site_json_names_another_host(self, config):
        assert "ca.primary is app1" in ca_guard.check_start(dict(config, host="app2"), answers(["f", ""]))

    def test_refuses_on_a_standby(self, config):
        assert "standby" in ca_guard.check_start(config, answers(["t", ""]))

    def test_no_answer_is_no_proof(self, config, monkeypatch):
        config["psql"] = "/nonexistent/psql"
        monkeypatch.setattr(ca_guard, "client", lambda config: config["psql"])
        with pytest.raises(CommandFailed):
            ca_guard.check_start(config)

    def test_the_password_is_not_in_the_message(self, config):
        config["psql"] = "/bin/false"
        with pytest.raises(CommandFailed) as failed:
            ca_guard.check_start(config)
        assert "FakePass1" not in str(failed.value)


class TestMain:
    def test_exit_code_1_and_one_line(self, config, tmp_path, capsys):
        (tmp_path / "guard.json").write_text(json.dumps(dict(config, psql="/nonexistent/psql")))
        assert ca_guard.main(["ca_guard", "check-start", str(tmp_path / "guard.json")]) == 1
        assert capsys.readouterr().err.count("\n") == 1

    def test_without_a_configuration_it_refuses(self, tmp_path):
        assert ca_guard.main(["ca_guard", "check-start", str(tmp_path / "none")]) == 1

    def test_wrong_use(self):
        assert ca_guard.main(["ca_guard"]) == 2


class TestEndSessions:
    def act(self, config, *rows, **more):
        moments = iter(range(1000))
        return ca_guard.end_sessions(
            config, "app2", 3.0, ask=answers(*rows), sleep=lambda _s: None, clock=lambda: next(moments), **more)

    def test_ends_what_is_there(self, config):
        assert self.act(config, ["f", "192.0.2.2"], ["1"], ["f", ""]) == 1

    def test_nothing_there_is_nothing_to_do(self, config):
        assert self.act(config, ["f", "192.0.2.20"]) == 0

    def test_a_host_that_comes_back_is_not_lost(self, config):
        with pytest.raises(Refused, match="planned"):
            self.act(config, ["f", "192.0.2.2"], ["1"], ["f", ""], ["f", "192.0.2.2"])
