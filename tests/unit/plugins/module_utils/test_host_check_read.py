# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from ansible_collections.circonus.inside.plugins.module_utils import host_check_read as read
from ansible_collections.circonus.inside.plugins.module_utils import unit_state
from ansible_collections.circonus.inside.plugins.module_utils.errors import InsideError


class TestFeeds:
    def answer(self, monkeypatch, **more):
        answer = dict({"status": 200, "seconds": 0.1, "error": "", "body": '{"nodes": []}'}, **more)
        monkeypatch.setattr(read.http_page, "ask", lambda *arguments, **options: answer)
        return read.feeds("stratcon.crt", "stratcon.key")

    def test_are_those_of_the_page(self, monkeypatch):
        node = '{"remote": "h:1", "type": "transient/iep", "state": "disconnected", "last_connect": "0.0"}'
        assert self.answer(monkeypatch, body='{"nodes": [%s]}' % node)[0]["connected"] is False

    @pytest.mark.parametrize("more, words", [
        ({"error": "connection refused"}, "connection refused"), ({"status": 403}, "found 403"),
        ({"body": "<html>"}, "expected the brokers of stratcon")])
    def test_anything_else_is_told(self, monkeypatch, more, words):
        with pytest.raises(InsideError, match=words):
            self.answer(monkeypatch, **more)

    def test_without_its_certificate(self, tmp_path):
        with pytest.raises(InsideError, match="No such file"):
            read.feeds(str(tmp_path / "stratcon.crt"), str(tmp_path / "stratcon.key"), timeout=0.3)


class TestSocketsAndOwners:
    @pytest.mark.parametrize("kind, proto", [(socket.SOCK_STREAM, "tcp"), (socket.SOCK_DGRAM, "udp")])
    def test_finds_the_socket_and_who_has_it(self, kind, proto):
        mine = socket.socket(socket.AF_INET, kind)
        mine.bind(("127.0.0.1", 0))
        if proto == "tcp":
            mine.listen(1)
        port = mine.getsockname()[1]
        found = [item for item in read.sockets() if (item["port"], item["proto"]) == (port, proto)]
        table = read.processes()
        owner = read.owners([item["inode"] for item in found], table)
        mine.close()
        assert [item["address"] for item in found] == ["127.0.0.1"]
        assert owner == {found[0]["inode"]: os.getpid()}
        assert table[os.getpid()]["command"]

    @pytest.fixture()
    def mine(self):
        """A function for the entries of four sockets of this process: others of the machine come and go."""
        families = (socket.AF_INET, socket.AF_INET6)
        streams = [socket.socket(family, socket.SOCK_STREAM) for family in families]
        every = streams + [socket.socket(family, socket.SOCK_DGRAM) for family in families]
        for one in every:
            one.bind(("", 0))
        for one in streams:
            one.listen(1)
        inodes = {int(os.readlink("/proc/self/fd/%d" % one.fileno())[8:-1]) for one in every}
        yield lambda *ask: sorted((item for item in read.sockets(*ask) if item["inode"] in inodes),
                                  key=lambda item: item["inode"])
        for one in every:
            one.close()

    def test_the_kernel_and_its_tables_say_the_same(self, mine):
        assert mine(True) == mine(False) and len(mine(True)) == 4

    def test_the_tables_are_read_where_the_kernel_does_not_know_the_question(self, monkeypatch, mine):
        known = mine(True)
        monkeypatch.setattr(read, "NETLINK", 9999)
        assert mine(True) == known

    def test_the_oldest_owner_counts(self):
        mine = socket.socket()
        mine.bind(("127.0.0.1", 0))
        mine.listen(1)
        inode = int(os.readlink("/proc/self/fd/%d" % mine.fileno())[8:-1])
        child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE,
                                 pass_fds=[mine.fileno()])
        try:
            table = {child.pid: {"pid": child.pid, "start_ticks": 30},
                     os.getpid(): {"pid": os.getpid(), "start_ticks": 20}}
            assert read.owners([inode], table) == {inode: os.getpid()}
            table[child.pid]["start_ticks"] = 10
            assert read.owners([inode], table) == {inode: child.pid}
        finally:
            child.communicate(b"")
            mine.close()


class TestFileAccessAs:
    @pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
    def test_is_somebody_else_for_a_while_and_in_one_thread(self, tmp_path):
        path = tmp_path / "secret"
        path.write_text("x")
        path.chmod(0o600)
        go, other = threading.Event(), []
        thread = threading.Thread(target=lambda: go.wait(30) and other.append(path.read_text()))
        thread.start()
        with read.file_access_as(65534, 65534):
            with pytest.raises(OSError):
                open(str(path))
            go.set()
            thread.join()
        assert other == ["x"] and path.read_text() == "x"

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
    def test_where_root_may_not_look_the_owner_may(self, monkeypatch, tmp_path):
        def other_user():
            os.setgid(12345)
            os.setuid(12345)

        mine = socket.socket()
        inode = int(os.readlink("/proc/self/fd/%d" % mine.fileno())[8:-1])
        private, real, calls = tmp_path / "private", read._sockets_below, []
        private.write_text("x")
        private.chmod(0o600)
        child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=[mine.fileno()], preexec_fn=other_user)

        def restricted(base):
            calls.append(base)
            if len(calls) == 1:
                raise PermissionError(13, "Permission denied")
            with pytest.raises(OSError):
                open(str(private))
            return real(base)

        monkeypatch.setattr(read, "_sockets_below", restricted)
        try:
            found = read.owners([inode], {child.pid: {"pid": child.pid, "start_ticks": 1}})
        finally:
            child.communicate(b"")
            mine.close()
        assert found == {inode: child.pid} and len(calls) == 2


class TestLookTwice:
    def test_marks_itself_and_sees_others(self):
        child = subprocess.Popen(["sleep", "600"])
        try:
            look = read.look_twice([], 0.0)
        finally:
            child.kill()
            child.wait()
        table = {item["pid"]: item for item in look["processes"]}
        assert table[os.getpid()]["own"] and not table[child.pid]["own"]
        assert (table[child.pid]["ppid"], table[child.pid]["name"]) == (os.getpid(), "sleep")
        age = look["boot_s"] - table[child.pid]["start_ticks"] / look["ticks"]
        assert -0.1 < age < 60

    def test_leaves_dead_children_out(self):
        child = subprocess.Popen(["true"])
        try:
            os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
            assert child.pid not in read.processes()
        finally:
            child.wait()


class TestSpace:
    def test_tells_room_and_mount(self, tmp_path):
        item = read.space(str(tmp_path))
        assert 0 < item["free_bytes"] <= item["total_bytes"]
        assert os.path.ismount(item["mount"]) and str(tmp_path).startswith(item["mount"])

    def test_says_why_not(self, tmp_path):
        with pytest.raises(InsideError, match="no such file"):
            read.space(str(tmp_path / "nothing"))


class TestLog:
    def test_quotes_the_last_matches_of_the_end(self, tmp_path):
        path = tmp_path / "x.log"
        path.write_text("ERROR early\n" + "fine\n" * 20000 + "ERROR %d\n" * 3 % (1, 2, 3) + "fine\n")
        item = read.log(str(path), ["^ERROR"], 0.0, 4096, 2)
        assert item["errors"] == ["ERROR 2", "ERROR 3"]
        assert item["size"] == path.stat().st_size and item["grown_bytes"] == 0
        assert read.log(str(path), ["early"], 0.0, 4096, 2)["errors"] == []

    def test_sees_it_grow(self, tmp_path):
        path = tmp_path / "x.log"
        path.write_text("a")
        stop = threading.Event()

        def write():
            with open(str(path), "a") as handle:
                while not stop.wait(0.01):
                    handle.write("more\n")
                    handle.flush()

        writer = threading.Thread(target=write)
        writer.start()
        try:
            assert read.log(str(path), [], 1.0)["grown_bytes"] > 0
        finally:
            stop.set()
            writer.join()

    def test_takes_the_newest_of_a_pattern_and_of_a_directory(self, tmp_path):
        for age, name in ((300, "b.log"), (200, "a.log"), (100, ".hidden")):
            (tmp_path / name).write_text("x")
            os.utime(str(tmp_path / name), (time.time() - age, time.time() - age))
        assert read.newest(str(tmp_path / "*.log")) == str(tmp_path / "a.log")
        assert read.newest(str(tmp_path)) == str(tmp_path / "a.log")
        assert read.newest(str(tmp_path / "nothing")) == str(tmp_path / "nothing")

    def test_says_why_not(self, tmp_path):
        (tmp_path / "x").write_text("x")
        with pytest.raises(InsideError, match="no such file"):
            read.log(str(tmp_path / "y"), [], 0.0)
        with pytest.raises(InsideError, match="pattern of log_errors"):
            read.log(str(tmp_path / "x"), ["("], 0.0)


@pytest.fixture
def keys(tmp_path):
    subprocess.check_output(["openssl", "genrsa", "-out", str(tmp_path / "plain.key"), "2048"],
                            stderr=subprocess.STDOUT)
    subprocess.check_output(["openssl", "rsa", "-in", str(tmp_path / "plain.key"), "-aes128", "-passout", "pass:abcd",
                             "-out", str(tmp_path / "locked.key")], stderr=subprocess.STDOUT)
    return tmp_path


def expired_certificate(keys):
    (keys / "index").write_text("")
    (keys / "conf").write_text("[ca]\ndefault_ca=x\n[x]\ndatabase=%s\nnew_certs_dir=%s\nrand_serial=yes\npolicy=y\n"
                               "default_md=sha256\n[y]\ncommonName=supplied\n" % (keys / "index", keys))
    subprocess.check_output(["openssl", "req", "-new", "-key", str(keys / "plain.key"), "-subj", "/CN=x", "-out",
                             str(keys / "csr")], stderr=subprocess.STDOUT)
    subprocess.check_output(
        ["openssl", "ca", "-batch", "-selfsign", "-config", str(keys / "conf"), "-keyfile", str(keys / "plain.key"),
         "-in", str(keys / "csr"), "-out", str(keys / "old.crt"), "-startdate", "20200101000000Z", "-enddate",
         "20200201000000Z"], stderr=subprocess.STDOUT)


class TestPkiFile:
    def test_of_a_key_nothing_but_its_outside(self, keys):
        path = keys / "plain.key"
        path.chmod(0o640)
        item = read.pki_file("key", str(path))
        assert (item["present"], item["mode"], item["owner"], item["error"]) == (True, "0640", "root", "")
        assert item["size"] == path.stat().st_size
        secret = path.read_text().splitlines()[1]
        assert secret[:16] not in repr(item)

    def test_tells_an_encrypted_key(self, keys):
        assert "encrypted" in read.pki_file("key", str(keys / "locked.key"))["error"]

    def test_tells_a_certificate_that_is_over(self, keys):
        expired_certificate(keys)
        item = read.pki_file("cert", str(keys / "old.crt"))
        assert item["error"] == "" and item["not_after_epoch"] == 1580515200

    def test_a_missing_file_is_no_error(self, keys):
        item = read.pki_file("cert", str(keys / "nothing"))
        assert (item["present"], item["error"]) == (False, "")

    def test_a_directory_and_a_wrong_file(self, keys):
        (keys / "text").write_text("hello")
        assert "expected a file" in read.pki_file("cert", str(keys))["error"]
        assert "found neither" in read.pki_file("ca", str(keys / "text"))["error"]
        assert "something else" in read.pki_file("key", str(keys / "text"))["error"]

    def test_a_pattern_is_all_its_files(self, keys):
        found = read.pki_files("keystore", str(keys / "*.key"))
        assert [os.path.basename(item["path"]) for item in found] == ["locked.key", "plain.key"]
        assert read.pki_files("keystore", str(keys / "*.jks"))[0]["present"] is False


class TestCrontabs:
    def test_reads_all_places(self, tmp_path, monkeypatch):
        (tmp_path / "crontab").write_text("1 * * * * root /www/bin/a.pl\n")
        spool = tmp_path / "spool"
        spool.mkdir()
        (spool / "circonus").write_text("2 * * * * /www/bin/b.pl\n")
        monkeypatch.setattr(read, "CRONTABS", ((str(tmp_path / "crontab"), False), (str(spool / "*"), True)))
        monkeypatch.setattr(read, "CRON_PARTS", ())
        found = read.crontabs()
        assert [(job["user"], job["command"], job["file"]) for job in found["jobs"]] == [
            ("root", "/www/bin/a.pl", str(tmp_path / "crontab")),
            ("circonus", "/www/bin/b.pl", str(spool / "circonus")),
        ]
        assert found["unreadable"] == []


class Programs:
    """Programs of a table: argv without its directory, as text, to (rc, output)."""

    def __init__(self, answers):
        self.answers, self.calls = answers, []

    def find(self, name):
        return "/bin/" + name if any(key.split()[0] == name for key in self.answers) else None

    def __call__(self, argv, timeout=None):
        text = " ".join([os.path.basename(argv[0])] + argv[1:])
        self.calls.append(text)
        rc, out = next((answer for key, answer in self.answers.items() if text.startswith(key)), (1, ""))
        return rc, out, ""


class TestVersions:
    def test_asks_rpm_about_paths_and_names(self, tmp_path):
        (tmp_path / "fqd").write_text("")
        rpm = Programs({"rpm -qf": (0, "circonus-fq\t1.0\n"), "rpm -q ": (1, "x\t2\npackage y is not installed\n")})
        paths = [str(tmp_path / "fqd"), str(tmp_path / "nothing")]
        assert read.versions(paths, ["x", "y"], find=rpm.find, run=rpm, dpkg=str(tmp_path / "no")) == {
            "versions": {"circonus-fq": "1.0", "x": "2"}, "owners": {paths[0]: "circonus-fq"}}
        assert len(rpm.calls) == 2

    def test_asks_rpm_once_when_the_paths_tell_all(self, tmp_path):
        (tmp_path / "fqd").write_text("")
        rpm = Programs({"rpm -qf": (0, "circonus-fq\t1.0\n")})
        found = read.versions([str(tmp_path / "fqd")], ["circonus-fq"], find=rpm.find, run=rpm, dpkg="/nowhere")
        assert found["versions"] == {"circonus-fq": "1.0"} and len(rpm.calls) == 1

    def test_reads_the_database_of_dpkg(self, tmp_path):
        for name in ("fqd", "fqd-more", "stray"):
            (tmp_path / name).write_text("")
        paths = [str(tmp_path / name) for name in ("fqd", "fqd-more", "stray", "nothing")]
        (tmp_path / "info").mkdir()
        (tmp_path / "info" / "fq:amd64.list").write_text("/.\n{0}\n".format(paths[0]))
        (tmp_path / "info" / "more.list").write_text("{0}\n/elsewhere{1}\n".format(paths[1], paths[2]))
        stanza = "Package: {0}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {1}\n"
        (tmp_path / "status").write_text("\n".join([stanza.format("fq", 1), stanza.format("more", 2)]))
        none = Programs({})
        assert read.versions(paths, ["x"], find=none.find, run=none, dpkg=str(tmp_path)) == {
            "versions": {"fq:amd64": "1", "more": "2"}, "owners": {paths[0]: "fq:amd64", paths[1]: "more"}}
        assert none.calls == []

    @pytest.mark.skipif(not os.path.exists("/var/lib/dpkg/status"), reason="no dpkg here")
    def test_agrees_with_dpkg_itself(self):
        path = next(path for path in ("/usr/bin/dpkg", "/bin/dpkg") if os.path.exists(path))
        said = unit_state.run(["dpkg-query", "-W", "-f", "${Version}", "dpkg"])[1]
        assert read.versions([path], []) == {"versions": {"dpkg": said}, "owners": {path: "dpkg"}}

    def test_says_that_there_is_no_package_manager(self):
        with pytest.raises(InsideError, match="found neither"):
            read.versions([], ["x"], find=lambda name: None, dpkg="/nowhere")
