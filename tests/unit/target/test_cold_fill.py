"""Objects that are fetched because they are to be used: here afterwards, or an error that tells why not."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from aisle.backends.memory import MemoryProvider
from aisle.backends.provider import RemoteObject, RemoteRead
from aisle.errors import ObjectNotFound, OutOfSpace, Unavailable
from aisle.model.bucket import BucketInfo, BucketProperties
from aisle.model.names import Bucket, ObjectName
from aisle.model.record import Attributes, Condition, Record
from aisle.storage.engine import Draft
from aisle.storage.memory import MemoryEngine
from aisle.target.cold import ColdReads

INFO = BucketInfo(Bucket("data", "aws", ""), 7, BucketProperties(provider="aws"))
NAME = ObjectName(INFO.number, b"k")


class Account(MemoryProvider):
    """An account that lets the test do something while its object is on its way."""

    def __init__(self) -> None:
        super().__init__(["data"])
        self.reads = 0
        self.meanwhile: Callable[[], None] = lambda: None

    async def get(self, bucket: str, key: str, **wanted: Any) -> RemoteRead:
        opened = await super().get(bucket, key, **wanted)
        self.reads += 1
        self.meanwhile()
        return opened


class FullEngine(MemoryEngine):
    """An engine without room for anything that is committed."""

    def commit(
        self,
        name: ObjectName,
        draft: Draft,
        attributes: Attributes,
        *,
        condition: Condition = Condition(),  # noqa: B008 - as the engine has it
        written_ns: int = 0,
    ) -> "asyncio.Future[Record]":
        del name, attributes, condition, written_ns
        draft.abort()
        refused: asyncio.Future[Record] = asyncio.get_running_loop().create_future()
        refused.set_exception(OutOfSpace("no space left"))
        return refused


Story = Callable[[ColdReads, Account, MemoryEngine], Coroutine[Any, Any, None]]


def run(story: Story, engine: MemoryEngine | None = None) -> None:
    async def scenario() -> None:
        account = Account()

        async def once() -> AsyncIterator[bytes]:
            yield b"content"

        await account.put("data", "k", once(), RemoteObject("k", 7))
        used = engine or MemoryEngine(lambda: 1_000)
        await used.open_bucket(INFO.number)
        await story(ColdReads(used, lambda _: account), account, used)

    asyncio.run(scenario())


@pytest.mark.parametrize("at_once", [False, True])
def test_what_is_outdated_while_it_comes_is_fetched_again(at_once: bool) -> None:
    async def story(reads: ColdReads, account: Account, engine: MemoryEngine) -> None:
        def outdate() -> None:
            if account.reads < 3:
                reads.forget(INFO, b"k")

        account.meanwhile = outdate
        await (reads.fill_all([(INFO, b"k")]) if at_once else reads.fill(INFO, b"k"))
        assert account.reads == 3
        assert engine.look_up(NAME) is not None

    run(story)


def test_what_is_never_kept_is_told_as_what_may_work_later() -> None:
    async def story(reads: ColdReads, account: Account, engine: MemoryEngine) -> None:
        account.meanwhile = lambda: reads.forget(INFO, b"k")
        for filling in (reads.fill(INFO, b"k"), reads.fill_all([(INFO, b"k")])):
            with pytest.raises(Unavailable, match="s3://data/k: it was read and could not be kept"):
                await filling
        assert (account.reads, engine.look_up(NAME)) == (8, None)

    run(story)


def test_what_there_is_no_space_for_is_told_so_at_once() -> None:
    async def story(reads: ColdReads, account: Account, engine: MemoryEngine) -> None:
        with pytest.raises(OutOfSpace, match="no space left"):
            await reads.fill(INFO, b"k")
        with pytest.raises(OutOfSpace):
            await reads.fill_all([(INFO, b"k")])
        assert (account.reads, engine.look_up(NAME)) == (2, None)

    run(story, FullEngine(lambda: 1_000))


def test_what_its_source_has_not_is_missing() -> None:
    async def story(reads: ColdReads, account: Account, engine: MemoryEngine) -> None:
        with pytest.raises(ObjectNotFound):
            await reads.fill(INFO, b"other")
        await reads.fill_all([(INFO, b"other")])
        assert engine.look_up(NAME) is None

    run(story)
