# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""pki_audit.yml and pki_connectivity.yml run for real on this machine, where none of the files of a role are."""
from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.circonus.inside.plugins.plugin_utils import report

ROOT = Path(__file__).resolve().parents[3]
SMALL = json.loads((ROOT / "tests/unit/fixtures/site.small.json").read_text())


@pytest.fixture
def play(tmp_path):
    """play(playbook, *options, **variables): (exit code, output, report) on one host and a broker."""
    (tmp_path / "site.json").write_text(json.dumps(SMALL))
    (tmp_path / "x.site.yml").write_text(
        "plugin: circonus.inside.site\nsites: {main: {file: site.json}}\n"
        "brokers: {broker1: {ansible_host: 127.0.0.1}}\n")

    def run(playbook, *options, **variables):
        env = {k: v for k, v in os.environ.items() if not k.startswith("ANSIBLE_")}
        env.update(ANSIBLE_COLLECTIONS_PATH=str(ROOT / ".cache/collections"), ANSIBLE_NOCOLOR="1",
                   ANSIBLE_HOME=str(tmp_path / ".ansible"))
        values = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, **variables}
        done = subprocess.run([str(Path(sys.executable).parent / "ansible-playbook"), "-i", "x.site.yml",
                               "circonus.inside." + playbook, "-e", json.dumps(values), *options], cwd=tmp_path,
                              env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
        output = done.stdout + done.stderr
        assert "Traceback" not in output and "FakeAdminPass1" not in output, output
        document = json.loads((tmp_path / ("reports/%s-latest.json" % playbook)).read_text())
        assert report.validate(document) == []
        return done.returncode, output, document

    return run


class TestPkiAudit:
    def test_ports_and_connections_are_part_of_the_one_task(self, play):
        code, output, document = play("pki_audit", pki_audit_live_timeout_s=1)
        assert code == 2 and [line for line in output.splitlines() if line.startswith("ok: [broker1]")] == [
            "ok: [broker1]"], output
        assert {(row["role"], row["port"]) for row in document["tls_ports"]} >= {("stratcon", 43191), ("broker", 43191)}
        assert {row["outcome"] for row in document["tls_connections"]} == {"local"}, "no file to connect with"
        assert "  TLS ports: " in output
        # What is not there is told once: by the file, not by the port or the connection as well.
        stratcon = {item["id"] for item in document["findings"] if item["role"] == "stratcon"}
        assert stratcon == {"pki_missing", "pki_crl_missing"}

    def test_they_can_be_left_out(self, play):
        _code, output, document = play("pki_audit", pki_audit_live=False)
        assert document["tls_ports"] == document["tls_connections"] == [] and "TLS ports:" not in output


class TestPkiConnectivity:
    def test_the_first_broken_step_is_the_result(self, play):
        code, output, document = play("pki_connectivity", "--check", pki_connectivity_from="api",
                                      pki_connectivity_to="broker")
        assert code == 2 and document["result"] == "failed" and document["first_broken_step"] == 2
        states = [step["state"] for step in document["sequence"]]
        assert states[1:7] == ["fail", "not_reached", "not_reached", "not_reached", "not_reached", "fail"]
        assert "  2. BROKEN      ca.crt, certificate and key are there" in output
        assert "step 2 (ca.crt, certificate and key are there) is broken" in document["reason"]

    def test_refuses_what_it_cannot_look_at(self, play):
        code, _output, document = play("pki_connectivity", pki_connectivity_from="mq", pki_connectivity_to="broker")
        assert code == 2 and document["result"] == "refused"
        assert document["reason"].startswith("Expected a role with a certificate of its own in pki_connectivity_from")
