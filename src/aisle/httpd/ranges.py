"""Byte ranges as RFC 9110 §14 has them: what a `Range` field asks.

Dialects may be stricter (AIStore answers 416 where the RFC would ignore the field); this is what a
plain HTTP client expects.
"""

import re
from typing import Final, NamedTuple

from aisle.errors import RangeNotSatisfiable

_SPEC: Final = re.compile(r"[ \t]*(?:([0-9]+)-([0-9]*)|-([0-9]+))[ \t]*")
_NUMBER_CHARS_MAX: Final = 19


class ByteRange(NamedTuple):
    """Bytes `start` to `start + length` of a representation; never empty."""

    start: int
    length: int


def requested_ranges(field: str, size: int, *, count_max: int) -> list[ByteRange]:
    """The satisfiable ranges that a `Range` field asks of `size` bytes, in the client's order.

    Empty when the field is to be ignored: it is malformed, of another unit, asks for more than
    `count_max` ranges, or for more bytes in all than there are (ranges that overlap cost the server
    more than the whole would). Raises RangeNotSatisfiable when no byte of it exists.
    """
    unit, equals, text = field.partition("=")
    specs = text.split(",")
    if not equals or unit.strip().lower() != "bytes" or len(specs) > count_max:
        return []
    matches = [_SPEC.fullmatch(spec) for spec in specs if spec.strip(" \t")]
    if not matches or any(match is None or _is_backwards(match) for match in matches):
        return []
    ranges = [found for match in matches if match and (found := _clip(match, size)) is not None]
    if not ranges:
        raise RangeNotSatisfiable(size, field)
    return ranges if sum(part.length for part in ranges) <= size else []


def _is_backwards(match: re.Match[str]) -> bool:
    """`5-3` is no range at all (RFC 9110 §14.1.1)."""
    return bool(match[1] and match[2]) and _number(match[2]) < _number(match[1])


def _number(digits: str) -> int:
    # Python refuses absurdly long digit strings; every number that long is beyond any end.
    digits = digits.lstrip("0") or "0"
    return int(digits) if len(digits) <= _NUMBER_CHARS_MAX else 10**_NUMBER_CHARS_MAX


def _clip(match: re.Match[str], size: int) -> ByteRange | None:
    if match[3] is not None:
        length = min(_number(match[3]), size)
        start = size - length
    else:
        start = _number(match[1])
        end = min(_number(match[2]) + 1, size) if match[2] else size
        length = end - start
    return ByteRange(start, length) if length > 0 else None
