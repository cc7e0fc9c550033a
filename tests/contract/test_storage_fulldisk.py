"""A full mountpath refuses what adds, keeps everything, deletes, and recovers."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aisle.config import StorageConfig
from aisle.errors import OutOfSpace
from aisle.model.names import ObjectName
from aisle.model.record import Attributes, Condition
from aisle.storage.fsck import fsck
from aisle.storage.local import LocalEngine
from contract.storage_contract import keys, put, read, written
from support import volumes
from support.storage import running_committer

CONFIG = StorageConfig(unlink_delay_s=0.2, reserve_bytes=1024 * 1024)
DISK_BYTES = 48 * 1024 * 1024


@contextmanager
def disk(kind: str, root: Path) -> Iterator[None]:
    """A small file system at `root`."""
    if kind == "tmpfs":
        with volumes.tmpfs(root, size_bytes=DISK_BYTES):
            yield
    else:
        with volumes.disk_folder() as disks:
            image = volumes.new_image(disks / "disk", size_bytes=DISK_BYTES)
            with volumes.mounted(image, root):
                yield


async def fill(engine: LocalEngine, size: int, *, most: int = 20_000) -> dict[bytes, bytes]:
    """Write objects of a size until the disk is full; what was acknowledged."""
    kept: dict[bytes, bytes] = {}
    refusals = 0
    numbers = iter(range(most))

    async def write() -> None:
        nonlocal refusals
        for number in numbers:
            key, content = b"%d/%06d" % (size, number), os.urandom(size)
            try:
                await put(engine, ObjectName(4, key), content)
                kept[key] = content
            except OutOfSpace:
                refusals += 1
                if refusals > 40:
                    return

    await asyncio.gather(*(write() for _ in range(8)))
    assert refusals > 0
    return kept


def check(engine: LocalEngine, kept: dict[bytes, bytes]) -> None:
    """Everything acknowledged is there, and nothing else."""
    assert keys(engine, 4, limit=30_000) == sorted(kept)
    for key, content in kept.items():
        assert read(engine, ObjectName(4, key)) == content


@pytest.mark.root
@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
@pytest.mark.parametrize("filler", ["payloads", "index", "foreign"])
def test_a_full_disk_loses_nothing_and_recovers(tmp_path: Path, kind: str, filler: str) -> None:
    root = tmp_path / "mount"
    root.mkdir()
    paths = [root / "data"]
    foreign = root / "foreign"
    kept: dict[bytes, bytes] = {}

    async def fill_up(engine: LocalEngine) -> None:
        await engine.open_bucket(4)
        if filler == "foreign":
            kept.update({b"early/%d" % number: os.urandom(9_000) for number in range(200)})
            for key, content in kept.items():
                await put(engine, ObjectName(4, key), content)
            with foreign.open("wb", buffering=0) as file:
                try:
                    while file.write(bytes(65_536)):
                        pass
                except OSError:
                    pass
        kept.update(await fill(engine, {"payloads": 500_000, "index": 9_000, "foreign": 12_000}[filler]))
        kept.update(await fill(engine, 30_000))
        kept.update(await fill(engine, 5_000))
        check(engine, kept)

    async def go_on(engine: LocalEngine) -> None:
        check(engine, kept)
        upload_refused = 0
        try:
            upload = await engine.begin_upload(ObjectName(4, b"u"), Attributes())
            await engine.abandon_upload(upload.id)
        except OutOfSpace:
            upload_refused += 1
        # Deletes go on, in number, and so does what takes no room of its own.
        for key in sorted(kept)[::2]:
            assert await engine.remove(ObjectName(4, key)) is True
            del kept[key]
        check(engine, kept)
        foreign.unlink(missing_ok=True)
        name = ObjectName(4, b"back")
        # What an index took from the disk comes back by compacting it; until then small objects fit in.
        back = b"x" * (9_000 if filler == "index" else 20_000)
        for attempt in range(200):
            try:
                record = await put(engine, name, back)
                break
            except OutOfSpace:
                assert attempt < 199
                await asyncio.sleep(0.1)
        await engine.amend(
            name, Attributes(content_type="a/b"), condition=Condition(generation=record.generation)
        )
        kept[b"back"] = back
        if filler != "index":
            await rewrite_in_parts(engine, name)
            kept[b"back"] = b"x" * 20_000 + b"y"
        check(engine, kept)

    async def rewrite_in_parts(engine: LocalEngine, name: ObjectName) -> None:
        upload = await engine.begin_upload(name, Attributes())
        for number, content in ((1, b"x" * 20_000), (2, b"y")):
            await engine.commit_part(upload, number, await written(engine, name, content), Attributes())
        await engine.complete_upload(upload, [1, 2], Attributes())

    with disk(kind, root):
        for act in (fill_up, go_on):
            with running_committer(paths, config=CONFIG) as committer:

                async def main() -> None:
                    engine = committer.engine()
                    await act(engine)  # noqa: B023
                    await engine.close()

                asyncio.run(main())
        assert fsck(paths).findings == []


def test_an_index_whose_map_is_full_refuses_what_adds(tmp_path: Path) -> None:
    config = StorageConfig(map_size_bytes=24 * 1024 * 1024, unlink_delay_s=0.0)

    async def main() -> None:
        engine = committer.engine()
        await engine.open_bucket(4)
        kept = await fill(engine, 12_000)
        check(engine, kept)
        for key in sorted(kept)[:400]:
            await engine.remove(ObjectName(4, key))
            del kept[key]
        await put(engine, ObjectName(4, b"back"), b"1" * 12_000)
        kept[b"back"] = b"1" * 12_000
        check(engine, kept)
        await engine.close()

    with running_committer([tmp_path / "data"], config=config) as committer:
        asyncio.run(main())
