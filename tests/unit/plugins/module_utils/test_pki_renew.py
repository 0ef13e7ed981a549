# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import base64
import os

import pytest
from ansible_collections.circonus.inside.plugins.module_utils import pki_files, pki_renew
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput, Refused, TimedOut

UP = {"active": "active", "enabled": "enabled", "exists": True, "load": "loaded"}


def der(number):
    """Something built like a certificate, different for each number."""
    inner = b"\xa0\x03\x02\x01" + bytes(bytearray([number]))
    body = b"\x30" + bytes(bytearray([len(inner)])) + inner + b"\x30\x00" + b"\x03\x01\x00"
    return b"\x30" + bytes(bytearray([len(body)])) + body


def pem(number):
    text = base64.b64encode(der(number)).decode("ascii")
    return "-----BEGIN CERTIFICATE-----\n%s\n-----END CERTIFICATE-----\n" % text


@pytest.fixture
def host(tmp_path):
    """A directory with a pair, and a place for records."""
    for name, text in (("a.crt", pem(1)), ("a.key", "secret one")):
        (tmp_path / name).write_text(text)
    os.chmod(str(tmp_path / "a.key"), 0o600)
    return tmp_path


def pair(host, *names):
    return [{"path": str(host / "a.crt"), "files": [str(host / name) for name in names or ("a.crt", "a.key")]}]


def aside(host, run="run1", *names, **options):
    return pki_renew.set_aside(pair(host, *names), run, str(host / "state"), **options)


def back(host, run="run1"):
    return pki_renew.give_back(run, str(host / "state"))


def content(host):
    return {path.name: path.read_text() for path in host.iterdir() if path.is_file()}


def units(_names):
    return {pki_renew.PROCESSOR: UP}


class TestAside:
    def test_moves_and_remembers(self, host):
        moved = aside(host)
        assert sorted(content(host)) == ["a.crt.aside-run1", "a.key.aside-run1"]
        assert moved[0] == [str(host / "a.crt"), str(host / "a.crt.aside-run1")]
        record, = pki_renew.read(str(host / "state"), units=units)["records"]
        assert record["files"] == dict(moved) and record["accepted"] == "" and record["mtime"] is None
        assert [item["type"] for item in record["old"]] == ["certificate"]

    def test_leaves_a_key_that_is_good(self, host):
        aside(host, "run1", "a.crt")
        assert sorted(content(host)) == ["a.crt.aside-run1", "a.key"]

    def test_check_mode_moves_and_writes_nothing(self, host):
        before = content(host)
        assert len(aside(host, check_mode=True)) == 2
        assert content(host) == before and not (host / "state").exists()

    def test_a_second_run_keeps_what_was_there_first(self, host):
        aside(host)
        (host / "a.crt").write_text(pem(2))
        moved = aside(host, "run2")
        assert moved == [[str(host / "a.crt"), str(host / "a.crt.aside-run2")]]
        assert back(host, "run2") == [str(host / "a.crt"), str(host / "a.key")]
        assert content(host)["a.crt"] == pem(1) and content(host)["a.key"] == "secret one"
        assert content(host)["a.crt.aside-run2"] == pem(2)

    def test_a_name_that_is_taken_is_not_overwritten(self, host):
        (host / "a.crt.aside-run1").write_text("older")
        aside(host)
        assert content(host)["a.crt.aside-run1"] == "older" and content(host)["a.crt.aside-run1.2"] == pem(1)

    def test_refuses_a_run_id_that_is_a_path(self, host):
        with pytest.raises(BadInput, match="Expected a run id"):
            aside(host, "../x")

    def test_a_record_that_is_broken_is_named(self, host):
        (host / "state").mkdir()
        (host / "state" / "x.json").write_text("{")
        with pytest.raises(Refused, match="Expected the record .*x.json"):
            aside(host)


class TestBack:
    def test_gives_back_as_it_was(self, host):
        before, mode = content(host), os.stat(str(host / "a.key")).st_mode
        aside(host)
        assert back(host) == [str(host / "a.crt"), str(host / "a.key")]
        assert content(host) == before and os.stat(str(host / "a.key")).st_mode == mode
        assert pki_renew.records(str(host / "state")) == []

    def test_what_was_not_proven_is_kept_beside(self, host):
        aside(host)
        (host / "a.crt").write_text(pem(2))
        back(host)
        assert content(host)["a.crt"] == pem(1) and content(host)["a.crt.rejected-run1"] == pem(2)

    def test_what_was_missing_is_missing_again(self, host):
        (host / "a.crt").unlink()
        aside(host)
        (host / "a.crt").write_text(pem(2))
        assert back(host) == [str(host / "a.key")]
        assert "a.crt" not in content(host) and content(host)["a.crt.rejected-run1"] == pem(2)

    def test_what_was_accepted_stays(self, host):
        aside(host)
        (host / "a.crt").write_text(pem(2))
        pki_renew.accept([{"path": str(host / "a.crt"), "sha256": digest(2)}], str(host / "state"))
        assert back(host) == [] and content(host)["a.crt"] == pem(2)

    def test_nothing_is_taken_away_when_the_old_one_is_gone(self, host):
        aside(host)
        (host / "a.crt.aside-run1").unlink()
        (host / "a.crt").write_text(pem(2))
        assert back(host) == [str(host / "a.key")] and content(host)["a.crt"] == pem(2)

    def test_killed_between_two_moves(self, host, monkeypatch):
        before, real = content(host), pki_renew._move

        def once(path, target):
            real(path, target)
            raise KeyboardInterrupt

        monkeypatch.setattr(pki_renew, "_move", once)
        with pytest.raises(KeyboardInterrupt):
            aside(host)
        monkeypatch.undo()
        back(host, "run2")
        assert content(host) == before


def digest(number):
    import hashlib

    return hashlib.sha256(der(number)).hexdigest()


class TestAccept:
    def accept(self, host, number):
        return pki_renew.accept([{"path": str(host / "a.crt"), "sha256": digest(number)}], str(host / "state"))

    def test_once(self, host):
        aside(host)
        (host / "a.crt").write_text(pem(2))
        assert self.accept(host, 2) is True and self.accept(host, 2) is False

    def test_refuses_another_file_than_the_proven_one(self, host):
        aside(host)
        (host / "a.crt").write_text(pem(3))
        with pytest.raises(Refused, match="Expected the certificate that was proven"):
            self.accept(host, 2)

    def test_a_later_run_begins_anew(self, host):
        aside(host)
        (host / "a.crt").write_text(pem(2))
        self.accept(host, 2)
        aside(host, "run2", "a.crt")
        assert back(host, "run2") == [str(host / "a.crt")] and content(host)["a.crt"] == pem(2)

    def test_closed_only_when_accepted(self, host):
        aside(host)
        path, state = str(host / "a.crt"), str(host / "state")
        assert pki_renew.close([path], state) is False and len(pki_renew.records(state)) == 1
        (host / "a.crt").write_text(pem(2))
        self.accept(host, 2)
        assert pki_renew.close([path], state) is True and pki_renew.records(state) == []


class TestPresented:
    def run(self, host, answers, timeout=10):
        now, asked = [0.0], []

        def runner(argv, _timeout):
            asked.append(argv)
            number = answers[min(len(asked), len(answers)) - 1]
            return 1, ("CONNECTED\n" + (pem(number) if number else "no peer certificate")).encode("ascii")

        result = pki_renew.presented(
            43191, str(host / "a.crt"), str(host / "a.key"), timeout, runner, clock=lambda: now[0],
            pause=lambda seconds: now.__setitem__(0, now[0] + seconds))
        return result, asked

    def test_waits_for_the_new_one(self, host):
        result, asked = self.run(host, [None, 9, 1])
        assert result == digest(1) and len(asked) == 3
        assert "127.0.0.1:43191" in asked[0] and "secret one" not in " ".join(asked[0])

    @pytest.mark.parametrize("number,words", [(9, "found another one"), (None, "found none")])
    def test_says_what_it_presents_instead(self, host, number, words):
        with pytest.raises(TimedOut, match="Expected port 43191 .* within 10 s, " + words):
            self.run(host, [number])

    def test_no_key_is_looked_into(self, host):
        def look(path):
            assert ".key" not in path
            return pki_files.look(path)

        aside(host)
        pki_renew.read(str(host / "state"), look=look, units=units)
