"""Items of downloads that are fetched through a provider: kept, retried, stopped, unpacked, gone on with."""

import asyncio
import dataclasses
import io
import tarfile
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from aisle.backends.memory import MemoryProvider
from aisle.backends.provider import RemoteObject, RemoteRead
from aisle.backends.registry import Providers
from aisle.errors import BucketNotFound, ObjectNotFound, RemoteBucketNotFound
from aisle.jobs.board import JobStatus
from aisle.model.names import Bucket, ObjectName
from aisle.model.record import Attributes
from aisle.model.unwritten import marked
from aisle.target.delayed_queue import DelayedQueue
from support.downloads import CONFIG, Rig, with_rig


class Account(MemoryProvider):
    """A remote account that counts reads, holds some in the middle and garbles some."""

    def __init__(self) -> None:
        super().__init__(["far"])
        self.read: list[str] = []
        self.held: set[str] = set()
        self.go_on = asyncio.Event()
        self.wrong: dict[str, int] = {}
        self.is_gone = False

    async def head_bucket(self, bucket: str) -> Mapping[str, str]:
        if self.is_gone:
            raise BucketNotFound(bucket)
        return await super().head_bucket(bucket)

    async def head(self, bucket: str, key: str) -> RemoteObject:
        if self.is_gone:
            raise ObjectNotFound(key)  # as the answer to a HEAD says it, which has no body
        return await super().head(bucket, key)

    async def get(
        self, bucket: str, key: str, *, offset: int = 0, length: int | None = None, etag: str = ""
    ) -> RemoteRead:
        if self.is_gone:
            raise ObjectNotFound(key)
        opened = await super().get(bucket, key, offset=offset, length=length, etag=etag)
        self.read.append(key)
        return opened._replace(chunks=self._sent(key, opened.chunks))

    async def _sent(self, key: str, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        is_wrong = self.wrong.get(key, 0) > 0
        self.wrong[key] = self.wrong.get(key, 0) - 1
        async for chunk in chunks:
            yield chunk[:1]
            if key in self.held:
                await self.go_on.wait()
            yield chunk[:0:-1] if is_wrong else chunk[1:]

    async def set(self, key: str, content: bytes, **about: Any) -> None:
        async def once() -> AsyncIterator[bytes]:
            yield content

        await self.put("far", key, once(), RemoteObject(key, len(content), **about))


async def with_account(rig: Rig) -> Account:
    account = Account()
    rig.providers = Providers({"aws": lambda _: account})
    await rig.buckets.adopt(Bucket("far", "aws"), {})
    await rig.stop()
    rig.start()
    return account


async def until(rig: Rig, condition: Any) -> None:
    for _ in range(5_000):
        if condition():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("it does not happen")


@with_rig()
async def test_an_object_remembers_where_it_is_from(rig: Rig) -> None:
    account = await with_account(rig)
    await account.set("d/a b", b"content", custom={"color": "red"}, content_type="text/x")
    status = await rig.download("s3://far/d/a%20b")
    assert (status.progress.finished, status.progress.failed, status.progress.received) == (1, 0, 7)
    told = rig.record().attributes
    assert (told.content_type, told.user, told.checksum_type) == ("text/x", {"color": "red"}, "xxhash2")
    assert told.custom["orig_url"] == "s3://far/d/a%20b"
    assert (told.custom["source"], told.custom["Content-Length"]) == ("aws", "7")
    assert {"ETag", "version", "md5", "Last-Modified"} <= told.custom.keys()
    again = await rig.download("s3://far/d/a%20b")
    assert (again.progress.skipped, account.read) == (1, ["d/a b"])
    # What somebody else has written under the name is replaced.
    bucket = rig.buckets.find(Bucket("b"))
    await rig.engine.put_small(ObjectName(bucket.number, b"o"), b"contend", rig.record().attributes)
    third = await rig.download("s3://far/d/a%20b")
    assert third.progress.finished == 1


@with_rig()
async def test_what_is_wrong_once_is_asked_for_again_and_twice_given_up(rig: Rig) -> None:
    account = await with_account(rig)
    await account.set("a", b"content")
    account.wrong["a"] = 1
    status = await rig.download("s3://far/a")
    assert (status.progress.finished, rig.content()) == (1, b"content")
    account.wrong["a"] = 9
    status = await rig.single("s3://far/a", object_name="p")
    ended = await rig.ended(status)
    assert (ended.progress.failed, rig.content("p")) == (1, None)
    assert "BAD DATA CHECKSUM" in ended.progress.errors[0].error


@with_rig()
async def test_a_job_can_be_stopped_and_paused_in_the_middle_of_an_object(rig: Rig) -> None:
    account = await with_account(rig)
    await account.set("a", b"content")
    account.held = {"a"}
    job_id = await rig.single("s3://far/a")
    await until(rig, lambda: account.read == ["a"])
    await rig.board.abort(job_id)
    status = await rig.ended(job_id)
    assert (status.is_aborted, rig.content()) == (True, None)
    job_id = await rig.single("s3://far/a", object_name="p")
    await until(rig, lambda: account.read == ["a", "a"])
    await rig.board.pause(job_id)
    await until(rig, lambda: rig.board.find(job_id).live is None)
    account.held.clear()
    account.go_on.set()
    assert rig.content("p") is None
    await rig.board.resume(job_id)
    status = await rig.ended(job_id)
    assert (status.progress.finished, rig.content("p"), rig.content()) == (1, b"content", None)


@with_rig(config=dataclasses.replace(CONFIG, retries_max=0))
async def test_an_object_that_takes_too_long_is_given_up(rig: Rig) -> None:
    account = await with_account(rig)
    await account.set("a", b"content")
    account.held = {"a"}
    status = await rig.download("s3://far/a", timeout="50ms")
    assert (status.progress.failed, rig.content()) == (1, None)
    assert "took longer than 0.05 s" in status.progress.errors[0].error


@with_rig()
async def test_a_name_that_nothing_can_have_fails_alone(rig: Rig) -> None:
    account = await with_account(rig)
    await account.set("good", b"content")
    await account.set("x" * 1025, b"content")
    job_id = await rig.submit(type="backend", bucket={"name": "far", "provider": "aws"})
    status = await rig.ended(job_id)
    assert (status.progress.finished, status.progress.failed, status.progress.total) == (1, 1, 2)
    assert "1025 bytes" in status.progress.errors[0].error


@with_rig()
async def test_a_later_process_fetches_only_what_is_missing(rig: Rig) -> None:
    account = await with_account(rig)
    for number in range(5):
        await account.set(f"x-{number}", b"content")
    account.held = {"x-3"}
    job_id = await rig.submit(type="range", template="s3://far/x-{0..4}")
    await until(rig, lambda: rig.content("x-4") is not None and rig.content("x-2") is not None)
    await rig.stop()
    account.held.clear()
    before = len(account.read)
    rig.start()
    status = await rig.ended(job_id)
    assert (status.progress.finished, status.progress.failed) == (5, 0)
    assert account.read[before:] == ["x-3"]


@with_rig()
async def test_archives_are_unpacked_and_what_is_not_there_is_told(rig: Rig) -> None:
    account = await with_account(rig)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        member = tarfile.TarInfo("in/side")
        member.size = 3
        archive.addfile(member, io.BytesIO(b"abc"))
    await account.set("x.tar", packed.getvalue())
    status = await rig.download("s3://far/x.tar", extract=True, object_name="d/x.tar")
    assert (status.progress.finished, rig.content("d/in/side")) == (1, b"abc")
    status = await rig.download("s3://far/none")
    assert status.progress.errors[0].error == "ErrNotFound: s3://far/none does not exist"
    status = await rig.download("s3://nothing/none")
    assert status.progress.errors[0].error == "ErrNotFound: s3://nothing/none does not exist"
    await rig.buckets.adopt(Bucket("far", "gcp"), {})
    status = await rig.download("gs://far/none")
    assert "no remote backend for gs://" in status.progress.errors[0].error


COPY = Attributes(custom={"source": "aws"})


async def store(rig: Rig, key: str, content: bytes, attributes: Attributes = COPY) -> None:
    number = rig.buckets.find(Bucket("far", "aws")).number
    await rig.engine.put_small(ObjectName(number, key.encode()), content, attributes)


def kept(rig: Rig, key: str) -> bytes | None:
    stored = rig.engine.open(ObjectName(rig.buckets.find(Bucket("far", "aws")).number, key.encode()))
    return stored.inline if stored else None


async def filling(rig: Rig, **more: object) -> str:
    return await rig.submit(type="backend", bucket={"name": "far", "provider": "aws"}, **more)


async def fill(rig: Rig, **more: object) -> JobStatus:
    return await rig.ended(
        await rig.submit(type="backend", bucket={"name": "far", "provider": "aws"}, **more)
    )


@with_rig()
async def test_what_its_source_does_not_have_yet_is_neither_removed_nor_replaced(rig: Rig) -> None:
    account = await with_account(rig)
    await store(rig, "new", b"new", marked(COPY))
    await store(rig, "changed", b"later", marked(COPY))
    await store(rig, "own", b"older than its backend", Attributes())
    await store(rig, "gone", b"copy")
    await account.set("changed", b"first")
    for more in ({}, {"refetch": True}):
        status = await fill(rig, sync=True, **more)
        assert (status.progress.failed, status.progress.error) == (0, "")
        assert (kept(rig, "new"), kept(rig, "changed")) == (b"new", b"later")
        assert (kept(rig, "own"), kept(rig, "gone")) == (b"older than its backend", None)


@with_rig()
async def test_what_its_source_still_has_after_it_was_removed_here_is_not_fetched(rig: Rig) -> None:
    account = await with_account(rig)
    info = await rig.buckets.set_properties(Bucket("far", "aws"), {"write_policy": {"backend": "delayed"}})
    await account.set("first", b"content")
    await account.set("removed", b"content")
    account.held = {"first"}
    job_id = await rig.submit(
        type="backend", bucket={"name": "far", "provider": "aws"}, limits={"connections": 1}
    )
    await until(rig, lambda: account.read)
    await DelayedQueue(rig.engine, rig.buckets.open_queue).note_removal(info, b"removed", b"")
    account.go_on.set()
    status = await rig.ended(job_id)
    assert (kept(rig, "first"), kept(rig, "removed")) == (b"content", None)
    assert account.read == ["first"], status


@with_rig(config=dataclasses.replace(CONFIG, retries_max=1))
async def test_what_is_removed_while_it_is_fetched_does_not_come_back(rig: Rig) -> None:
    account = await with_account(rig)
    info = rig.buckets.find(Bucket("far", "aws"))
    await account.set("a", b"content")
    account.held = {"a"}
    job_id = await filling(rig)
    await until(rig, lambda: account.read)
    await account.delete("far", "a")
    # As a removal through another process does it.
    await rig.engine.remove(ObjectName(info.number, b"a"), lasts=True)
    account.go_on.set()
    status = await rig.ended(job_id)
    assert (status.progress.finished, kept(rig, "a")) == (0, None)
    assert "does not exist" in status.progress.errors[0].error


@with_rig(config=dataclasses.replace(CONFIG, retries_max=0))
@pytest.mark.parametrize("refetch", [False, True])
async def test_a_source_that_is_gone_itself_takes_no_copies_with_it(rig: Rig, refetch: bool) -> None:
    account = await with_account(rig)
    for key in ("a", "b"):
        await store(rig, key, b"copy")
    account.is_gone = True  # after it was listed
    status = await fill(rig, sync=True, refetch=refetch)
    assert (status.is_aborted, kept(rig, "a"), kept(rig, "b")) == (True, b"copy", b"copy")
    assert "far" in status.progress.error
    account.is_gone = False
    status = await fill(rig, sync=True, refetch=refetch)
    assert (status.progress.failed, kept(rig, "a"), kept(rig, "b")) == (0, None, None)


@with_rig()
async def test_a_bucket_that_was_evicted_is_not_taken_up_again(rig: Rig) -> None:
    account = await with_account(rig)
    await account.set("a", b"content")
    await rig.buckets.destroy(Bucket("far", "aws"))
    status = await rig.download("s3://far/a")
    assert status.progress.errors[0].error == "ErrNotFound: s3://far/a does not exist"
    with pytest.raises(RemoteBucketNotFound):
        rig.buckets.find(Bucket("far", "aws"))
    assert account.read == []
