"""Large objects that are fetched through a provider: in ranges, in parts that outlive the process."""

import asyncio
import dataclasses
import gc
import os
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

import pytest
import xxhash

from aisle.backends.memory import MemoryProvider
from aisle.backends.provider import RemoteObject, RemoteRead
from aisle.backends.registry import Providers
from aisle.errors import SourceDenied, SourceFailed, SourceThrottled, SourceUnreachable
from aisle.jobs.piece import done
from aisle.model.names import Bucket, ObjectName
from aisle.model.record import Record
from aisle.rules.remote_metadata import attributes_of
from support.downloads import CONFIG, Rig, with_rig
from support.faulty import serving

PART_BYTES = CONFIG.part_bytes
CHUNK_BYTES = 16 * 1024
LARGE = os.urandom(3_000_000)
NEWER = os.urandom(3_500_000)


class Asked(NamedTuple):
    """A read of some of the object."""

    offset: int
    length: int | None
    etag: str


class Account(MemoryProvider):
    """A remote account that remembers what it was asked for, and whose reads go as `act` wants it."""

    def __init__(self) -> None:
        super().__init__(["far"])
        self.asked: list[Asked] = []
        self.sent = 0
        self.closed = 0
        """How many reads are over."""
        self.closing_s = 0.0
        """How long it takes to give back the next connection."""
        self.damaged = 0
        """So many of the first reads bring other bytes."""
        self.keeps_ranges = True
        self.more_digests: dict[str, str] = {}
        self.act: Callable[[int, int], Any] | None = None
        """Called before each chunk with the number of the read and the place in the object."""

    async def get(
        self, bucket: str, key: str, *, offset: int = 0, length: int | None = None, etag: str = ""
    ) -> RemoteRead:
        opened = await super().get(bucket, key, offset=offset, length=length, etag=etag)
        self.asked.append(Asked(offset, length, etag))
        chunks = self._sent(len(self.asked), offset, opened.chunks)
        return opened._replace(chunks=chunks, keeps_ranges=self.keeps_ranges)

    async def _sent(self, number: int, place: int, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        try:
            async for whole in chunks:
                for start in range(0, len(whole), CHUNK_BYTES):
                    chunk = whole[start : start + CHUNK_BYTES]
                    if self.act is not None:
                        await self.act(number, place)
                    await asyncio.sleep(0)
                    self.sent += len(chunk)
                    place += len(chunk)
                    yield bytes(len(chunk)) if number <= self.damaged else chunk
        finally:
            self.closed += 1
            closing_s, self.closing_s = self.closing_s, 0.0
            await asyncio.sleep(closing_s)

    async def head(self, bucket: str, key: str) -> RemoteObject:
        about = await super().head(bucket, key)
        return about._replace(digests={**about.digests, **self.more_digests})

    async def set(self, content: bytes, **about: Any) -> None:
        async def once() -> AsyncIterator[bytes]:
            yield content

        await self.put("far", "a", once(), RemoteObject("a", len(content), **about))


async def with_account(rig: Rig, content: bytes = LARGE) -> Account:
    account = Account()
    await account.set(content, custom={"color": "red"}, content_type="text/x")
    rig.providers = Providers({"aws": lambda _: account})
    await rig.buckets.adopt(Bucket("far", "aws"), {})
    await rig.stop()
    rig.start()
    return account


def copy(rig: Rig) -> tuple[Record, bytes | None] | None:
    """The copy that the remote bucket has of the object."""
    stored = rig.engine.open(ObjectName(rig.buckets.find(Bucket("far", "aws")).number, b"a"))
    return (stored.record, stored.inline) if stored else None


async def filling(rig: Rig) -> str:
    return await rig.submit(type="backend", bucket={"name": "far", "provider": "aws"})


async def parts(rig: Rig, count: int, bucket: Bucket) -> None:
    """Wait until so many parts of the object are durable."""
    number = rig.buckets.find(bucket).number
    for _ in range(5_000):
        uploads = rig.engine.uploads(number)
        if uploads and len(rig.engine.parts(uploads[0].id)) >= count:
            return
        await asyncio.sleep(0.002)
    raise AssertionError("the parts do not come")


def stops_at(place: int) -> tuple[Callable[[int, int], Any], asyncio.Event]:
    """All reads wait there for the event."""
    go_on = asyncio.Event()

    async def act(_number: int, at: int) -> None:
        if at >= place:
            await go_on.wait()

    return act, go_on


@with_rig()
async def test_it_becomes_a_new_object_with_a_link_to_its_source(rig: Rig) -> None:
    account = await with_account(rig)
    status = await rig.download("s3://far/a")
    assert (status.progress.finished, status.progress.received) == (1, len(LARGE))
    assert rig.content() == LARGE
    told = rig.record().attributes
    assert (told.content_type, told.user) == ("text/x", {"color": "red"})
    assert (told.checksum_type, told.checksum_value) == ("xxhash2", xxhash.xxh64(LARGE).hexdigest())
    assert (told.custom["orig_url"], told.custom["Content-Length"]) == ("s3://far/a", str(len(LARGE)))
    assert {"ETag", "version", "md5", "Last-Modified"} <= told.custom.keys()
    assert account.asked == [Asked(0, None, "")]
    assert rig.uploads() == 0


@with_rig()
async def test_it_becomes_the_copy_of_its_bucket_as_old_as_its_source(rig: Rig) -> None:
    account = await with_account(rig)
    status = await rig.ended(await filling(rig))
    assert (status.progress.finished, status.progress.failed) == (1, 0)
    about = await account.head("far", "a")
    stored = copy(rig)
    assert stored is not None
    record, content = stored
    assert content == LARGE
    assert (record.written_ns, record.attributes.version) == (about.modified_ns, about.version)
    assert (record.attributes.checksum_type, record.attributes.checksum_value) == ("md5", about.etag)
    assert (await rig.ended(await filling(rig))).progress.skipped == 1
    assert account.sent == len(LARGE)


@pytest.mark.parametrize("fills", [False, True])
@with_rig()
async def test_a_later_process_fetches_only_what_is_missing(rig: Rig, fills: bool) -> None:
    account = await with_account(rig)
    account.act, go_on = stops_at(1_500_000)
    job_id = await (filling(rig) if fills else rig.single("s3://far/a"))
    to = Bucket("far", "aws") if fills else Bucket("b")
    await parts(rig, 4, to)
    await rig.stop()
    go_on.set()
    rig.start()
    status = await rig.ended(job_id)
    assert (status.progress.finished, status.progress.failed) == (1, 0)
    stored = copy(rig)
    assert (stored[1] if fills and stored else rig.content()) == LARGE
    etag = (await account.head("far", "a")).etag
    assert account.asked[1:] == [Asked(4 * PART_BYTES, len(LARGE) - 4 * PART_BYTES, etag)]
    assert rig.engine.uploads(rig.buckets.find(to).number) == []


@pytest.mark.parametrize("ending", ["paused", "aborted"])
@with_rig()
async def test_its_parts_are_kept_by_a_pause_and_dropped_by_an_abort(rig: Rig, ending: str) -> None:
    account = await with_account(rig)
    account.act, go_on = stops_at(1_500_000)
    job_id = await rig.single("s3://far/a")
    await parts(rig, 4, Bucket("b"))
    if ending == "aborted":
        await rig.board.abort(job_id)
        assert (await rig.ended(job_id)).is_aborted
        await rig.until(job_id, lambda _: rig.uploads() == 0)
        assert rig.content() is None
        return
    await rig.board.pause(job_id)
    await rig.until(job_id, lambda _: account.closed == 1)
    assert rig.uploads() == 1
    go_on.set()
    await rig.board.resume(job_id)
    assert (await rig.ended(job_id)).progress.finished == 1
    assert rig.content() == LARGE
    assert account.asked[1].offset == 4 * PART_BYTES


@with_rig(config=dataclasses.replace(CONFIG, retries_max=1))
async def test_a_bad_line_costs_no_bytes_and_no_patience(rig: Rig) -> None:
    account = await with_account(rig)

    async def act(number: int, place: int) -> None:
        if place >= number * 500_000:
            raise SourceUnreachable("the line is bad")

    account.act = act
    status = await rig.download("s3://far/a")
    assert (status.progress.finished, rig.content()) == (1, LARGE)
    assert len(account.asked) == 6  # with a patience of two attempts that make no headway
    assert account.sent == len(LARGE)


@pytest.mark.parametrize("while_stopped", [False, True])
@with_rig()
async def test_another_version_is_fetched_from_its_beginning(rig: Rig, while_stopped: bool) -> None:
    account = await with_account(rig)
    account.act, go_on = stops_at(1_500_000)
    job_id = await rig.single("s3://far/a")
    await parts(rig, 4, Bucket("b"))
    if while_stopped:
        await rig.stop()
    await account.set(NEWER)

    async def act(number: int, _place: int) -> None:
        if number == 1:
            raise SourceUnreachable("the line is bad")

    account.act = act
    go_on.set()
    if while_stopped:
        rig.start()
    assert (await rig.ended(job_id)).progress.finished == 1
    assert rig.content() == NEWER
    assert rig.record().attributes.checksum_value == xxhash.xxh64(NEWER).hexdigest()
    assert rig.uploads() == 0


@with_rig(config=dataclasses.replace(CONFIG, retries_max=1))
async def test_what_its_source_removes_meanwhile_fails_alone(rig: Rig) -> None:
    account = await with_account(rig)
    account.act, go_on = stops_at(1_500_000)
    other = rig.server.on("/p", serving(b"other"))
    job_id = await rig.submit(type="multi", objects={"o": "s3://far/a", "p": other})
    await parts(rig, 4, Bucket("b"))
    await account.delete("far", "a")

    async def act(_number: int, _place: int) -> None:
        raise SourceUnreachable("the line is bad")

    account.act = act
    go_on.set()
    status = await rig.ended(job_id)
    assert (status.progress.finished, status.progress.failed, status.is_aborted) == (1, 1, False)
    assert status.progress.errors[0].error == "ErrNotFound: s3://far/a does not exist"
    assert (rig.content(), rig.content("p"), rig.uploads()) == (None, b"other", 0)


@with_rig(config=dataclasses.replace(CONFIG, retries_max=1))
async def test_what_is_removed_here_meanwhile_does_not_come_back(rig: Rig) -> None:
    account = await with_account(rig)
    account.act, go_on = stops_at(1_500_000)
    job_id = await filling(rig)
    await parts(rig, 4, Bucket("far", "aws"))
    await account.delete("far", "a")
    number = rig.buckets.find(Bucket("far", "aws")).number
    await rig.engine.remove(ObjectName(number, b"a"), lasts=True)
    go_on.set()
    status = await rig.ended(job_id)
    assert (status.progress.finished, copy(rig)) == (0, None)
    assert "does not exist" in status.progress.errors[0].error
    assert rig.engine.uploads(number) == []


@pytest.mark.parametrize("times", [1, 2])
@with_rig()
async def test_what_is_damaged_on_the_way_comes_again_once(rig: Rig, times: int) -> None:
    account = await with_account(rig)
    account.damaged = times
    status = await rig.download("s3://far/a")
    assert rig.uploads() == 0
    assert [asked.offset for asked in account.asked] == [0, 0]
    if times == 1:
        assert rig.content() == LARGE
    else:
        assert (status.progress.failed, rig.content()) == (1, None)
        assert "BAD DATA CHECKSUM" in status.progress.errors[0].error


async def slowly(_number: int, _place: int) -> None:
    await asyncio.sleep(CHUNK_BYTES / 500_000)


@with_rig(config=dataclasses.replace(CONFIG, part_bytes=512 * 1024))
async def test_a_slow_source_is_read_over_several_connections(rig: Rig) -> None:
    account = await with_account(rig)
    account.act = slowly
    status = await rig.download("s3://far/a")
    assert (status.progress.finished, rig.content()) == (1, LARGE)
    etag = (await account.head("far", "a")).etag
    further = account.asked[1:]
    assert len(further) >= 3
    assert all(asked.etag == etag and asked.length for asked in further)
    assert account.sent < len(LARGE) + len(account.asked) * CHUNK_BYTES


@pytest.mark.parametrize(
    "error", [SourceThrottled("slow down", status=503, retry_after_s=1.0), SourceUnreachable("reset")]
)
@with_rig(config=dataclasses.replace(CONFIG, part_bytes=512 * 1024, retries_max=1))
async def test_connections_that_fail_cost_nothing_while_another_goes_on(rig: Rig, error: Exception) -> None:
    account = await with_account(rig)

    async def act(number: int, place: int) -> None:
        if number in (2, 3):
            raise error
        await slowly(number, place)

    account.act = act
    status = await rig.download("s3://far/a")
    assert (status.progress.finished, rig.content()) == (1, LARGE)
    assert len(account.asked) > 1


@with_rig(config=dataclasses.replace(CONFIG, part_bytes=512 * 1024))
async def test_credentials_that_expire_meanwhile_are_told(rig: Rig) -> None:
    account = await with_account(rig)

    async def act(number: int, place: int) -> None:
        if number > 1:
            raise SourceDenied("the credentials have expired")
        await slowly(number, place)

    account.act = act
    status = await rig.download("s3://far/a")
    assert (status.progress.failed, rig.content(), rig.uploads()) == (1, None, 0)
    assert "the credentials have expired" in status.progress.errors[0].error


@with_rig(config=dataclasses.replace(CONFIG, retries_max=0))
async def test_one_that_takes_too_long_is_given_up(rig: Rig) -> None:
    account = await with_account(rig)
    account.act, _ = stops_at(1_500_000)
    status = await rig.download("s3://far/a", timeout="500ms")
    assert (status.progress.failed, rig.content(), rig.uploads()) == (1, None, 0)
    assert account.closed == 1
    assert "took longer than 0.5 s" in status.progress.errors[0].error


@with_rig()
async def test_one_that_has_come_when_its_time_is_over_is_not_asked_for_again(rig: Rig) -> None:
    account = await with_account(rig)
    account.closing_s = 5.0
    status = await rig.download("s3://far/a", timeout="500ms")
    assert (status.progress.finished, rig.content()) == (1, LARGE)
    assert account.asked == [Asked(0, None, "")]


def storing() -> list[str]:
    """The tasks that store bytes of a large object."""
    running = map(repr, asyncio.all_tasks())
    return [task for task in running if "Piece." in task]


@with_rig(config=dataclasses.replace(CONFIG, part_bytes=512 * 1024))
async def test_nobody_waits_for_the_bytes_of_connections_that_brought_none(rig: Rig) -> None:
    account = await with_account(rig)

    async def act(number: int, place: int) -> None:
        if number in (2, 3):
            raise SourceFailed("not now", status=400)
        await slowly(number, place)

    account.act = act
    gc.disable()
    try:
        status = await rig.download("s3://far/a")
        assert (status.progress.finished, storing()) == (1, [])
    finally:
        gc.enable()
    assert len(account.asked) > 3


@with_rig()
async def test_its_parts_are_dropped_when_somebody_else_has_brought_it(rig: Rig) -> None:
    account = await with_account(rig)
    account.act, go_on = stops_at(1_500_000)
    far = Bucket("far", "aws")
    job_id = await filling(rig)
    await parts(rig, 4, far)
    name = ObjectName(rig.buckets.find(far).number, b"a")
    draft = rig.engine.draft(name)
    for pending in (draft.write(LARGE), draft.finish()):
        await done(pending)
    about = await account.head("far", "a")
    await rig.engine.commit(name, draft, attributes_of(about, "aws", about.digests))

    async def act(_number: int, _place: int) -> None:
        raise SourceUnreachable("the line is bad")

    account.act = act
    go_on.set()
    assert (await rig.ended(job_id)).progress.skipped == 1
    assert (rig.engine.uploads(name.bucket), storing()) == ([], [])


@with_rig()
async def test_a_source_may_tell_other_digests_later(rig: Rig) -> None:
    account = await with_account(rig)
    account.act, go_on = stops_at(1_500_000)
    job_id = await rig.single("s3://far/a")
    await parts(rig, 4, Bucket("b"))
    await rig.stop()
    account.more_digests = {"crc32": f"{zlib.crc32(LARGE):08x}"}
    go_on.set()
    rig.start()
    assert (await rig.ended(job_id)).progress.errors == ()
    assert rig.content() == LARGE


@with_rig(config=dataclasses.replace(CONFIG, part_bytes=512 * 1024))
async def test_a_source_that_knows_no_ranges_is_read_over_one_connection(rig: Rig) -> None:
    account = await with_account(rig)
    account.keeps_ranges = False
    reading = set()

    async def act(number: int, place: int) -> None:
        reading.add(number)
        await slowly(number, place)

    account.act = act
    status = await rig.download("s3://far/a")
    assert (status.progress.finished, rig.content()) == (1, LARGE)
    assert len(account.asked) > 1
    assert reading == {1}
