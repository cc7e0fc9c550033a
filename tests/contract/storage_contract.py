"""What every storage engine promises. Subclass `EngineContract` and give it an `engine` fixture."""

import asyncio
import functools
import hashlib
import inspect
import itertools
import os
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeVar

import pytest
import xxhash

from aisle.errors import (
    AisleError,
    BadRequest,
    BucketNotEmpty,
    ConditionFailed,
    InvalidPart,
    NotFound,
    Unsupported,
    UploadNotFound,
)
from aisle.model.names import ObjectName
from aisle.model.record import (
    ABSENT,
    ANY,
    COUNTED,
    PRESENT,
    Attributes,
    Condition,
    Record,
    decode_listed,
    decode_record,
)
from aisle.storage.engine import BucketCounts, Draft, EngineLifecycle, OpenPayload, StorageEngine, UploadStore

INLINE = 16 * 1024
SIZES = (0, 1, 4079, 4080, 4081, INLINE - 1, INLINE, INLINE + 1, 1_000_000, 3 * 1024 * 1024 + 17)

_bucket_numbers = itertools.count(1_000)


class Engine(StorageEngine, UploadStore, EngineLifecycle, Protocol):
    """All three seams; an engine is one object."""


Result = TypeVar("Result")
MakeEngine = Callable[[], Engine]


def with_engine(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an asynchronous test with an engine made inside its event loop and closed at the end."""

    async def run(self: object, make_engine: MakeEngine, arguments: dict[str, object]) -> None:
        engine = make_engine()
        try:
            await test(self, engine, **arguments)
        finally:
            await engine.close()

    def plain(self: object, make_engine: MakeEngine, **arguments: object) -> None:
        asyncio.run(asyncio.wait_for(run(self, make_engine, arguments), 60))

    functools.update_wrapper(plain, test)
    parameters = list(inspect.signature(test).parameters.values())
    parameters[1] = parameters[1].replace(name="make_engine", annotation=MakeEngine)
    plain.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    del plain.__wrapped__  # type: ignore[attr-defined]
    return plain


async def until_done(step: Awaitable[None] | None) -> None:
    """Wait for what a draft's step returned, if anything."""
    if step is not None:
        await step


async def written(
    engine: Engine,
    name: ObjectName,
    payload: bytes,
    *,
    chunk: int = 100_000,
    digests: tuple[str, ...] = (),
    hint: bool = True,
) -> Draft:
    """A finished draft that holds `payload`."""
    draft = engine.draft(name, size=len(payload) if hint else None, digests=digests)
    try:
        for start in range(0, len(payload), chunk):
            await until_done(draft.write(payload[start : start + chunk]))
        await until_done(draft.finish())
    except AisleError:
        draft.abort()
        raise
    return draft


async def put(
    engine: Engine,
    name: ObjectName,
    payload: bytes,
    attributes: Attributes | None = None,
    *,
    condition: Condition = ANY,
) -> Record:
    """Write an object the ordinary way."""
    draft = await written(engine, name, payload)
    return await engine.commit(name, draft, attributes or Attributes(), condition=condition)


def content(stored: OpenPayload) -> bytes:
    """The payload of an opened object."""
    if stored.inline is not None:
        assert not stored.segments
        return stored.inline
    return b"".join(os.pread(part.fd, part.length, part.offset) for part in stored.segments)


def read(engine: Engine, name: ObjectName) -> bytes | None:
    """An object's bytes, or None."""
    stored = engine.open(name)
    if stored is None:
        return None
    try:
        assert len(content(stored)) == stored.record.size
        return content(stored)
    finally:
        stored.close()


def keys(engine: Engine, bucket: int, **how: Any) -> list[bytes]:
    """The keys of one page."""
    return [entry.key for entry in engine.scan(bucket, **{"limit": 1000, **how}).entries]


async def new_bucket(engine: Engine) -> int:
    """A number no other test uses, opened."""
    number = next(_bucket_numbers)
    await engine.open_bucket(number)
    return number


class EngineContract:
    """Every promise of StorageEngine, UploadStore and EngineLifecycle."""

    @pytest.fixture
    def make_engine(self) -> MakeEngine:
        raise NotImplementedError

    # Writing and reading

    @pytest.mark.parametrize("size", SIZES)
    @with_engine
    async def test_what_was_written_is_read(self, engine: Engine, size: int) -> None:
        name = ObjectName(await new_bucket(engine), b"a/b")
        payload = os.urandom(size)
        attributes = Attributes(
            checksum_type="md5", content_type="text/plain", custom={"source": "web"}, user={"k": "v"}
        )
        record = await put(engine, name, payload, attributes)
        assert record.size == size
        assert record.attributes == attributes
        stored = engine.open(name)
        assert stored is not None
        assert stored.record == record
        assert content(stored) == payload
        stored.close()
        stored.close()

    @pytest.mark.parametrize("chunk", [1, 777, 4080, 50_000])
    @with_engine
    async def test_chunks_of_any_length_make_the_same_object(self, engine: Engine, chunk: int) -> None:
        name = ObjectName(await new_bucket(engine), b"x")
        payload = os.urandom(40_000)
        kinds = ("xxhash", "xxhash2", "md5", "sha256", "sha512")
        draft = await written(engine, name, payload, chunk=chunk, digests=kinds, hint=False)
        assert draft.size == len(payload)
        assert draft.digest("xxhash2") == draft.digest("xxhash") == xxhash.xxh64(payload).hexdigest()
        for kind in ("md5", "sha256", "sha512"):
            assert draft.digest(kind) == hashlib.new(kind, payload).hexdigest()
        await engine.commit(name, draft, Attributes())
        assert read(engine, name) == payload

    @with_engine
    async def test_a_digest_nobody_knows_is_refused(self, engine: Engine) -> None:
        name = ObjectName(await new_bucket(engine), b"x")
        with pytest.raises(Unsupported):
            engine.draft(name, digests=["crc99"])

    @with_engine
    async def test_nothing_is_found_before_it_is_written(self, engine: Engine) -> None:
        bucket = await new_bucket(engine)
        assert engine.open(ObjectName(bucket, b"x")) is None
        assert engine.open(ObjectName(next(_bucket_numbers), b"x")) is None

    @pytest.mark.parametrize("size", [10, 100_000])
    @with_engine
    async def test_an_abandoned_draft_leaves_no_trace(self, engine: Engine, size: int) -> None:
        bucket = await new_bucket(engine)
        name = ObjectName(bucket, b"x")
        for stop_early in (True, False):
            draft = engine.draft(name, size=size)
            await until_done(draft.write(os.urandom(size)))
            if not stop_early:
                await until_done(draft.finish())
            draft.abort()
            draft.abort()
        assert engine.open(name) is None
        assert keys(engine, bucket) == []
        assert engine.counts(bucket) == BucketCounts(0, 0)

    @pytest.mark.parametrize("sizes", [(10, 20), (10, 100_000), (100_000, 10), (100_000, 200_000)])
    @with_engine
    async def test_an_overwritten_object_stays_readable_to_who_opened_it(
        self, engine: Engine, sizes: tuple[int, int]
    ) -> None:
        name = ObjectName(await new_bucket(engine), b"x")
        first, second = (os.urandom(size) for size in sizes)
        old = await put(engine, name, first)
        stored = engine.open(name)
        assert stored is not None
        new = await put(engine, name, second)
        assert read(engine, name) == second
        assert content(stored) == first
        stored.close()
        assert new.sequence > old.sequence
        assert new.generation != old.generation

    @pytest.mark.parametrize("size", [5, INLINE + 1, 3 * 1024 * 1024])
    @with_engine
    async def test_a_copy_can_keep_the_time_of_its_source(self, engine: Engine, size: int) -> None:
        name, payload = ObjectName(await new_bucket(engine), b"x"), os.urandom(size)
        draft = await written(engine, name, payload)
        if draft.filed:
            with open(draft.path, "rb") as file:  # noqa: ASYNC230 - a few megabytes, in a test
                assert file.read(draft.filed) == payload[: draft.filed]
        assert b"".join([chunk async for chunk in draft.content()]) == payload
        record = await engine.commit(name, draft, Attributes(), written_ns=1_234_567_890)
        assert record.written_ns == 1_234_567_890
        held = engine.look_up(name)
        assert held is not None
        assert held.record == record
        page = engine.scan(name.bucket, limit=1)
        assert page.entries[0].encoded is not None
        assert decode_listed(page.entries[0].encoded).written_ns == 1_234_567_890

    @with_engine
    async def test_a_removed_object_is_gone(self, engine: Engine) -> None:
        bucket = await new_bucket(engine)
        for size in (10, 100_000):
            name = ObjectName(bucket, b"x")
            await put(engine, name, os.urandom(size))
            assert await engine.remove(name) is True
            assert await engine.remove(name) is False
            assert engine.open(name) is None
            assert keys(engine, bucket) == []

    @with_engine
    async def test_what_was_begun_before_a_removal_that_lasts_does_not_bring_it_back(
        self, engine: Engine
    ) -> None:
        bucket = await new_bucket(engine)
        name, other = ObjectName(bucket, b"x"), ObjectName(bucket, b"y")
        for size in (10, 100_000):
            for was_there in (False, True):
                if was_there:
                    await put(engine, name, b"older")
                place = engine.place()
                begun = ABSENT._replace(since=place)
                await put(engine, other, os.urandom(size), condition=ANY._replace(since=place))
                assert await engine.remove(name, lasts=True) is was_there
                with pytest.raises(ConditionFailed):
                    await put(engine, name, os.urandom(size), condition=begun)
                assert engine.open(name) is None
                # Others are not concerned, nor is what begins afterwards, nor what does not ask.
                await put(engine, other, os.urandom(size), condition=ANY._replace(since=place))
                await put(engine, name, b"newer", condition=ABSENT._replace(since=engine.place()))
                assert read(engine, name) == b"newer"
                assert await engine.remove(name) is True
                await put(engine, name, b"unasked")
                assert await engine.remove(name) is True
                await put(
                    engine, name, b"after a plain removal", condition=ABSENT._replace(since=engine.place())
                )
                assert await engine.remove(name) is True

    # Conditions

    @with_engine
    async def test_conditions_on_an_absent_object(self, engine: Engine) -> None:
        name = ObjectName(await new_bucket(engine), b"x")
        some = Condition(generation=b"g" * 16)
        for condition in (PRESENT, some):
            with pytest.raises(ConditionFailed):
                await put(engine, name, b"1", condition=condition)
            with pytest.raises(ConditionFailed):
                await engine.remove(name, condition=condition)
            with pytest.raises(ConditionFailed):
                await engine.amend(name, Attributes(), condition=condition)
        assert engine.open(name) is None
        await put(engine, name, b"1", condition=ABSENT)
        assert read(engine, name) == b"1"

    @with_engine
    async def test_conditions_on_a_present_object(self, engine: Engine) -> None:
        name = ObjectName(await new_bucket(engine), b"x")
        first = await put(engine, name, b"1")
        for condition in (ABSENT, Condition(generation=b"g" * 16)):
            with pytest.raises(ConditionFailed):
                await put(engine, name, b"2", condition=condition)
            with pytest.raises(ConditionFailed):
                await engine.remove(name, condition=condition)
        assert read(engine, name) == b"1"
        second = await put(engine, name, b"2", condition=Condition(generation=first.generation))
        with pytest.raises(ConditionFailed):
            await engine.remove(name, condition=Condition(generation=first.generation))
        await put(engine, name, b"3", condition=PRESENT)
        assert second.generation != first.generation
        assert await engine.remove(name, condition=PRESENT) is True

    @with_engine
    async def test_of_many_writers_that_want_it_absent_one_wins(self, engine: Engine) -> None:
        name = ObjectName(await new_bucket(engine), b"x")
        writers = [put(engine, name, b"%d" % number, condition=ABSENT) for number in range(20)]
        results = await asyncio.gather(*writers, return_exceptions=True)
        won = [number for number, result in enumerate(results) if isinstance(result, Record)]
        assert len(won) == 1
        assert all(isinstance(result, Record | ConditionFailed) for result in results)
        assert read(engine, name) == b"%d" % won[0]

    @with_engine
    async def test_one_name_written_by_many_ends_as_the_last_in_order(self, engine: Engine) -> None:
        bucket = await new_bucket(engine)
        name = ObjectName(bucket, b"x")
        payloads = [os.urandom(10 + 3000 * number) for number in range(12)]
        records = await asyncio.gather(*(put(engine, name, payload) for payload in payloads))
        last = max(range(12), key=lambda number: records[number].sequence)
        assert len({record.sequence for record in records}) == 12
        assert read(engine, name) == payloads[last]
        assert engine.counts(bucket) == BucketCounts(1, len(payloads[last]))

    # Attributes

    @with_engine
    async def test_amending_can_require_that_nobody_else_has(self, engine: Engine) -> None:
        name = ObjectName(await new_bucket(engine), b"k")
        seen = await engine.put_small(name, b"x", Attributes())
        same = Condition(generation=seen.generation, sequence=seen.sequence)
        amended = await engine.amend(name, Attributes(content_type="a/b"), condition=same)
        with pytest.raises(ConditionFailed):
            await engine.amend(name, Attributes(content_type="c/d"), condition=same)
        held = engine.look_up(name)
        assert held is not None
        assert held.record == amended

    @pytest.mark.parametrize("size", [10, 100_000])
    @with_engine
    async def test_amending_changes_attributes_and_nothing_else(self, engine: Engine, size: int) -> None:
        bucket = await new_bucket(engine)
        name = ObjectName(bucket, b"x")
        payload = os.urandom(size)
        old = await put(engine, name, payload, Attributes(content_type="text/plain"))
        new = Attributes(custom={"color": "red"})
        changed = await engine.amend(name, new, condition=Condition(generation=old.generation))
        assert changed.attributes == new
        assert (changed.generation, changed.written_ns, changed.payload, changed.size) == (
            old.generation,
            old.written_ns,
            old.payload,
            old.size,
        )
        assert changed.sequence > old.sequence
        stored = engine.open(name)
        assert stored is not None
        assert stored.record == changed
        assert content(stored) == payload
        stored.close()
        assert engine.counts(bucket) == BucketCounts(1, size)
        await put(engine, name, b"new")
        with pytest.raises(ConditionFailed):
            await engine.amend(name, new, condition=Condition(generation=old.generation))

    # Names

    @with_engine
    async def test_names_are_exact_and_in_byte_order(self, engine: Engine) -> None:
        bucket = await new_bucket(engine)
        texts = ["a", "a/b", "a//b", "a/", "dir/", "/lead", " ", "%41", "a+b", "😀", "a\x00b", "é", "é"]
        names = [text.encode() for text in texts]
        stem = b"n" * 479
        # Around every limit of the index, and siblings in exactly that neighbourhood.
        names += [stem, stem + b"x", stem + b"xy", stem + b"x" * 481, stem + b"x" * 482, stem + b"y"]
        names += [b"n" * length for length in (480, 481, 959, 960, 961, 962, 1023, 1024)]
        names += [b"n" * 480 + b"\x00", b"n" * 480 + b"\xc2\xbf", b"n" * 480 + b"/x", b"n" * 960 + b"\x00z"]
        names = list(dict.fromkeys(names))
        for name in names:
            await put(engine, ObjectName(bucket, name), name[-50:])
        assert all(read(engine, ObjectName(bucket, name)) == name[-50:] for name in names)
        assert keys(engine, bucket) == sorted(names)
        paged: list[bytes] = []
        while page := keys(engine, bucket, after=paged[-1] if paged else b"", limit=3):
            paged += page
        assert paged == sorted(names)
        for prefix in (b"n", b"n" * 480, b"n" * 481, b"n" * 960, b"n" * 961, b"n" * 1024, b"a/", stem + b"x"):
            expected = sorted(name for name in names if name.startswith(prefix))
            assert keys(engine, bucket, prefix=prefix) == expected
        for name in names:
            assert await engine.remove(ObjectName(bucket, name)) is True
        assert keys(engine, bucket) == []
        assert engine.counts(bucket) == BucketCounts(0, 0)

    # Listing

    @with_engine
    async def test_a_scan_gives_pages_with_records(self, engine: Engine) -> None:
        bucket = await new_bucket(engine)
        other = await new_bucket(engine)
        await put(engine, ObjectName(other, b"k5"), b"elsewhere")
        records = [await put(engine, ObjectName(bucket, b"k%d" % n), b"x" * n) for n in range(10)]
        page = engine.scan(bucket, limit=4)
        assert [entry.key for entry in page.entries] == [b"k0", b"k1", b"k2", b"k3"]
        assert page.more
        assert [decode_record(entry.encoded or b"") for entry in page.entries] == records[:4]
        assert decode_listed(page.entries[3].encoded or b"").size == 3
        assert engine.scan(bucket, limit=4, after=b"k5").entries[-1].key == b"k9"
        assert not engine.scan(bucket, limit=4, after=b"k5").more
        assert not engine.scan(bucket, limit=10).more
        assert keys(engine, bucket, prefix=b"k9") == [b"k9"]
        assert keys(engine, bucket, prefix=b"k9", after=b"k9") == []
        assert keys(engine, bucket, prefix=b"k", after=b"a") == [b"k%d" % n for n in range(10)]
        assert keys(engine, bucket, prefix=b"z") == []
        assert keys(engine, bucket, prefix=b"a") == []

    @with_engine
    async def test_a_delimiter_collapses_common_prefixes(self, engine: Engine) -> None:
        bucket = await new_bucket(engine)
        names = [b"a", b"a/1", b"a/2/x", b"a//b", b"b/", b"b/1", b"c", b"c0", b"d/e/f", b"d/e/g", b"z"]
        for name in names:
            await put(engine, ObjectName(bucket, name), name)

        def flat(**how: Any) -> list[bytes]:
            return keys(engine, bucket, delimiter=b"/", **how)

        assert flat() == [b"a", b"a/", b"b/", b"c", b"c0", b"d/", b"z"]
        assert flat(prefix=b"a/") == [b"a//", b"a/1", b"a/2/"]
        assert flat(prefix=b"d/e") == [b"d/e/"]
        assert flat(after=b"a/") == [b"b/", b"c", b"c0", b"d/", b"z"]
        assert flat(after=b"b/") == [b"c", b"c0", b"d/", b"z"]
        assert flat(after=b"c") == [b"c0", b"d/", b"z"]
        assert flat(after=b"a/1") == [b"a/", b"b/", b"c", b"c0", b"d/", b"z"]
        assert keys(engine, bucket, delimiter=b"0") == sorted(names)
        entries = engine.scan(bucket, limit=1000, delimiter=b"/").entries
        assert [entry.key for entry in entries if entry.encoded is None] == [b"a/", b"b/", b"d/"]
        paged: list[bytes] = []
        more = True
        while more:
            page = engine.scan(bucket, limit=2, after=paged[-1] if paged else b"", delimiter=b"/")
            paged += [entry.key for entry in page.entries]
            more = page.more
        assert paged == flat()

    @with_engine
    async def test_a_long_listing_has_every_name_once(self, engine: Engine) -> None:
        bucket = await new_bucket(engine)
        names = [b"%s/%04d" % (kind, number) for kind in (b"a", b"b", b"b-") for number in range(150)]
        await asyncio.gather(*(put(engine, ObjectName(bucket, name), name) for name in names))
        for limit in (1, 7, 100, 449, 450, 451):
            paged: list[bytes] = []
            more = True
            while more and (limit > 5 or len(paged) < 20):
                page = engine.scan(bucket, limit=limit, after=paged[-1] if paged else b"")
                paged += [entry.key for entry in page.entries]
                more = page.more
            assert paged == sorted(names)[: len(paged)]
        assert keys(engine, bucket, delimiter=b"/") == [b"a/", b"b-/", b"b/"]
        assert engine.counts(bucket) == BucketCounts(450, sum(map(len, names)))

    # Buckets

    @pytest.mark.parametrize("size", [10, INLINE + 1])
    @with_engine
    async def test_counted_versions_are_exact_however_writers_overlap(
        self, engine: Engine, size: int
    ) -> None:
        name = ObjectName(await new_bucket(engine), b"n" * 600)
        other = Attributes(version=COUNTED, etag="e" * 40, fields={"expires": "x" * 300})
        drafts = [await written(engine, name, os.urandom(size)) for _ in range(40)]
        commits = [
            engine.commit(name, draft, other if number % 2 else Attributes(version=COUNTED))
            for number, draft in enumerate(drafts)
        ]
        records = sorted(await asyncio.gather(*commits), key=lambda record: record.sequence)
        assert [record.attributes.version for record in records] == [str(n) for n in range(1, 41)]
        held = engine.look_up(name)
        assert held is not None
        assert held.record == records[-1]
        assert {record.attributes.etag for record in records} == {"", "e" * 40}
        assert read(engine, name) is not None

    @with_engine
    async def test_a_counted_version_counts_on_from_numbers_only(self, engine: Engine) -> None:
        bucket = await new_bucket(engine)
        for number, (before, after) in enumerate([("", "1"), ("41", "42"), ("99", "100"), ("v1.2", "1")]):
            name = ObjectName(bucket, b"k%d" % number)
            await put(engine, name, b"old", Attributes(version=before))
            record = await put(engine, name, b"new", Attributes(version=COUNTED, content_type="a/b"))
            assert (record.attributes.version, record.attributes.content_type) == (after, "a/b")
        # What was removed is forgotten: the name begins anew.
        await engine.remove(name)
        assert (await put(engine, name, b"", Attributes(version=COUNTED))).attributes.version == "1"

    @with_engine
    async def test_completed_uploads_are_counted_too(self, engine: Engine) -> None:
        name = ObjectName(await new_bucket(engine), b"u")
        for expected in ("1", "2"):
            upload = await engine.begin_upload(name, Attributes())
            draft = await written(engine, name, b"part")
            await engine.commit_part(upload, 1, draft, Attributes())
            record = await engine.complete_upload(upload, [1], Attributes(version=COUNTED))
            assert record.attributes.version == expected
        assert (await put(engine, name, b"x", Attributes(version=COUNTED))).attributes.version == "3"

    @with_engine
    async def test_a_bucket_that_is_not_open_takes_nothing(self, engine: Engine) -> None:
        number = next(_bucket_numbers)
        name = ObjectName(number, b"x")
        for size in (1, 100_000):
            with pytest.raises(NotFound):
                await put(engine, name, os.urandom(size))
        with pytest.raises(NotFound):
            await engine.begin_upload(name, Attributes())
        assert engine.open(name) is None
        await engine.open_bucket(number)
        await engine.open_bucket(number)
        await put(engine, name, b"1")
        await engine.open_bucket(number)
        assert read(engine, name) == b"1"

    @with_engine
    async def test_a_bucket_closes_only_if_empty_when_asked(self, engine: Engine) -> None:
        bucket = await new_bucket(engine)
        name = ObjectName(bucket, b"x")
        await put(engine, name, b"1")
        with pytest.raises(BucketNotEmpty):
            await engine.close_bucket(bucket, only_if_empty=True)
        await put(engine, name, b"2")
        await engine.remove(name)
        await engine.close_bucket(bucket, only_if_empty=True)
        with pytest.raises(NotFound):
            await put(engine, name, b"3")

    @with_engine
    async def test_a_closed_bucket_loses_all_it_held(self, engine: Engine) -> None:
        bucket = await new_bucket(engine)
        kept = await new_bucket(engine)
        await put(engine, ObjectName(kept, b"x"), b"1")
        for number in range(50):
            await put(engine, ObjectName(bucket, b"x%d" % number), b"1" * 500 * number)
        upload = await engine.begin_upload(ObjectName(bucket, b"u"), Attributes())
        await engine.close_bucket(bucket, only_if_empty=False)
        with pytest.raises(NotFound):
            await put(engine, ObjectName(bucket, b"y"), b"3")
        for _ in range(500):
            if not keys(engine, bucket) and not engine.uploads(bucket):
                break
            await asyncio.sleep(0.02)
        assert keys(engine, bucket) == []
        with pytest.raises(UploadNotFound):
            engine.parts(upload.id)
        assert engine.counts(bucket) == BucketCounts(0, 0)
        assert keys(engine, kept) == [b"x"]

    @with_engine
    async def test_counts_are_exact(self, engine: Engine) -> None:
        bucket = await new_bucket(engine)
        for round_ in range(3):
            sizes = [10, 5000, 40_000]
            for number, size in enumerate(sizes):
                await put(engine, ObjectName(bucket, b"k%d" % number), b"x" * (size + round_))
            assert engine.counts(bucket) == BucketCounts(3, sum(sizes) + 3 * round_)
        await engine.remove(ObjectName(bucket, b"k0"))
        assert engine.counts(bucket) == BucketCounts(2, 5002 + 40_002)

    # Uploads

    @with_engine
    async def test_parts_become_an_object_in_the_given_order(self, engine: Engine) -> None:
        bucket = await new_bucket(engine)
        name = ObjectName(bucket, b"big")
        upload = await engine.begin_upload(name, Attributes(content_type="a/b"))
        assert engine.uploads(bucket) == [upload]
        assert engine.find_upload(upload.id) == upload
        payloads = {1: os.urandom(50_000), 2: os.urandom(70_000), 5: os.urandom(10), 7: os.urandom(16_385)}
        for number in (5, 1, 7, 2):
            draft = await written(engine, name, payloads[number], digests=("md5",))
            digest = draft.digest("md5")
            part = await engine.commit_part(upload, number, draft, Attributes(digests={"md5": digest}))
            assert (part.number, part.size) == (number, len(payloads[number]))
        assert [part.number for part in engine.parts(upload.id)] == [1, 2, 5, 7]
        assert engine.open(name) is None
        assert engine.counts(bucket) == BucketCounts(0, 0)
        record = await engine.complete_upload(upload, [1, 5, 2], Attributes(content_type="c/d"))
        payload = payloads[1] + payloads[5] + payloads[2]
        assert record.size == len(payload)
        assert read(engine, name) == payload
        assert engine.uploads(bucket) == []
        assert engine.counts(bucket) == BucketCounts(1, len(payload))
        for act in (
            lambda: engine.complete_upload(upload, [1], Attributes()),
            lambda: engine.abandon_upload(upload.id),
        ):
            with pytest.raises(UploadNotFound):
                await act()
        with pytest.raises(UploadNotFound):
            engine.find_upload(upload.id)
        await put(engine, name, b"over")
        assert read(engine, name) == b"over"

    @with_engine
    async def test_a_part_written_again_replaces_the_earlier_one(self, engine: Engine) -> None:
        name = ObjectName(await new_bucket(engine), b"big")
        upload = await engine.begin_upload(name, Attributes())
        for payload in (b"a" * 50_000, b"b" * 60_000):
            await engine.commit_part(upload, 1, await written(engine, name, payload), Attributes())
        assert [part.size for part in engine.parts(upload.id)] == [60_000]
        await engine.complete_upload(upload, [1], Attributes())
        assert read(engine, name) == b"b" * 60_000

    @with_engine
    async def test_a_part_written_again_since_it_was_seen_is_not_completed(self, engine: Engine) -> None:
        name = ObjectName(await new_bucket(engine), b"big")
        upload = await engine.begin_upload(name, Attributes())
        for number in (1, 2):
            await engine.commit_part(upload, number, await written(engine, name, b"a"), Attributes())
        seen = engine.parts(upload.id)
        await engine.commit_part(upload, 2, await written(engine, name, b"b"), Attributes())
        with pytest.raises(InvalidPart):
            await engine.complete_upload(upload, [1, 2], Attributes(), as_seen=seen)
        assert engine.open(name) is None
        await engine.complete_upload(upload, [1, 2], Attributes(), as_seen=engine.parts(upload.id))
        assert read(engine, name) == b"ab"

    @with_engine
    async def test_an_upload_is_completed_as_of_a_time_and_brings_nothing_back_that_was_removed(
        self, engine: Engine
    ) -> None:
        name = ObjectName(await new_bucket(engine), b"big")
        upload = await engine.begin_upload(name, Attributes())
        await engine.commit_part(upload, 1, await written(engine, name, b"a" * 50_000), Attributes())
        begun = ABSENT._replace(since=engine.place())
        assert await engine.remove(name, lasts=True) is False
        with pytest.raises(ConditionFailed):
            await engine.complete_upload(upload, [1], Attributes(), condition=begun)
        assert engine.open(name) is None
        now = ABSENT._replace(since=engine.place())
        record = await engine.complete_upload(upload, [1], Attributes(), condition=now, written_ns=12_345)
        held = engine.look_up(name)
        assert held is not None
        assert record.written_ns == held.record.written_ns == 12_345
        assert read(engine, name) == b"a" * 50_000

    @with_engine
    async def test_a_committed_part_can_be_read_and_stays_readable(self, engine: Engine) -> None:
        name = ObjectName(await new_bucket(engine), b"big")
        upload = await engine.begin_upload(name, Attributes())
        payloads = [b"small", b"large" * 20_000]
        for number, payload in enumerate(payloads, start=1):
            await engine.commit_part(upload, number, await written(engine, name, payload), Attributes())
        opened = [engine.open_part(upload.id, number) for number in (1, 2)]
        assert engine.open_part(upload.id, 3) is None
        await engine.abandon_upload(upload.id)
        for part, payload in zip(opened, payloads, strict=True):
            assert part is not None
            assert content(part) == payload
            part.close()
            part.close()
        with pytest.raises(UploadNotFound):
            engine.open_part(upload.id, 1)

    @with_engine
    async def test_an_abandoned_upload_is_gone(self, engine: Engine) -> None:
        bucket = await new_bucket(engine)
        name = ObjectName(bucket, b"big")
        upload = await engine.begin_upload(name, Attributes())
        await engine.commit_part(upload, 1, await written(engine, name, b"x" * 50_000), Attributes())
        await engine.abandon_upload(upload.id)
        with pytest.raises(UploadNotFound):
            engine.parts(upload.id)
        with pytest.raises(UploadNotFound):
            await engine.commit_part(upload, 2, await written(engine, name, b"x"), Attributes())
        assert engine.uploads(bucket) == []
        assert engine.open(name) is None

    @with_engine
    async def test_completing_checks_parts_and_condition(self, engine: Engine) -> None:
        bucket = await new_bucket(engine)
        name = ObjectName(bucket, b"big")
        upload = await engine.begin_upload(name, Attributes())
        await engine.commit_part(upload, 1, await written(engine, name, b"x" * 50_000), Attributes())
        with pytest.raises(InvalidPart):
            await engine.complete_upload(upload, [1, 2], Attributes())
        with pytest.raises(BadRequest):
            await engine.complete_upload(upload, [], Attributes())
        with pytest.raises(ConditionFailed):
            await engine.complete_upload(upload, [1], Attributes(), condition=PRESENT)
        assert [part.number for part in engine.parts(upload.id)] == [1]
        await engine.complete_upload(upload, [1], Attributes(), condition=ABSENT)
        assert read(engine, name) == b"x" * 50_000

    @with_engine
    async def test_uploads_are_listed_by_name(self, engine: Engine) -> None:
        bucket = await new_bucket(engine)
        other = await new_bucket(engine)
        begun = [
            await engine.begin_upload(ObjectName(bucket, key), Attributes()) for key in (b"b", b"a", b"b")
        ]
        await engine.begin_upload(ObjectName(other, b"a"), Attributes())
        assert engine.uploads(bucket) == [begun[1], begun[0], begun[2]], "by name, then by time"

    # Looking up

    @with_engine
    async def test_looking_up_tells_the_record_and_notes_no_access(self, engine: Engine) -> None:
        name = ObjectName(await new_bucket(engine), b"x")
        assert engine.look_up(name) is None
        record = await put(engine, name, b"1" * 100_000)
        held = engine.look_up(name)
        assert held is not None
        assert held.record == record
        assert engine.accessed_ns(name) == 0
        await engine.remove(name)
        assert engine.look_up(name) is None

    # Access times

    @with_engine
    async def test_an_object_never_read_has_no_access_time(self, engine: Engine) -> None:
        name = ObjectName(await new_bucket(engine), b"x")
        await put(engine, name, b"1")
        assert engine.accessed_ns(name) == 0
