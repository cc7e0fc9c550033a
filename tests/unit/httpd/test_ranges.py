"""Ranges as RFC 9110 has them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisle.errors import RangeNotSatisfiable
from aisle.httpd.ranges import requested_ranges

ASKED = [
    ("bytes=0-0", [(0, 1)]),
    ("bytes=0-9", [(0, 10)]),
    ("bytes=2-", [(2, 8)]),
    ("bytes=-3", [(7, 3)]),
    ("bytes=-30", [(0, 10)]),
    ("bytes=5-100", [(5, 5)]),
    ("Bytes=1-2", [(1, 2)]),
    ("bytes = 1-2", [(1, 2)]),
    ("bytes=1-2,4-5", [(1, 2), (4, 2)]),
    ("bytes=4-5 ,\t1-2", [(4, 2), (1, 2)]),
    ("bytes=1-2,,4-5,", [(1, 2), (4, 2)]),
    ("bytes=1-2,50-60", [(1, 2)]),
    ("bytes=0-00000000000000000000000000000001", [(0, 2)]),
    ("bytes=0-99999999999999999999999999999999", [(0, 10)]),
    ("bytes=00000000000000000000000000000001-2", [(1, 2)]),
    ("bytes=99999999999999999999999999999999-5", []),
    ("bytes=-99999999999999999999999999999999", [(0, 10)]),
    # Ignored: malformed, another unit, too many, more than the whole.
    ("bytes=", []),
    ("bytes=-", []),
    ("bytes=a-b", []),
    ("bytes=1", []),
    ("bytes=5-3", []),
    ("bytes=1-2,5-3", []),
    ("bytes=+1-2", []),
    ("bytes=1--2", []),
    ("bytes=1 - 2", []),
    ("bytes=\u0661-\u0662", []),
    ("bytes=,", []),
    ("bytes", []),
    ("", []),
    ("items=0-1", []),
    ("bytes=0-0,1-1,2-2,3-3,4-4", []),
    ("bytes=0-,0-", []),
]


@pytest.mark.parametrize(("field", "expected"), ASKED)
def test_a_range_field_asks_for(field: str, expected: list[tuple[int, int]]) -> None:
    assert requested_ranges(field, 10, count_max=4) == expected


@pytest.mark.parametrize(
    "field", ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=10-,20-30", f"bytes={'9' * 5000}-"]
)
def test_a_range_without_any_byte_is_not_satisfiable(field: str) -> None:
    with pytest.raises(RangeNotSatisfiable) as caught:
        requested_ranges(field, 10, count_max=4)
    assert caught.value.size == 10


@pytest.mark.parametrize("field", ["bytes=0-", "bytes=0-0", "bytes=-5"])
def test_nothing_of_an_empty_object_is_satisfiable(field: str) -> None:
    with pytest.raises(RangeNotSatisfiable):
        requested_ranges(field, 0, count_max=4)


@given(st.text("0123456789-,= \tbytes", max_size=30), st.integers(0, 50))
def test_whatever_is_asked_stays_within_the_object(text: str, size: int) -> None:
    try:
        ranges = requested_ranges("bytes=" + text, size, count_max=8)
    except RangeNotSatisfiable:
        return
    assert all(0 <= part.start < part.start + part.length <= size for part in ranges)
    assert sum(part.length for part in ranges) <= size
