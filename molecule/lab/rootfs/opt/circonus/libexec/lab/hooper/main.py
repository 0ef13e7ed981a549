"""Command line of the run-hooper stand-in: arguments, killswitch, log, exit codes, summary.

Codes: 0 done, 90 newer Hooper installed, 91 its update failed, 92 killswitch, 93 no node name, 94 operator attention,
95 summary failed, 99 usage, anything else is the code of the configuration run itself.
"""

import fcntl
import json
import os
import socket
import sys
import time
import traceback

from hooper import faults, platform, site_file
from hooper.converge import SUMMARY_ORDER, Run, Stop
from hooper.site_file import FATAL, NOTICE

HOME = "/opt/circonus/var/chef-solo"
KILLSWITCH = HOME + "/killswitch"
NODE_CONFIG = HOME + "/node.json"
LOCK = "/run/circonus-hooper.lock"
LOG = "/var/log/chef/circonus-hooper.log"
LOG_RUNS = 50
RUN_MARK = "=== Hooper run "
#: Newest reconfiguration notice per edition: a node config older than this must be written again.
RECONFIGURATION = {"2019": "2017-10-26", "later": "2021-01-11"}
USAGE = "usage: run-hooper [-m] [-n] [-d] [nodename | self-configure | config-check]"


class Usage(Exception):
    pass


def arguments(argv):
    """Flags and node name of a command line; short flags may be joined (-mn)."""
    flags, names = set(), []
    for word in argv:
        if word.startswith("-"):
            letters = word[1:]
            if not letters or set(letters) - set("mnd"):
                raise Usage(f"unknown option {word}")
            flags.update(letters)
        else:
            names.append(word)
    if len(names) > 1:
        raise Usage("more than one node name: " + " ".join(names))
    return flags, names[0] if names else None


def trim(text, keep=LOG_RUNS):
    """The last `keep` runs of a log."""
    starts = [at for at in range(len(text)) if text.startswith(RUN_MARK, at)] if text.count(RUN_MARK) > keep else []
    return text[starts[-keep] :] if starts else text


class Log:
    """Prints a line and remembers it for the log file, which is written once at the end of the run."""

    def __init__(self, argv):
        self.lines = [f"{RUN_MARK}{time.strftime('%Y-%m-%dT%H:%M:%S%z')} run-hooper {' '.join(argv)}".rstrip()]

    def say(self, text):
        print(text, flush=True)
        self.lines.append(text)

    def write(self, code, path=LOG):
        self.lines.append(f"=== end, exit code {code}")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "a+", encoding="utf-8") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            handle.seek(0)
            text = handle.read()
            handle.write("\n".join(self.lines) + "\n")
            handle.flush()
            if text.count(RUN_MARK) >= LOG_RUNS:
                handle.seek(0)
                text = trim(handle.read())
                handle.seek(0)
                handle.truncate()
                handle.write(text)


def own_addresses():
    out = Run.run(["ip", "-json", "-4", "addr"]).stdout
    return {entry["local"] for link in json.loads(out or "[]") for entry in link.get("addr_info", [])}


def node_config():
    try:
        with open(NODE_CONFIG, encoding="utf-8") as handle:
            return json.load(handle)
    except (FileNotFoundError, ValueError):
        return None


def self_configure(run, site):
    name = site.own_name(own_addresses(), socket.gethostname())
    if name is None:
        run.note(FATAL, f"no machinfo entry has an address of this host ({socket.gethostname()}); add it to site.json")
        return 94
    roles = site.roles_of(name)
    run.emit(f"This host is {name}; roles: {', '.join(roles) or 'none'}")
    text = json.dumps({"name": name, "roles": roles, "configured": time.strftime("%Y-%m-%d")}, indent=2) + "\n"
    old = node_config() or {}
    if old.get("name") == name and old.get("roles") == roles:
        # Its date answers "is it older than the last reconfiguration notice", so every self-configure renews it.
        run.resource(f"file[{NODE_CONFIG}]", False)
        if not run.why_run:
            os.utime(NODE_CONFIG)
    else:
        run.file(NODE_CONFIG, text, 0o644)
    finished(run, 0.0)
    return 0


def summarise(run, log):
    if faults.present("summary-fails"):
        raise RuntimeError("summary-fails is set in " + faults.DIRECTORY)
    for level, text in faults.summary_lines(consume=not run.why_run):
        run.note(level, text)
    log.say("Summary of this run:")
    for level, text in sorted(run.summary, key=lambda entry: SUMMARY_ORDER.index(entry[0])):
        log.say(f"{level}: {text}")
    if not run.summary:
        log.say("nothing to report")


def converge(run, site, facts, name, maintenance):
    """One configuration run of the host `name`; returns the exit code before the summary is looked at."""
    if name not in site.machinfo:
        run.note(FATAL, f"{name} is not in machinfo of site.json; correct the node name or site.json")
        return 0
    stored = node_config()
    roles = site.roles_of(name)
    if stored and stored.get("name") == name:
        if sorted(stored.get("roles", [])) != sorted(roles):
            run.note(
                NOTICE,
                f"roles of {name} changed ({', '.join(stored.get('roles', [])) or 'none'} -> "
                f"{', '.join(roles) or 'none'}): reconfiguration needed, run `run-hooper self-configure`",
            )
            return 0
        notice = RECONFIGURATION.get(facts["edition"], RECONFIGURATION["later"])
        if os.stat(NODE_CONFIG).st_mtime < time.mktime(time.strptime(notice, "%Y-%m-%d")):
            run.note(NOTICE, f"reconfiguration needed since {notice}: run `run-hooper self-configure`")
            return 0
    for level, text in site.check(facts["edition"]):
        run.note(level, text)
    if any(level == FATAL for level, _ in run.summary):
        return 0
    started = time.monotonic()
    run.emit(f"Starting Chef Client (stand-in), node {name}, roles {', '.join(roles) or 'none'}")
    if maintenance:
        run.emit("Maintenance mode: packages are left as they are")
    platform.converge(run, site, facts, name, roles)
    finished(run, time.monotonic() - started)
    return 0


def finished(run, seconds):
    """Chef's own last line; readers take the number of changed resources from it."""
    done = "would have been updated" if run.why_run else f"updated in {seconds:.1f} seconds"
    run.emit(f"Chef Client finished, {run.updated}/{run.total} resources {done}")


def execute(argv, log):
    """Everything between the command line and the exit code; returns (code, write the log?)."""
    try:
        flags, name = arguments(argv)
    except Usage as exc:
        print(f"{exc}\n{USAGE}", file=sys.stderr)
        return 99, False
    if os.path.exists(KILLSWITCH):
        log.say(f"killswitch {KILLSWITCH} is present, nothing done; remove the file to let Hooper run")
        return 92, False
    why_run, maintenance = "n" in flags, "m" in flags
    quiet = why_run or name == "config-check"
    log.say("run-hooper (LAB STAND-IN, not vendor code)")
    if not quiet:
        lock = open(LOCK, "w", encoding="utf-8")  # held until the process ends
        fcntl.flock(lock, fcntl.LOCK_EX)
    if name not in ("self-configure", "config-check") and not why_run and not maintenance:
        code = faults.package_update(log.say)
        if code:
            return code, True
    run = Run(why_run, "d" in flags, log.say)
    try:
        facts = site_file.load_facts()
        site = site_file.load()
    except site_file.SiteError as exc:
        run.note(FATAL, str(exc))
        summarise(run, log)
        return 94, not quiet
    code = 0
    if name in ("self-configure", "config-check"):
        for level, text in site.check(facts["edition"]):
            run.note(level, text)
        fatal = any(level == FATAL for level, _ in run.summary)
        if name == "self-configure" and not fatal:
            code = self_configure(run, site)
    else:
        name = name or (node_config() or {}).get("name")
        if not name:
            log.say("no node name: give one, or run `run-hooper self-configure` first")
            return 93, not quiet
        faults.delay(log.say)
        code, text = faults.exit_code(consume=not why_run)
        if code:
            log.say(f"Chef run failed (fault injection): {text}")
            if code == 94:
                run.note(NOTICE, text)
                summarise(run, log)
            return code, not quiet
        code = converge(run, site, facts, name, maintenance)
    try:
        summarise(run, log)
    except Exception as exc:  # any fault in summarising has its own exit code
        log.say(f"the run could not be summarised: {exc}")
        return 95, not quiet
    if code == 0 and any(level in (NOTICE, FATAL) for level, _ in run.summary):
        code = 94
    return code, not quiet


def main():
    argv = sys.argv[1:]
    log = Log(argv)
    try:
        code, keep = execute(argv, log)
    except Stop as exc:
        log.say(str(exc))
        code, keep = exc.code, True
    except Exception:  # chef-solo reports an unexpected fault by code 1 and a trace in the log
        log.say(traceback.format_exc().rstrip())
        code, keep = 1, True
    if keep and os.geteuid() == 0 and "n" not in "".join(a[1:] for a in argv if a.startswith("-")):
        log.write(code)
    return code


if __name__ == "__main__":
    sys.exit(main())
