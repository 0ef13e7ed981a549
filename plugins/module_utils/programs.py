# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where the programs of a system are. The guard of a database host carries this file, so it needs no other."""
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os

PROGRAM_PATHS = ("/usr/sbin", "/sbin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/local/bin")


def find_program(name):
    """Absolute path of ``name`` in the directories where a system keeps it, or None."""
    for directory in PROGRAM_PATHS:
        path = os.path.join(directory, name)
        if os.access(path, os.X_OK):
            return path
    return None
