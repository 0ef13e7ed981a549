"""The command line of snowthd."""

import getopt

CONF = "/opt/circonus/etc/snowth.conf"
SHORT = "i:ek:c:u:g:t:dDMl:L:BT:O:A:S:r:jNs:qhmHE"


class Usage(Exception):
    """An option that this release does not have, or values that do not fit; one line."""


class Options:
    """What the flags ask for, one attribute each."""

    def __init__(self, arguments=()):
        try:
            pairs, rest = getopt.getopt(list(arguments), SHORT)
        except getopt.GetoptError as exc:
            raise Usage(str(exc)) from exc
        if rest:
            raise Usage("unexpected argument %s" % rest[0])
        given = dict(pairs)
        self.conf = given.get("-c", CONF)
        self.identity = given.get("-i", "")
        self.control = given.get("-k", "start")
        self.user, self.group = given.get("-u", ""), given.get("-g", "")
        # -D once: one process in the foreground; twice, or none: watchdog and child. What ends by itself has none.
        once = [flag for flag, _value in pairs].count("-D") == 1
        self.watched = not (once or {"-M", "-d", "-B", "-j"} & set(given))
        self.rebuild = "-B" in given
        self.foreign, self.bootstrap = given.get("-T", ""), given.get("-O", "")
        self.types = [word for flag, value in pairs if flag == "-A" for word in value.split(",")]
        self.without = [value for flag, value in pairs if flag == "-S"]
        self.repair = given.get("-r", "")
        self.drain, self.convert, self.quiet = "-j" in given, "-N" in given, "-q" in given
        self.help = "-h" in given
        self.check([flag for flag, _value in pairs])

    def check(self, flags):
        if self.control not in ("start", "stop", "status"):
            raise Usage("-k takes start, stop or status, not %s" % self.control)
        if bool(self.foreign) != bool(self.bootstrap):
            raise Usage("-T and -O belong together")
        if not self.rebuild and (self.foreign or self.types or self.without):
            raise Usage("-A, -S, -T and -O belong to -B")
        for flag in ("-e", "-s", "-m", "-H", "-E", "-t"):
            if flag in flags:
                raise Usage("%s is not in this stand-in" % flag)


def target(text, port=8112):
    """(address, port) of -O."""
    host, _, number = text.partition(":")
    if not host or (number and not number.isdigit()):
        raise Usage("-O takes ip or ip:port, not %s" % text)
    return host, int(number or port)
