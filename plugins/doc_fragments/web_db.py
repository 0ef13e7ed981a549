# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options of every module that works on the database server of a host."""

from __future__ import annotations


class ModuleDocFragment:
    """See the modules ``web_db_*``."""

    DOCUMENTATION = r"""
options:
  bindir:
    description: Directory of the PostgreSQL programs.
    type: path
    default: /opt/pgsql/bin
  data_dir:
    description: Data directory. Without it the only C(/wdb/pgdata/*/PG_VERSION) is taken.
    type: path
  unit:
    description: Name of the systemd unit.
    type: str
    default: circonus-postgres-circonus_wdb
  os_user:
    description: Operating system user and superuser of the database.
    type: str
    default: postgres
  port:
    description: Port of the servers of this platform.
    type: int
    default: 5432
  state_dir:
    description: Directory of the fence and of other records of this collection on the host.
    type: path
    default: /var/lib/circonus-inside
"""
