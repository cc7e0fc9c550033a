"""Fetches of cold objects and those who follow them, without a node."""

import asyncio
import os
from collections.abc import AsyncIterator

import pytest

from aisle.backends.provider import RemoteObject
from aisle.errors import SourceUnreachable
from aisle.storage.hashing import Digests
from aisle.storage.memory import MemoryDraft
from aisle.target.cold import WINDOW_BYTES, Fetch

PIECE = 1024 * 1024


def opened(size: int) -> tuple[Fetch, MemoryDraft]:
    fetch = Fetch("s3://b/k")
    draft = MemoryDraft(b"g" * 16, Digests())
    fetch.begin(RemoteObject("k", size), draft)
    return fetch, draft


async def gathered(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


def test_earlier_bytes_come_from_the_file_once_they_lie_there(tmp_path: object) -> None:
    content = [bytes((number,)) * PIECE for number in range(12)]

    async def scenario() -> None:
        fetch, draft = opened(12 * PIECE)
        path = f"{tmp_path}/draft"
        early, read = fetch.read(), b""
        for piece in content:
            with open(path, "ab") as file:  # noqa: ASYNC230 - a test
                file.write(piece)
            draft.path, draft.filed = path, draft.filed + PIECE
            fetch.take(piece)
            read = read or await anext(early)
        assert sum(map(len, fetch._chunks)) <= WINDOW_BYTES + PIECE
        late = asyncio.create_task(gathered(fetch.read()))
        middle = asyncio.create_task(gathered(fetch.read(PIECE - 5, PIECE + 5)))
        assert await middle == content[0][:5] + content[1][:5]
        fetch.check()
        fetch.end(None)
        assert await late == b"".join(content)
        assert read + await gathered(early) == b"".join(content)
        fd = fetch._fd
        os.fstat(fd)
        del fetch, late, middle, early
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)

    asyncio.run(scenario())


def test_the_last_byte_waits_for_the_check() -> None:
    async def scenario() -> None:
        fetch, _ = opened(4)
        reading = asyncio.create_task(gathered(fetch.read()))
        fetch.take(b"ab")
        fetch.take(b"cd")
        for _ in range(5):
            await asyncio.sleep(0)
        assert not reading.done()
        fetch.check()
        assert await reading == b"abcd"

    asyncio.run(scenario())


@pytest.mark.parametrize("size", [0, 4])
def test_a_failure_reaches_all_who_wait(size: int) -> None:
    async def scenario() -> None:
        fetch, _ = opened(size)
        readers = [asyncio.create_task(gathered(fetch.read())) for _ in range(3)]
        if size:
            fetch.take(b"abcd")
        await asyncio.sleep(0)
        fetch.fail(SourceUnreachable("gone"))
        for outcome in await asyncio.gather(*readers, return_exceptions=True):
            assert isinstance(outcome, SourceUnreachable)

    asyncio.run(scenario())


def test_a_failure_that_somebody_keeps_holds_no_file(tmp_path: object) -> None:
    async def scenario() -> None:
        fetch, draft = opened(12 * PIECE)
        draft.path = f"{tmp_path}/draft"
        with open(draft.path, "ab") as file:  # noqa: ASYNC230 - a test
            for number in range(8):
                file.write(bytes((number,)) * PIECE)
                file.flush()
                draft.filed += PIECE
                fetch.take(bytes((number,)) * PIECE)
        reading = asyncio.create_task(gathered(fetch.read()))
        await asyncio.sleep(0)
        os.fstat(fetch._fd)
        fetch.fail(SourceUnreachable("gone"))
        with pytest.raises(SourceUnreachable) as kept:
            await reading
        assert kept.value
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fetch._fd)

    asyncio.run(scenario())
