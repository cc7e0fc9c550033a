"""Ranges as RFC 9110 has them."""

import email
from email.policy import HTTP

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisle.errors import RangeNotSatisfiable
from aisle.httpd.ranges import ByteRange, Cut, cut, is_range_current, partial_response, requested_ranges
from aisle.httpd.response import FileBody

TEN = b"0123456789"

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


@pytest.mark.parametrize("field", ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=10-,20-30"])
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


@pytest.mark.parametrize(
    ("if_range", "current"),
    [
        (None, True),
        ('"v1"', True),
        ('"v2"', False),
        ('W/"v1"', False),
        ("Tue, 14 Nov 2023 22:13:20 GMT", True),
        ("Tue, 14 Nov 2023 22:13:21 GMT", False),
        ("yesterday", False),
        ("", False),
    ],
)
def test_a_range_applies_to_the_version_it_was_meant_for(if_range: str | None, current: bool) -> None:
    assert is_range_current(if_range, etag='"v1"', modified_s=1_700_000_000) == current


def test_a_weak_tag_never_matches() -> None:
    assert not is_range_current('W/"v1"', etag='W/"v1"', modified_s=0)


def test_one_part_is_sent_plainly() -> None:
    response = partial_response(TEN, [ByteRange(2, 3)], headers=[("X", "y")], content_type="text/plain")
    assert (response.status, response.body) == (206, b"234")
    assert dict(response.headers) == {"X": "y", "Content-Type": "text/plain", "Content-Range": "bytes 2-4/10"}


def test_several_parts_are_what_mime_parsers_expect() -> None:
    response = partial_response(
        TEN, [ByteRange(2, 3), ByteRange(0, 1)], headers=[], content_type="text/plain"
    )
    assert isinstance(response.body, bytes)
    head = f"Content-Type: {dict(response.headers)['Content-Type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + response.body, policy=HTTP)
    parts = [
        (part["Content-Range"], part.get_payload(), part["Content-Type"]) for part in message.iter_parts()
    ]
    assert parts == [("bytes 2-4/10", "234", "text/plain"), ("bytes 0-0/10", "0", "text/plain")]


def test_parts_of_files_are_spans_and_the_file_is_closed_once() -> None:
    closed: list[int] = []
    whole = FileBody([Cut(7, 100, 6), b"67", Cut(8, 50, 2)], lambda: closed.append(1))
    assert whole.length == 10
    assert cut(whole, ByteRange(4, 5)) == [Cut(7, 104, 2), b"67", Cut(8, 50, 1)]
    response = partial_response(whole, [ByteRange(4, 5), ByteRange(0, 1)], headers=[])
    assert isinstance(response.body, FileBody)
    assert [span for span in response.body.spans if isinstance(span, Cut)] == [
        Cut(7, 104, 2),
        Cut(8, 50, 1),
        Cut(7, 100, 1),
    ]
    response.body.close()
    assert closed == [1]


@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.data())
def test_a_cut_of_spans_is_the_cut_of_their_bytes(lengths: list[int], data: st.DataObject) -> None:
    text = bytes(range(sum(lengths)))
    spans, position = [], 0
    for length in lengths:
        spans.append(Cut(3, position, length))
        position += length
    start = data.draw(st.integers(0, len(text) - 1))
    part = ByteRange(start, data.draw(st.integers(1, len(text) - start)))
    pieces = cut(FileBody(spans, lambda: None), part)
    assert b"".join(text[piece.offset :][: piece.length] for piece in pieces) == text[start:][: part.length]  # type: ignore[union-attr]
