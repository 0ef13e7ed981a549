# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options of the modules that work on the directory of the private CA."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type


class ModuleDocFragment:
    """What ca_authority, ca_backup and ca_info have in common."""

    DOCUMENTATION = r"""
options:
  path:
    description: Home of the CA.
    type: path
    default: /opt/circonus/CA
  config:
    description: Its openssl configuration, from there.
    type: str
    default: openssl.cnf
"""

    CRL = r"""
options:
  crl:
    description: Its CRL, from there.
    type: str
    default: public-info/ca.crl
"""

    SIGNING = r"""
options:
  site_path:
    description: The installed site.json, which has the pass phrase of the CA key.
    type: path
    default: /opt/circonus/var/chef-solo/data_bags/service_map/site.json
  state_dir:
    description: Directory in which the private directory of a proof is made and removed.
    type: path
    default: /var/lib/circonus-inside
requirements:
  - openssl on the host
"""
