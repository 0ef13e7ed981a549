"""Journals in JLog's own format (uncompressed): what noitd writes and its subscribers follow.

metastore: current segment, segment size, safety, magic; cp.<hex of name>: segment, marker (1-based, the last one read);
segments of records (magic, seconds, microseconds, length, payload); .idx: offsets, made by readers. Native byte order.
"""

import os
import struct
import time

MAGIC = 0x663A7318
UNIT_LIMIT = 4 * 1024 * 1024
META = struct.Struct("=IIII")
HEAD = struct.Struct("=IIII")
POINT = struct.Struct("=II")


class Damaged(Exception):
    """The journal cannot be opened; one line."""


def segment(number):
    return "%08x" % number


def checkpoint_name(subscriber):
    return "cp." + subscriber.encode().hex()


def subscriber_of(name):
    return bytes.fromhex(name[3:]).decode(errors="replace")


def segments(path):
    """Numbers of the segments that exist, in order."""
    wanted = (name for name in os.listdir(path) if len(name) == 8 and not set(name) - set("0123456789abcdef"))
    return sorted(int(name, 16) for name in wanted)


def write_file(path, data, mode=0o640):
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        os.write(number, data)
    finally:
        os.close(number)


class Writer:
    """The only writer of a journal; makes it when the directory is empty."""

    def __init__(self, path, unit_limit=UNIT_LIMIT, safety=1):
        self.path = path
        meta = os.path.join(path, "metastore")
        if not os.path.isdir(path) or not os.listdir(path):
            os.makedirs(path, 0o750, exist_ok=True)
            write_file(meta, META.pack(0, unit_limit, safety, MAGIC))
            write_file(os.path.join(path, "pre_commit"), struct.pack("=I", 0))
        try:
            with open(meta, "rb") as handle:
                data = handle.read()
        except OSError:
            data = b""
        if len(data) != META.size or META.unpack(data)[3] != MAGIC or not META.unpack(data)[1]:
            raise Damaged("Cannot init jlog writer: JLOG_ERR_CREATE_EXISTS")
        self.current, self.unit_limit, self.safety, _magic = META.unpack(data)
        self.open()

    def open(self):
        path = os.path.join(self.path, segment(self.current))
        self.handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)

    def write(self, payload, at=None):
        if os.fstat(self.handle).st_size >= self.unit_limit:
            os.close(self.handle)
            self.current += 1
            with open(os.path.join(self.path, "metastore"), "r+b") as handle:
                handle.write(META.pack(self.current, self.unit_limit, self.safety, MAGIC))
            self.open()
        now = time.time() if at is None else at
        os.write(self.handle, HEAD.pack(MAGIC, int(now), int(now % 1 * 1e6), len(payload)) + payload)

    def clean(self):
        """Remove the segments that every subscriber has behind it; none while there is no subscriber."""
        points = [read_point(os.path.join(self.path, name)) for name in os.listdir(self.path) if name.startswith("cp.")]
        points = [point[0] for point in points if point]
        for number in segments(self.path):
            if points and number < min([*points, self.current]):
                for name in (segment(number), segment(number) + ".idx"):
                    if os.path.exists(os.path.join(self.path, name)):
                        os.unlink(os.path.join(self.path, name))


def read_point(path):
    """(segment, marker) of a checkpoint file, None when it is missing or short."""
    try:
        with open(path, "rb") as handle:
            data = handle.read()
    except OSError:
        return None
    return POINT.unpack(data) if len(data) == POINT.size else None


class Reader:
    """One subscriber. A missing segment is skipped; a checkpoint beyond the writer reads nothing."""

    def __init__(self, path, subscriber, create_at_end=False):
        self.path, self.file = path, os.path.join(path, checkpoint_name(subscriber))
        if not os.path.exists(self.file):
            known = segments(path) or [0]
            if create_at_end:
                self.set(known[-1], len(self.offsets(known[-1])))
            else:
                self.set(known[0], 0)
        point = read_point(self.file)
        if point is None:
            raise Damaged("checkpoint %s is empty or short" % self.file)
        self.log, self.marker = point

    def set(self, log, marker):
        """Remember that everything up to this message was consumed."""
        number = os.open(self.file, os.O_RDWR | os.O_CREAT, 0o640)
        try:
            os.pwrite(number, POINT.pack(log, marker), 0)
        finally:
            os.close(number)
        self.log, self.marker = log, marker

    def offsets(self, number):
        """Offsets of a segment's messages; keeps its index file up to date."""
        try:
            with open(os.path.join(self.path, segment(number)), "rb") as handle:
                size = os.fstat(handle.fileno()).st_size
                found, index = [], os.path.join(self.path, segment(number) + ".idx")
                if os.path.exists(index):
                    with open(index, "rb") as stored:
                        data = stored.read()
                    found = list(struct.unpack("=%dQ" % (len(data) // 8), data[: len(data) // 8 * 8]))
                    if len(found) > 1 and found[-1] == 0:
                        return found[:-1]
                    found = [at for at in found if at < size]
                known, at = len(found), found[-1] if found else 0
                if found:
                    found.pop()
                while at + HEAD.size <= size:
                    handle.seek(at)
                    magic, _sec, _usec, length = HEAD.unpack(handle.read(HEAD.size))
                    if magic != MAGIC or at + HEAD.size + length > size:
                        break
                    found.append(at)
                    at += HEAD.size + length
        except FileNotFoundError:
            return []
        closed = number < self.storage_log()
        if len(found) != known or closed:
            data = struct.pack("=%dQ" % len(found), *found) + (struct.pack("=Q", 0) if closed else b"")
            write_file(index, data)
        return found

    def storage_log(self):
        with open(os.path.join(self.path, "metastore"), "rb") as handle:
            return META.unpack(handle.read(META.size))[0]

    def read(self, limit=1000):
        """[((segment, marker), seconds, microseconds, payload)] behind the checkpoint, of one segment."""
        last = self.storage_log()
        log, marker = self.log, self.marker
        while log <= last:
            offsets = self.offsets(log)
            if marker < len(offsets):
                break
            following = [number for number in segments(self.path) if number > log]
            if log >= last or not following:
                return []
            log, marker = following[0], 0
        else:
            return []
        batch = []
        with open(os.path.join(self.path, segment(log)), "rb") as handle:
            for index in range(marker, min(len(offsets), marker + limit)):
                handle.seek(offsets[index])
                _magic, seconds, micro, length = HEAD.unpack(handle.read(HEAD.size))
                batch.append(((log, index + 1), seconds, micro, handle.read(length)))
        return batch
