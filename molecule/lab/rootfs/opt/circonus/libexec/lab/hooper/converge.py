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
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
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

    def service(self, unit, enabled=True, running=True, restart=False):
        """Bring a unit into a state; a start that fails is a WARNING, because a peer may only come up later.

        Returns True when the unit is in the wanted state now.
        """
        linked = os.path.lexists(os.path.join(WANTS, unit + ".service"))
        state = self.run(["systemctl", "is-active", unit]).stdout.strip()
        active = state in ("active", "reloading", "activating")
        self._daemon_reload()
        if enabled != linked:
            verb = "enable" if enabled else "disable"
            self.resource(f"service[{unit}] {verb}", True, lambda: self.run(["systemctl", verb, "--quiet", unit]))
        verb = None
        if running and not active:
            verb = "start"
        elif running and restart:
            verb = "restart"
        elif not running and (active or state == "deactivating"):
            verb = "stop"
        self.total += 1
        if verb is None:
            return True
        self.emit(f"  * service[{unit}] {verb} {'would be done' if self.why_run else 'done'}")
        self.updated += 1
        if self.why_run:
            return True
        if verb == "start" and state == "failed":
            self.run(["systemctl", "reset-failed", unit])
        result = self.run(["systemctl", verb, unit], timeout=300)
        if result.returncode == 0:
            return True
        reason = self._last_log(unit)
        self.note("WARNING", f"service {unit} could not {verb}: {reason}; run Hooper again when its peers are up")
        return False

    def _last_log(self, unit):
        """Last line the unit's own processes wrote, for a summary line."""
        lines = self.run(["journalctl", "-u", unit, "-n", "12", "-o", "cat", "--no-pager"]).stdout.splitlines()
        noise = ("Starting ", "Failed to start", "Stopped ", unit + ".service:", "Dependency failed")
        spoken = [line.strip() for line in lines if line.strip() and not line.startswith(noise)]
        return spoken[-1][:300] if spoken else "see journalctl -u " + unit
