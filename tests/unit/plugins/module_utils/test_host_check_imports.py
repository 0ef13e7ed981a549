# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host has to read before it can answer: Ansible sends source text, compiled anew by every run."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import subprocess
import sys

HERE = "ansible_collections.circonus.inside.plugins.module_utils."
FEW_NEED = ("address", "ca", "hooper", "lock", "postgres", "rabbitmq", "status_page", "web_db")
LARGE = ("ctypes", "http.client", "ssl", "tarfile", "urllib.request")


def test_only_what_every_host_needs_is_read():
    text = "import sys; sys.path[:0] = {0!r}\nimport {1}host_check\nprint(*sorted(sys.modules), sep='\\n')".format(
        sys.path, HERE)
    done = subprocess.run([sys.executable, "-S", "-c", text], stdout=subprocess.PIPE, check=True)
    read = done.stdout.decode().split()
    assert HERE + "host_check_read" in read
    assert [name for name in [HERE + name for name in FEW_NEED] + list(LARGE) if name in read] == []
