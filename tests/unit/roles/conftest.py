# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What every role must keep to. These tests need ansible-core's side of the collection, so Python 3.10 or newer."""
import sys

if sys.version_info < (3, 10):  # noqa: UP036
    collect_ignore_glob = ["test_*.py"]
