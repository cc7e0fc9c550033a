"""Regular expressions of clients: found, refused, and never a reason to stand still."""

import pytest

from aisle.errors import BadRequest
from aisle.rules.expressions import CHARS_MAX, expression


@pytest.mark.parametrize(
    ("regex", "text", "found"),
    [
        ("^five", "five files", True),
        ("^files", "five files", False),
        ("[0-9]{4}", "shard-0001", True),
        ("(?i)SHARD", "shard-0001", True),
        ("ä.", "xäy", True),
        (r"\.tar$", "a.tar.gz", False),
        ("b", "not text \udcff b", True),
        ("", "anything", True),
    ],
)
def test_expressions_are_found_anywhere_in_a_text(regex: str, text: str, found: bool) -> None:
    assert expression(regex, what="regex")(text) is found


@pytest.mark.parametrize("regex", ["(", "a**", "(?=a)", r"(a)\1", "a" * (CHARS_MAX + 1), "\udcff"])
def test_what_is_none_is_refused_by_its_name(regex: str) -> None:
    with pytest.raises(BadRequest, match=r"^the filter"):
        expression(regex, what="the filter")


@pytest.mark.parametrize("regex", ["^(a+)+$", "^(a|a)*$", "(.*a){20}$", "^(([a-z])+.)+[A-Z]([a-z])+$"])
def test_no_expression_takes_more_than_its_time(regex: str) -> None:
    # An engine that backtracks would need years for each.
    assert not expression(regex, what="regex")("a" * 20_000 + "!")
