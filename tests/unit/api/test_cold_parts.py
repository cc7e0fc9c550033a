"""Parts of objects that are not here: never of another version than the one that was told."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from aisle.api.cold import part_of
from aisle.backends.memory import MemoryProvider
from aisle.backends.provider import RemoteObject
from aisle.errors import SourceChanged
from aisle.httpd.response import StreamBody
from aisle.model.bucket import BucketInfo, BucketProperties
from aisle.model.names import Bucket
from aisle.rules.ranges import Span
from aisle.storage.memory import MemoryEngine
from aisle.target.objects import TargetObjects
from aisle.target.remote_objects import RemoteObjects

INFO = BucketInfo(Bucket("data", "aws", ""), 7, BucketProperties(provider="aws"))


async def write(account: MemoryProvider, content: bytes) -> RemoteObject:
    async def once() -> AsyncIterator[bytes]:
        yield content

    return await account.put("data", "k", once(), RemoteObject("k", len(content)))


def test_a_fetch_that_is_under_way_serves_only_what_is_asked_of_its_version() -> None:
    async def scenario() -> None:
        account, engine = MemoryProvider(["data"]), MemoryEngine(lambda: 1_000)
        await engine.open_bucket(INFO.number)
        remote = RemoteObjects(TargetObjects(engine), lambda _: account)
        old = await write(account, b"old old old")
        new = await write(account, b"new new new")
        fetch = remote.cold.begin(INFO, b"k")
        await asyncio.shield(fetch.ended)
        # As if it were still on its way to the disk.
        remote.cold.running = lambda *_: fetch  # type: ignore[method-assign]
        with pytest.raises(SourceChanged):
            await part_of(remote, INFO, old, Span(0, 3))
        body = await part_of(remote, INFO, new, Span(4, 3))
        assert isinstance(body, StreamBody)
        assert b"".join([bytes(chunk) async for chunk in body.chunks]) == b"new"  # type: ignore[arg-type]

    asyncio.run(scenario())
