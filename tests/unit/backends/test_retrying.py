"""What the layer above all providers repeats, and what it lets through."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from aisle.backends.memory import MemoryProvider
from aisle.backends.provider import RemoteObject, RemoteRead
from aisle.backends.retrying import ATTEMPTS_MAX, Retrying
from aisle.errors import SourceChanged, SourceDenied, SourceThrottled, SourceUnreachable

CONTENT = bytes(range(256)) * 8


class Failing(MemoryProvider):
    """Fails as told before it answers, and breaks reads off."""

    def __init__(self) -> None:
        super().__init__(["b"])
        self.failures: list[Exception] = []
        self.breaks_after: list[int] = []
        self.gets: list[tuple[int, str]] = []
        self.overwrites = False

    async def head(self, bucket: str, key: str) -> RemoteObject:
        if self.failures:
            raise self.failures.pop(0)
        return await super().head(bucket, key)

    async def get(
        self, bucket: str, key: str, *, offset: int = 0, length: int | None = None, etag: str = ""
    ) -> RemoteRead:
        self.gets.append((offset, etag))
        opened = await super().get(bucket, key, offset=offset, length=length, etag=etag)
        if not self.breaks_after:
            return opened
        return RemoteRead(opened.about, self._broken(opened.chunks, self.breaks_after.pop(0)))

    async def _broken(self, chunks: AsyncIterator[bytes], count: int) -> AsyncIterator[bytes]:
        content = b"".join([chunk async for chunk in chunks])
        yield content[:count]
        if self.overwrites:
            await write(self, b"other")
        raise SourceUnreachable("broke off")


async def write(provider: MemoryProvider, content: bytes = CONTENT) -> RemoteObject:
    async def once() -> AsyncIterator[bytes]:
        yield content

    return await provider.put("b", "k", once(), RemoteObject("k", len(content)))


def wrapped(provider: MemoryProvider) -> tuple[Retrying, list[float]]:
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    return Retrying(provider, pause=pause), pauses


async def content(provider: Retrying) -> bytes:
    return b"".join([chunk async for chunk in (await provider.get("b", "k")).chunks])


def test_what_may_pass_is_asked_again_and_as_late_as_the_source_wishes() -> None:
    inner = Failing()
    inner.failures = [SourceUnreachable("gone"), SourceThrottled("slow down", retry_after_s=3.0)]
    provider, pauses = wrapped(inner)

    async def scenario() -> None:
        await write(inner)
        assert (await provider.head("b", "k")).size == len(CONTENT)

    asyncio.run(scenario())
    assert len(pauses) == 2
    assert pauses[1] == 3.0


def test_a_source_that_stays_away_is_given_up() -> None:
    inner = Failing()
    inner.failures = [SourceUnreachable(str(number)) for number in range(9)]
    provider, pauses = wrapped(inner)
    with pytest.raises(SourceUnreachable):
        asyncio.run(provider.head("b", "k"))
    assert len(inner.failures) == 9 - ATTEMPTS_MAX
    assert len(pauses) == ATTEMPTS_MAX - 1


def test_a_refusal_is_not_asked_again() -> None:
    inner = Failing()
    inner.failures = [SourceDenied("no")]
    provider, pauses = wrapped(inner)
    with pytest.raises(SourceDenied):
        asyncio.run(provider.head("b", "k"))
    assert not pauses


def test_a_read_goes_on_where_it_broke_off_for_as_long_as_the_object_is_the_same() -> None:
    inner = Failing()
    inner.breaks_after = [100, 0, 50]
    provider, _ = wrapped(inner)

    async def scenario() -> None:
        tag = (await write(inner)).etag
        assert await content(provider) == CONTENT
        assert inner.gets == [(0, ""), (100, tag), (100, tag), (150, tag)]

    asyncio.run(scenario())


def test_a_read_of_an_object_that_changed_ends() -> None:
    inner = Failing()
    inner.breaks_after, inner.overwrites = [100], True
    provider, _ = wrapped(inner)

    async def scenario() -> None:
        await write(inner)
        with pytest.raises(SourceChanged):
            await content(provider)

    asyncio.run(scenario())
