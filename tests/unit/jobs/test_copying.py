"""Copies between buckets of different providers, in memory: what is copied, left, removed, and told."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from aisle.backends.memory import MemoryProvider
from aisle.backends.provider import Capabilities, RemoteObject, RemotePage, RemoteRead
from aisle.errors import BucketNotFound, ObjectNotFound, SourceDenied, SourceThrottled, SourceUnreachable
from aisle.jobs.bulk_board import BulkStatus
from aisle.model.bucket import BucketInfo
from aisle.model.bulk import (
    COPY_BUCKET,
    COPY_OBJECTS,
    DELETE_OBJECTS,
    PREFETCH,
    SELECTED_NAMES,
    SELECTED_PREFIX,
    BulkRecord,
    CopySettings,
    Selection,
)
from aisle.model.names import Bucket, ObjectName
from aisle.model.record import Attributes
from aisle.storage.hashing import hex_digest
from support.bulk import BulkNode, job, until

MANY = [f"d/{number:04}" for number in range(133)]
PAGE = 50
STRANGE = ["e/ü ñ", "e//x", "e/%41", "e/?a#b"]
SYNC = CopySettings(synchronize=True)


class Account(MemoryProvider):
    """A remote account that counts reads and writes, refuses some, lies, and holds some."""

    def __init__(self) -> None:
        super().__init__(["far"])
        self.read: list[str] = []
        self.written: list[str] = []
        self.refused: set[str] = set()
        self.wrong: set[str] = set()
        self.hidden: set[str] = set()
        self.held: set[str] = set()
        self.throttled: dict[str, int] = {}
        self.go_on = asyncio.Event()
        self.on_write: Callable[[], Coroutine[Any, Any, None]] | None = None
        self.is_gone = False

    async def head_bucket(self, bucket: str) -> Mapping[str, str]:
        if self.is_gone:
            raise BucketNotFound(bucket)
        return await super().head_bucket(bucket)

    async def head(self, bucket: str, key: str) -> RemoteObject:
        if self.is_gone:
            raise ObjectNotFound(key)  # as the answer to a HEAD says it, which has no body
        return await super().head(bucket, key)

    async def list_objects(self, bucket: str, **wanted: Any) -> RemotePage:
        page = await super().list_objects(bucket, **(wanted | {"limit": min(wanted["limit"], PAGE)}))
        return page._replace(objects=[about for about in page.objects if about.key not in self.hidden])

    async def get(
        self, bucket: str, key: str, *, offset: int = 0, length: int | None = None, etag: str = ""
    ) -> RemoteRead:
        if self.is_gone:
            raise ObjectNotFound(key)
        if key in self.refused:
            raise SourceDenied(f"{key}: access denied")
        opened = await super().get(bucket, key, offset=offset, length=length, etag=etag)
        self.read.append(key)
        if key in self.held:
            await self.go_on.wait()
        return opened._replace(chunks=_torn(opened.chunks)) if key in self.wrong else opened

    async def put(
        self, bucket: str, key: str, chunks: AsyncIterator[bytes], about: RemoteObject, **terms: Any
    ) -> RemoteObject:
        self.written.append(key)
        if self.on_write is not None:
            await self.on_write()
            self.on_write = None
        if self.throttled.get(key, 0) > 0:
            self.throttled[key] -= 1
            raise SourceThrottled(f"{key}: slow down")
        return await super().put(bucket, key, chunks, about, **terms)

    async def set(self, key: str, content: bytes, custom: Mapping[str, str] | None = None) -> None:
        async def once() -> AsyncIterator[bytes]:
            yield content

        await super().put("far", key, once(), RemoteObject(key, len(content), custom=custom or {}))

    async def names(self) -> list[str]:
        return [about.key for about in (await super().list_objects("far", limit=100_000)).objects]


async def _torn(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for chunk in chunks:
        yield chunk[::-1]


class World:
    """A node with two remote buckets of one name at two providers, and own ones."""

    def __init__(self) -> None:
        self.node = BulkNode()
        self.accounts = {"aws": Account(), "gcp": Account()}
        self.node.tools = self.node.tools._replace(provider_of=self._provider)

    def _provider(self, info: BucketInfo) -> Account:
        assert info.remote is not None
        return self.accounts[info.remote.provider]

    async def remote(self, provider: str) -> BucketInfo:
        return await self.node.buckets.adopt(Bucket("far", provider), {})

    async def copy(self, source: BucketInfo, to: BucketInfo, *names: str, **fields: Any) -> BulkStatus:
        if names:
            fields["selection"] = Selection(by=SELECTED_NAMES)
        return await self.node.do(
            copying(source, to, COPY_OBJECTS if names else COPY_BUCKET, **fields), names
        )

    async def put(self, bucket: BucketInfo, name: str, content: bytes) -> None:
        told = Attributes(checksum_type="xxhash2", checksum_value=hex_digest("xxhash2", content))
        await self.node.engine.put_small(ObjectName(bucket.number, name.encode()), content, told)

    def here(self, bucket: BucketInfo) -> list[str]:
        return [entry.key.decode() for entry in self.node.engine.scan(bucket.number, limit=100_000).entries]

    def bytes_of(self, bucket: BucketInfo, name: str) -> bytes:
        stored = self.node.engine.open(ObjectName(bucket.number, name.encode()))
        assert stored is not None
        return stored.inline or b""


def copying(source: BucketInfo, to: BucketInfo, kind: str, **fields: Any) -> BulkRecord:
    wanted = job(kind, source, continues_on_error=True, **fields)
    return replace(wanted, to_bucket=to.bucket, to_number=to.number)


def run(test: Callable[[World], Coroutine[Any, Any, None]]) -> None:
    async def scenario() -> None:
        await test(World())

    asyncio.run(scenario())


def counts(status: BulkStatus) -> tuple[int, int, int]:
    progress = status.progress
    return progress.objects, progress.failed, progress.removed


def test_a_remote_bucket_is_copied_into_an_own_one_and_not_kept_here_twice() -> None:
    async def test(world: World) -> None:
        far, near, account = await world.remote("aws"), await world.node.bucket("near"), world.accounts["aws"]
        for name in [*MANY, *STRANGE]:
            await account.set(name, name.encode(), {"color": "red"})
        status = await world.copy(far, near)
        assert counts(status) == (len(MANY) + len(STRANGE), 0, 0)
        assert status.progress.bytes == sum(len(name.encode()) for name in [*MANY, *STRANGE])
        assert world.here(near) == sorted([*MANY, *STRANGE], key=str.encode)
        assert all(world.bytes_of(near, name) == name.encode() for name in STRANGE)
        assert world.here(far) == []
        held = world.node.engine.look_up(ObjectName(near.number, b"e//x"))
        assert held is not None
        told = held.record.attributes
        assert (told.custom["source"], told.user, told.checksum_type) == ("aws", {"color": "red"}, "xxhash2")
        account.read.clear()
        assert counts(await world.copy(far, near)) == (0, 0, 0)
        assert account.read == []
        await account.set(MANY[3], b"new")
        assert counts(await world.copy(far, near)) == (1, 0, 0)
        assert world.bytes_of(near, MANY[3]) == b"new"

    run(test)


def test_an_own_bucket_is_copied_out_and_from_there_to_another_provider() -> None:
    async def test(world: World) -> None:
        near = await world.node.bucket("near", MANY)
        aws, gcp = await world.remote("aws"), await world.remote("gcp")
        assert counts(await world.copy(near, aws)) == (len(MANY), 0, 0)
        assert await world.accounts["aws"].names() == MANY
        await world.node.buckets.empty(aws.bucket)
        aws = world.node.buckets.find(aws.bucket)
        assert counts(await world.copy(aws, gcp)) == (len(MANY), 0, 0)
        assert await world.accounts["gcp"].names() == MANY
        assert (world.here(aws), world.here(gcp)) == ([], MANY)
        assert world.bytes_of(gcp, MANY[0]) == b"xxx"

    run(test)


@pytest.mark.parametrize("direction", ["in", "out", "across"])
def test_synchronizing_removes_what_the_source_has_no_more_and_copies_nothing_twice(direction: str) -> None:
    async def test(world: World) -> None:
        near = await world.node.bucket("near")
        aws, gcp = await world.remote("aws"), await world.remote("gcp")
        source, to = {"in": (aws, near), "out": (near, aws), "across": (gcp, aws)}[direction]
        for name in MANY[:70]:
            if source is near:
                await world.put(near, name, name.encode())
            else:
                await world.accounts[source.bucket.provider].set(name, name.encode())
        for name in ("a-first", "d/0010x", "z-last", MANY[70]):
            if to is near:
                await world.put(near, name, b"old")
            else:
                await world.accounts["aws"].set(name, b"old")
        status = await world.copy(source, to, copying=SYNC)
        assert counts(status) == (70, 0, 4)
        names = world.here(near) if to is near else await world.accounts["aws"].names()
        assert names == MANY[:70]
        for account in world.accounts.values():
            account.read.clear()
            account.written.clear()
        assert counts(await world.copy(source, to, copying=SYNC)) == (0, 0, 0)
        assert all(not (account.read or account.written) for account in world.accounts.values())

    run(test)


def test_synchronizing_a_prefix_or_names_touches_nothing_else() -> None:
    async def test(world: World) -> None:
        near = await world.node.bucket("near", ["d/gone", "other", "also-gone"])
        aws, account = await world.remote("aws"), world.accounts["aws"]
        for name in ("d/1", "d/2", "x"):
            await account.set(name, b"1")
        prefix = Selection(by=SELECTED_PREFIX, text="d/")
        assert counts(await world.copy(aws, near, copying=SYNC, selection=prefix)) == (2, 0, 1)
        assert world.here(near) == ["also-gone", "d/1", "d/2", "other"]
        assert counts(await world.copy(aws, near, "x", "also-gone", copying=SYNC)) == (1, 0, 1)
        assert world.here(near) == ["d/1", "d/2", "other", "x"]
        assert counts(await world.copy(aws, near, "also-gone")) == (0, 1, 0)

    run(test)


def test_a_listing_that_is_short_removes_nothing() -> None:
    async def test(world: World) -> None:
        near, aws = await world.node.bucket("near"), await world.remote("aws")
        account = world.accounts["aws"]
        for name in MANY[:9]:
            await account.set(name, b"1")
        await world.copy(aws, near)
        account.hidden = set(MANY[2:5])
        assert counts(await world.copy(aws, near, copying=SYNC)) == (0, 0, 0)
        assert world.here(near) == MANY[:9]

    run(test)


def test_what_cannot_be_copied_is_told_and_nothing_torn_is_kept() -> None:
    async def test(world: World) -> None:
        near, aws, gcp = await world.node.bucket("near"), await world.remote("aws"), await world.remote("gcp")
        account = world.accounts["aws"]
        for name in MANY[:9]:
            await account.set(name, name.encode())
        account.refused, account.wrong = {MANY[2]}, {MANY[4]}
        for to in (near, gcp):
            status = await world.copy(aws, to)
            assert counts(status) == (7, 2, 0)
            assert any("access denied" in error for error in status.progress.errors)
            assert any("BAD DATA CHECKSUM" in error for error in status.progress.errors)
            assert not status.is_aborted
        assert MANY[4] not in world.here(near)
        assert MANY[4] not in await world.accounts["gcp"].names()

    run(test)


def test_what_is_here_is_copied_from_here_unless_the_latest_is_wanted() -> None:
    async def test(world: World) -> None:
        near, other = await world.node.bucket("near"), await world.node.bucket("other")
        aws, account = await world.remote("aws"), world.accounts["aws"]
        await account.set("a", b"old")
        await world.node.do(job(PREFETCH, aws))
        await account.set("a", b"new")
        account.read.clear()
        await world.copy(aws, near, "a")
        assert (world.bytes_of(near, "a"), account.read) == (b"old", [])
        await world.copy(aws, other, "a", copying=CopySettings(latest=True))
        assert (world.bytes_of(other, "a"), account.read) == (b"new", ["a"])
        await account.set("b", b"elsewhere")
        await world.copy(aws, near, copying=CopySettings(only_present=True))
        assert world.here(near) == ["a"]

    run(test)


def test_a_rehearsal_counts_and_does_nothing() -> None:
    async def test(world: World) -> None:
        aws, account = await world.remote("aws"), world.accounts["aws"]
        for name in MANY:
            await account.set(name, b"12")
        status = await world.copy(aws, aws, copying=CopySettings(dry_run=True, prepend="x/"))
        assert (counts(status), status.progress.bytes) == ((len(MANY), 0, 0), 2 * len(MANY))
        assert (account.read, account.written) == ([], [])

    run(test)


def test_a_bucket_that_is_read_only_is_refused_before_anything_is_read() -> None:
    async def test(world: World) -> None:
        near, aws = await world.node.bucket("near", ["a"]), await world.remote("aws")
        world.accounts["aws"].capabilities = Capabilities(writes=False)
        status = await world.copy(near, aws)
        assert status.is_aborted
        assert "read-only" in status.abort_error

    run(test)


def test_a_copy_goes_on_where_a_killed_worker_left_it() -> None:
    async def test(world: World) -> None:
        near, aws = await world.node.bucket("near"), await world.remote("aws")
        account = world.accounts["aws"]
        for name in MANY:
            await account.set(name, name.encode())
        account.held = {MANY[PAGE + 20]}
        job_id = await world.node.board.submit(copying(aws, near, COPY_BUCKET, copying=SYNC))
        killed = world.node.runner()
        killed.look()
        await until(lambda: len(world.here(near)) == 2 * PAGE - 1 and MANY[PAGE + 20] in account.read)
        await killed.close()
        account.held.clear()
        before = list(account.read)
        status = await world.node.finish(job_id)
        assert counts(status) == (len(MANY), 0, 0)
        assert status.progress.bytes == sum(map(len, MANY))
        assert world.here(near) == MANY
        assert not set(before[:PAGE]) & set(account.read[len(before) :])

    run(test)


def test_a_write_that_is_throttled_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aisle.jobs.copying._FIRST_PAUSE_S", 0.0)

    async def test(world: World) -> None:
        near, aws = await world.node.bucket("near", ["a", "b"]), await world.remote("aws")
        world.accounts["aws"].throttled = {"a": 3, "b": 4}
        status = await world.copy(near, aws)
        assert counts(status) == (1, 1, 0)
        assert status.progress.errors == ("b: slow down",)
        assert await world.accounts["aws"].names() == ["a"]

    run(test)


def test_a_source_that_cannot_be_listed_ends_the_job_and_removes_nothing() -> None:
    class Silent(Account):
        async def list_objects(self, bucket: str, **wanted: Any) -> RemotePage:
            raise SourceUnreachable("far: nobody answers")

    async def test(world: World) -> None:
        world.accounts["aws"] = Silent()
        near, aws = await world.node.bucket("near", ["a"]), await world.remote("aws")
        status = await world.copy(aws, near, copying=SYNC)
        assert (status.is_aborted, status.abort_error) == (True, "far: nobody answers")
        assert world.here(near) == ["a"]

    run(test)


@pytest.mark.parametrize("is_chosen", [False, True])
def test_an_own_source_that_is_destroyed_under_the_job_takes_nothing_with_it(is_chosen: bool) -> None:
    async def test(world: World) -> None:
        near = await world.node.bucket("near", ["a", MANY[0]])
        aws, account = await world.remote("aws"), world.accounts["aws"]
        for name in MANY[:9]:
            await account.set(name, b"old")

        async def destroy() -> None:
            await world.node.buckets.destroy(near.bucket)

        account.on_write = destroy
        names = ["a", MANY[0]] if is_chosen else []
        status = await world.copy(near, aws, *names, copying=SYNC, workers=-1)
        assert status.is_aborted
        assert "near" in status.abort_error
        assert await account.names() == ["a", *MANY[:9]]

    run(test)


@pytest.mark.parametrize("is_chosen", [False, True])
def test_a_remote_source_that_is_removed_under_the_job_takes_nothing_with_it(is_chosen: bool) -> None:
    async def test(world: World) -> None:
        near, aws = await world.node.bucket("near", ["gone"]), await world.remote("aws")
        account = world.accounts["aws"]
        for name in MANY[:9]:
            await account.set(name, b"1")
        assert counts(await world.copy(aws, near)) == (9, 0, 0)
        account.is_gone = True
        status = await world.copy(aws, near, *([*MANY[:9], "gone"] if is_chosen else []), copying=SYNC)
        assert status.is_aborted
        assert "far" in status.abort_error
        assert world.here(near) == [*MANY[:9], "gone"]

    run(test)


def test_objects_of_a_remote_bucket_are_deleted_at_its_source() -> None:
    async def test(world: World) -> None:
        aws, account = await world.remote("aws"), world.accounts["aws"]
        for name in MANY:
            await account.set(name, b"12")
        chosen = Selection(by=SELECTED_PREFIX, text="d/000")
        status = await world.node.do(job(DELETE_OBJECTS, aws, selection=chosen))
        assert (counts(status), status.progress.bytes) == ((10, 0, 0), 20)
        assert await account.names() == MANY[10:]
        status = await world.node.do(
            job(DELETE_OBJECTS, aws, selection=Selection(by=SELECTED_NAMES)), ["d/0010"]
        )
        assert await account.names() == MANY[11:]

    run(test)


def test_an_aborted_copy_copies_and_removes_no_more() -> None:
    async def test(world: World) -> None:
        near, aws = await world.node.bucket("near", ["z-extra"]), await world.remote("aws")
        account = world.accounts["aws"]
        for name in MANY:
            await account.set(name, name.encode())
        account.held = set(MANY[PAGE:])
        job_id = await world.node.board.submit(copying(aws, near, COPY_BUCKET, copying=SYNC))
        runner = world.node.runner()
        runner.look()
        await until(lambda: MANY[PAGE] in account.read)
        await world.node.board.abort(job_id)
        status = await world.node.finish(job_id, runner)
        assert (status.is_aborted, status.abort_error, status.progress.objects) == (True, "user abort", PAGE)
        account.go_on.set()
        begun = list(account.read)
        for _ in range(100):
            await asyncio.sleep(0)
        assert account.read == begun
        assert world.here(near) == [*MANY[:PAGE], "z-extra"]

    run(test)
