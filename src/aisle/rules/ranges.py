"""Byte ranges of reads: what a `Range` header asks of an object of a known size (RFC 9110 §14)."""

from typing import NamedTuple

from aisle.errors import MultipleRanges, RangeNotSatisfiable


class Span(NamedTuple):
    """Bytes `start` to `start + length` of an object; never empty."""

    start: int
    length: int


def parse_range(header: str, size: int) -> Span:
    """The one span that a `Range` header asks of `size` bytes; its end is clipped to the size.

    Raises RangeNotSatisfiable if no such byte exists, and for what is no byte range at all: AIStore
    answers 416 there, where RFC 9110 would have the header ignored (ais-native-api.md §6.2). Raises
    MultipleRanges for more than one.
    """
    unit, equals, text = header.partition("=")
    text = text.strip()
    if not equals or unit.strip().lower() != "bytes":
        raise RangeNotSatisfiable(size, header)
    if "," in text:
        raise MultipleRanges(text)
    first, dash, last = text.partition("-")
    # isdecimal() alone would let other scripts' digits through.
    if (
        not dash
        or not (first + last).isascii()
        or not all(not part or part.isdecimal() for part in (first, last))
    ):
        raise RangeNotSatisfiable(size, text)
    return _span(first, last, size, text)


def _span(first: str, last: str, size: int, text: str) -> Span:
    # Python refuses to convert absurdly long digit strings; every number that long is beyond the end.
    if len(first) > 20 or not (first or last):
        raise RangeNotSatisfiable(size, text)
    end = size if len(last) > 20 or not last else int(last)
    if not first:
        length = min(end, size)
        start = size - length
    else:
        start = int(first)
        length = min(end + 1, size) - start if last else size - start
    if length <= 0 or start >= size:
        raise RangeNotSatisfiable(size, text)
    return Span(start, length)
