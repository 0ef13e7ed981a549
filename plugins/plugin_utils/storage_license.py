# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decide about new licences for the data_storage nodes: who gets the file, who has to be restarted for it.

A node reads its licences when it starts. So it needs a restart when its file would change, or was changed after the
start; that is asked of the host, whoever wrote the file.

Source: on-premises documentation, later edition, "data_storage".
"""

from __future__ import annotations

import os

from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput
from ansible_collections.circonus.inside.plugins.plugin_utils import failover as f
from ansible_collections.circonus.inside.plugins.plugin_utils import operator_files, storage_restart

PROCEDURE = "data_storage_license"
PREFIX = PROCEDURE + "_"
PATH = "/opt/circonus/etc/licenses.conf"
#: Parameters that make a run another one.
SAME = (PREFIX + "file", PREFIX + "limit")


def source(path: str) -> str:
    """Absolute path of the file on the controller. Raises BadInput when there are no licences in it."""
    path = os.path.abspath(os.path.expanduser(path))
    try:
        with open(path, encoding="utf-8") as handle:
            text = operator_files.licenses_conf(handle.read(), path)
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput("Expected licences as the vendor sent them in %sfile, found: %s." % (PREFIX, error)) from error
    if not text:
        raise BadInput("Expected licences as the vendor sent them in %s (%sfile), found nothing." % (path, PREFIX))
    return path


def questions(sites: dict, units: list) -> dict:
    """``{host: arguments of irondb_probe}``."""
    return {host: dict(question, aged=PATH) for host, question in storage_restart.questions(sites, units).items()}


def stale(answer: dict) -> bool:
    """Whether the file of a host was changed after its node was started. Unknown counts as changed."""
    aged, age = answer.get("aged_s"), answer.get("age_s")
    return aged is not None and (age is None or aged < age)


def verdict(situation: f.Situation, answers: dict, looks: dict, params: dict, run: dict, since: float,
            now: float) -> dict:
    """A verdict of ``storage_restart`` for the nodes that need it. looks: ``{host: answer of service_files in check
    mode with reachable}``."""
    hosts = [node["host"] for nodes in storage_restart.clusters(situation.sites).values() for node in nodes]
    changes, needed = [], set()
    for host in hosts:
        look = looks.get(host) or {}
        if look.get("changed"):
            changes.append(host)
        if look.get("changed") or "paths" not in look or stale(answers.get(host) or {}):
            needed.add(host)
    found = storage_restart.verdict(situation, answers, params, run, since, now, needed, PREFIX)
    if found["result"] == "refused" or not hosts:
        return found
    touched = [host for wave in found["waves"] if not wave["settle_only"] for host in wave["hosts"]]
    unread = next((host for host in touched if "paths" not in (looks.get(host) or {})), None)
    if unread:
        return f.refuse("Expected to read %s on %s, found: %s." % (
            PATH, unread, str((looks.get(unread) or {}).get("msg") or "no answer").rstrip(".")))
    if not found["waves"]:
        return dict(found, reason="Every node has these licences in %s and was started after they were written." % PATH)
    # One node a line: a node gets its file just before its restart.
    write = {"Restart %s and" % host: "Write %s on %s beside the old file, restart it and" % (PATH, host)
             for host in touched if host in changes}
    plan = []
    for line in found["plan"]:
        start = next((start for start in write if line.startswith(start + " ")), None)
        plan.append(write[start] + line[len(start):] if start else line)
    return dict(found, plan=plan, done=found["done"].rstrip(".") + ", with its licences.")


def told(hosts: list, answers: dict) -> tuple:
    """(``{host: what its node tells of its licence}``, warnings). answers: of irondb_probe with ``own``."""
    facts, silent = {}, []
    for host in hosts:
        stats = ((answers.get(host) or {}).get("node") or {}).get("stats") or {}
        if stats.get("license"):
            facts[host] = stats["license"]
        else:
            silent.append(host)
    text = "The statistics of %s tell nothing of a licence. Look at /snowth/logs/startuplog and errorlog there."
    return facts, [text % ", ".join(silent)] if silent else []
