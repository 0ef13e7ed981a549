# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import copy
import html.parser
import json
import pathlib
import re
import xml.etree.ElementTree

import pytest

from ansible_collections.circonus.inside.plugins.plugin_utils import procedure, report, report_picture

ROLES = {
    "app1": ["ca", "fault_detection", "mq", "web_db", "web_frontend"],
    "app2": ["api", "caql_broker", "mq", "notification"],
    "app3": ["hub", "stratcon", "web_db", "web_stream"],
    "store1": ["data_storage"],
    "store2": ["data_storage"],
    "store3": ["data_storage"],
}


def host(name, primary=None, follows=None, alerting=None, reachable=True):
    facts = {"roles": ROLES[name], "reachable": reachable, "web_db": None, "follows": None, "lag_bytes": None,
             "alerting": alerting if name in ("app1", "app2") else None}
    if "web_db" in facts["roles"]:
        facts["web_db"] = "unknown" if not reachable else "primary" if primary else "standby" if follows else "down"
        facts["follows"] = follows
        facts["lag_bytes"] = 0 if follows else None
    return facts


def two_sites(active="east", dead=None):
    standby = {"east": "west", "west": "east"}[active]
    sites = {}
    for site in ("east", "west"):
        here, gone = site == active, site == dead
        upstream = {"app1": None if here else "%s-app1" % active, "app3": "%s-app1" % site}
        sites[site] = {
            "state": "unreachable" if gone else "active" if here else "standby",
            "status_page": "unknown" if gone else "ACTIVE" if here else "STANDBY",
            "client_address": here,
            "hosts": {
                "%s-%s" % (site, name): host(
                    name, primary=here and name == "app1", follows=None if gone else upstream.get(name),
                    alerting=None if gone else "running" if here else "stopped", reachable=not gone)
                for name in ROLES
            },
        }
    assert standby in sites
    return {"sites": sites}


def step(name, where, state="ok", seconds=0.2, message=""):
    return {"name": name, "host": where, "state": state, "seconds": seconds, "started": "2026-11-22T15:45:13.000Z",
            "message": message}


def planned_failover():
    """A planned failover from east to west that went well."""
    hosts = ["%s-%s" % (site, name) for site in ("east", "west") for name in ROLES]
    steps = [step("Take the lock of the platform", "east-app1", "changed", 0.31)]
    steps += [step("Read the state of every host", h, "ok", 0.4 + 0.07 * n) for n, h in enumerate(hosts)]
    swap = "Fence east-app1 and promote west-app1"
    steps += [
        step("Copy the certificate authority", "west-app1", "changed", 1.92, "24 files, 71.4 KiB"),
        step(swap, "west-app1", "changed", 2.44, "promoted to timeline 3 at 0/5000148"),
        step(swap, "east-app1", "changed", 2.13, "stopped cleanly, fence marker written"),
        step("Switch the active message queue", "west-app1", "changed", 0.62),
        step("Install site.json", "east-app1", "changed", 0.2),
        step("Install site.json", "west-app1", "changed", 0.2),
        step("Make east-app1 follow west-app1", "east-app1", "changed", 6.8, "direct: shut down before the fork"),
        step("Stop alerting on the old side", "east-app1", "changed", 1.1),
        step("Start fault_detection", "west-app1", "changed", 3.9),
        step("Start notification", "west-app2", "changed", 2.6),
        step("Compare with what was asked for", "west-app1", "ok", 0.51),
    ]
    return {
        "schema": "circonus.inside.report/1", "procedure": "datacenter_failover", "run_id": "20261122T154512Z-3f9a1c",
        "result": "ok", "reason": "West is active; east-app1 follows west-app1 and nothing was lost.",
        "check_mode": False,
        "started": "2026-11-22T15:45:12.123Z", "finished": "2026-11-22T15:45:53.323Z", "seconds": 41.2,
        "controller": "ops1/1c9e77aa/4242/99", "owner": "anna@ops1",
        "parameters": {"datacenter_failover_to": "west", "datacenter_failover_mode": "planned",
                       "circonus_edition": None, "datacenter_failover_max_lag_bytes": 16777216},
        "plan": ["Fence the primary east-app1, promote west-app1.", "Make west the active site in both site.json.",
                 "Stop alerting in east, start fault_detection, then notification in west."],
        "steps": steps, "remaining": [], "warnings": [], "write_gap_ms": 112.4, "rpo_bytes": 0,
        "sites": {"active": "west", "standby": "east"},
        "platform": {"before": two_sites("east"), "after": two_sites("west")},
    }


def failed_failover():
    """An unplanned failover that stopped on the way."""
    document = planned_failover()
    document["steps"] = document["steps"][:13] + [
        step("Fence east-app1 and promote west-app1", "west-app1", "changed", 4.0, "promoted to timeline 3"),
        step("Switch the active message queue", "west-app1", "failed", 30.02,
             "Expected failover.pl to exit 0, found 3: cannot update circonus.mq_cluster. "
             "Look at /var/log on west-app1."),
    ]
    document.update(
        result="failed", seconds=71.0, rpo_bytes=None, write_gap_ms=812.0,
        reason="Switch the active message queue on west-app1: Expected failover.pl to exit 0, found 3: cannot update "
               "circonus.mq_cluster. Look at /var/log on west-app1.",
        remaining=["Keep east-app1 switched off until web_db_rejoin.yml has run for it."],
        warnings=["The old primary could not be proven down; 16.0 KiB of loss were accepted."],
        platform={"before": two_sites("east"), "after": two_sites("west", dead="east")},
    )
    return document


def refused():
    """Nothing was touched."""
    document = planned_failover()
    document.update(
        result="refused", steps=document["steps"][1:13], plan=[], seconds=3.4, write_gap_ms=None, rpo_bytes=None,
        reason="web_db on west-app1 replays 48.0 MiB behind east-app1 (limit 16.0 MiB). Wait, or raise "
               "datacenter_failover_max_lag_bytes.",
        sites={"active": "east", "standby": "west"}, platform={"before": two_sites("east")},
    )
    return document


def site_check():
    """A procedure without databases or pictures."""
    document = planned_failover()
    for key in ("write_gap_ms", "rpo_bytes", "sites", "platform"):
        del document[key]
    document.update(procedure="site_check", result="nothing_to_do", reason="Both site.json are valid and coherent.",
                    steps=[], plan=[], parameters={}, seconds=0.8, findings=[])
    return document


def check_mode():
    """What --check leaves behind."""
    document = planned_failover()
    document.update(check_mode=True, reason="Check mode: nothing was changed. East is healthy, west can take over.",
                    steps=document["steps"][1:13] + [step("Install site.json", "east-app1", "planned", 0.2)],
                    platform={"before": two_sites("east")}, write_gap_ms=None, rpo_bytes=None,
                    sites={"active": "east", "standby": "west"}, seconds=4.2)
    return document


def one_site():
    """A failover between two databases of a single site."""
    document = planned_failover()
    before, after = two_sites("east"), two_sites("east")
    for picture in (before, after):
        del picture["sites"]["west"]
    hosts = after["sites"]["east"]["hosts"]
    hosts["east-app1"].update(web_db="standby", follows="east-app3", lag_bytes=0)
    hosts["east-app3"].update(web_db="primary", follows=None, lag_bytes=None)
    document.update(procedure="web_db_failover", reason="east-app3 is primary; east-app1 follows it.",
                    sites={"active": "east", "standby": None}, platform={"before": before, "after": after})
    return document


ALL = [planned_failover, failed_failover, refused, site_check, check_mode, one_site]


class Page(html.parser.HTMLParser):
    """Collects tags and text; complains about tags that are not closed."""

    VOID = ("meta", "br", "hr", "link", "img")

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.words, self.attributes = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.extend(attrs)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.extend(attrs)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def svgs(page):
    return [xml.etree.ElementTree.fromstring(found) for found in re.findall(r"<svg.*?</svg>", page, re.S)]


def words_of(svg):
    return [" ".join("".join(e.itertext()).split()) for e in svg.iter() if e.tag.endswith("text")]


class TestRenderHtml:
    @pytest.mark.parametrize("make", ALL)
    def test_is_well_formed_and_self_contained(self, make):
        text = report.render_html(make())
        page = Page(text)
        assert text.startswith("<!DOCTYPE html>")
        assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
        assert not [v for k, v in page.attributes if k in ("src", "href", "srcset") or (k or "").startswith("on")]
        assert "url(" not in text and "@import" not in text
        assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", text)

    @pytest.mark.parametrize("make", ALL)
    def test_shows_result_and_reason_in_words(self, make):
        document = make()
        text = Page(report.render_html(document)).text
        assert report.RESULTS[document["result"]] in text
        assert document["reason"] in text

    def test_shows_key_figures(self):
        text = Page(report.render_html(planned_failover())).text
        assert "112 ms" in text and "0 bytes" in text and "41.2 s" in text

    def test_says_not_measured_where_a_failed_run_has_no_figure(self):
        document = failed_failover()
        document["write_gap_ms"] = None
        text = Page(report.render_html(document)).text
        assert "not measured" in text and "unknown" in text

    def test_names_the_three_slowest_steps(self):
        text = Page(report.render_html(planned_failover())).text
        assert re.search(r"Slowest\s+Make east-app1 follow west-app1 on east-app1: 6\.80 s", text)

    def test_shows_every_step_with_host_state_and_seconds(self):
        document = planned_failover()
        text = Page(report.render_html(document)).text
        for one in document["steps"]:
            assert one["name"] in text and one["host"] in text
            assert re.search(r"%s\s+(\w+\s+)*%.2f" % (re.escape(one["host"]), one["seconds"]), text)

    def test_escapes_every_value(self):
        nasty = '<script>alert("x")</script>&\x1b[31m\x00'
        document = failed_failover()
        fixed = set(document) | set(document["steps"][0]) | set(host("app1")) | set(document["sites"])
        fixed |= {"before", "after", "hosts", "state", "status_page", "client_address"}

        def poison(value, key=""):
            if isinstance(value, dict):
                return {(k if k in fixed else nasty + k): poison(v, k) for k, v in value.items()}
            if isinstance(value, list):
                return [poison(v, key) for v in value]
            free = isinstance(value, str) and key not in ("result", "state", "web_db", "alerting")
            return nasty + value if free else value

        document = poison(document)
        document["note"] = {nasty: [nasty] * 40}
        page = report.render_html(document)
        assert "script" not in Page(page).tags
        assert "\x1b" not in page and "\x00" not in page
        assert len(svgs(page)) == 2

    @pytest.mark.parametrize("platform", [
        None, [], "text", {}, {"before": None, "after": None}, {"before": {}}, {"before": {"sites": {}}},
        {"after": {"sites": {"east": None}}}, {"after": {"sites": {"east": {"hosts": {"h": []}}}}},
        {"after": {"sites": {"east": {"hosts": {"h": {"lag_bytes": "many"}}}}}},
    ])
    def test_draws_nothing_without_a_whole_platform(self, platform):
        document = dict(planned_failover(), platform=platform)
        assert svgs(report.render_html(document)) == []
        assert report.render_text(document).startswith("OK")

    def test_survives_an_empty_document(self):
        assert "No reason was recorded." in Page(report.render_html({})).text
        assert report.render_text({}).startswith("UNKNOWN")

    def test_draws_one_picture_where_nothing_differs(self):
        document = dict(planned_failover(), platform={"before": two_sites("east"), "after": two_sites("east")})
        page = report.render_html(document)
        assert len(svgs(page)) == 1 and "looked the same" in page

    def test_says_when_the_platform_was_not_read_after_a_failure(self):
        document = dict(failed_failover(), platform={"before": two_sites("east")})
        assert "not read again" in report.render_html(document)

    def test_warns_of_two_primaries(self):
        document = failed_failover()
        document["platform"]["after"]["sites"]["east"]["hosts"]["east-app1"]["web_db"] = "primary"
        assert "Two or more databases accept writes: east-app1, west-app1." in report.render_html(document)
        assert "DANGER: Two or more" in report.render_text(document)

    def test_shows_extra_keys_of_a_procedure(self):
        text = Page(report.render_html(dict(site_check(), findings=[{"id": "M-03"}]))).text
        assert "findings" in text and "M-03" in text

    def test_groups_hosts_that_ended_alike(self):
        page = report.render_html(planned_failover())
        assert page.count(">Read the state of every host<") == 1 and "12 hosts" in page


class TestPicture:
    def test_marks_primary_standby_and_clients(self):
        before, after = svgs(report.render_html(planned_failover()))
        for svg, active, standby in ((before, "east", "west"), (after, "west", "east")):
            words = words_of(svg)
            assert words.count("PRIMARY") == 1 and words.count("ACTIVE") == 1
            assert words.count("CLIENTS CONNECT HERE") == 1
            assert "follows %s-app1, no lag" % active in words
            assert any("replication from %s to %s" % (active, standby) in w for w in words)
            assert words.count("ALERTING ON") == 2 and words.count("ALERTING OFF") == 2

    def test_lines_up_both_pictures(self):
        before, after = svgs(report.render_html(failed_failover()))
        assert before.attrib["viewBox"] == after.attrib["viewBox"]

    def test_marks_only_the_after_picture(self):
        before, after = svgs(report.render_html(planned_failover()))

        def bars(svg):
            return [e for e in svg.iter() if e.attrib.get("class") == "differs"]

        assert bars(before) == [] and len(bars(after)) == 4

    def test_arrow_starts_at_the_primary(self):
        _before, after = svgs(report.render_html(planned_failover()))
        assert sum(1 for e in after.iter() if e.attrib.get("class") == "edge") == 1
        assert sum(1 for e in after.iter() if e.attrib.get("class") == "edge local") == 2

    def test_shows_an_unreachable_site(self):
        _before, after = svgs(report.render_html(failed_failover()))
        words = words_of(after)
        assert words.count("UNREACHABLE") == 7 and "no replication between east and west" in words

    def test_draws_one_site(self):
        before, after = svgs(report.render_html(one_site()))
        assert words_of(before).count("STANDBY") == 1 and words_of(after).count("PRIMARY") == 1
        assert not any("replication" in w for w in words_of(after))

    def test_draws_many_databases_in_a_chain(self):
        picture = two_sites("east")
        hosts = picture["sites"]["west"]["hosts"]
        for number in range(4, 9):
            hosts["west-app%d" % number] = dict(host("app3", follows="west-app%d" % (number - 1)))
        svg = xml.etree.ElementTree.fromstring(report_picture.render("Before", picture))
        right = max(float(e.attrib["cx"]) for e in svg.iter() if e.attrib.get("class") == "dot")
        assert right < report_picture.WIDTH - 60

    def test_keeps_databases_of_a_large_site(self):
        picture = two_sites("east")
        hosts = picture["sites"]["east"]["hosts"]
        for number in range(4, 900):
            hosts["east-store%d" % number] = dict(host("store1"), reachable=number % 100 != 0)
        words = words_of(xml.etree.ElementTree.fromstring(report_picture.render("Before", picture)))
        assert "PRIMARY" in words and "UNREACHABLE" in words
        assert any(re.fullmatch(r"and \d+ more hosts, see the JSON report", w) for w in words)

    def test_shortens_long_names(self):
        picture = two_sites("east")
        picture["sites"]["east"]["hosts"] = {"a-very-long-host-name" * 9: host("app1", primary=True)}
        svg = xml.etree.ElementTree.fromstring(report_picture.render("Before", picture))
        assert any(w.endswith("\u2026") for w in words_of(svg))

    def test_shows_a_site_that_is_missing_in_one_picture(self):
        before, after = two_sites("east"), two_sites("east")
        del after["sites"]["west"]
        document = dict(planned_failover(), platform={"before": before, "after": after})
        assert "NOT SEEN" in words_of(svgs(report.render_html(document))[1])


class TestDescribe:
    def test_names_the_active_site_first(self):
        assert report_picture.describe(two_sites("west")) == (
            "west ACTIVE (primary west-app1, clients, alerting), east STANDBY (follows west-app1)")

    def test_says_that_a_site_is_gone(self):
        assert report_picture.describe(two_sites("west", dead="east")).endswith("east UNREACHABLE")


class TestRenderText:
    @pytest.mark.parametrize("make", ALL)
    @pytest.mark.parametrize("width", [60, 80, 100, 140])
    def test_is_short_and_fits(self, make, width):
        lines = report.render_text(make(), width).split("\n")
        assert len(lines) <= (20 if width < 80 else 15)
        assert max(map(len, lines)) <= width

    def test_starts_with_the_result(self):
        assert report.render_text(planned_failover()).split("\n")[:3] == [
            "OK: datacenter_failover, run 20261122T154512Z-3f9a1c",
            "  West is active; east-app1 follows west-app1 and nothing was lost.",
            "  write gap 112 ms | data lost (RPO) 0 bytes | 41.2 s | active west, standby east",
        ]

    def test_says_where_a_failed_run_left_the_platform(self):
        text = report.render_text(failed_failover())
        assert text.startswith("FAILED: ")
        assert "Now: west ACTIVE (primary west-app1, clients, alerting), east UNREACHABLE" in text
        assert "Changed before the end: 2 steps, the last one: Fence east-app1 and promote west-app1 on west" in text
        assert "run the same command again" in text
        assert "1. Keep east-app1 switched off until web_db_rejoin.yml has run for it." in text

    def test_does_not_call_an_old_picture_now(self):
        text = report.render_text(dict(failed_failover(), platform={"before": two_sites("east")}))
        assert "Before this run: east ACTIVE" in text and "Now:" not in text

    def test_says_that_a_refusal_changed_nothing(self):
        text = report.render_text(refused())
        assert text.startswith("REFUSED: ") and "No step changed anything." in text and "Found: east ACTIVE" in text

    def test_shows_the_plan_in_check_mode(self):
        text = report.render_text(check_mode())
        assert text.startswith("OK (CHECK MODE): ") and "Plan:" in text and "1 step would change something" in text
        assert "write gap" not in text

    def test_names_a_failed_step_that_the_reason_leaves_out(self):
        text = report.render_text(dict(failed_failover(), reason="It stopped."))
        assert "Failed: Switch the active message queue on west-app1: Expected failover.pl" in text

    def test_a_dead_host_in_a_good_run_is_no_failure(self):
        document = planned_failover()
        document["steps"].insert(1, step("Read the state of every host", "east-store1", "unreachable"))
        assert "Failed:" not in report.render_text(document)

    def test_points_to_the_report_for_long_lists(self):
        document = dict(failed_failover(), remaining=["Do number %d." % n for n in range(40)])
        lines = report.render_text(document).split("\n")
        assert len(lines) <= 15 and re.fullmatch(r"  \.\.\. and \d+ more items in the report\.", lines[-1])

    def test_removes_terminal_codes(self):
        assert "\x1b" not in report.render_text(dict(planned_failover(), reason="a\x1b[2Jb\nc"))


class TestSlowest:
    def test_names_each_step_once_with_its_slowest_host(self):
        found = report.slowest(planned_failover(), 2)
        assert [(s["name"], s["host"], s["seconds"]) for s in found] == [
            ("Make east-app1 follow west-app1", "east-app1", 6.8), ("Start fault_detection", "west-app1", 3.9)]
        assert found[0]["share"] == round(6.8 / 41.2, 3)

    def test_ignores_skipped_steps_and_survives_none(self):
        assert report.slowest({"steps": [step("a", "h", "skipped", 9.0)]}) == []
        assert report.slowest({}) == []


class TestValidate:
    @pytest.mark.parametrize("make", ALL)
    def test_accepts_documents_of_this_shape(self, make):
        document = json.loads(json.dumps(make()))
        assert report.validate(document) == []

    def test_accepts_what_a_journal_makes(self):
        at = "2026-11-22T15:45:12.123Z"
        records = [
            {"type": "begin", "procedure": "x", "run_id": "r", "started": at, "controller": "c", "owner": "o"},
            dict(step("Read", "h"), type="step"),
            {"type": "fact", "key": "write_gap_ms", "value": 3.5},
            {"type": "completed"},
        ]
        assert report.validate(procedure.document(records, at)) == []
        assert report.validate(procedure.document([], at)) == []

    @pytest.mark.parametrize("path,value,problem", [
        (("result",), "fine", "result: expected one of ok, failed, refused, nothing_to_do, found 'fine'"),
        (("schema",), "other/1", "schema: expected 'circonus.inside.report/1', found 'other/1'"),
        (("seconds",), "4", "seconds: expected number, found str"),
        (("seconds",), True, "seconds: expected number, found bool"),
        (("started",), "yesterday", "started: expected UTC time like 2026-11-22T15:45:12.123Z, found 'yesterday'"),
        (("reason",), "", "reason: expected one sentence, found nothing"),
        (("remaining",), [3], "remaining[0]: expected text, found int"),
        (("rpo_bytes",), -1, "rpo_bytes: expected a number of at least 0 or null, found -1"),
        (("sites",), None, "sites: expected a mapping of active and standby, found None"),
        (("steps", 0, "state"), "done",
         "steps[0].state: expected one of ok, changed, failed, skipped, unreachable, planned, found 'done'"),
        (("steps", 0, "message"), None, "steps[0].message: expected str, found NoneType"),
        (("steps", 0), "step", "steps[0]: expected a mapping, found str"),
        (("platform",), [], "platform: expected before and after, found list"),
        (("platform", "later"), {}, "platform.later: expected before or after"),
        (("platform", "after"), {}, "platform.after.sites: expected a mapping of sites"),
        (("platform", "after", "sites", "east"), 1, "platform.after.sites.east: expected a mapping, found int"),
        (("platform", "after", "sites", "east", "state"), "up",
         "platform.after.sites.east.state: expected one of active, standby, unreachable, unknown, found 'up'"),
        (("platform", "after", "sites", "east", "hosts", "east-app1", "web_db"), "master",
         "platform.after.sites.east.hosts.east-app1.web_db: expected one of primary, standby, down, unknown, "
         "found 'master'"),
        (("platform", "after", "sites", "east", "hosts", "east-app1", "lag_bytes"), "0",
         "platform.after.sites.east.hosts.east-app1.lag_bytes: expected int or null, found '0'"),
        (("platform", "after", "sites", "east", "hosts", "east-app1"), None,
         "platform.after.sites.east.hosts.east-app1: expected a mapping, found NoneType"),
    ])
    def test_names_what_differs(self, path, value, problem):
        document = copy.deepcopy(planned_failover())
        place = document
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
        assert report.validate(document) == [problem]

    def test_names_what_is_missing(self):
        assert "run_id: missing" in report.validate({})
        assert report.validate([]) == ["document: expected a mapping, found list"]


class TestDocumentation:
    def test_explains_every_key(self):
        path = pathlib.Path(__file__).resolve().parents[4] / "docs/report.md"
        text = path.read_text(encoding="utf-8")
        keys = set(planned_failover()) | set(step("a", "b")) | set(host("app1")) | set(two_sites()["sites"]["east"])
        assert [key for key in sorted(keys) if "`%s`" % key not in text] == []
        assert [state for state in report.STATES if "`%s`" % state not in text] == []
