# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The run of one procedure as the controller sees it: parameters, journal, gate, report document.

The journal is a file of one JSON object per line, appended while the procedure runs, so that a killed controller leaves
everything that happened until then. It explains a run; what a step has to do is always asked of the platform itself.
"""

from __future__ import annotations

import datetime
import difflib
import fcntl
import getpass
import hashlib
import json
import os
import re
import socket
import uuid

import yaml

from ansible.module_utils.common.yaml import yaml_load
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput

SCHEMA = "circonus.inside.report/1"
RESULTS = ("ok", "failed", "refused", "nothing_to_do")
#: Parameters that every procedure understands; a meta file need not repeat them.
COMMON_PARAMETERS = {
    "circonus_report_dir": {
        "type": "path",
        "default": "reports/",
        "description": "Directory for the report (JSON and HTML) and the journal of the run.",
    },
    "circonus_lock_break": {
        "type": "str",
        "description": "Run id of a lock holder that is known to be dead; its lock is taken over.",
    },
    "circonus_lock_ttl_s": {
        "type": "int",
        "default": 1800,
        "description": "Seconds after which the lock of a silent run expires.",
    },
    "circonus_no_log": {
        "type": "bool",
        "default": True,
        "description": "Hide values of tasks that handle secrets. Turn off only to debug.",
    },
}
_TYPES = {
    "str": (str,),
    "path": (str,),
    "int": (int,),
    "float": (float, int),
    "bool": (bool,),
    "list": (list,),
    "dict": (dict,),
}


def now() -> str:
    """UTC time of this machine, RFC 3339 with milliseconds."""
    stamp = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")
    return stamp.replace("+00:00", "Z")


def seconds_between(started: str, finished: str) -> float:
    """Seconds between two stamps of :func:`now`."""
    parse = datetime.datetime.fromisoformat
    delta = parse(finished.replace("Z", "+00:00")) - parse(started.replace("Z", "+00:00"))
    return round(delta.total_seconds(), 3)


def new_run_id() -> str:
    """Sorts by time, unique across controllers."""
    stamp = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    return "%s-%s" % (stamp, uuid.uuid4().hex[:6])


def load_meta(playbook_dir: str, procedure: str) -> dict:
    """The ``<procedure>.meta.yml`` beside the playbook."""
    path = os.path.join(playbook_dir, procedure + ".meta.yml")
    try:
        with open(path, encoding="utf-8") as handle:
            meta = yaml_load(handle)
    except (OSError, yaml.YAMLError) as error:
        raise BadInput("Expected the description of the procedure in %s; found: %s." % (path, error)) from error
    if not isinstance(meta, dict):
        raise BadInput("Expected a mapping in %s, found %s." % (path, type(meta).__name__))
    return meta


def check_parameters(meta: dict, procedure: str, given: dict) -> tuple[dict, list]:
    """Parameters of a run after defaults, and every problem as one sentence.

    ``given`` maps variable names to values; names outside the meta file that start with ``<procedure>_`` are typing
    errors, because nothing would read them.
    """
    known = dict(COMMON_PARAMETERS)
    known.update(meta.get("parameters") or {})
    values, problems = {}, []
    for name, spec in known.items():
        value = given.get(name)
        if value is None:
            value = spec.get("default")
        if value is None or value == "":
            if spec.get("required"):
                problems.append("%s is required: %s" % (name, _first_sentence(spec.get("description"))))
            values[name] = None
            continue
        value, problem = _convert(name, spec, value)
        if problem:
            problems.append(problem)
        values[name] = value
    for name in sorted(given):
        if name.startswith(procedure + "_") and name not in known:
            close = difflib.get_close_matches(name, sorted(known), 1)
            hint = " Did you mean %s?" % close[0] if close else ""
            problems.append("Unknown parameter %s.%s" % (name, hint))
    return values, problems


def _first_sentence(text) -> str:
    text = " ".join(text) if isinstance(text, list) else str(text or "see the documentation")
    return " ".join(text.split()).split(". ", maxsplit=1)[0].rstrip(".") + "."


def _convert(name, spec, value):
    kind = spec.get("type", "str")
    if kind == "int" and isinstance(value, str) and re.fullmatch(r"-?\d+", value.strip()):
        value = int(value)
    elif kind == "float" and isinstance(value, str) and re.fullmatch(r"-?\d+(\.\d*)?", value.strip()):
        value = float(value)
    elif kind == "bool" and isinstance(value, str) and value.lower() in ("true", "yes", "false", "no", "1", "0"):
        value = value.lower() in ("true", "yes", "1")
    elif kind in ("str", "path") and isinstance(value, (int, float)) and not isinstance(value, bool):
        value = str(value)
    elif kind == "list" and isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if kind == "str":
        value = str(value) if isinstance(value, str) else value
    if not isinstance(value, _TYPES[kind]) or (kind == "int" and isinstance(value, bool)):
        return value, "%s must be of type %s, found %r." % (name, kind, value)
    choices = spec.get("choices")
    if choices and value not in choices:
        return value, "%s must be one of %s, found %r." % (name, ", ".join(map(str, choices)), value)
    return value, None


def process_start(pid: int) -> str | None:
    """Start time of a process in clock ticks since boot, or None where there is no such process."""
    try:
        with open("/proc/%d/stat" % pid, encoding="utf-8", errors="replace") as handle:
            return handle.read().rsplit(")", 1)[1].split()[19]
    except (OSError, IndexError):
        return None


def controller_identity(pid: int) -> dict:
    """Who runs this: ``owner`` (person), ``controller`` (machine and process, comparable), ``pid``."""
    try:
        with open("/etc/machine-id", encoding="utf-8") as handle:
            machine = handle.read().strip()
    except OSError:
        machine = str(uuid.getnode())
    digest = hashlib.sha256(machine.encode()).hexdigest()[:8]
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    machine_name = socket.gethostname()
    return {
        "owner": "%s@%s" % (user, machine_name),
        "controller": "%s/%s/%d/%s" % (machine_name, digest, pid, process_start(pid) or "0"),
        "pid": pid,
    }


def holder_is_dead(holder: str, ours: str) -> bool:
    """Whether the process that took a lock is gone for sure.

    Only a holder on this very machine can be judged: same machine digest, and no process with that id and start time.
    """
    try:
        _name, machine, pid, started = holder.rsplit("/", 3)
        our_machine = ours.rsplit("/", 3)[1]
        number = int(pid)
    except (ValueError, AttributeError, IndexError):
        return False
    return machine == our_machine and process_start(number) != started


class Journal:
    """The append-only file of one run."""

    def __init__(self, path: str):
        self.path = path

    def append(self, kind: str, **values) -> None:
        """Add one record and make it durable."""
        line = json.dumps(dict(values, type=kind, at=now()), default=str, ensure_ascii=False)
        with open(self.path, "a", encoding="utf-8") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            handle.write(line + "\n")
            handle.flush()
            os.fsync(handle.fileno())

    def records(self) -> list:
        """All records; a torn last line (killed controller) is left out."""
        result = []
        try:
            with open(self.path, encoding="utf-8") as handle:
                for line in handle:
                    try:
                        result.append(json.loads(line))
                    except ValueError:
                        continue
        except FileNotFoundError:
            pass
        return result

    def stopped(self) -> str | None:
        """The sentence that stopped the run, or None while it may go on."""
        for record in self.records():
            if record["type"] == "stop":
                return record["reason"]
        return None


def host_answer(outcome) -> dict:
    """What a module that only looks returned, with ``reachable``; of one that did not run only why (``msg``)."""
    answer = {key: value for key, value in outcome.items() if key not in ("invocation", "unreachable")}
    if outcome.get("unreachable"):
        answer["reachable"] = False
    answer.setdefault("reachable", True)
    if outcome.get("failed"):
        return {"reachable": answer["reachable"], "msg": outcome_message(answer)}
    return answer


def outcome_message(outcome: dict) -> str:
    """Why a module failed, in its own words; of a module that broke off, the last line of its traceback.

    ansible-core 2.19 keeps the exception as an object with an event, 2.16 as text beside a useless message.
    """
    text = str(outcome.get("msg") or "")
    exception = outcome.get("exception")
    if exception and (not text or text.startswith("MODULE FAILURE")):
        event = getattr(exception, "event", None)
        lines = [line for line in str(getattr(event, "msg", None) or exception).splitlines() if line.strip()]
        text = "the module broke off: %s" % (lines[-1].strip() if lines else "no reason given")
    if text == "non-zero return code":
        output = "%s\n%s" % (outcome.get("stderr") or "", outcome.get("stdout") or "")
        said = [line for line in output.splitlines() if line.strip()]
        command = outcome.get("cmd") or "the command"
        command = " ".join(command) if isinstance(command, list) else command
        text = "expected exit code 0 of %s, found %s%s" % (
            command,
            outcome.get("rc"),
            ": %s" % said[0].strip() if said else ", and it said nothing",
        )
    return text


def stop_result(records: list, outcome: dict) -> str:
    """``refused`` when a step refused before anything was changed, else ``failed``."""
    changed = any(record["type"] == "step" and record["state"] == "changed" for record in records)
    return "refused" if outcome.get("refused") and not changed else "failed"


def document(records: list, finished: str) -> dict:
    """The report document of a journal (format: docs/report.md)."""
    begin = next((r for r in records if r["type"] == "begin"), {})
    verdict = next((r for r in reversed(records) if r["type"] == "verdict"), {})
    stop = next((r for r in records if r["type"] == "stop"), None)
    completed = any(r["type"] == "completed" for r in records)
    result, reason = _outcome(begin, verdict, stop, completed)
    started = begin.get("started", finished)
    report = {
        "schema": SCHEMA,
        "procedure": begin.get("procedure", "unknown"),
        "run_id": begin.get("run_id", "unknown"),
        "result": result,
        "reason": reason,
        "check_mode": bool(begin.get("check_mode")),
        "started": started,
        "finished": finished,
        "seconds": seconds_between(started, finished),
        "controller": begin.get("controller", ""),
        "owner": begin.get("owner", ""),
        "parameters": begin.get("parameters", {}),
        "plan": verdict.get("plan", []),
        "steps": [
            {key: r.get(key) for key in ("name", "host", "state", "seconds", "started", "message")}
            for r in records
            if r["type"] == "step"
        ],
        "remaining": [r["text"] for r in records if r["type"] == "remaining" and result != "refused"],
        "warnings": [r["text"] for r in records if r["type"] == "warning"],
    }
    for record in records:
        if record["type"] == "fact":
            report[record["key"]] = record["value"]
    return report


def _outcome(begin, verdict, stop, completed):
    if stop:
        return stop.get("result", "failed"), stop["reason"]
    if verdict.get("result") == "nothing_to_do":
        return "nothing_to_do", verdict.get("reason", "")
    if completed and begin.get("check_mode"):
        return "ok", "Check mode: nothing was changed. " + verdict.get("reason", "")
    if completed:
        done = verdict.get("done") or verdict.get("reason") or "Done."
        return "ok", done
    return "failed", "The run ended before its last step."


def write_atomically(path: str, text: str, mode: int = 0o644) -> None:
    """Replace ``path`` so that a reader sees the old text or the new one."""
    temporary = "%s.%d.tmp" % (path, os.getpid())
    with open(temporary, "w", encoding="utf-8") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
    os.chmod(temporary, mode)
    os.replace(temporary, path)


def link(target: str, path: str) -> None:
    """Point the symbolic link ``path`` at ``target`` (a name in the same directory)."""
    temporary = "%s.%d.tmp" % (path, os.getpid())
    os.symlink(target, temporary)
    os.replace(temporary, path)
