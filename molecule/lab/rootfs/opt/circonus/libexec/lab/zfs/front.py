"""zfs and zpool of the lab: zfs-fuse's own programs, and before them what this old version does not have.

zfs send -n[vpP] <snapshot>       the estimate, in the output format of the dialect
zpool get [-Hp] [-o fields] ...   property freeing, and the options
zfs list, zfs get <path>          the data set that is mounted there; the real one finds none at device numbers over 255
zfs destroy                       the real one; what it released is `freeing` for a while, as on a large pool

Everything else goes to the real program as it is. Files in DIRECTORY change the behaviour:
dialect      illumos (OmniOS) or linux; without the file linux
free-rate    bytes a second that are released after a destroy; without the file 64 MiB
send-rate    bytes a second that zfs send may write, as on a large data set; without the file as fast as it can
"""

import json
import os
import subprocess
import sys
import time

DIRECTORY = "/opt/circonus/var/zfs-standin"
PROGRAMS = "/usr/lib/circonus-lab/zfs"
STATE = "freeing.json"
RATE = 64.0 * 1024 * 1024
BLOCK = 64 * 1024
UNITS = "BKMGTPE"
FIELDS = ("name", "property", "value", "source")


class Usage(Exception):
    """An option that neither this front nor the real program has."""


def human(size):
    """A size as ZFS prints it: three digits and a unit."""
    unit, value = 0, float(size)
    while value >= 1024 and unit < len(UNITS) - 1:
        value, unit = value / 1024, unit + 1
    if unit == 0:
        return "%d%s" % (size, "" if size == 0 else "B")
    for digits in (2, 1, 0):
        text = "%.*f" % (digits, value)
        if len(text) <= 4:
            break
    return text + UNITS[unit]


def estimate(snapshot, size, dialect, parsable):
    """Lines of a dry run of send."""
    if parsable:
        return ["full\t%s\t%d" % (snapshot, size), "size\t%d" % size]
    first = "send from @ to %s" if dialect == "illumos" else "full send of %s"
    text = human(size)
    return [(first + " estimated size is %s") % (snapshot, text), "total estimated size is %s" % text]


def flags(arguments, known):
    """(letters given, {letter: value}, the other arguments); known: as for getopt."""
    import getopt

    try:
        pairs, rest = getopt.getopt(arguments, known)
    except getopt.GetoptError as exc:
        raise Usage("invalid option: %s" % exc) from exc
    return {flag[1:] for flag, _value in pairs}, {flag[1:]: value for flag, value in pairs if value}, rest


class Missing(Exception):
    """A path that no data set holds."""


class Front:
    """program: directory of the real programs. mounts: where the kernel tells what is mounted."""

    mounts = "/proc/self/mounts"

    def __init__(self, programs=PROGRAMS, directory=DIRECTORY, now=time.time, sleep=time.sleep):
        self.programs, self.directory, self.now, self.sleep = programs, directory, now, sleep

    def real(self, name, *arguments):
        """(exit code, output) of the real program; its complaints go to stderr."""
        done = subprocess.run([os.path.join(self.programs, name), *arguments], stdout=subprocess.PIPE, check=False)
        return done.returncode, done.stdout.decode(errors="replace")

    def pass_on(self, name, arguments):
        path = os.path.join(self.programs, name)
        os.execv(path, [path, *arguments])

    def text(self, name):
        try:
            with open(os.path.join(self.directory, name), encoding="utf-8") as handle:
                return handle.read().strip()
        except OSError:
            return ""

    def number(self, name, otherwise):
        """The number in a file, looked at whenever it matters."""
        try:
            return float(self.text(name) or otherwise)
        except ValueError:
            return otherwise

    # -- what is being released ---------------------------------------------------------------------------------
    def freeing(self, pool):
        """Bytes of a pool that are not released yet."""
        try:
            size, at = json.loads(self.text(STATE) or "{}")[pool]
        except (KeyError, ValueError):
            return 0
        return max(0, int(size - (self.now() - at) * self.number("free-rate", RATE)))

    def release(self, pool, size):
        state = json.loads(self.text(STATE) or "{}")
        state[pool] = [self.freeing(pool) + size, self.now()]
        os.makedirs(self.directory, exist_ok=True)
        path = os.path.join(self.directory, STATE)
        with open(path + ".new", "w", encoding="utf-8") as handle:
            json.dump(state, handle)
        os.replace(path + ".new", path)

    # -- zfs ----------------------------------------------------------------------------------------------------
    def data_set(self, path):
        """Name of the data set that holds a path, as zfs finds it. Raises Missing."""
        if not os.path.exists(path):
            raise Missing("%s: No such file or directory" % path)
        with open(self.mounts, encoding="utf-8") as handle:
            rows = [line.split() for line in handle]
        real = os.path.realpath(path)
        held = [row for row in rows if (real + "/").startswith(row[1].rstrip("/") + "/")]
        best = max(held, key=lambda row: len(row[1]))
        if best[2] != "fuse.zfs":
            raise Missing("cannot open '%s': not a ZFS filesystem" % path)
        return best[0]

    def zfs(self, arguments):
        if arguments[:1] in (["list"], ["get"]):
            arguments = [self.data_set(word) if word.startswith("/") else word for word in arguments]
        if arguments[:1] == ["send"] and any(word[:1] == "-" and "n" in word for word in arguments[1:]):
            return self.dry_send(arguments[1:])
        if arguments[:1] == ["send"] and self.number("send-rate", 0.0):
            return self.slow_send(arguments)
        if arguments[:1] == ["destroy"] and len(arguments) > 1:
            return self.destroy(arguments[1:])
        return self.pass_on("zfs", arguments)

    def dry_send(self, arguments):
        given, _values, names = flags(arguments, "nvpPRDeLci:I:")
        if len(names) != 1 or "@" not in names[0] or {"R", "i", "I"} & given:
            raise Usage("the estimate of this stand-in is for one whole snapshot")
        code, text = self.real("zfs", "get", "-H", "-p", "-o", "value", "referenced", names[0])
        if code:
            return code
        if {"v", "P"} & given:
            lines = estimate(names[0], int(text), self.text("dialect") or "linux", "P" in given)
            print("\n".join(lines))
        return 0

    def slow_send(self, arguments):
        """The stream of the real program, block by block; the file may be removed or changed meanwhile."""
        real = subprocess.Popen([os.path.join(self.programs, "zfs"), *arguments], stdout=subprocess.PIPE)
        try:
            for block in iter(lambda: real.stdout.read(BLOCK), b""):
                sys.stdout.buffer.write(block)
                sys.stdout.buffer.flush()
                self.pause(block)
        except BrokenPipeError:
            real.stdout.close()
            real.wait()
            return 1
        return real.wait()

    def pause(self, block):
        rate = self.number("send-rate", 0.0)
        if rate > 0:
            self.sleep(len(block) / rate)

    def destroy(self, arguments):
        name = arguments[-1]
        code, text = self.real("zfs", "get", "-H", "-p", "-o", "value", "used", name)
        size = int(text) if code == 0 and text.strip().isdigit() else 0
        code, text = self.real("zfs", "destroy", *arguments)
        sys.stdout.write(text)
        if code == 0:
            self.release(name.partition("@")[0].partition("/")[0], size)
        return code

    # -- zpool --------------------------------------------------------------------------------------------------
    def zpool(self, arguments):
        if arguments[:1] != ["get"]:
            return self.pass_on("zpool", arguments)
        given, values, words = flags(arguments[1:], "Hpo:")
        fields = values["o"].split(",") if "o" in values else list(FIELDS)
        if not words or set(fields) - set(FIELDS):
            raise Usage("zpool get [-Hp] [-o field[,...]] property[,...] [pool] ...")
        code, text = self.real("zpool", "list", "-H", "-o", "name", *words[1:])
        if code:
            return code
        rows = []
        for pool in text.split():
            for name in words[0].split(","):
                found = self.property(pool, name, "p" in given)
                if found is None:
                    return 1
                rows += found
        print(table(rows, fields, "H" not in given))
        return 0

    def property(self, pool, name, exact):
        """[{name, property, value, source}] of a property, None when the real program refuses it."""
        if name == "freeing":
            size = self.freeing(pool)
            return [dict(zip(FIELDS, (pool, name, str(size) if exact else human(size), "-"), strict=True))]
        code, text = self.real("zpool", "get", name, pool)
        if code:
            return None
        return [dict(zip(FIELDS, line.split(None, 3), strict=False)) for line in text.splitlines()[1:]]


def table(rows, fields, heading):
    """Rows as zpool get prints them: tabs for scripts, columns for people."""
    lines = [[row.get(field, "-").strip() for field in fields] for row in rows]
    if not heading:
        return "\n".join("\t".join(line) for line in lines)
    lines = [[field.upper() for field in fields], *lines]
    widths = [max(len(line[column]) for line in lines) for column in range(len(fields))]
    return "\n".join(
        "  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def main(name, arguments, front=None):
    front = front or Front()
    try:
        return {"zfs": front.zfs, "zpool": front.zpool}[name](arguments)
    except Usage as exc:
        print(exc, file=sys.stderr)
        return 2
    except Missing as exc:
        print(exc, file=sys.stderr)
        return 1
