"""Faults on demand: files of one directory, looked at whenever they matter; an empty or absent file is no fault.

release             a day such as 2019-11-04, or 2019, 2021, 2022: read at the start, wins over snowth.conf
slow-start          seconds before the start goes on
drain-rate          records a second to each peer; without the file 2000
stuck-peer          node ids, or all: what is journalled for these is not delivered
clock-offset        seconds that this node's clock is ahead
gossip-lost         node ids, or all: gossip to and from these is lost
gossip-numbers      any: times of gossip are bare numbers, as of older builds
disk-full           any: nothing can be stored, and no space is left
http-hang           any: connections are accepted and requests not answered while the file is there
http-error          any: every request is answered with 500 and an error
sweep-rate          metrics a second that a delete sweep works on; without the file 200
reconstitute-rate   metrics a second that a rebuild pulls; without the file 500
reconstitute-stays  any: snowthd -B does not end after it has finished
"""

import os

DIRECTORY = "/opt/circonus/var/snowth-standin"


class Faults:
    def __init__(self, directory=DIRECTORY):
        self.directory = directory

    def none(self):
        """True while the directory is not there: the usual case, asked some dozen times a second."""
        return not os.path.isdir(self.directory)

    def text(self, name):
        if self.none():
            return ""
        try:
            with open(os.path.join(self.directory, name), encoding="utf-8") as handle:
                return handle.read().strip()
        except OSError:
            return ""

    def on(self, name):
        return os.path.exists(os.path.join(self.directory, name))

    def number(self, name, usual):
        """A number of a file; a file that holds none is no fault."""
        try:
            return float(self.text(name) or usual)
        except ValueError:
            return usual

    def names(self, name, ident):
        """True when a file lists a node."""
        words = self.text(name).split()
        return ident in words or "all" in words
