"""jlogctl, the part that looks: -s (subscribers and positions), -l (segments), -i with -l (their indexes), then paths.

Unlike the real one it writes nothing. As with the real one the exit status is 0 when a journal cannot be opened.
"""

import os
import struct
import sys

from daemons import jlog

USAGE = "usage: jlogctl [-s] [-l [-i]] PATH... (lab stand-in: only what looks)"


def subscribers(path):
    """Lines of -s, in no promised order; a checkpoint file that is empty or short is not shown."""
    names = [name for name in os.listdir(path) if name.startswith("cp.")]
    points = [(jlog.subscriber_of(name), jlog.read_point(os.path.join(path, name))) for name in names]
    return ["\t%32s @ %08x:%08x" % (name, *point) for name, point in points if point]


def index(path, number):
    """The part of -i about one segment."""
    try:
        with open(os.path.join(path, jlog.segment(number) + ".idx"), "rb") as handle:
            data = handle.read()
    except FileNotFoundError:
        return "\t\tidx: none"
    offsets = struct.unpack("=%dQ" % (len(data) // 8), data[: len(data) // 8 * 8])
    closed = len(offsets) > 1 and offsets[-1] == 0
    count = len(offsets) - closed
    return "\t\tidx: %d messages (%08x), %s" % (count, count, "closed" if closed else "open")


def listing(path, indexes):
    """Lines of -l: every segment, its size and how many subscribers still need it."""
    names = [name for name in os.listdir(path) if name.startswith("cp.")]
    points = [point for point in (jlog.read_point(os.path.join(path, name)) for name in names) if point]
    lines = []
    for number in jlog.segments(path):
        size = os.path.getsize(os.path.join(path, jlog.segment(number)))
        pending = sum(log <= number for log, _marker in points)
        lines.append("\t%s [%9d bytes] %d pending readers" % (jlog.segment(number), size, pending))
        if indexes:
            lines.append(index(path, number))
    return lines


def show(path, flags):
    """(lines for stdout, line for stderr) of one path."""
    meta = os.path.join(path, "metastore")
    if not os.path.exists(meta) or not os.path.getsize(meta):
        text = "Failed to open jlog at '%s'\nperhaps the metastore is damaged" % path
        return [], text
    lines = [path]
    if "s" in flags:
        lines += subscribers(path)
    if "l" in flags:
        lines += listing(path, "i" in flags)
    return lines, ""


def main(arguments=None):
    arguments = sys.argv[1:] if arguments is None else arguments
    flags = [word[1:] for word in arguments if word.startswith("-")]
    paths = [word for word in arguments if not word.startswith("-")]
    if not paths or not flags or set(flags) - {"s", "l", "i"}:
        print(USAGE, file=sys.stderr)
        return 255
    for path in paths:
        lines, error = show(path, flags)
        if error:
            print(error, file=sys.stderr)
        for line in lines:
            print(line)
    return 0
