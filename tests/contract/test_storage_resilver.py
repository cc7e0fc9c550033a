"""What moves to mountpaths that were added survives whatever happens meanwhile."""

import asyncio
import errno
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import lmdb
import pytest
import xxhash
from msgspec.msgpack import encode

from aisle.config import StorageConfig
from aisle.errors import OutOfSpace
from aisle.model.names import ObjectName
from aisle.model.record import Attributes, Inline
from aisle.storage import resilver
from aisle.storage.commit import Committer
from aisle.storage.engine import BucketCounts
from aisle.storage.filesystem import free_bytes
from aisle.storage.fsck import fsck
from aisle.storage.headroom import Headroom
from aisle.storage.housekeeping import PurgeBuckets
from aisle.storage.keys import pack, pack_bucket
from aisle.storage.layout import prepare
from aisle.storage.local import LocalEngine
from aisle.storage.messages import CloseBucket, CompleteUpload, Failure, Put
from aisle.storage.operations import Request
from aisle.storage.resilver import RETRY_S, Resilver
from aisle.storage.scatter import current_record
from aisle.storage.sync import FULL, Durability
from aisle.storage.transaction import Group
from contract.storage_contract import keys, put, read, written
from contract.test_storage_mountpaths import mounted, settled
from support import volumes
from support.folders import files_below
from support.processes import wait_until

BUCKET = 5
MANY = 32
"""So many names that some belong to each of two mountpaths, whose ids are random."""
LARGE = bytes(range(100)) * 1_000
"""Not kept in the index."""


class Moving:
    """A committer of this process, which does nothing that it is not told to."""

    def __init__(self, committer: Committer, resilver: Resilver) -> None:
        self.committer = committer
        self._resilver = resilver

    def number(self, path: Path) -> int:
        """That of a mountpath."""
        return [disk.mountpath.path for disk in self.committer.disks].index(path)

    def step(self) -> float:
        """Have a little moved, and wait as long as there is to wait, but for retries; how long that is."""
        wait_s = self._resilver.step()
        time.sleep(wait_s if wait_s < RETRY_S else 0)
        return wait_s

    def settle(self) -> None:
        """Have everything moved."""
        until_s = time.monotonic() + 60
        while not self.committer.scatter.is_settled:
            assert time.monotonic() < until_s
            self.step()

    def where(self, name: ObjectName) -> list[Path]:
        """The mountpaths that have an object."""
        disks = self.committer.disks
        return [disk.mountpath.path for disk in disks if current_record(disk, pack(name)) is not None]

    def owner(self, name: ObjectName) -> Path:
        """The mountpath that is to have it."""
        return self.committer.scatter.owner(pack(name)).mountpath.path


@contextmanager
def moving(paths: list[Path], durability: Durability = FULL) -> Iterator[Moving]:
    """A committer over mountpaths to which some were added."""
    for path in paths:
        path.mkdir(exist_ok=True)
    mountpaths = prepare(paths, new_node_id=lambda: "node").mountpaths
    committer = Committer(mountpaths, config=StorageConfig(), clock=time.time_ns, durability=durability)
    executor = ThreadPoolExecutor(1)
    resilver = Resilver(committer.disks, committer.scatter, executor=executor, durability=durability)
    try:
        yield Moving(committer, resilver)
    finally:
        resilver.stop()
        executor.shutdown()
        committer.close()


def store(path: Path, names: list[ObjectName], content: bytes) -> None:
    """Put objects of that content on a mountpath, when it is the only one."""

    async def write(engine: LocalEngine) -> None:
        await engine.open_bucket(BUCKET)
        for name in names:
            await put(engine, name, content)

    with mounted([path]) as (_, run):
        run(write)


def test_what_an_upload_becomes_that_is_completed_during_a_pass_moves_too(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in "ab"]
    names = [ObjectName(BUCKET, b"u%d" % number) for number in range(MANY)]
    begun = {}

    async def begin(engine: LocalEngine) -> None:
        await engine.open_bucket(BUCKET)
        for number in range(50):  # some for each mountpath, so that there are pauses in the pass
            await put(engine, ObjectName(BUCKET, b"%d" % number), b"x")
        for name in names:
            begun[name] = upload = await engine.begin_upload(name, Attributes())
            await engine.commit_part(upload, 1, await written(engine, name, b"1" * 30_000), Attributes())

    with mounted(paths[:1]) as (_, run):
        run(begin)
    with moving(paths) as node:
        where = node.number(paths[0])
        while node.step() != RETRY_S:
            pass
        for _ in range(where + 1):  # walked through for the last time, as there is nothing to move
            assert node.step() == 0.0
        for number, name in enumerate(names):
            ident, upload = bytes([number] * 16), begun[name].id
            message = CompleteUpload(ident, where, upload, [1], Attributes(), 1, 0, None, [])
            [answer] = node.committer.execute([Request(message, memoryview(b""), False)])
            assert isinstance(answer, bytes)
        node.settle()
        for name in names:
            assert node.where(name) == [node.owner(name)]
    assert fsck(paths).findings == []


def test_what_a_killed_committer_was_copying_is_copied_again_whole(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in "ab"]
    names = [ObjectName(BUCKET, b"k%03d" % number) for number in range(200)]
    drafts = paths[1] / "drafts" / "00000000"

    async def write(engine: LocalEngine) -> None:
        await engine.open_bucket(BUCKET)
        await asyncio.gather(*(put(engine, name, name.key * 5_000) for name in names))

    async def check(engine: LocalEngine) -> None:
        await settled(engine)
        assert keys(engine, BUCKET) == [name.key for name in names]
        for name in names:
            assert read(engine, name) == name.key * 5_000

    with mounted(paths[:1]) as (_, run):
        run(write)
    with mounted(paths) as (committer, run):
        assert wait_until(lambda: len(list(drafts.glob("*"))) > 50, timeout_s=60, poll_s=0.002)
        committer.kill()
        # Sweeping then takes about as long as it does on a slow disk.
        for number in range(20_000):
            (drafts / f"{number:032x}").touch()
        committer.start()
        run(check)
    assert fsck(paths).findings == []


class Counting(Durability):
    """Counts payload files that were made durable."""

    def __init__(self) -> None:
        self.payloads = 0

    def sync_payload(self, fd: int) -> None:
        """Raises OSError."""
        self.payloads += 1
        super().sync_payload(fd)


class Broken(Group):
    """A transaction on a disk that does not keep it."""

    def commit(self, answers: object) -> None:
        """Raises lmdb.DiskError."""
        raise lmdb.DiskError("Input/output error")


class NoSync(Durability):
    """A disk that gets full at the very end of what is written."""

    def sync_payload(self, fd: int) -> None:
        """Raises OSError."""
        raise OSError(errno.ENOSPC, "No space left on device")


class NoRoom(Headroom):
    """An index that cannot grow."""

    def __init__(self) -> None:
        pass

    def require(self, added_bytes: int) -> None:
        """Raises OutOfSpace."""
        raise OutOfSpace("no space left")

    def close(self) -> None:
        """Nothing to release."""


def test_what_could_not_be_copied_leaves_nothing_on_the_mountpath(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in "ab"]
    names = [ObjectName(BUCKET, b"k%d" % number) for number in range(MANY)]
    store(paths[0], names, LARGE)
    with moving(paths, NoSync()) as node:
        while node.step() != RETRY_S:
            pass
        assert all(node.where(name) == [paths[0]] for name in names)
        assert list(files_below(paths[1] / "drafts", paths[1] / "data")) == []
    with moving(paths) as node:
        node.settle()
    assert fsck(paths).findings == []


def test_a_mountpath_without_room_holds_up_no_other(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in "abc"]
    names = [ObjectName(BUCKET, b"k%03d" % number) for number in range(600)]

    async def write(engine: LocalEngine) -> None:
        await engine.open_bucket(BUCKET)
        await asyncio.gather(
            *(put(engine, name, b"x" * (20_000 if n % 50 == 0 else 5)) for n, name in enumerate(names))
        )

    with mounted(paths[:1]) as (_, run):
        run(write)
    with moving(paths) as node:
        full = node.committer.disks[node.number(paths[1])]
        headroom, full.headroom = full.headroom, NoRoom()
        while node.step() != RETRY_S:
            pass
        for name in names:
            assert node.where(name) == [paths[0] if node.owner(name) == paths[1] else node.owner(name)]
        assert list(files_below(paths[1] / "drafts", paths[1] / "data")) == []
        assert list(files_below(paths[2] / "drafts")) == []
        full.headroom = headroom
        node.settle()
        assert all(node.where(name) == [node.owner(name)] for name in names)
    assert fsck(paths).findings == []


def test_what_a_closed_bucket_holds_is_not_copied(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in "ab"]
    names = [ObjectName(BUCKET, b"k%d" % number) for number in range(MANY)]
    store(paths[0], names, LARGE)
    durability = Counting()
    with moving(paths, durability) as node:
        message = CloseBucket(bytes(16), pack_bucket(BUCKET), only_if_empty=False)
        assert node.committer.execute([Request(message, memoryview(b""), replayed=False)]) == [None]
        for _ in range(3):
            assert node.step() < RETRY_S
        assert durability.payloads == 0
        assert not node.committer.scatter.is_settled
        for disk in node.committer.disks:
            purge = PurgeBuckets(disk)
            while purge.step() == 0.0:
                pass
        node.settle()
    assert fsck(paths).findings == []


def test_old_copies_that_could_not_be_dropped_are_dropped_later_and_not_copied_again(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in "ab"]
    names = [ObjectName(BUCKET, b"k%d" % number) for number in range(MANY)]
    store(paths[0], names, LARGE)
    durability = Counting()
    with moving(paths, durability) as node:
        while not any(len(node.where(name)) == 2 for name in names):
            node.step()
        copied = durability.payloads
        disk = node.committer.disks[node.number(paths[0])]
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(disk, "begin", lambda: Broken(disk.writer, iter(int, 1).__next__, unlink_ns=0))
            while node.step() != RETRY_S:
                pass
        node.settle()
        assert durability.payloads == copied
        assert all(node.where(name) == [node.owner(name)] for name in names)
    assert fsck(paths).findings == []


def test_a_damaged_record_holds_up_no_other(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in "ab"]
    names = [ObjectName(BUCKET, b"k%d" % number) for number in range(MANY)]
    store(paths[0], names, b"x")
    with moving(paths) as node:
        damaged = next(name for name in names if node.owner(name) == paths[1])
        disk = node.committer.disks[node.number(paths[0])]
        with disk.group() as group:
            group.transaction.put(pack(damaged), b"no record", db=group.tables.objects)
        while node.step() != RETRY_S:
            pass
        assert all(node.where(name) == [node.owner(name)] for name in names if name != damaged)


@pytest.mark.root
def test_what_does_not_fit_leaves_room_to_others(tmp_path: Path) -> None:
    paths = [tmp_path / "a", tmp_path / "small" / "b"]
    names = [ObjectName(BUCKET, b"k%d" % number) for number in range(16)]
    paths[1].parent.mkdir()
    store(paths[0], names, bytes(60_000_000))
    with volumes.tmpfs(paths[1].parent, size_bytes=50_000_000), moving(paths) as node:
        free = free_bytes(paths[1])
        while node.step() != RETRY_S:
            assert free_bytes(paths[1]) > free // 2
        assert all(node.where(name) == [paths[0]] for name in names)


def test_an_old_copy_that_stayed_at_an_overwrite_is_not_counted_after_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / name for name in "ab"]
    names = [ObjectName(BUCKET, b"k%02d" % number) for number in range(MANY)]
    monkeypatch.setattr(resilver, "BATCH_OBJECTS", 1)
    store(paths[0], names, b"old")
    with moving(paths) as node:
        last = [name for name in names if node.owner(name) == paths[1]][-1]
        generation, payload = b"g" * 16, Inline(1, xxhash.xxh3_64_digest(b"new"))
        head, tail = encode((3, 1, Attributes(), generation))[1:], encode((payload, ""))[1:]
        message = Put(generation, node.number(paths[1]), pack(last), head, tail, 3)
        disk = node.committer.disks[node.number(paths[0])]
        with monkeypatch.context() as patched:
            patched.setattr(disk, "begin", lambda: Broken(disk.writer, iter(int, 1).__next__, unlink_ns=0))
            [answer] = node.committer.execute([Request(message, memoryview(b"new"), replayed=False)])
        assert isinstance(answer, Failure)  # it is not known what became of it
        assert len(node.where(last)) == 2
        while not any(len(node.where(name)) == 2 for name in names if name != last):
            node.step()
        assert len(node.where(last)) == 2
    with moving(paths) as node:
        assert node.where(last) == [paths[1]]
        node.settle()

    async def check(engine: LocalEngine) -> None:
        assert read(engine, last) == b"new"
        assert engine.counts(BUCKET) == BucketCounts(MANY, 3 * MANY)

    with mounted(paths) as (_, run):
        run(check)
