"""Role api: circonus-network-api (real Apache in front of a stand-in of the Perl service) and circonus-api (GoAPI).

network_api holds one database connection (in the 2019 edition one to the queue too) and answers 500 once it lost it,
until it is restarted. GoAPI finds its database again. The REST interface is a small part of the documented one.
"""

import json
import os
import subprocess
import sys
import time

from daemons.base import Daemon, write_log
from daemons.net import http_listener

APACHE = "/opt/circonus/libexec/lab/api/httpd.conf"
SOCKET = "/run/circonus-network-api/backend.sock"
WWW_LOGS = "/www/logs"
GATEWAY, ACCOUNT, SEARCH = 8089, 8095, 8080
BROKERS = "SELECT id, name, cn, active, host(address), port, version, skew FROM circonus.broker ORDER BY id"


def problem(status, code, message, tag):
    return status, json.dumps({"code": code, "status": status, "message": message, "tag": tag}), "application/json"


def broker(row):
    """One broker as the API shows it."""
    ident, name, cn, active, address, port, version, skew = row
    details = {"cn": cn, "name": name, "status": "active" if active else "pending", "ipaddress": address, "port": port}
    details.update(skew=skew, version=version, minimum_version_required=1367937537, modules=["selfcheck"])
    return {"_cid": f"/broker/{ident}", "_name": name, "_type": "enterprise", "_tags": [], "_details": [details]}


class Interface:
    """The answered part of /v2: brokers, checks, the account and the user of a token."""

    def __init__(self, execute, tokens):
        self.execute, self.tokens = execute, set(tokens)
        self.serial = 0

    def respond(self, request):
        self.serial += 1
        tag = "%08x" % (int(time.time()) * 1000 + self.serial & 0xFFFFFFFF)
        token = request.headers.get("x-circonus-auth-token")
        if not token:
            return problem(401, "Unauthorized", "no X-Circonus-Auth-Token in the request", tag)
        if token not in self.tokens:
            return problem(403, "Forbidden", "the token is not known", tag)
        if request.method != "GET":
            return problem(405, "MethodNotAllowed", "the lab's stand-in only reads", tag)
        words = [word for word in request.path.split("/") if word and word != "v2"]
        found = self.read(words[:1], words[1:])
        if found is None:
            return problem(404, "NotFound", f"{request.path} is not known", tag)
        return 200, json.dumps(found), "application/json"

    def read(self, kind, rest):
        if kind == ["broker"]:
            entries = [broker(row) for row in self.execute(BROKERS)]
            return pick(entries, rest)
        if kind == ["check"]:
            rows = self.execute("SELECT check_id, check_uuid::text, active FROM circonus.checks ORDER BY check_id")
            return pick([{"_cid": f"/check/{row[0]}", "_check_uuid": row[1], "_active": row[2]} for row in rows], rest)
        if kind == ["account"] and rest in (["current"], ["1"]):
            return {"_cid": "/account/1", "name": "circonus", "timezone": "UTC", "users": [], "invites": []}
        if kind == ["user"] and rest in (["current"], ["1"]):
            return {"_cid": "/user/1", "firstname": "Lab", "lastname": "User", "email": "ops@circonus.lab"}
        return None


def pick(entries, rest):
    """The list, or the one whose number follows; None when there is none."""
    if not rest:
        return entries
    return next((entry for entry in entries if entry["_cid"].rpartition("/")[2] == rest[0]), None)


class NetworkApi(Daemon):
    name = "network-api"
    port = SEARCH
    uses_queue = False

    def __init__(self):
        super().__init__()
        self.uses_queue = self.config["edition"] == "2019"
        self.interface = Interface(self.execute, self.config["api_tokens"])

    def log(self, text):
        write_log("exceptions-" + time.strftime("%Y-%m-%d"), f"{time.strftime('%H:%M:%S')} {text}", WWW_LOGS)

    def serve(self):
        if os.path.exists(SOCKET):
            os.unlink(SOCKET)
        http_listener(None, self.respond, path=SOCKET)
        os.chmod(SOCKET, 0o666)
        # Apache goes with this process, however it ends.
        command = ["/usr/bin/setpriv", "--pdeathsig", "TERM", "/usr/sbin/apache2", "-f", APACHE, "-D", "FOREGROUND"]
        self.apache = subprocess.Popen(command)

    def respond(self, request):
        moment, day = time.strftime("%Y-%m-%d %H:%M:%S"), time.strftime("%Y-%m-%d")
        if self.broken:
            answer = problem(500, "InternalError", "the request cannot be processed", "lab")
        else:
            try:
                answer = self.interface.respond(request)
            except Exception as exc:
                self.fail(exc)
                answer = problem(500, "InternalError", "the request cannot be processed", "lab")
        token = request.headers.get("x-circonus-auth-token", "-")
        name = request.headers.get("x-circonus-app-name", "-")
        write_log("access-" + day, f"{moment} {token[:8]}... {name}", WWW_LOGS)
        write_log("psgi-" + day, f"{moment} {request.method} {request.path} {answer[0]}", WWW_LOGS)
        return answer

    def work(self):
        if self.apache.poll() is not None:
            print(f"Apache ended with {self.apache.returncode}", flush=True)
            os._exit(1)
        self.execute("SELECT 1")


class GoApi(Daemon):
    """`goapi serve` on api hosts; `goapi serve search` on web_frontend hosts of the 2019 edition."""

    name = "api"
    uses_queue = False
    reconnects = True
    interval = 5.0

    def __init__(self, search=False):
        super().__init__()
        self.name = "api-search" if search else "api"
        self.ports = {"search": SEARCH} if search else {"api": GATEWAY, "account": ACCOUNT}
        self.port = next(iter(self.ports.values()))
        self.interface = Interface(self.execute, self.config["api_tokens"])

    def write(self, level, service, text, **fields):
        """TIMESTAMP [LEVEL] service: message {json}; since release 2020-08-10 in two files."""
        name = "goapi.log"
        if self.config["edition"] != "2019":
            name = "goapi_error.log" if level == "ERROR" else "goapi_access.log"
        moment = time.strftime("%Y-%m-%dT%H:%M:%S")
        data = json.dumps({**fields, "service": service}, separators=(",", ":"))
        write_log(name, f"{moment} [{level:<5}] {service}: {text} {data}")

    def log(self, text):
        level = "ERROR" if text.startswith(("EXCEPTION", "still")) else "INFO"
        self.write(level, next(iter(self.ports)), " ".join(text.split())[:500])

    def serve(self):
        for service, port in self.ports.items():
            http_listener(port, lambda request, service=service: self.respond(request, service))
            self.write("INFO", service, f"listening on {port}", rpc="server")

    def respond(self, request, service):
        if request.path == "/resmon":
            return 200, json.dumps(self.resmon()), "application/json"
        status, content, kind = self.interface.respond(request)
        self.write("INFO" if status < 500 else "ERROR", service, f"{request.method} {request.path}", status=status)
        return status, content, kind

    def work(self):
        self.execute("SELECT 1")


def main(arguments=None):
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments not in (["serve"], ["serve", "search"]):
        print("usage: goapi serve [search]", file=sys.stderr)
        return 2
    GoApi(arguments[-1] == "search").run()
    return 0
