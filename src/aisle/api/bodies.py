"""Stored payloads as bodies of responses."""

from typing import Final

from aisle.httpd.response import Body, FileBody
from aisle.rules.ranges import Span
from aisle.storage.engine import OpenPayload, OpenSegment

INERT: Final = (
    ("Content-Security-Policy", "sandbox; default-src 'none'"),
    ("X-Content-Type-Options", "nosniff"),
)
"""Told with whatever others have stored: a browser shows it, but runs none of it as a page of this node."""


def whole_body(stored: OpenPayload) -> Body:
    """All of a payload; its files are closed when it has been sent."""
    inline = stored.inline
    if inline is None:
        return FileBody(stored.segments, stored.close)
    stored.close()
    return inline


def part_body(stored: OpenPayload, span: Span) -> Body:
    """A span of a payload, which may lie across its segments."""
    if stored.inline is not None:
        stored.close()
        return stored.inline[span.start : span.start + span.length]
    parts = []
    skipped, left = span
    for segment in stored.segments:
        length = min(left, segment.length - skipped)
        if length > 0:
            parts.append(OpenSegment(segment.fd, segment.offset + skipped, length))
            left -= length
        skipped = max(0, skipped - segment.length)
    return FileBody(parts, stored.close)
