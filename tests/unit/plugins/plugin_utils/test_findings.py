# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import pathlib
import re

import pytest
import yaml
from ansible_collections.circonus.inside.plugins.plugin_utils import findings as f

ROOT = pathlib.Path(__file__).resolve().parents[4]


def full(finding_id="unit_down", **more):
    values = dict.fromkeys(f.fields(finding_id), "X")
    return f.make(finding_id, **{**values, **more})


class TestRegister:
    @pytest.mark.parametrize("finding_id", sorted(f.REGISTER))
    def test_every_entry_makes_a_whole_sentence(self, finding_id):
        item = full(finding_id, host="h1", role="mq", site="east")
        assert list(item) == list(f.KEYS)
        assert item["what"].endswith(".") and not item["what"].endswith("..") and "{" not in item["what"]
        assert item["what"].startswith("mq on h1: expected ")
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", finding_id)
        assert f.REGISTER[finding_id]["meaning"].endswith(".")

    def test_remedies_name_playbooks_that_exist(self):
        known = {path.name for path in (ROOT / "playbooks").glob("*.yml")}
        named = {name for entry in f.REGISTER.values() for name in re.findall(r"[a-z_]+[.]yml", entry["remedy"])}
        # Built beside this check.
        assert named - known <= {"service_operate.yml", "service_restart.yml"}

    def test_remedies_name_parameters_that_exist(self):
        for entry in f.REGISTER.values():
            for playbook, rest in re.findall(r"([a-z_]+)[.]yml((?: (?:-e [a-z_]+=\S+|--limit \S+))*)", entry["remedy"]):
                meta = ROOT / "playbooks" / (playbook + ".meta.yml")
                if meta.exists():
                    known = yaml.safe_load(meta.read_text())["parameters"]
                    assert set(re.findall(r"-e ([a-z_]+)=", rest)) <= set(known), entry["remedy"]

    def test_meanings_name_parameters_that_exist(self):
        known = yaml.safe_load((ROOT / "playbooks/platform_check.meta.yml").read_text())["parameters"]
        for entry in f.REGISTER.values():
            assert set(re.findall(r"platform_check_\w+", entry["meaning"] + entry["remedy"])) <= set(known)

    def test_the_page_lists_every_finding(self):
        wanted = "\n".join(f.table()).rstrip("\n") + "\n"
        page = (ROOT / "docs/findings.md").read_text()
        assert page.endswith(wanted), "docs/findings.md: put the lines of findings.table() at its end"


class TestMake:
    def test_refuses_an_unknown_id_and_a_missing_value(self):
        with pytest.raises(KeyError):
            f.make("no_such_thing")
        with pytest.raises(KeyError):
            f.make("unit_down", host="h1", role="mq")

    def test_values_are_no_templates(self):
        assert "{host}" in full("unit_down", host="h1", role="mq", state="a {host} b")["found"]

    @pytest.mark.parametrize("role,host,site,words", [
        ("mq", "h1", "east", "mq on h1"), (None, "h1", "east", "h1"), ("mq", None, "east", "mq of east"),
        (None, None, "east", "site east"), ("web_db", None, None, "web_db"), (None, None, None, "the platform"),
    ])
    def test_says_where(self, role, host, site, words):
        assert f.where(role, host, site) == words


class TestWorstFirst:
    def test_sorts_by_severity_then_place(self):
        found = [full("unit_absent", host="a"), full("mq_alarm", host="b"), full("unit_down", host="b"),
                 full("unit_down", host="a")]
        assert [(i["id"], i["host"]) for i in f.worst_first(found)] == [
            ("mq_alarm", "b"), ("unit_down", "a"), ("unit_down", "b"), ("unit_absent", "a")]

    def test_keeps_one_of_the_same_and_the_worse_one(self):
        same = [full("pki_expiring", host="a"), full("pki_expiring", host="a", severity="error")]
        assert [i["severity"] for i in f.worst_first(same)] == ["error"]
        assert len(f.worst_first([full(host="a"), full(host="b"), full(host="a", state="Y")])) == 3


class TestCounts:
    def test_words(self):
        assert f.count_text([]) == "no findings"
        found = [full("mq_alarm"), full("unit_down"), full("unit_down"), full("space_low"), full("unit_absent")]
        assert f.count_text(found) == "1 critical, 2 errors, 1 warning, 1 for information"
        assert f.worst(found) == "critical" and f.worst([]) is None
        assert [len(f.at_least(found, severity)) for severity in f.SEVERITIES] == [1, 3, 4, 5]


class TestConclusion:
    WARNING = f.make("pki_weak_key", "app1", "api", path="/k", detail="RSA of 1024 bits")

    @pytest.mark.parametrize(
        ("found", "fail_on", "says"),
        [
            ([], "warning", (False, "All is well.")),
            ([WARNING], "error", (False, "All is well (1 warning below error).")),
            ([WARNING], "warning", (True, "1 warning; the worst: " + WARNING["what"])),
        ],
    )
    def test_what_does_not_fail_is_still_told(self, found, fail_on, says):
        assert f.conclusion(found, fail_on, "All is well") == says
