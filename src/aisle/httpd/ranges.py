"""Byte ranges as RFC 9110 §14 has them: what a `Range` field asks, and answers with several parts.

Dialects may be stricter (AIStore answers 416 where the RFC would ignore the field); this is what a
plain HTTP client expects. Parts of files are sent by `sendfile` like whole files.
"""

import re
import secrets
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple

from aisle.errors import RangeNotSatisfiable
from aisle.httpd.response import FileBody, FileSpan, Response

_SPEC: Final = re.compile(r"[ \t]*(?:([0-9]{1,19})-([0-9]*)|-([0-9]+))[ \t]*")
_NUMBER_CHARS_MAX: Final = 19


class ByteRange(NamedTuple):
    """Bytes `start` to `start + length` of a representation; never empty."""

    start: int
    length: int

    def content_range(self, size: int) -> str:
        """The Content-Range field for this part of `size` bytes."""
        return f"bytes {self.start}-{self.start + self.length - 1}/{size}"


class Cut(NamedTuple):
    """A span of an open file."""

    fd: int
    offset: int
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
    return bool(match[1] and match[2]) and _number(match[2]) < int(match[1])


def _number(digits: str) -> int:
    # Python refuses absurdly long digit strings; every number that long is beyond any end.
    digits = digits.lstrip("0") or "0"
    return int(digits) if len(digits) <= _NUMBER_CHARS_MAX else 10**_NUMBER_CHARS_MAX


def _clip(match: re.Match[str], size: int) -> ByteRange | None:
    if match[3] is not None:
        length = min(_number(match[3]), size)
        start = size - length
    else:
        start = int(match[1])
        end = min(_number(match[2]) + 1, size) if match[2] else size
        length = end - start
    return ByteRange(start, length) if length > 0 else None


def is_range_current(if_range: str | None, *, etag: str, modified_s: int) -> bool:
    """Whether a `Range` field applies, given the `If-Range` field beside it (RFC 9110 §13.1.5).

    `etag` is quoted as in its field, and empty when there is none; `modified_s` is Unix time. Only a
    strong match counts, for a part of another version would be joined to what the client has.
    """
    if if_range is None:
        return True
    validator = if_range.strip()
    if validator.startswith(('"', "W/")):
        return validator == etag and not etag.startswith("W/")
    try:
        return int(parsedate_to_datetime(validator).timestamp()) == modified_s
    except (ValueError, OverflowError):
        return False


def partial_response(
    body: bytes | FileBody,
    ranges: Sequence[ByteRange],
    *,
    headers: Sequence[tuple[str, str]],
    content_type: str = "application/octet-stream",
) -> Response:
    """206 with one part, or with several as multipart/byteranges; takes over `body`.

    `headers` are those of the whole, without Content-Type and Content-Range.
    """
    size = body.length if isinstance(body, FileBody) else len(body)
    if len(ranges) == 1:
        part = ranges[0]
        fields = [*headers, ("Content-Type", content_type), ("Content-Range", part.content_range(size))]
        return Response(206, fields, _joined(body, cut(body, part)))
    # Nobody who fills the payload can guess it, so it cannot occur in there on purpose.
    boundary = secrets.token_hex(16)
    pieces: list[bytes | FileSpan] = []
    for number, part in enumerate(ranges):
        before = "\r\n" if number else ""
        head = (
            f"{before}--{boundary}\r\nContent-Type: {content_type}\r\n"
            f"Content-Range: {part.content_range(size)}\r\n\r\n"
        )
        pieces += [head.encode("latin-1", "replace"), *cut(body, part)]
    pieces.append(f"\r\n--{boundary}--\r\n".encode())
    fields = [*headers, ("Content-Type", f"multipart/byteranges; boundary={boundary}")]
    return Response(206, fields, _joined(body, pieces))


def cut(body: bytes | FileBody, part: ByteRange) -> list[bytes | FileSpan]:
    """The pieces of `body` that make up a part of it."""
    if isinstance(body, bytes):
        return [body[part.start : part.start + part.length]]
    pieces: list[bytes | FileSpan] = []
    position, end = 0, part.start + part.length
    for span in body.spans:
        length = len(span) if isinstance(span, bytes) else span.length
        first, last = max(part.start - position, 0), min(end - position, length)
        position += length
        if first >= last:
            continue
        if isinstance(span, bytes):
            pieces.append(span[first:last])
        else:
            pieces.append(Cut(span.fd, span.offset + first, last - first))
    return pieces


def _joined(whole: bytes | FileBody, pieces: Sequence[bytes | FileSpan]) -> bytes | FileBody:
    if isinstance(whole, FileBody):
        return FileBody(pieces, whole.close)
    return b"".join(piece for piece in pieces if isinstance(piece, bytes))
