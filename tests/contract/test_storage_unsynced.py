"""Payload files that are not synced at once: served while the machine is up, checked after another boot."""

import asyncio
import os
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from aisle.config import StorageConfig
from aisle.errors import CorruptObject, Unavailable
from aisle.model.names import ObjectName
from aisle.model.record import Attributes, Files, decode_record, encode_record
from aisle.storage import read_disk, unsynced
from aisle.storage.generation import payload_path
from aisle.storage.local import LocalEngine
from aisle.storage.tables import open_index
from aisle.storage.uploads import decode_part, encode_part
from contract.storage_contract import put, read, written
from support.storage import running_committer

NEVER = StorageConfig(data_sync="never", unlink_delay_s=0.0)
DELAYED = StorageConfig(data_sync="delayed")
NAMES = [ObjectName(3, b"k%d" % number) for number in range(4)]
CONTENT = {name: b"%d" % number * 100_000 for number, name in enumerate(NAMES)}


def on(
    paths: list[Path], config: StorageConfig, act: Callable[[LocalEngine], Coroutine[None, None, None]]
) -> None:
    """Do something with an engine over the mountpaths."""
    with running_committer(paths, config=config) as committer:

        async def main() -> None:
            engine = committer.engine()
            await act(engine)
            await engine.close()

        asyncio.run(main())


async def fill(engine: LocalEngine) -> None:
    await engine.open_bucket(3)
    await put(engine, ObjectName(3, b"small"), b"1")
    for name, content in CONTENT.items():
        await put(engine, name, content)
        stored = engine.open(name)
        assert stored is not None
        stored.close()
        assert stored.record.boot_id


def boot_ids(engine: LocalEngine) -> set[str]:
    """The boot ids of all objects."""
    found = set()
    for name in NAMES:
        held = engine.look_up(name)
        assert held is not None
        found.add(held.record.boot_id)
    return found


def reboot(path: Path, *, losing: ObjectName) -> None:
    """Make it so that all was written before the machine's last start, and that one lost its bytes."""
    tables = open_index(path, writable=True, map_size_bytes=1 << 30)
    with tables.environment.begin(write=True) as transaction:
        for key, encoded in list(transaction.cursor(tables.objects)):
            record = decode_record(encoded)
            if not isinstance(record.payload, Files):
                assert not record.boot_id
                continue
            changed = msgspec.structs.replace(record, boot_id="earlier")
            transaction.put(key, encode_record(changed), db=tables.objects)
            if key.endswith(losing.key):
                file = path / payload_path(record.payload.segments[0].generation)
                file.write_bytes(bytes(file.stat().st_size))
    tables.close()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that the committer does."""
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.02)


def test_what_a_power_cut_damaged_is_never_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "data"
    on([path], NEVER, fill)
    reboot(path, losing=NAMES[2])

    async def look(engine: LocalEngine) -> None:
        for name, content in CONTENT.items():
            if name == NAMES[2]:
                with pytest.raises(CorruptObject):
                    engine.open(name)
            else:
                assert read(engine, name) == content
        # The committer has them all verified in the background.
        await until(lambda: boot_ids(engine) == {"", "damaged"})
        with pytest.raises(CorruptObject):
            engine.open(NAMES[2])
        await put(engine, NAMES[2], b"again" * 10_000)
        assert read(engine, NAMES[2]) == b"again" * 10_000

    on([path], NEVER, look)


def test_a_large_payload_waits_for_its_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "data"
    on([path], NEVER, fill)
    reboot(path, losing=NAMES[2])
    monkeypatch.setattr(read_disk, "VERIFIED_BYTES_MAX", 10)

    async def look(engine: LocalEngine) -> None:
        answers = set()
        for name in NAMES:
            try:
                assert read(engine, name) == CONTENT[name]
            except (Unavailable, CorruptObject) as error:
                answers.add(type(error))
        assert answers <= {Unavailable, CorruptObject}
        await until(lambda: boot_ids(engine) == {"", "damaged"})
        assert read(engine, NAMES[1]) == CONTENT[NAMES[1]]

    on([path], NEVER, look)


async def put_synced(engine: LocalEngine, name: ObjectName, sync: str) -> str:
    """Write a large object with a policy of its own; the boot id of its record."""
    draft = engine.draft(name, size=100_000, sync=sync)
    for _ in range(2):
        if (pending := draft.write(os.urandom(50_000))) is not None:
            await pending
    if (finishing := draft.finish()) is not None:
        await finishing
    return (await engine.commit(name, draft, Attributes())).boot_id


def test_a_write_may_have_a_policy_of_its_own(tmp_path: Path) -> None:
    async def delayed(engine: LocalEngine) -> None:
        await engine.open_bucket(3)
        never, later, now, usual = NAMES
        assert await put_synced(engine, never, "never")
        assert await put_synced(engine, later, "delayed")
        assert await put_synced(engine, now, "immediate") == ""
        assert await put_synced(engine, usual, "") == ""

        def unsynced_names() -> list[ObjectName]:
            return [name for name in NAMES if (held := engine.look_up(name)) and held.record.boot_id]

        await until(lambda: later not in unsynced_names())
        assert unsynced_names() == [never]
        # Overwritten with another policy, it is what the last write was.
        assert await put_synced(engine, never, "immediate") == ""
        assert boot_ids(engine) == {""}

    async def at_once(engine: LocalEngine) -> None:
        assert await put_synced(engine, NAMES[0], "immediate") == ""
        assert await put_synced(engine, NAMES[1], "")

    on([tmp_path / "data"], StorageConfig(), delayed)
    on([tmp_path / "data"], NEVER, at_once)


def test_what_is_never_synced_hides_nothing_from_what_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "data"
    on([path], NEVER, fill)
    monkeypatch.setattr(unsynced, "SCANNED_MAX", 2)
    tables = open_index(path, writable=True, map_size_bytes=1 << 30)
    with tables.environment.begin(write=True) as transaction:
        last = max(transaction.cursor(tables.unsynced).iternext(values=False))
        transaction.put(last, b"", db=tables.unsynced)
    disk = SimpleNamespace(tables=tables)
    found, steps, after = [], 0, b""
    while not steps or after:
        part, after = unsynced._find(disk, after, delayed=True)  # type: ignore[arg-type]
        found += part
        steps += 1
    assert [each.key for each in found] == [last]
    assert steps == 2
    tables.close()


def reboot_parts(path: Path, numbers: set[int], *, losing: int) -> None:
    """Make it so that these parts were written before the machine's last start, and one lost its bytes."""
    tables = open_index(path, writable=True, map_size_bytes=1 << 30)
    with tables.environment.begin(write=True) as transaction:
        for key, encoded in list(transaction.cursor(tables.parts)):
            stored = decode_part(encoded)
            if stored.part.number in numbers:
                earlier = msgspec.structs.replace(stored, boot_id="earlier")
                transaction.put(key, encode_part(earlier), db=tables.parts)
            if stored.part.number == losing:
                file = path / payload_path(stored.segment.generation)
                file.write_bytes(bytes(file.stat().st_size))
    tables.close()


@pytest.mark.parametrize(
    ("config", "earlier", "losing"),
    [(NEVER, {1}, 1), (NEVER, {2}, 0), (DELAYED, {2}, 2), (DELAYED, {1, 2}, 0)],
)
def test_parts_from_before_a_power_cut_are_verified_when_they_are_completed(
    tmp_path: Path, config: StorageConfig, earlier: set[int], losing: int
) -> None:
    path, name, uploads = tmp_path / "data", NAMES[0], []
    contents = [os.urandom(90_000), os.urandom(80_000)]

    async def begin(engine: LocalEngine) -> None:
        await engine.open_bucket(3)
        upload = await engine.begin_upload(name, Attributes())
        for number, content in enumerate(contents, start=1):
            await engine.commit_part(upload, number, await written(engine, name, content), Attributes())
        uploads.append(upload)

    async def complete(engine: LocalEngine) -> None:
        await asyncio.sleep(0.2)  # what is there at the start has been looked at
        record = await engine.complete_upload(uploads[0], [1, 2], Attributes())
        assert record.boot_id == "earlier"
        expected = "damaged" if losing else ""
        await until(lambda: (held := engine.look_up(name)) is not None and held.record.boot_id == expected)
        if losing:
            with pytest.raises(CorruptObject):
                engine.open(name)
        else:
            assert read(engine, name) == b"".join(contents)

    on([path], config, begin)
    reboot_parts(path, earlier, losing=losing)
    on([path], config, complete)


def test_a_delayed_sync_comes(tmp_path: Path) -> None:
    async def look(engine: LocalEngine) -> None:
        await fill(engine)
        upload = await engine.begin_upload(NAMES[0], Attributes())
        await engine.commit_part(upload, 1, await written(engine, NAMES[0], os.urandom(90_000)), Attributes())
        await engine.complete_upload(upload, [1], Attributes())
        assert len(boot_ids(engine)) == 1
        await until(lambda: boot_ids(engine) == {""})

    on([tmp_path / "data"], DELAYED, look)
