# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the first filter of a process loads, and what the processes of tasks inherit."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest

PLUGINS = pathlib.Path(__file__).resolve().parents[4] / "plugins"
BASE = "ansible_collections.circonus.inside.plugins."
#: Of the collection, what every filter and test file may import; the rest waits for its first use.
SMALL = {"module_utils", "module_utils.errors", "plugin_utils", "plugin_utils.lazy"}


def run(code):
    """What a fresh interpreter prints, as words."""
    begin = "import sys\nfrom ansible.plugins.loader import init_plugin_loader\ninit_plugin_loader()\n"
    done = subprocess.run([sys.executable, "-c", begin + code], stdout=subprocess.PIPE, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("path", sorted(p for kind in ("filter", "test") for p in (PLUGINS / kind).glob("*.py")))
def test_the_files_of_filters_and_tests_import_little(path):
    name = "%s%s.%s" % (BASE, path.parent.name, path.stem)
    loaded = run("import importlib\nimportlib.import_module(%r)\nprint(*sys.modules)" % name)
    ours = {module[len(BASE):] for module in loaded if module.startswith(BASE)}
    assert {module for module in ours if not module.startswith(("filter", "test"))} <= SMALL
    assert "cryptography.x509" not in loaded


def test_what_is_loaded_before_the_tasks_is_whole():
    loaded = run(
        "from ansible_collections.circonus.inside.plugins.plugin_utils import lazy\nlazy.preload()\nprint(*sys.modules)"
    )
    assert BASE + "plugin_utils.catalogue" in loaded
    assert {"%s%s.%s" % (BASE, p.parent.name, p.stem) for p in (PLUGINS / "filter").glob("*.py")} - loaded == set()


def test_a_name_that_does_not_exist_is_an_error_of_its_module():
    found = run(
        "from ansible_collections.circonus.inside.plugins.plugin_utils.lazy import Lazy\n"
        "try:\n    Lazy('catalogue').nothing\nexcept AttributeError as exc:\n    print(exc)"
    )
    assert "'nothing'" in found


def test_a_run_loads_it_before_its_first_task(tmp_path):
    (tmp_path / "play.yml").write_text(
        "- {hosts: localhost, gather_facts: false, tasks: [{meta: noop}]}\n"
    )
    program = (
        "from ansible_collections.circonus.inside.plugins.plugin_utils import lazy\n"
        "from ansible.cli.playbook import main\n"
        "try:\n    main(['ansible-playbook', '-i', 'localhost,', '-c', 'local', %r])\n"
        "finally:\n    print('loaded', lazy.preload.cache_info().currsize)" % str(tmp_path / "play.yml")
    )
    assert "1" in run("import os\nos.environ['ANSIBLE_STDOUT_CALLBACK'] = 'circonus.inside.progress'\n" + program)
