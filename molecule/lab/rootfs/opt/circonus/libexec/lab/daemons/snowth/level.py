"""A key and value store with the outside of LevelDB: CURRENT names a manifest, the manifest the log files and how far
they were whole at the last start. Its complaints are worded as LevelDB's; the records are this stand-in's own format.

One record: CRC-32, length of key, length of value, key, value; a value of None (length -1) removes the key.
"""

import os
import struct
import zlib

HEAD = struct.Struct("<IIi")
CURRENT = "CURRENT"


class Corruption(Exception):
    """The store cannot be opened; text as in LevelDB's log."""


def record(key, value):
    body = key + (value or b"")
    sizes = struct.pack("<Ii", len(key), -1 if value is None else len(value))
    return struct.pack("<I", zlib.crc32(sizes + body)) + sizes + body


def records(data):
    """([(key, value or None)], offset behind the last whole record)."""
    found, at = [], 0
    while at + HEAD.size <= len(data):
        crc, key_size, value_size = HEAD.unpack_from(data, at)
        end = at + HEAD.size + key_size + max(value_size, 0)
        if end > len(data) or zlib.crc32(data[at + 4 : end]) != crc:
            break
        middle = at + HEAD.size + key_size
        found.append((data[at + HEAD.size : middle], None if value_size < 0 else data[middle:end]))
        at = end
    return found, at


class Level:
    """An open store; its content is in memory as well."""

    def __init__(self, path):
        self.path, self.data = path, {}
        os.makedirs(path, exist_ok=True)
        if not os.listdir(path):
            create(path, [])
        self.log = self.load()
        self.handle = os.open(os.path.join(path, self.log), os.O_WRONLY | os.O_APPEND)

    def load(self):
        """Read everything; the name of the log file."""
        manifest, number, whole, checksum = read_manifest(self.path)
        log = "%06d.log" % number
        try:
            data = read(os.path.join(self.path, log))
        except OSError:
            raise Corruption("Corruption: 1 missing files; e.g.: %s" % os.path.join(self.path, log)) from None
        if len(data) < whole or zlib.crc32(data[:whole]) != checksum:
            raise Corruption("Corruption: checksum mismatch: %s" % os.path.join(self.path, log))
        found, end = records(data)
        if end < whole:
            raise Corruption("Corruption: corrupted record in %s" % os.path.join(self.path, log))
        for key, value in found:
            self._apply(key, value)
        if end < len(data):  # the last write of a process that was killed, and never acknowledged
            os.truncate(os.path.join(self.path, log), end)
        write_manifest(self.path, manifest, number, data[:end])
        put(os.path.join(self.path, CURRENT), manifest.encode() + b"\n")  # as LevelDB does whenever it opens a store
        return log

    def _apply(self, key, value):
        if value is None:
            self.data.pop(key, None)
        else:
            self.data[key] = value

    def write(self, pairs):
        """Store or, with None, remove; on disk when it returns."""
        pairs = [(key, value) for key, value in pairs if self.data.get(key) != value]
        if not pairs:
            return
        os.write(self.handle, b"".join(record(key, value) for key, value in pairs))
        os.fdatasync(self.handle)
        for key, value in pairs:
            self._apply(key, value)

    def close(self):
        """Give the file back, once: its number may be another file's by the second time."""
        handle, self.handle = self.handle, None
        if handle is not None:
            os.close(handle)


def read(path):
    with open(path, "rb") as handle:
        return handle.read()


def put(path, data):
    with open(path + ".dbtmp", "wb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())
    os.replace(path + ".dbtmp", path)


def write_manifest(path, manifest, number, data):
    text = "log %06d %d %08x\n" % (number, len(data), zlib.crc32(data))
    put(os.path.join(path, manifest), text.encode() + b"crc %08x\n" % zlib.crc32(text.encode()))


def create(path, pairs, number=3):
    """A new store of these records."""
    data = b"".join(record(key, value) for key, value in pairs)
    put(os.path.join(path, "%06d.log" % number), data)
    manifest = "MANIFEST-%06d" % (number - 1)
    write_manifest(path, manifest, number, data)
    put(os.path.join(path, CURRENT), manifest.encode() + b"\n")


def read_manifest(path):
    """(manifest, number of the log, bytes of it that must be whole, their CRC-32)."""
    try:
        current = read(os.path.join(path, CURRENT))
    except OSError:
        text = "Corruption: %s: does not exist (create_if_missing is false)" % os.path.join(path, CURRENT)
        raise Corruption(text) from None
    if not current.endswith(b"\n"):
        raise Corruption("Corruption: CURRENT file does not end with newline: %s" % path)
    manifest = current[:-1].decode(errors="replace")
    try:
        data = read(os.path.join(path, manifest))
    except (OSError, ValueError):
        raise Corruption("Corruption: CURRENT points to a non-existent file: %s" % path) from None
    text, _, rest = data.partition(b"crc ")
    words = text.split()
    if rest != b"%08x\n" % zlib.crc32(text) or len(words) != 4:
        raise Corruption("Corruption: checksum mismatch: %s" % os.path.join(path, manifest))
    return manifest, int(words[1]), int(words[2]), int(words[3], 16)


def repair(path):
    """Make a store open again from whatever records are whole; (records kept, bytes that were not readable)."""
    logs = sorted(name for name in os.listdir(path) if name.endswith(".log"))
    kept, lost, number = {}, 0, 3
    for name in logs:
        data = read(os.path.join(path, name))
        number = max(number, int(name[:-4] or 0))
        at = 0
        while at < len(data):
            found, end = records(data[at:])
            for key, value in found:
                kept.pop(key, None)
                if value is not None:
                    kept[key] = value
            at += end
            if at < len(data):  # look for the next whole record behind the damage
                step = next((skip for skip in range(1, len(data) - at) if whole(data, at + skip)), len(data) - at)
                at, lost = at + step, lost + step
    aside = os.path.join(path, "lost")
    os.makedirs(aside, exist_ok=True)
    for name in os.listdir(path):
        if name != "lost":
            os.replace(os.path.join(path, name), os.path.join(aside, name))
    create(path, kept.items(), number + 1)
    return len(kept), lost


def whole(data, at):
    if at + HEAD.size > len(data):
        return False
    crc, key_size, value_size = HEAD.unpack_from(data, at)
    end = at + HEAD.size + key_size + max(value_size, 0)
    return key_size > 0 and end <= len(data) and zlib.crc32(data[at + 4 : end]) == crc
