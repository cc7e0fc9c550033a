"""Objects stay readable, and are listed once, while the set of mountpaths changes."""

import asyncio
import os
import shutil
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aisle.errors import ConditionFailed, MountpathMissing, NotFound, StartError
from aisle.model.names import ObjectName
from aisle.model.record import ABSENT, ANY, COUNTED, Attributes, Condition
from aisle.storage.engine import BucketCounts
from aisle.storage.fsck import fsck
from aisle.storage.keys import pack_bucket
from aisle.storage.local import LocalEngine
from aisle.storage.tables import open_index
from aisle.storage.transaction import (
    BUCKET_CLOSED,
    BUCKET_CLOSING,
    BucketState,
    decode_bucket,
    encode_bucket,
)
from contract.storage_contract import content, keys, put, read, written
from support.storage import CommitterProcess, running_committer

OBJECTS = 1_000
OTHER = Condition(generation=b"?" * 16)

Run = Callable[[Callable[[LocalEngine], Coroutine[None, None, None]]], None]


def payload(number: int) -> bytes:
    """What object `number` holds: every tenth is a file."""
    size = 20_000 if number % 10 == 0 else 300
    return (b"%06d" % number) * (size // 6)


def check(engine: LocalEngine, bucket: int) -> None:
    """Every object is there, with its bytes, once."""
    listed = keys(engine, bucket, limit=OBJECTS + 10)
    assert listed == [b"k%06d" % number for number in range(OBJECTS)]
    for number in range(0, OBJECTS, 7):
        assert read(engine, ObjectName(bucket, b"k%06d" % number)) == payload(number)
    total = sum(len(payload(number)) for number in range(OBJECTS))
    assert engine.counts(bucket) == BucketCounts(OBJECTS, total)


async def fill(engine: LocalEngine, bucket: int) -> None:
    await engine.open_bucket(bucket)
    numbers = iter(range(OBJECTS))

    async def write() -> None:
        for number in numbers:
            await put(engine, ObjectName(bucket, b"k%06d" % number), payload(number))

    await asyncio.gather(*(write() for _ in range(16)))


def shares(paths: list[Path]) -> list[int]:
    """How many payload files each mountpath has."""
    return [sum(len(files) for _, _, files in os.walk(path / "data")) for path in paths]


def is_settled(engine: LocalEngine) -> bool:
    """Whether the committer has found every object on its owner."""
    found = set()
    for disk in engine._disks:
        with disk.tables.environment.begin() as transaction:
            found.add(transaction.get(b"settled", db=disk.tables.state))
    ids = " ".join(disk.mountpath.id for disk in engine._disks).encode()
    return found == {ids}


async def settled(engine: LocalEngine, check: Callable[[], None] = lambda: None) -> None:
    """Wait until every object lies on its owner; `check` is called meanwhile."""
    until = time.monotonic() + 60
    while not is_settled(engine):
        assert time.monotonic() < until
        check()
        await asyncio.sleep(0.02)


@contextmanager
def mounted(paths: list[Path], **how: bool) -> Iterator[tuple[CommitterProcess, Run]]:
    """A committer over mountpaths, and a way to run something with an engine over them."""
    with running_committer(paths, **how) as committer:

        def run(act: Callable[[LocalEngine], Coroutine[None, None, None]]) -> None:
            async def main() -> None:
                engine = committer.engine()
                await act(engine)
                await engine.close()

            asyncio.run(main())

        yield committer, run


def test_objects_are_read_and_listed_once_while_mountpaths_are_added(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in "abc"]

    async def grown(engine: LocalEngine) -> None:
        check(engine, 5)
        await settled(engine, lambda: check(engine, 5))
        check(engine, 5)

    with mounted(paths[:1]) as (_, run):
        run(lambda engine: fill(engine, 5))
    for many in (2, 3):
        with mounted(paths[:many]) as (_, run):
            run(grown)
        assert all(share > 10 for share in shares(paths[:many]))


def test_what_is_misplaced_can_be_changed_like_anything_else(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in "abc"]
    names = [ObjectName(5, b"k%06d" % number) for number in range(OBJECTS)]

    async def change(engine: LocalEngine) -> None:
        for number, name in enumerate(names):
            stored = engine.open(name)
            assert stored is not None
            stored.close()
            current = Condition(generation=stored.record.generation)
            match number % 5:
                case 0:
                    await put(engine, name, b"new", condition=current)
                case 1:
                    assert await engine.remove(name, condition=current)
                case 2:
                    await engine.amend(name, Attributes(content_type="a/b"), condition=current)
                case 3:
                    for act in (
                        put(engine, name, b"x", condition=ABSENT),
                        engine.remove(name, condition=OTHER),
                    ):
                        with pytest.raises(ConditionFailed):
                            await act
        changed(engine)
        await settled(engine, lambda: changed(engine))
        changed(engine)

    def changed(engine: LocalEngine) -> None:
        left = [number for number in range(OBJECTS) if number % 5 != 1]
        assert keys(engine, 5, limit=OBJECTS) == [names[number].key for number in left]
        total = 0
        for number in left:
            expected = b"new" if number % 5 == 0 else payload(number)
            total += len(expected)
            if number % 3 == 0:
                stored = engine.open(names[number])
                assert stored is not None
                assert content(stored) == expected
                assert stored.record.attributes.content_type == ("a/b" if number % 5 == 2 else "")
                stored.close()
        assert engine.counts(5) == BucketCounts(len(left), total)

    with mounted(paths[:1]) as (_, run):
        run(lambda engine: fill(engine, 5))
    with mounted(paths) as (_, run):
        run(change)


def test_what_is_changed_while_it_is_copied_moves_later_and_leaves_nothing(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in "ab"]
    names = [ObjectName(5, b"k%d" % number) for number in range(6)]

    async def write(engine: LocalEngine) -> None:
        await engine.open_bucket(5)
        for name in names:
            await put(engine, name, bytes(8_000_000))

    async def change(engine: LocalEngine) -> None:
        # Copying takes longer: so many bytes are not copied in less than a tenth of a second.
        for number, name in enumerate(names):
            if number % 3 == 0:
                await engine.remove(name)
            elif number % 3 == 1:
                await put(engine, name, b"new" * 10_000)
            else:
                await engine.amend(name, Attributes(content_type="a/b"), condition=ANY)
        await settled(engine)
        assert keys(engine, 5, limit=10) == [b"k1", b"k2", b"k4", b"k5"]
        for number in (1, 2, 4, 5):
            assert read(engine, names[number]) == (b"new" * 10_000 if number % 3 == 1 else bytes(8_000_000))

    with mounted(paths[:1]) as (_, run):
        run(write)
    with mounted(paths) as (_, run):
        run(change)
    assert fsck(paths).findings == []


def test_versions_count_on_from_objects_that_are_misplaced(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in "abc"]
    names = [ObjectName(5, b"v%03d" % number) for number in range(60)]
    counted = Attributes(version=COUNTED)

    async def first(engine: LocalEngine) -> None:
        await engine.open_bucket(5)
        for name in names:
            assert (await put(engine, name, b"old", counted)).attributes.version == "1"

    async def again(engine: LocalEngine) -> None:
        for number, name in enumerate(names):
            if number % 2:
                record = await put(engine, name, b"new" * (9_000 if number % 3 == 0 else 1), counted)
            else:
                upload = await engine.begin_upload(name, Attributes())
                await engine.commit_part(upload, 1, await written(engine, name, b"new"), Attributes())
                record = await engine.complete_upload(upload, [1], counted)
            assert record.attributes.version == "2"

    with mounted(paths[:1]) as (_, run):
        run(first)
    with mounted(paths) as (_, run):
        run(again)


def test_an_upload_outlives_a_change_of_mountpaths(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in "abcd"]
    names = [ObjectName(5, b"u%d" % number) for number in range(8)]
    begun = {}

    async def begin(engine: LocalEngine) -> None:
        await engine.open_bucket(5)
        for name in names:
            await put(engine, name, b"old")
            begun[name] = upload = await engine.begin_upload(name, Attributes())
            await engine.commit_part(upload, 1, await written(engine, name, b"1" * 30_000), Attributes())

    async def complete(engine: LocalEngine) -> None:
        for name, upload in begun.items():
            await engine.commit_part(upload, 2, await written(engine, name, b"2" * 30_000), Attributes())
            await engine.complete_upload(upload, [1, 2], Attributes())
            assert read(engine, name) == b"1" * 30_000 + b"2" * 30_000
        assert keys(engine, 5) == [name.key for name in names]
        assert engine.counts(5) == BucketCounts(8, 8 * 60_000)

    with mounted(paths[:1]) as (_, run):
        run(begin)
    with mounted(paths) as (_, run):
        run(complete)


def test_a_missing_mountpath_is_named(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in "ab"]
    with running_committer(paths):
        pass
    with pytest.raises(MountpathMissing, match=str(paths[1])), running_committer(paths[:1]):
        pass
    # An empty folder in its place is a disk that was not mounted.
    shutil.rmtree(paths[1])
    with pytest.raises(MountpathMissing, match=str(paths[1])), running_committer(paths):
        pass
    with running_committer(paths[:1], accept_missing=True):
        pass
    with running_committer(paths[:1]):
        pass


def test_a_lost_disk_loses_only_its_own_objects(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in "ab"]
    kept: list[bytes] = []

    async def write(engine: LocalEngine) -> None:
        await fill(engine, 5)

    async def look(engine: LocalEngine) -> None:
        kept.extend(keys(engine, 5, limit=OBJECTS))
        assert 0 < len(kept) < OBJECTS
        for key in kept:
            assert read(engine, ObjectName(5, key)) == payload(int(key[1:]))
        await put(engine, ObjectName(5, b"new"), b"1")

    with mounted(paths) as (_, run):
        run(write)
    shutil.rmtree(paths[1])
    with mounted(paths[:1], accept_missing=True) as (_, run):
        run(look)


def test_a_start_leaves_totals_alone_that_are_right(tmp_path: Path) -> None:
    """Workers count while a committer that died is started again: not half of what it would change."""
    paths = [tmp_path / name for name in "ab"]

    def totals() -> list[bytes]:
        found = []
        for path in paths:
            tables = open_index(path, writable=False, map_size_bytes=1 << 30)
            with tables.environment.begin() as transaction:
                found.append(transaction.get(pack_bucket(5), db=tables.buckets))
            tables.close()
        return found

    with mounted(paths[:1]) as (_, run):
        run(lambda engine: fill(engine, 5))
    with mounted(paths) as (_, run):
        run(settled)
    before = totals()
    states = [decode_bucket(encoded) for encoded in before]
    assert sum(state.objects for state in states) == OBJECTS
    assert states[0].extra_objects == -states[1].extra_objects < 0
    with mounted(paths) as (committer, _):
        committer.wait_ready()
    assert totals() == before


def test_totals_are_right_when_a_disk_is_lost_to_which_objects_were_moved(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in "ab"]
    with mounted(paths[:1]) as (_, run):
        run(lambda engine: fill(engine, 5))
    with mounted(paths) as (_, run):
        run(settled)
    shutil.rmtree(paths[1])

    async def look(engine: LocalEngine) -> None:
        left = keys(engine, 5, limit=OBJECTS)
        total = sum(len(payload(int(key[1:]))) for key in left)
        assert 0 < len(left) < OBJECTS
        assert engine.counts(5) == BucketCounts(len(left), total)

    with mounted(paths[:1], accept_missing=True) as (committer, run):
        committer.wait_ready()
        run(look)


def test_a_mountpath_that_was_left_out_does_not_come_back_with_old_objects(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in "ab"]
    with running_committer(paths):
        pass
    with running_committer(paths[:1], accept_missing=True):
        pass
    with pytest.raises(StartError, match="left out"), running_committer(paths):
        pass


@pytest.mark.parametrize(("left", "closes"), [(BUCKET_CLOSING, False), (BUCKET_CLOSED, True)])
def test_a_bucket_half_closed_by_a_crash_ends_as_one_or_the_other(
    tmp_path: Path, left: int, closes: bool
) -> None:
    paths = [tmp_path / name for name in "ab"]
    with mounted(paths) as (_, run):
        run(lambda engine: open_bucket(engine, 5))
    tables = open_index(paths[0], writable=True, map_size_bytes=1 << 30)
    with tables.environment.begin(write=True) as transaction:
        transaction.put(pack_bucket(5), encode_bucket(BucketState(left)), db=tables.buckets)
    tables.close()

    async def write(engine: LocalEngine) -> None:
        # Names for both mountpaths, so that one closed on either would show.
        for number in range(20):
            writing = put(engine, ObjectName(5, b"k%d" % number), b"1")
            if closes:
                with pytest.raises(NotFound):
                    await writing
            else:
                await writing

    with mounted(paths) as (_, run):
        run(write)


async def open_bucket(engine: LocalEngine, bucket: int) -> None:
    await engine.open_bucket(bucket)
