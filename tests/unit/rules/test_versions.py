"""Versions count the writes of an object."""

import pytest

from aisle.rules.versions import next_version


@pytest.mark.parametrize(
    ("replaced", "version"),
    [("", "1"), ("1", "2"), ("9", "10"), ("007", "8"), ("v1", "1"), ("-1", "1"), ("²", "1"), ("٣", "1")],
)
def test_a_version_is_one_more_than_the_number_before(replaced: str, version: str) -> None:
    assert next_version(replaced) == version
