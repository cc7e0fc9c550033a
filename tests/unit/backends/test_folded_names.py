"""Which names stand for all that begin with them, in a listing with a delimiter."""

import pytest

from aisle.backends.provider import is_folded


@pytest.mark.parametrize(
    ("name", "prefix", "delimiter", "is_so"),
    [
        ("a/", "", "/", True),
        ("p/a/", "p/", "/", True),
        ("p/a/", "p/a", "/", True),
        ("a//", "", "//", True),
        ("a", "", "/", False),
        ("p/", "p/", "/", False),
        ("p/a/b/", "p/", "/", False),
        ("p/a/", "q/", "/", False),
        ("x", "", "//", False),
        ("ab", "", "abc", False),
        ("a/", "", "", False),
    ],
)
def test_only_names_that_end_with_the_first_delimiter_behind_the_prefix_are_folded(
    name: str, prefix: str, delimiter: str, is_so: bool
) -> None:
    assert is_folded(name, prefix, delimiter) is is_so
