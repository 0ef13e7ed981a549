# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import json
import socket
import ssl
import struct
import subprocess

import pytest

from ansible_collections.circonus.inside.plugins.module_utils import host_check_parse as parse

TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 21001 1 0000000000000000
   1: 00000000:1111 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 21002 1 0000000000000000
   2: 0100007F:1F90 0100007F:D431 01 00000000:00000000 00:00000000 00000000     0        0 21003 1 0000000000000000
"""
TCP6 = """\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when
   0: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 31001 1 0 100
   1: 0000000000000000FFFF00000100007F:0051 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 31002 1 0 100
"""


class TestReleaseOf:
    @pytest.mark.parametrize(
        "version, release",
        [
            ("0.1.1572639958", "2019-11-04"),
            ("0.1.1572639958-1.el7", "2019-11-04"),
            ("0.1.1536180382", "2018-09-03"),
            ("0.1.1537199732", "2018-09-25"),
            ("0.1.1564083169", "2019-07-29"),
            ("0.1.1900000000", None),
            ("0.1.1500000000", None),
            ("1.2.3", None),
            (None, None),
        ],
    )
    def test_is_the_first_release_after_the_build(self, version, release):
        assert parse.release_of(version) == release

    def test_knows_the_releases_in_order(self):
        assert parse.RELEASES == sorted(set(parse.RELEASES)) and len(parse.RELEASES) == 101


class TestParseStat:
    def test_a_name_may_contain_brackets_and_blanks(self):
        text = "42 (a) b) S 7 " + " ".join(str(number) for number in range(5, 60))
        assert parse.parse_stat(text) == {"pid": 42, "comm": "a) b", "state": "S", "ppid": 7, "start_ticks": 22}


class TestParseCgroup:
    @pytest.mark.parametrize(
        "text, unit",
        [
            ("0::/system.slice/circonus-fq.service\n", "circonus-fq"),
            ("3:cpu:/\n1:name=systemd:/system.slice/circonus-fq.service\n0::/\n", "circonus-fq"),
            ("0::/machine.slice/libpod-1.scope/system.slice/circonus-fq.service/sub\n", "circonus-fq"),
            ("0::/user.slice/user-0.slice/session-1.scope\n", "session-1.scope"),
            ("0::/\n", None),
            ("", None),
        ],
    )
    def test_names_the_innermost_unit(self, text, unit):
        assert parse.parse_cgroup(text) == unit


class TestParseSockets:
    def test_reads_listeners_only(self):
        assert parse.parse_sockets(TCP, "tcp") == [
            {"proto": "tcp", "port": 8080, "address": "127.0.0.1", "inode": 21001},
            {"proto": "tcp", "port": 4369, "address": "0.0.0.0", "inode": 21002},
        ]

    def test_reads_both_families(self):
        assert [item["address"] for item in parse.parse_sockets(TCP6, "tcp")] == ["::1", "127.0.0.1"]


class TestBound:
    @pytest.mark.parametrize(
        "addresses, reach",
        [
            (["0.0.0.0"], "any"),
            (["127.0.0.1", "::"], "any"),
            (["127.0.0.1", "::1"], "local"),
            (["127.0.0.1", "192.0.2.7"], "192.0.2.7"),
        ],
    )
    def test_says_how_far_it_reaches(self, addresses, reach):
        assert parse.bound(addresses) == reach


class TestMissingSections:
    @pytest.mark.parametrize(
        "body",
        [
            '{"Core": {"uptime": 3}, "firehose": {}}',
            '[{"module": "core"}, {"module": "firehose"}]',
            '<ResmonResults><ResmonResult module="Core" service="a"/><ResmonResult module="firehose"/></ResmonResults>',
            '<?xml version="1.0"?><x><core/><firehose/></x>',
            "<html>Core and Firehose</html>",
        ],
    )
    def test_finds_what_is_not_there_in_every_form(self, body):
        assert parse.missing_sections(body, ["core", "firehose", "Faultrules"]) == ["Faultrules"]

    def test_a_section_that_is_only_a_value_does_not_count(self):
        assert parse.missing_sections('{"error": "core"}', ["core"]) == ["core"]


def openssl(*arguments):
    subprocess.check_output(("openssl",) + arguments, stderr=subprocess.STDOUT)


def not_after(path):
    text = subprocess.check_output(["openssl", "x509", "-in", str(path), "-noout", "-enddate"]).decode()
    return ssl.cert_time_to_seconds(text.strip().split("=", 1)[1])


@pytest.fixture
def certificate(tmp_path):
    def make(name, days, *more):
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=" + name, "-days", str(days),
                "-keyout", str(tmp_path / (name + ".key")), "-out", str(tmp_path / (name + ".crt")), *more)
        return tmp_path / (name + ".crt")

    return make


class TestValidityEnd:
    def test_agrees_with_openssl_in_both_forms_of_time(self, certificate, tmp_path):
        for name, days in (("short", 30), ("long", 20000)):
            path = certificate(name, days)
            assert parse.validity_end(path.read_bytes()) == (not_after(path), "")
            openssl("x509", "-in", str(path), "-outform", "DER", "-out", str(tmp_path / "der"))
            assert parse.validity_end((tmp_path / "der").read_bytes()) == (not_after(path), "")

    def test_takes_the_first_end_of_a_bundle(self, certificate):
        short, long = certificate("short", 30), certificate("long", 300)
        assert parse.validity_end(long.read_bytes() + short.read_bytes()) == (not_after(short), "")

    def test_reads_the_next_update_of_a_revocation_list(self, certificate, tmp_path):
        ca = certificate("ca", 30)
        (tmp_path / "index").write_text("")
        (tmp_path / "conf").write_text("[ca]\ndefault_ca=x\n[x]\ndatabase=%s\ndefault_md=sha256\ndefault_crl_days=7\n"
                                       % (tmp_path / "index"))
        openssl("ca", "-config", str(tmp_path / "conf"), "-gencrl", "-keyfile", str(tmp_path / "ca.key"), "-cert",
                str(ca), "-out", str(tmp_path / "crl"))
        end, error = parse.validity_end((tmp_path / "crl").read_bytes())
        assert error == ""
        assert abs(not_after(ca) - end - 23 * 86400) < 60

    @pytest.mark.parametrize(
        "data, said",
        [
            (b"", "found neither"),
            (b"hello", "found neither"),
            (b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", "cannot be read"),
            (b"-----BEGIN CERTIFICATE-----\nAAAA\n", "cannot be read"),
            (b"\x30\x82", "cannot be read"),
        ],
    )
    def test_says_what_it_cannot_read(self, data, said):
        end, error = parse.validity_end(data)
        assert end is None and said in error


class TestKeyProblem:
    @pytest.mark.parametrize(
        "head, said",
        [
            (b"-----BEGIN PRIVATE KEY-----\nMII", ""),
            (b"-----BEGIN RSA PRIVATE KEY-----\nMII", ""),
            (b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n", "encrypted"),
            (b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n", "encrypted"),
            (b"-----BEGIN CERTIFICATE-----\n", "something else"),
            (b"", "empty"),
        ],
    )
    def test_tells_an_encrypted_and_a_wrong_one(self, head, said):
        problem = parse.key_problem(head)
        assert said in problem and bool(said) == bool(problem)


CRONTAB = """\
# comment with /www/bin/x.pl
MAILTO=root
*/5 * * * * circonus /usr/bin/perl /www/bin/x.pl -l > /dev/null
@hourly root /www/bin/y.pl
broken line
"""


class TestParseCrontab:
    def test_reads_system_and_personal_ones(self):
        assert parse.parse_crontab(CRONTAB) == [
            {"schedule": "*/5 * * * *", "user": "circonus",
             "command": "/usr/bin/perl /www/bin/x.pl -l > /dev/null"},
            {"schedule": "@hourly", "user": "root", "command": "/www/bin/y.pl"},
        ]
        assert parse.parse_crontab("@daily /www/bin/z.pl\n0 1 * * * a b\n", "me") == [
            {"schedule": "@daily", "user": "me", "command": "/www/bin/z.pl"},
            {"schedule": "0 1 * * *", "user": "me", "command": "a b"},
        ]


class TestFindCron:
    def test_wants_the_whole_path_and_prefers_the_user(self):
        jobs = [{"command": "/old/www/bin/x.pl", "user": "a"}, {"command": "/www/bin/x.pl.old", "user": "b"},
                {"command": "perl /www/bin/x.pl", "user": "c"}, {"command": "(/www/bin/x.pl)", "user": "d"}]
        assert parse.find_cron(jobs, "/www/bin/x.pl")["user"] == "c"
        assert parse.find_cron(jobs, "/www/bin/x.pl", "d")["user"] == "d"
        assert parse.find_cron(jobs[:2], "/www/bin/x.pl") is None

    def test_finds_a_script_of_which_only_the_name_is_known(self):
        jobs = [{"command": "/bin/old-x.pl", "user": "a"}, {"command": "/opt/bin/x.pl", "user": "b"}]
        assert parse.find_cron(jobs, "x.pl")["user"] == "b"


class TestParseVersions:
    def test_leaves_messages_out(self):
        text = "circonus-web-service\t0.1.1572639958\npackage x is not installed\n"
        assert parse.parse_versions(text) == {"circonus-web-service": "0.1.1572639958"}


class TestParseDiag:
    DONE = struct.pack("=IHHIIi", 20, 3, 2, 1, 0, 0)

    def test_reads_sockets_to_the_end(self):
        body = (struct.pack("=BBBB", socket.AF_INET6, 10, 0, 0) + struct.pack("!HH", 80, 0)
                + b"\0" * 10 + b"\xff\xff\x7f\0\0\x01" + b"\0" * 16 + b"\0" * 12 + b"\0" * 16 + struct.pack("=I", 7))
        data = struct.pack("=IHHII", 16 + len(body), 20, 2, 1, 0) + body
        wanted = [{"proto": "tcp", "port": 80, "address": "127.0.0.1", "inode": 7}]
        assert parse.parse_diag(data, "tcp") == (wanted, False)
        assert parse.parse_diag(data + self.DONE, "tcp") == (wanted, True)

    def test_says_when_the_kernel_refuses(self):
        with pytest.raises(OSError) as caught:
            parse.parse_diag(struct.pack("=IHHIIi", 20, 2, 0, 1, 0, -2), "tcp")
        assert caught.value.errno == 2
        with pytest.raises(ValueError):
            parse.parse_diag(struct.pack("=IHHII", 20, 99, 0, 1, 0) + b"1234", "tcp")


DPKG_STATUS = """Package: fq
Status: install ok installed
Architecture: amd64
Version: 1.0-2
Description: queue
 Version: of no use

Package: fqd
Status: deinstall ok config-files
Architecture: amd64
Version: 0.9

Package: libx
Status: install ok installed
Architecture: i386
Version: 1

Package: libx
Status: install ok installed
Architecture: amd64
Version: 2
"""


class TestParseDpkgStatus:
    def test_names_what_is_installed(self):
        assert parse.parse_dpkg_status(DPKG_STATUS, ["fq", "fqd", "nothing"]) == {"fq": "1.0-2"}

    def test_knows_architectures(self):
        assert parse.parse_dpkg_status(DPKG_STATUS, ["libx:amd64", "libx:i386", "libx:arm64"]) == {
            "libx:amd64": "2", "libx:i386": "1"}


class TestParseOwnerLines:
    def test_pairs_paths_and_lines(self):
        text = "fq\t1.2\nfile /b is not owned by any package\n"
        assert parse.parse_owner_lines(text, ["/a", "/b"]) == ({"/a": "fq"}, {"fq": "1.2"})
        assert parse.parse_owner_lines("fq\t1.2\n", ["/a", "/b"]) == ({}, {})


class TestParseNoits:
    #: As recorded from the real program (Reconnoiter on libmtev 2.7.11).
    CONNECTED = {"last_connect": "1795342771.171145", "local": "127.0.0.1:41254", "remote": "127.0.0.1:43191",
                 "type": "transient/iep", "remote_cn": "noit-a", "state": "waiting for next batch",
                 "checkpoint": "00000000:0000004a", "session_events": "48", "session_bytes": "27030",
                 "session_duration": "48.993706", "last_event": "1795342817.878052", "last_event_age": "2.286799"}
    NEVER = {"last_connect": "0.000000", "state": "disconnected", "remote": "127.0.0.1:43199",
             "type": "durable/storage", "next_attempt": "11.010428"}

    def feeds(self, *nodes):
        return parse.parse_noits(json.dumps({"nodes": nodes}))

    def test_connected_and_not(self):
        assert self.feeds(self.CONNECTED, self.NEVER) == [
            {"remote": "127.0.0.1:43191", "cn": "noit-a", "type": "transient/iep", "connected": True,
             "last_connect_epoch": 1795342771.171145, "silent_s": 2.3},
            {"remote": "127.0.0.1:43199", "cn": None, "type": "durable/storage", "connected": False,
             "last_connect_epoch": None, "silent_s": None}]

    def test_a_broker_without_any_event_is_silent_since_it_connected(self):
        (feed,) = self.feeds(dict(self.CONNECTED, last_event="0.000000", last_event_age="1795342820.1"))
        assert feed["silent_s"] == 49.0

    def test_what_is_only_configured_is_no_connection(self):
        assert self.feeds({"type": "configured", "remote": "127.0.0.1:43191"}) == []

    @pytest.mark.parametrize("body", ["", "{}", "[]", '{"nodes": [{"type": "x"}]}', '{"nodes": [1]}', "<html>"])
    def test_refuses_anything_else(self, body):
        with pytest.raises(ValueError):
            parse.parse_noits(body)
