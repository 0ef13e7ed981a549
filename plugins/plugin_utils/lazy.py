# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is loaded late, and what is loaded once for all.

Each task on each host has a process of its own, a copy of the one that reads the playbook. Ansible loads every filter
and test file of a collection, and its own, for the first one that such a process uses: what they import is paid again
and again, unless the copied process had it.
"""
from __future__ import annotations

import functools
import importlib

from ansible.plugins.loader import filter_loader, test_loader

PRELOADED = (
    (filter_loader, ("ansible.builtin.default", "circonus.inside.role_units")),
    (test_loader, ("ansible.builtin.defined", "circonus.inside.stopped")),
)


class Lazy:
    """A module of plugin_utils by its name. Reading an attribute imports it; its errors are those of the import."""

    def __init__(self, name):
        self._name = "ansible_collections.circonus.inside.plugins.plugin_utils." + name

    def __getattr__(self, attribute):
        return getattr(importlib.import_module(self._name), attribute)


@functools.cache
def preload():
    """Load filters, tests and the catalogue: before tasks run, in the process that is copied."""
    for loader, names in PRELOADED:
        for name in names:
            loader.get(name)
    Lazy("catalogue").load()
