# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import json
import os

import pytest

from ansible.module_utils import basic
from ansible_collections.circonus.inside.plugins.modules import service_files


@pytest.fixture
def run(monkeypatch, capsys):
    def call(check=False, **item):
        params = {"files": [item], "_ansible_check_mode": check, "_ansible_remote_tmp": "/tmp"}
        monkeypatch.setattr(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": params}).encode("utf-8"))
        if hasattr(basic, "_ANSIBLE_PROFILE"):
            monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy")
        with pytest.raises(SystemExit):
            service_files.main()
        return json.loads(capsys.readouterr().out)

    return call


class TestKeep:
    def test_the_old_file_stays_beside_the_new_one_as_it_was(self, run, tmp_path):
        path = tmp_path / "licenses.conf"
        path.write_text("old\n")
        os.chmod(str(path), 0o640)
        os.utime(str(path), (1500000000, 1500000000))
        answer = run(path=str(path), content="new\n", keep=True)
        assert answer["changed"] and path.read_text() == "new\n" and path.stat().st_mode & 0o777 == 0o640
        (kept,) = answer["kept"]
        assert kept.startswith(str(path) + ".2") and kept.endswith("Z")
        with open(kept) as source:
            assert source.read() == "old\n"
        assert os.stat(kept).st_mode & 0o777 == 0o640 and os.stat(kept).st_mtime == 1500000000
        assert path.stat().st_mtime > 1600000000
        again = run(path=str(path), content="new\n", keep=True)
        assert not again["changed"] and again["kept"] == [] and len(list(tmp_path.iterdir())) == 2

    def test_nothing_is_kept_of_nothing_in_check_mode_or_by_default(self, run, tmp_path):
        path = tmp_path / "licenses.conf"
        assert run(path=str(path), content="new\n", keep=True)["kept"] == []
        assert run(path=str(path), content="newer\n", keep=True, check=True)["changed"]
        assert run(path=str(path), content="newer\n")["kept"] == [] and len(list(tmp_path.iterdir())) == 1
