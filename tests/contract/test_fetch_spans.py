"""What readers of an object on its way in are given: bytes from memory, and spans of the draft's file."""

import asyncio
import os
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from aisle.backends.provider import RemoteObject
from aisle.errors import SourceFailed
from aisle.storage.engine import OpenSegment
from aisle.storage.hashing import Digests
from aisle.storage.memory import MemoryDraft
from aisle.target.fetch import Fetch

PIECE = 1024 * 1024
CONTENT = [os.urandom(PIECE) for _ in range(12)]
WHOLE = b"".join(CONTENT)
Spans = AsyncGenerator[bytes | OpenSegment]


class Coming:
    """A fetch whose draft's file is written when a test says so."""

    def __init__(self, folder: Path) -> None:
        self.fetch = Fetch("s3://b/k")
        self._draft = MemoryDraft(b"g" * 16, Digests())
        self._draft.path = str(folder / "draft")
        self.fetch.begin(RemoteObject("k", len(WHOLE)), self._draft)
        self._taken = 0

    def take(self, pieces: int) -> None:
        """So many pieces come in."""
        for _ in range(pieces):
            self.fetch.take(CONTENT[self._taken])
            self._taken += 1

    def file(self, pieces: int) -> None:
        """So many of them, from the first on, lie in the file."""
        Path(self._draft.path).write_bytes(b"".join(CONTENT[:pieces]))
        self._draft.filed = pieces * PIECE


def content(chunk: bytes | OpenSegment) -> bytes:
    return chunk if isinstance(chunk, bytes) else os.pread(chunk.fd, chunk.length, chunk.offset)


async def gathered(spans: Spans) -> tuple[bytes, int]:
    """All bytes, and how many of them came in spans."""
    read, in_spans = [], 0
    async for chunk in spans:
        read.append(content(chunk))
        in_spans += len(read[-1]) if isinstance(chunk, OpenSegment) else 0
    return b"".join(read), in_spans


def test_who_keeps_up_is_given_bytes_and_who_lags_behind_spans(tmp_path: Path) -> None:
    async def scenario() -> None:
        coming = Coming(tmp_path)
        early = coming.fetch.spans()
        coming.take(1)
        assert await anext(early) == CONTENT[0]
        coming.take(7)
        coming.file(6)
        late = coming.fetch.spans(PIECE - 5, 8 * PIECE)
        first = await anext(late)
        assert isinstance(first, OpenSegment)
        assert content(first) == WHOLE[PIECE - 5 : 6 * PIECE]
        assert (await gathered(late))[0] == WHOLE[6 * PIECE : 8 * PIECE]
        coming.take(4)
        coming.file(12)
        coming.fetch.check()
        assert (await gathered(early))[0] == WHOLE[PIECE:]

    asyncio.run(scenario())


def test_the_last_byte_waits_in_spans_too(tmp_path: Path) -> None:
    async def scenario() -> None:
        coming = Coming(tmp_path)
        coming.take(12)
        coming.file(12)
        spans, read = coming.fetch.spans(), 0
        while read < len(WHOLE) - 1:
            read += len(content(await anext(spans)))
        assert read == len(WHOLE) - 1
        last = asyncio.ensure_future(anext(spans))
        await asyncio.sleep(0)
        assert not last.done()
        coming.fetch.check()
        assert await last == WHOLE[-1:]
        with pytest.raises(StopAsyncIteration):
            await anext(spans)

    asyncio.run(scenario())


def test_many_readers_wait_for_the_file_and_get_everything(tmp_path: Path) -> None:
    async def scenario() -> None:
        coming = Coming(tmp_path)
        readers = [asyncio.ensure_future(gathered(coming.fetch.spans())) for _ in range(6)]
        for number in range(12):
            await asyncio.sleep(0)
            coming.file(number)  # a piece behind what has come
            coming.take(1)
        await asyncio.sleep(0)
        coming.file(12)
        coming.fetch.check()
        coming.fetch.end(None)
        for read, in_spans in await asyncio.gather(*readers):
            assert read == WHOLE
            assert in_spans > len(WHOLE) / 2

    asyncio.run(scenario())


def test_readers_who_wait_for_a_file_that_is_not_written_learn_that_it_has_failed(tmp_path: Path) -> None:
    async def scenario() -> None:
        coming = Coming(tmp_path)
        readers = [asyncio.ensure_future(gathered(coming.fetch.spans())) for _ in range(6)]
        await asyncio.sleep(0)
        coming.take(2)
        await asyncio.sleep(0)
        coming.fetch.fail(SourceFailed("broken"))
        for outcome in await asyncio.gather(*readers, return_exceptions=True):
            assert isinstance(outcome, SourceFailed)

    asyncio.run(scenario())


def test_a_file_stays_open_as_long_as_a_span_of_it_is_being_sent(tmp_path: Path) -> None:
    async def scenario() -> None:
        coming = Coming(tmp_path)
        coming.take(8)
        coming.file(8)
        spans = coming.fetch.spans()
        span = await anext(spans)
        assert isinstance(span, OpenSegment)
        coming.fetch.fail(SourceFailed("broken"))
        assert content(span) == WHOLE[: span.length]
        with pytest.raises(SourceFailed):
            await anext(spans)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(span.fd)

    asyncio.run(scenario())
