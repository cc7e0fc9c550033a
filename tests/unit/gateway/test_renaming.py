"""Renaming a bucket: found under one name or both at every moment, whatever ends the process."""

import asyncio
import itertools

import pytest

from aisle.cluster.memory import MemoryStore
from aisle.cluster.store import Document
from aisle.errors import BucketExists, BucketNotFound, TooBusy, Unavailable
from aisle.gateway.buckets import Buckets
from aisle.gateway.renaming import rename_bucket
from aisle.model.names import Bucket
from aisle.storage.memory import MemoryEngine

OLD, NEW, OTHER = Bucket("old"), Bucket("new"), Bucket("other")


class DyingStore(MemoryStore):
    """A store whose process dies before its nth change."""

    def __init__(self) -> None:
        super().__init__()
        self.left = 1_000_000

    def swap(self, key: str, value: bytes | None, *, expected_version: int) -> Document | None:
        self.left -= 1
        if self.left < 0:
            raise Unavailable("the process is dead")
        return super().swap(key, value, expected_version=expected_version)


class Node:
    def __init__(self) -> None:
        ticks = itertools.count(1)
        self.store = DyingStore()
        self.buckets = Buckets(self.store, MemoryEngine(lambda: next(ticks)), clock=lambda: next(ticks))

    def found(self) -> list[tuple[str, int]]:
        return [(info.bucket.name, info.number) for info in self.buckets.select()]


@pytest.fixture
def node() -> Node:
    return Node()


def test_the_bucket_keeps_its_number_and_properties(node: Node) -> None:
    async def main() -> None:
        made = await node.buckets.create(OLD, {"checksum": {"type": "md5"}}, owner="u1", acl="public-read")
        await rename_bucket(node.store, OLD, NEW, number=made.number)
        found = node.buckets.find(NEW)
        assert found.properties == made.properties
        assert (found.number, found.owner, found.acl) == (made.number, "u1", "public-read")
        with pytest.raises(BucketNotFound):
            node.buckets.find(OLD)
        await node.buckets.set_properties(NEW, {"checksum": {"type": "none"}})
        await node.buckets.destroy(NEW)
        assert node.found() == []

    asyncio.run(main())


@pytest.mark.parametrize("changes", range(4))
def test_a_crash_leaves_it_under_one_name_or_both_and_the_next_try_ends_it(node: Node, changes: int) -> None:
    async def main() -> None:
        made = await node.buckets.create(OLD)
        node.store.left = changes
        try:
            await rename_bucket(node.store, OLD, NEW, number=made.number)
            assert changes == 4
        except Unavailable:
            pass
        node.store.left = 1_000_000
        assert {number for _, number in node.found()} == {made.number}
        names = {name for name, _ in node.found()}
        assert names in ({"old"}, {"new"}, {"old", "new"})
        if names == {"old", "new"}:
            for name in (OLD, NEW):
                with pytest.raises(TooBusy):
                    await node.buckets.destroy(name)
                with pytest.raises(TooBusy):
                    await node.buckets.set_properties(name, {"lru": {"enabled": True}})
        await rename_bucket(node.store, OLD, NEW, number=made.number)
        assert node.found() == [("new", made.number)]
        await node.buckets.destroy(NEW)

    asyncio.run(main())


def test_another_bucket_of_the_new_name_stays_and_the_old_one_can_still_go(node: Node) -> None:
    async def main() -> None:
        made, other = await node.buckets.create(OLD), await node.buckets.create(OTHER)
        with pytest.raises(BucketExists, match="ais://other"):
            await rename_bucket(node.store, OLD, OTHER, number=made.number)
        assert node.found() == [("old", made.number), ("other", other.number)]
        await node.buckets.destroy(OLD)

    asyncio.run(main())


def test_a_bucket_made_again_under_the_old_name_is_another(node: Node) -> None:
    async def main() -> None:
        made = await node.buckets.create(OLD)
        await node.buckets.destroy(OLD)
        again = await node.buckets.create(OLD)
        with pytest.raises(BucketNotFound):
            await rename_bucket(node.store, OLD, NEW, number=made.number)
        assert node.found() == [("old", again.number)]

    asyncio.run(main())


def test_a_bucket_that_is_being_destroyed_if_empty_is_not_renamed_past_its_number(node: Node) -> None:
    async def main() -> None:
        made = await node.buckets.create(OLD)
        engine = node.buckets._engine
        close, asked, allowed = engine.close_bucket, asyncio.Event(), asyncio.Event()

        async def close_later(bucket: int, *, only_if_empty: bool) -> None:
            asked.set()
            await allowed.wait()
            await close(bucket, only_if_empty=only_if_empty)

        engine.close_bucket = close_later  # type: ignore[method-assign, assignment]
        destroying = asyncio.create_task(node.buckets.destroy_empty(OLD))
        await asked.wait()
        renaming = asyncio.create_task(rename_bucket(node.store, OLD, NEW, number=made.number))
        for _ in range(10):
            await asyncio.sleep(0)
        assert node.found() == [("old", made.number)]
        allowed.set()
        await destroying
        with pytest.raises(BucketNotFound):
            await renaming
        assert node.found() == []

    asyncio.run(main())
