"""The line console of libmtev programs, byte for byte as recorded from noitd and stratcond.

A bare CR ends a line. LF runs the command and then an empty one. What arrives in the same moment behind a line is lost.
A command may be shortened as long as it is unique.
"""

# WILL SGA, WILL ECHO, ... and the question for the terminal's type: what libedit's telnet side sends at first.
NEGOTIATION = bytes.fromhex("fffb03fffd01fffd1ffffb05fffd21fffb01fffd18fffd20fffd23fffd27fffd24fffa1801fff0")
GREETING = NEGOTIATION + b"mtev: (no auth)\r\n"
IAC, SB, SE = 255, 250, 240
WITH_OPTION = range(251, 255)  # WILL, WONT, DO, DONT


class Exit(Exception):
    """The user leaves."""


def strip_telnet(data):
    """Keyboard input without telnet's own commands (which answer ours, or come by themselves)."""
    out, at = bytearray(), 0
    while at < len(data):
        if data[at] != IAC:
            out.append(data[at])
            at += 1
        elif data[at + 1 : at + 2] == bytes([SB]):
            end = data.find(bytes([IAC, SE]), at)
            at = len(data) if end < 0 else end + 2
        elif at + 1 < len(data) and data[at + 1] == IAC:
            out.append(IAC)
            at += 2
        else:
            at += 3 if at + 1 < len(data) and data[at + 1] in WITH_OPTION else 2
    return bytes(out)


def matches(tree, word):
    return [word] if word in tree else sorted(name for name in tree if name.startswith(word))


def run(tree, line):
    """Text of one command line. tree: {word: tree or function(arguments) -> text}."""
    words = line.split()
    if not words:
        return ""
    if words[0] == "exit":
        raise Exit
    if words[0] in ("help", "?"):
        return "\n= Commands =\n" + "".join("  ==> '%s'\n" % name for name in sorted([*tree, "exit"]))
    node = tree
    while isinstance(node, dict):
        if not words:
            return "".join("  ==> '%s'\n" % name for name in sorted(node)) + "incomplete command.\n"
        word = words.pop(0)
        if word == "?":
            return "".join("\t%s\n" % name for name in sorted(node))
        found = matches(node, word)
        if not found:
            return "No such command: '%s'\n" % word
        if len(found) > 1:
            return "Ambiguous command: '%s'\n" % word
        node = node[found[0]]
    return node(words)


def serve(stream, prompt, tree, wait=3600.0):
    """One session. prompt: such as "noit# "."""
    sock = stream.sock
    sock.settimeout(wait)
    sock.sendall(GREETING + prompt.encode())
    line = b""
    while True:
        stream.fill()
        data, stream.buffer = strip_telnet(stream.buffer), b""
        for at, byte in enumerate(data):
            if byte in (0x0D, 0x0A):
                break
            if byte in (0x08, 0x7F):
                line = line[:-1]
                sock.sendall(b"\b \b")
            elif byte >= 0x20:
                line += data[at : at + 1]
                sock.sendall(data[at : at + 1])
        else:
            continue
        sock.sendall(b"\r\n")
        try:
            text = run(tree, line.decode(errors="replace"))
        except Exit:
            return
        text = text.replace("\n", "\r\n") + prompt
        if byte == 0x0A:
            text += "\r\n" + prompt
        sock.sendall(text.encode())
        line = b""


def jobq(name, total=0, backlog=0, inflight=0, concurrency="0/4", safety="gc"):
    """One block of `show eventer debug jobq`."""
    return (
        "=== %s ===\n safety: %s\n concurrency: %s\n mode: FIFO\n min/max: 0/0\n total jobs: %d\n backlog: %d\n"
        " inflight: %d\n timeouts: 0\n avg_wait_ms: %.6f\n avg_run_ms: %.6f\n"
        % (name, safety, concurrency, total, backlog, inflight, 0.07 if total else 0, 0.011 if total else 0)
    )


def version(feature):
    """`show version`, from this machine."""
    import os

    system = os.uname()
    fields = ("sysname", "nodename", "release", "version", "machine")
    lines = ["%s %s:\t%s" % (kind, key, getattr(system, key)) for kind in ("build", "run") for key in fields]
    return "\n".join([*lines, "bitwidth:\t64bit", "version:\tlab stand-in", "feature:\t%s:lab" % feature]) + "\n"
