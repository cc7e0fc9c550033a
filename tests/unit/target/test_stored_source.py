"""Stored bytes as the source of a copy: any span, across segments, in pieces."""

import asyncio
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from aisle.errors import CorruptObject
from aisle.rules.ranges import Span
from aisle.storage.engine import OpenSegment
from aisle.target import stored_source
from aisle.target.stored_source import StoredSource

BODY = bytes(range(200))


class Payload:
    """A payload in segments of one file, or inline."""

    def __init__(self, segments: Sequence[OpenSegment], inline: bytes | None = None) -> None:
        self.segments = segments
        self.inline = inline

    def close(self) -> None:
        """Nothing to release."""


@pytest.fixture
def payload(tmp_path: Path) -> Iterator[Payload]:
    # The segments lie in the file in another order than in the payload.
    path = tmp_path / "file"
    path.write_bytes(BODY[100:] + b"between" + BODY[:100])
    fd = os.open(path, os.O_RDONLY)
    yield Payload([OpenSegment(fd, 107, 100), OpenSegment(fd, 0, 60), OpenSegment(fd, 60, 40)])
    os.close(fd)


async def read_all(source: StoredSource) -> bytes:
    read = b""
    while piece := await source.read():
        read += piece
    return read


@pytest.mark.parametrize("start", [0, 1, 99, 100, 159, 160, 199])
@pytest.mark.parametrize("length", [1, 2, 60, 101, 200])
def test_any_span_is_read(payload: Payload, start: int, length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_source, "READ_BYTES", 33)
    span = Span(start, min(length, 200 - start))
    source = StoredSource(payload, span)
    assert source.length == span.length
    assert source.buffered() is None
    assert asyncio.run(read_all(source)) == BODY[span.start : span.start + span.length]


def test_a_small_payload_is_here_at_once() -> None:
    assert StoredSource(Payload([], BODY), Span(5, 3)).buffered() == BODY[5:8]
    assert asyncio.run(read_all(StoredSource(Payload([], BODY), Span(5, 3)))) == BODY[5:8]


def test_a_file_that_lost_its_end_is_no_source(payload: Payload) -> None:
    fd = payload.segments[0].fd
    source = StoredSource(Payload([OpenSegment(fd, 200, 100)]), Span(0, 100))
    with pytest.raises(CorruptObject):
        asyncio.run(read_all(source))
