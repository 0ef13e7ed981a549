"""circonus-elasticsearch of the search role (2019 edition): cluster grover, enough for its health and for a reindex."""

import json

from daemons.base import Plain, stamp, write_log
from daemons.net import http_listener

LOGS = "/opt/circonus/elasticsearch/logs"
PORT = 9200


class Search(Plain):
    name = "elasticsearch"

    def __init__(self, port=PORT):
        super().__init__()
        self.port = port
        self.documents = {}

    def log(self, text):
        write_log("grover01.log", f"[{stamp()}] {text}", LOGS)

    def start(self):
        self.listener = http_listener(self.port, self.respond)
        self.log("started (lab stand-in)")

    def respond(self, request):
        kind, words = "application/json", [word for word in request.path.split("/") if word]
        if not words:
            about = {"name": "grover01", "cluster_name": "grover", "tagline": "lab stand-in"}
            return 200, json.dumps(about), kind
        if words == ["_cluster", "health"]:
            health = {"cluster_name": "grover", "status": "green", "timed_out": False, "number_of_nodes": 1}
            return 200, json.dumps(health), kind
        if words[-1] == "_count":
            return 200, json.dumps({"count": len(self.documents.get(words[0], {}))}), kind
        if request.method == "PUT" and len(words) == 3:
            self.documents.setdefault(words[0], {})[words[2]] = request.body
            return 201, json.dumps({"result": "created"}), kind
        if request.method == "DELETE" and len(words) == 1:
            self.documents.pop(words[0], None)
            return 200, json.dumps({"acknowledged": True}), kind
        return 404, json.dumps({"error": "not found"}), kind
