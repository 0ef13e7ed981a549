"""What a run changes, one small idempotent resource at a time; with why_run nothing is written anywhere."""

import grp
import os
import pwd
import subprocess
import tempfile

UNIT_DIR = "/etc/systemd/system"
UNIT_SOURCE = "/opt/circonus/libexec/lab/units"
WANTS = "/etc/systemd/system/multi-user.target.wants"
SUMMARY_ORDER = ("INFO", "NOTICE", "WARNING", "FATAL")


class Stop(Exception):
    """End the run here with this exit code."""

    def __init__(self, code, text=""):
        super().__init__(text)
        self.code = code


class Run:
    """State of one run: what was looked at, what was changed, what the administrator has to read."""

    def __init__(self, why_run=False, debug=False, emit=print):
        self.why_run = why_run
        self.debug_on = debug
        self.emit = emit
        self.total = 0
        self.updated = 0
        self.summary = []
        self.reload_units = False
        self.settings_changed = False  # of this host's daemons
        self.due = {}  # {(enabled, running, restart): units}, see later

    # -- talking ----------------------------------------------------------------------------------------------
    def debug(self, text):
        if self.debug_on:
            self.emit(f"    (debug) {text}")

    def note(self, level, text):
        if (level, text) not in self.summary:
            self.summary.append((level, text))

    def resource(self, name, needed, action=None):
        """Count a resource; when needed, run the action (never with why_run). Returns needed."""
        self.total += 1
        if not needed:
            self.debug(f"{name} up to date")
            return False
        self.updated += 1
        self.emit(f"  * {name} {'would be changed' if self.why_run else 'changed'}")
        if action and not self.why_run:
            action()
        return True

    # -- commands ---------------------------------------------------------------------------------------------
    @staticmethod
    def run(argv, timeout=120, user=None, env=None, stdin=None, check=False):
        """Run a command; its output is text. user: operating-system account for the child."""
        options = {}
        if user and pwd.getpwnam(user).pw_uid != os.geteuid():
            account = pwd.getpwnam(user)
            options = {"user": user, "group": account.pw_gid, "extra_groups": os.getgrouplist(user, account.pw_gid)}
        return subprocess.run(
            argv,
            capture_output=True,
            stdin=subprocess.DEVNULL if stdin is None else None,
            input=stdin,
            text=True,
            timeout=timeout,
            env=env,
            cwd="/",
            check=check,
            **options,
        )

    # -- files ------------------------------------------------------------------------------------------------
    def _ids(self, owner, group):
        """uid and gid by name; an account that is not there yet (why-run of a first run) counts as root."""
        try:
            return pwd.getpwnam(owner).pw_uid, grp.getgrnam(group or owner).gr_gid
        except KeyError:
            return 0, 0

    def file(self, path, content, mode=0o644, owner="root", group=None, in_place=False):
        """Keep a file's content, mode and owner. in_place: /etc/hosts may be a mount and cannot be renamed over."""
        uid, gid = self._ids(owner, group)
        data = content.encode()
        try:
            stat = os.stat(path)
            with open(path, "rb") as handle:
                same = handle.read() == data
            same_mode = stat.st_mode & 0o7777 == mode and (stat.st_uid, stat.st_gid) == (uid, gid)
        except FileNotFoundError:
            same = same_mode = False

        def write():
            if not same and in_place:
                with open(path, "wb") as handle:
                    handle.write(data)
            elif not same:
                os.makedirs(os.path.dirname(path), exist_ok=True)
                number, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".hooper-")
                with os.fdopen(number, "wb") as handle:
                    handle.write(data)
                    os.fchmod(handle.fileno(), mode)
                    os.fchown(handle.fileno(), uid, gid)
                os.replace(temporary, path)
            os.chmod(path, mode)
            os.chown(path, uid, gid)

        return self.resource(f"file[{path}]", not (same and same_mode), write)

    def once(self, path, content, mode=0o644, owner="root", group=None):
        """Make a file that belongs to the operator from then on."""
        if os.path.exists(path):
            return self.resource(f"file[{path}]", False)
        return self.file(path, content, mode, owner, group)

    def directory(self, path, mode=0o755, owner="root", group=None):
        uid, gid = self._ids(owner, group)
        try:
            stat = os.stat(path)
            same = stat.st_mode & 0o7777 == mode and (stat.st_uid, stat.st_gid) == (uid, gid)
        except FileNotFoundError:
            same = False

        def make():
            os.makedirs(path, exist_ok=True)
            os.chmod(path, mode)
            os.chown(path, uid, gid)

        return self.resource(f"directory[{path}]", not same, make)

    def link(self, path, target):
        def make():
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if os.path.lexists(path):
                os.unlink(path)
            os.symlink(target, path)

        same = os.path.islink(path) and os.readlink(path) == target
        return self.resource(f"link[{path}]", not same, make)

    # -- systemd ----------------------------------------------------------------------------------------------
    def unit_file(self, unit):
        """Install a unit that the lab carries (the package's part in a real platform)."""
        with open(os.path.join(UNIT_SOURCE, unit + ".service"), encoding="utf-8") as handle:
            changed = self.file(os.path.join(UNIT_DIR, unit + ".service"), handle.read())
        self.reload_units = self.reload_units or changed
        return changed

    def remove_unit(self, unit):
        path = os.path.join(UNIT_DIR, unit + ".service")
        if os.path.exists(path):
            self.service(unit, enabled=False, running=False)
            self.resource(f"unit[{unit}]", True, lambda: os.unlink(path))
            self.reload_units = True

    def _daemon_reload(self):
        if self.reload_units and not self.why_run:
            self.run(["systemctl", "daemon-reload"])
            self.reload_units = False

    def is_running(self, unit):
        return self.run(["systemctl", "is-active", unit]).stdout.strip() in ("active", "reloading")

    def states(self, units):
        """{unit: active, inactive, failed, ...} by one question."""
        answers = self.run(["systemctl", "is-active", *units]).stdout.split()
        return dict(zip(units, answers, strict=True))

    def later(self, units, enabled=True, running=True, restart=False):
        """Remember units for settle: systemctl costs more than what it does, so all units of a host go together."""
        self.due.setdefault((enabled, running, restart), []).extend(units)

    def settle(self):
        for (enabled, running, restart), units in self.due.items():
            self.services(units, enabled, running, restart)
        self.due = {}

    def service(self, unit, enabled=True, running=True, restart=False):
        """One unit; see services."""
        return self.services([unit], enabled, running, restart)

    def services(self, units, enabled=True, running=True, restart=False):
        """Bring units into a state, all at once; a start that fails is a WARNING: a peer may only come up later.

        Returns True when every unit is in the wanted state now.
        """
        units = list(units)
        states = self.states(units)
        self._daemon_reload()
        linked = [unit for unit in units if os.path.lexists(os.path.join(WANTS, unit + ".service"))]
        turn = [unit for unit in units if enabled != (unit in linked)]
        self._systemctl("enable" if enabled else "disable", turn, ["--quiet"])
        alive = [unit for unit in units if states[unit] in ("active", "reloading", "activating")]
        if running:
            failed = [unit for unit in units if states[unit] == "failed"]
            if failed and not self.why_run:
                self.run(["systemctl", "reset-failed", *failed])
            self._systemctl("start", [unit for unit in units if unit not in alive])
            self._systemctl("restart", alive if restart else [])
        else:
            self._systemctl("stop", [unit for unit in units if unit in alive or states[unit] == "deactivating"])
        self.total += 2 * len(units)
        if self.why_run or not running or set(alive) == set(units) and not restart:
            return True
        down = [unit for unit, state in self.states(units).items() if state != "active"]
        for unit in down:
            self.note("WARNING", f"service {unit} could not start: {self._last_log(unit)}; run Hooper again later")
        return not down

    def _systemctl(self, verb, units, options=()):
        """Run one systemctl for all units that need the verb; the result is looked at by the caller."""
        for unit in units:
            self.emit(f"  * service[{unit}] {verb} {'would be done' if self.why_run else 'done'}")
        self.updated += len(units)
        if units and not self.why_run:
            self.run(["systemctl", verb, *options, *units], timeout=900)

    def _last_log(self, unit):
        """Last line the unit's own processes wrote, for a summary line."""
        lines = self.run(["journalctl", "-u", unit, "-n", "12", "-o", "cat", "--no-pager"]).stdout.splitlines()
        noise = ("Starting ", "Failed to start", "Stopped ", "Stopping ", unit + ".service:", "Dependency failed")
        spoken = [
            line.strip()
            for line in lines
            if line.strip() and not line.startswith(noise) and "HINT:" not in line and "redirecting log" not in line
        ]
        return spoken[-1][:300] if spoken else "see journalctl -u " + unit
