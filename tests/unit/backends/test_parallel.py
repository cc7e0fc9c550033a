"""Large objects in parallel ranges: in order, bounded, of one version, let go of when nobody wants more."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from aisle.backends.memory import MemoryProvider
from aisle.backends.parallel import ParallelReads, Ranges
from aisle.backends.provider import Capabilities, RemoteObject, RemoteRead
from aisle.errors import SourceChanged, SourceUnreachable

CHUNK = 1000
CONTENT = bytes(range(256)) * 40  # 10,240 bytes: eleven ranges


async def _nothing(_offset: int) -> None:
    """Nothing is to be done."""


class Account(MemoryProvider):
    """An account that notes which ranges are read, and when, and holds or breaks some."""

    def __init__(self) -> None:
        super().__init__(["b"])
        self.asked: list[tuple[int, int | None]] = []
        self.running = self.most = 0
        self.short: set[int] = set()
        self.keeps_ranges = True
        self.held: dict[int, asyncio.Event] = {}
        self.on_read: Callable[[int], Coroutine[Any, Any, None]] | None = None
        self.on_chunks: Callable[[int], Coroutine[Any, Any, None]] = _nothing

    async def get(
        self, bucket: str, key: str, *, offset: int = 0, length: int | None = None, etag: str = ""
    ) -> RemoteRead:
        self.asked.append((offset, length))
        if self.on_read is not None:
            await self.on_read(offset)
        opened = await super().get(bucket, key, offset=offset, length=length, etag=etag)
        chunks = self._noted(opened.chunks, offset)
        return opened._replace(chunks=chunks, keeps_ranges=self.keeps_ranges)

    async def _noted(self, chunks: AsyncIterator[bytes], offset: int) -> AsyncIterator[bytes]:
        await self.on_chunks(offset)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(0)
            if offset in self.held:
                await self.held[offset].wait()
            async for chunk in chunks:
                yield chunk[: -1 if offset in self.short else None]
        finally:
            self.running -= 1

    async def set(self, content: bytes) -> None:
        async def once() -> AsyncIterator[bytes]:
            yield content

        await self.put("b", "k", once(), RemoteObject("k", len(content)))


def run(test: Callable[[Account], Coroutine[Any, Any, None]]) -> None:
    async def scenario() -> None:
        account = Account()
        await account.set(CONTENT)
        await test(account)

    asyncio.run(scenario())


async def whole(provider: ParallelReads) -> bytes:
    opened = await provider.get("b", "k")
    return b"".join([chunk async for chunk in opened.chunks])


@pytest.mark.parametrize("workers", [2, 4, 32])
def test_ranges_come_in_order_and_few_at_a_time(workers: int) -> None:
    async def test(account: Account) -> None:
        assert await whole(ParallelReads(account, Ranges(0, CHUNK, workers))) == CONTENT
        assert sorted(account.asked) == [
            (start, min(CHUNK, len(CONTENT) - start)) for start in range(0, len(CONTENT), CHUNK)
        ]
        assert 1 < account.most <= workers

    run(test)


def test_what_is_small_or_has_no_tag_or_no_ranges_is_read_at_once() -> None:
    async def test(account: Account) -> None:
        plain = [(0, None)]
        for provider in (
            ParallelReads(account, Ranges(len(CONTENT) + 1, CHUNK, 4)),
            ParallelReads(account, Ranges(0, len(CONTENT), 4)),
            ParallelReads(account, Ranges(0, CHUNK, 1)),
            ParallelReads(account, Ranges(20_000, CHUNK, 4), size_of=lambda _: 10),
        ):
            account.asked.clear()
            assert await whole(provider) == CONTENT
            assert account.asked == plain
        account.capabilities = Capabilities(ranges=False)
        account.asked.clear()
        assert await whole(ParallelReads(account, Ranges(0, CHUNK, 4))) == CONTENT
        assert account.asked == plain

    run(test)


def test_a_range_of_an_object_is_passed_on() -> None:
    async def test(account: Account) -> None:
        opened = await ParallelReads(account, Ranges(0, CHUNK, 4)).get("b", "k", offset=5, length=3000)
        assert b"".join([chunk async for chunk in opened.chunks]) == CONTENT[5:3005]
        assert account.asked == [(5, 3000)]

    run(test)


def test_an_object_that_changes_meanwhile_is_never_mixed() -> None:
    async def test(account: Account) -> None:
        async def change(offset: int) -> None:
            if offset == 5 * CHUNK:
                await account.set(CONTENT[::-1])

        account.on_read = change
        with pytest.raises(SourceChanged):
            await whole(ParallelReads(account, Ranges(0, CHUNK, 2)))
        assert account.running == 0

    run(test)


def test_a_range_that_is_short_fails_the_read() -> None:
    async def test(account: Account) -> None:
        account.short = {3 * CHUNK}
        with pytest.raises(SourceUnreachable, match="999 bytes of a range of 1000"):
            await whole(ParallelReads(account, Ranges(0, CHUNK, 4)))
        assert account.running == 0

    run(test)


def test_who_leaves_early_leaves_nothing_running() -> None:
    async def test(account: Account) -> None:
        account.held = {CHUNK: asyncio.Event()}
        provider = ParallelReads(account, Ranges(0, CHUNK, 4))
        opened = await provider.get("b", "k")
        assert await anext(opened.chunks) == CONTENT[:CHUNK]
        await opened.chunks.aclose()  # type: ignore[attr-defined]
        assert account.running == 0
        account.held.clear()
        # Its room is free again.
        assert await whole(provider) == CONTENT

    run(test)


def test_many_objects_share_their_room_and_none_waits_for_ever() -> None:
    async def test(account: Account) -> None:
        provider = ParallelReads(account, Ranges(0, CHUNK, 4), ahead_bytes_max=3 * CHUNK)
        found = await asyncio.gather(*(whole(provider) for _ in range(8)))
        assert found == [CONTENT] * 8
        assert account.most <= 3

    run(test)


def test_a_source_that_sends_the_whole_for_each_range_is_read_once() -> None:
    async def test(account: Account) -> None:
        account.keeps_ranges = False
        begun: list[int] = []

        async def begin(offset: int) -> None:
            begun.append(offset)

        account.on_chunks = begin
        assert await whole(ParallelReads(account, Ranges(0, CHUNK, 4))) == CONTENT
        assert begun == [0]
        assert account.asked[-1] == (0, len(CONTENT))

    run(test)
