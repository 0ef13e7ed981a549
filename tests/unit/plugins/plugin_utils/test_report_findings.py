# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import copy
import xml.etree.ElementTree

import pytest
from ansible_collections.circonus.inside.plugins.plugin_utils import findings as f
from ansible_collections.circonus.inside.plugins.plugin_utils import report, report_findings


def document(verdict, result="ok", **more):
    return {
        "schema": report.SCHEMA, "procedure": "platform_check", "run_id": "20261122T154512Z-3f9a1c", "result": result,
        "reason": "14 of 14 hosts and 38 roles on them are as they must be.", "check_mode": False,
        "started": "2026-11-22T15:45:12.123Z", "finished": "2026-11-22T15:45:15.323Z", "seconds": 3.2,
        "controller": "ops1/1c9e77aa/4242/99", "owner": "anna@ops1", "parameters": {}, "plan": [], "steps": [],
        "remaining": [], "warnings": [], "platform": {"after": verdict["picture"]}, "fail_on": "warning",
        **{key: verdict[key] for key in ("findings", "unknown", "sites", "connections", "checked")}, **more,
    }


@pytest.fixture
def broken(healthy):
    """A dead service, an expired certificate and a host that is down."""
    healthy.item("east-app3", "stratcon", "units", "stratcon").update(active="inactive", sub="dead", up=False)
    healthy.answers["east-app3"]["stratcon"] = {}
    healthy.item("west-app1", "web_frontend", "pki", "cert").update(not_after_epoch=0)
    healthy.answers["west-store2"] = {"reachable": False, "msg": "<b>No route to host</b>"}
    healthy.item("east-store1", "data_storage", "ports", 8112).update(listening=False, ok=False)
    return document(healthy.check(), "failed", reason="1 critical, 3 errors; the worst: …")


class TestText:
    def test_a_healthy_platform_is_one_line(self, healthy):
        assert report.render_text(document(healthy.check())) == (
            "HEALTHY: 14 of 14 hosts and 38 roles on them are as they must be. Active: east.")

    def test_one_line_for_each_finding_under_its_severity(self, broken):
        lines = report.render_text(broken).splitlines()
        assert lines[0] == "NOT HEALTHY: platform_check, run 20261122T154512Z-3f9a1c"
        head = " ".join(" ".join(lines[1:3]).split())
        assert head == ("1 critical, 3 errors; 13 of 14 hosts checked; failing from warning on; 3.20 s | active east, "
                        "standby west")
        at = lines.index("  CRITICAL")
        assert lines[at + 1].startswith("    web_frontend on west-app1: expected /www/etc/ssl/west-app1.crt to be")
        assert lines[at + 2] == "  ERROR" and " -> service_operate.yml -e " in "\n".join(lines[at + 3:at + 6])
        assert len([line for line in lines if line.startswith("    ")]) == 4
        assert lines[-1] == "  Not known: 1 thing, see the report."

    def test_a_very_broken_platform_does_not_flood_the_terminal(self, broken):
        broken["findings"] = [f.make("space_full", host="h%d" % n, limit=1, mount="/", percent=0, free=0)
                              for n in range(100)]
        lines = report.render_text(broken).splitlines()
        assert len(lines) < 50 and "  ... and 60 more in the report." in lines

    def test_findings_below_the_line_are_shown_in_a_good_run(self, healthy):
        healthy.item("east-app3", "hub", "units", "grover_queue").update(present=False)
        text = report.render_text(document(healthy.check()))
        assert text.startswith("NO FINDING AT OR ABOVE WARNING: ") and "  FOR INFORMATION\n    hub on east-app3" in text


class TestHtml:
    def test_shows_findings_picture_and_connections_and_escapes(self, broken):
        page = report.render_html(broken)
        assert "<b>No route" not in page and "&lt;b&gt;No route to host" in page
        assert 'class="badge"><span aria-hidden="true">\u2715</span> NOT HEALTHY' in page
        assert page.count('<tr class="error">') == 3 and page.count('<tr class="critical">') == 1
        assert "stratcon: ERROR" in page and ">CRITICAL</text>" in page and ">UNREACHABLE</text>" in page
        assert "not listening: east-store1" in page and "<details open>" in page
        assert "Where it stopped" not in page and "Measured and recorded" not in page
        for svg in page.split("<svg")[1:]:
            xml.etree.ElementTree.fromstring("<svg" + svg.split("</svg>")[0] + "</svg>")

    def test_a_healthy_page_says_so(self, healthy):
        page = report.render_html(document(healthy.check()))
        assert "</span> HEALTHY</span>" in page and "Nothing: everything that could be read" in page
        assert ">UNKNOWN</text>" not in page


class TestProblems:
    def test_good_documents_have_none(self, broken):
        assert report.validate(broken) == []

    @pytest.mark.parametrize("change,problem", [
        (lambda d: d.update(findings={}), "findings: expected list, found dict"),
        (lambda d: d["findings"].insert(0, "x"), "findings[0]: expected a mapping, found str"),
        (lambda d: d["findings"][0].pop("remedy"), "findings[0].remedy: missing"),
        (lambda d: d["findings"][0].update(host=3), "findings[0].host: expected text, found 3"),
        (lambda d: d["findings"][0].update(severity="bad"), "findings[0].severity: expected one of critical, error"),
    ])
    def test_names_what_is_wrong(self, broken, change, problem):
        wrong = copy.deepcopy(broken)
        change(wrong)
        assert any(text.startswith(problem) for text in report.validate(wrong)), report.validate(wrong)

    def test_label_of_an_interrupted_run_is_the_usual_one(self, broken):
        del broken["findings"]
        assert not report_findings.present(broken) and report.render_text(broken).startswith("FAILED: platform_check")


class TestTls:
    PORT = {"host": "app1", "site": "east", "role": "api", "port": 443, "outcome": "ok", "detail": "", "cipher": "x",
            "protocol": "TLSv1.3", "client_certificate": "not asked for", "subject": "CN=<b>", "not_after": None,
            "sha256": None}
    LINK = {"from": "app1", "from_role": "api", "to": "app3", "to_role": "stratcon", "site": "east", "port": 43191,
            "outcome": "untrusted", "detail": "CRL has expired", "protocol": None}

    def test_counts(self):
        assert report_findings.tls_counts({}) == ""
        assert report_findings.tls_counts({"tls_ports": [self.PORT, dict(self.PORT, outcome="absent")]}) == (
            "TLS ports: 2, all work")
        assert report_findings.tls_counts({"tls_connections": [self.LINK]}) == (
            "connections between hosts: 1, 1 with a problem")

    def test_the_page_shows_what_does_not_work_first_and_open(self, healthy):
        links = [dict(self.LINK, outcome="ok", to="app4"), self.LINK]
        page = report.render_html(document(healthy.check(), tls_ports=[self.PORT], tls_connections=links))
        assert "<details open><summary>2 looked at, 1 with a problem" in page and "<b>" not in page
        assert page.index("stratcon on app3:43191") < page.index("stratcon on app4:43191")
        assert "not trusted: CRL has expired" in page and "tls_connections" not in page
        xml.etree.ElementTree.fromstring(
            report_findings.html_tls({"tls_connections": links}).replace("<details open>", "<details>"))
