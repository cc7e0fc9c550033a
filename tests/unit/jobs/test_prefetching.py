"""Prefetching from an account in memory: what is fetched, what is not, and how such jobs end."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from aisle.backends.memory import MemoryProvider
from aisle.backends.provider import RemoteObject, RemotePage, RemoteRead
from aisle.errors import NotRemoteBucket, SourceDenied, SourceUnreachable
from aisle.jobs.bulk_work import BATCH_OBJECTS
from aisle.jobs.prefetching import PrefetchSettings, encode_settings
from aisle.model.bucket import BucketInfo
from aisle.model.bulk import (
    PREFETCH,
    SELECTED_NAMES,
    SELECTED_PREFIX,
    SELECTED_TEMPLATE,
    BulkRecord,
    Selection,
)
from aisle.model.names import Bucket, ObjectName
from aisle.storage.engine import Held
from aisle.target.cold import ColdReads, Fetch
from support.bulk import BulkNode, job, until

MANY = [f"d/{number:04}" for number in range(3 * BATCH_OBJECTS + 5)]
LISTED = Selection(by=SELECTED_NAMES)
WITH_LATEST = encode_settings(PrefetchSettings(latest=True))


class Account(MemoryProvider):
    """A remote account that counts reads, refuses some, and holds some until it is told to go on."""

    def __init__(self) -> None:
        super().__init__(["data"])
        self.read: list[str] = []
        self.heads = 0
        self.refused: set[str] = set()
        self.held: set[str] = set()
        self.is_gone = False
        self.go_on = asyncio.Event()

    async def list_objects(self, bucket: str, **wanted: Any) -> RemotePage:
        if self.is_gone:
            raise SourceUnreachable("data: nobody answers")
        return await super().list_objects(bucket, **(wanted | {"limit": min(wanted["limit"], 70)}))

    async def head(self, bucket: str, key: str) -> RemoteObject:
        self.heads += 1
        return await super().head(bucket, key)

    async def get(
        self, bucket: str, key: str, *, offset: int = 0, length: int | None = None, etag: str = ""
    ) -> RemoteRead:
        if key in self.refused:
            raise SourceDenied(f"{key}: access denied")
        opened = await super().get(bucket, key, offset=offset, length=length, etag=etag)
        self.read.append(key)
        if key in self.held:
            await self.go_on.wait()
        return opened

    async def set(self, key: str, content: bytes) -> None:
        async def once() -> AsyncIterator[bytes]:
            yield content

        await self.put("data", key, once(), RemoteObject(key, len(content)))


class Cache:
    """A node with a bucket that has an account behind it."""

    def __init__(self, node: BulkNode, account: Account, bucket: BucketInfo) -> None:
        self.node = node
        self.account = account
        self.bucket = bucket

    def wanted(self, **fields: object) -> BulkRecord:
        return job(PREFETCH, self.bucket, continues_on_error=True, **fields)

    def here(self, key: str) -> Held | None:
        return self.node.engine.look_up(ObjectName(self.bucket.number, key.encode()))

    def names(self) -> list[str]:
        scanned = self.node.engine.scan(self.bucket.number, limit=100_000)
        return [entry.key.decode() for entry in scanned.entries]


def run(test: Callable[[Cache], Coroutine[Any, Any, None]]) -> None:
    async def scenario() -> None:
        node, account = BulkNode(), Account()
        for key in [*MANY, "e/1", "e/deep/2"]:
            await account.set(key, key.encode())
        node.tools = node.tools._replace(provider_of=lambda _: account)
        await test(Cache(node, account, await node.buckets.adopt(Bucket("data", "aws"), {})))

    asyncio.run(scenario())


def counts(progress: Any) -> tuple[int, int]:
    return progress.objects, progress.failed


def test_a_bucket_is_fetched_whole_and_a_second_time_nothing_of_it() -> None:
    async def test(cache: Cache) -> None:
        status = await cache.node.do(cache.wanted())
        assert counts(status.progress) == (len(MANY) + 2, 0)
        assert status.progress.bytes == sum(map(len, [*MANY, "e/1", "e/deep/2"]))
        assert (status.is_aborted, status.error) == (False, "")
        assert cache.names() == [*MANY, "e/1", "e/deep/2"]
        held = cache.here("e/deep/2")
        assert held is not None
        assert held.record.attributes.custom["source"] == "aws"
        cache.account.read.clear()
        status = await cache.node.do(cache.wanted())
        assert (counts(status.progress), cache.account.read) == ((0, 0), [])

    run(test)


@pytest.mark.parametrize(
    ("selection", "details", "names", "expected"),
    [
        (Selection(by=SELECTED_PREFIX, text="e/"), b"", [], ["e/1", "e/deep/2"]),
        (
            Selection(by=SELECTED_PREFIX, text="e/"),
            encode_settings(PrefetchSettings(is_flat=True)),
            [],
            ["e/1"],
        ),
        (Selection(by=SELECTED_TEMPLATE, text="d/{0000..0004..2}"), b"", [], MANY[0:5:2]),
        (Selection(by=SELECTED_TEMPLATE, text="d/{9998..9999}"), b"", [], []),
        (LISTED, b"", ["e/1", "d/0007"], ["d/0007", "e/1"]),
    ],
)
def test_only_what_is_selected_is_fetched(
    selection: Selection, details: bytes, names: list[str], expected: list[str]
) -> None:
    async def test(cache: Cache) -> None:
        status = await cache.node.do(cache.wanted(selection=selection, details=details), names)
        assert counts(status.progress) == (len(expected), 0)
        assert cache.names() == expected
        assert sorted(cache.account.read) == expected

    run(test)


def test_what_cannot_be_had_is_told_and_the_others_are_fetched() -> None:
    async def test(cache: Cache) -> None:
        cache.account.refused = {"d/0003"}
        status = await cache.node.do(cache.wanted())
        assert counts(status.progress) == (len(MANY) + 1, 1)
        assert status.progress.errors == ("d/0003: access denied",)
        assert not status.is_aborted
        status = await cache.node.do(cache.wanted(selection=LISTED), ["d/0003", "never", "e/1"])
        assert counts(status.progress) == (0, 2)
        assert "never" in "".join(status.progress.errors)

    run(test)


@pytest.mark.parametrize("selection", [Selection(), LISTED])
def test_the_latest_version_is_fetched_only_where_it_is_wanted(selection: Selection) -> None:
    async def test(cache: Cache) -> None:
        await cache.node.do(cache.wanted())
        await cache.account.set("e/1", b"new")
        cache.account.read.clear()
        names = ["d/0000", "e/1"] if selection is LISTED else []
        await cache.node.do(cache.wanted(selection=selection), names)
        assert cache.account.read == []
        status = await cache.node.do(cache.wanted(selection=selection, details=WITH_LATEST), names)
        assert (counts(status.progress), cache.account.read) == ((1, 0), ["e/1"])
        held = cache.here("e/1")
        assert held is not None
        assert held.record.size == 3
        # The listing alone tells what has changed.
        assert (cache.account.heads == 0) is (selection is not LISTED)

    run(test)


def test_a_source_that_cannot_be_listed_ends_the_job() -> None:
    async def test(cache: Cache) -> None:
        cache.account.is_gone = True
        status = await cache.node.do(cache.wanted())
        assert (status.is_aborted, status.abort_error) == (True, "data: nobody answers")

    run(test)


def test_an_aborted_job_fetches_no_more_and_keeps_nothing_torn() -> None:
    async def test(cache: Cache) -> None:
        cache.account.held = set(MANY[70:])
        job_id = await cache.node.board.submit(cache.wanted())
        runner = cache.node.runner()
        runner.look()
        await until(lambda: any(key >= MANY[70] for key in cache.account.read))
        await cache.node.board.abort(job_id)
        status = await cache.node.finish(job_id, runner)
        assert (status.is_aborted, status.abort_error) == (True, "user abort")
        there, begun = cache.names(), list(cache.account.read)
        cache.account.go_on.set()
        for _ in range(100):
            await asyncio.sleep(0)
        assert (cache.names(), cache.account.read) == (there, begun)
        assert MANY[70] not in there

    run(test)


def test_it_goes_on_where_a_killed_worker_left_it() -> None:
    async def test(cache: Cache) -> None:
        cache.account.held = {MANY[150]}
        job_id = await cache.node.board.submit(cache.wanted())
        killed = cache.node.runner()
        killed.look()
        await until(lambda: cache.here(MANY[149]) is not None and MANY[150] in cache.account.read)
        await killed.close()
        assert not cache.node.board.find(job_id).done_ns
        before = list(cache.account.read)
        cache.account.held.clear()
        status = await cache.node.finish(job_id)
        assert (status.is_aborted, status.error) == (False, "")
        assert cache.names() == [*MANY, "e/1", "e/deep/2"]
        # What the first worker had fetched is not fetched again.
        again = set(before) & set(cache.account.read[len(before) :])
        assert MANY[150] in again
        assert not again & set(MANY[: 2 * BATCH_OBJECTS])

    run(test)


def test_the_eviction_of_its_bucket_ends_the_job() -> None:
    async def test(cache: Cache) -> None:
        cache.account.held = {MANY[3]}
        job_id = await cache.node.board.submit(cache.wanted())
        runner = cache.node.runner()
        runner.look()
        await until(lambda: MANY[3] in cache.account.read)
        await cache.node.buckets.destroy(cache.bucket.bucket)
        cache.account.go_on.set()
        status = await cache.node.finish(job_id, runner)
        assert status.is_aborted
        assert "s3://data" in status.abort_error
        assert status.progress.failed == 0
        assert len(cache.account.read) < len(MANY)

    run(test)


def test_a_bucket_that_has_lost_its_backend_cannot_be_prefetched() -> None:
    async def test(cache: Cache) -> None:
        own = await cache.node.bucket("own", ["x"])
        status = await cache.node.do(job(PREFETCH, own))
        assert status.abort_error == str(NotRemoteBucket(own.bucket.cname, action=PREFETCH))

    run(test)


def test_what_comes_and_is_not_kept_is_fetched_again_and_not_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("aisle.jobs.bulk_work._FIRST_RETRY_S", 0.0)
    outdated = {"e/1": 2, "e/deep/2": 1_000}

    class Outdated(ColdReads):
        """Others write objects that share a place with these, again and again."""

        def _check_wanted(self, fetch: Fetch, name: ObjectName) -> None:
            outdated[name.key.decode()] -= 1
            if outdated[name.key.decode()] >= 0:
                fetch.is_wanted = False
            super()._check_wanted(fetch, name)

    monkeypatch.setattr("aisle.target.remote_objects.ColdReads", Outdated)

    async def test(cache: Cache) -> None:
        status = await cache.node.do(cache.wanted(selection=Selection(by=SELECTED_PREFIX, text="e/")))
        assert counts(status.progress) == (1, 1)
        assert cache.names() == ["e/1"]
        assert "s3://data/e/deep/2: it was read and could not be kept" in status.progress.errors[0]

    run(test)
