"""Names of a remote bucket in batches, from a source in memory."""

import asyncio
from typing import Any

import pytest

from aisle.backends.memory import MemoryProvider
from aisle.backends.provider import RemoteObject, RemotePage
from aisle.errors import SourceUnreachable
from aisle.jobs.remote_names import RemoteNames

NAMES = [f"{number:03d}" for number in range(25)]


class Paged(MemoryProvider):
    """Gives ten names at a time, and counts how often it was asked; perhaps not for the last page."""

    def __init__(self, *, fails: bool = False) -> None:
        super().__init__(["far"])
        self.asked = 0
        self.fails = fails

    async def list_objects(self, bucket: str, **wanted: Any) -> RemotePage:
        self.asked += 1
        if self.fails and self.asked == 3:
            raise SourceUnreachable("not now")
        return await super().list_objects(bucket, **(wanted | {"limit": 10}))


async def filled(provider: Paged) -> RemoteNames:
    async def content() -> Any:
        yield b"x"

    for name in NAMES:
        await provider.put("far", name, content(), RemoteObject(name, 1))
    return RemoteNames(provider, "far")


def test_the_next_page_comes_while_one_is_worked_through() -> None:
    async def scenario() -> None:
        provider = Paged()
        names = await filled(provider)
        found: list[bytes] = []
        asked = []
        async for batch in names.batches(""):
            await asyncio.sleep(0)
            asked.append(provider.asked)
            found += batch.keys
            assert [*names.told] == batch.keys
        assert [key.decode() for key in found] == NAMES
        assert asked == [2, 3, 3]

    asyncio.run(scenario())


def test_what_is_listed_goes_on_behind_a_name() -> None:
    async def scenario() -> None:
        names = await filled(Paged())
        keys = [key async for batch in names.batches("", after=b"011") for key in batch.keys]
        assert [key.decode() for key in keys] == NAMES[12:]

    asyncio.run(scenario())


def test_a_page_that_does_not_come_is_missed_only_when_it_is_its_turn() -> None:
    async def scenario() -> None:
        names = await filled(Paged(fails=True))
        batches = names.batches("")
        assert sum([len((await anext(batches)).keys) for _ in range(2)]) == 20
        with pytest.raises(SourceUnreachable):
            await anext(batches)

        stopped = (await filled(Paged(fails=True))).batches("")
        for _ in range(2):
            await anext(stopped)
            await asyncio.sleep(0)
        await stopped.aclose()

    asyncio.run(scenario())
