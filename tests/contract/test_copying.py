"""Copies within the node, over the engine in memory and over disks."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import pytest

from aisle.errors import BucketNotFound, ConditionFailed, CorruptObject, ObjectNotFound
from aisle.model.bucket import BucketInfo, BucketProperties, changed
from aisle.model.names import Bucket, ObjectName
from aisle.model.record import ABSENT, Attributes, Condition, Record
from aisle.storage.generation import payload_path
from aisle.storage.hashing import hex_digest
from aisle.storage.local import LocalEngine
from aisle.storage.memory import MemoryEngine
from aisle.target.copying import Copier, CopyTerms, Place
from support.storage import CommitterProcess, running_committer

SIZES = (0, 1, 10_000, 16_384, 16_385, 3_000_000)
numbers = itertools.count(1000)

Engine = LocalEngine | MemoryEngine
MakeEngine = Callable[[], Engine]


@pytest.fixture(scope="module")
def committer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommitterProcess]:
    folder = tmp_path_factory.mktemp("copying")
    with running_committer([folder / name for name in "ab"]) as process:
        yield process


@pytest.fixture(params=["memory", "disks"])
def make_engine(request: pytest.FixtureRequest, committer: CommitterProcess) -> MakeEngine:
    ticks = itertools.count(1)
    return committer.engine if request.param == "disks" else lambda: MemoryEngine(lambda: next(ticks))


def run(make_engine: Callable[[], Engine], test: Callable[[Engine], Awaitable[None]]) -> None:
    async def main() -> None:
        engine = make_engine()
        try:
            await test(engine)
        finally:
            await engine.close()

    asyncio.run(main())


async def bucket(engine: Engine, **properties: object) -> BucketInfo:
    number = next(numbers)
    await engine.open_bucket(number)
    return BucketInfo(Bucket(f"b{number}"), number, changed(BucketProperties(), dict(properties)))


async def put(engine: Engine, place: Place, payload: bytes, attributes: Attributes) -> Record:
    draft = engine.draft(place.name, size=len(payload))
    if pending := draft.write(payload):
        await pending
    if pending := draft.finish():
        await pending
    return await engine.commit(place.name, draft, attributes)


def read(engine: Engine, name: ObjectName) -> bytes:
    stored = engine.open(name)
    assert stored is not None
    try:
        return stored.inline if stored.inline is not None else b"".join(_pieces(stored.segments))
    finally:
        stored.close()


def _pieces(segments: Sequence[tuple[int, int, int]]) -> Iterator[bytes]:
    for fd, offset, length in segments:
        with open(f"/proc/self/fd/{fd}", "rb") as file:
            file.seek(offset)
            yield file.read(length)


@pytest.mark.parametrize("size", SIZES)
def test_a_copy_has_the_bytes_and_what_the_writer_said(make_engine: MakeEngine, size: int) -> None:
    async def test(engine: Engine) -> None:
        source, to = Place(await bucket(engine), b"a"), Place(await bucket(engine), b"dir/b")
        payload = bytes(range(256)) * (size // 256 + 1)
        payload = payload[:size]
        said = Attributes(
            checksum_type="xxhash2",
            checksum_value=hex_digest("xxhash2", payload),
            content_type="image/png",
            custom={"source": "web"},
            user={"mine": "1"},
            version="7",
        )
        await put(engine, source, payload, said)
        copy = await Copier(engine).copy(source, to)
        assert read(engine, to.name) == payload
        assert copy.attributes == msgspec.structs.replace(said, version="1")
        assert (await Copier(engine).copy(source, to)).attributes.version == "2"
        await engine.remove(source.name)
        assert read(engine, to.name) == payload

    run(make_engine, test)


@pytest.mark.parametrize("size", SIZES)
def test_a_copy_carries_the_checksum_of_its_own_bucket(make_engine: MakeEngine, size: int) -> None:
    async def test(engine: Engine) -> None:
        payload = b"y" * size
        source = Place(await bucket(engine), b"a")
        to = Place(await bucket(engine, checksum={"type": "md5"}, versioning={"enabled": False}), b"a")
        await put(engine, source, payload, Attributes())
        copy = await Copier(engine).copy(source, to, CopyTerms(digests=("sha256",)))
        assert copy.attributes.checksum_type == "md5"
        assert copy.attributes.checksum_value == hex_digest("md5", payload)
        assert copy.attributes.digests == {"sha256": hex_digest("sha256", payload)}
        assert copy.attributes.version == ""
        none = Place(await bucket(engine, checksum={"type": "none"}), b"a")
        copy = await Copier(engine).copy(to, none)
        assert (copy.attributes.checksum_type, copy.attributes.checksum_value) == ("", "")

    run(make_engine, test)


@pytest.mark.parametrize("size", [10, 100_000])
def test_what_cannot_be_copied_changes_nothing(make_engine: MakeEngine, size: int) -> None:
    async def test(engine: Engine) -> None:
        source, to = Place(await bucket(engine), b"a"), Place(await bucket(engine), b"b")
        copier = Copier(engine)
        with pytest.raises(ObjectNotFound, match=r"ais://b[0-9]+/a does not exist"):
            await copier.copy(source, to)
        await put(engine, source, b"s" * size, Attributes())
        await put(engine, to, b"kept", Attributes())

        def absent(_: Record | None) -> Condition:
            return ABSENT

        with pytest.raises(ConditionFailed):
            await copier.copy(source, to, CopyTerms(condition=absent))

        def refuse(_: Record) -> Attributes:
            raise ConditionFailed("not this one")

        with pytest.raises(ConditionFailed, match="not this one"):
            await copier.copy(source, to, CopyTerms(attributes=refuse))
        assert read(engine, to.name) == b"kept"
        closed = msgspec.structs.replace(to.bucket, number=next(numbers))
        with pytest.raises(BucketNotFound):
            await copier.copy(source, Place(closed, b"x"))

    run(make_engine, test)


@pytest.mark.parametrize("size", [10, 100_000])
def test_a_moved_object_is_in_its_new_place_only(make_engine: MakeEngine, size: int) -> None:
    async def test(engine: Engine) -> None:
        where = await bucket(engine)
        source, to = Place(where, b"a"), Place(where, b"b")
        await put(engine, source, b"m" * size, Attributes(custom={"k": "v"}))
        await Copier(engine).move(source, to)
        assert read(engine, to.name) == b"m" * size
        assert engine.look_up(source.name) is None
        assert engine.counts(where.number) == (1, size)
        with pytest.raises(ObjectNotFound):
            await Copier(engine).move(source, to)

    run(make_engine, test)


def test_a_damaged_source_is_not_copied(committer: CommitterProcess) -> None:
    async def test(engine: Engine) -> None:
        source, to = Place(await bucket(engine), b"a"), Place(await bucket(engine), b"b")
        payload = b"p" * 2_000_000
        said = Attributes(checksum_type="md5", checksum_value=hex_digest("md5", payload))
        record = await put(engine, source, payload, said)
        held = engine.look_up(source.name)
        assert held is not None
        with (Path(held.mountpath) / payload_path(record.generation)).open("r+b") as file:
            file.seek(1_000_000)
            file.write(b"X")
        with pytest.raises(CorruptObject, match="was not copied"):
            await Copier(engine).copy(source, to)
        assert engine.look_up(to.name) is None

    run(lambda: committer.engine(), test)
