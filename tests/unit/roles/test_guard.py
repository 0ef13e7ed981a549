# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The guards of database and CA hosts run without Ansible, on the files that their roles copy beside them."""


import os
import shutil
import subprocess
import sys

import pytest
import yaml

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))


@pytest.mark.parametrize("role", ["web_db", "ca"])
def test_the_copied_files_need_no_other(tmp_path, role):
    with open(os.path.join(ROOT, "roles", role, "vars", "main.yml")) as handle:
        names = yaml.safe_load(handle)["__%s_guard_library" % role]
    package = tmp_path / "ansible_collections" / "circonus" / "inside" / "plugins" / "module_utils"
    package.mkdir(parents=True)
    directory = package
    while directory != tmp_path:
        (directory / "__init__.py").write_text("")
        directory = directory.parent
    for name in names:
        shutil.copy(os.path.join(ROOT, "plugins", "module_utils", name + ".py"), str(package))
    lines = ["import sys", "sys.path.insert(0, %r)" % str(tmp_path)]
    lines += ["import ansible_collections.circonus.inside.plugins.module_utils." + name for name in names]
    argv = [sys.executable, "-S", "-c", "\n".join(lines)]
    done = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    out = done.communicate()[0].decode()
    assert done.returncode == 0, out
