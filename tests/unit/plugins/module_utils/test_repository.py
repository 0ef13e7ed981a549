# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The repository file of Hooper: pins, downgrades, and files that somebody else has changed."""

import pytest
from ansible_collections.circonus.inside.plugins.module_utils import repository
from ansible_collections.circonus.inside.plugins.module_utils.errors import (
    BadInput,
    CommandFailed,
    InsideError,
    Refused,
)

OFFICIAL = """[circonus]
name=circonus
enabled=1
baseurl=http://updates.circonus.net/centos/7/x86_64/
gpgcheck=0
metadata_expire=30m
"""
PINNED = OFFICIAL.replace("/7/", "/7/release-20191104/")
# What an operator may have made of it.
OWN = """# ours, ask the network people
[circonus]
name = Circonus (mirror)
baseurl = http://mirror.example.net/c/centos/7/x86_64
exclude=circonus-fq*
proxy=http://proxy.example.net:3128
enabled=0

[other]
name=other
baseurl=http://other.example.net/
"""


def decide(text=None, installed=None, **params):
    return repository.decide(text, params, installed)


class TestPinDate:
    @pytest.mark.parametrize("text", ["2019-11-04", "20191104", "release-20191104", " 2019-11-04 "])
    def test_reads_the_forms_that_people_write(self, text):
        assert repository.pin_date(text) == "2019-11-04"

    def test_nothing_and_none_are_not_the_same(self):
        assert [repository.pin_date(text) for text in (None, "", "none")] == [None, None, ""]

    @pytest.mark.parametrize("text", ["yesterday", "2019-13-04", "04.11.2019", "2024-02-30", "2019-11", "0.1.157263"])
    def test_refuses_what_is_no_date(self, text):
        with pytest.raises(BadInput, match="Expected circonus_repo_pin to be the date of a release"):
            repository.pin_date(text)

    def test_refuses_a_release_without_a_repository_of_its_own(self):
        with pytest.raises(BadInput, match="2019-07-29 or later, found 2019-07-15"):
            repository.pin_date("2019-07-15")
        assert repository.pin_date("2019-07-29") == "2019-07-29"

    def test_refuses_a_date_without_a_release_and_names_the_nearest(self):
        with pytest.raises(BadInput, match="No release has the date 2019-11-05 .*2019-11-04 and 2019-11-18"):
            repository.pin_date("2019-11-05")

    def test_accepts_a_date_later_than_every_known_release(self):
        assert repository.pin_date("2023-02-06") == "2023-02-06"

    def test_says_it_in_one_sentence_and_that_nothing_changed(self):
        for text in ("x", "2019-07-15", "2019-11-05"):
            with pytest.raises(InsideError) as caught:
                repository.pin_date(text)
            assert str(caught.value).endswith("Nothing was changed.") and "\n" not in str(caught.value)


class TestDowngrade:
    def test_is_refused_by_what_the_host_runs(self):
        with pytest.raises(Refused, match="2019-11-04 is earlier than the release 2021-11-15 that runs here"):
            decide(OFFICIAL, "2021-11-15", pin="2019-11-04")

    def test_is_refused_by_what_the_operator_says(self):
        with pytest.raises(Refused, match="circonus_release says"):
            decide(OFFICIAL, pin="2019-11-04", release="2021-11-15")

    def test_is_refused_by_the_pin_of_the_file_unless_the_operator_says_what_runs(self):
        with pytest.raises(Refused, match="the file is pinned to"):
            decide(PINNED, pin="2019-10-21")
        assert decide(PINNED, pin="2019-10-21", release="2019-10-07")["pin"] == "2019-10-21"

    def test_the_host_knows_better_than_the_operator(self):
        with pytest.raises(Refused, match="runs here"):
            decide(OFFICIAL, "2021-11-15", pin="2021-11-01", release="2021-11-01")

    def test_the_running_release_and_later_ones_are_fine(self):
        for pin in ("2021-11-15", "2021-11-29"):
            assert decide(OFFICIAL, "2021-11-15", pin=pin)["pin"] == pin

    def test_that_cannot_be_excluded_is_a_warning(self):
        assert "not proven" in decide(None, pin="2019-11-04")["warnings"][0]
        assert decide(None)["warnings"] == [] == decide(OFFICIAL, "2019-11-04", pin="2019-11-04")["warnings"]


class TestFile:
    def test_a_new_one_is_as_the_manual_has_it(self):
        assert decide(None)["text"] == OFFICIAL
        assert decide(None, pin="2019-11-04")["text"] == PINNED

    def test_a_second_run_finds_nothing_to_do(self):
        for params in ({}, {"pin": "2019-11-04"}, {"pin": "none"}, {"gpgcheck": True, "proxy": "http://p:1"}):
            text = decide(OWN, mirror="http://m", **params)["text"]
            assert decide(text, mirror="http://m", **params)["text"] == text

    def test_without_wishes_every_byte_of_a_present_one_stays(self):
        for text in (OFFICIAL, PINNED, OWN, OFFICIAL.rstrip("\n"), OFFICIAL.replace("\n", "\r\n")):
            assert decide(text)["text"] == text

    def test_only_the_address_of_a_changed_one_changes(self):
        text = decide(OWN, pin="2021-11-15")["text"]
        changed = "baseurl=http://mirror.example.net/c/centos/7/release-20211115/x86_64/"
        old, new = OWN.splitlines(), text.splitlines()
        assert [pair for pair in zip(old, new) if pair[0] != pair[1]] == [(old[3], changed)]

    def test_further_addresses_of_the_operator_are_not_thrown_away_unasked(self):
        text = OFFICIAL.replace("gpgcheck", "    http://second.example.net/\ngpgcheck")
        with pytest.raises(Refused, match="Say by circonus_repo_mirror"):
            decide(text, pin="2019-11-04")
        assert decide(text, mirror="http://m")["text"] == decide(OFFICIAL, mirror="http://m")["text"]

    def test_a_pin_stays_when_none_is_given_and_goes_when_asked_to(self):
        assert decide(PINNED)["pin"] == "2019-11-04" and decide(PINNED, mirror="http://m")["pin"] == "2019-11-04"
        assert decide(PINNED, pin="none")["text"] == OFFICIAL

    def test_a_mirror(self):
        assert decide(OFFICIAL, mirror="http://m/c/")["baseurl"] == "http://m/c/centos/7/x86_64/"

    def test_keys_of_the_operator_are_changed_by_his_wish_only(self):
        assert "gpgcheck=1" in decide(OFFICIAL, gpgcheck=True)["text"]
        signed = OFFICIAL.replace("gpgcheck=0", "gpgcheck=yes")
        assert decide(signed)["text"] == signed == decide(signed, gpgcheck=True)["text"]
        assert decide(OFFICIAL, proxy="http://p:3128")["text"] == OFFICIAL + "proxy=http://p:3128\n"

    def test_a_section_is_added_to_a_file_without_it(self):
        other = "[other]\nname=other"
        assert decide(other)["text"] == other + "\n\n" + OFFICIAL

    def test_a_repository_that_is_switched_off_stays_so_and_is_told(self):
        plan = decide(OWN, "2019-11-04", pin="2021-11-15")
        assert "enabled=0" in plan["text"] and "switched off" in plan["warnings"][0]

    def test_refuses_to_guess_an_address_of_another_form(self):
        text = OFFICIAL.replace("http://updates.circonus.net/centos/7/x86_64/", "http://mirror.example.net/circonus/")
        with pytest.raises(Refused, match="Say by circonus_repo_mirror"):
            decide(text, pin="2019-11-04")
        assert decide(text)["text"] == text
        assert decide(text, pin="2019-11-04", mirror="http://m")["pin"] == "2019-11-04"

    @pytest.mark.parametrize(
        "more, what",
        [
            ("mirrorlist=http://m/list\n", "mirrorlist"),
            ("\n[second]\nbaseurl=http://m/centos/7/x86_64/\n", r"\[second\]"),
        ],
    )
    def test_refuses_a_pin_beside_other_releases(self, more, what):
        with pytest.raises(Refused, match=what + " in .* offers other releases"):
            decide(OFFICIAL + more, pin="2019-11-04")
        assert decide(OFFICIAL + more)["text"] == OFFICIAL + more

    def test_a_second_section_that_is_off_does_no_harm(self):
        assert decide(OFFICIAL + "[second]\nenabled=0\nbaseurl=http://m/centos/7/x86_64/\n", pin="2019-11-04")["pin"]

    def test_a_password_in_a_proxy_is_refused(self):
        with pytest.raises(BadInput, match="yum.conf"):
            decide(None, proxy="http://me:secret@p:3128")


class TestHost:
    def test_tells_its_release_from_the_package(self):
        def run(argv, timeout):
            return 0, "circonus-web-service\t0.1.1572639958\n", ""

        assert repository.installed_release(find=lambda name: "/usr/bin/" + name, run=run) == "2019-11-04"

    def test_without_rpm_or_the_package_nothing_is_known(self):
        assert repository.installed_release(find=lambda name: None) is None
        missing = "package circonus-web-service is not installed\n"
        assert repository.installed_release(find=str, run=lambda argv, timeout: (1, missing, "")) is None

    def test_yum_comes_before_dnf(self):
        assert repository.package_manager(find=lambda name: name) == "yum"
        assert repository.package_manager(find=lambda name: name if name == "dnf" else None) == "dnf"
        with pytest.raises(Refused, match="yum or dnf"):
            repository.package_manager(find=lambda name: None)

    def test_cleans_only_its_own_repository(self):
        calls = []
        repository.clean_metadata("yum", run=lambda argv, timeout: calls.append(argv) or (0, "", ""))
        assert calls == [["yum", "--disablerepo=*", "--enablerepo=circonus", "clean", "metadata"]]
        with pytest.raises(CommandFailed, match="locked. The file is as it was"):
            repository.clean_metadata("yum", run=lambda argv, timeout: (1, "", "locked\n"))
