"""The lab's stand-ins are programs of the image, not of the collection: make their packages importable."""

import os
import sys

ROOTFS = os.path.join(os.path.dirname(__file__), "..", "..", "..", "molecule", "lab", "rootfs")
LIBRARY = os.path.realpath(os.path.join(ROOTFS, "opt", "circonus", "libexec", "lab"))

sys.path.insert(0, LIBRARY)
