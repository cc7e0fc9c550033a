"""Checking, repairing, compacting and copying the folders of a stopped node."""

import asyncio
import os
import shutil
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from aisle.config import StorageConfig
from aisle.errors import CorruptObject, MountpathLocked, StartError
from aisle.model.names import ObjectName
from aisle.model.record import ANY, Attributes
from aisle.storage import housekeeping, keys
from aisle.storage.commit import Committer
from aisle.storage.copies import COPIES, backup, compact, copies_of, copy_index, restore
from aisle.storage.engine import BucketCounts
from aisle.storage.findings import Finding, FindingKind
from aisle.storage.fsck import fsck
from aisle.storage.generation import payload_path
from aisle.storage.housekeeping import UnlinkRemoved
from aisle.storage.layout import open_mountpaths, prepare
from aisle.storage.local import LocalEngine
from aisle.storage.sync import FULL
from aisle.storage.tables import open_index, time_to_unlink
from aisle.storage.transaction import decode_bucket, encode_bucket
from contract.storage_contract import keys as listed
from contract.storage_contract import put, read, written
from support.folders import files_below
from support.storage import running_committer

BUCKET = 9
LARGE = {b"large/%d" % number: b"%d" % number * 50_000 for number in range(6)}
SMALL = {b"small/%d" % number: b"%d" % number * (number * 2_000) for number in range(8)}
LONG = {b"n" * 700: b"long", b"n" * 1_024: b"longest"}
PARTS = {b"parts": b"1" * 40_000 + b"2" * 30_000}
ALL = LARGE | SMALL | LONG | PARTS


def on(paths: list[Path], act: Callable[[LocalEngine], Coroutine[None, None, None]]) -> None:
    """Do something with an engine over the mountpaths."""
    with running_committer(paths) as committer:

        async def main() -> None:
            engine = committer.engine()
            await act(engine)
            await engine.close()

        asyncio.run(main())


async def fill(engine: LocalEngine) -> None:
    """Write ALL, some of it twice, with an upload left open."""
    await engine.open_bucket(BUCKET)
    for key, content in (LARGE | SMALL | LONG).items():
        await put(engine, ObjectName(BUCKET, key), b"before")
        await put(engine, ObjectName(BUCKET, key), content)
    name = ObjectName(BUCKET, b"parts")
    upload = await engine.begin_upload(name, Attributes())
    for number, content in enumerate((b"1" * 40_000, b"2" * 30_000), start=1):
        await engine.commit_part(upload, number, await written(engine, name, content), Attributes())
    await engine.complete_upload(upload, [1, 2], Attributes())
    open_upload = await engine.begin_upload(name, Attributes())
    await engine.commit_part(open_upload, 1, await written(engine, name, b"3" * 20_000), Attributes())


@pytest.fixture
def store(tmp_path: Path) -> list[Path]:
    """A stopped mountpath that holds ALL."""
    paths = [tmp_path / "data"]
    on(paths, fill)
    return paths


def expect(paths: list[Path], content: dict[bytes, bytes]) -> None:
    """The store holds exactly this."""

    async def look(engine: LocalEngine) -> None:
        assert listed(engine, BUCKET) == sorted(content)
        assert {key: read(engine, ObjectName(BUCKET, key)) for key in content} == content
        assert engine.counts(BUCKET) == BucketCounts(len(content), sum(map(len, content.values())))

    on(paths, look)


def kinds(findings: list[Finding]) -> list[FindingKind]:
    return [finding.kind for finding in findings]


def repaired(paths: list[Path]) -> list[Finding]:
    """What a repairing check found; a further check finds nothing."""
    findings = fsck(paths, repair=True).findings
    assert all(finding.action for finding in findings)
    assert fsck(paths).findings == []
    return findings


def payload_of(paths: list[Path], content: bytes) -> Path:
    """The payload file that begins with this."""
    for file in files_below(*(path / "data" for path in paths)):
        if file.read_bytes().startswith(content):
            return file
    raise AssertionError("no such payload")


def flip(file: Path, offset: int) -> None:
    """Change one bit."""
    with file.open("r+b") as handle:
        handle.seek(offset)
        byte = handle.read(1)[0]
        handle.seek(offset)
        handle.write(bytes([byte ^ 1]))


def without(*missing: bytes) -> dict[bytes, bytes]:
    return {key: content for key, content in ALL.items() if key not in missing}


def test_a_healthy_store_is_clean(store: list[Path]) -> None:
    report = fsck(store)
    assert report.findings == []
    assert (report.objects, report.bytes) == (len(ALL), sum(map(len, ALL.values())))
    expect(store, ALL)


def test_a_flipped_byte_in_a_file_is_found(store: list[Path]) -> None:
    flip(payload_of(store, LARGE[b"large/3"]), 41_234)
    found = fsck(store).findings
    assert kinds(found) == [FindingKind.DAMAGED_FILE]
    assert found[0].name == ObjectName(BUCKET, b"large/3")
    assert not found[0].action
    assert kinds(repaired(store)) == [FindingKind.DAMAGED_FILE]
    expect(store, without(b"large/3"))
    assert len(list((store[0] / "quarantine").iterdir())) == 1


def test_a_flipped_byte_in_a_small_payload_is_found_and_never_served(store: list[Path]) -> None:
    index = store[0] / "index" / "data.mdb"
    flip(index, index.read_bytes().index(SMALL[b"small/7"][:4_000]) + 123)

    async def look(engine: LocalEngine) -> None:
        with pytest.raises(CorruptObject):
            engine.open(ObjectName(BUCKET, b"small/7"))

    on(store, look)
    found = fsck(store).findings
    assert kinds(found) == [FindingKind.DAMAGED_SMALL]
    assert found[0].name == ObjectName(BUCKET, b"small/7")
    repaired(store)
    expect(store, without(b"small/7"))


def test_a_damaged_record_fails_only_what_touches_it(store: list[Path], tmp_path: Path) -> None:
    damaged, other = ObjectName(BUCKET, b"small/7"), ObjectName(BUCKET, b"small/6")

    async def change(engine: LocalEngine) -> None:
        outcomes = await asyncio.gather(
            put(engine, damaged, b"1"),
            put(engine, other, b"2"),
            engine.remove(damaged),
            engine.amend(damaged, Attributes(), condition=ANY),
            return_exceptions=True,
        )
        assert [isinstance(outcome, CorruptObject) for outcome in outcomes] == [True, False, True, True]
        assert read(engine, other) == b"2"

    tables = open_index(store[0], writable=True, map_size_bytes=1 << 30)
    with tables.environment.begin(write=True) as transaction:
        transaction.put(keys.pack(damaged), b"no record", db=tables.objects)
    tables.close()
    on(store, change)
    on([*store, tmp_path / "added"], change)
    repaired([*store, tmp_path / "added"])


def test_a_file_with_a_damaged_trailer_is_kept(store: list[Path]) -> None:
    flip(payload_of(store, LARGE[b"large/3"]), 50_003)
    assert kinds(repaired(store)) == [FindingKind.DAMAGED_TRAILER]
    expect(store, ALL)


def test_a_deleted_file_is_found(store: list[Path]) -> None:
    payload_of(store, LARGE[b"large/2"]).unlink()
    payload_of(store, b"2" * 30_000).unlink()
    found = fsck(store).findings
    assert kinds(found) == [FindingKind.MISSING_FILE] * 2
    assert {finding.name.key for finding in found if finding.name} == {b"large/2", b"parts"}
    repaired(store)
    expect(store, without(b"large/2", b"parts"))


def test_a_truncated_file_is_found(store: list[Path]) -> None:
    os.truncate(payload_of(store, LARGE[b"large/2"]), 49_999)
    assert kinds(fsck(store).findings) == [FindingKind.MISSING_FILE]
    repaired(store)
    expect(store, without(b"large/2"))


def test_orphans_are_found(store: list[Path]) -> None:
    folder = payload_of(store, LARGE[b"large/1"]).parent
    (folder / ("ab" * 16)).write_bytes(b"nobody's")
    (folder / "note.txt").write_text("what is this?")
    draft = store[0] / "drafts" / "0000ffff"
    draft.mkdir()
    (draft / ("cd" * 16)).write_bytes(b"unfinished")
    found = fsck(store).findings
    assert sorted(kinds(found), key=lambda kind: kind.name) == [
        FindingKind.ABANDONED_DRAFT,
        FindingKind.ORPHAN_FILE,
        FindingKind.ORPHAN_FILE,
    ]
    repaired(store)
    expect(store, ALL)
    assert len(list((store[0] / "quarantine").iterdir())) == 2


def test_a_file_whose_record_was_lost_is_taken_up_again(store: list[Path]) -> None:
    tables = open_index(store[0], writable=True, map_size_bytes=1 << 30)
    with tables.environment.begin(write=True) as transaction:
        transaction.delete(keys.pack(ObjectName(BUCKET, b"large/4")), db=tables.objects)
    tables.close()
    found = fsck(store).findings
    assert sorted(kinds(found), key=lambda kind: kind.name) == [
        FindingKind.ORPHAN_FILE,
        FindingKind.WRONG_COUNTS,
    ]
    repaired(store)
    expect(store, ALL)


def test_orphan_pieces_and_damaged_records_are_found(store: list[Path]) -> None:
    tables = open_index(store[0], writable=True, map_size_bytes=1 << 30)
    with tables.environment.begin(write=True) as transaction:
        transaction.put(b"g" * 16 + b"\x00", b"nobody's", db=tables.small)
        transaction.put(keys.pack(ObjectName(BUCKET, b"large/4")), b"\xc1 nonsense", db=tables.objects)
    tables.close()
    found = set(kinds(fsck(store).findings))
    assert {FindingKind.ORPHAN_PIECES, FindingKind.DAMAGED_RECORD} <= found
    fsck(store, repair=True)
    fsck(store, repair=True)
    expect(store, ALL)  # its file told what the record was


def test_a_wrong_counter_is_found(store: list[Path]) -> None:
    tables = open_index(store[0], writable=True, map_size_bytes=1 << 30)
    bucket = keys.pack_bucket(BUCKET)
    with tables.environment.begin(write=True) as transaction:
        encoded = transaction.get(bucket, db=tables.buckets)
        assert encoded is not None
        state = decode_bucket(encoded)
        state.objects += 3
        transaction.put(bucket, encode_bucket(state), db=tables.buckets)
    tables.close()
    assert kinds(fsck(store).findings) == [FindingKind.WRONG_COUNTS]
    repaired(store)
    expect(store, ALL)


@pytest.mark.parametrize("how", ["removed", "emptied", "garbled", "truncated"])
def test_a_lost_index_is_rebuilt_from_files(store: list[Path], how: str) -> None:
    index = store[0] / "index" / "data.mdb"
    match how:
        case "removed":
            shutil.rmtree(index.parent)
            with pytest.raises(StartError, match="index"):
                on(store, fill)
        case "emptied":
            index.write_bytes(b"")
        case "garbled":
            index.write_bytes(os.urandom(index.stat().st_size))
        case "truncated":
            os.truncate(index, 64 * 1024)
    found = fsck(store).findings
    assert kinds(found) == [FindingKind.LOST_INDEX]
    done = fsck(store, repair=True).findings
    assert "6 objects taken up" in done[0].action
    # Parts belong to an object that only the index knew.
    assert set(kinds(fsck(store).findings)) <= {FindingKind.ORPHAN_FILE}
    fsck(store, repair=True)
    expect(store, LARGE)


def test_a_lost_index_is_rebuilt_from_its_copy_and_from_files(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in "ab"]

    async def more(engine: LocalEngine) -> None:
        await put(engine, ObjectName(BUCKET, b"later"), b"!" * 60_000)
        await put(engine, ObjectName(BUCKET, b"large/1"), b"?" * 60_000)

    on(paths, fill)
    copies = backup(paths, tmp_path / "backup")
    for copy, other in zip(copies, sorted(paths, key=ident, reverse=True), strict=True):
        shutil.copytree(copy, other / "copies" / copy.name)
    on(paths, more)
    for path in paths:
        shutil.rmtree(path / "index")
    done = fsck(paths, repair=True)
    assert all("from a copy" in finding.action for finding in done.findings)
    fsck(paths, repair=True)
    expect(paths, ALL | {b"later": b"!" * 60_000, b"large/1": b"?" * 60_000})


def ident(path: Path) -> str:
    from aisle.storage.layout import describe

    description = describe(path)
    assert description is not None
    return description.mountpath


def test_compacting_gives_space_back_and_keeps_everything(store: list[Path]) -> None:
    async def churn(engine: LocalEngine) -> None:
        for number in range(300):
            await put(engine, ObjectName(BUCKET, b"tmp/%d" % number), os.urandom(16_000))
        for number in range(300):
            await engine.remove(ObjectName(BUCKET, b"tmp/%d" % number))

    on(store, churn)
    [(path, before, after)] = compact(store)
    assert path == store[0]
    assert after < before
    assert fsck(store).findings == []
    expect(store, ALL)


def test_a_backup_can_be_restored(store: list[Path], tmp_path: Path) -> None:
    async def remove_some(engine: LocalEngine) -> None:
        for key in SMALL:
            await engine.remove(ObjectName(BUCKET, key))

    backup(store, tmp_path / "backup")
    on(store, remove_some)
    assert restore(store, tmp_path / "backup") == store
    assert fsck(store).findings == []
    expect(store, ALL)


def test_a_damaged_or_foreign_backup_changes_nothing(store: list[Path], tmp_path: Path) -> None:
    [copy] = backup(store, tmp_path / "backup")
    flip(copy / "data.mdb", 5_000)
    with pytest.raises(CorruptObject):
        restore(store, tmp_path / "backup")
    with pytest.raises(StartError):
        restore(store, tmp_path)
    expect(store, ALL)


def test_a_running_node_is_left_alone(store: list[Path], tmp_path: Path) -> None:
    with running_committer(store):
        for act in (
            fsck,
            compact,
            lambda paths: backup(paths, tmp_path),
            lambda paths: restore(paths, tmp_path),
        ):
            with pytest.raises(MountpathLocked):
                act(store)


def test_mountpaths_keep_copies_of_each_others_indexes(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in "ab"]
    config = StorageConfig(index_copy_interval_s=0.2)
    with running_committer(paths, config=config) as committer:

        async def main() -> None:
            engine = committer.engine()
            await fill(engine)
            for _ in range(200):
                if all(copies_of(mountpath, committer.mountpaths) for mountpath in committer.mountpaths):
                    break
                await asyncio.sleep(0.05)
            await engine.close()

        asyncio.run(main())
        for mountpath in committer.mountpaths:
            [copy] = copies_of(mountpath, committer.mountpaths)
            assert not copy.is_relative_to(mountpath.path)
    assert fsck(paths).findings == []


def test_what_waits_to_be_unlinked_is_not_taken_up_when_an_index_is_rebuilt(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in "ab"]
    gone = [ObjectName(BUCKET, b"gone/%d" % number) for number in range(8)]

    async def remove(engine: LocalEngine) -> None:
        await fill(engine)
        for name in gone:
            await put(engine, name, name.key * 5_000)
        for name in gone:
            await engine.remove(name)

    on(paths, remove)
    for mountpath, keeper in zip(open_mountpaths(paths), reversed(open_mountpaths(paths)), strict=True):
        copy_index(mountpath, keeper.path / COPIES)
    for path in paths:
        shutil.rmtree(path / "index")
    repaired(paths)
    expect(paths, ALL)


@pytest.mark.parametrize("before", [b"small" * 1_000, None], ids=["small", "parts"])
def test_what_is_taken_up_leaves_nothing_of_what_it_replaces(tmp_path: Path, before: bytes | None) -> None:
    paths, name = [tmp_path / "data"], ObjectName(BUCKET, b"x")

    async def write_first(engine: LocalEngine) -> None:
        await engine.open_bucket(BUCKET)
        if before is not None:
            await put(engine, name, before)
            return
        upload = await engine.begin_upload(name, Attributes())
        for number in (1, 2):
            await engine.commit_part(upload, number, await written(engine, name, b"p" * 30_000), Attributes())
        await engine.complete_upload(upload, [1, 2], Attributes())

    async def write(engine: LocalEngine) -> None:
        await put(engine, name, b"large" * 10_000)

    on(paths, write_first)
    backup(paths, tmp_path / "backup")
    on(paths, write)
    restore(paths, tmp_path / "backup")
    repaired(paths)
    expect(paths, {b"x": b"large" * 10_000})


def test_a_file_that_cannot_be_unlinked_holds_up_nothing(tmp_path: Path) -> None:
    paths = [tmp_path / "data"]
    names = [ObjectName(BUCKET, b"%d" % number) for number in range(5)]

    async def change(engine: LocalEngine) -> None:
        await engine.open_bucket(BUCKET)
        for name in names:
            await put(engine, name, name.key * 50_000)
        stuck = payload_of(paths, b"2" * 50_000)
        stuck.unlink()
        stuck.mkdir()
        for name in names:
            await engine.remove(name)
        until_s = time.monotonic() + 20
        while list(files_below(paths[0] / "data")):
            assert time.monotonic() < until_s
            await asyncio.sleep(0.05)
        await put(engine, names[0], b"1")

    with running_committer(paths, config=StorageConfig(unlink_delay_s=0.1)) as committer:

        async def main() -> None:
            engine = committer.engine()
            await change(engine)
            await engine.close()

        asyncio.run(main())


def test_a_file_that_cannot_be_unlinked_does_not_slow_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When more wait than are unlinked at a time, the next come at once, not as after a failed disk."""
    monkeypatch.setattr(housekeeping, "REMOVED_MAX", 3)
    (tmp_path / "data").mkdir()
    mountpaths = prepare([tmp_path / "data"], new_node_id=lambda: "node").mountpaths
    committer = Committer(mountpaths, config=StorageConfig(), clock=time.time_ns, durability=FULL)
    (disk,) = committer.disks
    files = [disk.mountpath.path / payload_path(bytes([number]) * 16) for number in range(10)]
    with disk.group() as group:
        for number, file in enumerate(files):
            group.transaction.put(time_to_unlink(number) + bytes([number]) * 16, b"", db=group.tables.removed)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
    files[1].unlink()
    files[1].mkdir()  # a folder cannot be unlinked
    waited_s = 0.0
    with ThreadPoolExecutor(1) as executor:
        chore = UnlinkRemoved(disk, executor, time.time_ns, durability=FULL)
        while any(file.is_file() for file in files):
            wait_s = chore.step()
            waited_s += wait_s
            time.sleep(min(wait_s, 0.02))
    committer.close()
    assert waited_s < 20
