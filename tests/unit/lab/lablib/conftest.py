"""The lab's command line is a program beside the collection: make its package importable."""

import os
import sys

LAB = os.path.join(os.path.dirname(__file__), "..", "..", "..", "..", "molecule", "lab")

sys.path.insert(0, os.path.realpath(LAB))
