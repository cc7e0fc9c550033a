"""Headers of a download job: what may be sent along, and that no error tells a value."""

import pytest

from aisle.errors import BadRequest
from aisle.rules.download_headers import read_headers


def test_values_come_alone_or_in_lists() -> None:
    wire = {"Authorization": ["Bearer x"], "X-One": " 1 ", "X-Two": ["a", "b"]}
    assert read_headers(wire) == (
        ("Authorization", "Bearer x"),
        ("X-One", "1"),
        ("X-Two", "a"),
        ("X-Two", "b"),
    )
    assert read_headers({}) == ()


@pytest.mark.parametrize(
    "wire",
    [
        {"": ["secret"]},
        {"A b": ["secret"]},
        {"A:b": ["secret"]},
        {"Host": ["secret"]},
        {"RANGE": ["secret"]},
        {"Transfer-Encoding": ["secret"]},
        {"A": ["secret\r\nHost: elsewhere"]},
        {"A": ["secret\x00"]},
        {"A": ["secr\u00e9t"]},
        {"A": [""]},
        {"A": "  "},
        {"A": ["secret"] * 65},
        {"A": ["secret" * 3_000]},
    ],
)
def test_what_no_request_may_carry_is_refused_without_telling_it(wire: dict[str, list[str]]) -> None:
    with pytest.raises(BadRequest) as refused:
        read_headers(wire)
    assert "secr" not in str(refused.value)
