"""What is told of the space of real mountpaths, and of the use of what lies there."""

import asyncio
import os
import shutil
from collections.abc import Callable, Coroutine
from pathlib import Path

from aisle.config import StorageConfig
from aisle.model.names import ObjectName
from aisle.model.record import Attributes
from aisle.storage.access_notes import READ_MAX
from aisle.storage.engine import BucketCounts
from aisle.storage.local import LocalEngine
from contract.storage_contract import put
from support.storage import running_committer

BUCKET = 7
LARGE = 300_000


def on(folder: Path, act: Callable[[LocalEngine, str], Coroutine[None, None, None]]) -> None:
    """Do something with an engine over one mountpath whose removed files stay."""
    with running_committer([folder], config=StorageConfig(unlink_delay_s=600.0)) as committer:

        async def main() -> None:
            engine = committer.engine()
            await engine.open_bucket(BUCKET)
            await act(engine, engine.space.mountpaths()[0])
            await engine.close()

        asyncio.run(main())


def name(key: str) -> ObjectName:
    return ObjectName(BUCKET, key.encode())


def unlink_payloads(mountpath: str) -> None:
    for file in Path(mountpath, "data").glob("*/*/*"):
        os.unlink(file)


async def everything_sent(engine: LocalEngine) -> None:
    """What was noted is in the table: the committer has answered a later change."""
    engine._notes.flush()
    await engine.remove(name("nothing"))


def test_usage_is_that_of_the_file_system(tmp_path: Path) -> None:
    async def act(engine: LocalEngine, mountpath: str) -> None:
        usage, disk = engine.space.usage(mountpath), shutil.disk_usage(tmp_path)
        assert abs(usage.used - disk.used) < 1 << 30
        assert abs(usage.total - (disk.used + disk.free)) < 1 << 30
        assert (usage.leaving, usage.reusable) == (0, 0)

    on(tmp_path / "data", act)


def test_files_of_removed_objects_are_leaving_until_they_are_unlinked(tmp_path: Path) -> None:
    async def act(engine: LocalEngine, mountpath: str) -> None:
        for number in range(3):
            await put(engine, name(f"{number}"), b"x" * LARGE)
        assert engine.space.usage_in_detail(mountpath).leaving == 0
        await engine.remove(name("0"))
        await put(engine, name("1"), b"y" * LARGE)
        assert 2 * LARGE <= engine.space.usage_in_detail(mountpath).leaving < 3 * LARGE
        unlink_payloads(mountpath)
        assert engine.space.usage_in_detail(mountpath).leaving == 0

    on(tmp_path / "data", act)


def test_pages_that_small_objects_gave_back_can_be_used_again(tmp_path: Path) -> None:
    async def act(engine: LocalEngine, mountpath: str) -> None:
        for number in range(400):
            await put(engine, name(f"{number}"), b"x" * 16_000)
        before = engine.space.usage_in_detail(mountpath).reusable
        await asyncio.gather(*(engine.remove(name(f"{number}")) for number in range(400)))
        after = engine.space.usage_in_detail(mountpath).reusable
        assert after - before > 300 * 16_000
        assert engine.space.reusable(mountpath) == after

    on(tmp_path / "data", act)


def test_objects_are_told_in_order_with_their_last_use(tmp_path: Path) -> None:
    async def act(engine: LocalEngine, mountpath: str) -> None:
        keys = sorted(["a", "b/c", "b%2", "ü", "n" * 700, "z//"], key=str.encode)
        for key in keys:
            await put(engine, name(key), key.encode())
        await engine.open_bucket(BUCKET + 1)
        await put(engine, ObjectName(BUCKET + 1, b"other"), b"")
        engine.note_access(name("b/c"))
        engine.note_access(name("n" * 700))
        stored = engine.open(name("ü"))
        assert stored is not None
        stored.close()
        await everything_sent(engine)
        told = engine.space.aged(mountpath, BUCKET, after=b"", limit=100)
        assert [each.key.decode() for each in told] == keys
        used = {each.key.decode() for each in told if each.used_ns}
        assert used == {"b/c", "n" * 700, "ü"}
        assert all(each.used_ns == engine.accessed_ns(ObjectName(BUCKET, each.key)) for each in told)
        assert max(each.record.sequence for each in told) <= engine.space.last_sequence(mountpath)
        paged = engine.space.aged(mountpath, BUCKET, after=b"", limit=2)
        paged += engine.space.aged(mountpath, BUCKET, after=paged[-1].key, limit=100)
        assert paged == told
        assert engine.space.counts(mountpath, BUCKET) == BucketCounts(
            6, sum(len(key.encode()) for key in keys)
        )
        assert engine.space.counts(mountpath, 99) == BucketCounts(0, 0)
        assert engine.space.mountpath_of(name("a")) == mountpath

    on(tmp_path / "data", act)


def test_what_keeps_the_time_of_another_place_counts_as_used_when_it_is_stored(tmp_path: Path) -> None:
    async def act(engine: LocalEngine, mountpath: str) -> None:
        for key, written_ns in (("copy", 5), ("own", 0)):
            draft = engine.draft(name(key))
            draft.write(b"x")
            draft.finish()
            await engine.commit(name(key), draft, Attributes(), written_ns=written_ns)
        await everything_sent(engine)
        used = {each.key: each.used_ns for each in engine.space.aged(mountpath, BUCKET, after=b"", limit=9)}
        assert used[b"own"] == 0
        assert used[b"copy"] > 10**18

    on(tmp_path / "data", act)


def test_of_many_uses_none_of_a_copy_is_left_out(tmp_path: Path) -> None:
    async def act(engine: LocalEngine, _mountpath: str) -> None:
        for key in ("own", "copy"):
            await put(engine, name(key), b"x")
        for number in range(READ_MAX):
            engine._notes.add_read(b"%d" % number)
        for opened in (engine.open(name("own")), engine.open_noted(name("copy"))):
            assert opened is not None
            opened.close()
        assert engine.open_noted(name("nothing")) is None
        await everything_sent(engine)
        assert engine.accessed_ns(name("own")) == 0
        assert engine.accessed_ns(name("copy")) > 10**18
        assert engine.accessed_ns(name("nothing")) == 0

    on(tmp_path / "data", act)


def test_uses_are_remembered_over_a_restart(tmp_path: Path) -> None:
    async def use(engine: LocalEngine, _mountpath: str) -> None:
        await put(engine, name("a"), b"x")
        engine.note_access(name("a"))

    async def look(engine: LocalEngine, mountpath: str) -> None:
        [told] = engine.space.aged(mountpath, BUCKET, after=b"", limit=9)
        assert told.used_ns > 10**18

    on(tmp_path / "data", use)
    on(tmp_path / "data", look)
