"""What a Range header asks of an object."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisle.errors import MultipleRanges, RangeNotSatisfiable
from aisle.rules.ranges import Span, parse_range


@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("bytes=0-", Span(0, 10)),
        ("bytes=0-9", Span(0, 10)),
        ("bytes=0-99", Span(0, 10)),
        ("bytes=9-9", Span(9, 1)),
        ("bytes=-1", Span(9, 1)),
        ("bytes=-10", Span(0, 10)),
        ("bytes=-11", Span(0, 10)),
        ("Bytes = 2-3 ", Span(2, 2)),
        ("bytes=0-" + "9" * 5000, Span(0, 10)),
        ("bytes=-" + "9" * 5000, Span(0, 10)),
    ],
)
def test_a_span_is_clipped_to_the_object(header: str, span: Span) -> None:
    assert parse_range(header, 10) == span


@pytest.mark.parametrize(
    "header",
    [
        *("bytes=10-", "bytes=10-11", "bytes=-0", "bytes=5-4", "bytes=-", "bytes=", "bytes", "", "0-4"),
        *("items=0-4", "bytes=a-b", "bytes=1-b", "bytes=+1-2", "bytes=1--2", "bytes=--2", "bytes=1.0-2"),
        *("bytes=٣-٤", "bytes=1 -2", "bytes=0x1-2", "bytes=" + "9" * 5000 + "-", "bytes=²-"),
    ],
)
def test_a_range_of_nothing_tells_the_size(header: str) -> None:
    with pytest.raises(RangeNotSatisfiable) as caught:
        parse_range(header, 10)
    assert caught.value.size == 10


@pytest.mark.parametrize("header", ["bytes=0-", "bytes=0-0", "bytes=-1"])
def test_an_empty_object_has_no_ranges(header: str) -> None:
    with pytest.raises(RangeNotSatisfiable):
        parse_range(header, 0)


def test_several_ranges_are_another_matter() -> None:
    with pytest.raises(MultipleRanges):
        parse_range("bytes=0-1,3-4", 10)


@given(st.integers(1, 2000), st.integers(0, 2100), st.integers(0, 2100))
def test_a_span_is_what_slicing_gives(size: int, first: int, last: int) -> None:
    whole = list(range(size))
    expected = whole[first : last + 1]
    if not expected:
        with pytest.raises(RangeNotSatisfiable):
            parse_range(f"bytes={first}-{last}", size)
        return
    span = parse_range(f"bytes={first}-{last}", size)
    assert whole[span.start : span.start + span.length] == expected


@given(st.text(max_size=20))
def test_no_text_is_more_than_refused(text: str) -> None:
    try:
        span = parse_range(f"bytes={text}", 10)
    except (RangeNotSatisfiable, MultipleRanges):
        return
    assert 0 <= span.start < span.start + span.length <= 10
