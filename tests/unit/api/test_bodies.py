"""A span of a payload is cut out of its segments, wherever their borders are."""

from hypothesis import given
from hypothesis import strategies as st

from aisle.api.bodies import part_body, whole_body
from aisle.httpd.response import FileBody
from aisle.rules.ranges import Span
from aisle.storage.engine import OpenSegment


class Payload:
    def __init__(self, inline: bytes | None = None, segments: tuple[OpenSegment, ...] = ()) -> None:
        self.inline = inline
        self.segments = segments
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.data())
def test_a_span_across_segments_is_what_slicing_gives(lengths: list[int], data: st.DataObject) -> None:
    # Each segment lies at offset 100 of its own file; bytes are known by (file, offset).
    segments = tuple(OpenSegment(fd, 100, length) for fd, length in enumerate(lengths))
    every = [(part.fd, part.offset + n) for part in segments for n in range(part.length)]
    start = data.draw(st.integers(0, len(every) - 1))
    length = data.draw(st.integers(1, len(every) - start))
    payload = Payload(segments=segments)
    body = part_body(payload, Span(start, length))
    assert isinstance(body, FileBody)
    got = [(part.fd, part.offset + n) for part in body.spans for n in range(part.length)]
    assert got == every[start : start + length]
    assert body.length == length
    assert payload.closed == 0
    body.close()
    assert payload.closed == 1


def test_an_inline_payload_is_closed_at_once() -> None:
    payload = Payload(b"hello")
    assert part_body(payload, Span(1, 3)) == b"ell"
    assert whole_body(payload) == b"hello"
    assert payload.closed == 2
