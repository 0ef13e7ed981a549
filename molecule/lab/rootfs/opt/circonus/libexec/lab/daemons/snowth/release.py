"""What differs between releases of the store: a release is the day of a Circonus Inside release, as text."""

import calendar
import re
import time

OLDEST = "2019-11-04"  # the release of the 2019 manual
LATER = "2021-11-29"
DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
KNOWN = {"2019": OLDEST, "2021": LATER, "2022": "2022-07-11"}


class Release:
    def __init__(self, text=""):
        text = (text or LATER).strip()
        day = KNOWN.get(text[:4], text) if len(text) < 10 else text
        if not DAY.fullmatch(day):
            raise ValueError("release %r is neither a day nor one of %s" % (text, ", ".join(sorted(KNOWN))))
        self.day = day
        self.semver = "0.1.%d" % calendar.timegm(time.strptime(day, "%Y-%m-%d"))
        self.version = "v%08x/%08x" % (int(day.replace("-", "")), 0)
        self.sweeps = day < "2021-06-28"
        self.converts = day < "2021-06-28"  # -N
        self.nnt_store = day < "2021-06-28"  # rollups below data/ unless they were converted
        self.nnt_state = day < "2022-01-10"
        self.newer = day >= "2020-01-01"  # what only the documents of 2020 and later know
        self.sides = day >= "2020-01-01"
        self.leaves_out = day >= "2021-05-17"  # -S
        self.skips_shards = day >= "2022-01-10"
        self.rebuild_format = 2 if day >= "2022-06-27" else 1  # of reconstitute and rebalance


def of_conf(text):
    """The release that snowth.conf names (Hooper of the lab writes it there), or an empty text."""
    found = re.search(r'<lab release="([^"]+)"/>', text)
    return found.group(1) if found else ""
