"""Make this checkout importable as ``ansible_collections.circonus.inside`` wherever it lies.

Runs on Python 3.6 too, where ansible-core itself cannot be installed: see ``tools/test`` (unit-3.6).
"""
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
COLLECTIONS = os.path.join(ROOT, ".cache", "collections")
LINK = os.path.join(COLLECTIONS, "ansible_collections", "circonus", "inside")

if not os.path.isdir(LINK):
    os.makedirs(os.path.dirname(LINK), exist_ok=True)
    if os.path.islink(LINK):
        os.unlink(LINK)
    os.symlink(os.path.relpath(ROOT, os.path.realpath(os.path.dirname(LINK))), LINK)

# Without this an installed `ansible` bundle would be searched first.
sys.path.insert(0, COLLECTIONS)
os.environ["ANSIBLE_COLLECTIONS_PATH"] = COLLECTIONS

if sys.version_info >= (3, 10):
    # Plugin loading by name (filters inside templates, inventory plugins) needs Ansible's own importer. The target side
    # on older versions has only ansible.module_utils and is imported the plain way.
    from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder

    _AnsibleCollectionFinder(paths=[COLLECTIONS])._install()


def pytest_runtest_logreport(report):
    """Tests on containers take minutes and Molecule shows nothing before their end: a line each while they go on."""
    path = os.environ.get("CIRCONUS_TEST_LOG")
    if path and (report.when == "call" or report.outcome != "passed"):
        with open(path, "a") as log:
            log.write("%-7s %6.1f s  %s\n" % (report.outcome, report.duration, report.nodeid))
            if report.failed:
                log.write(report.longreprtext + "\n")
