# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import absolute_import, division, print_function

__metaclass__ = type

import pytest
from ansible_collections.circonus.inside.plugins.module_utils.errors import BadInput
from ansible_collections.circonus.inside.plugins.module_utils.release import in_release, release_date


@pytest.mark.parametrize("text", ["2019-11-04", "20191104", "release-20191104", " 2019-11-04 "])
def test_every_spelling(text):
    assert release_date(text) == "2019-11-04"


@pytest.mark.parametrize("text", [None, "", " "])
def test_nothing(text):
    assert release_date(text) is None


@pytest.mark.parametrize("text", ["latest", "2019-11", "201911041"])
def test_refuses_anything_else(text):
    with pytest.raises(BadInput, match="Expected a release such as 2019-11-04 .* found " + text):
        release_date(text)


@pytest.mark.parametrize(
    "release, there",
    [(None, True), ("2019-05-05", False), ("2019-05-06", True), ("2020-01-05", True), ("2020-01-06", False)],
)
def test_from_counts_and_until_does_not(release, there):
    assert in_release({"from": "2019-05-06", "until": "2020-01-06"}, release) is there


def test_without_gates_in_every_release():
    assert in_release({"from": None, "until": None}, "2019-01-14") is True
