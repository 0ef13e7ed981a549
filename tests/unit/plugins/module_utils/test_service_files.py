# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import pytest

from ansible_collections.circonus.inside.plugins.module_utils import service_files
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput


def item(**more):
    return dict({"path": "/x", "state": "file", "content": None, "lines": None, "restart": []}, **more)


class TestWithLines:
    def test_a_new_file(self):
        assert service_files.with_lines("", ["USER=43191", "GROUP=43191"]) == "USER=43191\nGROUP=43191\n"

    def test_replaces_where_it_stands_and_keeps_the_rest(self):
        text = "# mine\nUSER=1\nOTHER=2\nUSER=3\n"
        assert service_files.with_lines(text, ["USER=43191"]) == "# mine\nUSER=43191\nOTHER=2\n"

    def test_a_level_of_logging_conf(self):
        assert service_files.with_lines("search INFO\npsgi DEBUG", ["search DEBUG"]) == "search DEBUG\npsgi DEBUG\n"

    def test_twice_changes_nothing(self):
        lines = ["search DEBUG", "USER = 1", "alone", "# comment"]
        once = service_files.with_lines("search INFO\n", lines)
        assert service_files.with_lines(once, lines) == once

    def test_a_comment_and_a_word_have_no_key(self):
        assert service_files.key_of("# USER=1") is None and service_files.key_of("alone") is None


class TestCheck:
    @pytest.mark.parametrize(
        "wrong, words",
        [
            (item(path="etc/x"), "absolute path"),
            (item(content="a", lines=["b"]), "content and lines"),
            (item(content="a", state="absent"), "its state is absent"),
        ],
    )
    def test_refuses(self, wrong, words):
        with pytest.raises(BadInput, match=words):
            service_files.check([item(content="a"), wrong])


class TestWantedText:
    def test_only_owner_and_mode(self):
        assert service_files.wanted_text(item(), "kept") is None

    def test_content_wins_over_what_is_there(self):
        assert service_files.wanted_text(item(content=""), "old") == ""


class TestRestarts:
    def test_each_once_in_order(self):
        assert service_files.restarts([item(restart=["b", "a"]), item(restart=["a"]), item()]) == ["b", "a"]
